//! Queries of a reader with a transaction, by whatever names the items, and what it says of items
//! that are named by keys.

use super::named::{Lent, answer, look};
use super::pinned::{Pinned, Work};
use super::{Answer, Query, Searchable, Target};
use crate::error::Result;
use crate::format::item_keys::Naming;
use crate::item_key::{AsKey, ItemKey, ItemName, bytes_of, sealed};
use crate::reader::ReaderOn;
use crate::store::sections::item_keys::rows::{ItemKeys, mistyped};
use crate::store::source::{Calling, Warm};
use crate::store::view::View;
use crate::types::ItemId;

/// The number of keys that are looked up at a time, and of blocks of keys.
const KEYS_AHEAD: usize = 1024;
const BLOCKS_AHEAD: usize = 64;

impl<'a, 't, D, K: sealed::Bytes + ?Sized> ReaderOn<'a, 't, D, K> {
    fn item_keys(&self) -> ItemKeys<'t> {
        ItemKeys { place: self.place(), naming: K::NAMING }
    }

    /// Looks up the keys of all items, for threads that cannot.
    fn resolve_keys(&self, view: &View<'a, 't, Calling<'a, 't>>) -> Result<()> {
        let keys = self.item_keys();
        let known = keys.known(view.snapshot, || keys.bound(self.txn()))?;
        keys.resolve(view, known, BLOCKS_AHEAD)
    }
}

impl<D, K: ItemName + sealed::Bytes + ?Sized> Searchable for ReaderOn<'_, '_, D, K> {
    type Key = K;

    fn answer(query: &Query<'_, Self>, target: Target<'_>) -> Result<Option<Vec<Answer<Self>>>> {
        let reader = query.searched;
        let view = reader.view()?;
        if query.named.predicate.is_some() && K::NAMING != Naming::Ids {
            reader.resolve_keys(&view)?;
        }
        let names = View::new(view.snapshot, Warm::default());
        answer::<K, _, _, _>((&view, &names), reader.place(), &Lent(reader.txn()), query, target)
    }

    type Pinned<'a>
        = &'a Self
    where
        Self: 'a;

    fn pin(&self) -> Result<&Self> {
        Ok(self)
    }
}

impl<D, K: ItemName + sealed::Bytes + ?Sized> Pinned for ReaderOn<'_, '_, D, K> {
    fn look(&self, work: Work<'_>) -> Result<()> {
        let view = self.view()?;
        if work.named.predicate.is_some() && K::NAMING != Naming::Ids {
            self.resolve_keys(&view)?;
        }
        let names = View::new(view.snapshot, Warm::default());
        look::<K, _, _>((&view, &names), self.place(), &Lent(self.txn()), work)
    }

    /// A transaction may have changes that are not committed.
    fn commit(&self) -> Result<Option<u64>> {
        Ok(None)
    }
}

impl<D, K: ItemKey + ?Sized> ReaderOn<'_, '_, D, K> {
    fn id(&self, key: impl AsKey<K>) -> Result<Option<ItemId>> {
        self.item_keys().id(self.txn(), &bytes_of(&key)?)
    }

    /// Whether there is such an item.
    ///
    /// # Errors
    /// [`InvalidItemKey`](crate::Error::InvalidItemKey), [`Corrupt`](crate::Error::Corrupt),
    /// [`CorruptItemKey`](crate::Error::CorruptItemKey).
    pub fn contains(&self, key: impl AsKey<K>) -> Result<bool> {
        Ok(self.id(key)?.is_some())
    }

    /// The vector of an item as stored: see [`Reader::item_vector`](crate::Reader::item_vector).
    /// `None` if there is no such item.
    ///
    /// # Errors
    /// As [`contains`](Self::contains).
    pub fn vector(&self, key: impl AsKey<K>) -> Result<Option<Vec<f32>>> {
        let Some(id) = self.id(key)? else { return Ok(None) };
        let view = self.view()?;
        view.slot(id)?.map(|slot| view.components(slot)).transpose()
    }

    /// The record of an item. `None` if it has none, or if there is no such item.
    ///
    /// # Errors
    /// As [`contains`](Self::contains).
    pub fn record(&self, key: impl AsKey<K>) -> Result<Option<Vec<u8>>> {
        let Some(id) = self.id(key)? else { return Ok(None) };
        Ok(self.view()?.record_of(id)?.map(<[u8]>::to_vec))
    }

    /// The keys of all items, in their order: numerical, or by their bytes. Looked up as the
    /// iterator advances.
    ///
    /// # Errors
    /// The iterator's items: as [`contains`](Self::contains).
    pub fn keys(&self) -> impl Iterator<Item = Result<K::Owned>> + '_ {
        let keys = self.item_keys();
        let (mut ahead, mut last, mut is_over) = (Vec::new().into_iter(), None, false);
        std::iter::from_fn(move || {
            if ahead.len() == 0 && !is_over {
                let found = match keys.after(self.txn(), &[], last.as_deref(), KEYS_AHEAD) {
                    Ok(found) => found,
                    Err(error) => {
                        is_over = true;
                        return Some(Err(error));
                    }
                };
                is_over = found.len() < KEYS_AHEAD;
                last = found.last().map(|(key, _)| key.clone());
                ahead = found.into_iter();
            }
            let (key, id) = ahead.next()?;
            let owned = <K as sealed::Bytes>::take(&key);
            Some(owned.ok_or_else(|| mistyped(keys.place.index, id)))
        })
    }
}
