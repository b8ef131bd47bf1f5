//! The `ef` of a search whose goal is a recall, from the calibration of the index (see `recall`).

use crate::error::{Error, Result};
use crate::types::{Calibration, Curve, Point};

/// `ef` for one recall grows by this power of the number of items: decision 0049 has what was
/// measured.
const GROWTH_EXPONENT: f64 = 0.1;
/// Beyond the last measured point, the share of missed neighbors falls by a power of `ef`, that
/// between the last two points, if it is between these.
const MIN_SLOPE: f64 = 0.5;
const MAX_SLOPE: f64 = 3.0;

/// Checks a goal.
///
/// # Errors
/// [`Error::InvalidParameter`].
pub(super) fn check_goal(recall: f64) -> Result<()> {
    if recall > 0.0 && recall <= 1.0 {
        return Ok(());
    }
    let remedy = "use a number above 0 and at most 1, such as 0.95; 1 is an exact search";
    Err(Error::InvalidParameter { name: "recall", value: recall, remedy })
}

/// The `ef` by which a search for `k` results of an index of `items` items reaches a recall below 1
/// on average.
pub(crate) fn ef_for(calibration: &Calibration, k: usize, recall: f64, items: u32) -> usize {
    let Calibration { queries, curves, .. } = calibration;
    let ef = |curve: &Curve| ef_on(curve, f64::from(*queries), 1.0 - recall);
    let (k, of) = (k.max(1) as f64, |curve: &Curve| f64::from(curve.k));
    let above = curves.iter().position(|curve| of(curve) >= k);
    let found = match (above, curves.last()) {
        (Some(0), _) => ef(&curves[0]),
        (Some(above), _) => {
            let [below, above] = [&curves[above - 1], &curves[above]];
            interpolated(k, [of(below), of(above)], [ef(below), ef(above)])
        }
        (None, Some(last)) => ef(last) * k / of(last),
        // There is one at least.
        (None, None) => k,
    };
    let growth = f64::from(items) / f64::from(calibration.items.max(1));
    (found * growth.max(1.0).powf(GROWTH_EXPONENT)).ceil() as usize
}

/// The `ef` at which a share of the neighbors is missed.
fn ef_on(curve: &Curve, queries: f64, missed: f64) -> f64 {
    // A sample does not tell less than half a neighbor from none.
    let least = 0.5 / (queries * f64::from(curve.k));
    let share = |point: &Point| (1.0 - f64::from(point.recall)).max(least);
    // More effort finds no less: what seems so is chance.
    let mut lowest = 1.0f64;
    let points: Vec<[f64; 2]> = curve
        .points
        .iter()
        .map(|point| {
            lowest = lowest.min(share(point));
            [f64::from(point.ef), lowest]
        })
        .collect();
    let Some([last_ef, last_missed]) = points.last().copied() else { return 1.0 };
    // Recall is stored in `f32`.
    match points.iter().position(|[_, point]| *point <= missed + 1e-6) {
        Some(0) => points[0][0],
        Some(at) => {
            let [[ef, before], [next_ef, after]] = [points[at - 1], points[at]];
            interpolated(missed, [before, after], [ef, next_ef])
        }
        None => {
            let slope = match points[..] {
                [.., [ef, before], [next_ef, after]] => (before / after).ln() / (next_ef / ef).ln(),
                _ => MIN_SLOPE,
            };
            last_ef * (last_missed / missed).powf(1.0 / slope.clamp(MIN_SLOPE, MAX_SLOPE))
        }
    }
}

/// The value at `x`, between two points, where logarithms are on a line.
fn interpolated(x: f64, [x0, x1]: [f64; 2], [y0, y1]: [f64; 2]) -> f64 {
    let part = (x / x0).ln() / (x1 / x0).ln();
    if part.is_finite() { y0 * (y1 / y0).powf(part) } else { y1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tenth of the neighbors is missed at `ef` 10 k, a hundredth at 100 k.
    fn calibration() -> Calibration {
        let points = |k: u32| {
            [(1, 0.0), (10, 0.9), (40, 0.975), (100, 0.99)]
                .map(|(factor, recall)| Point { ef: k * factor, recall })
                .to_vec()
        };
        let curves = [10, 100].map(|k| Curve { k, points: points(k) }).to_vec();
        Calibration { items: 1000, queries: 256, curves }
    }

    #[test]
    fn ef_follows_the_measured_points() {
        let ef = |k, recall| ef_for(&calibration(), k, recall, 1000) as f64;
        let is_near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 0.02;
        assert!(is_near(ef(10, 0.9), 100.0) && is_near(ef(10, 0.975), 400.0));
        // Between points, and beyond the last.
        assert!(is_near(ef(10, 0.95), 200.0), "{}", ef(10, 0.95));
        assert!(is_near(ef(10, 0.995), 2000.0), "{}", ef(10, 0.995));
        assert!(ef(10, 0.999_999_999).is_finite());
        // Fewer results take no more, more in proportion; between, on a line of logarithms.
        assert_eq!(ef(1, 0.9), ef(10, 0.9));
        assert!(is_near(ef(1000, 0.9), 10_000.0) && is_near(ef(100, 0.9), 1000.0));
        assert!(is_near(ef(32, 0.9), 320.0), "{}", ef(32, 0.9));
        // A goal that the smallest effort reaches.
        assert_eq!(ef(10, 1e-9), 10.0);
    }

    #[test]
    fn ef_grows_with_the_index_and_not_back() {
        let ef = |items| ef_for(&calibration(), 10, 0.9, items);
        assert!(ef(2000) > ef(1000) && ef(1_000_000) < 10 * ef(1000));
        assert_eq!(ef(10), ef(1000));
    }

    #[test]
    fn recall_that_falls_by_chance_does_not_matter() {
        let mut noisy = calibration();
        noisy.curves[0].points[2].recall = 0.89;
        assert!(ef_for(&noisy, 10, 0.9, 1000) <= 101);
        assert!((100..1000).contains(&ef_for(&noisy, 10, 0.95, 1000)));
    }

    #[test]
    fn a_goal_is_above_0_and_at_most_1() {
        for recall in [0.0, -1.0, 1.000_001, f64::NAN, f64::INFINITY] {
            assert!(check_goal(recall).is_err(), "{recall}");
        }
        assert!(check_goal(1.0).is_ok() && check_goal(1e-9).is_ok());
    }
}
