//! Texts that a caller gives. A `str` of Python's can have halves of surrogate pairs, which UTF-8
//! has no bytes for: `json.loads` and `os.fsdecode` make such. They are told by the name of the
//! argument.

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::arguments::{given, wrong_type};
use crate::errors::refused;

/// What a caller gave, in a message: its representation, of which much is cut off.
pub(crate) fn shown(given: &Bound<'_, PyAny>) -> String {
    // What is nested too deeply has none.
    let shown = given.repr().map_or_else(|_| "this".to_owned(), |shown| shown.to_string());
    match shown.char_indices().nth(SHOWN) {
        None => shown,
        Some((end, _)) => {
            format!("{}… ({} characters)", &shown[..end], shown.chars().count())
        }
    }
}

/// The most characters of what a caller gave that a message has.
const SHOWN: usize = 80;

/// The text of a string.
///
/// # Errors
/// An exception of this kind, which names the text as `what`.
pub(crate) fn text_of<'a>(
    text: &'a Bound<'_, PyString>,
    kind: &str,
    what: &str,
) -> PyResult<&'a str> {
    text.to_str().map_err(|_| {
        let message = format!(
            "{what} is {}, with a lone surrogate, which UTF-8 has no bytes for: give text \
             without, such as text.encode(errors=\"replace\").decode() is",
            shown(text.as_any())
        );
        refused(text.py(), kind, &message)
    })
}

/// The text of an argument.
///
/// # Errors
/// `InvalidType`, and `InvalidParameter` for a lone surrogate.
pub(crate) fn take<'a>(given: &'a Bound<'_, PyAny>, name: &str) -> PyResult<&'a str> {
    let text = given.cast::<PyString>().map_err(|_| wrong_type(given, name, "a str"))?;
    text_of(text, "InvalidParameter", name)
}

/// Functions that take arguments of their names, which may be None.
macro_rules! optional {
    ($($name:ident),* $(,)?) => {
        $(
            pub(crate) fn $name(text: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
                let text = given(text).map(|text| take(text, stringify!($name))).transpose()?;
                Ok(text.map(str::to_owned))
            }
        )*
    };
}

optional!(after, kind, name, parameters, prefix, vectors);

/// The same for those that are not None.
pub(crate) mod required {
    use super::*;

    macro_rules! required {
        ($($name:ident),* $(,)?) => {
            $(
                pub(crate) fn $name<'a>(text: &'a Bound<'_, PyAny>) -> PyResult<&'a str> {
                    take(text, stringify!($name))
                }
            )*
        };
    }

    required!(field, index, kind, metric, name, one, other);
}
