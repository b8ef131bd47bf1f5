//! The rows of one field, read: the items that have a value, or a number in a range.

use std::ops::{Bound, RangeInclusive};

use roaring::RoaringBitmap;

use super::damaged;
use super::gathered::Gathered;
use super::tables::{Chunks, Runs, each_row};
use crate::error::{Error, Result};
use crate::field::{Entry, FieldType, FieldValue, Test};
use crate::format::checksum::Sound;
use crate::format::fields::{
    CHUNK, Chunk, Row, decode_chunk, exists_bounds, number_bounds, run_entries, value_bounds,
};
use crate::store::meter;
use crate::store::source::{Source, SourceRow};
use crate::store::view::View;
use crate::types::ItemId;

/// Rows that are looked up at a time: so many first, each time so many times more, at most so many.
const FIRST_ROWS: usize = 4;
const MORE_ROWS: usize = 4;
const MAX_ROWS: usize = 256;

/// The rows of one field on a view.
pub(super) struct Rows<'a, 's, 't, S> {
    pub(super) view: &'a View<'s, 't, S>,
    pub(super) field: u8,
    pub(super) of: FieldType,
}

impl<'t, S: Source<'t>> Rows<'_, '_, 't, S> {
    pub(super) fn damaged(&self, what: &'static str) -> Error {
        damaged(self.view.snapshot.index, self.field, what)
    }

    /// Passes the rows with keys from `first` to before `end` to `each`, verified, until it returns
    /// `false`.
    pub(super) fn each(
        &self,
        first: Vec<u8>,
        end: &[u8],
        mut each: impl FnMut(Row<'t>, &'t [u8]) -> Result<bool>,
    ) -> Result<()> {
        let (mut from, mut ahead) = (Bound::Included(first), FIRST_ROWS);
        loop {
            let bound = from.as_ref().map(|key| &key[..]);
            let rows = self.view.source.rows(bound, Bound::Excluded(end), false, ahead)?;
            let mut goes_on = Ok(true);
            each_row(
                &rows,
                |(_, value)| value,
                |row| {
                    if let Ok(true) = goes_on {
                        goes_on = self.sound(*row).and_then(|(row, body)| each(row, body));
                    }
                },
            );
            if !goes_on? {
                return Ok(());
            }
            match rows.last() {
                Some((key, _)) if rows.len() == ahead => from = Bound::Excluded(key.to_vec()),
                _ => return Ok(()),
            }
            ahead = (ahead * MORE_ROWS).min(MAX_ROWS);
        }
    }

    /// A row and its verified body.
    fn sound(&self, (key, value): SourceRow<'t>) -> Result<(Row<'t>, &'t [u8])> {
        meter::read();
        let (_, row) =
            Row::from_bytes(key).ok_or_else(|| self.damaged("the key of a row is not one"))?;
        let sound = Sound::under(key, value);
        let sound = sound.ok_or_else(|| self.damaged("the checksum of a row does not hold"))?;
        Ok((row, sound.body()))
    }

    /// The items of a chunk, ascending.
    pub(super) fn members(&self, chunk: u32, body: &[u8]) -> Result<Vec<ItemId>> {
        let first = self.first(chunk)?;
        let members = decode_chunk(body).map_err(|what| self.damaged(what))?;
        Ok(members.into_iter().map(|member| first + u32::from(member)).collect())
    }

    /// The first id of a chunk.
    fn first(&self, chunk: u32) -> Result<ItemId> {
        chunk.checked_mul(CHUNK).ok_or_else(|| self.damaged("the key of a row is not one"))
    }

    /// The items of a chunk, with the first id of it.
    fn chunk(&self, chunk: u32, body: &'t [u8]) -> Result<(ItemId, Chunk<'t>)> {
        Ok((self.first(chunk)?, Chunk::of(body).map_err(|what| self.damaged(what))?))
    }

    /// The chunks of the items that have a value, or one at all.
    fn chunks(&self, value: Option<&[u8]>) -> Result<Chunks<'t>> {
        let (snapshot, field) = (self.view.snapshot, self.field);
        let row = |chunk| value.map_or(Row::Exists(chunk), |value| Row::Value(value, chunk));
        let key = |chunk| row(chunk).to_bytes(snapshot.index, field);
        let first = key(0);
        if let Some(chunks) = snapshot.fields.chunks(&first) {
            return Ok(chunks);
        }
        let [_, all] = exists_bounds(snapshot.index, field);
        let end = value.map_or(all, |_| key(u32::MAX / CHUNK + 1));
        let mut chunks = Vec::new();
        self.each(first.clone(), &end, |row, body| {
            match row {
                Row::Exists(chunk) => chunks.push(self.chunk(chunk, body)?),
                // Other values lie between if they go on with a zero.
                Row::Value(bytes, chunk) if value == Some(bytes) => {
                    chunks.push(self.chunk(chunk, body)?);
                }
                _ => {}
            }
            Ok(true)
        })?;
        let chunks = Chunks::from(chunks);
        snapshot.fields.keep_chunks(snapshot.memory, snapshot.meta.items, first, &chunks);
        Ok(chunks)
    }

    /// Adds the items that have a value which begins with some bytes to a set.
    fn with_prefix(&self, bytes: &[u8], ids: &mut Gathered<'_>) -> Result<()> {
        let [mut first, end] = value_bounds(self.view.snapshot.index, self.field);
        first.extend(bytes);
        self.each(first, &end, |row, body| {
            let Row::Value(value, chunk) = row else { return Ok(false) };
            if value.starts_with(bytes) {
                let (first, chunk) = self.chunk(chunk, body)?;
                ids.add_chunk(first, chunk);
            }
            // A shorter value lies between if its chunk goes on like the prefix.
            Ok(bytes.starts_with(value.get(..bytes.len()).unwrap_or(value)))
        })
    }

    /// Adds the items that have a number in a range to a set.
    fn in_range(&self, low: Bound<u64>, high: Bound<u64>, ids: &mut Gathered<'_>) -> Result<()> {
        let (Some(low), Some(high)) = (
            match low {
                Bound::Included(low) => Some(low),
                Bound::Excluded(low) => low.checked_add(1),
                Bound::Unbounded => Some(0),
            },
            match high {
                Bound::Included(high) => Some(high),
                Bound::Excluded(high) => high.checked_sub(1),
                Bound::Unbounded => Some(u64::MAX),
            },
        ) else {
            return Ok(());
        };
        if low > high {
            return Ok(());
        }
        let snapshot = self.view.snapshot;
        if let Some(runs) = snapshot.fields.runs(self.field) {
            add_from(&runs, low..=high, ids);
            return Ok(());
        }
        let mut read = 0;
        let [all, end] = number_bounds(snapshot.index, self.field);
        // The last run that begins before the range may reach into it.
        let key = Row::Numbers(low, 0).to_bytes(snapshot.index, self.field);
        let bounds = (Bound::Included(&all[..]), Bound::Included(&key[..]));
        let before = self.view.source.rows(bounds.0, bounds.1, true, 1)?;
        let first = before.first().map_or(key, |(key, _)| key.to_vec());
        self.each(first, &end, |row, body| {
            let Row::Numbers(begin, _) = row else { return Ok(false) };
            if begin <= high {
                read += 1;
                add_run(body, &(low..=high), ids);
            }
            Ok(begin <= high)
        })?;
        if snapshot.fields.are_due(snapshot.memory, snapshot.meta.items, self.field, read) {
            // Rows that are damaged elsewhere do not concern this range.
            if let Ok(runs) = self.runs() {
                snapshot.fields.keep_runs(self.field, runs);
            }
        }
        Ok(())
    }

    /// All runs of the field.
    fn runs(&self) -> Result<Runs<'t>> {
        let [first, end] = number_bounds(self.view.snapshot.index, self.field);
        let mut runs = Vec::new();
        self.each(first, &end, |row, body| {
            if let Row::Numbers(number, item) = row {
                runs.push(((number, item), body));
            }
            Ok(true)
        })?;
        Ok(Runs::of(runs))
    }

    fn mismatch(&self, name: &str, requested: String) -> Error {
        Error::FieldMismatch { field: name.to_owned(), stored: self.of.describe(), requested }
    }

    fn entry(&self, name: &str, value: &FieldValue) -> Result<Entry> {
        let entry = self.of.entry(value);
        entry.ok_or_else(|| self.mismatch(name, format!("compared with {value}")))
    }

    fn number(&self, name: &str, bound: &Bound<FieldValue>) -> Result<Bound<u64>> {
        let number = |value: &FieldValue| match self.entry(name, value)? {
            Entry::Number(number) => Ok(number),
            Entry::Bytes(_) => Err(self.mismatch(name, format!("compared in order with {value}"))),
        };
        Ok(match bound {
            Bound::Included(value) => Bound::Included(number(value)?),
            Bound::Excluded(value) => Bound::Excluded(number(value)?),
            Bound::Unbounded if !self.of.is_number() => {
                return Err(self.mismatch(name, "compared in order".to_owned()));
            }
            Bound::Unbounded => Bound::Unbounded,
        })
    }

    /// The items that pass a test, as far as they are in `within`, if that is given.
    pub(super) fn passing(
        &self,
        name: &str,
        test: &Test,
        within: Option<&RoaringBitmap>,
    ) -> Result<RoaringBitmap> {
        let mut ids = Gathered::within(within);
        match test {
            Test::Exists => ids.add_chunks(&self.chunks(None)?),
            Test::In(values) => {
                // All are checked first.
                let entries = values.iter().map(|value| self.entry(name, value));
                for entry in entries.collect::<Result<Vec<_>>>()? {
                    match entry {
                        Entry::Bytes(bytes) => ids.add_chunks(&self.chunks(Some(&bytes))?),
                        Entry::Number(number) => {
                            let only = Bound::Included(number);
                            self.in_range(only, only, &mut ids)?;
                        }
                    }
                }
            }
            Test::Range(low, high) => {
                let [low, high] = [self.number(name, low)?, self.number(name, high)?];
                self.in_range(low, high, &mut ids)?;
            }
            Test::StartsWith(prefix) if self.of == FieldType::Keyword => {
                self.with_prefix(prefix.as_bytes(), &mut ids)?;
            }
            Test::StartsWith(_) => {
                return Err(self.mismatch(name, "compared with a prefix".to_owned()));
            }
        }
        Ok(ids.into_set())
    }
}

/// Adds the items of a run that have a number in a range to a set.
fn add_run(body: &[u8], range: &RangeInclusive<u64>, ids: &mut Gathered<'_>) {
    let ends = [run_entries(body).next(), run_entries(body).next_back()];
    // Most runs are in the range whole.
    if ends.iter().flatten().all(|(number, _)| range.contains(number)) {
        ids.extend(run_entries(body).map(|(_, item)| item));
    } else {
        let entries = run_entries(body).filter(|(number, _)| range.contains(number));
        ids.extend(entries.map(|(_, item)| item));
    }
}

/// Adds the items that have a number in a range to a set, from the runs of the field.
fn add_from(runs: &Runs<'_>, range: RangeInclusive<u64>, ids: &mut Gathered<'_>) {
    let (low, high) = (*range.start(), *range.end());
    let between = runs.between(low, high);
    match runs.set(&between, low, high) {
        Some(bits) => ids.add_all_bits(bits),
        None => each_row(runs.bodies(between), |body| body, |body| add_run(body, &range, ids)),
    }
}
