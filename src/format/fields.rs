//! FIELDS: the rows of the fields of records, and what META says of them.
//!
//! A row belongs to a field, by its number. There are three kinds, told apart by a tag in the LMDB
//! key: a set of items that have a value of the field at all, a set of items that have one certain
//! value (keywords, truth values), and a run of numbers with their items, in order. Sets are in
//! chunks of 8 192 item ids, so that a change rewrites a kilobyte; a run has at most 128 entries.

use super::{Damage, Kind, take_u16, take_u32, take_u64};
use crate::field::{Entry, Field, FieldType, MAX_FIELD_NAME_BYTES, MAX_FIELDS, Schema, Stored};
use crate::types::ItemId;

/// Number of item ids of a chunk.
pub(crate) const CHUNK: u32 = 8192;
/// Bytes of a chunk with one bit an id.
const BITMAP_BYTES: usize = CHUNK as usize / 8;
/// A chunk of fewer members lists them: two bytes each.
const LISTED: usize = BITMAP_BYTES / 2;
/// Maximum number of entries of a run: with 12 bytes each, some runs share a page.
pub(crate) const RUN: usize = 128;
const RUN_ENTRY_BYTES: usize = 12;
/// Length of a row's key before what depends on its tag.
const PREFIX_BYTES: usize = 5;

/// The forms of a chunk.
const LIST: u8 = 0;
const BITMAP: u8 = 1;

/// The tags of rows.
const EXISTS: u8 = 0;
const VALUE: u8 = 1;
const NUMBERS: u8 = 2;

/// A row, by its LMDB key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Row<'a> {
    /// The items of a chunk that have a value.
    Exists(u32),
    /// The items of a chunk that have this value.
    Value(&'a [u8], u32),
    /// The run that begins with this number and item.
    Numbers(u64, ItemId),
}

impl<'a> Row<'a> {
    /// The LMDB key of a row of a field.
    pub(crate) fn to_bytes(self, index: u16, field: u8) -> Vec<u8> {
        let of_tag = match self {
            Self::Value(value, _) => value.len() + size_of::<u32>(),
            Self::Exists(_) | Self::Numbers(..) => size_of::<u64>() + size_of::<ItemId>(),
        };
        let mut key = Vec::with_capacity(PREFIX_BYTES + of_tag);
        key.extend(prefix(index, field));
        match self {
            Self::Exists(chunk) => {
                key.push(EXISTS);
                key.extend(chunk.to_be_bytes());
            }
            Self::Value(value, chunk) => {
                key.push(VALUE);
                key.extend(value);
                key.extend(chunk.to_be_bytes());
            }
            Self::Numbers(number, item) => {
                key.push(NUMBERS);
                key.extend(number.to_be_bytes());
                key.extend(item.to_be_bytes());
            }
        }
        key
    }

    /// Parses an LMDB key of the kind FIELDS: the number of the field, and the row.
    pub(crate) fn from_bytes(key: &'a [u8]) -> Option<(u8, Self)> {
        let (prefix, rest) = key.split_at_checked(PREFIX_BYTES)?;
        let row = match prefix[4] {
            EXISTS => Self::Exists(u32::from_be_bytes(rest.try_into().ok()?)),
            VALUE => {
                let (value, chunk) = rest.split_last_chunk()?;
                Self::Value(value, u32::from_be_bytes(*chunk))
            }
            NUMBERS => {
                let (number, item) = rest.split_first_chunk()?;
                let item = u32::from_be_bytes(item.try_into().ok()?);
                Self::Numbers(u64::from_be_bytes(*number), item)
            }
            _ => return None,
        };
        Some((prefix[3], row))
    }
}

/// The bytes that the keys of all rows of a field begin with.
pub(crate) fn prefix(index: u16, field: u8) -> [u8; 4] {
    let [i0, i1] = index.to_be_bytes();
    [i0, i1, Kind::FIELDS.byte(), field]
}

/// The key range of all rows of a field: its first key, and the first key after it.
pub(crate) fn bounds(index: u16, field: u8) -> [Vec<u8>; 2] {
    let first = prefix(index, field).to_vec();
    let end = [&first[..], &[u8::MAX]].concat();
    [first, end]
}

/// A field's rows that tell which items have a value at all.
pub(crate) fn exists_bounds(index: u16, field: u8) -> [Vec<u8>; 2] {
    tag_bounds(index, field, EXISTS)
}

/// A field's rows of values.
pub(crate) fn value_bounds(index: u16, field: u8) -> [Vec<u8>; 2] {
    tag_bounds(index, field, VALUE)
}

/// A field's runs of numbers.
pub(crate) fn number_bounds(index: u16, field: u8) -> [Vec<u8>; 2] {
    tag_bounds(index, field, NUMBERS)
}

fn tag_bounds(index: u16, field: u8, tag: u8) -> [Vec<u8>; 2] {
    let prefix = prefix(index, field);
    [tag, tag + 1].map(|tag| [&prefix[..], &[tag]].concat())
}

/// Encodes the members of a chunk, ascending, less its first id. `None` if there are none: the row
/// does not exist then.
pub(crate) fn encode_chunk(members: &[u16]) -> Option<Vec<u8>> {
    if members.is_empty() {
        return None;
    }
    if members.len() < LISTED {
        let mut out = vec![LIST];
        out.extend(members.iter().flat_map(|member| member.to_le_bytes()));
        return Some(out);
    }
    let mut out = vec![0; 1 + BITMAP_BYTES];
    out[0] = BITMAP;
    for member in members.iter().map(|member| usize::from(*member)) {
        if let Some(byte) = out.get_mut(1 + member / 8) {
            *byte |= 1 << (member % 8);
        }
    }
    Some(out)
}

/// The members of a chunk, less its first id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chunk<'a> {
    /// Ascending, as `u16`.
    List(&'a [[u8; 2]]),
    /// One bit an id.
    Bits(&'a [u8]),
}

impl<'a> Chunk<'a> {
    /// Decodes the body of a chunk, all of which is checked but how many bits are set.
    pub(crate) fn of(body: &'a [u8]) -> Result<Self, Damage> {
        match body.split_first() {
            Some((&LIST, list)) => {
                let (list, rest) = list.as_chunks::<2>();
                let is_sound = rest.is_empty()
                    && (1..LISTED).contains(&list.len())
                    && listed(list).is_sorted_by(|a, b| a < b)
                    && listed(list).next_back().is_some_and(|last| u32::from(last) < CHUNK);
                if is_sound { Ok(Self::List(list)) } else { Err("its list of items is not one") }
            }
            Some((&BITMAP, bits)) if bits.len() == BITMAP_BYTES => Ok(Self::Bits(bits)),
            _ => Err("it is of no known form"),
        }
    }

    /// Its members as they are stored.
    pub(crate) fn bytes(self) -> &'a [u8] {
        match self {
            Self::List(list) => list.as_flattened(),
            Self::Bits(bits) => bits,
        }
    }

    /// Whether the id of this number, from its first one on, is a member.
    pub(crate) fn has(self, member: u16) -> bool {
        match self {
            Self::List(list) => {
                list.binary_search_by_key(&member, |other| u16::from_le_bytes(*other)).is_ok()
            }
            Self::Bits(bits) => {
                bits.get(usize::from(member / 8)).is_some_and(|byte| byte >> (member % 8) & 1 == 1)
            }
        }
    }
}

/// The members of a list.
pub(crate) fn listed(list: &[[u8; 2]]) -> impl DoubleEndedIterator<Item = u16> {
    list.iter().map(|member| u16::from_le_bytes(*member))
}

/// The members of a chunk, ascending, less its first id.
pub(crate) fn decode_chunk(body: &[u8]) -> Result<Vec<u16>, Damage> {
    let mut members = Vec::new();
    match Chunk::of(body)? {
        Chunk::List(list) => members.extend(listed(list)),
        Chunk::Bits(bits) => {
            for (number, byte) in bits.iter().enumerate() {
                let mut left = *byte;
                while left != 0 {
                    members.push((8 * number) as u16 + left.trailing_zeros() as u16);
                    left &= left - 1;
                }
            }
            if members.len() < LISTED {
                return Err("its items should be listed");
            }
        }
    }
    Ok(members)
}

/// Encodes a run of numbers with their items, ascending. `None` if it is empty.
pub(crate) fn encode_run(entries: &[(u64, ItemId)]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(entries.len() * RUN_ENTRY_BYTES);
    for (number, item) in entries {
        out.extend(number.to_le_bytes());
        out.extend(item.to_le_bytes());
    }
    (!entries.is_empty()).then_some(out)
}

/// The entries of a run, in order; nothing is checked but its length.
pub(crate) fn run_entries(
    body: &[u8],
) -> impl DoubleEndedIterator<Item = (u64, ItemId)> + ExactSizeIterator {
    let (entries, _) = body.as_chunks::<RUN_ENTRY_BYTES>();
    entries.iter().map(|entry| {
        (take_u64(entry, 0).unwrap_or_default(), take_u32(entry, 8).unwrap_or_default())
    })
}

/// The entries of the run that begins with `first`, checked.
pub(crate) fn decode_run(body: &[u8], first: (u64, ItemId)) -> Result<Vec<(u64, ItemId)>, Damage> {
    let entries: Vec<_> = run_entries(body).collect();
    let is_sound = body.len().is_multiple_of(RUN_ENTRY_BYTES)
        && entries.first() == Some(&first)
        && entries.len() <= RUN
        && entries.is_sorted_by(|a, b| a < b);
    if is_sound { Ok(entries) } else { Err("its run of numbers is not one") }
}

/// The part of META: number, type and name of each field. `None` if there are no fields.
pub(crate) fn encode_schema(schema: &Schema) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for Stored { number, field } in &schema.0 {
        out.extend([*number, field.of as u8]);
        out.extend((field.name.len() as u16).to_le_bytes());
        out.extend(field.name.as_bytes());
    }
    (!out.is_empty()).then_some(out)
}

/// Decodes the part of META, if there is one.
pub(crate) fn decode_schema(part: Option<&[u8]>) -> Result<Schema, Damage> {
    const DAMAGED: Damage = "what it says of fields cannot be";
    let Some(mut rest) = part else { return Ok(Schema::default()) };
    let mut schema = Schema::default();
    while !rest.is_empty() {
        let (head, tail) = rest.split_at_checked(4).ok_or(DAMAGED)?;
        let length = usize::from(take_u16(head, 2).unwrap_or_default());
        let (name, tail) = tail.split_at_checked(length).ok_or(DAMAGED)?;
        let name = std::str::from_utf8(name).map_err(|_| DAMAGED)?.to_owned();
        let of = FieldType::from_byte(head[1]).ok_or("the type of a field is unknown")?;
        let is_new = schema.0.iter().all(|stored| stored.field.name != name);
        let ascends = schema.0.last().is_none_or(|last| last.number < head[0]);
        if !is_new || !ascends || !(1..=MAX_FIELD_NAME_BYTES).contains(&length) {
            return Err(DAMAGED);
        }
        schema.0.push(Stored { number: head[0], field: Field { name, of } });
        rest = tail;
    }
    if (1..=MAX_FIELDS).contains(&schema.0.len()) { Ok(schema) } else { Err(DAMAGED) }
}

/// A hash of one value of one item, for comparing all values of an index with those of its records:
/// the finalizer of SplitMix64 over the hash FNV-1a.
pub(crate) fn hash_of(field: u8, entry: &Entry, item: ItemId) -> u64 {
    let mut hash = 0xCBF2_9CE4_8422_2325u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        }
    };
    add(&[field]);
    match entry {
        Entry::Bytes(bytes) => add(bytes),
        Entry::Number(number) => add(&number.to_le_bytes()),
    }
    add(&item.to_le_bytes());
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_rows_come_back() {
        for row in [
            Row::Exists(7),
            Row::Value(b"", 0),
            Row::Value(b"news\0\0", u32::MAX),
            Row::Numbers(u64::MAX, 3),
        ] {
            let key = row.to_bytes(300, 9);
            assert_eq!(Row::from_bytes(&key), Some((9, row)));
            let [first, end] = bounds(300, 9);
            assert!(first <= key && key < end);
            assert!((0..key.len().min(9)).all(|end| Row::from_bytes(&key[..end]).is_none()));
        }
        assert!(Row::Value(&[b'x'; 480], 1).to_bytes(1, 1).len() <= 511);
    }

    #[test]
    fn chunks_of_all_sizes_come_back() {
        for count in [1, 2, LISTED - 1, LISTED, 3000, CHUNK as usize] {
            let members: Vec<u16> =
                (0..count).map(|i| (i * CHUNK as usize / count) as u16).collect();
            let body = encode_chunk(&members).unwrap();
            assert_eq!(decode_chunk(&body), Ok(members));
            assert_eq!(matches!(Chunk::of(&body), Ok(Chunk::Bits(_))), count >= LISTED);
            for end in 0..body.len() {
                let cut = decode_chunk(&body[..end]);
                assert!(cut.is_err() || body[0] == LIST && end % 2 == 1, "{count}, {end}");
            }
        }
        assert_eq!(encode_chunk(&[]), None);
        for damaged in [&[][..], &[2, 1], &[LIST], &[LIST, 3, 0, 3, 0], &[LIST, 0, 0x20]] {
            assert!(decode_chunk(damaged).is_err(), "{damaged:?}");
        }
    }

    #[test]
    fn runs_come_back_and_what_is_no_run_is_refused() {
        let entries: Vec<(u64, ItemId)> = (0..RUN as u32).map(|i| (u64::from(i / 3), i)).collect();
        let body = encode_run(&entries).unwrap();
        assert_eq!(decode_run(&body, entries[0]), Ok(entries.clone()));
        assert!(decode_run(&body, entries[1]).is_err());
        assert!(decode_run(&body[..body.len() - 1], entries[0]).is_err());
        let mut swapped = entries.clone();
        swapped.swap(5, 6);
        assert!(decode_run(&encode_run(&swapped).unwrap(), entries[0]).is_err());
        assert_eq!(encode_run(&[]), None);
    }

    #[test]
    fn schemas_come_back_and_damaged_ones_are_refused() {
        let mut schema = Schema::default();
        for field in [Field::keyword("tag"), Field::timestamp("date"), Field::float("x")] {
            schema.add(field).unwrap();
        }
        schema.0.remove(1);
        let part = encode_schema(&schema).unwrap();
        assert_eq!(decode_schema(Some(&part)), Ok(schema));
        assert_eq!(decode_schema(None), Ok(Schema::default()));
        assert_eq!(encode_schema(&Schema::default()), None);
        for at in 0..part.len() {
            for byte in [0, 1, 127, 255] {
                let mut damaged = part.clone();
                damaged[at] = byte;
                _ = decode_schema(Some(&damaged));
            }
            if at != 7 {
                assert!(decode_schema(Some(&part[..at])).is_err(), "{at}");
            }
        }
    }
}
