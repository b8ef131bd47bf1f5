//! The rows of one field, read: the items that have a value, or a number in a range.

use std::ops::Bound;

use roaring::RoaringBitmap;

use super::damaged;
use super::gathered::Gathered;
use crate::error::{Error, Result};
use crate::field::{Entry, FieldType, FieldValue, Test};
use crate::format::checksum::Sound;
use crate::format::fields::{
    CHUNK, Row, bitmap_of, decode_chunk, exists_bounds, number_bounds, run_entries, value_bounds,
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
            for row in &rows {
                let (row, body) = self.sound(*row)?;
                if !each(row, body)? {
                    return Ok(());
                }
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

    /// Adds the members of a chunk to a set.
    fn add_chunk(&self, chunk: u32, body: &[u8], ids: &mut Gathered<'_>) -> Result<()> {
        let first = self.first(chunk)?;
        if !ids.takes_any(first, CHUNK) {
            return Ok(());
        }
        match bitmap_of(body) {
            Some(bits) => ids.add_bits(first, bits),
            None => ids.extend(self.members(chunk, body)?.into_iter()),
        }
        Ok(())
    }

    /// Adds the items that have a value at all to a set.
    fn existing(&self, ids: &mut Gathered<'_>) -> Result<()> {
        let [first, end] = exists_bounds(self.view.snapshot.index, self.field);
        self.each(first, &end, |row, body| {
            if let Row::Exists(chunk) = row {
                self.add_chunk(chunk, body, ids)?;
            }
            Ok(true)
        })
    }

    /// Adds the items that have a value to a set.
    fn with_value(&self, bytes: &[u8], ids: &mut Gathered<'_>) -> Result<()> {
        let key = |chunk| Row::Value(bytes, chunk).to_bytes(self.view.snapshot.index, self.field);
        // Other values lie between if they go on with a zero.
        self.each(key(0), &key(u32::MAX / CHUNK + 1), |row, body| {
            if let Row::Value(value, chunk) = row
                && value == bytes
            {
                self.add_chunk(chunk, body, ids)?;
            }
            Ok(true)
        })
    }

    /// Adds the items that have a value which begins with some bytes to a set.
    fn with_prefix(&self, bytes: &[u8], ids: &mut Gathered<'_>) -> Result<()> {
        let [mut first, end] = value_bounds(self.view.snapshot.index, self.field);
        first.extend(bytes);
        self.each(first, &end, |row, body| {
            let Row::Value(value, chunk) = row else { return Ok(false) };
            if value.starts_with(bytes) {
                self.add_chunk(chunk, body, ids)?;
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
        let index = self.view.snapshot.index;
        let [all, end] = number_bounds(index, self.field);
        // The last run that begins before the range may reach into it.
        let key = Row::Numbers(low, 0).to_bytes(index, self.field);
        let bounds = (Bound::Included(&all[..]), Bound::Included(&key[..]));
        let before = self.view.source.rows(bounds.0, bounds.1, true, 1)?;
        let first = before.first().map_or(key, |(key, _)| key.to_vec());
        self.each(first, &end, |row, body| {
            let Row::Numbers(begin, _) = row else { return Ok(false) };
            if begin > high {
                return Ok(false);
            }
            let items = run_entries(body).map(|(_, item)| item);
            let ends = [run_entries(body).next(), run_entries(body).next_back()];
            // Most runs are in the range whole.
            match ends.iter().flatten().all(|(number, _)| (low..=high).contains(number)) {
                true => ids.extend(items),
                false => ids.extend(
                    run_entries(body)
                        .filter(|(number, _)| (low..=high).contains(number))
                        .map(|(_, item)| item),
                ),
            }
            Ok(true)
        })
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
            Test::Exists => self.existing(&mut ids)?,
            Test::In(values) => {
                // All are checked first.
                let entries = values.iter().map(|value| self.entry(name, value));
                for entry in entries.collect::<Result<Vec<_>>>()? {
                    match entry {
                        Entry::Bytes(bytes) => self.with_value(&bytes, &mut ids)?,
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
