//! Writes to a folder: calls for several indexes and tables that are written as a whole.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use voisin::FolderTxn;

use crate::batch::PyBatch;
use crate::errors::refused;
use crate::folder::{Folder, Which};
use crate::held::Held;
use crate::names::{Handle, Name};
use crate::queue::{Queued, changes};
use crate::tables::{Row, Rows, TableWrite};
use crate::texts;
use crate::watch::Watch;
use crate::write::{Failure, make_all};

/// Changes of several indexes and tables of a folder, which are committed as a whole when the
/// `with` block ends, or not at all, if it ends with an exception. `Folder.write` makes one.
///
/// They wait until then, as those of a `Batch` do, and are made in one write transaction, those of
/// each index and of each table in the order of the calls.
///
/// >>> import tempfile, voisin
/// >>> path = tempfile.mkdtemp()
/// >>> one = voisin.create(path, 2, name="one")
/// >>> two = voisin.create(path, 2, name="two")
/// >>> with one.folder().write() as txn:
/// ...     txn[one].add(1, [0.9, 0.1])
/// ...     txn["two"].add(1, [0.1, 0.9])
/// >>> len(one), len(two), one.snapshot().commit == two.snapshot().commit
/// (1, 1, True)
/// >>> with one.folder().write() as txn:
/// ...     txn[one].delete(1)
/// ...     raise ValueError("nothing of this is committed")
/// Traceback (most recent call last):
/// ...
/// ValueError: nothing of this is committed
/// >>> 1 in one
/// True
#[pyclass(module = "voisin", frozen)]
pub(crate) struct FolderWrite {
    folder: Py<Folder>,
    links: bool,
    /// How long the commit waits for other writers, if not as long as it takes.
    patience: Option<Duration>,
    /// `None` once it was committed or discarded.
    parts: Mutex<Option<Parts>>,
    rows: Rows,
}

/// The indexes, by name.
type Parts = Vec<(String, Py<PyBatch>)>;

/// The changes of an index.
struct Part {
    held: Held,
    queued: Vec<Queued>,
}

fn ended(py: Python<'_>) -> PyErr {
    refused(py, "Closed", "this write has been committed or discarded: begin another one")
}

impl FolderWrite {
    pub(crate) fn new(folder: Py<Folder>, links: bool, patience: Option<Duration>) -> Self {
        let rows = Arc::new(Mutex::new(Some(Vec::new())));
        Self { folder, links, patience, parts: Mutex::new(Some(Vec::new())), rows }
    }

    fn take(&self) -> Option<(Parts, Vec<Row>)> {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner).take();
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner).take();
        parts.zip(rows)
    }

    /// Writes the changes. `is_done` tells whether they were committed.
    fn written(
        &self,
        py: Python<'_>,
        folder: &voisin::Folder,
        (parts, rows): (&[Part], &[Row]),
        is_done: &AtomicBool,
    ) -> PyResult<u64> {
        let (links, watch) = (self.links, Arc::new(Watch::patient(self.patience)));
        let written = watch.write_any(py, || {
            let written = folder.try_write(|txn| -> Result<u64, Failure> {
                let mut deleted = 0;
                for Part { held, queued } in parts {
                    deleted += match held {
                        Held::Ids(index) => make(txn, index, queued, links, &watch)?,
                        Held::Numbers(index) => make(txn, index, queued, links, &watch)?,
                        Held::Texts(index) => make(txn, index, queued, links, &watch)?,
                        Held::Bytes(index) => make(txn, index, queued, links, &watch)?,
                        Held::Uuids(index) => make(txn, index, queued, links, &watch)?,
                        // An index is no snapshot.
                        _ => 0,
                    };
                }
                txn.databases(|wtxn| {
                    for (database, key, value) in rows {
                        match value {
                            Some(value) => database.put(wtxn, key, value)?,
                            None => drop(database.delete(wtxn, key)?),
                        }
                    }
                    Ok(())
                })?;
                Ok(deleted)
            });
            is_done.store(written.is_ok(), Ordering::Relaxed);
            written
        })?;
        written.map_err(|failure| failure.raised(py, &watch))
    }
}

/// Makes the changes of an index.
fn make<K: Name + ?Sized>(
    txn: &mut FolderTxn<'_>,
    index: &Handle<K>,
    queued: &[Queued],
    links: bool,
    watch: &Arc<Watch>,
) -> Result<u64, Failure> {
    let how = (links, index.dimensions());
    txn.index(index, |batch| make_all(batch, &changes::<K>(queued), how, watch))
}

#[pymethods]
impl FolderWrite {
    /// The changes of an index of the folder, by its handle or its name: a `Batch`, which is
    /// committed with all others.
    fn __getitem__(&self, py: Python<'_>, index: Which<'_>) -> PyResult<Py<PyBatch>> {
        let name = match &index {
            Which::Handle(index) => index.get().index_name().to_owned(),
            Which::Name(name) => name.clone(),
        };
        let known = |parts: &[(String, Py<PyBatch>)]| {
            let part = parts.iter().find(|(known, _)| *known == name);
            part.map(|(_, part)| part.clone_ref(py))
        };
        let parts = || self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let found = parts().as_deref().map(known);
        if let Some(part) = found.ok_or_else(|| ended(py))? {
            return Ok(part);
        }
        // Without the lock: opening an index detaches.
        let index = self.folder.bind(py).get().index(py, index)?;
        let part = Py::new(py, PyBatch::part(index, self.links))?;
        let mut parts = parts();
        let parts = parts.as_mut().ok_or_else(|| ended(py))?;
        if let Some(part) = known(parts) {
            return Ok(part);
        }
        parts.push((name, part.clone_ref(py)));
        Ok(part)
    }

    /// The changes of a table: `txn.table("users")["ann"] = b"..."`, and `del`. Creates it, in a
    /// commit of its own, if it is missing.
    fn table(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = texts::required::name)] name: &str,
    ) -> PyResult<TableWrite> {
        let database = self.folder.bind(py).get().database(py, name)?;
        Ok(TableWrite { database, rows: Arc::clone(&self.rows) })
    }

    /// Commits the changes, as the end of the `with` block does, and ends the write. Returns how
    /// many items were deleted. If it raises, nothing has changed, and the changes wait as before,
    /// also after the end of a `with` block: `commit` tries again, `discard` drops them.
    ///
    /// Raises:
    ///     WriteTimeout: another writer has not ended within the `timeout` of the write.
    fn commit(&self, py: Python<'_>) -> PyResult<u64> {
        let folder = self.folder.bind(py).get().get(py)?;
        let (parts, rows) = self.take().ok_or_else(|| ended(py))?;
        let mut changes = Vec::with_capacity(parts.len());
        let (mut written, is_done) = (Ok(0), AtomicBool::new(false));
        for (_, batch) in &parts {
            let batch = batch.bind(py).get();
            let held = batch.index.bind(py).as_super().get().held(py);
            match held.and_then(|held| Ok(Part { held, queued: batch.begin_commit(py)? })) {
                Ok(part) => changes.push(part),
                Err(error) => {
                    written = Err(error);
                    break;
                }
            }
        }
        if written.is_ok() {
            written = self.written(py, &folder, (&changes, &rows), &is_done);
        }
        let is_done = written.is_ok() || is_done.load(Ordering::Relaxed);
        for ((_, batch), Part { queued, .. }) in parts.iter().zip(changes) {
            batch.bind(py).get().end_commit(is_done, queued);
        }
        if !is_done {
            *self.parts.lock().unwrap_or_else(PoisonError::into_inner) = Some(parts);
            *self.rows.lock().unwrap_or_else(PoisonError::into_inner) = Some(rows);
        }
        written
    }

    /// Drops the changes.
    fn discard(&self, py: Python<'_>) {
        for (_, batch) in self.take().map(|(parts, _)| parts).unwrap_or_default() {
            batch.bind(py).get().end();
        }
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
        let is_open = self.parts.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if error.is_none() && is_open {
            return self.commit(py).map(drop);
        }
        self.discard(py);
        Ok(())
    }

    fn __repr__(&self) -> String {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        format!("<FolderWrite to {} indexes>", parts.as_ref().map_or(0, Vec::len))
    }
}
