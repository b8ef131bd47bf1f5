//! The query of the kernels for codes ([`CodeQuery`]), the factors of a code, and the step from
//! sums to estimates. The kernels by planes (`codes.rs`) and for 7 bits (`packed.rs`) share them.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use super::prefetch::{self, LINE_BYTES};

const _: () = assert!(65_535i64 * 255 * 127 < i32::MAX as i64);

/// Codes with this many bits a component are bit-packed, not stored by planes (`packed.rs`).
pub(super) const PACKED_BITS: usize = 7;
/// Codes are read in pieces of this many bytes; each plane of the query is zero-padded to whole
/// pieces.
pub(super) const PIECE: usize = 64;

/// The size of the factors after a code, in bytes.
pub const FACTOR_BYTES: usize = 12;

/// The maximum zero padding of a 7-bit code, in bytes, so that code and factors fill cache lines.
const MOST_PADDING: usize = 4;

/// The size of a code without its factors, in bytes.
#[must_use]
pub fn code_bytes(bits: usize, dimensions: usize) -> usize {
    let bytes = (dimensions * bits).div_ceil(8);
    let in_lines = (bytes + FACTOR_BYTES).next_multiple_of(LINE_BYTES) - FACTOR_BYTES;
    if bits == PACKED_BITS && in_lines - bytes <= MOST_PADDING { in_lines } else { bytes }
}

/// Whether consecutive codes with their factors occupy whole cache lines.
pub(crate) fn fills_lines(bits: usize, dimensions: usize) -> bool {
    (code_bytes(bits, dimensions) + FACTOR_BYTES).is_multiple_of(LINE_BYTES)
}

/// The factors stored after the code of a vector, which quantizes its residual `r`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Factors {
    /// The term of every estimate that depends on the vector alone.
    pub offset: f32,
    /// The scale of the code: the scaled code has the inner product with `r` that `r` has with
    /// itself.
    pub scale: f32,
    /// The norm of the quantization error, `r` minus the scaled code, rounded up.
    pub error: f32,
    /// The norm of the scaled code, rounded up.
    pub length: f32,
}

impl Factors {
    pub(crate) fn encode(&self) -> [u8; FACTOR_BYTES] {
        let mut bytes = [0; FACTOR_BYTES];
        bytes[..4].copy_from_slice(&self.offset.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.scale.to_le_bytes());
        bytes[8..10].copy_from_slice(&upper_half(self.error).to_le_bytes());
        bytes[10..].copy_from_slice(&upper_half(self.length).to_le_bytes());
        bytes
    }

    /// Decodes the bytes that follow a code.
    #[inline(always)]
    #[must_use]
    pub fn decode(bytes: [u8; FACTOR_BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
        let short = |low, high| f32::from_bits(u32::from(u16::from_le_bytes([low, high])) << 16);
        Self {
            offset: f32::from_le_bytes([a, b, c, d]),
            scale: f32::from_le_bytes([e, f, g, h]),
            error: short(i, j),
            length: short(k, l),
        }
    }
}

/// The upper 16 bits of a nonnegative `f32`, rounded up.
fn upper_half(value: f32) -> u16 {
    (value.to_bits().saturating_add(0xffff) >> 16) as u16
}

/// A query, prepared for codes. Component `i` of `n` is in byte `i % plane` of a code, in the bits
/// from `bits * (i / plane)` on, where `plane = ceil(n * bits / 8)` is the length of the code; with
/// 7 bits a component, it is in the 7 bits from bit `7 * i` on.
#[derive(Debug, Clone)]
pub struct CodeQuery {
    /// The components, plane by plane, each plane padded to whole pieces.
    pub(super) planes: Vec<i8>,
    pub(super) code_bytes: usize,
    /// `estimate = offset of the vector + offset - scale of the vector * (slope * sum +
    /// intercept)`.
    pub(crate) offset: f32,
    pub(crate) slope: f32,
    pub(crate) intercept: f32,
    /// The coefficients of the factors `error` and `length` in the error bound.
    pub(crate) error: f32,
    pub(crate) length: f32,
    /// `slack * (length of the scaled code + own)^2` covers rounding errors.
    pub(crate) slack: f32,
    pub(crate) own: f32,
    /// The fraction of the bound, without `slack`, that errors rarely exceed: their direction is
    /// random, so rarely along the query.
    pub(crate) likely: f32,
}

impl CodeQuery {
    /// Components are at most 127 in magnitude.
    pub(crate) fn new(components: &[i8], code_bytes: usize, bits: usize) -> Self {
        let of_plane = if bits == PACKED_BITS { components.len().max(1) } else { code_bytes };
        let padded = of_plane.next_multiple_of(PIECE);
        let mut planes = vec![0; padded * (8 / bits)];
        for (plane, components) in planes.chunks_mut(padded).zip(components.chunks(of_plane)) {
            plane[..components.len()].copy_from_slice(components);
        }
        Self {
            planes,
            code_bytes,
            offset: 0.0,
            slope: 0.0,
            intercept: 0.0,
            error: 0.0,
            length: 0.0,
            slack: 0.0,
            own: 0.0,
            likely: 1.0,
        }
    }

    /// The number of cache lines of a code and its factors to prefetch.
    #[inline(always)]
    #[must_use]
    pub fn prefetched_lines(&self) -> usize {
        prefetch::prefetched_lines(self.code_bytes + FACTOR_BYTES)
    }

    /// The estimates of four codes, from their inner products with the components.
    #[inline(always)]
    pub(super) fn estimates(&self, sums: [i32; 4], codes: &[&[u8]; 4]) -> [f32; 4] {
        let (mut offsets, mut scales, mut estimates) = ([f32::MAX; 4], [0.0; 4], [0.0; 4]);
        for i in 0..4 {
            if let Some(factors) = codes[i].last_chunk() {
                Factors { offset: offsets[i], scale: scales[i], .. } = Factors::decode(*factors);
            }
        }
        for i in 0..4 {
            let estimate = offsets[i] + self.offset
                - scales[i] * (self.slope * sums[i] as f32 + self.intercept);
            // Huge vectors overflow: clamp to finite estimates.
            estimates[i] = estimate.clamp(f32::MIN, f32::MAX);
        }
        estimates
    }

    /// Error bound of an estimate: no distance is farther from it.
    #[inline]
    #[must_use]
    pub fn bound(&self, code: &[u8]) -> f32 {
        self.share_of_bound(code, 1.0)
    }

    /// High-probability error bound (about 99.7 %) of an estimate.
    #[inline]
    #[must_use]
    pub fn likely_bound(&self, code: &[u8]) -> f32 {
        self.share_of_bound(code, self.likely)
    }

    #[inline]
    fn share_of_bound(&self, code: &[u8], share: f32) -> f32 {
        let Some(factors) = code.last_chunk() else { return f32::INFINITY };
        let Factors { error, length, .. } = Factors::decode(*factors);
        let around = length + self.own;
        share * (self.error * error + self.length * length) + self.slack * around * around
    }

    /// The length of the codes without their factors, at most that of the shortest slice.
    #[inline(always)]
    pub(super) fn common(&self, codes: &[&[u8]; 4]) -> usize {
        codes.iter().fold(self.code_bytes, |length, code| length.min(code.len()))
    }
}

/// Appends the estimated distances of a query to any number of codes with their factors.
pub type Estimates = fn(&CodeQuery, codes: &[&[u8]], out: &mut Vec<f32>);

/// Estimates from the sums of four codes at a time. A macro, because a function that is compiled
/// for CPU features is inlined only where those are enabled.
macro_rules! each_four {
    ($query:expr, $codes:expr, $out:expr, $sums:expr) => {{
        let (query, codes, out): (&CodeQuery, &[&[u8]], &mut Vec<f32>) = ($query, $codes, $out);
        let start = out.len();
        out.resize(start + codes.len(), 0.0);
        let (fours, rest) = codes.as_chunks::<4>();
        let (estimates, rest_estimates) = out[start..].as_chunks_mut::<4>();
        for (four, estimates) in fours.iter().zip(estimates) {
            *estimates = query.estimates($sums(query, four), four);
        }
        if let [first, ..] = rest {
            let mut four = [*first; 4];
            four.iter_mut().zip(rest).for_each(|(four, code)| *four = code);
            let estimates = query.estimates($sums(query, &four), &four);
            rest_estimates.copy_from_slice(&estimates[..rest.len()]);
        }
    }};
}

pub(super) use each_four;

/// The same for codes that all have the length `$length` without their factors: `$sums` is a
/// register of partial sums for each of `$four`, the starts of four codes.
#[cfg(target_arch = "x86_64")]
macro_rules! each_known_four {
    ($query:expr, $codes:expr, $out:expr, $length:expr, |$four:ident| $sums:expr) => {{
        let (query, codes, out): (&CodeQuery, &[&[u8]], &mut Vec<f32>) = ($query, $codes, $out);
        let start = out.len();
        out.resize(start + codes.len(), 0.0);
        for (codes, estimates) in codes.chunks(4).zip(out[start..].chunks_mut(4)) {
            let mut $four = [codes[0].as_ptr(); 4];
            $four.iter_mut().zip(codes).for_each(|(four, code)| *four = code.as_ptr());
            let sums: [__m512i; 4] = $sums;
            // SAFETY: every code is `$length` bytes long and followed by its factors.
            let factors = $four.map(|code| unsafe { _mm_loadl_epi64(code.add($length).cast()) });
            let all = estimates_of(query, totals(sums), factors);
            match estimates.first_chunk_mut() {
                Some(four) => *four = all,
                None => estimates.copy_from_slice(&all[..estimates.len()]),
            }
        }
    }};
}

#[cfg(target_arch = "x86_64")]
pub(super) use each_known_four;

/// The horizontal sum of each register.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn totals([a, b, c, d]: [__m512i; 4]) -> __m128i {
    // All four at once: each 128 bits have a partial sum of each register.
    let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    let all = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    let half = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64::<1>(all));
    _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half))
}

/// [`CodeQuery::estimates`], from the sums of four codes and the first two factors of each.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn estimates_of(query: &CodeQuery, sums: __m128i, factors: [__m128i; 4]) -> [f32; 4] {
    let [offset, slope, intercept] =
        [query.offset, query.slope, query.intercept].map(|value| _mm_set1_ps(value));
    let [least, most] = [f32::MIN, f32::MAX].map(|value| _mm_set1_ps(value));
    let [a, b, c, d] = factors.map(|factors| _mm_castsi128_ps(factors));
    let (ab, cd) = (_mm_unpacklo_ps(a, b), _mm_unpacklo_ps(c, d));
    let (offsets, scales) = (_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab));
    let products =
        _mm_mul_ps(scales, _mm_add_ps(_mm_mul_ps(slope, _mm_cvtepi32_ps(sums)), intercept));
    let found = _mm_sub_ps(_mm_add_ps(offsets, offset), products);
    let found = _mm_min_ps(most, _mm_max_ps(least, found));
    let mut all = [0.0; 4];
    // SAFETY: the array is as long as the register.
    unsafe { _mm_storeu_ps(all.as_mut_ptr(), found) };
    all
}

/// The size of a register of codes of the AVX2 kernels, in bytes.
#[cfg(target_arch = "x86_64")]
pub(super) const LANES: usize = size_of::<__m128i>();

/// The first bytes, up to a full register; zero-padded.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load(bytes: &[u8]) -> __m128i {
    let mut padded = [0; LANES];
    let bytes = bytes.first_chunk().unwrap_or_else(|| {
        padded[..bytes.len()].copy_from_slice(bytes);
        &padded
    });
    // SAFETY: the array is as long as the register.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

/// The horizontal sum.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn total(sum: __m256i) -> i32 {
    let sum = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
    let sum = _mm_add_epi32(sum, _mm_unpackhi_epi64(sum, sum));
    _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32::<1>(sum)))
}
