//! Files that are cut short, and damage in LMDB's own pages.
