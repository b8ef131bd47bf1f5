//! What the system has counted for a process.

use std::fs;
use std::ops::{Add, Sub};
use std::path::PathBuf;

use voisin_bench::usage::number;

/// Counts since the process began, over all its threads.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counters {
    /// Page faults that had to wait for the disk. One that finds its page on the way, as somebody
    /// has asked for it before, is none: bytes are the measure of reading.
    pub(crate) major_faults: u64,
    /// The bytes that it has had read from the disk, by calls, by page faults, and ahead of both,
    /// whatever for.
    pub(crate) read_bytes: u64,
}

impl Counters {
    pub(crate) fn of(process: u32) -> Self {
        let file = |name: &str| PathBuf::from(format!("/proc/{process}/{name}"));
        let stat = fs::read_to_string(file("stat")).expect("the statistics of a process");
        // The name of the program, in parentheses, may have spaces. The 12th field is the number of
        // major faults, the third follows the name.
        let (_, fields) = stat.rsplit_once(')').expect("a name");
        let major = fields.split_whitespace().nth(9).and_then(|count| count.parse().ok());
        Self {
            major_faults: major.expect("a number"),
            read_bytes: number(&file("io"), "read_bytes:").expect("a number"),
        }
    }
}

impl Sub for Counters {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            major_faults: self.major_faults - before.major_faults,
            read_bytes: self.read_bytes - before.read_bytes,
        }
    }
}

impl Add for Counters {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            major_faults: self.major_faults + other.major_faults,
            read_bytes: self.read_bytes + other.read_bytes,
        }
    }
}

/// The memory that belongs to a process alone: anonymous memory, in bytes.
pub(crate) fn own_bytes(process: u32) -> u64 {
    let status = PathBuf::from(format!("/proc/{process}/status"));
    number(&status, "RssAnon:").map_or(0, |kilobytes| kilobytes * 1024)
}
