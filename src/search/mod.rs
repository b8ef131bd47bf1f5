//! One search: its request, the access path that answers it, and the answer.
//!
//! There are three access paths, each in a file of its own in `paths/`, with its cost estimate.
//! **Graph** is a beam search of the graph, plus a scan of the pending items. **All**, exact search
//! (brute force), scans all live vectors, where that is requested or costs less than the graph
//! search. **Candidates** scans only the candidates (prefilter), where they are so few, or so far
//! from the query, that reaching them through the graph would cost more. Every path returns `k`
//! results, or all that exist.
//!
//! `selection` resolves the filter of a request to slots of the snapshot (`slot_set`), once a
//! search. `costs` has the cost model: the planner takes the path that is the cheapest if the graph
//! search meets nothing but possible results, and a graph search that meets others, and is going to
//! cost more than the exact way, changes over to that.

mod beside;
mod costs;
pub(crate) mod count;
mod deadline;
pub(crate) mod effort;
pub(crate) mod explain;
mod glance;
pub(crate) mod pages;
pub(crate) mod parameters;
pub(crate) mod paths;
mod range;
pub(crate) mod recall;
pub(crate) mod request;
mod sample;
mod searched;
mod selection;
pub(crate) mod several;
mod slot_set;
mod walk;

pub(crate) use self::beside::Beside;
use self::costs::Costs;
pub use self::deadline::Deadline;
pub(crate) use self::deadline::Due;
use self::paths::{AccessPath, PATHS};
pub(crate) use self::request::{Request, SearchContext};
pub use self::searched::{Certificate, Searched, Strategy};
pub(crate) use self::selection::{Items, Predicate, Restrictions, Settled};
pub(crate) use self::slot_set::SlotSet;
use crate::codec::Components;
use crate::distance::Metric;
use crate::error::{Error, Result};
use crate::flat::{Slots, scan};
use crate::store::prepared_query::PreparedQuery;
use crate::store::readahead::residency::{Residency, Temperature};
use crate::store::readahead::warmth::{advance, is_warm};
use crate::store::snapshot::Snapshot;
use crate::store::source::Source;
use crate::store::view::View;
use crate::top_k::{Found, Refine};
use crate::types::{IndexKind, ItemId};

/// A view over any source, so that searches are compiled once.
pub(crate) type AnyView<'v, 's, 't> = View<'s, 't, &'v (dyn Source<'t> + 'v)>;

/// Returns the items nearest to a vector.
pub(crate) fn by_vector<'t, S: Source<'t>>(
    view: &View<'_, 't, S>,
    request: Request<'_>,
    vector: Components<'_>,
) -> Result<Searched> {
    search_vector(view.on_any_source(), request, vector)
}

/// Runs a search, under a metric that is known, on a view that reads ahead what it needs, if the
/// index is cold.
fn begin<'v, 's, 't, T>(
    view: AnyView<'v, 's, 't>,
    request: &Request<'_>,
    search: impl FnOnce(&AnyView<'v, 's, 't>) -> Result<T>,
) -> Result<T> {
    Error::unless_known(view.snapshot.metric, view.snapshot.index)?;
    let view = match request.metric {
        Some(metric) => view.by_metric(comparable(&view, metric)?),
        None => view,
    };
    let temperature = view.snapshot.temperature();
    let view = match &temperature {
        Temperature::Cold(residency) => match is_warm(&view, residency) {
            true => view,
            false => view.with_cold(Some(residency)),
        },
        _ => view,
    };
    let used = view.cold().map(Residency::remember_used);
    let found = search(&view);
    drop(used);
    match temperature {
        Temperature::Warm => {}
        Temperature::Watched(watch) => watch.end(),
        Temperature::Cold(_) => view.cold().into_iter().for_each(|cold| advance(&view, cold)),
    }
    found
}

/// A metric, over the element type of an index.
///
/// # Errors
/// [`Error::QueryMetric`] if there is none.
fn comparable(view: &AnyView<'_, '_, '_>, metric: &'static Metric) -> Result<&'static Metric> {
    let stored = view.snapshot.metric;
    let same = if metric.codec == stored.codec { Some(metric) } else { None };
    same.or_else(|| Metric::built_in(metric.name(), stored.codec)).ok_or_else(|| {
        let all = Metric::all_built_in().filter(|metric| metric.codec == stored.codec);
        Error::QueryMetric {
            requested: metric.name(),
            form: stored.codec_name,
            can: all.map(Metric::name).collect::<Vec<_>>().join(", "),
        }
    })
}

fn search_vector(
    view: AnyView<'_, '_, '_>,
    request: Request<'_>,
    vector: Components<'_>,
) -> Result<Searched> {
    begin(view, &request, |view| {
        let query = view.query(vector)?;
        glance::one(view, request, query, None)
    })
}

/// Returns the items nearest to each of many vectors, which lie one after the other.
pub(crate) fn by_vectors<'t, S: Source<'t>>(
    view: &View<'_, 't, S>,
    request: Request<'_>,
    rows: Components<'_>,
) -> Result<Vec<Searched>> {
    search_vectors(view.on_any_source(), request, rows)
}

fn search_vectors(
    view: AnyView<'_, '_, '_>,
    request: Request<'_>,
    rows: Components<'_>,
) -> Result<Vec<Searched>> {
    begin(view, &request, |view| {
        let dimensions = view.snapshot.meta.dimensions as usize;
        if !rows.len().is_multiple_of(dimensions) {
            return Err(Error::UnevenRows { components: rows.len(), dimensions });
        }
        let query = |(row, vector)| {
            view.query(vector).map_err(|error| match error {
                Error::InvalidQuery { defect } => Error::InvalidRow { row, defect },
                error => error,
            })
        };
        let queries = rows.rows(dimensions).enumerate().map(query).collect::<Result<Vec<_>>>()?;
        let context = SearchContext::new(view, request, None)?;
        Search { view, queries: &queries, context: &context }.run()
    })
}

/// Returns the items nearest to a stored item, without that item.
pub(crate) fn by_item<'t, S: Source<'t>>(
    view: &View<'_, 't, S>,
    request: Request<'_>,
    item: ItemId,
) -> Result<Option<Searched>> {
    search_item(view.on_any_source(), request, item)
}

fn search_item(
    view: AnyView<'_, '_, '_>,
    request: Request<'_>,
    item: ItemId,
) -> Result<Option<Searched>> {
    begin(view, &request, |view| {
        let Some(slot) = view.slot(item)? else { return Ok(None) };
        let query = view.query_of(slot)?;
        glance::one(view, request, query, Some(slot)).map(Some)
    })
}

/// The queries of a search.
pub(crate) struct Search<'q, 'v, 's, 't> {
    pub(crate) view: &'q AnyView<'v, 's, 't>,
    pub(crate) queries: &'q [PreparedQuery<'q, 's, 't, &'v (dyn Source<'t> + 'v)>],
    pub(crate) context: &'q SearchContext<'q>,
}

impl Search<'_, '_, '_, '_> {
    /// Returns an answer for each query.
    pub(crate) fn run(&self) -> Result<Vec<Searched>> {
        if let Some(radius) = self.context.request.within {
            return self.within(radius);
        }
        let glanced = self.glance()?;
        self.run_after(glanced)
    }

    /// Returns an answer for each query by the access path that the planner chooses.
    fn planned(&self) -> Result<Vec<(Strategy, Found)>> {
        let k = self.context.request.k.min(self.context.selection.len());
        if k > 0 {
            return self.cheapest(k).search(self, k);
        }
        let nothing = self.scan(0, Slots::Only(&[]))?.into_iter();
        Ok(nothing.map(|found| (Strategy::All, found)).collect())
    }

    /// The answer to one of the queries.
    fn answer(&self, query: &impl Refine, found: Found, strategy: Strategy) -> Result<Searched> {
        let Found { top_k, distances, estimates, lists } = found;
        let Snapshot { id, meta, .. } = self.view.snapshot;
        let mut answer = Searched {
            nns: top_k.into_sorted(query)?,
            vectors: Vec::new(),
            records: Vec::new(),
            snapshot: *id as u64,
            possible: self.context.selection.len() as u64,
            did_cancel: self.context.did_cancel(),
            timed_out: self.context.is_late(),
            has_more: false,
            strategy,
            distances,
            estimates,
            lists,
            pending: meta.pending.into(),
        };
        self.context.request.beside.add_to(self.view, &mut answer)?;
        Ok(answer)
    }

    /// The costs that paths estimate theirs by.
    pub(crate) fn costs(&self) -> Costs {
        Costs::of(self.view, self.context)
    }

    /// The query planner: the cheapest access path by their cost models (`cost_ns`), of the
    /// requested kind (of index; exact or not), or of all if no such path can answer. The choice is
    /// the same for one query and for many, so that a batch gives the answers that each would get
    /// alone.
    fn cheapest(&self, k: usize) -> &'static dyn AccessPath {
        let (request, meta) = (&self.context.request, &self.view.snapshot.meta);
        let is_known = |path: &dyn AccessPath| {
            request.recall.is_none() || path.strategy().is_exact() || path.is_calibrated(meta)
        };
        let cheapest = |exact: Option<bool>, kind: Option<IndexKind>| {
            let asked_for = |path: &&&dyn AccessPath| {
                exact.is_none_or(|exact| exact == path.strategy().is_exact())
                    && kind.is_none_or(|kind| kind == path.kind())
                    && is_known(**path)
            };
            PATHS
                .iter()
                .filter(asked_for)
                .filter_map(|path| Some((path.cost_ns(self, k)?, *path)))
                // Of equal costs the first.
                .min_by(|(a, _), (b, _)| a.total_cmp(b))
                .map(|(_, path)| path)
        };
        // A search that must be exact is, whatever kind is asked for.
        let kind = request.kind.filter(|_| request.exact != Some(true));
        cheapest(request.exact, kind)
            .or_else(|| cheapest(kind.map(|_| true), None))
            .or_else(|| cheapest(None, None))
            .unwrap_or(&paths::Flat)
    }

    /// Scans slots for each query.
    pub(crate) fn scan(&self, k: usize, slots: Slots<'_>) -> Result<Vec<Found>> {
        let context = self.context;
        scan(
            self.view,
            self.queries,
            slots,
            context.request.wanted(k),
            context.request.codes,
            &|slot, item| context.accepts(slot, item),
            &|| context.stop(),
        )
    }
}
