//! What every section of an index can do.

use heed::RoTxn;

use super::relabel::{Relabel, Relabelled};
use super::repair::Repair;
use crate::error::Result;
use crate::format::meta::Meta;
use crate::format::{Key, Kind};
use crate::store::Place;
use crate::store::checker::Checker;
use crate::store::snapshot::Snapshot;
use crate::store::source::Source;
use crate::store::stats::Stats;
use crate::store::table::{Memory, Table};
use crate::store::target::{Put, Target};
use crate::store::view::View;
use crate::types::Slot;

/// A view on whatever source.
pub(crate) type AnyView<'s, 'v, 't> = View<'s, 't, &'v (dyn Source<'t> + 'v)>;

/// A table whose values DELTA lists, with their kind and sub.
pub(crate) type Listed<T> = (Kind, u8, T);

/// See the module. Methods without a body are what no section may forget.
pub(crate) trait Section: Sync {
    /// The kinds of its keys, ascending.
    fn kinds(&self) -> &'static [Kind];

    /// Whether DELTA lists a value: those that tables carry over from snapshot to snapshot, so that
    /// a search after a commit looks up only what the commit has rewritten.
    fn is_listed(&self, _key: Key) -> bool {
        false
    }

    /// The tables of a snapshot for such values, where they are not fields of it.
    fn new_tables<'t>(&self, _memory: Memory, _meta: &Meta) -> Vec<Listed<Table<'t>>> {
        Vec::new()
    }

    /// The tables of a snapshot for such values, in any order that is the same for two snapshots of
    /// one index.
    fn listed<'s, 't>(&self, snapshot: &'s Snapshot<'t>) -> Vec<Listed<&'s Table<'t>>> {
        let own = |(kind, _, _): &&Listed<Table<'t>>| self.kinds().contains(kind);
        snapshot.others.iter().filter(own).map(|(kind, sub, table)| (*kind, *sub, table)).collect()
    }

    /// Finds each value that a search may need, which fills its place in the tables, and shows it,
    /// until `visit` does not want more. Whether it has shown all.
    fn visit<'t>(
        &self,
        view: &AnyView<'_, '_, 't>,
        visit: &mut dyn FnMut(&'t [u8]) -> bool,
    ) -> Result<bool>;

    /// What an edit writes of it for each slot. `None` if that is nothing, or if the edit does it
    /// by itself.
    fn edit(&self, _meta: &Meta) -> Option<Box<dyn SectionEdit>> {
        None
    }

    /// Its values for an index whose slots have other numbers.
    fn relabel(&self, relabel: &Relabel<'_, '_, '_>) -> Result<Relabelled>;

    /// Forgets in META what has been made of the vectors, which a build can make again: what an
    /// unfinished edit may have half rewritten. `false` if it keeps nothing of the kind, or does
    /// not write it over; otherwise all its values are deleted.
    fn forget(&self, _meta: &mut Meta) -> bool {
        false
    }

    /// Whether builds compute its values, and edits between two builds leave them alone: a build
    /// anew deletes them, and one that is written on top of later commits restores what these have
    /// made of them.
    fn is_built(&self) -> bool {
        false
    }

    /// The puts that restore its values after a torn edit.
    fn repair(&self, repair: &Repair<'_, '_, '_>) -> Result<Vec<Put>>;

    /// Checks the layout of a value. `false` if there should be no such key.
    fn check_value(
        &self,
        checker: &mut Checker<'_, '_, '_>,
        key: Key,
        value: &[u8],
    ) -> Result<bool>;

    /// Checks its invariants. The sets have been read, and the layout of each value checked.
    fn check(&self, checker: &mut Checker<'_, '_, '_>) -> Result<()>;

    /// Adds what it has to tell of an index in numbers. Values and bytes are counted by kind.
    fn stats(&self, _view: &AnyView<'_, '_, '_>, _stats: &mut Stats) -> Result<()> {
        Ok(())
    }
}

/// The vector of a slot, as it is stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoredVector<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) factor: f32,
}

/// What an edit changes of a section: see `store/edit.rs` for when it may be written.
pub(crate) trait SectionEdit {
    /// Takes the vector of a slot that had none before the edit; or, if it is late, of one whose
    /// value must stay what it is until the end.
    fn store(
        &mut self,
        target: Target<'_, '_, '_>,
        slot: Slot,
        vector: StoredVector<'_>,
        is_late: bool,
    ) -> Result<()>;

    /// Forgets the value of a slot that is free from now on.
    fn release(&mut self, slot: Slot);

    /// Takes note of how many slots there are now.
    fn seal(&mut self, target: Target<'_, '_, '_>, slots: u32) -> Result<()>;

    /// Reads and checks what [`write_late`](Self::write_late) writes over.
    fn check_late(&self, target: &Target<'_, '_, '_>) -> Result<()>;

    /// Writes over live values. Only LMDB may stop the edit from here on.
    fn write_late(&mut self, target: Target<'_, '_, '_>) -> Result<()>;

    /// Takes everything not yet written.
    fn rest(&mut self, place: Place<'_>) -> Vec<Put>;
}

/// What makes the value of a slot of its vector. May read the index.
pub(crate) type MakeValue = dyn FnMut(Place<'_>, &RoTxn<'_>, StoredVector<'_>) -> Result<Vec<u8>>;
