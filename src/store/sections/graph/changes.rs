//! Writing the graph of a build: computes which records change, and the values that hold them.
//!
//! The build knows the neighbor lists that changed. Their difference from the stored ones gives the
//! in-neighbors that change, both together give the records, and these the groups. A group without
//! a changed record is not read.
//!
//! A build in bounded memory changes most lists by an edge or two. Then this goes through ranges of
//! slots, one after the other, and finds the in-neighbors that change in one range at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use crate::error::{Error, Result};
use crate::format::links::{OneWay, Record, encode_group, encode_record};
use crate::format::{Key, Kind};
use crate::graph::Graph;
use crate::graph::working::{Change, Node, Working};
use crate::store::GoOn;
use crate::store::source::AnySource;
use crate::store::spool::Spool;
use crate::store::target::Put;
use crate::store::view::View;
use crate::threads::{self, LISTS};
use crate::types::{Layer, Slot};

/// The graph before a build, shared by all threads.
pub(in crate::store) type Before<'s, 't> = View<'s, 't, AnySource<'s, 't>>;

/// A built graph, as its difference from the graph before.
#[derive(Debug)]
pub(crate) struct Changes {
    /// Changed values of the graph, in key order.
    pub(crate) puts: Vec<Put>,
    /// Others, of a build in bounded memory.
    pub(crate) spooled: Option<SpooledPuts>,
    /// Whether all values of the old graph are deleted first.
    pub(crate) anew: bool,
    /// The root of each layer.
    pub(crate) roots: Vec<Slot>,
    pub(crate) next_rank: u32,
    /// The growth of distances in the data, if the build has measured it.
    pub(crate) growth: Option<f32>,
}

impl Changes {
    /// Computes all changes of the build of `working`.
    pub(crate) fn new(
        view: &Before<'_, '_>,
        working: Working<'_>,
        anew: bool,
        growth: Option<f32>,
        temp_dir: Option<&Path>,
        go_on: &GoOn<'_>,
    ) -> Result<Self> {
        let mut spooled =
            working.is_growing().then(|| SpooledPuts::new(working.derived_bytes(), temp_dir));
        let puts = changes(view, &working, &mut spooled, go_on)?;
        let Working { roots, next_rank, .. } = working;
        Ok(Self { puts, spooled, anew, roots, next_rank, growth })
    }

    /// The groups of lists of layer 0 that change.
    pub(crate) fn list_groups(&self) -> impl Iterator<Item = usize> {
        let spooled = self.spooled.iter().flat_map(|spooled| &spooled.keys);
        let keys = self.puts.iter().map(|(key, _)| key).chain(spooled);
        keys.filter(|key| key.kind == Kind::LINKS && key.sub == 0).map(|key| key.n as usize)
    }

    /// Whether a value is among the changed ones.
    pub(crate) fn has(&self, key: Key) -> bool {
        self.puts.binary_search_by_key(&key, |(key, _)| *key).is_ok()
            || self.spooled.as_ref().is_some_and(|spooled| spooled.keys.contains(&key))
    }
}

/// Values that are to be put, in a temporary file.
#[derive(Debug)]
pub(crate) struct SpooledPuts {
    keys: BTreeSet<Key>,
    /// In the order in which they were added: keys, and the lengths of bodies, if there are any.
    entries: Vec<(Key, Option<u32>)>,
    bodies: Spool,
}

impl SpooledPuts {
    fn new(memory_bytes: usize, temp_dir: Option<&Path>) -> Self {
        let bodies = Spool::new(memory_bytes, temp_dir);
        Self { keys: BTreeSet::new(), entries: Vec::new(), bodies }
    }

    fn add(&mut self, puts: Vec<Put>) -> Result<()> {
        for (key, body) in puts {
            self.keys.insert(key);
            self.entries.push((key, body.as_ref().map(|body| body.len() as u32)));
            body.map_or(Ok(()), |body| self.bodies.write(&body))?;
        }
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Calls `put` for all values in order.
    pub(crate) fn each(&mut self, mut put: impl FnMut(Put) -> Result<()>) -> Result<()> {
        let mut bodies = self.bodies.read()?;
        for (key, length) in &self.entries {
            let body = length.map(|length| {
                let mut body = vec![0; length as usize];
                bodies.read_exact(&mut body).map(|()| body)
            });
            put((*key, body.transpose()?))?;
        }
        Ok(())
    }
}

/// An edge between two nodes, and whether `source` is a one-way in-neighbor of `target`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct InEdge {
    target: Slot,
    source: u32,
    one_way: bool,
}

/// The known changes of a node's record.
#[derive(Debug, Default)]
struct Affected<'a> {
    touched: Option<Touched<'a>>,
    in_edges: &'a [InEdge],
}

/// How a build has changed a node.
#[derive(Debug, Clone, Copy)]
enum Touched<'a> {
    /// It was copied, and changed.
    Changed(&'a Change),
    /// Edges were added to it, and removed.
    Grown,
}

/// In-edges for each edge that was added to a stored node: it has changed in both directions, and
/// may have taken the place of another; and for each edge of a copied node.
const IN_EDGES_PER_EDGE: usize = 4;
const EDGES_OF_A_NODE: usize = 32;
/// Touched slots that are compared with what is stored at a time.
const TOUCHED_AT_ONCE: usize = 1 << 14;

/// Every value that differs after the build, in key order, except those that are spooled.
fn changes(
    view: &Before<'_, '_>,
    working: &Working<'_>,
    spooled: &mut Option<SpooledPuts>,
    go_on: &GoOn<'_>,
) -> Result<Vec<Put>> {
    let mut changes = Vec::new();
    for layer in (0..working.layers()).map(|layer| Layer(layer as u8)) {
        changes.extend(layer_changes(view, working, layer, spooled, go_on)?);
    }
    threads::sort_by_key(&mut changes, |(key, _)| *key);
    Ok(changes)
}

fn layer_changes(
    view: &Before<'_, '_>,
    working: &Working<'_>,
    layer: Layer,
    spooled: &mut Option<SpooledPuts>,
    go_on: &GoOn<'_>,
) -> Result<Vec<Put>> {
    let size = view.group_size()?;
    let slots = view.slots();
    let at_once = slots_at_once(working, slots).next_multiple_of(size);
    let mut changes = Vec::new();
    for from in (0..slots.max(1)).step_by(at_once) {
        let puts = range_changes(view, working, layer, from..from + at_once, go_on)?;
        match spooled {
            Some(spooled) => spooled.add(puts)?,
            None => changes.extend(puts),
        }
    }
    Ok(changes)
}

/// The number of slots whose changes are computed at a time.
fn slots_at_once(working: &Working<'_>, slots: usize) -> usize {
    let (grown, copied) = working.sizes();
    if !working.is_growing() {
        return slots.max(1);
    }
    let edges = grown + copied * EDGES_OF_A_NODE;
    let ranges =
        (edges * IN_EDGES_PER_EDGE * size_of::<InEdge>()).div_ceil(working.derived_bytes().max(1));
    slots.div_ceil(ranges.max(1)).max(1)
}

/// The slots of a range that a build has touched on a layer.
fn touched<'w>(
    working: &'w Working<'_>,
    layer: Layer,
    range: &Range<usize>,
) -> Vec<(Slot, Touched<'w>)> {
    let (from, to) = (range.start, range.end);
    let changes = working.changes_in(layer, from, to);
    let mut touched: Vec<(Slot, Touched<'_>)> =
        changes.map(|(slot, change)| (slot, Touched::Changed(change))).collect();
    if layer.0 == 0 && working.is_growing() {
        touched.extend(working.grown_slots(from, to).map(|slot| (slot, Touched::Grown)));
        touched.sort_unstable_by_key(|(slot, _)| *slot);
    }
    touched
}

/// The changed values of a range of slots, which begins and ends with a group.
fn range_changes(
    view: &Before<'_, '_>,
    working: &Working<'_>,
    layer: Layer,
    range: Range<usize>,
    go_on: &GoOn<'_>,
) -> Result<Vec<Put>> {
    let in_edges = in_edges(view, working, layer, &range, go_on)?;
    let mut affected: BTreeMap<Slot, Affected<'_>> = touched(working, layer, &range)
        .into_iter()
        .map(|(slot, touched)| (slot, Affected { touched: Some(touched), in_edges: &[] }))
        .collect();
    for group in in_edges.chunk_by(|a, b| a.target == b.target) {
        affected.entry(group[0].target).or_default().in_edges = group;
    }
    let size = view.group_size()?;
    let affected: Vec<(Slot, Affected<'_>)> = affected.into_iter().collect();
    let groups: Vec<&[(Slot, Affected<'_>)]> =
        affected.chunk_by(|(a, _), (b, _)| a.index() / size == b.index() / size).collect();
    let changes = threads::map(&groups, LISTS, |group| {
        go_on().and_then(|()| group_changes(view, working, layer, group, size))
    })?;
    Ok(changes.into_iter().flatten().collect())
}

/// For each pair of nodes with an added or removed edge: which of the two, if any, is now a one-way
/// in-neighbor of the other. Only those whose target is in the range.
fn in_edges(
    view: &Before<'_, '_>,
    working: &Working<'_>,
    layer: Layer,
    range: &Range<usize>,
    go_on: &GoOn<'_>,
) -> Result<Vec<InEdge>> {
    let is_gone = |slot| matches!(working.change(layer, slot), Some(Change::Gone));
    let is_wanted = |slot: Slot| range.contains(&slot.index());
    let per_slot = |(slot, touched): &(Slot, Touched<'_>)| -> Result<Vec<InEdge>> {
        go_on()?;
        let [added, gone] = difference(view, working, layer, *slot, *touched)?;
        let added = added.into_iter().map(|other| (other, true));
        let gone = gone.into_iter().map(|other| (other, false));
        let (mut in_edges, mut list) = (Vec::new(), Vec::new());
        for (other, forward) in added.chain(gone) {
            if !is_wanted(*slot) && !is_wanted(Slot(other)) {
                continue;
            }
            let backward = match working.change(layer, Slot(other)) {
                Some(Change::Node(node)) => node.edges.iter().any(|edge| edge.slot == slot.0),
                Some(Change::Gone) => false,
                None => {
                    list.clear();
                    working.neighbors(layer, Slot(other), &mut list)?;
                    list.contains(&slot.0)
                }
            };
            in_edges.push(InEdge {
                target: Slot(other),
                source: slot.0,
                one_way: forward && !backward,
            });
            in_edges.push(InEdge { target: *slot, source: other, one_way: backward && !forward });
        }
        // Without a stored graph there is nothing to remove.
        in_edges.retain(|edge| {
            (edge.one_way || view.has_graph(layer))
                && !is_gone(edge.target)
                && is_wanted(edge.target)
        });
        Ok(in_edges)
    };
    let slots = view.slots();
    let at_once = if working.is_growing() { TOUCHED_AT_ONCE } else { slots.max(1) };
    let mut in_edges: Vec<InEdge> = Vec::new();
    for from in (0..slots.max(1)).step_by(at_once) {
        let touched = touched(working, layer, &(from..from + at_once));
        in_edges.extend(threads::map(&touched, LISTS, per_slot)?.into_iter().flatten());
    }
    threads::sort_by_key(&mut in_edges, |edge| *edge);
    in_edges.dedup();
    Ok(in_edges)
}

/// The neighbors that a touched node has now and had not before, and those that it had and has not
/// now.
fn difference(
    view: &Before<'_, '_>,
    working: &Working<'_>,
    layer: Layer,
    slot: Slot,
    touched: Touched<'_>,
) -> Result<[Vec<u32>; 2]> {
    let now = match touched {
        Touched::Changed(Change::Node(node)) => sorted_slots(node),
        Touched::Changed(Change::Gone) => Vec::new(),
        Touched::Grown => return Ok(working.growth(slot).into()),
    };
    let before = view.record(layer, slot)?.map(|record| record.neighbors).unwrap_or_default();
    let not_in = |list: &[u32], others: &[u32]| -> Vec<u32> {
        list.iter().filter(|other| others.binary_search(other).is_err()).copied().collect()
    };
    Ok([not_in(&now, &before), not_in(&before, &now)])
}

fn sorted_slots(node: &Node) -> Vec<u32> {
    let mut slots: Vec<u32> = node.edges.iter().map(|edge| edge.slot).collect();
    slots.sort_unstable();
    slots
}

/// The record of a changed node.
fn record(node: &Node, one_way: OneWay) -> Record {
    let neighbors = sorted_slots(node);
    let children = neighbors.iter().map(|slot| node.children.contains(&Slot(*slot))).collect();
    Record { neighbors, parent: node.parent, rank: node.rank, children, one_way }
}

/// The changed values of one LINKS group.
fn group_changes(
    view: &Before<'_, '_>,
    working: &Working<'_>,
    layer: Layer,
    affected: &[(Slot, Affected<'_>)],
    size: usize,
) -> Result<Vec<Put>> {
    let Some((first, _)) = affected.first() else { return Ok(Vec::new()) };
    let group = first.index() / size;
    let mut records = view.group_records(layer, group)?;
    let mut changes = Vec::new();
    for (slot, affected) in affected {
        let stored = view.record(layer, *slot)?;
        let mut one_way = match &stored {
            Some(record) => view.one_way(layer, *slot, record)?,
            None => Vec::new(),
        };
        for edge in affected.in_edges {
            match (one_way.binary_search(&edge.source), edge.one_way) {
                (Err(at), true) => one_way.insert(at, edge.source),
                (Ok(at), false) => drop(one_way.remove(at)),
                _ => {}
            }
        }
        if matches!(affected.touched, Some(Touched::Changed(Change::Gone))) {
            one_way.clear();
        }
        let was_elsewhere =
            stored.as_ref().is_some_and(|record| record.one_way == OneWay::Elsewhere);
        let (one_way, body) = OneWay::place(one_way);
        if body.is_some() || was_elsewhere {
            changes.push((view.key(Kind::IN, layer.0, slot.0), body));
        }
        let bytes = &mut records[slot.index() % size];
        bytes.clear();
        let record = match (affected.touched, stored) {
            (Some(Touched::Changed(Change::Gone)), _) => continue,
            (Some(Touched::Changed(Change::Node(node))), _) => record(node, one_way),
            (Some(Touched::Grown), _) => record(&working.unmeasured(layer, *slot)?, one_way),
            (None, Some(stored)) => Record { one_way, ..stored },
            (None, None) => {
                return Err(Error::corrupt(
                    view.key(Kind::LINKS, layer.0, group as u32),
                    "a node that has an in-edge is missing",
                ));
            }
        };
        encode_record(&record, bytes);
    }
    let [links, spill] = encode_group(&records);
    let spilled_before = view.has_spill(layer, group)?;
    changes.push((view.key(Kind::LINKS, layer.0, group as u32), links));
    if spill.is_some() || spilled_before {
        changes.push((view.key(Kind::SPILL, layer.0, group as u32), spill));
    }
    Ok(changes)
}
