//! The maps between items and slots: SLOT_IDS, the item ids of consecutive slots, and ID_SLOTS, the
//! slots of consecutive item ids.
//!
//! `view`: lookups in both; `resolve`: the slots of a set of items; `items`: iterates over all
//! items in id order; `edit`: the write buffer.

mod check;
pub(in crate::store) mod edit;
pub(crate) mod items;
mod repair;
mod resolve;
pub(crate) mod view;

use super::relabel::{Relabel, Relabelled};
use super::repair::Repair;
use super::section::{AnyView, Listed, Section};
use crate::error::Result;
use crate::format::ids::{self, IdGroup, SLOT_GROUP};
use crate::format::meta::Meta;
use crate::format::{Key, Kind};
use crate::store::checker::Checker;
use crate::store::snapshot::Snapshot;
use crate::store::table::Table;
use crate::store::target::Put;
use crate::types::{ItemId, Slot};

/// The section of the item maps: see the module.
pub(crate) struct IdsSection;

impl Section for IdsSection {
    fn kinds(&self) -> &'static [Kind] {
        &[Kind::SLOT_IDS, Kind::ID_SLOTS]
    }

    fn is_hot(&self, kind: Kind, _meta: &Meta) -> bool {
        kind == Kind::SLOT_IDS
    }

    fn is_listed(&self, key: Key) -> bool {
        key.kind == Kind::SLOT_IDS
    }

    fn listed<'s, 't>(&self, snapshot: &'s Snapshot<'t>) -> Vec<Listed<&'s Table<'t>>> {
        vec![(Kind::SLOT_IDS, 0, &snapshot.slot_ids[0])]
    }

    fn looked_up(&self) -> &'static [Kind] {
        &[Kind::ID_SLOTS]
    }

    fn visit<'t>(
        &self,
        view: &AnyView<'_, '_, 't>,
        visit: &mut dyn FnMut(&'t [u8]) -> bool,
    ) -> Result<bool> {
        for first in (0..view.snapshot.meta.slots).step_by(SLOT_GROUP as usize) {
            view.item(Slot(first))?;
            let (group, _) = ids::slot_place(Slot(first));
            let [full, last] = &view.snapshot.slot_ids;
            let value = full
                .get(group as usize)
                .or_else(|| last.get((group as usize).checked_sub(full.len())?));
            if value.is_some_and(|value| !visit(value)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn relabel(&self, relabel: &Relabel<'_, '_, '_>) -> Result<Relabelled> {
        let Relabel { view, order, .. } = relabel;
        let items: Vec<ItemId> =
            order.iter().map(|slot| view.item(*slot)).collect::<Result<_>>()?;
        let groups = items.chunks(SLOT_GROUP as usize).enumerate();
        let mut puts: Vec<Put> = groups
            .map(|(number, items)| {
                (view.key(Kind::SLOT_IDS, 0, number as u32), Some(ids::encode_slots(items)))
            })
            .collect();
        let mut items: Vec<(ItemId, Slot)> = items.into_iter().zip((0..).map(Slot)).collect();
        items.sort_unstable();
        for items in items.chunk_by(|(a, _), (b, _)| ids::id_place(*a).0 == ids::id_place(*b).0) {
            let mut group = IdGroup::default();
            for (item, slot) in items {
                group.set(ids::id_place(*item).1, Some(*slot));
            }
            let number = ids::id_place(items[0].0).0;
            puts.push((view.key(Kind::ID_SLOTS, 0, number), Some(group.encode())));
        }
        Ok(Relabelled::Puts(puts))
    }

    fn repair(&self, repair: &Repair<'_, '_, '_>) -> Result<Vec<Put>> {
        repair::id_puts(repair)
    }

    fn check_value(
        &self,
        checker: &mut Checker<'_, '_, '_>,
        key: Key,
        value: &[u8],
    ) -> Result<bool> {
        Ok(checker.id_value(key, value))
    }

    fn check(&self, checker: &mut Checker<'_, '_, '_>) -> Result<()> {
        checker.check_ids()
    }
}
