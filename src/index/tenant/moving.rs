//! Renaming a tenant, and moving or copying it to another index.
//!
//! A tenant that is renamed keeps the ids of its items, so its keys alone are written: no vector,
//! no record and nothing of the graph. In another index its items are added like any others.

use std::sync::Arc;

use super::super::load::Row;
use super::super::merge::check_source;
use super::super::{Batch, Index, Snapshot};
use super::{Space, Tenant, TenantBatch};
use crate::error::{Error, Result};
use crate::item_key::{AsKey, PrefixedKey, sealed};

impl Space {
    /// Its name in an error.
    fn shown<K: PrefixedKey + ?Sized>(&self) -> String {
        <K as sealed::Name>::NAMING.show(&self.name)
    }
}

impl<D, K: PrefixedKey + ?Sized> Batch<'_, D, K> {
    /// Gives a tenant another name. Returns how many items it has. O(them): their keys are written
    /// anew, and nothing else.
    ///
    /// # Errors
    /// [`TenantExists`](Error::TenantExists) if there is a tenant of that name;
    /// [`InvalidItemKey`](Error::InvalidItemKey) if a key is too long beside it; and as
    /// [`tenant`](Self::tenant): nothing has changed. Those of [`delete`](Self::delete).
    pub fn rename_tenant(&mut self, name: impl AsKey<K>, new: impl AsKey<K>) -> Result<u64> {
        self.rename_space(&Space::new(&name)?, &Space::new(&new)?)
    }

    fn rename_space(&mut self, old: &Arc<Space>, new: &Arc<Space>) -> Result<u64> {
        if old.name == new.name {
            return TenantBatch::of(self, old).len();
        }
        if !TenantBatch::of(self, new).is_empty()? {
            return Err(Error::TenantExists { tenant: new.shown::<K>() });
        }
        let renamed = |key: &[u8]| new.key_of(key.get(old.prefix.len()..).unwrap_or_default());
        self.each_key(&old.prefix, |key| renamed(&key).map(drop))?;
        let mut count = 0;
        loop {
            let keys = self.keys_after(&old.prefix, None)?.into_iter().map(|key| {
                let new = renamed(&key)?;
                Ok((key, new))
            });
            let keys = keys.collect::<Result<Vec<_>>>()?;
            match self.writes.change_whole(|writer, txn| writer.rename_keys(txn, keys))? {
                0 => return Ok(count),
                renamed => count += renamed,
            }
        }
    }
}

impl<D, K: PrefixedKey + ?Sized> TenantBatch<'_, '_, D, K> {
    /// Copies all items of another tenant, with their records: of this or another index, in this or
    /// another folder. Returns how many there were. Vectors are rounded to the element type of this
    /// index.
    ///
    /// ```
    /// use voisin::{Index, Options, distances::Euclidean};
    ///
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// let create = |name| Index::create(folder.path().join(name), Options::new(1));
    /// let (here, there): (Index<Euclidean, str>, Index<Euclidean, str>) =
    ///     (create("here")?, create("there")?);
    /// here.tenant("acme")?.add_with_record("doc-1", &[0.5], b"its text")?;
    /// let acme = here.snapshot()?.tenant("acme")?;
    /// assert_eq!(there.tenant("acme")?.write(|batch| batch.copy_from(&acme))?, 1);
    /// assert_eq!(there.tenant("acme")?.record("doc-1")?, Some(b"its text".to_vec()));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`MetricMismatch`](Error::MetricMismatch), [`DimensionMismatch`](Error::DimensionMismatch):
    /// nothing has changed. [`ItemExists`](Error::ItemExists) if this tenant has an item with one
    /// of the keys, [`InvalidItemKey`](Error::InvalidItemKey) if one is too long beside the name of
    /// this one, and those of [`add`](Self::add): items before it have been added, so return it.
    pub fn copy_from<E>(&mut self, source: &Tenant<Snapshot<E, K>>) -> Result<u64> {
        let writes = &self.batch.writes;
        check_source(&source.of, writes.place().metric, writes.dimensions())?;
        let space = Arc::clone(&self.space);
        let rows = source.names()?.map(|entry| -> Result<Row<f32>> {
            let (key, id) = entry?;
            let key = space.key_of(&<K as sealed::Bytes>::bytes(&key)?)?;
            Ok((key, source.stored(id)?, source.of.record_of_id(id)?))
        });
        self.batch.add_new(rows)
    }

    /// Deletes the items that another tenant has, too, with equal vectors and records.
    fn delete_equal(&mut self, copied: &Tenant<Snapshot<D, K>>) -> Result<u64> {
        let mut equal = Vec::new();
        for entry in copied.names()? {
            let (key, id) = entry?;
            let key = self.space.key_of(&<K as sealed::Bytes>::bytes(&key)?)?;
            let Some(now) = self.batch.id_named(&key)? else { continue };
            let has = self.batch.vector_named(&key)?.is_some_and(|vector| {
                copied.stored(id).is_ok_and(|copied| {
                    vector.iter().map(|it| it.to_bits()).eq(copied.iter().map(|it| it.to_bits()))
                })
            });
            if has && self.batch.writes.record(now)? == copied.of.record_of_id(id)? {
                equal.push(key);
            }
        }
        self.batch.delete_named(&equal)
    }
}

impl<D, K: PrefixedKey + ?Sized> Index<D, K> {
    /// Gives a tenant another name, and commits: see [`Batch::rename_tenant`].
    ///
    /// # Errors
    /// As [`Batch::rename_tenant`] and [`write`](Self::write).
    pub fn rename_tenant(&self, name: impl AsKey<K>, new: impl AsKey<K>) -> Result<u64> {
        let (old, new) = (Space::new(&name)?, Space::new(&new)?);
        self.write(|batch| batch.rename_space(&old, &new))
    }

    /// Moves a tenant to another index, or to another name in this one. Returns how many items
    /// moved. Within this index that is a [renaming](Self::rename_tenant), and to another index of
    /// the folder one commit of both.
    ///
    /// To another folder there are two commits, first of the copy, then of the deletion of what was
    /// copied. If the process ends between both, both folders have it. Items that another writer
    /// changes or adds meanwhile stay where they were, and those that it deletes are in the copy;
    /// so keep others from writing to the tenant.
    ///
    /// ```
    /// use voisin::{Error, Index, Options, distances::Euclidean};
    ///
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("vectors");
    /// let small = Index::<Euclidean, str>::create(&path, Options::new(1).name("small"))?;
    /// let large = Index::<Euclidean, str>::create(&path, Options::new(1).name("large"))?;
    /// small.tenant("acme")?.add_with_record("doc-1", &[0.5], b"its text")?;
    /// assert_eq!(small.move_tenant("acme", &large, "acme")?, 1);
    /// assert!(small.tenants()?.is_empty());
    /// assert_eq!(large.tenant("acme")?.record("doc-1")?, Some(b"its text".to_vec()));
    ///
    /// large.tenant("bolt")?.add("doc-1", &[0.7])?;
    /// let taken = large.rename_tenant("acme", "bolt");
    /// assert!(matches!(taken, Err(Error::TenantExists { .. })));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`TenantExists`](Error::TenantExists) if the other index has a tenant of that name, and as
    /// [`TenantBatch::copy_from`] and [`write`](Self::write): nothing has changed, or, between
    /// folders, after an error of the second commit, nothing here.
    pub fn move_tenant<E>(
        &self,
        name: impl AsKey<K>,
        target: &Index<E, K>,
        new: impl AsKey<K>,
    ) -> Result<u64> {
        let (shared, other) = (&self.shared, &target.shared);
        let is_here = Arc::ptr_eq(&shared.env, &other.env);
        if is_here && shared.entry.number == other.entry.number {
            return self.rename_tenant(name, new);
        }
        let (old, new) = (Space::new(&name)?, Space::new(&new)?);
        let copy = |batch: &mut Batch<'_, E, K>, from: &Tenant<Snapshot<D, K>>| {
            let mut tenant = TenantBatch::of(batch, &new);
            match tenant.is_empty()? {
                true => tenant.copy_from(from),
                false => Err(Error::TenantExists { tenant: new.shown::<K>() }),
            }
        };
        if is_here {
            return self.folder().write(|txn| {
                // Of the newest commit: no other writer adds one before this one ends.
                let from = Tenant { of: self.snapshot()?, space: Arc::clone(&old) };
                txn.index(target, |batch| copy(batch, &from))?;
                txn.index(self, |batch| TenantBatch::of(batch, &old).clear())
            });
        }
        shared.writable()?;
        let from = Tenant { of: self.snapshot()?, space: Arc::clone(&old) };
        target.write(|batch| copy(batch, &from))?;
        self.write(|batch| TenantBatch::of(batch, &old).delete_equal(&from))
    }
}
