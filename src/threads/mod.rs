//! Parallel work: the calling thread, and helper threads from pools of voisin's own.
//!
//! All parallel work goes through `map`, `for_each`, `on_each` and `sort_by_key`; no other room
//! names rayon. `pool` owns the helpers, and waits for them. The calling thread always does its
//! share, and helpers join if some are idle: at most `available` threads work together.
//!
//! Invariants, each of which rules out a deadlock or a delay:
//!
//! - A caller that waits for its helpers blocks. It never runs a job of the rayon pool that it
//!   belongs to, as rayon's workers do while they wait: that job could need the lock, the write
//!   lock or the end of the transaction that the caller holds.
//! - A helper runs one piece of work to its end, and never waits for another helper. Parallel work
//!   that a user's closure begins there, or on a working caller, runs on that thread alone.
//! - A helper is asked only while it is idle, so that no caller waits for the work of another.
//! - If no thread can be started, the caller works alone, and later callers retry.
//! - Results do not depend on the number of threads.

mod pool;

use std::cell::Cell;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use self::pool::{Kind, Pools};

/// The minimum number of items a thread, to be worth waking one (some 10 microseconds), if each is
/// a search of the graph, or about as much work.
pub(crate) const SEARCHES: usize = 1;
/// The same if each is a list to change: a few microseconds in memory, some ten if it is looked up
/// in LMDB, as for the 30 lists that one added item changes in a large index.
pub(crate) const LISTS: usize = 4;
/// A worker of another pool needs this many times as many items, because helping it starts a thread
/// each time (some 50 microseconds).
const ON_A_WORKER: usize = 4;

/// The maximum number of threads used: the largest machines have as many.
const MAX_THREADS: usize = 1024;
/// Fewer elements than this are sorted by one thread.
const MIN_SORTED: usize = 4096;

/// The state of this thread.
#[derive(Debug, Clone, Copy)]
struct Here {
    kind: Kind,
    /// The maximum number of threads that may work together; 0 for that of [`default_threads`].
    threads: usize,
    /// Whether it is working on a piece: parallel work begun meanwhile runs on it alone.
    is_at_work: bool,
    /// The thread that it helps.
    helps: Option<ThreadId>,
}

thread_local! {
    static HERE: Cell<Here> =
        const {
            Cell::new(Here { kind: Kind::Search, threads: 0, is_at_work: false, helps: None })
        };
    static MOST_USED: Cell<Used> = const { Cell::new(Used { asked: 0, worked: 0 }) };
}

/// Restores the previous state of this thread when dropped.
struct Restore(Here);

impl Drop for Restore {
    fn drop(&mut self) {
        HERE.set(self.0);
    }
}

fn set_here(change: impl FnOnce(Here) -> Here) -> Restore {
    let before = HERE.get();
    HERE.set(change(before));
    Restore(before)
}

/// The threads that took part in a piece of work, including the caller: for tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Used {
    /// How many were asked for help and came.
    pub asked: usize,
    /// How many of them came in time to do something.
    pub worked: usize,
}

/// The maximum number of threads that any piece of work of the calling thread has used since the
/// last call.
pub fn take_most_used() -> Used {
    MOST_USED.replace(Used { asked: 0, worked: 0 })
}

fn note(used: Used) {
    let most = MOST_USED.get();
    MOST_USED.set(Used { asked: used.asked.max(most.asked), worked: used.worked.max(most.worked) });
}

/// Runs a build, whose parallel work uses at most `threads` threads; 0 for the default.
pub(crate) fn building<T>(threads: usize, build: impl FnOnce() -> T) -> T {
    let _restore = set_here(|here| Here { kind: Kind::Build, threads, ..here });
    build()
}

/// How many threads may work together, including the calling one: the number passed to
/// [`building`], else the size of the calling rayon pool, else
/// [`RAYON_NUM_THREADS`](default_threads) or the available parallelism of the process.
pub(crate) fn available() -> usize {
    let here = HERE.get();
    match here.threads {
        _ if here.is_at_work => 1,
        0 => default_threads().min(MAX_THREADS),
        threads => threads.min(MAX_THREADS),
    }
}

/// Does not ask rayon's global pool, which that would start: if no thread can be started, rayon
/// panics, and keeps panicking for as long as the process lives.
fn default_threads() -> usize {
    // 0 until it is known. An atomic, because a fork may find a lock held.
    static OUTSIDE: AtomicUsize = AtomicUsize::new(0);
    if rayon::current_thread_index().is_some() {
        return rayon::current_num_threads();
    }
    match OUTSIDE.load(Ordering::Relaxed) {
        0 => {
            let set = std::env::var("RAYON_NUM_THREADS").ok().and_then(|set| set.parse().ok());
            let set = set.filter(|threads| *threads > 0);
            let threads =
                set.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
            OUTSIDE.store(threads, Ordering::Relaxed);
            threads
        }
        threads => threads,
    }
}

/// The thread that this one helps, if any: it waits for this one.
pub(crate) fn helped() -> Option<ThreadId> {
    HERE.get().helps
}

/// Whether this thread is working on a piece, as a caller or a helper: parallel work that it begins
/// now runs on it alone.
pub(crate) fn is_at_work() -> bool {
    HERE.get().is_at_work
}

/// How many threads share `count` items, if each gets at least `per_thread`.
pub(crate) fn for_items(count: usize, per_thread: usize) -> usize {
    let is_worker = rayon::current_thread_index().is_some();
    let per_thread = if is_worker { per_thread * ON_A_WORKER } else { per_thread };
    available().min(count / per_thread.max(1)).max(1)
}

/// Maps `0..count` by `of`, in order, on as many threads as [`for_items`] says.
///
/// # Errors
/// One of those that `of` returns; the rest is then not done.
pub(crate) fn map_range<R: Send, E: Send>(
    count: usize,
    per_thread: usize,
    of: impl Fn(usize) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let most = for_items(count, per_thread);
    if most == 1 {
        let _at_work = set_here(|here| Here { is_at_work: true, ..here });
        note(Used { asked: 1, worked: 1 });
        return (0..count).map(of).collect();
    }
    let (next, has_failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    // Runs of numbers, shorter towards the end, so that all threads end together.
    let run_at = |at: usize| (at < count).then(|| at + ((count - at) / (2 * most)).max(1));
    let take = || next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, run_at).ok();
    let runs = Mutex::new(Vec::new());
    share(most, &|| {
        let mut has_worked = false;
        while let Some(start) = take().filter(|_| !has_failed.load(Ordering::Relaxed)) {
            has_worked = true;
            let end = run_at(start).unwrap_or(count);
            let run: Result<Vec<R>, E> = (start..end).map(&of).collect();
            has_failed.fetch_or(run.is_err(), Ordering::Relaxed);
            lock(&runs).push((start, run));
        }
        has_worked
    });
    let mut runs = runs.into_inner().unwrap_or_else(PoisonError::into_inner);
    runs.sort_unstable_by_key(|(start, _): &(usize, _)| *start);
    let mut all = Vec::with_capacity(count);
    for (_, run) in runs {
        all.append(&mut run?);
    }
    Ok(all)
}

/// Maps items by `of`, in order: see [`map_range`].
///
/// # Errors
/// As [`map_range`].
pub(crate) fn map<T: Sync, R: Send, E: Send>(
    items: &[T],
    per_thread: usize,
    of: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    map_range(items.len(), per_thread, |at| of(&items[at]))
}

/// Calls `work` for every item; an item should take far longer than taking a lock.
///
/// # Errors
/// The first that any thread meets; the remaining items are skipped.
pub(crate) fn for_each<T: Send, E: Send>(
    items: impl ExactSizeIterator<Item = T> + Send,
    work: impl Fn(T) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let (most, items, failed) = (items.len(), Mutex::new(items), Mutex::new(None));
    // In a closure of its own, or the lock would be held while the item is worked on.
    let next = || lock(&items).next().filter(|_| lock(&failed).is_none());
    share(most, &|| {
        let mut has_worked = false;
        while let Some(item) = next() {
            has_worked = true;
            if let Err(error) = work(item) {
                lock(&failed).get_or_insert(error);
            }
        }
        has_worked
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// Runs `work` on each thread that takes part, as many as are available and at most `most`, and
/// returns the results in any order; `work` shares out the work itself.
///
/// # Errors
/// The first that any thread meets; the others are not told.
pub(crate) fn on_each<R: Send, E: Send>(
    most: usize,
    work: impl Fn() -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let results = Mutex::new(Ok(Vec::new()));
    share(most, &|| {
        let result = work();
        let mut results = lock(&results);
        match (&mut *results, result) {
            (Ok(results), Ok(result)) => results.push(result),
            (Ok(_), Err(error)) => *results = Err(error),
            (Err(_), _) => {}
        }
        true
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Sorts; elements with equal keys come in any order.
pub(crate) fn sort_by_key<T: Send, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K + Sync) {
    let len = items.len();
    let threads = available().min(len / MIN_SORTED).max(1);
    let mut sorted = len.div_ceil(threads).max(1);
    let never = |result: Result<(), Infallible>| result.unwrap_or_else(|never| match never {});
    never(for_each(items.chunks_mut(sorted), |run| {
        run.sort_unstable_by_key(&key);
        Ok(())
    }));
    while sorted < len {
        sorted *= 2;
        // Two sorted runs, which the stable sort detects and merges.
        never(for_each(items.chunks_mut(sorted), |runs| {
            runs.sort_by_key(&key);
            Ok(())
        }));
    }
}

/// Runs `work`, which returns whether it found something to do, on this thread and on as many
/// helpers as are available and idle, at most `most` threads in all. Returns when all have ended; a
/// panic of any of them is resumed here.
fn share(most: usize, work: &(dyn Fn() -> bool + Sync)) {
    let threads = available();
    let used = Mutex::new(Used { asked: 0, worked: 0 });
    let take_part = |helps: Option<ThreadId>| {
        let _restore =
            set_here(|here| Here { is_at_work: true, helps: helps.or(here.helps), ..here });
        let has_worked = work();
        let mut used = lock(&used);
        (used.asked, used.worked) = (used.asked + 1, used.worked + usize::from(has_worked));
    };
    let most = most.min(threads);
    let pool = if most > 1 {
        Pools::of_process().and_then(|pools| pools.get(HERE.get().kind, threads))
    } else {
        None
    };
    match &pool {
        Some(pool) => pool.share(most - 1, &take_part),
        None => take_part(None),
    }
    note(used.into_inner().unwrap_or_else(PoisonError::into_inner));
}

/// Locks a mutex whose content is valid even after a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::time::Duration;

    use rayon::ThreadPoolBuilder;

    use super::*;

    // Each test uses a number of threads of its own, so that nobody else has their helpers.

    fn used(work: impl FnOnce()) -> Used {
        take_most_used();
        work();
        take_most_used()
    }

    /// Long enough for helpers to wake up.
    fn dawdle() {
        thread::sleep(Duration::from_millis(1));
    }

    #[test]
    fn results_come_in_order_from_as_many_threads_as_were_asked_for() {
        for threads in [1, 3] {
            let used = used(|| {
                let squares = building(threads, || {
                    map_range(200, SEARCHES, |n| -> Result<usize, ()> {
                        dawdle();
                        Ok(n * n)
                    })
                });
                assert_eq!(squares.unwrap(), (0..200).map(|n| n * n).collect::<Vec<_>>());
            });
            assert_eq!((used.asked, used.worked > 1), (threads, threads > 1), "{used:?}");
        }
        // Too few for as many.
        let used =
            used(|| building(3, || map(&[1; 80], 32, |n| Ok::<i32, ()>(*n)).map(drop)).unwrap());
        assert_eq!(used.asked, 2);
        assert_eq!(building(3, || map_range(0, SEARCHES, Ok::<usize, ()>)), Ok(Vec::new()));
    }

    #[test]
    fn the_first_error_is_returned_and_ends_the_work() {
        let done = AtomicUsize::new(0);
        let fail = |n| {
            done.fetch_add(1, Ordering::Relaxed);
            dawdle();
            if n % 10 == 3 { Err(n) } else { Ok(n) }
        };
        assert!(building(4, || map_range(1000, SEARCHES, fail)).is_err_and(|n| n % 10 == 3));
        assert!(done.into_inner() < 900, "the rest is left undone");
        assert_eq!(
            building(1, || map_range(1000, SEARCHES, |n| if n > 2 { Err(n) } else { Ok(n) })),
            Err(3)
        );
        assert!(
            building(4, || for_each(0..1000, |n| if n % 10 == 3 { Err(n) } else { Ok(()) }))
                .is_err_and(|n| n % 10 == 3)
        );
        assert_eq!(building(4, || on_each(9, || Err::<(), _>("no"))), Err("no"));
    }

    #[test]
    fn every_item_is_worked_on_once_and_every_thread_says_what_it_has_found() {
        let sum = AtomicUsize::new(0);
        let add = |n| {
            sum.fetch_add(n, Ordering::Relaxed);
            Ok::<_, ()>(())
        };
        building(5, || for_each(0..1000, add)).unwrap();
        assert_eq!(sum.into_inner(), 499_500);
        let next = AtomicUsize::new(0);
        let take = || {
            Ok::<_, ()>(
                std::iter::from_fn(|| {
                    Some(next.fetch_add(1, Ordering::Relaxed)).filter(|n| *n < 1000)
                })
                .sum::<usize>(),
            )
        };
        let sums = building(5, || on_each(1000, take)).unwrap();
        assert_eq!((sums.len(), sums.iter().sum::<usize>()), (5, 499_500));
        assert_eq!(building(5, || on_each(2, || Ok::<_, ()>(()))).unwrap().len(), 2);
    }

    #[test]
    fn sorted_is_what_any_number_of_threads_sorts() {
        for (len, threads) in [(0, 6), (1, 6), (5000, 6), (12_345, 6), (100_001, 6), (100_001, 1)] {
            let mut numbers: Vec<u64> =
                (0..len).map(|n: u64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 44).collect();
            let mut expected = numbers.clone();
            expected.sort_unstable();
            building(threads, || sort_by_key(&mut numbers, |number| *number));
            assert!(numbers == expected, "{len} numbers on {threads} threads");
        }
    }

    #[test]
    fn work_inside_work_is_done_by_its_thread_alone() {
        let this = thread::current().id();
        let outer = |_| {
            assert!(is_at_work() && available() == 1);
            assert_eq!(helped(), (thread::current().id() != this).then_some(this));
            let here = thread::current().id();
            dawdle();
            map_range(50, SEARCHES, |_| Ok::<_, ()>(thread::current().id() == here))
        };
        let all = building(8, || map_range(50, SEARCHES, outer)).unwrap();
        assert!(all.into_iter().flatten().all(|is_here| is_here));
        assert!(!is_at_work() && helped().is_none());
    }

    #[test]
    fn a_panic_of_a_helper_reaches_the_caller_once_all_have_ended() {
        let (this, running) = (thread::current().id(), AtomicUsize::new(0));
        let work = |_| {
            running.fetch_add(1, Ordering::SeqCst);
            dawdle();
            running.fetch_sub(1, Ordering::SeqCst);
            assert!(thread::current().id() == this, "on purpose");
            Ok::<_, ()>(())
        };
        for _ in 0..3 {
            let caught =
                catch_unwind(AssertUnwindSafe(|| building(9, || map_range(200, SEARCHES, work))));
            assert!(caught.is_err() && running.load(Ordering::SeqCst) == 0);
            assert!(!is_at_work());
        }
        // The helpers are there for the next.
        let used = used(|| {
            drop(building(9, || {
                map_range(200, SEARCHES, |_| {
                    dawdle();
                    Ok::<_, ()>(())
                })
            }))
        });
        assert_eq!(used.asked, 9);
    }

    // The same in a rayon pool, whose workers take up each other's jobs where they wait in rayon.
    #[test]
    fn a_worker_of_another_pool_gets_help_and_runs_no_job_of_its_pool_meanwhile() {
        thread_local! {
            static IS_INSIDE: Cell<bool> = const { Cell::new(false) };
        }
        let pool = ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let most = AtomicUsize::new(0);
        pool.scope(|scope| {
            for _ in 0..40 {
                scope.spawn(|_| {
                    assert_eq!(default_threads(), 2);
                    assert!(!IS_INSIDE.replace(true), "another job has begun in between");
                    let used = used(|| {
                        drop(building(10, || {
                            map_range(20, SEARCHES, |_| {
                                dawdle();
                                Ok::<_, ()>(())
                            })
                        }))
                    });
                    most.fetch_max(used.asked, Ordering::Relaxed);
                    IS_INSIDE.set(false);
                });
            }
        });
        assert!(most.into_inner() > 2, "helpers have come");
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            pool.install(|| {
                building(10, || {
                    map_range(9, SEARCHES, |_| -> Result<(), ()> { panic!("on purpose") })
                })
            })
        }));
        assert!(panicked.is_err());
    }

    #[test]
    fn callers_at_the_same_time_use_no_more_threads_than_one_would() {
        let (at_work, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = |_| {
            most.fetch_max(at_work.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            dawdle();
            at_work.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, ()>(())
        };
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    (0..10).for_each(|_| drop(building(12, || map_range(30, SEARCHES, work))))
                });
            }
        });
        // A caller that comes when all helpers are at work has none, and is one more.
        assert!(most.into_inner() <= 12 + 2);
    }
}
