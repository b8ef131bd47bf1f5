//! Stale readers: entries that dead processes leave in the reader table are freed at open, after
//! commits, and when the table is full.

use voisin::{Error, Options, Snapshot};

use crate::child::{Running, tell, told};
use crate::{DIMENSIONS, Vectors, add, create};

/// The child: holds two snapshots until it is killed.
#[test]
fn holder() {
    let Some(told) = told() else { return };
    let index = Vectors::open(&told[0], Options::default()).unwrap();
    let first = index.snapshot().unwrap();
    // Another transaction: that of a newer commit.
    add(&index, 0..1, 1).unwrap();
    let second = index.snapshot().unwrap();
    tell("holds");
    loop {
        std::thread::park();
        assert!(first.commit() < second.commit());
    }
}

fn hold(index: &Vectors) -> Running {
    let mut child = Running::start("readers::holder", &[index.path().to_str().unwrap()]);
    child.expect("holds");
    child
}

fn oldest(index: &Vectors) -> (u32, u64) {
    let oldest = index.stats().unwrap().environment.oldest_reader.unwrap();
    (oldest.process, oldest.commits_behind)
}

#[test]
fn the_oldest_snapshot_of_all_processes_is_in_the_stats() {
    let (_folder, index) = create(Options::new(DIMENSIONS));
    let mine = index.snapshot().unwrap();
    // Of another commit: of two equally old ones either is told, by the numbers of their processes.
    add(&index, 1..2, 1).unwrap();
    let child = hold(&index);
    add(&index, 1..2, 1).unwrap();
    assert_eq!(oldest(&index), (std::process::id(), 3));
    drop(mine);
    assert_eq!(oldest(&index), (child.id(), 2));
    assert_eq!(index.held_snapshots().unwrap().0, 0);
    let _mine = index.snapshot().unwrap();
    assert_eq!(index.held_snapshots().unwrap().0, 1);
}

#[test]
fn a_dead_reader_is_forgotten_when_told_and_when_the_index_is_opened() {
    let (_folder, index) = create(Options::new(DIMENSIONS));
    let child = hold(&index);
    let id = child.id();
    child.kill();
    assert_eq!(oldest(&index).0, id);
    assert_eq!(index.clear_stale_readers().unwrap(), 2);
    assert_eq!(oldest(&index).0, std::process::id());

    hold(&index).kill();
    let path = index.path().to_owned();
    drop(index);
    let index = Vectors::open(&path, Options::default()).unwrap();
    assert_eq!(oldest(&index).0, std::process::id());
    assert_eq!(index.clear_stale_readers().unwrap(), 0);
}

#[test]
fn a_dead_reader_is_forgotten_after_some_commits() {
    let (_folder, index) = create(Options::new(DIMENSIONS));
    hold(&index).kill();
    for round in 0..64 {
        add(&index, 0..1, round).unwrap();
    }
    assert_eq!(index.clear_stale_readers().unwrap(), 0);
    assert_eq!(oldest(&index).0, std::process::id());
}

#[test]
fn a_full_table_is_cleared_of_the_dead_and_is_an_error_if_all_live() {
    let (_folder, index) = create(Options::new(DIMENSIONS).max_readers(2));
    let child = hold(&index);
    let full = |result: voisin::Result<Snapshot<_>>| {
        assert!(matches!(result, Err(Error::ReadersFull { max: 2, .. })), "{result:?}")
    };
    full(index.snapshot());
    assert!(matches!(
        index.search(1).by_vector(&[0.0; DIMENSIONS]),
        Err(Error::ReadersFull { max: 2, .. })
    ));
    // Writing needs no entry, opening anew does.
    add(&index, 5..6, 1).unwrap();
    let path = index.path().to_owned();
    drop(index);
    assert!(matches!(
        Vectors::open(&path, Options::default()),
        Err(Error::ReadersFull { max: 2, .. })
    ));
    child.kill();
    let index = Vectors::open(&path, Options::default()).unwrap();
    assert_eq!(index.snapshot().unwrap().len(), 2);
}
