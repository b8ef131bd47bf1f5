//! Conditions resolved to items, and counts by value.

use std::ops::Bound;

use roaring::RoaringBitmap;

use super::ids::{Ids, KeptIds};
use super::rows::Rows;
use super::schema;
use crate::error::{Error, Result};
use crate::field::{Condition, Entry, FieldValue, Node, Schema, Stored, Test};
use crate::format::fields::{Row, bounds, number_bounds, run_entries, value_bounds};
use crate::store::sections::records;
use crate::store::snapshot::Snapshot;
use crate::store::source::{Source, SourceRow};
use crate::store::view::View;
use crate::types::ItemId;

/// The order in which the conditions that must all hold are looked at: sets by value, then what has
/// to read numbers in order, then what excludes.
fn cost_rank(Condition(node): &Condition) -> u8 {
    match node {
        Node::Test(_, Test::Range(..)) => 2,
        Node::Test(..) => 0,
        Node::And(_) | Node::Or(_) => 1,
        Node::Not(_) => 3,
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

    /// The items for which a condition holds. From the second time on that a snapshot is asked,
    /// they are kept.
    ///
    /// # Errors
    /// [`Error::UnknownField`], [`Error::FieldMismatch`], [`Error::Corrupt`].
    pub(crate) fn matching(&self, condition: &Condition) -> Result<KeptIds> {
        let Snapshot { fields, meta, memory, .. } = self.snapshot;
        fields.answers.of((*memory, meta.items), condition, || {
            if let Some(schema) = fields.schema.get() {
                return self.evaluate(schema, condition, None);
            }
            let schema = self.fields()?;
            self.evaluate(fields.schema.get_or_init(|| schema), condition, None)
        })
    }

    /// The items for which a condition holds: as far as they are in `within`, if that is given, and
    /// perhaps others.
    fn evaluate(
        &self,
        schema: &Schema,
        Condition(node): &Condition,
        within: Option<&RoaringBitmap>,
    ) -> Result<Ids> {
        match node {
            Node::Test(name, test) => {
                let rows = self.rows_of(schema.field(name)?);
                rows.passing(name, test, within).map(Ids::Only)
            }
            Node::Not(condition) => Ok(self.evaluate(schema, condition, within)?.not()),
            Node::And(all) => {
                let mut ids = Ids::AllBut(RoaringBitmap::new());
                let mut all: Vec<_> = all.iter().collect();
                // What costs the least first: the others need only look at the items of that.
                all.sort_by_key(|condition| cost_rank(condition));
                for condition in all {
                    let within = match &ids {
                        Ids::Only(ids) => Some(ids),
                        Ids::AllBut(_) => within,
                    };
                    let next = self.evaluate(schema, condition, within)?;
                    ids = match (&condition.0, &ids) {
                        // It has been looked for within these.
                        (Node::Test(..), Ids::Only(_)) => next,
                        _ => ids.and(next),
                    };
                }
                Ok(ids)
            }
            Node::Or(any) => {
                let mut others = Ids::AllBut(RoaringBitmap::new());
                for condition in any {
                    others = others.and(self.evaluate(schema, condition, within)?.not());
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
        let among = among.map(|condition| self.matching(condition)).transpose()?;
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
                    let ids = rows.members(chunk, body)?;
                    let count = ids.iter().filter(|item| is_among(**item)).count();
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
