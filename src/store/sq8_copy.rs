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
//! Builds within a memory budget have copies of another kind: `file_copies`.

use super::source::Source;
use super::view::View;
use crate::distance::{ByteKernels, Bytes, Form, Metric, prefetch};
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
pub(super) const RERANK_FACTOR: usize = 2;
/// Minimum recall: the copies are used if at least this fraction of the true neighbors is found.
const MIN_SAMPLE_RECALL: f64 = 0.95;
/// Slots per parallel task.
const TASK: usize = 1024;
/// Number of copies that are prefetched before the first is compared.
const PREFETCH_AHEAD: usize = 4;

/// The SQ8 copies of the vectors of all live slots.
pub(crate) struct Sq8Copy {
    /// Bytes of a copy: the components, their sum and the sum of their squares.
    stride: usize,
    codes: Vec<u8>,
    kernels: ByteKernels,
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

    /// Puts the copies of `slots`, which belong to one range of [`TASK`] slots, in their places.
    fn copies<'t, S: Source<'t>>(
        &self,
        view: &View<'_, 't, S>,
        slots: &[Slot],
        codes: &mut [u8],
    ) -> Result<()> {
        let stride = self.lowest.len() + SUMS_BYTES;
        let mut row = Vec::with_capacity(self.lowest.len());
        for slot in slots {
            let start = slot.index() % TASK * stride;
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
        let Some((tried, scale)) = Self::tried(view, slots)? else { return Ok(None) };
        let stride = tried.stride;
        let mut codes: Vec<u8> = bytemuck::zeroed_vec(view.snapshot.meta.slots as usize * stride);
        // Other slots are not compared, so their copies do not matter.
        let chunks = codes.chunks_mut(TASK * stride).zip(in_chunks(slots));
        threads::for_each(chunks, |(codes, slots)| scale.copies(view, slots, codes))?;
        Ok(Some(Self { codes, ..tried }))
    }

    /// Determines the scale, and runs the recall check on a sample. Returns copies of the sample,
    /// by position. `None` if the metric does not order like Euclidean distances, or if the copies
    /// fail the check.
    fn tried<'t, S: Source<'t> + Sync>(
        view: &View<'_, 't, S>,
        slots: &[Slot],
    ) -> Result<Option<(Self, Scale)>> {
        let dimensions = view.snapshot.meta.dimensions as usize;
        if !has_copies(view.snapshot.metric) {
            return Ok(None);
        }
        let sample = sample(slots.iter().copied(), slots.len(), SAMPLE);
        let mut rows = Vec::with_capacity(sample.len() * dimensions);
        for slot in &sample {
            components(view, *slot, &mut rows)?;
        }
        let scale = Scale::of(&rows, dimensions);
        let stride = dimensions + SUMS_BYTES;
        let mut codes = vec![0; sample.len() * stride];
        codes
            .chunks_mut(stride)
            .zip(rows.chunks(dimensions))
            .for_each(|(code, row)| scale.encode(row.iter().copied(), code));
        let tried = Self { stride, codes, kernels: ByteKernels::detect() };
        let estimate = |from: usize, numbers: &[u32], out: &mut Vec<f32>| {
            tried.squared(from, numbers, out);
        };
        let passes = passes_recall_check(view, &sample, estimate)?;
        Ok(passes.then_some((tried, scale)))
    }

    #[inline]
    fn bytes(&self, number: usize) -> &[u8] {
        let start = number * self.stride;
        self.codes.get(start..start + self.stride).unwrap_or_default()
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
    has_recall(sample.len(), RERANK_FACTOR, exact, estimate)
}

/// The recall check on a sample of `count` vectors: `exact` gets the distances of one of them from
/// all. `factor` times as many candidates as neighbors are reranked.
pub(super) fn has_recall(
    count: usize,
    factor: usize,
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
        let estimated = nearest(&estimates, factor * RECALL_K);
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
pub(super) fn components<'t, S: Source<'t>>(
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

/// Splits ascending slots into the ranges of [`TASK`] slots that they belong to.
fn in_chunks(slots: &[Slot]) -> Vec<&[Slot]> {
    let chunks = slots.last().map_or(0, |last| last.index() / TASK + 1);
    let start = |chunk: usize| slots.partition_point(|slot| slot.index() < chunk * TASK);
    (0..chunks).map(|chunk| &slots[start(chunk)..start(chunk + 1)]).collect()
}

/// Whether copies order like the distances of a metric: these, and those of `file_copies`.
pub(crate) fn has_copies(metric: &Metric) -> bool {
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
