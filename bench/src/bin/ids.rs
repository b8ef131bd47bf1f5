//! The size of the maps between items and slots, in bytes an item: for dense ids, and for ids
//! spread over all of `u32`.
#![allow(clippy::expect_used, missing_docs)]

use std::collections::BTreeSet;
use std::process::ExitCode;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;
use voisin::Writer;
use voisin::distances::Euclidean;
use voisin::heed::types::Bytes;
use voisin::heed::{CommitOrAbort, CompactionOption};
use voisin_bench::engines::open;
use voisin_bench::report::Report;

const ITEMS: u32 = 100_000;
const DIMENSIONS: usize = 128;

fn main() -> ExitCode {
    let mut report = Report::default();
    let mut rng = StdRng::seed_from_u64(1);
    let mut sparse = BTreeSet::new();
    while sparse.len() < ITEMS as usize {
        sparse.insert(rng.random::<u32>());
    }
    let mut sparse: Vec<u32> = sparse.into_iter().collect();
    sparse.shuffle(&mut rng);
    let dense: Vec<u32> = (0..ITEMS).collect();
    for (name, ids, goal) in [
        ("dense ids, bytes an item beyond its vector", dense, 15.0),
        ("sparse ids, the same", sparse, 70.0),
    ] {
        let folder = TempDir::new().expect("a folder");
        let env = open(folder.path());
        let wtxn = env.write_txn().expect("a transaction");
        let database: voisin::Database<'_, Euclidean> = env
            .create_databases_and_commit(wtxn, |o, wtxn| {
                o.create_database(wtxn, None).map(CommitOrAbort::<_, ()>::Commit)
            })
            .expect("a database")
            .unwrap_commit();
        let writer = Writer::<Euclidean>::new(database, 0, DIMENSIONS);
        let mut wtxn = env.write_txn().expect("a transaction");
        writer.add_items(&mut wtxn, &ids, &vec![1.0; DIMENSIONS * ids.len()]).expect("valid items");
        wtxn.commit().expect("a commit");
        let path = folder.path().join("copy.mdb");
        env.copy_to_path(&path, CompactionOption::Enabled).expect("a copy");
        let bytes = std::fs::metadata(&path).expect("a copy").len();
        let rtxn = env.read_txn().expect("a transaction");
        let values = database.remap_types::<Bytes, Bytes>().len(&rtxn).expect("a count");
        println!("{name}: {values} values");
        report.at_most(
            name,
            (bytes as f64 - f64::from(ITEMS) * 4.0 * DIMENSIONS as f64) / f64::from(ITEMS),
            goal,
        );
    }
    report.finish()
}
