//! Loading many items: from an iterator, with progress, in one commit.
//!
//! What the iterator yields is checked and put aside first, in memory or in a file without a name beside the index: then it is known how much
//! there is, a full map can be grown and the work begun anew, and other writers do not wait for the iterator.

use std::fmt;
use std::io::{BufReader, BufWriter, Read as _, Seek as _, Write as _};
use std::path::Path;

use tempfile::{SpooledTempFile, spooled_tempfile_in};

use super::batch::Batch;
use super::{Hooks, Index};
use crate::builder::{Goal, Phase, Progress};
use crate::codec::Codec;
use crate::distance::Distance;
use crate::{Error, ItemId, Result};

/// Items are put aside in memory up to so many bytes, and in a file beyond.
const MEMORY_BYTES: usize = 64 << 20;
/// How many items there are between two reports of those that are read or added.
const REPORT_ITEMS: u64 = 1024;

/// What a load is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadPhase {
    /// Items are taken from the iterator.
    Reading,
    /// They are stored in the index.
    Adding,
    /// Their neighbors are found.
    Linking,
    /// Values of the graph are written.
    Writing,
}

/// How far a load is. Phases follow each other; from [`Adding`](LoadPhase::Adding) on they begin anew when the map has had to grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadProgress {
    /// What it is doing.
    pub phase: LoadPhase,
    /// How many items (or values, when writing) are done.
    pub done: u64,
    /// How many there are. `None` while they are read.
    pub total: Option<u64>,
}

/// A load being put together: see [`Index::loader`](crate::Index::loader).
pub struct Loader<'a, D> {
    index: &'a Index<D>,
    optimize: bool,
    part: Option<u64>,
    cancel: Box<dyn Fn() -> bool + Sync + 'a>,
    progress: Box<dyn Fn(LoadProgress) + Sync + 'a>,
}

impl<D> fmt::Debug for Loader<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader").field("optimize", &self.optimize).finish_non_exhaustive()
    }
}

impl<'a, D: Distance> Loader<'a, D> {
    pub(super) fn new(index: &'a Index<D>) -> Self {
        Self { index, optimize: false, part: None, cancel: Box::new(|| false), progress: Box::new(|_| {}) }
    }

    /// Whether to number the items by locality in the end, as [`Index::optimize`] does: worth it for a large index that is loaded once.
    #[must_use]
    pub fn optimize(mut self, optimize: bool) -> Self {
        self.optimize = optimize;
        self
    }

    /// Commits after every so many items, at least 1, and links them all at the end, as [`Index::link`] does: memory for items does not depend on how
    /// many there are, and other writers have their turn in between. What is committed can be found at once, and stays if the load does not come
    /// to its end. Without this, the load is one commit.
    #[must_use]
    pub fn commit_every(mut self, items: u64) -> Self {
        self.part = Some(items.max(1));
        self
    }

    /// Told how far the load is, from any thread.
    #[must_use]
    pub fn progress(mut self, progress: impl Fn(LoadProgress) + Sync + 'a) -> Self {
        self.progress = Box::new(progress);
        self
    }

    /// Asked now and then, from any thread, until the graph is written; `true` ends the load with [`Error::Cancelled`].
    #[must_use]
    pub fn cancel(mut self, cancel: impl Fn() -> bool + Sync + 'a) -> Self {
        self.cancel = Box::new(cancel);
        self
    }

    /// Adds all items of an iterator and links them, in one commit unless [`commit_every`](Self::commit_every) is set. Returns how many there were. An item that is there, or occurs twice, gets the
    /// last vector.
    ///
    /// # Errors
    /// As [`Index::load`]: nothing has changed, or what was committed stays.
    pub fn load<V: AsRef<[f32]>>(&self, items: impl IntoIterator<Item = (ItemId, V)>) -> Result<u64> {
        let shared = &self.index.shared;
        self.index.writable()?;
        let (mut items, mut loaded) = (items.into_iter(), 0);
        let hooks = Hooks { cancel: &*self.cancel, progress: &|progress| self.report_build(progress) };
        let goal = if self.optimize { Goal::Optimized } else { Goal::Linked };
        loop {
            let mut aside = Aside::new(shared.env.folder(), self.index.dimensions());
            for (item, vector) in items.by_ref().take(self.part.map_or(usize::MAX, |part| part as usize)) {
                aside.put::<D>(item, vector.as_ref())?;
                self.report(LoadPhase::Reading, loaded + aside.count, None)?;
            }
            if loaded > 0 && aside.count == 0 {
                break;
            }
            let is_last = self.part.is_none_or(|part| aside.count < part);
            shared.env.write::<_, Error>(|txn| {
                let mut batch = Batch::<D>::new(txn, shared);
                if self.part.is_some() {
                    batch.link_later();
                }
                let result = self.add(&mut aside, loaded, &mut batch);
                batch.finish(result, self.part.is_none().then_some(goal), hooks)
            })?;
            loaded += aside.count;
            if is_last {
                break;
            }
        }
        match (self.part, goal) {
            (None, _) => {}
            (Some(_), Goal::Linked) => self.index.link_with(hooks)?,
            (Some(_), goal) => self.index.build(goal, hooks)?,
        }
        Ok(loaded)
    }

    /// Adds what was put aside, after others.
    fn add(&self, aside: &mut Aside, loaded: u64, batch: &mut Batch<'_, D>) -> Result<u64> {
        let total = Some(loaded + aside.count);
        let mut stopped = Ok(());
        let rows = (loaded + 1..).zip(aside.rows()?).map_while(|(done, row)| {
            let row = row.and_then(|row| self.report(LoadPhase::Adding, done, total).map(|()| row));
            row.map_err(|error| stopped = Err(error)).ok()
        });
        let added = batch.add_items_from(rows)?;
        stopped.map(|()| added)
    }

    /// Tells now and then how far it is, and whether to go on.
    fn report(&self, phase: LoadPhase, done: u64, total: Option<u64>) -> Result<()> {
        if done.is_multiple_of(REPORT_ITEMS) || total == Some(done) {
            (self.progress)(LoadProgress { phase, done, total });
            if (self.cancel)() {
                return Err(Error::Cancelled);
            }
        }
        Ok(())
    }

    fn report_build(&self, progress: Progress) {
        let phase = match progress.phase {
            Phase::Linking => LoadPhase::Linking,
            Phase::Writing => LoadPhase::Writing,
        };
        (self.progress)(LoadProgress { phase, done: progress.done, total: Some(progress.total) });
    }
}

/// Items that have been put aside: rows of an id and the components of its vector, all in little-endian order.
struct Aside {
    file: BufWriter<SpooledTempFile>,
    dimensions: usize,
    count: u64,
}

impl Aside {
    fn new(folder: &Path, dimensions: usize) -> Self {
        Self { file: BufWriter::new(spooled_tempfile_in(MEMORY_BYTES, folder)), dimensions, count: 0 }
    }

    /// # Errors
    /// What is wrong with a vector, and those of the file system.
    fn put<D: Distance>(&mut self, item: ItemId, vector: &[f32]) -> Result<()> {
        if vector.len() != self.dimensions {
            return Err(Error::DimensionMismatch { expected: self.dimensions, found: vector.len() });
        }
        D::Codec::check(vector).and_then(|()| D::check(vector)).map_err(|defect| Error::InvalidItem { item, defect })?;
        self.file.write_all(&item.to_le_bytes()).map_err(heed::Error::from)?;
        for component in vector {
            self.file.write_all(&component.to_le_bytes()).map_err(heed::Error::from)?;
        }
        self.count += 1;
        Ok(())
    }

    /// All of them, from the first.
    fn rows(&mut self) -> Result<impl Iterator<Item = Result<(ItemId, Vec<f32>)>>> {
        // Also writes what is buffered.
        self.file.rewind().map_err(heed::Error::from)?;
        let mut file = BufReader::new(self.file.get_mut());
        let mut row = vec![0; 4 + 4 * self.dimensions];
        Ok((0..self.count).map(move |_| {
            file.read_exact(&mut row).map_err(heed::Error::from)?;
            let mut words = row.as_chunks::<4>().0.iter().copied();
            let item = words.next().map_or(0, ItemId::from_le_bytes);
            Ok((item, words.map(f32::from_le_bytes).collect()))
        }))
    }
}
