//! The keys of items, of an index that names its items by more than item ids: KEYS.
//!
//! `rows`: looking them up, giving them out and taking them back.

pub(crate) mod check;
pub(crate) mod rows;

use super::relabel::{Relabel, Relabelled};
use super::repair::Repair;
use super::section::{AnyView, Section};
use crate::error::Result;
use crate::format::{Key, Kind};
use crate::store::checker::Checker;
use crate::store::target::Put;

/// See the module.
pub(crate) struct ItemKeysSection;

impl Section for ItemKeysSection {
    fn kinds(&self) -> &'static [Kind] {
        &[Kind::KEYS]
    }

    /// Searches look up the few keys that they return.
    fn visit<'t>(
        &self,
        _: &AnyView<'_, '_, 't>,
        _: &mut dyn FnMut(&'t [u8]) -> bool,
    ) -> Result<bool> {
        Ok(true)
    }

    /// Keys belong to item ids, whatever slots those have.
    fn relabel(&self, _: &Relabel<'_, '_, '_>) -> Result<Relabelled> {
        Ok(Relabelled::Unchanged)
    }

    /// Rows change between two edits only.
    fn repair(&self, _: &Repair<'_, '_, '_>) -> Result<Vec<Put>> {
        Ok(Vec::new())
    }

    /// The keys of LMDB that end in item keys are checked row by row.
    fn check_value(&self, _: &mut Checker<'_, '_, '_>, _: Key, _: &[u8]) -> Result<bool> {
        Ok(true)
    }

    fn check(&self, checker: &mut Checker<'_, '_, '_>) -> Result<()> {
        checker.check_item_keys()
    }
}
