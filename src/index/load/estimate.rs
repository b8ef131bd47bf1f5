//! How far a load has come, and what the rest will take.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{LoadPhase, LoadProgress};
use crate::index::rounds::RoundsDone;

/// The time that one thread takes to link an item, for each candidate that its search keeps and
/// each component, where a search is ten steps deep; in nanoseconds. Measured with 384 components.
const LINK_NANOS: f64 = 10.0;
/// Components that the rest of the work on a candidate is worth.
const OTHER_COMPONENTS: f64 = 64.0;
/// Linked items from which the time of the rest follows from theirs.
const MEASURED_ITEMS: u64 = 1000;

/// The course of one load.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// What the load will take, 0 until it is known.
    memory_bytes: AtomicU64,
    disk_bytes: AtomicU64,
    /// The time that linking one item takes, in nanoseconds, before any is linked; 0 if unknown.
    link_nanos: AtomicU64,
    pub(super) rounds: RoundsDone,
    /// When the first item was linked.
    linking: OnceLock<Instant>,
    /// Items linked and to be linked, at the last report.
    linked: AtomicU64,
    to_link: AtomicU64,
}

impl Course {
    /// Records what an item of this load will take to be linked, on this many threads.
    pub(super) fn expect(&self, dimensions: usize, items: u64, ef: u32, threads: usize) {
        let depth = (items.max(2) as f64).log2() / 10.0;
        let each = LINK_NANOS * (dimensions as f64 + OTHER_COMPONENTS) * f64::from(ef) * depth;
        self.link_nanos.store((each / threads.max(1) as f64) as u64, Ordering::Relaxed);
        self.to_link.store(items, Ordering::Relaxed);
    }

    /// Records what the load will take.
    pub(super) fn memory(&self, memory_bytes: u64, disk_bytes: u64) {
        self.memory_bytes.store(memory_bytes, Ordering::Relaxed);
        self.disk_bytes.store(disk_bytes, Ordering::Relaxed);
    }

    /// Records the expected number of rounds.
    pub(super) fn rounds(&self, rounds: u64) {
        self.rounds.total.store(rounds, Ordering::Relaxed);
    }

    /// The report of a phase.
    pub(super) fn progress(&self, phase: LoadPhase, done: u64, total: Option<u64>) -> LoadProgress {
        let number = |number: &AtomicU64| number.load(Ordering::Relaxed);
        if let (LoadPhase::Linking, Some(total)) = (phase, total) {
            self.linking.get_or_init(Instant::now);
            self.linked.fetch_max(done, Ordering::Relaxed);
            self.to_link.store(total, Ordering::Relaxed);
        }
        LoadProgress {
            phase,
            done,
            total,
            rounds_done: number(&self.rounds.done),
            rounds: number(&self.rounds.total),
            remaining: self.remaining(),
            memory_bytes: number(&self.memory_bytes),
            disk_bytes: number(&self.disk_bytes),
        }
    }

    fn remaining(&self) -> Option<Duration> {
        let [linked, to_link, nanos] = [&self.linked, &self.to_link, &self.link_nanos]
            .map(|number| number.load(Ordering::Relaxed));
        let left = to_link.saturating_sub(linked) as f64;
        match self.linking.get() {
            Some(began) if linked >= MEASURED_ITEMS => {
                Some(began.elapsed().mul_f64(left / linked as f64))
            }
            _ => (nanos > 0).then(|| Duration::from_nanos(nanos).mul_f64(left)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_remains_is_expected_first_and_measured_then() {
        let course = Course::default();
        let at = |phase, done| course.progress(phase, done, Some(100_000)).remaining;
        assert_eq!(at(LoadPhase::Adding, 5), None);
        course.expect(384, 100_000, 100, 2);
        let expected = at(LoadPhase::Adding, 5).unwrap();
        assert!((10..1000).contains(&expected.as_secs()), "{expected:?}");
        assert_eq!(at(LoadPhase::Linking, 0), Some(expected));
        std::thread::sleep(Duration::from_millis(20));
        let half = at(LoadPhase::Linking, 50_000).unwrap();
        assert!(half >= Duration::from_millis(20) && half < expected, "{half:?}");
        assert_eq!(at(LoadPhase::Linking, 100_000), Some(Duration::ZERO));
    }
}
