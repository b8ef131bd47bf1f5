//! Kernels for codes of 1, 2, 4, 7 or 8 bits a component: inner products with an 8-bit query, and
//! the distance estimates that follow.
//!
//! The components of a vector are split into `8 / bits` *planes*, runs of consecutive components. A
//! byte of a code has one component of each plane, so that one shift and one mask give a full
//! register of a plane, for any number of bits ([`CodeQuery`] has the layout). The query is stored
//! by planes. 7-bit components are bit-packed instead (`packed.rs`). A code is followed by its
//! factors.
//!
//! Sums are integers, the same on every machine: at most 8 bits and 65 535 components, `255 * 127 *
//! 65 535 < 2^31`. VNNI multiplies 64 bytes at once, AVX2 16.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use super::code_query::{CodeQuery, Estimates, PACKED_BITS, each_four};
#[cfg(target_arch = "x86_64")]
use super::code_query::{
    FACTOR_BYTES, LANES, PIECE, each_known_four, estimates_of, load, total, totals,
};
#[cfg(target_arch = "x86_64")]
use super::features::{Level, level};
use super::packed;

/// The fastest estimates that the processor can run, for codes of 1, 2, 4, 7 or 8 bits a component
/// and of `code_bytes` bytes without their factors.
pub(crate) fn estimates(bits: usize, code_bytes: usize) -> Estimates {
    let [portable, fast @ ..] = all(bits, code_bytes);
    fast.into_iter().flatten().next().or(portable).unwrap_or(none)
}

fn none(_: &CodeQuery, codes: &[&[u8]], out: &mut Vec<f32>) {
    out.extend(codes.iter().map(|_| 0.0));
}

/// The portable estimates, then those that the processor can run, from the fastest on.
fn all(bits: usize, code_bytes: usize) -> [Option<Estimates>; 3] {
    match bits {
        8 => with_planes::<1>(code_bytes),
        PACKED_BITS => packed::all(code_bytes),
        4 => with_planes::<2>(code_bytes),
        2 => with_planes::<4>(code_bytes),
        1 => with_planes::<8>(code_bytes),
        _ => [None; 3],
    }
}

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
                // SAFETY: reads only the bytes of the mask, which are before `length`, at any
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

    /// Specialized for codes of exactly `PIECES` pieces: unrolled, without masks and most checks.
    /// [`vnni`] takes all others.
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

    let level = level();
    macro_rules! detected {
        ($kernel:expr) => {
            // SAFETY: called only after detection of a level that has the features.
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
        (level >= Level::Vnni).then_some(vnni),
        (level >= Level::Avx2).then_some(avx2),
    ]
}

#[cfg(not(target_arch = "x86_64"))]
fn with_planes<const PLANES: usize>(_code_bytes: usize) -> [Option<Estimates>; 3] {
    [Some(portable::<PLANES>), None, None]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::code_query::{Factors, code_bytes};
    use super::*;

    /// Component by component, from the definition of the layout.
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
                        .map(|j| rows.iter().take(code_bytes).map(move |row| row.1[j]))
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
