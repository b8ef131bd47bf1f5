//! The sets of slots: SETS, chunks of what is pending, removed and free.
//!
//! `view`: a whole set found; `edit`: one being changed.

mod check;
pub(in crate::store) mod edit;
mod repair;
mod view;

use super::relabel::{Relabel, Relabelled};
use super::repair::Repair;
use super::section::{AnyView, Section};
use crate::error::Result;
use crate::format::set::{CHUNK, SetKind};
use crate::format::{Key, Kind};
use crate::store::checker::Checker;
use crate::store::stats::Stats;
use crate::store::target::Put;

/// See the module.
pub(crate) struct SetsSection;

impl Section for SetsSection {
    fn kinds(&self) -> &'static [Kind] {
        &[Kind::SETS]
    }

    /// Searches have those that they need in memory.
    fn visit<'t>(
        &self,
        _: &AnyView<'_, '_, 't>,
        _: &mut dyn FnMut(&'t [u8]) -> bool,
    ) -> Result<bool> {
        Ok(true)
    }

    /// All slots of the new numbers hold linked items.
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

    /// `check_sets` has: all others need the sets.
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
