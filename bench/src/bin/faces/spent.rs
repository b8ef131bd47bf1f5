//! Where the time of a piece of work went: computing, waiting for a core, or waiting for something else.
//!
//! Three clocks of the calling thread are read: the wall, its time on a core (`CLOCK_THREAD_CPUTIME_ID`), and its time in the queue of those that
//! could run and had no core (the second number of `/proc/thread-self/schedstat`). What is left of the wall is time in which it slept: for a lock, a
//! page, the disk. A thread sleeps by a voluntary context switch only, so time that is left without one is none of these: it is the
//! hypervisor's, or an interrupt's. Reading them all takes some 3 microseconds.

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

#[derive(Clone, Copy)]
struct Moment {
    cpu: Duration,
    queue: Duration,
    counts: [u64; 3],
}

impl Clocks {
    /// Those of the calling thread.
    pub(crate) fn of_this_thread() -> Self {
        Self(File::open("/proc/thread-self/schedstat").expect("the statistics of the scheduler"))
    }

    fn now(&self) -> Moment {
        let mut text = [0; 64];
        let length = self.0.read_at(&mut text, 0).expect("the statistics of the scheduler");
        let queue = str::from_utf8(&text[..length]).ok().and_then(|text| text.split(' ').nth(1)?.parse().ok()).expect("a number");
        let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("the usage of the thread");
        let cpu = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("the time of the thread").into();
        let counts = [usage.voluntary_context_switches(), usage.involuntary_context_switches(), usage.major_page_faults()];
        Moment { cpu, queue: Duration::from_nanos(queue), counts: counts.map(|count| count as u64) }
    }

    /// What `work` returns and takes, with the reading of the clocks.
    pub(crate) fn time<T>(&self, work: impl FnOnce() -> T) -> (T, Spent) {
        let (start, from) = (Instant::now(), self.now());
        let result = work();
        let (to, wall) = (self.now(), start.elapsed());
        let [voluntary, involuntary, major_faults] = [0, 1, 2].map(|i| to.counts[i] - from.counts[i]);
        let [wall, cpu, queue] = [wall, to.cpu - from.cpu, to.queue - from.queue].map(|time| time.as_micros() as u64);
        (result, Spent { wall, cpu, queue, voluntary, involuntary, major_faults })
    }
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
        let numbers: Vec<u64> = text.split(' ').map(str::parse).collect::<Result<_, _>>().map_err(|error| format!("{text}: {error}"))?;
        let [wall, cpu, queue, voluntary, involuntary, major_faults] = numbers[..] else { return Err(text.to_owned()) };
        Ok(Self { wall, cpu, queue, voluntary, involuntary, major_faults })
    }
}
