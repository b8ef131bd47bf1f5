//! Changes: one write transaction for each call, and batches of calls that are written as a whole.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use voisin::{AnyMetric, Batch, Error};

use crate::asked::missing;
use crate::errors::{raised, refused};
use crate::handle::{Held, Searcher};
use crate::index::Index;
use crate::names::{Handle, Name, is_one};
use crate::vectors::{Given, Raw, given};
use crate::watch::Watch;

/// Rows that are added between two looks at whether the call was cancelled: some ten milliseconds.
const ROWS_TOGETHER: usize = 4096;

/// One change of a write.
pub(crate) enum Change<'a, K: Name + ?Sized> {
    /// Adds items, or replaces their vectors.
    Add(&'a [K::Owned], Raw<'a>),
    /// Replaces the vectors of existing items.
    Update(&'a [K::Owned], Raw<'a>),
    Delete(&'a [K::Owned]),
}

/// Why a write has changed nothing.
enum Failure {
    Voisin(Error),
    /// The item, by its change and its place there, does not exist.
    Missing(usize, usize),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Voisin(error)
    }
}

/// Makes changes in one write transaction. Returns how many items were deleted.
pub(crate) fn write<K: Name + ?Sized>(
    py: Python<'_>,
    index: &Handle<K>,
    changes: &[Change<'_, K>],
    links: bool,
) -> PyResult<u64> {
    let watch = Arc::new(Watch::new(None));
    let written = watch.run_any(py, || {
        index.try_write(|batch| {
            let cancel = Arc::clone(&watch);
            batch.cancel(move || cancel.is_over());
            if !links {
                batch.link_later();
            }
            let mut deleted = 0;
            for (number, change) in changes.iter().enumerate() {
                deleted += make(batch, change, index.dimensions(), &watch, number)?;
            }
            Ok(deleted)
        })
    })?;
    written.map_err(|failure| match failure {
        Failure::Voisin(error) => raised(py, &error),
        Failure::Missing(change, at) => match &changes[change] {
            Change::Add(names, _) | Change::Update(names, _) | Change::Delete(names) => {
                missing(&K::show_owned(py, &names[at]))
            }
        },
    })
}

fn make<K: Name + ?Sized>(
    batch: &mut Batch<'_, AnyMetric, K>,
    change: &Change<'_, K>,
    dimensions: usize,
    watch: &Watch,
    number: usize,
) -> Result<u64, Failure> {
    let (names, raw) = match change {
        Change::Add(names, raw) => (names, *raw),
        Change::Update(names, raw) => {
            for (at, name) in names.iter().enumerate() {
                if !K::has(batch, name)? {
                    return Err(Failure::Missing(number, at));
                }
            }
            (names, *raw)
        }
        Change::Delete(names) => return Ok(K::delete(batch, names)?),
    };
    for (part, names) in names.chunks(ROWS_TOGETHER).enumerate() {
        if watch.is_over() {
            return Err(Error::Cancelled.into());
        }
        let rows = part * ROWS_TOGETHER..part * ROWS_TOGETHER + names.len();
        match raw {
            Raw::F64(all) => {
                K::add(batch, names, &all[rows.start * dimensions..rows.end * dimensions])?;
            }
            raw => K::add(batch, names, &raw.floats(rows, dimensions))?,
        }
    }
    Ok(0)
}

/// The names of one item or many, as many as there are vectors.
pub(crate) fn names_for<K: Name + ?Sized>(
    ids: &Bound<'_, PyAny>,
    given: &Given<'_>,
) -> PyResult<Vec<K::Owned>> {
    let names = match given.rows {
        None => vec![K::take_one(ids)?],
        Some(_) => K::take(ids)?,
    };
    if names.len() == given.count() {
        return Ok(names);
    }
    let message = format!(
        "{} ids and {} vectors were given: give as many rows as ids",
        names.len(),
        given.count()
    );
    Err(refused(ids.py(), "LengthMismatch", &message))
}

/// The names of one item or many.
pub(crate) fn some_names<K: Name + ?Sized>(ids: &Bound<'_, PyAny>) -> PyResult<Vec<K::Owned>> {
    if is_one(ids) { Ok(vec![K::take_one(ids)?]) } else { K::take(ids) }
}

/// Names of items, whatever they are.
pub(crate) enum Names {
    Ids(Vec<voisin::ItemId>),
    Numbers(Vec<u64>),
    Texts(Vec<String>),
}

/// Vectors that a batch keeps.
enum Rows {
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

enum Queued {
    Add(Names, Rows),
    Update(Names, Rows),
    Delete(Names),
}

/// Changes that are committed as a whole, when the `with` block ends, or not at all, if it ends
/// with an exception. `Index.batch` makes one.
///
/// They wait until then, with copies of the vectors: searches do not see them, and other writers
/// are not held up. They are made in one write transaction, in the order of the calls.
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
    /// `None` once it was committed or discarded.
    queued: Mutex<Option<Vec<Queued>>>,
}

impl PyBatch {
    pub(crate) fn new(index: Py<Index>, links: bool) -> Self {
        Self { index, links, queued: Mutex::new(Some(Vec::new())) }
    }

    fn searcher<'py>(&self, py: Python<'py>) -> Bound<'py, Searcher> {
        self.index.bind(py).as_super().clone()
    }

    fn queue(&self, py: Python<'_>, change: Queued) -> PyResult<()> {
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
        fn names<K: Name + ?Sized>(
            ids: &Bound<'_, PyAny>,
            given: Option<&Given<'_>>,
        ) -> PyResult<Vec<K::Owned>> {
            given.map_or_else(|| some_names::<K>(ids), |given| names_for::<K>(ids, given))
        }
        Ok(match self.searcher(ids.py()).get().id_type() {
            "u32" => Names::Ids(names::<voisin::ItemId>(ids, given)?),
            "u64" => Names::Numbers(names::<u64>(ids, given)?),
            _ => Names::Texts(names::<str>(ids, given)?),
        })
    }

    fn rows(&self, ids: &Bound<'_, PyAny>, vectors: &Bound<'_, PyAny>) -> PyResult<(Names, Rows)> {
        let shape = self.searcher(ids.py()).get().shape();
        let given = given(vectors, shape)?;
        Ok((self.names(ids, Some(&given))?, Rows::of(&given, shape.dimensions)))
    }

    fn take(&self) -> Option<Vec<Queued>> {
        self.queued.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

fn write_queued<K: Name + ?Sized>(
    py: Python<'_>,
    index: &Handle<K>,
    queued: &[Queued],
    links: bool,
) -> PyResult<u64> {
    // An index has one kind of names.
    let names = |names| K::of_names(names).unwrap_or_default();
    let changes: Vec<_> = queued
        .iter()
        .map(|change| match change {
            Queued::Add(of, rows) => Change::<K>::Add(names(of), rows.raw()),
            Queued::Update(of, rows) => Change::Update(names(of), rows.raw()),
            Queued::Delete(of) => Change::Delete(names(of)),
        })
        .collect();
    write(py, index, &changes, links)
}

#[pymethods]
impl PyBatch {
    /// Adds items, or replaces their vectors: see `Index.add`.
    fn add(&self, ids: &Bound<'_, PyAny>, vectors: &Bound<'_, PyAny>) -> PyResult<()> {
        let (names, rows) = self.rows(ids, vectors)?;
        self.queue(ids.py(), Queued::Add(names, rows))
    }

    /// Replaces the vectors of existing items: see `Index.update`.
    fn update(&self, ids: &Bound<'_, PyAny>, vectors: &Bound<'_, PyAny>) -> PyResult<()> {
        let (names, rows) = self.rows(ids, vectors)?;
        self.queue(ids.py(), Queued::Update(names, rows))
    }

    /// Deletes items: see `Index.delete`.
    fn delete(&self, ids: &Bound<'_, PyAny>) -> PyResult<()> {
        let names = self.names(ids, None)?;
        self.queue(ids.py(), Queued::Delete(names))
    }

    /// Commits the changes, as the end of the `with` block does, and ends the batch. Returns how
    /// many items were deleted. If it raises, nothing has changed.
    fn commit(&self, py: Python<'_>) -> PyResult<u64> {
        let Some(queued) = self.take() else {
            let message = "this batch has been committed or discarded: begin another one";
            return Err(refused(py, "Closed", message));
        };
        match &self.searcher(py).get().held(py)? {
            Held::Ids(index) => write_queued(py, index, &queued, self.links),
            Held::Numbers(index) => write_queued(py, index, &queued, self.links),
            Held::Texts(index) => write_queued(py, index, &queued, self.links),
            // An index is no snapshot.
            _ => Ok(0),
        }
    }

    /// Drops the changes.
    fn discard(&self) {
        drop(self.take());
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
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
            _ => {
                self.discard();
                Ok(())
            }
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
