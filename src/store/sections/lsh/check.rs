//! The invariants of the tables: every slot that is not free is in each table once, with the hash
//! of its vector, and a search can reach it.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;

use super::training::part;
use crate::error::Result;
use crate::format::checksum::unverified;
use crate::format::codes::Trained;
use crate::format::lsh::{Body, Content, LAST, MAX_LEAF, Node, TRAINED};
use crate::format::set::SetKind;
use crate::format::{Key, Kind};
use crate::store::checker::{Checker, Invariant};
use crate::types::Slot;

impl Checker<'_, '_, '_> {
    /// Checks the layout of a value. `false` if no such key may exist.
    pub(super) fn hash_value(&mut self, key: Key, value: &[u8]) -> Result<bool> {
        let meta = &self.view.snapshot.meta;
        let part = part(self.place.index, meta);
        let Some(part) = self.survive(part)?.flatten() else { return Ok(false) };
        let body = unverified(value);
        if (key.sub, key.n) == (TRAINED, 0) {
            let dimensions = self.view.snapshot.meta.dimensions;
            self.layout(key, Trained::decode(body, dimensions).map(drop));
            return Ok(true);
        }
        let Some((table, node)) = Node::of_key(key) else { return Ok(false) };
        self.layout(key, check_node(node, body));
        Ok(table < usize::from(part.tables))
    }

    /// Checks the invariant `hashes`.
    pub(super) fn check_hashes(&mut self) -> Result<()> {
        let part = part(self.place.index, &self.view.snapshot.meta);
        let part = self.survive(part)?.flatten();
        let Some(part) = part else { return Ok(()) };
        let tables = self.view.hash_tables();
        let Some(tables) = self.survive(tables)?.flatten() else { return Ok(()) };
        let mut hashes: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        let mut scratch = Vec::new();
        let view = self.view.on_any_source();
        let (metric, meta) = (view.snapshot.metric, &view.snapshot.meta);
        for slot in
            (0..meta.slots).filter(|slot| !self.sets[SetKind::Free as usize].contains(*slot))
        {
            // A vector that cannot be read is reported by the check of the vectors.
            let Ok(address) = view.vector(Slot(slot)) else { continue };
            let decoded = metric.decode(address.bytes, meta.scale);
            let row = metric.coded(&decoded, address.factor, meta.dimensions as usize);
            let mut found = Vec::new();
            tables.hasher.hash(&row, &mut scratch, &mut found);
            hashes.insert(slot, found);
        }
        for table in 0..usize::from(part.tables) {
            self.check_table(table, &hashes)?;
        }
        Ok(())
    }

    fn check_table(&mut self, table: usize, hashes: &BTreeMap<u32, Vec<u32>>) -> Result<()> {
        let mut nodes = BTreeMap::new();
        let (first, last) = Key::all_of(self.place.index, Kind::LSH);
        for entry in self.place.range(self.rtxn, first, last)? {
            let (key, value) = entry?;
            if let Some((of, node)) = Node::of_key(key)
                && of == table
                && let Ok(content) = Content::decode(unverified(value))
            {
                nodes.insert(node, content);
            }
        }
        let mut seen = RoaringBitmap::new();
        let mut wrong = Vec::new();
        for (node, content) in &nodes {
            let is_child = node.parent().is_none_or(|(parent, digit)| {
                let parent = nodes.get(&parent);
                matches!(parent, Some(Content::Split(mask)) if mask >> digit & 1 > 0)
            });
            if !is_child {
                wrong.push(format!("{node:?} of table {table} is not a child of its parent"));
            }
            if let Content::Split(mask) = content {
                let children = (0..u32::BITS).filter(|digit| mask >> digit & 1 > 0);
                let lost = children.map(|digit| node.child(digit)).find(|n| !nodes.contains_key(n));
                wrong.extend(lost.map(|lost| format!("{lost:?} of table {table} does not exist")));
            }
            for entry in content.entries() {
                let expected = hashes.get(&entry.slot).and_then(|hashes| hashes.get(table));
                if expected != Some(&entry.hash) {
                    wrong.push(format!("slot {} is in table {table} by a wrong hash", entry.slot));
                }
                if !seen.insert(entry.slot) {
                    wrong.push(format!("slot {} is in table {table} twice", entry.slot));
                }
            }
        }
        let lost = hashes.keys().find(|slot| !seen.contains(**slot));
        wrong.extend(lost.map(|slot| format!("slot {slot} is not in table {table}")));
        wrong.into_iter().for_each(|what| self.findings.add(Invariant::Hashes, what));
        Ok(())
    }
}

/// Checks what a node says by itself.
fn check_node(node: Node, body: &[u8]) -> Result<(), &'static str> {
    match Body::decode(body)? {
        Body::Split(_) if node.level == LAST => Err("a node of the last level is split"),
        Body::Split(mask) if node.level + 1 == LAST && mask >> 16 > 0 => {
            Err("a child of it is not possible")
        }
        Body::Split(_) => Ok(()),
        Body::Leaf(entries) if entries.len() > MAX_LEAF && node.level < LAST => {
            Err("it has more items than a leaf may have")
        }
        Body::Leaf(entries) if !entries.is_sorted_by(|a, b| a < b) => {
            Err("its items do not ascend")
        }
        Body::Leaf(entries) if entries.iter().any(|entry| Node::of(*entry, node.level) != node) => {
            Err("an item of it belongs to another node")
        }
        Body::Leaf(_) => Ok(()),
    }
}
