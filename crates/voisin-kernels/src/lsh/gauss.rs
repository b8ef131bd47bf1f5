//! The normal distribution and the natural logarithm, by additions, multiplications and divisions
//! only, so that they are the same on every machine.

use std::sync::LazyLock;

/// Table entries per standard deviation.
const STEPS: usize = 64;
/// Beyond this many standard deviations, the density counts as 0.
const MOST: usize = 6;
/// `exp(-1 / (2 * 128^2))` and its square, and `1 / sqrt(2 pi)`.
const RATIO: f64 = 0.999_969_482_887_531_5;
const RATIO_SQUARED: f64 = 0.999_938_966_706_357_3;
const HEIGHT: f64 = 0.398_942_280_401_432_7;

/// The density and the distribution function at each step, from 0 up.
static TABLE: LazyLock<Vec<[f32; 2]>> = LazyLock::new(|| {
    let (mut density, mut ratio) = (HEIGHT, RATIO);
    let mut next = || {
        density *= ratio;
        ratio *= RATIO_SQUARED;
        density
    };
    let (mut below, mut at) = (0.5, HEIGHT);
    let mut table = vec![[at as f32, below as f32]];
    for _ in 0..MOST * STEPS {
        // Simpson's rule over half steps.
        let [middle, end] = [next(), next()];
        below += (at + 4.0 * middle + end) / (6.0 * STEPS as f64);
        at = end;
        table.push([at as f32, below as f32]);
    }
    table
});

/// The density and the distribution function of the normal distribution.
pub(super) struct Gauss(&'static [[f32; 2]]);

impl Gauss {
    pub(super) fn new() -> Self {
        Self(&TABLE)
    }

    /// Both at `z`, to some 1e-5.
    #[inline]
    pub(super) fn at(&self, z: f32) -> [f32; 2] {
        let place = (z.abs() * STEPS as f32).min((MOST * STEPS) as f32 - 0.5);
        let (step, part) = (place as usize, place - place.floor());
        let (Some(a), Some(b)) = (self.0.get(step), self.0.get(step + 1)) else { return [0.0; 2] };
        let density = a[0] + part * (b[0] - a[0]);
        let below = a[1] + part * (b[1] - a[1]);
        [density, if z < 0.0 { 1.0 - below } else { below }]
    }
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
        let gauss = Gauss::new();
        for (z, below) in [
            (0.0, 0.5),
            (1.0, 0.841_344_7),
            (-1.0, 0.158_655_3),
            (1.96, 0.975_002_1),
            (3.0, 0.998_65),
        ] {
            assert!((gauss.at(z)[1] - below).abs() < 3e-5, "{z}: {:?}", gauss.at(z));
        }
        for z in [-2.5f32, -0.3, 0.0, 0.7, 1.9, 4.0] {
            let density = (-0.5 * f64::from(z).powi(2)).exp() * HEIGHT;
            assert!((f64::from(gauss.at(z)[0]) - density).abs() < 3e-5, "{z}");
        }
        assert!(gauss.at(40.0)[1] > 0.999_99 && gauss.at(-40.0)[1] < 1e-5);
    }

    #[test]
    fn the_logarithm_is_that_of_the_standard_library() {
        for value in [1e-30f32, 1e-7, 0.1, 0.5, 0.999, 1.0, 1.42, 2.0, 1e9] {
            assert!((ln(value) - value.ln()).abs() < 2e-5, "{value}: {} {}", ln(value), value.ln());
        }
    }
}
