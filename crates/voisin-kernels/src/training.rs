//! Training of scalar quantization: the range of the components of a sample. An index that stores
//! vectors as [`I8`](crate::codec::I8) is trained before its first item.
//!
//! This is not in `codec`, because voisin re-exports all of that.

use crate::codec::{Component, Scale, check_limit};
use crate::defect::VectorDefect;

/// The smallest and the largest component of the vectors that an index is trained on.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    lowest: f32,
    highest: f32,
}

impl Default for Range {
    fn default() -> Self {
        Self { lowest: f32::INFINITY, highest: f32::NEG_INFINITY }
    }
}

impl Range {
    /// Extends the range to the components of a vector.
    ///
    /// # Errors
    /// [`TooLarge`](VectorDefect::TooLarge) for the first component with a magnitude above 1e38,
    /// the limit of a scale; [`NotFinite`](VectorDefect::NotFinite) for NaN and infinities.
    pub fn add<T: Component>(&mut self, vector: &[T]) -> Result<(), VectorDefect> {
        check_limit(vector, Scale::MAX.into(), "the range of i8")?;
        for component in T::floats(vector).iter() {
            (self.lowest, self.highest) =
                (self.lowest.min(*component), self.highest.max(*component));
        }
        Ok(())
    }

    /// The finest scale that covers the range. [`Scale::NONE`] if no vector was added.
    #[must_use]
    pub fn scale(self) -> Scale {
        Scale::between(self.lowest, self.highest).unwrap_or(Scale::NONE)
    }
}
