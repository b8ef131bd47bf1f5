//! An environment that all handles of this process on one file share: transactions, who holds them,
//! and the size of the map.
//!
//! A commit is one of all indexes of an environment, so one read transaction serves the searches of
//! all: the newest that any of them has needed. It ends once no cache and no search holds by it;
//! the caches let go when there is a newer one, after a commit of this process, and when the table
//! of readers is full.
//!
//! LMDB lets the map be moved only while the process has no transaction, and does not check it. So
//! every transaction begins here, is counted while it lives, and begins behind a resize_lock that
//! is closed while the map is moved; one that takes the place of another of the same commit begins
//! while that one is counted. The map grows in steps that keep no search waiting for another. The
//! snapshots that callers hold are waited for with the resize_lock open. Then the resize_lock is
//! closed for `CLOSED` at most, in which cached snapshots are dropped and the searches that are
//! under way should end; then the map is moved. If they do not end, the resize_lock is opened,
//! searches begin anew on a transaction of their own, and the next try comes when those have ended
//! that the last one met. Only the thread whose *turn* it is to write, of which there is one, moves
//! the map.
//!
//! Order of locks: turn, refreshing, resize_lock, a cache, newest, the counts. Who has `refreshing`
//! takes the turn only if it is free. The unsafe code here opens the environment and moves its map;
//! nothing else may.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{
    Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, TryLockError,
    Weak,
};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use heed::types::Bytes;
use heed::{CommitOrAbort, Env, EnvFlags, EnvOpenOptions, MdbError, RoTxn, RwTxn, WithoutTls};

use super::cache::Cache;
use super::created::Created;
use super::filesystem;
use super::options::Options;
use super::registry::{Claim, DATA, DataFile, Registered, Registry};
use crate::error::{Error, Result};
use crate::store::Raw;
use crate::store::file::{FileReport, check_length, check_pages, verify_newest};
use crate::store::owned_snapshot::{ReadTxn, SharedTxn};
use crate::store::process::{self, OfProcess};
use crate::threads;

/// The database that the indexes lie in, as `docs/format.md` specifies them.
pub(super) const INDEXES: &str = "voisin";
/// The database that names them.
const CATALOG: &str = "voisin.catalog";
/// Named databases that an environment may have, those to come included.
const MAX_DATABASES: u32 = 8;
/// Entries of dead processes are looked for after so many commits of this process.
const COMMITS_BETWEEN_CLEARINGS: u64 = 64;
/// The largest map that is tried: half of what a process can address.
const MAX_MAP_BYTES: usize = 1 << 46;
/// How often a thread that waits for others looks whether something has changed that it is not told
/// of.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// For how long the resize_lock is closed at most, before the map is moved: searches wait for it,
/// and none may wait for more than 50 ms.
const CLOSED: Duration = Duration::from_millis(40);
/// For how long it is open at least before it is closed again: searches have what they need by
/// then.
const OPEN: Duration = Duration::from_millis(100);
/// For how long searches that are under way are waited for at least.
const LEAST_WAIT: Duration = Duration::from_secs(1);
/// How often a transaction begins anew because another process has grown the map.
const MAX_ADOPTIONS: usize = 3;

/// How to open an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// It may have to be created.
    Create,
    Write,
    Read,
}

/// A write transaction, to be committed by who has it.
pub(super) type WriteTxn<'e> = OfProcess<RwTxn<'e>>;

/// Why a write did not come to its end.
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

/// Transactions and what they are for.
#[derive(Debug, Default)]
struct Live {
    /// The numbers of read transactions that have not ended.
    transactions: BTreeSet<u64>,
    /// Why some of them last: callers hold them, or work through them for long. By number, and
    /// since when.
    held: BTreeMap<u64, Instant>,
    /// The number of the next transaction, or of who holds one.
    next: u64,
    /// When the resize_lock was last opened without the map having been moved.
    opened: Option<Instant>,
}

impl Live {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// For how long one has been held.
    fn oldest(&self) -> Duration {
        self.held.values().next().map_or(Duration::ZERO, Instant::elapsed)
    }
}

/// The environments that this process has open.
static ENVIRONMENTS: LazyLock<Registry<SharedEnv>> = LazyLock::new(Registry::new);

thread_local! {
    /// The environments in which this thread is in the middle of a search, one for each search.
    static SEARCHED: RefCell<Vec<*const SharedEnv>> = const { RefCell::new(Vec::new()) };
}

/// Who has the turn to write.
#[derive(Debug)]
struct Writing {
    thread: ThreadId,
    /// Whether other threads may work on what is written. They do not where the turn was taken at
    /// work on something else, by a closure that it calls: whoever helps with that may wait for the
    /// turn.
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
    growth_wait: Duration,
    pub(super) indexes: Raw<'static>,
    pub(super) catalog: Raw<'static>,
    /// Whether there is a map: it is lost if it could not be moved.
    resize_lock: RwLock<bool>,
    live: Mutex<Live>,
    ended: Condvar,
    write_lock: Mutex<()>,
    /// Whether a write of this process has looked at the pages of the file.
    has_checked_pages: AtomicBool,
    writing: Mutex<Option<Writing>>,
    /// Of indexes, by number.
    caches: Mutex<BTreeMap<u16, Weak<Cache>>>,
    /// The transaction that caches hold by.
    newest: Mutex<Weak<SharedTxn>>,
    /// To be had by who begins such a transaction: it is one, however many threads want it.
    refreshing: Mutex<()>,
    commits: AtomicU64,
}

/// A lock whose content holds whatever a panic has interrupted.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SharedEnv {
    /// The environment in a folder: the one that this process has open, or a new one.
    ///
    /// # Errors
    /// See [`Index::open`](crate::Index::open).
    pub(super) fn open(folder: &Path, options: &Options, access: Access) -> Result<Arc<Self>> {
        Self::claim(folder, options, access)
            .map_err(|error| filesystem::explain(error, "open the environment in", folder))
    }

    fn claim(folder: &Path, options: &Options, access: Access) -> Result<Arc<Self>> {
        if access == Access::Create {
            ENVIRONMENTS.check_process()?;
        }
        if !options.takes_any_file_system() {
            filesystem::check(folder)?;
        }
        let mut created = if access == Access::Create { Created::folder(folder)? } else { None };
        let file = if access == Access::Create {
            DataFile::create(folder)?
        } else {
            DataFile::find(folder)?
        };
        if file.is_empty && access != Access::Create {
            // Its creation was interrupted.
            return Err(Error::MissingEnvironment { path: file.folder });
        }
        let how = "read-only";
        match ENVIRONMENTS.claim(&file)? {
            Claim::Open(env) if env.is_read_only && access != Access::Read => {
                Err(Error::AlreadyOpen { path: file.folder, how })
            }
            Claim::Open(env) => {
                created.iter().for_each(Created::keep);
                Ok(env)
            }
            Claim::Ours(registered) => {
                created.iter_mut().for_each(|created| created.is_ours = true);
                let env = Arc::new(Self::new(file.folder, options, access, registered, created)?);
                env.registered.opened(&env);
                Ok(env)
            }
        }
    }

    /// On failure, what was created is removed before anybody else can open it: parameters are
    /// dropped from the last.
    fn new(
        folder: PathBuf,
        options: &Options,
        access: Access,
        registered: Registered<Self>,
        created: Option<Created>,
    ) -> Result<Self> {
        let mut open = EnvOpenOptions::new().read_txn_without_tls();
        open.map_size(options.map_bytes()).max_readers(options.readers()).max_dbs(MAX_DATABASES);
        let is_read_only = access == Access::Read;
        if is_read_only {
            // SAFETY: unlike other flags, this one takes nothing away that LMDB needs to be sound.
            unsafe { open.flags(EnvFlags::READ_ONLY) };
        }
        // If it is open, LMDB refuses it below.
        if heed::env_closing_event(&folder).is_none() {
            filesystem::reserve_lock_file(&folder, options.readers(), access != Access::Read)?;
        }
        check_length(&folder.join(DATA))?;
        // SAFETY: the files are changed through LMDB only, as far as voisin can see to it: the
        // folder is not on a network file system, the data file has one name, and this process does
        // not have it open. `docs/how-to-lose-data.md` says what is left to the user.
        let env = match unsafe { open.open(&folder) } {
            Ok(env) => OfProcess::new(env),
            Err(heed::Error::EnvAlreadyOpened) => {
                return Err(Error::AlreadyOpen {
                    path: folder,
                    how: "through heed, or from files that have been removed since",
                });
            }
            Err(error) => return Err(error.into()),
        };
        env.clear_stale_readers()?;
        let mut adoptions = 0;
        let (indexes, catalog) = loop {
            match databases(&env, &folder, access) {
                // Another process has grown the map since.
                Err(Error::Heed(heed::Error::Mdb(MdbError::MapResized)))
                    if adoptions < MAX_ADOPTIONS =>
                {
                    adoptions += 1;
                    // SAFETY: nobody else has the environment yet, and the transaction that failed
                    // has ended.
                    unsafe { env.resize(0) }?;
                }
                found => break found?,
            }
        };
        Ok(Self {
            env,
            created,
            registered,
            folder,
            is_read_only,
            growth_wait: options.wait(),
            indexes,
            catalog,
            resize_lock: RwLock::new(true),
            live: Mutex::default(),
            ended: Condvar::new(),
            write_lock: Mutex::new(()),
            has_checked_pages: AtomicBool::new(false),
            writing: Mutex::new(None),
            caches: Mutex::default(),
            newest: Mutex::default(),
            refreshing: Mutex::new(()),
            commits: AtomicU64::new(0),
        })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// That this process has opened the environment.
    ///
    /// # Errors
    /// [`Error::Forked`].
    #[inline]
    pub(super) fn check_process(&self) -> Result<()> {
        self.env.check()
    }

    /// Keeps the map where it is.
    fn resize_lock(&self) -> Result<RwLockReadGuard<'_, bool>> {
        let resize_lock = self.resize_lock.read().unwrap_or_else(PoisonError::into_inner);
        if *resize_lock { Ok(resize_lock) } else { Err(self.map_lost(0)) }
    }

    fn map_lost(&self, map_bytes: usize) -> Error {
        Error::MapLost { path: self.folder.clone(), map_bytes: map_bytes as u64 }
    }

    /// What `look` finds in the cache, told the number of the newest commit of all processes. Reads
    /// two numbers in the map, and asks nobody.
    #[inline]
    pub(super) fn with_newest<T>(&self, look: impl FnOnce(usize) -> T) -> Result<T> {
        self.check_process()?;
        let _gate = self.resize_lock()?;
        Ok(look(self.env.info().last_txn_id))
    }

    /// The transaction that searches share, if there is one on the newest commit.
    fn cached_txn(&self) -> Result<Option<Arc<SharedTxn>>> {
        let (found, newest) = self.with_newest(|newest| (lock(&self.newest).upgrade(), newest))?;
        Ok(found.filter(|txn| txn.id() == newest && !txn.is_defective()))
    }

    /// The transaction on the newest commit that searches share, for caches to hold by.
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

    /// Whether caches may hold by a transaction.
    pub(super) fn is_newest(&self, txn: &Arc<SharedTxn>) -> bool {
        std::ptr::eq(lock(&self.newest).as_ptr(), Arc::as_ptr(txn))
    }

    /// Looks something up in the newest commit, in a moment. Takes no reader if searches have one.
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

    /// The same, wanted since `began`.
    fn read_since(self: &Arc<Self>, began: Instant) -> Result<Reading> {
        self.check_process()?;
        let mut is_cleared = false;
        let mut adoptions = 0;
        loop {
            let begun = {
                let _gate = self.resize_lock()?;
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

    /// Says that there is an index in the folder: if this call has created it, it stays.
    pub(super) fn keep(&self) {
        self.created.iter().for_each(Created::keep);
    }

    /// Frees what entries of the table of readers nobody needs: of idle snapshots, and of the dead.
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

    /// A read transaction that lasts longer than a search: the map is not moved meanwhile, and an
    /// error names it. `work` may need another one, which LMDB begins itself; it is run once more
    /// if there is no entry left for that.
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

    /// Says that this thread is in the middle of a search, until it is dropped.
    pub(super) fn searching(&self) -> Searching {
        SEARCHED.with_borrow_mut(|searched| searched.push(std::ptr::from_ref(self)));
        Searching { one_thread: PhantomData }
    }

    fn is_searched_here(&self) -> bool {
        SEARCHED.with_borrow(|searched| searched.contains(&std::ptr::from_ref(self)))
    }

    /// The turn of this thread to write.
    ///
    /// # Errors
    /// [`Error::NestedWrite`] if it has it already, or helps the thread that has it, which waits
    /// for it.
    fn turn(&self) -> Result<WriteGuard<'_>> {
        let is_nested = |writing: &Writing| {
            let is_helped = writing.has_help && Some(writing.thread) == threads::helped();
            writing.thread == thread::current().id() || is_helped
        };
        if lock(&self.writing).as_ref().is_some_and(is_nested) {
            return Err(Error::NestedWrite { path: self.folder.clone() });
        }
        Ok(self.begin_write_guard(lock(&self.write_lock)))
    }

    fn begin_write_guard<'a>(&'a self, turn: MutexGuard<'a, ()>) -> WriteGuard<'a> {
        *lock(&self.writing) =
            Some(Writing { thread: thread::current().id(), has_help: !threads::is_at_work() });
        WriteGuard { env: self, _turn: turn }
    }

    /// Runs `work` in a write transaction, which it returns to have it committed; again, in a
    /// larger map, if the map is full.
    ///
    /// # Errors
    /// What `work` says, and [`Error::Forked`], [`Error::ReadOnly`], [`Error::NestedWrite`],
    /// [`Error::MapBusy`], [`Error::MapLost`].
    pub(super) fn write<T, E: From<Error>>(
        &self,
        mut work: impl for<'e> FnMut(WriteTxn<'e>) -> Result<(T, WriteTxn<'e>), Interrupted<E>>,
    ) -> Result<T, E> {
        self.check_process()?;
        if self.is_read_only {
            return Err(Error::ReadOnly { path: self.folder.clone() }.into());
        }
        let turn = self.turn()?;
        loop {
            let mut commit = || -> Result<T, Interrupted<E>> {
                let (value, txn) =
                    work(self.begin_write(&turn).map_err(|error| self.explain(error))?)?;
                txn.into_inner()?.commit().map_err(|error| self.explain(error.into()))?;
                Ok(value)
            };
            match commit() {
                Ok(value) => {
                    self.committed();
                    return Ok(value);
                }
                Err(Interrupted::Failed(error)) => return Err(error),
                Err(Interrupted::MapFull) => self.grow(&turn)?,
            }
        }
    }

    /// Makes the map larger.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub(super) fn enlarge(&self) -> Result<()> {
        let mut is_enlarged = false;
        self.write(|txn| match std::mem::replace(&mut is_enlarged, true) {
            true => Ok(((), txn)),
            false => Err(Interrupted::MapFull),
        })
    }

    /// An error of the system that LMDB has passed on, with the folder.
    pub(super) fn explain(&self, error: Error) -> Error {
        filesystem::explain(error, "write to the environment in", &self.folder)
    }

    fn begin_write(&self, turn: &WriteGuard<'_>) -> Result<WriteTxn<'_>> {
        let mut adoptions = 0;
        loop {
            // No resize_lock: the map is moved by the thread whose turn it is only. Waiting for a
            // writer of another process must not close it.
            self.resize_lock().map(drop)?;
            match self.env.write_txn() {
                Err(heed::Error::Mdb(MdbError::MapResized)) if adoptions < MAX_ADOPTIONS => {
                    adoptions += 1;
                    self.resize(0, turn, Instant::now())?;
                }
                begun => {
                    let wtxn = begun?;
                    // LMDB trusts the pages that it changes, and would die of some. Once: what
                    // changes later, this process has written, or others that have looked, too.
                    if !self.has_checked_pages.load(Ordering::Relaxed) {
                        check_pages(&self.env, &wtxn)?;
                        self.has_checked_pages.store(true, Ordering::Relaxed);
                    }
                    return Ok(OfProcess::new(wtxn));
                }
            }
        }
    }

    /// After a commit: snapshots that only the caches hold are let go, as they keep pages from
    /// being reused; dead readers are, now and then.
    fn committed(&self) {
        self.drop_cached();
        if self.commits.fetch_add(1, Ordering::Relaxed).is_multiple_of(COMMITS_BETWEEN_CLEARINGS) {
            // The commit has succeeded, whatever comes of this; the next one tries again.
            _ = self.env.clear_stale_readers();
        }
    }

    /// Frees the entries of dead processes in the table of readers. Returns how many there were.
    pub(super) fn clear_stale_readers(&self) -> Result<usize> {
        self.check_process()?;
        self.env.clear_stale_readers().map_err(|error| self.explain(error.into()))
    }

    /// The cache of the index of a number, which all handles on it share.
    pub(super) fn cache(&self, index: u16) -> Arc<Cache> {
        let mut caches = lock(&self.caches);
        if let Some(cache) = caches.get(&index).and_then(Weak::upgrade) {
            return cache;
        }
        caches.retain(|_, cache| cache.strong_count() > 0);
        let cache = Arc::default();
        caches.insert(index, Arc::downgrade(&cache));
        cache
    }

    /// Lets go of the transaction that searches share: it ends with those that are under way.
    pub(super) fn drop_cached(&self) {
        // First: no cache comes to hold by it after it has been cleared.
        *lock(&self.newest) = Weak::new();
        self.clear_caches(None, self.env.info().last_txn_id);
    }

    fn clear_caches(&self, but: Option<&Arc<SharedTxn>>, newest: usize) {
        self.caches().iter().for_each(|cache| cache.clear(but, newest));
    }

    fn caches(&self) -> Vec<Arc<Cache>> {
        lock(&self.caches).values().filter_map(Weak::upgrade).collect()
    }

    /// Snapshots that callers hold, and for how long the oldest has been.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub(super) fn held(&self) -> Result<(usize, Duration)> {
        self.check_process()?;
        let live = lock(&self.live);
        Ok((live.held.len(), live.oldest()))
    }

    fn grow(&self, turn: &WriteGuard<'_>) -> Result<()> {
        let size = self.env.info().map_size;
        if size >= MAX_MAP_BYTES {
            return Err(Error::MapFull);
        }
        self.resize((size * 2).min(MAX_MAP_BYTES), turn, Instant::now())
    }

    /// Takes over the size that another process has given the map. All that wait for the same
    /// transactions to end, each since it `began`, give up together.
    fn adopt(&self, began: Instant) -> Result<()> {
        let mut is_first = true;
        loop {
            // Another thread may do it: one that writes does when its turn begins, and then has it
            // for as long as its transaction.
            if self.is_map_large_enough()? {
                return Ok(());
            }
            // Another thread has waited meanwhile, and given up.
            let wait = self.growth_wait.max(LEAST_WAIT);
            if std::mem::take(&mut is_first) && began.elapsed() >= wait {
                let live = lock(&self.live);
                return Err(self.map_busy(
                    (live.held.len(), live.transactions.len()),
                    &live,
                    0,
                    wait,
                ));
            }
            match self.write_lock.try_lock() {
                Ok(turn) => return self.resize(0, &self.begin_write_guard(turn), began),
                Err(TryLockError::Poisoned(turn)) => {
                    return self.resize(0, &self.begin_write_guard(turn.into_inner()), began);
                }
                Err(TryLockError::WouldBlock) => thread::sleep(LOOK_AGAIN),
            }
        }
    }

    fn is_map_large_enough(&self) -> Result<bool> {
        let _gate = self.resize_lock()?;
        let (info, page_bytes) =
            (self.env.info(), self.env.unnamed_database_stat().page_size as usize);
        Ok((info.last_page_number + 1).saturating_mul(page_bytes) <= info.map_size)
    }

    /// Moves the map, once this process has no transaction. It has been waited for since `began`.
    fn resize(&self, bytes: usize, _turn: &WriteGuard<'_>, began: Instant) -> Result<()> {
        if self.is_searched_here() {
            return Err(Error::NestedGrowth { path: self.folder.clone(), map_bytes: bytes as u64 });
        }
        let wait = self.growth_wait.max(LEAST_WAIT);
        loop {
            self.wait_for(began, bytes, self.growth_wait, |live| (live.held.len(), 0))?;
            let opened = lock(&self.live).opened;
            thread::sleep(
                opened.map_or(Duration::ZERO, |opened| OPEN.saturating_sub(opened.elapsed())),
            );
            let Some(met) = self.try_resize(bytes)? else { return Ok(()) };
            // New ones do not count: if they are slow, the next try will meet them.
            let met = |live: &Live| (0, live.transactions.range(..met).count());
            self.wait_for(began, bytes, wait, met)?;
            if began.elapsed() >= wait {
                let live = lock(&self.live);
                return Err(self.map_busy(
                    (live.held.len(), live.transactions.len()),
                    &live,
                    bytes,
                    wait,
                ));
            }
        }
    }

    /// Closes the resize_lock, and moves the map if all searches end while it may be closed. If
    /// not, the number that transactions have from then on; 0 if a caller has come to hold a
    /// snapshot.
    fn try_resize(&self, bytes: usize) -> Result<Option<u64>> {
        let mut resize_lock = self.resize_lock.write().unwrap_or_else(PoisonError::into_inner);
        let closed = Instant::now();
        loop {
            // A search that had begun may have filled one again.
            self.drop_cached();
            let mut live = lock(&self.live);
            if live.transactions.is_empty() {
                break;
            }
            let left = CLOSED.saturating_sub(closed.elapsed());
            if !live.held.is_empty() || left.is_zero() {
                live.opened = Some(Instant::now());
                return Ok(Some(if live.held.is_empty() { live.next } else { 0 }));
            }
            drop(self.ended.wait_timeout(live, left.min(LOOK_AGAIN)));
        }
        self.caches().iter().for_each(|cache| cache.forget());
        // SAFETY: there is no transaction in this process: no read transaction begins behind the
        // resize_lock, and those that had begun have ended; write transactions begin on the thread
        // whose turn it is, which is this one, and here it has none.
        if unsafe { self.env.resize(bytes) }.is_err() {
            *resize_lock = false;
            return Err(self.map_lost(bytes));
        }
        Ok(None)
    }

    /// Waits until neither snapshots nor searches are in the way, as `look` counts them, up to
    /// `wait` since `began`.
    fn wait_for(
        &self,
        began: Instant,
        bytes: usize,
        wait: Duration,
        look: impl Fn(&Live) -> (usize, usize),
    ) -> Result<()> {
        let mut live = lock(&self.live);
        loop {
            let in_the_way = look(&live);
            if in_the_way == (0, 0) {
                return Ok(());
            }
            let left = wait.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Err(self.map_busy(in_the_way, &live, bytes, wait));
            }
            live = self.ended.wait_timeout(live, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn map_busy(
        &self,
        (snapshots, searches): (usize, usize),
        live: &Live,
        bytes: usize,
        waited: Duration,
    ) -> Error {
        Error::MapBusy {
            path: self.folder.clone(),
            map_bytes: bytes as u64,
            snapshots,
            oldest: live.oldest(),
            searches: searches.saturating_sub(snapshots),
            waited,
        }
    }
}

/// Finds the databases of an environment, or makes them.
fn databases(
    env: &Env<WithoutTls>,
    folder: &Path,
    access: Access,
) -> Result<(Raw<'static>, Raw<'static>)> {
    let rtxn = env.read_txn().map_err(|error| match error {
        heed::Error::Mdb(MdbError::ReadersFull) => {
            Error::ReadersFull { path: folder.to_owned(), max: env.max_readers() }
        }
        error => error.into(),
    })?;
    let found = env.open_databases_and_commit(rtxn, |opener, rtxn| -> heed::Result<_> {
        let open = |name| opener.open_database::<Bytes, Bytes>(rtxn, Some(name));
        let main = opener.open_database::<Bytes, Bytes>(rtxn, None)?;
        // Names of databases, or keys of one who keeps data beside them.
        let is_empty = main.map_or(Ok(true), |main| main.is_empty(rtxn))?;
        Ok(CommitOrAbort::<_, ()>::Commit((open(INDEXES)?, open(CATALOG)?, is_empty.then_some(()))))
    })?;
    match found.commit() {
        Some((Some(indexes), Some(catalog), _)) => Ok((indexes, catalog)),
        Some((_, _, Some(()))) if access == Access::Create => {
            let created = env.create_databases_and_commit(
                env.write_txn()?,
                |opener, wtxn| -> heed::Result<_> {
                    let indexes = opener.create_database::<Bytes, Bytes>(wtxn, Some(INDEXES))?;
                    let catalog = opener.create_database::<Bytes, Bytes>(wtxn, Some(CATALOG))?;
                    Ok(CommitOrAbort::<_, ()>::Commit((indexes, catalog)))
                },
            )?;
            created.commit().ok_or_else(|| Error::MissingEnvironment { path: folder.to_owned() })
        }
        Some((_, _, None)) => Err(Error::ForeignEnvironment { path: folder.to_owned() }),
        _ => Err(Error::MissingEnvironment { path: folder.to_owned() }),
    }
}

/// The turn to write, until it is dropped.
struct WriteGuard<'a> {
    env: &'a SharedEnv,
    _turn: MutexGuard<'a, ()>,
}

impl Drop for WriteGuard<'_> {
    fn drop(&mut self) {
        *lock(&self.env.writing) = None;
    }
}

/// A read transaction that is counted.
#[derive(Debug)]
pub(super) struct Reading {
    // In this order: the transaction has ended when it is not counted any more.
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
        // In a fork nobody counts, and the lock may be held by a thread that does not exist there.
        if process::check(self.process).is_ok() {
            lock(&self.env.live).transactions.remove(&self.number);
            self.env.ended.notify_all();
        }
    }
}

/// A search of this thread, until it is dropped.
#[derive(Debug)]
pub(super) struct Searching {
    // It ends where it began.
    one_thread: PhantomData<*const ()>,
}

impl Drop for Searching {
    fn drop(&mut self) {
        // They end in the order in which they began, the last first.
        _ = SEARCHED.try_with(|searched| searched.borrow_mut().pop());
    }
}

/// Says that a transaction is held for long, until this is dropped.
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

    /// That this is the process that holds it.
    ///
    /// # Errors
    /// [`Error::Forked`].
    #[inline]
    pub(super) fn check_process(&self) -> Result<()> {
        process::check(self.process)
    }

    /// Says that this thread searches what is held.
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
