//! Reading a snapshot's pages before they are needed: a search of a cold file waits for the disk
//! once a page, one after the other.
//!
//! What every search needs comes first: the graph, from its top layer down; then item ids, and
//! codes if there are any; vectors, the most by far, come last. Finding a value also fills its
//! place in the table, so that a search finds it with one load.

use std::hint::black_box;

use super::source::Source;
use super::view::View;
use crate::error::Result;
use crate::format::{Kind, ids};
use crate::types::{Layer, Slot};

/// One byte is read of so many: no page is smaller.
const PAGE_BYTES: usize = 4096;

/// How much of a snapshot has been read in advance: see [`Snapshot::warm`](crate::Snapshot::warm).
///
/// ```
/// use voisin::{Index, Options, Warmed, distances::Euclidean};
///
/// # fn main() -> voisin::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(64))?;
/// index.load((0..1000).map(|item| (item, [item as f32; 64])), |_| {})?;
/// let Warmed { bytes, is_complete, .. } = index.snapshot()?.warm(10_000)?;
/// assert!(bytes <= 10_000 && !is_complete, "the vectors alone are 256 000 bytes");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warmed {
    /// Bytes of the values that have been read.
    pub bytes: u64,
    /// Whether these were all that a search can need; else the budget has ended it.
    pub is_complete: bool,
}

/// What is left to read.
struct Budget {
    left: u64,
    read: u64,
}

impl Budget {
    /// Reads a value, page by page. `false` if it does not fit any more.
    fn spend(&mut self, value: &[u8]) -> bool {
        let Some(left) = self.left.checked_sub(value.len() as u64) else { return false };
        for page in value.chunks(PAGE_BYTES) {
            black_box(page.first().copied());
        }
        (self.left, self.read) = (left, self.read + value.len() as u64);
        true
    }
}

impl<'t, S: Source<'t>> View<'_, 't, S> {
    /// Reads values until their bytes reach `budget_bytes`.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt).
    pub(crate) fn warm(&self, budget_bytes: u64) -> Result<Warmed> {
        let mut budget = Budget { left: budget_bytes, read: 0 };
        let is_complete = self.warm_graph(&mut budget)?
            && self.warm_items(&mut budget)?
            && self.each_code_value(|value| budget.spend(value))?
            && self.warm_vectors(&mut budget)?;
        Ok(Warmed { bytes: budget.read, is_complete })
    }

    fn warm_graph(&self, budget: &mut Budget) -> Result<bool> {
        for (layer, [table, _]) in self.snapshot.links.iter().enumerate().rev() {
            for group in 0..table.len() {
                for kind in [Kind::Links, Kind::Spill] {
                    if !budget.spend(self.links(kind, Layer(layer as u8), group)?) {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    fn warm_items(&self, budget: &mut Budget) -> Result<bool> {
        let slots = self.snapshot.meta.slots;
        for first in (0..slots).step_by(ids::SLOT_GROUP as usize) {
            self.item(Slot(first))?;
            let (group, _) = ids::slot_place(Slot(first));
            let [full, last] = &self.snapshot.slot_ids;
            let value = full
                .get(group as usize)
                .or_else(|| last.get((group as usize).checked_sub(full.len())?));
            if value.is_some_and(|value| !budget.spend(value)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn warm_vectors(&self, budget: &mut Budget) -> Result<bool> {
        for slot in self.first_slots()? {
            self.vector(slot)?;
            if self.snapshot.vectors.stored(slot).is_some_and(|value| !budget.spend(value)) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
