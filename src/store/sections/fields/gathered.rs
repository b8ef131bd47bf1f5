//! A set of item ids in the making, of those that a condition asks about.

use roaring::RoaringBitmap;

use crate::types::ItemId;

/// The ids of a container of a roaring bitmap, which is built at a time.
const CONTAINER: u32 = 1 << 16;
/// Ids of which one set asks about fewer than one in this many are asked one by one.
const IDS_PER_ASKED: u64 = 64;
/// A set is turned to so many words of bits, or to a word for each of its ids, at most.
const MAX_WORDS: usize = 1 << 16;
/// A set of more than one in so many ids is not asked about single ids.
const IDS_PER_FEW: u64 = 8;
/// Bits for each id of a list that is turned to one bit an id, at most: else it is sorted.
const BITS_PER_LISTED: usize = 128;
/// A list of so many ids is turned to bits before more are added.
const MANY_LISTED: usize = 4096;

/// A set of item ids in the making: see the module.
pub(super) struct Gathered<'w> {
    within: Option<&'w RoaringBitmap>,
    /// Whether `within` has so few of all ids that some chunks may have few, which are asked one by
    /// one. To count those of a chunk of a denser set costs more than to read the chunk.
    is_sparse: bool,
    /// The ids of `within`, one bit each, once single ids have been added.
    asked: Option<Bits>,
    /// The ids of one container, one bit each, and its first id; `None` before the first.
    container: Option<ItemId>,
    bits: Vec<u8>,
    listed: Listed,
    set: RoaringBitmap,
}

impl<'w> Gathered<'w> {
    /// An empty set, which takes those ids that are in `within`, if that is given.
    pub(super) fn within(within: Option<&'w RoaringBitmap>) -> Self {
        let (bits, listed, set) = (Vec::new(), Listed::new(), RoaringBitmap::new());
        let is_sparse = within.is_some_and(|within| {
            within.len() * IDS_PER_ASKED <= u64::from(within.max().unwrap_or_default())
        });
        Self { within, is_sparse, asked: None, container: None, bits, listed, set }
    }

    /// Whether it takes any of `count` ids from `first` on.
    pub(super) fn takes_any(&self, first: ItemId, count: u32) -> bool {
        let last = first.saturating_add(count - 1);
        self.within.is_none_or(|within| within.range(first..=last).next().is_some())
    }

    /// Adds ids in any order.
    pub(super) fn extend(&mut self, ids: impl Iterator<Item = ItemId>) {
        let Some(within) = self.within else { return self.listed.extend(ids) };
        match self.asked.get_or_insert_with(|| Bits::of(within)) {
            Bits::Dense(bits) => self.listed.extend(ids.filter(|id| {
                bits.get(*id as usize / 64).is_some_and(|word| word >> (id % 64) & 1 == 1)
            })),
            Bits::Sparse => self.listed.extend(ids.filter(|id| within.contains(*id))),
            // The set is intersected in the end.
            Bits::Most => self.listed.extend(ids),
        }
    }

    /// Adds ids from `first` on, one bit each. They are of one container.
    pub(super) fn add_bits(&mut self, first: ItemId, bits: &[u8]) {
        let ids = first..=first.saturating_add(8 * bits.len() as u32 - 1);
        if let Some(within) = self.within
            && self.is_sparse
            && within.range_cardinality(ids.clone()) * IDS_PER_ASKED < 8 * bits.len() as u64
        {
            for id in within.range(ids) {
                let at = (id - first) as usize;
                if bits[at / 8] >> (at % 8) & 1 == 1 {
                    self.listed.list.push(id);
                }
            }
            return;
        }
        let container = first - first % CONTAINER;
        if self.container != Some(container) {
            self.flush();
            self.container = Some(container);
        }
        let at = (first % CONTAINER) as usize / 8;
        for (to, from) in self.bits[at..].iter_mut().zip(bits) {
            *to |= from;
        }
    }

    /// Adds the container to the set.
    fn flush(&mut self) {
        if let Some(first) = self.container {
            self.set |= RoaringBitmap::from_lsb0_bytes(first, &self.bits);
        }
        self.bits.clear();
        self.bits.resize(CONTAINER as usize / 8, 0);
    }

    pub(super) fn into_set(mut self) -> RoaringBitmap {
        self.flush();
        self.set |= self.listed.into_set();
        if let Some(within) = self.within {
            self.set &= within;
        }
        self.set
    }
}

/// The ids of a set, one bit each, unless these would be many more bits than it has ids.
enum Bits {
    Dense(Vec<u64>),
    Sparse,
    /// So many of all ids that asking saves nothing.
    Most,
}

impl Bits {
    fn of(set: &RoaringBitmap) -> Self {
        let words = set.max().map_or(0, |max| max as usize / 64 + 1);
        if set.len() * IDS_PER_FEW > 64 * words as u64 {
            return Self::Most;
        }
        if words > MAX_WORDS.max(set.len() as usize) {
            return Self::Sparse;
        }
        let mut bits = vec![0u64; words];
        for id in set {
            bits[id as usize / 64] |= 1 << (id % 64);
        }
        Self::Dense(bits)
    }
}

/// Ids that are added one by one, in any order, some perhaps more than once: many of them that lie
/// close are one bit each.
struct Listed {
    /// One bit for each id below some.
    bits: Vec<u8>,
    list: Vec<ItemId>,
    /// The list is turned to bits, if these are not too many, when it is so long.
    most: usize,
}

impl Listed {
    fn new() -> Self {
        Self { bits: Vec::new(), list: Vec::new(), most: MANY_LISTED }
    }

    fn extend(&mut self, ids: impl Iterator<Item = ItemId>) {
        if self.bits.is_empty() {
            self.list.extend(ids);
        } else {
            for id in ids {
                match self.bits.get_mut(id as usize / 8) {
                    Some(byte) => *byte |= 1 << (id % 8),
                    None => self.list.push(id),
                }
            }
        }
        if self.list.len() >= self.most {
            self.turn();
        }
    }

    /// Turns the list to bits, unless these would be too many for the ids that there are.
    fn turn(&mut self) {
        let Some(last) = self.list.iter().max() else { return };
        let (bits, listed) = (*last as usize + 1, self.list.len());
        if bits > 8 * self.bits.len() + listed.saturating_mul(BITS_PER_LISTED) {
            self.most = 2 * listed;
            return;
        }
        if bits > 8 * self.bits.len() {
            self.bits.resize(bits.div_ceil(8), 0);
        }
        for id in self.list.drain(..) {
            self.bits[id as usize / 8] |= 1 << (id % 8);
        }
    }

    fn into_set(mut self) -> RoaringBitmap {
        self.turn();
        let mut set = RoaringBitmap::from_lsb0_bytes(0, &self.bits);
        if !self.list.is_empty() {
            self.list.sort_unstable();
            set |= self.list.into_iter().collect::<RoaringBitmap>();
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    type Asked = Option<BTreeSet<u32>>;

    /// No set, one of few ids, or one of nearly all.
    fn asked() -> impl Strategy<Value = Asked> {
        let few = prop::collection::btree_set(0..IDS, 0..300);
        (few, 0..3u8).prop_map(|(few, form)| match form {
            0 => None,
            1 => Some((0..IDS).filter(|id| !few.contains(id)).collect()),
            _ => Some(few),
        })
    }

    /// Few ids, many that lie close, or many that do not.
    fn listed() -> impl Strategy<Value = Vec<u32>> {
        let (few, close) = (vec(0..IDS, 0..50), vec(0..IDS, 9000..20_000));
        prop_oneof![few, close, vec(any::<u32>(), 0..9000)]
    }

    const IDS: u32 = 200_000;

    proptest! {
        #[test]
        fn what_is_gathered_is_what_was_added_and_asked_about(
            chunks in vec((0..24u32, vec(any::<u8>(), 1024)), 0..6),
            listed in listed(),
            asked in asked(),
        ) {
            let within = asked.as_ref().map(|asked| asked.iter().copied().collect());
            let mut gathered = Gathered::within(within.as_ref());
            let mut expected: BTreeSet<u32> = listed.iter().copied().collect();
            for run in listed.chunks(128) {
                gathered.extend(run.iter().copied());
            }
            for (chunk, bits) in &chunks {
                let first = chunk * 8192;
                gathered.add_bits(first, bits);
                let is_set = |id: &u32| bits[*id as usize / 8] >> (id % 8) & 1 == 1;
                expected.extend((0..8192).filter(is_set).map(|id| first + id));
            }
            if let Some(asked) = &asked {
                expected.retain(|id| asked.contains(id));
            }
            prop_assert!(gathered.into_set().into_iter().eq(expected));
        }
    }
}
