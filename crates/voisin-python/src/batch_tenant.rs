//! Tenants in a batch: their changes are those of the batch, under the names that its index has for
//! their items.

use pyo3::prelude::*;

use crate::batch::{Names, PyBatch, Queued, some_or_for};
use crate::handle::Held;
use crate::names::Name;
use crate::records;
use crate::tenants::{by_ids, read_only, unsupported, whole};
use crate::vectors::Given;
use crate::write::set_for;

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

impl PyTenantBatch {
    /// The names of items in the index.
    fn names(&self, ids: &Bound<'_, PyAny>, given: Option<&Given<'_>>) -> PyResult<Names> {
        let py = ids.py();
        match &self.tenant {
            Held::TextsOf(tenant) => {
                let ids = some_or_for::<str>(ids, given)?;
                whole::<str>(py, &ids, |id| tenant.key(id)).map(Names::Texts)
            }
            Held::BytesOf(tenant) => {
                let ids = some_or_for::<[u8]>(ids, given)?;
                whole::<[u8]>(py, &ids, |id| tenant.key(id)).map(Names::Bytes)
            }
            _ => Err(read_only(py)),
        }
    }
}

#[pymethods]
impl PyTenantBatch {
    /// Its name: a `str`, or `bytes`.
    #[getter]
    fn name(&self, py: Python<'_>) -> Py<PyAny> {
        self.name.clone_ref(py)
    }

    /// Adds items, or replaces their vectors: see `Index.add`.
    #[pyo3(signature = (ids, vectors, records = None))]
    fn add(
        &self,
        ids: &Bound<'_, PyAny>,
        vectors: &Bound<'_, PyAny>,
        records: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let batch = self.batch.bind(ids.py()).get();
        let named = |given: &Given<'_>| self.names(ids, Some(given));
        let (names, rows, records) = batch.rows(vectors, records, named)?;
        batch.queue(ids.py(), Queued::Add(names, rows, records))
    }

    /// Replaces the vectors of existing items: see `Index.update`.
    #[pyo3(signature = (ids, vectors, records = None))]
    fn update(
        &self,
        ids: &Bound<'_, PyAny>,
        vectors: &Bound<'_, PyAny>,
        records: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let batch = self.batch.bind(ids.py()).get();
        let named = |given: &Given<'_>| self.names(ids, Some(given));
        let (names, rows, records) = batch.rows(vectors, records, named)?;
        batch.queue(ids.py(), Queued::Update(names, rows, records))
    }

    /// Sets the records of existing items: see `Index.set_record`.
    fn set_record(&self, ids: &Bound<'_, PyAny>, records: &Bound<'_, PyAny>) -> PyResult<()> {
        let (names, records) = (self.names(ids, None)?, set_for(ids, records)?);
        if names.len() != records.len() {
            return Err(records::mismatch(ids.py(), names.len(), records.len()));
        }
        self.batch.bind(ids.py()).get().queue(ids.py(), Queued::SetRecords(names, records))
    }

    /// Deletes an item or many, by their ids.
    fn delete(&self, ids: &Bound<'_, PyAny>) -> PyResult<()> {
        let names = self.names(by_ids(ids)?, None)?;
        self.batch.bind(ids.py()).get().queue(ids.py(), Queued::Delete(names))
    }

    /// Deletes all items: see `Index.drop_tenant`.
    fn drop(&self, py: Python<'_>) -> PyResult<()> {
        self.batch.bind(py).get().drop_tenant(self.name.bind(py))
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
