//! Batches: calls that are written as a whole. What they keep until then is in `queue.rs`, those of
//! tenants are in `batch_tenant.rs`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;

use crate::conditions::condition;
use crate::errors::refused;
use crate::handle::Searcher;
use crate::held::Held;
use crate::index::Index;
use crate::names::{Handle, Name};
use crate::queue::{Names, Queue, Queued, changes, queues, some_or_for};
use crate::vectors::Given;
use crate::write::{Deleted, one_of, write_within};

/// Changes that are committed as a whole, when the `with` block ends, or not at all, if it ends
/// with an exception. `Index.batch` makes one.
///
/// They wait until then, with copies of the vectors: searches do not see them, and no lock is
/// held, so that other writers are not held up. They are made in one write transaction, in the
/// order of the calls. `tenant` changes the items of a tenant.
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
    /// How long the commit waits for other writers, if not as long as it takes.
    patience: Option<Duration>,
    /// Whether it is a part of a write to a folder, which commits it.
    is_part: bool,
    state: Mutex<State>,
}

/// The changes of a batch.
enum State {
    Waiting(Vec<Queued>),
    /// A thread commits them.
    Committing,
    /// They were committed or discarded.
    Ended,
}

fn ended(py: Python<'_>) -> PyErr {
    let message = "this batch has been committed or discarded: begin another one";
    refused(py, "Closed", message)
}

fn busy(py: Python<'_>) -> PyErr {
    let message = "another thread commits this batch: begin another one";
    refused(py, "Closed", message)
}

impl PyBatch {
    pub(crate) fn new(index: Py<Index>, links: bool, patience: Option<Duration>) -> Self {
        let state = Mutex::new(State::Waiting(Vec::new()));
        Self { index, links, patience, is_part: false, state }
    }

    /// A part of a write to a folder.
    pub(crate) fn part(index: Py<Index>, links: bool) -> Self {
        Self { is_part: true, ..Self::new(index, links, None) }
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

    /// # Errors
    /// `Closed`, also if the index is.
    pub(crate) fn queue(&self, py: Python<'_>, change: Queued) -> PyResult<()> {
        self.searcher(py).get().held(py)?;
        match &mut *self.lock() {
            State::Waiting(queued) => queued.push(change),
            State::Committing => return Err(busy(py)),
            State::Ended => return Err(ended(py)),
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the changes, to commit them.
    ///
    /// # Errors
    /// `Closed`.
    pub(crate) fn begin_commit(&self, py: Python<'_>) -> PyResult<Vec<Queued>> {
        let mut state = self.lock();
        match std::mem::replace(&mut *state, State::Committing) {
            State::Waiting(queued) => Ok(queued),
            State::Committing => Err(busy(py)),
            State::Ended => {
                *state = State::Ended;
                Err(ended(py))
            }
        }
    }

    /// Ends the batch, or has the changes wait again, if they were not committed.
    pub(crate) fn end_commit(&self, is_done: bool, queued: Vec<Queued>) {
        *self.lock() = if is_done { State::Ended } else { State::Waiting(queued) };
    }

    /// Drops changes that wait.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        if !matches!(*state, State::Committing) {
            *state = State::Ended;
        }
    }
}

impl Queue for PyBatch {
    fn batch<'a>(&'a self, _: Python<'a>) -> &'a PyBatch {
        self
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
}

queues!(PyBatch);

fn write_queued<K: Name + ?Sized>(
    py: Python<'_>,
    index: &Handle<K>,
    queued: &[Queued],
    how: (bool, Option<Duration>, &AtomicBool),
) -> PyResult<u64> {
    write_within(py, index, &changes(queued), how)
}

#[pymethods]
impl PyBatch {
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
    /// many items were deleted. If it raises, nothing has changed, and the changes wait as before,
    /// also after the end of a `with` block: `commit` tries again, `discard` drops them.
    ///
    /// Raises:
    ///     WriteTimeout: another writer has not ended within the `timeout` of the batch.
    fn commit(&self, py: Python<'_>) -> PyResult<u64> {
        self.check_whole(py)?;
        let held = self.searcher(py).get().held(py)?;
        let queued = self.begin_commit(py)?;
        // A signal can end a call that has committed.
        let is_done = AtomicBool::new(false);
        let how = (self.links, self.patience, &is_done);
        let written = match &held {
            Held::Ids(index) => write_queued(py, index, &queued, how),
            Held::Numbers(index) => write_queued(py, index, &queued, how),
            Held::Texts(index) => write_queued(py, index, &queued, how),
            Held::Bytes(index) => write_queued(py, index, &queued, how),
            Held::Uuids(index) => write_queued(py, index, &queued, how),
            // An index is no snapshot.
            _ => Ok(0),
        };
        self.end_commit(written.is_ok() || is_done.load(Ordering::Relaxed), queued);
        written
    }

    /// Drops the changes.
    fn discard(&self, py: Python<'_>) -> PyResult<()> {
        self.check_whole(py)?;
        self.end();
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
        let is_open = !matches!(*self.lock(), State::Ended);
        match (error.is_none(), is_open) {
            (true, true) => self.commit(py).map(drop),
            _ => self.discard(py),
        }
    }

    /// The number of changes that wait.
    fn __len__(&self) -> usize {
        match &*self.lock() {
            State::Waiting(queued) => queued.len(),
            State::Committing | State::Ended => 0,
        }
    }

    /// A batch is true, whether or not changes wait.
    fn __bool__(&self) -> bool {
        true
    }

    fn __repr__(&self) -> String {
        format!("<Batch of {} changes>", self.__len__())
    }
}
