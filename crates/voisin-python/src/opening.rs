//! How indexes are created and opened: the functions of the package that return an `Index`.

use std::path::{Path, PathBuf};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use voisin::{AnyIndex, Error, Options};

use crate::arguments::{flags, objects, paths, reals};
use crate::errors::raised;
use crate::index::Index;
use crate::settings::{AskedCodes, Creation, Dtype, Kinds, Settings};
use crate::texts;
use crate::watch::Watch;
use crate::whole;

/// Opens or creates a handle, detached.
fn opened(
    py: Python<'_>,
    settings: Settings,
    open: impl FnOnce() -> Result<AnyIndex, Error> + Send,
) -> PyResult<Py<Index>> {
    let index = Watch::new(None).write_any(py, open)?.map_err(|error| raised(py, &error))?;
    Index::new(py, &index, settings)
}

/// Options of creation and settings of the handle.
fn create_or_open(
    py: Python<'_>,
    path: PathBuf,
    creation: &Creation<'_, '_>,
    settings: Settings,
    opens: bool,
) -> PyResult<Py<Index>> {
    let of = creation.of_type(py)?;
    let any_codes = settings.of(py, creation.options_but_codes(py)?)?;
    let options = settings.of(py, creation.options(py)?)?;
    let is_auto = matches!(creation.codes, AskedCodes::Auto);
    opened(py, settings, || match opens {
        true => match AnyIndex::open_or_create(&path, &of, options) {
            // `"auto"` is for a new index. One that exists has what it has, and differs in nothing
            // else.
            Err(Error::OptionMismatch { option: "codes of", .. }) if is_auto => {
                AnyIndex::open(&path, any_codes)
            }
            index => index,
        },
        false => AnyIndex::create(path, &of, options),
    })
}

/// Defines a function with the keywords of a new index: so they are listed once, and `help` and
/// editors show all of them.
macro_rules! creates {
    ($(#[$doc:meta])* $name:ident, opens: $opens:literal) => {
        $(#[$doc])*
        #[pyfunction]
        #[pyo3(signature = (
            path, dimensions, *, metric = "cosine", dtype = None, ids = None,
            codes = AskedCodes::Auto, fields = None, kinds = None, name = None, m = None, m0 = None,
            ef_construction = None, alpha = None, seed = None, threads = 0, memory = None,
            temp_dir = None, map_size = None, max_readers = None, growth_wait = None,
            any_file_system = false
        ))]
        #[expect(clippy::too_many_arguments, reason = "keywords of Python")]
        pub(crate) fn $name(
            py: Python<'_>,
            #[pyo3(from_py_with = paths::path)] path: PathBuf,
            #[pyo3(from_py_with = whole::dimensions)] dimensions: usize,
            #[pyo3(from_py_with = texts::required::metric)] metric: &str,
            dtype: Option<Dtype>,
            ids: Option<Bound<'_, PyAny>>,
            codes: AskedCodes,
            #[pyo3(from_py_with = objects::fields)] fields: Option<Bound<'_, PyDict>>,
            kinds: Option<Kinds>,
            #[pyo3(from_py_with = texts::name)] name: Option<String>,
            #[pyo3(from_py_with = whole::m)] m: Option<usize>,
            #[pyo3(from_py_with = whole::m0)] m0: Option<usize>,
            #[pyo3(from_py_with = whole::ef_construction)] ef_construction: Option<usize>,
            #[pyo3(from_py_with = reals::alpha)] alpha: Option<f32>,
            #[pyo3(from_py_with = whole::seed)] seed: Option<u64>,
            #[pyo3(from_py_with = whole::threads)] threads: usize,
            #[pyo3(from_py_with = whole::memory)] memory: Option<u64>,
            #[pyo3(from_py_with = paths::temp_dir)] temp_dir: Option<PathBuf>,
            #[pyo3(from_py_with = whole::map_size)] map_size: Option<u64>,
            #[pyo3(from_py_with = whole::max_readers)] max_readers: Option<u32>,
            #[pyo3(from_py_with = reals::growth_wait)] growth_wait: Option<f64>,
            #[pyo3(from_py_with = flags::any_file_system)] any_file_system: bool,
        ) -> PyResult<Py<Index>> {
            let creation = Creation {
                dimensions,
                metric,
                dtype,
                ids,
                codes,
                fields,
                kinds,
                m,
                m0,
                ef_construction,
                alpha,
                seed,
            };
            let settings = Settings {
                name,
                read_only: false,
                threads,
                memory,
                temp_dir,
                map_size,
                max_readers,
                growth_wait,
                any_file_system,
            };
            create_or_open(py, path, &creation, settings, $opens)
        }
    };
}

creates! {
    /// Creates an index in a folder, and the folder if it is missing.
    ///
    /// Args:
    ///     path: the folder.
    ///     dimensions: the number of components of every vector, 1 to 65 535.
    ///     metric: `"cosine"`, `"euclidean"` (squared; also `"l2"`), `"dot product"` (also
    ///         `"dot"`), `"manhattan"`, `"hamming"`, or `"binary quantized cosine"`, `"...
    ///         euclidean"` or `"... manhattan"`.
    ///     dtype: how vectors are stored: `"f32"`, `"f16"`, `"bf16"` or `"i8"` (also by the types
    ///         of numpy); `"bits"` under `"hamming"` and `"signs"` under binary quantized metrics.
    ///         The first one that the metric has unless given.
    ///     ids: what names items: `int` for numbers below 2**32, `"u64"` for those below 2**64,
    ///         `str` for strings and `bytes` for bytes, at most 480 of them, `uuid.UUID` for UUIDs.
    ///     codes: quantized copies of the vectors, by which searches are several times as fast:
    ///         `"fast"`, 1, 2, 4, 7 or 8 bits a component, None; `"auto"` is `"fast"` where the
    ///         metric can have codes.
    ///     fields: the fields of records to filter by, a dict of names and types: `"keyword"` (or
    ///         `str`), `"integer"` (`int`), `"float"` (`float`), `"bool"` (`bool`) or
    ///         `"timestamp"`. Records are dicts then: see `Index.add_field`.
    ///     kinds: the kinds of index, a list of names such as `"hnsw"` and `"ivf"`: `["hnsw"]`
    ///         unless given. Every index has `"flat"`; with that alone a write stores its vectors
    ///         and is done, and every answer is exact. `docs/kinds.md` of the repository says which
    ///         one is for what.
    ///     name: the name of the index, where a folder has several.
    ///     m, m0: the maximum degree of an item on each layer above the base, and on the base.
    ///     ef_construction: how many candidates the search for an item's neighbors keeps.
    ///     alpha: the pruning factor, 1 to 10.
    ///     seed: of the random generator: one seed and one sequence of changes give one graph.
    ///     threads: the number of threads that build, all unless given.
    ///     memory: the memory, in bytes, that the index should make do with: see `load`.
    ///     temp_dir: the folder for temporary files; that of the index unless given.
    ///     map_size: address space for the file, in bytes; a full one is doubled.
    ///     max_readers: the number of read transactions at a time, of all processes.
    ///     growth_wait: seconds for which a write waits for held snapshots when the map must grow.
    ///     any_file_system: True opens it where LMDB is known to lose data, too.
    ///
    /// Raises:
    ///     AlreadyThere: there is an index of this name.
    ///
    /// >>> import tempfile, voisin
    /// >>> index = voisin.create(tempfile.mkdtemp(), 384, dtype="f16", ids=str)
    /// >>> index.metric, index.dtype, index.id_type
    /// ('cosine', 'f16', 'str')
    create, opens: false
}

creates! {
    /// Opens an index, or creates it if there is none: of several processes that do so at once, one
    /// creates it. The arguments are those of `create`. An index that is opened must have the
    /// `fields`, and can have more; `codes="auto"` takes those that it has.
    ///
    /// Raises:
    ///     Mismatch: there is an index that was created with other values.
    open_or_create, opens: true
}

/// Opens an index, whatever its metric, dtype and ids are.
///
/// Args:
///     path: the folder.
///     name: the name of the index: `"main"`, or that of the only one of the folder, unless given.
///     read_only: True for searches only: needs no permission to write the file.
///     threads, memory, temp_dir, map_size, max_readers, growth_wait, any_file_system: as for
///         `create`.
///
/// Raises:
///     NotThere: there is no such folder, or no such index in it.
///
/// >>> import tempfile, voisin
/// >>> folder = tempfile.mkdtemp()
/// >>> voisin.create(folder, 2).add(7, [0.5, 0.5])
/// >>> index = voisin.open(folder, read_only=True)
/// >>> index.search([0.5, 0.4])[0].id
/// 7
#[pyfunction]
#[pyo3(signature = (
    path, *, name = None, read_only = false, threads = 0, memory = None, temp_dir = None,
    map_size = None, max_readers = None, growth_wait = None, any_file_system = false
))]
#[expect(clippy::too_many_arguments, reason = "keywords of Python")]
pub(crate) fn open(
    py: Python<'_>,
    #[pyo3(from_py_with = paths::path)] path: PathBuf,
    #[pyo3(from_py_with = texts::name)] name: Option<String>,
    #[pyo3(from_py_with = flags::read_only)] read_only: bool,
    #[pyo3(from_py_with = whole::threads)] threads: usize,
    #[pyo3(from_py_with = whole::memory)] memory: Option<u64>,
    #[pyo3(from_py_with = paths::temp_dir)] temp_dir: Option<PathBuf>,
    #[pyo3(from_py_with = whole::map_size)] map_size: Option<u64>,
    #[pyo3(from_py_with = whole::max_readers)] max_readers: Option<u32>,
    #[pyo3(from_py_with = reals::growth_wait)] growth_wait: Option<f64>,
    #[pyo3(from_py_with = flags::any_file_system)] any_file_system: bool,
) -> PyResult<Py<Index>> {
    let settings = Settings {
        name,
        read_only,
        threads,
        memory,
        temp_dir,
        map_size,
        max_readers,
        growth_wait,
        any_file_system,
    };
    open_in(py, &path, settings)
}

/// Opens an index with settings.
pub(crate) fn open_in(py: Python<'_>, path: &Path, settings: Settings) -> PyResult<Py<Index>> {
    let options = settings.of(py, Options::default())?;
    let (is_named, read_only) = (settings.name.is_some(), settings.read_only);
    let open = |options| match read_only {
        true => AnyIndex::open_read_only(path, options),
        false => AnyIndex::open(path, options),
    };
    opened(py, settings, || match open(options.clone()) {
        // The only one of a folder need not be named.
        Err(Error::MissingName { known, .. }) if !is_named && known.len() == 1 => {
            open(options.name(&known[0]))
        }
        index => index,
    })
}
