//! What kind of file system a folder is on: LMDB needs one that keeps locks and shared maps coherent, which network file systems do not.
//!
//! Known by its number, as `statfs` tells it, on Linux only; elsewhere every file system passes. A file system that is not listed passes, too.

use std::path::Path;

use crate::{Error, Result};

/// The numbers of those that are refused, as in the headers of Linux, and what they are.
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

/// That LMDB can be trusted with a folder, if it exists.
///
/// # Errors
/// [`Error::FileSystem`] if it cannot.
pub(super) fn check(path: &Path) -> Result<()> {
    match refused(path) {
        Some(file_system) => Err(Error::FileSystem { path: path.to_owned(), file_system }),
        None => Ok(()),
    }
}

#[cfg(not(target_os = "linux"))]
fn refused(_path: &Path) -> Option<&'static str> {
    None
}

#[cfg(target_os = "linux")]
fn refused(path: &Path) -> Option<&'static str> {
    name_of(magic(path)?)
}

/// What a number stands for, if it is refused.
#[cfg(target_os = "linux")]
fn name_of(magic: u32) -> Option<&'static str> {
    REFUSED.iter().find(|(number, _)| *number == magic).map(|(_, name)| *name)
}

/// The number of the file system that a path is on. `None` if it cannot be told: then opening will fail, or not.
#[cfg(target_os = "linux")]
fn magic(path: &Path) -> Option<u32> {
    use std::os::unix::ffi::OsStrExt as _;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut told = std::mem::MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the path ends in a zero byte, and there is room for what is told, all of which may be zero.
    let result = unsafe { libc::statfs(path.as_ptr(), told.as_mut_ptr()) };
    // SAFETY: zeros are a valid `statfs`, and the call has put valid numbers in their place.
    let told = unsafe { told.assume_init() };
    // The type is as wide as a long, and its sign depends on the libc.
    (result == 0).then_some(told.f_type as u32)
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
}
