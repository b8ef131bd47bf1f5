//! Kernels for x86-64 processors with AVX-512: sixteen floats or eight 64-bit words at a time, with
//! masked loads in the tail.
//!
//! All functions here require these features. The only ways in are [`kernels`] and [`hamming`],
//! which ask `features.rs` for them.

use std::arch::x86_64::*;

use super::features::{Level, level};
use super::panel::near_kernel;
use super::sum::{Load, Stored, Sum, Term, sum_kernels, words};
use super::{Four, Kernels, One, PANEL, ROWS, Row};
use crate::codec::Scale;

type Lanes = __m512;
const LANES: usize = 16;
/// Most numbers of components are a multiple of this. A tail of this many is loaded without a mask.
const QUARTER: usize = LANES / 4;
/// Four vectors have eight accumulators, as many as hide the latency of an FMA.
const ACCUMULATORS: usize = 2;
const VECTORS: usize = 4;
/// Each has two registers of queries: sixteen accumulators, twice as many as hide the latency of an
/// FMA.
const ROWS_ABREAST: usize = 8;

sum_kernels!(#[target_feature(enable = "avx512f,avx512bw,avx512vl")]);
near_kernel!(#[target_feature(enable = "avx512f,avx512bw,avx512vl")]);

/// Kernels for sums over floats, if the processor can run them.
pub(super) fn kernels<S: Sum, L: Load>(dimensions: usize) -> Option<Kernels> {
    // SAFETY: the level has all three features.
    (level() >= Level::Avx512).then(|| unsafe { kernels_of::<S, L>(dimensions) })
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn zero() -> Lanes {
    _mm512_setzero_ps()
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn splat(value: f32) -> Lanes {
    _mm512_set1_ps(value)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn not_below(sum: Lanes, scale: Lanes, offset: Lanes, limit: Lanes) -> u32 {
    _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(_mm512_fmadd_ps(sum, scale, offset), limit).into()
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn load(words: &[[u8; 4]; LANES]) -> Lanes {
    // SAFETY: reads the 64 bytes of the array, at any alignment.
    unsafe { _mm512_loadu_ps(words.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn load_part(words: &[[u8; 4]]) -> Lanes {
    if let Ok(words) = <&[[u8; 4]; QUARTER]>::try_from(words) {
        // SAFETY: reads the 16 bytes of the array, at any alignment.
        return _mm512_zextps128_ps512(unsafe { _mm_loadu_ps(words.as_ptr().cast()) });
    }
    // SAFETY: reads only the lanes of the mask, which are no more than `words`, at any alignment.
    unsafe { _mm512_maskz_loadu_ps(first(words.len()), words.as_ptr().cast()) }
}

/// A mask of the first lanes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn first(lanes: usize) -> __mmask16 {
    (1u32 << lanes.min(LANES)).wrapping_sub(1) as __mmask16
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn load_stored<L: Load>(words: &[L::Word; LANES], scale: Scale) -> Lanes {
    let words = words.as_ptr();
    // SAFETY: reads the bytes of the array, which has as many words as there are lanes, of the size
    // of the element type, at any alignment.
    unsafe {
        match L::STORED {
            Stored::F32 => _mm512_loadu_ps(words.cast()),
            Stored::F16 => _mm512_cvtph_ps(_mm256_loadu_si256(words.cast())),
            Stored::Bf16 => from_bf16(_mm256_loadu_si256(words.cast())),
            Stored::I8 => from_codes(_mm_loadu_si128(words.cast()), scale),
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn load_stored_part<L: Load>(words: &[L::Word], scale: Scale) -> Lanes {
    if let (Ok(words), Stored::F32 | Stored::F16) =
        (<&[L::Word; QUARTER]>::try_from(words), L::STORED)
    {
        let words = words.as_ptr();
        // SAFETY: reads the bytes of the array, which has a quarter as many words as there are
        // lanes, at any alignment.
        return _mm512_zextps128_ps512(unsafe {
            match L::STORED {
                Stored::F16 => _mm_cvtph_ps(_mm_loadl_epi64(words.cast())),
                _ => _mm_loadu_ps(words.cast()),
            }
        });
    }
    let (mask, words) = (first(words.len()), words.as_ptr());
    // SAFETY: reads only the lanes of the mask, which are no more than `words`, of the size of the
    // element type, at any alignment.
    unsafe {
        match L::STORED {
            Stored::F32 => _mm512_maskz_loadu_ps(mask, words.cast()),
            Stored::F16 => _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, words.cast())),
            Stored::Bf16 => from_bf16(_mm256_maskz_loadu_epi16(mask, words.cast())),
            // The code 0 does not decode to 0, so mask after decoding.
            Stored::I8 => _mm512_maskz_mov_ps(
                mask,
                from_codes(_mm_maskz_loadu_epi8(mask, words.cast()), scale),
            ),
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn from_bf16(words: __m256i) -> Lanes {
    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(words)))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn from_codes(codes: __m128i, scale: Scale) -> Lanes {
    _mm512_fmadd_ps(
        _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(codes)),
        splat(scale.step),
        splat(scale.center),
    )
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn step<S: Sum>(sum: Lanes, a: Lanes, b: Lanes) -> Lanes {
    match S::TERM {
        Term::SquaredDifference => {
            let difference = _mm512_sub_ps(a, b);
            _mm512_fmadd_ps(difference, difference, sum)
        }
        Term::Product => _mm512_fmadd_ps(a, b, sum),
        Term::AbsoluteDifference => _mm512_add_ps(sum, _mm512_abs_ps(_mm512_sub_ps(a, b))),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn totals<const N: usize>(accumulators: [[Lanes; ACCUMULATORS]; N]) -> [f32; N] {
    let sums = accumulators.map(|[a, b]| _mm512_add_ps(a, b));
    let mut totals = [0.0; N];
    let (fours, rest) = sums.as_chunks::<4>();
    let (four_totals, rest_totals) = totals.as_chunks_mut::<4>();
    // Horizontal sums of four registers at once, in two thirds of the instructions. Within 128 bits
    // (0 + 2) + (1 + 3), then the upper half onto the lower, twice.
    for ([a, b, c, d], totals) in fours.iter().zip(four_totals) {
        let ab = _mm512_add_ps(_mm512_unpacklo_ps(*a, *b), _mm512_unpackhi_ps(*a, *b));
        let cd = _mm512_add_ps(_mm512_unpacklo_ps(*c, *d), _mm512_unpackhi_ps(*c, *d));
        let (ab, cd) = (_mm512_castps_pd(ab), _mm512_castps_pd(cd));
        let (even, odd) = (_mm512_unpacklo_pd(ab, cd), _mm512_unpackhi_pd(ab, cd));
        let sums = fold(_mm512_add_ps(_mm512_castpd_ps(even), _mm512_castpd_ps(odd)));
        // SAFETY: the array is as long as the register.
        unsafe { _mm_storeu_ps(totals.as_mut_ptr(), sums) };
    }
    for (sum, total) in rest.iter().zip(rest_totals) {
        let two = _mm512_add_ps(*sum, _mm512_permute_ps::<0b01_00_11_10>(*sum));
        *total = _mm_cvtss_f32(fold(_mm512_add_ps(two, _mm512_permute_ps::<0b10_11_00_01>(two))));
    }
    totals
}

/// The sums of the lanes at the same position within 128 bits.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn fold(lanes: Lanes) -> __m128 {
    let upper = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(lanes)));
    let half = _mm256_add_ps(_mm512_castps512_ps256(lanes), upper);
    _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps::<1>(half))
}

/// The kernels for the number of differing bits, if the processor can run them.
pub(super) fn hamming() -> Option<Kernels> {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vpopcntdq")]
    fn kernels() -> Kernels {
        Kernels::new(one_hamming, four_hamming)
    }
    // SAFETY: the level has all four features.
    (level() >= Level::Vbmi).then(|| unsafe { kernels() })
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vpopcntdq")]
fn one_hamming(a: &[u8], b: &[u8], _: Scale) -> f32 {
    let [bits] = differing_bits(a, [b]);
    bits
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vpopcntdq")]
fn four_hamming(a: &[u8], b: [&[u8]; 4], _: Scale) -> [f32; 4] {
    differing_bits(a, b)
}

/// The number of bits in which `a` and each of `b` differ, over the length of the shortest.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vpopcntdq")]
#[inline]
fn differing_bits<const N: usize>(a: &[u8], b: [&[u8]; N]) -> [f32; N] {
    let len = b.iter().fold(a.len(), |len, b| len.min(b.len()));
    let mut counts = [_mm512_setzero_si512(); N];
    for start in (0..len).step_by(size_of::<__m512i>()) {
        let a = load_words(&a[start..len]);
        for (count, b) in counts.iter_mut().zip(b) {
            let difference = _mm512_xor_si512(a, load_words(&b[start..len]));
            *count = _mm512_add_epi64(*count, _mm512_popcnt_epi64(difference));
        }
    }
    let mut bits = [0.0; N];
    for (bits, count) in bits.iter_mut().zip(counts) {
        *bits = _mm512_reduce_add_epi64(count) as f32;
    }
    bits
}

/// The first eight 64-bit words, zero past the end of `bytes`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn load_words(bytes: &[u8]) -> __m512i {
    let words = (bytes.len() / size_of::<u64>()).min(8);
    let mask = (1u32 << words).wrapping_sub(1) as __mmask8;
    // SAFETY: reads only the lanes of the mask, which are no more than the whole words of `bytes`,
    // at any alignment.
    unsafe { _mm512_maskz_loadu_epi64(mask, bytes.as_ptr().cast()) }
}
