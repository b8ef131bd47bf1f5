//! Access paths: the ways to answer a query, one file each, with its cost estimate and its search.

mod candidates;
mod filtered;
mod flat;
mod graph;
mod ivf;
mod lsh;

use self::candidates::CandidateList;
pub(crate) use self::flat::Flat;
pub(super) use self::graph::{Estimator, Graph, MIN_ADAPTIVE_BITS, STOP_EXPONENT, glance};
use self::ivf::InvertedLists;
use self::lsh::Lsh;
use super::{AnyView, Search, Strategy};
use crate::error::Result;
use crate::format::meta::Meta;
use crate::top_k::Found;
use crate::types::IndexKind;

/// All access paths; of equal costs, the first is taken.
pub(crate) const PATHS: &[&dyn AccessPath] = &[&Graph, &Flat, &CandidateList, &InvertedLists, &Lsh];

/// An access path.
pub(crate) trait AccessPath: Sync {
    /// The name that answers give it.
    fn strategy(&self) -> Strategy;

    /// The kind of index that it searches.
    fn kind(&self) -> IndexKind;

    /// Whether it is known how much effort of it a recall below 1 takes. Not asked of exact paths.
    fn is_calibrated(&self, _meta: &Meta) -> bool {
        false
    }

    /// Whether builds are to measure what effort a recall takes.
    fn is_calibration_due(&self, _meta: &Meta) -> bool {
        false
    }

    /// Measures that: the part in META of the first kind of values of the kind's section, with what
    /// was found. `None` if it is measured elsewhere, or there is nothing to measure by.
    ///
    /// # Errors
    /// [`Error::Cancelled`](crate::error::Error::Cancelled), and those of looking values up.
    fn calibrate(
        &self,
        _view: AnyView<'_, '_, '_>,
        _cancel: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

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
