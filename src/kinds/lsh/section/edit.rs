//! The write buffer of the tables: hashes vectors as they are stored, and changes the pieces at the
//! end of an edit, table by table.
//!
//! Cost per item: for each table one piece, of 1 kB at most, and now and then another one, where
//! a piece is split or becomes so small that it takes the next one in. Memory: 64
//! bytes or so per item and 16 tables until the end.

use std::collections::BTreeMap;

use voisin_kernels::lsh::Hasher;

use super::training::{decode, hasher, part, trained_key};
use crate::error::{Error, Result};
use crate::format::checksum::Sound;
use crate::format::meta::Meta;
use crate::format::take;
use crate::format::{Key, Kind};
use crate::kinds::lsh::format::{Entry, MAX_ENTRIES, Piece, Position, cut, encode};
use crate::store::Place;
use crate::store::address::Address;
use crate::store::sections::section::SectionEdit;
use crate::store::sections::vectors;
use crate::store::target::{Put, Target};
use crate::types::Slot;

/// A piece with fewer entries takes in the next one, if that leaves it within the maximum.
const MIN_ENTRIES: usize = 32;

/// The hashes of vectors by slot.
type Hashes = BTreeMap<u32, Vec<u32>>;

/// The write buffer: see the module.
pub(super) struct LshEdit {
    /// META before the edit.
    before: Meta,
    /// Read from disk when the first vector is hashed.
    hasher: Option<Hasher>,
    added: Hashes,
    removed: Hashes,
    /// Slots of before the edit that are free from now on.
    released: Vec<Slot>,
    puts: Vec<Put>,
    count: u32,
    squares: f64,
    scratch: Vec<f32>,
}

impl LshEdit {
    pub(super) fn new(before: Meta) -> Self {
        Self {
            before,
            hasher: None,
            added: Hashes::new(),
            removed: Hashes::new(),
            released: Vec::new(),
            puts: Vec::new(),
            count: 0,
            squares: 0.0,
            scratch: Vec::new(),
        }
    }

    /// The hashes of a vector, and its squared distance from the center.
    fn hash(
        &mut self,
        target: &Target<'_, '_, '_>,
        vector: Address<'_>,
    ) -> Result<(Vec<u32>, f64)> {
        let Target { place, wtxn, .. } = target;
        if self.hasher.is_none() {
            let key = trained_key(place.index);
            let part = part(place.index, &self.before)?;
            let trained = decode(key, place.sound(wtxn, key)?, &self.before)?;
            self.hasher = part.map(|part| hasher(&trained, part));
        }
        let Some(hasher) = &self.hasher else { return Ok((Vec::new(), 0.0)) };
        let decoded = place.metric.decode(vector.bytes, self.before.scale);
        let dimensions = self.before.dimensions as usize;
        let row = place.metric.coded(&decoded, vector.factor, dimensions);
        let mut hashes = Vec::new();
        hasher.hash(&row, &mut self.scratch, &mut hashes);
        Ok((hashes, hasher.square(&row)))
    }

    /// Notes that the tables have the vector that is stored for a slot, and must not.
    fn remove_stored(&mut self, target: &Target<'_, '_, '_>, slot: Slot) -> Result<()> {
        if slot.0 >= self.before.slots || self.removed.contains_key(&slot.0) {
            return Ok(());
        }
        let (key, stored) = stored(target, &self.before, slot)?;
        // A free slot of the tail has none.
        let Some(stored) = stored else { return Ok(()) };
        let geometry = self.before.geometry;
        let (place, is_block) = match key.kind {
            Kind::VECTORS => (geometry.place(slot).1, true),
            _ => (0, false),
        };
        let short = Error::corrupt(key, "it does not have the length of such values");
        let [start, factor] = match is_block {
            true => [geometry.vector_offset(place), geometry.factor_offset(place)],
            false => [0, geometry.stride],
        };
        let bytes = stored.body().get(start..start + geometry.stride);
        let bytes = bytes.ok_or(short)?.to_vec();
        let factor = match geometry.factor {
            0 => 0.0,
            _ => take(stored.body(), factor).map_or(0.0, f32::from_le_bytes),
        };
        let (hashes, _) = self.hash(target, Address { bytes: &bytes, factor })?;
        self.removed.insert(slot.0, hashes);
        Ok(())
    }
}

/// The verified value that holds the vector of a slot of before the edit.
fn stored<'a>(
    target: &'a Target<'_, '_, '_>,
    before: &Meta,
    slot: Slot,
) -> Result<(Key, Option<Sound<'a>>)> {
    let block = before.geometry.place(slot).0 as u32;
    let key = match block < before.slots / before.geometry.vectors {
        true => vectors::block_key(target.place.index, block),
        false => vectors::single_key(target.place.index, slot),
    };
    Ok((key, target.place.sound(target.wtxn, key)?))
}

impl SectionEdit for LshEdit {
    fn store(
        &mut self,
        target: Target<'_, '_, '_>,
        slot: Slot,
        vector: Address<'_>,
        is_late: bool,
    ) -> Result<()> {
        if is_late {
            self.remove_stored(&target, slot)?;
        }
        let (hashes, square) = self.hash(&target, vector)?;
        self.added.insert(slot.0, hashes);
        self.count = self.count.saturating_add(1);
        self.squares += square;
        Ok(())
    }

    fn release(&mut self, slot: Slot) {
        if self.added.remove(&slot.0).is_none() {
            self.released.push(slot);
        }
    }

    fn seal(&mut self, _: Target<'_, '_, '_>, _: u32) -> Result<()> {
        Ok(())
    }

    /// Reads and changes all pieces: what is left to write then overwrites no vector.
    fn check_late(&mut self, target: &Target<'_, '_, '_>) -> Result<()> {
        for slot in std::mem::take(&mut self.released) {
            self.remove_stored(target, slot)?;
        }
        let tables = self.hasher.as_ref().map_or(0, Hasher::tables);
        for nth in 0..tables {
            let changes = |hashes: &Hashes, is_added| -> Vec<Change> {
                let entry = |(slot, hashes): (&u32, &Vec<u32>)| {
                    hashes.get(nth).map(|hash| (Entry { hash: *hash, slot: *slot }, is_added))
                };
                hashes.iter().filter_map(entry).collect()
            };
            let mut all = changes(&self.removed, false);
            all.extend(changes(&self.added, true));
            all.sort_by_key(|(entry, is_added)| (entry.order(), *is_added));
            let mut table = Table { target, table: nth, puts: Vec::new() };
            table.change(&all)?;
            self.puts.extend(table.puts);
        }
        self.added.clear();
        self.removed.clear();
        Ok(())
    }

    fn write_late(&mut self, _: Target<'_, '_, '_>) -> Result<()> {
        Ok(())
    }

    fn rest(&mut self, _: Place<'_>) -> Vec<Put> {
        std::mem::take(&mut self.puts)
    }

    fn count(&self, meta: &mut Meta) {
        if let Ok(Some(mut part)) = part(0, meta) {
            part.added = part.added.saturating_add(self.count);
            part.squares = (part.squares + self.squares).min(f64::MAX);
            meta.set_part(Kind::LSH, Some(part.encode()));
        }
    }
}

/// A change of a table: an entry, and whether it is added.
type Change = (Entry, bool);

/// A piece that is being changed.
struct Open {
    first: Position,
    entries: Vec<Entry>,
    /// The first positions of the pieces whose entries these are.
    old: Vec<Position>,
}

/// A table that is being changed.
struct Table<'a, 'b, 'e, 'p> {
    target: &'a Target<'b, 'e, 'p>,
    table: usize,
    puts: Vec<Put>,
}

impl Table<'_, '_, '_, '_> {
    fn key(&self, first: Position) -> Key {
        first.key(self.target.place.index, self.table)
    }

    /// Makes changes, which ascend.
    fn change(&mut self, mut changes: &[Change]) -> Result<()> {
        while let Some((entry, _)) = changes.first() {
            let mut open = self.open(entry.position())?;
            let mut has_changed = false;
            loop {
                // Where the piece ends matters if it is small, or if there are more changes.
                let may_be_small = open.entries.len() <= MIN_ENTRIES;
                let end = match changes.len() > 1 || may_be_small {
                    true => self.end(open.first, &open.old)?,
                    false => None,
                };
                let last = match end {
                    Some(end) => end.before(),
                    None => open.first.last_of_region(),
                };
                let own = changes.iter().take_while(|(entry, _)| entry.position() <= last).count();
                let (own, others) = changes.split_at(own);
                has_changed |= apply(&mut open.entries, own);
                changes = others;
                let is_done = match end.filter(|_| open.entries.len() < MIN_ENTRIES) {
                    Some(end) if has_changed => !self.absorb(&mut open, end)?,
                    _ => true,
                };
                if is_done {
                    break;
                }
            }
            if has_changed {
                self.close(&open);
            }
        }
        Ok(())
    }

    /// The piece of a position. An empty one if there is none of its region.
    fn open(&self, position: Position) -> Result<Open> {
        let Target { place, wtxn, .. } = self.target;
        let first = Position::first_of(position.region());
        let found = place.last_sound(wtxn, self.key(first), self.key(position))?;
        let Some((key, body)) = found else {
            return Ok(Open { first, entries: Vec::new(), old: Vec::new() });
        };
        let (first, entries) = decoded(key, &body)?;
        Ok(Open { first, entries, old: vec![first] })
    }

    /// Where the piece ends that begins at `first`, and has those of `old`: where the next one of
    /// its region begins.
    fn end(&self, first: Position, old: &[Position]) -> Result<Option<Position>> {
        let Target { place, wtxn, .. } = self.target;
        let last = first.last_of_region();
        let Some(after) = self.key(old.last().copied().unwrap_or(first)).next() else {
            return Ok(None);
        };
        let found = place.first_sound(wtxn, after, self.key(last))?;
        Ok(found.map(|(key, _)| Position::of_key(key).1))
    }

    /// Appends the entries of the piece that begins at `next` to one that is small, if they are not
    /// too many for it. The first piece of a region cannot go, so that it takes any if it is empty.
    fn absorb(&self, open: &mut Open, next: Position) -> Result<bool> {
        let key = self.key(next);
        let Some(body) = self.target.place.sound(self.target.wtxn, key)? else { return Ok(false) };
        let (_, entries) = decoded(key, &body)?;
        let is_needed = open.entries.is_empty() && open.first.is_first();
        if !is_needed
            && (open.entries.is_empty() || open.entries.len() + entries.len() > MAX_ENTRIES)
        {
            return Ok(false);
        }
        open.entries.extend(entries);
        open.old.push(next);
        Ok(true)
    }

    /// Writes a piece, or several if it has become too large.
    fn close(&mut self, open: &Open) {
        let parts = cut(&open.entries, MAX_ENTRIES).into_iter().filter(|part| !part.is_empty());
        let puts = parts.enumerate().map(|(nth, part)| {
            let first = if nth == 0 { open.first } else { part[0].position() };
            (first, Some(encode(part)))
        });
        let mut puts: BTreeMap<Position, Option<Vec<u8>>> = puts.collect();
        for old in &open.old {
            puts.entry(*old).or_insert(None);
        }
        let puts: Vec<Put> =
            puts.into_iter().map(|(first, body)| (self.key(first), body)).collect();
        self.puts.extend(puts);
    }
}

/// The first position and the entries of a verified piece.
fn decoded(key: Key, body: &Sound<'_>) -> Result<(Position, Vec<Entry>)> {
    let (_, first) = Position::of_key(key);
    let piece = Piece::decode(first.region(), body.body());
    let piece = piece.map_err(|what| Error::corrupt(key, what))?;
    Ok((first, piece.entries().collect()))
}

/// Adds and removes entries; both ascend. Returns whether that has changed anything: a slot that
/// was free before the edit is in no table.
fn apply(entries: &mut Vec<Entry>, changes: &[Change]) -> bool {
    let mut has_changed = false;
    let old = std::mem::take(entries);
    let mut left = old.iter().copied().peekable();
    for (entry, is_added) in changes {
        while let Some(before) = left.next_if(|other| other.order() < entry.order()) {
            entries.push(before);
        }
        let is_again = entries.last() == Some(entry);
        let was_there = is_again || left.next_if(|other| other == entry).is_some();
        if is_again {
            entries.pop();
        }
        has_changed |= was_there != *is_added;
        if *is_added {
            entries.push(*entry);
        }
    }
    entries.extend(left);
    has_changed
}
