//! LMDB's reader table, read through the memory map of the lock file that every process with an
//! open environment has.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use super::OldestReader;
use super::pages::MAGIC;
use crate::format::{take_u32, take_u64};

/// The reader with the smallest transaction id in the lock file.
pub(super) fn oldest_reader(lock: &Path, last_commit: u64) -> Option<OldestReader> {
    const LINE: usize = 64;
    const ENTRY_BYTES: usize = 64;
    let in_lines = |bytes: usize| bytes.div_ceil(LINE) * LINE;
    // Layout: magic, format, transaction id, number of readers, and a mutex; another mutex; the
    // table.
    let mutex = size_of::<libc::pthread_mutex_t>();
    let table = in_lines(24 + mutex) + in_lines(mutex);
    let (address, length) = mapped(lock)?;
    let memory = File::open("/proc/self/mem").ok()?;
    let mut header = [0; LINE];
    memory.read_exact_at(&mut header, address).ok()?;
    let readers = take_u32(&header, 16)? as usize;
    if take_u32(&header, 0)? != MAGIC || table + readers * ENTRY_BYTES > length {
        return None;
    }
    let mut entries = vec![0; readers * ENTRY_BYTES];
    memory.read_exact_at(&mut entries, address + table as u64).ok()?;
    let entries = entries.chunks_exact(ENTRY_BYTES).filter_map(|entry| {
        let (commit, process) = (take_u64(entry, 0)?, take_u32(entry, 8)?);
        // An entry without a process is free; one without a transaction id is idle.
        (process != 0 && commit != u64::MAX).then_some((commit, process))
    });
    let (commit, process) = entries.min()?;
    Some(OldestReader { process, commits_behind: last_commit.saturating_sub(commit) })
}

/// Address and length of the memory map of a file in this process. The file must not be opened: see
/// the module `file`.
fn mapped(path: &Path) -> Option<(u64, usize)> {
    let metadata = fs::metadata(path).ok()?;
    let device = format!("{:02x}:{:02x}", libc::major(metadata.dev()), libc::minor(metadata.dev()));
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let [offset, on, inode] = [fields.nth(1)?, fields.next()?, fields.next()?];
        let same = on == device
            && inode.parse() == Ok(metadata.ino())
            && u64::from_str_radix(offset, 16) == Ok(0);
        let [start, end] = [start, end].map(|address| u64::from_str_radix(address, 16));
        same.then_some((
            start.as_ref().ok().copied()?,
            end.ok()?.checked_sub(start.ok()?)? as usize,
        ))
    })
}
