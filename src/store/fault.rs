//! Fault injection for tests: panics at the n-th step of an edit, on the thread that asked for it.
//!
//! A step is a read of a value, or a put before the last stage of an edit. Puts of the last stage
//! are no steps: only LMDB runs between them.

#[cfg(test)]
pub(crate) use steps::{interrupted_after, step};

#[cfg(not(test))]
#[inline(always)]
pub(crate) fn step() {}

#[cfg(test)]
mod steps {
    use std::cell::Cell;

    thread_local! {
        static LEFT: Cell<Option<u64>> = const { Cell::new(None) };
    }

    /// Runs `work`, and panics after `steps` steps. Returns whether it panicked, and the number of
    /// steps.
    pub(crate) fn interrupted_after(steps: u64, work: impl FnOnce()) -> (bool, u64) {
        LEFT.set(Some(steps));
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        let left = LEFT.take().unwrap_or(0);
        (result.is_err(), steps - left)
    }

    pub(crate) fn step() {
        match LEFT.get() {
            Some(0) => {
                LEFT.set(None);
                panic!("interrupted on purpose");
            }
            left => LEFT.set(left.map(|left| left - 1)),
        }
    }
}
