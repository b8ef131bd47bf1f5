//! Which slots a search has met: one bit a slot. The bits that a search has set are those of the slots that it has met, so that the next one takes them
//! back one by one.
//!
//! 125 KB for a million slots. Where memory must not depend on the number of slots, a hash set instead.

use std::collections::HashSet;

#[derive(Debug, Default)]
pub(super) struct Visited {
    marks: Vec<u64>,
    /// All slots that are marked.
    met: Vec<u32>,
    /// The marks of a sparse search.
    set: Option<HashSet<u32>>,
}

impl Visited {
    /// Forgets everything, and makes room for `slots` slots.
    pub(super) fn start(&mut self, slots: usize, sparse: bool) {
        for slot in self.met.drain(..) {
            if let Some(word) = self.marks.get_mut(slot as usize / 64) {
                *word = 0;
            }
        }
        if sparse {
            self.set.get_or_insert_default().clear();
            return;
        }
        self.set = None;
        if self.marks.len() < slots.div_ceil(64) {
            self.marks.resize(slots.div_ceil(64), 0);
        }
    }

    /// Marks slots, and returns those that were not marked yet, in order, and are not beyond the room that was made.
    #[inline]
    pub(super) fn insert_all(&mut self, slots: &[u32]) -> &[u32] {
        let start = self.met.len();
        if let Some(set) = &mut self.set {
            self.met.extend(slots.iter().filter(|slot| set.insert(**slot)));
            return &self.met[start..];
        }
        // Without a branch, which nobody could guess: each is put behind the others, and stays if it is new.
        self.met.resize(start + slots.len(), 0);
        let (marks, new) = (&mut self.marks[..], &mut self.met[start..]);
        let mut count = 0;
        for &slot in slots {
            // `count` is smaller than the number of slots.
            if let (Some(word), Some(place)) = (marks.get_mut(slot as usize / 64), new.get_mut(count)) {
                let mark = 1 << (slot % 64);
                *place = slot;
                count += usize::from(*word & mark == 0);
                *word |= mark;
            }
        }
        self.met.truncate(start + count);
        &self.met[start..]
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
            visited.start(8 + round % 3, round % 7 == 0);
            assert!(insert(&mut visited, 3) && !insert(&mut visited, 3), "round {round}");
            assert!(insert(&mut visited, 7));
        }
        visited.start(8, false);
        assert!(!insert(&mut visited, 1000));
        assert_eq!(visited.insert_all(&[5, 3, 5, 999, 7]), [5, 3, 7]);
    }
}
