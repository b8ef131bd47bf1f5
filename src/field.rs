//! Fields of records, which an index can filter by, and conditions on them. Records are JSON
//! objects then; a field is a member of theirs, with a value of its type, or an array of such
//! values.
//!
//! Here are the types and the conversions from JSON; `store/sections/fields` keeps, for each value,
//! the items that have it, and resolves conditions to items.

use std::fmt;
use std::ops::Bound;

use serde_json::{Map, Value as Json};

use crate::error::{Error, Result};

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

/// A value as it is stored: numbers in an order-preserving form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Entry {
    /// A keyword, or a truth value.
    Bytes(Vec<u8>),
    Number(u64),
}

/// The sign bit.
const SIGN: u64 = 1 << 63;

/// Integers, so that the order of the results is theirs.
fn of_integer(value: i64) -> u64 {
    value as u64 ^ SIGN
}

/// The same for finite floats; both zeros are one.
fn of_float(value: f64) -> Option<u64> {
    let bits = (value + 0.0).to_bits();
    value.is_finite().then_some(if bits & SIGN == 0 { bits | SIGN } else { !bits })
}

fn to_float(number: u64) -> f64 {
    f64::from_bits(if number & SIGN != 0 { number ^ SIGN } else { !number })
}

/// The milliseconds since 1970 of a date, or of a date with a time, as RFC 3339 writes them. A time
/// without an offset is UTC.
fn milliseconds(text: &str) -> Option<i64> {
    let digits = |from: usize, count: usize| -> Option<i64> {
        let digits = text.get(from..from + count)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let is = |at: usize, any_of: &str| {
        text.get(at..at + 1).filter(|found| any_of.contains(found)).map(drop)
    };
    let (year, month, day) = (digits(0, 4)?, digits(5, 2)?, digits(8, 2)?);
    is(4, "-").and(is(7, "-"))?;
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, 28 + i64::from(is_leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before = lengths.get(..usize::try_from(month - 1).ok()?)?.iter().sum::<i64>();
    if day < 1 || day > *lengths.get(month as usize - 1)? {
        return None;
    }
    let past = year - 1;
    let days = 365 * past + past.div_euclid(4) - past.div_euclid(100) + past.div_euclid(400);
    // Days from 0001-01-01 to 1970-01-01.
    let mut seconds = (days + before + day - 1 - 719_162) * 86_400;
    if text.len() == 10 {
        return Some(seconds * 1000);
    }
    let (hour, minute, second) = (digits(11, 2)?, digits(14, 2)?, digits(17, 2)?);
    is(10, "Tt ").and(is(13, ":")).and(is(16, ":"))?;
    // A leap second counts as the second before.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    seconds += hour * 3600 + minute * 60 + second.min(59);
    let (mut at, mut thousandths) = (19, 0);
    if is(at, ".").is_some() {
        let count = text.bytes().skip(20).take_while(u8::is_ascii_digit).count();
        if count == 0 {
            return None;
        }
        let known = count.min(3);
        thousandths = digits(20, known)? * 10i64.pow(3 - known as u32);
        at = 20 + count;
    }
    let offset = match text.get(at..)? {
        "" | "Z" | "z" => 0,
        zone if zone.len() == 6 => {
            is(at, "+-").and(is(at + 3, ":"))?;
            let (hours, minutes) = (digits(at + 1, 2)?, digits(at + 4, 2)?);
            let offset = hours * 3600 + minutes * 60;
            if hours > 23 || minutes > 59 {
                return None;
            }
            if zone.starts_with('-') { -offset } else { offset }
        }
        _ => return None,
    };
    Some((seconds - offset) * 1000 + thousandths)
}

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

/// A condition on the fields of items: see [`field`].
#[derive(Debug, Clone, PartialEq)]
pub struct Condition(pub(crate) Node);

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    And(Vec<Condition>),
    Or(Vec<Condition>),
    Not(Box<Condition>),
    Test(String, Test),
}

/// A test of one field. An item with several values passes it if one of them does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Test {
    In(Vec<FieldValue>),
    Range(Bound<FieldValue>, Bound<FieldValue>),
    StartsWith(String),
    Exists,
}

/// Starts a condition on a field.
///
/// ```
/// use voisin::{Condition, Field, Index, Options, distances::Euclidean, field};
///
/// # fn main() -> voisin::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(1))?;
/// index.write(|batch| {
///     batch.add_field(Field::keyword("tag"))?;
///     batch.add_field(Field::timestamp("date"))?;
///     batch.add_with_record(1, &[1.0], br#"{"tag": "news", "date": "2026-11-29", "n": 7}"#)?;
///     batch.add_with_record(2, &[2.0], br#"{"tag": ["news", "old"], "date": "1999-01-01"}"#)?;
///     batch.add_with_record(3, &[3.0], br#"{"tag": "other"}"#)?;
///     batch.add(4, &[4.0])
/// })?;
/// let news = field("tag").eq("news").and(field("date").at_least("2020-01-01"));
/// let found = index.search(9).candidates(&news).by_vector(&[2.2])?;
/// assert_eq!(found.nns[0].0, 1);
///
/// let snapshot = index.snapshot()?;
/// assert_eq!(snapshot.count(&field("tag").exists().not())?, 1);
/// assert_eq!(snapshot.facet("tag")?[0], ("news".into(), 2));
/// let same = Condition::from_json(r#"{"field": "tag", "in": ["old", "other"]}"#)?;
/// assert_eq!(snapshot.ids_of(&same)?.iter().collect::<Vec<_>>(), [2, 3]);
/// # Ok(())
/// # }
/// ```
pub fn field(name: impl Into<String>) -> FieldRef {
    FieldRef { name: name.into() }
}

/// A field that a condition is about: see [`field`].
#[derive(Debug, Clone)]
#[must_use]
pub struct FieldRef {
    name: String,
}

impl FieldRef {
    fn test(self, test: Test) -> Condition {
        Condition(Node::Test(self.name, test))
    }

    /// The field has this value.
    #[expect(clippy::should_implement_trait, reason = "it makes a condition")]
    pub fn eq(self, value: impl Into<FieldValue>) -> Condition {
        self.test(Test::In(vec![value.into()]))
    }

    /// The field has one of these values.
    pub fn is_in<V: Into<FieldValue>>(self, values: impl IntoIterator<Item = V>) -> Condition {
        self.test(Test::In(values.into_iter().map(Into::into).collect()))
    }

    /// The field, of numbers or timestamps, has a value from `lowest` to `highest`, both included.
    pub fn between(
        self,
        lowest: impl Into<FieldValue>,
        highest: impl Into<FieldValue>,
    ) -> Condition {
        self.test(Test::Range(Bound::Included(lowest.into()), Bound::Included(highest.into())))
    }

    /// The field has a value of at least this.
    pub fn at_least(self, lowest: impl Into<FieldValue>) -> Condition {
        self.test(Test::Range(Bound::Included(lowest.into()), Bound::Unbounded))
    }

    /// The field has a value of at most this.
    pub fn at_most(self, highest: impl Into<FieldValue>) -> Condition {
        self.test(Test::Range(Bound::Unbounded, Bound::Included(highest.into())))
    }

    /// The field has a value above this.
    pub fn above(self, lowest: impl Into<FieldValue>) -> Condition {
        self.test(Test::Range(Bound::Excluded(lowest.into()), Bound::Unbounded))
    }

    /// The field has a value below this.
    pub fn below(self, highest: impl Into<FieldValue>) -> Condition {
        self.test(Test::Range(Bound::Unbounded, Bound::Excluded(highest.into())))
    }

    /// The field, of keywords, has a value that begins with `prefix`.
    pub fn starts_with(self, prefix: impl Into<String>) -> Condition {
        self.test(Test::StartsWith(prefix.into()))
    }

    /// The field has a value.
    pub fn exists(self) -> Condition {
        self.test(Test::Exists)
    }
}

impl Condition {
    /// Both conditions hold.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(Node::And(vec![self, other]))
    }

    /// At least one of the two conditions holds.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(Node::Or(vec![self, other]))
    }

    /// The condition does not hold: also for items without a record.
    #[expect(clippy::should_implement_trait, reason = "conditions are combined by methods")]
    #[must_use]
    pub fn not(self) -> Self {
        Self(Node::Not(Box::new(self)))
    }

    /// All of the conditions hold; if there are none, it holds for every item.
    #[must_use]
    pub fn all(conditions: impl IntoIterator<Item = Self>) -> Self {
        Self(Node::And(conditions.into_iter().collect()))
    }

    /// One of the conditions holds, at least; if there are none, it holds for no item.
    #[must_use]
    pub fn any(conditions: impl IntoIterator<Item = Self>) -> Self {
        Self(Node::Or(conditions.into_iter().collect()))
    }

    /// A condition as JSON: `{"and": [..]}`, `{"or": [..]}`, `{"not": {..}}`, or an object with a
    /// `"field"` and one of `"eq": value`, `"in": [..]`, `"between": [lowest, highest]`,
    /// `"at_least"`, `"above"`, `"at_most"`, `"below"` (of these also one of the first two with one
    /// of the last two), `"prefix": text` and `"exists": true`.
    ///
    /// # Errors
    /// [`InvalidCondition`](Error::InvalidCondition).
    pub fn from_json(text: &str) -> Result<Self> {
        let json = serde_json::from_str(text).map_err(|error| Error::InvalidCondition {
            what: format!("it is not JSON: {error}"),
        })?;
        Self::parse(&json)
    }

    fn parse(json: &Json) -> Result<Self> {
        let invalid = |what: &str| Error::InvalidCondition { what: format!("{json}: {what}") };
        let members = json.as_object().ok_or_else(|| invalid("it is not an object"))?;
        let list = |all: &Json| {
            let all = all.as_array().ok_or_else(|| invalid("it does not list conditions"))?;
            all.iter().map(Self::parse).collect::<Result<Vec<_>>>()
        };
        if members.len() == 1 {
            if let Some(all) = members.get("and") {
                return Ok(Self(Node::And(list(all)?)));
            }
            if let Some(all) = members.get("or") {
                return Ok(Self(Node::Or(list(all)?)));
            }
            if let Some(one) = members.get("not") {
                return Ok(Self::parse(one)?.not());
            }
        }
        let name = members.get("field").and_then(Json::as_str);
        let name = name.ok_or_else(|| invalid("it is no and, or, not, and names no field"))?;
        let value = |json: &Json| value_of(json).ok_or_else(|| invalid("a value is of no type"));
        let (mut low, mut high, mut test) = (Bound::Unbounded, Bound::Unbounded, None);
        let mut count = 0;
        for (operator, operand) in members.iter().filter(|(operator, _)| *operator != "field") {
            let operands = || operand.as_array().ok_or_else(|| invalid("it lists no values"));
            count += 1;
            match operator.as_str() {
                "eq" => test = Some(Test::In(vec![value(operand)?])),
                "in" => {
                    test = Some(Test::In(operands()?.iter().map(value).collect::<Result<_>>()?));
                }
                "between" => match &operands()?[..] {
                    [lowest, highest] => {
                        let [lowest, highest] = [value(lowest)?, value(highest)?];
                        let (low, high) = (Bound::Included(lowest), Bound::Included(highest));
                        test = Some(Test::Range(low, high));
                    }
                    _ => return Err(invalid("between has a lowest and a highest value")),
                },
                "at_least" => low = Bound::Included(value(operand)?),
                "above" => low = Bound::Excluded(value(operand)?),
                "at_most" => high = Bound::Included(value(operand)?),
                "below" => high = Bound::Excluded(value(operand)?),
                "prefix" => match operand.as_str() {
                    Some(prefix) => test = Some(Test::StartsWith(prefix.to_owned())),
                    None => return Err(invalid("a prefix is text")),
                },
                "exists" if *operand == Json::Bool(true) => test = Some(Test::Exists),
                _ => return Err(invalid("an operator is unknown")),
            }
        }
        let ends = [&low, &high].iter().filter(|end| ***end != Bound::Unbounded).count();
        match test {
            Some(test) if count == 1 => Ok(Self(Node::Test(name.to_owned(), test))),
            None if count > 0 && count == ends => {
                Ok(Self(Node::Test(name.to_owned(), Test::Range(low, high))))
            }
            _ => Err(invalid("it does not have one operator")),
        }
    }
}

/// A value of a condition.
fn value_of(json: &Json) -> Option<FieldValue> {
    match json {
        Json::String(text) => Some(FieldValue::Text(text.clone())),
        Json::Bool(value) => Some(FieldValue::Bool(*value)),
        Json::Number(_) => {
            json.as_i64().map(FieldValue::Integer).or_else(|| json.as_f64().map(FieldValue::Float))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_ordered_as_they_are_stored_and_come_back() {
        let integers = [i64::MIN, -7, -1, 0, 1, 300, i64::MAX];
        assert!(integers.map(of_integer).is_sorted_by(|a, b| a < b));
        let floats = [f64::MIN, -1e300, -1.5, -1e-300, 0.0, 1e-300, 2.5, f64::MAX];
        let stored = floats.map(|value| of_float(value).unwrap());
        assert!(stored.is_sorted_by(|a, b| a < b));
        assert_eq!(stored.map(to_float), floats);
        assert_eq!(of_float(-0.0), of_float(0.0));
        assert_eq!([of_float(f64::NAN), of_float(f64::INFINITY)], [None; 2]);
        for value in [FieldValue::Integer(-3), FieldValue::Integer(9)] {
            let entry = FieldType::Integer.entry(&value).unwrap();
            assert_eq!(FieldType::Integer.value(&entry), Some(value));
        }
    }

    #[test]
    fn dates_and_times_are_read() {
        for (text, expected) in [
            ("1970-01-01", 0),
            ("1970-01-01T00:00:01Z", 1000),
            ("1969-12-31T23:59:59.5Z", -500),
            ("2000-02-29", 951_782_400_000),
            ("2026-11-29T18:45:00Z", 1_795_977_900_000),
            ("2026-11-29T18:45:00.123456+01:30", 1_795_977_900_123 - 5_400_000),
            ("2026-11-29 18:45:00-00:30", 1_795_977_900_000 + 1_800_000),
            ("0001-01-01", -62_135_596_800_000),
        ] {
            assert_eq!(milliseconds(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "1970",
            "1970-13-01",
            "1970-00-01",
            "1970-01-32",
            "1970-01-00",
            "1900-02-29",
            "1970-1-1",
            "1970/01/01",
            "1970-01-01T",
            "1970-01-01T24:00:00Z",
            "1970-01-01T00:60:00Z",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:00+1",
            "1970-01-01T00:00:00+25:00",
            "1970-01-01é",
            "+970-01-01",
            "1970-01-01T00:00:00X",
        ] {
            assert_eq!(milliseconds(text), None, "{text}");
        }
    }

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
    fn a_condition_as_json_is_the_condition_in_rust() {
        for (json, condition) in [
            (r#"{"field": "a", "eq": "x"}"#, field("a").eq("x")),
            (r#"{"field": "a", "in": [1, 2]}"#, field("a").is_in([1, 2])),
            (r#"{"field": "a", "between": [1, 2.5]}"#, field("a").between(1, 2.5)),
            (r#"{"field": "a", "above": 1}"#, field("a").above(1)),
            (r#"{"field": "a", "prefix": "x"}"#, field("a").starts_with("x")),
            (r#"{"field": "a", "exists": true}"#, field("a").exists()),
            (r#"{"not": {"field": "a", "eq": true}}"#, field("a").eq(true).not()),
            (
                r#"{"and": [{"field": "a", "at_most": 1}, {"or": []}]}"#,
                field("a").at_most(1).and(Condition::any([])),
            ),
            (
                r#"{"field": "a", "at_least": 1, "below": 3}"#,
                Condition(Node::Test(
                    "a".into(),
                    Test::Range(Bound::Included(1.into()), Bound::Excluded(3.into())),
                )),
            ),
        ] {
            assert_eq!(Condition::from_json(json).unwrap(), condition, "{json}");
        }
        for json in [
            "",
            "3",
            "{}",
            r#"{"and": 3}"#,
            r#"{"and": [], "or": []}"#,
            r#"{"field": "a"}"#,
            r#"{"field": 3, "eq": 1}"#,
            r#"{"field": "a", "eq": null}"#,
            r#"{"field": "a", "eq": 1, "in": [1]}"#,
            r#"{"field": "a", "between": [1]}"#,
            r#"{"field": "a", "exists": false}"#,
            r#"{"field": "a", "like": "x"}"#,
            r#"{"field": "a", "eq": 1, "below": 3}"#,
            r#"{"field": "a", "prefix": 1}"#,
            r#"{"eq": 1}"#,
        ] {
            let error = Condition::from_json(json);
            assert!(matches!(error, Err(Error::InvalidCondition { .. })), "{json}");
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
