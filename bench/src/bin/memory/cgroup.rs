//! A group of processes with a limit on their memory, which includes the page cache that they fill:
//! a cgroup, of version 1 or 2.
//!
//! A page belongs to the group that read it first. A process that joins later brings nothing with
//! it: its program, its libraries and its input do not count.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use voisin_bench::usage::number;

/// Where systems mount them.
const MOUNT: &str = "/sys/fs/cgroup";
/// Before the id of the process that has created one.
const NAME: &str = "voisin-memory-";
/// How long a group whose processes have ended may take until it can be removed.
const PATIENCE: Duration = Duration::from_secs(10);

/// See the module. Removed when dropped, by when its processes must have ended.
pub(crate) struct Cgroup {
    folder: PathBuf,
    names: &'static Names,
}

/// The files of a version.
struct Names {
    limit: &'static str,
    peak: &'static str,
    /// Of swap, or of memory and swap together.
    swap: &'static str,
    /// Whether `swap` includes memory.
    is_sum: bool,
    /// Has a line with the number of killed processes.
    kills: &'static str,
}

const VERSION_1: Names = Names {
    limit: "memory.limit_in_bytes",
    peak: "memory.max_usage_in_bytes",
    swap: "memory.memsw.limit_in_bytes",
    is_sum: true,
    kills: "memory.oom_control",
};
const VERSION_2: Names = Names {
    limit: "memory.max",
    peak: "memory.peak",
    swap: "memory.swap.max",
    is_sum: false,
    kills: "memory.events",
};

impl Cgroup {
    /// Removes the groups of runs that were killed.
    pub(crate) fn remove_left() {
        let Ok((parent, _)) = parent() else { return };
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let process = name.to_str().and_then(|name| name.strip_prefix(NAME)?.split('-').next());
            if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
                // One that still has processes stays.
                _ = fs::remove_dir(entry.path());
            }
        }
    }

    /// # Errors
    /// What is missing, and what to do.
    pub(crate) fn new(limit_bytes: u64) -> Result<Self, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let (parent, names) = parent()?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = parent.join(format!("{NAME}{}-{number}", std::process::id()));
        let failed = |what: &str, error: std::io::Error| {
            format!("{}: {what}: {error}. A limit on memory needs root.", folder.display())
        };
        fs::create_dir(&folder).map_err(|error| failed("to create it", error))?;
        let group = Self { folder: folder.clone(), names };
        let put = |file: &str, number: u64| {
            fs::write(folder.join(file), number.to_string())
                .map_err(|error| failed(&format!("to write {number} to {file}"), error))
        };
        put(names.limit, limit_bytes)?;
        // A kernel without swap has no such file.
        if folder.join(names.swap).exists() {
            put(names.swap, if names.is_sum { limit_bytes } else { 0 })?;
        }
        let limit = group.number(names.limit);
        if limit.is_none_or(|limit| limit > limit_bytes) {
            return Err(format!("{}: the limit is {limit:?}", folder.display()));
        }
        Ok(group)
    }

    /// Adds a process, with all its threads.
    pub(crate) fn join(&self, process: u32) {
        let file = self.folder.join("cgroup.procs");
        fs::write(file, process.to_string()).expect("to move a process into a cgroup");
    }

    /// The most memory that it has had, page cache included; `None` if the kernel does not tell.
    pub(crate) fn peak_bytes(&self) -> Option<u64> {
        self.number(self.names.peak)
    }

    /// Whether the system has killed a process, as its own memory exceeds the limit.
    pub(crate) fn has_killed(&self) -> bool {
        number(&self.folder.join(self.names.kills), "oom_kill ").is_some_and(|kills| kills > 0)
    }

    fn number(&self, file: &str) -> Option<u64> {
        fs::read_to_string(self.folder.join(file)).ok()?.trim().parse().ok()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let mut waited = Duration::ZERO;
        while let Err(error) = fs::remove_dir(&self.folder) {
            if waited >= PATIENCE {
                eprintln!("{} cannot be removed: {error}", self.folder.display());
                return;
            }
            let pause = Duration::from_millis(20);
            thread::sleep(pause);
            waited += pause;
        }
    }
}

/// The group to create others in: that of this process, where it is visible, or the root.
fn parent() -> Result<(PathBuf, &'static Names), String> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    // A line is a number, the controllers and the path.
    let path = |controller: &str| {
        own.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            controllers.split(',').any(|name| name == controller).then_some(path)
        })
    };
    let first = Path::new(MOUNT).join("memory");
    if first.join(VERSION_1.limit).exists() {
        return Ok((within(&first, path("memory")), &VERSION_1));
    }
    let second = Path::new(MOUNT);
    if second.join("cgroup.controllers").exists() {
        // A group with processes cannot have others with limits, so they are created at the root.
        let file = second.join("cgroup.subtree_control");
        return match fs::write(&file, "+memory") {
            Ok(()) => Ok((second.to_owned(), &VERSION_2)),
            Err(error) => Err(format!(
                "{}: to have the memory controller: {error}. This program needs root, outside a \
                 container or in one that may create cgroups.",
                file.display()
            )),
        };
    }
    Err(format!(
        "there are no cgroups with a memory controller in {MOUNT}: this program needs them"
    ))
}

fn within(mount: &Path, own: Option<&str>) -> PathBuf {
    let own = mount.join(own.unwrap_or_default().trim_start_matches('/'));
    if own.join("cgroup.procs").exists() { own } else { mount.to_owned() }
}
