//! Kernels for vectors of one-byte components: sums of squared differences, in integers, so that
//! the result is the same on every machine.
//!
//! A vector comes with its sum and its sum of squares ([`Bytes`]), because VNNI, the instruction
//! that multiplies the most bytes at once, gives inner products: `|a - b|^2 = |a|^2 + |b|^2 - 2
//! ab`. Its second operand is signed: `ab = a (b - 128) + 128 sum(a)`. Without VNNI, the compiler
//! vectorizes the loop over differences, which is compiled once per feature set.

#[cfg(target_arch = "x86_64")]
use super::features::{Level, level};

/// Vectors have at most 65 535 components: the sum of their squares fits 32 bits.
const _: () = assert!(65_535u64 * 255 * 255 <= u32::MAX as u64);

/// A vector and its precomputed sums.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bytes<'a> {
    /// The components, as stored.
    pub components: &'a [u8],
    /// The sum of the components. This and `squares` are for VNNI.
    pub sum: u32,
    /// The sum of the squares of the components.
    pub squares: u32,
}

impl Bytes<'_> {
    /// The sum and the sum of squares of `components`.
    #[inline]
    #[must_use]
    pub fn sums(components: &[u8]) -> [u32; 2] {
        [
            components.iter().map(|c| u32::from(*c)).sum(),
            components.iter().map(|c| u32::from(*c).pow(2)).sum(),
        ]
    }
}

/// Sums of squared differences of a vector and each of four others, chosen once for the machine.
#[derive(Debug, Clone, Copy)]
pub struct ByteKernels {
    /// All four sums.
    pub four: fn(Bytes<'_>, [Bytes<'_>; 4]) -> [u32; 4],
}

impl ByteKernels {
    /// The fastest kernels that the processor can run.
    #[must_use]
    pub fn detect() -> Self {
        fast().into_iter().flatten().next().unwrap_or(Self { four: portable })
    }
}

/// Reads no more of either slice than the shorter has.
#[inline(always)]
fn squared_differences(a: &[u8], b: &[u8]) -> u32 {
    let terms = a.iter().zip(b).map(|(a, b)| {
        let difference = i16::from(*a) - i16::from(*b);
        i32::from(difference) * i32::from(difference)
    });
    // No bits are lost: the sum fits `u32`, see above. Signed, as the multiply-add of pairs is.
    terms.fold(0, i32::wrapping_add) as u32
}

fn portable(a: Bytes<'_>, b: [Bytes<'_>; 4]) -> [u32; 4] {
    b.map(|b| squared_differences(a.components, b.components))
}

#[cfg(target_arch = "x86_64")]
fn fast() -> [Option<ByteKernels>; 3] {
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn vnni(a: Bytes<'_>, b: [Bytes<'_>; 4]) -> [u32; 4] {
        const LANES: usize = size_of::<__m512i>();
        let length = b.iter().fold(a.components.len(), |length, b| length.min(b.components.len()));
        let load = |components: &[u8], start: usize| {
            let mask =
                if length - start < LANES { (1u64 << (length - start)) - 1 } else { u64::MAX };
            // SAFETY: reads only the bytes of the mask, which are before `length`, at any
            // alignment.
            unsafe { _mm512_maskz_loadu_epi8(mask, components.as_ptr().wrapping_add(start).cast()) }
        };
        let sign = _mm512_set1_epi8(i8::MIN);
        let mut products = [_mm512_setzero_si512(); 4];
        for start in (0..length).step_by(LANES) {
            // Zero past the end, whatever the other operand is there.
            let a = load(a.components, start);
            for (product, b) in products.iter_mut().zip(&b) {
                *product = _mm512_dpbusd_epi32(
                    *product,
                    a,
                    _mm512_xor_si512(load(b.components, start), sign),
                );
            }
        }
        let mut squared = [0; 4];
        for (i, squared) in squared.iter_mut().enumerate() {
            // Modulo 2^32; the result is below that.
            let product =
                (_mm512_reduce_add_epi32(products[i]) as u32).wrapping_add(a.sum.wrapping_mul(128));
            *squared = a.squares.wrapping_add(b[i].squares).wrapping_sub(product.wrapping_mul(2));
        }
        squared
    }

    macro_rules! compiled_for {
        ($features:literal) => {{
            #[target_feature(enable = $features)]
            fn four(a: Bytes<'_>, b: [Bytes<'_>; 4]) -> [u32; 4] {
                let [p, q, r, s] = b.map(|b| b.components);
                let a = a.components;
                [
                    squared_differences(a, p),
                    squared_differences(a, q),
                    squared_differences(a, r),
                    squared_differences(a, s),
                ]
            }
            #[target_feature(enable = $features)]
            fn kernels() -> ByteKernels {
                ByteKernels { four }
            }
            // SAFETY: called only after detection of a level that has the features.
            unsafe { kernels() }
        }};
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn vnni_kernels() -> ByteKernels {
        ByteKernels { four: vnni }
    }
    let level = level();
    [
        // SAFETY: the level has the features.
        (level >= Level::Vnni).then(|| unsafe { vnni_kernels() }),
        (level >= Level::Avx512).then(|| compiled_for!("avx512f,avx512bw")),
        (level >= Level::Avx2).then(|| compiled_for!("avx2")),
    ]
}

#[cfg(not(target_arch = "x86_64"))]
fn fast() -> [Option<ByteKernels>; 0] {
    []
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn naive(a: &[u8], b: &[u8]) -> u32 {
        a.iter().zip(b).map(|(a, b)| u32::from(a.abs_diff(*b)).pow(2)).sum()
    }

    fn with_sums(components: &[u8]) -> Bytes<'_> {
        let [sum, squares] = Bytes::sums(components);
        Bytes { components, sum, squares }
    }

    fn all() -> impl Iterator<Item = ByteKernels> {
        fast().into_iter().flatten().chain([ByteKernels { four: portable }])
    }

    proptest! {
        #[test]
        fn all_kernels_are_the_definition(
            bytes in prop::collection::vec(any::<[u8; 5]>(), 0..700),
        ) {
            let vector = |i: usize| bytes.iter().map(|row| row[i]).collect::<Vec<u8>>();
            let (a, others) = (vector(4), [0, 1, 2, 3].map(vector));
            let expected = [0, 1, 2, 3].map(|i| naive(&a, &others[i]));
            for kernels in all() {
                prop_assert_eq!(
                    (kernels.four)(with_sums(&a), [0, 1, 2, 3].map(|i| with_sums(&others[i]))),
                    expected,
                );
            }
        }
    }

    #[test]
    fn the_largest_sum_does_not_overflow() {
        let (zeros, ones) = (vec![0; 65_535], vec![255; 65_535]);
        for kernels in all() {
            let found = (kernels.four)(
                with_sums(&zeros),
                [with_sums(&ones), with_sums(&zeros), with_sums(&ones), with_sums(&ones)],
            );
            assert_eq!(found, [65_535 * 255 * 255, 0, 65_535 * 255 * 255, 65_535 * 255 * 255]);
            assert_eq!((kernels.four)(with_sums(&ones), [with_sums(&ones); 4]), [0; 4]);
        }
    }
}
