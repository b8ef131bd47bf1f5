//! The graph path: a beam search of the graph, and a scan of the pending items, which are not in it
//! yet. This file decides how far the search goes (early termination, oversampling), and reranks
//! what it finds.

use std::sync::{Mutex, PoisonError};

use super::{AccessPath, vector_ns};
use crate::distance::{Form, prefetches_early};
use crate::error::Result;
use crate::flat::Slots;
use crate::graph::beam::{Beam, Scope, SearchTask};
use crate::graph::interleave::interleave;
use crate::graph::{Candidate, DistanceComputer, Reach};
use crate::search::{Search, SearchContext, Strategy};
use crate::store::prepared_query::PreparedQuery;
use crate::store::sections::codes::search::{CodeEstimator, CodeQueries};
use crate::store::source::{Source, Warm};
use crate::store::view::View;
use crate::threads;
use crate::top_k::{Found, TopK};
use crate::types::{Layer, Slot};

/// The estimated cost of expanding one node, in nanoseconds: about 16 distances to vectors that are
/// not in the cache.
const EXPANSION_NS: f64 = 1000.0;
/// The estimated cost of keeping the pool sorted, in nanoseconds for each pair of its members:
/// three insertions a member, each moving half of the pool.
const POOL_NS: f64 = 1.2;
/// Early termination: a search stops at this power of the ratio between the distances of the
/// `ef_search`-th and the `k`-th neighbor, averaged over the index. Queries with many neighbors at
/// nearly the same distance search longer, most others shorter (decision 0019 has the figures).
const STOP_EXPONENT: f32 = 0.8;
/// Codes of fewer bits a component are too coarse for early termination.
const MIN_ADAPTIVE_BITS: u8 = 4;
/// Oversampling for 4-bit codes: `ef` grows by this factor over the square root of the number of
/// dimensions, as the error of an estimate falls with that root: by 26 % for 128 dimensions, by 15
/// % for 384. Recall is then about the same as without codes.
const FOUR_BIT_EF_FACTOR: f32 = 3.0;
/// A search by 4-bit codes keeps, for reranking, every candidate within this fraction of its error
/// bound (about 99.7 %) of the stopping distance.
const ERROR_MARGIN_FRACTION: f32 = 0.25;
/// A search expands at least `ef / 2` candidates, whatever early termination says.
const MIN_EF_DIVISOR: usize = 2;
/// A search expands at most this factor times `ef` candidates, and keeps as many.
const MAX_EF_FACTOR: usize = 2;
/// A search that reranks keeps at most this factor times `ef` candidates.
const MAX_RERANK_FACTOR: usize = 3;

/// Searches the graph.
pub(crate) struct Graph;

impl AccessPath for Graph {
    fn strategy(&self) -> Strategy {
        Strategy::Graph
    }

    fn cost_ns(&self, search: &Search<'_, '_, '_, '_>, k: usize) -> Option<f64> {
        let meta = &search.view.snapshot.meta;
        if meta.linked() == 0 {
            return None;
        }
        // A filter that accepts one item in n needs n times as many expansions.
        let rarity = f64::from(meta.items) / search.possible() as f64;
        let ef = search.context.request.ef_search.max(k) as f64 * rarity;
        let pending = search.view.snapshot.pending.len() as f64;
        Some(ef * EXPANSION_NS + ef * ef * POOL_NS + pending * vector_ns(search))
    }

    fn search(&self, search: &Search<'_, '_, '_, '_>, k: usize) -> Result<Vec<Found>> {
        let Search { view, context, .. } = *search;
        let mut found = search.scan(k, Slots::Only(&view.snapshot.pending))?;
        if let ([query], [found]) = (search.queries, &mut found[..]) {
            Walk { view, context, k }.one(query, found)?;
        } else {
            // A transaction cannot be shared between threads, fully resolved tables can.
            view.resolve_all()?;
            let warm = View::new(view.snapshot, Warm::default()).with_cold(view.cold());
            let queries: Vec<_> = search.queries.iter().map(|query| query.on(&warm)).collect();
            Walk { view: &warm, context, k }.many(&queries, &mut found)?;
        }
        Ok(found)
    }
}

/// The shared state of the graph searches of a batch.
struct Walk<'q, 's, 't, S> {
    view: &'q View<'s, 't, S>,
    context: &'q SearchContext<'q>,
    k: usize,
}

impl<'q, 's, 't, S: Source<'t>> Walk<'q, 's, 't, S> {
    /// Adds the results for a query to those found before.
    fn one(&self, query: &PreparedQuery<'_, 's, 't, S>, found: &mut Found) -> Result<()> {
        Beam::with(|[beam]| match self.code_queries()? {
            Some(code) => beam.run(self.view, &mut self.task(query, code.of(query), found)),
            None => beam.run(self.view, &mut self.task(query, query, found)),
        })
    }

    /// Adds the results for each query to those found before, on all available threads. Any thread
    /// must be able to use the view.
    fn many(&self, queries: &[PreparedQuery<'_, 's, 't, S>], found: &mut [Found]) -> Result<()>
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
            let each =
                std::iter::from_fn(|| queue.lock().unwrap_or_else(PoisonError::into_inner).next());
            match &code {
                Some(code) => interleave(
                    self.view,
                    together,
                    each.map(|(query, found)| self.task(query, code.of(query), found)),
                ),
                None => interleave(
                    self.view,
                    together,
                    each.map(|(query, found)| self.task(query, query, found)),
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
    ) -> GraphQuery<'a, 's, 't, S, P> {
        GraphQuery { walk: self, exact, query, layer: None, found, fetched: Vec::new() }
    }

    /// Decides how far the search goes: as far as, on average, about `ef` candidates lie around a
    /// vector of this index, in multiples of the distance of the `k`-th. If the index has no more
    /// than `ef` items, all are visited.
    fn scope(&self, starts: [Slot; 2], error: f32) -> Scope {
        let ef = self.context.request.ef_search.max(self.k);
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
            nth: self.k,
            factor: (ef as f32 / self.k as f32).powf(STOP_EXPONENT * meta.growth),
            least: self.k.max(ef / MIN_EF_DIVISOR),
            most: ef.saturating_mul(MAX_EF_FACTOR),
            margin,
        });
        // An estimate can rank a vector, and all its copies, behind farther vectors.
        let estimated =
            if self.context.request.codes && meta.is_coded { ef / MIN_EF_DIVISOR } else { 0 };
        let copies = if ef < meta.items as usize { self.k.max(estimated) } else { usize::MAX };
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

    // Asked of every candidate: left to itself, the compiler inlines it or not by chance.
    #[inline]
    fn accepts(&self, slot: Slot) -> Result<bool> {
        let Walk { view, context, .. } = self.walk;
        if self.is_descending() {
            return Ok(true);
        }
        if view.snapshot.meta.removed > 0 && view.snapshot.removed.contains(slot.0) {
            return Ok(false);
        }
        Ok(context.accepts_all() || context.accepts(view.item(slot)?))
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
    /// Offers the nearest candidates, whose distances are exact, to the top-k.
    fn keep(&mut self, beam: &Beam) -> Result<()> {
        let Self { walk: Walk { view, .. }, exact, found, .. } = self;
        found.distances += beam.distance_count;
        // By increasing distance: beyond the k-th, no item id needs to be looked up.
        if view.cold().is_some() {
            let nearest = beam.candidates().iter().filter(|candidate| candidate.accepted);
            view.fetch_items(nearest.take(self.walk.k).map(Candidate::slot));
        }
        for candidate in beam.candidates().iter().filter(|candidate| candidate.accepted) {
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
        let mut left = beam.candidates().iter().filter(|candidate| candidate.accepted);
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
        let Self { walk: Walk { view, k, .. }, exact, query, found, fetched, .. } = self;
        found.estimates += beam.distance_count;
        let nearest = &mut found.top_k;
        let mut left = beam.candidates().iter().filter(|candidate| candidate.accepted);
        let (mut slots, mut distances) = (Vec::with_capacity(*k), Vec::with_capacity(*k));
        let mut wanted = *k;
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
            // First `k` at a time, as many as are needed at least, then four.
            if wanted == *k && view.cold().is_some() {
                let mut others = contenders(left.clone(), nearest, query)?;
                others.retain(|slot| !fetched.contains(slot));
                exact.fetch_rows(&others);
            }
            wanted = 4;
        }
    }
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
trait Estimator: DistanceComputer {
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
