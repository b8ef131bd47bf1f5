//! The plan: the engines, the amounts of memory, and how long each is measured.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use voisin_bench::compare::plan::Home;

use crate::sets::QUERIES;

/// The recalls at which engines are compared.
pub(crate) const RECALLS: [f64; 3] = [0.90, 0.95, 0.99];
/// The recall of the goals, of the comparison with peers, and of several processes.
pub(crate) const RECALL: f64 = 0.95;
/// The processes that share an index.
pub(crate) const PROCESSES: usize = 4;

/// The memory that a measurement has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Memory {
    /// Without a limit, all files in the page cache before: what can be reached at best.
    All,
    /// This many hundredths of the bytes of the engine's files, which are not in the page cache
    /// before.
    Percent(u64),
}

pub(crate) const MEMORIES: [Memory; 5] = [
    Memory::All,
    Memory::Percent(100),
    Memory::Percent(50),
    Memory::Percent(25),
    Memory::Percent(10),
];

impl Memory {
    pub(crate) fn limit_bytes(self, file_bytes: u64) -> Option<u64> {
        match self {
            Self::All => None,
            Self::Percent(percent) => Some(file_bytes / 100 * percent),
        }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("no limit"),
            Self::Percent(percent) => write!(f, "{percent} %"),
        }
    }
}

/// An engine.
#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    /// Its name among the engines of `compare` and in `peer.py`, if that is another.
    serves: Option<&'static str>,
    pub(crate) home: Home,
    /// What it is, for the page.
    pub(crate) what: &'static str,
    /// The engine's counterpart of `ef_search`.
    pub(crate) knob: &'static str,
    /// Its least value, and the largest that is tried.
    pub(crate) knobs: [usize; 2],
    /// The seconds that a build of a million glosses takes, about.
    pub(crate) build_seconds: f64,
}

impl Spec {
    pub(crate) fn is_voisin(&self) -> bool {
        self.name.starts_with("voisin")
    }

    /// What a process of it is started by.
    pub(crate) fn serves(&self) -> &'static str {
        self.serves.unwrap_or(self.name)
    }
}

const EFS: [usize; 2] = [10, 2560];

/// In the order of the tables.
pub(crate) const ENGINES: &[Spec] = &[
    Spec {
        name: "voisin-4-bit",
        serves: Some("index-4-bit"),
        home: Home::Rust,
        what: "voisin with 4-bit codes",
        knob: "ef_search",
        knobs: EFS,
        build_seconds: 300.0,
    },
    Spec {
        name: "voisin-2-bit",
        serves: Some("index-2-bit"),
        home: Home::Rust,
        what: "voisin with 2-bit codes",
        knob: "ef_search",
        knobs: EFS,
        build_seconds: 300.0,
    },
    Spec {
        name: "voisin-1-bit",
        serves: Some("index-1-bit"),
        home: Home::Rust,
        what: "voisin with 1-bit codes",
        knob: "ef_search",
        knobs: EFS,
        build_seconds: 300.0,
    },
    Spec {
        name: "voisin-7-bit",
        serves: Some("index-7-bit"),
        home: Home::Rust,
        what: "voisin with 7-bit codes",
        knob: "ef_search",
        knobs: EFS,
        build_seconds: 300.0,
    },
    Spec {
        name: "voisin-8-bit",
        serves: Some("index-8-bit"),
        home: Home::Rust,
        what: "voisin with 8-bit codes",
        knob: "ef_search",
        knobs: EFS,
        build_seconds: 300.0,
    },
    Spec {
        name: "voisin",
        serves: Some("index"),
        home: Home::Rust,
        what: "voisin without codes",
        knob: "ef_search",
        knobs: EFS,
        build_seconds: 400.0,
    },
    Spec {
        name: "hannoy",
        serves: None,
        home: Home::Rust,
        what: "an HNSW graph in LMDB",
        knob: "ef_search",
        knobs: EFS,
        build_seconds: 4000.0,
    },
    Spec {
        name: "usearch",
        serves: None,
        home: Home::Rust,
        what: "an HNSW graph in a file that is mapped (`view`)",
        knob: "expansion_search",
        knobs: EFS,
        build_seconds: 800.0,
    },
    Spec {
        name: "faiss-ivf",
        serves: None,
        home: Home::Python,
        what: "`IVFFlat`, its lists in a file that is mapped (`IO_FLAG_MMAP`)",
        knob: "nprobe",
        knobs: [1, 4096],
        build_seconds: 400.0,
    },
    Spec {
        name: "diskann",
        serves: None,
        home: Home::Python,
        what: "`diskannpy-rust`: a Vamana graph on disk (degree 64, beam width 4), \
               product-quantized vectors in memory; up to a tenth of the nodes cached",
        knob: "complexity",
        knobs: EFS,
        build_seconds: 2000.0,
    },
    Spec {
        name: "zvec",
        serves: None,
        home: Home::Python,
        what: "zvec's DiskANN (degree 64, list size 100), product-quantized vectors in memory",
        knob: "list_size",
        knobs: EFS,
        build_seconds: 3000.0,
    },
];

/// The engines that take part unless others are asked for.
pub(crate) const USUAL: &[&str] =
    &["voisin-4-bit", "voisin-2-bit", "hannoy", "usearch", "faiss-ivf", "diskann", "zvec"];

/// Consecutive queries that are measured together, for a time at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stretch {
    pub(crate) first: usize,
    pub(crate) count: usize,
    pub(crate) seconds: f64,
    pub(crate) threads: usize,
}

const fn stretch(first: usize, count: usize, seconds: f64, threads: usize) -> Stretch {
    Stretch { first, count, seconds, threads }
}

/// How much longer than its seconds a stretch, and how long opening may take, until the process is
/// killed: a query that has begun is answered.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) const FIRST: Stretch = stretch(0, 1, 1.0, 1);
/// After the first query: while caches fill. At half the memory that takes 20 000 queries, and
/// 15 000 more until the system has learned which pages to keep.
pub(crate) const WARMING: Stretch = stretch(1, 49_999, 20.0, 1);
/// Then the steady state, on one thread.
pub(crate) const STEADY: Stretch = stretch(50_000, 15_000, 20.0, 1);
/// And on two.
pub(crate) const STEADY_ON_TWO: Stretch = stretch(65_000, 15_000, 15.0, 2);
/// Of each of several processes, which all have queries of their own: while caches fill, and then.
pub(crate) const SHARED_WARMING: Stretch = stretch(0, QUERIES / PROCESSES / 2, 10.0, 1);
pub(crate) const SHARED_STEADY: Stretch =
    stretch(SHARED_WARMING.count, QUERIES / PROCESSES - SHARED_WARMING.count, 15.0, 1);

impl Stretch {
    /// The same, some queries later.
    pub(crate) fn after(self, queries: usize) -> Self {
        Self { first: self.first + queries, ..self }
    }
}

/// The seconds that a measurement takes at most, several processes included or not, beside opening.
pub(crate) fn longest_seconds(is_shared: bool) -> f64 {
    let shared = if is_shared { SHARED_WARMING.seconds + SHARED_STEADY.seconds } else { 0.0 };
    WARMING.seconds + STEADY.seconds + STEADY_ON_TWO.seconds + shared
}
