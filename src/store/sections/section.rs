//! The trait of all sections of an index.

use roaring::RoaringBitmap;

use super::relabel::{Relabel, Relabelled};
use super::repair::Repair;
use super::upkeep::{Footprint, Upkeep, Upkept};
use crate::distance::Metric;
use crate::error::Result;
use crate::format::meta::Meta;
use crate::format::{Damage, Key, Kind};
use crate::store::Place;
use crate::store::address::Address;
use crate::store::checker::Checker;
use crate::store::snapshot::Snapshot;
use crate::store::source::Source;
use crate::store::stats::Stats;
use crate::store::table::{Memory, Table};
use crate::store::target::{Put, Target};
use crate::store::view::View;
use crate::types::{IndexKind, Slot};

/// A view with a type-erased source.
pub(crate) type AnyView<'s, 'v, 't> = View<'s, 't, &'v (dyn Source<'t> + 'v)>;

/// A pointer table whose values DELTA lists, with their kind and sub.
pub(crate) type Listed<T> = (Kind, u8, T);

/// What becomes of the values of a section when all stored vectors are encoded by another scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rescaled {
    /// The edit stores each vector, by the write buffer of the section, if it has one.
    Edited,
    /// They stay as they are.
    Kept,
    /// They are deleted, and the next build makes others.
    Forgotten,
}

/// A section: see the module. The methods without a default are those that no section may forget.
pub(crate) trait Section: Sync {
    /// Its key kinds, ascending.
    fn kinds(&self) -> &'static [Kind];

    /// Whether DELTA lists a value. Tables carry listed values over from snapshot to snapshot, so
    /// that a search after a commit looks up only what the commit has rewritten.
    fn is_listed(&self, _key: Key) -> bool {
        false
    }

    /// New pointer tables of a snapshot for listed values, if they are not fields of the snapshot.
    fn new_tables<'t>(&self, _memory: Memory, _meta: &Meta) -> Vec<Listed<Table<'t>>> {
        Vec::new()
    }

    /// The kinds of values that searches look up by their keys each time, as no table has them.
    fn looked_up(&self) -> &'static [Kind] {
        &[]
    }

    /// The pointer tables of a snapshot for listed values, in any order that is the same for two
    /// snapshots of one index.
    fn listed<'s, 't>(&self, snapshot: &'s Snapshot<'t>) -> Vec<Listed<&'s Table<'t>>> {
        let own = |(kind, _, _): &&Listed<Table<'t>>| self.kinds().contains(kind);
        snapshot.others.iter().filter(own).map(|(kind, sub, table)| (*kind, *sub, table)).collect()
    }

    /// Looks up every value that a search may need, which fills the pointer tables, and passes each
    /// to `visit`, until it returns `false`. Returns whether all were visited.
    fn visit<'t>(
        &self,
        view: &AnyView<'_, '_, 't>,
        visit: &mut dyn FnMut(&'t [u8]) -> bool,
    ) -> Result<bool>;

    /// The write buffer of its per-slot values. `None` if it has no such values, or if `Edit`
    /// writes them itself.
    fn edit(&self, _meta: &Meta) -> Option<Box<dyn SectionEdit>> {
        None
    }

    /// The kind of index that it makes. `None` if an index has it whatever its kinds are, or not.
    fn index_kind(&self) -> Option<IndexKind> {
        None
    }

    /// Whether an index of a metric can have it; what it can be used with if not.
    fn supports(&self, _metric: &Metric) -> Result<(), &'static str> {
        Ok(())
    }

    /// Whether an index has it: a kind that an index has by choice has a part in META.
    fn is_present(&self, meta: &Meta) -> bool {
        self.kinds().first().is_some_and(|kind| meta.part(*kind).is_some())
    }

    /// Checks its part in META, if there is one.
    fn check_part(&self, _meta: &Meta) -> Result<(), Damage> {
        Ok(())
    }

    /// Its part in META before it has any values.
    fn new_part(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Puts into META whether an index has it. Its values are left to [`upkeep`](Self::upkeep), or
    /// are deleted.
    fn set_present(&self, meta: &mut Meta, is_present: bool) {
        if let Some(kind) = self.kinds().first() {
            meta.set_part(*kind, is_present.then(|| self.new_part()));
        }
    }

    /// Whether [`upkeep`](Self::upkeep) has something to do.
    fn is_due(&self, _meta: &Meta) -> bool {
        false
    }

    /// What its values take in an index whose codes have `code` bytes, or that has none (0).
    fn footprint(&self, _meta: &Meta, _code: u64) -> Footprint {
        Footprint::default()
    }

    /// What the end of a build does to its values, if they are more than edits can keep up.
    fn upkeep(&self, _upkeep: &Upkeep<'_, '_, '_>) -> Result<Option<Upkept>> {
        Ok(None)
    }

    /// All live slots, in the order in which its searches read them: where there is no graph, items
    /// are renumbered by it.
    fn order(&self, _view: &AnyView<'_, '_, '_>) -> Result<Option<Vec<Slot>>> {
        Ok(None)
    }

    /// What becomes of its values when all stored vectors are encoded by another scale.
    fn rescaled(&self) -> Rescaled {
        Rescaled::Edited
    }

    /// Whether searches read values of a kind of its from all over the index, however few items
    /// they return.
    fn is_hot(&self, _kind: Kind, _meta: &Meta) -> bool {
        false
    }

    /// Its values for an index with renumbered slots.
    fn relabel(&self, relabel: &Relabel<'_, '_, '_>) -> Result<Relabelled>;

    /// Resets in META the fields of values derived from the vectors, which a build can recompute
    /// and an unfinished edit may have half rewritten. `false` if the section has no derived
    /// values, or does not overwrite them in place; otherwise all its values are deleted.
    fn forget(&self, _meta: &mut Meta) -> bool {
        false
    }

    /// Resets in META what it says of values that the section has made of the codes of the index,
    /// which are about to be replaced. Returns the first and the last key of these values, which
    /// are deleted, and made anew by the next build; `None` if there are none.
    fn forget_codes(&self, _index: u16, _meta: &mut Meta) -> Option<[Key; 2]> {
        None
    }

    /// Whether builds compute its values, and edits between two builds leave them alone: a build
    /// anew deletes them all, and a build that is written on top of later commits restores the
    /// values that these have changed.
    fn is_built(&self) -> bool {
        false
    }

    /// The centers that it has computed from vectors, which scrubbing compares with those that are
    /// gone. If one shows such a vector, its values are deleted, and made anew by the next build.
    fn centers(&self, _view: &AnyView<'_, '_, '_>) -> Result<Vec<Vec<f32>>> {
        Ok(Vec::new())
    }

    /// Whether an edit may change its values before its end, so that they are forgotten after every
    /// torn edit, and not only after one that had begun to write derived values.
    fn changes_early(&self) -> bool {
        false
    }

    /// The puts that restore its values after a torn edit.
    fn repair(&self, repair: &Repair<'_, '_, '_>) -> Result<Vec<Put>>;

    /// Checks the layout of a value. `false` if no such key may exist.
    fn check_value(
        &self,
        checker: &mut Checker<'_, '_, '_>,
        key: Key,
        value: &[u8],
    ) -> Result<bool>;

    /// Checks its invariants. The sets have been read before, and the layout of each value checked.
    fn check(&self, checker: &mut Checker<'_, '_, '_>) -> Result<()>;

    /// Adds its figures to the statistics. Values and bytes by kind are counted elsewhere.
    fn stats(&self, _view: &AnyView<'_, '_, '_>, _stats: &mut Stats) -> Result<()> {
        Ok(())
    }
}

/// The write buffer of a section in an edit: see `store/edit.rs` for when it may be written.
pub(crate) trait SectionEdit {
    /// Stores the vector of a slot that had none before the edit; or, if `is_late`, of a slot whose
    /// old value must stay unchanged until the end of the edit.
    fn store(
        &mut self,
        target: Target<'_, '_, '_>,
        slot: Slot,
        vector: Address<'_>,
        is_late: bool,
    ) -> Result<()>;

    /// Discards the value of a slot that is free from now on.
    fn release(&mut self, slot: Slot);

    /// Called with the new number of slots, to write blocks that are full.
    fn seal(&mut self, target: Target<'_, '_, '_>, slots: u32) -> Result<()>;

    /// Reads and verifies what [`write_late`](Self::write_late) overwrites.
    fn check_late(&mut self, target: &Target<'_, '_, '_>) -> Result<()>;

    /// Overwrites live values. Only LMDB may stop the edit from here on.
    fn write_late(&mut self, target: Target<'_, '_, '_>) -> Result<()>;

    /// The values that the section has made of codes are deleted: it changes them no more.
    fn forget_codes(&mut self) {}

    /// Drains everything not yet written.
    fn rest(&mut self, place: Place<'_>) -> Vec<Put>;

    /// Clears what is left in the places of slots that have been free since before the edit.
    /// Returns how many places were not clear. Does nothing where a freed slot leaves nothing.
    fn scrub(&mut self, _target: Target<'_, '_, '_>, _free: &RoaringBitmap) -> Result<u64> {
        Ok(0)
    }

    /// Adds to META what the section has counted in the edit.
    fn count(&self, meta: &mut Meta);
}
