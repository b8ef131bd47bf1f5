//! How far the `f32` distances of the kernels may be from the definition in `f64`, and so which
//! pairs of distances they can tell apart.
//!
//! A sum of `n` terms that is added in chains of `m` additions has an error of at most
//! `m u / (1 - m u)` times the sum of their magnitudes, where `u` is 2^-24 (Higham 2002, "Accuracy
//! and Stability of Numerical Algorithms", section 4.2). `m` is that of the kernels with the
//! longest chains, so that all machines have the same bounds. Invariant: no kernel of a metric
//! gives a distance that is farther from [`Distance::precise`](super::Distance::precise) than
//! [`error`](Resolution::error) says; metrics of unknown form are as good as their kernels: their
//! error is 0.

use super::kernels::precise::{SMALL_ANGLE, norm};
use super::{Form, Metric};

/// Half of the distance from 1 to the next `f32`.
const ROUNDING: f64 = f32::EPSILON as f64 / 2.0;
/// Additions beside those in the main loop: of the tail and of the lanes; and the roundings of a
/// term.
const MORE_ROUNDINGS: usize = 16;
/// The number of partial sums of the kernels with the fewest.
const PARTIAL_SUMS: usize = 32;
/// An upper bound of the underflow errors of a sum of 65 535 terms.
const UNDERFLOW: f64 = f32::MIN_POSITIVE as f64;
/// The relative error of a distance that [`small_angle`](super::small_angle) has computed: that of
/// rounding to `f32`, with room for some of the error in `f64`.
const SMALL_ANGLE_ERROR: f64 = 4.0 * ROUNDING;

/// The resolution of the distances from one query.
#[derive(Debug, Clone, Copy)]
pub struct Resolution {
    form: Form,
    /// The largest error, relative to the distance.
    relative: f64,
    /// The largest error, in addition: for products, relative to the norm of the stored vector.
    absolute: f64,
    /// The largest error of a small angle, in addition to [`SMALL_ANGLE_ERROR`].
    smallest_angle: f64,
    /// The largest norm of a stored vector; infinite if unknown.
    largest_norm: f64,
}

impl Resolution {
    /// The resolution of distances from a query, as it is compared, to vectors of at most this
    /// norm; infinite if that is unknown. Only the error of inner products depends on norms.
    #[must_use]
    pub fn of(metric: &Metric, query: &[u8], dimensions: usize, largest_norm: f64) -> Self {
        // The margin is for computing bounds in floats.
        let roundings = dimensions / PARTIAL_SUMS + MORE_ROUNDINGS;
        let sum = 1.01 * roundings as f64 * ROUNDING;
        let (relative, absolute) = match metric.form {
            Form::SquaredDifferences => (sum, UNDERFLOW),
            Form::Differences => (sum, 0.0),
            Form::NegatedProducts => (0.0, sum * norm(query)),
            // The factors, their product, its product with the sum, and the difference from 1.
            Form::Cosine => (0.0, sum / 2.0 + 8.0 * ROUNDING),
            Form::Other => (0.0, 0.0),
        };
        // In `f64`, the difference of the unit vectors is off by this: by the roundings of each
        // component, and of the norms, whose sums have eight lanes. The distance `d` is a quarter of
        // its square, and so off by `sqrt(d) * off + off^2 / 4`, where the first term is at most
        // `d * share + off^2 / (4 share)`.
        let off = (dimensions / 8 + MORE_ROUNDINGS) as f64 * f64::EPSILON / 2.0;
        let share = SMALL_ANGLE_ERROR / 2.0;
        Self {
            form: metric.form,
            relative,
            absolute,
            smallest_angle: off * off / share,
            // Of the zero vector, all products are 0.
            largest_norm: if absolute > 0.0 { largest_norm } else { 0.0 },
        }
    }

    /// Whether nothing is known of the norms of stored vectors that the error depends on.
    #[must_use]
    #[inline]
    pub fn needs_norm(&self) -> bool {
        self.form == Form::NegatedProducts && self.largest_norm == f64::INFINITY
    }

    /// The largest difference between a distance and its definition. Cosine distances must have
    /// been corrected where they are small ([`is_vague`](super::Finish::is_vague)).
    #[must_use]
    #[inline]
    pub fn error(&self, distance: f32) -> f32 {
        self.error_at(distance, self.largest_norm)
    }

    /// The same for a stored vector of this norm.
    #[must_use]
    #[inline]
    pub fn error_at(&self, distance: f32, norm: f64) -> f32 {
        let distance = f64::from(distance);
        let error = match self.form {
            Form::SquaredDifferences | Form::Differences => {
                self.relative * distance + self.absolute
            }
            Form::NegatedProducts => self.absolute * norm + UNDERFLOW,
            Form::Cosine if distance < f64::from(SMALL_ANGLE) => {
                SMALL_ANGLE_ERROR * distance + self.smallest_angle
            }
            Form::Cosine => self.absolute,
            Form::Other => return 0.0,
        };
        (error as f32).next_up()
    }

    /// The largest distance, as kernels compute it, of a vector whose distance may be `farthest`
    /// by definition.
    #[must_use]
    #[inline]
    pub fn limit(&self, farthest: f64) -> f32 {
        let limit = match self.form {
            Form::SquaredDifferences | Form::Differences => {
                (farthest + self.absolute) / (1.0 - self.relative)
            }
            Form::NegatedProducts => farthest + self.absolute * self.largest_norm + UNDERFLOW,
            Form::Cosine => (farthest + self.absolute).max(SMALL_ANGLE.into()),
            Form::Other => return farthest as f32,
        };
        (limit as f32).next_up()
    }

    /// Whether a distance says too little even alone: it is 0, but squares may have underflowed.
    #[must_use]
    #[inline]
    pub fn is_doubtful(&self, distance: f32) -> bool {
        self.form == Form::SquaredDifferences && distance == 0.0
    }

    /// A distance in `f64` as an answer has it: rounded to `f32`, never `-0.0`; of squared
    /// differences, 0 only if all are.
    #[must_use]
    #[inline]
    pub fn rounded(&self, distance: f64) -> f32 {
        rounded(self.form, distance)
    }
}

pub(super) fn rounded(form: Form, distance: f64) -> f32 {
    let rounded = distance as f32 + 0.0;
    if rounded == 0.0 && distance > 0.0 && form == Form::SquaredDifferences {
        f32::from_bits(1)
    } else {
        rounded
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::{Codec, F32, Scale, VectorRef};
    use crate::distance::kernels::tests::implementations;
    use crate::distance::{
        Cosine, Distance, DotProduct, Euclidean, Finish, Kernels, Manhattan, by_finish, small_angle,
    };

    fn stored(vector: &[f32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        F32::encode(vector, Scale::NONE, &mut bytes);
        bytes
    }

    /// The distance as searches have it, and its definition.
    fn both<D: Distance<Codec = F32>>(kernels: &Kernels, a: &[f32], b: &[f32]) -> (f32, f64) {
        let (a_bytes, b_bytes) = (stored(a), stored(b));
        let metric = Metric::of::<D>();
        let factors = [&a_bytes, &b_bytes].map(|bytes| metric.factor(bytes));
        let raw = kernels.one(&a_bytes, &b_bytes);
        let distance = by_finish!(metric, F => {
            let distance = F::finish(metric, raw, factors, a.len());
            if F::is_vague(distance) { small_angle(&a_bytes, &b_bytes) } else { distance }
        });
        (distance, D::precise(VectorRef::new(&a_bytes), VectorRef::new(&b_bytes), a.len()))
    }

    fn resolution<D: Distance>(query: &[f32], stored_norm: f64) -> Resolution {
        Resolution::of(Metric::of::<D>(), &stored(query), query.len(), stored_norm)
    }

    /// Every distance is within its error, and every vector as near by definition as another is
    /// within the limit of that.
    fn is_within<D: Distance<Codec = F32>>(query: &[f32], a: &[f32], b: &[f32]) {
        let norms = [a, b].map(|vector| norm(&stored(vector)));
        let resolution = resolution::<D>(query, norms[0].max(norms[1]));
        for kernels in implementations::<D>() {
            let both = [a, b].map(|vector| both::<D>(&kernels, query, vector));
            for ((distance, precise), norm) in both.into_iter().zip(norms) {
                let off = (f64::from(distance) - precise).abs();
                let error = resolution.error_at(distance, norm);
                assert!(off <= f64::from(error), "{}: {distance} of {precise}: {error}", D::name());
                assert!(error <= resolution.error(distance), "{}", D::name());
                assert!(
                    (f64::from(resolution.rounded(precise)) - precise).abs() <= f64::from(error)
                );
            }
            let [(a, precise_a), (b, precise_b)] = both;
            let limit = resolution.limit(f64::from(a) + f64::from(resolution.error(a)));
            assert!(
                b <= limit || precise_b > precise_a,
                "{}: {b} is beyond {limit}, but {precise_b} is not beyond {precise_a}",
                D::name()
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn every_distance_is_within_its_error(
            (query, a, b) in (1..200usize).prop_flat_map(|n| {
                let vector = || prop::collection::vec(-1f32..1.0, n);
                (vector(), vector(), vector())
            }),
            near in prop::sample::select(&[1f32, 1e-2, 1e-3, 1e-5, 1e-7, 0.0][..]),
            scale in prop::sample::select(&[1e-14f32, 1.0, 1e4, 1e12][..]),
            offset in prop::sample::select(&[0f32, 3.0][..]),
        ) {
            let query: Vec<f32> = query.iter().map(|q| (q + offset + 1e-3) * scale).collect();
            let beside = |vector: &[f32]| -> Vec<f32> {
                query.iter().zip(vector).map(|(q, v)| q + near * scale * v).collect()
            };
            let (a, b) = (beside(&a), beside(&b));
            let is_accepted = |vector: &&Vec<f32>| Cosine::<F32>::check(vector).is_ok();
            prop_assume!([&query, &a, &b].iter().all(is_accepted));
            is_within::<Euclidean>(&query, &a, &b);
            is_within::<Cosine>(&query, &a, &b);
            is_within::<DotProduct>(&query, &a, &b);
            is_within::<Manhattan>(&query, &a, &b);
            // Products that cancel.
            let signs = |v: &Vec<f32>| -> Vec<f32> {
                v.iter().enumerate().map(|(i, v)| if i % 2 == 0 { 1e4 - v } else { v - 1e4 }).collect()
            };
            let flat: Vec<f32> = query.iter().map(|q| 1e4 + q).collect();
            is_within::<DotProduct>(&flat, &signs(&a), &signs(&b));
        }
    }

    #[test]
    fn what_is_unknown_of_norms_is_unknown_of_inner_products() {
        let of = resolution::<DotProduct>(&[1.0, 2.0], f64::INFINITY);
        assert!(of.needs_norm());
        assert_eq!(of.error(3.0), f32::INFINITY);
        assert_eq!(of.limit(3.0), f32::INFINITY);
        assert!(of.error_at(3.0, 1.0) < 1e-5);
        let of_zero = resolution::<DotProduct>(&[0.0, 0.0], f64::INFINITY);
        assert!(!of_zero.needs_norm());
        assert!(of_zero.error(0.0) < 1e-30 && of_zero.limit(0.0) < 1e-30);
        let euclidean = resolution::<Euclidean>(&[1.0, 2.0], f64::INFINITY);
        assert!(!euclidean.needs_norm() && euclidean.limit(3.0) < 3.1);
        assert!(euclidean.is_doubtful(0.0) && !euclidean.is_doubtful(1.0));
    }
}
