//! Cells: an order of rows in which those that are near each other follow each other.
//!
//! Two levels of k-means (Lloyd 1982) on a sample: groups, and the cells of each. Groups, and the
//! cells of a group, are in the order of a chain that goes to the nearest center next. A row
//! belongs to the nearest cell of the nearest group, which takes two square roots of the number of
//! cells distances, not their number.
//!
//! The order decides where vectors are stored and when they are linked, and no answer: so it is by
//! Euclidean distances of the components, whatever the metric, of vectors of length 1 where the
//! metric ignores lengths. One sequence of rows gives one order on one machine, for any number of
//! threads.

use crate::distance::Kernels;
use crate::error::Result;
use crate::threads::{self, SEARCHES};

/// Iterations of k-means: later ones move hardly any center.
const ITERATIONS: usize = 6;
/// Rows of the sample for each cell, at least.
const ROWS_PER_CENTER: usize = 16;
/// Rows of a cell, about: some hundred kilobytes.
const CELL_ROWS: u64 = 256;
/// The maximum number of cells.
const MAX_CELLS: usize = 4096;
/// Rows that a thread assigns at a time.
const TASK: usize = 256;

/// The centers of groups or of cells, one after the other.
#[derive(Debug, Default)]
struct Centers(Vec<f32>);

/// The cells: see the module.
#[derive(Debug)]
pub(super) struct Cells {
    dimensions: usize,
    kernels: Kernels,
    groups: Centers,
    /// For each group the number of its first cell, and its cells.
    cells: Vec<(u32, Centers)>,
    count: u32,
}

impl Cells {
    /// Makes cells for `rows` rows from a sample of them, one row after the other.
    pub(super) fn of(sample: &[f32], dimensions: usize, rows: u64) -> Result<Self> {
        let kernels = Kernels::euclidean(dimensions);
        let sampled = sample.len() / dimensions;
        let wanted = usize::try_from(rows / CELL_ROWS).unwrap_or(MAX_CELLS);
        let wanted = wanted.min(sampled / ROWS_PER_CENTER).clamp(1, MAX_CELLS);
        let groups = wanted.isqrt();
        let mut cells =
            Self { dimensions, kernels, groups: Centers::default(), cells: Vec::new(), count: 0 };
        let all: Vec<u32> = (0..sampled as u32).collect();
        let (centers, members) = cells.k_means(sample, &all, groups)?;
        let order = cells.chain(&centers, None);
        let mut before: Option<Vec<f32>> = None;
        for group in order {
            let members = &members[group];
            if members.is_empty() {
                continue;
            }
            let (children, _) =
                cells.k_means(sample, members, (wanted / groups).min(members.len() / 2).max(1))?;
            let chain = cells.chain(&children, before.as_deref());
            let ordered = Centers(
                chain.iter().flat_map(|child| children.get(*child, dimensions)).copied().collect(),
            );
            before = chain.last().map(|last| children.get(*last, dimensions).to_vec());
            cells.groups.0.extend(centers.get(group, dimensions));
            cells.cells.push((cells.count, ordered));
            cells.count += chain.len() as u32;
        }
        Ok(cells)
    }

    /// The number of cells, at least 1.
    pub(super) fn count(&self) -> u32 {
        self.count.max(1)
    }

    /// The cell of a row.
    pub(super) fn of_row(&self, row: &[f32]) -> u32 {
        let group = self.nearest(&self.groups, row);
        self.cells.get(group).map_or(0, |(first, cells)| first + self.nearest(cells, row) as u32)
    }

    /// The number of the nearest center, the first of equally near ones.
    fn nearest(&self, centers: &Centers, row: &[f32]) -> usize {
        let centers = centers.0.chunks_exact(self.dimensions);
        let (mut nearest, mut least) = (0, f32::INFINITY);
        for (number, center) in centers.enumerate() {
            let distance =
                self.kernels.one(bytemuck::cast_slice(row), bytemuck::cast_slice(center));
            if distance < least {
                (nearest, least) = (number, distance);
            }
        }
        nearest
    }

    /// At most `count` centers of some rows of a sample, and the rows of each.
    fn k_means(
        &self,
        sample: &[f32],
        rows: &[u32],
        count: usize,
    ) -> Result<(Centers, Vec<Vec<u32>>)> {
        let dimensions = self.dimensions;
        let row = |number: u32| &sample[number as usize * dimensions..][..dimensions];
        let count = count.clamp(1, rows.len().max(1));
        let mut centers = Centers(
            (0..count)
                .filter_map(|center| rows.get(center * rows.len() / count))
                .flat_map(|number| row(*number).iter().copied())
                .collect(),
        );
        let mut members = Vec::new();
        for iteration in 0..=ITERATIONS {
            let tasks: Vec<&[u32]> = rows.chunks(TASK).collect();
            let nearest = threads::map(&tasks, SEARCHES, |task| -> Result<Vec<usize>> {
                Ok(task.iter().map(|number| self.nearest(&centers, row(*number))).collect())
            })?;
            members = vec![Vec::new(); count];
            for (number, nearest) in rows.iter().zip(nearest.into_iter().flatten()) {
                members[nearest].push(*number);
            }
            if iteration == ITERATIONS {
                break;
            }
            let means = threads::map(&members, SEARCHES, |members| -> Result<Vec<f32>> {
                let mut sums = vec![0f64; dimensions];
                for number in members {
                    sums.iter_mut().zip(row(*number)).for_each(|(sum, x)| *sum += f64::from(*x));
                }
                Ok(sums.iter().map(|sum| (sum / members.len().max(1) as f64) as f32).collect())
            })?;
            // A center without rows stays where it is.
            for ((center, mean), members) in
                centers.0.chunks_exact_mut(dimensions).zip(means).zip(&members)
            {
                if !members.is_empty() {
                    center.copy_from_slice(&mean);
                }
            }
        }
        Ok((centers, members))
    }

    /// The numbers of centers in the order of a chain: from the nearest to `from`, or the first,
    /// each time to the nearest of the rest.
    fn chain(&self, centers: &Centers, from: Option<&[f32]>) -> Vec<usize> {
        let mut rest: Vec<usize> = (0..centers.0.len() / self.dimensions).collect();
        let mut chain: Vec<usize> = Vec::with_capacity(rest.len());
        while !rest.is_empty() {
            let last = chain.last().map(|last| centers.get(*last, self.dimensions)).or(from);
            let candidates = Centers(
                rest.iter()
                    .flat_map(|number| centers.get(*number, self.dimensions))
                    .copied()
                    .collect(),
            );
            let next = last.map_or(0, |last| self.nearest(&candidates, last));
            chain.push(rest.remove(next.min(rest.len() - 1)));
        }
        chain
    }
}

impl Centers {
    fn get(&self, number: usize, dimensions: usize) -> &[f32] {
        &self.0[number * dimensions..][..dimensions]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_place_are_in_few_cells_and_near_places_follow_each_other() {
        // Sixteen places on a line, visited in no order, with a little noise.
        let place = |row: usize| (row * 7 % 16) as f32 * 100.0;
        let row = |row: usize| [place(row), (row % 5) as f32, 1.0];
        let sample: Vec<f32> = (0..4096).flat_map(row).collect();
        let cells = Cells::of(&sample, 3, 4096).unwrap();
        assert!((8..=16).contains(&cells.count()), "{}", cells.count());
        let mut places: Vec<(u32, u32)> =
            (0..4096).map(|i| (cells.of_row(&row(i)), place(i) as u32)).collect();
        places.sort_unstable();
        places.dedup();
        assert!(places.iter().all(|(cell, _)| *cell < cells.count()));
        // Hardly any place is in several cells, and the way through all cells is not much longer
        // than the line.
        assert!(places.len() < 24, "{places:?}");
        let way: u32 = places.windows(2).map(|two| two[0].1.abs_diff(two[1].1)).sum();
        assert!(way < 3 * 1500, "{places:?}");
    }

    #[test]
    fn few_or_equal_rows_give_one_cell_or_more_and_never_fail() {
        for (sample, rows) in [(vec![], 0), (vec![1.0, 2.0], 1), (vec![3.0; 8192], 1 << 20)] {
            let cells = Cells::of(&sample, 2, rows).unwrap();
            assert!(cells.of_row(&[1.0, 2.0]) < cells.count());
        }
    }
}
