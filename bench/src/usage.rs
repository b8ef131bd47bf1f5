//! The resources that a process has used, as counted by the system. Linux only.

use std::fs;
use std::path::Path;

use rustix::time::{ClockId, clock_gettime};

/// The processor time of all threads of this process, in seconds.
pub fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The bytes that a process has given to the system to write, from its `io` file. Not
/// `write_bytes`, which counts a whole folio of the page cache for every page in it that is
/// written: up to 2 MB for 4 KB.
pub fn written_bytes(io: &Path) -> Option<u64> {
    number(io, "wchar:")
}

/// The number after a word at the beginning of a line.
pub fn number(file: &Path, word: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(word))?.split_whitespace().next()?.parse().ok()
}
