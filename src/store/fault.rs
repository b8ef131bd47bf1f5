//! Where a change can be interrupted, for tests: at each value that is read, and before each that is put while META is marked.
//!
//! A change is interrupted by a panic, as by one of the code of others that runs within it. It is that of the thread which has asked for it.

#[cfg(test)]
mod steps {
    use std::cell::Cell;

    thread_local! {
        static LEFT: Cell<Option<u64>> = const { Cell::new(None) };
    }

    /// Whether what is called here is interrupted after so many steps, and how many it has taken.
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

#[cfg(test)]
pub(crate) use steps::{interrupted_after, step};

#[cfg(not(test))]
#[inline(always)]
pub(crate) fn step() {}
