//! Tenants in a batch: their changes are those of the batch, under the names that its index has for
//! their items.

use pyo3::prelude::*;

use crate::batch::PyBatch;
use crate::held::Held;
use crate::names::Name;
use crate::queue::{Names, Queue, Queued, queues, some_or_for};
use crate::tenants::{by_ids, read_only, unsupported, whole};
use crate::vectors::Given;

/// A tenant in a batch: its changes wait with all others of the batch, and are committed with them.
/// `Batch.tenant` makes one. Ids are the tenant's.
///
/// >>> import tempfile, voisin
/// >>> index = voisin.create(tempfile.mkdtemp(), 2, ids=str)
/// >>> with index.batch() as batch:
/// ...     batch.tenant("acme").add(["doc-1", "doc-2"], [[0.9, 0.1], [0.2, 0.8]])
/// ...     batch.tenant("bolt").add("doc-1", [0.5, 0.5])
/// ...     batch.rename_tenant("bolt", "bolt & sons")
/// >>> index.tenants(), list(index.tenant("acme"))
/// (['acme', 'bolt & sons'], ['doc-1', 'doc-2'])
#[pyclass(name = "TenantBatch", module = "voisin", frozen)]
pub(crate) struct PyTenantBatch {
    batch: Py<PyBatch>,
    /// The tenant of the index, which makes names of ids.
    tenant: Held,
    /// Its name, a string or bytes.
    name: Py<PyAny>,
}

impl Queue for PyTenantBatch {
    fn batch<'a>(&'a self, py: Python<'a>) -> &'a PyBatch {
        self.batch.bind(py).get()
    }

    fn names(&self, ids: &Bound<'_, PyAny>, given: Option<&Given<'_>>) -> PyResult<Names> {
        let py = ids.py();
        match &self.tenant {
            Held::TextsOf(tenant) => {
                let ids = some_or_for::<str>(ids, given)?;
                whole::<str>(py, ids, |id| tenant.key(id)).map(Names::Texts)
            }
            Held::BytesOf(tenant) => {
                let ids = some_or_for::<[u8]>(ids, given)?;
                whole::<[u8]>(py, ids, |id| tenant.key(id)).map(Names::Bytes)
            }
            _ => Err(read_only(py)),
        }
    }
}

queues!(PyTenantBatch);

#[pymethods]
impl PyTenantBatch {
    /// Its name: a `str`, or `bytes`.
    #[getter]
    fn name(&self, py: Python<'_>) -> Py<PyAny> {
        self.name.clone_ref(py)
    }

    /// Deletes an item or many, by their ids.
    fn delete(&self, ids: &Bound<'_, PyAny>) -> PyResult<()> {
        let names = self.names(by_ids(ids)?, None)?;
        self.batch(ids.py()).queue(ids.py(), Queued::Delete(names))
    }

    /// Deletes all items: see `Index.drop_tenant`.
    fn drop(&self, py: Python<'_>) -> PyResult<()> {
        self.batch(py).drop_tenant(self.name.bind(py))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("<TenantBatch {}>", self.name.bind(py).repr()?))
    }
}

impl PyBatch {
    /// Names of tenants, which must be such as tenants can have.
    fn tenant_names(&self, names: &[&Bound<'_, PyAny>], py: Python<'_>) -> PyResult<Names> {
        fn taken<K: Name + ?Sized>(names: &[&Bound<'_, PyAny>]) -> PyResult<Vec<K::Owned>> {
            names.iter().map(|name| K::take_one(name)).collect()
        }
        let searcher = self.searcher(py);
        for name in names {
            searcher.get().tenant_held(name)?;
        }
        match searcher.get().id_type() {
            "str" => taken::<str>(names).map(Names::Texts),
            "bytes" => taken::<[u8]>(names).map(Names::Bytes),
            other => Err(unsupported(py, other)),
        }
    }
}

#[pymethods]
impl PyBatch {
    /// A tenant, to change its items in this batch: see `Index.tenant`.
    fn tenant(slf: &Bound<'_, Self>, name: &Bound<'_, PyAny>) -> PyResult<PyTenantBatch> {
        let tenant = slf.get().searcher(slf.py()).get().tenant_held(name)?;
        Ok(PyTenantBatch { batch: slf.clone().unbind(), tenant, name: name.clone().unbind() })
    }

    /// Deletes all items of a tenant: see `Index.drop_tenant`.
    fn drop_tenant(&self, name: &Bound<'_, PyAny>) -> PyResult<()> {
        let names = self.tenant_names(&[name], name.py())?;
        self.queue(name.py(), Queued::DropTenants(names))
    }

    /// Gives a tenant another name, which no tenant has then: see `Index.rename_tenant`.
    fn rename_tenant(&self, name: &Bound<'_, PyAny>, new: &Bound<'_, PyAny>) -> PyResult<()> {
        let names = self.tenant_names(&[name, new], name.py())?;
        self.queue(name.py(), Queued::RenameTenant(names))
    }
}
