//! Filtered searches: what the planner chooses, against the two ways that it chooses from, both
//! forced, in cells of share and kind of candidates.
//!
//! Of each query, the three ways are timed in alternating rounds, on one thread, and their medians
//! compared. Exits non-zero when a goal is missed. See the README of this crate, and decision 0048.
#![allow(clippy::expect_used, clippy::panic, missing_docs)]

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use rand::seq::SliceRandom;
use rand::{SeedableRng, rngs::StdRng};
use rayon::prelude::*;
use voisin::distances::{Cosine, Distance, Euclidean};
use voisin::roaring::RoaringBitmap;
use voisin::{Codes, Filter, Index, Options, Query, Searched, Snapshot, Strategy};
use voisin_bench::data::DataSet;
use voisin_bench::report::{Report, median};

const K: usize = 10;
/// The number of queries of a cell.
const QUERIES: usize = 24;
const QUICK_QUERIES: usize = 6;
/// A way is timed this often a query, and less often once that has taken [`MAX_SECONDS`].
const ROUNDS: usize = 9;
const MIN_ROUNDS: usize = 3;
const MAX_SECONDS: f64 = 0.05;
/// The shares of candidates, in percent.
const SHARES: [f64; 8] = [50.0, 20.0, 10.0, 5.0, 1.0, 0.3, 0.1, 0.01];
/// Candidates that are not in the index.
const STRANGERS: u32 = 50_000;
/// The goals: recall@10, the time of the chosen way in that of the better one of a cell, and of a
/// query.
const MIN_RECALL: f64 = 0.95;
const MAX_CELL: f64 = 1.3;
const MAX_QUERY: f64 = 2.0;

/// Which items are candidates of a query.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Any.
    Random,
    /// The nearest of all.
    Near,
    /// The farthest of all.
    Far,
    /// Any, and ids that are not in the index.
    Strangers,
}

fn main() -> ExitCode {
    let (options, folders): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let mut folders = folders.into_iter().map(PathBuf::from);
    let Some(folder) = folders.next() else {
        eprintln!(
            "usage: filters FOLDER_OF_DATA [FOLDER_FOR_INDEXES] [--only-photos | --only-glosses] \
             [--only-plain | --only-coded] [--quick]"
        );
        return ExitCode::FAILURE;
    };
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let indexes = folders.next().unwrap_or_else(|| temporary.path().to_owned());
    let has = |option: &str| options.iter().any(|given| given == option);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
    let mut report = Report::default();
    let mut codes = vec![None, Some(Codes::Bits4)];
    codes.retain(|codes| !has(if codes.is_some() { "--only-plain" } else { "--only-coded" }));
    let queries = if has("--quick") { QUICK_QUERIES } else { QUERIES };
    if !has("--only-glosses") {
        let (set, indexes) = (DataSet::photos(&folder), indexes.join("photos"));
        run::<Euclidean>(&set, &indexes, &codes, queries, &pool, &mut report);
    }
    if !has("--only-photos") {
        let (set, indexes) = (DataSet::glosses(&folder), indexes.join("glosses"));
        run::<Cosine>(&set, &indexes, &codes, queries, &pool, &mut report);
    }
    report.finish()
}

/// Opens an index of a set, and makes it first if there is none.
fn index<D: Distance>(set: &DataSet, folder: &Path, codes: Option<Codes>) -> Index<D> {
    let name = if codes.is_some() { "coded" } else { "plain" };
    let options = Options::new(set.dimensions).name(name);
    let options = codes.map_or(options.clone(), |codes| options.codes(codes));
    let index = Index::<D>::open_or_create(folder, options).expect("an index");
    if index.snapshot().expect("a snapshot").is_empty() {
        index.load((0..).zip(set.rows()), |_| {}).expect("a load");
    }
    index
}

fn run<D: Distance>(
    set: &DataSet,
    folder: &Path,
    codes: &[Option<Codes>],
    queries: usize,
    pool: &rayon::ThreadPool,
    report: &mut Report,
) {
    std::fs::create_dir_all(folder).expect("a folder");
    let queries: Vec<&[f32]> = set.query_rows().take(queries).collect();
    for codes in codes.iter().copied() {
        let index = index::<D>(set, folder, codes);
        let snapshot = index.snapshot().expect("a snapshot");
        snapshot.warm(u64::MAX).expect("a warm index");
        pool.install(|| {
            // All items by their distance from each query.
            let orders: Vec<Vec<u32>> = queries
                .par_iter()
                .map(|query| {
                    let all = snapshot.search(set.rows().len()).exact().by_vector(query);
                    all.expect("an answer").into_nns().into_iter().map(|(item, _)| item).collect()
                })
                .collect();
            let codes = if codes.is_some() { "4-bit codes" } else { "no codes" };
            for is_kept in [false, true] {
                let with = if is_kept { "a kept Filter" } else { "a fresh bitmap" };
                let title = format!("{}, {codes}, {with}", set.name);
                table(&title, &snapshot, &queries, &orders, is_kept, report);
            }
        });
    }
}

/// Measures all cells, and prints a line for each.
fn table<D: Distance>(
    title: &str,
    snapshot: &Snapshot<D>,
    queries: &[&[f32]],
    orders: &[Vec<u32>],
    is_kept: bool,
    report: &mut Report,
) {
    println!("\n{title}: milliseconds, medians of {} queries\n", queries.len());
    println!(
        "| candidates | share % | recall@10 | chosen | exact | walk | chosen / better | \
         worst query | by graph | its recall |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    let mut worst = (1.0f64, 0.0f64, 0.0f64);
    for kind in [Kind::Random, Kind::Near, Kind::Far, Kind::Strangers] {
        for share in SHARES {
            let cell = Cell::measure(snapshot, queries, orders, kind, share, is_kept);
            println!(
                "| {kind:?} | {share} | {:.3} | {:.3} | {:.3} | {:.3} | {:.2} | {:.2} | {} | \
                 {:.3} |",
                cell.recall,
                cell.chosen,
                cell.exact,
                cell.walk,
                cell.ratio(),
                cell.worst,
                cell.by_graph,
                cell.walk_recall,
            );
            worst = (worst.0.min(cell.recall), worst.1.max(cell.ratio()), worst.2.max(cell.worst));
        }
    }
    println!();
    report.at_least("the lowest recall@10 of a cell", worst.0, MIN_RECALL);
    report.at_most("the highest chosen / better of a cell", worst.1, MAX_CELL);
    report.at_most("the highest chosen / better of a query", worst.2, MAX_QUERY);
}

/// Chooses a way for a query.
type Force<'a, D> = &'a dyn Fn(&mut Query<'_, Snapshot<D>>);

/// The figures of a cell: medians over its queries.
struct Cell {
    recall: f64,
    chosen: f64,
    exact: f64,
    walk: f64,
    worst: f64,
    /// How many queries were answered by the graph.
    by_graph: usize,
    walk_recall: f64,
}

impl Cell {
    fn measure<D: Distance>(
        snapshot: &Snapshot<D>,
        queries: &[&[f32]],
        orders: &[Vec<u32>],
        kind: Kind,
        share: f64,
        is_kept: bool,
    ) -> Self {
        let mut rng = StdRng::seed_from_u64(42);
        let (mut hits, mut walk_hits, mut results) = (0, 0, 0);
        let (mut worst, mut by_graph) = (0.0f64, 0);
        let mut ways = [Vec::new(), Vec::new(), Vec::new()];
        for (query, order) in queries.iter().zip(orders) {
            let candidates = candidates(order, kind, share, &mut rng);
            let nearest: Vec<u32> =
                order.iter().copied().filter(|item| candidates.contains(*item)).take(K).collect();
            let filter = Filter::new(candidates.clone());
            let ask = |force: &dyn Fn(&mut Query<'_, Snapshot<D>>)| -> Searched {
                let mut asked = snapshot.search(K);
                match is_kept {
                    true => asked.candidates(&filter),
                    false => asked.candidates(&candidates),
                };
                force(&mut asked);
                asked.by_vector(query).expect("an answer")
            };
            let forces: [Force<'_, D>; 3] =
                [&|_| {}, &|asked| _ = asked.exact(), &|asked| _ = asked.walk_graph()];
            let found = ask(forces[0]);
            by_graph += usize::from(found.strategy == Strategy::Graph);
            let count = |found: Searched| {
                found.into_nns().iter().filter(|(item, _)| nearest.contains(item)).count()
            };
            (hits, walk_hits) = (hits + count(found), walk_hits + count(ask(forces[2])));
            results += nearest.len();
            let times = alternate(forces.map(|force| move || drop(black_box(ask(force)))));
            for (way, time) in ways.iter_mut().zip(times) {
                way.push(time);
            }
        }
        let recall = |hits: usize| hits as f64 / results as f64;
        let (recall, walk_recall) = (recall(hits), recall(walk_hits));
        for ((chosen, exact), walk) in ways[0].iter().zip(&ways[1]).zip(&ways[2]) {
            worst = worst.max(chosen / better(*exact, *walk, walk_recall));
        }
        let [chosen, exact, walk] = ways.map(|times| 1e3 * median(times));
        Self { recall, chosen, exact, walk, worst, by_graph, walk_recall }
    }

    fn ratio(&self) -> f64 {
        self.chosen / better(self.exact, self.walk, self.walk_recall)
    }
}

/// The time of the better way. A walk that misses the recall is none.
fn better(exact: f64, walk: f64, walk_recall: f64) -> f64 {
    if walk_recall >= MIN_RECALL { exact.min(walk) } else { exact }
}

/// The candidates of a query, by the order of all items from it.
fn candidates(order: &[u32], kind: Kind, share: f64, rng: &mut StdRng) -> RoaringBitmap {
    let count = (order.len() as f64 * share / 100.0).round() as usize;
    match kind {
        Kind::Near => order[..count].iter().copied().collect(),
        Kind::Far => order[order.len() - count..].iter().copied().collect(),
        Kind::Random | Kind::Strangers => {
            let mut some = order.to_vec();
            some.sort_unstable();
            let (some, _) = some.partial_shuffle(rng, count);
            let mut some: RoaringBitmap = some.iter().copied().collect();
            if kind == Kind::Strangers {
                some.insert_range(1 << 30..(1 << 30) + STRANGERS);
            }
            some
        }
    }
}

/// The median times of some work, in seconds, measured in alternating rounds.
fn alternate<const N: usize>(work: [impl Fn(); N]) -> [f64; N] {
    let mut times = [(); N].map(|()| Vec::new());
    for round in 0..ROUNDS {
        for (work, times) in work.iter().zip(&mut times) {
            if round >= MIN_ROUNDS && times.iter().sum::<f64>() > MAX_SECONDS {
                continue;
            }
            // What the way before has left in the caches is not that of a service.
            work();
            let start = Instant::now();
            work();
            times.push(start.elapsed().as_secs_f64());
        }
    }
    times.map(median)
}
