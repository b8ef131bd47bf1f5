//! Where a vector, or a code, lies in the map.

/// A value and its factor, 0 if it has none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Address<'t> {
    pub(crate) bytes: &'t [u8],
    pub(crate) factor: f32,
}
