//! Statistics of an index: for monitoring, and for deciding when to optimize.
//!
//! No counter is maintained: [`Stats`] are computed on request, in one pass over the values of the
//! index. O(values + edges), about 16 bytes of memory per slot. Figures that need no pass are in
//! [`Reader`](crate::Reader) and [`Environment`].

use super::figures::Figure;
use super::file::Environment;
use crate::codes::Codes;
use crate::format::Kind;
use crate::kinds::each_kind;
use crate::types::IndexKind;

macro_rules! stats {
    ($($(#[$about:meta])* $kind:ident $name:literal
        keys $keys:tt section $section:tt snapshot $snapshot:tt paths $paths:tt
        efforts $efforts:tt
        stats { $($(#[$doc:meta])* $field:ident: $type:ident in $($module:ident)::+;)* }
        invariants $invariants:tt)*
    ) => {
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
            /// Live items.
            pub items: u64,
            /// Pending items, which no build has linked yet: every search compares each of them.
            pub pending: u64,
            /// Removed slots (tombstones): nodes of the graph whose item was deleted or replaced
            /// since the last build.
            pub removed: u64,
            /// Slots allocated, in use or not.
            pub slots: u64,
            /// Free slots, which will be reused: [`optimize`](crate::Builder::optimize) gives back
            /// their space.
            pub free_slots: u64,
            /// The element type: see [`Reader::form`](crate::Reader::form).
            pub form: &'static str,
            /// Components that were clamped to the end of the range of an `i8` index: see
            /// [`Reader::saturated`](crate::Reader::saturated).
            pub saturated: u64,
            /// The range of an `i8` index, once it is trained.
            pub range: Option<RangeStats>,
            /// The kinds of the index: a kind of value, below, is another thing.
            pub index_kinds: Vec<IndexKind>,
            /// Vectors in the tail, in values of their own, because the last block is not full.
            pub tail: u64,
            /// M: the maximum degree of a node on each layer above the base. 0 until the first
            /// build, as are the next three.
            pub m: usize,
            /// M0: the maximum degree of a node on the base layer.
            pub m0: usize,
            /// The number of candidates that the last build kept while it searched for the
            /// neighbors of an item.
            pub ef_construction: usize,
            /// The pruning factor of the last build.
            pub alpha: f32,
            /// The quantized codes that searches use, if there are any.
            pub codes: Option<CodeStats>,
            $($($(#[$doc])* pub $field: Option<$($module)::+::$type>,)*)*
            /// The layers of the graph, starting with the base.
            pub layers: Vec<LayerStats>,
            /// Items that have a record.
            pub records: u64,
            /// Bytes of all records.
            pub record_bytes: u64,
            /// The size of each kind of value, in key order.
            pub kinds: Vec<KindStats>,
            /// The file of the index, with everything else in it.
            pub environment: Environment,
            /// The number of components of a vector.
            pub dimensions: usize,
            /// The budget of memory, in bytes: see [`Options::memory`](crate::Options::memory).
            pub memory_bytes: u64,
        }

        impl Stats {
            /// Statistics in which all is still to be counted but the values.
            pub(crate) fn new(kinds: Vec<KindStats>, environment: Environment) -> Self {
                Self {
                    items: 0,
                    pending: 0,
                    removed: 0,
                    slots: 0,
                    free_slots: 0,
                    form: "",
                    saturated: 0,
                    range: None,
                    index_kinds: Vec::new(),
                    tail: 0,
                    m: 0,
                    m0: 0,
                    ef_construction: 0,
                    alpha: 0.0,
                    codes: None,
                    layers: Vec::new(),
                    records: 0,
                    record_bytes: 0,
                    kinds,
                    environment,
                    dimensions: 0,
                    memory_bytes: 0,
                    $($($field: None,)*)*
                }
            }

            /// The figures of the structures that the kinds of the index have, by the names that
            /// the fields of the types of these have: for programs that show them all. No kinds
            /// that have no such type, or whose structures have not been made.
            #[must_use]
            pub fn figures(&self) -> Vec<(IndexKind, Vec<(&'static str, Figure)>)> {
                let all = [$($((IndexKind::$kind, self.$field.map(|found| found.figures())),)*)*];
                all.into_iter().filter_map(|(kind, figures)| Some((kind, figures?))).collect()
            }
        }
    };
}
each_kind!(stats);

/// The quantized codes of an index: see [`Codes`].
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct CodeStats {
    /// The kind of codes.
    pub codes: Codes,
    /// Number of vectors in the training sample, whose mean is the center.
    pub trained_on: u64,
    /// Codes that are still those of the training before: builds recode them, a few blocks each.
    pub older: u64,
    /// The mean squared distance of the sample from the center; of vectors normalized to length 1,
    /// where the metric compares directions.
    pub trained_spread: f64,
    /// The mean squared distance of all current vectors from the center.
    pub spread: f64,
    /// The relative error of the codes: the root mean square of the distance between a vector and
    /// its code, over that of the distance between the vector and the center.
    pub error: f64,
}

impl CodeStats {
    /// The mean squared distance of the vectors from the center, over that of the training sample:
    /// 1 if they are alike, infinite if only the sample had none. The squared error of an estimate
    /// grows by the same factor. Builds train anew when it pays, see
    /// [`Writer::set_codes`](crate::Writer::set_codes); [`optimize`](crate::Builder::optimize) does
    /// so at once.
    #[must_use]
    pub fn drift(&self) -> f64 {
        if self.spread == self.trained_spread { 1.0 } else { self.spread / self.trained_spread }
    }
}

/// The range of scalar quantization that an index of [`I8`](crate::codec::I8) was trained for, and
/// how it fits the vectors that are stored now.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct RangeStats {
    /// The smallest component that can be stored.
    pub lowest: f32,
    /// The largest component that can be stored.
    pub highest: f32,
    /// The difference between consecutive stored numbers: a component is rounded by up to half of
    /// it.
    pub step: f32,
    /// The relative error of a component that is rounded: that of
    /// [`TrainedRange::error`](crate::TrainedRange::error), for rows with the spread of the stored
    /// vectors. Infinite if most of a sample of them are equal, as are different vectors in too
    /// wide a range. Less if components are integers, or otherwise on the steps.
    pub error: f64,
    /// Saturated components, as [`Stats::saturated`] counts them since the last training, over all
    /// that are stored.
    pub saturated: f64,
}

/// One layer of the graph.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerStats {
    /// Number of nodes, removed ones included.
    pub nodes: u64,
    /// Degree histogram: the number of nodes with 0, 1, 2, ... edges.
    pub degrees: Vec<u64>,
    /// Edges without a reverse edge.
    pub one_way_edges: u64,
    /// Bytes of all neighbor lists: they are shorter where neighbors have slots near each other.
    pub list_bytes: u64,
    /// The depth of the spanning tree that keeps the layer connected, in edges from the root.
    pub tree_depth: u32,
}

impl LayerStats {
    /// The number of edges of all nodes.
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
    /// Number of values.
    pub values: u64,
    /// Bytes of all values with their keys, without LMDB's overhead.
    pub bytes: u64,
    /// Whether searches read these values from all over the index: see [`Stats::hot_bytes`].
    pub is_hot: bool,
}

impl Stats {
    /// Bytes of all values of the index with their keys, without LMDB's overhead.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.bytes).sum()
    }

    /// Bytes of the hot part: of the values that searches read from all over the index, however
    /// few items they return. These are the neighbor lists, the item ids and the codes, or, without
    /// codes, the vectors. They should fit into memory; a search that has to read them from disk
    /// waits some dozen times for it.
    #[must_use]
    pub fn hot_bytes(&self) -> u64 {
        self.kinds.iter().filter(|kind| kind.is_hot).map(|kind| kind.bytes).sum()
    }

    /// Bytes of all other values: with codes, those of the vectors, of which a search reads a few
    /// dozen.
    #[must_use]
    pub fn cold_bytes(&self) -> u64 {
        self.bytes() - self.hot_bytes()
    }
}
