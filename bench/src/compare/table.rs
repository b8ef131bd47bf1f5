//! The results as a page of Markdown, and as lines of the terminal.

use std::fmt::Write as _;

use super::plan::{EF_CONSTRUCTION, K, M, M0, RECALLS, SEED, THREADS, metric_name};
use super::plots::Plot;
use super::results::{EngineResults, Row, Run, SetResults};
use crate::curve::qps_at;

/// One goal in one line.
pub fn goal(row: &Row) -> String {
    let found = row.found.map_or("not measured".to_owned(), figure);
    let (sign, verdict) =
        (if row.at_least { ">=" } else { "<=" }, if row.is_met() { "met" } else { "MISSED" });
    format!(
        "{:<32} {:<76} {found:>12} {sign} {} {} {verdict}",
        row.set,
        row.what,
        figure(row.goal),
        row.unit
    )
}

/// The whole page, with links to the plots.
pub fn page(run: &Run, plots: &[Plot]) -> String {
    let engines = run.sets.iter().flat_map(|set| &set.engines);
    let versions = engines.map(|engine| (&*engine.name, &*engine.version));
    let mut page = head(run, "voisin beside its peers", versions);
    for set in &run.sets {
        set_page(&mut page, set);
        for plot in plots.iter().filter(|plot| plot.set == set.short) {
            line(&mut page, &format!("![{}]({})\n", plot.title, plot.file));
        }
    }
    page
}

/// The beginning of a page: the command, the machine, the names of the engines with their versions,
/// and the goals.
pub(super) fn head<'a, S>(
    run: &Run<S>,
    title: &str,
    engines: impl Iterator<Item = (&'a str, &'a str)>,
) -> String {
    let mut page = String::new();
    let machine = &run.machine;
    let missed = run.goals.iter().filter(|row| !row.is_met()).count();
    line(&mut page, &format!("# {title}\n"));
    line(
        &mut page,
        "Written by the command below: do not edit. [bench/README.md](../../../bench/README.md) \
         says what is equal among the engines,",
    );
    line(
        &mut page,
        "what is not, and what each figure means. All figures are in \
         [figures.json](figures.json).\n",
    );
    line(&mut page, &format!("```sh\n{}\n```\n", run.command));
    line(&mut page, "| | |\n|---|---|");
    let instructions = &machine.instructions;
    let of = format!(
        "{} with {instructions}, {} cores, {} GiB",
        machine.processor, machine.cores, machine.memory_gib
    );
    line(&mut page, &format!("| machine | {of}, {}, {} |", machine.system, machine.compiler));
    line(
        &mut page,
        &format!(
            "| other programs | took {:.0} % of the processors' time during the run |",
            100.0 * run.others_share
        ),
    );
    line(
        &mut page,
        &format!("| versions | voisin at commit {}, {} |", machine.commit, versions(engines)),
    );
    let all = format!(
        "M {M}, M0 {M0}, ef_construction {EF_CONSTRUCTION}, seed {SEED}, k {K}, builds on \
         {THREADS} threads"
    );
    line(&mut page, &format!("| all engines | {all} |\n"));
    line(&mut page, &format!("## Goals: {missed} of {} missed\n", run.goals.len()));
    line(&mut page, "| set | figure | found | goal | |\n|---|---|---|---|---|");
    for row in &run.goals {
        let found = row.found.map_or("not measured".to_owned(), figure);
        let (sign, verdict) =
            (if row.at_least { "≥" } else { "≤" }, if row.is_met() { "met" } else { "**missed**" });
        line(
            &mut page,
            &format!(
                "| {} | {} | {found} | {sign} {} {} | {verdict} |",
                row.set,
                row.what,
                figure(row.goal),
                row.unit
            ),
        );
    }
    page
}

pub(super) fn line(page: &mut String, text: &str) {
    writeln!(page, "{text}").expect("memory");
}

fn versions<'a>(engines: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut versions: Vec<String> = Vec::new();
    for (name, version) in engines.filter(|(name, _)| !name.starts_with("voisin")) {
        let version = format!("{name} {version}");
        if !versions.contains(&version) {
            versions.push(version);
        }
    }
    versions.join(", ")
}

fn set_page(page: &mut String, set: &SetResults) {
    line(page, &format!("\n## {}, {}\n", set.name, metric_name(set.metric)));
    line(
        page,
        "Searches: queries a second at equal recall; a dash where the engine did not get there.\n",
    );
    line(
        page,
        "| engine | 1 thread, recall .95 | .99 | 2 threads, recall .95 | .99 | exact, one by one \
         | exact, batch of 64 |",
    );
    line(page, "|---|---|---|---|---|---|---|");
    for engine in &set.engines {
        let speeds: Vec<String> = [1, THREADS]
            .iter()
            .flat_map(|threads| RECALLS.map(|recall| optional(engine.qps(*threads, recall))))
            .collect();
        let scans =
            [engine.scan.map(|scan| scan.one_by_one_qps), engine.scan.map(|scan| scan.batch_qps)]
                .map(optional);
        line(
            page,
            &format!("| {} | {} | {} |", engine.name, speeds.join(" | "), scans.join(" | ")),
        );
    }
    let one_by_one = set.engines.iter().filter(|engine| !engine.one_by_one.is_empty());
    let told: Vec<String> = one_by_one
        .map(|engine| {
            let [low, high] = RECALLS.map(|recall| optional(qps_at(&engine.one_by_one, recall)));
            format!("{} {low} and {high}", engine.name)
        })
        .collect();
    if !told.is_empty() {
        line(
            page,
            &format!(
                "\nWith a call for each query, on 1 thread, recall .95 and .99: {}.",
                told.join(", ")
            ),
        );
    }
    if let Some(rate) = set.read_rate {
        line(page, &format!("\nThe map of voisin's file is read at {:.1} GB/s.", rate / 1e9));
    }
    line(page, "\nCosts: bytes are those a vector, of which the vector itself is ");
    line(
        page,
        &format!("{} B; an update is one item added, linked and durable.\n", 4 * set.dimensions),
    );
    line(
        page,
        "| engine | build, s | save, s | peak memory | written | on disk | open, ms | update, ms \
         | its processor time, ms | it writes, KB |",
    );
    line(page, "|---|---|---|---|---|---|---|---|---|---|");
    for engine in &set.engines {
        line(page, &format!("| {} | {} |", engine.name, costs(set, engine).join(" | ")));
    }
    line(page, "");
}

fn costs(set: &SetResults, engine: &EngineResults) -> [String; 9] {
    let each = |bytes: f64| Some(bytes / set.rows as f64);
    [
        Some(engine.build_seconds),
        Some(engine.save_seconds),
        each(engine.build_anonymous_bytes),
        each(engine.written_bytes),
        each(engine.disk_bytes),
        Some(1000.0 * engine.open_seconds),
        engine.update.map(|update| 1000.0 * update.seconds),
        engine.update.map(|update| 1000.0 * update.cpu_seconds),
        engine.update.map(|update| update.written_bytes / 1000.0),
    ]
    .map(optional)
}

/// A value with three significant digits, or a dash for none.
pub fn optional(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), figure)
}

/// A value with three significant digits.
pub fn figure(value: f64) -> String {
    let digits = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}
