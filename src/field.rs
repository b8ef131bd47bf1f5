//! Fields of records, which an index can filter by, and conditions on them. Records are JSON
//! objects then; a field is a member of theirs, with a value of its type, or an array of such
//! values.
//!
//! Here are the types and the conversions from JSON: `entry` has the stored form of values,
//! `schema` the fields of an index, `condition` what is asked of them. `store/sections/fields`
//! keeps, for each value, the items that have it, and resolves conditions to items.

mod condition;
mod entry;
mod schema;

use std::fmt;
use std::hash::{Hash, Hasher};

use serde_json::Value as Json;

pub use self::condition::{Condition, FieldRef, field};
pub(crate) use self::condition::{Node, Test};
pub(crate) use self::entry::Entry;
use self::entry::{SIGN, milliseconds, of_float, of_integer, to_float};
pub(crate) use self::schema::{Schema, Stored, Values};

/// Maximum number of fields of an index. META has their names, and is written by every commit.
pub(crate) const MAX_FIELDS: usize = 64;
/// Maximum length of the name of a field, in bytes.
pub(crate) const MAX_FIELD_NAME_BYTES: usize = 64;
/// Maximum length of a keyword, in bytes: it is a part of an LMDB key, of at most 511 bytes.
pub(crate) const MAX_KEYWORD_BYTES: usize = 480;

/// What is wrong with a value.
type Defect = &'static str;

/// The type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum FieldType {
    /// Text of at most 480 bytes, which is compared as a whole, or by its beginning.
    Keyword = 1,
    /// An `i64`.
    Integer = 2,
    /// A finite `f64`.
    Float = 3,
    /// A point in time: text such as `2026-11-29` or `2026-11-29T18:45:00.5+01:00` (RFC 3339), or
    /// the number of milliseconds since 1970-01-01T00:00:00Z.
    Timestamp = 4,
    /// `true` or `false`.
    Bool = 5,
}

impl FieldType {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Keyword, Self::Integer, Self::Float, Self::Timestamp, Self::Bool]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }

    /// Whether its values are ordered numbers.
    pub(crate) fn is_number(self) -> bool {
        matches!(self, Self::Integer | Self::Float | Self::Timestamp)
    }

    /// Its name for messages.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Keyword => "keyword",
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Timestamp => "timestamp",
            Self::Bool => "bool",
        }
    }

    /// A value of this type as it is stored. `None` if it is of another type.
    pub(crate) fn entry(self, value: &FieldValue) -> Option<Entry> {
        match (self, value) {
            (Self::Keyword, FieldValue::Text(text)) => {
                Some(Entry::Bytes(text.clone().into_bytes()))
            }
            (Self::Bool, FieldValue::Bool(value)) => Some(Entry::Bytes(vec![u8::from(*value)])),
            (Self::Integer | Self::Timestamp, FieldValue::Integer(value)) => {
                Some(Entry::Number(of_integer(*value)))
            }
            (Self::Timestamp, FieldValue::Text(text)) => {
                milliseconds(text).map(|value| Entry::Number(of_integer(value)))
            }
            (Self::Float, FieldValue::Integer(value)) => of_float(*value as f64).map(Entry::Number),
            (Self::Float, FieldValue::Float(value)) => of_float(*value).map(Entry::Number),
            _ => None,
        }
    }

    /// A stored value as it is shown: timestamps as milliseconds.
    pub(crate) fn value(self, entry: &Entry) -> Option<FieldValue> {
        Some(match (self, entry) {
            (Self::Keyword, Entry::Bytes(bytes)) => {
                FieldValue::Text(std::str::from_utf8(bytes).ok()?.to_owned())
            }
            (Self::Bool, Entry::Bytes(bytes)) => FieldValue::Bool(*bytes == [1]),
            (Self::Integer | Self::Timestamp, Entry::Number(number)) => {
                FieldValue::Integer((*number ^ SIGN) as i64)
            }
            (Self::Float, Entry::Number(number)) => FieldValue::Float(to_float(*number)),
            _ => return None,
        })
    }

    /// Whether bytes can be a value of this type, which is not a number.
    pub(crate) fn is_possible(self, bytes: &[u8]) -> bool {
        match self {
            Self::Keyword => bytes.len() <= MAX_KEYWORD_BYTES && std::str::from_utf8(bytes).is_ok(),
            Self::Bool => bytes == [0] || bytes == [1],
            _ => false,
        }
    }

    /// The stored form of a member of a record that is no array.
    fn of_json(self, value: &Json) -> Result<Entry, Defect> {
        const KEYWORD: Defect = "a keyword is text of at most 480 bytes";
        match (self, value) {
            (Self::Keyword, Json::String(text)) if text.len() <= MAX_KEYWORD_BYTES => {
                Ok(Entry::Bytes(text.clone().into_bytes()))
            }
            (Self::Keyword, _) => Err(KEYWORD),
            (Self::Bool, Json::Bool(value)) => Ok(Entry::Bytes(vec![u8::from(*value)])),
            (Self::Bool, _) => Err("a bool is true or false"),
            (Self::Integer, value) => value
                .as_i64()
                .map(|value| Entry::Number(of_integer(value)))
                .ok_or("an integer is a whole number of 64 bits"),
            (Self::Float, value) => {
                value.as_f64().and_then(of_float).map(Entry::Number).ok_or("a float is a number")
            }
            (Self::Timestamp, value) => {
                let value = match value {
                    Json::String(text) => milliseconds(text),
                    value => value.as_i64(),
                };
                value.map(|value| Entry::Number(of_integer(value))).ok_or(
                    "a timestamp is text such as 2026-11-29T18:45:00Z, or a whole number of \
                     milliseconds",
                )
            }
        }
    }
}

/// A field of the records of an index: see [`Batch::add_field`](crate::Batch::add_field).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Field {
    pub(crate) name: String,
    pub(crate) of: FieldType,
}

impl Field {
    fn new(name: impl Into<String>, of: FieldType) -> Self {
        Self { name: name.into(), of }
    }

    /// A field of keywords: see [`FieldType::Keyword`].
    #[must_use]
    pub fn keyword(name: impl Into<String>) -> Self {
        Self::new(name, FieldType::Keyword)
    }

    /// A field of integers.
    #[must_use]
    pub fn integer(name: impl Into<String>) -> Self {
        Self::new(name, FieldType::Integer)
    }

    /// A field of floating-point numbers.
    #[must_use]
    pub fn float(name: impl Into<String>) -> Self {
        Self::new(name, FieldType::Float)
    }

    /// A field of points in time: see [`FieldType::Timestamp`].
    #[must_use]
    pub fn timestamp(name: impl Into<String>) -> Self {
        Self::new(name, FieldType::Timestamp)
    }

    /// A field of truth values.
    #[must_use]
    pub fn bool(name: impl Into<String>) -> Self {
        Self::new(name, FieldType::Bool)
    }

    /// Its name: that of a member of the records.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its type.
    #[must_use]
    pub fn field_type(&self) -> FieldType {
        self.of
    }
}

/// A value of a field, or one to compare it with.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum FieldValue {
    /// A keyword, or a timestamp as text.
    Text(String),
    /// An integer, a float that is whole, or a timestamp in milliseconds.
    Integer(i64),
    /// A float.
    Float(f64),
    /// A truth value.
    Bool(bool),
}

impl Hash for FieldValue {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Text(text) => text.hash(state),
            Self::Integer(value) => value.hash(state),
            // The two zeros are equal.
            Self::Float(value) => (value + 0.0).to_bits().hash(state),
            Self::Bool(value) => value.hash(state),
        }
    }
}

impl fmt::Display for FieldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Integer(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Bool(value) => value.fmt(f),
        }
    }
}

macro_rules! from {
    ($($of:ty => $variant:ident),*) => {
        $(impl From<$of> for FieldValue {
            fn from(value: $of) -> Self {
                Self::$variant(value.into())
            }
        })*
    };
}

from!(&str => Text, String => Text, i64 => Integer, i32 => Integer, u32 => Integer, f64 => Float,
      f32 => Float, bool => Bool);
