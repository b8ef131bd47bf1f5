//! The write buffer of records. All records that an edit changes are put at its end, so that the
//! old ones are intact until then.

use std::collections::BTreeMap;

use heed::RoTxn;

use super::{counts, key};
use crate::error::{Error, Result};
use crate::format::Kind;
use crate::format::checksum::{self, Sound};
use crate::format::meta::Meta;
use crate::format::records::{Counts, MAX_RECORD_BYTES};
use crate::store::Place;
use crate::store::target::Put;
use crate::types::ItemId;

/// Bytes of records that are buffered before an edit of many rows should end, and another begin.
const BUFFERED_BYTES: usize = 4 << 20;

/// The write buffer: see the module.
pub(in crate::store) struct RecordsEdit {
    /// The counts with all buffered changes.
    counts: Counts,
    /// New records, and `None` for those that are deleted.
    changed: BTreeMap<ItemId, Option<Vec<u8>>>,
    /// Bytes of the new ones.
    buffered: usize,
}

/// Checks that a record can be stored.
///
/// # Errors
/// [`Error::InvalidParameter`] if it is too long.
pub(crate) fn check_record(record: &[u8]) -> Result<()> {
    if record.len() <= MAX_RECORD_BYTES {
        return Ok(());
    }
    Err(Error::InvalidParameter {
        name: "the length of a record in bytes",
        value: record.len() as f64,
        remedy: "give at most 67108864 (64 MiB), and keep what is larger in a file of its own",
    })
}

impl RecordsEdit {
    /// # Errors
    /// [`Error::Corrupt`].
    pub(in crate::store) fn new(index: u16, meta: &Meta) -> Result<Self> {
        Ok(Self { counts: counts(index, meta)?, changed: BTreeMap::new(), buffered: 0 })
    }

    /// Whether the buffer is so large that the edit should end.
    pub(in crate::store) fn is_large(&self) -> bool {
        self.buffered > BUFFERED_BYTES
    }

    /// Whether an item has this record, bit for bit.
    pub(in crate::store) fn has(
        &self,
        place: Place<'_>,
        rtxn: &RoTxn<'_>,
        item: ItemId,
        record: &[u8],
    ) -> Result<bool> {
        Ok(self.get(place, rtxn, item)? == Some(record))
    }

    /// The record of an item, verified.
    pub(in crate::store) fn get<'r>(
        &'r self,
        place: Place<'_>,
        rtxn: &'r RoTxn<'_>,
        item: ItemId,
    ) -> Result<Option<&'r [u8]>> {
        match self.changed.get(&item) {
            Some(changed) => Ok(changed.as_deref()),
            None if self.counts.records == 0 => Ok(None),
            None => Ok(place.sound(rtxn, key(place.index, item))?.map(Sound::body)),
        }
    }

    /// The length of the record of an item. A stored one is not verified: it is about to go.
    fn length(&self, place: Place<'_>, rtxn: &RoTxn<'_>, item: ItemId) -> Result<Option<u64>> {
        Ok(match self.changed.get(&item) {
            Some(changed) => changed.as_ref().map(|record| record.len() as u64),
            None if self.counts.records == 0 => None,
            None => place
                .unverified(rtxn, key(place.index, item))?
                .map(|value| checksum::unverified(value).len() as u64),
        })
    }

    /// Sets the record of an item, which exists, or deletes it. Whether it had one.
    pub(in crate::store) fn set(
        &mut self,
        place: Place<'_>,
        rtxn: &RoTxn<'_>,
        item: ItemId,
        record: Option<Vec<u8>>,
    ) -> Result<bool> {
        let old = self.length(place, rtxn, item)?;
        if old.is_none() && record.is_none() {
            return Ok(false);
        }
        let length = record.as_ref().map(|record| record.len() as u64);
        let less = |whole: u64, part: Option<u64>| {
            let miscounted = || Error::corrupt(crate::format::Key::meta(place.index), MISCOUNTED);
            whole.checked_sub(part.unwrap_or(0)).ok_or_else(miscounted)
        };
        let records = less(self.counts.records.into(), old.map(|_| 1))? + length.map_or(0, |_| 1);
        let bytes = less(self.counts.bytes, old)?.saturating_add(length.unwrap_or(0));
        self.counts = Counts { records: records as u32, bytes };
        self.buffered += record.as_ref().map_or(0, Vec::len);
        if let Some(Some(replaced)) = self.changed.insert(item, record) {
            self.buffered -= replaced.len();
        }
        Ok(old.is_some())
    }

    /// Updates META, and drains the buffer.
    pub(in crate::store) fn finish(self, place: Place<'_>, meta: &mut Meta) -> Vec<Put> {
        if self.changed.is_empty() {
            return Vec::new();
        }
        meta.set_part(Kind::RECORDS, self.counts.encode());
        let puts = self.changed.into_iter();
        puts.map(|(item, record)| (key(place.index, item), record)).collect()
    }
}

/// The damage of a META that counts fewer records than there are.
const MISCOUNTED: &str = "it counts fewer records, or bytes of them, than there are";
