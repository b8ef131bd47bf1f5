//! Kernels for codes of 7 bits a component, which are bit-packed: component `i` is in the 7 bits
//! from bit `7 * i` on, the lowest first. Eight components take seven bytes. 128 components and
//! their factors take two cache lines; with 8 bits a component they take three or four.
//!
//! AVX-512 VBMI unpacks 64 components to as many bytes in two instructions. AVX2 multiplies 16
//! pairs of bytes, so that the highest bits of each pair are its component.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use super::code_query::{CodeQuery, Estimates, PACKED_BITS as BITS, each_four};
#[cfg(target_arch = "x86_64")]
use super::code_query::{
    FACTOR_BYTES, LANES, PIECE, each_known_four, estimates_of, load, total, totals,
};
#[cfg(target_arch = "x86_64")]
use super::features::{Level, level};

/// The components of a group: 8, which take 7 whole bytes.
const GROUP: usize = BITS + 1;

/// Unpacks the components of a group, one byte each.
#[inline(always)]
fn spread(group: &[u8]) -> [u8; GROUP] {
    let mut bytes = [0; GROUP];
    bytes.iter_mut().zip(group).for_each(|(byte, of_group)| *byte = *of_group);
    let all = u64::from_le_bytes(bytes);
    // Split into halves, quarters and eighths.
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

/// The portable estimates, then those that the processor can run, from the fastest on.
#[cfg(target_arch = "x86_64")]
pub(super) fn all(code_bytes: usize) -> [Option<Estimates>; 3] {
    /// The packed size of a register of components, in bytes.
    const PIECE_BYTES: usize = PIECE / GROUP * BITS;

    /// Byte permutation that spreads each group of 7 bytes to 8; the eighth byte repeats the
    /// seventh, and is not used.
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

    /// The bit offset of each component in its group.
    const SHIFTS: [u8; PIECE] = {
        let mut shifts = [0; PIECE];
        let mut i = 0;
        while i < PIECE {
            shifts[i] = (i % GROUP * BITS) as u8;
            i += 1;
        }
        shifts
    };

    /// For codes of `PIECES` registers, or of any number if that is 0, all of the length that the
    /// query is for. [`portable`] takes all others.
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
                // Bytes past the piece are read, and not used; past the code are its factors.
                let readable = (length + FACTOR_BYTES - at).min(PIECE);
                let readable = if readable == PIECE { u64::MAX } else { (1 << readable) - 1 };
                // SAFETY: a part is as long as the register.
                let part = unsafe { _mm512_loadu_si512(part.as_ptr().cast()) };
                for (sum, code) in sums.iter_mut().zip(four) {
                    // SAFETY: reads only the bytes of the mask, which belong to the code and its
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
        /// The packed size of 16 components, in bytes.
        const STEP: usize = LANES / GROUP * BITS;
        let length = query.common(codes);
        // The two bytes that contain a component, and the multiplier that shifts it to the highest
        // bits of both.
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
            // SAFETY: called only after detection of a level that has the features.
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
