//! SQ8 copies of the vectors, one byte per component, for large builds: most of a build's time goes
//! into reading vectors that turn out to be no neighbors, and a quarter of the bytes is enough to
//! tell.
//!
//! Scalar quantization: a component is the number of steps above the smallest value of its
//! dimension. All dimensions have the same step, so that sums of squared differences order like
//! squared Euclidean distances, up to rounding. Candidates found by the copies are reranked with
//! exact distances. A recall check on a sample decides first whether the copies can tell near
//! vectors apart ([`Sq8Copy::new`]).
//!
//! A build within a memory budget has its copies in a temporary file ([`Sq8Copy::in_file`]), and
//! reads no vector but them ([`ByCopies`]): the exact distances of candidates would read a page of
//! the file for each.

use std::path::Path;

use super::GoOn;
use super::readahead::addresses;
use super::readahead::residency::Residency;
use super::source::Source;
use super::temp_map::{TempFile, TempMap};
use super::view::View;
use crate::distance::{ByteKernels, Bytes, Form, Kernels, Metric, prefetch};
use crate::error::Result;
use crate::format::take_u32;
use crate::graph::{DistanceComputer, Vectors};
use crate::threads::{self, SEARCHES};
use crate::types::Slot;

/// Bytes after the components of a copy: two sums of 4 bytes each.
const SUMS_BYTES: usize = 8;
/// Vectors in the sample that determines the range of each dimension.
const SAMPLE: usize = 4096;
/// Number of queries in the recall check: vectors of the sample, whose neighbors in the sample are
/// searched.
const RECALL_QUERIES: usize = 64;
/// Number of neighbors (top-k) per query in the recall check.
const RECALL_K: usize = 10;
/// The recall check reranks this many times as many candidates as it wants neighbors.
const RERANK_FACTOR: usize = 2;
/// Minimum recall: the copies are used if at least this fraction of the true neighbors is found.
const MIN_SAMPLE_RECALL: f64 = 0.95;
/// Slots per parallel task.
const TASK: usize = 1024;
/// Number of copies that are prefetched before the first is compared.
const PREFETCH_AHEAD: usize = 4;
/// The same for copies in a file: as many as this many bytes of components hold, and at least
/// [`LEAST_SAMPLE`]. They are compared in memory, as each is read with a block of the file.
const SAMPLE_BYTES: usize = 2 << 20;
const LEAST_SAMPLE: usize = 256;
/// Bytes of copies that are computed, on all threads, before they are written to a file.
const FILE_PART_BYTES: usize = 1 << 20;

/// The SQ8 copies of the vectors of all live slots.
pub(crate) struct Sq8Copy {
    /// Bytes of a copy: the components, their sum and the sum of their squares.
    stride: usize,
    codes: Storage,
    kernels: ByteKernels,
    /// What of a file is in memory.
    residency: Option<Residency>,
}

/// Where the copies are.
enum Storage {
    Memory(Vec<u8>),
    File(TempMap),
}

impl Storage {
    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Memory(bytes) => bytes,
            Self::File(map) => map.bytes(),
        }
    }
}

/// Bytes of the copy of a vector.
pub(crate) fn copy_bytes(dimensions: usize) -> usize {
    dimensions + SUMS_BYTES
}

/// The vectors of a view, with distance estimates from their copies.
pub(crate) struct WithSq8Copy<'v, 's, 't, S> {
    pub(crate) view: &'v View<'s, 't, S>,
    pub(crate) coarse: &'v Sq8Copy,
}

/// The scale of the quantization.
struct Scale {
    lowest: Vec<f32>,
    steps_per_unit: f32,
}

impl Scale {
    fn of(rows: &[f32], dimensions: usize) -> Self {
        let (mut lowest, mut highest) =
            (vec![f32::INFINITY; dimensions], vec![f32::NEG_INFINITY; dimensions]);
        for row in rows.chunks_exact(dimensions) {
            for ((lowest, highest), value) in lowest.iter_mut().zip(&mut highest).zip(row) {
                (*lowest, *highest) = (lowest.min(*value), highest.max(*value));
            }
        }
        let widest = lowest
            .iter()
            .zip(&highest)
            .map(|(lowest, highest)| highest - lowest)
            .fold(0.0, f32::max);
        Self { lowest, steps_per_unit: if widest > 0.0 { 255.0 / widest } else { 1.0 } }
    }

    fn encode(&self, vector: impl Iterator<Item = f32>, out: &mut [u8]) {
        let Some((out, sums)) = out.split_last_chunk_mut::<SUMS_BYTES>() else { return };
        for ((code, value), lowest) in out.iter_mut().zip(vector).zip(&self.lowest) {
            // The cast saturates: values outside the sample's range become its end, and NaN becomes
            // 0.
            *code = ((value - lowest) * self.steps_per_unit + 0.5) as u8;
        }
        sums.as_chunks_mut()
            .0
            .iter_mut()
            .zip(Bytes::sums(out))
            .for_each(|(bytes, sum)| *bytes = sum.to_le_bytes());
    }

    /// Puts the copies of `slots`, which belong to one range of `part` slots, in their places after
    /// the first `from` of the range.
    fn copies_from<'t, S: Source<'t>>(
        &self,
        view: &View<'_, 't, S>,
        slots: &[Slot],
        from: usize,
        part: usize,
        codes: &mut [u8],
    ) -> Result<()> {
        let stride = copy_bytes(self.lowest.len());
        let mut row = Vec::with_capacity(self.lowest.len());
        for slot in slots {
            let start = (slot.index() % part - from) * stride;
            row.clear();
            components(view, *slot, &mut row)?;
            self.encode(row.iter().copied(), &mut codes[start..start + stride]);
        }
        Ok(())
    }
}

impl Sq8Copy {
    /// Copies of the vectors of `slots`. `None` if the metric does not order like Euclidean
    /// distances, or if the copies fail the recall check. O(slots * dimensions), one byte of memory
    /// per component.
    pub(crate) fn new<'t, S: Source<'t> + Sync>(
        view: &View<'_, 't, S>,
        slots: &[Slot],
    ) -> Result<Option<Self>> {
        let Some((tried, scale)) = Self::tried(view, slots, false)? else { return Ok(None) };
        let stride = tried.stride;
        let mut codes: Vec<u8> = bytemuck::zeroed_vec(view.snapshot.meta.slots as usize * stride);
        // Other slots are not compared, so their copies do not matter.
        let chunks = codes.chunks_mut(TASK * stride).zip(in_chunks(slots, TASK));
        threads::for_each(chunks, |(codes, slots)| scale.copies_from(view, slots, 0, TASK, codes))?;
        Ok(Some(Self { codes: Storage::Memory(codes), ..tried }))
    }

    /// As [`new`](Self::new), of all slots that are not free, in a temporary file in `folder`, of
    /// which the page cache holds what is in use: `cache_bytes`, about. `live` is what the scale is
    /// made of. `go_on` is called now and then.
    ///
    /// # Errors
    /// Those of the folder.
    pub(crate) fn in_file<'t, S: Source<'t> + Sync>(
        view: &View<'_, 't, S>,
        live: &[Slot],
        folder: &Path,
        cache_bytes: u64,
        go_on: &GoOn<'_>,
    ) -> Result<Option<Self>> {
        let Some((tried, scale)) = Self::tried(view, live, true)? else { return Ok(None) };
        let slots: Vec<Slot> = view.slots_in_use()?.iter().map(Slot).collect();
        let stride = tried.stride;
        let mut file = TempFile::new(folder)?;
        let part = (FILE_PART_BYTES / stride).clamp(1, TASK);
        let mut codes = vec![0; part * stride];
        for slots in in_chunks(&slots, part) {
            go_on()?;
            // The ranges of slots are written in order, also those without live slots.
            let each = part.div_ceil(threads::available());
            let chunks = codes.chunks_mut(each * stride).zip(0..);
            let start = |at: usize| slots.partition_point(|slot| slot.index() % part < at);
            threads::for_each(chunks.collect::<Vec<_>>().into_iter(), |(codes, number)| {
                let slots = &slots[start(number * each)..start((number + 1) * each)];
                scale.copies_from(view, slots, number * each, part, codes)
            })?;
            file.write(&codes)?;
        }
        let residency = Some(Residency::new(cache_bytes));
        Ok(Some(Self { codes: Storage::File(file.finish()?), residency, ..tried }))
    }

    /// Asks the system to read the copies of a range of slots, which are compared next.
    pub(crate) fn will_need(&self, from: Slot, to: Slot) {
        if let Storage::File(map) = &self.codes {
            map.will_need(from.index() * self.stride, to.index() * self.stride);
        }
    }

    /// Determines the scale, and runs the recall check on a sample. Returns copies of the sample,
    /// by position. `None` if the metric does not order like Euclidean distances, or if the copies
    /// fail the check. With `in_memory`, a smaller sample is read once.
    fn tried<'t, S: Source<'t> + Sync>(
        view: &View<'_, 't, S>,
        slots: &[Slot],
        in_memory: bool,
    ) -> Result<Option<(Self, Scale)>> {
        let dimensions = view.snapshot.meta.dimensions as usize;
        if !has_sq8_copies(view.snapshot.metric) {
            return Ok(None);
        }
        let fitting = SAMPLE_BYTES / (size_of::<f32>() * dimensions);
        let most = if in_memory { fitting.clamp(LEAST_SAMPLE, SAMPLE) } else { SAMPLE };
        let sample = sample(slots.iter().copied(), slots.len(), most);
        let mut rows = Vec::with_capacity(sample.len() * dimensions);
        for slot in &sample {
            components(view, *slot, &mut rows)?;
        }
        let scale = Scale::of(&rows, dimensions);
        let stride = copy_bytes(dimensions);
        let mut codes = vec![0; sample.len() * stride];
        codes
            .chunks_mut(stride)
            .zip(rows.chunks(dimensions))
            .for_each(|(code, row)| scale.encode(row.iter().copied(), code));
        let tried = Self {
            stride,
            codes: Storage::Memory(codes),
            kernels: ByteKernels::detect(),
            residency: None,
        };
        let estimate = |from: usize, numbers: &[u32], out: &mut Vec<f32>| {
            tried.squared(from, numbers, out);
        };
        let passes = if in_memory {
            let kernels = Kernels::euclidean(dimensions);
            let row = |number: usize| &rows[number * dimensions..][..dimensions];
            let exact = |from: usize, out: &mut Vec<f32>| {
                let from = bytemuck::cast_slice(row(from));
                let to = (0..sample.len()).map(|to| bytemuck::cast_slice(row(to)));
                out.extend(to.map(|to| kernels.one(from, to)));
                Ok(())
            };
            has_recall(sample.len(), exact, estimate)?
        } else {
            passes_recall_check(view, &sample, estimate)?
        };
        Ok(passes.then_some((tried, scale)))
    }

    #[inline]
    fn bytes(&self, number: usize) -> &[u8] {
        let start = number * self.stride;
        self.codes.bytes().get(start..start + self.stride).unwrap_or_default()
    }

    #[inline]
    fn code(&self, number: u32) -> Bytes<'_> {
        let Some((components, sums)) = self.bytes(number as usize).split_last_chunk::<SUMS_BYTES>()
        else {
            return Bytes::default();
        };
        let [sum, squares] = [0, 4].map(|at| take_u32(sums, at).unwrap_or_default());
        Bytes { components, sum, squares }
    }

    fn squared(&self, from: usize, numbers: &[u32], out: &mut Vec<f32>) {
        out.clear();
        let from = self.code(from as u32);
        let hint = |numbers: &[u32]| {
            numbers.iter().for_each(|number| prefetch(self.bytes(*number as usize)))
        };
        hint(&numbers[..numbers.len().min(PREFETCH_AHEAD)]);
        let (fours, rest) = numbers.as_chunks::<4>();
        for (i, four) in fours.iter().enumerate() {
            let next = numbers.len().min(4 * i + PREFETCH_AHEAD)
                ..numbers.len().min(4 * i + 4 + PREFETCH_AHEAD);
            hint(&numbers[next]);
            out.extend(
                (self.kernels.four)(from, four.map(|number| self.code(number)))
                    .map(|squared| squared as f32),
            );
        }
        let mut four = [Bytes::default(); 4];
        four.iter_mut().zip(rest).for_each(|(code, number)| *code = self.code(*number));
        // Padding: an empty code would truncate the others.
        four.iter_mut().skip(rest.len()).for_each(|code| *code = from);
        out.extend(
            (self.kernels.four)(from, four).map(|squared| squared as f32).iter().take(rest.len()),
        );
    }
}

/// The recall check: whether the nearest slots by `estimate`, reranked, are nearly the true
/// nearest. `estimate` gets the position of a query in the sample and those of the slots to compare
/// it with.
pub(super) fn passes_recall_check<'t, S: Source<'t> + Sync>(
    view: &View<'_, 't, S>,
    sample: &[Slot],
    estimate: impl Fn(usize, &[u32], &mut Vec<f32>) + Sync,
) -> Result<bool> {
    let slots: Vec<u32> = sample.iter().map(|slot| slot.0).collect();
    let exact = |from: usize, out: &mut Vec<f32>| view.distances(sample[from], &slots, out);
    has_recall(sample.len(), exact, estimate)
}

/// The recall check on a sample of `count` vectors: `exact` gets the distances of one of them from
/// all.
fn has_recall(
    count: usize,
    exact: impl Fn(usize, &mut Vec<f32>) -> Result<()> + Sync,
    estimate: impl Fn(usize, &[u32], &mut Vec<f32>) + Sync,
) -> Result<bool> {
    let tried: Vec<usize> = (0..count).step_by(count.div_ceil(RECALL_QUERIES).max(1)).collect();
    let numbers: Vec<u32> = (0..count as u32).collect();
    let distances_of = exact;
    let found = |&from: &usize| -> Result<(usize, usize)> {
        let (mut exact, mut estimates) = (Vec::new(), Vec::new());
        distances_of(from, &mut exact)?;
        estimate(from, &numbers, &mut estimates);
        let nearest = |distances: &[f32], count: usize| {
            let mut order: Vec<usize> =
                (0..distances.len()).filter(|other| *other != from).collect();
            order.sort_by(|a, b| distances[*a].total_cmp(&distances[*b]));
            order.truncate(count);
            order
        };
        let Some(farthest) = nearest(&exact, RECALL_K).last().map(|last| exact[*last]) else {
            return Ok((0, 0));
        };
        // More candidates than needed are reranked. A result counts by its distance, as many may be
        // equal.
        let estimated = nearest(&estimates, RERANK_FACTOR * RECALL_K);
        let found =
            estimated.iter().filter(|other| exact[**other] <= farthest).count().min(RECALL_K);
        Ok((found, estimated.len().min(RECALL_K)))
    };
    let found = threads::map(&tried, SEARCHES, found)?;
    let (found, wanted) =
        found.iter().fold((0, 0), |sum, (found, wanted)| (sum.0 + found, sum.1 + wanted));
    Ok(found as f64 >= MIN_SAMPLE_RECALL * wanted as f64)
}

/// Appends the components between which Euclidean distances are computed.
fn components<'t, S: Source<'t>>(
    view: &View<'_, 't, S>,
    slot: Slot,
    out: &mut Vec<f32>,
) -> Result<()> {
    let (address, meta, metric) = (view.vector(slot)?, &view.snapshot.meta, view.snapshot.metric);
    let decoded = metric.decode(address.bytes, meta.scale);
    out.extend(metric.coded(&decoded, address.factor, meta.dimensions as usize));
    Ok(())
}

/// At most `most` of `count` slots, evenly spaced.
pub(crate) fn sample(slots: impl Iterator<Item = Slot>, count: usize, most: usize) -> Vec<Slot> {
    slots.step_by(count.div_ceil(most).max(1)).collect()
}

/// Splits ascending slots into the ranges of `part` slots that they belong to.
fn in_chunks(slots: &[Slot], part: usize) -> Vec<&[Slot]> {
    let chunks = slots.last().map_or(0, |last| last.index() / part + 1);
    let start = |chunk: usize| slots.partition_point(|slot| slot.index() < chunk * part);
    (0..chunks).map(|chunk| &slots[start(chunk)..start(chunk + 1)]).collect()
}

/// Whether the copies order like the distances of a metric.
pub(crate) fn has_sq8_copies(metric: &Metric) -> bool {
    matches!(metric.form, Form::SquaredDifferences | Form::Cosine)
}

impl<'t, S: Source<'t> + Sync> Vectors for WithSq8Copy<'_, '_, 't, S> {
    fn distances(&self, from: Slot, slots: &[u32], out: &mut Vec<f32>) -> Result<()> {
        self.view.distances(from, slots, out)
    }

    fn are_equal(&self, a: Slot, b: Slot) -> Result<bool> {
        self.view.are_equal(a, b)
    }

    fn are_products(&self) -> bool {
        self.view.are_products()
    }

    fn estimator(&self, from: Slot) -> Result<Option<Box<dyn DistanceComputer + '_>>> {
        Ok(Some(Box::new(FromSq8Copy { coarse: self.coarse, from })))
    }
}

/// The vectors of a view by their copies alone: a build reads no other bytes of them, except to
/// tell whether two of them are equal.
pub(crate) struct ByCopies<'v, 's, 't, S> {
    pub(crate) view: &'v View<'s, 't, S>,
    pub(crate) copies: &'v Sq8Copy,
}

impl<'t, S: Source<'t> + Sync> Vectors for ByCopies<'_, '_, 't, S> {
    fn distances(&self, from: Slot, slots: &[u32], out: &mut Vec<f32>) -> Result<()> {
        self.copies.squared(from.index(), slots, out);
        Ok(())
    }

    fn are_equal(&self, a: Slot, b: Slot) -> Result<bool> {
        self.view.are_equal(a, b)
    }

    /// Has the copies read that are not in memory, all at once: a page fault for each of them, one
    /// after the other, would take many times as long.
    fn prefetch(&self, slots: &[u32]) {
        if let Some(residency) = &self.copies.residency {
            let mut batch = residency.batch();
            slots.iter().for_each(|slot| batch.add(addresses(self.copies.bytes(*slot as usize))));
            batch.send(0);
        }
    }
}

/// Squared distances from the copy of a slot.
struct FromSq8Copy<'v> {
    coarse: &'v Sq8Copy,
    from: Slot,
}

impl DistanceComputer for FromSq8Copy<'_> {
    fn distances(&self, slots: &[u32], out: &mut Vec<f32>) -> Result<()> {
        self.coarse.squared(self.from.index(), slots, out);
        Ok(())
    }
}
