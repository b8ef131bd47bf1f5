//! The invariants of vectors: the metric accepts each, and its stored factor matches it.

use crate::codec::Components;
use crate::error::{Error, Result};
use crate::format::set::SetKind;
use crate::format::{Key, Kind};
use crate::store::checker::{Checker, Invariant};
use crate::store::snapshot::Snapshot;
use crate::types::Slot;

/// Tolerance for a stored factor, in units in the last place of the computed one.
const FACTOR_ULPS: u32 = 2;

impl Checker<'_, '_, '_> {
    /// Checks the layout of a value. `false` if no such key may exist.
    pub(super) fn vector_value(&mut self, key: Key, value: &[u8]) -> bool {
        let meta = &self.view.snapshot.meta;
        let (geometry, sealed, tail) = (meta.geometry, meta.sealed, meta.tail_start()..meta.slots);
        if key.kind == Kind::VECTORS {
            self.layout(key, geometry.check_block(key.n, value));
            return key.sub == 0 && key.n < sealed;
        }
        let fits = value.len() == geometry.tail_bytes();
        self.layout(
            key,
            if fits { Ok(()) } else { Err("it does not have the length of a vector") },
        );
        key.sub == 0 && tail.contains(&key.n) && !self.set(SetKind::Free).contains(key.n)
    }

    /// Checks `vectors` and `factor`.
    pub(super) fn check_vectors(&mut self) -> Result<()> {
        let Snapshot { meta, metric, .. } = self.view.snapshot;
        let dimensions = meta.dimensions as usize;
        for slot in (0..self.view.snapshot.meta.slots)
            .filter(|slot| !self.sets[SetKind::Free as usize].contains(*slot))
        {
            let address = match self.view.vector(Slot(slot)) {
                Ok(address) => address,
                Err(Error::Corrupt { key, what }) => {
                    self.findings.add(Invariant::Vectors, format!("slot {slot}: {key}: {what}"));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let decoded = metric.decode(address.bytes, meta.scale);
            let vector = metric.floats(&decoded, dimensions);
            let defect =
                metric.check_given(Components::F32(&vector)).err().map(|defect| defect.to_string());
            let padding = !metric.has_clean_padding(address.bytes, dimensions);
            let defect = defect.or(padding.then(|| "its padding is not zero".to_owned()));
            if let Some(defect) = &defect {
                self.findings.add(Invariant::Vectors, format!("slot {slot}: {defect}"));
            } else if metric.has_factor && metric.is_known {
                let expected = metric.factor(&decoded);
                let near = address.factor.to_bits().abs_diff(expected.to_bits()) <= FACTOR_ULPS;
                let say = || {
                    format!(
                        "slot {slot} has the factor {}, its vector gives {expected}",
                        address.factor
                    )
                };
                self.findings.expect(near, Invariant::Factor, say);
            }
        }
        Ok(())
    }
}
