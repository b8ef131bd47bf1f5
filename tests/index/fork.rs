//! A forked child can do no harm with inherited handles: using one is an error, and dropping it
//! leaves the parent's snapshots intact.
//!
//! Each test runs in a process of its own, whose children end by `_exit`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use voisin::distances::Euclidean;
use voisin::heed::{EnvOpenOptions, RoTxn, WithoutTls};
use voisin::{Environment, Error, Options, Snapshot};

use crate::child::{Running, limit_time, tell, told};
use crate::{DIMENSIONS, Vectors, add, check, vector};

/// Runs `work` in a forked child, and returns whether it went through.
fn in_fork(work: impl FnOnce()) -> bool {
    // SAFETY: the child has one thread, this one. What it needs of other threads is nothing: no
    // lock is held by them, and the allocator's are taken over by the C library.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        limit_time();
        let failed = catch_unwind(AssertUnwindSafe(work)).is_err();
        // SAFETY: ends the process, without what the parent has left to do at its end.
        unsafe { libc::_exit(failed.into()) };
    }
    let mut status = 0;
    // SAFETY: the child is ours, and nobody else waits for it.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
}

fn is_forked<T>(result: voisin::Result<T>) {
    let here = std::process::id();
    assert!(matches!(
        result,
        Err(Error::Forked { opened, here: found }) if found == here && opened != here,
    ));
}

/// That every way to use an inherited handle is an error.
fn use_in_child(index: &Vectors, snapshot: &Snapshot<Euclidean>) {
    let query = [0.0; DIMENSIONS];
    is_forked(index.search(1).by_vector(&query));
    is_forked(index.search(1).by_item(1));
    is_forked(index.snapshot());
    is_forked(index.write(|_| Ok(())));
    is_forked(index.optimize());
    is_forked(index.load([(1, query)], |_| {}));
    is_forked(index.stats());
    is_forked(index.check());
    is_forked(index.names());
    is_forked(index.copy_to("nowhere"));
    is_forked(index.clear_stale_readers());
    is_forked(index.held_snapshots());
    is_forked(index.release());
    is_forked(snapshot.search(1).by_vector(&query));
    is_forked(snapshot.search(1).by_item(1));
    is_forked(snapshot.vector(1));
    is_forked(snapshot.contains(1));
    is_forked(snapshot.ids());
    is_forked(snapshot.iter().map(drop));
    is_forked(snapshot.warm(1));
    is_forked(Vectors::open(index.path(), Options::default()));
    is_forked(Vectors::create(index.path(), Options::new(DIMENSIONS).name("other")));
}

/// The process of its own.
#[test]
fn parent() {
    let Some(told) = told() else { return };
    let folder = std::path::Path::new(&told[1]);
    match &*told[0] {
        "handles" => handles(folder),
        "write" => write(folder),
        "naive" => naive(folder),
        other => panic!("{other}"),
    }
    tell("done");
}

fn handles(folder: &std::path::Path) {
    let index = Vectors::create(folder.join("vectors"), Options::new(DIMENSIONS)).unwrap();
    add(&index, 0..500, 0).unwrap();
    let mut inherited = Some((index.snapshot().unwrap(), index));
    assert!(in_fork(|| {
        let (snapshot, index) = inherited.take().unwrap();
        use_in_child(&index, &snapshot);
        // The last handles.
        drop((snapshot, index));
        is_forked(Vectors::create(folder.join("own"), Options::new(DIMENSIONS)));
    }));
    let (held, index) = inherited.unwrap();
    assert_eq!(
        index.stats().unwrap().environment.oldest_reader.unwrap().process,
        std::process::id()
    );
    // Pages that nobody reads would be used again now.
    for round in 1..40 {
        add(&index, 0..500, round).unwrap();
    }
    let oldest = index.stats().unwrap().environment.oldest_reader.unwrap();
    assert_eq!(
        (oldest.process, oldest.commits_behind),
        (std::process::id(), 39),
        "the snapshot is still in the table"
    );
    for entry in held.iter().unwrap() {
        let (item, found) = entry.unwrap();
        assert_eq!(found, vector(item, 0));
    }
    check(&index);
}

fn write(folder: &std::path::Path) {
    let index = Vectors::create(folder.join("vectors"), Options::new(DIMENSIONS)).unwrap();
    index
        .write(|batch| {
            batch.add(1, &vector(1, 1))?;
            // SAFETY: as in `in_fork`.
            let child = unsafe { libc::fork() };
            if child == 0 {
                is_forked(batch.add(2, &vector(2, 1)));
                is_forked(batch.len());
                is_forked(batch.search(1).by_vector(&vector(1, 1)));
                return Ok(0);
            }
            Ok(child)
        })
        .map_or_else(
            |error| {
                // The child: what it inherited of the transaction was not committed.
                let is_right = matches!(error, Error::Forked { .. });
                // SAFETY: ends the process.
                unsafe { libc::_exit(i32::from(!is_right)) }
            },
            |child| {
                let mut status = 0;
                // SAFETY: the child is ours.
                assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
                assert_eq!(status, 0);
            },
        );
    assert!(index.snapshot().unwrap().ids().unwrap().iter().eq([1]));
    add(&index, 5..6, 1).unwrap();
    check(&index);
}

/// What would happen without: LMDB's own transaction, dropped in a child.
fn naive(folder: &std::path::Path) {
    // SAFETY: nobody else has it open.
    let env = unsafe { EnvOpenOptions::new().read_txn_without_tls().open(folder) }.unwrap();
    let oldest =
        |rtxn: &RoTxn<'_, WithoutTls>| Environment::read(&env, rtxn).unwrap().oldest_reader;
    let mut held = Some(env.read_txn().unwrap());
    assert_eq!(oldest(held.as_ref().unwrap()).unwrap().process, std::process::id());
    assert!(in_fork(|| drop(held.take())));
    assert_eq!(oldest(held.as_ref().unwrap()), None, "the child has freed the entry of its parent");
    // Not dropped again.
    std::mem::forget(held);
}

#[track_caller]
fn run(what: &str) {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Running::start("fork::parent", &[what, folder.path().to_str().unwrap()]);
    child.expect("done");
    assert!(child.end().success());
}

#[test]
fn a_child_that_uses_and_drops_what_it_inherited_harms_nobody() {
    run("handles");
}

#[test]
fn a_child_that_was_forked_inside_a_write_leaves_it_to_its_parent() {
    run("write");
}

#[test]
fn a_naive_drop_would_free_the_entry_of_the_parent() {
    run("naive");
}
