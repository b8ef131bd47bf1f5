//! Changing an index, inside the caller's write transaction.
//!
//! The transaction sees every change at once, and everybody else from its commit on, pending or
//! not: a build makes searches faster, it does not make items visible. No state is kept between
//! calls; dropping the transaction undoes all of them.
//!
//! A call that stops half-way after its first write, by a panic or an error, leaves a torn edit:
//! every later use of the index is an error until `repair`. See `store/target.rs`.

mod keyed;

use std::fmt;
use std::marker::PhantomData;

use heed::{RoTxn, RwTxn};

use crate::codec::{Component, Components, I8, Scale};
use crate::codes::{self, Codes};
use crate::database::Database;
use crate::defaults::CODES_FROM;
use crate::distance::Distance;
use crate::error::{Error, Result};
use crate::field::Field;
use crate::item_key::{ItemKey, sealed};
use crate::reader::Reader;
use crate::store::Place;
use crate::store::edit::{Edit, ROWS_BYTES, Row, RowName};
use crate::store::open::read_meta;
use crate::store::range::{check_range, sample_for};
use crate::store::repair::repair;
use crate::store::scrub::telling;
use crate::store::sections::ids::items::items;
use crate::store::sections::ids::view::slot_in;
use crate::store::sections::list::is_upkeep_due;
use crate::store::sections::records::edit::check_record;
use crate::store::sections::records::view::record_in;
use crate::store::sections::vectors::view::vector_in;
use crate::store::target::delete_index;
use crate::training::{Fit, Sample, TrainedRange};
use crate::types::{IndexKind, ItemId};

/// Adds, replaces and deletes items of one index, and builds its graph, inside a write transaction:
/// see the example of [the crate](crate).
///
/// The transaction sees its changes at once, and everybody else from its commit on, before any
/// build.
///
/// ```
/// use voisin::heed::EnvOpenOptions;
/// use voisin::{Database, Writer, create_database, distances::Euclidean};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let env = unsafe { EnvOpenOptions::new().map_size(1 << 30).open(folder.path())? };
/// # let db: Database<Euclidean> = create_database(&env, None)?;
/// let writer = Writer::new(db, 0, 2);
/// let mut wtxn = env.write_txn()?;
/// writer.add_item(&mut wtxn, 7, &[0.5, 1.5])?;
/// writer.add_item(&mut wtxn, 7, &[0.5, 2.5])?; // replaced
/// assert_eq!(writer.item_vector(&wtxn, 7)?, Some(vec![0.5, 2.5]));
/// assert!(writer.del_item(&mut wtxn, 7)? && !writer.del_item(&mut wtxn, 7)?);
/// wtxn.commit()?;
/// # Ok(())
/// # }
/// ```
pub struct Writer<'e, D, K: ?Sized = ItemId> {
    place: Place<'e>,
    dimensions: usize,
    /// Whether adding an item with the vector that it has, bit for bit, changes nothing.
    pub(crate) keeps_equal: bool,
    types: PhantomData<fn(&K) -> D>,
}

impl<D, K: ?Sized> fmt::Debug for Writer<'_, D, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("index", &self.place.index)
            .field("dimensions", &self.dimensions)
            .finish_non_exhaustive()
    }
}

impl<'e, D: Distance> Writer<'e, D> {
    /// A writer for index `index` of `database`, for vectors of `dimensions` components (1 to
    /// 65 535). The first call that changes the index creates it. If it exists, it must have the
    /// same metric, which every call checks, and the same dimensions, which every call that adds,
    /// deletes or builds checks.
    #[must_use]
    pub fn new(database: Database<'e, D>, index: u16, dimensions: usize) -> Self {
        Self::at(Place::of(database, index), dimensions)
    }

    /// The same writer for an index whose items are named by keys, which it maps to ids itself: see
    /// [`ItemKey`]. An index has one kind of names, from its creation on.
    ///
    /// ```
    /// # use voisin::heed::EnvOpenOptions;
    /// use voisin::{Reader, Writer, create_database, distances::Euclidean};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let env = unsafe { EnvOpenOptions::new().map_size(1 << 30).open(folder.path())? };
    /// # let db: voisin::Database<Euclidean> = create_database(&env, None)?;
    /// let writer = Writer::new(db, 0, 2).keyed::<str>();
    /// let mut wtxn = env.write_txn()?;
    /// writer.add_item(&mut wtxn, "a note", &[0.5, 1.5])?;
    /// writer.add_item_with_record(&mut wtxn, "another", &[2.5, 1.5], b"its text")?;
    /// assert!(writer.del_item(&mut wtxn, "a note")?);
    /// wtxn.commit()?;
    ///
    /// let rtxn = env.read_txn()?;
    /// let reader = Reader::open(&rtxn, 0, db)?;
    /// let reader = reader.keyed::<str>(&rtxn)?;
    /// let found = reader.nns(1).with_records().by_vector(&[2.5, 1.0])?;
    /// assert_eq!(found.records, [Some(b"its text".to_vec())]);
    /// assert_eq!(found.into_nns(), [("another".to_owned(), 0.25)]);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn keyed<K: ItemKey + ?Sized>(self) -> Writer<'e, D, K> {
        let place = Place { naming: <K as sealed::Name>::NAMING, ..self.place };
        Writer { keeps_equal: self.keeps_equal, ..Writer::at(place, self.dimensions) }
    }
}

impl<'e, D, K: ?Sized> Writer<'e, D, K> {
    /// A writer for an index with any metric.
    pub(crate) fn at(place: Place<'e>, dimensions: usize) -> Self {
        Self { place, dimensions, keeps_equal: false, types: PhantomData }
    }

    /// The number of components of every vector.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    pub(crate) fn place(&self) -> Place<'e> {
        self.place
    }

    /// Creates the index if it does not exist. Returns its scale (see [`Scale`]).
    pub(crate) fn create(&self, wtxn: &mut RwTxn<'_>) -> Result<Scale> {
        let edit = self.edit(wtxn)?;
        let scale = edit.meta.scale;
        edit.finish().map(|()| scale)
    }

    pub(crate) fn edit<'w, 'p>(&self, wtxn: &'w mut RwTxn<'p>) -> Result<Edit<'w, 'e, 'p>> {
        Edit::begin(self.place, wtxn, self.dimensions)
    }

    /// A reader of the same index; `None` if it does not exist yet.
    pub(crate) fn reader<'t>(&self, rtxn: &'t RoTxn<'_>) -> Result<Option<Reader<'t, D>>>
    where
        'e: 't,
    {
        match Reader::at(rtxn, self.place) {
            Ok(reader) => Ok(Some(reader)),
            Err(Error::MissingIndex(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Adds an item, with a record if it is given one.
    pub(crate) fn add_given(
        &self,
        wtxn: &mut RwTxn<'_>,
        name: RowName,
        vector: &[impl Component],
        record: Option<&[u8]>,
    ) -> Result<()> {
        let mut edit = self.edit(wtxn)?;
        let row = edit.row(name, Components::of(vector), record)?;
        edit.add(row)?;
        edit.finish()
    }

    fn change_record(
        &self,
        wtxn: &mut RwTxn<'_>,
        change: impl FnOnce(&mut Edit<'_, '_, '_>) -> Result<bool>,
    ) -> Result<bool> {
        if read_meta(self.place, wtxn)?.is_none() {
            return Ok(false);
        }
        let mut edit = self.edit(wtxn)?;
        let has_changed = change(&mut edit)?;
        if has_changed {
            edit.finish()?;
        }
        Ok(has_changed)
    }

    /// Adds a field of records, by which items can be filtered: all records must be JSON objects
    /// from then on, in which a member of this name, if there is one, is a value of the type of the
    /// field or an array of such values. The records that there are fill it. O(records), in memory
    /// for about a hundred bytes for each value. Creates the index if it does not exist.
    ///
    /// ```
    /// # use voisin::heed::EnvOpenOptions;
    /// use voisin::{Field, Reader, Writer, create_database, distances::Euclidean, field};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let env = unsafe { EnvOpenOptions::new().map_size(1 << 30).open(folder.path())? };
    /// # let db: voisin::Database<Euclidean> = create_database(&env, None)?;
    /// let writer = Writer::new(db, 0, 1);
    /// let mut wtxn = env.write_txn()?;
    /// writer.add_item_with_record(&mut wtxn, 7, &[0.5], br#"{"year": 1987}"#)?;
    /// writer.add_field(&mut wtxn, Field::integer("year"))?;
    /// wtxn.commit()?;
    /// let rtxn = env.read_txn()?;
    /// let reader = Reader::open(&rtxn, 0, db)?;
    /// let old = field("year").below(2000);
    /// assert_eq!(reader.count(&rtxn, &old)?, 1);
    /// assert_eq!(reader.nns(1).candidates(&old).by_vector(&rtxn, &[0.0])?.into_nns()[0].0, 7);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`InvalidField`](Error::InvalidField), [`InvalidRecord`](Error::InvalidRecord) for the first
    /// record that does not fit: nothing has changed. And those of [`add_item`](Self::add_item)
    /// about the index.
    pub fn add_field(&self, wtxn: &mut RwTxn<'_>, field: Field) -> Result<()> {
        let mut edit = self.edit(wtxn)?;
        edit.add_field(field)?;
        edit.finish()
    }

    /// Drops a field; the records stay as they are. O(rows of the field).
    ///
    /// # Errors
    /// [`UnknownField`](Error::UnknownField): nothing has changed. And those of
    /// [`del_item`](Self::del_item).
    pub fn drop_field(&self, wtxn: &mut RwTxn<'_>, name: &str) -> Result<()> {
        let mut edit = self.edit(wtxn)?;
        edit.drop_field(name)?;
        edit.finish()
    }

    /// The fields of the index.
    ///
    /// # Errors
    /// As [`contains_item`](Self::contains_item).
    pub fn fields(&self, rtxn: &RoTxn<'_>) -> Result<Vec<Field>> {
        self.reader(rtxn)?.map_or(Ok(Vec::new()), |reader| reader.fields())
    }

    /// Adds items, with those records that are given.
    pub(crate) fn add_given_from<T: Component, V: AsRef<[T]>, R: AsRef<[u8]>>(
        &self,
        wtxn: &mut RwTxn<'_>,
        items: impl Iterator<Item = Given<V, R>>,
    ) -> Result<u64> {
        let mut edit = self.edit(wtxn)?;
        edit.keeps_equal = self.keeps_equal;
        add_rows(edit, items)
    }

    /// Undoes a torn edit: a call that stopped half-way, by a panic or an error, in a transaction
    /// that was committed all the same. Restores the items and vectors from before that call,
    /// including the effects of earlier calls in the transaction. `false` if there is no torn edit.
    ///
    /// After an interrupted build or choice of codes, all items are pending and have no codes:
    /// build again. Inverted lists are made anew by the next build after any torn edit. O(items).
    ///
    /// ```
    /// use std::panic::{AssertUnwindSafe, catch_unwind};
    /// use voisin::heed::EnvOpenOptions;
    /// use voisin::{Database, Error, Writer, create_database, distances::Euclidean};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let env = unsafe { EnvOpenOptions::new().map_size(1 << 30).open(folder.path())? };
    /// # let db: Database<Euclidean> = create_database(&env, None)?;
    /// # std::panic::set_hook(Box::new(|_| {}));
    /// let writer = Writer::new(db, 0, 1000);
    /// let mut wtxn = env.write_txn()?;
    /// writer.add_item(&mut wtxn, 7, &[0.5; 1000])?;
    /// wtxn.commit()?;
    ///
    /// let mut wtxn = env.write_txn()?;
    /// let rows = (0..1000).map(|item| match item {
    ///     0..900 => (item, vec![0.1; 1000]),
    ///     _ => panic!("a bad line"),
    /// });
    /// assert!(catch_unwind(AssertUnwindSafe(|| writer.add_items_from(&mut wtxn, rows))).is_err());
    /// wtxn.commit()?; // instead of dropping it
    ///
    /// let mut wtxn = env.write_txn()?;
    /// assert!(matches!(writer.item_vector(&wtxn, 7), Err(Error::TornEdit { index: 0 })));
    /// assert!(writer.repair(&mut wtxn)?);
    /// assert_eq!(writer.item_vector(&wtxn, 7)?, Some(vec![0.5; 1000]));
    /// wtxn.commit()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Corrupt`](Error::Corrupt) if a value from before the edit is missing: restore a backup.
    /// That happens after an [`optimize`](crate::Builder::optimize) whose temporary file became
    /// unreadable half-way. And those of [`add_item`](Self::add_item) about the index. Nothing has
    /// changed.
    pub fn repair(&self, wtxn: &mut RwTxn<'_>) -> Result<bool> {
        repair(self.place, wtxn)
    }

    /// Sets the scale to the range of a sample, and encodes all stored vectors anew.
    ///
    /// # Errors
    /// [`CoarseRange`](Error::CoarseRange), [`InvalidParameter`](Error::InvalidParameter) if the
    /// sample is empty, and those of [`Edit::train`].
    pub(crate) fn train_on(&self, wtxn: &mut RwTxn<'_>, sample: &Sample) -> Result<TrainedRange> {
        let Some(Fit { scale, range }) = sample.fit() else {
            let remedy = "give some rows of vectors like those that are to be stored";
            let name = "the length of the sample";
            return Err(Error::InvalidParameter { name, value: 0.0, remedy });
        };
        check_range("the sample", scale, range.error)?;
        let mut edit = self.edit(wtxn)?;
        if edit.train(scale)? {
            edit.finish()?;
        }
        Ok(range)
    }

    /// See [`train`](Writer::train).
    pub(crate) fn train_by(
        &self,
        wtxn: &mut RwTxn<'_>,
        rows: &[impl Component],
    ) -> Result<TrainedRange> {
        let dimensions = self.dimensions;
        // Also checks that there are dimensions.
        self.edit(wtxn)?;
        if !rows.len().is_multiple_of(dimensions) {
            return Err(Error::UnevenRows { components: rows.len(), dimensions });
        }
        let mut sample = sample_for(self.place.metric, dimensions);
        for (row, vector) in rows.chunks(dimensions).enumerate() {
            sample.add(vector).map_err(|defect| Error::InvalidSample { row, defect })?;
        }
        self.train_on(wtxn, &sample)
    }

    /// Sets the record of the item that a key names. `false` if there is none.
    pub(crate) fn set_record_of(
        &self,
        wtxn: &mut RwTxn<'_>,
        key: &[u8],
        record: &[u8],
    ) -> Result<bool> {
        check_record(record)?;
        self.change_record(wtxn, |edit| edit.set_record_of(key, record))
    }

    /// Deletes the record of the item that a key names. `false` if it has none.
    pub(crate) fn remove_record_of(&self, wtxn: &mut RwTxn<'_>, key: &[u8]) -> Result<bool> {
        self.change_record(wtxn, |edit| edit.remove_record_of(key))
    }

    /// Deletes the items that some keys name. Returns how many of them existed.
    pub(crate) fn del_named(&self, wtxn: &mut RwTxn<'_>, keys: &[Vec<u8>]) -> Result<u64> {
        if read_meta(self.place, wtxn)?.is_none() {
            return Ok(0);
        }
        let mut edit = self.edit(wtxn)?;
        let mut count = 0;
        for key in keys {
            count += u64::from(edit.delete_named(key)?);
        }
        if count > 0 {
            edit.finish()?;
        }
        Ok(count)
    }

    /// Gives items other keys, which name none: pairs of the key that one has and the new one.
    /// Returns how many of them existed.
    pub(crate) fn rename_keys(
        &self,
        wtxn: &mut RwTxn<'_>,
        keys: Vec<(Vec<u8>, Vec<u8>)>,
    ) -> Result<u64> {
        if keys.is_empty() {
            return Ok(0);
        }
        let mut edit = self.edit(wtxn)?;
        let mut count = 0;
        for (key, new) in keys {
            count += u64::from(edit.rename(&key, &new)?);
        }
        edit.finish()?;
        Ok(count)
    }

    /// Whether the index must be trained before its first item, and is not.
    pub(crate) fn needs_training(&self, rtxn: &RoTxn<'_>) -> Result<bool> {
        if !self.place.metric.is_trained {
            return Ok(false);
        }
        let meta = read_meta(self.place, rtxn)?;
        Ok(meta.is_none_or(|meta| !meta.scale.is_trained()))
    }

    /// Chooses the quantization of the index: how many bits a component its search codes have, or
    /// `None` for no codes, as in a new index. See [`Codes`].
    ///
    /// Existing codes of other bits are deleted at once, and the next build of an index with 1 000
    /// items or more makes the new ones ([`Builder::codes_from`](crate::Builder::codes_from)), in
    /// the same transaction if it runs there. From then on every change updates them. Readers of
    /// earlier commits keep the codes they have.
    ///
    /// Codes are trained on a sample of at most 10 000 vectors, whose mean is their center. When
    /// the number of items has doubled since then, or the vectors added since then are on average
    /// 1.4 times as far from the center, the next build computes the mean again. If it lies so far
    /// from the center that the squared error of the codes would fall by a tenth, the codes follow:
    /// each build recodes 4 blocks of 32 KB or more, and twice as many vectors as it links.
    ///
    /// ```
    /// use voisin::heed::EnvOpenOptions;
    /// use voisin::rand::{SeedableRng, rngs::StdRng};
    /// use voisin::{Codes, Database, Reader, Writer, create_database, distances::Euclidean};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let env = unsafe { EnvOpenOptions::new().map_size(1 << 30).open(folder.path())? };
    /// # let db: Database<Euclidean> = create_database(&env, None)?;
    /// let writer = Writer::new(db, 0, 3);
    /// let mut wtxn = env.write_txn()?;
    /// let rows = (0..5000).map(|item| (item, [item as f32, 1.0, (item % 7) as f32]));
    /// writer.add_items_from(&mut wtxn, rows)?;
    /// writer.set_codes(&mut wtxn, Some(Codes::fast(3)))?;
    /// writer.builder(&mut StdRng::seed_from_u64(42)).build::<16, 32>(&mut wtxn)?;
    /// wtxn.commit()?;
    /// let rtxn = env.read_txn()?;
    /// let reader = Reader::<Euclidean>::open(&rtxn, 0, db)?;
    /// assert_eq!(reader.codes(), Some(Codes::Bits8));
    /// let found = reader.nns(1).by_vector(&rtxn, &[1000.0, 1.0, 6.0])?;
    /// assert!(found.estimates > found.distances);
    /// assert_eq!(found.into_nns(), [(1000, 0.0)]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`CodesUnsupported`](Error::CodesUnsupported) for metrics that do not follow from inner
    /// products, and those of [`add_item`](Self::add_item) about the index: nothing has changed.
    pub fn set_codes(&self, wtxn: &mut RwTxn<'_>, codes: Option<Codes>) -> Result<()> {
        if codes.is_some() && !codes::is_sound(self.place.metric) {
            return Err(Error::CodesUnsupported { metric: self.place.metric.name() });
        }
        let mut edit = self.edit(wtxn)?;
        edit.set_codes(codes.map_or(0, |codes| codes.bits() as u8))?;
        edit.finish()
    }

    /// Gives the index a kind, and returns `false` if it has it already. The next build makes what
    /// the kind consists of, from the stored vectors, in the same transaction if it runs there;
    /// until then, searches scan. Creates the index if it does not exist. Readers of earlier
    /// commits go on with the kinds that they know. O(items) if that is [`IndexKind::Hnsw`].
    ///
    /// # Errors
    /// [`KindUnsupported`](Error::KindUnsupported) if the metric does not allow it, and those of
    /// [`add_item`](Self::add_item) about the index: nothing has changed.
    pub fn add_kind(&self, wtxn: &mut RwTxn<'_>, kind: IndexKind) -> Result<bool> {
        let mut edit = self.edit(wtxn)?;
        // Writes the metadata of an index that is created here, too.
        let is_added = edit.add_kind(kind)?;
        edit.finish().map(|()| is_added)
    }

    /// Takes a kind from the index, with all that it consists of; `false` if the index does not
    /// have it. An index without a graph ([`IndexKind::Hnsw`]) needs no builds to link its items:
    /// none is pending, and searches scan, or go another way that there is. O(values of the kind).
    ///
    /// ```
    /// # use voisin::heed::EnvOpenOptions;
    /// # use voisin::rand::{SeedableRng, rngs::StdRng};
    /// use voisin::{IndexKind, Reader, Strategy, Writer, create_database, distances::Euclidean};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let env = unsafe { EnvOpenOptions::new().map_size(1 << 30).open(folder.path())? };
    /// # let db: voisin::Database<Euclidean> = create_database(&env, None)?;
    /// let writer = Writer::new(db, 0, 1);
    /// let mut wtxn = env.write_txn()?;
    /// writer.drop_kind(&mut wtxn, IndexKind::Hnsw)?;
    /// writer.add_items(&mut wtxn, &[1, 2, 3], &[0.5, 1.5, 2.5])?;
    /// assert!(!writer.need_build(&wtxn)?);
    /// wtxn.commit()?;
    /// let rtxn = env.read_txn()?;
    /// let reader = Reader::<Euclidean>::open(&rtxn, 0, db)?;
    /// assert_eq!(reader.kinds(), [IndexKind::Flat]);
    /// assert_eq!(reader.nns(1).by_vector(&rtxn, &[2.0])?.strategy, Strategy::All);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`KindMismatch`](Error::KindMismatch) for [`IndexKind::Flat`], which every index has, and
    /// those of [`add_item`](Self::add_item) about the index: nothing has changed.
    pub fn drop_kind(&self, wtxn: &mut RwTxn<'_>, kind: IndexKind) -> Result<bool> {
        let mut edit = self.edit(wtxn)?;
        let is_dropped = edit.drop_kind(kind)?;
        edit.finish().map(|()| is_dropped)
    }

    /// Erases what deleted and replaced items have left in the index. Without it, their vectors and
    /// codes stay in blocks until other items take their places; in no answer, but in the file.
    /// Returns how many there were. Tombstones keep theirs: build first, so that there are none.
    /// O(blocks with free slots): each is read, and rewritten if something is left in it.
    ///
    /// Where a center of codes, hashes or inverted lists is, but for rounding, a vector that was
    /// left, these are deleted: build afterwards, too, where [`need_build`](Self::need_build) says
    /// so. The slots after the last full block leave nothing, so centers are not compared with
    /// them; `Index` compares with all that it [erases](crate::Index::erase).
    ///
    /// LMDB keeps the old pages in the file: [`copy_to`](crate::copy_to()) makes one without them.
    ///
    /// # Errors
    /// [`UnknownMetric`](Error::UnknownMetric), [`Corrupt`](Error::Corrupt), and those of
    /// [`drop_kind`](Self::drop_kind) about the index: nothing has changed.
    pub fn scrub(&self, wtxn: &mut RwTxn<'_>) -> Result<u64> {
        self.scrub_of(wtxn, &[])
    }

    /// As [`scrub`](Self::scrub), also of these vectors, which may have left nothing.
    pub(crate) fn scrub_of(&self, wtxn: &mut RwTxn<'_>, gone: &[Vec<f32>]) -> Result<u64> {
        Error::unless_known(self.place.metric, self.place.index)?;
        if read_meta(self.place, wtxn)?.is_none_or(|meta| meta.free == 0) {
            return Ok(0);
        }
        let telling = telling(self.place, wtxn, gone)?;
        let mut edit = self.edit(wtxn)?;
        let cleared = edit.scrub(&telling)?;
        if cleared > 0 || !telling.is_empty() {
            edit.finish()?;
        }
        Ok(cleared)
    }

    /// Deletes all items and the graph, and resets dimensions and connectivity, as if the index had
    /// never existed. O(values). Also works on an index whose metadata is damaged, whatever its
    /// metric was.
    ///
    /// # Errors
    /// [`Foreign`](Error::Foreign) if the keys under this index are not voisin's,
    /// [`MetricMismatch`](Error::MetricMismatch): nothing has changed.
    pub fn clear(&self, wtxn: &mut RwTxn<'_>) -> Result<()> {
        match read_meta(self.place, wtxn) {
            Ok(_) | Err(Error::Corrupt { .. }) => {
                delete_index(self.place.raw, self.place.index, wtxn)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the index has no items.
    ///
    /// # Errors
    /// As [`contains_item`](Self::contains_item).
    pub fn is_empty(&self, rtxn: &RoTxn<'_>) -> Result<bool> {
        Ok(read_meta(self.place, rtxn)?.is_none_or(|meta| meta.items == 0))
    }

    /// Whether a build would change anything: an item was added, replaced or deleted since the last
    /// one, or other codes were chosen.
    ///
    /// # Errors
    /// As [`contains_item`](Self::contains_item).
    pub fn need_build(&self, rtxn: &RoTxn<'_>) -> Result<bool> {
        Ok(read_meta(self.place, rtxn)?.is_some_and(|meta| {
            meta.pending > 0
                || meta.removed > 0
                || meta.lacks_codes(CODES_FROM)
                || is_upkeep_due(&meta)
        }))
    }

    /// The number of pending items, which no build has linked yet: every search scans them one by
    /// one.
    ///
    /// # Errors
    /// As [`contains_item`](Self::contains_item).
    pub fn n_pending(&self, rtxn: &RoTxn<'_>) -> Result<u64> {
        Ok(read_meta(self.place, rtxn)?.map_or(0, |meta| meta.pending.into()))
    }
}

impl<'e, D> Writer<'e, D> {
    /// Adds an item, or replaces its vector. O(dimensions); writes a few values.
    ///
    /// # Errors
    /// [`DimensionMismatch`](Error::DimensionMismatch) and [`InvalidItem`](Error::InvalidItem), for
    /// a vector that cannot be stored or compared: nothing has changed.
    /// [`NotTrained`](Error::NotTrained), [`InvalidDimensions`](Error::InvalidDimensions),
    /// [`MetricMismatch`](Error::MetricMismatch), [`Foreign`](Error::Foreign),
    /// [`FormatVersion`](Error::FormatVersion), [`IndexFull`](Error::IndexFull): the same.
    /// [`MapFull`](Error::MapFull), [`Corrupt`](Error::Corrupt), [`TornEdit`](Error::TornEdit):
    /// drop the transaction.
    pub fn add_item(
        &self,
        wtxn: &mut RwTxn<'_>,
        item: ItemId,
        vector: &[impl Component],
    ) -> Result<()> {
        self.add_given(wtxn, RowName::Id(item), vector, None)
    }

    /// Adds an item with a record of bytes, or replaces its vector and its record.
    /// [`add_item`](Self::add_item) keeps the record that an item has.
    ///
    /// ```
    /// # use voisin::heed::EnvOpenOptions;
    /// use voisin::{Writer, create_database, distances::Euclidean};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let env = unsafe { EnvOpenOptions::new().map_size(1 << 30).open(folder.path())? };
    /// # let db: voisin::Database<Euclidean> = create_database(&env, None)?;
    /// let writer = Writer::new(db, 0, 1);
    /// let mut wtxn = env.write_txn()?;
    /// writer.add_item_with_record(&mut wtxn, 7, &[0.5], br#"{"title": "a half"}"#)?;
    /// writer.add_item(&mut wtxn, 7, &[0.25])?;
    /// assert_eq!(writer.item_record(&wtxn, 7)?, Some(&br#"{"title": "a half"}"#[..]));
    /// assert!(writer.set_record(&mut wtxn, 7, b"a quarter")?);
    /// assert!(!writer.set_record(&mut wtxn, 8, b"of no item")?);
    /// assert!(writer.remove_record(&mut wtxn, 7)?);
    /// assert_eq!(writer.item_record(&wtxn, 7)?, None);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`add_item`](Self::add_item), and [`InvalidParameter`](Error::InvalidParameter) for a
    /// record of more than 64 MiB: nothing has changed.
    pub fn add_item_with_record(
        &self,
        wtxn: &mut RwTxn<'_>,
        item: ItemId,
        vector: &[impl Component],
        record: &[u8],
    ) -> Result<()> {
        self.add_given(wtxn, RowName::Id(item), vector, Some(record))
    }

    /// Sets the record of an item, without touching its vector: O(bytes of the record). `false` if
    /// there is no such item.
    ///
    /// # Errors
    /// [`InvalidParameter`](Error::InvalidParameter) for a record of more than 64 MiB: nothing has
    /// changed. And those of [`del_item`](Self::del_item).
    pub fn set_record(&self, wtxn: &mut RwTxn<'_>, item: ItemId, record: &[u8]) -> Result<bool> {
        check_record(record)?;
        self.change_record(wtxn, |edit| edit.set_record(item, record))
    }

    /// Deletes the record of an item, and leaves the item. `false` if it has none.
    ///
    /// # Errors
    /// As [`del_item`](Self::del_item).
    pub fn remove_record(&self, wtxn: &mut RwTxn<'_>, item: ItemId) -> Result<bool> {
        self.change_record(wtxn, |edit| edit.remove_record(item))
    }

    /// The record of an item. `None` if it has none, or if there is no such item.
    ///
    /// # Errors
    /// As [`contains_item`](Self::contains_item).
    pub fn item_record<'t>(&self, rtxn: &'t RoTxn<'_>, item: ItemId) -> Result<Option<&'t [u8]>> {
        record_in(self.place, rtxn, item)
    }

    /// Adds an item, or replaces its vector, unless there is an item within `radius` of the vector,
    /// in the unit of the distances that answers have: then nothing changes, and the nearest is
    /// returned with its distance. The item itself counts, if it is there. Compares all vectors:
    /// exact, and O(items * dimensions). The transaction keeps others from writing meanwhile.
    ///
    /// ```
    /// # use voisin::heed::EnvOpenOptions;
    /// use voisin::{Writer, create_database, distances::Euclidean};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let env = unsafe { EnvOpenOptions::new().map_size(1 << 30).open(folder.path())? };
    /// # let db: voisin::Database<Euclidean> = create_database(&env, None)?;
    /// let writer = Writer::new(db, 0, 1);
    /// let mut wtxn = env.write_txn()?;
    /// assert_eq!(writer.add_item_unless_within(&mut wtxn, 1, &[1.0], 0.25)?, None);
    /// assert_eq!(writer.add_item_unless_within(&mut wtxn, 2, &[1.5], 0.25)?, Some((1, 0.25)));
    /// assert_eq!(writer.add_item_unless_within(&mut wtxn, 3, &[2.0], 0.25)?, None);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`add_item`](Self::add_item), and [`InvalidParameter`](Error::InvalidParameter) for a
    /// radius that cannot be.
    pub fn add_item_unless_within(
        &self,
        wtxn: &mut RwTxn<'_>,
        item: ItemId,
        vector: &[impl Component],
        radius: f32,
    ) -> Result<Option<(ItemId, f32)>> {
        if let Some(reader) = self.reader(wtxn)? {
            let mut search = reader.nns(1);
            search.exact().within(radius);
            let found = search.by_vector(wtxn, vector).map_err(|error| match error {
                Error::InvalidQuery { defect } => Error::InvalidItem { item, defect },
                error => error,
            })?;
            if let Some(nearest) = found.nns.first() {
                return Ok(Some(*nearest));
            }
        }
        self.add_item(wtxn, item, vector)?;
        Ok(None)
    }

    /// Adds or replaces many items: `vectors` holds one row of `dimensions` components for each of
    /// `items`, one after the other. Several times as fast as adding them one by one. If an item
    /// occurs twice, the last one counts.
    ///
    /// # Errors
    /// As [`add_item`](Self::add_item), and [`LengthMismatch`](Error::LengthMismatch). All vectors
    /// are checked first: a bad one changes nothing.
    pub fn add_items(
        &self,
        wtxn: &mut RwTxn<'_>,
        items: &[ItemId],
        vectors: &[impl Component],
    ) -> Result<()> {
        if items.len().checked_mul(self.dimensions) != Some(vectors.len()) {
            return Err(Error::LengthMismatch {
                ids: items.len(),
                components: vectors.len(),
                dimensions: self.dimensions,
            });
        }
        let edit = self.edit(wtxn)?;
        if items.is_empty() {
            return Ok(());
        }
        edit.check_trained()?;
        let rows = || items.iter().zip(vectors.chunks(self.dimensions));
        for (&item, row) in rows() {
            self.place
                .metric
                .check(Components::of(row), edit.meta.scale)
                .map_err(|defect| Error::InvalidItem { item, defect })?;
        }
        add_rows(edit, rows().map(|(item, row)| (Ok(RowName::Id(*item)), row, NO_RECORD))).map(drop)
    }

    /// Adds or replaces the items of an iterator, in memory independent of their number. Returns
    /// how many there were. Pulls up to 1 MB of rows at a time, before it stores any of them.
    ///
    /// # Errors
    /// As [`add_item`](Self::add_item), at the first bad vector. The items before it have been
    /// added to the transaction, as if by [`add_item`](Self::add_item): commit them or drop the
    /// transaction.
    ///
    /// # Panics
    /// If the iterator or a row panics. Drop the transaction then: if earlier rows have been
    /// stored, the edit is torn, and every use of the index is [`TornEdit`](Error::TornEdit), in
    /// this transaction and after its commit, until [`repair`](Self::repair).
    pub fn add_items_from<T: Component, V: AsRef<[T]>>(
        &self,
        wtxn: &mut RwTxn<'_>,
        items: impl IntoIterator<Item = (ItemId, V)>,
    ) -> Result<u64> {
        let items = items.into_iter();
        self.add_given_from(
            wtxn,
            items.map(|(item, vector)| (Ok(RowName::Id(item)), vector, NO_RECORD)),
        )
    }

    /// As [`add_items_from`](Self::add_items_from), for items with records, which replace those
    /// that the items have. After every 4 MB of records, the items so far are added as by a call of
    /// its own, so that the memory does not depend on their number.
    ///
    /// # Errors
    /// As [`add_items_from`](Self::add_items_from), and
    /// [`InvalidParameter`](Error::InvalidParameter) for a record of more than 64 MiB.
    ///
    /// # Panics
    /// As [`add_items_from`](Self::add_items_from).
    pub fn add_items_with_records<T: Component, V: AsRef<[T]>, R: AsRef<[u8]>>(
        &self,
        wtxn: &mut RwTxn<'_>,
        items: impl IntoIterator<Item = (ItemId, V, R)>,
    ) -> Result<u64> {
        let items = items.into_iter();
        let items =
            items.map(|(item, vector, record)| (Ok(RowName::Id(item)), vector, Some(record)));
        self.add_given_from(wtxn, items)
    }

    /// Deletes an item. `false` if there is none. No answer contains it from then on: it is a
    /// tombstone in the graph, removed by the next build.
    ///
    /// # Errors
    /// As [`add_item`](Self::add_item), without those about vectors.
    pub fn del_item(&self, wtxn: &mut RwTxn<'_>, item: ItemId) -> Result<bool> {
        if read_meta(self.place, wtxn)?.is_none() {
            return Ok(false);
        }
        let mut edit = self.edit(wtxn)?;
        let deleted = edit.delete(item)?;
        if deleted {
            edit.finish()?;
        }
        Ok(deleted)
    }

    /// Deletes many items. Returns how many of them existed.
    ///
    /// # Errors
    /// As [`del_item`](Self::del_item).
    pub fn del_items(
        &self,
        wtxn: &mut RwTxn<'_>,
        items: impl IntoIterator<Item = ItemId>,
    ) -> Result<u64> {
        if read_meta(self.place, wtxn)?.is_none() {
            return Ok(0);
        }
        let mut edit = self.edit(wtxn)?;
        let mut count = 0;
        for item in items {
            count += u64::from(edit.delete(item)?);
        }
        if count > 0 {
            edit.finish()?;
        }
        Ok(count)
    }

    /// Whether there is such an item.
    ///
    /// # Errors
    /// As [`Reader::open`], without [`MissingIndex`](Error::MissingIndex).
    pub fn contains_item(&self, rtxn: &RoTxn<'_>, item: ItemId) -> Result<bool> {
        Ok(read_meta(self.place, rtxn)?.is_some() && slot_in(self.place, rtxn, item)?.is_some())
    }

    /// The vector of an item as stored: the vector that was added, bit for bit, or rounded to [the
    /// element type of the index](crate::codec). `None` if there is no such item. Its checksum is
    /// verified, because it may be changed and added again.
    ///
    /// # Errors
    /// As [`contains_item`](Self::contains_item).
    pub fn item_vector(&self, rtxn: &RoTxn<'_>, item: ItemId) -> Result<Option<Vec<f32>>> {
        vector_in(self.place, rtxn, item)
    }

    /// All items and their vectors, ordered by id, verified as in
    /// [`item_vector`](Self::item_vector).
    ///
    /// # Errors
    /// As [`contains_item`](Self::contains_item); the iterator's items too.
    pub fn iter<'t>(
        &self,
        rtxn: &'t RoTxn<'_>,
    ) -> Result<impl Iterator<Item = Result<(ItemId, Vec<f32>)>> + use<'t, D>>
    where
        'e: 't,
    {
        let reader = self.reader(rtxn)?;
        let items = match &reader {
            Some(_) => Some(items(self.place, rtxn)?),
            None => None,
        };
        Ok(items.into_iter().flatten().map(move |entry| {
            let (item, _) = entry?;
            let vector =
                reader.as_ref().map_or(Ok(None), |reader| reader.sound_vector(rtxn, item))?;
            Ok((item, vector.unwrap_or_default()))
        }))
    }
}

/// An item that is given: its name, or why it has none, its vector and its record.
pub(crate) type Given<V, R> = (Result<RowName>, V, Option<R>);

/// No record, of any type.
pub(crate) const NO_RECORD: Option<[u8; 0]> = None;

/// Adds rows and ends the edit. User code (iterator, `AsRef`, metric) runs for a chunk of rows at a
/// time, before any of them is stored. A bad row ends the edit, after the rows before it are added.
fn add_rows<T: Component, V: AsRef<[T]>, R: AsRef<[u8]>>(
    mut edit: Edit<'_, '_, '_>,
    mut items: impl Iterator<Item = Given<V, R>>,
) -> Result<u64> {
    let (mut count, mut changed) = (0, 0);
    let refused = loop {
        let (rows, end) = next_rows(&edit, &mut items);
        for row in rows {
            match edit.add(row) {
                Err(error @ Error::IndexFull(_)) if changed > 0 => {
                    edit.finish()?;
                    return Err(error);
                }
                added => changed += u64::from(added?),
            }
            count += 1;
        }
        match end {
            Some(refused) => break refused,
            None => edit = edit.renewed()?,
        }
    };
    if changed > 0 {
        edit.finish()?;
    }
    refused.map_or(Ok(count), Err)
}

/// The end of a sequence of rows: the error of a bad one, if that has ended it.
type End = Option<Error>;

/// The next chunk of rows, and how it ended them, if it did.
fn next_rows<T: Component, V: AsRef<[T]>, R: AsRef<[u8]>>(
    edit: &Edit<'_, '_, '_>,
    items: &mut impl Iterator<Item = Given<V, R>>,
) -> (Vec<Row>, Option<End>) {
    let (at_once, mut rows, mut record_bytes) = (edit.rows_at_once(), Vec::new(), 0);
    while rows.len() < at_once && record_bytes < ROWS_BYTES {
        let Some((name, vector, record)) = items.next() else { return (rows, Some(None)) };
        let record = record.as_ref().map(AsRef::as_ref);
        let row = name.and_then(|name| edit.row(name, Components::of(vector.as_ref()), record));
        match row {
            Ok(row) => rows.push(row),
            Err(error) => return (rows, Some(Some(error))),
        }
        record_bytes += record.map_or(0, <[u8]>::len);
    }
    (rows, None)
}

impl<D: Distance<Codec = I8>, K: ?Sized> Writer<'_, D, K> {
    /// Trains the scale of the index, which it needs before its first item: stored bytes then cover
    /// the range of the components of `sample`, rows of vectors like those that will be added, one
    /// after the other. Some thousands are enough. Creates the index if it does not exist.
    ///
    /// From 8 rows on, outliers do not widen the range: the range of all rows, but a thousandth of
    /// them at each end, is extended by half its width at both ends, and rows with components
    /// beyond that are left out. Components outside of the range saturate at its end, and are
    /// counted ([`Reader::saturated`]). Returns the range and the error that it leaves.
    ///
    /// An index with items can be trained again, for new ones that its range does not fit: the
    /// stored vectors are decoded, and encoded for the new range. They keep the precision that they
    /// have, are rounded once more, and clipped if they lie outside; add them again for the
    /// precision of the new range. The graph is kept, codes are deleted and made anew by the next
    /// build. O(items); every vector is rewritten.
    ///
    /// ```
    /// use voisin::heed::EnvOpenOptions;
    /// use voisin::{Database, Reader, Writer, create_database, codec::I8, distances::Euclidean};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let env = unsafe { EnvOpenOptions::new().map_size(1 << 30).open(folder.path())? };
    /// # let db: Database<Euclidean<I8>> = create_database(&env, None)?;
    /// let writer = Writer::new(db, 0, 2);
    /// let mut wtxn = env.write_txn()?;
    /// writer.train(&mut wtxn, &[0.0, 10.0, 255.0, 70.0])?; // two rows
    /// writer.add_item(&mut wtxn, 7, &[12.3, 300.0])?;
    /// assert_eq!(writer.item_vector(&wtxn, 7)?, Some(vec![12.0, 255.0]));
    /// assert_eq!(Reader::open(&wtxn, 0, db)?.saturated(), 1);
    ///
    /// // Larger vectors are to come: twice the range, and twice the step.
    /// let range = writer.train(&mut wtxn, &[0.0, 10.0, 510.0, 70.0])?;
    /// assert_eq!((range.lowest, range.highest), (0.0, 510.0));
    /// writer.add_item(&mut wtxn, 8, &[12.3, 300.0])?;
    /// assert_eq!(writer.item_vector(&wtxn, 7)?, Some(vec![12.0, 256.0]));
    /// assert_eq!(writer.item_vector(&wtxn, 8)?, Some(vec![12.0, 300.0]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`CoarseRange`](Error::CoarseRange) if bytes for this range could hardly tell apart the rows
    /// of the sample, or the stored vectors; [`UnevenRows`](Error::UnevenRows),
    /// [`InvalidSample`](Error::InvalidSample), [`InvalidParameter`](Error::InvalidParameter) for
    /// an empty sample, [`InvalidItem`](Error::InvalidItem) for a stored vector that the metric
    /// could not compare in the new range, and those of [`add_item`](Self::add_item) about the
    /// index: nothing has changed.
    pub fn train(&self, wtxn: &mut RwTxn<'_>, sample: &[impl Component]) -> Result<TrainedRange> {
        self.train_by(wtxn, sample)
    }
}
