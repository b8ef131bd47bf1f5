//! The graph path: a beam search of the graph, and a scan of the pending items, which are not in it
//! yet. This file decides how far the search goes (early termination, oversampling), and reranks
//! what it finds; `filtered` has the searches of a filter.
//!
//! A search without a filter takes every node for a result, and drops the few that were removed
//! from the graph's results in the end. Where those are many, it is done again by `filtered`.

use std::sync::{Mutex, PoisonError};

use super::filtered::{Admission, Filtering};
use super::{AccessPath, CandidateList, Flat};
use crate::distance::{Form, prefetches_early};
use crate::error::Result;
use crate::flat::Slots;
use crate::format::meta::Meta;
use crate::graph::beam::{Beam, Scope, SearchTask};
use crate::graph::interleave::interleave;
use crate::graph::{self, Candidate, DistanceComputer, Reach};
use crate::search::paths::parameter::{COUNTS, Parameter, count};
use crate::search::{Search, SearchContext, Strategy};
use crate::store::prepared_query::PreparedQuery;
use crate::store::readahead::residency::Residency;
use crate::store::sections::codes::search::{CodeEstimator, CodeQueries};
use crate::store::source::{Source, Warm};
use crate::store::view::View;
use crate::threads;
use crate::top_k::{Found, TopK};
use crate::types::{IndexKind, Layer, Slot};

/// Early termination: a search stops at this power of the ratio between the distances of the
/// `ef_search`-th and the `k`-th neighbor, averaged over the index. Queries with many neighbors at
/// nearly the same distance search longer, most others shorter (decision 0019 has the figures).
pub(in crate::search) const STOP_EXPONENT: f32 = 0.8;
/// Codes of fewer bits a component are too coarse for early termination.
pub(in crate::search) const MIN_ADAPTIVE_BITS: u8 = 4;
/// Oversampling for 4-bit codes: `ef` grows by this factor over the square root of the number of
/// dimensions, as the error of an estimate falls with that root: by 26 % for 128 dimensions, by 15
/// % for 384. Recall is then about the same as without codes.
const FOUR_BIT_EF_FACTOR: f32 = 3.0;
/// A search by 4-bit codes keeps, for reranking, every candidate within this fraction of its error
/// bound (about 99.7 %) of the stopping distance.
const ERROR_MARGIN_FRACTION: f32 = 0.25;
/// Of at most one node in this many that cannot be a result, a search does not know before its end.
const NODES_PER_BARRED: u64 = 32;
/// If more than one in this many of the nodes that it has found cannot be, it is done again.
const FOUND_PER_BARRED: usize = 8;
/// A search expands at least `ef / 2` candidates, whatever early termination says.
const MIN_EF_DIVISOR: usize = 2;
/// A search expands at most this factor times `ef` candidates, and keeps as many.
const MAX_EF_FACTOR: usize = 2;
/// A search that reranks keeps at most this factor times `ef` candidates.
const MAX_RERANK_FACTOR: usize = 3;

/// The number of candidates that are reranked between two looks at the clock.
const MAX_RERANKED_TOGETHER: usize = 1024;

/// Searches the graph.
pub(crate) struct Graph;

impl AccessPath for Graph {
    fn strategy(&self) -> Strategy {
        Strategy::Graph
    }

    fn kind(&self) -> IndexKind {
        IndexKind::Hnsw
    }

    fn parameters(&self) -> &'static [Parameter] {
        const EF: Parameter = Parameter {
            name: "ef",
            remedy: COUNTS,
            set: |request, value| count(value).map(|ef| request.ef_search = ef).is_some(),
        };
        &[EF]
    }

    fn is_calibrated(&self, meta: &Meta) -> bool {
        meta.calibration.is_some()
    }

    fn cost_ns(&self, search: &Search<'_, '_, '_, '_>, k: usize) -> Option<f64> {
        if search.view.snapshot.meta.linked() == 0 {
            return None;
        }
        let (costs, selection) = (search.costs(), &search.context.selection);
        let pending = selection.pending().len() as f64;
        Some(costs.walk(search.context.request.ef_search.max(k)) + pending * costs.scattered_row)
    }

    fn search(&self, search: &Search<'_, '_, '_, '_>, k: usize) -> Result<Vec<(Strategy, Found)>> {
        let Search { view, context, queries } = *search;
        let mut found = search.scan(k, Slots::Only(context.selection.pending()))?;
        let mut ends = vec![End::Crowded; found.len()];
        let mut walk = Walk { view, context, k, filtering: None };
        if is_plain(search) {
            ends.fill(End::Found);
            walk.all(queries, &mut found, &mut ends)?;
        }
        if ends.contains(&End::Crowded) {
            walk.filtering = Some(Filtering::new(search, k)?);
            walk.all(queries, &mut found, &mut ends)?;
        }
        let mut answers: Vec<_> = found.into_iter().map(|found| (self.strategy(), found)).collect();
        if ends.contains(&End::TooCostly) {
            change_over(search, k, &ends, &mut answers)?;
        }
        Ok(answers)
    }
}

/// A first walk of the graph for each query, among candidates given by so many ids: see
/// [`glance`](crate::search::glance). What it found, and whether that is the answer.
pub(in crate::search) fn glance(
    search: &Search<'_, '_, '_, '_>,
    k: usize,
    given: u64,
) -> Result<Vec<(Found, bool)>> {
    let Search { view, context, queries } = *search;
    let mut found = search.scan(k, Slots::Only(context.selection.pending()))?;
    let mut ends = vec![End::Crowded; found.len()];
    let filtering = Some(Filtering::glance(search, k, given));
    Walk { view, context, k, filtering }.all(queries, &mut found, &mut ends)?;
    let is_answer = |found: &Found, end| end == End::Found && found.top_k.limit().is_some();
    let found = found.into_iter().zip(ends);
    Ok(found
        .map(|(found, end)| {
            let is_answer = is_answer(&found, end) || context.did_cancel();
            (found, is_answer)
        })
        .collect())
}

/// Whether all nodes but a few may be results, so that a search need not tell them apart.
fn is_plain(search: &Search<'_, '_, '_, '_>) -> bool {
    let Search { view, context: SearchContext { selection, request, .. }, .. } = search;
    let meta = &view.snapshot.meta;
    let barred = selection.barred().len();
    let is_few = barred == 0
        || barred * NODES_PER_BARRED < u64::from(meta.linked())
            // A search for as many as there are must not lose any to those.
            && request.ef_search < meta.items as usize;
    selection.only().is_none() && selection.predicate().is_none() && is_few
}

/// Answers the queries that would cost too much by the graph exactly.
fn change_over(
    search: &Search<'_, '_, '_, '_>,
    k: usize,
    ends: &[End],
    answers: &mut [(Strategy, Found)],
) -> Result<()> {
    let Search { view, context, .. } = *search;
    let costly = search.queries.iter().zip(answers).zip(ends);
    let (queries, answers): (Vec<_>, Vec<_>) = costly
        .filter(|(_, end)| **end == End::TooCostly)
        .map(|((query, answer), _)| (query.on(view), answer))
        .unzip();
    let exact = Search { view, queries: &queries, context };
    let exact = match context.selection.only() {
        Some(_) => CandidateList.search(&exact, k)?,
        None => Flat.search(&exact, k)?,
    };
    for (answer, (strategy, mut found)) in answers.into_iter().zip(exact) {
        found.add_cost_of(&answer.1);
        *answer = (strategy, found);
    }
    Ok(())
}

/// How a graph search ended.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Found,
    /// Too many of the nodes around the query cannot be results, or may not be: the search has to
    /// tell nodes apart.
    Crowded,
    /// It would cost more than an exact answer.
    TooCostly,
}

/// The shared state of the graph searches of a batch.
struct Walk<'q, 's, 't, S> {
    view: &'q View<'s, 't, S>,
    context: &'q SearchContext<'q>,
    k: usize,
    /// `None` if every node may be a result.
    filtering: Option<Filtering<'q>>,
}

impl<'q, 's, 't, S: Source<'t>> Walk<'q, 's, 't, S> {
    /// Adds the results of each query that is to be searched to those found before.
    fn all(
        &mut self,
        queries: &[PreparedQuery<'_, 's, 't, S>],
        found: &mut [Found],
        ends: &mut [End],
    ) -> Result<()> {
        let is_next = if self.filtering.is_some() { End::Crowded } else { End::Found };
        if let ([query], [found], [end]) = (queries, &mut *found, &mut *ends) {
            return self.one(query, found, end);
        }
        // A transaction cannot be shared between threads, fully resolved tables can.
        self.view.resolve_all()?;
        let warm = View::new(self.view.snapshot, Warm::default()).with_cold(self.view.cold());
        let next =
            queries.iter().zip(found.iter_mut().zip(ends)).filter(|(_, (_, end))| **end == is_next);
        let (queries, found): (Vec<_>, Vec<_>) =
            next.map(|(query, found)| (query.on(&warm), found)).unzip();
        let (context, k, filtering) = (self.context, self.k, self.filtering.take());
        Walk { view: &warm, context, k, filtering }.many(&queries, found)
    }

    /// Adds the results for a query to those found before.
    fn one(
        &self,
        query: &PreparedQuery<'_, 's, 't, S>,
        found: &mut Found,
        end: &mut End,
    ) -> Result<()> {
        Beam::with(|[beam]| match self.code_queries()? {
            Some(code) => self.task(query, code.of(query), found, end).run(beam),
            None => self.task(query, query, found, end).run(beam),
        })
    }

    /// Adds the results for each query to those found before, on all available threads. Any thread
    /// must be able to use the view.
    fn many(
        &self,
        queries: &[PreparedQuery<'_, 's, 't, S>],
        found: Vec<(&mut Found, &mut End)>,
    ) -> Result<()>
    where
        S: Sync,
    {
        let code = self.code_queries()?;
        let threads = threads::for_items(queries.len(), threads::SEARCHES);
        // Interleave only with early prefetches: without them, a lane would yield with no load in
        // flight, unless it waits for the disk.
        let interleaves = prefetches_early() || self.view.cold().is_some();
        let together = if interleaves { queries.len().div_ceil(threads) } else { 1 };
        let queue = Mutex::new(queries.iter().zip(found));
        threads::on_each(threads, || {
            let _part = self.view.cold().map(Residency::part);
            let mut each =
                std::iter::from_fn(|| queue.lock().unwrap_or_else(PoisonError::into_inner).next());
            if self.filtering.is_some() || self.context.overlay.is_some() {
                return each.try_for_each(|(query, (found, end))| self.one(query, found, end));
            }
            match &code {
                Some(code) => interleave(
                    self.view,
                    together,
                    each.map(|(query, (found, end))| self.task(query, code.of(query), found, end)),
                ),
                None => interleave(
                    self.view,
                    together,
                    each.map(|(query, (found, end))| self.task(query, query, found, end)),
                ),
            }
        })
        .map(drop)
    }

    /// Prepares queries by codes, if the index has codes and the request uses them.
    fn code_queries(&self) -> Result<Option<CodeQueries<'q, 's, 't, S>>> {
        if self.context.request.codes { self.view.code_queries() } else { Ok(None) }
    }

    fn task<'a, P>(
        &'a self,
        exact: &'a PreparedQuery<'a, 's, 't, S>,
        query: P,
        found: &'a mut Found,
        end: &'a mut End,
    ) -> GraphQuery<'a, 's, 't, S, P> {
        GraphQuery { walk: self, exact, query, layer: None, found, end, fetched: Vec::new() }
    }

    /// Decides how far the search goes: as far as, on average, about `ef` candidates lie around a
    /// vector of this index, in multiples of the distance of the `k`-th. If the index has no more
    /// than `ef` items, all are visited.
    fn scope(&self, starts: [Slot; 2], error: f32) -> Scope {
        // An item that is the query is met, and is none of the results.
        let k = self.k + usize::from(self.context.selection.has_own());
        let ef = self.context.request.ef_search.max(k);
        let meta = &self.view.snapshot.meta;
        let bits =
            if self.context.request.codes && meta.is_coded { meta.code_bits } else { u8::MAX };
        // Estimates from fewer than 4 bits are too inaccurate for early termination. By 4 bits, a
        // few neighbors rank behind vectors that are no nearer, hence the oversampling.
        let is_vague = bits < MIN_ADAPTIVE_BITS;
        let (share, margin) = match bits {
            MIN_ADAPTIVE_BITS => (
                FOUR_BIT_EF_FACTOR / (meta.dimensions as f32).sqrt(),
                ERROR_MARGIN_FRACTION * error,
            ),
            _ => (0.0, 0.0),
        };
        let ef = ef.saturating_add((ef as f32 * share) as usize);
        // The rule compares lengths: negated products have no ratio.
        let are_lengths = self.view.snapshot.metric.form != Form::NegatedProducts;
        let is_adaptive = meta.growth > 0.0 && ef < meta.items as usize && !is_vague && are_lengths;
        let reach = is_adaptive.then(|| Reach {
            nth: k,
            factor: (ef as f32 / k as f32).powf(STOP_EXPONENT * meta.growth),
            least: k.max(ef / MIN_EF_DIVISOR),
            most: ef.saturating_mul(MAX_EF_FACTOR),
            margin,
        });
        // An estimate can rank a vector, and all its copies, behind farther vectors.
        let estimated =
            if self.context.request.codes && meta.is_coded { ef / MIN_EF_DIVISOR } else { 0 };
        let copies = if ef < meta.items as usize { k.max(estimated) } else { usize::MAX };
        let kept = if margin > 0.0 { MAX_RERANK_FACTOR } else { MAX_EF_FACTOR };
        let ef = if is_adaptive { ef.saturating_mul(kept) } else { ef };
        Scope { layer: Layer(0), starts, ef, reach, hops: usize::MAX, copies }
    }
}

/// One query in progress.
struct GraphQuery<'a, 's, 't, S, P> {
    walk: &'a Walk<'a, 's, 't, S>,
    exact: &'a PreparedQuery<'a, 's, 't, S>,
    query: P,
    /// The layer being searched.
    layer: Option<Layer>,
    found: &'a mut Found,
    end: &'a mut End,
    /// The candidates whose vectors have been asked for, if the index is cold.
    fetched: Vec<u32>,
}

impl<'t, S: Source<'t>, P: Estimator> SearchTask for GraphQuery<'_, '_, 't, S, P> {
    fn computer(&self) -> &impl DistanceComputer {
        &self.query
    }

    fn next(&mut self, beam: &Beam) -> Result<Option<Scope>> {
        let meta = &self.walk.view.snapshot.meta;
        let Some((top, entry)) = meta.entry() else { return Ok(None) };
        let nearest = beam.nearest().unwrap_or(entry);
        let layer = match self.layer {
            None => top,
            Some(Layer(0)) if self.is_crowded(beam) => {
                self.leave(beam, End::Crowded);
                return Ok(None);
            }
            Some(Layer(0)) if P::IS_EXACT => return self.keep(beam).map(|()| None),
            Some(Layer(0)) => return self.rerank(beam).map(|()| None),
            Some(layer) => Layer(layer.0 - 1),
        };
        self.layer = Some(layer);
        Ok(Some(match layer {
            Layer(0) => self.walk.scope([nearest, meta.roots[0]], self.query.error(nearest)?),
            _ => Scope::descent(layer, nearest),
        }))
    }

    /// The vectors of the candidates that are reranked first: as many as are needed at least, and
    /// those that will hardly be ruled out by them.
    #[inline]
    fn fetch(&mut self, beam: &Beam) -> bool {
        let is_cold = self.walk.view.cold().is_some();
        if !P::IS_EXACT && is_cold && !self.is_descending() {
            self.fetch_first(beam);
            return true;
        }
        false
    }

    /// Polls for cancellation, on layer 0.
    fn stops(&self) -> bool {
        !self.is_descending() && self.walk.context.stop()
    }
}

impl<S, P> GraphQuery<'_, '_, '_, S, P> {
    /// Whether the search is descending, only to find a start, which any node can be.
    fn is_descending(&self) -> bool {
        self.layer != Some(Layer(0))
    }
}

impl<'t, S: Source<'t>, P: Estimator> GraphQuery<'_, '_, 't, S, P> {
    /// Runs the searches of all layers.
    fn run(self, beam: &mut Beam) -> Result<()> {
        let Walk { view, context, .. } = *self.walk;
        match context.overlay {
            None => self.run_on(view, beam),
            Some(graph) => self.run_on(graph, beam),
        }
    }

    fn run_on(mut self, graph: &impl graph::Graph, beam: &mut Beam) -> Result<()> {
        match &self.walk.filtering {
            Some(filtering) => self.run_filtered(graph, beam, filtering),
            None => beam.run(graph, &mut self),
        }
    }

    /// Runs the searches of all layers, that of layer 0 with the filter.
    fn run_filtered(
        &mut self,
        graph: &impl graph::Graph,
        beam: &mut Beam,
        filtering: &Filtering<'_>,
    ) -> Result<()> {
        let Walk { view, context, .. } = *self.walk;
        *self.end = End::Found;
        beam.reset();
        while let Some(scope) = self.next(beam)? {
            if scope.layer > Layer(0) {
                beam.search(graph, self.computer(), scope, |_| Ok(true), || false)?;
                continue;
            }
            let Filtering { budget, seeds, .. } = filtering;
            let filter = Admission { view, context, filtering };
            if !beam.search_filtered(graph, self.computer(), scope, seeds, &filter, budget)? {
                self.leave(beam, End::TooCostly);
                return Ok(());
            }
            self.fetch(beam);
        }
        Ok(())
    }

    /// Ends without results. What it has cost counts.
    fn leave(&mut self, beam: &Beam, end: End) {
        *self.end = end;
        let count = if P::IS_EXACT { &mut self.found.distances } else { &mut self.found.estimates };
        *count += beam.distance_count;
        self.found.lists += beam.list_count;
    }

    /// Whether too many of the nodes that a search without a filter has found are no results.
    fn is_crowded(&self, beam: &Beam) -> bool {
        let Walk { context, filtering, k, .. } = self.walk;
        // The query itself, if it is an item, is one of them.
        if filtering.is_some() || context.selection.barred().is_empty() {
            return false;
        }
        let all = beam.candidates().len();
        let left = results(self.walk, beam).count();
        let linked = context.selection.len().saturating_sub(context.selection.pending().len());
        (all - left) * FOUND_PER_BARRED > all || left < (*k).min(linked)
    }

    /// Offers the nearest candidates, whose distances are exact, to the top-k.
    fn keep(&mut self, beam: &Beam) -> Result<()> {
        let Self { walk: Walk { view, .. }, exact, found, .. } = self;
        found.distances += beam.distance_count;
        found.lists += beam.list_count;
        // By increasing distance: beyond the k-th, no item id needs to be looked up.
        if view.cold().is_some() {
            view.fetch_items(results(self.walk, beam).take(self.walk.k).map(Candidate::slot));
        }
        for candidate in results(self.walk, beam) {
            let distance = candidate.distance();
            if !found.top_k.may_keep(distance) {
                break;
            }
            let slot = Slot(candidate.slot());
            found.top_k.offer(*exact, slot, view.item(slot)?, distance)?;
        }
        Ok(())
    }

    /// See [`fetch`](SearchTask::fetch).
    #[cold]
    fn fetch_first(&mut self, beam: &Beam) {
        let mut left = results(self.walk, beam);
        let mut last = f32::NEG_INFINITY;
        self.fetched.clear();
        for candidate in left.by_ref().take(self.walk.k) {
            last = candidate.distance();
            self.fetched.push(candidate.slot());
        }
        // The `k`-th distance is rarely smaller than the `k`-th estimate.
        for candidate in left {
            let error = self.query.error(Slot(candidate.slot())).unwrap_or(0.0);
            if candidate.distance() - error <= last {
                self.fetched.push(candidate.slot());
            }
        }
        self.exact.fetch_rows(&self.fetched);
    }

    /// Reranks the candidates, whose distances are estimates: computes the exact distances of all
    /// but those that cannot be in the top-k, and offers them to it.
    fn rerank(&mut self, beam: &Beam) -> Result<()> {
        let Self { walk, exact, query, found, fetched, .. } = self;
        let Walk { view, k, context, .. } = walk;
        found.estimates += beam.distance_count;
        found.lists += beam.list_count;
        let nearest = &mut found.top_k;
        let mut left = results(self.walk, beam);
        let (mut slots, mut distances) = (Vec::with_capacity(*k), Vec::with_capacity(*k));
        let mut due = *k;
        let mut wanted = due.min(MAX_RERANKED_TOGETHER);
        loop {
            slots.clear();
            for candidate in left.by_ref() {
                let estimate = candidate.distance();
                if nearest.may_keep(estimate)
                    || nearest.may_keep(estimate - query.error(Slot(candidate.slot()))?)
                {
                    slots.push(candidate.slot());
                    if slots.len() == wanted {
                        break;
                    }
                }
            }
            if slots.is_empty() {
                return Ok(());
            }
            if view.cold().is_some() {
                exact.cold_distances(&slots, &mut distances)?;
            } else {
                exact.prefetch(&slots);
                exact.distances(&slots, &mut distances)?;
            }
            found.distances += slots.len() as u64;
            for (slot, distance) in slots.iter().zip(&distances) {
                if nearest.may_keep(*distance) {
                    let slot = Slot(*slot);
                    nearest.offer(*exact, slot, view.item(slot)?, *distance)?;
                }
            }
            if context.has_expired() {
                return Ok(());
            }
            // First `k`, as many as are needed at least, then four at a time.
            let is_due = due > 0;
            due = due.saturating_sub(slots.len());
            if due > 0 {
                wanted = due.min(MAX_RERANKED_TOGETHER);
                continue;
            }
            if is_due && view.cold().is_some() {
                let mut others = contenders(left.clone(), nearest, query)?;
                others.retain(|slot| !fetched.contains(slot));
                exact.fetch_rows(&others);
            }
            wanted = 4;
        }
    }
}

/// The candidates that may be results, the nearest first.
fn results<'b, S>(
    walk: &'b Walk<'_, '_, '_, S>,
    beam: &'b Beam,
) -> impl Iterator<Item = &'b Candidate> + Clone {
    // A search with a filter has found no others.
    let tells_apart = walk.filtering.is_none() && walk.context.selection.bars_nodes();
    let selection = &walk.context.selection;
    beam.candidates()
        .iter()
        .filter(move |candidate| !tells_apart || selection.admits(Slot(candidate.slot())))
}

/// The candidates that the distances computed so far do not rule out: they are read from disk at a
/// time.
#[cold]
fn contenders<'c>(
    candidates: impl Iterator<Item = &'c Candidate>,
    nearest: &TopK,
    query: &impl Estimator,
) -> Result<Vec<u32>> {
    let mut contenders = Vec::new();
    for candidate in candidates {
        let (slot, estimate) = (candidate.slot(), candidate.distance());
        if nearest.may_keep(estimate) || nearest.may_keep(estimate - query.error(Slot(slot))?) {
            contenders.push(slot);
        }
    }
    Ok(contenders)
}

/// Computes the distances or estimates that guide a search.
pub(in crate::search) trait Estimator: DistanceComputer {
    /// Whether these are exact distances.
    const IS_EXACT: bool;

    /// A high-probability bound (about 99.7 %) of the difference to the distance of a slot.
    fn error(&self, slot: Slot) -> Result<f32>;
}

impl<'t, S: Source<'t>> Estimator for &PreparedQuery<'_, '_, 't, S> {
    const IS_EXACT: bool = true;

    fn error(&self, _slot: Slot) -> Result<f32> {
        Ok(0.0)
    }
}

impl<'t, S: Source<'t>> Estimator for CodeEstimator<'_, '_, 't, S> {
    const IS_EXACT: bool = false;

    #[inline]
    fn error(&self, slot: Slot) -> Result<f32> {
        self.likely_bound(slot)
    }
}
