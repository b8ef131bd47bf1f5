//! Distances in `f64`: the definitions by which answers are ordered where `f32` cannot tell, and
//! cosine distances near 0, where `f32` has no digits left. For few pairs: eight to fifty times
//! slower than the other kernels.
//!
//! Terms are computed in `f64`, where differences of `f32` have one rounding and products none.
//! [`Precise`] adds them to about 100 bits (TwoSum, Knuth; "Sum2" of Ogita, Rump and Oishi 2005),
//! so that neither the order of the components nor cancellation reaches a bit of the result.
//! [`Quick`] adds in `f64`. A cosine distance is `|u - v|^2 / 4` for the unit vectors `u` and
//! `v`, which is `(1 - cos) / 2` without its cancellation. Results are the same on every machine:
//! terms are added in the same order, and no multiplication is fused with an addition.

#[cfg(target_arch = "x86_64")]
use super::features::{Level, level};

/// Terms are added in this many partial sums, so that the compiler vectorizes it.
const LANES: usize = 8;
/// Unit vectors whose squared difference is below this are of one direction: 2^-100. Their
/// components are rounded to 2^-53.
const MIN_SQUARE: f64 = 7.9e-31;

/// Cosine distances below this have too few digits in `f32`, and are computed by [`small_angle`]:
/// 2^-13. The error of the kernels, about 1e-7, is up to a thousandth of it.
pub(crate) const SMALL_ANGLE: f32 = 1.0 / 8192.0;

/// Partial sums.
trait Sum: Default {
    fn add(&mut self, terms: [f64; LANES]);
    fn total(self) -> f64;
}

/// Rounded at every addition.
#[derive(Default)]
struct Quick([f64; LANES]);

impl Sum for Quick {
    #[inline(always)]
    fn add(&mut self, terms: [f64; LANES]) {
        for i in 0..LANES {
            self.0[i] += terms[i];
        }
    }

    #[inline(always)]
    fn total(self) -> f64 {
        self.0.iter().sum()
    }
}

/// To about 100 bits: the errors of additions are added up, too.
#[derive(Default)]
struct Precise {
    sums: [f64; LANES],
    errors: [f64; LANES],
}

impl Sum for Precise {
    #[inline(always)]
    fn add(&mut self, terms: [f64; LANES]) {
        for i in 0..LANES {
            let (sum, error) = two_sum(self.sums[i], terms[i]);
            self.sums[i] = sum;
            self.errors[i] += error;
        }
    }

    #[inline(always)]
    fn total(self) -> f64 {
        let (mut total, mut rest) = (0.0, 0.0);
        for (sum, error) in self.sums.into_iter().zip(self.errors) {
            let (sum, lost) = two_sum(total, sum);
            total = sum;
            rest += lost + error;
        }
        total + rest
    }
}

/// The sum, and the error of computing it.
#[inline(always)]
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    (sum, (a - (sum - b_part)) + (b - b_part))
}

/// Sums the terms of the components of two vectors of `f32`. The term of two zeros must be 0.
/// Always inlined, so that it is compiled for the CPU features of the caller.
#[inline(always)]
fn sum<S: Sum>(a: &[u8], b: &[u8], term: impl Fn(f64, f64) -> f64) -> f64 {
    #[inline(always)]
    fn add<S: Sum>(
        sum: &mut S,
        a: &[[u8; 4]; LANES],
        b: &[[u8; 4]; LANES],
        term: &impl Fn(f64, f64) -> f64,
    ) {
        // Not `map`: the compiler vectorizes loops.
        let mut terms = [0.0; LANES];
        for i in 0..LANES {
            terms[i] = term(f32::from_le_bytes(a[i]).into(), f32::from_le_bytes(b[i]).into());
        }
        sum.add(terms);
    }
    let (a, b) = (a.as_chunks::<4>().0, b.as_chunks::<4>().0);
    let len = a.len().min(b.len());
    let (a_chunks, a_rest) = a[..len].as_chunks::<LANES>();
    let (b_chunks, b_rest) = b[..len].as_chunks::<LANES>();
    let mut sum = S::default();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        add(&mut sum, a, b, &term);
    }
    if !a_rest.is_empty() {
        let padded = |rest: &[[u8; 4]]| {
            let mut words = [[0; 4]; LANES];
            words[..rest.len()].copy_from_slice(rest);
            words
        };
        add(&mut sum, &padded(a_rest), &padded(b_rest), &term);
    }
    sum.total()
}

#[inline(always)]
fn cosine_by<S: Sum>(a: &[u8], b: &[u8]) -> f64 {
    let [a_length, b_length] = [a, b].map(|v| 1.0 / sum::<S>(v, v, |a, b| a * b).sqrt());
    let square = sum::<S>(a, b, |a, b| {
        let difference = a * a_length - b * b_length;
        difference * difference
    });
    // Above 4 by rounding, if the vectors are opposite.
    if square < MIN_SQUARE { 0.0 } else { (square / 4.0).min(1.0) }
}

/// Defines functions of two vectors that are compiled for any processor, and for the CPU features
/// of the machine. The results are the same.
macro_rules! functions {
    ($($(#[$doc:meta])* $name:ident = $body:expr;)+) => {
        $($(#[$doc])*
        pub(crate) fn $name(a: &[u8], b: &[u8]) -> f64 {
            #[cfg(target_arch = "x86_64")]
            if level() >= Level::Avx2 {
                #[target_feature(enable = "avx2")]
                fn fast(a: &[u8], b: &[u8]) -> f64 {
                    $body(a, b)
                }
                // SAFETY: the level has AVX2.
                return unsafe { fast(a, b) };
            }
            portable::$name(a, b)
        })+

        mod portable {
            use super::*;

            $(pub(super) fn $name(a: &[u8], b: &[u8]) -> f64 {
                $body(a, b)
            })+
        }
    };
}

functions! {
    /// The sum of squared differences.
    squared_differences = |a, b| sum::<Precise>(a, b, |a, b| (a - b) * (a - b));
    /// The sum of products.
    products = |a, b| sum::<Precise>(a, b, |a, b| a * b);
    /// The sum of absolute differences.
    absolute_differences = |a, b| sum::<Precise>(a, b, |a, b| (a - b).abs());
    /// The cosine distance of vectors that differ, neither of them 0.
    other_cosine = cosine_by::<Precise>;
    /// The same with fewer digits, in less time.
    quick_cosine = cosine_by::<Quick>;
}

/// The cosine distance of two vectors, neither of them 0; of equal bytes, 0.
pub(crate) fn cosine(a: &[u8], b: &[u8]) -> f64 {
    if a == b { 0.0 } else { other_cosine(a, b) }
}

/// The same in `f32`, in less time, for distances below [`SMALL_ANGLE`].
#[must_use]
pub fn small_angle(a: &[u8], b: &[u8]) -> f32 {
    if a == b { 0.0 } else { quick_cosine(a, b) as f32 }
}

/// The Euclidean norm of a vector of `f32`.
#[must_use]
pub(crate) fn norm(vector: &[u8]) -> f64 {
    sum::<Quick>(vector, vector, |a, b| a * b).sqrt()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::{F32, VectorRef};
    use crate::distance::{Cosine, Distance, DotProduct, Euclidean, Manhattan, distance};

    fn bytes(vector: &[f32]) -> Vec<u8> {
        vector.iter().flat_map(|component| component.to_le_bytes()).collect()
    }

    fn precise<D: Distance<Codec = F32>>(a: &[f32], b: &[f32]) -> f64 {
        let (a, b) = (bytes(a), bytes(b));
        D::precise(VectorRef::new(&a), VectorRef::new(&b), a.len() / 4)
    }

    /// The exact inner product of small multiples of powers of two, as an integer.
    fn product(a: &[i64], b: &[i64]) -> i128 {
        a.iter().zip(b).map(|(a, b)| i128::from(*a) * i128::from(*b)).sum()
    }

    /// Products of 1e8 that cancel, beside small ones: `f64` alone loses the small ones.
    #[test]
    fn products_that_cancel_are_exact() {
        let a = [1e15, 3.5, 1e15, 1e-3, 2.0, 0.0, 0.0, 0.0, -1e15, 1.0];
        let b = [1e16, 1.0, 1e15, 1e-3, 2.0, 0.0, 0.0, 0.0, 1e16, -1e14];
        let small = 3.5 + f64::from(1e-3f32).powi(2) + 4.0;
        let large = f64::from(1e15f32).powi(2) - f64::from(1e14f32);
        assert_eq!(precise::<DotProduct>(&a, &b), -(large + small));
        let b = [1e16, 1.0, 0.0, 1e-3, 2.0, 0.0, 0.0, 0.0, 1e16, 0.0];
        assert_eq!(precise::<DotProduct>(&a, &b), -small);
    }

    #[test]
    fn cosine_is_0_for_one_direction_and_1_for_the_opposite() {
        let a: Vec<f32> = (0..37).map(|i| (i * i % 11) as f32 - 4.5).collect();
        let times = |factor: f32| a.iter().map(|a| a * factor).collect::<Vec<_>>();
        for (factor, expected) in [(1.0, 0.0), (2.0, 0.0), (3.0, 0.0), (-1.0, 1.0), (-6.0, 1.0)] {
            assert_eq!(precise::<Cosine>(&a, &times(factor)), expected);
            assert_eq!(distance::<Cosine>(&a, &times(factor)), Ok(expected as f32));
            if expected == 0.0 {
                assert_eq!(small_angle(&bytes(&a), &bytes(&times(factor))), 0.0);
            }
        }
    }

    /// Turned by an angle in one plane, the distance is `sin^2(angle / 2)`.
    #[test]
    fn small_angles_have_all_their_digits() {
        for exponent in 1..=20 {
            let angle = 10f64.powi(-exponent);
            let (a, b) = ([1.0, 0.0, 0.0], [1.0, angle.tan() as f32, 0.0]);
            let expected = (f64::from(b[1]).atan() / 2.0).sin().powi(2);
            let found = precise::<Cosine>(&a, &b);
            let quick = f64::from(small_angle(&bytes(&a), &bytes(&b)));
            if exponent <= 14 {
                assert!((found / expected - 1.0).abs() < 1e-7, "{found} of {expected}");
                assert!((quick / expected - 1.0).abs() < 1e-6, "{quick} of {expected}");
            } else {
                assert!(found < 1e-30 && quick < 1e-30);
            }
        }
    }

    #[test]
    fn only_equal_vectors_are_at_squared_distance_0() {
        let differ = |by: f32| distance::<Euclidean>(&[1.0, by], &[1.0, 0.0]).unwrap();
        assert_eq!(differ(0.0), 0.0);
        assert_eq!(differ(-0.0), 0.0);
        for by in [1e-24, -1e-30, f32::from_bits(1)] {
            assert_eq!(differ(by).to_bits(), 1, "{by}");
        }
        assert_eq!(distance::<DotProduct>(&[1.0, 0.0], &[0.0, 1.0]).unwrap().to_bits(), 0);
        assert_eq!(distance::<DotProduct>(&[1.0, 1e-35], &[0.0, 1e-15]).unwrap().to_bits(), 0);
    }

    proptest! {
        #[test]
        fn no_order_of_the_components_changes_a_bit(
            pairs in prop::collection::vec((-1e4f32..1e4, -1e4f32..1e4, 0..6i32), 1..100),
            by in 0..100usize,
        ) {
            let scaled = |of: fn(&(f32, f32, i32)) -> f32| -> Vec<f32> {
                pairs.iter().map(|pair| of(pair) * 10f32.powi(pair.2 - 3)).collect()
            };
            let (mut a, mut b) = (scaled(|pair| pair.0), scaled(|pair| pair.1));
            let all = |a: &[f32], b: &[f32]| [
                precise::<Euclidean>(a, b),
                precise::<Cosine>(a, b),
                precise::<DotProduct>(a, b),
                precise::<Manhattan>(a, b),
            ].map(f64::to_bits);
            let before = all(&a, &b);
            prop_assert_eq!(all(&b, &a), before, "in either order");
            // Compiled for this machine and for any.
            let (a_bytes, b_bytes) = (bytes(&a), bytes(&b));
            let small = small_angle(&a_bytes, &b_bytes).to_bits();
            prop_assert_eq!(small, small_angle(&b_bytes, &a_bytes).to_bits());
            for (fast, portable) in [
                (quick_cosine as fn(&[u8], &[u8]) -> f64, portable::quick_cosine as fn(&_, &_) -> _),
                (other_cosine, portable::other_cosine),
                (products, portable::products),
                (squared_differences, portable::squared_differences),
                (absolute_differences, portable::absolute_differences),
            ] {
                let (fast, portable) = (fast(&a_bytes, &b_bytes), portable(&a_bytes, &b_bytes));
                prop_assert_eq!(fast.to_bits(), portable.to_bits());
            }
            let by = by % a.len();
            a.rotate_left(by);
            b.rotate_left(by);
            a.reverse();
            b.reverse();
            prop_assert_eq!(all(&a, &b), before);
        }

        #[test]
        fn an_inner_product_is_the_exact_one_rounded_once(
            pairs in prop::collection::vec((-1i64 << 24..1 << 24, -1i64 << 24..1 << 24), 1..100),
        ) {
            let (a, b): (Vec<i64>, Vec<i64>) = pairs.into_iter().unzip();
            let floats = |vector: &[i64]| vector.iter().map(|v| *v as f32).collect::<Vec<_>>();
            let expected = 0.0 - product(&a, &b) as f64;
            prop_assert_eq!(precise::<DotProduct>(&floats(&a), &floats(&b)), expected);
        }
    }
}
