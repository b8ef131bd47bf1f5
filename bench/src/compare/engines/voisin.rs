//! voisin, through `Writer` and a warm reader.

use std::fs::File;
use std::marker::PhantomData;
use std::thread;
use std::time::{Duration, Instant};

use memmap2::Mmap;
use voisin::distances::Distance;
use voisin::heed::Env;
use voisin::rand::{SeedableRng as _, rngs::StdRng};
use voisin::{Codes, Database, Reader, WarmReader, Writer};

use super::environment;
use crate::compare::engine::{Engine, Input, answer_all};
use crate::engines::{create, data_bytes, open_database};

pub(super) struct Voisin<D> {
    input: &'static Input,
    env: Option<&'static Env>,
    stored: bool,
    codes: Option<Codes>,
    metric: PhantomData<D>,
}

impl<D: Distance> Voisin<D> {
    pub(super) fn new(input: &'static Input, codes: Option<Codes>) -> Self {
        Self { input, env: None, stored: false, codes, metric: PhantomData }
    }

    fn env(&self) -> &'static Env {
        self.env.expect("an index")
    }

    fn writer(&mut self) -> Writer<'static, D> {
        let database: Database<'static, D> = match self.env {
            Some(env) => open_database(env),
            None => create(self.env.insert(environment(&self.input.task.folder))),
        };
        Writer::new(database, 0, self.input.task.dimensions)
    }

    fn link(&self, writer: &Writer<'_, D>, wtxn: &mut voisin::heed::RwTxn<'_>) {
        let task = &self.input.task;
        let mut rng = StdRng::seed_from_u64(task.seed);
        let mut builder = writer.builder(&mut rng);
        builder
            .ef_construction(task.ef_construction)
            .alpha(task.alpha.unwrap_or(voisin::defaults::ALPHA));
        builder.build_with(wtxn, task.m, task.m0).expect("a build");
    }

    fn add_all(&self, writer: &Writer<'_, D>, wtxn: &mut voisin::heed::RwTxn<'_>) {
        let ids: Vec<u32> = (0..self.input.task.rows as u32).collect();
        writer.add_items(wtxn, &ids, self.input.vectors()).expect("valid items");
        writer.set_codes(wtxn, self.codes).expect("a metric that can have codes");
    }

    /// All queries in one call.
    fn answer(
        &self,
        queries: &[f32],
        ef: usize,
        threads: usize,
        codes: bool,
    ) -> (Duration, Vec<u32>) {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        self.read_warm(|reader| {
            let mut by = reader.nns(self.input.task.k);
            by.ef_search(ef).codes(codes);
            pool.install(|| {
                let start = Instant::now();
                let found = by.by_vectors(queries).expect("answers");
                (start.elapsed(), all_ids(found))
            })
        })
    }

    /// Calls `with` with a reader that any thread may use.
    fn read_warm<T>(&self, with: impl FnOnce(&WarmReader<'_, '_, D>) -> T) -> T {
        let database = open_database(self.env());
        let rtxn = self.env().read_txn().expect("a transaction");
        let reader = Reader::<D>::open(&rtxn, 0, database).expect("a reader");
        with(&reader.warm(&rtxn).expect("a warm reader"))
    }
}

impl<D: Distance> Engine for Voisin<D> {
    fn store(&mut self) {
        let writer = self.writer();
        let mut wtxn = self.env().write_txn().expect("a transaction");
        self.add_all(&writer, &mut wtxn);
        wtxn.commit().expect("a commit");
        self.stored = true;
    }

    fn build(&mut self) {
        let writer = self.writer();
        let mut wtxn = self.env().write_txn().expect("a transaction");
        if !self.stored {
            self.add_all(&writer, &mut wtxn);
        }
        self.link(&writer, &mut wtxn);
        wtxn.commit().expect("a commit");
    }

    fn save(&mut self) -> u64 {
        data_bytes(&self.input.task.folder)
    }

    fn open(&mut self) {
        self.env = Some(environment(&self.input.task.folder));
    }

    fn search(&self, queries: &[f32], ef: usize, threads: usize) -> (Duration, Vec<u32>) {
        self.answer(queries, ef, threads, true)
    }

    fn search_one_by_one(&self, queries: &[f32], ef: usize) -> (Duration, Vec<u32>) {
        let k = self.input.task.k;
        self.read_warm(|reader| {
            let nearest = |query: &[f32]| {
                ids(reader.nns(k).ef_search(ef).by_vector(query).expect("an answer"))
            };
            answer_all(self.input, queries, 1, |work| work.answer(nearest))
        })
    }

    fn search_by_vectors(&self, queries: &[f32], ef: usize) -> Vec<u32> {
        self.answer(queries, ef, 1, false).1
    }

    fn scan(&self, queries: &[f32], batch: bool) -> (Duration, Vec<u32>) {
        let scan = if batch { scan_batch } else { scan_one_by_one };
        self.read_warm(|reader| {
            let start = Instant::now();
            let answers = scan(reader, queries, self.input.task.k);
            (start.elapsed(), answers)
        })
    }

    fn update(&mut self, item: u32, vector: &[f32]) {
        let writer = self.writer();
        let mut wtxn = self.env().write_txn().expect("a transaction");
        writer.add_item(&mut wtxn, item, vector).expect("a valid item");
        self.link(&writer, &mut wtxn);
        wtxn.commit().expect("a commit");
    }

    fn read(&self) -> (Duration, u64) {
        let file = File::open(self.input.task.folder.join("data.mdb")).expect("a database file");
        // SAFETY: LMDB may replace bytes, but they are only summed up, and it does not truncate the
        // file.
        let map = unsafe { Mmap::map(&file) }.expect("a map");
        let words: &[u64] = bytemuck::cast_slice(&map);
        let sum = || {
            let start = Instant::now();
            thread::scope(|scope| {
                for part in words.chunks(words.len().div_ceil(self.input.task.threads)) {
                    scope.spawn(|| {
                        std::hint::black_box(
                            part.iter().fold(0, |sum: u64, word| sum.wrapping_add(*word)),
                        )
                    });
                }
            });
            start.elapsed()
        };
        sum(); // has the pages mapped
        ((0..3).map(|_| sum()).min().expect("three rounds"), map.len() as u64)
    }
}

fn ids(found: voisin::Searched) -> impl Iterator<Item = u32> {
    found.into_nns().into_iter().map(|(item, _)| item)
}

fn all_ids(found: Vec<voisin::Searched>) -> Vec<u32> {
    found.into_iter().flat_map(ids).collect()
}

fn scan_one_by_one<D: Distance>(
    reader: &WarmReader<'_, '_, D>,
    queries: &[f32],
    k: usize,
) -> Vec<u32> {
    let queries = queries.chunks_exact(reader.reader().dimensions());
    queries
        .flat_map(|query| ids(reader.nns(k).exact().by_vector(query).expect("an answer")))
        .collect()
}

fn scan_batch<D: Distance>(reader: &WarmReader<'_, '_, D>, queries: &[f32], k: usize) -> Vec<u32> {
    all_ids(reader.nns(k).exact().by_vectors(queries).expect("answers"))
}
