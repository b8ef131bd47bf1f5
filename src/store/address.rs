//! The location of a vector, or of a code, in the memory map.

/// The bytes of a value, and its factor (0 if it has none).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Address<'t> {
    pub(crate) bytes: &'t [u8],
    pub(crate) factor: f32,
}
