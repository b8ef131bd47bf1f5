//! Deletes nodes from the graph (removed items, which are tombstones until a build), and repairs
//! the edges and the tree around them, in place.
//!
//! On each layer, every in-neighbor of a removed node is known: bidirectional edges from its own
//! list, one-way edges from the list stored with it. An in-neighbor keeps its other edges. In place
//! of a lost edge, it gets the nearest of the removed node's neighbors that none of its edges
//! occludes (as the in-place deletion of IP-DiskANN, Xu et al. 2025, does for the in-neighbors that
//! it finds). Before that, the spanning tree is repaired: the nearest of its neighbors with a lower
//! rank and room adopts an orphan, that is, a child of a removed node; else the nearest remaining
//! ancestor does. As ranks only fall towards the root, no cycle can arise. A removed root is
//! succeeded by the orphan of the lowest rank, which has the lowest rank of all remaining nodes.
//!
//! Copies (duplicates, see `insert`) stay below a node with their vector. If their lead is removed,
//! the oldest of its orphans becomes the lead, adopts the others, and must be linked like a new
//! node. A copy that loses an edge gets no replacement.
//!
//! O(d * M0 * M0) distances for d removed nodes.

use std::collections::{BTreeMap, BTreeSet};

use super::edge::Edge;
use super::insert::refresh;
use super::plan::Plan;
use super::products::sort_by_angle;
use super::prune::replenish;
use super::tree::{MAX_STEPS, first_to_adopt, split_copies};
use super::working::{Node, StoredNode, Working};
use super::{Graph, Vectors};
use crate::error::Result;
use crate::threads::{self, LISTS};
use crate::types::{Layer, Slot};

/// The maximum number of new edges for each lost edge (IP-DiskANN, Xu et al. 2025, uses up to
/// three).
const REPLACEMENTS: usize = 1;

/// The number of nearest candidates tried for each new edge: farther ones would rarely be taken.
const CANDIDATES: usize = 4;

/// The nodes of layer 0 that a deletion has left under-connected.
#[derive(Debug, Default)]
struct UnderConnected {
    /// Copies whose lead was removed, and that are leads now: they have hardly any edges.
    leads: Vec<Slot>,
    /// The others that have lost edges, those with the fewest remaining edges first.
    others: Vec<Slot>,
}

/// Deletes slots from the graph, and has those refreshed that have lost the most edges: as many as
/// were removed, less the `count` nodes that are linked next, which bring new edges.
pub(crate) fn take_out(
    working: &mut Working<'_>,
    vectors: &dyn Vectors,
    removed: &[Slot],
    count: usize,
    plan: &Plan<'_>,
) -> Result<()> {
    let UnderConnected { leads, others } = delete(working, vectors, removed, plan)?;
    let lost = removed.len().saturating_sub(count);
    let refreshed: Vec<Slot> = leads.into_iter().chain(others.into_iter().take(lost)).collect();
    refresh(working, vectors, &refreshed, plan)
}

/// Deletes the `removed` slots from every layer that has them.
fn delete(
    working: &mut Working<'_>,
    vectors: &dyn Vectors,
    removed: &[Slot],
    plan: &Plan<'_>,
) -> Result<UnderConnected> {
    let mut under_connected = UnderConnected::default();
    let gone: BTreeSet<Slot> = removed.iter().copied().collect();
    for layer in (0..working.roots.len()).map(|layer| Layer(layer as u8)) {
        let mut nodes = BTreeMap::new();
        for slot in &gone {
            if let Some(node) = working.stored.node(layer, *slot)? {
                nodes.insert(*slot, node);
            }
        }
        // The nodes of a layer are on all layers below.
        if nodes.is_empty() {
            break;
        }
        let mended = delete_on(&mut Deletion { working, vectors, plan, layer, nodes })?;
        if layer.0 == 0 {
            under_connected = mended;
        }
    }
    Ok(under_connected)
}

/// The deletion on one layer.
struct Deletion<'m, 'a> {
    working: &'m mut Working<'a>,
    vectors: &'m dyn Vectors,
    plan: &'m Plan<'m>,
    layer: Layer,
    /// The nodes to delete, as stored.
    nodes: BTreeMap<Slot, StoredNode>,
}

fn delete_on(mending: &mut Deletion<'_, '_>) -> Result<UnderConnected> {
    let in_neighbors = mending.in_neighbors()?;
    let leads = mending.mend_tree()?;
    for slot in mending.nodes.keys() {
        mending.working.remove(mending.layer, *slot);
    }
    let frozen = &*mending;
    let mended = threads::map(&in_neighbors, LISTS, |&slot| -> Result<(Slot, Option<Mended>)> {
        Ok((slot, frozen.mend(slot)?))
    })?;
    let mut degrees = Vec::new();
    for (slot, node) in mended {
        if let Some(Mended { node, is_copy }) = node {
            if !is_copy && !leads.contains(&slot) {
                degrees.push((node.edges.len(), slot));
            }
            mending.working.set(mending.layer, slot, node);
        }
    }
    degrees.sort_unstable();
    Ok(UnderConnected {
        leads: leads.into_iter().collect(),
        others: degrees.into_iter().map(|(_, slot)| slot).collect(),
    })
}

/// A node that has lost edges, repaired.
struct Mended {
    node: Node,
    is_copy: bool,
}

impl Deletion<'_, '_> {
    fn is_gone(&self, slot: Slot) -> bool {
        self.nodes.contains_key(&slot)
    }

    /// All remaining nodes that may have an edge to a removed one.
    fn in_neighbors(&self) -> Result<Vec<Slot>> {
        let mut found = BTreeSet::new();
        for (slot, node) in &self.nodes {
            let one_way = self.working.stored.one_way_in_neighbors(self.layer, *slot)?;
            found.extend(
                node.neighbors
                    .iter()
                    .copied()
                    .chain(one_way)
                    .map(Slot)
                    .filter(|slot| !self.is_gone(*slot)),
            );
        }
        Ok(found.into_iter().collect())
    }

    /// Whether a node has the vector of its parent.
    fn is_copy(&self, slot: Slot, node: &Node) -> Result<bool> {
        Ok(self.layer.0 == 0 && node.parent != slot && self.working.are_equal(slot, node.parent)?)
    }

    /// Gives every orphan another parent, and the layer a root. Returns the copies that no longer
    /// have a parent with their vector.
    fn mend_tree(&mut self) -> Result<BTreeSet<Slot>> {
        let mut orphans = Vec::new();
        for (slot, node) in &self.nodes {
            for child in node.children.iter().filter(|child| !self.is_gone(**child)) {
                if let Some((rank, _)) = self.working.rank_and_child_count(self.layer, *child)? {
                    orphans.push((rank, *child, *slot));
                }
            }
        }
        orphans.sort_unstable();
        let mut orphans = orphans.into_iter();
        // A layer above one that has no nodes left has no root either.
        let Some(&root) = self.working.roots.get(self.layer.index()) else {
            return Ok(BTreeSet::new());
        };
        // The new lead for each removed one.
        let mut heirs = BTreeMap::new();
        if self.is_gone(root) {
            // The next root of the layer, which on the top layer is the entry point of searches.
            let Some((_, successor, parent)) = orphans.next() else {
                // No node is left on this layer, nor on those above.
                self.working.roots.truncate(self.layer.index());
                return Ok(BTreeSet::new());
            };
            self.working.set_parent(self.layer, successor, successor)?;
            self.working.roots[self.layer.index()] = successor;
            if let Some(lead) = self.lead(successor, parent)? {
                heirs.insert(lead, successor);
            }
        }
        for (rank, orphan, parent) in orphans {
            let ancestor = self.ancestor(parent);
            let Some(lead) = self.lead(orphan, parent)? else {
                self.adopt(orphan, rank, ancestor)?;
                continue;
            };
            let equal = if lead == ancestor { Some(lead) } else { heirs.get(&lead).copied() };
            match equal {
                Some(equal) => self.adopt_below(orphan, rank, equal)?,
                None => {
                    heirs.insert(lead, orphan);
                    self.adopt(orphan, rank, ancestor)?;
                }
            }
        }
        Ok(heirs.into_values().collect())
    }

    /// The nearest remaining ancestor of a copy that has its vector, else the topmost removed one,
    /// its lead. None if the node is no copy of its (removed) parent.
    fn lead(&self, slot: Slot, parent: Slot) -> Result<Option<Slot>> {
        if self.layer.0 > 0 || !self.working.are_equal(slot, parent)? {
            return Ok(None);
        }
        let mut lead = parent;
        // A damaged tree may have a cycle.
        for _ in 0..self.nodes.len() {
            let Some(above) = self.nodes.get(&lead).map(|node| node.parent) else { break };
            if above == lead || !self.working.are_equal(slot, above)? {
                break;
            }
            lead = above;
        }
        Ok(Some(lead))
    }

    /// The nearest remaining ancestor of a removed node.
    fn ancestor(&self, mut slot: Slot) -> Slot {
        // A damaged tree may have a cycle.
        for _ in 0..self.nodes.len() {
            match self.nodes.get(&slot) {
                Some(node) => slot = node.parent,
                None => return slot,
            }
        }
        if self.is_gone(slot) { self.working.roots[self.layer.index()] } else { slot }
    }

    /// Finds a parent for a node of some rank; `ancestor` has a lower one. If the ancestor is full
    /// and its youngest child is younger than the node, the node takes that child's place, and the
    /// child is adopted elsewhere; else the node goes below one of the children. Ranks rise from
    /// step to step, so this terminates.
    fn adopt(&mut self, slot: Slot, rank: u32, ancestor: Slot) -> Result<()> {
        self.plan.check_cancelled()?;
        match self.near_parent(slot, rank)? {
            Some(parent) => self.working.attach(self.vectors, self.layer, parent, slot),
            None => self.adopt_below(slot, rank, ancestor),
        }
    }

    /// Finds a parent in the tree below `ancestor`; for a copy of the ancestor, among its copies if
    /// it has any.
    fn adopt_below(&mut self, mut slot: Slot, mut rank: u32, mut ancestor: Slot) -> Result<()> {
        let room = self.plan.max_children(self.layer);
        let mut steps = 0;
        loop {
            let children = self.children(ancestor)?;
            steps += 1;
            let full = children.len() >= room && steps < MAX_STEPS;
            let Some(&(youngest_rank, youngest)) = children.iter().max().filter(|_| full) else {
                return self.working.attach(self.vectors, self.layer, ancestor, slot);
            };
            if youngest_rank > rank {
                if let Some(node) = self.working.node_mut(self.layer, ancestor)? {
                    node.children.retain(|child| *child != youngest);
                    node.edges.retain(|edge| edge.slot != youngest.0);
                }
                self.working.attach(self.vectors, self.layer, ancestor, slot)?;
                (slot, rank) = (youngest, youngest_rank);
                if let Some(parent) = self.near_parent(slot, rank)? {
                    return self.working.attach(self.vectors, self.layer, parent, slot);
                }
            } else {
                // All children are older than the node: any of them may adopt it.
                let children: Vec<Slot> = children.into_iter().map(|(_, child)| child).collect();
                let (copies, others) = split_copies(self.working, ancestor, &children)?;
                let (alike, unlike) = if self.working.are_equal(slot, ancestor)? {
                    (copies, others)
                } else {
                    (others, copies)
                };
                let among = if alike.is_empty() { unlike } else { alike };
                ancestor = among[rank as usize % among.len()];
            }
        }
    }

    /// The remaining children of a node, with their ranks.
    fn children(&mut self, slot: Slot) -> Result<Vec<(u32, Slot)>> {
        let Some(node) = self.working.node_mut(self.layer, slot)? else { return Ok(Vec::new()) };
        let children = node.children.clone();
        let mut ranked = Vec::with_capacity(children.len());
        for child in children.into_iter().filter(|child| !self.nodes.contains_key(child)) {
            ranked.extend(
                self.working
                    .rank_and_child_count(self.layer, child)?
                    .map(|(rank, _)| (rank, child)),
            );
        }
        Ok(ranked)
    }

    /// The nearest remaining neighbor that has a lower rank, and room.
    fn near_parent(&mut self, slot: Slot, rank: u32) -> Result<Option<Slot>> {
        let mut edges = self.working.node(self.vectors, self.layer, slot)?.edges;
        edges.sort_unstable_by(Edge::order);
        edges.retain(|edge| !self.is_gone(Slot(edge.slot)));
        sort_by_angle(self.vectors, &mut edges)?;
        first_to_adopt(self.working, self.layer, &edges, rank, self.plan)
    }

    /// A node with its edges to removed nodes replaced. `None` if it has no such edge.
    fn mend(&self, slot: Slot) -> Result<Option<Mended>> {
        self.plan.check_cancelled()?;
        let mut node = self.working.unmeasured(self.layer, slot)?;
        let lost: Vec<&StoredNode> =
            node.edges.iter().filter_map(|edge| self.nodes.get(&Slot(edge.slot))).collect();
        if lost.is_empty() {
            return Ok(None);
        }
        node.edges.retain(|edge| !self.is_gone(Slot(edge.slot)));
        node.children.retain(|child| !self.is_gone(*child));
        if self.is_copy(slot, &node)? {
            if !node.edges.iter().any(|edge| edge.slot == node.parent.0) {
                node.edges.push(Edge { distance: f32::NAN, slot: node.parent.0 });
            }
            return Ok(Some(Mended { node, is_copy: true }));
        }
        let known: BTreeSet<u32> =
            node.edges.iter().map(|edge| edge.slot).chain([slot.0]).collect();
        let fresh: BTreeSet<u32> =
            lost.iter().flat_map(|lost| lost.neighbors.iter().copied()).collect();
        let fresh: Vec<u32> = fresh
            .into_iter()
            .filter(|slot| !known.contains(slot) && !self.is_gone(Slot(*slot)))
            .collect();
        let mut distances = Vec::new();
        self.vectors.distances(slot, &fresh, &mut distances)?;
        let mut candidates: Vec<Edge> = fresh
            .into_iter()
            .zip(distances)
            .map(|(slot, distance)| Edge { distance, slot })
            .collect();
        candidates.sort_unstable_by(Edge::order);
        let count = lost.len() * REPLACEMENTS;
        candidates.truncate(count * CANDIDATES);
        let limit = self.plan.limit(self.layer);
        replenish(self.vectors, slot, &mut node.edges, &candidates, count, limit)?;
        Ok(Some(Mended { node, is_copy: false }))
    }
}
