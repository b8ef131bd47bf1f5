//! What a child is asked, and what it answers: one line of JSON each. `peer.py` speaks the same.
//!
//! The first line to a child is its [`Task`], the first line back a [`Hello`]; then every
//! [`Request`] gets a [`Reply`].

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How vectors are compared. Under cosine all vectors have length 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    Euclidean,
    Cosine,
}

/// What an engine indexes, and how.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Task {
    /// `f32`, little-endian, row by row.
    pub vectors: PathBuf,
    /// As `vectors`.
    pub queries: PathBuf,
    pub rows: usize,
    pub dimensions: usize,
    pub metric: Metric,
    pub m: usize,
    pub m0: usize,
    pub ef_construction: usize,
    /// For voisin alone; `None` for its default.
    pub alpha: Option<f32>,
    pub seed: u64,
    /// Of builds and of exact scans.
    pub threads: usize,
    /// Results of every query.
    pub k: usize,
    /// Where the engine keeps its files.
    pub folder: PathBuf,
}

/// A child is ready.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hello {
    pub version: String,
}

/// What a child is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum Request {
    /// Commits all vectors, and links none.
    Store,
    /// Builds the index of all vectors; commits it durably where the engine knows commits.
    Build,
    /// Brings the index to the disk if it is not there. Replies with the bytes of its files.
    Save,
    /// Opens the index that another process has saved, and answers the first query.
    Open,
    /// Answers all queries in one native call where the engine has one, and writes the ids to
    /// `answers`: `k` `u32` a query, filled up with `u32::MAX`.
    Search { knob: usize, threads: usize, answers: PathBuf },
    /// The same on one thread, in a call a query.
    SearchOneByOne { knob: usize, answers: PathBuf },
    /// The same on one thread, by vectors, though the index has codes. Its time does not count.
    SearchByVectors { knob: usize, answers: PathBuf },
    /// Answers the first `queries` exactly, one by one or in one call.
    Scan { queries: usize, batch: bool, answers: PathBuf },
    /// So many times: adds one item, links it, and makes that durable. Replies with the medians.
    Update { times: usize },
    /// Reads the whole file of the index through its map, on all threads. Replies with its bytes.
    Read,
}

/// What came of a request.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Reply {
    /// The time that the call took, without the protocol.
    pub seconds: f64,
    /// Processor time of all threads.
    #[serde(default)]
    pub cpu_seconds: f64,
    /// See the request.
    #[serde(default)]
    pub bytes: u64,
}
