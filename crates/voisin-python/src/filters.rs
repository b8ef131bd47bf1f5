//! Sets of items that a caller keeps for many queries.

use pyo3::prelude::*;
use voisin::{Filter, ItemId};

use crate::asked::check_prefix;
use crate::conditions::condition_of;
use crate::errors::{raised, refused};
use crate::handle::Searcher;
use crate::names::Name;
use crate::texts;
use crate::write::some_names;

/// A filter by whatever names items.
#[derive(Clone)]
pub(crate) enum Kept {
    Ids(Filter<ItemId>),
    Numbers(Filter<u64>),
    Texts(Filter<str>),
    Bytes(Filter<[u8]>),
    Uuids(Filter<[u8; 16]>),
}

/// A set of items that is kept for many searches, as their `filter=` or `exclude=`: it is looked up
/// once for each commit, and not by each search. `Index.filter` makes one.
///
/// It is a set of ids, a condition or a prefix, and of no index: used on another index or another
/// tenant, it stands for the items there with these ids, or for which that holds, and a tenant
/// never answers with the items of others.
///
/// >>> import tempfile, voisin
/// >>> index = voisin.create(tempfile.mkdtemp(), 2, ids=str)
/// >>> index.add(["ann/1", "bob/1"], [[0.1, 0.9], [0.2, 0.8]])
/// >>> of_ann = index.filter(prefix="ann/")
/// >>> index.search([0.2, 0.8], filter=of_ann).ids
/// array(['ann/1'], dtype=object)
#[pyclass(name = "Filter", module = "voisin", frozen)]
pub(crate) struct KeptFilter {
    pub(crate) kept: Kept,
    /// What it is of, in words.
    pub(crate) what: String,
}

impl KeptFilter {
    /// The set of an item, or of the items of an iterable of names.
    pub(crate) fn set<K: Name + ?Sized>(names: &Bound<'_, PyAny>) -> PyResult<Filter<K>> {
        K::filter(some_names::<K>(names)?).map_err(|error| raised(names.py(), &error))
    }

    pub(crate) fn new<K: Name + ?Sized>(names: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = names.py();
        if let Some(condition) = condition_of(names)? {
            let filter = Filter::<K>::matching(condition.condition().clone());
            let what = format!("all items with {}", condition.shown(py)?);
            return Ok(Self { kept: K::keep(filter), what });
        }
        let names = some_names::<K>(names)?;
        let what = format!("{} items", names.len());
        let filter = K::filter(names).map_err(|error| raised(py, &error))?;
        Ok(Self { kept: K::keep(filter), what })
    }

    pub(crate) fn prefix(prefix: &str) -> Self {
        let what = format!("all ids that begin with {prefix:?}");
        Self { kept: Kept::Texts(Filter::prefix(prefix)), what }
    }

    /// The filter, if it is one of names by `K`.
    pub(crate) fn of<K: Name + ?Sized>(&self, py: Python<'_>) -> PyResult<Filter<K>> {
        K::kept(&self.kept).ok_or_else(|| {
            let message = "this filter is of an index that names items otherwise: make one by \
                           Index.filter of the index that is searched";
            refused(py, "NamingMismatch", message)
        })
    }
}

#[pymethods]
impl KeptFilter {
    fn __repr__(&self) -> String {
        format!("<Filter of {}>", self.what)
    }
}

#[pymethods]
impl Searcher {
    /// A set of items that is kept for many searches: the items with these ids, those for which a
    /// condition holds, or, where ids are strings, all whose ids begin with `prefix`.
    ///
    /// >>> import tempfile, voisin
    /// >>> index = voisin.create(tempfile.mkdtemp(), 2, fields={"tag": "keyword"})
    /// >>> index.add([1, 2, 3], [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]], [{"tag": "a"}] * 3)
    /// >>> index.search([0.0, 1.0], filter=index.filter([1, 2])).ids
    /// array([2, 1])
    /// >>> len(index.search([0.0, 1.0], filter=index.filter(voisin.field("tag") == "a")))
    /// 3
    #[pyo3(signature = (ids = None, *, prefix = None))]
    fn filter(
        &self,
        py: Python<'_>,
        ids: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = texts::prefix)] prefix: Option<String>,
    ) -> PyResult<KeptFilter> {
        check_prefix(py, prefix.as_deref(), self.id_type() == "str")?;
        match (ids, prefix) {
            (Some(ids), None) => match self.id_type() {
                "u32" => KeptFilter::new::<ItemId>(ids),
                "u64" => KeptFilter::new::<u64>(ids),
                "bytes" => KeptFilter::new::<[u8]>(ids),
                "uuid" => KeptFilter::new::<[u8; 16]>(ids),
                _ => KeptFilter::new::<str>(ids),
            },
            (None, Some(prefix)) => Ok(KeptFilter::prefix(&prefix)),
            _ => {
                let message =
                    "a filter is of ids, of a condition, or of a prefix: give one of these";
                Err(refused(py, "InvalidParameter", message))
            }
        }
    }
}
