//! Kernels for x86-64 processors with AVX2, FMA and F16C, which came together in 2013: eight floats
//! at a time.
//!
//! All functions here require these features. The only ways in are [`kernels`] and [`hamming`],
//! which ask `features.rs` for them.

use std::arch::x86_64::*;

use super::features::{Level, level};
use super::panel::near_kernel;
use super::sum::{Load, Stored, Sum, Term, sum_kernels, words};
use super::{Four, Kernels, One, PANEL, ROWS, Row, portable};
use crate::codec::Scale;

type Lanes = __m256;
const LANES: usize = 8;
/// Two vectors have eight accumulators, as many as hide the latency of an FMA.
const ACCUMULATORS: usize = 4;
/// The accumulators of two vectors take half of the 16 registers.
const VECTORS: usize = 2;
/// Each has four registers of queries: eight accumulators, too.
const ROWS_ABREAST: usize = 2;

sum_kernels!(#[target_feature(enable = "avx2,fma,f16c")]);
near_kernel!(#[target_feature(enable = "avx2,fma,f16c")]);

/// Kernels for sums over floats, if the processor can run them.
pub(super) fn kernels<S: Sum, L: Load>(dimensions: usize) -> Option<Kernels> {
    // SAFETY: the level has AVX2, FMA and F16C.
    (level() >= Level::Avx2).then(|| unsafe { kernels_of::<S, L>(dimensions) })
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn zero() -> Lanes {
    _mm256_setzero_ps()
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn splat(value: f32) -> Lanes {
    _mm256_set1_ps(value)
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn not_below(sum: Lanes, scale: Lanes, offset: Lanes, limit: Lanes) -> u32 {
    _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_NLT_UQ>(_mm256_fmadd_ps(sum, scale, offset), limit))
        as u32
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn load(words: &[[u8; 4]; LANES]) -> Lanes {
    // SAFETY: reads the 32 bytes of the array, at any alignment.
    unsafe { _mm256_loadu_ps(words.as_ptr().cast()) }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn load_part(words: &[[u8; 4]]) -> Lanes {
    // SAFETY: reads only the lanes of the mask, which are no more than `words`, at any alignment.
    unsafe { _mm256_maskload_ps(words.as_ptr().cast(), first(words.len())) }
}

/// A mask of the first lanes: all of their bits are set.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn first(lanes: usize) -> __m256i {
    _mm256_cmpgt_epi32(
        _mm256_set1_epi32(lanes.min(LANES) as i32),
        _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7),
    )
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn load_stored<L: Load>(words: &[L::Word; LANES], scale: Scale) -> Lanes {
    let words = words.as_ptr();
    // SAFETY: reads the bytes of the array, which has as many words as there are lanes, of the size
    // of the element type, at any alignment.
    unsafe {
        match L::STORED {
            Stored::F32 => _mm256_loadu_ps(words.cast()),
            Stored::F16 => _mm256_cvtph_ps(_mm_loadu_si128(words.cast())),
            Stored::Bf16 => _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(
                _mm_loadu_si128(words.cast()),
            ))),
            Stored::I8 => {
                let codes = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(words.cast())));
                _mm256_fmadd_ps(codes, splat(scale.step), splat(scale.center))
            }
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn load_stored_part<L: Load>(words: &[L::Word], scale: Scale) -> Lanes {
    if L::STORED == Stored::F32 {
        return load_part(L::bytes(words).as_chunks().0);
    }
    let copy = first_bytes(L::bytes(words)).to_le_bytes();
    let (copy, _) = L::words(&copy).as_chunks();
    // The code 0 does not decode to 0, so mask after decoding.
    _mm256_and_ps(_mm256_castsi256_ps(first(words.len())), load_stored::<L>(&copy[0], scale))
}

/// The first bytes, up to 16, in little-endian order: by two loads that may overlap, not byte by
/// byte.
#[inline]
fn first_bytes(bytes: &[u8]) -> u128 {
    let join = |low: u64, high: u64, size: usize| {
        u128::from(low) | u128::from(high) << (8 * (bytes.len() - size))
    };
    if let (Some(low), Some(high)) = (bytes.first_chunk(), bytes.last_chunk()) {
        join(u64::from_le_bytes(*low), u64::from_le_bytes(*high), 8)
    } else if let (Some(low), Some(high)) = (bytes.first_chunk(), bytes.last_chunk()) {
        join(u32::from_le_bytes(*low).into(), u32::from_le_bytes(*high).into(), 4)
    } else if let (Some(low), Some(high)) = (bytes.first_chunk(), bytes.last_chunk()) {
        join(u16::from_le_bytes(*low).into(), u16::from_le_bytes(*high).into(), 2)
    } else {
        bytes.first().map_or(0, |byte| u128::from(*byte))
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn step<S: Sum>(sum: Lanes, a: Lanes, b: Lanes) -> Lanes {
    match S::TERM {
        Term::SquaredDifference => {
            let difference = _mm256_sub_ps(a, b);
            _mm256_fmadd_ps(difference, difference, sum)
        }
        Term::Product => _mm256_fmadd_ps(a, b, sum),
        Term::AbsoluteDifference => {
            _mm256_add_ps(sum, _mm256_andnot_ps(_mm256_set1_ps(-0.0), _mm256_sub_ps(a, b)))
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn totals<const N: usize>(accumulators: [[Lanes; ACCUMULATORS]; N]) -> [f32; N] {
    accumulators.map(|[a, b, c, d]| {
        let eight = _mm256_add_ps(_mm256_add_ps(a, b), _mm256_add_ps(c, d));
        let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
    })
}

/// The kernels for the number of differing bits, if the processor can run them.
pub(super) fn hamming() -> Option<Kernels> {
    #[target_feature(enable = "avx2,popcnt")]
    fn one(a: &[u8], b: &[u8], _: Scale) -> f32 {
        portable::differing_bits(a, b)
    }
    #[target_feature(enable = "avx2,popcnt")]
    fn four(a: &[u8], [b, c, d, e]: [&[u8]; 4], scale: Scale) -> [f32; 4] {
        [one(a, b, scale), one(a, c, scale), one(a, d, scale), one(a, e, scale)]
    }
    #[target_feature(enable = "avx2,popcnt")]
    fn kernels() -> Kernels {
        Kernels::new(one, four)
    }
    // SAFETY: the level has AVX2 and POPCNT.
    (level() >= Level::Avx2).then(|| unsafe { kernels() })
}
