//! What a snapshot has found of the lists: their sizes, and the blocks of their codes, by list, on
//! first use.
//!
//! Blocks of codes may share pages with other values, which may move with any commit: a snapshot
//! looks them up anew, and DELTA lists none.

use std::sync::OnceLock;

use crate::kinds::ivf::format::Part;
use crate::store::table::Memory;

/// The blocks of codes of a list, without their checksums.
pub(crate) type CodeBlocks<'t> = Vec<&'t [u8]>;

/// What a snapshot has found of the lists so far.
#[derive(Debug)]
pub(crate) struct ListTables<'t> {
    pub(crate) part: Part,
    /// By list; `NONE` for vacant ones.
    pub(super) sizes: Vec<u32>,
    /// By list. None where memory must not grow with the index.
    pub(super) codes: Vec<OnceLock<CodeBlocks<'t>>>,
}

impl ListTables<'_> {
    pub(super) fn new(memory: Memory, part: Part, sizes: Vec<u32>) -> Self {
        let count = if memory == Memory::Full && part.has_codes { sizes.len() } else { 0 };
        let codes = std::iter::repeat_with(OnceLock::new).take(count).collect();
        Self { part, sizes, codes }
    }
}
