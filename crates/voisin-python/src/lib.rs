//! The native module of the Python package `voisin`: `AnyIndex` for Python, and nothing that it
//! does not do itself.
//!
//! | file | what it is for |
//! |---|---|
//! | `handle` | what can be searched, an index or a snapshot: the base class of both |
//! | `stored` | what that has stored: vectors, records, fields, counts |
//! | `index`, `upkeep` | an index: opening, changes, loads; maintenance, snapshots |
//! | `asked`, `found` | the options of a search; its answers |
//! | `query`, `pages` | options that are kept for many questions, and those that only they answer |
//! | `write`, `batch`, `load` | changes in one transaction; batches; loads |
//! | `vectors`, `names`, `records` | arrays of vectors, ids, and records, from and to Python |
//! | `conditions`, `filters` | conditions on fields; kept sets of items |
//! | `settings`, `facts` | options to open with; statistics |
//! | `watch` | signals and cancellation, and how calls detach from the interpreter |
//! | `errors` | errors as exceptions |
//!
//! `python/voisin` has what is better written in Python: the exceptions, the classes of facts, the
//! sources of loads, JSON, the operators of fields, asyncio. Its `_voisin.pyi` says the types of
//! everything here, and `stubtest` compares both.

mod asked;
mod batch;
mod conditions;
mod errors;
mod facts;
mod filters;
mod found;
mod handle;
mod index;
mod load;
mod names;
mod pages;
mod query;
mod records;
mod settings;
mod stored;
mod upkeep;
mod vectors;
mod watch;
mod write;

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use voisin::{AnyIndex, Error, Options};

use crate::index::{Index, opened};
use crate::settings::{AskedCodes, Creation, Settings};
use crate::watch::detached;

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

/// Creates an index in a folder, and the folder if it is missing.
///
/// Args:
///     path: the folder.
///     dimensions: the number of components of every vector, 1 to 65 535.
///     metric: `"cosine"`, `"euclidean"` (squared; also `"l2"`), `"dot product"` (also `"dot"`),
///         `"manhattan"`, `"hamming"`, or `"binary quantized cosine"`, `"... euclidean"` or
///         `"... manhattan"`.
///     dtype: how vectors are stored: `"f32"`, `"f16"`, `"bf16"` or `"i8"` (also by the names of
///         numpy); `"bits"` under `"hamming"` and `"signs"` under binary quantized metrics. The
///         first one that the metric has unless given.
///     ids: what names items: `int` for numbers below 2**32, `"u64"` for those below 2**64, `str`
///         for strings and `bytes` for bytes, at most 480 of them, `uuid.UUID` for UUIDs.
///     codes: quantized copies of the vectors, by which searches are several times as fast:
///         `"fast"`, 1, 2, 4, 7 or 8 bits a component, None; `"auto"` is `"fast"` where the metric
///         can have codes.
///     fields: the fields of records to filter by, a dict of names and types: `"keyword"` (or
///         `str`), `"integer"` (`int`), `"float"` (`float`), `"bool"` (`bool`) or `"timestamp"`.
///         Records are dicts then: see `Index.add_field`.
///     kinds: the kinds of index, a list of names such as `"hnsw"` and `"ivf"`: `["hnsw"]` unless
///         given. Every index has `"flat"`; with that alone a write stores its vectors and is done,
///         and every answer is exact. `docs/kinds.md` of the repository says which one is for what.
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
#[pyfunction]
#[pyo3(signature = (
    path, dimensions, *, metric = "cosine", dtype = None, ids = None, codes = AskedCodes::Auto,
    fields = None, kinds = None, name = None, m = None, m0 = None, ef_construction = None,
    alpha = None, seed = None, threads = 0, memory = None, temp_dir = None, map_size = None,
    max_readers = None, growth_wait = None, any_file_system = false
))]
#[expect(clippy::too_many_arguments, reason = "keywords of Python")]
fn create(
    py: Python<'_>,
    path: PathBuf,
    dimensions: usize,
    metric: &str,
    dtype: Option<&str>,
    ids: Option<Bound<'_, PyAny>>,
    codes: AskedCodes,
    fields: Option<Bound<'_, PyDict>>,
    kinds: Option<Vec<String>>,
    name: Option<String>,
    m: Option<usize>,
    m0: Option<usize>,
    ef_construction: Option<usize>,
    alpha: Option<f32>,
    seed: Option<u64>,
    threads: usize,
    memory: Option<u64>,
    temp_dir: Option<PathBuf>,
    map_size: Option<u64>,
    max_readers: Option<u32>,
    growth_wait: Option<f64>,
    any_file_system: bool,
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
    create_or_open(py, path, &creation, settings, false)
}

/// Opens an index, whatever its metric, dtype and ids are.
///
/// Args:
///     path: the folder.
///     name: the name of the index, where the folder has several.
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
fn open(
    py: Python<'_>,
    path: PathBuf,
    name: Option<String>,
    read_only: bool,
    threads: usize,
    memory: Option<u64>,
    temp_dir: Option<PathBuf>,
    map_size: Option<u64>,
    max_readers: Option<u32>,
    growth_wait: Option<f64>,
    any_file_system: bool,
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
    let options = settings.of(py, Options::default())?;
    opened(py, settings, || match read_only {
        true => AnyIndex::open_read_only(path, options),
        false => AnyIndex::open(path, options),
    })
}

/// Opens an index, or creates it if there is none: of several processes that do so at once, one
/// creates it. The arguments are those of `create`. An index that is opened must have the `fields`,
/// and can have more; `codes="auto"` takes those that it has.
///
/// Raises:
///     Mismatch: there is an index that was created with other values.
#[pyfunction]
#[pyo3(signature = (
    path, dimensions, *, metric = "cosine", dtype = None, ids = None, codes = AskedCodes::Auto,
    fields = None, kinds = None, name = None, m = None, m0 = None, ef_construction = None,
    alpha = None, seed = None, threads = 0, memory = None, temp_dir = None, map_size = None,
    max_readers = None, growth_wait = None, any_file_system = false
))]
#[expect(clippy::too_many_arguments, reason = "keywords of Python")]
fn open_or_create(
    py: Python<'_>,
    path: PathBuf,
    dimensions: usize,
    metric: &str,
    dtype: Option<&str>,
    ids: Option<Bound<'_, PyAny>>,
    codes: AskedCodes,
    fields: Option<Bound<'_, PyDict>>,
    kinds: Option<Vec<String>>,
    name: Option<String>,
    m: Option<usize>,
    m0: Option<usize>,
    ef_construction: Option<usize>,
    alpha: Option<f32>,
    seed: Option<u64>,
    threads: usize,
    memory: Option<u64>,
    temp_dir: Option<PathBuf>,
    map_size: Option<u64>,
    max_readers: Option<u32>,
    growth_wait: Option<f64>,
    any_file_system: bool,
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
    create_or_open(py, path, &creation, settings, true)
}

/// Lists the indexes in a folder, or in any environment of LMDB: a list of `Inspected`. It needs no
/// metric, and changes nothing.
///
/// >>> import tempfile, voisin
/// >>> folder = tempfile.mkdtemp()
/// >>> voisin.create(folder, 3, name="notes", ids=str).add("a", [1.0, 0.0, 0.0])
/// >>> [(found.name, found.metric, found.items) for found in voisin.inspect(folder)]
/// [('notes', 'cosine', 1)]
#[pyfunction]
fn inspect(py: Python<'_>, path: PathBuf) -> PyResult<Vec<Bound<'_, PyAny>>> {
    let found = detached(py, || voisin::inspect(path))?;
    found.iter().map(|inspected| facts::inspected(py, inspected)).collect()
}

/// Verifies the pages of a folder or a data file by plain reads, without opening it, whatever they
/// contain. Returns what is wrong, in words; an empty list if LMDB's own pages are sound.
/// `Index.check` does this, and verifies what is in the pages.
#[pyfunction]
fn verify_file(py: Python<'_>, path: PathBuf) -> PyResult<Vec<String>> {
    let report = detached(py, || voisin::verify_file(path))?;
    Ok(report.findings.iter().map(ToString::to_string).collect())
}

#[pymodule(gil_used = false)]
mod _voisin {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::batch::PyBatch;
    #[pymodule_export]
    use super::conditions::PyCondition;
    #[pymodule_export]
    use super::filters::KeptFilter;
    #[pymodule_export]
    use super::found::{Found, FoundMany};
    #[pymodule_export]
    use super::handle::Searcher;
    #[pymodule_export]
    use super::index::Index;
    #[pymodule_export]
    use super::pages::PyPages;
    #[pymodule_export]
    use super::query::PyQuery;
    #[pymodule_export]
    use super::upkeep::Snapshot;
    #[pymodule_export]
    use super::watch::CancelToken;
    #[pymodule_export]
    use super::{create, inspect, open, open_or_create, verify_file};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
