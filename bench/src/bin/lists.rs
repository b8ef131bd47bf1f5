//! Inverted lists: recall against the lists probed and the share of vectors compared, fresh, after
//! the index has doubled, and after a drift of the mean by one standard deviation. The queries are
//! not in the index.
//!
//! Exits non-zero when lists that have grown or drifted lose more than a point of recall against
//! fresh ones at an equal number of probes. See the README of this crate, and decision 0055.
#![allow(clippy::expect_used, clippy::panic, missing_docs)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use tempfile::TempDir;
use voisin::distances::{Cosine, Distance, Euclidean};
use voisin::{Codes, Index, IndexKind, ItemId, Options};
use voisin_bench::data::DataSet;
use voisin_bench::report::Report;

const K: usize = 10;
const PROBES: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];
/// What grown or drifted lists may lose at an equal number of probes.
const MAX_LOST: f64 = 0.01;
/// The share of a commit of a growing index, in percent of the vectors.
const COMMIT: usize = 2;

type Nns = Vec<(ItemId, f32)>;

/// Recall, the share of vectors compared by codes or exactly, and distances, at each of `PROBES`.
type Curve = Vec<[f64; 3]>;

fn main() -> ExitCode {
    let (options, folders): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let Some(folder) = folders.first().map(PathBuf::from) else {
        eprintln!("usage: lists FOLDER_OF_DATA [--only-photos | --only-glosses]");
        return ExitCode::FAILURE;
    };
    let has = |option: &str| options.iter().any(|given| given == option);
    let mut report = Report::default();
    if !has("--only-glosses") {
        run::<Euclidean>(&DataSet::photos(&folder), Codes::Bits8, &mut report);
    }
    if !has("--only-photos") {
        run::<Cosine>(&DataSet::glosses(&folder), Codes::Bits4, &mut report);
    }
    report.finish()
}

fn run<D: Distance>(set: &DataSet, codes: Codes, report: &mut Report) {
    println!("\n{}", set.name);
    let rows: Vec<Vec<f32>> = set.rows().map(<[f32]>::to_vec).collect();
    let queries: Vec<f32> = set.query_rows().flatten().copied().collect();
    let (_folder, index) = fresh::<D>(set.dimensions, &rows, Some(codes));
    curve("fresh, with codes", &index, &queries);
    let (_folder, index) = fresh::<D>(set.dimensions, &rows, None);
    let whole = curve("fresh", &index, &queries);
    by_recall(&index, &queries);

    let grown = grown::<D>(set.dimensions, &rows, &rows[..rows.len() / 2]);
    let found = curve("doubled by commits of 2 %", &grown.1, &queries);
    compare("doubled", &found, &whole, report);

    // The second half is moved by as much as moves the mean of all by a standard deviation.
    let half = rows.len() / 2;
    let shift: Vec<f32> = deviations(&rows).into_iter().map(|deviation| 2.0 * deviation).collect();
    let moved = |row: &[f32]| row.iter().zip(&shift).map(|(x, by)| x + by).collect();
    let mut drifted = rows.clone();
    drifted[half..].iter_mut().for_each(|row| *row = moved(row));
    let (count, mut queries) = (queries.len() / set.dimensions, queries);
    for query in queries.chunks_exact_mut(set.dimensions).skip(count / 2) {
        let there: Vec<f32> = moved(query);
        query.copy_from_slice(&there);
    }
    let (_folder, index) = fresh::<D>(set.dimensions, &drifted, None);
    let whole = curve("drifted, fresh", &index, &queries);
    let grown = self::grown::<D>(set.dimensions, &drifted, &drifted[..half]);
    let found = curve("drifted by commits of 2 %", &grown.1, &queries);
    compare("drifted", &found, &whole, report);
}

/// The standard deviation of each component.
fn deviations(rows: &[Vec<f32>]) -> Vec<f32> {
    let count = rows.len() as f64;
    (0..rows[0].len())
        .map(|i| {
            let sum: f64 = rows.iter().map(|row| f64::from(row[i])).sum();
            let squares: f64 = rows.iter().map(|row| f64::from(row[i]).powi(2)).sum();
            (squares / count - (sum / count).powi(2)).max(0.0).sqrt() as f32
        })
        .collect()
}

fn created<D: Distance>(dimensions: usize, codes: Option<Codes>) -> (TempDir, Index<D>) {
    let folder = TempDir::new().expect("a folder");
    let options = Options::new(dimensions).kinds([IndexKind::Ivf]);
    let options = codes.map_or(options.clone(), |codes| options.codes(codes));
    let index = Index::create(folder.path().join("vectors"), options).expect("an index");
    (folder, index)
}

fn fresh<D: Distance>(
    dimensions: usize,
    rows: &[Vec<f32>],
    codes: Option<Codes>,
) -> (TempDir, Index<D>) {
    let (folder, index) = created::<D>(dimensions, codes);
    let began = Instant::now();
    index.load((0..).zip(rows), |_| {}).expect("a load");
    println!("  {} rows, loaded and committed in {:.1} s", rows.len(), seconds(began));
    (folder, index)
}

/// An index of `first`, to which the other rows were added by commits.
fn grown<D: Distance>(
    dimensions: usize,
    rows: &[Vec<f32>],
    first: &[Vec<f32>],
) -> (TempDir, Index<D>) {
    let (folder, index) = fresh::<D>(dimensions, first, None);
    let (step, began) = (rows.len() * COMMIT / 100, Instant::now());
    for from in (first.len()..rows.len()).step_by(step) {
        let some = from..(from + step).min(rows.len());
        let more = some.clone().map(|at| at as ItemId).zip(&rows[some]);
        index.write(|batch| batch.add_items_from(more.clone())).expect("a commit");
    }
    println!("  {} rows added by commits in {:.1} s", rows.len() - first.len(), seconds(began));
    (folder, index)
}

fn seconds(began: Instant) -> f64 {
    began.elapsed().as_secs_f64()
}

/// The recall, the share of vectors compared by codes or exactly, and the distances to vectors, of
/// answers to queries.
fn judge<I: Copy>(
    answers: &[voisin::Searched<I>],
    exact: &[Nns],
    [items, lists]: [u64; 2],
) -> [f64; 3] {
    let (mut hits, mut all, mut compared, mut distances) = (0, 0, 0, 0);
    for (found, nearest) in answers.iter().zip(exact) {
        let limit = nearest.last().map_or(f32::INFINITY, |(_, distance)| *distance);
        hits += found.nns.iter().filter(|(_, distance)| *distance <= limit).count();
        all += nearest.len();
        // Centers are among the distances.
        let vectors = found.distances - lists;
        compared += if found.estimates > 0 { found.estimates } else { vectors };
        distances += vectors;
    }
    let count = answers.len() as f64;
    let share = compared as f64 / count / items as f64;
    [hits.min(all) as f64 / all as f64, share, distances as f64 / count]
}

fn exact<D: Distance>(index: &Index<D>, queries: &[f32]) -> Vec<Nns> {
    let found = index.search(K).exact().by_vectors(queries).expect("answers");
    found.into_iter().map(|found| found.nns).collect()
}

fn sizes<D: Distance>(index: &Index<D>) -> [u64; 2] {
    let stats = index.stats().expect("statistics");
    [stats.items, stats.lists.map_or(0, |lists| lists.lists - u64::from(lists.smallest == 0))]
}

fn curve<D: Distance>(what: &str, index: &Index<D>, queries: &[f32]) -> Curve {
    let stats = index.stats().expect("statistics");
    let lists = stats.lists.expect("lists");
    let of_kind = |name: &str| {
        let found = stats.kinds.iter().find(|kind| kind.kind.to_string() == name);
        found.map_or(0, |kind| kind.bytes)
    };
    println!(
        "  {what}: {} lists of {} to {} slots, imbalance {:.2}; {:.1} bytes an item for lists",
        lists.lists,
        lists.smallest,
        lists.largest,
        lists.imbalance,
        of_kind("IVF") as f64 / stats.items as f64
    );
    let nearest = exact(index, queries);
    let mut points = Vec::new();
    for probes in PROBES {
        let mut query = index.search(K);
        let found = query.kind(IndexKind::Ivf).nprobe(probes).by_vectors(queries);
        let point = judge(&found.expect("answers"), &nearest, sizes(index));
        println!(
            "    nprobe {probes:>4}: recall {:.4}, {:.2} % compared, {:.0} vectors read",
            point[0],
            100.0 * point[1],
            point[2]
        );
        points.push(point);
    }
    points
}

/// What a recall as a goal comes to.
fn by_recall<D: Distance>(index: &Index<D>, queries: &[f32]) {
    let nearest = exact(index, queries);
    for goal in [0.9, 0.95, 0.99] {
        let mut query = index.search(K);
        let found = query.kind(IndexKind::Ivf).recall(goal).by_vectors(queries).expect("answers");
        let [recall, share, _] = judge(&found, &nearest, sizes(index));
        let probed = found[0].lists;
        println!(
            "    recall({goal}): {recall:.4}, {:.2} % compared, {probed} lists",
            100.0 * share
        );
    }
}

fn compare(what: &str, found: &Curve, whole: &Curve, report: &mut Report) {
    for ((probes, [recall, ..]), [fresh, ..]) in PROBES.iter().zip(found).zip(whole) {
        report.at_least(&format!("{what}: recall at nprobe {probes}"), *recall, fresh - MAX_LOST);
    }
}
