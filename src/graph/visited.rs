//! The visited set of a search: a bitmap with one bit a slot, and the list of the slots visited.
//! The next search clears the bits one by one by that list, or wipes the bitmap if that is less
//! work.
//!
//! 125 KB for a million slots. Where memory must not depend on the number of slots, a hash set
//! instead.

use std::collections::HashSet;

/// The number of words wiped in the time that it takes to find one.
const WIPED_AT_ONCE: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Visited {
    marks: Vec<u64>,
    /// The visited slots, `count` of them, and spare capacity.
    met: Vec<u32>,
    count: usize,
    /// The count before the last insertion.
    before: usize,
    /// The visited set of a memory-bounded search.
    set: Option<HashSet<u32>>,
}

impl Visited {
    /// Clears the set, and makes room for `slots` slots.
    pub(super) fn start(&mut self, slots: usize, sparse: bool) {
        if self.marks.len() < WIPED_AT_ONCE * self.count {
            self.marks.fill(0);
        } else {
            for slot in &self.met[..self.count] {
                if let Some(word) = self.marks.get_mut(*slot as usize / 64) {
                    *word = 0;
                }
            }
        }
        (self.count, self.before) = (0, 0);
        if sparse {
            self.set.get_or_insert_default().clear();
            return;
        }
        self.set = None;
        if self.marks.len() < slots.div_ceil(64) {
            self.marks.resize(slots.div_ceil(64), 0);
        }
    }

    /// Marks slots as visited, and returns those that were not visited yet, in order. Slots beyond
    /// the capacity are ignored.
    #[inline]
    pub(super) fn insert_all(&mut self, slots: &[u32]) -> &[u32] {
        let start = self.count;
        if self.met.len() < start + slots.len() {
            self.met.resize((start + slots.len()).next_power_of_two(), 0);
        }
        let new = &mut self.met[start..];
        let mut count = 0;
        if let Some(set) = &mut self.set {
            for (place, slot) in new.iter_mut().zip(slots.iter().filter(|slot| set.insert(**slot)))
            {
                *place = *slot;
                count += 1;
            }
        } else {
            let marks = &mut self.marks[..];
            // Branchless, as the branch would be unpredictable: each slot is written behind the
            // others, and stays there only if it is new.
            for &slot in slots {
                // `count` is smaller than the number of slots.
                if let (Some(word), Some(place)) =
                    (marks.get_mut(slot as usize / 64), new.get_mut(count))
                {
                    let mark = 1 << (slot % 64);
                    *place = slot;
                    count += usize::from(*word & mark == 0);
                    *word |= mark;
                }
            }
        }
        self.count += count;
        self.before = start;
        self.latest()
    }

    /// The result of the last [`insert_all`](Self::insert_all).
    #[inline]
    pub(super) fn latest(&self) -> &[u32] {
        &self.met[self.before..self.count]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a slot was not marked yet.
    fn insert(visited: &mut Visited, slot: u32) -> bool {
        visited.insert_all(&[slot]) == [slot]
    }

    #[test]
    fn every_search_starts_with_nothing_visited() {
        let mut visited = Visited::default();
        for round in 0..600 {
            // Sometimes so much room that what has been met is taken back one by one.
            let slots = if round % 200 < 100 { 8 + round % 3 } else { 100_000 };
            visited.start(slots, round % 7 == 0);
            assert!(insert(&mut visited, 3) && !insert(&mut visited, 3), "round {round}");
            assert!(insert(&mut visited, 7));
        }
        let mut visited = Visited::default();
        visited.start(8, false);
        assert!(!insert(&mut visited, 1000));
        assert_eq!(visited.insert_all(&[5, 3, 5, 999, 7]), [5, 3, 7]);
    }
}
