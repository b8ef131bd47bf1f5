//! Reports about an index: those of the command `voisin`, for notebooks and files.

use std::path::PathBuf;

use pyo3::prelude::*;

use crate::arguments::{flags, objects, paths};
use crate::held::Held;
use crate::index::{Index, held};
use crate::watch::{CancelToken, Watch};

/// A report about an index: what is in it, bytes by kind of value, layers and degrees of its graph,
/// and recall against the time of searches. `Index.report` makes one. A notebook shows it; `save`
/// writes it to a file, which asks no network for anything.
#[pyclass(name = "Report", module = "voisin", frozen)]
pub(crate) struct PyReport {
    title: String,
    /// Without the page around it.
    described: String,
}

#[pymethods]
impl PyReport {
    /// The report as an HTML page of its own.
    #[getter]
    fn html(&self) -> String {
        voisin_cli::page::page(&self.title, &self.described)
    }

    /// Writes the report to a file, as an HTML page of its own. It replaces a file that is there.
    fn save(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = paths::path)] path: PathBuf,
    ) -> PyResult<()> {
        // Python's own errors name the file.
        let path = py.import("pathlib")?.getattr("Path")?.call1((path,))?;
        path.call_method1("write_text", (self.html(), "utf-8")).map(drop)
    }

    fn _repr_html_(&self) -> String {
        voisin_cli::page::part(&self.described)
    }

    fn __repr__(&self) -> String {
        format!("<Report: {}; a notebook shows it, and save(path) writes it>", self.title)
    }
}

#[pymethods]
impl Index {
    /// Describes the index for a person: see `Report`. It takes some seconds, as recall and time
    /// are measured by items of the index: for each kind of index and a range of effort, 16 to 256
    /// items are searched for one after the other, and compared with exact searches, on all
    /// threads. An index of fewer than 1 000 items is not measured.
    ///
    /// Args:
    ///     recall: False leaves the measurement out.
    ///     cancel: a `CancelToken`. Control-C ends it, too.
    ///
    /// >>> import tempfile, voisin
    /// >>> index = voisin.create(tempfile.mkdtemp(), 2)
    /// >>> index.add([1, 2], [[0.9, 0.1], [0.1, 0.9]])
    /// >>> index.report(recall=False).html[:15]
    /// '<!doctype html>'
    #[pyo3(signature = (*, recall = true, cancel = None))]
    fn report(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = flags::recall)] recall: bool,
        #[pyo3(from_py_with = objects::cancel)] cancel: Option<Bound<'_, CancelToken>>,
    ) -> PyResult<PyReport> {
        let (py, watch) = (slf.py(), Watch::of(&cancel));
        let index = held(slf)?.any().ok_or_else(|| crate::handle::closed(py))?;
        let described =
            watch.run(py, || voisin_cli::page::describe(&index, recall, &|| watch.is_over()))?;
        let title = format!("voisin: {} in {}", index.name(), index.path().display());
        Ok(PyReport { title, described })
    }

    fn _repr_html_<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("voisin._html")?.getattr("index")?.call1((slf,))
    }
}

impl Held {
    /// The index; None for a snapshot or a tenant.
    fn any(self) -> Option<voisin::AnyIndex> {
        match self {
            Self::Ids(index) => Some(voisin::AnyIndex::Ids(index)),
            Self::Numbers(index) => Some(voisin::AnyIndex::Numbers(index)),
            Self::Texts(index) => Some(voisin::AnyIndex::Texts(index)),
            Self::Bytes(index) => Some(voisin::AnyIndex::Bytes(index)),
            Self::Uuids(index) => Some(voisin::AnyIndex::Uuids(index)),
            Self::IdsAt(_)
            | Self::NumbersAt(_)
            | Self::TextsAt(_)
            | Self::BytesAt(_)
            | Self::UuidsAt(_)
            | Self::TextsOf(_)
            | Self::BytesOf(_)
            | Self::TextsOfAt(_)
            | Self::BytesOfAt(_) => None,
        }
    }
}
