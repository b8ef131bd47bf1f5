//! How a graph is built: the limits of its lists, and who is told and asked meanwhile.

use super::prune::Limit;
use crate::error::{Error, Result};
use crate::types::Layer;

/// How far a list may exceed its limit between prunes, in parts of the limit. Prunes become rarer
/// by as many edges as it takes to get there.
pub(super) const HEADROOM: usize = 4;
/// At most this part of a list is child edges, so that most of it is for the search.
const CHILD_DIVISOR: usize = 2;
/// At most this part of the children of a node are copies of it, so that others find room there;
/// but two may be, or they would make a path.
const COPY_DIVISOR: usize = 2;
const MIN_COPIES: usize = 2;

/// How to build.
pub(crate) struct Plan<'a> {
    /// The longest list on layer 0.
    pub(crate) m0: usize,
    /// The longest list above.
    pub(crate) m: usize,
    pub(crate) ef_construction: usize,
    pub(crate) alpha: f32,
    /// Whether so little is linked that lists which overflow lose no more than they must: see
    /// [`Limit::fill`].
    pub(crate) is_small: bool,
    /// Whether to give up. Asked once a slot.
    pub(crate) cancel: &'a (dyn Fn() -> bool + Sync),
    /// Told how many slots are done.
    pub(crate) progress: &'a (dyn Fn(u64) + Sync),
}

impl Plan<'_> {
    /// The longest list of layer 0 between prunes, mostly.
    pub(crate) fn longest(&self) -> usize {
        self.m0 + self.m0 / HEADROOM
    }

    pub(super) fn limit(&self, layer: Layer) -> Limit {
        Limit {
            degree: if layer.0 == 0 { self.m0 } else { self.m },
            alpha: self.alpha,
            fill: false,
        }
    }

    pub(super) fn max_children(&self, layer: Layer) -> usize {
        (self.limit(layer).degree / CHILD_DIVISOR).max(1)
    }

    pub(super) fn max_copies(&self, layer: Layer) -> usize {
        (self.max_children(layer) / COPY_DIVISOR).max(MIN_COPIES)
    }

    pub(crate) fn check_cancelled(&self) -> Result<()> {
        if (self.cancel)() { Err(Error::Cancelled) } else { Ok(()) }
    }
}
