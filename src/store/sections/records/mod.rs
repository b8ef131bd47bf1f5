//! RECORDS: a record of bytes beside an item, if it has one.
//!
//! A record is a value of its own, under the id of its item: LMDB packs small values into shared
//! pages, and gives a large one pages to itself. So a vector that is replaced, a build and new
//! slots leave the records alone, and a commit writes the pages of the records that it changes.
//! Searches read no record unless they are asked for those of their results.
//!
//! `edit`: the write buffer; `view`: lookups; `check`: the invariant `records` of `docs/format.md`.

pub(crate) mod check;
pub(crate) mod edit;
pub(crate) mod view;

use super::relabel::{Relabel, Relabelled};
use super::repair::Repair;
use super::section::{AnyView, Section};
use crate::error::{Error, Result};
use crate::format::meta::Meta;
use crate::format::records::Counts;
use crate::format::{Key, Kind};
use crate::store::checker::Checker;
use crate::store::stats::Stats;
use crate::store::target::Put;
use crate::types::ItemId;

/// The section of records: see the module.
pub(crate) struct RecordsSection;

/// The key of the record of an item.
pub(in crate::store) fn key(index: u16, item: ItemId) -> Key {
    Key::new(index, Kind::RECORDS, 0, item)
}

/// How many records there are.
///
/// # Errors
/// [`Error::Corrupt`] if META cannot be right.
pub(crate) fn counts(index: u16, meta: &Meta) -> Result<Counts> {
    Counts::decode(meta.part(Kind::RECORDS)).map_err(|what| Error::corrupt(Key::meta(index), what))
}

impl Section for RecordsSection {
    fn kinds(&self) -> &'static [Kind] {
        &[Kind::RECORDS]
    }

    /// Nothing to read ahead: searches look up only the records of their results.
    fn visit<'t>(
        &self,
        _: &AnyView<'_, '_, 't>,
        _: &mut dyn FnMut(&'t [u8]) -> bool,
    ) -> Result<bool> {
        Ok(true)
    }

    /// Records belong to item ids, not to slots.
    fn relabel(&self, _: &Relabel<'_, '_, '_>) -> Result<Relabelled> {
        Ok(Relabelled::Unchanged)
    }

    /// Nothing to restore: records are put at the end of an edit, with META.
    fn repair(&self, _: &Repair<'_, '_, '_>) -> Result<Vec<Put>> {
        Ok(Vec::new())
    }

    fn check_value(&self, checker: &mut Checker<'_, '_, '_>, key: Key, _: &[u8]) -> Result<bool> {
        Ok(key.sub == 0 && checker.view.snapshot.meta.part(Kind::RECORDS).is_some())
    }

    fn check(&self, checker: &mut Checker<'_, '_, '_>) -> Result<()> {
        checker.check_records()
    }

    fn stats(&self, view: &AnyView<'_, '_, '_>, stats: &mut Stats) -> Result<()> {
        let Counts { records, bytes } = counts(view.snapshot.index, &view.snapshot.meta)?;
        (stats.records, stats.record_bytes) = (records.into(), bytes);
        Ok(())
    }
}
