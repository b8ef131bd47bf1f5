//! The quantized codes of all vectors of an index in memory: training, encoding, and estimates for
//! builds.

use std::ops::Range;

use roaring::RoaringBitmap;

use super::coders::{coder, trained_key};
use super::search::estimate;
use super::training::{judge, train};
use crate::codes::{Coder, Scratch};
use crate::distance::{CodeQuery, LINE_BYTES, prefetch_early};
use crate::error::Result;
use crate::format::Kind;
use crate::format::codes::{self, BLOCKS, TAIL, Trained};
use crate::format::meta::{Meta, Training};
use crate::graph::{DistanceComputer, Vectors};
use crate::store::GoOn;
use crate::store::source::{AnySource, Source};
use crate::store::sq8_copy::passes_recall_check;
use crate::store::target::Put;
use crate::store::view::View;
use crate::threads;
use crate::types::Slot;

/// Slots that a thread encodes at a time.
const TASK: usize = 1024;

/// The codes of all vectors of an index in memory, to be written or to guide a large build.
pub(crate) struct Encoded {
    /// The slots that have a code.
    slots: RoaringBitmap,
    trained: Trained,
    /// What META says of the codes, once they are written.
    training: Training,
    coder: Coder,
    stride: usize,
    codes: Lines,
}

/// A buffer aligned to a cache line, so that codes which fill cache lines span no more of them than
/// necessary.
struct Lines {
    bytes: Vec<u8>,
    place: Range<usize>,
}

impl Lines {
    fn zeroed(len: usize) -> Self {
        let bytes: Vec<u8> = bytemuck::zeroed_vec(len + LINE_BYTES - 1);
        let start = bytes.as_ptr().align_offset(LINE_BYTES).min(LINE_BYTES - 1);
        Self { bytes, place: start..start + len }
    }

    #[inline(always)]
    fn get(&self) -> &[u8] {
        &self.bytes[self.place.clone()]
    }

    fn get_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.place.clone()]
    }
}

impl Encoded {
    /// Trains, and encodes the vectors of all slots that are not free. O(slots * dimensions) on all
    /// threads; memory for all codes.
    pub(crate) fn new<'t>(
        view: &View<'_, 't, AnySource<'_, 't>>,
        seed: u64,
        go_on: &GoOn<'_>,
    ) -> Result<Self> {
        let slots = view.slots_in_use()?;
        let trained = train(view, &slots, seed)?;
        let Meta { is_coded, training, items, .. } = view.snapshot.meta;
        let generation = if is_coded { training.generation + 1 } else { 0 };
        let training = Training { generation, items, ..Training::default() };
        Self::with(view, slots, trained, training, go_on)
    }

    /// Recomputes the codes of the index with its stored training, or with a new one if that is due
    /// and pays. `None` if it has none. Returns whether the training is new.
    pub(crate) fn stored<'t>(
        view: &View<'_, 't, AnySource<'_, 't>>,
        go_on: &GoOn<'_>,
    ) -> Result<Option<(Self, bool)>> {
        let Some(trained) = view.trained()? else { return Ok(None) };
        let slots = view.slots_in_use()?;
        let (training, fresh) = judge(view, &trained, || Ok(slots.clone()))?;
        let is_new = fresh.is_some();
        let encoded = Self::with(view, slots, fresh.unwrap_or(trained), training, go_on)?;
        Ok(Some((encoded, is_new)))
    }

    /// What META says of the codes, once they are written.
    pub(crate) fn training(&self) -> Training {
        self.training
    }

    fn with<'t>(
        view: &View<'_, 't, AnySource<'_, 't>>,
        slots: RoaringBitmap,
        trained: Trained,
        training: Training,
        go_on: &GoOn<'_>,
    ) -> Result<Self> {
        let meta = &view.snapshot.meta;
        let stride = codes::geometry(meta.code_bits, meta.dimensions).stride;
        let coder = coder(view.snapshot.metric, view.snapshot.index, meta, trained.clone())?;
        let mut codes = Lines::zeroed(meta.slots as usize * stride);
        threads::for_each(
            codes.get_mut().chunks_mut(TASK * stride).enumerate(),
            |(task, codes)| -> Result<()> {
                go_on()?;
                let first = (task * TASK) as u32;
                let (mut scratch, mut code) = (Scratch::default(), Vec::with_capacity(stride));
                for slot in slots.range(first..first + TASK as u32) {
                    let address = view.vector(Slot(slot))?;
                    code.clear();
                    coder.encode(address.bytes, address.factor, &mut scratch, &mut code);
                    codes[(slot - first) as usize * stride..][..stride].copy_from_slice(&code);
                }
                Ok(())
            },
        )?;
        Ok(Self { slots, trained, training, coder, stride, codes })
    }

    #[inline]
    fn code(&self, slot: u32) -> &[u8] {
        let start = slot as usize * self.stride;
        self.codes.get().get(start..start + self.stride).unwrap_or_default()
    }

    /// The same codes, with slots renumbered in this order.
    pub(crate) fn in_order(self, order: &[Slot]) -> Self {
        let mut codes = Lines::zeroed(order.len() * self.stride);
        codes
            .get_mut()
            .chunks_exact_mut(self.stride)
            .zip(order)
            .for_each(|(code, slot)| code.copy_from_slice(self.code(slot.0)));
        Self { slots: (0..order.len() as u32).collect(), codes, ..self }
    }

    /// All values of CODES in key order, for an index in which the slots of `freed` are free. They
    /// replace all that there are.
    pub(crate) fn puts<'t>(
        &self,
        view: &View<'_, 't, AnySource<'_, 't>>,
        freed: &RoaringBitmap,
    ) -> Vec<Put> {
        let meta = &view.snapshot.meta;
        let geometry = codes::geometry(meta.code_bits, meta.dimensions);
        let slots = &self.slots - freed;
        let count = (self.codes.get().len() / self.stride) as u32;
        let sealed = count / geometry.vectors;
        let mut puts = Vec::with_capacity(sealed as usize + geometry.vectors as usize);
        for block in 0..sealed {
            let mut body = geometry.new_block_of(block, self.training.generation);
            let first = block * geometry.vectors;
            for slot in slots.range(first..first + geometry.vectors) {
                geometry.put_value(&mut body, (slot - first) as usize, self.code(slot));
            }
            puts.push((view.key(Kind::CODES, BLOCKS, block), Some(body)));
        }
        let tail = slots.range(sealed * geometry.vectors..count);
        puts.extend(
            tail.map(|slot| (view.key(Kind::CODES, TAIL, slot), Some(self.code(slot).to_vec()))),
        );
        let Training { generation, .. } = meta.training;
        let older = [generation.checked_sub(1), Some(generation)].into_iter().flatten();
        puts.extend(
            older
                .filter(|_| meta.is_coded)
                .map(|older| (trained_key(view.snapshot.index, older), None)),
        );
        let trained = Some(self.trained.encode());
        puts.push((trained_key(view.snapshot.index, self.training.generation), trained));
        puts
    }

    /// Whether the codes pass the recall check: see [`passes_recall_check`].
    pub(crate) fn passes_recall_check<'t>(
        &self,
        view: &View<'_, 't, AnySource<'_, 't>>,
        sample: &[Slot],
    ) -> Result<bool> {
        let estimate = |from: usize, numbers: &[u32], out: &mut Vec<f32>| {
            out.clear();
            // A vector that cannot be read is reported by the exact comparison with it.
            if let Ok(probe) = view.query_of(sample[from]) {
                let (vector, factor) = probe.prepared();
                let query = self.coder.query(vector, factor);
                let codes: Vec<&[u8]> =
                    numbers.iter().map(|number| self.code(sample[*number as usize].0)).collect();
                (self.coder.estimates)(&query, &codes, out);
            }
        };
        passes_recall_check(view, sample, estimate)
    }
}

/// The vectors of a view, with distance estimates from codes in memory.
pub(crate) struct WithCodes<'v, 's, 't, S> {
    pub(crate) view: &'v View<'s, 't, S>,
    pub(crate) encoded: &'v Encoded,
}

impl<'t, S: Source<'t> + Sync> Vectors for WithCodes<'_, '_, 't, S> {
    fn distances(&self, from: Slot, slots: &[u32], out: &mut Vec<f32>) -> Result<()> {
        self.view.distances(from, slots, out)
    }

    fn are_equal(&self, a: Slot, b: Slot) -> Result<bool> {
        self.view.are_equal(a, b)
    }

    fn prefetch(&self, slots: &[u32]) {
        self.view.prefetch(slots);
    }

    fn are_products(&self) -> bool {
        self.view.are_products()
    }

    fn estimator(&self, from: Slot) -> Result<Option<Box<dyn DistanceComputer + '_>>> {
        let probe = self.view.query_of(from)?;
        let (vector, factor) = probe.prepared();
        let query = self.encoded.coder.query(vector, factor);
        Ok(Some(Box::new(ByCodes { encoded: self.encoded, query })))
    }
}

/// Distance estimates from codes in memory.
struct ByCodes<'v> {
    encoded: &'v Encoded,
    query: CodeQuery,
}

impl DistanceComputer for ByCodes<'_> {
    fn distances(&self, slots: &[u32], out: &mut Vec<f32>) -> Result<()> {
        estimate(&self.encoded.coder, &self.query, slots, |slot| Ok(self.encoded.code(slot.0)), out)
    }

    fn prefetch(&self, slots: &[u32]) {
        prefetch_early(slots.iter().map(|slot| self.encoded.code(*slot)));
    }
}
