//! What ends a call early: Control-C, a `CancelToken`, an exception of a closure of the caller's.
//!
//! A call detaches from the interpreter, so that other threads run Python meanwhile. voisin asks
//! its cancel closure every few microseconds; the thread of the call then looks for signals, if it
//! has not done so for a while. What waits for other writers is asked every 20 ms (`write`).
//! Invariant: no lock of voisin's is waited for while attached.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use voisin::Error;

use crate::errors::{of_panic, raised, refused};

/// How often the thread of a call looks for signals. Waiting to attach can take as long as another
/// thread computes in Python without a break, 5 ms by default, so this costs little. Microseconds.
const LOOKS_US: u64 = 20_000;
/// How many questions of voisin's pass between two looks at the clock, which cost some dozens of
/// nanoseconds: at least and at most. A search of the graph asks every microsecond, a scan for the
/// rows of a matrix after each block of vectors that it has compared with all of them.
const QUESTIONS: [u32; 2] = [1, 32];
/// How many pass after the first look of a call, before it is known how long they take.
const QUESTIONS_AT_FIRST: u32 = 8;
/// How long it should be between two looks at the clock, in microseconds: more questions pass if it
/// was less, and fewer if it was more.
const GLANCES_US: [u64; 2] = [50, 2000];

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
    /// Questions until this thread looks at the clock.
    static LEFT: Cell<u32> = const { Cell::new(0) };
}

/// The watch of one call.
pub(crate) struct Watch {
    number: u64,
    token: Option<Arc<AtomicBool>>,
    is_over: AtomicBool,
    raised: Mutex<Option<PyErr>>,
    /// When the clock and signals were looked at, in microseconds since the call began.
    glanced: AtomicU64,
    looked: AtomicU64,
    /// The number of questions between two looks at the clock.
    questions: AtomicU32,
    began: Instant,
    /// How long a write waits for other writers, if not as long as it takes.
    patience: Option<Duration>,
    /// Whether a write has waited for that long.
    is_late: Arc<AtomicBool>,
}

impl Watch {
    pub(crate) fn new(token: Option<&CancelToken>) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        Self {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            token: token.map(|token| Arc::clone(&token.flag)),
            is_over: AtomicBool::new(false),
            raised: Mutex::new(None),
            glanced: AtomicU64::new(0),
            looked: AtomicU64::new(0),
            questions: AtomicU32::new(QUESTIONS_AT_FIRST),
            began: Instant::now(),
            patience: None,
            is_late: Arc::default(),
        }
    }

    /// The watch of a call that was given a token, or none.
    pub(crate) fn of(token: &Option<Bound<'_, CancelToken>>) -> Self {
        Self::new(token.as_ref().map(Bound::get))
    }

    /// The watch of a write that waits so long for other writers.
    pub(crate) fn patient(patience: Option<Duration>) -> Self {
        Self { patience, ..Self::new(None) }
    }

    /// How long it has waited in vain for other writers, if it has given up.
    pub(crate) fn waited(&self) -> Option<Duration> {
        self.patience.filter(|_| self.is_late.load(Ordering::Relaxed))
    }

    /// Whether the call should end: the cancel closure of voisin, called from any thread.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        if self.is_over.load(Ordering::Relaxed) || self.is_cancelled() {
            return true;
        }
        match LEFT.get() {
            0 => WATCHED.get() == self.number && self.glances(),
            left => {
                LEFT.set(left - 1);
                false
            }
        }
    }

    /// Looks at the clock, and at signals if it is time.
    fn glances(&self) -> bool {
        let now = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let since = now - self.glanced.swap(now, Ordering::Relaxed).min(now);
        let before = self.questions.load(Ordering::Relaxed);
        let [quick, slow] = GLANCES_US;
        let questions = match since {
            since if since > slow => before / 4,
            since if since < quick => before * 2,
            _ => before,
        };
        let questions = questions.clamp(QUESTIONS[0], QUESTIONS[1]);
        self.questions.store(questions, Ordering::Relaxed);
        LEFT.set(questions - 1);
        let last = self.looked.load(Ordering::Relaxed);
        now >= last.saturating_add(LOOKS_US) && self.looks()
    }

    /// Whether the call ends with an exception.
    pub(crate) fn has_failed(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    fn is_cancelled(&self) -> bool {
        self.token.as_ref().is_some_and(|token| token.load(Ordering::Relaxed))
    }

    #[cold]
    fn looks(&self) -> bool {
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
        let before = (WATCHED.replace(self.number), LEFT.replace(0));
        let done = py.detach(|| catch_unwind(AssertUnwindSafe(work)));
        WATCHED.set(before.0);
        LEFT.set(before.1);
        // First: a signal may have come when the work could not be ended any more.
        match (self.take_raised(), done) {
            (Some(error), _) => Err(error),
            (None, Ok(done)) => Ok(done),
            (None, Err(panic)) => Err(of_panic(py, &*panic)),
        }
    }

    /// The same for work that writes: a wait for other writers ends by a signal or a token, too.
    pub(crate) fn write_any<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce() -> T + Send,
    ) -> PyResult<T> {
        let raised = Arc::new(Mutex::new(None));
        let (token, ours) = (self.token.clone(), Arc::clone(&raised));
        let until = self.patience.and_then(|patience| Instant::now().checked_add(patience));
        let late = Arc::clone(&self.is_late);
        let ends = move || {
            if until.is_some_and(|until| Instant::now() >= until) {
                late.store(true, Ordering::Relaxed);
                return true;
            }
            if token.as_ref().is_some_and(|token| token.load(Ordering::Relaxed)) {
                return true;
            }
            let looked = Python::attach(|py| py.check_signals());
            let is_over = looked.is_err();
            if let Err(error) = looked {
                ours.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
            is_over
        };
        let done = self.run_any(py, || voisin::cancel_waits(ends, work));
        let raised = raised.lock().unwrap_or_else(PoisonError::into_inner).take();
        raised.map_or(done, Err)
    }

    /// The same for work that can fail.
    pub(crate) fn write<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce() -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        self.write_any(py, work)?.map_err(|error| raised(py, &error))
    }

    /// As [`run_any`](Self::run_any), for work that can fail.
    pub(crate) fn run<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce() -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        self.run_any(py, work)?.map_err(|error| raised(py, &error))
    }
}

/// A time to wait, in seconds.
///
/// # Errors
/// `InvalidParameter` for what is no time, with the name of the argument.
pub(crate) fn seconds(
    py: Python<'_>,
    name: &str,
    given: Option<f64>,
) -> PyResult<Option<Duration>> {
    let time = |seconds| {
        Duration::try_from_secs_f64(seconds).map_err(|_| {
            let message = format!("{name} is {seconds} s: use seconds from 0 on");
            refused(py, "InvalidParameter", &message)
        })
    };
    given.map(time).transpose()
}

/// Runs work of voisin's that cannot be ended early.
pub(crate) fn detached<T: Send>(
    py: Python<'_>,
    work: impl FnOnce() -> Result<T, Error> + Send,
) -> PyResult<T> {
    Watch::new(None).run(py, work)
}

/// The same for work that writes: its wait for other writers can be ended.
pub(crate) fn detached_write<T: Send>(
    py: Python<'_>,
    work: impl FnOnce() -> Result<T, Error> + Send,
) -> PyResult<T> {
    Watch::new(None).write(py, work)
}
