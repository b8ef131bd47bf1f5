//! [`Index`]: an index in a folder of its own, for programs without LMDB.
//!
//! It owns what level 1 borrows: the environment, the transactions, the databases. One file a
//! concern:
//!
//! - `options`: the options to create and open with, checked against the stored ones.
//! - `registry`: one environment a file and process. `environment`: its transactions, and the size
//!   of its map. `filesystem`: the file systems on which LMDB works. `created`: removes a new
//!   folder if creating an index in it fails.
//! - `snapshot`: an index at one commit; `cache`: the newest snapshot, which searches share.
//!   `batch`: one write transaction. `load`: bulk loads.
//! - `catalog`: the names and numbers of the indexes of an environment.
//! - `item_key`: the names of items; `keyed`: the same methods with keys instead of ids; `answer`:
//!   queries, by ids or by keys; `matching`: conditions on fields; `tenant/`: tenants.
//!
//! This room owns the invariant that this process has no transaction while the map is moved.

mod answer;
mod any;
mod any_key;
mod any_type;
mod batch;
mod cache;
mod catalog;
#[cfg(test)]
#[path = "../../tests/unit/cold.rs"]
mod cold;
#[cfg(test)]
#[path = "../../tests/unit/copies.rs"]
mod copies;
mod created;
mod environment;
mod erase;
mod filesystem;
mod folder;
mod inspect;
mod keyed;
mod load;
mod matching;
mod merge;
mod options;
mod registry;
mod remove;
mod rounds;
mod shared;
mod snapshot;
mod tenant;
mod unless;
mod writes;

use std::fmt;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use heed::RoTxn;

pub use self::any::{AnyIndex, AnyMetric};
pub use self::any_key::AnyKey;
pub use self::any_type::{AnyType, Names};
pub use self::batch::Batch;
pub use self::catalog::remove_index;
use self::environment::Access;
pub use self::environment::cancel_waits;
pub use self::folder::{Folder, FolderSnapshot, FolderTxn};
pub use self::inspect::{Inspected, Metadata, inspect};
pub use self::load::{LoadPhase, LoadProgress, Loader};
pub use self::options::Options;
use self::shared::{Expected, Hooks, Shared};
pub use self::snapshot::Snapshot;
pub use self::tenant::{AnyTenant, Tenant, TenantBatch, tenant_of};
pub use self::unless::UnlessWithin;
use self::writes::{Writes, build_now};
use crate::build::Goal;
use crate::check::{Finding, check_place};
use crate::codec::{Component, I8};
use crate::distance::{Distance, Metric};
use crate::error::{Error, Result};
use crate::item_key::{ItemKey, ItemName};
use crate::memory::budget_bytes;
use crate::query::Query;
use crate::reader::Reader;
use crate::store::Place;
use crate::store::file::copy_to;
use crate::store::sections::item_keys::rows::ItemKeys;
use crate::store::sections::list::index_kinds;
use crate::store::stats::Stats;
use crate::training::TrainedRange;
use crate::types::{IndexKind, ItemId};

/// Vectors in a folder, searched by any number of threads and processes while one of them writes.
///
/// A handle can be cloned, which is cheap, and used from any thread. All handles of a process on
/// one folder share its files; dropping the last one, and the last [`Snapshot`], closes them. A
/// folder can hold many indexes, each with a name.
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
/// Items are named by `u32` ids. `Index<D, u64>`, `Index<D, str>`, `Index<D, [u8]>` and
/// `Index<D, [u8; 16]>` (UUIDs) name them by [keys](ItemKey): their methods take and return keys
/// instead of ids.
pub struct Index<D, K: ?Sized = ItemId> {
    shared: Arc<Shared>,
    types: PhantomData<fn(&K) -> D>,
}

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
    /// Creates an index in the folder `path`, and the folder itself if it is missing. `options`
    /// must have the dimensions. If creation is refused or fails, a folder that this call created
    /// is removed.
    ///
    /// # Errors
    /// [`NameTaken`](Error::NameTaken) if the folder has an index of this name.
    /// [`InvalidDimensions`](Error::InvalidDimensions),
    /// [`InvalidParameter`](Error::InvalidParameter), [`InvalidName`](Error::InvalidName): an
    /// option is out of its range. And those of [`open`](Self::open).
    pub fn create(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        Self::of(Shared::create_or(path.as_ref(), &options, Expected::of::<D, K>(), |name, env| {
            Err(Error::NameTaken { name: name.to_owned(), path: env.folder().to_owned() })
        }))
    }

    /// Opens an index, or creates it if it does not exist: of several processes that do so at once,
    /// one creates it.
    ///
    /// # Errors
    /// As [`create`](Self::create), and [`OptionMismatch`](Error::OptionMismatch).
    pub fn open_or_create(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        Self::of(Shared::create_or(path.as_ref(), &options, Expected::of::<D, K>(), |_, _| Ok(())))
    }

    /// Opens an existing index. Options that are not set take their stored values.
    ///
    /// # Errors
    /// - Nothing to open: [`MissingEnvironment`](Error::MissingEnvironment),
    ///   [`MissingName`](Error::MissingName), [`ForeignEnvironment`](Error::ForeignEnvironment).
    /// - Another index than expected: [`OptionMismatch`](Error::OptionMismatch),
    ///   [`MetricMismatch`](Error::MetricMismatch), [`NamingMismatch`](Error::NamingMismatch).
    /// - A way to lose data: [`FileSystem`](Error::FileSystem), [`LinkedFile`](Error::LinkedFile),
    ///   [`AlreadyOpen`](Error::AlreadyOpen), [`Forked`](Error::Forked) if this process is a fork
    ///   of one that has opened an index.
    /// - A damaged file: [`Truncated`](Error::Truncated), [`DamagedFile`](Error::DamagedFile),
    ///   [`CorruptCatalog`](Error::CorruptCatalog). Opening compares the length of the file with
    ///   that of the last commit, and verifies nothing else: see
    ///   [`verify_file`](crate::verify_file).
    /// - [`Io`](Error::Io) and [`DiskFull`](Error::DiskFull) of the file system,
    ///   [`ReadersFull`](Error::ReadersFull), [`CatalogVersion`](Error::CatalogVersion), and those
    ///   of LMDB.
    ///
    /// An interrupted load may leave many pending items, which make searches slow:
    /// [`pending_at_open`](Self::pending_at_open) counts them.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        let expected = Some(Expected::of::<D, K>());
        Self::of(Shared::open(path.as_ref(), &options, Access::Write, expected))
    }

    /// As [`open`](Self::open), for searches only: changes are refused with
    /// [`ReadOnly`](Error::ReadOnly). A process whose handles are all read-only cannot change the
    /// file, and needs no write permission for it; it must be able to write the lock file, unless
    /// the file system is read-only.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_read_only(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        let expected = Some(Expected::of::<D, K>());
        Self::of(Shared::open(path.as_ref(), &options, Access::Read, expected))
    }
}

impl<D, K: ?Sized> Index<D, K> {
    fn of(shared: Result<Shared>) -> Result<Self> {
        shared.map(|shared| Self { shared: Arc::new(shared), types: PhantomData })
    }

    fn metric(&self) -> &'static Metric {
        self.shared.place.metric
    }

    /// The number of components of every vector.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.shared.entry.dimensions as usize
    }

    /// The name of the index.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The folder, with symbolic links resolved.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.shared.env.folder()
    }

    /// M: the maximum degree of an item on each layer above the base.
    #[must_use]
    pub fn m(&self) -> usize {
        self.shared.entry.m.into()
    }

    /// M0: the maximum degree of an item on the base layer.
    #[must_use]
    pub fn m0(&self) -> usize {
        self.shared.entry.m0.into()
    }

    /// The names of all indexes in the folder, in byte order.
    ///
    /// # Errors
    /// [`Forked`](Error::Forked), [`CorruptCatalog`](Error::CorruptCatalog).
    pub fn names(&self) -> Result<Vec<String>> {
        let env = &self.shared.env;
        env.work(|txn, _| catalog::names(env, txn))
    }

    /// The folder, to change several of its indexes in one commit, with databases of your own, and
    /// to read them all at one commit.
    #[must_use]
    pub fn folder(&self) -> Folder {
        Folder::new(&self.shared.env)
    }

    /// Changes the index in one write transaction: the changes of the closure are linked into the
    /// graph and committed as a whole when it returns; if it returns an error or panics, nothing
    /// has happened. Writes of other threads and processes, to any index of the folder, wait for
    /// the write lock.
    ///
    /// Nothing is committed after a call on the batch has failed half-way or panicked, even if the
    /// closure catches that and returns `Ok`: [`BatchFailed`](Error::BatchFailed).
    ///
    /// A write links what the closure has added, and of the items that others have left pending as
    /// many again, at least 64: so items of an interrupted load (or of a load in batches, which
    /// would link them itself) are linked bit by bit. [`link`](Self::link) links all at once.
    ///
    /// **The closure may be retried**, which is why it is `FnMut`: when the map is full, its
    /// changes are rolled back, the map grows, and the closure runs again. So it should not do what
    /// cannot be repeated, such as taking messages from a queue: take them before.
    ///
    /// On a worker of a rayon pool the closure should not wait for rayon, either: the worker would
    /// run another job of its pool meanwhile, and a job that writes to this folder is refused as a
    /// nested write.
    ///
    /// # Errors
    /// Those of the closure. [`ReadOnly`](Error::ReadOnly), [`Forked`](Error::Forked),
    /// [`NestedWrite`](Error::NestedWrite) if this thread is already changing an index of this
    /// folder, or runs a closure for a thread that is, [`MapBusy`](Error::MapBusy) if the map must
    /// grow and snapshots are held, or searches do not end, [`NestedGrowth`](Error::NestedGrowth)
    /// if it must grow and this thread is in the middle of a search, [`Corrupt`](Error::Corrupt),
    /// [`DamagedFile`](Error::DamagedFile) if the first write after an open finds pages that would
    /// crash LMDB, and what LMDB reports of the disk.
    pub fn write<T>(&self, work: impl FnMut(&mut Batch<'_, D, K>) -> Result<T>) -> Result<T> {
        self.try_write(work)
    }

    /// As [`write`](Self::write), for a closure with an error type of its own.
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
        self.shared.writable()?;
        self.shared.env.write(|txn| {
            let mut batch = Batch::new(Writes::new(txn, &self.shared)?);
            let result = work(&mut batch);
            batch.writes.finish(result, None, Hooks::NONE)
        })
    }

    /// Starts a query for the `k` nearest items, on the newest commit of any process. Any number of
    /// threads may search at once.
    #[must_use]
    pub fn search(&self, k: usize) -> Query<'_, Self> {
        Query::new(self, k)
    }

    /// A snapshot of the newest commit, for as long as it is held.
    ///
    /// # Errors
    /// [`Forked`](Error::Forked), [`ReadersFull`](Error::ReadersFull), [`MapBusy`](Error::MapBusy)
    /// if another process has grown the map and this one holds snapshots or searches for long,
    /// [`Corrupt`](Error::Corrupt).
    pub fn snapshot(&self) -> Result<Snapshot<D, K>> {
        Ok(Snapshot::new(self.shared.newest()?, &self.shared.name, &self.shared.env))
    }

    /// Releases the snapshot that searches of all indexes of the folder share, until the next
    /// search. Without this, a process that has searched and then idles keeps old pages from being
    /// reused while another process writes.
    ///
    /// # Errors
    /// [`Forked`](Error::Forked).
    pub fn release(&self) -> Result<()> {
        self.shared.env.check_process()?;
        self.shared.env.drop_cached();
        Ok(())
    }

    /// The number of [`Snapshot`]s that this process holds of all indexes of the folder, and how
    /// long the oldest has been held. [`stats`](Self::stats) covers other processes: the oldest
    /// reader of all, and how many commits were made since.
    ///
    /// # Errors
    /// [`Forked`](Error::Forked).
    pub fn held_snapshots(&self) -> Result<(usize, Duration)> {
        self.shared.env.held()
    }

    /// Gathers the statistics of the index, the free space of the file, and its readers. O(values +
    /// edges), about 16 bytes of memory an item.
    ///
    /// # Errors
    /// As [`snapshot`](Self::snapshot), and those of the file system.
    pub fn stats(&self) -> Result<Stats> {
        let stats =
            |txn: &RoTxn<'_>, env: &_| Reader::<()>::at(txn, self.shared.place)?.stats(txn, env);
        let stats = self
            .shared
            .env
            .work(|txn, env| stats(txn, env).map_err(|error| self.shared.explain(error)))?;
        Ok(Stats { memory_bytes: budget_bytes(self.shared.memory), ..stats })
    }

    /// Verifies every invariant of the index, to the last byte. An empty list means that all hold.
    /// See [`check`](crate::check()).
    ///
    /// It first verifies LMDB's own pages by plain reads, as [`verify_file`](crate::verify_file)
    /// does. If reading damaged pages through LMDB could crash the process, it verifies nothing
    /// else.
    ///
    /// # Errors
    /// As [`snapshot`](Self::snapshot). Damage is not an error but a finding.
    pub fn check(&self) -> Result<Vec<Finding>> {
        let check = |txn: &RoTxn<'_>| check_place(txn, self.shared.place);
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
    /// with heed and [`Writer`](crate::Writer) can. See [`Writer::repair`](crate::Writer::repair).
    ///
    /// # Errors
    /// As [`Writer::repair`](crate::Writer::repair) and [`write`](Self::write).
    pub fn repair(&self) -> Result<bool> {
        self.shared.writable()?;
        self.shared.env.write::<_, Error>(|mut txn| {
            self.shared.check_exists(&txn)?;
            let is_repaired = self.shared.writer().repair(&mut txn)?;
            if is_repaired && self.shared.place.metric.is_known {
                self.shared.build(&mut txn, Goal::Linked, Hooks::NONE)?;
            }
            Ok((is_repaired, txn))
        })
    }

    /// Writes a compacted copy of all indexes of the folder to the folder `path`, while others read
    /// and write. Returns the length of the copy in bytes. See [`copy_to`](crate::copy_to()).
    ///
    /// # Errors
    /// As [`snapshot`](Self::snapshot), [`Exists`](Error::Exists) if `path` holds a database,
    /// [`DamagedFile`](Error::DamagedFile) if LMDB's own pages are damaged,
    /// [`Corrupt`](Error::Corrupt), [`CorruptItemKey`](Error::CorruptItemKey) and
    /// [`CorruptCatalog`](Error::CorruptCatalog) if their contents are, and those of the file
    /// system. A damaged index is not copied.
    pub fn copy_to(&self, path: impl AsRef<Path>) -> Result<u64> {
        let shared = &self.shared;
        shared.env.work(|txn, env| {
            // This fails for entries that cannot be decoded any more, too.
            catalog::names(&shared.env, txn)?;
            copy_to(env, path.as_ref())
        })
    }

    /// The number of pending items, that is, committed but not in the graph yet: every search scans
    /// them one by one, 20 to 30 ns per item of 128 dimensions. A killed load in batches leaves its
    /// items pending; later writes link them bit by bit, [`link`](Self::link) all at once. O(1).
    ///
    /// # Errors
    /// As [`snapshot`](Self::snapshot).
    pub fn pending(&self) -> Result<u64> {
        Ok(self.shared.newest()?.meta().pending.into())
    }

    /// The number of [pending](Self::pending) items when this handle was opened. If a service finds
    /// some here, it was interrupted, and calls [`link`](Self::link) once.
    #[must_use]
    pub fn pending_at_open(&self) -> u64 {
        self.shared.pending_at_open
    }

    /// Links all pending items into the graph, as every [`write`](Self::write) does with its own,
    /// while others keep writing: they wait only for the short transaction at the end. For items
    /// added with [`Batch::link_later`], and those left by an interrupted load.
    ///
    /// It works in rounds, each of which is committed: the first links 20 000 items, each later one
    /// as many as are linked by then. If the process is killed, the items of committed rounds stay
    /// linked. Within a memory budget ([`Options::memory`]) each round links as many as that holds.
    ///
    /// # Errors
    /// As [`write`](Self::write). The pages of the commit that a round works on are kept meanwhile,
    /// as if a snapshot was held.
    pub fn link(&self) -> Result<()> {
        self.resume().map(drop)
    }

    /// Goes on with an interrupted load: links what it has left pending, as [`link`](Self::link)
    /// does, and returns the number of items linked. Whoever opens the index next can call it; it
    /// loses nothing but the round that was in progress. With the memory budget of the load
    /// ([`Options::memory`]), it does the rounds that the load would have done, and the index is
    /// the same, byte for byte. Rows that the load had not committed yet are not there: the same
    /// load again adds them, and goes on in the same way.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicBool, Ordering};
    /// use voisin::{Index, LoadPhase, Options, distances::Euclidean};
    ///
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(4))?;
    /// let is_too_late = AtomicBool::new(false);
    /// let watch = |phase| is_too_late.store(phase == LoadPhase::Linking, Ordering::Relaxed);
    /// let loader = index.loader().commit_every(1000).progress(|progress| watch(progress.phase));
    /// let loader = loader.cancel(|| is_too_late.load(Ordering::Relaxed));
    /// let items = (0..6000).map(|item| (item, [item as f32, 1.0, 2.0, 3.0]));
    /// assert!(loader.load(items).is_err());
    /// assert!(index.pending()? > 0);
    /// assert_eq!(index.resume()?, 6000);
    /// assert_eq!(index.resume()?, 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`link`](Self::link), and [`MemoryBudget`](Error::MemoryBudget) and
    /// [`DiskRoom`](Error::DiskRoom) if the budget, or the room for temporary files, is too small.
    pub fn resume(&self) -> Result<u64> {
        self.loader().resume()
    }

    /// Runs a compaction: gives every item a new slot, near those of its neighbors. See
    /// [`Builder::optimize_with`](crate::Builder::optimize_with).
    ///
    /// # Errors
    /// As [`write`](Self::write), and those of the file system.
    pub fn optimize(&self) -> Result<()> {
        build_now(&self.shared, Goal::Optimized, Hooks::NONE)
    }

    /// Measures the recall of searches, for [`Query::recall`], and commits that. Builds that change
    /// much do it by themselves: see [`Builder::calibrate`](crate::Builder::calibrate).
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn calibrate(&self) -> Result<()> {
        self.shared.writable()?;
        self.shared.env.write::<(), Error>(|txn| {
            let mut writes = Writes::new(txn, &self.shared)?;
            let result = writes.calibrate();
            writes.finish(result, None, Hooks::NONE)
        })
    }

    /// The kinds of the index, ascending, [`IndexKind::Flat`] first. O(1).
    ///
    /// # Errors
    /// As [`snapshot`](Self::snapshot).
    pub fn kinds(&self) -> Result<Vec<IndexKind>> {
        Ok(index_kinds(self.shared.newest()?.meta()))
    }

    /// Gives the index a kind, makes what that consists of from the stored vectors, and commits;
    /// `false` if the index has it. From then on, every write keeps it in step. Snapshots of
    /// earlier commits go on with the kinds that they have. One transaction, during which other
    /// writers wait: for a graph, as long as building it.
    ///
    /// # Errors
    /// [`KindUnsupported`](Error::KindUnsupported) if the metric does not allow it, and those of
    /// [`write`](Self::write).
    pub fn add_kind(&self, kind: IndexKind) -> Result<bool> {
        self.write(|batch| batch.add_kind(kind))
    }

    /// Takes a kind from the index, with all that it consists of, and commits; `false` if the index
    /// does not have it. Snapshots of earlier commits keep it. The file keeps its length: later
    /// writes use the room.
    ///
    /// # Errors
    /// [`KindMismatch`](Error::KindMismatch) for [`IndexKind::Flat`], which every index has, and
    /// those of [`write`](Self::write).
    pub fn drop_kind(&self, kind: IndexKind) -> Result<bool> {
        self.write(|batch| batch.drop_kind(kind))
    }

    /// Rebuilds the graph from scratch, as if all items had just been added.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn force_rebuild(&self) -> Result<()> {
        build_now(&self.shared, Goal::LinkedAnew, Hooks::NONE)
    }

    /// Prepares a bulk load of many items.
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

    /// Frees the entries that dead processes have left in LMDB's reader table, and with them the
    /// pages that only they still used. Returns how many there were. This also happens when an
    /// environment is opened, after every 64th commit, and when the table is full.
    ///
    /// # Errors
    /// [`Forked`](Error::Forked), and what LMDB reports.
    pub fn clear_stale_readers(&self) -> Result<usize> {
        self.shared.env.clear_stale_readers()
    }
}

/// The keys of an index whose items are named by `K`.
fn item_keys<K: ItemKey + ?Sized>(place: Place<'static>) -> ItemKeys<'static> {
    ItemKeys { place, naming: K::NAMING }
}

impl<D: Distance<Codec = I8>, K: ItemName + ?Sized> Index<D, K> {
    /// Trains the scale of an index that stores `i8`, before the first item or again, and commits
    /// that: see [`Writer::train`](crate::Writer::train). A [`loader`](Self::loader) trains an
    /// empty, untrained index on what it loads, with `commit_every` on the first batch.
    /// [`stats`](Self::stats) tell how the range fits what is stored.
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
    /// As [`Writer::train`](crate::Writer::train) and [`write`](Self::write).
    pub fn train(&self, sample: &[impl Component]) -> Result<TrainedRange> {
        self.write(|batch| batch.train(sample))
    }
}

impl<D> Index<D> {
    /// Adds all items of an iterator and links them, in one commit, with progress reports. Returns
    /// how many there were. [`loader`](Self::loader) does the same with more options.
    ///
    /// The items wait in memory up to 64 MB, and beyond that in an unnamed file in the folder,
    /// before any of them is stored. One commit holds what it writes in memory until it ends, about
    /// as much as the vectors take, and the build needs memory on top. To load more than fits, use
    /// [`Loader::commit_every`].
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
