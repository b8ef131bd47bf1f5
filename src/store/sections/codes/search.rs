//! Quantized codes: looking them up, and estimating distances from a query to them.

use super::coders::{Coders, decode, trained_key};
use super::tables::CodeTables;
use crate::codes::{Coder, Scratch};
use crate::distance::{CodeQuery, Factors, MAX_PREFETCH_LINES, prefetch_lines};
use crate::error::Result;
use crate::format::checksum::Sound;
use crate::format::codes::Trained;
use crate::graph::DistanceComputer;
use crate::store::meter;
use crate::store::prepared_query::PreparedQuery;
use crate::store::snapshot::Snapshot;
use crate::store::source::Source;
use crate::store::strided::prefetch_places;
use crate::store::table::Places;
use crate::store::view::{Parts, View};
use crate::types::Slot;

/// Codes that are looked up and prefetched as one batch before they are compared.
const PREFETCH_BATCH: usize = 16;

impl<'s, 't, S: Source<'t>> View<'s, 't, S> {
    /// The newest training of the codes. `None` if there are none.
    pub(crate) fn trained(&self) -> Result<Option<Trained>> {
        let generation = self.snapshot.meta.training.generation;
        self.snapshot.codes.as_ref().map(|_| self.training(generation)).transpose()
    }

    /// All trainings that there are: the newest, and the one before while blocks have codes of it.
    pub(crate) fn trainings(&self) -> Result<Vec<Trained>> {
        let training = &self.snapshot.meta.training;
        let older = training.has_older().then(|| training.generation.saturating_sub(1));
        let generations = self.snapshot.codes.iter().map(|_| training.generation).chain(older);
        generations.map(|generation| self.training(generation)).collect()
    }

    fn training(&self, generation: u32) -> Result<Trained> {
        // Verified for searches, too: all error bounds depend on it, and it is read once per
        // snapshot.
        let key = trained_key(self.snapshot.index, generation);
        let sound = self.get(key)?.map(|value| Sound::of(key, value)).transpose()?;
        decode(key, sound, &self.snapshot.meta)
    }

    /// The encoders, and the pointer tables of the codes. `None` if there are none.
    fn coders(&self) -> Result<Option<(&'s CodeTables<'t>, &'s Coders)>> {
        let snapshot: &'s Snapshot<'t> = self.snapshot;
        let Some(tables) = &snapshot.codes else { return Ok(None) };
        if let Some(coders) = tables.coders.get() {
            return Ok(Some((tables, coders)));
        }
        let read = |generation| self.training(generation);
        let coders = Coders::read(snapshot.metric, snapshot.index, &snapshot.meta, read)?;
        Ok(coders.map(|coders| (tables, tables.coders.get_or_init(|| coders))))
    }

    /// Whether the code of a slot equals the encoding of its vector. `true` if there are no codes.
    pub(crate) fn has_its_code(&self, slot: Slot, scratch: &mut Scratch) -> Result<bool> {
        let Some((tables, coders)) = self.coders()? else { return Ok(true) };
        let (found, address) = (self.code_in(tables, slot)?, self.vector(slot)?);
        let mut code = Vec::with_capacity(found.len());
        coders.of(slot).encode(address.bytes, address.factor, scratch, &mut code);
        Ok(code == found)
    }

    #[inline(always)]
    fn code_in(&self, tables: &CodeTables<'t>, slot: Slot) -> Result<&'t [u8]> {
        meter::read();
        let values = &tables.values;
        let found = values.get(slot).map_or_else(
            || values.find(self.snapshot.index, slot, |key| self.get_walked(key)),
            Ok,
        )?;
        Ok(found.bytes)
    }

    /// The code of a slot. `None` if there are no codes.
    pub(crate) fn code_of(&self, slot: Slot) -> Result<Option<&'t [u8]>> {
        self.snapshot.codes.as_ref().map(|tables| self.code_in(tables, slot)).transpose()
    }

    /// The factors stored beside the code of a slot. `None` if there are no codes.
    pub(crate) fn code_factors(&self, slot: Slot) -> Result<Option<Factors>> {
        let Some(tables) = &self.snapshot.codes else { return Ok(None) };
        Ok(self.code_in(tables, slot)?.last_chunk().map(|bytes| Factors::decode(*bytes)))
    }

    /// Looks up every value that holds codes, and passes each to `go_on`, until it returns `false`.
    /// Returns whether all were visited.
    pub(super) fn each_code_value(&self, go_on: &mut dyn FnMut(&'t [u8]) -> bool) -> Result<bool> {
        let Some((tables, _)) = self.coders()? else { return Ok(true) };
        for slot in self.first_slots_of(&tables.values.geometry)? {
            self.code_in(tables, slot)?;
            if tables.values.stored(slot).is_some_and(|value| !go_on(value)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Prepares queries by codes. `None` if there are no codes.
    pub(crate) fn code_queries(&self) -> Result<Option<CodeQueries<'_, 's, 't, S>>> {
        Ok(self.coders()?.map(|(tables, coders)| CodeQueries { view: self, tables, coders }))
    }
}

/// Converts prepared queries into estimators by codes.
#[derive(Debug)]
pub(crate) struct CodeQueries<'v, 's, 't, S> {
    view: &'v View<'s, 't, S>,
    tables: &'s CodeTables<'t>,
    coders: &'s Coders,
}

impl<'v, 's, 't, S: Source<'t>> CodeQueries<'v, 's, 't, S> {
    pub(crate) fn of(&self, probe: &PreparedQuery<'_, 's, 't, S>) -> CodeEstimator<'v, 's, 't, S> {
        let (vector, factor) = probe.prepared();
        let query = self.coders.newest.query(vector, factor);
        let older = self.coders.older.as_ref();
        CodeEstimator {
            view: self.view,
            tables: self.tables,
            places: self.tables.values.places(),
            coders: self.coders,
            query,
            older: older.map(|older| Box::new((older, older.query(vector, factor)))),
        }
    }
}

impl<'s, 't, S: Source<'t>> CodeQueries<'_, 's, 't, S> {
    /// A query that is compared with codes of the newest training, wherever they lie.
    pub(crate) fn anywhere(&self, probe: &PreparedQuery<'_, 's, 't, S>) -> CodeComparer<'s> {
        let (vector, factor) = probe.prepared();
        let coder = &self.coders.newest;
        CodeComparer { coder, query: coder.query(vector, factor) }
    }
}

/// Distance estimates from a query to codes of the newest training.
#[derive(Debug)]
pub(crate) struct CodeComparer<'s> {
    coder: &'s Coder,
    query: CodeQuery,
}

impl CodeComparer<'_> {
    /// Replaces `out` by the estimates for codes, in order.
    #[inline]
    pub(crate) fn estimates(&self, codes: &[&[u8]], out: &mut Vec<f32>) {
        out.clear();
        (self.coder.estimates)(&self.query, codes, out);
    }

    /// Error bound of the estimate for a code: one that always holds, or a high-probability one
    /// (about 99.7 %).
    #[inline]
    pub(crate) fn bound(&self, code: &[u8], is_certain: bool) -> f32 {
        if is_certain { self.query.bound(code) } else { self.query.likely_bound(code) }
    }
}

/// Distance estimates from a query to stored vectors, computed from their codes.
#[derive(Debug)]
pub(crate) struct CodeEstimator<'v, 's, 't, S> {
    view: &'v View<'s, 't, S>,
    tables: &'s CodeTables<'t>,
    places: Option<Places<'s, 't>>,
    coders: &'s Coders,
    query: CodeQuery,
    /// The encoder of the training before, and the query as it compares with its codes, while there
    /// are any.
    older: Option<Box<(&'s Coder, CodeQuery)>>,
}

impl<'s, 't, S: Source<'t>> CodeEstimator<'_, 's, 't, S> {
    /// Error bound of the estimate of a slot: the distance never differs by more.
    #[inline]
    pub(crate) fn bound(&self, slot: Slot) -> Result<f32> {
        Ok(self.query(slot).bound(self.code(self.places.as_ref(), slot)?))
    }

    /// High-probability error bound (about 99.7 %) of the estimate of a slot.
    #[inline]
    pub(crate) fn likely_bound(&self, slot: Slot) -> Result<f32> {
        Ok(self.query(slot).likely_bound(self.code(self.places.as_ref(), slot)?))
    }

    /// The query as it compares with the code of a slot.
    #[inline]
    fn query(&self, slot: Slot) -> &CodeQuery {
        match &self.older {
            Some(older) if self.coders.is_older(slot) => &older.1,
            _ => &self.query,
        }
    }

    /// Replaces `out` by the estimates for `slots`, some of whose codes may be older.
    #[cold]
    #[inline(never)]
    fn distances_of_both(
        &self,
        (older, query): &(&Coder, CodeQuery),
        slots: &[u32],
        out: &mut Vec<f32>,
    ) -> Result<()> {
        let (old, new): (Vec<u32>, Vec<u32>) =
            slots.iter().partition(|slot| self.coders.is_older(Slot(**slot)));
        let (mut of_old, mut of_new) = (Vec::new(), Vec::new());
        let find = |slot| self.code(self.places.as_ref(), slot);
        estimate(older, query, &old, find, &mut of_old)?;
        estimate(&self.coders.newest, &self.query, &new, find, &mut of_new)?;
        let (mut of_old, mut of_new) = (of_old.into_iter(), of_new.into_iter());
        out.clear();
        out.extend(slots.iter().filter_map(|slot| {
            if self.coders.is_older(Slot(*slot)) { of_old.next() } else { of_new.next() }
        }));
        Ok(())
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

    /// Looks up a code whose block is not in the pointer table.
    #[cold]
    #[inline(never)]
    fn elsewhere(&self, slot: Slot) -> Result<&'t [u8]> {
        self.view.code_in(self.tables, slot)
    }
}

impl<'t, S: Source<'t>> DistanceComputer for CodeEstimator<'_, '_, 't, S> {
    #[inline]
    fn distances(&self, slots: &[u32], out: &mut Vec<f32>) -> Result<()> {
        if let Some(older) = &self.older {
            return self.distances_of_both(older, slots, out);
        }
        // A local copy, which stays in registers.
        let places = self.places;
        estimate(
            &self.coders.newest,
            &self.query,
            slots,
            |slot| self.code(places.as_ref(), slot),
            out,
        )
    }

    #[inline]
    fn prefetch(&self, slots: &[u32]) {
        prefetch_places(self.places, slots);
    }

    fn has(&self, slots: &[u32]) -> bool {
        self.view.has_all(&self.tables.values, slots)
    }

    fn fetch(&self, slots: &[u32]) -> bool {
        let Some(cold) = self.view.cold else { return false };
        let mut batch = cold.batch();
        self.view.add_to(&mut batch, &self.tables.values, slots, Parts::Unseen);
        batch.send(0)
    }

    fn wait(&self, slots: &[u32]) {
        self.view.wait_for(&self.tables.values, slots);
    }
}

/// Replaces `out` by the estimates for `slots`, in order. `find` looks up a code.
#[inline(always)]
pub(in crate::store) fn estimate<'c>(
    coder: &Coder,
    query: &CodeQuery,
    slots: &[u32],
    find: impl Fn(Slot) -> Result<&'c [u8]>,
    out: &mut Vec<f32>,
) -> Result<()> {
    out.clear();
    // All codes have one length: choosing the number of prefetched cache lines for each code would
    // take 1 to 2 % of a search.
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
        // Prefetch all before the first is compared.
        for (code, slot) in codes.iter_mut().zip(slots) {
            *code = find(Slot(*slot))?;
            prefetch_lines::<LINES>(code);
        }
        (coder.estimates)(query, &codes[..slots.len()], out);
    }
    Ok(())
}
