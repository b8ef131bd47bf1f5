//! Random rotations in O(n log n): they make the components of any vector alike, so that few bits
//! can hold each.
//!
//! A rotation has four rounds. Each multiplies the components by random signs, applies a fast
//! Walsh-Hadamard transform to the first or the last power of two of them, in turn, and, if that is
//! not all, a butterfly, `(a + b, a - b) / sqrt(2)`, to the first half and the second. It is
//! orthogonal for every number of components, without padding (Ailon and Chazelle 2009; the rounds
//! are those of RaBitQ's library, Gao et al. 2024). Additions have the same order on every machine,
//! so that results are bit-identical. The compiler vectorizes it, once per feature set.

use std::f32::consts::FRAC_1_SQRT_2;

#[cfg(target_arch = "x86_64")]
use super::features::{Level, level};

const ROUNDS: usize = 4;

/// A rotation of vectors of a fixed number of components.
#[derive(Debug, Clone)]
pub(crate) struct Rotation {
    /// 1 or -1 for each component, for each round; for the components that a round transforms,
    /// times the normalization factor of the transform.
    signs: Signs,
    run: Run,
}

type Signs = [Vec<f32>; ROUNDS];
type Run = fn(&Signs, &mut [f32]);

impl Rotation {
    /// The rotation of `components` components with this seed. Sign `i`, counted through the
    /// rounds, is minus if bit `i % 64` of number `i / 64` of SplitMix64 (Steele, Lea, Flood 2014)
    /// is set.
    pub(crate) fn new(seed: u64, components: usize) -> Self {
        let mut state = seed;
        let mut word = 0;
        let scale = ((largest_power(components) as f64).sqrt().recip()) as f32;
        let largest = largest_power(components);
        let mut number = 0;
        let signs = std::array::from_fn(|round| {
            let transformed = part(round, largest, components);
            let sign = |i: usize| {
                if number % 64 == 0 {
                    word = split_mix(&mut state);
                }
                let sign = if word >> (number % 64) & 1 == 1 { -1.0 } else { 1.0 };
                number += 1;
                if transformed.contains(&i) { sign * scale } else { sign }
            };
            (0..components).map(sign).collect()
        });
        Self { signs, run: fast().unwrap_or(portable) }
    }

    /// Rotates a vector, which must have the number of components of the rotation.
    pub(crate) fn rotate(&self, vector: &mut [f32]) {
        (self.run)(&self.signs, vector);
    }
}

/// The next number of SplitMix64.
pub(crate) fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn largest_power(components: usize) -> usize {
    1 << components.max(1).ilog2()
}

/// The components that a round transforms.
fn part(round: usize, largest: usize, components: usize) -> std::ops::Range<usize> {
    if round.is_multiple_of(2) {
        0..largest.min(components)
    } else {
        components.saturating_sub(largest)..components
    }
}

/// `within` transforms each chunk on its own.
#[inline(always)]
fn rotate(signs: &Signs, vector: &mut [f32], within: impl Fn(&mut [f32; LANES])) {
    let largest = largest_power(vector.len());
    for (round, signs) in signs.iter().enumerate() {
        vector.iter_mut().zip(signs).for_each(|(value, sign)| *value *= sign);
        let components = vector.len();
        hadamard(&mut vector[part(round, largest, components)], &within);
        if largest < components {
            let (first, second) = vector.split_at_mut(components - components / 2);
            for (a, b) in first.iter_mut().zip(second) {
                (*a, *b) = ((*a + *b) * FRAC_1_SQRT_2, (*a - *b) * FRAC_1_SQRT_2);
            }
        }
    }
}

/// The number of components that are transformed within a register, on any machine.
const LANES: usize = 16;

/// The Walsh-Hadamard transform, not normalized, of a power of two of components.
#[inline(always)]
fn hadamard(vector: &mut [f32], within: impl Fn(&mut [f32; LANES])) {
    let (chunks, few) = vector.as_chunks_mut::<LANES>();
    chunks.iter_mut().for_each(within);
    // A shorter vector has no chunk.
    let mut half = if few.is_empty() { LANES } else { 1 };
    while half < vector.len() {
        for pair in vector.chunks_exact_mut(2 * half) {
            let (first, second) = pair.split_at_mut(half);
            for (a, b) in first.iter_mut().zip(second) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
}

#[inline(always)]
fn within(chunk: &mut [f32; LANES]) {
    *chunk = step::<8>(step::<4>(step::<2>(step::<1>(*chunk))));
}

/// One step of the transform, as a shuffle, a change of signs and a sum.
#[inline(always)]
fn step<const HALF: usize>(old: [f32; LANES]) -> [f32; LANES] {
    let mut shuffled = [0.0; LANES];
    let mut signed = [0.0; LANES];
    for i in 0..LANES {
        shuffled[i] = old[i ^ HALF];
    }
    for i in 0..LANES {
        signed[i] = old[i] * if i & HALF == 0 { 1.0 } else { -1.0 };
    }
    for i in 0..LANES {
        shuffled[i] += signed[i];
    }
    shuffled
}

fn portable(signs: &Signs, vector: &mut [f32]) {
    rotate(signs, vector, within);
}

/// The rotation compiled for the CPU features of the machine.
#[cfg(target_arch = "x86_64")]
fn fast() -> Option<Run> {
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx2")]
    fn avx2(signs: &Signs, vector: &mut [f32]) {
        rotate(signs, vector, within);
    }

    /// The same steps as [`within`], which the compiler turns into far slower code here.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn avx512_within(chunk: &mut [f32; LANES]) {
        let step = |shuffled, old, second| {
            _mm512_mask_sub_ps(_mm512_add_ps(shuffled, old), second, shuffled, old)
        };
        // SAFETY: the array is as long as the register.
        let v = unsafe { _mm512_loadu_ps(chunk.as_ptr()) };
        let v = step(_mm512_permute_ps::<0b10_11_00_01>(v), v, 0b1010_1010_1010_1010);
        let v = step(_mm512_permute_ps::<0b01_00_11_10>(v), v, 0b1100_1100_1100_1100);
        let v = step(_mm512_shuffle_f32x4::<0b10_11_00_01>(v, v), v, 0b1111_0000_1111_0000);
        let v = step(_mm512_shuffle_f32x4::<0b01_00_11_10>(v, v), v, 0b1111_1111_0000_0000);
        // SAFETY: as above.
        unsafe { _mm512_storeu_ps(chunk.as_mut_ptr(), v) };
    }

    #[target_feature(enable = "avx512f")]
    fn avx512(signs: &Signs, vector: &mut [f32]) {
        rotate(signs, vector, |chunk| avx512_within(chunk));
    }

    let level = level();
    if level >= Level::Avx512 {
        // SAFETY: called only after detection of a level that has the feature.
        Some(|signs, vector| unsafe { avx512(signs, vector) })
    } else if level >= Level::Avx2 {
        // SAFETY: as above.
        Some(|signs, vector| unsafe { avx2(signs, vector) })
    } else {
        None
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn fast() -> Option<Run> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(components: usize, salt: usize) -> Vec<f32> {
        (0..components).map(|i| ((i * 37 + salt * 101) % 97) as f32 - 31.0).collect()
    }

    fn dot(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    }

    #[test]
    fn lengths_and_angles_stay_for_every_number_of_components() {
        for components in (1..70).chain([96, 100, 127, 128, 129, 200, 384, 768, 1000, 1536]) {
            let rotation = Rotation::new(7, components);
            let (a, b) = (vector(components, 1), vector(components, 2));
            let (mut p, mut q) = (a.clone(), b.clone());
            rotation.rotate(&mut p);
            rotation.rotate(&mut q);
            for (before, after) in
                [(dot(&a, &a), dot(&p, &p)), (dot(&a, &b), dot(&p, &q)), (dot(&b, &b), dot(&q, &q))]
            {
                let scale = (dot(&a, &a) * dot(&b, &b)).sqrt().max(1.0);
                assert!((before - after).abs() <= 1e-5 * scale, "{components}: {before} {after}");
            }
        }
    }

    #[test]
    fn the_result_is_that_of_the_plain_loops_bit_for_bit() {
        for components in [1, 2, 3, 15, 16, 17, 31, 64, 100, 384] {
            let rotation = Rotation::new(99, components);
            let (mut fast, mut plain) = (vector(components, 3), vector(components, 3));
            rotation.rotate(&mut fast);
            portable(&rotation.signs, &mut plain);
            assert_eq!(
                fast.iter().map(|v| v.to_bits()).collect::<Vec<_>>(),
                plain.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn one_component_becomes_many_of_the_same_size() {
        for components in [128, 384, 100] {
            let mut vector = vec![0.0; components];
            vector[components / 2] = 1.0;
            Rotation::new(1, components).rotate(&mut vector);
            let largest = vector.iter().fold(0f32, |largest, value| largest.max(value.abs()));
            assert!(largest < 6.0 / (components as f32).sqrt(), "{components}: {largest}");
        }
    }
}
