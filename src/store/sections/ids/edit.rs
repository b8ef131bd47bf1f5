//! The write buffer of the maps between items and slots: groups are read on first use, and written
//! together.

use std::collections::BTreeMap;

use heed::RoTxn;

use crate::error::{Error, Result};
use crate::format::checksum::Sound;
use crate::format::ids::{self, IdGroup};
use crate::format::{Key, Kind};
use crate::store::Place;
use crate::store::target::Put;
use crate::types::{ItemId, Slot};

/// Groups of item ids that are buffered before they are written: 4 MB if they are dense.
const CACHED_GROUPS: usize = 1024;

/// The write buffer: see the module.
#[derive(Debug, Default)]
pub(in crate::store) struct IdMaps {
    slot_ids: BTreeMap<u32, Vec<ItemId>>,
    id_slots: BTreeMap<u32, IdGroup>,
}

fn key(place: Place<'_>, kind: Kind, number: u32) -> Key {
    Key::new(place.index, kind, 0, number)
}

impl IdMaps {
    /// Whether the buffer is so large that it should be written.
    pub(in crate::store) fn is_large(&self) -> bool {
        self.id_slots.len() > CACHED_GROUPS
    }

    /// The slot of an item. `slots` is the number of slots of the index.
    pub(in crate::store) fn slot(
        &self,
        place: Place<'_>,
        rtxn: &RoTxn<'_>,
        item: ItemId,
        slots: u32,
    ) -> Result<Option<Slot>> {
        let (group, low) = ids::id_place(item);
        let key = key(place, Kind::ID_SLOTS, group);
        let damaged = |what| Error::corrupt(key, what);
        let slot = match self.id_slots.get(&group) {
            Some(group) => group.find(low),
            None => match place.sound(rtxn, key)? {
                Some(sound) => ids::find(sound.body(), low).map_err(damaged)?,
                None => None,
            },
        };
        if slot.is_some_and(|slot| slot.0 >= slots) {
            Err(damaged("it names a slot beyond all"))
        } else {
            Ok(slot)
        }
    }

    /// Assigns a slot to an item, or removes its slot.
    pub(in crate::store) fn set_slot(
        &mut self,
        place: Place<'_>,
        rtxn: &RoTxn<'_>,
        item: ItemId,
        slot: Option<Slot>,
    ) -> Result<()> {
        let (number, low) = ids::id_place(item);
        let key = key(place, Kind::ID_SLOTS, number);
        let group = match self.id_slots.remove(&number) {
            Some(group) => group,
            None => match place.sound(rtxn, key)? {
                Some(sound) => {
                    IdGroup::decode(sound.body()).map_err(|what| Error::corrupt(key, what))?
                }
                None => IdGroup::default(),
            },
        };
        self.id_slots.entry(number).or_insert(group).set(low, slot);
        Ok(())
    }

    /// Assigns an item to a slot; 0 if the slot is free.
    pub(in crate::store) fn set_item(
        &mut self,
        place: Place<'_>,
        rtxn: &RoTxn<'_>,
        slot: Slot,
        item: ItemId,
    ) -> Result<()> {
        let (number, in_group) = ids::slot_place(slot);
        let key = key(place, Kind::SLOT_IDS, number);
        let group = match self.slot_ids.remove(&number) {
            Some(group) => group,
            None => ids::decode_slots(place.sound(rtxn, key)?.map(Sound::body).unwrap_or_default())
                .ok_or(Error::corrupt(key, "it has more entries than a group"))?,
        };
        let group = self.slot_ids.entry(number).or_insert(group);
        if group.len() <= in_group {
            group.resize(in_group + 1, 0);
        }
        group[in_group] = item;
        Ok(())
    }

    /// Drains the buffered groups of both maps.
    pub(in crate::store) fn puts(&mut self, place: Place<'_>) -> Vec<Put> {
        let slot_ids = std::mem::take(&mut self.slot_ids).into_iter();
        let mut puts: Vec<Put> = slot_ids
            .map(|(number, group)| {
                (key(place, Kind::SLOT_IDS, number), Some(ids::encode_slots(&group)))
            })
            .collect();
        puts.extend(std::mem::take(&mut self.id_slots).into_iter().map(|(number, group)| {
            let body = (!group.entries().is_empty()).then(|| group.encode());
            (key(place, Kind::ID_SLOTS, number), body)
        }));
        puts
    }
}
