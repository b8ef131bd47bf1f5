//! JSON lines: an object with a key and a vector, or a list of numbers, on each line.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use voisin::AnyKey;

use super::columns::record_of;
use super::lines::read_line;
use super::{Open, Row, Rows, Wanted};
use crate::failure::Result;

struct Jsonl {
    open: Open,
    wanted: Wanted,
    line: Vec<u8>,
    at: u64,
}

impl Rows for Jsonl {
    fn next_row(&mut self) -> Result<Option<Row>> {
        loop {
            self.at += 1;
            if !read_line(&mut self.open, &mut self.line, self.at)? {
                return Ok(None);
            }
            if self.line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let name = &self.open.name;
            let mut json = serde_json::Deserializer::from_slice(&self.line);
            let row = RowOf(&self.wanted).deserialize(&mut json).and_then(|row| {
                json.end()?;
                Ok(row)
            });
            let row = row.map_err(|error| name.wrong_at("line", self.at, told(&error)))?;
            name.check("line", self.at, row.vector.len(), self.wanted.dimensions)?;
            // All others must be as long as the first.
            self.wanted.dimensions = Some(row.vector.len());
            return Ok(Some(row));
        }
    }
}

/// What is wrong with a line; where in it, only if the parser was at fault with it.
fn told(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.replace(" at line 1 column ", ", at byte ").replace(" at line 0 column 0", "");
    if error.is_data() {
        text
    } else {
        format!("it is no JSON ({text}): give an object or a list of numbers on each line")
    }
}

pub(super) fn open(open: Open, wanted: Wanted) -> Box<dyn Rows> {
    Box::new(Jsonl { open, wanted, line: Vec::new(), at: 0 })
}

/// Deserializes a line.
struct RowOf<'a>(&'a Wanted);

impl<'de> DeserializeSeed<'de> for RowOf<'_> {
    type Value = Row;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Row, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for RowOf<'_> {
    type Value = Row;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.vector_name();
        write!(f, "an object with a list of numbers {name:?}, or a list of numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Row, A::Error> {
        let mut vector = Vec::with_capacity(self.0.dimensions.unwrap_or(0));
        while let Some(component) = list.next_element()? {
            vector.push(component);
        }
        Ok(Row { vector, ..Row::default() })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row, A::Error> {
        use serde::de::Error as _;
        let (mut key, mut vector, mut record) = (None, None::<Vec<f32>>, None);
        let mut members = serde_json::Map::new();
        while let Some(field) = map.next_key::<String>()? {
            if self.0.is_vector(&field) {
                if vector.replace(map.next_value()?).is_some() {
                    return Err(A::Error::custom("it has two vectors: give --vector-field"));
                }
            } else if self.0.is_key(&field) {
                if key.replace(map.next_value::<JsonKey>()?.0).is_some() {
                    return Err(A::Error::custom("it has two keys: give --key-field"));
                }
            } else if self.0.is_record(&field) {
                record = Some(bytes_of(map.next_value()?));
            } else if self.0.is_encoded_record(&field) {
                let bytes = BASE64_STANDARD.decode(map.next_value::<String>()?);
                record = Some(bytes.map_err(|_| A::Error::custom("its record is no Base64"))?);
            } else if self.0.is_member(&field) {
                members.insert(field, map.next_value()?);
            } else if self.0.shape.only_vectors {
                map.next_value::<IgnoredAny>()?;
            } else {
                return Err(A::Error::custom(self.0.no_place("field", &field)));
            }
        }
        let record = match (record, record_of(members)) {
            (Some(_), Some(_)) => {
                return Err(A::Error::custom(
                    "it has a record and fields that become one: give one of the two",
                ));
            }
            (record, members) => record.or(members),
        };
        let name = self.0.vector_name();
        let vector = vector.ok_or_else(|| {
            A::Error::custom(format!(
                "it has no vector: give a field {name:?} with a list of numbers, or --vector-field"
            ))
        })?;
        Ok(Row { key, vector, record })
    }
}

/// A record: the text of a string, and all else as JSON.
fn bytes_of(value: serde_json::Value) -> Vec<u8> {
    match value {
        serde_json::Value::String(text) => text.into_bytes(),
        other => other.to_string().into_bytes(),
    }
}

/// A key: a whole number or a string.
#[derive(serde::Deserialize)]
#[serde(from = "NumberOrText")]
struct JsonKey(AnyKey);

#[derive(serde::Deserialize)]
#[serde(untagged, expecting = "a key is a whole number from 0 to 2^64 - 1, or a string")]
enum NumberOrText {
    Number(u64),
    Text(String),
}

impl From<NumberOrText> for JsonKey {
    fn from(key: NumberOrText) -> Self {
        Self(match key {
            NumberOrText::Number(number) => AnyKey::Number(number),
            NumberOrText::Text(text) => AnyKey::Text(text),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::tests::{all, opened, wanted};

    fn rows(text: &str) -> Result<Vec<Row>> {
        all(super::open(opened(text.as_bytes()), wanted(Some(2))))
    }

    #[test]
    fn a_line_is_an_object_or_a_list() {
        let text =
            "{\"id\": 7, \"vector\": [1, 2.5]}\n\n{\"embedding\":[3,4],\"key\":\"a\"}\r\n[5,6]";
        let rows = rows(text).unwrap();
        let keys: Vec<_> = rows.iter().map(|row| row.key.clone()).collect();
        assert_eq!(keys, [Some(AnyKey::from(7)), Some(AnyKey::from("a")), None]);
        assert_eq!(rows[0].vector, [1.0, 2.5]);
        assert_eq!(rows[2].vector, [5.0, 6.0]);
    }

    #[test]
    fn what_is_wrong_with_a_line_is_told() {
        for (text, told) in [
            ("{\"id\": 1}", "no vector"),
            ("[1, 2]\n[1, 2, 3]", "line 2: the vector has 3"),
            ("{\"id\": -1, \"vector\": [1, 2]}", "whole number"),
            ("{\"title\": 1, \"vector\": [1, 2]}", "\"title\" has no place"),
            ("[1, 2", "no JSON"),
            ("[1, 2] 3", "no JSON"),
            ("7", "expected an object"),
            ("[1, null]", "invalid type"),
            ("{\"vector\": [1, 2], \"embedding\": [1, 2]}", "two vectors"),
        ] {
            let error = rows(text).unwrap_err().to_string();
            assert!(error.contains(told) && error.contains(", line "), "{error}");
        }
    }
}
