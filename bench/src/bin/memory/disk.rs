//! The disk: random pages of a file larger than memory, by each of the ways to read them. Figures
//! of another machine can be judged by these.
//!
//! A process reads some pages "a query", in a group with less memory than the file.

use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use memmap2::{Advice, Mmap};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::{Deserialize, Serialize};

use crate::cgroup::Cgroup;
use crate::counters::Counters;
use crate::pages::{self, PAGE_BYTES};

/// The first argument of the process that reads.
pub(crate) const ROLE: &str = "read-pages";
/// As the table in `docs/benchmarks/memory` says.
pub(crate) const FILE_BYTES: u64 = 1 << 30;
pub(crate) const MEMORY_BYTES: u64 = 200 << 20;
/// Enough for some hundred reads of the slowest way.
const LASTS: Duration = Duration::from_secs(4);

/// A way to read pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Way {
    Mapped,
    MappedRandom,
    Pread,
    Hints,
    OneHint,
}

/// Ways, and the pages a query.
const TRIED: [(Way, usize); 7] = [
    (Way::MappedRandom, 1),
    (Way::Mapped, 25),
    (Way::MappedRandom, 25),
    (Way::Pread, 25),
    (Way::Hints, 25),
    (Way::OneHint, 25),
    (Way::OneHint, 100),
];

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mapped => "mapped",
            Self::MappedRandom => "mapped, RANDOM, one fault after the other",
            Self::Pread => "`pread`, one after the other",
            Self::Hints => "mapped, RANDOM, a WILLNEED for each page, then touched",
            Self::OneHint => {
                "mapped, RANDOM, one `process_madvise(WILLNEED)` for all, then touched"
            }
        })
    }
}

/// What a way has reached.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Reading {
    pub(crate) way: Way,
    /// Pages a query.
    pub(crate) pages: usize,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Queries per second.
    pub(crate) qps: f64,
    /// The bytes that were read from the disk, a query: some pages were in memory.
    pub(crate) read_bytes: f64,
}

impl Reading {
    /// The pages that the disk has read in a second.
    pub(crate) fn pages_a_second(&self) -> f64 {
        self.qps * self.read_bytes / PAGE_BYTES as f64
    }
}

/// Measures all ways, on a file in `folder` that is written if it is missing.
///
/// # Errors
/// Those of [`Cgroup::new`].
pub(crate) fn measure(folder: &Path) -> Result<Vec<Reading>, String> {
    println!("the disk: about {} seconds", TRIED.len() as u64 * (LASTS.as_secs() + 1));
    let path = folder.join("disk.bin");
    if std::fs::metadata(&path).map_or(0, |file| file.len()) != FILE_BYTES {
        let mut file = File::create(&path).expect("a file");
        // Random, as a disk may keep equal blocks once.
        let mut rng = StdRng::seed_from_u64(0);
        let mut block = vec![0; 1 << 20];
        for _ in 0..FILE_BYTES >> 20 {
            rng.fill(&mut block[..]);
            file.write_all(&block).expect("to write");
        }
    }
    let mut readings = Vec::new();
    for (number, (way, pages)) in TRIED.into_iter().enumerate() {
        pages::drop_files(std::slice::from_ref(&path));
        let group = Cgroup::new(MEMORY_BYTES)?;
        let mut command = Command::new(std::env::current_exe().expect("a path"));
        command.args([ROLE, path.to_str().expect("a path in UTF-8"), &number.to_string()]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a process");
        group.join(child.id());
        // It waits for the end of its input.
        drop(child.stdin.take());
        let output = child.wait_with_output().expect("a process");
        let reading: Reading = serde_json::from_slice(&output.stdout).expect("a reading");
        println!(
            "  {pages} pages a query, {way}: p50 {:.3} ms, p99 {:.2}, {:.0} queries a second, \
             {:.0} KB a query",
            reading.p50_ms,
            reading.p99_ms,
            reading.qps,
            reading.read_bytes / 1e3
        );
        readings.push(reading);
    }
    Ok(readings)
}

/// The process that reads.
pub(crate) fn play(path: &str, number: &str) {
    std::io::stdin().lines().for_each(drop);
    let (way, pages) = TRIED[number.parse::<usize>().expect("a number")];
    let reader = Reader::open(Path::new(path), way);
    let mut rng = StdRng::seed_from_u64(1);
    let mut took = Vec::new();
    let before = Counters::of(std::process::id());
    let start = Instant::now();
    while start.elapsed() < LASTS {
        let offsets: Vec<u64> =
            (0..pages).map(|_| rng.random_range(0..FILE_BYTES / PAGE_BYTES) * PAGE_BYTES).collect();
        let began = Instant::now();
        std::hint::black_box(reader.read(&offsets));
        took.push(began.elapsed());
    }
    let seconds = start.elapsed().as_secs_f64();
    let read = (Counters::of(std::process::id()) - before).read_bytes;
    took.sort_unstable();
    let ms = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    let count = took.len() as f64;
    let reading = Reading {
        way,
        pages,
        p50_ms: ms(0.5),
        p99_ms: ms(0.99),
        qps: count / seconds,
        read_bytes: read as f64 / count,
    };
    println!("{}", serde_json::to_string(&reading).expect("JSON"));
}

struct Reader {
    way: Way,
    file: File,
    map: Mmap,
    /// Of this process, for `process_madvise`.
    process: i32,
}

impl Reader {
    fn open(path: &Path, way: Way) -> Self {
        let file = File::open(path).expect("a file");
        // SAFETY: nobody writes to the file.
        let map = unsafe { Mmap::map(&file) }.expect("a map");
        if !matches!(way, Way::Mapped | Way::Pread) {
            map.advise(Advice::Random).expect("advice");
        }
        // SAFETY: a system call without memory.
        let process = unsafe { libc::syscall(libc::SYS_pidfd_open, std::process::id(), 0) };
        Self { way, file, map, process: process as i32 }
    }

    /// The sum of a byte of each page.
    fn read(&self, offsets: &[u64]) -> u64 {
        match self.way {
            Way::Pread => {
                let mut page = [0; PAGE_BYTES as usize];
                let one = |offset: &u64| {
                    self.file.read_exact_at(&mut page, *offset).expect("to read");
                    u64::from(page[0])
                };
                return offsets.iter().map(one).sum();
            }
            Way::Hints => {
                for offset in offsets {
                    self.map
                        .advise_range(Advice::WillNeed, *offset as usize, PAGE_BYTES as usize)
                        .expect("advice");
                }
            }
            Way::OneHint => self.hint(offsets),
            Way::Mapped | Way::MappedRandom => {}
        }
        offsets.iter().map(|offset| u64::from(self.map[*offset as usize])).sum()
    }

    fn hint(&self, offsets: &[u64]) {
        let range = |offset: &u64| libc::iovec {
            iov_base: self.map[*offset as usize..].as_ptr().cast_mut().cast(),
            iov_len: PAGE_BYTES as usize,
        };
        let ranges: Vec<libc::iovec> = offsets.iter().map(range).collect();
        // SAFETY: advice on ranges of the map of this process.
        let done = unsafe {
            libc::syscall(
                libc::SYS_process_madvise,
                self.process,
                ranges.as_ptr(),
                ranges.len(),
                libc::MADV_WILLNEED,
                0,
            )
        };
        assert_eq!(done, (ranges.len() as u64 * PAGE_BYTES) as i64, "process_madvise");
    }
}
