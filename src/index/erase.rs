//! Erasure: deletes items and what they leave, in one commit.

use super::shared::Hooks;
use super::writes::Writes;
use super::{Batch, Index};
use crate::build::Goal;
use crate::error::{Error, Result};
use crate::field::Condition;
use crate::item_key::{AsKey, ItemKey, bytes_of};
use crate::store::open::read_meta;
use crate::types::ItemId;

impl<D> Index<D> {
    /// Deletes items, and erases what they leave: their vectors and codes in blocks, and centers
    /// that are, but for rounding, one of their vectors. Ends with nothing of them in the newest
    /// commit: not in the graph, in records, fields or keys. Also erases what earlier deletes and
    /// replacements have left. Returns how many items existed.
    ///
    /// The file still has old pages until LMDB uses them again. [`copy_to`](Self::copy_to) makes a
    /// file that has no 16 bytes in a row of the vector, codes, record, values or key of an erased
    /// item. `docs/erasure.md` says what else may have them.
    ///
    /// ```
    /// # use voisin::{Index, Options, distances::Cosine};
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("vectors");
    /// let index = Index::<Cosine>::create(&path, Options::new(64))?;
    /// let row = |item: u32| (0..64).map(|at| (item * 64 + at) as f32).collect::<Vec<_>>();
    /// index.write(|batch| batch.add_items_from((1..1000).map(|item| (item, row(item)))))?;
    /// assert_eq!(index.erase([7, 8])?, 2);
    /// let clean = folder.path().join("clean");
    /// index.copy_to(&clean)?;
    ///
    /// let file = std::fs::read(clean.join("data.mdb")).unwrap();
    /// let bytes = |item| row(item).iter().flat_map(|it| it.to_le_bytes()).collect::<Vec<_>>();
    /// let has = |item| file.windows(16).any(|run| bytes(item).windows(16).any(|of| of == run));
    /// assert!(!has(7) && has(9));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// It deletes all tombstones from the graph and reads all blocks with free slots: O(them).
    /// Codes, hashes and lists whose center has shown an item are made anew: O(items), in rare
    /// cases.
    ///
    /// # Errors
    /// [`UnknownMetric`](Error::UnknownMetric), and those of [`write`](Self::write) and
    /// [`Batch::delete`]: nothing has changed.
    pub fn erase(&self, items: impl IntoIterator<Item = ItemId>) -> Result<u64> {
        let items: Vec<ItemId> = items.into_iter().collect();
        erase(
            self,
            |batch| items.iter().filter_map(|item| batch.vector(*item).transpose()).collect(),
            |batch| batch.delete_items(items.iter().copied()),
        )
    }

    /// Erases all items for which a condition holds: see [`erase`](Self::erase). Returns how many
    /// there were.
    ///
    /// # Errors
    /// As [`erase`](Self::erase) and [`Batch::delete_matching`].
    pub fn erase_matching(&self, condition: &Condition) -> Result<u64> {
        erase(self, |batch| matching(batch, condition), |batch| batch.delete_matching(condition))
    }
}

impl<D, K: ItemKey + ?Sized> Index<D, K> {
    /// Deletes items, and erases what they leave, by key: their keys, too. Otherwise as
    /// [`erase`](Index::erase) by ids.
    ///
    /// # Errors
    /// [`UnknownMetric`](Error::UnknownMetric), [`InvalidItemKey`](Error::InvalidItemKey), and
    /// those of [`write`](Self::write): nothing has changed.
    pub fn erase<Q: AsKey<K>>(&self, keys: impl IntoIterator<Item = Q>) -> Result<u64> {
        let keys: Vec<Q> = keys.into_iter().collect();
        let named = keys.iter().map(bytes_of).collect::<Result<Vec<_>>>()?;
        erase(
            self,
            |batch| {
                let vectors = keys.iter().map(|key| batch.vector_of(key.as_key()));
                vectors.filter_map(Result::transpose).collect()
            },
            |batch| batch.delete_named(&named),
        )
    }

    /// Erases all items for which a condition holds. Returns how many there were.
    ///
    /// ```
    /// # use voisin::{Field, Index, Options, distances::Euclidean, field};
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("notes");
    /// let options = Options::new(1).fields([Field::keyword("user")]);
    /// let notes = Index::<Euclidean, str>::create(&path, options)?;
    /// notes.write(|batch| {
    ///     batch.add_with_record("a", &[1.0], br#"{"user": "ann"}"#)?;
    ///     batch.add_with_record("b", &[2.0], br#"{"user": "bob"}"#)
    /// })?;
    /// assert_eq!(notes.erase_matching(&field("user").eq("ann"))?, 1);
    /// assert!(!notes.snapshot()?.contains("a")?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`erase`](Index::erase) and [`Batch::delete_matching`].
    pub fn erase_matching(&self, condition: &Condition) -> Result<u64> {
        erase(self, |batch| matching(batch, condition), |batch| batch.delete_matching(condition))
    }
}

/// The vectors of the items for which a condition holds.
fn matching<D, K: ?Sized>(batch: &Batch<'_, D, K>, condition: &Condition) -> Result<Vec<Vec<f32>>> {
    let (reader, items) = (batch.writes.reader()?, batch.matching(condition)?.into_iter());
    let vectors = items.map(|item| reader.sound_vector(batch.writes.txn(), item));
    vectors.filter_map(Result::transpose).collect()
}

/// Deletes items and erases what they leave: `vectors` are theirs, and `delete` deletes them.
pub(super) fn erase<D, K: ?Sized>(
    index: &Index<D, K>,
    vectors: impl Fn(&Batch<'_, D, K>) -> Result<Vec<Vec<f32>>>,
    delete: impl Fn(&mut Batch<'_, D, K>) -> Result<u64>,
) -> Result<u64> {
    let shared = &index.shared;
    shared.writable()?;
    Error::unless_known(shared.place.metric, shared.place.index)?;
    shared.env.write::<u64, Error>(|txn| {
        let mut batch = Batch::new(Writes::new(txn, shared)?);
        let gone = vectors(&batch)?;
        let deleted = delete(&mut batch);
        let linked = Some(Goal::Linked);
        let (deleted, mut txn) = batch.writes.finish(deleted, linked, Hooks::NONE)?;
        // A build within a budget leaves tombstones to the next.
        while read_meta(shared.place, &txn)?.is_some_and(|meta| meta.removed > 0) {
            let writes = Writes::new(txn, shared)?;
            txn = writes.finish(Ok(()), linked, Hooks::NONE)?.1;
        }
        let mut writes = Writes::new(txn, shared)?;
        let scrubbed = writes.change_whole(|writer, txn| writer.scrub_of(txn, &gone));
        writes.finish(scrubbed.map(|_| deleted), Some(Goal::Kept), Hooks::NONE)
    })
}
