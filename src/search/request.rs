//! The request of a search: everything but the vectors.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use super::selection::{Restrictions, Selection};
use crate::defaults;
use crate::error::Result;
use crate::store::source::Source;
use crate::store::view::View;
use crate::types::{ItemId, Slot};

/// The cancel closure, as a trait object, so that a search is compiled once and not for each
/// closure.
pub(crate) type Cancel<'a> = &'a (dyn Fn() -> bool + Sync);

/// The options of a query.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) k: usize,
    pub(crate) ef_search: usize,
    /// Only exact access paths, or only the others; `None` for the cheapest of all.
    pub(crate) exact: Option<bool>,
    /// The items that may be results.
    pub(crate) restrictions: Restrictions<'a>,
    /// Whether to use the quantized codes of the index, if it has any.
    pub(crate) codes: bool,
    pub(crate) cancel: Cancel<'a>,
}

impl Request<'_> {
    pub(crate) fn new(k: usize) -> Self {
        Self {
            k,
            ef_search: defaults::EF_SEARCH,
            exact: None,
            restrictions: Restrictions::default(),
            codes: true,
            cancel: &|| false,
        }
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("k", &self.k)
            .field("ef_search", &self.ef_search)
            .field("exact", &self.exact)
            .field("restrictions", &self.restrictions)
            .field("codes", &self.codes)
            .finish_non_exhaustive()
    }
}

/// The filter and the stop condition of a search in progress. Threads share it.
pub(crate) struct SearchContext<'a> {
    pub(crate) request: Request<'a>,
    pub(crate) selection: Selection<'a>,
    /// Whether `cancel` has returned `true`; later return values do not matter.
    cancelled: AtomicBool,
}

impl<'a> SearchContext<'a> {
    /// Resolves the filter on a view. `own` is the slot that is the query of a search by item.
    pub(crate) fn new<'t, S: Source<'t>>(
        view: &View<'a, 't, S>,
        request: Request<'a>,
        own: Option<Slot>,
    ) -> Result<Self> {
        let selection = Selection::of(view, request.restrictions, own)?;
        Ok(Self { request, selection, cancelled: AtomicBool::new(false) })
    }

    /// Whether to end the search here. Calls `cancel`: a graph search does so before each expansion
    /// on layer 0, a scan before each block of about 64 vectors, and both before each call of a
    /// predicate.
    pub(crate) fn stop(&self) -> bool {
        if (self.request.cancel)() {
            self.cancelled.store(true, Ordering::Relaxed);
        }
        self.did_cancel()
    }

    /// Whether the search was cancelled.
    pub(crate) fn did_cancel(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Whether an item that would be a result may be one. Asks the predicate, if there is one.
    pub(crate) fn accepts(&self, slot: Slot, item: ItemId) -> Result<bool> {
        if !self.selection.admits(slot) {
            return Ok(false);
        }
        match self.selection.predicate() {
            Some(predicate) => Ok(!self.stop() && predicate(item)?),
            None => Ok(true),
        }
    }
}
