//! The files of an environment: verifies LMDB's pages without a memory map, reads the free list and
//! the reader table, which heed does not expose, and writes compacted copies.
//!
//! - `pages`: the layout of LMDB's pages. `walk`: traverses them (`order`, `free_list`). `verify`:
//!   verifies a file, closed or in use (`findings`). `clean`: overwrites what belongs to nothing in
//!   a copy. `values`: verifies its checksums.
//! - `lock_table`: the readers.
//!
//! Read-only. Free pages are counted in LMDB's free list, a B-tree of its own in the data file,
//! whose root is in a meta page; it is read as of the last commit, whose pages a read transaction
//! protects from reuse. Readers are counted in the lock file, through LMDB's own memory map of it:
//! a process that has the environment open must never open that file itself, as closing it again
//! would release all locks that the process has on it. The file position of the data file, which
//! LMDB's own handle shares, is never moved. Where the files look unlike LMDB 0.9's, a figure is
//! absent; that is not an error.

mod clean;
mod findings;
mod free_list;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod lock_table;
mod order;
mod pages;
mod values;
mod verify;
mod walk;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use heed::{CompactionOption, Env, EnvFlags, RoTxn, RwTxn};
use tempfile::NamedTempFile;

pub use self::findings::{PageFinding, PageInvariant};
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
use self::lock_table::oldest_reader;
use self::verify::free_pages;
pub use self::verify::{FileReport, verify_file};
pub(crate) use self::verify::{check_length, newest_commit};
use crate::error::{Error, Result};

/// An LMDB environment in numbers.
///
/// ```
/// use voisin::{Index, Options, distances::Euclidean};
///
/// # fn main() -> voisin::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// let options = Options::new(2).map_size_bytes(1 << 30);
/// let index = Index::<Euclidean>::create(folder.path().join("vectors"), options)?;
/// index.write(|batch| batch.add(1, &[0.5, 0.5]))?;
/// let environment = index.stats()?.environment;
/// assert_eq!(environment.map_bytes, 1 << 30);
/// assert!(environment.file_bytes < 1 << 20, "a map takes no disk");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Environment {
    /// Length of the data file.
    pub file_bytes: u64,
    /// Size of the memory map: the length that the file can reach before
    /// [`MapFull`](crate::Error::MapFull).
    pub map_bytes: u64,
    /// Page size.
    pub page_bytes: u64,
    /// Number of pages that have ever been used, for any purpose.
    pub pages: u64,
    /// Number of pages in the free list. They are reused once no reader sees their old content.
    /// `None` where the file is not as LMDB 0.9 writes it.
    pub free_pages: Option<u64>,
    /// Id of the newest commit.
    pub last_commit: u64,
    /// The oldest reader of all processes, in commits. `None` if there are no readers, or on
    /// systems other than 64-bit Linux.
    pub oldest_reader: Option<OldestReader>,
    /// Entries of the reader table that are or have been in use.
    pub readers: u32,
    /// Size of the reader table.
    pub max_readers: u32,
}

/// The reader that keeps the most pages from being reused.
///
/// ```
/// # #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
/// # fn main() -> voisin::Result<()> {
/// use voisin::{Index, Options, distances::Euclidean};
///
/// # let folder = tempfile::tempdir().unwrap();
/// let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(2))?;
/// let held = index.snapshot()?;
/// (0..3).try_for_each(|item| index.write(|batch| batch.add(item, &[0.5, 0.5])))?;
/// let oldest = index.stats()?.environment.oldest_reader.unwrap();
/// assert_eq!((oldest.process, oldest.commits_behind), (std::process::id(), 3));
/// drop(held);
/// # Ok(())
/// # }
/// # #[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
/// # fn main() {}
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct OldestReader {
    /// The process of the reader; if it has ended, `Env::clear_stale_readers` frees its entry.
    pub process: u32,
    /// Number of commits since the reader began.
    pub commits_behind: u64,
}

impl Environment {
    /// Reads the figures of an environment, as of its last commit. `rtxn` is any transaction of it.
    /// O(free list): some milliseconds for gigabytes of free pages.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn read<T>(env: &Env<T>, _rtxn: &RoTxn<'_>) -> Result<Self> {
        let info = env.info();
        let (path, file) = (data_path(env), data_file(env)?);
        let page_bytes = env.unnamed_database_stat().page_size;
        Ok(Self {
            file_bytes: file.metadata().map_err(Error::io("read", &path))?.len(),
            map_bytes: info.map_size as u64,
            page_bytes: page_bytes.into(),
            pages: info.last_page_number as u64 + 1,
            free_pages: free_pages(&file, &path),
            last_commit: info.last_txn_id as u64,
            oldest_reader: oldest_reader(&lock_path(env), info.last_txn_id as u64),
            readers: info.number_of_readers,
            max_readers: info.maximum_number_of_readers,
        })
    }
}

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
fn oldest_reader(_lock: &Path, _last_commit: u64) -> Option<OldestReader> {
    None
}

/// Whether the path of an environment is that of its data file, instead of the folder that holds
/// it.
fn is_file<T>(env: &Env<T>) -> bool {
    env.get_flags().is_ok_and(|flags| flags & EnvFlags::NO_SUB_DIR.bits() != 0)
}

/// Writes a compacted copy of an environment, as of its last commit, to `path`, while others go on
/// reading and writing: a backup, or a smaller file. An environment in a folder is copied to the
/// folder `path`, which is created if there is none; one that is a file, to a file. Returns the
/// length of the copy in bytes.
///
/// The copy is complete and durable when it appears under its name, and its checksums are verified:
/// the copy is read once for it, and everything that voisin has stored in it is checked. Data of
/// other programs in the environment is copied, but not checked. To salvage a damaged environment,
/// copy its file while no process writes. Reads in a transaction of its own: if the environment is
/// opened without `read_txn_without_tls`, the calling thread must not have another.
///
/// # Errors
/// [`Exists`](Error::Exists) if `path` already holds a database: it is left alone.
/// [`DamagedFile`](Error::DamagedFile) if LMDB's own pages are inconsistent, which are verified
/// first, as by [`verify_file`]; [`Corrupt`](Error::Corrupt),
/// [`CorruptItemKey`](Error::CorruptItemKey) and [`CorruptCatalog`](Error::CorruptCatalog) for
/// damaged values in them; [`DiskFull`](Error::DiskFull) and [`Io`](Error::Io) of the file system,
/// and other errors of LMDB. After an error there is no copy.
///
/// # Examples
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (folder, backups) = (tempfile::tempdir()?, tempfile::tempdir()?);
/// # let env = unsafe { voisin::heed::EnvOpenOptions::new().open(folder.path())? };
/// let today = backups.path().join("2026-11-20");
/// let bytes = voisin::copy_to(&env, &today)?;
/// assert_eq!(std::fs::metadata(today.join("data.mdb"))?.len(), bytes);
/// # Ok(())
/// # }
/// ```
pub fn copy_to<T>(env: &Env<T>, path: impl AsRef<Path>) -> Result<u64> {
    let path = path.as_ref();
    // First, as a cycle among the pages would make an endless copy.
    let (report, rtxn) = verify_newest(env, || Ok(env.read_txn()?), |rtxn| rtxn.id())?;
    drop(rtxn);
    report.copyable(&data_path(env))?;
    let is_new = !path.exists();
    copy(env, path).inspect_err(|_| {
        // Removes the folder that was created for the copy, if it is empty.
        if is_new {
            _ = fs::remove_dir(path);
        }
    })
}

/// Verifies the pages of the newest commit of an open environment. Returns the report, and the
/// transaction that sees the commit.
///
/// # Errors
/// Those of `begin`, and [`Error::Io`].
pub(crate) fn verify_newest<T, R>(
    env: &Env<T>,
    begin: impl Fn() -> Result<R>,
    id: impl Fn(&R) -> usize,
) -> Result<(FileReport, R)> {
    verify::verify_newest(&data_file(env)?, &data_path(env), begin, id)
}

/// Number of pages of trees and of large values that [`check_pages`] reads: some milliseconds.
const PAGES_BEFORE_WRITES: u64 = 4096;

/// Checks that LMDB can write to an environment without harm to the process, as far as the first 4
/// 096 pages of its trees tell. Call it in a write transaction that has written nothing yet.
///
/// # Errors
/// [`Error::DamagedFile`], [`Error::Io`].
pub(crate) fn check_pages<T>(env: &Env<T>, wtxn: &RwTxn<'_>) -> Result<()> {
    verify::check_pages(
        &data_file(env)?,
        &data_path(env),
        (wtxn.id() as u64).saturating_sub(1),
        PAGES_BEFORE_WRITES,
    )
}

fn copy<T>(env: &Env<T>, path: &Path) -> Result<u64> {
    let (folder, file) = if is_file(env) {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        (parent.unwrap_or(Path::new(".")), path.to_owned())
    } else {
        fs::create_dir_all(path).map_err(Error::io("create the folder", path))?;
        (path, path.join("data.mdb"))
    };
    let exists = || Error::Exists { path: file.clone() };
    if file.exists() {
        return Err(exists());
    }
    let failed = Error::io("copy to", path);
    let mut copy = NamedTempFile::new_in(folder).map_err(failed)?;
    env.copy_to_file(copy.as_file_mut(), CompactionOption::Enabled)
        .map_err(|error| Error::from(error).while_doing("copy to", path))?;
    let copied = copy.path().to_owned();
    clean::clean(copy.as_file(), &copied)?;
    values::verify(copy.as_file(), &copied)?;
    copy.as_file().sync_all().map_err(failed)?;
    let bytes = copy.as_file().metadata().map_err(failed)?.len();
    copy.persist_noclobber(&file).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => exists(),
        _ => failed(error.error),
    })?;
    // Makes the name durable, too. Where folders cannot be opened, there is nothing to do.
    if let Ok(folder) = File::open(folder) {
        folder.sync_all().map_err(failed)?;
    }
    Ok(bytes)
}

/// The path of LMDB's data file.
fn data_path<T>(env: &Env<T>) -> PathBuf {
    if is_file(env) { env.path().to_owned() } else { env.path().join("data.mdb") }
}

/// The data file that LMDB has open, even if its path leads to another file by now.
fn data_file<T>(env: &Env<T>) -> Result<File> {
    env.try_clone_inner_file()
        .map_err(|error| Error::from(error).while_doing("read", &data_path(env)))
}

/// The path of LMDB's lock file.
fn lock_path<T>(env: &Env<T>) -> PathBuf {
    if !is_file(env) {
        return env.path().join("lock.mdb");
    }
    let mut name = env.path().as_os_str().to_owned();
    name.push("-lock");
    name.into()
}
