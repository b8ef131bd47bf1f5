//! LSH: tables of hashes, and their training.
//!
//! A table lists the slots of all vectors in the order of their hashes. Equal hashes go by the
//! lowest bits of the slots: both together are the *position* of an entry. The list is cut into
//! **pieces**, values whose key has the first position that may be in it; a piece ends where the
//! next one begins. All entries of a piece have the same first digit, and there is a piece that
//! begins with each digit that any has. So an entry has one place, which a search of the greatest
//! key finds, and a change rewrites one piece.

use voisin_kernels::lsh::{DIGIT_BITS, DIGITS};

use crate::format::{Damage, Key, Kind, take, take_u32};

/// The sub of the key of the training, a [`Trained`](crate::format::codes::Trained) like that of
/// the codes.
pub(crate) const TRAINED: u8 = u8::MAX;
/// The maximum number of tables: a sub has 5 bits for them.
pub(crate) const MAX_TABLES: usize = 31;
/// The maximum number of entries of a piece, if they are not all at one position: 1 kB.
pub(crate) const MAX_ENTRIES: usize = 128;
/// The number of bits of a hash, and of the slot that are part of a position.
const HASH_BITS: u32 = DIGIT_BITS * DIGITS as u32;
const SLOT_BITS: u32 = 10;
/// The number of bits of a position below the first digit.
const REGION_BITS: u32 = HASH_BITS + SLOT_BITS - DIGIT_BITS;
/// The number of regions of a table: positions with the same first digit.
pub(crate) const REGIONS: usize = 1 << DIGIT_BITS;
/// The bits of a position in the sub of a key.
const SUB_BITS: u32 = HASH_BITS + SLOT_BITS - u32::BITS;
/// The digits that a piece lists: all but the first.
pub(crate) const PLANES: usize = DIGITS - 1;
/// The layout of tables: before the first release, there was another one.
const LAYOUT: u8 = 1;
/// The bytes of an entry.
const ENTRY_BYTES: usize = PLANES + size_of::<u32>();

/// An item in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) hash: u32,
    pub(crate) slot: u32,
}

/// A place in a table: see the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position(u64);

impl Entry {
    /// Where it is in its table.
    pub(crate) fn position(self) -> Position {
        let low = self.slot & ((1 << SLOT_BITS) - 1);
        Position(u64::from(self.hash) << SLOT_BITS | u64::from(low))
    }

    /// By what the entries of a piece ascend.
    pub(crate) fn order(self) -> (Position, u32) {
        (self.position(), self.slot)
    }
}

impl Position {
    /// The first position of a region.
    pub(crate) fn first_of(region: usize) -> Self {
        Self((region as u64 % REGIONS as u64) << REGION_BITS)
    }

    /// The first position of a hash.
    pub(crate) fn of_hash(hash: u32) -> Self {
        Self(u64::from(hash) << SLOT_BITS)
    }

    /// The last position of the same region.
    pub(crate) fn last_of_region(self) -> Self {
        Self(self.0 | ((1 << REGION_BITS) - 1))
    }

    /// The first digit.
    pub(crate) fn region(self) -> usize {
        (self.0 >> REGION_BITS) as usize
    }

    /// The hash at this position.
    pub(crate) fn hash(self) -> u32 {
        (self.0 >> SLOT_BITS) as u32
    }

    /// Whether no position of the region is before it.
    pub(crate) fn is_first(self) -> bool {
        self == Self::first_of(self.region())
    }

    /// The position before. Not asked of the very first.
    pub(crate) fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// The key of the piece that begins here.
    pub(crate) fn key(self, index: u16, table: usize) -> Key {
        let sub = (table as u8) << SUB_BITS | (self.0 >> u32::BITS) as u8;
        Key::new(index, Kind::LSH, sub, self.0 as u32)
    }

    /// The table and the position of a key.
    pub(crate) fn of_key(key: Key) -> (usize, Self) {
        let (table, high) = (key.sub >> SUB_BITS, key.sub & ((1 << SUB_BITS) - 1));
        (table.into(), Self(u64::from(high) << u32::BITS | u64::from(key.n)))
    }
}

/// A piece, as a search reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece<'t> {
    /// The digits of all entries but the first ones, one after the other: those of one digit of all
    /// entries, then those of the next.
    pub(crate) planes: &'t [u8],
    pub(crate) slots: &'t [[u8; 4]],
    /// The first digit of all entries.
    pub(crate) region: usize,
}

impl<'t> Piece<'t> {
    /// Decodes the body of a piece of a region. Its digits and its order are not verified.
    pub(crate) fn decode(region: usize, body: &'t [u8]) -> Result<Self, Damage> {
        const LENGTH: Damage = "it does not have the length of a piece";
        let count = body.len() / ENTRY_BYTES;
        let (planes, slots) = body.split_at_checked(count * PLANES).ok_or(LENGTH)?;
        let (slots, left) = slots.as_chunks();
        if slots.len() != count || count == 0 || !left.is_empty() {
            return Err(LENGTH);
        }
        Ok(Self { planes, slots, region })
    }

    /// Its entries.
    pub(crate) fn entries(self) -> impl Iterator<Item = Entry> + 't {
        let count = self.slots.len();
        (0..count).zip(self.slots).map(move |(at, slot)| {
            let digits = self.planes.chunks_exact(count).map(|plane| u32::from(plane[at]));
            let hash = digits.fold(self.region as u32, |hash, digit| hash << DIGIT_BITS | digit);
            Entry { hash, slot: u32::from_le_bytes(*slot) }
        })
    }

    /// Whether its digits are digits, and its entries ascend, in a piece that begins at `first`.
    pub(crate) fn check(self, first: Position) -> Result<(), Damage> {
        if self.planes.iter().any(|digit| usize::from(*digit) >= REGIONS) {
            return Err("a digit is too large");
        }
        if !self.entries().is_sorted_by(|a, b| a.order() < b.order()) {
            return Err("its entries do not ascend");
        }
        if self.entries().next().is_some_and(|entry| entry.position() < first) {
            return Err("an entry is before its first position");
        }
        let is_one = || {
            let mut positions = self.entries().map(Entry::position);
            let first = positions.next();
            positions.all(|position| Some(position) == first)
        };
        if self.slots.len() > MAX_ENTRIES && !is_one() {
            return Err("it has more entries than a piece may have");
        }
        Ok(())
    }
}

/// The body of a piece with these entries, ascending and not none, of one region.
pub(crate) fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(entries.len() * ENTRY_BYTES);
    for shift in (0..PLANES as u32).rev().map(|digit| digit * DIGIT_BITS) {
        out.extend(entries.iter().map(|entry| (entry.hash >> shift) as u8 % REGIONS as u8));
    }
    out.extend(entries.iter().flat_map(|entry| entry.slot.to_le_bytes()));
    out
}

/// Cuts entries of one region, ascending, into as few and as even parts of at most `most` as
/// possible; more only where all are at one position.
pub(crate) fn cut(mut entries: &[Entry], most: usize) -> Vec<&[Entry]> {
    let mut parts = Vec::new();
    while entries.len() > most {
        let wanted = entries.len().div_ceil(entries.len().div_ceil(most));
        // Where a position ends: before the place that is wanted, or else after it.
        let is_cut = |at: &usize| entries[at - 1].position() != entries[*at].position();
        let before = (1..=wanted).rev().find(is_cut);
        let Some(at) = before.or_else(|| (wanted..entries.len()).find(is_cut)) else { break };
        let (part, rest) = entries.split_at(at);
        parts.push(part);
        entries = rest;
    }
    parts.push(entries);
    parts
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
        out.extend([u8::from(self.is_built), self.tables, LAYOUT, 0]);
        out.extend(self.items.to_le_bytes());
        out.extend(self.added.to_le_bytes());
        out.extend(self.squares.to_le_bytes());
        out
    }

    pub(crate) fn decode(part: &[u8]) -> Result<Self, Damage> {
        const WRONG: Damage = "what it says of the tables of hashes is impossible";
        let [is_built, tables, layout, 0] = take(part, 0).ok_or(WRONG)? else { return Err(WRONG) };
        if layout != LAYOUT {
            return Err("its tables of hashes are of another layout");
        }
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
    fn positions_are_in_the_order_of_their_keys_and_come_back_from_them() {
        let entries = [(0, 0), (0, 1023), (0, 1024), (1, 0), (1 << 20, 7), (0x01FF_FFFF, u32::MAX)];
        let mut before = None;
        for (table, (hash, slot)) in [0, 30].into_iter().flat_map(|t| entries.map(|e| (t, e))) {
            let position = Entry { hash, slot }.position();
            let key = position.key(3, table);
            assert_eq!(Position::of_key(key), (table, position));
            assert_eq!((position.hash(), position.region()), (hash, (hash >> 20) as usize));
            assert!(key.sub != TRAINED && (slot == 1024 || before < Some(key)), "{key:?}");
            before = Some(key);
            let first = Position::first_of(position.region());
            assert!(first <= position && first.is_first() && position <= first.last_of_region());
        }
        assert_eq!(Position::first_of(1).before(), Position::first_of(0).last_of_region());
    }

    #[test]
    fn a_list_is_cut_into_even_pieces_that_come_back_and_only_equal_positions_make_large_ones() {
        let hash = 7 << 20;
        let mut entries: Vec<Entry> = (0..5000u32)
            .map(|slot| Entry { hash: hash | (slot % 3), slot })
            .chain((0..300).map(|nth| Entry { hash: hash | 9, slot: nth * 1024 }))
            .collect();
        entries.sort_unstable_by_key(|entry| entry.order());
        let parts = cut(&entries, MAX_ENTRIES);
        assert_eq!(parts.concat(), entries);
        for part in &parts {
            let body = encode(part);
            let piece = Piece::decode(7, &body).unwrap();
            assert_eq!(piece.entries().collect::<Vec<_>>(), *part);
            assert_eq!(piece.check(part[0].position()), Ok(()));
            assert!(piece.check(Position(part[0].position().0 + 1)).is_err());
            let is_one = part[0].position() == part[part.len() - 1].position();
            assert!(part.len() <= MAX_ENTRIES || is_one && part.len() == 300, "{}", part.len());
        }
        assert!(
            parts
                .windows(2)
                .all(|two| { two[0][two[0].len() - 1].position() < two[1][0].position() })
        );
        assert!(parts.len() <= 5000usize.div_ceil(MAX_ENTRIES) + 3, "{}", parts.len());
    }

    #[test]
    fn damage_is_told() {
        for length in [0, 7, 9, 12] {
            assert!(Piece::decode(0, &vec![0; length]).is_err(), "{length}");
        }
        let entries = [5, 6].map(|slot| Entry { hash: 3 << 20 | 77, slot });
        let body = encode(&entries);
        for (at, bits) in [(0, 32), (0, 1), (6, 1), (8, 4)] {
            let mut body = body.clone();
            body[at] ^= bits;
            let piece = Piece::decode(3, &body).unwrap();
            assert!(piece.check(entries[0].position()).is_err(), "{at}");
        }
        let many: Vec<Entry> = (0..129).map(|slot| Entry { hash: 1, slot }).collect();
        assert!(Piece::decode(0, &encode(&many)).unwrap().check(Position(0)).is_err());
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
