//! Breaks down the time of a piece of work: computing, waiting for a core, or waiting for something
//! else.
//!
//! It reads three clocks of the calling thread: wall time, its time on a core
//! (`CLOCK_THREAD_CPUTIME_ID`), and its time in the run queue, able to run without a core (the
//! second number of `/proc/thread-self/schedstat`). The rest of the wall time is sleep: for a lock,
//! a page, the disk. A thread sleeps only by a voluntary context switch, so remaining time without
//! one was taken by an interrupt or the hypervisor.
//!
//! The order of reading matters. Reading the time on a core makes the scheduler check whether the
//! thread has used its share, so that many are put into the run queue there: it comes first before
//! the work and last after it, and the queue is read next to the wall clock. All of it takes some 3
//! microseconds, which count as time on a core.

use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::time::{ClockId, clock_gettime};

/// The clocks of one thread: see the module.
pub(crate) struct Clocks(File);

/// The time of a piece of work, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    pub(crate) wall: u64,
    /// On a core.
    pub(crate) cpu: u64,
    /// Able to run, while others had the cores.
    pub(crate) queue: u64,
    /// The number of voluntary context switches.
    pub(crate) voluntary: u64,
    pub(crate) involuntary: u64,
    /// The number of pages read from disk.
    pub(crate) major_faults: u64,
}

impl Clocks {
    /// The clocks of the calling thread.
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

    /// Runs `work`, and returns its result and its times.
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

/// The time of this thread on a core.
fn core() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("the time of the thread").into()
}

/// The voluntary and involuntary context switches of this thread, and its pages read from disk.
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
