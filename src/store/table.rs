//! Pointers to values, by number: what an index costs to address beyond RAM speed is one load from here.
//!
//! A table starts empty and is filled as values are first used, by any thread; two threads that find the same value store the same pointer.
//! Allocating it zeroed costs no time for its size. Measured on 100 000 vectors of 128 components: 12 times the queries per second of
//! looking every value up in the B-tree (`docs/decisions`).

use std::marker::PhantomData;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::format::take_u32;

/// How the length of a value is known.
#[derive(Debug, Clone, Copy)]
enum Length {
    /// All values have it.
    Fixed(usize),
    /// Each value begins with its own, as `u32`.
    Prefixed,
}

/// Values of one kind, by their number.
#[derive(Debug)]
pub(crate) struct Table<'t> {
    cells: Box<[AtomicPtr<u8>]>,
    length: Length,
    values: PhantomData<&'t [u8]>,
}

/// What a value that does not exist points to: its own length and nothing else.
static ABSENT: [u8; 4] = 4u32.to_le_bytes();

impl<'t> Table<'t> {
    /// For `count` values of `bytes` bytes each.
    pub(crate) fn fixed(count: usize, bytes: usize) -> Self {
        Self::new(count, Length::Fixed(bytes))
    }

    /// For `count` values that begin with their length.
    pub(crate) fn prefixed(count: usize) -> Self {
        Self::new(count, Length::Prefixed)
    }

    fn new(count: usize, length: Length) -> Self {
        // Null pointers, straight from the allocator: no page of a large table is touched before it is used.
        Self { cells: bytemuck::zeroed_slice_box(count), length, values: PhantomData }
    }

    pub(crate) fn len(&self) -> usize {
        self.cells.len()
    }

    /// The value, if it has been set.
    #[inline]
    pub(crate) fn get(&self, number: usize) -> Option<&'t [u8]> {
        // Acquire: whoever set the pointer has checked the bytes behind it.
        let pointer = self.cells.get(number)?.load(Ordering::Acquire);
        if pointer.is_null() {
            return None;
        }
        let length = match self.length {
            Length::Fixed(length) => length,
            // SAFETY: `set` stores only pointers to values of at least four bytes, which live as long as 't.
            Length::Prefixed => u32::from_le_bytes(unsafe { pointer.cast::<[u8; 4]>().read() }) as usize,
        };
        // SAFETY: `set` was given a slice of exactly this length at this address, which lives, unchanged, as long as 't.
        Some(unsafe { std::slice::from_raw_parts(pointer, length) })
    }

    /// Remembers a value, and returns it. `None` if its length is not what the table says of all its values, or the number is beyond it.
    pub(crate) fn set(&self, number: usize, value: &'t [u8]) -> Option<&'t [u8]> {
        let fits = match self.length {
            Length::Fixed(length) => value.len() == length,
            Length::Prefixed => take_u32(value, 0).is_some_and(|length| length as usize == value.len()),
        };
        let cell = self.cells.get(number).filter(|_| fits)?;
        // Never written through: the pointer is only read from, as the slice it came from.
        cell.store(value.as_ptr().cast_mut(), Ordering::Release);
        Some(value)
    }

    /// Remembers that there is no such value: a prefixed one without content stands for it.
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
        let table = Table::fixed(3, 10);
        assert_eq!(table.get(1), None);
        assert_eq!(table.set(1, &bytes), Some(&bytes[..]));
        assert_eq!(table.get(1), Some(&bytes[..]));
        assert_eq!(table.set(2, &bytes[1..]), None);
        assert_eq!(table.set(3, &bytes), None);
        assert_eq!(table.get(3), None);
    }

    #[test]
    fn a_prefixed_value_must_say_its_own_length() {
        let table = Table::prefixed(2);
        let value = [6, 0, 0, 0, 1, 2];
        assert_eq!(table.set(0, &value), Some(&value[..]));
        assert_eq!(table.get(0), Some(&value[..]));
        assert_eq!(table.set(1, &value[..5]), None);
        assert_eq!(table.set(1, &[2, 0]), None);
        assert_eq!(table.set_absent(1), Some(&ABSENT[..]));
        assert_eq!(table.get(1), Some(&ABSENT[..]));
    }
}
