//! Searches of one thread that take turns.
//!
//! A search waits twice for each node that it expands: for the list, and for what it compares. It
//! hints either, and another search goes on until that has arrived (Jonathan, Minhas, Hunter,
//! Levandoski, Nishanov 2018, "Exploiting coroutines to attack the killer nanoseconds"). Every
//! search does what it would do alone: only the order between them differs.

use super::Graph;
use super::beam::{Beam, Errand, Scope};
use crate::error::Result;
use crate::types::{Layer, Slot};

/// Searches on their way at a time.
const SEATS: usize = 3;

/// Does all errands, no more than `most` of them at a time.
///
/// # Errors
/// The first of an errand's, which ends all.
pub(crate) fn take_turns<E: Errand>(
    graph: &impl Graph,
    most: usize,
    mut errands: impl Iterator<Item = E>,
) -> Result<()> {
    if most <= 1 {
        return Beam::with(|[beam]| {
            errands.try_for_each(|mut errand| beam.run(graph, &mut errand))
        });
    }
    Beam::with::<SEATS, _>(|beams| {
        let seat = |beam| Seat { beam, errand: None, layer: Layer(0), current: None };
        let mut seats: Vec<Seat<'_, E>> = beams.iter_mut().take(most).map(seat).collect();
        while !seats.is_empty() {
            let mut at = 0;
            while let Some(seat) = seats.get_mut(at) {
                if seat.go_on(graph, &mut errands)? {
                    at += 1;
                } else {
                    seats.remove(at);
                }
            }
        }
        Ok(())
    })
}

/// Where an errand is done.
struct Seat<'b, E> {
    beam: &'b mut Beam,
    errand: Option<E>,
    layer: Layer,
    /// The node whose list has been hinted, if that is what was hinted last.
    current: Option<Slot>,
}

impl<E: Errand> Seat<'_, E> {
    /// Goes on until something has been hinted. `false` if there is nothing left to do.
    fn go_on(&mut self, graph: &impl Graph, errands: &mut impl Iterator<Item = E>) -> Result<bool> {
        if let Some(errand) = &self.errand {
            if let Some(current) = self.current.take() {
                self.beam.unfold(graph, self.layer, current)?;
                self.beam.meet(errand.probe());
                return Ok(true);
            }
            self.beam.compare(graph, errand.probe(), self.layer, |slot| errand.accepts(slot))?;
            self.current = self.beam.expand(|| errand.stops());
            if let Some(current) = self.current {
                graph.prefetch_neighbors(self.layer, current);
                return Ok(true);
            }
        }
        let Some(scope) = self.next(errands)? else { return Ok(false) };
        self.layer = scope.layer;
        self.beam.start(graph, scope);
        if let Some(errand) = &self.errand {
            self.beam.meet(errand.probe());
        }
        Ok(true)
    }

    /// What is searched next, for this errand or another.
    fn next(&mut self, errands: &mut impl Iterator<Item = E>) -> Result<Option<Scope>> {
        loop {
            if let Some(scope) =
                self.errand.as_mut().map_or(Ok(None), |errand| errand.next(self.beam))?
            {
                return Ok(Some(scope));
            }
            self.errand = errands.next();
            if self.errand.is_none() {
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
    use crate::graph::Probe;
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

    impl Errand for Wanderer<'_> {
        fn probe(&self) -> &impl Probe {
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
            let errands: Vec<(f32, usize)> = (0..count)
                .map(|_| (rng.random_range(0.0..300.0), rng.random_range(0..5)))
                .collect();
            let mut alone: Vec<Seen> = vec![Vec::new(); count];
            let mut in_turns = alone.clone();
            for ((at, searches), seen) in errands.iter().zip(&mut alone) {
                let mut errand =
                    Wanderer { probe: At(*at, &line), searches: *searches, fails: false, seen };
                Beam::default().run(&line, &mut errand).unwrap();
            }
            let each = errands.iter().zip(&mut in_turns);
            take_turns(
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
        let errands = seen.iter_mut().enumerate().map(|(i, seen)| Wanderer {
            probe: At(0.0, &line),
            searches: 2,
            fails: i == 4,
            seen,
        });
        assert!(matches!(take_turns(&line, 3, errands), Err(Error::Cancelled)));
        assert!(seen[9].is_empty());
    }
}
