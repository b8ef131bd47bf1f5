//! Exact search: every vector that may be a result is compared, and the nearest are kept, ties by
//! item id.
//!
//! One pass over the vectors, in the order they lie in, serves all queries of a scan. A few queries
//! are compared with them one by one, which is bound by memory; if the index has codes, those are
//! compared first, which are fewer bytes, and rule out a vector if its distance cannot be below
//! their estimate by so much. Many are compared a panel at a time, which rules out most vectors by
//! an estimate (`distance/panel.rs`) and is bound by arithmetic; what is not ruled out is compared
//! as a single query would, so that the answer is the same. Large scans use all threads of the
//! calling rayon pool, or else the machine; the answer does not depend on how many there are.

use std::cmp;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicUsize, Ordering};

use roaring::RoaringBitmap;

use crate::distance::{Estimate, Limits, PANEL, Panel, ROWS, Row, prefetch};
use crate::error::Result;
use crate::graph::Probe;
use crate::store::codes::CodeProbe;
use crate::store::probe::StoredProbe;
use crate::store::snapshot::Snapshot;
use crate::store::source::{Source, Warm};
use crate::store::view::{Address, View};
use crate::threads;
use crate::types::{ItemId, Slot};

/// A scan of fewer bytes than this is done before other threads have woken up.
const PARALLEL_BYTES: usize = 1 << 20;
/// About as many vectors are addressed at a time, in whole blocks: enough to fill the rows of a
/// kernel, few enough to stay in the cache.
const PIECE: usize = 64;
/// Vectors of so many bytes that lie in a row are compared one after the other by the first query
/// to see them: four at once are four runs of memory, and one run is what processors load ahead
/// best. Four shorter ones are one run, too.
const IN_A_RUN_FROM: usize = 512;
/// Slots from which on their codes are looked at first.
const CODES_FROM: usize = 1000;
/// What has been estimated before it is known whether that is worth while, and the share that may
/// be compared nevertheless: an estimate takes about as long as a half of a comparison.
const FEW_ESTIMATES: u64 = 4096;
const WORTH_SHARE: u64 = 2;
/// Queries from which on a panel is quicker than one by one.
const PANEL_FROM: usize = 6;
/// One pair in so many may be compared in vain before the next estimate is used: a comparison costs
/// as much as a dozen estimates.
const MOST_IN_VAIN: usize = 32;
/// Pairs whose limits have not settled yet.
const FEW_PAIRS: usize = 1 << 16;
/// The panels of a pass take no more, so that they stay in the cache beside a piece.
const PASS_BYTES: usize = 1 << 20;

/// Room for results is made beforehand for no more.
const USUAL_K: usize = 128;

/// A result.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Neighbor {
    pub(crate) distance: f32,
    pub(crate) item: ItemId,
}

impl Ord for Neighbor {
    fn cmp(&self, other: &Self) -> cmp::Ordering {
        self.distance.total_cmp(&other.distance).then(self.item.cmp(&other.item))
    }
}

impl PartialOrd for Neighbor {
    fn partial_cmp(&self, other: &Self) -> Option<cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Neighbor {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Neighbor {}

/// The `k` nearest of what it is offered.
#[derive(Debug)]
pub(crate) struct Nearest {
    k: usize,
    /// The farthest on top.
    heap: BinaryHeap<Neighbor>,
}

impl Nearest {
    pub(crate) fn new(k: usize) -> Self {
        Self { k, heap: BinaryHeap::with_capacity(k.min(USUAL_K)) }
    }

    /// Whether something at this distance may be kept.
    #[inline]
    pub(crate) fn may_keep(&self, distance: f32) -> bool {
        self.heap.len() < self.k
            || self.heap.peek().is_some_and(|farthest| distance <= farthest.distance)
    }

    pub(crate) fn offer(&mut self, neighbor: Neighbor) {
        if self.heap.len() < self.k {
            self.heap.push(neighbor);
        } else if let Some(mut farthest) = self.heap.peek_mut()
            && neighbor < *farthest
        {
            *farthest = neighbor;
        }
    }

    /// The distance beyond which nothing is kept, once there are `k`.
    fn farthest(&self) -> Option<f32> {
        self.heap.peek().filter(|_| self.heap.len() >= self.k).map(|farthest| farthest.distance)
    }

    fn merge(mut self, other: Self) -> Self {
        other.heap.into_iter().for_each(|neighbor| self.offer(neighbor));
        self
    }

    /// The nearest first.
    pub(crate) fn into_sorted(self) -> Vec<(ItemId, f32)> {
        self.heap
            .into_sorted_vec()
            .into_iter()
            .map(|neighbor| (neighbor.item, neighbor.distance))
            .collect()
    }
}

/// What one query has found so far, and what that took.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) nearest: Nearest,
    /// How many distances were computed.
    pub(crate) distances: u64,
    /// How many were estimated by codes.
    pub(crate) estimates: u64,
}

impl Found {
    fn nothing(k: usize) -> Self {
        Self { nearest: Nearest::new(k), distances: 0, estimates: 0 }
    }

    fn merge(self, other: Self) -> Self {
        Self {
            nearest: self.nearest.merge(other.nearest),
            distances: self.distances + other.distances,
            estimates: self.estimates + other.estimates,
        }
    }
}

/// Whether an item may be a result.
type Accept<'a> = &'a (dyn Fn(ItemId) -> bool + Sync);

/// Which slots a scan compares.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Slots<'a> {
    /// All but these.
    Except(&'a RoaringBitmap),
    /// These, ascending.
    Only(&'a [u32]),
}

/// For each probe the `k` nearest of those slots whose item `accept`s. `stop` is asked now and
/// then, and ends the scan early.
pub(crate) fn scan<'s, 't, S: Source<'t>>(
    view: &View<'s, 't, S>,
    probes: &[StoredProbe<'_, 's, 't, S>],
    slots: Slots<'_>,
    k: usize,
    by_codes: bool,
    accept: Accept<'_>,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<Found>> {
    let (meta, count) = (&view.snapshot.meta, slots.count(view));
    if k == 0 || count == 0 {
        return Ok(probes.iter().map(|_| Found::nothing(k)).collect());
    }
    let by_codes = by_codes && count >= CODES_FROM;
    let vectors = meta.geometry.vectors as usize;
    let piece = vectors * PIECE.div_ceil(vectors);
    let pieces = count.div_ceil(piece);
    let panel_bytes = PANEL * size_of::<f32>() * meta.dimensions as usize;
    let mut found = Vec::with_capacity(probes.len());
    for probes in probes.chunks(PANEL * (PASS_BYTES / panel_bytes).max(1)) {
        let judge =
            if probes.len() < PANEL_FROM { None } else { Judge::new(view.estimates(), probes) };
        let judge = judge.as_ref();
        let by_codes = by_codes && judge.is_none();
        if count * meta.geometry.stride * probes.len() < PARALLEL_BYTES {
            let codes = if by_codes { code_probes(view, probes)? } else { Vec::new() };
            let pass = Pass { view, probes, judge, codes: &codes, slots, piece, accept };
            found.extend(pass.run(0..pieces, k, stop)?);
            continue;
        }
        // A transaction cannot be shared between threads, full tables can.
        view.resolve_vectors()?;
        if by_codes {
            view.resolve_codes()?;
        }
        let warm = View::new(view.snapshot, Warm::default());
        let probes: Vec<_> = probes.iter().map(|probe| probe.on(&warm)).collect();
        let codes = if by_codes { code_probes(&warm, &probes)? } else { Vec::new() };
        let pass =
            Pass { view: &warm, probes: &probes, judge, codes: &codes, slots, piece, accept };
        // Each thread takes the next piece, so that none waits for another, and all read where the
        // others do.
        let next = AtomicUsize::new(0);
        let take = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|piece| *piece < pieces);
        let each = threads::on_each(pieces, || pass.run(std::iter::from_fn(take), k, stop))?;
        let merge =
            |a: Vec<Found>, b| a.into_iter().zip(b).map(|(a, b): (Found, _)| a.merge(b)).collect();
        found.extend(each.into_iter().reduce(merge).unwrap_or_default());
    }
    Ok(found)
}

/// Queries by codes. None if there are no codes.
fn code_probes<'v, 's, 't, S: Source<'t>>(
    view: &'v View<'s, 't, S>,
    probes: &[StoredProbe<'_, 's, 't, S>],
) -> Result<Vec<CodeProbe<'v, 's, 't, S>>> {
    Ok(view
        .code_probes()?
        .map(|code| probes.iter().map(|probe| code.of(probe)).collect())
        .unwrap_or_default())
}

impl Slots<'_> {
    /// How many slots are looked at.
    fn count<'t, S: Source<'t>>(self, view: &View<'_, 't, S>) -> usize {
        match self {
            Slots::Except(_) => view.snapshot.meta.slots as usize,
            Slots::Only(slots) => slots.len(),
        }
    }
}

/// What rules out vectors for many queries at once.
struct Judge {
    /// The quickest first.
    estimates: Vec<Estimate>,
    panels: Vec<Panel>,
}

impl Judge {
    /// `None` if the metric has no estimates.
    fn new<'t, S: Source<'t>>(
        estimates: Vec<Estimate>,
        probes: &[StoredProbe<'_, '_, 't, S>],
    ) -> Option<Self> {
        let first = estimates.first()?;
        let panels = probes
            .chunks(PANEL)
            .map(|probes| first.panel(probes.iter().map(StoredProbe::prepared)))
            .collect();
        Some(Self { estimates, panels })
    }
}

/// One pass over the vectors.
struct Pass<'a, 's, 't, S> {
    view: &'a View<'s, 't, S>,
    probes: &'a [StoredProbe<'a, 's, 't, S>],
    judge: Option<&'a Judge>,
    /// One for each probe, or none.
    codes: &'a [CodeProbe<'a, 's, 't, S>],
    slots: Slots<'a>,
    /// Slots of a piece.
    piece: usize,
    accept: Accept<'a>,
}

/// What a thread has found, and its buffers.
struct State<'t> {
    found: Vec<Found>,
    /// Whether the codes have ruled out so few that they are not worth looking at.
    without_codes: bool,
    slots: Vec<u32>,
    estimates: Vec<f32>,
    /// Which estimate is used, and the pairs that were judged by it, and those of them that were
    /// compared in vain.
    estimate: usize,
    pairs: usize,
    in_vain: usize,
    limits: Vec<Limits>,
    vectors: Vec<(Slot, Address<'t>)>,
}

impl<'t> State<'t> {
    fn new<S>(k: usize, pass: &Pass<'_, '_, 't, S>) -> Self {
        let found = pass.probes.iter().map(|_| Found::nothing(k)).collect();
        let panels = pass.judge.map_or(0, |judge| judge.panels.len());
        let limits = vec![Estimate::no_limits(); panels];
        let (vectors, slots, estimates) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            found,
            without_codes: pass.codes.is_empty(),
            slots,
            estimates,
            estimate: 0,
            pairs: 0,
            in_vain: 0,
            limits,
            vectors,
        }
    }
}

impl<'t, S: Source<'t>> Pass<'_, '_, 't, S> {
    /// Scans pieces until there are no more, or `stop` says so.
    fn run(
        &self,
        pieces: impl Iterator<Item = usize>,
        k: usize,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<Found>> {
        let mut state = State::new(k, self);
        for piece in pieces.take_while(|_| !stop()) {
            self.scan(piece, &mut state)?;
        }
        Ok(state.found)
    }

    /// Compares the vectors of a piece with all queries.
    fn scan(&self, piece: usize, state: &mut State<'t>) -> Result<()> {
        self.address(piece, &mut state.vectors)?;
        match self.judge {
            Some(judge) => self.judge(judge, state),
            None if !state.without_codes => self.compare_by_codes(state),
            None => {
                let mut queries = self.probes.iter().zip(&mut state.found).enumerate();
                queries.try_for_each(|(nth, (probe, found))| {
                    if nth == 0 && self.is_run() {
                        self.compare_run(probe, &state.vectors, found)
                    } else {
                        self.compare(probe, &state.vectors, found)
                    }
                })
            }
        }
    }

    /// Compares the vectors whose codes do not rule them out with each query.
    fn compare_by_codes(&self, state: &mut State<'t>) -> Result<()> {
        let State { found, vectors, slots, estimates, .. } = state;
        slots.clear();
        slots.extend(vectors.iter().map(|(slot, _)| slot.0));
        for ((probe, codes), found) in self.probes.iter().zip(self.codes).zip(found) {
            codes.distances(slots, estimates)?;
            found.estimates += slots.len() as u64;
            for ((slot, address), estimate) in vectors.iter().zip(&*estimates) {
                if found.nearest.may_keep(estimate - codes.bound(*slot)?) {
                    found.distances += 1;
                    self.offer(probe, *slot, probe.distance(*address), &mut found.nearest)?;
                }
            }
            state.without_codes |=
                found.estimates > FEW_ESTIMATES && found.distances * WORTH_SHARE > found.estimates;
        }
        Ok(())
    }

    /// Finds the vectors of a piece.
    fn address(&self, piece: usize, vectors: &mut Vec<(Slot, Address<'t>)>) -> Result<()> {
        vectors.clear();
        let start = piece * self.piece;
        let end = (start + self.piece).min(self.slots.count(self.view));
        match self.slots {
            Slots::Except(gaps) => self.view.vectors(start as u32..end as u32, gaps, vectors),
            Slots::Only(slots) => slots[start..end].iter().try_for_each(|&slot| {
                vectors.push((Slot(slot), self.view.vector(Slot(slot))?));
                Ok(())
            }),
        }
    }

    /// Whether the vectors of a piece lie in a row, and are best read so.
    fn is_run(&self) -> bool {
        matches!(self.slots, Slots::Except(_))
            && self.view.snapshot.meta.geometry.stride >= IN_A_RUN_FROM
    }

    /// Compares one query with vectors that lie in a row and are in no cache.
    fn compare_run(
        &self,
        probe: &StoredProbe<'_, '_, 't, S>,
        vectors: &[(Slot, Address<'t>)],
        found: &mut Found,
    ) -> Result<()> {
        found.distances += vectors.len() as u64;
        vectors.iter().try_for_each(|(slot, address)| {
            self.offer(probe, *slot, probe.distance(*address), &mut found.nearest)
        })
    }

    /// Compares one query with vectors, hints ahead.
    fn compare(
        &self,
        probe: &StoredProbe<'_, '_, 't, S>,
        vectors: &[(Slot, Address<'t>)],
        found: &mut Found,
    ) -> Result<()> {
        let Found { nearest, distances, .. } = found;
        *distances += vectors.len() as u64;
        let (fours, rest) = vectors.as_chunks::<4>();
        for (i, four) in fours.iter().enumerate() {
            for (_, address) in fours.get(i + 1).into_iter().flatten() {
                prefetch(address.bytes);
            }
            for ((slot, _), distance) in
                four.iter().zip(probe.distance4(four.map(|(_, address)| address)))
            {
                self.offer(probe, *slot, distance, nearest)?;
            }
        }
        rest.iter().try_for_each(|(slot, address)| {
            self.offer(probe, *slot, probe.distance(*address), nearest)
        })
    }

    /// Compares all queries with those vectors that are not ruled out for them.
    fn judge(&self, Judge { estimates, panels }: &Judge, state: &mut State<'t>) -> Result<()> {
        let State { found, limits, vectors, .. } = state;
        let estimate = &estimates[state.estimate];
        let Snapshot { metric, meta, .. } = self.view.snapshot;
        let decoded: Vec<_> =
            vectors.iter().map(|(_, address)| metric.decode(address.bytes, meta.scale)).collect();
        let rows = vectors
            .iter()
            .zip(&decoded)
            .map(|((_, address), decoded)| estimate.row(decoded, address.factor));
        let mut rows: Vec<Row<'_>> = rows.collect();
        // Filled up with copies of the last, which are not looked at.
        rows.extend(
            rows.last()
                .copied()
                .into_iter()
                .cycle()
                .take(rows.len().next_multiple_of(ROWS) - rows.len()),
        );
        let queries = self.probes.chunks(PANEL).zip(found.chunks_mut(PANEL));
        for ((panel, limits), (probes, found)) in panels.iter().zip(&mut *limits).zip(queries) {
            for (rows, vectors) in rows.as_chunks().0.iter().zip(vectors.chunks(ROWS)) {
                for (mask, (slot, address)) in
                    estimate.near(panel, limits, rows).into_iter().zip(vectors)
                {
                    for query in bits(mask).take_while(|query| *query < probes.len()) {
                        let distance = probes[query].distance(*address);
                        let nearest = &mut found[query].nearest;
                        state.in_vain += usize::from(!nearest.may_keep(distance));
                        self.offer(&probes[query], *slot, distance, nearest)?;
                        if let Some(farthest) = nearest.farthest() {
                            limits[query] = estimate.limit(panel, query, farthest);
                        }
                    }
                }
            }
        }
        found.iter_mut().for_each(|found| found.distances += vectors.len() as u64);
        state.pairs += vectors.len() * self.probes.len();
        if state.in_vain * MOST_IN_VAIN > state.pairs
            && state.pairs > FEW_PAIRS
            && state.estimate + 1 < estimates.len()
        {
            (state.estimate, state.pairs, state.in_vain) = (state.estimate + 1, 0, 0);
            // They are set again by the next comparison.
            limits.fill(Estimate::no_limits());
        }
        Ok(())
    }

    #[inline]
    fn offer(
        &self,
        probe: &StoredProbe<'_, '_, 't, S>,
        slot: Slot,
        distance: f32,
        nearest: &mut Nearest,
    ) -> Result<()> {
        if nearest.may_keep(distance) {
            let item = self.view.item(slot)?;
            if (self.accept)(item) {
                let distance = probe.told_apart(slot, distance)?;
                nearest.offer(Neighbor { distance, item });
            }
        }
        Ok(())
    }
}

/// The numbers of the bits that are set, ascending.
fn bits(mask: u32) -> impl Iterator<Item = usize> {
    let rest = |mask: &u32| Some(mask & (mask - 1)).filter(|mask| *mask != 0);
    std::iter::successors(Some(mask).filter(|mask| *mask != 0), rest)
        .map(|mask| mask.trailing_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_are_kept_in_order_and_ties_go_to_the_smaller_id() {
        let mut nearest = Nearest::new(3);
        for (distance, item) in [(5.0, 1), (2.0, 9), (2.0, 3), (2.0, 7), (0.0, 100), (2.0, 2)] {
            nearest.offer(Neighbor { distance, item });
        }
        assert_eq!(nearest.into_sorted(), [(100, 0.0), (2, 2.0), (3, 2.0)]);
        let mut none = Nearest::new(0);
        assert!(!none.may_keep(0.0));
        none.offer(Neighbor { distance: 0.0, item: 1 });
        assert!(none.into_sorted().is_empty());
    }
}
