//! Centers of vectors: k-means (Lloyd 1982) from k-means++ seeds (Arthur & Vassilvitskii 2007), on
//! a sample.
//!
//! Distances are squared Euclidean ones of `f32` components. Where a metric compares directions,
//! vectors are given at length 1, and centers are brought to length 1 (spherical k-means), so that
//! the nearest center is that of the nearest direction. A sample and a seed give one result on one
//! machine, for any number of threads. O(iterations * rows * centers * dimensions).

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::distance::Kernels;
use crate::error::Result;
use crate::threads::{self, SEARCHES};

/// Iterations of Lloyd's algorithm: later ones move hardly any center.
const ITERATIONS: usize = 8;
/// Seeds are chosen among this many rows for each center.
const ROWS_PER_SEED: usize = 12;
/// Rows that a thread assigns at a time.
const TASK: usize = 256;

/// Rows of `f32` components, one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    dimensions: usize,
    values: Vec<f32>,
}

impl Rows {
    pub(crate) fn new(dimensions: usize) -> Self {
        Self { dimensions: dimensions.max(1), values: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len() / self.dimensions
    }

    pub(crate) fn get(&self, row: usize) -> &[f32] {
        &self.values[row * self.dimensions..][..self.dimensions]
    }

    /// Appends a row, cut or padded to the dimensions.
    pub(crate) fn push(&mut self, row: &[f32]) {
        let end = self.values.len() + self.dimensions;
        self.values.extend(row.iter().take(self.dimensions));
        self.values.resize(end, 0.0);
    }

    /// Replaces a row of the same dimensions.
    pub(crate) fn set(&mut self, row: usize, values: &[f32]) {
        let start = row * self.dimensions;
        self.values[start..start + self.dimensions].copy_from_slice(values);
    }

    #[cfg(test)]
    fn iter(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.dimensions)
    }
}

/// Compares rows with centers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Comparer {
    kernels: Kernels,
}

impl Comparer {
    pub(crate) fn new(dimensions: usize) -> Self {
        Self { kernels: Kernels::euclidean(dimensions) }
    }

    /// The squared distance of two rows.
    pub(crate) fn distance(&self, a: &[f32], b: &[f32]) -> f32 {
        self.kernels.one(bytemuck::cast_slice(a), bytemuck::cast_slice(b))
    }

    /// The squared distance of a row to each center.
    pub(crate) fn distances(&self, row: &[f32], centers: &Rows, out: &mut Vec<f32>) {
        out.clear();
        let row: &[u8] = bytemuck::cast_slice(row);
        let bytes: &[u8] = bytemuck::cast_slice(&centers.values);
        let stride = size_of::<f32>() * centers.dimensions;
        let mut fours = bytes.chunks_exact(4 * stride);
        for four in &mut fours {
            let each = std::array::from_fn(|i| &four[i * stride..][..stride]);
            out.extend(self.kernels.four(row, each));
        }
        out.extend(fours.remainder().chunks_exact(stride).map(|one| self.kernels.one(row, one)));
    }

    /// The nearest of the centers that are `allowed`, the first of equally near ones, and its
    /// squared distance. `None` if there is none.
    pub(crate) fn nearest(
        &self,
        row: &[f32],
        centers: &Rows,
        allowed: impl Fn(usize) -> bool,
        buffer: &mut Vec<f32>,
    ) -> Option<(usize, f32)> {
        self.distances(row, centers, buffer);
        let all = buffer.iter().copied().enumerate().filter(|(number, _)| allowed(*number));
        all.min_by(|(_, a), (_, b)| a.total_cmp(b))
    }
}

/// The mean of rows, at length 1 if directions count. `None` if there are none, or if it has no
/// direction.
pub(crate) fn mean<'a>(
    rows: impl Iterator<Item = &'a [f32]>,
    dimensions: usize,
    are_directions: bool,
) -> Option<Vec<f32>> {
    let (mut sums, mut count) = (vec![0f64; dimensions], 0u32);
    for row in rows {
        sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
        count += 1;
    }
    let norm = sums.iter().map(|sum| sum * sum).sum::<f64>().sqrt();
    let scale = if are_directions { norm } else { f64::from(count) };
    (count > 0 && scale > 0.0).then(|| sums.iter().map(|sum| (sum / scale) as f32).collect())
}

/// A row at length 1. A row without a direction stays as it is.
pub(crate) fn to_direction(row: &mut [f32]) {
    let norm = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    if norm > 0.0 {
        row.iter_mut().for_each(|x| *x = (f64::from(*x) / norm) as f32);
    }
}

/// At most `count` centers of a sample. `go_on` is asked once an iteration, and cancels by an
/// error.
pub(crate) fn k_means(
    sample: &Rows,
    count: usize,
    are_directions: bool,
    seed: u64,
    go_on: &dyn Fn() -> Result<()>,
) -> Result<Rows> {
    let comparer = Comparer::new(sample.dimensions);
    let mut centers = seeds(sample, count, &comparer, seed, go_on)?;
    for _ in 0..ITERATIONS {
        go_on()?;
        let nearest = assign(sample, &centers, &comparer)?;
        let mut members: Vec<Vec<u32>> = vec![Vec::new(); centers.len()];
        for (row, (center, _)) in (0..).zip(&nearest) {
            members[*center as usize].push(row);
        }
        let means = threads::map(&members, SEARCHES, |members| -> Result<_> {
            let rows = members.iter().map(|row| sample.get(*row as usize));
            Ok(mean(rows, sample.dimensions, are_directions))
        })?;
        let lacks = means.iter().filter(|mean| mean.is_none()).count();
        let mut farthest = farthest(&nearest, lacks).into_iter();
        for (number, mean) in means.into_iter().enumerate() {
            // A center without rows takes over one of those that are the worst off.
            match mean {
                Some(mean) => centers.set(number, &mean),
                None => farthest.next().into_iter().for_each(|row| {
                    centers.set(number, sample.get(row));
                }),
            }
        }
    }
    Ok(centers)
}

/// The rows that are the farthest from their centers, the farthest first.
fn farthest(nearest: &[(u32, f32)], count: usize) -> Vec<usize> {
    let mut rows: Vec<usize> = if count > 0 { (0..nearest.len()).collect() } else { Vec::new() };
    rows.sort_by(|a, b| nearest[*b].1.total_cmp(&nearest[*a].1));
    rows.truncate(count);
    rows
}

/// The nearest center of each row, and its squared distance, on all threads.
fn assign(sample: &Rows, centers: &Rows, comparer: &Comparer) -> Result<Vec<(u32, f32)>> {
    let tasks: Vec<usize> = (0..sample.len()).step_by(TASK).collect();
    let found = threads::map(&tasks, SEARCHES, |from| -> Result<Vec<(u32, f32)>> {
        let (rows, mut buffer) = (*from..(*from + TASK).min(sample.len()), Vec::new());
        let nearest = |row| comparer.nearest(sample.get(row), centers, |_| true, &mut buffer);
        let found = rows.map(nearest).map(|found| found.unwrap_or((0, 0.0)));
        Ok(found.map(|(center, distance)| (center as u32, distance)).collect())
    })?;
    Ok(found.into_iter().flatten().collect())
}

/// The seeds of k-means++: each next one is drawn with a chance in proportion to the squared
/// distance from the nearest so far.
fn seeds(
    sample: &Rows,
    count: usize,
    comparer: &Comparer,
    seed: u64,
    go_on: &dyn Fn() -> Result<()>,
) -> Result<Rows> {
    let mut rng = StdRng::seed_from_u64(seed);
    let rows = sample.len().min(count.saturating_mul(ROWS_PER_SEED));
    let drawn: Vec<usize> = (0..rows).map(|at| at * sample.len() / rows).collect();
    let mut centers = Rows::new(sample.dimensions);
    let mut distances = vec![f32::INFINITY; drawn.len()];
    let mut next = drawn.get(rng.random_range(0..drawn.len().max(1))).copied();
    while let Some(row) = next.filter(|_| centers.len() < count) {
        if centers.len().is_multiple_of(TASK) {
            go_on()?;
        }
        centers.push(sample.get(row));
        let tasks: Vec<usize> = (0..drawn.len()).step_by(16 * TASK).collect();
        let found = threads::map(&tasks, SEARCHES, |from| -> Result<Vec<f32>> {
            let rows = &drawn[*from..(*from + 16 * TASK).min(drawn.len())];
            let center = sample.get(row);
            Ok(rows.iter().map(|other| comparer.distance(sample.get(*other), center)).collect())
        })?;
        for (distance, found) in distances.iter_mut().zip(found.into_iter().flatten()) {
            *distance = distance.min(found);
        }
        let total: f64 = distances.iter().map(|distance| f64::from(*distance)).sum();
        if total <= 0.0 || !total.is_finite() {
            // All rows are centers already, or equal to one.
            break;
        }
        let mut left = rng.random_range(0.0..total);
        let hit = distances.iter().position(|distance| {
            left -= f64::from(*distance);
            left < 0.0
        });
        next = hit.and_then(|at| drawn.get(at)).copied();
    }
    Ok(centers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: usize, dimensions: usize, of: impl Fn(usize, usize) -> f32) -> Rows {
        let mut rows = Rows::new(dimensions);
        for row in 0..count {
            rows.push(&(0..dimensions).map(|i| of(row, i)).collect::<Vec<f32>>());
        }
        rows
    }

    #[test]
    fn places_far_apart_get_a_center_each() {
        let sample = rows(600, 3, |row, i| {
            let noise = ((row * 31 + i * 7) % 11) as f32 / 11.0;
            if i == 0 { (row % 6) as f32 * 100.0 + noise } else { noise }
        });
        let centers = k_means(&sample, 6, false, 42, &|| Ok(())).unwrap();
        let mut firsts: Vec<f32> = centers.iter().map(|center| center[0]).collect();
        firsts.sort_by(f32::total_cmp);
        let near = |(place, first): (usize, &f32)| (first - place as f32 * 100.0).abs() < 2.0;
        assert!(firsts.iter().enumerate().all(near), "{firsts:?}");
        // The same again, whatever the number of threads.
        let again = threads::building(1, || k_means(&sample, 6, false, 42, &|| Ok(())));
        assert_eq!(again.unwrap().values, centers.values);
    }

    #[test]
    fn directions_have_centers_of_length_1() {
        let mut sample = rows(300, 2, |row, i| {
            let angle = (row % 3) as f32 + (row % 7) as f32 / 100.0;
            if i == 0 { angle.cos() } else { angle.sin() }
        });
        for row in 0..sample.len() {
            let mut values = sample.get(row).to_vec();
            to_direction(&mut values);
            sample.set(row, &values);
        }
        let centers = k_means(&sample, 3, true, 1, &|| Ok(())).unwrap();
        assert_eq!(centers.len(), 3);
        for center in centers.iter() {
            let norm: f32 = center.iter().map(|x| x * x).sum();
            assert!((norm - 1.0).abs() < 1e-5, "{norm}");
        }
    }

    #[test]
    fn few_or_equal_rows_give_one_center_or_more() {
        let equal = rows(100, 2, |_, _| 3.0);
        assert_eq!(k_means(&equal, 5, false, 1, &|| Ok(())).unwrap().get(0), [3.0, 3.0]);
        assert_eq!(k_means(&Rows::new(2), 5, false, 1, &|| Ok(())).unwrap().len(), 0);
        let one = rows(1, 2, |_, i| i as f32);
        assert_eq!(k_means(&one, 5, true, 1, &|| Ok(())).unwrap().len(), 1);
    }

    #[test]
    fn distances_to_all_centers_are_those_to_each() {
        let centers = rows(7, 5, |row, i| (row * i) as f32 - 3.0);
        let (comparer, mut found) = (Comparer::new(5), Vec::new());
        let row = [1.0, -2.0, 0.5, 4.0, 2.0];
        comparer.distances(&row, &centers, &mut found);
        let naive = |center: &[f32]| row.iter().zip(center).map(|(a, b)| (a - b).powi(2)).sum();
        let expected: Vec<f32> = centers.iter().map(naive).collect();
        let is_near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-4 * b.abs();
        assert!(found.len() == 7 && found.iter().zip(&expected).all(is_near));
        let mut buffer = Vec::new();
        assert_eq!(comparer.nearest(&row, &centers, |_| false, &mut buffer), None);
    }
}
