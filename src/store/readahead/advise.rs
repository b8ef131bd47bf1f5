//! The system calls: advice that pages will be needed, whether a page is in memory, how often this
//! thread has waited for one, and what the program has freed, for others to use.
//!
//! Advice starts the reads and returns; a page that is touched before it has arrived is waited for.
//! Linux takes a batch of runs in one call, `process_madvise`, where that is allowed: before Linux
//! 6.13, only to processes with `CAP_SYS_NICE`. Otherwise, and on other Unixes, it is a call for
//! each run; elsewhere nothing. Errors are ignored: advice must not fail a search.
//!
//! Addresses need not be those of the map: for memory of other kinds the calls do nothing that can
//! be noticed. So nothing here depends on what a damaged file says.

use std::fs::{self, File};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// A range of addresses, whole pages.
pub(super) type Addresses = Range<usize>;

pub(super) use self::system::{major_faults, page_out, page_shift, will_need};

/// Gives the memory that the program has freed back to the system, where the allocator keeps it
/// otherwise: glibc does.
pub(super) fn release_freed() {
    // SAFETY: it takes no pointer, locks what it changes, and touches nothing that is in use.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Whether the system tells this process what is in memory: only those who may write a file.
static IS_TOLD: AtomicBool = AtomicBool::new(true);

/// Takes note that a file may not be written by this process.
pub(super) fn cannot_tell() {
    IS_TOLD.store(false, Ordering::Relaxed);
}

/// Whether the page at an address is in memory. `None` if that is unknown.
pub(super) fn is_resident(address: usize) -> Option<bool> {
    if IS_TOLD.load(Ordering::Relaxed) { system::is_resident(address) } else { None }
}

/// Whether each page of a range, by its number, is in memory, in `out`; nothing if that is unknown.
pub(super) fn residents(pages: Range<usize>, out: &mut Vec<bool>) {
    out.clear();
    if IS_TOLD.load(Ordering::Relaxed) {
        system::residents(pages, out);
    }
}

/// A file that is mapped.
#[derive(Debug)]
pub(super) struct Mapped {
    file: File,
    /// The addresses that it is mapped at, and where in the file these begin.
    addresses: Addresses,
    offset: u64,
}

impl Mapped {
    /// The file that is mapped at an address, by what the system tells this process.
    pub(super) fn at(address: usize) -> Option<Self> {
        if !IS_TOLD.load(Ordering::Relaxed) {
            return None;
        }
        let maps = fs::read_to_string("/proc/self/maps").ok()?;
        let (addresses, offset, path) =
            maps.lines().filter_map(mapping).find(|(range, ..)| range.contains(&address))?;
        let file = File::open(path).ok()?;
        // A page that is not there is read alone.
        system::reads_at_random(&file);
        Some(Self { file, addresses, offset })
    }

    /// Tells the system that the page at an address has been used; `false` if it is not in memory,
    /// `None` if the system cannot be told.
    pub(super) fn use_page(&self, address: usize) -> Option<bool> {
        let at = address.checked_sub(self.addresses.start)?;
        if address >= self.addresses.end {
            return None;
        }
        system::use_page(&self.file, self.offset + at as u64)
    }
}

/// A line of `/proc/self/maps`: addresses, offset and path.
fn mapping(line: &str) -> Option<(Addresses, u64, &str)> {
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let hex = |digits| usize::from_str_radix(digits, 16).ok();
    let offset = u64::from_str_radix(fields.nth(1)?, 16).ok()?;
    let path = fields.nth(2)?.trim_start();
    path.starts_with('/').then_some((hex(start)?..hex(end)?, offset, path))
}

/// Advises runs by `many`, which takes any number and returns the bytes that it has advised, or
/// `None` if it is refused for good; and by `one`, those that it does not take. Returns whether
/// `many` may be used again.
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "others have one way only"))]
fn advise(
    mut runs: &[Addresses],
    mut many: impl FnMut(&[Addresses]) -> Option<usize>,
    mut one: impl FnMut(&Addresses),
) -> bool {
    while !runs.is_empty() {
        let Some(mut advised) = many(runs) else {
            runs.iter().for_each(one);
            return false;
        };
        let is_done = |run: &&Addresses| {
            let left = advised.checked_sub(run.len());
            advised = left.unwrap_or(0);
            left.is_some()
        };
        let done = runs.iter().take_while(is_done).count();
        // It has stopped at a run that it cannot read, as it is not mapped.
        let Some((stopped, others)) = runs[done..].split_first() else { return true };
        one(stopped);
        runs = others;
    }
    true
}

#[cfg(target_os = "linux")]
mod system {
    use std::fs::File;
    use std::io::ErrorKind;
    use std::ops::Range;
    use std::os::fd::AsRawFd;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::{Addresses, advise};

    /// The most runs of a call: 2 KiB of the stack.
    const MAX_RUNS: usize = 128;
    /// [`THIS_PROCESS`] before it is first needed, and once it is known that there is no such call.
    const UNKNOWN: u64 = 0;
    const REFUSED: u64 = u64::MAX;

    /// The file descriptor that stands for this process, and the id of the process that has opened
    /// it: in a fork it stands for the parent.
    static THIS_PROCESS: AtomicU64 = AtomicU64::new(UNKNOWN);

    /// The binary logarithm of the bytes of a page.
    pub(in crate::store::readahead) fn page_shift() -> u32 {
        static SHIFT: OnceLock<u32> = OnceLock::new();
        *SHIFT.get_or_init(|| {
            // SAFETY: it reads a constant of the system.
            let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
            u64::try_from(bytes).ok().filter(|bytes| bytes.is_power_of_two()).map_or(12, u64::ilog2)
        })
    }

    /// What is said of pages.
    #[derive(Clone, Copy)]
    enum Advice {
        WillNeed = libc::MADV_WILLNEED as isize,
        PageOut = libc::MADV_PAGEOUT as isize,
    }

    /// Starts reading pages that are not in memory.
    pub(in crate::store::readahead) fn will_need(runs: &[Addresses]) {
        send(runs, Advice::WillNeed);
    }

    /// Takes pages out of memory that no other process maps. Their content stays.
    pub(in crate::store::readahead) fn page_out(runs: &[Addresses]) {
        send(runs, Advice::PageOut);
    }

    fn send(runs: &[Addresses], advice: Advice) {
        let one = |run: &Addresses| advise_one(run, advice);
        for runs in runs.chunks(MAX_RUNS) {
            if let [run] = runs {
                one(run);
            } else if !advise(runs, |runs| advise_many(runs, advice), one) {
                THIS_PROCESS.store(REFUSED, Ordering::Relaxed);
            }
        }
    }

    fn advise_one(run: &Addresses, advice: Advice) {
        // SAFETY: neither advice changes what is in memory, whatever lies at the addresses.
        unsafe { libc::madvise(run.start as *mut _, run.len(), advice as libc::c_int) };
    }

    fn advise_many(runs: &[Addresses], advice: Advice) -> Option<usize> {
        let process = this_process()?;
        let nothing = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        let mut ranges = [nothing; MAX_RUNS];
        let count = runs.len().min(MAX_RUNS);
        for (range, run) in ranges.iter_mut().zip(runs) {
            *range = libc::iovec { iov_base: run.start as *mut _, iov_len: run.len() };
        }
        // SAFETY: there are as many ranges as it says, and neither advice changes what is in
        // memory, whatever lies at their addresses.
        let advised = unsafe {
            libc::syscall(
                libc::SYS_process_madvise,
                process,
                ranges.as_ptr(),
                count,
                advice as libc::c_int,
                0,
            )
        };
        match usize::try_from(advised) {
            Ok(advised) => Some(advised),
            // The first run is not mapped.
            Err(_) if std::io::Error::last_os_error().raw_os_error() == Some(libc::ENOMEM) => {
                Some(0)
            }
            Err(_) => None,
        }
    }

    /// A file descriptor for this process. `None` if there is no such call.
    fn this_process() -> Option<libc::c_int> {
        let (process, known) = (std::process::id(), THIS_PROCESS.load(Ordering::Relaxed));
        if known == REFUSED {
            return None;
        }
        if known != UNKNOWN && (known >> 32) as u32 == process {
            return Some(known as u32 as libc::c_int);
        }
        // SAFETY: it opens a file descriptor, which other processes do not inherit, for this
        // process.
        let opened = unsafe { libc::syscall(libc::SYS_pidfd_open, process, 0) };
        let opened = libc::c_int::try_from(opened).unwrap_or(-1);
        if opened < 0 {
            THIS_PROCESS.store(REFUSED, Ordering::Relaxed);
            return None;
        }
        let new = u64::from(process) << 32 | u64::from(opened as u32);
        match THIS_PROCESS.compare_exchange(known, new, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => Some(opened),
            Err(other) => {
                // SAFETY: it was opened above, and nothing else knows it.
                unsafe { libc::close(opened) };
                // Another thread of this process was quicker, or its call was refused.
                (other != REFUSED).then_some(other as u32 as libc::c_int)
            }
        }
    }

    /// Whether the page at an address is in memory.
    pub(in crate::store::readahead) fn is_resident(address: usize) -> Option<bool> {
        let mut state = 0u8;
        let start = address >> page_shift() << page_shift();
        // SAFETY: there is room for the state of one page, and one byte is of one page.
        let result = unsafe { libc::mincore(start as *mut _, 1, &raw mut state) };
        (result == 0).then_some(state & 1 == 1)
    }

    /// Appends whether each page is in memory; nothing if that is unknown.
    pub(in crate::store::readahead) fn residents(pages: Range<usize>, out: &mut Vec<bool>) {
        let mut states = vec![0u8; pages.len()];
        let (start, length) = (pages.start << page_shift(), pages.len() << page_shift());
        // SAFETY: there is room for the states of as many pages.
        let result = unsafe { libc::mincore(start as *mut _, length, states.as_mut_ptr()) };
        if result == 0 {
            out.extend(states.iter().map(|state| state & 1 == 1));
        }
    }

    /// A read of a file is not followed by reads of what lies behind it.
    pub(in crate::store::readahead) fn reads_at_random(file: &File) {
        // SAFETY: it is advice, for the descriptor of an open file.
        unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_RANDOM) };
    }

    /// Reads a byte of a file if its page is in memory, by which the system takes note that the
    /// page is used; `false` if it is not there, `None` if there is no such call.
    pub(in crate::store::readahead) fn use_page(file: &File, offset: u64) -> Option<bool> {
        let mut byte = 0u8;
        let range = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        let offset = offset.try_into().ok()?;
        // SAFETY: there is room for one byte, and the descriptor is that of an open file.
        let read = unsafe {
            libc::preadv2(file.as_raw_fd(), &raw const range, 1, offset, libc::RWF_NOWAIT)
        };
        match read {
            0.. => Some(true),
            _ if std::io::Error::last_os_error().kind() == ErrorKind::WouldBlock => Some(false),
            _ => None,
        }
    }

    /// How often this thread has waited for the disk because of a page that it has touched.
    pub(in crate::store::readahead) fn major_faults() -> u64 {
        // SAFETY: zeros are a valid `rusage`.
        let mut usage = unsafe { std::mem::zeroed::<libc::rusage>() };
        // SAFETY: there is room for the result.
        let result = unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
        if result == 0 { usage.ru_majflt.try_into().unwrap_or(0) } else { 0 }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::Addresses;

    pub(in crate::store::readahead) fn page_shift() -> u32 {
        // Multiples of smaller pages are whole pages, and of larger ones some are.
        14
    }

    /// Starts reading pages that are not in memory.
    #[cfg(unix)]
    pub(in crate::store::readahead) fn will_need(runs: &[Addresses]) {
        for run in runs {
            // SAFETY: this advice changes no memory, whatever lies at the addresses.
            unsafe { libc::madvise(run.start as *mut _, run.len(), libc::MADV_WILLNEED) };
        }
    }

    /// There is no such call, or none that is as cheap as reading.
    #[cfg(not(unix))]
    pub(in crate::store::readahead) fn will_need(_runs: &[Addresses]) {}

    /// There is no such call.
    pub(in crate::store::readahead) fn page_out(_runs: &[Addresses]) {}

    /// Unknown.
    pub(in crate::store::readahead) fn is_resident(_address: usize) -> Option<bool> {
        None
    }

    /// Unknown.
    pub(in crate::store::readahead) fn residents(
        _pages: std::ops::Range<usize>,
        _out: &mut Vec<bool>,
    ) {
    }

    /// Nothing.
    pub(in crate::store::readahead) fn reads_at_random(_file: &std::fs::File) {}

    /// There is no such call.
    pub(in crate::store::readahead) fn use_page(
        _file: &std::fs::File,
        _offset: u64,
    ) -> Option<bool> {
        None
    }

    /// Unknown.
    pub(in crate::store::readahead) fn major_faults() -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Advises runs by calls that end at certain addresses; returns what was advised by the call
    /// for many, and by that for one.
    fn advised(runs: &[Addresses], ends: &[usize], refuses: bool) -> (Vec<usize>, Vec<usize>) {
        let (many, one) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
        let may_go_on = advise(
            runs,
            |runs| {
                if refuses {
                    return None;
                }
                let runs: Vec<_> = runs.iter().take(3).collect();
                let taken = runs.iter().take_while(|run| !ends.contains(&run.start));
                let taken: Vec<_> = taken.map(|run| run.start).collect();
                many.borrow_mut().extend(&taken);
                Some(runs.iter().take(taken.len()).map(|run| run.len()).sum())
            },
            |run| one.borrow_mut().push(run.start),
        );
        assert_eq!(may_go_on, !refuses);
        (many.into_inner(), one.into_inner())
    }

    #[test]
    fn a_line_of_the_map_of_a_process_is_read() {
        let line = "7f0000001000-7f0000003000 r--s 00002000 fe:00 1234     /a folder/data.mdb";
        let (addresses, offset, path) = mapping(line).unwrap();
        assert_eq!((addresses, offset), (0x7f00_0000_1000..0x7f00_0000_3000, 0x2000));
        assert_eq!(path, "/a folder/data.mdb");
        for other in ["", "7f00-", "7f00-7f01 rw-p 00000000 00:00 0 ", "x-y r--s 0 0 0 /a"] {
            assert_eq!(mapping(other), None, "{other:?}");
        }
    }

    /// The program itself is a mapped file, and this page of it is in memory.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_page_in_memory_is_used() {
        let here = a_page_in_memory_is_used as fn() as usize;
        let program = Mapped::at(here).unwrap();
        assert_ne!(program.use_page(here), Some(false));
        assert_eq!(program.use_page(0), None);
        assert_eq!(program.use_page(usize::MAX), None);
        assert!(Mapped::at(0).is_none());
    }

    #[test]
    fn every_run_is_advised_whatever_the_call_for_many_takes() {
        let runs: Vec<Addresses> = (0..8).map(|run| run * 100..run * 100 + 10 + run).collect();
        let starts: Vec<usize> = runs.iter().map(|run| run.start).collect();
        let (many, one) = advised(&runs, &[], true);
        assert_eq!((many, one), (vec![], starts.clone()), "each by itself, once it is refused");
        for ends in [vec![], vec![0], vec![700], vec![300, 400], starts.clone()] {
            let (many, one) = advised(&runs, &ends, false);
            let mut all = [many, one.clone()].concat();
            all.sort_unstable();
            assert_eq!(all, starts, "{ends:?}");
            assert!(ends.iter().all(|end| one.contains(end)), "{ends:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn advice_on_any_address_is_harmless() {
        let bytes = vec![1u8; 1 << 16];
        let at = bytes.as_ptr().addr();
        let start = at.next_multiple_of(1 << page_shift());
        let pages = |pages: Addresses| (pages.start << page_shift())..(pages.end << page_shift());
        will_need(&[
            start..start + (1 << page_shift()),
            pages(5..6),
            pages(1 << 40..(1 << 40) + 1),
        ]);
        will_need(&[pages(7..9)]);
        page_out(&[start..start + (1 << page_shift()), pages(5..6)]);
        page_out(&[pages(7..9)]);
        assert!(bytes.iter().all(|byte| *byte == 1));
        assert_eq!(is_resident(at), Some(true), "it was written just now");
        assert_eq!(is_resident(5 << page_shift()), None, "nothing is there");
        release_freed();
        assert!(bytes.iter().all(|byte| *byte == 1));
        major_faults();
    }
}
