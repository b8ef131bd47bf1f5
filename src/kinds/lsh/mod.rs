//! LSH, tables of hashes that near vectors share: see `section` for what is stored, and `path` for
//! how a search keeps its promise. The hashes themselves, and the odds of finding a neighbor by
//! them, are in `lsh` of `voisin-kernels`.

pub(crate) mod format;
pub(crate) mod path;
pub(crate) mod section;
pub(crate) mod stats;
