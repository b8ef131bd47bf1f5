//! Is every item found by its own vector, however the index has grown? Tests an island far from all
//! other items, growth from ten items, and deletion of nearly all. See the README of this crate.
//!
//! Exits non-zero when a goal is missed.
#![allow(clippy::expect_used, clippy::panic, missing_docs)]

use std::path::PathBuf;
use std::process::ExitCode;

use voisin::distances::{Cosine, Distance, Euclidean};
use voisin_bench::data::DataSet;
use voisin_bench::living::Living;
use voisin_bench::report::Report;

const ITEMS: usize = 20_000;
const ISLAND: usize = ITEMS / 50;
/// The number of seeds for each story: islands are found, or not, by chance.
const SEEDS: u64 = 5;

fn main() -> ExitCode {
    let Some(folder) = std::env::args().nth(1).map(PathBuf::from) else {
        eprintln!("usage: growth FOLDER_OF_DATA [SEEDS]");
        return ExitCode::FAILURE;
    };
    let seeds =
        std::env::args().nth(2).map_or(SEEDS, |seeds| seeds.parse().expect("a number of seeds"));
    let mut report = Report::default();
    // One component would do; this is the largest distance that all of them can have.
    tell::<Euclidean>(
        "photo descriptors",
        &|| DataSet::photos(&folder).distinct(ITEMS),
        |c| c + 5000.0,
        seeds,
        &mut report,
    );
    tell::<Cosine>(
        "glosses",
        &|| DataSet::glosses(&folder).distinct(ITEMS),
        |c| -c,
        seeds,
        &mut report,
    );
    report.finish()
}

fn tell<D: Distance>(
    name: &str,
    set: &dyn Fn() -> DataSet,
    away: fn(f32) -> f32,
    seeds: u64,
    report: &mut Report,
) {
    let all: Vec<(u32, u32)> = (0..ITEMS as u32).map(|row| (row, row)).collect();
    let with_island = set().with_island(ISLAND, away);
    let set = set();
    let mainland = ITEMS - ISLAND;
    let mut stories: Vec<Story> = Vec::new();
    for seed in 0..seeds {
        stories.push(tell_one::<D>(
            "an island, built after all else",
            &with_island,
            &all,
            seed,
            |index, seed| {
                index.commit(&with_island, &[], &all[..mainland], seed);
                index.commit(&with_island, &[], &all[mainland..], seed);
            },
        ));
        stories.push(tell_one::<D>(
            "an island, built with all else",
            &with_island,
            &all,
            seed,
            |index, seed| {
                index.commit(&with_island, &[], &all, seed);
            },
        ));
        stories.push(tell_one::<D>(
            "all else, built after an island",
            &with_island,
            &all,
            seed,
            |index, seed| {
                index.commit(&with_island, &[], &all[mainland..], seed);
                index.commit(&with_island, &[], &all[..mainland], seed);
            },
        ));
        stories.push(tell_one::<D>(
            "10 items, grown to 20 000 in one build",
            &set,
            &all,
            seed,
            |index, seed| {
                index.commit(&set, &[], &all[..10], seed);
                index.commit(&set, &[], &all[10..], seed);
            },
        ));
        stories.push(tell_one::<D>(
            "10 items, grown to 20 000 by doubling",
            &set,
            &all,
            seed,
            |index, seed| {
                let mut done = 0;
                let mut next = 10;
                while done < ITEMS {
                    index.commit(&set, &[], &all[done..next.min(ITEMS)], seed + next as u64);
                    (done, next) = (next, next * 2);
                }
            },
        ));
        let stay: Vec<(u32, u32)> =
            all.iter().copied().filter(|(item, _)| item % 100 == 7).collect();
        let go: Vec<u32> =
            all.iter().map(|(item, _)| *item).filter(|item| item % 100 != 7).collect();
        stories.push(tell_one::<D>("99 % deleted at once", &set, &stay, seed, |index, seed| {
            index.commit(&set, &[], &all, seed);
            index.commit(&set, &go, &[], seed);
        }));
        stories.push(tell_one::<D>(
            "99 % deleted, a fifth of what is left a build",
            &set,
            &stay,
            seed,
            |index, seed| {
                index.commit(&set, &[], &all, seed);
                let mut rest = &go[..];
                while !rest.is_empty() {
                    let (now, later) =
                        rest.split_at((rest.len() + stay.len()).div_ceil(5).min(rest.len()));
                    index.commit(&set, now, &[], seed);
                    rest = later;
                }
            },
        ));
    }
    println!("{name}, {ITEMS} of them, {seeds} builds of each");
    let mut names: Vec<&str> = stories.iter().map(|story| story.name).collect();
    names.dedup_by(|a, b| a == b);
    names.truncate(stories.len() / seeds as usize);
    for name in names {
        let of_it = || stories.iter().filter(|story| story.name == name);
        let sum = |of: fn(&Story) -> usize| of_it().map(of).sum::<usize>() as f64;
        println!("  {name}");
        let items = sum(|story| story.items);
        report.at_least(
            "found by their own vectors at ef 64, of 100",
            100.0 * (1.0 - sum(|story| story.lost[0]) / items),
            99.99,
        );
        report.at_most("not found by their own vectors at ef 256", sum(|story| story.lost[1]), 0.0);
        report.at_most("findings of check", sum(|story| story.findings), 0.0);
    }
}

/// The outcome of a story.
struct Story {
    name: &'static str,
    items: usize,
    /// The items not found, at both `ef_search`.
    lost: [usize; 2],
    findings: usize,
}

fn tell_one<D: Distance>(
    name: &'static str,
    set: &DataSet,
    stay: &[(u32, u32)],
    seed: u64,
    live: impl Fn(&Living<D>, u64),
) -> Story {
    let index = Living::<D>::create();
    live(&index, seed);
    let lost = [64, 256].map(|ef| index.lost(set, stay, ef));
    Story { name, items: stay.len(), lost, findings: index.findings().len() }
}
