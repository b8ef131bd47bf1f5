//! One query, put together call by call, over whatever can be searched: `search` answers it.

use std::fmt;

use heed::RoTxn;
use roaring::RoaringBitmap;

use crate::codec::{Component, Components};
use crate::error::Result;
use crate::item_key::{AsCandidates, AsKey, Candidates, ItemName, bytes_of, sealed};
use crate::reader::{Reader, WarmReader};
use crate::search::{self, Request, Searched};
use crate::store::source::Source;
use crate::store::view::View;
use crate::types::ItemId;

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
    pub(crate) request: Request<'a>,
    /// What may be a result, unless the request says.
    pub(crate) named: Option<Candidates<'a>>,
}

/// The name that [`Query`] has in hannoy.
pub type QueryBuilder<'a, R> = Query<'a, R>;

// Not derived: a reference can be copied whether or not what it is of can.
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
        Self { searched, request: Request::new(k), named: None }
    }

    /// Asked every microsecond or two, from any thread that searches: `true` ends the search early,
    /// with the nearest of what has been seen, and [`did_cancel`](Searched::did_cancel).
    pub fn cancel(&mut self, cancel: &'a (dyn Fn() -> bool + Sync)) -> &mut Self {
        self.request.cancel = cancel;
        self
    }

    /// How many candidates a walk of the graph looks around, in the mean: more finds more of the
    /// true neighbors, in about proportionally more time. A query whose neighbors stand out takes
    /// fewer, one whose do not up to twice as many. Anything below `k` counts as `k`; with as many
    /// as there are items the walk finds everything that edges lead to.
    /// [`defaults::EF_SEARCH`](crate::defaults::EF_SEARCH) unless set.
    pub fn ef_search(&mut self, ef: usize) -> &mut Self {
        self.request.ef_search = ef;
        self
    }

    /// Compares every live vector, on as many threads as the calling rayon pool has, or else the
    /// machine: the answer is exact. O(items * dimensions). The calling thread takes part, and runs
    /// no other job of its pool meanwhile; the others are voisin's own.
    pub fn exact(&mut self) -> &mut Self {
        self.request.exact = Some(true);
        self
    }

    /// Walks the graph even where comparing all vectors would be quicker: to measure or to test the
    /// graph. An index whose items are all pending has none.
    pub fn walk_graph(&mut self) -> &mut Self {
        self.request.exact = Some(false);
        self
    }

    /// Whether to use the codes of the index, if it has any; `true` unless set. Without them the
    /// search is slower, and answers as one of an index that has none.
    pub fn codes(&mut self, codes: bool) -> &mut Self {
        self.request.codes = codes;
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
        self.request.candidates = Some(candidates);
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
        search::by_vector(&self.searched.view(rtxn)?, self.request, Components::of(vector))
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
        search::by_vector(
            &self.searched.view(rtxn)?,
            Request { cancel: &cancel, ..self.request },
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
        search::by_vectors(&self.searched.view(rtxn)?, self.request, Components::of(rows))
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
        search::by_vectors(
            &self.searched.view(rtxn)?,
            Request { cancel: &cancel, ..self.request },
            Components::of(rows),
        )
    }

    /// The items nearest to a stored one, which itself is left out. `None` if there is no such
    /// item.
    ///
    /// # Errors
    /// As [`by_vector`](Self::by_vector).
    pub fn by_item(&self, rtxn: &RoTxn<'_>, item: ItemId) -> Result<Option<Searched>> {
        search::by_item(&self.searched.view(rtxn)?, self.request, item)
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
        search::by_item(
            &self.searched.view(rtxn)?,
            Request { cancel: &cancel, ..self.request },
            item,
        )
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
    let mut request = query.request;
    if let Some(Candidates::Ids(candidates)) = query.named {
        request.candidates = Some(candidates);
    }
    match target {
        Target::Vector(vector) => Ok(Some(vec![search::by_vector(view, request, vector)?])),
        Target::Vectors(rows) => Ok(Some(search::by_vectors(view, request, rows)?)),
        Target::Item(id) => match <ItemId as sealed::Bytes>::take(id) {
            Some(id) => Ok(search::by_item(view, request, id)?.map(|found| vec![found])),
            None => Ok(None),
        },
    }
}
