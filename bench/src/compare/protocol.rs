//! The protocol between parent and child: one line of JSON for each message. `peer.py` implements
//! the same.
//!
//! The first line to a child is its [`Task`], the first line back a [`Hello`]; then every
//! [`Request`] gets a [`Reply`].

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The metric. Under cosine all vectors have length 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    Euclidean,
    Cosine,
}

/// The task of an engine: its data and parameters.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Task {
    /// `f32`, little-endian, row by row: at least `rows` rows.
    pub vectors: PathBuf,
    /// As `vectors`.
    pub queries: PathBuf,
    pub rows: usize,
    pub dimensions: usize,
    pub metric: Metric,
    pub m: usize,
    pub m0: usize,
    pub ef_construction: usize,
    /// For voisin only; `None` for its default.
    pub alpha: Option<f32>,
    pub seed: u64,
    /// The threads of builds and of exact scans.
    pub threads: usize,
    /// The results a query.
    pub k: usize,
    /// The folder for the engine's files.
    pub folder: PathBuf,
}

/// A child is ready.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hello {
    pub version: String,
}

/// How candidates are given to an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// A set that is prepared once for all queries.
    Kept,
    /// A bitmap, which each query gets as if it was new.
    Bitmap,
    /// As `Bitmap`, with the order to scan the candidates.
    Scan,
    /// A compiled function that looks an id up in an array of one byte an item.
    Predicate,
    /// The same function in Python.
    Python,
}

/// A request to a child.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum Request {
    /// Commits all vectors, and links none.
    Store,
    /// Builds the index of all vectors; commits it durably if the engine has commits.
    Build,
    /// As `Build`, in little memory: what the engine has of its own and what it needs of its files
    /// must fit into `memory_bytes`. Continues a build that was killed.
    BuildWithin { memory_bytes: u64 },
    /// Saves the index to disk if it is not there yet. Replies with the bytes of its files.
    Save,
    /// Opens the index that another process has saved, and answers the first query.
    Open,
    /// Answers all queries in one native call if the engine has one, and writes the ids to
    /// `answers`: `k` `u32` a query, padded with `u32::MAX`.
    Search { knob: usize, threads: usize, answers: PathBuf },
    /// The same on one thread, with one call a query.
    SearchOneByOne { knob: usize, answers: PathBuf },
    /// The same on one thread, by vectors, though the index has codes. Its time does not count.
    SearchByVectors { knob: usize, answers: PathBuf },
    /// Answers the first `queries` exactly, one by one or in one call.
    Scan { queries: usize, batch: bool, answers: PathBuf },
    /// `times` times: adds one item, links it, and makes that durable. Replies with the medians.
    Update { times: usize },
    /// Reads the whole file of the index through its map, on all threads. Replies with its bytes.
    Read,
    /// Opens the index that another process has saved, for searches with `memory_bytes` of memory;
    /// `None` if that has no limit. The time is that until a query can be asked.
    Ready { memory_bytes: Option<u64> },
    /// From now on, `Each` is answered with candidates only: the ids in this file, `u32`, in
    /// ascending order.
    Filter { candidates: PathBuf, by: By },
    /// Answers `count` queries from number `first` on, each in a call of its own, on `threads`
    /// threads, until all are answered or `seconds` are over. Writes the ids to `answers`, as
    /// `Search` does, and to `times` two `u64` a query: when its call began, in nanoseconds since
    /// the first did, and the nanoseconds that it took, 0 if it was not asked. Replies with the
    /// number of queries that were asked, as `bytes`.
    Each {
        first: usize,
        count: usize,
        seconds: f64,
        knob: usize,
        threads: usize,
        answers: PathBuf,
        times: PathBuf,
    },
}

/// The result of a request.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Reply {
    /// The time of the call, without the protocol.
    pub seconds: f64,
    /// Processor time of all threads.
    #[serde(default)]
    pub cpu_seconds: f64,
    /// See the request.
    #[serde(default)]
    pub bytes: u64,
}
