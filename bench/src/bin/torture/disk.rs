//! File systems for the trials: an ext4 on a file, which can be cut off as in a power failure, and
//! a small one in memory, which can be filled. Both need permission to mount; without it there is a
//! reason instead of a disk.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// `EXT4_IOC_SHUTDOWN`, that is `_IOR('X', 125, u32)`.
const SHUTDOWN: libc::c_ulong = 0x8004_587D;

/// How a file system ends: its journal in memory is lost, or written first.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cut {
    WithoutLog = 2,
    WithLog = 1,
}

/// Unmounted when dropped.
struct Mount(PathBuf);

impl Drop for Mount {
    fn drop(&mut self) {
        // At once, or when the last file is closed.
        _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    match Command::new(program).args(arguments).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "{program}: {}",
            String::from_utf8_lossy(&output.stderr).trim().replace('\n', ", ")
        )),
        Err(error) => Err(format!("{program}: {error}")),
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// An ext4 on a file.
pub(crate) struct Ext4 {
    mounted: Option<Mount>,
    folder: TempDir,
}

impl Ext4 {
    /// Creates and mounts one.
    pub(crate) fn new(megabytes: u64) -> Result<Self, String> {
        let folder = crate::temporary();
        let image = folder.path().join("image");
        let file = File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(megabytes << 20).map_err(|error| error.to_string())?;
        run("mkfs.ext4", &["-q", "-F", text(&image)])?;
        fs::create_dir(folder.path().join("disk")).map_err(|error| error.to_string())?;
        let mut disk = Self { mounted: None, folder };
        disk.mount()?;
        Ok(disk)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// Mounts it again: its journal is replayed.
    pub(crate) fn mount(&mut self) -> Result<(), String> {
        run("mount", &["-o", "loop", text(&self.folder.path().join("image")), text(&self.path())])?;
        self.mounted = Some(Mount(self.path()));
        Ok(())
    }

    /// Shuts it down at once: data that has not reached the device by now never does.
    pub(crate) fn cut(&self, cut: Cut) -> Result<(), String> {
        let root = File::open(self.path()).map_err(|error| error.to_string())?;
        let flags = cut as u32;
        // SAFETY: the call reads one number of 32 bits, which lives until it returns.
        match unsafe { libc::ioctl(root.as_raw_fd(), SHUTDOWN, &raw const flags) } {
            0 => Ok(()),
            _ => Err(format!("shutting ext4 down: {}", std::io::Error::last_os_error())),
        }
    }

    /// No process may have a file open there.
    pub(crate) fn unmount(&mut self) -> Result<(), String> {
        // The kernel may still be closing the files of a process that was waited for.
        let mut result = Ok(());
        for _ in 0..50 {
            result = run("umount", &[text(&self.path())]);
            if result.is_ok() {
                std::mem::forget(self.mounted.take());
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        result
    }
}

impl Drop for Ext4 {
    fn drop(&mut self) {
        // Before the folder that it is mounted in is removed.
        drop(self.mounted.take());
    }
}

/// A file system in memory.
pub(crate) struct Small {
    mounted: Option<Mount>,
    folder: TempDir,
}

impl Small {
    pub(crate) fn new(megabytes: u64) -> Result<Self, String> {
        let folder = crate::temporary();
        run(
            "mount",
            &["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "torture", text(folder.path())],
        )?;
        Ok(Self { mounted: Some(Mount(folder.path().to_owned())), folder })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    /// Fills it up to `left` free bytes, or fewer, as others write meanwhile.
    pub(crate) fn fill(&self, left: u64) {
        let mut file = File::create(self.ballast()).expect("a file");
        while file.write_all(&[1; 1 << 16]).is_ok() {}
        while file.write_all(&[1; 4096]).is_ok() {}
        let length = file.metadata().expect("its length").len();
        file.set_len(length.saturating_sub(left)).expect("a shorter file");
    }

    pub(crate) fn free(&self) {
        _ = fs::remove_file(self.ballast());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        drop(self.mounted.take());
    }
}
