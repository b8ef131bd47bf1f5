//! The environment that all handles of this process on one file share: its transactions, their
//! holders, and the size of the map.
//!
//! A commit covers all indexes of an environment, so one read transaction serves the searches of
//! all: the newest that any of them has needed. It ends once no cache and no search holds it; the
//! caches drop it when there is a newer one, after a commit of this process, and when the reader
//! table is full.
//!
//! LMDB allows moving the map only while the process has no transaction, and does not check that.
//! So every transaction begins here, is counted while it lives (`live`), and begins with the resize
//! lock held for reading; `resize` holds it for writing while it moves the map. A transaction that
//! replaces another of the same commit begins while that one is counted. Only the thread that holds
//! the write lock, of which there is one, moves the map.
//!
//! Lock order: the write lock, `refreshing`, the resize lock, a cache, `newest`, the counts. A
//! thread that holds `refreshing` takes the write lock only if it is free. Waits for other writers
//! can be ended (`waiting`). The unsafe code here opens the environment (`open`) and moves its map
//! (`resize`); no other code may.

mod databases;
mod live;
mod open;
mod resize;
mod searching;
mod waiting;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, Weak};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use heed::{Env, MdbError, RoTxn, RwTxn, WithoutTls};

use self::live::Live;
pub(super) use self::searching::Searching;
pub use self::waiting::cancel_waits;
use super::cache::Cache;
use super::created::Created;
use super::filesystem;
use super::registry::Registered;
use crate::error::{Error, Result};
use crate::store::Raw;
use crate::store::file::{FileReport, check_pages, verify_newest};
use crate::store::owned_snapshot::{ReadTxn, SharedTxn};
use crate::store::process::{self, OfProcess};
use crate::threads;

/// The database that holds the indexes, as `docs/format.md` specifies them.
pub(super) const INDEXES: &str = "voisin";
/// The number of databases that voisin creates in an environment: the indexes, and their catalog.
const OUR_DATABASES: usize = 2;
/// The number of commits of this process between two searches for entries of dead processes.
const COMMITS_BETWEEN_CLEARINGS: u64 = 64;
/// How often a transaction is retried because another process has grown the map.
const MAX_ADOPTIONS: usize = 3;

/// The access with which to open an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Read and write; creates the environment if it does not exist.
    Create,
    Write,
    Read,
}

/// A write transaction, which its owner must commit.
pub(super) type WriteTxn<'e> = OfProcess<RwTxn<'e>>;

/// Why a write was interrupted.
pub(super) enum Interrupted<E> {
    /// It needs a larger map.
    MapFull,
    Failed(E),
}

impl<E: From<Error>> From<Error> for Interrupted<E> {
    fn from(error: Error) -> Self {
        match error {
            Error::MapFull => Self::MapFull,
            error => Self::Failed(error.into()),
        }
    }
}

/// The thread that holds the write lock.
#[derive(Debug)]
struct Writing {
    thread: ThreadId,
    /// Whether helper threads may work on what is written. They may not if the lock was taken by a
    /// closure that other parallel work called: its helpers may themselves wait for the lock.
    has_help: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct SharedEnv {
    env: OfProcess<Env<WithoutTls>>,
    /// Dropped after the environment.
    created: Option<Created>,
    /// Dropped after both.
    registered: Registered<Self>,
    folder: PathBuf,
    is_read_only: bool,
    /// The budget of memory of an index: see `Options::memory`.
    pub(super) memory_bytes: u64,
    growth_wait: Duration,
    pub(super) indexes: Raw<'static>,
    pub(super) catalog: Raw<'static>,
    /// Whether there is a map: it is lost if it could not be moved.
    resize_lock: RwLock<bool>,
    live: Mutex<Live>,
    ended: Condvar,
    write_lock: Mutex<()>,
    /// Whether a write of this process has checked the pages of the file.
    has_checked_pages: AtomicBool,
    writing: Mutex<Option<Writing>>,
    /// Notified when a write of this process has ended.
    written: Condvar,
    /// The caches of indexes, by number.
    caches: Mutex<BTreeMap<u16, Weak<Cache>>>,
    /// The transaction that caches may hold.
    newest: Mutex<Weak<SharedTxn>>,
    /// Held by the thread that begins such a transaction: it begins once, however many threads want
    /// it.
    refreshing: Mutex<()>,
    commits: AtomicU64,
    /// The commit whose databases were opened last, and whether that were all.
    databases_of: AtomicUsize,
    has_all_databases: AtomicBool,
}

/// Locks a mutex whose content is valid even after a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SharedEnv {
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Checks that this process has opened the environment.
    ///
    /// # Errors
    /// [`Error::Forked`].
    #[inline]
    pub(super) fn check_process(&self) -> Result<()> {
        self.env.check()
    }

    /// Keeps the map in place.
    fn resize_lock(&self) -> Result<RwLockReadGuard<'_, bool>> {
        let resize_lock = self.resize_lock.read().unwrap_or_else(PoisonError::into_inner);
        if *resize_lock { Ok(resize_lock) } else { Err(self.map_lost(0)) }
    }

    fn map_lost(&self, map_bytes: usize) -> Error {
        Error::MapLost { path: self.folder.clone(), map_bytes: map_bytes as u64 }
    }

    /// Runs `look` on the number of the newest commit of all processes. Reads two numbers in the
    /// map, and needs no transaction.
    #[inline]
    pub(super) fn with_newest<T>(&self, look: impl FnOnce(usize) -> T) -> Result<T> {
        self.check_process()?;
        let _resize = self.resize_lock()?;
        Ok(look(self.env.info().last_txn_id))
    }

    /// The transaction that searches share, if it is on the newest commit.
    fn cached_txn(&self) -> Result<Option<Arc<SharedTxn>>> {
        let (found, newest) = self.with_newest(|newest| (lock(&self.newest).upgrade(), newest))?;
        Ok(found.filter(|txn| txn.id() == newest && !txn.is_defective()))
    }

    /// The transaction on the newest commit that searches share, for caches to hold.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub(super) fn newest_txn(self: &Arc<Self>) -> Result<Arc<SharedTxn>> {
        if let Some(txn) = self.cached_txn()? {
            return Ok(txn);
        }
        let began = Instant::now();
        let _refreshing = lock(&self.refreshing);
        if let Some(txn) = self.cached_txn()? {
            return Ok(txn);
        }
        let Reading { txn, counted } = self.read_since(began)?;
        let txn = Arc::new(SharedTxn::new(txn, (*self.env).clone(), counted));
        *lock(&self.newest) = Arc::downgrade(&txn);
        self.clear_caches(Some(&txn), txn.id());
        Ok(txn)
    }

    /// The bytes of the file that are in use.
    pub(super) fn file_bytes(&self) -> u64 {
        let page_bytes = u64::from(self.env.unnamed_database_stat().page_size);
        (self.env.info().last_page_number as u64 + 1).saturating_mul(page_bytes)
    }

    /// Whether caches may hold a transaction.
    pub(super) fn is_newest(&self, txn: &Arc<SharedTxn>) -> bool {
        std::ptr::eq(lock(&self.newest).as_ptr(), Arc::as_ptr(txn))
    }

    /// Looks something up in the newest commit, briefly. Takes no reader slot if searches have one.
    ///
    /// # Errors
    /// Those of `look` and of [`read`](Self::read).
    pub(super) fn look<T>(
        self: &Arc<Self>,
        look: impl FnOnce(&RoTxn<'_>) -> Result<T>,
    ) -> Result<T> {
        match self.cached_txn()? {
            Some(txn) => txn.lend(|txn| look(txn)),
            None => look(&self.read()?.txn),
        }
    }

    /// Begins a read transaction on the newest commit.
    ///
    /// # Errors
    /// [`Error::Forked`], [`Error::ReadersFull`], [`Error::MapBusy`], [`Error::MapLost`].
    pub(super) fn read(self: &Arc<Self>) -> Result<Reading> {
        self.read_since(Instant::now())
    }

    /// As [`read`](Self::read), for a caller that has waited since `began`.
    fn read_since(self: &Arc<Self>, began: Instant) -> Result<Reading> {
        self.check_process()?;
        let mut is_cleared = false;
        let mut adoptions = 0;
        loop {
            let begun = {
                let _resize = self.resize_lock()?;
                let counted = Counted::new(self);
                self.env
                    .clone()
                    .static_read_txn()
                    .map(|txn| Reading { txn: OfProcess::new(txn), counted })
            };
            match begun {
                Err(heed::Error::Mdb(MdbError::ReadersFull)) if !is_cleared => {
                    is_cleared = true;
                    self.free_readers()?;
                }
                Err(heed::Error::Mdb(MdbError::ReadersFull)) => return Err(self.readers_full()),
                Err(heed::Error::Mdb(MdbError::MapResized)) if adoptions < MAX_ADOPTIONS => {
                    adoptions += 1;
                    self.adopt(began)?;
                }
                begun => {
                    return begun.map_err(|error| {
                        filesystem::explain(error.into(), "read the environment in", &self.folder)
                    });
                }
            }
        }
    }

    /// Keeps the folder that this call has created, because it holds an index now.
    pub(super) fn keep(&self) {
        self.created.iter().for_each(Created::keep);
    }

    /// Whether there are only the databases of the indexes, and none of the caller's.
    pub(super) fn is_without_tables(&self) -> bool {
        self.env.unnamed_database_stat().entries == OUR_DATABASES
    }

    /// Removes the folder when it is closed, if this process has created it, and no process commits
    /// after `commit`, which has removed all that was in it.
    pub(super) fn discard(&self, commit: usize) {
        self.created.iter().for_each(|created| created.empty(commit as u64));
    }

    /// Frees unneeded entries of the reader table: those of idle snapshots, and of dead processes.
    fn free_readers(&self) -> Result<()> {
        self.drop_cached();
        self.env.clear_stale_readers()?;
        Ok(())
    }

    fn readers_full(&self) -> Error {
        Error::ReadersFull { path: self.folder.clone(), max: self.env.max_readers() }
    }

    /// As [`work`](Self::work), after a walk over the pages of the commit that the transaction
    /// sees.
    pub(super) fn verified<T>(
        self: &Arc<Self>,
        work: impl FnOnce(&FileReport, &ReadTxn) -> Result<T>,
    ) -> Result<T> {
        self.check_process()?;
        let _held = Pin::new(self);
        let (report, reading) =
            verify_newest(&self.env, || self.read(), |reading| reading.txn.id())?;
        work(&report, &reading.txn)
    }

    /// Runs `work` in a read transaction that lasts longer than a search: the map is not moved
    /// meanwhile, and an error names it. `work` may need another one, which LMDB begins itself; it
    /// is retried once if there is no reader slot left for that.
    pub(super) fn work<T>(
        self: &Arc<Self>,
        work: impl Fn(&ReadTxn, &Env<WithoutTls>) -> Result<T>,
    ) -> Result<T> {
        let reading = self.read()?;
        let _held = Pin::new(self);
        let is_full = |result: &Result<T>| {
            matches!(result, Err(Error::Heed(heed::Error::Mdb(MdbError::ReadersFull))))
        };
        let mut result = work(&reading.txn, &self.env);
        if is_full(&result) {
            self.free_readers()?;
            result = work(&reading.txn, &self.env);
        }
        if is_full(&result) { Err(self.readers_full()) } else { result }
    }

    /// Records that this thread is searching, until the result is dropped.
    pub(super) fn searching(&self) -> Searching {
        Searching::begin(self)
    }

    /// Takes the write lock for this thread.
    ///
    /// # Errors
    /// [`Error::NestedWrite`] if this thread has it already, or helps the thread that has it, which
    /// waits for it; [`Error::Cancelled`].
    fn lock_writes(&self) -> Result<WriteGuard<'_>> {
        let is_nested = |writing: &Writing| {
            let is_helped = writing.has_help && Some(writing.thread) == threads::helped();
            writing.thread == thread::current().id() || is_helped
        };
        if lock(&self.writing).as_ref().is_some_and(is_nested) {
            return Err(Error::NestedWrite { path: self.folder.clone() });
        }
        Ok(self.begin_write_guard(self.write_lock()?))
    }

    fn begin_write_guard<'a>(&'a self, guard: MutexGuard<'a, ()>) -> WriteGuard<'a> {
        *lock(&self.writing) =
            Some(Writing { thread: thread::current().id(), has_help: !threads::is_at_work() });
        WriteGuard { env: self, _lock: guard }
    }

    /// Runs `work` in a write transaction, which it returns to have it committed; retries in a
    /// larger map if the map is full.
    ///
    /// # Errors
    /// Those of `work`, and [`Error::Forked`], [`Error::ReadOnly`], [`Error::NestedWrite`],
    /// [`Error::MapBusy`], [`Error::MapLost`].
    pub(super) fn write<T, E: From<Error>>(
        self: &Arc<Self>,
        mut work: impl for<'e> FnMut(WriteTxn<'e>) -> Result<(T, WriteTxn<'e>), Interrupted<E>>,
    ) -> Result<T, E> {
        self.check_process()?;
        if self.is_read_only {
            return Err(Error::ReadOnly { path: self.folder.clone() }.into());
        }
        let guard = self.lock_writes()?;
        loop {
            let mut commit = || -> Result<T, Interrupted<E>> {
                let (value, txn) =
                    work(self.begin_write(&guard).map_err(|error| self.explain(error))?)?;
                txn.into_inner()?.commit().map_err(|error| self.explain(error.into()))?;
                Ok(value)
            };
            match commit() {
                Ok(value) => {
                    self.committed();
                    return Ok(value);
                }
                Err(Interrupted::Failed(error)) => return Err(error),
                Err(Interrupted::MapFull) => self.grow(&guard)?,
            }
        }
    }

    /// Grows the map.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub(super) fn enlarge(self: &Arc<Self>) -> Result<()> {
        let mut is_enlarged = false;
        self.write(|txn| match std::mem::replace(&mut is_enlarged, true) {
            true => Ok(((), txn)),
            false => Err(Interrupted::MapFull),
        })
    }

    /// Adds the folder to an error of the system that LMDB has passed on.
    pub(super) fn explain(&self, error: Error) -> Error {
        filesystem::explain(error, "write to the environment in", &self.folder)
    }

    fn begin_write(self: &Arc<Self>, guard: &WriteGuard<'_>) -> Result<WriteTxn<'_>> {
        let mut adoptions = 0;
        self.await_processes()?;
        loop {
            // The resize lock is not kept: only the thread with the write lock moves the map, and a
            // wait for a writer of another process must not block searches.
            self.resize_lock().map(drop)?;
            match self.env.write_txn() {
                Err(heed::Error::Mdb(MdbError::MapResized)) if adoptions < MAX_ADOPTIONS => {
                    adoptions += 1;
                    self.resize(0, guard, Instant::now())?;
                }
                begun => {
                    let wtxn = begun?;
                    // LMDB trusts the pages that it changes, and would crash on some. Checked once:
                    // later changes are made by this process, or by others that have checked, too.
                    if !self.has_checked_pages.load(Ordering::Relaxed) {
                        check_pages(&self.env, &wtxn)?;
                        self.has_checked_pages.store(true, Ordering::Relaxed);
                    }
                    return Ok(OfProcess::new(wtxn));
                }
            }
        }
    }

    /// After a commit: drops the snapshots that only caches hold, as they keep pages from being
    /// reused, and clears dead readers now and then.
    fn committed(&self) {
        self.drop_cached();
        if self.commits.fetch_add(1, Ordering::Relaxed).is_multiple_of(COMMITS_BETWEEN_CLEARINGS) {
            // The commit has succeeded, whether or not this does; the next one tries again.
            _ = self.env.clear_stale_readers();
        }
    }

    /// Frees the entries of dead processes in the reader table. Returns how many there were.
    pub(super) fn clear_stale_readers(&self) -> Result<usize> {
        self.check_process()?;
        self.env.clear_stale_readers().map_err(|error| self.explain(error.into()))
    }

    /// The cache of the index with a number, which all its handles share.
    pub(super) fn cache(&self, index: u16) -> Arc<Cache> {
        let mut caches = lock(&self.caches);
        if let Some(cache) = caches.get(&index).and_then(Weak::upgrade) {
            return cache;
        }
        caches.retain(|_, cache| cache.strong_count() > 0);
        let cache = Arc::new(Cache::new(self.memory_bytes));
        caches.insert(index, Arc::downgrade(&cache));
        cache
    }

    /// Drops the transaction that searches share: it ends with those in progress.
    pub(super) fn drop_cached(&self) {
        // First: so that no cache comes to hold it after it has been cleared.
        *lock(&self.newest) = Weak::new();
        self.clear_caches(None, self.env.info().last_txn_id);
    }

    fn clear_caches(&self, but: Option<&Arc<SharedTxn>>, newest: usize) {
        self.caches().iter().for_each(|cache| cache.clear(but, newest));
    }

    fn caches(&self) -> Vec<Arc<Cache>> {
        lock(&self.caches).values().filter_map(Weak::upgrade).collect()
    }

    /// The number of snapshots that callers hold, and how long the oldest has been held.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub(super) fn held(&self) -> Result<(usize, Duration)> {
        self.check_process()?;
        let live = lock(&self.live);
        Ok((live.held.len(), live.oldest()))
    }
}

/// The write lock, until it is dropped.
struct WriteGuard<'a> {
    env: &'a SharedEnv,
    _lock: MutexGuard<'a, ()>,
}

impl Drop for WriteGuard<'_> {
    fn drop(&mut self) {
        *lock(&self.env.writing) = None;
        self.env.written.notify_one();
    }
}

/// A read transaction that is counted.
#[derive(Debug)]
pub(super) struct Reading {
    // In this order: the transaction has ended before it is no longer counted.
    pub(super) txn: ReadTxn,
    pub(super) counted: Counted,
}

/// The count of a read transaction, and its environment.
#[derive(Debug)]
pub(super) struct Counted {
    env: Arc<SharedEnv>,
    process: u32,
    number: u64,
}

impl Counted {
    fn new(env: &Arc<SharedEnv>) -> Self {
        let mut live = lock(&env.live);
        let number = live.number();
        live.transactions.insert(number);
        drop(live);
        Self { env: Arc::clone(env), process: std::process::id(), number }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // A fork does not count, and the lock may be held by a thread that does not exist there.
        if process::check(self.process).is_ok() {
            lock(&self.env.live).transactions.remove(&self.number);
            self.env.ended.notify_all();
        }
    }
}

/// Marks a transaction as held for long, until this is dropped.
#[derive(Debug)]
pub(super) struct Pin {
    env: Arc<SharedEnv>,
    process: u32,
    number: u64,
}

impl Pin {
    pub(super) fn new(env: &Arc<SharedEnv>) -> Self {
        let mut live = lock(&env.live);
        let number = live.number();
        live.held.insert(number, Instant::now());
        drop(live);
        Self { env: Arc::clone(env), process: std::process::id(), number }
    }

    /// Checks that this is the process that holds it.
    ///
    /// # Errors
    /// [`Error::Forked`].
    #[inline]
    pub(super) fn check_process(&self) -> Result<()> {
        process::check(self.process)
    }

    /// Records that this thread searches the held snapshot.
    pub(super) fn searching(&self) -> Searching {
        self.env.searching()
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        if self.check_process().is_ok() {
            lock(&self.env.live).held.remove(&self.number);
            self.env.ended.notify_all();
        }
    }
}
