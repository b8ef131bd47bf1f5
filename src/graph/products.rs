//! Neighbor lists under negated inner products, where the lengths of vectors count.
//!
//! A search by inner products moves towards the longest vectors of a direction: the nearest
//! neighbors of most nodes are the same few long vectors, and few lists lead to a short one. That
//! is as it should be for the best answer, and too little for the 100th. Pruning by the distance
//! alone makes it worse: a long vector is nearer to anything than a short one is, and occludes all
//! that lies around it. So builds search by inner products, as queries do, and
//!
//! - a neighbor occludes a candidate only if it is nearer to it by the angle, too (`prune`);
//! - lists are filled in the order of the product over the square root of the candidate's length,
//!   which is half-way between the order by the product and that by the angle ([`Ranked`]);
//! - the parent of a node is the nearest of its candidates by the angle: its one certain in-edge
//!   comes from where searches that should find it pass ([`sort_by_angle`]).
//!
//! Between vectors of equal length all of this is what other metrics do. Decision 0043 has the
//! figures, and those of what was tried instead. Under all other metrics nothing here is computed.
//! A norm costs one distance: a list takes one for each candidate.

use super::Vectors;
use super::edge::Edge;
use crate::error::Result;
use crate::types::Slot;

/// The Euclidean norm of a vector, under negated inner products.
pub(super) fn norm(vectors: &dyn Vectors, slot: Slot, scratch: &mut Vec<f32>) -> Result<f32> {
    vectors.distances(slot, &[slot.0], scratch)?;
    Ok(scratch.first().map_or(0.0, |negated| -negated).max(0.0).sqrt())
}

/// Candidates in the order in which lists are filled, and their norms.
pub(super) struct Ranked {
    pub(super) edges: Vec<Edge>,
    pub(super) norms: Vec<f32>,
}

impl Ranked {
    /// `None` if distances are not negated inner products: candidates then stay as they are, the
    /// nearest first.
    pub(super) fn of(vectors: &dyn Vectors, candidates: &[Edge]) -> Result<Option<Self>> {
        if !vectors.are_products() {
            return Ok(None);
        }
        let by_key = sorted(vectors, candidates, f32::sqrt)?;
        let (edges, norms) = by_key.into_iter().map(|(_, edge, norm)| (edge, norm)).unzip();
        Ok(Some(Self { edges, norms }))
    }
}

/// Sorts candidates by their angles to a node, if distances are negated inner products; else they
/// stay as they are.
pub(super) fn sort_by_angle(vectors: &dyn Vectors, candidates: &mut [Edge]) -> Result<()> {
    if !vectors.are_products() {
        return Ok(());
    }
    let by_key = sorted(vectors, candidates, |norm| norm)?;
    candidates.iter_mut().zip(by_key).for_each(|(candidate, (_, edge, _))| *candidate = edge);
    Ok(())
}

/// Keys, candidates and their norms, sorted by the keys, ties by slot. A key is the distance over
/// what `weight` makes of the norm.
fn sorted(
    vectors: &dyn Vectors,
    candidates: &[Edge],
    weight: fn(f32) -> f32,
) -> Result<Vec<(f32, Edge, f32)>> {
    let mut scratch = Vec::with_capacity(1);
    let mut sorted = Vec::with_capacity(candidates.len());
    for edge in candidates {
        let norm = norm(vectors, Slot(edge.slot), &mut scratch)?;
        // All products with the zero vector are 0.
        let key = if norm > 0.0 { edge.distance / weight(norm) } else { 0.0 };
        sorted.push((key, *edge, norm));
    }
    sorted.sort_unstable_by(|(a, one, _), (b, other, _)| {
        a.total_cmp(b).then(one.slot.cmp(&other.slot))
    });
    Ok(sorted)
}
