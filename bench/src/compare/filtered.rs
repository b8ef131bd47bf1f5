//! Searches that may only return some of the items: every engine among the same random candidates,
//! at the smallest setting that reaches the recall.
//!
//! Every engine builds its index once, in a process of its own, and keeps it for later runs; what
//! searches is a process that has opened the saved index, with one thread, and gets one query a
//! call. For each share of candidates all engines find their setting, and then alternate.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use super::child::Child;
use super::plan::{self, ENGINES, K, PASSES, Plan, ROUNDS, SEED, Spec, metric_name};
use super::protocol::{By, Metric, Request, Task};
use super::results::{Row, Run};
use super::table;
use super::truth::{Rows, Truth, ids};
use super::vectors::Vectors;
use crate::setting::smallest;

/// The candidates, in percent of the items.
const SHARES: [f64; 6] = [50.0, 20.0, 10.0, 5.0, 1.0, 0.3];
const RECALL: f64 = 0.95;
/// The counterparts of `ef_search`: at least `K`, and at most what a search of 100 000 items can
/// sensibly be given.
const KNOBS: [usize; 2] = [K, 4096];
/// The seconds of a pass over the queries, after which the other queries are left out: to find a
/// setting, and to measure the speed with it.
const SECONDS: [f64; 2] = [4.0, 2.0];

/// One way to give candidates to an engine.
#[derive(Debug)]
pub struct Way {
    /// As in [`ENGINES`].
    engine: &'static str,
    by: By,
    /// In words.
    name: &'static str,
}

/// In the order of the tables.
pub const WAYS: [Way; 8] = [
    Way { engine: "voisin", by: By::Kept, name: "voisin, a kept `Filter`" },
    Way { engine: "voisin", by: By::Bitmap, name: "voisin, a fresh bitmap" },
    Way { engine: "hnswlib", by: By::Predicate, name: "hnswlib, a functor in C++" },
    Way { engine: "hnswlib", by: By::Python, name: "hnswlib, a function in Python" },
    Way { engine: "faiss-hnsw", by: By::Kept, name: "faiss-hnsw, `IDSelectorBitmap`" },
    Way { engine: "usearch", by: By::Predicate, name: "usearch, a predicate" },
    Way { engine: "hannoy", by: By::Bitmap, name: "hannoy, a bitmap" },
    Way { engine: "hannoy", by: By::Scan, name: "hannoy, a bitmap, scanned" },
];

impl Way {
    /// The name of its engine.
    pub fn engine(&self) -> &'static str {
        self.engine
    }

    fn spec(&self) -> &'static Spec {
        ENGINES.iter().find(|spec| spec.name == self.engine).expect("an engine of the plan")
    }

    /// The name by which a child serves it: voisin through `Index`, which answers single queries.
    fn serves(&self) -> &'static str {
        if self.engine == "voisin" { "index" } else { self.engine }
    }
}

/// All engines on one set of vectors.
#[derive(Debug, Serialize, Deserialize)]
pub struct FilteredResults {
    pub name: String,
    pub metric: Metric,
    pub queries: usize,
    pub ways: Vec<WayResults>,
}

/// One engine with one way to give it candidates.
#[derive(Debug, Serialize, Deserialize)]
pub struct WayResults {
    pub name: String,
    pub engine: String,
    pub version: String,
    pub by: By,
    /// The engine's counterpart of `ef_search`.
    pub knob: String,
    /// One for each share of candidates.
    pub points: Vec<Filtered>,
}

/// Searches among one share of the items.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Filtered {
    pub share_percent: f64,
    /// The smallest that reaches the recall, or the largest.
    pub knob: usize,
    pub recall: f64,
    /// The number of queries from which the recall is known: fewer than all, if the engine is slow.
    pub judged: usize,
    /// Queries per second, the best of all rounds.
    pub qps: f64,
}

impl Filtered {
    fn is_reached(&self) -> bool {
        self.recall >= RECALL
    }
}

/// A process that searches.
struct Searcher {
    way: &'static Way,
    child: Child,
    points: Vec<Filtered>,
}

/// See the module.
struct Contest<'a> {
    plan: &'a Plan,
    vectors: &'a Vectors,
    python: &'a Path,
}

/// Some of the items, and the right answers among them.
struct Candidates {
    ids: HashSet<u32>,
    truth: Truth,
}

/// The answers to the first queries.
struct Pass {
    answers: Vec<u32>,
    qps: f64,
}

/// Compares all engines of the plan on `vectors`; `python` is the interpreter with the peers.
pub fn run(plan: &Plan, vectors: &Vectors, python: &Path) -> FilteredResults {
    println!("{}: searches among some of the items", vectors.name);
    let contest = Contest { plan, vectors, python };
    // The code of voisin changes without its version.
    for way in WAYS.iter().filter(|way| way.engine == "voisin") {
        _ = fs::remove_dir_all(contest.folder(way));
    }
    let is_asked = |way: &&Way| {
        plan.engines.as_ref().is_none_or(|names| names.iter().any(|name| name == way.engine))
    };
    let mut searchers: Vec<Searcher> =
        WAYS.iter().filter(is_asked).map(|way| contest.open(way)).collect();
    for share in SHARES {
        contest.compare(share, &mut searchers);
    }
    let results = |Searcher { way, child, points }| WayResults {
        name: way.name.to_owned(),
        engine: way.engine.to_owned(),
        version: child.version.clone(),
        by: way.by,
        knob: way.spec().knob.to_owned(),
        points,
    };
    FilteredResults {
        name: vectors.name.clone(),
        metric: vectors.metric,
        queries: contest.queries(),
        ways: searchers.into_iter().map(results).collect(),
    }
}

impl Contest<'_> {
    /// Starts a process with an open index, which is built first unless an earlier run has.
    fn open(&self, way: &'static Way) -> Searcher {
        let start = |task: &Task| Child::start(way.serves(), way.spec().home, self.python, task);
        let folder = self.folder(way);
        fs::create_dir_all(&folder).expect("a folder");
        let task = Task { folder: folder.clone(), ..plan::task(self.plan, self.vectors) };
        let version = start(&task).version.clone();
        let built = format!("{version} {}", serde_json::to_string(&task).expect("a line"));
        let mark = folder.join("built");
        if !fs::read_to_string(&mark).is_ok_and(|before| before == built) {
            fs::remove_dir_all(&folder).expect("to remove what an earlier run left");
            fs::create_dir_all(&folder).expect("a folder");
            let mut child = start(&task);
            let seconds = child.ask(&Request::Build).seconds;
            child.ask(&Request::Save);
            fs::write(mark, built).expect("to write a mark");
            println!("  {} {version}: built in {seconds:.1} s", way.engine);
        }
        let mut child = start(&Task { threads: 1, ..task });
        child.ask(&Request::Open);
        Searcher { way, child, points: Vec::new() }
    }

    /// Of the index that all ways of an engine search.
    fn folder(&self, way: &Way) -> PathBuf {
        self.vectors.folder.join(format!("{}-{}", way.engine, self.vectors.rows()))
    }

    fn queries(&self) -> usize {
        self.vectors.queries.len() / self.vectors.dimensions
    }

    fn candidates_file(&self) -> PathBuf {
        self.vectors.folder.join("candidates.u32")
    }

    /// All engines among the same candidates.
    fn compare(&self, share_percent: f64, searchers: &mut [Searcher]) {
        let candidates = self.choose(share_percent);
        for searcher in &mut *searchers {
            let request =
                Request::Filter { candidates: self.candidates_file(), by: searcher.way.by };
            searcher.child.ask(&request);
            let point = self.find(share_percent, searcher, &candidates);
            searcher.points.push(point);
        }
        for _ in 0..ROUNDS {
            for searcher in &mut *searchers {
                let knob = searcher.points.last().expect("a point").knob;
                for _ in 0..PASSES {
                    let qps = self.pass(&mut searcher.child, knob, SECONDS[1]).qps;
                    let point = searcher.points.last_mut().expect("a point");
                    point.qps = point.qps.max(qps);
                }
            }
        }
        for Searcher { way, points, .. } in searchers {
            let Some(Filtered { knob, recall, judged, qps, .. }) = points.last() else { continue };
            println!(
                "  {share_percent} %, {}: {} {knob}, recall {recall:.4} of {judged} queries, \
                 {qps:.0} q/s",
                way.name,
                way.spec().knob
            );
        }
    }

    /// Chooses candidates, and writes them to the file that engines read.
    fn choose(&self, share_percent: f64) -> Candidates {
        let rows = self.vectors.rows();
        let count = (rows as f64 * share_percent / 100.0).round() as usize;
        let chosen = rand::seq::index::sample(&mut StdRng::seed_from_u64(SEED), rows, count);
        let mut chosen: Vec<u32> = chosen.into_iter().map(|row| row as u32).collect();
        chosen.sort_unstable();
        fs::write(self.candidates_file(), bytemuck::cast_slice(&chosen))
            .expect("to write candidates");
        let rows = chosen.iter().filter_map(|id| self.vectors.row(*id as usize));
        let base: Vec<f32> = rows.flatten().copied().collect();
        let truth = Truth::compute(Rows { base: &base, ..self.vectors.into() }, K);
        Candidates { ids: chosen.into_iter().collect(), truth }
    }

    /// The smallest setting that reaches the recall, or the largest; its speed is not known yet.
    fn find(
        &self,
        share_percent: f64,
        searcher: &mut Searcher,
        candidates: &Candidates,
    ) -> Filtered {
        let try_out = |knob| {
            let answers = self.pass(&mut searcher.child, knob, SECONDS[0]).answers;
            for id in answers.iter().filter(|id| **id != u32::MAX) {
                let is_candidate = candidates.ids.contains(id);
                assert!(is_candidate, "{} finds {id}, which is no candidate", searcher.way.name);
            }
            let recall = candidates.truth.recall(self.vectors.into(), &answers);
            Filtered { share_percent, knob, recall, judged: answers.len() / K, qps: 0.0 }
        };
        smallest(KNOBS, 16, try_out, Filtered::is_reached).1
    }

    /// Answers the queries, one a call, until all are answered or the time is over.
    fn pass(&self, child: &mut Child, knob: usize, seconds: f64) -> Pass {
        let [answers, times] =
            ["answers.u32", "times.u64"].map(|name| self.vectors.folder.join(name));
        let asked = child.ask(&Request::Each {
            first: 0,
            count: self.queries(),
            seconds,
            knob,
            threads: 1,
            answers: answers.clone(),
            times: times.clone(),
        });
        let asked = asked.bytes as usize;
        let mut answers = ids(&fs::read(answers).expect("answers"));
        answers.truncate(asked * K);
        let times = fs::read(times).expect("times");
        let times = times.as_chunks().0.iter().map(|time| u64::from_le_bytes(*time));
        // Of each query its beginning and its duration.
        let nanoseconds: u64 = times.skip(1).step_by(2).take(asked).sum();
        Pass { answers, qps: asked as f64 * 1e9 / nanoseconds as f64 }
    }
}

impl FilteredResults {
    /// Queries per second with the quickest of some ways that reach the recall.
    fn best_qps(&self, share_percent: f64, ways: impl Fn(&WayResults) -> bool) -> Option<f64> {
        let points = self.ways.iter().filter(|way| ways(way)).flat_map(|way| &way.points);
        let reached = points.filter(|at| at.share_percent == share_percent && at.is_reached());
        reached.map(|at| at.qps).reduce(f64::max)
    }
}

/// The goals, beside the quickest way of each peer: voisin with a `Filter` beside hnswlib's array,
/// both prepared once, and with a fresh bitmap beside hannoy's.
pub fn goals(set: &FilteredResults) -> Vec<Row> {
    let mut rows = Vec::new();
    let peers = [("hnswlib", By::Kept, 10.0, &SHARES[4..]), ("hannoy", By::Bitmap, 3.0, &SHARES)];
    let took_part = |name: &str| set.ways.iter().any(|way| way.engine == name);
    for (peer, by, goal, shares) in peers {
        for &share in shares.iter().filter(|_| took_part(peer) && took_part("voisin")) {
            let ours = set.best_qps(share, |way| way.engine == "voisin" && way.by == by);
            let theirs = set.best_qps(share, |way| way.engine == peer);
            let with = if by == By::Kept { "a kept `Filter`" } else { "a fresh bitmap" };
            rows.push(Row {
                set: set.name.clone(),
                what: format!("{with}, {share} % candidates, times {peer}'s quickest way"),
                found: ours.zip(theirs).map(|(ours, theirs)| ours / theirs),
                goal,
                at_least: true,
                unit: "x".to_owned(),
            });
        }
    }
    rows
}

/// The results as a page of Markdown.
pub fn page(run: &Run<FilteredResults>) -> String {
    let ways = run.sets.iter().flat_map(|set| &set.ways);
    let mut page = table::head(
        run,
        "Filtered searches: voisin beside its peers",
        ways.map(|way| (&*way.engine, &*way.version)),
    );
    let mut line = |text: &str| table::line(&mut page, text);
    line(&format!(
        "\nBelow: queries a second on 1 thread, one a call, among random candidates, and the \
         smallest setting whose recall@{K} is {RECALL}, with its recall (and of how many queries \
         that is known, if not of all: a pass takes {:.0} seconds at most). **Bold**: {} does not \
         reach it. hnswlib's functor in C++ is called by a program of this repository, as its \
         Python module takes a Python function only. hannoy scans fewer than 1000 candidates if \
         they are at most 1 %, or as many as it is told to: *scanned*.",
        SECONDS[0], KNOBS[1]
    ));
    for set in &run.sets {
        line(&format!("\n## {}, {}\n", set.name, metric_name(set.metric)));
        let shares: Vec<String> = SHARES.iter().map(|share| format!("{share} %")).collect();
        line(&format!("| engine | {} |", shares.join(" | ")));
        line(&format!("|---|{}", "---:|".repeat(SHARES.len())));
        for way in &set.ways {
            let cells: Vec<String> =
                way.points.iter().map(|at| cell(way, at, set.queries)).collect();
            line(&format!("| {} | {} |", way.name, cells.join(" | ")));
        }
    }
    page
}

/// One share of one engine: its speed, and how it gets there.
fn cell(way: &WayResults, at: &Filtered, queries: usize) -> String {
    let bold = if at.is_reached() { "" } else { "**" };
    let knob = match way.by {
        By::Scan => String::new(),
        _ => format!("{} {}, ", way.knob, at.knob),
    };
    let judged = if at.judged < queries { format!(" of {}", at.judged) } else { String::new() };
    format!("{}<br>{knob}{bold}{:.3}{bold}{judged}", table::figure(at.qps), at.recall)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_measured_against_the_quickest_way_that_reaches_the_recall() {
        let way = |engine: &str, by, recall, qps| {
            let at = |share_percent| Filtered { share_percent, knob: 10, recall, judged: 1, qps };
            WayResults {
                name: String::new(),
                engine: engine.to_owned(),
                version: String::new(),
                by,
                knob: String::new(),
                points: SHARES.map(at).into(),
            }
        };
        let ways = vec![
            way("voisin", By::Kept, 0.95, 900.0),
            way("voisin", By::Bitmap, 0.95, 600.0),
            way("hannoy", By::Bitmap, 0.94, 500.0),
            way("hannoy", By::Scan, 1.0, 200.0),
        ];
        let (name, metric) = (String::new(), Metric::Cosine);
        let set = FilteredResults { name, metric, queries: 1, ways };
        let found: Vec<_> = goals(&set).iter().map(|row| row.found).collect();
        assert_eq!(found, [Some(3.0); SHARES.len()]);
    }
}
