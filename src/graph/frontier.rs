//! Best-first search of layer 0 without an `ef`: expands the nearest candidate each time, for as
//! long as its caller wants, and can be resumed.
//!
//! A beam drops the candidates beyond its `ef`. A search within a radius, or page by page, does not
//! know its `ef`, so nothing is dropped here: the nearest candidates are in a heap, and those that
//! are far, most of which will never be expanded, wait in no order until the heap is empty. Every
//! expanded node is returned once, nearly by increasing distance: a node is found after one that is
//! farther only where edges lead to it from there. What is accepted, how far to go, and in what
//! order to answer is decided by the caller (`search/`).

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::pool::{Candidate, order};
use super::visited::Visited;
use super::{DistanceComputer, Graph};
use crate::error::Result;
use crate::types::{Layer, Slot};

const BASE: Layer = Layer(0);

/// The heap keeps this many candidates, or as many as have been expanded if that is more; when it
/// has twice as many, the farther ones are set aside.
const KEPT: usize = 64;

/// The state of a search: see the module.
#[derive(Debug, Default)]
pub(crate) struct Frontier {
    visited: Visited,
    /// The nearest candidates that have not been expanded, the nearest on top. Empty only if
    /// `aside` is, too.
    heap: BinaryHeap<Reverse<i64>>,
    /// All others, which are beyond `limit`.
    aside: Vec<Reverse<i64>>,
    limit: i64,
    list: Vec<u32>,
    distances: Vec<f32>,
    /// The number of nodes expanded.
    pub(crate) expansions: usize,
    /// The number of distances computed.
    pub(crate) distance_count: u64,
}

thread_local! {
    static IDLE: Cell<Option<Frontier>> = const { Cell::new(None) };
}

impl Frontier {
    /// Runs `work` with the frontier of this thread, whose memory the next search uses again.
    pub(crate) fn with<T>(work: impl FnOnce(&mut Self) -> T) -> T {
        // Taken out while in use, so that a nested search gets another.
        let mut frontier = IDLE.take().unwrap_or_default();
        let result = work(&mut frontier);
        IDLE.set(Some(frontier));
        result
    }

    /// Starts a search.
    pub(crate) fn start(
        &mut self,
        graph: &impl Graph,
        computer: &impl DistanceComputer,
        starts: &[Slot],
    ) -> Result<()> {
        self.visited.start(graph.slots(), graph.is_memory_bounded());
        self.heap.clear();
        self.aside.clear();
        self.limit = i64::MAX;
        (self.expansions, self.distance_count) = (0, 0);
        self.list.clear();
        self.list.extend(starts.iter().map(|slot| slot.0));
        self.compare(graph, computer)
    }

    /// The distance of the candidate that is expanded next. `None` if there is none: every node
    /// that edges lead to has been returned.
    #[inline]
    pub(crate) fn next_distance(&self) -> Option<f32> {
        self.heap.peek().map(|Reverse(order)| Candidate::of(*order).distance())
    }

    /// The candidates that have not been expanded, in any order.
    pub(crate) fn unexpanded(&self) -> impl Iterator<Item = Candidate> {
        self.heap.iter().chain(&self.aside).map(|Reverse(order)| Candidate::of(*order))
    }

    /// Expands the nearest candidate, and returns it.
    pub(crate) fn expand(
        &mut self,
        graph: &impl Graph,
        computer: &impl DistanceComputer,
    ) -> Result<Option<Candidate>> {
        let Some(Reverse(nearest)) = self.heap.pop() else { return Ok(None) };
        let current = Candidate::of(nearest);
        if graph.is_cold() {
            graph.fetch_lists(BASE, &[current.slot()]);
        } else if let Some(Reverse(next)) = self.heap.peek() {
            graph.prefetch_neighbors(BASE, Slot(Candidate::of(*next).slot()));
        }
        self.expansions += 1;
        self.list.clear();
        graph.neighbors(BASE, Slot(current.slot()), &mut self.list)?;
        self.compare(graph, computer)?;
        if self.heap.is_empty() && !self.aside.is_empty() {
            let all = std::mem::take(&mut self.aside);
            self.keep_nearest(all);
        }
        Ok(Some(current))
    }

    /// Keeps the nearest of all candidates in the heap, and sets the others aside.
    #[cold]
    fn keep_nearest(&mut self, mut all: Vec<Reverse<i64>>) {
        let kept = KEPT.max(self.expansions);
        self.limit = i64::MAX;
        if all.len() > kept {
            // A reversed order is the larger the nearer it is.
            let (_, Reverse(limit), _) = all.select_nth_unstable_by(kept, |a, b| b.cmp(a));
            self.limit = *limit;
            self.aside.extend(all.drain(kept + 1..));
        }
        self.heap = all.into();
    }

    /// Computes the distances of the slots of the list that are met for the first time.
    #[inline]
    fn compare(&mut self, graph: &impl Graph, computer: &impl DistanceComputer) -> Result<()> {
        let fresh = self.visited.insert_all(&self.list);
        if graph.is_cold() && !computer.has(fresh) && computer.fetch(fresh) {
            computer.wait(fresh);
        } else {
            computer.prefetch(fresh);
        }
        computer.distances(fresh, &mut self.distances)?;
        self.distance_count += fresh.len() as u64;
        for (&slot, &distance) in fresh.iter().zip(&self.distances) {
            let order = order(distance, slot);
            if order > self.limit {
                self.aside.push(Reverse(order));
                continue;
            }
            graph.prefetch_place(BASE, Slot(slot));
            self.heap.push(Reverse(order));
        }
        if self.heap.len() > 2 * KEPT.max(self.expansions) {
            let all = std::mem::take(&mut self.heap).into_vec();
            self.keep_nearest(all);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::beam::tests::{At, Line};
    use super::*;

    fn line(edges: Vec<Vec<u32>>) -> Line {
        Line { edges }
    }

    /// On a chain, whose edges lead to both neighbors, every node is returned by its distance.
    #[test]
    fn every_node_that_edges_lead_to_is_returned_once_by_its_distance() {
        let chain = line(
            (0..50u32)
                .map(|i| [i.wrapping_sub(1), i + 1].into_iter().filter(|j| *j < 50).collect())
                .collect(),
        );
        let at = At(20.3, &chain);
        let mut frontier = Frontier::default();
        frontier.start(&chain, &at, &[Slot(20), Slot(20)]).unwrap();
        let mut found = Vec::new();
        while let Some(next) = frontier.next_distance() {
            let candidate = frontier.expand(&chain, &at).unwrap().unwrap();
            assert_eq!(candidate.distance(), next);
            found.push(candidate.slot());
        }
        let mut expected: Vec<u32> = (0..50).collect();
        expected.sort_by(|a, b| (*a as f32 - 20.3).abs().total_cmp(&(*b as f32 - 20.3).abs()));
        assert_eq!(found, expected);
        assert_eq!((frontier.expansions, frontier.distance_count), (50, 50));
        assert!(frontier.expand(&chain, &at).unwrap().is_none());
    }

    /// An edge from a far node leads to a near one: it is returned as soon as it is met, and a new
    /// search starts with nothing.
    #[test]
    fn a_node_that_is_met_late_is_returned_late() {
        let detour = line(vec![vec![], vec![3], vec![], vec![0, 2]]);
        let at = At(0.0, &detour);
        let mut frontier = Frontier::default();
        for _ in 0..2 {
            frontier.start(&detour, &at, &[Slot(1)]).unwrap();
            let found: Vec<u32> = std::iter::from_fn(|| frontier.expand(&detour, &at).unwrap())
                .map(|candidate| candidate.slot())
                .collect();
            assert_eq!(found, [1, 3, 0, 2]);
            assert_eq!(frontier.unexpanded().count(), 0);
        }
    }
}
