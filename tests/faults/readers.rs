//! The reader table: all indexes of a folder share one read transaction, so that idle indexes do
//! not fill the table; and a transaction that LMDB refuses is no longer shared.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use voisin::distances::Euclidean;
use voisin::heed::MdbError;
use voisin::{Error, Index, Options, heed};

use crate::child::{Running, tell, told};

type Vectors = Index<Euclidean>;

/// Every which of a thousand tenants has an item.
const FILLED: u32 = 20;

fn options(name: &str) -> Options {
    Options::new(2).m(2).name(name)
}

fn folder() -> (TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vectors");
    (folder, path)
}

fn tenants(path: &Path, count: u32, options: impl Fn(&str) -> Options) -> Vec<Vectors> {
    let tenants = (0..count).map(|tenant| {
        let index = Vectors::create(path, options(&format!("tenant {tenant}"))).unwrap();
        index.write(|batch| batch.add(tenant, &[tenant as f32, 1.0])).unwrap();
        index
    });
    tenants.collect()
}

/// A search of what has an item, or of what has none.
fn search_some(tenants: &[Vectors]) {
    for (index, tenant) in tenants.iter().zip(0..) {
        if tenant % FILLED == 0 {
            search(index, tenant);
        } else {
            assert!(index.search(1).by_vector(&[0.0, 1.0]).unwrap().into_nns().is_empty());
        }
    }
}

fn search(index: &Vectors, tenant: u32) {
    let found = index.search(1).by_vector(&[tenant as f32, 1.0]);
    assert_eq!(found.unwrap().into_nns(), [(tenant, 0.0)], "tenant {tenant}");
}

/// Entries of the reader table that are in use or have been.
fn readers(index: &Vectors) -> u32 {
    index.stats().unwrap().environment.readers
}

/// A service opened an index a tenant, and searched each now and then. Every handle kept a
/// transaction of its own, until the table of readers was full, though nobody held a snapshot.
#[test]
fn a_thousand_named_indexes_are_searched_in_turn_through_a_few_readers() {
    const TENANTS: u32 = 1000;
    let (_folder, path) = folder();
    let create = |tenant| Vectors::create(&path, options(&format!("tenant {tenant}"))).unwrap();
    let tenants: Vec<_> = (0..TENANTS).map(create).collect();
    // Each write waits for the disk.
    for tenant in (0..TENANTS).step_by(FILLED as usize) {
        tenants[tenant as usize].write(|batch| batch.add(tenant, &[tenant as f32, 1.0])).unwrap();
    }
    let search_all = |tenants: &[Vectors]| {
        search_some(tenants);
        tenants[0].write(|batch| batch.add(0, &[0.0, 1.0])).unwrap();
        search_some(tenants);
    };
    search_all(&tenants);
    assert!(readers(&tenants[0]) <= 3, "{}", readers(&tenants[0]));
    drop(tenants);
    // A lock file that is there keeps its length.
    fs::remove_file(path.join("lock.mdb")).unwrap();
    // The smaller table, of which opening a thousand handles must not take an entry each, either.
    let open = |tenant| Vectors::open(&path, options(&format!("tenant {tenant}")).max_readers(64));
    let tenants: Vec<_> = (0..TENANTS).map(|tenant| open(tenant).unwrap()).collect();
    search_all(&tenants);
    assert_eq!(tenants[0].stats().unwrap().environment.max_readers, 64);
    assert!(readers(&tenants[0]) <= 3, "{}", readers(&tenants[0]));
}

/// The child: changes an index until it is killed.
#[test]
fn changer() {
    let Some(told) = told() else { return };
    let index = Vectors::open(&told[0], options("tenant 0")).unwrap();
    for round in 0.. {
        index.write(|batch| batch.add(9999, &[round as f32, 9.0])).unwrap();
        if round == 0 {
            tell("changes");
        }
    }
}

/// As above, while another process commits: each search sees a newer commit than the one before,
/// and what the idle indexes saw last must not stay open, a commit each.
#[test]
fn idle_indexes_do_not_keep_old_commits_while_another_process_writes() {
    let (_folder, path) = folder();
    let tenants = tenants(&path, 40, |name| options(name).max_readers(16));
    let mut child = Running::start("readers::changer", &[path.to_str().unwrap()]);
    child.expect("changes");
    let first = tenants[1].snapshot().unwrap().commit();
    let (began, mut last) = (Instant::now(), 0);
    while last < first + 20 {
        assert!(began.elapsed() < Duration::from_secs(60), "the child commits nothing");
        for (index, tenant) in tenants.iter().zip(0..) {
            search(index, tenant);
            std::thread::sleep(Duration::from_millis(1));
        }
        last = tenants[1].snapshot().unwrap().commit();
    }
    child.kill();
    assert!(readers(&tenants[0]) <= 4, "{}", readers(&tenants[0]));
}

/// The child: opens an index, searches it, and ends.
#[test]
fn searcher() {
    let Some(told) = told() else { return };
    let tenant: u32 = told[1].parse().unwrap();
    search(&Vectors::open(&told[0], options(&format!("tenant {tenant}"))).unwrap(), tenant);
    tell("found");
}

/// 64 readers, 65 named indexes, one search each; then `stats`, and `open` in other processes, said
/// that the table of readers was full. As did the 65th handle on one index.
#[test]
fn more_handles_than_readers_leave_room_for_other_processes() {
    let (_folder, path) = folder();
    let tenants = tenants(&path, 65, |name| options(name).max_readers(64));
    for (index, tenant) in tenants.iter().zip(0..) {
        search(index, tenant);
    }
    let mut child = Running::start("readers::searcher", &[path.to_str().unwrap(), "64"]);
    child.expect("found");
    assert!(child.end().success());
    let handles = (0..70).map(|_| Vectors::open(&path, options("tenant 7")).unwrap());
    let handles: Vec<_> = handles.inspect(|index| search(index, 7)).collect();
    assert!(tenants[3].stats().is_ok() && tenants[3].check().unwrap().is_empty());
    assert_eq!(handles[69].names().unwrap().len(), 65);
    assert_eq!(handles[0].held_snapshots().unwrap().0, 0);
    assert!(readers(&tenants[0]) <= 4, "{}", readers(&tenants[0]));
}

/// The child: holds two entries of the reader table until it is killed.
#[test]
fn holder() {
    let Some(told) = told() else { return };
    let index = Vectors::open(&told[0], options("tenant 0")).unwrap();
    let first = index.snapshot().unwrap();
    index.write(|batch| batch.add(0, &[0.0, 1.0])).unwrap();
    let second = index.snapshot().unwrap();
    assert!(first.commit() < second.commit());
    tell("holds");
    loop {
        std::thread::park();
    }
}

fn hold(path: &Path) -> Running {
    let mut child = Running::start("readers::holder", &[path.to_str().unwrap()]);
    child.expect("holds");
    child
}

/// All readers were other processes': `write` and `load` worked, while `link`, and loads by parts
/// once all was stored, said that the table was full.
#[test]
fn what_only_writes_needs_no_entry_of_the_reader_table() {
    let (_folder, path) = folder();
    let index = Vectors::create(&path, options("tenant 0").max_readers(2)).unwrap();
    index.write(|batch| batch.add(0, &[0.0, 1.0])).unwrap();
    let child = hold(&path);
    let is_full = |result: Result<(), Error>| {
        assert!(matches!(result, Err(Error::ReadersFull { max: 2, .. })), "{result:?}")
    };
    is_full(index.snapshot().map(drop));
    index
        .write(|batch| {
            batch.link_later();
            batch.add(1, &[1.0, 1.0])
        })
        .unwrap();
    index.link().unwrap();
    let rows = (2..300).map(|item| (item, [item as f32, 1.0]));
    assert_eq!(index.loader().commit_every(100).load(rows).unwrap(), 298);
    // A new index is created, or not: never is it there after an error that says otherwise.
    let other = Vectors::open_or_create(&path, options("other")).unwrap();
    other.write(|batch| batch.add(5, &[5.0, 1.0])).unwrap();
    assert!(Vectors::open_or_create(&path, options("other")).is_ok());
    assert!(matches!(Vectors::create(&path, options("other")), Err(Error::NameTaken { .. })));
    is_full(other.search(1).by_vector(&[5.0, 1.0]).map(drop));
    is_full(other.stats().map(drop));
    child.kill();
    search(&other, 5);
    assert_eq!(index.stats().unwrap().pending, 0);
    assert!(index.check().unwrap().is_empty());
}

/// One entry was left, and the snapshot that searches share had it: whatever else needed one
/// failed.
#[test]
fn an_idle_snapshot_makes_room_for_what_needs_an_entry() {
    let (folder, path) = folder();
    let index = Vectors::create(&path, options("tenant 0").max_readers(3)).unwrap();
    index.write(|batch| batch.add(0, &[0.0, 1.0])).unwrap();
    let child = hold(&path);
    search(&index, 0);
    assert_eq!(index.stats().unwrap().items, 1);
    search(&index, 0);
    assert!(index.check().unwrap().is_empty());
    search(&index, 0);
    assert_eq!(index.names().unwrap(), ["tenant 0"]);
    assert!(Vectors::open(&path, options("tenant 0")).is_ok());
    // LMDB copies in a transaction of its own beside ours.
    let copied = index.copy_to(folder.path().join("copy"));
    assert!(matches!(copied, Err(Error::ReadersFull { max: 3, .. })), "{copied:?}");
    search(&index, 0);
    child.kill();
    index.copy_to(folder.path().join("copy")).unwrap();
}

/// Ends a thread also where the test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Has the branches of LMDB's trees that lead to keys with `part` in them lead beyond the file.
fn damage_branches(path: &Path, part: &[u8]) -> usize {
    const PAGE: usize = 4096;
    let path = path.join("data.mdb");
    let mut bytes = fs::read(&path).unwrap();
    let mut damaged = 0;
    for page in bytes.chunks_exact_mut(PAGE).skip(2) {
        let u16_at =
            |page: &[u8], at: usize| usize::from(u16::from_le_bytes([page[at], page[at + 1]]));
        let (is_branch, lower) = (u16_at(page, 10) == 1, u16_at(page, 12));
        if !is_branch || !(16..PAGE).contains(&lower) {
            continue;
        }
        for node in (16..lower).step_by(2).map(|at| u16_at(page, at)).collect::<Vec<_>>() {
            let bytes = if node + 8 <= PAGE { u16_at(page, node + 6) } else { PAGE };
            let key = page.get(node + 8..node + 8 + bytes).unwrap_or_default();
            if key.windows(part.len()).any(|window| window == part) {
                // The number of the page it leads to.
                page[node..node + 6].copy_from_slice(&[0xFF, 0xFF, 0xFF, 0x7F, 0, 0]);
                damaged += 1;
            }
        }
    }
    // In place: it may be mapped.
    fs::OpenOptions::new().write(true).open(&path).unwrap().write_all(&bytes).unwrap();
    damaged
}

/// LMDB refuses a transaction in which it has met damage. Searches shared it, and all said
/// `MDB_BAD_TXN` from then on, of sound data, too, until somebody committed.
#[test]
fn an_error_of_lmdb_is_of_one_search_and_of_none_that_shares_its_snapshot() {
    let (_folder, path) = folder();
    let keyed = Index::<Euclidean, str>::create(&path, options("keyed")).unwrap();
    // Long, so that their blocks fill many pages.
    let name = |item: u32| {
        let digits = format!("{:016x}", u64::from(item).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        format!("item {item:04} {}", digits.repeat(12))
    };
    keyed.load((0..3000).map(|item| (name(item), [item as f32, 1.0])), |_| {}).unwrap();
    drop(keyed);
    let sound = tenants(&path, 1, |_| options("sound")).remove(0);
    sound
        .write(|batch| batch.add_items_from((0..500).map(|item| (item, [item as f32, 1.0]))))
        .unwrap();
    drop(sound);

    let keyed = Index::<Euclidean, str>::open(&path, Options::default().name("keyed")).unwrap();
    let sound = Vectors::open(&path, Options::default().name("sound")).unwrap();
    // The first write after an open walks over the pages. Later damage is met on the way.
    sound.write(|batch| batch.add(0, &[0.0, 1.0])).unwrap();
    assert!(damage_branches(&path, b"item 1") > 0);
    // Nothing of it is looked up before the first error.
    let held = sound.snapshot().unwrap();
    let is_error = |result: Result<bool, Error>| {
        // The cause, and never what LMDB says of a transaction that is of no use any more.
        let is_cause = matches!(
            &result,
            Err(Error::Heed(heed::Error::Mdb(error))) if *error != MdbError::BadTxn,
        );
        assert!(is_cause, "{result:?}");
    };
    let damaged = |index: &Index<Euclidean, str>| {
        index.search(1).by_item(name(1500).as_str()).map(|found| found.is_some())
    };
    for round in 0..3 {
        is_error(damaged(&keyed));
        search(&sound, round);
        assert!(
            held.search(1)
                .by_vector(&[round as f32, 1.0])
                .is_ok_and(|found| found.into_nns() == [(round, 0.0)])
        );
        is_error(damaged(&keyed));
        assert_eq!(keyed.search(1).by_item(name(2999).as_str()).unwrap().unwrap().nns.len(), 1);
        let snapshot = keyed.snapshot().unwrap();
        is_error(snapshot.contains(name(1500).as_str()));
        assert!(snapshot.contains(name(42).as_str()).unwrap());
        assert!(snapshot.keys().unwrap().any(|key| key.is_err()), "the damage is beyond the keys");
        assert!(held.ids().unwrap().len() == 500 && held.vector(7).unwrap().is_some());
    }
    // Of a commit that is not the newest there cannot be another transaction: it says the cause.
    let old = keyed.snapshot().unwrap();
    sound.write(|batch| batch.add(500, &[500.0, 1.0])).unwrap();
    for _ in 0..2 {
        is_error(old.contains(name(1500).as_str()));
        search(&sound, 499);
    }

    // At once, and with commits in between.
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = End(&done);
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                is_error(damaged(&keyed));
            }
        });
        for round in 0..200 {
            if round % 20 == 0 {
                sound.write(|batch| batch.add(600 + round, &[600.0, 1.0 + round as f32])).unwrap();
            }
            search(&sound, round);
        }
    });
}
