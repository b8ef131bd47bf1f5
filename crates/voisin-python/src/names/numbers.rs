//! Items that are named by numbers: item ids, and keys of 64 bits.

use numpy::{PyArray1, PyArray2};
use pyo3::prelude::*;
use voisin::codec::Component;
use voisin::{
    AnyMetric, Batch, Condition, Filter, ItemId, Loader, Query, Result, Searchable, Searched,
    Snapshot,
};

use super::calls::{calls, calls_by_key};
use super::show::table;
use super::take::{take_int, take_ints};
use super::{Handle, Name, PagesOf};
use crate::filters::Kept;
use crate::found::{Many, One};
use crate::held::Held;
use crate::pages::Any;
use crate::queue::Names;
use crate::records::Record;
use crate::unless::Unless;

impl Name for ItemId {
    calls!(Ids, IdsAt, ItemId, |name| *name);

    const LARGEST: Option<u64> = Some(ItemId::MAX as u64);

    fn copy(
        loader: &Loader<'_, AnyMetric>,
        source: &Snapshot<AnyMetric>,
        mut rename: impl FnMut(&ItemId) -> Option<ItemId>,
    ) -> Result<u64> {
        loader.copy_from(source, |id| rename(&id))
    }

    fn split(
        source: &Snapshot<AnyMetric>,
        targets: &[Handle<Self>],
        choose: impl Fn(&ItemId) -> usize,
    ) -> Result<Vec<u64>> {
        source.split_into(targets, |id| choose(&id))
    }

    fn moved(name: &ItemId, offset: u64) -> Option<ItemId> {
        u64::from(*name).checked_add(offset)?.try_into().ok()
    }

    fn take_one(name: &Bound<'_, PyAny>) -> PyResult<ItemId> {
        Ok(take_int(name, ItemId::MAX.into())? as ItemId)
    }

    fn take(names: &Bound<'_, PyAny>) -> PyResult<Vec<ItemId>> {
        let names = take_ints(names, ItemId::MAX.into())?;
        Ok(names.into_iter().map(|name| name as ItemId).collect())
    }

    fn numbered(count: u64) -> Option<Vec<ItemId>> {
        Some((0..count).map_while(|name| ItemId::try_from(name).ok()).collect())
    }

    fn show<'py>(py: Python<'py>, name: &Self) -> PyResult<Bound<'py, PyAny>> {
        let Ok(shown) = name.into_pyobject(py);
        Ok(shown.into_any())
    }

    fn show_owned<'py>(py: Python<'py>, name: &ItemId) -> PyResult<Bound<'py, PyAny>> {
        Self::show(py, name)
    }

    fn array<'py>(py: Python<'py>, names: Vec<ItemId>) -> PyResult<Bound<'py, PyAny>> {
        Ok(PyArray1::from_iter(py, names.into_iter().map(i64::from)).into_any())
    }

    fn matrix<'py>(
        py: Python<'py>,
        rows: &[Searched<ItemId>],
        k: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        let table = table(py, rows, k, -1i64, |item| i64::from(*item))?;
        Ok(PyArray2::from_owned_array(py, table).into_any())
    }

    fn filter(names: Vec<ItemId>) -> Result<Filter> {
        Ok(Filter::new(names.into_iter().collect()))
    }

    fn prefix<'a, S: Searchable<Key = Self>>(_: &mut Query<'a, S>, _: &'a str) {}

    fn all(snapshot: &Snapshot<AnyMetric>) -> Result<Vec<ItemId>> {
        Ok(snapshot.ids()?.into_iter().collect())
    }

    fn matching(snapshot: &Snapshot<AnyMetric>, condition: &Condition) -> Result<Vec<ItemId>> {
        Ok(snapshot.ids_of(condition)?.into_iter().collect())
    }
}

impl Name for u64 {
    calls!(Numbers, NumbersAt, u64, |name| *name);
    calls_by_key!(u64);

    const LARGEST: Option<u64> = Some(Self::MAX);

    fn moved(name: &u64, offset: u64) -> Option<u64> {
        name.checked_add(offset)
    }

    fn take_one(name: &Bound<'_, PyAny>) -> PyResult<u64> {
        take_int(name, Self::MAX)
    }

    fn take(names: &Bound<'_, PyAny>) -> PyResult<Vec<u64>> {
        take_ints(names, Self::MAX)
    }

    fn numbered(count: u64) -> Option<Vec<u64>> {
        Some((0..count).collect())
    }

    fn show<'py>(py: Python<'py>, name: &Self) -> PyResult<Bound<'py, PyAny>> {
        let Ok(shown) = name.into_pyobject(py);
        Ok(shown.into_any())
    }

    fn show_owned<'py>(py: Python<'py>, name: &u64) -> PyResult<Bound<'py, PyAny>> {
        Self::show(py, name)
    }

    fn array<'py>(py: Python<'py>, names: Vec<u64>) -> PyResult<Bound<'py, PyAny>> {
        Ok(PyArray1::from_vec(py, names).into_any())
    }

    fn matrix<'py>(
        py: Python<'py>,
        rows: &[Searched<u64>],
        k: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        let table = table(py, rows, k, Self::MAX, |item| *item)?;
        Ok(PyArray2::from_owned_array(py, table).into_any())
    }

    fn filter(names: Vec<u64>) -> Result<Filter<u64>> {
        Filter::<u64>::keys(names)
    }

    fn prefix<'a, S: Searchable<Key = Self>>(_: &mut Query<'a, S>, _: &'a str) {}

    fn all(snapshot: &Snapshot<AnyMetric, u64>) -> Result<Vec<u64>> {
        snapshot.keys()?.collect()
    }

    fn matching(snapshot: &Snapshot<AnyMetric, u64>, condition: &Condition) -> Result<Vec<u64>> {
        let mut keys = snapshot.keys_of(condition)?;
        keys.sort_unstable();
        Ok(keys)
    }
}
