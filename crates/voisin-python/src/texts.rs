//! Texts that a caller gives. A `str` of Python's can have halves of surrogate pairs, which UTF-8
//! has no bytes for: `json.loads` and `os.fsdecode` make such. They are told by the name of the
//! argument.

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::errors::refused;

/// What a caller gave, in a message: its representation, of which much is cut off.
pub(crate) fn shown(given: &Bound<'_, PyAny>) -> String {
    given.repr().map_or_else(|_| "this".to_owned(), |shown| format!("{:.80}", shown.to_string()))
}

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

/// Functions that take arguments of their names.
macro_rules! arguments {
    ($($name:ident),* $(,)?) => {
        $(
            pub(crate) fn $name(given: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
                if given.is_none() {
                    return Ok(None);
                }
                let text = given.cast::<PyString>()?;
                text_of(text, "InvalidParameter", stringify!($name)).map(|it| Some(it.to_owned()))
            }
        )*
    };
}

arguments!(kind, name, parameters, prefix);
