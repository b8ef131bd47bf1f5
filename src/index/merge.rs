//! Copies of the items of one index in another: merging indexes, splitting one, copying a part.
//!
//! A copy adds what a snapshot has, vectors and records; the target may have other kinds, codes or
//! element types. It is one commit, by a load, or within a batch, some items at a time. Whether an
//! item clashes with one of the target is asked in the transaction that adds it.

use std::collections::BTreeSet;

use roaring::RoaringBitmap;

use super::load::Row;
use super::{Batch, Index, Loader, Snapshot};
use crate::distance::Metric;
use crate::error::{Error, Result};
use crate::item_key::{ItemKey, sealed};
use crate::types::ItemId;

/// The number of items that are added at a time, after it has been asked whether they clash.
const CHUNK_ITEMS: usize = 1024;

/// Checks that the items of an index can be those of another one.
pub(super) fn check_source<E, K: ?Sized>(
    source: &Snapshot<E, K>,
    metric: &Metric,
    expected: usize,
) -> Result<()> {
    let place = source.held().place();
    if metric.name() != place.metric.name() {
        return Err(Error::MetricMismatch {
            index: place.index,
            stored: place.metric.name().to_owned(),
            requested: metric.name().to_owned(),
        });
    }
    let found = source.dimensions();
    if expected == found { Ok(()) } else { Err(Error::DimensionMismatch { expected, found }) }
}

/// The items of an index under the ids that `id` gives them, but those that get none.
fn rows_by_id<E>(
    source: &Snapshot<E>,
    mut id: impl FnMut(ItemId) -> Result<Option<ItemId>>,
) -> Result<impl Iterator<Item = Result<Row<f32>>>> {
    let (view, slots) = (source.view()?, source.slots()?);
    let named = slots.into_iter().filter_map(move |(item, slot)| match id(item) {
        Ok(new) => new.map(|new| Ok((new, item, slot))),
        Err(error) => Some(Err(error)),
    });
    Ok(named.map(move |named| {
        let (new, item, slot) = named?;
        Ok((new.to_le_bytes().to_vec(), view.components(slot)?, source.record_of_id(item)?))
    }))
}

/// The same under keys.
fn rows_by_key<E, K: ItemKey + ?Sized>(
    source: &Snapshot<E, K>,
    mut key: impl FnMut(&K::Owned) -> Option<K::Owned>,
) -> Result<impl Iterator<Item = Result<Row<f32>>>> {
    Ok(source.names()?.filter_map(move |entry| {
        let row = entry.and_then(|(old, id)| {
            let Some(new) = key(&old) else { return Ok(None) };
            // An item whose vector is gone is damage, which `iter` reports, too.
            let vector = source.components(id)?.unwrap_or_default();
            Ok(Some((<K as sealed::Bytes>::bytes(&new)?, vector, source.record_of_id(id)?)))
        });
        row.transpose()
    }))
}

/// The id that the name of a row stands for.
fn id_of(name: &[u8]) -> ItemId {
    name.first_chunk().map_or(0, |bytes| ItemId::from_le_bytes(*bytes))
}

/// Adds rows of which the target has none, nor any twice: `has` tells what it has, and `show` names
/// a row in an error.
fn add_new<B>(
    batch: &mut B,
    rows: impl Iterator<Item = Result<Row<f32>>>,
    has: impl Fn(&B, &[u8]) -> Result<bool>,
    show: impl Fn(&[u8]) -> String,
    add: impl Fn(&mut B, Vec<Row<f32>>) -> Result<u64>,
) -> Result<u64> {
    let (mut rows, mut added) = (rows, 0);
    loop {
        let chunk = rows.by_ref().take(CHUNK_ITEMS).collect::<Result<Vec<Row<f32>>>>()?;
        let mut names = BTreeSet::new();
        for (name, ..) in &chunk {
            if !names.insert(name) || has(batch, name)? {
                return Err(Error::ItemExists { item: show(name) });
            }
        }
        if chunk.is_empty() {
            return Ok(added);
        }
        added += add(batch, chunk)?;
    }
}

impl<D> Batch<'_, D> {
    fn add_new(&mut self, rows: impl Iterator<Item = Result<Row<f32>>>) -> Result<u64> {
        let show = |name: &[u8]| id_of(name).to_string();
        add_new(
            self,
            rows,
            |batch, name| batch.contains(id_of(name)),
            show,
            |batch, rows| {
                let rows = rows.into_iter();
                batch.add_given(rows.map(|(name, vector, record)| (id_of(&name), vector, record)))
            },
        )
    }

    /// As [`Loader::copy_from`], in this batch: so several copies, or a copy and what else a
    /// program changes, are one commit.
    ///
    /// ```
    /// use voisin::{Index, Options, distances::Euclidean};
    ///
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("vectors");
    /// let new = Index::<Euclidean>::create(&path, Options::new(1).name("new"))?;
    /// let old = Index::<Euclidean>::create(&path, Options::new(1).name("old"))?;
    /// new.write(|batch| batch.add_items(&[1, 2, 3], &[0.1, 0.2, 0.3]))?;
    /// // Items move from one index to the other in one commit.
    /// let moved = [1, 3];
    /// new.folder().write(|txn| {
    ///     let from = new.snapshot()?;
    ///     let choose = |item: u32| moved.contains(&item).then_some(item);
    ///     txn.index(&old, |batch| batch.copy_from(&from, choose))?;
    ///     txn.index(&new, |batch| batch.delete_items(moved))
    /// })?;
    /// assert_eq!((new.snapshot()?.len(), old.snapshot()?.vector(3)?), (1, Some(vec![0.3])));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Loader::copy_from`], and [`NotTrained`](Error::NotTrained): the items before the one
    /// that it is about have been added, so return it.
    pub fn copy_from<E>(
        &mut self,
        source: &Snapshot<E>,
        mut id: impl FnMut(ItemId) -> Option<ItemId>,
    ) -> Result<u64> {
        check_source(source, self.writes.place().metric, self.writes.dimensions())?;
        self.add_new(rows_by_id(source, |item| Ok(id(item)))?)
    }
}

impl<D, K: ItemKey + ?Sized> Batch<'_, D, K> {
    /// Adds rows of which there are none yet.
    pub(super) fn add_new(&mut self, rows: impl Iterator<Item = Result<Row<f32>>>) -> Result<u64> {
        let show = |name: &[u8]| <K as sealed::Name>::NAMING.show(name);
        add_new(self, rows, Self::has_key, show, |batch, rows| {
            batch.add_rows(rows.into_iter().map(Ok))
        })
    }

    /// As [`Loader::copy_from`], in this batch.
    ///
    /// # Errors
    /// As [`Loader::copy_from`], and [`NotTrained`](Error::NotTrained): the items before the one
    /// that it is about have been added, so return it.
    pub fn copy_from<E>(
        &mut self,
        source: &Snapshot<E, K>,
        key: impl FnMut(&K::Owned) -> Option<K::Owned>,
    ) -> Result<u64> {
        check_source(source, self.writes.place().metric, self.writes.dimensions())?;
        self.add_new(rows_by_key(source, key)?)
    }
}

impl<D> Loader<'_, D> {
    /// Copies items of another index, with their records, in one commit. `id` gives the id that
    /// each item gets, or `None` for one that is left out. Returns how many were copied.
    ///
    /// Both indexes have the same metric and dimensions; element types, codes and kinds may differ,
    /// and vectors are rounded to the element type of this index. It may lie in the same folder as
    /// the other one; but then its map cannot grow while the snapshot is held, so make that large
    /// enough for both ([`Options::map_size_bytes`](crate::Options::map_size_bytes)).
    ///
    /// ```
    /// use voisin::{Error, Index, IndexKind, Options, distances::Euclidean};
    ///
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("vectors");
    /// let index = Index::<Euclidean>::create(&path, Options::new(1).name("all"))?;
    /// index.load((0..100).map(|item| (item, [item as f32])), |_| {})?;
    /// let options = Options::new(1).name("even").kinds([IndexKind::Flat]);
    /// let even = Index::<Euclidean>::create(&path, options)?;
    /// let half = |item: u32| item.is_multiple_of(2).then_some(item / 2);
    /// assert_eq!(even.loader().copy_from(&index.snapshot()?, half)?, 50);
    /// assert_eq!(even.snapshot()?.vector(21)?, Some(vec![42.0]));
    /// let again = even.loader().copy_from(&index.snapshot()?, half);
    /// assert!(matches!(again, Err(Error::ItemExists { item, .. }) if item == "0"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`MetricMismatch`](Error::MetricMismatch), [`DimensionMismatch`](Error::DimensionMismatch),
    /// [`ItemExists`](Error::ItemExists) if this index has an item with one of the ids, or two get
    /// the same one, [`MapBusy`](Error::MapBusy) where the map would have to grow under the
    /// snapshot, those of reading it, and those of [`load`](Self::load): nothing has changed,
    /// unless the load has [several commits](Self::commit_every).
    pub fn copy_from<E>(
        &self,
        source: &Snapshot<E>,
        mut id: impl FnMut(ItemId) -> Option<ItemId>,
    ) -> Result<u64> {
        self.copy_by(source, |item| Ok(id(item)))
    }

    /// As [`copy_from`](Self::copy_from), with ids that may be wrong.
    fn copy_by<E>(
        &self,
        source: &Snapshot<E>,
        id: impl FnMut(ItemId) -> Result<Option<ItemId>>,
    ) -> Result<u64> {
        check_source(source, self.index.metric(), self.index.dimensions())?;
        self.load_rows(rows_by_id(source, id)?, |batch, rows| batch.add_new(rows.map(Ok)))
    }
}

impl<D, K: ItemKey + ?Sized> Loader<'_, D, K> {
    /// Copies items of another index, with their records, in one commit. `key` gives the key that
    /// each item gets, or `None` for one that is left out. Returns how many were copied. Otherwise
    /// as for items with ids.
    ///
    /// ```
    /// use voisin::{Index, Options, distances::Cosine};
    ///
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("vectors");
    /// let notes = Index::<Cosine, str>::create(&path, Options::new(2).name("notes"))?;
    /// notes.write(|batch| batch.add_items(&["a", "b"], &[1.0, 0.0, 0.0, 1.0]))?;
    /// let all = Index::<Cosine, str>::create(&path, Options::new(2).name("all"))?;
    /// let key = |key: &String| Some(format!("note {key}"));
    /// assert_eq!(all.loader().copy_from(&notes.snapshot()?, key)?, 2);
    /// assert!(all.snapshot()?.contains("note b")?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`MetricMismatch`](Error::MetricMismatch), [`DimensionMismatch`](Error::DimensionMismatch),
    /// [`ItemExists`](Error::ItemExists) if this index has an item with one of the keys, or two get
    /// the same one, [`InvalidItemKey`](Error::InvalidItemKey), those of reading the snapshot, and
    /// those of [`load`](Self::load): nothing has changed, unless the load has
    /// [several commits](Self::commit_every).
    pub fn copy_from<E>(
        &self,
        source: &Snapshot<E, K>,
        key: impl FnMut(&K::Owned) -> Option<K::Owned>,
    ) -> Result<u64> {
        check_source(source, self.index.metric(), self.index.dimensions())?;
        self.load_rows(rows_by_key(source, key)?, |batch, rows| batch.add_new(rows.map(Ok)))
    }
}

impl<D> Index<D> {
    /// Adds all items of another index, with their records, under the same ids. Returns how many
    /// there were. [`Loader::copy_from`] does the same with more options, and other ids.
    ///
    /// ```
    /// use voisin::{Error, Index, Options, distances::Euclidean};
    ///
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("vectors");
    /// let part = |name: &str, first: u32| {
    ///     let index = Index::<Euclidean>::create(&path, Options::new(1).name(name))?;
    ///     index.load((first..first + 100).map(|item| (item, [item as f32])), |_| {})?;
    ///     Ok::<_, Error>(index)
    /// };
    /// let (a, b, c) = (part("a", 0)?, part("b", 100)?, part("c", 150)?);
    /// assert_eq!(a.merge(&b.snapshot()?)?, 100);
    /// let Err(Error::ItemExists { item }) = a.merge(&c.snapshot()?) else { panic!() };
    /// assert_eq!((item.as_str(), a.snapshot()?.len()), ("150", 200));
    /// assert_eq!(a.merge_at(&c.snapshot()?, 1000)?, 100);
    /// assert_eq!(a.snapshot()?.vector(1150)?, Some(vec![150.0]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Loader::copy_from`]: nothing has changed.
    pub fn merge<E>(&self, source: &Snapshot<E>) -> Result<u64> {
        self.loader().copy_from(source, Some)
    }

    /// As [`merge`](Self::merge), under ids that are larger by `offset`.
    ///
    /// # Errors
    /// As [`merge`](Self::merge), and [`InvalidParameter`](Error::InvalidParameter) if an id would
    /// be larger than the largest there is: nothing has changed.
    pub fn merge_at<E>(&self, source: &Snapshot<E>, offset: ItemId) -> Result<u64> {
        self.loader().copy_by(source, |item| match item.checked_add(offset) {
            Some(id) => Ok(Some(id)),
            None => Err(Error::InvalidParameter {
                name: "the offset of ids",
                value: offset.into(),
                remedy: "ids are below 4 294 967 296: use a smaller one",
            }),
        })
    }

    /// Adds those of some items of another index that it has, with their records, under the same
    /// ids. Returns how many there were.
    ///
    /// ```
    /// use voisin::{Index, Options, distances::Euclidean, roaring::RoaringBitmap};
    ///
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("vectors");
    /// let all = Index::<Euclidean>::create(&path, Options::new(1).name("all"))?;
    /// all.load((0..100).map(|item| (item, [item as f32])), |_| {})?;
    /// let some = Index::<Euclidean>::create(&path, Options::new(1).name("some"))?;
    /// let chosen = RoaringBitmap::from_iter(40..60);
    /// assert_eq!(some.copy_subset(&all.snapshot()?, &chosen)?, 20);
    /// assert_eq!(some.snapshot()?.ids()?, chosen);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`merge`](Self::merge).
    pub fn copy_subset<E>(&self, source: &Snapshot<E>, items: &RoaringBitmap) -> Result<u64> {
        self.loader().copy_from(source, |item| items.contains(item).then_some(item))
    }
}

impl<D> Snapshot<D> {
    /// Copies each item into one of several indexes of one folder, with its record, in one commit:
    /// into that whose place `choose` returns, or into none if there is no such place. Returns how
    /// many items each got. `choose` is asked once for each item and target, and again where the
    /// write is retried.
    ///
    /// ```
    /// use voisin::{Index, Options, distances::Euclidean};
    ///
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("vectors");
    /// let all = Index::<Euclidean>::create(&path, Options::new(1).name("all"))?;
    /// all.load((0..100).map(|item| (item, [item as f32])), |_| {})?;
    /// let shard = |nth| Index::<Euclidean>::create(&path, Options::new(1).name(format!("{nth}")));
    /// let shards = (0..3).map(shard).collect::<voisin::Result<Vec<_>>>()?;
    /// let counts = all.snapshot()?.split_into(&shards, |item| item as usize % 3)?;
    /// assert_eq!(counts, [34, 33, 33]);
    /// assert_eq!(shards[1].search(1).by_vector(&[50.2])?.into_nns()[0].0, 49);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Batch::copy_from`], and [`OtherFolder`](Error::OtherFolder) if the targets are not in
    /// one folder: nothing has changed.
    pub fn split_into<E>(
        &self,
        targets: &[Index<E>],
        choose: impl Fn(ItemId) -> usize,
    ) -> Result<Vec<u64>> {
        split(targets, |batch, nth| {
            batch.copy_from(self, |item| (choose(item) == nth).then_some(item))
        })
    }
}

impl<D, K: ItemKey + ?Sized> Snapshot<D, K> {
    /// Copies each item into one of several indexes of one folder, under the same key: as for items
    /// with ids.
    ///
    /// ```
    /// use voisin::{Index, Options, distances::Cosine};
    ///
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("vectors");
    /// let create = |name: &str| Index::<Cosine, str>::create(&path, Options::new(2).name(name));
    /// let all = create("all")?;
    /// all.write(|batch| batch.add_items(&["en/a", "de/a", "en/b"], &[0.1; 6]))?;
    /// let parts = [create("de")?, create("en")?];
    /// let counts = all.snapshot()?.split_into(&parts, |key| key.starts_with("en/").into())?;
    /// assert_eq!(counts, [1, 2]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Batch::copy_from`], and [`OtherFolder`](Error::OtherFolder) if the targets are not in
    /// one folder: nothing has changed.
    pub fn split_into<E>(
        &self,
        targets: &[Index<E, K>],
        choose: impl Fn(&K::Owned) -> usize,
    ) -> Result<Vec<u64>> {
        split(targets, |batch, nth| {
            batch.copy_from(self, |key| (choose(key) == nth).then(|| key.clone()))
        })
    }
}

/// Copies into each target, all in one commit.
fn split<E, K: ?Sized>(
    targets: &[Index<E, K>],
    copy: impl Fn(&mut Batch<'_, E, K>, usize) -> Result<u64>,
) -> Result<Vec<u64>> {
    let Some(first) = targets.first() else { return Ok(Vec::new()) };
    first.folder().write(|txn| {
        let targets = targets.iter().enumerate();
        targets.map(|(nth, target)| txn.index(target, |batch| copy(batch, nth))).collect()
    })
}
