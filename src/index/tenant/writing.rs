//! Changes of a tenant, in a batch and in a commit of its own.

use std::fmt;
use std::sync::Arc;

use super::super::erase::erase;
use super::super::{Batch, Index, Snapshot};
use super::{Space, Tenant, answer, take};
use crate::codec::Component;
use crate::error::Result;
use crate::item_key::{AsKey, PrefixedKey};
use crate::query::{Answer, HasRecords, Query, Searchable, Target};
use crate::store::sections::item_keys::rows::mistyped;

/// The number of items that are deleted, renamed or counted at a time.
const CHUNK_ITEMS: usize = 4096;
/// No record, of any type.
const NO_RECORD: Option<[u8; 0]> = None;

/// A tenant in a batch: its changes are committed with all others of the batch. See
/// [`Batch::tenant`].
pub struct TenantBatch<'b, 'w, D, K: ?Sized> {
    pub(super) batch: &'b mut Batch<'w, D, K>,
    pub(super) space: Arc<Space>,
}

impl<D, K: ?Sized> fmt::Debug for TenantBatch<'_, '_, D, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.space.name.escape_ascii().to_string();
        f.debug_struct("TenantBatch").field("name", &name).finish_non_exhaustive()
    }
}

impl<'w, D, K: PrefixedKey + ?Sized> Batch<'w, D, K> {
    /// A tenant, with the changes of this batch: see [`Index::tenant`](crate::Index::tenant).
    ///
    /// ```
    /// use voisin::{Index, Options, distances::Euclidean};
    ///
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("vectors");
    /// let index = Index::<Euclidean, str>::create(&path, Options::new(1))?;
    /// index.write(|batch| {
    ///     let mut acme = batch.tenant("acme")?;
    ///     acme.add_items(&["a", "b", "c"], &[1.0, 2.0, 3.0])?;
    ///     assert_eq!(acme.search(1).by_vector(&[2.2])?.nns[0].0, "b");
    ///     assert!(acme.delete("b")?);
    ///     assert_eq!((acme.len()?, acme.keys()?), (2, vec!["a".to_owned(), "c".to_owned()]));
    ///     batch.tenant("bolt")?.add("a", &[4.0])
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Index::tenant`](crate::Index::tenant).
    pub fn tenant(&mut self, name: impl AsKey<K>) -> Result<TenantBatch<'_, 'w, D, K>> {
        let space = Space::new(&name)?;
        Ok(TenantBatch { batch: self, space })
    }

    /// Deletes all items of a tenant, after which there is no such tenant. Returns how many there
    /// were. It costs what deleting them one by one would, in one pass. What they leave in the file
    /// is reused by later writes; [`Index::erase_tenant`](crate::Index::erase_tenant) leaves
    /// nothing.
    ///
    /// # Errors
    /// As [`tenant`](Self::tenant) and [`delete`](Self::delete).
    pub fn drop_tenant(&mut self, name: impl AsKey<K>) -> Result<u64> {
        self.tenant(name)?.clear()
    }

    /// Some of the keys that begin with `prefix` and come after `last`, in their order.
    pub(super) fn keys_after(&self, prefix: &[u8], last: Option<&[u8]>) -> Result<Vec<Vec<u8>>> {
        self.writes.check_process()?;
        let found = self.keys().after(self.writes.txn(), prefix, last, CHUNK_ITEMS)?;
        Ok(found.into_iter().map(|(key, _)| key).collect())
    }

    /// Passes all keys that begin with `prefix` to `each`, in their order.
    pub(super) fn each_key(
        &self,
        prefix: &[u8],
        mut each: impl FnMut(Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        let mut last: Option<Vec<u8>> = None;
        loop {
            let chunk = self.keys_after(prefix, last.as_deref())?;
            let Some(end) = chunk.last() else { return Ok(()) };
            last = Some(end.clone());
            chunk.into_iter().try_for_each(&mut each)?;
        }
    }

    /// Deletes all items whose keys begin with `prefix`. Returns how many there were.
    fn clear_prefix(&mut self, prefix: &[u8]) -> Result<u64> {
        let mut count = 0;
        loop {
            let named = self.keys_after(prefix, None)?;
            match self.delete_named(&named)? {
                0 => return Ok(count),
                deleted => count += deleted,
            }
        }
    }
}

impl<'b, 'w, D, K: PrefixedKey + ?Sized> TenantBatch<'b, 'w, D, K> {
    pub(super) fn of(batch: &'b mut Batch<'w, D, K>, space: &Arc<Space>) -> Self {
        Self { batch, space: Arc::clone(space) }
    }

    /// Starts a query for the `k` nearest items of the tenant, with the changes of the batch: see
    /// [`Tenant::search`].
    #[must_use]
    pub fn search(&self, k: usize) -> Query<'_, Self> {
        self.space.query(self, k)
    }

    /// Adds an item, or replaces its vector; an item that has a record keeps it.
    ///
    /// # Errors
    /// As [`Batch::add`]; [`InvalidItemKey`](crate::Error::InvalidItemKey) if the key is too long
    /// beside the name of the tenant.
    pub fn add(&mut self, key: impl AsKey<K>, vector: &[impl Component]) -> Result<()> {
        self.batch.writes.check_process()?;
        self.batch.add_named(&self.space.key(&key)?, vector, None)
    }

    /// Adds an item with a record of bytes, or replaces its vector and its record.
    ///
    /// # Errors
    /// As [`add`](Self::add) and [`Batch::add_with_record`].
    pub fn add_with_record(
        &mut self,
        key: impl AsKey<K>,
        vector: &[impl Component],
        record: &[u8],
    ) -> Result<()> {
        self.batch.writes.check_process()?;
        self.batch.add_named(&self.space.key(&key)?, vector, Some(record))
    }

    /// Adds or replaces many items: `vectors` holds one row of components for each of `keys`, one
    /// after the other.
    ///
    /// # Errors
    /// As [`Batch::add_items`]: a bad key or vector changes nothing.
    pub fn add_items<Q: AsKey<K>>(&mut self, keys: &[Q], vectors: &[impl Component]) -> Result<()> {
        let keys = keys.iter().map(|key| self.space.key(key)).collect::<Result<Vec<_>>>()?;
        self.batch.add_items_named(keys, vectors)
    }

    /// Adds or replaces the items of an iterator. Returns how many there were.
    ///
    /// # Errors
    /// As [`add`](Self::add), at the first bad item; the items before it have been added.
    pub fn add_items_from<Q: AsKey<K>, T: Component, V: AsRef<[T]>>(
        &mut self,
        items: impl IntoIterator<Item = (Q, V)>,
    ) -> Result<u64> {
        let space = Arc::clone(&self.space);
        let items = items.into_iter();
        self.batch.add_given(items.map(|(key, vector)| (space.key(&key), vector, NO_RECORD)))
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
        let (space, items) = (Arc::clone(&self.space), items.into_iter());
        let items = items.map(|(key, vector, record)| (space.key(&key), vector, Some(record)));
        self.batch.add_given(items)
    }

    /// Sets the record of an item, without touching its vector. `false` if there is no such item.
    ///
    /// # Errors
    /// As [`Batch::set_record`].
    pub fn set_record(&mut self, key: impl AsKey<K>, record: &[u8]) -> Result<bool> {
        let key = self.space.key(&key)?;
        self.batch.set_record_named(&key, record)
    }

    /// Deletes the record of an item, and leaves the item. `false` if it has none.
    ///
    /// # Errors
    /// As [`delete`](Self::delete).
    pub fn remove_record(&mut self, key: impl AsKey<K>) -> Result<bool> {
        let key = self.space.key(&key)?;
        self.batch.remove_record_named(&key)
    }

    /// The record of an item. `None` if it has none, or if there is no such item.
    ///
    /// # Errors
    /// As [`vector`](Self::vector).
    pub fn record(&self, key: impl AsKey<K>) -> Result<Option<Vec<u8>>> {
        self.batch.writes.check_process()?;
        let id = self.batch.id_named(&self.space.key(&key)?)?;
        id.map_or(Ok(None), |id| self.batch.writes.record(id))
    }

    /// The vector of an item as stored, verified: see [`Batch::vector`]. `None` if there is no such
    /// item.
    ///
    /// # Errors
    /// As [`Batch::vector`].
    pub fn vector(&self, key: impl AsKey<K>) -> Result<Option<Vec<f32>>> {
        self.batch.vector_named(&self.space.key(&key)?)
    }

    /// Whether it has such an item.
    ///
    /// # Errors
    /// As [`vector`](Self::vector).
    pub fn contains(&self, key: impl AsKey<K>) -> Result<bool> {
        self.batch.writes.check_process()?;
        self.batch.has_key(&self.space.key(&key)?)
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
        let keys = keys.into_iter().map(|key| self.space.key(&key)).collect::<Result<Vec<_>>>()?;
        self.batch.delete_named(&keys)
    }

    /// The number of its items: O(them).
    ///
    /// # Errors
    /// As [`vector`](Self::vector).
    pub fn len(&self) -> Result<u64> {
        let mut count = 0;
        self.batch.each_key(&self.space.prefix, |_| {
            count += 1;
            Ok(())
        })?;
        Ok(count)
    }

    /// Whether it has no items. One lookup.
    ///
    /// # Errors
    /// As [`vector`](Self::vector).
    pub fn is_empty(&self) -> Result<bool> {
        self.batch.writes.check_process()?;
        let (keys, txn) = (self.batch.keys(), self.batch.writes.txn());
        Ok(keys.first_from(txn, &self.space.prefix, &self.space.prefix)?.is_none())
    }

    /// The keys of its items, in the order of their bytes.
    ///
    /// # Errors
    /// As [`vector`](Self::vector).
    pub fn keys(&self) -> Result<Vec<K::Owned>> {
        let (mut keys, index) = (Vec::new(), self.batch.writes.place().index);
        self.batch.each_key(&self.space.prefix, |key| {
            let key = key.get(self.space.prefix.len()..).and_then(take::<K>);
            keys.push(key.ok_or_else(|| mistyped(index, 0))?);
            Ok(())
        })?;
        Ok(keys)
    }

    /// Deletes all its items. Returns how many there were: see [`Batch::drop_tenant`].
    ///
    /// # Errors
    /// As [`delete`](Self::delete).
    pub fn clear(&mut self) -> Result<u64> {
        self.batch.clear_prefix(&self.space.prefix)
    }
}

impl<D, K: ?Sized> HasRecords for TenantBatch<'_, '_, D, K> {}

impl<'w, D, K: PrefixedKey + ?Sized> Searchable for TenantBatch<'_, 'w, D, K> {
    type Key = K;

    fn answer(query: &Query<'_, Self>, target: Target<'_>) -> Result<Option<Vec<Answer<Self>>>> {
        answer(&*query.searched.batch, query, target)
    }

    type Pinned<'a>
        = &'a Batch<'w, D, K>
    where
        Self: 'a;

    fn pin(&self) -> Result<Self::Pinned<'_>> {
        Ok(&*self.batch)
    }
}

impl<D, K: PrefixedKey + ?Sized> Index<D, K> {
    /// Deletes all items of a tenant, and commits: see [`Batch::drop_tenant`].
    ///
    /// # Errors
    /// As [`Batch::drop_tenant`] and [`write`](Self::write).
    pub fn drop_tenant(&self, name: impl AsKey<K>) -> Result<u64> {
        let space = Space::new(&name)?;
        self.write(|batch| batch.clear_prefix(&space.prefix))
    }

    /// Deletes all items of a tenant, and erases what they leave: see [`erase`](Index::erase).
    /// Returns how many there were. Their vectors are in memory meanwhile.
    ///
    /// # Errors
    /// As [`tenant`](Self::tenant) and [`erase`](Index::erase).
    pub fn erase_tenant(&self, name: impl AsKey<K>) -> Result<u64> {
        let space = Space::new(&name)?;
        let vectors = |batch: &Batch<'_, D, K>| {
            let mut vectors = Vec::new();
            batch.each_key(&space.prefix, |key| {
                vectors.extend(batch.vector_named(&key)?);
                Ok(())
            })?;
            Ok(vectors)
        };
        erase(self, vectors, |batch| batch.clear_prefix(&space.prefix))
    }
}

impl<D, K: PrefixedKey + ?Sized> Tenant<Index<D, K>> {
    /// The tenant at the newest commit, for as long as it is held: see [`Index::snapshot`].
    ///
    /// # Errors
    /// As [`Index::snapshot`].
    pub fn snapshot(&self) -> Result<Tenant<Snapshot<D, K>>> {
        Ok(Tenant { of: self.of.snapshot()?, space: Arc::clone(&self.space) })
    }

    /// Changes the tenant in one write transaction of the index: see [`Index::write`]. To change
    /// several tenants in one, use [`Batch::tenant`].
    ///
    /// # Errors
    /// As [`Index::write`].
    pub fn write<T>(
        &self,
        mut work: impl FnMut(&mut TenantBatch<'_, '_, D, K>) -> Result<T>,
    ) -> Result<T> {
        self.of.write(|batch| work(&mut TenantBatch::of(batch, &self.space)))
    }

    /// Adds an item, or replaces its vector, and commits. To add many, use [`write`](Self::write).
    ///
    /// # Errors
    /// As [`TenantBatch::add`] and [`Index::write`].
    pub fn add(&self, key: impl AsKey<K>, vector: &[impl Component]) -> Result<()> {
        let key = self.space.key(&key)?;
        self.of.write(|batch| batch.add_named(&key, vector, None))
    }

    /// Adds an item with a record, or replaces its vector and its record, and commits.
    ///
    /// # Errors
    /// As [`TenantBatch::add_with_record`] and [`Index::write`].
    pub fn add_with_record(
        &self,
        key: impl AsKey<K>,
        vector: &[impl Component],
        record: &[u8],
    ) -> Result<()> {
        let key = self.space.key(&key)?;
        self.of.write(|batch| batch.add_named(&key, vector, Some(record)))
    }

    /// Sets the record of an item, and commits. `false` if there is no such item.
    ///
    /// # Errors
    /// As [`TenantBatch::set_record`] and [`Index::write`].
    pub fn set_record(&self, key: impl AsKey<K>, record: &[u8]) -> Result<bool> {
        let key = self.space.key(&key)?;
        self.of.write(|batch| batch.set_record_named(&key, record))
    }

    /// Deletes an item, and commits. `false` if there is none.
    ///
    /// # Errors
    /// As [`TenantBatch::delete`] and [`Index::write`].
    pub fn delete(&self, key: impl AsKey<K>) -> Result<bool> {
        let key = [self.space.key(&key)?];
        Ok(self.of.write(|batch| batch.delete_named(&key))? > 0)
    }

    /// The number of its items at the newest commit: O(them), a tenth of a microsecond each. A
    /// [`snapshot`](Self::snapshot) has all of what follows at one commit.
    ///
    /// # Errors
    /// As [`Index::snapshot`].
    pub fn len(&self) -> Result<u64> {
        self.snapshot()?.len()
    }

    /// Whether it has no items: then there is no such tenant. One lookup.
    ///
    /// # Errors
    /// As [`Index::snapshot`].
    pub fn is_empty(&self) -> Result<bool> {
        self.snapshot()?.is_empty()
    }

    /// Whether it has such an item.
    ///
    /// # Errors
    /// As [`vector`](Self::vector).
    pub fn contains(&self, key: impl AsKey<K>) -> Result<bool> {
        self.snapshot()?.contains(key)
    }

    /// The vector of an item as stored. `None` if there is no such item.
    ///
    /// # Errors
    /// [`InvalidItemKey`](crate::Error::InvalidItemKey), and as [`Index::snapshot`].
    pub fn vector(&self, key: impl AsKey<K>) -> Result<Option<Vec<f32>>> {
        self.snapshot()?.vector(key)
    }

    /// The record of an item. `None` if it has none, or if there is no such item.
    ///
    /// # Errors
    /// As [`vector`](Self::vector).
    pub fn record(&self, key: impl AsKey<K>) -> Result<Option<Vec<u8>>> {
        self.snapshot()?.record(key)
    }

    /// The keys of its items, in the order of their bytes.
    ///
    /// # Errors
    /// As [`Index::snapshot`].
    pub fn keys(&self) -> Result<Vec<K::Owned>> {
        self.snapshot()?.keys()?.collect()
    }
}
