//! Training: the range of the components of a sample, which an index that stores vectors as
//! [`I8`](crate::codec::I8) is given before its first item.
//!
//! It is no part of `codec`, all of which voisin hands on to its users.

use crate::codec::{Component, Scale, check_limit};
use crate::defect::VectorDefect;

/// The range of the vectors that an index is trained on.
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
    /// Widens the range by the components of a vector.
    ///
    /// # Errors
    /// The first component that no scale has room for.
    pub fn add<T: Component>(&mut self, vector: &[T]) -> Result<(), VectorDefect> {
        check_limit(vector, Scale::MAX.into(), "the range of i8")?;
        for component in T::floats(vector).iter() {
            (self.lowest, self.highest) =
                (self.lowest.min(*component), self.highest.max(*component));
        }
        Ok(())
    }

    /// The finest scale that holds what was added: [`Scale::NONE`] of no vectors.
    #[must_use]
    pub fn scale(self) -> Scale {
        Scale::between(self.lowest, self.highest).unwrap_or(Scale::NONE)
    }
}
