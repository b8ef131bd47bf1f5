//! Top-k: the `k` nearest of the items that a search computes distances to, ties broken by item id,
//! and the cost of finding them.

use std::cmp;
use std::collections::BinaryHeap;

use crate::types::ItemId;

/// The initial capacity of a top-k heap, in results; it grows beyond that.
const USUAL_K: usize = 128;

/// A result.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Neighbor {
    pub(crate) distance: f32,
    pub(crate) item: ItemId,
}

impl Ord for Neighbor {
    fn cmp(&self, other: &Self) -> cmp::Ordering {
        self.distance.total_cmp(&other.distance).then(self.item.cmp(&other.item))
    }
}

impl PartialOrd for Neighbor {
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

/// Top-k: a heap of the `k` nearest neighbors that it is offered.
#[derive(Debug)]
pub(crate) struct TopK {
    k: usize,
    /// A max-heap: the farthest is on top.
    heap: BinaryHeap<Neighbor>,
}

impl TopK {
    pub(crate) fn new(k: usize) -> Self {
        Self { k, heap: BinaryHeap::with_capacity(k.min(USUAL_K)) }
    }

    /// Whether a neighbor at this distance might be kept.
    #[inline]
    pub(crate) fn may_keep(&self, distance: f32) -> bool {
        self.heap.len() < self.k
            || self.heap.peek().is_some_and(|farthest| distance <= farthest.distance)
    }

    #[inline]
    pub(crate) fn offer(&mut self, neighbor: Neighbor) {
        if self.heap.len() < self.k {
            self.heap.push(neighbor);
        } else if let Some(mut farthest) = self.heap.peek_mut()
            && neighbor < *farthest
        {
            *farthest = neighbor;
        }
    }

    /// The distance of the `k`-th neighbor, beyond which nothing is kept. `None` while there are
    /// fewer than `k`.
    #[inline]
    pub(crate) fn farthest(&self) -> Option<f32> {
        self.heap.peek().filter(|_| self.heap.len() >= self.k).map(|farthest| farthest.distance)
    }

    pub(crate) fn merge(mut self, other: Self) -> Self {
        other.heap.into_iter().for_each(|neighbor| self.offer(neighbor));
        self
    }

    /// Sorted, the nearest first.
    pub(crate) fn into_sorted(self) -> Vec<(ItemId, f32)> {
        self.heap
            .into_sorted_vec()
            .into_iter()
            .map(|neighbor| (neighbor.item, neighbor.distance))
            .collect()
    }
}

/// The results of one query so far, and their cost.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) top_k: TopK,
    /// How many distances were computed.
    pub(crate) distances: u64,
    /// How many distances were estimated from codes.
    pub(crate) estimates: u64,
}

impl Found {
    pub(crate) fn nothing(k: usize) -> Self {
        Self { top_k: TopK::new(k), distances: 0, estimates: 0 }
    }

    pub(crate) fn merge(self, other: Self) -> Self {
        Self {
            top_k: self.top_k.merge(other.top_k),
            distances: self.distances + other.distances,
            estimates: self.estimates + other.estimates,
        }
    }
}
