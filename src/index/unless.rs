//! Changes that depend on what is near: add an item unless there is one within a radius, or replace
//! the nearest one. A batch is one write transaction, so nothing is added between the look and the
//! change, by any process.

use super::Batch;
use crate::codec::{Component, Components};
use crate::error::{Error, Result};
use crate::format::item_keys::Naming;
use crate::item_key::{AsKey, ItemKey, ItemName, bytes_of, sealed};
use crate::query::Query;
use crate::query::pinned::named;
use crate::search::by_vector;
use crate::types::ItemId;

/// A change that depends on what is within a radius of a vector: see [`Batch::unless_within`].
#[derive(Debug)]
pub struct UnlessWithin<'b, 'w, D, K: ?Sized = ItemId> {
    batch: &'b mut Batch<'w, D, K>,
    radius: f32,
    is_approximate: bool,
}

impl<'w, D, K: ItemName + sealed::Bytes + ?Sized> Batch<'w, D, K> {
    /// Starts changes that depend on what is within `radius` of their vectors, in the unit of the
    /// distances that answers have: [`add`](UnlessWithin::add) adds an item unless there is one,
    /// such as a near-duplicate, and [`add_or_replace`](UnlessWithin::add_or_replace) replaces the
    /// nearest. What the batch has added and deleted counts. Writes of other threads and processes
    /// wait, so what is found is there until the commit.
    ///
    /// ```
    /// use voisin::{Index, Options, distances::Euclidean};
    ///
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(1))?;
    /// index.write(|batch| {
    ///     let mut unless = batch.unless_within(0.25); // squared
    ///     assert_eq!(unless.add(1, &[1.0])?, None);
    ///     // Nearer than one half to item 1, which remains alone.
    ///     assert_eq!(unless.add(2, &[1.5])?, Some((1, 0.25)));
    ///     assert_eq!(unless.add(3, &[2.0])?, None);
    ///     assert_eq!(unless.add_or_replace(4, &[2.25])?, Some((3, 0.0625)));
    ///     assert_eq!(batch.vector(3)?, Some(vec![2.25]));
    ///     assert_eq!(batch.len()?, 2);
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn unless_within(&mut self, radius: f32) -> UnlessWithin<'_, 'w, D, K> {
        UnlessWithin { batch: self, radius, is_approximate: false }
    }
}

impl<D, K: ItemName + sealed::Bytes + ?Sized> UnlessWithin<'_, '_, D, K> {
    /// Searches the graph instead of comparing all vectors: much faster in a large index, and
    /// rarely something that is within the radius is not found. What the batch has added is
    /// compared one by one, anyway.
    #[must_use]
    pub fn approximate(mut self) -> Self {
        self.is_approximate = true;
        self
    }

    /// The nearest item within the radius.
    fn nearest(&self, vector: Components<'_>) -> Result<Option<(K::Owned, f32)>> {
        let mut search = Query::new(&*self.batch, 1);
        search.within(self.radius);
        if !self.is_approximate {
            search.exact();
        }
        search.ask(|view, request, names| {
            let index = view.snapshot.index;
            let found = by_vector(&view, request, vector)?;
            Ok(named::<K>(index, names, found)?.nns.pop())
        })
    }
}

impl<D> UnlessWithin<'_, '_, D> {
    /// Adds an item, or replaces its vector, unless there is an item within the radius, which is
    /// returned with its distance: the nearest. The item itself counts, if it is there.
    ///
    /// # Errors
    /// As [`Batch::add`], and [`InvalidParameter`](Error::InvalidParameter) for a radius that
    /// cannot be: nothing has changed.
    pub fn add(
        &mut self,
        item: ItemId,
        vector: &[impl Component],
    ) -> Result<Option<(ItemId, f32)>> {
        let found = self.nearest(Components::of(vector)).map_err(|error| of_item(item, error))?;
        if found.is_none() {
            self.batch.add(item, vector)?;
        }
        Ok(found)
    }

    /// Replaces the vector of the nearest item within the radius, and returns the item and how far
    /// it was; adds `item` if there is none.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn add_or_replace(
        &mut self,
        item: ItemId,
        vector: &[impl Component],
    ) -> Result<Option<(ItemId, f32)>> {
        let found = self.nearest(Components::of(vector)).map_err(|error| of_item(item, error))?;
        self.batch.add(found.map_or(item, |(nearest, _)| nearest), vector)?;
        Ok(found)
    }
}

/// An error about a query, as one about the item that it was to become.
fn of_item(item: ItemId, error: Error) -> Error {
    match error {
        Error::InvalidQuery { defect } => Error::InvalidItem { item, defect },
        error => error,
    }
}

impl<D, K: ItemKey + ?Sized> UnlessWithin<'_, '_, D, K> {
    /// The nearest item within the radius of what is to become the vector of a key.
    fn nearest_to(&self, key: &[u8], vector: &[impl Component]) -> Result<Option<(K::Owned, f32)>> {
        self.nearest(Components::of(vector)).map_err(|error| of_key::<K>(key, error))
    }

    /// Adds an item, or replaces its vector, unless there is an item within the radius, which is
    /// returned with its distance: the nearest. The item itself counts, if it is there.
    ///
    /// # Errors
    /// As [`Batch::add`], and [`InvalidParameter`](Error::InvalidParameter) for a radius that
    /// cannot be: nothing has changed.
    pub fn add(
        &mut self,
        key: impl AsKey<K>,
        vector: &[impl Component],
    ) -> Result<Option<(K::Owned, f32)>> {
        let key = bytes_of(&key)?;
        let found = self.nearest_to(&key, vector)?;
        if found.is_none() {
            self.batch.add_named(&key, vector, None)?;
        }
        Ok(found)
    }

    /// Replaces the vector of the nearest item within the radius, and returns the item and how far
    /// it was; adds an item of this key if there is none.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn add_or_replace(
        &mut self,
        key: impl AsKey<K>,
        vector: &[impl Component],
    ) -> Result<Option<(K::Owned, f32)>> {
        let key = bytes_of(&key)?;
        let found = self.nearest_to(&key, vector)?;
        match &found {
            Some((nearest, _)) => self.batch.add_named(&K::bytes(nearest)?, vector, None)?,
            None => self.batch.add_named(&key, vector, None)?,
        }
        Ok(found)
    }
}

/// As [`of_item`], where items have keys.
fn of_key<K: sealed::Name + ?Sized>(key: &[u8], error: Error) -> Error {
    let naming: Naming = K::NAMING;
    match error {
        Error::InvalidQuery { defect } => Error::InvalidKeyedItem { key: naming.show(key), defect },
        error => error,
    }
}
