//! Shared code of the commands of this crate: the data, the engines, and the report.
#![allow(clippy::expect_used, clippy::panic, missing_docs)]

pub mod compare;
pub mod curve;
pub mod data;
pub mod engines;
pub mod living;
pub mod plot;
pub mod report;
pub mod setting;
pub mod usage;
