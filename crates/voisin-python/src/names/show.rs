//! Names to Python: in arrays and tables of numbers or of objects.

use numpy::ndarray::{Array1, Array2};
use numpy::{PyArray1, PyArray2};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use voisin::Searched;

use super::Name;
use crate::found_many::{filled, no_memory};

/// A table of answers, of `k` columns.
pub(super) fn table<I, T: Clone>(
    py: Python<'_>,
    rows: &[Searched<I>],
    k: usize,
    fill: T,
    cell: impl Fn(&I) -> T,
) -> PyResult<Array2<T>> {
    let mut table = filled(py, (rows.len(), k), fill)?;
    for (mut to, from) in table.rows_mut().into_iter().zip(rows) {
        to.iter_mut().zip(&from.nns).for_each(|(to, (item, _))| *to = cell(item));
    }
    Ok(table)
}

/// The class `uuid.UUID`.
pub(crate) fn uuid_type(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static UUID: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    UUID.import(py, "uuid", "UUID")
}

/// Names as an array of objects of Python's.
pub(super) fn objects<'py, K: Name + ?Sized>(
    py: Python<'py>,
    names: Vec<K::Owned>,
) -> PyResult<Bound<'py, PyAny>> {
    let names: Vec<_> =
        names.iter().map(|name| Ok(K::show_owned(py, name)?.unbind())).collect::<PyResult<_>>()?;
    Ok(PyArray1::from_owned_object_array(py, Array1::from_vec(names)).into_any())
}

/// The names of answers as a table of objects of Python's, filled up with `None`.
pub(super) fn object_table<'py, K: Name + ?Sized>(
    py: Python<'py>,
    rows: &[Searched<K::Owned>],
    k: usize,
) -> PyResult<Bound<'py, PyAny>> {
    // A pointer of Python's cannot be cloned without the interpreter.
    let mut table = filled(py, (rows.len(), k), None::<&K::Owned>)?;
    for (mut to, from) in table.rows_mut().into_iter().zip(rows) {
        to.iter_mut().zip(&from.nns).for_each(|(to, (name, _))| *to = Some(name));
    }
    let show = |name: Option<&K::Owned>| match name {
        Some(name) => Ok(K::show_owned(py, name)?.unbind()),
        None => Ok(py.None()),
    };
    let shape = table.raw_dim();
    let shown = table.into_iter().map(show).collect::<PyResult<Vec<_>>>()?;
    let table = Array2::from_shape_vec(shape, shown).map_err(|_| no_memory(py, k))?;
    Ok(PyArray2::from_owned_object_array(py, table).into_any())
}
