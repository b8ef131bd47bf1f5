//! FIELDS: the items that have a value of a field, for the fields of records that an index can be
//! filtered by. All of it follows from the records, and changes with them, in the same edit.
//!
//! Items are item ids, as for records: a replaced vector, a build and new slots change nothing
//! here.
//! `edit`: the write buffer; `view`: conditions, whose items are `ids`, and counts by value;
//! `rows`: what these read, `gathered` the sets that they make, `tables` what a snapshot keeps of
//! it, and `answers` what conditions have found in it; `check`: the invariant `fields` of
//! `docs/format.md`.

mod answers;
pub(crate) mod check;
pub(crate) mod edit;
mod gathered;
pub(crate) mod ids;
mod rows;
pub(crate) mod tables;
pub(crate) mod view;

use super::relabel::{Relabel, Relabelled};
use super::repair::Repair;
use super::section::{AnyView, Section};
use crate::error::{Error, Result};
use crate::field::Schema;
use crate::format::fields::decode_schema;
use crate::format::meta::Meta;
use crate::format::{Key, Kind};
use crate::store::checker::Checker;
use crate::store::target::Put;

/// The section of fields: see the module.
pub(crate) struct FieldsSection;

/// The fields of an index.
///
/// # Errors
/// [`Error::Corrupt`] if META cannot be right.
pub(crate) fn schema(index: u16, meta: &Meta) -> Result<Schema> {
    decode_schema(meta.part(Kind::FIELDS)).map_err(|what| Error::corrupt(Key::meta(index), what))
}

/// The error for a row of a field, whose LMDB key is longer than a [`Key`].
fn damaged(index: u16, field: u8, what: &'static str) -> Error {
    Error::corrupt(Key::new(index, Kind::FIELDS, field, 0), what)
}

impl Section for FieldsSection {
    fn kinds(&self) -> &'static [Kind] {
        &[Kind::FIELDS]
    }

    /// Nothing to read ahead: searches read what their conditions are about.
    fn visit<'t>(
        &self,
        _: &AnyView<'_, '_, 't>,
        _: &mut dyn FnMut(&'t [u8]) -> bool,
    ) -> Result<bool> {
        Ok(true)
    }

    /// Rows refer to item ids, not to slots.
    fn relabel(&self, _: &Relabel<'_, '_, '_>) -> Result<Relabelled> {
        Ok(Relabelled::Unchanged)
    }

    /// Nothing to restore: rows are put at the end of an edit, with META.
    fn repair(&self, _: &Repair<'_, '_, '_>) -> Result<Vec<Put>> {
        Ok(Vec::new())
    }

    /// Accepts all: `check_fields` checks FIELDS row by row, as their keys end in values.
    fn check_value(&self, _: &mut Checker<'_, '_, '_>, _: Key, _: &[u8]) -> Result<bool> {
        Ok(true)
    }

    fn check(&self, checker: &mut Checker<'_, '_, '_>) -> Result<()> {
        checker.check_fields()
    }
}
