//! The built-in metrics: their formulas, the vectors they refuse, and the kernels that compute
//! them.
//!
//! The limits on norms keep every distance and every partial sum of a kernel finite: by
//! Cauchy-Schwarz, no sum of products exceeds the product of the norms, in whatever order it is
//! added up.
//!
//! **Resolution.** Searches compute distances in `f32`, by sums of `n` terms, one for each
//! dimension, whose error is at most `r = (n / 32 + 12) * 6.1e-8` times the sum of the magnitudes
//! of the terms: 1e-6 for 128 dimensions, 1.5e-6 for 384, usually a tenth of that. Where two
//! results are nearer to each other than their errors, both are computed again by their definition
//! in `f64`, and sums are rounded once. So answers are in the order of the definition, ties by item
//! id, whatever the order of the components, and on every machine. The `f32` in an answer is
//! rounded from the definition for those results, and within the error of it for all others; its
//! last digits may differ between machines, and between searches with other results. The metrics
//! below state their errors. Binary metrics count, and have none.
//!
//! The metrics over floats have the element type of stored vectors as a parameter, `f32` by
//! default. It changes the stored vectors, not the formula: `Cosine<F16>` is the distance of the
//! query, which is not rounded, to the decoded stored vector.

use std::convert::Infallible;
use std::marker::PhantomData;

use super::kernels::precise;
use super::{Distance, Form, Kernels};
use crate::codec::{Bits, Codec, F32, Floats, Signs, VectorRef};
use crate::defect::VectorDefect;

/// The largest Euclidean norm at which the product of two norms, and the square of the sum of two,
/// is below `f32::MAX`.
const MAX_NORM: f64 = 9e18;
/// The smallest norm but 0 of metrics that multiply. Products of two norms are normal numbers, 8
/// orders of magnitude above the smallest one, and so is the square of a difference of a thousandth
/// of the norm. Below 2.6e-23, all products underflow to 0.
const MIN_NORM: f64 = 1e-15;
/// The largest norm whose inverse is a normal number, with a margin.
const MAX_DIRECTED_NORM: f64 = 1e15;
/// The largest sum of absolute values at which the sum of two is below `f32::MAX`.
const MAX_L1_NORM: f64 = 1.5e38;

/// **Squared** Euclidean distance: `sum((a[i] - b[i])^2)`, from 0. Its square root is the length of
/// the difference; the order is the same. Vectors are stored as `C`.
///
/// The Euclidean norm of a vector is 0, or from 1e-15 to 9e18. A search result is at distance 0
/// only if its components are those of the query: if they differ, but all squares underflow
/// (differences below 1e-23 do), the distance is the smallest positive `f32`, 1.4e-45.
///
/// Resolution: with `n` dimensions, the `f32` in an answer is within `(n / 32 + 12) * 6.1e-8` of
/// the distance, relative to it, and at least within 1.2e-38. Answers are ordered by the distance
/// in `f64`, whose relative error is about 1e-16, so that results are told apart that `f32` cannot.
#[derive(Debug, Clone, Copy)]
pub struct Euclidean<C = F32>(PhantomData<C>, Infallible);

/// Cosine distance, half of one minus the cosine of the angle: `(1 - dot(a, b) / (|a| |b|)) / 2`,
/// from 0 (same direction) through 0.5 (orthogonal) to 1 (opposite). The zero vector is refused.
/// Vectors are stored as `C`, not normalized, with the inverse of their norm beside them.
///
/// The Euclidean norm of a vector is from 1e-15 to 1e15.
///
/// Resolution: with `n` dimensions, the `f32` in an answer is within `(n / 32 + 19) * 3.1e-8` of
/// the distance, and below 1.2e-4 within 4e-7 of it, relative to it. Answers are ordered by the
/// distance in `f64`, a quarter of the squared difference of the unit vectors: near-duplicates are
/// told apart down to angles of 1e-15, below which the distance is 0, as it is for a vector and
/// itself.
#[derive(Debug, Clone, Copy)]
pub struct Cosine<C = F32>(PhantomData<C>, Infallible);

/// The negated inner product: `-sum(a[i] * b[i])`, any finite number. The largest product is the
/// nearest, so that a vector need not be the nearest to itself. Vectors are stored as `C`.
///
/// Lengths may vary. Of 20 000 random directions in 32 dimensions, times lengths whose logarithms
/// have a standard deviation of 1, a search with an `ef_search` of `k` finds 99 % of the nearest
/// 100 and 97 % of the nearest 800, and one with 20 finds 95 % of the nearest 10. The more lengths
/// vary, the larger must `ef_search` be for large `k`.
///
/// The Euclidean norm of a vector is 0, or from 1e-15 to 9e18.
///
/// Resolution: with `n` dimensions, the `f32` in an answer is within `(n / 32 + 12) * 6.1e-8` of
/// the distance, relative to the product of the norms of the query and of the longest vector, which
/// can be more than the distance itself where products cancel. Answers are ordered by the exact sum
/// of the products, rounded once to `f64`.
#[derive(Debug, Clone, Copy)]
pub struct DotProduct<C = F32>(PhantomData<C>, Infallible);

/// Manhattan distance: `sum(|a[i] - b[i]|)`, from 0. Vectors are stored as `C`.
///
/// The sum of absolute values of a vector is at most 1.5e38. It has no lower limit: nothing is
/// multiplied, and differences of tiny numbers are exact.
///
/// Resolution: as that of [`Euclidean`].
#[derive(Debug, Clone, Copy)]
pub struct Manhattan<C = F32>(PhantomData<C>, Infallible);

/// Hamming distance of binary vectors: the fraction of components that differ, from 0 to 1.
/// Components are 0 or 1, and stored as 1 bit each. Counts are exact, and rounded once to `f32`.
#[derive(Debug, Clone, Copy)]
pub enum Hamming {}

/// [`Euclidean`] between the signs of the components, 1 and -1: four times the number of signs that
/// differ. Stored as 1 bit a component. Distances are those of hannoy's metric of this name.
#[derive(Debug, Clone, Copy)]
pub enum BinaryQuantizedEuclidean {}

/// [`Cosine`] between the signs of the components: the fraction of signs that differ, from 0 to 1.
/// Dimensions are rounded up to a multiple of 64, and the padding counts as equal. Stored as 1 bit
/// a component. Distances are those of hannoy's metric of this name, up to rounding.
#[derive(Debug, Clone, Copy)]
pub enum BinaryQuantizedCosine {}

/// [`Manhattan`] between the signs of the components, 1 and -1: twice the number of signs that
/// differ. Stored as 1 bit a component. Distances are those of hannoy's metric of this name.
#[derive(Debug, Clone, Copy)]
pub enum BinaryQuantizedManhattan {}

fn sum(values: impl Iterator<Item = f64>) -> f32 {
    values.sum::<f64>() as f32
}

fn pairs<'a>(
    a: VectorRef<'a, F32>,
    b: VectorRef<'a, F32>,
) -> impl Iterator<Item = (f64, f64)> + 'a {
    a.iter().zip(b.iter()).map(|(a, b)| (f64::from(a), f64::from(b)))
}

fn differing_bits(a: &[u8], b: &[u8]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>() as f32
}

fn norm(vector: &[f32]) -> f64 {
    sum_of(vector, vector, |a, b| f64::from(a) * f64::from(b)).sqrt()
}

/// Sums the terms of two vectors' components, in the same order on every machine: in parallel
/// partial sums, so that the compiler vectorizes it.
pub(crate) fn sum_of(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f64) -> f64 {
    const LANES: usize = 8;
    let ((a_chunks, a_rest), (b_chunks, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0.0; LANES];
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for i in 0..LANES {
            sums[i] += term(a[i], b[i]);
        }
    }
    sums.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(a, b)| term(*a, *b)).sum::<f64>()
}

/// Checks that nothing overflows, and that squares and products do not underflow. The zero vector
/// is accepted.
fn check_norm(vector: &[f32]) -> Result<(), VectorDefect> {
    let norm = norm(vector);
    if norm == 0.0 { Ok(()) } else { check_range(norm, MIN_NORM, MAX_NORM) }
}

fn check_range(norm: f64, min: f64, max: f64) -> Result<(), VectorDefect> {
    if norm < min || norm > max {
        Err(VectorDefect::NormOutOfRange { norm, min, max })
    } else {
        Ok(())
    }
}

impl<C: Floats> Distance for Euclidean<C> {
    type Codec = C;

    const FORM: Form = Form::SquaredDifferences;

    fn name() -> &'static str {
        "euclidean"
    }

    fn raw(a: VectorRef<'_, F32>, b: VectorRef<'_, F32>) -> f32 {
        sum(pairs(a, b).map(|(a, b)| (a - b) * (a - b)))
    }

    fn kernels(dimensions: usize) -> Kernels {
        Kernels::euclidean_of::<C>(dimensions)
    }

    fn precise(a: VectorRef<'_, F32>, b: VectorRef<'_, F32>, _dimensions: usize) -> f64 {
        precise::squared_differences(a.as_bytes(), b.as_bytes())
    }

    fn check(vector: &[f32]) -> Result<(), VectorDefect> {
        check_norm(vector)
    }
}

impl<C: Floats> Distance for Cosine<C> {
    type Codec = C;

    const FACTOR: bool = true;
    const FORM: Form = Form::Cosine;

    fn name() -> &'static str {
        "cosine"
    }

    fn raw(a: VectorRef<'_, F32>, b: VectorRef<'_, F32>) -> f32 {
        sum(pairs(a, b).map(|(a, b)| a * b))
    }

    fn kernels(dimensions: usize) -> Kernels {
        Kernels::inner_product_of::<C>(dimensions)
    }

    fn factor(vector: VectorRef<'_, F32>) -> f32 {
        (1.0 / norm(&vector.to_vec(usize::MAX))) as f32
    }

    #[inline]
    fn finish(raw: f32, factors: [f32; 2], _dimensions: usize) -> f32 {
        (1.0 - (raw * (factors[0] * factors[1])).clamp(-1.0, 1.0)) / 2.0
    }

    fn precise(a: VectorRef<'_, F32>, b: VectorRef<'_, F32>, _dimensions: usize) -> f64 {
        precise::cosine(a.as_bytes(), b.as_bytes())
    }

    fn check(vector: &[f32]) -> Result<(), VectorDefect> {
        let norm = norm(vector);
        if norm == 0.0 {
            Err(VectorDefect::ZeroNorm)
        } else {
            check_range(norm, MIN_NORM, MAX_DIRECTED_NORM)
        }
    }
}

impl<C: Floats> Distance for DotProduct<C> {
    type Codec = C;

    const FORM: Form = Form::NegatedProducts;

    fn name() -> &'static str {
        "dot product"
    }

    fn raw(a: VectorRef<'_, F32>, b: VectorRef<'_, F32>) -> f32 {
        sum(pairs(a, b).map(|(a, b)| a * b))
    }

    fn kernels(dimensions: usize) -> Kernels {
        Kernels::inner_product_of::<C>(dimensions)
    }

    #[inline]
    fn finish(raw: f32, _factors: [f32; 2], _dimensions: usize) -> f32 {
        0.0 - raw
    }

    fn precise(a: VectorRef<'_, F32>, b: VectorRef<'_, F32>, _dimensions: usize) -> f64 {
        0.0 - precise::products(a.as_bytes(), b.as_bytes())
    }

    fn check(vector: &[f32]) -> Result<(), VectorDefect> {
        check_norm(vector)
    }
}

impl<C: Floats> Distance for Manhattan<C> {
    type Codec = C;

    const FORM: Form = Form::Differences;

    fn name() -> &'static str {
        "manhattan"
    }

    fn raw(a: VectorRef<'_, F32>, b: VectorRef<'_, F32>) -> f32 {
        sum(pairs(a, b).map(|(a, b)| (a - b).abs()))
    }

    fn kernels(dimensions: usize) -> Kernels {
        Kernels::manhattan_of::<C>(dimensions)
    }

    fn precise(a: VectorRef<'_, F32>, b: VectorRef<'_, F32>, _dimensions: usize) -> f64 {
        precise::absolute_differences(a.as_bytes(), b.as_bytes())
    }

    fn check(vector: &[f32]) -> Result<(), VectorDefect> {
        check_range(vector.iter().map(|&v| f64::from(v).abs()).sum(), 0.0, MAX_L1_NORM)
    }
}

impl Distance for Hamming {
    type Codec = Bits;

    fn name() -> &'static str {
        "hamming"
    }

    fn raw(a: VectorRef<'_, Bits>, b: VectorRef<'_, Bits>) -> f32 {
        differing_bits(a.as_bytes(), b.as_bytes())
    }

    fn kernels(_dimensions: usize) -> Kernels {
        Kernels::hamming()
    }

    #[inline]
    fn finish(raw: f32, _factors: [f32; 2], dimensions: usize) -> f32 {
        raw / dimensions as f32
    }
}

impl Distance for BinaryQuantizedEuclidean {
    type Codec = Signs;

    fn name() -> &'static str {
        "binary quantized euclidean"
    }

    fn raw(a: VectorRef<'_, Signs>, b: VectorRef<'_, Signs>) -> f32 {
        differing_bits(a.as_bytes(), b.as_bytes())
    }

    fn kernels(_dimensions: usize) -> Kernels {
        Kernels::hamming()
    }

    #[inline]
    fn finish(raw: f32, _factors: [f32; 2], _dimensions: usize) -> f32 {
        4.0 * raw
    }
}

impl Distance for BinaryQuantizedCosine {
    type Codec = Signs;

    fn name() -> &'static str {
        "binary quantized cosine"
    }

    fn raw(a: VectorRef<'_, Signs>, b: VectorRef<'_, Signs>) -> f32 {
        differing_bits(a.as_bytes(), b.as_bytes())
    }

    fn kernels(_dimensions: usize) -> Kernels {
        Kernels::hamming()
    }

    #[inline]
    fn finish(raw: f32, _factors: [f32; 2], dimensions: usize) -> f32 {
        raw / (8 * Signs::bytes(dimensions)) as f32
    }
}

impl Distance for BinaryQuantizedManhattan {
    type Codec = Signs;

    fn name() -> &'static str {
        "binary quantized manhattan"
    }

    fn raw(a: VectorRef<'_, Signs>, b: VectorRef<'_, Signs>) -> f32 {
        differing_bits(a.as_bytes(), b.as_bytes())
    }

    fn kernels(_dimensions: usize) -> Kernels {
        Kernels::hamming()
    }

    #[inline]
    fn finish(raw: f32, _factors: [f32; 2], _dimensions: usize) -> f32 {
        2.0 * raw
    }
}
