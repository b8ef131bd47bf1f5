//! Compares voisin with its peers, in one run: see the README of this crate. Writes a table, the
//! figures and plots to `docs/benchmarks`.
//!
//! Exits non-zero when a goal is missed.
#![allow(clippy::expect_used, clippy::panic, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use voisin_bench::compare::machine::{Machine, Ticks};
use voisin_bench::compare::plan::{ENGINES, Plan};
use voisin_bench::compare::protocol::Metric;
use voisin_bench::compare::results::Run;
use voisin_bench::compare::vectors::Vectors;
use voisin_bench::compare::{contest, goals, plots, serve, table, venv};
use voisin_bench::data::DataSet;

const USAGE: &str = "usage: compare quick|full FOLDER_OF_DATA [--rows ROWS] [--engines \
                     NAME,NAME...] [--sets photos,glosses,million] [--alpha ALPHA]";

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
    let python = venv::prepare(&target);

    let (machine, before) = (Machine::read(), Ticks::now());
    let mut sets = Vec::new();
    let mut compare = |set: DataSet, short, metric| {
        let folder = tempfile::TempDir::new_in(&target).expect("a folder");
        let set = match plan.rows {
            Some(rows) => set.first(rows),
            None => set,
        };
        sets.push(contest::run(&plan, &Vectors::write(set, short, metric, folder.path()), &python));
    };
    if plan.has("photos") {
        compare(DataSet::photos(&data), "photos", Metric::Euclidean);
    }
    if plan.has("glosses") {
        compare(DataSet::glosses(&data), "glosses", Metric::Cosine);
    }
    if plan.has("million") {
        compare(DataSet::photos(&data).enlarged(10), "million", Metric::Euclidean);
    }

    let goals: Vec<_> = sets.iter().flat_map(goals::rows).collect();
    let options: String = arguments.iter().skip(2).map(|option| format!(" {option}")).collect();
    let command = format!(
        "cargo run --release -p voisin-bench --bin compare -- {} FOLDER{options}",
        plan.mode
    );
    let run = Run { command, machine, others_share: before.others_since(), sets, goals };
    let folder = if plan.is_whole() {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks").join(plan.mode)
    } else {
        target.join("part")
    };
    write(&run, &folder);
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
                plan.engines = Some(engines).filter(|names| {
                    names.iter().all(|name| ENGINES.iter().any(|spec| spec.name == name))
                });
                plan.engines.as_ref()?;
            }
            [name, sets] if name == "--sets" => {
                let sets: Vec<String> = sets.split(',').map(str::to_owned).collect();
                plan.sets =
                    Some(sets).filter(|names| names.iter().all(|name| all.contains(&&**name)));
                plan.sets.as_ref()?;
            }
            [name, alpha] if name == "--alpha" => {
                plan.alpha = Some(alpha.parse().ok().filter(|alpha| (1.0..=10.0).contains(alpha))?)
            }
            _ => return None,
        }
    }
    Some((plan, PathBuf::from(data)))
}

/// Replaces the output of an earlier run.
fn write(run: &Run, folder: &Path) {
    if folder.exists() {
        fs::remove_dir_all(folder).expect("to remove the results of before");
    }
    fs::create_dir_all(folder).expect("a folder");
    let json = serde_json::to_string_pretty(run).expect("JSON");
    fs::write(folder.join("figures.json"), json + "\n").expect("to write figures");
    let plots = plots::draw(run, folder);
    fs::write(folder.join("README.md"), table::page(run, &plots)).expect("to write a table");
}
