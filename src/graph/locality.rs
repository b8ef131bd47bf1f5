//! An order of the nodes in which neighbors are near each other: for numbering the slots by it.
//!
//! The tree of layer 0 has it already: a node's parent was the nearest node with room when it was linked, so that a subtree is a region. Walking it
//! depth first, region by region, costs no distance.

use super::working::Working;
use crate::{Layer, Result, Slot};

/// All nodes of layer 0. O(nodes).
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
