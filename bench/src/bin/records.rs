//! Records and fields beside vectors: what a load and a commit pay for them, what a condition costs
//! against the same items as a bitmap of the caller's, and what results with records cost.
//!
//! Times are medians of alternating rounds, on one thread. Exits non-zero when a goal is missed.
//! See the README of this crate, and decision 0053.
#![allow(clippy::expect_used, clippy::panic, missing_docs)]

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use voisin::distances::Euclidean;
use voisin::roaring::RoaringBitmap;
use voisin::{Condition, Field, Index, Options, Snapshot, field};
use voisin_bench::data::DataSet;
use voisin_bench::report::{Report, median};
use voisin_bench::usage::written_bytes;

const K: usize = 10;
const QUERIES: usize = 32;
/// How often a search is timed, each way.
const ROUNDS: usize = 7;
const RECORD_ROUNDS: usize = 41;
/// How often a condition is asked before it is timed on a snapshot that knows it.
const ASKED_BEFORE: usize = 10;
const COMMITS: usize = 40;
/// The length of a record's text, in bytes, beside its fields: 500 in all.
const TEXT_BYTES: usize = 430;
/// The shares of items that pass, in percent.
const SHARES: [f64; 4] = [50.0, 10.0, 1.0, 0.1];
/// The goals: the time of a load with records and the bytes of a commit in those without, the time
/// of a condition in that of a bitmap, and microseconds for the records of ten results.
const MAX_LOAD: f64 = 1.3;
const MAX_COMMIT: f64 = 1.5;
const MAX_CONDITION: f64 = 1.2;
const MAX_RECORDS_US: f64 = 5.0;

fn main() -> ExitCode {
    let (options, folders): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let mut folders = folders.into_iter().map(PathBuf::from);
    let Some(folder) = folders.next() else {
        eprintln!("usage: records FOLDER_OF_DATA [FOLDER_FOR_INDEXES] [--million]");
        return ExitCode::FAILURE;
    };
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let indexes = folders.next().unwrap_or_else(|| temporary.path().to_owned());
    let mut set = DataSet::photos(&folder);
    if options.iter().any(|option| option == "--million") {
        set = set.enlarged(10);
    }
    let mut report = Report::default();
    let facts = Facts::of(set.rows().len() as u32);
    println!("{} x {}, records of 500 bytes, three fields", set.rows().len(), set.dimensions);
    let index = writes(&set, &facts, &indexes, &mut report);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
    let snapshot = index.snapshot().expect("a snapshot");
    snapshot.warm(u64::MAX).expect("a warm index");
    let cells = cells(&facts);
    pool.install(|| {
        cells.iter().for_each(|cell| cell.time(&set, &snapshot, &mut report));
        records(&set, &snapshot, &mut report);
    });
    drop(snapshot);
    cells.iter().for_each(|cell| cell.time_anew(&facts, &index));
    report.finish()
}

/// What the records of a set say.
struct Facts {
    /// Labels of an item: by share, in the order of [`SHARES`], and twice that share.
    labels: Vec<Vec<&'static str>>,
    /// A number of its own each, from 0, in no order.
    ranks: Vec<u32>,
    /// Half of the items are of each side.
    sides: Vec<bool>,
}

/// The label of the items of a share, and that of twice as many.
const LABELS: [[&str; 2]; 4] =
    [["half", "all"], ["tenth", "fifth"], ["hundredth", "fiftieth"], ["thousandth", "two"]];

impl Facts {
    fn of(items: u32) -> Self {
        let mut rng = StdRng::seed_from_u64(5);
        let labels = (0..items).map(|_| {
            let shares = SHARES.into_iter().zip(LABELS);
            let each = shares.flat_map(|(share, [one, two])| [(share, one), (2.0 * share, two)]);
            each.filter(|(share, _)| rng.random_bool(share / 100.0)).map(|(_, name)| name).collect()
        });
        let labels = labels.collect();
        // A multiplier that has no factor of any number of items here.
        let ranks = (0..items).map(|item| (u64::from(item) * 7919 % u64::from(items)) as u32);
        let ranks = ranks.collect();
        Self { labels, ranks, sides: (0..items).map(|_| rng.random()).collect() }
    }

    /// The record of an item, as JSON.
    fn record(&self, item: u32) -> Vec<u8> {
        let at = item as usize;
        let side = if self.sides[at] { "left" } else { "right" };
        let text = "x".repeat(TEXT_BYTES);
        let record: Value = json!({
            "labels": self.labels[at], "rank": self.ranks[at], "side": side, "text": text,
        });
        record.to_string().into_bytes()
    }

    fn fields() -> [Field; 3] {
        [Field::keyword("labels"), Field::integer("rank"), Field::keyword("side")]
    }

    /// The items that pass.
    fn bitmap(&self, passes: impl Fn(usize) -> bool) -> RoaringBitmap {
        (0..self.ranks.len() as u32).filter(|item| passes(*item as usize)).collect()
    }
}

/// Loads an index with records and fields and one without, and adds items to both.
fn writes(set: &DataSet, facts: &Facts, folder: &Path, report: &mut Report) -> Index<Euclidean> {
    let options = |name| Options::new(set.dimensions).name(name);
    let plain = Index::<Euclidean>::create(folder, options("plain")).expect("an index");
    let full = options("full").fields(Facts::fields());
    let full = Index::<Euclidean>::create(folder, full).expect("an index");
    let started = Instant::now();
    plain.load((0..).zip(set.rows()), |_| {}).expect("a load");
    let without = started.elapsed().as_secs_f64();
    let records = (0..set.rows().len() as u32).map(|item| facts.record(item));
    let records: Vec<_> = records.collect();
    let started = Instant::now();
    let items = set.rows().zip(&records).zip(0..);
    let items = items.map(|((row, record), item)| (item, row, record));
    full.loader().load_with_records(items).expect("a load");
    let with = started.elapsed().as_secs_f64();
    println!("  a load took {with:.2} s with records and fields, {without:.2} s without");
    report.at_most("a load with records, in one without", with / without, MAX_LOAD);
    let mut given = [Vec::new(), Vec::new()];
    let io = Path::new("/proc/self/io");
    for (item, row) in (0..COMMITS as u32).zip(set.query_rows().cycle()) {
        let new = set.rows().len() as u32 + item;
        let before = written_bytes(io).expect("a count of bytes");
        plain.write(|batch| batch.add(new, row)).expect("an item");
        let between = written_bytes(io).expect("a count of bytes");
        full.write(|batch| batch.add_with_record(new, row, &records[item as usize]))
            .expect("an item");
        let after = written_bytes(io).expect("a count of bytes");
        given[0].push((between - before) as f64);
        given[1].push((after - between) as f64);
    }
    let [without, with] = given.map(median);
    println!("  a commit of one item gave {:.1} and {:.1} KB", with / 1e3, without / 1e3);
    report.at_most("bytes of a commit with a record, in one without", with / without, MAX_COMMIT);
    full.write(|batch| {
        (0..COMMITS as u32).try_for_each(|n| batch.delete(records.len() as u32 + n).map(drop))
    })
    .expect("items deleted");
    full
}

/// A condition, and the items for which it holds.
struct Cell {
    what: String,
    condition: Condition,
    items: RoaringBitmap,
}

fn cells(facts: &Facts) -> Vec<Cell> {
    let items = facts.ranks.len() as f64;
    let mut cells = Vec::new();
    for (share, [label, twice]) in SHARES.into_iter().zip(LABELS) {
        let has = |at: usize, label| facts.labels[at].contains(&label);
        let below = (items * share / 100.0) as u32;
        let half = facts.ranks.len() as u32 / 2;
        let of_share = [
            ("a keyword", field("labels").eq(label), facts.bitmap(|at| has(at, label))),
            (
                "two keywords",
                field("labels").eq(twice).and(field("side").eq("left")),
                facts.bitmap(|at| has(at, twice) && facts.sides[at]),
            ),
            (
                "a range",
                field("rank").below(i64::from(below)),
                facts.bitmap(|at| facts.ranks[at] < below),
            ),
            (
                "a keyword and a range",
                field("labels").eq(twice).and(field("rank").below(i64::from(half))),
                facts.bitmap(|at| has(at, twice) && facts.ranks[at] < half),
            ),
        ];
        cells.extend(of_share.map(|(what, condition, items)| {
            let what = format!("{what}, {share} %");
            Cell { what, condition, items }
        }));
    }
    cells
}

impl Cell {
    /// Times the condition against a bitmap of the same items: asked again and again, and, for the
    /// same items, a condition that is new each time.
    fn time(&self, set: &DataSet, snapshot: &Snapshot<Euclidean>, report: &mut Report) {
        let Self { what, items, .. } = self;
        let [again, anew, by_bitmap] = self.medians(set, snapshot, items);
        let us = [again, anew, by_bitmap].map(|time| format!("{:.1}", 1e6 * time));
        println!("  {what}: {} us, as a new condition {}, by a bitmap {}", us[0], us[1], us[2]);
        let against = format!("{what}, in the same by a bitmap");
        report.at_most(&against, again / by_bitmap, MAX_CONDITION);
        println!("  {what}, as a new condition: {:.2} times", anew / by_bitmap);
    }

    /// The median times of a search by the condition, by new ones, and by a bitmap.
    fn medians(
        &self,
        set: &DataSet,
        snapshot: &Snapshot<Euclidean>,
        bitmap: &RoaringBitmap,
    ) -> [f64; 3] {
        let mut times = [Vec::new(), Vec::new(), Vec::new()];
        let searches = set.query_rows().take(QUERIES).flat_map(|query| [query; ROUNDS]);
        for (nth, query) in searches.enumerate() {
            let by = |condition| snapshot.search(K).candidates(condition).by_vector(query);
            let by_bitmap = || snapshot.search(K).candidates(bitmap).by_vector(query);
            // No item is of such a side: to look that up takes less than a microsecond.
            let nobody = field("side").eq(format!("{nth} of {}", self.what));
            let new = Condition::all([self.condition.clone(), nobody.not()]);
            // The first search of a query finds less in the caches.
            for way in (nth..).map(|way| way % 3).take(3) {
                times[way].push(match way {
                    0 => timed(|| by(&self.condition)),
                    1 => timed(|| by(&new)),
                    _ => timed(by_bitmap),
                });
            }
            let found = [by(&self.condition), by(&new), by_bitmap()];
            let [again, anew, expected] = found.map(|found| found.expect("an answer").nns);
            assert!(again.iter().all(|(item, _)| bitmap.contains(*item)), "{}", self.what);
            assert!(anew.iter().all(|(item, _)| bitmap.contains(*item)), "{}", self.what);
            assert_eq!((again.len(), anew.len()), (expected.len(), expected.len()));
        }
        times.map(median)
    }

    /// Times the condition alone, on snapshots that have read nothing of fields, and once it has
    /// been asked some times.
    fn time_anew(&self, facts: &Facts, index: &Index<Euclidean>) {
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            index.write(|batch| batch.set_record(0, &facts.record(0))).expect("a record");
            let snapshot = index.snapshot().expect("a snapshot");
            let count = || snapshot.count(&self.condition);
            times[0].push(timed(count));
            for _ in 0..ASKED_BEFORE {
                assert_eq!(count().expect("a count"), self.items.len(), "{}", self.what);
            }
            times[1].push(timed(count));
        }
        let [first, later] = times.map(|times| 1e6 * median(times));
        println!(
            "  {} alone: {first:.1} us for the first of a commit, {later:.1} later",
            self.what
        );
    }
}

/// Times the records of ten results.
fn records(set: &DataSet, snapshot: &Snapshot<Euclidean>, report: &mut Report) {
    let mut extra = Vec::new();
    for query in set.query_rows().take(QUERIES) {
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..RECORD_ROUNDS {
            times[0].push(timed(|| snapshot.search(K).by_vector(query)));
            times[1].push(timed(|| snapshot.search(K).with_records().by_vector(query)));
        }
        let [without, with] = times.map(median);
        extra.push(1e6 * (with - without));
    }
    report.at_most("us for the records of ten results", median(extra), MAX_RECORDS_US);
}

/// The time that a search takes, in seconds.
fn timed<T>(search: impl Fn() -> voisin::Result<T>) -> f64 {
    let started = Instant::now();
    black_box(search()).expect("an answer");
    started.elapsed().as_secs_f64()
}
