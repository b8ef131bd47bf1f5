//! RECORDS: what META says of the records of items. A record itself has no layout: its body is the
//! bytes that the caller gave.

use super::{Damage, take_u32, take_u64};

/// Maximum length of a record, in bytes: 64 MiB. A record is read, verified and written as a whole,
/// and a commit holds it in memory.
pub(crate) const MAX_RECORD_BYTES: usize = 64 << 20;
/// Length of the part of META.
const PART_BYTES: usize = 16;

/// The part of META: how many records there are, and their bytes together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    pub(crate) records: u32,
    pub(crate) bytes: u64,
}

impl Counts {
    /// The part. `None` if there are no records: then META has no such part.
    pub(crate) fn encode(self) -> Option<Vec<u8>> {
        let mut out = self.records.to_le_bytes().to_vec();
        out.extend([0; 4]);
        out.extend(self.bytes.to_le_bytes());
        (self.records > 0).then_some(out)
    }

    /// Decodes the part, if META has one.
    pub(crate) fn decode(part: Option<&[u8]>) -> Result<Self, Damage> {
        let Some(part) = part else { return Ok(Self::default()) };
        if part.len() != PART_BYTES {
            return Err("what it says of records is too short or too long");
        }
        let records = take_u32(part, 0).unwrap_or_default();
        let bytes = take_u64(part, 8).unwrap_or_default();
        if records == 0 || take_u32(part, 4) != Some(0) {
            return Err("what it says of records cannot be");
        }
        Ok(Self { records, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_come_back_and_no_records_have_no_part() {
        let counts = Counts { records: 7, bytes: u64::MAX };
        assert_eq!(Counts::decode(counts.encode().as_deref()), Ok(counts));
        assert_eq!(
            (Counts::default().encode(), Counts::decode(None)),
            (None, Ok(Counts::default()))
        );
    }

    #[test]
    fn a_part_that_cannot_be_is_refused() {
        let part = Counts { records: 7, bytes: 70 }.encode().unwrap();
        for end in 0..part.len() {
            assert!(Counts::decode(Some(&part[..end])).is_err(), "{end}");
        }
        for (at, byte) in [(0, 0), (4, 1), (7, 1)] {
            let mut damaged = part.clone();
            damaged[at] = byte;
            assert!(Counts::decode(Some(&damaged)).is_err(), "{at}");
        }
    }
}
