//! A walk: best-first search of the graph for searches that do not know their `ef`, within a radius
//! or page by page. This file has what these have in common: where a walk starts, what it accepts,
//! and how far it goes on beyond what it looks for.

use super::costs::Costs;
use super::paths::{Estimator, MIN_ADAPTIVE_BITS, STOP_EXPONENT};
use super::request::SearchContext;
use crate::distance::Form;
use crate::error::Result;
use crate::graph::beam::Beam;
use crate::graph::frontier::Frontier;
use crate::store::source::Source;
use crate::store::view::View;
use crate::types::{Layer, Slot};

/// Oversampling by codes of few bits: `ef` grows by this factor over the number of bits, as an
/// error of estimates misplaces more candidates the fewer bits there are.
const CODES_EF_FACTOR: f32 = 1.0;

/// What a node of a walk costs beyond a list and a distance (see `costs`), in nanoseconds: a place
/// among all candidates, of which none is dropped.
const HEAP_NS: f64 = 10.0;

/// The estimated cost of the work of a walk so far, in nanoseconds.
pub(super) fn cost_ns(costs: &Costs, frontier: &Frontier) -> f64 {
    let distances = frontier.distance_count as f64;
    frontier.expansions as f64 * costs.list + distances * (costs.distance + HEAP_NS)
}

/// Starts a walk where a descent from the entry point ends, and at the root of the base layer.
/// `false` if there is no graph.
pub(super) fn start<'t, S: Source<'t>>(
    frontier: &mut Frontier,
    view: &View<'_, 't, S>,
    guide: &impl Estimator,
) -> Result<bool> {
    let meta = &view.snapshot.meta;
    let Some(entry) = meta.entry() else { return Ok(false) };
    let nearest = Beam::with(|[beam]| beam.descend(view, guide, entry, Layer(0)))?;
    frontier.start(view, guide, &[nearest, meta.roots[0]])?;
    Ok(true)
}

/// Whether a node may be a result. Asks the predicate, if there is one: only for what would be one.
#[inline]
pub(super) fn accepts<'t, S: Source<'t>>(
    view: &View<'_, 't, S>,
    context: &SearchContext<'_>,
    slot: Slot,
) -> Result<bool> {
    match context.selection.predicate() {
        Some(_) => Ok(context.selection.admits(slot) && context.accepts(slot, view.item(slot)?)?),
        None => Ok(context.selection.admits(slot)),
    }
}

/// How far a walk goes on beyond the results that it has found: as a search for as many results
/// does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effort {
    /// The number of accepted nodes that a search for few results expands.
    pub(super) ef: usize,
    /// The exponent of early termination (see `paths/graph`), if that is on.
    exponent: Option<f32>,
}

impl Effort {
    pub(super) fn of<'t, S: Source<'t>>(
        view: &View<'_, 't, S>,
        context: &SearchContext<'_>,
    ) -> Self {
        let meta = &view.snapshot.meta;
        let by_codes = context.request.codes && meta.is_coded;
        let more = if by_codes { CODES_EF_FACTOR / f32::from(meta.code_bits.max(1)) } else { 0.0 };
        let ef = context.request.ef_search.max(1);
        let ef = ef.saturating_add((ef as f32 * more) as usize);
        let are_lengths = view.snapshot.metric.form != Form::NegatedProducts;
        let is_vague = by_codes && meta.code_bits < MIN_ADAPTIVE_BITS;
        let is_adaptive = meta.growth > 0.0 && are_lengths && !is_vague;
        Self { ef, exponent: is_adaptive.then_some(STOP_EXPONENT * meta.growth) }
    }

    /// The factor between the distance of the last of `found` results and the one up to which a
    /// search for so many goes on. `None` if distances do not tell.
    pub(super) fn reach(self, found: usize) -> Option<f32> {
        let ratio = (self.ef as f32 / found.max(1) as f32).max(1.0);
        self.exponent.map(|exponent| ratio.powf(exponent))
    }
}
