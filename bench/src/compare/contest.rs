//! The measurements on one set of vectors: every engine builds, alone; then they alternate.

use std::fs;
use std::path::{Path, PathBuf};

use voisin::Codes;

use super::child::Child;
use super::plan::{
    self, ENOUGH, K, OPENINGS, PASSES, Plan, REBUILDS, ROUNDS, SCAN_ROUNDS, SCANS, Spec, THREADS,
};
use super::protocol::{Request, Task};
use super::results::{Curve, EngineResults, Scan, SetResults, Update};
use super::truth::{Truth, ids};
use super::vectors::Vectors;
use crate::curve::Point;

/// An engine that takes part.
struct Contender {
    spec: &'static Spec,
    child: Child,
    results: EngineResults,
}

/// See the module.
struct Contest<'a> {
    plan: &'a Plan,
    vectors: &'a Vectors,
    python: &'a Path,
    truth: Truth,
    contenders: Vec<Contender>,
    results: SetResults,
}

/// Compares all engines of the plan on `vectors`; `python` is the interpreter with the peers.
pub fn run(plan: &Plan, vectors: &Vectors, python: &Path) -> SetResults {
    println!("{}: finding the exact answers", vectors.name);
    let results = SetResults {
        name: vectors.name.clone(),
        short: vectors.short.to_owned(),
        rows: vectors.rows(),
        dimensions: vectors.dimensions,
        metric: vectors.metric,
        engines: Vec::new(),
        read_rate: None,
        linking_anonymous_bytes: None,
    };
    let mut contest = Contest {
        plan,
        vectors,
        python,
        truth: Truth::compute(vectors.into(), K),
        contenders: Vec::new(),
        results,
    };
    for spec in plan.specs(vectors.rows()) {
        contest.build(spec);
    }
    contest.build_again();
    contest.search();
    contest.scan();
    contest.open();
    contest.update();
    contest.results.engines =
        contest.contenders.drain(..).map(|contender| contender.results).collect();
    if vectors.rows() >= 1_000_000 {
        contest.link_stored();
    }
    contest.results
}

impl Contest<'_> {
    /// Starts a process of an engine, whose files are in a folder of this name.
    fn start(&self, spec: &Spec, folder: &str) -> Child {
        let folder = self.vectors.folder.join(folder);
        fs::create_dir_all(&folder).expect("a folder");
        let task = Task { folder, ..plan::task(self.plan, self.vectors) };
        Child::start(spec.name, spec.home, self.python, &task)
    }

    fn answers_file(&self) -> PathBuf {
        self.vectors.folder.join("answers.u32")
    }

    /// The recall of the last answers written.
    fn recall(&self) -> f64 {
        let bytes = fs::read(self.answers_file()).expect("answers");
        self.truth.recall(self.vectors.into(), &ids(&bytes))
    }

    fn build(&mut self, spec: &'static Spec) {
        let mut child = self.start(spec, spec.name);
        let (built, build_usage) = child.ask_watched(&Request::Build);
        let (saved, save_usage) = child.ask_watched(&Request::Save);
        println!("  {} {}: built in {:.1} s", spec.name, child.version, built.seconds);
        let results = EngineResults {
            name: spec.name.to_owned(),
            version: child.version.clone(),
            knob: spec.knob.to_owned(),
            build_seconds: built.seconds,
            save_seconds: saved.seconds,
            build_anonymous_bytes: build_usage.anonymous_bytes as f64,
            written_bytes: (build_usage.written_bytes + save_usage.written_bytes) as f64,
            disk_bytes: saved.bytes as f64,
            open_seconds: f64::INFINITY,
            update: None,
            curves: Vec::new(),
            one_by_one: Vec::new(),
            rebuild_seconds: Vec::new(),
            recalls_by_vectors: Vec::new(),
            scan: None,
        };
        self.contenders.push(Contender { spec, child, results });
    }

    /// Builds without codes and with them, alternating.
    fn build_again(&mut self) {
        let coded = format!("voisin-{}-bit", Codes::fast(self.vectors.dimensions).bits());
        let mut contenders = std::mem::take(&mut self.contenders);
        let takes_part =
            |contender: &&mut Contender| ["voisin", &coded].contains(&contender.spec.name);
        if contenders.iter_mut().filter(takes_part).count() == 2 {
            for _ in 0..REBUILDS {
                for contender in contenders.iter_mut().filter(takes_part) {
                    let seconds = self.start(contender.spec, "again").ask(&Request::Build).seconds;
                    fs::remove_dir_all(self.vectors.folder.join("again"))
                        .expect("to remove a folder");
                    println!("  {}: built again in {seconds:.1} s", contender.spec.name);
                    contender.results.rebuild_seconds.push(seconds);
                }
            }
        }
        self.contenders = contenders;
    }

    /// All engines answer with their first setting, then all with their second, and so on, on one
    /// thread and on several; then the next round.
    fn search(&mut self) {
        let mut contenders = std::mem::take(&mut self.contenders);
        for contender in contenders.iter_mut().filter(|contender| !contender.spec.knobs.is_empty())
        {
            contender.results.curves =
                [1, THREADS].map(|threads| Curve { threads, points: Vec::new() }).into();
        }
        let longest =
            contenders.iter().map(|contender| contender.spec.knobs.len()).max().unwrap_or(0);
        for _ in 0..ROUNDS {
            for turn in 0..longest {
                for contender in &mut contenders {
                    self.search_once(contender, turn);
                }
            }
        }
        for contender in contenders.iter_mut().filter(|contender| contender.spec.has_codes()) {
            let by_vectors = |point: &Point| {
                contender.child.ask(&Request::SearchByVectors {
                    knob: point.knob,
                    answers: self.answers_file(),
                });
                self.recall()
            };
            let points = contender.results.curves.first().map_or(&[][..], |curve| &curve.points);
            contender.results.recalls_by_vectors = points.iter().map(by_vectors).collect();
        }
        for contender in &contenders {
            for Curve { threads, points } in &contender.results.curves {
                let told: Vec<String> = points
                    .iter()
                    .map(|p| format!("{} {:.4} {:.0}", p.knob, p.recall, p.qps))
                    .collect();
                println!(
                    "  {}, threads {threads}: {}, recall, q/s: {}",
                    contender.spec.name,
                    contender.spec.knob,
                    told.join(" | ")
                );
            }
        }
        self.contenders = contenders;
    }

    /// One turn of one engine, unless an earlier setting was good enough.
    fn search_once(&self, contender: &mut Contender, turn: usize) {
        let Some(&knob) = contender.spec.knobs.get(turn) else { return };
        let answers = self.answers_file();
        let child = &mut contender.child;
        for Curve { threads, points } in &mut contender.results.curves {
            self.pass(
                child,
                &Request::Search { knob, threads: *threads, answers: answers.clone() },
                knob,
                turn,
                points,
            );
        }
        if contender.spec.is_asked_both_ways() {
            self.pass(
                child,
                &Request::SearchOneByOne { knob, answers },
                knob,
                turn,
                &mut contender.results.one_by_one,
            );
        }
    }

    /// Repeats the same request, for one point of a curve.
    fn pass(
        &self,
        child: &mut Child,
        request: &Request,
        knob: usize,
        turn: usize,
        points: &mut Vec<Point>,
    ) {
        if points.iter().take(turn).any(|point| point.recall >= ENOUGH) {
            return;
        }
        for _ in 0..PASSES {
            let reply = child.ask(request);
            let qps = (self.vectors.queries.len() / self.vectors.dimensions) as f64 / reply.seconds;
            match points.get_mut(turn) {
                Some(point) => point.qps = point.qps.max(qps),
                None => points.push(Point { knob, recall: self.recall(), qps }),
            }
        }
    }

    fn scan(&mut self) {
        let mut contenders = std::mem::take(&mut self.contenders);
        for _ in 0..SCAN_ROUNDS {
            for contender in contenders.iter_mut().filter(|contender| contender.spec.scans) {
                let scan =
                    contender.results.scan.get_or_insert(Scan { recall: 1.0, ..Scan::default() });
                for batch in [false, true] {
                    let reply = contender.child.ask(&Request::Scan {
                        queries: SCANS,
                        batch,
                        answers: self.answers_file(),
                    });
                    let best = if batch { &mut scan.batch_qps } else { &mut scan.one_by_one_qps };
                    *best = best.max(SCANS as f64 / reply.seconds);
                    scan.recall = scan.recall.min(self.recall());
                }
                if contender.spec.name == "voisin" {
                    let reply = contender.child.ask(&Request::Read);
                    let rate = reply.bytes as f64 / reply.seconds;
                    self.results.read_rate =
                        Some(self.results.read_rate.map_or(rate, |best| best.max(rate)));
                }
            }
        }
        for contender in &contenders {
            if let Some(scan) = contender.results.scan {
                println!(
                    "  {}: exact answers one by one {:.0} q/s, in batches {:.0} q/s, recall {:.4}",
                    contender.spec.name, scan.one_by_one_qps, scan.batch_qps, scan.recall
                );
            }
        }
        self.contenders = contenders;
    }

    fn open(&mut self) {
        let mut contenders = std::mem::take(&mut self.contenders);
        for _ in 0..OPENINGS {
            for contender in &mut contenders {
                let seconds =
                    self.start(contender.spec, contender.spec.name).ask(&Request::Open).seconds;
                contender.results.open_seconds = contender.results.open_seconds.min(seconds);
            }
        }
        self.contenders = contenders;
    }

    fn update(&mut self) {
        for contender in self.contenders.iter_mut().filter(|contender| contender.spec.updates > 0) {
            let times = contender.spec.updates;
            let (reply, usage) = contender.child.ask_watched(&Request::Update { times });
            let written_bytes = usage.written_bytes as f64 / times as f64;
            contender.results.update = Some(Update {
                seconds: reply.seconds,
                cpu_seconds: reply.cpu_seconds,
                written_bytes,
            });
        }
    }

    /// The memory of a build whose vectors have been committed before.
    fn link_stored(&mut self) {
        let Some(spec) = plan::ENGINES.iter().find(|spec| spec.name == "voisin") else { return };
        let mut child = self.start(spec, "voisin-stored");
        child.ask(&Request::Store);
        let (_, usage) = child.ask_watched(&Request::Build);
        self.results.linking_anonymous_bytes = Some(usage.anonymous_bytes as f64);
    }
}
