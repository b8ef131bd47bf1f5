//! The goals: the figures that an index larger than memory must reach, at recall .95.
//!
//! A row is left out if a measurement that it needs was not made.

use voisin_bench::compare::results::Row;

use crate::building::Building;
use crate::disk::{Reading, Way};
use crate::plan::{Memory, RECALL};
use crate::results::Cell;

/// Percent of the file, p50 and p99 in milliseconds, pages a query, queries a second on one thread
/// and on two.
const SEARCHES: [(u64, [f64; 5]); 3] = [
    (50, [0.25, 2.0, 10.0, 3500.0, 6000.0]),
    (25, [0.6, 4.0, 25.0, 1500.0, 2500.0]),
    (10, [2.0, 10.0, 100.0, 400.0, 600.0]),
];
/// At 25 %.
const FIRST_MS: f64 = 20.0;
const SECONDS_TO_SPEED: f64 = 5.0;
/// Of each of several processes.
const OWN_MEGABYTES: f64 = 50.0;

/// Of a build within a budget, against one without.
const BUILD_TIMES: f64 = 2.0;
const BUILD_POINTS: f64 = 0.5;

struct Rows<'a> {
    cells: &'a [Cell],
    rows: Vec<Row>,
}

impl<'a> Rows<'a> {
    fn cell(&self, set: &str, engine: &str, memory: Memory) -> Option<&'a Cell> {
        self.cells.iter().find(|cell| {
            cell.set == set
                && cell.engine == engine
                && cell.memory == memory
                && cell.recall == RECALL
        })
    }

    /// That of the fastest voisin: which codes are the best depends on the memory that there is.
    fn voisin(&self, set: &str, memory: Memory) -> Option<&'a Cell> {
        let cells = self.cells.iter().filter(|cell| {
            cell.set == set
                && cell.engine.starts_with("voisin")
                && cell.memory == memory
                && cell.recall == RECALL
        });
        cells.max_by(|a, b| a.steady.qps.total_cmp(&b.steady.qps))
    }

    fn push(
        &mut self,
        set: &str,
        what: String,
        found: Option<f64>,
        goal: f64,
        at_least: bool,
        unit: &str,
    ) {
        let (set, unit) = (set.to_owned(), unit.to_owned());
        self.rows.push(Row { set, what, found, goal, at_least, unit });
    }
}

/// All rows.
pub(crate) fn rows(cells: &[Cell], disk: &[Reading]) -> Vec<Row> {
    let mut rows = Rows { cells, rows: Vec::new() };
    let mut sets: Vec<&str> = cells.iter().map(|cell| &*cell.set).collect();
    sets.dedup();
    for set in sets {
        if set.ends_with("1M x 384") {
            searches(&mut rows, set);
            starts(&mut rows, set);
            shared(&mut rows, set, disk);
        }
        peers(&mut rows, set);
    }
    rows.rows
}

/// Those of builds within a budget.
pub(crate) fn of_building(building: &Building) -> Vec<Row> {
    let mut rows = Rows { cells: &[], rows: Vec::new() };
    let set = &building.set;
    let within = building.within.as_ref().ok();
    let megabytes = building.budget_bytes / 1_000_000;
    let times = within.map(|within| within.seconds / building.free.seconds);
    let what = format!("a build within {megabytes} MB, of the time without a budget");
    rows.push(set, what, times, BUILD_TIMES, false, "x");
    let what = format!("points of recall that {megabytes} MB cost, at the worst equal ef");
    rows.push(set, what, building.lost_points(), BUILD_POINTS, false, "");
    if let Some(killed) = &building.killed {
        let what = format!("values that {} kills of such a build have changed", killed.kills);
        rows.push(set, what, Some(killed.differing_values as f64), 0.0, false, "");
    }
    rows.rows
}

fn searches(rows: &mut Rows<'_>, set: &str) {
    for (percent, [p50, p99, pages, one, two]) in SEARCHES {
        let Some(cell) = rows.voisin(set, Memory::Percent(percent)) else { continue };
        let (steady, engine) = (&cell.steady, &cell.engine);
        let mut row = |what: &str, found, goal, at_least, unit: &str| {
            let what = format!("{percent} %, {engine}: {what}");
            rows.push(set, what, Some(found), goal, at_least, unit);
        };
        row("p50", steady.p50_ms, p50, false, "ms");
        row("p99", steady.p99_ms, p99, false, "ms");
        row("pages read a query", steady.pages, pages, false, "");
        row("queries a second, 1 thread", steady.qps, one, true, "");
        row("queries a second, 2 threads", cell.steady_on_two.qps, two, true, "");
    }
}

fn starts(rows: &mut Rows<'_>, set: &str) {
    let Some(cell) = rows.voisin(set, Memory::Percent(25)) else { return };
    let start = &cell.start;
    let first = Some(start.open_ms + start.first_ms);
    rows.push(
        set,
        "25 %: opening and the first query, cold".to_owned(),
        first,
        FIRST_MS,
        false,
        "ms",
    );
    let what = "25 %: until 90 % of the steady speed".to_owned();
    rows.push(set, what, start.seconds_to_speed, SECONDS_TO_SPEED, false, "s");
}

/// Several processes, against what one does, the disk allows, and the processors allow.
fn shared(rows: &mut Rows<'_>, set: &str, disk: &[Reading]) {
    let Some(cell) = rows.voisin(set, Memory::Percent(25)) else { return };
    let Some(shared) = &cell.shared else { return };
    let in_memory = rows.cell(set, &cell.engine, Memory::All).map(|cell| 1.8 * cell.steady.qps);
    let of_disk = pages_a_second(disk).map(|pages| 0.8 * pages / shared.steady.pages.max(1e-9));
    let limits = [Some(3.0 * cell.steady.qps), of_disk, in_memory];
    let goal = limits.into_iter().flatten().fold(f64::INFINITY, f64::min);
    let what = format!("25 %: queries a second of {} processes together", shared.processes);
    rows.push(set, what, Some(shared.steady.qps), goal, true, "");
    let own = shared.own_bytes as f64 / 1e6;
    let what = "25 %: memory of each process alone, the most".to_owned();
    rows.push(set, what, Some(own), OWN_MEGABYTES, false, "MB");
}

/// The pages that the disk reads in a second, asked for many at once.
fn pages_a_second(disk: &[Reading]) -> Option<f64> {
    let hinted = disk.iter().filter(|reading| reading.way == Way::OneHint);
    hinted.map(Reading::pages_a_second).reduce(f64::max)
}

fn peers(rows: &mut Rows<'_>, set: &str) {
    let mut peers: Vec<&str> = rows
        .cells
        .iter()
        .map(|cell| &*cell.engine)
        .filter(|name| !name.starts_with("voisin"))
        .collect();
    peers.sort_unstable();
    peers.dedup();
    for memory in [25, 10].map(Memory::Percent) {
        let Some(ours) = rows.voisin(set, memory) else { continue };
        for peer in &peers {
            let Some(theirs) = rows.cell(set, peer, memory) else { continue };
            for (threads, found) in [
                (1, ours.steady.qps / theirs.steady.qps),
                (2, ours.steady_on_two.qps / theirs.steady_on_two.qps),
            ] {
                let what = format!(
                    "{memory}: speed, times that of {peer}, {threads} thread{}",
                    if threads == 1 { "" } else { "s" }
                );
                rows.push(set, what, Some(found), 1.0, true, "x");
            }
        }
    }
}
