//! Bulk loads: many items from an iterator, with progress, in one commit.
//!
//! Items of the iterator are checked and spooled first, in memory or in an unnamed file, beside the
//! index unless set otherwise. So their number is known, a full map can grow and the work be
//! retried, and other writers do not wait for the iterator.

use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use super::Index;
use super::batch::Batch;
use super::shared::{Hooks, LEAST_ROUND_ITEMS};
use super::writes::{Writes, build_now, link_with};
use crate::build::{Goal, Phase, Progress};
use crate::codec::{Component, Components};
use crate::error::{Error, Result};
use crate::store::range::sample_for;
use crate::store::spool::Spool;
use crate::types::ItemId;

/// Spooled rows: the name of an item, as bytes, and its vector.
type Keyed<'a, T> = &'a mut dyn Iterator<Item = (Vec<u8>, Vec<T>)>;

/// The maximum size of the spool in memory, in bytes; beyond that it is a file.
const MEMORY_BYTES: usize = 64 << 20;
/// The number of items between two progress reports while reading or adding.
const REPORT_ITEMS: u64 = 1024;

/// The phase of a load.
///
/// ```
/// use std::sync::Mutex;
/// use voisin::{Index, LoadPhase, Options, distances::Euclidean};
///
/// # fn main() -> voisin::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(1))?;
/// let phases = Mutex::new(Vec::new());
/// let rows = (0..2000).map(|item| (item, [item as f32]));
/// index.load(rows, |progress| phases.lock().unwrap().push(progress.phase))?;
/// let mut phases = phases.into_inner().unwrap();
/// phases.dedup();
/// use LoadPhase::{Adding, Linking, Reading, Writing};
/// assert_eq!(phases, [Reading, Adding, Linking, Writing]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadPhase {
    /// Reads items from the iterator.
    Reading,
    /// Stores them in the index.
    Adding,
    /// Searches for their neighbors.
    Linking,
    /// Writes the values of the graph.
    Writing,
}

/// The progress of a load. Phases follow each other; when the map has to grow, they restart from
/// [`Adding`](LoadPhase::Adding).
///
/// ```
/// use voisin::{Index, LoadProgress, Options, distances::Euclidean};
///
/// fn show(progress: LoadProgress) {
///     match progress.total {
///         Some(total) => println!("{:?}: {} of {total}", progress.phase, progress.done),
///         None => println!("{:?}: {}", progress.phase, progress.done),
///     }
/// }
///
/// # fn main() -> voisin::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(1))?;
/// index.load((0..3000).map(|item| (item, [item as f32])), show)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadProgress {
    /// The current phase.
    pub phase: LoadPhase,
    /// How many items (or values, when writing) are done.
    pub done: u64,
    /// How many there are. `None` during reading.
    pub total: Option<u64>,
}

/// The options of a load: see [`Index::loader`](crate::Index::loader).
///
/// ```
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use voisin::{Error, Index, LoadPhase, Options, distances::Euclidean};
///
/// # fn main() -> voisin::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// let index = Index::<Euclidean, str>::create(folder.path().join("vectors"), Options::new(1))?;
/// let is_too_late = AtomicBool::new(false);
/// let watch = |phase| is_too_late.store(phase == LoadPhase::Adding, Ordering::Relaxed);
/// let loader = index.loader().progress(|progress| watch(progress.phase));
/// let loader = loader.cancel(|| is_too_late.load(Ordering::Relaxed));
/// let items = (0..3000).map(|item| (format!("item {item}"), [item as f32]));
/// assert!(matches!(loader.load(items.clone()), Err(Error::Cancelled)));
/// assert!(index.snapshot()?.is_empty(), "all of it or nothing");
///
/// assert_eq!(index.loader().optimize(true).load(items)?, 3000);
/// # Ok(())
/// # }
/// ```
pub struct Loader<'a, D, K: ?Sized = ItemId> {
    pub(super) index: &'a Index<D, K>,
    optimize: bool,
    part: Option<u64>,
    temp_dir: Option<PathBuf>,
    threads: usize,
    cancel: Box<dyn Fn() -> bool + Sync + 'a>,
    progress: Box<dyn Fn(LoadProgress) + Sync + 'a>,
}

impl<D, K: ?Sized> fmt::Debug for Loader<'_, D, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader").field("optimize", &self.optimize).finish_non_exhaustive()
    }
}

impl<'a, D, K: ?Sized> Loader<'a, D, K> {
    pub(super) fn new(index: &'a Index<D, K>) -> Self {
        let (cancel, progress) = (Box::new(|| false), Box::new(|_| {}));
        Self { index, optimize: false, part: None, temp_dir: None, threads: 0, cancel, progress }
    }

    /// Whether to compact the index at the end, numbering the items by locality, as
    /// [`Index::optimize`] does: worth it for a large index that changes little afterwards. One
    /// commit that fills an empty index with 100 000 items or more does so anyway, see
    /// [`Builder::build_with`](crate::Builder::build_with).
    #[must_use]
    pub fn optimize(mut self, optimize: bool) -> Self {
        self.optimize = optimize;
        self
    }

    /// The batch size of commits: commits after every `items` items, at least 1, and links all of
    /// them at the end, as [`Index::link`] does, in rounds of this many items or more. Adding takes
    /// memory for one batch only; linking takes about 1 kB for each item that a round links or
    /// whose list it changes (M 16). Other writers get their turn between commits. Committed items
    /// can be found at once, and stay if the load is interrupted; those left pending are then
    /// linked by [`Index::link`], or bit by bit by later writes. Unless set, the load is one
    /// commit.
    #[must_use]
    pub fn commit_every(mut self, items: u64) -> Self {
        self.part = Some(items.max(1));
        self
    }

    /// The folder to which the load spills items that exceed memory: that of
    /// [`Options::temp_dir`](crate::Options::temp_dir) unless set.
    #[must_use]
    pub fn temp_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.temp_dir = Some(path.into());
        self
    }

    /// The maximum number of threads that link the items; unless set, or 0, that of
    /// [`Options::threads`]. See [`Builder::threads`](crate::Builder::threads).
    ///
    /// [`Options::threads`]: crate::Options::threads
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Sets a progress closure, called from any thread. A change of the folder that it begins while
    /// items are added, linked or written is refused with [`NestedWrite`](Error::NestedWrite).
    #[must_use]
    pub fn progress(mut self, progress: impl Fn(LoadProgress) + Sync + 'a) -> Self {
        self.progress = Box::new(progress);
        self
    }

    /// Sets a cancel closure. Any thread calls it, about every 1 024 items read or added and for
    /// every item linked, until the graph is written; `true` ends the load with
    /// [`Error::Cancelled`].
    #[must_use]
    pub fn cancel(mut self, cancel: impl Fn() -> bool + Sync + 'a) -> Self {
        self.cancel = Box::new(cancel);
        self
    }

    /// Spools rows that can be stored, and calls `add` to add them: all in one commit, or batch by
    /// batch. A row is the name of an item, as bytes, and its vector.
    pub(super) fn load_rows<T: Component, V: AsRef<[T]>>(
        &self,
        mut rows: impl Iterator<Item = Result<(Vec<u8>, V)>>,
        add: impl Fn(&mut Batch<'_, D, K>, Keyed<'_, T>) -> Result<u64>,
    ) -> Result<u64> {
        let shared = &self.index.shared;
        self.index.shared.writable()?;
        Error::unless_known(shared.place.metric, shared.place.index)?;
        let progress = |progress| self.report_build(progress);
        let hooks = Hooks { cancel: &*self.cancel, progress: &progress, threads: self.threads };
        let goal = if self.optimize { Goal::Optimized } else { Goal::Linked };
        let mut loaded = 0;
        loop {
            let mut aside = Aside::<T>::new(
                self.temp_dir.as_deref().unwrap_or(shared.temp_dir()),
                self.index.dimensions(),
            );
            for row in rows.by_ref().take(self.part.map_or(usize::MAX, |part| part as usize)) {
                let (name, vector) = row?;
                aside.put(&name, vector.as_ref())?;
                self.report(LoadPhase::Reading, loaded + aside.count, None)?;
            }
            if loaded > 0 && aside.count == 0 {
                break;
            }
            shared.env.write::<_, Error>(|txn| {
                let mut batch = Batch::<D, K>::new(Writes::new(txn, shared)?);
                if self.part.is_some() {
                    batch.link_later();
                }
                let result = self.add(&mut aside, loaded, &mut batch, &add);
                batch.writes.finish(result, self.part.is_none().then_some(goal), hooks)
            })?;
            loaded += aside.count;
            if self.part.is_none_or(|part| aside.count < part) {
                break;
            }
        }
        match (self.part, goal) {
            (None, _) => {}
            (Some(part), Goal::Linked) => link_with(shared, part.max(LEAST_ROUND_ITEMS), hooks)?,
            (Some(_), goal) => build_now(shared, goal, hooks)?,
        }
        Ok(loaded)
    }

    /// Adds spooled rows, after `loaded` others.
    fn add<T: Component>(
        &self,
        aside: &mut Aside<T>,
        loaded: u64,
        batch: &mut Batch<'_, D, K>,
        add: &impl Fn(&mut Batch<'_, D, K>, Keyed<'_, T>) -> Result<u64>,
    ) -> Result<u64> {
        let total = Some(loaded + aside.count);
        if batch.writes.needs_training()? && aside.count > 0 {
            let mut sample = sample_for(batch.writes.place().metric, aside.dimensions);
            for (row, vector) in aside.rows()?.enumerate() {
                sample.add(&vector?.1).map_err(|defect| Error::InvalidSample { row, defect })?;
            }
            batch.writes.train_on(&sample)?;
        }
        let mut stopped = Ok(());
        let mut rows = (loaded + 1..).zip(aside.rows()?).map_while(|(done, row)| {
            let row = row.and_then(|row| self.report(LoadPhase::Adding, done, total).map(|()| row));
            row.map_err(|error| stopped = Err(error)).ok()
        });
        let added = add(batch, &mut rows)?;
        drop(rows);
        stopped.map(|()| added)
    }

    /// Reports progress every [`REPORT_ITEMS`] items, and asks whether to cancel.
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

impl<D> Loader<'_, D> {
    /// Adds all items of an iterator and links them, in one commit. Returns how many there were. An
    /// item that exists, or occurs twice, gets the last vector.
    ///
    /// # Errors
    /// As [`Index::load`]: nothing has changed.
    pub fn load<T: Component, V: AsRef<[T]>>(
        &self,
        items: impl IntoIterator<Item = (ItemId, V)>,
    ) -> Result<u64> {
        let (metric, dimensions) = (self.index.metric(), self.index.dimensions());
        let rows = items.into_iter().map(|(item, vector)| {
            let components = vector.as_ref();
            if components.len() != dimensions {
                return Err(Error::DimensionMismatch {
                    expected: dimensions,
                    found: components.len(),
                });
            }
            metric
                .check_given(Components::of(components))
                .map_err(|defect| Error::InvalidItem { item, defect })?;
            Ok((item.to_le_bytes().to_vec(), vector))
        });
        let id =
            |name: Vec<u8>| name.first_chunk().map_or(0, |bytes| ItemId::from_le_bytes(*bytes));
        self.load_rows(rows, |batch, rows| {
            batch.add_items_from(rows.map(|(name, vector)| (id(name), vector)))
        })
    }
}

/// The spool: for each item the length of its name in bytes, the name, and the components of its
/// vector, all little-endian.
struct Aside<T> {
    rows: Spool,
    dimensions: usize,
    count: u64,
    component: PhantomData<T>,
}

impl<T: Component> Aside<T> {
    fn new(folder: &Path, dimensions: usize) -> Self {
        Self {
            rows: Spool::new(MEMORY_BYTES, Some(folder)),
            dimensions,
            count: 0,
            component: PhantomData,
        }
    }

    /// # Errors
    /// Those of the file system.
    fn put(&mut self, name: &[u8], vector: &[T]) -> Result<()> {
        self.rows.write(&(name.len() as u16).to_le_bytes())?;
        self.rows.write(name)?;
        vector.iter().try_for_each(|component| self.rows.write(component.to_bytes().as_ref()))?;
        self.count += 1;
        Ok(())
    }

    /// All rows, from the first.
    fn rows(&mut self) -> Result<impl Iterator<Item = Result<(Vec<u8>, Vec<T>)>>> {
        let mut rows = self.rows.read()?;
        let mut row = vec![0; size_of::<T>() * self.dimensions];
        Ok((0..self.count).map(move |_| {
            let mut length = [0; 2];
            rows.read_exact(&mut length)?;
            let mut name = vec![0; u16::from_le_bytes(length).into()];
            rows.read_exact(&mut name)?;
            rows.read_exact(&mut row)?;
            Ok((name, T::of_bytes(&row)))
        }))
    }
}
