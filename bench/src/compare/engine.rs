//! The input of an engine that is called from Rust, and the operations that it must support.

use std::fs::File;
use std::sync::{Barrier, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use memmap2::Mmap;

use super::protocol::{By, Task};

/// The number of queries that a thread takes at a time: few, so that all threads end together.
const SHARE: usize = 4;

/// The input of an engine. The vectors are mapped, so that they count in no engine's memory.
pub struct Input {
    pub task: Task,
    vectors: Mmap,
    queries: Mmap,
}

impl Input {
    pub fn new(task: Task) -> Self {
        let map = |path| {
            let file = File::open(path).expect("a file of vectors");
            // SAFETY: the parent has written the file, and no process changes it while children
            // live.
            unsafe { Mmap::map(&file) }.expect("a map")
        };
        Self { vectors: map(&task.vectors), queries: map(&task.queries), task }
    }

    /// The first rows of the file, as many as the task says.
    pub fn vectors(&self) -> &[f32] {
        let vectors: &[f32] = bytemuck::cast_slice(&self.vectors);
        &vectors[..self.task.rows * self.task.dimensions]
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

/// A search of one thread: the nearest ids of a query, by the engine's counterpart of `ef_search`.
pub type Searcher<'a> = Box<dyn FnMut(&[f32], usize) -> Vec<u32> + 'a>;

/// An engine that is called from Rust.
pub trait Engine: Sync {
    /// Commits all vectors without linking them.
    fn store(&mut self) {
        panic!("this engine has no vectors outside its index");
    }

    /// Builds, and commits if the engine has commits.
    fn build(&mut self);

    /// Builds in this much memory; continues a build that was killed.
    fn build_within(&mut self, _memory_bytes: u64) {
        panic!("this engine builds in as much memory as it needs");
    }

    /// Saves the index to disk, and returns the bytes of its files.
    fn save(&mut self) -> u64;

    /// Opens the saved index.
    fn open(&mut self);

    /// The duration of answering, and `k` ids a query.
    fn search(&self, queries: &[f32], knob: usize, threads: usize) -> (Duration, Vec<u32>);

    /// The same on one thread, with one call a query, if `search` makes one call for all.
    fn search_one_by_one(&self, _queries: &[f32], _knob: usize) -> (Duration, Vec<u32>) {
        panic!("this engine is not asked in two ways")
    }

    /// The ids that one thread finds by vectors, if the index has codes.
    fn search_by_vectors(&self, _queries: &[f32], _knob: usize) -> Vec<u32> {
        panic!("this engine has no codes")
    }

    /// The duration of exact answers, and the ids: one query after the other, or all in one call.
    fn scan(&self, _queries: &[f32], _batch: bool) -> (Duration, Vec<u32>) {
        panic!("this engine is not asked for exact answers");
    }

    /// Adds one item, links it, and makes it durable.
    fn update(&mut self, item: u32, vector: &[f32]);

    /// Opens the saved index for [`searcher`](Self::searcher)s with this much memory.
    fn ready(&mut self, _memory_bytes: Option<u64>) {
        self.open();
    }

    /// Restricts what [`searcher`](Self::searcher)s find to these ids.
    fn filter(&mut self, _candidates: &[u32], _by: By) {
        panic!("this engine is not asked to filter")
    }

    /// What one thread needs to search.
    fn searcher(&self) -> Searcher<'_> {
        panic!("this engine is not asked for single queries")
    }

    /// Reads the file through its map, on all threads: the duration, and the bytes of the file.
    fn read(&self) -> (Duration, u64) {
        panic!("this engine is not asked to read its file");
    }
}

/// Some queries, and the space for the ids of their answers.
type Share<'a> = (&'a [f32], &'a mut [u32]);

/// Queries that several threads answer together.
pub struct Work<'a> {
    dimensions: usize,
    k: usize,
    shares: Mutex<Box<dyn Iterator<Item = Share<'a>> + Send + 'a>>,
    ready: Barrier,
    /// When the first thread began, that is, when all were ready.
    start: OnceLock<Instant>,
}

impl Work<'_> {
    /// Answers queries as long as there are any; called once a thread, after the thread has opened
    /// all that it needs. The time counts from when all threads are here.
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

/// Lets `threads` threads answer `queries`, each in a call of `body`, which opens what the thread
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
