//! Training of scalar quantization: the range of a sample of vectors, from which the scale of an
//! index of [`I8`](crate::codec::I8) follows, and the error that the scale leaves.
//!
//! The range is that of all components, unless single rows lie far outside of it: those are left
//! out, and will be clipped. Whole rows are judged, by their smallest and their largest component:
//! a component that is large in all rows, or one large component in each, is no outlier. O(rows *
//! dimensions) time, and memory for a sample of bounded size; one sequence of rows gives one scale.
//!
//! This is not in `codec`, because voisin re-exports all of that.

use crate::codec::{Component, Scale, check_limit};
use crate::defect::VectorDefect;

/// Maximum number of rows whose smallest and largest component is kept. The 65 rows beyond the
/// quantile of so many tell it to an eighth of itself.
const EXTENTS: usize = 65_536;
/// Number of rows that are kept whole, for the error and the spread: both are then known to 5 %.
pub const ROWS: usize = 512;
/// Fewer of them are kept if they would take more than this many bytes, but not fewer than 64.
const ROWS_BYTES: usize = 16 << 20;
const MIN_ROWS: usize = 64;

/// One row in this many may lie outside of the range from which the fences follow, at each end.
const QUANTILE_DIVISOR: usize = 1000;
/// Number of rows from which on at least one row is left out at each end, before the fences are
/// set: the most extreme of fewer rows may be typical.
const MIN_JUDGED: usize = 8;
/// The distance from that range to the fences, in widths of the range. Normal components do not
/// come near it: of 100 000 rows of 128, the most extreme is a fifth of a width beyond the
/// quantile.
const FENCE_WIDTHS: f64 = 0.5;

/// A row is paired with that of this factor of its number, plus the second, modulo the rows: two
/// primes, so that partners have no regular distance.
const PARTNER: [usize; 2] = [197, 101];

/// The largest relative error that training accepts: a step of half a standard deviation. Of 10 000
/// normal vectors, an exact search then finds .70 to .76 of the 10 nearest; .92 at a quarter of it,
/// .5 to .6 at twice as much.
pub const MAX_ERROR: f64 = 0.144;

/// Which rows the error is measured against, if they differ much in length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typical {
    /// The median row: what is nearest to a query, or of nearly its direction, may be any.
    Median,
    /// The mean over all rows, to which long ones contribute most: those with the largest inner
    /// product are long. With lengths by a lognormal of sigma 2, an exact search by bytes finds .95
    /// of the 10 largest, where the error of the median row is .55.
    Mean,
}

/// An even sample of a sequence of unknown length: when it is full, every second element is
/// dropped, and from then on as many are skipped.
#[derive(Debug, Clone)]
struct Even<T> {
    kept: Vec<T>,
    capacity: usize,
    stride: u64,
    seen: u64,
}

impl<T> Even<T> {
    fn new(capacity: usize) -> Self {
        Self { kept: Vec::new(), capacity: capacity.max(2), stride: 1, seen: 0 }
    }

    /// Offers the next element.
    fn offer(&mut self, element: impl FnOnce() -> T) {
        if self.seen.is_multiple_of(self.stride) {
            if self.kept.len() == self.capacity {
                let mut places = 0..;
                self.kept
                    .retain(|_| places.next().is_some_and(|place: usize| place.is_multiple_of(2)));
                self.stride *= 2;
            }
            if self.seen.is_multiple_of(self.stride) {
                self.kept.push(element());
            }
        }
        self.seen += 1;
    }
}

/// A sample of vectors, row by row.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The smallest and the largest of all components.
    lowest: f32,
    highest: f32,
    /// Those of each row.
    extents: Even<[f32; 2]>,
    rows: Even<Vec<f32>>,
    typical: Typical,
}

/// The range that an index of [`I8`](crate::codec::I8) was trained for, and what it costs.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct TrainedRange {
    /// The smallest component of the range: that of the sample, or of the rows that are no
    /// outliers.
    pub lowest: f32,
    /// The largest component of the range, likewise.
    pub highest: f32,
    /// The relative error: the distance between a typical row and its stored form, over the spread
    /// of the rows, which is the distance between two typical rows over the root of 2. For
    /// components that are alike it is the rounding error of one, in standard deviations. Typical
    /// are the medians, or for inner products, whose largest are those of long rows, the root mean
    /// squares. 0 if all rows are equal.
    pub error: f64,
    /// The share of the rows, from 0 to 1, with components beyond the range, which are clipped.
    pub clipped: f64,
}

/// The result of training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit {
    /// The finest scale that covers the range.
    pub scale: Scale,
    /// The range.
    pub range: TrainedRange,
}

impl Sample {
    /// An empty sample, of vectors of so many components.
    #[must_use]
    pub fn new(dimensions: usize, typical: Typical) -> Self {
        let fitting = ROWS_BYTES / (size_of::<f32>() * dimensions.max(1));
        Self {
            lowest: f32::INFINITY,
            highest: f32::NEG_INFINITY,
            extents: Even::new(EXTENTS),
            rows: Even::new(fitting.clamp(MIN_ROWS, ROWS)),
            typical,
        }
    }

    /// Adds a vector.
    ///
    /// # Errors
    /// [`TooLarge`](VectorDefect::TooLarge) for the first component with a magnitude above 1e38,
    /// the limit of a scale; [`NotFinite`](VectorDefect::NotFinite) for NaN and infinities.
    pub fn add<T: Component>(&mut self, vector: &[T]) -> Result<(), VectorDefect> {
        check_limit(vector, Scale::MAX.into(), "the range of i8")?;
        self.add_stored(&T::floats(vector));
        Ok(())
    }

    /// Adds a vector with finite components, such as a stored one.
    pub fn add_stored(&mut self, vector: &[f32]) {
        let extent = vector.iter().fold([f32::INFINITY, f32::NEG_INFINITY], widened);
        [self.lowest, self.highest] = extent.iter().fold(self.all(), widened);
        self.extents.offer(|| extent);
        self.rows.offer(|| vector.to_vec());
    }

    /// The smallest and the largest of all components.
    fn all(&self) -> [f32; 2] {
        [self.lowest, self.highest]
    }

    /// Trains. `None` if no vector was added.
    #[must_use]
    pub fn fit(&self) -> Option<Fit> {
        let [lowest, highest] = self.range();
        let scale = Scale::between(lowest, highest)?;
        let is_clipped = |[low, high]: &&[f32; 2]| *low < lowest || *high > highest;
        let clipped = self.extents.kept.iter().filter(is_clipped).count();
        let clipped = clipped as f64 / self.extents.kept.len().max(1) as f64;
        let range = TrainedRange { lowest, highest, error: self.error(scale), clipped };
        Some(Fit { scale, range })
    }

    /// The range of all rows but outliers: of all components, if they lie within the fences.
    fn range(&self) -> [f32; 2] {
        let count = self.extents.kept.len();
        let left_out = (count / QUANTILE_DIVISOR).max(usize::from(count >= MIN_JUDGED));
        let mut ends = [0, 1].map(|end| -> Vec<f32> {
            self.extents.kept.iter().map(|extent| extent[end]).collect()
        });
        ends.iter_mut().for_each(|ends| ends.sort_unstable_by(f32::total_cmp));
        let [lows, highs] = ends;
        let (Some(low), Some(high)) =
            (lows.get(left_out), highs.len().checked_sub(left_out + 1).map(|at| highs[at]))
        else {
            return self.all();
        };
        let margin = FENCE_WIDTHS * (f64::from(high) - f64::from(*low)).max(0.0);
        let fences = [f64::from(*low) - margin, f64::from(high) + margin];
        // If outliers are beyond a fence, the range ends at the last row that is not.
        let within = |value: &&f32| (fences[0]..=fences[1]).contains(&f64::from(**value));
        let [lowest, highest] = self.all();
        [
            if within(&&lowest) { lowest } else { *lows.iter().find(within).unwrap_or(low) },
            if within(&&highest) { highest } else { *highs.iter().rfind(within).unwrap_or(&high) },
        ]
    }

    /// The relative error of a scale: see [`TrainedRange::error`]. Outliers do not change it: the
    /// median does not know them, and the mean is that of rows within the scale, if most are.
    #[must_use]
    pub fn error(&self, scale: Scale) -> f64 {
        let mut rows: Vec<&[f32]> = self.rows.kept.iter().map(Vec::as_slice).collect();
        if self.typical == Typical::Mean {
            let is_within = |row: &[f32]| row.iter().all(|value| !scale.code((*value).into()).1);
            let within: Vec<&[f32]> = rows.iter().copied().filter(|row| is_within(row)).collect();
            if within.len() * 2 > rows.len() {
                rows = within;
            }
        }
        let mut squares = half_squares(&rows);
        // Equal rows count only if all are.
        if self.typical(squares.clone()) == 0.0 {
            squares.retain(|square| *square > 0.0);
        }
        let spread = self.typical(squares);
        if spread == 0.0 {
            return 0.0;
        }
        let lost = |value: &f32| {
            let (code, _) = scale.code((*value).into());
            (f64::from(*value) - f64::from(scale.value(code))).powi(2)
        };
        let errors = rows.iter().map(|row| row.iter().map(lost).sum()).collect();
        (self.typical(errors) / spread).sqrt()
    }

    /// The error of a scale that no component is beyond, for any rows of this spread: that of
    /// numbers which are rounded to the next step. Infinite if most rows are equal, which rounding
    /// may have made them.
    #[must_use]
    pub fn rounding_error(&self, scale: Scale) -> f64 {
        let rows: Vec<&[f32]> = self.rows.kept.iter().map(Vec::as_slice).collect();
        let dimensions = rows.first().map_or(0, |row| row.len());
        let rounding = dimensions as f64 * f64::from(scale.step).powi(2) / 12.0;
        let squares = half_squares(&rows);
        if median(squares.clone()) == 0.0 {
            return if rows.len() > 1 { f64::INFINITY } else { 0.0 };
        }
        (rounding / self.typical(squares)).sqrt()
    }

    fn typical(&self, values: Vec<f64>) -> f64 {
        match self.typical {
            Typical::Median => median(values),
            Typical::Mean => values.iter().sum::<f64>() / values.len().max(1) as f64,
        }
    }
}

/// Half the squared distances of pairs of rows, which are scattered, so that neither sorted nor
/// repeated rows make a difference. For normal components it is on average the sum of their
/// variances.
fn half_squares(rows: &[&[f32]]) -> Vec<f64> {
    let partner = |row: usize| (row * PARTNER[0] + PARTNER[1]) % rows.len();
    let square = |row: usize| -> f64 {
        let pair = rows[row].iter().zip(rows[partner(row)]);
        pair.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
    };
    let pairs = (0..rows.len()).filter(|row| partner(*row) != *row);
    pairs.map(|row| square(row) / 2.0).collect()
}

fn widened([lowest, highest]: [f32; 2], value: &f32) -> [f32; 2] {
    [lowest.min(*value), highest.max(*value)]
}

/// The upper median; 0 of nothing.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample<'a>(rows: impl IntoIterator<Item = &'a [f32]>) -> Sample {
        let mut sample: Option<Sample> = None;
        for row in rows {
            sample.get_or_insert_with(|| Sample::new(row.len(), Typical::Median)).add(row).unwrap();
        }
        sample.unwrap()
    }

    /// Rows of 4 components from -1 to 1, both ends included.
    fn even(count: usize) -> Vec<[f32; 4]> {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        let mut rows: Vec<[f32; 4]> = (0..count).map(|_| [(); 4].map(|()| next())).collect();
        rows[0][0] = 1.0;
        rows[count - 1][3] = -1.0;
        rows
    }

    fn fit(rows: &[[f32; 4]]) -> Fit {
        sample(rows.iter().map(|row| &row[..])).fit().unwrap()
    }

    fn ends(fit: &Fit) -> [f32; 2] {
        [fit.range.lowest, fit.range.highest]
    }

    #[test]
    fn without_outliers_the_range_is_that_of_all_components() {
        for count in [1, 2, 3, 7, 8, 9, 100, 5000] {
            let rows = even(count);
            let components = rows.iter().flatten();
            let all = components.fold([f32::INFINITY, f32::NEG_INFINITY], widened);
            let fit = fit(&rows);
            assert_eq!((ends(&fit), fit.range.clipped), (all, 0.0), "{count}");
            assert_eq!(Some(fit.scale), Scale::between(all[0], all[1]));
        }
        // Integers of a byte are stored without loss.
        let bytes: Vec<[f32; 4]> =
            (0..300).map(|row| [row % 256, 0, 255, 3].map(|i| i as f32)).collect();
        let Fit { scale, range } = fit(&bytes);
        assert_eq!((scale.step, scale.value(i8::MIN), range.error), (1.0, 0.0, 0.0));
        assert_eq!(Sample::new(3, Typical::Mean).fit(), None);
    }

    #[test]
    fn rows_far_outside_are_left_out_at_either_end() {
        for (outliers, count) in [(1, 8), (1, 100), (1, 1999), (2, 2500), (9, 10_000)] {
            for size in [[6.0, 1e4], [1e30, 1e-3], [-6.0, 0.0], [-1e30, 1e30]] {
                let mut rows = even(count);
                for outlier in 0..outliers {
                    rows[count / 2 + outlier][1..3].copy_from_slice(&size);
                }
                let fit = fit(&rows);
                assert_eq!(ends(&fit), [-1.0, 1.0], "{size:?}, {outliers} of {count}");
                assert_eq!(fit.range.clipped, outliers as f64 / count as f64);
                assert!(count < 100 || fit.range.error < 0.006, "{fit:?}");
            }
        }
    }

    /// What is large in every row, or once in each, belongs to the range.
    #[test]
    fn large_components_of_all_rows_are_no_outliers() {
        let mut rows = even(1000);
        rows.iter_mut().for_each(|row| row[2] = 500.0 + row[0]);
        assert_eq!(ends(&fit(&rows)), [-1.0, 501.0]);
        let mut sparse = vec![vec![0.0; 200]; 1000];
        for (i, row) in sparse.iter_mut().enumerate() {
            row[i % 200] = (i + 1) as f32;
        }
        let fit = sample(sparse.iter().map(|row| &row[..])).fit().unwrap();
        assert_eq!((ends(&fit), fit.range.clipped), ([0.0, 1000.0], 0.0));
    }

    #[test]
    fn the_error_is_that_of_a_component_in_standard_deviations() {
        let rows = even(2000);
        let sample = sample(rows.iter().map(|row| &row[..]));
        for step in [0.01, 0.1, 0.3] {
            let scale = Scale::between(-127.5 * step, 127.5 * step).unwrap();
            // Both are even: the error of a component, and a component of a width of 2.
            let expected = f64::from(step) / 2.0;
            let error = sample.error(scale);
            assert!((error / expected - 1.0).abs() < 0.1, "{error} of {expected}");
            let now = sample.rounding_error(scale);
            assert!((now / expected - 1.0).abs() < 0.1, "{now} of {expected}");
        }
        // All get one code.
        assert!(sample.error(Scale::between(-1e4, 1e4).unwrap()) > 0.9);
        // All are clipped.
        assert!(sample.error(Scale::between(5.0, 6.0).unwrap()) > 0.9);
    }

    /// Of rows of which few are long, the mean has the error of the long ones.
    #[test]
    fn the_mean_goes_by_long_rows_and_not_by_clipped_ones() {
        let mut rows = even(1000);
        let long = |row: &mut [f32; 4]| row.iter_mut().for_each(|value| *value *= 100.0);
        rows[..200].iter_mut().for_each(long);
        let scale = Scale::between(-100.0, 100.0).unwrap();
        let error = |rows: &[[f32; 4]], typical| {
            let mut sample = Sample::new(4, typical);
            rows.iter().for_each(|row| sample.add(row).unwrap());
            sample.error(scale)
        };
        let [median, mean] = [Typical::Median, Typical::Mean].map(|typical| error(&rows, typical));
        assert!(median > 0.1 && mean < 0.02, "{median}, {mean}");
        rows[500] = [1e30; 4];
        assert!((error(&rows, Typical::Mean) / mean - 1.0).abs() < 0.1);
        rows.iter_mut().for_each(|row| row[0] += 1e4);
        assert!(error(&rows, Typical::Mean) > 0.5);
    }

    #[test]
    fn equal_rows_have_no_error() {
        for rows in [vec![[7.25; 4]], vec![[7.25; 4]; 100]] {
            let fit = fit(&rows);
            assert_eq!((fit.range.error, ends(&fit)), (0.0, [7.25; 2]));
            let sample = sample(rows.iter().map(|row| &row[..]));
            let expected = if rows.len() > 1 { f64::INFINITY } else { 0.0 };
            assert_eq!(sample.rounding_error(fit.scale), expected);
        }
        // The others count, where most are equal.
        let mut rows = vec![[0.0; 4]; 100];
        rows[..20].copy_from_slice(&even(20));
        let sample = sample(rows.iter().map(|row| &row[..]));
        let error = sample.error(Scale::between(-25.5, 25.5).unwrap());
        assert!(error > 0.05, "{error}");
    }

    #[test]
    fn a_sample_of_any_length_is_even_and_bounded() {
        for count in [1, 5, 8, 9, 100, 1025] {
            let mut even = Even::new(8);
            (0..count).for_each(|i| even.offer(|| i));
            let stride = even.stride;
            assert!(even.kept.len() <= 8 && (even.kept.len() > 4 || count <= 8), "{even:?}");
            assert!(even.kept.iter().enumerate().all(|(i, kept)| *kept == i as u64 * stride));
        }
        assert_eq!(Sample::new(65_535, Typical::Median).rows.capacity, 64);
    }
}
