//! Conditions on the fields of records: values that are made once, of dicts or of the expressions
//! of `_fields.py`, and used by any number of calls. How they are combined is in
//! `condition_tree.rs`.

use std::sync::{Arc, OnceLock};

use pyo3::basic::CompareOp;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};
use voisin::{Condition, FieldValue};

use crate::condition_tree::{Joint, Step, TooMuch, Tree};
use crate::errors::{raised, refused};
use crate::texts::text_of;

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

/// A condition on the fields of records: the expressions of `field` make one, and so does a dict,
/// as JSON has it.
///
/// A dict is `{"and": [..]}`, `{"or": [..]}`, `{"not": {..}}`, or has a `"field"` and one of
/// `"eq"`, `"in"`, `"between"`, `"at_least"`, `"above"`, `"at_most"`, `"below"`, `"prefix"` and
/// `"exists"`. Wherever a condition is taken, a dict is, too. `&`, `|` and `~` combine conditions:
/// a chain of `&` is one list, however long it is, and so is one of `|`; nested, they can be 200
/// deep.
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
    tree: Arc<Tree>,
    /// What voisin has of it, once it is asked for.
    condition: Arc<OnceLock<Condition>>,
}

impl PyCondition {
    fn of(tree: Arc<Tree>) -> Self {
        Self { tree, condition: Arc::default() }
    }

    /// A tree that was made of others.
    ///
    /// # Errors
    /// `InvalidCondition` if it is too deep or too large.
    fn of_made(py: Python<'_>, tree: Result<Tree, TooMuch>) -> PyResult<Self> {
        let tree = tree.map_err(|too| refused(py, "InvalidCondition", &too.to_string()))?;
        Ok(Self::of(Arc::new(tree)))
    }

    /// # Errors
    /// `InvalidCondition`.
    fn of_json(py: Python<'_>, json: &str) -> PyResult<Self> {
        let condition = Condition::from_json(json).map_err(|error| raised(py, &error))?;
        Ok(Self::of(Arc::new(Tree::leaf(condition, json.to_owned()))))
    }

    fn of_dict(dict: &Bound<'_, PyAny>) -> PyResult<Self> {
        static JSON: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let py = dict.py();
        let json = JSON.import(py, "voisin._records", "condition")?.call1((dict,))?;
        Self::of_json(py, json.cast::<PyString>()?.to_str()?)
    }

    fn join(py: Python<'_>, joint: Joint, parts: [&Self; 2]) -> PyResult<Self> {
        let parts = parts.map(|part| Arc::clone(&part.tree));
        Self::of_made(py, Tree::join(joint, parts.to_vec()))
    }

    pub(crate) fn condition(&self) -> &Condition {
        self.condition.get_or_init(|| self.tree.condition())
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
            Ok(json) => {
                let json = text_of(json, "InvalidCondition", "the condition")?;
                Self::of_json(condition.py(), json)
            }
            Err(_) => self::condition(condition),
        }
    }

    /// The condition as a dict.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        py.import("json")?.getattr("loads")?.call1((self.tree.json(),))
    }

    /// Both conditions hold.
    fn __and__(&self, other: &Bound<'_, PyAny>) -> PyResult<Self> {
        Self::join(other.py(), Joint::And, [self, &condition(other)?])
    }

    /// At least one of the two conditions holds.
    fn __or__(&self, other: &Bound<'_, PyAny>) -> PyResult<Self> {
        Self::join(other.py(), Joint::Or, [self, &condition(other)?])
    }

    fn __rand__(&self, other: &Bound<'_, PyAny>) -> PyResult<Self> {
        Self::join(other.py(), Joint::And, [&condition(other)?, self])
    }

    fn __ror__(&self, other: &Bound<'_, PyAny>) -> PyResult<Self> {
        Self::join(other.py(), Joint::Or, [&condition(other)?, self])
    }

    /// The condition does not hold: also for items without a record.
    fn __invert__(&self, py: Python<'_>) -> PyResult<Self> {
        Self::of_made(py, Tree::not(Arc::clone(&self.tree)))
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
        let is_equal = self.condition() == other.get().condition();
        let answer = is_equal == matches!(operator, CompareOp::Eq);
        Ok(answer.into_pyobject(py)?.to_owned().into_any().unbind())
    }

    /// By its parts in a list, so that neither its depth nor its length matters.
    fn __reduce__<'py>(
        slf: &Bound<'py, Self>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let (py, tree) = (slf.py(), &slf.get().tree);
        if let Some(json) = tree.leaf_json() {
            return Ok((slf.get_type().into_any(), (json,).into_pyobject(py)?));
        }
        let restore = py.import("voisin._fields")?.getattr("_restored")?;
        let steps = PyList::new(py, tree.steps())?;
        Ok((restore, (steps,).into_pyobject(py)?))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("Condition({})", self.shown(py)?))
    }
}

/// The condition whose parts `__reduce__` has listed: for `_restored` of `_fields.py`.
///
/// # Errors
/// `InvalidCondition`.
#[pyfunction]
pub(crate) fn _restored_condition(py: Python<'_>, steps: Vec<Step>) -> PyResult<PyCondition> {
    let broken =
        || refused(py, "InvalidCondition", "a pickle of a condition is broken: make it anew");
    let mut made: Vec<PyCondition> = Vec::new();
    for Step(what, count) in steps {
        let next = match (what.as_str(), count) {
            (json, None) => PyCondition::of_json(py, json)?,
            ("not", Some(_)) => {
                let of = made.pop().ok_or_else(broken)?;
                PyCondition::of_made(py, Tree::not(of.tree))?
            }
            (name, Some(count)) => {
                let joint = Joint::of_name(name).ok_or_else(broken)?;
                let from = made.len().checked_sub(count).ok_or_else(broken)?;
                let parts = made.drain(from..).map(|part| part.tree).collect();
                PyCondition::of_made(py, Tree::join(joint, parts))?
            }
        };
        made.push(next);
    }
    match (made.pop(), made.is_empty()) {
        (Some(whole), true) => Ok(whole),
        _ => Err(broken()),
    }
}
