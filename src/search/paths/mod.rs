//! Access paths: the ways to an answer, one file each, each with its cost and its search.

mod candidates;
mod flat;
mod graph;

use self::candidates::CandidateList;
pub(crate) use self::flat::Flat;
use self::graph::Graph;
use super::{Search, Strategy};
use crate::error::Result;
use crate::top_k::Found;

/// Bytes of vectors that one thread compares in a nanosecond when they lie one after the other.
const SCAN_BYTES_PER_NS: f64 = 8.0;

/// All access paths: of those that cost the same, the first is taken.
pub(crate) const PATHS: [&dyn AccessPath; 3] = [&Graph, &Flat, &CandidateList];

/// A way to the answer.
pub(crate) trait AccessPath: Sync {
    /// What answers call it.
    fn strategy(&self) -> Strategy;

    /// An estimate of what one query costs on one thread, in nanoseconds, for `k` results, which is
    /// not 0. `None` if there is no answer this way.
    fn cost_ns(&self, search: &Search<'_, '_, '_, '_>, k: usize) -> Option<f64>;

    /// What is found for each query: `k` items, or all that exist.
    ///
    /// # Errors
    /// Those of looking values up.
    fn search(&self, search: &Search<'_, '_, '_, '_>, k: usize) -> Result<Vec<Found>>;
}

/// What it costs to compare one vector in a scan, in nanoseconds.
fn vector_ns(search: &Search<'_, '_, '_, '_>) -> f64 {
    search.view.snapshot.meta.geometry.stride as f64 / SCAN_BYTES_PER_NS
}
