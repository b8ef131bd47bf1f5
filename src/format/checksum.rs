//! Checksums: the last four bytes of every value, CRC-32C over the key and the value before them.
//!
//! A value is separated from its checksum only here, in one of two ways. [`Sound`] is a body whose
//! checksum has been verified: only such a body may be written back, as writing computes a new
//! checksum over whatever it is given, damaged or not. [`unverified`] is for searches, which must
//! not read a whole value to use a part of it, and for `check`; `tests/it/architecture.rs` lists
//! the files that may call it.

use super::Key;
use crate::error::{Error, Result};

/// Length of a checksum.
pub(crate) const BYTES: usize = 4;

fn of(key: &[u8], body: &[u8]) -> [u8; BYTES] {
    crc32c::crc32c_append(crc32c::crc32c(key), body).to_le_bytes()
}

/// Appends the checksum to a finished value.
pub(crate) fn seal(key: Key, value: &mut Vec<u8>) {
    seal_under(&key.to_bytes(), value);
}

/// As [`seal`], for a key of any length.
pub(crate) fn seal_under(key: &[u8], value: &mut Vec<u8>) {
    let checksum = of(key, value);
    value.extend(checksum);
}

/// The damage of a value that does not end in its checksum.
pub(crate) const BROKEN: super::Damage = "its checksum does not hold";

/// A verified body: its checksum matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sound<'t>(&'t [u8]);

impl<'t> Sound<'t> {
    /// Verifies the value under `key`, and returns its body. O(bytes), some 0.1 ns per byte.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if its checksum does not match.
    pub(crate) fn of(key: Key, value: &'t [u8]) -> Result<Self> {
        Self::under(&key.to_bytes(), value).ok_or(Error::corrupt(key, BROKEN))
    }

    /// As [`of`](Self::of), for a key of any length. `None` if the checksum does not match.
    pub(crate) fn under(key: &[u8], value: &'t [u8]) -> Option<Self> {
        holds_under(key, value).then(|| Self(unverified(value)))
    }

    pub(crate) fn body(self) -> &'t [u8] {
        self.0
    }
}

/// Whether `value` ends in its checksum.
pub(crate) fn holds(key: Key, value: &[u8]) -> bool {
    holds_under(&key.to_bytes(), value)
}

/// As [`holds`], for a key of any length.
pub(crate) fn holds_under(key: &[u8], value: &[u8]) -> bool {
    value.split_last_chunk::<BYTES>().is_some_and(|(body, checksum)| of(key, body) == *checksum)
}

/// `value` without its checksum, not verified. Empty if it is too short to have one.
pub(crate) fn unverified(value: &[u8]) -> &[u8] {
    value.split_last_chunk::<BYTES>().map_or(&[], |(body, _)| body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Kind;

    #[test]
    fn a_checksum_covers_the_key_and_every_byte() {
        let key = Key::new(1, Kind::TAIL, 0, 2);
        let mut value = b"some bytes".to_vec();
        seal(key, &mut value);
        assert!(holds(key, &value));
        assert!(!holds(Key::new(1, Kind::TAIL, 0, 3), &value));
        for i in 0..value.len() {
            value[i] ^= 0x10;
            assert!(!holds(key, &value), "byte {i}");
            value[i] ^= 0x10;
        }
        assert_eq!(unverified(&value), b"some bytes");
        assert_eq!(Sound::of(key, &value).map(Sound::body).ok(), Some(&b"some bytes"[..]));
        value[3] ^= 1;
        let error = Sound::of(key, &value).unwrap_err();
        assert!(matches!(error, Error::Corrupt { key: of, what: BROKEN } if of == key), "{error}");
        assert!(!holds(key, &[]) && !holds(key, b"abc") && Sound::under(b"", b"abc").is_none());
    }
}
