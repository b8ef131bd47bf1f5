//! Whole numbers that a caller gives. What is negative or too large is told by the name of its
//! argument, which PyO3 does only for what is no number.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt};

use crate::errors::{refused, refused_value};

/// A type of whole numbers from 0 on.
pub(crate) trait Whole: TryFrom<u64> {
    const MAX: u64;
}

impl Whole for u32 {
    const MAX: u64 = u32::MAX as u64;
}

impl Whole for u64 {
    const MAX: u64 = u64::MAX;
}

impl Whole for usize {
    const MAX: u64 = usize::MAX as u64;
}

fn take<N: Whole>(given: &Bound<'_, PyAny>, name: &str) -> PyResult<N> {
    let py = given.py();
    let max = N::MAX;
    match given.extract::<u64>() {
        // True would be 1.
        Ok(_) if given.is_instance_of::<PyBool>() => {
            let message = format!("{name} is {given}: use a whole number");
            Err(refused(py, "InvalidParameter", &message))
        }
        Ok(value) => value.try_into().map_err(|_| {
            let message = format!("{name} is {value}: use a whole number from 0 to {max}");
            refused_value(py, "InvalidParameter", &message, value, Some(max))
        }),
        Err(_) if given.is_instance_of::<PyInt>() || given.hasattr("__index__")? => {
            let message = format!("{name} is {given}: use a whole number from 0 to {max}");
            Err(refused(py, "InvalidParameter", &message))
        }
        // PyO3 adds the name.
        Err(error) => Err(error),
    }
}

/// Functions that take arguments of their names.
macro_rules! arguments {
    ($($name:ident: $of:ty),* $(,)?) => {
        $(
            pub(crate) fn $name(given: &Bound<'_, PyAny>) -> PyResult<$of> {
                take(given, stringify!($name))
            }
        )*
    };
    (optional $($name:ident: $of:ty),* $(,)?) => {
        $(
            pub(crate) fn $name(given: &Bound<'_, PyAny>) -> PyResult<Option<$of>> {
                (!given.is_none()).then(|| take(given, stringify!($name))).transpose()
            }
        )*
    };
}

arguments!(
    among: usize,
    dimensions: usize,
    k: usize,
    offset: u64,
    per_group: usize,
    sample: u32,
    threads: usize,
);
arguments!(optional
    commit_every: u64,
    ef: usize,
    ef_construction: usize,
    m: usize,
    m0: usize,
    map_size: u64,
    max_databases: u32,
    max_readers: u32,
    memory: u64,
    nprobe: usize,
    seed: u64,
);

/// `sample` of what has none unless given.
pub(crate) fn sample_if(given: &Bound<'_, PyAny>) -> PyResult<Option<u32>> {
    (!given.is_none()).then(|| sample(given)).transpose()
}
