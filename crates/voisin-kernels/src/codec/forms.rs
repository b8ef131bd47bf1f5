//! The element types: their ranges, their rounding errors, and their bytes.

use std::borrow::Cow;

use super::round::{MAX_BF16, MAX_F16, from_bf16, from_f16, to_bf16, to_f16, to_odd};
use super::{Codec, Component, Decoded, Scale};
use crate::defect::VectorDefect;

/// IEEE 754 single precision, little-endian: `4 * dimensions` bytes. Vectors of `f32` come back bit
/// for bit. For `f64`, components above 3.4e38 in magnitude are refused, and so is a nonzero vector
/// without a component above 7e-46.
#[derive(Debug, Clone, Copy)]
pub enum F32 {}

/// IEEE 754 half precision, little-endian: `2 * dimensions` bytes, 11 significant bits. The
/// rounding error of a component is at most 1/2048 of it between 6.1e-5 and 65 504, and at most
/// 3e-8 below. Larger components are refused, and so is a nonzero vector without a component above
/// 3e-8.
#[derive(Debug, Clone, Copy)]
pub enum F16 {}

/// bfloat16, the upper half of an IEEE 754 single, little-endian: `2 * dimensions` bytes, 8
/// significant bits. The rounding error of a component is at most 1/256 of it, and at most 4.6e-41
/// below 1.2e-38. Components above 3.389e38 are refused, and so is a nonzero vector without a
/// component above 4.6e-41.
#[derive(Debug, Clone, Copy)]
pub enum Bf16 {}

/// Scalar quantization to 256 evenly spaced values, over a range that is trained on a sample
/// ([`Scale`]): 1 byte a component. The error of a component is at most half a step, about 1/510 of
/// the range. A component outside the range saturates at its end, and is counted
/// (`Reader::saturated`).
///
/// An index must be trained before its first item: by `Writer::train`, `Index::train`, or a load.
/// Outliers of the sample do not widen the range; `Stats::range` tells how it fits what is stored,
/// and an index can be trained again.
#[derive(Debug, Clone, Copy)]
pub enum I8 {}

/// Binary vectors, bit-packed: 1 bit a component, in little-endian 64-bit words, padded with zero
/// bits: `8 * ceil(dimensions / 64)` bytes. Component `i` is bit `i % 64` of word `i / 64`.
/// Components are 0 or 1.
#[derive(Debug, Clone, Copy)]
pub enum Bits {}

/// The signs of the components, bit-packed as in [`Bits`]: 1 for positive components and `0.0`, 0
/// for negative ones and `-0.0`. Every finite vector is accepted; components decode to 1 and -1.
#[derive(Debug, Clone, Copy)]
pub enum Signs {}

/// Checks that all components are finite and at most `limit` in magnitude.
pub(crate) fn check_limit<T: Component>(
    vector: &[T],
    limit: f64,
    form: &'static str,
) -> Result<(), VectorDefect> {
    // False for NaN.
    let is_held = |component: &T| -> bool { (*component).into().abs() <= limit };
    // Without an early exit, so that the compiler vectorizes it.
    if vector.iter().fold(true, |all, component| all & is_held(component)) {
        return Ok(());
    }
    match vector
        .iter()
        .enumerate()
        .find(|(_, component)| !is_held(component))
        .map(|(position, value)| (position, (*value).into()))
    {
        None => Ok(()),
        Some((position, value)) if value.is_finite() => {
            Err(VectorDefect::TooLarge { position, value, limit, form })
        }
        Some((position, value)) => Err(VectorDefect::NotFinite { position, value: value as f32 }),
    }
}

/// Checks that the vector does not round to zero: it is zero, or a component is above half of
/// `least`, the smallest positive number of the element type.
fn check_least<T: Component>(
    vector: &[T],
    least: f64,
    form: &'static str,
) -> Result<(), VectorDefect> {
    // Exactly half rounds to 0, by ties to even.
    if vector.iter().any(|component| (*component).into().abs() > least / 2.0) {
        return Ok(());
    }
    let value =
        vector.iter().fold(0.0, |largest: f64, component| largest.max((*component).into().abs()));
    if value == 0.0 { Ok(()) } else { Err(VectorDefect::TooSmall { value, limit: least, form }) }
}

fn to_floats<const N: usize>(bytes: &[u8], decode: impl Fn([u8; N]) -> f32) -> Cow<'_, [u8]> {
    let words = bytes.as_chunks().0;
    let mut floats = vec![0; words.len() * size_of::<f32>()];
    // In this shape, the compiler vectorizes it.
    floats
        .as_chunks_mut()
        .0
        .iter_mut()
        .zip(words)
        .for_each(|(float, word)| *float = decode(*word).to_le_bytes());
    Cow::Owned(floats)
}

fn encode_bits<T: Component>(vector: &[T], is_set: impl Fn(f64) -> bool, out: &mut Vec<u8>) {
    for chunk in vector.chunks(64) {
        let word = chunk
            .iter()
            .enumerate()
            .fold(0u64, |word, (i, value)| word | (u64::from(is_set((*value).into())) << i));
        out.extend(word.to_le_bytes());
    }
}

fn bit(bytes: &[u8], i: usize) -> Option<bool> {
    bytes.get(i / 8).map(|byte| byte >> (i % 8) & 1 == 1)
}

fn bits_end_at(bytes: &[u8], dimensions: usize) -> bool {
    (dimensions..bytes.len() * 8).all(|i| bit(bytes, i) == Some(false))
}

impl Codec for F32 {
    type Decoded = Self;

    const ID: u8 = 1;
    const NAME: &'static str = "f32";
    const IS_EXACT: bool = true;

    fn bytes(dimensions: usize) -> usize {
        dimensions * size_of::<f32>()
    }

    fn check<T: Component>(vector: &[T]) -> Result<(), VectorDefect> {
        check_limit(vector, f32::MAX.into(), Self::NAME)?;
        check_least(vector, f32::from_bits(1).into(), Self::NAME)
    }

    fn encode<T: Component>(vector: &[T], _scale: Scale, out: &mut Vec<u8>) -> u64 {
        // Native byte order, which is little-endian.
        out.extend_from_slice(bytemuck::cast_slice(&T::floats(vector)));
        0
    }

    fn decode(bytes: &[u8], _scale: Scale) -> Cow<'_, [u8]> {
        Cow::Borrowed(bytes)
    }
}

impl Decoded for F32 {
    #[inline]
    fn component(bytes: &[u8], i: usize) -> Option<f32> {
        bytes.as_chunks().0.get(i).map(|word| f32::from_le_bytes(*word))
    }

    fn components(bytes: &[u8], count: usize) -> Vec<f32> {
        bytes.as_chunks().0.iter().take(count).map(|word| f32::from_le_bytes(*word)).collect()
    }
}

impl Codec for F16 {
    type Decoded = F32;

    const ID: u8 = 3;
    const NAME: &'static str = "f16";
    const IS_EXACT: bool = false;

    fn bytes(dimensions: usize) -> usize {
        dimensions * size_of::<u16>()
    }

    fn check<T: Component>(vector: &[T]) -> Result<(), VectorDefect> {
        check_limit(vector, MAX_F16, Self::NAME)?;
        check_least(vector, from_f16(1).into(), Self::NAME)
    }

    fn encode<T: Component>(vector: &[T], _scale: Scale, out: &mut Vec<u8>) -> u64 {
        out.extend(vector.iter().flat_map(|value| to_f16(to_odd((*value).into())).to_le_bytes()));
        0
    }

    fn decode(bytes: &[u8], _scale: Scale) -> Cow<'_, [u8]> {
        to_floats(bytes, |word| from_f16(u16::from_le_bytes(word)))
    }
}

impl Codec for Bf16 {
    type Decoded = F32;

    const ID: u8 = 4;
    const NAME: &'static str = "bf16";
    const IS_EXACT: bool = false;

    fn bytes(dimensions: usize) -> usize {
        dimensions * size_of::<u16>()
    }

    fn check<T: Component>(vector: &[T]) -> Result<(), VectorDefect> {
        check_limit(vector, MAX_BF16, Self::NAME)?;
        check_least(vector, from_bf16(1).into(), Self::NAME)
    }

    fn encode<T: Component>(vector: &[T], _scale: Scale, out: &mut Vec<u8>) -> u64 {
        out.extend(vector.iter().flat_map(|value| to_bf16(to_odd((*value).into())).to_le_bytes()));
        0
    }

    fn decode(bytes: &[u8], _scale: Scale) -> Cow<'_, [u8]> {
        to_floats(bytes, |word| from_bf16(u16::from_le_bytes(word)))
    }
}

impl Codec for I8 {
    type Decoded = F32;

    const ID: u8 = 5;
    const NAME: &'static str = "i8";
    const IS_EXACT: bool = false;
    const IS_TRAINED: bool = true;

    fn bytes(dimensions: usize) -> usize {
        dimensions
    }

    fn check<T: Component>(vector: &[T]) -> Result<(), VectorDefect> {
        check_limit(vector, f32::MAX.into(), Self::NAME)
    }

    fn encode<T: Component>(vector: &[T], scale: Scale, out: &mut Vec<u8>) -> u64 {
        let mut saturated = 0;
        out.extend(vector.iter().map(|value| {
            let (code, is_beyond) = scale.code((*value).into());
            saturated += u64::from(is_beyond);
            code.cast_unsigned()
        }));
        saturated
    }

    fn decode(bytes: &[u8], scale: Scale) -> Cow<'_, [u8]> {
        to_floats(bytes, |[byte]| scale.value(byte.cast_signed()))
    }
}

impl Codec for Bits {
    type Decoded = Self;

    const ID: u8 = 2;
    const NAME: &'static str = "bits";
    const IS_EXACT: bool = true;

    fn bytes(dimensions: usize) -> usize {
        dimensions.div_ceil(64) * size_of::<u64>()
    }

    fn check<T: Component>(vector: &[T]) -> Result<(), VectorDefect> {
        check_limit(vector, f32::MAX.into(), Self::NAME)?;
        let values = vector.iter().map(|component| -> f64 { (*component).into() }).enumerate();
        match { values }.find(|(_, value)| value.to_bits() != 0f64.to_bits() && *value != 1.0) {
            Some((position, value)) => {
                Err(VectorDefect::NotBinary { position, value: value as f32 })
            }
            None => Ok(()),
        }
    }

    fn encode<T: Component>(vector: &[T], _scale: Scale, out: &mut Vec<u8>) -> u64 {
        encode_bits(vector, |value| value == 1.0, out);
        0
    }

    fn decode(bytes: &[u8], _scale: Scale) -> Cow<'_, [u8]> {
        Cow::Borrowed(bytes)
    }

    fn has_clean_padding(bytes: &[u8], dimensions: usize) -> bool {
        bits_end_at(bytes, dimensions)
    }
}

impl Decoded for Bits {
    fn component(bytes: &[u8], i: usize) -> Option<f32> {
        bit(bytes, i).map(|bit| if bit { 1.0 } else { 0.0 })
    }
}

impl Codec for Signs {
    type Decoded = Self;

    const ID: u8 = 6;
    const NAME: &'static str = "signs";
    const IS_EXACT: bool = false;

    fn bytes(dimensions: usize) -> usize {
        Bits::bytes(dimensions)
    }

    fn check<T: Component>(vector: &[T]) -> Result<(), VectorDefect> {
        check_limit(vector, f64::MAX, Self::NAME)
    }

    fn encode<T: Component>(vector: &[T], _scale: Scale, out: &mut Vec<u8>) -> u64 {
        encode_bits(vector, f64::is_sign_positive, out);
        0
    }

    fn decode(bytes: &[u8], _scale: Scale) -> Cow<'_, [u8]> {
        Cow::Borrowed(bytes)
    }

    fn has_clean_padding(bytes: &[u8], dimensions: usize) -> bool {
        bits_end_at(bytes, dimensions)
    }
}

impl Decoded for Signs {
    fn component(bytes: &[u8], i: usize) -> Option<f32> {
        bit(bytes, i).map(|bit| if bit { 1.0 } else { -1.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::super::VectorRef;
    use super::*;

    fn round_trip<C: Codec>(vector: &[f32], scale: Scale) -> Vec<u32> {
        let mut bytes = Vec::new();
        let saturated = C::encode(vector, scale, &mut bytes);
        assert_eq!((bytes.len(), saturated), (C::bytes(vector.len()), 0));
        let probe = C::decode(&bytes, scale);
        VectorRef::<C::Decoded>::new(&probe)
            .to_vec(vector.len())
            .iter()
            .map(|v| v.to_bits())
            .collect()
    }

    fn to_bits(vector: &[f32]) -> Vec<u32> {
        vector.iter().map(|v| v.to_bits()).collect()
    }

    #[test]
    fn floats_come_back_bit_for_bit() {
        let vector = [0.0, -0.0, 1.5, f32::MIN_POSITIVE / 2.0, f32::MAX, -3.25];
        assert_eq!(round_trip::<F32>(&vector, Scale::NONE), to_bits(&vector));
        let halves = [0.0, -0.0, 1.5, 65504.0, -3.25, 5.960_464_5e-8];
        assert_eq!(round_trip::<F16>(&halves, Scale::NONE), to_bits(&halves));
        let halves = [0.0, -0.0, 1.5, -3.25, 3.389_531_4e38, 9.183_55e-41];
        assert_eq!(round_trip::<Bf16>(&halves, Scale::NONE), to_bits(&halves));
        let bytes = [0.0, 255.0, 17.0, 128.0];
        assert_eq!(round_trip::<I8>(&bytes, Scale::between(0.0, 255.0).unwrap()), to_bits(&bytes));
    }

    #[test]
    fn bits_come_back_for_every_length_around_a_word() {
        for dimensions in [1, 2, 63, 64, 65, 127, 128, 129, 200] {
            let vector: Vec<f32> =
                (0..dimensions).map(|i| if i % 3 == 0 { 1.0 } else { 0.0 }).collect();
            assert_eq!(round_trip::<Bits>(&vector, Scale::NONE), to_bits(&vector), "{dimensions}");
            let signs: Vec<f32> =
                (0..dimensions).map(|i| if i % 3 == 0 { 1.0 } else { -1.0 }).collect();
            assert_eq!(round_trip::<Signs>(&signs, Scale::NONE), to_bits(&signs), "{dimensions}");
        }
        let mut bytes = Vec::new();
        Signs::encode(&[-1e-300, 1e-300, 0.0, -0.0], Scale::NONE, &mut bytes);
        assert_eq!(bytes[0], 0b0110);
        assert!(Signs::has_clean_padding(&bytes, 3) && !Signs::has_clean_padding(&bytes, 2));
    }

    #[test]
    fn what_a_form_cannot_hold_is_refused_by_position() {
        fn finite<C: Codec>() {
            assert!(matches!(
                C::check(&[0.0, f32::NAN]),
                Err(VectorDefect::NotFinite { position: 1, .. })
            ));
            assert!(matches!(
                C::check(&[f64::NEG_INFINITY]),
                Err(VectorDefect::NotFinite { position: 0, .. })
            ));
        }
        finite::<F32>();
        finite::<F16>();
        finite::<Bf16>();
        finite::<I8>();
        finite::<Bits>();
        finite::<Signs>();
        assert!(matches!(
            F32::check(&[0.0, 1e39]),
            Err(VectorDefect::TooLarge { position: 1, form: "f32", .. })
        ));
        assert!(matches!(
            F16::check(&[65504.0, -65505.0f32]),
            Err(VectorDefect::TooLarge { position: 1, limit: 65504.0, .. })
        ));
        assert!(matches!(
            Bf16::check(&[3.39e38f32]),
            Err(VectorDefect::TooLarge { position: 0, .. })
        ));
        assert!(
            F16::check(&[65504.0f32, -65504.0]).is_ok() && Bf16::check(&[-3.389e38f32]).is_ok()
        );
        assert!(matches!(
            Bits::check(&[1.0, 0.5]),
            Err(VectorDefect::NotBinary { position: 1, .. })
        ));
        assert!(matches!(Bits::check(&[-0.0]), Err(VectorDefect::NotBinary { position: 0, .. })));
        assert!(Bits::check(&[1.0, 0.0]).is_ok());
    }

    #[test]
    fn a_scale_has_room_for_all_between_its_ends_and_counts_what_is_beyond() {
        for (lowest, highest) in [
            (0.0, 255.0),
            (-1.0, 1.0),
            (-0.21, 0.34),
            (1e-30, 1e-29),
            (7.0, 7.0),
            (0.0, 0.0),
            (1000.0, 1000.001),
            (-1e38, 1e38),
        ] {
            let scale = Scale::between(lowest, highest).unwrap();
            assert!(scale.is_possible() && scale.is_trained(), "{scale:?}");
            for share in 0..=1000 {
                let value = f64::from(lowest)
                    + (f64::from(highest) - f64::from(lowest)) * f64::from(share) / 1000.0;
                let (code, is_beyond) = scale.code(value);
                // Half a step, and the rounding error of the decoded value.
                let error = (f64::from(scale.value(code)) - value).abs();
                let slack = f64::from(f32::EPSILON) * f64::from(lowest.abs().max(highest.abs()));
                assert!(
                    !is_beyond && error <= f64::from(scale.step) * 0.5000001 + slack,
                    "{value} is off by {error} on {scale:?}"
                );
            }
            let beyond = f64::from(highest) + 300.0 * f64::from(scale.step);
            assert!(lowest == highest || scale.code(beyond) == (i8::MAX, true));
            assert!(
                lowest == highest
                    || scale.code(2.0 * f64::from(lowest) - beyond) == (i8::MIN, true)
            );
        }
        assert_eq!(Scale::between(0.0, 255.0).unwrap(), Scale { center: 128.0, step: 1.0 });
        for (lowest, highest) in [(f32::NAN, 1.0), (0.0, f32::INFINITY), (-2e38, 0.0), (1.0, 0.0)] {
            assert_eq!(Scale::between(lowest, highest), None);
        }
        let mut bytes = Vec::new();
        assert_eq!(
            I8::encode(
                &[-9.0, 0.0, 255.4, 256.0f32],
                Scale::between(0.0, 255.0).unwrap(),
                &mut bytes
            ),
            2
        );
        assert_eq!(bytes, [0x80, 0x80, 0x7F, 0x7F]);
    }
}
