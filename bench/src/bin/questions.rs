//! Questions beyond the k nearest: range search against a search for as many results, and pages
//! against one search for all of their results.
//!
//! Both numbers of each pair are measured in alternating rounds of one run. Exits non-zero when a
//! goal is missed. See the README of this crate.
#![allow(clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::HashSet;
use std::hint::black_box;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use voisin::distances::{Cosine, Distance, Euclidean};
use voisin::{Codes, Index, ItemId, Options, Snapshot};
use voisin_bench::data::DataSet;
use voisin_bench::report::{Report, median};

const QUERIES: usize = 40;
const ROUNDS: usize = 5;
/// The numbers of results of range searches.
const COUNTS: [usize; 4] = [10, 100, 1000, 10_000];
/// The recall that range searches must reach.
const RECALL: f64 = 0.97;
const PAGES: usize = 100;
const PAGE: usize = 10;
/// The time that a search with a deadline is given.
const TIME: Duration = Duration::from_millis(1);

fn main() -> ExitCode {
    let Some(folder) = std::env::args().nth(1).map(PathBuf::from) else {
        eprintln!("usage: questions FOLDER_OF_DATA");
        return ExitCode::FAILURE;
    };
    let mut report = Report::default();
    for with_codes in [false, true] {
        run::<Euclidean>(&DataSet::photos(&folder), with_codes, &mut report);
        run::<Cosine>(&DataSet::glosses(&folder), with_codes, &mut report);
    }
    report.finish()
}

fn run<D: Distance>(set: &DataSet, with_codes: bool, report: &mut Report) {
    println!("{}, {} codes", set.name, if with_codes { "with" } else { "without" });
    let folder = TempDir::new().expect("a folder");
    let mut options = Options::new(set.dimensions);
    if with_codes {
        options = options.codes(Codes::fast(set.dimensions));
    }
    let index = Index::<D>::create(folder.path().join("vectors"), options).expect("an index");
    index.load((0..).zip(set.rows()), |_| {}).expect("a load");
    let snapshot = index.snapshot().expect("a snapshot");
    snapshot.warm(u64::MAX).expect("warm");
    let queries: Vec<&[f32]> = set.query_rows().take(QUERIES).collect();
    for count in COUNTS {
        ranges(&snapshot, &queries, count, report);
    }
    pages(&snapshot, &queries, report);
    deadlines(&snapshot, &queries, report);
}

/// Whether a share of the nearest has been found.
fn recall(found: &[(ItemId, f32)], nearest: &[(ItemId, f32)]) -> f64 {
    let nearest: HashSet<_> = nearest.iter().map(|(item, _)| *item).collect();
    let right = found.iter().filter(|(item, _)| nearest.contains(item)).count();
    right as f64 / nearest.len() as f64
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The smallest ef, from the default on, by which a search for so many results reaches the recall
/// that a range search must reach: both are compared at that.
fn ef_of<D: Distance>(snapshot: &Snapshot<D>, queries: &[&[f32]], count: usize) -> usize {
    let recall_of = |ef: usize| {
        let recalls = queries.iter().map(|query| {
            let nearest = snapshot.search(count).exact().by_vector(query).expect("an answer").nns;
            let mut search = snapshot.search(count);
            recall(&search.ef_search(ef).by_vector(query).expect("an answer").nns, &nearest)
        });
        mean(&recalls.collect::<Vec<_>>())
    };
    let mut efs = (100..400).step_by(20).chain([count.max(400)]);
    efs.find(|ef| recall_of(*ef) >= RECALL).unwrap_or(400)
}

fn ranges<D: Distance>(
    snapshot: &Snapshot<D>,
    queries: &[&[f32]],
    count: usize,
    report: &mut Report,
) {
    let (mut search, mut range, mut recalls, mut top) = (vec![], vec![], vec![], vec![]);
    let (mut work, mut scans) = ([0, 0], 0);
    let ef = ef_of(snapshot, queries, count);
    for query in queries {
        let nearest = snapshot.search(count).exact().by_vector(query).expect("an answer").nns;
        let radius = nearest.last().expect("results").1;
        for round in 0..ROUNDS {
            let (seconds, one) =
                timed(|| snapshot.search(count).ef_search(ef).by_vector(query).expect("an answer"));
            search.push(seconds);
            let (seconds, all) = timed(|| {
                snapshot.search(usize::MAX).within(radius).by_vector(query).expect("an answer")
            });
            range.push(seconds);
            if round == 0 {
                top.push(recall(&one.nns, &nearest));
                recalls.push(recall(&all.nns, &nearest));
                work[0] += one.distances + one.estimates;
                work[1] += all.distances + all.estimates;
                scans += usize::from(all.strategy.is_exact());
            }
        }
    }
    let [search, range] = [search, range].map(median);
    println!(
        "  {count} within: {:.3} ms, {} distances, {scans} of {} by a scan; a search, ef {ef}: \
         {:.3} ms, {} distances, recall {:.4}",
        range * 1e3,
        work[1] / queries.len() as u64,
        queries.len(),
        search * 1e3,
        work[0] / queries.len() as u64,
        mean(&top),
    );
    report.at_least(&format!("{count} within a radius, recall"), mean(&recalls), RECALL);
    report.at_most(&format!("{count} within, times a search for as many"), range / search, 1.2);
}

fn pages<D: Distance>(snapshot: &Snapshot<D>, queries: &[&[f32]], report: &mut Report) {
    let (mut search, mut paged, mut recalls, mut top) = (vec![], vec![], vec![], vec![]);
    let mut work = [0, 0];
    for query in queries {
        let count = PAGES * PAGE;
        let nearest = snapshot.search(count).exact().by_vector(query).expect("an answer").nns;
        for round in 0..ROUNDS {
            let (seconds, one) =
                timed(|| snapshot.search(count).by_vector(query).expect("an answer"));
            search.push(seconds);
            let (seconds, all) = timed(|| {
                let pages = snapshot.search(PAGE).pages(query).expect("pages").take(PAGES);
                pages.collect::<Result<Vec<_>, _>>().expect("answers")
            });
            paged.push(seconds);
            if round == 0 {
                let found: Vec<_> = all.iter().flat_map(|page| page.nns.clone()).collect();
                let once: HashSet<_> = found.iter().map(|(item, _)| *item).collect();
                assert_eq!((found.len(), once.len()), (count, count), "every item comes once");
                recalls.push(recall(&found, &nearest));
                top.push(recall(&one.nns, &nearest));
                work[0] += one.distances + one.estimates;
                work[1] += all.iter().map(|page| page.distances + page.estimates).sum::<u64>();
            }
        }
    }
    let [search, paged] = [search, paged].map(median);
    println!(
        "  {PAGES} pages of {PAGE}: {:.3} ms, {} distances; a search: {:.3} ms, {} distances, \
         recall {:.4}",
        paged * 1e3,
        work[1] / queries.len() as u64,
        search * 1e3,
        work[0] / queries.len() as u64,
        mean(&top),
    );
    report.at_least("pages, recall", mean(&recalls), mean(&top) - 0.01);
    report.at_most("pages, times one search for all", paged / search, 1.5);
}

/// How late searches are that cannot end in time: exact ones of all queries, one by one, each with
/// the time that is left.
fn deadlines<D: Distance>(snapshot: &Snapshot<D>, queries: &[&[f32]], report: &mut Report) {
    let mut late = Vec::new();
    for query in queries.iter().cycle().take(QUERIES * ROUNDS) {
        let (seconds, found) = timed(|| {
            let mut search = snapshot.search(PAGE);
            search.exact().codes(false).deadline(TIME).by_vector(query).expect("an answer")
        });
        if found.timed_out {
            late.push((seconds - TIME.as_secs_f64()).max(0.0) * 1e3);
        }
    }
    if !late.is_empty() {
        let searches = late.len();
        report.at_most(&format!("after the deadline, ms, median of {searches}"), median(late), 1.0);
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let result = black_box(work());
    (start.elapsed().as_secs_f64(), result)
}
