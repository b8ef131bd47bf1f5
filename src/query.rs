//! A query builder over everything that can be searched; `search` computes the answer.

mod count;
pub(crate) mod groups;
mod keyed;
pub(crate) mod named;
pub(crate) mod pages;
pub(crate) mod pinned;
mod recall;
mod several;

use std::fmt;

use heed::RoTxn;

use self::pinned::{Pinned, Work, look_by_ids};
use crate::codec::{Component, Components};
use crate::distance::{Distance, Metric};
use crate::error::Result;
use crate::filter::{AsCandidates, Named, NoKeys};
use crate::item_key::{AsKey, ItemName, PrefixedKey, bytes_of, sealed};
use crate::reader::{Reader, ReaderOn, WarmReader};
use crate::search::{self, Deadline, Predicate, Request, Searched};
use crate::store::source::{Calling, Source};
use crate::store::view::View;
use crate::types::{IndexKind, ItemId};

/// A query builder: see [`Index::search`](crate::Index::search), [`Reader::nns`] and
/// [`WarmReader::nns`].
///
/// One type serves everything that can be searched. On an index whose items are named by keys,
/// candidates and answers are keys ([`Searched<u64>`](Searched) or [`Searched<String>`](Searched)),
/// and items at equal distance come in any order. Finding the key of a result costs one lookup, the
/// first time that a snapshot returns it.
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
/// // A scan of all vectors: the answer is exact, and says so.
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
    pub(crate) request: Request<'a>,
    /// Its restrictions, by name.
    pub(crate) named: Named<'a>,
}

/// hannoy's name for [`Query`].
pub type QueryBuilder<'a, R> = Query<'a, R>;

// Not derived: a reference is `Clone` whether or not its target is.
impl<S> Clone for Query<'_, S> {
    fn clone(&self) -> Self {
        Self { searched: self.searched, request: self.request, named: self.named.clone() }
    }
}

impl<S> fmt::Debug for Query<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Query")
            .field("request", &self.request)
            .field("named", &self.named)
            .finish_non_exhaustive()
    }
}

/// Everything that can be searched without a transaction: an index, a snapshot, a batch, a warm
/// reader.
pub trait Searchable: Sized {
    /// The type that names its items.
    type Key: ItemName + sealed::Bytes + ?Sized;

    /// An answer for each vector, or one for an item.
    ///
    /// # Errors
    /// Those of [`Query::by_vectors`]. `None` if there is no such item.
    #[doc(hidden)]
    fn answer(query: &Query<'_, Self>, target: Target<'_>) -> Result<Option<Vec<Answer<Self>>>>;

    /// What keeps one state of it.
    #[doc(hidden)]
    type Pinned<'a>: Pinned
    where
        Self: 'a;

    /// Keeps its state.
    ///
    /// # Errors
    /// Those of opening a snapshot.
    #[doc(hidden)]
    fn pin(&self) -> Result<Self::Pinned<'_>>;
}

/// The answer of a [`Searchable`], by the names of its items.
pub(crate) type Answer<S> = Searched<<<S as Searchable>::Key as ItemName>::Owned>;

/// The target of a query.
#[derive(Debug, Clone, Copy)]
#[doc(hidden)]
pub enum Target<'a> {
    Vector(Components<'a>),
    /// Rows, one after the other.
    Vectors(Components<'a>),
    /// The name of an item, as bytes.
    Item(&'a [u8]),
}

impl<'a, S> Query<'a, S> {
    pub(crate) fn new(searched: &'a S, k: usize) -> Self {
        Self { searched, request: Request::new(k), named: Named::default() }
    }

    /// Sets a cancel closure. Any searching thread calls it: before each expansion of a graph
    /// search, every microsecond or two, and before each block of about 64 vectors of a scan. Once
    /// it returns `true`, the search ends early with the nearest items seen so far, and sets
    /// [`did_cancel`](Searched::did_cancel).
    pub fn cancel(&mut self, cancel: &'a (dyn Fn() -> bool + Sync)) -> &mut Self {
        self.request.cancel = cancel;
        self
    }

    /// How many candidates a graph search expands, on average: a larger `ef` gives higher recall,
    /// in about proportionally more time. Early termination expands fewer for a query whose
    /// neighbors stand out, and up to twice as many for one whose do not. A value below `k` counts
    /// as `k`; with as many as there are items, the search finds every item that edges lead to.
    /// [`defaults::EF_SEARCH`](crate::defaults::EF_SEARCH) unless set. 0 is an error of the search:
    /// [`InvalidParameter`](crate::Error::InvalidParameter).
    pub fn ef_search(&mut self, ef: usize) -> &mut Self {
        self.request.ef_search = ef;
        self
    }

    /// Sets parameters by name, from a string such as a configuration has: `"ef=80,nprobe=16"`.
    /// `ef` is [`ef_search`](Self::ef_search); `recall`, `codes` (0 or 1) and what else a kind of
    /// index has, such as `nprobe`, are what the methods of these names set.
    ///
    /// ```
    /// # use voisin::{Index, Options, distances::Euclidean};
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(1))?;
    /// index.write(|batch| batch.add(7, &[0.5]))?;
    /// let found = index.search(1).parameters("ef=80,nprobe=16")?.by_vector(&[0.0])?;
    /// assert_eq!(found.into_nns(), [(7, 0.25)]);
    /// assert!(index.search(1).parameters("ef=80,depth=3").is_err());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`InvalidParameters`](crate::Error::InvalidParameters) for a name or a number that none has:
    /// nothing has been set.
    pub fn parameters(&mut self, text: &str) -> Result<&mut Self> {
        search::parameters::set(&mut self.request, text)?;
        Ok(self)
    }

    /// Restricts results to items within a radius: no farther than `radius`, in the unit of the
    /// distances that answers have (squared under [`Euclidean`](crate::distances::Euclidean)). The
    /// `k` of the query becomes a cap. [`has_more`](Searched::has_more) tells whether there are
    /// more, and [`is_complete`](Searched::is_complete) whether these are all for certain, which an
    /// exact search tells; a graph search finds nearly all, and goes over to an exact one where it
    /// is going to cost more.
    ///
    /// ```
    /// use voisin::{Index, Options, distances::Euclidean};
    ///
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(1))?;
    /// index.write(|batch| batch.add_items_from((0..3000).map(|item| (item, [item as f32]))))?;
    /// let near = index.search(100).exact().within(4.0).by_vector(&[7.0])?;
    /// assert_eq!(near.nns, [(7, 0.0), (6, 1.0), (8, 1.0), (5, 4.0), (9, 4.0)]);
    /// assert!(near.is_complete());
    /// let some = index.search(3).exact().within(4.0).by_vector(&[7.0])?;
    /// assert!(some.nns == near.nns[..3] && some.has_more && !some.is_complete());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A radius that is not a number, or is negative where no distance is, is an error of the
    /// search: [`InvalidParameter`](crate::Error::InvalidParameter).
    pub fn within(&mut self, radius: f32) -> &mut Self {
        self.request.within = Some(radius);
        self
    }

    /// Returns the vectors of the items, too, as stored:
    /// [`Searched::vectors`](Searched::vectors). One lookup for each result.
    ///
    /// ```
    /// # use voisin::{Index, Options, distances::Euclidean};
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(1))?;
    /// index.write(|batch| batch.add_items(&[1, 2], &[1.5, 2.5]))?;
    /// let found = index.search(2).with_vectors().by_vector(&[2.0])?;
    /// assert_eq!(found.vectors, [[1.5], [2.5]]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_vectors(&mut self) -> &mut Self {
        self.request.beside.vectors = true;
        self
    }

    /// Ends the search at a deadline, an [`Instant`](std::time::Instant) or a
    /// [`Duration`](std::time::Duration) from the start of each search, with the nearest items seen
    /// so far: [`timed_out`](Searched::timed_out) tells. The clock is read as often as a
    /// [`cancel`](Self::cancel) closure is called, so a search of vectors that are in memory ends
    /// within about a millisecond of it. What is not interrupted: a read from disk; resolving the
    /// pointers to all values, once for each snapshot, 3 ms for a million items; one block of
    /// vectors compared with all queries of [`by_vectors`](Self::by_vectors).
    ///
    /// ```
    /// # use voisin::{Index, Options, distances::Euclidean};
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(1))?;
    /// use std::time::{Duration, Instant};
    ///
    /// index.write(|batch| batch.add_items_from((0..3000).map(|item| (item, [item as f32]))))?;
    /// let late = index.search(5).deadline(Instant::now()).by_vector(&[2.0])?;
    /// assert!(late.timed_out && late.nns.len() < 5);
    /// let in_time = index.search(5).deadline(Duration::from_secs(60)).by_vector(&[2.0])?;
    /// assert!(!in_time.timed_out && in_time.nns.len() == 5);
    /// # Ok(())
    /// # }
    /// ```
    pub fn deadline(&mut self, deadline: impl Into<Deadline>) -> &mut Self {
        self.request.deadline = Some(deadline.into());
        self
    }

    /// Requests an exact search (brute force): scans every live vector, on as many threads as the
    /// calling rayon pool has, or else `RAYON_NUM_THREADS` or as the machine has. O(items *
    /// dimensions). The calling thread takes part, and runs no other job of its pool meanwhile; the
    /// other threads are voisin's own.
    pub fn exact(&mut self) -> &mut Self {
        self.request.exact = Some(true);
        self
    }

    /// Forces a graph search even where a scan of all vectors would be quicker: to measure or test
    /// the graph. The search of an index whose items are all pending, in no graph yet, is exact;
    /// that of an index without the kind [`IndexKind::Hnsw`] is an error.
    pub fn walk_graph(&mut self) -> &mut Self {
        (self.request.exact, self.request.kind) = (Some(false), Some(IndexKind::Hnsw));
        self
    }

    /// Searches by a kind that the index has, instead of the one that costs the least. If it has
    /// nothing to search yet, as a graph before the first build, the search is exact, as it is
    /// after [`exact`](Self::exact). Pages are streams of the graph or of scans; for another kind
    /// they are exact.
    ///
    /// A kind that the index does not have is an error of the search:
    /// [`KindMismatch`](crate::Error::KindMismatch).
    ///
    /// ```
    /// # use voisin::{Index, Options, distances::Euclidean};
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(1))?;
    /// use voisin::{IndexKind, Strategy};
    ///
    /// index.write(|batch| batch.add_items_from((0..3000).map(|item| (item, [item as f32]))))?;
    /// let found = index.search(5).kind(IndexKind::Hnsw).by_vector(&[7.2])?;
    /// assert_eq!(found.strategy, Strategy::Graph);
    /// let found = index.search(5).kind(IndexKind::Flat).by_vector(&[7.2])?;
    /// assert!(found.certificate().is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub fn kind(&mut self, kind: IndexKind) -> &mut Self {
        self.request.kind = Some(kind);
        self
    }

    /// Compares vectors by another metric than that of the index, over its element type. The search
    /// is exact, whatever kinds the index has, scans all vectors that may be results, and takes two
    /// to three times as long as one by the metric of the index. Stored vectors that the metric
    /// cannot compare are no results: those of length 0 under the cosine distance. The metric of
    /// the index itself changes nothing.
    ///
    /// ```
    /// use voisin::{Error, Index, Options, distances::{Cosine, Euclidean, Hamming, Manhattan}};
    ///
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(2))?;
    /// index.write(|batch| batch.add_items(&[1, 2, 3], &[2.0, 0.0, 0.5, 0.5, 0.9, -0.1]))?;
    /// let query = [1.0, 1.0];
    /// let found = index.search(1).metric::<Manhattan>().by_vector(&query)?;
    /// assert_eq!(found.certificate().map(|certificate| certificate.compared), Some(3));
    /// assert_eq!(found.into_nns(), [(2, 1.0)]);
    /// let by_angle = index.search(1).metric::<Cosine>().by_vector(&[1.0, -0.1])?.into_nns();
    /// assert_eq!(by_angle[0].0, 3);
    /// let wrong = index.search(1).metric::<Hamming>().by_vector(&query);
    /// assert!(matches!(wrong, Err(Error::QueryMetric { requested: "hamming", .. })));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Of the search: [`QueryMetric`](crate::Error::QueryMetric) if vectors of the element type of
    /// the index have no such metric.
    pub fn metric<E: Distance>(&mut self) -> &mut Self {
        self.request.metric = Some(Metric::of::<E>());
        self
    }

    /// Whether to use the quantized codes of the index, if it has any; `true` unless set. Without
    /// them the search is slower, and answers as on an index without codes.
    pub fn codes(&mut self, codes: bool) -> &mut Self {
        self.request.codes = codes;
        self
    }
}

/// What can look up the records of results: everything that can be searched but a [`WarmReader`],
/// which has no transaction.
pub trait HasRecords {}

impl<D> HasRecords for Reader<'_, D> {}
impl<D, K: ?Sized> HasRecords for ReaderOn<'_, '_, D, K> {}

impl<S: HasRecords> Query<'_, S> {
    /// Returns the records of the items, too: [`Searched::records`](Searched::records). One lookup
    /// for each result; a search that does not ask for records reads none.
    ///
    /// ```
    /// # use voisin::{Index, Options, distances::Euclidean};
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(1))?;
    /// index.write(|batch| {
    ///     batch.add_with_record(1, &[1.5], b"one and a half")?;
    ///     batch.add(2, &[2.5])
    /// })?;
    /// let found = index.search(2).with_records().by_vector(&[1.0])?;
    /// assert_eq!(found.nns, [(1, 0.25), (2, 2.25)]);
    /// assert_eq!(found.records, [Some(b"one and a half".to_vec()), None]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_records(&mut self) -> &mut Self {
        self.request.beside.records = true;
        self
    }
}

impl<'a, S: Searchable> Query<'a, S> {
    /// Restricts results to these items, a prefilter: a set of ids, keys, a
    /// [`Condition`](crate::Condition) on their [fields](crate::field()), or a
    /// [`Filter`](crate::Filter), which looks them up once for many queries. A key takes a
    /// microsecond or less to look up, many ids 3 nanoseconds each. Candidates that are not in the
    /// index are ignored.
    ///
    /// Results pass all of `candidates`, [`exclude`](Self::exclude), [`filter`](Self::filter) and
    /// [`prefix`](Self::prefix) that are set; setting one again replaces it. With any of them, a
    /// query costs no more than about twice a scan of all possible results: it searches the graph
    /// where that meets enough of them, and otherwise scans them, with an exact answer. The
    /// [`strategy`](Searched::strategy) of the answer says which.
    pub fn candidates(&mut self, candidates: impl AsCandidates<'a, S::Key>) -> &mut Self {
        self.named.candidates = Some(candidates.candidates());
        self
    }

    /// Excludes these items from the results, such as those that were shown before: a set of ids,
    /// keys, or a [`Filter`](crate::Filter). See [`candidates`](Self::candidates).
    pub fn exclude(&mut self, items: impl AsCandidates<'a, S::Key>) -> &mut Self {
        self.named.excluded = Some(items.candidates());
        self
    }

    /// Restricts results to the items that a predicate accepts, by id or by key. Any searching
    /// thread calls it, and only for items that would be results otherwise: nearer ones than the
    /// results so far. That is at least as many as are refused among the nearest, and some dozens
    /// more. Before each call, [`cancel`](Self::cancel) is called.
    ///
    /// A set of [candidates](Self::candidates) is quicker where there is one, as the search then
    /// knows how many there are.
    ///
    /// ```
    /// # use voisin::{Index, Options, distances::Euclidean};
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(1))?;
    /// index.write(|batch| batch.add_items_from((0..3000).map(|item| (item, [item as f32]))))?;
    /// let is_odd = |item: &u32| item % 2 == 1;
    /// let found = index.search(2).filter(&is_odd).by_vector(&[6.9])?.into_nns();
    /// assert_eq!(found.iter().map(|(item, _)| *item).collect::<Vec<_>>(), [7, 5]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn filter(&mut self, accepts: &'a (dyn Fn(&S::Key) -> bool + Sync)) -> &mut Self {
        self.named.predicate = Some(<S::Key as sealed::Bytes>::predicate(accepts));
        self
    }

    /// Returns the items nearest to `vector`.
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

    /// Returns the items nearest to each of many vectors; `rows` holds them one after the other.
    /// The answers equal those of [`by_vector`](Self::by_vector) for each row; the work is spread
    /// over as many threads as [`exact`](Self::exact) uses. Where vectors are scanned instead of
    /// searching the graph, one pass over them serves many queries: from dozens of rows on, that is
    /// many times as fast.
    ///
    /// # Errors
    /// [`UnevenRows`](crate::Error::UnevenRows), [`InvalidRow`](crate::Error::InvalidRow) for the
    /// first row that cannot be compared, and those of [`by_vector`](Self::by_vector) that are not
    /// about the query.
    pub fn by_vectors(&self, rows: &[impl Component]) -> Result<Vec<Answer<S>>> {
        Ok(S::answer(self, Target::Vectors(Components::of(rows)))?.unwrap_or_default())
    }

    /// Returns the items nearest to a stored item, without that item. `None` if there is no such
    /// item.
    ///
    /// # Errors
    /// As [`by_vector`](Self::by_vector), without those about the query.
    pub fn by_item(&self, item: impl AsKey<S::Key>) -> Result<Option<Answer<S>>> {
        Ok(S::answer(self, Target::Item(&bytes_of(&item)?))?.into_iter().flatten().next())
    }
}

impl<'a, S: Searchable<Key: PrefixedKey>> Query<'a, S> {
    /// Restricts results to the items whose keys, strings or bytes, begin with `prefix`, such as
    /// `"user/42/"`. They are looked up by every query, about 0.2 microseconds each: for a prefix
    /// of many keys, keep a [`Filter::prefix`](crate::Filter::prefix).
    pub fn prefix(&mut self, prefix: &'a S::Key) -> &mut Self {
        self.named.prefix = Some(prefix.as_prefix());
        self
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

impl<D, K: ?Sized> ReaderOn<'_, '_, D, K> {
    /// Starts a query for the `k` nearest items.
    #[must_use]
    pub fn nns(&self, k: usize) -> Query<'_, Self> {
        Query::new(self, k)
    }
}

impl<'a, D> Query<'a, Reader<'_, D>> {
    /// Restricts results to these items, a prefilter: a set of ids, or a [`Filter`](crate::Filter).
    /// Ids that are not in the index are ignored. Results pass all of `candidates`,
    /// [`exclude`](Self::exclude) and [`filter`](Self::filter) that are set.
    pub fn candidates(&mut self, candidates: impl AsCandidates<'a, ItemId>) -> &mut Self {
        self.named.candidates = Some(candidates.candidates());
        self
    }

    /// Excludes these items from the results: a set of ids, or a [`Filter`](crate::Filter).
    pub fn exclude(&mut self, items: impl AsCandidates<'a, ItemId>) -> &mut Self {
        self.named.excluded = Some(items.candidates());
        self
    }

    /// Restricts results to the items that a predicate accepts. It is called only for items that
    /// would be results otherwise, by any searching thread.
    pub fn filter(&mut self, accepts: &'a (dyn Fn(&ItemId) -> bool + Sync)) -> &mut Self {
        self.named.predicate = Some(<ItemId as sealed::Bytes>::predicate(accepts));
        self
    }

    fn search<T>(
        &self,
        rtxn: &RoTxn<'_>,
        request: Request<'_>,
        search: impl FnOnce(&View<'_, '_, Calling<'_, '_>>, Request<'_>) -> Result<T>,
    ) -> Result<T> {
        let view = self.searched.view(rtxn)?;
        by_ids(&view, &self.named, request, |request| search(&view, request))
    }

    /// Returns the items nearest to `vector`. `rtxn` must be on the reader's snapshot: the
    /// transaction that it was opened with, or another one that began before the next commit.
    ///
    /// # Errors
    /// [`DimensionMismatch`](crate::Error::DimensionMismatch),
    /// [`InvalidQuery`](crate::Error::InvalidQuery),
    /// [`SnapshotMismatch`](crate::Error::SnapshotMismatch), [`Corrupt`](crate::Error::Corrupt).
    pub fn by_vector(&self, rtxn: &RoTxn<'_>, vector: &[impl Component]) -> Result<Searched> {
        let vector = Components::of(vector);
        self.search(rtxn, self.request, |view, request| search::by_vector(view, request, vector))
    }

    /// As [`by_vector`](Self::by_vector), but ends early once `cancel` returns `true`.
    ///
    /// # Errors
    /// As [`by_vector`](Self::by_vector).
    pub fn by_vector_with_cancellation(
        &self,
        rtxn: &RoTxn<'_>,
        vector: &[impl Component],
        cancel: impl Fn() -> bool + Sync,
    ) -> Result<Searched> {
        let (vector, request) =
            (Components::of(vector), Request { cancel: &cancel, ..self.request });
        self.search(rtxn, request, |view, request| search::by_vector(view, request, vector))
    }

    /// Returns the items nearest to each of many vectors; `rows` holds them one after the other,
    /// [`dimensions`](Reader::dimensions) components each. The answers equal those of
    /// [`by_vector`](Self::by_vector) for each row; the work is spread over as many threads as
    /// [`exact`](Self::exact) uses. Where vectors are scanned instead of searching the graph, as
    /// with [`exact`](Self::exact), one pass over them serves many queries: from dozens of rows on,
    /// that is many times as fast.
    ///
    /// # Errors
    /// [`UnevenRows`](crate::Error::UnevenRows), [`InvalidRow`](crate::Error::InvalidRow) for the
    /// first row that cannot be compared, [`SnapshotMismatch`](crate::Error::SnapshotMismatch),
    /// [`Corrupt`](crate::Error::Corrupt).
    pub fn by_vectors(&self, rtxn: &RoTxn<'_>, rows: &[impl Component]) -> Result<Vec<Searched>> {
        let rows = Components::of(rows);
        self.search(rtxn, self.request, |view, request| search::by_vectors(view, request, rows))
    }

    /// As [`by_vectors`](Self::by_vectors), but ends early once `cancel` returns `true`: then every
    /// answer is that of a cancelled search.
    ///
    /// # Errors
    /// As [`by_vectors`](Self::by_vectors).
    pub fn by_vectors_with_cancellation(
        &self,
        rtxn: &RoTxn<'_>,
        rows: &[impl Component],
        cancel: impl Fn() -> bool + Sync,
    ) -> Result<Vec<Searched>> {
        let (rows, request) = (Components::of(rows), Request { cancel: &cancel, ..self.request });
        self.search(rtxn, request, |view, request| search::by_vectors(view, request, rows))
    }

    /// Returns the items nearest to a stored item, without that item. `None` if there is no such
    /// item.
    ///
    /// # Errors
    /// As [`by_vector`](Self::by_vector).
    pub fn by_item(&self, rtxn: &RoTxn<'_>, item: ItemId) -> Result<Option<Searched>> {
        self.search(rtxn, self.request, |view, request| search::by_item(view, request, item))
    }

    /// As [`by_item`](Self::by_item), but ends early once `cancel` returns `true`.
    ///
    /// # Errors
    /// As [`by_vector`](Self::by_vector).
    pub fn by_item_with_cancellation(
        &self,
        rtxn: &RoTxn<'_>,
        item: ItemId,
        cancel: impl Fn() -> bool + Sync,
    ) -> Result<Option<Searched>> {
        let request = Request { cancel: &cancel, ..self.request };
        self.search(rtxn, request, |view, request| search::by_item(view, request, item))
    }
}

impl<D> Searchable for WarmReader<'_, '_, D> {
    type Key = ItemId;

    fn answer(query: &Query<'_, Self>, target: Target<'_>) -> Result<Option<Vec<Searched>>> {
        answer_by_ids(&query.searched.view(), query, target)
    }

    type Pinned<'a>
        = &'a Self
    where
        Self: 'a;

    fn pin(&self) -> Result<&Self> {
        Ok(self)
    }
}

impl<D> Pinned for WarmReader<'_, '_, D> {
    fn look(&self, work: Work<'_>) -> Result<()> {
        look_by_ids(&self.view(), work)
    }

    fn commit(&self) -> Result<Option<u64>> {
        Ok(Some(self.reader().commit()))
    }
}

/// Answers a query where items are named by ids.
pub(crate) fn answer_by_ids<'t, S: Source<'t>, R>(
    view: &View<'_, 't, S>,
    query: &Query<'_, R>,
    target: Target<'_>,
) -> Result<Option<Vec<Searched>>> {
    by_ids(view, &query.named, query.request, |request| {
        answer_target(view, request, target, |id| Ok(<ItemId as sealed::Bytes>::take(id)))
    })
}

/// Runs a search with restrictions by id.
fn by_ids<'t, S: Source<'t>, T>(
    view: &View<'_, 't, S>,
    named: &Named<'_>,
    request: Request<'_>,
    search: impl FnOnce(Request<'_>) -> Result<T>,
) -> Result<T> {
    let ask = named.predicate.map(|predicate| {
        move |id: ItemId| Ok(predicate.ask(&id.to_be_bytes()).unwrap_or_default())
    });
    let ask = ask.as_ref().map(|ask| ask as Predicate<'_>);
    named.resolve(view, request, &NoKeys, ask, search)
}

/// Answers a request for a target, whose name `id` looks up if it is an item.
pub(crate) fn answer_target<'t, S: Source<'t>>(
    view: &View<'_, 't, S>,
    request: Request<'_>,
    target: Target<'_>,
    id: impl FnOnce(&[u8]) -> Result<Option<ItemId>>,
) -> Result<Option<Vec<Searched>>> {
    match target {
        Target::Vector(vector) => Ok(Some(vec![search::by_vector(view, request, vector)?])),
        Target::Vectors(rows) => Ok(Some(search::by_vectors(view, request, rows)?)),
        Target::Item(name) => match id(name)? {
            Some(id) => Ok(search::by_item(view, request, id)?.map(|found| vec![found])),
            None => Ok(None),
        },
    }
}
