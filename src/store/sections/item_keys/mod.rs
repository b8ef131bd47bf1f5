//! KEYS: the keys of items, in an index whose items are named by keys instead of bare item ids.
//!
//! `rows`: looks keys up, and finds free item ids; `known`: the pointer table of blocks. `edit`:
//! the write buffer, which assigns ids to keys and frees them; `blocks`: the blocks that it
//! changes. `v8`: the rows of versions before 9.

mod blocks;
pub(crate) mod check;
pub(in crate::store) mod edit;
pub(crate) mod known;
pub(crate) mod rows;
mod v8;

use super::relabel::{Relabel, Relabelled};
use super::repair::Repair;
use super::section::{AnyView, Section};
use crate::error::Result;
use crate::format::{Key, Kind};
use crate::store::checker::Checker;
use crate::store::target::Put;

/// The section of item keys: see the module.
pub(crate) struct ItemKeysSection;

impl Section for ItemKeysSection {
    fn kinds(&self) -> &'static [Kind] {
        &[Kind::KEYS]
    }

    /// Nothing to read ahead: searches look up only the keys of their results.
    fn visit<'t>(
        &self,
        _: &AnyView<'_, '_, 't>,
        _: &mut dyn FnMut(&'t [u8]) -> bool,
    ) -> Result<bool> {
        Ok(true)
    }

    /// Keys refer to item ids, not to slots.
    fn relabel(&self, _: &Relabel<'_, '_, '_>) -> Result<Relabelled> {
        Ok(Relabelled::Unchanged)
    }

    /// Nothing to restore: an edit puts all rows at its end.
    fn repair(&self, _: &Repair<'_, '_, '_>) -> Result<Vec<Put>> {
        Ok(Vec::new())
    }

    /// Accepts all: `check_item_keys` checks KEYS row by row, as their keys end in item keys.
    fn check_value(&self, _: &mut Checker<'_, '_, '_>, _: Key, _: &[u8]) -> Result<bool> {
        Ok(true)
    }

    fn check(&self, checker: &mut Checker<'_, '_, '_>) -> Result<()> {
        checker.check_item_keys()
    }
}
