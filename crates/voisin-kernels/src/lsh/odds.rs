//! The odds of a query: the probability that a vector at some distance from it has some digits.
//!
//! Given the rotated components of a query `q`, a vector at distance `d` from it has components
//! `(1 - c) q + s g`, where `g` is a normal vector: `c` is what the difference takes off along `q`,
//! as vectors at a distance from an outlying query lie nearer to the center than it does, and `s`
//! is the rest, spread over all components alike by the random rotation. So the [`Chances`] of each
//! value of a digit are an integral over the largest component, and digits are independent.
//!
//! [`Odds`] rank all hashes of all tables by the chances at one distance: a hash is some *steps*
//! (of a fifth of a natural logarithm) less likely than the likeliest of all tables. A search
//! probes those up to a *limit* of steps. That set depends on the query alone, not on what is
//! stored, so that the probability that it misses a vector at distance `d` is the product of what
//! all tables miss: this is the promise of a search, in the way of PUFFINN (Aumüller, Christiani,
//! Pagh, Vesterli 2019), whose sets of hashes are the prefixes of one. [`Reach`] has that
//! probability for every limit, and for any distance, not only that by which hashes are ranked.

use super::gauss::{ln, normal};
use super::shape::{DIGIT_BITS, DIGITS, VALUES, WIDTH};

/// Points of the integral over the largest component: at most 0.7 standard deviations apart.
const POINTS: usize = 12;
/// The integral ends this many standard deviations beyond the largest mean.
const BEYOND: f32 = 4.2;
/// Means count as no farther from 0 than this, in standard deviations.
const FARTHEST: f32 = 1000.0;
/// No value of a digit is less likely than this.
const LEAST: f32 = 1e-7;
/// A step, in natural logarithms.
const STEP: f32 = 0.2;
/// The number of limits: hashes that are less likely by more steps are not probed.
pub const STEPS: usize = 96;

/// A query, rotated.
#[derive(Debug, Clone)]
pub struct Point {
    pub(super) blocks: Vec<f32>,
    pub(super) square: f64,
    pub(super) padded: usize,
    pub(super) tables: usize,
}

/// The probabilities of the values of all digits, table by table, for a vector at some distance.
#[derive(Debug, Clone)]
pub struct Chances(Vec<[f32; VALUES]>);

/// The steps of the values of a digit. The likeliest value has none.
pub type Steps = [u8; VALUES];

/// How hashes are ranked: see the module.
#[derive(Debug, Clone)]
pub struct Odds {
    digits: Vec<Steps>,
    /// The steps of the likeliest hash of each table.
    bases: Vec<usize>,
}

/// For each table, the probability of all hashes up to each limit.
#[derive(Debug, Clone)]
pub struct Reach(Vec<[f32; STEPS]>);

impl Point {
    /// The square of the distance from the center.
    #[must_use]
    pub fn square(&self) -> f64 {
        self.square
    }

    /// The chances of a vector at a distance, given by its square.
    #[must_use]
    pub fn chances(&self, square: f64) -> Chances {
        let own = self.square.max(f64::MIN_POSITIVE);
        // A vector that is as far from the center as the query.
        let along = (1.0 - square / (2.0 * own)).max(0.0);
        let across = (square - (1.0 - along).powi(2) * own).max(square * 0.01);
        let spread = ((across / self.padded as f64).sqrt() as f32).max(f32::MIN_POSITIVE);
        let blocks = self.blocks.as_chunks::<WIDTH>().0.iter().take(self.tables * DIGITS);
        let scaled = |mean: f32| (mean * along as f32 / spread).clamp(-FARTHEST, FARTHEST);
        let digits = blocks.map(|block| digit(&block.map(scaled)));
        Chances(digits.collect())
    }
}

/// The probabilities of the values of a digit. `means` are the means of the components, in standard
/// deviations.
fn digit(means: &[f32; WIDTH]) -> [f32; VALUES] {
    let largest = means.iter().fold(0f32, |largest, mean| largest.max(mean.abs()));
    let low = (largest - BEYOND).max(0.4);
    let width = (largest + BEYOND - low) / POINTS as f32;
    let [mut positive, mut negative] = [[LEAST; WIDTH]; 2];
    for point in 0..POINTS {
        let at = low + width * (point as f32 + 0.5);
        let (right, upper) = normal(&means.map(|mean| at - mean));
        let (left, lower) = normal(&means.map(|mean| -at - mean));
        // The probability that all components but one are below, and the density of that one.
        let below: [f32; WIDTH] = std::array::from_fn(|i| (upper[i] - lower[i]).max(1e-6));
        let all = below.iter().product::<f32>() * width;
        for i in 0..WIDTH {
            let others = all / below[i];
            positive[i] += right[i] * others;
            negative[i] += left[i] * others;
        }
    }
    let sum = positive.iter().chain(&negative).sum::<f32>();
    std::array::from_fn(|value| {
        (if value % 2 == 0 { positive[value / 2] } else { negative[value / 2] }) / sum
    })
}

impl Chances {
    /// Ranks hashes by these chances.
    #[must_use]
    pub fn odds(&self) -> Odds {
        let mut tops = Vec::with_capacity(self.0.len() / DIGITS);
        let mut digits = Vec::with_capacity(self.0.len());
        for table in self.0.chunks_exact(DIGITS) {
            let mut top = 0.0;
            for chances in table {
                let best = chances.iter().fold(f32::MIN_POSITIVE, |best, chance| best.max(*chance));
                let steps = |chance: f32| steps(-ln((chance / best).max(f32::MIN_POSITIVE)));
                digits.push(chances.map(|chance| steps(chance) as u8));
                top += ln(best);
            }
            tops.push(top);
        }
        let best = tops.iter().fold(f32::MIN, |best, top| best.max(*top));
        Odds { digits, bases: tops.iter().map(|top| steps(best - top)).collect() }
    }
}

/// The steps of a difference of logarithms, up to [`STEPS`].
fn steps(difference: f32) -> usize {
    ((difference / STEP + 0.5) as usize).min(STEPS)
}

impl Odds {
    /// The steps of the values of each digit of a table.
    #[must_use]
    pub fn digits(&self, table: usize) -> &[Steps] {
        &self.digits[table * DIGITS..][..DIGITS]
    }

    /// The steps that a limit leaves to the digits of a table. `None` if no hash of it is within.
    #[must_use]
    pub fn left(&self, table: usize, limit: usize) -> Option<u8> {
        limit.checked_sub(self.bases[table]).map(|left| left as u8)
    }

    /// The steps of the likeliest hash of a table.
    #[must_use]
    pub fn base(&self, table: usize) -> usize {
        self.bases[table]
    }

    /// The likeliest hash of a table.
    #[must_use]
    pub fn best(&self, table: usize) -> u32 {
        self.digits(table).iter().fold(0, |hash, digit| {
            hash << DIGIT_BITS | digit.iter().position(|steps| *steps == 0).unwrap_or(0) as u32
        })
    }

    /// No hash of a table from `first` to `last` has fewer steps than this, beyond those of the
    /// likeliest one.
    #[must_use]
    pub fn least(&self, table: usize, first: u32, last: u32) -> usize {
        let mut sum = 0;
        for (digit, nth) in self.digits(table).iter().zip(1..) {
            let shift = DIGIT_BITS * (DIGITS as u32 - nth);
            let [first, last] = [first, last].map(|hash| (hash >> shift) as usize % VALUES);
            if first < last {
                let range = &digit[first..=last];
                return sum + usize::from(range.iter().copied().min().unwrap_or(0));
            }
            sum += usize::from(digit[first]);
        }
        sum
    }

    /// What the limits reach of vectors that have these chances, of the same query.
    #[must_use]
    pub fn reach(&self, chances: &Chances) -> Reach {
        let digits = self.digits.chunks_exact(DIGITS).zip(chances.0.chunks_exact(DIGITS));
        let of_table = |((digits, chances), base): ((&[Steps], &[[f32; VALUES]]), &usize)| {
            let mut mass = [0f32; STEPS];
            if let Some(first) = mass.get_mut(*base) {
                *first = 1.0;
            }
            for (steps, chances) in digits.iter().zip(chances) {
                let before = mass;
                mass = [0.0; STEPS];
                for (steps, chance) in steps.iter().zip(chances) {
                    let after = mass.iter_mut().skip(usize::from(*steps));
                    after.zip(&before).for_each(|(after, before)| *after += chance * before);
                }
            }
            let mut sum = 0.0;
            mass.map(|part| {
                sum += part;
                f32::min(sum, 1.0)
            })
        };
        Reach(digits.zip(&self.bases).map(of_table).collect())
    }
}

impl Reach {
    /// The probability that a vector has none of the hashes up to a limit.
    #[must_use]
    pub fn miss(&self, limit: usize) -> f64 {
        let limit = limit.min(STEPS - 1);
        self.0.iter().map(|mass| 1.0 - f64::from(mass[limit])).product()
    }

    /// The limit that keeps a promise: a vector has one of the hashes with at least this
    /// probability. `None` if hashes that are not too unlikely do not suffice.
    #[must_use]
    pub fn limit(&self, promise: f64) -> Option<usize> {
        (0..STEPS).find(|limit| self.miss(*limit) <= 1.0 - promise)
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

    /// The steps of a hash, by the definition.
    fn of(odds: &Odds, table: usize, hash: u32) -> usize {
        let digits = odds.digits(table).iter().enumerate();
        let steps = digits.map(|(nth, digit)| {
            usize::from(digit[(hash >> (5 * (DIGITS - 1 - nth)) & 31) as usize])
        });
        odds.base(table) + steps.sum::<usize>()
    }

    #[test]
    fn vectors_are_found_as_often_as_promised_also_at_another_distance_than_that_of_the_ranks() {
        let (components, tables) = (96, 8);
        let mut state = 11;
        let (mut scratch, mut hashes) = (Vec::new(), Vec::new());
        for (promise, ratio, ranked) in
            [(0.5, 0.4, 0.4), (0.9, 0.4, 0.4), (0.9, 0.3, 0.5), (0.95, 0.5, 0.3)]
        {
            let (mut found, mut all) = (0, 0);
            for seed in 0..40 {
                let hasher = Hasher::new(seed, vec![0.0; components], tables);
                let query: Vec<f32> = (0..components).map(|_| normal(&mut state)).collect();
                let point = hasher.query(&query);
                let square = point.square() * ratio;
                let odds = point.chances(point.square() * ranked).odds();
                let limit = odds.reach(&point.chances(square)).limit(promise).unwrap();
                for _ in 0..25 {
                    let other = around(&query, square, &mut state);
                    hasher.hash(&other, &mut scratch, &mut hashes);
                    all += 1;
                    found += usize::from((0..tables).any(|t| of(&odds, t, hashes[t]) <= limit));
                }
            }
            let share = f64::from(found as u32) / f64::from(all);
            assert!(
                share >= promise - 0.04 && share <= promise + 0.08,
                "{promise}, {ratio}, {ranked}: {share}"
            );
        }
    }

    #[test]
    fn nearer_vectors_are_missed_less_and_higher_limits_miss_less() {
        let hasher = Hasher::new(3, vec![0.0; 128], 8);
        let query: Vec<f32> = (0..128).map(|i| ((i * 31) % 19) as f32 - 9.0).collect();
        let point = hasher.query(&query);
        let odds = point.chances(point.square()).odds();
        let reach = odds.reach(&point.chances(point.square()));
        let limit = reach.limit(0.9).unwrap();
        let mut before = 2.0;
        for ratio in [1.4, 1.0, 0.7, 0.4, 0.1] {
            let miss = odds.reach(&point.chances(point.square() * ratio)).miss(limit);
            assert!(miss < before + 1e-6, "{ratio}: {miss} {before}");
            before = miss;
        }
        assert!(reach.miss(limit + 5) < reach.miss(limit));
        assert_eq!(reach.limit(1.0 + 1e-9), None);
    }

    #[test]
    fn no_hash_of_a_range_has_fewer_steps_than_the_least_of_it() {
        let hasher = Hasher::new(5, vec![0.0; 64], 3);
        let query: Vec<f32> = (0..64).map(|i| ((i * 29) % 23) as f32 - 11.0).collect();
        let point = hasher.query(&query);
        let odds = point.chances(point.square() * 0.5).odds();
        let mut state = 1;
        let mut random = || (crate::distance::split_mix(&mut state) >> 39) as u32;
        for _ in 0..200 {
            let [a, b, table] = [random(), random(), random() % 3];
            let b = if b % 2 == 0 { b } else { a ^ (b % 5000) };
            let (first, last, table) = (a.min(b), a.max(b), table as usize);
            let least = odds.base(table) + odds.least(table, first, last);
            for step in 0..50 {
                let hash = first + ((u64::from(last - first) * step) / 49) as u32;
                assert!(of(&odds, table, hash) >= least, "{first} {hash} {last}");
            }
            assert_eq!(odds.base(table) + odds.least(table, a, a), of(&odds, table, a));
        }
        assert!((0..3).all(|table| of(&odds, table, odds.best(table)) == odds.base(table)));
        assert!((0..3).any(|table| odds.base(table) == 0));
    }

    #[test]
    fn a_query_at_the_center_has_odds_too() {
        let point = Hasher::new(3, vec![1.0; 8], 4).query(&[1.0; 8]);
        for square in [0.0, 2.0, f64::MAX] {
            let chances = point.chances(square);
            assert!(chances.0.iter().flatten().all(|chance| chance.is_finite()), "{square}");
            let odds = chances.odds();
            assert!((0.0..=1.0).contains(&odds.reach(&chances).miss(20)));
        }
    }
}
