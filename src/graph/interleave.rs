//! Interleaves searches on one thread, to hide memory latency.
//!
//! A search waits twice for each node that it expands: for the neighbor list, and for the vectors
//! or codes of the neighbors. It prefetches each, and other searches run until it has arrived
//! (Jonathan, Minhas, Hunter, Levandoski, Nishanov 2018, "Exploiting coroutines to attack the
//! killer nanoseconds"). Every search takes the steps that it would take alone: only the order
//! between searches differs.
//!
//! Whether and how many queries are interleaved: `search/paths/graph.rs` passes `most`, the queries
//! of a batch a thread; it passes 1, that is, no interleaving, on processors that do not prefetch
//! early (`prefetches_early`). At most [`LANES`] searches are interleaved.

use super::Graph;
use super::beam::{Beam, Scope, SearchTask};
use crate::error::Result;
use crate::types::{Layer, Slot};

/// The maximum number of searches interleaved on a thread. Decision 0029 has measured 2 to 4.
const LANES: usize = 3;
/// The same in a cold index, where they wait for the disk.
const COLD_LANES: usize = 8;

/// Runs all tasks, and interleaves at most `most` of them, or [`LANES`] if that is less, or
/// [`COLD_LANES`].
///
/// # Errors
/// The first error of a task, which ends all.
pub(crate) fn interleave<E: SearchTask>(
    graph: &impl Graph,
    most: usize,
    mut tasks: impl Iterator<Item = E>,
) -> Result<()> {
    if most <= 1 {
        return Beam::with(|[beam]| tasks.try_for_each(|mut task| beam.run(graph, &mut task)));
    }
    let lanes = if graph.is_cold() { COLD_LANES } else { LANES };
    Beam::with_many(lanes.min(most), |beams| {
        let lane =
            |beam| Lane { beam, task: None, layer: Layer(0), current: None, has_ended: false };
        let mut lanes: Vec<Lane<'_, E>> = beams.iter_mut().map(lane).collect();
        while !lanes.is_empty() {
            let mut at = 0;
            while let Some(lane) = lanes.get_mut(at) {
                if lane.go_on(graph, &mut tasks)? {
                    at += 1;
                } else {
                    lanes.remove(at);
                }
            }
        }
        Ok(())
    })
}

/// A lane runs one task at a time, interleaved with those of the other lanes.
struct Lane<'b, E> {
    beam: &'b mut Beam,
    task: Option<E>,
    layer: Layer,
    /// The node whose neighbor list was prefetched, if that was the last prefetch.
    current: Option<Slot>,
    /// Whether the search has ended, and its task waits for the disk.
    has_ended: bool,
}

impl<E: SearchTask> Lane<'_, E> {
    /// Runs until something has been prefetched. `false` if there is nothing left to do.
    fn go_on(&mut self, graph: &impl Graph, tasks: &mut impl Iterator<Item = E>) -> Result<bool> {
        if let Some(task) = self.task.as_mut().filter(|_| !std::mem::take(&mut self.has_ended)) {
            if let Some(current) = self.current.take() {
                self.beam.list_neighbors(graph, self.layer, current)?;
                self.beam.mark_visited(graph, task.computer(), self.layer, graph.is_cold());
                return Ok(true);
            }
            self.beam.compare(graph, task.computer(), self.layer, |slot| task.accepts(slot))?;
            self.current = self.beam.expand(|| task.stops());
            if let Some(current) = self.current {
                if graph.is_cold() {
                    self.beam.fetch_lists(graph, self.layer, current);
                } else {
                    graph.prefetch_neighbors(self.layer, current);
                }
                return Ok(true);
            }
            self.has_ended = task.fetch(self.beam);
            if self.has_ended {
                return Ok(true);
            }
        }
        let Some(scope) = self.next(tasks)? else { return Ok(false) };
        self.layer = scope.layer;
        self.beam.start(graph, scope);
        if let Some(task) = &self.task {
            self.beam.mark_visited(graph, task.computer(), self.layer, graph.is_cold());
        }
        Ok(true)
    }

    /// The next search, of this task or another.
    fn next(&mut self, tasks: &mut impl Iterator<Item = E>) -> Result<Option<Scope>> {
        loop {
            if let Some(scope) = self.task.as_mut().map_or(Ok(None), |task| task.next(self.beam))? {
                return Ok(Some(scope));
            }
            self.task = tasks.next();
            if self.task.is_none() {
                return Ok(None);
            }
            self.beam.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::error::Error;
    use crate::graph::DistanceComputer;
    use crate::graph::beam::tests::{At, Line};

    /// Slots and distances, and how many were computed.
    type Seen = Vec<(Vec<(u32, f32)>, u64)>;

    /// Searches the same graph several times, each from where the one before has ended; and fails
    /// if it is told to.
    struct Wanderer<'a> {
        probe: At<'a>,
        searches: usize,
        fails: bool,
        seen: &'a mut Seen,
    }

    impl SearchTask for Wanderer<'_> {
        fn computer(&self) -> &impl DistanceComputer {
            &self.probe
        }

        fn next(&mut self, beam: &Beam) -> Result<Option<Scope>> {
            let found =
                beam.candidates().iter().map(|candidate| (candidate.slot(), candidate.distance()));
            self.seen.push((found.collect(), beam.distance_count));
            if self.fails {
                return Err(Error::Cancelled);
            }
            let Some(left) = self.searches.checked_sub(1) else { return Ok(None) };
            self.searches = left;
            let scope = Scope::descent(Layer(0), beam.nearest().unwrap_or(Slot(left as u32)));
            Ok(Some(if left % 2 == 0 { Scope { ef: 5, hops: usize::MAX, ..scope } } else { scope }))
        }

        fn fetch(&mut self, beam: &Beam) -> bool {
            // Some wait after each search, some after none.
            beam.distance_count.is_multiple_of(2)
        }

        fn accepts(&self, slot: Slot) -> Result<bool> {
            Ok(!slot.0.is_multiple_of(3))
        }
    }

    #[test]
    fn each_does_what_it_would_do_alone() {
        let mut rng = StdRng::seed_from_u64(42);
        let line = Line {
            edges: (0..300).map(|_| (0..6).map(|_| rng.random_range(0..300)).collect()).collect(),
        };
        for count in [0, 1, 2, 3, 4, 5, 17, 40] {
            let tasks: Vec<(f32, usize)> = (0..count)
                .map(|_| (rng.random_range(0.0..300.0), rng.random_range(0..5)))
                .collect();
            let mut alone: Vec<Seen> = vec![Vec::new(); count];
            let mut in_turns = alone.clone();
            for ((at, searches), seen) in tasks.iter().zip(&mut alone) {
                let mut task =
                    Wanderer { probe: At(*at, &line), searches: *searches, fails: false, seen };
                Beam::default().run(&line, &mut task).unwrap();
            }
            let each = tasks.iter().zip(&mut in_turns);
            interleave(
                &line,
                count % 5,
                each.map(|((at, searches), seen)| Wanderer {
                    probe: At(*at, &line),
                    searches: *searches,
                    fails: false,
                    seen,
                }),
            )
            .unwrap();
            assert_eq!(in_turns, alone);
        }
    }

    #[test]
    fn the_first_that_fails_ends_all() {
        let line = Line { edges: vec![vec![1], vec![0]] };
        let mut seen = vec![Seen::new(); 10];
        let tasks = seen.iter_mut().enumerate().map(|(i, seen)| Wanderer {
            probe: At(0.0, &line),
            searches: 2,
            fails: i == 4,
            seen,
        });
        assert!(matches!(interleave(&line, 3, tasks), Err(Error::Cancelled)));
        assert!(seen[9].is_empty());
    }
}
