//! Exact scans (brute force): of one query at a time against the speed at which the same file can
//! be read, and of many queries at once against one at a time.
//!
//! Both numbers of each pair are measured in alternating rounds of one run, on two threads, and
//! their medians are compared. Exits non-zero when a goal is missed. See the README of this crate.
#![allow(clippy::expect_used, clippy::panic, missing_docs)]

use std::fs::File;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use memmap2::Mmap;
use rayon::prelude::*;
use voisin::Reader;
use voisin::distances::{Cosine, Distance, Euclidean};
use voisin_bench::data::DataSet;
use voisin_bench::engines::open_database;
use voisin_bench::living::Living;
use voisin_bench::report::Report;

const K: usize = 10;
const BATCH: usize = 64;
const ROUNDS: usize = 15;
/// The number of queries a round that are answered one at a time.
const ONE_BY_ONE: usize = 16;
const THREADS: usize = 2;

fn main() -> ExitCode {
    let Some(folder) = std::env::args().nth(1).map(PathBuf::from) else {
        eprintln!("usage: scan FOLDER_OF_DATA");
        return ExitCode::FAILURE;
    };
    // Calls inside the pool use as many threads as the pool has.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(THREADS).build().expect("a pool");
    pool.install(|| {
        let mut report = Report::default();
        run::<Euclidean>(&DataSet::photos(&folder), &mut report);
        run::<Cosine>(&DataSet::glosses(&folder), &mut report);
        report.finish()
    })
}

fn run<D: Distance>(set: &DataSet, report: &mut Report) {
    println!("{}", set.name);
    // Exact scans use no graph, so none is built.
    let index = Living::<D>::create();
    index.add(set, &(0..set.rows().len() as u32).map(|row| (row, row)).collect::<Vec<_>>());
    let file = map(index.folder());
    let raw = set.base.len() * size_of::<f32>();

    let queries: Vec<&[f32]> = set.query_rows().take(BATCH).collect();
    let database = open_database::<D>(index.env());
    let rtxn = index.env().read_txn().expect("a transaction");
    let reader = Reader::<D>::open(&rtxn, 0, database).expect("a reader");
    let one = |query: &[f32]| reader.nns(K).exact().by_vector(&rtxn, query).expect("an answer");
    let many = |rows: &[f32]| reader.nns(K).exact().by_vectors(&rtxn, rows).expect("answers");
    let rows = &set.queries[..BATCH * set.dimensions];
    assert_eq!(
        many(rows),
        queries.iter().map(|query| one(query)).collect::<Vec<_>>(),
        "many at once are answered as one at a time"
    );

    let (mut read, mut alone, mut together) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // As many bytes as the vectors take.
        read.push(
            seconds(|| (0..ONE_BY_ONE).for_each(|_| _ = black_box(sum(&file[file.len() - raw..]))))
                / ONE_BY_ONE as f64,
        );
        let some = queries.iter().cycle().skip(round * ONE_BY_ONE).take(ONE_BY_ONE);
        alone.push(
            seconds(|| some.for_each(|query| drop(black_box(one(query))))) / ONE_BY_ONE as f64,
        );
        together.push(seconds(|| drop(black_box(many(rows)))) / BATCH as f64);
    }
    let [read, alone, together] = [read, alone, together].map(median);
    let speed = |seconds: f64| raw as f64 / seconds / 1e9;
    println!(
        "  the file is read at {:.1} GB/s, one query scans {:.1} GB/s: {:.3} ms",
        speed(read),
        speed(alone),
        alone * 1e3
    );
    println!(
        "  {BATCH} queries at once: {:.3} ms, {:.3} ms a query",
        together * 1e3 * BATCH as f64,
        together * 1e3
    );
    report.at_least("one query, share of the speed at which the file is read", read / alone, 0.8);
    report.at_least(
        &format!("{BATCH} queries at once, times the speed of one at a time"),
        alone / together,
        6.0,
    );
}

fn map(folder: &Path) -> Mmap {
    let file = File::open(folder.join("data.mdb")).expect("a database file");
    // SAFETY: no program writes to the file while it is mapped.
    unsafe { Mmap::map(&file) }.expect("a map")
}

/// The sum of all words, as fast as they can be read.
fn sum(bytes: &[u8]) -> u64 {
    /// Large enough for a thread to be worth it.
    const TASK_BYTES: usize = 1 << 20;
    bytes.par_chunks(TASK_BYTES).map(sum_of_some).sum()
}

fn sum_of_some(bytes: &[u8]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2")]
        fn wide(bytes: &[u8]) -> u64 {
            words(bytes)
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2.
            return unsafe { wide(bytes) };
        }
    }
    words(bytes)
}

#[inline(always)]
fn words(bytes: &[u8]) -> u64 {
    let mut sums = [0u64; 32];
    for words in bytes.as_chunks::<{ 32 * 8 }>().0 {
        for (sum, word) in sums.iter_mut().zip(words.as_chunks().0) {
            *sum = sum.wrapping_add(u64::from_ne_bytes(*word));
        }
    }
    sums.into_iter().fold(0, u64::wrapping_add)
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
