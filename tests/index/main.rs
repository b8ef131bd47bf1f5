//! The promises of `Index`, one module each.
//!
//! A binary of its own: it runs itself again as other processes, which are killed and forked, and
//! which must not share the open environments of other tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a broken promise is a failed test"
)]

mod any;
mod batches;
mod budget;
mod child;
#[cfg(target_os = "linux")]
mod disk_full;
mod fields;
mod filters;
#[cfg(target_os = "linux")]
mod folder;
mod fork;
mod growth;
mod handles;
mod hashes;
mod keyed;
mod kinds;
mod lists;
mod loads;
mod merge;
mod other_metrics;
mod packed;
mod processes;
mod questions;
mod readers;
mod records;
mod removal;
mod searches;
mod tenants;
mod waits;

use tempfile::TempDir;
use voisin::distances::Euclidean;
use voisin::{Index, ItemId, Options};

/// Dimensions of most tests.
const DIMENSIONS: usize = 4;

type Vectors = Index<Euclidean>;

/// A new index in a folder of its own.
fn create(options: Options) -> (TempDir, Vectors) {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::create(folder.path().join("vectors"), options).unwrap();
    (folder, index)
}

/// The vector that tests give an item in a round: the same for the same two numbers, and near those
/// of neighboring items.
fn vector(item: ItemId, round: u64) -> Vec<f32> {
    let mix = u64::from(item).wrapping_mul(31).wrapping_add(round.wrapping_mul(7));
    vec![item as f32, (mix % 101) as f32, (mix % 13) as f32, (round % 1024) as f32]
}

/// Adds or replaces the items of a range.
fn add(index: &Vectors, items: std::ops::Range<ItemId>, round: u64) -> voisin::Result<()> {
    index.write(|batch| {
        for item in items.clone() {
            batch.add(item, &vector(item, round))?;
        }
        Ok(())
    })
}

/// That every invariant holds.
#[track_caller]
fn check(index: &Vectors) {
    let findings = index.check().unwrap();
    assert!(findings.is_empty(), "{findings:#?}");
}
