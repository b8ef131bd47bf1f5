//! The kernels of the built-in metrics: the innermost loops of every search and build, over the
//! stored bytes of two vectors, or of one and four.
//!
//! A kernel takes the bytes of a query and of stored vectors, of the same number of components, at
//! any alignment. If lengths differ, it reads no more of any vector than the shortest has. It never
//! panics. On one machine, a pair has one result, bit for bit: alone or among four, in either
//! order. Results of different instruction sets differ by rounding, because the order of additions
//! does; Hamming counts and sums of small integers are exact everywhere.
//!
//! There are three implementations: `portable.rs`, `avx2.rs` and `avx512.rs`. Their loops are
//! written once, in `sum.rs`, and in `panel.rs` for many vectors and many queries, whose result is
//! an estimate. SIMD dispatch happens when a `Kernels` is made, once per search, by the CPU
//! features that `features.rs` detects. The functions of the AVX modules leave them only inside a
//! `Kernels` that is made after detection, so that holding one is the proof. The naive twin of each
//! kernel, which the tests here compare it with, is [`Distance::raw`] of the metric. Distances in
//! `f64` are in `precise.rs`.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod bytes;
mod code_query;
mod codes;
#[cfg(target_arch = "x86_64")]
mod features;
mod packed;
mod panel;
mod portable;
pub(super) mod precise;
mod prefetch;
mod rotation;
mod sift;
mod sum;

pub use self::bytes::{ByteKernels, Bytes};
pub(crate) use self::code_query::fills_lines;
pub use self::code_query::{CodeQuery, Estimates, FACTOR_BYTES, Factors, code_bytes};
pub(crate) use self::codes::estimates;
pub use self::precise::{norm, small_angle};
pub use self::prefetch::{
    LINE_BYTES, MAX_PREFETCH_LINES, prefetch, prefetch_early, prefetch_line, prefetch_lines,
    prefetches_early,
};
pub(crate) use self::rotation::{Rotation, split_mix};
pub use self::sift::sift;
use self::sum::{AbsoluteDifferences, Load, Products, SquaredDifferences, Sum};
use super::Distance;
use crate::codec::{Bf16, Codec, F16, F32, Floats, I8, Scale, VectorRef};

/// Computes the raw value of a query and a stored vector.
pub(crate) type One = fn(&[u8], &[u8], Scale) -> f32;
/// Computes the raw values of a query and each of four stored vectors.
pub(crate) type Four = fn(&[u8], [&[u8]; 4], Scale) -> [f32; 4];

/// The kernels of a metric, chosen once for the machine.
#[derive(Debug, Clone, Copy)]
pub struct Kernels {
    one: One,
    /// The same bits as `one`, in less time.
    four: Four,
    /// The scale of the stored codes.
    scale: Scale,
    /// Tells which of many pairs may be near, for [`panel`](super::panel); of decoded vectors.
    pub(crate) near: Option<Near>,
    /// The same for squared differences, from inner products: half the work.
    pub(crate) near_by_products: Option<Near>,
}

/// The number of queries of a panel.
pub const PANEL: usize = 32;
/// The number of vectors that are compared with a panel at a time.
pub const ROWS: usize = 8;

/// Returns, for each row, a bit for each query of the panel: whether `sum * scale + offset` is not
/// below the limit of the query, where `sum` is an estimate of the raw value of the pair. The panel
/// is transposed: component by component, that of all queries.
pub(crate) type Near = fn(
    panel: &[[[u8; 4]; PANEL]],
    limits: &[[u8; 4]; PANEL],
    rows: &[Row<'_>; ROWS],
) -> [u32; ROWS];

/// A vector that is compared with a panel.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) scale: f32,
    pub(crate) offset: f32,
}

impl Kernels {
    fn new(one: One, four: Four) -> Self {
        Self { one, four, scale: Scale::NONE, near: None, near_by_products: None }
    }

    /// Kernels that call [`Distance::raw`]. If the stored element type is not the one that vectors
    /// are compared as, each stored vector is decoded first, into a new allocation.
    #[must_use]
    pub fn of_raw<D: Distance>() -> Self {
        fn one<D: Distance>(a: &[u8], b: &[u8], scale: Scale) -> f32 {
            D::raw(VectorRef::new(a), VectorRef::new(&D::Codec::decode(b, scale)))
        }
        fn four<D: Distance>(a: &[u8], b: [&[u8]; 4], scale: Scale) -> [f32; 4] {
            b.map(|b| one::<D>(a, b, scale))
        }
        Self::new(one::<D>, four::<D>)
    }

    /// The sum of squared differences of [`F32`] vectors.
    #[must_use]
    pub fn euclidean(dimensions: usize) -> Self {
        Self::euclidean_of::<F32>(dimensions)
    }

    /// The sum of squared differences of a query and vectors stored as `C`.
    #[must_use]
    pub fn euclidean_of<C: Floats>(dimensions: usize) -> Self {
        squared_differences(C::ID, dimensions)
    }

    /// The inner product of [`F32`] vectors.
    #[must_use]
    pub fn inner_product(dimensions: usize) -> Self {
        Self::inner_product_of::<F32>(dimensions)
    }

    /// The inner product of a query and vectors stored as `C`.
    #[must_use]
    pub fn inner_product_of<C: Floats>(dimensions: usize) -> Self {
        products(C::ID, dimensions)
    }

    /// The sum of absolute differences of [`F32`] vectors.
    #[must_use]
    pub fn manhattan(dimensions: usize) -> Self {
        Self::manhattan_of::<F32>(dimensions)
    }

    /// The sum of absolute differences of a query and vectors stored as `C`.
    #[must_use]
    pub fn manhattan_of<C: Floats>(dimensions: usize) -> Self {
        absolute_differences(C::ID, dimensions)
    }

    /// The number of differing bits of [`Bits`](crate::codec::Bits) or
    /// [`Signs`](crate::codec::Signs) vectors.
    #[must_use]
    pub fn hamming() -> Self {
        fast_hamming().into_iter().flatten().next().unwrap_or_else(portable::hamming)
    }

    /// The same kernels for stored vectors of this scale.
    #[must_use]
    #[inline]
    pub(crate) fn with_scale(self, scale: Scale) -> Self {
        Self { scale, ..self }
    }

    /// The raw value of a query and a stored vector. For benches.
    #[doc(hidden)]
    #[inline]
    #[must_use]
    pub fn one(&self, a: &[u8], b: &[u8]) -> f32 {
        (self.one)(a, b, self.scale)
    }

    /// The raw values of a query and each of four stored vectors. For benches.
    #[doc(hidden)]
    #[inline]
    #[must_use]
    pub fn four(&self, a: &[u8], b: [&[u8]; 4]) -> [f32; 4] {
        (self.four)(a, b, self.scale)
    }
}

// By the number of the element type, not by its type, so that the kernels are compiled once, here,
// and not wherever a metric is used.

fn squared_differences(form: u8, dimensions: usize) -> Kernels {
    Kernels {
        near_by_products: products(form, dimensions).near,
        ..sum::<SquaredDifferences>(form, dimensions)
    }
}

fn products(form: u8, dimensions: usize) -> Kernels {
    sum::<Products>(form, dimensions)
}

fn absolute_differences(form: u8, dimensions: usize) -> Kernels {
    sum::<AbsoluteDifferences>(form, dimensions)
}

fn sum<S: Sum>(form: u8, dimensions: usize) -> Kernels {
    fn best<S: Sum, L: Load>(dimensions: usize) -> Kernels {
        fast_sum::<S, L>(dimensions)
            .into_iter()
            .flatten()
            .next()
            .unwrap_or_else(|| portable::kernels::<S, L>(dimensions))
    }
    match form {
        F16::ID => best::<S, F16>(dimensions),
        Bf16::ID => best::<S, Bf16>(dimensions),
        I8::ID => best::<S, I8>(dimensions),
        _ => best::<S, F32>(dimensions),
    }
}

/// The kernels beside the portable ones, from the best on; `None` if the processor lacks a feature.
#[cfg(target_arch = "x86_64")]
fn fast_sum<S: Sum, L: Load>(dimensions: usize) -> [Option<Kernels>; 2] {
    [avx512::kernels::<S, L>(dimensions), avx2::kernels::<S, L>(dimensions)]
}

#[cfg(target_arch = "x86_64")]
fn fast_hamming() -> [Option<Kernels>; 2] {
    [avx512::hamming(), avx2::hamming()]
}

/// The kernels beside the portable ones: none.
#[cfg(not(target_arch = "x86_64"))]
fn fast_sum<S: Sum, L: Load>(_dimensions: usize) -> [Option<Kernels>; 0] {
    []
}

#[cfg(not(target_arch = "x86_64"))]
fn fast_hamming() -> [Option<Kernels>; 0] {
    []
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::distance::{Cosine, DotProduct, Euclidean, Hamming, Manhattan};
    use proptest::prelude::*;

    /// All kernels for vectors of this many components.
    fn sums<S: Sum, L: Load>(dimensions: usize) -> impl Iterator<Item = Option<Kernels>> {
        fast_sum::<S, L>(dimensions)
            .into_iter()
            .chain([Some(portable::kernels::<S, L>(dimensions))])
    }

    /// The naive twin of a metric, and all that must agree with it.
    struct Subject {
        name: &'static str,
        naive: Kernels,
        implementations: Vec<Kernels>,
    }

    impl Subject {
        fn new<D: Distance>(implementations: impl IntoIterator<Item = Option<Kernels>>) -> Self {
            let implementations =
                implementations.into_iter().flatten().chain([D::kernels(0)]).collect();
            Self { name: D::name(), naive: Kernels::of_raw::<D>(), implementations }
        }

        fn of_sum<D: Distance, S: Sum>() -> Self {
            Self::new::<D>(sums::<S, F32>(0))
        }

        fn sums() -> [Self; 4] {
            [
                Self::of_sum::<Euclidean, SquaredDifferences>(),
                Self::of_sum::<Cosine, Products>(),
                Self::of_sum::<DotProduct, Products>(),
                Self::of_sum::<Manhattan, AbsoluteDifferences>(),
            ]
        }

        fn hamming() -> Self {
            Self::new::<Hamming>(fast_hamming().into_iter().chain([Some(portable::hamming())]))
        }
    }

    /// The kernels of a built-in metric over floats, for every instruction set of this processor.
    pub(crate) fn implementations<D: Distance>() -> Vec<Kernels> {
        let sums = Subject::sums();
        let products = sums.iter().find(|subject| subject.name == <DotProduct>::name()).unwrap();
        let subject = sums.iter().find(|subject| subject.name == D::name()).unwrap();
        let both = subject.implementations.iter().zip(&products.implementations);
        both.map(|(kernels, products)| Kernels { near_by_products: products.near, ..*kernels })
            .collect()
    }

    /// A stored vector at any alignment, which ends where its memory ends.
    #[derive(Clone)]
    struct Stored {
        memory: Vec<u8>,
        start: usize,
    }

    impl Stored {
        fn new<const N: usize>(words: impl IntoIterator<Item = [u8; N]>, start: usize) -> Self {
            let memory =
                std::iter::repeat_n(0xFF, start).chain(words.into_iter().flatten()).collect();
            Self { memory, start }
        }

        fn bytes(&self) -> &[u8] {
            &self.memory[self.start..]
        }
    }

    impl std::fmt::Debug for Stored {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{:?} at {}", self.bytes(), self.start)
        }
    }

    /// Five vectors of one length, of words made by `word`.
    fn five<const N: usize, W: Strategy<Value = [u8; N]> + Clone>(
        words: impl Strategy<Value = usize>,
        word: W,
    ) -> impl Strategy<Value = [Stored; 5]> {
        let stored = move |words| {
            (prop::collection::vec(word.clone(), words), 0..64usize)
                .prop_map(|(words, start)| Stored::new(words, start))
        };
        words.prop_flat_map(move |words| std::array::from_fn(|_| stored(words)))
    }

    /// The lengths that kernels are specialized for, and one that they are not.
    const KNOWN: [usize; 6] = [96, 100, 128, 256, 384, 7];

    fn lengths() -> impl Strategy<Value = usize> {
        prop_oneof![
            30 => 0..=300usize,
            10 => prop::sample::select(&KNOWN),
            1 => Just(768),
            1 => Just(1536),
            1 => Just(1537),
        ]
    }

    fn float() -> impl Strategy<Value = [u8; 4]> + Clone {
        (-1e3f32..1e3).prop_map(f32::to_le_bytes)
    }

    fn small_integer() -> impl Strategy<Value = [u8; 4]> + Clone {
        any::<u8>().prop_map(|value| f32::from(value).to_le_bytes())
    }

    fn magnitudes(bytes: &[u8]) -> Vec<u8> {
        bytes
            .as_chunks()
            .0
            .iter()
            .flat_map(|word| f32::from_le_bytes(*word).abs().to_le_bytes())
            .collect()
    }

    proptest! {
        #[test]
        fn every_kernel_is_as_near_to_its_naive_twin_as_rounding_allows(
            [a, b, ..] in five(lengths(), float()),
        ) {
            let (a, b) = (a.bytes(), b.bytes());
            for Subject { name, naive, implementations } in Subject::sums() {
                let expected = naive.one(a, b);
                // Terms of differences are not negative, so that the sum is the sum of magnitudes.
                let magnitude = if matches!(name, "cosine" | "dot product") {
                    naive.one(&magnitudes(a), &magnitudes(b))
                } else { expected };
                // The portable kernels have the longest chain: 1 addition per 32 components, 3 and
                // 8 for the horizontal sum; and 3 roundings for a term.
                let roundings = a.len() / (4 * 32) + 1 + 3 + 8 + 3;
                for kernels in implementations {
                    let error = (kernels.one(a, b) - expected).abs();
                    prop_assert!(
                        error <= magnitude * f32::EPSILON * roundings as f32,
                        "{name}: {error} for {expected}",
                    );
                }
            }
        }

        #[test]
        fn one_and_four_give_the_same_bits_in_either_order(
            [query, stored @ ..] in five(lengths(), float()),
        ) {
            for Subject { name, implementations, .. } in Subject::sums() {
                for kernels in implementations {
                    let four = kernels.four(
                        query.bytes(),
                        stored.each_ref().map(Stored::bytes),
                    ).map(f32::to_bits);
                    prop_assert_eq!(
                        four,
                        stored.each_ref().map(
                            |stored| kernels.one(query.bytes(), stored.bytes()).to_bits(),
                        ),
                        "{}",
                        name,
                    );
                    prop_assert_eq!(
                        four,
                        stored.each_ref().map(
                            |stored| kernels.one(stored.bytes(), query.bytes()).to_bits(),
                        ),
                        "{}",
                        name,
                    );
                }
            }
        }

        #[test]
        fn sums_of_small_integers_are_exact(
            [query, stored @ ..] in five(0..=128usize, small_integer()),
        ) {
            let stored = stored.each_ref().map(Stored::bytes);
            for Subject { name, naive, implementations } in Subject::sums() {
                for kernels in implementations {
                    prop_assert_eq!(
                        kernels.four(query.bytes(), stored),
                        naive.four(query.bytes(), stored),
                        "{}",
                        name,
                    );
                }
            }
        }

        #[test]
        fn bits_are_counted_exactly([query, stored @ ..] in five(0..=40usize, any::<[u8; 8]>())) {
            let stored = stored.each_ref().map(Stored::bytes);
            let Subject { naive, implementations, .. } = Subject::hamming();
            for kernels in implementations {
                prop_assert_eq!(
                    kernels.four(query.bytes(), stored),
                    naive.four(query.bytes(), stored),
                );
                prop_assert_eq!(
                    stored.map(|stored| kernels.one(query.bytes(), stored)),
                    naive.four(query.bytes(), stored),
                );
                prop_assert_eq!(
                    stored.map(|stored| kernels.one(stored, query.bytes())),
                    naive.four(query.bytes(), stored),
                );
            }
        }

        #[test]
        fn of_vectors_that_differ_in_length_the_shortest_counts(
            [a, b, ..] in five(0..=100usize, small_integer()),
            cut in 0..=400usize,
        ) {
            let (a, b) = (a.bytes(), b.bytes());
            let cut = cut.min(a.len());
            for Subject { naive, implementations, .. } in Subject::sums() {
                for kernels in implementations {
                    let expected = naive.one(&a[..cut], &b[..cut]);
                    prop_assert_eq!(kernels.one(a, &b[..cut]), expected);
                    prop_assert_eq!(kernels.one(&a[..cut], b), expected);
                    prop_assert_eq!(kernels.four(a, [&b[..cut]; 4]), [expected; 4]);
                }
            }
            for kernels in Subject::hamming().implementations {
                prop_assert_eq!(kernels.one(a, &b[..cut]), kernels.one(&a[..cut], &b[..cut]));
            }
        }
    }

    /// Kernels of the same instruction set: for floats of any length, and for an element type and
    /// vectors of this many components.
    fn pairs<S: Sum, L: Load>(dimensions: usize) -> impl Iterator<Item = (Kernels, Kernels)> {
        sums::<S, F32>(0)
            .zip(sums::<S, L>(dimensions))
            .filter_map(|(floats, form)| Some((floats?, form?)))
    }

    /// Asserts that a kernel that decodes gives the same bits as the one for floats on the decoded
    /// vectors, so that all properties of that one hold for it.
    fn decodes<L: Load + Codec>(
        probe: &Stored,
        stored: [&Stored; 4],
        scale: Scale,
    ) -> Result<(), TestCaseError> {
        fn run<S: Sum, L: Load + Codec>(
            probe: &Stored,
            stored: [&Stored; 4],
            scale: Scale,
        ) -> Result<(), TestCaseError> {
            let stored = stored.map(Stored::bytes);
            let decoded = stored.map(|stored| L::decode(stored, scale));
            // Specialized for a length, and used for any.
            for (floats, form) in KNOWN.into_iter().flat_map(pairs::<S, L>) {
                let form = form.with_scale(scale);
                let expected = floats
                    .four(probe.bytes(), decoded.each_ref().map(|decoded| &**decoded))
                    .map(f32::to_bits);
                prop_assert_eq!(form.four(probe.bytes(), stored).map(f32::to_bits), expected);
                prop_assert_eq!(
                    stored.map(|stored| form.one(probe.bytes(), stored).to_bits()),
                    expected
                );
                let back: [u32; 4] =
                    std::array::from_fn(|i| form.one(&decoded[i], stored[(i + 1) % 4]).to_bits());
                prop_assert_eq!(
                    std::array::from_fn(|i| form.one(&decoded[(i + 1) % 4], stored[i]).to_bits()),
                    back
                );
            }
            Ok(())
        }
        run::<SquaredDifferences, L>(probe, stored, scale)?;
        run::<Products, L>(probe, stored, scale)?;
        run::<AbsoluteDifferences, L>(probe, stored, scale)
    }

    /// A finite 16-bit float below 2 in magnitude; `exponents` masks its exponent bits.
    fn half(exponents: u16) -> impl Strategy<Value = [u8; 2]> + Clone {
        any::<u16>()
            .prop_map(move |bits| (bits & !exponents | (bits & exponents >> 1)).to_le_bytes())
    }

    proptest! {
        #[test]
        fn kernels_of_a_known_length_give_the_bits_of_others(
            [probe, a, b, c, d] in five(lengths(), float()),
        ) {
            decodes::<F32>(&probe, [&a, &b, &c, &d], Scale::NONE)?;
        }

        #[test]
        fn kernels_of_halves_decode_exactly(
            [probe, ..] in five(lengths(), float()),
            halves in five(lengths(), half(0x7C00)),
        ) {
            let [a, b, c, d, _] = halves.each_ref();
            decodes::<F16>(&probe, [a, b, c, d], Scale::NONE)?;
        }

        #[test]
        fn kernels_of_upper_halves_decode_exactly(
            [probe, ..] in five(lengths(), float()),
            halves in five(lengths(), half(0x7F80)),
        ) {
            let [a, b, c, d, _] = halves.each_ref();
            decodes::<Bf16>(&probe, [a, b, c, d], Scale::NONE)?;
        }

        #[test]
        fn kernels_of_bytes_decode_exactly(
            [probe, ..] in five(lengths(), float()),
            bytes in five(lengths(), any::<u8>().prop_map(|byte| [byte])),
            (lowest, width) in (-100f32..100.0, 0f32..300.0),
        ) {
            let [a, b, c, d, _] = bytes.each_ref();
            decodes::<I8>(&probe, [a, b, c, d], Scale::between(lowest, lowest + width).unwrap())?;
        }
    }
}
