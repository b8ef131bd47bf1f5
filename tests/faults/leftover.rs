//! Items that an interrupted load has left pending.
//!
//! A load in parts was killed before it linked the items it had committed. From then on 201 000
//! items were pending, every search compared them one by one (39 ms instead of .3), and no write
//! linked them, however many there were: each write saw that others had left more than it had
//! added, and linked nothing. No error or warning said so.

use std::sync::Mutex;

use tempfile::TempDir;
use voisin::distances::Euclidean;
use voisin::{ItemId, LoadPhase, Options, Strategy};

use crate::{Vectors, check};

fn vector(item: ItemId) -> [f32; 4] {
    let mix = item.wrapping_mul(2_654_435_761);
    [0, 8, 16, 24].map(|shift| ((mix >> shift) % 251) as f32)
}

fn create() -> (TempDir, Vectors) {
    crate::create(Options::new(4).m(6).ef_construction(20))
}

/// Commits items as a load by parts does that is killed before it links them.
fn leave(index: &Vectors, items: std::ops::Range<ItemId>) {
    let add = |batch: &mut voisin::Batch<'_, Euclidean>| {
        batch.link_later();
        batch.add_items_from(items.clone().map(|item| (item, vector(item))))
    };
    index.write(add).unwrap();
}

#[test]
fn later_writes_link_as_many_pending_items_as_they_add_and_64_at_least() {
    let (_folder, index) = create();
    index.write(|batch| batch.add_items_from((0..100).map(|item| (item, vector(item))))).unwrap();
    leave(&index, 100..1700);
    assert_eq!(index.pending().unwrap(), 1600);

    index.write(|batch| batch.add(9000, &vector(9000))).unwrap();
    assert_eq!(index.pending().unwrap(), 1600 - 64);
    // One that only deletes, too: here a linked item, then a pending one.
    assert!(index.write(|batch| batch.delete(5)).unwrap());
    assert_eq!(index.pending().unwrap(), 1600 - 2 * 64);
    check(&index);
    assert!(index.write(|batch| batch.delete(1699)).unwrap());
    assert_eq!(index.pending().unwrap(), 1600 - 3 * 64 - 1);
    index
        .write(|batch| batch.add_items_from((10_000..10_500).map(|item| (item, vector(item)))))
        .unwrap();
    assert_eq!(index.pending().unwrap(), 1600 - 3 * 64 - 1 - 500);
    check(&index);

    // One that wants to be linked later links nothing; a write without a change does nothing.
    leave(&index, 20_000..20_001);
    let left = 1600 - 3 * 64 - 500;
    assert_eq!(index.pending().unwrap(), left);
    for round in 0..left.div_ceil(64) {
        index.write(|batch| batch.add(9001, &vector(round as ItemId))).unwrap();
    }
    assert_eq!(index.pending().unwrap(), 0);
    check(&index);
    let found = index.search(1).walk_graph().by_vector(&vector(1234)).unwrap();
    assert_eq!((found.strategy, found.nns[0].1), (Strategy::Graph, 0.0));
}

#[test]
fn pending_items_are_told_at_open_and_with_every_answer() {
    let (folder, index) = create();
    assert_eq!((index.pending().unwrap(), index.pending_at_open()), (0, 0));
    leave(&index, 0..300);
    let found = index.search(3).by_vector(&vector(7)).unwrap();
    assert_eq!((found.pending, found.nns[0]), (300, (7, 0.0)));
    let many = index.search(3).by_vectors(&[vector(7), vector(8)].concat()).unwrap();
    assert!(many.iter().all(|found| found.pending == 300));
    assert_eq!(index.search(3).by_item(7).unwrap().unwrap().pending, 300);
    assert_eq!(index.pending_at_open(), 0, "it is what was pending then");
    drop(index);

    let index = Vectors::open(folder.path().join("vectors"), Options::new(4)).unwrap();
    assert_eq!(index.pending_at_open(), 300);
    index.link().unwrap();
    let found = index.search(3).by_vector(&vector(7)).unwrap();
    assert_eq!((found.pending, index.pending().unwrap()), (0, 0));
    check(&index);
}

#[test]
fn link_works_in_rounds_that_are_committed_one_by_one() {
    let (_folder, index) = create();
    leave(&index, 0..45_000);
    let before = index.snapshot().unwrap().commit();
    index.link().unwrap();
    // 20 000, as many again, and the rest.
    assert_eq!(index.snapshot().unwrap().commit(), before + 3);
    assert_eq!(index.pending().unwrap(), 0);
    check(&index);
    let mut hits = 0;
    for item in (0..45_000).step_by(450) {
        let found = index.search(1).walk_graph().by_vector(&vector(item)).unwrap();
        hits += usize::from(found.nns[0].1 == 0.0);
    }
    assert!(hits >= 99, "{hits} of 100 vectors were found by themselves");
}

#[test]
fn a_load_by_parts_that_is_cancelled_while_it_links_keeps_its_rounds() {
    let (_folder, index) = create();
    let told = Mutex::new((0, 0));
    let loader = index.loader().commit_every(15_000).progress(|progress| {
        if progress.phase == LoadPhase::Linking {
            assert!(progress.total.is_some_and(|total| progress.done <= total), "{progress:?}");
            let mut told = told.lock().unwrap();
            *told = (*told).max((progress.done, progress.total.unwrap()));
        }
    });
    let loader = loader.cancel(|| told.lock().unwrap().0 > 25_000);
    let result = loader.load((0..30_000).map(|item| (item, vector(item))));
    assert!(matches!(result, Err(voisin::Error::Cancelled)), "{result:?}");
    drop(loader);
    assert_eq!(told.into_inner().unwrap().1, 30_000, "the total is that of all rounds");
    assert_eq!((index.snapshot().unwrap().len(), index.pending().unwrap()), (30_000, 10_000));
    check(&index);
    index.link().unwrap();
    assert_eq!(index.pending().unwrap(), 0);
    check(&index);
}

#[test]
fn writes_go_on_while_rounds_are_linked() {
    let (_folder, index) = create();
    leave(&index, 0..30_000);
    let writer = index.clone();
    let wrote = std::thread::spawn(move || {
        let mut wrote = 0;
        while writer.pending().unwrap() > 5000 {
            let item = 100_000 + wrote;
            writer.write(|batch| batch.add(item, &vector(item))).unwrap();
            writer.write(|batch| batch.delete(wrote * 3)).unwrap();
            wrote += 1;
        }
        wrote
    });
    index.link().unwrap();
    let wrote = wrote.join().unwrap();
    index.link().unwrap();
    let snapshot = index.snapshot().unwrap();
    assert_eq!((snapshot.len(), index.pending().unwrap()), (30_000, 0), "{wrote} writes");
    check(&index);
    for item in (0..wrote).map(|nth| 100_000 + nth) {
        assert_eq!(snapshot.vector(item).unwrap().unwrap(), vector(item));
    }
}
