//! The write buffer of values of one length, one per slot: the vectors of an index, and their
//! codes.
//!
//! The value of a slot has a fixed place: a value of its own in the *tail* while its block is not
//! full, then a place in the block, which is written with all its values at once. Values never move
//! otherwise.
//!
//! Invariant: until the end of an edit, no put removes the value of a slot that had one before.
//! Blocks are put when they are full, or with new values in free places; tail values are deleted at
//! the end.

use std::collections::BTreeMap;
use std::ops::Range;

use roaring::RoaringBitmap;

use super::Place;
use super::address::Address;
use super::sections::section::SectionEdit;
use super::target::{Put, Target};
use crate::error::{Error, Result};
use crate::format::block::Geometry;
use crate::format::checksum::{self, Sound};
use crate::format::meta::Meta;
use crate::format::{Key, Kind};
use crate::types::Slot;

/// The write buffer: see the module.
pub(super) struct Blocks {
    geometry: Geometry,
    /// The kind and sub of blocks, and of single values in the tail.
    block: (Kind, u8),
    single: (Kind, u8),
    /// The generation of new blocks: see [`Geometry::new_block_of`].
    generation: u32,
    /// Number of slots before the edit.
    slots_before: u32,
    /// Number of blocks.
    sealed: u32,
    /// Bodies of tail values that are still to be written.
    tail: BTreeMap<Slot, Vec<u8>>,
    /// Slots whose tail values are deleted at the end.
    obsolete: RoaringBitmap,
    /// The block whose free places are being reused, and its body.
    reused: Option<(u32, Vec<u8>)>,
    /// Values that overwrite live ones in blocks, at the end.
    late: BTreeMap<Slot, Vec<u8>>,
}

impl Blocks {
    /// An empty buffer, for an index of `slots` slots.
    pub(super) fn new(
        geometry: Geometry,
        slots: u32,
        block: (Kind, u8),
        single: (Kind, u8),
    ) -> Self {
        Self {
            geometry,
            block,
            single,
            generation: 0,
            slots_before: slots,
            sealed: slots / geometry.vectors,
            tail: BTreeMap::new(),
            obsolete: RoaringBitmap::new(),
            reused: None,
            late: BTreeMap::new(),
        }
    }

    /// The same, whose new blocks are of this generation.
    pub(super) fn of_generation(self, generation: u32) -> Self {
        Self { generation, ..self }
    }

    /// The first slot of the tail.
    fn tail_start(&self) -> u32 {
        self.sealed * self.geometry.vectors
    }

    fn key(&self, place: Place<'_>, (kind, sub): (Kind, u8), n: u32) -> Key {
        Key::new(place.index, kind, sub, n)
    }

    /// Stores a value, with its factor, in the place of a slot that had none before the edit.
    fn store(&mut self, mut target: Target<'_, '_, '_>, slot: Slot, value: Vec<u8>) -> Result<()> {
        let geometry = self.geometry;
        let (block, place) = geometry.place(slot);
        if block >= self.sealed as usize {
            self.obsolete.remove(slot.0);
            self.tail.insert(slot, value);
            return Ok(());
        }
        let body = self.reused_block(&mut target, block as u32)?;
        geometry.put_value(body, place, &value);
        Ok(())
    }

    /// As [`store`](Self::store), for a slot that may have a live value, which stays until the end.
    fn store_late(&mut self, target: Target<'_, '_, '_>, slot: Slot, value: Vec<u8>) -> Result<()> {
        if self.geometry.place(slot).0 < self.geometry.place(Slot(self.slots_before)).0 {
            self.late.insert(slot, value);
            return Ok(());
        }
        self.store(target, slot, value)
    }

    /// The body of a block, to be modified. Slots are reused block by block, so one block is
    /// buffered.
    fn reused_block(&mut self, target: &mut Target<'_, '_, '_>, block: u32) -> Result<&mut [u8]> {
        if self.reused.as_ref().is_none_or(|(kept, _)| *kept != block) {
            self.write_reused(target)?;
            self.reused = Some((block, self.stored_block(target, block)?));
        }
        Ok(self.reused.as_mut().map_or(&mut [], |(_, body)| body))
    }

    /// The stored body of a block, verified.
    fn stored_block(&self, target: &Target<'_, '_, '_>, block: u32) -> Result<Vec<u8>> {
        let key = self.key(target.place, self.block, block);
        let sound =
            target.place.sound(target.wtxn, key)?.ok_or(Error::corrupt(key, "it is missing"))?;
        if sound.body().len() + checksum::BYTES != self.geometry.block_bytes {
            return Err(Error::corrupt(key, "it does not have the length of a block"));
        }
        Ok(sound.body().to_vec())
    }

    fn write_reused(&mut self, target: &mut Target<'_, '_, '_>) -> Result<()> {
        match self.reused.take() {
            Some((block, body)) => {
                target.put(self.key(target.place, self.block, block), Some(body))
            }
            None => Ok(()),
        }
    }

    /// Discards the value of a slot if it is in the tail. In a block, a stale value does no harm.
    fn release(&mut self, slot: Slot) {
        if slot.0 < self.tail_start() {
            return;
        }
        let is_stored = self.tail.remove(&slot).is_none() || slot.0 < self.slots_before;
        if is_stored {
            self.obsolete.insert(slot.0);
        }
    }

    /// Writes the tail as a block if `slots` slots fill it.
    fn seal(&mut self, mut target: Target<'_, '_, '_>, slots: u32) -> Result<()> {
        let geometry = self.geometry;
        let (block, start) = (self.sealed, self.tail_start());
        if slots < start.saturating_add(geometry.vectors) {
            return Ok(());
        }
        let mut body = geometry.new_block_of(block, self.generation);
        let mut stored = RoaringBitmap::new();
        for place in 0..geometry.vectors {
            let slot = Slot(start + place);
            let key = self.key(target.place, self.single, slot.0);
            let new = self.tail.remove(&slot);
            let old = match &new {
                Some(_) => None,
                None => target.place.sound(target.wtxn, key)?.map(Sound::body),
            };
            stored.extend(old.map(|_| slot.0));
            // A free slot has neither.
            let Some(value) = new.as_deref().or(old) else { continue };
            if value.len() != geometry.stride + geometry.factor {
                return Err(Error::corrupt(key, "it does not have the length of such values"));
            }
            geometry.put_value(&mut body, place as usize, value);
        }
        target.put(self.key(target.place, self.block, block), Some(body))?;
        self.obsolete |= stored;
        self.sealed += 1;
        Ok(())
    }

    /// Reads and checks the blocks that [`write_late`](Self::write_late) overwrites.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    fn check_late(&self, target: &Target<'_, '_, '_>) -> Result<()> {
        self.late_blocks().try_for_each(|(block, _)| self.stored_block(target, block).map(drop))
    }

    /// Overwrites live values, block by block. Only LMDB may stop the edit from here on.
    fn write_late(&mut self, mut target: Target<'_, '_, '_>) -> Result<()> {
        if self.late.is_empty() {
            return Ok(());
        }
        self.write_reused(&mut target)?;
        for (block, slots) in self.late_blocks() {
            let mut body = self.stored_block(&target, block)?;
            for (slot, value) in self.late.range(slots) {
                self.geometry.put_value(&mut body, self.geometry.place(*slot).1, value);
            }
            target.put_over(self.key(target.place, self.block, block), Some(body))?;
        }
        self.late.clear();
        Ok(())
    }

    /// The blocks that late values belong to, each with its range of slots.
    fn late_blocks(&self) -> impl Iterator<Item = (u32, Range<Slot>)> + use<> {
        let vectors = self.geometry.vectors;
        let mut blocks: Vec<u32> =
            self.late.keys().map(|slot| self.geometry.place(*slot).0 as u32).collect();
        blocks.dedup();
        blocks
            .into_iter()
            .map(move |block| (block, Slot(block * vectors)..Slot((block + 1) * vectors)))
    }

    /// Clears the places of free slots in blocks. Returns how many were not clear.
    fn scrub(&self, mut target: Target<'_, '_, '_>, free: &RoaringBitmap) -> Result<u64> {
        let (geometry, mut cleared) = (self.geometry, 0);
        let empty = vec![0; geometry.stride + geometry.factor];
        let mut slots = free.range(..self.tail_start()).peekable();
        while let Some(first) = slots.peek().copied() {
            let (block, _) = geometry.place(Slot(first));
            let mut body = self.stored_block(&target, block as u32)?;
            let before = cleared;
            while let Some(slot) = slots.next_if(|slot| geometry.place(Slot(*slot)).0 == block) {
                let (_, place) = geometry.place(Slot(slot));
                if !geometry.is_clear(&body, place) {
                    geometry.put_value(&mut body, place, &empty);
                    cleared += 1;
                }
            }
            if cleared > before {
                target.put(self.key(target.place, self.block, block as u32), Some(body))?;
            }
        }
        Ok(cleared)
    }

    /// Drains everything not yet written.
    fn rest(&mut self, place: Place<'_>) -> Vec<Put> {
        let mut puts: Vec<Put> =
            self.obsolete.iter().map(|slot| (self.key(place, self.single, slot), None)).collect();
        for (slot, body) in std::mem::take(&mut self.tail) {
            puts.push((self.key(place, self.single, slot.0), Some(body)));
        }
        if let Some((block, body)) = self.reused.take() {
            puts.push((self.key(place, self.block, block), Some(body)));
        }
        puts
    }
}

/// Computes the stored value of a slot from its vector.
pub(super) trait MakeValue {
    /// The value. May read the index.
    fn make(
        &mut self,
        from: &Target<'_, '_, '_>,
        slot: Slot,
        vector: Address<'_>,
    ) -> Result<Vec<u8>>;

    /// See [`SectionEdit::count`].
    fn count(&self, _meta: &mut Meta) {}
}

/// A value that depends on the vector alone.
pub(super) struct OfVector<F>(F);

impl<F: FnMut(Address<'_>) -> Vec<u8>> MakeValue for OfVector<F> {
    fn make(&mut self, _: &Target<'_, '_, '_>, _: Slot, vector: Address<'_>) -> Result<Vec<u8>> {
        Ok(self.0(vector))
    }
}

/// The write buffer of a section that stores one value of fixed length per slot, computed from its
/// vector.
pub(super) struct BlockEdit<M> {
    blocks: Blocks,
    make: M,
}

impl<M: MakeValue> BlockEdit<M> {
    pub(super) fn new(blocks: Blocks, make: M) -> Self {
        Self { blocks, make }
    }
}

impl<F: FnMut(Address<'_>) -> Vec<u8>> BlockEdit<OfVector<F>> {
    /// For values that depend on the vector alone.
    pub(super) fn of_vector(blocks: Blocks, make: F) -> Self {
        Self::new(blocks, OfVector(make))
    }
}

impl<M: MakeValue> SectionEdit for BlockEdit<M> {
    fn store(
        &mut self,
        target: Target<'_, '_, '_>,
        slot: Slot,
        vector: Address<'_>,
        is_late: bool,
    ) -> Result<()> {
        let value = self.make.make(&target, slot, vector)?;
        let store = if is_late { Blocks::store_late } else { Blocks::store };
        store(&mut self.blocks, target, slot, value)
    }

    fn release(&mut self, slot: Slot) {
        self.blocks.release(slot);
    }

    fn seal(&mut self, target: Target<'_, '_, '_>, slots: u32) -> Result<()> {
        self.blocks.seal(target, slots)
    }

    fn check_late(&mut self, target: &Target<'_, '_, '_>) -> Result<()> {
        self.blocks.check_late(target)
    }

    fn write_late(&mut self, target: Target<'_, '_, '_>) -> Result<()> {
        self.blocks.write_late(target)
    }

    fn rest(&mut self, place: Place<'_>) -> Vec<Put> {
        self.blocks.rest(place)
    }

    fn scrub(&mut self, target: Target<'_, '_, '_>, free: &RoaringBitmap) -> Result<u64> {
        self.blocks.scrub(target, free)
    }

    fn count(&self, meta: &mut Meta) {
        self.make.count(meta);
    }
}
