//! The roles of child processes: searching through an `Index` or a `Reader`, and reporting times,
//! in microseconds.

use std::fs;
use std::io::{BufRead as _, Write as _, stdin, stdout};
use std::path::Path;
use std::time::{Duration, Instant};

use voisin::distances::Euclidean;
use voisin::heed::types::Bytes;
use voisin::heed::{CommitOrAbort, Env, EnvOpenOptions, WithTls};
use voisin::{Database, Options, Reader, Searched, ValueCodec};
use voisin_bench::data::DataSet;
use voisin_bench::report::median;

use crate::{K, Vectors, sharing};

/// Plays a role until the standard input ends.
pub(crate) fn play(role: &str, arguments: &[&str]) {
    match (role, arguments) {
        ("index", [folder, data]) => search_index(
            Vectors::open_read_only(folder, Options::default()).expect("an index"),
            data,
        ),
        ("writer", [folder, data]) => {
            search_index(Vectors::open(folder, Options::default()).expect("an index"), data)
        }
        ("reader", [folder, data]) => search_reader(Path::new(folder), data),
        ("committer", [folder, data]) => sharing::commit(Path::new(folder), data),
        ("watcher", [folder, data, pace]) => {
            sharing::watch(Path::new(folder), data, pace.parse().expect("a pace"))
        }
        _ => panic!("no such role: {role} {arguments:?}"),
    }
}

/// Answers lines of a word and a number with numbers.
fn answer(mut act: impl FnMut(&str, u64) -> Vec<f64>) {
    for line in stdin().lock().lines() {
        let line = line.expect("a line");
        let (word, number) = line.split_once(' ').unwrap_or((&line, "0"));
        let numbers: Vec<String> =
            act(word, number.parse().expect("a number")).iter().map(f64::to_string).collect();
        println!("{}", numbers.join(" "));
        stdout().flush().expect("a parent");
    }
}

fn micros(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e6
}

/// The requests that any searcher can answer.
fn common(word: &str, number: u64, set: &DataSet, search: impl Fn(&[f32]) -> Searched) -> Vec<f64> {
    match word {
        // All queries, one after the other: the time of one.
        "pass" => {
            let start = Instant::now();
            for query in set.query_rows() {
                search(query);
            }
            vec![micros(start) / set.query_rows().len() as f64]
        }
        // Each query: the median time.
        "median" => {
            let times = set.query_rows().map(|query| {
                let start = Instant::now();
                search(query);
                micros(start)
            });
            vec![median(times.collect())]
        }
        // As many queries as fit into the time, in milliseconds: queries per second.
        "run" => {
            let (start, mut done) = (Instant::now(), 0u64);
            for query in set.query_rows().cycle() {
                if start.elapsed() > Duration::from_millis(number) {
                    break;
                }
                search(query);
                done += 1;
            }
            vec![done as f64 / start.elapsed().as_secs_f64()]
        }
        "memory" => memory(),
        _ => panic!("no such task: {word}"),
    }
}

fn search_index(index: Vectors, data: &str) {
    let set = DataSet::photo_queries(Path::new(data));
    let search = |query: &[f32]| index.search(K).by_vector(query).expect("an answer");
    let mut queries = set.query_rows().cycle();
    answer(|word, number| match word {
        "warm" => {
            let warmed = index
                .snapshot()
                .and_then(|snapshot| snapshot.warm(u64::MAX))
                .expect("a warm snapshot");
            vec![warmed.bytes as f64]
        }
        // Replaces an item by itself.
        "write" => {
            let item = number as u32;
            let vector = index
                .snapshot()
                .expect("a snapshot")
                .vector(item)
                .expect("a vector")
                .expect("an item");
            let start = Instant::now();
            index.write(|batch| batch.add(item, &vector)).expect("a commit");
            vec![micros(start)]
        }
        // Moves to the newest commit, and runs the first query there.
        "move" => {
            let query = queries.next().expect("a query");
            let start = Instant::now();
            drop(index.snapshot().expect("a snapshot"));
            let moved = micros(start);
            let start = Instant::now();
            search(query);
            vec![moved, micros(start)]
        }
        word => common(word, number, &set, search),
    });
}

/// The environment of an [`Index`](voisin::Index), opened as at level 1.
fn environment(folder: &Path) -> Env<WithTls> {
    let mut options = EnvOpenOptions::new();
    options.map_size(64 << 30).max_dbs(2);
    // SAFETY: only LMDB changes the files.
    unsafe { options.open(folder) }.expect("an environment")
}

fn search_reader(folder: &Path, data: &str) {
    let set = DataSet::photo_queries(Path::new(data));
    let env = environment(folder);
    let rtxn = env.read_txn().expect("a transaction");
    let opened = env.open_databases_and_commit(rtxn, |opener, rtxn| {
        let database =
            opener.open_database::<Bytes, ValueCodec<Euclidean>>(rtxn, Some("voisin"))?;
        voisin::heed::Result::Ok(CommitOrAbort::<_, ()>::Commit(
            database.expect("the database of the indexes"),
        ))
    });
    let database: Database<'_, Euclidean> =
        opened.expect("the database of the indexes").unwrap_commit();
    let rtxn = env.read_txn().expect("a transaction");
    let open = || Reader::<Euclidean>::open(&rtxn, 0, database).expect("a reader");
    let first = |query: &[f32]| {
        let reader = open();
        let start = Instant::now();
        reader.nns(K).by_vector(&rtxn, query).expect("an answer");
        micros(start)
    };
    let reader = open();
    let warm = reader.warm(&rtxn).expect("a warm reader");
    answer(|word, number| match word {
        // Opens a reader `number` times: the median, the longest, and the time of dropping.
        "open" => {
            let (opens, drops): (Vec<f64>, Vec<f64>) = (0..number)
                .map(|_| {
                    let start = Instant::now();
                    let reader = open();
                    let opened = micros(start);
                    let start = Instant::now();
                    drop(reader);
                    (opened, micros(start))
                })
                .unzip();
            let longest = opens.iter().copied().fold(0.0, f64::max);
            vec![median(opens), longest, median(drops)]
        }
        // The first query of a new reader, whose tables are empty: the very first, and the median
        // of all.
        "first" => {
            let times: Vec<f64> = set.query_rows().map(first).collect();
            vec![times[0], median(times)]
        }
        word => {
            common(word, number, &set, |query| warm.nns(K).by_vector(query).expect("an answer"))
        }
    });
}

/// The memory of this process in bytes: its own (written or anonymous pages that no other process
/// maps, and page tables), and the pages of the file that it has mapped.
fn memory() -> Vec<f64> {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").expect("the memory of the process");
    let status = fs::read_to_string("/proc/self/status").expect("the memory of the process");
    let bytes = |text: &str, name: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .unwrap_or_else(|| panic!("no {name}"));
        line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).expect("a number")
            * 1024.0
    };
    let own = bytes(&rollup, "Private_Dirty").max(bytes(&rollup, "Anonymous"))
        + bytes(&rollup, "Swap")
        + bytes(&status, "VmPTE");
    vec![own, bytes(&status, "RssFile")]
}
