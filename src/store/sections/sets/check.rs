//! The invariants of the sets: they are disjoint, and their sizes are those in META.

use crate::error::Result;
use crate::format::Kind;
use crate::format::checksum;
use crate::format::set::{CHUNK, SetKind, decode_chunk};
use crate::store::checker::{Checker, Invariant};

impl Checker<'_, '_, '_> {
    /// Checks `sets`, and its part of `counts`.
    pub(crate) fn check_sets(&mut self) -> Result<()> {
        let slots = self.view.snapshot.meta.slots;
        for set in SetKind::ALL {
            for number in 0..slots.div_ceil(CHUNK) {
                let key = self.key(Kind::SETS, set as u8, number);
                let Some(value) = self.get(key)? else { continue };
                match decode_chunk(checksum::unverified(value)) {
                    Ok(chunk) => {
                        self.sets[set as usize].extend(chunk.iter().map(|low| number * CHUNK + low))
                    }
                    Err(what) => self.findings.add(Invariant::Layout, format!("{key}: {what}")),
                }
            }
            let beyond = self.set(set).max().filter(|max| *max >= slots);
            self.findings.expect(beyond.is_none(), Invariant::Sets, || {
                format!("{set:?} has slot {beyond:?} of {slots} slots")
            });
        }
        for (a, b) in [
            (SetKind::Pending, SetKind::Removed),
            (SetKind::Pending, SetKind::Free),
            (SetKind::Removed, SetKind::Free),
        ] {
            let both = (self.set(a) & self.set(b)).min();
            self.findings.expect(both.is_none(), Invariant::Sets, || {
                format!("slot {both:?} is both {a:?} and {b:?}")
            });
        }
        let meta = &self.view.snapshot.meta;
        for (set, count) in [
            (SetKind::Pending, meta.pending),
            (SetKind::Removed, meta.removed),
            (SetKind::Free, meta.free),
        ] {
            let found = self.set(set).len();
            let say = || format!("{set:?} has {found} members, the metadata counts {count}");
            self.findings.expect(found == u64::from(count), Invariant::Counts, say);
        }
        Ok(())
    }
}
