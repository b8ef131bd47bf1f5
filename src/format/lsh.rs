//! LSH: tables of hashes, and their training.
//!
//! A table is a trie. An item goes by the digits of its hash, and beyond them by those of its slot,
//! so that many items with one hash do not share one value. A node is a **leaf**, which lists the
//! hash and the slot of each item that comes there, or, once these were more than [`MAX_LEAF`], a
//! **split**, which says which of its children exist. There is no root: the nodes of the first
//! level have one digit.

use super::{Damage, Key, Kind, take, take_u32};

/// The sub of the key of the training, a [`Trained`](super::codes::Trained) like that of the codes.
pub(crate) const TRAINED: u8 = u8::MAX;
/// The maximum number of tables: a sub has 5 bits for them.
pub(crate) const MAX_TABLES: usize = 31;
const TABLE_BITS: u32 = 5;
/// The number of digits of a hash, and the bits of a digit.
pub(crate) const DIGITS: u32 = crate::lsh::DIGITS as u32;
pub(crate) const DIGIT_BITS: u32 = crate::lsh::DIGIT_BITS;
/// The last level. The two levels after the digits of the hash go by those of the slot.
pub(crate) const LAST: u32 = DIGITS + 2;
/// The maximum number of items of a leaf, except on the last level: a value then has about 1 kB.
pub(crate) const MAX_LEAF: usize = 128;
/// The length of the value, and the number of items.
const HEADER_BYTES: usize = 8;
/// In place of the number of items: the node is split.
const SPLIT: u32 = u32::MAX;

/// An item in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) hash: u32,
    pub(crate) slot: u32,
}

impl Entry {
    /// The digit that tells the children of a node above `level` apart.
    pub(crate) fn digit(self, level: u32) -> u32 {
        let digits = |number: u32, at: u32| number >> (DIGIT_BITS * at) & ((1 << DIGIT_BITS) - 1);
        match level {
            0..=DIGITS => digits(self.hash, DIGITS.saturating_sub(level.max(1))),
            _ => digits(self.slot, level - DIGITS - 1) & ((1 << bits(level)) - 1),
        }
    }
}

/// The bits of the digit of a level: the last one has 4, so that a number fits a key.
fn bits(level: u32) -> u32 {
    if level == LAST { 4 } else { DIGIT_BITS }
}

/// A node: its level, from 1, and the digits that lead to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Node {
    pub(crate) level: u32,
    pub(crate) prefix: u64,
}

impl Node {
    /// The number of nodes of a level.
    fn count(level: u32) -> u64 {
        1 << (1..=level).map(bits).sum::<u32>()
    }

    /// The number of nodes on the levels above one.
    pub(crate) fn first(level: u32) -> u64 {
        (1..level).map(Self::count).sum()
    }

    /// Its number: the levels one after the other.
    pub(crate) fn number(self) -> u64 {
        Self::first(self.level) + self.prefix
    }

    /// The node of the first level that an item goes to.
    pub(crate) fn top(entry: Entry) -> Self {
        Self { level: 1, prefix: entry.digit(1).into() }
    }

    pub(crate) fn child(self, digit: u32) -> Self {
        let level = self.level + 1;
        Self { level, prefix: self.prefix << bits(level) | u64::from(digit) }
    }

    /// The parent, and the digit that leads from it. `None` on the first level.
    pub(crate) fn parent(self) -> Option<(Self, u32)> {
        let bits = bits(self.level);
        let digit = self.prefix & ((1 << bits) - 1);
        (self.level > 1)
            .then(|| (Self { level: self.level - 1, prefix: self.prefix >> bits }, digit as u32))
    }

    /// The node on the same level that an item would come to.
    pub(crate) fn of(entry: Entry, level: u32) -> Self {
        (2..=level).fold(Self::top(entry), |node, level| node.child(entry.digit(level)))
    }

    /// Its key. The high bits of the number are in the sub.
    pub(crate) fn key(self, index: u16, table: usize) -> Key {
        let number = self.number();
        let sub = table as u8 | ((number >> 32) as u8) << TABLE_BITS;
        Key::new(index, Kind::LSH, sub, number as u32)
    }

    /// The table and the node of a key. `None` if there is no such node.
    pub(crate) fn of_key(key: Key) -> Option<(usize, Self)> {
        let table = usize::from(key.sub & ((1 << TABLE_BITS) - 1));
        let number = u64::from(key.sub >> TABLE_BITS) << 32 | u64::from(key.n);
        let level = (1..=LAST).find(|level| number < Self::first(level + 1))?;
        Some((table, Self { level, prefix: number - Self::first(level) }))
    }
}

/// The content of a node, as a search reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content<'t> {
    /// A bit for each child that exists.
    Split(u32),
    /// The hashes of the items, and their slots, ordered by both.
    Leaf { hashes: &'t [[u8; 4]], slots: &'t [[u8; 4]] },
}

impl<'t> Content<'t> {
    /// Decodes a body. Its order is not verified.
    pub(crate) fn decode(body: &'t [u8]) -> Result<Self, Damage> {
        const LENGTH: Damage = "it does not have the length that it says";
        let length = take_u32(body, 0).ok_or(LENGTH)? as usize;
        let count = take_u32(body, 4).ok_or(LENGTH)?;
        let rest = body.get(HEADER_BYTES..).ok_or(LENGTH)?;
        if length != body.len() + super::checksum::BYTES {
            return Err(LENGTH);
        }
        if count == SPLIT {
            let mask = take(rest, 0).filter(|_| rest.len() == 4).map(u32::from_le_bytes);
            return mask.filter(|mask| *mask > 0).map(Self::Split).ok_or(LENGTH);
        }
        let (words, left) = rest.as_chunks();
        if !left.is_empty() || count == 0 || words.len() != 2 * count as usize {
            return Err(LENGTH);
        }
        let (hashes, slots) = words.split_at(count as usize);
        Ok(Self::Leaf { hashes, slots })
    }

    /// The items of a leaf.
    pub(crate) fn entries(self) -> impl Iterator<Item = Entry> + 't {
        let (hashes, slots) = match self {
            Self::Split(_) => (&[][..], &[][..]),
            Self::Leaf { hashes, slots } => (hashes, slots),
        };
        let pairs = hashes.iter().zip(slots);
        pairs.map(|(hash, slot)| Entry {
            hash: u32::from_le_bytes(*hash),
            slot: u32::from_le_bytes(*slot),
        })
    }
}

/// A node in memory, to be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    Split(u32),
    /// Ascending.
    Leaf(Vec<Entry>),
}

impl Body {
    pub(crate) fn decode(body: &[u8]) -> Result<Self, Damage> {
        Ok(match Content::decode(body)? {
            Content::Split(mask) => Self::Split(mask),
            leaf => Self::Leaf(leaf.entries().collect()),
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let words = match self {
            Self::Split(_) => 1,
            Self::Leaf(entries) => 2 * entries.len(),
        };
        let length = HEADER_BYTES + 4 * words + super::checksum::BYTES;
        let mut out = Vec::with_capacity(length);
        out.extend((length as u32).to_le_bytes());
        match self {
            Self::Split(mask) => {
                out.extend(SPLIT.to_le_bytes());
                out.extend(mask.to_le_bytes());
            }
            Self::Leaf(entries) => {
                out.extend((entries.len() as u32).to_le_bytes());
                out.extend(entries.iter().flat_map(|entry| entry.hash.to_le_bytes()));
                out.extend(entries.iter().flat_map(|entry| entry.slot.to_le_bytes()));
            }
        }
        out
    }

    /// Passes the nodes of a subtree with these items, ascending and not none, to `put`.
    pub(crate) fn subtree(node: Node, entries: Vec<Entry>, put: &mut impl FnMut(Node, Self)) {
        if entries.len() <= MAX_LEAF || node.level == LAST {
            return put(node, Self::Leaf(entries));
        }
        let mut parts: Vec<Vec<Entry>> = vec![Vec::new(); 1 << bits(node.level + 1)];
        for entry in entries {
            parts[entry.digit(node.level + 1) as usize].push(entry);
        }
        let children = (0..).zip(parts).filter(|(_, part)| !part.is_empty());
        let mask = children.fold(0, |mask, (digit, part)| {
            Self::subtree(node.child(digit), part, put);
            mask | 1 << digit
        });
        put(node, Self::Split(mask));
    }
}

/// The part of META: what an index has of tables.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Part {
    /// Whether the tables have been made, by the first build that has found an item.
    pub(crate) is_built: bool,
    /// The number of tables.
    pub(crate) tables: u8,
    /// The number of items at the training, or when it was judged last.
    pub(crate) items: u32,
    /// The number of vectors hashed since then, and the sum of their squared distances from the
    /// center.
    pub(crate) added: u32,
    pub(crate) squares: f64,
}

impl Part {
    const BYTES: usize = 20;

    /// The part of an index without tables.
    pub(crate) const NONE: Self =
        Self { is_built: false, tables: 0, items: 0, added: 0, squares: 0.0 };

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::BYTES);
        out.extend([u8::from(self.is_built), self.tables, 0, 0]);
        out.extend(self.items.to_le_bytes());
        out.extend(self.added.to_le_bytes());
        out.extend(self.squares.to_le_bytes());
        out
    }

    pub(crate) fn decode(part: &[u8]) -> Result<Self, Damage> {
        const WRONG: Damage = "what it says of the tables of hashes is impossible";
        let [is_built, tables, 0, 0] = take(part, 0).ok_or(WRONG)? else { return Err(WRONG) };
        let squares = take(part, 12).map(f64::from_le_bytes).ok_or(WRONG)?;
        let count = |at| take_u32(part, at).ok_or(WRONG);
        let found =
            Self { is_built: is_built == 1, tables, items: count(4)?, added: count(8)?, squares };
        let is_possible = part.len() == Self::BYTES
            && is_built <= 1
            && usize::from(tables) <= MAX_TABLES
            && found.is_built == (tables > 0)
            && squares.is_finite()
            && squares >= 0.0;
        if is_possible { Ok(found) } else { Err(WRONG) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_has_a_number_of_its_own_and_comes_back_from_its_key() {
        let entry = Entry { hash: 0x01FF_FFFF, slot: u32::MAX };
        for (entry, table) in [(entry, 30), (Entry { hash: 0, slot: 0 }, 0)] {
            for level in 1..=LAST {
                let node = Node::of(entry, level);
                assert_eq!(Node::of_key(node.key(3, table)), Some((table, node)), "{node:?}");
                assert!(node.number() < Node::first(level + 1));
                if let Some((parent, digit)) = node.parent() {
                    assert_eq!((parent.child(digit), digit), (node, entry.digit(level)));
                }
            }
        }
        let beyond = Node { level: LAST, prefix: Node::first(LAST) << 4 };
        assert!(Node::first(LAST + 1) < 1 << 35 && beyond.number() < 1 << 35);
        assert_eq!(Node::of_key(Key::new(0, Kind::LSH, TRAINED, 0)), None);
    }

    #[test]
    fn a_subtree_has_each_item_once_in_small_leaves() {
        let entries: Vec<Entry> =
            (0..5000).map(|slot| Entry { hash: (7 << 20) | (slot % 3), slot }).collect();
        let mut sorted = entries.clone();
        sorted.sort_unstable();
        let mut nodes = std::collections::BTreeMap::new();
        Body::subtree(Node::top(entries[0]), sorted.clone(), &mut |node, body| {
            nodes.insert(node, body);
        });
        let mut found: Vec<Entry> = Vec::new();
        for (node, body) in &nodes {
            assert_eq!(Body::decode(&body.encode()).as_ref(), Ok(body));
            assert!(Body::decode(&[&body.encode()[..], &[0; 4]].concat()).is_err());
            match body {
                Body::Leaf(leaf) => {
                    assert!(leaf.len() <= MAX_LEAF && leaf.is_sorted());
                    assert!(leaf.iter().all(|entry| Node::of(*entry, node.level) == *node));
                    found.extend(leaf.iter().copied());
                }
                Body::Split(mask) => {
                    let has = |digit: &u32| nodes.contains_key(&node.child(*digit));
                    let children = (0..32).filter(has).fold(0u32, |mask, digit| mask | 1 << digit);
                    assert_eq!(*mask, children);
                }
            }
        }
        found.sort_unstable();
        assert_eq!(found, sorted);
    }

    #[test]
    fn damage_is_told() {
        let value = |words: &[u32]| -> Vec<u8> {
            words.iter().flat_map(|word| word.to_le_bytes()).collect()
        };
        for words in
            [&[12][..], &[12, 0], &[16, SPLIT, 0], &[20, SPLIT, 1, 2], &[20, 1, 5], &[24, 2, 5, 6]]
        {
            assert!(Content::decode(&value(words)).is_err(), "{words:?}");
        }
        assert_eq!(Content::decode(&value(&[16, SPLIT, 6])), Ok(Content::Split(6)));
        let leaf = value(&[20, 1, 5, 6]);
        assert_eq!(
            Content::decode(&leaf).unwrap().entries().collect::<Vec<_>>(),
            [Entry { hash: 5, slot: 6 }]
        );
        let part = Part { is_built: true, tables: 16, items: 9, added: 2, squares: 1.5 };
        assert_eq!(Part::decode(&part.encode()), Ok(part));
        assert_eq!(Part::decode(&Part::NONE.encode()), Ok(Part::NONE));
        for part in [
            Part { tables: 0, ..part },
            Part { is_built: false, ..part },
            Part { tables: 32, ..part },
            Part { squares: -1.0, ..part },
            Part { squares: f64::NAN, ..part },
        ] {
            assert!(Part::decode(&part.encode()).is_err(), "{part:?}");
        }
        assert!(Part::decode(&[]).is_err() && Part::decode(&[0; 21]).is_err());
    }
}
