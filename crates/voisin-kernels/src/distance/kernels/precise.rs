//! Distances in `f64`: the definitions by which answers are ordered where `f32` cannot tell, and
//! cosine distances near 0, where `f32` has no digits left. For few pairs: ten to forty times
//! slower than the other kernels.
//!
//! Terms are computed in `f64`, where differences of `f32` have one rounding and products none.
//! They are added to about 100 bits, with the error of each addition (TwoSum, Knuth; "Sum2" of
//! Ogita, Rump and Oishi 2005), so that neither the order of the components nor cancellation
//! reaches a bit of the result. [`small_angle`] adds in `f64`. A cosine distance is
//! `|u - v|^2 / 4` for the unit vectors `u` and `v`, which is `(1 - cos) / 2` without its
//! cancellation. Results are the same on every machine: terms are added in the same order, and no
//! multiplication is fused with an addition.

#[cfg(target_arch = "x86_64")]
use super::features::{Level, level};
use super::sum::{AbsoluteDifferences, Products, SquaredDifferences, Sum, Term, words};

/// The number of lanes of a register.
const LANES: usize = 4;
/// The number of registers of partial sums.
const ACCUMULATORS: usize = 2;
/// Unit vectors whose squared difference is below this are of one direction: 2^-100. Their
/// components are rounded to 2^-53.
const MIN_SQUARE: f64 = 7.9e-31;

/// Cosine distances below this have too few digits in `f32`, and are computed by [`small_angle`]:
/// 2^-13. The error of the kernels, about 1e-7, is up to a thousandth of it.
pub(crate) const SMALL_ANGLE: f32 = 1.0 / 8192.0;

/// The components that are added at a time.
type Block = [[u8; 4]; LANES * ACCUMULATORS];

/// The last components of a vector, and zeros.
fn padded(rest: &[[u8; 4]]) -> Block {
    let mut block = [[0; 4]; LANES * ACCUMULATORS];
    block.iter_mut().zip(rest).for_each(|(word, rest)| *word = *rest);
    block
}

/// Defines the functions below for the instruction set of the module that it is used in, as
/// `sum_kernels` does (`sum.rs`). The module provides `Lanes`, a register of four `f64`, and
/// `load(&[[u8; 4]; LANES])` of little-endian `f32`, `store`, `splat`, `add`, `sub`, `mul` and
/// `abs`.
macro_rules! precise_kernels {
    ($(#[$features:meta])?) => {
        /// Adds the terms of a block to the partial sums; and, if `PRECISE`, the errors of that.
        $(#[$features])?
        #[inline]
        fn add_block<S: Sum, const SCALED: bool, const PRECISE: bool>(
            [sums, errors]: &mut [[Lanes; ACCUMULATORS]; 2],
            a: &Block,
            b: &Block,
            scales: [Lanes; 2],
        ) {
            for j in 0..ACCUMULATORS {
                let (mut a, mut b) = (load(&a.as_chunks().0[j]), load(&b.as_chunks().0[j]));
                if SCALED {
                    (a, b) = (mul(a, scales[0]), mul(b, scales[1]));
                }
                let term = match S::TERM {
                    Term::SquaredDifference => mul(sub(a, b), sub(a, b)),
                    Term::Product => mul(a, b),
                    Term::AbsoluteDifference => abs(sub(a, b)),
                };
                let sum = add(sums[j], term);
                if PRECISE {
                    let part = sub(sum, sums[j]);
                    let error = add(sub(sums[j], sub(sum, part)), sub(term, part));
                    errors[j] = add(errors[j], error);
                }
                sums[j] = sum;
            }
        }

        /// The sum of the terms of two vectors, whose components are multiplied by `scales` first
        /// if `SCALED`.
        $(#[$features])?
        #[inline]
        fn sum<S: Sum, const SCALED: bool, const PRECISE: bool>(
            a: &[u8],
            b: &[u8],
            scales: [f64; 2],
        ) -> f64 {
            let (a, b) = (words(a), words(b));
            let len = a.len().min(b.len());
            let (a_blocks, a_rest) = a[..len].as_chunks();
            let (b_blocks, b_rest) = b[..len].as_chunks();
            let scales = [splat(scales[0]), splat(scales[1])];
            let mut state = [[splat(0.0); ACCUMULATORS]; 2];
            for (a, b) in a_blocks.iter().zip(b_blocks) {
                add_block::<S, SCALED, PRECISE>(&mut state, a, b, scales);
            }
            if !a_rest.is_empty() {
                let [a, b] = [padded(a_rest), padded(b_rest)];
                add_block::<S, SCALED, PRECISE>(&mut state, &a, &b, scales);
            }
            let [sums, errors] = state;
            let (mut total, mut rest) = (0.0, 0.0);
            for j in 0..ACCUMULATORS {
                for (sum, error) in store(sums[j]).into_iter().zip(store(errors[j])) {
                    let (sum, lost) = two_sum(total, sum);
                    total = sum;
                    rest += lost + error;
                }
            }
            total + rest
        }

        /// The sum of the terms.
        $(#[$features])?
        pub(super) fn precise_sum<S: Sum>(a: &[u8], b: &[u8]) -> f64 {
            sum::<S, false, true>(a, b, [1.0; 2])
        }

        /// The cosine distance of two vectors.
        $(#[$features])?
        pub(super) fn cosine<const PRECISE: bool>(a: &[u8], b: &[u8]) -> f64 {
            let a_norm = sum::<Products, false, PRECISE>(a, a, [1.0; 2]).sqrt();
            let b_norm = sum::<Products, false, PRECISE>(b, b, [1.0; 2]).sqrt();
            let square =
                sum::<SquaredDifferences, true, PRECISE>(a, b, [1.0 / a_norm, 1.0 / b_norm]);
            // Above 4 by rounding, if the vectors are opposite.
            if square < MIN_SQUARE { 0.0 } else { (square / 4.0).min(1.0) }
        }
    };
}

mod portable {
    use super::*;

    type Lanes = [f64; LANES];

    precise_kernels!();

    #[inline]
    fn each(f: impl Fn(usize) -> f64) -> Lanes {
        [f(0), f(1), f(2), f(3)]
    }

    #[inline]
    fn load(words: &[[u8; 4]; LANES]) -> Lanes {
        each(|i| f32::from_le_bytes(words[i]).into())
    }

    #[inline]
    fn store(a: Lanes) -> [f64; LANES] {
        a
    }

    #[inline]
    fn splat(value: f64) -> Lanes {
        [value; LANES]
    }

    #[inline]
    fn add(a: Lanes, b: Lanes) -> Lanes {
        each(|i| a[i] + b[i])
    }

    #[inline]
    fn sub(a: Lanes, b: Lanes) -> Lanes {
        each(|i| a[i] - b[i])
    }

    #[inline]
    fn mul(a: Lanes, b: Lanes) -> Lanes {
        each(|i| a[i] * b[i])
    }

    #[inline]
    fn abs(a: Lanes) -> Lanes {
        each(|i| a[i].abs())
    }
}

/// The same results in a third of the time.
#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::*;

    type Lanes = __m256d;

    precise_kernels!(#[target_feature(enable = "avx2")]);

    #[target_feature(enable = "avx2")]
    #[inline]
    fn load(words: &[[u8; 4]; LANES]) -> Lanes {
        // SAFETY: reads the 16 bytes of the array, at any alignment.
        _mm256_cvtps_pd(unsafe { _mm_loadu_ps(words.as_ptr().cast()) })
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn store(a: Lanes) -> [f64; LANES] {
        let mut lanes = [0.0; LANES];
        // SAFETY: the array is as long as the register.
        unsafe { _mm256_storeu_pd(lanes.as_mut_ptr(), a) };
        lanes
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn splat(value: f64) -> Lanes {
        _mm256_set1_pd(value)
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn add(a: Lanes, b: Lanes) -> Lanes {
        _mm256_add_pd(a, b)
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn sub(a: Lanes, b: Lanes) -> Lanes {
        _mm256_sub_pd(a, b)
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn mul(a: Lanes, b: Lanes) -> Lanes {
        _mm256_mul_pd(a, b)
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn abs(a: Lanes) -> Lanes {
        _mm256_andnot_pd(_mm256_set1_pd(-0.0), a)
    }
}

/// The sum, and the error of computing it.
#[inline]
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    (sum, (a - (sum - b_part)) + (b - b_part))
}

fn precise_sum<S: Sum>(a: &[u8], b: &[u8]) -> f64 {
    #[cfg(target_arch = "x86_64")]
    if level() >= Level::Avx2 {
        // SAFETY: the level has AVX2.
        return unsafe { avx2::precise_sum::<S>(a, b) };
    }
    portable::precise_sum::<S>(a, b)
}

fn other_cosine<const PRECISE: bool>(a: &[u8], b: &[u8]) -> f64 {
    #[cfg(target_arch = "x86_64")]
    if level() >= Level::Avx2 {
        // SAFETY: the level has AVX2.
        return unsafe { avx2::cosine::<PRECISE>(a, b) };
    }
    portable::cosine::<PRECISE>(a, b)
}

/// The sum of squared differences.
pub(crate) fn squared_differences(a: &[u8], b: &[u8]) -> f64 {
    precise_sum::<SquaredDifferences>(a, b)
}

/// The sum of products.
pub(crate) fn products(a: &[u8], b: &[u8]) -> f64 {
    precise_sum::<Products>(a, b)
}

/// The sum of absolute differences.
pub(crate) fn absolute_differences(a: &[u8], b: &[u8]) -> f64 {
    precise_sum::<AbsoluteDifferences>(a, b)
}

/// The cosine distance of two vectors, neither of them 0; of equal bytes, 0.
pub(crate) fn cosine(a: &[u8], b: &[u8]) -> f64 {
    if a == b { 0.0 } else { other_cosine::<true>(a, b) }
}

/// The same in `f32`, in less time, for distances below 2^-13.
#[must_use]
pub fn small_angle(a: &[u8], b: &[u8]) -> f32 {
    if a == b { 0.0 } else { other_cosine::<false>(a, b) as f32 }
}

/// The Euclidean norm of a vector of `f32`.
#[must_use]
pub fn norm(vector: &[u8]) -> f64 {
    products(vector, vector).sqrt()
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
            type Function = fn(&[u8], &[u8]) -> f64;
            let both: [(Function, Function); 5] = [
                (other_cosine::<true>, portable::cosine::<true>),
                (other_cosine::<false>, portable::cosine::<false>),
                (products, portable::precise_sum::<Products>),
                (squared_differences, portable::precise_sum::<SquaredDifferences>),
                (absolute_differences, portable::precise_sum::<AbsoluteDifferences>),
            ];
            for (fast, portable) in both {
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
