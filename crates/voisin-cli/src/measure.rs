//! Measures recall and speed on the items of an index: for `bench` and `report`.

use std::time::{Duration, Instant};

use voisin::{Query, Searchable, Searched};

use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::keys::Key;

/// Efforts that are tried unless others are given: by factors of the square root of 2.
pub(crate) const EFFORTS: [usize; 14] =
    [10, 14, 20, 28, 40, 57, 80, 113, 160, 226, 320, 453, 640, 905];

/// Recall from which on no larger effort is tried.
pub(crate) const ENOUGH: f64 = 0.998;

/// The least time over which speed is measured.
const LEAST_TIME: Duration = Duration::from_millis(300);

/// Queries, one after the other.
pub(crate) struct Queries {
    pub(crate) rows: Vec<f32>,
    pub(crate) count: usize,
}

/// The true neighbors of each query.
pub(crate) struct Truth<N>(Vec<Vec<(N, f32)>>);

impl<N: PartialEq> Truth<N> {
    pub(crate) fn new(answers: Vec<Searched<N>>) -> Self {
        Self(answers.into_iter().map(|answer| answer.nns).collect())
    }

    /// The mean share of the true neighbors that were found; one as near as the last of them
    /// counts.
    pub(crate) fn recall(&self, answers: &[Searched<N>]) -> f64 {
        let share = |(truth, answer): (&Vec<(N, f32)>, &Searched<N>)| {
            if truth.is_empty() {
                return 1.0;
            }
            let limit = truth.last().map_or(f32::NEG_INFINITY, |(_, distance)| *distance);
            let is_right = |(name, distance): &&(N, f32)| {
                *distance <= limit || truth.iter().any(|(other, _)| other == name)
            };
            let hits = answer.nns.iter().filter(is_right).count().min(truth.len());
            hits as f64 / truth.len() as f64
        };
        let shares: Vec<f64> = self.0.iter().zip(answers).map(share).collect();
        shares.iter().sum::<f64>() / shares.len().max(1) as f64
    }
}

/// Queries a second, all in one call; and the answers.
pub(crate) fn in_one_call<K, S>(
    query: &Query<'_, S>,
    queries: &Queries,
) -> Result<(f64, Vec<Searched<K::Owned>>)>
where
    K: Key + ?Sized,
    S: Searchable<Key = K>,
{
    let (mut calls, began) = (0u32, Instant::now());
    loop {
        let answers = query.by_vectors(&queries.rows)?;
        stop_if_interrupted()?;
        calls += 1;
        let took = began.elapsed();
        if took >= LEAST_TIME {
            let done = f64::from(calls) * queries.count as f64;
            return Ok((done / took.as_secs_f64(), answers));
        }
    }
}

/// The times of queries, one a call: the median, and the 99th of 100.
pub(crate) fn one_by_one<K, S>(
    query: &Query<'_, S>,
    queries: &Queries,
    dimensions: usize,
) -> Result<(Duration, Duration)>
where
    K: Key + ?Sized,
    S: Searchable<Key = K>,
{
    let mut times = Vec::with_capacity(queries.count);
    for row in queries.rows.chunks_exact(dimensions.max(1)) {
        let began = Instant::now();
        query.by_vector(row)?;
        times.push(began.elapsed());
        stop_if_interrupted()?;
    }
    times.sort_unstable();
    let at = |share: f64| {
        let at = (times.len() as f64 * share) as usize;
        times.get(at.min(times.len().saturating_sub(1))).copied().unwrap_or_default()
    };
    Ok((at(0.5), at(0.99)))
}

pub(crate) fn stop_if_interrupted() -> Result<()> {
    if interrupt::is_requested() {
        return Err(Failure::interrupted("interrupted: nothing has changed"));
    }
    Ok(())
}
