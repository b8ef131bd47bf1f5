//! What an index or a snapshot has stored, looked up by id or by condition.

use numpy::{PyArray1, PyArray2};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyList};
use voisin::FieldValue;

use crate::arguments::flags;
use crate::asked;
use crate::conditions::{PyCondition, condition, value};
use crate::errors::refused;
use crate::facts::kind_names;
use crate::handle::Searcher;
use crate::held::{Held, each_held};
use crate::names::Name;
use crate::records::{self, Record};
use crate::searched::{Start, Stored};
use crate::settings;
use crate::texts;
use crate::watch::detached;

#[pymethods]
impl Searcher {
    /// The ids of all items, or of those for which a condition holds, in their order: an array as
    /// `Found.ids` has it. O(items).
    #[pyo3(signature = (filter = None))]
    fn ids<'py>(
        &self,
        py: Python<'py>,
        filter: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        fn ids<'py, S: Start>(
            py: Python<'py>,
            searched: &S,
            filter: Option<&PyCondition>,
        ) -> PyResult<Bound<'py, PyAny>> {
            let ids = detached(py, || match filter {
                Some(filter) => searched.now()?.matching(filter.condition()),
                None => searched.now()?.all(),
            })?;
            S::Key::array(py, ids)
        }
        let filter = filter.map(condition).transpose()?;
        each_held!(&self.held(py)?, held => ids(py, held, filter.as_ref()))
    }

    /// The vector of an item as stored, of shape `(dimensions,)` and type `float32`; None if there
    /// is no such item.
    fn vector<'py>(&self, id: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyArray1<f32>>>> {
        fn vector<S: Start>(searched: &S, id: &Bound<'_, PyAny>) -> PyResult<Option<Vec<f32>>> {
            let name = S::Key::take_one(id)?;
            detached(id.py(), || Stored::vector(&searched.now()?, &name))
        }
        let py = id.py();
        let vector = each_held!(&self.held(py)?, held => vector(held, id))?;
        Ok(vector.map(|vector| PyArray1::from_vec(py, vector)))
    }

    /// The vectors of many items of one commit, of shape `(n, dimensions)`.
    ///
    /// Raises:
    ///     MissingItem: there is no such item.
    fn vectors<'py>(&self, ids: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        fn vectors<S: Start>(searched: &S, ids: &Bound<'_, PyAny>) -> PyResult<Vec<Vec<f32>>> {
            let py = ids.py();
            let names = S::Key::take(ids)?;
            let rows = detached(py, || {
                let snapshot = searched.now()?;
                let rows = names.iter().map(|name| Stored::vector(&snapshot, name));
                rows.collect::<voisin::Result<Vec<_>>>()
            })?;
            let found = |(row, name): (Option<Vec<f32>>, _)| match row {
                Some(row) => Ok(row),
                None => Err(asked::missing(&S::Key::show_owned(py, name)?)),
            };
            rows.into_iter().zip(&names).map(found).collect()
        }
        let py = ids.py();
        let rows = each_held!(&self.held(py)?, held => vectors(held, ids))?;
        if rows.is_empty() {
            return Ok(PyArray2::zeros(py, (0, self.shape().dimensions), false));
        }
        Ok(PyArray2::from_vec2(py, &rows)?)
    }

    /// The vector of an item: see `vector`.
    ///
    /// Raises:
    ///     MissingItem: there is no such item. It is a `KeyError`, too.
    fn __getitem__<'py>(&self, id: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray1<f32>>> {
        self.vector(id)?.ok_or_else(|| asked::missing(id))
    }

    /// Whether there is an item with this id.
    fn __contains__(&self, id: &Bound<'_, PyAny>) -> PyResult<bool> {
        fn contains<S: Start>(searched: &S, id: &Bound<'_, PyAny>) -> PyResult<bool> {
            let name = S::Key::take_one(id)?;
            detached(id.py(), || Stored::contains(&searched.now()?, &name))
        }
        each_held!(&self.held(id.py())?, held => contains(held, id))
    }

    /// The number of items.
    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        each_held!(&self.held(py)?, held => {
            detached(py, || Ok(Stored::count(&held.now()?, None)? as usize))
        })
    }

    /// The ids of all items, in their order, as those of a dict: of the commit of this call.
    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.ids(py, None)?.call_method0("tolist")?.try_iter()
    }

    /// An index is true, whether or not it has items.
    fn __bool__(&self) -> bool {
        true
    }

    /// The record of an item: a dict if it is a JSON object, else bytes; always bytes if `raw`.
    /// None if it has none, or if there is no such item.
    ///
    /// >>> import tempfile, voisin
    /// >>> index = voisin.create(tempfile.mkdtemp(), 2)
    /// >>> index.add(7, [0.9, 0.1], {"title": "Rain in Lyon"})
    /// >>> index.get_record(7)
    /// {'title': 'Rain in Lyon'}
    /// >>> index.get_record(7, raw=True)
    /// b'{"title":"Rain in Lyon"}'
    #[pyo3(signature = (id, *, raw = false))]
    fn get_record<'py>(
        &self,
        id: &Bound<'py, PyAny>,
        #[pyo3(from_py_with = flags::raw)] raw: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        fn record<S: Start>(searched: &S, id: &Bound<'_, PyAny>) -> PyResult<Record> {
            let name = S::Key::take_one(id)?;
            detached(id.py(), || Stored::record(&searched.now()?, &name))
        }
        let py = id.py();
        let record = each_held!(&self.held(py)?, held => record(held, id))?;
        match raw {
            true => Ok(records::show_raw(py, record.as_deref())),
            false => records::show(py, record.as_deref()),
        }
    }

    /// The records of many items of one commit, in a list: see `get_record`.
    #[pyo3(signature = (ids, *, raw = false))]
    fn get_records<'py>(
        &self,
        ids: &Bound<'py, PyAny>,
        #[pyo3(from_py_with = flags::raw)] raw: bool,
    ) -> PyResult<Bound<'py, PyList>> {
        fn records<S: Start>(searched: &S, ids: &Bound<'_, PyAny>) -> PyResult<Vec<Record>> {
            let names = S::Key::take(ids)?;
            detached(ids.py(), || {
                let snapshot = searched.now()?;
                names.iter().map(|name| Stored::record(&snapshot, name)).collect()
            })
        }
        let py = ids.py();
        records::list(py, &each_held!(&self.held(py)?, held => records(held, ids))?, raw)
    }

    /// The fields of the records, by which items can be filtered: a dict of names and types.
    ///
    /// >>> import tempfile, voisin
    /// >>> voisin.create(tempfile.mkdtemp(), 2, fields={"tag": "keyword"}).fields()
    /// {'tag': 'keyword'}
    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let fields = each_held!(&self.held(py)?, held => {
            detached(py, || Stored::index(&held.now()?).fields())
        })?;
        let dict = PyDict::new(py);
        for field in fields {
            dict.set_item(field.name(), settings::type_name(field.field_type()))?;
        }
        Ok(dict)
    }

    /// The kinds of index that it has: a list of names, `"flat"` first.
    fn kinds(&self, py: Python<'_>) -> PyResult<Vec<&'static str>> {
        let kinds = each_held!(&self.held(py)?, held => {
            detached(py, || Ok(Stored::index(&held.now()?).kinds()))
        })?;
        Ok(kind_names(&kinds))
    }

    /// The number of items for which a condition holds; of all items without one. It is computed
    /// from the fields, without looking at items.
    #[pyo3(signature = (filter = None))]
    fn count(&self, py: Python<'_>, filter: Option<&Bound<'_, PyAny>>) -> PyResult<u64> {
        let filter = filter.map(condition).transpose()?;
        let condition = filter.as_ref().map(|filter| filter.condition());
        each_held!(&self.held(py)?, held => {
            detached(py, || Stored::count(&held.now()?, condition))
        })
    }

    /// The values of a field, each with the number of items that have it, the most frequent first:
    /// of all items, or of those for which a condition holds. Timestamps are milliseconds since
    /// 1970.
    ///
    /// >>> import tempfile, voisin
    /// >>> index = voisin.create(tempfile.mkdtemp(), 2, fields={"tag": "keyword"})
    /// >>> tags = [{"tag": "news"}, {"tag": ["news", "late"]}, {"tag": "other"}]
    /// >>> index.add([1, 2, 3], [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]], tags)
    /// >>> index.facet("tag", filter=voisin.field("tag") == "news")
    /// {'news': 2, 'late': 1}
    #[pyo3(signature = (field, *, filter = None))]
    fn facet<'py>(
        &self,
        py: Python<'py>,
        #[pyo3(from_py_with = texts::required::field)] field: &str,
        filter: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let filter = filter.map(condition).transpose()?;
        fn facet<S: Start>(
            py: Python<'_>,
            searched: &S,
            field: &str,
            filter: Option<&PyCondition>,
        ) -> PyResult<Vec<(FieldValue, u64)>> {
            if !<S::At as Stored>::IS_WHOLE {
                let message = "a tenant has no facets: ask those of the index, or count(filter=)";
                return Err(refused(py, "InvalidParameter", message));
            }
            detached(py, || {
                let at = searched.now()?;
                match filter {
                    Some(filter) => at.index().facet_among(field, filter.condition()),
                    None => at.index().facet(field),
                }
            })
        }
        let held = self.held(py)?;
        let values = each_held!(&held, held => facet(py, held, field, filter.as_ref()))?;
        let dict = PyDict::new(py);
        for (of, count) in values {
            dict.set_item(value(py, &of)?, count)?;
        }
        Ok(dict)
    }
}
