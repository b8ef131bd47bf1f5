//! Copies of the vectors in a temporary file, for builds within a memory budget: quantized codes
//! (`codes`) at 2 bits a component, or at 4 or 8 where fewer cannot tell near vectors apart.
//!
//! Such a build reads no vector but its copies ([`ByCopies`]): the exact distances of candidates
//! would read a page of the file of the index for each. Both sides of a distance are codes. A
//! recall check on a sample decides first whether that can tell near vectors apart.
//!
//! The page cache holds what is in use of the copies and of the neighbor lists. What else a search
//! needs, it asks for in batches: see `readahead`.

use std::hint::black_box;
use std::path::Path;

use roaring::RoaringBitmap;

use super::GoOn;
use super::readahead::addresses;
use super::readahead::residency::Residency;
use super::sections::codes::search::estimate;
use super::source::Source;
use super::sq8_copy::{RERANK_FACTOR, components, has_recall, sample};
use super::temp_map::{TempFile, TempMap};
use super::view::View;
use crate::codes::{Coder, Codes, Scratch};
use crate::distance::{CodeQuery, FACTOR_BYTES, Kernels, code_bytes};
use crate::error::Result;
use crate::graph::{DistanceComputer, Vectors};
use crate::threads;
use crate::types::Slot;

/// The precisions of copies, from the fewest bits to the most: below 8 bits only where there are so
/// many components that their errors average out, as no exact distance corrects them. Each with the
/// number of candidates for each neighbor that the recall check may take.
fn precisions(dimensions: usize) -> &'static [(Codes, usize)] {
    let all = &[
        (Codes::Bits2, 2 * RERANK_FACTOR),
        (Codes::Bits4, RERANK_FACTOR),
        (Codes::Bits8, RERANK_FACTOR),
    ];
    match Codes::fast(dimensions) {
        Codes::Bits4 => all,
        _ => &all[2..],
    }
}

/// The vectors of the recall check, which also give the center: as many as this many bytes hold, at
/// least [`LEAST_SAMPLE`] and at most [`SAMPLE`]. They are compared in memory, as each is read with
/// a block of the file.
const SAMPLE_BYTES: usize = 2 << 20;
const LEAST_SAMPLE: usize = 256;
const SAMPLE: usize = 4096;
/// The number of runs of slots that a second sample, half as large, consists of.
const RUNS: usize = 4;
/// The fewest slots that a thread encodes at a time, and bytes of copies that are computed, on all
/// threads, before they are written.
const LEAST_TASK: usize = 16;
const PART_BYTES: usize = 1 << 20;
/// The copies of at most this many slots are asked for at a time, in a pass over them.
const ASKED: usize = 256;

/// Bytes of a copy.
fn copy_bytes(precision: Codes, dimensions: usize) -> usize {
    code_bytes(precision.bits(), dimensions) + FACTOR_BYTES
}

/// Bytes of the largest copy.
pub(crate) fn most_copy_bytes(dimensions: usize) -> usize {
    copy_bytes(Codes::Bits8, dimensions)
}

/// The copies of the vectors of all slots that are not free.
pub(crate) struct FileCopies {
    coder: Coder,
    /// Bytes of a copy.
    pub(crate) stride: usize,
    map: TempMap,
    residency: Residency,
}

impl FileCopies {
    /// Makes the copies, in `folder`, with the fewest bits that pass the recall check; `None` if
    /// none do. The page cache holds `cache_bytes` of them and of the file of the index, about.
    /// `go_on` is called now and then.
    ///
    /// # Errors
    /// Those of the folder.
    pub(crate) fn new<'t, S: Source<'t> + Sync>(
        view: &View<'_, 't, S>,
        seed: u64,
        (folder, cache_bytes): (&Path, u64),
        go_on: &GoOn<'_>,
    ) -> Result<Option<Self>> {
        let (meta, metric) = (&view.snapshot.meta, view.snapshot.metric);
        let dimensions = meta.dimensions as usize;
        let live: Vec<Slot> = view.live()?.iter().map(Slot).collect();
        let most = SAMPLE_BYTES / (size_of::<f32>() * dimensions);
        let precisions = precisions(dimensions);
        let [spread, near] = samples(&live, most.clamp(LEAST_SAMPLE, SAMPLE));
        let spread = Sample::new(view, spread, dimensions)?;
        // Nothing but the vectors themselves is more exact than 8 bits.
        let near =
            (precisions.len() > 1).then(|| Sample::new(view, near, dimensions)).transpose()?;
        drop(live);
        let mut center = vec![0.0; dimensions];
        for row in spread.rows.chunks_exact(dimensions) {
            let share = 1.0 / spread.slots.len() as f32;
            center.iter_mut().zip(row).for_each(|(center, value)| *center += share * value);
        }
        for (codes, factor) in precisions.iter().copied() {
            let stride = copy_bytes(codes, dimensions);
            let coder = Coder::new(metric, codes, seed, center.clone(), meta.scale);
            let passes = |sample| tells_apart(view, &coder, sample, stride, factor);
            let also = near.as_ref().filter(|_| codes != Codes::Bits8);
            if passes(&spread)? && also.map_or(Ok(true), passes)? {
                drop((spread, near));
                let map = write(view, &coder, stride, folder, go_on)?;
                let residency = Residency::new(cache_bytes);
                return Ok(Some(Self { coder, stride, map, residency }));
            }
        }
        Ok(None)
    }

    /// What of the copies, and of the file of the index, is believed to be in memory.
    pub(crate) fn residency(&self) -> &Residency {
        &self.residency
    }

    /// Asks the system to read the copies of a range of slots, which are compared next.
    pub(crate) fn will_need(&self, from: Slot, to: Slot) {
        self.map.will_need(from.index() * self.stride, to.index() * self.stride);
    }

    #[inline]
    fn code(&self, slot: u32) -> &[u8] {
        let start = slot as usize * self.stride;
        self.map.bytes().get(start..start + self.stride).unwrap_or_default()
    }

    fn has(&self, slots: &[u32]) -> bool {
        let mut codes = slots.iter().map(|slot| addresses(self.code(*slot)));
        let last = slots.last().map(|slot| addresses(self.code(*slot)));
        codes.all(|code| self.residency.has(code))
            && last.is_none_or(|code| self.residency.audit(code))
    }

    /// Has the copies read that are not in memory, all at once: a page fault for each of them, one
    /// after the other, would take many times as long.
    fn fetch(&self, slots: &[u32]) -> bool {
        let mut is_any = false;
        for slots in slots.chunks(ASKED) {
            let mut batch = self.residency.batch();
            slots.iter().for_each(|slot| batch.add(addresses(self.code(*slot))));
            is_any |= batch.send(0);
        }
        is_any
    }

    fn wait(&self, slots: &[u32]) {
        let last = slots.iter().max().and_then(|last| self.code(*last).last().copied());
        black_box(last);
    }

    /// The distances from the copy of a slot. A free slot has none.
    fn from(&self, slot: Slot) -> FromCopy<'_> {
        FromCopy { copies: self, query: self.coder.query_of_code(self.code(slot.0)) }
    }
}

/// Distances from a copy, which is prepared once.
struct FromCopy<'v> {
    copies: &'v FileCopies,
    query: Option<CodeQuery>,
}

impl DistanceComputer for FromCopy<'_> {
    fn distances(&self, slots: &[u32], out: &mut Vec<f32>) -> Result<()> {
        out.clear();
        let Some(query) = &self.query else {
            out.resize(slots.len(), 0.0);
            return Ok(());
        };
        let copies = self.copies;
        estimate(&copies.coder, query, slots, |slot| Ok(copies.code(slot.0)), out)
    }

    fn has(&self, slots: &[u32]) -> bool {
        self.copies.has(slots)
    }

    fn fetch(&self, slots: &[u32]) -> bool {
        self.copies.fetch(slots)
    }

    fn wait(&self, slots: &[u32]) {
        self.copies.wait(slots);
    }
}

/// Vectors of the recall check, in memory.
struct Sample {
    slots: Vec<Slot>,
    rows: Vec<f32>,
}

impl Sample {
    fn new<'t, S: Source<'t>>(
        view: &View<'_, 't, S>,
        slots: Vec<Slot>,
        dimensions: usize,
    ) -> Result<Self> {
        let mut rows = Vec::with_capacity(slots.len() * dimensions);
        for slot in &slots {
            components(view, *slot, &mut rows)?;
        }
        Ok(Self { slots, rows })
    }
}

/// At most `most` slots from everywhere, and half as many in runs of slots that follow each other,
/// whose vectors are near each other if they were added in an order by locality. Copies that tell
/// the former apart need not tell the latter apart.
fn samples(live: &[Slot], most: usize) -> [Vec<Slot>; 2] {
    let run = (most / 2 / RUNS).min(live.len() / RUNS / 2);
    let starts = (0..RUNS).map(|nth| live.len() * (2 * nth + 1) / (2 * RUNS));
    let runs = starts.flat_map(|start| live[start..].iter().take(run));
    [sample(live.iter().copied(), live.len(), most), runs.copied().collect()]
}

/// The recall check.
fn tells_apart<'t, S: Source<'t> + Sync>(
    view: &View<'_, 't, S>,
    coder: &Coder,
    Sample { slots, rows }: &Sample,
    stride: usize,
    factor: usize,
) -> Result<bool> {
    let dimensions = view.snapshot.meta.dimensions as usize;
    let (mut scratch, mut codes) = (Scratch::default(), Vec::new());
    for slot in slots {
        let address = view.vector(*slot)?;
        coder.encode(address.bytes, address.factor, &mut scratch, &mut codes);
    }
    let kernels = Kernels::euclidean(dimensions);
    let row = |number: usize| &rows[number * dimensions..][..dimensions];
    let exact = |from: usize, out: &mut Vec<f32>| {
        let from = bytemuck::cast_slice(row(from));
        let to = (0..slots.len()).map(|to| bytemuck::cast_slice(row(to)));
        out.extend(to.map(|to| kernels.one(from, to)));
        Ok(())
    };
    let code = |number: usize| &codes[number * stride..][..stride];
    let estimate = |from: usize, numbers: &[u32], out: &mut Vec<f32>| {
        out.clear();
        if let Some(query) = coder.query_of_code(code(from)) {
            let codes: Vec<&[u8]> = numbers.iter().map(|to| code(*to as usize)).collect();
            (coder.estimates)(&query, &codes, out);
        }
    };
    has_recall(slots.len(), factor, exact, estimate)
}

/// Writes the copies by slot; zeros for a slot that is free.
fn write<'t, S: Source<'t> + Sync>(
    view: &View<'_, 't, S>,
    coder: &Coder,
    stride: usize,
    folder: &Path,
    go_on: &GoOn<'_>,
) -> Result<TempMap> {
    let slots = view.slots_in_use()?;
    let mut file = TempFile::new(folder)?;
    let part = (PART_BYTES / stride).max(1);
    let task = part.div_ceil(threads::available()).max(LEAST_TASK);
    let mut codes = vec![0; part * stride];
    let count = slots.max().map_or(0, |last| last as usize + 1);
    for first in (0..count).step_by(part) {
        go_on()?;
        let codes = &mut codes[..part.min(count - first) * stride];
        codes.fill(0);
        let tasks: Vec<_> = codes.chunks_mut(task * stride).zip((first..).step_by(task)).collect();
        threads::for_each(tasks.into_iter(), |(codes, first)| {
            encode(view, coder, &slots, first as u32, stride, codes)
        })?;
        file.write(codes)?;
    }
    file.finish()
}

/// Puts the copies of the slots from `first` on in their places.
fn encode<'t, S: Source<'t>>(
    view: &View<'_, 't, S>,
    coder: &Coder,
    slots: &RoaringBitmap,
    first: u32,
    stride: usize,
    codes: &mut [u8],
) -> Result<()> {
    let (mut scratch, mut code) = (Scratch::default(), Vec::with_capacity(stride));
    for slot in slots.range(first..first + (codes.len() / stride) as u32) {
        let address = view.vector(Slot(slot))?;
        code.clear();
        coder.encode(address.bytes, address.factor, &mut scratch, &mut code);
        codes[(slot - first) as usize * stride..][..stride].copy_from_slice(&code);
    }
    Ok(())
}

/// The vectors of a view by their copies alone: a build reads no other bytes of them, except to
/// tell whether two of them are equal.
pub(crate) struct ByCopies<'v, 's, 't, S> {
    pub(crate) view: &'v View<'s, 't, S>,
    pub(crate) copies: &'v FileCopies,
}

impl<'t, S: Source<'t> + Sync> Vectors for ByCopies<'_, '_, 't, S> {
    fn distances(&self, from: Slot, slots: &[u32], out: &mut Vec<f32>) -> Result<()> {
        self.copies.from(from).distances(slots, out)
    }

    fn are_equal(&self, a: Slot, b: Slot) -> Result<bool> {
        self.view.are_equal(a, b)
    }

    fn estimator(&self, from: Slot) -> Result<Option<Box<dyn DistanceComputer + '_>>> {
        Ok(Some(Box::new(self.copies.from(from))))
    }

    fn has(&self, slots: &[u32]) -> bool {
        self.copies.has(slots)
    }

    fn fetch(&self, slots: &[u32]) -> bool {
        self.copies.fetch(slots)
    }

    fn wait(&self, slots: &[u32]) {
        self.copies.wait(slots);
    }

    fn look_again(&self) {
        let FileCopies { residency, map, .. } = self.copies;
        if residency.has_read_much() {
            let lists = self.view.list_pages().collect::<Vec<_>>();
            residency.look_at(std::iter::once(addresses(map.bytes())).chain(lists));
        }
    }
}
