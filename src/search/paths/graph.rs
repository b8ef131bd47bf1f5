//! The graph is walked with a beam, and pending items, which are in no graph yet, are compared
//! beside it: how far a walk goes, and what it makes of what it has found.

use std::sync::{Mutex, PoisonError};

use super::{AccessPath, vector_ns};
use crate::distance::prefetches_early;
use crate::error::Result;
use crate::flat::Slots;
use crate::graph::beam::{Beam, Scope, SearchTask};
use crate::graph::interleave::interleave;
use crate::graph::{DistanceComputer, Reach};
use crate::search::{Search, SearchContext, Strategy};
use crate::store::prepared_query::PreparedQuery;
use crate::store::sections::codes::search::{CodeEstimator, CodeQueries};
use crate::store::source::{Source, Warm};
use crate::store::view::View;
use crate::threads;
use crate::top_k::{Found, Neighbor};
use crate::types::{Layer, Slot};

/// Estimated cost of expanding one node: about 16 distances to vectors that are not in the cache,
/// in nanoseconds.
const EXPANSION_NS: f64 = 1000.0;
/// Estimated cost of keeping the sorted pool, for each pair of its members: three insertions a
/// member, each moving half of the pool.
const POOL_NS: f64 = 1.2;
/// Early termination: a walk stops at this power of the ratio between the distances of the
/// `ef_search`-th and the `k`-th neighbor, averaged over the index. Queries with many neighbors at
/// nearly the same distance walk longer, most others less long (decision 0019 has the figures).
const STOP_EXPONENT: f32 = 0.8;
/// Codes of fewer bits a component are too coarse for early termination.
const MIN_ADAPTIVE_BITS: u8 = 4;
/// Oversampling for codes of 4 bits: `ef` grows by this factor over the root of the number of
/// dimensions, as the error of an estimate falls with that root: by 26 % for 128 dimensions, by 15
/// % for 384. Recall is then about what it is without codes.
const FOUR_BIT_EF_FACTOR: f32 = 3.0;
/// A walk by codes of 4 bits keeps, for reranking, every candidate within this fraction of its
/// error bound (about 99.7 %) of the stopping distance.
const ERROR_MARGIN_FRACTION: f32 = 0.25;
/// A walk looks around at least `ef / 2` candidates, whatever early termination says.
const MIN_EF_DIVISOR: usize = 2;
/// A walk looks around at most this factor times `ef` candidates, and keeps as many.
const MAX_EF_FACTOR: usize = 2;
/// A walk that reranks keeps at most this factor times `ef` candidates.
const MAX_RERANK_FACTOR: usize = 3;

/// Walks the graph.
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
        // As many more nodes must be expanded as there are items for every candidate.
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
            // A transaction cannot be shared between threads, full tables can.
            view.resolve_all()?;
            let warm = View::new(view.snapshot, Warm::default());
            let queries: Vec<_> = search.queries.iter().map(|query| query.on(&warm)).collect();
            Walk { view: &warm, context, k }.many(&queries, &mut found)?;
        }
        Ok(found)
    }
}

/// What the walks of some queries share.
struct Walk<'q, 's, 't, S> {
    view: &'q View<'s, 't, S>,
    context: &'q SearchContext<'q>,
    k: usize,
}

impl<'q, 's, 't, S: Source<'t>> Walk<'q, 's, 't, S> {
    /// Adds what is found for a query to what has been.
    fn one(&self, query: &PreparedQuery<'_, 's, 't, S>, found: &mut Found) -> Result<()> {
        Beam::with(|[beam]| match self.code_queries()? {
            Some(code) => beam.run(self.view, &mut self.task(query, code.of(query), found)),
            None => beam.run(self.view, &mut self.task(query, query, found)),
        })
    }

    /// Adds what is found for each query to what has been, on all threads that are available. To be
    /// called where any thread may use the view.
    fn many(&self, queries: &[PreparedQuery<'_, 's, 't, S>], found: &mut [Found]) -> Result<()>
    where
        S: Sync,
    {
        let code = self.code_queries()?;
        let threads = threads::for_items(queries.len(), threads::SEARCHES);
        // Where nothing is prefetched early, a turn would end with nothing on its way.
        let together = if prefetches_early() { queries.len().div_ceil(threads) } else { 1 };
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

    /// What makes queries by codes, if there are any and they are wished for.
    fn code_queries(&self) -> Result<Option<CodeQueries<'q, 's, 't, S>>> {
        if self.context.request.codes { self.view.code_queries() } else { Ok(None) }
    }

    fn task<'a, P>(
        &'a self,
        exact: &'a PreparedQuery<'a, 's, 't, S>,
        query: P,
        found: &'a mut Found,
    ) -> GraphQuery<'a, 's, 't, S, P> {
        GraphQuery { walk: self, exact, query, layer: None, found }
    }

    /// How far the walk goes: as far as about `ef` candidates lie around a vector of this index in
    /// the mean, in multiples of the distance of the `k`-th. If there are not more items, all are
    /// looked at.
    fn scope(&self, starts: [Slot; 2], error: f32) -> Scope {
        let ef = self.context.request.ef_search.max(self.k);
        let meta = &self.view.snapshot.meta;
        let bits =
            if self.context.request.codes && meta.is_coded { meta.code_bits } else { u8::MAX };
        // Estimates by fewer bits are too far off to say what stands out, and by these, a few
        // neighbors fall behind what is no nearer.
        let is_vague = bits < MIN_ADAPTIVE_BITS;
        let (share, margin) = match bits {
            MIN_ADAPTIVE_BITS => (
                FOUR_BIT_EF_FACTOR / (meta.dimensions as f32).sqrt(),
                ERROR_MARGIN_FRACTION * error,
            ),
            _ => (0.0, 0.0),
        };
        let ef = ef.saturating_add((ef as f32 * share) as usize);
        let is_adaptive = meta.growth > 0.0 && ef < meta.items as usize && !is_vague;
        let reach = is_adaptive.then(|| Reach {
            nth: self.k,
            factor: (ef as f32 / self.k as f32).powf(STOP_EXPONENT * meta.growth),
            least: self.k.max(ef / MIN_EF_DIVISOR),
            most: ef.saturating_mul(MAX_EF_FACTOR),
            margin,
        });
        // Estimates can have a vector behind others that are farther, and its copies with it.
        let estimated =
            if self.context.request.codes && meta.is_coded { ef / MIN_EF_DIVISOR } else { 0 };
        let copies = if ef < meta.items as usize { self.k.max(estimated) } else { usize::MAX };
        let kept = if margin > 0.0 { MAX_RERANK_FACTOR } else { MAX_EF_FACTOR };
        let ef = if is_adaptive { ef.saturating_mul(kept) } else { ef };
        Scope { layer: Layer(0), starts, ef, reach, hops: usize::MAX, copies }
    }
}

/// One query on its way.
struct GraphQuery<'a, 's, 't, S, P> {
    walk: &'a Walk<'a, 's, 't, S>,
    exact: &'a PreparedQuery<'a, 's, 't, S>,
    query: P,
    /// Where it is.
    layer: Option<Layer>,
    found: &'a mut Found,
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

    fn stops(&self) -> bool {
        !self.is_descending() && self.walk.context.stop()
    }
}

impl<S, P> GraphQuery<'_, '_, '_, S, P> {
    /// Whether it looks for a start only, which any node can be.
    fn is_descending(&self) -> bool {
        self.layer != Some(Layer(0))
    }
}

impl<'t, S: Source<'t>, P: Estimator> GraphQuery<'_, '_, 't, S, P> {
    /// Keeps the nearest candidates, whose distances are exact.
    fn keep(&mut self, beam: &Beam) -> Result<()> {
        let Self { walk: Walk { view, .. }, exact, found, .. } = self;
        found.distances += beam.distance_count;
        // The nearest first: the rest are not worth asking for their items.
        for candidate in beam.candidates().iter().filter(|candidate| candidate.accepted) {
            let distance = candidate.distance();
            if !found.top_k.may_keep(distance) {
                break;
            }
            let slot = Slot(candidate.slot());
            found.top_k.offer(Neighbor {
                distance: exact.told_apart(slot, distance)?,
                item: view.item(slot)?,
            });
        }
        Ok(())
    }

    /// Reranks: computes the distances of the candidates, which were found by estimates, but for
    /// those that cannot be among the nearest, and keeps the nearest.
    fn rerank(&mut self, beam: &Beam) -> Result<()> {
        let Self { walk: Walk { view, k, .. }, exact, query, found, .. } = self;
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
            exact.prefetch(&slots);
            exact.distances(&slots, &mut distances)?;
            found.distances += slots.len() as u64;
            for (slot, distance) in slots.iter().zip(&distances) {
                if nearest.may_keep(*distance) {
                    let distance = exact.told_apart(Slot(*slot), *distance)?;
                    nearest.offer(Neighbor { distance, item: view.item(Slot(*slot))? });
                }
            }
            // As many as there must be, and then four at a time.
            wanted = 4;
        }
    }
}

/// What a walk finds its way by.
trait Estimator: DistanceComputer {
    /// Whether what it says are the distances themselves.
    const IS_EXACT: bool;

    /// How far the distance of a slot is from what this says, all but certainly.
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
