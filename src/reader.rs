//! Reading and searching an index as of the start of a transaction.
//!
//! A [`Reader`] belongs to one snapshot and borrows the transaction that it was opened with;
//! opening it costs O(1 + pending + removed). It caches pointers to the values it has read, so one
//! reader for many queries is faster than many readers. It holds no transaction, so threads can
//! share it, each searching through a transaction of its own on the same snapshot. A [`WarmReader`]
//! has resolved all pointers and needs no transaction.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use heed::{Env, RoTxn};
use roaring::RoaringBitmap;

use crate::codes::Codes;
use crate::database::Database;
use crate::distance::Distance;
use crate::error::{Error, Result};
use crate::field::{Condition, Field, FieldValue};
use crate::format::Key;
use crate::format::item_keys::Naming;
use crate::item_key::{ItemKey, sealed};
use crate::store::Place;
use crate::store::file::Environment;
use crate::store::open::naming_of;
use crate::store::sections::count::count;
use crate::store::sections::fields::schema;
use crate::store::sections::ids::items::items;
use crate::store::sections::list::{SECTIONS, index_kinds};
use crate::store::sections::records::view::records_in;
use crate::store::snapshot::Snapshot;
use crate::store::source::{Calling, Verified, Warm};
use crate::store::stats::Stats;
use crate::store::table::Memory;
use crate::store::view::View;
use crate::types::{IndexKind, ItemId};

/// An index at one snapshot, borrowed from a transaction: see the example of [the crate](crate).
///
/// It holds no transaction: threads can share it, each searching through a transaction of its own
/// on the same snapshot. One reader for many queries is faster than many readers, because it caches
/// where every value is.
///
/// ```
/// # use voisin::rand::SeedableRng;
/// use voisin::heed::EnvOpenOptions;
/// use voisin::{Database, Reader, Writer, create_database, distances::Euclidean};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let env = unsafe { EnvOpenOptions::new().map_size(1 << 30).open(folder.path())? };
/// # let db: Database<Euclidean> = create_database(&env, None)?;
/// # let writer = Writer::new(db, 0, 2);
/// # let mut wtxn = env.write_txn()?;
/// # writer.add_items(&mut wtxn, &[1, 2, 3], &[0.0, 0.0, 3.0, 0.0, 0.0, 4.0])?;
/// # writer.builder(&mut rand::rngs::StdRng::seed_from_u64(42)).build::<16, 32>(&mut wtxn)?;
/// # wtxn.commit()?;
/// let rtxn = env.read_txn()?;
/// let reader = Reader::open(&rtxn, 0, db)?;
/// assert_eq!((reader.n_items(), reader.dimensions()), (3, 2));
/// assert_eq!(reader.nns(1).by_vector(&rtxn, &[2.5, 0.0])?.into_nns(), [(2, 0.25)]);
/// let (item, vector) = reader.iter(&rtxn)?.last().unwrap()?;
/// assert_eq!((item, vector), (3, vec![0.0, 4.0]));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Reader<'t, D> {
    snapshot: Snapshot<'t>,
    place: Place<'t>,
    metric: PhantomData<fn() -> D>,
}

impl<'t, D: Distance> Reader<'t, D> {
    /// Opens index `index` as `rtxn` sees it; a write transaction sees its own changes. O(1) in the
    /// number of items, O(pending + removed).
    ///
    /// # Errors
    /// [`MissingIndex`](crate::Error::MissingIndex),
    /// [`MetricMismatch`](crate::Error::MetricMismatch), [`Foreign`](crate::Error::Foreign),
    /// [`FormatVersion`](crate::Error::FormatVersion), [`Corrupt`](crate::Error::Corrupt).
    pub fn open(rtxn: &'t RoTxn<'_>, index: u16, database: Database<'t, D>) -> Result<Self> {
        Self::at(rtxn, Place::of(database, index))
    }
}

impl<'t, D> Reader<'t, D> {
    /// A reader of an index with any metric.
    pub(crate) fn at(rtxn: &'t RoTxn<'_>, place: Place<'t>) -> Result<Self> {
        let snapshot = Snapshot::open(place, rtxn, Memory::Full)?;
        Ok(Self { snapshot, place, metric: PhantomData })
    }

    pub(crate) fn view<'a>(&'a self, rtxn: &'a RoTxn<'_>) -> Result<View<'a, 't, Calling<'a, 't>>> {
        Ok(View::new(&self.snapshot, Calling::new(self.place, rtxn, self.snapshot.id)?))
    }

    /// This reader with a transaction, for queries of every kind: pages, counts, several vectors.
    /// `rtxn` must be on the reader's snapshot, as for [`nns`](Self::nns).
    ///
    /// ```
    /// # use voisin::heed::EnvOpenOptions;
    /// use voisin::{Reader, Writer, create_database, distances::Euclidean};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let env = unsafe { EnvOpenOptions::new().map_size(1 << 30).open(folder.path())? };
    /// # let db: voisin::Database<Euclidean> = create_database(&env, None)?;
    /// # let mut wtxn = env.write_txn()?;
    /// Writer::new(db, 0, 2).add_items(&mut wtxn, &[1, 2], &[0.0, 0.0, 3.0, 0.0])?;
    /// # wtxn.commit()?;
    /// let rtxn = env.read_txn()?;
    /// let reader = Reader::open(&rtxn, 0, db)?;
    /// assert_eq!(reader.on(&rtxn).nns(0).count_within(&[2.0, 0.0], 1.0)?.items, 1);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn on<'a>(&'a self, rtxn: &'a RoTxn<'a>) -> ReaderOn<'a, 't, D> {
        ReaderOn { reader: self, rtxn, names: PhantomData }
    }

    /// As [`on`](Self::on), for an index whose items are named by keys: see
    /// [`Writer::keyed`](crate::Writer::keyed). Results, candidates and predicates are by key. The
    /// first query with a predicate looks all keys up, as any thread may ask it; what the reader
    /// has looked up once, it keeps, at 8 bytes for each item.
    ///
    /// # Errors
    /// [`NamingMismatch`](crate::Error::NamingMismatch) if the items have other names,
    /// [`SnapshotMismatch`](crate::Error::SnapshotMismatch).
    pub fn keyed<'a, K: ItemKey + ?Sized>(
        &'a self,
        rtxn: &'a RoTxn<'a>,
    ) -> Result<ReaderOn<'a, 't, D, K>> {
        // Checks the transaction.
        self.view(rtxn)?;
        let requested = <K as sealed::Name>::NAMING;
        let stored =
            naming_of(Place { naming: requested, ..self.place }, rtxn, &self.snapshot.meta)?;
        if stored != requested {
            let [stored, requested] = [stored, requested].map(Naming::describe);
            return Err(Error::naming_mismatch(self.place.index, stored, requested));
        }
        Ok(ReaderOn { reader: self, rtxn, names: PhantomData })
    }

    pub(crate) fn commit(&self) -> u64 {
        self.snapshot.id as u64
    }

    /// The number of components of every vector.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.snapshot.meta.dimensions as usize
    }

    /// The number of live items, including pending ones, which no build has linked yet.
    #[must_use]
    pub fn n_items(&self) -> u64 {
        self.snapshot.meta.items.into()
    }

    /// The number of pending items, which no build has linked yet: every search scans them one by
    /// one.
    #[must_use]
    pub fn n_pending(&self) -> u64 {
        self.snapshot.meta.pending.into()
    }

    /// The quantized codes that searches use. `None` if there are none, or if they were chosen and
    /// no build has made them yet.
    #[must_use]
    pub fn codes(&self) -> Option<Codes> {
        Codes::of_bits(self.snapshot.meta.code_bits).filter(|_| self.snapshot.meta.is_coded)
    }

    /// The kinds of the index, ascending.
    #[must_use]
    pub fn kinds(&self) -> Vec<IndexKind> {
        index_kinds(&self.snapshot.meta)
    }

    /// The element type (form) of stored vectors: `"f32"`, `"f16"`, `"bf16"`, `"i8"`, `"bits"` or
    /// `"signs"`. See [`codec`](crate::codec).
    #[must_use]
    pub fn form(&self) -> &'static str {
        self.snapshot.metric.codec_name
    }

    /// The number of saturated components: those of all vectors ever added, including ones replaced
    /// or deleted since, that were outside the range that an index of [`I8`](crate::codec::I8) is
    /// trained for, and were stored as the nearer end of it. 0 for other element types, which
    /// refuse values that they cannot hold.
    #[must_use]
    pub fn saturated(&self) -> u64 {
        self.snapshot.meta.saturated
    }

    /// Whether the index has no items.
    ///
    /// # Errors
    /// None; it returns a `Result` like the other methods that take a transaction.
    pub fn is_empty(&self, _rtxn: &RoTxn<'_>) -> Result<bool> {
        Ok(self.snapshot.meta.items == 0)
    }

    /// The number of the index.
    #[must_use]
    pub fn index(&self) -> u16 {
        self.snapshot.index
    }

    /// The ids of all items. O(items).
    ///
    /// # Errors
    /// [`SnapshotMismatch`](crate::Error::SnapshotMismatch), [`Corrupt`](crate::Error::Corrupt).
    pub fn item_ids(&self, rtxn: &RoTxn<'_>) -> Result<RoaringBitmap> {
        let view = self.view(rtxn)?;
        let mut ids = RoaringBitmap::new();
        for entry in items(self.place, rtxn)? {
            ids.insert(entry?.0);
        }
        debug_assert_eq!(ids.len(), u64::from(view.snapshot.meta.items));
        Ok(ids)
    }

    /// The vector of an item as stored: the vector that was added, bit for bit, or rounded to [the
    /// element type of the index](crate::codec). `None` if there is no such item.
    ///
    /// # Errors
    /// [`SnapshotMismatch`](crate::Error::SnapshotMismatch), [`Corrupt`](crate::Error::Corrupt).
    pub fn item_vector(&self, rtxn: &RoTxn<'_>, item: ItemId) -> Result<Option<Vec<f32>>> {
        let view = self.view(rtxn)?;
        view.slot(item)?.map(|slot| view.components(slot)).transpose()
    }

    /// As [`item_vector`](Self::item_vector), with checksums verified: the vector may be changed
    /// and added again. For a reader that has read nothing yet.
    pub(crate) fn sound_vector(&self, rtxn: &RoTxn<'_>, item: ItemId) -> Result<Option<Vec<f32>>> {
        let source = Calling::new(self.place, rtxn, self.snapshot.id)?;
        let view = View::new(&self.snapshot, Verified::new(source, self.snapshot.memory));
        view.slot(item)?.map(|slot| view.components(slot)).transpose()
    }

    /// The record of an item. `None` if it has none, or if there is no such item.
    ///
    /// # Errors
    /// [`SnapshotMismatch`](crate::Error::SnapshotMismatch), [`Corrupt`](crate::Error::Corrupt).
    pub fn item_record<'a>(
        &'a self,
        rtxn: &'a RoTxn<'_>,
        item: ItemId,
    ) -> Result<Option<&'a [u8]>> {
        self.view(rtxn)?.record_of(item)
    }

    /// The items that have a record, and their records, ordered by id.
    ///
    /// # Errors
    /// As [`item_record`](Self::item_record); the iterator's items the same.
    pub fn records<'a>(
        &'a self,
        rtxn: &'a RoTxn<'_>,
    ) -> Result<impl Iterator<Item = Result<(ItemId, &'a [u8])>> + 'a> {
        // Checks the transaction.
        self.view(rtxn)?;
        records_in(self.place, rtxn, 0)
    }

    /// The fields that items can be filtered by: see
    /// [`Writer::add_field`](crate::Writer::add_field).
    ///
    /// # Errors
    /// [`Corrupt`](crate::Error::Corrupt).
    pub fn fields(&self) -> Result<Vec<Field>> {
        let schema = schema(self.snapshot.index, &self.snapshot.meta)?;
        Ok(schema.0.into_iter().map(|stored| stored.field).collect())
    }

    /// The number of items for which a condition holds.
    ///
    /// # Errors
    /// [`UnknownField`](crate::Error::UnknownField),
    /// [`FieldMismatch`](crate::Error::FieldMismatch),
    /// [`SnapshotMismatch`](crate::Error::SnapshotMismatch), [`Corrupt`](crate::Error::Corrupt).
    pub fn count(&self, rtxn: &RoTxn<'_>, condition: &Condition) -> Result<u64> {
        self.view(rtxn)?.count_matching(condition)
    }

    /// The ids of the items for which a condition holds.
    ///
    /// # Errors
    /// As [`count`](Self::count).
    pub fn ids_of(&self, rtxn: &RoTxn<'_>, condition: &Condition) -> Result<RoaringBitmap> {
        self.view(rtxn)?.matching(condition)?.among(|| self.item_ids(rtxn))
    }

    /// The values of a field, each with the number of items that have it, the most frequent first:
    /// of all items, or of those for which a condition holds.
    ///
    /// # Errors
    /// As [`count`](Self::count).
    pub fn facet(
        &self,
        rtxn: &RoTxn<'_>,
        field: &str,
        among: Option<&Condition>,
    ) -> Result<Vec<(FieldValue, u64)>> {
        self.view(rtxn)?.facet(field, among)
    }

    /// Whether there is such an item.
    ///
    /// # Errors
    /// [`SnapshotMismatch`](crate::Error::SnapshotMismatch), [`Corrupt`](crate::Error::Corrupt).
    pub fn contains_item(&self, rtxn: &RoTxn<'_>, item: ItemId) -> Result<bool> {
        Ok(self.view(rtxn)?.slot(item)?.is_some())
    }

    /// All items and their vectors, ordered by id.
    ///
    /// # Errors
    /// [`SnapshotMismatch`](crate::Error::SnapshotMismatch), [`Corrupt`](crate::Error::Corrupt);
    /// the iterator's items the same.
    pub fn iter<'a>(
        &'a self,
        rtxn: &'a RoTxn<'_>,
    ) -> Result<impl Iterator<Item = Result<(ItemId, Vec<f32>)>> + 'a> {
        let view = self.view(rtxn)?;
        Ok(items(self.place, rtxn)?.map(move |entry| {
            let (item, slot) = entry?;
            Ok((item, view.components(slot)?))
        }))
    }

    /// Gathers the statistics of the index and the free space of its file; `env` is the environment
    /// of the transaction. O(values + edges), about 16 bytes of memory an item.
    ///
    /// # Errors
    /// [`SnapshotMismatch`](crate::Error::SnapshotMismatch), [`Corrupt`](crate::Error::Corrupt),
    /// those of the file system.
    pub fn stats<T>(&self, rtxn: &RoTxn<'_>, env: &Env<T>) -> Result<Stats> {
        count(&self.view(rtxn)?, self.place, rtxn, Environment::read(env, rtxn)?)
    }

    /// Resolves the pointer to every value that a query can need, so that queries need no
    /// transaction any more. One pass over the keys: 3 ms for a million items of 128 components.
    ///
    /// # Errors
    /// [`SnapshotMismatch`](crate::Error::SnapshotMismatch), [`Corrupt`](crate::Error::Corrupt).
    pub fn warm(&self, rtxn: &RoTxn<'_>) -> Result<WarmReader<'_, 't, D>> {
        let view = self.view(rtxn)?;
        view.resolve_all()?;
        let mut values = BTreeMap::new();
        for kind in SECTIONS.iter().flat_map(|section| section.looked_up()) {
            let bound = |sub, n| Key::new(self.index(), *kind, sub, n);
            for entry in self.place.range(rtxn, bound(0, 0), bound(u8::MAX, u32::MAX))? {
                let key = entry?.0;
                values.extend(view.get(key)?.map(|value| (key, value)));
            }
        }
        let rows = view.field_rows()?;
        Ok(WarmReader { reader: self, source: Warm::new(values, rows) })
    }
}

/// A reader with a transaction: see [`Reader::on`], and [`Reader::keyed`] for items with keys.
pub struct ReaderOn<'a, 't, D, K: ?Sized = ItemId> {
    reader: &'a Reader<'t, D>,
    rtxn: &'a RoTxn<'a>,
    names: PhantomData<fn(&K)>,
}

impl<D, K: ?Sized> fmt::Debug for ReaderOn<'_, '_, D, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReaderOn").field("commit", &self.reader.commit()).finish_non_exhaustive()
    }
}

impl<'a, 't, D, K: ?Sized> ReaderOn<'a, 't, D, K> {
    pub(crate) fn view(&self) -> Result<View<'a, 't, Calling<'a, 't>>> {
        self.reader.view(self.rtxn)
    }

    pub(crate) fn txn(&self) -> &'a RoTxn<'a> {
        self.rtxn
    }

    pub(crate) fn place(&self) -> Place<'t> {
        self.reader.place
    }
}

/// A reader that has resolved every pointer: any thread may search with it, without a transaction.
///
/// ```
/// # use voisin::rand::SeedableRng;
/// use voisin::heed::EnvOpenOptions;
/// use voisin::{Database, Reader, Writer, create_database, distances::Euclidean};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let env = unsafe { EnvOpenOptions::new().map_size(1 << 30).open(folder.path())? };
/// # let db: Database<Euclidean> = create_database(&env, None)?;
/// # let writer = Writer::new(db, 0, 2);
/// # let mut wtxn = env.write_txn()?;
/// # writer.add_items(&mut wtxn, &[1, 2, 3], &[0.0, 0.0, 3.0, 0.0, 0.0, 4.0])?;
/// # writer.builder(&mut rand::rngs::StdRng::seed_from_u64(42)).build::<16, 32>(&mut wtxn)?;
/// # wtxn.commit()?;
/// let rtxn = env.read_txn()?;
/// let reader = Reader::open(&rtxn, 0, db)?;
/// let warm = reader.warm(&rtxn)?;
/// std::thread::scope(|scope| {
///     for _ in 0..2 {
///         scope.spawn(|| {
///             let found = warm.nns(1).by_vector(&[2.5, 0.0]).unwrap();
///             assert_eq!(found.into_nns(), [(2, 0.25)]);
///         });
///     }
/// });
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct WarmReader<'r, 't, D> {
    reader: &'r Reader<'t, D>,
    source: Warm<'t>,
}

impl<'r, 't, D> WarmReader<'r, 't, D> {
    /// The reader that this was made from.
    #[must_use]
    pub fn reader(&self) -> &'r Reader<'t, D> {
        self.reader
    }
}

impl<'t, D> WarmReader<'_, 't, D> {
    pub(crate) fn view(&self) -> View<'_, 't, &Warm<'t>> {
        View::new(&self.reader.snapshot, &self.source)
    }
}
