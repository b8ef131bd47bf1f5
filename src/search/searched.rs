//! The answer of a search.

use crate::error::Result;
use crate::kinds::each_kind;
use crate::types::ItemId;

macro_rules! strategies {
    ($($(#[$about:meta])* $kind:ident $name:literal
        keys $keys:tt section $section:tt snapshot $snapshot:tt
        paths {
            $($(#[$doc:meta])* $path:ident $path_name:literal exact: $exact:literal, by: $by:expr;)*
        }
        efforts $efforts:tt stats $stats:tt invariants $invariants:tt)*
    ) => {
        /// The access path that answered a query.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Strategy {
            $($($(#[$doc])* $path,)*)*
        }

        impl Strategy {
            /// Its name, such as `"graph"`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $($(Self::$path => $path_name,)*)*
                }
            }

            /// Whether the answer is exact.
            #[must_use]
            pub fn is_exact(self) -> bool {
                match self {
                    $($(Self::$path => $exact,)*)*
                }
            }
        }
    };
}
each_kind!(strategies);

/// What an exact answer guarantees: see [`Searched::certificate`]. Of all `items` that may be
/// results, in the state of `snapshot`, no other one is nearer by the definition of the metric, in
/// `f64`, ties by item id: each was compared, or ruled out by the error bound of its code, which
/// always holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Certificate {
    /// [`Searched::snapshot`].
    pub snapshot: u64,
    /// [`Searched::possible`].
    pub items: u64,
    /// The number of them whose exact distance was computed.
    pub compared: u64,
    /// The number of those that their codes ruled out: no vector of them was read.
    pub ruled_out: u64,
}

/// The answer to a query. It names items by id, or by key where they have keys.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Searched<I = ItemId> {
    /// The items and their distances, the nearest first by the distance in `f64`, ties by item id.
    /// Results that `f32` cannot tell apart may have equal distances here. The documentation of
    /// each metric states the error of these.
    pub nns: Vec<(I, f32)>,
    /// The vectors of these items as stored, in the same order, if the query has asked for them by
    /// [`with_vectors`](crate::Query::with_vectors); else none.
    pub vectors: Vec<Vec<f32>>,
    /// The records of these items, in the same order, if the query has asked for them by
    /// [`with_records`](crate::Query::with_records): `None` for an item that has no record.
    pub records: Vec<Option<Vec<u8>>>,
    /// The snapshot that was searched: the number of its commit, counted over all indexes of the
    /// environment. A search inside a write transaction has the number of the commit to come.
    pub snapshot: u64,
    /// The number of items that could be results, as far as no predicate is asked: all of the
    /// index, or all that pass a filter. If a search of the graph has answered, and the filter is a
    /// bitmap of many ids that was given for this query alone, it is the most that there may be:
    /// such a search does not look up which of the ids the index has.
    pub possible: u64,
    /// Whether the search was cancelled, or ended by its deadline: these are then the nearest items
    /// seen so far.
    pub did_cancel: bool,
    /// Whether the [`deadline`](crate::Query::deadline) has ended the search: so
    /// [`did_cancel`](Self::did_cancel) is set, too.
    pub timed_out: bool,
    /// Whether there are more than `k` items [within the radius](crate::Query::within) of the
    /// query: these are the `k` nearest of them.
    pub has_more: bool,
    /// The access path that answered the query.
    pub strategy: Strategy,
    /// The number of distances computed, not counting those computed again in `f64`.
    pub distances: u64,
    /// The number of distances estimated from codes.
    pub estimates: u64,
    /// The number of lists read: a graph search reads the neighbor list of each node that it
    /// expands, a search of inverted lists those that it probes.
    pub lists: u64,
    /// The number of pending items of the index, which are not in the graph yet: a search scans
    /// them one by one. If it stays large, build, or call [`Index::link`](crate::Index::link).
    pub pending: u64,
}

impl<I> Searched<I> {
    /// The items and their distances, the nearest first, ties by item id.
    #[must_use]
    pub fn into_nns(self) -> Vec<(I, f32)> {
        self.nns
    }

    /// An empty answer, which took no distance computation.
    pub(crate) fn empty() -> Self {
        Self {
            nns: Vec::new(),
            vectors: Vec::new(),
            records: Vec::new(),
            snapshot: 0,
            possible: 0,
            did_cancel: false,
            timed_out: false,
            has_more: false,
            strategy: Strategy::All,
            distances: 0,
            estimates: 0,
            lists: 0,
            pending: 0,
        }
    }

    /// The same answer, with other names for the items.
    pub(crate) fn name<J>(self, mut name: impl FnMut(I) -> Result<J>) -> Result<Searched<J>> {
        let nns = self
            .nns
            .into_iter()
            .map(|(item, distance)| Ok((name(item)?, distance)))
            .collect::<Result<_>>()?;
        Ok(Searched {
            nns,
            vectors: self.vectors,
            records: self.records,
            snapshot: self.snapshot,
            possible: self.possible,
            did_cancel: self.did_cancel,
            timed_out: self.timed_out,
            has_more: self.has_more,
            strategy: self.strategy,
            distances: self.distances,
            estimates: self.estimates,
            lists: self.lists,
            pending: self.pending,
        })
    }

    /// Whether these are all items that the query asks for, for certain: the search was exact, ran
    /// to its end, and found no more than `k` items [within a radius](crate::Query::within), if
    /// there is one. Then without a radius these are the `k` nearest.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.strategy.is_exact() && !self.did_cancel && !self.has_more
    }

    /// What an exact answer guarantees. `None` unless [`is_complete`](Self::is_complete).
    ///
    /// ```
    /// use voisin::{Index, Options, distances::Euclidean};
    ///
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(1))?;
    /// index.write(|batch| batch.add_items_from((0..5000).map(|item| (item, [item as f32]))))?;
    /// let snapshot = index.snapshot()?;
    /// let exact = snapshot.search(3).exact().by_vector(&[6.9])?;
    /// let certificate = exact.certificate().unwrap();
    /// assert_eq!((certificate.snapshot, certificate.items), (snapshot.commit(), 5000));
    /// assert_eq!(certificate.compared + certificate.ruled_out, 5000);
    /// assert!(snapshot.search(3).walk_graph().by_vector(&[6.9])?.certificate().is_none());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn certificate(&self) -> Option<Certificate> {
        self.is_complete().then(|| Certificate {
            snapshot: self.snapshot,
            items: self.possible,
            compared: self.distances.min(self.possible),
            ruled_out: self.possible.saturating_sub(self.distances),
        })
    }

    /// Whether the search was cancelled.
    #[must_use]
    pub fn did_cancel(&self) -> bool {
        self.did_cancel
    }
}
