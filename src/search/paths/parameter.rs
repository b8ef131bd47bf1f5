//! A parameter of searches by name: see `search/parameters`.

use crate::search::Request;

/// A parameter: its name, the numbers that it can be, and how it is set, which `false` refuses.
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) remedy: &'static str,
    pub(crate) set: fn(&mut Request<'_>, f64) -> bool,
}

/// What a parameter that is a count can be.
pub(crate) const COUNTS: &str = "use a whole number from 1 on";

/// A number as a count of at least 1.
pub(crate) fn count(value: f64) -> Option<usize> {
    (value >= 1.0 && value <= f64::from(u32::MAX) && value.fract() == 0.0).then_some(value as usize)
}
