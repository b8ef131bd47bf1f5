//! Iterating over all items of an index in the order of their ids.

use heed::RoTxn;

use crate::error::{Error, Result};
use crate::format::checksum::Sound;
use crate::format::ids::{ID_GROUP, IdGroup};
use crate::format::{Key, Kind};
use crate::store::Place;
use crate::types::{ItemId, Slot};

/// The items of an index with their slots, in id order.
pub(crate) fn items<'a>(
    place: Place<'_>,
    rtxn: &'a RoTxn<'_>,
) -> Result<impl Iterator<Item = Result<(ItemId, Slot)>> + 'a> {
    items_from(place, rtxn, 0)
}

/// The same, from an item id on.
pub(crate) fn items_from<'a>(
    place: Place<'_>,
    rtxn: &'a RoTxn<'_>,
    first: ItemId,
) -> Result<impl Iterator<Item = Result<(ItemId, Slot)>> + 'a> {
    let bound = |n| Key::new(place.index, Kind::ID_SLOTS, 0, n);
    let groups = place.range(rtxn, bound(first / ID_GROUP), bound(u32::MAX))?;
    Ok(groups.flat_map(move |entry| {
        let group = entry.and_then(|(key, value)| {
            let group = IdGroup::decode(Sound::of(key, value)?.body())
                .map_err(|what| Error::corrupt(key, what))?;
            let id = |low: u16| {
                key.n.checked_mul(ID_GROUP).and_then(|base| base.checked_add(low.into()))
            };
            let items = group.entries().iter().map(|(low, slot)| Some((id(*low)?, *slot)));
            items.collect::<Option<Vec<_>>>().ok_or(Error::corrupt(key, "it has an id beyond all"))
        });
        match group {
            Ok(items) => {
                items.into_iter().filter(|(id, _)| *id >= first).map(Ok).collect::<Vec<_>>()
            }
            Err(error) => vec![Err(error)],
        }
    }))
}
