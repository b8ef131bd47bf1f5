//! The methods of an index, a batch, a snapshot and a load that use keys, where items are named by
//! keys and not by ids.
//!
//! Each does the same as the method by ids, and translates keys to ids, and ids to keys, in the
//! same transaction.

use std::collections::VecDeque;

use super::load::Row as Loaded;
use super::{Batch, Index, LoadProgress, Loader, Snapshot, item_keys};
use crate::codec::{Component, Components, Scale};
use crate::distance::Metric;
use crate::error::{Error, Result, VectorDefect};
use crate::format::item_keys::Row;
use crate::item_key::{AsKey, ItemKey, bytes_of, sealed};
use crate::store::edit::RowName;
use crate::store::owned_snapshot::OwnedSnapshot;
use crate::store::sections::item_keys::rows::ItemKeys;
use crate::store::sections::records::edit::check_record;
use crate::store::view::check_dimensions;
use crate::types::ItemId;

/// The batch size for adding keyed items: their vectors are buffered until their ids are known, at
/// most this many items, and this many bytes.
const CHUNK_ITEMS: usize = 4096;
const CHUNK_BYTES: usize = 1 << 20;
/// The number of keys that an iterator looks up at a time.
const KEYS_AHEAD: usize = 1024;
/// No record, of any type.
const NO_RECORD: Option<[u8; 0]> = None;

fn invalid<K: ItemKey + ?Sized>(key: &[u8], defect: VectorDefect) -> Error {
    Error::InvalidKeyedItem { key: <K as sealed::Name>::NAMING.show(key), defect }
}

fn invalid_record<K: ItemKey + ?Sized>(key: &[u8], what: String) -> Error {
    Error::InvalidRecord { item: <K as sealed::Name>::NAMING.show(key), what }
}

/// Checks that a vector can be stored in an index with this scale.
fn check_row<K: ItemKey + ?Sized>(
    metric: &Metric,
    key: &[u8],
    vector: Components<'_>,
    dimensions: usize,
    scale: Scale,
) -> Result<()> {
    check_dimensions(vector.len(), dimensions)?;
    metric.check(vector, scale).map_err(|defect| invalid::<K>(key, defect))
}

impl<D, K: ItemKey + ?Sized> Index<D, K> {
    /// Adds all items of an iterator and links them, in one commit, with progress reports. Returns
    /// how many there were. [`loader`](Self::loader) does the same with more options. It takes
    /// memory and disk as for an index without keys.
    ///
    /// # Errors
    /// [`DimensionMismatch`](Error::DimensionMismatch), [`InvalidItemKey`](Error::InvalidItemKey)
    /// and [`InvalidKeyedItem`](Error::InvalidKeyedItem) at the first bad item, those of the file
    /// system, and those of [`write`](Self::write): nothing has changed.
    pub fn load<Q: AsKey<K>, T: Component, V: AsRef<[T]>>(
        &self,
        items: impl IntoIterator<Item = (Q, V)>,
        progress: impl Fn(LoadProgress) + Sync,
    ) -> Result<u64> {
        self.loader().progress(progress).load(items)
    }
}

impl<D, K: ItemKey + ?Sized> Loader<'_, D, K> {
    /// Adds all items of an iterator and links them, in one commit. Returns how many there were. An
    /// item that exists, or occurs twice, gets the last vector.
    ///
    /// # Errors
    /// As [`Index::load`]: nothing has changed.
    pub fn load<Q: AsKey<K>, T: Component, V: AsRef<[T]>>(
        &self,
        items: impl IntoIterator<Item = (Q, V)>,
    ) -> Result<u64> {
        self.load_given(items.into_iter().map(|(key, vector)| (key, vector, NO_RECORD)))
    }

    /// As [`load`](Self::load), for items with records.
    ///
    /// # Errors
    /// As [`load`](Self::load), and [`InvalidParameter`](Error::InvalidParameter) for a record of
    /// more than 64 MiB.
    pub fn load_with_records<Q: AsKey<K>, T: Component, V: AsRef<[T]>, R: AsRef<[u8]>>(
        &self,
        items: impl IntoIterator<Item = (Q, V, R)>,
    ) -> Result<u64> {
        let items = items.into_iter().map(|(key, vector, record)| (key, vector, Some(record)));
        self.load_given(items)
    }

    /// As [`load_with_records`](Self::load_with_records), for items of which some come without a
    /// record: an item that has one keeps it then, as with [`load`](Self::load).
    ///
    /// # Errors
    /// As [`load_with_records`](Self::load_with_records).
    pub fn load_given<Q: AsKey<K>, T: Component, V: AsRef<[T]>, R: AsRef<[u8]>>(
        &self,
        items: impl IntoIterator<Item = (Q, V, Option<R>)>,
    ) -> Result<u64> {
        let (metric, dimensions) = (self.index.metric(), self.index.dimensions());
        let rows = items.into_iter().map(|(key, vector, record)| {
            let (key, components) = (bytes_of(&key)?, vector.as_ref());
            check_dimensions(components.len(), dimensions)?;
            metric
                .check_given(Components::of(components))
                .map_err(|defect| invalid::<K>(&key, defect))?;
            record.as_ref().map_or(Ok(()), |record| check_record(record.as_ref()))?;
            Ok((key, vector, record))
        });
        self.load_rows(rows, |batch, rows| {
            let scale = batch.writes.scale()?;
            batch.add_rows(rows.map(|(key, vector, record)| {
                check_row::<K>(metric, &key, Components::of(&vector), dimensions, scale)
                    .map(|()| (key, vector, record))
            }))
        })
    }
}

impl<D, K: ItemKey + ?Sized> Batch<'_, D, K> {
    pub(super) fn keys(&self) -> ItemKeys<'static> {
        item_keys::<K>(self.writes.place())
    }

    /// The id of an item.
    fn id(&self, key: impl AsKey<K>) -> Result<Option<ItemId>> {
        let key = bytes_of(&key)?;
        self.keys().id(self.writes.txn(), &key)
    }

    /// The id of the item with the key of these bytes.
    pub(super) fn id_named(&self, key: &[u8]) -> Result<Option<ItemId>> {
        self.keys().id(self.writes.txn(), key)
    }

    /// Whether there is an item with the key of these bytes.
    pub(super) fn has_key(&self, key: &[u8]) -> Result<bool> {
        Ok(self.id_named(key)?.is_some())
    }

    /// Adds an item, or replaces its vector; an item that has a record keeps it. O(dimensions);
    /// writes a few values.
    ///
    /// # Errors
    /// [`DimensionMismatch`](Error::DimensionMismatch), [`InvalidItemKey`](Error::InvalidItemKey),
    /// [`InvalidKeyedItem`](Error::InvalidKeyedItem), [`NotTrained`](Error::NotTrained),
    /// [`IndexFull`](Error::IndexFull): nothing has changed. [`MapFull`](Error::MapFull): return
    /// it, and the closure is retried in a larger map. [`Corrupt`](Error::Corrupt) and others: the
    /// batch can only be rolled back.
    pub fn add(&mut self, key: impl AsKey<K>, vector: &[impl Component]) -> Result<()> {
        self.writes.check_process()?;
        self.add_named(&bytes_of(&key)?, vector, None)
    }

    /// Adds an item with a record of bytes, or replaces its vector and its record.
    ///
    /// ```
    /// # use voisin::{Index, Options, distances::Euclidean};
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("vectors");
    /// let index = Index::<Euclidean, str>::create(path, Options::new(1))?;
    /// index.write(|batch| {
    ///     batch.add_with_record("a note", &[0.5], b"its text")?;
    ///     batch.add("another", &[0.75])
    /// })?;
    /// let found = index.search(2).with_records().by_vector(&[0.5])?;
    /// assert_eq!(found.records, [Some(b"its text".to_vec()), None]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`add`](Self::add), and [`InvalidParameter`](Error::InvalidParameter) for a record of
    /// more than 64 MiB: nothing has changed.
    pub fn add_with_record(
        &mut self,
        key: impl AsKey<K>,
        vector: &[impl Component],
        record: &[u8],
    ) -> Result<()> {
        self.writes.check_process()?;
        self.add_named(&bytes_of(&key)?, vector, Some(record))
    }

    /// The same by the bytes of a key.
    pub(super) fn add_named(
        &mut self,
        key: &[u8],
        vector: &[impl Component],
        record: Option<&[u8]>,
    ) -> Result<()> {
        let name = RowName::Key(key.to_vec());
        self.writes.change(|writer, txn| writer.add_given(txn, name, vector, record))
    }

    /// Adds or replaces many items: `vectors` holds one row of [`dimensions`](Index::dimensions)
    /// components for each of `keys`, one after the other. Several times as fast as adding them one
    /// by one. If a key occurs twice, the last one counts.
    ///
    /// # Errors
    /// As [`add`](Self::add), and [`LengthMismatch`](Error::LengthMismatch). All keys and vectors
    /// are checked first: a bad one changes nothing.
    pub fn add_items<Q: AsKey<K>>(&mut self, keys: &[Q], vectors: &[impl Component]) -> Result<()> {
        self.add_items_named(keys.iter().map(bytes_of).collect::<Result<_>>()?, vectors)
    }

    /// The same by the bytes of keys.
    pub(super) fn add_items_named(
        &mut self,
        keys: Vec<Vec<u8>>,
        vectors: &[impl Component],
    ) -> Result<()> {
        let dimensions = self.writes.dimensions();
        if keys.len().checked_mul(dimensions) != Some(vectors.len()) {
            return Err(Error::LengthMismatch {
                ids: keys.len(),
                components: vectors.len(),
                dimensions,
            });
        }
        let rows: Vec<_> = keys.into_iter().zip(vectors.chunks(dimensions)).collect();
        let (metric, scale) = (self.writes.place().metric, self.writes.scale()?);
        rows.iter().try_for_each(|(key, row)| {
            check_row::<K>(metric, key, Components::of(row), dimensions, scale)
        })?;
        self.add_rows(rows.into_iter().map(|(key, row)| Ok((key, row.to_vec(), None)))).map(drop)
    }

    /// Adds or replaces the items of an iterator. Returns how many there were.
    ///
    /// # Errors
    /// As [`add`](Self::add), at the first bad item; the items before it have been added.
    pub fn add_items_from<Q: AsKey<K>, T: Component, V: AsRef<[T]>>(
        &mut self,
        items: impl IntoIterator<Item = (Q, V)>,
    ) -> Result<u64> {
        let items = items.into_iter();
        self.add_given(items.map(|(key, vector)| (bytes_of(&key), vector, NO_RECORD)))
    }

    /// As [`add_items_from`](Self::add_items_from), for items with records, which replace those
    /// that the items have.
    ///
    /// # Errors
    /// As [`add_with_record`](Self::add_with_record), at the first bad row; the items before it
    /// have been added.
    pub fn add_items_with_records<Q: AsKey<K>, T: Component, V: AsRef<[T]>, R: AsRef<[u8]>>(
        &mut self,
        items: impl IntoIterator<Item = (Q, V, R)>,
    ) -> Result<u64> {
        let items = items.into_iter();
        self.add_given(items.map(|(key, vector, record)| (bytes_of(&key), vector, Some(record))))
    }

    /// The same by the bytes of keys.
    pub(super) fn add_given<T: Component, V: AsRef<[T]>, R: AsRef<[u8]>>(
        &mut self,
        items: impl Iterator<Item = (Result<Vec<u8>>, V, Option<R>)>,
    ) -> Result<u64> {
        let (metric, dimensions, scale) =
            (self.writes.place().metric, self.writes.dimensions(), self.writes.scale()?);
        let schema = self.writes.schema()?;
        self.add_rows(items.map(|(key, vector, record)| {
            let (key, vector) = (key?, vector.as_ref());
            check_row::<K>(metric, &key, Components::of(vector), dimensions, scale)?;
            let record = record.as_ref().map(AsRef::as_ref);
            if let Some(record) = record {
                check_record(record)?;
                schema.values(record).map_err(|what| invalid_record::<K>(&key, what))?;
            }
            Ok((key, vector.to_vec(), record.map(<[u8]>::to_vec)))
        }))
    }

    /// Adds rows that can be stored, in chunks, up to the first error.
    pub(super) fn add_rows<T: Component>(
        &mut self,
        rows: impl IntoIterator<Item = Result<Loaded<T>>>,
    ) -> Result<u64> {
        let most =
            (CHUNK_BYTES / (self.writes.dimensions() * size_of::<T>())).clamp(1, CHUNK_ITEMS);
        let (mut chunk, mut record_bytes, mut count) = (Vec::new(), 0, 0);
        for row in rows {
            match row {
                Ok(row) => {
                    record_bytes += row.2.as_ref().map_or(0, Vec::len);
                    chunk.push(row);
                }
                Err(error) => {
                    self.add_chunk(chunk)?;
                    return Err(error);
                }
            }
            count += 1;
            if chunk.len() >= most || record_bytes >= CHUNK_BYTES {
                self.add_chunk(std::mem::take(&mut chunk))?;
                record_bytes = 0;
            }
        }
        self.add_chunk(chunk)?;
        Ok(count)
    }

    fn add_chunk(&mut self, chunk: Vec<Loaded<impl Component>>) -> Result<()> {
        if chunk.is_empty() {
            return Ok(());
        }
        let rows = chunk.into_iter();
        let rows = rows.map(|(key, vector, record)| (Ok(RowName::Key(key)), vector, record));
        self.writes.change_whole(|writer, txn| writer.add_given_from(txn, rows).map(drop))
    }

    /// Sets the record of an item, without touching its vector: O(bytes of the record). `false` if
    /// there is no such item.
    ///
    /// # Errors
    /// [`InvalidParameter`](Error::InvalidParameter) for a record of more than 64 MiB: nothing has
    /// changed. And those of [`delete`](Self::delete).
    pub fn set_record(&mut self, key: impl AsKey<K>, record: &[u8]) -> Result<bool> {
        self.writes.check_process()?;
        self.set_record_named(&bytes_of(&key)?, record)
    }

    /// The same by the bytes of a key.
    pub(super) fn set_record_named(&mut self, key: &[u8], record: &[u8]) -> Result<bool> {
        self.writes.change(|writer, txn| writer.set_record_of(txn, key, record))
    }

    /// Deletes the record of an item, and leaves the item. `false` if it has none.
    ///
    /// # Errors
    /// As [`delete`](Self::delete).
    pub fn remove_record(&mut self, key: impl AsKey<K>) -> Result<bool> {
        self.writes.check_process()?;
        self.remove_record_named(&bytes_of(&key)?)
    }

    /// The same by the bytes of a key.
    pub(super) fn remove_record_named(&mut self, key: &[u8]) -> Result<bool> {
        self.writes.change(|writer, txn| writer.remove_record_of(txn, key))
    }

    /// The record of an item. `None` if it has none, or if there is no such item.
    ///
    /// # Errors
    /// As [`vector`](Self::vector).
    pub fn record(&self, key: impl AsKey<K>) -> Result<Option<Vec<u8>>> {
        self.writes.check_process()?;
        self.id(key)?.map_or(Ok(None), |id| self.writes.record(id))
    }

    /// Deletes an item. `false` if there is none.
    ///
    /// # Errors
    /// As [`add`](Self::add), without those about vectors.
    pub fn delete(&mut self, key: impl AsKey<K>) -> Result<bool> {
        Ok(self.delete_items([key])? > 0)
    }

    /// Deletes many items. Returns how many of them existed.
    ///
    /// # Errors
    /// As [`delete`](Self::delete). All keys are checked first: a bad one changes nothing.
    pub fn delete_items<Q: AsKey<K>>(&mut self, keys: impl IntoIterator<Item = Q>) -> Result<u64> {
        self.delete_named(&keys.into_iter().map(|key| bytes_of(&key)).collect::<Result<Vec<_>>>()?)
    }

    /// The same by the bytes of keys.
    pub(super) fn delete_named(&mut self, named: &[Vec<u8>]) -> Result<u64> {
        self.writes.change_whole(|writer, txn| writer.del_named(txn, named))
    }

    /// The vector of an item as stored: the vector that was added, bit for bit, or rounded to [the
    /// element type of the index](crate::codec). `None` if there is no such item. Its checksum is
    /// verified, because it may be changed and added again.
    ///
    /// # Errors
    /// [`Forked`](Error::Forked), [`InvalidItemKey`](Error::InvalidItemKey),
    /// [`Corrupt`](Error::Corrupt), [`CorruptItemKey`](Error::CorruptItemKey).
    pub fn vector(&self, key: impl AsKey<K>) -> Result<Option<Vec<f32>>> {
        self.writes.check_process()?;
        self.id(key)?.map_or(Ok(None), |id| self.writes.vector(id))
    }

    /// The same by a key.
    pub(super) fn vector_of(&self, key: &K) -> Result<Option<Vec<f32>>> {
        let mut bytes = Vec::new();
        sealed::Bytes::put(key, &mut bytes)?;
        self.vector_named(&bytes)
    }

    /// The same by the bytes of a key.
    pub(super) fn vector_named(&self, key: &[u8]) -> Result<Option<Vec<f32>>> {
        self.writes.check_process()?;
        self.id_named(key)?.map_or(Ok(None), |id| self.writes.vector(id))
    }

    /// Whether there is such an item.
    ///
    /// # Errors
    /// As [`vector`](Self::vector).
    pub fn contains(&self, key: impl AsKey<K>) -> Result<bool> {
        self.writes.check_process()?;
        Ok(self.id(key)?.is_some())
    }
}

impl<D, K: ItemKey + ?Sized> Snapshot<D, K> {
    fn id(&self, key: impl AsKey<K>) -> Result<Option<ItemId>> {
        self.id_of_key(&bytes_of(&key)?)
    }

    /// The id of the item with the key of these bytes.
    pub(super) fn id_of_key(&self, key: &[u8]) -> Result<Option<ItemId>> {
        self.check_process()?;
        let held = self.held();
        held.lend(|txn| item_keys::<K>(held.place()).id(txn, key))
    }

    /// The vector of an item as stored: the vector that was added, bit for bit, or rounded to [the
    /// element type of the index](crate::codec). `None` if there is no such item.
    ///
    /// # Errors
    /// [`Forked`](Error::Forked), [`InvalidItemKey`](Error::InvalidItemKey),
    /// [`Corrupt`](Error::Corrupt), [`CorruptItemKey`](Error::CorruptItemKey).
    pub fn vector(&self, key: impl AsKey<K>) -> Result<Option<Vec<f32>>> {
        self.id(key)?.map_or(Ok(None), |id| self.components(id))
    }

    /// Whether there is such an item.
    ///
    /// # Errors
    /// As [`vector`](Self::vector).
    pub fn contains(&self, key: impl AsKey<K>) -> Result<bool> {
        Ok(self.id(key)?.is_some())
    }

    /// The keys of all items, in their order: numerical, or by their bytes.
    ///
    /// # Errors
    /// As [`vector`](Self::vector); the iterator's items the same.
    pub fn keys(&self) -> Result<impl Iterator<Item = Result<K::Owned>> + '_> {
        Ok(self.names()?.map(|entry| Ok(entry?.0)))
    }

    /// All items and their vectors, ordered by key: see [`keys`](Self::keys). Vectors are looked up
    /// as the iterator advances.
    ///
    /// # Errors
    /// As [`vector`](Self::vector); the iterator's items the same.
    pub fn iter(&self) -> Result<impl Iterator<Item = Result<(K::Owned, Vec<f32>)>> + '_> {
        Ok(self.names()?.map(|entry| {
            let (key, id) = entry?;
            let vector = self.components(id)?;
            let missing = || {
                Error::corrupt(
                    Row::name_of(self.held().place().index, id),
                    "it is of an item that does not exist",
                )
            };
            Ok((key, vector.ok_or_else(missing)?))
        }))
    }

    /// The record of an item. `None` if it has none, or if there is no such item.
    ///
    /// # Errors
    /// As [`vector`](Self::vector).
    pub fn record(&self, key: impl AsKey<K>) -> Result<Option<Vec<u8>>> {
        self.id(key)?.map_or(Ok(None), |id| self.record_of_id(id))
    }

    /// The records of some items, in their order: see [`record`](Self::record).
    ///
    /// # Errors
    /// As [`vector`](Self::vector).
    pub fn records_of<Q: AsKey<K>>(
        &self,
        keys: impl IntoIterator<Item = Q>,
    ) -> Result<Vec<Option<Vec<u8>>>> {
        keys.into_iter().map(|key| self.record(key)).collect()
    }

    /// The items that have a record, and their records, ordered by key: see [`keys`](Self::keys).
    /// Records are looked up as the iterator advances.
    ///
    /// # Errors
    /// As [`vector`](Self::vector); the iterator's items the same.
    pub fn records(&self) -> Result<impl Iterator<Item = Result<(K::Owned, Vec<u8>)>> + '_> {
        Ok(self.names()?.filter_map(|entry| {
            let record = entry.and_then(|(key, id)| Ok((key, self.record_of_id(id)?)));
            record.map(|(key, record)| Some((key, record?))).transpose()
        }))
    }

    pub(super) fn components(&self, id: ItemId) -> Result<Option<Vec<f32>>> {
        let view = self.view()?;
        view.slot(id)?.map(|slot| view.components(slot)).transpose()
    }

    pub(super) fn names(&self) -> Result<Names<'_, K>> {
        self.names_in(&[])
    }

    /// The keys that begin with `prefix`, without it, and their ids.
    pub(super) fn names_in(&self, prefix: &[u8]) -> Result<Names<'_, K>> {
        self.check_process()?;
        let held = self.held();
        Ok(Names {
            held,
            keys: item_keys::<K>(held.place()),
            prefix: prefix.to_vec(),
            ahead: VecDeque::new(),
            last: None,
            is_over: false,
            key: std::marker::PhantomData,
        })
    }
}

/// Keys and ids of a snapshot, in key order. Its transaction is borrowed for a chunk of them at
/// a time.
pub(super) struct Names<'a, K: ?Sized> {
    held: &'a OwnedSnapshot<'static>,
    keys: ItemKeys<'static>,
    /// What the keys begin with, and are given without.
    prefix: Vec<u8>,
    ahead: VecDeque<(Vec<u8>, ItemId)>,
    last: Option<Vec<u8>>,
    is_over: bool,
    key: std::marker::PhantomData<fn(&K)>,
}

impl<K: ItemKey + ?Sized> Iterator for Names<'_, K> {
    type Item = Result<(K::Owned, ItemId)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ahead.is_empty() && !self.is_over {
            let Self { held, keys, prefix, last, .. } = &*self;
            match held.lend(|txn| keys.after(txn, prefix, last.as_deref(), KEYS_AHEAD)) {
                Ok(found) => self.ahead = found.into(),
                Err(error) => {
                    self.is_over = true;
                    return Some(Err(error));
                }
            }
            self.is_over = self.ahead.len() < KEYS_AHEAD;
            self.last = self.ahead.back().map(|(key, _)| key.clone());
        }
        let (key, id) = self.ahead.pop_front()?;
        let corrupt = || {
            Error::corrupt(
                Row::name_of(self.keys.place.index, id),
                "its key is not of the type of the index",
            )
        };
        let key = key.strip_prefix(&self.prefix[..]).and_then(<K as sealed::Bytes>::take);
        Some(key.map(|key| (key, id)).ok_or_else(corrupt))
    }
}
