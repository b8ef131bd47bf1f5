//! Writing the graph of a build: computes which records change, and the values that hold them.
//!
//! The build knows the neighbor lists that changed. Their difference from the stored ones gives the
//! in-neighbors that change, both together give the records, and these the groups. A group without
//! a changed record is not read.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::format::Kind;
use crate::format::links::{OneWay, Record, encode_group, encode_record};
use crate::graph::Graph;
use crate::graph::working::{Change, Node, Working};
use crate::store::GoOn;
use crate::store::source::AnySource;
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
        go_on: &GoOn<'_>,
    ) -> Result<Self> {
        let puts = changes(view, &working, go_on)?;
        Ok(Self { puts, anew, roots: working.roots, next_rank: working.next_rank, growth })
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
    change: Option<&'a Change>,
    in_edges: &'a [InEdge],
}

/// Every value that differs after the build, in key order.
fn changes(view: &Before<'_, '_>, working: &Working<'_>, go_on: &GoOn<'_>) -> Result<Vec<Put>> {
    let mut changes = Vec::new();
    for layer in (0..working.layers()).map(|layer| Layer(layer as u8)) {
        changes.extend(layer_changes(view, working, layer, go_on)?);
    }
    threads::sort_by_key(&mut changes, |(key, _)| *key);
    Ok(changes)
}

fn layer_changes(
    view: &Before<'_, '_>,
    working: &Working<'_>,
    layer: Layer,
    go_on: &GoOn<'_>,
) -> Result<Vec<Put>> {
    let in_edges = in_edges(view, working, layer, go_on)?;
    let mut affected: BTreeMap<Slot, Affected<'_>> = working
        .changes(layer)
        .map(|(slot, change)| (slot, Affected { change: Some(change), in_edges: &[] }))
        .collect();
    for group in in_edges.chunk_by(|a, b| a.target == b.target) {
        affected.entry(group[0].target).or_default().in_edges = group;
    }
    let size = view.group_size()?;
    let affected: Vec<(Slot, Affected<'_>)> = affected.into_iter().collect();
    let groups: Vec<&[(Slot, Affected<'_>)]> =
        affected.chunk_by(|(a, _), (b, _)| a.index() / size == b.index() / size).collect();
    let changes = threads::map(&groups, LISTS, |group| {
        go_on().and_then(|()| group_changes(view, layer, group, size))
    })?;
    Ok(changes.into_iter().flatten().collect())
}

/// For each pair of nodes with an added or removed edge: which of the two, if any, is now a one-way
/// in-neighbor of the other.
fn in_edges(
    view: &Before<'_, '_>,
    working: &Working<'_>,
    layer: Layer,
    go_on: &GoOn<'_>,
) -> Result<Vec<InEdge>> {
    let touched: Vec<(Slot, &Change)> = working.changes(layer).collect();
    let is_gone = |slot| matches!(working.change(layer, slot), Some(Change::Gone));
    let per_slot = |(slot, change): &(Slot, &Change)| -> Result<Vec<InEdge>> {
        go_on()?;
        let now = match change {
            Change::Node(node) => sorted_slots(node),
            Change::Gone => Vec::new(),
        };
        let before = view.record(layer, *slot)?.map(|record| record.neighbors).unwrap_or_default();
        let added = now
            .iter()
            .filter(|other| before.binary_search(other).is_err())
            .map(|&other| (other, true));
        let gone = before
            .iter()
            .filter(|other| now.binary_search(other).is_err())
            .map(|&other| (other, false));
        let mut in_edges = Vec::with_capacity(now.len());
        let mut list = Vec::new();
        for (other, forward) in added.chain(gone) {
            let backward = match working.change(layer, Slot(other)) {
                Some(Change::Node(node)) => node.edges.iter().any(|edge| edge.slot == slot.0),
                Some(Change::Gone) => false,
                None => {
                    list.clear();
                    view.neighbors(layer, Slot(other), &mut list)?;
                    list.binary_search(&slot.0).is_ok()
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
        in_edges.retain(|edge| (edge.one_way || view.has_graph(layer)) && !is_gone(edge.target));
        Ok(in_edges)
    };
    let mut in_edges: Vec<InEdge> =
        threads::map(&touched, LISTS, per_slot)?.into_iter().flatten().collect();
    threads::sort_by_key(&mut in_edges, |edge| *edge);
    in_edges.dedup();
    Ok(in_edges)
}

fn sorted_slots(node: &Node) -> Vec<u32> {
    let mut slots: Vec<u32> = node.edges.iter().map(|edge| edge.slot).collect();
    slots.sort_unstable();
    slots
}

/// The changed values of one LINKS group.
fn group_changes(
    view: &Before<'_, '_>,
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
        if matches!(affected.change, Some(Change::Gone)) {
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
        let record = match (affected.change, stored) {
            (Some(Change::Gone), _) => continue,
            (Some(Change::Node(node)), _) => {
                let neighbors = sorted_slots(node);
                let children =
                    neighbors.iter().map(|slot| node.children.contains(&Slot(*slot))).collect();
                Record { neighbors, parent: node.parent, rank: node.rank, children, one_way }
            }
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
