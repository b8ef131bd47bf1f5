//! What the end of a build does to the values of a section that edits cannot keep up alone.

use crate::store::GoOn;
use crate::store::source::AnySource;
use crate::store::target::Put;
use crate::store::view::View;

/// An index after all other changes of a build.
pub(crate) struct Upkeep<'a, 's, 't> {
    pub(crate) view: &'a View<'s, 't, AnySource<'a, 't>>,
    /// Whether everything is to be made anew.
    pub(crate) anew: bool,
    /// Whether to make values of the codes of the index, too. Where all slots are about to be
    /// renumbered, these are made after that.
    pub(crate) of_codes: bool,
    /// The seed of all that is random.
    pub(crate) seed: u64,
    /// Called at intervals; an error cancels the work.
    pub(crate) go_on: &'a GoOn<'a>,
}

/// About how much room the values of a section take, beyond what every index has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Footprint {
    /// Bytes of the file for each item. To make them takes twice as much memory: as computed, and
    /// as LMDB's pages.
    pub(crate) item: u64,
    /// Bytes of memory that this takes besides, times the square root of the number of items.
    pub(crate) root: u64,
}

/// The values that it has changed.
pub(crate) struct Upkept {
    pub(crate) puts: Vec<Put>,
    /// The new part of the section in META.
    pub(crate) part: Vec<u8>,
}
