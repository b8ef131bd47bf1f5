//! The invariants of the tables: every slot that is not free is in each table once, with the hash
//! of its vector, and a search can reach it.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;

use super::training::part;
use crate::error::Result;
use crate::format::Key;
use crate::format::checksum::unverified;
use crate::format::codes::Trained;
use crate::format::set::SetKind;
use crate::kinds::lsh::format::{Piece, Position, REGIONS, TRAINED};
use crate::store::checker::{Checker, Invariant};
use crate::types::Slot;

impl Checker<'_, '_, '_> {
    /// Checks the layout of a value. `false` if no such key may exist.
    pub(super) fn hash_value(&mut self, key: Key, value: &[u8]) -> Result<bool> {
        let meta = &self.view.snapshot.meta;
        let part = part(self.place.index, meta);
        let Some(part) = self.survive(part)?.flatten() else { return Ok(false) };
        let body = unverified(value);
        if (key.sub, key.n) == (TRAINED, 0) {
            let dimensions = self.view.snapshot.meta.dimensions;
            self.layout(key, Trained::decode(body, dimensions).map(drop));
            return Ok(true);
        }
        let (table, first) = Position::of_key(key);
        let piece = Piece::decode(first.region(), body);
        self.layout(key, piece.and_then(|piece| piece.check(first)));
        Ok(table < usize::from(part.tables))
    }

    /// Checks the invariant `hashes`.
    pub(super) fn check_hashes(&mut self) -> Result<()> {
        let part = part(self.place.index, &self.view.snapshot.meta);
        let part = self.survive(part)?.flatten();
        let Some(part) = part else { return Ok(()) };
        let tables = self.view.hash_tables();
        let Some(tables) = self.survive(tables)?.flatten() else { return Ok(()) };
        let mut hashes: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        let mut scratch = Vec::new();
        let view = self.view.on_any_source();
        let (metric, meta) = (view.snapshot.metric, &view.snapshot.meta);
        for slot in
            (0..meta.slots).filter(|slot| !self.sets[SetKind::Free as usize].contains(*slot))
        {
            // A vector that cannot be read is reported by the check of the vectors.
            let Ok(address) = view.vector(Slot(slot)) else { continue };
            let decoded = metric.decode(address.bytes, meta.scale);
            let row = metric.coded(&decoded, address.factor, meta.dimensions as usize);
            let mut found = Vec::new();
            tables.hasher.hash(&row, &mut scratch, &mut found);
            hashes.insert(slot, found);
        }
        for table in 0..usize::from(part.tables) {
            self.check_table(table, &hashes)?;
        }
        Ok(())
    }

    fn check_table(&mut self, table: usize, hashes: &BTreeMap<u32, Vec<u32>>) -> Result<()> {
        let mut pieces = Vec::new();
        let [first, last] = [Position::first_of(0), Position::first_of(REGIONS - 1)];
        let (first, last) = (first, last.last_of_region());
        let [first, last] = [first, last].map(|at| at.key(self.place.index, table));
        for entry in self.place.range(self.rtxn, first, last)? {
            let (key, value) = entry?;
            let first = Position::of_key(key).1;
            if let Ok(piece) = Piece::decode(first.region(), unverified(value)) {
                pieces.push((first, piece));
            }
        }
        let mut seen = RoaringBitmap::new();
        let mut wrong = Vec::new();
        for (nth, (first, piece)) in pieces.iter().enumerate() {
            let previous = nth.checked_sub(1).and_then(|nth| pieces.get(nth));
            if previous.is_none_or(|(before, _)| before.region() != first.region())
                && !first.is_first()
            {
                wrong.push(format!("no piece of table {table} is before that of {first:?}"));
            }
            let end = match pieces.get(nth + 1) {
                Some((next, _)) if next.region() == first.region() => next.before(),
                _ => first.last_of_region(),
            };
            for entry in piece.entries() {
                let expected = hashes.get(&entry.slot).and_then(|hashes| hashes.get(table));
                if expected != Some(&entry.hash) {
                    wrong.push(format!("slot {} is in table {table} by a wrong hash", entry.slot));
                }
                if !seen.insert(entry.slot) {
                    wrong.push(format!("slot {} is in table {table} twice", entry.slot));
                }
                if entry.position() < *first || entry.position() > end {
                    wrong.push(format!("slot {} is in a wrong piece of {table}", entry.slot));
                }
            }
        }
        let lost = hashes.keys().find(|slot| !seen.contains(**slot));
        wrong.extend(lost.map(|slot| format!("slot {slot} is not in table {table}")));
        wrong.into_iter().for_each(|what| self.findings.add(Invariant::Hashes, what));
        Ok(())
    }
}
