//! Exact search (brute force): scans every vector that may be a result, and keeps the top-k by
//! definition, ties by item id.
//!
//! One pass over the vectors, in storage order, serves all queries of a scan. For a few queries,
//! each vector is compared with one query after the other, which is memory-bound; if the index has
//! codes, the scan reads those first, which are fewer bytes, and skips a vector whose estimate
//! minus its error bound is beyond the k-th distance. Many queries are compared a panel (tile) at a
//! time, which rules out most vectors by an estimate (`distance/panel.rs`) and is compute-bound;
//! the remaining pairs are compared as for a single query, so that the answer is the same. Large
//! scans use all threads of the calling rayon pool, or else `RAYON_NUM_THREADS` or those of the
//! machine; the answer does not depend on their number. `cancel` is called before every block of
//! about 64 vectors.

use std::sync::atomic::{AtomicUsize, Ordering};

use roaring::RoaringBitmap;

use crate::distance::{
    Estimate, Finish, Limits, PANEL, Panel, ROWS, Row, by_finish, prefetch, prefetch_early,
};
use crate::error::{Error, Result};
use crate::graph::DistanceComputer;
use crate::store::prepared_query::PreparedQuery;
use crate::store::readahead::residency::Residency;
use crate::store::sections::codes::search::CodeEstimator;
use crate::store::source::{Source, Warm};
use crate::store::view::{Address, ROWS_AHEAD, View};
use crate::threads;
use crate::top_k::{Found, TopK, Wanted};
use crate::types::{ItemId, Slot};

/// A scan of fewer bytes than this ends before other threads have woken up.
const PARALLEL_BYTES: usize = 1 << 20;
/// The block size of a scan: about this many vectors, in whole stored blocks, are addressed at a
/// time: enough to fill the rows of a kernel, few enough to stay in the cache.
const PIECE: usize = 64;
/// The maximum size of a block of a scan, in bytes: scanned in a fraction of a millisecond, so that
/// a deadline holds where vectors are long.
const MAX_PIECE_BYTES: usize = 1 << 20;
/// From this vector size on, in bytes, a scan compares one vector at a time: a single sequential
/// stream suits the hardware prefetcher better than four. Four shorter vectors are one stream.
const SEQUENTIAL_MIN_BYTES: usize = 512;
/// Scattered vectors are fetched into the L2 cache so many bytes before they are compared.
const EARLY_BYTES: usize = 8 << 10;
/// Scattered codes are fetched so many at a time, while as many before them are compared.
const TOGETHER: usize = 16;
/// A scan of at least this many slots estimates distances by codes first, and reranks.
pub(crate) const CODES_MIN_SLOTS: usize = 1000;
/// After this many estimates, a scan stops using codes if it had to rerank more than half of the
/// vectors: an estimate takes about half as long as a distance.
const CODES_TRIAL: u64 = 4096;
const MAX_RERANK_DIVISOR: u64 = 2;
/// A scan for at least this many queries compares them a panel at a time, which is then faster than
/// one by one.
const PANEL_MIN_QUERIES: usize = 6;
/// If more than one pair in 32 is a false positive (a pair that the estimate let through, and whose
/// distance is beyond the k-th), the scan switches to the next, tighter estimate: a distance costs
/// as much as a dozen estimates.
const MAX_FALSE_POSITIVE_DIVISOR: usize = 32;
/// False positives are counted from this many pairs on: before, the limits are still falling.
const FALSE_POSITIVE_MIN_PAIRS: usize = 1 << 16;
/// The maximum size of the panels of one pass, in bytes, so that they stay in the cache beside a
/// block of vectors.
const PASS_BYTES: usize = 1 << 20;

/// The filter: whether an item that would be a result may be one.
type Accept<'a> = &'a (dyn Fn(Slot, ItemId) -> Result<bool> + Sync);

/// The slots that a scan compares.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Slots<'a> {
    /// All but these.
    Except(&'a RoaringBitmap),
    /// These, ascending.
    Only(&'a [u32]),
}

/// Returns, for each query, what is wanted of those slots whose item passes `accept`. `stop`
/// (cancellation) is called before every block of about 64 vectors, and ends the scan early.
pub(crate) fn scan<'s, 't, S: Source<'t>>(
    view: &View<'s, 't, S>,
    queries: &[PreparedQuery<'_, 's, 't, S>],
    slots: Slots<'_>,
    wanted: Wanted,
    by_codes: bool,
    accept: Accept<'_>,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<Found>> {
    let (meta, count) = (&view.snapshot.meta, slots.count(view));
    if wanted.is_nothing() || count == 0 {
        return Ok(queries
            .iter()
            .map(|query| Found::nothing(wanted, query.resolution()))
            .collect());
    }
    let by_codes = by_codes && count >= CODES_MIN_SLOTS;
    let vectors = meta.geometry.vectors as usize;
    let piece = PIECE.min(MAX_PIECE_BYTES / meta.geometry.stride.max(1)).max(1);
    let piece = vectors * piece.div_ceil(vectors);
    let pieces = count.div_ceil(piece);
    let panel_bytes = PANEL * size_of::<f32>() * meta.dimensions as usize;
    let mut found = Vec::with_capacity(queries.len());
    for queries in queries.chunks(PANEL * (PASS_BYTES / panel_bytes).max(1)) {
        let rule_out = if queries.len() < PANEL_MIN_QUERIES {
            None
        } else {
            QueryTiles::new(view.estimates(), queries)
        };
        let rule_out = rule_out.as_ref();
        let by_codes = by_codes && rule_out.is_none();
        if count * meta.geometry.stride * queries.len() < PARALLEL_BYTES {
            let codes = if by_codes { code_queries(view, queries)? } else { Vec::new() };
            let (asked, codes) = (Default::default(), &codes[..]);
            let pass = Pass { view, queries, rule_out, codes, slots, piece, asked, accept };
            found.extend(pass.run(0..pieces, wanted, stop)?);
            continue;
        }
        // A transaction cannot be shared between threads, fully resolved tables can.
        view.resolve_vectors()?;
        if by_codes {
            view.resolve_codes()?;
        }
        let warm = View::new(view.snapshot, Warm::default()).with_cold(view.cold());
        let warm = warm.by_metric(view.metric);
        let queries: Vec<_> = queries.iter().map(|query| query.on(&warm)).collect();
        let codes = if by_codes { code_queries(&warm, &queries)? } else { Vec::new() };
        let (view, queries, codes) = (&warm, &queries[..], &codes[..]);
        let asked = Default::default();
        let pass = Pass { view, queries, rule_out, codes, slots, piece, asked, accept };
        // Each thread takes the next block, so that none waits for another, and all read near each
        // other.
        let next = AtomicUsize::new(0);
        let take = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|piece| *piece < pieces);
        let each = threads::on_each(pieces, || {
            let _part = view.cold().map(Residency::part);
            pass.run(std::iter::from_fn(take), wanted, stop)
        })?;
        let mut each = each.into_iter();
        let mut all = each.next().unwrap_or_default();
        for others in each {
            let pairs = queries.iter().zip(all.into_iter().zip(others));
            all = pairs.map(|(query, (a, b))| a.merge(query, b)).collect::<Result<_>>()?;
        }
        found.extend(all);
    }
    Ok(found)
}

/// Prepares queries by codes. Empty if there are no codes.
fn code_queries<'v, 's, 't, S: Source<'t>>(
    view: &'v View<'s, 't, S>,
    queries: &[PreparedQuery<'_, 's, 't, S>],
) -> Result<Vec<CodeEstimator<'v, 's, 't, S>>> {
    Ok(view
        .code_queries()?
        .map(|code| queries.iter().map(|query| code.of(query)).collect())
        .unwrap_or_default())
}

impl Slots<'_> {
    /// The number of slots to scan.
    fn count<'t, S: Source<'t>>(self, view: &View<'_, 't, S>) -> usize {
        match self {
            Slots::Except(_) => view.snapshot.meta.slots as usize,
            Slots::Only(slots) => slots.len(),
        }
    }
}

/// The queries of a pass as panels (tiles), and the estimates that rule out vectors for many of
/// them at once.
struct QueryTiles {
    /// The quickest first.
    estimates: Vec<Estimate>,
    panels: Vec<Panel>,
}

impl QueryTiles {
    /// `None` if the metric has no estimates.
    fn new<'t, S: Source<'t>>(
        estimates: Vec<Estimate>,
        queries: &[PreparedQuery<'_, '_, 't, S>],
    ) -> Option<Self> {
        let first = estimates.first()?;
        let panels = queries
            .chunks(PANEL)
            .map(|queries| first.panel(queries.iter().map(PreparedQuery::prepared)))
            .collect();
        Some(Self { estimates, panels })
    }
}

/// One pass over the vectors.
struct Pass<'a, 's, 't, S> {
    view: &'a View<'s, 't, S>,
    queries: &'a [PreparedQuery<'a, 's, 't, S>],
    rule_out: Option<&'a QueryTiles>,
    /// One for each query, or none.
    codes: &'a [CodeEstimator<'a, 's, 't, S>],
    slots: Slots<'a>,
    /// The number of slots in a block of the scan.
    piece: usize,
    /// The positions from which on codes and vectors have not been read ahead, in the order of the
    /// scan.
    asked: [AtomicUsize; 2],
    accept: Accept<'a>,
}

/// The results of a thread, and its buffers.
struct State<'t> {
    found: Vec<Found>,
    /// Whether the codes have ruled out too few vectors to be worth reading.
    without_codes: bool,
    slots: Vec<u32>,
    estimates: Vec<f32>,
    /// Some of these.
    some: Vec<f32>,
    /// The slots that estimates do not rule out, with the least distances that they can have.
    left: Vec<(u32, f32)>,
    /// The estimate in use, the number of pairs it has judged, and the number of its false
    /// positives.
    estimate: usize,
    pairs: usize,
    false_positives: usize,
    limits: Vec<Limits>,
    vectors: Vec<(Slot, Address<'t>)>,
}

impl<'t> State<'t> {
    fn new<S: Source<'t>>(wanted: Wanted, pass: &Pass<'_, '_, 't, S>) -> Self {
        let nothing =
            |query: &PreparedQuery<'_, '_, 't, S>| Found::nothing(wanted, query.resolution());
        let found = pass.queries.iter().map(nothing).collect();
        let panels = pass.rule_out.map_or(0, |rule_out| rule_out.panels.len());
        let limits = vec![Estimate::no_limits(); panels];
        let (vectors, slots, estimates) = (Vec::new(), Vec::new(), Vec::new());
        let (some, left) = (Vec::new(), Vec::new());
        Self {
            found,
            without_codes: pass.codes.is_empty(),
            slots,
            estimates,
            some,
            left,
            estimate: 0,
            pairs: 0,
            false_positives: 0,
            limits,
            vectors,
        }
    }
}

impl<'t, S: Source<'t>> Pass<'_, '_, 't, S> {
    /// Scans blocks until there are no more, or `stop` returns `true`.
    fn run(
        &self,
        pieces: impl Iterator<Item = usize>,
        wanted: Wanted,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<Found>> {
        let mut state = State::new(wanted, self);
        for piece in pieces.take_while(|_| !stop()) {
            self.scan(piece, &mut state)?;
        }
        Ok(state.found)
    }

    /// Compares the vectors of a block with all queries.
    fn scan(&self, piece: usize, state: &mut State<'t>) -> Result<()> {
        self.read_ahead(piece, state.without_codes);
        if state.without_codes {
            self.address(piece, &mut state.vectors)?;
        } else {
            self.list(piece, &mut state.slots);
        }
        by_finish!(self.view.metric, F => self.scan_by::<F>(state))
    }

    fn scan_by<F: Finish>(&self, state: &mut State<'t>) -> Result<()> {
        match self.rule_out {
            Some(rule_out) => self.rule_out::<F>(rule_out, state),
            None if !state.without_codes => self.compare_by_codes::<F>(state),
            None => {
                let mut queries = self.queries.iter().zip(&mut state.found).enumerate();
                queries.try_for_each(|(nth, (query, found))| {
                    if nth == 0 && self.is_sequential() {
                        self.compare_sequentially::<F>(query, &state.vectors, found)
                    } else {
                        self.compare::<F>(query, &state.vectors, found)
                    }
                })
            }
        }
    }

    /// Compares each query with the vectors that their codes do not rule out.
    fn compare_by_codes<F: Finish>(&self, state: &mut State<'t>) -> Result<()> {
        let State { found, slots, estimates, some, left, .. } = state;
        for ((query, codes), found) in self.queries.iter().zip(self.codes).zip(found) {
            if self.is_scattered() {
                estimates.clear();
                let mut groups = slots.chunks(TOGETHER).peekable();
                groups.peek().into_iter().for_each(|first| codes.prefetch(first));
                while let Some(group) = groups.next() {
                    groups.peek().into_iter().for_each(|next| codes.prefetch(next));
                    codes.distances(group, some)?;
                    estimates.append(some);
                }
            } else {
                codes.distances(slots, estimates)?;
            }
            found.estimates += slots.len() as u64;
            left.clear();
            for (slot, estimate) in slots.iter().zip(&*estimates) {
                let least = estimate - codes.bound(Slot(*slot))?;
                if found.top_k.may_keep(least) {
                    left.push((*slot, least));
                }
            }
            if self.view.cold().is_some() {
                let left: Vec<u32> = left.iter().map(|(slot, _)| *slot).collect();
                query.fetch_rows(&left);
            }
            for (at, (slot, least)) in left.iter().enumerate() {
                if let Some((next, _)) = left.get(at + 1) {
                    query.prefetch(&[*next]);
                }
                // What has been kept meanwhile may have ruled it out.
                if found.top_k.may_keep(*least) {
                    found.distances += 1;
                    let distance = query.distance::<F>(self.view.vector(Slot(*slot))?);
                    self.offer::<F>(query, Slot(*slot), distance, &mut found.top_k)?;
                }
            }
            state.without_codes |= found.estimates > CODES_TRIAL
                && found.distances * MAX_RERANK_DIVISOR > found.estimates;
        }
        Ok(())
    }

    /// Has the next windows read from disk: of all vectors, or codes, or of those that are listed.
    fn read_ahead(&self, piece: usize, without_codes: bool) {
        let count = self.slots.count(self.view);
        let window = match self.slots {
            Slots::Except(_) => self.view.slots_in_window(without_codes),
            Slots::Only(_) => ROWS_AHEAD,
        };
        let asked = &self.asked[usize::from(without_codes)];
        loop {
            let before = asked.load(Ordering::Relaxed);
            let from = before.max(piece * self.piece);
            // A window is read ahead while the one before it is scanned.
            if from >= count || (piece + 1) * self.piece + window <= from {
                return;
            }
            let to = (from + window).min(count);
            let (now, next) = (Ordering::Relaxed, Ordering::Relaxed);
            if asked.compare_exchange(before, to, now, next).is_ok() {
                match self.slots {
                    Slots::Except(_) => {
                        self.view.read_ahead(from as u32..to as u32, without_codes);
                    }
                    Slots::Only(slots) => {
                        self.view.read_rows_ahead(&slots[from..to], without_codes)
                    }
                }
            }
        }
    }

    /// Lists the slots of a block.
    fn list(&self, piece: usize, slots: &mut Vec<u32>) {
        slots.clear();
        let start = piece * self.piece;
        let end = (start + self.piece).min(self.slots.count(self.view));
        match self.slots {
            Slots::Except(gaps) => {
                let range = start as u32..end as u32;
                let mut gaps = gaps.range(range.clone()).peekable();
                slots.extend(range.filter(|slot| gaps.next_if_eq(slot).is_none()));
            }
            Slots::Only(all) => slots.extend(&all[start..end]),
        }
    }

    /// Addresses the vectors of a block.
    fn address(&self, piece: usize, vectors: &mut Vec<(Slot, Address<'t>)>) -> Result<()> {
        vectors.clear();
        let start = piece * self.piece;
        let end = (start + self.piece).min(self.slots.count(self.view));
        match self.slots {
            Slots::Except(gaps) => self.view.vectors(start as u32..end as u32, gaps, vectors)?,
            Slots::Only(slots) => slots[start..end].iter().try_for_each(|&slot| {
                vectors.push((Slot(slot), self.view.vector(Slot(slot))?));
                Ok::<_, Error>(())
            })?,
        }
        if self.view.has_other_metric() {
            // What it cannot compare is no result.
            vectors.retain_mut(|(_, address)| {
                let other = self.view.in_other_metric(*address);
                other.map(|other| *address = other).is_ok()
            });
        }
        Ok(())
    }

    /// Whether codes are compared that do not follow each other, so that the processor does not
    /// fetch them ahead.
    fn is_scattered(&self) -> bool {
        matches!(self.slots, Slots::Only(_))
    }

    /// Whether the vectors of a block are contiguous, and best read sequentially.
    fn is_sequential(&self) -> bool {
        matches!(self.slots, Slots::Except(_))
            && self.view.snapshot.meta.geometry.stride >= SEQUENTIAL_MIN_BYTES
    }

    /// Compares one query with contiguous vectors that are in no cache.
    fn compare_sequentially<F: Finish>(
        &self,
        query: &PreparedQuery<'_, '_, 't, S>,
        vectors: &[(Slot, Address<'t>)],
        found: &mut Found,
    ) -> Result<()> {
        found.distances += vectors.len() as u64;
        vectors.iter().try_for_each(|(slot, address)| {
            self.offer::<F>(query, *slot, query.distance::<F>(*address), &mut found.top_k)
        })
    }

    /// Compares one query with vectors, prefetching ahead.
    fn compare<F: Finish>(
        &self,
        query: &PreparedQuery<'_, '_, 't, S>,
        vectors: &[(Slot, Address<'t>)],
        found: &mut Found,
    ) -> Result<()> {
        let Found { top_k, distances, .. } = found;
        *distances += vectors.len() as u64;
        let (fours, rest) = vectors.as_chunks::<4>();
        // The processor does not fetch ahead what does not follow.
        let (is_scattered, stride) = (self.is_scattered(), self.view.snapshot.meta.geometry.stride);
        let ahead = EARLY_BYTES.div_ceil(4 * stride.max(1));
        let fetch = |fours: &[[(Slot, Address<'t>); 4]]| {
            if is_scattered {
                prefetch_early(fours.iter().flatten().map(|(_, address)| address.bytes));
            }
        };
        fetch(&fours[..ahead.min(fours.len())]);
        for (i, four) in fours.iter().enumerate() {
            fetch(fours.get(i + ahead..=i + ahead).unwrap_or_default());
            for (_, address) in fours.get(i + 1).into_iter().flatten() {
                prefetch(address.bytes);
            }
            for ((slot, _), distance) in
                four.iter().zip(query.distance4::<F>(four.map(|(_, address)| address)))
            {
                self.offer::<F>(query, *slot, distance, top_k)?;
            }
        }
        rest.iter().try_for_each(|(slot, address)| {
            self.offer::<F>(query, *slot, query.distance::<F>(*address), top_k)
        })
    }

    /// Compares each query with the vectors that the estimate does not rule out for it.
    fn rule_out<F: Finish>(
        &self,
        QueryTiles { estimates, panels }: &QueryTiles,
        state: &mut State<'t>,
    ) -> Result<()> {
        let State { found, limits, vectors, .. } = state;
        let estimate = &estimates[state.estimate];
        let (metric, meta) = (self.view.metric, &self.view.snapshot.meta);
        let decoded: Vec<_> =
            vectors.iter().map(|(_, address)| metric.decode(address.bytes, meta.scale)).collect();
        let rows = vectors
            .iter()
            .zip(&decoded)
            .map(|((_, address), decoded)| estimate.row(decoded, address.factor));
        let mut rows: Vec<Row<'_>> = rows.collect();
        // Padded with copies of the last row, which are ignored.
        rows.extend(
            rows.last()
                .copied()
                .into_iter()
                .cycle()
                .take(rows.len().next_multiple_of(ROWS) - rows.len()),
        );
        let queries = self.queries.chunks(PANEL).zip(found.chunks_mut(PANEL));
        for ((panel, limits), (queries, found)) in panels.iter().zip(&mut *limits).zip(queries) {
            for (rows, vectors) in rows.as_chunks().0.iter().zip(vectors.chunks(ROWS)) {
                for (mask, (slot, address)) in
                    estimate.near(panel, limits, rows).into_iter().zip(vectors)
                {
                    for query in bits(mask).take_while(|query| *query < queries.len()) {
                        let distance = queries[query].distance::<F>(*address);
                        let top_k = &mut found[query].top_k;
                        state.false_positives += usize::from(!top_k.may_keep(distance));
                        self.offer::<F>(&queries[query], *slot, distance, top_k)?;
                        if let Some(limit) = top_k.limit() {
                            limits[query] = estimate.limit(panel, query, limit);
                        }
                    }
                }
            }
        }
        found.iter_mut().for_each(|found| found.distances += vectors.len() as u64);
        state.pairs += vectors.len() * self.queries.len();
        if state.false_positives * MAX_FALSE_POSITIVE_DIVISOR > state.pairs
            && state.pairs > FALSE_POSITIVE_MIN_PAIRS
            && state.estimate + 1 < estimates.len()
        {
            (state.estimate, state.pairs, state.false_positives) = (state.estimate + 1, 0, 0);
            // The next comparison sets them again.
            limits.fill(Estimate::no_limits());
        }
        Ok(())
    }

    /// Most vectors are too far away: that is decided where it is called.
    #[inline(always)]
    fn offer<F: Finish>(
        &self,
        query: &PreparedQuery<'_, '_, 't, S>,
        slot: Slot,
        distance: f32,
        top_k: &mut TopK,
    ) -> Result<()> {
        if top_k.may_keep(distance) { self.keep::<F>(query, slot, distance, top_k) } else { Ok(()) }
    }

    #[inline(never)]
    fn keep<F: Finish>(
        &self,
        query: &PreparedQuery<'_, '_, 't, S>,
        slot: Slot,
        distance: f32,
        top_k: &mut TopK,
    ) -> Result<()> {
        let item = self.view.item(slot)?;
        if (self.accept)(slot, item)? {
            top_k.offer(query, slot, item, query.corrected::<F>(slot, distance)?)?;
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
