//! How much is read ahead: of a warm index nothing, of a cold one what is not believed to be in
//! memory, and all of one that fits, once.

use std::path::Path;

use super::{Index, Options};
use crate::codes::Codes;
use crate::distance::Euclidean;
use crate::search::Strategy;
use crate::store::readahead::count::{take_asked, take_dropped};

const DIMENSIONS: usize = 32;

fn row(item: u32) -> Vec<f32> {
    (0..DIMENSIONS as u32).map(|at| ((item * 31 + at * 17) * 7919 % 1009) as f32).collect()
}

/// An index with codes, closed.
fn create(folder: &Path) {
    let options = Options::new(DIMENSIONS).codes(Codes::Bits4);
    let index = Index::<Euclidean>::create(folder, options).unwrap();
    index.load((0..3000).map(|item| (item, row(item))), |_| {}).unwrap();
}

fn open(folder: &Path, memory_bytes: u64) -> Index<Euclidean> {
    Index::open(folder, Options::default().memory(memory_bytes)).unwrap()
}

/// The pages that a search asks for.
fn asked(index: &Index<Euclidean>, item: u32) -> u64 {
    take_asked();
    // More candidates, and a scan would be cheaper.
    let found = index.search(10).ef_search(10).by_vector(&row(item)).unwrap();
    assert_eq!(found.strategy, Strategy::Graph);
    take_asked()
}

#[test]
fn of_an_index_that_is_in_memory_nothing_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vectors");
    create(&path);
    let index = open(&path, 1 << 40);
    for item in 0..300 {
        assert_eq!(asked(&index, item * 7), 0, "search {item}");
    }
    index.search(10).exact().by_vector(&row(5)).unwrap();
    index.search(10).by_vectors(&(0..50).flat_map(row).collect::<Vec<_>>()).unwrap();
    assert_eq!(take_asked(), 0);
}

/// Drops a file from memory, where its file system is not in memory itself.
#[cfg(target_os = "linux")]
fn evict(folder: &Path) {
    use std::os::fd::AsRawFd as _;

    let file = std::fs::File::open(folder.join("data.mdb")).unwrap();
    file.sync_all().unwrap();
    // SAFETY: the file is open.
    let result = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    assert_eq!(result, 0);
}

#[cfg(target_os = "linux")]
#[test]
fn of_an_index_that_exceeds_memory_what_is_not_there_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vectors");
    create(&path);
    // All is there: only vectors are asked for without a look.
    let index = open(&path, 1 << 20);
    let there = asked(&index, 5);
    assert!(there > 0, "it is not warm");
    (0..100).for_each(|item| _ = asked(&index, item * 7));
    assert_eq!(asked(&index, 5), there);
    drop(index);
    evict(&path);
    let index = open(&path, 1 << 20);
    let first = asked(&index, 5);
    if first == there {
        // A file system that is in memory itself.
        return;
    }
    assert!(first > there + 10, "{first} pages, {there} in memory");
    (0..100).for_each(|item| _ = asked(&index, item * 7));
    assert_eq!(asked(&index, 5), there);
}

#[test]
fn vectors_that_are_reranked_leave_memory_unless_they_are_read_again_or_the_index_fits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vectors");
    create(&path);
    let dropped = |index: &Index<Euclidean>, item| {
        take_dropped();
        asked(index, item);
        take_dropped()
    };
    let index = open(&path, 1 << 20);
    assert!(dropped(&index, 5) > 0);
    assert_eq!(dropped(&index, 5), 0, "read again");
    let found = |index: &Index<Euclidean>| index.search(10).by_vector(&row(5)).unwrap().nns;
    let before = found(&index);
    assert_eq!(before[0].0, 5);
    assert!((1000..1100).map(|item| dropped(&index, item)).sum::<u64>() > 0);
    assert_eq!(found(&index), before);
    drop(index);
    let index = open(&path, 1 << 40);
    assert!((0..100).all(|item| dropped(&index, item * 7) == 0));
    assert_eq!(found(&index), before);
}

#[cfg(target_os = "linux")]
#[test]
fn an_index_that_fits_is_read_once_and_asks_for_nothing_from_then_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vectors");
    create(&path);
    evict(&path);
    let index = open(&path, 1 << 40);
    let first = asked(&index, 5);
    if first == 0 {
        // A file system that is in memory itself.
        return;
    }
    let mut searches = 0;
    while asked(&index, searches * 7) > 0 {
        searches += 1;
        assert!(searches < 100, "it is still being read");
    }
    for item in 0..300 {
        assert_eq!(asked(&index, item * 7), 0, "search {item}");
    }
}
