//! The write buffer of the sets of slots: reads a whole set, and changes members chunk by chunk.

use std::collections::BTreeMap;

use heed::RoTxn;
use roaring::RoaringBitmap;

use crate::error::{Error, Result};
use crate::format::checksum::Sound;
use crate::format::set::{CHUNK, SetKind, decode_chunk, encode_chunk};
use crate::format::{Key, Kind};
use crate::store::Place;
use crate::store::target::Put;
use crate::types::Slot;

/// Reads all members of a set. O(non-empty chunks).
pub(crate) fn read(place: Place<'_>, rtxn: &RoTxn<'_>, set: SetKind) -> Result<RoaringBitmap> {
    let mut members = RoaringBitmap::new();
    let key = |n| Key::new(place.index, Kind::SETS, set as u8, n);
    for entry in place.range(rtxn, key(0), key(u32::MAX))? {
        let (key, value) = entry?;
        let base =
            key.n.checked_mul(CHUNK).ok_or(Error::corrupt(key, "its chunk is beyond all slots"))?;
        let chunk = decode_chunk(Sound::of(key, value)?.body())
            .map_err(|what| Error::corrupt(key, what))?;
        // A chunk ends at 2^32 - 1 at the latest, so this does not overflow.
        members |= chunk.iter().map(|low| base + low).collect::<RoaringBitmap>();
    }
    Ok(members)
}

/// The write buffer of a set: chunks are read on first use, and written at the end.
#[derive(Debug)]
pub(crate) struct SetEdit {
    set: SetKind,
    chunks: BTreeMap<u32, RoaringBitmap>,
}

impl SetEdit {
    pub(crate) fn new(set: SetKind) -> Self {
        Self { set, chunks: BTreeMap::new() }
    }

    fn key(&self, index: u16, chunk: u32) -> Key {
        Key::new(index, Kind::SETS, self.set as u8, chunk)
    }

    fn chunk(
        &mut self,
        place: Place<'_>,
        rtxn: &RoTxn<'_>,
        number: u32,
    ) -> Result<&mut RoaringBitmap> {
        let key = self.key(place.index, number);
        match self.chunks.entry(number) {
            std::collections::btree_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let chunk = match place.sound(rtxn, key)? {
                    Some(sound) => {
                        decode_chunk(sound.body()).map_err(|what| Error::corrupt(key, what))?
                    }
                    None => RoaringBitmap::new(),
                };
                Ok(entry.insert(chunk))
            }
        }
    }

    /// `true` if it was not a member.
    pub(crate) fn insert(
        &mut self,
        place: Place<'_>,
        rtxn: &RoTxn<'_>,
        slot: Slot,
    ) -> Result<bool> {
        Ok(self.chunk(place, rtxn, slot.0 / CHUNK)?.insert(slot.0 % CHUNK))
    }

    /// `true` if it was a member.
    pub(crate) fn remove(
        &mut self,
        place: Place<'_>,
        rtxn: &RoTxn<'_>,
        slot: Slot,
    ) -> Result<bool> {
        Ok(self.chunk(place, rtxn, slot.0 / CHUNK)?.remove(slot.0 % CHUNK))
    }

    /// The smallest member in `from..to`.
    pub(crate) fn first_in(
        &mut self,
        place: Place<'_>,
        rtxn: &RoTxn<'_>,
        from: u32,
        to: u32,
    ) -> Result<Option<Slot>> {
        for number in from / CHUNK..to.div_ceil(CHUNK) {
            let base = number * CHUNK;
            let low =
                self.chunk(place, rtxn, number)?.range(from.saturating_sub(base)..to - base).next();
            if let Some(low) = low {
                return Ok(Some(Slot(base + low)));
            }
        }
        Ok(None)
    }

    /// The puts of all buffered chunks.
    pub(crate) fn into_puts(self, place: Place<'_>) -> impl Iterator<Item = Put> {
        let Self { set, chunks } = self;
        chunks.into_iter().map(move |(number, members)| {
            let body = (!members.is_empty()).then(|| encode_chunk(members));
            (Key::new(place.index, Kind::SETS, set as u8, number), body)
        })
    }
}
