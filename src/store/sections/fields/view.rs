//! Conditions resolved to items, and counts by value.

use std::ops::Bound;

use roaring::RoaringBitmap;

use super::{damaged, schema};
use crate::error::{Error, Result};
use crate::field::{Condition, Entry, FieldType, FieldValue, Node, Schema, Stored, Test};
use crate::format::checksum::Sound;
use crate::format::fields::{
    CHUNK, Row, bitmap_of, bounds, decode_chunk, exists_bounds, number_bounds, run_entries,
    value_bounds,
};
use crate::store::meter;
use crate::store::sections::records;
use crate::store::source::{Source, SourceRow};
use crate::store::view::View;
use crate::types::ItemId;

/// Rows that are looked up at a time.
const ROWS_AHEAD: usize = 256;
/// Bits for each item of a set that is built as one bit an id, at most: else it is sorted.
const BITS_PER_ITEM: usize = 128;

/// Items: these, or all but these.
#[derive(Debug, Clone)]
pub(crate) enum Ids {
    Only(RoaringBitmap),
    AllBut(RoaringBitmap),
}

impl Ids {
    fn not(self) -> Self {
        match self {
            Self::Only(ids) => Self::AllBut(ids),
            Self::AllBut(ids) => Self::Only(ids),
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Only(a), Self::Only(b)) => Self::Only(a & b),
            (Self::Only(a), Self::AllBut(b)) | (Self::AllBut(b), Self::Only(a)) => {
                Self::Only(a - b)
            }
            (Self::AllBut(a), Self::AllBut(b)) => Self::AllBut(a | b),
        }
    }
}

/// A set of ids in any order.
fn set_of(mut ids: Vec<ItemId>) -> RoaringBitmap {
    let bits = ids.iter().max().map_or(0, |max| *max as usize + 1);
    if bits <= ids.len().saturating_mul(BITS_PER_ITEM) {
        let mut bytes = vec![0u8; bits.div_ceil(8)];
        for id in ids {
            bytes[id as usize / 8] |= 1 << (id % 8);
        }
        return RoaringBitmap::from_lsb0_bytes(0, &bytes);
    }
    ids.sort_unstable();
    ids.into_iter().collect()
}

/// The rows of one field on a view.
struct Rows<'a, 's, 't, S> {
    view: &'a View<'s, 't, S>,
    field: u8,
    of: FieldType,
}

impl<'t, S: Source<'t>> Rows<'_, '_, 't, S> {
    fn damaged(&self, what: &'static str) -> Error {
        damaged(self.view.snapshot.index, self.field, what)
    }

    /// Passes the rows with keys from `first` to before `end` to `each`, verified, until it returns
    /// `false`.
    fn each(
        &self,
        first: Vec<u8>,
        end: &[u8],
        mut each: impl FnMut(Row<'t>, &'t [u8]) -> Result<bool>,
    ) -> Result<()> {
        let mut from = Bound::Included(first);
        loop {
            let bound = from.as_ref().map(|key| &key[..]);
            let rows = self.view.source.rows(bound, Bound::Excluded(end), false, ROWS_AHEAD)?;
            for row in &rows {
                let (row, body) = self.sound(*row)?;
                if !each(row, body)? {
                    return Ok(());
                }
            }
            match rows.last() {
                Some((key, _)) if rows.len() == ROWS_AHEAD => from = Bound::Excluded(key.to_vec()),
                _ => return Ok(()),
            }
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

    /// Adds the members of a chunk to a set.
    fn add_chunk(&self, chunk: u32, body: &[u8], ids: &mut RoaringBitmap) -> Result<()> {
        let first =
            chunk.checked_mul(CHUNK).ok_or_else(|| self.damaged("the key of a row is not one"))?;
        match bitmap_of(body) {
            Some(bytes) => *ids |= RoaringBitmap::from_lsb0_bytes(first, bytes),
            None => {
                let members = decode_chunk(body).map_err(|what| self.damaged(what))?;
                ids.extend(members.into_iter().map(|member| first + u32::from(member)));
            }
        }
        Ok(())
    }

    /// The items that have a value at all.
    fn existing(&self) -> Result<RoaringBitmap> {
        let [first, end] = exists_bounds(self.view.snapshot.index, self.field);
        let mut ids = RoaringBitmap::new();
        self.each(first, &end, |row, body| {
            if let Row::Exists(chunk) = row {
                self.add_chunk(chunk, body, &mut ids)?;
            }
            Ok(true)
        })?;
        Ok(ids)
    }

    /// Adds the items that have a value to a set.
    fn with_value(&self, bytes: &[u8], ids: &mut RoaringBitmap) -> Result<()> {
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
    fn with_prefix(&self, bytes: &[u8], ids: &mut RoaringBitmap) -> Result<()> {
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

    /// The items that have a number in a range, in any order, once for each such number.
    fn in_range(&self, low: Bound<u64>, high: Bound<u64>) -> Result<Vec<ItemId>> {
        let mut ids = Vec::new();
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
            return Ok(ids);
        };
        if low > high {
            return Ok(ids);
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
            let inside = run_entries(body).filter(|(number, _)| (low..=high).contains(number));
            ids.extend(inside.map(|(_, item)| item));
            Ok(true)
        })?;
        Ok(ids)
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

    /// The items that pass a test.
    fn passing(&self, name: &str, test: &Test) -> Result<RoaringBitmap> {
        let mut ids = RoaringBitmap::new();
        match test {
            Test::Exists => return self.existing(),
            Test::In(values) => {
                // All are checked first.
                let entries = values.iter().map(|value| self.entry(name, value));
                for entry in entries.collect::<Result<Vec<_>>>()? {
                    match entry {
                        Entry::Bytes(bytes) => self.with_value(&bytes, &mut ids)?,
                        Entry::Number(number) => {
                            let only = Bound::Included(number);
                            ids |= set_of(self.in_range(only, only)?);
                        }
                    }
                }
            }
            Test::Range(low, high) => {
                let [low, high] = [self.number(name, low)?, self.number(name, high)?];
                ids = set_of(self.in_range(low, high)?);
            }
            Test::StartsWith(prefix) if self.of == FieldType::Keyword => {
                self.with_prefix(prefix.as_bytes(), &mut ids)?;
            }
            Test::StartsWith(_) => {
                return Err(self.mismatch(name, "compared with a prefix".to_owned()));
            }
        }
        Ok(ids)
    }
}

impl<'t, S: Source<'t>> View<'_, 't, S> {
    fn rows_of(&self, Stored { number, field }: &Stored) -> Rows<'_, '_, 't, S> {
        Rows { view: self, field: *number, of: field.of }
    }

    /// The fields of the index.
    pub(crate) fn fields(&self) -> Result<Schema> {
        schema(self.snapshot.index, &self.snapshot.meta)
    }

    /// The values that an item has of the fields of a schema, ascending, from its record.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub(crate) fn values_of(&self, schema: &Schema, item: ItemId) -> Result<Vec<Entry>> {
        let Some(record) = self.record_of(item)? else { return Ok(Vec::new()) };
        let values = schema.values(record).map_err(|_| {
            let key = records::key(self.snapshot.index, item);
            Error::corrupt(key, "the record of an item does not fit the fields of its index")
        })?;
        Ok(values.into_iter().map(|(_, entry)| entry).collect())
    }

    /// All rows of fields, unread.
    pub(crate) fn field_rows(&self) -> Result<Vec<SourceRow<'t>>> {
        let index = self.snapshot.index;
        let schema = self.fields()?;
        let mut rows = Vec::new();
        for Stored { number, .. } in &schema.0 {
            let [first, end] = bounds(index, *number);
            let range = (Bound::Included(&first[..]), Bound::Excluded(&end[..]));
            rows.extend(self.source.rows(range.0, range.1, false, usize::MAX)?);
        }
        Ok(rows)
    }

    /// The items for which a condition holds.
    ///
    /// # Errors
    /// [`Error::UnknownField`], [`Error::FieldMismatch`], [`Error::Corrupt`].
    pub(crate) fn matching(&self, condition: &Condition) -> Result<Ids> {
        self.evaluate(&self.fields()?, condition)
    }

    fn evaluate(&self, schema: &Schema, Condition(node): &Condition) -> Result<Ids> {
        match node {
            Node::Test(name, test) => {
                let rows = self.rows_of(schema.field(name)?);
                rows.passing(name, test).map(Ids::Only)
            }
            Node::Not(condition) => Ok(self.evaluate(schema, condition)?.not()),
            Node::And(all) => {
                let mut ids = Ids::AllBut(RoaringBitmap::new());
                for condition in all {
                    ids = ids.and(self.evaluate(schema, condition)?);
                }
                Ok(ids)
            }
            Node::Or(any) => {
                let mut others = Ids::AllBut(RoaringBitmap::new());
                for condition in any {
                    others = others.and(self.evaluate(schema, condition)?.not());
                }
                Ok(others.not())
            }
        }
    }

    /// The number of items for which a condition holds.
    ///
    /// # Errors
    /// As [`matching`](Self::matching).
    pub(crate) fn count_matching(&self, condition: &Condition) -> Result<u64> {
        Ok(match self.matching(condition)? {
            Ids::Only(ids) => ids.len(),
            Ids::AllBut(ids) => u64::from(self.snapshot.meta.items).saturating_sub(ids.len()),
        })
    }

    /// The values of a field, each with the number of items that have it, the most frequent first,
    /// among all items or some.
    ///
    /// # Errors
    /// As [`matching`](Self::matching).
    pub(crate) fn facet(
        &self,
        name: &str,
        among: Option<&Condition>,
    ) -> Result<Vec<(FieldValue, u64)>> {
        let schema = self.fields()?;
        let rows = self.rows_of(schema.field(name)?);
        let among = among.map(|condition| self.evaluate(&schema, condition)).transpose()?;
        let is_among = |item: ItemId| match &among {
            None => true,
            Some(Ids::Only(ids)) => ids.contains(item),
            Some(Ids::AllBut(ids)) => !ids.contains(item),
        };
        let mut counts: Vec<(Entry, u64)> = Vec::new();
        let mut add = |entry: Entry, count: u64| match counts.last_mut() {
            Some((last, total)) if *last == entry => *total += count,
            _ if count > 0 => counts.push((entry, count)),
            _ => {}
        };
        let [first, _] = value_bounds(self.snapshot.index, rows.field);
        let [_, end] = number_bounds(self.snapshot.index, rows.field);
        rows.each(first, &end, |row, body| {
            match row {
                Row::Value(value, chunk) => {
                    let mut ids = RoaringBitmap::new();
                    rows.add_chunk(chunk, body, &mut ids)?;
                    let count = ids.iter().filter(|item| is_among(*item)).count();
                    add(Entry::Bytes(value.to_vec()), count as u64);
                }
                Row::Numbers(..) => {
                    for (number, _) in run_entries(body).filter(|(_, item)| is_among(*item)) {
                        add(Entry::Number(number), 1);
                    }
                }
                Row::Exists(_) => {}
            }
            Ok(true)
        })?;
        // Rows of a value that another one begins with may come between its own.
        counts.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut merged: Vec<(Entry, u64)> = Vec::with_capacity(counts.len());
        for (entry, count) in counts {
            match merged.last_mut() {
                Some((last, total)) if *last == entry => *total += count,
                _ => merged.push((entry, count)),
            }
        }
        merged.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let shown = merged.into_iter().map(|(entry, count)| {
            let value = rows.of.value(&entry);
            Ok((
                value.ok_or_else(|| {
                    rows.damaged("the value of a row is not of the type of the field")
                })?,
                count,
            ))
        });
        shown.collect()
    }
}
