//! The integration test binary; each module is named after a promise.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a broken promise is a failed test"
)]

mod api;
mod architecture;
mod beside;
mod bulk;
mod child;
mod codes;
mod common;
mod concurrent;
mod crash;
mod decoder;
mod determinism;
mod documents;
mod environment;
mod erasure;
mod fixtures;
mod forms;
mod keys;
mod malformed;
mod many;
mod model;
mod pending;
mod queries;
mod removal;
