//! The orders that LMDB itself gives keys, and values of one key, by the flags of a database.

use std::cmp::Ordering;

use super::pages::{INTEGER_DUPLICATES, INTEGER_KEYS, REVERSE_DUPLICATES, REVERSE_KEYS};

/// How keys are ordered. A database may have an order of its program's own, which the file does not
/// tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Bytes,
    FromTheEnd,
    Integers,
}

impl Order {
    pub(super) fn of_keys(flags: u16) -> Self {
        match flags {
            _ if flags & REVERSE_KEYS != 0 => Self::FromTheEnd,
            _ if flags & INTEGER_KEYS != 0 => Self::Integers,
            _ => Self::Bytes,
        }
    }

    pub(super) fn of_duplicates(flags: u16) -> Self {
        match flags {
            _ if flags & INTEGER_DUPLICATES != 0 => Self::Integers,
            _ if flags & REVERSE_DUPLICATES != 0 => Self::FromTheEnd,
            _ => Self::Bytes,
        }
    }

    pub(super) fn compare(self, a: &[u8], b: &[u8]) -> Ordering {
        match self {
            Self::Bytes => a.cmp(b),
            // Integers of one length; those of two have no order.
            Self::Integers if a.len() != b.len() => Ordering::Less,
            Self::Integers | Self::FromTheEnd => a.iter().rev().cmp(b.iter().rev()),
        }
    }
}
