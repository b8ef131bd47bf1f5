//! The candidates of a beam search: one array, sorted by distance and then slot, that is frontier
//! and result at once.
//!
//! A candidate is *accepted* if it may be a result, and *expanded* once its neighbors have been
//! visited. Candidates that are not accepted (filtered out, or tombstones of removed items) are
//! expanded but not returned. The pool ends at its `ef`-th accepted candidate: nothing beyond it is
//! ever expanded. An insertion costs a binary search and a move of the tail, which for the few
//! hundred candidates of a search is cheaper than two heaps; requests for many thousands are
//! scanned instead (`search/paths`).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Candidate {
    order: i64,
    pub(crate) accepted: bool,
    expanded: bool,
}

impl Candidate {
    /// An unexpanded candidate, from what [`order`] returned.
    #[inline]
    pub(crate) fn of(order: i64) -> Self {
        Self { order, accepted: true, expanded: false }
    }

    #[inline]
    pub(crate) fn distance(&self) -> f32 {
        let ordered = (self.order >> 32) as i32;
        f32::from_bits((ordered ^ ((ordered >> 31) as u32 >> 1) as i32) as u32)
    }

    #[inline]
    pub(crate) fn slot(&self) -> u32 {
        self.order as u32
    }
}

/// Early termination: how far beyond its results a search goes on, whatever its `ef`. See
/// [`Beam`](super::Beam).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reach {
    /// The reference candidate, counted from 1.
    pub(crate) nth: usize,
    /// The stopping distance is this factor times that of the `nth` candidate; at least 1.
    pub(crate) factor: f32,
    /// The stopping distance is at least that of this candidate, counted from 1: the first
    /// candidates say little about where the search will end.
    pub(crate) least: usize,
    /// The maximum number of nearest candidates that are expanded; more may be kept.
    pub(crate) most: usize,
    /// Candidates beyond the stopping distance by at most this are kept, and not expanded: where
    /// distances are estimates, they may be results after reranking.
    pub(crate) margin: f32,
}

#[derive(Debug, Default)]
pub(super) struct Pool {
    candidates: Vec<Candidate>,
    ef: usize,
    reach: Option<Reach>,
    accepted: usize,
    /// All candidates before this one are expanded.
    next: usize,
    /// Deferred duplicates, which may be admitted in the end: see [`defer`](Self::defer).
    deferred: BinaryHeap<Reverse<i64>>,
}

/// A number that orders like distances, ties by slot: one branchless comparison.
#[inline]
pub(crate) fn order(distance: f32, slot: u32) -> i64 {
    let bits = distance.to_bits() as i32;
    // Negative numbers order the other way round.
    let ordered = bits ^ ((bits >> 31) as u32 >> 1) as i32;
    i64::from(ordered) << 32 | i64::from(slot)
}

impl Pool {
    pub(super) fn start(&mut self, ef: usize, reach: Option<Reach>) {
        self.candidates.clear();
        self.deferred.clear();
        (self.ef, self.reach, self.accepted, self.next) = (ef, reach, 0, 0);
    }

    /// The maximum distance at which a candidate is kept.
    #[inline]
    pub(super) fn bound(&self) -> f32 {
        self.bound_with(self.reach.map_or(0.0, |reach| reach.margin))
    }

    /// The early termination rule. It is off where some candidates are not accepted: the rank of
    /// the nth accepted one is then unknown.
    #[inline]
    fn reach(&self) -> Option<Reach> {
        self.reach.filter(|_| self.accepted == self.candidates.len())
    }

    #[inline]
    fn bound_with(&self, margin: f32) -> f32 {
        let bound = match self.candidates.last() {
            Some(last) if self.accepted >= self.ef => last.distance(),
            _ => f32::INFINITY,
        };
        match self.reach() {
            Some(Reach { nth, factor, least, .. }) => {
                let at =
                    |nth: usize| self.candidates.get(nth.wrapping_sub(1)).map(Candidate::distance);
                let reach = at(nth)
                    .zip(at(least))
                    .map(|(nth, least)| (nth.max(0.0) * factor).max(least) + margin);
                reach.map_or(bound, |reach| bound.min(reach))
            }
            _ => bound,
        }
    }

    /// Inserts a candidate. A candidate pushed off the end is dropped.
    #[inline]
    pub(super) fn insert(&mut self, distance: f32, slot: u32, accepted: bool) {
        let order = order(distance, slot);
        let before = |c: &Candidate| c.order < order;
        let full = self.accepted >= self.ef;
        if full && self.candidates.last().is_none_or(before) {
            return;
        }
        let at = self.candidates.partition_point(before);
        self.candidates.insert(at, Candidate { order, accepted, expanded: false });
        self.next = self.next.min(at);
        self.accepted += usize::from(accepted);
        if self.accepted > self.ef {
            self.accepted -= 1;
            self.candidates.pop();
        }
        if self.accepted == self.ef {
            while self.candidates.last().is_some_and(|last| !last.accepted) {
                self.candidates.pop();
            }
        }
    }

    /// Marks the nearest unexpanded candidate as expanded, and returns it. `None` if it is beyond
    /// the stopping distance, as all others then are.
    #[inline]
    pub(super) fn expand(&mut self) -> Option<Candidate> {
        if self.reach().is_some_and(|reach| self.next >= reach.most) {
            return None;
        }
        let bound = self.bound_with(0.0);
        let candidate =
            self.candidates.get_mut(self.next).filter(|next| next.distance() <= bound)?;
        candidate.expanded = true;
        let candidate = *candidate;
        self.next += 1;
        while self.candidates.get(self.next).is_some_and(|c| c.expanded) {
            self.next += 1;
        }
        Some(candidate)
    }

    /// Sets an accepted candidate aside, where it takes no room in the pool.
    pub(super) fn defer(&mut self, distance: f32, slot: u32) {
        self.deferred.push(Reverse(order(distance, slot)));
    }

    /// Inserts the nearest deferred candidate, if fewer than `most` accepted ones are as near.
    /// `false` if there is none: all others are no nearer.
    pub(super) fn admit_deferred(&mut self, most: usize) -> bool {
        let Some(Reverse(order)) = self.deferred.pop() else { return false };
        let candidate = Candidate { order, accepted: true, expanded: false };
        let as_near = self
            .candidates
            .iter()
            .take_while(|c| c.distance() <= candidate.distance())
            .filter(|c| c.accepted)
            .count();
        if as_near < most {
            self.insert(candidate.distance(), candidate.slot(), true);
        }
        as_near < most
    }

    /// The slot that [`expand`](Self::expand) would return if nothing is inserted before.
    #[inline]
    pub(super) fn peek(&self) -> Option<u32> {
        self.candidates.get(self.next).map(Candidate::slot)
    }

    /// Whether a node in this [`order`], which is not in the pool, would be
    /// expanded before all in it.
    #[inline]
    pub(super) fn is_next(&self, order: i64) -> bool {
        if self.reach().is_some_and(|reach| self.next >= reach.most) {
            return false;
        }
        self.candidates.get(self.next).is_none_or(|next| order < next.order)
            && Candidate::of(order).distance() <= self.bound_with(0.0)
    }

    /// The number of candidates that are expanded, up to the first that is not: as nearer ones are
    /// found, it falls.
    pub(super) fn expanded(&self) -> usize {
        self.next
    }

    /// The slots that will be expanded next, in order, if nothing is inserted before.
    pub(super) fn unexpanded(&self) -> impl Iterator<Item = u32> {
        let bound = self.bound_with(0.0);
        self.candidates[self.next.min(self.candidates.len())..]
            .iter()
            .take_while(move |candidate| candidate.distance() <= bound)
            .filter(|candidate| !candidate.expanded)
            .map(Candidate::slot)
    }

    pub(super) fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_pool_is_the_sorted_prefix_that_ends_at_the_ef_th_accepted(
            offers in prop::collection::vec((0..20u32, any::<bool>()), 0..80),
            ef in 1..9usize,
        ) {
            let mut pool = Pool::default();
            pool.start(ef, None);
            let mut all = Vec::new();
            for (slot, (distance, accepted)) in offers.into_iter().enumerate() {
                pool.insert(distance as f32, slot as u32, accepted);
                all.push((distance as f32, slot as u32, accepted));
                all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                let end = all.iter().enumerate().filter(|(_, c)| c.2).nth(ef - 1).map_or(
                    all.len(),
                    |(i, _)| i + 1,
                );
                all.truncate(end);
                let found: Vec<_> = pool.candidates().iter().map(
                    |c| (c.distance(), c.slot(), c.accepted),
                ).collect();
                prop_assert_eq!(&found, &all);
            }
            let mut expanded = Vec::new();
            while let Some(candidate) = pool.expand() {
                expanded.push(candidate.slot());
            }
            prop_assert_eq!(expanded, all.iter().map(|c| c.1).collect::<Vec<_>>());
        }

        #[test]
        fn nothing_beyond_its_reach_is_expanded(
            distances in prop::collection::vec(0..100u32, 1..60),
            nth in 1..6usize,
            more in 0..9usize,
            most in 9..40usize,
        ) {
            let mut pool = Pool::default();
            pool.start(
                1000,
                Some(Reach { nth, factor: 1.5, least: nth + more, most, margin: 3.0 }),
            );
            for (slot, distance) in distances.iter().enumerate() {
                pool.insert(*distance as f32, slot as u32, true);
            }
            let mut sorted = distances;
            sorted.sort_unstable();
            let least = sorted.get(nth + more - 1);
            let bound = least.map_or(
                f32::INFINITY,
                |least| (sorted[nth - 1] as f32 * 1.5).max(*least as f32),
            );
            prop_assert_eq!(pool.bound(), bound + 3.0);
            let count = std::iter::from_fn(|| pool.expand()).count();
            prop_assert_eq!(
                count,
                sorted.iter().filter(|distance| **distance as f32 <= bound).count().min(most),
            );
        }

        #[test]
        fn among_candidates_that_are_not_accepted_there_is_no_reach(
            distances in prop::collection::vec(0..100u32, 1..60),
            other in 0..60usize,
        ) {
            let mut pool = Pool::default();
            pool.start(1000, Some(Reach { nth: 1, factor: 1.1, least: 1, most: 3, margin: 0.0 }));
            for (slot, distance) in distances.iter().enumerate() {
                pool.insert(*distance as f32, slot as u32, slot != other % distances.len());
            }
            prop_assert_eq!(pool.bound(), f32::INFINITY);
            prop_assert_eq!(std::iter::from_fn(|| pool.expand()).count(), distances.len());
        }

        #[test]
        fn a_nearer_candidate_is_expanded_next(
            distances in prop::collection::vec(0..100u32, 1..60),
        ) {
            let mut pool = Pool::default();
            pool.start(1000, None);
            let mut waiting = Vec::new();
            for (slot, distance) in distances.into_iter().enumerate() {
                pool.insert(distance as f32, slot as u32, true);
                waiting.push((distance, slot as u32));
                if slot % 2 == 1 {
                    waiting.sort();
                    let expected: Vec<u32> = waiting.iter().map(|(_, slot)| *slot).collect();
                    prop_assert_eq!(pool.unexpanded().collect::<Vec<_>>(), expected);
                    prop_assert_eq!(pool.peek(), Some(waiting[0].1));
                    prop_assert_eq!(pool.expand().map(|c| c.slot()), Some(waiting.remove(0).1));
                }
            }
        }
    }
}
