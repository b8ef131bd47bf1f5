//! Values of one length, one for each slot, as they are being changed: the vectors of an index, and their codes.
//!
//! A value is written to its place at once and never moves: to a value of its own in the *tail* while its block is not full, to a block with all
//! others of it when it is.

use std::collections::BTreeMap;

use heed::RwTxn;

use super::Place;
use crate::format::block::Geometry;
use crate::format::delta::Delta;
use crate::format::{Key, Kind, checksum};
use crate::{Error, Result, Slot};

/// Where changes go, and where they are noted.
pub(super) struct Target<'a, 'e, 'p> {
    pub(super) place: Place<'e>,
    pub(super) wtxn: &'a mut RwTxn<'p>,
    pub(super) delta: &'a mut Delta,
}

impl Target<'_, '_, '_> {
    /// Stores a value, or deletes it.
    pub(super) fn put(&mut self, key: Key, body: Option<Vec<u8>>) -> Result<()> {
        if let (Delta::Values(values), Some(list)) = (&mut *self.delta, list(key)) {
            values[list].push(key.n);
        }
        self.place.put_or_delete(self.wtxn, key, body)
    }
}

/// The list of DELTA that a value belongs to.
fn list(key: Key) -> Option<usize> {
    match (key.kind, key.sub) {
        (Kind::Vectors, _) => Some(0),
        (Kind::Links, 0) => Some(1),
        (Kind::SlotIds, _) => Some(2),
        (Kind::Codes, crate::format::codes::BLOCKS) => Some(3),
        _ => None,
    }
}

/// See the module.
pub(super) struct Blocks {
    pub(super) geometry: Geometry,
    /// The kinds and subs of blocks and of values in the tail.
    block: (Kind, u8),
    single: (Kind, u8),
    /// How many blocks there are.
    sealed: u32,
    /// Bodies of values of the tail, which are to be written.
    tail: BTreeMap<Slot, Vec<u8>>,
    /// The block whose free places are being used again, and its body.
    reused: Option<(u32, Vec<u8>)>,
}

impl Blocks {
    /// Those that there are for `slots` slots.
    pub(super) fn new(geometry: Geometry, slots: u32, block: (Kind, u8), single: (Kind, u8)) -> Self {
        Self { geometry, block, single, sealed: slots / geometry.vectors, tail: BTreeMap::new(), reused: None }
    }

    /// The first slot of the tail.
    pub(super) fn tail_start(&self) -> u32 {
        self.sealed * self.geometry.vectors
    }

    fn key(&self, place: Place<'_>, (kind, sub): (Kind, u8), n: u32) -> Key {
        Key::new(place.index, kind, sub, n)
    }

    /// Puts a value, with its factor, into the place of a slot.
    pub(super) fn store(&mut self, mut target: Target<'_, '_, '_>, slot: Slot, value: Vec<u8>) -> Result<()> {
        let geometry = self.geometry;
        let (block, place) = geometry.place(slot);
        if block >= self.sealed as usize {
            self.tail.insert(slot, value);
            return Ok(());
        }
        let body = self.reused_block(&mut target, block as u32)?;
        geometry.put_value(body, place, &value);
        Ok(())
    }

    /// The body of a block, to change. Slots are used again block by block, so that one block is kept.
    fn reused_block(&mut self, target: &mut Target<'_, '_, '_>, block: u32) -> Result<&mut [u8]> {
        if self.reused.as_ref().is_none_or(|(kept, _)| *kept != block) {
            self.write_reused(target)?;
            let key = self.key(target.place, self.block, block);
            let value = target.place.get(target.wtxn, key)?.ok_or(Error::corrupt(key, "it is missing"))?;
            if value.len() != self.geometry.block_bytes {
                return Err(Error::corrupt(key, "it does not have the length of a block"));
            }
            self.reused = Some((block, checksum::body(value).to_vec()));
        }
        Ok(self.reused.as_mut().map_or(&mut [], |(_, body)| body))
    }

    fn write_reused(&mut self, target: &mut Target<'_, '_, '_>) -> Result<()> {
        match self.reused.take() {
            Some((block, body)) => target.put(self.key(target.place, self.block, block), Some(body)),
            None => Ok(()),
        }
    }

    /// Forgets the value of a slot, if it is in the tail. What a block has in its place does not matter.
    pub(super) fn release(&mut self, mut target: Target<'_, '_, '_>, slot: Slot) -> Result<()> {
        if slot.0 >= self.tail_start() && self.tail.remove(&slot).is_none() {
            target.put(self.key(target.place, self.single, slot.0), None)?;
        }
        Ok(())
    }

    /// Turns the tail into a block if the slots that there are now fill it.
    pub(super) fn seal(&mut self, mut target: Target<'_, '_, '_>, slots: u32) -> Result<()> {
        let geometry = self.geometry;
        let (block, start) = (self.sealed, self.tail_start());
        if slots < start.saturating_add(geometry.vectors) {
            return Ok(());
        }
        let mut body = geometry.new_block(block);
        let mut stored = Vec::new();
        for place in 0..geometry.vectors {
            let slot = Slot(start + place);
            let key = self.key(target.place, self.single, slot.0);
            let new = self.tail.remove(&slot);
            let old = match &new {
                Some(_) => None,
                None => target.place.get(target.wtxn, key)?.map(checksum::body),
            };
            stored.extend(old.map(|_| key));
            // A free slot has neither.
            let Some(value) = new.as_deref().or(old) else { continue };
            if value.len() != geometry.stride + geometry.factor {
                return Err(Error::corrupt(key, "it does not have the length of a vector"));
            }
            geometry.put_value(&mut body, place as usize, value);
        }
        target.put(self.key(target.place, self.block, block), Some(body))?;
        for key in stored {
            target.put(key, None)?;
        }
        self.sealed += 1;
        Ok(())
    }

    /// Writes what has not been written yet.
    pub(super) fn finish(&mut self, mut target: Target<'_, '_, '_>) -> Result<()> {
        self.write_reused(&mut target)?;
        for (slot, body) in std::mem::take(&mut self.tail) {
            target.put(self.key(target.place, self.single, slot.0), Some(body))?;
        }
        Ok(())
    }
}
