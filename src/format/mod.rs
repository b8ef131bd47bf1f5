//! The byte layouts of all values on disk: pure functions between bytes and types, no LMDB, no
//! graph.
//!
//! `docs/format.md` is the specification; a constant or a layout here changes together with it.
//! Decoders accept any bytes: they check every length, offset and number before they use it, and
//! report damage as a `&'static str`, which the store turns into
//! [`Error::Corrupt`](crate::Error::Corrupt) with the key. `checksum` defines who may read an
//! unverified body: searches do, and rely on the bounds checks.

pub(crate) mod block;
pub(crate) mod catalog;
pub(crate) mod checksum;
pub(crate) mod codes;
pub(crate) mod delta;
pub(crate) mod edges;
pub(crate) mod fields;
pub(crate) mod ids;
pub(crate) mod item_keys;
mod key;
pub(crate) mod key_blocks;
pub(crate) mod links;
pub(crate) mod meta;
pub(crate) mod records;
pub(crate) mod set;
pub(crate) mod tenant;

pub use self::key::{Key, Kind};

/// A description of what is wrong with some bytes.
pub(crate) type Damage = &'static str;

/// `N` bytes of `bytes` from `offset`. `None` if it is too short.
#[inline]
pub(crate) fn take<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

#[inline]
pub(crate) fn take_u16(bytes: &[u8], offset: usize) -> Option<u16> {
    take(bytes, offset).map(u16::from_le_bytes)
}

#[inline]
pub(crate) fn take_u32(bytes: &[u8], offset: usize) -> Option<u32> {
    take(bytes, offset).map(u32::from_le_bytes)
}

#[inline]
pub(crate) fn take_u64(bytes: &[u8], offset: usize) -> Option<u64> {
    take(bytes, offset).map(u64::from_le_bytes)
}
