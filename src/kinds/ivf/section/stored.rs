//! The stored values of the lists, read before they are changed.

use crate::error::{Error, Result};
use crate::format::{Key, Kind};
use crate::kinds::ivf::format::{LISTS, decode_piece, list_n, pieces};

/// Reads a verified body.
pub(super) type ReadBody<'a> = &'a dyn Fn(Key) -> Result<Option<Vec<u8>>>;

/// The stored values of an index, before they are changed.
#[derive(Clone, Copy)]
pub(super) struct Stored<'a> {
    pub(super) index: u16,
    pub(super) read: ReadBody<'a>,
}

impl Stored<'_> {
    pub(super) fn key(&self, sub: u8, n: u32) -> Key {
        Key::new(self.index, Kind::IVF, sub, n)
    }

    /// The body of a value that must be there.
    pub(super) fn body(&self, sub: u8, n: u32) -> Result<(Key, Vec<u8>)> {
        let key = self.key(sub, n);
        let body = (self.read)(key)?.ok_or(Error::corrupt(key, "it is missing"))?;
        Ok((key, body))
    }

    /// The slots of a list of `size` slots.
    pub(super) fn list(&self, list: u32, size: u32) -> Result<Vec<u32>> {
        // Not with a capacity: the size has been read from disk.
        let mut slots = Vec::new();
        for piece in 0..pieces(size as usize) {
            let (key, body) = self.body(LISTS, list_n(list, piece))?;
            decode_piece(&body, &mut slots).map_err(|what| Error::corrupt(key, what))?;
        }
        if slots.len() != size as usize {
            let what = "the list does not have the size that is stored";
            return Err(Error::corrupt(self.key(LISTS, list_n(list, 0)), what));
        }
        Ok(slots)
    }
}
