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
const LIST_NS: f64 = 350.0;
/// A distance of a walk: a fixed part, and bytes of a vector a nanosecond. Vectors are in no cache.
const DISTANCE_NS: f64 = 20.0;
const DISTANCE_BYTES_PER_NS: f64 = 16.0;
/// An estimate of a walk: the same, with bytes of a code.
const ESTIMATE_NS: f64 = 15.0;
const ESTIMATE_BYTES_PER_NS: f64 = 12.0;
/// A vector of a scan of all.
const SCAN_NS: f64 = 4.0;
const SCAN_BYTES_PER_NS: f64 = 16.0;
/// A code of a scan.
const CODE_SCAN_NS: f64 = 10.0;
const CODE_SCAN_BYTES_PER_NS: f64 = 12.0;
/// What a vector or code of a scan of some takes longer for each of its cache lines, as it does not
/// follow the one before; the first lines only, as the processor fetches the others ahead.
const SCATTERED_LINE_NS: f64 = 12.0;
const MAX_SCATTERED_LINES: f64 = 4.0;
const LINE_BYTES: f64 = 64.0;
/// That is saved where one of this many rows before it was scanned, too.
const ROWS_TOGETHER: i32 = 6;
/// The number of distances computed for a node that is expanded: its neighbors that were not
/// visited before.
const FRESH_NEIGHBORS: f64 = 13.0;
/// Resolving one of many ids to its slot.
const RESOLVE_NS: f64 = 5.0;
/// Keeping the pool sorted, for each pair of its members: three insertions a member, each moving
/// half of the pool.
const POOL_NS: f64 = 1.2;
/// A walk predicts its end from this part of the usual cost on, and of that of the exact way: many
/// queries have ended by then.
const TRIAL_FRACTION: f64 = 0.15;
const TRIAL_EXACT_FRACTION: f64 = 0.1;
/// The part of `ef` that a walk usually expands: a hard query expands twice `ef`, most end early.
const USUAL_FRACTION: f64 = 0.7;

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
        Self::among(view, context, context.selection.len())
    }

    /// The same where `rows` items may be results.
    pub(crate) fn among<'t, S: Source<'t>>(
        view: &View<'_, 't, S>,
        context: &SearchContext<'_>,
        rows: usize,
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
        let (row, bytes) = match code.filter(|_| rows >= CODES_MIN_SLOTS) {
            Some(code) => (CODE_SCAN_NS + code / CODE_SCAN_BYTES_PER_NS, code),
            None => (SCAN_NS + stride / SCAN_BYTES_PER_NS, stride),
        };
        let is_alone = (1.0 - rows as f64 / f64::from(meta.items.max(1))).powi(ROWS_TOGETHER);
        let lines = (bytes / LINE_BYTES).ceil().min(MAX_SCATTERED_LINES);
        let scattered_row = row + is_alone * lines * SCATTERED_LINE_NS;
        Self { list: LIST_NS, distance, row, scattered_row }
    }

    /// A walk among nodes that may all be results.
    pub(crate) fn walk(&self, ef: usize) -> f64 {
        let ef = ef as f64;
        ef * (self.list + FRESH_NEIGHBORS * self.distance) + ef * ef * POOL_NS
    }

    /// Resolving as many ids to slots.
    pub(crate) fn resolve(given: u64) -> f64 {
        given as f64 * RESOLVE_NS
    }

    /// The cost from which on a walk predicts its end, where the exact way costs `exact`.
    pub(crate) fn trial(&self, ef: usize, exact: f64) -> f64 {
        (TRIAL_FRACTION * self.walk(ef)).max(TRIAL_EXACT_FRACTION * exact)
    }

    /// The number of possible results that a walk expands.
    pub(crate) fn expansions(ef: usize) -> usize {
        (USUAL_FRACTION * ef as f64) as usize
    }
}
