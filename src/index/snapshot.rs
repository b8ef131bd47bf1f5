//! An index at one commit, with the transaction that pins it.
//!
//! A snapshot caches pointers to the values it has read, so that a new one for each search would
//! look everything up anew. The cache of an index, which all its handles share, holds the newest
//! snapshot requested, until there is a newer commit: a search costs a look at the number of the
//! newest commit, and a reference count. The snapshots of all indexes of a folder share one
//! transaction, on the newest commit requested of any of them: `environment` ensures that no cache
//! holds an older one, so that idle indexes take no entries of the reader table. The pointers of an
//! index outlive its snapshot, for as long as a later one can take them over.

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::environment::{Pin, Searching, SharedEnv};
use crate::error::Result;
use crate::query::Query;
use crate::store::owned_snapshot::{OwnedSnapshot, OwnedSource};
use crate::store::sections::ids::items::items_from;
use crate::store::sections::list::index_kinds;
use crate::store::sections::records::view::records_in;
use crate::store::sections::warm::Warmed;
use crate::store::view::View;
use crate::types::{IndexKind, ItemId, Slot};

/// The number of items looked up while others wait for the transaction: a tenth of a millisecond.
const ITEMS_AHEAD: usize = 4096;
/// The same for bytes of records, as far as they are more than one record.
const RECORD_BYTES_AHEAD: usize = 256 << 10;

/// An index at one commit, for as long as it is held: see
/// [`Index::snapshot`](crate::Index::snapshot).
///
/// It can be cloned, which is cheap, shared between threads and sent to others. All its answers are
/// those of one commit, whatever is committed meanwhile. It costs others nothing but disk space:
/// the pages that it uses cannot be reused, so a file that changes grows while it is held.
///
/// ```
/// use voisin::{Index, Options, distances::Euclidean};
///
/// # fn main() -> voisin::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(2))?;
/// index.write(|batch| batch.add_items(&[1, 2], &[0.0, 0.0, 3.0, 0.0]))?;
/// let before = index.snapshot()?;
/// index.write(|batch| batch.delete(1))?;
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         let found = before.search(1).by_vector(&[0.0, 1.0]).unwrap();
///         assert_eq!(found.into_nns(), [(1, 1.0)]);
///     });
/// });
/// assert_eq!(index.search(1).by_vector(&[0.0, 1.0])?.into_nns(), [(2, 10.0)]);
/// # Ok(())
/// # }
/// ```
pub struct Snapshot<D, K: ?Sized = ItemId> {
    shared: Arc<Shared>,
    types: PhantomData<fn(&K) -> D>,
}

/// The shared state of the clones of a snapshot.
#[derive(Debug)]
struct Shared {
    held: Arc<OwnedSnapshot<'static>>,
    /// The name of the index when the snapshot was taken.
    name: String,
    hold: Pin,
}

impl<D, K: ?Sized> Clone for Snapshot<D, K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), types: PhantomData }
    }
}

impl<D, K: ?Sized> fmt::Debug for Snapshot<D, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("commit", &self.commit()).finish_non_exhaustive()
    }
}

impl<D, K: ?Sized> Snapshot<D, K> {
    pub(super) fn held(&self) -> &OwnedSnapshot<'static> {
        &self.shared.held
    }

    pub(super) fn name(&self) -> &str {
        &self.shared.name
    }

    pub(super) fn check_process(&self) -> Result<()> {
        self.shared.hold.check_process()
    }

    /// Marks this thread as searching it.
    pub(super) fn searching(&self) -> Searching {
        self.shared.hold.searching()
    }

    /// The number of the commit, counted over all indexes of the environment. A later commit has a
    /// larger number.
    #[must_use]
    pub fn commit(&self) -> u64 {
        self.held().id() as u64
    }
}

impl<D, K: ?Sized> Snapshot<D, K> {
    /// Starts a query for the `k` nearest items.
    #[must_use]
    pub fn search(&self, k: usize) -> Query<'_, Self> {
        Query::new(self, k)
    }

    pub(super) fn new(held: Arc<OwnedSnapshot<'static>>, name: &str, env: &Arc<SharedEnv>) -> Self {
        let (name, hold) = (name.to_owned(), Pin::new(env));
        Self { shared: Arc::new(Shared { held, name, hold }), types: PhantomData }
    }

    /// The record of an item, by its id.
    pub(super) fn record_of_id(&self, item: ItemId) -> Result<Option<Vec<u8>>> {
        Ok(self.view()?.record_of(item)?.map(<[u8]>::to_vec))
    }

    /// Items and slots, ordered by id.
    pub(super) fn slots(&self) -> Result<Vec<(ItemId, Slot)>> {
        self.check_process()?;
        let (held, mut slots, mut next) = (self.held(), Vec::new(), Some(0));
        while let Some(first) = next {
            // In chunks, because others wait for the transaction.
            let found = held.lend(|txn| {
                items_from(held.place(), txn, first)?.take(ITEMS_AHEAD).collect::<Result<Vec<_>>>()
            })?;
            next = found.get(ITEMS_AHEAD - 1).and_then(|(last, _)| last.checked_add(1));
            slots.extend(found);
        }
        Ok(slots)
    }

    pub(super) fn view(&self) -> Result<View<'_, 'static, OwnedSource<'_, 'static>>> {
        self.check_process()?;
        Ok(self.held().view())
    }

    /// The number of components of every vector.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.held().meta().dimensions as usize
    }

    /// The number of items.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.held().meta().items.into()
    }

    /// The kinds of the index, ascending.
    #[must_use]
    pub fn kinds(&self) -> Vec<IndexKind> {
        index_kinds(self.held().meta())
    }

    /// Whether the index has no items.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads the values that searches need from disk, so that searches need not wait for it: the
    /// graph first, from the top layer, then item ids and codes, and vectors last, until
    /// `budget_bytes` have been read. Returns the number of bytes read, and whether they were all.
    /// If the index is in memory already, this still resolves the pointers to all values ahead of
    /// the first searches.
    ///
    /// ```
    /// # use voisin::{Index, Options, distances::Euclidean};
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(2))?;
    /// index.load((0..1000).map(|item| (item, [item as f32, 0.0])), |_| {})?;
    /// let warmed = index.snapshot()?.warm(1 << 30)?;
    /// assert!(warmed.is_complete && warmed.bytes > 1000 * 2 * 4);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Forked`](crate::Error::Forked), [`Corrupt`](crate::Error::Corrupt).
    pub fn warm(&self, budget_bytes: u64) -> Result<Warmed> {
        self.view()?.warm(budget_bytes)
    }
}

impl<D> Snapshot<D> {
    /// The vector of an item as stored: the vector that was added, bit for bit, or rounded to [the
    /// element type of the index](crate::codec). `None` if there is no such item.
    ///
    /// # Errors
    /// [`Forked`](crate::Error::Forked), [`Corrupt`](crate::Error::Corrupt).
    pub fn vector(&self, item: ItemId) -> Result<Option<Vec<f32>>> {
        let view = self.view()?;
        view.slot(item)?.map(|slot| view.components(slot)).transpose()
    }

    /// Whether there is such an item.
    ///
    /// # Errors
    /// As [`vector`](Self::vector).
    pub fn contains(&self, item: ItemId) -> Result<bool> {
        Ok(self.view()?.slot(item)?.is_some())
    }

    /// The ids of all items. O(items).
    ///
    /// # Errors
    /// As [`vector`](Self::vector).
    pub fn ids(&self) -> Result<RoaringBitmap> {
        Ok(self.slots()?.into_iter().map(|(item, _)| item).collect())
    }

    /// All items and their vectors, ordered by id. The ids are looked up first, 8 bytes each, the
    /// vectors one by one.
    ///
    /// # Errors
    /// As [`vector`](Self::vector); the iterator's items the same.
    pub fn iter(&self) -> Result<impl Iterator<Item = Result<(ItemId, Vec<f32>)>> + '_> {
        let (view, slots) = (self.view()?, self.slots()?);
        Ok(slots.into_iter().map(move |(item, slot)| Ok((item, view.components(slot)?))))
    }

    /// The record of an item. `None` if it has none, or if there is no such item.
    ///
    /// # Errors
    /// As [`vector`](Self::vector).
    pub fn record(&self, item: ItemId) -> Result<Option<Vec<u8>>> {
        self.record_of_id(item)
    }

    /// The records of some items, in their order: see [`record`](Self::record).
    ///
    /// # Errors
    /// As [`vector`](Self::vector).
    pub fn records_of(
        &self,
        items: impl IntoIterator<Item = ItemId>,
    ) -> Result<Vec<Option<Vec<u8>>>> {
        items.into_iter().map(|item| self.record(item)).collect()
    }

    /// The items that have a record, and their records, ordered by id. Some are read at a time, as
    /// the iterator advances.
    ///
    /// ```
    /// # use voisin::{Index, Options, distances::Euclidean};
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(1))?;
    /// index.write(|batch| {
    ///     batch.add_items_with_records((0..9).map(|item| (item, [1.0], item.to_string())))?;
    ///     batch.add(9, &[1.0])
    /// })?;
    /// let snapshot = index.snapshot()?;
    /// let last = snapshot.records()?.last().unwrap()?;
    /// assert_eq!(last, (8, b"8".to_vec()));
    /// assert_eq!(snapshot.records_of([5, 9])?, [Some(b"5".to_vec()), None]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`vector`](Self::vector); the iterator's items the same.
    pub fn records(&self) -> Result<impl Iterator<Item = Result<(ItemId, Vec<u8>)>> + '_> {
        self.check_process()?;
        Ok(Records { held: self.held(), ahead: VecDeque::new(), next: Some(0) })
    }
}

/// The records of a snapshot, ordered by item id. Its transaction is borrowed for some of them at a
/// time.
struct Records<'a> {
    held: &'a OwnedSnapshot<'static>,
    ahead: VecDeque<(ItemId, Vec<u8>)>,
    /// The id from which on others may follow.
    next: Option<ItemId>,
}

impl Records<'_> {
    fn read(&mut self, first: ItemId) -> Result<()> {
        self.next = None;
        let (held, mut bytes) = (self.held, 0);
        held.lend(|txn| {
            for entry in records_in(held.place(), txn, first)? {
                let (item, record) = entry?;
                bytes += record.len();
                self.ahead.push_back((item, record.to_vec()));
                if bytes > RECORD_BYTES_AHEAD || self.ahead.len() == ITEMS_AHEAD {
                    self.next = item.checked_add(1);
                    break;
                }
            }
            Ok(())
        })
    }
}

impl Iterator for Records<'_> {
    type Item = Result<(ItemId, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if let (true, Some(first)) = (self.ahead.is_empty(), self.next)
            && let Err(error) = self.read(first)
        {
            self.ahead.clear();
            return Some(Err(error));
        }
        self.ahead.pop_front().map(Ok)
    }
}
