//! Changes that do not come to their end, by an error or a panic.
