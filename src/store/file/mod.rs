//! The environment as files: LMDB's free pages and its readers, which heed does not tell, and a compacted copy.
//!
//! Read-only. Free pages are counted from LMDB's free list, a B-tree of its own in the data file, whose root a meta page names (format version
//! 1, that of LMDB 0.9); it is read as the pages of the last commit, which a reader keeps from being reused. Readers are counted in the lock
//! file, through the map that LMDB has of it: a process that has the environment open must never open that file itself, as closing it again would drop every lock that the
//! process has on it. Nor is the position in the data file ever moved, which LMDB's own handle shares. Whatever looks unlike what is expected is
//! an absent figure, not an error.

#[cfg(unix)]
mod free_list;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod lock_table;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use heed::{CompactionOption, Env, EnvFlags, RoTxn};
use tempfile::NamedTempFile;

#[cfg(unix)]
use self::free_list::free_pages;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
use self::lock_table::oldest_reader;
use crate::{Error, Result};

/// What data and lock file begin with, after the header of a page.
const MAGIC: u32 = 0xBEEF_C0DE;

/// An LMDB environment in numbers.
///
/// ```
/// use voisin::{Index, Options, distances::Euclidean};
///
/// # fn main() -> voisin::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(2).map_size_bytes(1 << 30))?;
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
    /// How long it can become before [`MapFull`](crate::Error::MapFull).
    pub map_bytes: u64,
    /// Bytes of a page.
    pub page_bytes: u64,
    /// Pages that have ever been used, whatever for.
    pub pages: u64,
    /// Those of them that hold nothing any more. They are used again once no reader sees what they held. `None` where the file is not as
    /// LMDB 0.9 writes it.
    pub free_pages: Option<u64>,
    /// Number of the newest commit.
    pub last_commit: u64,
    /// The reader that has been held for the most commits, of all processes. `None` if nobody reads, or on systems other than 64-bit Linux.
    pub oldest_reader: Option<OldestReader>,
    /// Entries of the reader table that are in use or have been.
    pub readers: u32,
    /// Entries that the table has.
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
    /// The process that holds it; if that is no more, `Env::clear_stale_readers` frees its entry.
    pub process: u32,
    /// How many commits there have been since it began.
    pub commits_behind: u64,
}

impl Environment {
    /// Reads the figures of an environment, as of its last commit. `rtxn` is any transaction of it. O(free list): some milliseconds for
    /// gigabytes of free pages.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn read<T>(env: &Env<T>, _rtxn: &RoTxn<'_>) -> Result<Self> {
        let info = env.info();
        let file = env.try_clone_inner_file()?;
        let page_bytes = env.unnamed_database_stat().page_size;
        Ok(Self {
            file_bytes: file.metadata().map_err(heed::Error::from)?.len(),
            map_bytes: info.map_size as u64,
            page_bytes: page_bytes.into(),
            pages: info.last_page_number as u64 + 1,
            free_pages: free_pages(&file, page_bytes as usize),
            last_commit: info.last_txn_id as u64,
            oldest_reader: oldest_reader(&lock_path(env), info.last_txn_id as u64),
            readers: info.number_of_readers,
            max_readers: info.maximum_number_of_readers,
        })
    }
}

#[cfg(not(unix))]
fn free_pages(_data: &File, _page_bytes: usize) -> Option<u64> {
    None
}

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
fn oldest_reader(_lock: &Path, _last_commit: u64) -> Option<OldestReader> {
    None
}

/// Whether the path of an environment is that of its data file, and not of the folder that holds it.
fn is_file<T>(env: &Env<T>) -> bool {
    env.get_flags().is_ok_and(|flags| flags & EnvFlags::NO_SUB_DIR.bits() != 0)
}

/// Writes a compacted copy of all that the environment holds, as of its last commit, to `path`, while others go on reading and writing: a backup,
/// or a smaller file. An environment in a folder is copied to the folder `path`, which is created if there is none; one that is a file, to a file.
/// Returns the length of the copy.
///
/// The copy is complete and durable when it appears under its name. It reads in a transaction of its own: in an environment that is opened without
/// `read_txn_without_tls`, the calling thread must not have another.
///
/// # Errors
/// [`Exists`](Error::Exists) if `path` already holds a database: it is left alone. [`DiskFull`](Error::DiskFull), and others of the file system and of
/// LMDB: there is no copy.
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
    copy(env, path).map_err(|error| error.writing(path))
}

fn copy<T>(env: &Env<T>, path: &Path) -> Result<u64> {
    let (folder, file) = if is_file(env) {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        (parent.unwrap_or(Path::new(".")), path.to_owned())
    } else {
        fs::create_dir_all(path).map_err(heed::Error::from)?;
        (path, path.join("data.mdb"))
    };
    let exists = || Error::Exists { path: file.clone() };
    if file.exists() {
        return Err(exists());
    }
    let mut copy = NamedTempFile::new_in(folder).map_err(heed::Error::from)?;
    env.copy_to_file(copy.as_file_mut(), CompactionOption::Enabled)?;
    copy.as_file().sync_all().map_err(heed::Error::from)?;
    let bytes = copy.as_file().metadata().map_err(heed::Error::from)?.len();
    copy.persist_noclobber(&file).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => exists(),
        _ => heed::Error::from(error.error).into(),
    })?;
    // So that the name is durable, too; where folders cannot be opened, there is nothing to do.
    if let Ok(folder) = File::open(folder) {
        folder.sync_all().map_err(heed::Error::from)?;
    }
    Ok(bytes)
}

/// Where LMDB keeps the locks of an environment.
fn lock_path<T>(env: &Env<T>) -> PathBuf {
    if !is_file(env) {
        return env.path().join("lock.mdb");
    }
    let mut name = env.path().as_os_str().to_owned();
    name.push("-lock");
    name.into()
}
