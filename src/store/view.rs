//! A view: a snapshot with a source, which reads the vectors, ids and sets of an index. Its graph
//! is in `sections/graph/view.rs`, and distances to its vectors in `prepared_query`.
//!
//! Every access goes to a pointer table first, and to the source only once per value and snapshot.
//! All numbers from disk are checked before use: a damaged value is an [`Error::Corrupt`], never a
//! panic and never a read beyond the map.

use std::hint::black_box;
use std::ops::Range;

use roaring::RoaringBitmap;

pub(crate) use super::address::Address;
use super::meter;
use super::readahead::residency::{Batch, Residency};
use super::readahead::{WINDOW_BYTES, ask_for, ask_for_window};
use super::snapshot::Snapshot;
use super::source::{AnySource, SoundSource, Source};
use super::strided::Strided;
use crate::codec::Components;
use crate::distance::{Kernels, Metric};
use crate::error::{Error, Result, VectorDefect};
use crate::format::block::Geometry;
use crate::format::checksum::Sound;
use crate::format::{Key, Kind, set};
use crate::types::Slot;

/// Scattered rows that are read ahead at a time: as many as disks have in flight at once.
pub(crate) const ROWS_AHEAD: usize = 128;

/// What of some values is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parts {
    /// All that is not believed to be in memory.
    Unseen,
    /// The values without their factors, whatever is believed.
    Rows,
}

/// A view: see the module.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'s, 't, S> {
    pub(crate) snapshot: &'s Snapshot<'t>,
    pub(crate) source: S,
    /// The metric that vectors are compared by: that of the index, unless a query has another one.
    pub(crate) metric: &'static Metric,
    pub(super) kernels: Kernels,
    /// What is in memory, if a search must ask for the rest.
    pub(super) cold: Option<&'s Residency>,
}

impl<'s, 't, S: Source<'t>> View<'s, 't, S> {
    pub(crate) fn new(snapshot: &'s Snapshot<'t>, source: S) -> Self {
        Self {
            snapshot,
            source,
            metric: snapshot.metric,
            kernels: snapshot
                .metric
                .kernels(snapshot.meta.dimensions as usize, snapshot.meta.scale),
            cold: None,
        }
    }

    /// The same for a search of a cold index, or one that is warm.
    pub(crate) fn with_cold(self, cold: Option<&'s Residency>) -> Self {
        Self { cold, ..self }
    }

    /// The same for comparisons by another metric of the same element type.
    pub(crate) fn by_metric(self, metric: &'static Metric) -> Self {
        let meta = &self.snapshot.meta;
        Self { metric, kernels: metric.kernels(meta.dimensions as usize, meta.scale), ..self }
    }

    /// Whether vectors are compared by another metric than that of the index, whose factors and
    /// codes are of no use then.
    #[inline(always)]
    pub(crate) fn has_other_metric(&self) -> bool {
        !std::ptr::eq(self.metric, self.snapshot.metric) && self.metric != self.snapshot.metric
    }

    /// A vector with the factor of the other metric.
    ///
    /// # Errors
    /// Why that cannot compare it, as the cosine distance cannot compare zeros.
    pub(crate) fn in_other_metric<'a>(
        &self,
        address: Address<'a>,
    ) -> Result<Address<'a>, VectorDefect> {
        let (metric, meta) = (self.metric, &self.snapshot.meta);
        let decoded = metric.decode(address.bytes, meta.scale);
        let floats = metric.floats(&decoded, meta.dimensions as usize);
        metric.check_given(Components::F32(&floats))?;
        let factor = if metric.has_factor { metric.factor(&decoded) } else { 0.0 };
        Ok(Address { factor, ..address })
    }

    /// See [`with_cold`](Self::with_cold).
    #[inline(always)]
    pub(crate) fn cold(&self) -> Option<&'s Residency> {
        self.cold
    }

    /// The same with a type-erased source, for the calling thread: search code is compiled once.
    pub(crate) fn on_any_source<'v>(&'v self) -> View<'s, 't, &'v (dyn Source<'t> + 'v)>
    where
        't: 'v,
    {
        let Self { snapshot, ref source, metric, kernels, cold } = *self;
        View { snapshot, source, metric, kernels, cold }
    }

    /// The same with a type-erased source that verifies, for builds.
    pub(crate) fn erased<'v>(&'v self) -> View<'s, 't, AnySource<'v, 't>>
    where
        S: SoundSource<'t> + Sync,
        't: 'v,
    {
        let Self { snapshot, ref source, metric, kernels, cold } = *self;
        View { snapshot, source, metric, kernels, cold }
    }

    /// The slots that are not free.
    pub(crate) fn slots_in_use(&self) -> Result<RoaringBitmap> {
        let mut slots = RoaringBitmap::new();
        slots.insert_range(0..self.snapshot.meta.slots);
        Ok(slots - self.set(set::SetKind::Free)?)
    }

    /// The first slot of every stored value with this geometry: of each block, and the single ones
    /// after them.
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

    /// The vector of a slot, to be written elsewhere: the value that contains it is verified,
    /// whatever the source does. O(bytes of a block).
    pub(super) fn sound_vector(&self, slot: Slot) -> Result<Address<'t>> {
        let (key, value) =
            self.snapshot.vectors.value(self.snapshot.index, slot, |key| self.get_walked(key))?;
        Sound::of(key, value)?;
        self.vector(slot)
    }

    /// Appends the vectors of these slots without `gaps`, in order: a block is found once.
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

/// Values of one length that are to be read: those of vectors, or of codes.
impl<'t, S: Source<'t>> View<'_, 't, S> {
    /// Whether the values of some slots are in memory, as far as is known.
    pub(super) fn has_all(&self, values: &Strided<'t>, slots: &[u32]) -> bool {
        let Some(cold) = self.cold else { return true };
        let has = |slot: &u32| {
            let addresses = values.addresses(Slot(*slot));
            addresses.is_some_and(|parts| parts.into_iter().all(|bytes| cold.has(bytes)))
        };
        slots.iter().all(has)
            && slots
                .last()
                .and_then(|slot| values.addresses(Slot(*slot)))
                .is_none_or(|[value, _]| cold.audit(value))
    }

    /// Waits until the values of some slots have been read, if they were asked for in one batch:
    /// disks read it about in the order of addresses, which is that of the batch.
    #[cold]
    pub(super) fn wait_for(&self, values: &Strided<'t>, slots: &[u32]) {
        let found = slots.iter().filter_map(|slot| values.places()?.get(Slot(*slot), false));
        let last = found.max_by_key(|found| found.bytes.as_ptr().addr());
        black_box(last.and_then(|last| last.bytes.last().copied()));
    }

    /// Has the vectors of some slots read; whether any was not in memory.
    pub(super) fn fetch_vectors(&self, slots: &[u32]) -> bool {
        let Some(cold) = self.cold else { return false };
        let mut batch = cold.batch();
        self.add_to(&mut batch, &self.snapshot.vectors, slots, Parts::Unseen);
        batch.send(0)
    }

    /// Has the values of some slots read.
    pub(super) fn add_to(
        &self,
        batch: &mut Batch<'_>,
        values: &Strided<'t>,
        slots: &[u32],
        parts: Parts,
    ) {
        for slot in slots.iter().map(|slot| Slot(*slot)) {
            let found = values.addresses(slot).or_else(|| {
                // An error is left to whoever reads the value.
                let read = |key| self.get_walked(key);
                values.value(self.snapshot.index, slot, read).ok()?;
                values.addresses(slot)
            });
            match (found, parts) {
                (Some([value, factor]), Parts::Unseen) => {
                    batch.add(value);
                    batch.add(factor);
                }
                (Some([value, _]), Parts::Rows) => batch.add_transient(value),
                (None, _) => {}
            }
        }
    }
}

/// Reading ahead of a scan, where the index is not in memory.
impl<'t, S: Source<'t>> View<'_, 't, S> {
    /// The values that a scan of all slots reads: codes, if there are any, or vectors.
    fn scanned(&self, without_codes: bool) -> &Strided<'t> {
        let codes = self.snapshot.codes.as_ref().filter(|_| !without_codes);
        codes.map_or(&self.snapshot.vectors, |codes| &codes.values)
    }

    /// The number of slots whose values are read ahead at a time.
    pub(crate) fn slots_in_window(&self, without_codes: bool) -> usize {
        let geometry = self.scanned(without_codes).geometry;
        (WINDOW_BYTES / geometry.block_bytes).max(1) * geometry.vectors as usize
    }

    /// Reads the values of a range of slots ahead, unless they are in memory.
    #[cold]
    pub(crate) fn read_ahead(&self, slots: Range<u32>, without_codes: bool) {
        let (scanned, vectors) = (self.scanned(without_codes), &self.snapshot.vectors);
        ask_for_window(scanned.block_addresses(slots.clone()));
        if !std::ptr::eq(scanned, vectors) && vectors.geometry.factor > 0 {
            // The factors are read with the addresses of the vectors.
            ask_for(vectors.factor_addresses(slots));
        }
    }

    /// The stored bytes of the vector of a slot, whose factor is not read.
    pub(super) fn row(&self, slot: Slot) -> Result<&'t [u8]> {
        let vectors = &self.snapshot.vectors;
        match vectors.places().and_then(|places| places.get(slot, false)) {
            Some(address) => {
                meter::read();
                Ok(address.bytes)
            }
            None => Ok(self.vector(slot)?.bytes),
        }
    }

    /// Reads the values of some slots ahead, if the index is cold.
    #[cold]
    pub(crate) fn read_rows_ahead(&self, slots: &[u32], without_codes: bool) {
        if let Some(cold) = self.cold {
            let mut batch = cold.batch();
            self.add_to(&mut batch, self.scanned(without_codes), slots, Parts::Unseen);
            slots.iter().for_each(|slot| self.add_item_to(&mut batch, Slot(*slot)));
            batch.send(0);
        }
    }
}

impl<'t, S: Source<'t>> View<'_, 't, S> {
    pub(crate) fn key(&self, kind: Kind, sub: u8, n: u32) -> Key {
        Key::new(self.snapshot.index, kind, sub, n)
    }

    /// The vector of a slot.
    #[inline(always)]
    pub(crate) fn vector(&self, slot: Slot) -> Result<Address<'t>> {
        meter::read();
        let vectors = &self.snapshot.vectors;
        vectors
            .get(slot)
            .map_or_else(|| vectors.find(self.snapshot.index, slot, |key| self.get_walked(key)), Ok)
    }

    /// Whether two slots have bit-identical vectors.
    #[cold]
    pub(crate) fn are_equal(&self, a: Slot, b: Slot) -> Result<bool> {
        Ok(a == b || self.row(a)? == self.row(b)?)
    }

    /// A value without a pointer table.
    pub(crate) fn get(&self, key: Key) -> Result<Option<&'t [u8]>> {
        self.source.get(key)
    }

    /// As [`get`](Self::get), for values that a build visits again and again: see
    /// [`Source::get_walked`].
    pub(super) fn get_walked(&self, key: Key) -> Result<Option<&'t [u8]>> {
        self.source.get_walked(key)
    }

    pub(crate) fn require(&self, key: Key) -> Result<&'t [u8]> {
        self.source.get(key)?.ok_or(Error::corrupt(key, "it is missing"))
    }
}

/// Checks the number of dimensions.
///
/// # Errors
/// [`Error::DimensionMismatch`].
pub(crate) fn check_dimensions(found: usize, expected: usize) -> Result<()> {
    if found == expected { Ok(()) } else { Err(Error::DimensionMismatch { expected, found }) }
}
