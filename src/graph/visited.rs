//! Which slots a search has met: one byte a slot, compared with the number of the search, so that starting one clears nothing.
//!
//! 1 MB for a million slots, wiped every 255 searches (30 us, 0.1 us a search). Where memory must not depend on the number of slots, a
//! hash set instead.

use std::collections::HashSet;

#[derive(Debug, Default)]
pub(super) struct Visited {
    marks: Vec<u8>,
    epoch: u8,
    /// The marks of a sparse search.
    set: Option<HashSet<u32>>,
}

impl Visited {
    /// Forgets everything, and makes room for `slots` slots.
    pub(super) fn start(&mut self, slots: usize, sparse: bool) {
        if sparse {
            self.set.get_or_insert_default().clear();
            return;
        }
        self.set = None;
        if self.marks.len() < slots {
            self.marks.resize(slots, 0);
        }
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            self.marks.fill(0);
            self.epoch = 1;
        }
    }

    /// Marks slots, and appends those that were not marked yet, in order, and are not beyond the room that was made.
    #[inline]
    pub(super) fn insert_all(&mut self, slots: &[u32], fresh: &mut Vec<u32>) {
        if let Some(set) = &mut self.set {
            fresh.extend(slots.iter().filter(|slot| set.insert(**slot)));
            return;
        }
        // Without a branch, which nobody could guess: each is put behind the others, and stays if it is new.
        let start = fresh.len();
        fresh.resize(start + slots.len(), 0);
        let (marks, epoch, new) = (&mut self.marks[..], self.epoch, &mut fresh[start..]);
        let mut count = 0;
        for &slot in slots {
            // `count` is smaller than the number of slots.
            if let (Some(mark), Some(place)) = (marks.get_mut(slot as usize), new.get_mut(count)) {
                *place = slot;
                count += usize::from(*mark != epoch);
                *mark = epoch;
            }
        }
        fresh.truncate(start + count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a slot was not marked yet.
    fn insert(visited: &mut Visited, slot: u32) -> bool {
        let mut fresh = Vec::new();
        visited.insert_all(&[slot], &mut fresh);
        fresh == [slot]
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
        let mut fresh = vec![1];
        visited.insert_all(&[5, 3, 5, 99, 7], &mut fresh);
        assert_eq!(fresh, [1, 5, 3, 7]);
    }
}
