//! Batches: calls that are written as a whole. Those of tenants are in `batch_tenant.rs`.

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use voisin::Condition;

use crate::conditions::condition;
use crate::errors::refused;
use crate::handle::{Held, Searcher};
use crate::index::Index;
use crate::names::{Handle, Name};
use crate::records::{self, Record};
use crate::vectors::{Given, Raw, given};
use crate::write::{Change, Deleted, names_for, one_of, set_for, some_names, write};

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

/// Changes that are committed as a whole, when the `with` block ends, or not at all, if it ends
/// with an exception. `Index.batch` makes one.
///
/// They wait until then, with copies of the vectors: searches do not see them, and other writers
/// are not held up. They are made in one write transaction, in the order of the calls. `tenant`
/// changes the items of a tenant.
///
/// >>> import tempfile, voisin
/// >>> index = voisin.create(tempfile.mkdtemp(), 2)
/// >>> with index.batch() as batch:
/// ...     batch.add([1, 2], [[0.9, 0.1], [0.2, 0.8]])
/// ...     batch.delete(1)
/// >>> index.ids()
/// array([2])
/// >>> with index.batch() as batch:
/// ...     batch.delete(2)
/// ...     raise ValueError("nothing of this is committed")
/// Traceback (most recent call last):
/// ...
/// ValueError: nothing of this is committed
/// >>> 2 in index
/// True
#[pyclass(name = "Batch", module = "voisin", frozen)]
pub(crate) struct PyBatch {
    pub(crate) index: Py<Index>,
    pub(crate) links: bool,
    /// Whether it is a part of a write to a folder, which commits it.
    is_part: bool,
    /// `None` once it was committed or discarded.
    queued: Mutex<Option<Vec<Queued>>>,
}

impl PyBatch {
    pub(crate) fn new(index: Py<Index>, links: bool) -> Self {
        Self { index, links, is_part: false, queued: Mutex::new(Some(Vec::new())) }
    }

    /// A part of a write to a folder.
    pub(crate) fn part(index: Py<Index>, links: bool) -> Self {
        Self { is_part: true, ..Self::new(index, links) }
    }

    /// # Errors
    /// `InvalidParameter` for a part of a write to a folder.
    fn check_whole(&self, py: Python<'_>) -> PyResult<()> {
        if !self.is_part {
            return Ok(());
        }
        let message = "this batch is a part of Folder.write: end that, which commits all of it";
        Err(refused(py, "InvalidParameter", message))
    }

    pub(crate) fn searcher<'py>(&self, py: Python<'py>) -> Bound<'py, Searcher> {
        self.index.bind(py).as_super().clone()
    }

    pub(crate) fn queue(&self, py: Python<'_>, change: Queued) -> PyResult<()> {
        match &mut *self.queued.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(queued) => queued.push(change),
            None => {
                let message = "this batch has been committed or discarded: begin another one";
                return Err(refused(py, "Closed", message));
            }
        }
        Ok(())
    }

    fn names(&self, ids: &Bound<'_, PyAny>, given: Option<&Given<'_>>) -> PyResult<Names> {
        Ok(match self.searcher(ids.py()).get().id_type() {
            "u32" => Names::Ids(some_or_for::<voisin::ItemId>(ids, given)?),
            "u64" => Names::Numbers(some_or_for::<u64>(ids, given)?),
            "bytes" => Names::Bytes(some_or_for::<[u8]>(ids, given)?),
            "uuid" => Names::Uuids(some_or_for::<[u8; 16]>(ids, given)?),
            _ => Names::Texts(some_or_for::<str>(ids, given)?),
        })
    }

    /// Items to be added, by the names that `names` makes for as many vectors.
    pub(crate) fn rows(
        &self,
        vectors: &Bound<'_, PyAny>,
        records: Option<&Bound<'_, PyAny>>,
        names: impl FnOnce(&Given<'_>) -> PyResult<Names>,
    ) -> PyResult<(Names, Rows, Records)> {
        let shape = self.searcher(vectors.py()).get().shape();
        let given = given(vectors, shape)?;
        let records = records::take_for(records, &given)?;
        Ok((names(&given)?, Rows::of(&given, shape.dimensions), records))
    }

    pub(crate) fn take(&self) -> Option<Vec<Queued>> {
        self.queued.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
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

fn write_queued<K: Name + ?Sized>(
    py: Python<'_>,
    index: &Handle<K>,
    queued: &[Queued],
    links: bool,
) -> PyResult<u64> {
    write(py, index, &changes(queued), links)
}

#[pymethods]
impl PyBatch {
    /// Adds items, or replaces their vectors: see `Index.add`.
    #[pyo3(signature = (ids, vectors, records = None))]
    fn add(
        &self,
        ids: &Bound<'_, PyAny>,
        vectors: &Bound<'_, PyAny>,
        records: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let named = |given: &Given<'_>| self.names(ids, Some(given));
        let (names, rows, records) = self.rows(vectors, records, named)?;
        self.queue(ids.py(), Queued::Add(names, rows, records))
    }

    /// Replaces the vectors of existing items: see `Index.update`.
    #[pyo3(signature = (ids, vectors, records = None))]
    fn update(
        &self,
        ids: &Bound<'_, PyAny>,
        vectors: &Bound<'_, PyAny>,
        records: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let named = |given: &Given<'_>| self.names(ids, Some(given));
        let (names, rows, records) = self.rows(vectors, records, named)?;
        self.queue(ids.py(), Queued::Update(names, rows, records))
    }

    /// Sets the records of existing items: see `Index.set_record`.
    fn set_record(&self, ids: &Bound<'_, PyAny>, records: &Bound<'_, PyAny>) -> PyResult<()> {
        let (names, records) = (self.names(ids, None)?, set_for(ids, records)?);
        if names.len() != records.len() {
            return Err(records::mismatch(ids.py(), names.len(), records.len()));
        }
        self.queue(ids.py(), Queued::SetRecords(names, records))
    }

    /// Deletes items, by their ids or by a condition: see `Index.delete`.
    #[pyo3(signature = (ids = None, *, filter = None))]
    fn delete(
        &self,
        py: Python<'_>,
        ids: Option<&Bound<'_, PyAny>>,
        filter: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let change = match one_of(py, ids, filter)? {
            Deleted::Ids(ids) => Queued::Delete(self.names(ids, None)?),
            Deleted::Matching(filter) => {
                Queued::DeleteMatching(condition(filter)?.condition().clone())
            }
        };
        self.queue(py, change)
    }

    /// Commits the changes, as the end of the `with` block does, and ends the batch. Returns how
    /// many items were deleted. If it raises, nothing has changed.
    fn commit(&self, py: Python<'_>) -> PyResult<u64> {
        self.check_whole(py)?;
        let Some(queued) = self.take() else {
            let message = "this batch has been committed or discarded: begin another one";
            return Err(refused(py, "Closed", message));
        };
        match &self.searcher(py).get().held(py)? {
            Held::Ids(index) => write_queued(py, index, &queued, self.links),
            Held::Numbers(index) => write_queued(py, index, &queued, self.links),
            Held::Texts(index) => write_queued(py, index, &queued, self.links),
            Held::Bytes(index) => write_queued(py, index, &queued, self.links),
            Held::Uuids(index) => write_queued(py, index, &queued, self.links),
            // An index is no snapshot.
            _ => Ok(0),
        }
    }

    /// Drops the changes.
    fn discard(&self, py: Python<'_>) -> PyResult<()> {
        self.check_whole(py)?;
        drop(self.take());
        Ok(())
    }

    fn __enter__(slf: Py<Self>, py: Python<'_>) -> PyResult<Py<Self>> {
        slf.get().check_whole(py)?;
        Ok(slf)
    }

    fn __exit__(
        &self,
        py: Python<'_>,
        error: &Bound<'_, PyAny>,
        _value: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let is_open = self.queued.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        match (error.is_none(), is_open) {
            (true, true) => self.commit(py).map(drop),
            _ => self.discard(py),
        }
    }

    /// The number of changes that wait.
    fn __len__(&self) -> usize {
        let queued = self.queued.lock().unwrap_or_else(PoisonError::into_inner);
        queued.as_ref().map_or(0, Vec::len)
    }

    /// A batch is true, whether or not changes wait.
    fn __bool__(&self) -> bool {
        true
    }

    fn __repr__(&self) -> String {
        format!("<Batch of {} changes>", self.__len__())
    }
}
