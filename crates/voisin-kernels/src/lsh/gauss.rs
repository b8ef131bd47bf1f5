//! The normal distribution and the natural logarithm, by additions, multiplications and divisions
//! only, so that they are the same on every machine. Of as many numbers at a time as a digit has
//! components, without branches, which compilers turn into vector instructions.

use super::shape::WIDTH;

/// Beyond this many standard deviations, the density counts as that of this many.
const MOST: f32 = 12.0;
/// `log2(e) / 2`, and `1 / sqrt(2 pi)`.
const HALF_LOG2_E: f32 = 0.721_347_5;
const HEIGHT: f32 = 0.398_942_3;
/// Added and subtracted again, it rounds a number to the nearest integer.
const ROUND: f32 = 12_582_912.0;
/// The series of `2^x` for `x` up to 1/2 by magnitude.
const POWER: [f32; 6] =
    [1.0, std::f32::consts::LN_2, 0.240_226_5, 0.055_504_11, 0.009_618_129, 0.001_333_356];
/// The tail of the distribution by its density (Abramowitz and Stegun 1964, 26.2.17).
const TAIL: [f32; 6] =
    [0.231_641_9, 0.319_381_53, -0.356_563_78, 1.781_477_9, -1.821_255_9, 1.330_274_5];

/// The densities of the normal distribution at each of `z`, and its distribution function there,
/// to some 1e-6.
#[inline(always)]
pub(super) fn normal(z: &[f32; WIDTH]) -> ([f32; WIDTH], [f32; WIDTH]) {
    let (mut densities, mut below) = ([0f32; WIDTH], [0f32; WIDTH]);
    for ((density, below), z) in densities.iter_mut().zip(&mut below).zip(z) {
        let far = z.abs().min(MOST);
        let exponent = -far * far * HALF_LOG2_E;
        let rounded = exponent + ROUND;
        let part = exponent - (rounded - ROUND);
        let [a, b, c, d, e, f] = POWER;
        let power = a + part * (b + part * (c + part * (d + part * (e + part * f))));
        // The low bits of `rounded` are the integer. It is above -126, for a normal number.
        let whole = f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23));
        *density = HEIGHT * (power * whole);
        let [p, a, b, c, d, e] = TAIL;
        let t = 1.0 / (1.0 + p * far);
        let tail = *density * (t * (a + t * (b + t * (c + t * (d + t * e)))));
        *below = if *z < 0.0 { tail } else { 1.0 - tail };
    }
    (densities, below)
}

/// The natural logarithm of a positive normal number, to some 1e-6.
#[inline]
pub(super) fn ln(value: f32) -> f32 {
    let bits = value.to_bits();
    let mut exponent = (bits >> 23) as i32 - 127;
    let mut part = f32::from_bits((bits & 0x007F_FFFF) | 0x3F80_0000);
    if part > std::f32::consts::SQRT_2 {
        (part, exponent) = (part * 0.5, exponent + 1);
    }
    let ratio = (part - 1.0) / (part + 1.0);
    let square = ratio * ratio;
    let series = 1.0 + square * (1.0 / 3.0 + square * (0.2 + square * (1.0 / 7.0 + square / 9.0)));
    exponent as f32 * std::f32::consts::LN_2 + 2.0 * ratio * series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normal_distribution_has_its_known_values() {
        let mut z = [0f32; WIDTH];
        let known = [
            (0.0, 0.5),
            (1.0, 0.841_344_7),
            (-1.0, 0.158_655_3),
            (1.96, 0.975_002_1),
            (3.0, 0.998_650_1),
            (-4.0, 3.167e-5),
            (40.0, 1.0),
            (-40.0, 0.0),
        ];
        known.iter().zip(&mut z).for_each(|((known, _), z)| *z = *known);
        let (densities, below) = normal(&z);
        for ((density, below), (z, known)) in densities.iter().zip(&below).zip(known) {
            assert!((below - known).abs() < 2e-6, "{z}: {below}");
            let expected = (-0.5 * f64::from(z).powi(2)).exp() * 0.398_942_280_4;
            assert!((f64::from(*density) - expected).abs() < 1e-6, "{z}: {density}");
        }
    }

    #[test]
    fn the_logarithm_is_that_of_the_standard_library() {
        for value in [1e-30f32, 1e-7, 0.1, 0.5, 0.999, 1.0, 1.42, 2.0, 1e9] {
            assert!((ln(value) - value.ln()).abs() < 2e-5, "{value}: {} {}", ln(value), value.ln());
        }
    }
}
