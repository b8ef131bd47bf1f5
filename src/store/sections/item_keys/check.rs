//! The invariants of item keys: every row is intact, and keys and item ids map to each other one to
//! one, with an item for each.

use super::rows::ItemKeys;
use crate::error::{Error, Result};
use crate::format::item_keys::{Naming, Row, decode_id_of_8, decode_key_of_8};
use crate::format::key_blocks::{Entries, Entry, group_start};
use crate::format::{Damage, Kind, checksum};
use crate::store::checker::{Checker, Findings, Invariant};
use crate::types::ItemId;

/// Checks one row by itself: whether it may exist, and its checksum.
pub(crate) fn checksum_of(key: &[u8], value: &[u8], naming: Naming, findings: &mut Findings) {
    if naming == Naming::Ids {
        findings.add(
            Invariant::Keys,
            format!(
                "there is the key of an item under {key:02x?}, and the items of the index have none"
            ),
        );
    } else if !checksum::holds_under(key, value) {
        findings.add(
            Invariant::Checksum,
            format!("{}: its bytes do not have its checksum", show(key, naming)),
        );
    }
}

/// Describes a row in messages.
fn show(key: &[u8], naming: Naming) -> String {
    match Row::from_bytes(key) {
        Some(Row::IdOf8(key)) => format!("the item id of the key {}", naming.show(key)),
        Some(Row::KeyOf8(id)) => format!("the key of the item id {id}"),
        Some(Row::Free(id)) => format!("that the item id {id} is free"),
        Some(Row::Ids(key)) => format!("the item ids from the key {} on", naming.show(key)),
        Some(Row::Keys(id)) => format!("the keys from the item id {id} on"),
        None => format!("the key {key:02x?}"),
    }
}

/// The entries of a row, in its order.
fn entries_of(row: Row<'_>, body: &[u8]) -> Result<Vec<Entry>, Damage> {
    let entries = match row {
        Row::IdOf8(key) => vec![(key.to_vec(), decode_id_of_8(body)?)],
        Row::KeyOf8(id) => vec![(decode_key_of_8(body)?.to_vec(), id)],
        Row::Free(_) if body.is_empty() => Vec::new(),
        Row::Free(_) => return Err("it is not empty"),
        Row::Ids(first) => Entries::by_key(first, body).all()?,
        Row::Keys(_) => Entries::by_id(body)?.all()?,
    };
    match (row, entries.first()) {
        (Row::Keys(first), Some((_, id))) if first != group_start(*id) => {
            Err("it begins with an id of another group")
        }
        _ => Ok(entries),
    }
}

/// What was counted of the rows.
#[derive(Default)]
struct Counts {
    /// Entries of the rows that lead from keys to ids, and back.
    keys: u64,
    ids: u64,
    free: u64,
    /// The largest id in any row, and one.
    beyond: u64,
}

impl Checker<'_, '_, '_> {
    /// Checks `item-keys`, and its part of `keys` and `layout`.
    pub(super) fn check_item_keys(&mut self) -> Result<()> {
        let (rtxn, naming) = (self.rtxn, self.place.naming);
        if naming == Naming::Ids {
            return Ok(());
        }
        let (mut counts, version) = (Counts::default(), self.view.snapshot.meta.version);
        for entry in self.place.all(rtxn)? {
            let (key, value) = entry?;
            if Kind::of(key) != Some(Kind::KEYS) {
                continue;
            }
            let Some(row) = Row::from_bytes(key).filter(|row| row.is_of(version)) else {
                let what = format!("the key {key:02x?} is of no used kind");
                self.findings.add(Invariant::Keys, what);
                continue;
            };
            let entries = entries_of(row, checksum::unverified(value)).and_then(|entries| {
                entries.iter().try_for_each(|(key, _)| naming.check(key)).map(|()| entries)
            });
            match entries {
                Ok(entries) => self.check_row(row, &entries, &mut counts)?,
                Err(what) => {
                    self.findings.add(Invariant::Layout, format!("{}: {what}", show(key, naming)))
                }
            }
        }
        let items = u64::from(self.view.snapshot.meta.items);
        let Counts { keys, ids, free, beyond } = counts;
        let say = || format!("{items} items have {keys} keys, and {ids} item ids have one");
        self.findings.expect(keys == items && ids == items, Invariant::ItemKeys, say);
        let say =
            || format!("of the item ids below {beyond}, {ids} have a key and {free} are free");
        self.findings.expect(ids + free == beyond, Invariant::ItemKeys, say);
        Ok(())
    }

    /// Checks that lookups lead from each entry of a row to the same entry in the other direction:
    /// which they do only if the rows are in order.
    fn check_row(&mut self, row: Row<'_>, entries: &[Entry], counts: &mut Counts) -> Result<()> {
        let (rtxn, naming) = (self.rtxn, self.place.naming);
        let rows = ItemKeys::of(self.place);
        match row {
            Row::IdOf8(_) | Row::Ids(_) => {
                counts.keys += entries.len() as u64;
                entries.iter().try_for_each(|(key, id)| self.item_of(key, *id))?;
            }
            Row::KeyOf8(_) | Row::Keys(_) => {
                counts.ids += entries.len() as u64;
                for (key, id) in entries {
                    counts.beyond = counts.beyond.max(u64::from(*id) + 1);
                    let back = found(rows.id(rtxn, key))?;
                    let say = || {
                        format!(
                            "the item id {id} has the key {}, which has the item id {back:?}",
                            naming.show(key)
                        )
                    };
                    self.findings.expect(back == Some(*id), Invariant::ItemKeys, say);
                }
            }
            Row::Free(id) => {
                counts.free += 1;
                counts.beyond = counts.beyond.max(u64::from(id) + 1);
                let is_free = found(rows.find_key_in(rtxn, id))?.is_none();
                self.findings.expect(is_free, Invariant::ItemKeys, || {
                    format!("the item id {id} is free and has a key")
                });
            }
        }
        Ok(())
    }

    /// Checks that a key and the item id it has are of one item.
    fn item_of(&mut self, key: &[u8], id: ItemId) -> Result<()> {
        let naming = self.place.naming;
        let back = found(ItemKeys::of(self.place).find_key_in(self.rtxn, id))?;
        let say = || {
            format!(
                "the key {} has the item id {id}, which has {}",
                naming.show(key),
                back.as_ref().map_or("none".to_owned(), |back| naming.show(back))
            )
        };
        self.findings.expect(back.as_deref() == Some(key), Invariant::ItemKeys, say);
        let slot = self.view.slot(id);
        let say = || {
            format!("the key {} has the item id {id}, and there is no such item", naming.show(key))
        };
        if let Some(slot) = self.survive(slot)? {
            self.findings.expect(slot.is_some(), Invariant::ItemKeys, say);
        }
        Ok(())
    }
}

/// What a lookup has found, or nothing where there is damage, which is found where it is.
fn found<T>(result: Result<Option<T>>) -> Result<Option<T>> {
    match result {
        Err(Error::Corrupt { .. } | Error::CorruptItemKey { .. }) => Ok(None),
        other => other,
    }
}
