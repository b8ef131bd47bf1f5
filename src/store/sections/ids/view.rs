//! Lookups in the two maps between items and slots.

use crate::error::{Error, Result};
use crate::format::checksum::unverified;
use crate::format::{Kind, ids};
use crate::store::meter;
use crate::store::source::Source;
use crate::store::view::View;
use crate::types::{ItemId, Slot};

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
