//! Regression tests of failures found by using voisin from outside. Each test opens with its story:
//! what was done, what happened, what must happen.
//!
//! A binary of its own, so that tests of hangs, full tables and damaged files share no open
//! environment with others.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a broken promise is a failed test"
)]

#[path = "../index/child.rs"]
#[allow(dead_code, reason = "not every binary starts every kind of child")]
mod child;
mod cold;
mod duplicates;
mod file_damage;
mod growth;
mod laundering;
mod leftover;
mod pools;
mod products;
mod ranges;
mod readers;
mod resolution;
mod system_errors;
mod tiny;
mod torn;
mod training;

use tempfile::TempDir;
use voisin::distances::{Distance, Euclidean};
use voisin::{Index, Options};

type Vectors = Index<Euclidean>;

/// A new index in a folder of its own.
fn create<D: Distance>(options: Options) -> (TempDir, Index<D>) {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::create(folder.path().join("vectors"), options).unwrap();
    (folder, index)
}

/// Every invariant holds.
#[track_caller]
fn check(index: &Vectors) {
    let findings = index.check().unwrap();
    assert!(findings.is_empty(), "{findings:#?}");
}
