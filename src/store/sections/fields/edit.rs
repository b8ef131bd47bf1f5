//! The write buffer of fields: which items get a value, and which lose one. Rows are read, changed
//! and put at the end of an edit.

use std::collections::btree_map::Entry as Noted;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use heed::RoTxn;

use super::{damaged, schema};
use crate::error::Result;
use crate::field::{Entry, Field, Schema};
use crate::format::Kind;
use crate::format::checksum::Sound;
use crate::format::fields::{
    CHUNK, RUN, Row, bounds, decode_chunk, decode_run, encode_chunk, encode_run, encode_schema,
    number_bounds,
};
use crate::format::meta::Meta;
use crate::store::target::RowPut;
use crate::store::{Place, meter};
use crate::types::ItemId;

/// Entries of the runs that a run is split into: there is room for half as many more.
const SPLIT: usize = RUN * 2 / 3;

/// The write buffer: see the module.
#[derive(Default)]
pub(in crate::store) struct FieldsEdit {
    pub(in crate::store) schema: Schema,
    /// Whether the schema has changed.
    is_new: bool,
    /// The fields that have been dropped.
    dropped: Vec<u8>,
    /// By field and value, the items that get it, and those that lose it. `None` for having a value
    /// at all.
    changes: BTreeMap<(u8, Option<Entry>), BTreeMap<ItemId, bool>>,
}

/// The verified body of a row.
fn sound<'t>(
    place: Place<'_>,
    rtxn: &'t RoTxn<'_>,
    field: u8,
    key: &[u8],
) -> Result<Option<&'t [u8]>> {
    meter::read();
    let Some(value) = place.raw.get(rtxn, key)? else { return Ok(None) };
    let sound = Sound::under(key, value);
    let sound =
        sound.ok_or_else(|| damaged(place.index, field, "the checksum of a row does not hold"))?;
    Ok(Some(sound.body()))
}

impl FieldsEdit {
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt).
    pub(in crate::store) fn new(index: u16, meta: &Meta) -> Result<Self> {
        let (schema, is_new) = (schema(index, meta)?, false);
        Ok(Self { schema, is_new, dropped: Vec::new(), changes: BTreeMap::new() })
    }

    /// An item has other values from now on.
    pub(in crate::store) fn change(
        &mut self,
        item: ItemId,
        before: &[(u8, Entry)],
        after: &[(u8, Entry)],
    ) {
        let lost = before.iter().filter(|value| after.binary_search(value).is_err());
        let got = after.iter().filter(|value| before.binary_search(value).is_err());
        for (value, is_got) in
            lost.map(|value| (value, false)).chain(got.map(|value| (value, true)))
        {
            self.note(value.0, Some(value.1.clone()), item, is_got);
        }
        let has = |values: &[(u8, Entry)], field| values.iter().any(|(number, _)| *number == field);
        for number in 0..self.schema.0.len() {
            let field = self.schema.0[number].number;
            match [before, after].map(|values| has(values, field)) {
                [true, false] => self.note(field, None, item, false),
                [false, true] => self.note(field, None, item, true),
                _ => {}
            }
        }
    }

    /// Notes a change. One that undoes an earlier one takes it back.
    fn note(&mut self, field: u8, entry: Option<Entry>, item: ItemId, is_got: bool) {
        match self.changes.entry((field, entry)).or_default().entry(item) {
            Noted::Occupied(noted) if *noted.get() != is_got => {
                noted.remove();
            }
            Noted::Occupied(_) => {}
            Noted::Vacant(place) => {
                place.insert(is_got);
            }
        }
    }

    /// Adds a field. Items get its values by [`change`](Self::change) afterwards.
    ///
    /// # Errors
    /// [`Error::InvalidField`](crate::Error::InvalidField).
    pub(in crate::store) fn add(&mut self, field: Field) -> Result<Schema> {
        let stored = self.schema.add(field)?;
        self.is_new = true;
        Ok(Schema(vec![stored]))
    }

    /// Drops a field, and all rows of it.
    ///
    /// # Errors
    /// [`Error::UnknownField`](crate::Error::UnknownField).
    pub(in crate::store) fn drop_field(&mut self, name: &str) -> Result<()> {
        let number = self.schema.field(name)?.number;
        self.schema.0.retain(|stored| stored.number != number);
        self.changes.retain(|(field, _), _| *field != number);
        self.dropped.push(number);
        self.is_new = true;
        Ok(())
    }

    /// Updates META, and drains the buffer. All rows that change are read here.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) for a damaged row.
    pub(in crate::store) fn finish(
        self,
        place: Place<'_>,
        rtxn: &RoTxn<'_>,
        meta: &mut Meta,
    ) -> Result<Vec<RowPut>> {
        let mut puts = Vec::new();
        for field in self.dropped {
            let [first, end] = bounds(place.index, field);
            let range = (Bound::Included(&first[..]), Bound::Excluded(&end[..]));
            for entry in place.raw.range(rtxn, &range)? {
                puts.push((entry?.0.to_vec(), None));
            }
        }
        let mut numbers: BTreeMap<u8, BTreeMap<(u64, ItemId), bool>> = BTreeMap::new();
        for ((field, entry), items) in self.changes {
            match entry {
                None => change_chunks(place, rtxn, field, Row::Exists, items, &mut puts)?,
                Some(Entry::Bytes(value)) => {
                    let row = |chunk| Row::Value(&value, chunk);
                    change_chunks(place, rtxn, field, row, items, &mut puts)?;
                }
                Some(Entry::Number(number)) => {
                    let items = items.into_iter().map(|(item, is_got)| ((number, item), is_got));
                    numbers.entry(field).or_default().extend(items);
                }
            }
        }
        for (field, changes) in numbers {
            change_runs(place, rtxn, field, changes, &mut puts)?;
        }
        if self.is_new {
            meta.set_part(Kind::FIELDS, encode_schema(&self.schema));
        }
        Ok(puts)
    }
}

/// Changes the members of a set, chunk by chunk.
fn change_chunks<'r>(
    place: Place<'_>,
    rtxn: &RoTxn<'_>,
    field: u8,
    row: impl Fn(u32) -> Row<'r>,
    items: BTreeMap<ItemId, bool>,
    puts: &mut Vec<RowPut>,
) -> Result<()> {
    let items: Vec<(ItemId, bool)> = items.into_iter().collect();
    for items in items.chunk_by(|(a, _), (b, _)| a / CHUNK == b / CHUNK) {
        let chunk = items[0].0 / CHUNK;
        let key = row(chunk).to_bytes(place.index, field);
        let before = match sound(place, rtxn, field, &key)? {
            Some(body) => decode_chunk(body).map_err(|what| damaged(place.index, field, what))?,
            None => Vec::new(),
        };
        let mut after = Vec::with_capacity(before.len() + items.len());
        let (mut before, mut changes) = (before.into_iter().peekable(), items.iter().peekable());
        loop {
            let next = changes.peek().map(|(item, is_got)| ((item % CHUNK) as u16, *is_got));
            match (before.peek().copied(), next) {
                (Some(old), next) if next.is_none_or(|(member, _)| old < member) => {
                    after.push(old);
                    before.next();
                }
                (old, Some((member, is_got))) => {
                    if is_got {
                        after.push(member);
                    }
                    if old == Some(member) {
                        before.next();
                    }
                    changes.next();
                }
                _ => break,
            }
        }
        puts.push((key, encode_chunk(&after)));
    }
    Ok(())
}

/// Changes the runs of numbers of a field.
fn change_runs(
    place: Place<'_>,
    rtxn: &RoTxn<'_>,
    field: u8,
    changes: BTreeMap<(u64, ItemId), bool>,
    puts: &mut Vec<RowPut>,
) -> Result<()> {
    let [first, end] = number_bounds(place.index, field);
    let corrupt = |what| damaged(place.index, field, what);
    let begin = |key: &[u8]| match Row::from_bytes(key) {
        Some((_, Row::Numbers(number, item))) => Ok((number, item)),
        _ => Err(corrupt("the key of a row is not one")),
    };
    let mut changes = changes.into_iter().peekable();
    while let Some((at, _)) = changes.peek().copied() {
        // The run that the change belongs to: the last that begins before it, or the first.
        let key = Row::Numbers(at.0, at.1).to_bytes(place.index, field);
        meter::read();
        let up_to = (Bound::Included(&first[..]), Bound::Included(&key[..]));
        let run = match place.raw.rev_range(rtxn, &up_to)?.next() {
            Some(run) => Some(run?),
            None => {
                let all = (Bound::Included(&first[..]), Bound::Excluded(&end[..]));
                place.raw.range(rtxn, &all)?.next().transpose()?
            }
        };
        let (mut entries, mut until) = (BTreeSet::new(), None);
        if let Some((key, value)) = run {
            let body = Sound::under(key, value)
                .ok_or_else(|| corrupt("the checksum of a row does not hold"))?
                .body();
            let decoded = decode_run(body, begin(key)?).map_err(corrupt)?;
            entries.extend(decoded);
            let after = (Bound::Excluded(key), Bound::Excluded(&end[..]));
            let next = place.raw.range(rtxn, &after)?.next().transpose()?;
            until = next.map(|(key, _)| begin(key)).transpose()?;
            puts.push((key.to_vec(), None));
        }
        while let Some((at, is_got)) = changes.next_if(|(at, _)| until.is_none_or(|end| *at < end))
        {
            match is_got {
                true => entries.insert(at),
                false => entries.remove(&at),
            };
        }
        put_runs(place.index, field, entries.into_iter().collect(), puts);
    }
    Ok(())
}

/// Puts entries as a run, or as several if they are too many. Replaces the last put, which deletes
/// the old run, if the first of them has its key.
fn put_runs(index: u16, field: u8, entries: Vec<(u64, ItemId)>, puts: &mut Vec<RowPut>) {
    let most = if entries.len() <= RUN { RUN } else { SPLIT };
    for entries in entries.chunks(most) {
        let (number, item) = entries[0];
        let key = Row::Numbers(number, item).to_bytes(index, field);
        puts.pop_if(|(deleted, body)| body.is_none() && *deleted == key);
        puts.push((key, encode_run(entries)));
    }
}
