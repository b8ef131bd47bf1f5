//! The shape of all kernels over floats, written once: the main loop, the tail loop and the order
//! of additions.
//!
//! Invariant: a pair of vectors has one result per instruction set. [`sum_kernels`] makes `one` and
//! `four` from the same function, so that both add the same terms to the same accumulators in the
//! same order, and no step depends on which vector comes first.
//!
//! It is a macro, not a generic function, because a function is compiled for the CPU features that
//! are enabled where it is written. What differs between instruction sets, a register type and a
//! few small functions, is in the file of each.
//!
//! The first vector is a query, as floats. The second is a stored one, decoded as it is loaded
//! ([`Load`]). Decoding is exact, so that either of two stored vectors can be the query.

/// The term that a pair of components adds to the sum.
#[derive(Debug, Clone, Copy)]
pub(super) enum Term {
    /// `(a - b)^2`
    SquaredDifference,
    /// `a * b`
    Product,
    /// `|a - b|`
    AbsoluteDifference,
}

/// A [`Term`] as a type, known when a kernel is compiled.
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

/// The element type of a stored vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    F32,
    F16,
    Bf16,
    I8,
}

/// A [`Stored`] as a type, known when a kernel is compiled.
pub(super) trait Load {
    const STORED: Stored;

    /// The bytes of a component, exactly the size of the element type: the loads of the instruction
    /// sets rely on it.
    type Word: Copy;

    /// The whole components; a partial one at the end is ignored.
    fn words(bytes: &[u8]) -> &[Self::Word];
    fn bytes(words: &[Self::Word]) -> &[u8];
}

macro_rules! load {
    ($form:ident, $bytes:literal) => {
        impl Load for crate::codec::$form {
            const STORED: Stored = Stored::$form;

            type Word = [u8; $bytes];

            #[inline]
            fn words(bytes: &[u8]) -> &[Self::Word] {
                bytes.as_chunks().0
            }

            #[inline]
            fn bytes(words: &[Self::Word]) -> &[u8] {
                words.as_flattened()
            }
        }
    };
}

load!(F32, 4);
load!(F16, 2);
load!(Bf16, 2);
load!(I8, 1);

/// The bytes of each float.
#[inline]
pub(super) fn words(bytes: &[u8]) -> &[[u8; 4]] {
    bytes.as_chunks().0
}

/// Defines `one` and `four` for the instruction set of the module that it is used in. The module
/// provides:
///
/// - `Lanes`: a register of floats, and `LANES`, its number of lanes;
/// - `VECTORS`: how many vectors `four` interleaves, 1, 2 or 4, and `ACCUMULATORS`, the number of
///   accumulators of each;
/// - `zero() -> Lanes`;
/// - `load(&[[u8; 4]; LANES]) -> Lanes`, of little-endian floats;
/// - `load_part(&[[u8; 4]]) -> Lanes`: the same of the first floats of a slice, zeros past its end;
/// - `load_stored::<L: Load>(&[L::Word; LANES], Scale) -> Lanes`: of stored components, decoded;
/// - `load_stored_part::<L: Load>(&[L::Word], Scale) -> Lanes`: the same of the first of a slice,
///   zeros past its end;
/// - `step::<S: Sum>(sum: Lanes, a: Lanes, b: Lanes) -> Lanes`: `sum` plus the terms. Symmetric,
///   and a term of two zeros is zero;
/// - `totals([[Lanes; ACCUMULATORS]; N]) -> [f32; N]`: the horizontal sum of each vector, over all
///   lanes of all accumulators, in the same order for every `N`.
macro_rules! sum_kernels {
    ($(#[$features:meta])?) => {
        /// The sums of `a`, floats, with each of `b`, stored, over the components of the shortest;
        /// if `LEN` is not 0, over the first `LEN`, which each vector must have.
        $(#[$features])?
        #[inline]
        fn sums<S: Sum, L: Load, const N: usize, const LEN: usize>(
            a: &[u8],
            b: [&[u8]; N],
            scale: Scale,
        ) -> [f32; N] {
            let (a, b) = (words(a), b.map(L::words));
            let len = if LEN > 0 { LEN } else { b.iter().fold(a.len(), |len, b| len.min(b.len())) };
            let (a_blocks, a_rest) = a[..len].as_chunks::<{ LANES * ACCUMULATORS }>();
            let b = b.map(|b| b[..len].as_chunks::<{ LANES * ACCUMULATORS }>());

            let mut accumulators = [[zero(); ACCUMULATORS]; N];
            for i in 0..a_blocks.len() {
                for j in 0..ACCUMULATORS {
                    let a = load(&a_blocks[i].as_chunks().0[j]);
                    for (accumulators, (b_blocks, _)) in accumulators.iter_mut().zip(&b) {
                        // SAFETY: `i` is below the number of blocks of `a`, and all vectors were
                        // cut to one length. The compiler proves that too late: with a checked
                        // index it copies the accumulators in every iteration, and spills some;
                        // with AVX2, `four` of squared differences takes 20 % longer.
                        let b = unsafe { b_blocks.get_unchecked(i) };
                        accumulators[j] = step::<S>(
                            accumulators[j],
                            a,
                            load_stored::<L>(&b.as_chunks().0[j], scale),
                        );
                    }
                }
            }
            if !a_rest.is_empty() {
                for j in 0..ACCUMULATORS {
                    let start = j * LANES;
                    if start + LANES <= a_rest.len() {
                        // A full register needs no mask.
                        let a = load(&a_rest[start..].as_chunks().0[0]);
                        for (accumulators, (_, b_rest)) in accumulators.iter_mut().zip(&b) {
                            let b = load_stored::<L>(&b_rest[start..].as_chunks().0[0], scale);
                            accumulators[j] = step::<S>(accumulators[j], a, b);
                        }
                    } else if start < a_rest.len() {
                        let a = load_part(&a_rest[start..]);
                        for (accumulators, (_, b_rest)) in accumulators.iter_mut().zip(&b) {
                            let b = load_stored_part::<L>(&b_rest[start..], scale);
                            accumulators[j] = step::<S>(accumulators[j], a, b);
                        }
                    }
                }
            }

            totals(accumulators)
        }

        /// Whether a vector's length differs from the one that the kernel is specialized for.
        #[inline]
        fn differ<L: Load, const LEN: usize>(a: &[u8], b: &[&[u8]]) -> bool {
            LEN > 0 && (words(a).len() != LEN || b.iter().any(|b| L::words(b).len() != LEN))
        }

        // The specialized kernels call the general ones, too: inlined, these would keep `sums` from
        // being inlined in any.
        $(#[$features])?
        #[inline(never)]
        fn one<S: Sum, L: Load, const LEN: usize>(a: &[u8], b: &[u8], scale: Scale) -> f32 {
            if differ::<L, LEN>(a, &[b]) {
                return one::<S, L, 0>(a, b, scale);
            }
            let [sum] = sums::<S, L, 1, LEN>(a, [b], scale);
            sum
        }

        $(#[$features])?
        #[inline(never)]
        fn four<S: Sum, L: Load, const LEN: usize>(
            a: &[u8],
            b: [&[u8]; 4],
            scale: Scale,
        ) -> [f32; 4] {
            if differ::<L, LEN>(a, &b) {
                return four::<S, L, 0>(a, b, scale);
            }
            let mut all = [0.0; 4];
            for (some, b) in all.as_chunks_mut().0.iter_mut().zip(b.as_chunks().0) {
                *some = sums::<S, L, VECTORS, LEN>(a, *b, scale);
            }
            all
        }

        /// The kernels for vectors of `dimensions` components, specialized for common numbers: for
        /// short vectors, computing the loop bounds takes 20 % of the time. Longer vectors gain
        /// nothing.
        $(#[$features])?
        fn kernels_of<S: Sum, L: Load>(dimensions: usize) -> Kernels {
            let (one, four): (One, Four) = match dimensions {
                96 => (one::<S, L, 96>, four::<S, L, 96>),
                100 => (one::<S, L, 100>, four::<S, L, 100>),
                128 => (one::<S, L, 128>, four::<S, L, 128>),
                256 => (one::<S, L, 256>, four::<S, L, 256>),
                384 => (one::<S, L, 384>, four::<S, L, 384>),
                _ => (one::<S, L, 0>, four::<S, L, 0>),
            };
            Kernels { near: Some(near::<S>), ..Kernels::new(one, four) }
        }
    };
}

pub(super) use sum_kernels;
