//! Pointer tables: addresses of values by number. With a table, finding a vector costs one load
//! instead of a descent of the B-tree.
//!
//! A table is filled as values are first used, by any thread; two threads that find the same value
//! store the same pointer. A *full* table has a cell for every value: in segments that are
//! allocated on first use, so that a new table costs next to nothing, or *flat*, in one piece, for
//! the values that a search looks up for every vector and every neighbor list. A *bounded* table
//! remembers a fixed number of values, for work that touches few of very many and whose memory must
//! not grow with the index.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::address::Address;
use crate::distance::prefetch_line;
use crate::format::block::Geometry;
use crate::format::take_u32;
use crate::types::Slot;

/// Number of values in a bounded table that is in high demand: the vectors that pruning one node
/// compares, a few times over.
const SMALL: usize = 256;
/// The same, in low demand: upper layers, and rare values.
const SMALLEST: usize = 16;

/// How much memory the pointer tables of a snapshot may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// A cell for every value: the operation touches much of the index, or the tables are kept for
    /// many operations.
    Full,
    /// A fixed number of cells: memory must not depend on the size of the index.
    Bounded,
}

/// The offset at which LMDB puts a value that has pages to itself, from the start of the first
/// page. A value that shares a page with others is never at this offset: the page's directory
/// begins there.
const PAGE_HEADER_BYTES: usize = 16;

/// How the length of a value is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    /// All values have this length in bytes.
    Fixed(usize),
    /// Each value begins with its own length, as `u32`.
    Prefixed,
}

impl Length {
    fn fits(self, value: &[u8]) -> bool {
        match self {
            Self::Fixed(length) => value.len() == length,
            Self::Prefixed => {
                take_u32(value, 0).is_some_and(|length| length as usize == value.len())
            }
        }
    }
}

/// Cells of a segment: one page of pointers.
const SEGMENT: usize = 512;

type Segment = Box<[AtomicPtr<u8>; SEGMENT]>;

/// A segment of null pointers.
fn new_segment() -> Segment {
    bytemuck::zeroed_box()
}

/// A value with its number.
type Numbered<'t> = (usize, &'t [u8]);

#[derive(Debug)]
enum Cells<'t> {
    /// In one piece, which saves a load per lookup. There are few cells, as a value holds many
    /// vectors or lists.
    Flat(Box<[AtomicPtr<u8>]>),
    Full(Box<[OnceLock<Segment>]>),
    /// A direct-mapped cache: a cell holds the latest value with its remainder, and that value's
    /// number.
    Bounded(Box<[Mutex<Option<Numbered<'t>>>]>),
}

/// A pointer table of values of one kind, by number.
#[derive(Debug)]
pub(crate) struct Table<'t> {
    count: usize,
    cells: Cells<'t>,
    length: Length,
    values: PhantomData<&'t [u8]>,
}

/// Direct access to the values within the blocks of a table, at the offsets of their geometry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places<'a, 't> {
    cells: &'a [AtomicPtr<u8>],
    /// A copy: data behind a reference would be reloaded after every acquire load of a pointer.
    geometry: Geometry,
    values: PhantomData<&'t [u8]>,
}

impl<'t> Places<'_, 't> {
    /// The value of a slot, with its factor if it has one, if the block is in the table.
    #[inline(always)]
    pub(crate) fn get(&self, slot: Slot, has_factor: bool) -> Option<Address<'t>> {
        let (block, place) = self.geometry.place(slot);
        // Acquire: the thread that stored the pointer has checked the bytes behind it.
        let pointer = self.cells.get(block)?.load(Ordering::Acquire);
        if pointer.is_null() || place >= self.geometry.vectors as usize {
            return None;
        }
        // SAFETY: `set` was given a slice of the length of a block at this address, which lives,
        // unchanged, as long as 't. Values and factors of all places below the number of vectors in
        // a block lie within it: [`Table::places`] has checked that.
        unsafe {
            let bytes = std::slice::from_raw_parts(
                pointer.add(self.geometry.vector_offset(place)),
                self.geometry.stride,
            );
            let has_factor = has_factor && self.geometry.factor == size_of::<f32>();
            let factor = if has_factor {
                pointer.add(self.geometry.factor_offset(place)).cast::<[u8; 4]>().read()
            } else {
                [0; 4]
            };
            Some(Address { bytes, factor: f32::from_le_bytes(factor) })
        }
    }
}

/// The entry of a value that does not exist: only its own length.
static ABSENT: [u8; 4] = 4u32.to_le_bytes();

impl<'t> Table<'t> {
    /// A table for `count` values of `bytes` bytes each.
    pub(crate) fn fixed(memory: Memory, count: usize, bytes: usize) -> Self {
        Self::new(memory, count, Length::Fixed(bytes), SMALL)
    }

    /// A table for `count` blocks of `bytes` bytes each.
    pub(crate) fn blocks(memory: Memory, count: usize, bytes: usize) -> Self {
        Self::flat(memory, count, Length::Fixed(bytes))
    }

    /// A table for `count` groups of lists, which begin with their length.
    pub(crate) fn groups(memory: Memory, count: usize) -> Self {
        Self::flat(memory, count, Length::Prefixed)
    }

    fn flat(memory: Memory, count: usize, length: Length) -> Self {
        match memory {
            Memory::Full => Self {
                count,
                cells: Cells::Flat(bytemuck::zeroed_slice_box(count)),
                length,
                values: PhantomData,
            },
            Memory::Bounded => Self::new(memory, count, length, SMALL),
        }
    }

    /// Direct access to the values in blocks, if there is a cell for each block.
    #[inline(always)]
    pub(crate) fn places(&self, geometry: Geometry) -> Option<Places<'_, 't>> {
        match &self.cells {
            Cells::Flat(cells)
                if self.length == Length::Fixed(geometry.block_bytes)
                    && geometry.fits_its_block() =>
            {
                Some(Places { cells, geometry, values: PhantomData })
            }
            _ => None,
        }
    }

    /// A table for `count` values that begin with their length, in high demand or not.
    pub(crate) fn prefixed(memory: Memory, count: usize, in_demand: bool) -> Self {
        Self::new(memory, count, Length::Prefixed, if in_demand { SMALL } else { SMALLEST })
    }

    fn new(memory: Memory, count: usize, length: Length, small: usize) -> Self {
        let cells = match memory {
            Memory::Full => Cells::Full(
                std::iter::repeat_with(OnceLock::new).take(count.div_ceil(SEGMENT)).collect(),
            ),
            Memory::Bounded => {
                Cells::Bounded(std::iter::repeat_with(|| Mutex::new(None)).take(small).collect())
            }
        };
        Self { count, cells, length, values: PhantomData }
    }

    /// The number of values that the table is for.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The cell of a value, if the table has one for each value and it is allocated.
    #[inline(always)]
    fn cell(&self, number: usize) -> Option<&AtomicPtr<u8>> {
        match &self.cells {
            Cells::Flat(cells) => cells.get(number),
            Cells::Full(cells) => {
                cells.get(number / SEGMENT)?.get().map(|segment| &segment[number % SEGMENT])
            }
            Cells::Bounded(_) => None,
        }
    }

    /// The value, if it is in the table.
    #[inline(always)]
    pub(crate) fn get(&self, number: usize) -> Option<&'t [u8]> {
        if let Cells::Bounded(cells) = &self.cells {
            let cell = cells[number % cells.len()].lock().unwrap_or_else(PoisonError::into_inner);
            return cell.filter(|(found, _)| *found == number).map(|(_, value)| value);
        }
        // Acquire: the thread that stored the pointer has checked the bytes behind it.
        let pointer = self.cell(number)?.load(Ordering::Acquire);
        if pointer.is_null() {
            return None;
        }
        let length = match self.length {
            Length::Fixed(length) => length,
            Length::Prefixed => {
                // SAFETY: `set` stores only pointers to values of at least four bytes, which live
                // as long as 't.
                let length = unsafe { pointer.cast::<[u8; 4]>().read() };
                u32::from_le_bytes(length) as usize
            }
        };
        // SAFETY: `set` was given a slice of exactly this length at this address, which lives,
        // unchanged, as long as 't.
        Some(unsafe { std::slice::from_raw_parts(pointer, length) })
    }

    /// The address of a value, unread, if the value is in the table.
    #[inline]
    pub(crate) fn address(&self, number: usize) -> Option<usize> {
        let address = match &self.cells {
            Cells::Bounded(_) => self.get(number)?.as_ptr(),
            _ => self.cell(number)?.load(Ordering::Relaxed),
        };
        Some(address.addr()).filter(|address| *address != 0)
    }

    /// Prefetches the first cache line of a value and the one at `offset`, if the value is in the
    /// table. Does not read it.
    #[inline(always)]
    pub(crate) fn prefetch(&self, number: usize, offset: usize) {
        if let Some(cell) = self.cell(number) {
            let pointer = cell.load(Ordering::Relaxed);
            prefetch_line(pointer);
            prefetch_line(pointer.wrapping_add(offset));
        }
    }

    /// Remembers a value, and returns it. `None` if it does not have the length that the table
    /// requires, or the number is out of range.
    pub(crate) fn set(&self, number: usize, value: &'t [u8]) -> Option<&'t [u8]> {
        if number >= self.count || !self.length.fits(value) {
            return None;
        }
        match &self.cells {
            // The pointer is never written through, only read from, like the slice it came from.
            Cells::Flat(cells) => cells[number].store(value.as_ptr().cast_mut(), Ordering::Release),
            Cells::Full(cells) => {
                let segment = cells.get(number / SEGMENT)?.get_or_init(new_segment);
                segment[number % SEGMENT].store(value.as_ptr().cast_mut(), Ordering::Release);
            }
            Cells::Bounded(cells) => {
                *cells[number % cells.len()].lock().unwrap_or_else(PoisonError::into_inner) =
                    Some((number, value))
            }
        }
        Some(value)
    }

    /// Carries over the pointers of an older table to values that have pages to themselves, except
    /// those that were `rewritten`. Values that share a page may move when another of them changes,
    /// so nothing is known of them.
    ///
    /// # Safety
    /// Every value that the older table remembers, and that is not among the rewritten ones, must
    /// lie where it lay, unchanged, for all of `'t`.
    pub(super) unsafe fn carry(&self, older: &Table<'_>, rewritten: &[u32], page_bytes: usize) {
        if self.length != older.length {
            return;
        }
        let carry = |cells: &[AtomicPtr<u8>], older: &[AtomicPtr<u8>]| {
            for (cell, older) in cells.iter().zip(older) {
                let pointer = older.load(Ordering::Relaxed);
                if pointer.addr() & (page_bytes - 1) == PAGE_HEADER_BYTES {
                    cell.store(pointer, Ordering::Relaxed);
                }
            }
        };
        match (&self.cells, &older.cells) {
            (Cells::Flat(cells), Cells::Flat(older)) => carry(cells, older),
            (Cells::Full(cells), Cells::Full(older)) => {
                for (segment, older) in cells.iter().zip(older) {
                    let Some(older) = older.get() else { continue };
                    carry(&segment.get_or_init(new_segment)[..], &older[..]);
                }
            }
            _ => return,
        }
        for number in rewritten.iter().map(|number| *number as usize) {
            if let Some(cell) = self.cell(number) {
                cell.store(std::ptr::null_mut(), Ordering::Relaxed);
            }
        }
    }

    /// Remembers that a value does not exist: a prefixed value without content stands for it.
    pub(crate) fn set_absent(&self, number: usize) -> Option<&'t [u8]> {
        self.set(number, &ABSENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_gives_back_what_it_was_given_and_nothing_of_another_length() {
        let bytes = [7u8; 10];
        for memory in [Memory::Full, Memory::Bounded] {
            let table = Table::fixed(memory, 3, 10);
            assert_eq!(table.get(1), None);
            assert_eq!(table.set(1, &bytes), Some(&bytes[..]));
            assert_eq!(table.get(1), Some(&bytes[..]));
            assert_eq!(table.set(2, &bytes[1..]), None);
            assert_eq!(table.set(3, &bytes), None);
            assert_eq!(table.get(3), None);
        }
    }

    #[test]
    fn a_value_is_found_in_its_block_with_its_factor() {
        for has_factor in [false, true] {
            let geometry = Geometry::new(8, has_factor);
            let mut block = geometry.new_block(1);
            for place in 0..geometry.vectors as usize {
                let value =
                    [(place as u64).to_le_bytes().as_slice(), &(place as f32).to_le_bytes()]
                        .concat();
                geometry.put_value(&mut block, place, &value[..8 + geometry.factor]);
            }
            block.resize(geometry.block_bytes, 0);
            let table = Table::blocks(Memory::Full, 2, geometry.block_bytes);
            table.set(1, &block).unwrap();
            let places = table.places(geometry).unwrap();
            for place in 0..geometry.vectors {
                let found = places.get(Slot(geometry.vectors + place), true).unwrap();
                assert_eq!(found.bytes, u64::from(place).to_le_bytes());
                assert_eq!(found.factor, if has_factor { place as f32 } else { 0.0 });
            }
            for slot in [0, geometry.vectors - 1, 2 * geometry.vectors, u32::MAX] {
                assert!(places.get(Slot(slot), true).is_none(), "{slot}");
            }
            assert!(
                table.places(Geometry::new(60_000, has_factor)).is_none(),
                "blocks of another length"
            );
            assert!(
                Table::blocks(Memory::Bounded, 2, geometry.block_bytes).places(geometry).is_none()
            );
        }
    }

    #[test]
    fn a_prefixed_value_must_say_its_own_length() {
        let value = [6, 0, 0, 0, 1, 2];
        let tables = |memory| [Table::prefixed(memory, 2, true), Table::groups(memory, 2)];
        for table in [Memory::Full, Memory::Bounded].into_iter().flat_map(tables) {
            assert_eq!(table.set(0, &value), Some(&value[..]));
            assert_eq!(table.get(0), Some(&value[..]));
            assert_eq!(table.set(1, &value[..5]), None);
            assert_eq!(table.set(1, &[2, 0]), None);
            assert_eq!(table.set_absent(1), Some(&ABSENT[..]));
            assert_eq!(table.get(1), Some(&ABSENT[..]));
        }
    }

    #[test]
    fn a_small_table_forgets_and_never_confuses() {
        let values = [[1u8; 4], [2; 4]];
        let table = Table::fixed(Memory::Bounded, 10 * SMALL, 4);
        table.set(5, &values[0]);
        table.set(5 + SMALL, &values[1]);
        assert_eq!(table.get(5), None);
        assert_eq!(table.get(5 + SMALL), Some(&values[1][..]));
    }
}
