//! Beam search on one layer (algorithm 2 of Malkov and Yashunin 2018), and the greedy descent to it
//! (algorithm 5).
//!
//! One expansion takes the nearest candidate, and prefetches the neighbor list of the next. Pass 1
//! reduces its neighbor list to a dense list of unvisited slots; pass 2 computes their distances,
//! several at a time, prefetching vectors ahead ([`DistanceComputer::distances`]). Nothing is
//! allocated after the first search of a thread.
//!
//! A search ends when the nearest unexpanded candidate is farther than the farthest of `ef`, as in
//! the paper; or, with a [`Reach`] (early termination), when it is farther than the `nth` candidate
//! by a given factor (Al-Jazzazi, Diwan, Gou, Musco, Musco, Suel 2025, "Distance adaptive beam
//! search for provably accurate graph-based nearest neighbor search"). Even in one data set, some
//! vectors have neighbors far nearer than all others, which are found at once, and some do not: a
//! factor spends on each query what it needs, where one `ef` for all is too much for most.

use std::cell::Cell;

use super::detours::Detours;
use super::pool::{Candidate, Pool, Reach};
use super::visited::Visited;
use super::{DistanceComputer, Graph};
use crate::error::Result;
use crate::types::{Layer, Slot};

/// The maximum number of nodes that a descent expands on each layer. A descent needs a start for
/// the layer below, not the nearest node: further steps cost more distances than they save below (2
/// to 3 % of all distances of a search of 100 000 vectors at recall .95).
const DESCENT_HOPS: usize = 2;

/// The maximum number of nodes for which a search of a cold index reads ahead at a time; and, where
/// that is more, this fraction (1/8) of `ef`, if all of `ef` will be expanded. A disk does many
/// reads of one batch in the time of two; but candidates far down the list may never be expanded:
/// at a tenth of the memory that an index takes, 21 nodes read 211 pages a query, 8 nodes 153.
const MAX_FETCH_WIDTH: usize = 8;
const FETCH_DIVISOR: usize = 8;

/// The scratch memory of a search, and its result.
#[derive(Debug, Default)]
pub(crate) struct Beam {
    pub(super) pool: Pool,
    pub(super) visited: Visited,
    pub(super) list: Vec<u32>,
    pub(super) distances: Vec<f32>,
    /// The number of nodes that the search may still expand.
    hops_left: usize,
    /// See [`Scope::copies`].
    pub(super) copies: usize,
    /// The candidate that was expanded last.
    pub(super) expanded: Option<Candidate>,
    /// Slots to be fetched together, and for how many nodes: see
    /// [`fetch_values`](Self::fetch_values).
    pub(super) ahead: Vec<u32>,
    fetch_width: usize,
    max_fetch_width: usize,
    /// See [`search_filtered`](Self::search_filtered).
    pub(super) detours: Detours,
    /// How many distances have been computed for the task, and how many lists read.
    pub(crate) distance_count: u64,
    pub(crate) list_count: u64,
}

/// The parameters of a search on one layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope {
    pub(crate) layer: Layer,
    pub(crate) starts: [Slot; 2],
    pub(crate) ef: usize,
    pub(crate) reach: Option<Reach>,
    /// The maximum number of nodes to expand.
    pub(crate) hops: usize,
    /// The limit on duplicates of the expanded node. Duplicates (copies) lead only to other copies,
    /// and thousands of them would crowd candidates with other vectors out of the beam. So they are
    /// deferred until all else is expanded, and admitted while fewer accepted candidates than this
    /// are as near. [`usize::MAX`] treats them like all other candidates.
    pub(crate) copies: usize,
}

impl Scope {
    /// One step of a descent: finds the start for the layer below.
    pub(crate) fn descent(layer: Layer, start: Slot) -> Self {
        Self {
            layer,
            starts: [start; 2],
            ef: 1,
            reach: None,
            hops: DESCENT_HOPS,
            copies: usize::MAX,
        }
    }
}

/// A task of searches on one or several layers, one after the other.
pub(crate) trait SearchTask {
    /// Computes the distances that guide the searches.
    fn computer(&self) -> &impl DistanceComputer;

    /// The next layer to search. The beam holds the results of the last search, none at first.
    fn next(&mut self, beam: &Beam) -> Result<Option<Scope>>;

    /// Starts reading from disk what [`next`](Self::next) will need after this search; whether it
    /// is worth while to do something else meanwhile.
    fn fetch(&mut self, _beam: &Beam) -> bool {
        false
    }

    /// Whether a slot may be a result (filter).
    fn accepts(&self, _slot: Slot) -> Result<bool> {
        Ok(true)
    }

    /// Called before every expansion: whether to end the search here, with what it has found so
    /// far.
    fn stops(&self) -> bool {
        false
    }
}

thread_local! {
    static IDLE: Cell<Vec<Beam>> = const { Cell::new(Vec::new()) };
}

impl Beam {
    /// Runs `work` with beams of this thread.
    pub(crate) fn with<const N: usize, T>(work: impl FnOnce(&mut [Self; N]) -> T) -> T {
        Self::lend(|idle| std::array::from_fn(|_| idle.pop().unwrap_or_default()), work)
    }

    /// The same with any number of beams.
    pub(super) fn with_many<T>(count: usize, work: impl FnOnce(&mut [Self]) -> T) -> T {
        let take = |idle: &mut Vec<Self>| -> Vec<Self> {
            (0..count).map(|_| idle.pop().unwrap_or_default()).collect()
        };
        Self::lend(take, |beams| work(beams))
    }

    /// Runs `work` with beams that `take` takes from the idle ones, and returns them afterwards.
    fn lend<B: IntoIterator<Item = Self>, T>(
        take: impl FnOnce(&mut Vec<Self>) -> B,
        work: impl FnOnce(&mut B) -> T,
    ) -> T {
        // Taken out while in use, so that a nested search gets others.
        let mut idle = IDLE.take();
        let mut beams = take(&mut idle);
        IDLE.set(idle);
        let result = work(&mut beams);
        let mut idle = IDLE.take();
        idle.extend(beams);
        IDLE.set(idle);
        result
    }

    /// Runs a task to its end, without interleaving.
    pub(crate) fn run(&mut self, graph: &impl Graph, task: &mut impl SearchTask) -> Result<()> {
        self.reset();
        while let Some(scope) = task.next(self)? {
            self.search(graph, task.computer(), scope, |slot| task.accepts(slot), || task.stops())?;
            task.fetch(self);
        }
        Ok(())
    }

    /// Finds the `ef` accepted slots nearest to the query that edges lead to. `stop` is called
    /// before every expansion, and ends the search with what was found so far.
    ///
    /// If fewer than `ef` accepted slots are reachable from the starts, all of them are found.
    pub(crate) fn search(
        &mut self,
        graph: &impl Graph,
        computer: &impl DistanceComputer,
        scope: Scope,
        accept: impl Fn(Slot) -> Result<bool>,
        stop: impl Fn() -> bool,
    ) -> Result<&[Candidate]> {
        self.start(graph, scope);
        let is_cold = graph.is_cold();
        loop {
            if self.mark_visited(graph, computer, scope.layer, is_cold) {
                computer.wait(self.visited.latest());
            }
            self.compare(graph, computer, scope.layer, &accept)?;
            let Some(current) = self.expand(&stop) else { break };
            self.prepare(graph, scope.layer, current, is_cold);
            self.list_neighbors(graph, scope.layer, current)?;
        }
        Ok(self.candidates())
    }

    /// Descends greedily from the entry point to the layer above `to`, and returns the node it
    /// reached.
    pub(crate) fn descend(
        &mut self,
        graph: &impl Graph,
        computer: &impl DistanceComputer,
        entry: (Layer, Slot),
        to: Layer,
    ) -> Result<Slot> {
        let (top, mut current) = entry;
        for layer in (to.0 + 1..=top.0).rev().map(Layer) {
            self.search(graph, computer, Scope::descent(layer, current), |_| Ok(true), || false)?;
            current = self.nearest().unwrap_or(current);
        }
        Ok(current)
    }

    /// Resets the beam for another task.
    pub(crate) fn reset(&mut self) {
        self.pool.start(1, None);
        (self.distance_count, self.list_count) = (0, 0);
    }

    /// Starts a search.
    pub(super) fn start(&mut self, graph: &impl Graph, scope: Scope) {
        self.visited.start(graph.slots(), graph.is_memory_bounded());
        self.pool.start(scope.ef.max(1), scope.reach);
        (self.hops_left, self.copies, self.expanded) = (scope.hops, scope.copies, None);
        // With early termination, `ef` is only a limit.
        let expected = if scope.reach.is_some() { 0 } else { scope.ef.min(graph.slots()) };
        self.max_fetch_width = MAX_FETCH_WIDTH.max(expected / FETCH_DIVISOR);
        self.fetch_width = self.max_fetch_width / MAX_FETCH_WIDTH;
        self.list.clear();
        self.list.extend(scope.starts.iter().map(|slot| slot.0));
    }

    /// Marks the slots of the list as visited, and prefetches the vectors (or codes) of the new
    /// ones. Whether some of them are read from disk.
    #[inline]
    pub(super) fn mark_visited(
        &mut self,
        graph: &impl Graph,
        computer: &impl DistanceComputer,
        layer: Layer,
        is_cold: bool,
    ) -> bool {
        // Nothing happens where a page is not in memory.
        computer.prefetch(self.visited.insert_all(&self.list));
        is_cold && self.fetch_values(graph, computer, layer)
    }

    /// In a cold index: has the vectors (or codes) of the new slots read. If some are not in
    /// memory, those of the neighbors of the candidates that follow are read with them. The more
    /// often that happens, the more candidates: the first ones of a search are soon left behind.
    /// The search goes on as it would have: only what is read when depends on it. Returns whether
    /// something is read.
    #[cold]
    #[inline(never)]
    fn fetch_values(
        &mut self,
        graph: &impl Graph,
        computer: &impl DistanceComputer,
        layer: Layer,
    ) -> bool {
        let fresh = self.visited.latest();
        if computer.has(fresh) || !computer.fetch(fresh) {
            return false;
        }
        self.ahead.clear();
        for slot in self.pool.unexpanded().take(self.fetch_width - 1) {
            let count = self.ahead.len();
            if graph.has_list(layer, Slot(slot))
                && graph.neighbors(layer, Slot(slot), &mut self.ahead).is_err()
            {
                // It is an error once it is expanded.
                self.ahead.truncate(count);
            }
        }
        computer.fetch(&self.ahead);
        self.fetch_width = (2 * self.fetch_width).min(self.max_fetch_width);
        true
    }

    /// Prepares for the list of the node that is expanded now, and for that of the next.
    #[inline(always)]
    pub(super) fn prepare(
        &mut self,
        graph: &impl Graph,
        layer: Layer,
        current: Slot,
        is_cold: bool,
    ) {
        if is_cold {
            self.fetch_lists(graph, layer, current);
        }
        if let Some(next) = self.pool.peek()
            && (!is_cold || graph.has_list(layer, Slot(next)))
        {
            graph.prefetch_neighbors(layer, Slot(next));
        }
    }

    /// In a cold index: has the list of the node read that is expanded next, and with it those of
    /// the candidates that follow.
    #[cold]
    #[inline(never)]
    pub(super) fn fetch_lists(&mut self, graph: &impl Graph, layer: Layer, current: Slot) {
        if graph.has_list(layer, current) || !graph.fetch_lists(layer, &[current.0]) {
            return;
        }
        self.ahead.clear();
        self.ahead.extend(self.pool.unexpanded().take(self.fetch_width - 1));
        graph.fetch_lists(layer, &self.ahead);
        self.fetch_width = (2 * self.fetch_width).min(self.max_fetch_width);
    }

    /// Computes the distances of the new slots, and inserts the nearest into the pool.
    #[inline]
    pub(super) fn compare(
        &mut self,
        graph: &impl Graph,
        computer: &impl DistanceComputer,
        layer: Layer,
        accept: impl Fn(Slot) -> Result<bool>,
    ) -> Result<()> {
        let fresh = self.visited.latest();
        computer.distances(fresh, &mut self.distances)?;
        self.distance_count += fresh.len() as u64;
        let mut bound = self.pool.bound();
        // Duplicates are equally far from the query; other vectors rarely are. NaN is equal to
        // nothing.
        let expanded_at = self.expanded.map_or(f32::NAN, |expanded| expanded.distance());
        for (&slot, &distance) in fresh.iter().zip(&self.distances) {
            if distance <= bound {
                graph.prefetch_place(layer, Slot(slot));
                let accepted = accept(Slot(slot))?;
                if distance == expanded_at
                    && accepted
                    && self.copies < usize::MAX
                    && is_copy(graph, self.expanded, slot)?
                {
                    if self.copies > 0 {
                        self.pool.defer(distance, slot);
                    }
                    continue;
                }
                self.pool.insert(distance, slot, accepted);
                bound = self.pool.bound();
            }
        }
        Ok(())
    }

    /// The node to expand next. `None` if the search has ended, or `stop` says that it is
    /// cancelled: cancellation is polled once an expansion.
    #[inline]
    pub(super) fn expand(&mut self, stop: impl Fn() -> bool) -> Option<Slot> {
        if self.hops_left == 0 || stop() {
            return None;
        }
        self.hops_left -= 1;
        self.expanded = self.pool.expand();
        while self.expanded.is_none() && self.pool.admit_deferred(self.copies) {
            self.expanded = self.pool.expand();
        }
        self.expanded.map(|expanded| Slot(expanded.slot()))
    }

    /// Reads the neighbor list of a node.
    #[inline]
    pub(super) fn list_neighbors(
        &mut self,
        graph: &impl Graph,
        layer: Layer,
        slot: Slot,
    ) -> Result<()> {
        self.list.clear();
        self.list_count += 1;
        graph.neighbors(layer, slot, &mut self.list)
    }

    /// The results of the last search, the nearest first.
    pub(crate) fn candidates(&self) -> &[Candidate] {
        self.pool.candidates()
    }

    /// The nearest result of the last search.
    pub(crate) fn nearest(&self) -> Option<Slot> {
        self.candidates().first().map(|candidate| Slot(candidate.slot()))
    }
}

/// Whether a slot, which is as far away as the expanded candidate, has the same vector.
#[cold]
pub(super) fn is_copy(graph: &impl Graph, expanded: Option<Candidate>, slot: u32) -> Result<bool> {
    expanded.map_or(Ok(false), |expanded| graph.are_equal(Slot(expanded.slot()), Slot(slot)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Points on a line, with hand-drawn edges.
    pub(in super::super) struct Line {
        pub(in super::super) edges: Vec<Vec<u32>>,
    }

    pub(in super::super) struct At<'a>(pub(in super::super) f32, pub(in super::super) &'a Line);

    impl Graph for Line {
        fn slots(&self) -> usize {
            self.edges.len()
        }

        fn are_equal(&self, a: Slot, b: Slot) -> Result<bool> {
            Ok(a == b)
        }

        fn neighbors(&self, _layer: Layer, slot: Slot, out: &mut Vec<u32>) -> Result<()> {
            out.extend(&self.edges[slot.index()]);
            Ok(())
        }
    }

    impl DistanceComputer for At<'_> {
        fn distances(&self, slots: &[u32], out: &mut Vec<f32>) -> Result<()> {
            out.clear();
            out.extend(slots.iter().map(|&slot| (slot as f32 - self.0).abs()));
            assert!(slots.iter().all(|&slot| (slot as usize) < self.1.slots()));
            Ok(())
        }
    }

    fn chain(n: u32) -> Line {
        Line {
            edges: (0..n)
                .map(|i| [i.wrapping_sub(1), i + 1].into_iter().filter(|j| *j < n).collect())
                .collect(),
        }
    }

    fn from(slot: u32, ef: usize) -> Scope {
        Scope {
            layer: Layer(0),
            starts: [Slot(slot); 2],
            ef,
            reach: None,
            hops: usize::MAX,
            copies: usize::MAX,
        }
    }

    fn found(line: &Line, at: f32, ef: usize, accept: impl Fn(u32) -> bool) -> Vec<u32> {
        let mut beam = Beam::default();
        let candidates = beam
            .search(line, &At(at, line), from(0, ef), |slot| Ok(accept(slot.0)), || false)
            .unwrap();
        candidates.iter().filter(|c| c.accepted).map(|c| c.slot()).collect()
    }

    #[test]
    fn a_chain_is_walked_to_the_nearest() {
        assert_eq!(found(&chain(50), 40.2, 3, |_| true), [40, 41, 39]);
        assert_eq!(found(&chain(50), -5.0, 2, |_| true), [0, 1]);
    }

    #[test]
    fn what_is_not_accepted_is_walked_through() {
        assert_eq!(found(&chain(50), 40.0, 2, |slot| slot % 10 == 0), [40, 30]);
        assert_eq!(found(&chain(50), 0.0, 1, |slot| slot == 49), [49]);
        assert!(found(&chain(50), 0.0, 1, |_| false).is_empty());
    }

    #[test]
    fn with_ef_of_all_everything_connected_is_found() {
        let mut line = chain(30);
        line.edges[10].retain(|&slot| slot != 11);
        assert_eq!(found(&line, 0.0, 100, |_| true), (0..=10).collect::<Vec<_>>());
    }

    #[test]
    fn a_search_that_is_stopped_returns_what_it_has() {
        let line = chain(50);
        let mut beam = Beam::default();
        assert_eq!(
            beam.search(&line, &At(40.0, &line), from(7, 5), |_| Ok(true), || true).unwrap().len(),
            1
        );
    }

    /// Points on a line, any number of them at one place.
    struct Places {
        edges: Vec<Vec<u32>>,
        at: Vec<f32>,
    }

    impl Graph for Places {
        fn slots(&self) -> usize {
            self.at.len()
        }

        fn are_equal(&self, a: Slot, b: Slot) -> Result<bool> {
            Ok(self.at[a.index()] == self.at[b.index()])
        }

        fn neighbors(&self, _layer: Layer, slot: Slot, out: &mut Vec<u32>) -> Result<()> {
            out.extend(&self.edges[slot.index()]);
            Ok(())
        }
    }

    impl DistanceComputer for &[f32] {
        fn distances(&self, slots: &[u32], out: &mut Vec<f32>) -> Result<()> {
            out.clear();
            out.extend(slots.iter().map(|&slot| self[slot as usize].abs()));
            Ok(())
        }
    }

    #[test]
    fn copies_of_what_is_expanded_wait_until_all_else_is() {
        // 0 to 5 are copies at 5, each with an edge to the next; 6 is farther away than they are,
        // and leads to 7, which is nearer.
        let places = |to: f32| Places {
            edges: vec![
                vec![1, 6],
                vec![2],
                vec![3],
                vec![4],
                vec![5],
                vec![],
                vec![0, 7],
                vec![6],
            ],
            at: [5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 9.0, 2.0].map(|at| at - to).to_vec(),
        };
        let search =
            |to: f32, ef: usize, copies: usize, accept: &dyn Fn(u32) -> bool| -> Vec<u32> {
                let places = places(to);
                let scope = Scope { copies, ..from(0, ef) };
                let mut beam = Beam::default();
                let found = beam
                    .search(&places, &&places.at[..], scope, |slot| Ok(accept(slot.0)), || false)
                    .unwrap();
                found.iter().filter(|candidate| candidate.accepted).map(Candidate::slot).collect()
            };
        // As ordinary candidates they fill the beam, and 6 is not expanded.
        assert_eq!(search(0.0, 4, usize::MAX, &|_| true), [0, 1, 2, 3]);
        assert_eq!(search(0.0, 4, 0, &|_| true), [7, 0, 6]);
        assert_eq!(search(0.0, 4, 1, &|_| true), [7, 0, 6]);
        assert_eq!(search(0.0, 4, 3, &|_| true), [7, 0, 1, 6]);
        assert_eq!(search(0.0, 5, 5, &|_| true), [7, 0, 1, 2, 3]);
        // If they are the nearest, the requested number is found.
        assert_eq!(search(5.0, 6, 4, &|_| true), [0, 1, 2, 3, 7, 6]);
        // Rejected ones are expanded, to reach others that may be accepted.
        assert_eq!(search(0.0, 4, 2, &|slot| slot >= 4), [7, 4, 6]);
    }

    #[test]
    fn a_descent_ends_after_two_steps() {
        let line = chain(50);
        assert_eq!(
            Beam::default()
                .descend(&line, &At(40.0, &line), (Layer(1), Slot(7)), Layer(0))
                .unwrap(),
            Slot(9)
        );
    }
}
