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
        if self.set.is_some() {
            fresh.extend(slots.iter().filter(|slot| self.insert(**slot)));
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

    /// Marks a slot. `true` if it was not marked yet; `false` for a slot beyond the room that was made.
    #[inline]
    pub(super) fn insert(&mut self, slot: u32) -> bool {
        if let Some(set) = &mut self.set {
            return set.insert(slot);
        }
        match self.marks.get_mut(slot as usize) {
            Some(mark) if *mark != self.epoch => {
                *mark = self.epoch;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_search_starts_with_nothing_visited() {
        let mut visited = Visited::default();
        for round in 0..600 {
            visited.start(8 + round % 3, round % 7 == 0);
            assert!(visited.insert(3) && !visited.insert(3), "round {round}");
            assert!(visited.insert(7));
        }
        visited.start(8, false);
        assert!(!visited.insert(1000));
    }
}
