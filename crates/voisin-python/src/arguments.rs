//! Arguments: each is taken by a function of its name, so that what is refused is told by that,
//! with what was given, its type, and what is accepted. `whole` and `texts` are the same for whole
//! numbers and for text.
//!
//! Without such a function PyO3 says no name: a test calls everything with what fits nowhere.

use std::path::PathBuf;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyString};

use crate::errors::refused;
use crate::texts::{shown, text_of};

/// The exception for an argument of a type that it cannot have.
pub(crate) fn wrong_type(given: &Bound<'_, PyAny>, name: &str, accepted: &str) -> PyErr {
    let of = given.get_type().name().map_or_else(|_| "object".to_owned(), |of| of.to_string());
    let message = format!("{name} is {}, of type {of}: give {accepted}", shown(given));
    refused(given.py(), "InvalidType", &message)
}

/// What was extracted, where any other type is refused.
fn of_type<T>(
    extracted: PyResult<T>,
    given: &Bound<'_, PyAny>,
    name: &str,
    accepted: &str,
) -> PyResult<T> {
    extracted.map_err(|error| match error.is_instance_of::<PyTypeError>(given.py()) {
        true => wrong_type(given, name, accepted),
        false => error,
    })
}

/// What is not None.
pub(crate) fn given<'a, 'py>(given: &'a Bound<'py, PyAny>) -> Option<&'a Bound<'py, PyAny>> {
    (!given.is_none()).then_some(given)
}

/// Defines a function for each argument of one sort, which may be None where that is said.
macro_rules! arguments {
    ($of:ty, $take:expr; $($name:ident)*; optional $($optional:ident)*) => {
        $(
            pub(crate) fn $name(given: &Bound<'_, PyAny>) -> PyResult<$of> {
                $take(given, stringify!($name))
            }
        )*
        $(
            pub(crate) fn $optional(given: &Bound<'_, PyAny>) -> PyResult<Option<$of>> {
                super::given(given).map(|given| $take(given, stringify!($optional))).transpose()
            }
        )*
    };
}

/// True or False.
pub(crate) mod flags {
    use super::*;

    fn take(given: &Bound<'_, PyAny>, name: &str) -> PyResult<bool> {
        of_type(given.extract(), given, name, "True or False")
    }

    arguments! {
        bool, take;
        any_file_system approximate codes link optimize raw read_only recall records replace
        vectors;
        optional exact
    }
}

/// Numbers.
pub(crate) mod reals {
    use super::*;

    const ACCEPTED: &str = "a number";

    pub(crate) fn take(given: &Bound<'_, PyAny>, name: &str) -> PyResult<f64> {
        // True would be 1.
        match given.is_instance_of::<PyBool>() {
            true => Err(wrong_type(given, name, ACCEPTED)),
            false => of_type(given.extract(), given, name, ACCEPTED),
        }
    }

    fn take_f32(given: &Bound<'_, PyAny>, name: &str) -> PyResult<f32> {
        take(given, name).map(|number| number as f32)
    }

    arguments! { f64, take; ; optional deadline growth_wait recall timeout }
    arguments! { f32, take_f32; radius relevance; optional alpha }

    /// `radius` of searches, which may have none.
    pub(crate) fn radius_if(given: &Bound<'_, PyAny>) -> PyResult<Option<f32>> {
        super::given(given).map(radius).transpose()
    }
}

/// Paths.
pub(crate) mod paths {
    use super::*;

    fn take(given: &Bound<'_, PyAny>, name: &str) -> PyResult<PathBuf> {
        let path = match given.extract::<PathBuf>() {
            Ok(path) => path,
            Err(error) => {
                let text = given.call_method0("__fspath__").unwrap_or_else(|_| given.clone());
                if let Ok(text) = text.cast::<PyString>() {
                    text_of(text, "InvalidParameter", name)?;
                }
                return of_type(Err(error), given, name, "a str, or an os.PathLike of one");
            }
        };
        if path.as_os_str().as_encoded_bytes().contains(&0) {
            let message = format!(
                "{name} is {}, with a NUL, which the path of no file has: give one without",
                shown(given)
            );
            return Err(refused(given.py(), "InvalidParameter", &message));
        }
        Ok(path)
    }

    arguments! { PathBuf, take; path; optional temp_dir }
}

/// Objects of voisin's and functions.
pub(crate) mod objects {
    use super::*;
    use crate::handle::Searcher;
    use crate::index::Index;
    use crate::watch::CancelToken;

    type OneIndex<'py> = Bound<'py, Index>;

    pub(crate) fn cancel<'py>(
        given: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, CancelToken>>> {
        let take = |given: &Bound<'py, PyAny>| {
            let token = given.cast::<CancelToken>().cloned();
            token.map_err(|_| wrong_type(given, "cancel", "a voisin.CancelToken"))
        };
        super::given(given).map(take).transpose()
    }

    pub(crate) fn source<'py>(given: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Searcher>> {
        let source = given.cast::<Searcher>().cloned();
        source.map_err(|_| wrong_type(given, "source", "an Index, or a Snapshot of one"))
    }

    pub(crate) fn target<'py>(given: &Bound<'py, PyAny>) -> PyResult<OneIndex<'py>> {
        given.cast::<Index>().cloned().map_err(|_| wrong_type(given, "target", "an Index"))
    }

    pub(crate) fn targets<'py>(given: &Bound<'py, PyAny>) -> PyResult<Vec<OneIndex<'py>>> {
        let wrong = || wrong_type(given, "targets", "a list of indexes");
        let all = given.try_iter().map_err(|_| wrong())?;
        all.map(|one| one?.cast_into::<Index>().map_err(|_| wrong())).collect()
    }

    pub(crate) fn fields<'py>(given: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let take = |given: &Bound<'py, PyAny>| {
            let fields = given.cast::<PyDict>().cloned();
            fields.map_err(|_| wrong_type(given, "fields", "a dict of names and types"))
        };
        super::given(given).map(take).transpose()
    }

    /// A function, or what `accepts` else.
    fn function<'py>(
        given: &Bound<'py, PyAny>,
        (name, accepted): (&str, &str),
        accepts: impl FnOnce(&Bound<'py, PyAny>) -> bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        match given.is_callable() || accepts(given) {
            true => Ok(given.clone()),
            false => Err(wrong_type(given, name, accepted)),
        }
    }

    pub(crate) fn by<'py>(given: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let accepted = "the name of a field, or a function of an id";
        function(given, ("by", accepted), |given| given.is_instance_of::<PyString>())
    }

    pub(crate) fn choose<'py>(given: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        function(given, ("choose", "a function of an id"), |_| false)
    }

    pub(crate) fn progress<'py>(given: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let accepted = "True, False, or a function of a Progress";
        super::given(given)
            .map(|given| {
                function(given, ("progress", accepted), |it| it.is_instance_of::<PyBool>())
            })
            .transpose()
    }

    pub(crate) fn rename<'py>(given: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let accepted = ("rename", "a function of an id");
        super::given(given).map(|given| function(given, accepted, |_| false)).transpose()
    }
}
