//! Repairing the maps between items and slots after a torn edit.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::format::Kind;
use crate::format::checksum::Sound;
use crate::format::ids::{self, IdGroup, SLOT_GROUP};
use crate::format::set::SetKind;
use crate::store::sections::repair::Repair;
use crate::store::target::Put;
use crate::types::{ItemId, Slot};

/// The puts that restore SLOT_IDS, and rebuild ID_SLOTS from it.
pub(super) fn id_puts(repair: &Repair<'_, '_, '_>) -> Result<Vec<Put>> {
    let Repair { meta, kept, .. } = repair;
    // Removed slots have no live item.
    let removed = &repair.sets[SetKind::Removed as usize];
    let mut puts = Vec::new();
    let mut groups: BTreeMap<u32, IdGroup> = BTreeMap::new();
    for number in 0..meta.slots.div_ceil(SLOT_GROUP) {
        let key = repair.key((Kind::SLOT_IDS, 0), number);
        let body = repair.sound(key)?.ok_or(Error::corrupt(key, "it is missing"))?;
        let mut items = ids::decode_slots(body)
            .ok_or(Error::corrupt(key, "it has more entries than a group"))?;
        let first = number * SLOT_GROUP;
        let count = (meta.slots - first).min(SLOT_GROUP) as usize;
        if items.len() < count {
            return Err(Error::corrupt(key, "it ends before a slot"));
        }
        items.truncate(count);
        for (item, slot) in items.iter_mut().zip(first..) {
            if !kept.contains(slot) {
                *item = 0;
            } else if !removed.contains(slot) && !insert(&mut groups, *item, Slot(slot)) {
                return Err(Error::corrupt(key, "it names an item that has another slot"));
            }
        }
        let changed = ids::encode_slots(&items);
        if changed != body {
            puts.push((key, Some(changed)));
        }
    }
    for entry in repair.from((Kind::SLOT_IDS, 0), meta.slots.div_ceil(SLOT_GROUP))? {
        puts.push((entry?.0, None));
    }
    for entry in repair.from((Kind::ID_SLOTS, 0), 0)? {
        let (key, value) = entry?;
        let group = groups.remove(&key.n).map(|group| group.encode());
        let is_as_stored =
            Sound::of(key, value).is_ok_and(|sound| group.as_deref() == Some(sound.body()));
        if !is_as_stored {
            puts.push((key, group));
        }
    }
    puts.extend(
        groups
            .into_iter()
            .map(|(number, group)| (repair.key((Kind::ID_SLOTS, 0), number), Some(group.encode()))),
    );
    Ok(puts)
}

/// Assigns a slot to an item. `false` if the item already has one.
fn insert(groups: &mut BTreeMap<u32, IdGroup>, item: ItemId, slot: Slot) -> bool {
    let (number, low) = ids::id_place(item);
    let group = groups.entry(number).or_default();
    let is_new = group.find(low).is_none();
    group.set(low, Some(slot));
    is_new
}
