//! The Rust side of `bench/overhead.py`: the same searches and the same load, timed. It prints one
//! line of numbers.
//!
//! ```text
//! baseline search INDEX QUERIES     microseconds a search, alone; and in a matrix of 1 000
//! baseline threads INDEX QUERIES    searches a second, of 1 thread, and of 2
//! baseline load INDEX ROWS          seconds, and the largest anonymous memory, in MB
//! ```

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use std::{env, fs, hint, thread};

use voisin::{Codes, Index, Options, distances::Cosine};

const DIMENSIONS: usize = 384;
const K: usize = 10;
/// The best of this many passes counts.
const PASSES: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [what, index, rows] = &arguments[..] else { return Err("see the source".into()) };
    let rows: Vec<f32> = fs::read(rows)?
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        .collect();
    match what.as_str() {
        "search" => search(index, &rows),
        "threads" => threads(index, &rows),
        "load" => load(index, &rows),
        _ => Err("see the source".into()),
    }
}

/// The least time of some passes, in seconds.
fn best(mut pass: impl FnMut() -> voisin::Result<()>) -> voisin::Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..PASSES {
        let began = Instant::now();
        pass()?;
        best = best.min(began.elapsed().as_secs_f64());
    }
    Ok(best)
}

fn search(index: &str, queries: &[f32]) -> Result<(), Box<dyn Error>> {
    let index = Index::<Cosine>::open(index, Options::default())?;
    let count = queries.len() / DIMENSIONS;
    let alone = best(|| {
        for query in queries.chunks(DIMENSIONS) {
            hint::black_box(index.search(K).by_vector(query)?);
        }
        Ok(())
    })?;
    let together = best(|| {
        hint::black_box(index.search(K).by_vectors(queries)?);
        Ok(())
    })?;
    println!("{} {}", 1e6 * alone / count as f64, 1e6 * together / count as f64);
    Ok(())
}

fn threads(index: &str, queries: &[f32]) -> Result<(), Box<dyn Error>> {
    let index = Index::<Cosine>::open(index, Options::default())?;
    let all = |_| {
        queries.chunks(DIMENSIONS).try_for_each(|query| {
            hint::black_box(index.search(K).by_vector(query)?);
            Ok(())
        })
    };
    let count = (queries.len() / DIMENSIONS) as f64;
    let one = best(|| all(0))?;
    let two = best(|| {
        thread::scope(|scope| {
            let other = scope.spawn(|| all(1));
            let mine = all(0);
            other.join().unwrap_or(Ok(()))?;
            mine
        })
    })?;
    println!("{} {}", count / one, 2.0 * count / two);
    Ok(())
}

/// The anonymous memory of this process, in kB.
fn anonymous() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn load(index: &str, rows: &[f32]) -> Result<(), Box<dyn Error>> {
    let options = Options::new(DIMENSIONS).codes(Codes::fast(DIMENSIONS));
    let index = Index::<Cosine>::create(index, options)?;
    let (before, most) = (anonymous(), AtomicU64::new(0));
    let told = AtomicU64::new(0);
    let began = Instant::now();
    index.load((0..).zip(rows.chunks(DIMENSIONS)), |_| {
        // As often as Python is told: it reads a file.
        let now = began.elapsed().as_millis() as u64 / 100;
        if told.swap(now, Ordering::Relaxed) != now {
            most.fetch_max(anonymous(), Ordering::Relaxed);
        }
    })?;
    let most = most.into_inner().saturating_sub(before) / 1024;
    println!("{} {most}", began.elapsed().as_secs_f64());
    Ok(())
}
