//! Range search: all items within a radius, at most `k`.
//!
//! An exact scan rules out what is beyond the radius from its first vector on. A walk of the graph
//! expands the nearest node each time, every node within the radius, and from there on as far as a
//! search for as many results would: results can be reached through nodes beyond the radius. Where
//! a walk has cost as much as a scan, or a sample tells that it is going to, the scan takes over:
//! so large radii cost a scan, and small ones a search. That depends on counts of work and never
//! on a clock: one request has one answer.

use std::sync::{Mutex, PoisonError};

use super::costs::Costs;
use super::paths::{AccessPath, Estimator, PATHS};
use super::sample::{Population, check_radius, sample};
use super::walk::{Effort, accepts, cost_ns, start};
use super::{Search, SearchContext, Searched, Strategy};
use crate::error::{Error, Result};
use crate::flat::Slots;
use crate::graph::DistanceComputer;
use crate::graph::frontier::Frontier;
use crate::store::prepared_query::PreparedQuery;
use crate::store::readahead::residency::Residency;
use crate::store::source::{Source, Warm};
use crate::store::view::View;
use crate::threads;
use crate::top_k::Found;
use crate::types::Slot;

/// After this many results, a walk estimates from a sample how many there are in all.
const SAMPLE_AFTER: usize = 500;
/// The size of that sample: in the time of some 50 expansions it tells 1 % of the items from 10 %.
const SAMPLE: u32 = 256;
/// A walk expands at least this many nodes beyond its results, and this fraction of their number
/// more: recall is then above .97 for 100 to 10 000 results.
const TAIL: usize = 48;
const TAIL_DIVISOR: usize = 16;
/// A walk by codes reranks every node whose estimate is beyond the radius by at most this fraction
/// of its error bound (about 99.7 %): of nodes whose distance is the radius, one in 80 is not. With
/// a half, one in 15 was not.
const ERROR_MARGIN_FRACTION: f32 = 0.75;
/// No error bound is taken to be larger than this factor of the largest among the nodes that a walk
/// has expanded, so that the bounds of all others need not be read.
const WIDEST_FACTOR: f32 = 1.5;
/// The number of candidates that are reranked together.
const RERANKED: usize = 16;

impl Search<'_, '_, '_, '_> {
    /// The answers of a search within a radius.
    pub(super) fn within(&self, radius: f32) -> Result<Vec<Searched>> {
        check_radius(self.view.metric.form, radius)?;
        let possible = self.context.selection.len();
        let cap = self.context.request.k.min(possible);
        // One more tells whether there are more.
        let k = cap.saturating_add(1).min(possible);
        let found = if cap == 0 {
            let nothing = self.scan(0, Slots::Only(&[]))?.into_iter();
            nothing.map(|found| (Strategy::All, found)).collect()
        } else {
            self.find_within(k, radius)?
        };
        self.queries
            .iter()
            .zip(found)
            .map(|(query, (strategy, found))| {
                let mut answer = self.answer(query, found, strategy)?;
                answer.has_more = cap > 0 && answer.nns.len() > cap;
                answer.nns.truncate(cap);
                answer.vectors.truncate(cap);
                answer.records.truncate(cap);
                // Refined distances may be beyond by a rounding error.
                answer.nns.iter_mut().for_each(|(_, distance)| *distance = distance.min(radius));
                Ok(answer)
            })
            .collect()
    }

    /// The cheapest of the exact access paths, and its cost.
    pub(super) fn cheapest_exact(&self, k: usize) -> (&'static dyn AccessPath, f64) {
        let exact = PATHS.iter().filter(|path| path.strategy().is_exact());
        exact
            .filter_map(|path| Some((*path, path.cost_ns(self, k)?)))
            .min_by(|(_, a), (_, b)| a.total_cmp(b))
            .unwrap_or((&super::paths::Flat, 0.0))
    }

    /// At most `k` results of each query, and how they were found.
    fn find_within(&self, k: usize, radius: f32) -> Result<Vec<(Strategy, Found)>> {
        let Self { view, queries, context } = *self;
        let (exact, cost) = self.cheapest_exact(k);
        // A small radius costs what a search for few results does.
        let way = self.cheapest(1);
        if way.strategy() != Strategy::Graph {
            let way = if way.strategy().is_exact() { exact } else { way };
            return way.search(self, k);
        }
        let costs = self.costs();
        let budget = if context.request.exact.is_none() { cost } else { f64::INFINITY };
        let mut found = self.scan(k, Slots::Only(context.selection.pending()))?;
        let ends: Vec<bool> = if let ([query], [found]) = (queries, &mut found[..]) {
            vec![Walk { view, context, costs, k, radius, budget }.one(query, found)?]
        } else {
            // A transaction cannot be shared between threads, fully resolved tables can.
            view.resolve_all()?;
            let warm = View::new(view.snapshot, Warm::default())
                .with_cold(view.cold())
                .by_metric(view.metric);
            let queries: Vec<_> = queries.iter().map(|query| query.on(&warm)).collect();
            Walk { view: &warm, context, costs, k, radius, budget }.many(&queries, &mut found)?
        };
        let mut found: Vec<_> = found.into_iter().map(|found| (Strategy::Graph, found)).collect();
        for (nth, _) in ends.iter().enumerate().filter(|(_, ended)| !**ended) {
            let one = Search { view, queries: &queries[nth..=nth], context };
            if let Some(scanned) = exact.search(&one, k)?.pop() {
                let (_, walked) = std::mem::replace(&mut found[nth], scanned);
                found[nth].1.add_cost_of(&walked);
            }
        }
        Ok(found)
    }
}

/// The walks of a batch.
struct Walk<'q, 's, 't, S> {
    view: &'q View<'s, 't, S>,
    context: &'q SearchContext<'q>,
    costs: Costs,
    k: usize,
    radius: f32,
    /// The cost of the exact way, in nanoseconds.
    budget: f64,
}

impl<'s, 't, S: Source<'t>> Walk<'_, 's, 't, S> {
    /// Adds the results for a query to those found before. `false` if a scan should be made in its
    /// place.
    fn one(&self, query: &PreparedQuery<'_, 's, 't, S>, found: &mut Found) -> Result<bool> {
        let by_codes = self.context.request.codes;
        match if by_codes { self.view.code_queries()? } else { None } {
            Some(code) => self.walk(query, &code.of(query), found),
            None => self.walk(query, &query, found),
        }
    }

    /// The same for each query, on all available threads.
    fn many(
        &self,
        queries: &[PreparedQuery<'_, 's, 't, S>],
        found: &mut [Found],
    ) -> Result<Vec<bool>>
    where
        S: Sync,
    {
        let mut ends = vec![false; queries.len()];
        let queue = Mutex::new(queries.iter().zip(found.iter_mut().zip(&mut ends)));
        let threads = threads::for_items(queries.len(), threads::SEARCHES);
        threads::on_each(threads, || {
            let _part = self.view.cold().map(Residency::part);
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some((query, (found, end))) = next else { return Ok::<_, Error>(()) };
                *end = self.one(query, found)?;
            }
        })?;
        Ok(ends)
    }

    fn walk(
        &self,
        query: &PreparedQuery<'_, 's, 't, S>,
        guide: &impl Estimator,
        found: &mut Found,
    ) -> Result<bool> {
        Frontier::with(|frontier| {
            let chosen = Vec::new();
            let mut walking = Walking { walk: self, query, guide, found, chosen, hits: 0 };
            let ended = walking.run(frontier)?;
            match walking.is_exact() {
                true => found.distances += frontier.distance_count,
                false => found.estimates += frontier.distance_count,
            }
            found.lists += frontier.expansions as u64;
            Ok(ended)
        })
    }
}

/// One walk in progress.
struct Walking<'a, 'q, 's, 't, S, P> {
    walk: &'a Walk<'q, 's, 't, S>,
    query: &'a PreparedQuery<'a, 's, 't, S>,
    guide: &'a P,
    found: &'a mut Found,
    /// Slots that are to be reranked.
    chosen: Vec<u32>,
    /// The number of accepted nodes within the radius, by what guides the walk.
    hits: usize,
}

impl<'t, S: Source<'t>, P: Estimator> Walking<'_, '_, '_, 't, S, P> {
    fn is_exact(&self) -> bool {
        P::IS_EXACT
    }

    /// Walks to the end. `false` if a scan costs less than what is left.
    fn run(&mut self, frontier: &mut Frontier) -> Result<bool> {
        let Walk { view, context, radius, budget, .. } = *self.walk;
        if !start(frontier, view, self.guide)? {
            return Ok(true);
        }
        let effort = Effort::of(view, context);
        let (mut accepted, mut nearest, mut is_sampled) = (0, f32::INFINITY, budget.is_infinite());
        let mut widest = 0.0f32;
        while let Some(next) = frontier.next_distance() {
            if context.stop() || self.ends(effort, accepted, nearest, next) {
                break;
            }
            let cost = cost_ns(&self.walk.costs, frontier);
            if cost > budget {
                return Ok(false);
            }
            if self.hits >= SAMPLE_AFTER && !is_sampled {
                is_sampled = true;
                let expected = self.expected()?.min(self.walk.k as f64);
                if cost * expected / self.hits as f64 > budget {
                    return Ok(false);
                }
            }
            let Some(candidate) = frontier.expand(view, self.guide)? else { break };
            let (slot, distance) = (Slot(candidate.slot()), candidate.distance());
            if !context.selection.admits(slot) {
                continue;
            }
            if !P::IS_EXACT {
                widest = widest.max(self.guide.error(slot)?);
            }
            // What is beyond the radius counts as if the predicate accepted it, unasked.
            let may_be_result = self.may_be_result(slot, distance)?;
            if may_be_result && !accepts(view, context, slot)? {
                continue;
            }
            accepted += 1;
            nearest = nearest.min(distance);
            self.hits += usize::from(distance <= radius);
            if may_be_result {
                self.choose(slot, distance)?;
            }
        }
        if !P::IS_EXACT {
            // What was met and not expanded may be a result, too, if its estimate is too large.
            // Error bounds of one query differ little.
            let limit = radius + WIDEST_FACTOR * ERROR_MARGIN_FRACTION * widest;
            for candidate in frontier.unexpanded().filter(|candidate| candidate.distance() <= limit)
            {
                let slot = Slot(candidate.slot());
                let is_admitted = context.selection.admits(slot);
                if is_admitted
                    && self.may_be_result(slot, candidate.distance())?
                    && accepts(view, context, slot)?
                {
                    self.choose(slot, candidate.distance())?;
                }
            }
        }
        self.rerank()?;
        Ok(true)
    }

    /// Whether to end before the next node is expanded.
    fn ends(&self, effort: Effort, accepted: usize, nearest: f32, next: f32) -> bool {
        let Walk { radius, k, .. } = *self.walk;
        let beyond = |results: usize| results + results / TAIL_DIVISOR + TAIL;
        let tail = effort.ef.max(beyond(self.hits));
        if self.hits >= k {
            // As a search for `k` ends.
            return accepted >= effort.ef.max(beyond(k)) || next > radius && accepted >= tail;
        }
        if next <= radius {
            return false;
        }
        match effort.reach(self.hits) {
            Some(reach) => {
                let from = if self.hits > 0 { radius } else { radius.max(nearest) };
                let least = beyond(self.hits).max(effort.ef / 2);
                accepted >= least && next > from * reach || accepted >= 2 * tail
            }
            None => accepted >= tail,
        }
    }

    /// The expected number of results, by a sample of the slots that may be.
    fn expected(&mut self) -> Result<f64> {
        let Walk { view, radius, .. } = *self.walk;
        let population = Population::of(view, self.walk.context)?;
        let numbers: Vec<u32> = sample(population.len(), SAMPLE).collect();
        let live: Vec<u32> = population.live(&numbers).collect();
        let mut distances = Vec::with_capacity(live.len());
        self.guide.distances(&live, &mut distances)?;
        match P::IS_EXACT {
            true => self.found.distances += live.len() as u64,
            false => self.found.estimates += live.len() as u64,
        }
        let mut within = 0;
        for (slot, distance) in live.iter().zip(&distances) {
            if *distance <= radius && accepts(view, self.walk.context, Slot(*slot))? {
                within += 1;
            }
        }
        let share = f64::from(within) / numbers.len().max(1) as f64;
        Ok(share * f64::from(population.len()))
    }

    /// Whether a node may be a result, by what guides the walk.
    fn may_be_result(&self, slot: Slot, distance: f32) -> Result<bool> {
        if P::IS_EXACT {
            return Ok(self.found.top_k.may_keep(distance));
        }
        let radius = self.walk.radius;
        Ok(distance <= radius
            || distance - ERROR_MARGIN_FRACTION * self.guide.error(slot)? <= radius)
    }

    /// Offers an accepted node that may be a result.
    fn choose(&mut self, slot: Slot, distance: f32) -> Result<()> {
        if P::IS_EXACT {
            let item = self.walk.view.item(slot)?;
            return self.found.top_k.offer(self.query, slot, item, distance);
        }
        self.chosen.push(slot.0);
        if self.chosen.len() >= RERANKED {
            self.rerank()?;
        }
        Ok(())
    }

    /// Computes the distances of the chosen nodes, and offers them.
    fn rerank(&mut self) -> Result<()> {
        let view = self.walk.view;
        let mut distances = Vec::with_capacity(self.chosen.len());
        if view.cold().is_some() {
            self.query.fetch_rows(&self.chosen);
            self.query.cold_distances(&self.chosen, &mut distances)?;
        } else {
            self.query.prefetch(&self.chosen);
            self.query.distances(&self.chosen, &mut distances)?;
        }
        self.found.distances += self.chosen.len() as u64;
        for (slot, distance) in self.chosen.drain(..).zip(distances) {
            if self.found.top_k.may_keep(distance) {
                let item = view.item(Slot(slot))?;
                self.found.top_k.offer(self.query, Slot(slot), item, distance)?;
            }
        }
        Ok(())
    }
}
