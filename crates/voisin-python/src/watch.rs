//! What ends a call early: Control-C, a `CancelToken`, an exception of a closure of the caller's.
//!
//! A call detaches from the interpreter, so that other threads run Python meanwhile. voisin asks
//! its cancel closure every few microseconds; the thread of the call then looks for signals, if it
//! has not done so for a while. Invariant: no lock of voisin's is waited for while attached.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use voisin::Error;

use crate::errors::{of_panic, raised};

/// How often the thread of a call looks for signals. Waiting to attach can take as long as another
/// thread computes in Python without a break, 5 ms by default, so this costs little.
const LOOKS: Duration = Duration::from_millis(20);
/// How many questions of voisin's pass between two looks at the clock: some dozens of microseconds.
const QUESTIONS: u32 = 32;

/// Ends searches and loads early, from any thread.
///
/// >>> import voisin
/// >>> token = voisin.CancelToken()
/// >>> token.is_cancelled
/// False
/// >>> token.cancel()
/// >>> token
/// CancelToken(cancelled)
#[pyclass(module = "voisin", frozen)]
#[derive(Default)]
pub(crate) struct CancelToken {
    flag: Arc<AtomicBool>,
}

#[pymethods]
impl CancelToken {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Ends all calls that were given this token, now and later. A search returns the nearest items
    /// seen so far; a load changes nothing and raises `Cancelled`.
    fn cancel(&self) {
        self.flag.store(true, Ordering::Relaxed);
    }

    /// Whether `cancel` was called.
    #[getter]
    fn is_cancelled(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }

    fn __repr__(&self) -> &'static str {
        if self.is_cancelled() { "CancelToken(cancelled)" } else { "CancelToken()" }
    }
}

thread_local! {
    /// The number of the watch that this thread has begun last.
    static WATCHED: Cell<u64> = const { Cell::new(0) };
    /// Questions since this thread has looked at the clock.
    static ASKED: Cell<u32> = const { Cell::new(0) };
}

/// The watch of one call.
pub(crate) struct Watch {
    number: u64,
    token: Option<Arc<AtomicBool>>,
    is_over: AtomicBool,
    raised: Mutex<Option<PyErr>>,
    /// When signals were looked for, in microseconds since the call began.
    looked: AtomicU64,
    began: Instant,
}

impl Watch {
    pub(crate) fn new(token: Option<&CancelToken>) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        Self {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            token: token.map(|token| Arc::clone(&token.flag)),
            is_over: AtomicBool::new(false),
            raised: Mutex::new(None),
            looked: AtomicU64::new(0),
            began: Instant::now(),
        }
    }

    /// Whether the call should end: the cancel closure of voisin, called from any thread.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        if self.is_over.load(Ordering::Relaxed) || self.is_cancelled() {
            return true;
        }
        let asked = ASKED.get();
        ASKED.set(asked.wrapping_add(1));
        asked.is_multiple_of(QUESTIONS) && WATCHED.get() == self.number && self.looks()
    }

    fn is_cancelled(&self) -> bool {
        self.token.as_ref().is_some_and(|token| token.load(Ordering::Relaxed))
    }

    #[cold]
    fn looks(&self) -> bool {
        let now = self.began.elapsed();
        let last = Duration::from_micros(self.looked.load(Ordering::Relaxed));
        if now < last + LOOKS {
            return false;
        }
        if let Err(error) = Python::attach(|py| py.check_signals()) {
            self.fail(error);
        }
        let now = self.began.elapsed().as_micros();
        self.looked.store(u64::try_from(now).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.is_over.load(Ordering::Relaxed)
    }

    /// Ends the call with an exception: the first one counts.
    pub(crate) fn fail(&self, error: PyErr) {
        self.raised.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Takes the exception that the call is to end with.
    fn take_raised(&self) -> Option<PyErr> {
        // Few calls lock.
        if !self.is_over.load(Ordering::Relaxed) {
            return None;
        }
        self.raised.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Runs work of voisin's, detached from the interpreter, as the work of this thread.
    pub(crate) fn run_any<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce() -> T + Send,
    ) -> PyResult<T> {
        let before = WATCHED.replace(self.number);
        let done = py.detach(|| catch_unwind(AssertUnwindSafe(work)));
        WATCHED.set(before);
        // First: a signal may have come when the work could not be ended any more.
        match (self.take_raised(), done) {
            (Some(error), _) => Err(error),
            (None, Ok(done)) => Ok(done),
            (None, Err(panic)) => Err(of_panic(py, &*panic)),
        }
    }

    /// The same for work that can fail.
    pub(crate) fn run<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce() -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        self.run_any(py, work)?.map_err(|error| raised(py, &error))
    }
}

/// Runs work of voisin's that cannot be ended early.
pub(crate) fn detached<T: Send>(
    py: Python<'_>,
    work: impl FnOnce() -> Result<T, Error> + Send,
) -> PyResult<T> {
    Watch::new(None).run(py, work)
}
