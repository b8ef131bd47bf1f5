//! The plan: which engine takes part in what, and the parameters that are equal for all.

use super::protocol::{Metric, Task};
use super::vectors::Vectors;

pub const M: usize = 16;
pub const M0: usize = 32;
pub const EF_CONSTRUCTION: usize = 200;
pub const SEED: u64 = 42;
/// The threads of builds, exact scans, and of the second curve of each engine.
pub const THREADS: usize = 2;
pub const K: usize = 10;
/// The recalls at which queries per second are stated.
pub const RECALLS: [f64; 2] = [0.95, 0.99];
/// A curve ends with the first point above this recall.
pub const ENOUGH: f64 = 0.996;
/// The number of queries of an exact scan, one by one or in one batch.
pub const SCANS: usize = 64;
/// The number of consecutive passes over all queries in an engine's turn: the first finds the
/// caches full of another engine's data.
pub const PASSES: usize = 2;
/// Rounds of searches: every point is the best of them.
pub const ROUNDS: usize = 3;
/// Rounds of exact scans: they are short.
pub const SCAN_ROUNDS: usize = 5;
/// The number of further builds of voisin, alternately without codes and with those that
/// [`Codes::fast`](voisin::Codes::fast) chooses: two single builds, minutes apart, say more about
/// the machine than about either.
pub const REBUILDS: usize = 2;
/// The number of new processes that open an index.
pub const OPENINGS: usize = 3;

/// How an engine is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// This program, as a child.
    Rust,
    /// `peer.py`.
    Python,
}

/// The capabilities of an engine.
#[derive(Debug)]
pub struct Spec {
    pub name: &'static str,
    pub home: Home,
    /// The engine's counterpart of `ef_search`.
    pub knob: &'static str,
    /// Its values, from the fastest search to the best; none if the engine only answers exactly.
    pub knobs: &'static [usize],
    /// Whether it is asked for exact answers.
    pub scans: bool,
    /// How often one item is added to measure an update: seldom if that writes the whole file,
    /// never if it is not possible.
    pub updates: usize,
    /// Whether it is also compared at a million vectors: the others need hours, or search more
    /// slowly than a scan.
    pub at_a_million: bool,
}

impl Spec {
    /// Whether it is measured both with one call for all queries and with a call for each.
    pub fn is_asked_both_ways(&self) -> bool {
        self.name.starts_with("voisin")
    }

    /// Whether its index has codes.
    pub fn has_codes(&self) -> bool {
        self.name.ends_with("-bit")
    }
}

const EFS: &[usize] = &[14, 20, 28, 40, 56, 80, 112, 160, 224, 320, 448];
/// Fewer values, for an engine that takes seconds for each.
const SOME_EFS: &[usize] = &[20, 40, 80, 160, 320];
const SEARCH_KS: &[usize] = &[400, 1600, 6400, 25_600];

/// In the order of the tables; voisin is the first.
pub const ENGINES: &[Spec] = &[
    Spec {
        name: "voisin",
        home: Home::Rust,
        knob: "ef_search",
        knobs: EFS,
        scans: true,
        updates: 100,
        at_a_million: true,
    },
    Spec {
        name: "voisin-8-bit",
        home: Home::Rust,
        knob: "ef_search",
        knobs: EFS,
        scans: true,
        updates: 100,
        at_a_million: true,
    },
    Spec {
        name: "voisin-7-bit",
        home: Home::Rust,
        knob: "ef_search",
        knobs: EFS,
        scans: true,
        updates: 100,
        at_a_million: true,
    },
    Spec {
        name: "voisin-4-bit",
        home: Home::Rust,
        knob: "ef_search",
        knobs: EFS,
        scans: true,
        updates: 100,
        at_a_million: true,
    },
    Spec {
        name: "hnswlib",
        home: Home::Python,
        knob: "ef",
        knobs: EFS,
        scans: false,
        updates: 3,
        at_a_million: true,
    },
    Spec {
        name: "faiss-hnsw",
        home: Home::Python,
        knob: "efSearch",
        knobs: EFS,
        scans: false,
        updates: 3,
        at_a_million: true,
    },
    Spec {
        name: "usearch",
        home: Home::Rust,
        knob: "expansion_search",
        knobs: EFS,
        scans: false,
        updates: 3,
        at_a_million: true,
    },
    Spec {
        name: "symqg",
        home: Home::Python,
        knob: "ef",
        knobs: EFS,
        scans: false,
        updates: 0,
        at_a_million: true,
    },
    Spec {
        name: "hannoy",
        home: Home::Rust,
        knob: "ef_search",
        knobs: SOME_EFS,
        scans: false,
        updates: 5,
        at_a_million: false,
    },
    Spec {
        name: "arroy",
        home: Home::Rust,
        knob: "search_k",
        knobs: SEARCH_KS,
        scans: false,
        updates: 3,
        at_a_million: false,
    },
    Spec {
        name: "faiss-flat",
        home: Home::Python,
        knob: "none",
        knobs: &[],
        scans: true,
        updates: 3,
        at_a_million: true,
    },
    Spec {
        name: "nseekfs",
        home: Home::Python,
        knob: "none",
        knobs: &[],
        scans: true,
        updates: 0,
        at_a_million: true,
    },
];

/// The extent of a run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// `quick` or `full`.
    pub mode: &'static str,
    /// The sets that belong to the mode.
    pub all: &'static [&'static str],
    /// For development: only this many vectors of each set, only these engines, only these sets, or
    /// another graph.
    pub rows: Option<usize>,
    pub engines: Option<Vec<String>>,
    pub sets: Option<Vec<String>>,
    /// `alpha` of voisin's builds; `None` for its default.
    pub alpha: Option<f32>,
}

impl Plan {
    /// Whether this is the full run of the goals and the committed results.
    pub fn is_whole(&self) -> bool {
        self.rows.is_none() && self.engines.is_none() && self.sets.is_none() && self.alpha.is_none()
    }

    /// Whether a set takes part.
    pub fn has(&self, set: &str) -> bool {
        self.all.contains(&set)
            && self.sets.as_ref().is_none_or(|sets| sets.iter().any(|name| name == set))
    }

    /// The engines that take part with `rows` vectors.
    pub fn specs(&self, rows: usize) -> impl Iterator<Item = &'static Spec> {
        let chosen = |spec: &&Spec| {
            self.engines.as_ref().is_none_or(|engines| engines.iter().any(|name| name == spec.name))
        };
        ENGINES.iter().filter(chosen).filter(move |spec| rows < 1_000_000 || spec.at_a_million)
    }
}

/// The task of every engine. The caller must set its folder.
pub fn task(plan: &Plan, vectors: &Vectors) -> Task {
    Task {
        vectors: vectors.base_file(),
        queries: vectors.query_file(),
        rows: vectors.rows(),
        dimensions: vectors.dimensions,
        metric: vectors.metric,
        m: M,
        m0: M0,
        ef_construction: EF_CONSTRUCTION,
        alpha: plan.alpha,
        seed: SEED,
        threads: THREADS,
        k: K,
        folder: vectors.folder.clone(),
    }
}

/// The name of a metric in texts.
pub fn metric_name(metric: Metric) -> &'static str {
    match metric {
        Metric::Euclidean => "Euclidean",
        Metric::Cosine => "cosine",
    }
}
