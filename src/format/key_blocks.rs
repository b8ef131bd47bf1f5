//! Blocks of item keys with their item ids: the values of KEYS in both directions.
//!
//! A block lists entries in order: by item key in one direction, by item id in the other. An entry
//! says how many bytes its key shares with the key before it, and the rest of the key; and how far
//! its id is from the one after the id before it, if it is not that id. So neighbors in both orders
//! take some three bytes. O(entries of the block) to find one.
//!
//! Every list of entries has one encoding: whatever decodes encodes to the same bytes.

use super::item_keys::MAX_BYTES;
use super::{Damage, checksum, take_u32};
use crate::types::ItemId;

/// Bytes of entries in a full block. Four such blocks, with their LMDB keys, fill a page: where
/// LMDB splits a page of so few values, the left one stays full.
const FULL_BYTES: usize = 960;
/// A block of fewer bytes is merged with the next one when it changes.
const LEAST_BYTES: usize = 240;
/// Ids that are in one block of the direction by ids, if they have keys: a pointer table has a cell
/// for each such group.
pub(crate) const GROUP: ItemId = 16;

/// The first id of the group of an id. The LMDB key of a block by ids ends in that of its first
/// entry, so that all ids of a group belong to the same block, also those that have no key yet.
pub(crate) fn group_start(id: ItemId) -> ItemId {
    id - id % GROUP
}

/// An item key and its item id.
pub(crate) type Entry = (Vec<u8>, ItemId);

/// What the entries of a block are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Keys,
    Ids,
}

const SHORT: Damage = "it is cut short";
const NUMBER: Damage = "a number of it is too large, or has more bytes than it needs";
const KEY: Damage = "a key of it is empty, too long, or shares more than there is";
const DISORDERED: Damage = "its entries do not ascend, or share more than they say";

/// Appends a number, 7 bits a byte, the lowest first; all bytes but the last have the highest bit.
fn put_number(out: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number off the front.
#[inline(always)]
fn take_number(rest: &mut &[u8]) -> Result<u32, Damage> {
    let (first, tail) = rest.split_first().ok_or(SHORT)?;
    *rest = tail;
    if *first < 0x80 {
        return Ok(u32::from(*first));
    }
    take_long_number(u32::from(*first & 0x7F), rest)
}

/// The rest of a number of more than one byte.
fn take_long_number(mut number: u32, rest: &mut &[u8]) -> Result<u32, Damage> {
    for shift in [7, 14, 21, 28] {
        let (byte, tail) = rest.split_first().ok_or(SHORT)?;
        *rest = tail;
        let digit = u32::from(*byte & 0x7F);
        if shift == 28 && *byte > 0x0F {
            return Err(NUMBER);
        }
        number |= digit << shift;
        if *byte < 0x80 {
            return if *byte == 0 { Err(NUMBER) } else { Ok(number) };
        }
    }
    Err(NUMBER)
}

/// The number of bytes that `a` and `b` begin with alike.
fn shared(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// A signed difference as a number that is small if the difference is.
fn zigzag(difference: i32) -> u32 {
    ((difference << 1) ^ (difference >> 31)) as u32
}

fn unzigzag(number: u32) -> i32 {
    (number >> 1) as i32 ^ -((number & 1) as i32)
}

/// The head of an entry.
struct Head<'a> {
    shared: usize,
    suffix: &'a [u8],
    id: ItemId,
}

impl<'a> Head<'a> {
    /// Takes an entry off the front. `before` is the id of the entry before it.
    #[inline(always)]
    fn take(rest: &mut &'a [u8], before: ItemId) -> Result<Self, Damage> {
        let head = take_number(rest)?;
        let shared = take_number(rest)? as usize;
        let (suffix, tail) = rest.split_at_checked((head >> 1) as usize).ok_or(SHORT)?;
        *rest = tail;
        let mut id = before.wrapping_add(1);
        if head & 1 == 1 {
            let difference = take_number(rest)?;
            if difference == 0 {
                return Err(NUMBER);
            }
            id = id.wrapping_add_signed(unzigzag(difference));
        }
        Ok(Self { shared, suffix, id })
    }
}

/// The bytes of the entries of a block by ids.
fn entries_by_id(body: &[u8]) -> Result<&[u8], Damage> {
    let bytes = take_u32(body, 0).ok_or(SHORT)?;
    body.get(size_of::<u32>()..)
        .filter(|_| bytes as usize == body.len() + checksum::BYTES)
        .ok_or("it does not say its own length")
}

/// The entries of a block, one after the other.
pub(crate) struct Entries<'a> {
    rest: &'a [u8],
    order: Order,
    /// The entry before.
    key: Vec<u8>,
    id: ItemId,
    is_first: bool,
}

impl<'a> Entries<'a> {
    /// Those of a block by keys, whose LMDB key ends in the key of its first entry.
    pub(crate) fn by_key(first: &[u8], body: &'a [u8]) -> Self {
        Self {
            rest: body,
            order: Order::Keys,
            key: first.to_vec(),
            id: ItemId::MAX,
            is_first: true,
        }
    }

    /// Those of a block by ids.
    pub(crate) fn by_id(body: &'a [u8]) -> Result<Self, Damage> {
        let (rest, key) = (entries_by_id(body)?, Vec::with_capacity(64));
        Ok(Self { rest, order: Order::Ids, key, id: ItemId::MAX, is_first: true })
    }

    /// The key of the entry that [`next`](Self::next) has returned the id of.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    /// The id of the next entry.
    pub(crate) fn next(&mut self) -> Result<Option<ItemId>, Damage> {
        if self.rest.is_empty() {
            return if self.is_first { Err("it has no entries") } else { Ok(None) };
        }
        let Head { shared, suffix, id } = Head::take(&mut self.rest, self.id)?;
        let (is_first, before) = (std::mem::take(&mut self.is_first), self.key.len());
        if shared > before || shared + suffix.len() > MAX_BYTES || shared + suffix.len() == 0 {
            return Err(KEY);
        }
        let ascends = match (suffix.first(), self.key.get(shared)) {
            // Not all is said to be shared that is.
            (Some(first), Some(before)) if first == before => return Err(DISORDERED),
            (Some(first), Some(before)) => first > before,
            (Some(_), None) => true,
            (None, _) => false,
        };
        let is_in_order = match self.order {
            Order::Keys if is_first => shared == before && suffix.is_empty(),
            Order::Keys => ascends,
            Order::Ids => is_first || id > self.id,
        };
        if !is_in_order {
            return Err(DISORDERED);
        }
        self.key.truncate(shared);
        self.key.extend_from_slice(suffix);
        self.id = id;
        Ok(Some(id))
    }

    /// All entries that are left.
    pub(crate) fn all(mut self) -> Result<Vec<Entry>, Damage> {
        let mut all = Vec::new();
        while let Some(id) = self.next()? {
            all.push((self.key.clone(), id));
        }
        Ok(all)
    }
}

/// The id of a key in a block by keys. Keys are compared as they are stored, without putting them
/// together.
pub(crate) fn find_id(first: &[u8], body: &[u8], wanted: &[u8]) -> Result<Option<ItemId>, Damage> {
    let (mut rest, mut id) = (body, ItemId::MAX);
    // How much of the wanted key the entry before has, which is less than it; and its length.
    let (mut common, mut length) = (shared(first, wanted), first.len());
    let mut is_first = true;
    while !rest.is_empty() {
        let head = Head::take(&mut rest, id)?;
        id = head.id;
        if head.shared > length {
            return Err(KEY);
        }
        length = head.shared + head.suffix.len();
        if std::mem::take(&mut is_first) {
            match common == length {
                true if length == wanted.len() => return Ok(Some(id)),
                true => continue,
                // Greater than the wanted key, or less.
                false if common == wanted.len() || first[common..] > wanted[common..] => break,
                false => continue,
            }
        }
        if head.shared > common {
            continue;
        }
        if head.shared < common {
            break;
        }
        let left = wanted.get(common..).unwrap_or_default();
        let more = shared(head.suffix, left);
        match (head.suffix.get(more), left.get(more)) {
            (None, None) => return Ok(Some(id)),
            (Some(found), Some(wanted)) if found > wanted => break,
            (Some(_), None) => break,
            _ => common += more,
        }
    }
    Ok(None)
}

/// The key of an id in a block by ids. Each result of a search asks, so nothing is checked but what
/// reading needs.
pub(crate) fn find_key(body: &[u8], wanted: ItemId) -> Result<Option<Vec<u8>>, Damage> {
    let (mut rest, mut id) = (entries_by_id(body)?, ItemId::MAX);
    let (mut key, mut length) = ([0; MAX_BYTES], 0);
    while !rest.is_empty() {
        let head = Head::take(&mut rest, id)?;
        let end = head.shared + head.suffix.len();
        let Some(place) = key.get_mut(head.shared..end).filter(|_| head.shared <= length) else {
            return Err(KEY);
        };
        // Most are of a byte or two, for which a call takes longer.
        match head.suffix {
            [byte] => place.fill(*byte),
            suffix => place.copy_from_slice(suffix),
        }
        (id, length) = (head.id, end);
        if id >= wanted {
            return Ok(key.get(..length).filter(|_| id == wanted).map(<[u8]>::to_vec));
        }
    }
    Ok(None)
}

/// Appends an entry after one with this key and id.
fn put_entry(out: &mut Vec<u8>, (before, before_id): (&[u8], ItemId), (key, id): &Entry) {
    let shared = shared(before, key);
    let difference = id.wrapping_sub(before_id.wrapping_add(1)) as i32;
    put_number(out, (key.len() - shared) as u32 * 2 + u32::from(difference != 0));
    put_number(out, shared as u32);
    out.extend_from_slice(&key[shared..]);
    if difference != 0 {
        put_number(out, zigzag(difference));
    }
}

/// The body of a block of these entries, which are in order.
fn encode(order: Order, entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(FULL_BYTES);
    let mut before = match (order, entries) {
        (Order::Keys, [(first, _), ..]) => (&first[..], ItemId::MAX),
        _ => (&[][..], ItemId::MAX),
    };
    if order == Order::Ids {
        out.extend([0; size_of::<u32>()]);
    }
    for entry in entries {
        put_entry(&mut out, before, entry);
        before = (&entry.0[..], entry.1);
    }
    if order == Order::Ids {
        let bytes = (out.len() + checksum::BYTES) as u32;
        out[..size_of::<u32>()].copy_from_slice(&bytes.to_le_bytes());
    }
    out
}

/// What is not parted by the end of a block: an entry, or a group of ids.
struct Unit {
    /// Its first entry.
    first: usize,
    bytes: usize,
}

fn units(order: Order, entries: &[Entry]) -> Vec<Unit> {
    let (mut units, mut scratch) = (Vec::<Unit>::new(), Vec::new());
    let mut before: Option<&Entry> = None;
    for (nth, entry) in entries.iter().enumerate() {
        scratch.clear();
        put_entry(&mut scratch, before.map_or((&[][..], 0), |(key, id)| (&key[..], *id)), entry);
        let is_new = match (order, before) {
            (Order::Ids, Some((_, before))) => before / GROUP != entry.1 / GROUP,
            _ => true,
        };
        match units.last_mut() {
            Some(unit) if !is_new => unit.bytes += scratch.len(),
            _ => units.push(Unit { first: nth, bytes: scratch.len() }),
        }
        before = Some(entry);
    }
    units
}

/// Whether a block of these entries is so small that it should be merged with the next.
pub(crate) fn is_small(entries: &[Entry]) -> bool {
    let mut bytes = 0;
    let mut before: &[u8] = &[];
    for (key, _) in entries {
        bytes += 2 + key.len() - shared(before, key);
        if bytes >= LEAST_BYTES {
            return false;
        }
        before = key;
    }
    true
}

/// The blocks of these entries, which are in order: the first entry of each, by its place, and its
/// body. If `is_appended`, all but the last are as full as can be; else all are equally full.
pub(crate) fn pack(order: Order, entries: &[Entry], is_appended: bool) -> Vec<(usize, Vec<u8>)> {
    let units = units(order, entries);
    let total: usize = units.iter().map(|unit| unit.bytes).sum();
    let blocks = total.div_ceil(FULL_BYTES);
    let mut starts: Vec<usize> = Vec::new();
    let (mut in_block, mut all, mut last) = (0, 0, 0);
    for unit in &units {
        let nth = all * blocks / total.max(1);
        let is_next = if is_appended { in_block + unit.bytes > FULL_BYTES } else { nth > last };
        if starts.is_empty() || is_next {
            starts.push(unit.first);
            (in_block, last) = (0, nth);
        }
        in_block += unit.bytes;
        all += unit.bytes;
    }
    let ends = starts.iter().skip(1).copied().chain([entries.len()]);
    let blocks = starts.iter().zip(ends);
    blocks.map(|(start, end)| (*start, encode(order, &entries[*start..end]))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All entries of blocks, and what each key and id of them leads to.
    fn unpacked(order: Order, entries: &[Entry], blocks: &[(usize, Vec<u8>)]) -> Vec<Entry> {
        let mut found = Vec::new();
        for (first, body) in blocks {
            let list = match order {
                Order::Keys => Entries::by_key(&entries[*first].0, body).all().unwrap(),
                Order::Ids => Entries::by_id(body).unwrap().all().unwrap(),
            };
            assert_eq!(list[0], entries[*first]);
            assert_eq!(encode(order, &list), *body);
            for (key, id) in &list {
                match order {
                    Order::Keys => assert_eq!(find_id(&list[0].0, body, key), Ok(Some(*id))),
                    Order::Ids => assert_eq!(find_key(body, *id), Ok(Some(key.clone()))),
                }
            }
            found.extend(list);
        }
        found
    }

    fn key() -> impl Strategy<Value = Vec<u8>> {
        let few = proptest::collection::vec(0u8..3, 1..12);
        let names = (0u32..400).prop_map(|n| format!("a common name {n:03}").into_bytes());
        let any = proptest::collection::vec(any::<u8>(), 1..=MAX_BYTES);
        prop_oneof![4 => few, 4 => names, 1 => any]
    }

    fn id() -> impl Strategy<Value = ItemId> {
        prop_oneof![8 => 0u32..500, 1 => any::<u32>()]
    }

    proptest! {
        #[test]
        fn entries_come_back_from_their_blocks_in_both_orders(
            map in proptest::collection::btree_map(key(), id(), 1..300),
            others in proptest::collection::vec(key(), 20),
            is_appended: bool,
        ) {
            let entries: Vec<Entry> = map.clone().into_iter().collect();
            let blocks = pack(Order::Keys, &entries, is_appended);
            prop_assert_eq!(unpacked(Order::Keys, &entries, &blocks), entries.clone());
            for wanted in others {
                // In the last block that does not begin after it.
                let block = blocks.iter().rev().find(|(first, _)| entries[*first].0 <= wanted);
                let found = block.and_then(|(first, body)| {
                    find_id(&entries[*first].0, body, &wanted).unwrap()
                });
                prop_assert_eq!(found, map.get(&wanted).copied());
                // A key before all of a block is in none.
                let (first, body) = &blocks[0];
                let is_before = wanted < entries[*first].0;
                prop_assert!(!is_before || find_id(&entries[0].0, body, &wanted) == Ok(None));
            }
            let by_id: std::collections::BTreeMap<ItemId, Vec<u8>> =
                map.into_iter().map(|(key, id)| (id, key)).collect();
            let entries: Vec<Entry> = by_id.into_iter().map(|(id, key)| (key, id)).collect();
            let blocks = pack(Order::Ids, &entries, is_appended);
            prop_assert_eq!(unpacked(Order::Ids, &entries, &blocks), entries.clone());
            // A group of ids is in one block.
            for pair in blocks.windows(2) {
                let [before, after] = [pair[1].0 - 1, pair[1].0].map(|at| entries[at].1 / GROUP);
                prop_assert!(before < after);
            }
            let end = blocks.get(1).map_or(entries.len(), |(first, _)| *first);
            let expected = entries[..end].iter().find(|(_, id)| *id == 77);
            let expected = expected.map(|(key, _)| key.clone());
            prop_assert_eq!(find_key(&blocks[0].1, 77), Ok(expected));
        }

        #[test]
        fn any_bytes_decode_to_entries_in_order_or_to_damage(
            body in proptest::collection::vec(prop_oneof![0u8..8, any::<u8>()], 0..60),
            first in key(),
            wanted in key(),
        ) {
            let _ = find_id(&first, &body, &wanted);
            let _ = find_key(&body, 3);
            if let Ok(list) = Entries::by_key(&first, &body).all() {
                prop_assert!(list.is_sorted_by(|a, b| a.0 < b.0) && list[0].0 == first);
                prop_assert_eq!(encode(Order::Keys, &list), body.clone());
                for (key, id) in &list {
                    prop_assert_eq!(find_id(&first, &body, key), Ok(Some(*id)));
                }
            }
            let mut body = [&[0; 4], &body[..]].concat();
            let bytes = (body.len() + checksum::BYTES) as u32;
            body[..4].copy_from_slice(&bytes.to_le_bytes());
            if let Ok(list) = Entries::by_id(&body).and_then(Entries::all) {
                prop_assert!(list.is_sorted_by(|a, b| a.1 < b.1));
                prop_assert_eq!(encode(Order::Ids, &list), body);
            }
        }
    }

    #[test]
    fn each_changed_byte_of_a_block_gives_other_entries_or_damage() {
        let entries: Vec<Entry> =
            (0..40u32).map(|n| (format!("key {:02}", n * 2).into_bytes(), n * n % 41)).collect();
        let body = encode(Order::Keys, &entries);
        for at in 0..body.len() {
            for bit in 0..8 {
                let mut body = body.clone();
                body[at] ^= 1 << bit;
                let found = Entries::by_key(b"key 00", &body).all();
                assert_ne!(found.as_ref(), Ok(&entries), "byte {at}, bit {bit}");
                for wanted in ["key 00", "key 31", "key 78", "key", "l"] {
                    let _ = find_id(b"key 00", &body, wanted.as_bytes());
                }
            }
            assert_ne!(Entries::by_key(b"key 00", &body[..at]).all(), Ok(entries.clone()));
        }
    }

    #[test]
    fn blocks_are_full_after_appending_and_equally_full_otherwise() {
        let entries: Vec<Entry> =
            (0..2000).map(|n| (format!("a tenant, a key {n:04}").into_bytes(), n)).collect();
        for order in [Order::Keys, Order::Ids] {
            let bodies = |is_appended| {
                let blocks = pack(order, &entries, is_appended);
                blocks.iter().map(|(_, body)| body.len()).collect::<Vec<_>>()
            };
            let [appended, even] = [true, false].map(bodies);
            let (_, full) = appended.split_last().unwrap();
            assert!(full.iter().all(|bytes| (900..1000).contains(bytes)), "{appended:?}");
            assert!(even.iter().all(|bytes| (700..1050).contains(bytes)), "{even:?}");
            // Three bytes, and now and then one more.
            assert!(even.iter().sum::<usize>() < 2000 * 34 / 10);
        }
        assert!(is_small(&entries[..60]) && !is_small(&entries[..80]));
    }

    #[test]
    fn numbers_come_back_and_have_one_form() {
        for number in [0, 1, 127, 128, 16_383, 16_384, 1 << 28, u32::MAX] {
            let mut bytes = Vec::new();
            put_number(&mut bytes, number);
            let mut rest = &bytes[..];
            assert_eq!((take_number(&mut rest), rest.len()), (Ok(number), 0));
            assert_eq!(take_number(&mut &bytes[..bytes.len() - 1]), Err(SHORT));
            assert_eq!(zigzag(unzigzag(number)), number);
        }
        for wrong in [&[0x80, 0][..], &[0xFF, 0xFF, 0xFF, 0xFF, 0x10], &[0xFF; 6]] {
            assert_eq!(take_number(&mut &*wrong), Err(NUMBER));
        }
    }
}
