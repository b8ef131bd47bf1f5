//! How far the `f32` distances of the kernels may be from the definition in `f64`, and so which
//! pairs of distances they can tell apart.
//!
//! A sum that is added in chains of `m` additions has an error of at most `m u / (1 - m u)` times
//! the sum of the magnitudes of its terms, where `u` is 2^-24 (Higham 2002, "Accuracy and Stability
//! of Numerical Algorithms", section 4.2). `m` is that of the kernels with the longest chains, so
//! that all machines have the same bounds. Invariant: no kernel gives a distance whose definition
//! ([`Distance::precise`](super::Distance::precise)) is beyond [`high`](Resolution::high), or as
//! far below it. Metrics of unknown form are as good as their kernels: their error is 0.

use super::kernels::precise::{SMALL_ANGLE, norm};
use super::{Form, Metric};

/// Half of the distance from 1 to the next `f32`.
const ROUNDING: f64 = f32::EPSILON as f64 / 2.0;
/// The number of partial sums of the kernels with the fewest.
const PARTIAL_SUMS: usize = 32;
/// Roundings beside those in the main loop: one in the tail, six in the horizontal sum, and up to
/// three in a term; and two for computing bounds in `f32`.
const MORE_ROUNDINGS: usize = 12;
/// The roundings of a cosine: of both factors, their product, and its product with the sum, half of
/// which count; and of the difference from 1.
const COSINE_ROUNDINGS: f64 = 3.5;
/// The relative error of a distance that [`small_angle`](super::small_angle) has computed: that of
/// rounding to `f32`, with room for some of the error in `f64`, and for computing the bound.
const SMALL_ANGLE_ERROR: f64 = 6.0 * ROUNDING;
/// Roundings of the terms and of the horizontal sum in `f64`, which has eight partial sums.
const SMALL_ANGLE_ROUNDINGS: usize = 16;
/// An upper bound of the underflow errors of a sum of 65 535 terms.
const UNDERFLOW: f64 = f32::MIN_POSITIVE as f64;

/// The resolution of the distances from one query.
#[derive(Debug, Clone, Copy)]
pub struct Resolution {
    form: Form,
    error: Error,
    /// That of distances below [`SMALL_ANGLE`], of metrics that compute those by angles.
    small: Error,
    /// Below this, `small` is the error.
    small_below: f32,
    /// The error relative to the norm of the stored vector, for inner products.
    by_norm: f64,
    /// How much a limit is raised, relative to it.
    slack: f32,
}

/// The largest difference between a distance and its definition.
#[derive(Debug, Clone, Copy)]
struct Error {
    relative: f32,
    absolute: f32,
}

impl Error {
    const NONE: Self = Self { relative: 0.0, absolute: 0.0 };

    fn new(relative: f64, absolute: f64) -> Self {
        let up = |value: f64| if value > 0.0 { (value as f32).next_up() } else { 0.0 };
        Self { relative: up(relative), absolute: up(absolute) }
    }

    #[inline]
    fn high(self, distance: f32) -> f32 {
        distance + (distance.abs() * self.relative + self.absolute)
    }
}

impl Resolution {
    /// The resolution of distances from a query, as it is compared, to vectors of at most this
    /// norm; infinite if that is unknown. Only the error of inner products depends on norms.
    #[must_use]
    pub fn of(metric: &Metric, query: &[u8], dimensions: usize, largest_norm: f64) -> Self {
        let chain = dimensions / PARTIAL_SUMS + MORE_ROUNDINGS;
        let sum = 1.01 * chain as f64 * ROUNDING;
        // That of adding an error to a distance in `f32`.
        let added = 2.0 * ROUNDING;
        let (mut small, mut by_norm) = (Error::NONE, 0.0);
        let error = match metric.form {
            Form::SquaredDifferences | Form::Differences => Error::new(sum, UNDERFLOW),
            Form::NegatedProducts => {
                by_norm = sum * norm(query);
                // Of the zero vector, all products are 0.
                let of_norm = if by_norm > 0.0 { by_norm * largest_norm } else { 0.0 };
                Error::new(added, of_norm + UNDERFLOW)
            }
            Form::Cosine => {
                small = small_angle_error(dimensions);
                Error::new(added, sum / 2.0 + COSINE_ROUNDINGS * ROUNDING)
            }
            Form::Other => Error::NONE,
        };
        let (small_below, slack) = match metric.form {
            Form::Cosine => (SMALL_ANGLE, error.relative),
            Form::Other => (f32::NEG_INFINITY, 0.0),
            _ => (f32::NEG_INFINITY, error.relative),
        };
        // Two roundings more than the error has, as limits are computed from errors in `f32`.
        let slack = if slack > 0.0 { 1.01 * slack + 4.0 * ROUNDING as f32 } else { 0.0 };
        Self { form: metric.form, error, small, small_below, by_norm, slack }
    }

    /// Whether distances are as good as their definition.
    #[must_use]
    #[inline]
    pub fn is_exact(&self) -> bool {
        self.form == Form::Other
    }

    /// The farthest that a vector at this distance may be by definition; and it may be nearer by as
    /// much. Infinite if that depends on its norm: see [`high_at`](Self::high_at). Cosine distances
    /// must have been corrected where they are vague ([`is_vague`](super::Finish::is_vague)).
    #[must_use]
    #[inline]
    pub fn high(&self, distance: f32) -> f32 {
        if distance < self.small_below {
            self.small.high(distance)
        } else {
            self.error.high(distance)
        }
    }

    /// The same for a stored vector of this norm.
    #[must_use]
    pub fn high_at(&self, distance: f32, norm: f64) -> f32 {
        Error::new(self.error.relative.into(), self.by_norm * norm + UNDERFLOW).high(distance)
    }

    /// A vector that is farther than this, as kernels compute it, is farther than `high` by
    /// definition.
    #[must_use]
    #[inline]
    pub fn limit(&self, high: f32) -> f32 {
        let limit = high + self.error.absolute;
        // Any vague distance may be that of a near vector.
        (limit + limit.abs() * self.slack).max(self.small_below)
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

/// In `f64`, the difference of unit vectors is off by the roundings of each component, and of the
/// norms. The distance `d` is a quarter of its square, and so off by `sqrt(d) * off + off^2 / 4`,
/// where the first term is at most `d * share + off^2 / (4 share)`, whatever `share` is.
fn small_angle_error(dimensions: usize) -> Error {
    let off = (dimensions / 8 + SMALL_ANGLE_ROUNDINGS) as f64 * f64::EPSILON / 2.0;
    let share = SMALL_ANGLE_ERROR / 4.0;
    Error::new(SMALL_ANGLE_ERROR, off * off / share)
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
        Cosine, Distance, DotProduct, Euclidean, Finish, Hamming, Kernels, Manhattan, by_finish,
        small_angle,
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
                let high = resolution.high(distance);
                let error = f64::from(high) - f64::from(distance);
                assert!(off <= error, "{}: {distance} of {precise}: {error}", D::name());
                assert!((f64::from(resolution.rounded(precise)) - precise).abs() <= error);
                if D::FORM == Form::NegatedProducts {
                    let own = resolution.high_at(distance, norm);
                    assert!(own <= high && off <= f64::from(own) - f64::from(distance));
                }
            }
            let [(a, precise_a), (b, precise_b)] = both;
            let limit = resolution.limit(resolution.high(a));
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
            let signs = |vector: &Vec<f32>| -> Vec<f32> {
                let cancel = |(i, v): (usize, &f32)| if i % 2 == 0 { 1e4 - v } else { v - 1e4 };
                vector.iter().enumerate().map(cancel).collect()
            };
            let flat: Vec<f32> = query.iter().map(|q| 1e4 + q).collect();
            is_within::<DotProduct>(&flat, &signs(&a), &signs(&b));
        }
    }

    #[test]
    fn what_is_unknown_of_norms_is_unknown_of_inner_products() {
        let of = resolution::<DotProduct>(&[1.0, 2.0], f64::INFINITY);
        assert_eq!(of.high(3.0), f32::INFINITY);
        assert_eq!(of.limit(3.0), f32::INFINITY);
        assert!((3.0..3.00001).contains(&of.high_at(3.0, 1.0)));
        let of_zero = resolution::<DotProduct>(&[0.0, 0.0], f64::INFINITY);
        assert!(of_zero.high(0.0) < 1e-30 && of_zero.limit(0.0) < 1e-30);
        let euclidean = resolution::<Euclidean>(&[1.0, 2.0], f64::INFINITY);
        assert!(euclidean.limit(3.0) < 3.1);
        assert!(euclidean.is_doubtful(0.0) && !euclidean.is_doubtful(1.0));
        let hamming = Resolution::of(Metric::of::<Hamming>(), &[1; 8], 64, f64::INFINITY);
        assert!(hamming.is_exact() && !euclidean.is_exact());
        assert_eq!([hamming.high(0.25), hamming.limit(0.25)], [0.25; 2]);
    }
}
