//! Adding and removing items: one pass for one item or for many.
//!
//! An [`Edit`] reads META once, keeps what it changes in memory (map groups, set chunks, vectors
//! and codes of unfinished blocks), and writes each value once, in [`finish`](Edit::finish).
//! `blocks` places vectors and codes, `target` writes.
//!
//! Invariant: until `finish`, an edit can be undone (`repair`). A slot that it frees keeps its
//! vector and its entry in SLOT_IDS, and is not reused within the edit; the sets are written at the
//! end. So the old META, the sets and SLOT_IDS still describe all items from before the edit.
//!
//! Work for one item: O(1) values, none larger than a page except a block that becomes full.

use std::collections::BTreeMap;

use heed::RwTxn;
use roaring::RoaringBitmap;

use super::Place;
use super::blocks::Blocks;
use super::codes::read_coder;
use super::sets::SetEdit;
use super::snapshot::read_meta;
use super::target::{Journal, Put, Target, written};
use super::view::check_dimensions;
use crate::codec::Components;
use crate::codes::{Coder, Scratch};
use crate::distance::{Encoded, MAX_NAME_BYTES, Metric};
use crate::error::{Error, Result};
use crate::format::block::Geometry;
use crate::format::checksum::Sound;
use crate::format::delta::Delta;
use crate::format::ids::{self, IdGroup};
use crate::format::meta::{MAX_DIMENSIONS, Meta};
use crate::format::set::SetKind;
use crate::format::{Key, Kind, codes};
use crate::types::{ItemId, Scale, Slot};

/// Groups of item ids that are kept in memory before they are written: 4 MB if they are dense.
const CACHED_GROUPS: usize = 1024;

/// Bytes of encoded rows that wait in memory. User code (iterator, `AsRef`, metric) makes them, and
/// runs before any of them is stored.
const ROWS_BYTES: usize = 1 << 20;

/// Free slots of blocks are reused while at least one in so many slots is free: then a block that
/// is rewritten takes many vectors.
const REUSE_DIVISOR: u32 = 7;

/// Changes to one index that have not been written yet.
pub(crate) struct Edit<'w, 'e, 'p> {
    place: Place<'e>,
    wtxn: &'w mut RwTxn<'p>,
    pub(crate) meta: Meta,
    pending: SetEdit,
    removed: SetEdit,
    free: SetEdit,
    /// Slots that become free at the end.
    freed: RoaringBitmap,
    slot_ids: BTreeMap<u32, Vec<ItemId>>,
    id_slots: BTreeMap<u32, IdGroup>,
    vectors: Blocks,
    codes: Option<Codes>,
    journal: Journal,
}

/// An encoded item, ready to be added.
pub(crate) struct Row {
    item: ItemId,
    vector: Encoded,
}

/// The codes of an index, as they are being changed.
struct Codes {
    blocks: Blocks,
    /// Read when the first vector is encoded.
    coder: Option<Coder>,
    scratch: Scratch,
}

/// That there can be an index of so many dimensions, under a metric.
///
/// # Errors
/// [`Error::InvalidDimensions`], [`Error::InvalidParameter`].
pub(crate) fn check_new(metric: &Metric, dimensions: usize) -> Result<()> {
    if dimensions == 0 || dimensions > MAX_DIMENSIONS {
        return Err(Error::InvalidDimensions { found: dimensions, max: MAX_DIMENSIONS });
    }
    let name = metric.name();
    if name.len() > MAX_NAME_BYTES || name.is_empty() || name.contains('\0') {
        let remedy = "give the metric a name of 1 to 32 bytes without zeros";
        return Err(Error::InvalidParameter {
            name: "the length of the metric's name",
            value: name.len() as f64,
            remedy,
        });
    }
    Ok(())
}

/// The metadata of an index without items.
///
/// # Errors
/// As [`check_new`].
fn new_meta(metric: &Metric, dimensions: usize) -> Result<Meta> {
    check_new(metric, dimensions)?;
    Ok(Meta {
        metric: metric.name().to_owned(),
        codec: metric.codec,
        dimensions: dimensions as u32,
        geometry: Geometry::new(metric.bytes(dimensions), metric.has_factor),
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
        code_bits: 0,
        is_coded: false,
        growth: 0.0,
        roots: Vec::new(),
        scale: Scale::NONE,
        saturated: 0,
    })
}

impl<'w, 'e, 'p> Edit<'w, 'e, 'p> {
    /// Opens the index, or prepares to create it.
    ///
    /// # Errors
    /// Those of [`read_meta`], [`Error::InvalidDimensions`], and [`Error::DimensionMismatch`] if
    /// the index has others.
    pub(crate) fn begin(
        place: Place<'e>,
        wtxn: &'w mut RwTxn<'p>,
        dimensions: usize,
    ) -> Result<Self> {
        let fresh = new_meta(place.metric, dimensions)?;
        let stored = read_meta(place, wtxn)?;
        // What was there before a new index is not there any more.
        let journal = if stored.is_some() { Journal::of } else { Journal::of_everything };
        let meta = stored.unwrap_or(fresh);
        if meta.dimensions as usize != dimensions {
            return Err(Error::DimensionMismatch {
                expected: meta.dimensions as usize,
                found: dimensions,
            });
        }
        let blocks = |geometry, blocks, tail| Blocks::new(geometry, meta.slots, blocks, tail);
        let codes = meta.code_geometry().map(|geometry| Codes {
            blocks: blocks(geometry, (Kind::Codes, codes::BLOCKS), (Kind::Codes, codes::TAIL)),
            coder: None,
            scratch: Scratch::default(),
        });
        Ok(Self {
            place,
            wtxn,
            vectors: blocks(meta.geometry, (Kind::Vectors, 0), (Kind::Tail, 0)),
            codes,
            journal: journal(meta.clone()),
            meta,
            pending: SetEdit::new(SetKind::Pending),
            removed: SetEdit::new(SetKind::Removed),
            free: SetEdit::new(SetKind::Free),
            freed: RoaringBitmap::new(),
            slot_ids: BTreeMap::new(),
            id_slots: BTreeMap::new(),
        })
    }

    /// Encodes an item. Runs code of the metric, which may be the user's; changes nothing.
    ///
    /// # Errors
    /// A vector that does not fit, [`Error::NotTrained`].
    pub(crate) fn row(&self, item: ItemId, vector: Components<'_>) -> Result<Row> {
        Error::unless_known(self.place.metric, self.place.index)?;
        check_dimensions(vector.len(), self.meta.dimensions as usize)?;
        self.check_trained()?;
        let vector = self
            .place
            .metric
            .encode(vector, self.meta.scale)
            .map_err(|defect| Error::InvalidItem { item, defect })?;
        Ok(Row { item, vector })
    }

    /// How many rows to encode before the first of them is added; at least one.
    pub(crate) fn rows_at_once(&self) -> usize {
        let Geometry { stride, factor, .. } = self.meta.geometry;
        (ROWS_BYTES / (size_of::<Row>() + stride + factor)).max(1)
    }

    /// Adds an item, or replaces it.
    ///
    /// # Errors
    /// [`Error::IndexFull`].
    pub(crate) fn add(
        &mut self,
        Row { item, vector: Encoded { bytes, factor, saturated } }: Row,
    ) -> Result<()> {
        self.add_stored(item, bytes, factor)?;
        self.meta.saturated = self.meta.saturated.saturating_add(saturated);
        Ok(())
    }

    /// That vectors can be encoded.
    ///
    /// # Errors
    /// [`Error::NotTrained`].
    pub(crate) fn check_trained(&self) -> Result<()> {
        if self.place.metric.is_trained && !self.meta.scale.is_trained() {
            Err(Error::NotTrained { index: self.place.index })
        } else {
            Ok(())
        }
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
        self.store(slot, bytes, factor, false)?;
        self.seal()?;
        if self.id_slots.len() > CACHED_GROUPS {
            for (key, body) in self.map_puts() {
                self.target().put(key, body)?;
            }
        }
        Ok(())
    }

    /// Puts a vector and its code into place; not before the end if the slot may hold live ones.
    fn store(&mut self, slot: Slot, mut bytes: Vec<u8>, factor: f32, is_late: bool) -> Result<()> {
        let mut code = Vec::new();
        if let Some(Codes { coder, scratch, .. }) = &mut self.codes {
            let coder = match coder {
                Some(coder) => coder,
                None => coder.insert(read_coder(self.place, self.wtxn, &self.meta)?),
            };
            coder.encode(&bytes, factor, scratch, &mut code);
        }
        if self.place.metric.has_factor {
            bytes.extend(factor.to_le_bytes());
        }
        let Self { place, wtxn, journal, vectors, codes, .. } = self;
        let put = if is_late { Blocks::store_late } else { Blocks::store };
        put(vectors, Target { place: *place, wtxn, journal }, slot, bytes)?;
        match codes {
            Some(codes) => {
                put(&mut codes.blocks, Target { place: *place, wtxn, journal }, slot, code)
            }
            None => Ok(()),
        }
    }

    /// Does something to the vectors, and the same to the codes.
    fn each_blocks(
        &mut self,
        work: impl Fn(&mut Blocks, Target<'_, '_, '_>) -> Result<()>,
    ) -> Result<()> {
        let Self { place, wtxn, journal, vectors, codes, .. } = self;
        work(vectors, Target { place: *place, wtxn, journal })?;
        match codes {
            Some(codes) => work(&mut codes.blocks, Target { place: *place, wtxn, journal }),
            None => Ok(()),
        }
    }

    /// Turns what is full into blocks.
    fn seal(&mut self) -> Result<()> {
        let slots = self.meta.slots;
        self.each_blocks(|blocks, target| blocks.seal(target, slots))?;
        self.meta.sealed = slots / self.meta.geometry.vectors;
        Ok(())
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
        count
            .checked_sub(1)
            .ok_or(Error::corrupt(Key::meta(self.place.index), "it counts less than there is"))
    }

    /// Frees a slot that is in no other set; not before the end if the slot is older than the edit.
    fn release(&mut self, slot: Slot) -> Result<()> {
        if slot.0 < self.journal.before().slots {
            self.freed.insert(slot.0);
            return Ok(());
        }
        self.free(slot)
    }

    fn free(&mut self, slot: Slot) -> Result<()> {
        self.free.insert(self.place, self.wtxn, slot)?;
        self.meta.free += 1;
        self.set_item(slot, 0)?;
        self.vectors.release(slot);
        if let Some(codes) = &mut self.codes {
            codes.blocks.release(slot);
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
            self.meta.pending +=
                u32::from(self.pending.insert(self.place, self.wtxn, Slot(slot))?);
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

    /// Records that a slot without an item is in the graph, with the vector that the graph knows it
    /// by: the next build takes it out.
    pub(crate) fn left_in(&mut self, slot: Slot, vector: &[u8], factor: f32) -> Result<()> {
        let is_freed = self.freed.remove(slot.0);
        let is_free = !is_freed && self.free.remove(self.place, self.wtxn, slot)?;
        if is_free {
            self.meta.free = self.one_less(self.meta.free)?;
        }
        if is_freed || is_free {
            self.removed.insert(self.place, self.wtxn, slot)?;
            self.meta.removed += 1;
        }
        self.store(slot, vector.to_vec(), factor, true)
    }

    /// Chooses the bits of codes, 0 for none. Those that are there and have others are deleted.
    pub(crate) fn set_codes(&mut self, bits: u8) -> Result<()> {
        if self.meta.is_coded && self.meta.code_bits != bits {
            let bound = |sub, n| Key::new(self.place.index, Kind::Codes, sub, n);
            self.delete_derived(bound(0, 0), bound(u8::MAX, u32::MAX))?;
            self.codes = None;
            self.meta.is_coded = false;
        }
        self.meta.code_bits = bits;
        Ok(())
    }

    pub(crate) fn index(&self) -> u16 {
        self.place.index
    }

    fn target(&mut self) -> Target<'_, 'e, 'p> {
        Target { place: self.place, wtxn: self.wtxn, journal: &mut self.journal }
    }

    /// Puts or deletes a value of the graph or of the codes.
    pub(crate) fn put_derived(&mut self, key: Key, body: Option<Vec<u8>>) -> Result<()> {
        self.target().put_derived(key, body)
    }

    /// Deletes the values of graph or codes with keys from `first` to `last`, both included.
    pub(crate) fn delete_derived(&mut self, first: Key, last: Key) -> Result<()> {
        self.target().delete_derived(first, last)
    }

    /// Puts any value. Only LMDB may stop the edit from here on.
    pub(super) fn put_over(&mut self, key: Key, body: Option<Vec<u8>>) -> Result<()> {
        self.target().put_over(key, body)
    }

    /// Deletes all values with keys from `first` to `last`, both included; none that the edit
    /// caches. Only LMDB may stop the edit from here on.
    pub(super) fn delete_over(&mut self, first: Key, last: Key) -> Result<()> {
        self.target().delete_over(first, last)
    }

    /// Writes everything.
    pub(crate) fn finish(self) -> Result<()> {
        self.finish_with(Vec::new())
    }

    /// Writes everything, and these values of graph or codes. All reads precede the first put that
    /// overwrites live data.
    pub(crate) fn finish_with(mut self, derived: Vec<Put>) -> Result<()> {
        for slot in std::mem::take(&mut self.freed) {
            self.free(Slot(slot))?;
        }
        self.each_blocks(|blocks, target| blocks.check_late(&target))?;
        self.each_blocks(Blocks::write_late)?;
        let mut puts = derived;
        puts.extend(self.map_puts());
        puts.extend(self.vectors.rest(self.place));
        puts.extend(self.codes.iter_mut().flat_map(|codes| codes.blocks.rest(self.place)));
        let Self { place, wtxn, mut journal, meta, pending, removed, free, .. } = self;
        puts.extend([pending, removed, free].into_iter().flat_map(|set| set.into_puts(place)));
        Target { place, wtxn, journal: &mut journal }.complete(puts, &meta)
    }

    fn key(&self, kind: Kind, n: u32) -> Key {
        Key::new(self.place.index, kind, 0, n)
    }

    /// A free slot of the tail, where reusing costs no more than appending; one of the blocks,
    /// while there are many; or the next new one.
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
        let tail = self.vectors.tail_start();
        let slot = self.free.first_in(self.place, self.wtxn, tail, self.meta.slots)?;
        if slot.is_some() || self.meta.free.saturating_mul(REUSE_DIVISOR) < self.meta.slots {
            return Ok(slot);
        }
        // A sweep, so that the free slots of a block are used together and the block is rewritten
        // once for all of them.
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
            None => match self.place.sound(self.wtxn, key)? {
                Some(sound) => ids::find(sound.body(), low).map_err(damaged)?,
                None => None,
            },
        };
        if slot.is_some_and(|slot| slot.0 >= self.meta.slots) {
            Err(damaged("it names a slot beyond all"))
        } else {
            Ok(slot)
        }
    }

    fn set_slot(&mut self, item: ItemId, slot: Option<Slot>) -> Result<()> {
        let (number, low) = ids::id_place(item);
        let key = self.key(Kind::IdSlots, number);
        let group = match self.id_slots.remove(&number) {
            Some(group) => group,
            None => match self.place.sound(self.wtxn, key)? {
                Some(sound) => {
                    IdGroup::decode(sound.body()).map_err(|what| Error::corrupt(key, what))?
                }
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
            None => ids::decode_slots(
                self.place.sound(self.wtxn, key)?.map(Sound::body).unwrap_or_default(),
            )
            .ok_or(Error::corrupt(key, "it has more entries than a group"))?,
        };
        let group = self.slot_ids.entry(number).or_insert(group);
        if group.len() <= place {
            group.resize(place + 1, 0);
        }
        group[place] = item;
        Ok(())
    }

    /// Takes the cached groups of both maps.
    fn map_puts(&mut self) -> Vec<Put> {
        let index = self.place.index;
        let key = |kind, number| Key::new(index, kind, 0, number);
        let slot_ids = std::mem::take(&mut self.slot_ids).into_iter();
        let mut puts: Vec<Put> = slot_ids
            .map(|(number, group)| (key(Kind::SlotIds, number), Some(ids::encode_slots(&group))))
            .collect();
        puts.extend(std::mem::take(&mut self.id_slots).into_iter().map(|(number, group)| {
            let body = (!group.entries().is_empty()).then(|| group.encode());
            (key(Kind::IdSlots, number), body)
        }));
        puts
    }

    /// Whether earlier edits of the transaction have written more than a small part of the index.
    pub(crate) fn has_written_much(&self) -> Result<bool> {
        Ok(written(self.place, self.wtxn)? == Delta::Everything)
    }
}
