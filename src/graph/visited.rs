//! Which slots a search has met: one bit a slot. The bits that a search has set are those of the
//! slots that it has met, so that the next one takes them back one by one, or wipes all where that
//! is less.
//!
//! 125 KB for a million slots. Where memory must not depend on the number of slots, a hash set
//! instead.

use std::collections::HashSet;

/// Words that are wiped in the time that it takes to find one.
const WIPED_AT_ONCE: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Visited {
    marks: Vec<u64>,
    /// The slots that are marked, `count` of them, and room for more.
    met: Vec<u32>,
    count: usize,
    /// How many had been before those that were marked last.
    before: usize,
    /// The marks of a sparse search.
    set: Option<HashSet<u32>>,
}

impl Visited {
    /// Forgets everything, and makes room for `slots` slots.
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

    /// Marks slots, and returns those that were not marked yet, in order, and are not beyond the
    /// room that was made.
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
            // Without a branch, which nobody could guess: each is put behind the others, and stays
            // if it is new.
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

    /// What [`insert_all`](Self::insert_all) has returned last.
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
