//! The invariant of quantized codes: each code is the encoding of its slot's vector.

use crate::codes::Scratch;
use crate::error::{Error, Result};
use crate::format::codes::{self, Trained};
use crate::format::meta::Meta;
use crate::format::set::SetKind;
use crate::format::{Key, checksum};
use crate::store::checker::{Checker, Invariant};
use crate::types::Slot;

impl Checker<'_, '_, '_> {
    /// Checks the layout of a value. `false` if no such key may exist.
    pub(super) fn code_value(&mut self, key: Key, value: &[u8]) -> bool {
        let Meta { slots, dimensions, training, .. } = self.view.snapshot.meta;
        let Some(geometry) = self.view.snapshot.meta.code_geometry() else { return false };
        let sealed = slots / geometry.vectors;
        let length =
            |fits| if fits { Ok(()) } else { Err("it does not have the length of a code") };
        let (result, known) = match key.sub {
            codes::BLOCKS => (
                geometry.check_block_of(key.n, training.generation_of(key.n), value),
                key.n < sealed,
            ),
            codes::TAIL => {
                let is_there = (sealed * geometry.vectors..slots).contains(&key.n)
                    && !self.set(SetKind::Free).contains(key.n);
                (length(value.len() == geometry.tail_bytes()), is_there)
            }
            codes::TRAINED => {
                let is_there = key.n == training.generation
                    || training.has_older() && key.n + 1 == training.generation;
                (Trained::decode(checksum::unverified(value), dimensions).map(drop), is_there)
            }
            _ => (Ok(()), false),
        };
        self.layout(key, result);
        known
    }

    /// Checks the invariant `codes`.
    pub(super) fn check_codes(&mut self) -> Result<()> {
        let trained = self.view.trained();
        if self.survive(trained)?.flatten().is_none() {
            return Ok(());
        }
        let mut scratch = Scratch::default();
        for slot in (0..self.view.snapshot.meta.slots)
            .filter(|slot| !self.sets[SetKind::Free as usize].contains(*slot))
        {
            match self.view.has_its_code(Slot(slot), &mut scratch) {
                Ok(true) => {}
                Ok(false) => self
                    .findings
                    .add(Invariant::Codes, format!("slot {slot} has the code of another vector")),
                Err(Error::Corrupt { key, what }) => {
                    self.findings.add(Invariant::Codes, format!("slot {slot}: {key}: {what}"))
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
