//! What lives in this process on one environment: its read transactions, and who holds them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Transactions and what they are for.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// The numbers of read transactions that have not ended.
    pub(super) transactions: BTreeSet<u64>,
    /// Why some of them last: callers hold them, or work through them for long. By number, and
    /// since when.
    pub(super) held: BTreeMap<u64, Instant>,
    /// The number of the next transaction, or of who holds one.
    pub(super) next: u64,
    /// When the resize lock was last opened without the map having been moved.
    pub(super) opened: Option<Instant>,
}

impl Live {
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// For how long one has been held.
    pub(super) fn oldest(&self) -> Duration {
        self.held.values().next().map_or(Duration::ZERO, Instant::elapsed)
    }
}
