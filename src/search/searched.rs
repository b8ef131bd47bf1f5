//! The answer of a search.

use crate::error::Result;
use crate::types::ItemId;

/// The access path that answered a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Strategy {
    /// A search of the graph, plus a scan of the pending items.
    Graph,
    /// An exact scan of all live vectors (brute force).
    All,
    /// An exact scan of all candidates (prefilter).
    Candidates,
}

impl Strategy {
    /// Whether the answer is exact.
    #[must_use]
    pub fn is_exact(self) -> bool {
        match self {
            Self::Graph => false,
            Self::All | Self::Candidates => true,
        }
    }
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
    /// The number of neighbor lists read: a graph search reads one for each node that it expands.
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

    /// Whether the search was cancelled.
    #[must_use]
    pub fn did_cancel(&self) -> bool {
        self.did_cancel
    }
}
