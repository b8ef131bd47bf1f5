//! The invariants of item keys: every row is intact, and keys and item ids map to each other one to
//! one, with an item for each.

use heed::RoTxn;

use crate::error::Result;
use crate::format::item_keys::{Naming, Row, decode_id, decode_key};
use crate::format::{Kind, checksum};
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
        Some(Row::Id(key)) => format!("the item id of the key {}", naming.show(key)),
        Some(Row::Key(id)) => format!("the key of the item id {id}"),
        Some(Row::Free(id)) => format!("that the item id {id} is free"),
        None => format!("the key {key:02x?}"),
    }
}

impl Checker<'_, '_, '_> {
    fn row<'t>(&self, rtxn: &'t RoTxn<'_>, row: Row<'_>) -> Result<Option<&'t [u8]>> {
        Ok(self.place.raw.get(rtxn, &row.to_bytes(self.place.index))?.map(checksum::unverified))
    }

    /// Checks `item-keys`, and its part of `keys` and `layout`.
    pub(super) fn check_item_keys(&mut self) -> Result<()> {
        let (rtxn, naming) = (self.rtxn, self.place.naming);
        if naming == Naming::Ids {
            return Ok(());
        }
        let (mut keys, mut ids, mut free, mut beyond) = (0u64, 0u64, 0u64, 0u64);
        for entry in self.place.all(rtxn)? {
            let (key, value) = entry?;
            if Kind::of(key) != Some(Kind::KEYS) {
                continue;
            }
            let body = checksum::unverified(value);
            match Row::from_bytes(key) {
                None => self
                    .findings
                    .add(Invariant::Keys, format!("the key {key:02x?} is of no used kind")),
                Some(Row::Id(item_key)) => {
                    keys += 1;
                    match naming.check(item_key).and_then(|()| decode_id(body)) {
                        Err(what) => self
                            .findings
                            .add(Invariant::Layout, format!("{}: {what}", show(key, naming))),
                        Ok(id) => self.item_of(item_key, id)?,
                    }
                }
                Some(Row::Key(id)) => {
                    ids += 1;
                    beyond = u64::from(id) + 1;
                    let item_key = match decode_key(body)
                        .and_then(|item_key| naming.check(item_key).map(|()| item_key))
                    {
                        Ok(item_key) => item_key,
                        Err(what) => {
                            self.findings
                                .add(Invariant::Layout, format!("{}: {what}", show(key, naming)));
                            continue;
                        }
                    };
                    let back = self.row(rtxn, Row::Id(item_key))?.map(decode_id);
                    let say = || {
                        format!(
                            "the item id {id} has the key {}, which has the item id {back:?}",
                            naming.show(item_key)
                        )
                    };
                    self.findings.expect(back == Some(Ok(id)), Invariant::ItemKeys, say);
                }
                Some(Row::Free(id)) => {
                    free += 1;
                    beyond = beyond.max(u64::from(id) + 1);
                    let is_free = self.row(rtxn, Row::Key(id))?.is_none();
                    self.findings.expect(is_free, Invariant::ItemKeys, || {
                        format!("the item id {id} is free and has a key")
                    });
                    self.findings.expect(body.is_empty(), Invariant::Layout, || {
                        format!("{}: it is not empty", show(key, naming))
                    });
                }
            }
        }
        let items = u64::from(self.view.snapshot.meta.items);
        let say = || format!("{items} items have {keys} keys, and {ids} item ids have one");
        self.findings.expect(keys == items && ids == items, Invariant::ItemKeys, say);
        let say =
            || format!("of the item ids below {beyond}, {ids} have a key and {free} are free");
        self.findings.expect(ids + free == beyond, Invariant::ItemKeys, say);
        Ok(())
    }

    /// Checks that a key and the item id it has are of one item.
    fn item_of(&mut self, key: &[u8], id: ItemId) -> Result<()> {
        let naming = self.place.naming;
        let back = self.row(self.rtxn, Row::Key(id))?.and_then(|body| decode_key(body).ok());
        let say = || {
            format!(
                "the key {} has the item id {id}, which has {}",
                naming.show(key),
                back.map_or("none".to_owned(), |back| naming.show(back))
            )
        };
        self.findings.expect(back == Some(key), Invariant::ItemKeys, say);
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
