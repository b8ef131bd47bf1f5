//! Access paths: the ways to answer a query, one file each, with its cost estimate and its search.
//! Those of kinds of index are in their folders.

mod candidates;
mod filtered;
mod flat;
mod graph;
pub(crate) mod parameter;

pub(crate) use self::candidates::CandidateList;
pub(crate) use self::flat::Flat;
pub(crate) use self::graph::Graph;
pub(super) use self::graph::{Estimator, MIN_ADAPTIVE_BITS, STOP_EXPONENT, glance};
use self::parameter::Parameter;
use super::{AnyView, Search, Strategy};
use crate::error::Result;
use crate::format::meta::Meta;
use crate::kinds::each_kind;
use crate::top_k::Found;
use crate::types::IndexKind;

macro_rules! paths {
    ($($(#[$about:meta])* $kind:ident $name:literal
        keys $keys:tt section $section:tt snapshot $snapshot:tt
        paths {
            $($(#[$doc:meta])* $path:ident $path_name:literal exact: $exact:literal, by: $by:expr;)*
        }
        efforts $efforts:tt stats $stats:tt invariants $invariants:tt)*
    ) => {
        /// All access paths; of equal costs, the first is taken.
        pub(crate) const PATHS: &[&dyn AccessPath] = &[$($(&$by,)*)*];
    };
}
each_kind!(paths);

/// An access path.
pub(crate) trait AccessPath: Sync {
    /// The name that answers give it.
    fn strategy(&self) -> Strategy;

    /// The kind of index that it searches.
    fn kind(&self) -> IndexKind;

    /// The parameters that only its searches have, by name.
    fn parameters(&self) -> &'static [Parameter] {
        &[]
    }

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
