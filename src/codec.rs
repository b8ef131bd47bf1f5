//! How one vector lies on disk and in a kernel's hands: a fixed number of little-endian bytes.
//!
//! Owns the invariant that `decode(encode(v))` is `v`, bit for bit, for every vector that [`Codec::check`] lets through, and that all
//! vectors of an index have the same length in bytes. What a distance makes of the bytes is in `distance/`; where the bytes lie in the
//! database is in `format/`.

use std::fmt;
use std::marker::PhantomData;

use crate::error::VectorDefect;

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::F32 {}
    impl Sealed for super::Bits {}
}

/// How a vector is stored. Two forms exist: [`F32`] and [`Bits`].
pub trait Codec: sealed::Sealed + fmt::Debug + Clone + Copy + Send + Sync + 'static {
    /// The number that stands for this form in the metadata of an index (`docs/format.md`).
    const ID: u8;

    /// Bytes of one stored vector of `dimensions` components.
    fn bytes(dimensions: usize) -> usize;

    /// Whether this form can hold `vector` exactly.
    ///
    /// # Errors
    /// The first component that it cannot hold: NaN and infinities for both forms, anything but 0 and 1 for [`Bits`].
    fn check(vector: &[f32]) -> Result<(), VectorDefect>;

    /// Appends the `bytes(vector.len())` bytes of `vector` to `out`.
    fn encode(vector: &[f32], out: &mut Vec<u8>);

    /// Component `i` of a stored vector. `None` past its end.
    fn component(bytes: &[u8], i: usize) -> Option<f32>;
}

/// Every component as an IEEE 754 single, little-endian: `4 * dimensions` bytes.
#[derive(Debug, Clone, Copy)]
pub enum F32 {}

/// One bit a component, in little-endian words of 64, the rest of the last word zero: `8 * ceil(dimensions / 64)` bytes. Component `i` is
/// bit `i % 64` of word `i / 64`. Holds vectors of zeros and ones.
#[derive(Debug, Clone, Copy)]
pub enum Bits {}

impl Codec for F32 {
    const ID: u8 = 1;

    fn bytes(dimensions: usize) -> usize {
        dimensions * size_of::<f32>()
    }

    fn check(vector: &[f32]) -> Result<(), VectorDefect> {
        match vector.iter().position(|value| !value.is_finite()) {
            Some(position) => Err(VectorDefect::NotFinite { position, value: vector[position] }),
            None => Ok(()),
        }
    }

    fn encode(vector: &[f32], out: &mut Vec<u8>) {
        out.extend(vector.iter().flat_map(|value| value.to_le_bytes()));
    }

    fn component(bytes: &[u8], i: usize) -> Option<f32> {
        bytes.as_chunks().0.get(i).map(|word| f32::from_le_bytes(*word))
    }
}

impl Codec for Bits {
    const ID: u8 = 2;

    fn bytes(dimensions: usize) -> usize {
        dimensions.div_ceil(64) * size_of::<u64>()
    }

    fn check(vector: &[f32]) -> Result<(), VectorDefect> {
        F32::check(vector)?;
        match vector.iter().position(|value| value.to_bits() != 0f32.to_bits() && *value != 1.0) {
            Some(position) => Err(VectorDefect::NotBinary { position, value: vector[position] }),
            None => Ok(()),
        }
    }

    fn encode(vector: &[f32], out: &mut Vec<u8>) {
        for chunk in vector.chunks(64) {
            let word = chunk.iter().enumerate().fold(0u64, |word, (i, value)| word | (u64::from(*value == 1.0) << i));
            out.extend(word.to_le_bytes());
        }
    }

    fn component(bytes: &[u8], i: usize) -> Option<f32> {
        let byte = bytes.get(i / 8)?;
        Some(f32::from(byte >> (i % 8) & 1))
    }
}

/// A stored vector, borrowed from the database or from a prepared query. Not aligned.
#[derive(Clone, Copy)]
pub struct VectorRef<'a, C> {
    bytes: &'a [u8],
    codec: PhantomData<C>,
}

impl<'a, C: Codec> VectorRef<'a, C> {
    /// Views `bytes` as a vector stored in form `C`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, codec: PhantomData }
    }

    /// The stored bytes, little-endian.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The components in order. For [`Bits`], up to the end of the last word: the padding reads as zeros.
    pub fn iter(self) -> impl Iterator<Item = f32> + 'a {
        (0..).map_while(move |i| C::component(self.bytes, i))
    }

    /// The first `dimensions` components.
    #[must_use]
    pub fn to_vec(self, dimensions: usize) -> Vec<f32> {
        self.iter().take(dimensions).collect()
    }
}

impl<C: Codec> fmt::Debug for VectorRef<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip<C: Codec>(vector: &[f32]) -> Vec<u32> {
        let mut bytes = Vec::new();
        C::encode(vector, &mut bytes);
        assert_eq!(bytes.len(), C::bytes(vector.len()));
        VectorRef::<C>::new(&bytes).to_vec(vector.len()).iter().map(|v| v.to_bits()).collect()
    }

    #[test]
    fn floats_come_back_bit_for_bit() {
        let vector = [0.0, -0.0, 1.5, f32::MIN_POSITIVE / 2.0, f32::MAX, -3.25];
        assert_eq!(round_trip::<F32>(&vector), vector.map(f32::to_bits));
    }

    #[test]
    fn bits_come_back_for_every_length_around_a_word() {
        for dimensions in [1, 2, 63, 64, 65, 127, 128, 129, 200] {
            let vector: Vec<f32> = (0..dimensions).map(|i| if i % 3 == 0 { 1.0 } else { 0.0 }).collect();
            let expected: Vec<u32> = vector.iter().map(|v| v.to_bits()).collect();
            assert_eq!(round_trip::<Bits>(&vector), expected, "{dimensions}");
        }
    }

    #[test]
    fn what_a_form_cannot_hold_is_refused_by_position() {
        assert!(matches!(F32::check(&[0.0, f32::NAN]), Err(VectorDefect::NotFinite { position: 1, .. })));
        assert!(matches!(F32::check(&[f32::NEG_INFINITY]), Err(VectorDefect::NotFinite { position: 0, .. })));
        assert!(matches!(Bits::check(&[1.0, 0.5]), Err(VectorDefect::NotBinary { position: 1, .. })));
        assert!(matches!(Bits::check(&[-0.0]), Err(VectorDefect::NotBinary { position: 0, .. })));
        assert!(Bits::check(&[1.0, 0.0]).is_ok());
    }
}
