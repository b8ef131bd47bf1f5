//! The odds of a query: the probability that a vector at some distance from it has some digits.
//!
//! Given the rotated components of a query `q`, a vector at distance `d` from it has components
//! `(1 - c) q + s g`, where `g` is a normal vector: `c` is what the difference takes off along `q`,
//! as vectors at a distance from an outlying query lie nearer to the center than it does, and `s`
//! is the rest, spread over all components alike by the random rotation. So the probability of each
//! value of a digit is an integral over the largest component, and digits are independent.
//!
//! A search probes, over all tables at once, the hashes whose likelihood is at least a
//! **threshold**. That set depends on the query alone, not on what is stored, so that the
//! probability that it misses a vector at distance `d` is the product of what all tables miss: this
//! is the promise of a search, in the way of PUFFINN (Aumüller, Christiani, Pagh, Vesterli 2019),
//! whose sets of hashes are the prefixes of one.

use super::gauss::{Gauss, ln};
use super::shape::{DIGITS, VALUES, WIDTH};

/// Points of the integral over the largest component: at most 0.7 standard deviations apart.
const POINTS: usize = 12;
/// The integral ends this many standard deviations beyond the largest mean.
const BEYOND: f32 = 4.2;
/// No value of a digit is less likely than this.
const LEAST: f32 = 1e-7;
/// Likelihoods are counted in steps of this factor, in natural logarithms, and down to this many
/// below the best.
const STEP: f32 = 0.2;
const STEPS: usize = 96;

/// A query, rotated.
#[derive(Debug, Clone)]
pub struct Point {
    pub(super) blocks: Vec<f32>,
    pub(super) square: f64,
    pub(super) padded: usize,
    pub(super) tables: usize,
}

/// The logarithms of the probabilities of the values of a digit, relative to the most likely one.
type Digit = [f32; VALUES];

/// The odds of a query: see the module.
#[derive(Debug, Clone)]
pub struct Odds {
    levels: usize,
    /// For each table, one digit after the other.
    digits: Vec<Digit>,
    /// The logarithm of the likelihood of the best hash of each table.
    tops: Vec<f32>,
    /// For each table, the probability of all hashes whose likelihood is at most so many steps
    /// below the best.
    masses: Vec<[f32; STEPS]>,
}

impl Point {
    /// The square of the distance from the center.
    #[must_use]
    pub fn square(&self) -> f64 {
        self.square
    }

    /// The odds of a vector at a distance, given by its square, for the first `levels` digits.
    #[must_use]
    pub fn odds(&self, square: f64, levels: usize) -> Odds {
        let levels = levels.clamp(1, DIGITS);
        let (gauss, own) = (Gauss::new(), self.square.max(f64::MIN_POSITIVE));
        // A vector that is as far from the center as the query.
        let along = (1.0 - square / (2.0 * own)).max(0.0);
        let across = (square - (1.0 - along).powi(2) * own).max(square * 0.01);
        let spread = ((across / self.padded as f64).sqrt() as f32).max(f32::MIN_POSITIVE);
        let mut odds = Odds {
            levels,
            digits: Vec::with_capacity(self.tables * levels),
            tops: Vec::with_capacity(self.tables),
            masses: Vec::with_capacity(self.tables),
        };
        for table in self.blocks.chunks_exact(DIGITS * WIDTH) {
            let mut mass = [0f32; STEPS];
            mass[0] = 1.0;
            let mut top = 0.0;
            for block in table.chunks_exact(WIDTH).take(levels) {
                let scaled = std::array::from_fn(|i| block[i] * along as f32 / spread);
                let (best, digit) = digit(&gauss, &scaled, &mut mass);
                top += best;
                odds.digits.push(digit);
            }
            let mut sum = 0.0;
            mass.iter_mut().for_each(|part| {
                sum += *part;
                *part = sum.min(1.0);
            });
            odds.tops.push(top);
            odds.masses.push(mass);
        }
        odds
    }
}

/// The logarithm of the probability of the most likely value of a digit, and those of all relative
/// to it. `means` are the means of the components, in standard deviations. Spreads `mass`.
fn digit(gauss: &Gauss, means: &[f32; WIDTH], mass: &mut [f32; STEPS]) -> (f32, Digit) {
    let largest = means.iter().fold(0f32, |largest, mean| largest.max(mean.abs()));
    let low = (largest - BEYOND).max(0.4);
    let width = (largest + BEYOND - low) / POINTS as f32;
    let mut chances = [LEAST; VALUES];
    for point in 0..POINTS {
        let at = low + width * (point as f32 + 0.5);
        // The probability that all components but one are below, and the density of that one.
        let (mut all, mut below, mut densities) = (1f32, [0f32; WIDTH], [[0f32; 2]; WIDTH]);
        for ((below, densities), mean) in below.iter_mut().zip(&mut densities).zip(means) {
            let ([right, upper], [left, lower]) = (gauss.at(at - mean), gauss.at(-at - mean));
            *below = (upper - lower).max(1e-6);
            *densities = [right, left];
            all *= *below;
        }
        for ((chance, below), densities) in
            chances.as_chunks_mut::<2>().0.iter_mut().zip(&below).zip(&densities)
        {
            let others = all / below * width;
            chance[0] += densities[0] * others;
            chance[1] += densities[1] * others;
        }
    }
    let sum: f32 = chances.iter().sum();
    let best = chances.iter().fold(0f32, |best, chance| best.max(*chance));
    let before = *mass;
    *mass = [0.0; STEPS];
    let logs = chances.map(|chance| {
        let log = ln(chance / best);
        let steps = (-log / STEP + 0.5) as usize;
        let share = chance / sum;
        for (after, before) in mass.iter_mut().skip(steps).zip(&before) {
            *after += share * before;
        }
        log.min(0.0)
    });
    (ln(best / sum), logs)
}

impl Odds {
    /// The number of digits.
    #[must_use]
    pub fn levels(&self) -> usize {
        self.levels
    }

    /// The digits of a table.
    #[must_use]
    pub fn digits(&self, table: usize) -> &[Digit] {
        &self.digits[table * self.levels..][..self.levels]
    }

    /// How far below the best hash of a table the likelihood of a hash may be for it to be probed,
    /// in natural logarithms. Negative if none is.
    #[must_use]
    pub fn depth(&self, table: usize, threshold: f32) -> f32 {
        self.tops[table] - threshold
    }

    /// The probability that a vector at the distance of these odds has none of the hashes whose
    /// likelihood is at least the threshold.
    #[must_use]
    pub fn miss(&self, threshold: f32) -> f64 {
        let tables = self.masses.iter().enumerate();
        let misses = tables.map(|(table, mass)| {
            let depth = self.depth(table, threshold);
            let found =
                if depth < 0.0 { 0.0 } else { mass[((depth / STEP) as usize).min(STEPS - 1)] };
            1.0 - f64::from(found)
        });
        misses.product()
    }

    /// The threshold that keeps a promise: a vector at the distance of these odds is found with at
    /// least this probability. `None` if hashes that are not too unlikely do not suffice.
    #[must_use]
    pub fn threshold(&self, promise: f64) -> Option<f32> {
        let best = self.tops.iter().fold(f32::MIN, |best, top| best.max(*top));
        let thresholds = (0..STEPS).map(|steps| best - steps as f32 * STEP);
        thresholds.into_iter().find(|threshold| self.miss(*threshold) <= 1.0 - promise)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Hasher;
    use super::*;

    /// A normal number, by the central limit theorem.
    fn normal(state: &mut u64) -> f32 {
        let sum: f64 = (0..12)
            .map(|_| (crate::distance::split_mix(state) >> 11) as f64 / (1u64 << 53) as f64)
            .sum();
        (sum - 6.0) as f32
    }

    /// Vectors at the same distance from the query, as far from the center as it is.
    fn around(query: &[f32], square: f64, state: &mut u64) -> Vec<f32> {
        let own: f64 = query.iter().map(|v| f64::from(*v).powi(2)).sum();
        let along = 1.0 - square / (2.0 * own);
        let across = (square - (1.0 - along).powi(2) * own).sqrt();
        let mut other: Vec<f32> = query.iter().map(|_| normal(state)).collect();
        let dot: f64 = other.iter().zip(query).map(|(a, b)| f64::from(a * b)).sum();
        other.iter_mut().zip(query).for_each(|(a, b)| *a -= (dot / own) as f32 * b);
        let norm = other.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        let pairs = other.iter().zip(query);
        pairs.map(|(a, b)| (f64::from(*b) * along + f64::from(*a) * across / norm) as f32).collect()
    }

    #[test]
    fn vectors_are_found_as_often_as_promised() {
        let (components, tables, levels) = (96, 8, 3);
        let mut state = 11;
        let (mut scratch, mut hashes) = (Vec::new(), Vec::new());
        for (promise, ratio) in [(0.5, 0.8), (0.9, 0.8), (0.9, 0.3), (0.95, 1.1)] {
            let (mut found, mut all) = (0, 0);
            for seed in 0..40 {
                let hasher = Hasher::new(seed, vec![0.0; components], tables);
                let query: Vec<f32> = (0..components).map(|_| normal(&mut state)).collect();
                let point = hasher.query(&query);
                let square = point.square() * ratio;
                let odds = point.odds(square, levels);
                let threshold = odds.threshold(promise).unwrap();
                for _ in 0..25 {
                    let other = around(&query, square, &mut state);
                    hasher.hash(&other, &mut scratch, &mut hashes);
                    all += 1;
                    found += usize::from((0..tables).any(|table| {
                        let digits = odds.digits(table).iter().enumerate();
                        let log: f32 = digits
                            .map(|(level, digit)| {
                                digit[(hashes[table] >> (5 * (DIGITS - 1 - level)) & 31) as usize]
                            })
                            .sum();
                        -log <= odds.depth(table, threshold)
                    }));
                }
            }
            let share = f64::from(found as u32) / f64::from(all);
            assert!(
                share >= promise - 0.04 && share <= promise + 0.08,
                "{promise}, {ratio}: {share}"
            );
        }
    }

    #[test]
    fn nearer_vectors_are_missed_less_and_lower_thresholds_miss_less() {
        let hasher = Hasher::new(3, vec![0.0; 128], 8);
        let query: Vec<f32> = (0..128).map(|i| ((i * 31) % 19) as f32 - 9.0).collect();
        let point = hasher.query(&query);
        let threshold = point.odds(point.square(), 3).threshold(0.9).unwrap();
        let mut before = 2.0;
        for ratio in [1.4, 1.0, 0.7, 0.4, 0.1] {
            let miss = point.odds(point.square() * ratio, 3).miss(threshold);
            assert!(miss < before + 1e-6, "{ratio}: {miss} {before}");
            before = miss;
        }
        let odds = point.odds(point.square(), 3);
        assert!(odds.miss(threshold - 1.0) < odds.miss(threshold));
        assert_eq!(odds.miss(f32::MAX), 1.0);
    }

    #[test]
    fn a_query_at_the_center_has_odds_too() {
        let point = Hasher::new(3, vec![1.0; 8], 4).query(&[1.0; 8]);
        let odds = point.odds(2.0, 2);
        assert!(odds.digits(0).iter().flatten().all(|log| log.is_finite()));
        assert!((0.0..=1.0).contains(&odds.miss(-5.0)));
        assert!(point.odds(0.0, 9).levels() == DIGITS);
    }
}
