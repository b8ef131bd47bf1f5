//! The invariant of fields: their rows are those that follow from the records.

use std::collections::BTreeMap;

use super::schema;
use crate::error::{Error, Result};
use crate::field::{Entry, FieldType, Schema};
use crate::format::fields::{CHUNK, Row, decode_chunk, decode_run, hash_of};
use crate::format::{Damage, Kind, checksum};
use crate::store::checker::{Checker, Findings, Invariant};
use crate::store::sections::records::view::records_in;
use crate::types::ItemId;

/// How many values a field has, of all items, and the sum of their hashes: two sets of values that
/// differ have the same sum once in 2^64.
type Sums = BTreeMap<u8, [u64; 4]>;

/// The places of values, and of having one at all, in these.
const VALUES: usize = 0;
const EXISTS: usize = 2;

fn add(sums: &mut Sums, field: u8, of: usize, entry: &Entry, item: ItemId) {
    let sum = sums.entry(field).or_default();
    sum[of] += 1;
    sum[of + 1] = sum[of + 1].wrapping_add(hash_of(field, entry, item));
}

/// What stands for having a value at all.
fn existing() -> Entry {
    Entry::Number(0)
}

/// Checks the checksum of a row.
pub(crate) fn checksum_of(key: &[u8], value: &[u8], findings: &mut Findings) {
    if !checksum::holds_under(key, value) {
        let what = format!("the row of a field {key:02x?}: its bytes do not have its checksum");
        findings.add(Invariant::Checksum, what);
    }
}

/// The values of a row, checked.
fn values_of(row: Row<'_>, of: FieldType, body: &[u8]) -> Result<Vec<(Entry, ItemId)>, Damage> {
    let chunk = |chunk: u32, entry: Entry| {
        let first = chunk.checked_mul(CHUNK).ok_or("its chunk is beyond all")?;
        let members = decode_chunk(body)?;
        let items = members.into_iter().map(|member| first + u32::from(member));
        Ok(items.map(|item| (entry.clone(), item)).collect())
    };
    match row {
        Row::Exists(number) => chunk(number, existing()),
        Row::Value(value, number) if of.is_possible(value) => {
            chunk(number, Entry::Bytes(value.to_vec()))
        }
        Row::Numbers(number, item) if of.is_number() => {
            let entries = decode_run(body, (number, item))?.into_iter();
            Ok(entries.map(|(number, item)| (Entry::Number(number), item)).collect())
        }
        _ => Err("its value is not of the type of the field"),
    }
}

impl Checker<'_, '_, '_> {
    /// Checks `fields`, and its part of `keys`, `layout` and `meta`.
    pub(super) fn check_fields(&mut self) -> Result<()> {
        let schema = match schema(self.place.index, &self.view.snapshot.meta) {
            Err(Error::Corrupt { key, what }) => {
                self.findings.add(Invariant::Meta, format!("{key}: {what}"));
                return Ok(());
            }
            schema => schema?,
        };
        let stored = self.stored_values(&schema)?;
        let Some(expected) = self.expected_values(&schema)? else { return Ok(()) };
        for field in &schema.0 {
            let [stored, expected] = [&stored, &expected]
                .map(|sums| sums.get(&field.number).copied().unwrap_or_default());
            self.findings.expect(stored == expected, Invariant::Fields, || {
                let what = if stored[VALUES..EXISTS] == expected[VALUES..EXISTS] {
                    "say of other items that they have a value"
                } else {
                    "have other values"
                };
                format!(
                    "the rows of the field {:?} {what} than the records: there are {} values, and \
                     {} in the records",
                    field.field.name, stored[VALUES], expected[VALUES]
                )
            });
        }
        Ok(())
    }

    /// The values in all rows.
    fn stored_values(&mut self, schema: &Schema) -> Result<Sums> {
        let mut sums = Sums::new();
        // The last run of each field, whose entries come before those of the next.
        let mut last: Option<(u8, (u64, ItemId))> = None;
        for entry in self.place.all(self.rtxn)? {
            let (key, value) = entry?;
            if Kind::of(key) != Some(Kind::FIELDS) {
                continue;
            }
            let known = Row::from_bytes(key).and_then(|(number, row)| {
                Some((schema.0.iter().find(|stored| stored.number == number)?, row))
            });
            let Some((stored, row)) = known else {
                let what = format!("the row of a field {key:02x?} belongs to nothing");
                self.findings.add(Invariant::Keys, what);
                continue;
            };
            let of = if matches!(row, Row::Exists(_)) { EXISTS } else { VALUES };
            match values_of(row, stored.field.of, checksum::unverified(value)) {
                Err(what) => {
                    self.findings.add(Invariant::Layout, format!("the row {key:02x?}: {what}"));
                }
                Ok(values) => {
                    if let Row::Numbers(number, item) = row {
                        let is_after = last.is_none_or(|(field, last)| {
                            field != stored.number || last < (number, item)
                        });
                        self.findings.expect(is_after, Invariant::Layout, || {
                            format!("the row {key:02x?}: it begins before the run before it ends")
                        });
                        last = values.last().and_then(|(entry, item)| match entry {
                            Entry::Number(number) => Some((stored.number, (*number, *item))),
                            Entry::Bytes(_) => None,
                        });
                    }
                    for (entry, item) in values {
                        add(&mut sums, stored.number, of, &entry, item);
                    }
                }
            }
        }
        Ok(sums)
    }

    /// The values that follow from the records. `None` if these are damaged.
    fn expected_values(&mut self, schema: &Schema) -> Result<Option<Sums>> {
        let mut sums = Sums::new();
        if schema.is_empty() {
            return Ok(Some(sums));
        }
        for entry in records_in(self.place, self.rtxn, 0)? {
            // Its damage is found elsewhere.
            let (item, record) = match entry {
                Err(Error::Corrupt { .. }) => return Ok(None),
                entry => entry?,
            };
            let values = match schema.values(record) {
                Ok(values) => values,
                Err(what) => {
                    let what = format!("the record of item {item}: {what}");
                    self.findings.add(Invariant::Fields, what);
                    continue;
                }
            };
            let mut fields: Vec<u8> = values.iter().map(|(field, _)| *field).collect();
            fields.dedup();
            for field in fields {
                add(&mut sums, field, EXISTS, &existing(), item);
            }
            for (field, entry) in values {
                add(&mut sums, field, VALUES, &entry, item);
            }
        }
        Ok(Some(sums))
    }
}
