//! A snapshot with a source: the graph and the vectors that a search walks.
//!
//! Every access goes to a table first, and to the source only once per value and snapshot. All
//! numbers that come from disk are checked before they are used: a damaged value is an
//! [`Error::Corrupt`], never a panic and never a read beyond the map.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::atomic::Ordering;

use roaring::RoaringBitmap;

pub(crate) use super::address::Address;
use super::meter;
use super::snapshot::Snapshot;
use super::source::{AnySource, SoundSource, Source};
use super::strided::prefetch_places;
use super::table::Extent;
use crate::codec::Components;
use crate::distance::{Estimate, Form, Kernels, prefetch};
use crate::error::{Error, Result};
use crate::format::block::Geometry;
use crate::format::checksum::{Sound, unverified};
use crate::format::links::{self, OneWay, Record};
use crate::format::{Key, Kind, edges, ids, set};
use crate::graph::working::{Stored, StoredNode};
use crate::graph::{Graph, Probe, Vectors};
use crate::types::{ItemId, Layer, Slot};

/// Vectors that are looked up and hinted together, before they are compared.
const FEW: usize = 8;

/// See the module.
#[derive(Debug)]
pub(crate) struct View<'s, 't, S> {
    pub(crate) snapshot: &'s Snapshot<'t>,
    source: S,
    kernels: Kernels,
}

impl<'s, 't, S: Source<'t>> View<'s, 't, S> {
    pub(crate) fn new(snapshot: &'s Snapshot<'t>, source: S) -> Self {
        Self {
            snapshot,
            source,
            kernels: snapshot
                .metric
                .kernels(snapshot.meta.dimensions as usize, snapshot.meta.scale),
        }
    }

    /// The same on whatever source, for the calling thread: what searches is compiled once.
    pub(crate) fn on_any_source<'v>(&'v self) -> View<'s, 't, &'v (dyn Source<'t> + 'v)>
    where
        't: 'v,
    {
        View { snapshot: self.snapshot, source: &self.source, kernels: self.kernels }
    }

    /// The same on whatever source that verifies, for builds.
    pub(crate) fn erased<'v>(&'v self) -> View<'s, 't, AnySource<'v, 't>>
    where
        S: SoundSource<'t> + Sync,
        't: 'v,
    {
        View { snapshot: self.snapshot, source: &self.source, kernels: self.kernels }
    }

    /// Fills all tables. O(values) the first time.
    pub(crate) fn resolve_all(&self) -> Result<()> {
        let Snapshot { links, is_resolved, extent, .. } = self.snapshot;
        if is_resolved.load(Ordering::Acquire) {
            return Ok(());
        }
        self.resolve_vectors()?;
        self.resolve_codes()?;
        for (layer, [table, _]) in links.iter().enumerate() {
            for group in 0..table.len() {
                self.links(Kind::Links, Layer(layer as u8), group)?;
                self.links(Kind::Spill, Layer(layer as u8), group)?;
            }
        }
        // Small tables forget.
        is_resolved.store(*extent == Extent::Full, Ordering::Release);
        Ok(())
    }

    /// Fills the tables of vectors and item ids.
    pub(crate) fn resolve_vectors(&self) -> Result<()> {
        for slot in self.first_slots()? {
            self.vector(slot)?;
        }
        for slot in (0..self.snapshot.meta.slots).step_by(ids::SLOT_GROUP as usize) {
            self.item(Slot(slot))?;
        }
        Ok(())
    }

    /// What rules out most pairs of many queries and vectors, if the metric has it.
    pub(crate) fn estimates(&self) -> Vec<Estimate> {
        let Snapshot { metric, meta, .. } = self.snapshot;
        Estimate::of(metric.form, &self.kernels, meta.dimensions as usize)
    }

    /// The first slot of every value that holds vectors.
    pub(super) fn first_slots(&self) -> Result<impl Iterator<Item = Slot> + use<S>> {
        self.first_slots_of(&self.snapshot.meta.geometry)
    }

    /// The first slot of every value of this layout: blocks, and what is beyond them.
    pub(super) fn first_slots_of(
        &self,
        geometry: &Geometry,
    ) -> Result<impl Iterator<Item = Slot> + use<S>> {
        let meta = &self.snapshot.meta;
        let free = if meta.free > 0 { self.set(set::SetKind::Free)? } else { RoaringBitmap::new() };
        let tail_start = meta.slots - meta.slots % geometry.vectors;
        let tail = (tail_start..meta.slots).filter(move |slot| !free.contains(*slot));
        Ok((0..tail_start).step_by(geometry.vectors as usize).chain(tail).map(Slot))
    }

    /// The same, where it is rarely asked for.
    #[cold]
    #[inline(never)]
    fn vector_elsewhere(&self, slot: Slot) -> Result<Address<'t>> {
        self.vector(slot)
    }

    /// The vector of a slot, to be written elsewhere: the value that it lies in is verified,
    /// whatever the source does. O(bytes of a block).
    pub(super) fn sound_vector(&self, slot: Slot) -> Result<Address<'t>> {
        let (key, value) =
            self.snapshot.vectors.value(self.snapshot.index, slot, |key| self.get(key))?;
        Sound::of(key, value)?;
        self.vector(slot)
    }

    /// Adds the vectors of these slots, `gaps` left out, in order: a block is found once.
    pub(crate) fn vectors(
        &self,
        slots: Range<u32>,
        gaps: &RoaringBitmap,
        out: &mut Vec<(Slot, Address<'t>)>,
    ) -> Result<()> {
        let mut gaps = gaps.range(slots.clone()).peekable();
        let mut start = slots.start;
        while start < slots.end {
            let (block, place) = self.snapshot.meta.geometry.place(Slot(start));
            let first = start - place as u32;
            let end = slots.end.min(first + self.snapshot.meta.geometry.vectors);
            let mut live = (start..end).filter(|slot| gaps.next_if_eq(slot).is_none());
            match self.snapshot.vectors.blocks.get(block) {
                Some(value) => out.extend(live.map(|slot| {
                    (Slot(slot), self.snapshot.vectors.in_block(value, (slot - first) as usize))
                })),
                None => live.try_for_each(|slot| {
                    self.vector(Slot(slot)).map(|address| out.push((Slot(slot), address)))
                })?,
            }
            start = end;
        }
        Ok(())
    }

    /// The components of a slot's vector, as they are stored.
    pub(crate) fn components(&self, slot: Slot) -> Result<Vec<f32>> {
        let probe = self.probe(slot)?;
        let Snapshot { metric, meta, .. } = self.snapshot;
        Ok(metric.floats(&probe.bytes, meta.dimensions as usize))
    }

    /// A query, ready to be compared.
    ///
    /// # Errors
    /// [`Error::DimensionMismatch`], or what is wrong with it.
    pub(crate) fn query(&self, vector: Components<'_>) -> Result<StoredProbe<'_, 's, 't, S>> {
        check_dimensions(vector.len(), self.snapshot.meta.dimensions as usize)?;
        let (bytes, factor) = self
            .snapshot
            .metric
            .prepare(vector)
            .map_err(|defect| Error::InvalidQuery { defect })?;
        Ok(StoredProbe { view: self, bytes: Cow::Owned(bytes), factor })
    }

    /// The vector of a slot, ready to be compared.
    #[inline]
    pub(crate) fn probe(&self, slot: Slot) -> Result<StoredProbe<'_, 's, 't, S>> {
        let Address { bytes, factor } = self.vector(slot)?;
        Ok(StoredProbe {
            view: self,
            bytes: self.snapshot.metric.decode(bytes, self.snapshot.meta.scale),
            factor,
        })
    }
}

impl<'t, S: Source<'t>> View<'_, 't, S> {
    pub(super) fn key(&self, kind: Kind, sub: u8, n: u32) -> Key {
        Key::new(self.snapshot.index, kind, sub, n)
    }

    /// The vector of a slot.
    #[inline(always)]
    pub(crate) fn vector(&self, slot: Slot) -> Result<Address<'t>> {
        meter::read();
        let vectors = &self.snapshot.vectors;
        vectors
            .get(slot)
            .map_or_else(|| vectors.find(self.snapshot.index, slot, |key| self.get(key)), Ok)
    }

    /// Whether two slots have the same vector, to the last bit.
    #[cold]
    pub(crate) fn are_equal(&self, a: Slot, b: Slot) -> Result<bool> {
        Ok(a == b || self.vector(a)?.bytes == self.vector(b)?.bytes)
    }

    /// A value that no table is for.
    pub(crate) fn get(&self, key: Key) -> Result<Option<&'t [u8]>> {
        self.source.get(key)
    }

    fn require(&self, key: Key) -> Result<&'t [u8]> {
        self.source.get(key)?.ok_or(Error::corrupt(key, "it is missing"))
    }

    /// The item that a slot holds, or held.
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
        let key = self.key(Kind::SlotIds, 0, group);
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
        let key = self.key(Kind::IdSlots, 0, group);
        let Some(value) = self.source.get(key)? else { return Ok(None) };
        let slot = ids::find(unverified(value), low).map_err(|what| Error::corrupt(key, what))?;
        match slot {
            Some(slot) if slot.0 >= self.snapshot.meta.slots => {
                Err(Error::corrupt(key, "it names a slot beyond all"))
            }
            slot => Ok(slot),
        }
    }

    /// A set of slots, in full.
    pub(crate) fn set(&self, kind: set::SetKind) -> Result<RoaringBitmap> {
        let mut members = RoaringBitmap::new();
        for number in 0..self.snapshot.meta.slots.div_ceil(set::CHUNK) {
            let key = self.key(Kind::Sets, kind as u8, number);
            if let Some(value) = self.source.get(key)? {
                let chunk = set::decode_chunk(unverified(value))
                    .map_err(|what| Error::corrupt(key, what))?;
                members.extend(chunk.iter().map(|low| number * set::CHUNK + low));
            }
        }
        Ok(members)
    }

    /// The slots of all live items, pending or linked.
    pub(crate) fn live(&self) -> Result<RoaringBitmap> {
        let mut live = RoaringBitmap::new();
        live.insert_range(0..self.snapshot.meta.slots);
        live -= self.dead()?;
        Ok(live)
    }

    /// The slots of no item: those that are free, and those whose item has been removed.
    pub(crate) fn dead(&self) -> Result<RoaringBitmap> {
        let Snapshot { meta, removed, .. } = self.snapshot;
        if meta.free == 0 {
            Ok(removed.clone())
        } else {
            Ok(removed | self.set(set::SetKind::Free)?)
        }
    }

    /// The LINKS group of a slot, and its number in it.
    #[inline]
    fn group(&self, slot: Slot) -> Option<(usize, usize)> {
        Some(self.snapshot.group?.divide(slot.0))
    }

    /// A LINKS or SPILL value.
    #[inline]
    pub(super) fn links(&self, kind: Kind, layer: Layer, group: usize) -> Result<&'t [u8]> {
        meter::read();
        let key = self.key(kind, layer.0, group as u32);
        let tables = self
            .snapshot
            .links
            .get(layer.index())
            .ok_or_else(|| Error::corrupt(key, "there is no such layer"))?;
        let table = &tables[usize::from(kind == Kind::Spill)];
        match table.get(group) {
            Some(value) => Ok(value),
            None => match self.source.get(key)? {
                Some(value) => table.set(group, value),
                None => table.set_absent(group),
            }
            .ok_or_else(|| Error::corrupt(key, "it does not have the length that it says")),
        }
    }

    /// Where the record of a slot is: a LINKS or SPILL value and an offset. `None` if the layer
    /// does not have it.
    #[inline]
    fn record_place(&self, layer: Layer, slot: Slot) -> Result<Option<(&'t [u8], usize, Key)>> {
        let Some((group, in_group)) = self.group(slot) else { return Ok(None) };
        for kind in [Kind::Links, Kind::Spill] {
            let key = self.key(kind, layer.0, group as u32);
            let value = self.links(kind, layer, group)?;
            // An absent value has no directory.
            if value.len() == links::ABSENT_BYTES {
                return Ok(None);
            }
            match links::place(value, in_group).map_err(|what| Error::corrupt(key, what))? {
                links::Place::At(offset) => return Ok(Some((value, offset, key))),
                links::Place::Absent => return Ok(None),
                links::Place::Spilled => {}
            }
        }
        Err(Error::corrupt(
            self.key(Kind::Spill, layer.0, group as u32),
            "a spilled record is missing",
        ))
    }

    /// Whether a layer has nodes.
    pub(super) fn has_graph(&self, layer: Layer) -> bool {
        layer.index() < self.snapshot.links.len()
    }

    /// Slots in a LINKS group.
    pub(super) fn group_size(&self) -> Result<usize> {
        let connectivity = self
            .snapshot
            .meta
            .connectivity
            .ok_or(Error::corrupt(Key::meta(self.snapshot.index), "it has no connectivity"))?;
        Ok(usize::from(connectivity.links_group))
    }

    /// Whether a group has a SPILL value.
    pub(super) fn has_spill(&self, layer: Layer, group: usize) -> Result<bool> {
        Ok(self.has_graph(layer)
            && self.links(Kind::Spill, layer, group)?.len() > links::ABSENT_BYTES)
    }

    /// The bytes of all records of a group, empty where a slot has none: they are written back, so
    /// the values that they lie in are verified, whatever the source does.
    pub(super) fn group_records(&self, layer: Layer, group: usize) -> Result<Vec<Vec<u8>>> {
        let size = self.group_size()?;
        if !self.has_graph(layer) {
            return Ok(vec![Vec::new(); size]);
        }
        let [links, spill] = [Kind::Links, Kind::Spill].map(|kind| -> Result<Option<&[u8]>> {
            let value = self.links(kind, layer, group)?;
            if value.len() == links::ABSENT_BYTES {
                return Ok(None);
            }
            Sound::of(self.key(kind, layer.0, group as u32), value).map(|_| Some(value))
        });
        let (links, spill) = (links?, spill?);
        links::split_group(links, spill, size)
            .map_err(|what| Error::corrupt(self.key(Kind::Links, layer.0, group as u32), what))
    }

    /// Everything that the graph keeps of a node.
    pub(crate) fn record(&self, layer: Layer, slot: Slot) -> Result<Option<Record>> {
        if !self.has_graph(layer) {
            return Ok(None);
        }
        let Some((value, offset, key)) = self.record_place(layer, slot)? else { return Ok(None) };
        let (record, _) =
            links::decode_record(value, offset).map_err(|what| Error::corrupt(key, what))?;
        let bound = self.snapshot.meta.slots;
        let beyond = |slots: &[u32]| slots.last().is_some_and(|last| *last >= bound);
        if beyond(&record.neighbors)
            || matches!(&record.one_way, OneWay::Here(slots) if beyond(slots))
        {
            return Err(Error::corrupt(key, "a record names a slot beyond all"));
        }
        Ok(Some(record))
    }

    /// The bytes of a node's neighbor list; none for a slot that is no node.
    pub(crate) fn list(&self, layer: Layer, slot: Slot) -> Result<&'t [u8]> {
        let Some((value, offset, key)) = self.record_place(layer, slot)? else { return Ok(&[]) };
        links::list(value, offset).map_err(|what| Error::corrupt(key, what))
    }

    /// The in-neighbors of a node that it has no edge to, ascending.
    pub(crate) fn one_way(&self, layer: Layer, slot: Slot, record: &Record) -> Result<Vec<u32>> {
        match &record.one_way {
            OneWay::Here(slots) => Ok(slots.clone()),
            OneWay::Elsewhere => {
                meter::read();
                let key = self.key(Kind::In, layer.0, slot.0);
                let value = self.require(key)?;
                let slots = set::deserialize(unverified(value))
                    .map_err(|what| Error::corrupt(key, what))?;
                if slots.max().is_some_and(|max| max >= self.snapshot.meta.slots) {
                    return Err(Error::corrupt(key, "it names a slot beyond all"));
                }
                Ok(slots.iter().collect())
            }
        }
    }
}

/// # Errors
/// [`Error::DimensionMismatch`].
pub(crate) fn check_dimensions(found: usize, expected: usize) -> Result<()> {
    if found == expected { Ok(()) } else { Err(Error::DimensionMismatch { expected, found }) }
}

impl<'t, S: Source<'t>> Graph for View<'_, 't, S> {
    fn slots(&self) -> usize {
        self.snapshot.meta.slots as usize
    }

    fn is_sparse(&self) -> bool {
        self.snapshot.extent == Extent::Small
    }

    fn are_equal(&self, a: Slot, b: Slot) -> Result<bool> {
        self.are_equal(a, b)
    }

    #[inline]
    fn neighbors(&self, layer: Layer, slot: Slot, out: &mut Vec<u32>) -> Result<()> {
        let Some((value, offset, key)) = self.record_place(layer, slot)? else {
            let group = self.group(slot).map_or(0, |(group, _)| group as u32);
            return Err(Error::corrupt(
                self.key(Kind::Links, layer.0, group),
                "the record of a node is missing",
            ));
        };
        let from = out.len();
        links::list(value, offset)
            .and_then(|list| edges::decode_list(list, out))
            .map_err(|what| Error::corrupt(key, what))?;
        // Ascending, so that the last is the largest.
        match out[from..].last() {
            Some(last) if *last >= self.snapshot.meta.slots => {
                Err(Error::corrupt(key, "a neighbor list names a slot beyond all"))
            }
            _ => Ok(()),
        }
    }

    #[inline(always)]
    fn prefetch_place(&self, layer: Layer, slot: Slot) {
        let Some((group, in_group)) = self.group(slot) else { return };
        if let Some([table, _]) = self.snapshot.links.get(layer.index()) {
            table.prefetch(group, links::entry_offset(in_group));
        }
    }

    #[inline]
    fn prefetch_neighbors(&self, layer: Layer, slot: Slot) {
        let Some((group, in_group)) = self.group(slot) else { return };
        let Some(value) =
            self.snapshot.links.get(layer.index()).and_then(|tables| tables[0].get(group))
        else {
            return;
        };
        if let Ok(links::Place::At(offset)) = links::place(value, in_group) {
            prefetch(value.get(offset..(offset + 128).min(value.len())).unwrap_or_default());
        }
    }
}

impl<'t, S: Source<'t> + Sync> Stored for View<'_, 't, S> {
    fn node(&self, layer: Layer, slot: Slot) -> Result<Option<StoredNode>> {
        Ok(self.record(layer, slot)?.map(|record| {
            let children = record
                .neighbors
                .iter()
                .zip(&record.children)
                .filter(|(_, child)| **child)
                .map(|(slot, _)| Slot(*slot))
                .collect();
            StoredNode {
                neighbors: record.neighbors,
                children,
                parent: record.parent,
                rank: record.rank,
            }
        }))
    }

    fn one_way_in_neighbors(&self, layer: Layer, slot: Slot) -> Result<Vec<u32>> {
        match self.record(layer, slot)? {
            Some(record) => self.one_way(layer, slot, &record),
            None => Ok(Vec::new()),
        }
    }
}

impl<'t, S: Source<'t> + Sync> Vectors for View<'_, 't, S> {
    fn distances(&self, from: Slot, slots: &[u32], out: &mut Vec<f32>) -> Result<()> {
        self.probe(from)?.distances(slots, out)
    }

    fn are_equal(&self, a: Slot, b: Slot) -> Result<bool> {
        self.are_equal(a, b)
    }

    fn prefetch(&self, slots: &[u32]) {
        prefetch_places(self.snapshot.vectors.places(), slots);
    }
}

/// Distances from a query or a stored vector to the stored ones.
#[derive(Debug)]
pub(crate) struct StoredProbe<'v, 's, 't, S> {
    view: &'v View<'s, 't, S>,
    bytes: Cow<'v, [u8]>,
    factor: f32,
}

impl<'s, 't, S: Source<'t>> StoredProbe<'_, 's, 't, S> {
    #[inline]
    fn finish(&self, raw: f32, factor: f32) -> f32 {
        let Snapshot { metric, meta, .. } = self.view.snapshot;
        metric.finish(raw, [self.factor, factor], meta.dimensions as usize)
    }

    /// The same, for another view of the same snapshot.
    pub(crate) fn on<'a, T>(&'a self, view: &'a View<'s, 't, T>) -> StoredProbe<'a, 's, 't, T> {
        StoredProbe { view, bytes: Cow::Borrowed(&self.bytes), factor: self.factor }
    }

    /// The vector as it is compared, and its factor.
    pub(crate) fn prepared(&self) -> (&[u8], f32) {
        (&self.bytes, self.factor)
    }

    /// The distance to a slot: the least positive one where it came out as 0 and the vectors
    /// differ, because all squares of their differences underflow. To be asked of results only.
    #[inline]
    pub(crate) fn told_apart(&self, slot: Slot, distance: f32) -> Result<f32> {
        match self.view.snapshot.metric.form {
            Form::SquaredDifferences if distance == 0.0 => self.tell_apart(slot),
            _ => Ok(distance),
        }
    }

    #[cold]
    fn tell_apart(&self, slot: Slot) -> Result<f32> {
        let Snapshot { metric, meta, .. } = self.view.snapshot;
        let stored = metric.decode(self.view.vector(slot)?.bytes, meta.scale);
        let [stored, own] =
            [&*stored, &*self.bytes].map(|bytes| metric.floats(bytes, meta.dimensions as usize));
        // As numbers: -0 is 0.
        Ok(if stored == own { 0.0 } else { f32::from_bits(1) })
    }

    /// The distance to one vector.
    #[inline]
    pub(crate) fn distance(&self, to: Address<'_>) -> f32 {
        self.finish(self.view.kernels.one(&self.bytes, to.bytes), to.factor)
    }

    /// The distances to four vectors: the same bits as one by one.
    #[inline]
    pub(crate) fn distance4(&self, to: [Address<'_>; 4]) -> [f32; 4] {
        let raw = self.view.kernels.four(&self.bytes, to.map(|to| to.bytes));
        [0, 1, 2, 3].map(|i| self.finish(raw[i], to[i].factor))
    }
}

impl<'t, S: Source<'t>> Probe for StoredProbe<'_, '_, 't, S> {
    fn distances(&self, slots: &[u32], out: &mut Vec<f32>) -> Result<()> {
        out.clear();
        let Snapshot { vectors, metric, .. } = self.view.snapshot;
        let places = vectors.places();
        for slots in slots.chunks(FEW) {
            let mut few = [Address { bytes: &[], factor: 0.0 }; FEW];
            // All are on their way before the first is compared.
            for (address, slot) in few.iter_mut().zip(slots) {
                *address =
                    match places.and_then(|places| places.get(Slot(*slot), metric.has_factor)) {
                        Some(address) => {
                            meter::read();
                            address
                        }
                        None => self.view.vector_elsewhere(Slot(*slot))?,
                    };
                prefetch(address.bytes);
            }
            let (fours, rest) = few[..slots.len()].as_chunks::<4>();
            for four in fours {
                out.extend_from_slice(&self.distance4(*four));
            }
            out.extend(rest.iter().map(|address| self.distance(*address)));
        }
        Ok(())
    }

    #[inline]
    fn prefetch(&self, slots: &[u32]) {
        prefetch_places(self.view.snapshot.vectors.places(), slots);
    }
}
