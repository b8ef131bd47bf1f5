//! Kernels for codes of 1, 2, 4, 7 or 8 bits a component: inner products with a query of 8 bits,
//! and the estimates that follow.
//!
//! A byte of a code holds one component of each *plane*: of `8 / bits` runs of components, one
//! after the other, so that a whole register of one plane is got by one shift and one mask,
//! whatever the number of bits ([`CodeQuery`] says what is where). The query is kept by planes.
//! Components of 7 bits lie one after the other instead (`packed.rs`). A code is followed by its
//! factors.
//!
//! The sums are whole numbers, so that all machines have the same: `bits <= 8` and at most 65 535
//! components, `255 * 127 * 65 535 < 2^31`. VNNI multiplies 64 bytes at once, AVX2 16.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use super::hints::{self, LINE_BYTES};
use super::packed;

const _: () = assert!(65_535i64 * 255 * 127 < i32::MAX as i64);

/// Codes are read in pieces of so many bytes; a plane of the query is padded with zeros to whole
/// ones.
pub(super) const PIECE: usize = 64;

/// Bytes of the factors after a code.
pub(crate) const FACTOR_BYTES: usize = 12;

/// Zeros that a code of 7 bits may have before its factors, so that both fill whole lines.
const MOST_PADDING: usize = 4;

/// Bytes of a code without its factors.
pub(crate) fn code_bytes(bits: usize, dimensions: usize) -> usize {
    let bytes = (dimensions * bits).div_ceil(8);
    let in_lines = (bytes + FACTOR_BYTES).next_multiple_of(LINE_BYTES) - FACTOR_BYTES;
    if bits == packed::BITS && in_lines - bytes <= MOST_PADDING { in_lines } else { bytes }
}

/// Whether codes and their factors, one after the other, take no line in part.
pub(crate) fn fills_lines(bits: usize, dimensions: usize) -> bool {
    (code_bytes(bits, dimensions) + FACTOR_BYTES).is_multiple_of(LINE_BYTES)
}

/// What stands beside a code, of a vector `x` and its residual `r`, which the code is of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Factors {
    /// What is added to every estimate: the part of the distance that is the vector's own.
    pub(crate) offset: f32,
    /// By what the code is multiplied so that it has the inner product with `r` that `r` has with
    /// itself.
    pub(crate) scale: f32,
    /// The length of what the scaled code lacks of `r`, rounded up.
    pub(crate) error: f32,
    /// The length of the scaled code, rounded up.
    pub(crate) length: f32,
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

    #[inline(always)]
    pub(crate) fn decode(bytes: [u8; FACTOR_BYTES]) -> Self {
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

/// The upper half of a number that is not negative, rounded up.
fn upper_half(value: f32) -> u16 {
    (value.to_bits().saturating_add(0xffff) >> 16) as u16
}

/// A query, ready to be compared with codes. Component `i` of `n` is in byte `i % plane` of a code,
/// `bits * (i / plane)` bits from its lowest, where `plane = ceil(n * bits / 8)` is the length of
/// the code; of 7 bits, it is in the 7 bits from bit `7 * i` on.
#[derive(Debug, Clone)]
pub(crate) struct CodeQuery {
    /// The components, plane by plane, each plane padded to whole pieces.
    pub(super) planes: Vec<i8>,
    pub(super) code_bytes: usize,
    /// `estimate = offset of the vector + offset - scale of the vector * (slope * sum +
    /// intercept)`.
    pub(crate) offset: f32,
    pub(crate) slope: f32,
    pub(crate) intercept: f32,
    /// By what the factors of the same names are multiplied in the bound of the estimate's error.
    pub(crate) error: f32,
    pub(crate) length: f32,
    /// `slack * (length of the scaled code + own)^2` covers what rounding takes.
    pub(crate) slack: f32,
    pub(crate) own: f32,
    /// What of the bound but for `slack` is hardly ever exceeded: an error has no direction, so
    /// that it is rarely along the query.
    pub(crate) likely: f32,
}

impl CodeQuery {
    /// From the components, at most 127 in magnitude, in their order.
    pub(crate) fn new(components: &[i8], code_bytes: usize, bits: usize) -> Self {
        let of_plane = if bits == packed::BITS { components.len().max(1) } else { code_bytes };
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

    /// How many lines of a code and its factors to hint.
    #[inline(always)]
    pub(crate) fn hinted_lines(&self) -> usize {
        hints::hinted_lines(self.code_bytes + FACTOR_BYTES)
    }

    /// The estimates of four codes that have these inner products with the components.
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
            // Finite, whatever the factors are: huge vectors overflow.
            estimates[i] = estimate.clamp(f32::MIN, f32::MAX);
        }
        estimates
    }

    /// How far the distance can be from the estimate, at most.
    #[inline]
    pub(crate) fn bound(&self, code: &[u8]) -> f32 {
        self.share_of_bound(code, 1.0)
    }

    /// How far it is, but for one in some hundreds.
    #[inline]
    pub(crate) fn likely_bound(&self, code: &[u8]) -> f32 {
        self.share_of_bound(code, self.likely)
    }

    #[inline]
    fn share_of_bound(&self, code: &[u8], share: f32) -> f32 {
        let Some(factors) = code.last_chunk() else { return f32::INFINITY };
        let Factors { error, length, .. } = Factors::decode(*factors);
        let around = length + self.own;
        share * (self.error * error + self.length * length) + self.slack * around * around
    }

    /// The code of each, without its factors, as long as the shortest has it.
    #[inline(always)]
    pub(super) fn common(&self, codes: &[&[u8]; 4]) -> usize {
        codes.iter().fold(self.code_bytes, |length, code| length.min(code.len()))
    }
}

/// Appends estimates of the distances of a query and any number of codes with their factors.
pub(crate) type Estimates = fn(&CodeQuery, codes: &[&[u8]], out: &mut Vec<f32>);

/// The best that the processor can run, for codes of 1, 2, 4, 7 or 8 bits a component, which are
/// that long without their factors.
pub(crate) fn estimates(bits: usize, code_bytes: usize) -> Estimates {
    let [portable, fast @ ..] = all(bits, code_bytes);
    fast.into_iter().flatten().next().or(portable).unwrap_or(none)
}

fn none(_: &CodeQuery, codes: &[&[u8]], out: &mut Vec<f32>) {
    out.extend(codes.iter().map(|_| 0.0));
}

/// The portable one, and then those that the processor can run, the best first.
fn all(bits: usize, code_bytes: usize) -> [Option<Estimates>; 3] {
    match bits {
        8 => with_planes::<1>(code_bytes),
        packed::BITS => packed::all(code_bytes),
        4 => with_planes::<2>(code_bytes),
        2 => with_planes::<4>(code_bytes),
        1 => with_planes::<8>(code_bytes),
        _ => [None; 3],
    }
}

/// The estimates of codes by the sums of four at a time. A macro, as what is compiled for a set of
/// features is inlined only where those are known.
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

/// The same for codes that all have a known length without their factors: `$sums` makes a register
/// of sums for each of `$four`, where codes begin.
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
            // SAFETY: the factors begin there.
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

#[inline(always)]
fn plain<const PLANES: usize>(query: &CodeQuery, codes: &[&[u8]; 4]) -> [i32; 4] {
    let length = query.common(codes);
    let padded = query.planes.len() / PLANES;
    let bits = 8 / PLANES;
    let mask = (0xffu16 >> (8 - bits)) as u8;
    codes.map(|code| {
        let sum = |plane: usize| -> i32 {
            let query = &query.planes[plane * padded..];
            let products = code[..length]
                .iter()
                .zip(query)
                .map(|(code, query)| i32::from(code >> (plane * bits) & mask) * i32::from(*query));
            products.fold(0, i32::wrapping_add)
        };
        (0..PLANES).map(sum).fold(0, i32::wrapping_add)
    })
}

fn portable<const PLANES: usize>(query: &CodeQuery, codes: &[&[u8]], out: &mut Vec<f32>) {
    each_four!(query, codes, out, plain::<PLANES>);
}

/// The sums of the lanes of each.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn totals([a, b, c, d]: [__m512i; 4]) -> __m128i {
    // All four at once: each 128 bits hold a part of the sum of each.
    let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    let all = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    let half = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64::<1>(all));
    _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half))
}

/// As [`CodeQuery::estimates`], of the sums of four codes and the first two factors of each.
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

/// Bytes of an AVX2 kernel's register of codes.
#[cfg(target_arch = "x86_64")]
pub(super) const LANES: usize = size_of::<__m128i>();

/// The first bytes, as many as a register holds; zeros, where there are fewer.
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

/// The sum of the lanes.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn total(sum: __m256i) -> i32 {
    let sum = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
    let sum = _mm_add_epi32(sum, _mm_unpackhi_epi64(sum, sum));
    _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32::<1>(sum)))
}

#[cfg(target_arch = "x86_64")]
fn with_planes<const PLANES: usize>(code_bytes: usize) -> [Option<Estimates>; 3] {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn vnni_sums<const PLANES: usize>(query: &CodeQuery, codes: &[&[u8]; 4]) -> [i32; 4] {
        let length = query.common(codes);
        let padded = query.planes.len() / PLANES;
        let bits = 8 / PLANES;
        let mask = _mm512_set1_epi8((0xffu16 >> (8 - bits)) as i8);
        let mut sums = [_mm512_setzero_si512(); 4];
        for start in (0..length).step_by(PIECE) {
            let tail =
                if length - start < PIECE { (1u64 << (length - start)) - 1 } else { u64::MAX };
            let mut pieces = [_mm512_setzero_si512(); 4];
            for (piece, code) in pieces.iter_mut().zip(codes) {
                // SAFETY: reads the bytes of the mask only, which lie before `length`, at any
                // alignment.
                *piece = unsafe {
                    _mm512_maskz_loadu_epi8(tail, code.as_ptr().wrapping_add(start).cast())
                };
            }
            for plane in 0..PLANES {
                let part = &query.planes[plane * padded + start..][..PIECE];
                // SAFETY: the slice is as long as the register.
                let part = unsafe { _mm512_loadu_si512(part.as_ptr().cast()) };
                let shift = _mm_cvtsi32_si128((plane * bits) as i32);
                for (sum, code) in sums.iter_mut().zip(pieces) {
                    let code = if PLANES == 1 {
                        code
                    } else {
                        _mm512_and_si512(_mm512_srl_epi16(code, shift), mask)
                    };
                    *sum = _mm512_dpbusd_epi32(*sum, code, part);
                }
            }
        }
        let sum = totals(sums);
        [
            _mm_extract_epi32::<0>(sum),
            _mm_extract_epi32::<1>(sum),
            _mm_extract_epi32::<2>(sum),
            _mm_extract_epi32::<3>(sum),
        ]
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn vnni<const PLANES: usize>(query: &CodeQuery, codes: &[&[u8]], out: &mut Vec<f32>) {
        each_four!(query, codes, out, vnni_sums::<PLANES>);
    }

    /// For codes that are so many whole pieces: without masks, loops and most checks. Others are
    /// left to [`vnni`].
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn vnni_known<const PLANES: usize, const PIECES: usize>(
        query: &CodeQuery,
        codes: &[&[u8]],
        out: &mut Vec<f32>,
    ) {
        let (parts, _) = query.planes.as_chunks::<PIECE>();
        if parts.len() != PLANES * PIECES
            || codes.iter().any(|code| code.len() != PIECES * PIECE + FACTOR_BYTES)
        {
            return vnni::<PLANES>(query, codes, out);
        }
        let bits = 8 / PLANES;
        let mask = _mm512_set1_epi8((0xffu16 >> (8 - bits)) as i8);
        each_known_four!(query, codes, out, PIECES * PIECE, |four| {
            let mut sums = [_mm512_setzero_si512(); 4];
            for piece in 0..PIECES {
                // SAFETY: all codes have that many pieces.
                let pieces =
                    four.map(|code| unsafe { _mm512_loadu_si512(code.add(piece * PIECE).cast()) });
                for plane in 0..PLANES {
                    // SAFETY: a part is as long as the register.
                    let part = unsafe {
                        _mm512_loadu_si512(parts[plane * PIECES + piece].as_ptr().cast())
                    };
                    let shift = _mm_cvtsi32_si128((plane * bits) as i32);
                    for (sum, code) in sums.iter_mut().zip(pieces) {
                        let code = if PLANES == 1 {
                            code
                        } else {
                            _mm512_and_si512(_mm512_srl_epi16(code, shift), mask)
                        };
                        *sum = _mm512_dpbusd_epi32(*sum, code, part);
                    }
                }
            }
            sums
        });
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn avx2_sums<const PLANES: usize>(query: &CodeQuery, codes: &[&[u8]; 4]) -> [i32; 4] {
        let length = query.common(codes);
        let padded = query.planes.len() / PLANES;
        let bits = 8 / PLANES;
        let mask = _mm_set1_epi8((0xffu16 >> (8 - bits)) as i8);
        let mut sums = [_mm256_setzero_si256(); 4];
        for start in (0..length).step_by(LANES) {
            for (sum, code) in sums.iter_mut().zip(codes) {
                let piece = load(&code[start..length]);
                for plane in 0..PLANES {
                    let part = load(bytemuck::cast_slice(
                        &query.planes[plane * padded + start..][..LANES],
                    ));
                    let shift = _mm_cvtsi32_si128((plane * bits) as i32);
                    let values =
                        _mm256_cvtepu8_epi16(_mm_and_si128(_mm_srl_epi16(piece, shift), mask));
                    *sum = _mm256_add_epi32(
                        *sum,
                        _mm256_madd_epi16(values, _mm256_cvtepi8_epi16(part)),
                    );
                }
            }
        }
        sums.map(|sum| total(sum))
    }

    #[target_feature(enable = "avx2")]
    fn avx2<const PLANES: usize>(query: &CodeQuery, codes: &[&[u8]], out: &mut Vec<f32>) {
        each_four!(query, codes, out, avx2_sums::<PLANES>);
    }

    let has_vnni = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vnni");
    macro_rules! detected {
        ($kernel:expr) => {
            // SAFETY: called where the features were detected.
            |query, codes, out| unsafe { $kernel(query, codes, out) }
        };
    }
    let vnni: Estimates = match code_bytes {
        64 => detected!(vnni_known::<PLANES, 1>),
        128 => detected!(vnni_known::<PLANES, 2>),
        192 => detected!(vnni_known::<PLANES, 3>),
        256 => detected!(vnni_known::<PLANES, 4>),
        384 => detected!(vnni_known::<PLANES, 6>),
        _ => detected!(vnni::<PLANES>),
    };
    let avx2: Estimates = detected!(avx2::<PLANES>);
    [
        Some(portable::<PLANES>),
        has_vnni.then_some(vnni),
        is_x86_feature_detected!("avx2").then_some(avx2),
    ]
}

#[cfg(not(target_arch = "x86_64"))]
fn with_planes<const PLANES: usize>(_code_bytes: usize) -> [Option<Estimates>; 3] {
    [Some(portable::<PLANES>), None, None]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Component by component, from the definition of what is where.
    fn naive(components: &[i8], code: &[u8], bits: usize) -> i64 {
        if bits == 7 {
            let bit = |at: usize| i64::from(code[at / 8] >> (at % 8) & 1);
            let value = |i: usize| (0..7).map(|j| bit(7 * i + j) << j).sum::<i64>();
            return components
                .iter()
                .enumerate()
                .map(|(i, component)| i64::from(*component) * value(i))
                .sum();
        }
        let plane = (components.len() * bits).div_ceil(8);
        let value =
            |i: usize| i64::from(code[i % plane]) >> (bits * (i / plane)) & ((1 << bits) - 1);
        components.iter().enumerate().map(|(i, component)| i64::from(*component) * value(i)).sum()
    }

    proptest! {
        #[test]
        fn all_kernels_are_the_definition(
            rows in prop::collection::vec((any::<i8>(), any::<[u8; 7]>()), 768),
            length in prop_oneof![
                1..=400usize,
                Just(64),
                Just(128),
                Just(192),
                Just(256),
                Just(384),
                Just(512),
                Just(768),
            ],
            count in 0..8usize,
        ) {
            let rows = &rows[..length];
            let components: Vec<i8> = rows.iter().map(|row| row.0.max(-127)).collect();
            for bits in [1, 2, 4, 7, 8] {
                let code_bytes = code_bytes(bits, components.len());
                let factors = Factors { offset: 3.0, scale: 0.5, error: 0.0, length: 0.0 }.encode();
                let codes: Vec<Vec<u8>> =
                    (0..count.min(7))
                        .map(|j| rows.iter().take(code_bytes).map(|row| row.1[j]))
                        .map(|code| code.chain(factors).collect())
                        .collect();
                let mut query = CodeQuery::new(&components, code_bytes, bits);
                (query.slope, query.intercept, query.offset) = (-1.0, 1.0, 4.0);
                let expected: Vec<f32> =
                    codes.iter().map(
                        |code| (7.0 - 0.5 * (1.0 - naive(&components, code, bits) as f64)) as f32,
                    ).collect();
                let codes: Vec<&[u8]> = codes.iter().map(Vec::as_slice).collect();
                for kernel in all(bits, code_bytes).into_iter().flatten() {
                    let mut found = vec![1.0];
                    kernel(&query, &codes, &mut found);
                    prop_assert_eq!(&found[1..], &expected[..]);
                }
            }
        }

        #[test]
        fn factors_come_back_and_bounds_are_not_smaller(values in any::<[f32; 4]>()) {
            let [offset, scale, error, length] = values;
            prop_assume!(values.iter().all(|value| !value.is_nan()));
            let factors = Factors { offset, scale, error: error.abs(), length: length.abs() };
            let found = Factors::decode(factors.encode());
            prop_assert_eq!((found.offset, found.scale), (offset, scale));
            for (found, was) in [(found.error, factors.error), (found.length, factors.length)] {
                prop_assert!(found >= was && (found <= was * 1.01 + 1e-35 || was > 3e38));
            }
        }
    }
}
