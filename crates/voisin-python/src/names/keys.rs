//! Items that are named by strings, bytes and UUIDs: objects of Python's.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use voisin::codec::Component;
use voisin::{
    AnyMetric, Batch, Condition, Filter, Loader, Query, Result, Searchable, Searched, Snapshot,
    tenant_of,
};

use super::calls::{calls, calls_by_key};
use super::show::{object_table, objects};
use super::take::{take_bytes, take_objects, take_text, take_uuid};
use super::{Handle, Name, PagesOf, uuid_type};
use crate::filters::Kept;
use crate::found::{Many, One};
use crate::held::Held;
use crate::pages::Any;
use crate::queue::Names;
use crate::records::Record;
use crate::unless::Unless;

impl Name for str {
    calls!(Texts, TextsAt, String, |name| name.as_str());
    calls_by_key!(String);

    const HAS_PREFIX: bool = true;

    fn within(name: String) -> String {
        tenant_of::<str>(&name).map_or(name, |(_, key)| key)
    }

    fn drop_tenant(batch: &mut Batch<'_, AnyMetric, Self>, name: &String) -> Result<u64> {
        batch.drop_tenant(name)
    }

    fn rename_tenant(
        batch: &mut Batch<'_, AnyMetric, Self>,
        name: &String,
        new: &String,
    ) -> Result<u64> {
        batch.rename_tenant(name, new)
    }

    fn take_one(name: &Bound<'_, PyAny>) -> PyResult<String> {
        take_text(name)
    }

    fn take(names: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
        take_objects(names, "str", take_text)
    }

    fn numbered(_: u64) -> Option<Vec<String>> {
        None
    }

    fn show<'py>(py: Python<'py>, name: &Self) -> PyResult<Bound<'py, PyAny>> {
        Ok(PyString::new(py, name).into_any())
    }

    fn show_owned<'py>(py: Python<'py>, name: &String) -> PyResult<Bound<'py, PyAny>> {
        Self::show(py, name)
    }

    fn array<'py>(py: Python<'py>, names: Vec<String>) -> PyResult<Bound<'py, PyAny>> {
        objects::<Self>(py, names)
    }

    fn matrix<'py>(
        py: Python<'py>,
        rows: &[Searched<String>],
        k: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        object_table::<Self>(py, rows, k)
    }

    fn filter(names: Vec<String>) -> Result<Filter<str>> {
        Filter::<str>::keys(names)
    }

    fn prefix<'a, S: Searchable<Key = Self>>(query: &mut Query<'a, S>, prefix: &'a str) {
        query.prefix(prefix);
    }

    fn all(snapshot: &Snapshot<AnyMetric, str>) -> Result<Vec<String>> {
        snapshot.keys()?.collect()
    }

    fn matching(snapshot: &Snapshot<AnyMetric, str>, condition: &Condition) -> Result<Vec<String>> {
        let mut keys = snapshot.keys_of(condition)?;
        keys.sort_unstable();
        Ok(keys)
    }
}

impl Name for [u8] {
    calls!(Bytes, BytesAt, Vec<u8>, |name| name.as_slice());
    calls_by_key!(Vec<u8>);

    fn within(name: Vec<u8>) -> Vec<u8> {
        tenant_of::<[u8]>(&name).map_or(name, |(_, key)| key)
    }

    fn drop_tenant(batch: &mut Batch<'_, AnyMetric, Self>, name: &Vec<u8>) -> Result<u64> {
        batch.drop_tenant(name)
    }

    fn rename_tenant(
        batch: &mut Batch<'_, AnyMetric, Self>,
        name: &Vec<u8>,
        new: &Vec<u8>,
    ) -> Result<u64> {
        batch.rename_tenant(name, new)
    }

    fn take_one(name: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
        take_bytes(name)
    }

    fn take(names: &Bound<'_, PyAny>) -> PyResult<Vec<Vec<u8>>> {
        take_objects(names, "bytes", take_bytes)
    }

    fn numbered(_: u64) -> Option<Vec<Vec<u8>>> {
        None
    }

    fn show<'py>(py: Python<'py>, name: &Self) -> PyResult<Bound<'py, PyAny>> {
        Ok(PyBytes::new(py, name).into_any())
    }

    fn show_owned<'py>(py: Python<'py>, name: &Vec<u8>) -> PyResult<Bound<'py, PyAny>> {
        Self::show(py, name)
    }

    fn array<'py>(py: Python<'py>, names: Vec<Vec<u8>>) -> PyResult<Bound<'py, PyAny>> {
        objects::<Self>(py, names)
    }

    fn matrix<'py>(
        py: Python<'py>,
        rows: &[Searched<Vec<u8>>],
        k: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        object_table::<Self>(py, rows, k)
    }

    fn filter(names: Vec<Vec<u8>>) -> Result<Filter<Self>> {
        Filter::<Self>::keys(names)
    }

    fn prefix<'a, S: Searchable<Key = Self>>(_: &mut Query<'a, S>, _: &'a str) {}

    fn all(snapshot: &Snapshot<AnyMetric, Self>) -> Result<Vec<Vec<u8>>> {
        snapshot.keys()?.collect()
    }

    fn matching(
        snapshot: &Snapshot<AnyMetric, Self>,
        condition: &Condition,
    ) -> Result<Vec<Vec<u8>>> {
        let mut keys = snapshot.keys_of(condition)?;
        keys.sort_unstable();
        Ok(keys)
    }
}

impl Name for [u8; 16] {
    calls!(Uuids, UuidsAt, [u8; 16], |name| name);
    calls_by_key!([u8; 16]);

    fn take_one(name: &Bound<'_, PyAny>) -> PyResult<[u8; 16]> {
        take_uuid(name)
    }

    fn take(names: &Bound<'_, PyAny>) -> PyResult<Vec<[u8; 16]>> {
        take_objects(names, "uuid.UUID", take_uuid)
    }

    fn numbered(_: u64) -> Option<Vec<[u8; 16]>> {
        None
    }

    fn show<'py>(py: Python<'py>, name: &Self) -> PyResult<Bound<'py, PyAny>> {
        let keywords = PyDict::new(py);
        keywords.set_item("bytes", PyBytes::new(py, name))?;
        uuid_type(py)?.call((), Some(&keywords))
    }

    fn show_owned<'py>(py: Python<'py>, name: &[u8; 16]) -> PyResult<Bound<'py, PyAny>> {
        Self::show(py, name)
    }

    fn array<'py>(py: Python<'py>, names: Vec<[u8; 16]>) -> PyResult<Bound<'py, PyAny>> {
        objects::<Self>(py, names)
    }

    fn matrix<'py>(
        py: Python<'py>,
        rows: &[Searched<[u8; 16]>],
        k: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        object_table::<Self>(py, rows, k)
    }

    fn filter(names: Vec<[u8; 16]>) -> Result<Filter<Self>> {
        Filter::<Self>::keys(names)
    }

    fn prefix<'a, S: Searchable<Key = Self>>(_: &mut Query<'a, S>, _: &'a str) {}

    fn all(snapshot: &Snapshot<AnyMetric, Self>) -> Result<Vec<[u8; 16]>> {
        snapshot.keys()?.collect()
    }

    fn matching(
        snapshot: &Snapshot<AnyMetric, Self>,
        condition: &Condition,
    ) -> Result<Vec<[u8; 16]>> {
        let mut keys = snapshot.keys_of(condition)?;
        keys.sort_unstable();
        Ok(keys)
    }
}
