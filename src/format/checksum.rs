//! The four bytes at the end of every value: CRC-32C over the key and the value before them.

use super::Key;

/// Bytes of a checksum.
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

/// Whether `value` ends in its checksum.
pub(crate) fn holds(key: Key, value: &[u8]) -> bool {
    holds_under(&key.to_bytes(), value)
}

/// As [`holds`], for a key of any length.
pub(crate) fn holds_under(key: &[u8], value: &[u8]) -> bool {
    value.split_last_chunk::<BYTES>().is_some_and(|(body, checksum)| of(key, body) == *checksum)
}

/// `value` without its checksum. Empty if it is too short to have one.
pub(crate) fn body(value: &[u8]) -> &[u8] {
    value.split_last_chunk::<BYTES>().map_or(&[], |(body, _)| body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Kind;

    #[test]
    fn a_checksum_covers_the_key_and_every_byte() {
        let key = Key::new(1, Kind::Tail, 0, 2);
        let mut value = b"some bytes".to_vec();
        seal(key, &mut value);
        assert!(holds(key, &value));
        assert!(!holds(Key::new(1, Kind::Tail, 0, 3), &value));
        for i in 0..value.len() {
            value[i] ^= 0x10;
            assert!(!holds(key, &value), "byte {i}");
            value[i] ^= 0x10;
        }
        assert_eq!(body(&value), b"some bytes");
        assert!(!holds(key, &[]) && !holds(key, b"abc"));
    }
}
