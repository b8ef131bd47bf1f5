//! A set of item ids in the making, of those that a condition asks about.

use roaring::RoaringBitmap;

use super::tables::each_row;
use crate::format::fields::{CHUNK, Chunk, listed};
use crate::types::ItemId;

/// The ids of a container of a roaring bitmap, which is built at a time.
const CONTAINER: u32 = 1 << 16;
/// A set of fewer than one in so many ids asks chunks for each of its ids, and passes over chunks
/// without any.
const IDS_PER_ASKED: u64 = 64;
/// The same of one bit an id, where asking costs half as much.
const BITS_PER_ASKED: u64 = 16;
/// A set is turned to so many words of bits, or to a word for each of its ids, at most.
const MAX_WORDS: usize = 1 << 16;
/// A set of more than one in so many ids is not asked about single ids.
const IDS_PER_FEW: u64 = 8;
/// Bits for each id of a list that is turned to one bit an id, at most: else it is sorted.
const BITS_PER_LISTED: usize = 128;
/// A list of so many ids is turned to bits before more are added.
const MANY_LISTED: usize = 4096;
/// Single ids that pass are added so many at a time.
const PASSED_TOGETHER: usize = 128;

/// A set of item ids in the making: see the module.
pub(super) struct Gathered<'w> {
    within: Option<&'w RoaringBitmap>,
    /// Whether `within` has so few of all ids that some chunks may have none. To look for them in a
    /// denser set costs more than to read the chunk.
    is_sparse: bool,
    /// The ids of `within`, one bit each, once single ids have been added.
    asked: Option<Bits>,
    /// The ids of one container, one bit each, and its first id; `None` before the first.
    container: Option<ItemId>,
    bits: Vec<u8>,
    listed: Listed,
    set: RoaringBitmap,
    /// Whether ids may have been added that are not in `within`.
    has_others: bool,
}

impl<'w> Gathered<'w> {
    /// An empty set, which takes those ids that are in `within`, if that is given.
    pub(super) fn within(within: Option<&'w RoaringBitmap>) -> Self {
        let (bits, listed, set) = (Vec::new(), Listed::new(), RoaringBitmap::new());
        let is_sparse = within.is_some_and(|within| {
            within.len() * IDS_PER_ASKED <= u64::from(within.max().unwrap_or_default())
        });
        let (asked, container, has_others) = (None, None, false);
        Self { within, is_sparse, asked, container, bits, listed, set, has_others }
    }

    /// Whether it takes any ids of a chunk, as far as that is worth asking.
    fn takes_any(&self, first: ItemId) -> bool {
        let last = first.saturating_add(CHUNK - 1);
        let within = self.within.filter(|_| self.is_sparse);
        within.is_none_or(|within| within.range(first..=last).next().is_some())
    }

    /// Adds the chunks of a set, each with its first id, ascending.
    pub(super) fn add_chunks(&mut self, chunks: &[(ItemId, Chunk<'_>)]) {
        let ids = chunks.len() as u64 * u64::from(CHUNK);
        match self.within {
            Some(within) if within.len() * IDS_PER_ASKED <= ids => {
                ask(chunks, within, &mut self.listed.list);
            }
            _ => each_row(
                chunks,
                |(_, chunk)| chunk.bytes(),
                |(first, chunk)| self.add_chunk(*first, *chunk),
            ),
        }
    }

    /// Adds the members of a chunk, whose first id is given.
    pub(super) fn add_chunk(&mut self, first: ItemId, chunk: Chunk<'_>) {
        match chunk {
            _ if !self.takes_any(first) => {}
            Chunk::List(list) => self.extend(listed(list).map(|member| first + u32::from(member))),
            Chunk::Bits(bits) => self.add_bits(first, bits),
        }
    }

    /// Adds ids in any order.
    pub(super) fn extend(&mut self, ids: impl Iterator<Item = ItemId>) {
        let Some(within) = self.within else { return self.listed.extend(ids) };
        match self.asked.get_or_insert_with(|| Bits::of(within)) {
            Bits::Dense(bits) => {
                let has = |id: &ItemId| {
                    bits.get(*id as usize / 64).is_some_and(|word| word >> (id % 64) & 1 == 1)
                };
                each_passing(ids, has, |ids| self.listed.extend(ids.iter().copied()));
            }
            Bits::Sparse => self.listed.extend(ids.filter(|id| within.contains(*id))),
            // The set is intersected in the end.
            Bits::Most => {
                self.has_others = true;
                self.listed.extend(ids);
            }
        }
    }

    /// Adds ids from 0 on, one bit each.
    pub(super) fn add_all_bits(&mut self, bits: Vec<u8>) {
        self.has_others = true;
        self.listed.add_bits(bits);
    }

    /// Adds ids from `first` on, one bit each. They are of one container.
    fn add_bits(&mut self, first: ItemId, bits: &[u8]) {
        self.has_others = true;
        let container = first - first % CONTAINER;
        if self.container != Some(container) {
            self.flush();
            self.container = Some(container);
            self.bits.clear();
            self.bits.resize(CONTAINER as usize / 8, 0);
        }
        let at = (first % CONTAINER) as usize / 8;
        for (to, from) in self.bits[at..].iter_mut().zip(bits) {
            *to |= from;
        }
    }

    /// Adds the container to the set.
    fn flush(&mut self) {
        if let Some(first) = self.container.take() {
            self.set |= RoaringBitmap::from_lsb0_bytes(first, &self.bits);
        }
    }

    pub(super) fn into_set(mut self) -> RoaringBitmap {
        self.flush();
        match self.listed.into_set(self.within) {
            listed if self.set.is_empty() => self.set = listed,
            listed => self.set |= listed,
        }
        if let Some(within) = self.within.filter(|_| self.has_others) {
            self.set &= within;
        }
        self.set
    }
}

/// Adds those ids of a set that are members of chunks, which ascend.
fn ask(chunks: &[(ItemId, Chunk<'_>)], within: &RoaringBitmap, passing: &mut Vec<ItemId>) {
    let mut ids = within.iter();
    let mut next = ids.next();
    for (first, chunk) in chunks {
        while next.is_some_and(|id| id < *first) {
            next = ids.next();
        }
        let of_chunk = std::iter::from_fn(|| {
            let id = next.filter(|id| id - first < CHUNK)?;
            next = ids.next();
            Some(id)
        });
        each_passing(
            of_chunk,
            |id| chunk.has((id - first) as u16),
            |ids| passing.extend_from_slice(ids),
        );
    }
}

/// Passes those of some ids to `take` for which `has` says so, some at a time.
fn each_passing(
    ids: impl Iterator<Item = ItemId>,
    mut has: impl FnMut(&ItemId) -> bool,
    mut take: impl FnMut(&[ItemId]),
) {
    // No branch depends on the answer: it would be mispredicted.
    let (mut passing, mut count) = ([0; PASSED_TOGETHER], 0);
    for id in ids {
        passing[count % PASSED_TOGETHER] = id;
        count += usize::from(has(&id));
        if count == PASSED_TOGETHER {
            take(&passing);
            count = 0;
        }
    }
    take(&passing[..count]);
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

    /// Adds ids from 0 on, one bit each.
    fn add_bits(&mut self, mut bits: Vec<u8>) {
        if bits.len() > self.bits.len() {
            std::mem::swap(&mut bits, &mut self.bits);
        }
        for (to, from) in self.bits.iter_mut().zip(bits) {
            *to |= from;
        }
    }

    /// The set, without some of those ids, perhaps, that are not in `within`.
    fn into_set(mut self, within: Option<&RoaringBitmap>) -> RoaringBitmap {
        self.turn();
        let has = |id: &ItemId| {
            self.bits.get(*id as usize / 8).is_some_and(|byte| byte >> (id % 8) & 1 == 1)
        };
        let mut set = match within {
            Some(within) if within.len() * BITS_PER_ASKED < 8 * self.bits.len() as u64 => {
                let mut set = RoaringBitmap::new();
                each_passing(within.iter(), has, |ids| append(&mut set, ids));
                set
            }
            _ => RoaringBitmap::from_lsb0_bytes(0, &self.bits),
        };
        if !self.list.is_empty() {
            self.list.sort_unstable();
            self.list.dedup();
            let mut listed = RoaringBitmap::new();
            append(&mut listed, &self.list);
            set |= listed;
        }
        set
    }
}

/// Adds ids to a set, which ascend and are all greater than those in it.
fn append(set: &mut RoaringBitmap, ids: &[ItemId]) {
    let appended = set.append(ids.iter().copied());
    debug_assert!(appended.is_ok());
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::format::fields::encode_chunk;

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

        #[test]
        fn chunks_of_a_set_are_what_is_asked_about_of_them(
            members in prop::collection::btree_map(
                0..24u32,
                prop_oneof![
                    prop::collection::btree_set(0..8192u16, 1..500),
                    prop::collection::btree_set(0..8192u16, 600..3000),
                ],
                0..6,
            ),
            asked in asked(),
        ) {
            let bodies: Vec<_> = members.iter().map(|(chunk, members)| {
                let members: Vec<u16> = members.iter().copied().collect();
                (chunk * CHUNK, encode_chunk(&members).unwrap())
            }).collect();
            let chunks: Vec<_> =
                bodies.iter().map(|(first, body)| (*first, Chunk::of(body).unwrap())).collect();
            let within = asked.as_ref().map(|asked| asked.iter().copied().collect());
            let mut gathered = Gathered::within(within.as_ref());
            gathered.add_chunks(&chunks);
            let ids = members.iter().flat_map(|(chunk, members)| {
                members.iter().map(move |member| chunk * CHUNK + u32::from(*member))
            });
            let is_asked = |id: &u32| asked.as_ref().is_none_or(|asked| asked.contains(id));
            prop_assert!(gathered.into_set().into_iter().eq(ids.filter(is_asked)));
        }
    }
}
