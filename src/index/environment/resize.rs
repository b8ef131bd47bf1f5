//! Grows the map of an environment. The map is moved once this process has no transaction, without
//! making searches wait for each other.
//!
//! Snapshots that callers hold are waited for first, with the resize lock open. Then the lock is
//! closed, for at most [`CLOSED`]: cached snapshots are dropped, the searches in progress should
//! end, and the map is moved. If they do not end in time, the lock is opened again, searches are
//! retried on transactions of their own, and the next attempt comes when those transactions have
//! ended that blocked the last.

use std::sync::{PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use super::live::Live;
use super::searching::is_searched_here;
use super::{SharedEnv, WriteGuard, lock};
use crate::error::{Error, Result};
use crate::index::options::MAX_MAP_BYTES;

/// How often a waiting thread polls for changes of which it is not notified.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// The maximum time that the resize lock is closed before the map is moved: searches wait for it,
/// and none may wait for more than 50 ms.
const CLOSED: Duration = Duration::from_millis(40);
/// The minimum time that it is open before it is closed again: searches have what they need by
/// then.
const OPEN: Duration = Duration::from_millis(100);
/// The minimum time that searches in progress are waited for.
const LEAST_WAIT: Duration = Duration::from_secs(1);

impl SharedEnv {
    pub(super) fn grow(&self, guard: &WriteGuard<'_>) -> Result<()> {
        let size = self.env.info().map_size;
        if size >= MAX_MAP_BYTES {
            return Err(Error::MapFull);
        }
        self.resize((size * 2).min(MAX_MAP_BYTES), guard, Instant::now())
    }

    /// Adopts the size to which another process has grown the map. All threads that wait for the
    /// same transactions to end, each since it `began`, give up together.
    pub(super) fn adopt(&self, began: Instant) -> Result<()> {
        let mut is_first = true;
        loop {
            // Another thread may do it: a writer does when it begins, and then holds the lock for
            // as long as its transaction.
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
                Ok(lock) => return self.resize(0, &self.begin_write_guard(lock), began),
                Err(TryLockError::Poisoned(lock)) => {
                    return self.resize(0, &self.begin_write_guard(lock.into_inner()), began);
                }
                Err(TryLockError::WouldBlock) => thread::sleep(LOOK_AGAIN),
            }
        }
    }

    fn is_map_large_enough(&self) -> Result<bool> {
        let _resize = self.resize_lock()?;
        let (info, page_bytes) =
            (self.env.info(), self.env.unnamed_database_stat().page_size as usize);
        Ok((info.last_page_number + 1).saturating_mul(page_bytes) <= info.map_size)
    }

    /// Moves the map, once this process has no transaction. The caller has waited since `began`.
    pub(super) fn resize(
        &self,
        bytes: usize,
        _guard: &WriteGuard<'_>,
        began: Instant,
    ) -> Result<()> {
        if is_searched_here(self) {
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
            // New ones do not count: if they are slow, the next attempt will meet them.
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

    /// Closes the resize lock, and moves the map if all searches end while it may be closed.
    /// Otherwise returns the number from which new transactions are counted; 0 if a caller has
    /// begun to hold a snapshot.
    fn try_resize(&self, bytes: usize) -> Result<Option<u64>> {
        let mut resize_lock = self.resize_lock.write().unwrap_or_else(PoisonError::into_inner);
        let closed = Instant::now();
        loop {
            // A search in progress may have filled one again.
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
        // resize lock, and earlier ones have ended; write transactions begin on the thread that has
        // the write lock, which is this one, and here it has none, or are counted like those that
        // read (`waiting`), before they begin, on that thread.
        if unsafe { self.env.resize(bytes) }.is_err() {
            *resize_lock = false;
            return Err(self.map_lost(bytes));
        }
        Ok(None)
    }

    /// Waits until neither snapshots nor searches block the move, as `look` counts them, up to
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
