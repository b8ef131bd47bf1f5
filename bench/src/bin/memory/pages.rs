//! The page cache: what of a file is in it, and how to fill and to empty it.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

/// The bytes of a page, the unit of reading.
pub(crate) const PAGE_BYTES: u64 = 4096;
/// What may stay in memory when a file is dropped from it.
const REST: f64 = 0.01;

/// All files in a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("a file").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// The bytes of all files in a folder.
pub(crate) fn bytes_in(folder: &Path) -> u64 {
    files(folder).iter().map(|file| fs::metadata(file).map_or(0, |file| file.len())).sum()
}

/// Drops files from the page cache. No process may have them mapped.
pub(crate) fn drop_files(files: &[PathBuf]) {
    for path in files {
        let file = File::open(path).expect("a file");
        // Pages that are not written yet stay.
        file.sync_all().expect("to write a file");
        // SAFETY: advice on a file that is open.
        unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
        let rest = resident_share(&file);
        assert!(
            rest <= REST,
            "{:.0} % of {} stay in memory: another process has it open",
            100.0 * rest,
            path.display()
        );
    }
}

/// Reads files into the page cache, where they belong to the group of this process.
pub(crate) fn fill(files: &[PathBuf]) {
    let mut buffer = vec![0; 1 << 20];
    for path in files {
        let mut file = File::open(path).expect("a file");
        while file.read(&mut buffer).expect("to read") > 0 {}
    }
}

/// The fraction of a file that is in memory.
fn resident_share(file: &File) -> f64 {
    let length = file.metadata().expect("a file").len();
    if length < 100 * PAGE_BYTES {
        return 0.0;
    }
    // SAFETY: its bytes are not read.
    let map = unsafe { Mmap::map(file) }.expect("a map");
    let mut states = vec![0u8; length.div_ceil(PAGE_BYTES) as usize];
    // SAFETY: the range is mapped, and there is a byte for each of its pages.
    let failed =
        unsafe { libc::mincore(map.as_ptr().cast_mut().cast(), map.len(), states.as_mut_ptr()) };
    assert_eq!(failed, 0, "mincore");
    states.iter().filter(|state| *state & 1 == 1).count() as f64 / states.len() as f64
}
