//! Looking up the pieces of the tables.

use std::borrow::Cow;

use super::tables::{Found, HashTables};
use super::training::{decode, part, trained_key};
use crate::error::{Error, Result};
use crate::format::checksum::{Sound, unverified};
use crate::format::codes::Trained;
use crate::format::{Key, Kind};
use crate::kinds::lsh::format::{Piece, Position, REGIONS, TRAINED};
use crate::store::meter;
use crate::store::snapshot::Snapshot;
use crate::store::source::Source;
use crate::store::view::View;

impl<'s, 't, S: Source<'t>> View<'s, 't, S> {
    /// The training of the tables.
    pub(super) fn hash_training(&self) -> Result<Trained> {
        // Verified for searches, too: all hashes depend on it, and it is read once per snapshot.
        let key = trained_key(self.snapshot.index);
        let sound = self.source.get(key)?.map(|value| Sound::of(key, value)).transpose()?;
        decode(key, sound, &self.snapshot.meta)
    }

    /// The tables. `None` if there are none.
    pub(crate) fn hash_tables(&self) -> Result<Option<&'s HashTables<'t>>> {
        let snapshot: &'s Snapshot<'t> = self.snapshot;
        if let Some(tables) = snapshot.kept.hash_tables.get() {
            return Ok(Some(tables));
        }
        let Some(part) = part(snapshot.index, &snapshot.meta)? else { return Ok(None) };
        let trained = self.hash_training()?;
        let new = || HashTables::new(snapshot.memory, &trained, part);
        Ok(Some(snapshot.kept.hash_tables.get_or_init(new)))
    }

    /// The pieces of a table whose entries have this first digit, ascending.
    pub(crate) fn hash_pieces(
        &self,
        tables: &'s HashTables<'t>,
        table: usize,
        region: usize,
    ) -> Result<Cow<'s, [Found<'t>]>> {
        let kept = tables.regions.get(table * REGIONS + region);
        if let Some(pieces) = kept.and_then(|kept| kept.get()) {
            return Ok(Cow::Borrowed(pieces));
        }
        let first = Position::first_of(region);
        let [first, last] =
            [first, first.last_of_region()].map(|at| at.key(self.snapshot.index, table));
        let values = self.source.values(first, last, usize::MAX)?.into_iter();
        let pieces: Vec<Found<'t>> =
            values.map(|(key, value)| (Position::of_key(key).1, value)).collect();
        // A source that can look up single values only lists none: that is not remembered.
        Ok(match kept.filter(|_| !pieces.is_empty()) {
            Some(kept) => Cow::Borrowed(kept.get_or_init(|| pieces)),
            None => Cow::Owned(pieces),
        })
    }

    /// Decodes a piece of a table.
    pub(crate) fn hash_piece(&self, table: usize, found: Found<'t>) -> Result<Piece<'t>> {
        meter::read();
        let (first, value) = found;
        Piece::decode(first.region(), unverified(value))
            .map_err(|what| Error::corrupt(first.key(self.snapshot.index, table), what))
    }

    /// Lists all pieces, and passes each value to `go_on`, until it returns `false`. Returns
    /// whether all were visited.
    pub(super) fn each_hash_piece(&self, go_on: &mut dyn FnMut(&'t [u8]) -> bool) -> Result<bool> {
        let Some(tables) = self.hash_tables()? else { return Ok(true) };
        let (first, last) = Key::all_of(self.snapshot.index, Kind::LSH);
        let values = self.source.values(first, last, usize::MAX)?;
        // Where only single values can be looked up, all have been found before.
        let is_whole = !values.is_empty();
        let mut regions: Vec<Vec<Found<'t>>> = vec![Vec::new(); tables.regions.len()];
        for (key, value) in values.into_iter().filter(|(key, _)| key.sub != TRAINED) {
            let (table, first) = Position::of_key(key);
            if let Some(region) = regions.get_mut(table * REGIONS + first.region()) {
                region.push((first, value));
            }
            if !go_on(value) {
                return Ok(false);
            }
        }
        for (kept, pieces) in tables.regions.iter().zip(regions).filter(|_| is_whole) {
            kept.get_or_init(|| pieces);
        }
        Ok(true)
    }

    /// Passes the table of each piece, and the piece, to `each`, in key order.
    pub(super) fn each_hash_content(
        &self,
        mut each: impl FnMut(usize, Piece<'t>) -> Result<()>,
    ) -> Result<()> {
        let (first, last) = Key::all_of(self.snapshot.index, Kind::LSH);
        for (key, value) in self.source.values(first, last, usize::MAX)? {
            if key.sub != TRAINED {
                let (table, first) = Position::of_key(key);
                each(table, self.hash_piece(table, (first, value))?)?;
            }
        }
        Ok(())
    }
}
