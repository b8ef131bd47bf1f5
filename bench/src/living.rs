//! An index that changes, over the rows of a data set.

use std::path::Path;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rayon::prelude::*;
use tempfile::TempDir;
use voisin::distances::{Distance, Euclidean};
use voisin::heed::{CommitOrAbort, Env};
use voisin::{Reader, Writer};

use crate::data::DataSet;
use crate::engines::{data_bytes, open, open_database};

const K: usize = 10;

/// See the module.
pub struct Living<D> {
    env: Env,
    folder: TempDir,
    metric: std::marker::PhantomData<D>,
}

impl<D: Distance> Living<D> {
    /// An empty index.
    pub fn create() -> Self {
        let folder = TempDir::new().expect("a folder");
        let env = open(folder.path());
        let wtxn = env.write_txn().expect("a transaction");
        env.create_databases_and_commit(wtxn, |o, wtxn| {
            o.create_database::<voisin::heed::types::Bytes, voisin::ValueCodec<D>>(wtxn, None)
                .map(CommitOrAbort::<_, ()>::Commit)
        })
        .expect("a database");
        Self { env, folder, metric: std::marker::PhantomData }
    }

    /// The environment.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// The folder of the file.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Adds items, and commits without a build.
    pub fn add(&self, set: &DataSet, add: &[(u32, u32)]) {
        let writer = Writer::<D>::new(open_database::<D>(&self.env), 0, set.dimensions);
        let mut wtxn = self.env.write_txn().expect("a transaction");
        writer
            .add_items_from(&mut wtxn, add.iter().map(|&(item, row)| (item, set.row(row))))
            .expect("valid items");
        wtxn.commit().expect("a commit");
    }

    /// Deletes and adds items, builds, and commits. Returns the duration in seconds.
    pub fn commit(&self, set: &DataSet, delete: &[u32], add: &[(u32, u32)], seed: u64) -> f64 {
        let database = open_database::<D>(&self.env);
        let writer = Writer::<D>::new(database, 0, set.dimensions);
        let start = Instant::now();
        let mut wtxn = self.env.write_txn().expect("a transaction");
        writer.del_items(&mut wtxn, delete.iter().copied()).expect("deletes");
        writer
            .add_items_from(&mut wtxn, add.iter().map(|&(item, row)| (item, set.row(row))))
            .expect("valid items");
        writer
            .builder(&mut StdRng::seed_from_u64(seed))
            .ef_construction(200)
            .build::<16, 32>(&mut wtxn)
            .expect("a build");
        wtxn.commit().expect("a commit");
        start.elapsed().as_secs_f64()
    }

    /// Optimizes, and commits. Returns the duration in seconds.
    pub fn optimize(&self, set: &DataSet) -> f64 {
        let database = open_database::<D>(&self.env);
        let writer = Writer::<D>::new(database, 0, set.dimensions);
        let start = Instant::now();
        let mut wtxn = self.env.write_txn().expect("a transaction");
        writer
            .builder(&mut StdRng::seed_from_u64(1))
            .ef_construction(200)
            .optimize::<16, 32>(&mut wtxn)
            .expect("to optimize");
        wtxn.commit().expect("a commit");
        start.elapsed().as_secs_f64()
    }

    /// Queries per second with this `ef_search`, on one thread: the best of three rounds.
    pub fn speed(&self, set: &DataSet, ef: usize) -> f64 {
        let database = open_database::<D>(&self.env);
        let rtxn = self.env.read_txn().expect("a transaction");
        let reader = Reader::<D>::open(&rtxn, 0, database).expect("a reader");
        let round = |_| {
            let start = Instant::now();
            for query in set.query_rows() {
                reader.nns(K).ef_search(ef).by_vector(&rtxn, query).expect("an answer");
            }
            set.query_rows().len() as f64 / start.elapsed().as_secs_f64()
        };
        round(0);
        (0..3).map(round).fold(0.0, f64::max)
    }

    /// Recall against exact search with this `ef_search`, and distances a query.
    pub fn quality(&self, set: &DataSet, ef: usize) -> (f64, f64) {
        let database = open_database::<D>(&self.env);
        let rtxn = self.env.read_txn().expect("a transaction");
        let reader = Reader::<D>::open(&rtxn, 0, database).expect("a reader");
        let (mut hits, mut distances, mut queries) = (0, 0, 0);
        for query in set.query_rows() {
            let found = reader.nns(K).ef_search(ef).by_vector(&rtxn, query).expect("an answer");
            assert_eq!(found.strategy, voisin::Strategy::Graph);
            let exact =
                reader.nns(K).exact().by_vector(&rtxn, query).expect("an answer").into_nns();
            let farthest = exact.last().expect("results").1;
            hits += found.nns.iter().filter(|(_, distance)| *distance <= farthest).count();
            distances += found.distances;
            queries += 1;
        }
        (hits as f64 / (K * queries) as f64, distances as f64 / queries as f64)
    }

    /// The `k` items nearest to each item, by id, as a search finds them.
    pub fn neighbors(&self, k: usize) -> Vec<Vec<u32>> {
        let database = open_database::<D>(&self.env);
        let rtxn = self.env.read_txn().expect("a transaction");
        let reader = Reader::<D>::open(&rtxn, 0, database).expect("a reader");
        let warm = reader.warm(&rtxn).expect("a warm reader");
        let items: Vec<u32> = reader.item_ids(&rtxn).expect("ids").iter().collect();
        let near = |item: &u32| {
            let found =
                warm.nns(k).ef_search(4 * k).by_item(*item).expect("an answer").expect("the item");
            found.nns.into_iter().map(|(near, _)| near).collect()
        };
        items.par_iter().map(near).collect()
    }

    /// The number of these items that a graph search does not find by their own vectors.
    pub fn lost(&self, set: &DataSet, items: &[(u32, u32)], ef: usize) -> usize {
        let database = open_database::<D>(&self.env);
        let rtxn = self.env.read_txn().expect("a transaction");
        let reader = Reader::<D>::open(&rtxn, 0, database).expect("a reader");
        let is_lost = |&&(item, row): &&(u32, u32)| {
            let found = reader
                .nns(1)
                .ef_search(ef)
                .walk_graph()
                .by_vector(&rtxn, set.row(row))
                .expect("an answer");
            found.nns.first().is_none_or(|(nearest, _)| *nearest != item)
        };
        items.iter().filter(is_lost).count()
    }

    /// Its statistics.
    pub fn stats(&self) -> voisin::Stats {
        let database = open_database::<D>(&self.env);
        let rtxn = self.env.read_txn().expect("a transaction");
        Reader::<D>::open(&rtxn, 0, database)
            .expect("a reader")
            .stats(&rtxn, &self.env)
            .expect("statistics")
    }

    pub fn file_bytes(&self) -> u64 {
        data_bytes(self.folder.path())
    }

    /// The findings of `check`.
    pub fn findings(&self) -> Vec<voisin::Finding> {
        let database = open_database::<D>(&self.env);
        let rtxn = self.env.read_txn().expect("a transaction");
        voisin::check(&rtxn, 0, database).expect("a check")
    }
}

impl DataSet {
    /// The same with `times` as many vectors to store: each is followed, a whole set later, by one
    /// between it and its nearest other vector, then by one between it and the second nearest, and
    /// so on, so that all lie where the set does. The listed neighbors no longer apply.
    #[must_use]
    pub fn enlarged(mut self, times: usize) -> Self {
        let mut rng = StdRng::seed_from_u64(3);
        let rows: Vec<(u32, u32)> = (0..self.rows().len() as u32).map(|row| (row, row)).collect();
        let index = Living::<Euclidean>::create();
        index.commit(&self, &[], &rows, 1);
        let neighbors = index.neighbors(times - 1);
        for nth in 0..times - 1 {
            for (row, neighbors) in rows.iter().zip(&neighbors) {
                let share: f32 = rng.random_range(0.25..0.75);
                let (a, b) =
                    (row.0 as usize * self.dimensions, neighbors[nth] as usize * self.dimensions);
                for i in 0..self.dimensions {
                    self.base
                        .push(self.base[a + i] + share * (self.base[b + i] - self.base[a + i]));
                }
            }
        }
        self
    }
}
