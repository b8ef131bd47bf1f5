//! The methods of a writer of items that are named by keys. Each does the same as the method by
//! ids; the rows of KEYS are put with the last values of its edit.

use heed::{RoTxn, RwTxn};

use super::{NO_RECORD, Writer};
use crate::codec::{Component, Components};
use crate::error::{Error, Result};
use crate::format::item_keys::Naming;
use crate::item_key::{AsKey, ItemKey, bytes_of};
use crate::store::edit::RowName;
use crate::store::open::{naming_of, read_meta};
use crate::store::sections::item_keys::rows::ItemKeys;
use crate::store::sections::records::view::record_in;
use crate::store::sections::vectors::view::vector_in;
use crate::types::ItemId;

impl<D, K: ItemKey + ?Sized> Writer<'_, D, K> {
    /// The id of an item.
    fn id(&self, rtxn: &RoTxn<'_>, key: impl AsKey<K>) -> Result<Option<ItemId>> {
        let key = bytes_of(&key)?;
        let Some(meta) = read_meta(self.place, rtxn)? else { return Ok(None) };
        let stored = naming_of(self.place, rtxn, &meta)?;
        if stored != self.place.naming {
            let [stored, requested] = [stored, self.place.naming].map(Naming::describe);
            return Err(Error::naming_mismatch(self.place.index, stored, requested));
        }
        ItemKeys::of(self.place).id(rtxn, &key)
    }

    /// Adds an item, or replaces its vector; an item that has a record keeps it. O(dimensions);
    /// writes a few values.
    ///
    /// # Errors
    /// [`DimensionMismatch`](Error::DimensionMismatch), [`InvalidItemKey`](Error::InvalidItemKey),
    /// [`InvalidKeyedItem`](Error::InvalidKeyedItem),
    /// [`NamingMismatch`](Error::NamingMismatch) if the items of the index have other names, and
    /// those of the method by ids, which say what has changed.
    pub fn add_item(
        &self,
        wtxn: &mut RwTxn<'_>,
        key: impl AsKey<K>,
        vector: &[impl Component],
    ) -> Result<()> {
        self.add_given(wtxn, RowName::Key(bytes_of(&key)?), vector, None)
    }

    /// Adds an item with a record of bytes, or replaces its vector and its record.
    ///
    /// # Errors
    /// As [`add_item`](Self::add_item), and [`InvalidParameter`](Error::InvalidParameter) for a
    /// record of more than 64 MiB: nothing has changed.
    pub fn add_item_with_record(
        &self,
        wtxn: &mut RwTxn<'_>,
        key: impl AsKey<K>,
        vector: &[impl Component],
        record: &[u8],
    ) -> Result<()> {
        self.add_given(wtxn, RowName::Key(bytes_of(&key)?), vector, Some(record))
    }

    /// Adds or replaces many items: `vectors` holds one row of `dimensions` components for each of
    /// `keys`, one after the other. If a key occurs twice, the last one counts.
    ///
    /// # Errors
    /// As [`add_item`](Self::add_item), and [`LengthMismatch`](Error::LengthMismatch). All keys and
    /// vectors are checked first: a bad one changes nothing.
    pub fn add_items<Q: AsKey<K>>(
        &self,
        wtxn: &mut RwTxn<'_>,
        keys: &[Q],
        vectors: &[impl Component],
    ) -> Result<()> {
        let dimensions = self.dimensions;
        if keys.len().checked_mul(dimensions) != Some(vectors.len()) {
            let (ids, components) = (keys.len(), vectors.len());
            return Err(Error::LengthMismatch { ids, components, dimensions });
        }
        let named = keys.iter().map(bytes_of).collect::<Result<Vec<_>>>()?;
        let edit = self.edit(wtxn)?;
        if named.is_empty() {
            return Ok(());
        }
        edit.check_trained()?;
        for (key, row) in named.iter().zip(vectors.chunks(dimensions)) {
            let checked = self.place.metric.check(Components::of(row), edit.meta.scale);
            checked
                .map_err(|defect| RowName::Key(key.clone()).invalid(self.place.naming, defect))?;
        }
        drop(edit);
        let rows = named.into_iter().zip(vectors.chunks(dimensions));
        let rows = rows.map(|(key, row)| (Ok(RowName::Key(key)), row, NO_RECORD));
        self.add_given_from(wtxn, rows).map(drop)
    }

    /// Adds or replaces the items of an iterator, in memory independent of their number. Returns
    /// how many there were. After every 4 MB of keys and records, the items so far are added as by
    /// a call of its own.
    ///
    /// # Errors
    /// As [`add_item`](Self::add_item), at the first bad key or vector. The items before it have
    /// been added to the transaction: commit them or drop the transaction.
    ///
    /// # Panics
    /// If the iterator or a row panics: as the method by ids.
    pub fn add_items_from<Q: AsKey<K>, T: Component, V: AsRef<[T]>>(
        &self,
        wtxn: &mut RwTxn<'_>,
        items: impl IntoIterator<Item = (Q, V)>,
    ) -> Result<u64> {
        let items = items.into_iter();
        let items =
            items.map(|(key, vector)| (bytes_of(&key).map(RowName::Key), vector, NO_RECORD));
        self.add_given_from(wtxn, items)
    }

    /// As [`add_items_from`](Self::add_items_from), for items with records, which replace those
    /// that the items have.
    ///
    /// # Errors
    /// As [`add_items_from`](Self::add_items_from), and
    /// [`InvalidParameter`](Error::InvalidParameter) for a record of more than 64 MiB.
    ///
    /// # Panics
    /// As [`add_items_from`](Self::add_items_from).
    pub fn add_items_with_records<Q: AsKey<K>, T: Component, V: AsRef<[T]>, R: AsRef<[u8]>>(
        &self,
        wtxn: &mut RwTxn<'_>,
        items: impl IntoIterator<Item = (Q, V, R)>,
    ) -> Result<u64> {
        let items = items.into_iter();
        let items = items
            .map(|(key, vector, record)| (bytes_of(&key).map(RowName::Key), vector, Some(record)));
        self.add_given_from(wtxn, items)
    }

    /// Sets the record of an item, without touching its vector. `false` if there is no such item.
    ///
    /// # Errors
    /// As [`add_item_with_record`](Self::add_item_with_record), without those about vectors.
    pub fn set_record(
        &self,
        wtxn: &mut RwTxn<'_>,
        key: impl AsKey<K>,
        record: &[u8],
    ) -> Result<bool> {
        let key = bytes_of(&key)?;
        self.set_record_of(wtxn, &key, record)
    }

    /// Deletes the record of an item, and leaves the item. `false` if it has none.
    ///
    /// # Errors
    /// As [`del_item`](Self::del_item).
    pub fn remove_record(&self, wtxn: &mut RwTxn<'_>, key: impl AsKey<K>) -> Result<bool> {
        let key = bytes_of(&key)?;
        self.remove_record_of(wtxn, &key)
    }

    /// Deletes an item. `false` if there is none.
    ///
    /// # Errors
    /// As [`add_item`](Self::add_item), without those about vectors.
    pub fn del_item(&self, wtxn: &mut RwTxn<'_>, key: impl AsKey<K>) -> Result<bool> {
        Ok(self.del_items(wtxn, [key])? > 0)
    }

    /// Deletes many items. Returns how many of them existed.
    ///
    /// # Errors
    /// As [`del_item`](Self::del_item). All keys are checked first: a bad one changes nothing.
    pub fn del_items<Q: AsKey<K>>(
        &self,
        wtxn: &mut RwTxn<'_>,
        keys: impl IntoIterator<Item = Q>,
    ) -> Result<u64> {
        let keys = keys.into_iter().map(|key| bytes_of(&key)).collect::<Result<Vec<_>>>()?;
        self.del_named(wtxn, &keys)
    }

    /// Whether there is such an item.
    ///
    /// # Errors
    /// [`InvalidItemKey`](Error::InvalidItemKey), [`CorruptItemKey`](Error::CorruptItemKey), and
    /// those of [`Reader::open`](crate::Reader::open), without
    /// [`MissingIndex`](Error::MissingIndex).
    pub fn contains_item(&self, rtxn: &RoTxn<'_>, key: impl AsKey<K>) -> Result<bool> {
        Ok(self.id(rtxn, key)?.is_some())
    }

    /// The vector of an item as stored, verified. `None` if there is no such item.
    ///
    /// # Errors
    /// As [`contains_item`](Self::contains_item).
    pub fn item_vector(&self, rtxn: &RoTxn<'_>, key: impl AsKey<K>) -> Result<Option<Vec<f32>>> {
        self.id(rtxn, key)?.map_or(Ok(None), |id| vector_in(self.place, rtxn, id))
    }

    /// The record of an item. `None` if it has none, or if there is no such item.
    ///
    /// # Errors
    /// As [`contains_item`](Self::contains_item).
    pub fn item_record<'t>(
        &self,
        rtxn: &'t RoTxn<'_>,
        key: impl AsKey<K>,
    ) -> Result<Option<&'t [u8]>> {
        let id = self.id(rtxn, key)?;
        id.map_or(Ok(None), |id| record_in(self.place, rtxn, id))
    }
}
