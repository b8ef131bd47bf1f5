//! Compares voisin with its peers, in one run: see the README of this crate. Writes a table, the
//! figures and plots to `docs/benchmarks`.
//!
//! Exits non-zero when a goal is missed.
#![allow(clippy::expect_used, clippy::panic, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;
use voisin_bench::compare::machine::{Machine, Ticks};
use voisin_bench::compare::plan::{ENGINES, Plan};
use voisin_bench::compare::protocol::Metric;
use voisin_bench::compare::results::{Row, Run};
use voisin_bench::compare::vectors::Vectors;
use voisin_bench::compare::{contest, filtered, goals, plots, serve, table, venv};
use voisin_bench::data::DataSet;

const USAGE: &str = "usage: compare quick|full|filtered FOLDER_OF_DATA [--rows ROWS] [--engines \
                     NAME,NAME...] [--sets photos,glosses,million] [--alpha ALPHA]";

/// The mode of filtered searches.
const FILTERED: &str = "filtered";

static SETS: [&str; 3] = ["photos", "glosses", "million"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [verb, engine] = &*arguments
        && verb == "serve"
    {
        serve::serve(engine);
        return ExitCode::SUCCESS;
    }
    let Some((plan, data)) = parse(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    };
    // Beside this program, on a real disk: writes to a file system in memory would not be counted.
    let target = std::env::current_exe()
        .expect("a path")
        .ancestors()
        .nth(2)
        .expect("the target directory")
        .join("compare");
    fs::create_dir_all(&target).expect("a folder");
    let options: String = arguments.iter().skip(2).map(|option| format!(" {option}")).collect();
    let command = format!(
        "cargo run --release -p voisin-bench --bin compare -- {} FOLDER{options}",
        plan.mode
    );
    let work = Work { python: venv::prepare(&target), plan, data, target, command };
    if work.plan.mode == FILTERED {
        let indexes = work.target.join(FILTERED);
        let run = |vectors: &Vectors| filtered::run(&work.plan, vectors, &work.python);
        work.compare(&indexes, run, filtered::goals, |run, _| filtered::page(run))
    } else {
        let temporary = tempfile::TempDir::new_in(&work.target).expect("a folder");
        let run = |vectors: &Vectors| {
            let results = contest::run(&work.plan, vectors, &work.python);
            // The next set needs the space.
            fs::remove_dir_all(&vectors.folder).expect("to remove a folder");
            results
        };
        let page = |run: &Run, folder: &Path| table::page(run, &plots::draw(run, folder));
        work.compare(temporary.path(), run, goals::rows, page)
    }
}

/// What is to be compared, and where.
struct Work {
    plan: Plan,
    data: PathBuf,
    /// The interpreter with the peers.
    python: PathBuf,
    /// A folder in the target directory.
    target: PathBuf,
    command: String,
}

impl Work {
    /// Runs a contest on each set, whose vectors are written to `folder`, and writes the results.
    fn compare<S: Serialize>(
        &self,
        folder: &Path,
        contest: impl Fn(&Vectors) -> S,
        goals: impl Fn(&S) -> Vec<Row>,
        page: impl Fn(&Run<S>, &Path) -> String,
    ) -> ExitCode {
        let Self { plan, data, .. } = self;
        let (machine, before) = (Machine::read(), Ticks::now());
        let mut sets = Vec::new();
        let mut compare = |set: DataSet, short, metric| {
            let set = match plan.rows {
                Some(rows) => set.first(rows),
                None => set,
            };
            sets.push(contest(&Vectors::write(set, short, metric, folder)));
        };
        if plan.has("photos") {
            compare(DataSet::photos(data), "photos", Metric::Euclidean);
        }
        if plan.has("glosses") {
            compare(DataSet::glosses(data), "glosses", Metric::Cosine);
        }
        if plan.has("million") {
            compare(DataSet::photos(data).enlarged(10), "million", Metric::Euclidean);
        }
        let goals = sets.iter().flat_map(goals).collect();
        let command = self.command.clone();
        let run = Run { command, machine, others_share: before.others_since(), sets, goals };
        let results = if plan.is_whole() {
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks").join(plan.mode)
        } else {
            self.target.join("part")
        };
        write(&run, &results, page);
        report(&run, &results)
    }
}

/// Says which goals were missed.
fn report<S>(run: &Run<S>, folder: &Path) -> ExitCode {
    for row in &run.goals {
        println!("{}", table::goal(row));
    }
    let missed = run.goals.iter().filter(|row| !row.is_met()).count();
    println!("other programs took {:.0} % of the processors' time", 100.0 * run.others_share);
    println!("{missed} of {} goals missed; written to {}", run.goals.len(), folder.display());
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(arguments: &[String]) -> Option<(Plan, PathBuf)> {
    let [mode, data, options @ ..] = arguments else { return None };
    let (mode, all) = match &**mode {
        "quick" => ("quick", &SETS[..2]),
        "full" => ("full", &SETS[2..]),
        FILTERED => (FILTERED, &SETS[..2]),
        _ => return None,
    };
    let mut plan = Plan { mode, all, rows: None, engines: None, sets: None, alpha: None };
    for option in options.chunks(2) {
        match option {
            [name, rows] if name == "--rows" => {
                plan.rows = Some(rows.parse().ok().filter(|rows| *rows >= 1000)?)
            }
            [name, engines] if name == "--engines" => {
                let engines: Vec<String> = engines.split(',').map(str::to_owned).collect();
                let takes_part = |name: &str| match mode {
                    FILTERED => filtered::WAYS.iter().any(|way| way.engine() == name),
                    _ => ENGINES.iter().any(|spec| spec.name == name),
                };
                plan.engines =
                    Some(engines).filter(|names| names.iter().all(|name| takes_part(name)));
                plan.engines.as_ref()?;
            }
            [name, sets] if name == "--sets" => {
                let sets: Vec<String> = sets.split(',').map(str::to_owned).collect();
                plan.sets =
                    Some(sets).filter(|names| names.iter().all(|name| all.contains(&&**name)));
                plan.sets.as_ref()?;
            }
            [name, alpha] if name == "--alpha" && mode != FILTERED => {
                plan.alpha = Some(alpha.parse().ok().filter(|alpha| (1.0..=10.0).contains(alpha))?)
            }
            _ => return None,
        }
    }
    Some((plan, PathBuf::from(data)))
}

/// Replaces the output of an earlier run.
fn write<S: Serialize>(run: &Run<S>, folder: &Path, page: impl Fn(&Run<S>, &Path) -> String) {
    if folder.exists() {
        fs::remove_dir_all(folder).expect("to remove the results of before");
    }
    fs::create_dir_all(folder).expect("a folder");
    let json = serde_json::to_string_pretty(run).expect("JSON");
    fs::write(folder.join("figures.json"), json + "\n").expect("to write figures");
    fs::write(folder.join("README.md"), page(run, folder)).expect("to write a table");
}
