//! LINKS, SPILL and IN: the records of a group of slots, and their places in it.
//!
//! A search reads one neighbor list of a group in place ([`list`]); a build decodes a whole
//! [`Record`], changes it, and encodes the group again ([`encode_group`]). The record begins with
//! the neighbor list, the only part that a search reads.

use super::{Damage, edges, take_u16, take_u32};
use crate::types::Slot;

/// Maximum length of a LINKS value: a page of 4 096 bytes less LMDB's header of 16.
const PAGE_BYTES: usize = 4080;
/// The header is the length of the value; the directory follows.
const HEADER_BYTES: usize = 4;
/// Length of the value that stands for "absent" in a pointer table: a header only.
pub(crate) const ABSENT_BYTES: usize = HEADER_BYTES;
/// Directory entry: the record is in SPILL.
const SPILLED: u16 = u16::MAX;
/// Count of one-way in-neighbors: they are in an IN value.
const ELSEWHERE: u16 = u16::MAX;
/// Maximum number of one-way in-neighbors in a record. More move to an IN value, so that a hub does
/// not push its neighbors out of the page.
const MAX_INLINE: usize = 64;

/// The record of a node: all that the graph stores of it on one layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Slots it has edges to, ascending.
    pub(crate) neighbors: Vec<u32>,
    pub(crate) parent: Slot,
    pub(crate) rank: u32,
    /// For each neighbor, whether it is a child in the spanning tree.
    pub(crate) children: Vec<bool>,
    pub(crate) one_way: OneWay,
}

/// The one-way in-neighbors of a node: slots that have an edge to it, and it has none to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OneWay {
    /// Ascending, at most [`MAX_INLINE`].
    Here(Vec<u32>),
    /// In an IN value.
    Elsewhere,
}

impl OneWay {
    /// Whether this many are stored in an IN value.
    pub(crate) fn is_elsewhere(count: usize) -> bool {
        count > MAX_INLINE
    }

    /// Splits ascending slots into the part of the record and the body of the IN value, if there is
    /// one.
    pub(crate) fn place(slots: Vec<u32>) -> (Self, Option<Vec<u8>>) {
        if !Self::is_elsewhere(slots.len()) {
            return (Self::Here(slots), None);
        }
        let mut body = Vec::new();
        edges::encode_many(&slots, &mut body);
        (Self::Elsewhere, Some(body))
    }
}

/// The location of a slot's record, according to its LINKS or SPILL value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Absent,
    Spilled,
    At(usize),
}

/// The offset of a slot's entry in the directory.
#[inline]
pub(crate) fn entry_offset(slot_in_group: usize) -> usize {
    HEADER_BYTES + 2 * slot_in_group
}

/// Looks a slot up in the directory of a LINKS or SPILL value.
#[inline]
pub(crate) fn place(value: &[u8], slot_in_group: usize) -> Result<Place, Damage> {
    match take_u16(value, entry_offset(slot_in_group)) {
        Some(0) => Ok(Place::Absent),
        Some(SPILLED) => Ok(Place::Spilled),
        Some(offset) => Ok(Place::At(usize::from(offset))),
        None => Err("a group is too short for its directory"),
    }
}

/// The serialized neighbor list of the record at `offset`.
#[inline]
pub(crate) fn list(value: &[u8], offset: usize) -> Result<&[u8], Damage> {
    let bytes = take_u16(value, offset).ok_or("a record begins beyond its group")?;
    value
        .get(offset + 2..)
        .and_then(|rest| rest.get(..usize::from(bytes)))
        .ok_or("a neighbor list ends beyond its group")
}

/// Decodes the record at `offset`. Returns it and its end.
pub(crate) fn decode_record(value: &[u8], offset: usize) -> Result<(Record, usize), Damage> {
    const CUT: Damage = "a record is cut short";
    let list = list(value, offset)?;
    let mut neighbors = Vec::new();
    edges::decode_list(list, &mut neighbors)?;
    let mut at = offset + 2 + list.len();
    let parent = Slot(take_u32(value, at).ok_or(CUT)?);
    let rank = take_u32(value, at + 4).ok_or(CUT)?;
    let one_way = take_u16(value, at + 8).ok_or(CUT)?;
    at += 10;
    let bits = value.get(at..at + neighbors.len().div_ceil(8)).ok_or(CUT)?;
    at += bits.len();
    let children: Vec<bool> =
        (0..neighbors.len()).map(|i| bits[i / 8] >> (i % 8) & 1 == 1).collect();
    if bits != pack(&children) {
        return Err("a child bit beyond the list is set");
    }
    let one_way = if one_way == ELSEWHERE {
        OneWay::Elsewhere
    } else {
        let bytes = value.get(at..at + 4 * usize::from(one_way)).ok_or(CUT)?;
        at += bytes.len();
        let slots: Vec<u32> =
            bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
        if slots.len() > MAX_INLINE || !slots.is_sorted_by(|a, b| a < b) {
            return Err("the in-neighbors of a record are too many or not ascending");
        }
        OneWay::Here(slots)
    };
    Ok((Record { neighbors, parent, rank, children, one_way }, at))
}

fn pack(children: &[bool]) -> Vec<u8> {
    children
        .chunks(8)
        .map(|chunk| {
            chunk.iter().enumerate().fold(0, |byte, (i, child)| byte | u8::from(*child) << i)
        })
        .collect()
}

/// Appends the bytes of a record.
pub(crate) fn encode_record(record: &Record, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend([0; 2]);
    edges::encode_list(&record.neighbors, out);
    let list_bytes = (out.len() - start - 2) as u16;
    out[start..start + 2].copy_from_slice(&list_bytes.to_le_bytes());
    out.extend(record.parent.0.to_le_bytes());
    out.extend(record.rank.to_le_bytes());
    let (count, slots) = match &record.one_way {
        OneWay::Here(slots) => (slots.len() as u16, slots.as_slice()),
        OneWay::Elsewhere => (ELSEWHERE, [].as_slice()),
    };
    out.extend(count.to_le_bytes());
    out.extend(pack(&record.children));
    out.extend(slots.iter().flat_map(|slot| slot.to_le_bytes()));
}

/// The bodies of the LINKS and SPILL values of a group, `None` if there is nothing to store.
/// `records` has the bytes of each slot's record, empty if it has none.
pub(crate) fn encode_group(records: &[Vec<u8>]) -> [Option<Vec<u8>>; 2] {
    let header = HEADER_BYTES + 2 * records.len();
    // A whole page, even if less is used: the memory of a build must not depend on the length of
    // lists.
    let mut links = Vec::with_capacity(PAGE_BYTES.max(header));
    links.resize(header, 0);
    let mut spill = vec![0; header];
    for (i, record) in records.iter().enumerate().filter(|(_, record)| !record.is_empty()) {
        let entry = HEADER_BYTES + 2 * i;
        let fits = links.len() + record.len() + super::checksum::BYTES <= PAGE_BYTES;
        let target = if fits { &mut links } else { &mut spill };
        let offset = (target.len() as u16).to_le_bytes();
        target[entry..entry + 2].copy_from_slice(&offset);
        target.extend(record);
        if !fits {
            links[entry..entry + 2].copy_from_slice(&SPILLED.to_le_bytes());
        }
    }
    let any_spilled = spill.len() > header;
    let any = any_spilled || links.len() > header;
    let finish = |mut body: Vec<u8>, present: bool| {
        let length = (body.len() + super::checksum::BYTES) as u32;
        body[..HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
        present.then_some(body)
    };
    [finish(links, any), finish(spill, any_spilled)]
}

/// Splits the LINKS and SPILL values of a group into `slots` records, the inverse of
/// [`encode_group`]. Strict: accepts only what that writes.
pub(crate) fn split_group(
    links: Option<&[u8]>,
    spill: Option<&[u8]>,
    slots: usize,
) -> Result<Vec<Vec<u8>>, Damage> {
    let mut records = vec![Vec::new(); slots];
    let Some(links) = links else {
        return if spill.is_none() {
            Ok(records)
        } else {
            Err("a group has spilled records and no others")
        };
    };
    for (i, record) in records.iter_mut().enumerate() {
        let (value, offset) = match place(links, i)? {
            Place::Absent => continue,
            Place::At(offset) => (links, offset),
            Place::Spilled => match spill.map(|spill| place(spill, i)).transpose()? {
                Some(Place::At(offset)) => (spill.unwrap_or_default(), offset),
                _ => return Err("a spilled record is missing"),
            },
        };
        let (_, end) = decode_record(value, offset)?;
        *record = value[offset..end].to_vec();
    }
    let expected = encode_group(&records);
    let same = |body: &Option<Vec<u8>>, value: Option<&[u8]>| {
        body.as_deref() == value.map(super::checksum::unverified)
    };
    if same(&expected[0], Some(links)) && same(&expected[1], spill) {
        Ok(records)
    } else {
        Err("a group does not have its canonical layout")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record() -> impl Strategy<Value = Record> {
        let slots = |max| {
            prop::collection::btree_set(0..2_000_000u32, 0..max)
                .prop_map(|set| set.into_iter().collect::<Vec<_>>())
        };
        (slots(33), any::<u32>(), any::<u32>(), any::<u64>(), slots(64), prop::bool::weighted(0.1))
            .prop_map(|(neighbors, parent, rank, bits, one_way, elsewhere)| Record {
                children: (0..neighbors.len()).map(|i| bits >> (i % 64) & 1 == 1).collect(),
                neighbors,
                parent: Slot(parent),
                rank,
                one_way: if elsewhere { OneWay::Elsewhere } else { OneWay::Here(one_way) },
            })
    }

    fn sealed(body: &Option<Vec<u8>>) -> Option<Vec<u8>> {
        body.clone().map(|mut body| {
            body.extend([0; 4]);
            body
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_group_comes_back_whether_or_not_it_spills(
            group in prop::collection::vec(prop::option::of(record()), 1..40),
        ) {
            let bytes: Vec<Vec<u8>> = group.iter().map(|record| {
                let mut bytes = Vec::new();
                if let Some(record) = record {
                    encode_record(record, &mut bytes);
                }
                bytes
            }).collect();
            let [links, spill] = encode_group(&bytes).each_ref().map(sealed);
            prop_assert!(links.as_ref().is_none_or(|links| links.len() <= PAGE_BYTES));
            prop_assert_eq!(
                split_group(links.as_deref(), spill.as_deref(), group.len()),
                Ok(bytes.clone()),
            );
            for (record, bytes) in group.iter().zip(&bytes) {
                if let Some(record) = record {
                    prop_assert_eq!(decode_record(bytes, 0), Ok((record.clone(), bytes.len())));
                }
            }
        }

        #[test]
        fn a_damaged_group_is_an_error_or_another_group_and_never_a_panic(
            group in prop::collection::vec(record(), 1..12),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let bytes: Vec<Vec<u8>> = group.iter().map(
                |record| { let mut bytes = Vec::new(); encode_record(record, &mut bytes); bytes },
            ).collect();
            let [links, spill] = encode_group(&bytes).each_ref().map(sealed);
            let mut links = links.unwrap_or_default();
            let at = at.index(links.len());
            links[at] = byte;
            let _ = split_group(Some(&links), spill.as_deref(), group.len());
            let _ = split_group(Some(&links[..at]), spill.as_deref(), group.len());
        }
    }
}
