//! Keys: 8 bytes, big-endian, so that LMDB's byte order is the order of index, kind, sub and
//! number. Keys that end in an item key are longer, and are in `item_keys`.

use std::fmt;

use crate::kinds::each_kind;

/// The kind of a value: the third byte of its key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(u8);

impl Kind {
    /// Metadata: the parameters of the index, and its counts.
    pub const META: Self = Self(0);
    /// Blocks of vectors.
    pub const VECTORS: Self = Self(1);
    /// Single vectors in the tail, beyond the last block.
    pub const TAIL: Self = Self(2);
    /// Quantized codes of vectors, and their training.
    pub const CODES: Self = Self(3);
    /// Neighbor lists, in groups.
    pub const LINKS: Self = Self(4);
    /// Neighbor lists that did not fit into their group.
    pub const SPILL: Self = Self(5);
    /// In-neighbors of slots that have many.
    pub const IN: Self = Self(6);
    /// Slot to item id.
    pub const SLOT_IDS: Self = Self(7);
    /// Item id to slot.
    pub const ID_SLOTS: Self = Self(8);
    /// Sets of slots.
    pub const SETS: Self = Self(9);
    /// The values that recent transactions have rewritten.
    pub const DELTA: Self = Self(10);
    /// The records of items.
    pub const RECORDS: Self = Self(13);
    /// The keys that name items, in an index whose items have keys.
    pub const KEYS: Self = Self(14);
    /// No values: its part in the metadata says that the index has no graph.
    pub const NO_GRAPH: Self = Self(18);
    /// The items that have a value of a field.
    pub const FIELDS: Self = Self(15);

    /// The kinds that `docs/format.md` names, with their names, but for those of [`OF_KINDS`].
    const NAMES: &[(Self, &'static str)] = &[
        (Self::META, "META"),
        (Self::VECTORS, "VECTORS"),
        (Self::TAIL, "TAIL"),
        (Self::CODES, "CODES"),
        (Self::LINKS, "LINKS"),
        (Self::SPILL, "SPILL"),
        (Self::IN, "IN"),
        (Self::SLOT_IDS, "SLOT_IDS"),
        (Self::ID_SLOTS, "ID_SLOTS"),
        (Self::SETS, "SETS"),
        (Self::DELTA, "DELTA"),
        (Self::RECORDS, "RECORDS"),
        (Self::KEYS, "KEYS"),
        (Self::FIELDS, "FIELDS"),
        (Self::NO_GRAPH, "NO_GRAPH"),
    ];

    /// A kind by its byte, known to this version or not: the list of sections tells.
    pub(crate) const fn new(byte: u8) -> Self {
        Self(byte)
    }

    pub(crate) fn byte(self) -> u8 {
        self.0
    }

    /// Whether the LMDB keys of this kind have any length: they end in item keys, or in values of
    /// fields.
    pub(crate) fn has_long_keys(self) -> bool {
        self == Self::KEYS || self == Self::FIELDS
    }

    /// Whether it has values of a kind of index: they follow from the vectors.
    pub(crate) fn is_of_index_kind(self) -> bool {
        OF_KINDS.iter().any(|(kind, _)| *kind == self)
    }

    /// The kind of an LMDB key.
    pub(crate) fn of(key: &[u8]) -> Option<Self> {
        let kind = Self(*key.get(2)?);
        (key.len() == Key::BYTES || kind.has_long_keys()).then_some(kind)
    }
}

/// The values of kinds of index.
macro_rules! keys {
    ($($(#[$about:meta])* $kind:ident $name:literal
        keys { $($(#[$doc:meta])* $key:ident = $byte:literal;)* }
        section $section:tt snapshot $snapshot:tt paths $paths:tt efforts $efforts:tt
        stats $stats:tt invariants $invariants:tt)*
    ) => {
        impl Kind {
            $($($(#[$doc])* pub const $key: Self = Self($byte);)*)*
        }

        const OF_KINDS: &[(Kind, &str)] = &[$($((Kind::$key, stringify!($key)),)*)*];
    };
}
each_kind!(keys);

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().chain(OF_KINDS).find(|(kind, _)| kind == self) {
            Some((_, name)) => f.pad(name),
            None => write!(f, "kind {}", self.0),
        }
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The key of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The index that the value belongs to.
    pub index: u16,
    /// The kind of the value.
    pub kind: Kind,
    /// Layer, set or other part, depending on the kind.
    pub sub: u8,
    /// Block, group, slot or chunk number, depending on the kind.
    pub n: u32,
}

impl Key {
    pub(crate) const BYTES: usize = 8;

    pub(crate) fn new(index: u16, kind: Kind, sub: u8, n: u32) -> Self {
        Self { index, kind, sub, n }
    }

    pub(crate) fn meta(index: u16) -> Self {
        Self::new(index, Kind::META, 0, 0)
    }

    /// The key after this one, of the same kind. `None` after the last.
    pub(crate) fn next(self) -> Option<Self> {
        match self.n.checked_add(1) {
            Some(n) => Some(Self { n, ..self }),
            None => Some(Self { sub: self.sub.checked_add(1)?, n: 0, ..self }),
        }
    }

    /// The first and the last key that a kind can have.
    pub(crate) fn all_of(index: u16, kind: Kind) -> (Self, Self) {
        (Self::new(index, kind, 0, 0), Self::new(index, kind, u8::MAX, u32::MAX))
    }

    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let [i0, i1] = self.index.to_be_bytes();
        let [n0, n1, n2, n3] = self.n.to_be_bytes();
        [i0, i1, self.kind.0, self.sub, n0, n1, n2, n3]
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let &[i0, i1, kind, sub, n0, n1, n2, n3] = bytes else { return None };
        Some(Self {
            index: u16::from_be_bytes([i0, i1]),
            kind: Kind(kind),
            sub,
            n: u32::from_be_bytes([n0, n1, n2, n3]),
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, kind, sub, n } = self;
        write!(f, "the value {kind}/{sub}/{n} of index {index}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_and_sort_as_their_fields() {
        let mut kinds: Vec<Kind> =
            Kind::NAMES.iter().chain(OF_KINDS).map(|(kind, _)| *kind).collect();
        kinds.sort_unstable();
        let mut keys = Vec::new();
        for index in [0, 1, u16::MAX] {
            for kind in kinds.iter().copied() {
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
        assert_eq!(
            (Kind::of(&[0, 0, 9, 0, 0, 0, 0, 0]), Kind::of(&[0, 0, 9, 0, 0]), Kind::of(&[0, 0])),
            (Some(Kind::SETS), None, None)
        );
        assert_eq!(Kind::of(&[0, 0, 14, 0, b'a']), Some(Kind::KEYS));
    }
}
