//! CODES: the quantized codes of the vectors, from which searches estimate distances.
//!
//! `search`: looks up codes and compares a query with them; `encoded`: the codes of all vectors in
//! memory, to be written or for a build; `tables`: the pointer tables of a snapshot.

mod check;
pub(crate) mod encoded;
pub(crate) mod search;
pub(in crate::store) mod tables;

use self::search::read_coder;
use super::relabel::{Relabel, Relabelled};
use super::repair::Repair;
use super::section::{AnyView, Listed, Section, SectionEdit};
use crate::codes::{Coder, Codes, Scratch};
use crate::distance::Factors;
use crate::error::Result;
use crate::format::codes::{BLOCKS, TAIL};
use crate::format::meta::Meta;
use crate::format::{Key, Kind};
use crate::store::blocks::{BlockEdit, Blocks};
use crate::store::checker::Checker;
use crate::store::snapshot::Snapshot;
use crate::store::stats::{CodeStats, Stats};
use crate::store::table::Table;
use crate::store::target::Put;
use crate::types::Slot;

/// The kind and sub of blocks, and of single values in the tail.
pub(crate) const BLOCK: (Kind, u8) = (Kind::CODES, BLOCKS);
pub(crate) const SINGLE: (Kind, u8) = (Kind::CODES, TAIL);

/// The section of quantized codes: see the module.
pub(crate) struct CodesSection;

impl Section for CodesSection {
    fn kinds(&self) -> &'static [Kind] {
        &[Kind::CODES]
    }

    fn is_listed(&self, key: Key) -> bool {
        key.sub == BLOCKS
    }

    fn listed<'s, 't>(&self, snapshot: &'s Snapshot<'t>) -> Vec<Listed<&'s Table<'t>>> {
        let codes = snapshot.codes.iter();
        codes.map(|codes| (BLOCK.0, BLOCK.1, &codes.values.blocks)).collect()
    }

    fn visit<'t>(
        &self,
        view: &AnyView<'_, '_, 't>,
        visit: &mut dyn FnMut(&'t [u8]) -> bool,
    ) -> Result<bool> {
        view.each_code_value(visit)
    }

    fn edit(&self, meta: &Meta) -> Option<Box<dyn SectionEdit>> {
        let blocks = Blocks::new(meta.code_geometry()?, meta.slots, BLOCK, SINGLE);
        // Read from disk when the first vector is encoded.
        let (mut coder, mut scratch) = (None::<Coder>, Scratch::default());
        let meta = meta.clone();
        Some(Box::new(BlockEdit::new(blocks, move |place, rtxn, vector| {
            let coder = match &coder {
                Some(coder) => coder,
                None => coder.insert(read_coder(place, rtxn, &meta)?),
            };
            let mut code = Vec::new();
            coder.encode(vector.bytes, vector.factor, &mut scratch, &mut code);
            Ok(code)
        })))
    }

    fn relabel(&self, relabel: &Relabel<'_, '_, '_>) -> Result<Relabelled> {
        Ok(Relabelled::Puts(relabel.take_codes()))
    }

    fn forget(&self, meta: &mut Meta) -> bool {
        meta.is_coded = false;
        true
    }

    fn repair(&self, repair: &Repair<'_, '_, '_>) -> Result<Vec<Put>> {
        let Some(geometry) = repair.meta.code_geometry() else { return Ok(Vec::new()) };
        repair.strided(geometry, [BLOCK, SINGLE])
    }

    fn check_value(
        &self,
        checker: &mut Checker<'_, '_, '_>,
        key: Key,
        value: &[u8],
    ) -> Result<bool> {
        Ok(checker.code_value(key, value))
    }

    fn check(&self, checker: &mut Checker<'_, '_, '_>) -> Result<()> {
        checker.check_codes()
    }

    fn stats(&self, view: &AnyView<'_, '_, '_>, stats: &mut Stats) -> Result<()> {
        let (Some(trained), Some(codes)) =
            (view.trained()?, Codes::of_bits(view.snapshot.meta.code_bits))
        else {
            return Ok(());
        };
        let (mut spread, mut errors) = (0.0, 0.0);
        let slots = view.live()?;
        for slot in &slots {
            let Some(Factors { error, length, .. }) = view.code_factors(Slot(slot))? else {
                continue;
            };
            // The quantization error is orthogonal to the vector, so the scaled code is the
            // hypotenuse.
            let (length, error) = (f64::from(length).powi(2), f64::from(error).powi(2));
            spread += length - error;
            errors += error;
        }
        let count = slots.len().max(1) as f64;
        stats.codes = Some(CodeStats {
            codes,
            trained_on: trained.sample.into(),
            trained_spread: trained.spread.into(),
            spread: spread / count,
            error: if spread > 0.0 { (errors / spread).sqrt() } else { 0.0 },
        });
        Ok(())
    }
}
