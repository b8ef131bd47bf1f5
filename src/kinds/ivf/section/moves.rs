//! Moving slots between stored lists: the pieces, the groups of entries, and the sizes.

use std::collections::{BTreeMap, BTreeSet};

use super::codes::{Change, NewCodes, changed_blocks};
use super::group_of;
use super::stored::Stored;
use crate::error::{Error, Result};
use crate::format::{Key, Kind};
use crate::kinds::ivf::format::{
    GROUP, LISTS, NONE, SIZES, SLOTS, decode_group, encode_group, encode_list, list_n, pieces,
};
use crate::store::target::Put;

/// Groups of entries, read when they are first used.
pub(super) struct Groups<'a> {
    stored: Stored<'a>,
    sub: u8,
    groups: BTreeMap<u32, Vec<u32>>,
    changed: BTreeSet<u32>,
}

impl<'a> Groups<'a> {
    pub(super) fn new(stored: Stored<'a>, sub: u8) -> Self {
        Self { stored, sub, groups: BTreeMap::new(), changed: BTreeSet::new() }
    }

    fn group(&mut self, number: u32) -> Result<&mut Vec<u32>> {
        if !self.groups.contains_key(&number) {
            let key = self.stored.key(self.sub, number);
            let group = match (self.stored.read)(key)? {
                Some(body) => decode_group(&body).map_err(|what| Error::corrupt(key, what))?,
                None => vec![NONE; GROUP as usize],
            };
            self.groups.insert(number, group);
        }
        Ok(self.groups.entry(number).or_default())
    }

    pub(super) fn get(&mut self, number: u32) -> Result<u32> {
        let (group, place) = group_of(number);
        Ok(self.group(group)?.get(place).copied().unwrap_or(NONE))
    }

    /// Sets an entry. Returns the one before.
    pub(super) fn set(&mut self, number: u32, entry: u32) -> Result<u32> {
        let (group, place) = group_of(number);
        let stored = self.group(group)?.get_mut(place);
        let before = stored.map_or(NONE, |stored| std::mem::replace(stored, entry));
        if before != entry {
            self.changed.insert(group);
        }
        Ok(before)
    }

    /// The changed groups. One without entries has no value.
    pub(super) fn into_puts(self) -> impl Iterator<Item = Put> {
        let Self { stored, sub, groups, changed } = self;
        let groups = groups.into_iter().filter(move |(number, _)| changed.contains(number));
        groups.map(move |(number, group)| {
            let has_any = group.iter().any(|entry| *entry != NONE);
            (stored.key(sub, number), has_any.then(|| encode_group(&group)))
        })
    }

    /// All groups of these entries.
    pub(super) fn of_all(index: u16, sub: u8, entries: &[u32]) -> impl Iterator<Item = Put> {
        let groups = (0..).zip(entries.chunks(GROUP as usize));
        groups.filter_map(move |(number, entries)| {
            let mut group = entries.to_vec();
            group.resize(GROUP as usize, NONE);
            let has_any = group.iter().any(|entry| *entry != NONE);
            has_any.then(|| (Key::new(index, Kind::IVF, sub, number), Some(encode_group(&group))))
        })
    }
}

/// The puts of a list, which had `before` slots.
pub(super) fn list_puts(
    index: u16,
    list: u32,
    before: u32,
    slots: &[u32],
) -> impl Iterator<Item = Put> {
    let bodies = encode_list(slots);
    let left = bodies.len() as u32..pieces(before as usize).max(bodies.len() as u32);
    let key = move |piece| Key::new(index, Kind::IVF, LISTS, list_n(list, piece));
    let bodies = (0..).zip(bodies).map(move |(piece, body)| (key(piece), Some(body)));
    bodies.chain(left.map(move |piece| (key(piece), None)))
}

/// What has been moved.
#[derive(Debug, Default)]
pub(super) struct Moved {
    pub(super) puts: Vec<Put>,
    /// The sizes of the changed lists.
    pub(super) sizes: Vec<u32>,
}

/// Moves slots to lists, or out of all (`NONE`): `moves` has each slot once. `codes` has those of
/// the slots that come to a list, if lists have codes.
pub(super) fn move_slots(
    stored: Stored<'_>,
    moves: &BTreeMap<u32, u32>,
    lists: u32,
    codes: Option<&NewCodes>,
) -> Result<Moved> {
    let (mut of_slots, mut sizes) = (Groups::new(stored, SLOTS), Groups::new(stored, SIZES));
    let mut changes: BTreeMap<u32, Change> = BTreeMap::new();
    for (slot, list) in moves {
        let before = of_slots.set(*slot, *list)?;
        if before == *list {
            if *list < lists && codes.is_some_and(|codes| codes.has(*slot)) {
                changes.entry(*list).or_default().kept.insert(*slot);
            }
            continue;
        }
        if before < lists {
            changes.entry(before).or_default().gone.insert(*slot);
        }
        if *list < lists {
            changes.entry(*list).or_default().come.insert(*slot);
        }
    }
    let mut moved = Moved::default();
    for (list, change) in changes {
        let size = sizes.get(list)?;
        let size = if size == NONE { 0 } else { size };
        if let Some(codes) = codes {
            moved.puts.extend(changed_blocks(stored, codes, (list, size), &change)?);
        }
        let Change { gone, come, .. } = change;
        let before = stored.list(list, size)?;
        let kept = before.iter().copied().filter(|slot| !gone.contains(slot));
        let mut slots: Vec<u32> = kept.chain(come.iter().copied()).collect();
        slots.sort_unstable();
        slots.dedup();
        // Pieces that are as before are not written.
        let old = encode_list(&before);
        for (key, body) in list_puts(stored.index, list, size, &slots) {
            let (_, piece) = crate::kinds::ivf::format::of_list_n(key.n);
            if body.is_none() || old.get(piece as usize) != body.as_ref() {
                moved.puts.push((key, body));
            }
        }
        sizes.set(list, slots.len() as u32)?;
        moved.sizes.push(slots.len() as u32);
    }
    moved.puts.extend(of_slots.into_puts());
    moved.puts.extend(sizes.into_puts());
    Ok(moved)
}
