//! Helper threads, which are started when they are first needed, and wait between pieces of work.
//!
//! They run in rayon pools; as nothing forks and joins inside a pool, its threads neither wait for
//! each other nor steal. A caller waits for its helpers without running anything else, whatever
//! pool it belongs to itself ([`Pool::share`]).

use std::io;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use rayon::{ThreadBuilder, ThreadPool, ThreadPoolBuilder};

use super::lock;

/// The maximum number of pools kept for each kind of work, one for each number of threads
/// requested.
const MAX_POOLS: usize = 16;
/// How long no thread is started after a failure, so that retries do not keep a process at its
/// thread limit.
const RETRY: Duration = Duration::from_secs(1);
/// The maximum number of processes that fork one from the other and use voisin in each: a fork has
/// none of the threads of its parent's pools.
const GENERATIONS: usize = 4;

/// The kind of work. Builds and searches have separate pools, so that a search finds helpers while
/// an index is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Search,
    Build,
}

impl Kind {
    /// The name of a thread, of which Linux shows 15 bytes.
    fn name(self, helper: usize) -> String {
        match self {
            Self::Search => format!("voisin-find-{helper}"),
            Self::Build => format!("voisin-link-{helper}"),
        }
    }
}

/// The helpers for callers of one kind that want one number of threads.
#[derive(Debug)]
pub(super) struct Pool {
    kind: Kind,
    /// The number of threads that should work together, including the caller.
    threads: usize,
    helpers: ThreadPool,
    /// When it was started, if with fewer helpers than that.
    short_since: Option<Instant>,
    /// The number of callers and helpers at work. Helpers are asked only while this is at most the
    /// number of helpers plus one: if many callers come at once, each works alone, and they do not
    /// crowd each other.
    at_work: AtomicUsize,
}

/// One thread at work, until this is dropped.
struct AtWork<'p>(&'p AtomicUsize);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Pool {
    /// Starts helpers: as many as possible, if not all. `None` if none can be started.
    fn start(kind: Kind, threads: usize) -> Option<Self> {
        let mut count = threads - 1;
        while count > 0 {
            let mut started = Vec::new();
            let start = |helper: ThreadBuilder| -> io::Result<()> {
                let builder =
                    thread::Builder::new().name(helper.name().unwrap_or_default().to_owned());
                started.push(builder.spawn(|| helper.run())?);
                Ok(())
            };
            let builder = ThreadPoolBuilder::new()
                .num_threads(count)
                .thread_name(move |helper| kind.name(helper));
            if let Ok(helpers) = builder.spawn_handler(start).build() {
                let short_since = (count < threads - 1).then(Instant::now);
                return Some(Self {
                    kind,
                    threads,
                    helpers,
                    short_since,
                    at_work: AtomicUsize::new(0),
                });
            }
            // The threads that could be started end, and make room for as many.
            count = started.len().min(count - 1);
            started.into_iter().for_each(|helper| drop(helper.join()));
            // The system counts a thread for a moment after it has ended.
            thread::sleep(Duration::from_millis(1));
        }
        None
    }

    /// Calls `take_part` on this thread and on at most `wanted` helpers, which are told whom they
    /// help.
    pub(super) fn share(&self, wanted: usize, take_part: &(dyn Fn(Option<ThreadId>) + Sync)) {
        self.at_work.fetch_add(1, Ordering::AcqRel);
        let _caller = AtWork(&self.at_work);
        let reserved = self.reserve(wanted);
        if reserved.is_empty() {
            return take_part(None);
        }
        let caller = thread::current().id();
        let help = |reserved: Vec<AtWork<'_>>, meanwhile: &dyn Fn()| {
            self.helpers.in_place_scope(|scope| {
                for reserved in reserved {
                    scope.spawn(move |_| {
                        // Idle again before the caller continues.
                        let _reserved = reserved;
                        take_part(Some(caller));
                    });
                }
                meanwhile();
            });
        };
        if rayon::current_thread_index().is_none() {
            return help(reserved, &|| take_part(None));
        }
        // A worker of another pool would run that pool's jobs while it waits for a rayon scope. So
        // a plain thread waits for the scope, and the worker waits for that thread.
        thread::scope(|scope| {
            let waiting = thread::Builder::new().name("voisin-wait".to_owned());
            let waiting = waiting.spawn_scoped(scope, || help(reserved, &|| ()));
            take_part(None);
            if let Ok(waiting) = waiting
                && let Err(panic) = waiting.join()
            {
                resume_unwind(panic);
            }
        });
    }

    /// Reserves up to `wanted` idle helpers.
    fn reserve(&self, wanted: usize) -> Vec<AtWork<'_>> {
        let limit = self.helpers.current_num_threads() + 1;
        let idle = |at_work: usize| limit.saturating_sub(at_work).min(wanted);
        let ask = |at_work: usize| Some(at_work + idle(at_work));
        let before = self.at_work.fetch_update(Ordering::AcqRel, Ordering::Acquire, ask);
        (0..before.map_or(0, idle)).map(|_| AtWork(&self.at_work)).collect()
    }
}

/// The pools of a process.
pub(super) struct Pools {
    /// 0 until a process claims it.
    process: AtomicU32,
    pools: Mutex<State>,
}

struct State {
    pools: Vec<Arc<Pool>>,
    /// When starting threads last failed.
    failed: Option<Instant>,
}

impl Pools {
    /// The pools of this process; `None` in a fork of a fork of a fork of one, which works without.
    /// A fork must not touch its parent's pools: their threads do not exist there, and one of them
    /// may have held their lock at the fork.
    pub(super) fn of_process() -> Option<&'static Self> {
        static POOLS: [Pools; GENERATIONS] = [const {
            Pools {
                process: AtomicU32::new(0),
                pools: Mutex::new(State { pools: Vec::new(), failed: None }),
            }
        }; GENERATIONS];
        let here = std::process::id();
        let is_ours = |pools: &&Pools| match pools.process.compare_exchange(
            0,
            here,
            Ordering::AcqRel,
            Ordering::Acquire,
        ) {
            Ok(_) => true,
            Err(process) => process == here,
        };
        POOLS.iter().find(is_ours)
    }

    /// The pool for one kind of work on `threads` threads, at least 2. `None` if no thread can be
    /// started.
    pub(super) fn get(&self, kind: Kind, threads: usize) -> Option<Arc<Pool>> {
        let mut state = lock(&self.pools);
        let is_due =
            |failed: Option<Instant>| failed.is_none_or(|failed| failed.elapsed() >= RETRY);
        let found =
            state.pools.iter().position(|pool| (pool.kind, pool.threads) == (kind, threads));
        let found_pool = found.map(|at| Arc::clone(&state.pools[at]));
        if found_pool
            .as_ref()
            .is_some_and(|pool| pool.short_since.is_none() || !is_due(pool.short_since))
        {
            return found_pool;
        }
        let of_kind = state.pools.iter().filter(|pool| pool.kind == kind);
        if found.is_none() && of_kind.clone().count() >= MAX_POOLS {
            // The pool of the nearest size.
            return of_kind.min_by_key(|pool| pool.threads.abs_diff(threads)).cloned();
        }
        if !is_due(state.failed) {
            return found_pool;
        }
        let started = Pool::start(kind, threads).map(Arc::new);
        state.failed = started.is_none().then(Instant::now);
        let Some(pool) = started else { return found_pool };
        match found {
            // Callers that still use the replaced pool keep it until they are done.
            Some(at) => state.pools[at] = Arc::clone(&pool),
            None => state.pools.push(Arc::clone(&pool)),
        }
        Some(pool)
    }
}
