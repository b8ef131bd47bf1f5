//! Records, from and to Python: bytes as they are, and dicts as JSON, which `_records.py` encodes
//! and decodes.

use std::collections::VecDeque;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyIterator, PyList, PyString};

use crate::errors::refused;
use crate::texts::shown;
use crate::vectors::Given;
use crate::watch::Watch;

/// The number of records that are taken from an iterable while attached: about a millisecond.
const RECORDS_AHEAD: usize = 256;

/// A record as voisin has it. None leaves the record that the item has.
pub(crate) type Record = Option<Vec<u8>>;

/// Takes one record: a dict, bytes, or None.
///
/// # Errors
/// `InvalidRecord`.
pub(crate) fn take_one(record: &Bound<'_, PyAny>) -> PyResult<Record> {
    if record.is_none() {
        return Ok(None);
    }
    if let Ok(bytes) = record.cast::<PyBytes>() {
        return Ok(Some(bytes.as_bytes().to_vec()));
    }
    static ENCODED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = record.py();
    let bytes = ENCODED.import(py, "voisin._records", "encoded")?.call1((record,))?;
    Ok(Some(bytes.cast_into::<PyBytes>()?.as_bytes().to_vec()))
}

/// The records of many items.
///
/// # Errors
/// `LengthMismatch` if one record was given, `InvalidRecord`.
pub(crate) fn take_list(records: &Bound<'_, PyAny>) -> PyResult<Vec<Record>> {
    if is_one(records) {
        let message = "one record was given, where several belong: give a list of records";
        return Err(refused(records.py(), "LengthMismatch", message));
    }
    iterated(records)?.map(|record| take_one(&record?)).collect()
}

/// Iterates over many records.
///
/// # Errors
/// `InvalidRecord`.
fn iterated<'py>(records: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyIterator>> {
    records.try_iter().map_err(|_| {
        let message =
            format!("records is {}: give a list of as many records as ids", shown(records));
        refused(records.py(), "InvalidRecord", &message)
    })
}

/// The exception for a wrong number of records.
pub(crate) fn mismatch(py: Python<'_>, items: usize, records: usize) -> PyErr {
    let message = format!("{items} items and {records} records: give as many records as items");
    refused(py, "LengthMismatch", &message)
}

/// Whether this is one record, and no iterable of records.
fn is_one(records: &Bound<'_, PyAny>) -> bool {
    records.is_none()
        || records.is_instance_of::<PyDict>()
        || records.is_instance_of::<PyBytes>()
        || records.is_instance_of::<PyString>()
}

/// The records for the items of vectors, if any are given: one for one vector.
pub(crate) fn take_for(
    records: Option<&Bound<'_, PyAny>>,
    given: &Given<'_>,
) -> PyResult<Option<Vec<Record>>> {
    let Some(records) = records else { return Ok(None) };
    match given.rows {
        None => Ok(Some(vec![take_one(records)?])),
        Some(count) => {
            let taken = take_list(records)?;
            match taken.len() == count {
                true => Ok(Some(taken)),
                false => Err(mismatch(records.py(), count, taken.len())),
            }
        }
    }
}

/// A record as Python has it: a dict if it is a JSON object, else bytes.
pub(crate) fn show<'py>(py: Python<'py>, record: Option<&[u8]>) -> PyResult<Bound<'py, PyAny>> {
    static DECODED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let Some(record) = record else { return Ok(py.None().into_bound(py)) };
    let bytes = PyBytes::new(py, record);
    if !record.starts_with(b"{") {
        return Ok(bytes.into_any());
    }
    DECODED.import(py, "voisin._records", "decoded")?.call1((bytes,))
}

/// The bytes of a record.
pub(crate) fn show_raw<'py>(py: Python<'py>, record: Option<&[u8]>) -> Bound<'py, PyAny> {
    record.map_or_else(|| py.None().into_bound(py), |record| PyBytes::new(py, record).into_any())
}

/// Records in a list, as dicts or as bytes.
pub(crate) fn list<'py>(
    py: Python<'py>,
    records: &[Record],
    raw: bool,
) -> PyResult<Bound<'py, PyList>> {
    let shown = records.iter().map(|record| match raw {
        true => Ok(show_raw(py, record.as_deref())),
        false => show(py, record.as_deref()),
    });
    PyList::new(py, shown.collect::<PyResult<Vec<_>>>()?)
}

/// Rows whose number is known, by which a budget is judged. A load that ends before them fails.
struct Counted<I> {
    pairs: I,
    left: usize,
}

impl<I: Iterator> Iterator for Counted<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        self.left = self.left.saturating_sub(1);
        self.pairs.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, None)
    }
}

/// The records of the rows of a load: an iterable, which is asked for some of them at a time, or
/// none.
pub(crate) struct Pull<'a> {
    records: Option<Py<PyIterator>>,
    watch: &'a Watch,
    ahead: VecDeque<Record>,
    is_over: bool,
}

impl<'a> Pull<'a> {
    pub(crate) fn new(records: Option<&Bound<'_, PyAny>>, watch: &'a Watch) -> PyResult<Self> {
        let records = records.map(|records| iterated(records).map(Bound::unbind)).transpose()?;
        Ok(Self { records, watch, ahead: VecDeque::new(), is_over: false })
    }

    /// The rows, each with its record. Too few records, or too many, end the load.
    pub(crate) fn with<T>(
        mut self,
        rows: impl Iterator<Item = T>,
    ) -> impl Iterator<Item = (T, Record)> {
        let (left, mut rows) = (rows.size_hint().0, rows.fuse());
        let pairs = std::iter::from_fn(move || {
            if self.is_over {
                return None;
            }
            let row = rows.next();
            if self.records.is_none() {
                return row.map(|row| (row, None));
            }
            match (row, self.next()) {
                (Some(row), Some(record)) => Some((row, record)),
                (None, None) => None,
                (Some(_), None) => self.fail("fewer records than rows"),
                (None, Some(_)) => self.fail("more records than rows"),
            }
        });
        Counted { pairs, left }
    }

    fn next(&mut self) -> Option<Record> {
        if self.ahead.is_empty() {
            let pulled = Python::attach(|py| {
                py.check_signals()?;
                self.pull(py)
            });
            if let Err(error) = pulled {
                // The load is cancelled before it commits what was read so far.
                self.watch.fail(error);
                self.ahead.clear();
            }
        }
        self.ahead.pop_front()
    }

    fn pull(&mut self, py: Python<'_>) -> PyResult<()> {
        let Some(records) = &self.records else { return Ok(()) };
        let records = records.bind(py).clone();
        for record in records.take(RECORDS_AHEAD) {
            self.ahead.push_back(take_one(&record?)?);
        }
        Ok(())
    }

    fn fail<T>(&mut self, what: &str) -> Option<T> {
        let message = format!("{what} were given: give one for each row, or None for none");
        Python::attach(|py| self.watch.fail(refused(py, "LengthMismatch", &message)));
        self.is_over = true;
        None
    }
}
