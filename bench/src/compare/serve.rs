//! The child's side of the protocol, for engines that are called from Rust.

use std::fs::{self, File};
use std::io::{Write as _, stdin, stdout};
use std::sync::{Barrier, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use memmap2::Mmap;
use serde::Serialize;

use super::engines;
use super::protocol::{Hello, Reply, Request, Task};
use crate::report::median;
use crate::usage::cpu_seconds;

/// Queries that a thread takes at a time: few, so that all threads end together.
const SHARE: usize = 4;

/// What an engine indexes. The vectors are mapped, so that they are in no engine's memory.
pub struct Input {
    pub task: Task,
    vectors: Mmap,
    queries: Mmap,
}

impl Input {
    fn new(task: Task) -> Self {
        let map = |path| {
            let file = File::open(path).expect("a file of vectors");
            // SAFETY: the parent has written the file, and nobody changes it while children live.
            unsafe { Mmap::map(&file) }.expect("a map")
        };
        Self { vectors: map(&task.vectors), queries: map(&task.queries), task }
    }

    pub fn vectors(&self) -> &[f32] {
        bytemuck::cast_slice(&self.vectors)
    }

    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.vectors().chunks_exact(self.task.dimensions)
    }

    pub fn queries(&self) -> &[f32] {
        bytemuck::cast_slice(&self.queries)
    }

    pub fn query(&self, number: usize) -> &[f32] {
        &self.queries()[number * self.task.dimensions..][..self.task.dimensions]
    }

    /// An item that is not in the index yet, and its vector.
    pub fn new_item(&self, number: usize) -> (u32, &[f32]) {
        ((self.task.rows + number) as u32, self.query(number))
    }
}

/// An engine that is called from Rust.
pub trait Engine {
    /// Commits all vectors without linking them.
    fn store(&mut self) {
        panic!("this engine has no vectors outside its index");
    }

    /// Builds, and commits where there are commits.
    fn build(&mut self);

    /// Brings the index to the disk, and returns the bytes of its files.
    fn save(&mut self) -> u64;

    /// Opens what was saved.
    fn open(&mut self);

    /// The seconds that answering took, and `k` ids a query.
    fn search(&self, queries: &[f32], knob: usize, threads: usize) -> (Duration, Vec<u32>);

    /// The same on one thread, in a call a query, where `search` makes one for all.
    fn search_one_by_one(&self, _queries: &[f32], _knob: usize) -> (Duration, Vec<u32>) {
        panic!("this engine is not asked in two ways")
    }

    /// The ids that one thread finds by vectors, where the index has codes.
    fn search_by_vectors(&self, _queries: &[f32], _knob: usize) -> Vec<u32> {
        panic!("this engine has no codes")
    }

    /// The seconds that exact answers took, and the ids: one query after the other, or all in one
    /// call.
    fn scan(&self, _queries: &[f32], _batch: bool) -> (Duration, Vec<u32>) {
        panic!("this engine is not asked for exact answers");
    }

    /// Adds one item, links it, and makes it durable.
    fn update(&mut self, item: u32, vector: &[f32]);

    /// Reads the file through its map, on all threads: how long that took, and how many bytes it
    /// has.
    fn read(&self) -> (Duration, u64) {
        panic!("this engine is not asked to read its file");
    }
}

/// Answers requests until there are no more.
pub fn serve(name: &str) {
    let mut lines = stdin().lines().map(|line| line.expect("a line"));
    let task: Task = serde_json::from_str(&lines.next().expect("a task")).expect("a task");
    // For as long as the process.
    let input: &'static Input = Box::leak(Box::new(Input::new(task)));
    let mut engine = engines::create(name, input);
    say(&Hello { version: engines::version(name) });
    for line in lines {
        let request = serde_json::from_str(&line).expect("a request");
        say(&answer(&mut *engine, input, request));
    }
}

fn say(reply: &impl Serialize) {
    let line = serde_json::to_string(reply).expect("a line");
    writeln!(stdout(), "{line}").expect("to reply");
}

fn answer(engine: &mut dyn Engine, input: &Input, request: Request) -> Reply {
    let start = Instant::now();
    match request {
        Request::Store => engine.store(),
        Request::Build => engine.build(),
        Request::Save => {
            let bytes = engine.save();
            return Reply { seconds: start.elapsed().as_secs_f64(), bytes, ..Reply::default() };
        }
        Request::Open => {
            engine.open();
            engine.search(input.query(0), 40, 1);
        }
        Request::Search { knob, threads, answers } => {
            let (time, ids) = engine.search(input.queries(), knob, threads);
            fs::write(answers, bytemuck::cast_slice(&ids)).expect("to write answers");
            return Reply { seconds: time.as_secs_f64(), ..Reply::default() };
        }
        Request::SearchOneByOne { knob, answers } => {
            let (time, ids) = engine.search_one_by_one(input.queries(), knob);
            fs::write(answers, bytemuck::cast_slice(&ids)).expect("to write answers");
            return Reply { seconds: time.as_secs_f64(), ..Reply::default() };
        }
        Request::SearchByVectors { knob, answers } => {
            let ids = engine.search_by_vectors(input.queries(), knob);
            fs::write(answers, bytemuck::cast_slice(&ids)).expect("to write answers");
        }
        Request::Scan { queries, batch, answers } => {
            let (time, ids) =
                engine.scan(&input.queries()[..queries * input.task.dimensions], batch);
            fs::write(answers, bytemuck::cast_slice(&ids)).expect("to write answers");
            return Reply { seconds: time.as_secs_f64(), ..Reply::default() };
        }
        Request::Update { times } => {
            let update = |number| {
                let (item, vector) = input.new_item(number);
                let (start, cpu) = (Instant::now(), cpu_seconds());
                engine.update(item, vector);
                (start.elapsed().as_secs_f64(), cpu_seconds() - cpu)
            };
            let (seconds, cpu): (Vec<f64>, Vec<f64>) = (0..times).map(update).unzip();
            return Reply { seconds: median(seconds), cpu_seconds: median(cpu), bytes: 0 };
        }
        Request::Read => {
            let (time, bytes) = engine.read();
            return Reply { seconds: time.as_secs_f64(), bytes, ..Reply::default() };
        }
    }
    Reply { seconds: start.elapsed().as_secs_f64(), ..Reply::default() }
}

/// Some queries, and where the ids of their answers go.
type Share<'a> = (&'a [f32], &'a mut [u32]);

/// Queries that several threads answer together.
pub struct Work<'a> {
    dimensions: usize,
    k: usize,
    shares: Mutex<Box<dyn Iterator<Item = Share<'a>> + Send + 'a>>,
    ready: Barrier,
    /// When the first thread began, which is when all were ready.
    start: OnceLock<Instant>,
}

impl Work<'_> {
    /// Answers queries as long as there are any; called once a thread, when all that the thread
    /// needs is open. The time counts from when all threads are here.
    pub fn answer<A: IntoIterator<Item = u32>>(&self, mut nearest: impl FnMut(&[f32]) -> A) {
        self.ready.wait();
        self.start.get_or_init(Instant::now);
        let next = || self.shares.lock().expect("no panic in another thread").next();
        while let Some((queries, answers)) = next() {
            for (query, ids) in
                queries.chunks_exact(self.dimensions).zip(answers.chunks_exact_mut(self.k))
            {
                ids.iter_mut().zip(nearest(query)).for_each(|(id, found)| *id = found);
            }
        }
    }
}

/// Has `threads` threads answer `queries`, each in a call of `body`, which opens what the thread
/// needs and calls [`Work::answer`].
pub fn answer_all(
    input: &Input,
    queries: &[f32],
    threads: usize,
    body: impl Fn(&Work<'_>) + Sync,
) -> (Duration, Vec<u32>) {
    let (dimensions, k) = (input.task.dimensions, input.task.k);
    let mut answers = vec![u32::MAX; queries.len() / dimensions * k];
    let shares = queries.chunks(SHARE * dimensions).zip(answers.chunks_mut(SHARE * k));
    let shares = Mutex::new(Box::new(shares) as Box<_>);
    let work = Work { dimensions, k, shares, ready: Barrier::new(threads), start: OnceLock::new() };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| body(&work));
        }
    });
    let time = work.start.get().expect("threads that have begun").elapsed();
    drop(work);
    (time, answers)
}
