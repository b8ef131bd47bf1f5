//! Where the codes of an index are, as far as a snapshot has found them.

use std::sync::OnceLock;

use super::strided::Strided;
use super::table::Memory;
use crate::codes::Coder;
use crate::format::Kind;
use crate::format::codes::{BLOCKS, TAIL};
use crate::format::meta::Meta;

/// What is known of the codes at a snapshot.
#[derive(Debug)]
pub(super) struct CodeTables<'t> {
    pub(super) values: Strided<'t>,
    pub(super) coder: OnceLock<Coder>,
}

impl CodeTables<'_> {
    /// `None` if the index has none.
    pub(super) fn new(memory: Memory, meta: &Meta) -> Option<Self> {
        let values = Strided::new(
            memory,
            meta.code_geometry()?,
            meta.slots,
            (Kind::Codes, BLOCKS),
            (Kind::Codes, TAIL),
        );
        Some(Self { values, coder: OnceLock::new() })
    }
}
