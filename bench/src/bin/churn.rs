//! Fifty rounds of replacing, deleting and adding, one build a round: does recall rot, does the file grow? See the README of this crate.
//!
//! Exits non-zero when a figure is missed.
#![allow(clippy::expect_used, clippy::panic, missing_docs)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;
use voisin::distances::{Cosine, Distance, Euclidean};
use voisin::heed::{CommitOrAbort, Env};
use voisin::{Reader, Writer};
use voisin_bench::data::DataSet;
use voisin_bench::engines::{data_bytes, open, open_database};
use voisin_bench::report::Report;

const ROUNDS: usize = 50;
const EF: usize = 80;
const K: usize = 10;

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

/// An index, and which row of the data each item holds.
struct Living<D> {
    env: Env,
    folder: TempDir,
    metric: std::marker::PhantomData<D>,
}

impl<D: Distance> Living<D> {
    fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let env = open(folder.path());
        let wtxn = env.write_txn().expect("a transaction");
        env.create_databases_and_commit(wtxn, |o, wtxn| {
            o.create_database::<voisin::heed::types::Bytes, voisin::ValueCodec<D>>(wtxn, None).map(CommitOrAbort::<_, ()>::Commit)
        })
        .expect("a database");
        Self { env, folder, metric: std::marker::PhantomData }
    }

    /// Deletes and adds, builds, and commits. Returns the seconds that it took.
    fn commit(&self, set: &DataSet, delete: &[u32], add: &[(u32, u32)], seed: u64) -> f64 {
        let database = open_database::<D>(&self.env);
        let writer = Writer::<D>::new(database, 0, set.dimensions);
        let start = Instant::now();
        let mut wtxn = self.env.write_txn().expect("a transaction");
        writer.del_items(&mut wtxn, delete.iter().copied()).expect("deletes");
        writer.add_items_from(&mut wtxn, add.iter().map(|&(item, row)| (item, set.row(row)))).expect("valid items");
        writer.builder(&mut StdRng::seed_from_u64(seed)).ef_construction(200).build::<16, 32>(&mut wtxn).expect("a build");
        wtxn.commit().expect("a commit");
        start.elapsed().as_secs_f64()
    }

    /// Recall against exact search, and distances a query.
    fn quality(&self, set: &DataSet) -> (f64, f64) {
        let database = open_database::<D>(&self.env);
        let rtxn = self.env.read_txn().expect("a transaction");
        let reader = Reader::<D>::open(&rtxn, 0, database).expect("a reader");
        let (mut hits, mut distances, mut queries) = (0, 0, 0);
        for query in set.query_rows() {
            let found = reader.nns(K).ef_search(EF).by_vector(&rtxn, query).expect("an answer");
            assert_eq!(found.strategy, voisin::Strategy::Graph);
            let exact = reader.nns(K).exact().by_vector(&rtxn, query).expect("an answer").into_nns();
            let farthest = exact.last().expect("results").1;
            hits += found.nns.iter().filter(|(_, distance)| *distance <= farthest).count();
            distances += found.distances;
            queries += 1;
        }
        (hits as f64 / (K * queries) as f64, distances as f64 / queries as f64)
    }

    fn findings(&self) -> Vec<voisin::Finding> {
        let database = open_database::<D>(&self.env);
        let rtxn = self.env.read_txn().expect("a transaction");
        voisin::check(&rtxn, 0, database).expect("a check")
    }
}

fn run<D: Distance>(set: &DataSet, report: &mut Report) {
    let rows = set.rows().len();
    println!("{}, {rows} of them", set.name);
    let mut rng = StdRng::seed_from_u64(7);
    let share = rows * 3 / 100;
    let mut reserve: Vec<u32> = (0..rows as u32).collect();
    reserve.shuffle(&mut rng);
    let mut living: Vec<(u32, u32)> = reserve.split_off(share).into_iter().enumerate().map(|(item, row)| (item as u32, row)).collect();
    let index = Living::<D>::new();
    let full = index.commit(set, &[], &living, 1);
    println!("  {} items built and committed in {full:.1} s", living.len());
    let mut next_item = living.len() as u32;
    for round in 1..=ROUNDS {
        // Replaced items take the rows in reserve and leave theirs, deleted ones leave theirs, added ones take from those.
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
            let item = if rng.random_bool(0.5) { deleted[(next_item as usize) % share].0 } else { next_item };
            let item = if living.iter().rev().take(share).any(|(other, _)| *other == item) { next_item } else { item };
            next_item += 1;
            living.push((item, row));
            add.push((item, row));
        }
        let deleted: Vec<u32> = deleted.iter().map(|(item, _)| *item).collect();
        let seconds = index.commit(set, &deleted, &add, round as u64);
        if round % 10 > 0 {
            continue;
        }
        let (recall, distances) = index.quality(set);
        let fresh = Living::<D>::new();
        fresh.commit(set, &[], &living, 1);
        let (fresh_recall, fresh_distances) = fresh.quality(set);
        let bytes = [&index, &fresh].map(|index| data_bytes(index.folder.path()) as f64);
        println!(
            "  round {round}: {seconds:.2} s; recall {recall:.4}, fresh {fresh_recall:.4}; distances {distances:.0}, fresh {fresh_distances:.0}"
        );
        report.at_most("points of recall below a fresh build", (fresh_recall - recall) * 100.0, 1.0);
        report.at_most("distances a query, times a fresh build's", distances / fresh_distances, 1.15);
        report.at_most("bytes of the file, times a fresh one's", bytes[0] / bytes[1], 2.2);
        let findings = index.findings();
        report.at_most("findings of check, such as unreachable nodes", findings.len() as f64, 0.0);
        for finding in findings.iter().take(5) {
            println!("    {finding}");
        }
    }
}
