//! Conditions on fields, in Rust and as JSON.

use std::ops::Bound;

use serde_json::Value as Json;

use super::FieldValue;
use crate::error::{Error, Result};

/// A condition on the fields of items: see [`field`].
#[derive(Debug, Clone, PartialEq, Hash)]
pub struct Condition(pub(crate) Node);

#[derive(Debug, Clone, PartialEq, Hash)]
pub(crate) enum Node {
    And(Vec<Condition>),
    Or(Vec<Condition>),
    Not(Box<Condition>),
    Test(String, Test),
}

/// A test of one field. An item with several values passes it if one of them does.
#[derive(Debug, Clone, PartialEq, Hash)]
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

    /// The number of values that it compares with, at least 1 for each field that it asks about.
    pub(crate) fn values(&self) -> usize {
        match &self.0 {
            Node::And(all) | Node::Or(all) => all.iter().map(Self::values).sum(),
            Node::Not(one) => one.values(),
            Node::Test(_, Test::In(values)) => values.len().max(1),
            Node::Test(..) => 1,
        }
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
}
