//! Checks the file system of a folder: LMDB needs one that keeps locks and shared maps coherent,
//! which network file systems do not. Also detects a full disk, which LMDB does not always report.
//!
//! File systems are identified by their number, as `statfs` returns it, on Linux only; elsewhere
//! every file system passes. A file system that is not listed passes, too.

use std::path::Path;

#[cfg(target_os = "linux")]
use super::registry::DATA;
use crate::error::{Error, Result};

/// The numbers of the refused file systems, as in the headers of Linux, and their names.
#[cfg(target_os = "linux")]
const REFUSED: &[(u32, &str)] = &[
    (0x0000_6969, "NFS"),
    (0x0000_517B, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB 2 or later"),
    // sshfs, s3fs, GlusterFS and many others, and virtiofs, which has the same number.
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9p"),
    (0x5346_414F, "AFS"),
    (0x6B41_4653, "AFS (kernel client)"),
    (0x00C3_6400, "Ceph"),
    (0x7375_7245, "Coda"),
    (0x0000_564C, "NCP"),
    (0x0BD0_0BD0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x1983_0326, "BeeGFS"),
    (0x7461_636F, "OCFS2"),
    (0x0116_1970, "GFS2"),
    (0x786F_4256, "VirtualBox shared folder"),
    (0xBACB_ACBC, "VMware shared folder"),
];

/// Checks that LMDB can be trusted with a folder, or with the parent that it will be created in.
///
/// # Errors
/// [`Error::FileSystem`] if it cannot.
pub(super) fn check(path: &Path) -> Result<()> {
    let is_there = |path: &&Path| path.as_os_str().is_empty() || path.exists();
    let place = path
        .ancestors()
        .find(is_there)
        .filter(|place| !place.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    match refused(place) {
        Some(file_system) => Err(Error::FileSystem { path: path.to_owned(), file_system }),
        None => Ok(()),
    }
}

/// A disk with fewer free bytes than this, or a file that may not grow by more, has no room for one
/// write of LMDB.
#[cfg(target_os = "linux")]
const FULL_BYTES: u64 = 1 << 20;

/// Adds the folder and the action to an error of the system that LMDB has passed on, and detects a
/// full disk. If there is room for only a part of a write, LMDB reports an I/O error, and not that
/// the disk is full or the file too large.
pub(super) fn explain(error: Error, doing: &'static str, folder: &Path) -> Error {
    match error {
        #[cfg(target_os = "linux")]
        Error::Heed(heed::Error::Io(source)) if source.raw_os_error() == Some(libc::EIO) => {
            match () {
                () if is_full(folder) => Error::DiskFull { path: folder.to_owned(), source },
                () if is_at_limit(folder) => {
                    Error::io(doing, folder)(std::io::Error::from_raw_os_error(libc::EFBIG))
                }
                () => Error::io(doing, folder)(source),
            }
        }
        error => error.while_doing(doing, folder),
    }
}

/// Whether the data file is about as long as this process may make a file.
#[cfg(target_os = "linux")]
fn is_at_limit(folder: &Path) -> bool {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: `limit` has room for the result.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &mut limit) };
    let length = std::fs::metadata(folder.join(DATA)).map_or(0, |metadata| metadata.len());
    // Its width depends on the libc.
    #[allow(clippy::unnecessary_cast, reason = "it is one where it is no u64")]
    let limit = limit.rlim_cur as u64;
    result == 0 && limit.saturating_sub(length) < FULL_BYTES
}

#[cfg(target_os = "linux")]
fn is_full(path: &Path) -> bool {
    // Their width depends on the libc.
    #[allow(clippy::unnecessary_cast, reason = "it is one where they are no u64")]
    told(path)
        .is_some_and(|told| (told.f_bavail as u64).saturating_mul(told.f_bsize as u64) < FULL_BYTES)
}

/// Checks that folders have room for so many bytes each, together where they are on one file
/// system. What cannot be determined passes.
///
/// # Errors
/// [`Error::DiskRoom`], of the first folder that has too little.
#[cfg(target_os = "linux")]
pub(super) fn check_room(wanted: &[(&Path, u64)]) -> Result<()> {
    use std::os::unix::fs::MetadataExt as _;

    let device = |path: &Path| std::fs::metadata(path).ok().map(|metadata| metadata.dev());
    for (path, _) in wanted {
        let (here, Some(told)) = (device(path), told(path)) else { continue };
        let same = wanted.iter().filter(|(other, _)| here.is_some() && device(other) == here);
        let needed = same.map(|(_, bytes)| bytes).sum();
        // Their width depends on the libc.
        #[allow(clippy::unnecessary_cast, reason = "it is one where they are no u64")]
        let available = (told.f_bavail as u64).saturating_mul(told.f_bsize as u64);
        if available < needed {
            return Err(Error::DiskRoom { path: path.to_path_buf(), needed, available });
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn check_room(_wanted: &[(&Path, u64)]) -> Result<()> {
    Ok(())
}

/// Reserves the disk space of the lock file of a folder, before LMDB sets its length: LMDB writes
/// to it through a map, and writing to a part of a map for which the disk has no room kills a
/// process. Does nothing on other systems than Linux, or if the file system does not support it.
///
/// Must be called only while this process does not have the environment open: closing the file
/// drops the locks that the process has on it.
///
/// # Errors
/// If there is no room.
#[cfg(target_os = "linux")]
pub(super) fn reserve_lock_file(folder: &Path, readers: u32, may_create: bool) -> Result<()> {
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    let path = folder.join("lock.mdb");
    let Ok(file) = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(may_create)
        .mode(0o600)
        .open(path)
    else {
        // LMDB reports the error, if it needs the file.
        return Ok(());
    };
    // A cache line for each reader, and some more.
    let bytes = u64::from(readers) * 64 + 4096;
    let bytes = file.metadata().map_or(bytes, |metadata| metadata.len().max(bytes));
    // SAFETY: the file is open. Its length and its content stay the same, whoever else has it open.
    let result = unsafe {
        libc::fallocate(file.as_raw_fd(), libc::FALLOC_FL_KEEP_SIZE, 0, bytes as libc::off_t)
    };
    let error = std::io::Error::last_os_error();
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded if result != 0 => {
            Err(Error::io("set aside the lock file in", folder)(error))
        }
        _ => Ok(()),
    }
}

/// The lock file of an environment, locked in the way LMDB does before it knows whether others have
/// the environment open. `None` if they do, or if that cannot be determined. Dropping it releases
/// the lock.
///
/// Must be called only while this process does not have the environment open: closing the file
/// drops the locks that the process has on it.
#[cfg(target_os = "linux")]
pub(super) fn lock_alone(path: &Path) -> Option<std::fs::File> {
    use std::os::fd::AsRawFd as _;

    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .ok()?;
    // SAFETY: zeros are a valid lock.
    let mut lock = unsafe { std::mem::zeroed::<libc::flock>() };
    // The first byte of the file.
    (lock.l_type, lock.l_whence, lock.l_len) = (libc::F_WRLCK as _, libc::SEEK_SET as _, 1);
    // SAFETY: the file is open, and there is a lock to read.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &lock) };
    (result == 0).then_some(file)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn lock_alone(_path: &Path) -> Option<std::fs::File> {
    None
}

#[cfg(not(target_os = "linux"))]
pub(super) fn reserve_lock_file(_folder: &Path, _readers: u32, _may_create: bool) -> Result<()> {
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn refused(_path: &Path) -> Option<&'static str> {
    None
}

#[cfg(target_os = "linux")]
fn refused(path: &Path) -> Option<&'static str> {
    name_of(magic(path)?)
}

/// The name of a file system, if it is refused.
#[cfg(target_os = "linux")]
fn name_of(magic: u32) -> Option<&'static str> {
    REFUSED.iter().find(|(number, _)| *number == magic).map(|(_, name)| *name)
}

/// The number of the file system that a path is on. `None` if it cannot be determined: then opening
/// will fail, or not.
#[cfg(target_os = "linux")]
fn magic(path: &Path) -> Option<u32> {
    // The type is as wide as a long, and its sign depends on the libc.
    told(path).map(|told| told.f_type as u32)
}

/// The result of `statfs` for a path.
#[cfg(target_os = "linux")]
fn told(path: &Path) -> Option<libc::statfs> {
    use std::os::unix::ffi::OsStrExt as _;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut told = std::mem::MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the path ends in a zero byte, and there is room for the result, all of which may be
    // zero.
    let result = unsafe { libc::statfs(path.as_ptr(), told.as_mut_ptr()) };
    // SAFETY: zeros are a valid `statfs`, and the call has replaced them by valid numbers.
    let told = unsafe { told.assume_init() };
    (result == 0).then_some(told)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_refused_by_name_and_local_ones_are_not() {
        assert_eq!(name_of(0x6969), Some("NFS"));
        assert_eq!(name_of(0xFF53_4D42_u32 as i32 as u32), Some("CIFS"));
        // ext4, xfs, btrfs, tmpfs, overlay.
        for local in [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0x794C_7630] {
            assert_eq!(name_of(local), None, "{local:x}");
        }
        assert_eq!(magic(Path::new("/proc")), Some(0x9FA0));
        assert_eq!(magic(Path::new("/no/such/path")), None);
    }

    #[test]
    fn a_full_disk_and_a_quota_that_is_used_up_have_a_name_and_other_failures_a_path() {
        // One that is always full, and one that is not.
        let (full, roomy) = (Path::new("/proc"), std::env::temp_dir());
        let explained = |number, path: &Path| {
            explain(
                heed::Error::Io(std::io::Error::from_raw_os_error(number)).into(),
                "write to",
                path,
            )
        };
        for number in [libc::ENOSPC, libc::EDQUOT] {
            match explained(number, &roomy) {
                Error::DiskFull { path, source } => {
                    assert_eq!((path, source.raw_os_error()), (roomy.clone(), Some(number)))
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(matches!(explained(libc::EIO, full), Error::DiskFull { .. }));
        for (number, path) in [(libc::EIO, &*roomy), (libc::EACCES, full)] {
            match explained(number, path) {
                Error::Io { path: told, doing: "write to", source } => {
                    assert_eq!((&*told, source.raw_os_error()), (path, Some(number)))
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
