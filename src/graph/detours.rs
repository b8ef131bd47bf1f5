//! The scratch memory of a [filtered search](super::filtered), beside that of its beam: nodes that
//! are not admitted, and how many nodes were.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::error::Result;
use crate::types::Slot;

/// The number of lists whose nodes count as near the query, the first ones: those around the node
/// that the search starts from.
const FIRST_LISTS: usize = 40;
/// Expansions count half once there have been this many after them: enough to see how many are of
/// admitted nodes, few enough to notice that these have become rare.
const LATEST_EXPANSIONS: usize = 32;
/// From this many admitted nodes on that are to be expected near the query, their number tells
/// something: one or none in place of 6 are there by chance once in 60 times. The neighbors of one
/// node and theirs must be enough, as a search goes on among nodes that may be far away.
const MIN_EXPECTED: f32 = 6.0;
/// Admitted nodes are elsewhere if fewer than one of this many expected ones are near the query.
const ELSEWHERE_DIVISOR: f32 = 4.0;

/// The scratch memory of a filtered search, beside that of its beam.
#[derive(Debug, Default)]
pub(super) struct Detours {
    /// Nodes to be expanded, and whether the predicate is still to be asked of them; refused ones
    /// otherwise. A min-heap.
    pub(super) open: BinaryHeap<Reverse<(i64, bool)>>,
    /// Refused nodes without a distance.
    pub(super) bridges: Vec<u32>,
    /// Nodes just visited: admitted, and refused.
    pub(super) admitted: Vec<u32>,
    pub(super) refused: Vec<u32>,
    /// The latest nodes visited, and how many of them were admitted.
    latest: Tally,
    /// The nodes visited first, which are near the query.
    first: Tally,
    /// What the latest expansions have cost, and how many of them were of admitted nodes.
    cost: Cost,
    /// How many lists have been read.
    pub(super) lists: usize,
    /// How many admitted nodes have been expanded.
    pub(super) expanded: usize,
}

/// See [`Detours::latest_cost`].
#[derive(Debug, Default, Clone, Copy)]
struct Cost {
    expansions: usize,
    spent_before: f32,
    expanded_before: usize,
    spent: f32,
    expanded: f32,
}

/// How many nodes have been visited, and how many of them were admitted.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    visited: f32,
    admitted: f32,
}

impl Detours {
    pub(super) fn start(&mut self) {
        self.open.clear();
        self.bridges.clear();
        (self.latest, self.first, self.cost) = Default::default();
        (self.lists, self.expanded) = (0, 0);
    }

    /// Forgets the nodes that were visited before, but for bridges.
    pub(super) fn clear(&mut self) {
        self.admitted.clear();
        self.refused.clear();
    }

    /// Sorts nodes just visited into admitted and refused ones.
    pub(super) fn sort(
        &mut self,
        fresh: &[u32],
        admits: impl Fn(Slot) -> Result<bool>,
    ) -> Result<()> {
        let before = self.admitted.len();
        for &slot in fresh {
            if admits(Slot(slot))? { &mut self.admitted } else { &mut self.refused }.push(slot);
        }
        if (1..=FIRST_LISTS).contains(&self.lists) {
            self.first.visited += fresh.len() as f32;
            self.first.admitted += (self.admitted.len() - before) as f32;
        }
        Ok(())
    }

    /// The local pass rate: the share of admitted nodes among the neighbors of about two nodes,
    /// those that were sorted last and those before.
    pub(super) fn pass_rate(&mut self) -> f32 {
        let (admitted, refused) = (self.admitted.len() as f32, self.refused.len() as f32);
        self.latest.visited = self.latest.visited / 2.0 + admitted + refused;
        self.latest.admitted = self.latest.admitted / 2.0 + admitted;
        self.latest.admitted / self.latest.visited.max(1.0)
    }

    /// Whether so few of the nodes near the query are admitted, where `rate` of all are, that the
    /// admitted ones are elsewhere.
    pub(super) fn is_elsewhere(&self, rate: f32) -> bool {
        let expected = rate * self.first.visited;
        expected >= MIN_EXPECTED && self.first.admitted * ELSEWHERE_DIVISOR < expected
    }

    /// What expanding an admitted node has cost of late, with the refused nodes expanded between
    /// them. Called with the cost of all expansions, after each from some time on.
    pub(super) fn latest_cost(&mut self, spent: f32) -> f32 {
        let cost = &mut self.cost;
        cost.expansions += 1;
        if cost.expansions.is_multiple_of(LATEST_EXPANSIONS) {
            (cost.spent, cost.expanded) = (cost.spent / 2.0, cost.expanded / 2.0);
        }
        cost.spent += spent - cost.spent_before;
        cost.expanded += (self.expanded - cost.expanded_before) as f32;
        (cost.spent_before, cost.expanded_before) = (spent, self.expanded);
        cost.spent / cost.expanded.max(0.5)
    }
}
