//! The catalog of an environment of [`Index`](crate::Index): one entry per index, under its name.
//!
//! An entry says which number the index has in the keys of the database, and with which parameters
//! it is built: META does not have these, or only those of the last build. The checksum covers the
//! name and the value.

use super::item_keys::Naming;
use super::{Damage, take, take_u16, take_u32, take_u64};

/// The first bytes of every value.
const MAGIC: [u8; 8] = *b"voisin\x1ac";
/// The newest version of an entry. Each entry is written in the oldest version that can express it,
/// so that older readers can read it.
pub(crate) const VERSION: u16 = 3;
/// The version of the value under [`HIGHEST`].
const VERSION_OF_HIGHEST: u16 = 2;
/// The oldest version of all.
const VERSION_OF_IDS: u16 = 1;

/// The version of the entry of an index, by how its items are named.
fn version_of(naming: Naming) -> u16 {
    match naming {
        Naming::Ids => VERSION_OF_IDS,
        Naming::U64 | Naming::Text => 2,
        Naming::Bytes | Naming::Uuid => VERSION,
    }
}

/// The key of the highest index number ever assigned, written once an index has been removed. It is
/// not UTF-8, so no index name equals it.
pub(crate) const HIGHEST: [u8; 1] = [0xFF];
/// Length of that value in bytes.
const HIGHEST_BYTES: usize = 16;
/// Length of an entry in bytes.
const BYTES: usize = 76;
/// Bytes before the checksum.
const BODY_BYTES: usize = BYTES - 4;
/// Maximum length of an index name in bytes: half of LMDB's maximum key length.
pub(crate) const MAX_NAME_BYTES: usize = 255;
/// Maximum length of a metric's name in bytes, as in META.
const MAX_METRIC_BYTES: usize = 32;

/// The catalog entry of one index.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    /// Its number in the keys of the database.
    pub(crate) number: u16,
    /// How its items are named.
    pub(crate) naming: Naming,
    pub(crate) metric: String,
    pub(crate) dimensions: u32,
    pub(crate) m: u16,
    pub(crate) m0: u16,
    pub(crate) ef_construction: u32,
    pub(crate) alpha: f32,
    pub(crate) seed: u64,
}

/// The reason why bytes are not an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    Damaged(Damage),
    /// Written by another version.
    Version(u16),
}

impl Entry {
    pub(crate) fn encode(&self, name: &[u8]) -> Vec<u8> {
        let mut value = Vec::with_capacity(BYTES);
        value.extend(MAGIC);
        value.extend(version_of(self.naming).to_le_bytes());
        value.extend(self.number.to_le_bytes());
        value.extend(self.dimensions.to_le_bytes());
        value.extend(self.m.to_le_bytes());
        value.extend(self.m0.to_le_bytes());
        value.extend(self.ef_construction.to_le_bytes());
        value.extend(self.alpha.to_le_bytes());
        value.extend([self.naming as u8, 0, 0, 0]);
        value.extend(self.seed.to_le_bytes());
        value.extend(self.metric.bytes().take(MAX_METRIC_BYTES));
        value.resize(BODY_BYTES, 0);
        let checksum = checksum(name, &value);
        value.extend(checksum);
        value
    }

    pub(crate) fn decode(name: &[u8], value: &[u8]) -> Result<Self, Unreadable> {
        let version = version(value)?;
        Self::decode_version(name, value, version).ok_or(WRONG)
    }

    fn decode_version(name: &[u8], value: &[u8], version: u16) -> Option<Self> {
        let body = value.get(..BODY_BYTES)?;
        let [naming, reserved @ ..]: [u8; 4] = take(body, 28)?;
        let naming = Naming::from_byte(naming)?;
        let is_possible = reserved == [0; 3] && version == version_of(naming);
        if value.len() != BYTES || take(value, BODY_BYTES)? != checksum(name, body) || !is_possible
        {
            return None;
        }
        let metric: [u8; MAX_METRIC_BYTES] = take(body, 40)?;
        let metric = metric.split(|byte| *byte == 0).next()?;
        Some(Self {
            number: take_u16(body, 10)?,
            naming,
            dimensions: take_u32(body, 12)?,
            m: take_u16(body, 16)?,
            m0: take_u16(body, 18)?,
            ef_construction: take_u32(body, 20)?,
            alpha: take(body, 24).map(f32::from_le_bytes)?,
            seed: take_u64(body, 32)?,
            metric: String::from_utf8(metric.to_vec()).ok()?,
        })
    }
}

/// The damage of a value whose version is known.
const WRONG: Unreadable =
    Unreadable::Damaged("its length, its checksum, its text or a reserved byte is wrong");

/// The version of any value in the catalog.
fn version(value: &[u8]) -> Result<u16, Unreadable> {
    if !value.starts_with(&MAGIC) {
        return Err(Unreadable::Damaged("it does not begin with the magic bytes"));
    }
    match take_u16(value, 8) {
        Some(version @ VERSION_OF_IDS..=VERSION) => Ok(version),
        Some(version) => Err(Unreadable::Version(version)),
        None => Err(Unreadable::Damaged("it ends before its version")),
    }
}

/// The value under [`HIGHEST`].
pub(crate) fn encode_highest(number: u16) -> Vec<u8> {
    let mut value = MAGIC.to_vec();
    value.extend(VERSION_OF_HIGHEST.to_le_bytes());
    value.extend(number.to_le_bytes());
    let checksum = checksum(&HIGHEST, &value);
    value.extend(checksum);
    value
}

pub(crate) fn decode_highest(value: &[u8]) -> Result<u16, Unreadable> {
    version(value)?;
    let (body, sealed) = value.split_last_chunk().ok_or(WRONG)?;
    if value.len() != HIGHEST_BYTES || *sealed != checksum(&HIGHEST, body) {
        return Err(WRONG);
    }
    take_u16(body, 10).ok_or(WRONG)
}

/// The name of a catalog value for messages, if `value` is one and its checksum does not match.
pub(crate) fn broken(name: &[u8], value: &[u8]) -> Option<String> {
    let is_broken = value.starts_with(&MAGIC) && !super::checksum::holds_under(name, value);
    is_broken.then(|| String::from_utf8_lossy(name).into_owned())
}

fn checksum(name: &[u8], body: &[u8]) -> [u8; 4] {
    crc32c::crc32c_append(crc32c::crc32c(name), body).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            number: 258,
            naming: Naming::Ids,
            metric: "manhattan".to_owned(),
            dimensions: 384,
            m: 16,
            m0: 32,
            ef_construction: 200,
            alpha: 1.5,
            seed: 0x0102_0304_0506_0708,
        }
    }

    #[test]
    fn an_entry_comes_back_as_it_was() {
        let value = entry().encode(b"photos");
        assert_eq!(value.len(), BYTES);
        assert_eq!(Entry::decode(b"photos", &value), Ok(entry()));
        assert_eq!(&value[8..20], [1, 0, 2, 1, 128, 1, 0, 0, 16, 0, 32, 0]);
        let namings = [(Naming::U64, 1), (Naming::Text, 2), (Naming::Bytes, 3), (Naming::Uuid, 4)];
        for (naming, byte) in namings {
            let version = if byte > 2 { 3 } else { 2 };
            let keyed = Entry { naming, ..entry() };
            let value = keyed.encode(b"photos");
            let stored = (value[8], value[28]);
            assert_eq!(stored, (version, byte), "what is older refuses it by its version");
            assert_eq!(Entry::decode(b"photos", &value), Ok(keyed));
        }
        let long = Entry { metric: "m".repeat(MAX_METRIC_BYTES), ..entry() };
        assert_eq!(Entry::decode(b"", &long.encode(b"")), Ok(long));
    }

    #[test]
    fn no_damaged_byte_and_no_other_name_goes_unseen() {
        let value = entry().encode(b"photos");
        assert!(Entry::decode(b"photo", &value).is_err());
        for i in 0..value.len() {
            let mut damaged = value.clone();
            damaged[i] ^= 0x20;
            assert!(Entry::decode(b"photos", &damaged).is_err(), "byte {i}");
            assert!(Entry::decode(b"photos", &value[..i]).is_err(), "{i} bytes");
        }
        // A reserved byte; ids under the versions of keys; keys under the version of ids; an
        // unknown naming.
        for (at, byte) in [(29, 1), (8, 2), (8, 3), (28, 1), (28, 3), (28, 5)] {
            let mut wrong = value[..BODY_BYTES].to_vec();
            wrong[at] = byte;
            let sealed = checksum(b"photos", &wrong);
            wrong.extend(sealed);
            assert!(Entry::decode(b"photos", &wrong).is_err(), "byte {at}");
        }
        let mut newer = value;
        newer[8] = 9;
        assert_eq!(Entry::decode(b"photos", &newer), Err(Unreadable::Version(9)));
    }

    #[test]
    fn the_highest_number_comes_back_or_is_damaged() {
        let value = encode_highest(513);
        assert_eq!((value.len(), decode_highest(&value)), (HIGHEST_BYTES, Ok(513)));
        for i in 0..value.len() {
            let mut damaged = value.clone();
            damaged[i] ^= 0x20;
            assert!(
                decode_highest(&damaged).is_err() && decode_highest(&value[..i]).is_err(),
                "byte {i}"
            );
        }
    }
}
