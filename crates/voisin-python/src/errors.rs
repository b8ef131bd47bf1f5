//! Errors of voisin as exceptions of Python.
//!
//! The classes are in `python/voisin/errors.py`, by kind and by who must act. An exception has the
//! kind of the error, its value, the limit, and the remedy, in words of Python's functions.
//! Nothing panics across the border: what panics in voisin becomes an `InternalError`.

use std::time::Duration;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyFloat;
use voisin::{Error, Responsible};

/// Names of Rust in messages, and what they are called here. A longer one comes before those that
/// are a part of it. `tests/test_errors.py` reads the messages of voisin, and this table.
const NAMES: &[(&str, &str)] = &[
    ("open it as what it is, Index<_, u64>", "name items by int"),
    ("open it as what it is, Index<_, str>", "name items by str"),
    ("open it as what it is, Index<_>", "name items by int"),
    (" (Options::memory, Loader::memory)", " (memory=)"),
    (" (Options::temp_dir, Loader::temp_dir)", " (temp_dir=)"),
    (" (Options::name)", " (name=)"),
    ("(Options::growth_wait)", "(growth_wait=)"),
    ("(Options::map_size_bytes)", "(map_size=)"),
    ("(Options::max_readers)", "(max_readers=)"),
    ("(Options::any_file_system)", "(any_file_system=True)"),
    (", or pass your own to Options::metric", ""),
    (" that stores vectors as \"any form\"", ""),
    (
        "open it with Options::metric, or as an Index of that metric, to add vectors, to link or \
         to search",
        "add vectors, link and search by the program that has this metric",
    ),
    ("give Writer::train, or Index::train, a sample", "give Index.train a sample"),
    (
        "drop the transaction; if it was committed, Writer::repair or Index::repair restores",
        "Index.repair restores",
    ),
    (
        "abort the transaction, enlarge the map (Env::resize, or a larger map_size at open), and \
         try again",
        "open it with a larger map_size=",
    ),
    ("end all transactions, and call Env::resize(0)", "close all snapshots, and try again"),
    ("open it with Index::open to change it", "open it without read_only=True to change it"),
    ("with Index::open_read_only", "with read_only=True"),
    ("with Index::create", "with voisin.create"),
    (", or use Writer and Reader inside that environment", ""),
    ("run verify_file", "run voisin.verify_file"),
    ("force_rebuild makes", "Index.rebuild makes"),
    ("drop_kind and add_kind make", "Index.drop_kind and Index.add_kind make"),
    ("drop_field and add_field of", "Index.drop_field and Index.add_field of"),
    ("hold a Snapshot for", "hold a snapshot for"),
    (" (Options::max_databases, or heed's max_dbs)", " (max_databases= of voisin.Folder)"),
    ("look up its form at Condition::from_json, and change it", "see help(voisin.Condition)"),
    ("open a Reader, and add", "open it, and add"),
    ("give another number, or add an item with a Writer first", "give another name"),
    ("; Import reads those of hannoy and arroy", ""),
    ("; see Index::add_kind and drop_kind", "; see Index.add_kind and Index.drop_kind"),
];

/// A value or a limit of an error.
enum Value {
    None,
    Int(u64),
    Float(f64),
    Text(String),
}

impl<'py> IntoPyObject<'py> for Value {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(match self {
            Self::None => py.None().into_bound(py),
            Self::Int(value) => value.into_pyobject(py)?.into_any(),
            Self::Float(value) => PyFloat::new(py, value).into_any(),
            Self::Text(value) => value.into_pyobject(py)?.into_any(),
        })
    }
}

/// The answer of `__reduce__` for what cannot go to another process, with what can.
pub(crate) fn not_pickled<T>(what: &str, remedy: &str) -> PyResult<T> {
    Err(PyTypeError::new_err(format!("a {what} cannot be pickled: pass {remedy} instead")))
}

fn int(value: usize) -> Value {
    Value::Int(value as u64)
}

fn path(path: &std::path::Path) -> Value {
    Value::Text(path.display().to_string())
}

/// The value that an error blames, and the limit that it misses.
fn value_and_limit(error: &Error) -> (Value, Value) {
    use Value::{Float, Int, None, Text};
    match error {
        Error::DimensionMismatch { expected, found } => (int(*found), int(*expected)),
        Error::InvalidDimensions { found, max } => (int(*found), int(*max)),
        Error::InvalidItem { item, .. } => (Int((*item).into()), None),
        Error::InvalidKeyedItem { key, .. } => (Text(key.clone()), None),
        Error::InvalidItemKey { bytes, max }
        | Error::InvalidName { bytes, max }
        | Error::InvalidTenant { bytes, max } => (int(*bytes), int(*max)),
        Error::TenantExists { tenant } => (Text(tenant.clone()), None),
        Error::NoTenants { stored, .. } => (Text((*stored).into()), None),
        Error::InvalidRow { row, .. } | Error::InvalidSample { row, .. } => (int(*row), None),
        Error::UnevenRows { components, dimensions } => (int(*components), int(*dimensions)),
        Error::LengthMismatch { ids, components, dimensions } => {
            (int(*components), int(ids.saturating_mul(*dimensions)))
        }
        Error::KindUnsupported { kind, .. } => (Text(kind.to_string()), None),
        Error::KindMismatch { kind, has, .. } => (Text(kind.to_string()), Text(has.clone())),
        Error::InvalidParameters { part, remedy } => (Text(part.clone()), Text(remedy.clone())),
        Error::InvalidRecord { item, .. } | Error::ItemExists { item } => {
            (Text(item.clone()), None)
        }
        Error::QueryMetric { requested, can, .. } => (Text((*requested).into()), Text(can.clone())),
        Error::InvalidField { field, .. } => (Text(field.clone()), None),
        Error::UnknownField { field, known } => (Text(field.clone()), Text(known.join(", "))),
        Error::FieldMismatch { field, stored, .. } => (Text(field.clone()), Text((*stored).into())),
        Error::InvalidParameter { value, remedy, .. } => (Float(*value), Text((*remedy).into())),
        Error::CodesUnsupported { metric } => (Text((*metric).into()), None),
        Error::UnknownMetric { metric, .. } => (Text((*metric).into()), None),
        Error::UnknownType { metric, known, .. } => (Text(metric.clone()), Text(known.clone())),
        Error::CoarseRange { error, limit, .. } => (Float(*error), Float(*limit)),
        Error::OptionMismatch { stored, requested, .. }
        | Error::MetricMismatch { stored, requested, .. } => {
            (Text(requested.clone()), Text(stored.clone()))
        }
        Error::NamingMismatch { stored, requested, .. } => {
            (Text((*requested).into()), Text((*stored).into()))
        }
        Error::PagesExpired { commit } => (Int(*commit), None),
        Error::MissingName { name, known, .. } => (Text(name.clone()), Text(known.join(", "))),
        Error::NameTaken { name, .. } | Error::Removed { name, .. } => (Text(name.clone()), None),
        Error::TooManyIndexes { max, .. } => (None, int(*max)),
        Error::Forked { opened, here } => (Int((*here).into()), Int((*opened).into())),
        Error::MemoryBudget { bytes, least } => (Int(*bytes), Int(*least)),
        Error::DiskRoom { needed, available, .. } => (Int(*needed), Int(*available)),
        Error::MapBusy { map_bytes, .. }
        | Error::MapLost { map_bytes, .. }
        | Error::NestedGrowth { map_bytes, .. } => (Int(*map_bytes), None),
        Error::ReadersFull { max, .. } => (Int((*max).into()), Int((*max).into())),
        Error::FormatVersion { found, supported, .. }
        | Error::CatalogVersion { found, supported, .. } => {
            (Int((*found).into()), Int((*supported).into()))
        }
        Error::Truncated { bytes, expected, .. } => (Int(*bytes), Int(*expected)),
        Error::FileSystem { file_system, .. } => (Text((*file_system).into()), None),
        Error::MissingEnvironment { path: at }
        | Error::ForeignEnvironment { path: at }
        | Error::Exists { path: at }
        | Error::ReadOnly { path: at }
        | Error::NestedWrite { path: at }
        | Error::LinkedFile { path: at, .. }
        | Error::AlreadyOpen { path: at, .. }
        | Error::DiskFull { path: at, .. }
        | Error::Io { path: at, .. }
        | Error::DamagedFile { path: at, .. } => (path(at), None),
        Error::CorruptItemKey { key, .. } => (Text(key.clone()), None),
        Error::CorruptCatalog { name, .. } => (Text(name.clone()), None),
        _ => (None, None),
    }
}

/// The name of the variant of an error.
fn kind(error: &Error) -> String {
    let debugged = format!("{error:?}");
    let end = debugged.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(debugged.len());
    debugged[..end].to_owned()
}

/// A message in words of Python.
fn in_python(message: String) -> String {
    NAMES.iter().fold(message, |message, (rust, python)| message.replace(rust, python))
}

fn group(responsible: Responsible) -> &'static str {
    match responsible {
        Responsible::Caller => "caller",
        Responsible::Environment => "operator",
        Responsible::Control => "control",
        _ => "data",
    }
}

/// The exception of a kind: of the class that `errors.py` has for it.
fn exception(
    py: Python<'_>,
    kind: &str,
    group: &str,
    message: &str,
    (value, limit): (Value, Value),
) -> PyErr {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let made = MAKE
        .import(py, "voisin.errors", "_exception")
        .and_then(|make| make.call1((kind, group, message, value, limit)));
    match made {
        Ok(made) => PyErr::from_value(made),
        Err(error) => error,
    }
}

/// The exception of an error.
pub(crate) fn raised(py: Python<'_>, error: &Error) -> PyErr {
    let (kind, group) = (kind(error), group(error.responsible()));
    exception(py, &kind, group, &in_python(error.to_string()), value_and_limit(error))
}

/// An exception about something that the caller gave, before voisin has seen it. `kind` is a class
/// of `errors.py`; the message ends with `": "` and the remedy.
pub(crate) fn refused(py: Python<'_>, kind: &str, message: &str) -> PyErr {
    exception(py, kind, "caller", message, (Value::None, Value::None))
}

/// The same with the value, and the limit, if there is one.
pub(crate) fn refused_value(
    py: Python<'_>,
    kind: &str,
    message: &str,
    value: u64,
    limit: Option<u64>,
) -> PyErr {
    let values = (Value::Int(value), limit.map_or(Value::None, Value::Int));
    exception(py, kind, "caller", message, values)
}

/// The exception for a write that has waited for another writer for so long.
pub(crate) fn late(py: Python<'_>, waited: Duration) -> PyErr {
    let message = format!(
        "another writer has not ended within {} s, and nothing has changed: try again, or wait \
         longer (timeout=)",
        waited.as_secs_f64()
    );
    let values = (Value::Float(waited.as_secs_f64()), Value::None);
    exception(py, "WriteTimeout", "operator", &message, values)
}

/// The exception of a panic, which is a bug of voisin.
pub(crate) fn of_panic(py: Python<'_>, panic: &(dyn std::any::Any + Send)) -> PyErr {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    let message =
        format!("voisin has a bug ({text}), and this call has committed nothing: report it");
    exception(py, "InternalError", "data", &message, (Value::None, Value::None))
}
