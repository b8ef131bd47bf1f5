//! Construction: links slots in batches that double in size, from one to a fiftieth of the graph.
//!
//! 1. Each slot of a batch searches the graph as of before the batch, in parallel (algorithm 1 of
//!    Malkov and Yashunin 2018), and prunes the candidates it finds to its own edges.
//! 2. In order, each slot gets a parent: the nearest of its neighbors that has room for another
//!    child.
//! 3. Reverse edges, which make the new edges bidirectional, are grouped by target, and each target
//!    is merged, and pruned if it overflows, once, in parallel.
//!
//! Step 1 reads only what no step writes, step 2 is sequential, step 3 changes each node once: the
//! graph depends on the seed, not on threads (ParlayANN, Manohar et al. 2024). Every build starts
//! with a batch of one slot, so that new slots that are far from all others find each other. Lists
//! may overflow by a quarter between prunes; none does at the end.
//!
//! Of the slots with one vector, the first linked is their **lead**: an ordinary node. The others,
//! its duplicates, are **copies**: nodes of layer 0 that have edges to their parent and their
//! children only, in a tree below the lead. Searches of a build skip copies, so that they find as
//! many different vectors as requested, and everything else is linked to the lead. (As ordinary
//! nodes, copies would have each other for neighbors, and a search that reaches one would reach
//! nothing else.)

use std::sync::atomic::{AtomicU64, Ordering};

use rand::{Rng, RngExt};

use super::beam::{Beam, Scope};
use super::edge::Edge;
use super::plan::{HEADROOM, Plan};
use super::products::sort_by_angle;
use super::prune::{Limit, prune};
use super::tree::{choose_parent, copy_parent, first_to_adopt};
use super::working::{Node, Working, node_bytes};
use super::{DistanceComputer, FromSlot, Graph, Vectors};
use crate::error::Result;
use crate::threads::{self, LISTS, SEARCHES};
use crate::types::{Layer, Slot};

/// The neighbors, by rank, whose distances measure the growth of distances: the usual k, and the
/// number that a thorough search visits.
const GROWTH_FROM: usize = 10;
const GROWTH_TO: usize = 80;

/// The batch size of a build doubles from 1 on. A batch is at most this fraction (1/50) of the
/// graph including the slots linked before it, because its members do not see each other.
const BATCH_DIVISOR: usize = 50;
/// A node of layer 0 with at most this many edges is hard to find: the nodes near it have pruned
/// their edges to it.
const LOW_DEGREE: usize = 5;
/// The `ef` with which a search must find such a node.
const UNFINDABLE_EF: usize = 24;
/// The candidates considered for each edge of a list, the nearest that a search has found: farther
/// ones are nearly always occluded by a nearer one, and checking them takes a fifth of a build.
const PRUNE_CANDIDATES_PER_EDGE: usize = 3;
/// The number of nearest candidates kept for the choice of a parent, beside the selected neighbors.
const PARENT_CANDIDATES: usize = 32;
/// Of the bytes that the changed nodes may still take, a batch uses at most this fraction (1/8), if
/// each of its slots changes no other node: so a build that ends where they are reached exceeds
/// them little.
const ROOM_DIVISOR: u64 = 8;
/// Slots whose grown lists are pruned at a time.
const GROWN_AT_ONCE: usize = 1 << 16;
/// Lists that a thread has read from disk at a time.
const FETCHED_AT_ONCE: usize = 256;
/// Of a region of slots that are linked one region after the other, the fraction (1/16) that one
/// batch links at most: its slots are near each other, and do not see each other.
const REGION_DIVISOR: usize = 16;
/// The highest top layer that a slot can have.
const MAX_TOP_LAYER: f64 = (crate::format::meta::MAX_LAYERS - 1) as f64;

/// A slot to link, and its top layer.
#[derive(Debug, Clone, Copy)]
struct Newcomer {
    slot: Slot,
    top: Layer,
}

/// What step 1 found for a slot on one layer.
struct Found {
    /// Its edges, the nearest first.
    edges: Vec<Edge>,
    /// The candidates for its parent, the best first: the edges, then the nearest candidates of the
    /// search, whether they became edges or not; or all by their angles (`products`).
    parents: Vec<Edge>,
    /// A candidate with the same vector.
    equal: Option<Edge>,
}

/// A reverse edge, to be added to an existing list.
struct Reverse {
    layer: Layer,
    target: Slot,
    edge: Edge,
}

/// Links `slots`, none of which is in the graph yet; `linked` others are. Returns the slots that
/// were not linked because the plan's bytes were reached; at least one batch is linked.
pub(crate) fn insert(
    working: &mut Working<'_>,
    vectors: &dyn Vectors,
    slots: &[Slot],
    linked: usize,
    plan: &Plan<'_>,
    rng: &mut dyn Rng,
) -> Result<Vec<Slot>> {
    let newcomers: Vec<Newcomer> =
        slots.chunks(plan.region).flat_map(|region| draw(region, plan.m, rng)).collect();
    let (mut done, mut size) = (0, 1);
    while done < newcomers.len() {
        let room = plan.most_bytes.saturating_sub(working.bytes(plan.m0));
        if room == 0 && done > 0 {
            break;
        }
        let fitting = (room / ROOM_DIVISOR / node_bytes(plan.m0)).max(1);
        let largest = ((linked + done) / BATCH_DIVISOR).min(plan.region / REGION_DIVISOR);
        let largest = largest.max(1).min(fitting as usize);
        let batch = &newcomers[done..newcomers.len().min(done + size.min(largest))];
        insert_batch(working, vectors, batch, done as u64, plan)?;
        done += batch.len();
        size = size.saturating_mul(2);
    }
    Ok(newcomers[done..].iter().map(|newcomer| newcomer.slot).collect())
}

/// Gives nodes of layer 0 the edges that they would get if they were linked now, in addition to
/// those to their children. For nodes that have lost edges: their neighborhood has changed, and too
/// little of it may be left for a repair.
pub(crate) fn refresh(
    working: &mut Working<'_>,
    vectors: &dyn Vectors,
    slots: &[Slot],
    plan: &Plan<'_>,
) -> Result<()> {
    let layer = Layer(0);
    let frozen = &*working;
    let refreshed = threads::map(slots, SEARCHES, |&slot| -> Result<(Slot, Node)> {
        plan.check_cancelled()?;
        let mut node = frozen.unmeasured(layer, slot)?;
        let near = Beam::with(|[beam]| {
            nearest(frozen, &FromSlot(vectors, slot), plan.ef_construction, beam)
        })?;
        node.edges
            .extend(near.into_iter().take(PARENT_CANDIDATES).filter(|edge| edge.slot != slot.0));
        prune_node(vectors, slot, &mut node, plan.limit(layer))?;
        Ok((slot, node))
    })?;
    let mut reverse = Vec::new();
    for (slot, node) in refreshed {
        reverse.extend(node.edges.iter().map(|edge| Reverse {
            layer,
            target: Slot(edge.slot),
            edge: Edge { distance: edge.distance, slot: slot.0 },
        }));
        working.set(layer, slot, node);
    }
    merge(working, vectors, reverse, plan)
}

/// Must be called once at the end of a build: then no list is too long, and every root has an
/// in-edge.
pub(crate) fn finish(
    working: &mut Working<'_>,
    vectors: &dyn Vectors,
    plan: &Plan<'_>,
) -> Result<()> {
    prune_grown(working, vectors, plan)?;
    prune_overflows(working, vectors, plan)?;
    reattach_unfindable(working, vectors, plan)?;
    prune_overflows(working, vectors, plan)?;
    reach_roots(working, vectors, plan)
}

/// Measures how distances grow around the vectors of a sample: `g`, if the `a * n`-th neighbor is
/// `a^g` times as far as the `n`-th. This is the inverse of the local intrinsic dimensionality
/// (LID), up to the power to which the metric raises distances. The mean over the sample; 0 if at
/// most half of it has enough neighbors at positive distances, and under inner products. The
/// neighbors are found by `vectors`, and ranked by `exact`.
pub(crate) fn growth(
    working: &Working<'_>,
    vectors: &dyn Vectors,
    exact: &dyn Vectors,
    sample: &[Slot],
) -> Result<f32> {
    // Negated products are no lengths: one is not twice as far as another.
    if vectors.are_products() {
        return Ok(0.0);
    }
    let of = |slot: &Slot| -> Result<Option<f64>> {
        let mut near =
            Beam::with(|[beam]| nearest(working, &FromSlot(vectors, *slot), GROWTH_TO + 1, beam))?;
        let slots: Vec<u32> = near.iter().map(|edge| edge.slot).collect();
        exact.fetch(&slots);
        rerank(exact, *slot, &mut near)?;
        // The first is the vector itself.
        let at = |nth: usize| {
            near.get(nth).map(|edge| f64::from(edge.distance)).filter(|distance| *distance > 0.0)
        };
        Ok(at(GROWTH_FROM)
            .zip(at(GROWTH_TO))
            .map(|(from, to)| (to / from).ln() / (GROWTH_TO as f64 / GROWTH_FROM as f64).ln()))
    };
    let found: Vec<f64> = threads::map(sample, SEARCHES, of)?.into_iter().flatten().collect();
    let is_enough = 2 * found.len() > sample.len();
    Ok(if is_enough { (found.iter().sum::<f64>() / found.len() as f64) as f32 } else { 0.0 })
}

/// Makes the nodes that are hardest to find findable. A node with few edges has few in-edges, and
/// one without an edge to its own parent may lie in a group that only that parent's edge leads to.
/// A node of layer 0 that a narrow search for its own vector does not find becomes a child of the
/// node where such a search ends: as child edges are never pruned, the search finds it from then
/// on.
fn reattach_unfindable(
    working: &mut Working<'_>,
    vectors: &dyn Vectors,
    plan: &Plan<'_>,
) -> Result<()> {
    let layer = Layer(0);
    let is_hard = |node: &Node| {
        node.edges.len() <= LOW_DEGREE || !node.edges.iter().any(|edge| edge.slot == node.parent.0)
    };
    let hard =
        working.all_changed(layer).filter(|(slot, node)| node.parent != *slot && is_hard(node));
    let hard: Vec<(Slot, Slot)> = hard.map(|(slot, node)| (slot, node.parent)).collect();
    let frozen = &*working;
    let lost =
        threads::map(&hard, SEARCHES, |&(slot, parent)| -> Result<Option<(Slot, Vec<Edge>)>> {
            plan.check_cancelled()?;
            // A copy is found by way of its parent.
            if frozen.are_equal(slot, parent)? {
                return Ok(None);
            }
            let (exact, estimator) = (FromSlot(vectors, slot), vectors.estimator(slot)?);
            let computer: &dyn DistanceComputer = estimator.as_deref().unwrap_or(&exact);
            let mut near = Beam::with(|[beam]| nearest(frozen, &computer, UNFINDABLE_EF, beam))?;
            let is_lost = !near.iter().any(|candidate| candidate.slot == slot.0)
                && belongs_among(vectors, slot, &near)?;
            if is_lost {
                sort_by_angle(vectors, &mut near)?;
            }
            Ok(is_lost.then_some((slot, near)))
        })?;
    for (slot, near) in lost.into_iter().flatten() {
        let Some((rank, _)) = working.rank_and_child_count(layer, slot)? else { continue };
        if let Some(parent) = first_to_adopt(working, layer, &near, rank, plan)? {
            let until_now = working.unmeasured(layer, slot)?.parent;
            if let Some(node) = working.node_mut(layer, until_now)? {
                node.children.retain(|child| *child != slot);
            }
            working.attach(vectors, layer, parent, slot)?;
        }
    }
    Ok(())
}

/// Whether a search for the vector of a slot should have found it. Under inner products, a short
/// vector is not among the nearest to itself.
fn belongs_among(vectors: &dyn Vectors, slot: Slot, near: &[Edge]) -> Result<bool> {
    if !vectors.are_products() || near.len() < UNFINDABLE_EF {
        return Ok(true);
    }
    let mut own = Vec::new();
    vectors.distances(slot, &[slot.0], &mut own)?;
    let farthest = near.last().map(|edge| edge.distance);
    Ok(own.first().copied().zip(farthest).is_none_or(|(own, farthest)| own < farthest))
}

/// Searches layer 0 from the entry point, as a query would.
fn nearest(
    working: &Working<'_>,
    computer: &impl DistanceComputer,
    ef: usize,
    beam: &mut Beam,
) -> Result<Vec<Edge>> {
    let Some(entry) = working.entry() else { return Ok(Vec::new()) };
    let start = beam.descend(working, computer, entry, Layer(0))?;
    search(working, computer, Layer(0), start, ef, beam)
}

/// Searches one layer from `start` and from the root; results are sorted, the nearest first.
fn search(
    working: &Working<'_>,
    computer: &impl DistanceComputer,
    layer: Layer,
    start: Slot,
    ef: usize,
    beam: &mut Beam,
) -> Result<Vec<Edge>> {
    let scope = Scope {
        layer,
        starts: [start, working.roots[layer.index()]],
        ef,
        reach: None,
        hops: usize::MAX,
        copies: 0,
    };
    let found = beam.search(working, computer, scope, |_| Ok(true), || false)?;
    Ok(found
        .iter()
        .map(|candidate| Edge { distance: candidate.distance(), slot: candidate.slot() })
        .collect())
}

/// Draws a random level, the top layer, for every slot, and returns the slots in linking order: by
/// falling top layer, else at random. The first has the highest top layer of all.
fn draw(slots: &[Slot], m: usize, rng: &mut dyn Rng) -> Vec<Newcomer> {
    // The paper's mL: the expected number of nodes falls by a factor of M a layer.
    let scale = 1.0 / (m.max(2) as f64).ln();
    let mut newcomers: Vec<(u64, Newcomer)> = slots
        .iter()
        .map(|&slot| {
            let uniform: f64 = rng.random();
            let top = Layer((-(1.0 - uniform).ln() * scale).floor().min(MAX_TOP_LAYER) as u8);
            (rng.random(), Newcomer { slot, top })
        })
        .collect();
    newcomers
        .sort_by_key(|(order, newcomer)| (std::cmp::Reverse(newcomer.top), *order, newcomer.slot));
    newcomers.into_iter().map(|(_, newcomer)| newcomer).collect()
}

fn insert_batch(
    working: &mut Working<'_>,
    vectors: &dyn Vectors,
    batch: &[Newcomer],
    done: u64,
    plan: &Plan<'_>,
) -> Result<()> {
    let counter = AtomicU64::new(done);
    vectors.look_again();
    let frozen = &*working;
    let found = threads::map(batch, SEARCHES, |newcomer| -> Result<Vec<Found>> {
        plan.check_cancelled()?;
        let found = Beam::with(|[beam]| find(frozen, vectors, *newcomer, plan, beam))?;
        (plan.progress)(counter.fetch_add(1, Ordering::Relaxed) + 1);
        Ok(found)
    })?;
    let mut reverse = Vec::new();
    for (newcomer, found) in batch.iter().zip(found) {
        link(working, vectors, *newcomer, found, plan, &mut reverse)?;
    }
    merge(working, vectors, reverse, plan)
}

/// Step 1: finds the edges of one slot, for each layer from 0 to its top layer or that of the
/// graph.
fn find(
    working: &Working<'_>,
    vectors: &dyn Vectors,
    newcomer: Newcomer,
    plan: &Plan<'_>,
    beam: &mut Beam,
) -> Result<Vec<Found>> {
    let Some((entry_layer, entry)) = working.entry() else { return Ok(Vec::new()) };
    let (exact, estimator) = (FromSlot(vectors, newcomer.slot), vectors.estimator(newcomer.slot)?);
    let computer: &dyn DistanceComputer = estimator.as_deref().unwrap_or(&exact);
    let top = newcomer.top.min(entry_layer);
    let mut nearest = beam.descend(working, &computer, (entry_layer, entry), top)?;
    let mut layers = Vec::with_capacity(top.index() + 1);
    for layer in (0..=top.0).rev().map(Layer) {
        let mut candidates =
            search(working, &computer, layer, nearest, plan.ef_construction, beam)?;
        candidates.truncate(PRUNE_CANDIDATES_PER_EDGE * plan.m0);
        if estimator.is_some() {
            rerank(vectors, newcomer.slot, &mut candidates)?;
        }
        nearest = candidates.first().map_or(nearest, |edge| Slot(edge.slot));
        let equal = if layer.0 == 0 { equal(vectors, newcomer.slot, &candidates)? } else { None };
        let edges = prune(vectors, newcomer.slot, &candidates, &[], plan.limit(layer))?;
        let mut parents = edges.clone();
        parents.extend(candidates.iter().take(PARENT_CANDIDATES));
        sort_by_angle(vectors, &mut parents)?;
        layers.push(Found { edges, parents, equal });
    }
    layers.reverse();
    Ok(layers)
}

/// The first candidate that has the vector of a slot.
fn equal(vectors: &dyn Vectors, slot: Slot, candidates: &[Edge]) -> Result<Option<Edge>> {
    let mut own = Vec::new();
    vectors.distances(slot, &[slot.0], &mut own)?;
    // A duplicate is as far away as the slot is from itself, which need not be 0, nor the least
    // distance of all.
    for candidate in candidates.iter().filter(|candidate| own.first() == Some(&candidate.distance))
    {
        if vectors.are_equal(slot, Slot(candidate.slot))? {
            return Ok(Some(*candidate));
        }
    }
    Ok(None)
}

/// Reranks: replaces estimates by exact distances, and sorts.
fn rerank(vectors: &dyn Vectors, slot: Slot, candidates: &mut [Edge]) -> Result<()> {
    let slots: Vec<u32> = candidates.iter().map(|edge| edge.slot).collect();
    let mut distances = Vec::new();
    vectors.distances(slot, &slots, &mut distances)?;
    candidates.iter_mut().zip(distances).for_each(|(edge, distance)| edge.distance = distance);
    candidates.sort_unstable_by(Edge::order);
    Ok(())
}

/// Step 2: gives a slot its rank, and its parent on each layer, and collects the reverse edges.
fn link(
    working: &mut Working<'_>,
    vectors: &dyn Vectors,
    newcomer: Newcomer,
    found: Vec<Found>,
    plan: &Plan<'_>,
    reverse: &mut Vec<Reverse>,
) -> Result<()> {
    let Newcomer { slot, top } = newcomer;
    let rank = working.next_rank;
    working.next_rank += 1;
    if let Some(lead) = found.first().and_then(|found| found.equal)
        && let Some(parent) = copy_parent(working, Slot(lead.slot), slot, plan)?
    {
        working.add_child(Layer(0), parent, slot)?;
        let edge = |slot: Slot| Edge { distance: lead.distance, slot: slot.0 };
        reverse.push(Reverse { layer: Layer(0), target: parent, edge: edge(slot) });
        working.set(
            Layer(0),
            slot,
            Node { edges: vec![edge(parent)], children: Vec::new(), parent, rank },
        );
        return Ok(());
    }
    let mut found = found.into_iter();
    for layer in (0..=top.0).map(Layer) {
        let found =
            found.next().unwrap_or(Found { edges: Vec::new(), parents: Vec::new(), equal: None });
        let parent = if working.roots.len() <= layer.index() {
            working.push_layer(slot);
            slot
        } else {
            let parent = choose_parent(working, layer, slot, &found.parents, plan)?;
            working.add_child(layer, parent, slot)?;
            if !found.edges.iter().any(|edge| edge.slot == parent.0) {
                let mut distance = Vec::new();
                vectors.distances(parent, &[slot.0], &mut distance)?;
                let edge =
                    Edge { distance: distance.first().copied().unwrap_or_default(), slot: slot.0 };
                reverse.push(Reverse { layer, target: parent, edge });
            }
            parent
        };
        reverse.extend(found.edges.iter().map(|edge| Reverse {
            layer,
            target: Slot(edge.slot),
            edge: Edge { distance: edge.distance, slot: slot.0 },
        }));
        working.set(layer, slot, Node { edges: found.edges, children: Vec::new(), parent, rank });
    }
    Ok(())
}

/// Step 3: adds the reverse edges, target by target.
fn merge(
    working: &mut Working<'_>,
    vectors: &dyn Vectors,
    mut reverse: Vec<Reverse>,
    plan: &Plan<'_>,
) -> Result<()> {
    threads::sort_by_key(&mut reverse, |r| (r.layer, r.target, r.edge.slot));
    // The targets, each with the edges to add.
    let mut targets: Vec<(Layer, Slot, &[Reverse])> = reverse
        .chunk_by(|a, b| (a.layer, a.target) == (b.layer, b.target))
        .filter_map(|group| group.first().map(|first| (first.layer, first.target, group)))
        .collect();
    if working.is_growing() {
        targets.retain(|(layer, target, group)| {
            let grows = working.can_grow(*layer, *target, group.len());
            if grows {
                group.iter().for_each(|reverse| working.grow(*target, reverse.edge));
            }
            !grows
        });
    }
    let frozen = &*working;
    let merged = threads::map(&targets, LISTS, |(layer, target, group)| -> Result<Node> {
        let mut node = frozen.unmeasured(*layer, *target)?;
        let limit = plan.limit(*layer);
        for Reverse { edge, .. } in *group {
            // A refreshed node may have the edge already.
            if !node.edges.iter().any(|known| known.slot == edge.slot) {
                node.edges.push(*edge);
            }
        }
        if node.edges.len() > limit.degree + limit.degree / HEADROOM {
            prune_node(vectors, *target, &mut node, limit)?;
        }
        Ok(node)
    })?;
    let places: Vec<(Layer, Slot)> =
        targets.iter().map(|(layer, target, _)| (*layer, *target)).collect();
    for ((layer, target), node) in places.into_iter().zip(merged) {
        working.set(layer, target, node);
    }
    Ok(())
}

/// Keeps the neighbors that the heuristic selects. The reverse edge of a pruned edge is not
/// removed: it becomes one-way, and `sections/graph/changes.rs` lists its source as an in-neighbor
/// when the build is written.
fn prune_node(vectors: &dyn Vectors, slot: Slot, node: &mut Node, limit: Limit) -> Result<()> {
    node.measure(vectors, slot)?;
    node.edges.sort_unstable_by(Edge::order);
    node.edges.dedup_by_key(|edge| edge.slot);
    node.edges = prune(vectors, slot, &node.edges, &node.children, limit)?;
    Ok(())
}

/// Prunes the stored lists that have grown beyond their limit.
fn prune_grown(working: &mut Working<'_>, vectors: &dyn Vectors, plan: &Plan<'_>) -> Result<()> {
    let limit = plan.limit(Layer(0));
    let mut removed = Vec::new();
    let frozen = &*working;
    for from in (0..frozen.slots()).step_by(GROWN_AT_ONCE) {
        let slots: Vec<u32> =
            frozen.grown_slots(from, from + GROWN_AT_ONCE).map(|slot| slot.0).collect();
        let chunks: Vec<&[u32]> = slots.chunks(FETCHED_AT_ONCE).collect();
        let pruned = threads::map(&chunks, SEARCHES, |slots| -> Result<Vec<(u32, u32)>> {
            frozen.fetch_lists(Layer(0), slots);
            let mut removed = Vec::new();
            for slot in slots.iter().map(|slot| Slot(*slot)) {
                plan.check_cancelled()?;
                removed_from_grown(frozen, vectors, slot, limit, &mut removed)?;
            }
            Ok(removed)
        })?;
        removed.extend(pruned.into_iter().flatten());
    }
    working.remove_grown(removed);
    Ok(())
}

/// Appends the edges, as source and target in order, that pruning removes from a stored list that
/// has grown.
fn removed_from_grown(
    working: &Working<'_>,
    vectors: &dyn Vectors,
    slot: Slot,
    limit: Limit,
    removed: &mut Vec<(u32, u32)>,
) -> Result<()> {
    let mut node = working.unmeasured(Layer(0), slot)?;
    if node.edges.len() <= limit.degree {
        return Ok(());
    }
    let neighbors: Vec<u32> = node.edges.iter().map(|edge| edge.slot).collect();
    vectors.fetch(&neighbors);
    vectors.wait(&neighbors);
    prune_node(vectors, slot, &mut node, limit)?;
    let mut kept: Vec<u32> = node.edges.iter().map(|edge| edge.slot).collect();
    kept.sort_unstable();
    let from = removed.len();
    let lost = neighbors.iter().filter(|target| kept.binary_search(target).is_err());
    removed.extend(lost.map(|target| (slot.0, *target)));
    removed[from..].sort_unstable();
    Ok(())
}

/// Prunes every changed list to its limit.
fn prune_overflows(
    working: &mut Working<'_>,
    vectors: &dyn Vectors,
    plan: &Plan<'_>,
) -> Result<()> {
    for layer in (0..working.roots.len()).map(|layer| Layer(layer as u8)) {
        let limit = Limit { fill: plan.is_small, ..plan.limit(layer) };
        let over: Vec<(Slot, &Node)> = working
            .all_changed(layer)
            .filter(|(_, node)| node.edges.len() > limit.degree)
            .collect();
        let pruned = threads::map(&over, LISTS, |(slot, node)| -> Result<(Slot, Node)> {
            plan.check_cancelled()?;
            let mut node = Node::clone(node);
            prune_node(vectors, *slot, &mut node, limit)?;
            Ok((*slot, node))
        })?;
        for (slot, node) in pruned {
            working.set(layer, slot, node);
        }
    }
    Ok(())
}

/// Ensures that the root of each layer has an in-edge; all other nodes have one from their parents.
fn reach_roots(working: &mut Working<'_>, vectors: &dyn Vectors, plan: &Plan<'_>) -> Result<()> {
    for layer in (0..working.roots.len()).map(|layer| Layer(layer as u8)) {
        let root = working.roots[layer.index()];
        let node = working.unmeasured(layer, root)?;
        let Some(&child) = node.children.first() else { continue };
        let mut list = Vec::new();
        let mut reached = false;
        for edge in &node.edges {
            list.clear();
            working.neighbors(layer, Slot(edge.slot), &mut list)?;
            reached |= list.contains(&root.0);
        }
        let degree = plan.limit(layer).degree;
        let distance =
            node.edges.iter().find(|edge| edge.slot == child.0).map_or(0.0, |edge| edge.distance);
        if !reached && let Some(node) = working.node_mut(layer, child)? {
            node.measure(vectors, child)?;
            node.edges.sort_unstable_by(Edge::order);
            if node.edges.len() >= degree
                && let Some(last) =
                    node.edges.iter().rposition(|e| !node.children.contains(&Slot(e.slot)))
            {
                node.edges.remove(last);
            }
            node.edges.push(Edge { distance, slot: root.0 });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::super::prune::tests::Plane;
    use super::super::working::tests::Nothing;
    use super::super::working::{Stored, StoredNode};
    use super::*;

    /// Vectors, and no graph.
    struct Unlinked<'a>(&'a Plane);

    impl Graph for Unlinked<'_> {
        fn slots(&self) -> usize {
            self.0.0.len()
        }

        fn are_equal(&self, a: Slot, b: Slot) -> Result<bool> {
            self.0.are_equal(a, b)
        }

        fn neighbors(&self, _: Layer, _: Slot, _: &mut Vec<u32>) -> Result<()> {
            Ok(())
        }
    }

    impl Stored for Unlinked<'_> {
        fn node(&self, _: Layer, _: Slot) -> Result<Option<StoredNode>> {
            Ok(None)
        }

        fn one_way_in_neighbors(&self, _: Layer, _: Slot) -> Result<Vec<u32>> {
            Ok(Vec::new())
        }
    }

    /// Builds a graph, and returns how many nodes of the base are copies of their parents.
    fn build(points: Vec<[f32; 2]>, m: usize) -> usize {
        let count = points.len();
        let plane = Plane(points);
        let store = Unlinked(&plane);
        let mut working = Working::new(&store, Vec::new(), 0);
        let slots: Vec<Slot> = (0..count as u32).map(Slot).collect();
        let plan = Plan {
            m0: 2 * m,
            m,
            ef_construction: 20,
            alpha: 1.0,
            is_small: false,
            most_bytes: u64::MAX,
            region: usize::MAX,
            cancel: &|| false,
            progress: &|_| {},
        };
        insert(&mut working, &plane, &slots, 0, &plan, &mut StdRng::seed_from_u64(7)).unwrap();
        finish(&mut working, &plane, &plan).unwrap();

        assert_eq!(working.all_changed(Layer(0)).count(), count);
        for layer in (0..working.roots.len() as u8).map(Layer) {
            let mut in_edges = BTreeSet::new();
            for (slot, node) in working.all_changed(layer) {
                let list: BTreeSet<u32> = node.edges.iter().map(|edge| edge.slot).collect();
                assert_eq!(list.len(), node.edges.len(), "an edge is there twice");
                assert!(list.len() <= plan.limit(layer).degree && !list.contains(&slot.0));
                for child in &node.children {
                    assert!(list.contains(&child.0));
                    assert_eq!(working.changed(layer, *child).unwrap().parent, slot);
                }
                let parent = working.changed(layer, node.parent).unwrap();
                assert!(
                    node.parent == slot && working.roots[layer.index()] == slot
                        || parent.rank < node.rank
                );
                in_edges.extend(list);
            }
            let all = working.all_changed(layer).count();
            assert!(
                in_edges.len() == all || all == 1,
                "{layer}: {} of {all} have an in-edge",
                in_edges.len()
            );
        }
        let is_copy = |(slot, node): &(Slot, &Node)| {
            node.parent != *slot && plane.are_equal(*slot, node.parent).unwrap()
        };
        for (slot, node) in working.all_changed(Layer(0)).filter(is_copy) {
            let leads_elsewhere = |edge: &&Edge| {
                edge.slot != node.parent.0 && !node.children.contains(&Slot(edge.slot))
            };
            assert_eq!(
                node.edges.iter().filter(leads_elsewhere).count(),
                0,
                "{slot} has edges beside those of the tree"
            );
        }
        working.all_changed(Layer(0)).filter(is_copy).count()
    }

    #[test]
    fn of_equal_vectors_the_first_is_linked_and_the_others_are_copies_of_it() {
        assert_eq!(build(vec![[3.0, 3.0]; 700], 8), 699);
        // Batches grow while there are few: two of one vector may not see each other, and be linked
        // as two.
        let copies = build((0..600).map(|i| [(i % 3) as f32, 0.0]).collect(), 8);
        assert!((590..=597).contains(&copies), "{copies}");
        assert_eq!(build(line(300), 8), 0);
    }

    #[test]
    fn every_node_has_a_parent_that_leads_to_it_whatever_the_points() {
        build(vec![[0.0, 0.0]], 4);
        build(vec![[0.0, 0.0], [1.0, 0.0]], 4);
        build(vec![[0.0, 0.0], [1.0, 0.0], [5.0, 1.0]], 2);
        build((0..500).map(|i| [i as f32, 0.0]).collect(), 3);
        build(vec![[3.0, 3.0]; 700], 2);
        build((0..600).map(|i| [(i * 37 % 101) as f32, (i * 53 % 97) as f32]).collect(), 8);
        build((0..400).map(|i| [if i % 2 == 0 { 0.0 } else { 1e6 }, (i / 2) as f32]).collect(), 5);
    }

    const PLAN: Plan<'_> = Plan {
        m0: 8,
        m: 4,
        ef_construction: 20,
        alpha: 1.0,
        is_small: false,
        most_bytes: u64::MAX,
        region: usize::MAX,
        cancel: &|| false,
        progress: &|_| {},
    };

    /// Points on a line, each with edges to its neighbors and the child of the one before.
    fn chain(store: &Nothing) -> Working<'_> {
        let mut working = Working::new(store, vec![Slot(0)], store.0 as u32);
        for slot in 0..store.0 as u32 {
            let edges = [slot.wrapping_sub(1), slot + 1]
                .into_iter()
                .filter(|other| *other < store.0 as u32);
            let edges = edges.map(|slot| Edge { distance: 1.0, slot }).collect();
            let children =
                if slot + 1 < store.0 as u32 { vec![Slot(slot + 1)] } else { Vec::new() };
            working.set(
                Layer(0),
                Slot(slot),
                Node { edges, children, parent: Slot(slot.saturating_sub(1)), rank: slot },
            );
        }
        working
    }

    fn line(count: usize) -> Vec<[f32; 2]> {
        (0..count).map(|i| [i as f32, 0.0]).collect()
    }

    #[test]
    fn a_node_that_a_narrow_search_misses_becomes_the_child_of_where_it_ends() {
        // The last point lies beside 50, and only 70, from where the search goes another way, leads
        // to it.
        let store = Nothing(100);
        let mut working = chain(&store);
        let mut points = line(99);
        points.push([50.0, 0.5]);
        let plane = Plane(points);
        let layer = Layer(0);
        let lost = Slot(99);
        for (slot, child) in [(98, false), (70, true)] {
            let node = working.node_mut(layer, Slot(slot)).unwrap().unwrap();
            node.edges.retain(|edge| edge.slot != lost.0);
            node.children.retain(|slot| *slot != lost);
            if child {
                node.edges.push(Edge { distance: 400.25, slot: lost.0 });
                node.children.push(lost);
            }
        }
        working.set(
            layer,
            lost,
            Node {
                edges: vec![Edge { distance: 400.25, slot: 70 }],
                children: Vec::new(),
                parent: Slot(70),
                rank: 99,
            },
        );
        reattach_unfindable(&mut working, &plane, &PLAN).unwrap();
        assert_eq!(working.changed(layer, lost).unwrap().parent, Slot(50));
        let node = working.changed(layer, Slot(50)).unwrap();
        assert!(
            node.children.contains(&lost)
                && node.edges.contains(&Edge { distance: 0.25, slot: 99 })
        );
        assert!(!working.changed(layer, Slot(70)).unwrap().children.contains(&lost));
        // All others are where they were.
        assert!(
            (1..99)
                .all(|slot| working.changed(layer, Slot(slot)).unwrap().parent == Slot(slot - 1))
        );
    }

    #[test]
    fn a_node_is_refreshed_with_the_edges_of_a_new_one_and_keeps_its_children() {
        let store = Nothing(60);
        let mut working = chain(&store);
        let plane = Plane(line(60));
        let layer = Layer(0);
        // 30 has lost the edge to 29.
        working.node_mut(layer, Slot(30)).unwrap().unwrap().edges.retain(|edge| edge.slot != 29);
        refresh(&mut working, &plane, &[Slot(30)], &PLAN).unwrap();
        let node = working.changed(layer, Slot(30)).unwrap();
        let mut slots: Vec<u32> = node.edges.iter().map(|edge| edge.slot).collect();
        slots.sort_unstable();
        assert_eq!(slots, [29, 31], "the nearest on both sides, which hide the others");
        assert_eq!((node.parent, &node.children[..], node.rank), (Slot(29), &[Slot(31)][..], 30));
        let back = working.changed(layer, Slot(29)).unwrap();
        assert_eq!(
            back.edges.iter().filter(|edge| edge.slot == 30).count(),
            1,
            "an edge that was there is not there twice"
        );
    }

    /// Vectors whose products are negative: their distances are above 0 and no lengths.
    struct Negative(Plane);

    impl Vectors for Negative {
        fn distances(&self, from: Slot, slots: &[u32], out: &mut Vec<f32>) -> Result<()> {
            self.0.distances(from, slots, out)
        }

        fn are_equal(&self, a: Slot, b: Slot) -> Result<bool> {
            self.0.are_equal(a, b)
        }

        fn are_products(&self) -> bool {
            true
        }
    }

    #[test]
    fn negated_products_have_no_growth() {
        let store = Nothing(100);
        let working = chain(&store);
        let sample: Vec<Slot> = (0..100).map(Slot).collect();
        let products = Negative(Plane(line(100)));
        assert!(growth(&working, &Plane(line(100)), &Plane(line(100)), &sample).unwrap() > 0.0);
        assert_eq!(growth(&working, &products, &products, &sample).unwrap(), 0.0);
    }

    #[test]
    fn a_build_that_is_cancelled_says_so() {
        let (plane, store) = (Plane(vec![[1.0, 2.0]; 50]), Nothing(50));
        let mut working = Working::new(&store, Vec::new(), 0);
        let slots: Vec<Slot> = (0..50).map(Slot).collect();
        let plan = Plan {
            m0: 8,
            m: 4,
            ef_construction: 20,
            alpha: 1.0,
            is_small: false,
            most_bytes: u64::MAX,
            region: usize::MAX,
            cancel: &|| true,
            progress: &|_| {},
        };
        let result = insert(&mut working, &plane, &slots, 0, &plan, &mut StdRng::seed_from_u64(7));
        assert!(matches!(result, Err(crate::error::Error::Cancelled)));
    }
}
