//! The live transactions of this process on one environment, and their holders.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Live transactions and their purposes.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// The numbers of read transactions that have not ended.
    pub(super) transactions: BTreeSet<u64>,
    /// The holders that keep some of them alive for long: snapshots of callers, and long-running
    /// work. By number, with the time since when.
    pub(super) held: BTreeMap<u64, Instant>,
    /// The number of the next transaction or holder.
    pub(super) next: u64,
    /// When the resize lock was last opened without the map having been moved.
    pub(super) opened: Option<Instant>,
}

impl Live {
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// How long the oldest has been held.
    pub(super) fn oldest(&self) -> Duration {
        self.held.values().next().map_or(Duration::ZERO, Instant::elapsed)
    }
}
