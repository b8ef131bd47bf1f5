//! Conversion to and from the 16-bit floats: rounding to nearest, ties to even. Inputs are finite
//! and within the range of the 16-bit type.
//!
//! An `f64` is converted by way of `f32`, and still rounded only once: if the first step is
//! inexact, it rounds to odd ([`to_odd`]), to the neighbor whose last bit is one. That one is on
//! the same side of every tie of the second step (Boldo and Melquiond 2008, "Emulation of FMA and
//! Correctly Rounded Sums: Proved Algorithms Using Rounding to Odd").

/// The largest finite binary16: 5 bits of exponent, 10 of mantissa.
pub(super) const MAX_F16: f64 = 65504.0;
/// The largest finite bfloat16: 8 bits of exponent, 7 of mantissa; 255/128 times 2^127.
pub(super) const MAX_BF16: f64 = 255.0 / 128.0 * (1u128 << 127) as f64;

/// `value` if it is an `f32`, else the neighboring `f32` whose last bit is one (round to odd).
pub(super) fn to_odd(value: f64) -> f32 {
    let nearest = value as f32;
    let exact = f64::from(nearest);
    if exact == value {
        return nearest;
    }
    let toward_zero =
        if exact.abs() > value.abs() { nearest.to_bits() - 1 } else { nearest.to_bits() };
    f32::from_bits(toward_zero | 1)
}

pub(super) fn to_f16(value: f32) -> u16 {
    /// The smallest normal binary16, and the difference of the exponent biases.
    const MIN_NORMAL: f32 = 6.103_515_6e-5;
    const REBIAS: u32 = (127 - 15) << 23;
    let sign = (value.to_bits() >> 16) as u16 & 0x8000;
    let magnitude = value.abs();
    if magnitude < MIN_NORMAL {
        // Between 0.5 and 1, `f32` has the spacing of the binary16 subnormals.
        return sign | ((magnitude + 0.5).to_bits() - 0.5f32.to_bits()) as u16;
    }
    let bits = magnitude.to_bits();
    sign | ((bits - REBIAS + 0xFFF + (bits >> 13 & 1)) >> 13) as u16
}

/// Decodes binary16, also infinities and NaN.
#[inline]
pub(crate) fn from_f16(bits: u16) -> f32 {
    /// 2^112: the difference of the exponent biases, as a factor.
    const SCALE: f32 = 5_192_296_858_534_827_628_530_496_329_220_096.0;
    // In 32 bits throughout, so that the compiler vectorizes it.
    let bits = u32::from(bits);
    let magnitude = f32::from_bits((bits & 0x7FFF) << 13) * SCALE;
    let special = if bits & 0x7C00 == 0x7C00 { 0x7F80_0000 } else { 0 };
    f32::from_bits(magnitude.to_bits() | (bits & 0x8000) << 16 | special)
}

pub(super) fn to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16) as u16
}

#[inline]
pub(crate) fn from_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_number_of_16_bits_is_what_it_is_and_comes_back() {
        for bits in 0..=u16::MAX {
            let (f, b) = (f16::from_bits(bits), bf16::from_bits(bits));
            assert!(
                from_f16(bits).to_bits() == f.to_f32().to_bits()
                    || f.is_nan() && from_f16(bits).is_nan(),
                "{bits:#x}"
            );
            assert!(
                from_bf16(bits).to_bits() == b.to_f32().to_bits()
                    || b.is_nan() && from_bf16(bits).is_nan(),
                "{bits:#x}"
            );
            assert!(!f.is_finite() || to_f16(from_f16(bits)) == bits, "{bits:#x}");
            assert!(!b.is_finite() || to_bf16(from_bf16(bits)) == bits, "{bits:#x}");
        }
        assert_eq!((MAX_F16, MAX_BF16), (f16::MAX.to_f64(), bf16::MAX.to_f64()));
    }

    /// The oracle: the nearer of the two adjacent 16-bit numbers, ties to the even one.
    fn nearest(value: f64, decode: impl Fn(u16) -> f32, largest: u16) -> u16 {
        let magnitude = value.abs();
        let above = (0..=largest)
            .collect::<Vec<_>>()
            .partition_point(|bits| f64::from(decode(*bits)) < magnitude)
            as u16;
        let below = above.saturating_sub(1);
        let [near, far] = [below, above].map(|bits| (f64::from(decode(bits)) - magnitude).abs());
        let bits = if near < far || near == far && below.is_multiple_of(2) { below } else { above };
        if value.is_sign_negative() { bits | 0x8000 } else { bits }
    }

    #[test]
    fn what_lies_between_two_numbers_is_rounded_once() {
        let tiny = f64::EPSILON;
        for (low, high) in [
            (0x3C00u16, 0x3C01u16),
            (0x3C01, 0x3C02),
            (0, 1),
            (1, 2),
            (0x3FF, 0x400),
            (0x7BFE, 0x7BFF),
        ] {
            let middle = (f64::from(from_f16(low)) + f64::from(from_f16(high))) / 2.0;
            let even = if low.is_multiple_of(2) { low } else { high };
            // Rounding to nearest in the first step would turn all three into the tie.
            for (value, expected) in
                [(middle, even), (middle * (1.0 + tiny), high), (middle * (1.0 - tiny), low)]
            {
                assert_eq!(to_f16(to_odd(value)), expected, "{value:e}");
                assert_eq!(to_f16(to_odd(-value)), expected | 0x8000, "{value:e}");
            }
            let middle = (f64::from(from_bf16(low)) + f64::from(from_bf16(high))) / 2.0;
            for (value, expected) in
                [(middle, even), (middle * (1.0 + tiny), high), (middle * (1.0 - tiny), low)]
            {
                assert_eq!(to_bf16(to_odd(value)), expected, "{value:e}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_number_becomes_the_nearest(mantissa in -1f64..1.0, exponent in -30..16i32) {
            let value = mantissa * 2f64.powi(exponent);
            prop_assert_eq!(to_f16(to_odd(value)), nearest(value, from_f16, 0x7BFF));
            prop_assert_eq!(to_bf16(to_odd(value)), nearest(value, from_bf16, 0x7F7F));
            prop_assert_eq!(to_f16(value as f32), f16::from_f32(value as f32).to_bits());
            prop_assert_eq!(to_bf16(value as f32), bf16::from_f32(value as f32).to_bits());
        }
    }
}
