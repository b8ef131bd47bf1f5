//! Ctrl-C, SIGTERM and SIGHUP.
//!
//! Work that can end early asks [`is_requested`] and ends in order; a second signal ends it at
//! once. All other work ends at once: an index has what its last commit had, as after a kill, and
//! an unfinished file or copy of this command is removed first.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::failure::{Exit, Result};

/// Whether a signal has come.
static REQUESTED: AtomicBool = AtomicBool::new(false);
/// Whether the work in progress asks for it.
static IS_ASKED: AtomicBool = AtomicBool::new(false);
/// What to remove before the process ends.
static UNFINISHED: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Handles signals from now on. `is_json` is the form of the last line.
pub(crate) fn install(is_json: bool) {
    // It fails only if there is a handler already: another run in this process has installed it.
    _ = ctrlc::set_handler(move || {
        let is_first = !REQUESTED.swap(true, Ordering::Relaxed);
        if IS_ASKED.load(Ordering::Relaxed) && is_first {
            eprintln!("voisin: ending in order; press Ctrl-C again to end at once");
            return;
        }
        if let Some(path) = unfinished().take() {
            remove(&path);
        }
        let message = "interrupted: what was committed before is intact, nothing else has changed";
        crate::ui::tell(is_json, Exit::Interrupted, message);
        std::process::exit(Exit::Interrupted as i32);
    });
}

fn unfinished() -> std::sync::MutexGuard<'static, Option<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn remove(path: &Path) {
    // Nothing can be done if this fails, and its name says that it is unfinished.
    _ = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
}

/// Whether to end.
pub(crate) fn is_requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// Whether the work in progress asks [`is_requested`] from now on.
pub(crate) fn ask(is_asked: bool) {
    IS_ASKED.store(is_asked, Ordering::Relaxed);
}

/// Runs work that asks [`is_requested`] again and again.
pub(crate) fn asking<T>(work: impl FnOnce() -> T) -> T {
    ask(true);
    let done = work();
    ask(false);
    done
}

/// Runs work that writes to `path`, which is removed unless it succeeds.
pub(crate) fn unfinished_at<T>(path: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    *unfinished() = Some(path.to_owned());
    let done = work();
    let path = unfinished().take();
    if let (Err(_), Some(path)) = (&done, path) {
        remove(&path);
    }
    done
}
