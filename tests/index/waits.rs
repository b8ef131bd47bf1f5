//! A wait for other writers can be ended, whether these are threads or processes, and what has
//! waited has changed nothing.

use std::cell::Cell;
use std::path::Path;
use std::sync::mpsc;

use voisin::{Error, Index, Options, cancel_waits, distances::Euclidean};

use crate::child::{Running, tell, told};
use crate::{DIMENSIONS, Vectors, add, check, create, vector};

/// The child that writes for ever.
#[test]
fn holder() {
    let Some(told) = told() else { return };
    let index = Vectors::open(Path::new(&told[0]), Options::default()).unwrap();
    let held: voisin::Result<()> = index.write(|batch| {
        batch.add(7, &vector(7, 1))?;
        tell("writes");
        loop {
            std::thread::park();
        }
    });
    held.unwrap();
}

/// Calls a closure with a cancel closure that says yes when it is asked the third time.
#[track_caller]
fn is_cancelled<T>(call: impl FnOnce() -> voisin::Result<T>) {
    let asked = std::rc::Rc::new(Cell::new(0));
    let count = std::rc::Rc::clone(&asked);
    let cancel = move || count.replace(count.get() + 1) >= 2;
    assert!(matches!(cancel_waits(cancel, call), Err(Error::Cancelled)));
    assert_eq!(asked.get(), 3);
}

#[test]
fn a_wait_for_a_writing_process_ends_when_it_is_cancelled() {
    let (_folder, index) = create(Options::new(DIMENSIONS));
    add(&index, 0..300, 0).unwrap();
    let mut holder = Running::start("waits::holder", &[index.path().to_str().unwrap()]);
    holder.expect("writes");
    for _ in 0..3 {
        is_cancelled(|| index.write(|batch| batch.add(1000, &vector(1000, 0))));
    }
    is_cancelled(|| index.load([(1000, vector(1000, 0))], |_| {}));
    is_cancelled(|| index.erase([1]));
    is_cancelled(|| index.drop_kind(voisin::IndexKind::Hnsw));
    let options = Options::new(DIMENSIONS).name("new");
    is_cancelled(|| Index::<Euclidean>::create(index.path(), options));
    is_cancelled(|| {
        index.folder().database::<voisin::heed::types::Str, voisin::heed::types::Str>("new")
    });
    // What is read does not wait.
    assert_eq!(cancel_waits(|| true, || index.snapshot()).unwrap().len(), 300);
    holder.kill();
    // Those that were left behind have had their turn, or have it now.
    let grown = (1000..4000).map(|item| (item, vector(item, 0)));
    cancel_waits(|| false, || index.load(grown, |_| {})).unwrap();
    let snapshot = index.snapshot().unwrap();
    assert_eq!((snapshot.len(), snapshot.vector(7).unwrap()), (3300, Some(vector(7, 0))));
    assert_eq!(index.names().unwrap(), ["main"]);
    check(&index);
}

/// The map grows while a thread may still wait in the place of one that gave up.
#[test]
fn a_map_grows_after_a_wait_was_cancelled() {
    let (_folder, index) = create(Options::new(DIMENSIONS).map_size_bytes(1 << 20));
    add(&index, 0..10, 0).unwrap();
    let mut holder = Running::start("waits::holder", &[index.path().to_str().unwrap()]);
    holder.expect("writes");
    is_cancelled(|| index.write(|batch| batch.add(1000, &vector(1000, 0))));
    holder.kill();
    let records = (0..2000).map(|item| (item, vector(item, 0), vec![7; 2000]));
    cancel_waits(|| false, || index.loader().load_with_records(records)).unwrap();
    assert_eq!(index.snapshot().unwrap().len(), 2000);
    check(&index);
}

#[test]
fn a_wait_for_a_writing_thread_ends_when_it_is_cancelled() {
    let (_folder, index) = create(Options::new(DIMENSIONS));
    let (entered, is_in) = mpsc::channel();
    let (leave, may_leave) = mpsc::channel::<()>();
    std::thread::scope(|threads| {
        let index = &index;
        threads.spawn(move || {
            let written = index.write(|batch| {
                _ = (entered.send(()), may_leave.recv());
                batch.add(1, &vector(1, 0))
            });
            written.unwrap();
        });
        is_in.recv().unwrap();
        is_cancelled(|| index.write(|batch| batch.add(2, &vector(2, 0))));
        // Another thread is not asked, and a closure is asked only while it runs.
        let waits = threads.spawn(|| index.write(|batch| batch.add(3, &vector(3, 0))));
        leave.send(()).unwrap();
        waits.join().unwrap().unwrap();
        index.write(|batch| batch.add(4, &vector(4, 0))).unwrap();
    });
    let ids: Vec<_> = index.snapshot().unwrap().ids().unwrap().into_iter().collect();
    assert_eq!(ids, [1, 3, 4]);
    check(&index);
}

/// Of many threads that wait and could give up, each has its turn.
#[test]
fn threads_that_could_give_up_write_one_after_the_other() {
    let (_folder, index) = create(Options::new(DIMENSIONS));
    std::thread::scope(|threads| {
        for first in 0..4 {
            let index = &index;
            threads.spawn(move || {
                for item in (first * 100)..(first * 100 + 25) {
                    let write = || index.write(|batch| batch.add(item, &vector(item, 0)));
                    cancel_waits(|| false, write).unwrap();
                }
            });
        }
    });
    assert_eq!(index.snapshot().unwrap().len(), 100);
    check(&index);
}

#[test]
fn what_was_asked_before_is_asked_again_after_a_closure_that_panics() {
    let (_folder, index) = create(Options::new(DIMENSIONS));
    let panicked = std::panic::catch_unwind(|| cancel_waits(|| true, || panic!("in the closure")));
    assert!(panicked.is_err());
    let (entered, is_in) = mpsc::channel();
    std::thread::scope(|threads| {
        let index = &index;
        threads.spawn(move || {
            let written = index.write(|batch| {
                entered.send(()).unwrap();
                batch.add(1, &vector(1, 0))
            });
            written.unwrap();
        });
        is_in.recv().unwrap();
        index.write(|batch| batch.add(2, &vector(2, 0))).unwrap();
    });
    assert_eq!(index.snapshot().unwrap().len(), 2);
}
