//! The parameters of a build: the degree limits of its lists, the cancel and progress closures.

use super::prune::Limit;
use crate::error::{Error, Result};
use crate::types::Layer;

/// A list may exceed its limit by this fraction (1/4) of it between prunes, which makes prunes
/// rarer.
pub(super) const HEADROOM: usize = 4;
/// At most this fraction (1/2) of a list is child edges, so that the rest is for the search.
const CHILD_DIVISOR: usize = 2;
/// At most this fraction (1/2) of the children of a node are copies of it, so that others find room
/// there; but at least two may be, or copies would form a path.
const COPY_DIVISOR: usize = 2;
const MIN_COPIES: usize = 2;

/// The parameters of a build.
pub(crate) struct Plan<'a> {
    /// M0: the maximum degree on layer 0.
    pub(crate) m0: usize,
    /// M: the maximum degree on the layers above.
    pub(crate) m: usize,
    pub(crate) ef_construction: usize,
    pub(crate) alpha: f32,
    /// Whether so few items are linked that overflowing lists drop no more edges than they must:
    /// see [`Limit::fill`].
    pub(crate) is_small: bool,
    /// The most bytes that changed nodes may take, by [`Working::bytes`]: when they are reached,
    /// the remaining slots are not linked.
    ///
    /// [`Working::bytes`]: super::working::Working::bytes
    pub(crate) most_bytes: u64,
    /// Slots are linked one region of so many after the other, so that what is read lies together;
    /// within a region at random.
    pub(crate) region: usize,
    /// Whether to cancel. Called once for every slot searched and every list pruned or repaired.
    pub(crate) cancel: &'a (dyn Fn() -> bool + Sync),
    /// Called with the number of slots done.
    pub(crate) progress: &'a (dyn Fn(u64) + Sync),
}

impl Plan<'_> {
    /// The usual maximum length of a layer-0 list between prunes.
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
