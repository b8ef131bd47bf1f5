//! The pointer tables of the codes, and their encoders, in a snapshot.

use std::sync::OnceLock;

use super::coders::Coders;
use crate::format::Kind;
use crate::format::codes::{BLOCKS, TAIL};
use crate::format::meta::Meta;
use crate::store::strided::Strided;
use crate::store::table::Memory;

/// What a snapshot has found of the codes so far.
#[derive(Debug)]
pub(in crate::store) struct CodeTables<'t> {
    pub(in crate::store) values: Strided<'t>,
    pub(in crate::store) coders: OnceLock<Coders>,
}

impl CodeTables<'_> {
    /// Empty tables. `None` if the index has no codes.
    pub(in crate::store) fn new(memory: Memory, meta: &Meta) -> Option<Self> {
        let values = Strided::new(
            memory,
            meta.code_geometry()?,
            meta.slots,
            (Kind::CODES, BLOCKS),
            (Kind::CODES, TAIL),
        );
        Some(Self { values, coders: OnceLock::new() })
    }
}
