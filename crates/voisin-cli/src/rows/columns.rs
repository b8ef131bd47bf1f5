//! Fields and columns of an input that become members of the record of each vector, a JSON object.

use serde_json::{Map, Value};
use voisin::{Field, FieldType};

/// Which fields and columns become members of records.
#[derive(Debug, Clone, Default)]
pub(crate) struct Columns {
    /// Whether all do that have no other place.
    pub(crate) all: bool,
    /// Those that are named.
    pub(crate) named: Vec<String>,
    /// The fields of the index, which need not be named.
    pub(crate) fields: Vec<Field>,
}

impl Columns {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.all
            || self.named.iter().any(|named| named == name)
            || self.fields.iter().any(|field| field.name() == name)
    }

    /// Checks that columns which were named are there.
    ///
    /// # Errors
    /// What is missing.
    pub(super) fn check(&self, is_there: impl Fn(&str) -> bool) -> Result<(), String> {
        match self.named.iter().find(|name| !is_there(name)) {
            None => Ok(()),
            Some(name) => {
                Err(format!("it has no column {name:?}: give the name of one (--columns)"))
            }
        }
    }

    /// The type of the field of the index, if it has one of this name.
    pub(crate) fn type_of(&self, name: &str) -> Option<FieldType> {
        self.fields.iter().find(|field| field.name() == name).map(Field::field_type)
    }
}

/// The record of some members: none if there are none.
pub(super) fn record_of(members: Map<String, Value>) -> Option<Vec<u8>> {
    (!members.is_empty()).then(|| Value::Object(members).to_string().into_bytes())
}

/// A value of a text file, by the type of its field: none if it is empty.
///
/// # Errors
/// What is wrong with it.
pub(super) fn value_of(text: &str, of: Option<FieldType>) -> Result<Option<Value>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = |what: &str| format!("{text:?} is not {what}, as the field of the index is");
    Ok(Some(match of {
        Some(FieldType::Integer) => {
            Value::from(text.parse::<i64>().map_err(|_| wrong("a whole number"))?)
        }
        Some(FieldType::Float) => {
            let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
            Value::from(number.ok_or_else(|| wrong("a number"))?)
        }
        Some(FieldType::Bool) => match &*text.to_ascii_lowercase() {
            "true" | "1" => Value::from(true),
            "false" | "0" => Value::from(false),
            _ => return Err(wrong("true or false")),
        },
        // Milliseconds, or text, which the index checks.
        Some(FieldType::Timestamp) => {
            text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from)
        }
        _ => Value::from(text),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_what_the_field_has() {
        let of = |text, of| value_of(text, of).map(|value| value.map(|value| value.to_string()));
        let some = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(of("7", None), some("\"7\""));
        assert_eq!(of("7", Some(FieldType::Keyword)), some("\"7\""));
        assert_eq!(of("7", Some(FieldType::Integer)), some("7"));
        assert_eq!(of("7", Some(FieldType::Float)), some("7.0"));
        assert_eq!(of("True", Some(FieldType::Bool)), some("true"));
        assert_eq!(of("2026-11-30", Some(FieldType::Timestamp)), some("\"2026-11-30\""));
        assert_eq!(of("5", Some(FieldType::Timestamp)), some("5"));
        assert_eq!(of("", Some(FieldType::Integer)), Ok(None));
        for (text, kind) in [
            ("x", FieldType::Integer),
            ("1.5", FieldType::Integer),
            ("nan", FieldType::Float),
            ("yes", FieldType::Bool),
        ] {
            assert!(of(text, Some(kind)).unwrap_err().contains(text));
        }
    }

    #[test]
    fn the_fields_of_the_index_need_not_be_named() {
        let fields = vec![Field::integer("year")];
        let columns = Columns { all: false, named: vec!["title".to_owned()], fields };
        assert!(columns.has("year") && columns.has("title") && !columns.has("other"));
        assert_eq!(columns.type_of("year"), Some(FieldType::Integer));
        assert_eq!(columns.type_of("title"), None);
        assert!(Columns { all: true, ..Columns::default() }.has("other"));
    }
}
