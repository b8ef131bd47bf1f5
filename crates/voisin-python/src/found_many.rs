//! The answers to the rows of a matrix, as arrays.

use numpy::ndarray::{Array2, Array3};
use numpy::{PyArray1, PyArray2, PyArray3};
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyList;
use voisin::Searched;

use crate::errors::{not_pickled, refused_value};
use crate::found::{Found, Many, One, each};
use crate::names::Name;
use crate::records;

/// A table of one value, of `k` columns.
///
/// # Errors
/// `InvalidParameter` if there is no memory for it.
pub(crate) fn filled<T: Clone>(
    py: Python<'_>,
    (rows, k): (usize, usize),
    value: T,
) -> PyResult<Array2<T>> {
    let mut all = Vec::new();
    let count = rows.checked_mul(k).ok_or_else(|| no_memory(py, k))?;
    all.try_reserve_exact(count).map_err(|_| no_memory(py, k))?;
    all.resize(count, value);
    Array2::from_shape_vec((rows, k), all).map_err(|_| no_memory(py, k))
}

pub(crate) fn no_memory(py: Python<'_>, k: usize) -> PyErr {
    let message = format!(
        "there is no memory for arrays of {k} columns: search for a smaller k, or take the rows of \
         the answer one by one"
    );
    refused_value(py, "InvalidParameter", &message, k as u64, None)
}

/// The answers to the rows of a matrix.
///
/// `ids` and `distances` are arrays of shape `(rows, k)`; `found[row]` is the answer to one row.
///
/// >>> import tempfile, voisin
/// >>> index = voisin.create(tempfile.mkdtemp(), 2, metric="euclidean")
/// >>> index.add([1, 2, 3], [[0.0, 0.0], [1.0, 0.0], [5.0, 0.0]])
/// >>> found = index.search([[0.75, 0.0], [5.0, 0.0]], k=2)
/// >>> found.ids
/// array([[2, 1],
///        [3, 2]])
/// >>> found.distances.shape, found.counts
/// ((2, 2), array([2, 2]))
/// >>> found[1][0]
/// Hit(id=3, distance=0.0)
#[pyclass(module = "voisin", frozen)]
pub(crate) struct FoundMany {
    pub(crate) many: Many,
    pub(crate) k: usize,
    pub(crate) dimensions: usize,
    pub(crate) has_vectors: bool,
    pub(crate) has_records: bool,
    pub(crate) ids: PyOnceLock<Py<PyAny>>,
    pub(crate) distances: PyOnceLock<Py<PyArray2<f32>>>,
}

#[pymethods]
impl FoundMany {
    /// The ids of the items, of shape `(rows, k)`, the nearest first: as those of `Found`. Where a
    /// row has found fewer than `k`, it is filled up with -1, with `2**64 - 1` where items are
    /// named by `"u64"`, and with None where they are named by `str`; `counts` tells.
    #[getter]
    fn ids<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let ids = self.ids.get_or_try_init(py, || {
            let ids = each!(Many, &self.many, rows, K => <K as Name>::matrix(py, rows, self.k));
            ids.map(Bound::unbind)
        })?;
        Ok(ids.bind(py).clone())
    }

    /// The distances of the items, of shape `(rows, k)` and type `float32`, filled up with `inf`.
    #[getter]
    fn distances<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let distances = self.distances.get_or_try_init(py, || -> PyResult<_> {
            let mut table = filled(py, (self.__len__(), self.k), f32::INFINITY)?;
            each!(Many, &self.many, rows, _K => {
                for (mut to, from) in table.rows_mut().into_iter().zip(rows) {
                    to.iter_mut().zip(&from.nns).for_each(|(to, (_, from))| *to = *from);
                }
            });
            Ok(PyArray2::from_owned_array(py, table).unbind())
        })?;
        Ok(distances.bind(py).clone())
    }

    /// The number of items that each row has found, of shape `(rows,)`: `k`, or fewer.
    #[getter]
    fn counts<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        each!(Many, &self.many, rows, _K => {
            PyArray1::from_iter(py, rows.iter().map(|row| row.nns.len() as i64))
        })
    }

    /// The vectors of the items as stored, of shape `(rows, k, dimensions)`, filled up with `nan`,
    /// if the search was asked for them by `vectors=True`; else None.
    #[getter]
    fn vectors<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyArray3<f32>>>> {
        if !self.has_vectors {
            return Ok(None);
        }
        let (rows, k, dimensions) = (self.__len__(), self.k, self.dimensions);
        let wide = k.saturating_mul(dimensions);
        let table =
            filled(py, (rows, wide), f32::NAN)?.into_shape_with_order((rows, k, dimensions));
        let mut table: Array3<f32> = table.map_err(|_| no_memory(py, k))?;
        each!(Many, &self.many, rows, _K => {
            for (row, found) in rows.iter().enumerate() {
                for (column, vector) in found.vectors.iter().enumerate() {
                    let to = table.slice_mut(numpy::ndarray::s![row, column, ..]);
                    to.into_iter().zip(vector).for_each(|(to, from)| *to = *from);
                }
            }
        });
        Ok(Some(PyArray3::from_owned_array(py, table)))
    }

    /// The records of the items of each row, if the search was asked for them by `records=True`;
    /// else None. A list of as many lists as there are rows: see `Found.records`.
    #[getter]
    fn records<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyList>>> {
        self.listed(py, false)
    }

    /// The records as they are stored: see `Found.raw_records`.
    #[getter]
    fn raw_records<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyList>>> {
        self.listed(py, true)
    }

    /// Whether all rows were answered exactly and completely: see `Found.is_complete`.
    #[getter]
    fn is_complete(&self) -> bool {
        each!(Many, &self.many, rows, _K => rows.iter().all(Searched::is_complete))
    }

    /// Whether a `CancelToken` or the deadline ended the search of any row.
    #[getter]
    fn is_cancelled(&self) -> bool {
        each!(Many, &self.many, rows, _K => rows.iter().any(|row| row.did_cancel))
    }

    /// Whether the deadline ended the search of any row.
    #[getter]
    fn timed_out(&self) -> bool {
        each!(Many, &self.many, rows, _K => rows.iter().any(|row| row.timed_out))
    }

    /// The number of rows.
    fn __len__(&self) -> usize {
        each!(Many, &self.many, rows, _K => rows.len())
    }

    /// The answer to one row.
    fn __getitem__(&self, at: isize) -> PyResult<Found> {
        let count = self.__len__();
        let i = if at < 0 { at.checked_add_unsigned(count) } else { Some(at) };
        let i = i.and_then(|i| usize::try_from(i).ok()).filter(|i| *i < count);
        let i = i.ok_or_else(|| PyIndexError::new_err(format!("row {at} of {count}")))?;
        let one = match &self.many {
            Many::Ids(rows) => One::Ids(rows[i].clone()),
            Many::Numbers(rows) => One::Numbers(rows[i].clone()),
            Many::Texts(rows) => One::Texts(rows[i].clone()),
            Many::Bytes(rows) => One::Bytes(rows[i].clone()),
            Many::Uuids(rows) => One::Uuids(rows[i].clone()),
        };
        let vectors_of = self.has_vectors.then_some(self.dimensions);
        Ok(Found { one, has_records: self.has_records, vectors_of })
    }

    fn __reduce__(&self) -> PyResult<(Py<PyAny>, Py<PyAny>)> {
        not_pickled("FoundMany", "its ids and distances")
    }

    fn __repr__(&self) -> String {
        format!("<{} answers, k {}>", self.__len__(), self.k)
    }

    fn _repr_html_<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("voisin._html")?.getattr("found_many")?.call1((slf,))
    }
}

impl FoundMany {
    fn listed<'py>(&self, py: Python<'py>, raw: bool) -> PyResult<Option<Bound<'py, PyList>>> {
        if !self.has_records {
            return Ok(None);
        }
        let rows: PyResult<Vec<_>> = each!(Many, &self.many, rows, _K => {
            rows.iter().map(|row| records::list(py, &row.records, raw)).collect()
        });
        PyList::new(py, rows?).map(Some)
    }
}
