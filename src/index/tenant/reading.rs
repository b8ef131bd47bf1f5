//! What a snapshot tells of a tenant, and which tenants there are.

use std::collections::VecDeque;
use std::marker::PhantomData;

use roaring::RoaringBitmap;

use super::super::keyed::Names;
use super::super::{Index, Snapshot, item_keys};
use super::{Tenant, take};
use crate::error::{Error, Result};
use crate::field::Condition;
use crate::format::item_keys::Row;
use crate::format::tenant;
use crate::item_key::{AsKey, PrefixedKey};
use crate::store::owned_snapshot::OwnedSnapshot;
use crate::store::sections::item_keys::rows::{ItemKeys, mistyped};
use crate::types::ItemId;

/// The number of keys that are looked up while others wait for the transaction: a tenth of a
/// millisecond.
const KEYS_AHEAD: usize = 1024;
/// The same for tenants, each of which is a descent of the B-tree.
const TENANTS_AHEAD: usize = 128;

impl<D, K: PrefixedKey + ?Sized> Tenant<Snapshot<D, K>> {
    fn id(&self, key: &impl AsKey<K>) -> Result<Option<ItemId>> {
        self.of.id_of_key(&self.space.key(key)?)
    }

    fn keys_of_items(&self) -> ItemKeys<'static> {
        item_keys::<K>(self.of.held().place())
    }

    /// The ids of its items.
    fn ids(&self) -> Result<RoaringBitmap> {
        self.of.check_process()?;
        let (keys, mut ids, mut last) = (self.keys_of_items(), RoaringBitmap::new(), None);
        loop {
            last = self.of.held().lend(|txn| {
                keys.with_prefix(txn, &self.space.prefix, last.as_deref(), KEYS_AHEAD, |id| {
                    ids.insert(id);
                })
            })?;
            if last.is_none() {
                return Ok(ids);
            }
        }
    }

    pub(super) fn names(&self) -> Result<Names<'_, K>> {
        self.of.names_in(&self.space.prefix)
    }

    /// The number of its items: O(them), a tenth of a microsecond each.
    ///
    /// # Errors
    /// [`Forked`](Error::Forked), [`Corrupt`](Error::Corrupt),
    /// [`CorruptItemKey`](Error::CorruptItemKey).
    pub fn len(&self) -> Result<u64> {
        Ok(self.ids()?.len())
    }

    /// Whether it has no items: then there is no such tenant. One lookup.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn is_empty(&self) -> Result<bool> {
        self.of.check_process()?;
        let (keys, prefix) = (self.keys_of_items(), &self.space.prefix);
        Ok(self.of.held().lend(|txn| keys.first_from(txn, prefix, prefix))?.is_none())
    }

    /// Whether it has such an item.
    ///
    /// # Errors
    /// As [`vector`](Self::vector).
    pub fn contains(&self, key: impl AsKey<K>) -> Result<bool> {
        Ok(self.id(&key)?.is_some())
    }

    /// The vector of an item as stored: see [`Snapshot::vector`]. `None` if there is no such item.
    ///
    /// # Errors
    /// [`InvalidItemKey`](Error::InvalidItemKey), and as [`len`](Self::len).
    pub fn vector(&self, key: impl AsKey<K>) -> Result<Option<Vec<f32>>> {
        self.id(&key)?.map_or(Ok(None), |id| self.of.components(id))
    }

    /// The record of an item. `None` if it has none, or if there is no such item.
    ///
    /// # Errors
    /// As [`vector`](Self::vector).
    pub fn record(&self, key: impl AsKey<K>) -> Result<Option<Vec<u8>>> {
        self.id(&key)?.map_or(Ok(None), |id| self.of.record_of_id(id))
    }

    /// The keys of its items, in the order of their bytes.
    ///
    /// # Errors
    /// As [`len`](Self::len); the iterator's items the same.
    pub fn keys(&self) -> Result<impl Iterator<Item = Result<K::Owned>> + '_> {
        Ok(self.names()?.map(|entry| Ok(entry?.0)))
    }

    /// Its items and their vectors, ordered by key, looked up as the iterator advances.
    ///
    /// # Errors
    /// As [`len`](Self::len); the iterator's items the same.
    pub fn iter(&self) -> Result<impl Iterator<Item = Result<(K::Owned, Vec<f32>)>> + '_> {
        Ok(self.names()?.map(|entry| {
            let (key, id) = entry?;
            self.stored(id).map(|vector| (key, vector))
        }))
    }

    /// Its items that have a record, and their records, ordered by key.
    ///
    /// # Errors
    /// As [`len`](Self::len); the iterator's items the same.
    pub fn records(&self) -> Result<impl Iterator<Item = Result<(K::Owned, Vec<u8>)>> + '_> {
        Ok(self.names()?.filter_map(|entry| {
            let record = entry.and_then(|(key, id)| Ok((key, self.of.record_of_id(id)?)));
            record.map(|(key, record)| Some((key, record?))).transpose()
        }))
    }

    /// The number of its items for which a condition holds: see [`field`](crate::field()).
    ///
    /// # Errors
    /// As [`len`](Self::len) and [`Snapshot::count`].
    pub fn count(&self, condition: &Condition) -> Result<u64> {
        Ok(self.of.matching(condition)?.intersection_len(&self.ids()?))
    }

    /// The keys of its items for which a condition holds, in the order of their bytes. O(its
    /// items), beside what the condition costs.
    ///
    /// # Errors
    /// As [`count`](Self::count).
    pub fn keys_of(&self, condition: &Condition) -> Result<Vec<K::Owned>> {
        let matching = self.of.matching(condition)?;
        let names = self.names()?.filter_map(|entry| match entry {
            Ok((key, id)) => matching.contains(id).then_some(Ok(key)),
            Err(error) => Some(Err(error)),
        });
        names.collect()
    }

    /// The vector of an item that a key names.
    pub(super) fn stored(&self, id: ItemId) -> Result<Vec<f32>> {
        let row = Row::name_of(self.of.held().place().index, id);
        let missing = || Error::corrupt(row, "it is of an item that does not exist");
        self.of.components(id)?.ok_or_else(missing)
    }
}

impl<D, K: PrefixedKey + ?Sized> Snapshot<D, K> {
    /// The names of all tenants, in the order of their bytes: those that have items. Each is found
    /// by one lookup, some at a time as the iterator advances, whatever the tenants hold. See
    /// [`Index::tenant`].
    ///
    /// # Errors
    /// As [`keys`](Self::keys); the iterator's items the same.
    pub fn tenants(&self) -> Result<impl Iterator<Item = Result<K::Owned>> + '_> {
        self.check_process()?;
        let held = self.held();
        let (keys, from) = (item_keys::<K>(held.place()), Some(tenant::ALL.to_vec()));
        Ok(Tenants { held, keys, from, ahead: VecDeque::new(), key: PhantomData::<fn(&K)> })
    }
}

impl<D, K: PrefixedKey + ?Sized> Index<D, K> {
    /// The names of all [tenants](Self::tenant), in the order of their bytes: see
    /// [`Snapshot::tenants`], which looks them up bit by bit.
    ///
    /// # Errors
    /// As [`snapshot`](Self::snapshot).
    pub fn tenants(&self) -> Result<Vec<K::Owned>> {
        self.snapshot()?.tenants()?.collect()
    }
}

/// The names of the tenants of a snapshot.
struct Tenants<'a, K: ?Sized> {
    held: &'a OwnedSnapshot<'static>,
    keys: ItemKeys<'static>,
    /// What no key of the next tenants is less than. `None` at the end.
    from: Option<Vec<u8>>,
    ahead: VecDeque<Vec<u8>>,
    key: PhantomData<fn(&K)>,
}

impl<K: PrefixedKey + ?Sized> Tenants<'_, K> {
    fn look(&mut self) -> Result<()> {
        let Self { held, keys, from, ahead, .. } = self;
        held.lend(|txn| {
            for _ in 0..TENANTS_AHEAD {
                let Some(first) = from.take() else { break };
                let Some(mut key) = keys.first_from(txn, &first, tenant::ALL)? else { break };
                *from = Some(match tenant::name_in(&key) {
                    Some((name, prefix)) => {
                        ahead.push_back(name);
                        key.truncate(prefix);
                        tenant::after(key)
                    }
                    // A key that happens to begin with a NUL: the next one follows it.
                    None => [&key[..], &[0]].concat(),
                });
            }
            Ok(())
        })
    }
}

impl<K: PrefixedKey + ?Sized> Iterator for Tenants<'_, K> {
    type Item = Result<K::Owned>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ahead.is_empty() && self.from.is_some() {
            if let Err(error) = self.look() {
                self.from = None;
                self.ahead.clear();
                return Some(Err(error));
            }
        }
        let name = self.ahead.pop_front()?;
        Some(take::<K>(&name).ok_or_else(|| mistyped(self.keys.place.index, 0)))
    }
}
