//! Queries that are answered one at a time, with the time of each.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use super::engine::{Engine, Input};

/// See [`Request::Each`](super::protocol::Request::Each).
pub(super) struct Each {
    pub(super) answers: Vec<u32>,
    /// For each query its beginning and its duration, in nanoseconds.
    pub(super) times: Vec<u64>,
    /// From the first beginning to the last end.
    pub(super) time: Duration,
    pub(super) asked: u64,
}

/// A query that was answered.
struct Answered {
    number: usize,
    began: u64,
    took: u64,
    ids: Vec<u32>,
}

/// Answers these queries of the input in order, each in a call of its own.
pub(super) fn answer(
    engine: &dyn Engine,
    input: &Input,
    numbers: Range<usize>,
    limit: Duration,
    knob: usize,
    threads: usize,
) -> Each {
    let (next, ready) = (AtomicUsize::new(numbers.start), Barrier::new(threads));
    let start = OnceLock::new();
    let work = || {
        let mut search = engine.searcher();
        let mut answered = Vec::with_capacity(numbers.len().div_ceil(threads));
        ready.wait();
        let start: &Instant = start.get_or_init(Instant::now);
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let began = start.elapsed();
            if number >= numbers.end || began >= limit {
                return answered;
            }
            let ids = search(input.query(number), knob);
            let took = start.elapsed() - began;
            let [began, took] = [began, took].map(|time| time.as_nanos() as u64);
            answered.push(Answered { number: number - numbers.start, began, took, ids });
        }
    };
    let k = input.task.k;
    let mut answers = vec![u32::MAX; numbers.len() * k];
    let mut times = vec![0; numbers.len() * 2];
    let mut ended = 0;
    let mut asked = 0;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            for Answered { number, began, took, ids } in thread.join().expect("a thread") {
                answers[number * k..][..k].iter_mut().zip(ids).for_each(|(id, found)| *id = found);
                times[2 * number..][..2].copy_from_slice(&[began, took]);
                ended = ended.max(began + took);
                asked += 1;
            }
        }
    });
    Each { answers, times, time: Duration::from_nanos(ended), asked }
}
