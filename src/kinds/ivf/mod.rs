//! IVF, inverted lists: what of them has no place in `store/sections/ivf` and `search/paths/ivf`.

mod query;
pub(crate) mod stats;
