//! Prunes neighbor lists by the diversity heuristic (algorithm 4 of Malkov and Yashunin 2018), with
//! the `alpha` of RobustPrune (Subramanya et al. 2019, DiskANN).
//!
//! Candidates are taken by increasing distance. A candidate is dropped if a kept neighbor is nearer
//! to it, by the factor `alpha`, than the node itself is: a search reaches it through that
//! neighbor. A tie drops it only if both have the same vector, so that a list has one edge to all
//! copies of a vector, apart from edges to children. Ties of different vectors are common where
//! distances are counts, and drop nothing.
//!
//! Pruning an edge does not remove its reverse edge, which stays in the other list as a one-way
//! edge (`sections/graph/changes.rs` records it as such).

use super::Vectors;
use super::edge::Edge;
use super::products::{Ranked, norm};
use crate::error::Result;
use crate::types::Slot;

/// The limits of pruning.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    /// The maximum number of edges kept.
    pub(crate) degree: usize,
    /// 1 is the paper's heuristic; a larger value keeps more, and longer, edges.
    pub(crate) alpha: f32,
    /// Whether to fill the list up to the degree limit with the first of the dropped candidates
    /// (the paper's `keepPrunedConnections`): each edge removed changes two nodes.
    pub(crate) fill: bool,
}

/// Selects the edges that `node` keeps among `candidates`, which are sorted and distinct. Edges to
/// `children` are always kept.
pub(crate) fn prune(
    vectors: &dyn Vectors,
    node: Slot,
    candidates: &[Edge],
    children: &[Slot],
    limit: Limit,
) -> Result<Vec<Edge>> {
    let is_child = |edge: &Edge| children.contains(&Slot(edge.slot));
    let mut room = limit.degree.saturating_sub(children.len());
    let mut kept: Vec<Edge> = Vec::with_capacity(limit.degree);
    let ranked = Ranked::of(vectors, candidates)?;
    let (candidates, norms) = match &ranked {
        Some(ranked) => (&ranked.edges[..], &ranked.norms[..]),
        None => (candidates, &[][..]),
    };
    let mut occlusion = Occlusion::new(vectors, node, limit)?;
    let mut dropped = Vec::new();
    for (i, candidate) in candidates.iter().enumerate() {
        if !is_child(candidate) {
            if room == 0 || has_copy(vectors, candidate, &kept)? || occlusion.hides(candidate)? {
                dropped.push(*candidate);
                continue;
            }
            room -= 1;
        }
        kept.push(*candidate);
        occlusion.keep(candidate.slot, norms.get(i).copied());
        if room == 0 && children.is_empty() {
            break;
        }
    }
    let is_filled = limit.fill && room > 0;
    if is_filled {
        kept.extend(dropped.into_iter().take(room));
    }
    if is_filled || ranked.is_some() {
        kept.sort_unstable_by(Edge::order);
    }
    Ok(kept)
}

/// Adds at most `count` of the `candidates`, which are sorted, to the list of `node`, which
/// otherwise stays as it is: those that none of its edges occludes.
pub(crate) fn replenish(
    vectors: &dyn Vectors,
    node: Slot,
    edges: &mut Vec<Edge>,
    candidates: &[Edge],
    count: usize,
    limit: Limit,
) -> Result<()> {
    let mut occlusion = Occlusion::new(vectors, node, limit)?;
    edges.iter().for_each(|edge| occlusion.keep(edge.slot, None));
    let full = limit.degree.min(edges.len() + count);
    for candidate in candidates {
        if edges.len() >= full {
            break;
        }
        if !has_copy(vectors, candidate, edges)? && !occlusion.hides(candidate)? {
            edges.push(*candidate);
            occlusion.keep(candidate.slot, None);
        }
    }
    Ok(())
}

/// Whether one of the edges leads to the same vector. Edges with unknown distances are not
/// compared.
fn has_copy(vectors: &dyn Vectors, candidate: &Edge, edges: &[Edge]) -> Result<bool> {
    for edge in edges.iter().filter(|edge| edge.distance == candidate.distance) {
        if vectors.are_equal(Slot(edge.slot), Slot(candidate.slot))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The kept neighbors of a node, which hide what lies behind them.
struct Occlusion<'v> {
    vectors: &'v dyn Vectors,
    alpha: f32,
    kept: Vec<u32>,
    distances: Vec<f32>,
    norms: Option<Norms>,
}

/// Where distances are negated inner products: the norm of the node, and those of the kept
/// neighbors, NaN until they are needed.
struct Norms {
    own: f32,
    kept: Vec<f32>,
    scratch: Vec<f32>,
}

impl<'v> Occlusion<'v> {
    fn new(vectors: &'v dyn Vectors, node: Slot, limit: Limit) -> Result<Self> {
        let norms = if vectors.are_products() {
            let mut scratch = Vec::with_capacity(1);
            let own = norm(vectors, node, &mut scratch)?;
            Some(Norms { own, kept: Vec::with_capacity(limit.degree), scratch })
        } else {
            None
        };
        let (kept, distances) = (Vec::with_capacity(limit.degree), Vec::with_capacity(4));
        Ok(Self { vectors, alpha: limit.alpha, kept, distances, norms })
    }

    /// Keeps a neighbor, whose norm may be known.
    fn keep(&mut self, slot: u32, norm: Option<f32>) {
        self.kept.push(slot);
        if let Some(norms) = &mut self.norms {
            norms.kept.push(norm.unwrap_or(f32::NAN));
        }
    }

    /// Whether one of the kept neighbors is nearer to the candidate than the node is.
    fn hides(&mut self, candidate: &Edge) -> Result<bool> {
        // This is `alpha * d < distance`, written so that it also means "nearer" for negative
        // distances.
        let threshold = if candidate.distance > 0.0 {
            candidate.distance / self.alpha
        } else {
            candidate.distance * self.alpha
        };
        for (chunk, slots) in self.kept.chunks(4).enumerate() {
            self.vectors.distances(Slot(candidate.slot), slots, &mut self.distances)?;
            let nearer = (4 * chunk..).zip(slots).zip(&self.distances);
            for ((i, slot), distance) in nearer.filter(|(_, distance)| **distance < threshold) {
                let hides = match &mut self.norms {
                    None => true,
                    Some(norms) => {
                        let norm = norms.of(i, Slot(*slot), self.vectors)?;
                        is_nearer_by_angle((*distance, norm), (threshold, norms.own))
                    }
                };
                if hides {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

impl Norms {
    /// The norm of the `i`-th kept neighbor.
    fn of(&mut self, i: usize, slot: Slot, vectors: &dyn Vectors) -> Result<f32> {
        let Some(known) = self.kept.get_mut(i) else { return Ok(0.0) };
        if known.is_nan() {
            *known = norm(vectors, slot, &mut self.scratch)?;
        }
        Ok(*known)
    }
}

/// Whether the first of two vectors is nearer to a third by the angle, from the distances to that
/// and the norms. The norm of the third is common to both cosines.
fn is_nearer_by_angle((d1, norm1): (f32, f32), (d2, norm2): (f32, f32)) -> bool {
    // Products of three norms of 9e18 exceed `f32`.
    f64::from(d1) * f64::from(norm2) < f64::from(d2) * f64::from(norm1)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Points of a plane under squared Euclidean distance.
    pub(crate) struct Plane(pub(crate) Vec<[f32; 2]>);

    impl Vectors for Plane {
        fn distances(&self, from: Slot, slots: &[u32], out: &mut Vec<f32>) -> Result<()> {
            let [x, y] = self.0[from.index()];
            let squared = |&slot: &u32| {
                (self.0[slot as usize][0] - x).powi(2) + (self.0[slot as usize][1] - y).powi(2)
            };
            out.clear();
            out.extend(slots.iter().map(squared));
            Ok(())
        }

        fn are_equal(&self, a: Slot, b: Slot) -> Result<bool> {
            Ok(self.0[a.index()] == self.0[b.index()])
        }
    }

    fn kept(points: &[[f32; 2]], children: &[u32], degree: usize, alpha: f32) -> Vec<u32> {
        kept_of(points, children, Limit { degree, alpha, fill: false })
    }

    fn kept_of(points: &[[f32; 2]], children: &[u32], limit: Limit) -> Vec<u32> {
        let plane = Plane(points.to_vec());
        let slots: Vec<u32> = (1..points.len() as u32).collect();
        let mut distances = Vec::new();
        plane.distances(Slot(0), &slots, &mut distances).unwrap();
        let mut edges: Vec<Edge> =
            slots.iter().zip(distances).map(|(&slot, distance)| Edge { distance, slot }).collect();
        edges.sort_by(Edge::order);
        let children: Vec<Slot> = children.iter().copied().map(Slot).collect();
        prune(&plane, Slot(0), &edges, &children, limit)
            .unwrap()
            .iter()
            .map(|edge| edge.slot)
            .collect()
    }

    #[test]
    fn what_lies_behind_a_kept_neighbor_is_dropped() {
        // To the right: a near point and one behind it. To the left: one alone.
        let points = [[0.0, 0.0], [1.0, 0.0], [2.0, 0.1], [-3.0, 0.0]];
        assert_eq!(kept(&points, &[], 8, 1.0), [1, 3]);
        assert_eq!(kept(&points, &[], 8, 4.0), [1, 2, 3]);
        assert_eq!(kept(&points, &[], 1, 1.0), [1]);
    }

    #[test]
    fn a_list_that_is_filled_loses_only_what_there_is_no_room_for() {
        let points = [[0.0, 0.0], [1.0, 0.0], [2.0, 0.1], [-3.0, 0.0], [5.0, 0.0]];
        for (degree, expected) in
            [(2, &[1, 3][..]), (3, &[1, 2, 3]), (4, &[1, 2, 3, 4]), (9, &[1, 2, 3, 4])]
        {
            assert_eq!(
                kept_of(&points, &[], Limit { degree, alpha: 1.0, fill: true }),
                expected,
                "{degree}"
            );
        }
        assert_eq!(kept_of(&points, &[4], Limit { degree: 3, alpha: 1.0, fill: true }), [1, 3, 4]);
    }

    #[test]
    fn children_stay_and_count() {
        let points = [[0.0, 0.0], [1.0, 0.0], [2.0, 0.1], [-3.0, 0.0]];
        assert_eq!(kept(&points, &[2], 8, 1.0), [1, 2, 3]);
        assert_eq!(kept(&points, &[2], 2, 1.0), [1, 2]);
        assert_eq!(kept(&points, &[2, 3], 2, 1.0), [2, 3]);
    }

    #[test]
    fn identical_points_get_one_edge_beside_those_to_children() {
        let mut points = vec![[1.0, 1.0]; 10];
        points.push([3.0, 1.0]);
        assert_eq!(kept(&points, &[], 4, 1.0), [1, 10]);
        assert_eq!(kept(&points, &[5, 7], 4, 1.0), [1, 5, 7, 10]);
        // Equally far, and not the same point.
        assert_eq!(
            kept(&[[0.0, 0.0], [1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]], &[], 4, 1.0),
            [1, 3, 4]
        );
    }

    /// Points of a plane under negated inner products.
    struct Rays(Vec<[f32; 2]>);

    impl Vectors for Rays {
        fn distances(&self, from: Slot, slots: &[u32], out: &mut Vec<f32>) -> Result<()> {
            let [x, y] = self.0[from.index()];
            out.clear();
            out.extend(slots.iter().map(|&slot| {
                let [u, v] = self.0[slot as usize];
                0.0 - (x * u + y * v)
            }));
            Ok(())
        }

        fn are_equal(&self, a: Slot, b: Slot) -> Result<bool> {
            Ok(self.0[a.index()] == self.0[b.index()])
        }

        fn are_products(&self) -> bool {
            true
        }
    }

    fn kept_of_rays(points: &[[f32; 2]], degree: usize) -> Vec<u32> {
        let rays = Rays(points.to_vec());
        let slots: Vec<u32> = (1..points.len() as u32).collect();
        let mut distances = Vec::new();
        rays.distances(Slot(0), &slots, &mut distances).unwrap();
        let mut edges: Vec<Edge> =
            slots.iter().zip(distances).map(|(&slot, distance)| Edge { distance, slot }).collect();
        edges.sort_by(Edge::order);
        let limit = Limit { degree, alpha: 1.0, fill: false };
        let kept = prune(&rays, Slot(0), &edges, &[], limit).unwrap();
        assert!(kept.is_sorted_by(|a, b| a.order(b).is_lt()));
        kept.iter().map(|edge| edge.slot).collect()
    }

    #[test]
    fn a_long_vector_hides_only_what_it_is_nearer_to_by_the_angle() {
        // The long one is nearer to all others than the node is, by the product. By the angle it is
        // nearer to the one beside it only.
        let points = [[1.0, 1.0], [50.0, 0.0], [1.0, 0.1], [0.1, 1.0], [0.5, 0.6]];
        assert_eq!(kept_of_rays(&points, 8), [1, 3, 4]);
        // Nothing is nearer to anything than a zero vector is, nor is a zero vector.
        assert_eq!(kept_of_rays(&[[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]], 8), [1, 2]);
        assert_eq!(kept_of_rays(&[[1.0, 0.0], [0.0, 0.0], [2.0, 0.0]], 8), [2, 1]);
    }

    #[test]
    fn room_in_a_list_of_products_goes_by_the_product_over_the_root_of_the_length() {
        // Products 4, 3 and 1 of lengths 16, 4 and about 1: 1, 1.5 and about 1.
        let points = [[1.0, 0.0], [4.0, 240f32.sqrt()], [3.0, -7f32.sqrt()], [0.99, 0.1]];
        assert_eq!(kept_of_rays(&points, 1), [2]);
    }
}
