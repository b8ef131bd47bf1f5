//! The write buffer of item keys: the items that an edit names for the first time, and those whose
//! keys it deletes. All rows are put at its end, as records are: those from before the edit are
//! intact until then.

use std::collections::BTreeMap;

use heed::RoTxn;

use super::blocks::{Change, change, convert};
use super::rows::ItemKeys;
use crate::error::{Error, Result};
use crate::format::item_keys::{Naming, Row};
use crate::format::key_blocks::Order;
use crate::store::Place;
use crate::store::target::Rows;
use crate::types::ItemId;

/// Bytes of keys that are buffered before an edit of many rows should end, and another begin.
const BUFFERED_BYTES: usize = 4 << 20;
/// Bytes that a buffered key takes beside its own, twice.
const ENTRY_BYTES: usize = 128;

/// The write buffer: see the module.
#[derive(Default)]
pub(in crate::store) struct KeysEdit {
    /// The items of new keys, and `None` for keys that are deleted.
    ids: BTreeMap<Vec<u8>, Option<ItemId>>,
    /// The keys of their items, and `None` for ids that are freed.
    keys: BTreeMap<ItemId, Option<Vec<u8>>>,
    /// Free ids that have been taken: the smallest ones.
    taken: Vec<ItemId>,
    /// The id after all others, once there are no free ones.
    next: Option<u64>,
    buffered: usize,
}

impl KeysEdit {
    /// Whether the buffer is so large that the edit should end.
    pub(in crate::store) fn is_large(&self) -> bool {
        self.buffered > BUFFERED_BYTES
    }

    /// The item that a key names.
    pub(in crate::store) fn id(
        &self,
        place: Place<'_>,
        rtxn: &RoTxn<'_>,
        key: &[u8],
    ) -> Result<Option<ItemId>> {
        match self.ids.get(key) {
            Some(buffered) => Ok(*buffered),
            None => ItemKeys::of(place).id(rtxn, key),
        }
    }

    /// The item that a key names; a new one, if it names none.
    ///
    /// # Errors
    /// [`Error::IndexFull`].
    pub(in crate::store) fn id_or_new(
        &mut self,
        place: Place<'_>,
        rtxn: &RoTxn<'_>,
        key: &[u8],
    ) -> Result<ItemId> {
        if let Some(id) = self.id(place, rtxn, key)? {
            return Ok(id);
        }
        let id = self.allocate(ItemKeys::of(place), rtxn)?;
        self.set(key, id, true);
        Ok(id)
    }

    /// Deletes a key. Returns the item that it has named.
    pub(in crate::store) fn remove(
        &mut self,
        place: Place<'_>,
        rtxn: &RoTxn<'_>,
        key: &[u8],
    ) -> Result<Option<ItemId>> {
        let found = self.id(place, rtxn, key)?;
        if let Some(id) = found {
            self.set(key, id, false);
        }
        Ok(found)
    }

    /// Gives the item that a key names another key, which names none. `false` if there is no such
    /// item.
    pub(in crate::store) fn rename(
        &mut self,
        place: Place<'_>,
        rtxn: &RoTxn<'_>,
        key: &[u8],
        new: &[u8],
    ) -> Result<bool> {
        let Some(id) = self.id(place, rtxn, key)? else { return Ok(false) };
        self.ids.insert(key.to_vec(), None);
        self.set(new, id, true);
        Ok(true)
    }

    fn set(&mut self, key: &[u8], id: ItemId, is_there: bool) {
        self.ids.insert(key.to_vec(), is_there.then_some(id));
        self.keys.insert(id, is_there.then(|| key.to_vec()));
        self.buffered += 2 * key.len() + ENTRY_BYTES;
    }

    /// The smallest free id, or the one after all. An id that this edit has freed is not used
    /// again before its end.
    fn allocate(&mut self, keys: ItemKeys<'_>, rtxn: &RoTxn<'_>) -> Result<ItemId> {
        if self.next.is_none() {
            if let Some(free) = keys.free_after(rtxn, self.taken.last().copied())? {
                self.taken.push(free);
                return Ok(free);
            }
            // The free ids that have been taken may be above all that have a key.
            let after_taken = self.taken.last().map_or(0, |last| u64::from(*last) + 1);
            self.next = Some(keys.bound(rtxn)?.max(after_taken));
        }
        let id = self.next.and_then(|next| ItemId::try_from(next).ok());
        let id = id.ok_or(Error::IndexFull(keys.place.index))?;
        self.next = Some(u64::from(id) + 1);
        Ok(id)
    }

    /// The rows to put and to delete at the end of the edit. Also replaces the rows of an earlier
    /// version by blocks, if there are any.
    pub(in crate::store) fn finish(self, place: Place<'_>, rtxn: &RoTxn<'_>) -> Result<Rows> {
        if place.naming == Naming::Ids {
            return Ok(Rows::default());
        }
        let (index, keys) = (place.index, ItemKeys::of(place));
        let mut puts = Vec::new();
        for id in self.taken {
            puts.push((Row::Free(id).to_bytes(index), None));
        }
        for id in self.keys.iter().filter_map(|(id, key)| key.is_none().then_some(*id)) {
            puts.push((Row::Free(id).to_bytes(index), Some(Vec::new())));
        }
        let by_key = self.ids.into_iter().map(|(key, id)| Change {
            is_there: id.is_some(),
            entry: (key, id.unwrap_or_default()),
        });
        let by_id = self.keys.into_iter().map(|(id, key)| Change {
            is_there: key.is_some(),
            entry: (key.unwrap_or_default(), id),
        });
        if keys.has_rows_of_8(rtxn)? {
            puts.extend(convert(keys, rtxn, Order::Keys, by_key)?);
            puts.extend(convert(keys, rtxn, Order::Ids, by_id)?);
            return Ok(Rows { puts, gone: vec![keys.bounds_of_8()] });
        }
        puts.extend(change(keys, rtxn, Order::Keys, by_key)?);
        puts.extend(change(keys, rtxn, Order::Ids, by_id)?);
        Ok(Rows { puts, gone: Vec::new() })
    }
}
