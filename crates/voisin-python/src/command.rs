//! The command `voisin`, for `voisin._command`: the crate of the command, in this library.

use std::ffi::OsString;

use pyo3::prelude::*;

use crate::watch::Watch;

/// Runs the command `voisin` with arguments, without the name of the program, and returns its exit
/// code. It handles signals, and writes to the standard output, from then on: it is the work of a
/// process. `python -m voisin` and the command of this package call it.
#[pyfunction]
pub(crate) fn _run_command(py: Python<'_>, arguments: Vec<OsString>) -> PyResult<u8> {
    let arguments = std::iter::once(OsString::from("voisin")).chain(arguments);
    // Signals are the command's: the watch is not asked.
    Watch::new(None).run_any(py, || voisin_cli::exit_code(arguments))
}
