//! The items of conditions that have been asked more than once of a snapshot.
//!
//! The first time that a condition is asked, only that is noted: most are never asked again. The
//! second time, its items are kept. All are forgotten when they take more memory than they may, and
//! with the snapshot: the next commit begins with none.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::ids::{Ids, KeptIds};
use crate::error::Result;
use crate::field::Condition;
use crate::store::table::Memory;

/// Kept items take at most so many bytes for each item of the index, or [`MIN_BYTES`]: 16 sets of
/// half of the items.
const BYTES_PER_ITEM: usize = 2;
const MIN_BYTES: usize = 1 << 20;
/// At most so many conditions are noted.
const MAX_CONDITIONS: usize = 1024;
/// Longer conditions are not: they take memory, too, and more time than to note them saves.
const MAX_VALUES: usize = 256;

/// The conditions that a snapshot has been asked, and the items of some.
#[derive(Debug, Default)]
pub(super) struct Answers {
    hasher: RandomState,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    bytes: usize,
    /// By the hash of the condition.
    by_hash: HashMap<u64, Answer>,
}

#[derive(Debug)]
struct Answer {
    condition: Condition,
    /// `None`: it has been asked once.
    ids: Option<KeptIds>,
}

/// Locks a mutex whose content is valid even after a panic.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Answers {
    /// The items of a condition, which `evaluate` finds if they are not kept.
    pub(super) fn of(
        &self,
        (memory, items): (Memory, u32),
        condition: &Condition,
        evaluate: impl FnOnce() -> Result<Ids>,
    ) -> Result<KeptIds> {
        if memory == Memory::Bounded || condition.values() > MAX_VALUES {
            return evaluate().map(Ids::kept);
        }
        let hash = self.hasher.hash_one(condition);
        let is_second = {
            let mut known = lock(&self.known);
            match known.by_hash.get(&hash).filter(|answer| answer.condition == *condition) {
                Some(Answer { ids: Some(ids), .. }) => return Ok(ids.clone()),
                Some(Answer { ids: None, .. }) => true,
                None => {
                    known.note(hash, condition);
                    false
                }
            }
        };
        // Not under the lock: other searches go on.
        let ids = evaluate()?.kept();
        if is_second {
            let most = (BYTES_PER_ITEM * items as usize).max(MIN_BYTES);
            lock(&self.known).keep(hash, condition, &ids, most);
        }
        Ok(ids)
    }
}

impl Known {
    fn note(&mut self, hash: u64, condition: &Condition) {
        if self.by_hash.len() >= MAX_CONDITIONS {
            *self = Self::default();
        }
        let answer = Answer { condition: condition.clone(), ids: None };
        let before = self.by_hash.insert(hash, answer).and_then(|before| before.ids);
        self.bytes -= before.map_or(0, |ids| ids.bytes());
    }

    fn keep(&mut self, hash: u64, condition: &Condition, ids: &KeptIds, most: usize) {
        let bytes = ids.bytes();
        if bytes > most {
            return;
        }
        if self.bytes + bytes > most {
            *self = Self::default();
        }
        self.note(hash, condition);
        if let Some(answer) = self.by_hash.get_mut(&hash) {
            answer.ids = Some(ids.clone());
            self.bytes += bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use roaring::RoaringBitmap;

    use super::*;
    use crate::field::field;

    /// Asks for the items of a condition; whether they were looked for.
    fn asks(answers: &Answers, memory: Memory, condition: &Condition, ids: &RoaringBitmap) -> bool {
        let asked = Cell::new(false);
        let found = answers.of((memory, 1000), condition, || {
            asked.set(true);
            Ok(Ids::Only(ids.clone()))
        });
        assert!(matches!(found.unwrap(), Ids::Only(found) if *found == *ids));
        asked.get()
    }

    #[test]
    fn a_condition_is_looked_up_twice_and_no_more() {
        let answers = Answers::default();
        let conditions = [
            field("tag").eq("a"),
            field("tag").eq("b"),
            field("n").below(0.0),
            field("tag").eq("a").and(field("n").below(0)),
            field("tag").eq("a").not(),
        ];
        for (nth, condition) in (0..).zip(&conditions) {
            let ids = RoaringBitmap::from([nth]);
            let asked = [0; 4].map(|_| asks(&answers, Memory::Full, condition, &ids));
            assert_eq!(asked, [true, true, false, false], "{condition:?}");
        }
        // Equal numbers have one hash.
        let zero = RoaringBitmap::from([2]);
        assert!(!asks(&answers, Memory::Full, &field("n").below(-0.0), &zero));
        let many = field("n").is_in(0..=MAX_VALUES as i64);
        assert!((0..4).all(|_| asks(&answers, Memory::Full, &many, &zero)));
        assert!((0..4).all(|_| asks(&answers, Memory::Bounded, &field("n").exists(), &zero)));
        let fails = answers
            .of((Memory::Full, 9), &field("m").exists(), || Err(crate::error::Error::Cancelled));
        assert!(fails.is_err());
    }

    #[test]
    fn what_is_kept_stays_within_its_limits() {
        let answers = Answers::default();
        let wide: RoaringBitmap = (0..1_000_000).step_by(2).collect();
        for nth in 0..100 {
            let condition = field("n").eq(nth);
            let asked = [0; 3].map(|_| asks(&answers, Memory::Full, &condition, &wide));
            assert_eq!(asked, [true, true, false]);
            let known = lock(&answers.known);
            let bytes = known.by_hash.values().filter_map(|answer| answer.ids.as_ref());
            assert_eq!(known.bytes, bytes.map(|ids| ids.bytes()).sum::<usize>());
            assert!(known.bytes <= MIN_BYTES);
        }
        for nth in 0..2 * MAX_CONDITIONS as i64 {
            asks(&answers, Memory::Full, &field("m").eq(nth), &RoaringBitmap::new());
            assert!(lock(&answers.known).by_hash.len() <= MAX_CONDITIONS);
        }
        let too_wide: RoaringBitmap = (0..20_000_000).step_by(2).collect();
        let all = field("all").exists();
        assert!((0..4).all(|_| asks(&answers, Memory::Full, &all, &too_wide)));
    }
}
