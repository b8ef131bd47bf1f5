//! The scale of scalar quantization: a center and a step, set by training.
//!
//! Invariant: a code decodes to one number, however it is computed.

/// The scale of an index that stores vectors as [`I8`](super::I8): a stored byte `code` decodes to
/// `center + step * code`. Training sets it, for the first time before the first item; other
/// element types ignore it.
///
/// The step has at most 16 significant bits, so that `step * code` is exact: a code decodes to the
/// same number with and without FMA.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    #[doc(hidden)]
    pub center: f32,
    #[doc(hidden)]
    pub step: f32,
}

impl Scale {
    /// The scale of an untrained index, or of an element type that needs none.
    pub const NONE: Self = Self { center: 0.0, step: 0.0 };
    /// The largest magnitude to train on: sums and differences of a few such numbers are finite.
    pub(crate) const MAX: f32 = 1e38;
    /// The low bits of a step that are zero.
    const ZERO_BITS: u32 = 0xFF;

    /// The finest scale that holds every number from `lowest` to `highest` with an error of at most
    /// half a step. `None` if `lowest` is above `highest`, or if either is NaN or above `MAX` in
    /// magnitude.
    #[doc(hidden)]
    #[must_use]
    pub fn between(lowest: f32, highest: f32) -> Option<Self> {
        let [lowest, highest] = [f64::from(lowest), f64::from(highest)];
        let magnitude = lowest.abs().max(highest.abs());
        if !(lowest <= highest && magnitude <= f64::from(Self::MAX)) {
            return None;
        }
        // Extend the range of a single number to both sides of zero, for similar numbers.
        let (lowest, highest) =
            if lowest == highest { (-magnitude, magnitude) } else { (lowest, highest) };
        let wanted = if magnitude == 0.0 { 1.0 / 255.0 } else { (highest - lowest) / 255.0 };
        // Every code must decode to a different number, and the step must be a normal number.
        let wanted = wanted
            .max(magnitude * f64::from(f32::EPSILON))
            .max(f64::from(f32::MIN_POSITIVE) * 256.0);
        let above = if f64::from(wanted as f32) < wanted {
            (wanted as f32).next_up()
        } else {
            wanted as f32
        };
        let step = f32::from_bits((above.to_bits() + Self::ZERO_BITS) & !Self::ZERO_BITS);
        Some(Self { center: (lowest + 128.0 * f64::from(step)) as f32, step })
    }

    /// The bits of center and step, for exact comparison.
    #[doc(hidden)]
    #[must_use]
    #[inline]
    pub fn to_bits(self) -> [u32; 2] {
        [self.center.to_bits(), self.step.to_bits()]
    }

    /// Whether training has set this scale.
    #[doc(hidden)]
    #[must_use]
    #[inline]
    pub fn is_trained(self) -> bool {
        self.step > 0.0
    }

    /// Whether training could have produced this scale.
    #[doc(hidden)]
    #[must_use]
    #[inline]
    pub fn is_possible(self) -> bool {
        self.step.is_normal()
            && self.step > 0.0
            && self.step.to_bits() & Self::ZERO_BITS == 0
            && self.ends().iter().all(|end| end.is_finite())
    }

    /// The smallest and the largest number that it can hold.
    #[doc(hidden)]
    #[must_use]
    pub fn ends(self) -> [f32; 2] {
        [self.value(i8::MIN), self.value(i8::MAX)]
    }

    /// Decodes a code.
    #[doc(hidden)]
    #[must_use]
    #[inline]
    pub fn value(self, code: i8) -> f32 {
        self.center + self.step * f32::from(code)
    }

    /// Encodes a number. The flag says whether the number saturated: it is beyond the ends of the
    /// scale by more than half a step.
    #[doc(hidden)]
    #[must_use]
    #[inline]
    pub fn code(self, value: f64) -> (i8, bool) {
        let code = ((value - f64::from(self.center)) / f64::from(self.step)).round_ties_even();
        // `as` saturates.
        (code as i8, !(f64::from(i8::MIN)..=f64::from(i8::MAX)).contains(&code))
    }
}
