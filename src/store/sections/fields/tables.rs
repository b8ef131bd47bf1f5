//! What a snapshot keeps of the rows of fields, so that searches look them up and verify them once:
//! the chunks of sets of items, and for fields of numbers all runs, as pointers, with the items
//! below some of the numbers.
//!
//! The chunks of a set are kept by whoever reads them first, up to a number that grows with the
//! index: then all are forgotten. The runs of a field are kept once ranges have read some times as
//! many as there are, so that this about doubles what they have cost, at most. If no item has more
//! than one number of the field, a range is the difference of two sets of items below a number.
//! Such sets are made for [`PARTS`] numbers, with as many runs between any two; runs that the
//! nearest two do not settle are read. Where items have several numbers, all runs of a range are.
//!
//! All of it belongs to the snapshot: the next commit begins with none of it.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock};

use super::answers::{Answers, lock};
use crate::distance::prefetch_line;
use crate::field::Schema;
use crate::format::fields::{Chunk, RUN, run_entries};
use crate::store::table::Memory;
use crate::types::ItemId;

/// One chunk is kept for so many items of the index, 32 bytes beside the vectors of these, and some
/// more.
const ITEMS_PER_CHUNK: usize = 64;
const MIN_CHUNKS: usize = 4096;
/// What the key of a set takes, in chunks.
const CHUNKS_PER_SET: usize = 4;

/// The runs of a field are kept once ranges have read so many times as many: to read all, and to
/// make sets of them, takes about as long.
const READS_BEFORE: usize = 3;
/// A range counts if it reads at least one in so many of the runs, so that none takes many times as
/// long as it would without tables.
const RANGES_PER_RUNS: usize = 16;
/// The sets of items below a number: so many that those make 4 bytes an item, and fewer where they
/// would take more than [`MAX_SET_BYTES`].
const PARTS: usize = 32;
const MAX_SET_BYTES: usize = 64 << 20;
/// There are such sets if there are at most so many ids for each number.
const MAX_IDS_PER_ENTRY: usize = 4;
/// Bytes of sets that are copied and compared in the time in which a run is read, about.
const SET_BYTES_PER_RUN: usize = 2048;

/// Rows of which the cache lines are on the way while one is read: it takes about as long to read
/// so many as one comes from memory.
const ROWS_AHEAD: usize = 4;
const LINE_BYTES: usize = 64;

/// The chunks of a set, each with its first id.
pub(super) type Chunks<'t> = Arc<[(ItemId, Chunk<'t>)]>;

/// The tables of a snapshot: see the module.
#[derive(Debug, Default)]
pub(crate) struct FieldTables<'t> {
    pub(super) schema: OnceLock<Schema>,
    sets: Mutex<Sets<'t>>,
    numbers: Mutex<BTreeMap<u8, Numbers<'t>>>,
    pub(super) answers: Answers,
}

#[derive(Debug, Default)]
struct Sets<'t> {
    chunks: usize,
    /// By the key of what would be the first chunk.
    by_key: HashMap<Vec<u8>, Chunks<'t>>,
}

/// The runs of a field of numbers.
#[derive(Debug, Default)]
struct Numbers<'t> {
    /// Runs that have been read without a table.
    read: usize,
    runs: Option<Arc<Runs<'t>>>,
}

impl<'t> FieldTables<'t> {
    /// The chunks of a set, if they are kept.
    pub(super) fn chunks(&self, key: &[u8]) -> Option<Chunks<'t>> {
        lock(&self.sets).by_key.get(key).map(Arc::clone)
    }

    /// Keeps the chunks of a set, unless memory must not grow with the index.
    pub(super) fn keep_chunks(
        &self,
        memory: Memory,
        items: u32,
        key: Vec<u8>,
        chunks: &Chunks<'t>,
    ) {
        if memory == Memory::Bounded {
            return;
        }
        let most = items as usize / ITEMS_PER_CHUNK + MIN_CHUNKS;
        let count = chunks.len() + CHUNKS_PER_SET;
        let mut sets = lock(&self.sets);
        if sets.chunks + count > most {
            *sets = Sets::default();
        }
        if count <= most && sets.by_key.insert(key, Arc::clone(chunks)).is_none() {
            sets.chunks += count;
        }
    }

    /// The runs of a field, if they are kept.
    pub(super) fn runs(&self, field: u8) -> Option<Arc<Runs<'t>>> {
        lock(&self.numbers).get(&field)?.runs.clone()
    }

    /// Whether to keep the runs of a field, of which a range has read some without a table.
    pub(super) fn are_due(&self, memory: Memory, items: u32, field: u8, read: usize) -> bool {
        let all = (items as usize).div_ceil(RUN);
        if memory == Memory::Bounded || read * RANGES_PER_RUNS < all {
            return false;
        }
        let mut numbers = lock(&self.numbers);
        let numbers = numbers.entry(field).or_default();
        numbers.read += read;
        if numbers.read < READS_BEFORE * all {
            return false;
        }
        // Other threads go on without them meanwhile.
        numbers.read = 0;
        numbers.runs.is_none()
    }

    pub(super) fn keep_runs(&self, field: u8, runs: Runs<'t>) {
        lock(&self.numbers).entry(field).or_default().runs = Some(Arc::new(runs));
    }
}

/// Passes rows to `each`, while those that follow are prefetched.
pub(super) fn each_row<'a, T>(
    rows: &'a [T],
    bytes: impl Fn(&'a T) -> &'a [u8],
    mut each: impl FnMut(&'a T),
) {
    rows.iter().take(ROWS_AHEAD).for_each(|row| prefetch_all(bytes(row)));
    for (at, row) in rows.iter().enumerate() {
        if let Some(next) = rows.get(at + ROWS_AHEAD) {
            prefetch_all(bytes(next));
        }
        each(row);
    }
}

fn prefetch_all(row: &[u8]) {
    row.chunks(LINE_BYTES).for_each(|line| prefetch_line(line.as_ptr()));
}

/// The items of the runs before one, one bit each.
type Before = Box<[u8]>;

/// All runs of a field: see the module.
#[derive(Debug, Default)]
pub(super) struct Runs<'t> {
    /// The first entry of each.
    firsts: Vec<(u64, ItemId)>,
    bodies: Vec<&'t [u8]>,
    /// The number of runs between two sets.
    step: usize,
    /// The items before the first run, before run `step`, before run `2 * step`, and so on; none if
    /// a range is not made of them.
    before: Vec<Before>,
}

impl<'t> Runs<'t> {
    /// The runs of a field, ascending.
    pub(super) fn of(runs: Vec<((u64, ItemId), &'t [u8])>) -> Self {
        let (firsts, bodies): (Vec<_>, Vec<_>) = runs.into_iter().unzip();
        let (step, before) = sets_before(&bodies).unwrap_or((1, Vec::new()));
        Self { firsts, bodies, step, before }
    }

    /// The runs that may have numbers from `low` to `high`, both included.
    pub(super) fn between(&self, low: u64, high: u64) -> Range<usize> {
        // The last run that begins before the range may reach into it.
        let from = self.firsts.partition_point(|first| *first <= (low, 0)).saturating_sub(1);
        let to = self.firsts.partition_point(|(first, _)| *first <= high);
        from..to.max(from)
    }

    /// The bodies of some runs.
    pub(super) fn bodies(&self, runs: Range<usize>) -> &[&'t [u8]] {
        self.bodies.get(runs).unwrap_or_default()
    }

    /// The number of the set that is nearest to a run.
    fn nearest(&self, run: usize) -> usize {
        ((run + self.step / 2) / self.step).min(self.before.len().saturating_sub(1))
    }

    /// The runs between a run and the set that is nearest to it.
    fn unsettled(&self, run: usize) -> Range<usize> {
        // The last set is that of all runs.
        let at = (self.nearest(run) * self.step).min(self.bodies.len());
        at.min(run)..at.max(run)
    }

    /// The items that have numbers from `low` to `high`, one bit each, of some runs that have all
    /// of these numbers. `None` if to read all of the runs costs less.
    pub(super) fn set(&self, runs: &Range<usize>, low: u64, high: u64) -> Option<Vec<u8>> {
        let parts = [runs.start, runs.end].map(|run| self.unsettled(run));
        let read: usize = parts.iter().map(Range::len).sum();
        let [from, to] = [runs.start, runs.end].map(|run| self.before.get(self.nearest(run)));
        let (from, to) = (from?, to?);
        if runs.len() <= read + to.len() / SET_BYTES_PER_RUN {
            return None;
        }
        // An item that has one number, at most, is in both sets or in neither if that is not in
        // between: each entry by which a set differs turns the bit of its item.
        let mut bits: Vec<u8> = from.iter().zip(to).map(|(from, to)| from ^ to).collect();
        let mut turn = |item: ItemId| {
            if let Some(byte) = bits.get_mut(item as usize / 8) {
                *byte ^= 1 << (item % 8);
            }
        };
        for part in parts {
            each_row(
                self.bodies(part),
                |body| *body,
                |body| {
                    run_entries(body).for_each(|(_, item)| turn(item));
                },
            );
        }
        let ends = [self.bodies.get(runs.start), self.bodies.get(runs.end - 1)];
        let below = ends[0].map(|body| run_entries(body).filter(|(number, _)| *number < low));
        let above = ends[1].map(|body| run_entries(body).filter(|(number, _)| *number > high));
        below.into_iter().flatten().for_each(|(_, item)| turn(item));
        above.into_iter().flatten().for_each(|(_, item)| turn(item));
        Some(bits)
    }
}

/// A number of runs, and the items before every run that is a multiple of it. `None` if an item has
/// several numbers, or if there are few for the ids.
fn sets_before(bodies: &[&[u8]]) -> Option<(usize, Vec<Before>)> {
    let (mut entries, mut ids) = (0, 0);
    let each = |body: &&[u8]| {
        entries += run_entries(body).len();
        ids = run_entries(body).fold(ids, |ids, (_, item)| ids.max(item as usize + 1));
    };
    each_row(bodies, |body| body, each);
    if ids > entries.saturating_mul(MAX_IDS_PER_ENTRY) {
        return None;
    }
    let parts = (MAX_SET_BYTES / ids.div_ceil(8).max(1)).clamp(1, PARTS);
    let step = bodies.len().div_ceil(parts).max(1);
    let mut bits = vec![0u8; ids.div_ceil(8)].into_boxed_slice();
    let (mut sets, mut has_several) = (Vec::with_capacity(parts + 1), false);
    for runs in bodies.chunks(step) {
        sets.push(bits.clone());
        let each = |body: &&[u8]| {
            for (_, item) in run_entries(body) {
                if let Some(byte) = bits.get_mut(item as usize / 8) {
                    has_several |= *byte >> (item % 8) & 1 == 1;
                    *byte |= 1 << (item % 8);
                }
            }
        };
        each_row(runs, |body| body, each);
        if has_several {
            return None;
        }
    }
    sets.push(bits);
    Some((step, sets))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::format::fields::encode_run;

    /// The runs of entries, which hold `each` at most.
    fn runs_of<T>(
        entries: &BTreeSet<(u64, ItemId)>,
        each: usize,
        then: impl Fn(Runs<'_>) -> T,
    ) -> T {
        let entries: Vec<_> = entries.iter().copied().collect();
        let encoded: Vec<_> =
            entries.chunks(each).map(|run| (run[0], encode_run(run).unwrap())).collect();
        then(Runs::of(encoded.iter().map(|(first, body)| (*first, &body[..])).collect()))
    }

    /// The items of a range, from the set if that is worth it, else from the runs.
    fn items(runs: &Runs<'_>, low: u64, high: u64) -> (bool, BTreeSet<ItemId>) {
        let between = runs.between(low, high);
        let bits = runs.set(&between, low, high);
        let is_set = |bits: &Vec<u8>, id: ItemId| bits[id as usize / 8] >> (id % 8) & 1 == 1;
        let items = match &bits {
            Some(bits) => (0..8 * bits.len() as u32).filter(|id| is_set(bits, *id)).collect(),
            None => {
                let entries = runs.bodies(between).iter().flat_map(|body| run_entries(body));
                let within = entries.filter(|(number, _)| (low..=high).contains(number));
                within.map(|(_, item)| item).collect()
            }
        };
        (bits.is_some(), items)
    }

    proptest! {
        #[test]
        fn a_range_has_the_items_of_its_entries(
            numbers in vec((0..3000u64, any::<bool>()), 1..3000),
            each in 1..9usize,
            ranges in vec((0..3100u64, 0..3100u64), 1..20),
            has_several in any::<bool>(),
        ) {
            // Some numbers are those of many items, and some items have none.
            let numbers = (0..).zip(numbers).filter(|(_, (_, has))| *has);
            let mut entries: BTreeSet<_> = numbers.map(|(id, (n, _))| (n / 3, id)).collect();
            if has_several {
                entries.extend([(5, 3), (7, 3)]);
            }
            runs_of(&entries, each, |runs| {
                prop_assert!(!has_several || runs.before.is_empty());
                for (a, b) in &ranges {
                    let (low, high) = (a.min(b) / 3, a.max(b) / 3);
                    let expected = entries.iter().filter(|(n, _)| (low..=high).contains(n));
                    let expected: BTreeSet<_> = expected.map(|(_, item)| *item).collect();
                    prop_assert_eq!(items(&runs, low, high).1, expected);
                }
                Ok(())
            })?;
        }
    }

    #[test]
    fn a_wide_range_is_made_of_sets_and_a_narrow_one_of_runs() {
        let entries = (0..40_000).map(|item| (u64::from(item * 7 % 40_000), item)).collect();
        runs_of(&entries, RUN, |runs| {
            assert_eq!(runs.before.len(), PARTS.min(runs.bodies.len()) + 1);
            assert_eq!(
                items(&runs, 10_100, 30_000),
                (
                    true,
                    (0..40_000)
                        .filter(|item| { (10_100..=30_000).contains(&(item * 7 % 40_000)) })
                        .collect()
                )
            );
            assert!(!items(&runs, 100, 300).0);
            assert_eq!(items(&runs, 40_000, u64::MAX).1, BTreeSet::new());
        });
        // Ids that lie far apart would be too many bits.
        let entries = (0..4000).map(|item| (u64::from(item), 1000 * item)).collect();
        assert!(runs_of(&entries, RUN, |runs| runs.before.is_empty()));
        assert!(runs_of(&BTreeSet::new(), RUN, |runs| items(&runs, 0, 9).1.is_empty()));
    }

    #[test]
    fn tables_stay_within_their_limits() {
        let tables = FieldTables::default();
        let bits = [0; 1024];
        let chunks: Chunks<'_> = (0..1000).map(|n| (8192 * n, Chunk::Bits(&bits))).collect();
        for key in 0..150u8 {
            tables.keep_chunks(Memory::Full, 8_192_000, vec![key], &chunks);
            assert_eq!(tables.chunks(&[key]).map(|found| found.len()), Some(1000));
            assert!(lock(&tables.sets).chunks <= 8_192_000 / ITEMS_PER_CHUNK + MIN_CHUNKS);
        }
        assert!(tables.chunks(&[149]).is_some());
        tables.keep_chunks(Memory::Full, 100, vec![200], &vec![chunks[0]; 5000].into());
        tables.keep_chunks(Memory::Bounded, 8_192_000, vec![201], &chunks);
        assert!(tables.chunks(&[200]).is_none() && tables.chunks(&[201]).is_none());
        // Narrow ranges never make a table, wide ones do once they have read as much.
        assert!((0..100_000).all(|_| !tables.are_due(Memory::Full, 1_280_000, 1, 600)));
        let mut wide = (0..).map(|_| tables.are_due(Memory::Full, 1_280_000, 1, 4000));
        assert_eq!(wide.position(|is_due| is_due), Some(7));
        assert!((0..10).all(|_| !tables.are_due(Memory::Bounded, 1_280_000, 2, 10_000)));
        tables.keep_runs(1, Runs::of(Vec::new()));
        assert!((0..10).all(|_| !tables.are_due(Memory::Full, 1_280_000, 1, 10_000)));
    }
}
