//! The folder that a call creates for an index, removed again if creating the index fails.
//!
//! Invariant: nothing is removed that another program may have started to use. The folder was
//! created by this call, it holds LMDB's two files and nothing else, no other process has them
//! open, and no index was ever committed to them, or the newest commit has removed the last one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::filesystem;
use super::registry::DATA;
use crate::error::{Error, Result};
use crate::store::file::newest_commit;
use crate::store::process;

/// LMDB's lock file.
const LOCK: &str = "lock.mdb";
/// The commit that creates the two databases of an environment. A later commit has created an
/// index.
const EMPTY_COMMIT: u64 = 1;

/// A folder that this call has created. Dropping it removes the folder, unless it is kept.
#[derive(Debug)]
pub(super) struct Created {
    folder: PathBuf,
    /// The parent folders created with it, the innermost first.
    parents: Vec<PathBuf>,
    process: u32,
    is_kept: AtomicBool,
    /// The last commit that has left nothing in it.
    empty: AtomicU64,
    /// Whether this process alone opens its files, which the entry in the registry ensures.
    pub(super) is_ours: bool,
}

impl Created {
    /// Creates a folder and its parents. `None` if the folder exists already, whoever created it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn folder(path: &Path) -> Result<Option<Self>> {
        let failed = Error::io("create the folder", path);
        let is_missing =
            |path: &&Path| !path.as_os_str().is_empty() && fs::symlink_metadata(path).is_err();
        let missing: Vec<PathBuf> =
            path.ancestors().take_while(is_missing).map(Path::to_owned).collect();
        let Some((_, parents)) = missing.split_first() else {
            fs::create_dir_all(path).map_err(failed)?;
            return Ok(None);
        };
        parents.first().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
        match fs::create_dir(path) {
            // The folder itself, resolved: what a relative path means may change with the working
            // directory.
            Ok(()) => {
                let folder = path.canonicalize().map_err(failed)?;
                let parents =
                    folder.ancestors().skip(1).take(parents.len()).map(Path::to_owned).collect();
                let (process, is_kept) = (std::process::id(), AtomicBool::new(false));
                let empty = AtomicU64::new(EMPTY_COMMIT);
                Ok(Some(Self { folder, parents, process, is_kept, empty, is_ours: false }))
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Keeps the folder, because it is in use.
    pub(super) fn keep(&self) {
        self.is_kept.store(true, Ordering::Relaxed);
    }

    /// No longer keeps the folder: a commit has removed all that was in it.
    pub(super) fn empty(&self, commit: u64) {
        self.empty.store(commit, Ordering::Relaxed);
        self.is_kept.store(false, Ordering::Relaxed);
    }

    /// Removes LMDB's files, if no other process can have them.
    fn remove_files(&self) -> io::Result<()> {
        let mut names = fs::read_dir(&self.folder)?.map(|entry| Ok(entry?.file_name()));
        if !names.all(|name: io::Result<_>| name.is_ok_and(|name| name == DATA || name == LOCK)) {
            return Ok(());
        }
        let (data, lock) = (self.folder.join(DATA), self.folder.join(LOCK));
        let Some(_locked) = filesystem::lock_alone(&lock) else { return Ok(()) };
        if newest_commit(&data).is_some_and(|commit| commit > self.empty.load(Ordering::Relaxed)) {
            return Ok(());
        }
        // Renamed first, as a whole: a process that comes by the path now finds nothing, and
        // creates a folder of its own.
        let mut aside = self.folder.clone().into_os_string();
        aside.push(format!(".removed-{}", self.process));
        let aside = PathBuf::from(aside);
        fs::rename(&self.folder, &aside)?;
        for name in [DATA, LOCK] {
            _ = fs::remove_file(aside.join(name));
        }
        fs::remove_dir(aside)
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        if *self.is_kept.get_mut() || process::check(self.process).is_err() {
            return;
        }
        // The call fails already, with a better error than any of these.
        if self.is_ours {
            _ = self.remove_files();
        }
        _ = fs::remove_dir(&self.folder);
        for parent in &self.parents {
            // Folders that hold anything else stay.
            if !self.folder.exists() && fs::remove_dir(parent).is_err() {
                break;
            }
        }
    }
}
