//! The fields of an index, and the values that a record has of them.

use serde_json::{Map, Value as Json};

use super::{Entry, Field, MAX_FIELD_NAME_BYTES, MAX_FIELDS};
use crate::error::{Error, Result};

/// A field as an index stores it: its number is in the keys of its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) number: u8,
    pub(crate) field: Field,
}

/// The fields of an index, by ascending number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Schema(pub(crate) Vec<Stored>);

/// The values of a record, each with the number of its field, ascending and once each.
pub(crate) type Values = Vec<(u8, Entry)>;

impl Schema {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A field by its name.
    ///
    /// # Errors
    /// [`Error::UnknownField`].
    pub(crate) fn field(&self, name: &str) -> Result<&Stored> {
        self.0.iter().find(|stored| stored.field.name == name).ok_or_else(|| Error::UnknownField {
            field: name.to_owned(),
            known: self.0.iter().map(|stored| stored.field.name.clone()).collect(),
        })
    }

    /// The values that a record has of the fields. What is missing or `null` is no value.
    ///
    /// # Errors
    /// What is wrong with the record.
    pub(crate) fn values(&self, record: &[u8]) -> Result<Values, String> {
        if self.is_empty() {
            return Ok(Values::new());
        }
        let members: Map<String, Json> = serde_json::from_slice(record)
            .map_err(|error| format!("it is not a JSON object ({error})"))?;
        let mut values = Values::new();
        for Stored { number, field } in &self.0 {
            let one = |value: &Json| {
                let entry = field.of.of_json(value);
                entry.map_err(|what| format!("its field {:?} is {value}, and {what}", field.name))
            };
            match members.get(&field.name) {
                None | Some(Json::Null) => {}
                Some(Json::Array(all)) => {
                    for value in all.iter().filter(|value| !value.is_null()) {
                        values.push((*number, one(value)?));
                    }
                }
                Some(value) => values.push((*number, one(value)?)),
            }
        }
        values.sort_unstable();
        values.dedup();
        Ok(values)
    }

    /// Adds a field, with the lowest free number. Returns it.
    ///
    /// # Errors
    /// [`Error::InvalidField`].
    pub(crate) fn add(&mut self, field: Field) -> Result<Stored> {
        let invalid = |what| Err(Error::InvalidField { field: field.name.clone(), what });
        if field.name.is_empty() || field.name.len() > MAX_FIELD_NAME_BYTES {
            return invalid("its name is empty or too long: use 1 to 64 bytes");
        }
        if self.0.iter().any(|stored| stored.field.name == field.name) {
            return invalid("the index has a field of this name: drop it first, or use it");
        }
        if self.0.len() >= MAX_FIELDS {
            return invalid("the index has 64 fields, as many as it can have: drop one first");
        }
        let number = (0..).find(|number| self.0.iter().all(|stored| stored.number != *number));
        let stored = Stored { number: number.unwrap_or_default(), field };
        self.0.push(stored.clone());
        self.0.sort_unstable_by_key(|stored| stored.number);
        Ok(stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::entry::{of_float, of_integer};

    fn schema() -> Schema {
        let mut schema = Schema::default();
        for field in [
            Field::keyword("tag"),
            Field::integer("n"),
            Field::float("x"),
            Field::timestamp("date"),
            Field::bool("ok"),
        ] {
            schema.add(field).unwrap();
        }
        schema
    }

    #[test]
    fn values_are_taken_out_of_records_once_each() {
        let values = schema()
            .values(br#"{"tag": ["b", "a", "b", null], "n": -1, "x": 2, "date": 5, "ok": true}"#)
            .unwrap();
        let number = |number, value| (number, Entry::Number(value));
        assert_eq!(
            values,
            [
                (0, Entry::Bytes(b"a".to_vec())),
                (0, Entry::Bytes(b"b".to_vec())),
                number(1, of_integer(-1)),
                number(2, of_float(2.0).unwrap()),
                number(3, of_integer(5)),
                (4, Entry::Bytes(vec![1])),
            ]
        );
        assert_eq!(schema().values(br#"{"tag": null, "other": {"n": 3}}"#).unwrap(), []);
        assert_eq!(Schema::default().values(b"no JSON").unwrap(), []);
    }

    #[test]
    fn what_is_no_value_of_a_field_is_refused_with_its_name() {
        let long = format!(r#"{{"tag": "{}"}}"#, "x".repeat(481));
        for (record, name) in [
            (r#"{"tag": 3}"#, "tag"),
            (&long, "tag"),
            (r#"{"n": 1.5}"#, "\"n\""),
            (r#"{"n": 9223372036854775808}"#, "\"n\""),
            (r#"{"x": "1"}"#, "\"x\""),
            (r#"{"date": "tomorrow"}"#, "date"),
            (r#"{"ok": [true, 1]}"#, "ok"),
            (r#"{"tag": {"a": 1}}"#, "tag"),
            ("[1]", "JSON object"),
            ("", "JSON object"),
            ("{\"tag\": \"a\"", "JSON object"),
        ] {
            let what = schema().values(record.as_bytes()).unwrap_err();
            assert!(what.contains(name), "{what}");
        }
    }

    #[test]
    fn names_of_fields_are_checked_and_numbers_are_used_again() {
        let mut schema = schema();
        for name in [String::new(), "x".repeat(65), "tag".to_owned()] {
            assert!(matches!(schema.add(Field::bool(name)), Err(Error::InvalidField { .. })));
        }
        schema.0.remove(1);
        assert_eq!(schema.add(Field::bool("other")).unwrap().number, 1);
        for number in 5..64 {
            assert_eq!(schema.add(Field::bool(format!("f{number}"))).unwrap().number, number);
        }
        assert!(matches!(schema.add(Field::bool("more")), Err(Error::InvalidField { .. })));
        let Err(Error::UnknownField { known, .. }) = schema.field("x2") else { panic!() };
        assert_eq!(known.len(), 64);
    }
}
