//! The engines, each built and searched through its own API.

use std::fs;
use std::path::Path;
use std::time::Instant;

use rand::SeedableRng as _;
use tempfile::TempDir;
use voisin::heed::{self, CommitOrAbort, CompactionOption, EnvOpenOptions};

use crate::data::DataSet;

const SEED: u64 = 42;
const EF_CONSTRUCTION: usize = 200;
const MAP_BYTES: usize = 16 << 30;

/// Something that answers queries.
pub trait Searcher {
    /// The `k` nearest ids of every query, one query after the other, on the calling thread.
    fn search(&self, set: &DataSet, k: usize, ef: usize) -> Vec<Vec<u32>>;
}

pub fn open(folder: &Path) -> heed::Env {
    let mut options = EnvOpenOptions::new();
    options.map_size(MAP_BYTES);
    // SAFETY: a fresh folder that no other program opens.
    unsafe { options.open(folder) }.expect("an environment")
}

pub fn data_bytes(folder: &Path) -> u64 {
    fs::metadata(folder.join("data.mdb")).expect("a database file").len()
}

/// Creates the unnamed database.
pub fn create<K: 'static, V: 'static>(env: &heed::Env) -> heed::Database<'_, K, V> {
    let wtxn = env.write_txn().expect("a transaction");
    env.create_databases_and_commit(wtxn, |o, wtxn| {
        o.create_database(wtxn, None).map(CommitOrAbort::<_, ()>::Commit)
    })
    .expect("a database")
    .unwrap_commit()
}

/// Opens the unnamed database.
pub fn open_existing<K: 'static, V: 'static>(env: &heed::Env) -> heed::Database<'_, K, V> {
    let rtxn = env.read_txn().expect("a transaction");
    env.open_databases_and_commit(rtxn, |o, rtxn| {
        o.open_database(rtxn, None)
            .map(|database| CommitOrAbort::<_, ()>::Commit(database.expect("a database")))
    })
    .expect("a database")
    .unwrap_commit()
}

pub struct Voisin<D> {
    env: heed::Env,
    folder: TempDir,
    pub build_seconds: f64,
    metric: std::marker::PhantomData<D>,
}

impl<D: voisin::distances::Distance> Voisin<D> {
    /// Adds all rows, builds and commits: in one transaction, or the items in one and the graph in
    /// another.
    pub fn build(set: &DataSet, two_transactions: bool) -> Self {
        Self::build_with(set, two_transactions, None)
    }

    /// The same with codes.
    pub fn build_with(set: &DataSet, two_transactions: bool, codes: Option<voisin::Codes>) -> Self {
        let folder = TempDir::new().expect("a folder");
        let env = open(folder.path());
        let database: voisin::Database<'_, D> = create(&env);
        let writer = voisin::Writer::<D>::new(database, 0, set.dimensions);
        let ids: Vec<u32> = (0..set.rows().len() as u32).collect();
        let mut wtxn = env.write_txn().expect("a transaction");
        writer.add_items(&mut wtxn, &ids, &set.base).expect("valid items");
        writer.set_codes(&mut wtxn, codes).expect("a metric that can have codes");
        if two_transactions {
            wtxn.commit().expect("a commit");
            wtxn = env.write_txn().expect("a transaction");
        }
        let start = Instant::now();
        let mut rng = rand::rngs::StdRng::seed_from_u64(SEED);
        writer
            .builder(&mut rng)
            .ef_construction(EF_CONSTRUCTION)
            .build::<16, 32>(&mut wtxn)
            .expect("a build");
        let build_seconds = start.elapsed().as_secs_f64();
        wtxn.commit().expect("a commit");
        Self { env, folder, build_seconds, metric: std::marker::PhantomData }
    }

    pub fn file_bytes(&self) -> u64 {
        data_bytes(self.folder.path())
    }

    pub fn compacted_bytes(&self) -> u64 {
        let path = self.folder.path().join("copy.mdb");
        self.env.copy_to_path(&path, CompactionOption::Enabled).expect("a copy");
        let bytes = fs::metadata(&path).expect("a copy").len();
        fs::remove_file(path).expect("to remove the copy");
        bytes
    }
}

impl<D: voisin::distances::Distance> Searcher for Voisin<D> {
    fn search(&self, set: &DataSet, k: usize, ef: usize) -> Vec<Vec<u32>> {
        let database = open_database::<D>(&self.env);
        let rtxn = self.env.read_txn().expect("a transaction");
        let reader = voisin::Reader::<D>::open(&rtxn, 0, database).expect("a reader");
        let ids = |found: voisin::Searched| found.nns.into_iter().map(|(id, _)| id).collect();
        set.query_rows()
            .map(|query| {
                ids(reader.nns(k).ef_search(ef).by_vector(&rtxn, query).expect("an answer"))
            })
            .collect()
    }
}

pub fn open_database<D: voisin::distances::Distance>(env: &heed::Env) -> voisin::Database<'_, D> {
    open_existing(env)
}

pub struct Hannoy<D> {
    env: heed::Env,
    _folder: TempDir,
    metric: std::marker::PhantomData<D>,
}

impl<D: hannoy::Distance> Hannoy<D> {
    pub fn build(set: &DataSet) -> Self {
        let folder = TempDir::new().expect("a folder");
        let env = open(folder.path());
        let database: hannoy::Database<'_, D> = create(&env);
        let writer = hannoy::Writer::<D>::new(database, 0, set.dimensions);
        let mut wtxn = env.write_txn().expect("a transaction");
        for (id, row) in set.rows().enumerate() {
            writer.add_item(&mut wtxn, id as u32, row).expect("a valid item");
        }
        let mut rng = rand::rngs::StdRng::seed_from_u64(SEED);
        writer
            .builder(&mut rng)
            .ef_construction(EF_CONSTRUCTION)
            .build::<16, 32>(&mut wtxn)
            .expect("a build");
        wtxn.commit().expect("a commit");
        Self { env, _folder: folder, metric: std::marker::PhantomData }
    }
}

impl<D: hannoy::Distance> Searcher for Hannoy<D> {
    fn search(&self, set: &DataSet, k: usize, ef: usize) -> Vec<Vec<u32>> {
        let database: hannoy::Database<'_, D> = open_existing(&self.env);
        let rtxn = self.env.read_txn().expect("a transaction");
        let reader = hannoy::Reader::<D>::open(&rtxn, 0, database).expect("a reader");
        let ids =
            |found: hannoy::Searched| found.into_nns().into_iter().map(|(id, _)| id).collect();
        set.query_rows()
            .map(|query| {
                ids(reader.nns(k).ef_search(ef).by_vector(&rtxn, query).expect("an answer"))
            })
            .collect()
    }
}
