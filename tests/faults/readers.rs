//! Entries in the table of readers, and errors of LMDB that must not outlive a search.
