//! The two forced ways of filtered searches as they were at commit 5b83af2, when the goals of
//! `filters` were set: the same cells, queries and candidates as there, with a fresh bitmap, which
//! is all that there was. `bench/first/run` compiles it with the engine of that commit.
#![allow(clippy::expect_used, clippy::panic, missing_docs)]

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use rand::seq::SliceRandom;
use rand::{SeedableRng, rngs::StdRng};
use rayon::prelude::*;
use roaring::RoaringBitmap;
use voisin::distances::{Cosine, Distance, Euclidean};
use voisin::{Codes, Index, Options, QueryBuilder, Snapshot};
use voisin_bench::data::DataSet;
use voisin_bench::report::median;

const K: usize = 10;
const QUERIES: usize = 24;
const ROUNDS: usize = 9;
const MIN_ROUNDS: usize = 3;
const MAX_SECONDS: f64 = 0.05;
const SHARES: [f64; 8] = [50.0, 20.0, 10.0, 5.0, 1.0, 0.3, 0.1, 0.01];
const STRANGERS: u32 = 50_000;
const KINDS: [&str; 4] = ["Random", "Near", "Far", "Strangers"];

fn main() {
    let folder = PathBuf::from(std::env::args().nth(1).expect("usage: filters FOLDER_OF_DATA"));
    let indexes = tempfile::tempdir().expect("a temporary folder");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
    for codes in [None, Some(Codes::Bits4)] {
        run::<Euclidean>(&DataSet::photos(&folder), &indexes.path().join("photos"), codes, &pool);
        run::<Cosine>(&DataSet::glosses(&folder), &indexes.path().join("glosses"), codes, &pool);
    }
}

fn run<D: Distance>(
    set: &DataSet,
    folder: &std::path::Path,
    codes: Option<Codes>,
    pool: &rayon::ThreadPool,
) {
    let (name, title) = match codes {
        Some(_) => ("coded", "4-bit codes"),
        None => ("plain", "no codes"),
    };
    let options = Options::new(set.dimensions).name(name);
    let options = codes.map_or(options.clone(), |codes| options.codes(codes));
    let index = Index::<D>::open_or_create(folder, options).expect("an index");
    index.load((0..).zip(set.rows()), |_| {}).expect("a load");
    let snapshot = index.snapshot().expect("a snapshot");
    snapshot.warm(u64::MAX).expect("a warm index");
    println!("\n## {}, {title}, a fresh bitmap, milliseconds\n", set.name);
    println!("| candidates | share % | exact | walk | its recall |");
    println!("|---|---:|---:|---:|---:|");
    pool.install(|| {
        let queries: Vec<&[f32]> = set.query_rows().take(QUERIES).collect();
        let orders: Vec<Vec<u32>> = queries
            .par_iter()
            .map(|query| {
                let all = snapshot.search(set.rows().len()).exact().by_vector(query);
                all.expect("an answer").into_nns().into_iter().map(|(item, _)| item).collect()
            })
            .collect();
        for kind in KINDS {
            for share in SHARES {
                cell(&snapshot, &queries, &orders, kind, share);
            }
        }
    });
}

fn cell<D: Distance>(
    snapshot: &Snapshot<D>,
    queries: &[&[f32]],
    orders: &[Vec<u32>],
    kind: &str,
    share: f64,
) {
    let mut rng = StdRng::seed_from_u64(42);
    let (mut hits, mut results, mut ways) = (0, 0, [Vec::new(), Vec::new()]);
    for (query, order) in queries.iter().zip(orders) {
        let candidates = candidates(order, kind, share, &mut rng);
        let nearest: Vec<u32> =
            order.iter().copied().filter(|item| candidates.contains(*item)).take(K).collect();
        let ask = |force: &dyn Fn(&mut QueryBuilder<'_, Snapshot<D>>)| {
            let mut asked = snapshot.search(K);
            asked.candidates(&candidates);
            force(&mut asked);
            asked.by_vector(query).expect("an answer")
        };
        let walked = ask(&|asked| _ = asked.walk_graph()).into_nns();
        hits += walked.iter().filter(|(item, _)| nearest.contains(item)).count();
        results += nearest.len();
        let exact = || drop(black_box(ask(&|asked| _ = asked.exact())));
        let walk = || drop(black_box(ask(&|asked| _ = asked.walk_graph())));
        let works: [&dyn Fn(); 2] = [&exact, &walk];
        let mut times = [Vec::new(), Vec::new()];
        for round in 0..ROUNDS {
            for (work, times) in works.iter().zip(&mut times) {
                if round >= MIN_ROUNDS && times.iter().sum::<f64>() > MAX_SECONDS {
                    continue;
                }
                work();
                let start = Instant::now();
                work();
                times.push(start.elapsed().as_secs_f64());
            }
        }
        for (way, times) in ways.iter_mut().zip(times) {
            way.push(median(times));
        }
    }
    let [exact, walk] = ways.map(|times| 1e3 * median(times));
    let recall = f64::from(hits as u32) / f64::from(results as u32);
    println!("| {kind} | {share} | {exact:.3} | {walk:.3} | {recall:.3} |");
}

/// The candidates of a query, by the order of all items from it.
fn candidates(order: &[u32], kind: &str, share: f64, rng: &mut StdRng) -> RoaringBitmap {
    let count = (order.len() as f64 * share / 100.0).round() as usize;
    match kind {
        "Near" => order[..count].iter().copied().collect(),
        "Far" => order[order.len() - count..].iter().copied().collect(),
        _ => {
            let mut some = order.to_vec();
            some.sort_unstable();
            let (some, _) = some.partial_shuffle(rng, count);
            let mut some: RoaringBitmap = some.iter().copied().collect();
            if kind == "Strangers" {
                some.insert_range(1 << 30..(1 << 30) + STRANGERS);
            }
            some
        }
    }
}
