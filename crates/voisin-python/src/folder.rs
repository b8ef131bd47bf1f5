//! A folder: its indexes and the tables of the caller's, changed in one commit, and read at one.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyString;
use voisin::{Options, Result};

use crate::arguments::{flags, paths, reals, wrong_type};
use crate::errors::{not_pickled, refused};
use crate::folder_write::FolderWrite;
use crate::handle::{Searcher, with_block};
use crate::held::Held;
use crate::index::Index;
use crate::opening::open_in;
use crate::settings::Settings;
use crate::tables::{Database, Table};
use crate::texts;
use crate::upkeep::Snapshot;
use crate::watch::{detached, detached_write, seconds};
use crate::whole;

/// What can be looked up in a folder: an index, by its handle or its name.
pub(crate) enum Which<'py> {
    Handle(Bound<'py, Index>),
    Name(String),
}

impl<'a, 'py> FromPyObject<'a, 'py> for Which<'py> {
    type Error = PyErr;

    fn extract(asked: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if asked.is_instance_of::<PyString>() {
            return texts::required::index(&asked).map(|name| Self::Name(name.to_owned()));
        }
        let wrong = || wrong_type(&asked, "index", "the name of one, or its handle");
        asked.to_owned().cast_into::<Index>().map(Self::Handle).map_err(|_| wrong())
    }
}

/// A folder of indexes: changes several of them, and tables of your own, in one commit, and reads
/// all of them at one commit. `Index.folder` makes one of the folder of an index.
///
/// Args:
///     path: a folder that has indexes.
///     max_databases: how many tables the process can have open, at least; 32 unless given. Of
///         several handles on the folder, the first one decides.
///     memory, map_size, max_readers, growth_wait, any_file_system: as for `create`.
///
/// >>> import tempfile, voisin
/// >>> path = tempfile.mkdtemp()
/// >>> titles = voisin.create(path, 2, name="titles", ids=str)
/// >>> bodies = voisin.create(path, 3, name="bodies", ids=str)
/// >>> folder = voisin.Folder(path)
/// >>> folder.names()
/// ['bodies', 'titles']
/// >>> with folder.write() as txn:
/// ...     txn["titles"].add("emma", [0.9, 0.1])
/// ...     txn["bodies"].add("emma", [0.1, 0.2, 0.3])
/// ...     txn.table("authors")["emma"] = "Austen"
/// >>> with folder.snapshot() as snapshot:
/// ...     id = snapshot["titles"].search([1.0, 0.0], k=1)[0].id
/// ...     print(id, snapshot.table("authors")[id])
/// emma b'Austen'
#[pyclass(module = "voisin", frozen)]
pub(crate) struct Folder {
    folder: Mutex<Option<voisin::Folder>>,
    path: PathBuf,
    settings: Settings,
    /// Opened once: LMDB keeps them open.
    databases: Mutex<HashMap<String, Database>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Folder {
    /// The folder of an index, with the settings of its handle.
    pub(crate) fn of(folder: voisin::Folder, settings: Settings) -> Self {
        let path = folder.path().to_owned();
        let settings = Settings { name: None, ..settings };
        Self { folder: Mutex::new(Some(folder)), path, settings, databases: Mutex::default() }
    }

    /// # Errors
    /// `Closed`.
    pub(crate) fn get(&self, py: Python<'_>) -> PyResult<voisin::Folder> {
        lock(&self.folder)
            .clone()
            .ok_or_else(|| refused(py, "Closed", "this folder has been closed: open it again"))
    }

    pub(crate) fn index(&self, py: Python<'_>, which: Which<'_>) -> PyResult<Py<Index>> {
        match which {
            Which::Handle(index) => Ok(index.unbind()),
            Which::Name(name) => {
                self.get(py)?;
                open_in(py, &self.path, Settings { name: Some(name), ..self.settings.clone() })
            }
        }
    }

    /// A table, which is created if it is missing.
    pub(crate) fn database(&self, py: Python<'_>, name: &str) -> PyResult<Database> {
        if let Some(known) = lock(&self.databases).get(name) {
            return Ok(*known);
        }
        let folder = self.get(py)?;
        let database = detached_write(py, || folder.database(name))?;
        Ok(*lock(&self.databases).entry(name.to_owned()).or_insert(database))
    }
}

#[pymethods]
impl Folder {
    #[new]
    #[pyo3(signature = (
        path, *, max_databases = None, memory = None, map_size = None, max_readers = None,
        growth_wait = None, any_file_system = false
    ))]
    #[expect(clippy::too_many_arguments, reason = "keywords of Python")]
    fn new(
        py: Python<'_>,
        #[pyo3(from_py_with = paths::path)] path: PathBuf,
        #[pyo3(from_py_with = whole::max_databases)] max_databases: Option<u32>,
        #[pyo3(from_py_with = whole::memory)] memory: Option<u64>,
        #[pyo3(from_py_with = whole::map_size)] map_size: Option<u64>,
        #[pyo3(from_py_with = whole::max_readers)] max_readers: Option<u32>,
        #[pyo3(from_py_with = reals::growth_wait)] growth_wait: Option<f64>,
        #[pyo3(from_py_with = flags::any_file_system)] any_file_system: bool,
    ) -> PyResult<Self> {
        let settings = Settings {
            memory,
            map_size,
            max_readers,
            growth_wait,
            any_file_system,
            ..Settings::default()
        };
        let mut options = settings.of(py, Options::default())?;
        if let Some(databases) = max_databases {
            options = options.max_databases(databases);
        }
        let folder = detached(py, || voisin::Folder::open(&path, &options))?;
        Ok(Self::of(folder, settings))
    }

    /// The folder.
    #[getter]
    fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// The names of all its indexes.
    fn names(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let folder = self.get(py)?;
        detached(py, || folder.names())
    }

    /// Opens one of its indexes by its name.
    fn __getitem__(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = texts::required::name)] name: &str,
    ) -> PyResult<Py<Index>> {
        self.index(py, Which::Name(name.to_owned()))
    }

    /// Begins a write to any of its indexes and tables, whose changes are committed as a whole when
    /// its `with` block ends: see `FolderWrite`. `link` is as for `Index.add`, `timeout` as for
    /// `Index.batch`.
    #[pyo3(signature = (*, link = true, timeout = None))]
    fn write(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = flags::link)] link: bool,
        #[pyo3(from_py_with = reals::timeout)] timeout: Option<f64>,
    ) -> PyResult<FolderWrite> {
        slf.get().get(slf.py())?;
        let patience = seconds(slf.py(), "timeout", timeout)?;
        Ok(FolderWrite::new(slf.clone().unbind(), link, patience))
    }

    /// All its indexes and tables at the newest commit, for as long as it is held: see
    /// `FolderSnapshot`.
    fn snapshot(slf: &Bound<'_, Self>) -> PyResult<FolderSnapshot> {
        let (py, folder) = (slf.py(), slf.get().get(slf.py())?);
        let held = detached(py, || folder.snapshot())?;
        let (commit, held) = (held.commit(), Arc::new(Mutex::new(Some(held))));
        Ok(FolderSnapshot { folder: slf.clone().unbind(), held, commit })
    }

    /// A table of your own, with keys and values of bytes, which is committed with the indexes: see
    /// `Table`. Creates it, in a commit of its own, if it is missing. Names that begin with
    /// `voisin` are taken.
    fn table(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = texts::required::name)] name: &str,
    ) -> PyResult<Table> {
        let database = slf.get().database(slf.py(), name)?;
        Ok(Table::newest(slf.get().get(slf.py())?, name, database))
    }

    /// Lets two indexes change their names, so that one takes the place of the other, and commits:
    /// an index of a new embedding model, loaded beside the old one. Whoever opens the name from
    /// then on gets the new one; handles that are open go on to search what they were opened on,
    /// and their writes raise.
    ///
    /// >>> import tempfile, voisin
    /// >>> path = tempfile.mkdtemp()
    /// >>> old = voisin.create(path, 2, name="texts")
    /// >>> new = voisin.create(path, 3, name="texts of model 2")
    /// >>> voisin.Folder(path).swap_names("texts", "texts of model 2")
    /// >>> voisin.open(path, name="texts").dimensions
    /// 3
    fn swap_names(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = texts::required::one)] one: &str,
        #[pyo3(from_py_with = texts::required::other)] other: &str,
    ) -> PyResult<()> {
        let folder = self.get(py)?;
        detached_write(py, || folder.write(|txn| txn.swap_names(one, other)))
    }

    /// Closes the folder. Indexes that it has opened stay open.
    fn close(&self, py: Python<'_>) {
        let folder = lock(&self.folder).take();
        // The last one closes the files.
        py.detach(|| drop(folder));
    }

    fn __reduce__(&self) -> PyResult<(Py<PyAny>, Py<PyAny>)> {
        not_pickled("Folder", "its path")
    }

    fn __repr__(&self) -> String {
        format!("<Folder {:?}>", self.path)
    }
}

with_block!(Folder);

/// A snapshot that tables share; `None` once it was closed.
pub(crate) type HeldFolder = Arc<Mutex<Option<voisin::FolderSnapshot>>>;

/// All indexes and tables of a folder at one commit, for as long as it is held. `Folder.snapshot`
/// makes one. As a context manager it lets go of the commit at the end.
#[pyclass(module = "voisin", frozen)]
pub(crate) struct FolderSnapshot {
    folder: Py<Folder>,
    held: HeldFolder,
    commit: u64,
}

/// Looks something up in what is held.
///
/// # Errors
/// `Closed`.
pub(crate) fn look<T: Send>(
    py: Python<'_>,
    held: &HeldFolder,
    look: impl FnOnce(&voisin::FolderSnapshot) -> Result<T> + Send,
) -> PyResult<T> {
    let found = detached(py, || lock(held).as_ref().map(look).transpose())?;
    found.ok_or_else(|| refused(py, "Closed", "this snapshot has been closed: make another one"))
}

#[pymethods]
impl FolderSnapshot {
    /// The number of the commit: a later one has a larger number.
    #[getter]
    fn commit(&self) -> u64 {
        self.commit
    }

    /// One of the indexes at this commit, by its handle or its name: a `Snapshot`, which holds the
    /// commit itself.
    fn __getitem__(&self, py: Python<'_>, index: Which<'_>) -> PyResult<Py<Snapshot>> {
        let index = self.folder.bind(py).get().index(py, index)?;
        let of: &Searcher = index.bind(py).as_super().get();
        let at = match &of.held(py)? {
            Held::Ids(index) => Held::IdsAt(look(py, &self.held, |held| held.index(index))?),
            Held::Numbers(index) => {
                Held::NumbersAt(look(py, &self.held, |held| held.index(index))?)
            }
            Held::Texts(index) => Held::TextsAt(look(py, &self.held, |held| held.index(index))?),
            Held::Bytes(index) => Held::BytesAt(look(py, &self.held, |held| held.index(index))?),
            Held::Uuids(index) => Held::UuidsAt(look(py, &self.held, |held| held.index(index))?),
            at => at.clone(),
        };
        Snapshot::of(py, of, at, self.commit)
    }

    /// A table at this commit: see `Table`. One that did not exist has no keys.
    fn table(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = texts::required::name)] name: &str,
    ) -> PyResult<Table> {
        let database = look(py, &self.held, |held| held.database(name))?;
        Ok(Table::at(Arc::clone(&self.held), name, database))
    }

    /// Lets go of the commit. Later calls raise `Closed`; snapshots of its indexes go on.
    fn close(&self, py: Python<'_>) {
        let held = py.detach(|| lock(&self.held).take());
        py.detach(|| drop(held));
    }

    fn __reduce__(&self) -> PyResult<(Py<PyAny>, Py<PyAny>)> {
        not_pickled("FolderSnapshot", "the path of the folder")
    }

    fn __repr__(&self) -> String {
        format!("<FolderSnapshot of commit {}>", self.commit)
    }
}

with_block!(FolderSnapshot);
