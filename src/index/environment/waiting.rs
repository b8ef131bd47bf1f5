//! Waits for other writers, of this process and of others, that the caller can end.
//!
//! LMDB's write lock can neither be tried nor given up. So a caller that may want to end its wait
//! lets a thread of its own, the usher, begin a write transaction and end it at once: when that is
//! done, no other process writes. If the caller gives up, the usher stays behind until it has had
//! its turn. It is counted like any transaction, so that the map is not moved meanwhile.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, MutexGuard, TryLockError, mpsc};
use std::thread;
use std::time::Duration;

use super::{Counted, SharedEnv, lock};
use crate::error::{Error, Result};

/// How often a caller that waits is asked whether to end.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// How long a lock is waited for that is about to be released.
const RELEASED: Duration = Duration::from_micros(50);

/// Asked whether to end a wait.
type Cancel = Rc<dyn Fn() -> bool>;

thread_local! {
    static CANCEL: RefCell<Option<Cancel>> = const { RefCell::new(None) };
}

/// Runs `work`, in which waits of this thread for other writers of a folder, of this process and of
/// others, end with [`Error::Cancelled`] once `cancel` returns true. It is asked every 20 ms of a
/// wait. What has ended so has changed nothing.
///
/// A write then costs the start of a thread more, which waits in its place. If another process
/// begins to write at the very moment at which it has waited long enough, it waits for that one as
/// usual.
///
/// ```
/// use std::sync::mpsc;
/// use voisin::{Error, Index, Options, cancel_waits, distances::Euclidean};
///
/// # fn main() -> voisin::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(1))?;
/// let (entered, is_in) = mpsc::channel();
/// let (leave, may_leave) = mpsc::channel::<()>();
/// std::thread::scope(|threads| {
///     let index = &index;
///     threads.spawn(move || {
///         index.write(|batch| {
///             _ = (entered.send(()), may_leave.recv());
///             batch.add(1, &[0.5])
///         })
///     });
///     _ = is_in.recv();
///     let given_up = cancel_waits(|| true, || index.write(|batch| batch.add(2, &[0.7])));
///     assert!(matches!(given_up, Err(Error::Cancelled)));
///     drop(leave);
/// });
/// assert_eq!(index.snapshot()?.len(), 1);
/// # Ok(())
/// # }
/// ```
pub fn cancel_waits<T>(cancel: impl Fn() -> bool + 'static, work: impl FnOnce() -> T) -> T {
    /// What was asked before: it is again, also after a panic.
    struct Before(Option<Cancel>);

    impl Drop for Before {
        fn drop(&mut self) {
            CANCEL.set(self.0.take());
        }
    }

    let _before = Before(CANCEL.replace(Some(Rc::new(cancel))));
    work()
}

/// What this thread asks whether to end a wait.
pub(super) fn asked() -> Option<Cancel> {
    CANCEL.with_borrow(Clone::clone)
}

impl SharedEnv {
    /// The write lock of this process.
    ///
    /// # Errors
    /// [`Error::Cancelled`].
    pub(super) fn write_lock(&self) -> Result<MutexGuard<'_, ()>> {
        let Some(cancel) = asked() else { return Ok(lock(&self.write_lock)) };
        loop {
            match self.write_lock.try_lock() {
                Ok(guard) => return Ok(guard),
                Err(TryLockError::Poisoned(guard)) => return Ok(guard.into_inner()),
                Err(TryLockError::WouldBlock) => {}
            }
            if cancel() {
                return Err(Error::Cancelled);
            }
            let writing = lock(&self.writing);
            if writing.is_some() {
                drop(self.written.wait_timeout(writing, ASK_EVERY));
            } else {
                drop(writing);
                thread::sleep(RELEASED);
            }
        }
    }

    /// Waits until no other process writes, if this thread asks whether to end waits. This thread
    /// has the write lock.
    ///
    /// # Errors
    /// [`Error::Cancelled`].
    pub(super) fn await_processes(self: &Arc<Self>) -> Result<()> {
        let Some(cancel) = asked() else { return Ok(()) };
        let (done, is_done) = mpsc::channel::<()>();
        // Here, as this thread has the write lock: the map is not moved from now on.
        let counted = Counted::new(self);
        let env = Arc::clone(self);
        let usher = thread::Builder::new().name("voisin-usher".to_owned()).spawn(move || {
            // An error comes again in the transaction of the caller.
            drop(env.env.write_txn());
            drop(counted);
            drop(done);
        });
        if usher.is_err() {
            // There are no threads left: it waits as long as it takes.
            return Ok(());
        }
        while is_done.recv_timeout(ASK_EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
            if cancel() {
                return Err(Error::Cancelled);
            }
        }
        Ok(())
    }
}
