//! hannoy: an HNSW graph in LMDB, one value a vector and a list.

use std::marker::PhantomData;
use std::time::Duration;

use hannoy::{Database, Distance, Reader, Writer};
use roaring_of_hannoy::RoaringBitmap;
use voisin::heed::{Env, RwTxn};
use voisin::rand::{SeedableRng as _, rngs::StdRng};

use super::environment;
use crate::compare::engine::{Engine, Input, Searcher, answer_all};
use crate::compare::protocol::By;
use crate::engines::{create, data_bytes, open_existing};

pub(super) struct Hannoy<D> {
    input: &'static Input,
    env: Option<&'static Env>,
    /// `None` if all items are.
    candidates: Option<RoaringBitmap>,
    /// Whether candidates are scanned, however many.
    scans: bool,
    metric: PhantomData<D>,
}

impl<D: Distance> Hannoy<D> {
    pub(super) fn new(input: &'static Input) -> Self {
        let task = &input.task;
        assert_eq!((task.m, task.m0), (16, 32), "hannoy takes M and M0 when it is compiled");
        Self { input, env: None, candidates: None, scans: false, metric: PhantomData }
    }

    fn env(&self) -> &'static Env {
        self.env.expect("an index")
    }

    fn link(&self, writer: &Writer<'_, D>, wtxn: &mut RwTxn<'_>) {
        let mut rng = StdRng::seed_from_u64(self.input.task.seed);
        writer
            .builder(&mut rng)
            .ef_construction(self.input.task.ef_construction)
            .build::<16, 32>(wtxn)
            .expect("a build");
    }
}

impl<D: Distance> Engine for Hannoy<D> {
    fn build(&mut self) {
        let env = *self.env.insert(environment(&self.input.task.folder));
        let database: Database<'_, D> = create(env);
        let writer = Writer::new(database, 0, self.input.task.dimensions);
        let mut wtxn = env.write_txn().expect("a transaction");
        for (id, row) in self.input.rows().enumerate() {
            writer.add_item(&mut wtxn, id as u32, row).expect("a valid item");
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
        let database: Database<'_, D> = open_existing(self.env());
        answer_all(self.input, queries, threads, |work| {
            let rtxn = self.env().read_txn().expect("a transaction");
            let reader = Reader::<D>::open(&rtxn, 0, database).expect("a reader");
            let nearest = |query: &[f32]| {
                reader
                    .nns(self.input.task.k)
                    .ef_search(ef)
                    .by_vector(&rtxn, query)
                    .expect("an answer")
                    .into_nns()
            };
            work.answer(|query| nearest(query).into_iter().map(|(id, _)| id));
        })
    }

    fn update(&mut self, item: u32, vector: &[f32]) {
        let writer = Writer::new(open_existing(self.env()), 0, self.input.task.dimensions);
        let mut wtxn = self.env().write_txn().expect("a transaction");
        writer.add_item(&mut wtxn, item, vector).expect("a valid item");
        self.link(&writer, &mut wtxn);
        wtxn.commit().expect("a commit");
    }

    fn filter(&mut self, candidates: &[u32], by: By) {
        assert!(matches!(by, By::Bitmap | By::Scan), "hannoy takes a bitmap");
        self.candidates = Some(candidates.iter().copied().collect());
        self.scans = by == By::Scan;
    }

    fn searcher(&self) -> Searcher<'_> {
        // Before the transaction: a thread can have one at a time.
        let database = open_existing(self.env());
        // Lives as long as the process.
        let rtxn = Box::leak(Box::new(self.env().read_txn().expect("a transaction")));
        let reader = Reader::<D>::open(rtxn, 0, database).expect("a reader");
        Box::new(move |query, ef| {
            let mut by = reader.nns(self.input.task.k);
            if let Some(candidates) = &self.candidates {
                by.candidates(candidates);
            }
            if self.scans {
                by.linear_below(usize::MAX).linear_below_ratio(1.0);
            }
            let found = by.ef_search(ef).by_vector(rtxn, query).expect("an answer");
            found.into_nns().into_iter().map(|(id, _)| id).collect()
        })
    }
}
