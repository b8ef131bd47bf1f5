//! Measures a process that searches, alone and beside a second one.

use voisin_bench::report::{Report, median};

use crate::Places;
use crate::child::Running;

/// The number of replaced items, each committed.
const MOVES: u32 = 200;
/// The number of pairs of processes: the placement of its memory makes a process faster or slower
/// by a few percent.
const PAIRS: usize = 5;
/// The number of passes over the queries that each process of a pair makes, alternating with the
/// other.
const PASSES: usize = 8;
/// The duration of the readers' searches, in milliseconds.
const RUN: &str = "run 2000";
const RUNS: usize = 5;

fn start(role: &str, folder: &std::path::Path, places: &Places) -> Running {
    Running::start(&[role, folder.to_str().expect("a path in UTF-8"), places.data()])
}

/// A child whose pages are mapped and whose tables are full.
fn warm(role: &str, folder: &std::path::Path, places: &Places) -> Running {
    let mut child = start(role, folder, places);
    if role != "reader" {
        child.ask("warm");
    }
    child.ask("pass");
    child
}

pub(crate) fn open(places: &Places, report: &mut Report) {
    println!("Reader::open and the first query, in microseconds; the file is in memory");
    let opens = [&places.small(), &places.million()].map(|folder| {
        let first_of_process = start("reader", folder, places).ask("first")[0];
        let mut child = warm("reader", folder, places);
        let [opened, longest, dropped] = child.ask("open 10000")[..] else {
            panic!("three numbers")
        };
        println!("  opened in {opened:.2}, at most {longest:.0}; dropped in {dropped:.2}");
        child.ask("first");
        let [first, warm] = [child.ask("first")[1], child.ask("median")[0]];
        println!(
            "  the first query of a reader {first:.0}, of a process {first_of_process:.0}; \
                  one of a warm reader {warm:.0}"
        );
        (opened, first / warm)
    });
    let [(small, _), (million, first)] = opens;
    report.at_most("Reader::open of 1 000 000 items, milliseconds", million / 1000.0, 0.2);
    report.at_most("the same, times that of 100 000 items", million / small, 1.5);
    report.at_most("first query of a Reader, times a warm one", first, 5.0);
}

pub(crate) fn index(places: &Places, report: &mut Report) {
    println!("a search through Index and through a warm Reader, in microseconds, in turn");
    for (name, folder) in [("100 000", &places.small()), ("1 000 000", &places.million())] {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..PAIRS {
            let mut pair = ["index", "reader"].map(|role| warm(role, folder, places));
            for _ in 0..PASSES {
                ours.push(pair[0].ask("pass")[0]);
                theirs.push(pair[1].ask("pass")[0]);
            }
        }
        let ratio = median(ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect());
        println!(
            "  {name} items: {:.2} through Index, {:.2} through Reader",
            median(ours),
            median(theirs)
        );
        report.at_most(
            &format!("Index, of {name} items, percent slower than a Reader"),
            (ratio - 1.0) * 100.0,
            3.0,
        );
    }
}

pub(crate) fn moves(places: &Places, report: &mut Report) {
    println!(
        "a snapshot of 1 000 000 items moved to the next commit, of one item; in microseconds"
    );
    let folder = places.million();
    let mut writer = warm("writer", &folder, places);
    let mut other = warm("index", &folder, places);
    let warm = other.ask("median")[0];
    let (mut writes, mut of_writer, mut of_other) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..MOVES {
        // Items from all over the file.
        writes.push(writer.ask(&format!("write {}", round * 4999))[0]);
        of_other.push(other.ask("move"));
        of_writer.push(writer.ask("move"));
    }
    println!("  the commit {:.0}; a warm query {warm:.0}", median(writes));
    for (name, moves) in [("the writer", of_writer), ("another process", of_other)] {
        let [moved, first] = [0, 1].map(|i| median(moves.iter().map(|times| times[i]).collect()));
        let longest = moves.iter().map(|times| times[0]).fold(0.0, f64::max);
        println!(
            "  {name}: moved in {moved:.0}, at most {longest:.0}, and its first query {first:.0}"
        );
        report.at_most(
            &format!("moving {name} to the next commit, milliseconds"),
            moved / 1000.0,
            0.3,
        );
        report.at_most(
            &format!("first query of {name} there, times a warm one"),
            first / warm,
            5.0,
        );
    }
}

pub(crate) fn memory(places: &Places, report: &mut Report) {
    println!("the memory of a second process that has searched 1 000 000 items");
    let folder = places.million();
    let _first = warm("index", &folder, places);
    let mut second = warm("index", &folder, places);
    let [own, file] = second.ask("memory")[..] else { panic!("two numbers") };
    println!("  {own:.0} bytes of its own, {file:.0} mapped from the file");
    report.at_most("its own memory, megabytes", own / 1e6, 20.0);
}

pub(crate) fn readers(places: &Places, report: &mut Report) {
    println!("two processes that search 1 000 000 items, and each of them alone");
    let folder = places.million();
    let mut children = [0, 1].map(|_| warm("index", &folder, places));
    let ratios = (0..RUNS).map(|_| {
        let alone = [children[0].ask(RUN)[0], children[1].ask(RUN)[0]];
        children.iter_mut().for_each(|child| child.tell(RUN));
        let both: f64 = children.iter_mut().map(|child| child.hear()[0]).sum();
        println!(
            "  {:.0} and {:.0} queries a second alone, {both:.0} together",
            alone[0], alone[1]
        );
        both * 2.0 / (alone[0] + alone[1])
    });
    report.at_least(
        "queries a second of two processes, times one's",
        median(ratios.collect()),
        1.9,
    );
}
