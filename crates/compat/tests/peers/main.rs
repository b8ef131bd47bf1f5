//! What hannoy and arroy have written comes over, and a program for hannoy runs on voisin.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a broken promise is a failed test"
)]

#[path = "../../../../tests/it/common.rs"]
#[allow(dead_code, unused_imports, unused_macros, reason = "the other tests use it, too")]
mod common;
#[path = "../../../../tests/it/decoder.rs"]
#[allow(dead_code, reason = "the other tests use it, too")]
mod decoder;
mod import;
mod port;
