//! [`Index`]: vectors in a folder of their own, for programs that have no LMDB.
//!
//! It owns what the level below borrows: the environment, the transactions, the databases. One file
//! a concern:
//!
//! - `options`: how to create and open; the check against what is stored.
//! - `registry`: one environment a file and process. `environment`: its transactions, and the size
//!   of its map. `filesystem`: where LMDB works. `created`: a folder that no index has come of.
//! - `snapshot`: an index at one commit; `cache`: the newest, which searches share. `batch`: one transaction.
//!   `load`: many items at once.
//! - `catalog`: the names and numbers of the indexes of an environment.
//! - `item_key`: what items are named by; `keyed`, `keyed_query`: the same as above by keys.
//!
//! Owns the invariant that this process has no transaction while the map is moved.

mod batch;
mod cache;
mod catalog;
mod created;
mod environment;
mod filesystem;
mod item_key;
mod keyed;
mod keyed_query;
mod load;
mod options;
mod registry;
mod snapshot;

use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use heed::types::Bytes;
use heed::{RoTxn, RwTxn};
use rand::SeedableRng;
use rand::rngs::StdRng;

pub use self::batch::Batch;
use self::cache::Cache;
pub use self::catalog::remove_index;
use self::environment::{Access, Hold, Interrupted, Reading, SharedEnv};
pub use self::item_key::{AsKey, ItemKey, ItemName, MAX_KEY_BYTES};
pub use self::keyed_query::KeyedQuery;
pub use self::load::{LoadPhase, LoadProgress, Loader};
pub use self::options::Options;
use self::registry::DATA;
pub use self::snapshot::Snapshot;
use self::snapshot::newest;
use crate::builder::{Builder, CONCURRENT_ATTEMPTS, Goal, Phase, Progress};
use crate::check::{Finding, check_named};
use crate::codec::{Component, I8};
use crate::codes::Codes;
use crate::database::{Database, ValueCodec};
use crate::distance::Distance;
use crate::error::{Error, Result};
use crate::format::catalog::Entry;
use crate::query::{QueryBuilder, Searched, by_item, by_vector, by_vectors};
use crate::reader::Reader;
use crate::stats::Stats;
use crate::store::Place;
use crate::store::file::copy_to;
use crate::store::held::Held;
use crate::store::item_keys::ItemKeys;
use crate::store::snapshot::{read_marked, read_meta};
use crate::types::ItemId;
use crate::writer::Writer;

/// Vectors in a folder, searched by any number of threads and processes while one of them writes.
///
/// A handle can be cloned, which is cheap, and used from any thread. All handles of a process on
/// one folder share its files, and the last one that is dropped, with the last [`Snapshot`], closes
/// them. One folder can hold many indexes, under names of their own.
///
/// ```
/// use voisin::{Index, Options, distances::Cosine};
///
/// # fn main() -> voisin::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("vectors");
/// let index = Index::<Cosine>::create(&path, Options::new(3))?;
/// index.write(|batch| {
///     batch.add(10, &[1.0, 0.0, 0.0])?;
///     batch.add(11, &[0.0, 1.0, 0.0])
/// })?;
/// let found = index.search(1).ef_search(50).by_vector(&[0.1, 0.9, 0.0])?;
/// assert_eq!(found.into_nns()[0].0, 11);
/// # Ok(())
/// # }
/// ```
///
/// Items are named by `u32` ids. `Index<D, u64>` and `Index<D, str>` name them by [keys](ItemKey):
/// everything that takes or gives an id takes or gives a key there.
pub struct Index<D, K: ?Sized = ItemId> {
    shared: Arc<Shared>,
    types: PhantomData<fn(&K) -> D>,
}

/// How often a search begins anew because LMDB refuses the transaction that it shares.
const SNAPSHOT_ATTEMPTS: usize = 3;

/// What the clones of a handle share.
#[derive(Debug)]
struct Shared {
    cache: Arc<Cache>,
    name: String,
    entry: Entry,
    place: Place<'static>,
    is_read_only: bool,
    /// Items that were pending when the handle was opened.
    pending_at_open: u64,
    /// Where temporary files go, if not beside the index.
    temp_dir: Option<PathBuf>,
    /// The most threads of a build, if not 0.
    threads: usize,
    // Last: what is above ends before the environment is closed.
    env: Arc<SharedEnv>,
}

/// Who wants to know how far a build is, and whether it goes on, and on how many threads.
#[derive(Clone, Copy)]
struct Hooks<'a> {
    cancel: &'a (dyn Fn() -> bool + Sync),
    progress: &'a (dyn Fn(Progress) + Sync),
    /// 0: as the handle was opened.
    threads: usize,
}

impl Hooks<'_> {
    const NONE: Hooks<'static> = Hooks { cancel: &|| false, progress: &|_| {}, threads: 0 };
}

impl Shared {
    fn database<D>(&self) -> Database<'static, D> {
        self.place.raw.remap_types::<Bytes, ValueCodec<D>>()
    }

    fn writer<D: Distance>(&self) -> Writer<'static, D> {
        Writer::new(self.database(), self.entry.number, self.entry.dimensions as usize)
    }

    /// Builds as the index was created to be built.
    fn build<D: Distance>(
        &self,
        writer: &Writer<'static, D>,
        txn: &mut RwTxn<'_>,
        goal: Goal,
        hooks: Hooks<'_>,
    ) -> Result<()> {
        let mut rng = StdRng::seed_from_u64(self.entry.seed);
        self.builder(writer, &mut rng, hooks).run(
            txn,
            self.entry.m.into(),
            self.entry.m0.into(),
            goal,
        )
    }

    fn builder<'a, D: Distance>(
        &self,
        writer: &'a Writer<'static, D>,
        rng: &'a mut StdRng,
        hooks: Hooks<'a>,
    ) -> Builder<'a, 'static, D, StdRng> {
        let mut builder = writer.builder(rng);
        builder.ef_construction(self.entry.ef_construction as usize).alpha(self.entry.alpha);
        builder.threads(if hooks.threads == 0 { self.threads } else { hooks.threads });
        builder
            .cancel(|| (hooks.cancel)())
            .progress(|progress| (hooks.progress)(progress))
            .temp_dir(self.temp_dir());
        builder
    }

    /// The folder for temporary files.
    fn temp_dir(&self) -> &Path {
        self.temp_dir.as_deref().unwrap_or(self.env.folder())
    }

    /// Links at most `least` pending items, or as many as are linked, without the turn to write
    /// while neighbors are looked for.
    fn link<D: Distance>(&self, least: u64, hooks: Hooks<'_>) -> Result<Round> {
        let (writer, mut rng) = (self.writer::<D>(), StdRng::seed_from_u64(self.entry.seed));
        let mut builder = self.builder(&writer, &mut rng, hooks);
        let connectivity = builder.connectivity(self.entry.m.into(), self.entry.m0.into())?;
        let Reading { txn, ticket: _ticket } = self.env.read()?;
        let _hold = Hold::new(&self.env);
        self.check_exists(&txn)?;
        let limit = read_meta::<D>(self.place, &txn)?.map_or(0, |meta| meta.round(least));
        let Some(prepared) = builder.prepare(txn, connectivity, limit)? else {
            return Ok(Round::Done);
        };
        // A full map cannot grow while this holds a snapshot.
        let is_linked = self.env.write(|mut txn| {
            match self.check_exists(&txn).and_then(|()| builder.link(&prepared, &mut txn)) {
                Ok(is_linked) => Ok((is_linked, txn)),
                Err(error) => Err(Interrupted::Failed(self.env.explain(error))),
            }
        })?;
        Ok(if is_linked { Round::Linked(prepared.linked()) } else { Round::Outdated })
    }
}

/// What a round of linking has come to.
enum Round {
    /// There was nothing to link.
    Done,
    /// So many pending items are linked.
    Linked(u64),
    /// Too much was committed meanwhile: nothing has changed.
    Outdated,
}

/// A round of [`Index::link`] links at least this many items, if there are so many. Each round
/// rewrites most lists of the graph and takes about 1 kB of memory for an item that it links or
/// changes. Rounds as large as the graph that is there keep what is written within twice that of a
/// single round.
const LEAST_ROUND_ITEMS: u64 = 20_000;

impl<D, K: ?Sized> Clone for Index<D, K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), types: PhantomData }
    }
}

impl<D, K: ?Sized> fmt::Debug for Index<D, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { name, entry, env, .. } = &*self.shared;
        f.debug_struct("Index")
            .field("folder", &env.folder())
            .field("name", name)
            .field("entry", entry)
            .finish_non_exhaustive()
    }
}

impl<D: Distance, K: ItemName + ?Sized> Index<D, K> {
    /// Creates an index in the folder `path`, which is created, too, if it is not there. `options`
    /// must have the dimensions. If the creation is refused or fails, a folder that it has created
    /// is removed.
    ///
    /// # Errors
    /// [`NameTaken`](Error::NameTaken) if the folder has an index of this name.
    /// [`InvalidDimensions`](Error::InvalidDimensions),
    /// [`InvalidParameter`](Error::InvalidParameter), [`InvalidName`](Error::InvalidName): an
    /// option is out of its range. And those of [`open`](Self::open).
    pub fn create(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        Self::create_or(path.as_ref(), &options, |name, env| {
            Err(Error::NameTaken { name: name.to_owned(), path: env.folder().to_owned() })
        })
    }

    /// Opens an index, and creates it if it is not there: of several processes that do so at once,
    /// one creates it.
    ///
    /// # Errors
    /// As [`create`](Self::create), and [`OptionMismatch`](Error::OptionMismatch).
    pub fn open_or_create(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        Self::create_or(path.as_ref(), &options, |_, _| Ok(()))
    }

    fn create_or(
        path: &Path,
        options: &Options,
        exists: impl Fn(&str, &SharedEnv) -> Result<()>,
    ) -> Result<Self> {
        let name = options.index_name()?;
        if !path.join(DATA).exists() {
            // Before anything is created.
            options.check_new::<D>()?;
        }
        let env = SharedEnv::open(path, options, Access::Create)?;
        let find = |txn: &RoTxn<'_>| match catalog::entry(&env, txn, name)? {
            Some(entry) => exists(name, &env)
                .and_then(|()| Self::found(&env, txn, options, entry, false))
                .map(Some),
            None => Ok(None),
        };
        // Looked up first without writing, so that opening what exists waits for no writer.
        match env.look(find) {
            Ok(Some(index)) => return Ok(index),
            // It is to be created, or there is no reader to look it up, which a write needs not.
            Ok(None) | Err(Error::ReadersFull { .. }) => {}
            Err(error) => return Err(error),
        }
        options.check_new::<D>()?;
        let index = env.write::<_, Error>(|mut txn| {
            if let Some(index) = find(&txn)? {
                return Ok((index, txn));
            }
            let entry = options.entry::<D>(catalog::next_number(&env, &txn)?, K::NAMING);
            let shared = Shared::new(&env, name, entry.clone(), false);
            // Creates the index, empty, and checks the options.
            shared.build(&shared.writer::<D>(), &mut txn, Goal::Linked, Hooks::NONE)?;
            if let Some(codes) = options.wanted_codes() {
                shared.writer::<D>().set_codes(&mut txn, Some(codes))?;
            }
            catalog::add(&env, &mut txn, name, &entry)?;
            // Opened here, where it takes no reader: what has been created is not an error.
            Ok((Self::found(&env, &txn, options, entry, false)?, txn))
        })?;
        env.keep();
        Ok(index)
    }

    /// Opens an index that exists. Options that are left out are as they are stored.
    ///
    /// # Errors
    /// - Nothing to open: [`MissingEnvironment`](Error::MissingEnvironment),
    ///   [`MissingName`](Error::MissingName), [`ForeignEnvironment`](Error::ForeignEnvironment).
    /// - Another index than was expected: [`OptionMismatch`](Error::OptionMismatch),
    ///   [`MetricMismatch`](Error::MetricMismatch), [`NamingMismatch`](Error::NamingMismatch).
    /// - A way to lose data: [`FileSystem`](Error::FileSystem), [`LinkedFile`](Error::LinkedFile),
    ///   [`AlreadyOpen`](Error::AlreadyOpen), [`Forked`](Error::Forked) if this process is a fork
    ///   of one that has opened an index.
    /// - A damaged file: [`Truncated`](Error::Truncated), [`DamagedFile`](Error::DamagedFile),
    ///   [`CorruptCatalog`](Error::CorruptCatalog). The length is compared with that of the last
    ///   commit, and no more: see [`verify_file`](crate::verify_file).
    /// - [`Io`](Error::Io) and [`DiskFull`](Error::DiskFull) of the file system,
    ///   [`ReadersFull`](Error::ReadersFull), [`CatalogVersion`](Error::CatalogVersion), and those
    ///   of LMDB.
    ///
    /// An index whose load was interrupted may have many items that no graph has yet, which makes
    /// searches slow: [`pending_at_open`](Self::pending_at_open) says how many.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        Self::open_in(SharedEnv::open(path.as_ref(), &options, Access::Write)?, &options, false)
    }

    /// As [`open`](Self::open), for searches only: changes are refused with
    /// [`ReadOnly`](Error::ReadOnly). A process whose handles are all read-only cannot change the
    /// file, and needs no right to; the lock file it must be able to write, unless the file system
    /// is read-only.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_read_only(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        Self::open_in(SharedEnv::open(path.as_ref(), &options, Access::Read)?, &options, true)
    }

    fn open_in(env: Arc<SharedEnv>, options: &Options, is_read_only: bool) -> Result<Self> {
        let name = options.index_name()?;
        env.look(|txn| match catalog::entry(&env, txn, name)? {
            Some(entry) => Self::found(&env, txn, options, entry, is_read_only),
            None => Err(catalog::missing(&env, name, catalog::names(&env, txn)?)),
        })
    }

    /// The index of a name that the catalog has, if it is what the options say.
    fn found(
        env: &Arc<SharedEnv>,
        txn: &RoTxn<'_>,
        options: &Options,
        entry: Entry,
        is_read_only: bool,
    ) -> Result<Self> {
        let name = options.index_name()?;
        options.check::<D>(name, K::NAMING, &entry)?;
        let mut shared = Shared::new(env, name, entry, is_read_only);
        shared.temp_dir = options.temp_folder().map(Path::to_owned);
        shared.threads = options.build_threads();
        // The catalog says neither which form vectors are stored in nor what codes there are. What
        // is damaged is for those who use it, and for `check`.
        let meta = match read_marked::<D>(shared.place, txn) {
            Err(error @ Error::MetricMismatch { .. }) => return Err(error),
            meta => meta.ok().flatten().map(|(meta, _)| meta),
        };
        shared.pending_at_open = meta.as_ref().map_or(0, |meta| meta.pending.into());
        options.check_codes(name, meta.and_then(|meta| Codes::of_bits(meta.code_bits)))?;
        Ok(Self { shared: Arc::new(shared), types: PhantomData })
    }

    /// That this handle may change the index.
    fn writable(&self) -> Result<()> {
        self.shared.env.check_process()?;
        match self.shared.is_read_only {
            true => Err(Error::ReadOnly { path: self.shared.env.folder().to_owned() }),
            false => Ok(()),
        }
    }

    /// Number of components of every vector.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.shared.entry.dimensions as usize
    }

    /// The name of the index.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The folder, without symbolic links.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.shared.env.folder()
    }

    /// M: the most neighbors of a node on each layer above the base.
    #[must_use]
    pub fn m(&self) -> usize {
        self.shared.entry.m.into()
    }

    /// M0: the most neighbors of a node on the base layer.
    #[must_use]
    pub fn m0(&self) -> usize {
        self.shared.entry.m0.into()
    }

    /// The names of all indexes in the folder, in the order of their bytes.
    ///
    /// # Errors
    /// [`Forked`](Error::Forked), [`CorruptCatalog`](Error::CorruptCatalog).
    pub fn names(&self) -> Result<Vec<String>> {
        let env = &self.shared.env;
        env.work(|txn, _| catalog::names(env, txn))
    }

    /// Changes the index: what the closure does is linked and committed when it returns, as a
    /// whole; if it returns an error or panics, nothing has happened. Another thread or process
    /// that writes, to any index of the folder, waits for its turn.
    ///
    /// Nothing is committed after a call on the batch has failed half-way or panicked, even if the
    /// closure catches that and returns `Ok`: [`BatchFailed`](Error::BatchFailed).
    ///
    /// What the closure has added is linked, and of what others have left pending as many items
    /// again, 64 at least: what a load by parts will link itself, or has left because it was
    /// interrupted, is linked bit by bit. [`link`](Self::link) does it at once.
    ///
    /// **The closure may be run more than once**, which is why it is `FnMut`: when the map is full,
    /// what it has done is rolled back, the map grows, and it is run again. So it should not do
    /// what cannot be done twice, such as taking messages from a queue: take them before.
    ///
    /// On a worker of a rayon pool it should not wait for rayon, either: the worker takes up
    /// another job of its pool meanwhile, and one that writes to this folder is refused as a write
    /// inside a write.
    ///
    /// # Errors
    /// What the closure returns. [`ReadOnly`](Error::ReadOnly), [`Forked`](Error::Forked),
    /// [`NestedWrite`](Error::NestedWrite) if this thread is changing an index of this folder
    /// already, or runs a closure for one that is, [`MapBusy`](Error::MapBusy) if the map must grow
    /// and snapshots are held, or searches do not end, [`NestedGrowth`](Error::NestedGrowth) if it
    /// must grow and this thread is in the middle of a search, [`Corrupt`](Error::Corrupt),
    /// [`DamagedFile`](Error::DamagedFile) if LMDB would not survive the pages that the first write
    /// after an open finds, and what LMDB reports of the disk.
    pub fn write<T>(&self, work: impl FnMut(&mut Batch<'_, D, K>) -> Result<T>) -> Result<T> {
        self.try_write(work)
    }

    /// As [`write`](Self::write), for a closure with errors of its own.
    ///
    /// ```
    /// # use voisin::{Index, Options, distances::Euclidean};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(1))?;
    /// let text = "1.5 2.5 x";
    /// let result = index.try_write(|batch| -> Result<(), Box<dyn std::error::Error>> {
    ///     for (item, word) in (0..).zip(text.split(' ')) {
    ///         batch.add(item, &[word.parse::<f32>()?])?;
    ///     }
    ///     Ok(())
    /// });
    /// assert!(result.is_err() && index.snapshot()?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn try_write<T, E: From<Error>>(
        &self,
        mut work: impl FnMut(&mut Batch<'_, D, K>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.writable()?;
        self.shared.env.write(|txn| {
            let mut batch = Batch::new(txn, &self.shared)?;
            let result = work(&mut batch);
            batch.finish(result, None, Hooks::NONE)
        })
    }

    /// The index as it is at the newest commit, for as long as the snapshot is held.
    ///
    /// # Errors
    /// [`Forked`](Error::Forked), [`ReadersFull`](Error::ReadersFull), [`MapBusy`](Error::MapBusy)
    /// if another process has grown the map and this one holds snapshots or searches for long,
    /// [`Corrupt`](Error::Corrupt).
    pub fn snapshot(&self) -> Result<Snapshot<D, K>> {
        Ok(Snapshot::new(self.shared.newest::<D>()?, &self.shared.env))
    }

    /// Lets go of the snapshot that searches of all indexes of the folder share, until the next
    /// search. A process that has searched and then waits for long keeps pages from being used
    /// again without this, if another process writes.
    ///
    /// # Errors
    /// [`Forked`](Error::Forked).
    pub fn release(&self) -> Result<()> {
        self.shared.env.check_process()?;
        self.shared.env.drop_cached();
        Ok(())
    }

    /// How many [`Snapshot`]s this process holds of all indexes of the folder, and for how long the
    /// oldest has been held. Those of other processes are in [`stats`](Self::stats): the oldest of
    /// all, and how many commits there have been since.
    ///
    /// # Errors
    /// [`Forked`](Error::Forked).
    pub fn held_snapshots(&self) -> Result<(usize, Duration)> {
        self.shared.env.held()
    }

    /// Counts what the index is made of, what is free in the file, and who reads. O(values +
    /// edges), about 16 bytes of memory an item.
    ///
    /// # Errors
    /// As [`snapshot`](Self::snapshot), and those of the file system.
    pub fn stats(&self) -> Result<Stats> {
        let stats = |txn: &RoTxn<'_>, env: &_| {
            Reader::<D>::open(txn, self.shared.entry.number, self.shared.database())?
                .stats(txn, env)
        };
        self.shared.env.work(|txn, env| stats(txn, env).map_err(|error| self.shared.explain(error)))
    }

    /// Verifies every invariant of the index, down to the last byte. An empty list means that all
    /// hold. See [`check`](crate::check()).
    ///
    /// LMDB's own pages come first, by plain reads, as [`verify_file`](crate::verify_file) does. If
    /// they are damaged so that reading through them could end the process, that is all that is
    /// verified.
    ///
    /// # Errors
    /// As [`snapshot`](Self::snapshot). Damage is not an error but a finding.
    pub fn check(&self) -> Result<Vec<Finding>> {
        let check = |txn: &RoTxn<'_>| {
            check_named::<D>(txn, self.shared.entry.number, self.shared.database(), K::NAMING)
        };
        self.shared.env.verified(|report, txn| {
            let mut findings: Vec<Finding> = report.findings.iter().map(Finding::from).collect();
            if report.is_safe_to_open() {
                findings.extend(check(txn).map_err(|error| self.shared.explain(error))?);
            }
            Ok(findings)
        })
    }

    /// Undoes a torn edit that was committed, links all pending items, and commits. `false` if
    /// there is no torn edit. An `Index` never commits one; a program that writes to the folder
    /// with heed and [`Writer`] can. See [`Writer::repair`].
    ///
    /// # Errors
    /// As [`Writer::repair`] and [`write`](Self::write).
    pub fn repair(&self) -> Result<bool> {
        self.writable()?;
        self.shared.env.write::<_, Error>(|mut txn| {
            self.shared.check_exists(&txn)?;
            let writer = self.shared.writer::<D>();
            let is_repaired = writer.repair(&mut txn)?;
            if is_repaired {
                self.shared.build(&writer, &mut txn, Goal::Linked, Hooks::NONE)?;
            }
            Ok((is_repaired, txn))
        })
    }

    /// Writes a compacted copy of all indexes of the folder to the folder `path`, while others go
    /// on reading and writing. Returns the length of the copy in bytes. See
    /// [`copy_to`](crate::copy_to()).
    ///
    /// # Errors
    /// As [`snapshot`](Self::snapshot), [`Exists`](Error::Exists) if `path` holds a database,
    /// [`DamagedFile`](Error::DamagedFile) if LMDB's own pages are damaged,
    /// [`Corrupt`](Error::Corrupt), [`CorruptItemKey`](Error::CorruptItemKey) and
    /// [`CorruptCatalog`](Error::CorruptCatalog) if what is in them is, and those of the file
    /// system. Of a damaged index there is no copy.
    pub fn copy_to(&self, path: impl AsRef<Path>) -> Result<u64> {
        let shared = &self.shared;
        shared.env.work(|txn, env| {
            // Also those that are no more to be known as entries.
            catalog::names(&shared.env, txn)?;
            copy_to(env, path.as_ref())
        })
    }

    /// How many items are pending, that is, committed and in no graph yet: every search compares
    /// them one by one, 20 to 30 ns for each of 128 dimensions. A load by parts that was killed
    /// leaves its items so; later writes link them bit by bit, [`link`](Self::link) at once. O(1).
    ///
    /// # Errors
    /// As [`snapshot`](Self::snapshot).
    pub fn pending(&self) -> Result<u64> {
        Ok(self.shared.newest::<D>()?.meta().pending.into())
    }

    /// How many items were [pending](Self::pending) when this handle was opened: a service that
    /// finds some here was interrupted, and calls [`link`](Self::link) once.
    #[must_use]
    pub fn pending_at_open(&self) -> u64 {
        self.shared.pending_at_open
    }

    /// Links the items that are pending, as every [`write`](Self::write) does with its own, while
    /// others go on writing: they wait only for the short transaction at the end. For what was
    /// added with [`Batch::link_later`], and what an interrupted load has left.
    ///
    /// It works in rounds, each of which is committed: the first links 20 000 items, each later one
    /// as many as are linked by then. What a round has linked stays linked if the process is
    /// killed.
    ///
    /// # Errors
    /// As [`write`](Self::write). The pages of the commit that a round works on are kept meanwhile,
    /// as if a snapshot was held.
    pub fn link(&self) -> Result<()> {
        self.link_with(LEAST_ROUND_ITEMS, Hooks::NONE)
    }

    /// Links what is pending now, `least` items or more a round.
    fn link_with(&self, least: u64, hooks: Hooks<'_>) -> Result<()> {
        self.writable()?;
        let total = match self.pending() {
            // Then a write links, which needs no reader: until nothing is pending.
            Err(Error::ReadersFull { .. }) => u64::MAX,
            pending => pending?,
        };
        let mut done = 0;
        loop {
            let progress = |progress: Progress| {
                let Progress { phase, done: now, total: of } = progress;
                // Values are counted for each round.
                let (done, total) = match phase {
                    Phase::Linking if total == u64::MAX => (done + now, done + of),
                    Phase::Linking => (done + now, total.max(done + of)),
                    Phase::Writing => (now, of),
                };
                (hooks.progress)(Progress { phase, done, total });
            };
            match self.link_round(least, Hooks { progress: &progress, ..hooks })? {
                0 => return Ok(()),
                linked => done += linked,
            }
            // What others have added meanwhile is left to them.
            if done >= total {
                return Ok(());
            }
        }
    }

    /// Links at most `least` items, or as many as are linked. Returns how many that were.
    fn link_round(&self, least: u64, hooks: Hooks<'_>) -> Result<u64> {
        for _ in 0..CONCURRENT_ATTEMPTS {
            match self.shared.link::<D>(least, hooks) {
                Ok(Round::Done) => return Ok(0),
                Ok(Round::Linked(linked)) => return Ok(linked),
                // Another process may have grown the map, which cannot be taken over while this
                // holds a snapshot.
                Ok(Round::Outdated) | Err(Error::MapBusy { .. }) => {}
                // A build inside a write transaction needs no entry of the table of readers.
                Err(Error::ReadersFull { .. }) => break,
                Err(Error::MapFull) => self.shared.env.enlarge()?,
                Err(error) => return Err(error),
            }
        }
        self.shared.env.write::<u64, Error>(|txn| {
            let batch = Batch::<D, K>::new(txn, &self.shared)?;
            let Some(meta) = read_meta::<D>(self.shared.place, batch.txn())? else {
                return batch.finish(Ok(0), None, hooks);
            };
            let limit = meta.round(least);
            let linked = limit.min(meta.pending.into());
            batch.finish(Ok(linked), Some(Goal::Part(limit)), hooks)
        })
    }

    /// Gives every item a new place, near those of its neighbors. See
    /// [`Builder::optimize_with`](crate::Builder::optimize_with).
    ///
    /// # Errors
    /// As [`write`](Self::write), and those of the file system.
    pub fn optimize(&self) -> Result<()> {
        self.build(Goal::Optimized, Hooks::NONE)
    }

    /// Links all items anew, as if they had all just been added.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn force_rebuild(&self) -> Result<()> {
        self.build(Goal::LinkedAnew, Hooks::NONE)
    }

    fn build(&self, goal: Goal, hooks: Hooks<'_>) -> Result<()> {
        self.writable()?;
        self.shared.env.write::<(), Error>(|txn| {
            Batch::<D, K>::new(txn, &self.shared)?.finish(Ok(()), Some(goal), hooks)
        })
    }

    /// Prepares a load of many items.
    ///
    /// ```
    /// use voisin::{Index, Options, distances::Euclidean};
    ///
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(2))?;
    /// let items = (0..5000).map(|item| (item, [(item % 71) as f32, (item / 71) as f32]));
    /// let loader = index.loader().optimize(true).progress(|progress| println!("{progress:?}"));
    /// assert_eq!(loader.load(items)?, 5000);
    /// assert_eq!(index.stats()?.items, 5000);
    /// # Ok(())
    /// # }
    /// ```
    pub fn loader(&self) -> Loader<'_, D, K> {
        Loader::new(self)
    }

    /// Frees the entries that dead processes have left in the table of readers, and with them the
    /// pages that only they still saw. Returns how many there were. Done by itself when an
    /// environment is opened, after every 64th commit, and when the table is full.
    ///
    /// # Errors
    /// [`Forked`](Error::Forked), and what LMDB reports.
    pub fn clear_stale_readers(&self) -> Result<usize> {
        self.shared.env.clear_stale_readers()
    }
}

impl Shared {
    fn new(env: &Arc<SharedEnv>, name: &str, entry: Entry, is_read_only: bool) -> Self {
        let place = Place { raw: env.indexes, index: entry.number };
        let (cache, name, env) = (env.cache(entry.number), name.to_owned(), Arc::clone(env));
        Self {
            cache,
            name,
            entry,
            place,
            is_read_only,
            pending_at_open: 0,
            temp_dir: None,
            threads: 0,
            env,
        }
    }

    /// The snapshot of the newest commit.
    #[inline]
    fn newest<D: Distance>(&self) -> Result<Arc<Held<'static>>> {
        newest::<D>(&self.cache, &self.env, self.place).map_err(|error| self.explain(error))
    }

    /// A search of the newest commit.
    fn search<D: Distance, T>(&self, search: impl Fn(&Held<'static>) -> Result<T>) -> Result<T> {
        let mut attempts = 1;
        loop {
            let held = self.newest::<D>()?;
            let found = {
                let _searching = self.env.searching();
                search(&held)
            };
            match found {
                // The transaction has met damage, and perhaps that of another index.
                Err(Error::Heed(heed::Error::Mdb(_)))
                    if held.is_defective() && attempts < SNAPSHOT_ATTEMPTS =>
                {
                    attempts += 1
                }
                found => return found,
            }
        }
    }

    /// That the index has not been removed: what is written to it would be there again.
    ///
    /// # Errors
    /// [`Error::Removed`].
    fn check_exists(&self, txn: &RoTxn<'_>) -> Result<()> {
        let is_ours = catalog::entry(&self.env, txn, &self.name)?
            .is_some_and(|entry| entry.number == self.entry.number);
        if is_ours { Ok(()) } else { Err(self.explain(Error::MissingIndex(self.entry.number))) }
    }

    /// An index that is in the catalog has metadata, and no number is used twice: one without has
    /// been removed.
    fn explain(&self, error: Error) -> Error {
        match error {
            Error::MissingIndex(number) if number == self.entry.number => {
                Error::Removed { name: self.name.clone(), path: self.env.folder().to_owned() }
            }
            error => error,
        }
    }
}

/// The keys of an index whose items are named by `K`.
fn item_keys<K: ItemKey + ?Sized>(place: Place<'static>) -> ItemKeys<'static> {
    ItemKeys { place, naming: K::NAMING }
}

impl<D: Distance<Codec = I8>, K: ItemName + ?Sized> Index<D, K> {
    /// Tells an index that stores `i8` which range its codes stand for, before the first item, and
    /// commits that: see [`Writer::train`]. A [`loader`](Self::loader) trains an index that it
    /// finds empty and untrained by what it loads, with `commit_every` by the first part.
    ///
    /// ```
    /// use voisin::{Error, Index, Options, codec::I8, distances::Cosine};
    ///
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// let index = Index::<Cosine<I8>>::create(folder.path().join("vectors"), Options::new(2))?;
    /// let early = index.write(|batch| batch.add(1, &[0.5, 0.1]));
    /// assert!(matches!(early, Err(Error::NotTrained { .. })));
    /// index.train(&[-1.0, 1.0])?;
    /// index.write(|batch| batch.add(1, &[0.5, 0.1]))?;
    /// assert_eq!((index.stats()?.form, index.stats()?.saturated), ("i8", 0));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Writer::train`] and [`write`](Self::write).
    pub fn train(&self, sample: &[impl Component]) -> Result<()> {
        self.write(|batch| batch.train(sample))
    }
}

impl<D: Distance> Index<D> {
    /// Starts a query for the `k` nearest items, on the newest commit of any process: its methods
    /// are those of [`Reader::nns`], without a transaction. Any number of threads may search at
    /// once.
    #[must_use]
    pub fn search(&self, k: usize) -> QueryBuilder<'_, Self> {
        QueryBuilder::new(self, k)
    }

    /// Adds all items of an iterator and links them, in one commit, and tells how far it is.
    /// Returns how many there were. [`loader`](Self::loader) does the same with more to choose.
    ///
    /// What the iterator yields waits in memory up to 64 MB, and beyond in a file without a name in
    /// the folder, before any of it is stored. One commit holds what it writes in memory until it
    /// ends, about as much as the vectors take, and the build comes on top. To load more than fits,
    /// load it with [`Loader::commit_every`].
    ///
    /// # Errors
    /// [`DimensionMismatch`](Error::DimensionMismatch) and [`InvalidItem`](Error::InvalidItem) at
    /// the first bad vector, those of the file system, and those of [`write`](Self::write): nothing
    /// has changed.
    pub fn load<T: Component, V: AsRef<[T]>>(
        &self,
        items: impl IntoIterator<Item = (ItemId, V)>,
        progress: impl Fn(LoadProgress) + Sync,
    ) -> Result<u64> {
        self.loader().progress(progress).load(items)
    }
}

impl<D: Distance> QueryBuilder<'_, Index<D>> {
    /// The items nearest to `vector`.
    ///
    /// # Errors
    /// [`DimensionMismatch`](Error::DimensionMismatch), [`InvalidQuery`](Error::InvalidQuery), and
    /// those of [`Index::snapshot`].
    pub fn by_vector(&self, vector: &[impl Component]) -> Result<Searched> {
        self.by_vector_with_cancellation(vector, || false)
    }

    /// As [`by_vector`](Self::by_vector), ended early once `cancel` returns `true`.
    ///
    /// # Errors
    /// As [`by_vector`](Self::by_vector).
    pub fn by_vector_with_cancellation(
        &self,
        vector: &[impl Component],
        cancel: impl Fn() -> bool + Sync,
    ) -> Result<Searched> {
        self.reader
            .shared
            .search::<D, _>(|held| by_vector(&held.view::<D>(), self.options, vector, &cancel))
    }

    /// The items nearest to each of many vectors, as [`by_vector`](Self::by_vector) finds them for
    /// each alone: `rows` holds the vectors one after the other. On several threads; exact searches
    /// share one pass over what is stored.
    ///
    /// # Errors
    /// [`UnevenRows`](crate::Error::UnevenRows), [`InvalidRow`](crate::Error::InvalidRow) for the
    /// first row that cannot be compared, and those of [`by_vector`](Self::by_vector) that are not
    /// about the query.
    pub fn by_vectors(&self, rows: &[impl Component]) -> Result<Vec<Searched>> {
        self.by_vectors_with_cancellation(rows, || false)
    }

    /// As [`by_vectors`](Self::by_vectors), ended early once `cancel` returns `true`.
    ///
    /// # Errors
    /// As [`by_vectors`](Self::by_vectors).
    pub fn by_vectors_with_cancellation(
        &self,
        rows: &[impl Component],
        cancel: impl Fn() -> bool + Sync,
    ) -> Result<Vec<Searched>> {
        self.reader
            .shared
            .search::<D, _>(|held| by_vectors(&held.view::<D>(), self.options, rows, &cancel))
    }

    /// The items nearest to a stored one, which itself is left out. `None` if there is no such
    /// item.
    ///
    /// # Errors
    /// As [`by_vector`](Self::by_vector).
    pub fn by_item(&self, item: ItemId) -> Result<Option<Searched>> {
        self.by_item_with_cancellation(item, || false)
    }

    /// As [`by_item`](Self::by_item), ended early once `cancel` returns `true`.
    ///
    /// # Errors
    /// As [`by_vector`](Self::by_vector).
    pub fn by_item_with_cancellation(
        &self,
        item: ItemId,
        cancel: impl Fn() -> bool + Sync,
    ) -> Result<Option<Searched>> {
        self.reader
            .shared
            .search::<D, _>(|held| by_item(&held.view::<D>(), self.options, item, &cancel))
    }
}
