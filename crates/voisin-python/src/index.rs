//! An index: how it is opened, changed and looked after. Searches are in `handle.rs`.

use std::path::PathBuf;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use voisin::{AnyIndex, Error};

use crate::errors::raised;
use crate::facts;
use crate::handle::{Held, Searcher, closed};
use crate::load::{Load, load};
use crate::names::{Handle, Name};
use crate::settings::{AskedCodes, Settings};
use crate::vectors::{Raw, Shape, given};
use crate::watch::{CancelToken, Watch, detached};
use crate::write::{Change, PyBatch, names_for, some_names, write};

/// An index: vectors in a folder, searched by any number of threads and processes while one of them
/// writes. `create`, `open` and `open_or_create` make one.
///
/// Every change is one transaction: it is committed when the call returns, or nothing has happened.
/// `batch` makes one transaction of several changes. As a context manager, an index closes itself.
///
/// It can be used from any thread. Processes open the folder each for itself: an index that is
/// pickled opens it again where it arrives, so it can be passed to a process that is spawned. In a
/// forked process, an index of the parent raises `Forked`.
///
/// >>> import tempfile, voisin
/// >>> folder = tempfile.mkdtemp()
/// >>> with voisin.create(folder, 2, ids=str) as index:
/// ...     index.add("a note", [0.9, 0.1])
/// >>> with voisin.open(folder) as index:
/// ...     print(index.metric, index.dtype, index.dimensions, len(index))
/// cosine f32 2 1
#[pyclass(module = "voisin", extends = Searcher, frozen)]
pub(crate) struct Index {
    path: PathBuf,
    name: String,
    settings: Settings,
}

impl Index {
    /// The object of a handle that was opened with these settings.
    pub(crate) fn new(py: Python<'_>, index: &AnyIndex, settings: Settings) -> PyResult<Py<Self>> {
        let (path, name) = (index.path().to_owned(), index.name().to_owned());
        let base = PyClassInitializer::from(Searcher::of(index));
        Py::new(py, base.add_subclass(Self { path, name, settings }))
    }
}

/// The searcher of an index.
fn searcher<'a>(slf: &'a Bound<'_, Index>) -> &'a Searcher {
    slf.as_super().get()
}

fn held(slf: &Bound<'_, Index>) -> PyResult<Held> {
    searcher(slf).held(slf.py())
}

/// Evaluates the same expression on an index of each kind of names.
macro_rules! each {
    ($slf:expr, $index:ident => $work:expr) => {
        match &held($slf)? {
            Held::Ids($index) => $work,
            Held::Numbers($index) => $work,
            Held::Texts($index) => $work,
            // A snapshot, which an index never holds.
            _ => return Err(closed($slf.py())),
        }
    };
}

/// Adds items, or replaces the vectors of those that must be there.
fn put<K: Name + ?Sized>(
    index: &Handle<K>,
    ids: &Bound<'_, PyAny>,
    vectors: &Bound<'_, PyAny>,
    shape: Shape,
    (links, is_update): (bool, bool),
) -> PyResult<()> {
    let given = given(vectors, shape)?;
    let names = names_for::<K>(ids, &given)?;
    let change = match is_update {
        true => Change::Update(&names, given.raw()),
        false => Change::Add(&names, given.raw()),
    };
    write(ids.py(), index, &[change], links).map(drop)
}

#[pymethods]
impl Index {
    /// The folder.
    #[getter]
    fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// The name of the index in its folder.
    #[getter]
    fn name(&self) -> &str {
        &self.name
    }

    /// The names of all indexes in the folder.
    fn names(slf: &Bound<'_, Self>) -> PyResult<Vec<String>> {
        each!(slf, index => detached(slf.py(), || index.names()))
    }

    /// M and M0: the maximum degree of an item on each layer above the base, and on the base.
    #[getter]
    fn connectivity(slf: &Bound<'_, Self>) -> PyResult<(usize, usize)> {
        each!(slf, index => Ok((index.m(), index.m0())))
    }

    /// Adds items, or replaces the vectors of those that exist, links them and commits.
    ///
    /// Args:
    ///     ids: the id of one item, or an array, list or other iterable of ids.
    ///     vectors: an array of shape `(dimensions,)` for one item, or `(number of ids,
    ///         dimensions)`: see `search` for what is taken without a copy.
    ///     link: False commits items without linking them, in much less time: they can be found at
    ///         once, but every search scans them one by one, until `link` or later writes link
    ///         them.
    ///
    /// For 10 000 items or more, `load` does the same with progress, and takes less memory.
    ///
    /// >>> import tempfile, voisin
    /// >>> index = voisin.create(tempfile.mkdtemp(), 2)
    /// >>> index.add(7, [0.9, 0.1])
    /// >>> index.add([8, 9], [[0.5, 0.5], [0.1, 0.9]])
    /// >>> len(index), index[8]
    /// (3, array([0.5, 0.5], dtype=float32))
    #[pyo3(signature = (ids, vectors, *, link = true))]
    fn add(
        slf: &Bound<'_, Self>,
        ids: &Bound<'_, PyAny>,
        vectors: &Bound<'_, PyAny>,
        link: bool,
    ) -> PyResult<()> {
        let shape = searcher(slf).shape();
        each!(slf, index => put(index, ids, vectors, shape, (link, false)))
    }

    /// Replaces the vectors of existing items, and commits: see `add`.
    ///
    /// Raises:
    ///     MissingItem: there is no such item; nothing has changed.
    #[pyo3(signature = (ids, vectors, *, link = true))]
    fn update(
        slf: &Bound<'_, Self>,
        ids: &Bound<'_, PyAny>,
        vectors: &Bound<'_, PyAny>,
        link: bool,
    ) -> PyResult<()> {
        let shape = searcher(slf).shape();
        each!(slf, index => put(index, ids, vectors, shape, (link, true)))
    }

    /// Deletes an item or many, and commits. Returns how many of them existed.
    fn delete(slf: &Bound<'_, Self>, ids: &Bound<'_, PyAny>) -> PyResult<u64> {
        fn delete<K: Name + ?Sized>(index: &Handle<K>, ids: &Bound<'_, PyAny>) -> PyResult<u64> {
            let names = some_names::<K>(ids)?;
            write(ids.py(), index, &[Change::Delete(&names)], true)
        }
        each!(slf, index => delete(index, ids))
    }

    /// Begins a batch, whose changes are committed as a whole when its `with` block ends: see
    /// `Batch`. `link` is as for `add`.
    #[pyo3(signature = (*, link = true))]
    fn batch(slf: &Bound<'_, Self>, link: bool) -> PyResult<PyBatch> {
        held(slf)?;
        Ok(PyBatch::new(slf.clone().unbind(), link))
    }

    /// Loads many items, links them, and commits all of them or nothing. Returns their number.
    ///
    /// Args:
    ///     data: a matrix of shape `(n, dimensions)`, of numpy or anything that becomes one without
    ///         a copy (DLPack, Arrow); the path of a `.npy` file, which is mapped, or of a Parquet
    ///         file; a table of Arrow; or an iterable of pairs, of an id and a vector, or of ids
    ///         and a matrix.
    ///     ids: the ids of the rows, 0, 1, 2, ... unless given; the name of their column in a table
    ///         or Parquet file, `"id"` unless given.
    ///     vectors: the name of the column of vectors, in a table or Parquet file.
    ///     progress: True prints a line to the standard error; a function is called with `Progress`
    ///         about ten times a second, from any thread.
    ///     optimize: whether to order the index by locality at the end, for one that changes little
    ///         afterwards.
    ///     commit_every: commits after so many items, and links all at the end: what is committed
    ///         stays if the load is interrupted.
    ///     memory: a budget in bytes. If it does not hold the whole load, this is committed in
    ///         parts, and goes on where it was interrupted when it is called again.
    ///     temp_dir: the folder for rows that exceed memory; that of the index unless given.
    ///     threads: the number of threads that link, all unless given.
    ///     cancel: a `CancelToken`. Control-C ends a load, too.
    ///
    /// >>> import numpy, tempfile, voisin
    /// >>> index = voisin.create(tempfile.mkdtemp(), 4)
    /// >>> index.load(numpy.random.default_rng(7).normal(size=(2000, 4)))
    /// 2000
    /// >>> index.load((id, [1.0, 2.0, id, 4.0]) for id in range(2000, 2010))
    /// 10
    #[pyo3(signature = (
        data, ids = None, *, vectors = None, progress = None, optimize = false, commit_every = None,
        memory = None, temp_dir = None, threads = 0, cancel = None
    ))]
    #[expect(clippy::too_many_arguments, reason = "keywords of Python")]
    fn load<'py>(
        slf: &Bound<'py, Self>,
        data: &Bound<'py, PyAny>,
        ids: Option<Bound<'py, PyAny>>,
        vectors: Option<&str>,
        progress: Option<Bound<'py, PyAny>>,
        optimize: bool,
        commit_every: Option<u64>,
        memory: Option<u64>,
        temp_dir: Option<PathBuf>,
        threads: usize,
        cancel: Option<&CancelToken>,
    ) -> PyResult<u64> {
        let shape = searcher(slf).shape();
        let options = Load { progress, optimize, commit_every, memory, temp_dir, threads, cancel };
        each!(slf, index => load(index, data, (ids, vectors), shape, options))
    }

    /// Links all pending items, those of `add(link=False)` and of interrupted loads, in rounds,
    /// each of which is committed; others can write meanwhile. Returns how many were linked.
    #[pyo3(signature = (*, cancel = None))]
    fn link(slf: &Bound<'_, Self>, cancel: Option<&CancelToken>) -> PyResult<u64> {
        let watch = Watch::new(cancel);
        each!(slf, index => {
            watch.run(slf.py(), || index.loader().cancel(|| watch.is_over()).resume())
        })
    }

    /// Compacts the index: orders items so that near ones are near on disk, trains and encodes the
    /// codes anew. Worth it for a large index that changes little afterwards.
    #[pyo3(signature = (*, cancel = None))]
    fn optimize(slf: &Bound<'_, Self>, cancel: Option<&CancelToken>) -> PyResult<()> {
        fn optimize<K: Name + ?Sized>(
            py: Python<'_>,
            index: &Handle<K>,
            watch: &Watch,
        ) -> PyResult<()> {
            watch.run(py, || {
                let loader = index.loader().optimize(true).cancel(|| watch.is_over());
                K::load::<f32, Vec<f32>>(&loader, std::iter::empty()).map(drop)
            })
        }
        let watch = Watch::new(cancel);
        each!(slf, index => optimize(slf.py(), index, &watch))
    }

    /// Builds the graph anew from the vectors. It cannot be interrupted.
    fn rebuild(slf: &Bound<'_, Self>) -> PyResult<()> {
        each!(slf, index => detached(slf.py(), || index.force_rebuild()))
    }

    /// Measures the recall of searches, for `search(recall=)`, and commits that. Loads and large
    /// writes do it by themselves.
    fn calibrate(slf: &Bound<'_, Self>) -> PyResult<()> {
        each!(slf, index => detached(slf.py(), || index.calibrate()))
    }

    /// Trains the range of an index of `dtype="i8"` on a sample, a matrix of vectors like those to
    /// be stored, and commits that. `load` trains an empty index on what it loads.
    fn train(slf: &Bound<'_, Self>, sample: &Bound<'_, PyAny>) -> PyResult<()> {
        let shape = searcher(slf).shape();
        let given = given(sample, shape)?;
        let (raw, rows) = (given.raw(), 0..given.count());
        each!(slf, index => detached(slf.py(), || {
            match raw {
                Raw::F64(all) => index.train(all),
                raw => index.train(&raw.floats(rows, shape.dimensions)),
            }
            .map(drop)
        }))
    }

    /// Chooses the quantized codes that searches use: `"fast"`, a number of bits a component (1, 2,
    /// 4, 7 or 8), or None for none. Makes them and commits.
    #[pyo3(signature = (codes))]
    fn set_codes(slf: &Bound<'_, Self>, codes: AskedCodes) -> PyResult<()> {
        let py = slf.py();
        let codes = codes.get(py, searcher(slf).shape().dimensions)?;
        let watch = Arc::new(Watch::new(None));
        each!(slf, index => watch.run(py, || {
            index.write(|batch| {
                let cancel = Arc::clone(&watch);
                batch.cancel(move || cancel.is_over());
                batch.set_codes(codes)
            })
        }))
    }

    /// The number of pending items, which are not in the graph yet. O(1).
    #[getter]
    fn pending(slf: &Bound<'_, Self>) -> PyResult<u64> {
        each!(slf, index => detached(slf.py(), || index.pending()))
    }

    /// The index in numbers: see `Stats`. O(items).
    fn stats<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let stats = each!(slf, index => detached(py, || index.stats()))?;
        facts::stats(py, &stats)
    }

    /// Verifies all invariants of the index, to the last byte. Returns what is wrong, a list of
    /// `Finding`; an empty one means that all is well. It cannot be interrupted.
    ///
    /// >>> import tempfile, voisin
    /// >>> voisin.create(tempfile.mkdtemp(), 2).check()
    /// []
    fn check<'py>(slf: &Bound<'py, Self>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let py = slf.py();
        let findings = each!(slf, index => detached(py, || index.check()))?;
        findings.iter().map(|finding| facts::finding(py, finding)).collect()
    }

    /// Undoes an edit that another program has left half-way (`TornEdit`), and commits. False if
    /// there is none.
    fn repair(slf: &Bound<'_, Self>) -> PyResult<bool> {
        each!(slf, index => detached(slf.py(), || index.repair()))
    }

    /// Writes a compacted copy of all indexes of the folder to another folder, while others read
    /// and write. Returns its length in bytes. It cannot be interrupted.
    fn copy_to(slf: &Bound<'_, Self>, path: PathBuf) -> PyResult<u64> {
        each!(slf, index => detached(slf.py(), || index.copy_to(&path)))
    }

    /// A snapshot of the newest commit, for as long as it is held: see `Snapshot`.
    fn snapshot(slf: &Bound<'_, Self>) -> PyResult<Py<Snapshot>> {
        let py = slf.py();
        let of = searcher(slf);
        let at = match &held(slf)? {
            Held::Ids(index) => Held::IdsAt(detached(py, || index.snapshot())?),
            Held::Numbers(index) => Held::NumbersAt(detached(py, || index.snapshot())?),
            Held::Texts(index) => Held::TextsAt(detached(py, || index.snapshot())?),
            at => at.clone(),
        };
        let commit = match &at {
            Held::IdsAt(at) => at.commit(),
            Held::NumbersAt(at) => at.commit(),
            Held::TextsAt(at) => at.commit(),
            _ => 0,
        };
        Py::new(py, PyClassInitializer::from(of.at(at)).add_subclass(Snapshot { commit }))
    }

    /// Lets go of the snapshot that searches share, until the next search: a process that has
    /// searched and then idles keeps old pages of the file from being reused.
    fn release(slf: &Bound<'_, Self>) -> PyResult<()> {
        each!(slf, index => detached(slf.py(), || index.release()))
    }

    /// Closes the index. Later calls raise `Closed`; calls in progress end as usual. The files are
    /// closed when all handles and snapshots of the process are.
    fn close(slf: &Bound<'_, Self>) {
        searcher(slf).close(slf.py());
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __exit__(
        slf: &Bound<'_, Self>,
        _error: &Bound<'_, PyAny>,
        _value: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) {
        Self::close(slf);
    }

    fn __reduce__<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let open = py.import("voisin._types")?.getattr("_opened")?;
        let arguments = (self.path.as_path(), self.settings.keywords(py)?);
        Ok((open, arguments.into_pyobject(py)?))
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let of = searcher(slf);
        let Self { path, name, .. } = slf.get();
        let Shape { dimensions, form } = of.shape();
        let state = if of.is_closed() { ", closed" } else { "" };
        Ok(format!(
            "<Index {name:?} in {path:?}: {dimensions} x {form}, {}, ids {}{state}>",
            of.metric_name(),
            of.id_type()
        ))
    }
}

/// An index at one commit, for as long as it is held: all its answers are those of that commit,
/// whatever is committed meanwhile. `Index.snapshot` makes one. As a context manager it lets go of
/// the commit at the end; until then, the file grows while it changes.
///
/// >>> import tempfile, voisin
/// >>> index = voisin.create(tempfile.mkdtemp(), 2)
/// >>> index.add(1, [0.9, 0.1])
/// >>> with index.snapshot() as before:
/// ...     index.add(2, [0.1, 0.9])
/// ...     print(len(before), len(index), 2 in before)
/// 1 2 False
#[pyclass(module = "voisin", extends = Searcher, frozen)]
pub(crate) struct Snapshot {
    commit: u64,
}

#[pymethods]
impl Snapshot {
    /// The number of the commit: a later one has a larger number.
    #[getter]
    fn commit(&self) -> u64 {
        self.commit
    }

    /// Lets go of the commit. Later calls raise `Closed`.
    fn close(slf: &Bound<'_, Self>) {
        slf.as_super().get().close(slf.py());
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __exit__(
        slf: &Bound<'_, Self>,
        _error: &Bound<'_, PyAny>,
        _value: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) {
        Self::close(slf);
    }

    fn __repr__(&self) -> String {
        format!("<Snapshot of commit {}>", self.commit)
    }
}

/// Opens or creates a handle, detached.
pub(crate) fn opened(
    py: Python<'_>,
    settings: Settings,
    open: impl FnOnce() -> Result<AnyIndex, Error> + Send,
) -> PyResult<Py<Index>> {
    let index = Watch::new(None).run_any(py, open)?.map_err(|error| raised(py, &error))?;
    Index::new(py, &index, settings)
}
