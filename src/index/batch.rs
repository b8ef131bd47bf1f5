//! One write transaction on an index: its changes are committed as a whole, or not at all.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::shared::Hooks;
use super::writes::Writes;
use crate::build::Goal;
use crate::codec::{Component, I8};
use crate::codes::Codes;
use crate::distance::Distance;
use crate::error::{Error, Result};
use crate::query::Query;
use crate::store::edit::RowName;
use crate::store::open::read_meta;
use crate::store::sections::fields::schema;
use crate::store::sections::list::index_kinds;
use crate::training::TrainedRange;
use crate::types::{IndexKind, ItemId};

/// The types of a batch, which stays on its thread.
type Types<D, K> = PhantomData<(fn() -> D, *const K)>;

/// The changes of one [`Index::write`](crate::Index::write): all are committed when it returns, or
/// none.
///
/// Queries on the batch see its changes. It stays on the thread that created it, as LMDB's write
/// transactions do.
///
/// ```
/// use voisin::{Error, Index, Options, distances::Euclidean};
///
/// # fn main() -> voisin::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(2))?;
/// let moved = index.write(|batch| {
///     batch.add(1, &[0.0, 0.0])?;
///     batch.add(2, &[5.0, 0.0])?;
///     let nearest = batch.search(1).by_vector(&[4.0, 0.0])?.into_nns();
///     for (item, _) in &nearest {
///         batch.add(*item, &[4.0, 0.0])?;
///     }
///     Ok(nearest.len())
/// })?;
/// assert_eq!((moved, index.search(1).by_vector(&[4.0, 0.0])?.into_nns()), (1, vec![(2, 0.0)]));
///
/// // An error undoes all of it.
/// let result = index.write(|batch| {
///     batch.clear()?;
///     batch.add(3, &[1.0, 2.0, 3.0])
/// });
/// assert!(matches!(result, Err(Error::DimensionMismatch { expected: 2, found: 3 })));
/// assert_eq!(index.snapshot()?.len(), 2);
/// # Ok(())
/// # }
/// ```
pub struct Batch<'w, D, K: ?Sized = ItemId> {
    pub(super) writes: Writes<'w>,
    /// Neither `Send` nor `Sync`: a transaction that commits on another thread than it began on
    /// would leave LMDB's lock held for ever.
    types: Types<D, K>,
}

impl<D, K: ?Sized> fmt::Debug for Batch<'_, D, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("state", &self.writes.state).finish_non_exhaustive()
    }
}

impl<'w, D, K: ?Sized> Batch<'w, D, K> {
    /// Starts a query for the `k` nearest items, including those of this batch. The items that the
    /// batch has added are scanned one by one, and nothing is cached from one query to the next.
    #[must_use]
    pub fn search(&self, k: usize) -> Query<'_, Self> {
        Query::new(self, k)
    }

    pub(super) fn new(writes: Writes<'w>) -> Self {
        Self { writes, types: PhantomData }
    }

    /// Deletes all items and the graph. The index keeps its options, kinds and fields; one that
    /// stores `i8` must be trained again. O(values).
    ///
    /// # Errors
    /// As [`delete`](Self::delete).
    pub fn clear(&mut self) -> Result<()> {
        let shared = Arc::clone(&self.writes.shared);
        Error::unless_known(shared.place.metric, shared.place.index)?;
        self.writes.change(|writer, txn| {
            let meta = read_meta(shared.place, txn)?;
            let codes = meta.as_ref().and_then(|meta| Codes::of_bits(meta.code_bits));
            let fields = meta.as_ref().map(|meta| schema(shared.place.index, meta)).transpose()?;
            writer.clear(txn)?;
            shared.set_kinds(txn, meta.as_ref().map(index_kinds).as_deref())?;
            // Creates it again, empty.
            shared.build(txn, Goal::Linked, Hooks::NONE)?;
            for stored in fields.unwrap_or_default().0 {
                writer.add_field(txn, stored.field)?;
            }
            if codes.is_some() { writer.set_codes(txn, codes) } else { Ok(()) }
        })
    }

    /// Chooses the quantized codes of the index, or none. New codes are made from the stored
    /// vectors when the batch is linked, and committed with it. Searches of earlier commits keep
    /// the codes they have. O(items * dimensions), about half a second for 100 000 items of 384
    /// dimensions.
    ///
    /// ```
    /// use voisin::{Codes, Index, Options, distances::Cosine};
    ///
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// let index = Index::<Cosine>::create(folder.path().join("vectors"), Options::new(300))?;
    /// let rows = (0..3000).map(|item| (item, [1.0 + (item as f32).sin(); 300]));
    /// index.load(rows, |_| {})?;
    /// index.write(|batch| batch.set_codes(Some(Codes::fast(300))))?;
    /// assert_eq!(index.stats()?.codes.unwrap().codes, Codes::Bits4);
    /// index.write(|batch| batch.set_codes(None))?;
    /// assert_eq!(index.stats()?.codes, None);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`CodesUnsupported`](crate::Error::CodesUnsupported), and those of [`delete`](Self::delete).
    pub fn set_codes(&mut self, codes: Option<Codes>) -> Result<()> {
        self.writes.change(|writer, txn| writer.set_codes(txn, codes))
    }

    /// Gives the index a kind, which is made when the batch is linked, and committed with it;
    /// `false` if the index has the kind. See [`Index::add_kind`](crate::Index::add_kind).
    ///
    /// # Errors
    /// [`KindUnsupported`](crate::Error::KindUnsupported), and those of [`delete`](Self::delete).
    pub fn add_kind(&mut self, kind: IndexKind) -> Result<bool> {
        self.writes.add_kind(kind)
    }

    /// Takes a kind from the index; `false` if it does not have the kind. See
    /// [`Index::drop_kind`](crate::Index::drop_kind).
    ///
    /// # Errors
    /// [`KindMismatch`](crate::Error::KindMismatch) for [`IndexKind::Flat`], and those of
    /// [`delete`](Self::delete).
    pub fn drop_kind(&mut self, kind: IndexKind) -> Result<bool> {
        self.writes.change(|writer, txn| writer.drop_kind(txn, kind))
    }

    /// The number of items.
    ///
    /// # Errors
    /// As [`vector`](Self::vector).
    pub fn len(&self) -> Result<u64> {
        self.writes.check_process()?;
        Ok(read_meta(self.writes.place(), self.writes.txn())?.map_or(0, |meta| meta.items.into()))
    }

    /// Whether the index has no items.
    ///
    /// # Errors
    /// As [`vector`](Self::vector).
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Commits what is added without linking it, which takes much less time. Pending items can be
    /// found at once, but every search scans them one by one until they are linked, by
    /// [`Index::link`](crate::Index::link), which does not block other writers, or bit by bit by
    /// later writes.
    ///
    /// ```
    /// # use voisin::{Index, Options, distances::Euclidean};
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(2))?;
    /// index.write(|batch| {
    ///     batch.link_later();
    ///     batch.add(7, &[1.0, 2.0])
    /// })?;
    /// assert_eq!(index.search(1).by_vector(&[1.0, 2.0])?.into_nns(), [(7, 0.0)]);
    /// assert_eq!(index.stats()?.pending, 1);
    /// index.link()?;
    /// assert_eq!(index.stats()?.pending, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn link_later(&mut self) {
        self.writes.links_later = true;
    }

    /// Sets a cancel closure for the build at the end, which links what the batch has added. Any
    /// thread calls it, for every item linked, until the graph is written; `true` ends the write
    /// with [`Error::Cancelled`], and nothing has happened.
    ///
    /// ```
    /// # use voisin::{Error, Index, Options, distances::Euclidean};
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(1))?;
    /// let written = index.write(|batch| {
    ///     batch.cancel(|| true);
    ///     batch.add_items_from((0..3000).map(|item| (item, [item as f32])))
    /// });
    /// assert!(matches!(written, Err(Error::Cancelled)));
    /// assert!(index.snapshot()?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn cancel(&mut self, cancel: impl Fn() -> bool + Send + Sync + 'static) {
        self.writes.cancel = Some(Box::new(cancel));
    }
}

impl<D: Distance<Codec = I8>, K: ?Sized> Batch<'_, D, K> {
    /// Trains the scale of the index, before its first item or again: see
    /// [`Writer::train`](crate::Writer::train).
    ///
    /// # Errors
    /// As [`Writer::train`](crate::Writer::train).
    pub fn train(&mut self, sample: &[impl Component]) -> Result<TrainedRange> {
        self.writes.change(|writer, txn| writer.train_by(txn, sample))
    }
}

impl<D> Batch<'_, D> {
    /// Adds an item, or replaces its vector; an item that has a record keeps it. O(dimensions);
    /// writes a few values.
    ///
    /// # Errors
    /// [`DimensionMismatch`](crate::Error::DimensionMismatch),
    /// [`InvalidItem`](crate::Error::InvalidItem), [`NotTrained`](crate::Error::NotTrained),
    /// [`IndexFull`](crate::Error::IndexFull): nothing has changed.
    /// [`MapFull`](crate::Error::MapFull): return it, and the closure is retried in a larger map.
    /// [`Corrupt`](crate::Error::Corrupt) and others: the batch can only be rolled back.
    pub fn add(&mut self, item: ItemId, vector: &[impl Component]) -> Result<()> {
        self.writes.change(|writer, txn| writer.add_item(txn, item, vector))
    }

    /// Adds or replaces many items: `vectors` holds one row of
    /// [`dimensions`](crate::Index::dimensions) components for each of `items`, one after the
    /// other. Several times as fast as adding them one by one. If an item occurs twice, the last
    /// one counts.
    ///
    /// # Errors
    /// As [`add`](Self::add), and [`LengthMismatch`](crate::Error::LengthMismatch). All vectors are
    /// checked first: a bad one changes nothing.
    pub fn add_items(&mut self, items: &[ItemId], vectors: &[impl Component]) -> Result<()> {
        self.writes.change(|writer, txn| writer.add_items(txn, items, vectors))
    }

    /// Adds or replaces the items of an iterator. Returns how many there were. Pulls up to 1 MB of
    /// rows at a time, before it stores any of them.
    ///
    /// # Errors
    /// As [`add`](Self::add), at the first bad vector; the items before it have been added.
    ///
    /// # Panics
    /// If the iterator or a row panics. The batch can only be rolled back then.
    pub fn add_items_from<T: Component, V: AsRef<[T]>>(
        &mut self,
        items: impl IntoIterator<Item = (ItemId, V)>,
    ) -> Result<u64> {
        self.writes.change(|writer, txn| writer.add_items_from(txn, items))
    }

    /// Adds an item with a record of bytes, or replaces its vector and its record.
    ///
    /// ```
    /// use voisin::{Index, Options, distances::Euclidean};
    ///
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(1))?;
    /// index.write(|batch| {
    ///     batch.add_with_record(7, &[0.5], b"a half")?;
    ///     batch.add(7, &[0.25])?; // keeps the record
    ///     assert_eq!(batch.record(7)?, Some(b"a half".to_vec()));
    ///     assert!(batch.set_record(7, b"a quarter")?); // keeps the vector
    ///     assert!(!batch.set_record(8, b"of no item")?);
    ///     Ok(())
    /// })?;
    /// assert_eq!(index.snapshot()?.record(7)?, Some(b"a quarter".to_vec()));
    /// index.write(|batch| batch.delete(7))?;
    /// assert_eq!(index.snapshot()?.record(7)?, None);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`add`](Self::add), and [`InvalidParameter`](crate::Error::InvalidParameter) for a record
    /// of more than 64 MiB: nothing has changed.
    pub fn add_with_record(
        &mut self,
        item: ItemId,
        vector: &[impl Component],
        record: &[u8],
    ) -> Result<()> {
        self.writes.change(|writer, txn| writer.add_item_with_record(txn, item, vector, record))
    }

    /// As [`add_items_from`](Self::add_items_from), for items with records, which replace those
    /// that the items have.
    ///
    /// # Errors
    /// As [`add_with_record`](Self::add_with_record), at the first bad row; the items before it
    /// have been added.
    ///
    /// # Panics
    /// As [`add_items_from`](Self::add_items_from).
    pub fn add_items_with_records<T: Component, V: AsRef<[T]>, R: AsRef<[u8]>>(
        &mut self,
        items: impl IntoIterator<Item = (ItemId, V, R)>,
    ) -> Result<u64> {
        self.writes.change(|writer, txn| writer.add_items_with_records(txn, items))
    }

    /// Adds items, with those records that are given.
    pub(super) fn add_given<T: Component>(
        &mut self,
        items: impl Iterator<Item = (ItemId, Vec<T>, Option<Vec<u8>>)>,
    ) -> Result<u64> {
        let items = items.map(|(item, vector, record)| (Ok(RowName::Id(item)), vector, record));
        self.writes.change(|writer, txn| writer.add_given_from(txn, items))
    }

    /// Sets the record of an item, without touching its vector: O(bytes of the record). `false` if
    /// there is no such item.
    ///
    /// # Errors
    /// [`InvalidParameter`](crate::Error::InvalidParameter) for a record of more than 64 MiB:
    /// nothing has changed. And those of [`delete`](Self::delete).
    pub fn set_record(&mut self, item: ItemId, record: &[u8]) -> Result<bool> {
        self.writes.change(|writer, txn| writer.set_record(txn, item, record))
    }

    /// Deletes the record of an item, and leaves the item. `false` if it has none.
    ///
    /// # Errors
    /// As [`delete`](Self::delete).
    pub fn remove_record(&mut self, item: ItemId) -> Result<bool> {
        self.writes.change(|writer, txn| writer.remove_record(txn, item))
    }

    /// The record of an item. `None` if it has none, or if there is no such item.
    ///
    /// # Errors
    /// As [`vector`](Self::vector).
    pub fn record(&self, item: ItemId) -> Result<Option<Vec<u8>>> {
        self.writes.record(item)
    }

    /// Deletes an item. `false` if there is none.
    ///
    /// # Errors
    /// As [`add`](Self::add), without those about vectors.
    pub fn delete(&mut self, item: ItemId) -> Result<bool> {
        self.writes.change(|writer, txn| writer.del_item(txn, item))
    }

    /// Deletes many items. Returns how many of them existed.
    ///
    /// # Errors
    /// As [`delete`](Self::delete).
    pub fn delete_items(&mut self, items: impl IntoIterator<Item = ItemId>) -> Result<u64> {
        self.writes.change(|writer, txn| writer.del_items(txn, items))
    }

    /// The vector of an item as stored: the vector that was added, bit for bit, or rounded to [the
    /// element type of the index](crate::codec). `None` if there is no such item. Its checksum is
    /// verified, because it may be changed and added again.
    ///
    /// # Errors
    /// [`Forked`](crate::Error::Forked), [`Corrupt`](crate::Error::Corrupt).
    pub fn vector(&self, item: ItemId) -> Result<Option<Vec<f32>>> {
        self.writes.vector(item)
    }

    /// Whether there is such an item.
    ///
    /// # Errors
    /// As [`vector`](Self::vector).
    pub fn contains(&self, item: ItemId) -> Result<bool> {
        self.writes.contains(item)
    }
}
