//! The spanning tree of each layer: every node but the root is a child of a node linked before it,
//! whose list keeps the edge to it through all pruning. So every node is reachable.
//!
//! A node has a *rank*, which grows in linking order; the rank of a parent is lower than that of
//! its child, so that no cycle can arise. At most half of a list is child edges.

use super::Graph as _;
use super::edge::Edge;
use super::plan::Plan;
use super::working::Working;
use crate::error::Result;
use crate::types::{Layer, Slot};

/// The maximum length of a traversal of the tree: a longer one is in a cycle, which only a damaged
/// tree has.
pub(super) const MAX_STEPS: usize = 1_000_000;

/// The maximum length of a path down a tree of copies. It is longer only where lists are so short
/// that the tree is a path; then a copy is linked like any other node.
const COPY_STEPS: usize = 64;

/// The first of the nodes in `near` with room for another child. If all are full, a traversal down
/// the tree finds one: every branch ends.
pub(super) fn choose_parent(
    working: &Working<'_>,
    layer: Layer,
    slot: Slot,
    near: &[Edge],
    plan: &Plan<'_>,
) -> Result<Slot> {
    for edge in near {
        if has_room(working, layer, Slot(edge.slot), plan)? {
            return Ok(Slot(edge.slot));
        }
    }
    let mut current = near.first().map_or(working.roots[layer.index()], |edge| Slot(edge.slot));
    let mut hash = slot.0;
    for _ in 0..MAX_STEPS {
        if has_room(working, layer, current, plan)? {
            break;
        }
        let children = working.unmeasured(layer, current)?.children;
        let (copies, others) = split_copies(working, current, &children)?;
        // A node linked only to a copy would be hard to find.
        let Some(child) = choose(if others.is_empty() { &copies } else { &others }, &mut hash)
        else {
            break;
        };
        current = child;
    }
    Ok(current)
}

/// The first candidate that is a node of lower rank, with room for another child.
pub(super) fn first_to_adopt(
    working: &Working<'_>,
    layer: Layer,
    candidates: &[Edge],
    rank: u32,
    plan: &Plan<'_>,
) -> Result<Option<Slot>> {
    for candidate in candidates.iter().map(|edge| Slot(edge.slot)) {
        if let Some((above, children)) = working.rank_and_child_count(layer, candidate)?
            && above < rank
            && children < plan.max_children(layer)
        {
            return Ok(Some(candidate));
        }
    }
    Ok(None)
}

/// The lead, or the nearest of its copies on one path down their tree, that has room for another
/// copy. None if other nodes take all the room, or the path is too long.
pub(super) fn copy_parent(
    working: &Working<'_>,
    lead: Slot,
    slot: Slot,
    plan: &Plan<'_>,
) -> Result<Option<Slot>> {
    let layer = Layer(0);
    let (mut current, mut hash) = (lead, slot.0);
    for _ in 0..COPY_STEPS {
        let children = working.unmeasured(layer, current)?.children;
        let (copies, _) = split_copies(working, current, &children)?;
        if copies.len() < plan.max_copies(layer) && children.len() < plan.max_children(layer) {
            return Ok(Some(current));
        }
        let Some(child) = choose(&copies, &mut hash) else { break };
        current = child;
    }
    Ok(None)
}

/// Splits the children of a node into those that have its vector, and the others.
pub(super) fn split_copies(
    working: &Working<'_>,
    slot: Slot,
    children: &[Slot],
) -> Result<(Vec<Slot>, Vec<Slot>)> {
    let (mut copies, mut others) = (Vec::new(), Vec::new());
    for child in children {
        if working.are_equal(slot, *child)? { copies.push(*child) } else { others.push(*child) }
    }
    Ok((copies, others))
}

/// Picks a child by a hash that changes at every step, or many equal vectors would turn the tree
/// into one long path.
fn choose(children: &[Slot], hash: &mut u32) -> Option<Slot> {
    *hash = hash.wrapping_mul(0x9E37_79B9).rotate_left(13);
    children.get(*hash as usize % children.len().max(1)).copied()
}

fn has_room(working: &Working<'_>, layer: Layer, slot: Slot, plan: &Plan<'_>) -> Result<bool> {
    let children = working.rank_and_child_count(layer, slot)?.map_or(0, |(_, children)| children);
    Ok(children < plan.max_children(layer))
}
