//! The invariants of the graph, layer by layer.

use roaring::RoaringBitmap;

use crate::error::Result;
use crate::format::checksum;
use crate::format::links::{OneWay, Record, split_group};
use crate::format::set::{SetKind, deserialize};
use crate::format::{Key, Kind};
use crate::store::checker::{Checker, Invariant};
use crate::types::{Layer, Slot};

impl Checker<'_, '_, '_> {
    /// Checks the layout of a value. `false` if no such key may exist.
    pub(super) fn graph_value(&mut self, key: Key, value: &[u8]) -> Result<bool> {
        let meta = &self.view.snapshot.meta;
        let (slots, layers) = (meta.slots, meta.roots.len());
        let group = meta.connectivity.map_or(1, |c| usize::from(c.links_group));
        let node_key = usize::from(key.sub) < layers;
        Ok(match key.kind {
            Kind::LINKS => {
                let spill = self.get(Key { kind: Kind::SPILL, ..key })?;
                let split = split_group(Some(value), spill, group);
                let fits = split
                    .as_ref()
                    .is_ok_and(|records| records.iter().any(|record| !record.is_empty()));
                self.layout(key, split.map(drop));
                node_key && (key.n as usize) < (slots as usize).div_ceil(group) && fits
            }
            Kind::SPILL => node_key && self.get(Key { kind: Kind::LINKS, ..key })?.is_some(),
            _ => {
                let many = deserialize(checksum::unverified(value))
                    .map(|set| OneWay::is_elsewhere(set.len() as usize));
                self.layout(
                    key,
                    many.and_then(|many| {
                        if many {
                            Ok(())
                        } else {
                            Err("it has so few members that they belong in the record")
                        }
                    }),
                );
                let record = if node_key && key.n < slots {
                    self.view.record(Layer(key.sub), Slot(key.n))
                } else {
                    Ok(None)
                };
                self.survive(record)?
                    .flatten()
                    .is_none_or(|record| record.one_way == OneWay::Elsewhere)
            }
        })
    }

    fn record(&mut self, layer: Layer, slot: u32) -> Result<Option<Record>> {
        let record = self.view.record(layer, Slot(slot));
        Ok(self.survive(record)?.flatten())
    }

    /// Checks `nodes`, `lists`, `in-neighbors`, `tree`, `reachable` and `in-degree` on one layer.
    pub(super) fn check_layer(&mut self, layer: Layer) -> Result<()> {
        let meta = self.view.snapshot.meta.clone();
        let mut nodes = RoaringBitmap::new();
        for slot in 0..meta.slots {
            // A damaged record has been reported with its value; here it counts as present.
            if self.view.record(layer, Slot(slot)).map_or(true, |record| record.is_some()) {
                nodes.insert(slot);
            }
        }
        self.nodes(layer, &nodes)?;

        let mut ranks = vec![u32::MAX; meta.slots as usize];
        let mut facts = LayerFacts::default();
        for slot in &nodes {
            if let Some(record) = self.record(layer, slot)? {
                ranks[slot as usize] = record.rank;
                self.list(layer, slot, &record, &nodes);
                self.in_neighbors(layer, slot, &record, &mut facts)?;
            }
        }
        let (forward, listed) = (facts.one_way_edges, facts.one_way_listed);
        let say = || {
            format!(
                "{layer} has {forward} edges without a reverse, {listed} in-neighbors are listed"
            )
        };
        self.findings.expect(forward == listed, Invariant::InNeighbors, say);
        self.tree(layer, &nodes, &ranks)?;

        let reached = self.reached(layer, &nodes)?;
        let lost = &nodes - &reached;
        let say = || {
            format!(
                "{} nodes of {layer} cannot be reached from its root, such as slot {:?}",
                lost.len(),
                lost.min()
            )
        };
        self.findings.expect(lost.is_empty(), Invariant::Reachable, say);
        let without = &nodes - &facts.in_edges;
        let say = || {
            format!(
                "{} nodes of {layer} have no in-edge, such as slot {:?}",
                without.len(),
                without.min()
            )
        };
        self.findings.expect(without.is_empty() || nodes.len() == 1, Invariant::InDegree, say);
        Ok(())
    }

    fn nodes(&mut self, layer: Layer, nodes: &RoaringBitmap) -> Result<()> {
        let slots = self.view.snapshot.meta.slots;
        self.findings
            .expect(!nodes.is_empty(), Invariant::Nodes, || format!("{layer} has no nodes"));
        if layer.0 == 0 {
            let mut linked = RoaringBitmap::new();
            linked.insert_range(0..slots);
            linked -= self.set(SetKind::Pending);
            linked -= self.set(SetKind::Free);
            let differ = &linked ^ nodes;
            let say = || {
                format!(
                    "{} slots are linked or in the graph, but not both, such as {:?}",
                    differ.len(),
                    differ.min()
                )
            };
            self.findings.expect(differ.is_empty(), Invariant::Nodes, say);
        } else {
            for slot in nodes {
                let below = self.record(Layer(layer.0 - 1), slot)?;
                self.findings.expect(below.is_some(), Invariant::Nodes, || {
                    format!("slot {slot} is on {layer} and not below")
                });
            }
        }
        Ok(())
    }

    fn list(&mut self, layer: Layer, slot: u32, record: &Record, nodes: &RoaringBitmap) {
        let max = self.view.snapshot.meta.connectivity.map_or(0, |c| c.max_degree(layer));
        let list = &record.neighbors;
        let say = || {
            format!(
                "slot {slot} has {} neighbors on {layer}, at most {max} are allowed",
                list.len()
            )
        };
        self.findings.expect(list.len() <= max, Invariant::Lists, say);
        self.findings.expect(!list.contains(&slot), Invariant::Lists, || {
            format!("slot {slot} is its own neighbor on {layer}")
        });
        let stranger = list.iter().find(|neighbor| !nodes.contains(**neighbor));
        let say = || {
            format!(
                "slot {slot} has the neighbor {stranger:?} on {layer}, which is not a node of it"
            )
        };
        self.findings.expect(stranger.is_none(), Invariant::Lists, say);
    }

    fn in_neighbors(
        &mut self,
        layer: Layer,
        slot: u32,
        record: &Record,
        facts: &mut LayerFacts,
    ) -> Result<()> {
        for &neighbor in &record.neighbors {
            facts.in_edges.insert(neighbor);
            let back = self
                .view
                .record(layer, Slot(neighbor))
                .is_ok_and(|r| r.is_some_and(|r| r.neighbors.binary_search(&slot).is_ok()));
            facts.one_way_edges += u64::from(!back);
        }
        let one_way = self.view.one_way(layer, Slot(slot), record);
        for source in self.survive(one_way)?.unwrap_or_default() {
            let edge = source < self.view.snapshot.meta.slots
                && self
                    .view
                    .record(layer, Slot(source))
                    .is_ok_and(|r| r.is_some_and(|r| r.neighbors.binary_search(&slot).is_ok()));
            let back = record.neighbors.binary_search(&source).is_ok();
            let say = || {
                format!(
                    "slot {slot} lists slot {source} as a one-way in-neighbor on {layer}, which \
                     it is not"
                )
            };
            self.findings.expect(edge && !back, Invariant::InNeighbors, say);
            facts.one_way_listed += 1;
        }
        Ok(())
    }

    fn tree(&mut self, layer: Layer, nodes: &RoaringBitmap, ranks: &[u32]) -> Result<()> {
        let meta = self.view.snapshot.meta.clone();
        let root = meta.roots.get(layer.index()).copied();
        let rank_of = |slot: u32| ranks.get(slot as usize).copied();
        let mut seen = RoaringBitmap::new();
        for slot in nodes {
            let Some(record) = self.record(layer, slot)? else { continue };
            let (parent, rank) = (record.parent, record.rank);
            self.findings.expect(rank < meta.next_rank, Invariant::Tree, || {
                format!("slot {slot} has rank {rank} of {}", meta.next_rank)
            });
            self.findings.expect(seen.insert(rank), Invariant::Tree, || {
                format!("two nodes of {layer} have rank {rank}, one of them slot {slot}")
            });
            let is_root = parent.0 == slot;
            let say = || {
                format!("slot {slot} is its own parent on {layer}: {is_root}; the root is {root:?}")
            };
            self.findings.expect(is_root == (root == Some(Slot(slot))), Invariant::Tree, say);
            if !is_root {
                let above =
                    if parent.0 < meta.slots { self.record(layer, parent.0)? } else { None };
                let child = above.as_ref().is_some_and(|above| {
                    above
                        .neighbors
                        .binary_search(&slot)
                        .is_ok_and(|at| above.children.get(at).copied().unwrap_or_default())
                });
                self.findings.expect(child, Invariant::Tree, || {
                    format!(
                        "the parent of slot {slot} on {layer}, {parent}, has no child edge to it"
                    )
                });
                let lower = rank_of(parent.0).is_some_and(|above| above < rank);
                self.findings.expect(lower, Invariant::Tree, || {
                    format!("the parent of slot {slot} on {layer}, {parent}, has no lower rank")
                });
            }
            let children = record
                .neighbors
                .iter()
                .zip(&record.children)
                .filter(|(_, child)| **child)
                .map(|(slot, _)| *slot);
            for child in children.collect::<Vec<_>>() {
                let record = self.record(layer, child)?;
                let say = || {
                    format!(
                        "slot {child} is marked as a child of slot {slot} on {layer} and has \
                         another parent"
                    )
                };
                self.findings.expect(
                    record.is_some_and(|record| record.parent.0 == slot),
                    Invariant::Tree,
                    say,
                );
            }
            if layer.0 == 0 {
                continue;
            }
            let below = self.record(Layer(layer.0 - 1), slot)?.map(|record| record.rank);
            let say = || format!("slot {slot} has rank {rank} on {layer} and {below:?} below");
            self.findings.expect(below == Some(rank), Invariant::Tree, say);
        }
        Ok(())
    }

    /// All nodes reachable from the root over edges.
    fn reached(&mut self, layer: Layer, nodes: &RoaringBitmap) -> Result<RoaringBitmap> {
        let mut reached = RoaringBitmap::new();
        let mut waiting: Vec<u32> = self
            .view
            .snapshot
            .meta
            .roots
            .get(layer.index())
            .map(|root| root.0)
            .into_iter()
            .collect();
        reached.extend(waiting.iter().copied().filter(|root| nodes.contains(*root)));
        while let Some(slot) = waiting.pop() {
            let Some(record) = self.record(layer, slot)? else { continue };
            waiting.extend(
                record
                    .neighbors
                    .into_iter()
                    .filter(|neighbor| nodes.contains(*neighbor) && reached.insert(*neighbor)),
            );
        }
        Ok(reached)
    }
}

/// Totals of a pass over the nodes of a layer.
#[derive(Debug, Default)]
struct LayerFacts {
    one_way_edges: u64,
    one_way_listed: u64,
    /// Nodes that occur in a neighbor list.
    in_edges: RoaringBitmap,
}
