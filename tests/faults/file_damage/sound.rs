//! No false alarms: files that LMDB has written are found sound, whatever has happened to their
//! writers.

#![allow(deprecated, reason = "the flags themselves are what the file has")]

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use voisin::distances::Euclidean;
use voisin::heed::types::Bytes;
use voisin::heed::{
    CommitOrAbort, Database, DatabaseFlags, EnvFlags, EnvOpenOptions, RwTxn, WithoutTls,
};
use voisin::{Codes, Index, ItemId, Options, verify_file};

use super::{LENGTH, Vectors, create, vector};
use crate::child::{Running, tell, told};

type Env = voisin::heed::Env<WithoutTls>;

/// That nothing is found in a file. Returns its report.
#[track_caller]
pub(super) fn is_sound(path: &Path) -> voisin::FileReport {
    let report = verify_file(path).unwrap();
    assert!(report.findings.is_empty() && report.is_safe_to_open(), "{report:#?}");
    report
}

/// As [`is_sound`], with what LMDB itself counts in an environment.
#[track_caller]
fn is_as_told(path: &Path, env: &Env) {
    let report = is_sound(path);
    let info = env.info();
    assert_eq!(
        (report.pages, report.commit),
        (info.last_page_number as u64 + 1, info.last_txn_id as u64)
    );
    let told = voisin::Environment::read(env, &env.read_txn().unwrap()).unwrap();
    assert_eq!(told.free_pages, Some(report.free_pages));
}

fn open(path: &Path, flags: EnvFlags) -> Env {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    // SAFETY: the test alone uses the file, and no power is cut.
    unsafe { options.max_dbs(64).map_size(256 << 20).flags(flags).open(path).unwrap() }
}

type Raw = Database<'static, Bytes, Bytes>;

fn database(env: &Env, name: Option<&str>, flags: DatabaseFlags) -> Raw {
    let created = env.create_databases_and_commit(env.write_txn().unwrap(), |opener, wtxn| {
        let mut options = opener.database_options().types::<Bytes, Bytes>();
        name.into_iter().for_each(|name| _ = options.name(name));
        options.flags(flags).create(wtxn).map(CommitOrAbort::<_, ()>::Commit)
    });
    created.unwrap().unwrap_commit()
}

/// What a program may do with its databases, besides those of voisin.
struct Model {
    databases: Vec<(Raw, DatabaseFlags)>,
    random: StdRng,
}

impl Model {
    fn new(env: &Env, seed: u64) -> Self {
        let (duplicates, fixed) =
            (DatabaseFlags::DUP_SORT, DatabaseFlags::DUP_SORT | DatabaseFlags::DUP_FIXED);
        let flags = [
            DatabaseFlags::empty(),
            DatabaseFlags::REVERSE_KEY,
            DatabaseFlags::INTEGER_KEY,
            duplicates,
            duplicates | DatabaseFlags::REVERSE_DUP,
            duplicates | DatabaseFlags::INTEGER_KEY,
            fixed,
            fixed | DatabaseFlags::INTEGER_DUP,
        ];
        let open =
            |(number, flags)| (database(env, Some(&format!("{number} {flags:?}")), flags), flags);
        Self {
            databases: flags.into_iter().enumerate().map(open).collect(),
            random: StdRng::seed_from_u64(seed),
        }
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.random.random()).collect()
    }

    /// Few enough keys that they are met again, most of them alike.
    fn key(&mut self, flags: DatabaseFlags) -> Vec<u8> {
        let number = self.random.random_range(0..400u32);
        if flags.contains(DatabaseFlags::INTEGER_KEY) {
            return (number as u64 * 77).to_ne_bytes().to_vec();
        }
        let mut key = number.to_be_bytes().to_vec();
        key.resize([4, 5, 60, 500][number as usize % 4], 7);
        key
    }

    fn value(&mut self, flags: DatabaseFlags) -> Vec<u8> {
        if flags.contains(DatabaseFlags::INTEGER_DUP) {
            return self.random.random_range(0..3000u64).to_ne_bytes().to_vec();
        }
        if flags.contains(DatabaseFlags::DUP_FIXED) {
            return self.bytes(1);
        }
        let longest = if flags.contains(DatabaseFlags::DUP_SORT) {
            500
        } else {
            [10, 300, 2500, 40_000][self.random.random_range(0..4)]
        };
        let length = self.random.random_range(1..=longest);
        self.bytes(length)
    }

    fn change(&mut self, wtxn: &mut RwTxn<'_>) {
        let (database, flags) = self.databases[self.random.random_range(0..self.databases.len())];
        let key = self.key(flags);
        match self.random.random_range(0..1000) {
            0..=1 => database.clear(wtxn).unwrap(),
            2..=250 => _ = database.delete(wtxn, &key).unwrap(),
            251..=280 => {
                let end = self.key(flags);
                if !flags.contains(DatabaseFlags::INTEGER_KEY) && key < end {
                    _ = database
                        .delete_range(wtxn, &(Bound::Included(&key[..]), Bound::Excluded(&end[..])))
                        .unwrap();
                }
            }
            281..=400 if flags.contains(DatabaseFlags::DUP_SORT) => {
                let value = database.get(wtxn, &key).unwrap().map(<[u8]>::to_vec);
                value.into_iter().for_each(|value| {
                    _ = database.delete_one_duplicate(wtxn, &key, &value).unwrap()
                });
            }
            // Many values of one key: a page within its node, then a tree.
            401..=460 if flags.contains(DatabaseFlags::DUP_SORT) => {
                for _ in 0..self.random.random_range(1..300) {
                    let value = self.value(flags);
                    database.put(wtxn, &key, &value).unwrap();
                }
            }
            _ => {
                let value = self.value(flags);
                database.put(wtxn, &key, &value).unwrap();
            }
        }
    }
}

#[test]
fn what_any_program_has_done_with_any_kind_of_database_is_found_sound() {
    for (seed, flags) in [
        (1, EnvFlags::NO_SYNC),
        (2, EnvFlags::NO_SYNC),
        (3, EnvFlags::NO_SYNC | EnvFlags::WRITE_MAP),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let env = open(folder.path(), flags);
        is_as_told(folder.path(), &env);
        let mut model = Model::new(&env, seed);
        let mut readers = Vec::new();
        for round in 0..150 {
            let mut wtxn = env.write_txn().unwrap();
            for _ in 0..model.random.random_range(1..[3, 40, 400][round % 3]) {
                model.change(&mut wtxn);
            }
            // Most are committed.
            if model.random.random_bool(0.85) {
                wtxn.commit().unwrap()
            } else {
                wtxn.abort()
            }
            is_as_told(folder.path(), &env);
            // A reader that is held for some commits, so that pages wait in the free list.
            readers.push(env.clone().static_read_txn().unwrap());
            if model.random.random_bool(0.2) {
                readers.clear();
            }
        }
        let rtxn = env.read_txn().unwrap();
        let (mut depth, mut overflow) = (0, 0);
        for (database, _) in &model.databases {
            let stat = database.stat(&rtxn).unwrap();
            (depth, overflow) = (depth.max(stat.depth), overflow + stat.overflow_pages);
        }
        assert!(
            depth >= 3 && overflow > 20,
            "seed {seed}: {depth} levels, {overflow} overflow pages"
        );
        // A copy, too, compacted and as it is.
        for option in
            [voisin::heed::CompactionOption::Enabled, voisin::heed::CompactionOption::Disabled]
        {
            let copy = folder.path().join(format!("{option:?}"));
            drop(env.copy_to_path(&copy, option).unwrap());
            is_sound(&copy);
        }
        let copied = voisin::copy_to(&env, folder.path().join("copy")).unwrap();
        assert_eq!(copied, is_sound(&folder.path().join("copy")).pages * 4096);
    }
}

#[test]
fn a_free_list_that_is_larger_than_a_page_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let env = open(folder.path(), EnvFlags::NO_SYNC);
    let database = database(&env, None, DatabaseFlags::empty());
    for round in 0..12u32 {
        let mut wtxn = env.write_txn().unwrap();
        for item in 0..40u32 {
            let key = (item + round * 20).to_be_bytes();
            database.put(&mut wtxn, &key, &vec![round as u8; 200_000]).unwrap();
            if round > 0 {
                database.delete(&mut wtxn, &(item + (round - 1) * 20).to_be_bytes()).unwrap();
            }
        }
        wtxn.commit().unwrap();
        is_as_told(folder.path(), &env);
    }
    // More of them than the 511 numbers that a page has room for.
    assert!(is_sound(folder.path()).free_pages > 1000);
}

#[test]
fn a_file_that_ends_before_its_last_page_is_sound_if_what_is_missing_is_free() {
    // Pages that are asked for and given back in one transaction are never written: LMDB's file is
    // shorter than it says, and whoever compares the two numbers alone refuses a sound file.
    let folder = tempfile::tempdir().unwrap();
    let index = Vectors::create(folder.path(), Options::new(2)).unwrap();
    index.write(|batch| batch.add_items(&[1, 2], &[0.0, 0.0, 3.0, 0.0])).unwrap();
    drop(index);
    let env = open(folder.path(), EnvFlags::empty());
    let database = database(&env, Some("other"), DatabaseFlags::empty());
    let put = |wtxn: &mut RwTxn<'_>, key: u8, bytes| {
        database.put(wtxn, &[key], &vec![key; bytes]).unwrap()
    };
    for round in 0..3 {
        // Some free pages, for a list of them in memory.
        let mut wtxn = env.write_txn().unwrap();
        put(&mut wtxn, 1, 20_000 + round);
        wtxn.commit().unwrap();
    }
    let mut wtxn = env.write_txn().unwrap();
    put(&mut wtxn, 2, 50_000);
    database.delete(&mut wtxn, &[2]).unwrap();
    put(&mut wtxn, 3, 10);
    wtxn.commit().unwrap();
    let report = is_sound(folder.path());
    let length = std::fs::metadata(folder.path().join("data.mdb")).unwrap().len();
    assert!(length < report.pages * report.page_bytes, "{length} of {report:?}");
    env.prepare_for_closing().wait();
    let index = Vectors::open(folder.path(), Options::default()).unwrap();
    assert!(index.check().unwrap().is_empty());
    drop(index);
    // It can be shortened as long as what is cut off is free, and no further.
    let file =
        std::fs::OpenOptions::new().write(true).open(folder.path().join("data.mdb")).unwrap();
    let mut refused = 0;
    for pages in (1..length / report.page_bytes).rev() {
        file.set_len(pages * report.page_bytes).unwrap();
        let is_safe = verify_file(folder.path()).unwrap().is_safe_to_open();
        match Vectors::open(folder.path(), Options::default()) {
            Ok(index) => assert!(is_safe && index.check().unwrap().is_empty()),
            Err(error) => {
                assert!(!is_safe && matches!(error, voisin::Error::Truncated { .. }), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 3);
}

#[test]
fn every_kind_of_change_of_an_index_leaves_a_sound_file() {
    let (_folder, index) = create::<Euclidean>(Options::new(LENGTH).codes(Codes::Bits8));
    let path = index.path().to_owned();
    let sound = || is_sound(&path);
    sound();
    index.load((0..3000).map(|item| (item, vector(item, 0))), |_| {}).unwrap();
    sound();
    let held = index.snapshot().unwrap();
    for round in 1..6 {
        index
            .write(|batch| {
                batch.add_items_from(
                    (0..200).map(|item| (item * round as ItemId, vector(item, round))),
                )
            })
            .unwrap();
        sound();
        index
            .write(|batch| batch.delete_items((500..900).map(|item| item * round as ItemId)))
            .unwrap();
        sound();
    }
    drop(held);
    index.optimize().unwrap();
    sound();
    // Dozens of others beside it.
    for number in 0..40 {
        let other =
            Index::<Euclidean, str>::create(&path, Options::new(2).name(format!("index {number}")))
                .unwrap();
        other.write(|batch| batch.add("a key", &[1.0, number as f32])).unwrap();
    }
    sound();
    for number in 0..20 {
        voisin::remove_index(&path, Options::default().name(format!("index {number}"))).unwrap();
    }
    sound();
    index.write(|batch| batch.clear()).unwrap();
    assert!(sound().free_pages > 50);
    let copy = path.with_extension("copy");
    let bytes = index.copy_to(&copy).unwrap();
    let report = is_sound(&copy);
    assert_eq!((report.pages * report.page_bytes, report.free_pages), (bytes, 0));
}

/// The child: writes until it is killed.
#[test]
fn writer() {
    let Some(told) = told() else { return };
    let index = Vectors::open(&told[0], Options::default()).unwrap();
    tell("open");
    for round in 1.. {
        let first = round as ItemId * 37 % 3000;
        index
            .write(|batch| {
                batch.add_items_from((first..first + 150).map(|item| (item, vector(item, round))))
            })
            .unwrap();
        index.write(|batch| batch.delete_items(first + 20..first + 60)).unwrap();
        if round % 7 == 0 {
            index.optimize().unwrap();
        }
        tell("written");
    }
}

#[test]
fn a_file_whose_writer_was_killed_is_sound() {
    let (_folder, index) = create::<Euclidean>(Options::new(LENGTH).m(6).ef_construction(16));
    let path = index.path().to_owned();
    drop(index);
    let mut lengths = BTreeMap::new();
    for round in 0..12 {
        let mut child = Running::start("file_damage::sound::writer", &[path.to_str().unwrap()]);
        child.expect("open");
        // By what it has done and not by the clock: a busy machine may let it do little.
        (0..=round % 4).for_each(|_| child.expect("written"));
        std::thread::sleep(std::time::Duration::from_millis(round * 3));
        child.kill();
        let report = is_sound(&path);
        lengths.insert(report.commit, report.pages);
    }
    assert_eq!(lengths.len(), 12, "{lengths:?}");
    assert!(Vectors::open(&path, Options::default()).unwrap().check().unwrap().is_empty());
}

#[test]
fn an_index_that_is_being_written_is_checked_and_copied_at_any_time() {
    // The meta page of a commit is written over by the commit after the next, while it is being
    // looked for.
    let (folder, index) = create::<Euclidean>(Options::new(LENGTH).m(6).ef_construction(16));
    let writing = std::sync::atomic::AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0.. {
                if !writing.load(std::sync::atomic::Ordering::Relaxed) {
                    return;
                }
                index
                    .write(|batch| {
                        batch.add(round as ItemId % 200, &vector(round as ItemId, round))
                    })
                    .unwrap();
            }
        });
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for round in 0..60 {
                let findings = index.check().unwrap();
                assert!(findings.is_empty(), "{findings:?}");
                if round % 10 == 0 {
                    index.copy_to(folder.path().join(format!("copy {round}"))).unwrap();
                }
            }
        }));
        writing.store(false, std::sync::atomic::Ordering::Relaxed);
        checked.unwrap();
    });
}
