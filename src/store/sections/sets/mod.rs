//! SETS: the sets of pending, removed and free slots, as bitmaps in chunks.
//!
//! `view`: reads a whole set; `edit`: the write buffer.

mod check;
pub(in crate::store) mod edit;
mod repair;
mod view;

use super::relabel::{Relabel, Relabelled};
use super::repair::Repair;
use super::section::{AnyView, Section};
use crate::error::Result;
use crate::format::meta::Meta;
use crate::format::set::{CHUNK, SetKind};
use crate::format::{Key, Kind};
use crate::store::checker::Checker;
use crate::store::stats::Stats;
use crate::store::target::Put;

/// The section of the sets: see the module.
pub(crate) struct SetsSection;

impl Section for SetsSection {
    fn kinds(&self) -> &'static [Kind] {
        &[Kind::SETS]
    }

    fn is_hot(&self, _kind: Kind, _meta: &Meta) -> bool {
        true
    }

    fn looked_up(&self) -> &'static [Kind] {
        &[Kind::SETS]
    }

    /// Nothing to read ahead: a snapshot holds the sets that searches need in memory.
    fn visit<'t>(
        &self,
        _: &AnyView<'_, '_, 't>,
        _: &mut dyn FnMut(&'t [u8]) -> bool,
    ) -> Result<bool> {
        Ok(true)
    }

    /// All sets are empty: every new slot holds a linked item.
    fn relabel(&self, _: &Relabel<'_, '_, '_>) -> Result<Relabelled> {
        Ok(Relabelled::Puts(Vec::new()))
    }

    fn repair(&self, repair: &Repair<'_, '_, '_>) -> Result<Vec<Put>> {
        repair::set_puts(repair)
    }

    fn check_value(&self, checker: &mut Checker<'_, '_, '_>, key: Key, _: &[u8]) -> Result<bool> {
        let slots = checker.view.snapshot.meta.slots;
        Ok(usize::from(key.sub) < SetKind::ALL.len() && key.n < slots.div_ceil(CHUNK))
    }

    /// Done before by `check_sets`, as all other sections need the sets.
    fn check(&self, _: &mut Checker<'_, '_, '_>) -> Result<()> {
        Ok(())
    }

    fn stats(&self, view: &AnyView<'_, '_, '_>, stats: &mut Stats) -> Result<()> {
        let meta = &view.snapshot.meta;
        (stats.pending, stats.removed) = (meta.pending.into(), meta.removed.into());
        stats.free_slots = meta.free.into();
        Ok(())
    }
}
