//! The invariant of the two maps between items and slots: they agree.

use roaring::RoaringBitmap;

use super::items::items;
use crate::error::Result;
use crate::format::checksum;
use crate::format::ids::{ID_GROUP, IdGroup, SLOT_GROUP, group_bytes};
use crate::format::set::SetKind;
use crate::format::{Key, Kind};
use crate::store::checker::{Checker, Invariant};
use crate::types::Slot;

impl Checker<'_, '_, '_> {
    /// Checks the layout of a value. `false` if no such key may exist.
    pub(super) fn id_value(&mut self, key: Key, value: &[u8]) -> bool {
        if key.kind == Kind::ID_SLOTS {
            self.layout(key, IdGroup::decode(checksum::unverified(value)).map(drop));
            return key.sub == 0 && key.n <= u32::MAX / ID_GROUP;
        }
        let first = u64::from(key.n) * u64::from(SLOT_GROUP);
        let slots = u64::from(self.view.snapshot.meta.slots);
        let count = slots.saturating_sub(first).min(SLOT_GROUP.into()) as u32;
        let fits = value.len() == group_bytes(count);
        self.layout(
            key,
            if fits { Ok(()) } else { Err("it does not have the length of its slots") },
        );
        key.sub == 0 && count > 0
    }

    /// Checks `ids`, and its part of `counts`.
    pub(super) fn check_ids(&mut self) -> Result<()> {
        let slots = self.view.snapshot.meta.slots;
        let mut named = RoaringBitmap::new();
        let entries: Vec<_> = items(self.place, self.rtxn)?.collect();
        for entry in entries {
            let Some((item, slot)) = self.survive(entry)? else { continue };
            let dead = self.set(SetKind::Removed).contains(slot.0)
                || self.set(SetKind::Free).contains(slot.0)
                || slot.0 >= slots;
            self.findings.expect(!dead, Invariant::Ids, || {
                format!("item {item} has {slot}, which is not live")
            });
            self.findings.expect(named.insert(slot.0), Invariant::Ids, || {
                format!("two items have {slot}, one of them {item}")
            });
            if slot.0 < slots {
                let back = self.view.item(slot);
                let back = self.survive(back)?;
                let say = || format!("item {item} has {slot}, which says it holds item {back:?}");
                self.findings.expect(back.is_none_or(|back| back == item), Invariant::Ids, say);
            }
        }
        for slot in self.set(SetKind::Free).clone().iter().filter(|slot| *slot < slots) {
            let item = self.view.item(Slot(slot));
            let item = self.survive(item)?;
            self.findings.expect(item.is_none_or(|item| item == 0), Invariant::Ids, || {
                format!("slot {slot} is free and says it holds {item:?}")
            });
        }
        let items = self.view.snapshot.meta.items;
        let say = || format!("{} items have a slot, the metadata counts {items}", named.len());
        self.findings.expect(named.len() == u64::from(items), Invariant::Counts, say);
        let live = u64::from(slots)
            - (self.set(SetKind::Free) | self.set(SetKind::Removed)).range_cardinality(..slots);
        let say = || format!("{live} slots are live, {} of them have an item", named.len());
        self.findings.expect(live == named.len(), Invariant::Ids, say);
        Ok(())
    }
}
