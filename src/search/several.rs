//! Queries of several vectors: the nearest by the smallest of the distances to them, or by a
//! weighted sum; and of several results: diverse ones (MMR).
//!
//! The distances of an answer are computed from the definitions in `f64`, for all items that the
//! searches of single vectors have found (rerank). The `k` nearest by the smallest distance are
//! among the `k` nearest of each vector. A weighted sum of distances orders items as the distance
//! to one vector does under three metrics (see [`combine`]); under others, the streams of all
//! vectors go on until no item that they have not yielded can be nearer (Fagin, Lotem and Naor
//! 2003, "Optimal aggregation algorithms for middleware", the threshold algorithm).

use std::collections::BTreeSet;

use super::pages::{Near, Stream};
use super::sample::check_radius;
use super::{AnyView, Beside, Request, Search, SearchContext, Searched, begin};
use crate::codec::Components;
use crate::distance::{Form, Metric};
use crate::error::{Error, Result};
use crate::graph::DistanceComputer;
use crate::store::prepared_query::PreparedQuery;
use crate::store::source::Source;
use crate::top_k::Refine;
use crate::types::{ItemId, Slot};

/// A combined vector is rounded: this many more results than asked for are reranked.
const MORE_RERANKED: usize = 8;
/// The number of items that the threshold algorithm takes of each stream at a time.
const TAKEN_TOGETHER: usize = 64;

/// How the distances to several vectors make one.
#[derive(Debug, Clone, Copy)]
enum Blend<'a> {
    Smallest,
    /// Weighted by these.
    Sum(&'a [f32]),
}

impl Blend<'_> {
    fn of(self, distances: impl Iterator<Item = f64>) -> f64 {
        match self {
            Self::Smallest => distances.fold(f64::INFINITY, f64::min),
            Self::Sum(weights) => {
                distances.zip(weights).map(|(distance, weight)| distance * f64::from(*weight)).sum()
            }
        }
    }
}

/// Reranks items by their distances to all queries.
fn rerank(
    view: &AnyView<'_, '_, '_>,
    queries: &[impl Refine],
    blend: Blend<'_>,
    items: &BTreeSet<ItemId>,
) -> Result<Vec<(ItemId, f64)>> {
    let mut reranked = Vec::with_capacity(items.len());
    for item in items {
        let Some(slot) = view.slot(*item)? else { continue };
        let distances = queries.iter().map(|query| query.precise(slot));
        let distances = distances.collect::<Result<Vec<f64>>>()?;
        reranked.push((*item, blend.of(distances.into_iter())));
    }
    // Stable: ties by item id.
    reranked.sort_by(|a, b| a.1.total_cmp(&b.1));
    Ok(reranked)
}

/// The answer that has the nearest of reranked items.
fn finish(
    view: &AnyView<'_, '_, '_>,
    request: Request<'_>,
    ranked: Vec<(ItemId, f64)>,
    cost: Searched,
) -> Result<Searched> {
    let radius = request.within.map_or(f64::INFINITY, f64::from);
    let mut nns: Vec<(ItemId, f32)> = ranked
        .into_iter()
        .map(|(item, distance)| (item, distance as f32))
        .take_while(|(_, distance)| f64::from(*distance) <= radius)
        .collect();
    let has_more = request.within.is_some() && nns.len() > request.k;
    nns.truncate(request.k);
    let mut answer = Searched { nns, has_more, ..cost };
    request.beside.add_to(view, &mut answer)?;
    Ok(answer)
}

/// The cost of several answers together.
fn cost_of(answers: &[Searched]) -> Searched {
    let mut cost = Searched::empty();
    for answer in answers {
        cost.did_cancel |= answer.did_cancel;
        cost.timed_out |= answer.timed_out;
        cost.has_more |= answer.has_more;
        cost.distances += answer.distances;
        cost.estimates += answer.estimates;
        cost.lists += answer.lists;
        cost.pending = answer.pending;
        (cost.snapshot, cost.possible) = (answer.snapshot, answer.possible);
        // What is not exact for one vector is not exact.
        if !answer.strategy.is_exact() || cost.strategy.is_exact() {
            cost.strategy = answer.strategy;
        }
    }
    cost
}

/// Prepares the queries of rows, whose defects name the row.
fn prepare<'v, 's, 't>(
    view: &'v AnyView<'v, 's, 't>,
    rows: &[Components<'_>],
) -> Result<Vec<PreparedQuery<'v, 's, 't, &'v (dyn Source<'t> + 'v)>>> {
    let query = |(row, vector): (usize, &Components<'_>)| {
        view.query(*vector).map_err(|error| match error {
            Error::InvalidQuery { defect } => Error::InvalidRow { row, defect },
            error => error,
        })
    };
    rows.iter().enumerate().map(query).collect()
}

/// Returns the items whose smallest distance to one of several vectors is the smallest.
pub(crate) fn by_nearest_of(
    view: AnyView<'_, '_, '_>,
    request: Request<'_>,
    rows: &[Components<'_>],
) -> Result<Searched> {
    begin(view, &request, |view| {
        let queries = prepare(view, rows)?;
        let each = Request { beside: Beside::NOTHING, ..request };
        let context = SearchContext::new(view, each, None)?;
        let answers = Search { view, queries: &queries, context: &context }.run()?;
        let items = answers.iter().flat_map(|answer| answer.nns.iter().map(|(item, _)| *item));
        let ranked = rerank(view, &queries, Blend::Smallest, &items.collect())?;
        let mut cost = cost_of(&answers);
        cost.distances += (ranked.len() * queries.len()) as u64;
        // Each has found what is within the radius.
        let (radius, has_more) = (request.within, cost.has_more || ranked.len() > request.k);
        let request = Request { within: None, ..request };
        let answer = finish(view, request, ranked, cost)?;
        Ok(Searched { has_more: radius.is_some() && has_more, ..answer })
    })
}

/// The vector whose distances order items as a weighted sum of their distances to several vectors
/// does. `None` if there is none under this metric.
///
/// With `W` the sum of the weights, and `const` not depending on the item `x`: under Euclidean
/// distances, `sum w |x - v|^2 = W |x - c|^2 + const` for `c = sum w v / W`, if `W` is positive;
/// under inner products, `sum -w <x, v> = -<x, sum w v>`; under cosine distances, `sum w (1 -
/// cos(x, v)) / 2 = const - <x, c> / 2 |x|` for `c = sum w v / |v|`.
fn combine(metric: &Metric, rows: &[Vec<f64>], weights: &[f32]) -> Result<Option<Vec<f64>>> {
    // Bits are compared as such: a sum of them has other ones.
    let are_floats = !matches!(metric.codec_name, "bits" | "signs");
    let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
    let scale = |row: &[f64]| match metric.form {
        Form::SquaredDifferences => 1.0 / total,
        Form::Cosine => 1.0 / row.iter().map(|c| c * c).sum::<f64>().sqrt(),
        _ => 1.0,
    };
    match metric.form {
        Form::SquaredDifferences | Form::NegatedProducts | Form::Cosine if are_floats => {}
        _ => return Ok(None),
    }
    if metric.form == Form::SquaredDifferences && total <= 0.0 {
        return Err(Error::InvalidParameter {
            name: "the sum of the weights",
            value: total,
            remedy: "use weights whose sum is positive, or no item is the nearest",
        });
    }
    let mut sum = vec![0.0; rows.first().map_or(0, Vec::len)];
    for (row, weight) in rows.iter().zip(weights) {
        let factor = f64::from(*weight) * scale(row);
        sum.iter_mut().zip(row).for_each(|(sum, component)| *sum += factor * component);
    }
    Ok(Some(sum))
}

fn floats(vector: Components<'_>) -> Vec<f64> {
    match vector {
        Components::F32(vector) => vector.iter().map(|c| f64::from(*c)).collect(),
        Components::F64(vector) => vector.to_vec(),
    }
}

/// Returns the items whose weighted sum of the distances to several vectors is the smallest.
pub(crate) fn by_sum(
    view: AnyView<'_, '_, '_>,
    request: Request<'_>,
    rows: &[Components<'_>],
    weights: &[f32],
) -> Result<Searched> {
    begin(view, &request, |view| {
        let invalid = |value: f32, remedy| Error::InvalidParameter {
            name: "a weight",
            value: value.into(),
            remedy,
        };
        if let Some(weight) = weights.iter().find(|weight| !weight.is_finite()) {
            return Err(invalid(*weight, "use finite numbers"));
        }
        if let Some(radius) = request.within {
            // The unit of a weighted sum, which can be negative.
            check_radius(Form::Other, radius)?;
        }
        let queries = prepare(view, rows)?;
        if queries.is_empty() {
            return Ok(Searched::empty());
        }
        let (k, blend) = (request.k.saturating_add(1), Blend::Sum(weights));
        let single = Request { within: None, beside: Beside::NOTHING, ..request };
        let floats: Vec<Vec<f64>> = rows.iter().map(|row| floats(*row)).collect();
        let Some(sum) = combine(view.metric, &floats, weights)? else {
            if let Some(weight) = weights.iter().find(|weight| **weight < 0.0) {
                let remedy = "use weights of at least 0 under this metric, where no single vector \
                              stands for several";
                return Err(invalid(*weight, remedy));
            }
            let (items, cost) = by_threshold(*view, single, k, rows, &queries, weights)?;
            return finish(view, request, rerank(view, &queries, blend, &items)?, cost);
        };
        let combined = view.query(Components::F64(&sum))?;
        let single = Request { k: k.saturating_add(MORE_RERANKED), ..single };
        let context = SearchContext::new(view, single, None)?;
        let answers = Search { view, queries: &[combined], context: &context }.run()?;
        let items = answers.iter().flat_map(|answer| answer.nns.iter().map(|(item, _)| *item));
        let ranked = rerank(view, &queries, blend, &items.collect())?;
        let mut cost = cost_of(&answers);
        cost.distances += (ranked.len() * queries.len()) as u64;
        finish(view, request, ranked, cost)
    })
}

/// The items among which the `k` with the smallest weighted sums are: those that the streams of all
/// vectors yield until others cannot be nearer. No weight is negative.
fn by_threshold(
    view: AnyView<'_, '_, '_>,
    request: Request<'_>,
    k: usize,
    rows: &[Components<'_>],
    queries: &[impl Refine],
    weights: &[f32],
) -> Result<(BTreeSet<ItemId>, Searched)> {
    let mut streams: Vec<_> = rows.iter().map(|row| Stream::new(Near::vector(*row))).collect();
    // Resolved once for all.
    let context = SearchContext::new(&view, request, None)?;
    streams.iter_mut().for_each(|stream| stream.settle(&context));
    let (mut items, mut sums, mut answers) = (BTreeSet::new(), Vec::new(), Vec::new());
    loop {
        let mut threshold = 0.0;
        for (stream, weight) in streams.iter_mut().zip(weights) {
            let page = stream.take(view, Request { k: TAKEN_TOGETHER, ..request })?;
            for (item, _) in &page.nns {
                let Some(slot) = view.slot(*item)?.filter(|_| items.insert(*item)) else {
                    continue;
                };
                let distances =
                    queries.iter().map(|query| query.precise(slot)).collect::<Result<Vec<_>>>()?;
                sums.push(Blend::Sum(weights).of(distances.into_iter()));
            }
            let last = stream.last.map_or(f64::INFINITY, |(_, distance)| distance.into());
            threshold += f64::from(*weight) * if stream.is_at_end() { f64::INFINITY } else { last };
            answers.push(page);
        }
        let cost = cost_of(&answers);
        sums.sort_by(f64::total_cmp);
        sums.truncate(k);
        // Of a weight of 0 an end says nothing.
        let is_over = threshold.is_nan() || sums.len() == k && sums[k - 1] <= threshold;
        if is_over || cost.did_cancel || streams.iter().any(Stream::is_at_end) {
            return Ok((items, cost));
        }
        answers = vec![cost];
    }
}

/// Chooses `request.k` of the `among` nearest items by maximal marginal relevance (Carbonell and
/// Goldstein 1998): one by one, the item with the smallest `lambda * d(query, item) - (1 - lambda)
/// * d(item, nearest chosen)`.
pub(crate) fn by_relevance_and_diversity(
    view: AnyView<'_, '_, '_>,
    request: Request<'_>,
    vector: Components<'_>,
    lambda: f32,
    among: usize,
) -> Result<Searched> {
    if !(0.0..=1.0).contains(&lambda) {
        return Err(Error::InvalidParameter {
            name: "lambda",
            value: lambda.into(),
            remedy: "use 0, for diversity alone, to 1, for nearness alone",
        });
    }
    begin(view, &request, |view| {
        let query = view.query(vector)?;
        let each = Request { k: among.max(request.k), beside: Beside::NOTHING, ..request };
        let context = SearchContext::new(view, each, None)?;
        let mut answer = match (Search { view, queries: &[query], context: &context }.run()?).pop()
        {
            Some(answer) => answer,
            None => return Ok(Searched::empty()),
        };
        // Slots, distances from the query and from the nearest chosen item.
        let mut left = Vec::with_capacity(answer.nns.len());
        for (item, distance) in std::mem::take(&mut answer.nns) {
            if let Some(slot) = view.slot(item)? {
                left.push((slot, item, distance, f32::INFINITY));
            }
        }
        let (mut chosen, mut distances) = (Vec::new(), Vec::new());
        while chosen.len() < request.k && !left.is_empty() {
            let score = |(_, _, near, apart): &(Slot, ItemId, f32, f32)| {
                // Before the first is chosen, the nearest is.
                let apart = if chosen.is_empty() { 0.0 } else { *apart };
                let nearness = if chosen.is_empty() { 1.0 } else { lambda };
                nearness * near - (1.0 - nearness) * apart
            };
            let best = (0..left.len()).min_by(|a, b| score(&left[*a]).total_cmp(&score(&left[*b])));
            let Some(best) = best else { break };
            let (slot, item, distance, _) = left.remove(best);
            chosen.push((item, distance));
            let slots: Vec<u32> = left.iter().map(|(slot, ..)| slot.0).collect();
            view.query_of(slot)?.distances(&slots, &mut distances)?;
            answer.distances += slots.len() as u64;
            for ((.., apart), distance) in left.iter_mut().zip(&distances) {
                *apart = apart.min(*distance);
            }
        }
        answer.nns = chosen;
        request.beside.add_to(view, &mut answer)?;
        Ok(answer)
    })
}
