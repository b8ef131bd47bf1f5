//! DELTA: the large values that a transaction has rewritten. Pointer tables of an earlier snapshot
//! stay valid for all others. One value for all indexes of a database.

use std::collections::BTreeMap;

use super::{Damage, Key, Kind, take_u16, take_u32, take_u64};

/// Number of commits that are remembered, in a ring buffer: a commit has the cell `transaction %
/// 64`. A snapshot that is more commits behind carries no pointer tables over.
pub(crate) const REMEMBERED_COMMITS: u64 = 64;
/// The index number in the keys of values that belong to the database instead of an index.
pub(crate) const DATABASE: u16 = u16::MAX;
/// Maximum number of `u32`s after the number of lists: a value must fit in a page.
const MAX_WORDS: usize = 1000;
/// The count that means "everything has been rewritten".
const EVERYTHING: u32 = u32::MAX;

/// The key of the DELTA value of a transaction.
pub(crate) fn key(transaction: u64) -> Key {
    Key::new(DATABASE, Kind::DELTA, 0, (transaction % REMEMBERED_COMMITS) as u32)
}

/// The values that a transaction has rewritten of one index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Delta {
    /// The numbers of the values by kind, ascending after a merge.
    Values(BTreeMap<Kind, Vec<u32>>),
    /// All values, or more than can be listed.
    Everything,
}

impl Default for Delta {
    fn default() -> Self {
        Self::Values(BTreeMap::new())
    }
}

impl Delta {
    /// Adds the values that were rewritten later.
    pub(crate) fn merge(&mut self, other: Self) {
        *self = match (std::mem::replace(self, Self::Everything), other) {
            (Self::Values(mut values), Self::Values(others)) => {
                for (kind, others) in others {
                    let values = values.entry(kind).or_default();
                    values.extend(others);
                    values.sort_unstable();
                    values.dedup();
                }
                Self::Values(values)
            }
            _ => Self::Everything,
        };
    }

    /// Number of `u32`s that its lists take.
    fn words(&self) -> usize {
        match self {
            Self::Values(values) if values.is_empty() => 2,
            Self::Values(values) => values.values().map(|numbers| 2 + numbers.len()).sum(),
            Self::Everything => 2,
        }
    }
}

/// The values that a transaction has rewritten in a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Deltas {
    /// Per changed index. Indexes that are not listed are unchanged.
    Indexes(BTreeMap<u16, Delta>),
    /// Everything, in all indexes.
    Everything,
}

impl Default for Deltas {
    fn default() -> Self {
        Self::Indexes(BTreeMap::new())
    }
}

impl Deltas {
    /// The values rewritten of an index. `None` if the index has not been changed.
    pub(crate) fn of(&self, index: u16) -> Option<Delta> {
        match self {
            Self::Indexes(indexes) => indexes.get(&index).cloned(),
            Self::Everything => Some(Delta::Everything),
        }
    }

    /// Replaces the entry of an index.
    pub(crate) fn insert(&mut self, index: u16, delta: Delta) {
        if let Self::Indexes(indexes) = self {
            indexes.insert(index, delta);
        }
    }

    /// Encodes the lists. If they are too long, they become "everything" for each changed index, or
    /// for all indexes.
    pub(crate) fn encode(&self, transaction: u64) -> Vec<u8> {
        let mut out = transaction.to_le_bytes().to_vec();
        let fits = |words: usize| words <= MAX_WORDS;
        match self {
            Self::Indexes(indexes) if fits(indexes.values().map(Delta::words).sum()) => {
                let lists = indexes.values().map(|delta| match delta {
                    Delta::Values(values) => values.len().max(1),
                    Delta::Everything => 1,
                });
                out.extend((lists.sum::<usize>() as u32).to_le_bytes());
                for (index, delta) in indexes {
                    match delta {
                        Delta::Values(values) if values.is_empty() => {
                            list(&mut out, *index, Kind::META, 0, &[]);
                        }
                        Delta::Values(values) => values.iter().for_each(|(kind, numbers)| {
                            list(&mut out, *index, *kind, numbers.len() as u32, numbers);
                        }),
                        Delta::Everything => list(&mut out, *index, Kind::META, EVERYTHING, &[]),
                    }
                }
            }
            Self::Indexes(indexes) if fits(2 * indexes.len()) => {
                out.extend((indexes.len() as u32).to_le_bytes());
                for index in indexes.keys() {
                    list(&mut out, *index, Kind::META, EVERYTHING, &[]);
                }
            }
            _ => out.extend(EVERYTHING.to_le_bytes()),
        }
        out
    }

    /// Decodes the transaction id and the lists.
    pub(crate) fn decode(body: &[u8]) -> Result<(u64, Self), Damage> {
        const SHORT: Damage = "it is cut short";
        let transaction = take_u64(body, 0).ok_or(SHORT)?;
        let lists = take_u32(body, 8).ok_or(SHORT)?;
        let mut rest = body.get(12..).unwrap_or_default();
        if lists == EVERYTHING {
            return match rest {
                [] => Ok((transaction, Self::Everything)),
                _ => Err("it names everything and something"),
            };
        }
        let mut indexes: BTreeMap<u16, Delta> = BTreeMap::new();
        let mut last = None;
        for _ in 0..lists {
            let (head, tail) = rest.split_at_checked(8).ok_or(SHORT)?;
            let (index, kind) = (take_u16(head, 0).unwrap_or_default(), Kind::new(head[2]));
            let count = take_u32(head, 4).unwrap_or_default();
            if head[3] != 0 || last >= Some((index, kind)) {
                return Err("its lists do not ascend, or a reserved byte of it is not zero");
            }
            last = Some((index, kind));
            let whole = indexes.entry(index).or_default();
            let Delta::Values(values) = whole else {
                return Err("it names everything and something");
            };
            rest = tail;
            match (kind, count) {
                (Kind::META, 0) => {}
                (Kind::META, EVERYTHING) => *whole = Delta::Everything,
                (Kind::META, _) => return Err("it lists values of META"),
                _ => {
                    let bytes = (count as usize).checked_mul(4).ok_or(SHORT)?;
                    let (numbers, tail) = rest.split_at_checked(bytes).ok_or(SHORT)?;
                    let (numbers, _) = numbers.as_chunks::<4>();
                    let numbers: Vec<u32> =
                        numbers.iter().map(|number| u32::from_le_bytes(*number)).collect();
                    if !numbers.is_sorted_by(|a, b| a < b) {
                        return Err("its numbers do not ascend");
                    }
                    values.insert(kind, numbers);
                    rest = tail;
                }
            }
        }
        if rest.is_empty() {
            Ok((transaction, Self::Indexes(indexes)))
        } else {
            Err("it is longer than its lists")
        }
    }
}

fn list(out: &mut Vec<u8>, index: u16, kind: Kind, count: u32, numbers: &[u32]) {
    out.extend(index.to_le_bytes());
    out.extend([kind.byte(), 0]);
    out.extend(count.to_le_bytes());
    out.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(lists: &[(Kind, &[u32])]) -> Delta {
        Delta::Values(lists.iter().map(|(kind, numbers)| (*kind, numbers.to_vec())).collect())
    }

    fn some() -> Deltas {
        let mut deltas = Deltas::default();
        deltas.insert(3, values(&[(Kind::VECTORS, &[3, 9]), (Kind::CODES, &[0, 1, u32::MAX])]));
        deltas.insert(7, values(&[]));
        deltas.insert(9, Delta::Everything);
        deltas
    }

    #[test]
    fn what_is_encoded_comes_back() {
        for deltas in [some(), Deltas::default(), Deltas::Everything] {
            assert_eq!(Deltas::decode(&deltas.encode(7)), Ok((7, deltas)));
        }
        assert_eq!(some().of(7), Some(values(&[])));
        assert_eq!((some().of(8), Deltas::Everything.of(8)), (None, Some(Delta::Everything)));
    }

    #[test]
    fn what_is_merged_is_listed_once_and_ascending() {
        let mut delta = values(&[(Kind::VECTORS, &[3, 9]), (Kind::LINKS, &[2])]);
        delta.merge(values(&[(Kind::VECTORS, &[9, 1]), (Kind::CODES, &[5, 4])]));
        let merged = [(Kind::VECTORS, &[1, 3, 9][..]), (Kind::LINKS, &[2]), (Kind::CODES, &[4, 5])];
        assert_eq!(delta, values(&merged));
        delta.merge(Delta::Everything);
        assert_eq!(delta, Delta::Everything);
        delta.merge(values(&merged));
        assert_eq!(delta, Delta::Everything);
    }

    #[test]
    fn more_than_a_page_has_room_for_is_everything() {
        let many: Vec<u32> = (0..MAX_WORDS as u32).collect();
        let mut deltas = some();
        deltas.insert(4, values(&[(Kind::VECTORS, &many[..MAX_WORDS - 20])]));
        assert_eq!(Deltas::decode(&deltas.encode(7)), Ok((7, deltas.clone())));
        deltas.insert(4, values(&[(Kind::VECTORS, &many)]));
        let all = [3, 4, 7, 9].map(|index| (index, Delta::Everything));
        assert_eq!(Deltas::decode(&deltas.encode(7)), Ok((7, Deltas::Indexes(all.into()))));
        for index in 0..MAX_WORDS as u16 {
            deltas.insert(index, Delta::Everything);
        }
        let encoded = deltas.encode(u64::MAX);
        assert_eq!(Deltas::decode(&encoded), Ok((u64::MAX, Deltas::Everything)));
    }

    #[test]
    fn bytes_that_are_no_delta_are_an_error() {
        let body = some().encode(7);
        for end in 0..body.len() {
            assert!(Deltas::decode(&body[..end]).is_err(), "{end}");
        }
        assert!(Deltas::decode(&[&body[..], &[0]].concat()).is_err());
        for at in 8..body.len() {
            for byte in [0, 1, 127, 255] {
                let mut damaged = body.clone();
                damaged[at] = byte;
                _ = Deltas::decode(&damaged);
            }
        }
        let mut unsorted = Deltas::default();
        unsorted.insert(1, values(&[(Kind::VECTORS, &[9, 3])]));
        assert!(Deltas::decode(&unsorted.encode(7)).is_err());
    }
}
