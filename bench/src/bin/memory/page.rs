//! The results as a page of Markdown.

use std::fmt::Write as _;

use voisin_bench::compare::machine::Machine;
use voisin_bench::compare::plan::{EF_CONSTRUCTION, K, M, M0, SEED};
use voisin_bench::compare::results::Row;
use voisin_bench::compare::table::{figure, optional};

use crate::building::{Build, Building, Setting};
use crate::disk::{self, Reading};
use crate::kills::Killed;
use crate::model::Model;
use crate::plan::{ENGINES, PROCESSES, Spec};
use crate::results::{Cell, Failed, Run};
use crate::sets::{JUDGED, QUERIES};

/// The whole page.
pub(crate) fn page(run: &Run) -> String {
    let mut page = String::new();
    head(&mut page, run);
    goals(&mut page, &run.goals);
    let mut sets: Vec<&str> = run.cells.iter().map(|cell| &*cell.set).collect();
    sets.dedup();
    for set in sets {
        let cells: Vec<&Cell> = run.cells.iter().filter(|cell| cell.set == set).collect();
        searches(&mut page, set, &cells);
        starts(&mut page, &cells);
        shared(&mut page, &cells);
    }
    absent(&mut page, run);
    if let Some(model) = &run.model {
        model_page(&mut page, model);
    }
    run.building.iter().for_each(|building| building_page(&mut page, building));
    disk_page(&mut page, &run.disk);
    page
}

fn put(page: &mut String, text: &str) {
    writeln!(page, "{text}").expect("memory");
}

fn head(page: &mut String, run: &Run) {
    put(page, "# Indexes larger than memory\n");
    put(
        page,
        "Written by the command below: do not edit. [bench/README.md](../../../bench/README.md) \
         says how it is\nmeasured and what each figure means. All figures are in \
         [figures.json](figures.json).\n",
    );
    put(page, &format!("```sh\n{}\n```\n", run.command));
    let Machine { processor, instructions, cores, memory_gib, system, compiler, commit } =
        &run.machine;
    put(page, "| | |\n|---|---|");
    put(
        page,
        &format!(
            "| machine | {processor} with {instructions}, {cores} cores, {memory_gib} GiB, \
             {system}, {compiler} |"
        ),
    );
    let others = run.cells.iter().map(|cell| cell.others_share).collect::<Vec<_>>();
    let mean = others.iter().sum::<f64>() / others.len().max(1) as f64;
    let most = others.iter().copied().fold(0.0, f64::max);
    put(
        page,
        &format!(
            "| other programs | took {:.0} % of the processors' time on average, {:.0} % during \
             the most disturbed measurement |",
            100.0 * mean,
            100.0 * most
        ),
    );
    put(page, &format!("| versions | voisin at commit {commit}{} |", versions(run)));
    put(
        page,
        &format!(
            "| all engines | k {K}; graphs with M {M}, M0 {M0}, ef_construction \
             {EF_CONSTRUCTION}, seed {SEED}; {QUERIES} queries, each asked once; recall of the \
             first {JUDGED} |\n"
        ),
    );
    for spec in taking_part(run) {
        put(page, &format!("- **{}**: {}.", spec.name, spec.what));
    }
    put(page, "");
}

fn taking_part(run: &Run) -> impl Iterator<Item = &'static Spec> {
    ENGINES.iter().filter(|spec| run.cells.iter().any(|cell| cell.engine == spec.name))
}

fn versions(run: &Run) -> String {
    let peers = taking_part(run).filter(|spec| !spec.is_voisin());
    let version = |spec: &Spec| {
        let cell = run.cells.iter().find(|cell| cell.engine == spec.name);
        cell.map_or(String::new(), |cell| format!(", {} {}", spec.name, cell.version))
    };
    peers.map(version).collect()
}

fn goals(page: &mut String, rows: &[Row]) {
    let missed = rows.iter().filter(|row| !row.is_met()).count();
    put(page, &format!("## Goals: {missed} of {} missed\n", rows.len()));
    put(page, "Recall .95. Percent are those of the bytes of the engine's own files.\n");
    put(page, "| set | figure | found | goal | |\n|---|---|---|---|---|");
    for row in rows {
        let found = optional(row.found);
        let (sign, verdict) =
            (if row.at_least { "≥" } else { "≤" }, if row.is_met() { "met" } else { "**missed**" });
        let goal = format!("{sign} {} {}", figure(row.goal), row.unit);
        put(
            page,
            &format!("| {} | {} | {found} | {} | {verdict} |", row.set, row.what, goal.trim()),
        );
    }
}

fn searches(page: &mut String, set: &str, cells: &[&Cell]) {
    put(page, &format!("\n## {set}\n"));
    put(page, "The steady state. Times are of one thread, in milliseconds; the rest is a query.\n");
    let mut recalls: Vec<f64> = cells.iter().map(|cell| cell.recall).collect();
    recalls.sort_by(f64::total_cmp);
    recalls.dedup();
    for recall in recalls {
        put(page, &format!("Recall {recall:.2}:\n"));
        put(
            page,
            "| engine | memory | MB | setting | recall | p50 | p99 | p99.9 | major faults | pages \
             | KB read | queries a second, 1 thread | 2 threads |",
        );
        put(page, "|---|---|---|---|---|---|---|---|---|---|---|---|---|");
        for cell in cells.iter().filter(|cell| cell.recall == recall) {
            let steady = &cell.steady;
            let figures = [
                steady.p50_ms,
                steady.p99_ms,
                steady.p999_ms,
                steady.major_faults,
                steady.pages,
                steady.read_bytes / 1e3,
                steady.qps,
                cell.steady_on_two.qps,
            ];
            put(
                page,
                &format!(
                    "| {} | {} | {:.0} | {} | {:.3} | {} |",
                    cell.engine,
                    cell.memory,
                    cell.limit_bytes.unwrap_or(cell.file_bytes) as f64 / 1e6,
                    cell.knob,
                    cell.found_recall,
                    figures.map(figure).join(" | ")
                ),
            );
        }
        put(page, "");
    }
}

fn starts(page: &mut String, cells: &[&Cell]) {
    put(page, "Cold start, and the time while caches fill:\n");
    put(
        page,
        "| engine | recall | memory | open, ms | it reads, MB | first query, ms | until 90 % of \
         the steady speed, s | p50 while it warms, ms | p99 | pages | own memory, MB |",
    );
    put(page, "|---|---|---|---|---|---|---|---|---|---|---|");
    for cell in cells.iter().filter(|cell| cell.limit_bytes.is_some()) {
        let (start, warming) = (&cell.start, &cell.warming);
        put(
            page,
            &format!(
                "| {} | {:.2} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                cell.engine,
                cell.recall,
                cell.memory,
                figure(start.open_ms),
                figure(start.open_read_bytes as f64 / 1e6),
                figure(start.first_ms),
                optional(start.seconds_to_speed),
                figure(warming.p50_ms),
                figure(warming.p99_ms),
                figure(warming.pages),
                figure(cell.own_bytes as f64 / 1e6),
            ),
        );
    }
    put(page, "");
}

fn shared(page: &mut String, cells: &[&Cell]) {
    let with = cells.iter().filter_map(|cell| Some((cell, cell.shared?)));
    if with.clone().next().is_none() {
        return;
    }
    put(
        page,
        &format!(
            "{PROCESSES} processes that share an index and the memory, each with one thread:\n"
        ),
    );
    put(
        page,
        "| engine | recall | memory | queries a second | times one process | p50, ms | p99 | pages \
         | own memory of the largest, MB |",
    );
    put(page, "|---|---|---|---|---|---|---|---|---|");
    for (cell, shared) in with {
        let steady = &shared.steady;
        let figures = [
            steady.qps,
            steady.qps / cell.steady.qps,
            steady.p50_ms,
            steady.p99_ms,
            steady.pages,
            shared.own_bytes as f64 / 1e6,
        ];
        put(
            page,
            &format!(
                "| {} | {:.2} | {} | {} |",
                cell.engine,
                cell.recall,
                cell.memory,
                figures.map(figure).join(" | ")
            ),
        );
    }
    put(page, "");
}

/// What is not in the tables, and why.
fn absent(page: &mut String, run: &Run) {
    let failed = run.failed.iter().map(|failed| {
        let Failed { set, engine, recall, memory, why } = failed;
        format!("{set}: {engine} with {memory} of its files, recall {recall:.2}: {why}.")
    });
    let shared = run.cells.iter().filter_map(|cell| {
        let Cell { set, engine, memory, recall, .. } = cell;
        let why = cell.shared_failure.as_ref()?;
        Some(format!(
            "{set}: {PROCESSES} processes of {engine} with {memory} of its files, recall \
             {recall:.2}: {why}."
        ))
    });
    let lines: Vec<String> = failed.chain(shared).chain(run.unreached.iter().cloned()).collect();
    if !lines.is_empty() {
        put(page, "## Not in the tables\n");
        lines.iter().for_each(|line| put(page, &format!("- {line}")));
        put(page, "");
    }
}

fn disk_page(page: &mut String, readings: &[Reading]) {
    put(page, "## The disk\n");
    put(
        page,
        &format!(
            "Random pages of 4 KB of a file of {:.0} MB, by one thread, in a group with {:.0} MB \
             of memory: by these, the figures of\nanother machine can be judged.\n",
            disk::FILE_BYTES as f64 / 1e6,
            disk::MEMORY_BYTES as f64 / 1e6
        ),
    );
    put(
        page,
        "| pages a query | way | p50, ms | p99 | queries a second | read a query, KB | pages read \
         a second |",
    );
    put(page, "|---|---|---|---|---|---|---|");
    for reading in readings {
        let figures = [
            reading.p50_ms,
            reading.p99_ms,
            reading.qps,
            reading.read_bytes / 1e3,
            reading.pages_a_second(),
        ];
        put(
            page,
            &format!(
                "| {} | {} | {} |",
                reading.pages,
                reading.way,
                figures.map(figure).join(" | ")
            ),
        );
    }
}

fn model_page(page: &mut String, model: &Model) {
    put(page, "## A model: what 100 million would cost\n");
    put(
        page,
        &format!(
            "Counted at the sizes below ({}, recall .95, the steady state); rows in italics are \
             computed: `ef_search` goes on along the\nlogarithm of the number of items, the counts \
             for each unit of it as a + b / items. The computed time is that of the same search \
             in\nmemory, and of the pages at this disk's rate, times what they took longer at the \
             largest size that was measured.\n",
            model.engine
        ),
    );
    put(
        page,
        "| items | ef | file, GB | hot part, GB | memory | pages a query | major faults | KB read \
         | p50, ms | computed, ms |",
    );
    put(page, "|---|---|---|---|---|---|---|---|---|---|");
    for line in &model.lines {
        let mark = if line.is_computed { "*" } else { "" };
        let figures = [line.pages, line.major_faults, line.read_bytes / 1e3];
        put(
            page,
            &format!(
                "| {mark}{}{mark} | {:.0} | {} | {} | {} | {} | {} | {} |",
                line.items,
                line.knob,
                figure(line.file_bytes / 1e9),
                figure(line.hot_bytes / 1e9),
                line.memory,
                figures.map(figure).join(" | "),
                optional(line.p50_ms),
                figure(line.computed_ms),
            ),
        );
    }
    put(page, "");
}

fn building_page(page: &mut String, building: &Building) {
    put(page, "## Builds within a budget\n");
    let Building { set, engine, budget_bytes, limit_bytes, free, within, settings, killed } =
        building;
    put(
        page,
        &format!(
            "{set}, {engine}: a budget of {:.0} MB, in a group with {:.0} MB, page cache included, \
             beside a build without either.\n",
            *budget_bytes as f64 / 1e6,
            *limit_bytes as f64 / 1e6
        ),
    );
    put(page, "| build | seconds | file, GB | read, GB | most memory of the group, MB |");
    put(page, "|---|---|---|---|---|");
    let mut row = |name: &str, build: &Build| {
        let peak = build.peak_bytes.map(|bytes| bytes as f64 / 1e6);
        let (file, read) = (build.file_bytes as f64 / 1e9, build.read_bytes as f64 / 1e9);
        let figures = [figure(build.seconds), figure(file), figure(read), optional(peak)];
        put(page, &format!("| {name} | {} |", figures.join(" | ")));
    };
    row("without", free);
    match within {
        Ok(build) => row("within", build),
        Err(why) => put(page, &format!("\nWithin the budget: {why}.")),
    }
    let recalls = settings.iter().map(|setting| {
        let Setting { knob, free_recall, recall } = setting;
        format!("{free_recall:.4} and {recall:.4} at {knob}")
    });
    let recalls: Vec<String> = recalls.collect();
    if !recalls.is_empty() {
        put(page, &format!("\nRecall without and within, at equal ef: {}.", recalls.join(", ")));
    }
    if let Some(Killed { kills, kept, seconds, differing_values }) = killed {
        put(
            page,
            &format!(
                "\nThe same build, killed {kills} times at random moments and continued each time: \
                 {seconds:.0} s in all; {kept} of\nthe processes had committed something before \
                 their end; {differing_values} values of the index differ from those of the build \
                 that\nwas not killed."
            ),
        );
    }
    put(page, "");
}
