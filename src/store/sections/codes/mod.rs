//! CODES: the quantized codes of the vectors, from which searches estimate distances.
//!
//! `search`: looks up codes and compares a query with them; `encoded`: the codes of all vectors in
//! memory, to be written or for a build; `coders`: the encoders, of which there may be two;
//! `training`: the center, and when to train again; `recode`: codes follow a new training;
//! `tables`: the pointer tables of a snapshot.

mod check;
mod coders;
pub(crate) mod encoded;
pub(crate) mod recode;
pub(crate) mod search;
pub(in crate::store) mod tables;
pub(crate) mod training;

use heed::RoTxn;

use self::coders::Coders;
use super::relabel::{Relabel, Relabelled};
use super::repair::Repair;
use super::section::{AnyView, Listed, Section, SectionEdit};
use crate::codes::{Coder, Codes, Scratch};
use crate::distance::Factors;
use crate::error::Result;
use crate::format::codes::{BLOCKS, TAIL};
use crate::format::meta::{Meta, Training};
use crate::format::{Key, Kind};
use crate::store::Place;
use crate::store::address::Address;
use crate::store::blocks::{BlockEdit, Blocks, MakeValue};
use crate::store::checker::Checker;
use crate::store::snapshot::Snapshot;
use crate::store::stats::{CodeStats, Stats};
use crate::store::table::Table;
use crate::store::target::{Put, Target};
use crate::types::Slot;

/// The kind and sub of blocks, and of single values in the tail.
pub(crate) const BLOCK: (Kind, u8) = (Kind::CODES, BLOCKS);
pub(crate) const SINGLE: (Kind, u8) = (Kind::CODES, TAIL);

/// Encodes the vectors of an edit.
struct MakeCode {
    meta: Meta,
    /// Read from disk when the first vector is encoded.
    coders: Option<Coders>,
    scratch: Scratch,
    /// Number of codes of the newest training, and the sum of their squared distances from the
    /// center.
    added: u32,
    squares: f64,
}

impl MakeCode {
    fn new(meta: Meta) -> Self {
        Self { meta, coders: None, scratch: Scratch::default(), added: 0, squares: 0.0 }
    }
}

impl MakeValue for MakeCode {
    fn make(
        &mut self,
        from: &Target<'_, '_, '_>,
        slot: Slot,
        vector: Address<'_>,
    ) -> Result<Vec<u8>> {
        if self.coders.is_none() {
            self.coders = Coders::stored(from.place, from.wtxn, &self.meta)?;
        }
        let mut code = Vec::new();
        let Some(coders) = &self.coders else { return Ok(code) };
        coders.of(slot).encode(vector.bytes, vector.factor, &mut self.scratch, &mut code);
        if !coders.is_older(slot) {
            self.added = self.added.saturating_add(1);
            self.squares +=
                code.last_chunk().map_or(0.0, |bytes| spread(Factors::decode(*bytes)).0);
        }
        Ok(code)
    }

    fn count(&self, meta: &mut Meta) {
        let training = &mut meta.training;
        training.added = training.added.saturating_add(self.added);
        training.squares = (training.squares + self.squares).min(f64::MAX);
    }
}

/// The squared distance of a vector from the center, and that from its code. The quantization error
/// is orthogonal to the vector, so the scaled code is the hypotenuse.
fn spread(Factors { error, length, .. }: Factors) -> (f64, f64) {
    let (length, error) = (f64::from(length).powi(2), f64::from(error).powi(2));
    ((length - error).max(0.0), error)
}

/// The encoder of the newest training of a stored index. `None` if it has no codes.
pub(crate) fn newest_coder(
    place: Place<'_>,
    rtxn: &RoTxn<'_>,
    meta: &Meta,
) -> Result<Option<Coder>> {
    Ok(Coders::stored(place, rtxn, meta)?.map(|coders| coders.newest))
}

/// The section of quantized codes: see the module.
pub(crate) struct CodesSection;

impl Section for CodesSection {
    fn kinds(&self) -> &'static [Kind] {
        &[Kind::CODES]
    }

    fn is_hot(&self, _kind: Kind, _meta: &Meta) -> bool {
        true
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
        let blocks = blocks.of_generation(meta.training.generation);
        Some(Box::new(BlockEdit::new(blocks, MakeCode::new(meta.clone()))))
    }

    fn relabel(&self, relabel: &Relabel<'_, '_, '_>) -> Result<Relabelled> {
        Ok(Relabelled::Puts(relabel.take_codes()))
    }

    fn forget(&self, meta: &mut Meta) -> bool {
        (meta.is_coded, meta.training) = (false, Training::default());
        true
    }

    fn centers(&self, view: &AnyView<'_, '_, '_>) -> Result<Vec<Vec<f32>>> {
        Ok(view.trainings()?.into_iter().map(|trained| trained.center).collect())
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
            let Some(factors) = view.code_factors(Slot(slot))? else { continue };
            let (square, error) = self::spread(factors);
            (spread, errors) = (spread + square, errors + error);
        }
        let meta = &view.snapshot.meta;
        let [from, to] = meta.training.older;
        let per_block = meta.code_geometry().map_or(0, |geometry| geometry.vectors);
        let count = slots.len().max(1) as f64;
        stats.codes = Some(CodeStats {
            codes,
            trained_on: trained.sample.into(),
            older: u64::from(to - from) * u64::from(per_block),
            trained_spread: trained.spread.into(),
            spread: spread / count,
            error: if spread > 0.0 { (errors / spread).sqrt() } else { 0.0 },
        });
        Ok(())
    }
}
