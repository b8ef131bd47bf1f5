//! Searches see the newest commit, a snapshot sees its own, and both answer as level 1 does.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use voisin::distances::{Cosine, Euclidean};
use voisin::roaring::RoaringBitmap;
use voisin::{Batch, Codes, Error, Index, IndexKind, Options, Snapshot, Strategy};

use crate::{DIMENSIONS, add, check, create, vector};

#[test]
fn what_may_cross_threads_is_decided_by_types() {
    fn crosses<T: Send + Sync + Clone + 'static>() {}
    crosses::<Index<Euclidean>>();
    crosses::<Snapshot<Cosine>>();

    // What may not be sent has one answer to this, what may would have two.
    trait NotSend<A> {
        fn holds() {}
    }
    impl<T: ?Sized> NotSend<()> for T {}
    struct IfSend;
    impl<T: ?Sized + Send> NotSend<IfSend> for T {}
    <Batch<'static, Euclidean> as NotSend<_>>::holds();
}

#[test]
fn an_index_and_its_snapshot_answer_with_every_option() {
    let (_folder, index) = create(Options::new(DIMENSIONS));
    add(&index, 0..3000, 1).unwrap();
    let snapshot = index.snapshot().unwrap();
    let query = vector(1500, 1);
    let exact = index.search(20).exact().by_vector(&query).unwrap();
    assert_eq!((exact.strategy, exact.nns.len(), exact.nns[0]), (Strategy::All, 20, (1500, 0.0)));
    assert_eq!(snapshot.search(20).exact().by_vector(&query).unwrap(), exact);
    let walked = index.search(20).ef_search(3000).walk_graph().by_vector(&query).unwrap();
    assert_eq!((walked.strategy, &walked.nns), (Strategy::Graph, &exact.nns));
    assert_eq!(
        snapshot.search(20).ef_search(3000).walk_graph().by_vector(&query).unwrap().nns,
        exact.nns
    );

    let candidates: RoaringBitmap = (0..3000).step_by(100).chain([9999]).collect();
    let among = index.search(3).candidates(&candidates).by_vector(&query).unwrap();
    assert!(
        among.nns[0] == (1500, 0.0) && among.nns.iter().all(|(item, _)| candidates.contains(*item))
    );
    assert_eq!(snapshot.search(3).candidates(&candidates).by_vector(&query).unwrap(), among);

    let by_item = index.search(5).by_item(1500).unwrap().unwrap();
    assert!(by_item.nns.len() == 5 && by_item.nns.iter().all(|(item, _)| *item != 1500));
    assert_eq!(snapshot.search(5).by_item(1500).unwrap().unwrap(), by_item);
    assert!(
        index.search(5).by_item(5000).unwrap().is_none()
            && snapshot.search(5).by_item(5000).unwrap().is_none()
    );

    let rows: Vec<f32> = (0..40).flat_map(|item| vector(item * 50, 1)).collect();
    let alone: Vec<_> = rows
        .chunks(DIMENSIONS)
        .map(|row| index.search(5).exact().by_vector(row).unwrap())
        .collect();
    assert_eq!(index.search(5).exact().by_vectors(&rows).unwrap(), alone);
    assert_eq!(snapshot.search(5).exact().by_vectors(&rows).unwrap(), alone);
    let walked: Vec<_> = rows
        .chunks(DIMENSIONS)
        .map(|row| index.search(5).walk_graph().by_vector(row).unwrap())
        .collect();
    assert_eq!(index.search(5).walk_graph().by_vectors(&rows).unwrap(), walked);
    assert_eq!(snapshot.search(5).walk_graph().by_vectors(&rows).unwrap(), walked);
    let mut in_batch = index.write(|batch| batch.search(5).exact().by_vectors(&rows)).unwrap();
    // That of the commit to come.
    assert!(in_batch.iter().all(|answer| answer.snapshot > snapshot.commit()));
    in_batch.iter_mut().for_each(|answer| answer.snapshot = snapshot.commit());
    assert_eq!(in_batch, alone);
    assert!(
        index
            .search(5)
            .cancel(&|| true)
            .by_vectors(&rows)
            .unwrap()
            .iter()
            .all(|found| found.did_cancel())
    );
    assert!(matches!(snapshot.search(5).by_vectors(&rows[1..]), Err(Error::UnevenRows { .. })));

    let stopped = index.search(5).cancel(&|| true).by_vector(&query).unwrap();
    assert!(
        stopped.did_cancel()
            && snapshot.search(5).cancel(&|| true).by_item(7).unwrap().unwrap().did_cancel()
    );
    assert!(matches!(index.search(5).by_vector(&[1.0]), Err(Error::DimensionMismatch { .. })));
    assert!(matches!(
        snapshot.search(5).by_vector(&[f32::NAN; DIMENSIONS]),
        Err(Error::InvalidQuery { .. })
    ));
}

#[test]
fn an_effort_of_nothing_is_refused_whichever_kind_would_answer() {
    let (_folder, index) = create(Options::new(DIMENSIONS).kinds([IndexKind::Hnsw]));
    add(&index, 0..300, 1).unwrap();
    let snapshot = index.snapshot().unwrap();
    let refused = |name: &str, found: voisin::Result<()>| match found.unwrap_err() {
        error @ Error::InvalidParameter { value: 0.0, .. } => {
            assert_eq!(error.to_string(), format!("{name} is 0: use a whole number from 1 on"));
        }
        other => panic!("{other}"),
    };
    let vector = vector(1, 1);
    refused("ef", index.search(3).ef_search(0).by_vector(&vector).map(drop));
    refused("ef", snapshot.search(3).ef_search(0).exact().by_vectors(&vector).map(drop));
    refused("ef", index.search(3).ef_search(0).pages(&vector).map(drop));
    refused("ef", index.search(3).ef_search(0).recall(0.9).by_item(7).map(drop));
    refused("nprobe", index.search(3).nprobe(0).by_vector(&vector).map(drop));
    refused("nprobe", snapshot.search(3).nprobe(0).count_within(&vector, 1.0).map(drop));
    assert_eq!(index.search(3).ef_search(1).nprobe(1).by_vector(&vector).unwrap().nns.len(), 3);
}

#[test]
fn a_held_snapshot_does_not_change_while_everything_else_does() {
    let (_folder, index) = create(Options::new(DIMENSIONS));
    add(&index, 0..500, 0).unwrap();
    // Nothing of it has been looked at before the changes.
    let old = index.snapshot().unwrap();
    for round in 1..30 {
        add(&index, 0..500, round).unwrap();
        if round % 7 == 0 {
            index.optimize().unwrap();
        }
    }
    index.force_rebuild().unwrap();
    let items: Vec<_> = old.iter().unwrap().collect::<voisin::Result<_>>().unwrap();
    assert!(items.iter().map(|(item, _)| *item).eq(0..500));
    assert!(items.iter().all(|(item, found)| *found == vector(*item, 0)));
    for item in (0..500).step_by(7) {
        assert_eq!(
            old.search(1).walk_graph().by_vector(&vector(item, 0)).unwrap().into_nns(),
            [(item, 0.0)]
        );
        assert_eq!(index.search(1).by_vector(&vector(item, 29)).unwrap().into_nns(), [(item, 0.0)]);
    }
    let newest = index.snapshot().unwrap();
    assert!(old.commit() < newest.commit());
    assert_eq!(newest.ids().unwrap().len(), 500);
    check(&index);
}

/// What a search may show is bounded from both sides: a round is in `begun` before its commit
/// begins, and in `committed` after it has ended. Between the two it may be seen or not.
#[test]
fn every_search_sees_the_newest_commit_from_every_thread() {
    const ITEMS: u32 = 200;
    let (_folder, index) = create(Options::new(DIMENSIONS));
    add(&index, 0..ITEMS, 0).unwrap();
    let (begun, committed, done) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    // Asked before the search, so that each thread sees the last commit.
                    let is_last = done.load(Ordering::SeqCst);
                    let first = committed.load(Ordering::SeqCst);
                    let query = vector(42, first);
                    let found = index.search(1).by_vector(&query).unwrap().into_nns();
                    let exact = index.search(1).exact().by_vector(&query).unwrap().into_nns();
                    let last = begun.load(Ordering::SeqCst);
                    // No two rounds have a vector in common.
                    assert!(found == [(42, 0.0)] || last > first, "{found:?}");
                    let nearest = |round: u64| {
                        let distance = |item| {
                            vector(item, round)
                                .iter()
                                .zip(&query)
                                .map(|(a, b)| (a - b) * (a - b))
                                .sum::<f32>()
                        };
                        (0..ITEMS)
                            .map(|item| (item, distance(item)))
                            .min_by(|a, b| a.1.total_cmp(&b.1))
                    };
                    let is_of_a_round =
                        (first..=last).any(|round| exact.first().copied() == nearest(round));
                    assert!(is_of_a_round, "{exact:?} is in none of rounds {first} to {last}");

                    let first = committed.load(Ordering::SeqCst);
                    let snapshot = index.snapshot().unwrap();
                    let last = begun.load(Ordering::SeqCst);
                    let at = snapshot.vector(0).unwrap().unwrap()[3];
                    assert!(
                        (first as f32..=last as f32).contains(&at),
                        "round {at} is not one of {first} to {last}"
                    );
                    assert!(
                        snapshot.iter().unwrap().all(|entry| entry.unwrap().1[3] == at),
                        "a torn snapshot"
                    );
                    if is_last {
                        break;
                    }
                }
            });
        }
        let write = || {
            for next in 1..60 {
                begun.store(next, Ordering::SeqCst);
                add(&index, 0..ITEMS, next).unwrap();
                committed.store(next, Ordering::SeqCst);
                assert_eq!(
                    index.search(1).by_vector(&vector(42, next)).unwrap().into_nns(),
                    [(42, 0.0)]
                );
            }
        };
        let written = catch_unwind(AssertUnwindSafe(write));
        // The readers end, whatever has become of the writer.
        done.store(true, Ordering::SeqCst);
        written.unwrap();
    });
}

#[test]
fn a_snapshot_is_warmed_up_to_a_budget() {
    let (_folder, index) = create(Options::new(64));
    let items = (0..3000u32)
        .map(|item| (item, (0..64).map(|i| ((item * 31 + i * 7) % 97) as f32).collect::<Vec<_>>()));
    index.load(items.clone(), |_| {}).unwrap();
    let snapshot = index.snapshot().unwrap();
    let nothing = snapshot.warm(0).unwrap();
    assert!(nothing.bytes == 0 && !nothing.is_complete);
    let some = snapshot.warm(100_000).unwrap();
    assert!(some.bytes > 50_000 && some.bytes <= 100_000 && !some.is_complete, "{some:?}");
    let all = snapshot.warm(u64::MAX).unwrap();
    // Vectors, lists and ids, and little beside them.
    assert!(
        all.is_complete && all.bytes > 3000 * 64 * 4 && all.bytes < 2 * 3000 * 64 * 4,
        "{all:?}"
    );
    assert_eq!(snapshot.warm(all.bytes).unwrap(), all);
    for (item, vector) in items.step_by(100) {
        assert_eq!(snapshot.search(1).by_vector(&vector).unwrap().nns[0].1, 0.0, "item {item}");
    }
    // With free places and a tail.
    index.write(|batch| batch.delete_items(0..1500)).unwrap();
    assert!(index.snapshot().unwrap().warm(u64::MAX).unwrap().is_complete);
    let empty = create(Options::new(3)).1;
    assert!(empty.snapshot().unwrap().warm(0).unwrap().is_complete);
}

/// A snapshot takes over from the one before what no commit has rewritten. In builds with
/// assertions it compares all of it with what a lookup finds; here whatever rewrites values happens
/// between two searches.
#[test]
fn what_is_taken_over_from_the_snapshot_before_is_right_whatever_was_committed() {
    const LONG: usize = 64;
    let long = |item: u32, round: u32| -> Vec<f32> {
        (0..LONG as u32)
            .map(|i| {
                ((item.wrapping_mul(31) ^ round.wrapping_mul(17)).wrapping_mul(i + 7) % 101) as f32
            })
            .collect()
    };
    let mut rng = StdRng::seed_from_u64(3);
    let (folder, index) = create(Options::new(LONG).m(8).ef_construction(20));
    let beside =
        Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(2).name("beside"))
            .unwrap();
    let mut model = BTreeMap::new();
    for round in 0..80 {
        for _ in 0..rng.random_range(1..4) {
            let first = rng.random_range(0..4000);
            let items = first..first + [1, 30, 1500][rng.random_range(0..3)];
            match rng.random_range(0..20) {
                0 => index.optimize().unwrap(),
                1 => index.force_rebuild().unwrap(),
                2 if round % 5 == 0 => {
                    index.write(|batch| batch.clear()).unwrap();
                    model.clear();
                }
                3 => index.link().unwrap(),
                4..7 => beside.write(|batch| batch.add(items.start, &[1.0, 2.0])).unwrap(),
                7..12 => {
                    index.write(|batch| batch.delete_items(items.clone())).unwrap();
                    model.retain(|item, _| !items.contains(item));
                }
                kind => {
                    let add = |batch: &mut Batch<'_, Euclidean>| {
                        if kind == 12 {
                            batch.link_later();
                        }
                        batch.add_items_from(items.clone().map(|item| (item, long(item, round))))
                    };
                    index.write(add).unwrap();
                    model.extend(items.clone().map(|item| (item, long(item, round))));
                }
            }
        }
        let snapshot = index.snapshot().unwrap();
        assert_eq!(snapshot.len(), model.len() as u64);
        // An environment in which nothing has been found yet: handles on one index share what they
        // find.
        let copy = folder.path().join(format!("copy {round}"));
        index.copy_to(&copy).unwrap();
        let fresh = Index::<Euclidean>::open(&copy, Options::default()).unwrap();
        for (item, vector) in model.iter().step_by(37) {
            assert_eq!(snapshot.vector(*item).unwrap().as_ref(), Some(vector));
            let [found, mut expected] = [&index, &fresh]
                .map(|index| index.search(3).ef_search(20).by_vector(vector).unwrap());
            // A copy counts its commits anew.
            expected.snapshot = found.snapshot;
            assert_eq!(found, expected);
        }
        drop(fresh);
        std::fs::remove_dir_all(copy).unwrap();
        if round % 30 == 0 {
            check(&index);
        }
    }
}

#[test]
fn a_copy_is_opened_like_the_index_it_was_made_of() {
    let (folder, index) = create(Options::new(DIMENSIONS).name("a"));
    let other = crate::Vectors::create(index.path(), Options::new(DIMENSIONS).name("b")).unwrap();
    add(&index, 0..300, 1).unwrap();
    add(&other, 0..30, 2).unwrap();
    let target = folder.path().join("backup");
    let bytes = index.copy_to(&target).unwrap();
    assert_eq!(std::fs::metadata(target.join("data.mdb")).unwrap().len(), bytes);
    assert!(matches!(index.copy_to(&target), Err(Error::Exists { .. })));
    let copy = crate::Vectors::open(&target, Options::new(DIMENSIONS).name("a")).unwrap();
    assert_eq!(copy.search(1).by_vector(&vector(7, 1)).unwrap().into_nns(), [(7, 0.0)]);
    add(&copy, 300..310, 1).unwrap();
    assert_eq!((copy.snapshot().unwrap().len(), index.snapshot().unwrap().len()), (310, 300));
    assert_eq!(copy.names().unwrap(), ["a", "b"]);
    check(&copy);
}

#[test]
fn a_released_index_holds_no_transaction_until_the_next_search() {
    let (_folder, index) = create(Options::new(DIMENSIONS));
    add(&index, 0..10, 1).unwrap();
    let process = |index: &crate::Vectors| {
        // Its own transaction is the newest: an older one is the cached snapshot.
        index.stats().unwrap().environment.oldest_reader.unwrap().commits_behind
    };
    index.search(1).by_vector(&[0.0; DIMENSIONS]).unwrap();
    // A commit lets go of what only the cache holds.
    add(&index, 0..10, 2).unwrap();
    assert_eq!(process(&index), 0);
    index.search(1).by_vector(&[0.0; DIMENSIONS]).unwrap();
    index.release().unwrap();
    assert_eq!(index.search(1).by_vector(&vector(3, 2)).unwrap().into_nns(), [(3, 0.0)]);
}

#[test]
fn all_that_a_search_can_need_is_read_in_advance_codes_among_it() {
    let (_folder, index) = create(Options::new(DIMENSIONS).codes(Codes::Bits8));
    let items = 3000;
    add(&index, 0..items, 1).unwrap();
    index.optimize().unwrap();
    let with_codes = index.snapshot().unwrap().warm(1 << 30).unwrap();
    // Four components, and a code with its factors.
    assert!(
        with_codes.is_complete && with_codes.bytes > u64::from(items) * (16 + 4 + 12),
        "{with_codes:?}"
    );
    let part = index.snapshot().unwrap().warm(with_codes.bytes - 1).unwrap();
    assert!(!part.is_complete && part.bytes < with_codes.bytes, "{part:?}");
    index.write(|batch| batch.set_codes(None)).unwrap();
    let without = index.snapshot().unwrap().warm(1 << 30).unwrap();
    assert!(
        without.is_complete && without.bytes + u64::from(items) * (4 + 12) < with_codes.bytes,
        "{without:?}"
    );
}
