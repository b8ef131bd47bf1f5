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

use self::residency::pages;
use self::runs::Runs;

/// Bytes of values that a pass in order has asked for and not reached yet: more than one window, at
/// most two. Disks and the system reach their full speed with reads of a megabyte.
pub(crate) const WINDOW_BYTES: usize = 2 << 20;
/// Values are at most this many to a window, so that a pass over small ones starts at once.
const WINDOW_VALUES: usize = 4096;
/// Pages between two values that are read in one piece with them: those of the B-tree.
const WINDOW_GAP: usize = 16;
/// A window is looked at in one place for each of this many bytes, and at its end.
const LOOK_BYTES: usize = 1 << 20;

/// Takes note that this process may only read a file: the system does not tell it what of it is in
/// memory.
pub(crate) fn cannot_tell() {
    advise::cannot_tell();
}

/// The addresses of bytes.
#[inline]
pub(crate) fn addresses(bytes: &[u8]) -> Range<usize> {
    let start = bytes.as_ptr().addr();
    start..start + bytes.len()
}

/// Starts reading runs of pages, by their numbers.
fn ask(runs: &[Range<usize>]) {
    count::asked(runs);
    advise::will_need(&addresses_of(runs));
}

/// The addresses of runs of pages.
fn addresses_of(runs: &[Range<usize>]) -> Vec<Range<usize>> {
    let shift = advise::page_shift();
    runs.iter().map(|run| run.start << shift..run.end << shift).collect()
}

/// Has the pages at some addresses taken out of memory: those of values that were replaced. The
/// system would drop them last if they have been read a lot.
pub(crate) fn drop_replaced(addresses: &[usize]) {
    drop_pages(addresses.iter().map(|address| address >> advise::page_shift()));
}

/// Has pages taken out of memory, by their numbers.
fn drop_pages(pages: impl Iterator<Item = usize>) {
    let mut runs = Runs::default();
    pages.for_each(|page| runs.push(page..page + 1));
    let runs = runs.normalized(0);
    count::dropped(runs);
    advise::page_out(&addresses_of(runs));
}

/// Gives the memory that the program has freed back to the system, for the page cache. Takes some
/// 20 ms where much was freed.
pub(crate) fn release_freed() {
    advise::release_freed();
}

/// Starts reading values that follow each other in a pass, unless they are in memory, by the looks
/// of some of their pages.
pub(crate) fn ask_for_window(values: impl Iterator<Item = Range<usize>>) {
    ask_unless_there(values, WINDOW_GAP);
}

/// The same for values that lie apart, without what lies between them.
pub(crate) fn ask_for(values: impl Iterator<Item = Range<usize>>) {
    ask_unless_there(values, 0);
}

fn ask_unless_there(values: impl Iterator<Item = Range<usize>>, gap: usize) {
    let (shift, mut runs) = (advise::page_shift(), Runs::default());
    for bytes in values.filter(|bytes| !bytes.is_empty()) {
        runs.push(pages(bytes));
    }
    let runs = runs.normalized(gap);
    let all = runs.iter().cloned().flatten();
    let mut looks = all.step_by((LOOK_BYTES >> shift).max(1)).chain(runs.last().map(|r| r.end - 1));
    if looks.any(|page| advise::is_resident(page << shift) != Some(true)) {
        ask(runs);
    }
}

/// The same values, in order, with the pages of those to come asked for. What is read ahead grows
/// from one value, so that whoever needs only the first few reads no more.
pub(crate) fn ahead<I: Iterator>(
    values: I,
    bytes: impl Fn(&I::Item) -> Range<usize>,
) -> impl Iterator<Item = I::Item> {
    let mut values = values.fuse();
    let (mut queue, mut queued_bytes, mut most) = (VecDeque::new(), 0, 1);
    std::iter::from_fn(move || {
        // A half of the last window has been taken.
        if queue.len() <= most / 4 && queued_bytes <= WINDOW_BYTES {
            let start = queue.len();
            while queue.len() < most && queued_bytes < 2 * WINDOW_BYTES {
                let Some(value) = values.next() else { break };
                queued_bytes += bytes(&value).len();
                queue.push_back(value);
            }
            // The first is touched at once.
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

/// How many pages have been asked for, and taken out of memory, in tests.
pub(crate) mod count {
    use std::ops::Range;

    #[cfg(test)]
    thread_local! {
        static ASKED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
        static DROPPED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
    }

    #[cfg(test)]
    fn pages(runs: &[Range<usize>]) -> u64 {
        runs.iter().map(|run| run.len() as u64).sum()
    }

    #[cfg(test)]
    pub(super) fn asked(runs: &[Range<usize>]) {
        ASKED.set(ASKED.get() + pages(runs));
    }

    #[cfg(test)]
    pub(super) fn dropped(runs: &[Range<usize>]) {
        DROPPED.set(DROPPED.get() + pages(runs));
    }

    #[cfg(not(test))]
    pub(super) fn asked(_runs: &[Range<usize>]) {}

    #[cfg(not(test))]
    pub(super) fn dropped(_runs: &[Range<usize>]) {}

    /// The pages that this thread has asked for since the last call.
    #[cfg(test)]
    pub(crate) fn take_asked() -> u64 {
        ASKED.take()
    }

    /// The pages that this thread has had taken out of memory since the last call.
    #[cfg(test)]
    pub(crate) fn take_dropped() -> u64 {
        DROPPED.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_sees_the_values_that_it_would_see_without_reading_ahead() {
        let bytes = vec![7u8; 8 << 20];
        for (count, length) in [(0, 1), (1, 1), (5, 100), (3000, 2000), (20_000, 0), (40, 200_000)]
        {
            let values = (0..count).map(|nth| (nth, &bytes[nth * 64 % 4096..][..length]));
            let pulled = std::cell::Cell::new(0);
            let counted = values.clone().inspect(|_| pulled.set(pulled.get() + 1));
            let mut seen = Vec::new();
            for value in ahead(counted, |(_, value)| addresses(value)) {
                seen.push(value);
                let (seen, ahead) = (seen.len(), pulled.get() - seen.len());
                assert!(ahead <= (4 * seen).min(WINDOW_VALUES), "{ahead} ahead of {seen}");
                assert!(ahead * length <= 2 * WINDOW_BYTES + length, "{ahead} ahead of {seen}");
            }
            assert_eq!(seen, values.collect::<Vec<_>>());
        }
        assert_eq!(count::take_asked(), 0, "all is in memory");
    }
}
