//! usearch: an HNSW graph in memory, saved as one file.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use rayon::prelude::*;
use usearch::{Index, IndexOptions, MetricKind, ScalarKind};

use crate::compare::engine::{Engine, Input, Searcher, answer_all};
use crate::compare::protocol::{By, Metric};

/// Capacity for items that are added later.
const SPARE: usize = 1000;

pub(super) struct Usearch {
    input: &'static Input,
    index: Index,
    /// Which items are candidates; `None` if all are.
    candidates: Option<Vec<bool>>,
}

impl Usearch {
    pub(super) fn new(input: &'static Input) -> Self {
        let task = &input.task;
        assert_eq!(
            task.m0,
            2 * task.m,
            "usearch always gives the base layer twice as many neighbors"
        );
        let options = IndexOptions {
            dimensions: task.dimensions,
            metric: match task.metric {
                Metric::Euclidean => MetricKind::L2sq,
                Metric::Cosine => MetricKind::Cos,
            },
            quantization: ScalarKind::F32,
            connectivity: task.m,
            expansion_add: task.ef_construction,
            expansion_search: 64,
            multi: false,
        };
        let index = Index::new(&options).expect("an index");
        Self { input, index, candidates: None }
    }

    fn path(&self) -> PathBuf {
        self.input.task.folder.join("usearch.index")
    }
}

impl Engine for Usearch {
    fn build(&mut self) {
        let task = &self.input.task;
        self.index.reserve_capacity_and_threads(task.rows + SPARE, task.threads).expect("memory");
        let rows = self.input.vectors().par_chunks_exact(task.dimensions).enumerate();
        rows.for_each(|(id, row)| self.index.add(id as u64, row).expect("a valid item"));
    }

    fn save(&mut self) -> u64 {
        let path = self.path();
        self.index.save(path.to_str().expect("a path")).expect("to save");
        File::open(&path).and_then(|file| file.sync_all()).expect("to sync");
        fs::metadata(path).expect("a file").len()
    }

    fn open(&mut self) {
        self.index.load(self.path().to_str().expect("a path")).expect("to load");
    }

    fn search(&self, queries: &[f32], ef: usize, threads: usize) -> (Duration, Vec<u32>) {
        self.index.change_expansion_search(ef);
        answer_all(self.input, queries, threads, |work| {
            work.answer(|query| {
                self.index
                    .search(query, self.input.task.k)
                    .expect("an answer")
                    .keys
                    .into_iter()
                    .map(|id| id as u32)
            });
        })
    }

    fn update(&mut self, item: u32, vector: &[f32]) {
        self.index.add(item.into(), vector).expect("a valid item");
        self.save();
    }

    /// Maps the file, which stays on disk.
    fn ready(&mut self, _memory_bytes: Option<u64>) {
        self.index.view(self.path().to_str().expect("a path")).expect("to map");
    }

    fn filter(&mut self, candidates: &[u32], by: By) {
        assert_eq!(by, By::Predicate, "usearch takes a predicate");
        let mut are = vec![false; self.input.task.rows];
        candidates.iter().for_each(|id| are[*id as usize] = true);
        self.candidates = Some(are);
    }

    fn searcher(&self) -> Searcher<'_> {
        let k = self.input.task.k;
        Box::new(move |query, ef| {
            self.index.change_expansion_search(ef);
            let found = match &self.candidates {
                None => self.index.search(query, k),
                Some(are) => self.index.filtered_search(query, k, |id| are[id as usize]),
            };
            let found = found.expect("an answer");
            found.keys.into_iter().map(|id| id as u32).collect()
        })
    }
}
