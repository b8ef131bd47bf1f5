//! Which kind of index: for each kind, at each of its efforts, recall against time, against the
//! vectors compared and against the bytes read for that; what it takes to build, to store and to
//! change; and the same for indexes of several sizes. `docs/kinds.md` has the pictures.
//!
//! Indexes are kept in a folder, so that a second run, on an idle machine, only searches. Builds
//! and changes are counted in seconds of the processor, which other programs hardly change.
#![allow(clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use voisin::distances::{Cosine, Distance, Euclidean};
use voisin::{Codes, Index, IndexKind, ItemId, Options, Query, Snapshot};
use voisin_bench::data::DataSet;
use voisin_bench::plot::{Across, Curve, draw};
use voisin_bench::report::median;
use voisin_bench::usage::{cpu_seconds, written_bytes};

const K: usize = 10;
/// Searches one at a time, for the time of one, in each of so many passes over all ways.
const TIMED: usize = 200;
const PASSES: usize = 3;
/// No larger effort is tried from this recall on.
const ENOUGH: f64 = 0.999;
/// The recall at which sizes are compared.
const GOAL: f64 = 0.95;
const SIZES: [usize; 5] = [1000, 3000, 10_000, 30_000, 100_000];
/// Items that are deleted and added again, and those of one commit.
const CHANGED: u32 = 1000;
const COMMIT: u32 = 100;

/// What a way to search comes to.
struct Measured {
    kind: IndexKind,
    effort: &'static str,
    recall: f64,
    ms: f64,
    /// Vectors and codes compared by a query, and their bytes.
    compared: f64,
    bytes: f64,
    /// The share of queries that another way has answered, which was exact.
    elsewhere: f64,
}

fn main() -> ExitCode {
    let (options, folders): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let folders: Vec<PathBuf> = folders.into_iter().map(PathBuf::from).collect();
    let [data, indexes, into] = &folders[..] else {
        eprintln!("usage: kinds FOLDER_OF_DATA FOLDER_FOR_INDEXES FOLDER_FOR_PAGES [--make-only]");
        return ExitCode::FAILURE;
    };
    for folder in [indexes, into] {
        fs::create_dir_all(folder).expect("a folder");
    }
    let mut page = PAGE.to_owned();
    let place = Place { indexes, into };
    let (photos, glosses) = (DataSet::photos(data), DataSet::glosses(data));
    place.make::<Euclidean>("photos", &photos, Codes::Bits8);
    place.make::<Cosine>("glosses", &glosses, Codes::Bits4);
    if options.iter().any(|option| option == "--make-only") {
        return ExitCode::SUCCESS;
    }
    place.run::<Euclidean>("photos", &photos, Codes::Bits8, &mut page);
    place.run::<Cosine>("glosses", &glosses, Codes::Bits4, &mut page);
    fs::write(into.join("README.md"), page).expect("a page");
    ExitCode::SUCCESS
}

const PAGE: &str = "# Kinds of index, measured

Written by the program `kinds` of `bench` (`cargo run --release -p voisin-bench --bin kinds --
FOLDER INDEXES docs/benchmarks/kinds`); [kinds.md](../../kinds.md) says what follows. 10 results,
1 000 queries that are not in the index. Times are medians of three passes over 200 queries, one
after the other, alternating between all ways; a scan of all uses both cores, all other searches
one. Compared are vectors and codes, centers of lists included; their bytes do not include neighbor
lists and tables.
";

/// An axis upward, and its figure.
type Upward = (&'static str, fn(&Measured) -> f64);

const TIME: Upward = ("milliseconds a query", |way| way.ms);
const COMPARED: Upward = ("vectors compared by a query", |way| way.compared);
const BYTES: Upward = ("kilobytes of vectors read by a query", |way| way.bytes / 1e3);

struct Place<'a> {
    indexes: &'a Path,
    into: &'a Path,
}

/// An index, and the seconds of the processor that making it took.
struct Made<D> {
    index: Index<D>,
    cpu: f64,
}

impl Place<'_> {
    /// Makes all indexes that are not there.
    fn make<D: Distance>(&self, short: &str, set: &DataSet, codes: Codes) {
        let rows = set.rows().len();
        for kind in IndexKind::ALL {
            drop(self.made::<D>(short, set, rows, &[*kind], None));
        }
        drop(self.made::<D>(short, set, rows, IndexKind::ALL, Some(codes)));
        for rows in SIZES.iter().copied().filter(|size| *size <= rows) {
            drop(self.made::<D>(short, set, rows, IndexKind::ALL, None));
            drop(self.made::<D>(short, set, rows, &[IndexKind::Flat], None));
        }
    }

    fn run<D: Distance>(&self, short: &str, set: &DataSet, codes: Codes, page: &mut String) {
        println!("{}", set.name);
        _ = writeln!(page, "\n## {}\n", set.name);
        let exact = self.exact::<D>(short, set, set.rows().len());
        let mut found = Vec::new();
        let mut costs = Vec::new();
        for kind in IndexKind::ALL.iter().copied() {
            let made = self.made::<D>(short, set, set.rows().len(), &[kind], None);
            found.push((made.index.snapshot().expect("a snapshot"), kind));
            costs.push((kind, made));
        }
        let ways: Vec<_> = found.iter().map(|(snapshot, kind)| (snapshot, *kind)).collect();
        let measured = measure(set, &ways, &exact, 0.0);
        drop(ways);
        drop(found);
        table(page, "Without codes", &measured);
        for (name, upward) in [("-time", TIME), ("-compared", COMPARED), ("-bytes", BYTES)] {
            self.picture(short, set, "no codes", name, upward, &measured);
        }

        let all = self.made::<D>(short, set, set.rows().len(), IndexKind::ALL, Some(codes));
        let snapshot = all.index.snapshot().expect("a snapshot");
        let ways: Vec<_> = IndexKind::ALL.iter().map(|kind| (&snapshot, *kind)).collect();
        let measured = measure(set, &ways, &exact, code_bytes(&all.index));
        let what = format!("codes of {} bits", codes.bits());
        table(page, &format!("With {what}"), &measured);
        self.picture(short, set, &what, "-codes-time", TIME, &measured);

        changes(set, &costs, page);
        self.sizes::<D>(short, set, page);
    }

    /// An index of the first `rows`, which is made if it is not there.
    fn made<D: Distance>(
        &self,
        short: &str,
        set: &DataSet,
        rows: usize,
        kinds: &[IndexKind],
        codes: Option<Codes>,
    ) -> Made<D> {
        let names = kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join("-");
        let bits = codes.map_or(0, Codes::bits);
        let path = self.indexes.join(format!("{short}-{rows}-{names}-{bits}"));
        let noted = path.with_extension("cpu");
        let mut options = Options::new(set.dimensions).kinds(kinds.iter().copied());
        if let Some(codes) = codes {
            options = options.codes(codes);
        }
        if !noted.exists() {
            _ = fs::remove_dir_all(&path);
            let before = cpu_seconds();
            let index = Index::<D>::create(&path, options.clone()).expect("an index");
            index.load((0..).zip(set.rows().take(rows)), |_| {}).expect("a load");
            let took = cpu_seconds() - before;
            println!("  made {} in {took:.1} s of the processor", path.display());
            fs::write(&noted, took.to_string()).expect("a note");
        }
        let cpu = fs::read_to_string(&noted).expect("a note").parse().expect("a number");
        Made { index: Index::open(&path, options).expect("an index"), cpu }
    }

    /// The distance of the farthest of the `K` nearest of the first rows, for each query.
    fn exact<D: Distance>(&self, short: &str, set: &DataSet, rows: usize) -> Vec<f32> {
        let flat = self.made::<D>(short, set, rows, &[IndexKind::Flat], None).index;
        let found = flat.search(K).exact().by_vectors(&set.queries).expect("answers");
        found.iter().map(|found| found.nns.last().map_or(f32::INFINITY, |(_, d)| *d)).collect()
    }

    fn picture(
        &self,
        short: &str,
        set: &DataSet,
        what: &str,
        name: &str,
        (upward, of): Upward,
        found: &[Measured],
    ) {
        let across = Across {
            name: "recall of the 10 nearest",
            range: 0.7..1.0,
            label: &|recall| format!("{recall:.2}"),
        };
        let curves = curves_of(found, of, across.range.start);
        let title = format!("{}, {what}", set.name);
        draw(&self.into.join(format!("{short}{name}.svg")), &title, &across, upward, &curves);
    }

    /// The time of a search at the goal of recall, by the size of the index.
    fn sizes<D: Distance>(&self, short: &str, set: &DataSet, page: &mut String) {
        let mut lines: BTreeMap<IndexKind, Vec<(f64, f64)>> = BTreeMap::new();
        let heads: String = IndexKind::ALL.iter().map(|kind| format!(" {kind} |")).collect();
        _ = writeln!(
            page,
            "\nMilliseconds a query at the least effort whose recall is {GOAL}, and that effort, \
             by the number of\nvectors, without codes:\n\n| vectors |{heads}\n|{}",
            "---|".repeat(IndexKind::ALL.len() + 1)
        );
        for rows in SIZES.iter().copied().filter(|rows| *rows <= set.rows().len()) {
            let exact = self.exact::<D>(short, set, rows);
            let index = self.made::<D>(short, set, rows, IndexKind::ALL, None).index;
            let snapshot = index.snapshot().expect("a snapshot");
            let ways: Vec<_> = IndexKind::ALL.iter().map(|kind| (&snapshot, *kind)).collect();
            let found = measure(set, &ways, &exact, 0.0);
            _ = write!(page, "| {rows} |");
            for kind in IndexKind::ALL {
                let of_kind = |way: &&Measured| way.kind == *kind && way.recall >= GOAL;
                let Some(way) = found.iter().find(of_kind) else {
                    _ = write!(page, " - |");
                    continue;
                };
                let note = if way.elsewhere > 0.5 { " (a scan)" } else { "" };
                _ = write!(page, " {:.3} {}{note} |", way.ms, name_of(way.effort));
                lines.entry(*kind).or_default().push(((rows as f64).log10(), way.ms));
            }
            _ = writeln!(page);
        }
        let curve = |(kind, points): (IndexKind, _)| Curve { name: kind.name().to_owned(), points };
        let curves: Vec<Curve> = lines.into_iter().map(curve).collect();
        let across = Across {
            name: "vectors in the index",
            range: 2.9..5.1,
            label: &|power| format!("{:.0}", 10f64.powf(*power)),
        };
        let title = format!("{}, at a recall of {GOAL}, no codes", set.name);
        let path = self.into.join(format!("{short}-sizes.svg"));
        draw(&path, &title, &across, "milliseconds a query", &curves);
    }
}

/// The curve of each kind; what an exact kind costs, it costs at any recall.
fn curves_of(found: &[Measured], of: fn(&Measured) -> f64, least: f64) -> Vec<Curve> {
    let of_kind = |kind: &IndexKind| {
        let ways = found.iter().filter(|way| way.kind == *kind);
        let mut points: Vec<(f64, f64)> = ways.map(|way| (way.recall, of(way))).collect();
        if let [(_, only)] = points[..] {
            points.insert(0, (least, only));
        }
        Curve { name: kind.name().to_owned(), points }
    };
    IndexKind::ALL.iter().map(of_kind).collect()
}

/// Searches by each kind of these snapshots at each of its efforts.
fn measure<D: Distance>(
    set: &DataSet,
    ways: &[(&Snapshot<D>, IndexKind)],
    exact: &[f32],
    code: f64,
) -> Vec<Measured> {
    let mut found = Vec::new();
    let mut queries = Vec::new();
    for (snapshot, kind) in ways {
        snapshot.warm(u64::MAX).expect("a warm snapshot");
        for effort in kind.efforts() {
            let mut query = snapshot.search(K);
            query.kind(*kind).parameters(effort).expect("an effort");
            let one = judged(&query, set, (*kind, effort), exact, code);
            let is_enough = one.recall >= ENOUGH;
            found.push(one);
            queries.push(query);
            if is_enough {
                break;
            }
        }
    }
    let mut times = vec![Vec::new(); queries.len()];
    for _ in 0..PASSES {
        for (query, times) in queries.iter().zip(&mut times) {
            let began = Instant::now();
            for row in set.query_rows().take(TIMED) {
                query.by_vector(row).expect("an answer");
            }
            times.push(1e3 * began.elapsed().as_secs_f64() / TIMED as f64);
        }
    }
    for (one, times) in found.iter_mut().zip(times) {
        one.ms = median(times);
        println!(
            "  {:<5} {:<12} recall {:.4}, {:.3} ms, {:.0} compared",
            one.kind, one.effort, one.recall, one.ms, one.compared
        );
    }
    found
}

/// What the answers to all queries are worth.
fn judged<D: Distance>(
    query: &Query<'_, Snapshot<D>>,
    set: &DataSet,
    (kind, effort): (IndexKind, &'static str),
    exact: &[f32],
    code: f64,
) -> Measured {
    let answers = query.by_vectors(&set.queries).expect("answers");
    let count = answers.len() as f64;
    let near = |(found, farthest): (&voisin::Searched, &f32)| {
        found.nns.iter().filter(|(_, distance)| distance <= farthest).count().min(K) as f64
    };
    // A batch may be compared in another way than one query at a time.
    let ones = set.query_rows().take(TIMED).map(|row| query.by_vector(row).expect("an answer"));
    let ones: Vec<voisin::Searched> = ones.collect();
    let mean = |of: &dyn Fn(&voisin::Searched) -> u64| {
        ones.iter().map(of).sum::<u64>() as f64 / ones.len() as f64
    };
    let (distances, estimates) = (mean(&|found| found.distances), mean(&|found| found.estimates));
    let is_exact = |found: &&voisin::Searched| found.strategy.is_exact();
    let elsewhere =
        if kind == IndexKind::Flat { 0 } else { answers.iter().filter(is_exact).count() };
    let vector = 4.0 * set.dimensions as f64;
    Measured {
        kind,
        effort,
        recall: answers.iter().zip(exact).map(near).sum::<f64>() / (K as f64 * count),
        ms: 0.0,
        compared: distances + estimates,
        bytes: distances * vector + estimates * code,
        elsewhere: elsewhere as f64 / count,
    }
}

/// The bytes of a code.
fn code_bytes<D: Distance>(index: &Index<D>) -> f64 {
    let stats = index.stats().expect("statistics");
    let codes = stats.kinds.iter().find(|values| values.kind == voisin::Kind::CODES);
    codes.map_or(0, |values| values.bytes) as f64 / stats.items as f64
}

fn name_of(effort: &str) -> String {
    if effort.is_empty() { "exact".to_owned() } else { effort.replace('=', " ") }
}

fn table(page: &mut String, title: &str, found: &[Measured]) {
    _ = writeln!(
        page,
        "{title}:\n\n| kind | effort | recall@{K} | ms a query | compared | KB of these |\n\
         |---|---|---|---|---|---|"
    );
    for way in found {
        _ = writeln!(
            page,
            "| {} | {} | {:.4} | {:.3} | {:.0} | {:.0} |",
            way.kind,
            name_of(way.effort),
            way.recall,
            way.ms,
            way.compared,
            way.bytes / 1e3
        );
    }
    _ = writeln!(page);
}

/// What it takes to make an index of one kind, to store it, and to change it.
fn changes<D: Distance>(set: &DataSet, costs: &[(IndexKind, Made<D>)], page: &mut String) {
    let io = Path::new("/proc/self/io");
    _ = writeln!(
        page,
        "An index of one kind, without codes: seconds of the processor for a load of all \
         vectors, bytes an\nitem beside the vector, and what one item takes that is deleted and \
         added again, in commits of {COMMIT}:\n\n| kind | load, s | bytes an item | \
         ms of the processor a change | KB written a change |\n|---|---|---|---|---|"
    );
    let vectors = |index: &Index<D>| {
        let kinds = index.stats().expect("statistics").kinds;
        let of = |kind| kinds.iter().filter(|values| values.kind == kind).map(|it| it.bytes).sum();
        let [blocks, tail]: [u64; 2] = [voisin::Kind::VECTORS, voisin::Kind::TAIL].map(of);
        blocks + tail
    };
    for (kind, Made { index, cpu }) in costs {
        let beside = index.stats().expect("statistics").bytes() - vectors(index);
        let (before, wrote) = (cpu_seconds(), written_bytes(io).expect("counters of the system"));
        for from in (0..CHANGED).step_by(COMMIT as usize) {
            let items = from..from + COMMIT;
            index.write(|batch| batch.delete_items(items.clone())).expect("a commit");
            let rows = items.map(|item| (item as ItemId, set.row(item)));
            index.write(|batch| batch.add_items_from(rows.clone())).expect("a commit");
        }
        let each = f64::from(CHANGED);
        _ = writeln!(
            page,
            "| {kind} | {cpu:.1} | {:.1} | {:.2} | {:.1} |",
            beside as f64 / set.rows().len() as f64,
            1e3 * (cpu_seconds() - before) / each,
            (written_bytes(io).expect("counters of the system") - wrote) as f64 / each / 1e3
        );
    }
}
