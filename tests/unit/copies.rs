//! The copies that builds within a memory budget go by: as exact as is said, of the vectors of all
//! slots in use.

use super::{Index, Options};
use crate::IndexKind;
use crate::distance::{Cosine, Distance, Euclidean};
use crate::graph::Vectors;
use crate::store::file_copies::{ByCopies, FileCopies};
use crate::types::{ItemId, Slot};

const ITEMS: ItemId = 1500;

/// Components without structure.
fn row_of(item: ItemId, dimensions: usize) -> Vec<f32> {
    let mut state = u64::from(item) + 1;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    (0..dimensions).map(|_| (0..6).map(|_| next() - 0.5).sum()).collect()
}

/// A component in `-0.5..0.5`, by a number.
fn component(seed: u64) -> f32 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x51_7cc1_b727_220a;
    state ^= state >> 29;
    state = state.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((state >> 40) as f32 / (1u64 << 24) as f32) - 0.5
}

/// A row in a space of 12 dimensions.
fn flat_row(item: ItemId, dimensions: usize) -> Vec<f32> {
    let along: Vec<f32> = (0..12).map(|axis| component(u64::from(item) * 12 + axis)).collect();
    (0..dimensions as u64)
        .map(|at| along.iter().zip(0..).map(|(x, axis)| x * component(at * 12 + axis + 77)).sum())
        .collect()
}

/// The same, but 100 rows that follow each other are at nearly the same place.
fn crowded_row(item: ItemId, dimensions: usize) -> Vec<f32> {
    let mut row = flat_row(item / 100, dimensions);
    let own = flat_row(1_000_000 + item, dimensions);
    row.iter_mut().zip(own).for_each(|(value, own)| *value += 0.1 * own);
    row
}

/// The bytes of a copy of such rows.
fn stride_of(row: fn(ItemId, usize) -> Vec<f32>, items: ItemId) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(300).kinds([IndexKind::Flat]);
    let index = Index::<Euclidean>::create(folder.path().join("vectors"), options).unwrap();
    index.load((0..items).map(|item| (item, row(item, 300))), |_| {}).unwrap();
    let held = index.shared.newest().unwrap();
    let copies = FileCopies::new(&held.view(), 7, (folder.path(), 1 << 30), &|| Ok(()));
    copies.unwrap().unwrap().stride
}

/// Makes the copies of an index; returns the bytes of one, and checks the distances that they give.
fn check<D: Distance>(dimensions: usize, tolerance: f32) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let index =
        Index::<D>::create(folder.path().join("vectors"), Options::new(dimensions)).unwrap();
    index.load((0..ITEMS).map(|item| (item, row_of(item, dimensions))), |_| {}).unwrap();
    // Free slots, whose copies nobody compares.
    index.write(|batch| batch.delete_items((0..50).map(|item| item * 20))).unwrap();
    index.link().unwrap();
    let held = index.shared.newest().unwrap();
    let view = held.view();
    let place = (folder.path(), 1 << 30);
    let copies = FileCopies::new(&view, 7, place, &|| Ok(())).unwrap().unwrap();
    let by_copies = ByCopies { view: &view, copies: &copies };
    let slots: Vec<u32> = view.live().unwrap().iter().collect();
    assert_eq!(slots.len() as u32, ITEMS - 50);
    let (mut exact, mut estimated) = (Vec::new(), Vec::new());
    for from in slots.iter().step_by(97).map(|slot| Slot(*slot)) {
        view.distances(from, &slots, &mut exact).unwrap();
        by_copies.distances(from, &slots, &mut estimated).unwrap();
        let computer = by_copies.estimator(from).unwrap().unwrap();
        let mut again = Vec::new();
        computer.fetch(&slots);
        computer.wait(&slots);
        computer.distances(&slots, &mut again).unwrap();
        assert_eq!(again, estimated, "by whatever way");
        let mean = exact.iter().sum::<f32>() / exact.len() as f32;
        for (exact, estimated) in exact.iter().zip(&estimated) {
            assert!((exact - estimated).abs() < tolerance * mean, "{exact} {estimated} {mean}");
        }
    }
    copies.stride
}

#[test]
fn copies_have_the_fewest_bits_that_tell_vectors_apart() {
    assert_eq!(check::<Euclidean>(300, 0.1), 300 / 2 + 12);
    assert_eq!(check::<Cosine>(300, 0.1), 300 / 2 + 12);
    assert_eq!(check::<Euclidean>(24, 0.05), 24 + 12);
}

#[test]
fn copies_tell_apart_what_lies_near_each_other() {
    assert_eq!(stride_of(flat_row, ITEMS), 300 / 4 + 12);
    // A sample from everywhere has few of each crowd, and 2 bits tell crowds apart.
    assert_eq!(stride_of(crowded_row, 20_000), 300 / 2 + 12);
}
