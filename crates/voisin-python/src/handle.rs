//! What can be searched: an index, or a snapshot of one. What is stored in it is looked up in
//! `stored.rs`, and `held.rs` has its handle of voisin's.

use std::sync::{PoisonError, RwLock};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use voisin::AnyIndex;

use crate::arguments::{flags, objects, reals};
use crate::asked::{self, Asked, Options};
use crate::errors::refused;
use crate::held::{Held, each_held};
use crate::query::PyQuery;
use crate::texts;
use crate::vectors::{Shape, queried};
use crate::watch::{CancelToken, Watch};
use crate::whole;

/// The exception for what has been closed.
pub(crate) fn closed(py: Python<'_>) -> PyErr {
    refused(py, "Closed", "this index or snapshot has been closed: open it again")
}

/// Makes a class that has `close` a context manager: what a `with` block has opened is closed at
/// its end.
macro_rules! with_block {
    ($class:ty) => {
        #[pymethods]
        impl $class {
            fn __enter__(slf: Py<Self>) -> Py<Self> {
                slf
            }

            fn __exit__(
                &self,
                py: Python<'_>,
                _error: &Bound<'_, PyAny>,
                _value: &Bound<'_, PyAny>,
                _traceback: &Bound<'_, PyAny>,
            ) {
                self.close(py);
            }
        }
    };
}
pub(crate) use with_block;

with_block!(Searcher);

/// What can be searched: an `Index`, or a `Snapshot` of one.
#[pyclass(module = "voisin", subclass, frozen)]
pub(crate) struct Searcher {
    held: RwLock<Option<Held>>,
    /// What a tenant is one of: it is closed with that.
    of: Option<Py<Searcher>>,
    shape: Shape,
    metric: &'static str,
    id_type: &'static str,
}

impl Searcher {
    pub(crate) fn of(index: &AnyIndex) -> Self {
        let shape = Shape { dimensions: index.dimensions(), form: index.form() };
        let id_type = match index {
            AnyIndex::Ids(_) => "u32",
            AnyIndex::Numbers(_) => "u64",
            AnyIndex::Texts(_) => "str",
            AnyIndex::Bytes(_) => "bytes",
            AnyIndex::Uuids(_) => "uuid",
        };
        let (metric, held) = (index.metric(), RwLock::new(Some(index.clone().into())));
        Self { held, of: None, shape, metric, id_type }
    }

    /// The same for a snapshot of it.
    pub(crate) fn at(&self, held: Held) -> Self {
        let Self { shape, metric, id_type, .. } = *self;
        Self { held: RwLock::new(Some(held)), of: None, shape, metric, id_type }
    }

    /// The same for a tenant of what `of` searches.
    pub(crate) fn tenant_at(of: &Bound<'_, Self>, held: Held) -> Self {
        Self { of: Some(of.clone().unbind()), ..of.get().at(held) }
    }

    /// What is searched: a reference of this call's, so that it can be closed meanwhile.
    ///
    /// # Errors
    /// `Closed`.
    pub(crate) fn held(&self, py: Python<'_>) -> PyResult<Held> {
        if self.of.as_ref().is_some_and(|of| of.get().is_closed()) {
            return Err(closed(py));
        }
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.clone().ok_or_else(|| closed(py))
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    pub(crate) fn metric_name(&self) -> &'static str {
        self.metric
    }

    pub(crate) fn id_type(&self) -> &'static str {
        self.id_type
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.of.as_ref().is_some_and(|of| of.get().is_closed())
            || self.held.read().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

#[pymethods]
impl Searcher {
    /// The number of components of every vector.
    #[getter]
    fn dimensions(&self) -> usize {
        self.shape.dimensions
    }

    /// The name of the metric, such as `"cosine"`.
    #[getter]
    fn metric(&self) -> &'static str {
        self.metric
    }

    /// The element type of stored vectors: `"f32"`, `"f16"`, `"bf16"`, `"i8"`, `"bits"` or
    /// `"signs"`.
    #[getter]
    fn dtype(&self) -> &'static str {
        self.shape.form
    }

    /// What names items: `"u32"`, `"u64"`, `"str"`, `"bytes"` or `"uuid"`.
    #[getter]
    #[pyo3(name = "id_type")]
    fn py_id_type(&self) -> &'static str {
        self.id_type
    }

    /// Closes the index, or lets go of the commit of a snapshot. Later calls raise `Closed`, also
    /// those of its tenants, queries and batches; calls in progress end as usual. Snapshots and
    /// pages of an index that is closed keep their commit until they are closed or dropped, and the
    /// files are closed when all handles and snapshots of the process are.
    fn close(&self, py: Python<'_>) {
        let held = self.held.write().unwrap_or_else(PoisonError::into_inner).take();
        // The last one closes the files.
        py.detach(|| drop(held));
    }

    /// Whether `close` was called, or that of what a tenant is one of.
    #[getter]
    fn closed(&self) -> bool {
        self.is_closed()
    }

    /// Finds the items nearest to a vector, or to each row of a matrix, in one call.
    ///
    /// Args:
    ///     vector: an array of shape `(dimensions,)`, or `(n, dimensions)`. Contiguous arrays of
    ///         `float32` and `float64` are used where they are, those of `float16`, `int8`,
    ///         `uint8` and, in an index of `"bits"`, packed bits (`numpy.packbits`) are converted
    ///         by voisin, and everything else by numpy. Masked elements are refused. Do not write
    ///         to an array meanwhile.
    ///     k: the number of items to find; 0 finds none.
    ///     ef: how many candidates a search of the graph expands, at least 1: more find more, in
    ///         more time. Fewer than `k` count as `k`.
    ///     recall: instead of `ef`, the share of true neighbors to find on average, such as 0.95.
    ///     exact: True compares with all vectors; False searches the graph in any case.
    ///     kind: the kind of index to search by, such as `"hnsw"` or `"ivf"`; the one that costs
    ///         the least unless given. `Index.kinds` tells which ones there are.
    ///     nprobe: how many inverted lists a search by `"ivf"` reads, at least 1.
    ///     parameters: options by name in a text, as a configuration has them: `"ef=80,nprobe=16"`.
    ///     filter: only these items: a condition on the fields of their records (of `field`, or a
    ///         dict), their ids (an array, a list, a set), a `Filter`, or a function of an id that
    ///         tells, and is called only for items that would be results otherwise.
    ///     exclude: none of these items: a condition, ids, or a `Filter`.
    ///     prefix: only items whose ids begin with this, where they are strings.
    ///     radius: only items no farther than this, at most `k`.
    ///     vectors: whether to return the vectors of the items, too.
    ///     records: whether to return their records, too.
    ///     deadline: seconds after which the search ends with the nearest items seen so far.
    ///     codes: False searches without the quantized codes of the index.
    ///     cancel: a `CancelToken` that ends the search early.
    ///
    /// Returns:
    ///     `Found` for a vector, `FoundMany` for a matrix.
    ///
    /// >>> import tempfile, voisin
    /// >>> index = voisin.create(tempfile.mkdtemp(), 3)
    /// >>> index.add([10, 11], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    /// >>> index.search([0.1, 0.9, 0.0], k=1)[0].id
    /// 11
    /// >>> index.search([0.1, 0.9, 0.0], k=1, exclude=[11])[0].id
    /// 10
    /// >>> index.search([[0.1, 0.9, 0.0], [0.8, 0.1, 0.0]], k=1).ids
    /// array([[11],
    ///        [10]])
    #[pyo3(signature = (
        vector, k = 10, *, ef = None, recall = None, exact = None, kind = None, nprobe = None,
        parameters = None, filter = None, exclude = None, prefix = None, radius = None,
        vectors = false, records = false, deadline = None, codes = true, cancel = None
    ))]
    #[expect(clippy::too_many_arguments, reason = "keywords of Python")]
    fn search<'py>(
        &self,
        vector: &Bound<'py, PyAny>,
        #[pyo3(from_py_with = whole::k)] k: usize,
        #[pyo3(from_py_with = whole::ef)] ef: Option<usize>,
        #[pyo3(from_py_with = reals::recall)] recall: Option<f64>,
        #[pyo3(from_py_with = flags::exact)] exact: Option<bool>,
        #[pyo3(from_py_with = texts::kind)] kind: Option<String>,
        #[pyo3(from_py_with = whole::nprobe)] nprobe: Option<usize>,
        #[pyo3(from_py_with = texts::parameters)] parameters: Option<String>,
        filter: Option<Bound<'py, PyAny>>,
        exclude: Option<Bound<'py, PyAny>>,
        #[pyo3(from_py_with = texts::prefix)] prefix: Option<String>,
        #[pyo3(from_py_with = reals::radius_if)] radius: Option<f32>,
        #[pyo3(from_py_with = flags::vectors)] vectors: bool,
        #[pyo3(from_py_with = flags::records)] records: bool,
        #[pyo3(from_py_with = reals::deadline)] deadline: Option<f64>,
        #[pyo3(from_py_with = flags::codes)] codes: bool,
        #[pyo3(from_py_with = objects::cancel)] cancel: Option<Bound<'py, CancelToken>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = vector.py();
        let given = queried(vector, self.shape)?;
        let options = Options {
            k,
            ef,
            nprobe,
            parameters,
            kind,
            recall,
            exact,
            filter,
            exclude,
            prefix,
            radius,
            vectors,
            records,
            deadline,
            codes,
        };
        let (given, watch) = ((&given, self.shape.dimensions), Watch::of(&cancel));
        each_held!(&self.held(py)?, held => {
            asked::search(py, held, &Asked::new(py, options)?, given, &watch)
        })
    }

    /// Finds the items nearest to a stored item, without that item. The options are those of
    /// `search`.
    ///
    /// Raises:
    ///     MissingItem: there is no such item.
    ///
    /// >>> import tempfile, voisin
    /// >>> index = voisin.create(tempfile.mkdtemp(), 2)
    /// >>> index.add([1, 2, 3], [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    /// >>> index.similar(1, k=1).ids
    /// array([2])
    #[pyo3(signature = (
        id, k = 10, *, ef = None, recall = None, exact = None, kind = None, nprobe = None,
        parameters = None, filter = None, exclude = None, prefix = None, radius = None,
        vectors = false, records = false, deadline = None, codes = true, cancel = None
    ))]
    #[expect(clippy::too_many_arguments, reason = "keywords of Python")]
    fn similar<'py>(
        &self,
        id: &Bound<'py, PyAny>,
        #[pyo3(from_py_with = whole::k)] k: usize,
        #[pyo3(from_py_with = whole::ef)] ef: Option<usize>,
        #[pyo3(from_py_with = reals::recall)] recall: Option<f64>,
        #[pyo3(from_py_with = flags::exact)] exact: Option<bool>,
        #[pyo3(from_py_with = texts::kind)] kind: Option<String>,
        #[pyo3(from_py_with = whole::nprobe)] nprobe: Option<usize>,
        #[pyo3(from_py_with = texts::parameters)] parameters: Option<String>,
        filter: Option<Bound<'py, PyAny>>,
        exclude: Option<Bound<'py, PyAny>>,
        #[pyo3(from_py_with = texts::prefix)] prefix: Option<String>,
        #[pyo3(from_py_with = reals::radius_if)] radius: Option<f32>,
        #[pyo3(from_py_with = flags::vectors)] vectors: bool,
        #[pyo3(from_py_with = flags::records)] records: bool,
        #[pyo3(from_py_with = reals::deadline)] deadline: Option<f64>,
        #[pyo3(from_py_with = flags::codes)] codes: bool,
        #[pyo3(from_py_with = objects::cancel)] cancel: Option<Bound<'py, CancelToken>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = id.py();
        let options = Options {
            k,
            ef,
            nprobe,
            parameters,
            kind,
            recall,
            exact,
            filter,
            exclude,
            prefix,
            radius,
            vectors,
            records,
            deadline,
            codes,
        };
        let watch = Watch::of(&cancel);
        each_held!(&self.held(py)?, held => {
            asked::similar(py, held, &Asked::new(py, options)?, id, &watch)
        })
    }

    /// A query with options, those of `search`, that is kept for many vectors, and asks for more
    /// than `search`: pages, groups, several vectors, counts, recall, explanations. See `Query`.
    #[pyo3(signature = (
        k = 10, *, ef = None, recall = None, exact = None, kind = None, nprobe = None,
        parameters = None, filter = None, exclude = None, prefix = None, radius = None,
        vectors = false, records = false, deadline = None, codes = true, cancel = None
    ))]
    #[expect(clippy::too_many_arguments, reason = "keywords of Python")]
    fn query(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = whole::k)] k: usize,
        #[pyo3(from_py_with = whole::ef)] ef: Option<usize>,
        #[pyo3(from_py_with = reals::recall)] recall: Option<f64>,
        #[pyo3(from_py_with = flags::exact)] exact: Option<bool>,
        #[pyo3(from_py_with = texts::kind)] kind: Option<String>,
        #[pyo3(from_py_with = whole::nprobe)] nprobe: Option<usize>,
        #[pyo3(from_py_with = texts::parameters)] parameters: Option<String>,
        filter: Option<Bound<'_, PyAny>>,
        exclude: Option<Bound<'_, PyAny>>,
        #[pyo3(from_py_with = texts::prefix)] prefix: Option<String>,
        #[pyo3(from_py_with = reals::radius_if)] radius: Option<f32>,
        #[pyo3(from_py_with = flags::vectors)] vectors: bool,
        #[pyo3(from_py_with = flags::records)] records: bool,
        #[pyo3(from_py_with = reals::deadline)] deadline: Option<f64>,
        #[pyo3(from_py_with = flags::codes)] codes: bool,
        #[pyo3(from_py_with = objects::cancel)] cancel: Option<Bound<'_, CancelToken>>,
    ) -> PyResult<PyQuery> {
        let options = Options {
            k,
            ef,
            nprobe,
            parameters,
            kind,
            recall,
            exact,
            filter,
            exclude,
            prefix,
            radius,
            vectors,
            records,
            deadline,
            codes,
        };
        PyQuery::new(slf, options, cancel.map(Bound::unbind))
    }

    /// As `search`, awaited: it runs in a thread of asyncio's default executor. Cancelling the task
    /// ends the search.
    ///
    /// >>> import asyncio, tempfile, voisin
    /// >>> index = voisin.create(tempfile.mkdtemp(), 2)
    /// >>> index.add(7, [0.5, 0.5])
    /// >>> asyncio.run(index.asearch([0.5, 0.4], k=1))[0].id
    /// 7
    #[pyo3(signature = (vector, k = 10, **options))]
    fn asearch<'py>(
        slf: &Bound<'py, Self>,
        vector: &Bound<'py, PyAny>,
        #[pyo3(from_py_with = whole::k)] k: usize,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let work = slf.py().import("voisin._aio")?.getattr("search")?;
        work.call((slf, vector, k), options)
    }
}
