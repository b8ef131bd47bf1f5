//! An index whose metric and naming are known when it is opened, not when the program is compiled:
//! for bindings, command lines and servers.

use std::fmt;
use std::path::Path;

use super::any_key::AnyKey;
use super::any_type::AnyType;
use super::environment::Access;
use super::options::Options;
use super::shared::Shared;
use super::{Batch, Index};
use crate::check::Finding;
use crate::codec::Component;
use crate::codes::Codes;
use crate::error::{Error, Result};
use crate::field::{Condition, Field, FieldValue};
use crate::format::item_keys::Naming;
use crate::item_key::{ItemKey, ItemName};
use crate::search::Searched;
use crate::store::stats::Stats;
use crate::training::TrainedRange;
use crate::types::{IndexKind, ItemId};

/// The placeholder metric of an [`AnyIndex`], whose metric is a value.
#[derive(Debug, Clone, Copy)]
pub enum AnyMetric {}

/// An index with any metric, element type and naming of items: [`open`](Self::open) needs no type
/// parameter.
///
/// It is one of five handles, by the names of the items, each with all methods of an [`Index`] but
/// those to create. The methods here work on any of them, with items
/// named by [`AnyKey`].
///
/// An index with an unknown metric, one that does not ship with voisin, can be read, deleted from,
/// checked and copied; to add vectors and to search, pass the metric to [`Options::metric`]. Items
/// deleted without the metric stay in the graph as tombstones, and in no answer, until a handle
/// that knows the metric links.
///
/// ```
/// use voisin::{AnyIndex, AnyKey, Codes, Index, Options, codec::F16, distances::Cosine};
///
/// # fn main() -> voisin::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("vectors");
/// let notes = Index::<Cosine<F16>, str>::create(&path, Options::new(2).codes(Codes::Bits8))?;
/// notes.write(|batch| batch.add("a note", &[0.9, 0.1]))?;
///
/// // A program that does not know what the folder holds.
/// let index = AnyIndex::open(&path, Options::default())?;
/// assert_eq!((index.metric(), index.form(), index.naming()), ("cosine", "f16", "string keys"));
/// index.add("another note", &[0.1, 0.9])?;
/// let found = index.search(&[0.2, 0.8], 1)?.into_nns();
/// assert_eq!(found[0].0, AnyKey::from("another note"));
/// assert!(index.delete("a note")?);
///
/// // All methods of an index, where the naming is known after all.
/// let AnyIndex::Texts(texts) = &index else { panic!() };
/// assert_eq!(texts.search(1).exact().by_vector(&[0.9, 0.1])?.into_nns().len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub enum AnyIndex {
    /// Items are named by item ids.
    Ids(Index<AnyMetric>),
    /// Items are named by `u64` keys.
    Numbers(Index<AnyMetric, u64>),
    /// Items are named by strings.
    Texts(Index<AnyMetric, str>),
    /// Items are named by bytes.
    Bytes(Index<AnyMetric, [u8]>),
    /// Items are named by UUIDs.
    Uuids(Index<AnyMetric, [u8; 16]>),
}

/// Evaluates the same expression on each of the handles. With a key, it is one of the type of the
/// handle, or the error is returned; with `any`, that is the conversion of names to [`AnyKey`].
macro_rules! each {
    ($self:expr, $index:ident => $work:expr) => {
        match $self {
            AnyIndex::Ids($index) => $work,
            AnyIndex::Numbers($index) => $work,
            AnyIndex::Texts($index) => $work,
            AnyIndex::Bytes($index) => $work,
            AnyIndex::Uuids($index) => $work,
        }
    };
    ($self:expr, $index:ident, any $any:ident => $work:expr) => {{
        let id = |id: ItemId| AnyKey::Number(id.into());
        each!(@one $self, $index, $any = id, AnyKey::Number, AnyKey::Text, AnyKey::Bytes,
            AnyKey::Uuid => $work)
    }};
    ($self:expr, $index:ident, key $key:ident => $work:expr) => {{
        let ($key, name) = ($key.into(), $self.name());
        each!(@one $self, $index, $key = $key.id(name)?, $key.number(name)?, $key.text(name)?,
            $key.bytes(name)?, $key.uuid(name)? => $work)
    }};
    (@one $self:expr, $index:ident, $it:ident =
        $id:expr, $number:expr, $text:expr, $bytes:expr, $uuid:expr => $work:expr) => {
        match $self {
            AnyIndex::Ids($index) => {
                let $it = $id;
                $work
            }
            AnyIndex::Numbers($index) => {
                let $it = $number;
                $work
            }
            AnyIndex::Texts($index) => {
                let $it = $text;
                $work
            }
            AnyIndex::Bytes($index) => {
                let $it = $bytes;
                $work
            }
            AnyIndex::Uuids($index) => {
                let $it = $uuid;
                $work
            }
        }
    };
}

impl AnyIndex {
    /// Creates an index of the type that a value tells: see [`Index::create`].
    ///
    /// # Errors
    /// [`UnknownType`](Error::UnknownType) if there is no such metric or no such form of it, and
    /// those of [`Index::create`].
    pub fn create(path: impl AsRef<Path>, of: &AnyType, options: Options) -> Result<Self> {
        let expected = of.expected(&options)?;
        Self::of(Shared::create_or(path.as_ref(), &options, expected, |name, env| {
            Err(Error::NameTaken { name: name.to_owned(), path: env.folder().to_owned() })
        })?)
    }

    /// Opens an index of the type that a value tells, or creates it: see
    /// [`Index::open_or_create`].
    ///
    /// # Errors
    /// As [`create`](Self::create) and [`Index::open_or_create`].
    pub fn open_or_create(path: impl AsRef<Path>, of: &AnyType, options: Options) -> Result<Self> {
        let expected = of.expected(&options)?;
        Self::of(Shared::create_or(path.as_ref(), &options, expected, |_, _| Ok(()))?)
    }

    /// Opens an existing index of any type. The options give its name, and can state what it is
    /// expected to be, as for [`Index::open`].
    ///
    /// # Errors
    /// As [`Index::open`], without those about types; [`Corrupt`](Error::Corrupt) if its metadata
    /// cannot be read. [`TornEdit`](Error::TornEdit) is returned by later calls, not by this one.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        Self::of(Shared::open(path.as_ref(), &options, Access::Write, None)?)
    }

    /// As [`open`](Self::open), for searches only: see [`Index::open_read_only`].
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_read_only(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        Self::of(Shared::open(path.as_ref(), &options, Access::Read, None)?)
    }

    fn of(shared: Shared) -> Result<Self> {
        Ok(match shared.entry.naming {
            Naming::Ids => Self::Ids(Index::of(Ok(shared))?),
            Naming::U64 => Self::Numbers(Index::of(Ok(shared))?),
            Naming::Text => Self::Texts(Index::of(Ok(shared))?),
            Naming::Bytes => Self::Bytes(Index::of(Ok(shared))?),
            Naming::Uuid => Self::Uuids(Index::of(Ok(shared))?),
        })
    }

    /// The name of the index in its folder.
    #[must_use]
    pub fn name(&self) -> &str {
        each!(self, index => index.name())
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        each!(self, index => index.path())
    }

    /// The name of the metric.
    #[must_use]
    pub fn metric(&self) -> &'static str {
        each!(self, index => index.metric().name())
    }

    /// Whether vectors can be added and searched: whether the metric ships with voisin, or was
    /// passed in the options.
    #[must_use]
    pub fn is_metric_known(&self) -> bool {
        each!(self, index => index.metric().is_known)
    }

    /// The element type (form) of stored vectors: `"f32"`, `"f16"`, `"bf16"`, `"i8"`, `"bits"` or
    /// `"signs"`.
    #[must_use]
    pub fn form(&self) -> &'static str {
        each!(self, index => index.metric().codec_name)
    }

    /// The kind of names of its items: `"u32 ids"`, `"u64 keys"`, `"string keys"`, `"byte keys"` or
    /// `"UUID keys"`.
    #[must_use]
    pub fn naming(&self) -> &'static str {
        match self {
            Self::Ids(_) => Naming::Ids.describe(),
            Self::Numbers(_) => Naming::U64.describe(),
            Self::Texts(_) => Naming::Text.describe(),
            Self::Bytes(_) => Naming::Bytes.describe(),
            Self::Uuids(_) => Naming::Uuid.describe(),
        }
    }

    /// The number of components of every vector.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        each!(self, index => index.dimensions())
    }

    /// The number of items.
    ///
    /// # Errors
    /// As [`Index::snapshot`].
    pub fn len(&self) -> Result<u64> {
        each!(self, index => Ok(index.snapshot()?.len()))
    }

    /// Whether the index has no items.
    ///
    /// # Errors
    /// As [`Index::snapshot`].
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Returns the items nearest to a vector, the nearest first, with default options. For other
    /// options, match the handle and use [`Index::search`].
    ///
    /// # Errors
    /// As [`Query::by_vector`](crate::Query::by_vector), and
    /// [`UnknownMetric`](Error::UnknownMetric).
    pub fn search(&self, vector: &[impl Component], k: usize) -> Result<Searched<AnyKey>> {
        each!(self, index, any any => {
            index.search(k).by_vector(vector)?.name(|item| Ok(any(item)))
        })
    }

    /// The vector of an item as stored. `None` if there is no such item.
    ///
    /// # Errors
    /// As [`Index::snapshot`]; [`NamingMismatch`](Error::NamingMismatch) if the key is of the wrong
    /// type.
    pub fn vector(&self, key: impl Into<AnyKey>) -> Result<Option<Vec<f32>>> {
        each!(self, index, key key => index.snapshot()?.vector(key))
    }

    /// The names of all items, in their order.
    ///
    /// # Errors
    /// As [`Index::snapshot`].
    pub fn keys(&self) -> Result<Vec<AnyKey>> {
        match self {
            Self::Ids(index) => {
                let ids = index.snapshot()?.ids()?;
                Ok(ids.iter().map(|id| AnyKey::Number(id.into())).collect())
            }
            Self::Numbers(index) => keys_in(index),
            Self::Texts(index) => keys_in(index),
            Self::Bytes(index) => keys_in(index),
            Self::Uuids(index) => keys_in(index),
        }
    }

    /// Adds an item, or replaces its vector, links it and commits. To add many, one
    /// [`Index::write`] or an [`Index::loader`] is faster.
    ///
    /// # Errors
    /// As [`Index::write`] and [`Batch::add`]; [`NamingMismatch`](Error::NamingMismatch) if the key
    /// is of the wrong type, [`UnknownMetric`](Error::UnknownMetric).
    pub fn add(&self, key: impl Into<AnyKey>, vector: &[impl Component]) -> Result<()> {
        each!(self, index, key key => index.write(|batch| batch.add(key, vector)))
    }

    /// Adds an item with a record of bytes, or replaces its vector and its record, links it and
    /// commits: as [`add`](Self::add), which keeps the record that an item has.
    ///
    /// # Errors
    /// As [`add`](Self::add) and [`Batch::add_with_record`].
    pub fn add_with_record(
        &self,
        key: impl Into<AnyKey>,
        vector: &[impl Component],
        record: &[u8],
    ) -> Result<()> {
        each!(self, index, key key => {
            index.write(|batch| batch.add_with_record(key, vector, record))
        })
    }

    /// Sets the record of an item, without touching its vector, and commits. `false` if there is no
    /// such item.
    ///
    /// # Errors
    /// As [`delete`](Self::delete) and [`Batch::set_record`].
    pub fn set_record(&self, key: impl Into<AnyKey>, record: &[u8]) -> Result<bool> {
        each!(self, index, key key => index.write(|batch| batch.set_record(key, record)))
    }

    /// Deletes the record of an item, leaves the item, and commits. `false` if it has none.
    ///
    /// # Errors
    /// As [`delete`](Self::delete).
    pub fn remove_record(&self, key: impl Into<AnyKey>) -> Result<bool> {
        each!(self, index, key key => index.write(|batch| batch.remove_record(key)))
    }

    /// The record of an item. `None` if it has none, or if there is no such item.
    ///
    /// # Errors
    /// As [`vector`](Self::vector).
    pub fn record(&self, key: impl Into<AnyKey>) -> Result<Option<Vec<u8>>> {
        each!(self, index, key key => index.snapshot()?.record(key))
    }

    /// Deletes an item and commits. `false` if there is none.
    ///
    /// # Errors
    /// As [`Index::write`]; [`NamingMismatch`](Error::NamingMismatch) if the key is of the wrong
    /// type.
    pub fn delete(&self, key: impl Into<AnyKey>) -> Result<bool> {
        each!(self, index, key key => index.write(|batch| batch.delete(key)))
    }

    /// Deletes an item, and erases what it leaves: see [`Index::erase`].
    ///
    /// # Errors
    /// As [`delete`](Self::delete) and [`Index::erase`].
    pub fn erase(&self, key: impl Into<AnyKey>) -> Result<bool> {
        each!(self, index, key key => Ok(index.erase([key])? > 0))
    }

    /// Erases all items for which a condition holds: see [`Index::erase_matching`].
    ///
    /// # Errors
    /// As [`Index::erase_matching`].
    pub fn erase_matching(&self, condition: &Condition) -> Result<u64> {
        each!(self, index => index.erase_matching(condition))
    }

    /// Trains the scale of an index that stores `i8`: see [`Index::train`].
    ///
    /// # Errors
    /// As [`Index::train`], and [`NoTraining`](Error::NoTraining) if it stores another form.
    pub fn train(&self, sample: &[impl Component]) -> Result<TrainedRange> {
        each!(self, index => index.train(sample))
    }

    /// Adds a field by which items can be filtered, and commits: see [`Batch::add_field`].
    ///
    /// # Errors
    /// As [`Batch::add_field`] and [`Index::write`].
    pub fn add_field(&self, field: Field) -> Result<()> {
        each!(self, index => {
            index.write(|batch: &mut Batch<'_, _, _>| batch.add_field(field.clone()))
        })
    }

    /// Drops a field, and commits.
    ///
    /// # Errors
    /// As [`Batch::drop_field`] and [`Index::write`].
    pub fn drop_field(&self, name: &str) -> Result<()> {
        each!(self, index => index.write(|batch: &mut Batch<'_, _, _>| batch.drop_field(name)))
    }

    /// The fields of the index.
    ///
    /// # Errors
    /// As [`Index::snapshot`].
    pub fn fields(&self) -> Result<Vec<Field>> {
        each!(self, index => index.snapshot()?.fields())
    }

    /// The number of items for which a condition holds.
    ///
    /// # Errors
    /// As [`Snapshot::count`](super::Snapshot::count).
    pub fn count(&self, condition: &Condition) -> Result<u64> {
        each!(self, index => index.snapshot()?.count(condition))
    }

    /// The values of a field, each with the number of items that have it, the most frequent first:
    /// of all items, or of those for which a condition holds.
    ///
    /// # Errors
    /// As [`Snapshot::count`](super::Snapshot::count).
    pub fn facet(&self, field: &str, among: Option<&Condition>) -> Result<Vec<(FieldValue, u64)>> {
        each!(self, index => {
            let snapshot = index.snapshot()?;
            match among {
                Some(condition) => snapshot.facet_among(field, condition),
                None => snapshot.facet(field),
            }
        })
    }

    /// The names of the items for which a condition holds, in no order.
    ///
    /// # Errors
    /// As [`Snapshot::count`](super::Snapshot::count).
    pub fn keys_of(&self, condition: &Condition) -> Result<Vec<AnyKey>> {
        match self {
            Self::Ids(index) => {
                let ids = index.snapshot()?.ids_of(condition)?;
                Ok(ids.iter().map(|id| AnyKey::Number(id.into())).collect())
            }
            Self::Numbers(index) => matching_in(index, condition),
            Self::Texts(index) => matching_in(index, condition),
            Self::Bytes(index) => matching_in(index, condition),
            Self::Uuids(index) => matching_in(index, condition),
        }
    }

    /// Deletes all items for which a condition holds, and commits. Returns how many there were.
    ///
    /// # Errors
    /// As [`Batch::delete_matching`] and [`Index::write`].
    pub fn delete_matching(&self, condition: &Condition) -> Result<u64> {
        each!(self, index => index.write(|batch| batch.delete_matching(condition)))
    }

    /// Chooses the quantized codes of the index, or none: see [`Batch::set_codes`].
    ///
    /// # Errors
    /// As [`Batch::set_codes`] and [`Index::write`].
    pub fn set_codes(&self, codes: Option<Codes>) -> Result<()> {
        each!(self, index => index.write(|batch: &mut Batch<'_, _, _>| batch.set_codes(codes)))
    }

    /// See [`Index::kinds`].
    ///
    /// # Errors
    /// As [`Index::kinds`].
    pub fn kinds(&self) -> Result<Vec<IndexKind>> {
        each!(self, index => index.kinds())
    }

    /// See [`Index::add_kind`].
    ///
    /// # Errors
    /// As [`Index::add_kind`], and [`UnknownMetric`](Error::UnknownMetric).
    pub fn add_kind(&self, kind: IndexKind) -> Result<bool> {
        each!(self, index => index.add_kind(kind))
    }

    /// See [`Index::drop_kind`].
    ///
    /// # Errors
    /// As [`Index::drop_kind`].
    pub fn drop_kind(&self, kind: IndexKind) -> Result<bool> {
        each!(self, index => index.drop_kind(kind))
    }

    /// See [`Index::stats`].
    ///
    /// # Errors
    /// As [`Index::stats`].
    pub fn stats(&self) -> Result<Stats> {
        each!(self, index => index.stats())
    }

    /// See [`Index::check`].
    ///
    /// # Errors
    /// As [`Index::check`].
    pub fn check(&self) -> Result<Vec<Finding>> {
        each!(self, index => index.check())
    }

    /// See [`Index::copy_to`].
    ///
    /// # Errors
    /// As [`Index::copy_to`].
    pub fn copy_to(&self, path: impl AsRef<Path>) -> Result<u64> {
        each!(self, index => index.copy_to(path))
    }

    /// See [`Index::link`].
    ///
    /// # Errors
    /// As [`Index::link`], and [`UnknownMetric`](Error::UnknownMetric).
    pub fn link(&self) -> Result<()> {
        each!(self, index => index.link())
    }

    /// See [`Index::optimize`].
    ///
    /// # Errors
    /// As [`Index::optimize`], and [`UnknownMetric`](Error::UnknownMetric).
    pub fn optimize(&self) -> Result<()> {
        each!(self, index => index.optimize())
    }

    /// See [`Index::calibrate`].
    ///
    /// # Errors
    /// As [`Index::calibrate`], and [`UnknownMetric`](Error::UnknownMetric).
    pub fn calibrate(&self) -> Result<()> {
        each!(self, index => index.calibrate())
    }

    /// See [`Index::remove_if_empty`].
    ///
    /// # Errors
    /// As [`Index::remove_if_empty`].
    pub fn remove_if_empty(&self) -> Result<bool> {
        each!(self, index => index.remove_if_empty())
    }

    /// See [`Index::repair`].
    ///
    /// # Errors
    /// As [`Index::repair`].
    pub fn repair(&self) -> Result<bool> {
        each!(self, index => index.repair())
    }
}

/// The keys of all items, in their order.
fn keys_in<K>(index: &Index<AnyMetric, K>) -> Result<Vec<AnyKey>>
where
    K: ItemKey<Owned: Into<AnyKey>> + ?Sized,
{
    index.snapshot()?.keys()?.map(|key| key.map(Into::into)).collect()
}

/// The keys of the items for which a condition holds.
fn matching_in<K>(index: &Index<AnyMetric, K>, condition: &Condition) -> Result<Vec<AnyKey>>
where
    K: ItemKey<Owned: Into<AnyKey>> + ?Sized,
{
    Ok(index.snapshot()?.keys_of(condition)?.into_iter().map(Into::into).collect())
}

impl<K: ItemName + ?Sized> Index<AnyMetric, K> {
    /// Trains the scale of an index that stores `i8`: see [`train`](Index::train) of an index
    /// whose type says so.
    ///
    /// # Errors
    /// [`NoTraining`](Error::NoTraining) if it stores another form, and as
    /// [`Writer::train`](crate::Writer::train) and [`write`](Self::write).
    pub fn train(&self, sample: &[impl Component]) -> Result<TrainedRange> {
        self.write(|batch| batch.train(sample))
    }
}

impl<K: ?Sized> Batch<'_, AnyMetric, K> {
    /// Trains the scale of an index that stores `i8`: see
    /// [`Writer::train`](crate::Writer::train).
    ///
    /// # Errors
    /// [`NoTraining`](Error::NoTraining) if it stores another form, and as
    /// [`Writer::train`](crate::Writer::train).
    pub fn train(&mut self, sample: &[impl Component]) -> Result<TrainedRange> {
        let metric = self.writes.place().metric;
        if !metric.is_trained {
            return Err(Error::NoTraining { form: metric.codec_name });
        }
        self.writes.change(|writer, txn| writer.train_by(txn, sample))
    }
}

impl fmt::Debug for AnyIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        each!(self, index => index.fmt(f))
    }
}
