//! Lookups in the two maps between items and slots.

use heed::RoTxn;

use crate::error::{Error, Result};
use crate::format::checksum::unverified;
use crate::format::{Key, Kind, ids};
use crate::store::Place;
use crate::store::meter;
use crate::store::readahead::residency::Batch;
use crate::store::source::Source;
use crate::store::view::View;
use crate::types::{ItemId, Slot};

/// The slot of a live item, by one lookup: without a snapshot, which reads the sets of pending and
/// of removed items.
///
/// # Errors
/// [`Error::Corrupt`].
pub(crate) fn slot_in(place: Place<'_>, rtxn: &RoTxn<'_>, item: ItemId) -> Result<Option<Slot>> {
    let (group, low) = ids::id_place(item);
    let key = Key::new(place.index, Kind::ID_SLOTS, 0, group);
    let Some(value) = place.sound(rtxn, key)? else { return Ok(None) };
    ids::find(value.body(), low).map_err(|what| Error::corrupt(key, what))
}

impl<'t, S: Source<'t>> View<'_, 't, S> {
    /// The item that a slot holds, or held before it was removed.
    #[inline]
    pub(crate) fn item(&self, slot: Slot) -> Result<ItemId> {
        meter::read();
        let (group, place) = ids::slot_place(slot);
        let [full, last] = &self.snapshot.slot_ids;
        let (table, number) = if (group as usize) < full.len() {
            (full, group as usize)
        } else {
            (last, group as usize - full.len())
        };
        let key = self.key(Kind::SLOT_IDS, 0, group);
        let value = match table.get(number) {
            Some(value) => value,
            None => table
                .set(number, self.require(key)?)
                .ok_or_else(|| Error::corrupt(key, "it does not have the length of its slots"))?,
        };
        ids::item_at(unverified(value), place)
            .ok_or_else(|| Error::corrupt(key, "it ends before a slot"))
    }

    /// Has the value read that tells the item of a slot.
    pub(in crate::store) fn add_item_to(&self, batch: &mut Batch<'_>, slot: Slot) {
        let (group, _) = ids::slot_place(slot);
        let [full, last] = &self.snapshot.slot_ids;
        let (table, number) = match (group as usize).checked_sub(full.len()) {
            None => (full, group as usize),
            Some(number) => (last, number),
        };
        let read = || {
            let value = self.get(self.key(Kind::SLOT_IDS, 0, group)).ok()??;
            Some(value.as_ptr().addr())
        };
        if let Some(start) = table.address(number).or_else(read) {
            // The ids lie one after the other.
            batch.add(start..start + ids::SLOT_GROUP as usize * size_of::<ItemId>());
        }
    }

    /// Has the values read that tell the items of some slots, all at a time, if the index is cold.
    pub(crate) fn fetch_items(&self, slots: impl Iterator<Item = u32>) {
        if let Some(cold) = self.cold {
            let mut batch = cold.batch();
            slots.for_each(|slot| self.add_item_to(&mut batch, Slot(slot)));
            batch.send(0);
        }
    }

    /// The slot of a live item.
    pub(crate) fn slot(&self, item: ItemId) -> Result<Option<Slot>> {
        meter::read();
        let (group, low) = ids::id_place(item);
        let key = self.key(Kind::ID_SLOTS, 0, group);
        let Some(value) = self.source.get(key)? else { return Ok(None) };
        let slot = ids::find(unverified(value), low).map_err(|what| Error::corrupt(key, what))?;
        match slot {
            Some(slot) if slot.0 >= self.snapshot.meta.slots => {
                Err(Error::corrupt(key, "it names a slot beyond all"))
            }
            slot => Ok(slot),
        }
    }
}
