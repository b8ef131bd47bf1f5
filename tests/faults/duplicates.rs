//! Identical vectors: recall beside thousands of copies of one vector.
