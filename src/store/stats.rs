//! What an index is made of, in numbers: for watching it, and for knowing when it is worth
//! optimizing.
//!
//! Nothing here is kept up to date anywhere: [`Stats`] are counted when they are asked for, in one
//! pass over the values of the index. O(values + edges), about 16 bytes of memory a slot. What is
//! known without a pass is in [`Reader`](crate::Reader) and [`Environment`].

use super::file::Environment;
use crate::codes::Codes;
use crate::format::Kind;

/// An index in numbers: see [`Reader::stats`](crate::Reader::stats).
///
/// ```
/// use voisin::{Index, Options, distances::Euclidean};
///
/// # fn main() -> voisin::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(1))?;
/// index.write(|batch| batch.add_items_from((0..3000).map(|item| (item, [item as f32]))))?;
/// index.write(|batch| batch.delete_items(0..1000))?;
/// let stats = index.stats()?;
/// assert_eq!((stats.items, stats.slots, stats.m0), (2000, 3000, 32));
/// let base = &stats.layers[0];
/// println!("{} edges a node", base.edges() as f64 / base.nodes as f64);
/// for kind in &stats.kinds {
///     println!("{:?}: {} values, {} bytes", kind.kind, kind.values, kind.bytes);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Items that can be found.
    pub items: u64,
    /// Those of them that no build has linked yet: every search compares them one by one.
    pub pending: u64,
    /// Places in the graph of items that were deleted or replaced since the last build.
    pub removed: u64,
    /// Places for vectors that have been given out, in use or not.
    pub slots: u64,
    /// Those of them that wait to be used again: [`optimize`](crate::Builder::optimize) gives back
    /// their room.
    pub free_slots: u64,
    /// What vectors are stored as: see [`Reader::form`](crate::Reader::form).
    pub form: &'static str,
    /// Components that were stored as the end of the range of an index of `i8`: see
    /// [`Reader::saturated`](crate::Reader::saturated).
    pub saturated: u64,
    /// Vectors that lie in values of their own, because the last block is not full.
    pub tail: u64,
    /// M: the most neighbors of a node on each layer above the base. 0 until the first build, as
    /// are the next three.
    pub m: usize,
    /// M0: the most neighbors of a node on the base layer.
    pub m0: usize,
    /// How many candidates the last build kept while it looked for the neighbors of an item.
    pub ef_construction: usize,
    /// The pruning factor of the last build.
    pub alpha: f32,
    /// The codes that searches go by, if there are any.
    pub codes: Option<CodeStats>,
    /// The layers of the graph, the base first.
    pub layers: Vec<LayerStats>,
    /// What each kind of value takes, in the order of the keys.
    pub kinds: Vec<KindStats>,
    /// The file that the index lies in, with all else that does.
    pub environment: Environment,
}

/// The codes of an index: see [`Codes`].
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct CodeStats {
    /// Which they are.
    pub codes: Codes,
    /// How many vectors the center was taken from that codes count from.
    pub trained_on: u64,
    /// The mean square of the distances of those from the center; of directions of length 1, where
    /// the metric compares those.
    pub trained_spread: f64,
    /// The same of all vectors that are there now.
    pub spread: f64,
    /// The relative error of the codes: the root mean square of the distance between a vector and
    /// its code, over the distance between the vector and the center.
    pub error: f64,
}

impl CodeStats {
    /// The mean squared distance of the vectors from the center, over that of the vectors the codes
    /// were trained on: 1 if they are alike. The squared error of an estimate grows by the same
    /// factor. From about 1.5 on, [`optimize`](crate::Builder::optimize) pays, which trains anew.
    #[must_use]
    pub fn drift(&self) -> f64 {
        if self.trained_spread > 0.0 { self.spread / self.trained_spread } else { 1.0 }
    }
}

/// One layer of the graph.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerStats {
    /// Items and removed ones that it holds.
    pub nodes: u64,
    /// How many nodes have 0, 1, 2, ... edges to others.
    pub degrees: Vec<u64>,
    /// Edges without an edge back.
    pub one_way_edges: u64,
    /// Bytes of all neighbor lists: fewer where the neighbors of a node have numbers near each
    /// other.
    pub list_bytes: u64,
    /// Edges from the root to the node that is farthest from it in the tree that keeps the layer
    /// connected.
    pub tree_depth: u32,
}

impl LayerStats {
    /// Edges of all nodes.
    #[must_use]
    pub fn edges(&self) -> u64 {
        self.degrees.iter().zip(0..).map(|(nodes, degree): (&u64, u64)| nodes * degree).sum()
    }
}

/// The values of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct KindStats {
    /// The kind: `docs/format.md` says what its values hold.
    pub kind: Kind,
    /// How many values there are.
    pub values: u64,
    /// Bytes of all of them with their keys; LMDB's own come on top.
    pub bytes: u64,
}

impl Stats {
    /// Bytes of all values of the index with their keys; LMDB's own come on top.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.bytes).sum()
    }
}
