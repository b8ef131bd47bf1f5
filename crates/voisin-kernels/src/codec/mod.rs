//! How one vector lies on disk and in a kernel's hands: a fixed number of little-endian bytes.
//!
//! A **codec** is a form that vectors are stored in. Only stored vectors are rounded to it: a
//! query, or a stored vector that others are compared with, is decoded first, once, to the form
//! that kernels read ([`Codec::Decoded`]): its components as `f32`, or bits. Kernels decode the
//! other side as they load it. `forms.rs` has the forms, `round.rs` the two roundings that Rust
//! does not have, `scale.rs` what the bytes of a trained form stand for.
//!
//! Owns the invariant that encoding rounds once, to the nearest, whatever it was given, and that
//! decoding is exact: a stored form stands for one vector, the same on every machine. All vectors
//! of an index have the same length in bytes. What a distance makes of the bytes is in `distance/`;
//! where the bytes lie in the database is in `format/`.
//!
//! What each form costs and loses, on 100 000 photo descriptors (128 dimensions, whole numbers of
//! one byte, Euclidean) and 100 000 text embeddings (384 dimensions, which were halves, cosine).
//! Recall is that of an exact search, against the exact answers of `f32`; [`I8`] was trained on
//! every tenth row; [`Signs`] are those of the binary quantized metrics, for which vectors without
//! negative components are all alike; [`Bits`] lose nothing of zeros and ones. `cargo run --release
//! -p voisin-bench --bin forms -- FOLDER` measures it.
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
        /// What the bytes of many are of.
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

/// How a vector is stored: [`F32`], [`F16`], [`Bf16`], [`I8`], [`Bits`] or [`Signs`].
pub trait Codec: sealed::Sealed + fmt::Debug + Clone + Copy + Send + Sync + 'static {
    /// The form that a vector has when others are compared with it.
    type Decoded: Decoded;

    /// The number that stands for this form in the metadata of an index (`docs/format.md`).
    const ID: u8;

    /// What it is called in messages and statistics.
    const NAME: &'static str;

    /// Whether a vector of `f32` that can be stored comes back as it was.
    const IS_EXACT: bool;

    /// Whether an index must be trained before its first item.
    const IS_TRAINED: bool = false;

    /// Bytes of one stored vector of `dimensions` components.
    fn bytes(dimensions: usize) -> usize;

    /// Whether this form can hold `vector`, but for rounding.
    ///
    /// # Errors
    /// The first component that it cannot hold: NaN and infinities for all forms, what is beyond
    /// the largest number of [`F32`], [`F16`] or [`Bf16`], anything but 0 and 1 for [`Bits`].
    fn check<T: Component>(vector: &[T]) -> Result<(), VectorDefect>;

    /// Appends the `bytes(vector.len())` bytes of `vector` to `out`, each component rounded once,
    /// to the nearest. Returns how many components were off by more than that, as they are beyond
    /// the ends of `scale`: of [`I8`] only.
    fn encode<T: Component>(vector: &[T], scale: Scale, out: &mut Vec<u8>) -> u64;

    /// A stored vector in the form that others are compared with. Exact.
    fn decode(bytes: &[u8], scale: Scale) -> Cow<'_, [u8]>;

    /// Whether what follows the last component is zero.
    fn has_clean_padding(_bytes: &[u8], _dimensions: usize) -> bool {
        true
    }
}

/// A form that vectors are compared in: [`F32`], [`Bits`] or [`Signs`].
pub trait Decoded: Codec<Decoded = Self> {
    /// Component `i` of a vector. `None` past its end.
    fn component(bytes: &[u8], i: usize) -> Option<f32>;

    /// The first `count` components.
    fn components(bytes: &[u8], count: usize) -> Vec<f32> {
        (0..count).map_while(|i| Self::component(bytes, i)).collect()
    }
}

/// A form of vectors of any numbers, which the metrics take as their parameter: [`F32`], [`F16`],
/// [`Bf16`] or [`I8`].
pub trait Floats: Codec<Decoded = F32> {}

impl Floats for F32 {}
impl Floats for F16 {}
impl Floats for Bf16 {}
impl Floats for I8 {}

/// What the vectors of a caller are made of: `f32`, or `f64`, each component of which is rounded
/// once, to what is stored, or to `f32` in a query.
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

/// A vector of a caller's, whatever its components are: so that what takes it is compiled once.
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

    /// Rows of so many components each; the last may be shorter.
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

/// A vector in a form that it can be compared in, borrowed from the database or from a query. Not
/// aligned.
#[derive(Clone, Copy)]
pub struct VectorRef<'a, C> {
    bytes: &'a [u8],
    codec: PhantomData<C>,
}

impl<'a, C: Decoded> VectorRef<'a, C> {
    /// Views `bytes` as a vector in the form `C`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, codec: PhantomData }
    }

    /// The bytes, little-endian.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The components in order. For [`Bits`] and [`Signs`], up to the end of the last word, with
    /// the padding.
    pub fn iter(self) -> impl Iterator<Item = f32> + 'a {
        (0..).map_while(move |i| C::component(self.bytes, i))
    }

    /// The first `dimensions` components.
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
