//! An exercise: a section that stores a `u64` per item, a fingerprint of its stored vector.
//!
//! It shows what a new key range takes: this folder, and its line in the list of sections. An index
//! has the section if META has a part of its kind.

mod tests;

use crate::error::{Error, Result};
use crate::format::block::Geometry;
use crate::format::meta::Meta;
use crate::format::set::SetKind;
use crate::format::{Key, Kind, checksum};
use crate::store::blocks::{BlockEdit, Blocks};
use crate::store::checker::{Checker, Invariant};
use crate::store::sections::relabel::{Relabel, Relabelled};
use crate::store::sections::repair::Repair;
use crate::store::sections::section::{AnyView, Listed, Section, SectionEdit};
use crate::store::table::{Memory, Table};
use crate::store::target::Put;
use crate::types::Slot;

/// Its kind. Sub 0 has blocks, sub 1 single values.
const FINGERPRINTS: Kind = Kind::new(200);
const BLOCK: (Kind, u8) = (FINGERPRINTS, 0);
const SINGLE: (Kind, u8) = (FINGERPRINTS, 1);

/// The section of the exercise: see the module.
pub(super) struct FingerprintsSection;

fn geometry() -> Geometry {
    Geometry::new(size_of::<u64>(), false)
}

fn is_present(meta: &Meta) -> bool {
    meta.part(FINGERPRINTS).is_some()
}

/// The hash FNV-1a.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

/// The stored fingerprint of a slot.
fn stored(view: &AnyView<'_, '_, '_>, slot: Slot) -> Result<u64> {
    let geometry = geometry();
    let (block, place) = geometry.place(slot);
    let tables = FingerprintsSection.listed(view.snapshot);
    let [(_, _, blocks)] = tables[..] else { panic!("it has one table") };
    let (value, start) = if block < blocks.len() {
        let key = view.key(BLOCK.0, BLOCK.1, block as u32);
        let value = match blocks.get(block) {
            Some(value) => value,
            None => blocks
                .set(block, view.require(key)?)
                .ok_or(Error::corrupt(key, "it does not have the length of a block"))?,
        };
        (value, geometry.vector_offset(place))
    } else {
        (view.require(view.key(SINGLE.0, SINGLE.1, slot.0))?, 0)
    };
    let bytes = value.get(start..).and_then(|rest| rest.first_chunk());
    bytes
        .map(|bytes| u64::from_le_bytes(*bytes))
        .ok_or(Error::corrupt(view.key(SINGLE.0, SINGLE.1, slot.0), "it is too short"))
}

impl Section for FingerprintsSection {
    fn kinds(&self) -> &'static [Kind] {
        &[FINGERPRINTS]
    }

    fn is_listed(&self, key: Key) -> bool {
        key.sub == BLOCK.1
    }

    fn new_tables<'t>(&self, memory: Memory, meta: &Meta) -> Vec<Listed<Table<'t>>> {
        let blocks = || {
            let sealed = meta.slots / geometry().vectors;
            Table::blocks(memory, sealed as usize, geometry().block_bytes)
        };
        is_present(meta).then(|| (BLOCK.0, BLOCK.1, blocks())).into_iter().collect()
    }

    fn visit<'t>(
        &self,
        view: &AnyView<'_, '_, 't>,
        visit: &mut dyn FnMut(&'t [u8]) -> bool,
    ) -> Result<bool> {
        for (_, _, table) in self.listed(view.snapshot) {
            for block in 0..table.len() {
                stored(view, Slot(block as u32 * geometry().vectors))?;
                if table.get(block).is_some_and(|value| !visit(value)) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn edit(&self, meta: &Meta) -> Option<Box<dyn SectionEdit>> {
        let blocks = || Blocks::new(geometry(), meta.slots, BLOCK, SINGLE);
        is_present(meta).then(|| -> Box<dyn SectionEdit> {
            Box::new(BlockEdit::of_vector(blocks(), |vector| {
                fingerprint(vector.bytes).to_le_bytes().to_vec()
            }))
        })
    }

    fn relabel(&self, relabel: &Relabel<'_, '_, '_>) -> Result<Relabelled> {
        let view = relabel.view.on_any_source();
        if !is_present(&view.snapshot.meta) {
            return Ok(Relabelled::Puts(Vec::new()));
        }
        let values: Vec<u64> =
            relabel.order.iter().map(|slot| stored(&view, *slot)).collect::<Result<_>>()?;
        let (geometry, mut puts) = (geometry(), Vec::new());
        let blocks = values.chunks_exact(geometry.vectors as usize);
        let (sealed, tail) = (blocks.len() as u32, blocks.remainder());
        for (number, values) in (0..).zip(blocks) {
            let mut body = geometry.new_block(number);
            for (place, value) in values.iter().enumerate() {
                geometry.put_value(&mut body, place, &value.to_le_bytes());
            }
            puts.push((view.key(BLOCK.0, BLOCK.1, number), Some(body)));
        }
        for (slot, value) in (sealed * geometry.vectors..).zip(tail) {
            puts.push((view.key(SINGLE.0, SINGLE.1, slot), Some(value.to_le_bytes().to_vec())));
        }
        Ok(Relabelled::Puts(puts))
    }

    fn repair(&self, repair: &Repair<'_, '_, '_>) -> Result<Vec<Put>> {
        match is_present(repair.meta) {
            true => repair.strided(geometry(), [BLOCK, SINGLE]),
            false => Ok(Vec::new()),
        }
    }

    fn check_value(
        &self,
        checker: &mut Checker<'_, '_, '_>,
        key: Key,
        value: &[u8],
    ) -> Result<bool> {
        let meta = &checker.view.snapshot.meta;
        let sealed = meta.slots / geometry().vectors;
        let is_there = is_present(meta)
            && match (key.kind, key.sub) {
                BLOCK => key.n < sealed,
                SINGLE => {
                    key.n < meta.slots
                        && key.n >= sealed * geometry().vectors
                        && !checker.set(SetKind::Free).contains(key.n)
                }
                _ => false,
            };
        let body = checksum::unverified(value);
        checker.layout(
            key,
            match key.sub {
                0 => geometry().check_block(key.n, value),
                _ if body.len() == size_of::<u64>() => Ok(()),
                _ => Err("it does not have the length of a fingerprint"),
            },
        );
        Ok(is_there)
    }

    fn check(&self, checker: &mut Checker<'_, '_, '_>) -> Result<()> {
        if !is_present(&checker.view.snapshot.meta) {
            return Ok(());
        }
        let view = checker.view.on_any_source();
        for slot in view.live()?.into_iter().map(Slot) {
            let (found, expected) = (stored(&view, slot)?, fingerprint(view.vector(slot)?.bytes));
            checker.findings.expect(found == expected, Invariant::Layout, || {
                format!("{slot} has the fingerprint of another vector")
            });
        }
        Ok(())
    }
}
