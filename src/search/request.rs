//! The request of a search: everything but the vectors.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use roaring::RoaringBitmap;

use crate::defaults;
use crate::types::ItemId;

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
    /// The items that may be results (prefilter); `None` for all.
    pub(crate) candidates: Option<&'a RoaringBitmap>,
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
            candidates: None,
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
            .field("candidates", &self.candidates)
            .field("codes", &self.codes)
            .finish_non_exhaustive()
    }
}

/// The filter and the stop condition of a search in progress. Threads share it.
pub(crate) struct SearchContext<'a> {
    pub(crate) request: Request<'a>,
    /// The item that is the query of a search by item.
    excluded: Option<ItemId>,
    /// Whether `cancel` has returned `true`; later return values do not matter.
    cancelled: AtomicBool,
}

impl<'a> SearchContext<'a> {
    pub(crate) fn new(request: Request<'a>, excluded: Option<ItemId>) -> Self {
        Self { request, excluded, cancelled: AtomicBool::new(false) }
    }

    /// Whether to end the search here. Calls `cancel`: a graph search does so before each expansion
    /// on layer 0, a scan before each block of about 64 vectors.
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

    /// Whether an item may be a result.
    pub(crate) fn accepts(&self, item: ItemId) -> bool {
        self.request.candidates.is_none_or(|candidates| candidates.contains(item))
            && self.excluded != Some(item)
    }

    /// Whether every slot that is not removed is accepted, so that the filter needs no item id.
    pub(crate) fn accepts_all(&self) -> bool {
        self.request.candidates.is_none() && self.excluded.is_none()
    }
}
