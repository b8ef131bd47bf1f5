//! Beam search on one layer (algorithm 2 of Malkov and Yashunin 2018), and the greedy descent to it
//! (algorithm 5).
//!
//! One expansion: take the nearest candidate, prefetch the list of the next; pass 1 turns its
//! neighbor list into a dense list of slots not met yet; pass 2 computes their distances, several
//! at a time, with vectors prefetched ahead ([`DistanceComputer::distances`]). Nothing is allocated
//! after the first search of a thread.
//!
//! A search ends when the nearest candidate that is left is farther than the farthest of `ef`, as
//! in the paper; or, with a [`Reach`], when it is a given factor farther than the `nth`
//! (Al-Jazzazi, Diwan, Gou, Musco, Musco, Suel 2025, "Distance adaptive beam search for provably
//! accurate graph-based nearest neighbor search"). Among vectors of one kind some have their
//! neighbors far nearer than what else is there, and are found at once, and others do not: a factor
//! spends on each what it needs, where one `ef` for all is too much for most.

use std::cell::Cell;

use super::pool::{Candidate, Pool, Reach};
use super::visited::Visited;
use super::{DistanceComputer, Graph};
use crate::error::Result;
use crate::types::{Layer, Slot};

/// Nodes that a descent expands on each layer. It wants a start for the layer below, not the
/// nearest node: the steps that would come to that one cost more distances than they save below (2
/// to 3 % of all that a search of 100 000 vectors computes at recall .95).
const DESCENT_HOPS: usize = 2;

/// The scratch memory of a search, and its result.
#[derive(Debug, Default)]
pub(crate) struct Beam {
    pool: Pool,
    visited: Visited,
    list: Vec<u32>,
    distances: Vec<f32>,
    /// Nodes that the search may still expand.
    hops_left: usize,
    /// See [`Scope::copies`].
    copies: usize,
    /// The candidate that was expanded last.
    expanded: Option<Candidate>,
    /// How many distances have been computed for the task.
    pub(crate) distance_count: u64,
}

/// What a search on a layer is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope {
    pub(crate) layer: Layer,
    pub(crate) starts: [Slot; 2],
    pub(crate) ef: usize,
    pub(crate) reach: Option<Reach>,
    /// Nodes that are expanded at most.
    pub(crate) hops: usize,
    /// Copies of an expanded node lead only to other copies, and thousands of them would leave no
    /// room for candidates of another vector: they wait until all else is expanded, and become
    /// candidates while fewer accepted ones than this are as near. At [`usize::MAX`] they are
    /// candidates as all others are.
    pub(crate) copies: usize,
}

impl Scope {
    /// One step of a descent: the start for the layer below.
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

/// What searches on one or several layers, one after the other, are for.
pub(crate) trait SearchTask {
    /// Gives the distances by which the searches find their way.
    fn computer(&self) -> &impl DistanceComputer;

    /// What is searched next. The beam holds what was found last, nothing at first.
    fn next(&mut self, beam: &Beam) -> Result<Option<Scope>>;

    /// Whether a slot may be a result.
    fn accepts(&self, _slot: Slot) -> Result<bool> {
        Ok(true)
    }

    /// Asked before every expansion: whether the search ends here, with what it has found so far.
    fn stops(&self) -> bool {
        false
    }
}

impl Beam {
    /// Runs `work` with beams of this thread.
    pub(crate) fn with<const N: usize, T>(work: impl FnOnce(&mut [Self; N]) -> T) -> T {
        thread_local! {
            static IDLE: Cell<Vec<Beam>> = const { Cell::new(Vec::new()) };
        }
        // Taken out while in use, so that a nested search gets others.
        let mut idle = IDLE.take();
        let mut beams = std::array::from_fn(|_| idle.pop().unwrap_or_default());
        IDLE.set(idle);
        let result = work(&mut beams);
        let mut idle = IDLE.take();
        idle.extend(beams);
        IDLE.set(idle);
        result
    }

    /// Does an task, without a pause.
    pub(crate) fn run(&mut self, graph: &impl Graph, task: &mut impl SearchTask) -> Result<()> {
        self.reset();
        while let Some(scope) = task.next(self)? {
            self.search(graph, task.computer(), scope, |slot| task.accepts(slot), || task.stops())?;
        }
        Ok(())
    }

    /// Finds the `ef` accepted slots that are nearest to the query, as far as edges lead there;
    /// `stop` is asked before every expansion, and ends the search with what was found so far.
    ///
    /// If fewer than `ef` accepted slots are connected to the starts, all of them are found.
    pub(crate) fn search(
        &mut self,
        graph: &impl Graph,
        computer: &impl DistanceComputer,
        scope: Scope,
        accept: impl Fn(Slot) -> Result<bool>,
        stop: impl Fn() -> bool,
    ) -> Result<&[Candidate]> {
        self.start(graph, scope);
        loop {
            self.mark_visited(computer);
            self.compare(graph, computer, scope.layer, &accept)?;
            let Some(current) = self.expand(&stop) else { break };
            if let Some(next) = self.pool.peek() {
                graph.prefetch_neighbors(scope.layer, Slot(next));
            }
            self.list_neighbors(graph, scope.layer, current)?;
        }
        Ok(self.candidates())
    }

    /// Walks greedily from the entry point down to the layer above `to`, and returns where it
    /// ended.
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

    /// Forgets what it has done for another task.
    pub(super) fn reset(&mut self) {
        self.pool.start(1, None);
        self.distance_count = 0;
    }

    /// Begins a search.
    pub(super) fn start(&mut self, graph: &impl Graph, scope: Scope) {
        self.visited.start(graph.slots(), graph.is_memory_bounded());
        self.pool.start(scope.ef.max(1), scope.reach);
        (self.hops_left, self.copies, self.expanded) = (scope.hops, scope.copies, None);
        self.list.clear();
        self.list.extend(scope.starts.iter().map(|slot| slot.0));
    }

    /// Sees which slots of the list are new, and prefetches what they are compared by.
    #[inline]
    pub(super) fn mark_visited(&mut self, computer: &impl DistanceComputer) {
        computer.prefetch(self.visited.insert_all(&self.list));
    }

    /// Compares these with the query, and keeps the nearest.
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
        // Equal vectors are equally far from everything; others rarely are. NaN is equal to
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

    /// The node to go on from. `None` if the search has ended.
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

    /// Lists the neighbors of a node.
    #[inline]
    pub(super) fn list_neighbors(
        &mut self,
        graph: &impl Graph,
        layer: Layer,
        slot: Slot,
    ) -> Result<()> {
        self.list.clear();
        graph.neighbors(layer, slot, &mut self.list)
    }

    /// What the last search has found, the nearest first.
    pub(crate) fn candidates(&self) -> &[Candidate] {
        self.pool.candidates()
    }

    /// The nearest of what the last search has found.
    pub(crate) fn nearest(&self) -> Option<Slot> {
        self.candidates().first().map(|candidate| Slot(candidate.slot()))
    }
}

/// Whether a slot is a copy of the expanded candidate, which is as far away.
#[cold]
fn is_copy(graph: &impl Graph, expanded: Option<Candidate>, slot: u32) -> Result<bool> {
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
        // As candidates like all others they fill the beam, and 6 is not gone through.
        assert_eq!(search(0.0, 4, usize::MAX, &|_| true), [0, 1, 2, 3]);
        assert_eq!(search(0.0, 4, 0, &|_| true), [7, 0, 6]);
        assert_eq!(search(0.0, 4, 1, &|_| true), [7, 0, 6]);
        assert_eq!(search(0.0, 4, 3, &|_| true), [7, 0, 1, 6]);
        assert_eq!(search(0.0, 5, 5, &|_| true), [7, 0, 1, 2, 3]);
        // Where they are the nearest, as many are found as are wanted.
        assert_eq!(search(5.0, 6, 4, &|_| true), [0, 1, 2, 3, 7, 6]);
        // Those that are not accepted are gone through, to others that may be.
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
