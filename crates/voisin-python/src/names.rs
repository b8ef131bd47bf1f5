//! The names of items, ids or keys, between Python and voisin: one trait, for each of the five
//! kinds of names, with the methods of voisin that have a signature for each.

use numpy::ndarray::{Array1, Array2};
use numpy::{
    PyArray1, PyArray2, PyArrayDescrMethods, PyArrayMethods, PyUntypedArray, PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBytes, PyDict, PyInt, PyString, PyType};
use voisin::codec::Component;
use voisin::{
    AnyMetric, Batch, Condition, Filter, Index, ItemId, ItemName, Loader, Pages, Query, Result,
    Searchable, Searched, Snapshot, tenant_of,
};

use crate::batch::Names;
use crate::errors::{refused, refused_value};
use crate::filters::Kept;
use crate::found::{Many, One};
use crate::found_many::{filled, no_memory};
use crate::pages::Any;
use crate::records::Record;
use crate::unless::Unless;

/// A handle that names items by `K`.
pub(crate) type Handle<K> = Index<AnyMetric, K>;

/// Pages of a snapshot whose items are named by `K`.
pub(crate) type PagesOf<K> = Pages<Snapshot<AnyMetric, K>, K>;

/// See the module.
pub(crate) trait Name: ItemName {
    /// Whether names can begin with others.
    const HAS_PREFIX: bool = false;

    /// The name of one item.
    fn take_one(name: &Bound<'_, PyAny>) -> PyResult<Self::Owned>;
    /// The names of many items: an array, a list, a set, or any other iterable.
    fn take(names: &Bound<'_, PyAny>) -> PyResult<Vec<Self::Owned>>;
    /// The names 0, 1, 2, ..., where items are named by numbers.
    fn numbered(count: u64) -> Option<Vec<Self::Owned>>;
    /// A name as Python has it.
    fn show<'py>(py: Python<'py>, name: &Self) -> PyResult<Bound<'py, PyAny>>;
    /// The same of an owned name.
    fn show_owned<'py>(py: Python<'py>, name: &Self::Owned) -> PyResult<Bound<'py, PyAny>>;
    /// Names in an array of one dimension.
    fn array<'py>(py: Python<'py>, names: Vec<Self::Owned>) -> PyResult<Bound<'py, PyAny>>;
    /// The names of answers in an array of `k` columns. Where there are fewer, it is filled up.
    fn matrix<'py>(
        py: Python<'py>,
        rows: &[Searched<Self::Owned>],
        k: usize,
    ) -> PyResult<Bound<'py, PyAny>>;

    fn one(found: Searched<Self::Owned>) -> One;
    fn many(found: Vec<Searched<Self::Owned>>) -> Many;

    fn filter(names: Vec<Self::Owned>) -> Result<Filter<Self>>;
    /// The filter, if it is of such names.
    fn kept(filter: &Kept) -> Option<Filter<Self>>;
    fn keep(filter: Filter<Self>) -> Kept;
    /// The names, if they are of this kind.
    fn of_names(names: &Names) -> Option<&[Self::Owned]>;
    /// Sets the prefix of a query, where names have one.
    fn prefix<'a, S: Searchable<Key = Self>>(query: &mut Query<'a, S>, prefix: &'a str);
    fn by_item<S: Searchable<Key = Self>>(
        query: &Query<'_, S>,
        name: &Self::Owned,
    ) -> Result<Option<Searched<Self::Owned>>>;
    fn pages_by_item<'a, S: Searchable<Key = Self>>(
        query: &Query<'a, S>,
        name: &Self::Owned,
    ) -> Result<Option<Pages<S::Pinned<'a>, Self>>>;
    fn pages(pages: PagesOf<Self>) -> Any;
    fn next_page(
        pages: &mut PagesOf<Self>,
        cancel: &(dyn Fn() -> bool + Sync),
    ) -> Result<Searched<Self::Owned>>;

    /// A name within its tenant, if it is that of a tenant's item in the index.
    fn within(name: Self::Owned) -> Self::Owned {
        name
    }

    fn all(snapshot: &Snapshot<AnyMetric, Self>) -> Result<Vec<Self::Owned>>;
    fn contains(snapshot: &Snapshot<AnyMetric, Self>, name: &Self::Owned) -> Result<bool>;
    fn vector(snapshot: &Snapshot<AnyMetric, Self>, name: &Self::Owned)
    -> Result<Option<Vec<f32>>>;
    fn record(snapshot: &Snapshot<AnyMetric, Self>, name: &Self::Owned) -> Result<Record>;
    /// The names of the items for which a condition holds, in their order.
    fn matching(
        snapshot: &Snapshot<AnyMetric, Self>,
        condition: &Condition,
    ) -> Result<Vec<Self::Owned>>;

    fn has(batch: &Batch<'_, AnyMetric, Self>, name: &Self::Owned) -> Result<bool>;
    fn add(
        batch: &mut Batch<'_, AnyMetric, Self>,
        names: &[Self::Owned],
        vectors: &[impl Component],
    ) -> Result<()>;
    /// Adds items that all have a record.
    fn add_with_records<T: Component>(
        batch: &mut Batch<'_, AnyMetric, Self>,
        names: &[Self::Owned],
        vectors: &[T],
        records: &[Record],
    ) -> Result<()>;
    fn set_record(
        batch: &mut Batch<'_, AnyMetric, Self>,
        name: &Self::Owned,
        record: &[u8],
    ) -> Result<bool>;
    fn remove_record(batch: &mut Batch<'_, AnyMetric, Self>, name: &Self::Owned) -> Result<bool>;
    /// Adds an item unless there is one near. Returns the one that was near.
    fn add_unless(
        batch: &mut Batch<'_, AnyMetric, Self>,
        name: &Self::Owned,
        vector: &[impl Component],
        unless: Unless,
    ) -> Result<Option<(Self::Owned, f32)>>;
    fn delete(batch: &mut Batch<'_, AnyMetric, Self>, names: &[Self::Owned]) -> Result<u64>;
    fn delete_matching(
        batch: &mut Batch<'_, AnyMetric, Self>,
        condition: &Condition,
    ) -> Result<u64>;
    fn load<T: Component, V: AsRef<[T]>>(
        loader: &Loader<'_, AnyMetric, Self>,
        rows: impl Iterator<Item = (Self::Owned, V, Record)>,
    ) -> Result<u64>;
}

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
fn take_int(name: &Bound<'_, PyAny>, max: u64) -> PyResult<u64> {
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
fn take_ints(names: &Bound<'_, PyAny>, max: u64) -> PyResult<Vec<u64>> {
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

fn take_text(name: &Bound<'_, PyAny>) -> PyResult<String> {
    name.cast::<PyString>().map_or_else(
        |_| {
            let message = "the items of this index are named by str: give strings";
            Err(refused(name.py(), "NamingMismatch", message))
        },
        |name| Ok(name.to_str()?.to_owned()),
    )
}

/// A table of answers, of `k` columns.
fn table<I, T: Clone>(
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

/// Whether this is a `uuid.UUID`.
fn is_uuid(name: &Bound<'_, PyAny>) -> bool {
    uuid_type(name.py()).is_ok_and(|of| name.is_instance(of).unwrap_or(false))
}

fn take_bytes(name: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    name.cast::<PyBytes>().map_or_else(
        |_| {
            let message = "the items of this index are named by bytes: give bytes";
            Err(refused(name.py(), "NamingMismatch", message))
        },
        |name| Ok(name.as_bytes().to_vec()),
    )
}

fn take_uuid(name: &Bound<'_, PyAny>) -> PyResult<[u8; 16]> {
    if !is_uuid(name) {
        let message = "the items of this index are named by uuid.UUID: give UUIDs";
        return Err(refused(name.py(), "NamingMismatch", message));
    }
    name.getattr("bytes")?.extract()
}

/// Many names that are objects of Python's: any iterable but the name of one item.
fn take_objects<T>(
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

/// Names as an array of objects of Python's.
fn objects<'py, K: Name + ?Sized>(
    py: Python<'py>,
    names: Vec<K::Owned>,
) -> PyResult<Bound<'py, PyAny>> {
    let names: Vec<_> =
        names.iter().map(|name| Ok(K::show_owned(py, name)?.unbind())).collect::<PyResult<_>>()?;
    Ok(PyArray1::from_owned_object_array(py, Array1::from_vec(names)).into_any())
}

/// The names of answers as a table of objects of Python's, filled up with `None`.
fn object_table<'py, K: Name + ?Sized>(
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

/// What all kinds have in common: calls by a name that `$borrow` makes of an owned one.
macro_rules! calls {
    ($variant:ident, $owned:ty, |$name:ident| $borrow:expr) => {
        fn one(found: Searched<$owned>) -> One {
            One::$variant(found)
        }

        fn many(found: Vec<Searched<$owned>>) -> Many {
            Many::$variant(found)
        }

        fn kept(filter: &Kept) -> Option<Filter<Self>> {
            match filter {
                Kept::$variant(filter) => Some(filter.clone()),
                _ => None,
            }
        }

        fn keep(filter: Filter<Self>) -> Kept {
            Kept::$variant(filter)
        }

        fn of_names(names: &Names) -> Option<&[$owned]> {
            match names {
                Names::$variant(names) => Some(names),
                _ => None,
            }
        }

        fn by_item<S: Searchable<Key = Self>>(
            query: &Query<'_, S>,
            $name: &$owned,
        ) -> Result<Option<Searched<$owned>>> {
            query.by_item($borrow)
        }

        fn pages_by_item<'a, S: Searchable<Key = Self>>(
            query: &Query<'a, S>,
            $name: &$owned,
        ) -> Result<Option<Pages<S::Pinned<'a>, Self>>> {
            query.pages_by_item($borrow)
        }

        fn pages(pages: PagesOf<Self>) -> Any {
            Any::$variant(pages)
        }

        fn next_page(
            pages: &mut PagesOf<Self>,
            cancel: &(dyn Fn() -> bool + Sync),
        ) -> Result<Searched<$owned>> {
            pages.next_page(cancel)
        }

        fn contains(snapshot: &Snapshot<AnyMetric, Self>, $name: &$owned) -> Result<bool> {
            snapshot.contains($borrow)
        }

        fn vector(
            snapshot: &Snapshot<AnyMetric, Self>,
            $name: &$owned,
        ) -> Result<Option<Vec<f32>>> {
            snapshot.vector($borrow)
        }

        fn record(snapshot: &Snapshot<AnyMetric, Self>, $name: &$owned) -> Result<Record> {
            snapshot.record($borrow)
        }

        fn has(batch: &Batch<'_, AnyMetric, Self>, $name: &$owned) -> Result<bool> {
            batch.contains($borrow)
        }

        fn add(
            batch: &mut Batch<'_, AnyMetric, Self>,
            names: &[$owned],
            vectors: &[impl Component],
        ) -> Result<()> {
            batch.add_items(names, vectors)
        }

        fn add_with_records<T: Component>(
            batch: &mut Batch<'_, AnyMetric, Self>,
            names: &[$owned],
            vectors: &[T],
            records: &[Record],
        ) -> Result<()> {
            let dimensions = vectors.len() / names.len().max(1);
            let rows = names.iter().zip(vectors.chunks_exact(dimensions.max(1))).zip(records);
            let rows =
                rows.filter_map(|(($name, row), record)| Some(($borrow, row, record.as_deref()?)));
            batch.add_items_with_records(rows).map(drop)
        }

        fn set_record(
            batch: &mut Batch<'_, AnyMetric, Self>,
            $name: &$owned,
            record: &[u8],
        ) -> Result<bool> {
            batch.set_record($borrow, record)
        }

        fn remove_record(batch: &mut Batch<'_, AnyMetric, Self>, $name: &$owned) -> Result<bool> {
            batch.remove_record($borrow)
        }

        fn add_unless(
            batch: &mut Batch<'_, AnyMetric, Self>,
            $name: &$owned,
            vector: &[impl Component],
            unless: Unless,
        ) -> Result<Option<($owned, f32)>> {
            let near = batch.unless_within(unless.radius);
            let mut near = if unless.is_approximate { near.approximate() } else { near };
            match unless.replaces {
                true => near.add_or_replace($borrow, vector),
                false => near.add($borrow, vector),
            }
        }

        fn delete(batch: &mut Batch<'_, AnyMetric, Self>, names: &[$owned]) -> Result<u64> {
            batch.delete_items(names.iter().map(|$name| $borrow))
        }

        fn delete_matching(
            batch: &mut Batch<'_, AnyMetric, Self>,
            condition: &Condition,
        ) -> Result<u64> {
            batch.delete_matching(condition)
        }

        fn load<T: Component, V: AsRef<[T]>>(
            loader: &Loader<'_, AnyMetric, Self>,
            rows: impl Iterator<Item = ($owned, V, Record)>,
        ) -> Result<u64> {
            loader.load_given(rows)
        }
    };
}

impl Name for ItemId {
    calls!(Ids, ItemId, |name| *name);

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
    calls!(Numbers, u64, |name| *name);

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

impl Name for str {
    calls!(Texts, String, |name| name.as_str());

    const HAS_PREFIX: bool = true;

    fn within(name: String) -> String {
        tenant_of::<str>(&name).map_or(name, |(_, key)| key)
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
    calls!(Bytes, Vec<u8>, |name| name.as_slice());

    fn within(name: Vec<u8>) -> Vec<u8> {
        tenant_of::<[u8]>(&name).map_or(name, |(_, key)| key)
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
    calls!(Uuids, [u8; 16], |name| name);

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
