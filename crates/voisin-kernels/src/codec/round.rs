//! Rounding to 16 bits, to the nearest, ties to even, and back. What is given is finite, and no
//! larger than the largest number of the form.
//!
//! From `f64` there are two steps, by way of `f32`, and one rounding: the first step, where it is
//! not exact, gives the neighbor whose last bit is one ([`to_odd`]), which is on the same side of
//! everything that the second step has to decide between (Boldo and Melquiond 2008, "Emulation of
//! FMA and Correctly Rounded Sums: Proved Algorithms Using Rounding to Odd").

/// The largest finite number of 5 bits of exponent and 10 of mantissa.
pub(super) const MAX_F16: f64 = 65504.0;
/// The largest finite number of 8 bits of exponent and 7 of mantissa: 255 of the 256ths that the
/// largest power of two is doubled by.
pub(super) const MAX_BF16: f64 = 255.0 / 128.0 * (1u128 << 127) as f64;

/// `value` if `f32` has it, else the one of its two neighbors whose last bit is one.
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
    /// The smallest normal number, and the exponent by which those of the two forms differ.
    const MIN_NORMAL: f32 = 6.103_515_6e-5;
    const REBIAS: u32 = (127 - 15) << 23;
    let sign = (value.to_bits() >> 16) as u16 & 0x8000;
    let magnitude = value.abs();
    if magnitude < MIN_NORMAL {
        // Between a half and one, numbers are as far apart as the subnormal ones of 16 bits.
        return sign | ((magnitude + 0.5).to_bits() - 0.5f32.to_bits()) as u16;
    }
    let bits = magnitude.to_bits();
    sign | ((bits - REBIAS + 0xFFF + (bits >> 13 & 1)) >> 13) as u16
}

/// Infinities and NaN come back, too.
#[inline]
pub(crate) fn from_f16(bits: u16) -> f32 {
    /// 2 to the power of 112, by which the exponents of the two forms differ.
    const SCALE: f32 = 5_192_296_858_534_827_628_530_496_329_220_096.0;
    // In 32 bits throughout: the compiler makes vector code of it.
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

    /// Of two numbers of 16 bits that follow each other, the one that is nearer; of two as near the
    /// one with the even last bit.
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
            // What a rounding to `f32` in between would make the middle of both.
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
