//! Ctrl-C, SIGTERM and SIGHUP.
//!
//! Work that can end early asks [`is_requested`] and ends in order; a second signal ends it at
//! once. All other work ends at once: an index has what its last commit had, as after a kill, and
//! an unfinished file or copy of this command is removed first.

use std::fs::{self, File};
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::failure::{Exit, Failure, Result};

/// Whether a signal has come.
static REQUESTED: AtomicBool = AtomicBool::new(false);
/// Whether the work in progress asks for it.
static IS_ASKED: AtomicBool = AtomicBool::new(false);
/// What to remove before the process ends. Whoever renames or removes one of them holds the lock.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Handles signals from now on. `is_json` is the form of the last line.
pub(crate) fn install(is_json: bool) {
    // With a handler, to write beyond the limit of the size of a file is an error.
    #[cfg(unix)]
    {
        use signal_hook::{consts::signal::SIGXFSZ, flag};
        _ = flag::register(SIGXFSZ, std::sync::Arc::default());
    }
    // It fails only if there is a handler already: another run in this process has installed it.
    _ = ctrlc::set_handler(move || {
        let is_first = !REQUESTED.swap(true, Ordering::Relaxed);
        if IS_ASKED.load(Ordering::Relaxed) && is_first {
            // For a person: a program reads one line, at the end.
            if !is_json && io::stderr().is_terminal() {
                eprintln!("voisin: ending in order; press Ctrl-C again to end at once");
            }
            return;
        }
        // Held until the end, so that nothing is renamed while it is removed.
        let unfinished = unfinished();
        unfinished.iter().for_each(|path| remove(path));
        let message = "interrupted: what was committed before is intact, nothing else has changed";
        crate::ui::tell(is_json, Exit::Interrupted, message);
        std::process::exit(Exit::Interrupted as i32);
    });
}

fn unfinished() -> MutexGuard<'static, Vec<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn remove(path: &Path) {
    // Nothing can be done if this fails, and its name says that it is unfinished.
    _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}

/// Whether to end.
pub(crate) fn is_requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// Whether the work in progress asks [`is_requested`] from now on. Returns whether it did before.
pub(crate) fn ask(is_asked: bool) -> bool {
    IS_ASKED.swap(is_asked, Ordering::Relaxed)
}

/// Runs work that may wait for its input for ever, and does not ask: a signal ends it at once.
pub(crate) fn waiting<T>(work: impl FnOnce() -> T) -> T {
    let asked = ask(false);
    let done = work();
    ask(asked);
    done
}

/// Runs work that asks [`is_requested`] again and again.
pub(crate) fn asking<T>(work: impl FnOnce() -> T) -> T {
    ask(true);
    let done = work();
    ask(false);
    done
}

/// Runs work that writes to a path beside `to`, with the process in its name, and renames it at the
/// end: what has the name is complete. It is removed if the work fails.
///
/// # Errors
/// Those of the work, and of the file system.
pub(crate) fn complete_at<T>(to: &Path, work: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let name = to.file_name().ok_or_else(|| {
        Failure::usage(format!("{} is no name for a file or folder: give a new one", to.display()))
    })?;
    let name = format!("{}.unfinished-{}", name.to_string_lossy(), std::process::id());
    let part = to.with_file_name(name);
    unfinished().push(part.clone());
    let done = work(&part);
    let mut unfinished = unfinished();
    unfinished.retain(|path| *path != part);
    let done = done.and_then(|done| {
        fs::rename(&part, to).map_err(|error| Failure::io("make", to, &error)).map(|()| done)
    });
    if done.is_err() {
        remove(&part);
    }
    drop(unfinished);
    let done = done?;
    sync_parent(to)?;
    Ok(done)
}

/// Checks that the folder of a path is there, before work begins that ends with writing to it.
pub(crate) fn has_parent(path: &Path) -> Result<()> {
    let parent = parent_of(path);
    fs::metadata(parent).map(drop).map_err(|error| Failure::io("find the folder", parent, &error))
}

fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a new name durable, where a folder can be synchronized.
fn sync_parent(path: &Path) -> Result<()> {
    if cfg!(unix) {
        let parent = parent_of(path);
        let synced = File::open(parent).and_then(|folder| folder.sync_all());
        synced.map_err(|error| Failure::io("synchronize", parent, &error))?;
    }
    Ok(())
}
