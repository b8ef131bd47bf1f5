//! Tables of the caller's, beside the indexes of a folder.

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use voisin::heed;
use voisin::heed::types::Bytes;
use voisin::{Error, FolderSnapshot};

use crate::arguments::wrong_type;
use crate::errors::{not_pickled, refused};
use crate::folder::{HeldFolder, look};
use crate::texts::{shown, text_of};
use crate::watch::detached;

/// A table, opened.
pub(crate) type Database = heed::Database<'static, Bytes, Bytes>;

/// LMDB's limit for keys.
const MAX_KEY_BYTES: usize = 511;

/// Bytes, or the UTF-8 of a string.
fn bytes(given: &Bound<'_, PyAny>, what: &str) -> PyResult<Vec<u8>> {
    if let Ok(text) = given.cast::<PyString>() {
        return Ok(text_of(text, "InvalidParameter", what)?.as_bytes().to_vec());
    }
    given
        .extract::<Vec<u8>>()
        .ok()
        .filter(|_| is_buffer(given))
        .ok_or_else(|| wrong_type(given, &format!("the {what} of a table"), "bytes or str"))
}

/// Whether this is bytes, and no list of numbers.
fn is_buffer(given: &Bound<'_, PyAny>) -> bool {
    given.is_instance_of::<PyBytes>() || given.is_instance_of::<pyo3::types::PyByteArray>()
}

/// A key, which LMDB can have.
fn key(given: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    let key = bytes(given, "key")?;
    if (1..=MAX_KEY_BYTES).contains(&key.len()) {
        return Ok(key);
    }
    let message = format!("a key of {} bytes cannot be: use 1 to {MAX_KEY_BYTES}", key.len());
    Err(refused(given.py(), "InvalidParameter", &message))
}

enum Of {
    /// The newest commit of each call.
    Newest(voisin::Folder),
    At(HeldFolder),
}

/// A table of your own in a folder of indexes: bytes by keys of bytes, 1 to 511 of them, in the
/// order of these. Strings are their UTF-8. `Folder.table` has the newest commit of each call,
/// `FolderSnapshot.table` one commit; `FolderWrite.table` changes it.
///
/// >>> import tempfile, voisin
/// >>> path = tempfile.mkdtemp()
/// >>> folder = voisin.create(path, 2).folder()
/// >>> with folder.write() as txn:
/// ...     txn.table("users")["ann/1"] = b"red"
/// ...     txn.table("users")["bob/1"] = b"blue"
/// >>> users = folder.table("users")
/// >>> users["ann/1"], users.get("carl"), len(users), "bob/1" in users
/// (b'red', None, 2, True)
/// >>> users.items(prefix="ann/")
/// [(b'ann/1', b'red')]
#[pyclass(module = "voisin", frozen)]
pub(crate) struct Table {
    of: Of,
    name: String,
    /// `None` if there was none of the name at the commit.
    database: Option<Database>,
}

impl Table {
    pub(crate) fn newest(folder: voisin::Folder, name: &str, database: Database) -> Self {
        Self { of: Of::Newest(folder), name: name.to_owned(), database: Some(database) }
    }

    pub(crate) fn at(held: HeldFolder, name: &str, database: Option<Database>) -> Self {
        Self { of: Of::At(held), name: name.to_owned(), database }
    }

    /// Reads it; nothing is what there is in a table that does not exist.
    fn look<T: Send + Default>(
        &self,
        py: Python<'_>,
        read: impl FnOnce(&FolderSnapshot, Database) -> voisin::Result<T> + Send,
    ) -> PyResult<T> {
        let read = |held: &_| self.database.map_or(Ok(T::default()), |it| read(held, it));
        match &self.of {
            Of::Newest(folder) => detached(py, || read(&folder.snapshot()?)),
            Of::At(held) => look(py, held, read),
        }
    }

    fn value(&self, given: &Bound<'_, PyAny>) -> PyResult<Option<Vec<u8>>> {
        let key = key(given)?;
        self.look(given.py(), |held, database| {
            Ok(database.get(held.txn()?, &key)?.map(<[u8]>::to_vec))
        })
    }
}

#[pymethods]
impl Table {
    /// The name of the table.
    #[getter]
    fn name(&self) -> &str {
        &self.name
    }

    /// The value of a key, a `str` or bytes; `default` if there is none.
    #[pyo3(signature = (key, default = None))]
    fn get<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let value = self.value(key)?;
        Ok(value.map(|value| PyBytes::new(key.py(), &value).into_any()).or(default))
    }

    fn __getitem__<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        match self.value(key)? {
            Some(value) => Ok(PyBytes::new(key.py(), &value)),
            None => {
                let message = format!(
                    "the table {:?} has no key {}: set it first, or use get, which returns None",
                    self.name,
                    shown(key)
                );
                Err(refused(key.py(), "MissingKey", &message))
            }
        }
    }

    fn __contains__(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(self.value(key)?.is_some())
    }

    /// The number of keys.
    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        let count = self.look(py, |held, database| Ok(database.len(held.txn()?)?))?;
        Ok(count as usize)
    }

    /// A table is true, whether or not it has keys.
    fn __bool__(&self) -> bool {
        true
    }

    /// The keys and values, in the order of the keys: all, or those whose keys begin with `prefix`.
    #[pyo3(signature = (*, prefix = None))]
    fn items<'py>(
        &self,
        py: Python<'py>,
        prefix: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)>> {
        let prefix = prefix.map(|prefix| bytes(prefix, "prefix")).transpose()?;
        let rows = self.look(py, |held, database| {
            let owned = |row: heed::Result<(&[u8], &[u8])>| -> voisin::Result<_> {
                let (key, value) = row?;
                Ok((key.to_vec(), value.to_vec()))
            };
            let txn = held.txn()?;
            match prefix.filter(|prefix| !prefix.is_empty()) {
                Some(prefix) => database
                    .prefix_iter(txn, &prefix)?
                    .map(owned)
                    .collect::<Result<Vec<_>, Error>>(),
                None => database.iter(txn)?.map(owned).collect(),
            }
        })?;
        let shown =
            |(key, value): (Vec<u8>, Vec<u8>)| (PyBytes::new(py, &key), PyBytes::new(py, &value));
        Ok(rows.into_iter().map(shown).collect())
    }

    fn __reduce__(&self) -> PyResult<(Py<PyAny>, Py<PyAny>)> {
        not_pickled("Table", "the path of the folder, and its name")
    }

    fn __repr__(&self) -> String {
        format!("<Table {:?}>", self.name)
    }
}

/// A change of a table: the new value of a key, or none.
pub(crate) type Row = (Database, Vec<u8>, Option<Vec<u8>>);

/// Changes of tables that wait, in their order; `None` once they are committed or discarded.
pub(crate) type Rows = std::sync::Arc<Mutex<Option<Vec<Row>>>>;

/// Changes of a table in a write to its folder. `FolderWrite.table` makes one.
#[pyclass(module = "voisin", frozen)]
pub(crate) struct TableWrite {
    pub(crate) database: Database,
    pub(crate) rows: Rows,
}

impl TableWrite {
    fn queue(&self, py: Python<'_>, key: Vec<u8>, value: Option<Vec<u8>>) -> PyResult<()> {
        match &mut *self.rows.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(rows) => rows.push((self.database, key, value)),
            None => {
                let message = "this write has been committed or discarded: begin another one";
                return Err(refused(py, "Closed", message));
            }
        }
        Ok(())
    }
}

#[pymethods]
impl TableWrite {
    /// Sets the value of a key: bytes, or a string, which is stored as its UTF-8.
    fn __setitem__(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.queue(key.py(), self::key(key)?, Some(bytes(value, "value")?))
    }

    /// Deletes a key, if it is there.
    fn __delitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<()> {
        self.queue(key.py(), self::key(key)?, None)
    }
}
