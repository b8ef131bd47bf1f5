//! Where the time of a piece of work went: computing, waiting for a core, or waiting for something
//! else.
//!
//! Three clocks of the calling thread are read: the wall's, its time on a core
//! (`CLOCK_THREAD_CPUTIME_ID`), and its time in the queue of those that could run and had no core
//! (the second number of `/proc/thread-self/schedstat`). What is left of the wall is time in which
//! it slept: for a lock, a page, the disk. A thread sleeps by a voluntary context switch only, so
//! time that is left without one is an interrupt's or the hypervisor's.
//!
//! The order in which they are read matters. Asking for the time on a core makes the scheduler look
//! whether the thread has had its share, so that many are put into the queue there: it comes first
//! before the work and last after it, and the queue is read next to the wall. All of it takes some
//! 3 microseconds, which count as time on a core.

use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::time::{ClockId, clock_gettime};

/// The clocks of one thread: see the module.
pub(crate) struct Clocks(File);

/// What a piece of work took, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    pub(crate) wall: u64,
    /// On a core.
    pub(crate) cpu: u64,
    /// Able to run, while others had the cores.
    pub(crate) queue: u64,
    /// Context switches that the thread asked for, by waiting.
    pub(crate) voluntary: u64,
    pub(crate) involuntary: u64,
    /// Pages that came from the disk.
    pub(crate) major_faults: u64,
}

impl Clocks {
    /// Those of the calling thread.
    pub(crate) fn of_this_thread() -> Self {
        Self(File::open("/proc/thread-self/schedstat").expect("the statistics of the scheduler"))
    }

    fn queue(&self) -> Duration {
        let mut text = [0; 64];
        let length = self.0.read_at(&mut text, 0).expect("the statistics of the scheduler");
        let nanos = str::from_utf8(&text[..length])
            .ok()
            .and_then(|text| text.split(' ').nth(1)?.parse().ok());
        Duration::from_nanos(nanos.expect("a number"))
    }

    /// What `work` returns, and what it takes.
    pub(crate) fn time<T>(&self, work: impl FnOnce() -> T) -> (T, Spent) {
        let (cpu, before, queue, start) = (core(), counts(), self.queue(), Instant::now());
        let result = work();
        let (wall, queue, after, cpu) =
            (start.elapsed(), self.queue() - queue, counts(), core() - cpu);
        let [voluntary, involuntary, major_faults] = [0, 1, 2].map(|i| after[i] - before[i]);
        let [wall, cpu, queue] = [wall, cpu, queue].map(|time| time.as_micros() as u64);
        (result, Spent { wall, cpu, queue, voluntary, involuntary, major_faults })
    }
}

/// What this thread has had of the cores.
fn core() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("the time of the thread").into()
}

/// Its voluntary and involuntary context switches, and the pages that it has had read from the
/// disk.
fn counts() -> [u64; 3] {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("the usage of the thread");
    [
        usage.voluntary_context_switches(),
        usage.involuntary_context_switches(),
        usage.major_page_faults(),
    ]
    .map(|count| count as u64)
}

impl Spent {
    /// Neither on a core nor waiting for one.
    pub(crate) fn rest(&self) -> u64 {
        self.wall.saturating_sub(self.cpu + self.queue)
    }

    /// Waiting for a lock, a page or the disk.
    pub(crate) fn waited(&self) -> u64 {
        if self.voluntary > 0 { self.rest() } else { 0 }
    }
}

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wall, cpu, queue, voluntary, involuntary, major_faults } = self;
        write!(f, "{wall} {cpu} {queue} {voluntary} {involuntary} {major_faults}")
    }
}

impl FromStr for Spent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Vec<u64> = text
            .split(' ')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map_err(|error| format!("{text}: {error}"))?;
        let [wall, cpu, queue, voluntary, involuntary, major_faults] = numbers[..] else {
            return Err(text.to_owned());
        };
        Ok(Self { wall, cpu, queue, voluntary, involuntary, major_faults })
    }
}
