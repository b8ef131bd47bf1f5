//! Values of fields as they are stored: numbers in a form that keeps their order.

/// A value as it is stored: numbers in an order-preserving form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Entry {
    /// A keyword, or a truth value.
    Bytes(Vec<u8>),
    Number(u64),
}

/// The sign bit.
pub(super) const SIGN: u64 = 1 << 63;

/// Integers, so that the order of the results is theirs.
pub(super) fn of_integer(value: i64) -> u64 {
    value as u64 ^ SIGN
}

/// The same for finite floats; both zeros are one.
pub(super) fn of_float(value: f64) -> Option<u64> {
    let bits = (value + 0.0).to_bits();
    value.is_finite().then_some(if bits & SIGN == 0 { bits | SIGN } else { !bits })
}

pub(super) fn to_float(number: u64) -> f64 {
    f64::from_bits(if number & SIGN != 0 { number ^ SIGN } else { !number })
}

/// The milliseconds since 1970 of a date, or of a date with a time, as RFC 3339 writes them. A time
/// without an offset is UTC.
pub(super) fn milliseconds(text: &str) -> Option<i64> {
    let digits = |from: usize, count: usize| -> Option<i64> {
        let digits = text.get(from..from + count)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let is = |at: usize, any_of: &str| {
        text.get(at..at + 1).filter(|found| any_of.contains(found)).map(drop)
    };
    let (year, month, day) = (digits(0, 4)?, digits(5, 2)?, digits(8, 2)?);
    is(4, "-").and(is(7, "-"))?;
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, 28 + i64::from(is_leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before = lengths.get(..usize::try_from(month - 1).ok()?)?.iter().sum::<i64>();
    if day < 1 || day > *lengths.get(month as usize - 1)? {
        return None;
    }
    let past = year - 1;
    let days = 365 * past + past.div_euclid(4) - past.div_euclid(100) + past.div_euclid(400);
    // Days from 0001-01-01 to 1970-01-01.
    let mut seconds = (days + before + day - 1 - 719_162) * 86_400;
    if text.len() == 10 {
        return Some(seconds * 1000);
    }
    let (hour, minute, second) = (digits(11, 2)?, digits(14, 2)?, digits(17, 2)?);
    is(10, "Tt ").and(is(13, ":")).and(is(16, ":"))?;
    // A leap second counts as the second before.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    seconds += hour * 3600 + minute * 60 + second.min(59);
    let (mut at, mut thousandths) = (19, 0);
    if is(at, ".").is_some() {
        let count = text.bytes().skip(20).take_while(u8::is_ascii_digit).count();
        if count == 0 {
            return None;
        }
        let known = count.min(3);
        thousandths = digits(20, known)? * 10i64.pow(3 - known as u32);
        at = 20 + count;
    }
    let offset = match text.get(at..)? {
        "" | "Z" | "z" => 0,
        zone if zone.len() == 6 => {
            is(at, "+-").and(is(at + 3, ":"))?;
            let (hours, minutes) = (digits(at + 1, 2)?, digits(at + 4, 2)?);
            let offset = hours * 3600 + minutes * 60;
            if hours > 23 || minutes > 59 {
                return None;
            }
            if zone.starts_with('-') { -offset } else { offset }
        }
        _ => return None,
    };
    Some((seconds - offset) * 1000 + thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::{FieldType, FieldValue};

    #[test]
    fn numbers_are_ordered_as_they_are_stored_and_come_back() {
        let integers = [i64::MIN, -7, -1, 0, 1, 300, i64::MAX];
        assert!(integers.map(of_integer).is_sorted_by(|a, b| a < b));
        let floats = [f64::MIN, -1e300, -1.5, -1e-300, 0.0, 1e-300, 2.5, f64::MAX];
        let stored = floats.map(|value| of_float(value).unwrap());
        assert!(stored.is_sorted_by(|a, b| a < b));
        assert_eq!(stored.map(to_float), floats);
        assert_eq!(of_float(-0.0), of_float(0.0));
        assert_eq!([of_float(f64::NAN), of_float(f64::INFINITY)], [None; 2]);
        for value in [FieldValue::Integer(-3), FieldValue::Integer(9)] {
            let entry = FieldType::Integer.entry(&value).unwrap();
            assert_eq!(FieldType::Integer.value(&entry), Some(value));
        }
    }

    #[test]
    fn dates_and_times_are_read() {
        for (text, expected) in [
            ("1970-01-01", 0),
            ("1970-01-01T00:00:01Z", 1000),
            ("1969-12-31T23:59:59.5Z", -500),
            ("2000-02-29", 951_782_400_000),
            ("2026-11-29T18:45:00Z", 1_795_977_900_000),
            ("2026-11-29T18:45:00.123456+01:30", 1_795_977_900_123 - 5_400_000),
            ("2026-11-29 18:45:00-00:30", 1_795_977_900_000 + 1_800_000),
            ("0001-01-01", -62_135_596_800_000),
        ] {
            assert_eq!(milliseconds(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "1970",
            "1970-13-01",
            "1970-00-01",
            "1970-01-32",
            "1970-01-00",
            "1900-02-29",
            "1970-1-1",
            "1970/01/01",
            "1970-01-01T",
            "1970-01-01T24:00:00Z",
            "1970-01-01T00:60:00Z",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:00+1",
            "1970-01-01T00:00:00+25:00",
            "1970-01-01é",
            "+970-01-01",
            "1970-01-01T00:00:00X",
        ] {
            assert_eq!(milliseconds(text), None, "{text}");
        }
    }
}
