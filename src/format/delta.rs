//! DELTA: which large values a transaction has rewritten, so that whoever knows where they were
//! before it knows what to look up again.

use super::{Damage, take_u32, take_u64};

/// Commits that are remembered, as a ring buffer: each has the place of its number's remainder. A
/// snapshot that is more commits back carries no tables over.
pub(crate) const REMEMBERED_COMMITS: u64 = 64;
/// More numbers than this are not listed: a value must not outgrow a page.
const MAX_NUMBERS: usize = 900;
/// What stands in the place of the first count if nothing is listed.
const EVERYTHING: u32 = u32::MAX;

/// The values that are listed: VECTORS blocks, LINKS groups of layer 0, SLOT_IDS groups, CODES
/// blocks.
pub(crate) const LISTS: usize = 4;

/// What a transaction has rewritten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Delta {
    /// The numbers of the values, ascending.
    Values([Vec<u32>; LISTS]),
    /// All of them, or more than are listed.
    Everything,
}

impl Delta {
    /// Adds what was rewritten later.
    pub(crate) fn merge(&mut self, other: Self) {
        *self = match (std::mem::replace(self, Self::Everything), other) {
            (Self::Values(mut values), Self::Values(others)) => {
                for (values, others) in values.iter_mut().zip(others) {
                    values.extend(others);
                    values.sort_unstable();
                    values.dedup();
                }
                Self::Values(values)
            }
            _ => Self::Everything,
        };
    }

    pub(crate) fn encode(&self, transaction: u64) -> Vec<u8> {
        let mut out = transaction.to_le_bytes().to_vec();
        match self {
            Self::Values(values) if values.iter().map(Vec::len).sum::<usize>() <= MAX_NUMBERS => {
                out.extend(values.iter().flat_map(|values| (values.len() as u32).to_le_bytes()));
                out.extend(values.iter().flatten().flat_map(|number| number.to_le_bytes()));
            }
            _ => out.extend([EVERYTHING, 0, 0, 0].iter().flat_map(|count| count.to_le_bytes())),
        }
        out
    }

    /// The number of the transaction, and what it has rewritten.
    pub(crate) fn decode(body: &[u8]) -> Result<(u64, Self), Damage> {
        const SHORT: Damage = "it is cut short";
        let transaction = take_u64(body, 0).ok_or(SHORT)?;
        let mut counts = [0; LISTS];
        for (list, count) in counts.iter_mut().enumerate() {
            *count = take_u32(body, 8 + 4 * list).ok_or(SHORT)?;
        }
        let (numbers, rest) = body.get(8 + 4 * LISTS..).unwrap_or_default().as_chunks::<4>();
        let mut numbers = numbers.iter().map(|number| u32::from_le_bytes(*number));
        let delta = if counts == [EVERYTHING, 0, 0, 0] {
            Self::Everything
        } else {
            Self::Values(counts.map(|count| numbers.by_ref().take(count as usize).collect()))
        };
        let is_whole = rest.is_empty() && numbers.next().is_none();
        let is_listed = match &delta {
            Self::Everything => true,
            Self::Values(values) => values.iter().zip(counts).all(|(values, count)| {
                values.len() == count as usize && values.is_sorted_by(|a, b| a < b)
            }),
        };
        if is_whole && is_listed {
            Ok((transaction, delta))
        } else {
            Err("its numbers are not those that it counts, ascending")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_comes_back_and_too_much_is_everything() {
        let mut delta = Delta::Values([vec![3, 9], vec![], vec![0, 1, u32::MAX], vec![]]);
        assert_eq!(Delta::decode(&delta.encode(7)), Ok((7, delta.clone())));
        delta.merge(Delta::Values([vec![9, 1], vec![4], vec![], vec![5]]));
        assert_eq!(delta, Delta::Values([vec![1, 3, 9], vec![4], vec![0, 1, u32::MAX], vec![5]]));
        let many = Delta::Values([(0..MAX_NUMBERS as u32).collect(), vec![], vec![1], vec![]]);
        assert_eq!(Delta::decode(&many.encode(u64::MAX)), Ok((u64::MAX, Delta::Everything)));
        delta.merge(Delta::Everything);
        assert_eq!(delta, Delta::Everything);
    }

    #[test]
    fn bytes_that_are_no_delta_are_an_error() {
        let body = Delta::Values([vec![3, 9], vec![2], vec![], vec![8]]).encode(7);
        for end in 0..body.len() {
            assert!(Delta::decode(&body[..end]).is_err(), "{end}");
        }
        for at in 8..body.len() {
            for byte in [0, 1, 127, 255] {
                let mut damaged = body.clone();
                damaged[at] = byte;
                _ = Delta::decode(&damaged);
            }
        }
        let unsorted = Delta::Values([vec![9, 3], vec![], vec![], vec![]]).encode(7);
        assert!(Delta::decode(&unsorted).is_err());
    }
}
