//! Recall against queries per second, and the interpolated speed at a recall.

use serde::{Deserialize, Serialize};

/// One setting of a search, and its result.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Point {
    /// `ef_search`, or the engine's counterpart.
    pub knob: usize,
    pub recall: f64,
    /// Queries per second, the best of all rounds.
    pub qps: f64,
}

/// Queries per second at a recall, interpolated in the logarithm of both speed and error. Below the
/// recall of all points it is the speed of the first, which is too low; `None` above all points.
pub fn qps_at(curve: &[Point], recall: f64) -> Option<f64> {
    let i = curve.iter().position(|point| point.recall >= recall)?;
    if i == 0 {
        return Some(curve[0].qps);
    }
    let (below, above) = (&curve[i - 1], &curve[i]);
    let error = |recall: f64| (1.0 - recall).max(1e-6).ln();
    let share = (error(recall) - error(below.recall)) / (error(above.recall) - error(below.recall));
    Some((below.qps.ln() + share * (above.qps.ln() - below.qps.ln())).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_between_two_points_is_interpolated_and_beyond_the_last_there_is_none() {
        let curve = [(10, 0.9, 1000.0), (100, 0.99, 100.0)].map(|(knob, recall, qps)| Point {
            knob,
            recall,
            qps,
        });
        let middle = 1.0 - 0.1 * 0.1_f64.sqrt();
        assert!((qps_at(&curve, middle).unwrap() - 1000.0 * 0.1_f64.sqrt()).abs() < 1e-6);
        assert_eq!(qps_at(&curve, 0.5), Some(1000.0));
        assert_eq!(qps_at(&curve, 0.999), None);
    }
}
