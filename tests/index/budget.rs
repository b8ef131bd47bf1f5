//! Loads within a memory budget: rounds that are indexes, kills that lose nothing but a round, and
//! budgets that are too small.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use voisin::distances::Euclidean;
use voisin::heed::types::Bytes;
use voisin::heed::{CommitOrAbort, EnvOpenOptions};
use voisin::{Codes, Error, Index, ItemId, LoadPhase, LoadProgress, Options};

use crate::child::{Running, tell, told};
use crate::{Vectors, check, create};

const LONG: usize = 16;
const ITEMS: ItemId = 3000;

fn options() -> Options {
    Options::new(LONG).m(8).ef_construction(40)
}

/// A vector near one of forty places, which are visited in no order.
fn row(item: ItemId, round: u32) -> Vec<f32> {
    let mut state = u64::from(item / 40).wrapping_add(u64::from(round) << 32) + 1;
    let mut next = |spread: f32| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32 * spread
    };
    let mut place = item % 40 + 1;
    let near = |place: &mut u32| {
        *place = place.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (*place >> 24) as f32 / 256.0
    };
    (0..LONG).map(|_| near(&mut place) * 4.0 + next(1.0)).collect()
}

fn rows(round: u32) -> impl Iterator<Item = (ItemId, Vec<f32>)> {
    (0..ITEMS).map(move |item| (item, row(item, round)))
}

/// The rows of a load that is killed often.
fn many() -> impl Iterator<Item = (ItemId, Vec<f32>)> {
    (0..20_000).map(|item| (item, row(item, 0)))
}

/// The least budget that a load of all rows works with.
fn least() -> u64 {
    least_for(rows(0))
}

fn least_for(rows: impl Iterator<Item = (ItemId, Vec<f32>)>) -> u64 {
    let (_folder, index) = create(options());
    match index.loader().memory(1).load(rows) {
        Err(Error::MemoryBudget { bytes: 1, least }) => least,
        other => panic!("{other:?}"),
    }
}

/// All values of the indexes of a folder, which no handle has open, and whose DELTA is left out.
fn values(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut open = EnvOpenOptions::new();
    // SAFETY: nobody else has the environment open.
    let env = unsafe { open.map_size(1 << 28).max_dbs(8).open(path) }.unwrap();
    let opened = env.open_databases_and_commit(env.read_txn().unwrap(), |opener, txn| {
        let found = opener.open_database::<Bytes, Bytes>(txn, Some("voisin"));
        found.map(CommitOrAbort::<_, ()>::Commit)
    });
    let all = opened.unwrap().unwrap_commit().unwrap();
    let values = {
        let txn = env.read_txn().unwrap();
        let all = all.iter(&txn).unwrap().map(|entry| entry.unwrap());
        let all = all.filter(|(key, _)| !key.starts_with(&u16::MAX.to_be_bytes()));
        all.map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
    };
    env.prepare_for_closing().wait();
    values
}

/// The recall of searches for other vectors.
fn recall(index: &Vectors) -> f64 {
    let mut found = 0;
    for item in 0..200 {
        let query = row(item * 13, 9);
        let exact = index.search(10).exact().by_vector(&query).unwrap().into_nns();
        let near = index.search(10).ef_search(16).by_vector(&query).unwrap().into_nns();
        found += near.iter().filter(|found| exact.contains(found)).count();
    }
    found as f64 / 2000.0
}

#[test]
fn a_load_within_a_small_budget_is_linked_in_rounds_each_of_which_is_an_index() {
    let least = least();
    let (_folder, index) = create(options());
    let told = Mutex::new(Vec::new());
    let loader = index.loader().memory(least).progress(|progress| {
        let mut told = told.lock().unwrap();
        if progress.phase == LoadPhase::Linking && !told.contains(&progress.rounds_done) {
            told.push(progress.rounds_done);
            check(&index);
            assert_eq!(index.snapshot().unwrap().len(), u64::from(ITEMS), "all can be found");
        }
        assert!(progress.rounds_done <= progress.rounds, "{progress:?}");
        if progress.phase != LoadPhase::Reading {
            assert_eq!(progress.memory_bytes, least);
            assert!(progress.disk_bytes > u64::from(ITEMS) * 64 && progress.remaining.is_some());
        }
    });
    assert_eq!(loader.load(rows(0)).unwrap(), u64::from(ITEMS));
    drop(loader);
    let rounds = told.into_inner().unwrap();
    assert!(rounds.len() >= 5 && rounds.is_sorted(), "{rounds:?}");
    check(&index);
    assert_eq!(index.pending().unwrap(), 0);

    // The graph is as good as that of one commit.
    let (_folder, whole) = create(options());
    whole.loader().load(rows(0)).unwrap();
    let [in_rounds, at_once] = [&index, &whole].map(recall);
    assert!(in_rounds > at_once - 0.005, "{in_rounds} and {at_once}");

    // There is nothing left to do, whoever asks for it.
    let commit = index.snapshot().unwrap().commit();
    assert_eq!(index.resume().unwrap(), 0);
    assert_eq!(index.loader().memory(least).load(rows(0)).unwrap(), u64::from(ITEMS));
    assert_eq!(index.snapshot().unwrap().commit(), commit);

    // Other vectors for the same items: the old ones leave the graph, round by round.
    index.loader().memory(2 * least).load(rows(1)).unwrap();
    check(&index);
    let stats = index.stats().unwrap();
    assert_eq!((stats.items, stats.pending, stats.removed), (u64::from(ITEMS), 0, 0));
    assert_eq!(index.snapshot().unwrap().vector(7).unwrap().unwrap(), row(7, 1));
}

#[test]
fn a_load_whose_first_round_begins_anew_links_all() {
    // What replaces others takes a slot of its own, and all at once would need a fifth more.
    let little = least() * 17 / 16;
    // The only node of the graph is replaced.
    let (_folder, index) = create(options());
    index.write(|batch| batch.add(0, &row(0, 1))).unwrap();
    index.loader().memory(little).load(rows(0)).unwrap();
    check(&index);
    assert_eq!((index.pending().unwrap(), index.snapshot().unwrap().len()), (0, u64::from(ITEMS)));

    // More than a quarter of the nodes are, and the others must be linked again, too.
    let (_folder, index) = create(options());
    index.load(rows(0), |_| {}).unwrap();
    index.loader().memory(little).load(rows(1).take(ITEMS as usize / 3)).unwrap();
    check(&index);
    assert_eq!((index.pending().unwrap(), index.snapshot().unwrap().len()), (0, u64::from(ITEMS)));
    assert!(recall(&index) > 0.95);
}

#[test]
fn a_budget_that_holds_everything_changes_nothing() {
    let (folder, index) = create(options());
    index.loader().load(rows(0)).unwrap();
    let (other, within) = create(options().memory(1 << 30));
    let before = within.snapshot().unwrap().commit();
    within.loader().load(rows(0)).unwrap();
    assert_eq!(within.snapshot().unwrap().commit(), before + 1, "one commit");
    drop((index, within));
    let [at_once, within] = [folder, other].map(|folder| values(&folder.path().join("vectors")));
    assert!(at_once == within);
}

#[test]
fn a_budget_that_is_too_small_names_the_least() {
    let least = least();
    let (_folder, index) = create(options().memory(least - 1));
    let before = index.snapshot().unwrap().commit();
    // Also where the number of rows is not known before.
    let unknown = rows(0).filter(|(item, _)| *item < ITEMS);
    for result in [index.loader().load(rows(0)), index.loader().load(unknown)] {
        match result {
            Err(Error::MemoryBudget { bytes, least: named }) => {
                assert_eq!((bytes, named), (least - 1, least));
            }
            other => panic!("{other:?}"),
        }
    }
    let result = index.loader().memory(least).optimize(true).load(rows(0));
    assert!(matches!(result, Err(Error::MemoryBudget { least: named, .. }) if named > least));
    assert_eq!(index.snapshot().unwrap().commit(), before);
    let missing = index.path().join("missing");
    let result = index.loader().memory(least).temp_dir(missing).load(rows(0));
    assert!(matches!(result, Err(Error::Io { .. })), "{result:?}");
    assert_eq!(index.snapshot().unwrap().commit(), before);
}

/// A budget that holds the slots of the index, or of the rows, but not of both, was found too small
/// when the rows were linked, after all of them were committed.
#[test]
fn rows_that_replace_others_are_judged_before_any_is_committed_and_the_least_suffices() {
    let (_folder, index) = create(options());
    index.load(rows(0), |_| {}).unwrap();
    let before = index.snapshot().unwrap().commit();
    let refused = |memory: u64, known: bool| {
        let loader = index.loader().memory(memory);
        let result = match known {
            true => loader.load(rows(1)),
            false => loader.load(rows(1).filter(|(item, _)| *item < ITEMS)),
        };
        assert_eq!(index.snapshot().unwrap().commit(), before, "it has committed a part");
        match result {
            Err(Error::MemoryBudget { least, .. }) => least,
            other => panic!("{other:?}"),
        }
    };
    let named = refused(1, true);
    assert!(named > least(), "{named}");
    for memory in [2, least(), named - 1] {
        assert_eq!((refused(memory, true), refused(memory, false)), (named, named));
    }
    // What is there already takes nothing.
    index.loader().memory(least()).load(rows(0)).unwrap();
    assert_eq!(index.snapshot().unwrap().commit(), before);
    index.loader().memory(named).load(rows(1)).unwrap();
    check(&index);
    assert_eq!((index.pending().unwrap(), index.snapshot().unwrap().len()), (0, u64::from(ITEMS)));
    // Slots that are free count, and a load in batches names what suffices, too.
    let again = match index.loader().memory(1).commit_every(500).load(rows(2)) {
        Err(Error::MemoryBudget { least, .. }) => least,
        other => panic!("{other:?}"),
    };
    assert!(again < named + (named - least()), "{again}");
    index.loader().memory(again).commit_every(500).load(rows(2)).unwrap();
    check(&index);
    assert_eq!((index.pending().unwrap(), index.snapshot().unwrap().len()), (0, u64::from(ITEMS)));
}

/// Codes are first made by the commit that reaches their number of items, after others.
#[test]
fn the_least_is_enough_for_the_first_codes() {
    const WIDE: usize = 512;
    let rows = || {
        let wide = |item: ItemId| row(item, 0).into_iter().cycle().take(WIDE).collect::<Vec<_>>();
        (0..1300).map(move |item| (item, wide(item)))
    };
    let options = Options::new(WIDE).m(4).ef_construction(16).codes(Codes::Bits8);
    let (_folder, index) = create(options);
    let before = index.snapshot().unwrap().commit();
    let named = match index.loader().memory(1).load(rows()) {
        Err(Error::MemoryBudget { least, .. }) => least,
        other => panic!("{other:?}"),
    };
    assert!(index.loader().memory(named - 1).load(rows()).is_err());
    assert_eq!(index.snapshot().unwrap().commit(), before);
    index.loader().memory(named).load(rows()).unwrap();
    check(&index);
    let stats = index.stats().unwrap();
    assert_eq!((stats.items, stats.pending), (1300, 0));
    assert_eq!(stats.codes.unwrap().codes, Codes::Bits8);
}

/// The test whose children load until they are killed.
const LOADS: &str = "budget::a_load_that_is_killed_and_resumed_has_the_bytes_of_one_that_is_not";

/// Loads in a process of its own, or resumes, until it is killed.
fn load_until_killed(told: &[String]) {
    let (path, memory) = (&told[0], told[1].parse().unwrap());
    let index = Vectors::open(path, Options::default().memory(memory)).unwrap();
    let last = Mutex::new(None);
    let loader = index.loader().progress(|progress| {
        let now = (progress.phase, progress.rounds_done);
        if last.lock().unwrap().replace(now) != Some(now) {
            tell(&format!("{:?} {}", progress.phase, progress.rounds_done));
        }
    });
    match told[2].as_str() {
        "load" => drop(loader.load(rows(0)).unwrap()),
        "load many" => drop(loader.load(many()).unwrap()),
        _ => drop(loader.resume().unwrap()),
    }
    tell("done");
}

#[test]
fn a_load_that_is_killed_and_resumed_has_the_bytes_of_one_that_is_not() {
    if let Some(told) = told() {
        return load_until_killed(&told);
    }
    let memory = least();
    let (folder, index) = create(options());
    index.loader().memory(memory).load(rows(0)).unwrap();
    drop(index);
    let expected = values(&folder.path().join("vectors"));

    let (folder, index) = create(options());
    let path = index.path().to_owned();
    drop(index);
    let run = |how: &str, until: &str| {
        let told = [path.to_str().unwrap(), &memory.to_string(), how];
        let mut child = Running::start(LOADS, &told);
        while let Some(heard) = child.hear() {
            if heard == until {
                break;
            }
        }
        child.kill();
    };
    // What was read is lost, what was committed is not.
    run("load", "Ordering 0");
    run("load", "Linking 0");
    run("resume", "Writing 0");
    run("load", "Linking 2");
    run("resume", "Writing 3");
    run("resume", "Linking 1");
    let index = Vectors::open(&path, Options::default().memory(memory)).unwrap();
    let left = index.pending_at_open();
    assert!((1..u64::from(ITEMS)).contains(&left), "{left} are left");
    check(&index);
    assert_eq!(index.resume().unwrap(), left);
    check(&index);
    drop(index);
    assert!(values(&path) == expected, "the bytes differ");
    drop(folder);
}

/// Kills a load in its rounds, at moments spread over two of them. No kill loses more than the
/// round that it interrupts, and the index has the bytes of one whose load was not interrupted.
/// Takes half a minute.
#[test]
#[ignore = "a soak: cargo test --release --test index soak_of_killed_rounds -- --ignored"]
fn soak_of_killed_rounds() {
    const KILLS: u64 = 50;
    let memory = least_for(many());
    let rounds = AtomicU64::new(0);
    let count = |progress: LoadProgress| {
        rounds.fetch_max(progress.rounds_done, Ordering::Relaxed);
    };
    let (folder, index) = create(options());
    index.loader().memory(memory).progress(count).load(many()).unwrap();
    drop(index);
    let (needed, expected) =
        (rounds.swap(0, Ordering::Relaxed), values(&folder.path().join("vectors")));

    let (_folder, index) = create(options());
    let path = index.path().to_owned();
    drop(index);
    let mut done = 0;
    for kill in 0..KILLS {
        let how = if kill % 5 == 0 { "load many" } else { "resume" };
        let told = [path.to_str().unwrap(), &memory.to_string(), how];
        let mut child = Running::start(LOADS, &told);
        let mut now = 0;
        while let Some(heard) = child.hear() {
            assert_ne!(heard, "done", "{kill} kills");
            let (phase, rounds) = heard.split_once(' ').unwrap();
            now = rounds.parse().unwrap();
            if now == kill % 2 && phase == "Linking" {
                break;
            }
        }
        std::thread::sleep(std::time::Duration::from_micros(2_000 * kill));
        child.kill();
        done += now;
        let index = Vectors::open(&path, Options::default().memory(memory)).unwrap();
        assert!(index.pending_at_open() > 0, "{kill} kills");
        check(&index);
    }
    let index = Vectors::open(&path, Options::default().memory(memory)).unwrap();
    index.loader().memory(memory).progress(count).resume().unwrap();
    check(&index);
    drop(index);
    done += rounds.into_inner();
    println!("{KILLS} kills, {needed} rounds, {done} of them heard of");
    assert!(needed > KILLS && done <= needed && needed <= done + KILLS);
    assert!(values(&path) == expected, "the bytes differ");
}

#[test]
fn keys_codes_and_repeated_rows_are_loaded_within_a_budget() {
    // Strings of several lengths; each tenth row comes a second time, with another vector.
    let (folder, rows) = (tempfile::tempdir().unwrap(), || {
        let name = |item: u32| format!("{item:0width$}", width = 1 + item as usize % 7);
        let again = (0..ITEMS).step_by(10).map(move |item| (name(item), row(item, 5)));
        (0..ITEMS).map(move |item| (name(item), row(item, 0))).chain(again)
    });
    let options = options().codes(Codes::Bits4);
    let path = folder.path().join("vectors");
    let index = Index::<Euclidean, str>::create(&path, options).unwrap();
    let least = match index.loader().memory(1).load(rows()) {
        Err(Error::MemoryBudget { least, .. }) => least,
        other => panic!("{other:?}"),
    };
    let rounds = AtomicU64::new(0);
    let loader = index.loader().memory(least).progress(|progress| {
        rounds.fetch_max(progress.rounds_done, Ordering::Relaxed);
    });
    loader.load(rows()).unwrap();
    drop(loader);
    assert!(rounds.into_inner() > 2);
    let verify = || {
        assert!(index.check().unwrap().is_empty());
        let stats = index.stats().unwrap();
        assert_eq!((stats.items, stats.pending), (u64::from(ITEMS), 0));
        assert_eq!(stats.codes.unwrap().codes, Codes::Bits4);
        let snapshot = index.snapshot().unwrap();
        assert_eq!(snapshot.vector("0000020").unwrap().unwrap(), row(20, 5), "the last one counts");
        assert_eq!(snapshot.vector("21").unwrap().unwrap(), row(21, 0));
        snapshot.commit()
    };
    let commit = verify();
    index.loader().memory(least).load(rows()).unwrap();
    assert_eq!(verify(), commit, "nothing has changed");
    // In batches, as they are read: the same items.
    index.write(|batch| batch.clear()).unwrap();
    index.loader().memory(least).commit_every(700).load(rows()).unwrap();
    verify();
}
