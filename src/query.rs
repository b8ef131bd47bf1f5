//! One query: its options, which way it is answered, and the answer.
//!
//! Three ways lead to an answer. The **graph** is walked with a beam, and pending items are
//! compared beside it. **All** live vectors are compared where that is asked for
//! ([`exact`](Query::exact)), or costs less than the walk would. Only the **candidates** are
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
use crate::item_key::{AsCandidates, AsKey, Candidates, ItemName, bytes_of, sealed};
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

/// What a query asks for, beside the vectors.
#[derive(Clone, Copy)]
pub(crate) struct Options<'a> {
    k: usize,
    ef_search: usize,
    forced: Option<Forced>,
    pub(crate) candidates: Option<&'a RoaringBitmap>,
    codes: bool,
    cancel: Cancel<'a>,
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("k", &self.k)
            .field("ef_search", &self.ef_search)
            .field("forced", &self.forced)
            .field("candidates", &self.candidates)
            .field("codes", &self.codes)
            .finish_non_exhaustive()
    }
}

/// A way to the answer that the caller has chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Forced {
    Exact,
    Graph,
}

/// A query being put together: see [`Index::search`](crate::Index::search), [`Reader::nns`] and
/// [`WarmReader::nns`].
///
/// It is one type for all that can be searched. Of an index whose items are named by keys,
/// candidates and answers are by key ([`Searched<u64>`](Searched) or
/// [`Searched<String>`](Searched)); of items at the same distance any may come first. To find the
/// key of a result costs one lookup, the first time that a snapshot gives it.
///
/// ```
/// use voisin::{Index, Options, Strategy, distances::Euclidean, roaring::RoaringBitmap};
///
/// # fn main() -> voisin::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("vectors");
/// let index = Index::<Euclidean>::create(&path, Options::new(1))?;
/// index.write(|batch| batch.add_items_from((0..3000).map(|item| (item, [item as f32]))))?;
/// let even: RoaringBitmap = (0..3000).filter(|item| item % 2 == 0).collect();
/// let found = index.search(2).ef_search(50).candidates(&even).by_vector(&[6.9])?;
/// assert_eq!(found.nns.iter().map(|(item, _)| *item).collect::<Vec<_>>(), [6, 8]);
/// // Compared one by one: the answer is exact, and says so.
/// let exact = index.search(1).exact().by_item(5)?.unwrap();
/// assert_eq!((exact.strategy, exact.nns[0].1, exact.did_cancel), (Strategy::All, 1.0, false));
///
/// let keyed = Index::<Euclidean, u64>::create(&path, Options::new(1).name("keyed"))?;
/// keyed.write(|batch| (0..1000).try_for_each(|i| batch.add(i << 40, &[i as f32])))?;
/// let found = keyed.search(2).ef_search(50).candidates([3 << 40, 90 << 40]).by_vector(&[80.0])?;
/// assert_eq!(found.into_nns(), [(90 << 40, 100.0), (3 << 40, 5929.0)]);
/// # Ok(())
/// # }
/// ```
pub struct Query<'a, S> {
    pub(crate) searched: &'a S,
    pub(crate) options: Options<'a>,
    /// What may be a result, unless the options say.
    pub(crate) named: Option<Candidates<'a>>,
}

/// The name that [`Query`] has in hannoy.
pub type QueryBuilder<'a, R> = Query<'a, R>;

// Not derived: a reference can be copied whether or not what it is of can.
impl<S> Clone for Query<'_, S> {
    fn clone(&self) -> Self {
        Self { searched: self.searched, options: self.options, named: self.named.clone() }
    }
}

impl<S> fmt::Debug for Query<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Query")
            .field("options", &self.options)
            .field("named", &self.named)
            .finish_non_exhaustive()
    }
}

/// What can be searched without a transaction: an index, a snapshot, a batch, a warm reader.
pub trait Searchable: Sized {
    /// What names its items.
    type Key: ItemName + sealed::Bytes + ?Sized;

    /// An answer for each vector, or one for an item.
    ///
    /// # Errors
    /// Those of [`Query::by_vectors`]. `None` if there is no such item.
    #[doc(hidden)]
    fn answer(query: &Query<'_, Self>, target: Target<'_>) -> Result<Option<Vec<Answer<Self>>>>;
}

/// The answer of what is searched, by the names of its items.
pub(crate) type Answer<S> = Searched<<<S as Searchable>::Key as ItemName>::Owned>;

/// What a query is for.
#[derive(Debug, Clone, Copy)]
#[doc(hidden)]
pub enum Target<'a> {
    Vector(Components<'a>),
    /// One after the other.
    Vectors(Components<'a>),
    /// The name of an item, as bytes.
    Item(&'a [u8]),
}

impl<'a, S> Query<'a, S> {
    pub(crate) fn new(searched: &'a S, k: usize) -> Self {
        let options = Options {
            k,
            ef_search: defaults::EF_SEARCH,
            forced: None,
            candidates: None,
            codes: true,
            cancel: &|| false,
        };
        Self { searched, options, named: None }
    }

    /// Asked every microsecond or two, from any thread that searches: `true` ends the search early,
    /// with the nearest of what has been seen, and [`did_cancel`](Searched::did_cancel).
    pub fn cancel(&mut self, cancel: &'a (dyn Fn() -> bool + Sync)) -> &mut Self {
        self.options.cancel = cancel;
        self
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
}

impl<'a, S: Searchable> Query<'a, S> {
    /// Only these items may be results: a set of ids, or keys, each of which every search looks up,
    /// in a microsecond or less. Those that are not in the index are ignored.
    pub fn candidates(&mut self, candidates: impl AsCandidates<'a, S::Key>) -> &mut Self {
        self.named = Some(candidates.candidates());
        self
    }

    /// The items nearest to `vector`.
    ///
    /// # Errors
    /// [`DimensionMismatch`](crate::Error::DimensionMismatch),
    /// [`InvalidQuery`](crate::Error::InvalidQuery), [`Forked`](crate::Error::Forked),
    /// [`ReadersFull`](crate::Error::ReadersFull), [`MapBusy`](crate::Error::MapBusy) if another
    /// process has grown the map and this one holds snapshots, [`Corrupt`](crate::Error::Corrupt);
    /// by key also [`InvalidItemKey`](crate::Error::InvalidItemKey) for a candidate,
    /// [`CorruptItemKey`](crate::Error::CorruptItemKey).
    pub fn by_vector(&self, vector: &[impl Component]) -> Result<Answer<S>> {
        let answers = S::answer(self, Target::Vector(Components::of(vector)))?;
        // One vector has one answer.
        Ok(answers.into_iter().flatten().next().unwrap_or_else(Searched::empty))
    }

    /// The items nearest to each of many vectors: `rows` holds them one after the other. Answers as
    /// [`by_vector`](Self::by_vector) would for one after the other, on as many threads as
    /// [`exact`](Self::exact) uses. Where vectors are compared and the graph is not walked, one
    /// pass over them serves many queries: from dozens of rows on that is many times as fast.
    ///
    /// # Errors
    /// [`UnevenRows`](crate::Error::UnevenRows), [`InvalidRow`](crate::Error::InvalidRow) for the
    /// first row that cannot be compared, and those of [`by_vector`](Self::by_vector) that are not
    /// about the query.
    pub fn by_vectors(&self, rows: &[impl Component]) -> Result<Vec<Answer<S>>> {
        Ok(S::answer(self, Target::Vectors(Components::of(rows)))?.unwrap_or_default())
    }

    /// The items nearest to a stored one, which itself is left out. `None` if there is no such
    /// item.
    ///
    /// # Errors
    /// As [`by_vector`](Self::by_vector), without those about the query.
    pub fn by_item(&self, item: impl AsKey<S::Key>) -> Result<Option<Answer<S>>> {
        Ok(S::answer(self, Target::Item(&bytes_of(&item)?))?.into_iter().flatten().next())
    }
}

impl<D> Reader<'_, D> {
    /// Starts a query for the `k` nearest items.
    #[must_use]
    pub fn nns(&self, k: usize) -> Query<'_, Self> {
        Query::new(self, k)
    }
}

impl<D> WarmReader<'_, '_, D> {
    /// Starts a query for the `k` nearest items.
    #[must_use]
    pub fn nns(&self, k: usize) -> Query<'_, Self> {
        Query::new(self, k)
    }
}

impl<'a, D> Query<'a, Reader<'_, D>> {
    /// Only these items may be results. Ids that are not in the index are ignored.
    pub fn candidates(&mut self, candidates: &'a RoaringBitmap) -> &mut Self {
        self.options.candidates = Some(candidates);
        self
    }

    /// The items nearest to `vector`. `rtxn` must be on the reader's snapshot: the transaction that
    /// it was opened with, or another one that began before the next commit.
    ///
    /// # Errors
    /// [`DimensionMismatch`](crate::Error::DimensionMismatch),
    /// [`InvalidQuery`](crate::Error::InvalidQuery),
    /// [`SnapshotMismatch`](crate::Error::SnapshotMismatch), [`Corrupt`](crate::Error::Corrupt).
    pub fn by_vector(&self, rtxn: &RoTxn<'_>, vector: &[impl Component]) -> Result<Searched> {
        by_vector(&self.searched.view(rtxn)?, self.options, Components::of(vector))
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
        by_vector(
            &self.searched.view(rtxn)?,
            Options { cancel: &cancel, ..self.options },
            Components::of(vector),
        )
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
        by_vectors(&self.searched.view(rtxn)?, self.options, Components::of(rows))
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
        by_vectors(
            &self.searched.view(rtxn)?,
            Options { cancel: &cancel, ..self.options },
            Components::of(rows),
        )
    }

    /// The items nearest to a stored one, which itself is left out. `None` if there is no such
    /// item.
    ///
    /// # Errors
    /// As [`by_vector`](Self::by_vector).
    pub fn by_item(&self, rtxn: &RoTxn<'_>, item: ItemId) -> Result<Option<Searched>> {
        by_item(&self.searched.view(rtxn)?, self.options, item)
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
        by_item(&self.searched.view(rtxn)?, Options { cancel: &cancel, ..self.options }, item)
    }
}

impl<D> Searchable for WarmReader<'_, '_, D> {
    type Key = ItemId;

    fn answer(query: &Query<'_, Self>, target: Target<'_>) -> Result<Option<Vec<Searched>>> {
        answer_by_ids(&query.searched.view(), query, target)
    }
}

/// The answer where items are named by ids.
pub(crate) fn answer_by_ids<'t, S: Source<'t>, R>(
    view: &View<'_, 't, S>,
    query: &Query<'_, R>,
    target: Target<'_>,
) -> Result<Option<Vec<Searched>>> {
    let mut options = query.options;
    if let Some(Candidates::Ids(candidates)) = query.named {
        options.candidates = Some(candidates);
    }
    match target {
        Target::Vector(vector) => Ok(Some(vec![by_vector(view, options, vector)?])),
        Target::Vectors(rows) => Ok(Some(by_vectors(view, options, rows)?)),
        Target::Item(id) => match <ItemId as sealed::Bytes>::take(id) {
            Some(id) => Ok(by_item(view, options, id)?.map(|found| vec![found])),
            None => Ok(None),
        },
    }
}

/// A view that searches use: on whatever source, so that they are compiled once.
type AnyView<'v, 's, 't> = View<'s, 't, &'v (dyn Source<'t> + 'v)>;

pub(crate) fn by_vector<'t, S: Source<'t>>(
    view: &View<'_, 't, S>,
    options: Options<'_>,
    vector: Components<'_>,
) -> Result<Searched> {
    search_vector(&view.on_any_source(), options, vector)
}

fn search_vector(
    view: &AnyView<'_, '_, '_>,
    options: Options<'_>,
    vector: Components<'_>,
) -> Result<Searched> {
    view.snapshot.metric.check_known(view.snapshot.index)?;
    let query = view.query(vector)?;
    let mut nearest =
        Search { view, queries: &[query], request: Request::new(options, None) }.run()?;
    // One query has one answer.
    Ok(nearest.swap_remove(0))
}

pub(crate) fn by_vectors<'t, S: Source<'t>>(
    view: &View<'_, 't, S>,
    options: Options<'_>,
    rows: Components<'_>,
) -> Result<Vec<Searched>> {
    search_vectors(&view.on_any_source(), options, rows)
}

fn search_vectors(
    view: &AnyView<'_, '_, '_>,
    options: Options<'_>,
    rows: Components<'_>,
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
    Search { view, queries: &queries, request: Request::new(options, None) }.run()
}

pub(crate) fn by_item<'t, S: Source<'t>>(
    view: &View<'_, 't, S>,
    options: Options<'_>,
    item: ItemId,
) -> Result<Option<Searched>> {
    search_item(&view.on_any_source(), options, item)
}

fn search_item(
    view: &AnyView<'_, '_, '_>,
    options: Options<'_>,
    item: ItemId,
) -> Result<Option<Searched>> {
    view.snapshot.metric.check_known(view.snapshot.index)?;
    let Some(slot) = view.slot(item)? else { return Ok(None) };
    let query = view.query_of(slot)?;
    Ok(Search { view, queries: &[query], request: Request::new(options, Some(item)) }.run()?.pop())
}

/// What ends a search early: a value, so that a search is compiled once and not for each closure.
pub(crate) type Cancel<'q> = &'q (dyn Fn() -> bool + Sync);

/// What is asked of a search, beside the vectors: any thread may look at it.
struct Request<'q> {
    options: Options<'q>,
    excluded: Option<ItemId>,
    /// Whether `cancel` has said so: what it says later does not matter.
    cancelled: AtomicBool,
}

impl<'q> Request<'q> {
    fn new(options: Options<'q>, excluded: Option<ItemId>) -> Self {
        Self { options, excluded, cancelled: AtomicBool::new(false) }
    }

    /// Whether to end the search here.
    fn stop(&self) -> bool {
        if (self.options.cancel)() {
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
