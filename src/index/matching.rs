//! Fields of records, and conditions on them: which items match, how many, and changes of all that
//! do, of snapshots and batches.

use roaring::RoaringBitmap;

use super::{Batch, Snapshot, item_keys};
use crate::error::Result;
use crate::field::{Condition, Field, FieldValue};
use crate::item_key::{ItemKey, sealed};
use crate::store::sections::item_keys::rows::mistyped;
use crate::store::sections::records::view::record_in;
use crate::types::ItemId;

impl<D, K: ?Sized> Batch<'_, D, K> {
    /// Adds a field of records, by which items can be filtered: all records must be JSON objects
    /// from then on, in which a member of this name, if there is one, is a value of the type of the
    /// field or an array of such values. The records that there are fill it. O(records), in memory
    /// for about a hundred bytes for each value.
    ///
    /// ```
    /// use voisin::{Error, Field, Index, Options, distances::Euclidean, field};
    ///
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(1))?;
    /// index.write(|batch| batch.add_with_record(1, &[1.0], br#"{"year": 1987}"#))?;
    /// index.write(|batch| batch.add_field(Field::integer("year")))?;
    /// assert_eq!(index.snapshot()?.count(&field("year").between(1980, 1989))?, 1);
    /// let wrong = index.write(|batch| batch.set_record(1, br#"{"year": "a long time ago"}"#));
    /// assert!(matches!(wrong, Err(Error::InvalidRecord { .. })));
    /// index.write(|batch| batch.drop_field("year"))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`InvalidField`](crate::Error::InvalidField), [`InvalidRecord`](crate::Error::InvalidRecord)
    /// for the first record that does not fit: nothing has changed. And those of
    /// [`Index::write`](crate::Index::write).
    pub fn add_field(&mut self, field: Field) -> Result<()> {
        self.writes.change(|writer, txn| writer.add_field(txn, field))
    }

    /// Drops a field; the records stay as they are. O(rows of the field).
    ///
    /// # Errors
    /// [`UnknownField`](crate::Error::UnknownField): nothing has changed.
    pub fn drop_field(&mut self, name: &str) -> Result<()> {
        self.writes.change(|writer, txn| writer.drop_field(txn, name))
    }

    /// The fields of the index.
    ///
    /// # Errors
    /// [`Forked`](crate::Error::Forked), [`Corrupt`](crate::Error::Corrupt).
    pub fn fields(&self) -> Result<Vec<Field>> {
        self.writes.reader()?.fields()
    }

    /// The number of items for which a condition holds, with the changes of the batch.
    ///
    /// # Errors
    /// As [`Snapshot::count`].
    pub fn count(&self, condition: &Condition) -> Result<u64> {
        self.writes.reader()?.count(self.writes.txn(), condition)
    }

    /// The ids of the items for which a condition holds.
    pub(super) fn matching(&self, condition: &Condition) -> Result<RoaringBitmap> {
        self.writes.reader()?.ids_of(self.writes.txn(), condition)
    }

    /// Replaces the records of all items for which a condition holds: `update` is called with each
    /// record, `None` if the item has none, and returns the new one, or `None` to leave it. Returns
    /// how many were replaced.
    ///
    /// ```
    /// # use voisin::{Field, Index, Options, distances::Euclidean, field};
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(1))?;
    /// index.write(|batch| {
    ///     batch.add_field(Field::keyword("tag"))?;
    ///     batch.add_with_record(1, &[1.0], br#"{"tag": "new"}"#)?;
    ///     batch.add_with_record(2, &[2.0], br#"{"tag": "read"}"#)
    /// })?;
    /// let new = field("tag").eq("new");
    /// let read = || Some(br#"{"tag": "read"}"#.to_vec());
    /// assert_eq!(index.write(|batch| batch.update_matching(&new, |_| read()))?, 1);
    /// assert_eq!(index.write(|batch| batch.delete_matching(&field("tag").eq("read")))?, 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`count`](Self::count). [`InvalidRecord`](crate::Error::InvalidRecord) for a new record:
    /// the batch can only be rolled back.
    pub fn update_matching(
        &mut self,
        condition: &Condition,
        mut update: impl FnMut(Option<&[u8]>) -> Option<Vec<u8>>,
    ) -> Result<u64> {
        let (items, place) = (self.matching(condition)?, self.writes.place());
        self.writes.change_whole(|writer, txn| {
            let mut count = 0;
            for item in items {
                let Some(record) = update(record_in(place, txn, item)?) else { continue };
                count += u64::from(writer.set_record(txn, item, &record)?);
            }
            Ok(count)
        })
    }
}

impl<D> Batch<'_, D> {
    /// The ids of the items for which a condition holds, with the changes of the batch.
    ///
    /// # Errors
    /// As [`count`](Self::count).
    pub fn ids_of(&self, condition: &Condition) -> Result<RoaringBitmap> {
        self.matching(condition)
    }

    /// Deletes all items for which a condition holds. Returns how many there were.
    ///
    /// # Errors
    /// As [`count`](Self::count) and [`delete`](Self::delete).
    pub fn delete_matching(&mut self, condition: &Condition) -> Result<u64> {
        let items = self.matching(condition)?;
        self.delete_items(items)
    }
}

impl<D, K: ItemKey + ?Sized> Batch<'_, D, K> {
    /// The keys of the items for which a condition holds, with the changes of the batch, in no
    /// order.
    ///
    /// # Errors
    /// As [`count`](Self::count).
    pub fn keys_of(&self, condition: &Condition) -> Result<Vec<K::Owned>> {
        let keys = self.keys();
        let items = self.matching(condition)?.into_iter();
        items
            .map(|item| {
                let key = keys.key_in(self.writes.txn(), item)?;
                <K as sealed::Bytes>::take(&key).ok_or_else(|| mistyped(keys.place.index, item))
            })
            .collect()
    }

    /// Deletes all items for which a condition holds. Returns how many there were.
    ///
    /// # Errors
    /// As [`count`](Self::count) and [`delete`](Self::delete).
    pub fn delete_matching(&mut self, condition: &Condition) -> Result<u64> {
        let keys = self.keys();
        let items = self.matching(condition)?.into_iter();
        let named = items.map(|item| keys.key_in(self.writes.txn(), item));
        let named = named.collect::<Result<Vec<_>>>()?;
        self.delete_named(&named)
    }
}

impl<D, K: ?Sized> Snapshot<D, K> {
    /// The fields of the index.
    ///
    /// # Errors
    /// [`Forked`](crate::Error::Forked), [`Corrupt`](crate::Error::Corrupt).
    pub fn fields(&self) -> Result<Vec<Field>> {
        Ok(self.view()?.fields()?.0.into_iter().map(|stored| stored.field).collect())
    }

    /// The number of items for which a condition holds: see [`field`](crate::field()).
    ///
    /// # Errors
    /// [`UnknownField`](crate::Error::UnknownField),
    /// [`FieldMismatch`](crate::Error::FieldMismatch), [`Forked`](crate::Error::Forked),
    /// [`Corrupt`](crate::Error::Corrupt).
    pub fn count(&self, condition: &Condition) -> Result<u64> {
        self.view()?.count_matching(condition)
    }

    /// The values of a field, each with the number of items that have it, the most frequent first.
    /// Timestamps are milliseconds.
    ///
    /// # Errors
    /// As [`count`](Self::count).
    pub fn facet(&self, field: &str) -> Result<Vec<(FieldValue, u64)>> {
        self.view()?.facet(field, None)
    }

    /// As [`facet`](Self::facet), among the items for which a condition holds.
    ///
    /// # Errors
    /// As [`count`](Self::count).
    pub fn facet_among(
        &self,
        field: &str,
        condition: &Condition,
    ) -> Result<Vec<(FieldValue, u64)>> {
        self.view()?.facet(field, Some(condition))
    }

    /// The ids of the items for which a condition holds.
    pub(super) fn matching(&self, condition: &Condition) -> Result<RoaringBitmap> {
        self.view()?
            .matching(condition)?
            .among(|| Ok(self.slots()?.into_iter().map(|(item, _): (ItemId, _)| item).collect()))
    }
}

impl<D> Snapshot<D> {
    /// The ids of the items for which a condition holds.
    ///
    /// # Errors
    /// As [`count`](Self::count).
    pub fn ids_of(&self, condition: &Condition) -> Result<RoaringBitmap> {
        self.matching(condition)
    }
}

impl<D, K: ItemKey + ?Sized> Snapshot<D, K> {
    /// The keys of the items for which a condition holds, in no order.
    ///
    /// # Errors
    /// As [`count`](Self::count).
    pub fn keys_of(&self, condition: &Condition) -> Result<Vec<K::Owned>> {
        let (held, items) = (self.held(), self.matching(condition)?);
        let keys = item_keys::<K>(held.place());
        let key = |item| {
            let key = held.lend(|txn| keys.key_in(txn, item))?;
            <K as sealed::Bytes>::take(&key).ok_or_else(|| mistyped(keys.place.index, item))
        };
        items.into_iter().map(key).collect()
    }
}
