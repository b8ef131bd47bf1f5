//! Vectors whose squares underflow.
