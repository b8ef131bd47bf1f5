//! Adding and removing items: one pass for one item or for many.
//!
//! An [`Edit`] reads META once, keeps what it changes in memory (map groups, set chunks, vectors of the unfinished block), and writes each
//! value once, in [`finish`](Edit::finish). A vector is written to its place at once and never moves: to TAIL while its block is not full,
//! to VECTORS with the whole block when it is.
//!
//! Work for one item: O(1) values, none larger than a page except a block that becomes full.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::Bound;

use heed::RwTxn;
use roaring::RoaringBitmap;

use super::Place;
use super::sets::SetEdit;
use super::snapshot::read_meta;
use super::view::{Encoded, check_dimensions, encode};
use crate::codec::{Codec, Component};
use crate::distance::{Distance, MAX_NAME_BYTES};
use crate::format::block::Geometry;
use crate::format::delta::{Delta, RING};
use crate::format::ids::{self, IdGroup};
use crate::format::meta::{MAX_DIMENSIONS, Meta};
use crate::format::set::SetKind;
use crate::format::{Key, Kind, checksum};
use crate::types::Scale;
use crate::{Error, ItemId, Result, Slot};

/// Groups of item ids that are kept in memory before they are written: 4 MB if they are dense.
const CACHED_GROUPS: usize = 1024;

/// Free slots of blocks are reused while at least one in so many slots is free: then a block that is rewritten takes many vectors.
const REUSE_SHARE: u32 = 7;

/// Changes to one index that have not been written yet.
pub(crate) struct Edit<'w, 'e, 'p, D> {
    place: Place<'e>,
    wtxn: &'w mut RwTxn<'p>,
    pub(crate) meta: Meta,
    pending: SetEdit,
    removed: SetEdit,
    free: SetEdit,
    slot_ids: BTreeMap<u32, Vec<ItemId>>,
    id_slots: BTreeMap<u32, IdGroup>,
    /// Bodies of TAIL values.
    tail: BTreeMap<Slot, Vec<u8>>,
    /// The block whose free slots are being reused, and its body.
    reused: Option<(u32, Vec<u8>)>,
    /// What has been written.
    delta: Delta,
    metric: PhantomData<D>,
}

/// The metadata of an index without items.
///
/// # Errors
/// [`Error::InvalidDimensions`].
fn new_meta<D: Distance>(dimensions: usize) -> Result<Meta> {
    if dimensions == 0 || dimensions > MAX_DIMENSIONS {
        return Err(Error::InvalidDimensions { found: dimensions, max: MAX_DIMENSIONS });
    }
    if D::name().len() > MAX_NAME_BYTES || D::name().is_empty() || D::name().contains('\0') {
        let remedy = "give the metric a name of 1 to 32 bytes without zeros";
        return Err(Error::InvalidParameter { name: "the length of the metric's name", value: D::name().len() as f64, remedy });
    }
    Ok(Meta {
        metric: D::name().to_owned(),
        codec: D::Codec::ID,
        dimensions: dimensions as u32,
        geometry: Geometry::new(D::Codec::bytes(dimensions), D::FACTOR),
        connectivity: None,
        ef_construction: 0,
        alpha: 0.0,
        slots: 0,
        sealed: 0,
        items: 0,
        pending: 0,
        removed: 0,
        free: 0,
        next_rank: 0,
        reuse_from: 0,
        roots: Vec::new(),
        scale: Scale::NONE,
        saturated: 0,
    })
}

impl<'w, 'e, 'p, D: Distance> Edit<'w, 'e, 'p, D> {
    /// Opens the index, or prepares to create it.
    ///
    /// # Errors
    /// Those of [`read_meta`], [`Error::InvalidDimensions`], and [`Error::DimensionMismatch`] if the index has others.
    pub(crate) fn begin(place: Place<'e>, wtxn: &'w mut RwTxn<'p>, dimensions: usize) -> Result<Self> {
        let fresh = new_meta::<D>(dimensions)?;
        let stored = read_meta::<D>(place, wtxn)?;
        // What was there before a new index is not there any more.
        let delta = if stored.is_some() { Delta::Values(Default::default()) } else { Delta::Everything };
        let meta = stored.unwrap_or(fresh);
        if meta.dimensions as usize != dimensions {
            return Err(Error::DimensionMismatch { expected: meta.dimensions as usize, found: dimensions });
        }
        Ok(Self {
            place,
            wtxn,
            meta,
            pending: SetEdit::new(SetKind::Pending),
            removed: SetEdit::new(SetKind::Removed),
            free: SetEdit::new(SetKind::Free),
            slot_ids: BTreeMap::new(),
            id_slots: BTreeMap::new(),
            tail: BTreeMap::new(),
            reused: None,
            delta,
            metric: PhantomData,
        })
    }

    /// Adds an item, or replaces it.
    ///
    /// # Errors
    /// A vector that does not fit, [`Error::NotTrained`]: nothing has changed. [`Error::IndexFull`].
    pub(crate) fn add<T: Component>(&mut self, item: ItemId, vector: &[T]) -> Result<()> {
        check_dimensions(vector.len(), self.meta.dimensions as usize)?;
        self.check_trained()?;
        let Encoded { bytes, factor, saturated } =
            encode::<D, T>(vector, self.meta.scale).map_err(|defect| Error::InvalidItem { item, defect })?;
        self.add_stored(item, bytes, factor)?;
        self.meta.saturated = self.meta.saturated.saturating_add(saturated);
        Ok(())
    }

    /// That vectors can be encoded.
    ///
    /// # Errors
    /// [`Error::NotTrained`].
    pub(crate) fn check_trained(&self) -> Result<()> {
        if D::Codec::IS_TRAINED && !self.meta.scale.is_trained() { Err(Error::NotTrained { index: self.place.index }) } else { Ok(()) }
    }

    /// Fixes what codes stand for, between the lowest and the highest number of a sample.
    ///
    /// # Errors
    /// [`Error::AlreadyInUse`].
    pub(crate) fn train(&mut self, scale: Scale) -> Result<()> {
        let vectors = self.meta.slots - self.meta.free;
        if vectors > 0 {
            return Err(Error::AlreadyInUse { index: self.place.index, vectors: vectors.into() });
        }
        (self.meta.scale, self.meta.saturated) = (scale, 0);
        Ok(())
    }

    /// Adds an item, or replaces it, with a vector as it is stored.
    pub(crate) fn add_stored(&mut self, item: ItemId, bytes: Vec<u8>, factor: f32) -> Result<()> {
        // The slot first: a replaced item's may only be reused by others.
        let slot = self.allocate()?;
        self.delete(item)?;
        self.set_slot(item, Some(slot))?;
        self.set_item(slot, item)?;
        self.pending.insert(self.place, self.wtxn, slot)?;
        self.meta.pending += 1;
        self.meta.items += 1;
        self.store(slot, bytes, factor)?;
        if self.meta.slots == (self.meta.sealed + 1).saturating_mul(self.meta.geometry.vectors) {
            self.seal()?;
        }
        if self.id_slots.len() > CACHED_GROUPS {
            self.write_maps()?;
        }
        Ok(())
    }

    /// Puts a vector into its place.
    fn store(&mut self, slot: Slot, mut bytes: Vec<u8>, factor: f32) -> Result<()> {
        let geometry = self.meta.geometry;
        let (block, place) = geometry.place(slot);
        if block < self.meta.sealed as usize {
            let body = self.reused_block(block as u32)?;
            geometry.put(body, place, &bytes, D::FACTOR.then_some(factor));
            return Ok(());
        }
        if D::FACTOR {
            bytes.extend(factor.to_le_bytes());
        }
        self.tail.insert(slot, bytes);
        Ok(())
    }

    /// The body of a block, to change. Reused slots come block by block, so that one block is kept.
    fn reused_block(&mut self, block: u32) -> Result<&mut [u8]> {
        if self.reused.as_ref().is_none_or(|(kept, _)| *kept != block) {
            self.write_reused()?;
            let key = self.key(Kind::Vectors, block);
            let value = self.place.get(self.wtxn, key)?.ok_or(Error::corrupt(key, "it is missing"))?;
            if value.len() != self.meta.geometry.block_bytes {
                return Err(Error::corrupt(key, "it does not have the length of a block"));
            }
            self.reused = Some((block, checksum::body(value).to_vec()));
        }
        Ok(self.reused.as_mut().map_or(&mut [], |(_, body)| body))
    }

    fn write_reused(&mut self) -> Result<()> {
        match self.reused.take() {
            Some((block, body)) => self.put(self.key(Kind::Vectors, block), Some(body)),
            None => Ok(()),
        }
    }

    /// Deletes an item. `false` if there is none.
    pub(crate) fn delete(&mut self, item: ItemId) -> Result<bool> {
        let Some(slot) = self.slot(item)? else { return Ok(false) };
        self.set_slot(item, None)?;
        self.meta.items = self.one_less(self.meta.items)?;
        if self.pending.remove(self.place, self.wtxn, slot)? {
            self.meta.pending = self.one_less(self.meta.pending)?;
            self.release(slot)?;
        } else {
            self.removed.insert(self.place, self.wtxn, slot)?;
            self.meta.removed += 1;
        }
        Ok(true)
    }

    /// A count after one of what it counts is gone.
    fn one_less(&self, count: u32) -> Result<u32> {
        count.checked_sub(1).ok_or(Error::corrupt(Key::meta(self.place.index), "it counts less than there is"))
    }

    /// Makes a slot that is in no other set free.
    fn release(&mut self, slot: Slot) -> Result<()> {
        self.free.insert(self.place, self.wtxn, slot)?;
        self.meta.free += 1;
        self.set_item(slot, 0)?;
        if slot.0 >= self.meta.tail_start() && self.tail.remove(&slot).is_none() {
            self.place.delete(self.wtxn, self.key(Kind::Tail, slot.0))?;
        }
        Ok(())
    }

    /// Records that pending slots are in the graph.
    pub(crate) fn linked(&mut self, slots: &RoaringBitmap) -> Result<()> {
        for slot in slots {
            if self.pending.remove(self.place, self.wtxn, Slot(slot))? {
                self.meta.pending = self.one_less(self.meta.pending)?;
            }
        }
        Ok(())
    }

    /// Records that live slots are not in the graph.
    pub(crate) fn unlinked(&mut self, slots: &RoaringBitmap) -> Result<()> {
        for slot in slots {
            self.meta.pending += u32::from(self.pending.insert(self.place, self.wtxn, Slot(slot))?);
        }
        Ok(())
    }

    /// Records that removed slots are not in the graph any more: they are free.
    pub(crate) fn taken_out(&mut self, slots: &RoaringBitmap) -> Result<()> {
        for slot in slots {
            if self.removed.remove(self.place, self.wtxn, Slot(slot))? {
                self.meta.removed = self.one_less(self.meta.removed)?;
                self.release(Slot(slot))?;
            }
        }
        Ok(())
    }

    /// Records that a slot without an item is in the graph, with the vector that the graph knows it by: the next build takes it out.
    pub(crate) fn left_in(&mut self, slot: Slot, vector: &[u8], factor: f32) -> Result<()> {
        if self.free.remove(self.place, self.wtxn, slot)? {
            self.meta.free = self.one_less(self.meta.free)?;
            self.removed.insert(self.place, self.wtxn, slot)?;
            self.meta.removed += 1;
        }
        self.store(slot, vector.to_vec(), factor)
    }

    pub(crate) fn index(&self) -> u16 {
        self.place.index
    }

    /// Stores a value, or deletes it.
    pub(crate) fn put(&mut self, key: Key, body: Option<Vec<u8>>) -> Result<()> {
        if let (Delta::Values(values), Some(list)) = (&mut self.delta, list(key)) {
            values[list].push(key.n);
        }
        self.place.put_or_delete(self.wtxn, key, body)
    }

    /// Deletes all values with keys from `first` to `last`, both included, which are not part of an edit.
    pub(crate) fn delete_range(&mut self, first: Key, last: Key) -> Result<()> {
        self.delta = Delta::Everything;
        self.place.delete_range(self.wtxn, first, last)
    }

    /// Writes everything.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.write_maps()?;
        self.write_reused()?;
        for (slot, body) in std::mem::take(&mut self.tail) {
            self.place.put(self.wtxn, Key::new(self.place.index, Kind::Tail, 0, slot.0), body)?;
        }
        self.write_delta()?;
        let Self { place, wtxn, meta, pending, removed, free, .. } = self;
        for set in [pending, removed, free] {
            set.finish(place, wtxn)?;
        }
        place.put(wtxn, Key::meta(place.index), meta.encode())
    }

    fn key(&self, kind: Kind, n: u32) -> Key {
        Key::new(self.place.index, kind, 0, n)
    }

    /// A free slot of the tail, where reusing costs no more than appending; one of the blocks, while there are many; or the next new one.
    fn allocate(&mut self) -> Result<Slot> {
        if let Some(slot) = self.reusable()? {
            self.free.remove(self.place, self.wtxn, slot)?;
            self.meta.free = self.one_less(self.meta.free)?;
            return Ok(slot);
        }
        if self.meta.slots == u32::MAX - 1 {
            return Err(Error::IndexFull(self.place.index));
        }
        let slot = Slot(self.meta.slots);
        self.meta.slots += 1;
        Ok(slot)
    }

    fn reusable(&mut self) -> Result<Option<Slot>> {
        if self.meta.free == 0 {
            return Ok(None);
        }
        let tail = self.meta.tail_start();
        let slot = self.free.first_in(self.place, self.wtxn, tail, self.meta.slots)?;
        if slot.is_some() || self.meta.free.saturating_mul(REUSE_SHARE) < self.meta.slots {
            return Ok(slot);
        }
        // A sweep, so that the free slots of a block are used together and the block is rewritten once for all of them.
        let from = self.meta.reuse_from.min(tail);
        let mut slot = self.free.first_in(self.place, self.wtxn, from, tail)?;
        if slot.is_none() {
            slot = self.free.first_in(self.place, self.wtxn, 0, from)?;
        }
        self.meta.reuse_from = slot.map_or(0, |slot| slot.0 + 1);
        Ok(slot)
    }

    /// The slot of an item.
    fn slot(&mut self, item: ItemId) -> Result<Option<Slot>> {
        let (group, low) = ids::id_place(item);
        let key = self.key(Kind::IdSlots, group);
        let damaged = |what| Error::corrupt(key, what);
        let slot = match self.id_slots.get(&group) {
            Some(group) => group.find(low),
            None => match self.place.get(self.wtxn, key)? {
                Some(value) => ids::find(checksum::body(value), low).map_err(damaged)?,
                None => None,
            },
        };
        if slot.is_some_and(|slot| slot.0 >= self.meta.slots) { Err(damaged("it names a slot beyond all")) } else { Ok(slot) }
    }

    fn set_slot(&mut self, item: ItemId, slot: Option<Slot>) -> Result<()> {
        let (number, low) = ids::id_place(item);
        let key = self.key(Kind::IdSlots, number);
        let group = match self.id_slots.remove(&number) {
            Some(group) => group,
            None => match self.place.get(self.wtxn, key)? {
                Some(value) => IdGroup::decode(checksum::body(value)).map_err(|what| Error::corrupt(key, what))?,
                None => IdGroup::default(),
            },
        };
        self.id_slots.entry(number).or_insert(group).set(low, slot);
        Ok(())
    }

    fn set_item(&mut self, slot: Slot, item: ItemId) -> Result<()> {
        let (number, place) = ids::slot_place(slot);
        let key = self.key(Kind::SlotIds, number);
        let group = match self.slot_ids.remove(&number) {
            Some(group) => group,
            None => ids::decode_slots(self.place.get(self.wtxn, key)?.map(checksum::body).unwrap_or_default())
                .ok_or(Error::corrupt(key, "it has more entries than a group"))?,
        };
        let group = self.slot_ids.entry(number).or_insert(group);
        if group.len() <= place {
            group.resize(place + 1, 0);
        }
        group[place] = item;
        Ok(())
    }

    fn write_maps(&mut self) -> Result<()> {
        let index = self.place.index;
        for (number, group) in std::mem::take(&mut self.slot_ids) {
            self.put(Key::new(index, Kind::SlotIds, 0, number), Some(ids::encode_slots(&group)))?;
        }
        for (number, group) in std::mem::take(&mut self.id_slots) {
            let body = (!group.entries().is_empty()).then(|| group.encode());
            self.place.put_or_delete(self.wtxn, Key::new(index, Kind::IdSlots, 0, number), body)?;
        }
        Ok(())
    }

    /// Adds what was written to what the transaction had written before.
    fn write_delta(&mut self) -> Result<()> {
        let transaction = self.wtxn.id() as u64;
        let key = self.key(Kind::Delta, (transaction % RING) as u32);
        let mut written = Delta::Values(Default::default());
        if let Some(value) = self.place.get(self.wtxn, key)? {
            match Delta::decode(checksum::body(value)) {
                Ok((earlier, _)) if earlier != transaction => {}
                Ok((_, delta)) => written = delta,
                Err(_) => written = Delta::Everything,
            }
        }
        // Also puts it in order.
        written.merge(std::mem::replace(&mut self.delta, Delta::Everything));
        self.place.put(self.wtxn, key, written.encode(transaction))
    }

    /// Turns the full tail into a block.
    fn seal(&mut self) -> Result<()> {
        let geometry = self.meta.geometry;
        let block = self.meta.sealed;
        let start = self.meta.tail_start();
        let mut body = geometry.new_block(block);
        let mut stored = Vec::new();
        for place in 0..geometry.vectors {
            let slot = Slot(start + place);
            let key = self.key(Kind::Tail, slot.0);
            let new = self.tail.remove(&slot);
            let old = match &new {
                Some(_) => None,
                None => self.place.get(self.wtxn, key)?,
            };
            stored.extend(old.map(|_| key));
            // A free slot has neither.
            let Some(value) = new.as_deref().or(old) else { continue };
            let vector = value.get(..geometry.stride).ok_or(Error::corrupt(key, "it is shorter than a vector"))?;
            let factor = geometry.tail_factor(value).filter(|_| D::FACTOR);
            geometry.put(&mut body, place as usize, vector, factor);
        }
        self.put(self.key(Kind::Vectors, block), Some(body))?;
        for key in stored {
            self.place.delete(self.wtxn, key)?;
        }
        self.meta.sealed += 1;
        Ok(())
    }
}

/// The list of DELTA that a value belongs to.
fn list(key: Key) -> Option<usize> {
    match (key.kind, key.sub) {
        (Kind::Vectors, _) => Some(0),
        (Kind::Links, 0) => Some(1),
        (Kind::SlotIds, _) => Some(2),
        _ => None,
    }
}

/// Deletes all keys of an index, whatever wrote them.
pub(crate) fn delete_index(place: Place<'_>, wtxn: &mut RwTxn<'_>) -> Result<()> {
    let first = place.index.to_be_bytes();
    let next = place.index.checked_add(1).map(u16::to_be_bytes);
    let end = next.as_ref().map_or(Bound::Unbounded, |next| Bound::Excluded(&next[..]));
    place.raw.delete_range(wtxn, &(Bound::Included(&first[..]), end))?;
    Ok(())
}
