//! Access paths: the ways to answer a query, one file each, with its cost estimate and its search.

mod candidates;
mod filtered;
mod flat;
mod graph;

use self::candidates::CandidateList;
pub(crate) use self::flat::Flat;
use self::graph::Graph;
pub(super) use self::graph::{Estimator, MIN_ADAPTIVE_BITS, STOP_EXPONENT};
use super::{Search, Strategy};
use crate::error::Result;
use crate::top_k::Found;

/// All access paths; of equal costs, the first is taken.
pub(crate) const PATHS: [&dyn AccessPath; 3] = [&Graph, &Flat, &CandidateList];

/// An access path.
pub(crate) trait AccessPath: Sync {
    /// The name that answers give it.
    fn strategy(&self) -> Strategy;

    /// The estimated cost of one query for `k` results, which is not 0, on one thread, in
    /// nanoseconds. `None` if this path cannot answer.
    fn cost_ns(&self, search: &Search<'_, '_, '_, '_>, k: usize) -> Option<f64>;

    /// The results of each query, `k` items or all that exist, and the path that found them, which
    /// is another one if this has turned out to cost more.
    ///
    /// # Errors
    /// Those of looking values up.
    fn search(&self, search: &Search<'_, '_, '_, '_>, k: usize) -> Result<Vec<(Strategy, Found)>>;
}
