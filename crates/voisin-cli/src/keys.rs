//! The names of items, in the command line, in files and in output.

use serde_json::Value;
use voisin::{AnyKey, AsKey, Filter, ItemId, ItemName};

use crate::failure::{Failure, Result};

/// The names of an index, of one of the five kinds.
pub(crate) trait Key: ItemName<Owned: AsKey<Self> + Named> {
    /// Whether they are numbers.
    const IS_NUMBER: bool;

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
            "--prefix {prefix:?}: the items of the index are named by numbers or UUIDs, which have \
             no prefix: leave it out"
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

impl Named for Vec<u8> {
    fn any(self) -> AnyKey {
        AnyKey::Bytes(self)
    }
}

impl Named for [u8; 16] {
    fn any(self) -> AnyKey {
        AnyKey::Uuid(self)
    }
}

fn number<N: std::str::FromStr + TryFrom<u64>>(key: &AnyKey, most: u64) -> Result<N, String> {
    let number = match key {
        AnyKey::Number(number) => N::try_from(*number).ok(),
        AnyKey::Text(text) => text.trim().parse().ok(),
        AnyKey::Bytes(_) | AnyKey::Uuid(_) => None,
    };
    number.ok_or_else(|| {
        format!(
            "the key {key:?} is not a number from 0 to {most}, by which the items of this \
                 index are named: give such a number",
            key = key.to_string()
        )
    })
}

/// The bytes that hexadecimal digits stand for, of which there are two a byte.
fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let bytes = digits.as_bytes().chunks(2);
    bytes
        .map(|pair| match pair {
            [high, low] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
            _ => None,
        })
        .collect()
}

/// A UUID in its usual form, or its 32 digits alone.
fn from_uuid(text: &str) -> Option<[u8; 16]> {
    let is_hyphen = |(at, byte): (usize, u8)| (byte == b'-') == [8, 13, 18, 23].contains(&at);
    if text.len() == 36 && !text.bytes().enumerate().all(is_hyphen) {
        return None;
    }
    let digits = if text.len() == 36 { text.replace('-', "") } else { text.to_owned() };
    from_hex(&digits)?.try_into().ok()
}

impl Key for ItemId {
    const IS_NUMBER: bool = true;

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
    const IS_NUMBER: bool = true;

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
    const IS_NUMBER: bool = false;

    fn own(&self) -> String {
        self.to_owned()
    }

    fn begins(&self, prefix: &str) -> bool {
        self.starts_with(prefix)
    }

    fn of(key: AnyKey) -> Result<String, String> {
        Ok(match key {
            AnyKey::Text(text) => text,
            other => other.to_string(),
        })
    }

    fn filter(names: Vec<String>) -> Result<Filter<Self>> {
        Ok(Filter::<Self>::keys(names)?)
    }

    fn prefix(prefix: &str) -> Result<Filter<Self>> {
        Ok(Filter::prefix(prefix))
    }
}

/// Bytes are two hexadecimal digits each, in the command line, in files and in output.
impl Key for [u8] {
    const IS_NUMBER: bool = false;

    fn own(&self) -> Vec<u8> {
        self.to_owned()
    }

    fn begins(&self, prefix: &str) -> bool {
        from_hex(prefix.trim()).is_some_and(|prefix| self.starts_with(&prefix))
    }

    fn of(key: AnyKey) -> Result<Vec<u8>, String> {
        match key {
            AnyKey::Bytes(bytes) => Ok(bytes),
            other => from_hex(other.to_string().trim()).ok_or_else(|| {
                format!(
                    "the key {key:?} is no bytes, by which the items of this index are named: give \
                     two hexadecimal digits for each byte, such as 00ff",
                    key = other.to_string()
                )
            }),
        }
    }

    fn filter(names: Vec<Vec<u8>>) -> Result<Filter<Self>> {
        Ok(Filter::<Self>::keys(names)?)
    }

    fn prefix(prefix: &str) -> Result<Filter<Self>> {
        let prefix = Self::of(AnyKey::from(prefix)).map_err(Failure::usage)?;
        Ok(Filter::<Self>::prefix(prefix))
    }
}

impl Key for [u8; 16] {
    const IS_NUMBER: bool = false;

    fn own(&self) -> Self {
        *self
    }

    fn of(key: AnyKey) -> Result<Self, String> {
        match key {
            AnyKey::Uuid(uuid) => Ok(uuid),
            other => from_uuid(other.to_string().trim()).ok_or_else(|| {
                format!(
                    "the key {key:?} is no UUID, by which the items of this index are named: give \
                     one, such as 67e55044-10b1-426f-9247-bb680e5fe0c8",
                    key = other.to_string()
                )
            }),
        }
    }

    fn filter(names: Vec<Self>) -> Result<Filter<Self>> {
        Ok(Filter::<Self>::keys(names)?)
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
        other => Value::from(other.to_string()),
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
    fn bytes_and_uuids_are_hexadecimal_digits() {
        let uuid = *b"0123456789abcdef";
        for text in [
            "30313233-3435-3637-3839-616263646566",
            "30313233343536373839616263646566",
            " 30313233-3435-3637-3839-616263646566\n",
        ] {
            assert_eq!(<[u8; 16] as Key>::of(AnyKey::from(text)), Ok(uuid));
        }
        let upper = "0A0A0A0A-0A0A-0A0A-0A0A-0A0A0A0A0A0A";
        assert_eq!(<[u8; 16] as Key>::of(AnyKey::from(upper)), Ok([10; 16]));
        for wrong in [
            "",
            "303132333435363738396162636465",
            "3031323-33435-3637-3839-616263646566",
            "30313233-3435-3637-3839-61626364656g",
            "30313233-3435-3637-3839-6162636465-6",
            "é0313233-3435-3637-3839-61626364656",
        ] {
            assert!(<[u8; 16] as Key>::of(AnyKey::from(wrong)).is_err(), "{wrong}");
        }
        assert_eq!(<[u8] as Key>::of(AnyKey::from("00fF")), Ok(vec![0, 255]));
        for wrong in ["0", "0x", "00f", "+1"] {
            assert!(<[u8] as Key>::of(AnyKey::from(wrong)).is_err(), "{wrong}");
        }
        let key = AnyKey::from(vec![0, 255]);
        assert_eq!((json(&key), text(&key)), (Value::from("00ff"), "00ff".to_owned()));
        assert_eq!(json(&AnyKey::from(uuid)), "30313233-3435-3637-3839-616263646566");
    }

    #[test]
    fn a_key_is_on_one_line() {
        assert_eq!(text(&AnyKey::from("a\nb")), "a\\nb");
    }
}
