//! The changes that a batch keeps until it is committed, and how they are queued: alike for an
//! index and for a tenant of it, but for the names of items.

use pyo3::prelude::*;
use voisin::Condition;

use crate::batch::PyBatch;
use crate::names::Name;
use crate::records::{self, Record};
use crate::vectors::{Given, Raw, given};
use crate::write::{Change, names_for, set_for, some_names};

/// Names of items, whatever they are.
pub(crate) enum Names {
    Ids(Vec<voisin::ItemId>),
    Numbers(Vec<u64>),
    Texts(Vec<String>),
    Bytes(Vec<Vec<u8>>),
    Uuids(Vec<[u8; 16]>),
}

impl Names {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Ids(names) => names.len(),
            Self::Numbers(names) => names.len(),
            Self::Texts(names) => names.len(),
            Self::Bytes(names) => names.len(),
            Self::Uuids(names) => names.len(),
        }
    }
}

/// Vectors that a batch keeps.
pub(crate) enum Rows {
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl Rows {
    fn of(given: &Given<'_>, dimensions: usize) -> Self {
        match given.raw() {
            Raw::F64(all) => Self::F64(all.to_vec()),
            raw => Self::F32(raw.floats(0..given.count(), dimensions).into_owned()),
        }
    }

    fn raw(&self) -> Raw<'_> {
        match self {
            Self::F32(all) => Raw::F32(all),
            Self::F64(all) => Raw::F64(all),
        }
    }
}

/// Records that a batch keeps.
pub(crate) type Records = Option<Vec<Record>>;

pub(crate) enum Queued {
    Add(Names, Rows, Records),
    Update(Names, Rows, Records),
    Delete(Names),
    DeleteMatching(Condition),
    SetRecords(Names, Vec<Record>),
    DropTenants(Names),
    /// Its name and the new one.
    RenameTenant(Names),
}

/// The names of one item or many, as many as there are vectors, where some are given.
pub(crate) fn some_or_for<K: Name + ?Sized>(
    ids: &Bound<'_, PyAny>,
    given: Option<&Given<'_>>,
) -> PyResult<Vec<K::Owned>> {
    given.map_or_else(|| some_names::<K>(ids), |given| names_for::<K>(ids, given))
}

/// The changes that wait, of an index whose items are named by `K`.
pub(crate) fn changes<K: Name + ?Sized>(queued: &[Queued]) -> Vec<Change<'_, K>> {
    // An index has one kind of names.
    let names = |names| K::of_names(names).unwrap_or_default();
    queued
        .iter()
        .map(|change| match change {
            Queued::Add(of, rows, records) => {
                Change::<K>::Add(names(of), rows.raw(), records.as_deref())
            }
            Queued::Update(of, rows, records) => {
                Change::Update(names(of), rows.raw(), records.as_deref())
            }
            Queued::Delete(of) => Change::Delete(names(of)),
            Queued::DeleteMatching(condition) => Change::DeleteMatching(condition),
            Queued::SetRecords(of, records) => Change::SetRecords(names(of), records),
            Queued::DropTenants(of) => Change::DropTenants(names(of)),
            Queued::RenameTenant(of) => Change::RenameTenant(names(of)),
        })
        .collect()
}

/// What queues changes: a batch, or a tenant in one. They differ in how ids become names.
pub(crate) trait Queue {
    /// The batch.
    fn batch<'a>(&'a self, py: Python<'a>) -> &'a PyBatch;

    /// The names of items in the index, as many as there are vectors, where some are given.
    fn names(&self, ids: &Bound<'_, PyAny>, given: Option<&Given<'_>>) -> PyResult<Names>;

    /// Queues the change that `change` makes of items with vectors.
    fn put(
        &self,
        ids: &Bound<'_, PyAny>,
        vectors: &Bound<'_, PyAny>,
        records: Option<&Bound<'_, PyAny>>,
        change: fn(Names, Rows, Records) -> Queued,
    ) -> PyResult<()> {
        let batch = self.batch(ids.py());
        let shape = batch.searcher(ids.py()).get().shape();
        let given = given(vectors, shape)?;
        let records = records::take_for(records, &given)?;
        let names = self.names(ids, Some(&given))?;
        batch.queue(ids.py(), change(names, Rows::of(&given, shape.dimensions), records))
    }

    /// Queues records of existing items.
    fn set(&self, ids: &Bound<'_, PyAny>, records: &Bound<'_, PyAny>) -> PyResult<()> {
        let (names, records) = (self.names(ids, None)?, set_for(ids, records)?);
        if names.len() != records.len() {
            return Err(records::mismatch(ids.py(), names.len(), records.len()));
        }
        self.batch(ids.py()).queue(ids.py(), Queued::SetRecords(names, records))
    }
}

/// The methods of a class that queues changes.
macro_rules! queues {
    ($class:ty) => {
        #[pymethods]
        impl $class {
            /// Adds items, or replaces their vectors: see `Index.add`.
            #[pyo3(signature = (ids, vectors, records = None))]
            fn add(
                &self,
                ids: &Bound<'_, PyAny>,
                vectors: &Bound<'_, PyAny>,
                records: Option<&Bound<'_, PyAny>>,
            ) -> PyResult<()> {
                self.put(ids, vectors, records, Queued::Add)
            }

            /// Replaces the vectors of existing items: see `Index.update`.
            #[pyo3(signature = (ids, vectors, records = None))]
            fn update(
                &self,
                ids: &Bound<'_, PyAny>,
                vectors: &Bound<'_, PyAny>,
                records: Option<&Bound<'_, PyAny>>,
            ) -> PyResult<()> {
                self.put(ids, vectors, records, Queued::Update)
            }

            /// Sets the records of existing items: see `Index.set_record`.
            fn set_record(
                &self,
                ids: &Bound<'_, PyAny>,
                records: &Bound<'_, PyAny>,
            ) -> PyResult<()> {
                self.set(ids, records)
            }
        }
    };
}

pub(crate) use queues;
