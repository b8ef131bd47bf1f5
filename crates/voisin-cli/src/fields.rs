//! Fields of records, conditions on them, and kinds of index, in the command line and in output.

use clap::Args;
use serde_json::{Value, json};
use voisin::{Condition, Field, FieldType, FieldValue, IndexKind};

use crate::failure::in_our_words;

/// The types of fields, by their names in the command line.
const TYPES: [(&str, FieldType); 5] = [
    ("keyword", FieldType::Keyword),
    ("integer", FieldType::Integer),
    ("float", FieldType::Float),
    ("timestamp", FieldType::Timestamp),
    ("bool", FieldType::Bool),
];

/// A restriction to some items, by their records.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Filtered {
    /// Only items for whose fields this condition holds, as JSON, such as '{"field": "year",
    /// "at_least": 1990}'
    #[arg(long = "filter", value_name = "CONDITION", value_parser = condition)]
    pub(crate) condition: Option<Condition>,
}

/// A condition, as it is given.
pub(crate) fn condition(text: &str) -> Result<Condition, String> {
    Condition::from_json(text).map_err(|error| in_our_words(&error.to_string()))
}

/// A field, as it is given: `NAME:TYPE`.
pub(crate) fn field(text: &str) -> Result<Field, String> {
    let (name, of) = text.rsplit_once(':').unwrap_or((text, ""));
    let made = match TYPES.iter().find(|(word, _)| *word == of) {
        Some((_, FieldType::Keyword)) => Field::keyword(name),
        Some((_, FieldType::Integer)) => Field::integer(name),
        Some((_, FieldType::Float)) => Field::float(name),
        Some((_, FieldType::Timestamp)) => Field::timestamp(name),
        Some((_, FieldType::Bool)) => Field::bool(name),
        _ => {
            return Err("a field is NAME:TYPE, such as year:integer, and the types are keyword, \
                        integer, float, timestamp and bool"
                .to_owned());
        }
    };
    Ok(made)
}

/// A kind of index, as it is given.
pub(crate) fn kind(text: &str) -> Result<IndexKind, String> {
    IndexKind::of_name(text).ok_or_else(|| format!("the kinds are {}", kinds_of(IndexKind::ALL)))
}

/// The name of a type of fields.
fn type_name(of: FieldType) -> &'static str {
    TYPES.iter().find(|(_, known)| *known == of).map_or("other", |(word, _)| word)
}

/// Fields for a person.
pub(crate) fn names_of(fields: &[Field]) -> String {
    let named =
        fields.iter().map(|field| format!("{}:{}", field.name(), type_name(field.field_type())));
    named.collect::<Vec<_>>().join(", ")
}

/// Fields for a program.
pub(crate) fn fields_json(fields: &[Field]) -> Value {
    fields
        .iter()
        .map(|field| json!({ "name": field.name(), "type": type_name(field.field_type()) }))
        .collect()
}

/// Kinds for a person.
pub(crate) fn kinds_of(kinds: &[IndexKind]) -> String {
    kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ")
}

/// Kinds for a program.
pub(crate) fn kinds_json(kinds: &[IndexKind]) -> Value {
    kinds.iter().map(|kind| kind.name()).collect()
}

/// The value of a field for a program.
pub(crate) fn value_json(value: &FieldValue) -> Value {
    match value {
        FieldValue::Text(text) => Value::from(text.clone()),
        FieldValue::Integer(number) => Value::from(*number),
        FieldValue::Float(number) => Value::from(*number),
        FieldValue::Bool(value) => Value::from(*value),
        other => Value::from(other.to_string()),
    }
}

/// The value of a field in a line of text.
pub(crate) fn value_text(value: &FieldValue) -> String {
    match value {
        FieldValue::Text(text) if text.contains(char::is_control) => {
            text.escape_debug().to_string()
        }
        FieldValue::Text(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_a_name_and_a_type() {
        assert_eq!(field("tag:keyword"), Ok(Field::keyword("tag")));
        assert_eq!(field("a:b:bool"), Ok(Field::bool("a:b")));
        for text in ["tag", "tag:", "tag:text", "keyword"] {
            assert!(field(text).unwrap_err().contains("NAME:TYPE"), "{text}");
        }
        let fields = TYPES.map(|(word, _)| field(&format!("{word}:{word}")).unwrap());
        assert_eq!(names_of(&fields[..2]), "keyword:keyword, integer:integer");
        assert_eq!(fields_json(&fields)[4], json!({ "name": "bool", "type": "bool" }));
    }

    #[test]
    fn every_kind_has_a_name() {
        for of in IndexKind::ALL {
            assert_eq!(kind(of.name()), Ok(*of));
        }
        assert!(kind("graph").unwrap_err().contains("hnsw"));
    }

    #[test]
    fn what_is_wrong_with_a_condition_is_told_without_a_function() {
        let told = condition(r#"{"field": "a", "like": 1}"#).unwrap_err();
        assert!(told.contains("unknown") && !told.contains("::"), "{told}");
    }
}
