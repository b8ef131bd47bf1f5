//! The name of an item as a value of one type, for indexes of any naming.

use std::fmt;

use crate::error::{Error, Result};
use crate::format::item_keys::{Naming, hex, uuid_text};
use crate::types::ItemId;

/// The name of an item of an [`AnyIndex`](crate::AnyIndex): a number, where items are named by item
/// ids or `u64` keys, a string, bytes, or a UUID.
///
/// ```
/// use voisin::AnyKey;
///
/// assert_eq!(AnyKey::from("a note").to_string(), "a note");
/// assert_eq!(AnyKey::from(vec![0x0F, 0xFF]).to_string(), "0fff");
/// let uuid = AnyKey::from(*b"0123456789abcdef");
/// assert_eq!(uuid.to_string(), "30313233-3435-3637-3839-616263646566");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AnyKey {
    /// An item id, or a `u64` key.
    Number(u64),
    /// A string.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// The bytes of a UUID.
    Uuid([u8; 16]),
}

impl From<u64> for AnyKey {
    fn from(key: u64) -> Self {
        Self::Number(key)
    }
}

impl From<&str> for AnyKey {
    fn from(key: &str) -> Self {
        Self::Text(key.to_owned())
    }
}

impl From<String> for AnyKey {
    fn from(key: String) -> Self {
        Self::Text(key)
    }
}

impl From<&[u8]> for AnyKey {
    fn from(key: &[u8]) -> Self {
        Self::Bytes(key.to_owned())
    }
}

impl From<Vec<u8>> for AnyKey {
    fn from(key: Vec<u8>) -> Self {
        Self::Bytes(key)
    }
}

impl From<[u8; 16]> for AnyKey {
    fn from(key: [u8; 16]) -> Self {
        Self::Uuid(key)
    }
}

impl fmt::Display for AnyKey {
    /// Bytes are hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(key) => key.fmt(f),
            Self::Text(key) => key.fmt(f),
            Self::Bytes(key) => hex(key).fmt(f),
            Self::Uuid(key) => uuid_text(*key).fmt(f),
        }
    }
}

impl AnyKey {
    /// The key as an item id.
    pub(super) fn id(&self, name: &str) -> Result<ItemId> {
        let id = match self {
            Self::Number(key) => ItemId::try_from(*key).ok(),
            _ => None,
        };
        id.ok_or_else(|| self.mismatch(name, Naming::Ids))
    }

    pub(super) fn number(&self, name: &str) -> Result<u64> {
        match self {
            Self::Number(key) => Ok(*key),
            _ => Err(self.mismatch(name, Naming::U64)),
        }
    }

    pub(super) fn text(&self, name: &str) -> Result<&str> {
        match self {
            Self::Text(key) => Ok(key),
            _ => Err(self.mismatch(name, Naming::Text)),
        }
    }

    pub(super) fn bytes(&self, name: &str) -> Result<&[u8]> {
        match self {
            Self::Bytes(key) => Ok(key),
            _ => Err(self.mismatch(name, Naming::Bytes)),
        }
    }

    pub(super) fn uuid(&self, name: &str) -> Result<[u8; 16]> {
        match self {
            Self::Uuid(key) => Ok(*key),
            _ => Err(self.mismatch(name, Naming::Uuid)),
        }
    }

    fn mismatch(&self, name: &str, stored: Naming) -> Error {
        let requested = match self {
            Self::Number(_) => Naming::U64,
            Self::Text(_) => Naming::Text,
            Self::Bytes(_) => Naming::Bytes,
            Self::Uuid(_) => Naming::Uuid,
        };
        Error::NamingMismatch {
            index: name.to_owned(),
            stored: stored.describe(),
            requested: requested.describe(),
        }
    }
}
