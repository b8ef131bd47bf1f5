//! Calls from rayon pools, and processes that cannot start a thread.
//!
//! Tests that may hang run in a process of their own, which an alarm ends.

use std::cell::Cell;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, ThreadId};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use voisin::distances::Euclidean;
use voisin::heed::{CommitOrAbort, Env, EnvOpenOptions, WithoutTls};
use voisin::threads::take_most_used;
use voisin::{Database, Error, LoadPhase, Options, Reader, Writer};

use crate::child::{Running, tell, told};
use crate::{Vectors, check};

const DIMENSIONS: usize = 32;
/// So many that an exact search for [`ROWS`] of them is shared between threads.
const ITEMS: u32 = 2000;
const ROWS: u32 = 64;

fn vector(item: u32) -> [f32; DIMENSIONS] {
    std::array::from_fn(|i| (item.wrapping_mul(2_654_435_761).rotate_left(i as u32) % 1009) as f32)
}

fn rows() -> Vec<f32> {
    (0..ROWS).flat_map(|row| vector(31 * row)).collect()
}

fn pool(threads: usize) -> ThreadPool {
    ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

fn add(index: &Vectors, items: std::ops::Range<u32>) -> voisin::Result<()> {
    index.write(|batch| {
        batch.add_items_from(items.clone().map(|item| (item, vector(item)))).map(drop)
    })
}

fn create(folder: &Path) -> Vectors {
    let index =
        Vectors::create(folder.join("vectors"), Options::new(DIMENSIONS).m(6).ef_construction(20))
            .unwrap();
    add(&index, 0..ITEMS).unwrap();
    index
}

/// Takes so long that threads wait for each other, as they would on more processors.
fn dawdle() {
    thread::sleep(Duration::from_micros(500));
}

/// Each of the rows finds itself.
fn search_exactly(index: &Vectors) {
    let slowly = || {
        dawdle();
        false
    };
    let found = index.search(1).exact().cancel(&slowly).by_vectors(&rows()).unwrap();
    assert!(found.iter().zip(0..).all(|(found, row)| found.nns[0] == (31 * row, 0.0)));
}

/// The process of its own.
#[test]
fn child() {
    let Some(told) = told() else { return };
    let folder = Path::new(&told[1]);
    match &*told[0] {
        "jobs" => jobs(folder, told[2].parse().unwrap()),
        "calls" => calls(folder, told[2].parse().unwrap()),
        "growth" => growth(folder),
        "closures" => closures(folder, told[2].parse().unwrap()),
        #[cfg(target_os = "linux")]
        "limit" => limit(folder),
        #[cfg(target_os = "linux")]
        "fork" => fork(folder),
        other => panic!("{other}"),
    }
    tell("done");
}

/// Has a process of its own do it.
#[track_caller]
fn run(what: &str, threads: usize) {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Running::start(
        "pools::child",
        &[what, folder.path().to_str().unwrap(), &threads.to_string()],
    );
    assert_eq!(child.hear().as_deref(), Some("done"), "{what} in a pool of {threads}");
    assert!(child.end().success());
}

/// Whether this thread is inside a job. A thread that waits in rayon takes up other jobs.
fn as_job(work: impl FnOnce()) {
    thread_local! {
        static IS_IN_JOB: Cell<bool> = const { Cell::new(false) };
    }
    assert!(!IS_IN_JOB.replace(true), "a job has been begun inside a call of another");
    work();
    IS_IN_JOB.set(false);
}

// Searches and writes of one index were jobs of one pool of 8 threads. Within seconds all stood
// still: a thread that waited inside a build had taken up another job of the pool, which waited for
// the turn to write that the build held. Calls must come to their end whatever pool they are in.
fn jobs(folder: &Path, threads: usize) {
    let index = create(folder);
    pool(threads).install(|| {
        (0..80u32).into_par_iter().with_max_len(1).for_each(|job| {
            if job % 8 == 0 {
                let first = ITEMS + 100 * (job / 8 % 4);
                index
                    .load((first..first + 200).map(|item| (item, vector(item))), |_| dawdle())
                    .unwrap();
            } else {
                search_exactly(&index);
            }
        });
    });
    check(&index);
}

#[test]
fn writes_and_searches_that_are_jobs_of_one_pool_come_to_an_end() {
    for threads in [1, 2, 8, 8] {
        run("jobs", threads);
    }
}

/// An index at level 1, in an environment of its own.
struct Level1 {
    env: Env<WithoutTls>,
    db: Database<'static, Euclidean>,
}

impl Level1 {
    fn new(folder: &Path) -> Self {
        std::fs::create_dir(folder).unwrap();
        // SAFETY: nobody else knows the folder.
        let env =
            unsafe { EnvOpenOptions::new().read_txn_without_tls().map_size(64 << 20).open(folder) }
                .unwrap();
        let create = |wtxn| {
            env.create_databases_and_commit(wtxn, |o, wtxn| {
                o.create_database(wtxn, None).map(CommitOrAbort::<_, ()>::Commit)
            })
        };
        let db: Database<'_, Euclidean> = create(env.write_txn().unwrap()).unwrap().unwrap_commit();
        let level1 = Self { env, db };
        level1.add(0..ITEMS, 42);
        level1
    }

    fn add(&self, items: std::ops::Range<u32>, seed: u64) {
        let writer = Writer::new(self.db, 0, DIMENSIONS);
        let mut wtxn = self.env.write_txn().unwrap();
        writer.add_items_from(&mut wtxn, items.map(|item| (item, vector(item)))).unwrap();
        writer
            .builder(&mut StdRng::seed_from_u64(seed))
            .ef_construction(20)
            .build::<6, 12>(&mut wtxn)
            .unwrap();
        wtxn.commit().unwrap();
    }

    fn search(&self) {
        let rtxn = self.env.read_txn().unwrap();
        let reader = Reader::<Euclidean>::open(&rtxn, 0, self.db).unwrap();
        let exact = reader.nns(1).exact().by_vectors(&rtxn, &rows()).unwrap();
        assert!(exact.iter().zip(0..).all(|(found, row)| found.nns[0] == (31 * row, 0.0)));
        assert_eq!(reader.warm(&rtxn).unwrap().nns(1).exact().by_vectors(&rows()).unwrap(), exact);
    }
}

// The same for every public call, so that none that comes later brings the fault back. Nor may a
// call run another job of the pool meanwhile: it holds a transaction, and the map could not be
// moved as long as that job takes.
fn calls(folder: &Path, threads: usize) {
    let (index, level1) = (&create(folder), &Level1::new(&folder.join("level1")));
    let fresh = AtomicUsize::new(ITEMS as usize);
    let more = || {
        let first = fresh.fetch_add(64, Ordering::Relaxed) as u32;
        first..first + 64
    };
    let items = |range: std::ops::Range<u32>| range.map(|item| (item, vector(item)));
    let copies = AtomicUsize::new(0);
    let rows = rows();
    let calls: [&(dyn Fn() + Sync); 16] = [
        &|| add(index, more()).unwrap(),
        &|| assert_eq!(index.load(items(more()), |_| dawdle()).unwrap(), 64),
        &|| {
            assert_eq!(
                index.loader().commit_every(20).progress(|_| dawdle()).load(items(more())).unwrap(),
                64
            )
        },
        &|| {
            index
                .write(|batch| {
                    batch.link_later();
                    batch.add_items_from(items(more())).map(drop)
                })
                .unwrap();
            index.link().unwrap();
        },
        &|| {
            index
                .write(|batch| {
                    batch.delete_items((100..1900).step_by(37).filter(|item| item % 31 > 0))
                })
                .map(drop)
                .unwrap()
        },
        &|| index.optimize().unwrap(),
        &|| index.force_rebuild().unwrap(),
        &|| search_exactly(index),
        &|| drop(index.search(5).walk_graph().by_vectors(&rows).unwrap()),
        &|| drop(index.search(5).by_vector(&rows[..DIMENSIONS]).unwrap()),
        &|| drop(index.snapshot().unwrap().search(5).exact().by_vectors(&rows).unwrap()),
        &|| {
            index
                .write(|batch| {
                    batch.add_items_from(items(more()))?;
                    batch.search(5).exact().by_vectors(&rows).map(drop)
                })
                .unwrap();
        },
        &|| {
            check(index);
            index.stats().unwrap();
            index.snapshot().unwrap().warm(1 << 30).unwrap();
        },
        &|| {
            assert!(
                index
                    .copy_to(folder.join(format!("copy{}", copies.fetch_add(1, Ordering::Relaxed))))
                    .unwrap()
                    > 0
            )
        },
        &|| level1.add(more(), 1),
        &|| level1.search(),
    ];
    pool(threads).install(|| {
        (0..3 * calls.len())
            .into_par_iter()
            .with_max_len(1)
            .for_each(|job| as_job(|| calls[job % calls.len()]()))
    });
    check(index);
}

#[test]
fn every_call_comes_to_an_end_in_every_pool_and_runs_no_other_job_of_it() {
    for threads in [1, 2, 8] {
        run("calls", threads);
    }
}

// A pool of 4 searched again and again while another thread wrote until the map was full: in 3 of
// 36 growths all stood still for 5 seconds, and the write failed with `MapBusy` though nobody held
// a snapshot. A search had taken up another job while it held its transaction, and that job waited
// for the map, which waited for the transaction.
fn growth(folder: &Path) {
    let options = Options::new(DIMENSIONS).m(6).ef_construction(20).map_size_bytes(1 << 20);
    let index = Vectors::create(folder.join("vectors"), options).unwrap();
    add(&index, 0..ITEMS).unwrap();
    let (is_written, searches) = (AtomicBool::new(false), pool(4));
    thread::scope(|scope| {
        for _ in 0..2 {
            let (index, searches, is_written) = (&index, &searches, &is_written);
            scope.spawn(move || {
                while !is_written.load(Ordering::Relaxed) {
                    searches
                        .install(|| (0..10).into_par_iter().for_each(|_| search_exactly(index)));
                }
            });
        }
        let written = (0..20)
            .try_for_each(|part| add(&index, ITEMS + 1000 * part..ITEMS + 1000 * (part + 1)));
        is_written.store(true, Ordering::Relaxed);
        written.unwrap();
    });
    check(&index);
}

#[test]
fn a_map_grows_while_a_pool_searches() {
    run("growth", 4);
}

// `load` with a closure that writes to the same index when it is told of linking: the closure ran
// on a thread of rayon's, which waited for the turn to write that the load held, for ever. On the
// calling thread the same is `NestedWrite`, and so it must be everywhere.
fn closures(folder: &Path, threads: usize) {
    let index = &create(folder);
    let in_pool =
        |work: &(dyn Fn() + Sync)| if threads > 0 { pool(threads).install(work) } else { work() };
    let (told, refused) = (Mutex::new(HashSet::<ThreadId>::new()), AtomicUsize::new(0));
    in_pool(&|| {
        let write = |phase| {
            if phase == LoadPhase::Linking {
                told.lock().unwrap().insert(thread::current().id());
                assert!(matches!(
                    index.write(|batch| batch.delete(1)),
                    Err(Error::NestedWrite { .. })
                ));
                assert!(matches!(index.optimize(), Err(Error::NestedWrite { .. })));
                refused.fetch_add(1, Ordering::Relaxed);
                dawdle();
            }
        };
        index
            .load((ITEMS..ITEMS + 500).map(|item| (item, vector(item))), |progress| {
                write(progress.phase)
            })
            .unwrap();
    });
    assert_eq!(refused.into_inner(), 500);
    assert_eq!(
        told.into_inner().unwrap().len() > 1,
        threads != 1,
        "closures are called from several threads"
    );

    // Closures that search, and one that has rayon do something.
    in_pool(&|| {
        let look = |phase| {
            if phase == LoadPhase::Linking {
                search_exactly(index);
                index.search(3).walk_graph().by_vectors(&rows()).unwrap();
                assert_eq!((0..100).into_par_iter().sum::<u32>(), 4950);
            }
        };
        index
            .load((3000..3050).map(|item| (item, vector(item))), |progress| look(progress.phase))
            .unwrap();
        let calls = AtomicUsize::new(0);
        let cancel = || {
            search_exactly(index);
            calls.fetch_add(1, Ordering::Relaxed);
            false
        };
        index.search(3).exact().cancel(&cancel).by_vectors(&rows()).unwrap();
        assert!(calls.into_inner() > 5);
    });

    // One that writes: as nobody else does, there is nothing to wait for. Inside a write there is.
    in_pool(&|| {
        let written = AtomicUsize::new(0);
        let write = || {
            if written.fetch_add(1, Ordering::Relaxed) < 3 {
                index.write(|batch| batch.delete(1)).unwrap();
            }
            false
        };
        index.search(3).exact().cancel(&write).by_vectors(&rows()).unwrap();
        index
            .write(|batch| {
                let nested = || {
                    assert!(matches!(
                        index.write(|batch| batch.delete(1)),
                        Err(Error::NestedWrite { .. })
                    ));
                    false
                };
                batch.search(3).exact().cancel(&nested).by_vectors(&rows()).map(drop)
            })
            .unwrap();
    });
    check(index);
}

#[test]
fn a_write_from_a_closure_of_a_write_is_refused_on_whatever_thread_it_runs() {
    // 0: not from a pool.
    for threads in [0, 1, 2, 8] {
        run("closures", threads);
    }
}

/// Has no thread be started beyond those that there are and so many more, until called again.
#[cfg(target_os = "linux")]
fn limit_threads(more: Option<u64>) {
    // SAFETY: system calls on values of their own. Root has no limit: it becomes a user without
    // other processes.
    unsafe {
        if more.is_some() && libc::geteuid() == 0 {
            let user = 50_000 + std::process::id() % 10_000;
            assert_eq!(libc::setgid(user), 0);
            assert_eq!(libc::setuid(user), 0);
        }
        let mut limit = std::mem::zeroed::<libc::rlimit>();
        assert_eq!(libc::getrlimit(libc::RLIMIT_NPROC, &raw mut limit), 0);
        let threads = std::fs::read_dir("/proc/self/task").unwrap().count() as u64;
        limit.rlim_cur = more.map_or(limit.rlim_max, |more| threads + more);
        assert_eq!(libc::setrlimit(libc::RLIMIT_NPROC, &raw const limit), 0);
    }
}

/// The threads that tell of the progress of a load.
#[cfg(target_os = "linux")]
fn threads_of_load(index: &Vectors, items: std::ops::Range<u32>) -> HashSet<ThreadId> {
    let told = Mutex::new(HashSet::new());
    let note = |phase| {
        if phase == LoadPhase::Linking {
            told.lock().unwrap().insert(thread::current().id());
            dawdle();
        }
    };
    index.load(items.map(|item| (item, vector(item))), |progress| note(progress.phase)).unwrap();
    told.into_inner().unwrap()
}

// In a container that is at its limit of processes, every write panicked in rayon, and went on
// doing so when the limit had been lifted. Without a thread the calling one must do the work, as
// well, and once threads can be started they must be used.
#[cfg(target_os = "linux")]
fn limit(folder: &Path) {
    // SAFETY: no other thread of this process looks at variables of the environment now.
    unsafe { std::env::set_var("RAYON_NUM_THREADS", "4") };
    limit_threads(Some(0));
    if thread::Builder::new().spawn(|| ()).is_ok() {
        // The other tests of this user run beside this one, or the system does not count.
        eprintln!("the number of threads cannot be limited here");
        return;
    }
    let index = create(folder);
    let this = HashSet::from([thread::current().id()]);
    assert_eq!(threads_of_load(&index, ITEMS..ITEMS + 1000), this);
    search_exactly(&index);
    let walked = index.search(5).walk_graph().by_vectors(&rows()).unwrap();
    index.write(|batch| batch.delete_items(ITEMS..ITEMS + 100)).unwrap();
    index.force_rebuild().unwrap();
    index.optimize().unwrap();
    check(&index);
    let level1 = Level1::new(&folder.join("level1"));
    level1.search();

    // One more, and as many as are wanted.
    for (more, used) in [(Some(1), 2), (None, 4)] {
        limit_threads(more);
        // The system may count threads that have just ended.
        let found = (0..10).any(|_| {
            thread::sleep(Duration::from_millis(1100));
            take_most_used();
            threads_of_load(&index, 5000..6000).len() > 1 && take_most_used().asked == used
        });
        assert!(found, "{used} threads can be used again");
    }
    search_exactly(&index);
    let pool = pool(4);
    limit_threads(Some(0));
    pool.install(|| {
        search_exactly(&index);
        assert_eq!(
            threads_of_load(&index, 6000..6100).len(),
            1,
            "a worker of a pool works alone, too"
        );
        assert_eq!(index.search(5).walk_graph().by_vectors(&rows()).unwrap().len(), walked.len());
    });
    check(&index);
}

#[cfg(target_os = "linux")]
#[test]
fn without_threads_everything_works_and_once_there_are_some_they_are_used() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    // For the user that the child becomes.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let mut child = Running::start("pools::child", &["limit", folder.path().to_str().unwrap()]);
    child.expect("done");
    assert!(child.end().success());
}

// A fork has no thread but one, and inherits rayon's pool, which it then waited for in vain. It
// must work with threads of its own.
#[cfg(target_os = "linux")]
fn fork(folder: &Path) {
    drop(Level1::new(&folder.join("parent")));
    // SAFETY: the child begins with this thread alone, and needs no lock that another one may hold.
    let child = unsafe { libc::fork() };
    if child == 0 {
        crate::child::limit_time();
        let level1 = Level1::new(&folder.join("child"));
        level1.search();
        level1.add(0..500, 7);
        // SAFETY: ends the process.
        unsafe { libc::_exit(0) };
    }
    let mut status = 0;
    // SAFETY: the child is ours.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_fork_works_with_threads_of_its_own() {
    run("fork", 0);
}
