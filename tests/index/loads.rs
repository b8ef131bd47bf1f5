//! Loads in one commit or in parts, and linking that blocks no other writer.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use voisin::{Error, LoadPhase, Options};

use crate::{DIMENSIONS, Vectors, add, check, create, vector};

fn pending(index: &Vectors) -> u64 {
    index.stats().unwrap().pending
}

#[test]
fn a_load_says_how_far_it_is_and_is_one_commit() {
    let (_folder, index) = create(Options::new(DIMENSIONS));
    add(&index, 0..10, 1).unwrap();
    let before = index.snapshot().unwrap().commit();
    let told = std::sync::Mutex::new(Vec::new());
    let items = (0..5000).map(|item| (item, vector(item, 2)));
    let loader =
        index.loader().optimize(true).progress(|progress| told.lock().unwrap().push(progress));
    assert_eq!(loader.load(items).unwrap(), 5000);
    drop(loader);
    let told = told.into_inner().unwrap();
    for phase in [LoadPhase::Reading, LoadPhase::Adding, LoadPhase::Linking, LoadPhase::Writing] {
        assert!(told.iter().any(|progress| progress.phase == phase), "{phase:?}");
    }
    assert!(told.iter().all(|progress| progress.total.is_none_or(|total| progress.done <= total)));
    let snapshot = index.snapshot().unwrap();
    assert_eq!((snapshot.commit(), snapshot.len()), (before + 1, 5000));
    assert_eq!(snapshot.vector(3).unwrap().unwrap(), vector(3, 2));
    check(&index);

    // A bad vector, and being told to stop: nothing has happened.
    let bad =
        (0..5000).map(|item| (item, vec![if item == 4000 { f32::NAN } else { 1.0 }; DIMENSIONS]));
    assert!(matches!(index.load(bad, |_| {}), Err(Error::InvalidItem { item: 4000, .. })));
    let cancelled = AtomicBool::new(false);
    let loader = index.loader().progress(|progress| {
        cancelled.store(progress.phase == LoadPhase::Adding, Ordering::Relaxed)
    });
    let result = loader
        .cancel(|| cancelled.load(Ordering::Relaxed))
        .load((0..5000).map(|item| (item, vector(item, 3))));
    assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
    assert_eq!(index.snapshot().unwrap().commit(), snapshot.commit());
    assert_eq!(index.load([(1, [0.0; DIMENSIONS]); 0], |_| {}).unwrap(), 0);
}

#[test]
fn a_load_in_parts_is_searchable_by_the_part_and_linked_at_the_end() {
    let (_folder, index) = create(Options::new(DIMENSIONS));
    add(&index, 0..10, 1).unwrap();
    let before = index.snapshot().unwrap().commit();
    let seen = Mutex::new(Vec::new());
    let items = (0..5000).map(|item| {
        if item % 500 == 0 {
            seen.lock().unwrap().push((index.snapshot().unwrap().len(), pending(&index)));
        }
        (item, vector(item, 2))
    });
    let furthest = AtomicU32::new(0);
    let loader = index.loader().commit_every(1000).progress(|progress| {
        assert!(progress.total.is_none_or(|total| progress.done <= total), "{progress:?}");
        furthest.fetch_max(progress.done as u32, Ordering::Relaxed);
    });
    assert_eq!(loader.load(items).unwrap(), 5000);
    drop(loader);
    assert_eq!(furthest.into_inner(), 5000);
    let parts: Vec<(u64, u64)> = [0, 1000, 2000, 3000, 4000]
        .iter()
        .flat_map(|n| [(*n.max(&10), *n), (*n.max(&10), *n)])
        .collect();
    assert_eq!(seen.into_inner().unwrap(), parts);
    assert_eq!((index.snapshot().unwrap().commit(), pending(&index)), (before + 5 + 1, 0));
    check(&index);

    // What is committed stays, and can be linked.
    let bad = (5000..8000)
        .map(|item| (item, vec![if item == 7500 { f32::NAN } else { 1.0 }; DIMENSIONS]));
    assert!(matches!(
        index.loader().commit_every(1000).load(bad),
        Err(Error::InvalidItem { item: 7500, .. })
    ));
    assert_eq!((index.snapshot().unwrap().len(), pending(&index)), (7000, 2000));
    // Others link as many as they add, 64 at least.
    add(&index, 9000..9001, 1).unwrap();
    assert_eq!(pending(&index), 2001 - 65);
    add(&index, 9001..12_000, 1).unwrap();
    assert_eq!(pending(&index), 0);
    check(&index);
    assert_eq!(
        index
            .loader()
            .commit_every(1)
            .optimize(true)
            .load((0..3).map(|item| (item, vector(item, 5))))
            .unwrap(),
        3
    );
    assert_eq!((index.snapshot().unwrap().len(), pending(&index)), (10_000, 0));
    check(&index);
}

#[test]
fn others_write_while_a_load_is_linked() {
    let (_folder, index) = create(Options::new(DIMENSIONS));
    let (commits, is_linking) = (AtomicU32::new(0), AtomicBool::new(false));
    let loader = index.loader().commit_every(4000).progress(|progress| {
        if progress.phase == LoadPhase::Linking && !is_linking.swap(true, Ordering::SeqCst) {
            // On this thread, which is linking: it would wait for ever if linking had the turn to
            // write.
            for item in 0..20 {
                add(&index, 100_000 + item..100_001 + item, 3).unwrap();
                index.write(|batch| batch.delete(item * 7)).unwrap();
                commits.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    assert_eq!(loader.load((0..8000).map(|item| (item, vector(item, 2)))).unwrap(), 8000);
    drop(loader);
    assert_eq!(commits.into_inner(), 20);
    let snapshot = index.snapshot().unwrap();
    assert_eq!(
        (snapshot.len(), pending(&index)),
        (8000, 20),
        "what others added is left to the next write"
    );
    for item in (0..20).map(|item| 100_000 + item) {
        let found = snapshot.search(1).by_vector(&vector(item, 3)).unwrap();
        assert_eq!(found.into_nns(), [(item, 0.0)]);
    }
    check(&index);
    add(&index, 200_000..200_001, 3).unwrap();
    assert_eq!(pending(&index), 0);
    check(&index);
    // Nothing to do is done without a commit.
    let before = index.snapshot().unwrap().commit();
    index.link().unwrap();
    assert_eq!(index.snapshot().unwrap().commit(), before);
}

#[test]
fn a_map_that_is_full_when_a_load_is_linked_grows() {
    let (_folder, index) =
        create(Options::new(64).map_size_bytes(1 << 20).m(16).ef_construction(20));
    let items =
        (0..6000).map(|item| (item, [item as f32; 64].map(|component| (component * 0.37) % 19.0)));
    index.loader().commit_every(500).load(items).unwrap();
    assert_eq!((index.snapshot().unwrap().len(), pending(&index)), (6000, 0));
    check(&index);
}
