//! The nodes of the tables in a snapshot: a pointer table for those of the upper levels of each
//! table, and a map for the others, which are rare.
//!
//! Nodes share pages with others, which may move with any commit: a snapshot looks each up anew,
//! and DELTA lists none.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::training::hasher;
use crate::format::Key;
use crate::format::codes::Trained;
use crate::format::lsh::{Node, Part};
use crate::lsh::Hasher;
use crate::store::table::{Memory, Table};

/// The last level whose nodes are in the pointer table: that of most leaves of up to some 3 million
/// items, and of larger indexes.
const UPPER: u32 = 3;
const UPPER_OF_LARGE: u32 = 4;
const LARGE: u32 = 2_000_000;

/// What a snapshot has found of the tables so far.
#[derive(Debug)]
pub(crate) struct HashTables<'t> {
    pub(crate) hasher: Hasher,
    pub(super) upper: Vec<Table<'t>>,
    /// The nodes of lower levels, once all have been looked up.
    pub(super) lower: OnceLock<BTreeMap<Key, &'t [u8]>>,
}

impl<'t> HashTables<'t> {
    pub(super) fn new(memory: Memory, items: u32, trained: &Trained, part: Part) -> Self {
        let last = if items < LARGE { UPPER } else { UPPER_OF_LARGE };
        let count = Node::first(last + 1) as usize;
        let tables = (0..part.tables).map(|_| Table::prefixed(memory, count, true));
        Self { hasher: hasher(trained, part), upper: tables.collect(), lower: OnceLock::new() }
    }
}
