//! Graph searches with a filter: what they may cost, and where they start.

use crate::error::Result;
use crate::graph::filtered::{Budget, Filter};
use crate::search::costs::Costs;
use crate::search::{Search, SearchContext};
use crate::store::source::Source;
use crate::store::view::View;
use crate::types::Slot;

/// The number of nodes, evenly spread over those that may be results, that a search starts from
/// beside the nearest one that the upper layers find: that one, and all around it, may be no
/// results.
const SEEDS: usize = 16;

/// The share of the nodes around a query that a glance expects to be candidates: it gives up where
/// fewer than a quarter of that are. Among sparser ones it would cost as much as what follows.
const DENSE_RATE: f32 = 1.0;

/// What the searches of a filter share.
pub(super) struct Filtering<'q> {
    pub(super) budget: Budget,
    pub(super) seeds: Vec<u32>,
    /// One bit a slot, if candidates restrict the results.
    bits: Option<&'q [u64]>,
}

impl<'q> Filtering<'q> {
    pub(super) fn new(search: &Search<'q, '_, '_, '_>, k: usize) -> Result<Self> {
        let Search { view, context, .. } = search;
        let (costs, selection) = (search.costs(), &context.selection);
        let ef = context.request.ef_search.max(k);
        let pending = selection.pending().len();
        // Both ways scan pending items.
        let (linked, meta) = (selection.len().saturating_sub(pending), &view.snapshot.meta);
        let exact_ns = match selection.only() {
            Some(_) => linked as f64 * costs.scattered_row,
            None => f64::from(meta.items) * costs.row,
        };
        let is_forced = context.request.exact == Some(false);
        let other_ns = if is_forced { f64::INFINITY } else { exact_ns };
        // A predicate refuses nobody knows how many.
        let refused = match selection.predicate() {
            Some(_) => f64::INFINITY,
            None => (meta.linked() as f64 - linked as f64).max(0.0),
        };
        let through_ns = refused * (costs.list + costs.distance) + costs.walk(ef);
        let budget = Budget {
            list_ns: costs.list as f32,
            distance_ns: costs.distance as f32,
            other_ns: other_ns as f32,
            trial_ns: costs.trial(ef, exact_ns) as f32,
            expansions: Costs::expansions(ef),
            admitted: linked,
            is_through: through_ns < exact_ns,
            is_thorough: context.request.recall.is_some(),
            pass_rate: linked as f32 / meta.linked().max(1) as f32,
        };
        let seeds = selection.sample(view, SEEDS)?;
        Ok(Self { budget, seeds, bits: selection.only().map(|only| only.bits()) })
    }

    /// For a glance among candidates given by so many ids: it starts where the upper layers lead
    /// to alone, is for candidates that are dense there, and knows what it knows before they are
    /// resolved, so that it finds the same whether they are or not.
    pub(super) fn glance(search: &Search<'q, '_, '_, '_>, k: usize, given: u64) -> Self {
        let Search { view, context, .. } = search;
        let (request, meta) = (&context.request, &view.snapshot.meta);
        let rows = given.min(meta.items.into()) as usize;
        let costs = Costs::among(view, context, rows);
        let (ef, exact_ns) = (request.ef_search.max(k), rows as f64 * costs.scattered_row);
        let budget = Budget {
            list_ns: costs.list as f32,
            distance_ns: costs.distance as f32,
            other_ns: (Costs::resolve(given) + exact_ns) as f32,
            trial_ns: costs.trial(ef, exact_ns) as f32,
            expansions: Costs::expansions(ef),
            admitted: usize::MAX,
            is_through: false,
            is_thorough: request.recall.is_some(),
            pass_rate: DENSE_RATE,
        };
        let bits = context.selection.only().map(|only| only.bits());
        Self { budget, seeds: Vec::new(), bits }
    }
}

/// The filter of a search.
pub(super) struct Admission<'a, 'q, 's, 't, S> {
    pub(super) view: &'a View<'s, 't, S>,
    pub(super) context: &'a SearchContext<'q>,
    pub(super) filtering: &'a Filtering<'q>,
}

impl<'t, S: Source<'t>> Filter for Admission<'_, '_, '_, 't, S> {
    #[inline]
    fn admits(&self, slot: Slot) -> Result<bool> {
        let selection = &self.context.selection;
        if let Some(bits) = self.filtering.bits {
            let word = bits.get(slot.index() / 64);
            let is_one = word.is_some_and(|word| *word >> (slot.0 % 64) & 1 == 1);
            return Ok(is_one && !selection.is_own(slot));
        }
        match selection.asked() {
            Some(ids) => Ok(selection.admits(slot) && ids.contains(self.view.item(slot)?)),
            None => Ok(selection.admits(slot)),
        }
    }

    fn ask(&self, slot: Slot) -> Result<bool> {
        self.context.accepts(slot, self.view.item(slot)?)
    }

    fn asks(&self) -> bool {
        self.context.selection.predicate().is_some()
    }

    fn stops(&self) -> bool {
        self.context.stop()
    }
}
