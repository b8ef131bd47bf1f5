//! The codes of inverted lists: those of the slots of one list after the other, in blocks of a
//! page, so that a search reads them in sequence.
//!
//! A block has its codes, and then the slots that they are of. All blocks of a list but the last
//! are full. Entries are in no order: a new one is appended, and the last one takes the place of
//! one that goes, so that a change rewrites the blocks that it touches and the last.

use super::PIECE_BITS;
use crate::format::Damage;
use crate::format::checksum;

/// The most bytes of a block, with its checksum: a page of LMDB has as much room.
const BLOCK_BYTES: usize = 4080;
const SLOT_BYTES: usize = size_of::<u32>();

/// The number of entries of a full block of a list of `size` slots, whose codes have `stride`
/// bytes: more than usual only where there would be too many blocks.
pub(crate) fn block_entries(stride: usize, size: usize) -> usize {
    let mut entries = ((BLOCK_BYTES - checksum::BYTES) / (stride + SLOT_BYTES)).max(1);
    while size.div_ceil(entries) > 1 << PIECE_BITS {
        entries *= 2;
    }
    entries
}

/// The number of blocks of a list of `size` slots.
pub(crate) fn blocks(stride: usize, size: usize) -> u32 {
    size.div_ceil(block_entries(stride, size)) as u32
}

/// The codes of a block, and their slots.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block<'a> {
    pub(crate) codes: &'a [u8],
    slots: &'a [[u8; SLOT_BYTES]],
}

impl<'a> Block<'a> {
    #[inline]
    pub(crate) fn decode(stride: usize, body: &'a [u8]) -> Result<Self, Damage> {
        let count = body.len() / (stride + SLOT_BYTES);
        if count == 0 || count * (stride + SLOT_BYTES) != body.len() {
            return Err("a block of codes does not consist of whole entries");
        }
        let (codes, slots) = body.split_at(count * stride);
        Ok(Self { codes, slots: slots.as_chunks().0 })
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The slot of an entry, by its number.
    #[inline]
    pub(crate) fn slot(&self, entry: usize) -> Option<u32> {
        self.slots.get(entry).map(|slot| u32::from_le_bytes(*slot))
    }

    #[inline]
    pub(crate) fn slots(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.slots.iter().map(|slot| u32::from_le_bytes(*slot))
    }
}

/// The entries of a list, or of its last blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entries {
    stride: usize,
    pub(crate) slots: Vec<u32>,
    codes: Vec<u8>,
}

impl Entries {
    pub(crate) fn new(stride: usize) -> Self {
        Self { stride, slots: Vec::new(), codes: Vec::new() }
    }

    /// Appends the entries of a block.
    pub(crate) fn append(&mut self, body: &[u8]) -> Result<(), Damage> {
        let block = Block::decode(self.stride, body)?;
        self.slots.extend(block.slots());
        self.codes.extend(block.codes);
        Ok(())
    }

    /// Appends an entry. The code has the length that all have.
    pub(crate) fn push(&mut self, slot: u32, code: &[u8]) {
        debug_assert_eq!(code.len(), self.stride, "the length of a code");
        self.slots.push(slot);
        self.codes.extend(code);
    }

    fn code(&mut self, at: usize) -> Option<&mut [u8]> {
        self.codes.get_mut(at * self.stride..(at + 1) * self.stride)
    }

    /// Changes the entry of each slot for which `new` returns `Some`: to another code, or to none.
    /// The last entry takes the place of one that goes.
    pub(crate) fn change<'c>(&mut self, new: impl Fn(u32) -> Option<Option<&'c [u8]>>) {
        let mut at = 0;
        while let Some(slot) = self.slots.get(at) {
            match new(*slot) {
                None => at += 1,
                Some(Some(code)) => {
                    if let Some(old) = self.code(at).filter(|old| old.len() == code.len()) {
                        old.copy_from_slice(code);
                    }
                    at += 1;
                }
                Some(None) => {
                    self.slots.swap_remove(at);
                    let last = self.slots.len() * self.stride;
                    self.codes.copy_within(last.., at * self.stride);
                    self.codes.truncate(last);
                }
            }
        }
    }

    /// The bodies of the blocks of `entries` entries each.
    pub(crate) fn bodies(&self, entries: usize) -> impl Iterator<Item = Vec<u8>> + '_ {
        let codes = self.codes.chunks(entries * self.stride);
        self.slots.chunks(entries).zip(codes).map(|(slots, codes)| {
            // A build holds those of all lists at once: with no more room than they take.
            let bytes = codes.len() + size_of_val(slots) + checksum::BYTES;
            let mut body = Vec::with_capacity(bytes);
            body.extend(codes);
            slots.iter().for_each(|slot| body.extend(slot.to_le_bytes()));
            body
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(stride: usize, slots: impl IntoIterator<Item = u32>) -> Entries {
        let mut all = Entries::new(stride);
        slots.into_iter().for_each(|slot| all.push(slot, &code(stride, slot)));
        all
    }

    /// A code that tells the slot.
    fn code(stride: usize, slot: u32) -> Vec<u8> {
        (0..stride).map(|i| (slot as usize * 7 + i) as u8).collect()
    }

    #[test]
    fn a_block_fits_a_page_and_its_entries_come_back() {
        for stride in [13, 60, 128, 204, 396, 1548, 4039, 5000, 65_547] {
            let per_block = block_entries(stride, 100);
            let all = entries(stride, (0..100).map(|i| i * 3));
            let bodies: Vec<Vec<u8>> = all.bodies(per_block).collect();
            assert_eq!(bodies.len() as u32, blocks(stride, 100), "{stride}");
            let mut found = Entries::new(stride);
            for body in &bodies {
                assert!(body.len() + checksum::BYTES <= BLOCK_BYTES || per_block == 1, "{stride}");
                found.append(body).unwrap();
            }
            assert_eq!(found, all);
            assert!(found.append(&bodies[0][1..]).is_err() && found.append(&[]).is_err());
        }
        // A list of any size has a number for each of its blocks.
        for size in [0, 1, 4096 * 19, 4096 * 19 + 1, u32::MAX as usize - 1] {
            assert!(blocks(204, size) <= 1 << PIECE_BITS, "{size}");
        }
    }

    #[test]
    fn the_last_entry_takes_the_place_of_one_that_goes() {
        let mut all = entries(5, 0..10);
        let other = code(5, 99);
        all.change(|slot| match slot {
            1 | 8 | 9 => Some(None),
            4 => Some(Some(&other)),
            _ => None,
        });
        let mut expected = entries(5, [0, 7, 2, 3]);
        expected.push(4, &other);
        [5, 6].into_iter().for_each(|slot| expected.push(slot, &code(5, slot)));
        assert_eq!(all, expected);
        all.change(|_| Some(None));
        assert_eq!(all, Entries::new(5));
    }
}
