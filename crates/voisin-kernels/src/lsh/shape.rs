//! The shape of a hash: its digits, and the components that each compares.

/// The number of digits of a hash.
pub const DIGITS: usize = 5;
/// The number of components that a digit compares: a digit is then a number of 5 bits. Of 4, 8, 16,
/// 32 and 64 components, 16 had the highest recall for vectors compared (decision 0056).
pub const WIDTH: usize = 16;
/// The number of values of a digit.
pub const VALUES: usize = 2 * WIDTH;
/// The number of bits of a digit.
pub const DIGIT_BITS: u32 = VALUES.ilog2();
