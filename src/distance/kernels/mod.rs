//! placeholder, to be written in full by the owner of this room

use super::Distance;
use crate::codec::VectorRef;

/// The functions that a search computes distances with, chosen once for the machine it runs on.
#[derive(Debug, Clone, Copy)]
pub struct Kernels {
    pub(crate) one: fn(&[u8], &[u8]) -> f32,
    pub(crate) four: fn(&[u8], [&[u8]; 4]) -> [f32; 4],
}

impl Kernels {
    /// Kernels that call [`Distance::raw`].
    #[must_use]
    pub fn of_raw<D: Distance>() -> Self {
        fn one<D: Distance>(a: &[u8], b: &[u8]) -> f32 {
            D::raw(VectorRef::new(a), VectorRef::new(b))
        }
        fn four<D: Distance>(a: &[u8], b: [&[u8]; 4]) -> [f32; 4] {
            b.map(|b| one::<D>(a, b))
        }
        Self { one: one::<D>, four: four::<D> }
    }
}

/// Hints the processor to load `bytes`.
#[inline]
pub fn prefetch(_bytes: &[u8]) {}
