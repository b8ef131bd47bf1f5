//! Fifty rounds of replacing, deleting and adding, one build a round: does recall degrade, does the
//! file grow? See the README of this crate.
//!
//! Exits non-zero when a goal is missed.
#![allow(clippy::expect_used, clippy::panic, missing_docs)]

use std::path::PathBuf;
use std::process::ExitCode;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use voisin::distances::{Cosine, Distance, Euclidean};
use voisin_bench::data::DataSet;
use voisin_bench::living::Living;
use voisin_bench::report::Report;

const ROUNDS: usize = 50;
const EF: usize = 80;

fn main() -> ExitCode {
    let Some(folder) = std::env::args().nth(1).map(PathBuf::from) else {
        eprintln!("usage: churn FOLDER_OF_DATA [glosses|photos]");
        return ExitCode::FAILURE;
    };
    let mut report = Report::default();
    let only = std::env::args().nth(2);
    if only.as_deref().is_none_or(|set| set == "glosses") {
        run::<Cosine>(&DataSet::glosses(&folder).first(20_000), &mut report);
    }
    if only.as_deref().is_none_or(|set| set == "photos") {
        run::<Euclidean>(&DataSet::photos(&folder), &mut report);
    }
    report.finish()
}

fn run<D: Distance>(set: &DataSet, report: &mut Report) {
    let rows = set.rows().len();
    println!("{}, {rows} of them", set.name);
    let mut rng = StdRng::seed_from_u64(7);
    let share = rows * 3 / 100;
    let mut reserve: Vec<u32> = (0..rows as u32).collect();
    reserve.shuffle(&mut rng);
    let mut living: Vec<(u32, u32)> = reserve
        .split_off(share)
        .into_iter()
        .enumerate()
        .map(|(item, row)| (item as u32, row))
        .collect();
    let index = Living::<D>::create();
    let full = index.commit(set, &[], &living, 1);
    println!("  {} items built and committed in {full:.1} s", living.len());
    let mut next_item = living.len() as u32;
    for round in 1..=ROUNDS {
        // Replaced items take the rows in reserve and leave theirs, deleted ones leave theirs,
        // added ones take from those.
        living.shuffle(&mut rng);
        let mut add: Vec<(u32, u32)> = Vec::new();
        for (living, row) in living.iter_mut().zip(&mut reserve) {
            std::mem::swap(&mut living.1, row);
            add.push(*living);
        }
        let deleted: Vec<(u32, u32)> = living.split_off(living.len() - share);
        reserve.extend(deleted.iter().map(|(_, row)| row));
        reserve.shuffle(&mut rng);
        for row in reserve.split_off(share) {
            let item = if rng.random_bool(0.5) {
                deleted[(next_item as usize) % share].0
            } else {
                next_item
            };
            let item = if living.iter().rev().take(share).any(|(other, _)| *other == item) {
                next_item
            } else {
                item
            };
            next_item += 1;
            living.push((item, row));
            add.push((item, row));
        }
        let deleted: Vec<u32> = deleted.iter().map(|(item, _)| *item).collect();
        let seconds = index.commit(set, &deleted, &add, round as u64);
        if round % 10 > 0 {
            continue;
        }
        let (recall, distances) = index.quality(set, EF);
        let fresh = Living::<D>::create();
        fresh.commit(set, &[], &living, 1);
        let (fresh_recall, fresh_distances) = fresh.quality(set, EF);
        let bytes = [&index, &fresh].map(|index| index.file_bytes() as f64);
        println!(
            "  round {round}: {seconds:.2} s; recall {recall:.4}, fresh {fresh_recall:.4}; \
             distances {distances:.0}, fresh {fresh_distances:.0}"
        );
        report.at_most(
            "points of recall below a fresh build",
            (fresh_recall - recall) * 100.0,
            1.0,
        );
        report.at_most(
            "distances a query, times a fresh build's",
            distances / fresh_distances,
            1.15,
        );
        report.at_most("bytes of the file, times a fresh one's", bytes[0] / bytes[1], 2.2);
        let stats = index.stats();
        let environment = &stats.environment;
        println!(
            "  {} pages, {:?} free, {} slots, {} free, {} tail",
            environment.pages, environment.free_pages, stats.slots, stats.free_slots, stats.tail
        );
        println!(
            "  {:?}",
            stats
                .kinds
                .iter()
                .map(|k| (k.kind, k.values, k.bytes / k.values.max(1)))
                .collect::<Vec<_>>()
        );
        println!(
            "  depth {}, degree {:.1}",
            stats.layers[0].tree_depth,
            stats.layers[0].edges() as f64 / stats.layers[0].nodes as f64
        );
        let findings = index.findings();
        report.at_most("findings of check, such as unreachable nodes", findings.len() as f64, 0.0);
        for finding in findings.iter().take(5) {
            println!("    {finding}");
        }
    }
}
