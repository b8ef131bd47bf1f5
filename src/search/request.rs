//! The request of a search: everything but the vectors.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use super::beside::Beside;
use super::deadline::{Deadline, Due};
use super::effort::{check_goal, ef_for};
use super::paths::PATHS;
use super::selection::{Items, Restrictions, Selection};
use crate::defaults;
use crate::distance::Metric;
use crate::error::{Error, Result};
use crate::format::meta::Meta;
use crate::graph::working::Working;
use crate::store::sections::list::index_kinds;
use crate::store::source::Source;
use crate::store::view::View;
use crate::top_k::Wanted;
use crate::types::{IndexKind, ItemId, Slot, names};

/// The cancel closure, as a trait object, so that a search is compiled once and not for each
/// closure.
pub(crate) type Cancel<'a> = &'a (dyn Fn() -> bool + Sync);

/// How much searches of each kind of index do, in its own measure, where that was set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Efforts([Option<u32>; IndexKind::ALL.len()]);

impl Efforts {
    pub(crate) fn of(&self, kind: IndexKind) -> Option<usize> {
        self.0.get(kind as usize).copied().flatten().map(|effort| effort as usize)
    }

    pub(crate) fn set(&mut self, kind: IndexKind, effort: usize) {
        if let Some(stored) = self.0.get_mut(kind as usize) {
            *stored = Some(u32::try_from(effort).unwrap_or(u32::MAX));
        }
    }
}

/// The options of a query.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) k: usize,
    pub(crate) ef_search: usize,
    /// The same for other kinds of index.
    pub(crate) efforts: Efforts,
    /// The recall that these follow from, by the calibration of the index.
    pub(crate) recall: Option<f64>,
    /// Only exact access paths, or only the others; `None` for the cheapest of all.
    pub(crate) exact: Option<bool>,
    /// Only the access paths of this kind, as long as one of them can answer.
    pub(crate) kind: Option<IndexKind>,
    /// The items that may be results.
    pub(crate) restrictions: Restrictions<'a>,
    /// Whether to use the quantized codes of the index, if it has any.
    pub(crate) codes: bool,
    /// Compares by this metric instead of that of the index: by the exact paths, without codes.
    pub(crate) metric: Option<&'static Metric>,
    pub(crate) cancel: Cancel<'a>,
    pub(crate) deadline: Option<Deadline>,
    /// Only items no farther than this may be results.
    pub(crate) within: Option<f32>,
    /// Whether to count results instead of returning them: by exact access paths only.
    pub(crate) counts: bool,
    /// What answers have beside items and distances.
    pub(crate) beside: Beside,
}

impl Request<'_> {
    pub(crate) fn new(k: usize) -> Self {
        Self {
            k,
            ef_search: defaults::EF_SEARCH,
            efforts: Efforts::default(),
            recall: None,
            exact: None,
            kind: None,
            restrictions: Restrictions::default(),
            codes: true,
            metric: None,
            cancel: &|| false,
            deadline: None,
            within: None,
            counts: false,
            beside: Beside::NOTHING,
        }
    }

    /// The same for a search that starts now: its time begins to run.
    pub(crate) fn started(self) -> Self {
        let deadline = self.deadline.and_then(Deadline::of_now).map(Deadline::from);
        Self { deadline, ..self }
    }

    /// # Errors
    /// [`Error::InvalidParameter`] for an effort of zero, of any kind of index: the cheapest one
    /// answers, and that may be another one today.
    fn check_efforts(&self) -> Result<()> {
        if self.ef_search > 0 && !self.efforts.0.contains(&Some(0)) {
            return Ok(());
        }
        let is_zero = |kind| match kind {
            IndexKind::Hnsw => self.ef_search == 0,
            other => self.efforts.of(other) == Some(0),
        };
        for path in PATHS.iter().filter(|path| is_zero(path.kind())) {
            if let Some(of) = path.parameters().first() {
                let (name, remedy) = (of.name, of.remedy);
                return Err(Error::InvalidParameter { name, value: 0.0, remedy });
            }
        }
        Ok(())
    }

    /// The same with the `ef_search` by which a search of the graph reaches the goal of recall. An
    /// index that has no calibration, of the kind that is asked for or of any, is searched exactly.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`].
    fn with_effort(self, meta: &Meta) -> Result<Self> {
        self.check_efforts()?;
        let Some(recall) = self.recall else { return Ok(self) };
        check_goal(recall)?;
        let is_known =
            PATHS.iter().any(|path| self.asks_for(path.kind()) && path.is_calibrated(meta));
        if recall == 1.0 || !is_known {
            return Ok(Self { exact: self.exact.or(Some(true)), ..self });
        }
        let ef = |known| ef_for(known, self.k, recall, meta.items);
        Ok(Self { ef_search: meta.calibration.as_ref().map_or(self.ef_search, ef), ..self })
    }

    /// Whether paths of a kind may answer it.
    pub(super) fn asks_for(&self, kind: IndexKind) -> bool {
        self.kind.is_none_or(|asked| asked == kind)
    }

    /// The same for an index that has the kind that is asked for.
    ///
    /// # Errors
    /// [`Error::KindMismatch`].
    fn of_kind(self, index: u16, meta: &Meta) -> Result<Self> {
        let Some(kind) = self.kind else { return Ok(self) };
        let has = index_kinds(meta);
        if !has.contains(&kind) {
            let (has, action) = (names(&has), "searched");
            return Err(Error::KindMismatch { index, name: None, kind, has, action });
        }
        // A scan is exact.
        let exact = if kind == IndexKind::Flat { Some(true) } else { self.exact };
        Ok(Self { exact, ..self })
    }

    /// When a search that starts now must have ended.
    pub(crate) fn due(&self) -> Due {
        Due(self.deadline.and_then(Deadline::of_now))
    }

    /// What a search for `k` results keeps.
    pub(crate) fn wanted(&self, k: usize) -> Wanted {
        Wanted { k, radius: self.within.unwrap_or(f32::INFINITY), counts: self.counts }
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("k", &self.k)
            .field("ef_search", &self.ef_search)
            .field("efforts", &self.efforts)
            .field("recall", &self.recall)
            .field("exact", &self.exact)
            .field("kind", &self.kind)
            .field("restrictions", &self.restrictions)
            .field("codes", &self.codes)
            .field("deadline", &self.deadline)
            .field("within", &self.within)
            .field("beside", &self.beside)
            .finish_non_exhaustive()
    }
}

/// The filter and the stop condition of a search in progress. Threads share it.
pub(crate) struct SearchContext<'a> {
    pub(crate) request: Request<'a>,
    pub(crate) selection: Selection<'a>,
    /// The graph that is searched, in place of the stored one.
    pub(super) overlay: Option<&'a Working<'a>>,
    /// Whether `cancel` has returned `true`; later return values do not matter.
    cancelled: AtomicBool,
    /// When the search must have ended, and whether it was ended by that.
    due: Due,
    late: AtomicBool,
}

impl<'a> SearchContext<'a> {
    /// Resolves the restrictions on a view. `own` is the slot that is the query of a search by
    /// item. If the deadline passes meanwhile, nothing may be a result: what was resolved until
    /// then may lack exclusions.
    pub(crate) fn new<'t, S: Source<'t>>(
        view: &View<'a, 't, S>,
        request: Request<'a>,
        own: Option<Slot>,
    ) -> Result<Self> {
        let meta = &view.snapshot.meta;
        let request = request.of_kind(view.snapshot.index, meta)?.with_effort(meta)?;
        // Graphs, lists, hashes and codes are those of the metric of the index.
        let request = match view.has_other_metric() {
            true => Request { exact: Some(true), codes: false, ..request },
            false => request,
        };
        let due = request.due();
        let selection = Selection::of(view, request.restrictions, own, due)?;
        let mut context = Self { due, ..Self::with(request, selection) };
        if request.restrictions.are_looked_up() && context.has_expired() {
            context.selection = Selection::nothing();
        }
        Ok(context)
    }

    /// The same for candidates alone that are given by many ids, without resolving them. `None` for
    /// other restrictions.
    pub(super) fn unresolved<'t, S: Source<'t>>(
        view: &View<'a, 't, S>,
        request: Request<'a>,
        own: Option<Slot>,
    ) -> Result<Option<Self>> {
        let Restrictions {
            candidates: Some(Items::Ids(ids)),
            prefix: None,
            excluded: None,
            predicate: None,
        } = request.restrictions
        else {
            return Ok(None);
        };
        let meta = &view.snapshot.meta;
        let request = request.of_kind(view.snapshot.index, meta)?.with_effort(meta)?;
        let selection = Selection::unresolved(view, ids, own)?;
        Ok(selection.map(|selection| Self::with(request, selection)))
    }

    fn with(request: Request<'a>, selection: Selection<'a>) -> Self {
        let (cancelled, late) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { request, selection, overlay: None, cancelled, due: request.due(), late }
    }

    /// Whether to end the search here. Calls `cancel`, and looks at the clock if there is a
    /// deadline: a graph search does so before each expansion on layer 0, a scan before each block
    /// of about 64 vectors, and both before each call of a predicate.
    pub(crate) fn stop(&self) -> bool {
        if (self.request.cancel)() {
            self.cancelled.store(true, Ordering::Relaxed);
        }
        self.has_expired();
        self.did_cancel()
    }

    /// Whether the deadline has passed: for work between two calls of [`stop`](Self::stop) that
    /// takes long, and where `cancel` need not be called.
    #[inline]
    pub(crate) fn has_expired(&self) -> bool {
        let has_expired = self.due.is_over();
        if has_expired {
            self.late.store(true, Ordering::Relaxed);
            self.cancelled.store(true, Ordering::Relaxed);
        }
        has_expired
    }

    /// Whether the deadline has ended the search.
    pub(crate) fn is_late(&self) -> bool {
        self.late.load(Ordering::Relaxed)
    }

    /// Whether the search was cancelled.
    pub(crate) fn did_cancel(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Whether an item that would be a result may be one. Asks the predicate, if there is one.
    pub(crate) fn accepts(&self, slot: Slot, item: ItemId) -> Result<bool> {
        if !self.selection.admits(slot)
            || self.selection.asked().is_some_and(|ids| !ids.contains(item))
        {
            return Ok(false);
        }
        match self.selection.predicate() {
            Some(predicate) => Ok(!self.stop() && predicate(item)?),
            None => Ok(true),
        }
    }
}
