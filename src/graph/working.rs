//! The graph during a build: the nodes that the build has changed (copy-on-write, in memory), over
//! the stored ones.
//!
//! A read returns the changed node if there is one, else the stored one. A changed node keeps the
//! distance of each edge, so that pruning never computes a distance from the node twice; a stored
//! list has no distances, and they are computed when they are first needed. Nodes that are not
//! touched are never loaded.

use std::collections::BTreeMap;

use super::edge::Edge;
use super::grown::{ENTRY_BYTES, Grown, is_removed};
use super::{Graph, Vectors};
use crate::distance::prefetch;
use crate::error::Result;
use crate::types::{Layer, Slot};

/// A node of one layer, as stored.
#[derive(Debug, Clone)]
pub(crate) struct StoredNode {
    /// Ascending.
    pub(crate) neighbors: Vec<u32>,
    pub(crate) children: Vec<Slot>,
    pub(crate) parent: Slot,
    pub(crate) rank: u32,
}

/// The graph before the build.
pub(crate) trait Stored: Graph + Sync {
    /// A node, if the layer has it.
    fn node(&self, layer: Layer, slot: Slot) -> Result<Option<StoredNode>>;

    /// The sources of the one-way edges to a node, which has no reverse edge to them.
    fn one_way_in_neighbors(&self, layer: Layer, slot: Slot) -> Result<Vec<u32>>;
}

/// A changed node of one layer.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) edges: Vec<Edge>,
    /// The nodes whose parent this is. Each has an edge here, once its batch is done.
    pub(crate) children: Vec<Slot>,
    pub(crate) parent: Slot,
    /// The position of the slot in linking order: a parent's rank is below those of its children.
    pub(crate) rank: u32,
}

/// The change that a build has made to a slot on one layer.
#[derive(Debug)]
pub(crate) enum Change {
    /// A node, new or with other edges.
    Node(Node),
    /// The node was removed.
    Gone,
}

/// The spare capacity, in edges, of a copy of a node.
const SPARE_EDGES: usize = 4;

/// The most edges that are added to a stored node before it is copied: more are searched slowly.
const MAX_GROWTH: usize = 16;

/// The memory that a build takes for a changed node of layer 0 until it is committed, in bytes, if
/// lists have at most `m0` edges: its edges with their distances and spare capacity, and the copy
/// of its list.
pub(crate) fn node_bytes(m0: usize) -> u64 {
    250 + 15 * m0 as u64
}

/// The same for each run of 64 slots with a changed node: the cells of a map.
pub(crate) const PAGE_BYTES: u64 = 4 << 10;

/// Entries of a page of [`Slots`].
const PAGE: usize = 64;

/// A map from slots.
#[derive(Debug)]
enum Slots<T> {
    /// In pages: as fast as an array where it is dense, small where it is sparse. A pointer a page.
    Pages(Vec<Option<Box<[Option<T>; PAGE]>>>),
    /// For a few slots of a great many.
    Sparse(BTreeMap<Slot, T>),
}

/// The size of the changed graph.
#[derive(Debug, Clone, Copy, Default)]
struct Changed {
    nodes: u64,
    /// Runs of [`PAGE`] slots that have one.
    pages: u64,
}

impl<T> Slots<T> {
    fn new(slots: usize, sparse: bool) -> Self {
        if sparse {
            Self::Sparse(BTreeMap::new())
        } else {
            Self::Pages(std::iter::repeat_with(|| None).take(slots.div_ceil(PAGE)).collect())
        }
    }

    #[inline]
    fn get(&self, slot: Slot) -> Option<&T> {
        match self {
            Self::Pages(pages) => {
                pages.get(slot.index() / PAGE)?.as_ref()?.get(slot.index() % PAGE)?.as_ref()
            }
            Self::Sparse(map) => map.get(&slot),
        }
    }

    fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        match self {
            Self::Pages(pages) => {
                pages.get_mut(slot.index() / PAGE)?.as_mut()?.get_mut(slot.index() % PAGE)?.as_mut()
            }
            Self::Sparse(map) => map.get_mut(&slot),
        }
    }

    /// Ignores a slot beyond the end. Counts what is new.
    fn set(&mut self, slot: Slot, value: T, changed: &mut Changed) {
        match self {
            Self::Pages(pages) => {
                let Some(page) = pages.get_mut(slot.index() / PAGE) else { return };
                let page = page.get_or_insert_with(|| {
                    changed.pages += 1;
                    Box::new([const { None }; PAGE])
                });
                let cell = &mut page[slot.index() % PAGE];
                changed.nodes += u64::from(cell.is_none());
                *cell = Some(value);
            }
            Self::Sparse(map) => {
                changed.nodes += u64::from(map.insert(slot, value).is_none());
            }
        }
    }

    /// Iterates by slot.
    fn iter(&self) -> impl Iterator<Item = (Slot, &T)> {
        self.range(0, usize::MAX)
    }

    /// Iterates over a range of slots, by slot.
    fn range(&self, from: usize, to: usize) -> impl Iterator<Item = (Slot, &T)> {
        let (pages, map) = match self {
            Self::Pages(pages) => (Some(pages), None),
            Self::Sparse(map) => (None, Some(map)),
        };
        let last = to.div_ceil(PAGE).saturating_sub(from / PAGE);
        let pages = pages
            .into_iter()
            .flatten()
            .enumerate()
            .skip(from / PAGE)
            .take(last)
            .filter_map(|(number, page)| Some((number, page.as_ref()?)));
        let is_in = move |slot: Slot| (from..to).contains(&slot.index());
        let paged = pages.flat_map(|(number, page)| {
            page.iter().enumerate().filter_map(move |(place, value)| {
                Some((Slot((number * PAGE + place) as u32), value.as_ref()?))
            })
        });
        let mapped = map.into_iter().flatten().map(|(slot, value)| (*slot, value));
        paged.chain(mapped).filter(move |(slot, _)| is_in(*slot))
    }
}

/// A second copy of the changed layer-0 lists, as slots only, at a fixed stride: a search computes
/// their address from the slot, and can prefetch them.
#[derive(Debug)]
struct Lists {
    /// The maximum length of a list stored here, plus one for its length field.
    stride: usize,
    /// For each slot the length of its list plus one, then its neighbors; 0 if the list must be
    /// looked up in its node.
    places: Vec<u32>,
}

impl Lists {
    fn new(slots: usize, longest: usize) -> Self {
        let stride = longest + 1;
        // Zeroed pages come from the allocator: none is touched before it is used.
        Self { stride, places: bytemuck::zeroed_vec(slots * stride) }
    }

    fn place(&self, slot: Slot) -> &[u32] {
        let start = slot.index() * self.stride;
        self.places.get(start..start + self.stride).unwrap_or_default()
    }

    #[inline]
    fn get(&self, slot: Slot) -> Option<&[u32]> {
        let (count, list) = self.place(slot).split_first()?;
        list.get(..(*count as usize).checked_sub(1)?)
    }

    fn set(&mut self, slot: Slot, change: &Change) {
        let start = slot.index() * self.stride;
        let Some((count, list)) =
            self.places.get_mut(start..start + self.stride).and_then(<[u32]>::split_first_mut)
        else {
            return;
        };
        let edges = match change {
            Change::Node(node) => &node.edges[..],
            Change::Gone => &[],
        };
        *count = if edges.len() <= list.len() { edges.len() as u32 + 1 } else { 0 };
        list.iter_mut().zip(edges).for_each(|(place, edge)| *place = edge.slot);
    }

    fn forget(&mut self, slot: Slot) {
        if let Some(count) = self.places.get_mut(slot.index() * self.stride) {
            *count = 0;
        }
    }
}

/// The graph of a build.
pub(crate) struct Working<'a> {
    pub(crate) stored: &'a dyn Stored,
    layers: Vec<Slots<Change>>,
    lists: Option<Lists>,
    /// The root of each layer, from layer 0 on.
    pub(crate) roots: Vec<Slot>,
    /// The rank of the next linked slot.
    pub(crate) next_rank: u32,
    changed: Changed,
    /// What was added to stored nodes that are not copied, in a build in bounded memory.
    grown: Option<Grown>,
    derived_bytes: u64,
}

impl Graph for Working<'_> {
    fn slots(&self) -> usize {
        self.stored.slots()
    }

    fn is_memory_bounded(&self) -> bool {
        self.stored.is_memory_bounded()
    }

    fn are_equal(&self, a: Slot, b: Slot) -> Result<bool> {
        self.stored.are_equal(a, b)
    }

    #[inline]
    fn neighbors(&self, layer: Layer, slot: Slot, out: &mut Vec<u32>) -> Result<()> {
        if layer.0 == 0
            && let Some(list) = self.lists.as_ref().and_then(|lists| lists.get(slot))
        {
            out.extend_from_slice(list);
            return Ok(());
        }
        match self.change(layer, slot) {
            Some(Change::Node(node)) => out.extend(node.edges.iter().map(|edge| edge.slot)),
            Some(Change::Gone) => {}
            None => {
                let from = out.len();
                self.stored.neighbors(layer, slot, out)?;
                if layer.0 == 0
                    && let Some(grown) = &self.grown
                {
                    add_grown(grown, slot, from, out);
                }
            }
        }
        Ok(())
    }

    #[inline]
    fn prefetch_neighbors(&self, layer: Layer, slot: Slot) {
        if layer.0 == 0
            && let Some(lists) = &self.lists
        {
            prefetch(bytemuck::cast_slice(lists.place(slot)));
        }
    }

    #[inline]
    fn is_cold(&self) -> bool {
        self.stored.is_cold()
    }

    fn has_list(&self, layer: Layer, slot: Slot) -> bool {
        self.change(layer, slot).is_some() || self.stored.has_list(layer, slot)
    }

    fn fetch_lists(&self, layer: Layer, slots: &[u32]) -> bool {
        self.stored.fetch_lists(layer, slots)
    }
}

impl<'a> Working<'a> {
    pub(crate) fn new(stored: &'a dyn Stored, roots: Vec<Slot>, next_rank: u32) -> Self {
        let layers =
            roots.iter().map(|_| Slots::new(stored.slots(), stored.is_memory_bounded())).collect();
        let changed = Changed::default();
        Self {
            stored,
            layers,
            lists: None,
            roots,
            next_rank,
            changed,
            grown: None,
            derived_bytes: u64::MAX,
        }
    }

    /// For changes to few nodes of a large graph: they take no more than their own bytes.
    pub(crate) fn sparse(mut self) -> Self {
        self.layers.fill_with(|| Slots::Sparse(BTreeMap::new()));
        self
    }

    /// For a build that changes most of the graph: keeps the layer-0 lists, of at most `longest`
    /// neighbors, at a fixed stride for fast searches. Takes 4 * (`longest` + 1) bytes a slot.
    pub(crate) fn with_lists(mut self, longest: usize) -> Self {
        self.lists = Some(Lists::new(self.stored.slots(), longest));
        self
    }

    /// For a build in bounded memory: from here on, edges are added to stored nodes of layer 0
    /// without copying these. What is derived from the changes may take `bytes` at a time.
    pub(crate) fn growing(&mut self, bytes: u64) {
        self.grown = Some(Grown::new(self.stored.slots()));
        self.derived_bytes = bytes;
        // The nodes of the layers above are few and far between.
        for layer in self.layers.iter_mut().skip(1).filter(|layer| layer.iter().next().is_none()) {
            *layer = Slots::Sparse(BTreeMap::new());
        }
    }

    /// The bytes that what is derived from the changes may take at a time.
    pub(crate) fn derived_bytes(&self) -> usize {
        usize::try_from(self.derived_bytes).unwrap_or(usize::MAX)
    }

    /// Whether edges are added to stored nodes without copying these.
    pub(crate) fn is_growing(&self) -> bool {
        self.grown.is_some()
    }

    /// What was added to a node of a layer, if it is not copied.
    fn grown(&self, layer: Layer, slot: Slot) -> Option<&Grown> {
        self.grown.as_ref().filter(|grown| layer.0 == 0 && grown.has(slot))
    }

    /// Whether `count` edges can be added to a node without copying it.
    pub(super) fn can_grow(&self, layer: Layer, slot: Slot, count: usize) -> bool {
        let Some(grown) = self.grown.as_ref().filter(|_| layer.0 == 0) else { return false };
        self.change(layer, slot).is_none()
            && grown.len() < i32::MAX as usize
            && grown.edges(slot).count() + count <= MAX_GROWTH
    }

    /// Adds an edge to a node that [can grow](Self::can_grow).
    pub(super) fn grow(&mut self, slot: Slot, edge: Edge) {
        if let Some(grown) = &mut self.grown {
            grown.add(slot, edge);
        }
    }

    /// The stored nodes of layer 0 in a range of slots to which edges were added.
    pub(crate) fn grown_slots(&self, from: usize, to: usize) -> impl Iterator<Item = Slot> {
        self.grown.iter().flat_map(move |grown| grown.slots(from, to))
    }

    /// The neighbors that a node of layer 0, which is not copied, has been given, and those that it
    /// has lost; ascending.
    pub(crate) fn growth(&self, slot: Slot) -> (Vec<u32>, Vec<u32>) {
        let Some(grown) = &self.grown else { return Default::default() };
        let removed = grown.removed(slot);
        let mut added: Vec<u32> = grown.edges(slot).map(|edge| edge.slot).collect();
        added.sort_unstable();
        let lost = removed.iter().map(|(_, target)| *target);
        let lost = lost.filter(|target| added.binary_search(target).is_err()).collect();
        added.retain(|target| !is_removed(removed, *target));
        (added, lost)
    }

    /// The number of edges that were added to stored nodes, and the number of copied nodes.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.grown.as_ref().map_or(0, Grown::len), self.changed.nodes as usize)
    }

    /// Records the edges that pruning has removed from grown nodes, as source and target, in order.
    pub(super) fn remove_grown(&mut self, removed: Vec<(u32, u32)>) {
        if let Some(grown) = &mut self.grown {
            grown.remove(removed);
        }
    }

    /// Makes a node the child of another, which has, or will have, an edge to it.
    pub(super) fn add_child(&mut self, layer: Layer, parent: Slot, child: Slot) -> Result<()> {
        if self.can_grow(layer, parent, 0)
            && let Some(grown) = &mut self.grown
        {
            grown.add_child(parent, child);
            return Ok(());
        }
        if let Some(node) = self.node_mut(layer, parent)? {
            node.children.push(child);
        }
        Ok(())
    }

    /// Adds a layer, with this slot as its root.
    pub(crate) fn push_layer(&mut self, root: Slot) {
        self.roots.push(root);
        if self.layers.len() < self.roots.len() {
            let is_sparse = self.stored.is_memory_bounded() || self.is_growing();
            self.layers.push(Slots::new(self.stored.slots(), is_sparse));
        }
    }

    /// The entry point: the layer and slot where searches begin, the root of the top layer.
    pub(crate) fn entry(&self) -> Option<(Layer, Slot)> {
        Some((Layer(self.roots.len().checked_sub(1)? as u8), *self.roots.last()?))
    }

    /// A node, if this build has changed it.
    #[cfg(test)]
    pub(crate) fn changed(&self, layer: Layer, slot: Slot) -> Option<&Node> {
        match self.change(layer, slot)? {
            Change::Node(node) => Some(node),
            Change::Gone => None,
        }
    }

    /// The change that this build has made to a slot, if any.
    #[inline]
    pub(crate) fn change(&self, layer: Layer, slot: Slot) -> Option<&Change> {
        self.layers.get(layer.index())?.get(slot)
    }

    /// All slots of a layer that this build has touched, in order, including layers that have
    /// become empty.
    pub(crate) fn changes(&self, layer: Layer) -> impl Iterator<Item = (Slot, &Change)> {
        self.layers.get(layer.index()).into_iter().flat_map(Slots::iter)
    }

    /// The same for a range of slots.
    pub(crate) fn changes_in(
        &self,
        layer: Layer,
        from: usize,
        to: usize,
    ) -> impl Iterator<Item = (Slot, &Change)> {
        self.layers.get(layer.index()).into_iter().flat_map(move |slots| slots.range(from, to))
    }

    /// All nodes of a layer that this build has changed, by slot.
    pub(crate) fn all_changed(&self, layer: Layer) -> impl Iterator<Item = (Slot, &Node)> {
        self.changes(layer).filter_map(|(slot, change)| match change {
            Change::Node(node) => Some((slot, node)),
            Change::Gone => None,
        })
    }

    /// The bytes that the changed nodes take until they are committed: an estimate, from counts
    /// that do not depend on threads.
    pub(crate) fn bytes(&self, m0: usize) -> u64 {
        let grown = self.grown.as_ref().map_or(0, |grown| grown.len() as u64 * ENTRY_BYTES);
        self.changed.nodes * node_bytes(m0) + self.changed.pages * PAGE_BYTES + grown
    }

    /// The number of layers, now or before the build, whichever is larger.
    pub(crate) fn layers(&self) -> usize {
        self.layers.len()
    }

    pub(crate) fn set(&mut self, layer: Layer, slot: Slot, node: Node) {
        self.put(layer, slot, Change::Node(node));
    }

    /// Removes a node. The caller must remove the edges to it.
    pub(crate) fn remove(&mut self, layer: Layer, slot: Slot) {
        self.put(layer, slot, Change::Gone);
    }

    /// Frees the second copies of the lists, once no search will need them.
    pub(crate) fn drop_lists(&mut self) {
        self.lists = None;
    }

    fn put(&mut self, layer: Layer, slot: Slot, change: Change) {
        if layer.0 == 0
            && let Some(lists) = &mut self.lists
        {
            lists.set(slot, &change);
        }
        if layer.0 == 0
            && let Some(grown) = &mut self.grown
        {
            grown.forget(slot);
        }
        if let Some(changes) = self.layers.get_mut(layer.index()) {
            changes.set(slot, change, &mut self.changed);
        }
    }

    /// The rank of a node, and the number of its children.
    pub(crate) fn rank_and_child_count(
        &self,
        layer: Layer,
        slot: Slot,
    ) -> Result<Option<(u32, usize)>> {
        match self.change(layer, slot) {
            Some(Change::Node(node)) => Ok(Some((node.rank, node.children.len()))),
            Some(Change::Gone) => Ok(None),
            None => {
                let added = self.grown(layer, slot).map_or(0, |grown| grown.children(slot).count());
                let node = self.stored.node(layer, slot)?;
                Ok(node.map(|node| (node.rank, node.children.len() + added)))
            }
        }
    }

    /// Makes a node the child of another, connected by an edge. The caller must update its previous
    /// parent, unless that is removed.
    pub(crate) fn attach(
        &mut self,
        vectors: &dyn Vectors,
        layer: Layer,
        parent: Slot,
        child: Slot,
    ) -> Result<()> {
        let mut distance = Vec::new();
        vectors.distances(parent, &[child.0], &mut distance)?;
        let edge = Edge { distance: distance.first().copied().unwrap_or_default(), slot: child.0 };
        if let Some(node) = self.node_mut(layer, parent)? {
            node.children.push(child);
            if !node.edges.iter().any(|edge| edge.slot == child.0) {
                node.edges.push(edge);
            }
        }
        self.set_parent(layer, child, parent)
    }

    pub(crate) fn set_parent(&mut self, layer: Layer, slot: Slot, parent: Slot) -> Result<()> {
        if let Some(node) = self.node_mut(layer, slot)? {
            node.parent = parent;
        }
        Ok(())
    }

    /// A copy of a node, changed or stored, with the distances of all its edges; without edges if
    /// the layer does not have it.
    pub(crate) fn node(&self, vectors: &dyn Vectors, layer: Layer, slot: Slot) -> Result<Node> {
        let mut node = self.unmeasured(layer, slot)?;
        node.measure(vectors, slot)?;
        Ok(node)
    }

    /// As [`node`](Self::node), but the distances of edges that come from the store are NaN.
    pub(crate) fn unmeasured(&self, layer: Layer, slot: Slot) -> Result<Node> {
        Ok(self.get(layer, slot)?.unwrap_or(Node {
            edges: Vec::new(),
            children: Vec::new(),
            parent: slot,
            rank: 0,
        }))
    }

    /// As [`unmeasured`](Self::unmeasured), if the layer has the node.
    pub(crate) fn get(&self, layer: Layer, slot: Slot) -> Result<Option<Node>> {
        match self.change(layer, slot) {
            Some(Change::Node(node)) => {
                // Spare capacity for what is usually added next saves another copy.
                let mut edges = Vec::with_capacity(node.edges.len() + SPARE_EDGES);
                edges.extend_from_slice(&node.edges);
                return Ok(Some(Node { edges, children: node.children.clone(), ..*node }));
            }
            Some(Change::Gone) => return Ok(None),
            None => {}
        }
        Ok(self.stored.node(layer, slot)?.map(|stored| {
            let mut edges: Vec<Edge> =
                stored.neighbors.iter().map(|&slot| Edge { distance: f32::NAN, slot }).collect();
            let mut children = stored.children;
            if let Some(grown) = self.grown(layer, slot) {
                edges.extend(grown.edges(slot));
                children.extend(grown.children(slot));
                let removed = grown.removed(slot);
                edges.retain(|edge| !is_removed(removed, edge.slot));
            }
            Node { edges, children, parent: stored.parent, rank: stored.rank }
        }))
    }

    /// A mutable node. The distances of edges that come from the store are NaN.
    pub(crate) fn node_mut(&mut self, layer: Layer, slot: Slot) -> Result<Option<&mut Node>> {
        if self.change(layer, slot).is_none() {
            let node = self.unmeasured(layer, slot)?;
            self.set(layer, slot, node);
        }
        if layer.0 == 0
            && let Some(lists) = &mut self.lists
        {
            lists.forget(slot);
        }
        Ok(match self.layers.get_mut(layer.index()).and_then(|changes| changes.get_mut(slot)) {
            Some(Change::Node(node)) => Some(node),
            _ => None,
        })
    }
}

/// Completes the stored list of a node, which begins at `from`, by what was added and removed.
#[inline]
fn add_grown(grown: &Grown, slot: Slot, from: usize, out: &mut Vec<u32>) {
    if !grown.has(slot) {
        return;
    }
    out.extend(grown.edges(slot).map(|edge| edge.slot));
    let removed = grown.removed(slot);
    if !removed.is_empty() {
        let mut at = 0;
        out.retain(|target| {
            at += 1;
            at <= from || !is_removed(removed, *target)
        });
    }
}

impl Node {
    /// Computes the distances that are not known yet. `slot` is the node's own.
    pub(crate) fn measure(&mut self, vectors: &dyn Vectors, slot: Slot) -> Result<()> {
        let unknown: Vec<u32> =
            self.edges.iter().filter(|edge| edge.distance.is_nan()).map(|edge| edge.slot).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let mut distances = Vec::new();
        vectors.distances(slot, &unknown, &mut distances)?;
        for (edge, distance) in
            self.edges.iter_mut().filter(|edge| edge.distance.is_nan()).zip(distances)
        {
            edge.distance = distance;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A store with room for slots and no graph.
    pub(crate) struct Nothing(pub(crate) usize);

    impl Graph for Nothing {
        fn slots(&self) -> usize {
            self.0
        }

        fn are_equal(&self, a: Slot, b: Slot) -> Result<bool> {
            Ok(a == b)
        }

        fn neighbors(&self, _: Layer, _: Slot, _: &mut Vec<u32>) -> Result<()> {
            Ok(())
        }
    }

    impl Stored for Nothing {
        fn node(&self, _: Layer, _: Slot) -> Result<Option<StoredNode>> {
            Ok(None)
        }

        fn one_way_in_neighbors(&self, _: Layer, _: Slot) -> Result<Vec<u32>> {
            Ok(Vec::new())
        }
    }

    #[test]
    fn both_maps_hold_what_they_are_given_in_order() {
        for sparse in [false, true] {
            let (mut slots, mut changed) = (Slots::new(130, sparse), Changed::default());
            for slot in [129, 64, 63, 0] {
                slots.set(Slot(slot), slot, &mut changed);
            }
            assert_eq!((changed.nodes, changed.pages), (4, if sparse { 0 } else { 3 }));
            slots.set(Slot(64), 64, &mut changed);
            assert_eq!(changed.nodes, 4, "it was there");
            assert_eq!(slots.get(Slot(64)), Some(&64));
            assert_eq!(slots.get(Slot(65)), None);
            *slots.get_mut(Slot(64)).unwrap() = 640;
            assert_eq!(
                slots.iter().map(|(slot, value)| (slot.0, *value)).collect::<Vec<_>>(),
                [(0, 0), (63, 63), (64, 640), (129, 129)]
            );
        }
    }
}
