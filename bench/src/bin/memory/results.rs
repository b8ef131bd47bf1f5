//! The results, as written to `figures.json`.

use serde::{Deserialize, Serialize};
use voisin_bench::compare::machine::Machine;
use voisin_bench::compare::results::Row;

use crate::building::Building;
use crate::disk::Reading;
use crate::model::Model;
use crate::plan::Memory;

/// One run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) command: String,
    pub(crate) machine: Machine,
    pub(crate) disk: Vec<Reading>,
    pub(crate) cells: Vec<Cell>,
    /// What was measured and did not run.
    pub(crate) failed: Vec<Failed>,
    /// Which engine does not reach which recall.
    pub(crate) unreached: Vec<String>,
    pub(crate) model: Option<Model>,
    pub(crate) building: Option<Building>,
    pub(crate) goals: Vec<Row>,
}

/// One engine on one set, at one recall, in one amount of memory.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) set: String,
    pub(crate) engine: String,
    pub(crate) version: String,
    /// The recall that was asked for.
    pub(crate) recall: f64,
    pub(crate) memory: Memory,
    /// The bytes of the engine's files, and of the memory that it had.
    pub(crate) file_bytes: u64,
    pub(crate) limit_bytes: Option<u64>,
    /// The engine's counterpart of `ef_search`.
    pub(crate) knob: usize,
    /// The recall of the judged queries among those that were asked here.
    pub(crate) found_recall: f64,
    pub(crate) start: Start,
    pub(crate) warming: Figures,
    pub(crate) steady: Figures,
    pub(crate) steady_on_two: Figures,
    /// The most memory of the group, page cache included.
    pub(crate) peak_bytes: Option<u64>,
    /// The memory of the process that is its own at the end, what it had before it opened the index
    /// not included.
    pub(crate) own_bytes: u64,
    pub(crate) shared: Option<Shared>,
    /// Why there are no such figures of several processes, if they were measured.
    pub(crate) shared_failure: Option<String>,
    /// The fraction of the processors' time that other programs took.
    pub(crate) others_share: f64,
}

/// A measurement, or why there is none.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Outcome {
    Measured(Box<Cell>),
    Failed(Failed),
}

/// An engine that does not run in so little memory, or not at all.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Failed {
    pub(crate) set: String,
    pub(crate) engine: String,
    pub(crate) recall: f64,
    pub(crate) memory: Memory,
    pub(crate) why: String,
}

/// A cold start.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Start {
    /// Until a query can be asked.
    pub(crate) open_ms: f64,
    pub(crate) open_read_bytes: u64,
    /// The first query, after that.
    pub(crate) first_ms: f64,
    /// From the beginning of opening until as many queries a second are answered as .9 of
    /// those of the steady state; `None` if that took longer than was measured.
    pub(crate) seconds_to_speed: Option<f64>,
}

/// Queries that were answered one after the other on each thread.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) queries: u64,
    pub(crate) threads: usize,
    /// Queries per second, of all threads.
    pub(crate) qps: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    /// A query.
    pub(crate) major_faults: f64,
    pub(crate) pages: f64,
    pub(crate) read_bytes: f64,
}

/// Several processes, each with one thread, that share an index and the memory.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Shared {
    pub(crate) processes: usize,
    /// Of all of them together.
    pub(crate) steady: Figures,
    /// The memory of a process that is its own, of that which has most.
    pub(crate) own_bytes: u64,
}
