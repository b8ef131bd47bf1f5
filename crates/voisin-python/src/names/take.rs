//! Names from Python: of one item, or of many, in an array, a list, a set or another iterable.

use numpy::{PyArray1, PyArrayDescrMethods, PyArrayMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyInt, PyString};

use super::uuid_type;
use crate::errors::{refused, refused_value};

/// Whether this is the name of one item, and no collection of names.
pub(crate) fn is_one(names: &Bound<'_, PyAny>) -> bool {
    names.is_instance_of::<PyInt>()
        || names.is_instance_of::<PyString>()
        || names.is_instance_of::<PyBytes>()
        || is_uuid(names)
        // A number of numpy's.
        || (names.try_iter().is_err() && names.extract::<u64>().is_ok())
}

fn not_an_int(name: &Bound<'_, PyAny>) -> PyErr {
    let py = name.py();
    let given = name.get_type().name().map_or_else(|_| "object".to_owned(), |it| it.to_string());
    let message =
        format!("the items of this index are named by int, and {given} was given: give ints");
    refused(py, "NamingMismatch", &message)
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
    if is_one(names) && !names.is_instance_of::<PyInt>() {
        return Err(not_an_int(names));
    }
    names.try_iter()?.map(|name| take_int(&name?, max)).collect()
}

pub(super) fn take_text(name: &Bound<'_, PyAny>) -> PyResult<String> {
    name.cast::<PyString>().map_or_else(
        |_| {
            let message = "the items of this index are named by str: give strings";
            Err(refused(name.py(), "NamingMismatch", message))
        },
        |name| Ok(name.to_str()?.to_owned()),
    )
}

/// Whether this is a `uuid.UUID`.
fn is_uuid(name: &Bound<'_, PyAny>) -> bool {
    uuid_type(name.py()).is_ok_and(|of| name.is_instance(of).unwrap_or(false))
}

pub(super) fn take_bytes(name: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    name.cast::<PyBytes>().map_or_else(
        |_| {
            let message = "the items of this index are named by bytes: give bytes";
            Err(refused(name.py(), "NamingMismatch", message))
        },
        |name| Ok(name.as_bytes().to_vec()),
    )
}

pub(super) fn take_uuid(name: &Bound<'_, PyAny>) -> PyResult<[u8; 16]> {
    if !is_uuid(name) {
        let message = "the items of this index are named by uuid.UUID: give UUIDs";
        return Err(refused(name.py(), "NamingMismatch", message));
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
        let message = format!("one name was given, where several belong: give a list of {what}");
        return Err(refused(names.py(), "NamingMismatch", &message));
    }
    names.try_iter()?.map(|name| take(&name?)).collect()
}
