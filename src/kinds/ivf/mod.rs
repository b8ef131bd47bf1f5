//! IVF, inverted lists: see `section` for what is stored and how lists are split and merged, `path`
//! for how a search probes them, and `format` for the bytes, with those of packed codes in
//! `format/list_codes`.

pub(crate) mod format;
pub(crate) mod path;
mod query;
pub(crate) mod section;
pub(crate) mod stats;
