//! Fault injection for tests: panics at the n-th step of an edit, on the thread that asked for it.
//!
//! A step is a read of a value, or a put before the last stage of an edit. Puts of the last stage
//! are no steps: only LMDB runs between them.

#[cfg(test)]
pub(crate) use steps::{Run, interrupted_after, put, step};

#[cfg(not(test))]
#[inline(always)]
pub(crate) fn step() {}

#[cfg(not(test))]
#[inline(always)]
pub(crate) fn put() {}

#[cfg(test)]
mod steps {
    use std::cell::{Cell, RefCell};

    thread_local! {
        static LEFT: Cell<Option<u64>> = const { Cell::new(None) };
        /// For each put, the steps that were left.
        static PUTS: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    }

    /// What came of some work.
    pub(crate) struct Run {
        pub(crate) is_interrupted: bool,
        /// The number of steps.
        pub(crate) steps: u64,
        /// The steps that are puts, which ascend.
        pub(crate) puts: Vec<u64>,
    }

    /// Runs `work`, and panics after `steps` steps.
    pub(crate) fn interrupted_after(steps: u64, work: impl FnOnce()) -> Run {
        LEFT.set(Some(steps));
        PUTS.take();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        let left = LEFT.take().unwrap_or(0);
        let puts = PUTS.take().into_iter().map(|left| steps - left).collect();
        Run { is_interrupted: result.is_err(), steps: steps - left, puts }
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

    /// A step that is a put.
    pub(crate) fn put() {
        PUTS.with_borrow_mut(|puts| puts.extend(LEFT.get()));
        step();
    }
}
