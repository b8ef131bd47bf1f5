//! The codes of an index: finding them, comparing a query with them, and making all of them.

use std::ops::Range;

use heed::RoTxn;
use roaring::RoaringBitmap;

use super::GoOn;
use super::code_tables::CodeTables;
use super::prepared_query::PreparedQuery;
use super::snapshot::Snapshot;
use super::source::{AnySource, Source};
use super::sq8_copy::{passes_recall_check, sample};
use super::strided::prefetch_places;
use super::table::Places;
use super::target::Put;
use super::view::View;
use super::{Place, meter};
use crate::codes::{Coder, Codes, Scratch};
use crate::distance::{
    CodeQuery, Factors, LINE_BYTES, MAX_PREFETCH_LINES, Metric, prefetch_early, prefetch_lines,
};
use crate::error::{Error, Result};
use crate::format::checksum::Sound;
use crate::format::codes::{self, BLOCKS, TAIL, TRAINED, Trained};
use crate::format::meta::Meta;
use crate::format::set::SetKind;
use crate::format::{Key, Kind};
use crate::graph::{DistanceComputer, Vectors};
use crate::threads;
use crate::types::Slot;

/// Vectors that the center is the mean of, at most: its error is then a hundredth of their spread.
const SAMPLE: usize = 10_000;
/// Slots whose vectors are encoded by a thread at a time.
const TASK: usize = 1024;
/// Codes that are looked up and prefetched together, before they are compared.
const PREFETCH_BATCH: usize = 16;

fn decode(key: Key, sound: Option<Sound<'_>>, meta: &Meta) -> Result<Trained> {
    let sound = sound.ok_or(Error::corrupt(key, "it is missing"))?;
    Trained::decode(sound.body(), meta.dimensions).map_err(|what| Error::corrupt(key, what))
}

fn trained_key(index: u16) -> Key {
    Key::new(index, Kind::Codes, TRAINED, 0)
}

fn coder(metric: &'static Metric, index: u16, meta: &Meta, trained: Trained) -> Result<Coder> {
    let codes = Codes::of_bits(meta.code_bits)
        .ok_or(Error::corrupt(Key::meta(index), "the bits of its codes are impossible"))?;
    Ok(Coder::new(metric, codes, trained.seed, trained.center, meta.scale))
}

/// What encodes the vectors of an index that has codes.
pub(super) fn read_coder(place: Place<'_>, rtxn: &RoTxn<'_>, meta: &Meta) -> Result<Coder> {
    let key = trained_key(place.index);
    coder(place.metric, place.index, meta, decode(key, place.sound(rtxn, key)?, meta)?)
}

impl<'s, 't, S: Source<'t>> View<'s, 't, S> {
    /// What the codes were made with. `None` if there are none.
    pub(crate) fn trained(&self) -> Result<Option<Trained>> {
        if self.snapshot.codes.is_none() {
            return Ok(None);
        }
        // Searches, too: the bounds of all estimates follow from it, and it is read once a
        // snapshot.
        let key = trained_key(self.snapshot.index);
        let sound = self.get(key)?.map(|value| Sound::of(key, value)).transpose()?;
        decode(key, sound, &self.snapshot.meta).map(Some)
    }

    /// What encodes vectors, and where the codes are. `None` if there are none.
    fn coder(&self) -> Result<Option<(&'s CodeTables<'t>, &'s Coder)>> {
        let snapshot: &'s Snapshot<'t> = self.snapshot;
        let Some(tables) = &snapshot.codes else { return Ok(None) };
        if let Some(coder) = tables.coder.get() {
            return Ok(Some((tables, coder)));
        }
        let Some(trained) = self.trained()? else { return Ok(None) };
        let coder = coder(snapshot.metric, snapshot.index, &snapshot.meta, trained)?;
        Ok(Some((tables, tables.coder.get_or_init(|| coder))))
    }

    /// Whether the code of a slot, if there are codes, is the one that its vector gives.
    pub(crate) fn has_its_code(&self, slot: Slot, scratch: &mut Scratch) -> Result<bool> {
        let Some((tables, coder)) = self.coder()? else { return Ok(true) };
        let (found, address) = (self.code_in(tables, slot)?, self.vector(slot)?);
        let mut code = Vec::with_capacity(found.len());
        coder.encode(address.bytes, address.factor, scratch, &mut code);
        Ok(code == found)
    }

    #[inline(always)]
    fn code_in(&self, tables: &CodeTables<'t>, slot: Slot) -> Result<&'t [u8]> {
        meter::read();
        let values = &tables.values;
        let found = values
            .get(slot)
            .map_or_else(|| values.find(self.snapshot.index, slot, |key| self.get(key)), Ok)?;
        Ok(found.bytes)
    }

    /// What stands beside the code of a slot. `None` if there are no codes.
    pub(crate) fn code_factors(&self, slot: Slot) -> Result<Option<Factors>> {
        let Some(tables) = &self.snapshot.codes else { return Ok(None) };
        Ok(self.code_in(tables, slot)?.last_chunk().map(|bytes| Factors::decode(*bytes)))
    }

    /// Fills the tables of codes.
    pub(crate) fn resolve_codes(&self) -> Result<()> {
        self.each_code_value(|_| true).map(drop)
    }

    /// Finds all values that hold codes, and shows each, until `go_on` does not want more. Whether
    /// it has seen all.
    pub(super) fn each_code_value(&self, mut go_on: impl FnMut(&[u8]) -> bool) -> Result<bool> {
        let Some((tables, _)) = self.coder()? else { return Ok(true) };
        for slot in self.first_slots_of(&tables.values.geometry)? {
            self.code_in(tables, slot)?;
            if tables.values.stored(slot).is_some_and(|value| !go_on(value)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What makes queries by codes. `None` if there are no codes.
    pub(crate) fn code_queries(&self) -> Result<Option<CodeQueries<'_, 's, 't, S>>> {
        Ok(self.coder()?.map(|(tables, coder)| CodeQueries { view: self, tables, coder }))
    }
}

/// Makes queries by codes of those by vectors.
#[derive(Debug)]
pub(crate) struct CodeQueries<'v, 's, 't, S> {
    view: &'v View<'s, 't, S>,
    tables: &'s CodeTables<'t>,
    coder: &'s Coder,
}

impl<'v, 's, 't, S: Source<'t>> CodeQueries<'v, 's, 't, S> {
    pub(crate) fn of(&self, probe: &PreparedQuery<'_, 's, 't, S>) -> CodeEstimator<'v, 's, 't, S> {
        let (vector, factor) = probe.prepared();
        let query = self.coder.query(vector, factor);
        CodeEstimator {
            view: self.view,
            tables: self.tables,
            places: self.tables.values.places(),
            coder: self.coder,
            query,
        }
    }
}

/// Estimates of the distances from a query to stored vectors, from their codes.
#[derive(Debug)]
pub(crate) struct CodeEstimator<'v, 's, 't, S> {
    view: &'v View<'s, 't, S>,
    tables: &'s CodeTables<'t>,
    places: Option<Places<'s, 't>>,
    coder: &'s Coder,
    query: CodeQuery,
}

impl<'s, 't, S: Source<'t>> CodeEstimator<'_, 's, 't, S> {
    /// Error bound of the estimate of a slot: no distance is farther from it.
    #[inline]
    pub(crate) fn bound(&self, slot: Slot) -> Result<f32> {
        Ok(self.query.bound(self.code(self.places.as_ref(), slot)?))
    }

    /// High-probability error bound (about 99.7 %) of the estimate of a slot.
    #[inline]
    pub(crate) fn likely_bound(&self, slot: Slot) -> Result<f32> {
        Ok(self.query.likely_bound(self.code(self.places.as_ref(), slot)?))
    }

    #[inline(always)]
    fn code(&self, places: Option<&Places<'s, 't>>, slot: Slot) -> Result<&'t [u8]> {
        match places.and_then(|places| places.get(slot, false)) {
            Some(code) => {
                meter::read();
                Ok(code.bytes)
            }
            None => self.elsewhere(slot),
        }
    }

    /// A code that is not at hand.
    #[cold]
    #[inline(never)]
    fn elsewhere(&self, slot: Slot) -> Result<&'t [u8]> {
        self.view.code_in(self.tables, slot)
    }
}

impl<'t, S: Source<'t>> DistanceComputer for CodeEstimator<'_, '_, 't, S> {
    #[inline]
    fn distances(&self, slots: &[u32], out: &mut Vec<f32>) -> Result<()> {
        // A copy, which stays in registers.
        let places = self.places;
        estimate(self.coder, &self.query, slots, |slot| self.code(places.as_ref(), slot), out)
    }

    #[inline]
    fn prefetch(&self, slots: &[u32]) {
        prefetch_places(self.places, slots);
    }
}

/// Replaces `out` by the estimates for `slots`, in order, whose codes `find` finds.
#[inline(always)]
fn estimate<'c>(
    coder: &Coder,
    query: &CodeQuery,
    slots: &[u32],
    find: impl Fn(Slot) -> Result<&'c [u8]>,
    out: &mut Vec<f32>,
) -> Result<()> {
    out.clear();
    // All codes are as long: to ask of each how many prefetches it wants takes 1 to 2 % of a
    // search.
    match query.prefetched_lines() {
        MAX_PREFETCH_LINES => {
            estimate_prefetching::<MAX_PREFETCH_LINES>(coder, query, slots, find, out)
        }
        3 => estimate_prefetching::<3>(coder, query, slots, find, out),
        2 => estimate_prefetching::<2>(coder, query, slots, find, out),
        _ => estimate_prefetching::<1>(coder, query, slots, find, out),
    }
}

#[inline(always)]
fn estimate_prefetching<'c, const LINES: usize>(
    coder: &Coder,
    query: &CodeQuery,
    slots: &[u32],
    find: impl Fn(Slot) -> Result<&'c [u8]>,
    out: &mut Vec<f32>,
) -> Result<()> {
    for slots in slots.chunks(PREFETCH_BATCH) {
        let mut codes: [&[u8]; PREFETCH_BATCH] = [&[]; PREFETCH_BATCH];
        // All are on their way before the first is compared.
        for (code, slot) in codes.iter_mut().zip(slots) {
            *code = find(Slot(*slot))?;
            prefetch_lines::<LINES>(code);
        }
        (coder.estimates)(query, &codes[..slots.len()], out);
    }
    Ok(())
}

/// What the codes of all vectors are made with: the center of a sample of them.
fn train<'t>(
    view: &View<'_, 't, AnySource<'_, 't>>,
    slots: &RoaringBitmap,
    seed: u64,
) -> Result<Trained> {
    let dimensions = view.snapshot.meta.dimensions as usize;
    let sample = sample(slots.iter().map(Slot), slots.len() as usize, SAMPLE);
    let rows = || {
        sample.iter().map(|slot| {
            let probe = view.query_of(*slot)?;
            let (vector, factor) = probe.prepared();
            Ok(view.snapshot.metric.coded(vector, factor, dimensions))
        })
    };
    let mut sums = vec![0.0; dimensions];
    for row in rows() {
        let row: Result<Vec<f32>> = row;
        sums.iter_mut().zip(row?).for_each(|(sum, value)| *sum += f64::from(value));
    }
    let count = sample.len().max(1) as f64;
    let center: Vec<f32> = sums.iter().map(|sum| (sum / count) as f32).collect();
    let mut spread = 0.0;
    for row in rows() {
        let row: Result<Vec<f32>> = row;
        spread += row?
            .iter()
            .zip(&center)
            .map(|(value, center)| f64::from(value - center).powi(2))
            .sum::<f64>();
    }
    let spread = (spread / count).min(f32::MAX.into()) as f32;
    Ok(Trained { seed, sample: sample.len() as u32, spread, center })
}

/// The codes of all vectors of an index, in memory: to be written, or for a large build to search
/// by.
pub(crate) struct Encoded {
    /// Those that have a code.
    slots: RoaringBitmap,
    trained: Trained,
    coder: Coder,
    stride: usize,
    codes: Lines,
}

/// Bytes that begin at a cache line, so that values which fill lines lie in no more than they
/// must.
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
    /// Trains, and encodes the vectors of all slots that are not free. O(slots * dimensions), on
    /// all threads; memory for all codes.
    pub(crate) fn new<'t>(
        view: &View<'_, 't, AnySource<'_, 't>>,
        seed: u64,
        go_on: &GoOn<'_>,
    ) -> Result<Self> {
        let slots = coded_slots(view)?;
        let trained = train(view, &slots, seed)?;
        Self::with(view, slots, trained, go_on)
    }

    /// The codes that the index has, made again, if it has any.
    pub(crate) fn stored<'t>(
        view: &View<'_, 't, AnySource<'_, 't>>,
        go_on: &GoOn<'_>,
    ) -> Result<Option<Self>> {
        let Some(trained) = view.trained()? else { return Ok(None) };
        Self::with(view, coded_slots(view)?, trained, go_on).map(Some)
    }

    fn with<'t>(
        view: &View<'_, 't, AnySource<'_, 't>>,
        slots: RoaringBitmap,
        trained: Trained,
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
        Ok(Self { slots, trained, coder, stride, codes })
    }

    #[inline]
    fn code(&self, slot: u32) -> &[u8] {
        let start = slot as usize * self.stride;
        self.codes.get().get(start..start + self.stride).unwrap_or_default()
    }

    /// The same codes for slots that are numbered in this order.
    pub(crate) fn in_order(self, order: &[Slot]) -> Self {
        let mut codes = Lines::zeroed(order.len() * self.stride);
        codes
            .get_mut()
            .chunks_exact_mut(self.stride)
            .zip(order)
            .for_each(|(code, slot)| code.copy_from_slice(self.code(slot.0)));
        Self { slots: (0..order.len() as u32).collect(), codes, ..self }
    }

    /// All values of CODES, in the order of their keys, for an index in which the slots of `freed`
    /// are free.
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
            let mut body = geometry.new_block(block);
            let first = block * geometry.vectors;
            for slot in slots.range(first..first + geometry.vectors) {
                geometry.put_value(&mut body, (slot - first) as usize, self.code(slot));
            }
            puts.push((view.key(Kind::Codes, BLOCKS, block), Some(body)));
        }
        let tail = slots.range(sealed * geometry.vectors..count);
        puts.extend(
            tail.map(|slot| (view.key(Kind::Codes, TAIL, slot), Some(self.code(slot).to_vec()))),
        );
        puts.push((view.key(Kind::Codes, TRAINED, 0), Some(self.trained.encode())));
        puts
    }

    /// Whether the codes can tell what is near each other apart: see [`passes_recall_check`].
    pub(crate) fn passes_recall_check<'t>(
        &self,
        view: &View<'_, 't, AnySource<'_, 't>>,
        sample: &[Slot],
    ) -> Result<bool> {
        let estimate = |from: usize, numbers: &[u32], out: &mut Vec<f32>| {
            out.clear();
            // A vector that cannot be read is an error of the comparison with it.
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

/// Slots that are not free.
fn coded_slots<'t>(view: &View<'_, 't, AnySource<'_, 't>>) -> Result<RoaringBitmap> {
    let mut slots = RoaringBitmap::new();
    slots.insert_range(0..view.snapshot.meta.slots);
    Ok(slots - view.set(SetKind::Free)?)
}

/// The vectors of a view, with estimates from codes in memory.
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

    fn estimator(&self, from: Slot) -> Result<Option<Box<dyn DistanceComputer + '_>>> {
        let probe = self.view.query_of(from)?;
        let (vector, factor) = probe.prepared();
        let query = self.encoded.coder.query(vector, factor);
        Ok(Some(Box::new(ByCodes { encoded: self.encoded, query })))
    }
}

/// Estimates from codes in memory.
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
