//! What a search answers.

use crate::error::Result;
use crate::types::ItemId;

/// How a query was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Strategy {
    /// The graph was walked; pending items were compared beside it.
    Graph,
    /// All live vectors were compared: the answer is exact.
    All,
    /// All candidates were compared: the answer is exact.
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

/// The answer to a query. It names items by their ids, or by their keys where they have any.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Searched<I = ItemId> {
    /// Items and their distances, the nearest first, ties by item id.
    pub nns: Vec<(I, f32)>,
    /// Whether the search was cancelled: then these are the nearest of what had been seen.
    pub did_cancel: bool,
    /// How it was answered.
    pub strategy: Strategy,
    /// How many distances were computed.
    pub distances: u64,
    /// How many distances were estimated by codes.
    pub estimates: u64,
    /// How many items of the index were pending, that is, in no graph yet: a search compares them
    /// one by one. A number that stays large wants a build, or [`Index::link`](crate::Index::link).
    pub pending: u64,
}

impl<I> Searched<I> {
    /// Items and their distances, the nearest first, ties by item id.
    #[must_use]
    pub fn into_nns(self) -> Vec<(I, f32)> {
        self.nns
    }

    /// No answer, for no distance.
    pub(crate) fn empty() -> Self {
        Self {
            nns: Vec::new(),
            did_cancel: false,
            strategy: Strategy::All,
            distances: 0,
            estimates: 0,
            pending: 0,
        }
    }

    /// The same with other names for the items.
    pub(crate) fn name<J>(self, mut name: impl FnMut(I) -> Result<J>) -> Result<Searched<J>> {
        let Self { nns, did_cancel, strategy, distances, estimates, pending } = self;
        let nns = nns
            .into_iter()
            .map(|(item, distance)| Ok((name(item)?, distance)))
            .collect::<Result<_>>()?;
        Ok(Searched { nns, did_cancel, strategy, distances, estimates, pending })
    }

    /// Whether the search was cancelled.
    #[must_use]
    pub fn did_cancel(&self) -> bool {
        self.did_cancel
    }
}
