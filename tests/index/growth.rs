//! A full memory map grows by itself, and waits for its readers, or reports who they are.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use voisin::{Error, Options};

use crate::child::{Running, tell, told};
use crate::{Vectors, check, create};

/// Long enough that a thousand vectors are more than a megabyte.
const LONG: usize = 512;

fn small() -> Options {
    Options::new(LONG).map_size_bytes(1 << 20).m(4).ef_construction(8)
}

fn long(item: u32) -> Vec<f32> {
    let mut vector = vec![0.0; LONG];
    vector[0] = item as f32;
    vector
}

fn add_long(index: &Vectors, items: std::ops::Range<u32>) -> voisin::Result<u64> {
    index.write(|batch| batch.add_items_from(items.clone().map(|item| (item, long(item)))))
}

fn map_bytes(index: &Vectors) -> u64 {
    index.stats().unwrap().environment.map_bytes
}

#[test]
fn a_full_map_grows_and_the_closure_is_run_again() {
    let (_folder, index) = create(small());
    assert_eq!(map_bytes(&index), 1 << 20);
    let mut runs = 0;
    index
        .write(|batch| {
            runs += 1;
            // Whatever the closure makes of the error.
            _ = batch.add_items_from((0..3000).map(|item| (item, long(item))));
            Ok(())
        })
        .unwrap();
    assert!(runs > 1);
    assert_eq!(index.snapshot().unwrap().len(), 3000);
    assert!(map_bytes(&index) >= 8 << 20);
    check(&index);
    // A load that does not fit, too, whose iterator is gone by then.
    let before = map_bytes(&index);
    index.load((3000..9000).map(|item| (item, long(item))), |_| {}).unwrap();
    assert!(map_bytes(&index) > before);
    assert_eq!(index.snapshot().unwrap().len(), 9000);
}

#[test]
fn growth_waits_for_snapshots_that_are_dropped_in_time() {
    let (_folder, index) = create(small().growth_wait(Duration::from_secs(60)));
    add_long(&index, 0..10).unwrap();
    let snapshot = index.snapshot().unwrap();
    let (waits, grown) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            index
                .write(|batch| {
                    waits.store(true, Ordering::SeqCst);
                    batch.add_items_from((10..2000).map(|item| (item, long(item))))
                })
                .unwrap();
            grown.store(true, Ordering::SeqCst);
        });
        while !waits.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        // Searches go on meanwhile, on the snapshot and on the index.
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(300) {
            assert_eq!(index.search(1).by_vector(&long(4)).unwrap().into_nns(), [(4, 0.0)]);
            assert_eq!(snapshot.search(1).by_vector(&long(5)).unwrap().into_nns(), [(5, 0.0)]);
        }
        assert!(!grown.load(Ordering::SeqCst), "the map was moved under a snapshot");
        assert_eq!(snapshot.len(), 10);
        drop(snapshot);
    });
    assert_eq!(index.search(1).by_vector(&long(1500)).unwrap().into_nns(), [(1500, 0.0)]);
    check(&index);
}

#[test]
fn growth_names_the_snapshots_that_are_not_dropped() {
    let (_folder, index) = create(small().growth_wait(Duration::from_millis(50)));
    add_long(&index, 0..10).unwrap();
    let snapshots = [index.snapshot().unwrap(), index.snapshot().unwrap()];
    let clone = snapshots[0].clone();
    match add_long(&index, 10..2000) {
        Err(error @ Error::MapBusy { snapshots: 2, map_bytes: 0x20_0000, .. }) => {
            let Error::MapBusy { oldest, waited, .. } = error else { unreachable!() };
            assert!(oldest >= waited && waited == Duration::from_millis(50));
            assert!(error.to_string().contains("2 snapshots"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    // Nothing has happened, and everything works that fits.
    assert_eq!(index.snapshot().unwrap().len(), 10);
    assert_eq!(clone.search(1).by_vector(&long(4)).unwrap().into_nns(), [(4, 0.0)]);
    add_long(&index, 10..11).unwrap();
    drop(snapshots);
    assert!(
        matches!(add_long(&index, 11..2000), Err(Error::MapBusy { snapshots: 1, .. })),
        "a clone holds it, too"
    );
    drop(clone);
    assert_eq!(index.held_snapshots().unwrap().0, 0);
    add_long(&index, 11..2000).unwrap();
    assert_eq!(index.snapshot().unwrap().len(), 2000);
    check(&index);
}

#[test]
fn searches_of_many_threads_are_right_while_the_map_moves_under_them() {
    let (_folder, index) = create(small().growth_wait(Duration::from_secs(60)));
    add_long(&index, 0..50).unwrap();
    let (done, searches) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        let search = |thread| {
            let (index, done, searches) = (&index, &done, &searches);
            scope.spawn(move || {
                let mut item = thread;
                while !done.load(Ordering::Relaxed) {
                    item = (item + 7) % 50;
                    assert_eq!(
                        index.search(1).by_vector(&long(item)).unwrap().into_nns(),
                        [(item, 0.0)]
                    );
                    if item == 0 {
                        let snapshot = index.snapshot().unwrap();
                        assert_eq!(snapshot.vector(item).unwrap().unwrap(), long(item));
                    }
                    searches.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let readers = [0, 1, 2].map(search);
        for step in 0..16 {
            add_long(&index, 50 + step * 250..50 + (step + 1) * 250).unwrap();
            // However little of a processor the searches get, there are some on each map.
            while searches.load(Ordering::Relaxed) < (step + 1) * 10
                && !readers.iter().any(|reader| reader.is_finished())
            {
                std::thread::yield_now();
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(map_bytes(&index) >= 8 << 20);
    check(&index);
}

/// The child: grows the map as far as it is told.
#[test]
fn grower() {
    let Some(told) = told() else { return };
    let index = Vectors::open(&told[0], small()).unwrap();
    let (first, last): (u32, u32) = (told[1].parse().unwrap(), told[2].parse().unwrap());
    add_long(&index, first..last).unwrap();
    assert!(map_bytes(&index) > 1 << 20);
    tell("grown");
}

#[test]
fn a_map_that_another_process_has_grown_is_adopted() {
    let (_folder, index) = create(small().growth_wait(Duration::from_millis(50)));
    add_long(&index, 0..10).unwrap();
    assert_eq!(index.search(1).by_vector(&long(4)).unwrap().into_nns(), [(4, 0.0)]);
    let path = index.path().to_str().unwrap().to_owned();
    assert!(Running::start("growth::grower", &[&path, "10", "2000"]).end().success());

    // By a search.
    assert_eq!(index.search(1).by_vector(&long(1999)).unwrap().into_nns(), [(1999, 0.0)]);
    let adopted = map_bytes(&index);
    assert!(adopted >= 4 << 20);

    // While a snapshot is held: it stays good, and is named.
    let snapshot = index.snapshot().unwrap();
    assert!(Running::start("growth::grower", &[&path, "2000", "12000"]).end().success());
    assert!(matches!(
        index.search(1).by_vector(&long(1)),
        Err(Error::MapBusy { snapshots: 1, map_bytes: 0, .. })
    ));
    assert_eq!(snapshot.search(1).by_vector(&long(1234)).unwrap().into_nns(), [(1234, 0.0)]);
    drop(snapshot);

    // By a write.
    add_long(&index, 12_000..12_001).unwrap();
    assert!(map_bytes(&index) > adopted);
    assert_eq!(index.snapshot().unwrap().len(), 12_001);
}

/// The child: has no address space for a larger map.
#[test]
#[cfg(target_os = "linux")]
fn confined() {
    let Some(told) = told() else { return };
    let index = Vectors::open(&told[0], small()).unwrap();
    let snapshot = index.snapshot().unwrap();
    assert_eq!(snapshot.search(1).by_vector(&long(4)).unwrap().into_nns(), [(4, 0.0)]);
    drop(snapshot);
    let limit = |bytes| {
        let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
        // SAFETY: the limit is read only.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
    };
    // The threads that build have what they need.
    add_long(&index, 0..500).unwrap();
    // Room for what is written, and not for the map that is asked for in the end.
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = status.split(' ').next().unwrap().parse().unwrap();
    limit(pages * 4096 + (250 << 20));
    let error = (0..100).find_map(|step| add_long(&index, step * 2000..(step + 1) * 2000).err());
    assert!(matches!(error, Some(Error::MapLost { .. })), "{error:?}");
    // The handle is of no use any more, and does no harm.
    assert!(matches!(index.search(1).by_vector(&long(4)), Err(Error::MapLost { .. })));
    assert!(matches!(index.write(|_| Ok(())), Err(Error::MapLost { .. })));
    assert!(matches!(index.stats(), Err(Error::MapLost { .. })));
    drop(index);
    limit(libc::RLIM_INFINITY);
    let index = Vectors::open(&told[0], small()).unwrap();
    assert_eq!(index.search(1).by_vector(&long(4)).unwrap().into_nns(), [(4, 0.0)]);
    check(&index);
    tell("done");
}

#[test]
#[cfg(target_os = "linux")]
fn a_map_for_which_there_is_no_address_space_is_an_error_until_it_is_opened_again() {
    let (_folder, index) = create(small());
    add_long(&index, 0..10).unwrap();
    let mut child = Running::start("growth::confined", &[index.path().to_str().unwrap()]);
    child.expect("done");
    assert!(child.end().success());
}
