//! Names from Python: of one item, or of many, in an array, a list, a set or another iterable.

use numpy::{PyArray1, PyArrayDescrMethods, PyArrayMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyInt, PyIterator, PyString};

use super::uuid_type;
use crate::errors::{refused, refused_value};
use crate::texts::{shown, text_of};
use crate::vectors::has_mask;

/// Whether this is the name of one item, and no collection of names.
pub(crate) fn is_one(names: &Bound<'_, PyAny>) -> bool {
    names.is_instance_of::<PyInt>()
        || names.is_instance_of::<PyString>()
        || names.is_instance_of::<PyBytes>()
        || is_uuid(names)
        // A number of numpy's.
        || (names.try_iter().is_err() && names.extract::<u64>().is_ok())
}

/// The exception for a name of another type than `of`.
fn no_name(name: &Bound<'_, PyAny>, of: &str, remedy: &str) -> PyErr {
    let given = name.get_type().name().map_or_else(|_| "object".to_owned(), |it| it.to_string());
    let message =
        format!("the items of this index are named by {of}, and {given} was given: give {remedy}");
    refused(name.py(), "NamingMismatch", &message)
}

fn not_an_int(name: &Bound<'_, PyAny>) -> PyErr {
    no_name(name, "int", "ints")
}

/// The exception for one name where several belong.
fn one_name(names: &Bound<'_, PyAny>, of: &str) -> PyErr {
    let message = format!("one name was given, where several belong: give a list of {of}");
    refused(names.py(), "NamingMismatch", &message)
}

/// # Errors
/// `NamingMismatch` for an array with a mask, which would be lost.
fn check_mask(names: &Bound<'_, PyAny>) -> PyResult<()> {
    if !has_mask(names)? {
        return Ok(());
    }
    let message = "ids is an array with masked elements, which name no items: give \
                   ids.compressed(), and the rows of these alone";
    Err(refused(names.py(), "NamingMismatch", message))
}

/// Iterates over many names.
///
/// # Errors
/// `NamingMismatch` for what is no iterable.
fn iterated<'py>(names: &Bound<'py, PyAny>, of: &str) -> PyResult<Bound<'py, PyIterator>> {
    names.try_iter().map_err(|_| {
        let message = format!(
            "ids is {}, and the items of this index are named by {of}: give one id, or an array, a \
             list, a set or another iterable of ids",
            shown(names)
        );
        refused(names.py(), "NamingMismatch", &message)
    })
}

/// An integer from 0 to `max`.
pub(super) fn take_int(name: &Bound<'_, PyAny>, max: u64) -> PyResult<u64> {
    match name.extract::<u64>() {
        // True would be 1.
        _ if name.is_instance_of::<PyBool>() => Err(not_an_int(name)),
        Ok(value) if value <= max => Ok(value),
        Ok(value) => Err(too_large(name.py(), value, max)),
        Err(_) if name.is_instance_of::<PyInt>() || name.hasattr("__index__")? => {
            let shown = name.str()?;
            let more = if max < u64::MAX { ", or an index created with ids=\"u64\"" } else { "" };
            let message = format!("an item cannot be named {shown}: use 0 to {max}{more}");
            Err(refused(name.py(), "InvalidId", &message))
        }
        Err(_) => Err(not_an_int(name)),
    }
}

fn too_large(py: Python<'_>, value: u64, max: u64) -> PyErr {
    let message = format!(
        "an item of this index cannot be named {value}: use 0 to {max}, or an index created with \
         ids=\"u64\""
    );
    refused_value(py, "InvalidId", &message, value, Some(max))
}

/// Integers from 0 to `max`.
pub(super) fn take_ints(names: &Bound<'_, PyAny>, max: u64) -> PyResult<Vec<u64>> {
    let py = names.py();
    if names.cast::<PyUntypedArray>().is_ok_and(|array| array.dtype().kind() == b'b') {
        let message = "a mask of booleans names no items: give ids, as numpy.flatnonzero(mask) has \
                       them where rows are ids";
        return Err(refused(py, "NamingMismatch", message));
    }
    check_mask(names)?;
    let check = |value: u64| if value <= max { Ok(value) } else { Err(too_large(py, value, max)) };
    if let Ok(array) = names.cast::<PyArray1<i64>>() {
        let array = array.readonly();
        let negative = |value: i64| {
            let message = format!("an item cannot be named {value}: use 0 to {max}");
            refused(py, "InvalidId", &message)
        };
        let take =
            |value: &i64| u64::try_from(*value).map_err(|_| negative(*value)).and_then(check);
        return array.as_array().iter().map(take).collect();
    }
    if let Ok(array) = names.cast::<PyArray1<u64>>() {
        return array.readonly().as_array().iter().map(|value| check(*value)).collect();
    }
    if let Ok(array) = names.cast::<PyArray1<u32>>() {
        return array.readonly().as_array().iter().map(|value| check((*value).into())).collect();
    }
    if is_one(names) {
        let is_int = names.is_instance_of::<PyInt>() && !names.is_instance_of::<PyBool>();
        return Err(if is_int { one_name(names, "int") } else { not_an_int(names) });
    }
    iterated(names, "int")?.map(|name| take_int(&name?, max)).collect()
}

pub(super) fn take_text(name: &Bound<'_, PyAny>) -> PyResult<String> {
    name.cast::<PyString>().map_or_else(
        |_| Err(no_name(name, "str", "strings")),
        |name| text_of(name, "InvalidId", "an id").map(str::to_owned),
    )
}

/// Whether this is a `uuid.UUID`.
fn is_uuid(name: &Bound<'_, PyAny>) -> bool {
    uuid_type(name.py()).is_ok_and(|of| name.is_instance(of).unwrap_or(false))
}

pub(super) fn take_bytes(name: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    name.cast::<PyBytes>()
        .map_or_else(|_| Err(no_name(name, "bytes", "bytes")), |name| Ok(name.as_bytes().to_vec()))
}

pub(super) fn take_uuid(name: &Bound<'_, PyAny>) -> PyResult<[u8; 16]> {
    if !is_uuid(name) {
        return Err(no_name(name, "uuid.UUID", "UUIDs"));
    }
    name.getattr("bytes")?.extract()
}

/// Many names that are objects of Python's: any iterable but the name of one item.
pub(super) fn take_objects<T>(
    names: &Bound<'_, PyAny>,
    what: &str,
    take: impl Fn(&Bound<'_, PyAny>) -> PyResult<T>,
) -> PyResult<Vec<T>> {
    if is_one(names) {
        return Err(one_name(names, what));
    }
    check_mask(names)?;
    iterated(names, what)?.map(|name| take(&name?)).collect()
}
