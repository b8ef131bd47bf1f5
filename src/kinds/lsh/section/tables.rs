//! The pieces of the tables that a snapshot has found: a list for each first digit of each table,
//! on first use.
//!
//! Pieces share pages with other values, which may move with any commit: a snapshot lists them
//! anew, and DELTA lists none.

use std::sync::OnceLock;

use voisin_kernels::lsh::Hasher;

use super::training::hasher;
use crate::format::codes::Trained;
use crate::kinds::lsh::format::{Part, Position, REGIONS};
use crate::store::table::Memory;

/// A piece that has been found: the first position of it, and its value.
pub(crate) type Found<'t> = (Position, &'t [u8]);

/// What a snapshot has found of the tables so far.
#[derive(Debug)]
pub(crate) struct HashTables<'t> {
    pub(crate) hasher: Hasher,
    /// The pieces by table and first digit. None where memory must not grow with the index.
    pub(super) regions: Vec<OnceLock<Vec<Found<'t>>>>,
}

impl HashTables<'_> {
    pub(super) fn new(memory: Memory, trained: &Trained, part: Part) -> Self {
        let count = if memory == Memory::Full { usize::from(part.tables) * REGIONS } else { 0 };
        let regions = std::iter::repeat_with(OnceLock::new).take(count).collect();
        Self { hasher: hasher(trained, part), regions }
    }
}
