//! Recall as a goal: what searches that ask for a recall reach, and what that costs, beside the
//! smallest `ef` that reaches it. The queries are not in the index.
//!
//! An index is loaded with half of the vectors, doubled in one load, and doubled by commits of 2 %,
//! none of which measures the recall again. Exits non-zero when a goal is missed. See the README of
//! this crate, and decision 0049.
#![allow(clippy::expect_used, clippy::panic, missing_docs)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use rand::seq::SliceRandom;
use rand::{SeedableRng, rngs::StdRng};
use tempfile::TempDir;
use voisin::distances::{Cosine, Distance, Euclidean};
use voisin::roaring::RoaringBitmap;
use voisin::{Codes, Filter, Index, ItemId, Options, Query, Snapshot};
use voisin_bench::data::DataSet;
use voisin_bench::report::Report;

const K: usize = 10;
const GOALS: [f64; 3] = [0.9, 0.95, 0.99];
/// Other numbers of results, for which the goals are only shown.
const OTHER_K: [usize; 3] = [1, 30, 100];
/// The goals: a recall within a point of what was asked for, by at most this factor of the
/// smallest `ef` that reaches it.
const MAX_SHORT: f64 = 0.01;
const MAX_COST: f64 = 1.3;
/// The share of a commit, in percent of the vectors.
const COMMIT: usize = 2;
/// The shares of candidates, in percent.
const SHARES: [f64; 4] = [50.0, 10.0, 5.0, 1.0];
const SAMPLE: u32 = 500;

type Nns = Vec<(ItemId, f32)>;

fn main() -> ExitCode {
    let (options, folders): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let Some(folder) = folders.first().map(PathBuf::from) else {
        eprintln!("usage: recall FOLDER_OF_DATA [--only-photos | --only-glosses]");
        return ExitCode::FAILURE;
    };
    let has = |option: &str| options.iter().any(|given| given == option);
    let mut report = Report::default();
    for codes in [None, Some(Codes::Bits4)] {
        if !has("--only-glosses") {
            run::<Euclidean>(&DataSet::photos(&folder), codes, &mut report);
        }
        if !has("--only-photos") {
            run::<Cosine>(&DataSet::glosses(&folder), codes, &mut report);
        }
    }
    report.finish()
}

fn run<D: Distance>(set: &DataSet, codes: Option<Codes>, report: &mut Report) {
    let codes_name = codes.map_or("no codes".to_owned(), |codes| format!("codes of {codes}"));
    println!("\n{}, {codes_name}", set.name);
    let rows: Vec<&[f32]> = set.rows().collect();
    let queries: Vec<f32> = set.query_rows().flatten().copied().collect();
    let half = rows.len() / 2;
    let items = |range: std::ops::Range<usize>| {
        range.clone().map(|at| at as ItemId).zip(rows[range].iter())
    };
    for by_commits in [false, true] {
        let folder = TempDir::new().expect("a folder");
        let options = Options::new(set.dimensions);
        let options = codes.map_or(options.clone(), |codes| options.codes(codes));
        let index = Index::<D>::create(folder.path().join("vectors"), options).expect("an index");
        let began = Instant::now();
        index.load(items(0..half), |_| {}).expect("a load");
        let took = began.elapsed().as_secs_f64();
        if by_commits {
            let step = rows.len() * COMMIT / 100;
            for from in (half..rows.len()).step_by(step) {
                let more = items(from..(from + step).min(rows.len()));
                index.write(|batch| batch.add_items_from(more.clone())).expect("a commit");
            }
        } else {
            let began = Instant::now();
            index.calibrate().expect("a calibration");
            let alone = began.elapsed().as_secs_f64();
            println!("  half of the vectors, loaded in {took:.1} s, measured in {alone:.2} s");
            judge(&index.snapshot().expect("a snapshot"), &queries, report);
            index.load(items(half..rows.len()), |_| {}).expect("a load");
        }
        let how = if by_commits { "commits of 2 %" } else { "one load" };
        println!("  doubled by {how}");
        let snapshot = index.snapshot().expect("a snapshot");
        judge(&snapshot, &queries, report);
        if !by_commits {
            others(&snapshot, &queries);
            filtered(&snapshot, &queries, report);
        }
    }
}

fn exact<D: Distance>(query: &mut Query<'_, Snapshot<D>>, queries: &[f32]) -> Vec<Nns> {
    let found = query.exact().by_vectors(queries).expect("answers");
    found.into_iter().map(|found| found.into_nns()).collect()
}

/// The recall of a query, by the exact neighbors, and the work of each search: lists and distances.
fn recall<D: Distance>(
    query: &Query<'_, Snapshot<D>>,
    queries: &[f32],
    nearest: &[Nns],
) -> [f64; 2] {
    let answers = query.by_vectors(queries).expect("answers");
    let (mut hits, mut all, mut work) = (0, 0, 0);
    for (found, nearest) in answers.iter().zip(nearest) {
        let Some((_, limit)) = nearest.last() else { continue };
        hits +=
            found.nns.iter().filter(|(_, distance)| distance <= limit).count().min(nearest.len());
        all += nearest.len();
        work += found.distances + found.estimates;
    }
    [hits as f64 / all as f64, work as f64 / answers.len() as f64]
}

/// The smallest `ef` that reaches a recall, and its work.
fn smallest<D: Distance>(
    snapshot: &Snapshot<D>,
    k: usize,
    goal: f64,
    queries: &[f32],
    nearest: &[Nns],
) -> (usize, f64) {
    let at = |ef| recall(snapshot.search(k).walk_graph().ef_search(ef), queries, nearest);
    let (mut low, mut high) = (k, k);
    while at(high)[0] < goal {
        (low, high) = (high + 1, high * 2);
    }
    while low < high {
        let middle = low.midpoint(high);
        if at(middle)[0] < goal { low = middle + 1 } else { high = middle }
    }
    (high, at(high)[1])
}

fn judge<D: Distance>(snapshot: &Snapshot<D>, queries: &[f32], report: &mut Report) {
    let nearest = exact(&mut snapshot.search(K), queries);
    for goal in GOALS {
        let mut search = snapshot.search(K);
        search.recall(goal);
        let ef =
            search.explain(&queries[..snapshot.dimensions()]).expect("an explanation").ef_search;
        let [reached, work] = recall(&search, queries, &nearest);
        let (least, least_work) = smallest(snapshot, K, goal, queries, &nearest);
        let own = search.measure_recall(SAMPLE).expect("a measurement");
        println!(
            "    recall({goal}): ef {ef} reaches {reached:.4}, {:.4} [{:.4}, {:.4}] by items; ef \
             {least} suffices; {:.2} x its distances",
            own.mean,
            own.low,
            own.high,
            work / least_work
        );
        report.at_least(&format!("recall({goal})"), reached, goal - MAX_SHORT);
        report.at_most("its ef, times the smallest", ef as f64 / least as f64, MAX_COST);
    }
}

fn others<D: Distance>(snapshot: &Snapshot<D>, queries: &[f32]) {
    for k in OTHER_K {
        let nearest = exact(&mut snapshot.search(k), queries);
        for goal in GOALS {
            let mut search = snapshot.search(k);
            search.recall(goal);
            let ef =
                search.explain(&queries[..snapshot.dimensions()]).expect("an answer").ef_search;
            let [reached, _] = recall(&search, queries, &nearest);
            let (least, _) = smallest(snapshot, k, goal, queries, &nearest);
            println!(
                "    k {k}, recall({goal}): ef {ef} reaches {reached:.4}; ef {least} suffices"
            );
        }
    }
}

/// Random candidates, which searches of the graph meet rarely.
fn filtered<D: Distance>(snapshot: &Snapshot<D>, queries: &[f32], report: &mut Report) {
    let queries = &queries[..queries.len() / 4];
    for share in SHARES {
        let mut items: Vec<ItemId> = (0..snapshot.len() as ItemId).collect();
        let count = (items.len() as f64 * share / 100.0) as usize;
        let (some, _) = items.partial_shuffle(&mut StdRng::seed_from_u64(42), count);
        let filter = Filter::new(some.iter().copied().collect::<RoaringBitmap>());
        let nearest = exact(snapshot.search(K).candidates(&filter), queries);
        for goal in GOALS {
            let mut search = snapshot.search(K);
            search.candidates(&filter).recall(goal);
            let [reached, work] = recall(&search, queries, &nearest);
            println!("    {share} % candidates, recall({goal}): {reached:.4}, {work:.0} distances");
            report.at_least(
                &format!("{share} % candidates, recall({goal})"),
                reached,
                goal - MAX_SHORT,
            );
        }
    }
}
