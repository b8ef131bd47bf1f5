//! Calls from rayon pools, and processes that cannot start a thread.
