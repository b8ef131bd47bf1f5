//! Lookups of records.

use heed::RoTxn;

use super::{counts, key};
use crate::error::Result;
use crate::format::checksum::Sound;
use crate::format::{Key, Kind};
use crate::store::open::read_meta;
use crate::store::readahead::{addresses, ask_for};
use crate::store::source::Source;
use crate::store::view::View;
use crate::store::{Place, meter};
use crate::types::ItemId;

/// The record of an item, verified, as a transaction sees it. `None` if it has none, or if there is
/// no such item or index.
///
/// # Errors
/// Those of [`read_meta`], [`Error::Corrupt`](crate::Error::Corrupt).
pub(crate) fn record_in<'t>(
    place: Place<'_>,
    rtxn: &'t RoTxn<'_>,
    item: ItemId,
) -> Result<Option<&'t [u8]>> {
    match read_meta(place, rtxn)?.map(|meta| counts(place.index, &meta)).transpose()? {
        Some(counts) if counts.records > 0 => {
            Ok(place.sound(rtxn, key(place.index, item))?.map(Sound::body))
        }
        _ => Ok(None),
    }
}

/// The items from `first` on that have a record, and their records, verified, ordered by id.
///
/// # Errors
/// [`Error::Corrupt`](crate::Error::Corrupt); the iterator's items the same.
pub(crate) fn records_in<'t>(
    place: Place<'_>,
    rtxn: &'t RoTxn<'_>,
    first: ItemId,
) -> Result<impl Iterator<Item = Result<(ItemId, &'t [u8])>> + use<'t>> {
    let (_, last) = Key::all_of(place.index, Kind::RECORDS);
    let records = place.range(rtxn, key(place.index, first), Key { sub: 0, ..last })?;
    Ok(records.map(|entry| {
        let (key, value) = entry?;
        Ok((key.n, Sound::of(key, value)?.body()))
    }))
}

impl<'t, S: Source<'t>> View<'_, 't, S> {
    /// The value of the record of an item, unread, with its checksum.
    fn record_value(&self, item: ItemId) -> Result<Option<&'t [u8]>> {
        if counts(self.snapshot.index, &self.snapshot.meta)?.records == 0 {
            return Ok(None);
        }
        meter::read();
        self.get(key(self.snapshot.index, item))
    }

    /// The record of an item, verified. `None` if it has none, or if there is no such item.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt).
    pub(crate) fn record_of(&self, item: ItemId) -> Result<Option<&'t [u8]>> {
        let sound = |value| Sound::of(key(self.snapshot.index, item), value).map(Sound::body);
        self.record_value(item)?.map(sound).transpose()
    }

    /// The records of some items, in their order.
    ///
    /// # Errors
    /// As [`record_of`](Self::record_of).
    pub(crate) fn records_of(
        &self,
        items: impl Iterator<Item = ItemId> + Clone,
    ) -> Result<Vec<Option<Vec<u8>>>> {
        if self.cold().is_some() {
            // Asked for together: long ones have pages to themselves, which nothing has read.
            let values = items.clone().map(|item| self.record_value(item));
            let values = values.collect::<Result<Vec<_>>>()?;
            ask_for(values.into_iter().flatten().map(addresses));
        }
        items.map(|item| Ok(self.record_of(item)?.map(<[u8]>::to_vec))).collect()
    }
}
