//! Results by groups: of a function of the caller's, or of a field of the records.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use voisin::Result;

use crate::arguments::objects;
use crate::asked::Asked;
use crate::conditions::value;
use crate::facts;
use crate::found::hits;
use crate::names::Name;
use crate::query::{PyQuery, each, with_components};
use crate::searched::{Owned, Start};
use crate::texts::text_of;
use crate::vectors::Raw;
use crate::watch::Watch;
use crate::whole;

#[pymethods]
impl PyQuery {
    /// The `k` groups whose nearest items are the nearest to a vector, each with its nearest items:
    /// see `Groups`.
    ///
    /// Args:
    ///     vector: an array of shape `(dimensions,)`.
    ///     by: the name of a field of the records: a group is the items that have one value, and an
    ///         item with several values is in the group of each. Or a function of an id that
    ///         returns the group, anything that can be the key of a dict. It is called once for
    ///         each item in the order of distances, until `k` groups are full or there are no more
    ///         items.
    ///     per_group: the largest number of items of a group. A group that has fewer is full only
    ///         when all items were looked at: set a `deadline` or a `radius` where that is likely.
    ///
    /// Raises:
    ///     UnknownField: there is no such field.
    ///
    /// >>> import tempfile, voisin
    /// >>> index = voisin.create(tempfile.mkdtemp(), 1, metric="euclidean")
    /// >>> index.add(range(300), [[float(i)] for i in range(300)])
    /// >>> query = index.query(k=2)
    /// >>> for group in query.groups([198.0], by=lambda id: id // 100, per_group=2):
    /// ...     print(group.group, [hit.id for hit in group.hits])
    /// 1 [198, 197]
    /// 2 [200, 201]
    /// >>> index.add_field("author", str)
    /// >>> index.set_record([197, 200, 201], [{"author": name} for name in ("Ada", "Bo", "Ada")])
    /// >>> [(group.group, group.hits[0].id) for group in query.groups([198.0], by="author")]
    /// [('Ada', 197), ('Bo', 200)]
    #[pyo3(signature = (vector, *, by, per_group = 1))]
    fn groups<'py>(
        &self,
        vector: &Bound<'py, PyAny>,
        #[pyo3(from_py_with = objects::by)] by: Bound<'py, PyAny>,
        #[pyo3(from_py_with = whole::per_group)] per_group: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = vector.py();
        let (given, watch) = (self.one(vector)?, self.watch());
        let of = Grouping { raw: given.raw(), dimensions: self.shape().dimensions, per_group };
        let field = by.cast::<pyo3::types::PyString>().ok();
        let field = field.map(|name| text_of(name, "InvalidParameter", "by")).transpose()?;
        each!(self, py, (searched, asked) => match field {
            Some(field) => of.by_field(py, searched, asked, field, &watch),
            None => of.by_function(py, searched, asked, by.as_unbound(), &watch),
        })
    }
}

/// Groups near a vector.
struct Grouping<'a> {
    raw: Raw<'a>,
    dimensions: usize,
    per_group: usize,
}

/// Groups, as voisin has them, by numbers or by values.
type Groups<G, S> = voisin::Groups<G, Owned<S>>;

impl Grouping<'_> {
    fn by_field<'py, S: Start>(
        &self,
        py: Python<'py>,
        searched: &S,
        asked: &Asked<S::Key>,
        field: &str,
        watch: &Watch,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (components, dimensions) = ((self.raw, 1), self.dimensions);
        let found = watch.run(py, || {
            asked.with_query(searched, watch, |query| {
                with_components!(components, dimensions, vector => {
                    query.groups_by_field(vector, self.per_group, field)
                })
            })
        })?;
        shown::<S, _>(py, found, |group| value(py, group).map(Some))
    }

    fn by_function<'py, S: Start>(
        &self,
        py: Python<'py>,
        searched: &S,
        asked: &Asked<S::Key>,
        by: &Py<PyAny>,
        watch: &Watch,
    ) -> PyResult<Bound<'py, PyAny>> {
        // Python compares the groups: voisin knows them by their number.
        let numbers = PyDict::new(py).unbind();
        let of = |name: &Owned<S>| {
            let number = Python::attach(|py| -> PyResult<usize> {
                let group = by.bind(py).call1((S::Key::show_owned(py, name)?,))?;
                let numbers = numbers.bind(py);
                numbers.call_method1("setdefault", (group, numbers.len()))?.extract()
            });
            number.unwrap_or_else(|error| {
                watch.fail(error);
                usize::MAX
            })
        };
        let (components, dimensions) = ((self.raw, 1), self.dimensions);
        let found = watch.run(py, || -> Result<_> {
            asked.with_query(searched, watch, |query| {
                with_components!(components, dimensions, vector => {
                    query.groups(vector, self.per_group, of)
                })
            })
        })?;
        let names: Vec<_> = numbers.bind(py).keys().iter().collect();
        shown::<S, _>(py, found, |group| Ok(names.get(*group).cloned()))
    }
}

/// Groups with their names, which `name` tells; those without one are left out.
fn shown<'py, S: Start, G>(
    py: Python<'py>,
    found: Groups<G, S>,
    name: impl Fn(&G) -> PyResult<Option<Bound<'py, PyAny>>>,
) -> PyResult<Bound<'py, PyAny>> {
    let named = found.groups.iter().filter_map(|group| {
        let name = name(&group.group).transpose()?;
        Some(name.and_then(|name| Ok((name, hits::<S::Key>(py, &group.nns)?))))
    });
    let groups = named.collect::<PyResult<Vec<_>>>()?;
    facts::groups(py, groups, (found.did_cancel, found.timed_out), found.strategy)
}
