//! The write buffer of the tables: hashes vectors as they are stored, and changes the nodes at the
//! end of an edit, table by table.
//!
//! Cost per item: for each table one leaf, of 1 kB at most, and now and then a split. Memory: 64
//! bytes or so per item and 16 tables until the end.

use std::collections::BTreeMap;

use super::training::{decode, hasher, part, trained_key};
use crate::error::{Error, Result};
use crate::format::checksum::Sound;
use crate::format::lsh::{Body, Entry, LAST, MAX_LEAF, Node};
use crate::format::meta::Meta;
use crate::format::take;
use crate::format::{Key, Kind};
use crate::lsh::Hasher;
use crate::store::Place;
use crate::store::address::Address;
use crate::store::sections::section::SectionEdit;
use crate::store::sections::vectors;
use crate::store::target::{Put, Target};
use crate::types::Slot;

/// The hashes of vectors by slot.
type Hashes = BTreeMap<u32, Vec<u32>>;

/// The write buffer: see the module.
pub(super) struct LshEdit {
    /// META before the edit.
    before: Meta,
    /// Read from disk when the first vector is hashed.
    hasher: Option<Hasher>,
    added: Hashes,
    removed: Hashes,
    /// Slots of before the edit that are free from now on.
    released: Vec<Slot>,
    puts: Vec<Put>,
    count: u32,
    squares: f64,
    scratch: Vec<f32>,
}

impl LshEdit {
    pub(super) fn new(before: Meta) -> Self {
        Self {
            before,
            hasher: None,
            added: Hashes::new(),
            removed: Hashes::new(),
            released: Vec::new(),
            puts: Vec::new(),
            count: 0,
            squares: 0.0,
            scratch: Vec::new(),
        }
    }

    /// The hashes of a vector, and its squared distance from the center.
    fn hash(
        &mut self,
        target: &Target<'_, '_, '_>,
        vector: Address<'_>,
    ) -> Result<(Vec<u32>, f64)> {
        let Target { place, wtxn, .. } = target;
        if self.hasher.is_none() {
            let key = trained_key(place.index);
            let part = part(place.index, &self.before)?;
            let trained = decode(key, place.sound(wtxn, key)?, &self.before)?;
            self.hasher = part.map(|part| hasher(&trained, part));
        }
        let Some(hasher) = &self.hasher else { return Ok((Vec::new(), 0.0)) };
        let decoded = place.metric.decode(vector.bytes, self.before.scale);
        let dimensions = self.before.dimensions as usize;
        let row = place.metric.coded(&decoded, vector.factor, dimensions);
        let mut hashes = Vec::new();
        hasher.hash(&row, &mut self.scratch, &mut hashes);
        Ok((hashes, hasher.square(&row)))
    }

    /// Notes that the tables have the vector that is stored for a slot, and must not.
    fn remove_stored(&mut self, target: &Target<'_, '_, '_>, slot: Slot) -> Result<()> {
        if slot.0 >= self.before.slots || self.removed.contains_key(&slot.0) {
            return Ok(());
        }
        let (key, stored) = stored(target, &self.before, slot)?;
        // A free slot of the tail has none.
        let Some(stored) = stored else { return Ok(()) };
        let geometry = self.before.geometry;
        let (place, is_block) = match key.kind {
            Kind::VECTORS => (geometry.place(slot).1, true),
            _ => (0, false),
        };
        let short = Error::corrupt(key, "it does not have the length of such values");
        let [start, factor] = match is_block {
            true => [geometry.vector_offset(place), geometry.factor_offset(place)],
            false => [0, geometry.stride],
        };
        let bytes = stored.body().get(start..start + geometry.stride);
        let bytes = bytes.ok_or(short)?.to_vec();
        let factor = match geometry.factor {
            0 => 0.0,
            _ => take(stored.body(), factor).map_or(0.0, f32::from_le_bytes),
        };
        let (hashes, _) = self.hash(target, Address { bytes: &bytes, factor })?;
        self.removed.insert(slot.0, hashes);
        Ok(())
    }
}

/// The verified value that holds the vector of a slot of before the edit.
fn stored<'a>(
    target: &'a Target<'_, '_, '_>,
    before: &Meta,
    slot: Slot,
) -> Result<(Key, Option<Sound<'a>>)> {
    let block = before.geometry.place(slot).0 as u32;
    let key = match block < before.slots / before.geometry.vectors {
        true => vectors::block_key(target.place.index, block),
        false => vectors::single_key(target.place.index, slot),
    };
    Ok((key, target.place.sound(target.wtxn, key)?))
}

impl SectionEdit for LshEdit {
    fn store(
        &mut self,
        target: Target<'_, '_, '_>,
        slot: Slot,
        vector: Address<'_>,
        is_late: bool,
    ) -> Result<()> {
        if is_late {
            self.remove_stored(&target, slot)?;
        }
        let (hashes, square) = self.hash(&target, vector)?;
        self.added.insert(slot.0, hashes);
        self.count = self.count.saturating_add(1);
        self.squares += square;
        Ok(())
    }

    fn release(&mut self, slot: Slot) {
        if self.added.remove(&slot.0).is_none() {
            self.released.push(slot);
        }
    }

    fn seal(&mut self, _: Target<'_, '_, '_>, _: u32) -> Result<()> {
        Ok(())
    }

    /// Reads and changes all nodes: what is left to write then overwrites no vector.
    fn check_late(&mut self, target: &Target<'_, '_, '_>) -> Result<()> {
        for slot in std::mem::take(&mut self.released) {
            self.remove_stored(target, slot)?;
        }
        let tables = self.hasher.as_ref().map_or(0, Hasher::tables);
        for table in 0..tables {
            let mut trie = Trie { target, table, nodes: BTreeMap::new() };
            let entries = |hashes: &Hashes| {
                let entry = |(slot, hashes): (&u32, &Vec<u32>)| {
                    hashes.get(table).map(|hash| Entry { hash: *hash, slot: *slot })
                };
                let mut entries: Vec<Entry> = hashes.iter().filter_map(entry).collect();
                entries.sort_unstable();
                entries
            };
            entries(&self.removed).into_iter().try_for_each(|entry| trie.remove(entry))?;
            entries(&self.added).into_iter().try_for_each(|entry| trie.insert(entry))?;
            self.puts.extend(trie.puts());
        }
        self.added.clear();
        self.removed.clear();
        Ok(())
    }

    fn write_late(&mut self, _: Target<'_, '_, '_>) -> Result<()> {
        Ok(())
    }

    fn rest(&mut self, _: Place<'_>) -> Vec<Put> {
        std::mem::take(&mut self.puts)
    }

    fn count(&self, meta: &mut Meta) {
        if let Ok(Some(mut part)) = part(0, meta) {
            part.added = part.added.saturating_add(self.count);
            part.squares = (part.squares + self.squares).min(f64::MAX);
            meta.set_part(Kind::LSH, Some(part.encode()));
        }
    }
}

/// A node in memory, and whether it has changed. `None` if it does not exist.
type Loaded = (Option<Body>, bool);

/// A table that is being changed.
struct Trie<'a, 'b, 'e, 'p> {
    target: &'a Target<'b, 'e, 'p>,
    table: usize,
    nodes: BTreeMap<Node, Loaded>,
}

impl Trie<'_, '_, '_, '_> {
    fn key(&self, node: Node) -> Key {
        node.key(self.target.place.index, self.table)
    }

    /// A node, verified if it comes from disk.
    fn load(&mut self, node: Node) -> Result<&mut Loaded> {
        let key = self.key(node);
        match self.nodes.entry(node) {
            std::collections::btree_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let body = self.target.place.sound(self.target.wtxn, key)?;
                let body = body.map(|body| Body::decode(body.body())).transpose();
                let body = body.map_err(|what| Error::corrupt(key, what))?;
                Ok(entry.insert((body, false)))
            }
        }
    }

    fn set(&mut self, node: Node, body: Option<Body>) {
        self.nodes.insert(node, (body, true));
    }

    fn insert(&mut self, new: Entry) -> Result<()> {
        let mut node = Node::top(new);
        loop {
            let key = self.key(node);
            let (body, has_changed) = self.load(node)?;
            match body {
                None if node.level > 1 => return Err(missing(key)),
                None => {
                    (*body, *has_changed) = (Some(Body::Leaf(vec![new])), true);
                    return Ok(());
                }
                Some(Body::Leaf(entries)) => {
                    let Err(at) = entries.binary_search(&new) else { return Ok(()) };
                    entries.insert(at, new);
                    *has_changed = true;
                    if entries.len() > MAX_LEAF && node.level < LAST {
                        let entries = std::mem::take(entries);
                        Body::subtree(node, entries, &mut |node, body| self.set(node, Some(body)));
                    }
                    return Ok(());
                }
                Some(Body::Split(mask)) => {
                    let digit = new.digit(node.level + 1);
                    let child = node.child(digit);
                    if *mask & 1 << digit == 0 {
                        (*mask, *has_changed) = (*mask | 1 << digit, true);
                        self.set(child, Some(Body::Leaf(vec![new])));
                        return Ok(());
                    }
                    node = child;
                }
            }
        }
    }

    /// Removes an item, if the table has it: a slot that was free before the edit is in none.
    fn remove(&mut self, old: Entry) -> Result<()> {
        let mut node = Node::top(old);
        loop {
            let key = self.key(node);
            let (body, has_changed) = self.load(node)?;
            match body {
                None if node.level > 1 => return Err(missing(key)),
                None => return Ok(()),
                Some(Body::Leaf(entries)) => {
                    let Ok(at) = entries.binary_search(&old) else { return Ok(()) };
                    entries.remove(at);
                    *has_changed = true;
                    let is_empty = entries.is_empty();
                    return if is_empty { self.delete(node) } else { Ok(()) };
                }
                Some(Body::Split(mask)) => {
                    let digit = old.digit(node.level + 1);
                    if *mask & 1 << digit == 0 {
                        return Ok(());
                    }
                    node = node.child(digit);
                }
            }
        }
    }

    /// Deletes a node, and those above it that have no other child.
    fn delete(&mut self, node: Node) -> Result<()> {
        self.set(node, None);
        let mut below = node;
        while let Some((node, digit)) = below.parent() {
            let (body, has_changed) = self.load(node)?;
            let Some(Body::Split(mask)) = body else { break };
            (*mask, *has_changed) = (*mask & !(1 << digit), true);
            if *mask > 0 {
                break;
            }
            *body = None;
            below = node;
        }
        Ok(())
    }

    /// The puts of all nodes that have changed.
    fn puts(self) -> Vec<Put> {
        let (index, table) = (self.target.place.index, self.table);
        let changed = self.nodes.into_iter().filter(|(_, (_, has_changed))| *has_changed);
        changed
            .map(|(node, (body, _))| (node.key(index, table), body.map(|body| body.encode())))
            .collect()
    }
}

fn missing(key: Key) -> Error {
    Error::corrupt(key, "it is missing")
}
