//! [`Builder`]: the options of a build. `build.rs` does the work.

use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

use heed::{Env, RwTxn, WithoutTls};
use rand::{Rng, SeedableRng};

use crate::build::{Build, Goal, Prepared, Progress, check_parameters};
use crate::defaults;
use crate::error::Result;
use crate::format::meta::Connectivity;
use crate::store::Place;
use crate::store::owned_snapshot::ReadTxn;
use crate::store::process::OfProcess;
use crate::writer::Writer;

/// How often a concurrent build is tried before it blocks other writers.
pub(crate) const CONCURRENT_ATTEMPTS: usize = 2;

/// The options of a build: see [`Writer::builder`].
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
    place: Place<'e>,
    dimensions: usize,
    metric: PhantomData<fn() -> D>,
    rng: &'a mut R,
    ef_construction: usize,
    alpha: f32,
    threads: usize,
    codes_from: u64,
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

impl<'e, D, K: ?Sized> Writer<'e, D, K> {
    /// Prepares a build. One seed gives one graph, for any number of threads.
    pub fn builder<'a, R: Rng + SeedableRng>(&'a self, rng: &'a mut R) -> Builder<'a, 'e, D, R> {
        Builder::new(self.place(), self.dimensions(), rng)
    }
}

impl<'a, 'e, D, R: Rng + SeedableRng> Builder<'a, 'e, D, R> {
    fn new(place: Place<'e>, dimensions: usize, rng: &'a mut R) -> Self {
        let (cancel, progress) = (Box::new(|| false), Box::new(|_| {}));
        Self {
            place,
            dimensions,
            metric: PhantomData,
            rng,
            ef_construction: defaults::EF_CONSTRUCTION,
            alpha: defaults::ALPHA,
            threads: 0,
            codes_from: defaults::CODES_FROM,
            cancel,
            progress,
            temp_dir: None,
        }
    }

    /// `ef_construction`: how many candidates the search for an item's neighbors keeps. More makes
    /// a better graph, in about proportionally more time. At least 1;
    /// [`defaults::EF_CONSTRUCTION`](crate::defaults::EF_CONSTRUCTION) unless set.
    pub fn ef_construction(&mut self, ef: usize) -> &mut Self {
        self.ef_construction = ef;
        self
    }

    /// The pruning factor `alpha`: a candidate is pruned if a kept neighbor is nearer to it than
    /// the item is, by this factor of the distance that the metric returns. 1 is the heuristic of
    /// HNSW; a larger value keeps more and longer edges. From 1 to 10;
    /// [`defaults::ALPHA`](crate::defaults::ALPHA) unless set.
    ///
    /// Worth a try: on 100 000 image descriptors, 1.1 answers a tenth more queries per second at
    /// recall .95 and a sixth more at .99, for a sixth more build time and 4 % more bytes; on
    /// 100 000 text embeddings, up to a tenth fewer.
    pub fn alpha(&mut self, alpha: f32) -> &mut Self {
        self.alpha = alpha;
        self
    }

    /// The maximum number of threads of the build, including the calling one. Unless set, or 0: the
    /// size of the rayon pool of the calling thread; on a thread of no pool, the environment
    /// variable `RAYON_NUM_THREADS`, or else the available parallelism of the process. The graph is
    /// the same for any number.
    ///
    /// The other threads are voisin's own, which it keeps for the next builds: no job of the
    /// calling pool runs inside a call. There may be fewer of them, if another build uses them or
    /// no more can be started; the calling thread then does their work.
    pub fn threads(&mut self, threads: usize) -> &mut Self {
        self.threads = threads;
        self
    }

    /// The minimum number of items before the build makes the codes of
    /// [`Writer::set_codes`](crate::Writer::set_codes):
    /// [`defaults::CODES_FROM`](crate::defaults::CODES_FROM) unless set. With fewer items, searches
    /// compare vectors.
    pub fn codes_from(&mut self, items: u64) -> &mut Self {
        self.codes_from = items;
        self
    }

    /// Sets a cancel closure. Any thread calls it, at least once for every item and neighbor list,
    /// until the build begins to write, which takes a few seconds for a million items; `true` ends
    /// the build with [`Error::Cancelled`](crate::Error::Cancelled), and nothing has changed.
    pub fn cancel(&mut self, cancel: impl Fn() -> bool + Sync + 'a) -> &mut Self {
        self.cancel = Box::new(cancel);
        self
    }

    /// The folder for temporary files: [`optimize`](Self::optimize), or a first build of many
    /// items, spills vectors there while it renumbers an index, if they take more than 64 MB.
    /// Unless set, the system's folder for temporary files, which may be on a small disk or in
    /// memory. The folder of the environment usually has room for an index; [`Index`](crate::Index)
    /// uses that.
    pub fn temp_dir(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.temp_dir = Some(path.into());
        self
    }

    /// Sets a progress closure, called from any thread. Rayon work that it starts runs on the
    /// threads of the build. If it panics while values are written, the index is left in the middle
    /// of a change: drop the transaction, or see [`Writer::repair`]. An
    /// [`optimize`](Self::optimize) finishes before the panic is resumed.
    pub fn progress(&mut self, progress: impl Fn(Progress) + Sync + 'a) -> &mut Self {
        self.progress = Box::new(progress);
        self
    }

    /// Links all pending items into the graph, and removes deleted ones (tombstones) from it. `M`
    /// and `M0`: see [`build_with`](Self::build_with).
    ///
    /// # Errors
    /// As [`build_with`](Self::build_with).
    pub fn build<const M: usize, const M0: usize>(&mut self, wtxn: &mut RwTxn<'_>) -> Result<()> {
        self.build_with(wtxn, M, M0)
    }

    /// Rebuilds the graph from scratch. `M` and `M0`: see [`build_with`](Self::build_with).
    ///
    /// # Errors
    /// As [`build_with`](Self::build_with).
    pub fn force_rebuild<const M: usize, const M0: usize>(
        &mut self,
        wtxn: &mut RwTxn<'_>,
    ) -> Result<()> {
        self.force_rebuild_with(wtxn, M, M0)
    }

    /// Measures the recall of searches at several `ef`, by 256 items as queries, for
    /// [`Query::recall`](crate::Query::recall), and stores that in the index. Builds do it by
    /// themselves once all items are linked and there are half as many again as at the last time,
    /// if they link a 16th of the items or more, or there are no more than 10 000;
    /// [`optimize`](Self::optimize) and [`force_rebuild`](Self::force_rebuild) do it always. So
    /// this is for an index that has grown by small commits, or has changed its character.
    /// O(256 * items * dimensions), half a second for 100 000 text embeddings on two threads, about
    /// a twentieth of their build. Without a graph, or if it is cancelled, nothing changes.
    ///
    /// # Errors
    /// As [`build_with`](Self::build_with).
    pub fn calibrate(&mut self, wtxn: &mut RwTxn<'_>) -> Result<()> {
        self.build_of().calibrate(wtxn)
    }

    /// As [`build`](Self::build), followed by a compaction that renumbers all items. `M` and `M0`:
    /// see [`optimize_with`](Self::optimize_with).
    ///
    /// # Errors
    /// As [`build_with`](Self::build_with).
    pub fn optimize<const M: usize, const M0: usize>(
        &mut self,
        wtxn: &mut RwTxn<'_>,
    ) -> Result<()> {
        self.optimize_with(wtxn, M, M0)
    }

    /// Links all pending items into the graph, and removes deleted ones (tombstones) from it. An
    /// item gets at most `m` neighbors on each layer above the base and `m0` on the base layer,
    /// usually `2 * m`; both 2 to 2 048, fixed by the first build. On an index without items this
    /// only creates it.
    ///
    /// The first build of 100 000 items or more, and up to 4 GiB of vectors, also renumbers the
    /// items by locality, as [`optimize_with`](Self::optimize_with) does, if this transaction has
    /// added most of them: the file then does not grow by it, and a million items are searched a
    /// third faster. Vectors of more than 64 MB are spilled to the system's folder for temporary
    /// files meanwhile; if that has no room, items keep their numbers.
    ///
    /// # Errors
    /// [`InvalidParameter`](crate::Error::InvalidParameter),
    /// [`ConnectivityMismatch`](crate::Error::ConnectivityMismatch),
    /// [`Cancelled`](crate::Error::Cancelled), and those of [`Writer::add_item`] about the index:
    /// nothing has changed. [`MapFull`](crate::Error::MapFull), [`Corrupt`](crate::Error::Corrupt),
    /// [`TornEdit`](crate::Error::TornEdit): drop the transaction.
    pub fn build_with(&mut self, wtxn: &mut RwTxn<'_>, m: usize, m0: usize) -> Result<()> {
        self.run(wtxn, m, m0, Goal::Linked)
    }

    /// Rebuilds the graph from scratch, as if all items had just been added.
    ///
    /// # Errors
    /// As [`build_with`](Self::build_with).
    pub fn force_rebuild_with(&mut self, wtxn: &mut RwTxn<'_>, m: usize, m0: usize) -> Result<()> {
        self.run(wtxn, m, m0, Goal::LinkedAnew)
    }

    /// As [`build_with`](Self::build_with), followed by a compaction: every item gets a new slot,
    /// near those of its neighbors. No slot is free any more, and neighbor lists take fewer bytes;
    /// large indexes gain the most. Answers stay the same; to change edges as well, force a rebuild
    /// first. If 1 000 items or more, stored as `i8`, take less than a third of the trained range,
    /// it is narrowed, for the sake of vectors that are added later; training can widen it again.
    ///
    /// O(items), some seconds for a million. Every value is rewritten, so the file grows by the
    /// size of the index; later transactions reuse that space, and [`copy_to`](crate::copy_to)
    /// leaves it out. Vectors of more than 64 MB are spilled to the system's folder for temporary
    /// files meanwhile.
    ///
    /// # Errors
    /// As [`build_with`](Self::build_with), and those of the file system.
    pub fn optimize_with(&mut self, wtxn: &mut RwTxn<'_>, m: usize, m0: usize) -> Result<()> {
        self.run(wtxn, m, m0, Goal::Optimized)
    }

    /// As [`build_concurrently_with`](Self::build_concurrently_with), with M and M0 as constants.
    ///
    /// # Errors
    /// As [`build_concurrently_with`](Self::build_concurrently_with).
    pub fn build_concurrently<const M: usize, const M0: usize>(
        &mut self,
        env: &Env<WithoutTls>,
    ) -> Result<()> {
        self.build_concurrently_with(env, M, M0)
    }

    /// As [`build_with`](Self::build_with), in transactions of its own, so that other writers do
    /// not wait for it. It searches for neighbors on the newest commit, without the write lock, and
    /// links them in a write transaction that is only as long as writing the lists, and is
    /// committed. It keeps what others commit in between, builds included: items that they deleted
    /// stay deleted, items that they added stay pending.
    ///
    /// If others have renumbered or cleared the index meanwhile, it retries; the third attempt is a
    /// [`build_with`](Self::build_with). LMDB cannot reuse the pages of the commit that it works on
    /// meanwhile, so the file grows by what others change. The calling thread must not have a write
    /// transaction.
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
            let Some(mut prepared) = self.prepare(txn, connectivity, u64::MAX)? else { break };
            let mut wtxn = env.write_txn()?;
            if self.link(&mut prepared, &mut wtxn)? {
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
        self.build_of().run(wtxn, m, m0, goal)
    }

    pub(crate) fn prepare(
        &mut self,
        txn: ReadTxn,
        connectivity: Connectivity,
        limit: u64,
    ) -> Result<Option<Prepared<'e>>> {
        self.build_of().prepare(txn, connectivity, limit)
    }

    pub(crate) fn link(
        &mut self,
        prepared: &mut Prepared<'_>,
        wtxn: &mut RwTxn<'_>,
    ) -> Result<bool> {
        self.build_of().link(prepared, wtxn)
    }

    /// The untyped build that does the work: it does not depend on the types of metric and
    /// generator.
    fn build_of(&mut self) -> Build<'_, 'e> {
        Build {
            place: self.place,
            dimensions: self.dimensions,
            rng: self.rng,
            seeded: |seed| Box::new(R::seed_from_u64(seed)),
            ef_construction: self.ef_construction,
            alpha: self.alpha,
            threads: self.threads,
            codes_from: self.codes_from,
            cancel: &*self.cancel,
            progress: &*self.progress,
            temp_dir: self.temp_dir.as_deref(),
            within: None,
        }
    }
}
