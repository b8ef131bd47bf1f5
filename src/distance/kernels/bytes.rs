//! Kernels for vectors of a byte a component: sums of squared differences, in whole numbers, so that every machine has the same result.
//!
//! The compiler makes vector code of the loop; it is compiled once for each set of features.

/// Vectors have at most 65 535 components, whose sum fits 32 bits.
const _: () = assert!(65_535u64 * 255 * 255 <= u32::MAX as u64);

/// The sum of squared differences, chosen once for the machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ByteKernels {
    pub(crate) one: fn(&[u8], &[u8]) -> u32,
    /// Of a vector and each of four others, in less time.
    pub(crate) four: fn(&[u8], [&[u8]; 4]) -> [u32; 4],
}

impl ByteKernels {
    /// The best that the processor can run.
    pub(crate) fn detect() -> Self {
        fast().unwrap_or(Self { one, four })
    }
}

/// Reads no more of any slice than the shortest has.
#[inline(always)]
fn squared_differences(a: &[u8], b: &[u8]) -> u32 {
    let terms = a.iter().zip(b).map(|(a, b)| {
        let difference = i16::from(*a) - i16::from(*b);
        i32::from(difference) * i32::from(difference)
    });
    // Wraps nowhere: see above. Summed as signed numbers, as the instruction for pairs does.
    terms.fold(0, i32::wrapping_add) as u32
}

fn one(a: &[u8], b: &[u8]) -> u32 {
    squared_differences(a, b)
}

fn four(a: &[u8], b: [&[u8]; 4]) -> [u32; 4] {
    b.map(|b| squared_differences(a, b))
}

#[cfg(target_arch = "x86_64")]
fn fast() -> Option<ByteKernels> {
    macro_rules! kernels {
        ($features:literal) => {{
            #[target_feature(enable = $features)]
            fn one(a: &[u8], b: &[u8]) -> u32 {
                squared_differences(a, b)
            }
            #[target_feature(enable = $features)]
            fn four(a: &[u8], b: [&[u8]; 4]) -> [u32; 4] {
                [squared_differences(a, b[0]), squared_differences(a, b[1]), squared_differences(a, b[2]), squared_differences(a, b[3])]
            }
            #[target_feature(enable = $features)]
            fn kernels() -> ByteKernels {
                ByteKernels { one, four }
            }
            // SAFETY: called where the features were detected.
            unsafe { kernels() }
        }};
    }
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
        return Some(kernels!("avx512f,avx512bw"));
    }
    is_x86_feature_detected!("avx2").then(|| kernels!("avx2"))
}

#[cfg(not(target_arch = "x86_64"))]
fn fast() -> Option<ByteKernels> {
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn naive(a: &[u8], b: &[u8]) -> u32 {
        a.iter().zip(b).map(|(a, b)| u32::from(a.abs_diff(*b)).pow(2)).sum()
    }

    proptest! {
        #[test]
        fn all_kernels_are_the_definition(bytes in prop::collection::vec(any::<[u8; 5]>(), 0..700)) {
            let vector = |i: usize| bytes.iter().map(|row| row[i]).collect::<Vec<u8>>();
            let (a, others) = (vector(4), [0, 1, 2, 3].map(vector));
            let expected = [0, 1, 2, 3].map(|i| naive(&a, &others[i]));
            for kernels in [ByteKernels::detect(), ByteKernels { one, four }] {
                prop_assert_eq!((kernels.four)(&a, [0, 1, 2, 3].map(|i| &others[i][..])), expected);
                prop_assert_eq!((kernels.one)(&a, &others[0]), expected[0]);
            }
        }
    }

    #[test]
    fn the_largest_sum_does_not_overflow() {
        let (zeros, ones) = (vec![0; 65_535], vec![255; 65_535]);
        for kernels in [ByteKernels::detect(), ByteKernels { one, four }] {
            assert_eq!((kernels.one)(&zeros, &ones), 65_535 * 255 * 255);
        }
    }
}
