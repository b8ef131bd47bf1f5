//! The pointer table of a snapshot for the blocks that lead from item ids to keys.

use crate::format::item_keys::{Row, decode_key_of_8};
use crate::format::key_blocks::{GROUP, find_key};
use crate::format::{Damage, checksum};
use crate::store::table::{Memory, Table};
use crate::types::ItemId;

/// The damage of an item without a key.
pub(super) const MISSING: Damage = "it is missing, though there is an item";

/// The blocks by ids that a snapshot has found.
#[derive(Debug)]
pub(crate) struct Known<'t> {
    /// By group of ids; by id before version 9.
    table: Table<'t>,
    pub(super) is_packed: bool,
}

impl<'t> Known<'t> {
    /// A table for the keys of ids below `bound`.
    pub(super) fn new(memory: Memory, bound: usize, is_packed: bool) -> Self {
        let count = if is_packed { bound.div_ceil(GROUP as usize) } else { bound };
        Self { table: Table::prefixed(memory, count, true), is_packed }
    }

    fn number(&self, id: ItemId) -> usize {
        (if self.is_packed { id / GROUP } else { id }) as usize
    }

    pub(super) fn row(&self, id: ItemId) -> Row<'static> {
        if self.is_packed { Row::Keys(id) } else { Row::KeyOf8(id) }
    }

    /// The value that has the key of an id, if it is in the table.
    pub(super) fn value(&self, id: ItemId) -> Option<&'t [u8]> {
        self.table.get(self.number(id))
    }

    pub(super) fn set(&self, id: ItemId, value: &'t [u8]) -> Option<&'t [u8]> {
        self.table.set(self.number(id), value)
    }

    /// The key of an id in a value, which was verified when it was looked up.
    pub(super) fn key_in(&self, id: ItemId, value: &[u8]) -> Result<Vec<u8>, Damage> {
        let body = checksum::unverified(value);
        match self.is_packed {
            true => find_key(body, id)?.ok_or(MISSING),
            false => decode_key_of_8(body).map(<[u8]>::to_vec),
        }
    }
}
