//! Tenants of an index whose items are named by strings or bytes. What they have stored, and how
//! they are searched, is that of any searcher.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use voisin::{PrefixedKey, Result};

use crate::arguments::{flags, objects};
use crate::conditions::is_condition;
use crate::errors::{not_pickled, raised, refused};
use crate::handle::Searcher;
use crate::held::Held;
use crate::index::{self, Index as PyIndex};
use crate::names::Name;
use crate::texts::shown;
use crate::watch::detached;
use crate::write::{delete, put, set};

/// A tenant of an index whose items are named by `str` or `bytes`: a collection of items of its
/// own, with ids of its own. `Index.tenant` makes one, and `Snapshot.tenant` one of a commit, which
/// cannot be changed.
///
/// It is searched and read as an index is, by the same methods; `facet` is for indexes only. It
/// exists while it has items, and costs nothing beside these: no file, no memory, no reader. Keep
/// the object for several searches of a tenant of many thousand items, as it remembers which ones
/// these are. It is closed with the index or the snapshot that it is of.
///
/// >>> import tempfile, voisin
/// >>> index = voisin.create(tempfile.mkdtemp(), 2, ids=str)
/// >>> acme, bolt = index.tenant("acme"), index.tenant("bolt")
/// >>> acme.add(["doc-1", "doc-2"], [[0.9, 0.1], [0.1, 0.9]], [{"title": "Rain"}, None])
/// >>> bolt.add("doc-1", [0.5, 0.5])
/// >>> acme.search([0.8, 0.2], k=1, records=True)[0].id, len(acme), list(acme)
/// ('doc-1', 2, ['doc-1', 'doc-2'])
/// >>> bolt.get_record("doc-1"), acme.get_record("doc-1")
/// (None, {'title': 'Rain'})
/// >>> index.tenants()
/// ['acme', 'bolt']
/// >>> index.drop_tenant("acme"), index.rename_tenant("bolt", "bolt & sons"), index.tenants()
/// (2, 1, ['bolt & sons'])
#[pyclass(name = "Tenant", module = "voisin", extends = Searcher, frozen)]
pub(crate) struct PyTenant {
    /// Its name, a string or bytes.
    name: Py<PyAny>,
}

/// The name of the tenant of an item, and its id there, by its id in the index, such as `Index.ids`
/// and a search of the whole index have. None if it is the item of no tenant.
///
/// Args:
///     id: a `str` or `bytes`, as the names of tenants are.
///
/// >>> import tempfile, voisin
/// >>> index = voisin.create(tempfile.mkdtemp(), 2, ids=str)
/// >>> index.tenant("acme").add("doc-1", [0.9, 0.1])
/// >>> index.add("own", [0.1, 0.9])
/// >>> [voisin.tenant_of(hit.id) for hit in index.search([0.9, 0.1])]
/// [('acme', 'doc-1'), None]
#[pyfunction]
#[pyo3(signature = (id, /))]
pub(crate) fn tenant_of<'py>(
    id: &Bound<'py, PyAny>,
) -> PyResult<Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)>> {
    fn found<'py, K: Name + PrefixedKey + ?Sized>(
        py: Python<'py>,
        whose: Option<(K::Owned, K::Owned)>,
    ) -> PyResult<Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)>> {
        let show = |(name, id): (K::Owned, K::Owned)| {
            Ok((K::show_owned(py, &name)?, K::show_owned(py, &id)?))
        };
        whose.map(show).transpose()
    }
    let py = id.py();
    if id.is_instance_of::<PyBytes>() {
        let id = <[u8] as Name>::take_one(id)?;
        return found::<[u8]>(py, voisin::tenant_of::<[u8]>(&id));
    }
    match id.is_instance_of::<PyString>() {
        true => found::<str>(py, voisin::tenant_of::<str>(&<str as Name>::take_one(id)?)),
        false => {
            let given = shown(id);
            let message =
                format!("id is {given}, and tenants have ids of str or bytes: give these");
            Err(refused(py, "NamingMismatch", &message))
        }
    }
}

/// The exception for an index that can have no tenants.
pub(crate) fn unsupported(py: Python<'_>, id_type: &str) -> PyErr {
    let message = format!(
        "the items of this index are named by {id_type}, and tenants need str or bytes: create an \
         index with ids=str"
    );
    refused(py, "NoTenants", &message)
}

impl Searcher {
    /// A tenant of what is searched.
    ///
    /// # Errors
    /// `InvalidId` for a name that no tenant can have, `NamingMismatch` for one of another type or
    /// where items can have no tenant.
    pub(crate) fn tenant_held(&self, name: &Bound<'_, PyAny>) -> PyResult<Held> {
        let py = name.py();
        let of = |tenant: Result<Held>| tenant.map_err(|error| raised(py, &error));
        let text = || <str as Name>::take_one(name);
        let bytes = || <[u8] as Name>::take_one(name);
        match &self.held(py)? {
            Held::Texts(index) => of(index.tenant(text()?).map(Held::TextsOf)),
            Held::Bytes(index) => of(index.tenant(bytes()?).map(Held::BytesOf)),
            Held::TextsAt(at) => of(at.tenant(text()?).map(Held::TextsOfAt)),
            Held::BytesAt(at) => of(at.tenant(bytes()?).map(Held::BytesOfAt)),
            Held::TextsOf(_) | Held::BytesOf(_) | Held::TextsOfAt(_) | Held::BytesOfAt(_) => {
                let message = "a tenant has no tenants: ask the index for this one";
                Err(refused(py, "InvalidParameter", message))
            }
            _ => Err(unsupported(py, self.id_type())),
        }
    }
}

#[pymethods]
impl Searcher {
    /// A tenant: a collection of items of its own, with ids of its own, within an index whose items
    /// are named by `str` or `bytes`. See `Tenant`. Nothing is created: a tenant exists while it
    /// has items. A search of the index itself finds the items of all tenants.
    ///
    /// Args:
    ///     name: of the type of the ids, 1 to 476 bytes. It takes room from the ids of the tenant:
    ///         of 480 bytes, its length and 3.
    fn tenant(slf: &Bound<'_, Self>, name: &Bound<'_, PyAny>) -> PyResult<Py<PyTenant>> {
        let held = slf.get().tenant_held(name)?;
        let base = PyClassInitializer::from(Self::tenant_at(slf, held));
        Py::new(slf.py(), base.add_subclass(PyTenant { name: name.clone().unbind() }))
    }

    /// The names of all tenants, in the order of their bytes: one lookup for each. See `tenant`.
    fn tenants<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        fn shown<'py, K: Name + ?Sized>(
            py: Python<'py>,
            names: Vec<K::Owned>,
        ) -> PyResult<Vec<Bound<'py, PyAny>>> {
            names.iter().map(|name| K::show_owned(py, name)).collect()
        }
        match &self.held(py)? {
            Held::Texts(index) => shown::<str>(py, detached(py, || index.tenants())?),
            Held::Bytes(index) => shown::<[u8]>(py, detached(py, || index.tenants())?),
            Held::TextsAt(at) => shown::<str>(py, detached(py, || at.tenants()?.collect())?),
            Held::BytesAt(at) => shown::<[u8]>(py, detached(py, || at.tenants()?.collect())?),
            Held::TextsOf(_) | Held::BytesOf(_) | Held::TextsOfAt(_) | Held::BytesOfAt(_) => {
                Ok(Vec::new())
            }
            _ => Err(unsupported(py, self.id_type())),
        }
    }
}

/// Evaluates the same expression on an index that has tenants, with a function that takes a name.
macro_rules! each_index {
    ($slf:expr, ($index:ident, $take:ident) => $work:expr) => {
        match &index::held($slf)? {
            Held::Texts($index) => {
                let $take = <str as Name>::take_one;
                $work
            }
            Held::Bytes($index) => {
                let $take = <[u8] as Name>::take_one;
                $work
            }
            _ => return Err(unsupported($slf.py(), index::searcher($slf).id_type())),
        }
    };
}

#[pymethods]
impl PyIndex {
    /// Deletes all items of a tenant, and commits. Returns how many there were.
    fn drop_tenant(slf: &Bound<'_, Self>, name: &Bound<'_, PyAny>) -> PyResult<u64> {
        each_index!(slf, (index, take) => {
            let name = take(name)?;
            detached(slf.py(), || index.drop_tenant(&name))
        })
    }

    /// Deletes all items of a tenant, and erases what they leave: see `erase`. Returns how many
    /// there were.
    fn erase_tenant(slf: &Bound<'_, Self>, name: &Bound<'_, PyAny>) -> PyResult<u64> {
        each_index!(slf, (index, take) => {
            let name = take(name)?;
            detached(slf.py(), || index.erase_tenant(&name))
        })
    }

    /// Gives a tenant another name, and commits: only the ids of its items are written. Returns how
    /// many there are.
    ///
    /// Raises:
    ///     AlreadyThere: there is a tenant of that name.
    fn rename_tenant(
        slf: &Bound<'_, Self>,
        name: &Bound<'_, PyAny>,
        new: &Bound<'_, PyAny>,
    ) -> PyResult<u64> {
        each_index!(slf, (index, take) => {
            let (name, new) = (take(name)?, take(new)?);
            detached(slf.py(), || index.rename_tenant(&name, &new))
        })
    }

    /// Moves a tenant to another index of the same metric, dimensions and type of ids, with its
    /// records, and returns how many items that were: in one commit, if it is in the same folder.
    /// To another folder, the copy is committed first; keep others from writing to the tenant then.
    ///
    /// Args:
    ///     name: the tenant.
    ///     target: the other index.
    ///     new: its name there; the same unless given.
    ///
    /// Raises:
    ///     AlreadyThere: the other index has a tenant of that name.
    #[pyo3(signature = (name, target, new = None))]
    fn move_tenant<'py>(
        slf: &Bound<'py, Self>,
        name: &Bound<'py, PyAny>,
        #[pyo3(from_py_with = objects::target)] target: Bound<'py, Self>,
        new: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<u64> {
        let (py, new) = (slf.py(), new.unwrap_or(name));
        match (&index::held(slf)?, &index::held(&target)?) {
            (Held::Texts(index), Held::Texts(target)) => {
                let [name, new] = [<str as Name>::take_one(name)?, <str as Name>::take_one(new)?];
                detached(py, || index.move_tenant(&name, target, &new))
            }
            (Held::Bytes(index), Held::Bytes(target)) => {
                let [name, new] = [<[u8] as Name>::take_one(name)?, <[u8] as Name>::take_one(new)?];
                detached(py, || index.move_tenant(&name, target, &new))
            }
            (Held::Texts(_) | Held::Bytes(_), _) => {
                let (here, there) =
                    (index::searcher(slf).id_type(), index::searcher(&target).id_type());
                let message = format!(
                    "the items of one index are named by {here}, and those of the other by \
                     {there}: create one with the same type of ids"
                );
                Err(refused(py, "NamingMismatch", &message))
            }
            _ => Err(unsupported(py, index::searcher(slf).id_type())),
        }
    }
}

/// The exception for changes of the tenant of a snapshot.
pub(crate) fn read_only(py: Python<'_>) -> PyErr {
    refused(py, "ReadOnly", "the tenant of a snapshot does not change: use one of the index")
}

/// Ids of items to delete.
///
/// # Errors
/// `InvalidParameter` for a condition. A dict would be the ids that it has as keys.
pub(crate) fn by_ids<'a, 'py>(ids: &'a Bound<'py, PyAny>) -> PyResult<&'a Bound<'py, PyAny>> {
    if !is_condition(ids) {
        return Ok(ids);
    }
    let message = "items of a tenant are deleted by their ids: give those that the condition \
                   holds for, tenant.ids(condition)";
    Err(refused(ids.py(), "InvalidParameter", message))
}

/// Names within a tenant, as the index has them.
pub(crate) fn whole<K: Name + PrefixedKey + ?Sized>(
    py: Python<'_>,
    names: Vec<K::Owned>,
    key: impl Fn(&K::Owned) -> Result<K::Owned>,
) -> PyResult<Vec<K::Owned>> {
    let keys = names.iter().map(key).collect::<Result<Vec<_>>>();
    keys.map_err(|error| raised(py, &error))
}

/// Evaluates the same expression on a tenant of an index, with a function that makes names in the
/// index of ids.
macro_rules! each_tenant {
    ($slf:expr, ($tenant:ident, $whole:ident) => $work:expr) => {
        match &$slf.as_super().get().held($slf.py())? {
            Held::TextsOf($tenant) => {
                let $whole = |ids| whole::<str>($slf.py(), ids, |id| $tenant.key(id));
                $work
            }
            Held::BytesOf($tenant) => {
                let $whole = |ids| whole::<[u8]>($slf.py(), ids, |id| $tenant.key(id));
                $work
            }
            _ => Err(read_only($slf.py())),
        }
    };
}

#[pymethods]
impl PyTenant {
    /// Its name: a `str`, or `bytes`.
    #[getter]
    fn name(&self, py: Python<'_>) -> Py<PyAny> {
        self.name.clone_ref(py)
    }

    /// Adds items, or replaces the vectors of those that exist, links them and commits: see
    /// `Index.add`.
    #[pyo3(signature = (ids, vectors, records = None, *, link = true))]
    fn add(
        slf: &Bound<'_, Self>,
        ids: &Bound<'_, PyAny>,
        vectors: &Bound<'_, PyAny>,
        records: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = flags::link)] link: bool,
    ) -> PyResult<()> {
        let shape = slf.as_super().get().shape();
        each_tenant!(slf, (tenant, named) => {
            put(tenant.of(), ids, named, (vectors, records), shape, (link, false))
        })
    }

    /// Sets the records of existing items, without touching their vectors, and commits: see
    /// `Index.set_record`.
    ///
    /// Raises:
    ///     MissingItem: there is no such item; nothing has changed.
    fn set_record(
        slf: &Bound<'_, Self>,
        ids: &Bound<'_, PyAny>,
        records: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        each_tenant!(slf, (tenant, named) => set(tenant.of(), ids, named, records))
    }

    /// Deletes an item or many, and commits. Returns how many there were.
    fn delete(slf: &Bound<'_, Self>, ids: &Bound<'_, PyAny>) -> PyResult<u64> {
        let ids = by_ids(ids)?;
        each_tenant!(slf, (tenant, named) => delete(tenant.of(), ids, named))
    }

    /// Deletes all items, and commits: as `Index.drop_tenant`. Returns how many there were.
    fn drop(slf: &Bound<'_, Self>) -> PyResult<u64> {
        match &slf.as_super().get().held(slf.py())? {
            Held::TextsOf(tenant) => detached(slf.py(), || tenant.write(|batch| batch.clear())),
            Held::BytesOf(tenant) => detached(slf.py(), || tenant.write(|batch| batch.clear())),
            _ => Err(read_only(slf.py())),
        }
    }

    fn __reduce__(&self) -> PyResult<(Py<PyAny>, Py<PyAny>)> {
        not_pickled("Tenant", "the index and the name")
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("<Tenant {}>", self.name.bind(py).repr()?))
    }
}
