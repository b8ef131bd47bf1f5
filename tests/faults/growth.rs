//! Growth of the memory map: it makes no search wait for another one.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use voisin::{Error, Options};

use crate::Vectors;
use crate::child::{Running, tell, told};

/// Long enough that a thousand vectors are more than a megabyte.
const LONG: usize = 512;
/// For how long no search may wait for another one. What is promised is 50 ms; a machine that does
/// other work meanwhile is given more, and still far less than the slow searches here take.
const BOUND: Duration = Duration::from_millis(900);

fn small() -> Options {
    Options::new(LONG).map_size_bytes(1 << 20).m(4).ef_construction(8)
}

fn create(options: Options) -> (TempDir, Vectors) {
    let (folder, index) = crate::create(options);
    add(&index, 0..50).unwrap();
    (folder, index)
}

fn long(item: u32) -> Vec<f32> {
    let mut vector = vec![0.0; LONG];
    vector[0] = item as f32;
    vector
}

fn add(index: &Vectors, items: std::ops::Range<u32>) -> voisin::Result<u64> {
    index.write(|batch| batch.add_items_from(items.clone().map(|item| (item, long(item)))))
}

fn map_bytes(index: &Vectors) -> u64 {
    index.stats().unwrap().environment.map_bytes
}

/// A search that has begun, and ends when it is told to.
fn search_until(index: &Vectors, begun: &AtomicBool, end: &AtomicBool) {
    let until_told = || {
        begun.store(true, Ordering::SeqCst);
        while !end.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        false
    };
    let found = index.search(1).cancel(&until_told).by_vector(&long(7));
    assert_eq!(found.unwrap().into_nns(), [(7, 0.0)]);
}

/// Ends a search also where the test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn wait_for(flag: &AtomicBool) {
    let began = Instant::now();
    while !flag.load(Ordering::SeqCst) {
        assert!(began.elapsed() < Duration::from_secs(60), "it does not begin");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Searches for as long as `time`, and says how long the slowest took, and how many there were.
fn search_for(index: &Vectors, time: Duration) -> (Duration, u32) {
    let (began, mut slowest, mut searches) = (Instant::now(), Duration::ZERO, 0);
    while began.elapsed() < time {
        let (item, began) = (searches % 50, Instant::now());
        assert_eq!(index.search(1).by_vector(&long(item)).unwrap().into_nns(), [(item, 0.0)]);
        slowest = slowest.max(began.elapsed());
        searches += 1;
        std::thread::sleep(Duration::from_millis(1));
    }
    (slowest, searches)
}

/// A slow search, a write that needs a larger map, a quick search: the quick one waited for the
/// slow one, up to five seconds.
#[test]
fn a_slow_search_holds_up_no_other_while_the_map_must_grow() {
    let (_folder, index) = create(small().growth_wait(Duration::from_secs(60)));
    let [begun, end, waits] = [const { AtomicBool::new(false) }; 3];
    std::thread::scope(|scope| {
        let end_it = End(&end);
        scope.spawn(|| search_until(&index, &begun, &end));
        wait_for(&begun);
        let grown = scope.spawn(|| {
            index.write(|batch| {
                waits.store(true, Ordering::SeqCst);
                batch.add_items_from((50..2000).map(|item| (item, long(item))))
            })
        });
        wait_for(&waits);
        let (slowest, searches) = search_for(&index, Duration::from_secs(2));
        println!("{searches} searches, the slowest took {slowest:?}");
        assert!(
            slowest < BOUND && searches > 20,
            "{searches} searches, the slowest took {slowest:?}"
        );
        assert!(!grown.is_finished(), "the map was moved under a search");
        drop(end_it);
        grown.join().unwrap().unwrap();
    });
    assert!(map_bytes(&index) >= 4 << 20);
    assert_eq!(index.search(1).by_vector(&long(1500)).unwrap().into_nns(), [(1500, 0.0)]);
}

/// A search that was slower than all patience: the write failed, and blamed 0 snapshots, which were
/// to be dropped.
#[test]
fn a_write_that_gives_up_says_that_it_was_a_search_that_it_waited_for() {
    let (_folder, index) = create(small().growth_wait(Duration::from_millis(50)));
    let [begun, end] = [const { AtomicBool::new(false) }; 2];
    std::thread::scope(|scope| {
        let end_it = End(&end);
        scope.spawn(|| search_until(&index, &begun, &end));
        wait_for(&begun);
        let grown = scope.spawn(|| add(&index, 50..2000));
        let (slowest, searches) = search_for(&index, Duration::from_secs(2));
        assert!(
            slowest < BOUND && searches > 20,
            "{searches} searches, the slowest took {slowest:?}"
        );
        let error = grown.join().unwrap().unwrap_err();
        assert!(matches!(error, Error::MapBusy { snapshots: 0, searches: 1, .. }), "{error:?}");
        let text = error.to_string();
        assert!(!text.contains("0 snapshots") && !text.contains("drop"), "{text}");
        assert!(
            text.contains("search")
                && text.contains("growth_wait")
                && text.contains("map_size_bytes"),
            "{text}"
        );
        drop(end_it);
    });
    add(&index, 50..2000).unwrap();
    assert_eq!(index.snapshot().unwrap().len(), 2000);
}

/// A closure that is asked whether to go on writes, and the map is full: the write waited for the
/// search that had asked, which waited for the write.
#[test]
fn a_write_inside_a_search_does_not_wait_for_that_search() {
    let (_folder, index) = create(small().growth_wait(Duration::from_secs(60)));
    let snapshot = index.snapshot().unwrap();
    let (began, asked) = (Instant::now(), AtomicU32::new(0));
    let inside = || {
        if asked.fetch_add(1, Ordering::SeqCst) == 0 {
            // What fits is no matter.
            add(&index, 50..51).unwrap();
            assert_eq!(index.search(1).by_vector(&long(50)).unwrap().into_nns(), [(50, 0.0)]);
            let error = add(&index, 51..2000).unwrap_err();
            assert!(
                error.to_string().contains("this thread") && error.to_string().contains("search"),
                "{error}"
            );
            assert!(index.snapshot().unwrap().len() == 51);
        }
        false
    };
    assert_eq!(index.search(1).cancel(&inside).by_vector(&long(7)).unwrap().into_nns(), [(7, 0.0)]);
    asked.store(0, Ordering::SeqCst);
    assert_eq!(
        snapshot.search(1).cancel(&inside).by_vector(&long(7)).unwrap().into_nns(),
        [(7, 0.0)]
    );
    assert!(began.elapsed() < Duration::from_secs(30), "it has waited for itself");
    drop(snapshot);
    add(&index, 51..2000).unwrap();
    assert_eq!(index.snapshot().unwrap().len(), 2000);
}

/// The map grows again and again while others search: no write may fail, as nobody holds a
/// snapshot and no search is slow.
fn grow_beside(index: &Vectors) {
    for step in 0..12 {
        add(index, 50 + step * 300..50 + (step + 1) * 300).unwrap();
    }
    assert!(map_bytes(index) >= 8 << 20);
}

fn search_exactly(index: &Vectors, searches: &AtomicU32) {
    let rows: Vec<f32> = (0..10).flat_map(long).collect();
    let found = index.search(1).exact().by_vectors(&rows).unwrap();
    assert!(found.into_iter().zip(0..).all(|(found, item)| found.into_nns() == [(item, 0.0)]));
    searches.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn the_map_grows_beside_exact_searches_of_many_threads() {
    let (_folder, index) = create(small());
    let (done, searches) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        let _end = End(&done);
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    search_exactly(&index, &searches);
                }
            });
        }
        grow_beside(&index);
    });
    assert!(searches.into_inner() > 10);
}

/// In a pool of 4 that runs batches of exact searches, one that waited for the pool took up another
/// one, which waited for the growth, which waited for the first: 5 s of standstill, then `MapBusy`.
#[test]
fn the_map_grows_beside_exact_searches_in_a_pool() {
    let (_folder, index) = create(small());
    let (done, searches) = (AtomicBool::new(false), AtomicU32::new(0));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
    std::thread::scope(|scope| {
        let _end = End(&done);
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                pool.scope(|jobs| {
                    (0..10).for_each(|_| jobs.spawn(|_| search_exactly(&index, &searches)))
                });
            }
        });
        grow_beside(&index);
    });
    assert!(searches.into_inner() > 10);
}

/// The child: grows the map.
#[test]
fn grower() {
    let Some(told) = told() else { return };
    let index = Vectors::open(&told[0], small()).unwrap();
    add(&index, 50..3000).unwrap();
    assert!(map_bytes(&index) > 1 << 20);
    tell("grown");
}

/// Another process has grown the map, and a slow search keeps this one from doing so: the searches
/// that need it gave up one after the other, each after its own wait for the same search.
#[test]
fn searches_that_need_the_map_of_another_process_give_up_together() {
    let (_folder, index) = create(small().growth_wait(Duration::from_millis(50)));
    let [begun, end] = [const { AtomicBool::new(false) }; 2];
    let path = index.path().to_str().unwrap().to_owned();
    std::thread::scope(|scope| {
        let end_it = End(&end);
        scope.spawn(|| search_until(&index, &begun, &end));
        wait_for(&begun);
        let mut child = Running::start("growth::grower", &[&path]);
        child.expect("grown");
        assert!(child.end().success());
        let began = Instant::now();
        let searches: Vec<_> =
            (0..6).map(|_| scope.spawn(|| index.search(1).by_vector(&long(1)))).collect();
        for search in searches {
            let error = search.join().unwrap().unwrap_err();
            assert!(
                matches!(error, Error::MapBusy { snapshots: 0, map_bytes: 0, .. }),
                "{error:?}"
            );
        }
        // Searches are waited for a second, at least.
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        drop(end_it);
    });
    assert_eq!(index.search(1).by_vector(&long(2999)).unwrap().into_nns(), [(2999, 0.0)]);
}
