//! The costs that the planner weighs, and that a walk of the graph counts: see decision 0048, which
//! has the measurements.
//!
//! They are nanoseconds of one machine, and only their ratios matter. They depend on the index and
//! the request, never on the machine that searches or on how long anything took, so that one
//! request has one answer everywhere.

use super::SearchContext;
use crate::flat::CODES_MIN_SLOTS;
use crate::store::source::Source;
use crate::store::view::View;

/// Reading a neighbor list, and looking its nodes up in the visited set and the filter.
const LIST_NS: f64 = 150.0;
/// A distance of a walk: a fixed part, and bytes of a vector a nanosecond. Vectors are in no cache.
const DISTANCE_NS: f64 = 20.0;
const DISTANCE_BYTES_PER_NS: f64 = 8.0;
/// An estimate of a walk: the same, with bytes of a code.
const ESTIMATE_NS: f64 = 8.0;
const ESTIMATE_BYTES_PER_NS: f64 = 24.0;
/// A vector of a scan of all.
const SCAN_NS: f64 = 4.0;
const SCAN_BYTES_PER_NS: f64 = 8.0;
/// A code of a scan.
const CODE_SCAN_NS: f64 = 6.0;
const CODE_SCAN_BYTES_PER_NS: f64 = 24.0;
/// What a vector of a scan of some takes longer, as it does not follow the one before.
const SCATTERED_NS: f64 = 10.0;
/// The number of distances computed for a node that is expanded: its neighbors that were not
/// visited before.
const FRESH_NEIGHBORS: f64 = 13.0;
/// Keeping the pool sorted, for each pair of its members: three insertions a member, each moving
/// half of the pool.
const POOL_NS: f64 = 1.2;
/// A walk predicts its end from this part of the usual cost on.
const TRIAL_FRACTION: f64 = 0.25;

/// The costs of a search, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Costs {
    /// A list and a distance (or an estimate) of a walk.
    pub(crate) list: f64,
    pub(crate) distance: f64,
    /// A vector of a scan of all, and of a scan of some.
    pub(crate) row: f64,
    pub(crate) scattered_row: f64,
}

impl Costs {
    pub(crate) fn of<'t, S: Source<'t>>(
        view: &View<'_, 't, S>,
        context: &SearchContext<'_>,
    ) -> Self {
        let meta = &view.snapshot.meta;
        let stride = meta.geometry.stride as f64;
        let code = meta
            .code_geometry()
            .filter(|_| context.request.codes && meta.is_coded)
            .map(|geometry| geometry.stride as f64);
        let distance = match code {
            Some(code) => ESTIMATE_NS + code / ESTIMATE_BYTES_PER_NS,
            None => DISTANCE_NS + stride / DISTANCE_BYTES_PER_NS,
        };
        let row = match code.filter(|_| context.selection.len() >= CODES_MIN_SLOTS) {
            Some(code) => CODE_SCAN_NS + code / CODE_SCAN_BYTES_PER_NS,
            None => SCAN_NS + stride / SCAN_BYTES_PER_NS,
        };
        Self { list: LIST_NS, distance, row, scattered_row: row + SCATTERED_NS }
    }

    /// A walk among nodes that may all be results.
    pub(crate) fn walk(&self, ef: usize) -> f64 {
        let ef = ef as f64;
        ef * (self.list + FRESH_NEIGHBORS * self.distance) + ef * ef * POOL_NS
    }

    /// The part of a walk after which it predicts its end.
    pub(crate) fn trial(&self, ef: usize) -> f64 {
        TRIAL_FRACTION * self.walk(ef)
    }
}
