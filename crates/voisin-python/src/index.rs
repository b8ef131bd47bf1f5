//! An index and its changes. How it is opened is in `opening.rs`, searches are in `handle.rs`, what
//! looks after an index is in `upkeep.rs`.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use voisin::AnyIndex;

use crate::arguments::{flags, objects, paths, reals};
use crate::batch::PyBatch;
use crate::conditions::condition;
use crate::handle::Searcher;
use crate::held::Held;
use crate::load::{Load, load};
use crate::settings::{self, Settings};
use crate::texts;
use crate::vectors::Shape;
use crate::watch::{CancelToken, detached, detached_write, seconds};
use crate::whole;
use crate::write::{Change, Deleted, delete, one_of, put, set, update_matching, write};

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

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Its name in its folder.
    pub(crate) fn index_name(&self) -> &str {
        &self.name
    }
}

/// The searcher of an index.
pub(crate) fn searcher<'a>(slf: &'a Bound<'_, Index>) -> &'a Searcher {
    slf.as_super().get()
}

pub(crate) fn held(slf: &Bound<'_, Index>) -> PyResult<Held> {
    searcher(slf).held(slf.py())
}

/// Evaluates the same expression on an index of each kind of names.
macro_rules! each_index {
    ($slf:expr, $index:ident => $work:expr) => {
        match &$crate::index::held($slf)? {
            $crate::held::Held::Ids($index) => $work,
            $crate::held::Held::Numbers($index) => $work,
            $crate::held::Held::Texts($index) => $work,
            $crate::held::Held::Bytes($index) => $work,
            $crate::held::Held::Uuids($index) => $work,
            // A snapshot, which an index never holds.
            _ => return Err($crate::handle::closed($slf.py())),
        }
    };
}

pub(crate) use each_index;

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
        each_index!(slf, index => detached(slf.py(), || index.names()))
    }

    /// M and M0: the maximum degree of an item on each layer above the base, and on the base.
    #[getter]
    fn connectivity(slf: &Bound<'_, Self>) -> PyResult<(usize, usize)> {
        each_index!(slf, index => Ok((index.m(), index.m0())))
    }

    /// Adds items, or replaces the vectors of those that exist, links them and commits.
    ///
    /// Args:
    ///     ids: the id of one item, or an array, list or other iterable of ids.
    ///     vectors: an array of shape `(dimensions,)` for one item, or `(number of ids,
    ///         dimensions)`: see `search` for what is taken without a copy.
    ///     records: what is stored beside the vectors, and returned by searches: a record for one
    ///         item, or an iterable of as many as ids. A dict is stored as JSON (with what numpy
    ///         and datetime have as numbers and text), bytes as they are, up to 64 MiB; with None,
    ///         an item keeps the record that it has.
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
    /// >>> index.add([8, 9], [[0.5, 0.5], [0.1, 0.9]], [{"title": "Rain"}, {"title": "Snow"}])
    /// >>> index.get_record(9)
    /// {'title': 'Snow'}
    #[pyo3(signature = (ids, vectors, records = None, *, link = true))]
    fn add(
        slf: &Bound<'_, Self>,
        ids: &Bound<'_, PyAny>,
        vectors: &Bound<'_, PyAny>,
        records: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = flags::link)] link: bool,
    ) -> PyResult<()> {
        let shape = searcher(slf).shape();
        each_index!(slf, index => put(index, ids, Ok, (vectors, records), shape, (link, false)))
    }

    /// Replaces the vectors of existing items, and their records, if any are given, and commits:
    /// see `add`.
    ///
    /// Raises:
    ///     MissingItem: there is no such item; nothing has changed.
    #[pyo3(signature = (ids, vectors, records = None, *, link = true))]
    fn update(
        slf: &Bound<'_, Self>,
        ids: &Bound<'_, PyAny>,
        vectors: &Bound<'_, PyAny>,
        records: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = flags::link)] link: bool,
    ) -> PyResult<()> {
        let shape = searcher(slf).shape();
        each_index!(slf, index => put(index, ids, Ok, (vectors, records), shape, (link, true)))
    }

    /// Sets the records of existing items, without touching their vectors, and commits. `records`
    /// is a record for one item, or an iterable of as many as ids: see `add`. None removes the
    /// record of an item.
    ///
    /// Raises:
    ///     MissingItem: there is no such item; nothing has changed.
    ///
    /// >>> import tempfile, voisin
    /// >>> index = voisin.create(tempfile.mkdtemp(), 2)
    /// >>> index.add([7, 8], [[0.9, 0.1], [0.5, 0.5]])
    /// >>> index.set_record(7, {"read": True})
    /// >>> index.get_records([7, 8])
    /// [{'read': True}, None]
    fn set_record(
        slf: &Bound<'_, Self>,
        ids: &Bound<'_, PyAny>,
        records: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        each_index!(slf, index => set(index, ids, Ok, records))
    }

    /// Replaces the records of all items for which a condition holds, and commits. Returns how many
    /// were replaced.
    ///
    /// `update` is a dict of members to set, or a function of a record (a dict, bytes, or None if
    /// the item has none) that returns the new one, or None to leave it. Other writers wait while
    /// it runs, and it must not change the index. It can be called again for the same record, if
    /// the write must be repeated.
    ///
    /// >>> import tempfile, voisin
    /// >>> index = voisin.create(tempfile.mkdtemp(), 2, fields={"read": "bool"})
    /// >>> index.add([7, 8], [[0.9, 0.1], [0.5, 0.5]], [{"read": False, "n": 3}, {"read": True}])
    /// >>> index.update_records(voisin.field("read") == False, {"read": True})
    /// 1
    /// >>> index.get_record(7)
    /// {'read': True, 'n': 3}
    fn update_records(
        slf: &Bound<'_, Self>,
        filter: &Bound<'_, PyAny>,
        update: &Bound<'_, PyAny>,
    ) -> PyResult<u64> {
        let py = slf.py();
        let filter = condition(filter)?;
        let update = match update.is_callable() {
            true => update.clone(),
            false => py.import("voisin._records")?.getattr("merged")?.call1((update,))?,
        };
        each_index!(slf, index => update_matching(py, index, filter.condition(), &update))
    }

    /// Adds a field of records, by which items can be filtered, and commits. All records must be
    /// dicts from then on, in which a member of this name, if there is one, is a value of the type
    /// of the field, or a list of such values. The records that there are fill it. O(records).
    ///
    /// Args:
    ///     name: the name of a member of the records.
    ///     type: `"keyword"` (or `str`) for text of at most 480 bytes, `"integer"` (`int`) for 64
    ///         bits, `"float"` (`float`), `"bool"` (`bool`), or `"timestamp"` for a `datetime` or
    ///         `date`, text such as `"2026-11-29T18:45:00Z"`, or milliseconds since 1970.
    ///
    /// Raises:
    ///     InvalidRecord: there is a record that does not fit; nothing has changed.
    fn add_field(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = texts::required::name)] name: &str,
        r#type: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let field = settings::field(name, r#type)?;
        each_index!(slf, index => {
            detached_write(slf.py(), || index.write(|batch| batch.add_field(field.clone())))
        })
    }

    /// Drops a field, and commits; the records stay as they are.
    ///
    /// Raises:
    ///     UnknownField: there is no such field.
    fn drop_field(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = texts::required::name)] name: &str,
    ) -> PyResult<()> {
        each_index!(slf, index => {
            detached_write(slf.py(), || index.write(|batch| batch.drop_field(name)))
        })
    }

    /// Deletes an item or many, or all for which a condition holds, and commits. Returns how many
    /// there were. `ids` can be a condition, too. `erase` also clears what they leave in the file.
    ///
    /// >>> import tempfile, voisin
    /// >>> index = voisin.create(tempfile.mkdtemp(), 2, fields={"tag": "keyword"})
    /// >>> index.add([7, 8, 9], [[0.9, 0.1], [0.5, 0.5], [0.1, 0.9]], [{"tag": "a"}] * 3)
    /// >>> index.delete([7, 100]), index.delete(filter=voisin.field("tag") == "a")
    /// (1, 2)
    #[pyo3(signature = (ids = None, *, filter = None))]
    fn delete(
        slf: &Bound<'_, Self>,
        ids: Option<&Bound<'_, PyAny>>,
        filter: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<u64> {
        match one_of(slf.py(), ids, filter)? {
            Deleted::Ids(ids) => each_index!(slf, index => delete(index, ids, Ok)),
            Deleted::Matching(filter) => {
                let (of, py) = (condition(filter)?, slf.py());
                each_index!(slf, index => {
                    write(py, index, &[Change::DeleteMatching(of.condition())], true)
                })
            }
        }
    }

    /// Begins a batch, whose changes are committed as a whole when its `with` block ends: see
    /// `Batch`. `link` is as for `add`. `timeout` bounds, in seconds, how long the commit waits for
    /// other writers; without it, it waits until they have ended.
    #[pyo3(signature = (*, link = true, timeout = None))]
    fn batch(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = flags::link)] link: bool,
        #[pyo3(from_py_with = reals::timeout)] timeout: Option<f64>,
    ) -> PyResult<PyBatch> {
        held(slf)?;
        let patience = seconds(slf.py(), "timeout", timeout)?;
        Ok(PyBatch::new(slf.clone().unbind(), link, patience))
    }

    /// Loads many items, links them, and commits all of them or nothing. Returns their number.
    ///
    /// Args:
    ///     data: a matrix of shape `(n, dimensions)`, of numpy or anything that becomes one without
    ///         a copy (DLPack, Arrow); the path of a `.npy` file, which is mapped, or of a Parquet
    ///         file; a table of Arrow; or an iterable of pairs, of an id and a vector, or of ids
    ///         and a matrix, or of triples, with a record or records, too.
    ///     ids: the ids of the rows, 0, 1, 2, ... unless given; the name of their column in a table
    ///         or Parquet file, `"id"` unless given.
    ///     vectors: the name of the column of vectors, in a table or Parquet file, `"vector"`
    ///         unless given.
    ///     records: the records of the rows, an iterable: see `add`. In a table or Parquet file the
    ///         names of columns, of which each row makes a dict; True for all other columns; or the
    ///         name of one column of bytes or structs.
    ///     progress: True prints a line to the standard error; a function is called with `Progress`
    ///         about ten times a second, from any thread.
    ///     optimize: whether to order the index by locality at the end, for one that changes little
    ///         afterwards.
    ///     commit_every: commits after so many items, at least 1, and links all at the end: what is
    ///         committed stays if the load is interrupted.
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
    /// >>> index.load((id, [1.0, 2.0, id, 4.0], {"n": id}) for id in range(2000, 2010))
    /// 10
    #[pyo3(signature = (
        data, ids = None, *, vectors = None, records = None, progress = None, optimize = false,
        commit_every = None, memory = None, temp_dir = None, threads = 0, cancel = None
    ))]
    #[expect(clippy::too_many_arguments, reason = "keywords of Python")]
    fn load<'py>(
        slf: &Bound<'py, Self>,
        data: &Bound<'py, PyAny>,
        ids: Option<Bound<'py, PyAny>>,
        #[pyo3(from_py_with = texts::vectors)] vectors: Option<String>,
        records: Option<Bound<'py, PyAny>>,
        #[pyo3(from_py_with = objects::progress)] progress: Option<Bound<'py, PyAny>>,
        #[pyo3(from_py_with = flags::optimize)] optimize: bool,
        #[pyo3(from_py_with = whole::commit_every)] commit_every: Option<u64>,
        #[pyo3(from_py_with = whole::memory)] memory: Option<u64>,
        #[pyo3(from_py_with = paths::temp_dir)] temp_dir: Option<PathBuf>,
        #[pyo3(from_py_with = whole::threads)] threads: usize,
        #[pyo3(from_py_with = objects::cancel)] cancel: Option<Bound<'py, CancelToken>>,
    ) -> PyResult<u64> {
        let shape = searcher(slf).shape();
        let options = Load { progress, optimize, commit_every, memory, temp_dir, threads, cancel };
        each_index!(slf, index => load(index, data, (ids, vectors, records), shape, options))
    }

    /// Lets go of the snapshot that searches share, until the next search: a process that has
    /// searched and then idles keeps old pages of the file from being reused.
    fn release(slf: &Bound<'_, Self>) -> PyResult<()> {
        each_index!(slf, index => detached(slf.py(), || index.release()))
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
