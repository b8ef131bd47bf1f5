//! The ground truth: the right answers, and the recall of an engine.
//!
//! Nothing here uses a kernel of any engine. The nearest rows of a query are found with plain `f32`
//! sums, some more than requested, and their distances recomputed in `f64`; the distances of an
//! engine's answers are computed the same way from their ids. An answer counts if it is no farther
//! than the `k`-th nearest row: among equally near rows every choice is right.

use std::collections::HashSet;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::protocol::Metric;
use super::vectors::Vectors;

/// The number of rows beyond `k` that are kept by their `f32` distances: far more than rounding can
/// reorder.
const SPARE: usize = 64;
/// The number of rows that stay in the cache while several queries are compared with them.
const BLOCK: usize = 128;
/// The number of queries that a thread compares with a block.
const QUERIES: usize = 25;
/// The relative error that a distance in `f32` may have: rows within it of the `k`-th count as
/// equally near.
const TOLERANCE: f64 = 1e-6;

/// The vectors that are searched, and the queries, row by row.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    pub metric: Metric,
    pub dimensions: usize,
    pub base: &'a [f32],
    pub queries: &'a [f32],
}

impl<'a> Rows<'a> {
    fn row(&self, row: usize) -> Option<&'a [f32]> {
        self.base.get(row * self.dimensions..(row + 1) * self.dimensions)
    }
}

impl<'a> From<&'a Vectors> for Rows<'a> {
    fn from(vectors: &'a Vectors) -> Self {
        let Vectors { metric, dimensions, base, queries, .. } = vectors;
        Self { metric: *metric, dimensions: *dimensions, base, queries }
    }
}

/// The ids in a file of answers or of candidates.
pub fn ids(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks().0.iter().map(|id| u32::from_le_bytes(*id)).collect()
}

/// The distance of the `k`-th nearest row of every query.
#[derive(Debug, Serialize, Deserialize)]
pub struct Truth {
    k: usize,
    farthest: Vec<f64>,
}

impl Truth {
    pub fn compute(vectors: Rows<'_>, k: usize) -> Self {
        let queries: Vec<&[f32]> = vectors.queries.chunks_exact(vectors.dimensions).collect();
        let farthest = queries
            .par_chunks(QUERIES)
            .flat_map_iter(|queries| nearest(vectors, queries, k))
            .collect();
        Self { k, farthest }
    }

    /// Recall: the fraction of the `k` nearest that `answers` hold, `k` ids for each of the first
    /// queries.
    pub fn recall(&self, vectors: Rows<'_>, answers: &[u32]) -> f64 {
        let queries = vectors.queries.chunks_exact(vectors.dimensions);
        let found: usize = answers
            .chunks_exact(self.k)
            .zip(queries)
            .zip(&self.farthest)
            .map(|((ids, query), farthest)| {
                let limit = farthest * (1.0 + TOLERANCE) + f64::EPSILON;
                let ids: HashSet<u32> = ids.iter().copied().collect();
                ids.into_iter()
                    .filter_map(|id| vectors.row(id as usize))
                    .filter(|row| exact(vectors.metric, query, row) <= limit)
                    .count()
            })
            .sum();
        found as f64 / answers.len() as f64
    }
}

/// The distance of the `k`-th nearest row of each of some queries.
fn nearest(vectors: Rows<'_>, queries: &[&[f32]], k: usize) -> Vec<f64> {
    let kept = k + SPARE;
    let mut nearest: Vec<(f32, Vec<Rough>)> =
        queries.iter().map(|_| (f32::INFINITY, Vec::new())).collect();
    for (number, block) in vectors.base.chunks(BLOCK * vectors.dimensions).enumerate() {
        for (query, (limit, rows)) in queries.iter().zip(&mut nearest) {
            for (i, row) in block.chunks_exact(vectors.dimensions).enumerate() {
                let distance = rough(vectors.metric, query, row);
                if distance <= *limit {
                    rows.push((distance, number * BLOCK + i));
                }
            }
            if rows.len() > 4 * kept {
                let (_, farthest, _) =
                    rows.select_nth_unstable_by(kept - 1, |a, b| a.0.total_cmp(&b.0));
                *limit = farthest.0;
                rows.truncate(kept);
            }
        }
    }
    let farthest = |query: &[f32], mut rows: Vec<Rough>| {
        rows.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let rows = rows.iter().take(kept).filter_map(|(_, row)| vectors.row(*row));
        let mut distances: Vec<f64> = rows.map(|row| exact(vectors.metric, query, row)).collect();
        distances.sort_unstable_by(f64::total_cmp);
        distances[k.min(distances.len()) - 1]
    };
    queries.iter().zip(nearest).map(|(query, (_, rows))| farthest(query, rows)).collect()
}

/// An approximate distance, and the row.
type Rough = (f32, usize);

/// Orders like the distance, up to rounding.
fn rough(metric: Metric, a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; 16];
    let (a, b) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    for (a, b) in a.0.iter().zip(b.0) {
        for i in 0..16 {
            sums[i] += term(metric, a[i], b[i]);
        }
    }
    sums.iter().sum::<f32>() + a.1.iter().zip(b.1).map(|(a, b)| term(metric, *a, *b)).sum::<f32>()
}

#[inline(always)]
fn term(metric: Metric, a: f32, b: f32) -> f32 {
    match metric {
        Metric::Euclidean => (a - b) * (a - b),
        Metric::Cosine => -a * b,
    }
}

/// Euclidean: the squared length of the difference. Cosine: one minus the cosine.
fn exact(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let sum = |f: &dyn Fn(f64, f64) -> f64| {
        a.iter().zip(b).map(|(a, b)| f(f64::from(*a), f64::from(*b))).sum::<f64>()
    };
    match metric {
        Metric::Euclidean => sum(&|a, b| (a - b) * (a - b)),
        Metric::Cosine => {
            1.0 - sum(&|a, b| a * b) / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn equally_near_rows_are_all_right_and_one_id_counts_once() {
        // Rows on a line, each twice.
        let base: Vec<f32> = (0..1000).map(|i| (i / 2) as f32).collect();
        let (name, short, folder) = (String::new(), "", PathBuf::new());
        let vectors = Vectors {
            name,
            short,
            metric: Metric::Euclidean,
            dimensions: 1,
            base,
            queries: vec![0.0, 100.4],
            folder,
        };
        let truth = Truth::compute((&vectors).into(), 3);
        assert_eq!(
            truth.farthest.iter().map(|f| (f * 100.0).round()).collect::<Vec<_>>(),
            [100.0, 36.0]
        );
        assert_eq!(truth.recall((&vectors).into(), &[0, 1, 2, 200, 201, 203]), 1.0);
        assert_eq!(truth.recall((&vectors).into(), &[0, 1, 3, 200, 200, u32::MAX]), 4.0 / 6.0);
        assert_eq!(truth.recall((&vectors).into(), &[0, 1, 4, 200, 201, 198]), 4.0 / 6.0);
    }
}
