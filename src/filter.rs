//! Filters: the restrictions of a query by the names of items, and sets of items that a caller
//! keeps for many queries.
//!
//! Names are resolved to ids here, and ids to slots by `search`. A [`Filter`] keeps what it has
//! been resolved to, for one snapshot at a time. Invariant: the answer of a query with a filter is
//! that with the same set given anew; a snapshot is known by its serial number, which no other
//! snapshot has, so that a write transaction, whose content changes, is resolved for each query.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use roaring::RoaringBitmap;

use crate::error::{Error, Result};
use crate::field::Condition;
use crate::item_key::{
    AsKey, ItemKey, ItemName, MAX_KEY_BYTES, NamePredicate, PrefixedKey, bytes_of,
};
use crate::search::{Due, Items, Predicate, Request, Restrictions, SlotSet};
use crate::store::sections::fields::ids::Ids;
use crate::store::source::Source;
use crate::store::view::View;
use crate::types::ItemId;

/// A set of items that is kept for many queries: [`Query::candidates`](crate::Query::candidates)
/// and [`Query::exclude`](crate::Query::exclude) take it by reference.
///
/// A query looks the items of a set up in the index, about 3 nanoseconds for each of many ids, and
/// up to a microsecond for a key. A filter keeps that, from its second use on a snapshot on:
/// searches of an [`Index`](crate::Index) do it again after a commit, those of a
/// [`Reader`](crate::Reader) or [`Snapshot`](crate::Snapshot) never. In a write transaction, each
/// query does it, and sees what is not committed yet. Used with another index or snapshot, it is
/// resolved for that; it takes up to 5 bytes of memory for each item of the index. Clones share all
/// of that, and threads can use it at the same time.
///
/// ```
/// use voisin::roaring::RoaringBitmap;
/// use voisin::{Filter, Index, Options, distances::Euclidean};
///
/// # fn main() -> voisin::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("vectors");
/// let index = Index::<Euclidean>::create(&path, Options::new(1))?;
/// index.write(|batch| batch.add_items_from((0..3000).map(|item| (item, [item as f32]))))?;
/// let even = Filter::new((0..3000).step_by(2).collect::<RoaringBitmap>());
/// for (query, nearest) in [(6.9, 6), (700.2, 700)] {
///     let found = index.search(1).candidates(&even).by_vector(&[query])?;
///     assert_eq!(found.nns[0].0, nearest);
/// }
///
/// let notes = Index::<Euclidean, str>::create(&path, Options::new(1).name("notes"))?;
/// notes.write(|batch| {
///     batch.add("ann/1", &[1.0])?;
///     batch.add("bob/1", &[2.0])
/// })?;
/// let of_ann = Filter::prefix("ann/");
/// let two = Filter::<str>::keys(["bob/1", "bob/2"])?;
/// assert_eq!(notes.search(9).candidates(&of_ann).by_vector(&[9.0])?.nns[0].0, "ann/1");
/// assert_eq!(notes.search(9).exclude(&two).by_vector(&[9.0])?.nns[0].0, "ann/1");
/// # Ok(())
/// # }
/// ```
pub struct Filter<K: ItemName + ?Sized = ItemId> {
    kept: Arc<Kept>,
    names: PhantomData<fn(&K)>,
}

impl<K: ItemName + ?Sized> Clone for Filter<K> {
    fn clone(&self) -> Self {
        Self { kept: Arc::clone(&self.kept), names: PhantomData }
    }
}

impl<K: ItemName + ?Sized> fmt::Debug for Filter<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filter").field(&self.kept.set).finish()
    }
}

impl<K: ItemName + ?Sized> Filter<K> {
    fn of(set: Set) -> Self {
        Self { kept: Arc::new(Kept::of(set)), names: PhantomData }
    }
}

impl Filter {
    /// A set of items by their ids. Ids that an index does not have are ignored.
    #[must_use]
    pub fn new(items: RoaringBitmap) -> Self {
        Self::of(Set::Ids(items))
    }
}

impl<K: ItemKey + ?Sized> Filter<K> {
    /// A set of items by their keys. Keys that an index does not have are ignored.
    ///
    /// # Errors
    /// [`InvalidItemKey`](crate::Error::InvalidItemKey).
    pub fn keys<Q: AsKey<K>>(keys: impl IntoIterator<Item = Q>) -> Result<Self> {
        let keys = keys.into_iter().map(|key| bytes_of(&key)).collect::<Result<_>>()?;
        Ok(Self::of(Set::Keys(keys)))
    }
}

impl<K: PrefixedKey + ?Sized> Filter<K> {
    /// All items whose keys begin with `prefix`.
    #[must_use]
    pub fn prefix(prefix: impl AsKey<K>) -> Self {
        Self::of(Set::Prefix(prefix.as_key().as_prefix().to_vec()))
    }
}

impl<K: ItemName + ?Sized> Filter<K> {
    /// All items for which a condition on their fields holds: see [`field`](crate::field()). A
    /// condition that the index cannot have is an error of the search.
    #[must_use]
    pub fn matching(condition: Condition) -> Self {
        Self::of(Set::Matching(condition))
    }
}

/// A set of items by their names, as bytes.
#[derive(Debug)]
enum Set {
    Ids(RoaringBitmap),
    Keys(Vec<Vec<u8>>),
    Prefix(Vec<u8>),
    Matching(Condition),
}

/// The shared state of the clones of a filter.
#[doc(hidden)]
pub struct Kept {
    set: Set,
    used: Mutex<Option<Used>>,
}

/// What a filter was used on last.
struct Used {
    /// The serial number of the snapshot.
    serial: u64,
    /// The space of keys.
    space: Vec<u8>,
    /// What it was resolved to for that: from its second use on, as the first may not need all of
    /// it.
    slots: Option<Arc<SlotSet>>,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kept").field(&self.set).finish()
    }
}

impl Kept {
    fn of(set: Set) -> Self {
        Self { set, used: Mutex::default() }
    }

    /// All items of a space of keys.
    pub(crate) fn all() -> Self {
        Self::of(Set::Prefix(Vec::new()))
    }

    /// Looks the names up. From the second use on a snapshot, it is resolved, and that is kept.
    fn known<'t, S: Source<'t>>(
        &self,
        view: &View<'_, 't, S>,
        keys: &impl Keys,
        due: Due,
    ) -> Result<Known<'_>> {
        let serial = view.snapshot.serial;
        let lock = || self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = {
            let mut used = lock();
            let is_of = |used: &&Used| used.serial == serial && used.space == keys.space();
            match used.as_ref().filter(is_of) {
                Some(Used { slots: Some(slots), .. }) => {
                    return Ok(Known::Slots(Arc::clone(slots)));
                }
                Some(Used { slots: None, .. }) => false,
                None => {
                    *used = Some(Used { serial, space: keys.space().to_vec(), slots: None });
                    true
                }
            }
        };
        // Not under the lock: others may be at work on other snapshots.
        let known = match &self.set {
            Set::Ids(ids) => Known::Borrowed(ids),
            Set::Keys(all) => Known::Ids(keys.ids(all, due)?.into()),
            Set::Prefix(prefix) => Known::Ids(keys.with_prefix(prefix, due)?.into()),
            Set::Matching(condition) => Known::matching(view, condition, due)?,
        };
        if is_first {
            return Ok(known);
        }
        let slots = match known {
            Known::Borrowed(ids) => Arc::new(SlotSet::of(view, ids, due)?),
            Known::Ids(ids) => Arc::new(SlotSet::of(view, &ids, due)?),
            Known::Slots(slots) => slots,
        };
        // These may be some of them otherwise.
        if !due.is_over() {
            let (space, slots) = (keys.space().to_vec(), Some(Arc::clone(&slots)));
            *lock() = Some(Used { serial, space, slots });
        }
        Ok(Known::Slots(slots))
    }
}

/// A set of items, by id or by key.
#[derive(Debug, Clone)]
#[doc(hidden)]
pub enum Candidates<'a> {
    Ids(&'a RoaringBitmap),
    Keys(Vec<Vec<u8>>),
    Kept(&'a Kept),
    Matching(&'a Condition),
    /// The length, in bytes, of the first candidate that cannot be a key.
    Invalid(usize),
}

/// A value that lists items for a query: a set of item ids where items are named by ids, else an
/// iterator of keys; a [`Condition`] on their fields; or a [`Filter`].
pub trait AsCandidates<'a, K: ItemName + ?Sized> {
    #[doc(hidden)]
    fn candidates(self) -> Candidates<'a>;
}

impl<'a> AsCandidates<'a, ItemId> for &'a RoaringBitmap {
    fn candidates(self) -> Candidates<'a> {
        Candidates::Ids(self)
    }
}

impl<'a, K: ItemName + ?Sized> AsCandidates<'a, K> for &'a Condition {
    fn candidates(self) -> Candidates<'a> {
        Candidates::Matching(self)
    }
}

impl<'a, K: ItemName + ?Sized> AsCandidates<'a, K> for &'a Filter<K> {
    fn candidates(self) -> Candidates<'a> {
        Candidates::Kept(&self.kept)
    }
}

impl<'a, K: ItemKey + ?Sized, I: IntoIterator<Item: AsKey<K>>> AsCandidates<'a, K> for I {
    fn candidates(self) -> Candidates<'a> {
        let mut keys = Vec::new();
        for key in self {
            match bytes_of(&key) {
                Ok(key) => keys.push(key),
                Err(_) => return Candidates::Invalid(size_of_val(key.as_key())),
            }
        }
        Candidates::Keys(keys)
    }
}

/// The restrictions of a query, by the names of items.
#[derive(Debug, Clone, Default)]
pub(crate) struct Named<'a> {
    pub(crate) candidates: Option<Candidates<'a>>,
    pub(crate) excluded: Option<Candidates<'a>>,
    pub(crate) prefix: Option<&'a [u8]>,
    pub(crate) predicate: Option<NamePredicate<'a>>,
    /// The space of keys that all names are in: the prefix of the keys of a tenant's items, or
    /// nothing.
    pub(crate) space: &'a [u8],
    /// If results are restricted to that space: all of its items.
    pub(crate) tenant: Option<&'a Kept>,
}

/// Looks up the keys of an index, if its items have any.
pub(crate) trait Keys {
    /// The prefix of the keys in the index, which those here are without.
    fn space(&self) -> &[u8];

    /// The ids of the items that have these keys: some of them, if the time is over.
    fn ids(&self, keys: &[Vec<u8>], due: Due) -> Result<RoaringBitmap>;

    /// The ids of the items whose keys begin with `prefix`: some of them, if the time is over.
    fn with_prefix(&self, prefix: &[u8], due: Due) -> Result<RoaringBitmap>;
}

/// Items are named by ids.
pub(crate) struct NoKeys;

impl Keys for NoKeys {
    fn space(&self) -> &[u8] {
        &[]
    }

    fn ids(&self, _: &[Vec<u8>], _: Due) -> Result<RoaringBitmap> {
        Ok(RoaringBitmap::new())
    }

    fn with_prefix(&self, _: &[u8], _: Due) -> Result<RoaringBitmap> {
        Ok(RoaringBitmap::new())
    }
}

/// A set of items whose names have been looked up.
enum Known<'a> {
    Borrowed(&'a RoaringBitmap),
    Ids(Arc<RoaringBitmap>),
    Slots(Arc<SlotSet>),
}

impl<'a> Known<'a> {
    fn of<'t, S: Source<'t>>(
        named: &Option<Candidates<'a>>,
        view: &View<'_, 't, S>,
        keys: &impl Keys,
        due: Due,
    ) -> Result<Option<Self>> {
        Ok(match named {
            None => None,
            Some(Candidates::Ids(ids)) => Some(Self::Borrowed(ids)),
            Some(Candidates::Keys(all)) => Some(Self::Ids(keys.ids(all, due)?.into())),
            Some(Candidates::Matching(condition)) => Some(Self::matching(view, condition, due)?),
            Some(Candidates::Kept(kept)) => Some(kept.known(view, keys, due)?),
            Some(Candidates::Invalid(bytes)) => {
                let max = MAX_KEY_BYTES - keys.space().len();
                return Err(Error::InvalidItemKey { bytes: *bytes, max });
            }
        })
    }

    /// The items for which a condition holds, as if they were given: they may not have to be
    /// resolved.
    fn matching<'t, S: Source<'t>>(
        view: &View<'_, 't, S>,
        condition: &Condition,
        due: Due,
    ) -> Result<Self> {
        Ok(match view.matching(condition)? {
            Ids::Only(ids) => Self::Ids(ids),
            Ids::AllBut(ids) => {
                let others = SlotSet::of(view, &ids, due)?;
                let left = SlotSet::all(view)?.without(&others, &view.snapshot.pending);
                Self::Slots(Arc::new(left))
            }
        })
    }

    fn items(&self) -> Items<'_> {
        match self {
            Self::Borrowed(ids) => Items::Ids(ids),
            Self::Ids(ids) => Items::Ids(ids),
            Self::Slots(slots) => Items::Slots(slots),
        }
    }
}

impl Named<'_> {
    fn has_sets(&self) -> bool {
        self.candidates.is_some()
            || self.excluded.is_some()
            || self.prefix.is_some()
            || self.tenant.is_some()
    }

    /// The items whose keys begin with the prefix, or else those of the tenant, unless nothing but
    /// these can be candidates.
    fn prefixed<'t, S: Source<'t>>(
        &self,
        view: &View<'_, 't, S>,
        keys: &impl Keys,
        due: Due,
    ) -> Result<Option<Known<'_>>> {
        if let Some(prefix) = self.prefix.filter(|prefix| !prefix.is_empty()) {
            return Ok(Some(Known::Ids(keys.with_prefix(prefix, due)?.into())));
        }
        match (self.tenant, &self.candidates) {
            (None, _) | (Some(_), Some(Candidates::Keys(_))) => Ok(None),
            (Some(tenant), _) => tenant.known(view, keys, due).map(Some),
        }
    }

    /// Runs `search` with the request that these restrictions, of names, add to `request`.
    /// `predicate` is the predicate by id. The time of the search begins to run here. If it is over
    /// before all names have been looked up, nothing may be a result.
    ///
    /// # Errors
    /// [`Error::InvalidItemKey`], and those of looking keys up.
    pub(crate) fn resolve<'t, S: Source<'t>, T>(
        &self,
        view: &View<'_, 't, S>,
        request: Request<'_>,
        keys: &impl Keys,
        predicate: Option<Predicate<'_>>,
        search: impl FnOnce(Request<'_>) -> Result<T>,
    ) -> Result<T> {
        let request = request.started();
        let due = request.due();
        let candidates = Known::of(&self.candidates, view, keys, due)?;
        let excluded = Known::of(&self.excluded, view, keys, due)?;
        let prefix = self.prefixed(view, keys, due)?;
        let before = request.restrictions;
        let mut restrictions = Restrictions {
            candidates: candidates.as_ref().map(Known::items).or(before.candidates),
            prefix: prefix.as_ref().map(Known::items).or(before.prefix),
            excluded: excluded.as_ref().map(Known::items).or(before.excluded),
            predicate: predicate.or(before.predicate),
        };
        let nothing = RoaringBitmap::new();
        if self.has_sets() && due.is_over() {
            restrictions.candidates = Some(Items::Ids(&nothing));
        }
        search(Request { restrictions, ..request })
    }
}
