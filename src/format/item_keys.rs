//! KEYS: the item keys of an index whose items are named by keys instead of bare item ids.
//!
//! There are three kinds of rows, distinguished by the sub of their LMDB key: free item ids, blocks
//! that lead from item keys to item ids (the LMDB key ends in the first of these keys), and blocks
//! that lead from ids back to keys; `key_blocks` has their values. In place of blocks, versions
//! before 9 have two rows for each item. `u64` keys are 8 bytes, big-endian, so that their order is
//! numeric; text is raw UTF-8; byte strings and UUIDs are the bytes themselves. META and the
//! catalog say which of these an index has.

use super::{Damage, Key, Kind, checksum, take_u32, tenant};
use crate::types::ItemId;

/// Maximum length of an item key in bytes: the 511 bytes of an LMDB key less our prefix, with some
/// to spare.
pub(crate) const MAX_BYTES: usize = 480;
/// Length of a row's key before the item key or item id.
const PREFIX_BYTES: usize = 4;

/// The first version with blocks of keys.
const PACKED: u16 = 9;

/// The subs of rows.
const ID_OF_8: u8 = 0;
const KEY_OF_8: u8 = 1;
const FREE: u8 = 2;
const IDS: u8 = 3;
const KEYS: u8 = 4;

/// How the items of an index are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Naming {
    /// By item ids, `u32`, without keys.
    Ids = 0,
    U64 = 1,
    Text = 2,
    Bytes = 3,
    Uuid = 4,
}

/// The bytes of a UUID.
pub(crate) type Uuid = [u8; 16];

impl Naming {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Ids, Self::U64, Self::Text, Self::Bytes, Self::Uuid]
            .into_iter()
            .find(|naming| *naming as u8 == byte)
    }

    /// The likely naming of an index that does not say it, by one of its keys: text keys of exactly
    /// 8 bytes are rare, and so is text among the bytes of UUIDs.
    pub(crate) fn likely(key: &[u8]) -> Self {
        match key.len() {
            8 => Self::U64,
            _ if std::str::from_utf8(key).is_ok() => Self::Text,
            16 => Self::Uuid,
            _ => Self::Bytes,
        }
    }

    /// The name for messages.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Ids => "u32 ids",
            Self::U64 => "u64 keys",
            Self::Text => "string keys",
            Self::Bytes => "byte keys",
            Self::Uuid => "UUID keys",
        }
    }

    /// Whether an item can have this key.
    pub(crate) fn check(self, key: &[u8]) -> Result<(), Damage> {
        match self {
            Self::Ids => Err("the items of its index have no keys"),
            Self::U64 if key.len() != 8 => Err("its key does not have the 8 bytes of a u64"),
            Self::Uuid if key.len() != 16 => Err("its key does not have the 16 bytes of a UUID"),
            Self::Text | Self::Bytes if key.is_empty() || key.len() > MAX_BYTES => {
                Err("its key is empty or too long")
            }
            Self::Text if std::str::from_utf8(key).is_err() => Err("its key is not UTF-8"),
            Self::U64 | Self::Text | Self::Bytes | Self::Uuid => Ok(()),
        }
    }

    /// Formats an item key for messages; any bytes are accepted.
    pub(crate) fn show(self, key: &[u8]) -> String {
        match tenant::name_in(key) {
            Some((name, prefix)) if matches!(self, Self::Text | Self::Bytes) => {
                let [key, name] = [&key[prefix..], &name].map(|part| self.show_plain(part));
                format!("{key} of the tenant {name}")
            }
            _ => self.show_plain(key),
        }
    }

    fn show_plain(self, key: &[u8]) -> String {
        match (self, <[u8; 8]>::try_from(key), std::str::from_utf8(key)) {
            (Self::U64, Ok(bytes), _) => u64::from_be_bytes(bytes).to_string(),
            (Self::Text, _, Ok(text)) => format!("{text:?}"),
            (Self::Bytes, ..) => hex(key),
            (Self::Uuid, ..) => key.try_into().map_or_else(|_| hex(key), uuid_text),
            _ => format!("{key:02x?}"),
        }
    }
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A UUID in its usual form, such as `67e55044-10b1-426f-9247-bb680e5fe0c8`.
pub(crate) fn uuid_text(uuid: Uuid) -> String {
    let mut text = hex(&uuid);
    // From the end, so that the places before stay where they are.
    for hyphen in [20, 16, 12, 8] {
        text.insert(hyphen, '-');
    }
    text
}

/// A row, by its LMDB key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Row<'a> {
    /// Before version 9: maps an item key to its item id, the value.
    IdOf8(&'a [u8]),
    /// Before version 9: maps an item id to its item key, the value.
    KeyOf8(ItemId),
    /// Marks an item id as free. The value is empty.
    Free(ItemId),
    /// Maps item keys to item ids, from this key to before that of the next such row.
    Ids(&'a [u8]),
    /// Maps item ids to item keys, from this id, the first of a group, to before that of the next
    /// such row.
    Keys(ItemId),
}

impl<'a> Row<'a> {
    /// The LMDB key of the row.
    pub(crate) fn to_bytes(self, index: u16) -> Vec<u8> {
        let id_bytes;
        let rest = match self {
            Self::IdOf8(key) | Self::Ids(key) => key,
            Self::KeyOf8(id) | Self::Free(id) | Self::Keys(id) => {
                id_bytes = id.to_be_bytes();
                &id_bytes[..]
            }
        };
        let [i0, i1] = index.to_be_bytes();
        [&[i0, i1, Kind::KEYS.byte(), self.sub()], rest].concat()
    }

    fn sub(self) -> u8 {
        match self {
            Self::IdOf8(_) => ID_OF_8,
            Self::KeyOf8(_) => KEY_OF_8,
            Self::Free(_) => FREE,
            Self::Ids(_) => IDS,
            Self::Keys(_) => KEYS,
        }
    }

    /// Parses an LMDB key of the kind KEYS.
    pub(crate) fn from_bytes(key: &'a [u8]) -> Option<Self> {
        let (prefix, rest) = key.split_at_checked(PREFIX_BYTES)?;
        let id = || rest.try_into().ok().map(ItemId::from_be_bytes);
        match *prefix.last()? {
            ID_OF_8 => Some(Self::IdOf8(rest)),
            KEY_OF_8 => id().map(Self::KeyOf8),
            FREE => id().map(Self::Free),
            IDS => Some(Self::Ids(rest)),
            KEYS => id().map(Self::Keys),
            _ => None,
        }
    }

    /// Whether a row of an index of this format version can be like this one.
    pub(crate) fn is_of(self, version: u16) -> bool {
        match self {
            Self::Free(_) => true,
            Self::IdOf8(_) | Self::KeyOf8(_) => version < PACKED,
            Self::Ids(_) | Self::Keys(_) => version >= PACKED,
        }
    }

    /// The name of an id's key in errors, whose `Key` has no room for an item key.
    pub(crate) fn name_of(index: u16, id: ItemId) -> Key {
        Key::new(index, Kind::KEYS, KEYS, id)
    }
}

/// The key range of all rows of one kind: its first key, and the first key after it.
pub(crate) fn bounds(index: u16, of: Row<'_>) -> [Vec<u8>; 2] {
    let mut first = of.to_bytes(index);
    first.truncate(PREFIX_BYTES);
    let mut end = first.clone();
    if let Some(sub) = end.last_mut() {
        // Does not overflow: the largest sub is [`KEYS`].
        *sub += 1;
    }
    [first, end]
}

/// The item key in a body of [`Row::KeyOf8`]: the length of its value, then the item key.
pub(crate) fn decode_key_of_8(body: &[u8]) -> Result<&[u8], Damage> {
    let bytes = take_u32(body, 0).ok_or("it is too short")?;
    body.get(size_of::<u32>()..)
        .filter(|_| bytes as usize == body.len() + checksum::BYTES)
        .ok_or("it does not say its own length")
}

/// The item id in a body of [`Row::IdOf8`].
pub(crate) fn decode_id_of_8(body: &[u8]) -> Result<ItemId, Damage> {
    take_u32(body, 0)
        .filter(|_| body.len() == size_of::<ItemId>())
        .ok_or("it does not have the length of an item id")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_lie_apart_and_sort_as_what_they_are_about() {
        let numbers = [0u64, 1, 255, 256, u64::MAX].map(u64::to_be_bytes);
        let keys: Vec<&[u8]> = numbers.iter().map(|bytes| &bytes[..]).collect();
        let rows: Vec<Row<'_>> = keys
            .iter()
            .map(|key| Row::IdOf8(key))
            .chain([0, 255, 256, u32::MAX].map(Row::KeyOf8))
            .chain([0, 255, 256, u32::MAX].map(Row::Free))
            .chain(keys.iter().map(|key| Row::Ids(key)))
            .chain([0, 255, 256, u32::MAX].map(Row::Keys))
            .collect();
        let bytes: Vec<_> = rows.iter().map(|row| row.to_bytes(258)).collect();
        assert!(bytes.is_sorted());
        for (row, bytes) in rows.iter().zip(&bytes) {
            assert_eq!((Row::from_bytes(bytes), Kind::of(bytes)), (Some(*row), Some(Kind::KEYS)));
            let [first, end] = bounds(258, *row);
            assert!(first < *bytes && *bytes < end);
            let is_of = [8, 9].map(|version| row.is_of(version));
            let expected = match row.sub() {
                FREE => [true, true],
                sub => [sub < FREE, sub > FREE],
            };
            assert_eq!(is_of, expected);
        }
        assert_eq!(Row::Keys(7).to_bytes(258), Row::name_of(258, 7).to_bytes());
        for wrong in [
            &[1, 2, 14][..],
            &[1, 2, 14, 1, 0, 0, 0],
            &[1, 2, 14, 2, 0, 0, 0, 0, 0],
            &[1, 2, 14, 4, 0, 0, 0],
            &[1, 2, 14, 5, 0, 0, 0, 0],
        ] {
            assert_eq!(Row::from_bytes(wrong), None);
        }
        assert_eq!(
            [&[1, 2, 0, 0][..], &[1], &[0; 5]].map(|body| decode_id_of_8(body).ok()),
            [Some(513), None, None]
        );
    }

    #[test]
    fn a_key_is_shown_as_what_it_is_and_only_one_of_the_right_length_is_accepted() {
        let uuid = *b"0123456789abcdef";
        let shown = "30313233-3435-3637-3839-616263646566";
        assert_eq!(Naming::Uuid.show(&uuid), shown);
        assert_eq!(Naming::Uuid.show(&[1, 255]), "01ff");
        assert_eq!(Naming::Bytes.show(&[0, 16, 255]), "0010ff");
        let of_a_tenant = [&tenant::prefix(b"acme", MAX_BYTES).unwrap()[..], b"\xFF"].concat();
        assert_eq!(Naming::Bytes.show(&of_a_tenant), "ff of the tenant 61636d65");
        let of_a_tenant = [&tenant::prefix(b"acme", MAX_BYTES).unwrap()[..], b"doc-1"].concat();
        assert_eq!(Naming::Text.show(&of_a_tenant), r#""doc-1" of the tenant "acme""#);
        for byte in 0..=u8::MAX {
            let naming = Naming::from_byte(byte);
            assert_eq!(naming.map(|naming| naming as u8), (byte < 5).then_some(byte));
        }
        for (naming, lengths) in [(Naming::Bytes, 1..=MAX_BYTES), (Naming::Uuid, 16..=16)] {
            for length in 0..=MAX_BYTES + 1 {
                let is_valid = naming.check(&vec![0xFF; length]).is_ok();
                assert_eq!(is_valid, lengths.contains(&length), "{naming:?} {length}");
            }
        }
        assert_eq!(Naming::likely(&[0xFF; 16]), Naming::Uuid);
        assert_eq!(
            (Naming::likely(b"key"), Naming::likely(&[0xFF])),
            (Naming::Text, Naming::Bytes)
        );
    }

    #[test]
    fn a_key_comes_back_from_its_body_and_a_body_of_another_length_does_not() {
        let body = b"\x0b\0\0\0key";
        assert_eq!(decode_key_of_8(body), Ok(&b"key"[..]));
        for wrong in [&body[..6], &[&body[..], b"s"].concat(), &[], &[8, 0]] {
            assert!(decode_key_of_8(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_key_is_what_the_index_names_its_items_by() {
        let long = [b'x'; MAX_BYTES + 1];
        assert!(
            Naming::Text.check(&long[1..]).is_ok()
                && Naming::Text.check("é".as_bytes()).is_ok()
                && Naming::U64.check(&[0; 8]).is_ok()
        );
        for (naming, key) in [
            (Naming::Text, &long[..]),
            (Naming::Text, b""),
            (Naming::Text, b"\xFF"),
            (Naming::U64, b"1"),
            (Naming::Ids, b"a"),
        ] {
            assert!(naming.check(key).is_err(), "{naming:?} {key:?}");
        }
        assert_eq!(
            (Naming::U64.show(&[0, 0, 0, 0, 0, 0, 1, 2]), Naming::Text.show(b"a")),
            ("258".to_owned(), "\"a\"".to_owned())
        );
        assert_eq!(
            (Naming::Text.show(b"\xFF"), Naming::U64.show(b"a")),
            ("[ff]".to_owned(), "[61]".to_owned())
        );
    }
}
