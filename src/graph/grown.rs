//! Edges that a build adds to stored nodes of layer 0 without copying them: a round of a build in
//! bounded memory adds an edge or two to most nodes of the graph.
//!
//! An entry is 12 bytes, where a copy of a node takes some hundred. The entries of a node are a
//! chain. When all slots of the round are linked, nodes with too many edges are pruned, and the
//! edges that this removes are listed, too: a node is then its stored list and its entries without
//! the removed ones.

use super::edge::Edge;
use crate::types::Slot;

/// An added edge, or a child, of a node.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// The number of the node's next entry, plus one; 0 at the end.
    next: u32,
    slot: u32,
    /// NaN if `slot` is a child, which has an entry of its own, or a stored edge, as an edge.
    distance: f32,
}

/// Bytes of an entry.
pub(super) const ENTRY_BYTES: u64 = size_of::<Entry>() as u64;

/// See the module.
#[derive(Debug)]
pub(super) struct Grown {
    /// For each slot the number of its last entry, plus one; 0 if it has none.
    heads: Vec<u32>,
    entries: Vec<Entry>,
    /// The edges that pruning has removed, as source and target, ascending.
    removed: Vec<(u32, u32)>,
}

impl Grown {
    pub(super) fn new(slots: usize) -> Self {
        // Zeroed pages come from the allocator: none is touched before it is used.
        Self { heads: bytemuck::zeroed_vec(slots), entries: Vec::new(), removed: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    #[inline]
    pub(super) fn has(&self, slot: Slot) -> bool {
        self.heads.get(slot.index()).is_some_and(|head| *head > 0)
    }

    fn entries(&self, slot: Slot) -> impl Iterator<Item = Entry> {
        let mut next = self.heads.get(slot.index()).copied().unwrap_or_default();
        std::iter::from_fn(move || {
            let entry = *self.entries.get((next as usize).checked_sub(1)?)?;
            next = entry.next;
            Some(entry)
        })
    }

    /// The edges added to a node, those included that were removed again.
    #[inline]
    pub(super) fn edges(&self, slot: Slot) -> impl Iterator<Item = Edge> {
        let entries = self.entries(slot).filter(|entry| !entry.distance.is_nan());
        entries.map(|Entry { slot, distance, .. }| Edge { distance, slot })
    }

    /// The children added to a node.
    pub(super) fn children(&self, slot: Slot) -> impl Iterator<Item = Slot> {
        self.entries(slot).filter(|entry| entry.distance.is_nan()).map(|entry| Slot(entry.slot))
    }

    pub(super) fn add(&mut self, to: Slot, edge: Edge) {
        self.push(to, edge.slot, edge.distance);
    }

    pub(super) fn add_child(&mut self, to: Slot, child: Slot) {
        self.push(to, child.0, f32::NAN);
    }

    fn push(&mut self, to: Slot, slot: u32, distance: f32) {
        if let Some(head) = self.heads.get_mut(to.index()) {
            self.entries.push(Entry { next: *head, slot, distance });
            *head = self.entries.len() as u32;
        }
    }

    /// Forgets the entries of a node, which is copied.
    pub(super) fn forget(&mut self, slot: Slot) {
        if let Some(head) = self.heads.get_mut(slot.index()) {
            *head = 0;
        }
    }

    /// Records what pruning has removed, in order.
    pub(super) fn remove(&mut self, removed: Vec<(u32, u32)>) {
        self.removed = removed;
    }

    /// The edges removed from a node, ascending.
    #[inline]
    pub(super) fn removed(&self, slot: Slot) -> &[(u32, u32)] {
        if self.removed.is_empty() {
            return &[];
        }
        let start = self.removed.partition_point(|(source, _)| *source < slot.0);
        let rest = &self.removed[start..];
        &rest[..rest.partition_point(|(source, _)| *source == slot.0)]
    }

    /// The slots of a range that have entries, ascending.
    pub(super) fn slots(&self, from: usize, to: usize) -> impl Iterator<Item = Slot> {
        let to = to.min(self.heads.len());
        let heads = self.heads.get(from.min(to)..to).unwrap_or_default();
        let grown = heads.iter().zip(from..).filter(|(head, _)| **head > 0);
        grown.map(|(_, slot)| Slot(slot as u32))
    }
}

/// Whether a list of removed edges, of one node, has this target.
#[inline]
pub(super) fn is_removed(removed: &[(u32, u32)], target: u32) -> bool {
    removed.binary_search_by_key(&target, |(_, target)| *target).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_what_was_added_to_it_until_it_is_forgotten() {
        let mut grown = Grown::new(100);
        for slot in 0..50 {
            grown.add(Slot(slot % 5), Edge { distance: slot as f32, slot });
        }
        grown.add_child(Slot(3), Slot(8));
        let edges: Vec<u32> = grown.edges(Slot(3)).map(|edge| edge.slot).collect();
        assert_eq!(edges, (0..10).rev().map(|i| 5 * i + 3).collect::<Vec<_>>());
        assert_eq!(grown.children(Slot(3)).collect::<Vec<_>>(), [Slot(8)]);
        assert_eq!(grown.slots(1, 1000).collect::<Vec<_>>(), [1, 2, 3, 4].map(Slot));
        grown.forget(Slot(3));
        assert!(!grown.has(Slot(3)) && grown.edges(Slot(3)).next().is_none());
        grown.remove(vec![(1, 6), (1, 11), (4, 9)]);
        assert_eq!(grown.removed(Slot(1)), [(1, 6), (1, 11)]);
        assert!(is_removed(grown.removed(Slot(1)), 11) && !is_removed(grown.removed(Slot(4)), 11));
        assert!(grown.removed(Slot(2)).is_empty());
    }
}
