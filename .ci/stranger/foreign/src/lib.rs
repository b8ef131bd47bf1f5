//! Replaces the crc32c crate, for `cargo check` alone. It has a type that implements the traits of
//! the standard library for everything that a foreign crate may: a conversion or an operand in
//! voisin whose type is only inferred becomes ambiguous with it, and does not compile.
//!
//! Crates do this: serde_json compares its values with numbers and strings, bstr is an `AsRef` of
//! bytes, glam multiplies numbers with vectors, num-bigint converts and adds up. A crate's
//! implementations count if it is among the dependencies of the crate being compiled, which
//! features enabled elsewhere can cause; so one of voisin's own dependencies is replaced.

use std::borrow::Borrow;
use std::ffi::{OsStr, OsString};
use std::ops::*;
use std::path::{Path, PathBuf};

/// As far as the type checker can see.
pub fn crc32c(_: &[u8]) -> u32 {
    unreachable!("only checked, never run")
}

/// As far as the type checker can see.
pub fn crc32c_append(_: u32, _: &[u8]) -> u32 {
    unreachable!("only checked, never run")
}

/// A type of no other crate.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Foreign;

macro_rules! operators {
    ($type:ty: $($operator:ident $method:ident $assign:ident $assign_method:ident),*) => {$(
        impl $operator<Foreign> for $type {
            type Output = Foreign;
            fn $method(self, _: Foreign) -> Foreign { Foreign }
        }
        impl $operator<$type> for Foreign {
            type Output = Foreign;
            fn $method(self, _: $type) -> Foreign { Foreign }
        }
        impl $assign<Foreign> for $type {
            fn $assign_method(&mut self, _: Foreign) {}
        }
    )*};
}

macro_rules! compared {
    ($($type:ty),*) => {$(
        impl PartialEq<Foreign> for $type {
            fn eq(&self, _: &Foreign) -> bool { false }
        }
        impl PartialEq<$type> for Foreign {
            fn eq(&self, _: &$type) -> bool { false }
        }
        impl PartialOrd<Foreign> for $type {
            fn partial_cmp(&self, _: &Foreign) -> Option<std::cmp::Ordering> { None }
        }
        impl PartialOrd<$type> for Foreign {
            fn partial_cmp(&self, _: &$type) -> Option<std::cmp::Ordering> { None }
        }
        impl AsRef<Foreign> for $type {
            fn as_ref(&self) -> &Foreign { &Foreign }
        }
        impl Borrow<Foreign> for $type {
            fn borrow(&self) -> &Foreign { &Foreign }
        }
    )*};
}

macro_rules! converted {
    ($($type:ty),*) => {$(
        impl From<$type> for Foreign {
            fn from(_: $type) -> Self { Self }
        }
        impl From<Foreign> for $type {
            fn from(_: Foreign) -> Self { unreachable!() }
        }
    )*};
}

macro_rules! collected {
    ($($type:ty),*) => {$(
        impl FromIterator<Foreign> for $type {
            fn from_iter<I: IntoIterator<Item = Foreign>>(_: I) -> Self { unreachable!() }
        }
        impl Extend<Foreign> for $type {
            fn extend<I: IntoIterator<Item = Foreign>>(&mut self, _: I) {}
        }
    )*};
}

macro_rules! numbers {
    ($($type:ty),*) => {$(
        operators!($type: Add add AddAssign add_assign, Sub sub SubAssign sub_assign,
            Mul mul MulAssign mul_assign,
            Div div DivAssign div_assign, Rem rem RemAssign rem_assign);
        compared!($type, [$type], Vec<$type>, Option<$type>);
        converted!($type, Vec<$type>);
        collected!(Vec<$type>);
        impl std::iter::Sum<Foreign> for $type {
            fn sum<I: Iterator<Item = Foreign>>(_: I) -> Self { unreachable!() }
        }
        impl std::iter::Product<Foreign> for $type {
            fn product<I: Iterator<Item = Foreign>>(_: I) -> Self { unreachable!() }
        }
        impl Index<Foreign> for Vec<$type> {
            type Output = Foreign;
            fn index(&self, _: Foreign) -> &Foreign { &Foreign }
        }
        impl Index<Foreign> for [$type] {
            type Output = Foreign;
            fn index(&self, _: Foreign) -> &Foreign { &Foreign }
        }
    )*};
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        numbers!($type);
        operators!($type: BitAnd bitand BitAndAssign bitand_assign,
            BitOr bitor BitOrAssign bitor_assign, BitXor bitxor BitXorAssign bitxor_assign,
            Shl shl ShlAssign shl_assign, Shr shr ShrAssign shr_assign);
    )*};
}

integers!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize);
numbers!(f32, f64);
compared!(bool, char, str, String, OsStr, OsString, Path, PathBuf, std::time::Duration);
converted!(bool, char, String, OsString, PathBuf, std::time::Duration, std::io::Error);
collected!(String, OsString, PathBuf);
