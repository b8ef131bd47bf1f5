//! The goals: one function a row, for all sets that it covers.
//!
//! A row is left out if an engine that it needs did not take part (`--engines`), and missed if an
//! engine that did has no such figure.

use voisin::Codes;

use super::plan::{RECALLS, THREADS};
use super::results::{EngineResults, Row, SetResults};

/// The column of goals for a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Photos,
    Glosses,
    Million,
}

impl Column {
    fn of(set: &SetResults) -> Self {
        match (set.dimensions, set.rows) {
            (_, 1_000_000..) => Self::Million,
            (384, _) => Self::Glosses,
            _ => Self::Photos,
        }
    }

    /// A goal for photo descriptors and one for glosses; none for a million.
    fn small(self, photos: f64, glosses: f64) -> Option<f64> {
        match self {
            Self::Photos => Some(photos),
            Self::Glosses => Some(glosses),
            Self::Million => None,
        }
    }

    fn million(self, goal: f64) -> Option<f64> {
        (self == Self::Million).then_some(goal)
    }
}

/// All rows of a set.
pub fn rows(set: &SetResults) -> Vec<Row> {
    let Some(voisin) = set.engine("voisin") else { return Vec::new() };
    let column = Column::of(set);
    let mut rows = Rows { set: set.name.clone(), rows: Vec::new() };
    searches(&mut rows, set, voisin, column);
    build(&mut rows, set, voisin);
    costs(&mut rows, set, voisin, column);
    scans(&mut rows, set, voisin);
    for (name, bits) in [
        ("voisin-8-bit", Codes::Bits8),
        ("voisin-7-bit", Codes::Bits7),
        ("voisin-4-bit", Codes::Bits4),
    ] {
        if let Some(coded) = set.engine(name) {
            codes(&mut rows, set, [voisin, coded], bits, column);
        }
    }
    rows.rows
}

struct Rows {
    set: String,
    rows: Vec<Row>,
}

impl Rows {
    fn at_least(&mut self, what: impl Into<String>, found: Option<f64>, goal: f64, unit: &str) {
        self.push(what.into(), found, goal, true, unit);
    }

    fn at_most(&mut self, what: impl Into<String>, found: Option<f64>, goal: f64, unit: &str) {
        self.push(what.into(), found, goal, false, unit);
    }

    fn push(&mut self, what: String, found: Option<f64>, goal: f64, at_least: bool, unit: &str) {
        self.rows.push(Row {
            set: self.set.clone(),
            what,
            found,
            goal,
            at_least,
            unit: unit.to_owned(),
        });
    }
}

fn ratio(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    Some(a? / b?)
}

fn searches(rows: &mut Rows, set: &SetResults, voisin: &EngineResults, column: Column) {
    let goals = [
        ("hnswlib", column.small(1.25, 1.1).or(column.million(1.25))),
        ("faiss-hnsw", column.small(1.4, 1.25)),
        ("hannoy", column.small(10.0, 6.0)),
    ];
    for (name, goal) in goals {
        let (Some(peer), Some(goal)) = (set.engine(name), goal) else { continue };
        for recall in RECALLS {
            let found = ratio(voisin.qps(1, recall), peer.qps(1, recall));
            rows.at_least(
                format!("search, 1 thread, recall {recall}, times {name}'s speed"),
                found,
                goal,
                "x",
            );
        }
    }
    if column != Column::Million {
        for recall in RECALLS {
            let found = ratio(voisin.qps(THREADS, recall), voisin.qps(1, recall));
            rows.at_least(
                format!("search, 2 threads, recall {recall}, times the speed of 1 thread"),
                found,
                1.9,
                "x",
            );
        }
    }
}

/// The benefit and the cost of searching by codes of `bits` bits.
fn codes(
    rows: &mut Rows,
    set: &SetResults,
    [plain, coded]: [&EngineResults; 2],
    codes: Codes,
    column: Column,
) {
    let (bits, is_fast) = (codes.bits(), codes == Codes::fast(set.dimensions));
    let goals = match column {
        Column::Photos => [("hnswlib", [2.8, 2.5]), ("symqg", [1.0, 0.9])],
        Column::Glosses => [("hnswlib", [4.0, 3.8]), ("symqg", [0.9, 0.85])],
        Column::Million => [("hnswlib", [2.6, 2.3]), ("symqg", [0.65, 0.6])],
    };
    for (name, goals) in goals.into_iter().filter(|_| is_fast) {
        let Some(peer) = set.engine(name) else { continue };
        for (recall, goal) in RECALLS.into_iter().zip(goals) {
            let found = ratio(coded.qps(1, recall), peer.qps(1, recall));
            rows.at_least(
                format!("search by {bits} bits, 1 thread, recall {recall}, times {name}'s speed"),
                found,
                goal,
                "x",
            );
        }
    }
    let (with, without) = (coded.curve(1).unwrap_or_default(), plain.curve(1).unwrap_or_default());
    let worst = |pairs: &mut dyn Iterator<Item = (f64, f64)>| {
        let below = pairs.filter(|(_, by_vectors)| *by_vectors >= RECALLS[0] - 0.05);
        below.map(|(by_codes, by_vectors)| 100.0 * (by_vectors - by_codes)).reduce(f64::max)
    };
    let walks = worst(
        &mut with
            .iter()
            .zip(&coded.recalls_by_vectors)
            .map(|(point, by_vectors)| (point.recall, *by_vectors)),
    );
    let builds = worst(
        &mut with
            .iter()
            .zip(without)
            .filter(|(a, b)| a.knob == b.knob)
            .map(|(a, b)| (a.recall, b.recall)),
    );
    let goal = match (column, bits) {
        (Column::Glosses, 7 | 8) => 0.1,
        (_, 7 | 8) | (Column::Glosses, _) => 0.3,
        (Column::Million, _) => 1.5,
        _ => 1.0,
    };
    // A graph built by codes differs, and may be worse.
    for (what, found) in
        [("of the same graph by vectors", walks), ("of a graph without codes", builds)]
    {
        rows.at_most(
            format!(
                "points of recall below those {what} at the same ef, {bits} bits, \
                              the worst from .90 on"
            ),
            found,
            goal,
            "",
        );
    }
    let bytes = (coded.disk_bytes - plain.disk_bytes) / set.rows as f64;
    let goal = ((bits * set.dimensions) as f64 / 8.0 + 16.0) * 1.02;
    rows.at_most(format!("disk for codes of {bits} bits"), Some(bytes), goal, "B a vector");
    if is_fast {
        let goal = if column == Column::Glosses { 0.8 } else { 1.0 };
        let found = coded.median_build_seconds() / plain.median_build_seconds();
        rows.at_most(
            format!("build with codes of {bits} bits, of the time without"),
            Some(found),
            goal,
            "x",
        );
        if column == Column::Million {
            let updates = coded.update.zip(plain.update);
            let cpu = updates.map(|(with, without)| with.cpu_seconds / without.cpu_seconds);
            rows.at_most(
                "one item added with codes: processor time, of that without",
                cpu,
                1.2,
                "x",
            );
            let written = updates.map(|(with, without)| with.written_bytes / without.written_bytes);
            rows.at_most(
                "one item added with codes: bytes written, of those without",
                written,
                1.2,
                "x",
            );
        }
    }
}

fn build(rows: &mut Rows, set: &SetResults, voisin: &EngineResults) {
    let Some(hnswlib) = set.engine("hnswlib") else { return };
    let found = voisin.build_seconds / hnswlib.build_seconds;
    rows.at_most("build and durable commit, 2 threads, of hnswlib's time", Some(found), 0.9, "x");
    let (ours, theirs) =
        (voisin.curve(1).unwrap_or_default(), hnswlib.curve(1).unwrap_or_default());
    let below =
        ours.iter().zip(theirs).filter(|(a, b)| a.knob == b.knob && b.recall >= RECALLS[0] - 0.05);
    let worst = below.map(|(a, b)| 100.0 * (b.recall - a.recall)).reduce(f64::max);
    rows.at_most(
        "points of recall below hnswlib's at the same ef, the worst from .90 on",
        worst,
        0.5,
        "",
    );
}

fn costs(rows: &mut Rows, set: &SetResults, voisin: &EngineResults, column: Column) {
    let count = set.rows as f64;
    if column == Column::Million {
        let bytes = set.linking_anonymous_bytes.map(|bytes| bytes / count);
        rows.at_most(
            "anonymous memory at the peak, vectors committed before",
            bytes,
            1000.0,
            "B a vector",
        );
        rows.at_most(
            "one item added, built, committed: processor",
            voisin.update.map(|update| 1000.0 * update.cpu_seconds),
            3.0,
            "ms",
        );
        rows.at_most(
            "one item added, built, committed: written",
            voisin.update.map(|update| update.written_bytes / 1000.0),
            300.0,
            "KB",
        );
    }
    if column == Column::Glosses {
        rows.at_most(
            "file of a bulk load, of the raw vectors",
            Some(voisin.disk_bytes / set.raw_bytes()),
            1.12,
            "x",
        );
    } else {
        let beyond = (voisin.disk_bytes - set.raw_bytes()) / count;
        rows.at_most(
            "file of a bulk load, beyond the raw vectors",
            Some(beyond),
            200.0,
            "B a vector",
        );
    }
}

fn scans(rows: &mut Rows, set: &SetResults, voisin: &EngineResults) {
    let scan = |name| set.engine(name).map(|engine| engine.scan);
    let Some(ours) = voisin.scan else { return };
    let rate = ratio(Some(100.0 * ours.one_by_one_qps * set.raw_bytes()), set.read_rate);
    rows.at_least(
        "exact scan, one query, 2 threads, of the rate at which the map is read",
        rate,
        80.0,
        "%",
    );
    for name in ["faiss-flat", "nseekfs"] {
        let Some(theirs) = scan(name) else { continue };
        let found = ratio(Some(ours.one_by_one_qps), theirs.map(|scan| scan.one_by_one_qps));
        rows.at_least(
            format!("exact scan, one query, 2 threads, times {name}'s speed"),
            found,
            1.0,
            "x",
        );
    }
    if let Some(flat) = scan("faiss-flat") {
        let found = ratio(Some(ours.batch_qps), flat.map(|scan| scan.batch_qps));
        rows.at_least(
            "exact scan, batch of 64, times the speed of faiss-flat's batch",
            found,
            1.0,
            "x",
        );
    }
    rows.at_least(
        "exact scan, batch of 64, times the speed of one by one",
        Some(ours.batch_qps / ours.one_by_one_qps),
        6.0,
        "x",
    );
}
