//! Conditions on the fields of records: values that are made once, of dicts or of the expressions
//! of `_fields.py`, and used by any number of calls.

use std::sync::Arc;

use pyo3::basic::CompareOp;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyTuple};
use voisin::{Condition, FieldValue};

use crate::errors::{raised, refused};

/// The value of a field, as Python has it: timestamps are milliseconds since 1970.
pub(crate) fn value<'py>(py: Python<'py>, value: &FieldValue) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        FieldValue::Text(text) => PyString::new(py, text).into_any(),
        FieldValue::Integer(value) => value.into_pyobject(py)?.into_any(),
        FieldValue::Float(value) => value.into_pyobject(py)?.into_any(),
        FieldValue::Bool(value) => value.into_pyobject(py)?.to_owned().into_any(),
        // Every value of voisin's can be shown.
        other => PyString::new(py, &other.to_string()).into_any(),
    })
}

/// A condition and its JSON.
struct Part {
    condition: Condition,
    json: String,
}

/// A condition on the fields of records: the expressions of `field` make one, and so does a dict,
/// as JSON has it.
///
/// A dict is `{"and": [..]}`, `{"or": [..]}`, `{"not": {..}}`, or has a `"field"` and one of
/// `"eq"`, `"in"`, `"between"`, `"at_least"`, `"above"`, `"at_most"`, `"below"`, `"prefix"` and
/// `"exists"`. Wherever a condition is taken, a dict is, too. `&`, `|` and `~` combine conditions.
///
/// >>> import voisin
/// >>> news = voisin.Condition({"field": "tag", "eq": "news"})
/// >>> news == (voisin.field("tag") == "news")
/// True
/// >>> ~news | (voisin.field("year") < 2000)
/// Condition({'or': [{'not': {'field': 'tag', 'eq': 'news'}}, {'field': 'year', 'below': 2000}]})
#[pyclass(name = "Condition", module = "voisin", frozen)]
#[derive(Clone)]
pub(crate) struct PyCondition {
    whole: Arc<Part>,
    /// What it was combined of, and by what: a chain of `&` is one list, however long it is.
    joined: Option<(Joint, Vec<Arc<Part>>)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Joint {
    And,
    Or,
}

impl PyCondition {
    fn of(condition: Condition, json: String) -> Self {
        Self { whole: Arc::new(Part { condition, json }), joined: None }
    }

    /// # Errors
    /// `InvalidCondition`.
    fn of_json(py: Python<'_>, json: &str) -> PyResult<Self> {
        let condition = Condition::from_json(json).map_err(|error| raised(py, &error))?;
        Ok(Self::of(condition, json.to_owned()))
    }

    fn of_dict(dict: &Bound<'_, PyAny>) -> PyResult<Self> {
        static JSON: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let py = dict.py();
        let json = JSON.import(py, "voisin._records", "condition")?.call1((dict,))?;
        Self::of_json(py, json.cast::<PyString>()?.to_str()?)
    }

    fn join(&self, other: &Self, joint: Joint) -> Self {
        let mut parts = Vec::new();
        for one in [self, other] {
            match &one.joined {
                Some((by, joined)) if *by == joint => parts.extend(joined.iter().cloned()),
                _ => parts.push(Arc::clone(&one.whole)),
            }
        }
        let conditions = parts.iter().map(|part| part.condition.clone());
        let (condition, name) = match joint {
            Joint::And => (Condition::all(conditions), "and"),
            Joint::Or => (Condition::any(conditions), "or"),
        };
        let json: Vec<_> = parts.iter().map(|part| part.json.as_str()).collect();
        let json = format!("{{\"{name}\":[{}]}}", json.join(","));
        Self { whole: Arc::new(Part { condition, json }), joined: Some((joint, parts)) }
    }

    pub(crate) fn condition(&self) -> &Condition {
        &self.whole.condition
    }

    /// As Python shows it.
    pub(crate) fn shown(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.to_dict(py)?.repr()?.to_string())
    }
}

/// Whether this is a condition: a `Condition`, or a dict.
pub(crate) fn is_condition(given: &Bound<'_, PyAny>) -> bool {
    given.is_instance_of::<PyCondition>() || given.is_instance_of::<PyDict>()
}

/// The condition, if this is one: a `Condition`, or a dict.
///
/// # Errors
/// `InvalidCondition`.
pub(crate) fn condition_of(given: &Bound<'_, PyAny>) -> PyResult<Option<PyCondition>> {
    if let Ok(condition) = given.cast::<PyCondition>() {
        return Ok(Some(condition.get().clone()));
    }
    match given.is_instance_of::<PyDict>() {
        true => PyCondition::of_dict(given).map(Some),
        false => Ok(None),
    }
}

/// The same where nothing else is taken.
///
/// # Errors
/// `InvalidCondition`.
pub(crate) fn condition(given: &Bound<'_, PyAny>) -> PyResult<PyCondition> {
    condition_of(given)?.ok_or_else(|| {
        let given = given.get_type();
        let message = format!(
            "{} is no condition: give a dict, or one of voisin.field",
            given.name().map_or_else(|_| "this".to_owned(), |name| name.to_string())
        );
        refused(given.py(), "InvalidCondition", &message)
    })
}

#[pymethods]
impl PyCondition {
    #[new]
    #[pyo3(signature = (condition, /))]
    fn new(condition: &Bound<'_, PyAny>) -> PyResult<Self> {
        match condition.cast::<PyString>() {
            Ok(json) => Self::of_json(condition.py(), json.to_str()?),
            Err(_) => self::condition(condition),
        }
    }

    /// The condition as a dict.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        py.import("json")?.getattr("loads")?.call1((&self.whole.json,))
    }

    /// Both conditions hold.
    fn __and__(&self, other: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(self.join(&condition(other)?, Joint::And))
    }

    /// At least one of the two conditions holds.
    fn __or__(&self, other: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(self.join(&condition(other)?, Joint::Or))
    }

    fn __rand__(&self, other: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(condition(other)?.join(self, Joint::And))
    }

    fn __ror__(&self, other: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(condition(other)?.join(self, Joint::Or))
    }

    /// The condition does not hold: also for items without a record.
    fn __invert__(&self) -> Self {
        let Part { condition, json } = &*self.whole;
        Self::of(condition.clone().not(), format!("{{\"not\":{json}}}"))
    }

    fn __bool__(&self, py: Python<'_>) -> PyResult<bool> {
        let message = "a condition is neither true nor false: combine conditions by & and |, not \
                       by and, or, not, or a < b < c";
        Err(refused(py, "InvalidCondition", message))
    }

    fn __richcmp__(&self, other: &Bound<'_, PyAny>, operator: CompareOp) -> PyResult<Py<PyAny>> {
        let py = other.py();
        let (Ok(other), CompareOp::Eq | CompareOp::Ne) = (other.cast::<Self>(), operator) else {
            return Ok(py.NotImplemented());
        };
        let is_equal = self.whole.condition == other.get().whole.condition;
        let answer = is_equal == matches!(operator, CompareOp::Eq);
        Ok(answer.into_pyobject(py)?.to_owned().into_any().unbind())
    }

    fn __reduce__<'py>(
        slf: &Bound<'py, Self>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let arguments = (slf.get().whole.json.as_str(),).into_pyobject(slf.py())?;
        Ok((slf.get_type().into_any(), arguments))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("Condition({})", self.shown(py)?))
    }
}
