//! Orders the nodes so that neighbors are near each other, for numbering the slots by locality.
//!
//! The spanning tree of layer 0 has such an order: a node's parent was the nearest node with room
//! when it was linked, so that a subtree is a region of space. A depth-first traversal of it
//! computes no distance.

use super::working::Working;
use crate::error::Result;
use crate::types::{Layer, Slot};

/// All nodes of layer 0, depth first. O(nodes).
pub(crate) fn order(working: &Working<'_>) -> Result<Vec<Slot>> {
    let layer = Layer(0);
    let mut order = Vec::new();
    let mut waiting: Vec<Slot> = working.roots.first().copied().into_iter().collect();
    while let Some(slot) = waiting.pop() {
        order.push(slot);
        let mut children = working.unmeasured(layer, slot)?.children;
        children.sort_unstable();
        waiting.extend(children);
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::super::working::tests::Nothing;
    use super::super::working::{Node, Working};
    use super::*;

    #[test]
    fn a_subtree_is_numbered_before_the_next() {
        let store = Nothing(7);
        let mut working = Working::new(&store, vec![Slot(3)], 7);
        for (slot, parent, children) in [
            (3, 3, vec![0, 5]),
            (0, 3, vec![6]),
            (6, 0, vec![]),
            (5, 3, vec![1, 2]),
            (1, 5, vec![]),
            (2, 5, vec![4]),
            (4, 2, vec![]),
        ] {
            let children = children.into_iter().map(Slot).collect();
            working.set(
                Layer(0),
                Slot(slot),
                Node { edges: Vec::new(), children, parent: Slot(parent), rank: slot },
            );
        }
        let order: Vec<u32> = order(&working).unwrap().into_iter().map(|slot| slot.0).collect();
        assert_eq!(order, [3, 5, 2, 4, 1, 0, 6]);
        assert!(super::order(&Working::new(&store, Vec::new(), 0)).unwrap().is_empty());
    }
}
