//! The options to create and to open an index with.

use std::path::PathBuf;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyString, PyType};
use voisin::{AnyType, Codes, Field, FieldType, Names, Options};

use crate::arguments::wrong_type;
use crate::asked::kind;
use crate::errors::refused;
use crate::names;
use crate::texts;

/// The settings of a handle, with which a copy of it is opened in another process.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    pub(crate) name: Option<String>,
    pub(crate) read_only: bool,
    pub(crate) threads: usize,
    pub(crate) memory: Option<u64>,
    pub(crate) temp_dir: Option<PathBuf>,
    pub(crate) map_size: Option<u64>,
    pub(crate) max_readers: Option<u32>,
    pub(crate) growth_wait: Option<f64>,
    pub(crate) any_file_system: bool,
}

impl Settings {
    /// Adds them to other options.
    pub(crate) fn of(&self, py: Python<'_>, mut options: Options) -> PyResult<Options> {
        options = options.threads(self.threads);
        if let Some(name) = &self.name {
            options = options.name(name);
        }
        if let Some(bytes) = self.memory {
            options = options.memory(bytes);
        }
        if let Some(folder) = &self.temp_dir {
            options = options.temp_dir(folder);
        }
        if let Some(bytes) = self.map_size {
            options = options.map_size_bytes(bytes);
        }
        if let Some(readers) = self.max_readers {
            options = options.max_readers(readers);
        }
        if let Some(seconds) = self.growth_wait {
            let wait = Duration::try_from_secs_f64(seconds).map_err(|_| {
                let message = format!("growth_wait is {seconds} s: use seconds from 0 on");
                refused(py, "InvalidParameter", &message)
            })?;
            options = options.growth_wait(wait);
        }
        Ok(if self.any_file_system { options.any_file_system() } else { options })
    }

    /// The keywords that open the same handle.
    pub(crate) fn keywords<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let keywords = PyDict::new(py);
        keywords.set_item("name", &self.name)?;
        keywords.set_item("read_only", self.read_only)?;
        keywords.set_item("threads", self.threads)?;
        keywords.set_item("memory", self.memory)?;
        keywords
            .set_item("temp_dir", self.temp_dir.as_deref().map(|path| path.to_string_lossy()))?;
        keywords.set_item("map_size", self.map_size)?;
        keywords.set_item("max_readers", self.max_readers)?;
        keywords.set_item("growth_wait", self.growth_wait)?;
        keywords.set_item("any_file_system", self.any_file_system)?;
        Ok(keywords)
    }
}

/// What a new index is of.
pub(crate) struct Creation<'a, 'py> {
    pub(crate) dimensions: usize,
    pub(crate) metric: &'a str,
    pub(crate) dtype: Option<Dtype>,
    pub(crate) ids: Option<Bound<'py, PyAny>>,
    pub(crate) codes: AskedCodes,
    pub(crate) fields: Option<Bound<'py, PyDict>>,
    pub(crate) kinds: Option<Kinds>,
    pub(crate) m: Option<usize>,
    pub(crate) m0: Option<usize>,
    pub(crate) ef_construction: Option<usize>,
    pub(crate) alpha: Option<f32>,
    pub(crate) seed: Option<u64>,
}

/// Metrics by shorter names.
const METRICS: &[(&str, &str)] = &[("dot", "dot product"), ("l2", "euclidean")];
/// Element types by their names in numpy.
const DTYPES: &[(&str, &str)] =
    &[("float32", "f32"), ("float16", "f16"), ("bfloat16", "bf16"), ("int8", "i8")];
/// The metrics that quantized codes can estimate.
const CODED: &[&str] = &["euclidean", "cosine", "dot product"];

fn full<'a>(names: &[(&str, &'static str)], name: &'a str) -> &'a str {
    names.iter().find(|(short, _)| *short == name).map_or(name, |(_, full)| full)
}

impl Creation<'_, '_> {
    pub(crate) fn of_type(&self, py: Python<'_>) -> PyResult<AnyType> {
        let of = AnyType::new(full(METRICS, self.metric)).names(self.names(py)?);
        Ok(match &self.dtype {
            Some(Dtype(dtype)) => of.form(full(DTYPES, dtype)),
            None => of,
        })
    }

    fn names(&self, py: Python<'_>) -> PyResult<Names> {
        let Some(ids) = &self.ids else { return Ok(Names::Ids) };
        if let Ok(ids) = ids.cast::<PyType>() {
            if ids.is(py.get_type::<PyInt>()) {
                return Ok(Names::Ids);
            }
            if ids.is(py.get_type::<PyString>()) {
                return Ok(Names::Texts);
            }
            if ids.is(py.get_type::<PyBytes>()) {
                return Ok(Names::Bytes);
            }
            if ids.is(names::uuid_type(py)?) {
                return Ok(Names::Uuids);
            }
        }
        match ids.extract::<String>().as_deref() {
            Ok("int" | "u32") => Ok(Names::Ids),
            Ok("u64") => Ok(Names::Numbers),
            Ok("str") => Ok(Names::Texts),
            Ok("bytes") => Ok(Names::Bytes),
            Ok("uuid") => Ok(Names::Uuids),
            _ => {
                let message = format!(
                    "items cannot be named by {}: use int (or \"u32\"), \"u64\", str, \
                     bytes or uuid.UUID",
                    texts::shown(ids)
                );
                Err(refused(py, "InvalidParameter", &message))
            }
        }
    }

    fn codes(&self, py: Python<'_>) -> PyResult<Option<Codes>> {
        match &self.codes {
            AskedCodes::Auto if CODED.contains(&full(METRICS, self.metric)) => {
                Ok(Some(Codes::fast(self.dimensions)))
            }
            AskedCodes::Auto => Ok(None),
            codes => codes.get(py, self.dimensions),
        }
    }

    pub(crate) fn options(&self, py: Python<'_>) -> PyResult<Options> {
        let options = self.options_but_codes(py)?;
        Ok(match self.codes(py)? {
            Some(codes) => options.codes(codes),
            None => options,
        })
    }

    pub(crate) fn options_but_codes(&self, py: Python<'_>) -> PyResult<Options> {
        let mut options = Options::new(self.dimensions);
        if let Some(m) = self.m {
            options = options.m(m);
        }
        if let Some(m0) = self.m0 {
            options = options.m0(m0);
        }
        if let Some(ef) = self.ef_construction {
            options = options.ef_construction(ef);
        }
        if let Some(alpha) = self.alpha {
            options = options.alpha(alpha);
        }
        if let Some(seed) = self.seed {
            options = options.seed(seed);
        }
        if let Some(Kinds(kinds)) = &self.kinds {
            let kinds = kinds.iter().map(|name| kind(py, name));
            options = options.kinds(kinds.collect::<PyResult<Vec<_>>>()?);
        }
        if let Some(fields) = &self.fields {
            let fields =
                fields.iter().map(|(name, of)| field(texts::take(&name, "a name of fields")?, &of));
            options = options.fields(fields.collect::<PyResult<Vec<_>>>()?);
        }
        Ok(options)
    }
}

/// A type of fields: its name, and how a field of it is made.
type Type = (&'static str, FieldType, fn(String) -> Field);

/// All types of fields.
const TYPES: &[Type] = &[
    ("keyword", FieldType::Keyword, Field::keyword),
    ("integer", FieldType::Integer, Field::integer),
    ("float", FieldType::Float, Field::float),
    ("timestamp", FieldType::Timestamp, Field::timestamp),
    ("bool", FieldType::Bool, Field::bool),
];

/// The name of a type of fields.
pub(crate) fn type_name(of: FieldType) -> &'static str {
    TYPES.iter().find(|(_, known, _)| *known == of).map_or("other", |(name, ..)| name)
}

/// A field of a type that a caller names.
///
/// # Errors
/// `InvalidParameter`.
pub(crate) fn field(name: &str, of: &Bound<'_, PyAny>) -> PyResult<Field> {
    let py = of.py();
    let named = of.extract::<String>();
    let is_it = |known: &str| named.as_ref().is_ok_and(|named| named == known);
    let python = [
        ("keyword", py.get_type::<PyString>()),
        ("bool", py.get_type::<PyBool>()),
        ("integer", py.get_type::<PyInt>()),
        ("float", py.get_type::<PyFloat>()),
    ];
    let python = python.iter().find(|(_, class)| of.is(class)).map(|(name, _)| *name);
    match TYPES.iter().find(|(known, ..)| is_it(known) || python == Some(known)) {
        Some((_, _, make)) => Ok(make(name.to_owned())),
        None => {
            let message = format!(
                "the field {name:?} cannot be of {}: use \"keyword\" (or str), \"integer\" (int), \
                 \"float\", \"timestamp\" or \"bool\"",
                texts::shown(of)
            );
            Err(refused(py, "InvalidParameter", &message))
        }
    }
}

/// An element type: its name, or a type of numpy's.
pub(crate) struct Dtype(pub(crate) String);

impl<'a, 'py> FromPyObject<'a, 'py> for Dtype {
    type Error = PyErr;

    fn extract(asked: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if asked.is_instance_of::<PyString>() {
            return texts::take(&asked, "dtype").map(|name| Self(name.to_owned()));
        }
        let dtype = asked.py().import("numpy")?.getattr("dtype")?.call1((asked,));
        let wrong = |_| wrong_type(&asked, "dtype", "a str, or a type of numpy");
        Ok(Self(dtype.map_err(wrong)?.getattr("name")?.extract()?))
    }
}

/// Kinds of index: a list of names, or one.
pub(crate) struct Kinds(pub(crate) Vec<String>);

impl<'a, 'py> FromPyObject<'a, 'py> for Kinds {
    type Error = PyErr;

    fn extract(asked: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let name =
            |name: &Bound<'_, PyAny>| texts::take(name, "a name of kinds").map(str::to_owned);
        if asked.is_instance_of::<PyString>() {
            return Ok(Self(vec![name(&asked)?]));
        }
        let all = asked.try_iter().map_err(|_| wrong_type(&asked, "kinds", "a list of names"))?;
        all.map(|one| name(&one?)).collect::<PyResult<_>>().map(Self)
    }
}

/// The codes that a caller asks for.
pub(crate) enum AskedCodes {
    /// The fast ones, where the metric can have codes.
    Auto,
    Fast,
    None,
    Bits(usize),
    /// What cannot be, as text.
    Other(String),
}

impl<'a, 'py> FromPyObject<'a, 'py> for AskedCodes {
    type Error = PyErr;

    fn extract(asked: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if asked.is_none() {
            return Ok(Self::None);
        }
        if asked.is_instance_of::<PyBool>() {
            // It would be a number.
            return Ok(Self::Other(texts::shown(&asked)));
        }
        Ok(match (asked.extract::<&str>(), asked.extract::<usize>()) {
            (Ok("auto"), _) => Self::Auto,
            (Ok("fast"), _) => Self::Fast,
            (_, Ok(bits)) => Self::Bits(bits),
            _ => Self::Other(texts::shown(&asked)),
        })
    }
}

impl AskedCodes {
    /// The codes; `None` for none.
    pub(crate) fn get(&self, py: Python<'_>, dimensions: usize) -> PyResult<Option<Codes>> {
        let all = [Codes::Bits1, Codes::Bits2, Codes::Bits4, Codes::Bits7, Codes::Bits8];
        let shown = match self {
            Self::Auto | Self::Fast => return Ok(Some(Codes::fast(dimensions))),
            Self::None => return Ok(None),
            Self::Bits(bits) => match all.into_iter().find(|codes| codes.bits() == *bits) {
                Some(codes) => return Ok(Some(codes)),
                None => bits.to_string(),
            },
            Self::Other(shown) => shown.clone(),
        };
        let message = format!(
            "there are no codes of {shown}: use \"fast\", 1, 2, 4, 7 or 8 bits a component, or None"
        );
        Err(refused(py, "InvalidParameter", &message))
    }
}
