//! Several indexes of a folder, and the caller's own databases beside them, in one commit and in
//! one snapshot.
//!
//! A write transaction is lent to one batch after the other: a batch owns the transaction while a
//! closure works on it, and leaves behind what its index is to be linked by in the end. So a batch
//! is what it is alone, and nothing that a caller can hold outlives its closure.

use std::fmt;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use heed::{Database, MdbError, RoTxn, RwTxn};

use super::batch::Batch;
use super::environment::{Access, Interrupted, Pin, Reading, SharedEnv, WriteTxn};
use super::options::Options;
use super::shared::Hooks;
use super::snapshot::Snapshot;
use super::writes::{Paused, State, Writes};
use super::{Index, catalog};
use crate::error::{Error, Result};
use crate::store::owned_snapshot::SharedTxn;

/// A folder of indexes: changes several of them, and databases of the caller's, in one commit, and
/// reads all of them at one commit.
///
/// The databases are those of [`heed`], in the environment that the indexes have. All that an index
/// ensures holds for them, too: the map grows when it is full, several processes may read and
/// write, and a commit holds all or nothing.
///
/// ```
/// use voisin::heed::types::Str;
/// use voisin::{Index, Options, distances::Cosine};
///
/// # fn main() -> voisin::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("library");
/// let titles = Index::<Cosine, str>::open_or_create(&path, Options::new(2).name("titles"))?;
/// let bodies = Index::<Cosine, str>::open_or_create(&path, Options::new(3).name("bodies"))?;
/// let folder = titles.folder();
/// let authors = folder.database::<Str, Str>("authors")?;
///
/// folder.write(|txn| {
///     txn.index(&titles, |batch| batch.add("emma", &[0.9, 0.1]))?;
///     txn.index(&bodies, |batch| batch.add("emma", &[0.1, 0.2, 0.3]))?;
///     txn.databases(|wtxn| authors.put(wtxn, "emma", "Austen"))
/// })?;
///
/// // All at one commit, whatever is committed meanwhile.
/// let snapshot = folder.snapshot()?;
/// let found = snapshot.index(&titles)?.search(1).by_vector(&[1.0, 0.0])?.into_nns();
/// assert_eq!(authors.get(snapshot.txn()?, &found[0].0)?, Some("Austen"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Folder {
    env: Arc<SharedEnv>,
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Folder").field("path", &self.env.folder()).finish()
    }
}

impl Folder {
    pub(super) fn new(env: &Arc<SharedEnv>) -> Self {
        Self { env: Arc::clone(env) }
    }

    /// Opens a folder that has indexes. Of the options, those about the environment count: the size
    /// of the map, readers, databases, memory.
    ///
    /// # Errors
    /// As [`Index::open`], without those about one index.
    pub fn open(path: impl AsRef<Path>, options: &Options) -> Result<Self> {
        Ok(Self { env: SharedEnv::open(path.as_ref(), options, Access::Write)? })
    }

    /// The folder, with symbolic links resolved.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.env.folder()
    }

    /// The names of all its indexes, in byte order.
    ///
    /// # Errors
    /// [`Forked`](Error::Forked), [`CorruptCatalog`](Error::CorruptCatalog).
    pub fn names(&self) -> Result<Vec<String>> {
        self.env.work(|txn, _| catalog::names(&self.env, txn))
    }

    /// A database of the caller's, with the types of its keys and values. Creates it, in a commit
    /// of its own, if it is missing. Call it once and keep the result, not inside a write.
    ///
    /// Names that begin with `voisin` are taken. A process can have as many open as
    /// [`Options::max_databases`] says.
    ///
    /// # Errors
    /// [`InvalidDatabaseName`](Error::InvalidDatabaseName), [`NestedWrite`](Error::NestedWrite)
    /// inside a write that would have to create it, [`ReadOnly`](Error::ReadOnly) if it is missing
    /// and the folder was opened read-only; [`Heed`](Error::Heed) with `DbsFull` if too many are
    /// open; and those of [`write`](Self::write).
    pub fn database<KC: 'static, DC: 'static>(
        &self,
        name: &str,
    ) -> Result<Database<'static, KC, DC>> {
        self.env.database(name)
    }

    /// Changes any of its indexes and databases in one write transaction: all is linked and
    /// committed when the closure returns; if it returns an error or panics, nothing has happened.
    ///
    /// What [`Index::write`] says of its closure holds for this one: it may be retried in a larger
    /// map, and nothing is committed after a change has failed half-way.
    ///
    /// # Errors
    /// Those of the closure, and as [`Index::write`].
    pub fn write<T>(&self, work: impl FnMut(&mut FolderTxn<'_>) -> Result<T>) -> Result<T> {
        self.try_write(work)
    }

    /// As [`write`](Self::write), for a closure with an error type of its own.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn try_write<T, E: From<Error>>(
        &self,
        mut work: impl FnMut(&mut FolderTxn<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.env.write(|txn| {
            let (txn, env) = (Some(txn), Arc::clone(&self.env));
            let mut txn = FolderTxn { txn, indexes: Vec::new(), state: State::Whole, env };
            let result = work(&mut txn);
            txn.finish(result)
        })
    }

    /// All indexes and databases of the folder at the newest commit of any process, for as long as
    /// it is held.
    ///
    /// # Errors
    /// As [`Index::snapshot`].
    pub fn snapshot(&self) -> Result<FolderSnapshot> {
        // The indexes share a transaction with all searches; the databases have one that only this
        // snapshot uses, so that a caller may read them while searches look things up. Between
        // both, another process may commit.
        loop {
            let (shared, own) = (self.env.newest_txn()?, self.env.read()?);
            if !self.env.knows_databases(own.txn.id()) {
                drop((shared, own));
                self.env.open_databases()?;
            } else if shared.id() == own.txn.id() {
                let (pin, env) = (Pin::new(&self.env), Arc::clone(&self.env));
                return Ok(FolderSnapshot { own, shared, pin, env });
            }
        }
    }
}

/// The changes of one [`Folder::write`].
pub struct FolderTxn<'w> {
    /// `None` while a batch has it, and after that has panicked.
    txn: Option<WriteTxn<'w>>,
    /// The indexes that have been changed, in order.
    indexes: Vec<Paused>,
    /// Of changes to databases of the caller's.
    state: State,
    env: Arc<SharedEnv>,
}

impl fmt::Debug for FolderTxn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FolderTxn").field("indexes", &self.indexes.len()).finish_non_exhaustive()
    }
}

impl<'w> FolderTxn<'w> {
    /// Changes and searches one of the indexes of the folder, as [`Index::write`] does, and returns
    /// what the closure returns. What it has added is linked when the write ends. An index can be
    /// changed in several calls, each of which sees what those before have done.
    ///
    /// An error of the closure undoes nothing: return it, and nothing is committed, or go on, if it
    /// is one after which nothing has changed.
    ///
    /// # Errors
    /// Those of the closure. [`OtherFolder`](Error::OtherFolder) if the index is in another folder,
    /// [`Removed`](Error::Removed), [`Renamed`](Error::Renamed),
    /// [`ReadOnly`](Error::ReadOnly) if the handle is read-only,
    /// [`BatchFailed`](Error::BatchFailed) after a call that panicked.
    pub fn index<D, K: ?Sized, T, E: From<Error>>(
        &mut self,
        index: &Index<D, K>,
        work: impl FnOnce(&mut Batch<'w, D, K>) -> Result<T, E>,
    ) -> Result<T, E> {
        let shared = &index.shared;
        check_folder(&self.env, &shared.env)?;
        shared.writable()?;
        self.check_whole()?;
        shared.check_exists(self.txn.as_ref().ok_or(Error::BatchFailed)?)?;
        let at = self.indexes.iter().position(|paused| paused.is_of(shared));
        // If the closure panics, the transaction ends with the batch.
        let txn = self.txn.take().ok_or(Error::BatchFailed)?;
        let writes = match at {
            Some(at) => Writes::resume(txn, self.indexes.remove(at)),
            None => Writes::new(txn, shared)?,
        };
        let mut batch = Batch::new(writes);
        let result = work(&mut batch);
        let (txn, paused) = batch.writes.pause();
        self.txn = Some(txn);
        self.indexes.push(paused);
        result
    }

    /// Changes databases of the caller's, which [`Folder::database`] has opened, by the methods of
    /// `heed`. Pass on its errors: when the map is full, the write is retried in a larger one.
    ///
    /// # Panics
    /// As `heed`, if a database is of another environment.
    ///
    /// # Errors
    /// Those of the closure, and [`BatchFailed`](Error::BatchFailed) after one that panicked.
    pub fn databases<T>(
        &mut self,
        work: impl FnOnce(&mut RwTxn<'w>) -> heed::Result<T>,
    ) -> Result<T> {
        self.change(|txn| work(txn).map_err(Error::from))
    }

    /// Changes what belongs to no index.
    fn change<T>(&mut self, work: impl FnOnce(&mut RwTxn<'w>) -> Result<T>) -> Result<T> {
        self.check_whole()?;
        let txn = self.txn.as_mut().ok_or(Error::BatchFailed)?;
        txn.check()?;
        // The state remains if `work` panics and the caller catches that.
        self.state = State::Failed;
        let result = work(txn);
        self.state = match result {
            Err(Error::MapFull) => State::MapFull,
            _ => State::Whole,
        };
        result
    }

    /// Lets two indexes change their names, so that one takes the place of the other: an index of a
    /// new embedding model, loaded beside the old one. O(1).
    ///
    /// Whoever opens the name from the commit on gets the new one. Handles and snapshots that were
    /// opened before go on to search what they were opened on; their writes are refused with
    /// [`Renamed`](Error::Renamed), as they would change the old one. [`remove_index`] removes
    /// that, when nobody needs it.
    ///
    /// ```
    /// use voisin::{Index, Options, distances::Cosine, remove_index};
    ///
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("library");
    /// let old = Index::<Cosine, str>::create(&path, Options::new(2).name("texts"))?;
    /// old.write(|batch| batch.add("emma", &[0.9, 0.1]))?;
    /// // The same texts by another model, which has other dimensions.
    /// let new = Index::<Cosine, str>::create(&path, Options::new(3).name("texts of model 2"))?;
    /// new.write(|batch| batch.add("emma", &[0.1, 0.2, 0.3]))?;
    ///
    /// new.folder().write(|txn| txn.swap_names("texts", "texts of model 2"))?;
    /// let texts = Index::<Cosine, str>::open(&path, Options::default().name("texts"))?;
    /// assert_eq!(texts.dimensions(), 3);
    /// assert_eq!(old.search(1).by_vector(&[1.0, 0.0])?.nns[0].0, "emma"); // still
    /// remove_index(&path, Options::default().name("texts of model 2"))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [`remove_index`]: crate::remove_index
    ///
    /// # Errors
    /// [`MissingName`](Error::MissingName) if there is no index of one of the names: nothing has
    /// changed. Those of LMDB.
    pub fn swap_names(&mut self, one: &str, other: &str) -> Result<()> {
        let env = Arc::clone(&self.env);
        self.change(|txn| catalog::swap(&env, txn, [one, other]))
    }

    /// # Errors
    /// [`Error::MapFull`] or [`Error::BatchFailed`] if a call has failed half-way or panicked.
    fn check_whole(&self) -> Result<()> {
        let states = self.indexes.iter().map(|paused| paused.state).chain([self.state]);
        match states.max() {
            None | Some(State::Whole) => Ok(()),
            Some(State::Failed) => Err(Error::BatchFailed),
            Some(State::MapFull) => Err(Error::MapFull),
        }
    }

    /// Links what was added to each index, in the order of the last changes. The transaction should
    /// be committed if the closure returned `result`.
    fn finish<T, E: From<Error>>(
        self,
        result: Result<T, E>,
    ) -> Result<(T, WriteTxn<'w>), Interrupted<E>> {
        let whole = self.check_whole();
        // A closure that saw a full map may have returned any error, or none.
        if matches!(whole, Err(Error::MapFull)) {
            return Err(Interrupted::MapFull);
        }
        let value = result.map_err(Interrupted::Failed)?;
        whole?;
        let mut txn = self.txn.ok_or(Error::BatchFailed)?;
        for paused in self.indexes {
            ((), txn) = Writes::resume(txn, paused).finish(Ok(()), None, Hooks::NONE)?;
        }
        Ok((value, txn))
    }
}

/// # Errors
/// [`Error::OtherFolder`].
fn check_folder(expected: &Arc<SharedEnv>, found: &Arc<SharedEnv>) -> Result<()> {
    if Arc::ptr_eq(expected, found) {
        return Ok(());
    }
    let path = |env: &SharedEnv| env.folder().to_owned();
    Err(Error::OtherFolder { expected: path(expected), found: path(found) })
}

/// All indexes and databases of a folder at one commit: see [`Folder::snapshot`].
///
/// It stays on one thread at a time; the [`Snapshot`]s that it gives can be shared among threads.
/// Like each of those it keeps pages from being reused; it takes two entries of the reader table.
pub struct FolderSnapshot {
    own: Reading,
    shared: Arc<SharedTxn>,
    pin: Pin,
    env: Arc<SharedEnv>,
}

impl fmt::Debug for FolderSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FolderSnapshot").field("commit", &self.commit()).finish_non_exhaustive()
    }
}

impl FolderSnapshot {
    /// The number of the commit, as [`Snapshot::commit`] gives it.
    #[must_use]
    pub fn commit(&self) -> u64 {
        self.shared.id() as u64
    }

    /// One of the indexes at this commit.
    ///
    /// # Errors
    /// [`OtherFolder`](Error::OtherFolder) if the index is in another folder,
    /// [`MissingName`](Error::MissingName) if it was created later or removed before, and as
    /// [`Index::snapshot`].
    pub fn index<D, K: ?Sized>(&self, index: &Index<D, K>) -> Result<Snapshot<D, K>> {
        check_folder(&self.env, &index.shared.env)?;
        self.pin.check_process()?;
        let held = index.shared.at(&self.shared);
        held.map(|held| Snapshot::new(held, index.name(), &self.env)).map_err(|error| {
            match (error, catalog::names(&self.env, &self.own.txn)) {
                (Error::MissingIndex(_), Ok(known)) => {
                    catalog::missing(&self.env, index.name(), known)
                }
                (error, _) => error,
            }
        })
    }

    /// A database of the caller's at this commit, with the types of its keys and values; `None` if
    /// there was none of this name.
    ///
    /// ```
    /// use voisin::heed::types::Str;
    /// use voisin::{Folder, Index, Options, distances::Cosine};
    ///
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// let index = Index::<Cosine>::create(folder.path(), Options::new(2))?;
    /// let folder = index.folder();
    /// let users = folder.database::<Str, Str>("users")?;
    /// folder.write(|txn| txn.databases(|wtxn| users.put(wtxn, "ann", "red")))?;
    /// let snapshot = folder.snapshot()?;
    /// let users = snapshot.database::<Str, Str>("users")?.unwrap();
    /// assert_eq!(users.get(snapshot.txn()?, "ann")?, Some("red"));
    /// assert!(snapshot.database::<Str, Str>("typo")?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`InvalidDatabaseName`](Error::InvalidDatabaseName), [`Heed`](Error::Heed) with `DbsFull` if
    /// the process cannot have all databases of the folder open ([`Options::max_databases`]) and
    /// has not opened this one before the snapshot, [`Forked`](Error::Forked).
    pub fn database<KC: 'static, DC: 'static>(
        &self,
        name: &str,
    ) -> Result<Option<Database<'static, KC, DC>>> {
        let txn = self.txn()?;
        let Some(found) = self.env.find_database::<KC, DC>(name)? else { return Ok(None) };
        match found.stat(txn) {
            Ok(_) => Ok(Some(found)),
            // It was not open when the transaction began: if all others were, it was created later.
            Err(heed::Error::Io(error)) if error.kind() == ErrorKind::InvalidInput => {
                match self.env.has_all_databases() {
                    true => Ok(None),
                    false => Err(heed::Error::Mdb(MdbError::DbsFull).into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The transaction, to read databases of the caller's with: values are valid as long as this
    /// snapshot. It knows those that existed at its commit, if the process can have all of them
    /// open ([`Options::max_databases`]), or else those that were open before.
    ///
    /// # Errors
    /// [`Forked`](Error::Forked).
    pub fn txn(&self) -> Result<&RoTxn<'_>> {
        self.pin.check_process()?;
        Ok(&self.own.txn)
    }
}
