//! Warming a snapshot: reads values ahead into the page cache, because a search of a cold file
//! waits for the disk page by page, and fills the pointer tables, so that a search finds each value
//! with one load.

use std::hint::black_box;
use std::sync::atomic::Ordering;

use super::codes::CodesSection;
use super::ids::IdsSection;
use super::list::SECTIONS;
use super::section::Section;
use super::vectors::VectorsSection;
use crate::error::Result;
use crate::store::readahead::{WINDOW_BYTES, addresses, ask_for_window};
use crate::store::source::Source;
use crate::store::table::Memory;
use crate::store::view::View;

/// One byte is read per this many: the usual size of a page.
const PAGE_BYTES: usize = 4096;

/// The result of reading a snapshot ahead: see [`Snapshot::warm`](crate::Snapshot::warm).
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
    /// Whether everything that a search can need has been read; otherwise the budget ran out.
    pub is_complete: bool,
}

/// The byte budget of a warm-up, and the values that have been asked for and not been read yet.
struct Budget<'t> {
    left: u64,
    read: u64,
    waiting: Vec<&'t [u8]>,
    /// Those found after them, which have not been asked for yet, and their bytes.
    found: Vec<&'t [u8]>,
    found_bytes: usize,
}

impl<'t> Budget<'t> {
    /// Has a value read. `false` if it exceeds the budget.
    fn spend(&mut self, value: &'t [u8]) -> bool {
        let Some(left) = self.left.checked_sub(value.len() as u64) else { return false };
        (self.left, self.read) = (left, self.read + value.len() as u64);
        self.found.push(value);
        self.found_bytes += value.len();
        if self.found_bytes >= WINDOW_BYTES {
            self.read_window();
        }
        true
    }

    /// Asks for the values found last, and reads those before them page by page.
    fn read_window(&mut self) {
        ask_for_window(self.found.iter().map(|value| addresses(value)));
        for page in self.waiting.iter().flat_map(|value| value.chunks(PAGE_BYTES)) {
            black_box(page.first().copied());
        }
        self.waiting.clear();
        std::mem::swap(&mut self.waiting, &mut self.found);
        self.found_bytes = 0;
    }
}

impl<'t, S: Source<'t>> View<'_, 't, S> {
    /// Reads values section by section, until their bytes reach `budget_bytes`.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt).
    pub(crate) fn warm(&self, budget_bytes: u64) -> Result<Warmed> {
        let mut budget = Budget {
            left: budget_bytes,
            read: 0,
            waiting: Vec::new(),
            found: Vec::new(),
            found_bytes: 0,
        };
        let is_complete = self.visit(SECTIONS, &mut |value| budget.spend(value))?;
        // What has been found last, and then what has been asked for.
        budget.read_window();
        budget.read_window();
        Ok(Warmed { bytes: budget.read, is_complete })
    }

    /// Fills all pointer tables. O(values) the first time.
    pub(crate) fn resolve_all(&self) -> Result<()> {
        if self.snapshot.is_resolved.load(Ordering::Acquire) {
            return Ok(());
        }
        self.visit(SECTIONS, &mut |_| true)?;
        // Bounded tables forget values.
        let is_resolved = self.snapshot.memory == Memory::Full;
        self.snapshot.is_resolved.store(is_resolved, Ordering::Release);
        Ok(())
    }

    /// Fills the pointer tables of vectors and item ids.
    pub(crate) fn resolve_vectors(&self) -> Result<()> {
        self.visit(&[&VectorsSection, &IdsSection], &mut |_| true).map(drop)
    }

    /// Fills the pointer tables of codes.
    pub(crate) fn resolve_codes(&self) -> Result<()> {
        self.visit(&[&CodesSection], &mut |_| true).map(drop)
    }

    fn visit(
        &self,
        sections: &[&dyn Section],
        visit: &mut dyn FnMut(&'t [u8]) -> bool,
    ) -> Result<bool> {
        let view = self.on_any_source();
        for section in sections {
            if !section.visit(&view, visit)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
