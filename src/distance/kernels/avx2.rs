//! Kernels for x86-64 processors with AVX2 and FMA (2013 and later): eight floats at a time.
//!
//! Everything here runs with these features only. The way in is [`kernels`] and [`hamming`], which detect them.

use std::arch::x86_64::*;

use super::panel::near_kernel;
use super::sum::{ACCUMULATORS, Sum, Term, sum_kernels, words};
use super::{Kernels, PANEL, ROWS, Row, portable};

type Lanes = __m256;
const LANES: usize = 8;
/// The accumulators of two vectors take half of the 16 registers, those of four would take them all.
const VECTORS: usize = 2;
/// Four registers of queries for each: eight sums, as many as hide the latency of a fused multiply-add.
const ROWS_ABREAST: usize = 2;

sum_kernels!(#[target_feature(enable = "avx2,fma")]);
near_kernel!(#[target_feature(enable = "avx2,fma")]);

/// Kernels for sums over floats, if the processor can run them.
pub(super) fn kernels<S: Sum>() -> Option<Kernels> {
    #[target_feature(enable = "avx2,fma")]
    fn kernels<S: Sum>() -> Kernels {
        Kernels { one: one::<S>, four: four::<S>, near: Some(near::<S>), near_by_products: None }
    }
    let detected = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    // SAFETY: the processor has AVX2 and FMA.
    detected.then(|| unsafe { kernels::<S>() })
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn zero() -> Lanes {
    _mm256_setzero_ps()
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn splat(value: f32) -> Lanes {
    _mm256_set1_ps(value)
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn not_below(sum: Lanes, scale: Lanes, offset: Lanes, limit: Lanes) -> u32 {
    _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_NLT_UQ>(_mm256_fmadd_ps(sum, scale, offset), limit)) as u32
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn load(words: &[[u8; 4]; LANES]) -> Lanes {
    // SAFETY: reads the 32 bytes of the array, at any alignment.
    unsafe { _mm256_loadu_ps(words.as_ptr().cast()) }
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn load_part(words: &[[u8; 4]]) -> Lanes {
    let floats = words.len().min(LANES) as i32;
    let mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(floats), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    // SAFETY: reads the lanes of the mask only, of which there are no more than `words`, at any alignment.
    unsafe { _mm256_maskload_ps(words.as_ptr().cast(), mask) }
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn step<S: Sum>(sum: Lanes, a: Lanes, b: Lanes) -> Lanes {
    match S::TERM {
        Term::SquaredDifference => {
            let difference = _mm256_sub_ps(a, b);
            _mm256_fmadd_ps(difference, difference, sum)
        }
        Term::Product => _mm256_fmadd_ps(a, b, sum),
        Term::AbsoluteDifference => _mm256_add_ps(sum, _mm256_andnot_ps(_mm256_set1_ps(-0.0), _mm256_sub_ps(a, b))),
    }
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn total([a, b, c, d]: [Lanes; ACCUMULATORS]) -> f32 {
    let eight = _mm256_add_ps(_mm256_add_ps(a, b), _mm256_add_ps(c, d));
    let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

/// The kernels for the number of bits that differ, if the processor can run them.
pub(super) fn hamming() -> Option<Kernels> {
    #[target_feature(enable = "avx2,popcnt")]
    fn one(a: &[u8], b: &[u8]) -> f32 {
        portable::differing_bits(a, b)
    }
    #[target_feature(enable = "avx2,popcnt")]
    fn four(a: &[u8], [b, c, d, e]: [&[u8]; 4]) -> [f32; 4] {
        [one(a, b), one(a, c), one(a, d), one(a, e)]
    }
    #[target_feature(enable = "avx2,popcnt")]
    fn kernels() -> Kernels {
        Kernels { one, four, near: None, near_by_products: None }
    }
    let detected = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt");
    // SAFETY: the processor has AVX2 and POPCNT.
    detected.then(|| unsafe { kernels() })
}
