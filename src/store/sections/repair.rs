//! The inputs of sections that undo a torn edit.

use heed::RoTxn;
use roaring::RoaringBitmap;

use crate::error::{Error, Result};
use crate::format::block::Geometry;
use crate::format::checksum::Sound;
use crate::format::meta::Meta;
use crate::format::{Key, Kind};
use crate::store::Place;
use crate::store::target::Put;

/// Kind and sub of the blocks, and of the tail, of values that exist once per slot.
pub(crate) type Strided = [(Kind, u8); 2];

/// The index as it will be after the repair, and access to what is stored now.
pub(crate) struct Repair<'a, 'e, 'p> {
    pub(crate) place: Place<'e>,
    pub(crate) rtxn: &'a RoTxn<'p>,
    /// META after the repair.
    pub(crate) meta: &'a Meta,
    /// The sets after the repair, by [`SetKind`](crate::format::set::SetKind), and whether they
    /// differ from the stored ones.
    pub(crate) sets: &'a [RoaringBitmap; 3],
    pub(crate) are_sets_new: bool,
    /// The slots that are not free.
    pub(crate) kept: &'a RoaringBitmap,
}

impl Repair<'_, '_, '_> {
    pub(crate) fn key(&self, (kind, sub): (Kind, u8), n: u32) -> Key {
        Key::new(self.place.index, kind, sub, n)
    }

    /// The verified body of a value.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if its checksum does not match.
    pub(crate) fn sound(&self, key: Key) -> Result<Option<&[u8]>> {
        Ok(self.place.sound(self.rtxn, key)?.map(Sound::body))
    }

    /// The values of a kind and sub, from number `n` on.
    pub(crate) fn from(
        &self,
        of: (Kind, u8),
        n: u32,
    ) -> Result<impl Iterator<Item = Result<(Key, &[u8])>>> {
        self.place.range(self.rtxn, self.key(of, n), self.key(of, u32::MAX))
    }

    /// The puts that delete blocks beyond the last full one, and tail values of slots that are
    /// free, in blocks, or beyond the last. Checks that every kept slot has a value.
    pub(crate) fn strided(&self, geometry: Geometry, [block, single]: Strided) -> Result<Vec<Put>> {
        let (slots, kept) = (self.meta.slots, self.kept);
        let sealed = slots / geometry.vectors;
        let tail_start = sealed * geometry.vectors;
        for number in 0..sealed {
            let key = self.key(block, number);
            let first = number * geometry.vectors;
            let is_there = self.place.unverified(self.rtxn, key)?.is_some();
            if !is_there && kept.range_cardinality(first..first + geometry.vectors) > 0 {
                return Err(Error::corrupt(key, "it is missing"));
            }
        }
        let mut found = RoaringBitmap::new();
        let mut puts = Vec::new();
        for entry in self.from(single, 0)? {
            let (key, _) = entry?;
            match key.n >= tail_start && kept.contains(key.n) {
                true => found.extend([key.n]),
                false => puts.push((key, None)),
            }
        }
        if let Some(slot) = kept.range(tail_start..).find(|slot| !found.contains(*slot)) {
            return Err(Error::corrupt(self.key(single, slot), "it is missing"));
        }
        for entry in self.from(block, sealed)? {
            puts.push((entry?.0, None));
        }
        Ok(puts)
    }
}
