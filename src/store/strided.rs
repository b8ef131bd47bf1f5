//! Pointer tables for values of one length, one per slot: the vectors of an index, or their codes.
//! In a block, the offset of a value follows from its slot; values beyond the last block are stored
//! singly, in the tail.

use std::ops::Range;

use super::address::Address;
use super::table::{Memory, Places, Table};
use crate::distance::prefetch_early;
use crate::error::{Error, Result};
use crate::format::block::Geometry;
use crate::format::{Key, Kind, take};
use crate::types::Slot;

/// Prefetches the values of slots, which will be compared next, if their blocks are in the table.
#[inline]
pub(super) fn prefetch_places(places: Option<Places<'_, '_>>, slots: &[u32]) {
    if let Some(places) = places {
        prefetch_early(slots.iter().filter_map(|slot| Some(places.get(Slot(*slot), false)?.bytes)));
    }
}

/// The pointer tables of blocks and tail: see the module.
#[derive(Debug)]
pub(crate) struct Strided<'t> {
    pub(super) geometry: Geometry,
    pub(super) blocks: Table<'t>,
    tail: Table<'t>,
    /// The kind and sub of the keys of blocks, and of single values.
    block: (Kind, u8),
    single: (Kind, u8),
}

impl<'t> Strided<'t> {
    /// Empty tables for this many slots.
    pub(super) fn new(
        memory: Memory,
        geometry: Geometry,
        slots: u32,
        block: (Kind, u8),
        single: (Kind, u8),
    ) -> Self {
        let sealed = slots / geometry.vectors;
        let blocks = Table::blocks(memory, sealed as usize, geometry.block_bytes);
        let tail = Table::fixed(
            memory,
            (slots - sealed * geometry.vectors) as usize,
            geometry.tail_bytes(),
        );
        Self { geometry, blocks, tail, block, single }
    }

    /// Direct access to the values in blocks, if there is a cell for each block.
    #[inline(always)]
    pub(super) fn places(&self) -> Option<Places<'_, 't>> {
        self.blocks.places(self.geometry)
    }

    /// The value of a slot, if its block is in the table.
    #[inline(always)]
    pub(super) fn get(&self, slot: Slot) -> Option<Address<'t>> {
        if let Some(places) = self.places() {
            return places.get(slot, self.geometry.factor > 0);
        }
        let (block, place) = self.geometry.place(slot);
        Some(self.in_block(self.blocks.get(block)?, place))
    }

    /// The value at a place of a block.
    #[inline(always)]
    pub(super) fn in_block(&self, block: &'t [u8], place: usize) -> Address<'t> {
        // Offsets within the block follow from the place, and every value in the table has the
        // length of a block.
        let at = self.geometry.vector_offset(place);
        let factor = if self.geometry.factor > 0 {
            take(block, self.geometry.factor_offset(place))
        } else {
            None
        };
        Address {
            bytes: &block[at..at + self.geometry.stride],
            factor: factor.map_or(0.0, f32::from_le_bytes),
        }
    }

    /// The addresses of the value of a slot and of its factor, unread, if it is in a table.
    #[inline]
    pub(super) fn addresses(&self, slot: Slot) -> Option<[Range<usize>; 2]> {
        let Geometry { stride, factor, .. } = self.geometry;
        let (block, place) = self.geometry.place(slot);
        if block >= self.blocks.len() {
            let start = self.tail.address(slot.index().checked_sub(self.tail_start())?)?;
            return Some([start..start + self.geometry.tail_bytes(), 0..0]);
        }
        let block = self.blocks.address(block)?;
        let at = |offset: usize, bytes: usize| block + offset..block + offset + bytes;
        let factors = if factor > 0 { self.geometry.factor_offset(place) } else { 0 };
        Some([at(self.geometry.vector_offset(place), stride), at(factors, factor)])
    }

    /// The addresses of the factors of a range of slots, block by block, as far as the blocks are
    /// in the table.
    pub(super) fn factor_addresses(&self, slots: Range<u32>) -> impl Iterator<Item = Range<usize>> {
        let Geometry { factor, vectors, .. } = self.geometry;
        let first = self.geometry.factor_offset(0);
        self.block_addresses(slots)
            .map(move |block| block.start + first..block.start + first + factor * vectors as usize)
    }

    /// The addresses of the values of a range of slots, block by block, unread, as far as the
    /// blocks are in the table.
    pub(super) fn block_addresses(&self, slots: Range<u32>) -> impl Iterator<Item = Range<usize>> {
        let block = |slot| self.geometry.place(Slot(slot)).0;
        let blocks = block(slots.start)..block(slots.end.saturating_sub(1)) + 1;
        let blocks = blocks.filter_map(|block| self.blocks.address(block));
        blocks.map(|start| start..start + self.geometry.block_bytes)
    }

    /// The stored value that contains the value of a slot, if it is in a table: a block, or a
    /// single value.
    pub(super) fn stored(&self, slot: Slot) -> Option<&'t [u8]> {
        let (block, _) = self.geometry.place(slot);
        self.blocks
            .get(block)
            .or_else(|| self.tail.get(slot.index().checked_sub(self.tail_start())?))
    }

    /// The stored value that contains the value of a slot, and its key in this index.
    pub(super) fn value(
        &self,
        index: u16,
        slot: Slot,
        read: impl Fn(Key) -> Result<Option<&'t [u8]>>,
    ) -> Result<(Key, &'t [u8])> {
        let (block, _) = self.geometry.place(slot);
        let (table, number, (kind, sub), n) = match block < self.blocks.len() {
            true => (&self.blocks, block, self.block, block as u32),
            false => (&self.tail, slot.index() - self.tail_start(), self.single, slot.0),
        };
        let key = Key::new(index, kind, sub, n);
        if let Some(value) = table.get(number) {
            return Ok((key, value));
        }
        let value = read(key)?.ok_or(Error::corrupt(key, "it is missing"))?;
        let value = table
            .set(number, value)
            .ok_or(Error::corrupt(key, "it does not have the length of such values"))?;
        Ok((key, value))
    }

    /// Looks up the value of a slot of the tail, or of a block that is not in the table yet, in
    /// this index.
    #[cold]
    pub(super) fn find(
        &self,
        index: u16,
        slot: Slot,
        read: impl Fn(Key) -> Result<Option<&'t [u8]>>,
    ) -> Result<Address<'t>> {
        let (_, value) = self.value(index, slot, read)?;
        let (block, place) = self.geometry.place(slot);
        if block < self.blocks.len() {
            return Ok(self.in_block(value, place));
        }
        let factor = self.geometry.tail_factor(value).filter(|_| self.geometry.factor > 0);
        Ok(Address { bytes: &value[..self.geometry.stride], factor: factor.unwrap_or(0.0) })
    }

    fn tail_start(&self) -> usize {
        self.blocks.len() * self.geometry.vectors as usize
    }
}
