//! Whole numbers that a caller gives. What is negative, too small or too large is told by the name
//! of its argument, and so is what is no number.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt};

use crate::arguments::wrong_type;
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

/// A whole number from `least` on.
fn take<N: Whole>(given: &Bound<'_, PyAny>, name: &str, least: u64) -> PyResult<N> {
    let py = given.py();
    let max = N::MAX;
    let message = |value: &dyn std::fmt::Display| {
        format!("{name} is {value}: use a whole number from {least} to {max}")
    };
    match given.extract::<u64>() {
        // True would be 1.
        Ok(_) if given.is_instance_of::<PyBool>() => {
            Err(wrong_type(given, name, &format!("a whole number from {least} on")))
        }
        Ok(value) if value < least => {
            Err(refused_value(py, "InvalidParameter", &message(&value), value, Some(least)))
        }
        Ok(value) => value
            .try_into()
            .map_err(|_| refused_value(py, "InvalidParameter", &message(&value), value, Some(max))),
        Err(_) if given.is_instance_of::<PyInt>() || given.hasattr("__index__")? => {
            Err(refused(py, "InvalidParameter", &message(given)))
        }
        Err(_) => Err(wrong_type(given, name, &format!("a whole number from {least} on"))),
    }
}

/// Functions that take arguments of their names, each from its least number on.
macro_rules! arguments {
    ($($name:ident: $of:ty, $least:literal;)*) => {
        $(
            pub(crate) fn $name(given: &Bound<'_, PyAny>) -> PyResult<$of> {
                take(given, stringify!($name), $least)
            }
        )*
    };
    (optional $($name:ident: $of:ty, $least:literal;)*) => {
        $(
            pub(crate) fn $name(given: &Bound<'_, PyAny>) -> PyResult<Option<$of>> {
                (!given.is_none()).then(|| take(given, stringify!($name), $least)).transpose()
            }
        )*
    };
}

// What voisin checks itself begins at 0 here; a `k` of 0 finds nothing.
arguments! {
    among: usize, 1;
    dimensions: usize, 0;
    k: usize, 0;
    offset: u64, 0;
    per_group: usize, 1;
    sample: u32, 1;
    threads: usize, 0;
}
arguments! { optional
    commit_every: u64, 1;
    ef: usize, 1;
    ef_construction: usize, 0;
    m: usize, 0;
    m0: usize, 0;
    map_size: u64, 1;
    max_databases: u32, 0;
    max_readers: u32, 1;
    memory: u64, 0;
    nprobe: usize, 1;
    seed: u64, 0;
}

/// `sample` of what has none unless given.
pub(crate) fn sample_if(given: &Bound<'_, PyAny>) -> PyResult<Option<u32>> {
    (!given.is_none()).then(|| sample(given)).transpose()
}
