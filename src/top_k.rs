//! Top-k: the `k` nearest of what a search comes across, ties by item id, and what it took to find
//! them.

use std::cmp;
use std::collections::BinaryHeap;

use crate::types::ItemId;

/// A top-k heap is allocated for at most this many results, and grows beyond.
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

/// Top-k: the `k` nearest of the neighbors that it is offered, in a heap.
#[derive(Debug)]
pub(crate) struct TopK {
    k: usize,
    /// The farthest on top.
    heap: BinaryHeap<Neighbor>,
}

impl TopK {
    pub(crate) fn new(k: usize) -> Self {
        Self { k, heap: BinaryHeap::with_capacity(k.min(USUAL_K)) }
    }

    /// Whether something at this distance may be kept.
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

    /// The distance beyond which nothing is kept, once there are `k`.
    #[inline]
    pub(crate) fn farthest(&self) -> Option<f32> {
        self.heap.peek().filter(|_| self.heap.len() >= self.k).map(|farthest| farthest.distance)
    }

    pub(crate) fn merge(mut self, other: Self) -> Self {
        other.heap.into_iter().for_each(|neighbor| self.offer(neighbor));
        self
    }

    /// The nearest first.
    pub(crate) fn into_sorted(self) -> Vec<(ItemId, f32)> {
        self.heap
            .into_sorted_vec()
            .into_iter()
            .map(|neighbor| (neighbor.item, neighbor.distance))
            .collect()
    }
}

/// What one query has found so far, and what that took.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) top_k: TopK,
    /// How many distances were computed.
    pub(crate) distances: u64,
    /// How many were estimated by codes.
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
