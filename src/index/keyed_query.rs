//! One query of an index whose items have keys: candidates and answers by key, on the one snapshot
//! that is searched.

use std::fmt;

use heed::RoTxn;
use roaring::RoaringBitmap;

use super::environment::WriteTxn;
use super::item_key::{AsKey, ItemKey, ItemName, bytes_of, sealed};
use super::{Batch, Index, Snapshot, item_keys};
use crate::codec::{Component, Components};
use crate::error::{Error, Result};
use crate::format::item_keys::Row;
use crate::query::{QueryBuilder, Searched, by_item, by_vector, by_vectors};
use crate::store::item_keys::ItemKeys;
use crate::store::owned_snapshot::OwnedSnapshot;
use crate::store::source::Source;
use crate::store::view::View;

/// A query by key being put together: see [`Index::search`](crate::Index::search).
///
/// Its answers are those of [`QueryBuilder`](crate::QueryBuilder), with keys in the place of ids:
/// [`Searched<u64>`](Searched) or [`Searched<String>`](Searched); of items at the same distance any
/// may come first. Finding the key of a result costs one lookup, the first time that a snapshot
/// gives it.
///
/// ```
/// use voisin::{Index, Options, distances::Euclidean};
///
/// # fn main() -> voisin::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("vectors");
/// let index = Index::<Euclidean, u64>::create(&path, Options::new(1))?;
/// index.write(|batch| (0..1000).try_for_each(|i| batch.add(i << 40, &[i as f32])))?;
/// let found = index.search(2).ef_search(50).candidates([3 << 40, 90 << 40]).by_vector(&[80.0])?;
/// assert_eq!(found.into_nns(), [(90 << 40, 100.0), (3 << 40, 5929.0)]);
/// # Ok(())
/// # }
/// ```
pub struct KeyedQuery<'a, R> {
    query: QueryBuilder<'a, R>,
    candidates: Option<Vec<Vec<u8>>>,
    /// Bytes of the first candidate that no item can have as its key.
    invalid: Option<usize>,
}

impl<R> Clone for KeyedQuery<'_, R> {
    fn clone(&self) -> Self {
        Self { query: self.query, candidates: self.candidates.clone(), invalid: self.invalid }
    }
}

impl<R> fmt::Debug for KeyedQuery<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let candidates = self.candidates.as_ref().map(Vec::len);
        f.debug_struct("KeyedQuery")
            .field("query", &self.query)
            .field("candidates", &candidates)
            .finish_non_exhaustive()
    }
}

/// What a query is for.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    Vector(Components<'a>),
    /// One after the other.
    Vectors(Components<'a>),
    /// The key of an item, as bytes.
    Item(&'a [u8]),
}

type Cancel<'a> = &'a (dyn Fn() -> bool + Sync);
type Answer<R> = Searched<<<R as Searchable>::Key as ItemName>::Owned>;

/// What can be searched by key: an index, a snapshot or a batch.
pub trait Searchable: Sized {
    /// What names its items.
    type Key: ItemKey + ?Sized;

    /// An answer for each vector, or one for an item.
    ///
    /// # Errors
    /// Those of [`KeyedQuery::by_vectors`]. `None` if there is no such item.
    fn answer(
        query: &KeyedQuery<'_, Self>,
        target: Target<'_>,
        cancel: Cancel<'_>,
    ) -> Result<Option<Vec<Answer<Self>>>>;
}

/// A transaction that is used for a moment at a time: a view of the same snapshot needs it, too.
trait Lend {
    fn lend<T>(&self, work: impl FnOnce(&RoTxn<'_>) -> Result<T>) -> Result<T>;
}

impl Lend for OwnedSnapshot<'_> {
    fn lend<T>(&self, work: impl FnOnce(&RoTxn<'_>) -> Result<T>) -> Result<T> {
        self.lend(work)
    }
}

impl Lend for WriteTxn<'_> {
    fn lend<T>(&self, work: impl FnOnce(&RoTxn<'_>) -> Result<T>) -> Result<T> {
        work(self)
    }
}

impl<'a, R: Searchable> KeyedQuery<'a, R> {
    pub(super) fn new(reader: &'a R, k: usize) -> Self {
        Self { query: QueryBuilder::new(reader, k), candidates: None, invalid: None }
    }

    /// Whether to use codes: see [`QueryBuilder::codes`](crate::QueryBuilder::codes).
    pub fn codes(&mut self, codes: bool) -> &mut Self {
        self.query.codes(codes);
        self
    }

    /// How many candidates the beam keeps: see
    /// [`QueryBuilder::ef_search`](crate::QueryBuilder::ef_search).
    pub fn ef_search(&mut self, ef: usize) -> &mut Self {
        self.query.ef_search(ef);
        self
    }

    /// Compares every live vector: see [`QueryBuilder::exact`](crate::QueryBuilder::exact).
    pub fn exact(&mut self) -> &mut Self {
        self.query.exact();
        self
    }

    /// Walks the graph even where comparing all vectors would be quicker: see
    /// [`QueryBuilder::walk_graph`](crate::QueryBuilder::walk_graph).
    pub fn walk_graph(&mut self) -> &mut Self {
        self.query.walk_graph();
        self
    }

    /// Only these items may be results. Keys that are not in the index are ignored. Each is looked
    /// up by every search: a microsecond or less.
    pub fn candidates<Q: AsKey<R::Key>>(&mut self, keys: impl IntoIterator<Item = Q>) -> &mut Self {
        self.invalid = None;
        let mut candidates = Vec::new();
        for key in keys {
            match bytes_of(&key) {
                Ok(key) => candidates.push(key),
                Err(_) => self.invalid = self.invalid.or(Some(size_of_val(key.as_key()))),
            }
        }
        self.candidates = Some(candidates);
        self
    }

    /// The items nearest to `vector`.
    ///
    /// # Errors
    /// As those of [`QueryBuilder`](crate::QueryBuilder), and
    /// [`InvalidItemKey`](Error::InvalidItemKey), [`CorruptItemKey`](Error::CorruptItemKey).
    pub fn by_vector(&self, vector: &[impl Component]) -> Result<Answer<R>> {
        self.by_vector_with_cancellation(vector, || false)
    }

    /// As [`by_vector`](Self::by_vector), ended early once `cancel` returns `true`.
    ///
    /// # Errors
    /// As [`by_vector`](Self::by_vector).
    pub fn by_vector_with_cancellation(
        &self,
        vector: &[impl Component],
        cancel: impl Fn() -> bool + Sync,
    ) -> Result<Answer<R>> {
        let answers = R::answer(self, Target::Vector(Components::of(vector)), &cancel)?;
        Ok(answers.into_iter().flatten().next().unwrap_or_else(Searched::empty))
    }

    /// The items nearest to each of many vectors, as [`by_vector`](Self::by_vector) finds them for
    /// each alone: `rows` holds the vectors one after the other. On several threads; exact searches
    /// share one pass over what is stored.
    ///
    /// # Errors
    /// [`UnevenRows`](Error::UnevenRows), [`InvalidRow`](Error::InvalidRow) for the first row that
    /// cannot be compared, and those of [`by_vector`](Self::by_vector) that are not about the
    /// query.
    pub fn by_vectors(&self, rows: &[impl Component]) -> Result<Vec<Answer<R>>> {
        self.by_vectors_with_cancellation(rows, || false)
    }

    /// As [`by_vectors`](Self::by_vectors), ended early once `cancel` returns `true`.
    ///
    /// # Errors
    /// As [`by_vectors`](Self::by_vectors).
    pub fn by_vectors_with_cancellation(
        &self,
        rows: &[impl Component],
        cancel: impl Fn() -> bool + Sync,
    ) -> Result<Vec<Answer<R>>> {
        Ok(R::answer(self, Target::Vectors(Components::of(rows)), &cancel)?.unwrap_or_default())
    }

    /// The items nearest to a stored one, which itself is left out. `None` if there is no such
    /// item.
    ///
    /// # Errors
    /// As [`by_vector`](Self::by_vector).
    pub fn by_item(&self, key: impl AsKey<R::Key>) -> Result<Option<Answer<R>>> {
        self.by_item_with_cancellation(key, || false)
    }

    /// As [`by_item`](Self::by_item), ended early once `cancel` returns `true`.
    ///
    /// # Errors
    /// As [`by_vector`](Self::by_vector).
    pub fn by_item_with_cancellation(
        &self,
        key: impl AsKey<R::Key>,
        cancel: impl Fn() -> bool + Sync,
    ) -> Result<Option<Answer<R>>> {
        Ok(R::answer(self, Target::Item(&bytes_of(&key)?), &cancel)?.into_iter().flatten().next())
    }

    /// The answer on one snapshot, whose transaction is lent for the keys.
    fn run<'t, S: Source<'t>>(
        &self,
        view: &View<'_, 't, S>,
        keys: ItemKeys<'_>,
        txn: &impl Lend,
        (target, cancel): (Target<'_>, Cancel<'_>),
    ) -> Result<Option<Vec<Answer<R>>>> {
        if let Some(bytes) = self.invalid {
            return Err(Error::InvalidItemKey { bytes, max: super::MAX_KEY_BYTES });
        }
        // Lent for each anew: others wait for it.
        let id = |key: &[u8]| txn.lend(|txn| keys.id(txn, key));
        let item = match target {
            Target::Vector(_) | Target::Vectors(_) => None,
            Target::Item(key) => id(key)?,
        };
        let ids = |all: &Vec<Vec<u8>>| {
            all.iter().filter_map(|key| id(key).transpose()).collect::<Result<RoaringBitmap>>()
        };
        let candidates = self.candidates.as_ref().map(ids).transpose()?;
        let mut query = self.query;
        if let Some(candidates) = &candidates {
            query = QueryBuilder { reader: query.reader, options: query.options };
            query.candidates(candidates);
        }
        let cancel = || cancel();
        let found = match (target, item) {
            (Target::Vector(vector), _) => {
                Some(vec![by_vector(view, query.options, vector, &cancel)?])
            }
            (Target::Vectors(rows), _) => Some(by_vectors(view, query.options, rows, &cancel)?),
            (Target::Item(_), Some(item)) => {
                by_item(view, query.options, item, &cancel)?.map(|found| vec![found])
            }
            (Target::Item(_), None) => None,
        };
        let known = keys.known(view.snapshot, || txn.lend(|txn| keys.bound(txn)))?;
        let name = |id| {
            let owned = <R::Key as sealed::Bytes>::take(keys.key(view, known, id)?);
            owned.ok_or(Error::corrupt(
                Row::name_of(keys.place.index, id),
                "its key is not of the type of the index",
            ))
        };
        found.map(|found| found.into_iter().map(|found| found.name(name)).collect()).transpose()
    }

    fn run_held(
        &self,
        held: &OwnedSnapshot<'static>,
        query: (Target<'_>, Cancel<'_>),
    ) -> Result<Option<Vec<Answer<R>>>> {
        self.run(&held.view(), item_keys::<R::Key>(held.place()), held, query)
    }
}

impl<D, K: ItemKey + ?Sized> Searchable for Index<D, K> {
    type Key = K;

    fn answer(
        query: &KeyedQuery<'_, Self>,
        target: Target<'_>,
        cancel: Cancel<'_>,
    ) -> Result<Option<Vec<Answer<Self>>>> {
        query.query.reader.shared.search(|held| query.run_held(held, (target, cancel)))
    }
}

impl<D, K: ItemKey + ?Sized> Searchable for Snapshot<D, K> {
    type Key = K;

    fn answer(
        query: &KeyedQuery<'_, Self>,
        target: Target<'_>,
        cancel: Cancel<'_>,
    ) -> Result<Option<Vec<Answer<Self>>>> {
        query.query.reader.check_process()?;
        let _searching = query.query.reader.searching();
        query.run_held(query.query.reader.held(), (target, cancel))
    }
}

impl<D, K: ItemKey + ?Sized> Searchable for Batch<'_, D, K> {
    type Key = K;

    fn answer(
        query: &KeyedQuery<'_, Self>,
        target: Target<'_>,
        cancel: Cancel<'_>,
    ) -> Result<Option<Vec<Answer<Self>>>> {
        let batch = query.query.reader;
        let reader = batch.writes.reader()?;
        query.run(
            &reader.view(batch.writes.txn())?,
            batch.keys(),
            batch.writes.txn(),
            (target, cancel),
        )
    }
}
