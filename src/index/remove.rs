//! Removes an index that has no items, and the folder that was created for it.

use super::{Index, catalog};
use crate::error::{Error, Result};
use crate::store::open::read_meta;

impl<D, K: ?Sized> Index<D, K> {
    /// Removes the index from its folder, as [`remove_index`](crate::remove_index) does, unless it
    /// has items, of whichever process: for what has created it for items that could not be added.
    /// Returns whether it was removed. A folder that this process has created for it, and in which
    /// there is nothing else, is removed with its last handle, unless another process has come to
    /// use it.
    ///
    /// ```
    /// use voisin::{Index, Options, distances::Euclidean};
    ///
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("vectors");
    /// let index = Index::<Euclidean>::create(&path, Options::new(1))?;
    /// index.write(|batch| batch.add(1, &[0.5]))?;
    /// assert!(!index.remove_if_empty()?);
    /// index.write(|batch| batch.delete(1))?;
    /// assert!(index.remove_if_empty()?);
    /// drop(index);
    /// assert!(!path.exists());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`remove_index`](crate::remove_index), and [`Removed`](Error::Removed).
    pub fn remove_if_empty(&self) -> Result<bool> {
        let shared = &self.shared;
        shared.writable()?;
        let (is_removed, emptied) = shared.env.write::<_, Error>(|mut txn| {
            shared.check_exists(&txn)?;
            if read_meta(shared.place, &txn)?.is_some_and(|meta| meta.items > 0) {
                return Ok(((false, None), txn));
            }
            catalog::remove(&shared.env, &mut txn, self.name(), shared.entry.number)?;
            let is_empty =
                catalog::names(&shared.env, &txn)?.is_empty() && shared.env.is_without_tables();
            Ok(((true, is_empty.then(|| txn.id())), txn))
        })?;
        emptied.iter().for_each(|commit| shared.env.discard(*commit));
        Ok(is_removed)
    }
}
