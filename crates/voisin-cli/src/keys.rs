//! The names of items, in the command line, in files and in output.

use serde_json::Value;
use voisin::{AnyKey, AsKey, Filter, ItemId, ItemName};

use crate::failure::{Failure, Result};

/// The names of an index, of one of the three kinds.
pub(crate) trait Key: ItemName<Owned: AsKey<Self> + Named> {
    /// Whether they are texts.
    const IS_TEXT: bool;

    /// The name that a key stands for: a text that is a number is a number where items are named by
    /// numbers.
    ///
    /// # Errors
    /// A message, without the place of the key.
    fn of(key: AnyKey) -> Result<Self::Owned, String>;

    /// The name, as answers have it.
    fn own(&self) -> Self::Owned;

    /// Whether it begins so: a text.
    fn begins(&self, _: &str) -> bool {
        false
    }

    /// A restriction of searches to these items.
    fn filter(names: Vec<Self::Owned>) -> Result<Filter<Self>>;

    /// A restriction of searches to the items whose names begin so.
    fn prefix(prefix: &str) -> Result<Filter<Self>> {
        Err(Failure::usage(format!(
            "--prefix {prefix:?}: the items of the index are named by numbers, which have no \
             prefix: leave it out"
        )))
    }
}

/// The name of an item, as answers have it.
pub(crate) trait Named: Clone {
    /// The same name once more.
    fn again(&self) -> Self {
        self.clone()
    }

    /// The same name without its type.
    fn any(self) -> AnyKey;
}

impl Named for u32 {
    fn any(self) -> AnyKey {
        AnyKey::Number(self.into())
    }
}

impl Named for u64 {
    fn any(self) -> AnyKey {
        AnyKey::Number(self)
    }
}

impl Named for String {
    fn any(self) -> AnyKey {
        AnyKey::Text(self)
    }
}

fn number<N: std::str::FromStr + TryFrom<u64>>(key: &AnyKey, most: u64) -> Result<N, String> {
    let number = match key {
        AnyKey::Number(number) => N::try_from(*number).ok(),
        AnyKey::Text(text) => text.trim().parse().ok(),
    };
    number.ok_or_else(|| {
        format!(
            "the key {key:?} is not a number from 0 to {most}, by which the items of this \
                 index are named: give such a number",
            key = key.to_string()
        )
    })
}

impl Key for ItemId {
    const IS_TEXT: bool = false;

    fn own(&self) -> Self {
        *self
    }

    fn of(key: AnyKey) -> Result<Self, String> {
        number(&key, ItemId::MAX.into())
    }

    fn filter(names: Vec<Self>) -> Result<Filter<Self>> {
        Ok(Filter::new(names.into_iter().collect()))
    }
}

impl Key for u64 {
    const IS_TEXT: bool = false;

    fn own(&self) -> Self {
        *self
    }

    fn of(key: AnyKey) -> Result<Self, String> {
        number(&key, u64::MAX)
    }

    fn filter(names: Vec<Self>) -> Result<Filter<Self>> {
        Ok(Filter::keys(names)?)
    }
}

impl Key for str {
    const IS_TEXT: bool = true;

    fn own(&self) -> String {
        self.to_owned()
    }

    fn begins(&self, prefix: &str) -> bool {
        self.starts_with(prefix)
    }

    fn of(key: AnyKey) -> Result<String, String> {
        Ok(match key {
            AnyKey::Number(number) => number.to_string(),
            AnyKey::Text(text) => text,
        })
    }

    fn filter(names: Vec<String>) -> Result<Filter<Self>> {
        Ok(Filter::<Self>::keys(names)?)
    }

    fn prefix(prefix: &str) -> Result<Filter<Self>> {
        Ok(Filter::prefix(prefix))
    }
}

/// A name that the command line gives.
pub(crate) fn given<K: Key + ?Sized>(text: &str) -> Result<K::Owned> {
    K::of(AnyKey::from(text)).map_err(Failure::usage)
}

/// A key in JSON: a number or a string.
pub(crate) fn json(key: &AnyKey) -> Value {
    match key {
        AnyKey::Number(number) => Value::from(*number),
        AnyKey::Text(text) => Value::from(text.clone()),
    }
}

/// A key in a line of text: control characters, which could end the line, are escaped.
pub(crate) fn text(key: &AnyKey) -> String {
    let text = key.to_string();
    if text.contains(char::is_control) { text.escape_debug().to_string() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_a_number_where_items_are_named_by_numbers() {
        assert_eq!(<ItemId as Key>::of(AnyKey::from("7")), Ok(7));
        assert_eq!(<u64 as Key>::of(AnyKey::from(1 << 40)), Ok(1 << 40));
        assert_eq!(<str as Key>::of(AnyKey::from(7)), Ok("7".to_owned()));
        let error = <ItemId as Key>::of(AnyKey::from(1 << 40)).unwrap_err();
        assert!(error.contains("1099511627776") && error.contains("4294967295"), "{error}");
        assert!(<u64 as Key>::of(AnyKey::from("seven")).is_err());
    }

    #[test]
    fn a_key_is_on_one_line() {
        assert_eq!(text(&AnyKey::from("a\nb")), "a\\nb");
    }
}
