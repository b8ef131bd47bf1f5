//! The environments that a process has open, by the identity of their data files: one file is one
//! environment, whatever path leads to it.
//!
//! LMDB must not open a file twice in a process: its locks belong to the process, and closing
//! either environment would drop those of both. An entry is made before an environment is opened,
//! and removed after it has been closed; a thread that wants to open the same file meanwhile waits.

use std::collections::HashMap;
use std::fs::{self, Metadata, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use crate::error::{Error, Result};
use crate::store::process;

/// The data file of an environment, within its folder.
pub(super) const DATA: &str = "data.mdb";

/// The identity of a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct FileId {
    #[cfg(unix)]
    device: u64,
    #[cfg(unix)]
    inode: u64,
    /// Where files have no numbers, the path with symbolic links resolved.
    #[cfg(not(unix))]
    path: PathBuf,
}

impl FileId {
    #[cfg(unix)]
    fn of(_path: &Path, metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    #[cfg(not(unix))]
    fn of(path: &Path, _metadata: &Metadata) -> Self {
        Self { path: path.to_owned() }
    }
}

/// Whether a file has other names.
fn has_hard_links(_metadata: &Metadata) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        _metadata.nlink() > 1
    }
    #[cfg(not(unix))]
    false
}

/// An environment that is open, or being opened or closed.
#[derive(Debug)]
struct Entry<E> {
    /// Empty while it is being opened or closed.
    environment: Weak<E>,
    path: PathBuf,
}

/// The registry; see the module. `E` is an environment.
#[derive(Debug)]
pub(super) struct Registry<E> {
    /// The process that the registry belongs to.
    process: u32,
    entries: Mutex<HashMap<FileId, Entry<E>>>,
    changed: Condvar,
}

/// The data file of a folder, found but not opened yet.
#[derive(Debug)]
pub(super) struct DataFile {
    /// The folder, with symbolic links resolved.
    pub(super) folder: PathBuf,
    /// Whether the file is still empty, before LMDB's first write.
    pub(super) is_empty: bool,
    id: FileId,
    /// Another name of the file, if it has one: a path with a lock file of its own.
    linked: Option<&'static str>,
}

impl DataFile {
    /// # Errors
    /// [`Error::MissingEnvironment`], and those of the file system.
    pub(super) fn find(folder: &Path) -> Result<Self> {
        let missing = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::MissingEnvironment { path: folder.to_owned() },
            _ => Error::io("find the environment in", folder)(error),
        };
        let canonical = folder.canonicalize().map_err(missing)?;
        let file = canonical.join(DATA);
        // This opens no file.
        let is_symbolic = fs::symlink_metadata(&file).map_err(missing)?.is_symlink();
        let metadata = fs::metadata(&file).map_err(missing)?;
        let linked = match is_symbolic {
            true => Some("a symbolic link to another folder"),
            false => has_hard_links(&metadata).then_some("one of several hard links"),
        };
        Ok(Self {
            id: FileId::of(&file, &metadata),
            is_empty: metadata.len() == 0,
            linked,
            folder: canonical,
        })
    }

    /// Creates the file if it is missing, so that it has an identity before LMDB opens it. LMDB
    /// takes an empty file for a new environment.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn create(folder: &Path) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            // As LMDB does.
            options.mode(0o600);
        }
        // The data file has no locks that closing it could drop: LMDB's are on the lock file.
        let path = folder.join(DATA);
        options.open(&path).map_err(Error::io("create", &path))?;
        Self::find(folder)
    }
}

/// Checks that a file has one name: each name would have a lock file of its own.
fn single(file: &DataFile) -> Result<()> {
    match file.linked {
        None => Ok(()),
        Some(how) => Err(Error::LinkedFile { path: file.folder.join(DATA), how }),
    }
}

/// The answer to a process that wants to open a file.
pub(super) enum Claim<E: 'static> {
    /// The environment, which is already open.
    Open(Arc<E>),
    /// The right to open it.
    Ours(Registered<E>),
}

/// An entry, removed when this is dropped. An environment is dropped before its entry.
#[derive(Debug)]
pub(super) struct Registered<E: 'static> {
    registry: &'static Registry<E>,
    id: FileId,
}

impl<E> Registry<E> {
    /// The registry of this process.
    pub(super) fn new() -> Self {
        Self {
            process: std::process::id(),
            entries: Mutex::new(HashMap::new()),
            changed: Condvar::new(),
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<FileId, Entry<E>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks that this process is no fork of one that has opened any environment.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub(super) fn check_process(&self) -> Result<()> {
        process::check(self.process)
    }

    /// Finds the environment of a file, or makes an entry for it.
    ///
    /// # Errors
    /// [`Error::Forked`] in a fork of a process that has opened any environment: its locks may be
    /// held, and the threads that build for it do not exist, so that waiting for them would never
    /// end. [`Error::LinkedFile`].
    pub(super) fn claim(&'static self, file: &DataFile) -> Result<Claim<E>> {
        self.check_process()?;
        let mut entries = self.entries();
        while let Some(entry) = entries.get(&file.id) {
            let is_path = entry.path == file.folder;
            if let Some(environment) = entry.environment.upgrade() {
                // Not dropped while the lock is held: dropping the environment needs the lock.
                drop(entries);
                // The same path as before is no second way to the file, whatever links exist by
                // now.
                return if is_path {
                    Ok(Claim::Open(environment))
                } else {
                    single(file).map(|()| Claim::Open(environment))
                };
            }
            entries = self.changed.wait(entries).unwrap_or_else(PoisonError::into_inner);
        }
        single(file)?;
        let entry = Entry { environment: Weak::new(), path: file.folder.clone() };
        entries.insert(file.id.clone(), entry);
        Ok(Claim::Ours(Registered { registry: self, id: file.id.clone() }))
    }
}

impl<E> Registered<E> {
    /// Publishes the open environment.
    pub(super) fn opened(&self, environment: &Arc<E>) {
        if let Some(entry) = self.registry.entries().get_mut(&self.id) {
            entry.environment = Arc::downgrade(environment);
        }
        self.registry.changed.notify_all();
    }
}

impl<E> Drop for Registered<E> {
    fn drop(&mut self) {
        // In a fork the environment was not closed, and the lock may be held by a thread that does
        // not exist there.
        if self.registry.check_process().is_ok() {
            self.registry.entries().remove(&self.id);
            self.registry.changed.notify_all();
        }
    }
}
