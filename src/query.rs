//! One query: its options, which way it is answered, and the answer.
//!
//! Three ways lead to an answer. The **graph** is walked with a beam, and pending items are
//! compared beside it. **All** live vectors are compared where that is asked for
//! ([`exact`](QueryBuilder::exact)), or costs less than the walk would. Only the **candidates** are
//! compared where there are so few that walking to them would cost more. Every way gives `k`
//! results, or all that exist.

mod walk;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use heed::RoTxn;
use roaring::RoaringBitmap;

use self::walk::Walk;
use crate::codec::{Component, Components};
use crate::defaults;
use crate::error::{Error, Result};
use crate::flat::{Found, Slots, scan};
use crate::reader::{Reader, WarmReader};
use crate::store::prepared_query::PreparedQuery;
use crate::store::source::{Source, Warm};
use crate::store::view::View;
use crate::types::ItemId;

/// Estimated cost of expanding one node: about 16 distances to vectors that are not in the cache,
/// in nanoseconds.
const EXPANSION_NS: f64 = 1000.0;
/// Estimated cost of keeping the sorted pool, for each pair of its members: three insertions a
/// member, each moving half of the pool.
const POOL_NS: f64 = 1.2;
/// Estimated cost of finding a vector by its item id.
const LOOKUP_NS: f64 = 150.0;
/// Bytes of vectors that one thread compares in a nanosecond when they lie one after the other.
const SCAN_BYTES_PER_NS: f64 = 8.0;

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

/// What a query asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options<'a> {
    k: usize,
    ef_search: usize,
    forced: Option<Forced>,
    candidates: Option<&'a RoaringBitmap>,
    codes: bool,
}

/// A way to the answer that the caller has chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Forced {
    Exact,
    Graph,
}

/// A query being put together: see [`Reader::nns`], [`WarmReader::nns`] and
/// [`Index::search`](crate::Index::search).
///
/// ```
/// use voisin::{Index, Options, Strategy, distances::Euclidean, roaring::RoaringBitmap};
///
/// # fn main() -> voisin::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(1))?;
/// index.write(|batch| batch.add_items_from((0..3000).map(|item| (item, [item as f32]))))?;
/// let even: RoaringBitmap = (0..3000).filter(|item| item % 2 == 0).collect();
/// let found = index.search(2).ef_search(50).candidates(&even).by_vector(&[6.9])?;
/// assert_eq!(found.nns.iter().map(|(item, _)| *item).collect::<Vec<_>>(), [6, 8]);
/// // Compared one by one: the answer is exact, and says so.
/// let exact = index.search(1).exact().by_item(5)?.unwrap();
/// assert_eq!((exact.strategy, exact.nns[0].1, exact.did_cancel), (Strategy::All, 1.0, false));
/// # Ok(())
/// # }
/// ```
pub struct QueryBuilder<'a, R> {
    pub(crate) reader: &'a R,
    pub(crate) options: Options<'a>,
}

// Not derived: a reference can be copied whether or not the reader can.
impl<R> Clone for QueryBuilder<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for QueryBuilder<'_, R> {}

impl<R> fmt::Debug for QueryBuilder<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.options.fmt(f)
    }
}

impl<'a, R> QueryBuilder<'a, R> {
    pub(crate) fn new(reader: &'a R, k: usize) -> Self {
        let options = Options {
            k,
            ef_search: defaults::EF_SEARCH,
            forced: None,
            candidates: None,
            codes: true,
        };
        Self { reader, options }
    }

    /// How many candidates a walk of the graph looks around, in the mean: more finds more of the
    /// true neighbors, in about proportionally more time. A query whose neighbors stand out takes
    /// fewer, one whose do not up to twice as many. Anything below `k` counts as `k`; with as many
    /// as there are items the walk finds everything that edges lead to.
    /// [`defaults::EF_SEARCH`](crate::defaults::EF_SEARCH) unless set.
    pub fn ef_search(&mut self, ef: usize) -> &mut Self {
        self.options.ef_search = ef;
        self
    }

    /// Compares every live vector, on as many threads as the calling rayon pool has, or else the
    /// machine: the answer is exact. O(items * dimensions). The calling thread takes part, and runs
    /// no other job of its pool meanwhile; the others are voisin's own.
    pub fn exact(&mut self) -> &mut Self {
        self.options.forced = Some(Forced::Exact);
        self
    }

    /// Walks the graph even where comparing all vectors would be quicker: to measure or to test the
    /// graph. An index whose items are all pending has none.
    pub fn walk_graph(&mut self) -> &mut Self {
        self.options.forced = Some(Forced::Graph);
        self
    }

    /// Whether to use the codes of the index, if it has any; `true` unless set. Without them the
    /// search is slower, and answers as one of an index that has none.
    pub fn codes(&mut self, codes: bool) -> &mut Self {
        self.options.codes = codes;
        self
    }

    /// Only these items may be results. Ids that are not in the index are ignored.
    pub fn candidates(&mut self, candidates: &'a RoaringBitmap) -> &mut Self {
        self.options.candidates = Some(candidates);
        self
    }
}

impl<D> Reader<'_, D> {
    /// Starts a query for the `k` nearest items.
    #[must_use]
    pub fn nns(&self, k: usize) -> QueryBuilder<'_, Self> {
        QueryBuilder::new(self, k)
    }
}

impl<D> WarmReader<'_, '_, D> {
    /// Starts a query for the `k` nearest items.
    #[must_use]
    pub fn nns(&self, k: usize) -> QueryBuilder<'_, Self> {
        QueryBuilder::new(self, k)
    }
}

impl<D> QueryBuilder<'_, Reader<'_, D>> {
    /// The items nearest to `vector`. `rtxn` must be on the reader's snapshot: the transaction that
    /// it was opened with, or another one that began before the next commit.
    ///
    /// # Errors
    /// [`DimensionMismatch`](crate::Error::DimensionMismatch),
    /// [`InvalidQuery`](crate::Error::InvalidQuery),
    /// [`SnapshotMismatch`](crate::Error::SnapshotMismatch), [`Corrupt`](crate::Error::Corrupt).
    pub fn by_vector(&self, rtxn: &RoTxn<'_>, vector: &[impl Component]) -> Result<Searched> {
        self.by_vector_with_cancellation(rtxn, vector, || false)
    }

    /// As [`by_vector`](Self::by_vector), ended early once `cancel` returns `true`.
    ///
    /// # Errors
    /// As [`by_vector`](Self::by_vector).
    pub fn by_vector_with_cancellation(
        &self,
        rtxn: &RoTxn<'_>,
        vector: &[impl Component],
        cancel: impl Fn() -> bool + Sync,
    ) -> Result<Searched> {
        by_vector(&self.reader.view(rtxn)?, self.options, Components::of(vector), &cancel)
    }

    /// The items nearest to each of many vectors: `rows` holds them one after the other,
    /// [`dimensions`](Reader::dimensions) components each. Answers as
    /// [`by_vector`](Self::by_vector) would for one after the other, on as many threads as
    /// [`exact`](Self::exact) uses. Where vectors are compared and the graph is not walked, as with
    /// [`exact`](Self::exact), one pass over them serves many queries: from dozens of rows on that
    /// is many times as fast.
    ///
    /// # Errors
    /// [`UnevenRows`](crate::Error::UnevenRows), [`InvalidRow`](crate::Error::InvalidRow) for the
    /// first row that cannot be compared, [`SnapshotMismatch`](crate::Error::SnapshotMismatch),
    /// [`Corrupt`](crate::Error::Corrupt).
    pub fn by_vectors(&self, rtxn: &RoTxn<'_>, rows: &[impl Component]) -> Result<Vec<Searched>> {
        self.by_vectors_with_cancellation(rtxn, rows, || false)
    }

    /// As [`by_vectors`](Self::by_vectors), ended early once `cancel` returns `true`: then every
    /// answer is that of a search that was cancelled.
    ///
    /// # Errors
    /// As [`by_vectors`](Self::by_vectors).
    pub fn by_vectors_with_cancellation(
        &self,
        rtxn: &RoTxn<'_>,
        rows: &[impl Component],
        cancel: impl Fn() -> bool + Sync,
    ) -> Result<Vec<Searched>> {
        by_vectors(&self.reader.view(rtxn)?, self.options, Components::of(rows), &cancel)
    }

    /// The items nearest to a stored one, which itself is left out. `None` if there is no such
    /// item.
    ///
    /// # Errors
    /// As [`by_vector`](Self::by_vector).
    pub fn by_item(&self, rtxn: &RoTxn<'_>, item: ItemId) -> Result<Option<Searched>> {
        self.by_item_with_cancellation(rtxn, item, || false)
    }

    /// As [`by_item`](Self::by_item), ended early once `cancel` returns `true`.
    ///
    /// # Errors
    /// As [`by_vector`](Self::by_vector).
    pub fn by_item_with_cancellation(
        &self,
        rtxn: &RoTxn<'_>,
        item: ItemId,
        cancel: impl Fn() -> bool + Sync,
    ) -> Result<Option<Searched>> {
        by_item(&self.reader.view(rtxn)?, self.options, item, &cancel)
    }
}

impl<D> QueryBuilder<'_, WarmReader<'_, '_, D>> {
    /// The items nearest to `vector`.
    ///
    /// # Errors
    /// [`DimensionMismatch`](crate::Error::DimensionMismatch),
    /// [`InvalidQuery`](crate::Error::InvalidQuery), [`Corrupt`](crate::Error::Corrupt).
    pub fn by_vector(&self, vector: &[impl Component]) -> Result<Searched> {
        by_vector(&self.reader.view(), self.options, Components::of(vector), &|| false)
    }

    /// The items nearest to each of many vectors, as [`by_vector`](Self::by_vector) finds them for
    /// each alone: `rows` holds the vectors one after the other. On several threads; exact searches
    /// share one pass over what is stored.
    ///
    /// # Errors
    /// [`UnevenRows`](crate::Error::UnevenRows), [`InvalidRow`](crate::Error::InvalidRow),
    /// [`Corrupt`](crate::Error::Corrupt).
    pub fn by_vectors(&self, rows: &[impl Component]) -> Result<Vec<Searched>> {
        by_vectors(&self.reader.view(), self.options, Components::of(rows), &|| false)
    }

    /// The items nearest to a stored one, which itself is left out. `None` if there is no such
    /// item.
    ///
    /// # Errors
    /// [`Corrupt`](crate::Error::Corrupt).
    pub fn by_item(&self, item: ItemId) -> Result<Option<Searched>> {
        by_item(&self.reader.view(), self.options, item, &|| false)
    }
}

/// A view that searches use: on whatever source, so that they are compiled once.
type AnyView<'v, 's, 't> = View<'s, 't, &'v (dyn Source<'t> + 'v)>;

pub(crate) fn by_vector<'t, S: Source<'t>>(
    view: &View<'_, 't, S>,
    options: Options<'_>,
    vector: Components<'_>,
    cancel: Cancel<'_>,
) -> Result<Searched> {
    search_vector(&view.on_any_source(), options, vector, cancel)
}

fn search_vector(
    view: &AnyView<'_, '_, '_>,
    options: Options<'_>,
    vector: Components<'_>,
    cancel: Cancel<'_>,
) -> Result<Searched> {
    view.snapshot.metric.check_known(view.snapshot.index)?;
    let query = view.query(vector)?;
    let mut nearest =
        Search { view, queries: &[query], request: Request::new(options, None, cancel) }.run()?;
    // One query has one answer.
    Ok(nearest.swap_remove(0))
}

pub(crate) fn by_vectors<'t, S: Source<'t>>(
    view: &View<'_, 't, S>,
    options: Options<'_>,
    rows: Components<'_>,
    cancel: Cancel<'_>,
) -> Result<Vec<Searched>> {
    search_vectors(&view.on_any_source(), options, rows, cancel)
}

fn search_vectors(
    view: &AnyView<'_, '_, '_>,
    options: Options<'_>,
    rows: Components<'_>,
    cancel: Cancel<'_>,
) -> Result<Vec<Searched>> {
    view.snapshot.metric.check_known(view.snapshot.index)?;
    let dimensions = view.snapshot.meta.dimensions as usize;
    if !rows.len().is_multiple_of(dimensions) {
        return Err(Error::UnevenRows { components: rows.len(), dimensions });
    }
    let query = |(row, vector)| {
        view.query(vector).map_err(|error| match error {
            Error::InvalidQuery { defect } => Error::InvalidRow { row, defect },
            error => error,
        })
    };
    let queries = rows.rows(dimensions).enumerate().map(query).collect::<Result<Vec<_>>>()?;
    Search { view, queries: &queries, request: Request::new(options, None, cancel) }.run()
}

pub(crate) fn by_item<'t, S: Source<'t>>(
    view: &View<'_, 't, S>,
    options: Options<'_>,
    item: ItemId,
    cancel: Cancel<'_>,
) -> Result<Option<Searched>> {
    search_item(&view.on_any_source(), options, item, cancel)
}

fn search_item(
    view: &AnyView<'_, '_, '_>,
    options: Options<'_>,
    item: ItemId,
    cancel: Cancel<'_>,
) -> Result<Option<Searched>> {
    view.snapshot.metric.check_known(view.snapshot.index)?;
    let Some(slot) = view.slot(item)? else { return Ok(None) };
    let query = view.query_of(slot)?;
    Ok(Search { view, queries: &[query], request: Request::new(options, Some(item), cancel) }
        .run()?
        .pop())
}

/// What ends a search early: a value, so that a search is compiled once and not for each closure.
pub(crate) type Cancel<'q> = &'q (dyn Fn() -> bool + Sync);

/// What is asked of a search, beside the vectors: any thread may look at it.
struct Request<'q> {
    options: Options<'q>,
    excluded: Option<ItemId>,
    cancel: Cancel<'q>,
    /// Whether `cancel` has said so: what it says later does not matter.
    cancelled: AtomicBool,
}

impl<'q> Request<'q> {
    fn new(options: Options<'q>, excluded: Option<ItemId>, cancel: Cancel<'q>) -> Self {
        Self { options, excluded, cancel, cancelled: AtomicBool::new(false) }
    }

    /// Whether to end the search here.
    fn stop(&self) -> bool {
        if (self.cancel)() {
            self.cancelled.store(true, Ordering::Relaxed);
        }
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Whether an item may be a result.
    fn accepts(&self, item: ItemId) -> bool {
        self.options.candidates.is_none_or(|candidates| candidates.contains(item))
            && self.excluded != Some(item)
    }

    /// Whether every slot that is not removed is accepted, so that its item need not be known.
    fn accepts_all(&self) -> bool {
        self.options.candidates.is_none() && self.excluded.is_none()
    }
}

/// Queries on their way.
struct Search<'q, 'v, 's, 't> {
    view: &'q AnyView<'v, 's, 't>,
    queries: &'q [PreparedQuery<'q, 's, 't, &'v (dyn Source<'t> + 'v)>],
    request: Request<'q>,
}

impl Search<'_, '_, '_, '_> {
    /// An answer for each query.
    fn run(self) -> Result<Vec<Searched>> {
        let items = self.view.snapshot.meta.items as usize;
        let possible = self
            .request
            .options
            .candidates
            .map_or(items, |candidates| items.min(candidates.len() as usize));
        let k = self.request.options.k.min(possible);
        let strategy = if k == 0 { Strategy::All } else { self.strategy(k, possible) };
        let found = match strategy {
            _ if k == 0 => self.scan(0, Slots::Only(&[]))?,
            Strategy::Graph => self.walk(k)?,
            Strategy::All => self.scan(k, Slots::Except(&self.view.dead()?))?,
            Strategy::Candidates => {
                let slots = self.candidate_slots()?;
                self.scan(k, Slots::Only(&slots))?
            }
        };
        let did_cancel = self.request.cancelled.into_inner();
        let pending = self.view.snapshot.meta.pending.into();
        let answer = |found: Found| {
            let Found { top_k, distances, estimates } = found;
            let nns = top_k.into_sorted();
            Searched { nns, did_cancel, strategy, distances, estimates, pending }
        };
        Ok(found.into_iter().map(answer).collect())
    }

    /// The cheapest way, by estimates of what each costs on one thread. The same for one query and
    /// for many, so that many have the answers that each would have alone.
    fn strategy(&self, k: usize, possible: usize) -> Strategy {
        let (options, meta) = (&self.request.options, &self.view.snapshot.meta);
        let (items, vector_ns) =
            (f64::from(meta.items), meta.geometry.stride as f64 / SCAN_BYTES_PER_NS);
        let all_ns = items * vector_ns;
        let candidates_ns = possible as f64 * (vector_ns + LOOKUP_NS);
        let scan = match options.candidates {
            Some(_) if candidates_ns < all_ns => (Strategy::Candidates, candidates_ns),
            _ => (Strategy::All, all_ns),
        };
        // As many more nodes must be expanded as there are items for every candidate.
        let ef = options.ef_search.max(k) as f64 * (items / possible as f64);
        let graph_ns = ef * EXPANSION_NS
            + ef * ef * POOL_NS
            + self.view.snapshot.pending.len() as f64 * vector_ns;
        match options.forced {
            Some(Forced::Exact) => scan.0,
            _ if meta.linked() == 0 => scan.0,
            Some(Forced::Graph) => Strategy::Graph,
            None if scan.1 < graph_ns => scan.0,
            None => Strategy::Graph,
        }
    }

    fn walk(&self, k: usize) -> Result<Vec<Found>> {
        let pending = &self.view.snapshot.pending;
        let mut found = self.scan(k, Slots::Only(pending))?;
        if let ([query], [found]) = (self.queries, &mut found[..]) {
            Walk { view: self.view, request: &self.request, k }.one(query, found)?;
        } else {
            // A transaction cannot be shared between threads, full tables can.
            self.view.resolve_all()?;
            let warm = View::new(self.view.snapshot, Warm::default());
            let queries: Vec<_> = self.queries.iter().map(|query| query.on(&warm)).collect();
            Walk { view: &warm, request: &self.request, k }.many(&queries, &mut found)?;
        }
        Ok(found)
    }

    /// What a scan finds for each query.
    fn scan(&self, k: usize, slots: Slots<'_>) -> Result<Vec<Found>> {
        let request = &self.request;
        scan(
            self.view,
            self.queries,
            slots,
            k,
            request.options.codes,
            &|item| request.accepts(item),
            &|| request.stop(),
        )
    }

    fn candidate_slots(&self) -> Result<Vec<u32>> {
        let mut slots = Vec::new();
        for item in self.request.options.candidates.into_iter().flatten() {
            slots.extend(self.view.slot(item)?.map(|slot| slot.0));
        }
        // In the order they lie in, for the prefetcher.
        slots.sort_unstable();
        Ok(slots)
    }
}
