//! The scale of stored bytes: a center and a step, which training sets.
//!
//! Invariant: a byte stands for one number, however it is computed.

/// The scale of an index that stores vectors as [`I8`](super::I8): a stored byte `code`
/// stands for `center + step * code`. Training fixes it, before the first item; other element types
/// ignore it.
///
/// The step has at most 16 significant bits, so that `step * code` is exact: a byte stands for one
/// number, however it is computed.
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
    /// The largest component that can be trained on: sums and differences of a few such are finite.
    pub(crate) const MAX: f32 = 1e38;
    /// The low bits of a step that are zero.
    const ZERO_BITS: u32 = 0xFF;

    /// The finest scale on which no number from `lowest` to `highest` is off by more than half a
    /// step. `None` if either is not finite, or beyond `MAX`.
    #[doc(hidden)]
    #[must_use]
    pub fn between(lowest: f32, highest: f32) -> Option<Self> {
        let [lowest, highest] = [f64::from(lowest), f64::from(highest)];
        let magnitude = lowest.abs().max(highest.abs());
        if !(lowest <= highest && magnitude <= f64::from(Self::MAX)) {
            return None;
        }
        // For a single number, widen the range around it to make room for similar ones.
        let (lowest, highest) =
            if lowest == highest { (-magnitude, magnitude) } else { (lowest, highest) };
        let wanted = if magnitude == 0.0 { 1.0 / 255.0 } else { (highest - lowest) / 255.0 };
        // Every code must stand for a different number, and the step must be a normal number.
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

    /// The bits of both numbers, for exact comparison.
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
        let ends = [self.value(i8::MIN), self.value(i8::MAX)];
        self.step.is_normal()
            && self.step > 0.0
            && self.step.to_bits() & Self::ZERO_BITS == 0
            && ends.iter().all(|end| end.is_finite())
    }

    /// The number that a code stands for.
    #[inline]
    pub(crate) fn value(self, code: i8) -> f32 {
        self.center + self.step * f32::from(code)
    }

    /// The code of a number, and whether the number is off by more than half a step, that is,
    /// beyond the ends of the scale.
    #[inline]
    pub(crate) fn code(self, value: f64) -> (i8, bool) {
        let code = ((value - f64::from(self.center)) / f64::from(self.step)).round_ties_even();
        // Saturates.
        (code as i8, !(f64::from(i8::MIN)..=f64::from(i8::MAX)).contains(&code))
    }
}
