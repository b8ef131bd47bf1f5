//! The graph: LINKS, groups of records with neighbor lists; SPILL, records that did not fit into
//! their group; IN, the in-neighbors of slots that have many.
//!
//! `view`: reads the graph, and implements the traits of `graph/`; `changes`: writes what a build
//! changes; `relabel`: rewrites all of it with new slots.

pub(crate) mod changes;
mod check;
mod relabel;
mod view;

use super::relabel::{Relabel, Relabelled};
use super::repair::Repair;
use super::section::{AnyView, Listed, Section};
use crate::error::Result;
use crate::format::meta::Meta;
use crate::format::{Key, Kind};
use crate::store::checker::Checker;
use crate::store::snapshot::Snapshot;
use crate::store::stats::{LayerStats, Stats};
use crate::store::table::Table;
use crate::store::target::Put;
use crate::types::{IndexKind, Layer, Slot};

/// The section of the graph: see the module.
pub(crate) struct GraphSection;

impl Section for GraphSection {
    fn kinds(&self) -> &'static [Kind] {
        &[Kind::LINKS, Kind::SPILL, Kind::IN]
    }

    fn is_hot(&self, kind: Kind, _meta: &Meta) -> bool {
        kind != Kind::IN
    }

    fn index_kind(&self) -> Option<IndexKind> {
        Some(IndexKind::Hnsw)
    }

    fn is_present(&self, meta: &Meta) -> bool {
        meta.has_graph
    }

    /// An index has a graph unless META says that it has none.
    fn set_present(&self, meta: &mut Meta, is_present: bool) {
        meta.has_graph = is_present;
        if !is_present {
            meta.connectivity = None;
            (meta.ef_construction, meta.alpha) = (0, 0.0);
            (meta.next_rank, meta.growth) = (0, 0.0);
            meta.roots.clear();
            meta.calibration = None;
        }
    }

    fn is_listed(&self, key: Key) -> bool {
        key.kind == Kind::LINKS && key.sub == 0
    }

    fn listed<'s, 't>(&self, snapshot: &'s Snapshot<'t>) -> Vec<Listed<&'s Table<'t>>> {
        snapshot.links.first().map(|[links, _]| (Kind::LINKS, 0, links)).into_iter().collect()
    }

    /// From the top layer down, in the order of a search.
    fn visit<'t>(
        &self,
        view: &AnyView<'_, '_, 't>,
        visit: &mut dyn FnMut(&'t [u8]) -> bool,
    ) -> Result<bool> {
        for (layer, [table, _]) in view.snapshot.links.iter().enumerate().rev() {
            for group in 0..table.len() {
                for kind in [Kind::LINKS, Kind::SPILL] {
                    if !visit(view.links(kind, Layer(layer as u8), group)?) {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    fn relabel(&self, relabel: &Relabel<'_, '_, '_>) -> Result<Relabelled> {
        let mut puts = Vec::new();
        for layer in (0..relabel.working.roots.len()).map(|layer| Layer(layer as u8)) {
            puts.extend(self::relabel::layer_puts(relabel, layer)?);
        }
        Ok(Relabelled::Puts(puts))
    }

    fn forget(&self, meta: &mut Meta) -> bool {
        meta.next_rank = 0;
        meta.roots.clear();
        true
    }

    fn is_built(&self) -> bool {
        true
    }

    /// Nothing to restore: a torn edit has left the graph unchanged, or the graph is forgotten.
    fn repair(&self, _: &Repair<'_, '_, '_>) -> Result<Vec<Put>> {
        Ok(Vec::new())
    }

    fn check_value(
        &self,
        checker: &mut Checker<'_, '_, '_>,
        key: Key,
        value: &[u8],
    ) -> Result<bool> {
        checker.graph_value(key, value)
    }

    fn check(&self, checker: &mut Checker<'_, '_, '_>) -> Result<()> {
        let layers = checker.view.snapshot.meta.roots.len();
        (0..layers).try_for_each(|layer| checker.check_layer(Layer(layer as u8)))
    }

    fn stats(&self, view: &AnyView<'_, '_, '_>, stats: &mut Stats) -> Result<()> {
        let meta = &view.snapshot.meta;
        if let Some(connectivity) = meta.connectivity {
            (stats.m, stats.m0) = (connectivity.m.into(), connectivity.m0.into());
        }
        (stats.ef_construction, stats.alpha) = (meta.ef_construction as usize, meta.alpha);
        for number in 0..meta.roots.len() {
            stats.layers.push(layer_stats(view, Layer(number as u8))?);
        }
        Ok(())
    }
}

fn layer_stats(view: &AnyView<'_, '_, '_>, layer: Layer) -> Result<LayerStats> {
    let mut stats = LayerStats::default();
    let slots = view.snapshot.meta.slots;
    let mut tree: Vec<(u32, Slot, Slot)> = Vec::new();
    for slot in (0..slots).map(Slot) {
        let Some(record) = view.record(layer, slot)? else { continue };
        let degree = record.neighbors.len();
        stats.nodes += 1;
        if stats.degrees.len() <= degree {
            stats.degrees.resize(degree + 1, 0);
        }
        stats.degrees[degree] += 1;
        stats.one_way_edges += view.one_way(layer, slot, &record)?.len() as u64;
        stats.list_bytes += view.list(layer, slot)?.len() as u64;
        tree.push((record.rank, slot, record.parent));
    }
    // Parents first: they have lower ranks than their children.
    tree.sort_unstable();
    let mut depths = vec![0u32; slots as usize];
    for (_, slot, parent) in tree.into_iter().filter(|(_, slot, parent)| slot != parent) {
        let above = depths.get(parent.index()).copied().unwrap_or_default();
        depths[slot.index()] = above + 1;
        stats.tree_depth = stats.tree_depth.max(above + 1);
    }
    Ok(stats)
}
