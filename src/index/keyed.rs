//! The methods of an index, a batch, a snapshot and a load that use keys, where items are named by
//! keys and not by ids.
//!
//! Each does the same as the method by ids, and translates keys to ids, and ids to keys, in the
//! same transaction.

use std::collections::VecDeque;

use super::{Batch, Index, LoadProgress, Loader, Snapshot, item_keys};
use crate::codec::{Component, Components, Scale};
use crate::distance::Metric;
use crate::error::{Error, Result, VectorDefect};
use crate::format::item_keys::Row;
use crate::item_key::{AsKey, ItemKey, bytes_of, sealed};
use crate::store::owned_snapshot::OwnedSnapshot;
use crate::store::sections::item_keys::rows::ItemKeys;
use crate::store::view::check_dimensions;
use crate::types::ItemId;

/// The batch size for adding keyed items: their vectors are buffered until their ids are known, at
/// most this many items, and this many bytes.
const CHUNK_ITEMS: usize = 4096;
const CHUNK_BYTES: usize = 1 << 20;
/// The number of keys that an iterator looks up at a time.
const KEYS_AHEAD: usize = 1024;

fn invalid<K: ItemKey + ?Sized>(key: &[u8], defect: VectorDefect) -> Error {
    Error::InvalidKeyedItem { key: <K as sealed::Name>::NAMING.show(key), defect }
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

/// Maps an error about an item, named by the id that the index gave it, to one that names its key.
fn by_key<K: ItemKey + ?Sized>(key: &[u8]) -> impl FnOnce(Error) -> Error + '_ {
    |error| match error {
        Error::InvalidItem { defect, .. } => invalid::<K>(key, defect),
        error => error,
    }
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
        let (metric, dimensions) = (self.index.metric(), self.index.dimensions());
        let rows = items.into_iter().map(|(key, vector)| {
            let (key, components) = (bytes_of(&key)?, vector.as_ref());
            check_dimensions(components.len(), dimensions)?;
            metric
                .check_given(Components::of(components))
                .map_err(|defect| invalid::<K>(&key, defect))?;
            Ok((key, vector))
        });
        self.load_rows(rows, |batch, rows| {
            let scale = batch.writes.scale()?;
            batch.add_rows(rows.map(|(key, vector)| {
                check_row::<K>(metric, &key, Components::of(&vector), dimensions, scale)
                    .map(|()| (key, vector))
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

    /// Adds an item, or replaces its vector. O(dimensions); writes a few values.
    ///
    /// # Errors
    /// [`DimensionMismatch`](Error::DimensionMismatch), [`InvalidItemKey`](Error::InvalidItemKey),
    /// [`InvalidKeyedItem`](Error::InvalidKeyedItem), [`NotTrained`](Error::NotTrained),
    /// [`IndexFull`](Error::IndexFull): nothing has changed. [`MapFull`](Error::MapFull): return
    /// it, and the closure is retried in a larger map. [`Corrupt`](Error::Corrupt) and others: the
    /// batch can only be rolled back.
    pub fn add(&mut self, key: impl AsKey<K>, vector: &[impl Component]) -> Result<()> {
        self.writes.check_process()?;
        self.add_named(&bytes_of(&key)?, vector)
    }

    /// The same by the bytes of a key.
    pub(super) fn add_named(&mut self, key: &[u8], vector: &[impl Component]) -> Result<()> {
        let keys = self.keys();
        self.writes.change(|writer, txn| {
            let known = keys.id(txn, key)?;
            let id = known.map_or_else(|| keys.next(txn), Ok)?;
            // The step that can be refused comes first.
            writer.add_item(txn, id, vector).map_err(by_key::<K>(key))?;
            if known.is_none() { keys.insert(txn, key, id) } else { Ok(()) }
        })
    }

    /// Adds or replaces many items: `vectors` holds one row of [`dimensions`](Index::dimensions)
    /// components for each of `keys`, one after the other. Several times as fast as adding them one
    /// by one. If a key occurs twice, the last one counts.
    ///
    /// # Errors
    /// As [`add`](Self::add), and [`LengthMismatch`](Error::LengthMismatch). All keys and vectors
    /// are checked first: a bad one changes nothing.
    pub fn add_items<Q: AsKey<K>>(&mut self, keys: &[Q], vectors: &[impl Component]) -> Result<()> {
        let dimensions = self.writes.dimensions();
        if keys.len().checked_mul(dimensions) != Some(vectors.len()) {
            return Err(Error::LengthMismatch {
                ids: keys.len(),
                components: vectors.len(),
                dimensions,
            });
        }
        let rows = keys.iter().zip(vectors.chunks(dimensions));
        let rows: Vec<_> =
            rows.map(|(key, row)| Ok((bytes_of(key)?, row))).collect::<Result<_>>()?;
        let (metric, scale) = (self.writes.place().metric, self.writes.scale()?);
        rows.iter().try_for_each(|(key, row)| {
            check_row::<K>(metric, key, Components::of(row), dimensions, scale)
        })?;
        self.add_rows(rows.into_iter().map(|(key, row)| Ok((key, row.to_vec())))).map(drop)
    }

    /// Adds or replaces the items of an iterator. Returns how many there were.
    ///
    /// # Errors
    /// As [`add`](Self::add), at the first bad item; the items before it have been added.
    pub fn add_items_from<Q: AsKey<K>, T: Component, V: AsRef<[T]>>(
        &mut self,
        items: impl IntoIterator<Item = (Q, V)>,
    ) -> Result<u64> {
        let (metric, dimensions, scale) =
            (self.writes.place().metric, self.writes.dimensions(), self.writes.scale()?);
        self.add_rows(items.into_iter().map(|(key, vector)| {
            let (key, vector) = (bytes_of(&key)?, vector.as_ref());
            check_row::<K>(metric, &key, Components::of(vector), dimensions, scale)?;
            Ok((key, vector.to_vec()))
        }))
    }

    /// Adds keys and storable vectors, in chunks, up to the first error.
    fn add_rows<T: Component>(
        &mut self,
        rows: impl IntoIterator<Item = Result<(Vec<u8>, Vec<T>)>>,
    ) -> Result<u64> {
        let most =
            (CHUNK_BYTES / (self.writes.dimensions() * size_of::<T>())).clamp(1, CHUNK_ITEMS);
        let (mut chunk, mut count) = (Vec::new(), 0);
        for row in rows {
            match row {
                Ok(row) => chunk.push(row),
                Err(error) => {
                    self.add_chunk(chunk)?;
                    return Err(error);
                }
            }
            count += 1;
            if chunk.len() >= most {
                self.add_chunk(std::mem::take(&mut chunk))?;
            }
        }
        self.add_chunk(chunk)?;
        Ok(count)
    }

    fn add_chunk(&mut self, chunk: Vec<(Vec<u8>, Vec<impl Component>)>) -> Result<()> {
        let keys = self.keys();
        if chunk.is_empty() {
            return Ok(());
        }
        self.writes.change_whole(|writer, txn| {
            let mut rows = Vec::with_capacity(chunk.len());
            for (key, vector) in chunk {
                let id = match keys.id(txn, &key)? {
                    Some(id) => id,
                    None => {
                        let id = keys.next(txn)?;
                        keys.insert(txn, &key, id)?;
                        id
                    }
                };
                rows.push((id, vector));
            }
            writer.add_items_from(txn, rows).map(drop)
        })
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
        let named: Vec<_> = keys.into_iter().map(|key| bytes_of(&key)).collect::<Result<_>>()?;
        let keys = self.keys();
        self.writes.change_whole(|writer, txn| {
            let mut ids = Vec::new();
            for key in named {
                if let Some(id) = keys.id(txn, &key)? {
                    keys.remove(txn, &key, id)?;
                    ids.push(id);
                }
            }
            let expected = ids.len() as u64;
            let last = ids.last().copied();
            let deleted = writer.del_items(txn, ids)?;
            match last {
                Some(last) if deleted != expected => Err(Error::corrupt(
                    Row::name_of(keys.place.index, last),
                    "it is of an item that does not exist, or one before it is",
                )),
                _ => Ok(deleted),
            }
        })
    }

    /// The vector of an item as stored: the vector that was added, bit for bit, or rounded to [the
    /// element type of the index](crate::codec). `None` if there is no such item. Its checksum is
    /// verified, because it may be changed and added again.
    ///
    /// # Errors
    /// [`Forked`](Error::Forked), [`InvalidItemKey`](Error::InvalidItemKey),
    /// [`Corrupt`](Error::Corrupt), [`CorruptItemKey`](Error::CorruptItemKey).
    pub fn vector(&self, key: impl AsKey<K>) -> Result<Option<Vec<f32>>> {
        let reader = self.writes.reader()?;
        self.id(key)?.map_or(Ok(None), |id| reader.sound_vector(self.writes.txn(), id))
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
        self.check_process()?;
        let (key, held) = (bytes_of(&key)?, self.held());
        held.lend(|txn| item_keys::<K>(held.place()).id(txn, &key))
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

    /// The keys of all items, in their order: numerical, or by the bytes of strings.
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

    fn components(&self, id: ItemId) -> Result<Option<Vec<f32>>> {
        let view = self.view()?;
        view.slot(id)?.map(|slot| view.components(slot)).transpose()
    }

    fn names(&self) -> Result<Names<'_, K>> {
        self.check_process()?;
        let held = self.held();
        Ok(Names {
            held,
            keys: item_keys::<K>(held.place()),
            ahead: VecDeque::new(),
            last: None,
            is_over: false,
            key: std::marker::PhantomData,
        })
    }
}

/// The keys and ids of a snapshot, in key order. Its transaction is borrowed for a chunk of them at
/// a time.
struct Names<'a, K: ?Sized> {
    held: &'a OwnedSnapshot<'static>,
    keys: ItemKeys<'static>,
    ahead: VecDeque<(Vec<u8>, ItemId)>,
    last: Option<Vec<u8>>,
    is_over: bool,
    key: std::marker::PhantomData<fn(&K)>,
}

impl<K: ItemKey + ?Sized> Iterator for Names<'_, K> {
    type Item = Result<(K::Owned, ItemId)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ahead.is_empty() && !self.is_over {
            match self.held.lend(|txn| self.keys.after(txn, self.last.as_deref(), KEYS_AHEAD)) {
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
        Some(<K as sealed::Bytes>::take(&key).map(|key| (key, id)).ok_or_else(corrupt))
    }
}
