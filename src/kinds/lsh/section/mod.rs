//! LSH: tables of the hashes of all vectors, and their training, which is the center that hashes
//! are computed around.
//!
//! An index that has the kind has tables from its first build on that finds an item (`upkeep`);
//! from then on edits keep them in step (`edit`), one piece a table for each item. A
//! slot is in every table, with the hash of its vector, unless it is free. When the vectors have
//! moved away from the center, a build makes the tables anew.
//!
//! `training`: what META and the training say; `tables`: the pieces that a snapshot has found;
//! `view`: looks pieces up; `check`: verifies them.

mod check;
mod edit;
pub(crate) mod tables;
pub(crate) mod training;
mod upkeep;
mod view;

use voisin_kernels::lsh::is_sound;

use self::edit::LshEdit;
use self::training::part;
use crate::distance::Metric;
use crate::error::Result;
use crate::format::meta::Meta;
use crate::format::{Key, Kind};
use crate::kinds::lsh::format::Part;
use crate::kinds::lsh::stats::LshStats;
use crate::store::checker::Checker;
use crate::store::sections::relabel::{Relabel, Relabelled};
use crate::store::sections::repair::Repair;
use crate::store::sections::section::{AnyView, Rescaled, Section, SectionEdit};
use crate::store::sections::upkeep::{Footprint, Upkeep, Upkept};
use crate::store::stats::Stats;
use crate::store::target::Put;
use crate::types::IndexKind;

/// The section of the tables: see the module.
pub(crate) struct LshSection;

impl Section for LshSection {
    fn kinds(&self) -> &'static [Kind] {
        &[Kind::LSH]
    }

    fn index_kind(&self) -> Option<IndexKind> {
        Some(IndexKind::Lsh)
    }

    fn supports(&self, metric: &Metric) -> Result<(), &'static str> {
        if is_sound(metric) { Ok(()) } else { Err("the metrics cosine and euclidean") }
    }

    fn new_part(&self) -> Vec<u8> {
        Part::NONE.encode()
    }

    fn is_due(&self, meta: &Meta) -> bool {
        upkeep::is_due(meta)
    }

    fn footprint(&self, meta: &Meta, _code: u64) -> Footprint {
        let item = if self.is_present(meta) { upkeep::ITEM_BYTES } else { 0 };
        Footprint { item, root: 0 }
    }

    fn upkeep(&self, upkeep: &Upkeep<'_, '_, '_>) -> Result<Option<Upkept>> {
        upkeep::upkeep(upkeep)
    }

    fn visit<'t>(
        &self,
        view: &AnyView<'_, '_, 't>,
        visit: &mut dyn FnMut(&'t [u8]) -> bool,
    ) -> Result<bool> {
        view.each_hash_piece(visit)
    }

    fn edit(&self, meta: &Meta) -> Option<Box<dyn SectionEdit>> {
        // A part that does not decode is told by the edit, when it reads the tables.
        let has_none = matches!(part(0, meta), Ok(None));
        (!has_none).then(|| -> Box<dyn SectionEdit> { Box::new(LshEdit::new(meta.clone())) })
    }

    fn rescaled(&self) -> Rescaled {
        Rescaled::Forgotten
    }

    fn relabel(&self, relabel: &Relabel<'_, '_, '_>) -> Result<Relabelled> {
        upkeep::relabelled(relabel)
    }

    fn forget(&self, meta: &mut Meta) -> bool {
        let has_some = meta.part(Kind::LSH).is_some_and(|part| part != Part::NONE.encode());
        if has_some {
            meta.set_part(Kind::LSH, Some(self.new_part()));
        }
        has_some
    }

    fn centers(&self, view: &AnyView<'_, '_, '_>) -> Result<Vec<Vec<f32>>> {
        let part = training::part(view.snapshot.index, &view.snapshot.meta)?;
        part.map(|_| Ok(view.hash_training()?.center)).into_iter().collect()
    }

    /// Nothing to restore: edits write the tables at their end, or, with all else of an index, in
    /// ways that forget them.
    fn repair(&self, _: &Repair<'_, '_, '_>) -> Result<Vec<Put>> {
        Ok(Vec::new())
    }

    fn check_value(
        &self,
        checker: &mut Checker<'_, '_, '_>,
        key: Key,
        value: &[u8],
    ) -> Result<bool> {
        checker.hash_value(key, value)
    }

    fn check(&self, checker: &mut Checker<'_, '_, '_>) -> Result<()> {
        checker.check_hashes()
    }

    fn stats(&self, view: &AnyView<'_, '_, '_>, stats: &mut Stats) -> Result<()> {
        let meta = &view.snapshot.meta;
        let Some(part) = part(view.snapshot.index, meta)? else { return Ok(()) };
        let trained = view.hash_training()?;
        let [mut pieces, mut items, mut largest] = [0u64; 3];
        view.each_hash_content(|_, piece| {
            pieces += 1;
            items += piece.slots.len() as u64;
            largest = largest.max(piece.slots.len() as u64);
            Ok(())
        })?;
        stats.lsh = Some(LshStats {
            tables: part.tables.into(),
            trained_on: trained.sample.into(),
            pieces,
            items_per_piece: items as f64 / pieces.max(1) as f64,
            largest_piece: largest,
        });
        Ok(())
    }
}
