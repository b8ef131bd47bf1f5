//! Beam search on one layer (algorithm 2 of Malkov and Yashunin 2018), and the greedy descent to it (algorithm 5).
//!
//! One expansion: take the nearest candidate, hint the list of the next; pass 1 turns its neighbor list into a dense list of slots not met
//! yet; pass 2 computes their distances, several at a time, with vectors hinted ahead ([`Probe::distances`]). Nothing is allocated after the
//! first search of a thread.
//!
//! A search ends when the nearest candidate that is left is farther than the farthest of `ef`, as in the paper; or, with a [`Reach`], when it is a
//! given factor farther than the `nth` (Al-Jazzazi, Diwan, Gou, Musco, Musco, Suel 2025, "Distance adaptive beam search for provably accurate graph-based
//! nearest neighbor search"). Among vectors of one kind some have their neighbors far nearer than what else is there, and are found at once, and
//! others do not: a factor spends on each what it needs, where one `ef` for all is too much for most.

use std::cell::Cell;

use super::pool::{Candidate, Pool, Reach};
use super::visited::Visited;
use super::{Graph, Probe};
use crate::{Layer, Result, Slot};

/// Nodes that a descent expands on each layer. It wants a start for the layer below, not the nearest node: the steps that would come to that one cost more
/// distances than they save below (2 to 3 % of all that a search of 100 000 vectors computes at recall .95).
const DESCENT_HOPS: usize = 2;

/// The scratch memory of a search, and its result.
#[derive(Debug, Default)]
pub(crate) struct Beam {
    pool: Pool,
    visited: Visited,
    list: Vec<u32>,
    distances: Vec<f32>,
    /// How many distances have been computed since the last [`reset_counts`](Self::reset_counts).
    pub(crate) distance_count: u64,
    /// How many nodes have been expanded since.
    pub(crate) hops: u64,
}

/// What a search on a layer is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) layer: Layer,
    pub(crate) starts: &'a [Slot],
    pub(crate) ef: usize,
    pub(crate) reach: Option<Reach>,
}

impl Beam {
    /// Runs `work` with the beam of this thread.
    pub(crate) fn with<T>(work: impl FnOnce(&mut Self) -> T) -> T {
        thread_local! {
            static BEAM: Cell<Option<Box<Beam>>> = const { Cell::new(None) };
        }
        // Taken out while in use, so that a nested search gets a fresh one.
        let mut beam = BEAM.take().unwrap_or_default();
        let result = work(&mut beam);
        BEAM.set(Some(beam));
        result
    }

    pub(crate) fn reset_counts(&mut self) {
        (self.distance_count, self.hops) = (0, 0);
    }

    /// Finds the `ef` accepted slots that are nearest to the probe, as far as edges lead there; `stop` is asked before every expansion, and
    /// ends the search with what was found so far.
    ///
    /// If fewer than `ef` accepted slots are connected to the starts, all of them are found.
    pub(crate) fn search(
        &mut self,
        graph: &impl Graph,
        probe: &impl Probe,
        scope: Scope<'_>,
        accept: impl Fn(Slot) -> Result<bool>,
        stop: impl Fn() -> bool,
    ) -> Result<&[Candidate]> {
        self.visited.start(graph.slots(), graph.is_sparse());
        self.pool.start(scope.ef.max(1), scope.reach);
        self.list.clear();
        self.list.extend(scope.starts.iter().map(|slot| slot.0));
        loop {
            let fresh = self.visited.insert_all(&self.list);
            probe.prefetch(fresh);
            probe.distances(fresh, &mut self.distances)?;
            self.distance_count += fresh.len() as u64;
            let mut bound = self.pool.bound();
            for (&slot, &distance) in fresh.iter().zip(&self.distances) {
                if distance <= bound {
                    graph.prefetch_place(scope.layer, Slot(slot));
                    self.pool.insert(distance, slot, accept(Slot(slot))?);
                    bound = self.pool.bound();
                }
            }
            if stop() {
                break;
            }
            let Some(current) = self.pool.expand() else { break };
            if let Some(next) = self.pool.peek() {
                graph.prefetch_neighbors(scope.layer, Slot(next));
            }
            self.list.clear();
            graph.neighbors(scope.layer, Slot(current), &mut self.list)?;
            self.hops += 1;
        }
        Ok(self.pool.candidates())
    }

    /// Walks greedily from the entry point down to the layer above `to`, and returns where it ended.
    pub(crate) fn descend(&mut self, graph: &impl Graph, probe: &impl Probe, entry: (Layer, Slot), to: Layer) -> Result<Slot> {
        let (top, mut current) = entry;
        for layer in (to.0 + 1..=top.0).rev().map(Layer) {
            let scope = Scope { layer, starts: &[current], ef: 1, reach: None };
            let hops = Cell::new(0);
            let stop = || hops.replace(hops.get() + 1) == DESCENT_HOPS;
            if let [nearest, ..] = self.search(graph, probe, scope, |_| Ok(true), stop)? {
                current = Slot(nearest.slot());
            }
        }
        Ok(current)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points on a line, with hand-drawn edges.
    struct Line {
        edges: Vec<Vec<u32>>,
    }

    struct At<'a>(f32, &'a Line);

    impl Graph for Line {
        fn slots(&self) -> usize {
            self.edges.len()
        }

        fn neighbors(&self, _layer: Layer, slot: Slot, out: &mut Vec<u32>) -> Result<()> {
            out.extend(&self.edges[slot.index()]);
            Ok(())
        }
    }

    impl Probe for At<'_> {
        fn distances(&self, slots: &[u32], out: &mut Vec<f32>) -> Result<()> {
            out.clear();
            out.extend(slots.iter().map(|&slot| (slot as f32 - self.0).abs()));
            assert!(slots.iter().all(|&slot| (slot as usize) < self.1.slots()));
            Ok(())
        }
    }

    fn chain(n: u32) -> Line {
        Line { edges: (0..n).map(|i| [i.wrapping_sub(1), i + 1].into_iter().filter(|j| *j < n).collect()).collect() }
    }

    fn found(line: &Line, at: f32, ef: usize, accept: impl Fn(u32) -> bool) -> Vec<u32> {
        let scope = Scope { layer: Layer(0), starts: &[Slot(0)], ef, reach: None };
        let mut beam = Beam::default();
        let candidates = beam.search(line, &At(at, line), scope, |slot| Ok(accept(slot.0)), || false).unwrap();
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
        let scope = Scope { layer: Layer(0), starts: &[Slot(7)], ef: 5, reach: None };
        let mut beam = Beam::default();
        assert_eq!(beam.search(&line, &At(40.0, &line), scope, |_| Ok(true), || true).unwrap().len(), 1);
    }
}
