//! Kernels for every processor: eight floats at a time with the `wide` crate, which compiles to the
//! baseline of the target (two registers of SSE2 or NEON; one of AVX where the build enables it),
//! and 64 bits at a time.

use wide::f32x8 as Lanes;

use super::panel::near_kernel;
use super::sum::{Load, Stored, Sum, Term, sum_kernels, words};
use super::{Four, Kernels, One, PANEL, ROWS, Row};
use crate::codec::{Scale, from_bf16, from_f16};

const LANES: usize = 8;
/// An addition has a latency of about four cycles; the loads that feed it take one.
const ACCUMULATORS: usize = 4;
/// As many vectors as have their accumulators in half of the registers: one with SSE2, two with
/// NEON or AVX.
const VECTORS: usize =
    if cfg!(any(target_arch = "aarch64", target_feature = "avx")) { 2 } else { 1 };
/// Four accumulators of eight queries for each row: half of the registers, too.
const ROWS_ABREAST: usize = VECTORS;

sum_kernels!();
near_kernel!();

/// Kernels for sums over floats.
pub(super) fn kernels<S: Sum, L: Load>(dimensions: usize) -> Kernels {
    kernels_of::<S, L>(dimensions)
}

#[inline]
fn zero() -> Lanes {
    Lanes::ZERO
}

#[inline]
fn splat(value: f32) -> Lanes {
    Lanes::splat(value)
}

#[inline]
fn not_below(sum: Lanes, scale: Lanes, offset: Lanes, limit: Lanes) -> u32 {
    !sum.mul_add(scale, offset).simd_lt(limit).to_bitmask() & 0xFF
}

#[inline]
fn load(words: &[[u8; 4]; LANES]) -> Lanes {
    Lanes::new(words.map(f32::from_le_bytes))
}

#[inline]
fn load_part(words: &[[u8; 4]]) -> Lanes {
    Lanes::new(std::array::from_fn(|i| words.get(i).map_or(0.0, |word| f32::from_le_bytes(*word))))
}

#[inline]
fn load_stored<L: Load>(words: &[L::Word; LANES], scale: Scale) -> Lanes {
    load_stored_part::<L>(words, scale)
}

#[inline]
fn load_stored_part<L: Load>(words: &[L::Word], scale: Scale) -> Lanes {
    fn lanes<const N: usize>(bytes: &[u8], decode: impl Fn([u8; N]) -> f32) -> Lanes {
        let words = bytes.as_chunks().0;
        Lanes::new(std::array::from_fn(|i| words.get(i).map_or(0.0, |word| decode(*word))))
    }
    let bytes = L::bytes(words);
    match L::STORED {
        Stored::F32 => lanes(bytes, f32::from_le_bytes),
        Stored::F16 => lanes(bytes, |word| from_f16(u16::from_le_bytes(word))),
        Stored::Bf16 => lanes(bytes, |word| from_bf16(u16::from_le_bytes(word))),
        Stored::I8 => lanes(bytes, |[byte]| scale.value(byte.cast_signed())),
    }
}

#[inline]
fn step<S: Sum>(sum: Lanes, a: Lanes, b: Lanes) -> Lanes {
    match S::TERM {
        Term::SquaredDifference => (a - b).mul_add(a - b, sum),
        Term::Product => a.mul_add(b, sum),
        Term::AbsoluteDifference => sum + (a - b).abs(),
    }
}

#[inline]
fn totals<const N: usize>(accumulators: [[Lanes; ACCUMULATORS]; N]) -> [f32; N] {
    accumulators.map(|[a, b, c, d]| ((a + b) + (c + d)).reduce_add())
}

/// The kernels for the number of differing bits.
pub(super) fn hamming() -> Kernels {
    fn one(a: &[u8], b: &[u8], _: Scale) -> f32 {
        differing_bits(a, b)
    }
    fn four(a: &[u8], b: [&[u8]; 4], _: Scale) -> [f32; 4] {
        b.map(|b| differing_bits(a, b))
    }
    Kernels::new(one, four)
}

/// The number of differing bits. Always inlined, so that it is compiled for the CPU features of the
/// caller.
#[inline(always)]
pub(super) fn differing_bits(a: &[u8], b: &[u8]) -> f32 {
    let words = a.as_chunks().0.iter().zip(b.as_chunks().0);
    words
        .map(|(a, b)| u64::from((u64::from_ne_bytes(*a) ^ u64::from_ne_bytes(*b)).count_ones()))
        .sum::<u64>() as f32
}
