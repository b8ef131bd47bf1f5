//! voisin, through `Index`, one query at a time: as programs use it whose index is larger than
//! memory.

use std::time::Duration;

use voisin::distances::Distance;
use voisin::roaring::RoaringBitmap;
use voisin::{Codes, Filter, Index, Options};

use crate::compare::engine::{Engine, Input, Searcher, answer_all};
use crate::compare::protocol::By;
use crate::engines::data_bytes;

pub(super) struct Indexed<D> {
    input: &'static Input,
    codes: Option<Codes>,
    index: Option<Index<D>>,
    candidates: Candidates,
}

/// What a search is restricted to.
enum Candidates {
    All,
    Kept(Filter),
    Bitmap(RoaringBitmap),
}

impl<D: Distance> Indexed<D> {
    pub(super) fn new(input: &'static Input, codes: Option<Codes>) -> Self {
        Self { input, codes, index: None, candidates: Candidates::All }
    }

    fn index(&self) -> &Index<D> {
        self.index.as_ref().expect("an index")
    }

    fn options(&self) -> Options {
        let task = &self.input.task;
        let options = Options::new(task.dimensions).m(task.m).m0(task.m0);
        let options = options.ef_construction(task.ef_construction).seed(task.seed);
        let options = options.threads(task.threads);
        match self.codes {
            Some(codes) => options.codes(codes),
            None => options,
        }
    }

    /// Goes on where a process that was killed had come to.
    fn load(&mut self, options: Options) {
        let task = &self.input.task;
        let index = Index::<D>::open_or_create(&task.folder, options).expect("an index");
        if index.snapshot().expect("a snapshot").len() == task.rows as u64 {
            index.resume().expect("to resume a load");
        } else {
            index.load((0..).zip(self.input.rows()), |_| {}).expect("a load");
        }
        self.index = Some(index);
    }
}

impl<D: Distance> Engine for Indexed<D> {
    fn build(&mut self) {
        self.load(self.options());
    }

    fn build_within(&mut self, memory_bytes: u64) {
        self.load(self.options().memory(memory_bytes));
    }

    fn save(&mut self) -> u64 {
        data_bytes(&self.input.task.folder)
    }

    fn open(&mut self) {
        let index = Index::open_read_only(&self.input.task.folder, Options::default());
        self.index = Some(index.expect("an index"));
    }

    fn search(&self, queries: &[f32], ef: usize, threads: usize) -> (Duration, Vec<u32>) {
        answer_all(self.input, queries, threads, |work| {
            let mut searcher = self.searcher();
            work.answer(|query| searcher(query, ef));
        })
    }

    fn filter(&mut self, candidates: &[u32], by: By) {
        let candidates = candidates.iter().copied().collect();
        self.candidates = match by {
            By::Kept => Candidates::Kept(Filter::new(candidates)),
            By::Bitmap => Candidates::Bitmap(candidates),
            By::Scan | By::Predicate | By::Python => panic!("voisin is not asked in this way"),
        };
    }

    fn searcher(&self) -> Searcher<'_> {
        Box::new(|query, ef| {
            let mut by = self.index().search(self.input.task.k);
            match &self.candidates {
                Candidates::All => {}
                Candidates::Kept(filter) => _ = by.candidates(filter),
                Candidates::Bitmap(bitmap) => _ = by.candidates(bitmap),
            }
            let found = by.ef_search(ef).by_vector(query).expect("an answer");
            found.nns.into_iter().map(|(item, _)| item).collect()
        })
    }

    fn update(&mut self, item: u32, vector: &[f32]) {
        self.index().write(|batch| batch.add(item, vector)).expect("a commit");
    }
}
