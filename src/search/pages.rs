//! A stream of items in the order of their distances, which goes on where it was: pages.
//!
//! Its state refers to slots of one snapshot, and borrows nothing: each call brings a view of that
//! snapshot. A stream is made in blocks. A block of a **walk** ends when as many nodes have been
//! expanded beyond what it yields as a search expands beyond its results; then the nearest of what
//! was expanded are yielded, by their distances by definition. So an item that the graph leads to
//! late is yielded late, at the start of a block, and never dropped. An **exact** block is the
//! answer of a search for several times as many as were yielded before, without those. Where a walk
//! has cost as much as an exact search, that takes over. Blocks do not depend on pages: the
//! sequence is that of the request, however it is divided.
//!
//! Invariant: no item is yielded twice, and the walk of a stream in one state is always the same.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use roaring::RoaringBitmap;

use super::paths::Estimator;
use super::sample::check_radius;
use super::selection::Settled;
use super::walk::{Effort, accepts, cost_ns, start};
use super::{AnyView, Request, Search, SearchContext, Searched, Strategy, begin};
use crate::codec::Components;
use crate::error::Result;
use crate::graph::frontier::Frontier;
use crate::graph::{Candidate, DistanceComputer, order};
use crate::store::prepared_query::PreparedQuery;
use crate::store::source::Source;
use crate::top_k::Found;
use crate::types::{IndexKind, ItemId, Slot};

/// The number of items of the first block of a walk, and of the largest: each has twice as many as
/// the one before.
const FIRST_BLOCK: usize = 16;
const LARGEST_BLOCK: usize = 256;
/// The number of items that an exact block is for at least.
const LEAST_EXACT: usize = 1000;
/// An exact block is for this many times as many items as were yielded before.
const EXACT_GROWTH: usize = 4;
/// The number of pending items, or of expanded nodes, that are compared together.
const COMPARED_TOGETHER: usize = 64;

/// What a stream is near.
#[derive(Debug, Clone)]
pub(crate) enum Near {
    F32(Vec<f32>),
    F64(Vec<f64>),
    /// A stored item, which is not yielded itself.
    Item(ItemId),
}

impl Near {
    pub(crate) fn vector(vector: Components<'_>) -> Self {
        match vector {
            Components::F32(vector) => Self::F32(vector.to_vec()),
            Components::F64(vector) => Self::F64(vector.to_vec()),
        }
    }
}

/// A stream: see the module.
#[derive(Debug)]
pub(crate) struct Stream {
    near: Near,
    /// What its restrictions have been resolved to, but for the predicate.
    settled: Option<Settled>,
    way: Way,
    /// What was yielded by blocks and not taken yet.
    ready: VecDeque<(ItemId, f32)>,
    /// All that blocks have yielded.
    yielded: RoaringBitmap,
    /// The number of items taken, and the last of them.
    pub(crate) taken: u64,
    pub(crate) last: Option<(ItemId, f32)>,
    /// Whether all pages were made of whole blocks: a cancelled one has what was near so far.
    pub(crate) is_regular: bool,
}

#[derive(Debug)]
enum Way {
    New,
    Walk(Box<Walk>),
    Exact { strategy: Strategy },
    End { strategy: Strategy },
}

/// The state of a walk.
#[derive(Debug)]
struct Walk {
    frontier: Frontier,
    /// Expanded nodes whose distances are estimates.
    estimated: Vec<u32>,
    /// Expanded nodes and pending items, not yielded yet, by distance.
    results: BinaryHeap<Reverse<i64>>,
    /// The number of expanded nodes that may be results and have not been yielded.
    ahead: usize,
    /// The number of items of the next block.
    block: usize,
}

impl Way {
    fn strategy(&self) -> Strategy {
        match self {
            Self::New | Self::Walk(_) => Strategy::Graph,
            Self::Exact { strategy } | Self::End { strategy } => *strategy,
        }
    }
}

impl Stream {
    pub(crate) fn new(near: Near) -> Self {
        Self {
            near,
            settled: None,
            way: Way::New,
            ready: VecDeque::new(),
            yielded: RoaringBitmap::new(),
            taken: 0,
            last: None,
            is_regular: true,
        }
    }

    /// Whether there is nothing left to take.
    pub(crate) fn is_at_end(&self) -> bool {
        matches!(self.way, Way::End { .. }) && self.ready.is_empty()
    }

    /// Keeps what the restrictions of all requests for this stream have been resolved to, so that
    /// each need not resolve them.
    pub(crate) fn settle(&mut self, context: &SearchContext<'_>) {
        if self.settled.is_none() && !context.is_late() {
            self.settled = Some(context.selection.settled().clone());
        }
    }

    /// Resolves the restrictions of a request, also its predicate, for all that follow, and returns
    /// what `tell` makes of them. What cannot be compared is an error now.
    pub(crate) fn prepare<T>(
        &mut self,
        view: &AnyView<'_, '_, '_>,
        request: Request<'_>,
        tell: impl FnOnce(&Near, &Settled) -> T,
    ) -> Result<T> {
        match &self.near {
            Near::F32(vector) => view.query(Components::F32(vector)).map(drop)?,
            Near::F64(vector) => view.query(Components::F64(vector)).map(drop)?,
            Near::Item(_) => {}
        }
        let context = SearchContext::new(view, request, None)?;
        let settled = context.selection.settled_by_predicate(view, || context.stop())?;
        let said = tell(&self.near, &settled);
        self.settled = Some(settled);
        Ok(said)
    }

    /// Takes the next `request.k` items, fewer only at the end, or if the request is cancelled.
    pub(crate) fn take(
        &mut self,
        view: AnyView<'_, '_, '_>,
        request: Request<'_>,
    ) -> Result<Searched> {
        begin(view, &request, |view| {
            if let Some(radius) = request.within {
                check_radius(view.metric.form, radius)?;
            }
            // The slot of an item is not yielded itself.
            let (query, own) = match &self.near {
                Near::F32(vector) => (view.query(Components::F32(vector))?, None),
                Near::F64(vector) => (view.query(Components::F64(vector))?, None),
                Near::Item(item) => match view.slot(*item)? {
                    Some(slot) => (view.query_of(slot)?, Some(slot)),
                    None => return Ok(Searched::empty()),
                },
            };
            let (settled, predicate) = (self.settled.clone(), request.restrictions.predicate);
            let restrictions = match &settled {
                Some(settled) => settled.restrictions(predicate),
                None => request.restrictions,
            };
            let context = SearchContext::new(view, Request { restrictions, ..request }, own)?;
            self.settle(&context);
            let queries = [query];
            let search = Search { view, queries: &queries, context: &context };
            let code = if context.request.codes { view.code_queries()? } else { None };
            let mut cost = Found::nothing(0, queries[0].resolution());
            match &code {
                Some(code) => self.fill(&search, &code.of(&queries[0]), &mut cost)?,
                None => self.fill(&search, &&queries[0], &mut cost)?,
            }
            let mut page = search.answer(&queries[0], cost, self.way.strategy())?;
            let count = request.k.min(self.ready.len());
            page.nns.extend(self.ready.drain(..count));
            request.beside.add_to(view, &mut page)?;
            self.taken += page.nns.len() as u64;
            self.last = page.nns.last().copied().or(self.last);
            Ok(page)
        })
    }

    /// Makes blocks until enough is ready.
    fn fill(
        &mut self,
        search: &Search<'_, '_, '_, '_>,
        guide: &impl Estimator,
        cost: &mut Found,
    ) -> Result<()> {
        let wanted = search.context.request.k;
        while self.ready.len() < wanted {
            let went_on = match &mut self.way {
                Way::New => self.begin(search, guide, cost)?,
                Way::Walk(_) => self.walk(search, guide, cost)?,
                Way::Exact { .. } => self.scan(search, cost)?,
                Way::End { .. } => break,
            };
            if !went_on {
                // Cancelled: what is near so far fills the page.
                self.is_regular = false;
                self.hurry(search, wanted)?;
                break;
            }
        }
        Ok(())
    }

    /// Chooses a way, and begins it. `false` if cancelled, as of all ways.
    fn begin(
        &mut self,
        search: &Search<'_, '_, '_, '_>,
        guide: &impl Estimator,
        cost: &mut Found,
    ) -> Result<bool> {
        let Search { view, context, queries } = *search;
        let possible = search.context.selection.len();
        // Not the size of a page: the sequence does not depend on it. Streams of results are made
        // by walks of the graph, and by scans.
        let k = FIRST_BLOCK.min(possible);
        let walks = view.snapshot.meta.linked() > 0
            && match context.request.exact {
                Some(is_exact) => !is_exact && context.request.asks_for(IndexKind::Hnsw),
                None => possible > 0 && search.cheapest(k).strategy() == Strategy::Graph,
            };
        if !walks {
            let strategy = search.cheapest_exact(possible.max(1)).0.strategy();
            self.way = if possible > 0 { Way::Exact { strategy } } else { Way::End { strategy } };
            return Ok(true);
        }
        let mut walk = Walk {
            frontier: Frontier::default(),
            estimated: Vec::new(),
            results: BinaryHeap::new(),
            ahead: 0,
            block: FIRST_BLOCK,
        };
        for slots in context.selection.pending().chunks(COMPARED_TOGETHER) {
            if context.stop() {
                return Ok(false);
            }
            let mut accepted = Vec::with_capacity(slots.len());
            for slot in slots {
                if accepts(view, context, Slot(*slot))? {
                    accepted.push(*slot);
                }
            }
            walk.compare(&queries[0], &accepted, cost)?;
        }
        start(&mut walk.frontier, view, guide)?;
        self.way = Way::Walk(Box::new(walk));
        Ok(true)
    }

    /// Makes a block of a walk.
    fn walk<P: Estimator>(
        &mut self,
        search: &Search<'_, '_, '_, '_>,
        guide: &P,
        cost: &mut Found,
    ) -> Result<bool> {
        let Search { view, context, queries } = *search;
        let Way::Walk(walk) = &mut self.way else { return Ok(true) };
        let yielded = self.yielded.len() as usize;
        let budget = match context.request.exact {
            Some(_) => f64::INFINITY,
            None => {
                search.cheapest_exact((yielded + walk.block).min(search.context.selection.len())).1
            }
        };
        let costs = search.costs();
        let needed = walk.block + Effort::of(view, context).ef;
        let (before, lists_before) = (walk.frontier.distance_count, walk.frontier.expansions);
        let (mut is_over, mut is_cancelled, mut is_costly) = (false, false, false);
        while walk.ahead < needed {
            is_cancelled = context.stop();
            is_costly = cost_ns(&costs, &walk.frontier) > budget;
            if is_cancelled || is_costly {
                break;
            }
            let Some(node) = walk.frontier.expand(view, guide)? else {
                is_over = true;
                break;
            };
            if accepts(view, context, Slot(node.slot()))? {
                walk.ahead += 1;
                match P::IS_EXACT {
                    true => walk.results.push(Reverse(order(node.distance(), node.slot()))),
                    false => walk.estimated.push(node.slot()),
                }
            }
        }
        let compared = walk.frontier.distance_count - before;
        cost.lists += (walk.frontier.expansions - lists_before) as u64;
        if P::IS_EXACT {
            cost.distances += compared
        } else {
            cost.estimates += compared
        }
        let estimated = std::mem::take(&mut walk.estimated);
        for slots in estimated.chunks(COMPARED_TOGETHER) {
            walk.compare(&queries[0], slots, cost)?;
        }
        if is_cancelled {
            return Ok(false);
        }
        if is_costly {
            let strategy = search.cheapest_exact(yielded.max(1)).0.strategy();
            self.way = Way::Exact { strategy };
            return Ok(true);
        }
        let block = if is_over { walk.results.len() } else { walk.block };
        walk.block = (2 * walk.block).min(LARGEST_BLOCK);
        let nearest = walk.nearest(search, block)?;
        let radius = context.request.within.unwrap_or(f32::INFINITY);
        let within = nearest.iter().filter(|(_, distance)| *distance <= radius).count();
        if is_over || within == 0 {
            self.way = Way::End { strategy: Strategy::Graph };
        }
        self.yielded.extend(nearest.iter().map(|(item, _)| *item));
        self.ready.extend(nearest.into_iter().filter(|(_, distance)| *distance <= radius));
        Ok(true)
    }

    /// Makes an exact block.
    fn scan(&mut self, search: &Search<'_, '_, '_, '_>, cost: &mut Found) -> Result<bool> {
        let possible = search.context.selection.len();
        let yielded = self.yielded.len() as usize;
        let least = (yielded + search.context.request.k).max(yielded.saturating_mul(EXACT_GROWTH));
        let k = least.max(LEAST_EXACT).min(possible);
        let (path, _) = search.cheapest_exact(k);
        let mut nearest = Vec::new();
        for (query, (_, found)) in search.queries.iter().zip(path.search(search, k)?) {
            cost.add_cost_of(&found);
            nearest = found.top_k.into_sorted(query)?;
        }
        let is_cancelled = search.context.did_cancel();
        let is_over = nearest.len() < k || k == possible;
        nearest.retain(|(item, _)| !self.yielded.contains(*item));
        if is_cancelled {
            // Not the nearest of all: only what the page needs is taken.
            nearest.truncate(search.context.request.k.saturating_sub(self.ready.len()));
        } else if is_over || nearest.is_empty() {
            self.way = Way::End { strategy: path.strategy() };
        }
        self.yielded.extend(nearest.iter().map(|(item, _)| *item));
        self.ready.extend(nearest);
        Ok(!is_cancelled)
    }

    /// Fills a page with the nearest that a cancelled walk has met.
    fn hurry(&mut self, search: &Search<'_, '_, '_, '_>, wanted: usize) -> Result<()> {
        let Way::Walk(walk) = &mut self.way else { return Ok(()) };
        let nearest = walk.nearest(search, wanted.saturating_sub(self.ready.len()))?;
        let radius = search.context.request.within.unwrap_or(f32::INFINITY);
        self.yielded.extend(nearest.iter().map(|(item, _)| *item));
        self.ready.extend(nearest.into_iter().filter(|(_, distance)| *distance <= radius));
        Ok(())
    }
}

impl Walk {
    /// Adds slots by their distances.
    fn compare<'t, S: Source<'t>>(
        &mut self,
        query: &PreparedQuery<'_, '_, 't, S>,
        slots: &[u32],
        cost: &mut Found,
    ) -> Result<()> {
        let mut distances = Vec::with_capacity(slots.len());
        query.fetch_rows(slots);
        query.wait(slots);
        query.prefetch(slots);
        query.distances(slots, &mut distances)?;
        cost.distances += slots.len() as u64;
        let slots = slots.iter().zip(&distances);
        self.results.extend(slots.map(|(slot, distance)| Reverse(order(*distance, *slot))));
        Ok(())
    }

    /// Takes the nearest `count` results out, sorted by their distances by definition.
    fn nearest(
        &mut self,
        search: &Search<'_, '_, '_, '_>,
        count: usize,
    ) -> Result<Vec<(ItemId, f32)>> {
        let Search { view, queries, .. } = *search;
        let mut found = Found::nothing(count, queries[0].resolution());
        for _ in 0..count {
            let Some(Reverse(nearest)) = self.results.pop() else { break };
            let (slot, distance) =
                (Slot(Candidate::of(nearest).slot()), Candidate::of(nearest).distance());
            if view.snapshot.pending.binary_search(&slot.0).is_err() {
                self.ahead = self.ahead.saturating_sub(1);
            }
            found.top_k.offer(&queries[0], slot, view.item(slot)?, distance)?;
        }
        found.top_k.into_sorted(&queries[0])
    }
}
