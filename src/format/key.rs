//! Keys: 8 bytes, big-endian, so that LMDB's byte order is the order of index, kind, sub and
//! number. Those that end in the key of an item are longer, and in `item_keys`.

use std::fmt;

/// What a value holds. The number is the third byte of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Kind {
    /// What the index is, and its counts.
    Meta = 0,
    /// Blocks of vectors.
    Vectors = 1,
    /// Single vectors, beyond the last block.
    Tail = 2,
    /// Codes of vectors, and what they were made with.
    Codes = 3,
    /// Neighbor lists.
    Links = 4,
    /// Neighbor lists that found no room in their group.
    Spill = 5,
    /// In-neighbors of slots that have many.
    In = 6,
    /// Slot to item id.
    SlotIds = 7,
    /// Item id to slot.
    IdSlots = 8,
    /// Sets of slots.
    Sets = 9,
    /// What recent transactions have rewritten.
    Delta = 10,
    /// The keys that name items, of an index whose items have any.
    Keys = 14,
}

impl Kind {
    /// Every kind that this version writes, in key order.
    pub(crate) const ALL: [Self; 12] = [
        Self::Meta,
        Self::Vectors,
        Self::Tail,
        Self::Codes,
        Self::Links,
        Self::Spill,
        Self::In,
        Self::SlotIds,
        Self::IdSlots,
        Self::Sets,
        Self::Delta,
        Self::Keys,
    ];

    /// The kind of what lies under a key of LMDB's, which is longer than others where it ends in
    /// the key of an item.
    pub(crate) fn of(key: &[u8]) -> Option<Self> {
        let kind = Self::from_byte(*key.get(2)?)?;
        (key.len() == Key::BYTES || kind == Self::Keys).then_some(kind)
    }

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// The key of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The index that the value belongs to.
    pub index: u16,
    /// What it holds.
    pub kind: Kind,
    /// Layer or set, by kind.
    pub sub: u8,
    /// Block, group, slot or chunk, by kind.
    pub n: u32,
}

impl Key {
    pub(crate) const BYTES: usize = 8;

    pub(crate) fn new(index: u16, kind: Kind, sub: u8, n: u32) -> Self {
        Self { index, kind, sub, n }
    }

    pub(crate) fn meta(index: u16) -> Self {
        Self::new(index, Kind::Meta, 0, 0)
    }

    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let [i0, i1] = self.index.to_be_bytes();
        let [n0, n1, n2, n3] = self.n.to_be_bytes();
        [i0, i1, self.kind as u8, self.sub, n0, n1, n2, n3]
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let &[i0, i1, kind, sub, n0, n1, n2, n3] = bytes else { return None };
        let kind = Kind::from_byte(kind)?;
        Some(Self {
            index: u16::from_be_bytes([i0, i1]),
            kind,
            sub,
            n: u32::from_be_bytes([n0, n1, n2, n3]),
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, kind, sub, n } = self;
        write!(f, "the value {kind:?}/{sub}/{n} of index {index}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_and_sort_as_their_fields() {
        let mut keys = Vec::new();
        for index in [0, 1, u16::MAX] {
            for kind in Kind::ALL {
                for sub in [0, 3, u8::MAX] {
                    for n in [0, 255, 256, u32::MAX] {
                        keys.push(Key::new(index, kind, sub, n));
                    }
                }
            }
        }
        assert!(keys.is_sorted_by(|a, b| a < b && a.to_bytes() < b.to_bytes()));
        for key in keys {
            assert_eq!(Key::from_bytes(&key.to_bytes()), Some(key));
        }
        assert_eq!(Key::from_bytes(&[0; 7]), None);
        assert_eq!(Key::from_bytes(&[0, 0, 99, 0, 0, 0, 0, 0]), None);
        assert_eq!(
            (Kind::of(&[0, 0, 9, 0, 0, 0, 0, 0]), Kind::of(&[0, 0, 9, 0, 0]), Kind::of(&[0, 0])),
            (Some(Kind::Sets), None, None)
        );
        assert_eq!(Kind::of(&[0, 0, 14, 0, b'a']), Some(Kind::Keys));
    }
}
