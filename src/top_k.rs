//! Top-k: the `k` nearest of the items that a search computes distances to, and the cost of finding
//! them.
//!
//! Distances are `f32`, as kernels compute them, and may be off by a known error ([`Resolution`]).
//! So each is an interval, which contains the distance by definition, in `f64`. A top-k has the `k`
//! neighbors with the smallest upper ends, and beside them those that it had to drop for others
//! whose interval overlaps: they are **contested**. At the end, where intervals overlap, the
//! distances are computed again by definition ([`Refine`]). Few do: the `k` nearest of 100 000
//! differ by thousandths, and errors are millionths.
//!
//! Invariant: the answer is the `k` nearest by definition of all neighbors that were offered, ties
//! broken by item id, in whatever order they arrive; and so are the distances that it reports. A
//! neighbor that [`TopK::may_keep`] refuses is not among them.

use std::cmp;
use std::collections::BinaryHeap;
use std::mem;

use crate::distance::Resolution;
use crate::error::Result;
use crate::types::{ItemId, Slot};

/// The initial capacity of a top-k heap, in results; it grows beyond that.
const USUAL_K: usize = 128;
/// This many contested neighbors, or `k`, are kept before they are compared by definition.
const MIN_CONTESTED: usize = 64;

/// Computes distances by definition, for the query of a top-k.
pub(crate) trait Refine {
    /// The distance to a slot in `f64`.
    fn precise(&self, slot: Slot) -> Result<f64>;

    /// The norm of the vector of a slot, where the error of distances depends on it.
    fn norm(&self, slot: Slot) -> Result<f64>;

    /// Whether two slots have the same vector, bit for bit.
    fn are_equal(&self, a: Slot, b: Slot) -> Result<bool>;
}

/// What a search keeps of the neighbors that it is offered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// The maximum number of results.
    pub(crate) k: usize,
    /// Results are no farther than this, by the distances that answers have.
    pub(crate) radius: f32,
    /// Counts neighbors instead of keeping them, whatever `k` is.
    pub(crate) counts: bool,
}

impl Wanted {
    /// Whether no neighbor is kept or counted.
    pub(crate) fn is_nothing(self) -> bool {
        self.k == 0 && !self.counts
    }
}

impl From<usize> for Wanted {
    /// The `k` nearest, however far they are.
    fn from(k: usize) -> Self {
        Self { k, radius: f32::INFINITY, counts: false }
    }
}

/// A result.
#[derive(Debug, Clone, Copy)]
struct Neighbor {
    /// Orders like the upper end of its interval, ties by item id: one branchless comparison.
    order: i64,
    slot: Slot,
    distance: f32,
}

impl Neighbor {
    #[inline]
    fn new(high: f32, item: ItemId, slot: Slot, distance: f32) -> Self {
        let bits = high.to_bits() as i32;
        // Negative numbers order the other way round.
        let ordered = bits ^ ((bits >> 31) as u32 >> 1) as i32;
        Self { order: i64::from(ordered) << 32 | i64::from(item), slot, distance }
    }

    #[inline]
    fn item(&self) -> ItemId {
        self.order as u32
    }

    /// The upper end of its interval.
    #[inline]
    fn high(&self) -> f32 {
        let ordered = (self.order >> 32) as i32;
        f32::from_bits((ordered ^ ((ordered >> 31) as u32 >> 1) as i32) as u32)
    }

    /// The lower end, as far from the distance as the upper one.
    #[inline]
    fn low(&self) -> f64 {
        2.0 * f64::from(self.distance) - f64::from(self.high())
    }

    /// Whether it may be as near as another one, which is before it.
    #[inline]
    fn overlaps(&self, before: &Self) -> bool {
        self.low() <= f64::from(before.high())
    }
}

impl Ord for Neighbor {
    #[inline]
    fn cmp(&self, other: &Self) -> cmp::Ordering {
        self.order.cmp(&other.order)
    }
}

impl PartialOrd for Neighbor {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Neighbor {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Neighbor {}

/// Top-k: see the module.
#[derive(Debug)]
pub(crate) struct TopK {
    k: usize,
    resolution: Resolution,
    /// A max-heap: the farthest is on top.
    heap: BinaryHeap<Neighbor>,
    contested: Vec<Neighbor>,
    /// A distance beyond this is farther by definition than all `k`.
    limit: f32,
    /// See [`Wanted::radius`], and the distance beyond which all are farther by definition.
    radius: f32,
    cap: f32,
    /// The number of neighbors, if they are counted.
    count: Option<u64>,
}

impl TopK {
    pub(crate) fn new(wanted: impl Into<Wanted>, resolution: Resolution) -> Self {
        let wanted = wanted.into();
        let Wanted { k, radius, counts } = wanted;
        // Of an exact metric the error is 0, and 0 times infinity is no number.
        let cap = if radius.is_finite() { resolution.limit(radius) } else { radius };
        let limit = if wanted.is_nothing() { f32::NEG_INFINITY } else { cap };
        let heap = BinaryHeap::with_capacity(k.min(USUAL_K));
        let (contested, count) = (Vec::new(), counts.then_some(0));
        Self { k, resolution, heap, contested, limit, radius, cap, count }
    }

    /// Whether a neighbor at this distance, as kernels compute it, might be kept.
    #[inline]
    pub(crate) fn may_keep(&self, distance: f32) -> bool {
        distance <= self.limit
    }

    /// The distance beyond which nothing is kept, as kernels compute it. `None` while that is
    /// unknown.
    #[inline]
    pub(crate) fn limit(&self) -> Option<f32> {
        Some(self.limit).filter(|limit| limit.is_finite())
    }

    /// Offers a neighbor. Its distance must have been corrected if it was vague.
    #[inline]
    pub(crate) fn offer(
        &mut self,
        query: &impl Refine,
        slot: Slot,
        item: ItemId,
        distance: f32,
    ) -> Result<()> {
        let mut high = self.resolution.high(distance);
        if high == f32::INFINITY {
            high = self.high_by_norm(query, slot, distance)?;
        }
        if high > self.radius || self.count.is_some() {
            return self.offer_within(query, slot, item, distance, high);
        }
        self.insert(query, Neighbor::new(high, item, slot, distance))
    }

    /// Offers a neighbor that may be beyond the radius, or is counted. Answers report the distance
    /// that is offered or the one by definition, rounded: it is kept if one of them is within the
    /// radius, so that any distance that was reported includes its item.
    #[cold]
    #[inline(never)]
    fn offer_within(
        &mut self,
        query: &impl Refine,
        slot: Slot,
        item: ItemId,
        mut distance: f32,
        mut high: f32,
    ) -> Result<()> {
        if high > self.radius {
            if 2.0 * f64::from(distance) - f64::from(high) > f64::from(self.radius) {
                return Ok(());
            }
            if distance > self.radius && !self.resolution.is_exact() {
                distance = self.resolution.rounded(query.precise(slot)?);
            }
            if distance > self.radius {
                return Ok(());
            }
            high = self.resolution.high(distance);
            if high == f32::INFINITY {
                high = self.high_by_norm(query, slot, distance)?;
            }
        }
        match &mut self.count {
            Some(count) => *count += 1,
            None => self.insert(query, Neighbor::new(high, item, slot, distance))?,
        }
        Ok(())
    }

    /// The number of neighbors that were counted.
    pub(crate) fn count(&self) -> u64 {
        self.count.unwrap_or(0)
    }

    #[cold]
    #[inline(never)]
    fn high_by_norm(&self, query: &impl Refine, slot: Slot, distance: f32) -> Result<f32> {
        Ok(self.resolution.high_at(distance, query.norm(slot)?))
    }

    #[inline]
    fn insert(&mut self, query: &impl Refine, neighbor: Neighbor) -> Result<()> {
        if self.heap.len() < self.k {
            self.heap.push(neighbor);
            if self.heap.len() == self.k {
                self.set_limit();
            }
            return Ok(());
        }
        let Some(mut farthest) = self.heap.peek_mut() else { return Ok(()) };
        let dropped = if neighbor < *farthest {
            let dropped = mem::replace(&mut *farthest, neighbor);
            drop(farthest);
            self.set_limit();
            dropped
        } else {
            drop(farthest);
            neighbor
        };
        match self.heap.peek() {
            Some(farthest) if dropped.overlaps(farthest) && !self.resolution.is_exact() => {
                self.contest(query, dropped)
            }
            _ => Ok(()),
        }
    }

    #[inline]
    fn set_limit(&mut self) {
        if let Some(farthest) = self.heap.peek() {
            self.limit = self.resolution.limit(farthest.high()).min(self.cap);
        }
    }

    /// Keeps a neighbor that is not among the `k`, but may be as near as one of them.
    #[cold]
    #[inline(never)]
    fn contest(&mut self, query: &impl Refine, dropped: Neighbor) -> Result<()> {
        let most = self.k.max(MIN_CONTESTED);
        self.contested.push(dropped);
        if self.contested.len() < most {
            return Ok(());
        }
        self.drop_farther();
        // All the same, or nearly: more are to be expected.
        if self.contested.len() > most / 2 { self.settle(query) } else { Ok(()) }
    }

    /// Drops contested neighbors that are beyond the `k`-th by now.
    fn drop_farther(&mut self) {
        let Some(farthest) = self.heap.peek() else { return };
        self.contested.retain(|neighbor| neighbor.overlaps(farthest));
    }

    /// Compares contested neighbors, and those whose places they contest, by definition.
    fn settle(&mut self, query: &impl Refine) -> Result<()> {
        let lowest = self.contested.iter().map(Neighbor::low).min_by(f64::total_cmp);
        let Some(lowest) = lowest else { return Ok(()) };
        let is_doubtful = |neighbor: &Neighbor| f64::from(neighbor.high()) >= lowest;
        let (doubtful, sure): (Vec<_>, Vec<_>) =
            self.heap.drain().chain(self.contested.drain(..)).partition(is_doubtful);
        let places = self.k.saturating_sub(sure.len());
        let nearest = refine(query, doubtful)?.into_iter().take(places);
        self.heap = sure.into_iter().chain(nearest.map(|(_, neighbor)| neighbor)).collect();
        self.set_limit();
        Ok(())
    }

    pub(crate) fn merge(mut self, query: &impl Refine, other: Self) -> Result<Self> {
        other
            .heap
            .into_iter()
            .chain(other.contested)
            .try_for_each(|neighbor| self.insert(query, neighbor))?;
        self.count = self.count.map(|count| count + other.count.unwrap_or(0));
        Ok(self)
    }

    /// Sorted, the nearest first. A distance is as it was offered, or rounded from that by
    /// definition if the interval of another result overlaps.
    pub(crate) fn into_sorted(mut self, query: &impl Refine) -> Result<Vec<(ItemId, f32)>> {
        if !self.contested.is_empty() {
            self.drop_farther();
            self.settle(query)?;
        }
        let Self { heap, resolution, .. } = self;
        let nearest = heap.into_sorted_vec();
        // The lowest end of those after it.
        let mut lowest = f64::INFINITY;
        let mut is_contested = nearest.first().is_some_and(|n| resolution.is_doubtful(n.distance));
        for neighbor in nearest.iter().rev() {
            is_contested |= lowest <= f64::from(neighbor.high());
            lowest = lowest.min(neighbor.low());
        }
        if is_contested && !resolution.is_exact() {
            return refine_overlapping(query, &resolution, &nearest);
        }
        Ok(nearest.iter().map(|neighbor| (neighbor.item(), neighbor.distance)).collect())
    }
}

/// Sorts neighbors whose intervals overlap by definition.
#[cold]
#[inline(never)]
fn refine_overlapping(
    query: &impl Refine,
    resolution: &Resolution,
    mut left: &[Neighbor],
) -> Result<Vec<(ItemId, f32)>> {
    // Of each, the lowest end of those from it on.
    let mut lowest = vec![f64::INFINITY; left.len() + 1];
    for (at, neighbor) in left.iter().enumerate().rev() {
        lowest[at] = lowest[at + 1].min(neighbor.low());
    }
    let mut sorted = Vec::with_capacity(left.len());
    while let Some(first) = left.first() {
        let done = sorted.len();
        let is_last = |at: &usize| lowest[done + at + 1] > f64::from(left[*at].high());
        let count = (0..left.len()).find(is_last).map_or(left.len(), |last| last + 1);
        let (together, others) = left.split_at(count);
        if together.len() > 1 || resolution.is_doubtful(first.distance) {
            let refined = refine(query, together.to_vec())?.into_iter();
            sorted.extend(refined.map(|(precise, n)| (n.item(), resolution.rounded(precise))));
        } else {
            sorted.push((first.item(), first.distance));
        }
        left = others;
    }
    Ok(sorted)
}

/// Sorts neighbors by their distances by definition, ties by item id.
#[cold]
#[inline(never)]
fn refine(query: &impl Refine, mut neighbors: Vec<Neighbor>) -> Result<Vec<(f64, Neighbor)>> {
    // Copies of one vector are next to each other, and computed once.
    neighbors.sort_unstable_by(|a, b| a.distance.total_cmp(&b.distance).then(a.slot.cmp(&b.slot)));
    let mut refined: Vec<(f64, Neighbor)> = Vec::with_capacity(neighbors.len());
    for neighbor in neighbors {
        let precise = match refined.last() {
            Some((precise, last))
                if last.distance.to_bits() == neighbor.distance.to_bits()
                    && query.are_equal(last.slot, neighbor.slot)? =>
            {
                *precise
            }
            _ => query.precise(neighbor.slot)?,
        };
        refined.push((precise, neighbor));
    }
    refined.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.item().cmp(&b.1.item())));
    Ok(refined)
}

/// The results of one query so far, and their cost.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) top_k: TopK,
    /// How many distances were computed, not counting those that were computed again.
    pub(crate) distances: u64,
    /// How many distances were estimated from codes.
    pub(crate) estimates: u64,
    /// How many neighbor lists were read.
    pub(crate) lists: u64,
}

impl Found {
    pub(crate) fn nothing(wanted: impl Into<Wanted>, resolution: Resolution) -> Self {
        Self { top_k: TopK::new(wanted, resolution), distances: 0, estimates: 0, lists: 0 }
    }

    pub(crate) fn merge(mut self, query: &impl Refine, other: Self) -> Result<Self> {
        self.add_cost_of(&other);
        Ok(Self { top_k: self.top_k.merge(query, other.top_k)?, ..self })
    }

    /// Adds the cost of other work for the same query.
    pub(crate) fn add_cost_of(&mut self, other: &Self) {
        self.distances += other.distances;
        self.estimates += other.estimates;
        self.lists += other.lists;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::Components;
    use crate::distance::{
        Cosine, Distance, DotProduct, Euclidean, Finish, Hamming, Metric, by_finish,
    };

    /// The vectors of a search, as their distances by definition. Those of equal distances are
    /// equal vectors.
    struct Definitions(Vec<f64>);

    impl Refine for Definitions {
        fn precise(&self, slot: Slot) -> Result<f64> {
            Ok(self.0[slot.index()])
        }

        fn norm(&self, _slot: Slot) -> Result<f64> {
            Ok(NORM)
        }

        fn are_equal(&self, a: Slot, b: Slot) -> Result<bool> {
            Ok(self.0[a.index()] == self.0[b.index()])
        }
    }

    const DIMENSIONS: usize = 60_000;
    const NORM: f64 = 1.0;

    fn resolution<D: Distance>(largest_norm: f64) -> Resolution {
        let metric = Metric::of::<D>();
        let mut vector = vec![0.0; DIMENSIONS];
        vector[7] = 1.0;
        let (query, _) = metric.prepare(Components::of(&vector)).unwrap();
        Resolution::of(metric, &query, DIMENSIONS, largest_norm)
    }

    /// A neighbor: its distance by definition, and as a kernel might compute it.
    #[derive(Debug, Clone, Copy)]
    struct Offer {
        precise: f64,
        /// Before and after it was corrected.
        raw: f32,
        distance: f32,
    }

    fn offer<D: Distance>(resolution: &Resolution, precise: f64, off: f64) -> Offer {
        // Less than the bound, so that the sum is within it after rounding.
        let distance = precise as f32;
        let error = f64::from(resolution.high(distance)) - f64::from(distance);
        let raw = (precise + 0.6 * off * error) as f32;
        let is_vague = by_finish!(Metric::of::<D>(), F => F::is_vague(raw));
        Offer { precise, raw, distance: if is_vague { precise as f32 } else { raw } }
    }

    /// Searches the offers in this order, a part of them on each thread.
    fn found(
        resolution: Resolution,
        offers: &[Offer],
        order: &[usize],
        threads: usize,
        k: usize,
    ) -> Vec<(ItemId, f32)> {
        let query = Definitions(offers.iter().map(|offer| offer.precise).collect());
        let parts = order.chunks(order.len().div_ceil(threads).max(1)).map(|part| {
            let mut top_k = TopK::new(k, resolution);
            for at in part {
                let Offer { raw, distance, .. } = offers[*at];
                if top_k.may_keep(raw) {
                    top_k.offer(&query, Slot(*at as u32), *at as u32, distance).unwrap();
                }
            }
            top_k
        });
        let all = parts.reduce(|a, b| a.merge(&query, b).unwrap()).unwrap();
        all.into_sorted(&query).unwrap()
    }

    fn assert_by_definition<D: Distance>(
        precise: &[(f64, f64)],
        order: &[usize],
        threads: usize,
        k: usize,
    ) {
        let known = resolution::<D>(NORM);
        let offers: Vec<_> =
            precise.iter().map(|(precise, off)| offer::<D>(&known, *precise, *off)).collect();
        let mut expected: Vec<usize> = (0..offers.len()).collect();
        expected.sort_by(|a, b| offers[*a].precise.total_cmp(&offers[*b].precise));
        expected.truncate(k);
        let in_order: Vec<usize> = (0..offers.len()).collect();
        let alone = found(known, &offers, &in_order, 1, k);
        let items: Vec<usize> = alone.iter().map(|(item, _)| *item as usize).collect();
        assert_eq!(items, expected, "{}: {alone:?}", D::name());
        for (item, distance) in &alone {
            let off = (f64::from(*distance) - offers[*item as usize].precise).abs();
            assert!(
                off <= f64::from(known.high(*distance)) - f64::from(*distance),
                "{}",
                D::name()
            );
        }
        assert!(alone.is_sorted_by(|a, b| a.1 <= b.1), "{}: {alone:?}", D::name());
        for resolution in [known, resolution::<D>(f64::INFINITY)] {
            assert_eq!(found(resolution, &offers, order, threads, k), alone, "{}", D::name());
        }
    }

    proptest! {
        #[test]
        fn the_answer_is_by_definition_in_whatever_order_it_is_found(
            (steps, order) in prop::collection::vec((0..40u32, -1f64..1.0), 1..300)
                .prop_flat_map(|steps| {
                    let order: Vec<usize> = (0..steps.len()).collect();
                    (Just(steps), Just(order).prop_shuffle())
                }),
            threads in 1..4usize,
            k in prop::sample::select(&[1usize, 2, 10, 100, 400][..]),
            // From far apart for the error to equal.
            spread in prop::sample::select(&[1e-1, 1e-3, 1e-4, 3e-5, 1e-6, 1e-9, 0.0][..]),
            start in prop::sample::select(&[0.0, 1e-6, 1.2e-4, 0.3][..]),
        ) {
            let precise: Vec<_> = steps
                .iter()
                .map(|(step, off)| (start + f64::from(*step) * spread / 40.0, *off))
                .collect();
            assert_by_definition::<Euclidean>(&precise, &order, threads, k);
            assert_by_definition::<Cosine>(&precise, &order, threads, k);
            let negative: Vec<_> = precise.iter().map(|(d, off)| (*d - 0.15, *off)).collect();
            assert_by_definition::<DotProduct>(&negative, &order, threads, k);
            // Without an error.
            let rounded: Vec<_> =
                precise.iter().map(|(d, _)| (f64::from(*d as f32), 0.0)).collect();
            assert_by_definition::<Hamming>(&rounded, &order, threads, k);
        }
    }

    /// Where intervals do not overlap, nothing is computed again.
    #[test]
    fn distances_that_f32_tells_apart_are_not_computed_again() {
        struct Never;
        impl Refine for Never {
            fn precise(&self, slot: Slot) -> Result<f64> {
                panic!("slot {slot:?} is computed again")
            }

            fn norm(&self, slot: Slot) -> Result<f64> {
                panic!("the norm of slot {slot:?} is known")
            }

            fn are_equal(&self, _: Slot, _: Slot) -> Result<bool> {
                panic!("no distances are equal")
            }
        }
        for resolution in [resolution::<Euclidean>(NORM), resolution::<DotProduct>(NORM)] {
            let mut top_k = TopK::new(10, resolution);
            for i in (0..100).rev().chain(100..200) {
                let distance = 1.0 + i as f32 * 1e-3;
                if top_k.may_keep(distance) {
                    top_k.offer(&Never, Slot(i), i, distance).unwrap();
                }
            }
            assert!(top_k.contested.is_empty());
            let items: Vec<_> = top_k.into_sorted(&Never).unwrap();
            assert!(items.iter().map(|(item, _)| *item).eq(0..10), "{items:?}");
        }
    }

    #[test]
    fn nothing_is_the_top_0() {
        let mut none = TopK::new(0, resolution::<Euclidean>(NORM));
        let query = Definitions(vec![0.0]);
        assert!(!none.may_keep(0.0));
        none.offer(&query, Slot(0), 1, 0.0).unwrap();
        assert!(none.into_sorted(&query).unwrap().is_empty());
    }
}
