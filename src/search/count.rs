//! Counts of items within a radius: exact, by a scan, or estimated, from a sample.

use super::sample::{Population, check_radius, sample, share_interval};
use super::walk::accepts;
use super::{AnyView, Request, Search, SearchContext, begin};
use crate::codec::Components;
use crate::error::Result;
use crate::graph::DistanceComputer;
use crate::types::Slot;

/// The number of vectors of a sample that are compared between two looks at the clock.
const SAMPLED_TOGETHER: usize = 64;

/// The number of items within a radius: see [`Query::count_within`](crate::Query::count_within) and
/// [`Query::estimate_within`](crate::Query::estimate_within).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Count {
    /// The number of items, or the estimate.
    pub items: u64,
    /// The lower end of the interval in which the number is: in 95 % of all cases if it is
    /// estimated, certainly if it is not.
    pub low: u64,
    /// The upper end of that interval.
    pub high: u64,
    /// Whether the search was cancelled, or ended by its deadline. The interval holds for what was
    /// seen until then.
    pub did_cancel: bool,
    /// The number of distances computed, not counting those computed again in `f64`.
    pub distances: u64,
    /// The number of distances estimated from codes.
    pub estimates: u64,
}

impl Count {
    /// Whether the number is exact.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.low == self.high
    }
}

/// Counts the items within a radius.
pub(crate) fn count_within(
    view: AnyView<'_, '_, '_>,
    request: Request<'_>,
    vector: Components<'_>,
    radius: f32,
) -> Result<Count> {
    begin(view, &request, |view| {
        check_radius(view.metric.form, radius)?;
        let query = view.query(vector)?;
        let request = Request { within: Some(radius), counts: true, exact: Some(true), ..request };
        let context = SearchContext::new(view, request, None)?;
        let search = Search { view, queries: &[query], context: &context };
        let possible = context.selection.len() as u64;
        let mut count =
            Count { items: 0, low: 0, high: 0, did_cancel: false, distances: 0, estimates: 0 };
        for (_, found) in search.cheapest_exact(0).0.search(&search, 0)? {
            count.items += found.top_k.count();
            count.distances += found.distances;
            count.estimates += found.estimates;
        }
        count.did_cancel = context.did_cancel();
        count.low = count.items;
        count.high = match (count.did_cancel, possible) {
            (false, _) => count.items,
            // The time was over before candidates had been looked up.
            (true, 0) => view.snapshot.meta.items.into(),
            (true, possible) => possible,
        };
        Ok(count)
    })
}

/// Estimates the number of items within a radius from the distances of about `size` of them.
pub(crate) fn estimate_within(
    view: AnyView<'_, '_, '_>,
    request: Request<'_>,
    vector: Components<'_>,
    radius: f32,
    size: u32,
) -> Result<Count> {
    let estimate = begin(view, &request, |view| {
        check_radius(view.metric.form, radius)?;
        let query = view.query(vector)?;
        let context = SearchContext::new(view, request, None)?;
        let population = Population::of(view, &context)?;
        if population.len() <= size {
            return Ok(None);
        }
        let numbers: Vec<u32> = sample(population.len(), size.max(1)).collect();
        let (mut sampled, mut hits, mut compared) = (0, 0, 0);
        let mut distances = Vec::new();
        for numbers in numbers.chunks(SAMPLED_TOGETHER) {
            if context.stop() {
                break;
            }
            let live: Vec<u32> = population.live(numbers).collect();
            query.distances(&live, &mut distances)?;
            compared += live.len() as u64;
            let mut within = 0;
            for (slot, distance) in live.iter().zip(&distances) {
                within += u64::from(*distance <= radius && accepts(view, &context, Slot(*slot))?);
            }
            // The predicate is not asked after a stop.
            if context.did_cancel() {
                break;
            }
            hits += within;
            sampled += numbers.len() as u64;
        }
        let (possible, of_all) = (context.selection.len() as u64, population.len().into());
        let [low, high] = interval(hits, sampled, of_all).map(|end| end.min(possible));
        let items = hits as f64 / sampled.max(1) as f64 * f64::from(population.len());
        Ok(Some(Count {
            items: (items as u64).clamp(low, high),
            low,
            high,
            did_cancel: context.did_cancel(),
            distances: compared,
            estimates: 0,
        }))
    })?;
    match estimate {
        Some(estimate) => Ok(estimate),
        None => count_within(view, request, vector, radius),
    }
}

/// The interval in which the number of hits among `population` is, if `hits` of `sampled` are hits:
/// by [`share_interval`]. A sample
/// of one of each part of the population errs no more than one of the whole, which this is for.
fn interval(hits: u64, sampled: u64, population: u64) -> [u64; 2] {
    if sampled == 0 {
        return [0, population];
    }
    let [low, high] = share_interval(hits as f64 / sampled as f64, sampled as f64);
    let low = (low * population as f64).floor() as u64;
    let high = (high * population as f64).ceil() as u64;
    // What was seen is certain.
    [low.max(hits), high.min(population.saturating_sub(sampled - hits)).max(hits)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Figures of Wilson's interval from a table, and the ends where all or nothing is a hit.
    #[test]
    fn the_interval_of_an_estimate_is_wilsons() {
        // 10 of 100: 5.52 % to 17.44 %.
        assert_eq!(interval(10, 100, 10_000), [552, 1744]);
        let [low, high] = interval(0, 100, 10_000);
        assert!(low == 0 && (360..=375).contains(&high), "{high}");
        let [low, high] = interval(100, 100, 10_000);
        assert!((9_625..=9_640).contains(&low) && high == 10_000, "{low} {high}");
        assert_eq!(interval(0, 0, 70), [0, 70]);
        assert_eq!(interval(3, 70, 70), [3, 3]);
    }
}
