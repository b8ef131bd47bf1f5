//! The cost of changes relative to a full build: 100 000 vectors in batches of 1 000, and 1 % added
//! to a million. See the README of this crate.
//!
//! Exits non-zero when a goal is missed.
#![allow(clippy::expect_used, clippy::panic, missing_docs)]

use std::path::PathBuf;
use std::process::ExitCode;

use voisin::distances::Euclidean;
use voisin_bench::data::DataSet;
use voisin_bench::living::Living;
use voisin_bench::report::Report;

const BATCH: usize = 1000;

fn main() -> ExitCode {
    let Some(folder) = std::env::args().nth(1).map(PathBuf::from) else {
        eprintln!("usage: changes FOLDER_OF_DATA [batches|pending|million]");
        return ExitCode::FAILURE;
    };
    let only = std::env::args().nth(2);
    let wants = |part: &str| only.as_deref().is_none_or(|only| only == part);
    let mut report = Report::default();
    let photos = DataSet::photos(&folder);
    if wants("batches") {
        batches(&photos, &mut report);
    }
    if wants("pending") {
        pending(&photos);
    }
    if wants("million") {
        million(&photos.enlarged(10), &mut report);
    }
    report.finish()
}

fn rows(set: &DataSet) -> Vec<(u32, u32)> {
    (0..set.rows().len() as u32).map(|row| (row, row)).collect()
}

fn batches(set: &DataSet, report: &mut Report) {
    let rows = rows(set);
    println!(
        "{} of {} dimensions, in one build and in batches of {BATCH}, each built and committed",
        rows.len(),
        set.dimensions
    );
    let whole = Living::<Euclidean>::create();
    let one = whole.commit(set, &[], &rows, 1);
    let index = Living::<Euclidean>::create();
    let many: f64 = (1..)
        .zip(rows.chunks(BATCH))
        .map(|(seed, batch)| index.commit(set, &[], batch, seed))
        .sum();
    println!("  {one:.1} s and {many:.1} s");
    report.at_most("time in batches, times one build's", many / one, 2.5);
    let (recall, _) = index.quality(set, 80);
    let (whole_recall, _) = whole.quality(set, 80);
    report.at_most(
        "points of recall at ef 80 below one build",
        (whole_recall - recall) * 100.0,
        1.0,
    );
    report.at_most("findings of check", index.findings().len() as f64, 0.0);
    println!("  file: {:.2} of one build's", index.file_bytes() as f64 / whole.file_bytes() as f64);
    optimize(set, &index, report);
}

/// The cost of pending items, which are not built yet, to a search.
fn pending(set: &DataSet) {
    let rows = rows(set);
    let (built, rest) = rows.split_at(rows.len() / 10 * 9);
    println!(
        "{} items of {} dimensions built, and others not; microseconds a search at ef 80",
        built.len(),
        set.dimensions
    );
    let index = Living::<Euclidean>::create();
    index.commit(set, &[], built, 1);
    let microseconds = || 1e6 / index.speed(set, 80);
    let without = microseconds();
    println!("  0 pending: {without:.0}");
    let mut done = 0;
    for count in [100, 1000, rest.len()] {
        index.add(set, &rest[done..count]);
        done = count;
        let with = microseconds();
        println!(
            "  {count} pending: {with:.0}, {:.0} ns for each of them",
            (with - without) * 1000.0 / count as f64
        );
    }
}

fn million(set: &DataSet, report: &mut Report) {
    let rows = rows(set);
    let (first, last) = rows.split_at(rows.len() / 100 * 99);
    println!(
        "{} of {} dimensions, the last hundredth added to the others",
        rows.len(),
        set.dimensions
    );
    let index = Living::<Euclidean>::create();
    let full = index.commit(set, &[], first, 1);
    let added = index.commit(set, &[], last, 2);
    println!("  {full:.1} s and {added:.2} s");
    report.at_most("time of adding 1 %, of 100 of the full build's", added / full * 100.0, 3.0);
    let lost = index.lost(set, &last[..BATCH], 64);
    report.at_least("added items that are found at ef 64, of 1 000", (BATCH - lost) as f64, 999.0);
    optimize(set, &index, report);
}

/// The gain of renumbering by locality.
fn optimize(set: &DataSet, index: &Living<Euclidean>, report: &mut Report) {
    let before = (index.quality(set, 80), index.speed(set, 80));
    tell(index);
    println!("  optimized in {:.1} s", index.optimize(set));
    let after = (index.quality(set, 80), index.speed(set, 80));
    tell(index);
    println!(
        "  recall and distances at ef 80: {:?}, then {:?}; {:.0} queries a second, then {:.0}",
        before.0, after.0, before.1, after.1
    );
    report.at_least("recall after optimizing, times before", after.0.0 / before.0.0, 0.999);
    report.at_most("findings of check", index.findings().len() as f64, 0.0);
}

fn tell(index: &Living<Euclidean>) {
    let stats = index.stats();
    println!(
        "  {} bytes of file, {} of them free pages, {} of values",
        index.file_bytes(),
        stats.environment.free_pages.unwrap_or_default() * stats.environment.page_bytes,
        stats.bytes()
    );
    for kind in stats.kinds {
        println!("    {:?}: {} values, {} bytes", kind.kind, kind.values, kind.bytes);
    }
    for (number, layer) in stats.layers.iter().enumerate() {
        let (nodes, edges) = (layer.nodes as f64, layer.edges() as f64);
        println!(
            "    layer {number}: {nodes} nodes, {:.1} edges a node, {:.0} % of them one-way, \
             {:.0} bytes a list, tree of depth {}",
            edges / nodes,
            layer.one_way_edges as f64 / edges * 100.0,
            layer.list_bytes as f64 / nodes,
            layer.tree_depth
        );
    }
}
