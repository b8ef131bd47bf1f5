//! The glance: a first walk of the graph among candidates that are given by their ids.
//!
//! To resolve a bitmap of many ids takes longer than to search the graph, where the candidates lie
//! dense around the query. So a search begins with a walk that asks the bitmap for the id of each
//! node that it meets, and resolves it only if that walk gives up, as its candidates are elsewhere
//! or few, or finds fewer than `k`.
//!
//! Candidates that are resolved already, for a batch or by a [`Filter`](crate::Filter) that is
//! kept, are searched in the same two steps, so that one query has one answer however they are
//! given: a glance decides by the number of ids that were given, and a sample of them, never by
//! what they were resolved to. (Only [`possible`](Searched::possible) tells the difference, where
//! the index lacks some.)

use super::costs::Costs;
use super::paths::{AccessPath, PATHS, glance};
use super::request::{Request, SearchContext};
use super::{AnyView, Search, Searched, Strategy};
use crate::error::Result;
use crate::store::prepared_query::PreparedQuery;
use crate::store::source::Source;
use crate::top_k::Found;
use crate::types::Slot;

/// A glance pays from this part of the cost of a usual walk on that resolving the ids would cost.
const MIN_WALK_FRACTION: f64 = 0.2;
/// More pending items than one for this many ids would have to be asked for their ids, too.
const IDS_PER_PENDING: usize = 8;

/// What each query has found at a glance, and whether that is its answer.
pub(super) type Glanced = Option<Vec<(Found, bool)>>;

/// The answer to one query, whose candidates are resolved only if a glance does not find it.
pub(super) fn one<'v, 's, 't>(
    view: &AnyView<'v, 's, 't>,
    request: Request<'_>,
    query: PreparedQuery<'_, 's, 't, &'v (dyn Source<'t> + 'v)>,
    own: Option<Slot>,
) -> Result<Searched> {
    // The time of both steps begins to run here.
    let request = request.started();
    let queries = [query];
    let mut glanced = None;
    // A cold index is not asked for the id of each node.
    let context = match view.cold() {
        None => SearchContext::unresolved(view, request, own)?,
        Some(_) => None,
    };
    if let Some(context) = context {
        let search = Search { view, queries: &queries, context: &context };
        glanced = search.glance()?;
        if glanced.as_ref().is_some_and(|glanced| glanced.iter().all(|(_, is_answer)| *is_answer)) {
            // One query has one answer.
            return Ok(search.run_after(glanced)?.swap_remove(0));
        }
    }
    let context = SearchContext::new(view, request, own)?;
    let search = Search { view, queries: &queries, context: &context };
    let mut found = match glanced {
        None => search.run()?,
        glanced => search.run_after(glanced)?,
    };
    Ok(found.swap_remove(0))
}

impl Search<'_, '_, '_, '_> {
    /// Glances at the graph for each query. `None` where that does not pay.
    pub(super) fn glance(&self) -> Result<Glanced> {
        let Some(given) = self.context.selection.given() else { return Ok(None) };
        let k = self.context.request.k;
        if self.glances(k, given) { glance(self, k, given).map(Some) } else { Ok(None) }
    }

    fn glances(&self, k: usize, given: u64) -> bool {
        let Self { view, context, .. } = self;
        let (request, meta) = (&context.request, &view.snapshot.meta);
        let rows = given.min(meta.items.into()) as usize;
        let is_asked_for = |path: &&dyn AccessPath| {
            path.strategy() == Strategy::Graph
                && request.asks_for(path.kind())
                && (request.recall.is_none() || path.is_calibrated(meta))
        };
        request.exact != Some(true)
            && request.within.is_none()
            && !request.counts
            && context.overlay.is_none()
            && meta.linked() > 0
            && (1..=rows).contains(&k)
            && view.snapshot.pending.len() * IDS_PER_PENDING <= rows
            && PATHS.iter().any(is_asked_for)
            && Costs::resolve(given)
                > MIN_WALK_FRACTION
                    * Costs::among(view, context, rows).walk(request.ef_search.max(k))
    }

    /// Returns an answer for each query: what a glance has found, or what is found now.
    pub(super) fn run_after(&self, glanced: Glanced) -> Result<Vec<Searched>> {
        let answers = match glanced {
            None => self.planned()?,
            Some(glanced) => self.planned_but(glanced)?,
        };
        let queries = self.queries.iter().zip(answers);
        queries.map(|(query, (strategy, found))| self.answer(query, found, strategy)).collect()
    }

    /// Returns an answer for each query: those that a glance has not found are searched now.
    fn planned_but(&self, glanced: Vec<(Found, bool)>) -> Result<Vec<(Strategy, Found)>> {
        let left = self.queries.iter().zip(&glanced).filter(|(_, (_, is_answer))| !is_answer);
        let left: Vec<_> = left.map(|(query, _)| query.on(self.view)).collect();
        let mut planned = match &left[..] {
            [] => Vec::new().into_iter(),
            left => Search { queries: left, ..*self }.planned()?.into_iter(),
        };
        let answer = |(glanced, is_answer)| match is_answer {
            true => Some((Strategy::Graph, glanced)),
            false => planned.next().map(|(strategy, mut found): (_, Found)| {
                found.add_cost_of(&glanced);
                (strategy, found)
            }),
        };
        Ok(glanced.into_iter().filter_map(answer).collect())
    }
}
