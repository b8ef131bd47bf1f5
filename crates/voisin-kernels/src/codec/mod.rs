//! The element types of stored vectors, and their bytes: a fixed number per vector, little-endian.
//!
//! A **codec** is an element type. Only stored vectors are rounded to it. A query, or a stored
//! vector that others are compared with, is decoded once, to the type that kernels read
//! ([`Codec::Decoded`]): components as `f32`, or bits. Kernels decode the other side as they load
//! it. `forms.rs` has the element types, `round.rs` the conversions to 16-bit floats, which Rust
//! does not have, and `scale.rs` the scale of a trained element type.
//!
//! Invariants: encoding rounds each component once, to the nearest, whatever type it had; decoding
//! is exact, so that stored bytes represent one vector, the same on every machine. All vectors of
//! an index have the same length in bytes. `distance/` computes distances of the bytes; `format/`
//! lays them out in the database.
//!
//! Size and loss of each element type, measured on 100 000 photo descriptors (128 dimensions,
//! one-byte integers, Euclidean) and 100 000 text embeddings (384 dimensions, originally half
//! precision, cosine). Recall is that of an exact search, against the exact answers of `f32`.
//! [`I8`] was trained on every tenth row. [`Signs`] are those of the binary quantized metrics;
//! vectors without negative components are all the same to them. [`Bits`] are lossless for zeros
//! and ones. `cargo run --release -p voisin-bench --bin forms -- FOLDER` measures it.
//!
#![doc = include_str!("table.md")]

mod forms;
mod round;
mod scale;

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

pub(crate) use self::forms::check_limit;
pub use self::forms::{Bf16, Bits, F16, F32, I8, Signs};
pub(crate) use self::round::{from_bf16, from_f16};
pub use self::scale::Scale;
use crate::defect::VectorDefect;

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::F32 {}
    impl Sealed for super::F16 {}
    impl Sealed for super::Bf16 {}
    impl Sealed for super::I8 {}
    impl Sealed for super::Bits {}
    impl Sealed for super::Signs {}

    pub trait Component: Sized {
        type Bytes: AsRef<[u8]>;

        /// Little-endian.
        fn to_bytes(self) -> Self::Bytes;
        /// Decodes the bytes of consecutive components.
        fn of_bytes(bytes: &[u8]) -> Vec<Self>;
        fn components(vector: &[Self]) -> super::Components<'_>;
    }

    macro_rules! component {
        ($type:ty, $variant:ident) => {
            impl Component for $type {
                type Bytes = [u8; size_of::<$type>()];

                fn to_bytes(self) -> Self::Bytes {
                    self.to_le_bytes()
                }

                fn of_bytes(bytes: &[u8]) -> Vec<Self> {
                    bytes.as_chunks().0.iter().map(|bytes| Self::from_le_bytes(*bytes)).collect()
                }

                fn components(vector: &[Self]) -> super::Components<'_> {
                    super::Components::$variant(vector)
                }
            }
        };
    }
    component!(f32, F32);
    component!(f64, F64);
}

/// The element type of stored vectors: [`F32`], [`F16`], [`Bf16`], [`I8`], [`Bits`] or [`Signs`].
pub trait Codec: sealed::Sealed + fmt::Debug + Clone + Copy + Send + Sync + 'static {
    /// The element type that a vector is decoded to before others are compared with it.
    type Decoded: Decoded;

    /// The number of the element type in the metadata of an index (`docs/format.md`).
    const ID: u8;

    /// The name of the element type in messages and statistics.
    const NAME: &'static str;

    /// Whether an accepted vector of `f32` comes back bit for bit.
    const IS_EXACT: bool;

    /// Whether an index must be trained before its first item.
    const IS_TRAINED: bool = false;

    /// The size of a stored vector of `dimensions` components, in bytes.
    fn bytes(dimensions: usize) -> usize;

    /// Checks that this element type can hold `vector`, up to rounding.
    ///
    /// # Errors
    /// For the first component that it cannot hold: [`NotFinite`](VectorDefect::NotFinite) for NaN
    /// and infinities; [`TooLarge`](VectorDefect::TooLarge) beyond the largest number of [`F32`],
    /// [`F16`] or [`Bf16`], or for [`I8`] and [`Bits`] of `f32`;
    /// [`NotBinary`](VectorDefect::NotBinary) for anything but 0 and 1 in [`Bits`]. For a nonzero
    /// vector that would round to zero in [`F32`], [`F16`] or [`Bf16`]:
    /// [`TooSmall`](VectorDefect::TooSmall).
    fn check<T: Component>(vector: &[T]) -> Result<(), VectorDefect>;

    /// Appends `vector` to `out`, as `bytes(vector.len())` bytes, each component rounded once, to
    /// the nearest. Returns the number of components that saturated at an end of `scale`; 0 for all
    /// but [`I8`].
    fn encode<T: Component>(vector: &[T], scale: Scale, out: &mut Vec<u8>) -> u64;

    /// Decodes a stored vector to the type that others are compared with. Exact.
    fn decode(bytes: &[u8], scale: Scale) -> Cow<'_, [u8]>;

    /// Whether the padding after the last component is zero.
    fn has_clean_padding(_bytes: &[u8], _dimensions: usize) -> bool {
        true
    }
}

/// An element type that vectors are compared as: [`F32`], [`Bits`] or [`Signs`].
pub trait Decoded: Codec<Decoded = Self> {
    /// Component `i` of a vector. `None` past its end.
    fn component(bytes: &[u8], i: usize) -> Option<f32>;

    /// The first `count` components; fewer if the vector ends before.
    fn components(bytes: &[u8], count: usize) -> Vec<f32> {
        (0..count).map_while(|i| Self::component(bytes, i)).collect()
    }
}

/// An element type for vectors of arbitrary numbers, the type parameter of metrics such as
/// `Cosine<F16>`: [`F32`], [`F16`], [`Bf16`] or [`I8`].
pub trait Floats: Codec<Decoded = F32> {}

impl Floats for F32 {}
impl Floats for F16 {}
impl Floats for Bf16 {}
impl Floats for I8 {}

/// The component type of a caller's vectors: `f32` or `f64`. A component of `f64` is rounded once:
/// to the stored element type, or to `f32` in a query.
pub trait Component: sealed::Component + Copy + fmt::Debug + Into<f64> + Sync {
    /// All components as `f32`, rounded to the nearest.
    fn floats(vector: &[Self]) -> Cow<'_, [f32]>;
}

impl Component for f32 {
    fn floats(vector: &[Self]) -> Cow<'_, [f32]> {
        Cow::Borrowed(vector)
    }
}

impl Component for f64 {
    fn floats(vector: &[Self]) -> Cow<'_, [f32]> {
        vector.iter().map(|component| *component as f32).collect()
    }
}

/// A caller's vector, of either component type, so that code that takes it is compiled once.
#[derive(Debug, Clone, Copy)]
#[doc(hidden)]
pub enum Components<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
}

impl<'a> Components<'a> {
    #[must_use]
    pub fn of<T: Component>(vector: &'a [T]) -> Self {
        T::components(vector)
    }

    #[inline]
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no vector is asked whether it is empty")]
    pub fn len(self) -> usize {
        match self {
            Self::F32(vector) => vector.len(),
            Self::F64(vector) => vector.len(),
        }
    }

    /// The rows, of `dimensions` components each; the last may be shorter.
    #[inline]
    pub fn rows(self, dimensions: usize) -> impl Iterator<Item = Self> {
        (0..self.len()).step_by(dimensions.max(1)).map(move |start| {
            let end = self.len().min(start + dimensions);
            match self {
                Self::F32(vector) => Self::F32(&vector[start..end]),
                Self::F64(vector) => Self::F64(&vector[start..end]),
            }
        })
    }
}

/// A decoded vector, borrowed from the database or from a query. Its bytes have any alignment.
#[derive(Clone, Copy)]
pub struct VectorRef<'a, C> {
    bytes: &'a [u8],
    codec: PhantomData<C>,
}

impl<'a, C: Decoded> VectorRef<'a, C> {
    /// Views `bytes` as a vector of the element type `C`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, codec: PhantomData }
    }

    /// The bytes, little-endian.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The components in order. For [`Bits`] and [`Signs`], this includes the padding of the last
    /// word.
    pub fn iter(self) -> impl Iterator<Item = f32> + 'a {
        (0..).map_while(move |i| C::component(self.bytes, i))
    }

    /// The first `dimensions` components; fewer if the vector ends before.
    #[must_use]
    pub fn to_vec(self, dimensions: usize) -> Vec<f32> {
        C::components(self.bytes, dimensions)
    }
}

impl<C: Decoded> fmt::Debug for VectorRef<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
