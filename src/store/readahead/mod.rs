//! Reading ahead of what is about to be touched, where the file is not in memory.
//!
//! The map of an environment is advised to be read at random (`Index` opens it so): a page fault
//! then reads one page, where it would read megabytes. So whoever knows what comes next says so.
//! Passes in order go through [`ahead`], or look values up in order, which is noticed (`stream`).
//! Searches ask for what they read in batches, if their index is cold: see [`residency`].
//!
//! - `advise`: the system calls. `runs`: batches as sorted runs of pages.
//! - `residency`: what is believed to be in memory. `warmth`: what of an index is read first.
//! - `stream`: lookups in order.
//!
//! Invariant: nothing here changes a result, or fails. All unsafe code is in `advise`.

mod advise;
pub(crate) mod residency;
mod runs;
pub(crate) mod stream;
pub(crate) mod warmth;

use std::collections::VecDeque;
use std::ops::Range;

use self::runs::Runs;

/// Bytes of values that a pass in order has asked for and not reached yet: at least one window, at
/// most two. Disks and the system reach their full speed with reads of a megabyte.
const WINDOW_BYTES: usize = 2 << 20;
/// Values are at most this many to a window, so that a pass over small ones starts at once.
const WINDOW_VALUES: usize = 4096;
/// Pages between two values that are read in one piece with them: those of the B-tree.
const WINDOW_GAP: usize = 16;
/// A window is looked at in one place for each of this many bytes, and at its end.
const LOOK_BYTES: usize = 1 << 20;

/// The addresses of bytes.
#[inline]
pub(crate) fn addresses(bytes: &[u8]) -> Range<usize> {
    let start = bytes.as_ptr().addr();
    start..start + bytes.len()
}

/// Starts reading runs of pages, by their numbers.
fn ask(runs: &[Range<usize>]) {
    let shift = advise::page_shift();
    count::asked(runs);
    let runs: Vec<_> = runs.iter().map(|run| run.start << shift..run.end << shift).collect();
    advise::will_need(&runs);
}

/// Starts reading values that follow each other in a pass, unless they are in memory, by the looks
/// of some of their pages.
pub(crate) fn ask_for_window(values: impl Iterator<Item = Range<usize>>) {
    let (shift, mut runs) = (advise::page_shift(), Runs::default());
    for bytes in values.filter(|bytes| !bytes.is_empty()) {
        runs.push(bytes.start >> shift..((bytes.end - 1) >> shift) + 1);
    }
    let runs = runs.normalized(WINDOW_GAP);
    let pages = runs.iter().cloned().flatten();
    let mut looks =
        pages.step_by((LOOK_BYTES >> shift).max(1)).chain(runs.last().map(|r| r.end - 1));
    if looks.any(|page| !advise::is_resident(page << shift)) {
        ask(runs);
    }
}

/// The same values, in order, with the pages of those to come asked for. The windows grow from one
/// value, so that whoever needs only the first few reads no more.
pub(crate) fn ahead<I: Iterator>(
    values: I,
    bytes: impl Fn(&I::Item) -> Range<usize>,
) -> impl Iterator<Item = I::Item> {
    let mut values = values.fuse();
    let (mut queue, mut queued_bytes, mut most) = (VecDeque::new(), 0, 1);
    std::iter::from_fn(move || {
        if queued_bytes < WINDOW_BYTES && queue.len() < most {
            let start = queue.len();
            let mut added = 0;
            while added < WINDOW_BYTES && queue.len() < 2 * most {
                let Some(value) = values.next() else { break };
                added += bytes(&value).len();
                queue.push_back(value);
            }
            queued_bytes += added;
            // The first values are touched at once.
            if most > 1 {
                ask_for_window(queue.range(start..).map(&bytes));
            }
            most = (2 * most).min(WINDOW_VALUES);
        }
        let value = queue.pop_front()?;
        queued_bytes -= bytes(&value).len();
        Some(value)
    })
}

/// How many pages have been asked for, in tests.
pub(crate) mod count {
    use std::ops::Range;

    #[cfg(test)]
    thread_local! {
        static ASKED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
    }

    #[cfg(test)]
    pub(super) fn asked(runs: &[Range<usize>]) {
        ASKED.set(ASKED.get() + runs.iter().map(|run| run.len() as u64).sum::<u64>());
    }

    #[cfg(not(test))]
    pub(super) fn asked(_runs: &[Range<usize>]) {}

    /// The pages that this thread has asked for since the last call.
    #[cfg(test)]
    pub(crate) fn take_asked() -> u64 {
        ASKED.take()
    }
}
