//! The graph of a view: reads records from LINKS and SPILL, and implements the traits of `graph/`.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::distance::prefetch;
use crate::error::{Error, Result};
use crate::format::checksum::{Sound, unverified};
use crate::format::links::{self, OneWay, Record};
use crate::format::{Key, Kind, edges, set};
use crate::graph::Graph;
use crate::graph::working::{Stored, StoredNode};
use crate::store::meter;
use crate::store::readahead::addresses;
use crate::store::source::Source;
use crate::store::table::Memory;
use crate::store::view::View;
use crate::types::{Layer, Slot};

/// Values that lie at most this many bytes apart are in one run.
const LIST_GAP: usize = 1 << 16;

impl<'t, S: Source<'t>> View<'_, 't, S> {
    /// The LINKS group of a slot, and its position in the group.
    #[inline]
    fn group(&self, slot: Slot) -> Option<(usize, usize)> {
        Some(self.snapshot.group?.divide(slot.0))
    }

    /// The LINKS or SPILL value of a group.
    #[inline]
    pub(super) fn links(&self, kind: Kind, layer: Layer, group: usize) -> Result<&'t [u8]> {
        meter::read();
        let key = self.key(kind, layer.0, group as u32);
        let tables = self
            .snapshot
            .links
            .get(layer.index())
            .ok_or_else(|| Error::corrupt(key, "there is no such layer"))?;
        let table = &tables[usize::from(kind == Kind::SPILL)];
        match table.get(group) {
            Some(value) => Ok(value),
            None => match self.source.get_walked(key)? {
                Some(value) => table.set(group, value),
                None => table.set_absent(group),
            }
            .ok_or_else(|| Error::corrupt(key, "it does not have the length that it says")),
        }
    }

    /// The location of a slot's record: a LINKS or SPILL value, and an offset. `None` if the slot
    /// has no record on the layer.
    #[inline]
    fn record_place(&self, layer: Layer, slot: Slot) -> Result<Option<(&'t [u8], usize, Key)>> {
        let Some((group, in_group)) = self.group(slot) else { return Ok(None) };
        for kind in [Kind::LINKS, Kind::SPILL] {
            let key = self.key(kind, layer.0, group as u32);
            let value = self.links(kind, layer, group)?;
            // An absent value has no directory.
            if value.len() == links::ABSENT_BYTES {
                return Ok(None);
            }
            match links::place(value, in_group).map_err(|what| Error::corrupt(key, what))? {
                links::Place::At(offset) => return Ok(Some((value, offset, key))),
                links::Place::Absent => return Ok(None),
                links::Place::Spilled => {}
            }
        }
        Err(Error::corrupt(
            self.key(Kind::SPILL, layer.0, group as u32),
            "a spilled record is missing",
        ))
    }

    /// Passes the addresses of the values that the list of a slot is found in to `visit`, unread,
    /// until it returns `false`. `false`, too, if they are not known yet.
    fn list_addresses(
        &self,
        layer: Layer,
        slot: Slot,
        mut visit: impl FnMut(Range<usize>) -> bool,
    ) -> bool {
        let (Some((group, in_group)), Some([links, spill])) =
            (self.group(slot), self.snapshot.links.get(layer.index()))
        else {
            return true;
        };
        // A value of LINKS is no longer than its page.
        if !links.address(group).is_some_and(|start| visit(start..start + 1)) {
            return false;
        }
        let is_spilled = links.get(group).is_some_and(|value| {
            matches!(links::place(value, in_group), Ok(links::Place::Spilled))
        });
        !is_spilled || spill.get(group).is_some_and(|value| visit(addresses(value)))
    }

    /// The addresses of the lists of layer 0 that are known, in runs.
    pub(in crate::store) fn list_pages(&self) -> impl Iterator<Item = Range<usize>> {
        let table = self.snapshot.links.first().map(|[links, _]| links);
        let known = table
            .into_iter()
            .flat_map(|links| (0..links.len()).filter_map(|group| links.address(group)));
        let mut starts: Vec<usize> = known.collect();
        starts.sort_unstable();
        let runs: Vec<Range<usize>> = starts
            .chunk_by(|a, b| b - a <= LIST_GAP)
            .filter_map(|run| Some(*run.first()?..*run.last()? + 1))
            .collect();
        runs.into_iter()
    }

    /// The addresses of groups of lists of layer 0, of those that are known.
    pub(crate) fn addresses_of_groups(&self, groups: impl Iterator<Item = usize>) -> Vec<usize> {
        let Some([links, _]) = self.snapshot.links.first() else { return Vec::new() };
        groups.filter_map(|group| links.address(group)).collect()
    }

    /// Whether a layer has nodes.
    pub(super) fn has_graph(&self, layer: Layer) -> bool {
        layer.index() < self.snapshot.links.len()
    }

    /// Number of slots in a LINKS group.
    pub(super) fn group_size(&self) -> Result<usize> {
        let connectivity = self
            .snapshot
            .meta
            .connectivity
            .ok_or(Error::corrupt(Key::meta(self.snapshot.index), "it has no connectivity"))?;
        Ok(usize::from(connectivity.links_group))
    }

    /// Whether a group has a SPILL value.
    pub(super) fn has_spill(&self, layer: Layer, group: usize) -> Result<bool> {
        Ok(self.has_graph(layer)
            && self.links(Kind::SPILL, layer, group)?.len() > links::ABSENT_BYTES)
    }

    /// The bytes of all records of a group, empty for a slot without one. They are written back, so
    /// their values are verified, whatever the source does.
    pub(super) fn group_records(&self, layer: Layer, group: usize) -> Result<Vec<Vec<u8>>> {
        let size = self.group_size()?;
        if !self.has_graph(layer) {
            return Ok(vec![Vec::new(); size]);
        }
        let [links, spill] = [Kind::LINKS, Kind::SPILL].map(|kind| -> Result<Option<&[u8]>> {
            let value = self.links(kind, layer, group)?;
            if value.len() == links::ABSENT_BYTES {
                return Ok(None);
            }
            Sound::of(self.key(kind, layer.0, group as u32), value).map(|_| Some(value))
        });
        let (links, spill) = (links?, spill?);
        links::split_group(links, spill, size)
            .map_err(|what| Error::corrupt(self.key(Kind::LINKS, layer.0, group as u32), what))
    }

    /// The record of a node: everything that the graph stores of it.
    pub(crate) fn record(&self, layer: Layer, slot: Slot) -> Result<Option<Record>> {
        if !self.has_graph(layer) {
            return Ok(None);
        }
        let Some((value, offset, key)) = self.record_place(layer, slot)? else { return Ok(None) };
        let (record, _) =
            links::decode_record(value, offset).map_err(|what| Error::corrupt(key, what))?;
        let bound = self.snapshot.meta.slots;
        let beyond = |slots: &[u32]| slots.last().is_some_and(|last| *last >= bound);
        if beyond(&record.neighbors)
            || matches!(&record.one_way, OneWay::Here(slots) if beyond(slots))
        {
            return Err(Error::corrupt(key, "a record names a slot beyond all"));
        }
        Ok(Some(record))
    }

    /// The bytes of a node's neighbor list; empty for a slot that is not a node.
    pub(crate) fn list(&self, layer: Layer, slot: Slot) -> Result<&'t [u8]> {
        let Some((value, offset, key)) = self.record_place(layer, slot)? else { return Ok(&[]) };
        links::list(value, offset).map_err(|what| Error::corrupt(key, what))
    }

    /// Whether a slot is a node of layer 0.
    pub(crate) fn is_node(&self, slot: Slot) -> Result<bool> {
        Ok(self.has_graph(Layer(0)) && self.record_place(Layer(0), slot)?.is_some())
    }

    /// The IN values of some nodes, which no pointer table has.
    pub(crate) fn in_values(&self, slots: &[Slot]) -> Result<BTreeMap<Key, &'t [u8]>> {
        let mut values = BTreeMap::new();
        for layer in (0..self.snapshot.meta.roots.len()).map(|layer| Layer(layer as u8)) {
            for slot in slots {
                if let Some(record) = self.record(layer, *slot)?
                    && matches!(record.one_way, OneWay::Elsewhere)
                {
                    let key = self.key(Kind::IN, layer.0, slot.0);
                    values.insert(key, self.require(key)?);
                }
            }
        }
        Ok(values)
    }

    /// The one-way in-neighbors of a node (it has no edge back to them), ascending.
    pub(crate) fn one_way(&self, layer: Layer, slot: Slot, record: &Record) -> Result<Vec<u32>> {
        match &record.one_way {
            OneWay::Here(slots) => Ok(slots.clone()),
            OneWay::Elsewhere => {
                meter::read();
                let key = self.key(Kind::IN, layer.0, slot.0);
                let value = self.require(key)?;
                let slots = set::deserialize(unverified(value))
                    .map_err(|what| Error::corrupt(key, what))?;
                if slots.max().is_some_and(|max| max >= self.snapshot.meta.slots) {
                    return Err(Error::corrupt(key, "it names a slot beyond all"));
                }
                Ok(slots.iter().collect())
            }
        }
    }
}

impl<'t, S: Source<'t>> Graph for View<'_, 't, S> {
    fn slots(&self) -> usize {
        self.snapshot.meta.slots as usize
    }

    fn is_memory_bounded(&self) -> bool {
        self.snapshot.memory == Memory::Bounded
    }

    fn are_equal(&self, a: Slot, b: Slot) -> Result<bool> {
        self.are_equal(a, b)
    }

    #[inline(always)]
    fn is_cold(&self) -> bool {
        self.cold.is_some()
    }

    fn has_list(&self, layer: Layer, slot: Slot) -> bool {
        let Some(cold) = self.cold else { return true };
        self.list_addresses(layer, slot, |bytes| cold.has(bytes.clone()) && cold.audit(bytes))
    }

    fn fetch_lists(&self, layer: Layer, slots: &[u32]) -> bool {
        let Some(cold) = self.cold else { return false };
        let mut batch = cold.batch();
        for slot in slots.iter().map(|slot| Slot(*slot)) {
            let Some((group, _)) = self.group(slot) else { continue };
            // What is not in memory yet may be spilled, which is rare.
            let mut had = true;
            let is_known = self.list_addresses(layer, slot, |bytes| {
                had = cold.has(bytes.clone());
                batch.add(bytes);
                had
            });
            if is_known || !had {
                continue;
            }
            for kind in [Kind::LINKS, Kind::SPILL] {
                // An error is left to whoever reads the list.
                let key = self.key(kind, layer.0, group as u32);
                if let Ok(Some(value)) = self.source.get_walked(key) {
                    batch.add(addresses(value));
                }
            }
        }
        batch.send(0)
    }

    #[inline]
    fn neighbors(&self, layer: Layer, slot: Slot, out: &mut Vec<u32>) -> Result<()> {
        let Some((value, offset, key)) = self.record_place(layer, slot)? else {
            let group = self.group(slot).map_or(0, |(group, _)| group as u32);
            return Err(Error::corrupt(
                self.key(Kind::LINKS, layer.0, group),
                "the record of a node is missing",
            ));
        };
        let from = out.len();
        links::list(value, offset)
            .and_then(|list| edges::decode_list(list, out))
            .map_err(|what| Error::corrupt(key, what))?;
        // The list is ascending, so the last slot is the largest.
        match out[from..].last() {
            Some(last) if *last >= self.snapshot.meta.slots => {
                Err(Error::corrupt(key, "a neighbor list names a slot beyond all"))
            }
            _ => Ok(()),
        }
    }

    #[inline(always)]
    fn prefetch_place(&self, layer: Layer, slot: Slot) {
        let Some((group, in_group)) = self.group(slot) else { return };
        if let Some([table, _]) = self.snapshot.links.get(layer.index()) {
            table.prefetch(group, links::entry_offset(in_group));
        }
    }

    #[inline]
    fn prefetch_neighbors(&self, layer: Layer, slot: Slot) {
        let Some((group, in_group)) = self.group(slot) else { return };
        let Some(value) =
            self.snapshot.links.get(layer.index()).and_then(|tables| tables[0].get(group))
        else {
            return;
        };
        if let Ok(links::Place::At(offset)) = links::place(value, in_group) {
            prefetch(value.get(offset..(offset + 128).min(value.len())).unwrap_or_default());
        }
    }
}

impl<'t, S: Source<'t> + Sync> Stored for View<'_, 't, S> {
    fn node(&self, layer: Layer, slot: Slot) -> Result<Option<StoredNode>> {
        Ok(self.record(layer, slot)?.map(|record| {
            let children = record
                .neighbors
                .iter()
                .zip(&record.children)
                .filter(|(_, child)| **child)
                .map(|(slot, _)| Slot(*slot))
                .collect();
            StoredNode {
                neighbors: record.neighbors,
                children,
                parent: record.parent,
                rank: record.rank,
            }
        }))
    }

    fn one_way_in_neighbors(&self, layer: Layer, slot: Slot) -> Result<Vec<u32>> {
        match self.record(layer, slot)? {
            Some(record) => self.one_way(layer, slot, &record),
            None => Ok(Vec::new()),
        }
    }
}
