//! Torn edits: changes that an error or a panic interrupts.
//!
//! The caller catches a panic and then commits: no half-done change may be visible, no vector may
//! differ, and at level 1, where the caller commits, the index reports it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;
use voisin::distances::Euclidean;
use voisin::{Error, Index, ItemId, Options};

const DIMENSIONS: usize = 128;

type Vectors = Index<Euclidean>;
type Rows = BTreeMap<ItemId, Vec<f32>>;

/// The vector that an item has in a version of it.
fn vector(item: ItemId, version: u64) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(u64::from(item) << 16 | version);
    (0..DIMENSIONS).map(|_| rng.random::<f32>()).collect()
}

fn rows(items: impl Iterator<Item = ItemId>, version: u64) -> Rows {
    items.map(|item| (item, vector(item, version))).collect()
}

fn create(items: u32) -> (TempDir, Vectors, Rows) {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(DIMENSIONS).m(4).m0(8).ef_construction(16);
    let index = Vectors::create(folder.path().join("vectors"), options).unwrap();
    let expected = rows(0..items, 0);
    index.write(|batch| batch.add_items_from(expected.clone())).unwrap();
    (folder, index, expected)
}

/// That the index holds these items, bit for bit, and is sound.
#[track_caller]
fn holds(index: &Vectors, expected: &Rows) {
    let findings = index.check().unwrap();
    assert!(
        findings.is_empty(),
        "{} findings: {:?}",
        findings.len(),
        &findings[..findings.len().min(3)]
    );
    let snapshot = index.snapshot().unwrap();
    assert!(snapshot.ids().unwrap().iter().eq(expected.keys().copied()), "other items are there");
    for (item, vector) in expected {
        assert!(
            snapshot.vector(*item).unwrap().as_ref() == Some(vector),
            "item {item} has another vector"
        );
    }
}

/// Runs what panics, on purpose.
fn caught<T>(work: impl FnOnce() -> T) {
    assert!(catch_unwind(AssertUnwindSafe(work)).is_err(), "it did not panic");
}

/// An iterator that panics at its end.
fn then_panic<T>(items: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
    items.into_iter().chain(std::iter::once_with(|| panic!("on purpose")))
}

/// A row that panics when it is asked for its components.
struct Row(Option<Vec<f32>>);

impl AsRef<[f32]> for Row {
    fn as_ref(&self) -> &[f32] {
        self.0.as_deref().expect("on purpose")
    }
}

/// An iterator that was given to `add_items_from` panicked after thousands of rows, the closure of
/// `write` caught that and returned `Ok`: full blocks were committed without the items in them, and
/// with the rows of older items deleted. After fewer rows, those were lost without a word.
#[test]
fn a_batch_whose_iterator_has_panicked_is_not_committed() {
    let (_folder, index, expected) = create(100);
    for count in [0, 10, 4000] {
        let result = index.write(|batch| {
            caught(|| batch.add_items_from(then_panic(rows(50..50 + count, 1))));
            Ok(())
        });
        assert!(matches!(result, Err(Error::BatchFailed)), "{result:?} after {count} rows");
        holds(&index, &expected);
    }
    // And the batch can do nothing more, not even in a call that changes nothing.
    let result = index.write(|batch| {
        caught(|| batch.add_items_from(then_panic(rows(50..60, 1))));
        assert!(matches!(batch.add(1, &vector(1, 1)), Err(Error::BatchFailed)));
        assert!(matches!(batch.delete(1), Err(Error::BatchFailed)));
        batch.link_later();
        Ok(())
    });
    assert!(matches!(result, Err(Error::BatchFailed)), "{result:?}");
    holds(&index, &expected);
    index.write(|batch| batch.add(7, &vector(7, 1))).unwrap();
}

/// The same of `delete_items`: the vectors of the first items were deleted, which still counted.
#[test]
fn a_batch_whose_iterator_of_deleted_items_has_panicked_is_not_committed() {
    let (_folder, index, expected) = create(100);
    let result = index.write(|batch| {
        batch.add_items_from(rows(100..150, 0))?;
        caught(|| batch.delete_items(then_panic(80..140)));
        Ok(())
    });
    assert!(matches!(result, Err(Error::BatchFailed)), "{result:?}");
    holds(&index, &expected);
}

/// The same of a row whose `AsRef` panics.
#[test]
fn a_batch_whose_row_has_panicked_is_not_committed() {
    let (_folder, index, expected) = create(100);
    let rows = || (0..4000).map(|item| (item + 50, Row((item < 3900).then(|| vector(item, 1)))));
    let result = index.write(|batch| {
        caught(|| batch.add_items_from(rows()));
        Ok(())
    });
    assert!(matches!(result, Err(Error::BatchFailed)), "{result:?}");
    holds(&index, &expected);
}

/// The most serious: the panic came after free places of full blocks had been used again. Nothing
/// said that these blocks had been rewritten, so that the next snapshot took over where they had
/// been: pages that another index had been given meanwhile, and its vectors were read.
#[test]
fn no_vector_is_read_from_where_it_was_before_a_panic() {
    let (folder, index, mut expected) = create(6400);
    index.write(|batch| batch.delete_items((0..6400).step_by(2))).unwrap();
    expected.retain(|item, _| item % 2 == 1);
    let held = index.snapshot().unwrap();
    held.warm(u64::MAX).unwrap();
    drop(held);

    let result = index.write(|batch| {
        caught(|| batch.add_items_from(then_panic(rows(20_000..23_900, 1))));
        Ok(())
    });
    assert!(matches!(result, Err(Error::BatchFailed)), "{result:?}");
    let options = Options::new(DIMENSIONS).m(4).m0(8).ef_construction(16).name("other");
    let other = Vectors::create(folder.path().join("vectors"), options).unwrap();
    other
        .write(|batch| {
            batch.link_later();
            batch.add_items_from(rows(0..3000, 2))
        })
        .unwrap();
    holds(&index, &expected);
}

/// A closure that panics in a load, and is caught outside of it, leaves nothing behind.
#[test]
fn a_load_whose_progress_panics_changes_nothing() {
    let (_folder, index, expected) = create(100);
    for phase in [voisin::LoadPhase::Adding, voisin::LoadPhase::Linking, voisin::LoadPhase::Writing]
    {
        let told = AtomicU64::new(0);
        let progress = |progress: voisin::LoadProgress| {
            let is_due = progress.phase == phase && told.fetch_add(1, Ordering::Relaxed) == 1;
            assert!(!is_due, "on purpose");
        };
        caught(|| index.loader().progress(progress).load(rows(50..3050, 1)));
        holds(&index, &expected);
    }
    index.load(rows(50..60, 0), |_| {}).unwrap();
    holds(&index, &expected);
}

/// Keys are looked up and given out for some thousand rows at a time, outside of what pulls them: a
/// panic leaves whole rows before it, each with its key.
#[test]
fn an_index_with_keys_is_whole_after_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(DIMENSIONS).m(4).m0(8).ef_construction(16);
    let index = Index::<Euclidean, u64>::create(folder.path().join("vectors"), options).unwrap();
    let rows = |items: std::ops::Range<u32>, version| {
        items.map(move |item| (u64::from(item), vector(item, version)))
    };
    index.write(|batch| batch.add_items_from(rows(0..100, 0))).unwrap();
    index
        .write(|batch| {
            batch.link_later();
            caught(|| batch.add_items_from(then_panic(rows(50..5050, 1))));
            caught(|| batch.delete_items(then_panic(rows(0..40, 0).map(|(key, _)| key))));
            Ok(())
        })
        .unwrap();
    assert_eq!(index.check().unwrap(), []);
    let snapshot = index.snapshot().unwrap();
    assert!(snapshot.len() >= 100);
    for (key, found) in snapshot.iter().unwrap().map(Result::unwrap) {
        let item = key as ItemId;
        let version = u64::from(item >= 100 || found == vector(item, 1));
        assert!(version == 1 || item < 100);
        assert_eq!(found, vector(item, version), "{key}");
    }
}

/// Level 1: an environment of the test's own, and an index in it.
mod writer {
    use std::sync::atomic::AtomicBool;

    use voisin::codec::{F32, VectorRef};
    use voisin::distances::Distance;
    use voisin::heed::{CommitOrAbort, Env, EnvOpenOptions, RoTxn, RwTxn, WithoutTls};
    use voisin::{Codes, Database, Phase, Progress, Reader, Writer};

    use super::*;

    const M: usize = 4;
    /// A record to a group: then a build puts many values.
    const M0: usize = 1024;

    fn open() -> (TempDir, Env<WithoutTls>) {
        let folder = tempfile::tempdir().unwrap();
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(256 << 20);
        // SAFETY: a fresh folder that nobody else opens.
        let env = unsafe { options.open(folder.path()) }.unwrap();
        (folder, env)
    }

    fn database<D: Distance>(env: &Env<WithoutTls>) -> Database<'_, D> {
        let created = env.create_databases_and_commit(
            env.write_txn().unwrap(),
            |o, wtxn| -> voisin::heed::Result<_> {
                o.create_database(wtxn, None).map(CommitOrAbort::<_, ()>::Commit)
            },
        );
        created.unwrap().unwrap_commit()
    }

    fn build<D: Distance>(writer: &Writer<'_, D>, wtxn: &mut RwTxn<'_>) {
        let mut rng = StdRng::seed_from_u64(1);
        writer.builder(&mut rng).ef_construction(16).codes_from(1).build::<M, M0>(wtxn).unwrap();
    }

    /// That everything but a repair is refused.
    #[track_caller]
    fn is_torn<D: Distance>(rtxn: &RoTxn<'_>, db: Database<'_, D>) {
        let torn =
            |result| assert!(matches!(result, Err(Error::TornEdit { index: 0 })), "{result:?}");
        torn(Reader::<D>::open(rtxn, 0, db).map(drop));
        let writer = Writer::<D>::new(db, 0, DIMENSIONS);
        torn(writer.contains_item(rtxn, 1).map(drop));
        torn(writer.need_build(rtxn).map(drop));
        torn(writer.iter(rtxn).map(drop));
        let findings = voisin::check(rtxn, 0, db).unwrap();
        assert!(
            findings.iter().any(|finding| finding.invariant == voisin::Invariant::Meta),
            "{findings:?}"
        );
        assert!(
            findings.iter().any(|finding| finding.what.contains("Writer::repair")),
            "{findings:?}"
        );
    }

    #[track_caller]
    fn is_refused<D: Distance>(writer: &Writer<'_, D>, wtxn: &mut RwTxn<'_>) {
        let torn =
            |result| assert!(matches!(result, Err(Error::TornEdit { index: 0 })), "{result:?}");
        torn(writer.add_item(wtxn, 1, &vector(1, 9)));
        torn(writer.add_items(wtxn, &[1], &vector(1, 9)));
        torn(writer.add_items_from(wtxn, [(1, vector(1, 9))]).map(drop));
        torn(writer.del_item(wtxn, 1).map(drop));
        torn(writer.del_items(wtxn, [1]).map(drop));
        torn(writer.set_codes(wtxn, None));
        torn(writer.clear(wtxn));
        let mut rng = StdRng::seed_from_u64(1);
        torn(writer.builder(&mut rng).build::<M, M0>(wtxn));
        torn(writer.builder(&mut rng).force_rebuild::<M, M0>(wtxn));
        torn(writer.builder(&mut rng).optimize::<M, M0>(wtxn));
    }

    #[track_caller]
    fn holds<D: Distance>(rtxn: &RoTxn<'_>, db: Database<'_, D>, expected: &Rows) {
        let findings = voisin::check(rtxn, 0, db).unwrap();
        assert!(
            findings.is_empty(),
            "{} findings: {:?}",
            findings.len(),
            &findings[..findings.len().min(3)]
        );
        let found: Rows =
            Writer::<D>::new(db, 0, DIMENSIONS).iter(rtxn).unwrap().map(Result::unwrap).collect();
        assert!(found.keys().eq(expected.keys()), "other items are there");
        assert!(found == *expected, "an item has another vector");
    }

    /// Commits what a change has left behind, finds it refused everywhere, and repairs it.
    #[track_caller]
    fn commits_and_repairs<D: Distance>(
        env: &Env<WithoutTls>,
        mut wtxn: RwTxn<'_>,
        db: Database<'_, D>,
        expected: &Rows,
    ) {
        let writer = Writer::<D>::new(db, 0, DIMENSIONS);
        is_torn(&wtxn, db);
        is_refused(&writer, &mut wtxn);
        wtxn.commit().unwrap();
        is_torn(&env.read_txn().unwrap(), db);
        let mut wtxn = env.write_txn().unwrap();
        is_refused(&writer, &mut wtxn);
        assert!(writer.repair(&mut wtxn).unwrap());
        holds(&wtxn, db, expected);
        assert!(!writer.repair(&mut wtxn).unwrap());
        build(&writer, &mut wtxn);
        wtxn.commit().unwrap();
        let rtxn = env.read_txn().unwrap();
        holds(&rtxn, db, expected);
        assert_eq!(writer.n_pending(&rtxn).unwrap(), 0);
    }

    /// What an index is like when a change of it begins: linked items with free slots among them,
    /// pending ones, removed ones, codes.
    fn prepare<'e>(
        env: &'e Env<WithoutTls>,
        codes: Option<Codes>,
    ) -> (Database<'e, Euclidean>, Rows) {
        let db = database::<Euclidean>(env);
        let writer = Writer::<Euclidean>::new(db, 0, DIMENSIONS);
        let mut wtxn = env.write_txn().unwrap();
        let mut expected = rows(0..700, 0);
        writer.add_items_from(&mut wtxn, expected.clone()).unwrap();
        writer.set_codes(&mut wtxn, codes).unwrap();
        build(&writer, &mut wtxn);
        writer.del_items(&mut wtxn, (0..700).step_by(3)).unwrap();
        build(&writer, &mut wtxn);
        writer.del_items(&mut wtxn, (1..100).step_by(3)).unwrap();
        let pending = rows(5000..5040, 0);
        writer.add_items_from(&mut wtxn, pending.clone()).unwrap();
        wtxn.commit().unwrap();
        expected.retain(|item, _| item % 3 == 2 || item % 3 == 1 && *item >= 100);
        expected.extend(pending);
        holds(&env.read_txn().unwrap(), db, &expected);
        (db, expected)
    }

    /// An iterator that panicked in `add_items_from`, and a commit: 101 findings, and exact search
    /// failed. Items were added, replaced and, by being replaced, pushed out of their places.
    #[test]
    fn a_transaction_whose_iterator_has_panicked_can_be_repaired() {
        for (codes, count) in [(None, 2000), (None, 3900), (Some(Codes::Bits4), 3900)] {
            let (_folder, env) = open();
            let (db, expected) = prepare(&env, codes);
            let writer = Writer::<Euclidean>::new(db, 0, DIMENSIONS);
            let mut wtxn = env.write_txn().unwrap();
            // Replaces pending, linked and removed items, adds others, and some of these twice.
            let items = (4990..5100).chain(0..600).chain(5030..5090).chain(6000..10_000);
            let torn = then_panic(items.take(count).map(|item| (item, vector(item, 1))));
            caught(|| writer.add_items_from(&mut wtxn, torn));
            commits_and_repairs(&env, wtxn, db, &expected);
        }
    }

    /// Before the first megabyte of rows is there, nothing is written, and there is nothing to
    /// undo.
    #[test]
    fn a_panic_before_the_first_write_has_changed_nothing() {
        let (_folder, env) = open();
        let (db, expected) = prepare(&env, None);
        let writer = Writer::<Euclidean>::new(db, 0, DIMENSIONS);
        let mut wtxn = env.write_txn().unwrap();
        caught(|| writer.add_items_from(&mut wtxn, then_panic(rows(0..1000, 1))));
        caught(|| writer.del_items(&mut wtxn, then_panic(0..6000)));
        holds(&wtxn, db, &expected);
        assert!(!writer.repair(&mut wtxn).unwrap());
        wtxn.commit().unwrap();
        holds(&env.read_txn().unwrap(), db, &expected);
    }

    /// An index that the change was to create is an empty one afterwards.
    #[test]
    fn a_new_index_is_empty_after_a_repair() {
        let (_folder, env) = open();
        let db = database::<Euclidean>(&env);
        let writer = Writer::<Euclidean>::new(db, 0, DIMENSIONS);
        let mut wtxn = env.write_txn().unwrap();
        caught(|| writer.add_items_from(&mut wtxn, then_panic(rows(0..3000, 1))));
        commits_and_repairs(&env, wtxn, db, &Rows::new());
    }

    /// What earlier calls in the transaction have done is what a repair restores, also within it.
    #[test]
    fn a_repair_goes_back_to_the_call_before() {
        let (_folder, env) = open();
        let (db, mut expected) = prepare(&env, None);
        let writer = Writer::<Euclidean>::new(db, 0, DIMENSIONS);
        let mut wtxn = env.write_txn().unwrap();
        let more = rows(300..2300, 3);
        writer.add_items_from(&mut wtxn, more.clone()).unwrap();
        expected.extend(more);
        caught(|| writer.add_items_from(&mut wtxn, then_panic(rows(0..4000, 1))));
        is_torn(&wtxn, db);
        assert!(writer.repair(&mut wtxn).unwrap());
        holds(&wtxn, db, &expected);
        wtxn.commit().unwrap();
        holds(&env.read_txn().unwrap(), db, &expected);
    }

    /// A closure that is told of the progress panicked while the graph was written: 1 000 findings
    /// after the commit. In an `optimize` it is told, and waits, as nothing could be restored
    /// there.
    #[test]
    fn a_transaction_whose_progress_has_panicked_can_be_repaired_or_is_done() {
        for (goal, at) in [(0, 1), (0, 90), (1, 1), (1, 300), (2, 1), (2, 200)] {
            let (_folder, env) = open();
            let (db, expected) = prepare(&env, (at > 1).then_some(Codes::Bits8));
            let writer = Writer::<Euclidean>::new(db, 0, DIMENSIONS);
            let mut wtxn = env.write_txn().unwrap();
            let told = AtomicU64::new(0);
            let progress = |progress: Progress| {
                let is_due = progress.phase == Phase::Writing
                    && progress.done == at
                    && told.fetch_add(1, Ordering::Relaxed) == 0;
                assert!(!is_due, "on purpose");
            };
            let mut rng = StdRng::seed_from_u64(2);
            let mut builder = writer.builder(&mut rng);
            builder.ef_construction(16).progress(progress);
            caught(|| match goal {
                0 => builder.build::<M, M0>(&mut wtxn),
                1 => builder.force_rebuild::<M, M0>(&mut wtxn),
                _ => builder.optimize::<M, M0>(&mut wtxn),
            });
            if goal < 2 {
                commits_and_repairs(&env, wtxn, db, &expected);
            } else {
                wtxn.commit().unwrap();
                holds(&env.read_txn().unwrap(), db, &expected);
                assert_eq!(writer.n_pending(&env.read_txn().unwrap()).unwrap(), 0);
            }
        }
    }

    /// A build that writes little tells of it afterwards.
    #[test]
    fn a_small_build_is_done_before_its_progress_can_panic() {
        let (_folder, env) = open();
        let (db, mut expected) = prepare(&env, Some(Codes::Bits8));
        let writer = Writer::<Euclidean>::new(db, 0, DIMENSIONS);
        let mut wtxn = env.write_txn().unwrap();
        build(&writer, &mut wtxn);
        writer.add_item(&mut wtxn, 10_000, &vector(10_000, 0)).unwrap();
        expected.insert(10_000, vector(10_000, 0));
        let mut rng = StdRng::seed_from_u64(2);
        let progress = |progress: Progress| assert!(progress.phase != Phase::Writing, "on purpose");
        let mut builder = writer.builder(&mut rng);
        caught(|| builder.ef_construction(16).progress(progress).build::<M, M0>(&mut wtxn));
        wtxn.commit().unwrap();
        holds(&env.read_txn().unwrap(), db, &expected);
        assert_eq!(writer.n_pending(&env.read_txn().unwrap()).unwrap(), 0);
    }

    /// Whether [`Failing`] fails when it checks, and when it compares.
    static FAILS: [AtomicBool; 2] = [const { AtomicBool::new(false) }; 2];

    /// A metric of a user's own.
    #[derive(Debug, Clone)]
    enum Failing {}

    impl Distance for Failing {
        type Codec = F32;

        fn name() -> &'static str {
            "failing"
        }

        fn raw(a: VectorRef<'_, F32>, b: VectorRef<'_, F32>) -> f32 {
            assert!(!FAILS[1].load(Ordering::Relaxed), "on purpose");
            a.iter().zip(b.iter()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        }

        fn check(vector: &[f32]) -> Result<(), voisin::VectorDefect> {
            assert!(!FAILS[0].load(Ordering::Relaxed) || vector[0] <= 0.99, "on purpose");
            Ok(())
        }
    }

    /// A metric is the user's code, too: in what it checks, and in what it compares in a build.
    #[test]
    fn a_metric_that_panics_leaves_nothing_half_done() {
        let (_folder, env) = open();
        let db = database::<Failing>(&env);
        let writer = Writer::<Failing>::new(db, 0, DIMENSIONS);
        let mut wtxn = env.write_txn().unwrap();
        let expected = rows(0..300, 0);
        writer.add_items_from(&mut wtxn, expected.clone()).unwrap();
        build(&writer, &mut wtxn);
        wtxn.commit().unwrap();

        let mut wtxn = env.write_txn().unwrap();
        let (bad, good) = ([vec![1.0], vector(1, 2)[1..].to_vec()].concat(), rows(400..4000, 2));
        let good = good.into_iter().map(|(item, mut row)| {
            row[0] = row[0].min(0.9);
            (item, row)
        });
        FAILS[0].store(true, Ordering::Relaxed);
        caught(|| writer.add_items_from(&mut wtxn, good.chain([(9, bad)])));
        FAILS[0].store(false, Ordering::Relaxed);
        commits_and_repairs(&env, wtxn, db, &expected);

        let mut wtxn = env.write_txn().unwrap();
        writer.add_item(&mut wtxn, 9, &vector(9, 3)).unwrap();
        let expected: Rows = expected.into_iter().chain([(9, vector(9, 3))]).collect();
        FAILS[1].store(true, Ordering::Relaxed);
        let mut rng = StdRng::seed_from_u64(1);
        caught(|| writer.builder(&mut rng).build::<M, M0>(&mut wtxn));
        FAILS[1].store(false, Ordering::Relaxed);
        wtxn.commit().unwrap();
        holds(&env.read_txn().unwrap(), db, &expected);
    }

    /// A change that was left in the middle in the folder of an `Index`, by a program that writes
    /// to it with heed: it can be opened, says so, and is repaired, and linked, by a call.
    #[test]
    fn an_index_of_a_folder_is_repaired_by_its_handle() {
        let (folder, index, mut expected) = create(700);
        index.write(|batch| batch.delete_items((0..700).step_by(3))).unwrap();
        expected.retain(|item, _| item % 3 > 0);
        let path = index.path().to_owned();
        drop(index);
        {
            let mut options = EnvOpenOptions::new().read_txn_without_tls();
            options.map_size(1 << 30).max_dbs(2);
            // SAFETY: nobody else has it open.
            let env = unsafe { options.open(&path) }.unwrap();
            let opened = env.open_databases_and_commit(env.read_txn().unwrap(), |o, rtxn| {
                o.open_database(rtxn, Some("voisin"))
                    .map(|db| CommitOrAbort::<_, ()>::Commit(db.unwrap()))
            });
            let db: Database<'_, Euclidean> = opened.unwrap().unwrap_commit();
            let writer = Writer::<Euclidean>::new(db, 0, DIMENSIONS);
            let mut wtxn = env.write_txn().unwrap();
            caught(|| writer.add_items_from(&mut wtxn, then_panic(rows(50..4000, 1))));
            wtxn.commit().unwrap();
            env.prepare_for_closing().wait();
        }
        let index = Vectors::open(&path, Options::new(DIMENSIONS)).unwrap();
        let torn = |result: voisin::Result<()>| {
            assert!(matches!(result, Err(Error::TornEdit { index: 0 })), "{result:?}")
        };
        torn(index.snapshot().map(drop));
        torn(index.search(1).by_vector(&vector(1, 0)).map(drop));
        torn(index.write(|batch| batch.add(1, &vector(1, 0))));
        torn(index.load(rows(0..3, 1), |_| {}).map(drop));
        torn(index.link());
        torn(index.optimize());
        torn(index.stats().map(drop));
        assert!(
            index
                .check()
                .unwrap()
                .iter()
                .any(|finding| finding.invariant == voisin::Invariant::Meta)
        );
        assert!(index.repair().unwrap());
        super::holds(&index, &expected);
        assert_eq!(index.stats().unwrap().pending, 0);
        assert!(!index.repair().unwrap());
        index.write(|batch| batch.add(1, &vector(1, 1))).unwrap();
        drop(folder);
    }
}
