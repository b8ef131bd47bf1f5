//! The vectors: VECTORS, blocks of the vectors of consecutive slots, and TAIL, single vectors
//! beyond the last full block.

mod check;
pub(crate) mod view;

use super::relabel::{Relabel, Relabelled};
use super::repair::Repair;
use super::section::{AnyView, Listed, Section, SectionEdit};
use crate::error::Result;
use crate::format::meta::Meta;
use crate::format::{Key, Kind};
use crate::store::blocks::{BlockEdit, Blocks};
use crate::store::checker::Checker;
use crate::store::range::sample_for;
use crate::store::snapshot::Snapshot;
use crate::store::sq8_copy::sample;
use crate::store::stats::{RangeStats, Stats};
use crate::store::table::Table;
use crate::store::target::Put;
use crate::training::ROWS;
use crate::types::{IndexKind, Slot};

/// The kind and sub of blocks, and of single values in the tail.
pub(crate) const BLOCK: (Kind, u8) = (Kind::VECTORS, 0);
pub(crate) const SINGLE: (Kind, u8) = (Kind::TAIL, 0);

/// The key of a block.
pub(crate) fn block_key(index: u16, block: u32) -> Key {
    Key::new(index, BLOCK.0, BLOCK.1, block)
}

/// The key of a vector in the tail.
pub(crate) fn single_key(index: u16, slot: Slot) -> Key {
    Key::new(index, SINGLE.0, SINGLE.1, slot.0)
}

/// The section of the vectors: see the module.
pub(crate) struct VectorsSection;

impl Section for VectorsSection {
    fn kinds(&self) -> &'static [Kind] {
        &[Kind::VECTORS, Kind::TAIL]
    }

    fn is_hot(&self, _kind: Kind, meta: &Meta) -> bool {
        !meta.is_coded
    }

    fn index_kind(&self) -> Option<IndexKind> {
        Some(IndexKind::Flat)
    }

    /// Every index has its vectors, and can scan them.
    fn is_present(&self, _: &Meta) -> bool {
        true
    }

    fn set_present(&self, _: &mut Meta, _: bool) {}

    fn is_listed(&self, key: Key) -> bool {
        key.kind == Kind::VECTORS
    }

    fn listed<'s, 't>(&self, snapshot: &'s Snapshot<'t>) -> Vec<Listed<&'s Table<'t>>> {
        vec![(BLOCK.0, BLOCK.1, &snapshot.vectors.blocks)]
    }

    fn visit<'t>(
        &self,
        view: &AnyView<'_, '_, 't>,
        visit: &mut dyn FnMut(&'t [u8]) -> bool,
    ) -> Result<bool> {
        for slot in view.first_slots_of(&view.snapshot.meta.geometry)? {
            view.vector(slot)?;
            if view.snapshot.vectors.stored(slot).is_some_and(|value| !visit(value)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn edit(&self, meta: &Meta) -> Option<Box<dyn SectionEdit>> {
        let blocks = Blocks::new(meta.geometry, meta.slots, BLOCK, SINGLE);
        let has_factor = meta.geometry.factor > 0;
        Some(Box::new(BlockEdit::of_vector(blocks, move |vector| {
            let factor = vector.factor.to_le_bytes();
            [vector.bytes, if has_factor { &factor } else { &[] }].concat()
        })))
    }

    fn relabel(&self, _: &Relabel<'_, '_, '_>) -> Result<Relabelled> {
        Ok(Relabelled::Spooled)
    }

    fn repair(&self, repair: &Repair<'_, '_, '_>) -> Result<Vec<Put>> {
        repair.strided(repair.meta.geometry, [BLOCK, SINGLE])
    }

    fn check_value(
        &self,
        checker: &mut Checker<'_, '_, '_>,
        key: Key,
        value: &[u8],
    ) -> Result<bool> {
        Ok(checker.vector_value(key, value))
    }

    fn check(&self, checker: &mut Checker<'_, '_, '_>) -> Result<()> {
        checker.check_vectors()
    }

    fn stats(&self, view: &AnyView<'_, '_, '_>, stats: &mut Stats) -> Result<()> {
        let tail = stats.kinds.iter().find(|stats| stats.kind == Kind::TAIL);
        stats.tail = tail.map_or(0, |stats| stats.values);
        stats.form = view.snapshot.metric.codec_name;
        stats.saturated = view.snapshot.meta.saturated;
        stats.range = range_stats(view)?;
        Ok(())
    }
}

/// How the range of scalar quantization fits the stored vectors, by a sample of them.
fn range_stats(view: &AnyView<'_, '_, '_>) -> Result<Option<RangeStats>> {
    let Meta { scale, dimensions, items, saturated, .. } = view.snapshot.meta;
    if !scale.is_trained() {
        return Ok(None);
    }
    let mut rows = sample_for(view.snapshot.metric, dimensions as usize);
    let slots = view.live()?;
    for slot in sample(slots.iter().map(Slot), slots.len() as usize, ROWS) {
        rows.add_stored(&view.components(slot)?);
    }
    let ([lowest, highest], components) = (scale.ends(), u64::from(items) * u64::from(dimensions));
    Ok(Some(RangeStats {
        lowest,
        highest,
        step: scale.step,
        error: rows.rounding_error(scale),
        saturated: saturated as f64 / components.max(1) as f64,
    }))
}
