//! Building: linking what is pending into the graph, and taking out what was removed.
//!
//! A build first computes, on several threads, and reads only; then it writes. Until it writes it
//! can be cancelled, and the transaction is as it was before.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use heed::{Env, RwTxn, WithoutTls};
use rand::{Rng, SeedableRng};
use roaring::RoaringBitmap;

use crate::defaults;
use crate::distance::Distance;
use crate::error::{Error, Result};
use crate::format::meta::{Connectivity, MAX_DEGREE, Meta};
use crate::format::{Key, Kind};
use crate::graph::Vectors;
use crate::graph::delete::delete;
use crate::graph::insert::{finish, growth, insert, refresh};
use crate::graph::plan::Plan;
use crate::graph::working::Working;
use crate::store::GoOn;
use crate::store::coarse::{Coarse, WithCoarse, sample};
use crate::store::codes::{Encoded, WithCodes};
use crate::store::edit::Edit;
use crate::store::held::{Held, ReadTxn, SharedTxn};
use crate::store::links::Changes;
use crate::store::process::OfProcess;
use crate::store::rebase::Rebased;
use crate::store::renumber::{Renumbered, renumber, spool};
use crate::store::snapshot::{Snapshot, read_meta};
use crate::store::source::{AnySource, Shared, Verified};
use crate::store::table::Extent;
use crate::store::target::Put;
use crate::store::view::View;
use crate::threads;
use crate::types::Slot;
use crate::writer::Writer;

/// If more than one in so many nodes is to be taken out, linking the others anew is quicker than
/// mending what is left, and better.
const REBUILD_SHARE: u64 = 4;

/// A build that changes less than one in so many slots uses memory that does not depend on the size
/// of the index. It walks the graph several times more slowly, for each item it changes.
const SMALL_SHARE: u64 = 1000;

/// How often a build that holds nobody up is tried before others are held up.
pub(crate) const CONCURRENT_ATTEMPTS: usize = 2;

/// A build that links more than one in so many slots changes most lists, and keeps copies of them
/// that searches find more quickly.
const LARGE_SHARE: usize = 8;
/// If it links at least so many, it makes coarse copies of the vectors first.
const COARSE_ITEMS: usize = 5000;

/// A first build of at least so many items numbers them by locality, where that costs little:
/// searches of 100 000 x 384 are then 7 % faster, of a million x 128 a third (decision 0021).
const BULK_ITEMS: u32 = 100_000;
/// The most bytes of vectors that it has wait in a temporary file for that, which may be in memory,
/// without being asked.
const BULK_BYTES: u64 = 4 << 30;

/// Vectors around which it is measured how distances grow.
const GROWTH_SAMPLE: usize = 500;
/// Vectors by which it is tried whether codes tell apart what is near.
const ENCODED_SAMPLE: usize = 4096;

/// A build of at most this many values calls `progress` after the last put, not between puts. So
/// META need not be marked, which saves two puts of the some 15 of a one-item build.
const FEW_PUTS: usize = 64;

/// What a build is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Finding the neighbors of items.
    Linking,
    /// Writing the values that have changed.
    Writing,
}

/// How far a build is, as it is told to [`Builder::progress`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// How many items (linking) or values (writing) are done.
    pub done: u64,
    /// How many there are.
    pub total: u64,
}

/// A build being put together: see [`Writer::builder`].
///
/// ```
/// use voisin::heed::EnvOpenOptions;
/// use voisin::rand::{SeedableRng, rngs::StdRng};
/// use voisin::{Database, Phase, Progress, Writer, create_database, distances::Euclidean};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let env = unsafe { EnvOpenOptions::new().map_size(1 << 30).open(folder.path())? };
/// # let db: Database<Euclidean> = create_database(&env, None)?;
/// let writer = Writer::new(db, 0, 1);
/// let mut wtxn = env.write_txn()?;
/// writer.add_items_from(&mut wtxn, (0..500).map(|item| (item, [item as f32])))?;
/// let show = |progress: Progress| match progress.phase {
///     Phase::Linking => eprint!("\r{} of {} items", progress.done, progress.total),
///     _ => eprint!("\r{} of {} values", progress.done, progress.total),
/// };
/// let mut rng = StdRng::seed_from_u64(42);
/// writer.builder(&mut rng).ef_construction(200).progress(show).build::<16, 32>(&mut wtxn)?;
/// assert!(!writer.need_build(&wtxn)?);
/// # Ok(())
/// # }
/// ```
pub struct Builder<'a, 'e, D, R> {
    writer: &'a Writer<'e, D>,
    rng: &'a mut R,
    ef_construction: usize,
    alpha: f32,
    threads: usize,
    cancel: Box<dyn Fn() -> bool + Sync + 'a>,
    progress: Box<dyn Fn(Progress) + Sync + 'a>,
    temp_dir: Option<PathBuf>,
}

impl<D, R> fmt::Debug for Builder<'_, '_, D, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("ef_construction", &self.ef_construction)
            .field("alpha", &self.alpha)
            .finish_non_exhaustive()
    }
}

impl<'e, D: Distance> Writer<'e, D> {
    /// Prepares a build; one seed gives one graph, whatever the number of threads.
    pub fn builder<'a, R: Rng + SeedableRng>(&'a self, rng: &'a mut R) -> Builder<'a, 'e, D, R> {
        Builder::new(self, rng)
    }
}

impl<'a, 'e, D: Distance, R: Rng + SeedableRng> Builder<'a, 'e, D, R> {
    pub(crate) fn new(writer: &'a Writer<'e, D>, rng: &'a mut R) -> Self {
        let (cancel, progress) = (Box::new(|| false), Box::new(|_| {}));
        Self {
            writer,
            rng,
            ef_construction: defaults::EF_CONSTRUCTION,
            alpha: defaults::ALPHA,
            threads: 0,
            cancel,
            progress,
            temp_dir: None,
        }
    }

    /// How many candidates are kept while the neighbors of an item are looked for: more makes a
    /// better graph, in about proportionally more time. At least 1;
    /// [`defaults::EF_CONSTRUCTION`](crate::defaults::EF_CONSTRUCTION) unless set.
    pub fn ef_construction(&mut self, ef: usize) -> &mut Self {
        self.ef_construction = ef;
        self
    }

    /// How much nearer a kept neighbor must be to a candidate than the item is, as a factor of the
    /// distance that the metric returns, for the candidate to be dropped. 1 is the heuristic of
    /// HNSW; more keeps more and longer edges. From 1 to 10;
    /// [`defaults::ALPHA`](crate::defaults::ALPHA) unless set.
    ///
    /// Worth a try: of 100 000 image descriptors, 1.1 answers a tenth more queries at recall .95
    /// and a sixth more at .99, for a sixth more time to build and 4 % more bytes; of 100 000 text
    /// embeddings, up to a tenth fewer.
    pub fn alpha(&mut self, alpha: f32) -> &mut Self {
        self.alpha = alpha;
        self
    }

    /// The most threads that the build uses, the calling one included. Unless set, or 0: as many as
    /// the rayon pool has that the calling thread belongs to; on a thread of no pool, what the
    /// environment variable `RAYON_NUM_THREADS` says, else as many as the process can run at a
    /// time. The graph is the same for any number.
    ///
    /// The other threads are voisin's own, which it keeps for the next builds: no job of the
    /// calling pool runs inside a call. There may be fewer of them: where another build has them,
    /// or where no more can be started, the calling thread does their work.
    pub fn threads(&mut self, threads: usize) -> &mut Self {
        self.threads = threads;
        self
    }

    /// Asked at least once for every item and list, from any thread, until the build begins to
    /// write, which takes a few seconds for a million items; `true` ends it with
    /// [`Error::Cancelled`], and nothing has changed.
    pub fn cancel(&mut self, cancel: impl Fn() -> bool + Sync + 'a) -> &mut Self {
        self.cancel = Box::new(cancel);
        self
    }

    /// The folder for the vectors that wait while an index is numbered anew, by
    /// [`optimize`](Self::optimize) or by a first build of many items, and that take more than 64
    /// MB: where the system has temporary files unless set, which may be a disk that is small or in
    /// memory. The folder of the environment has room for an index, as a rule.
    /// [`Index`](crate::Index) uses that.
    pub fn temp_dir(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.temp_dir = Some(path.into());
        self
    }

    /// Told how far the build is, from any thread. If it has rayon do something, that runs on the
    /// threads of the build. Should it panic while values are written, the index is left in the
    /// middle of a change: drop the transaction, or see [`Writer::repair`]. An
    /// [`optimize`](Self::optimize) ends before the panic goes on.
    pub fn progress(&mut self, progress: impl Fn(Progress) + Sync + 'a) -> &mut Self {
        self.progress = Box::new(progress);
        self
    }

    /// Links all pending items, and takes out the removed ones. `M` and `M0`: see
    /// [`build_with`](Self::build_with).
    ///
    /// # Errors
    /// As [`build_with`](Self::build_with).
    pub fn build<const M: usize, const M0: usize>(&mut self, wtxn: &mut RwTxn<'_>) -> Result<()> {
        self.build_with(wtxn, M, M0)
    }

    /// Links all items anew. `M` and `M0`: see [`build_with`](Self::build_with).
    ///
    /// # Errors
    /// As [`build_with`](Self::build_with).
    pub fn force_rebuild<const M: usize, const M0: usize>(
        &mut self,
        wtxn: &mut RwTxn<'_>,
    ) -> Result<()> {
        self.force_rebuild_with(wtxn, M, M0)
    }

    /// As [`build`](Self::build), and then gives every item a new place. `M` and `M0`: see
    /// [`optimize_with`](Self::optimize_with).
    ///
    /// # Errors
    /// As [`build_with`](Self::build_with).
    pub fn optimize<const M: usize, const M0: usize>(
        &mut self,
        wtxn: &mut RwTxn<'_>,
    ) -> Result<()> {
        self.optimize_with(wtxn, M, M0)
    }

    /// Links all pending items, and takes out the removed ones. A node gets at most `m` neighbors
    /// on each layer above the base and `m0` on the base layer, usually `2 * m`; both 2 to 2 048,
    /// fixed by the first build. On an index without items this only creates it.
    ///
    /// The first build of 100 000 items or more, and up to 4 GiB of vectors, also gives every item
    /// a place near those of its neighbors, as [`optimize_with`](Self::optimize_with) does, if this
    /// transaction has added most of them: then the file does not grow by it, and a million are
    /// searched a third more quickly. Vectors of more than 64 MB wait in the system's folder for
    /// temporary files meanwhile; if there is no room, items stay where they are.
    ///
    /// # Errors
    /// [`InvalidParameter`](Error::InvalidParameter),
    /// [`ConnectivityMismatch`](Error::ConnectivityMismatch), [`Cancelled`](Error::Cancelled), and
    /// those of [`Writer::add_item`] about the index: nothing has changed.
    /// [`MapFull`](Error::MapFull), [`Corrupt`](Error::Corrupt), [`TornEdit`](Error::TornEdit):
    /// drop the transaction.
    pub fn build_with(&mut self, wtxn: &mut RwTxn<'_>, m: usize, m0: usize) -> Result<()> {
        self.run(wtxn, m, m0, Goal::Linked)
    }

    /// Links all items anew, as if they had all just been added.
    ///
    /// # Errors
    /// As [`build_with`](Self::build_with).
    pub fn force_rebuild_with(&mut self, wtxn: &mut RwTxn<'_>, m: usize, m0: usize) -> Result<()> {
        self.run(wtxn, m, m0, Goal::LinkedAnew)
    }

    /// As [`build_with`](Self::build_with), and then gives every item a new place, near those of
    /// its neighbors: no place is free any more, and lists of neighbors are shorter, which large
    /// indexes gain the most by. Answers stay the same; force a rebuild first to have other edges,
    /// too.
    ///
    /// O(items), some seconds for a million; every value is written again, so that the file grows
    /// by what the index takes, which the next transactions use up or [`copy_to`](crate::copy_to)
    /// leaves out. The vectors wait in the system's folder for temporary files meanwhile, if they
    /// are more than 64 MB.
    ///
    /// # Errors
    /// As [`build_with`](Self::build_with), and those of the file system.
    pub fn optimize_with(&mut self, wtxn: &mut RwTxn<'_>, m: usize, m0: usize) -> Result<()> {
        self.run(wtxn, m, m0, Goal::Optimized)
    }

    /// As [`build_concurrently_with`](Self::build_concurrently_with).
    ///
    /// # Errors
    /// As [`build_concurrently_with`](Self::build_concurrently_with).
    pub fn build_concurrently<const M: usize, const M0: usize>(
        &mut self,
        env: &Env<WithoutTls>,
    ) -> Result<()> {
        self.build_concurrently_with(env, M, M0)
    }

    /// As [`build_with`](Self::build_with), in transactions of its own, so that other writers need
    /// not wait for it: neighbors are found on the newest commit, without the right to write, and
    /// linked in a write transaction that is as short as writing the lists, and is committed. What
    /// others have committed in between, builds included, counts: items that they have deleted stay
    /// deleted, those that they have added stay pending.
    ///
    /// If others have renumbered or cleared the index meanwhile, it begins anew; the third time it
    /// is a [`build_with`](Self::build_with). The pages of the commit that it works on are not used
    /// again meanwhile, so that the file grows by what others change. The calling thread must not
    /// have a write transaction.
    ///
    /// ```
    /// use voisin::heed::EnvOpenOptions;
    /// use voisin::rand::{SeedableRng, rngs::StdRng};
    /// use voisin::{Database, Reader, Writer, create_database, distances::Euclidean};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let mut options = EnvOpenOptions::new().read_txn_without_tls();
    /// // SAFETY: the folder is on a local disk, and nobody changes its files but through LMDB.
    /// let env = unsafe { options.map_size(1 << 30).open(folder.path())? };
    /// # let db: Database<'_, Euclidean> = create_database(&env, None)?;
    /// let mut wtxn = env.write_txn()?;
    /// let writer = Writer::<Euclidean>::new(db, 0, 2);
    /// for item in 0..500u16 {
    ///     writer.add_item(&mut wtxn, item.into(), &[item.into(), 0.0])?;
    /// }
    /// wtxn.commit()?;
    /// std::thread::scope(|scope| -> voisin::Result<()> {
    ///     let build = scope.spawn(|| {
    ///         writer.builder(&mut StdRng::seed_from_u64(1)).build_concurrently::<16, 32>(&env)
    ///     });
    ///     let mut wtxn = env.write_txn()?;
    ///     writer.add_item(&mut wtxn, 1000, &[7.0, 0.5])?;
    ///     wtxn.commit()?;
    ///     build.join().unwrap()
    /// })?;
    /// let rtxn = env.read_txn()?;
    /// let reader = Reader::<Euclidean>::open(&rtxn, 0, db)?;
    /// assert_eq!(reader.nns(2).by_vector(&rtxn, &[7.0, 1.0])?.into_nns()[0].0, 1000);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`build_with`](Self::build_with), and those of LMDB; nothing has changed.
    pub fn build_concurrently_with(
        &mut self,
        env: &Env<WithoutTls>,
        m: usize,
        m0: usize,
    ) -> Result<()> {
        let connectivity = self.connectivity(m, m0)?;
        for _ in 0..CONCURRENT_ATTEMPTS {
            let txn = OfProcess::new(env.clone().static_read_txn()?);
            let Some(prepared) = self.prepare(txn, connectivity, u64::MAX)? else { break };
            let mut wtxn = env.write_txn()?;
            if self.link(&prepared, &mut wtxn)? {
                return Ok(wtxn.commit()?);
            }
        }
        let mut wtxn = env.write_txn()?;
        self.build_with(&mut wtxn, m, m0)?;
        Ok(wtxn.commit()?)
    }

    pub(crate) fn connectivity(&self, m: usize, m0: usize) -> Result<Connectivity> {
        check_parameters(self.ef_construction, self.alpha, m, m0)
    }

    pub(crate) fn run(
        &mut self,
        wtxn: &mut RwTxn<'_>,
        m: usize,
        m0: usize,
        goal: Goal,
    ) -> Result<()> {
        threads::building(self.threads, || self.run_on_threads(wtxn, m, m0, goal))
    }

    fn run_on_threads(
        &mut self,
        wtxn: &mut RwTxn<'_>,
        m: usize,
        m0: usize,
        goal: Goal,
    ) -> Result<()> {
        let connectivity = self.connectivity(m, m0)?;
        let place = self.writer.place();
        // Writes nothing but, perhaps, the metadata of an index that is created here.
        let mut edit = self.writer.edit(wtxn)?;
        check_connectivity(place.index, &edit.meta, connectivity)?;
        if !is_needed(&edit.meta, goal) {
            if edit.meta.connectivity.replace(connectivity).is_none() {
                edit.finish()?;
            }
            let cancel = &*self.cancel;
            return Self::encode(self.writer, self.rng, wtxn, &|| go_on(cancel));
        }
        let Scope { extent, anew } = Scope::of(&edit.meta, goal);
        let is_bulk = goal == Goal::Linked && is_bulk(&edit.meta) && edit.has_written_much()?;
        drop(edit);

        let (built, rebased) = {
            let mut snapshot = Snapshot::open::<D>(place, wtxn, extent)?;
            snapshot.prepare_build(connectivity, anew);
            let source = Verified::new(Shared::new(place, wtxn)?, extent);
            let view = View::<D, AnySource<'_, '_>>::new(&snapshot, &source);
            let pending = Pending::of(&snapshot, anew, goal.limit());
            let Graph { working, encoded, growth } = self.graph(&view, anew, &pending)?;
            let (cancel, is_optimized) = (&*self.cancel, goal == Goal::Optimized);
            let go_on = || go_on(cancel);
            let spooled = (is_optimized || is_bulk)
                .then(|| spool(&view, &working, self.temp_dir.as_deref(), &go_on))
                .transpose();
            let built = match spooled {
                Ok(Some(spooled)) => {
                    Built::Renumbered(renumber(&view, &working, spooled, encoded, &go_on)?, growth)
                }
                // Nobody has asked for it: without room for a temporary file, all stays where it
                // is.
                Err(error)
                    if is_optimized
                        || !matches!(error, Error::Io { .. } | Error::DiskFull { .. }) =>
                {
                    return Err(error);
                }
                Ok(None) | Err(_) => {
                    let changes =
                        Changes::new(&view.without_metric(), working, anew, growth, &go_on)?;
                    Built::Changes(
                        changes,
                        encoded.map(|encoded| encoded.puts(&view, &snapshot.removed)),
                    )
                }
            };
            go_on()?;
            (built, Rebased::nothing_between(&snapshot, &pending.left))
        };
        let mut edit = self.edit(wtxn, connectivity)?;
        match built {
            Built::Renumbered(renumbered, growth) => {
                edit.meta.growth = growth.unwrap_or(edit.meta.growth);
                renumbered.write::<D>(edit, |done, total| self.report_writing(done, total))?;
            }
            Built::Changes(mut changes, codes) => {
                let mut puts = std::mem::take(&mut changes.puts);
                edit.meta.is_coded |= codes.is_some();
                puts.extend(codes.into_iter().flatten());
                self.write(edit, puts.into_iter(), &changes, &rebased)?;
            }
        }
        // It is too late to stop.
        Self::encode(self.writer, self.rng, wtxn, &|| Ok(()))
    }

    /// Makes the codes that are wanted and not there.
    fn encode(
        writer: &Writer<'e, D>,
        rng: &mut R,
        wtxn: &mut RwTxn<'_>,
        go_on: &GoOn<'_>,
    ) -> Result<()> {
        let place = writer.place();
        if !read_meta::<D>(place, wtxn)?.is_some_and(|meta| meta.lacks_codes()) {
            return Ok(());
        }
        let puts = {
            let snapshot = Snapshot::open::<D>(place, wtxn, Extent::Full)?;
            let source = Verified::new(Shared::new(place, wtxn)?, snapshot.extent);
            let view = View::<D, AnySource<'_, '_>>::new(&snapshot, &source);
            Encoded::new(&view, rng.next_u64(), go_on)?.puts(&view, &RoaringBitmap::new())
        };
        let mut edit = writer.edit(wtxn)?;
        edit.meta.is_coded = true;
        edit.finish_with(puts)
    }

    /// Computes what a build that links at most `limit` items would change in the commit that
    /// `txn` sees. `None` if that is nothing.
    pub(crate) fn prepare(
        &mut self,
        txn: ReadTxn,
        connectivity: Connectivity,
        limit: u64,
    ) -> Result<Option<Prepared<'e>>> {
        let place = self.writer.place();
        let Some(meta) = read_meta::<D>(place, &txn)? else { return Ok(None) };
        check_connectivity(place.index, &meta, connectivity)?;
        if !is_needed(&meta, Goal::Linked) {
            return Ok(None);
        }
        let Scope { extent, anew } = Scope::of(&meta, Goal::Part(limit));
        let mut held = Held::open::<D>(place, Arc::new(SharedTxn::alone(txn)), extent)?;
        held.prepare_build(connectivity, anew);
        let (changes, pending) = {
            let view = held.verified_view::<D>(extent);
            let view = view.erased();
            let pending = Pending::of(view.snapshot, anew, limit);
            let changes = threads::building(self.threads, || {
                let Graph { working, growth, .. } = self.graph(&view, anew, &pending)?;
                let go_on = || go_on(&*self.cancel);
                Changes::new(&view.without_metric(), working, anew, growth, &go_on)
            })?;
            (changes, pending)
        };
        go_on(&*self.cancel)?;
        Ok(Some(Prepared { held, changes, pending, connectivity }))
    }

    /// Links what was prepared, whatever has been committed since. `false` if that is so much that
    /// it must be prepared anew: nothing has changed.
    pub(crate) fn link(&mut self, prepared: &Prepared<'_>, wtxn: &mut RwTxn<'_>) -> Result<bool> {
        let Prepared { held, changes, pending, connectivity } = prepared;
        let rebased = Rebased::new::<D>(held, changes, &pending.left, wtxn)?;
        let Some(rebased) = rebased else { return Ok(false) };
        let edit = self.edit(wtxn, *connectivity)?;
        self.write(edit, changes.puts.iter().cloned(), changes, &rebased)?;
        threads::building(self.threads, || Self::encode(self.writer, self.rng, wtxn, &|| Ok(())))?;
        Ok(true)
    }

    /// The index, to write what was built.
    fn edit<'w, 'p>(
        &self,
        wtxn: &'w mut RwTxn<'p>,
        connectivity: Connectivity,
    ) -> Result<Edit<'w, 'e, 'p, D>> {
        let mut edit = self.writer.edit(wtxn)?;
        edit.meta.connectivity = Some(connectivity);
        edit.meta.ef_construction = self.ef_construction.min(u32::MAX as usize) as u32;
        edit.meta.alpha = self.alpha;
        Ok(edit)
    }

    fn report_writing(&self, done: u64, total: u64) {
        (self.progress)(Progress { phase: Phase::Writing, done, total });
    }

    /// Stores the values of a graph, and what else comes with it.
    fn write(
        &self,
        mut edit: Edit<'_, 'e, '_, D>,
        puts: impl ExactSizeIterator<Item = Put>,
        changes: &Changes,
        rebased: &Rebased,
    ) -> Result<()> {
        if changes.anew {
            let index = edit.index();
            for kind in [Kind::Links, Kind::Spill, Kind::In] {
                let bound = |sub, n| Key::new(index, kind, sub, n);
                edit.delete_derived(bound(0, 0), bound(u8::MAX, u32::MAX))?;
            }
        }
        (edit.meta.next_rank, edit.meta.roots) = (changes.next_rank, changes.roots.clone());
        edit.meta.growth = changes.growth.unwrap_or(edit.meta.growth);
        let total = puts.len() as u64;
        if puts.len() <= FEW_PUTS {
            rebased.write(&mut edit)?;
            edit.finish_with(puts.collect())?;
            (1..=total).for_each(|done| self.report_writing(done, total));
            return Ok(());
        }
        for (done, (key, body)) in (1..).zip(puts) {
            edit.put_derived(key, body)?;
            self.report_writing(done, total);
        }
        rebased.write(&mut edit)?;
        edit.finish()
    }

    /// The graph that the build makes of what is stored.
    fn graph<'v, 't>(
        &mut self,
        view: &'v View<'_, 't, D, AnySource<'_, 't>>,
        anew: bool,
        pending: &Pending,
    ) -> Result<Graph<'v>> {
        let Snapshot { meta, removed, .. } = view.snapshot;
        let connectivity = meta.connectivity.ok_or(Error::MissingIndex(view.snapshot.index))?;
        // What stays pending is not in the graph: no search of the build may meet it.
        let live = || -> Result<Vec<Slot>> {
            Ok((view.live()? - &pending.left).iter().map(Slot).collect())
        };
        let slots: Vec<Slot> =
            if anew { live()? } else { pending.linked.iter().copied().map(Slot).collect() };
        let linked = if anew { 0 } else { (meta.linked() - meta.removed) as usize };
        let next_rank = if anew { 0 } else { meta.next_rank };
        let mut working = Working::new(view, meta.roots.clone(), next_rank);
        let total = slots.len() as u64;
        let plan = Plan {
            m0: connectivity.m0.into(),
            m: connectivity.m.into(),
            ef_construction: self.ef_construction,
            alpha: self.alpha,
            is_small: view.snapshot.extent == Extent::Small,
            cancel: &*self.cancel,
            progress: &|done| (self.progress)(Progress { phase: Phase::Linking, done, total }),
        };
        let size = meta.slots as usize - pending.left.len() as usize;
        let is_large = slots.len() * LARGE_SHARE > size;
        if is_large {
            working = working.with_lists(plan.longest());
        }
        if !anew {
            let removed: Vec<Slot> = removed.iter().map(Slot).collect();
            let worn = delete(&mut working, view, &removed, &plan)?;
            // New items bring new edges: only where there are fewer than the removed ones, the
            // graph thins out.
            let lost = removed.len().saturating_sub(slots.len());
            let refreshed: Vec<Slot> =
                worn.leads.into_iter().chain(worn.others.into_iter().take(lost)).collect();
            refresh(&mut working, view, &refreshed, &plan)?;
        }
        let mut rng = R::seed_from_u64(self.rng.next_u64() ^ spread(next_rank));
        let live = if is_large { live()? } else { Vec::new() };
        let estimates = match meta.code_bits {
            _ if slots.len() < COARSE_ITEMS || !is_large => Estimates::None,
            0 => Coarse::new(view, &live)?.map_or(Estimates::None, Estimates::Coarse),
            _ => Self::encoded(view, &live, self.rng.next_u64(), &|| go_on(&*self.cancel))?,
        };
        let estimating: Option<Box<dyn Vectors + '_>> = match &estimates {
            Estimates::Codes { encoded, .. } => Some(Box::new(WithCodes { view, encoded })),
            Estimates::Coarse(coarse) => Some(Box::new(WithCoarse { view, coarse })),
            Estimates::None => None,
        };
        let vectors = estimating.as_deref().unwrap_or(view);
        insert(&mut working, vectors, &slots, linked, &plan, &mut rng)?;
        finish(&mut working, vectors, &plan)?;
        drop(estimating);
        let encoded = match estimates {
            Estimates::Codes { encoded, is_new: true } => Some(*encoded),
            _ => None,
        };
        let growth = if is_large {
            Some(growth(&working, view, &sample(live.iter().copied(), live.len(), GROWTH_SAMPLE))?)
        } else {
            None
        };
        working.drop_lists();
        Ok(Graph { working, encoded, growth })
    }

    /// The codes that the index has or is to have, for a large build to search by. None if they do
    /// not tell apart what is near.
    fn encoded<'t>(
        view: &View<'_, 't, D, AnySource<'_, 't>>,
        live: &[Slot],
        seed: u64,
        go_on: &GoOn<'_>,
    ) -> Result<Estimates> {
        let (encoded, is_new) = match Encoded::stored(view, go_on)? {
            Some(encoded) => (encoded, false),
            None => (Encoded::new(view, seed, go_on)?, true),
        };
        let sample = sample(live.iter().copied(), live.len(), ENCODED_SAMPLE);
        Ok(if encoded.tells_apart(view, &sample)? {
            Estimates::Codes { encoded: Box::new(encoded), is_new }
        } else {
            Estimates::None
        })
    }
}

/// That an index can be built with these.
///
/// # Errors
/// [`Error::InvalidParameter`].
pub(crate) fn check_parameters(
    ef_construction: usize,
    alpha: f32,
    m: usize,
    m0: usize,
) -> Result<Connectivity> {
    let invalid = |name, value, remedy| Err(Error::InvalidParameter { name, value, remedy });
    if ef_construction == 0 {
        return invalid("ef_construction", 0.0, "use at least 1, better 100 or more");
    }
    if !(1.0..=10.0).contains(&alpha) {
        // By way of its digits, so that 0.9 is told as 0.9 and not as the nearest single.
        let value = alpha.to_string().parse().unwrap_or(f64::NAN);
        return invalid("alpha", value, "use 1 to 10; 1 is the heuristic of HNSW");
    }
    let Some(connectivity) = Connectivity::new(m, m0) else {
        let (name, value) = if (2..=MAX_DEGREE).contains(&m) { ("M0", m0) } else { ("M", m) };
        return invalid(name, value as f64, "use 2 to 2048, such as 16 for M and 32 for M0");
    };
    Ok(connectivity)
}

/// Whether a build goes on.
fn go_on(cancel: &(dyn Fn() -> bool + Sync)) -> Result<()> {
    if cancel() { Err(Error::Cancelled) } else { Ok(()) }
}

/// That the index has no other connectivity already.
fn check_connectivity(index: u16, meta: &Meta, wanted: Connectivity) -> Result<()> {
    match meta.connectivity.filter(|stored| *stored != wanted) {
        None => Ok(()),
        Some(stored) => Err(Error::ConnectivityMismatch {
            index,
            stored_m: stored.m.into(),
            stored_m0: stored.m0.into(),
            m: wanted.m.into(),
            m0: wanted.m0.into(),
        }),
    }
}

/// Whether a build would change anything.
fn is_needed(meta: &Meta, goal: Goal) -> bool {
    meta.pending > 0
        || meta.removed > 0
        || match goal {
            Goal::Linked | Goal::Part(_) => false,
            Goal::LinkedAnew => meta.items > 0,
            Goal::Optimized => meta.slots > 0,
        }
}

/// Whether a first build numbers the items by locality as [`Goal::Optimized`] does, where the
/// transaction has written most of them itself.
fn is_bulk(meta: &Meta) -> bool {
    let vector_bytes = u64::from(meta.slots) * meta.geometry.stride as u64;
    meta.linked() == 0 && meta.items >= BULK_ITEMS && vector_bytes <= BULK_BYTES
}

/// How much of an index a build works on.
struct Scope {
    extent: Extent,
    /// Whether all is linked anew.
    anew: bool,
}

impl Scope {
    fn of(meta: &Meta, goal: Goal) -> Self {
        let ranks_run_out =
            u64::from(meta.next_rank) + u64::from(meta.pending) > u64::from(u32::MAX);
        let worn_out = u64::from(meta.removed) * REBUILD_SHARE > u64::from(meta.linked());
        let anew = goal == Goal::LinkedAnew || worn_out || ranks_run_out;
        let changed = u64::from(meta.pending).min(goal.limit()) + u64::from(meta.removed);
        let is_small =
            !anew && goal != Goal::Optimized && changed * SMALL_SHARE < u64::from(meta.slots);
        Self { extent: if is_small { Extent::Small } else { Extent::Full }, anew }
    }
}

/// Mixed into the seed of a build, so that items which are added and built one by one do not all
/// get the same top layer from callers who seed every build alike: an odd constant with well mixed
/// bits, that of Fibonacci hashing.
fn spread(next_rank: u32) -> u64 {
    u64::from(next_rank).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// What a build is to achieve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// What is pending is linked, what was removed is out.
    Linked,
    /// The same for at most so many pending items, those with the lowest slots: the rest stays
    /// pending. A build anew links all.
    Part(u64),
    /// All is linked anew.
    LinkedAnew,
    /// As [`Linked`](Self::Linked), and numbered by locality.
    Optimized,
}

impl Goal {
    /// The most pending items that are linked.
    fn limit(self) -> u64 {
        if let Self::Part(limit) = self { limit } else { u64::MAX }
    }
}

/// The pending slots of a snapshot, as a build treats them.
struct Pending {
    /// Those that it links, ascending.
    linked: Vec<u32>,
    /// Those that stay pending.
    left: RoaringBitmap,
}

impl Pending {
    fn of(snapshot: &Snapshot<'_>, anew: bool, limit: u64) -> Self {
        let pending = &snapshot.pending;
        let count = if anew { pending.len() } else { pending.len().min(limit as usize) };
        let (linked, left) = pending.split_at(count);
        Self { linked: linked.to_vec(), left: left.iter().copied().collect() }
    }
}

/// What a large build searches by.
enum Estimates {
    Codes { encoded: Box<Encoded>, is_new: bool },
    Coarse(Coarse),
    None,
}

/// The graph that a build makes.
struct Graph<'v> {
    working: Working<'v>,
    /// Codes that the index is to have and does not have yet.
    encoded: Option<Encoded>,
    /// How distances grow, if so much is new that it was measured.
    growth: Option<f32>,
}

/// What a build has computed.
enum Built {
    /// Values that differ, and those of the codes that the index is to have, if the build has made
    /// them.
    Changes(Changes, Option<Vec<Put>>),
    /// All values, and how distances grow, if that was measured.
    Renumbered(Renumbered, Option<f32>),
}

/// A build that has been computed on a commit, and not been linked yet.
pub(crate) struct Prepared<'e> {
    held: Held<'e>,
    changes: Changes,
    pending: Pending,
    connectivity: Connectivity,
}

impl Prepared<'_> {
    /// How many pending items it links.
    pub(crate) fn linked(&self) -> u64 {
        self.pending.linked.len() as u64
    }
}
