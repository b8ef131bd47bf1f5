//! The built-in metrics: their formulas, what they refuse, and which kernel computes them.
//!
//! The limits on norms keep every distance finite and every partial sum of a kernel, too: by Cauchy-Schwarz no sum of products exceeds the
//! product of the norms, whatever the order it is computed in.

use super::{Distance, Form, Kernels};
use crate::codec::{Bits, F32, VectorRef};
use crate::error::VectorDefect;

/// The largest Euclidean norm under which a product of two norms, and the square of a sum of two, is below `f32::MAX`.
const MAX_NORM: f64 = 9e18;
/// The range of norms in which the inverse and the products of two are normal numbers with room to spare.
const MIN_DIRECTED_NORM: f64 = 1e-15;
const MAX_DIRECTED_NORM: f64 = 1e15;
/// The largest sum of absolute values under which the sum of two is below `f32::MAX`.
const MAX_L1_NORM: f64 = 1.5e38;

/// **Squared** Euclidean distance: `sum((a[i] - b[i])^2)`, from 0. Take the root for lengths; the order is the same.
#[derive(Debug, Clone, Copy)]
pub enum Euclidean {}

/// Half of one minus the cosine of the angle: `(1 - dot(a, b) / (|a| |b|)) / 2`, from 0 (same direction) over 0.5 (orthogonal) to 1
/// (opposite). The zero vector is refused. Vectors are stored as they are given, with the inverse of their norm beside them.
#[derive(Debug, Clone, Copy)]
pub enum Cosine {}

/// The negated inner product: `-sum(a[i] * b[i])`. Any finite number; the largest product is the nearest.
#[derive(Debug, Clone, Copy)]
pub enum DotProduct {}

/// Sum of absolute differences: `sum(|a[i] - b[i]|)`, from 0.
#[derive(Debug, Clone, Copy)]
pub enum Manhattan {}

/// The share of components that differ, from 0 to 1, of binary vectors: all components are 0 or 1 and stored as one bit.
#[derive(Debug, Clone, Copy)]
pub enum Hamming {}

fn sum(values: impl Iterator<Item = f64>) -> f32 {
    values.sum::<f64>() as f32
}

fn pairs<'a>(a: VectorRef<'a, F32>, b: VectorRef<'a, F32>) -> impl Iterator<Item = (f64, f64)> + 'a {
    a.iter().zip(b.iter()).map(|(a, b)| (f64::from(a), f64::from(b)))
}

fn norm(vector: &[f32]) -> f64 {
    vector.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt()
}

fn check_range(norm: f64, min: f64, max: f64) -> Result<(), VectorDefect> {
    if norm < min || norm > max { Err(VectorDefect::NormOutOfRange { norm, min, max }) } else { Ok(()) }
}

impl Distance for Euclidean {
    type Codec = F32;

    const FORM: Form = Form::SquaredDifferences;

    fn name() -> &'static str {
        "euclidean"
    }

    fn raw(a: VectorRef<'_, F32>, b: VectorRef<'_, F32>) -> f32 {
        sum(pairs(a, b).map(|(a, b)| (a - b) * (a - b)))
    }

    fn kernels() -> Kernels {
        Kernels::euclidean()
    }

    fn check(vector: &[f32]) -> Result<(), VectorDefect> {
        check_range(norm(vector), 0.0, MAX_NORM)
    }
}

impl Distance for Cosine {
    type Codec = F32;

    const FACTOR: bool = true;
    const FORM: Form = Form::Cosine;

    fn name() -> &'static str {
        "cosine"
    }

    fn raw(a: VectorRef<'_, F32>, b: VectorRef<'_, F32>) -> f32 {
        sum(pairs(a, b).map(|(a, b)| a * b))
    }

    fn kernels() -> Kernels {
        Kernels::inner_product()
    }

    fn factor(vector: VectorRef<'_, F32>) -> f32 {
        (1.0 / pairs(vector, vector).map(|(a, b)| a * b).sum::<f64>().sqrt()) as f32
    }

    #[inline]
    fn finish(raw: f32, factors: [f32; 2], _dimensions: usize) -> f32 {
        (1.0 - (raw * (factors[0] * factors[1])).clamp(-1.0, 1.0)) / 2.0
    }

    fn check(vector: &[f32]) -> Result<(), VectorDefect> {
        let norm = norm(vector);
        if norm == 0.0 { Err(VectorDefect::ZeroNorm) } else { check_range(norm, MIN_DIRECTED_NORM, MAX_DIRECTED_NORM) }
    }
}

impl Distance for DotProduct {
    type Codec = F32;

    const FORM: Form = Form::NegatedProducts;

    fn name() -> &'static str {
        "dot product"
    }

    fn raw(a: VectorRef<'_, F32>, b: VectorRef<'_, F32>) -> f32 {
        sum(pairs(a, b).map(|(a, b)| a * b))
    }

    fn kernels() -> Kernels {
        Kernels::inner_product()
    }

    #[inline]
    fn finish(raw: f32, _factors: [f32; 2], _dimensions: usize) -> f32 {
        0.0 - raw
    }

    fn check(vector: &[f32]) -> Result<(), VectorDefect> {
        check_range(norm(vector), 0.0, MAX_NORM)
    }
}

impl Distance for Manhattan {
    type Codec = F32;

    const FORM: Form = Form::Differences;

    fn name() -> &'static str {
        "manhattan"
    }

    fn raw(a: VectorRef<'_, F32>, b: VectorRef<'_, F32>) -> f32 {
        sum(pairs(a, b).map(|(a, b)| (a - b).abs()))
    }

    fn kernels() -> Kernels {
        Kernels::manhattan()
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
        a.as_bytes().iter().zip(b.as_bytes()).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>() as f32
    }

    fn kernels() -> Kernels {
        Kernels::hamming()
    }

    #[inline]
    fn finish(raw: f32, _factors: [f32; 2], dimensions: usize) -> f32 {
        raw / dimensions as f32
    }
}
