//! The arithmetic of a memory budget: what a build takes, and how much of it a commit and a round
//! of linking may take.
//!
//! A budget covers all memory that a load needs: what it allocates, the pages that LMDB keeps until
//! a commit, and the part of its files that is in use. The first two are bounded by the sizes
//! computed here; what they leave is for the page cache, which takes no more than there is.
//!
//! Invariant: everything follows from the budget and the sizes of the index, and nothing from the
//! number of threads or from the time: one budget gives one sequence of rounds.

use crate::error::{Error, Result};
use crate::graph::working::{PAGE_BYTES, node_bytes};
use crate::store::Place;
use crate::store::file_copies::most_copy_bytes;
use crate::store::sections::upkeep::Footprint;
use crate::store::sq8_copy::has_copies;

/// What a process takes besides: buffers of files, beams of searches, the code of the program.
const FIXED_BYTES: u64 = 6 << 20;
/// The same for each slot: its entries in sets, in lists of slots and in pointer tables, the marks
/// of what the searches of some threads have visited, and where its added edges begin.
const SLOT_BYTES: u64 = 12;
/// For each row of a load while rows are ordered: a hash, an offset, a place in the order.
const ROW_BYTES: u64 = 16;
/// The fraction (1/8) of the rest that a round of linking takes. Most of it is for the page cache:
/// a build reads copies and lists at random, and a fault costs as much as many distances. Half as
/// many rounds take 1.6 times as long where the rest is too little.
const ROUND_DIVISOR: u64 = 8;
/// The fraction (1/6) of the rest that one commit of added rows takes, and (1/6) the sample that
/// rows are ordered by.
const PART_DIVISOR: u64 = 6;
const SAMPLE_DIVISOR: u64 = 6;
/// Items that a round must have room for.
const LEAST_ITEMS: u64 = 256;
/// The fraction (3/4) of the items that a round has room for that it links: the rest of the room is
/// for nodes to which so many edges are added that they are copied.
const LINKED: (u64, u64) = (3, 4);
/// Bytes of an edge that is added to a stored list.
const EDGE_BYTES: u64 = 12;
/// The nodes that deleting one changes.
const PER_REMOVED: u64 = 40;
/// Memory for each row added, besides its vector and its code.
const ADDED_BYTES: u64 = 100;
/// The same for a row with a key, which lies elsewhere among the keys: the page of its block, with
/// half of one that is split off, and its block as it is put.
const KEYED_BYTES: u64 = 2 * 4096;
/// The same for a row with a record, besides the record: the page that it shares with records of
/// other items.
const RECORD_BYTES: u64 = 4096;
/// How often codes are in memory when they are first made: as computed, as values to put, and as
/// LMDB's pages.
const CODES_AT_ONCE: u64 = 3;
/// Memory for each item of a build in one commit, besides vectors, copies, lists and changed nodes.
const WHOLE_BYTES: u64 = 200;
/// Bytes of the file for each item, besides its vector, its code and its list.
const STORED_BYTES: u64 = 32;

/// The sizes of an item of an index.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// The stored vector, with its factor.
    pub(crate) vector: u64,
    /// Its code. 0 if the index has none.
    pub(crate) code: u64,
    /// The copy that a build goes by, at most. 0 if the metric has none.
    pub(crate) copy: u64,
    pub(crate) m0: usize,
    pub(crate) has_keys: bool,
    /// The record of a row of a load, on average.
    pub(crate) record: u64,
    /// What the kinds of the index take.
    pub(crate) kinds: Footprint,
    /// How many items there are, at least, when their codes are first made. `None` if the index has
    /// them, or gets none.
    pub(crate) coded_from: Option<u64>,
}

/// A budget for the builds of one index.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) bytes: u64,
    pub(crate) sizes: Sizes,
}

/// The bounds of one round of linking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RoundBounds {
    /// The most bytes that changed nodes take.
    pub(crate) bytes: u64,
    /// The most items that are linked.
    pub(crate) items: u64,
    /// The most removed items that are deleted.
    pub(crate) removed: u64,
}

impl Sizes {
    /// Those of the items of an index.
    pub(crate) fn of(place: Place<'_>, dimensions: usize, code: usize, m0: usize) -> Self {
        let factor = if place.metric.has_factor { size_of::<f32>() } else { 0 };
        let copy = if has_copies(place.metric) { most_copy_bytes(dimensions) } else { 0 };
        Self {
            vector: (place.metric.bytes(dimensions) + factor) as u64,
            code: code as u64,
            copy: copy as u64,
            m0,
            has_keys: place.naming != crate::format::item_keys::Naming::Ids,
            record: 0,
            kinds: Footprint::default(),
            coded_from: None,
        }
    }

    /// The stored list: five bytes for two edges.
    fn list(&self) -> u64 {
        self.m0 as u64 * 5 / 2 + STORED_BYTES
    }

    /// What linking an item takes: its node, and an added edge for each of its own.
    fn linked(&self) -> u64 {
        node_bytes(self.m0) + self.m0 as u64 * EDGE_BYTES + PAGE_BYTES / 64
    }

    /// Bytes by which the file grows for each item.
    pub(crate) fn stored(&self) -> u64 {
        let keys = if self.has_keys { 2 * STORED_BYTES } else { 0 };
        let record = if self.record > 0 { self.record + STORED_BYTES } else { 0 };
        self.vector + self.code + self.list() + keys + record + self.kinds.item
    }

    fn added(&self) -> u64 {
        let keys = if self.has_keys { KEYED_BYTES } else { 0 };
        let record = if self.record > 0 { self.record + RECORD_BYTES } else { 0 };
        self.vector + self.code + ADDED_BYTES + keys + record
    }
}

impl Budget {
    /// What an index of this many slots takes in any case: a round changes nearly all lists, which
    /// LMDB keeps until its commit.
    fn fixed(&self, slots: u64) -> u64 {
        FIXED_BYTES + slots * (SLOT_BYTES + self.sizes.list() * 5 / 4)
    }

    /// What the budget leaves for rounds, commits and the page cache.
    fn rest(&self, slots: u64) -> u64 {
        self.bytes.saturating_sub(self.fixed(slots))
    }

    /// The least budget for an index of this many slots.
    pub(crate) fn least(&self, slots: u64) -> u64 {
        let round = ROUND_DIVISOR * LEAST_ITEMS * self.sizes.linked();
        let part = PART_DIVISOR * self.sizes.added() * 4;
        let sample = SAMPLE_DIVISOR * self.sizes.vector * 16;
        let rest = round.max(part).max(sample).max(self.first_codes(slots));
        self.fixed(slots) + slots * ROW_BYTES + rest
    }

    /// What the first codes of a load take: those of the items there are when it has added enough,
    /// with the commit that reaches that number, whose rows follow from the budget (`part`).
    fn first_codes(&self, slots: u64) -> u64 {
        let Some(from) = self.sizes.coded_from.filter(|from| *from <= slots) else { return 0 };
        let (code, added) = (self.sizes.code, self.sizes.added());
        // The least x with x >= CODES_AT_ONCE * code * (from + x / PART_DIVISOR / added).
        let shared = PART_DIVISOR * added;
        let with_part = (CODES_AT_ONCE * code * from * shared)
            .div_ceil(shared.saturating_sub(CODES_AT_ONCE * code).max(1));
        with_part.min(CODES_AT_ONCE * code * slots)
    }

    /// # Errors
    /// [`Error::MemoryBudget`] if it is too small for an index of this many slots.
    pub(crate) fn check(&self, slots: u64) -> Result<()> {
        self.check_naming(slots, slots)
    }

    /// As [`check`](Self::check), where the index may turn out to have up to `most` slots: so the
    /// error names what suffices then.
    pub(crate) fn check_naming(&self, slots: u64, most: u64) -> Result<()> {
        if self.bytes >= self.least(slots) {
            Ok(())
        } else {
            Err(Error::MemoryBudget { bytes: self.bytes, least: self.least(most.max(slots)) })
        }
    }

    /// What adding and linking this many items takes in one commit.
    pub(crate) fn whole(&self, slots: u64, items: u64) -> u64 {
        let Sizes { vector, code, copy, m0, record, kinds, .. } = self.sizes;
        let codes = if code > 0 { 2 * code } else { copy };
        // Pages of records are a half to all full.
        let each = vector + codes + node_bytes(m0) + WHOLE_BYTES + 2 * (record + kinds.item);
        self.fixed(slots) + items * each + items.isqrt() * kinds.root
    }

    /// Whether it holds a load of this many items in one commit.
    pub(crate) fn holds_whole(&self, slots: u64, items: u64) -> bool {
        self.bytes >= self.whole(slots, items)
    }

    /// Checks that the codes of this many items fit in memory at once, as when they are first made.
    ///
    /// # Errors
    /// [`Error::MemoryBudget`].
    pub(crate) fn check_codes(&self, items: u64) -> Result<()> {
        let least = self.fixed(items) + CODES_AT_ONCE * items * self.sizes.code;
        if self.bytes >= least {
            Ok(())
        } else {
            Err(Error::MemoryBudget { bytes: self.bytes, least })
        }
    }

    /// What is left for the page cache during a round.
    pub(crate) fn cache(&self, slots: u64) -> u64 {
        self.rest(slots) / 2
    }

    /// The bounds of a round in an index of this many slots.
    pub(crate) fn round(&self, slots: u64) -> RoundBounds {
        let bytes = self.rest(slots) / ROUND_DIVISOR;
        let items = (bytes / self.sizes.linked()).max(LEAST_ITEMS);
        let (of, whole) = LINKED;
        RoundBounds { bytes, items: items * of / whole, removed: (items / PER_REMOVED).max(1) }
    }

    /// The most rows that one commit adds.
    pub(crate) fn part(&self, slots: u64) -> u64 {
        (self.rest(slots) / PART_DIVISOR / self.sizes.added()).max(1)
    }

    /// The most rows of a sample, each of this many bytes.
    pub(crate) fn sample(&self, slots: u64, row_bytes: u64) -> u64 {
        (self.rest(slots) / SAMPLE_DIVISOR / row_bytes.max(1)).max(1)
    }

    /// Bytes of temporary files that linking in an index of this many slots takes: the copies, and
    /// the values that a round puts.
    pub(crate) fn temp_bytes(&self, slots: u64) -> u64 {
        slots * (self.sizes.copy + self.sizes.list())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: Sizes = Sizes {
        vector: 1536,
        code: 0,
        copy: 396,
        m0: 32,
        has_keys: false,
        record: 0,
        kinds: Footprint { item: 0, root: 0 },
        coded_from: None,
    };

    #[test]
    fn a_quarter_of_a_million_vectors_gives_some_sixty_rounds() {
        let budget = Budget { bytes: 384_000_000, sizes: SIZES };
        budget.check(1_000_000).unwrap();
        assert!(!budget.holds_whole(1_000_000, 1_000_000));
        let RoundBounds { bytes, items, removed } = budget.round(1_000_000);
        assert!((40..120).contains(&(1_000_000 / items)), "{items} items a round");
        assert!(
            bytes < budget.bytes / ROUND_DIVISOR && removed * PER_REMOVED * node_bytes(32) <= bytes
        );
        // A commit of added rows takes no more than its share.
        assert!(budget.part(1_000_000) * SIZES.added() <= budget.bytes / PART_DIVISOR);
        assert!(budget.sample(1_000_000, 1536) * 1536 <= budget.bytes / SAMPLE_DIVISOR);
    }

    #[test]
    fn the_least_holds_the_first_codes_of_the_part_that_reaches_them() {
        for (code, from, slots) in [(1540, 1000, 3000), (196, 1000, 1000), (1540, 50_000, 80_000)] {
            let sizes = Sizes { code, coded_from: Some(from), ..SIZES };
            let least = Budget { bytes: 0, sizes }.least(slots);
            let budget = Budget { bytes: least, sizes };
            budget.check_codes((from + budget.part(slots)).min(slots)).unwrap();
            // Those who have codes, or never get any, need no room for that.
            let without = Budget { bytes: 0, sizes: Sizes { coded_from: None, ..sizes } };
            assert_eq!(Budget { bytes: 0, sizes }.least(from - 1), without.least(from - 1));
            assert!(least >= without.least(slots));
        }
    }

    #[test]
    fn kinds_take_room_in_memory_and_in_the_file() {
        let with = Sizes { kinds: Footprint { item: 228, root: 1000 }, ..SIZES };
        let whole = |sizes| Budget { bytes: 0, sizes }.whole(10_000, 10_000);
        assert_eq!(whole(with) - whole(SIZES), 2 * 228 * 10_000 + 100 * 1000);
        assert_eq!(with.stored() - SIZES.stored(), 228);
    }

    #[test]
    fn what_holds_everything_is_enough_for_all_and_what_is_too_small_names_the_least() {
        for items in [1000, 100_000, 50_000_000] {
            let mut budget = Budget { bytes: 0, sizes: SIZES };
            match budget.check(items) {
                Err(Error::MemoryBudget { bytes: 0, least }) => budget.bytes = least,
                other => panic!("{other:?}"),
            }
            budget.check(items).unwrap();
            let RoundBounds { bytes, items: linked, removed } = budget.round(items);
            assert!(bytes >= LEAST_ITEMS * SIZES.linked() && linked > 100 && removed > 0);
            assert!(budget.part(items) >= 1 && budget.sample(items, 1536) >= 16);
            assert!(
                Budget { bytes: budget.whole(items, items), ..budget }.holds_whole(items, items)
            );
        }
        // Monotone: more memory, fewer rounds.
        let rounds = |bytes| Budget { bytes, sizes: SIZES }.round(100_000).items;
        assert!((1..30).all(|i| rounds(i * 10_000_000) <= rounds((i + 1) * 10_000_000)));
    }
}
