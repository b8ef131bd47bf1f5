//! Undoing a torn edit: restores the items and vectors from before it.
//!
//! A marked META is the META from before the edit, and says how far the edit had come (`target`).
//! Before its end, an edit leaves three things intact (`edit`, `blocks`): the sets, and for each
//! slot that was not free its vector with its code and its entry in SLOT_IDS. So repair deletes
//! what belongs to no slot, and derives ID_SLOTS from SLOT_IDS. It keeps graph and codes unless the
//! edit had begun to write them ([`Torn::Derived`]); then all items become pending, without codes.
//!
//! All reads precede the first put. Values that are rewritten are verified first. Vectors and graph
//! are not read, only looked up, so that damage in them stays visible to `check`. O(items) time,
//! about 16 bytes of memory an item.

use std::collections::BTreeMap;

use heed::{RoTxn, RwTxn};
use roaring::RoaringBitmap;

use super::snapshot::{MISCOUNTED, read_marked};
use super::target::{Journal, Put, Target};
use super::{Place, sets};
use crate::error::{Error, Result};
use crate::format::block::Geometry;
use crate::format::checksum::Sound;
use crate::format::ids::{self, IdGroup, SLOT_GROUP};
use crate::format::meta::{Meta, Torn};
use crate::format::set::{CHUNK, SetKind, encode_chunk};
use crate::format::{Key, Kind, codes};
use crate::types::{ItemId, Slot};

/// Kind and sub of the blocks, and of the tail, of values that each slot has one of.
type Strided = [(Kind, u8); 2];
const VECTORS: Strided = [(Kind::Vectors, 0), (Kind::Tail, 0)];
const CODES: Strided = [(Kind::Codes, codes::BLOCKS), (Kind::Codes, codes::TAIL)];

/// Undoes a torn edit. `false` if there is none.
///
/// # Errors
/// [`Error::Corrupt`] if a value from before the edit is missing or damaged, and those of reading
/// META. Nothing has changed then.
pub(crate) fn repair(place: Place<'_>, wtxn: &mut RwTxn<'_>) -> Result<bool> {
    let Some((before, Some(torn))) = read_marked(place, wtxn)? else { return Ok(false) };
    let reading = Reading { place, rtxn: wtxn };
    if torn == Torn::Lost {
        let what = "an edit that rewrites the whole index failed half-way, and cannot be undone";
        return Err(Error::corrupt(Key::meta(place.index), what));
    }
    let mut meta = before.clone();
    let [mut pending, mut removed, mut free] = reading.sets(&before)?;
    if torn == Torn::Derived {
        free |= &removed;
        removed.clear();
        pending.insert_range(0..meta.slots);
        pending -= &free;
        (meta.pending, meta.removed, meta.free) = (meta.items, 0, free.len() as u32);
        (meta.next_rank, meta.is_coded) = (0, false);
        meta.roots.clear();
    }
    let mut kept = RoaringBitmap::new();
    kept.insert_range(0..meta.slots);
    kept -= &free;
    let mut puts = reading.strided(meta.geometry, VECTORS, meta.slots, &kept)?;
    if let Some(geometry) = meta.code_geometry() {
        puts.extend(reading.strided(geometry, CODES, meta.slots, &kept)?);
    }
    puts.extend(reading.ids(&meta, &kept, &removed)?);
    if torn == Torn::Derived {
        puts.extend(reading.set_puts([
            (SetKind::Pending, pending),
            (SetKind::Removed, removed),
            (SetKind::Free, free),
        ])?);
    }

    let mut journal = Journal::of_everything(before);
    let mut target = Target { place, wtxn, journal: &mut journal };
    target.mark(torn)?;
    if torn == Torn::Derived {
        for kind in [Kind::Codes, Kind::Links, Kind::Spill, Kind::In] {
            let bound = |sub, n| Key::new(place.index, kind, sub, n);
            target.delete_derived(bound(0, 0), bound(u8::MAX, u32::MAX))?;
        }
    }
    target.complete(puts, &meta)?;
    Ok(true)
}

/// The read side of a repair.
struct Reading<'a, 'e, 'p> {
    place: Place<'e>,
    rtxn: &'a RoTxn<'p>,
}

impl Reading<'_, '_, '_> {
    fn key(&self, (kind, sub): (Kind, u8), n: u32) -> Key {
        Key::new(self.place.index, kind, sub, n)
    }

    /// The body of a value.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if its checksum does not hold.
    fn sound(&self, key: Key) -> Result<Option<&[u8]>> {
        Ok(self.place.sound(self.rtxn, key)?.map(Sound::body))
    }

    /// The values of a kind and sub, from `n` on.
    fn from(&self, of: (Kind, u8), n: u32) -> Result<impl Iterator<Item = Result<(Key, &[u8])>>> {
        self.place.range(self.rtxn, self.key(of, n), self.key(of, u32::MAX))
    }

    /// The sets, by [`SetKind`].
    fn sets(&self, meta: &Meta) -> Result<[RoaringBitmap; 3]> {
        let read = |set, count: u32| {
            self.from((Kind::Sets, set as u8), 0)?.try_for_each(|entry| {
                entry.and_then(|(key, value)| Sound::of(key, value).map(drop))
            })?;
            let members = sets::read(self.place, self.rtxn, set)?;
            match members.len() == u64::from(count)
                && members.max().is_none_or(|max| max < meta.slots)
            {
                true => Ok(members),
                false => Err(Error::corrupt(self.key((Kind::Sets, set as u8), 0), MISCOUNTED)),
            }
        };
        Ok([
            read(SetKind::Pending, meta.pending)?,
            read(SetKind::Removed, meta.removed)?,
            read(SetKind::Free, meta.free)?,
        ])
    }

    /// The puts that reduce blocks and tail to `slots` slots, and check that `kept` have values.
    fn strided(
        &self,
        geometry: Geometry,
        [block, single]: Strided,
        slots: u32,
        kept: &RoaringBitmap,
    ) -> Result<Vec<Put>> {
        let sealed = slots / geometry.vectors;
        let tail_start = sealed * geometry.vectors;
        for number in 0..sealed {
            let key = self.key(block, number);
            let first = number * geometry.vectors;
            let is_there = self.place.unverified(self.rtxn, key)?.is_some();
            if !is_there && kept.range_cardinality(first..first + geometry.vectors) > 0 {
                return Err(Error::corrupt(key, "it is missing"));
            }
        }
        let mut found = RoaringBitmap::new();
        let mut puts = Vec::new();
        for entry in self.from(single, 0)? {
            let (key, _) = entry?;
            match key.n >= tail_start && kept.contains(key.n) {
                true => found.extend([key.n]),
                false => puts.push((key, None)),
            }
        }
        if let Some(slot) = kept.range(tail_start..).find(|slot| !found.contains(*slot)) {
            return Err(Error::corrupt(self.key(single, slot), "it is missing"));
        }
        for entry in self.from(block, sealed)? {
            puts.push((entry?.0, None));
        }
        Ok(puts)
    }

    /// The puts that restore SLOT_IDS, and derive ID_SLOTS from it. `kept` are the slots that are
    /// not free; those in `removed` have no live item.
    fn ids(&self, meta: &Meta, kept: &RoaringBitmap, removed: &RoaringBitmap) -> Result<Vec<Put>> {
        let mut puts = Vec::new();
        let mut groups: BTreeMap<u32, IdGroup> = BTreeMap::new();
        for number in 0..meta.slots.div_ceil(SLOT_GROUP) {
            let key = self.key((Kind::SlotIds, 0), number);
            let body = self.sound(key)?.ok_or(Error::corrupt(key, "it is missing"))?;
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
        for entry in self.from((Kind::SlotIds, 0), meta.slots.div_ceil(SLOT_GROUP))? {
            puts.push((entry?.0, None));
        }
        for entry in self.from((Kind::IdSlots, 0), 0)? {
            let (key, value) = entry?;
            let group = groups.remove(&key.n).map(|group| group.encode());
            let is_as_stored =
                Sound::of(key, value).is_ok_and(|sound| group.as_deref() == Some(sound.body()));
            if !is_as_stored {
                puts.push((key, group));
            }
        }
        puts.extend(
            groups.into_iter().map(|(number, group)| {
                (self.key((Kind::IdSlots, 0), number), Some(group.encode()))
            }),
        );
        Ok(puts)
    }

    /// The puts that replace the stored sets.
    fn set_puts(&self, sets: [(SetKind, RoaringBitmap); 3]) -> Result<Vec<Put>> {
        let mut puts = Vec::new();
        for (set, members) in sets {
            let mut chunks: BTreeMap<u32, RoaringBitmap> = BTreeMap::new();
            for entry in self.from((Kind::Sets, set as u8), 0)? {
                chunks.insert(entry?.0.n, RoaringBitmap::new());
            }
            for slot in members {
                chunks.entry(slot / CHUNK).or_default().insert(slot % CHUNK);
            }
            puts.extend(chunks.into_iter().map(|(number, members)| {
                let body = (!members.is_empty()).then(|| encode_chunk(members));
                (self.key((Kind::Sets, set as u8), number), body)
            }));
        }
        Ok(puts)
    }
}

/// Gives an item a slot. `false` if it has one.
fn insert(groups: &mut BTreeMap<u32, IdGroup>, item: ItemId, slot: Slot) -> bool {
    let (number, low) = ids::id_place(item);
    let group = groups.entry(number).or_default();
    let is_new = group.find(low).is_none();
    group.set(low, Some(slot));
    is_new
}
