//! Measures one engine at one recall in one amount of memory: in a new process, whose index is not
//! in the page cache, in a cgroup of that size.
//!
//! The process joins the group before it opens the index, and after it has mapped the queries,
//! which are in the page cache: what it reads and keeps from then on counts, for every engine
//! alike. No query is asked twice.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, thread};

use voisin_bench::compare::child::Child;
use voisin_bench::compare::machine::Ticks;
use voisin_bench::compare::plan::K;
use voisin_bench::compare::protocol::{Reply, Request};

use crate::cgroup::Cgroup;
use crate::counters::{Counters, own_bytes};
use crate::indexes::{Built, Place};
use crate::pages::{self, PAGE_BYTES};
use crate::plan::{
    FIRST, Memory, PATIENCE, PROCESSES, SHARED_STEADY, SHARED_WARMING, STEADY, STEADY_ON_TWO,
    Stretch, WARMING,
};
use crate::results::{Cell, Failed, Figures, Outcome, Shared, Start};
use crate::sets::{JUDGED, Judge, QUERIES};

/// The number of queries over which a speed is averaged, to see when it is reached.
const WINDOW: usize = 100;
/// Of the steady speed.
const NEARLY: f64 = 0.9;

/// What is measured.
pub(crate) struct Wanted<'a> {
    pub(crate) place: &'a Place<'a>,
    pub(crate) built: &'a Built,
    pub(crate) judge: &'a Judge,
    pub(crate) recall: f64,
    pub(crate) knob: usize,
    pub(crate) memory: Memory,
    /// Whether by several processes, too.
    pub(crate) is_shared: bool,
}

/// A process that searches, and what it had before.
struct Searcher<'a> {
    wanted: &'a Wanted<'a>,
    child: Child,
    /// For answers and times.
    files: [PathBuf; 2],
    own_bytes: u64,
}

/// The answers of a stretch, and their times.
struct Stretched {
    answers: Vec<u32>,
    /// When each began, and how long it took, in nanoseconds; in the order of their beginnings.
    times: Vec<[u64; 2]>,
    counted: Counters,
    seconds: f64,
}

/// See the module.
///
/// # Errors
/// Those of [`Cgroup::new`].
pub(crate) fn measure(wanted: &Wanted<'_>) -> Result<Outcome, String> {
    let failed = |why| Outcome::Failed(wanted.failed(why));
    let ticks = Ticks::now();
    let mut cell = match wanted.in_group(|group| alone(wanted, group))? {
        Ok(cell) => cell,
        Err(why) => return Ok(failed(why)),
    };
    if wanted.is_shared {
        match wanted.in_group(|group| share(wanted, group))? {
            Ok(shared) => cell.shared = Some(shared),
            Err(why) => cell.shared_failure = Some(why),
        }
    }
    cell.others_share = ticks.others_since();
    Ok(Outcome::Measured(Box::new(cell)))
}

/// One process.
fn alone(wanted: &Wanted<'_>, group: Option<&Cgroup>) -> Result<Cell, String> {
    let limit_bytes = wanted.limit_bytes();
    let mut searcher = Searcher::start(wanted, group, 0);
    let before = Counters::of(searcher.child.id());
    let opened = searcher.open(limit_bytes)?;
    let open_read_bytes = (Counters::of(searcher.child.id()) - before).read_bytes;
    let first = searcher.ask(FIRST)?;
    let warming = searcher.ask(WARMING)?;
    let steady = searcher.ask(STEADY)?;
    let on_two = searcher.ask(STEADY_ON_TWO)?;
    let figures = steady.figures(STEADY.threads);
    let start = Start {
        open_ms: opened.seconds * 1e3,
        open_read_bytes,
        first_ms: first.seconds * 1e3,
        seconds_to_speed: first
            .seconds_to(&warming, NEARLY * figures.qps)
            .map(|seconds| opened.seconds + seconds),
    };
    // The first queries are the judged ones, as many as there was time for.
    let judged = [&*first.answers, &warming.answers[..warming.times.len() * K]].concat();
    Ok(Cell {
        set: wanted.place.set.name.clone(),
        engine: wanted.place.spec.name.to_owned(),
        version: searcher.child.version.clone(),
        recall: wanted.recall,
        memory: wanted.memory,
        file_bytes: wanted.built.file_bytes,
        limit_bytes,
        knob: wanted.knob,
        found_recall: wanted.judge.recall(&judged),
        start,
        warming: warming.figures(WARMING.threads),
        steady: figures,
        steady_on_two: on_two.figures(STEADY_ON_TWO.threads),
        peak_bytes: group.and_then(Cgroup::peak_bytes),
        own_bytes: searcher.own_bytes(),
        shared: None,
        shared_failure: None,
        others_share: 0.0,
    })
}

/// Several processes that share one group, each with one thread and with queries of its own.
fn share(wanted: &Wanted<'_>, group: Option<&Cgroup>) -> Result<Shared, String> {
    let mut searchers: Vec<Searcher<'_>> =
        (0..PROCESSES).map(|number| Searcher::start(wanted, group, number)).collect();
    let part = QUERIES / PROCESSES;
    together(&mut searchers, |number, searcher| {
        searcher.open(wanted.limit_bytes())?;
        searcher.ask(SHARED_WARMING.after(number * part))
    })?;
    let all = together(&mut searchers, |number, searcher| {
        searcher.ask(SHARED_STEADY.after(number * part))
    })?;
    let own_bytes = searchers.iter().map(Searcher::own_bytes).max().unwrap_or(0);
    Ok(Shared { processes: PROCESSES, steady: Figures::of_all(&all), own_bytes })
}

/// Asks all processes at the same time.
fn together<'a>(
    searchers: &mut [Searcher<'a>],
    work: impl Fn(usize, &mut Searcher<'a>) -> Result<Stretched, String> + Sync,
) -> Result<Vec<Stretched>, String> {
    let work = &work;
    thread::scope(|scope| {
        let numbered = searchers.iter_mut().enumerate();
        let running: Vec<_> = numbered
            .map(|(number, searcher)| scope.spawn(move || work(number, searcher)))
            .collect();
        running.into_iter().map(|one| one.join().expect("a process")).collect()
    })
}

impl Wanted<'_> {
    fn limit_bytes(&self) -> Option<u64> {
        self.memory.limit_bytes(self.built.file_bytes)
    }

    /// Has the index in the page cache or not, and the queries in it, and lets `work` start
    /// processes in a new group, unless there is no limit. They must have ended when it returns.
    /// The inner error is that the group is too small for them, or that a peer has failed.
    ///
    /// # Errors
    /// Those of [`Cgroup::new`], and any other of `work`.
    fn in_group<T>(
        &self,
        work: impl FnOnce(Option<&Cgroup>) -> Result<T, String>,
    ) -> Result<Result<T, String>, String> {
        let files = pages::files(&self.built.folder);
        let limit_bytes = self.limit_bytes();
        match limit_bytes {
            Some(_) => pages::drop_files(&files),
            None => pages::fill(&files),
        }
        pages::fill(&[self.place.set.query_file()]);
        let group = limit_bytes.map(Cgroup::new).transpose()?;
        match work(group.as_ref()) {
            Err(_) if group.as_ref().is_some_and(Cgroup::has_killed) => {
                let megabytes = limit_bytes.unwrap_or(0) / 1_000_000;
                Ok(Err(format!("killed: its own memory exceeds {megabytes} MB")))
            }
            // A run of hours does not end with a peer that does not work.
            Err(why) if !self.place.spec.is_voisin() => Ok(Err(why)),
            other => other.map(Ok),
        }
    }

    fn failed(&self, why: String) -> Failed {
        Failed {
            set: self.place.set.name.clone(),
            engine: self.place.spec.name.to_owned(),
            recall: self.recall,
            memory: self.memory,
            why,
        }
    }
}

impl<'a> Searcher<'a> {
    fn start(wanted: &'a Wanted<'a>, group: Option<&Cgroup>, number: usize) -> Self {
        let place = wanted.place;
        let child = place.start(&wanted.built.folder, 1);
        let own_bytes = own_bytes(child.id());
        if let Some(group) = group {
            group.join(child.id());
        }
        let files = ["answers", "times"].map(|what| place.scratch.join(format!("{what}-{number}")));
        Self { wanted, child, files, own_bytes }
    }

    /// The memory that is the process's own, beyond that before it opened the index.
    fn own_bytes(&self) -> u64 {
        own_bytes(self.child.id()).saturating_sub(self.own_bytes)
    }

    /// # Errors
    /// The process has ended, or was killed as it took too long.
    fn open(&mut self, memory_bytes: Option<u64>) -> Result<Reply, String> {
        self.ask_within(&Request::Ready { memory_bytes }, PATIENCE)
    }

    fn ask_within(&mut self, request: &Request, limit: Duration) -> Result<Reply, String> {
        let reply = self.child.try_to_ask_within(request, limit)?;
        reply.ok_or_else(|| format!("killed: it did not answer within {limit:.0?}"))
    }

    /// # Errors
    /// As of [`open`](Self::open).
    fn ask(&mut self, stretch: Stretch) -> Result<Stretched, String> {
        let Stretch { first, count, seconds, threads } = stretch;
        let knob = self.wanted.knob;
        let [answers, times] = self.files.clone();
        let before = Counters::of(self.child.id());
        let each = Request::Each { first, count, seconds, knob, threads, answers, times };
        let limit = Duration::from_secs_f64(seconds) + PATIENCE;
        let reply = self.ask_within(&each, limit)?;
        let counted = Counters::of(self.child.id()) - before;
        let times: Vec<u64> = numbers(&self.files[1], u64::from_le_bytes);
        let mut times = times.as_chunks().0.to_vec();
        times.retain(|[_, took]| *took > 0);
        let answers = numbers(&self.files[0], u32::from_le_bytes);
        Ok(Stretched { answers, times, counted, seconds: reply.seconds })
    }
}

fn numbers<T, const N: usize>(file: &Path, number: impl Fn([u8; N]) -> T) -> Vec<T> {
    let bytes = fs::read(file).expect("an answer");
    bytes.as_chunks().0.iter().map(|bytes| number(*bytes)).collect()
}

impl Stretched {
    fn figures(&self, threads: usize) -> Figures {
        let queries = self.times.len();
        let counted = self.counted;
        Figures::new(self.took(), threads, queries as f64 / self.seconds, counted)
    }

    fn took(&self) -> Vec<u64> {
        self.times.iter().map(|[_, took]| *took).collect()
    }

    /// The time from the beginning of this stretch until a window of the next one, on one thread,
    /// has this speed.
    fn seconds_to(&self, next: &Self, qps: f64) -> Option<f64> {
        let window = next.times.windows(WINDOW).find(|window| {
            let [[began, _], [last, took]] = [window[0], window[WINDOW - 1]];
            WINDOW as f64 * 1e9 / (last + took - began) as f64 >= qps
        })?;
        Some(self.seconds + window[0][0] as f64 / 1e9)
    }
}

impl Figures {
    fn new(mut took: Vec<u64>, threads: usize, qps: f64, counted: Counters) -> Self {
        assert!(!took.is_empty(), "not a query was answered");
        took.sort_unstable();
        let ms = |share: f64| took[((took.len() - 1) as f64 * share).round() as usize] as f64 / 1e6;
        let each = |count: u64| count as f64 / took.len() as f64;
        Self {
            queries: took.len() as u64,
            threads,
            qps,
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
            p999_ms: ms(0.999),
            major_faults: each(counted.major_faults),
            pages: each(counted.read_bytes) / PAGE_BYTES as f64,
            read_bytes: each(counted.read_bytes),
        }
    }

    /// Of processes that answered at the same time: their speeds are added.
    fn of_all(all: &[Stretched]) -> Self {
        let counted = all.iter().fold(Counters::default(), |sum, one| sum + one.counted);
        let took = all.iter().flat_map(Stretched::took).collect();
        let qps = all.iter().map(|one| one.times.len() as f64 / one.seconds).sum();
        Self::new(took, all.len(), qps, counted)
    }
}

/// The recall and the answers of the judged queries at this setting, in memory.
pub(crate) fn recall_in_memory(
    child: &mut Child,
    scratch: &Path,
    judge: &Judge,
    knob: usize,
    threads: usize,
) -> f64 {
    let [answers, times] = ["answers", "times"].map(|what| scratch.join(what));
    let request = Request::Each {
        first: 0,
        count: JUDGED,
        seconds: 3600.0,
        knob,
        threads,
        answers: answers.clone(),
        times,
    };
    child.ask(&request);
    judge.recall(&numbers(&answers, u32::from_le_bytes))
}
