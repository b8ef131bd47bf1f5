//! The rows of keys of versions 5 to 8: one from each item key to its item id, and one back. They
//! are read until the first change of the index, which replaces them by blocks (`edit`).
//!
//! An index has rows or blocks, so whoever finds no block asks here.

use std::ops::Bound;

use heed::RoTxn;

use super::rows::ItemKeys;
use crate::error::{Error, Result};
use crate::format::checksum::{BROKEN, Sound};
use crate::format::item_keys::{Row, bounds, decode_id_of_8, decode_key_of_8};
use crate::format::key_blocks::{Entry, Order};
use crate::types::ItemId;

impl ItemKeys<'_> {
    /// Whether there are such rows.
    pub(super) fn has_rows_of_8(&self, rtxn: &RoTxn<'_>) -> Result<bool> {
        let [first, end] = self.bounds_of_8();
        let range = (Bound::Included(&first[..]), Bound::Excluded(&end[..]));
        Ok(self.place.raw.range(rtxn, &range)?.next().transpose()?.is_some())
    }

    /// The range of the LMDB keys of all of them.
    pub(super) fn bounds_of_8(&self) -> [Vec<u8>; 2] {
        let [first, _] = bounds(self.place.index, Row::IdOf8(&[]));
        let [_, end] = bounds(self.place.index, Row::KeyOf8(0));
        [first, end]
    }

    /// The id that a row of a key has.
    fn id_in(&self, key: &[u8], row: &[u8], value: &[u8]) -> Result<ItemId> {
        let sound = Sound::under(row, value).ok_or(BROKEN);
        let id = sound.and_then(|sound| decode_id_of_8(sound.body()));
        id.map_err(|what| self.corrupt(key, what))
    }

    pub(super) fn id_of_8(&self, rtxn: &RoTxn<'_>, key: &[u8]) -> Result<Option<ItemId>> {
        let row = Row::IdOf8(key).to_bytes(self.place.index);
        let Some(value) = self.place.raw.get(rtxn, &row)? else { return Ok(None) };
        self.id_in(key, &row, value).map(Some)
    }

    pub(super) fn key_of_8(&self, rtxn: &RoTxn<'_>, id: ItemId) -> Result<Option<Vec<u8>>> {
        let row = Row::KeyOf8(id).to_bytes(self.place.index);
        let Some(value) = self.place.raw.get(rtxn, &row)? else { return Ok(None) };
        self.decode_key_of_8(id, &row, value).map(Some)
    }

    /// The key that a row of an id has.
    pub(super) fn decode_key_of_8(&self, id: ItemId, row: &[u8], value: &[u8]) -> Result<Vec<u8>> {
        let sound = Sound::under(row, value).ok_or(BROKEN);
        let key = sound.and_then(|sound| decode_key_of_8(sound.body()).map(<[u8]>::to_vec));
        key.map_err(|what| Error::corrupt(Row::name_of(self.place.index, id), what))
    }

    /// The largest id that has a key, and one.
    pub(super) fn bound_of_8(&self, rtxn: &RoTxn<'_>) -> Result<u64> {
        let [first, end] = bounds(self.place.index, Row::KeyOf8(0));
        let range = (Bound::Included(&first[..]), Bound::Excluded(&end[..]));
        let found = self.place.raw.rev_range(rtxn, &range)?.next();
        Ok(self.id_of(found.transpose()?)?.map_or(0, |last| u64::from(last) + 1))
    }

    /// As [`walk`](Self::walk), in rows.
    pub(super) fn walk_of_8(
        &self,
        rtxn: &RoTxn<'_>,
        from: Bound<&[u8]>,
        each: &mut dyn FnMut(&[u8], ItemId) -> Result<bool>,
    ) -> Result<()> {
        let index = self.place.index;
        let [_, end] = bounds(index, Row::IdOf8(&[]));
        let first = from.map(|key| Row::IdOf8(key).to_bytes(index));
        let range = (first.as_ref().map(|first| &first[..]), Bound::Excluded(&end[..]));
        for entry in self.place.raw.range(rtxn, &range)? {
            let (row, value) = entry?;
            let Some(Row::IdOf8(key)) = Row::from_bytes(row) else { return Err(self.foreign()) };
            self.naming.check(key).map_err(|what| self.corrupt(key, what))?;
            if !each(key, self.id_in(key, row, value)?)? {
                break;
            }
        }
        Ok(())
    }

    /// All entries of one direction, in its order.
    pub(super) fn entries_of_8(
        &self,
        rtxn: &RoTxn<'_>,
        order: Order,
    ) -> Result<impl Iterator<Item = Result<Entry>>> {
        let of = match order {
            Order::Keys => Row::IdOf8(&[]),
            Order::Ids => Row::KeyOf8(0),
        };
        let [first, end] = bounds(self.place.index, of);
        let range = (Bound::Included(&first[..]), Bound::Excluded(&end[..]));
        Ok(self.place.raw.range(rtxn, &range)?.map(move |entry| {
            let (row, value) = entry?;
            let entry = match Row::from_bytes(row) {
                Some(Row::IdOf8(key)) => (key.to_vec(), self.id_in(key, row, value)?),
                Some(Row::KeyOf8(id)) => (self.decode_key_of_8(id, row, value)?, id),
                _ => return Err(self.foreign()),
            };
            self.naming.check(&entry.0).map_err(|what| self.corrupt(&entry.0, what))?;
            Ok(entry)
        }))
    }
}
