//! The write buffer of the lists: where slots go, until the end of the edit, or until they are
//! many.
//!
//! Memory: what [`MOST_MOVES`] and [`MOST_CODE_BYTES`] allow, and as much again for the values that
//! this changes. Where slots that had no vector before the edit are more than that, the lists take
//! them in at once, so that an edit of any size leaves the codes of lists packed. Then a torn edit
//! has changed the lists, and `repair` deletes them, for the next build to make them anew
//! (`changes_early`).

use std::collections::BTreeMap;

use super::codes::{NewCodes, stride};
use super::moves::{Groups, move_slots};
use super::stored::Stored;
use super::{Space, usual_sizes};
use crate::error::{Error, Result};
use crate::format::checksum::Sound;
use crate::format::meta::Meta;
use crate::format::{Key, Kind};
use crate::kinds::ivf::format::{CENTERS, NONE, Part, SIZES, center, geometry};
use crate::kmeans::{Comparer, Rows};
use crate::store::Place;
use crate::store::address::Address;
use crate::store::sections::section::SectionEdit;
use crate::store::target::{Put, Target};
use crate::types::Slot;

/// The most slots, and the most bytes of their codes, that wait for the end of an edit. Each time
/// that the lists take them in, some values of each list are read and written again: for so many
/// slots, that is a small part of finding their lists and of encoding them.
const MOST_MOVES: usize = 16_384;
const MOST_CODE_BYTES: usize = 16 << 20;

/// The write buffer: see the module.
pub(super) struct IvfEdit {
    meta: Meta,
    part: Part,
    /// Read when the first vector is stored.
    centers: Option<Centers>,
    /// The list of each slot that was stored, or `NONE` if it was released.
    moves: BTreeMap<u32, u32>,
    /// The codes of those that were stored, if lists have codes.
    codes: Option<NewCodes>,
    /// Whether a slot is stored anew that had a vector before the edit: all waits for its end then.
    has_late: bool,
    puts: Vec<Put>,
    buffer: Vec<f32>,
}

/// The centers, and which lists are vacant.
struct Centers {
    rows: Rows,
    are_vacant: Vec<bool>,
    comparer: Comparer,
}

impl IvfEdit {
    pub(super) fn new(meta: &Meta, part: Part) -> Self {
        let codes = stride(meta).filter(|_| part.has_codes).map(NewCodes::new);
        let (moves, puts, buffer) = (BTreeMap::new(), Vec::new(), Vec::new());
        let (meta, centers, has_late) = (meta.clone(), None, false);
        Self { meta, part, centers, moves, codes, has_late, puts, buffer }
    }

    fn read_centers(&self, target: &Target<'_, '_, '_>) -> Result<Centers> {
        let read = |key| sound_body(target, key);
        let stored = Stored { index: target.place.index, read: &read };
        let geometry = geometry(self.meta.dimensions);
        let mut rows = Rows::new(self.meta.dimensions as usize);
        let mut sizes = Groups::new(stored, SIZES);
        let mut are_vacant = Vec::with_capacity(self.part.lists as usize);
        let mut block = (u32::MAX, Vec::new());
        for list in 0..self.part.lists {
            let (number, place) = geometry.place(Slot(list));
            if block.0 != number as u32 {
                block = (number as u32, stored.body(CENTERS, number as u32)?.1);
            }
            let key = Key::new(stored.index, Kind::IVF, CENTERS, number as u32);
            let short = Error::corrupt(key, "a block of centers is cut short");
            rows.push(&center(&geometry, &block.1, place).ok_or(short)?);
            are_vacant.push(sizes.get(list)? == NONE);
        }
        let comparer = Comparer::new(self.meta.dimensions as usize);
        Ok(Centers { rows, are_vacant, comparer })
    }
}

impl IvfEdit {
    /// Whether what waits for the end of the edit is as much as may wait.
    fn is_full(&self) -> bool {
        let bytes = self.codes.as_ref().map_or(0, NewCodes::bytes);
        self.moves.len() >= MOST_MOVES || bytes >= MOST_CODE_BYTES
    }

    /// The puts of the lists with the moves so far, which wait no longer.
    fn moved(&mut self, target: &Target<'_, '_, '_>) -> Result<Vec<Put>> {
        let read = |key| sound_body(target, key);
        let stored = Stored { index: target.place.index, read: &read };
        let moves = std::mem::take(&mut self.moves);
        let moved = move_slots(stored, &moves, self.part.lists, self.codes.as_ref())?;
        self.codes.iter_mut().for_each(NewCodes::clear);
        let [least, most] = usual_sizes(self.meta.items);
        let mut sizes = moved.sizes.into_iter();
        let has_others = self.part.lists - self.part.vacant > 1;
        self.part.is_due |= sizes.any(|size| size > most || size < least && has_others);
        Ok(moved.puts)
    }
}

fn sound_body(target: &Target<'_, '_, '_>, key: Key) -> Result<Option<Vec<u8>>> {
    let sound = target.place.sound(target.wtxn, key)?;
    Ok(sound.map(Sound::body).map(<[u8]>::to_vec))
}

impl SectionEdit for IvfEdit {
    fn store(
        &mut self,
        mut target: Target<'_, '_, '_>,
        slot: Slot,
        vector: Address<'_>,
        is_late: bool,
    ) -> Result<()> {
        if self.centers.is_none() {
            self.centers = Some(self.read_centers(&target)?);
        }
        let Some(centers) = &self.centers else { return Ok(()) };
        let metric = target.place.metric;
        let row = Space::of(metric, &self.meta).row(&metric.decode(vector.bytes, self.meta.scale));
        let Centers { rows, are_vacant, comparer } = centers;
        let nearest = comparer.nearest(&row, rows, |list| !are_vacant[list], &mut self.buffer);
        let no_list = Error::corrupt(Key::meta(target.place.index), "all its lists are vacant");
        let (list, _) = nearest.ok_or(no_list)?;
        self.moves.insert(slot.0, list as u32);
        if let Some(codes) = &mut self.codes {
            codes.store(&target, &self.meta, slot, vector)?;
        }
        self.has_late |= is_late;
        if self.is_full() && !self.has_late {
            let puts = self.moved(&target)?;
            puts.into_iter().try_for_each(|(key, body)| target.put(key, body))?;
        }
        Ok(())
    }

    fn release(&mut self, slot: Slot) {
        self.codes.iter_mut().for_each(|codes| codes.release(slot));
        self.moves.insert(slot.0, NONE);
    }

    fn seal(&mut self, _: Target<'_, '_, '_>, _: u32) -> Result<()> {
        Ok(())
    }

    /// Live values are not overwritten before the end: what is to be put then is computed here, as
    /// this may read.
    fn check_late(&mut self, target: &Target<'_, '_, '_>) -> Result<()> {
        self.puts = self.moved(target)?;
        Ok(())
    }

    fn write_late(&mut self, _: Target<'_, '_, '_>) -> Result<()> {
        Ok(())
    }

    fn forget_codes(&mut self) {
        (self.codes, self.part.has_codes) = (None, false);
    }

    fn rest(&mut self, _: Place<'_>) -> Vec<Put> {
        std::mem::take(&mut self.puts)
    }

    fn count(&self, meta: &mut Meta) {
        if meta.part(Kind::IVF).is_some() {
            meta.set_part(Kind::IVF, Some(self.part.encode()));
        }
    }
}
