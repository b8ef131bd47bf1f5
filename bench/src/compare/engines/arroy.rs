//! arroy: random projection trees in LMDB. It has no graph, so M and `ef_construction` do not
//! apply, and its knob is `search_k`.

use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::time::Duration;

use arroy::{Database, Distance, Reader, Writer};
use voisin::heed::{Env, RwTxn};
use voisin::rand::{SeedableRng as _, rngs::StdRng};

use super::environment;
use crate::compare::engine::{Engine, Input, answer_all};
use crate::engines::{create, data_bytes, open_existing};

pub(super) struct Arroy<D> {
    input: &'static Input,
    env: Option<&'static Env>,
    metric: PhantomData<D>,
}

impl<D: Distance> Arroy<D> {
    pub(super) fn new(input: &'static Input) -> Self {
        Self { input, env: None, metric: PhantomData }
    }

    fn env(&self) -> &'static Env {
        self.env.expect("an index")
    }

    /// With as many trees as arroy chooses.
    fn link(&self, writer: &Writer<D>, wtxn: &mut RwTxn<'_>) {
        writer
            .builder(&mut StdRng::seed_from_u64(self.input.task.seed))
            .build(wtxn)
            .expect("a build");
    }
}

impl<D: Distance> Engine for Arroy<D> {
    fn build(&mut self) {
        let env = *self.env.insert(environment(&self.input.task.folder));
        let database: Database<'static, D> = create(env);
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

    fn search(&self, queries: &[f32], search_k: usize, threads: usize) -> (Duration, Vec<u32>) {
        let database: Database<'static, D> = open_existing(self.env());
        let search_k = NonZeroUsize::new(search_k).expect("more than 0");
        answer_all(self.input, queries, threads, |work| {
            let rtxn = self.env().read_txn().expect("a transaction");
            let reader = Reader::<D>::open(&rtxn, 0, database).expect("a reader");
            let nearest = |query: &[f32]| {
                reader
                    .nns(self.input.task.k)
                    .search_k(search_k)
                    .by_vector(&rtxn, query)
                    .expect("an answer")
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
}
