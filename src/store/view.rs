//! A snapshot with a source: the vectors, ids and sets of an index, as they are found. Its graph is
//! in `graph_view`, and distances to its vectors in `prepared_query`.
//!
//! Every access goes to a table first, and to the source only once per value and snapshot. All
//! numbers that come from disk are checked before they are used: a damaged value is an
//! [`Error::Corrupt`], never a panic and never a read beyond the map.

use std::ops::Range;
use std::sync::atomic::Ordering;

use roaring::RoaringBitmap;

pub(crate) use super::address::Address;
use super::meter;
use super::snapshot::Snapshot;
use super::source::{AnySource, SoundSource, Source};
use super::table::Memory;
use crate::distance::Kernels;
use crate::error::{Error, Result};
use crate::format::block::Geometry;
use crate::format::checksum::{Sound, unverified};
use crate::format::{Key, Kind, ids, set};
use crate::types::{ItemId, Layer, Slot};

/// See the module.
#[derive(Debug)]
pub(crate) struct View<'s, 't, S> {
    pub(crate) snapshot: &'s Snapshot<'t>,
    pub(super) source: S,
    pub(super) kernels: Kernels,
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
        let Snapshot { links, is_resolved, memory, .. } = self.snapshot;
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
        is_resolved.store(*memory == Memory::Full, Ordering::Release);
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

    pub(super) fn require(&self, key: Key) -> Result<&'t [u8]> {
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
}

/// # Errors
/// [`Error::DimensionMismatch`].
pub(crate) fn check_dimensions(found: usize, expected: usize) -> Result<()> {
    if found == expected { Ok(()) } else { Err(Error::DimensionMismatch { expected, found }) }
}
