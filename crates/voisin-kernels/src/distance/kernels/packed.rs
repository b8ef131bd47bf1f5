//! Kernels for codes of 7 bits a component, which are bit-packed: component `i` is in the
//! 7 bits from bit `7 * i` on, the lowest first. Eight components are seven bytes, and 128 of them
//! are, with their factors, two cache lines where 8 bits a component take three or four.
//!
//! AVX-512's VBMI spreads 64 components over as many bytes in two instructions; AVX2 multiplies 16
//! pairs of bytes such that each has its component on top.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use super::code_query::{CodeQuery, Estimates, PACKED_BITS as BITS, each_four};
#[cfg(target_arch = "x86_64")]
use super::code_query::{
    FACTOR_BYTES, LANES, PIECE, each_known_four, estimates_of, load, total, totals,
};
#[cfg(target_arch = "x86_64")]
use super::features::{Level, level};

/// Components that end with a byte: as many as they have bytes and one more.
const GROUP: usize = BITS + 1;

/// The numbers of a group, a byte each.
#[inline(always)]
fn spread(group: &[u8]) -> [u8; GROUP] {
    let mut bytes = [0; GROUP];
    bytes.iter_mut().zip(group).for_each(|(byte, of_group)| *byte = *of_group);
    let all = u64::from_le_bytes(bytes);
    // Halves, quarters and eighths move apart.
    let all = all & 0x0fff_ffff | all << 4 & 0x0fff_ffff << 32;
    let all = all & 0x0000_3fff_0000_3fff | all << 2 & 0x3fff_0000_3fff_0000;
    let all = all & 0x007f_007f_007f_007f | all << 1 & 0x7f00_7f00_7f00_7f00;
    all.to_le_bytes()
}

#[inline(always)]
fn plain(query: &CodeQuery, codes: &[&[u8]; 4]) -> [i32; 4] {
    let length = query.common(codes);
    codes.map(|code| {
        let groups = code[..length].chunks(BITS).zip(query.planes.as_chunks::<GROUP>().0);
        groups.fold(0, |sum: i32, (group, query)| {
            let products = spread(group)
                .into_iter()
                .zip(query)
                .map(|(level, query)| i32::from(level) * i32::from(*query));
            sum.wrapping_add(products.fold(0, i32::wrapping_add))
        })
    })
}

fn portable(query: &CodeQuery, codes: &[&[u8]], out: &mut Vec<f32>) {
    each_four!(query, codes, out, plain);
}

/// The portable one, and then those that the processor can run, the best first.
#[cfg(target_arch = "x86_64")]
pub(super) fn all(code_bytes: usize) -> [Option<Estimates>; 3] {
    /// Of a register of components.
    const PIECE_BYTES: usize = PIECE / GROUP * BITS;

    /// For each byte of a register, the byte of its group that it is in from the lowest bit on, or
    /// in part.
    const GROUPS: [u8; PIECE] = {
        let mut index = [0; PIECE];
        let mut i = 0;
        while i < PIECE {
            let in_group = i % GROUP;
            index[i] = (i / GROUP * BITS + if in_group < BITS { in_group } else { BITS - 1 }) as u8;
            i += 1;
        }
        index
    };

    /// For each, how many bits of its group lie before it.
    const SHIFTS: [u8; PIECE] = {
        let mut shifts = [0; PIECE];
        let mut i = 0;
        while i < PIECE {
            shifts[i] = (i % GROUP * BITS) as u8;
            i += 1;
        }
        shifts
    };

    /// For codes of so many registers, 0 if that is not known, which all have the length that the
    /// query says. Others are left to [`portable`].
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx512vbmi")]
    fn vbmi<const PIECES: usize>(query: &CodeQuery, codes: &[&[u8]], out: &mut Vec<f32>) {
        let (parts, _) = query.planes.as_chunks::<PIECE>();
        let pieces = if PIECES > 0 { PIECES } else { parts.len() };
        let length = query.code_bytes;
        if parts.len() != pieces {
            return vbmi::<0>(query, codes, out);
        }
        if length <= (pieces - 1) * PIECE_BYTES
            || codes.iter().any(|code| code.len() != length + FACTOR_BYTES)
        {
            return portable(query, codes, out);
        }
        // SAFETY: both arrays are as long as the register.
        let [groups, shifts] =
            [&GROUPS, &SHIFTS].map(|bytes| unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) });
        let mask = _mm512_set1_epi8(((1u8 << BITS) - 1) as i8);
        each_known_four!(query, codes, out, length, |four| {
            let mut sums = [_mm512_setzero_si512(); 4];
            for (piece, part) in parts[..pieces].iter().enumerate() {
                let at = piece * PIECE_BYTES;
                // What is read beyond the piece is not used; beyond the code are its factors.
                let readable = (length + FACTOR_BYTES - at).min(PIECE);
                let readable = if readable == PIECE { u64::MAX } else { (1 << readable) - 1 };
                // SAFETY: a part is as long as the register.
                let part = unsafe { _mm512_loadu_si512(part.as_ptr().cast()) };
                for (sum, code) in sums.iter_mut().zip(four) {
                    // SAFETY: reads the bytes of the mask only, which are of the code and its
                    // factors.
                    let code =
                        unsafe { _mm512_maskz_loadu_epi8(readable, code.wrapping_add(at).cast()) };
                    let levels =
                        _mm512_multishift_epi64_epi8(shifts, _mm512_permutexvar_epi8(groups, code));
                    *sum = _mm512_dpbusd_epi32(*sum, _mm512_and_si512(levels, mask), part);
                }
            }
            sums
        });
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn avx2_sums(query: &CodeQuery, codes: &[&[u8]; 4]) -> [i32; 4] {
        /// Of 16 components.
        const STEP: usize = LANES / GROUP * BITS;
        let length = query.common(codes);
        // The two bytes that a component is in, and by what they are multiplied so that it is the
        // highest bits of both.
        let pairs = _mm256_setr_epi8(
            0, 1, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 7, 8, 8, 9, 9, 10, 10, 11, 11,
            12, 12, 13, 13, 14,
        );
        let [a, b, c, d, e, f, g, h] = [512, 4, 8, 16, 32, 64, 128, 256];
        let multiples = _mm256_setr_epi16(a, b, c, d, e, f, g, h, a, b, c, d, e, f, g, h);
        codes.map(|code| {
            let mut sum = _mm256_setzero_si256();
            let (parts, _) = query.planes.as_chunks::<LANES>();
            for (at, part) in (0..length).step_by(STEP).zip(parts) {
                let pairs =
                    _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(load(&code[at..])), pairs);
                let levels =
                    _mm256_srli_epi16::<{ 16 - BITS as i32 }>(_mm256_mullo_epi16(pairs, multiples));
                let part = load(bytemuck::cast_slice(part));
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(levels, _mm256_cvtepi8_epi16(part)));
            }
            total(sum)
        })
    }

    #[target_feature(enable = "avx2")]
    fn avx2(query: &CodeQuery, codes: &[&[u8]], out: &mut Vec<f32>) {
        each_four!(query, codes, out, avx2_sums);
    }

    let level = level();
    macro_rules! detected {
        ($kernel:expr) => {
            // SAFETY: called where the level was detected that has the features.
            |query, codes, out| unsafe { $kernel(query, codes, out) }
        };
    }
    let vbmi: Estimates =
        if code_bytes.div_ceil(PIECE) == 2 { detected!(vbmi::<2>) } else { detected!(vbmi::<0>) };
    let avx2: Estimates = detected!(avx2);
    [Some(portable), (level >= Level::Vbmi).then_some(vbmi), (level >= Level::Avx2).then_some(avx2)]
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn all(_code_bytes: usize) -> [Option<Estimates>; 3] {
    [Some(portable), None, None]
}
