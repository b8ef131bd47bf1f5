//! The graph, as an algorithm: HNSW (Malkov and Yashunin 2018) over small view traits. No LMDB, no
//! bytes, no unsafe.
//!
//! - `beam`: the one search loop, for queries, construction and filters; with its candidate `pool`
//!   and its `visited` marks.
//! - `interleave`: several searches of one thread, each going on while the others wait.
//! - `prune`: which neighbors a node keeps.
//! - `insert`: batch-synchronous parallel construction (ParlayANN, Manohar et al. 2024), the same
//!   graph for any number of threads.
//! - `plan`: the limits of the lists of a build. `tree`: the spanning tree that keeps every node
//!   reachable.
//! - `delete`: taking nodes out, and mending what led over them.
//! - `locality`: an order in which neighbors are near each other.
//! - `working`: the lists that a build has changed, over the stored ones.
//!
//! Owns the invariant that every node can be reached: each layer has a tree of child edges that
//! pruning leaves alone. Distances are smaller for nearer vectors and finite; ties are broken by
//! slot.

pub(crate) mod beam;
pub(crate) mod delete;
pub(crate) mod insert;
pub(crate) mod interleave;
pub(crate) mod locality;
pub(crate) mod plan;
mod pool;
pub(crate) mod prune;
mod tree;
mod visited;
pub(crate) mod working;

pub(crate) use self::pool::Reach;
use crate::error::Result;
use crate::types::{Layer, Slot};

/// A graph that can be walked.
pub(crate) trait Graph {
    /// All slots that a list can name are below.
    fn slots(&self) -> usize;

    /// Whether so little of the graph will be walked that memory must not depend on its size.
    fn is_memory_bounded(&self) -> bool {
        false
    }

    /// Whether two nodes have the same vector, to the last bit.
    fn are_equal(&self, a: Slot, b: Slot) -> Result<bool>;

    /// Appends the slots that a node has edges to. All are below [`slots`](Self::slots).
    fn neighbors(&self, layer: Layer, slot: Slot, out: &mut Vec<u32>) -> Result<()>;

    /// A prefetch that the neighbors of a node may be asked for, if it is not known yet where they
    /// are.
    fn prefetch_place(&self, _layer: Layer, _slot: Slot) {}

    /// A prefetch that the neighbors of a node will be asked for soon.
    fn prefetch_neighbors(&self, _layer: Layer, _slot: Slot) {}
}

/// Distances from one vector, a query or a stored one.
pub(crate) trait DistanceComputer {
    /// Replaces `out` by the distances to `slots`, in order.
    fn distances(&self, slots: &[u32], out: &mut Vec<f32>) -> Result<()>;

    /// A prefetch that the distances to `slots` will be asked for next, if it is not known yet that
    /// all they are computed from is at hand.
    fn prefetch(&self, _slots: &[u32]) {}
}

/// Vectors that distances can be computed between.
pub(crate) trait Vectors: Sync {
    /// Replaces `out` by the distances from the vector of a slot to those of `slots`, in order.
    fn distances(&self, from: Slot, slots: &[u32], out: &mut Vec<f32>) -> Result<()>;

    /// Whether two slots have the same vector, to the last bit.
    fn are_equal(&self, a: Slot, b: Slot) -> Result<bool>;

    /// What gives numbers that order slots nearly as their distances from `from` do, in less time.
    /// `None` if there is nothing.
    fn estimator(&self, _from: Slot) -> Result<Option<Box<dyn DistanceComputer + '_>>> {
        Ok(None)
    }

    /// See [`DistanceComputer::prefetch`].
    fn prefetch(&self, _slots: &[u32]) {}
}

impl<P: DistanceComputer + ?Sized> DistanceComputer for &P {
    fn distances(&self, slots: &[u32], out: &mut Vec<f32>) -> Result<()> {
        (**self).distances(slots, out)
    }

    fn prefetch(&self, slots: &[u32]) {
        (**self).prefetch(slots);
    }
}

/// A query from the vector of a slot.
#[derive(Clone, Copy)]
struct FromSlot<'a>(&'a dyn Vectors, Slot);

impl DistanceComputer for FromSlot<'_> {
    fn distances(&self, slots: &[u32], out: &mut Vec<f32>) -> Result<()> {
        self.0.distances(self.1, slots, out)
    }

    fn prefetch(&self, slots: &[u32]) {
        self.0.prefetch(slots);
    }
}
