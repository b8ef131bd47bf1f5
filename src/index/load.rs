//! Bulk loads: many items from an iterator, with progress, in one commit.
//!
//! Items of the iterator are checked and spooled first, in memory or in an unnamed file, beside the
//! index unless set otherwise. So their number is known, a full map can grow and the work be
//! retried, and other writers do not wait for the iterator. `within` has loads within a memory
//! budget.

mod aside;
mod cells;
mod estimate;
mod ordered;
mod slots;
mod within;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::aside::Aside;
use self::estimate::Course;
use super::Index;
use super::batch::Batch;
use super::rounds::link_within;
use super::shared::{Hooks, LEAST_ROUND_ITEMS};
use super::writes::{Writes, build_now, link_with};
use crate::build::budget::Budget;
use crate::build::{Goal, Phase, Progress};
use crate::codec::{Component, Components};
use crate::error::{Error, Result};
use crate::store::edit::slots_after;
use crate::store::range::sample_for;
use crate::store::sections::records::edit::check_record;
use crate::types::ItemId;

/// A spooled row: the name of an item, as bytes, its vector, and its record if it is given one.
pub(super) type Row<T> = (Vec<u8>, Vec<T>, Option<Vec<u8>>);
type Keyed<'a, T> = &'a mut dyn Iterator<Item = Row<T>>;
/// The parts of a row as the caller gives them.
type Given<V, R> = (Vec<u8>, V, Option<R>);

/// No record, of any type.
const NO_RECORD: Option<[u8; 0]> = None;

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
    /// Orders them by locality, in a load within a memory budget.
    Ordering,
    /// Stores them in the index.
    Adding,
    /// Searches for their neighbors.
    Linking,
    /// Writes the values of the graph.
    Writing,
}

/// The progress of a load. Phases follow each other; when the map has to grow, they restart from
/// [`Adding`](LoadPhase::Adding). Within a memory budget, [`Linking`](LoadPhase::Linking) and
/// [`Writing`](LoadPhase::Writing) alternate, once for each round.
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
    /// How many rounds of linking are committed.
    pub rounds_done: u64,
    /// How many rounds there will be, as far as it is known; 0 during reading.
    pub rounds: u64,
    /// The time that the rest of the load will take. Until some items are linked, it is estimated
    /// from the sizes alone, and may be off by a factor of three. `None` during reading.
    pub remaining: Option<Duration>,
    /// The memory that the load takes at most, as estimated from the sizes, or the budget if that
    /// is less. 0 during reading.
    pub memory_bytes: u64,
    /// The room on disk that the load takes, as estimated from the sizes: of temporary files, and
    /// of the file by which the index grows. 0 during reading.
    pub disk_bytes: u64,
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
    memory: Option<u64>,
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
        let (part, temp_dir, memory) = (None, None, None);
        Self { index, optimize: false, part, temp_dir, memory, threads: 0, cancel, progress }
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

    /// The memory budget of the load, in bytes: that of [`Options::memory`] unless set. The load
    /// keeps within it, with all that it allocates, what LMDB keeps until a commit, and the part of
    /// its files that must be in memory.
    ///
    /// A budget that holds the whole load changes nothing. Otherwise the rows wait in a temporary
    /// file (see [`temp_dir`](Self::temp_dir)), are ordered by locality, and are committed in parts
    /// in that order, and then linked in rounds, each of which is a commit. Committed items can be
    /// found at once. If the load is interrupted, they stay: the same load again, or
    /// [`resume`](Self::resume), goes on where it was interrupted, and loses at most the round in
    /// progress. A row that the index has already, bit for bit, changes nothing. A budget that is
    /// too small for all of that is refused ([`MemoryBudget`](Error::MemoryBudget)) before anything
    /// is committed, with one that suffices.
    ///
    /// With [`commit_every`](Self::commit_every), rows are committed as they are read, and not
    /// ordered: linking then reads more of the file than it must. The budget is judged by as many
    /// rows as the iterator says that it has.
    ///
    /// What makes inverted lists and tables of hashes of all items, at the end of a load that is
    /// committed in parts, is not bounded: lists take a sample of 80 times the square root of the
    /// number of items, in `f32`, and some 50 bytes for each item, and packing their codes a copy
    /// of all codes or two; tables of hashes take some 300 bytes for each item. What keeps them in
    /// step afterwards is small.
    ///
    /// ```
    /// use voisin::{Error, Index, Options, distances::Euclidean};
    ///
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(4))?;
    /// let items = (0..4000).map(|item| (item, [item as f32, 1.0, 2.0, 3.0]));
    /// assert!(matches!(
    ///     index.loader().memory(1 << 20).load(items.clone()),
    ///     Err(Error::MemoryBudget { bytes: 1_048_576, .. })
    /// ));
    /// assert_eq!(index.loader().memory(10 << 20).load(items)?, 4000);
    /// assert_eq!(index.stats()?.pending, 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [`Options::memory`]: crate::Options::memory
    #[must_use]
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// Links what an interrupted load has left pending, within the memory budget: see
    /// [`Index::resume`]. Returns the number of items linked.
    ///
    /// # Errors
    /// As [`Index::resume`].
    pub fn resume(self) -> Result<u64> {
        let (shared, course) = (&self.index.shared, Course::default());
        let progress = |progress| self.report_build(&course, progress);
        let hooks = self.hooks(&progress);
        match hooks.memory {
            Some(memory) => link_within(shared, memory, hooks, &course.rounds),
            None => link_with(shared, LEAST_ROUND_ITEMS, hooks),
        }
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
    /// batch.
    pub(super) fn load_rows<T: Component, V: AsRef<[T]>, R: AsRef<[u8]>>(
        &self,
        mut rows: impl Iterator<Item = Result<Given<V, R>>>,
        add: impl Fn(&mut Batch<'_, D, K>, Keyed<'_, T>) -> Result<u64>,
    ) -> Result<u64> {
        let (shared, course) = (&self.index.shared, Course::default());
        self.index.shared.writable()?;
        Error::unless_known(shared.place.metric, shared.place.index)?;
        let progress = |progress| self.report_build(&course, progress);
        let hooks = self.hooks(&progress);
        if let (Some(memory), None) = (hooks.memory, self.part) {
            return self.load_within(memory, rows, &add);
        }
        let budget = self.budget_of(hooks.memory, rows.size_hint().0 as u64)?;
        let part = self.part.map(|part| budget.map_or(part, |budget| part.min(budget.part(0))));
        let goal = if self.optimize { Goal::Optimized } else { Goal::Linked };
        let (mut loaded, mut is_over) = (0, false);
        while !is_over {
            let in_memory = budget.map(|budget| budget.part(0) * budget.sizes.vector / 4);
            let mut aside = Aside::<T>::new(self.temp_folder(), self.index.dimensions(), in_memory);
            // Records take their room in a commit, too.
            let has_room = |aside: &Aside<T>| match (part, budget) {
                (Some(part), Some(budget)) if aside.count > 0 => {
                    let mut budget = budget;
                    budget.sizes.record = aside.record_bytes.div_ceil(aside.count);
                    aside.count < part.min(budget.part(0))
                }
                (part, _) => part.is_none_or(|part| aside.count < part),
            };
            while has_room(&aside) {
                let Some((name, vector, record)) = rows.next().transpose()? else {
                    is_over = true;
                    break;
                };
                aside.put(&name, vector.as_ref(), record.as_ref().map(AsRef::as_ref))?;
                self.report(&course, LoadPhase::Reading, loaded + aside.count, None)?;
            }
            if loaded > 0 && aside.count == 0 {
                break;
            }
            shared.env.write::<_, Error>(|txn| {
                let mut batch = Batch::<D, K>::new(Writes::new(txn, shared)?);
                if part.is_some() {
                    batch.link_later();
                }
                if budget.is_some() {
                    batch.writes.keep_equal();
                }
                let result = self.add(&course, &mut aside, loaded, &mut batch, &add);
                batch.writes.finish(result, part.is_none().then_some(goal), hooks)
            })?;
            loaded += aside.count;
        }
        self.link_parts(part, goal, hooks, &course)?;
        Ok(loaded)
    }

    /// Links what a load in batches has added.
    fn link_parts(
        &self,
        part: Option<u64>,
        goal: Goal,
        hooks: Hooks<'_>,
        course: &Course,
    ) -> Result<()> {
        let shared = &self.index.shared;
        match (part, goal, hooks.memory) {
            (None, ..) => Ok(()),
            (Some(_), Goal::Linked, Some(memory)) => {
                link_within(shared, memory, hooks, &course.rounds).map(drop)
            }
            (Some(part), Goal::Linked, None) => {
                link_with(shared, part.max(LEAST_ROUND_ITEMS), hooks).map(drop)
            }
            (Some(_), goal, _) => build_now(shared, goal, hooks),
        }
    }

    /// The closures and bounds of this load.
    fn hooks<'h>(&'h self, progress: &'h (dyn Fn(Progress) + Sync)) -> Hooks<'h> {
        Hooks {
            cancel: &*self.cancel,
            progress,
            threads: self.threads,
            temp_dir: self.temp_dir.as_deref(),
            memory: self.memory.or(self.index.shared.memory),
        }
    }

    /// The folder for temporary files.
    fn temp_folder(&self) -> &Path {
        self.temp_dir.as_deref().unwrap_or(self.index.shared.temp_dir())
    }

    /// The budget of a load in batches, if it has one, of at least `hinted` rows.
    ///
    /// # Errors
    /// [`Error::MemoryBudget`].
    fn budget_of(&self, memory: Option<u64>, hinted: u64) -> Result<Option<Budget>> {
        if memory.is_none() {
            return Ok(None);
        }
        let newest = self.index.shared.newest()?;
        let meta = newest.meta();
        let Some(budget) = self.index.shared.budget(memory, meta) else { return Ok(None) };
        // It commits what it reads, and cannot know how much of that replaces others.
        budget.check_naming(hinted.max(meta.slots.into()), slots_after(meta, hinted))?;
        Ok(Some(budget))
    }

    /// Adds spooled rows, after `loaded` others.
    fn add<T: Component>(
        &self,
        course: &Course,
        aside: &mut Aside<T>,
        loaded: u64,
        batch: &mut Batch<'_, D, K>,
        add: &impl Fn(&mut Batch<'_, D, K>, Keyed<'_, T>) -> Result<u64>,
    ) -> Result<u64> {
        let total = loaded + aside.count;
        if batch.writes.needs_training()? && aside.count > 0 {
            let mut sample = sample_for(batch.writes.place().metric, aside.dimensions);
            for (row, vector) in aside.rows()?.enumerate() {
                sample.add(&vector?.1).map_err(|defect| Error::InvalidSample { row, defect })?;
            }
            batch.writes.train_on(&sample)?;
        }
        let mut stopped = Ok(());
        let rows = aside.rows()?.map_while(|row| row.map_err(|error| stopped = Err(error)).ok());
        let added = self.add_rows(course, rows, (loaded, total), batch, add)?;
        stopped.map(|()| added)
    }

    /// Adds rows, after `done` others of `total`.
    fn add_rows<T: Component>(
        &self,
        course: &Course,
        rows: impl Iterator<Item = Row<T>>,
        (done, total): (u64, u64),
        batch: &mut Batch<'_, D, K>,
        add: &impl Fn(&mut Batch<'_, D, K>, Keyed<'_, T>) -> Result<u64>,
    ) -> Result<u64> {
        let mut stopped = Ok(());
        let mut rows = (done + 1..).zip(rows).map_while(|(done, row)| {
            let reported = self.report(course, LoadPhase::Adding, done, Some(total));
            reported.map(|()| row).map_err(|error| stopped = Err(error)).ok()
        });
        let added = add(batch, &mut rows)?;
        drop(rows);
        stopped.map(|()| added)
    }

    /// Reports progress every [`REPORT_ITEMS`] items, and asks whether to cancel.
    fn report(
        &self,
        course: &Course,
        phase: LoadPhase,
        done: u64,
        total: Option<u64>,
    ) -> Result<()> {
        if done.is_multiple_of(REPORT_ITEMS) || total == Some(done) {
            (self.progress)(course.progress(phase, done, total));
            if (self.cancel)() {
                return Err(Error::Cancelled);
            }
        }
        Ok(())
    }

    fn report_build(&self, course: &Course, progress: Progress) {
        let phase = match progress.phase {
            Phase::Linking => LoadPhase::Linking,
            Phase::Writing => LoadPhase::Writing,
        };
        (self.progress)(course.progress(phase, progress.done, Some(progress.total)));
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
        self.load_given(items.into_iter().map(|(item, vector)| (item, vector, NO_RECORD)))
    }

    /// As [`load`](Self::load), for items with records.
    ///
    /// ```
    /// use voisin::{Index, Options, distances::Euclidean};
    ///
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(1))?;
    /// let items = (0..3000).map(|item| (item, [item as f32], format!("text {item}")));
    /// assert_eq!(index.loader().load_with_records(items)?, 3000);
    /// let found = index.search(1).with_records().by_vector(&[70.2])?;
    /// assert_eq!(found.records, [Some(b"text 70".to_vec())]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`load`](Self::load), and [`InvalidParameter`](Error::InvalidParameter) for a record of
    /// more than 64 MiB.
    pub fn load_with_records<T: Component, V: AsRef<[T]>, R: AsRef<[u8]>>(
        &self,
        items: impl IntoIterator<Item = (ItemId, V, R)>,
    ) -> Result<u64> {
        let items = items.into_iter().map(|(item, vector, record)| (item, vector, Some(record)));
        self.load_given(items)
    }

    /// As [`load_with_records`](Self::load_with_records), for items of which some come without a
    /// record: an item that has one keeps it then, as with [`load`](Self::load).
    ///
    /// # Errors
    /// As [`load_with_records`](Self::load_with_records).
    pub fn load_given<T: Component, V: AsRef<[T]>, R: AsRef<[u8]>>(
        &self,
        items: impl IntoIterator<Item = (ItemId, V, Option<R>)>,
    ) -> Result<u64> {
        let (metric, dimensions) = (self.index.metric(), self.index.dimensions());
        let rows = items.into_iter().map(|(item, vector, record)| {
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
            record.as_ref().map_or(Ok(()), |record| check_record(record.as_ref()))?;
            Ok((item.to_le_bytes().to_vec(), vector, record))
        });
        let id =
            |name: Vec<u8>| name.first_chunk().map_or(0, |bytes| ItemId::from_le_bytes(*bytes));
        self.load_rows(rows, |batch, rows| {
            batch.add_given(rows.map(|(name, vector, record)| (id(name), vector, record)))
        })
    }
}
