//! The shape of all kernels over floats, written once: the loop, its tail and the order of the additions.
//!
//! Owns the invariant that a pair of vectors has one result per instruction set: [`sum_kernels`] makes `one` and `four` of the same
//! function, so that both add the same terms to the same accumulators in the same order, and no step depends on which vector comes first.
//!
//! It is a macro and not a generic function, because a function has the instructions that are enabled where it is written. What differs
//! between instruction sets, a register and five small functions, is in the file of each.

/// What is added up for each pair of components.
#[derive(Debug, Clone, Copy)]
pub(super) enum Term {
    /// `(a - b)^2`
    SquaredDifference,
    /// `a * b`
    Product,
    /// `|a - b|`
    AbsoluteDifference,
}

/// A [`Term`] as a type, so that it is known when a kernel is compiled.
pub(super) trait Sum {
    const TERM: Term;
}

/// The sum of [`Term::SquaredDifference`].
pub(super) enum SquaredDifferences {}
/// The sum of [`Term::Product`].
pub(super) enum Products {}
/// The sum of [`Term::AbsoluteDifference`].
pub(super) enum AbsoluteDifferences {}

impl Sum for SquaredDifferences {
    const TERM: Term = Term::SquaredDifference;
}

impl Sum for Products {
    const TERM: Term = Term::Product;
}

impl Sum for AbsoluteDifferences {
    const TERM: Term = Term::AbsoluteDifference;
}

/// Accumulators per vector. A fused multiply-add takes four cycles, the two loads that feed it take one: four chains hide its latency.
pub(super) const ACCUMULATORS: usize = 4;

/// The bytes of each float in the first `len` bytes.
#[inline]
pub(super) fn words(bytes: &[u8], len: usize) -> &[[u8; 4]] {
    bytes[..len].as_chunks().0
}

/// Defines `one` and `four` for the instruction set of the module that it is used in. The module provides:
///
/// - `Lanes`: a register of floats, and `LANES`, how many;
/// - `VECTORS`: how many vectors `four` reads side by side, 1, 2 or 4;
/// - `zero() -> Lanes`;
/// - `load(&[[u8; 4]; LANES]) -> Lanes`, of little-endian floats;
/// - `load_part(&[[u8; 4]]) -> Lanes`: the same of the first floats of a slice, zeros past its end;
/// - `step::<S: Sum>(sum: Lanes, a: Lanes, b: Lanes) -> Lanes`: `sum` plus the terms. Symmetric, and a term of two zeros is zero;
/// - `total([Lanes; ACCUMULATORS]) -> f32`: the sum of all lanes of all accumulators.
macro_rules! sum_kernels {
    ($(#[$features:meta])?) => {
        /// The sum over `a` and each of `b`, over the length of the shortest.
        $(#[$features])?
        #[inline]
        fn sums<S: Sum, const N: usize>(a: &[u8], b: [&[u8]; N]) -> [f32; N] {
            let len = b.iter().fold(a.len(), |len, b| len.min(b.len()));
            let (a_blocks, a_rest) = words(a, len).as_chunks::<{ LANES * ACCUMULATORS }>();
            let b = b.map(|b| words(b, len).as_chunks::<{ LANES * ACCUMULATORS }>());

            let mut accumulators = [[zero(); ACCUMULATORS]; N];
            for i in 0..a_blocks.len() {
                for j in 0..ACCUMULATORS {
                    let a = load(&a_blocks[i].as_chunks().0[j]);
                    for (accumulators, (b_blocks, _)) in accumulators.iter_mut().zip(&b) {
                        // SAFETY: `i` is below the number of blocks of `a`, and all vectors were cut to one length. The compiler sees
                        // that too late: with a checked index it copies the accumulators every time, and spills some: with
                        // AVX2, `four` of squared differences takes a fifth longer.
                        let b = unsafe { b_blocks.get_unchecked(i) };
                        accumulators[j] = step::<S>(accumulators[j], a, load(&b.as_chunks().0[j]));
                    }
                }
            }
            for j in 0..ACCUMULATORS {
                let start = j * LANES;
                if start + LANES <= a_rest.len() {
                    // A register that is full needs no mask.
                    let a = load(&a_rest[start..].as_chunks().0[0]);
                    for (accumulators, (_, b_rest)) in accumulators.iter_mut().zip(&b) {
                        accumulators[j] = step::<S>(accumulators[j], a, load(&b_rest[start..].as_chunks().0[0]));
                    }
                } else if start < a_rest.len() {
                    let a = load_part(&a_rest[start..]);
                    for (accumulators, (_, b_rest)) in accumulators.iter_mut().zip(&b) {
                        accumulators[j] = step::<S>(accumulators[j], a, load_part(&b_rest[start..]));
                    }
                }
            }

            let mut sums = [0.0; N];
            for (sum, accumulators) in sums.iter_mut().zip(accumulators) {
                *sum = total(accumulators);
            }
            sums
        }

        $(#[$features])?
        fn one<S: Sum>(a: &[u8], b: &[u8]) -> f32 {
            let [sum] = sums::<S, 1>(a, [b]);
            sum
        }

        $(#[$features])?
        fn four<S: Sum>(a: &[u8], b: [&[u8]; 4]) -> [f32; 4] {
            let mut all = [0.0; 4];
            for (some, b) in all.as_chunks_mut().0.iter_mut().zip(b.as_chunks().0) {
                *some = sums::<S, VECTORS>(a, *b);
            }
            all
        }
    };
}

pub(super) use sum_kernels;
