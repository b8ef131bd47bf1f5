//! LMDB's built-in orders of keys, and of the values of one key, by the flags of a database.

use std::cmp::Ordering;

use super::pages::{INTEGER_DUPLICATES, INTEGER_KEYS, REVERSE_DUPLICATES, REVERSE_KEYS};

/// A key order. A database may use a comparison function of its own program, which the file does
/// not tell.
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
            // Integers have one length; those of two lengths have no order, which is not reported.
            Self::Integers if a.len() != b.len() => Ordering::Less,
            Self::Integers | Self::FromTheEnd => a.iter().rev().cmp(b.iter().rev()),
        }
    }
}
