//! The HNSW graph (Malkov and Yashunin 2018) as an algorithm over small view traits. No LMDB, no
//! bytes, no unsafe.
//!
//! - `beam`: the beam search loop of queries and construction, with its candidate `pool` and its
//!   `visited` set; `filtered`: the same where only some nodes may be results.
//! - `frontier`: best-first search without an `ef`, for searches that do not know how far they will
//!   go: within a radius, page by page.
//! - `interleave`: interleaves several searches on one thread, to hide memory latency.
//! - `prune`: selects the neighbors that a node keeps; `products`: what differs where distances are
//!   negated inner products.
//! - `insert`: batch-synchronous parallel construction (ParlayANN, Manohar et al. 2024), which
//!   gives the same graph for any number of threads.
//! - `plan`: the degree limits of a build. `tree`: the spanning tree that keeps every node
//!   reachable.
//! - `delete`: removes nodes, and repairs the edges and the tree around them.
//! - `locality`: orders nodes so that neighbors are near each other.
//! - `working`: the neighbor lists that a build has changed, over the stored ones; `edge`: an entry
//!   of one; `grown`: the edges that a build in bounded memory adds to stored lists.
//!
//! This room owns the invariant that every node is reachable: each layer has a spanning tree of
//! child edges, which pruning never removes. A smaller distance means nearer; distances are finite;
//! ties are broken by slot.

pub(crate) mod beam;
pub(crate) mod delete;
mod detours;
mod edge;
pub(crate) mod filtered;
pub(crate) mod frontier;
mod grown;
pub(crate) mod insert;
pub(crate) mod interleave;
pub(crate) mod locality;
pub(crate) mod plan;
mod pool;
mod products;
pub(crate) mod prune;
mod tree;
mod visited;
pub(crate) mod working;

pub(crate) use self::pool::{Candidate, Reach, order};
use crate::error::Result;
use crate::types::{Layer, Slot};

/// A graph that can be searched.
pub(crate) trait Graph {
    /// An upper bound, exclusive, of the slots in neighbor lists.
    fn slots(&self) -> usize;

    /// Whether the search visits so little of the graph that its memory must not depend on its
    /// size.
    fn is_memory_bounded(&self) -> bool {
        false
    }

    /// Whether two nodes have the same vector, bit for bit.
    fn are_equal(&self, a: Slot, b: Slot) -> Result<bool>;

    /// Appends the neighbors of a node. All are below [`slots`](Self::slots).
    fn neighbors(&self, layer: Layer, slot: Slot, out: &mut Vec<u32>) -> Result<()>;

    /// Prefetches the pointer to a node's neighbor list, which may be read next, if it is not known
    /// yet where the list is.
    fn prefetch_place(&self, _layer: Layer, _slot: Slot) {}

    /// Prefetches a node's neighbor list, which will be read soon.
    fn prefetch_neighbors(&self, _layer: Layer, _slot: Slot) {}

    /// Whether lists, or what distances are computed from, may have to be read from disk. Then a
    /// search fetches them in batches, and nothing is prefetched by touching it.
    #[inline(always)]
    fn is_cold(&self) -> bool {
        false
    }

    /// Whether a node's neighbor list is in memory, as far as is known.
    fn has_list(&self, _layer: Layer, _slot: Slot) -> bool {
        true
    }

    /// Starts reading the neighbor lists of nodes from disk, all at a time; whether any was not in
    /// memory.
    fn fetch_lists(&self, _layer: Layer, _slots: &[u32]) -> bool {
        false
    }
}

/// Computes distances from one vector, a query or a stored one.
pub(crate) trait DistanceComputer {
    /// Replaces `out` by the distances to `slots`, in order.
    fn distances(&self, slots: &[u32], out: &mut Vec<f32>) -> Result<()>;

    /// Prefetches what the distances to `slots`, which are computed next, are computed from, unless
    /// it is known to be in the cache.
    fn prefetch(&self, _slots: &[u32]) {}

    /// Whether what the distances to `slots` are computed from is in memory, as far as is known.
    fn has(&self, _slots: &[u32]) -> bool {
        true
    }

    /// Starts reading it from disk, all at a time; whether any was not in memory.
    fn fetch(&self, _slots: &[u32]) -> bool {
        false
    }

    /// Waits until it has been read, if it was asked for: once, where touching one after the other
    /// would wait for each.
    fn wait(&self, _slots: &[u32]) {}
}

/// Vectors between which distances can be computed.
pub(crate) trait Vectors: Sync {
    /// Replaces `out` by the distances from the vector of a slot to those of `slots`, in order.
    fn distances(&self, from: Slot, slots: &[u32], out: &mut Vec<f32>) -> Result<()>;

    /// Whether two slots have the same vector, bit for bit.
    fn are_equal(&self, a: Slot, b: Slot) -> Result<bool>;

    /// Estimates that order slots nearly as their distances from `from` do, in less time. `None` if
    /// there is no such estimator.
    fn estimator(&self, _from: Slot) -> Result<Option<Box<dyn DistanceComputer + '_>>> {
        Ok(None)
    }

    /// See [`DistanceComputer::prefetch`].
    fn prefetch(&self, _slots: &[u32]) {}

    /// See [`DistanceComputer::has`].
    fn has(&self, _slots: &[u32]) -> bool {
        true
    }

    /// See [`DistanceComputer::fetch`].
    fn fetch(&self, _slots: &[u32]) -> bool {
        false
    }

    /// See [`DistanceComputer::wait`].
    fn wait(&self, _slots: &[u32]) {}

    /// Looks again at what is believed to be in memory, if much has been read since.
    fn look_again(&self) {}

    /// Whether distances are negated inner products: see `products`.
    fn are_products(&self) -> bool {
        false
    }
}

impl<P: DistanceComputer + ?Sized> DistanceComputer for &P {
    fn distances(&self, slots: &[u32], out: &mut Vec<f32>) -> Result<()> {
        (**self).distances(slots, out)
    }

    fn prefetch(&self, slots: &[u32]) {
        (**self).prefetch(slots);
    }

    fn has(&self, slots: &[u32]) -> bool {
        (**self).has(slots)
    }

    fn fetch(&self, slots: &[u32]) -> bool {
        (**self).fetch(slots)
    }

    fn wait(&self, slots: &[u32]) {
        (**self).wait(slots);
    }
}

/// Computes distances from the vector of a slot.
#[derive(Clone, Copy)]
struct FromSlot<'a>(&'a dyn Vectors, Slot);

impl DistanceComputer for FromSlot<'_> {
    fn distances(&self, slots: &[u32], out: &mut Vec<f32>) -> Result<()> {
        self.0.distances(self.1, slots, out)
    }

    fn prefetch(&self, slots: &[u32]) {
        self.0.prefetch(slots);
    }

    fn has(&self, slots: &[u32]) -> bool {
        self.0.has(slots)
    }

    fn fetch(&self, slots: &[u32]) -> bool {
        self.0.fetch(slots)
    }

    fn wait(&self, slots: &[u32]) {
        self.0.wait(slots);
    }
}
