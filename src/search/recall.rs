//! The recall of searches, measured by items of the index: a sample of them is taken out of the
//! graph, in memory, as a build deletes items, and each is searched for; the truth is an exact
//! search. So the queries are like vectors that are not in the index. Builds calibrate an index
//! that way: see `effort`, and decision 0049.

use super::paths::PATHS;
use super::request::Cancel;
use super::sample::{Population, sample, share_interval};
use super::{AnyView, Beside, Request, Search, SearchContext, Settled, begin};
use crate::error::{Error, Result};
use crate::format::meta::Meta;
use crate::graph::delete::take_out;
use crate::graph::plan::Plan;
use crate::graph::working::Working;
use crate::store::source::Warm;
use crate::store::view::View;
use crate::types::{Calibration, Curve, IndexKind, ItemId, Point, Slot};

/// The number of queries of a calibration; of those for many results fewer, as each tells more.
const QUERIES: u32 = 256;
const QUERIES_FOR_MANY: usize = 64;
/// The numbers of results of the curves. The first is measured by searches for [`USUAL_K`].
const FIRST_K: usize = 1;
const USUAL_K: usize = 10;
const MANY_K: usize = 100;
/// Consecutive `ef` of a curve: by this factor, until this recall is reached, or this `ef`.
const EF_FACTOR: f64 = std::f64::consts::SQRT_2;
const ENOUGH_RECALL: f64 = 0.997;
const MAX_EF: usize = 2048;
/// At most one item in this many is a query, so that the index without them is much the same.
const ITEMS_PER_QUERY: u32 = 40;
/// This many slots for each query are looked at.
const OVERSAMPLED: u32 = 4;

/// The recall of a query, measured by items of the index: see
/// [`Query::measure_recall`](crate::Query::measure_recall).
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Recall {
    /// The mean recall, from 0 to 1.
    pub mean: f64,
    /// The lower end of its 95 % confidence interval.
    pub low: f64,
    /// The upper end of that interval.
    pub high: f64,
    /// The number of queries that it was measured by.
    pub queries: u64,
}

/// Measures the recall of a request by `size` items, or all that there are.
pub(crate) fn measure_recall(
    view: AnyView<'_, '_, '_>,
    request: Request<'_>,
    size: u32,
) -> Result<Recall> {
    begin(view, &request, |view| {
        let sample = Sample::new(view, size)?;
        let probes = Probes::new(view, &sample, request)?;
        let shares = probes.shares(request, request.k, usize::MAX)?;
        Ok(Recall::of(&shares))
    })
}

impl Recall {
    /// Wilson's interval, of as many trials as the spread of the queries' recall tells: the
    /// neighbors of one query are found or missed together.
    fn of(shares: &[f64]) -> Self {
        let n = shares.len() as f64;
        if shares.is_empty() {
            return Self { mean: 1.0, low: 0.0, high: 1.0, queries: 0 };
        }
        let mean = shares.iter().sum::<f64>() / n;
        let squares: f64 = shares.iter().map(|share| (share - mean).powi(2)).sum();
        let variance = squares / (n - 1.0).max(1.0);
        let spread = mean * (1.0 - mean);
        let trials = if variance > 0.0 { n * (spread / variance).max(1.0) } else { n };
        let [low, high] = share_interval(mean, trials);
        Self { mean, low: low.min(mean), high: high.max(mean), queries: shares.len() as u64 }
    }
}

/// Measures the recall of searches at several `ef`. `None` if there is nothing to measure by.
///
/// # Errors
/// [`Error::Cancelled`], and those of searches.
pub(crate) fn calibrate(
    view: AnyView<'_, '_, '_>,
    cancel: Cancel<'_>,
) -> Result<Option<Calibration>> {
    let kind = Some(IndexKind::Hnsw);
    let request = Request { cancel, exact: Some(false), kind, ..Request::new(MANY_K) };
    let sample = Sample::new(&view, QUERIES)?;
    let probes = Probes::new(&view, &sample, request)?;
    if probes.all.is_empty() {
        return Ok(None);
    }
    let [mut first, mut usual, mut many] =
        [FIRST_K, USUAL_K, MANY_K].map(|k| Curve { k: k as u32, points: Vec::new() });
    let most = MAX_EF.min(view.snapshot.meta.items as usize);
    for ef in efs(USUAL_K, most) {
        let request = Request { k: USUAL_K, ef_search: ef, ..request };
        let found = probes.found(request, usize::MAX)?;
        first.push(ef, &probes.judge(&found, FIRST_K));
        if usual.push(ef, &probes.judge(&found, USUAL_K)) {
            break;
        }
    }
    for ef in efs(MANY_K, most) {
        let request = Request { ef_search: ef, ..request };
        if many.push(ef, &probes.shares(request, MANY_K, QUERIES_FOR_MANY)?) {
            break;
        }
    }
    let (items, queries) = (view.snapshot.meta.items, probes.all.len() as u32);
    let curves = [first, usual, many].into_iter().filter(|curve| !curve.points.is_empty());
    let curves: Vec<Curve> = curves.collect();
    Ok((!curves.is_empty()).then_some(Calibration { items, queries, curves }))
}

/// Measures what the efforts of other kinds than the graph find: those that are due, or all.
/// Returns their new parts of META.
///
/// # Errors
/// [`Error::Cancelled`], and those of searches.
pub(crate) fn calibrate_others(
    view: AnyView<'_, '_, '_>,
    cancel: Cancel<'_>,
    all: bool,
) -> Result<Vec<(IndexKind, Vec<u8>)>> {
    let meta = &view.snapshot.meta;
    let mut parts = Vec::new();
    for path in PATHS.iter().filter(|path| all || path.is_calibration_due(meta)) {
        let part = path.calibrate(view, cancel)?;
        parts.extend(part.map(|part| (path.kind(), part)));
    }
    Ok(parts)
}

/// Whether [`calibrate_others`] has something to do.
pub(crate) fn are_others_due(meta: &Meta) -> bool {
    PATHS.iter().any(|path| path.is_calibration_due(meta))
}

/// The `ef` of a curve.
fn efs(k: usize, most: usize) -> impl Iterator<Item = usize> {
    let all = std::iter::successors(Some(k as f64), |ef| Some(ef * EF_FACTOR));
    all.map(|ef| ef.round() as usize).take_while(move |ef| *ef <= most)
}

impl Curve {
    /// Adds a point; whether that is enough.
    fn push(&mut self, ef: usize, shares: &[f64]) -> bool {
        let Recall { mean, .. } = Recall::of(shares);
        self.points.push(Point { ef: ef as u32, recall: mean as f32 });
        mean >= ENOUGH_RECALL
    }
}

/// An item as a query.
struct Probe {
    slot: Slot,
    /// The items nearest to it, of those that are no probes.
    nearest: Vec<(ItemId, f32)>,
}

/// Some items as queries, and the index without them.
struct Probes<'p, 'v, 's, 't> {
    view: &'p AnyView<'v, 's, 't>,
    /// The graph without their nodes.
    graph: Working<'p>,
    /// What a request is restricted to, without them.
    settled: Settled,
    all: Vec<Probe>,
}

/// Some items, and the source of what is read to take them out of the graph on all threads.
struct Sample<'s, 't> {
    slots: Vec<Slot>,
    warm: View<'s, 't, Warm<'t>>,
}

impl<'s, 't> Sample<'s, 't> {
    /// A sample of all linked items, whatever a request is restricted to: of `size`, but of no more
    /// than one in [`ITEMS_PER_QUERY`].
    fn new(view: &AnyView<'_, 's, 't>, size: u32) -> Result<Self> {
        let context = SearchContext::new(view, Request::new(1), None)?;
        let population = Population::of(view, &context)?;
        let size = size.min(view.snapshot.meta.items / ITEMS_PER_QUERY).max(1);
        // Some slots hold no item, or a pending one.
        let numbers: Vec<u32> =
            sample(population.len(), size.saturating_mul(OVERSAMPLED)).collect();
        let mut nodes = Vec::with_capacity(numbers.len());
        for slot in population.live(&numbers).map(Slot) {
            // Where there is a graph, they are taken out of it.
            if !view.snapshot.meta.has_graph || view.is_node(slot)? {
                nodes.push(slot);
            }
        }
        let count = nodes.len().min(size as usize);
        let slots: Vec<Slot> = (0..count).map(|at| nodes[at * nodes.len() / count]).collect();
        view.resolve_all()?;
        let warm = Warm::new(view.in_values(&slots)?, []);
        Ok(Self {
            slots,
            warm: View::new(view.snapshot, warm).with_cold(view.cold()).by_metric(view.metric),
        })
    }
}

impl<'p, 'v, 's, 't> Probes<'p, 'v, 's, 't> {
    /// Takes a sample out of the graph, and finds the true neighbors of each: as many as the
    /// request asks for. Those that have none are dropped.
    fn new(
        view: &'p AnyView<'v, 's, 't>,
        sample: &'p Sample<'s, 't>,
        request: Request<'_>,
    ) -> Result<Self> {
        let Sample { slots, warm } = sample;
        let meta = &view.snapshot.meta;
        let mut graph = Working::new(warm, meta.roots.clone(), meta.next_rank).sparse();
        if let Some(connectivity) = meta.connectivity {
            let plan = Plan {
                m0: connectivity.m0.into(),
                m: connectivity.m.into(),
                ef_construction: meta.ef_construction as usize,
                alpha: meta.alpha,
                is_small: false,
                most_bytes: u64::MAX,
                region: usize::MAX,
                cancel: request.cancel,
                progress: &|_| {},
            };
            take_out(&mut graph, warm, slots, 0, &plan)?;
        }
        let settled = {
            let context = SearchContext::new(view, request, None)?;
            let listed = slots.iter().map(|slot| slot.0).collect();
            context.selection.settled().without(listed, &view.snapshot.pending)
        };
        let probe = |slot: &Slot| Probe { slot: *slot, nearest: Vec::new() };
        let all = slots.iter().map(probe).collect();
        let mut probes = Self { view, graph, settled, all };
        let exact = Request { exact: Some(true), recall: None, ..request };
        let found = probes.found(exact, usize::MAX)?;
        for (probe, nearest) in probes.all.iter_mut().zip(found) {
            probe.nearest = nearest;
        }
        probes.all.retain(|probe| !probe.nearest.is_empty());
        Ok(probes)
    }

    /// The recall of a request by the first `most` queries.
    fn shares(&self, request: Request<'_>, k: usize, most: usize) -> Result<Vec<f64>> {
        Ok(self.judge(&self.found(request, most)?, k))
    }

    /// What the request finds of the first `most` queries.
    fn found(&self, request: Request<'_>, most: usize) -> Result<Vec<Vec<(ItemId, f32)>>> {
        let view = self.view;
        let probes = &self.all[..most.min(self.all.len())];
        if probes.is_empty() {
            return Ok(Vec::new());
        }
        let queries = probes.iter().map(|probe| view.query_of(probe.slot));
        let queries = queries.collect::<Result<Vec<_>>>()?;
        let restrictions = self.settled.restrictions(request.restrictions.predicate);
        let request = Request { restrictions, beside: Beside::NOTHING, ..request };
        let mut context = SearchContext::new(view, request, None)?;
        context.overlay = Some(&self.graph);
        let found = Search { view, queries: &queries, context: &context }.run()?;
        if context.did_cancel() {
            return Err(Error::Cancelled);
        }
        Ok(found.into_iter().map(|found| found.nns).collect())
    }

    /// The shares of the `k` true neighbors that were found.
    fn judge(&self, found: &[Vec<(ItemId, f32)>], k: usize) -> Vec<f64> {
        let judged = self.all.iter().zip(found).map(|(Probe { nearest, .. }, found)| {
            let nearest = &nearest[..k.min(nearest.len())];
            let limit = nearest.last().map_or(f32::NEG_INFINITY, |(_, distance)| *distance);
            let is_right = |(item, distance): &&(ItemId, f32)| {
                *distance <= limit || nearest.iter().any(|(other, _)| other == item)
            };
            let hits = found.iter().filter(is_right).count().min(nearest.len());
            hits as f64 / nearest.len() as f64
        });
        judged.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_recall_follows_from_its_spread() {
        let all = Recall::of(&[1.0; 100]);
        assert!(all.mean == 1.0 && all.high == 1.0 && (0.96..0.97).contains(&all.low), "{all:?}");
        let half: Vec<f64> = (0..100).map(|at| f64::from(at % 2)).collect();
        let found = Recall::of(&half);
        assert!(found.mean == 0.5 && (0.40..0.41).contains(&found.low), "{found:?}");
        // Ten neighbors each, found or missed on their own, tell more.
        let even: Vec<f64> = (0..100).map(|at| 0.4 + 0.2 * f64::from(at % 2)).collect();
        let found = Recall::of(&even);
        assert!((0.47..0.5).contains(&found.low) && found.queries == 100, "{found:?}");
        let nothing = Recall::of(&[]);
        assert_eq!((nothing.low, nothing.high, nothing.queries), (0.0, 1.0, 0));
    }

    #[test]
    fn the_steps_of_a_curve_ascend_from_k() {
        let steps: Vec<usize> = efs(10, 2048).collect();
        assert_eq!(steps[..4], [10, 14, 20, 28]);
        assert!(steps.is_sorted_by(|a, b| a < b) && steps.last().is_some_and(|ef| *ef <= 2048));
        assert!(steps.len() <= 32);
        assert_eq!(efs(100, 50).count(), 0);
    }
}
