//! The native module of the Python package `voisin`: `AnyIndex` for Python, and nothing that it
//! does not do itself.
//!
//! | file | what it is for |
//! |---|---|
//! | `handle`, `held` | what can be searched, an index or a snapshot: the base class of both |
//! | `searched` | the same for voisin's queries, by each kind of names |
//! | `stored` | what that has stored: vectors, records, fields, counts |
//! | `opening` | how an index is created and opened |
//! | `index`, `unless`, `upkeep` | an index: changes, those that depend on what is near, the rest |
//! | `asked`, `found`, `found_many` | the options of a search; its answers |
//! | `query`, `pages`, `groups` | options that are kept, and the questions that only they answer |
//! | `write`, `load` | changes in one transaction; loads |
//! | `batch`, `batch_tenant`, `queue` | changes that wait for the end of a `with` block |
//! | `folder`, `folder_write`, `tables` | several indexes, and tables, in one commit |
//! | `copies` | copies of items of one index in another |
//! | `vectors`, `names`, `records` | arrays of vectors, ids, and records, from and to Python |
//! | `conditions`, `condition_tree`, `filters` | conditions on fields; kept sets of items |
//! | `settings`, `facts` | options to open with; statistics |
//! | `arguments`, `whole`, `texts` | arguments: flags, numbers, paths; whole numbers; text |
//! | `watch` | signals and cancellation, and how calls detach from the interpreter |
//! | `errors` | errors as exceptions |
//! | `command`, `report` | the command `voisin`, and its report for notebooks |
//!
//! `python/voisin` has what is better written in Python: the exceptions, the classes of facts, the
//! sources of loads, JSON, the operators of fields, asyncio. Its `_voisin.pyi` says the types of
//! everything here, and `stubtest` compares both.

mod arguments;
mod asked;
mod batch;
mod batch_tenant;
mod command;
mod condition_tree;
mod conditions;
mod copies;
mod errors;
mod facts;
mod filters;
mod folder;
mod folder_write;
mod found;
mod found_many;
mod groups;
mod handle;
mod held;
mod index;
mod load;
mod names;
mod opening;
mod pages;
mod query;
mod queue;
mod records;
mod report;
mod searched;
mod settings;
mod stored;
mod tables;
mod tenants;
mod texts;
mod unless;
mod upkeep;
mod vectors;
mod watch;
mod whole;
mod write;

use std::path::PathBuf;

use pyo3::prelude::*;

use crate::arguments::paths;
use crate::watch::{detached, detached_write};

/// Lists the indexes in a folder, or in any environment of LMDB: a list of `Inspected`. It needs no
/// metric, and changes nothing.
///
/// >>> import tempfile, voisin
/// >>> folder = tempfile.mkdtemp()
/// >>> voisin.create(folder, 3, name="notes", ids=str).add("a", [1.0, 0.0, 0.0])
/// >>> [(found.name, found.metric, found.items) for found in voisin.inspect(folder)]
/// [('notes', 'cosine', 1)]
#[pyfunction]
fn inspect(
    py: Python<'_>,
    #[pyo3(from_py_with = paths::path)] path: PathBuf,
) -> PyResult<Vec<Bound<'_, PyAny>>> {
    let found = detached(py, || voisin::inspect(path))?;
    found.iter().map(|inspected| facts::inspected(py, inspected)).collect()
}

/// Removes an index from its folder, with all its items, in one commit. Its space in the file is
/// used again. Other handles on it raise from then on; snapshots that are held keep their view.
///
/// Raises:
///     NotThere: there is no such index.
///
/// >>> import tempfile, voisin
/// >>> folder = tempfile.mkdtemp()
/// >>> for name in ("old", "new"):
/// ...     voisin.create(folder, 3, name=name).close()
/// >>> voisin.remove_index(folder, "old")
/// >>> [found.name for found in voisin.inspect(folder)]
/// ['new']
#[pyfunction]
#[pyo3(signature = (path, name = "main"))]
fn remove_index(
    py: Python<'_>,
    #[pyo3(from_py_with = paths::path)] path: PathBuf,
    #[pyo3(from_py_with = texts::required::name)] name: &str,
) -> PyResult<()> {
    detached_write(py, || voisin::remove_index(path, voisin::Options::default().name(name)))
}

/// Verifies the pages of a folder or a data file by plain reads, without opening it, whatever they
/// contain. Returns what is wrong, in words; an empty list if LMDB's own pages are sound.
/// `Index.check` does this, and verifies what is in the pages.
#[pyfunction]
fn verify_file(
    py: Python<'_>,
    #[pyo3(from_py_with = paths::path)] path: PathBuf,
) -> PyResult<Vec<String>> {
    let report = detached(py, || voisin::verify_file(path))?;
    Ok(report.findings.iter().map(ToString::to_string).collect())
}

#[pymodule(gil_used = false)]
mod _voisin {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::batch::PyBatch;
    #[pymodule_export]
    use super::batch_tenant::PyTenantBatch;
    #[pymodule_export]
    use super::command::_run_command;
    #[pymodule_export]
    use super::conditions::{_restored_condition, PyCondition};
    #[pymodule_export]
    use super::filters::KeptFilter;
    #[pymodule_export]
    use super::folder::{Folder, FolderSnapshot};
    #[pymodule_export]
    use super::folder_write::FolderWrite;
    #[pymodule_export]
    use super::found::Found;
    #[pymodule_export]
    use super::found_many::FoundMany;
    #[pymodule_export]
    use super::handle::Searcher;
    #[pymodule_export]
    use super::index::Index;
    #[pymodule_export]
    use super::opening::{create, open, open_or_create};
    #[pymodule_export]
    use super::pages::PyPages;
    #[pymodule_export]
    use super::query::PyQuery;
    #[pymodule_export]
    use super::report::PyReport;
    #[pymodule_export]
    use super::tables::{Table, TableWrite};
    #[pymodule_export]
    use super::tenants::{PyTenant, tenant_of};
    #[pymodule_export]
    use super::upkeep::Snapshot;
    #[pymodule_export]
    use super::watch::CancelToken;
    #[pymodule_export]
    use super::{inspect, remove_index, verify_file};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
