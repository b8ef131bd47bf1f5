//! What is asked of a search, beside the vectors.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use roaring::RoaringBitmap;

use crate::defaults;
use crate::types::ItemId;

/// What ends a search early: a value, so that a search is compiled once and not for each closure.
pub(crate) type Cancel<'a> = &'a (dyn Fn() -> bool + Sync);

/// The options of a query.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) k: usize,
    pub(crate) ef_search: usize,
    /// Only access paths whose answer is exact, or only others; `None` for the cheapest of all.
    pub(crate) exact: Option<bool>,
    /// The items that may be results, unless all may be.
    pub(crate) candidates: Option<&'a RoaringBitmap>,
    /// Whether to use the codes of the index, if it has any.
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

/// What a search asks as it goes: which items may be results, and whether to stop. Any thread may
/// look at it.
pub(crate) struct SearchContext<'a> {
    pub(crate) request: Request<'a>,
    /// The item that is searched by.
    excluded: Option<ItemId>,
    /// Whether `cancel` has said so: what it says later does not matter.
    cancelled: AtomicBool,
}

impl<'a> SearchContext<'a> {
    pub(crate) fn new(request: Request<'a>, excluded: Option<ItemId>) -> Self {
        Self { request, excluded, cancelled: AtomicBool::new(false) }
    }

    /// Whether to end the search here. Asks `cancel`: a walk once for each node that it expands on
    /// layer 0, a scan once for each piece of vectors.
    pub(crate) fn stop(&self) -> bool {
        if (self.request.cancel)() {
            self.cancelled.store(true, Ordering::Relaxed);
        }
        self.did_cancel()
    }

    /// Whether the search was ended early.
    pub(crate) fn did_cancel(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Whether an item may be a result.
    pub(crate) fn accepts(&self, item: ItemId) -> bool {
        self.request.candidates.is_none_or(|candidates| candidates.contains(item))
            && self.excluded != Some(item)
    }

    /// Whether every slot that is not removed is accepted, so that its item need not be known.
    pub(crate) fn accepts_all(&self) -> bool {
        self.request.candidates.is_none() && self.excluded.is_none()
    }
}
