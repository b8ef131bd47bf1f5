//! The results, as written to `figures.json`.

use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::protocol::Metric;
use crate::curve::{Point, qps_at};
use crate::report::median;

/// One run, with the results of each set.
#[derive(Debug, Serialize, Deserialize)]
pub struct Run<S = SetResults> {
    pub command: String,
    pub machine: Machine,
    /// The fraction of the processors' time that other programs took: a few hundredths on an
    /// otherwise idle machine.
    pub others_share: f64,
    pub sets: Vec<S>,
    pub goals: Vec<Row>,
}

/// All engines on one set of vectors.
#[derive(Debug, Serialize, Deserialize)]
pub struct SetResults {
    pub name: String,
    pub short: String,
    pub rows: usize,
    pub dimensions: usize,
    pub metric: Metric,
    pub engines: Vec<EngineResults>,
    /// The rate at which voisin's file can be read through its map, in bytes per second.
    pub read_rate: Option<f64>,
    /// The peak anonymous memory of a voisin build whose vectors had been committed before.
    pub linking_anonymous_bytes: Option<f64>,
}

/// One engine on one set of vectors.
#[derive(Debug, Serialize, Deserialize)]
pub struct EngineResults {
    pub name: String,
    pub version: String,
    pub knob: String,
    pub build_seconds: f64,
    /// The time to save the finished index to disk, if the build does not.
    pub save_seconds: f64,
    /// The peak anonymous memory of the build, beyond that of the process before it.
    pub build_anonymous_bytes: f64,
    /// The bytes given to the system to write, by building and saving.
    pub written_bytes: f64,
    pub disk_bytes: f64,
    /// From opening to the first answer, file in the page cache; the best of several new processes.
    pub open_seconds: f64,
    pub update: Option<Update>,
    /// One for each number of threads.
    pub curves: Vec<Curve>,
    /// The first curve again, with a call for each query, of an engine that also has a call for
    /// all.
    #[serde(default)]
    pub one_by_one: Vec<Point>,
    /// The seconds of further builds, alternating with those of another engine that differs in one
    /// respect.
    #[serde(default)]
    pub rebuild_seconds: Vec<f64>,
    /// The recall of the same settings by vectors, on one thread, if the index has codes.
    #[serde(default)]
    pub recalls_by_vectors: Vec<f64>,
    pub scan: Option<Scan>,
}

/// One item added, linked and durable.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Update {
    pub seconds: f64,
    pub cpu_seconds: f64,
    pub written_bytes: f64,
}

/// Searches with one number of threads.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Curve {
    pub threads: usize,
    pub points: Vec<Point>,
}

/// Exact answers, in queries per second.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Scan {
    pub one_by_one_qps: f64,
    pub batch_qps: f64,
    /// The lower recall of both.
    pub recall: f64,
}

impl SetResults {
    pub fn engine(&self, name: &str) -> Option<&EngineResults> {
        self.engines.iter().find(|engine| engine.name == name)
    }

    pub fn raw_bytes(&self) -> f64 {
        4.0 * self.rows as f64 * self.dimensions as f64
    }
}

impl EngineResults {
    pub fn curve(&self, threads: usize) -> Option<&[Point]> {
        self.curves.iter().find(|curve| curve.threads == threads).map(|curve| &*curve.points)
    }

    /// The median of all builds, in seconds.
    pub fn median_build_seconds(&self) -> f64 {
        median([&[self.build_seconds], &*self.rebuild_seconds].concat())
    }

    /// Queries per second at a recall.
    pub fn qps(&self, threads: usize, recall: f64) -> Option<f64> {
        qps_at(self.curve(threads)?, recall)
    }
}

/// A figure and its goal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    pub set: String,
    pub what: String,
    /// `None` if it could not be measured.
    pub found: Option<f64>,
    pub goal: f64,
    /// Whether the figure must be at least the goal, or at most.
    pub at_least: bool,
    pub unit: String,
}

impl Row {
    pub fn is_met(&self) -> bool {
        self.found.is_some_and(
            |found| if self.at_least { found >= self.goal } else { found <= self.goal },
        )
    }
}
