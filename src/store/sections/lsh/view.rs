//! Looking up the nodes of the tables.

use std::collections::BTreeMap;

use super::tables::HashTables;
use super::training::{decode, part, trained_key};
use crate::error::{Error, Result};
use crate::format::checksum::{Sound, unverified};
use crate::format::codes::Trained;
use crate::format::lsh::{Content, Node};
use crate::format::{Key, Kind};
use crate::store::meter;
use crate::store::snapshot::Snapshot;
use crate::store::source::Source;
use crate::store::table::Memory;
use crate::store::view::View;

impl<'s, 't, S: Source<'t>> View<'s, 't, S> {
    /// The training of the tables.
    pub(super) fn hash_training(&self) -> Result<Trained> {
        // Verified for searches, too: all hashes depend on it, and it is read once per snapshot.
        let key = trained_key(self.snapshot.index);
        let sound = self.source.get(key)?.map(|value| Sound::of(key, value)).transpose()?;
        decode(key, sound, &self.snapshot.meta)
    }

    /// The tables. `None` if there are none.
    pub(crate) fn hash_tables(&self) -> Result<Option<&'s HashTables<'t>>> {
        let snapshot: &'s Snapshot<'t> = self.snapshot;
        if let Some(tables) = snapshot.hash_tables.get() {
            return Ok(Some(tables));
        }
        let Some(part) = part(snapshot.index, &snapshot.meta)? else { return Ok(None) };
        let trained = self.hash_training()?;
        let new = || HashTables::new(snapshot.memory, snapshot.meta.items, &trained, part);
        Ok(Some(snapshot.hash_tables.get_or_init(new)))
    }

    /// The content of a node of a table. `None` if there is no such node.
    pub(crate) fn hash_node(
        &self,
        tables: &HashTables<'t>,
        table: usize,
        node: Node,
    ) -> Result<Option<Content<'t>>> {
        meter::read();
        let (number, key) = (node.number() as usize, node.key(self.snapshot.index, table));
        let upper = tables.upper.get(table).filter(|upper| number < upper.len());
        let value = match (upper.and_then(|upper| upper.get(number)), upper, tables.lower.get()) {
            (Some(value), ..) => value,
            (None, Some(upper), _) => match self.source.get(key)? {
                Some(value) => upper.set(number, value),
                None => upper.set_absent(number),
            }
            .ok_or(Error::corrupt(key, "it does not have the length that it says"))?,
            (None, None, Some(lower)) => lower.get(&key).copied().unwrap_or_default(),
            (None, None, None) => self.source.get(key)?.unwrap_or_default(),
        };
        let body = unverified(value);
        match body.is_empty() {
            true => Ok(None),
            false => Content::decode(body).map(Some).map_err(|what| Error::corrupt(key, what)),
        }
    }

    /// Looks up all nodes, and passes each value to `go_on`, until it returns `false`. Returns
    /// whether all were visited.
    pub(super) fn each_hash_node(&self, go_on: &mut dyn FnMut(&'t [u8]) -> bool) -> Result<bool> {
        let Some(tables) = self.hash_tables()? else { return Ok(true) };
        let mut lower = BTreeMap::new();
        let (first, last) = Key::all_of(self.snapshot.index, Kind::LSH);
        let values = self.source.values(first, last, usize::MAX)?;
        // Where only single values can be looked up, all have been found before.
        let is_whole = !values.is_empty();
        for (key, value) in values {
            let Some((table, node)) = Node::of_key(key) else { continue };
            let (number, upper) = (node.number() as usize, tables.upper.get(table));
            match upper.filter(|upper| number < upper.len()) {
                Some(upper) => drop(upper.set(number, value)),
                None => drop(lower.insert(key, value)),
            }
            if !go_on(value) {
                return Ok(false);
            }
        }
        if self.snapshot.memory == Memory::Full && is_whole {
            tables.lower.get_or_init(|| lower);
        }
        Ok(true)
    }

    /// Passes the content of all nodes to `each`, in key order.
    pub(super) fn each_hash_content(
        &self,
        mut each: impl FnMut(usize, Node, Content<'t>) -> Result<()>,
    ) -> Result<()> {
        let (first, last) = Key::all_of(self.snapshot.index, Kind::LSH);
        for (key, value) in self.source.values(first, last, usize::MAX)? {
            if let Some((table, node)) = Node::of_key(key) {
                let content = Content::decode(unverified(value));
                each(table, node, content.map_err(|what| Error::corrupt(key, what))?)?;
            }
        }
        Ok(())
    }
}
