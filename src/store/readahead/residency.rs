//! What of an index is believed to be in memory, so that searches ask for the rest before they read
//! it, and for nothing once all is there.
//!
//! A file that **fits** into the budget of memory is warmed: each search of a cold index has a few
//! megabytes read, the hot part first, until all has been. From then on this module costs a search
//! one load, and some searches are watched: if they wait for the disk after all, the index is cold
//! again. Whether it is cold in the first place is sampled.
//!
//! A file that **exceeds** the budget has its hot part warmed alike, and stays cold: searches
//! remember the pages that they have touched or asked for, in this epoch or the last, and believe
//! that these are in memory. Others are looked at by a system call each, and asked for if they are
//! not there. An epoch ends when a share of the budget has been read. That share follows from looks
//! at some of the believed pages: a wrong belief costs a page fault, which takes as long as dozens
//! of looks, so one in a hundred may be wrong. So the account follows what the system does, whoever
//! else uses the memory: other processes that search the same file, or anything else.
//!
//! The vectors that a search reranks are rarely read again soon, and there are many of them: kept,
//! they would take the place of the codes and lists that every search touches. So a search of
//! a file that exceeds the budget has their pages taken out of memory when it ends, unless another
//! search has read them in this epoch or the last.
//!
//! Linux does not see what is touched through a map that is read at random: it would drop pages in
//! the order in which they were read, those first that every search touches. So some searches say
//! what they have touched, by a read of a byte of each page.
//!
//! Pages are known by their addresses. The map of a file is one range of addresses, so their lowest
//! bits tell its pages apart, as long as there are more places than pages; beyond, two pages share
//! a bit, and a belief may be wrong.

use std::cell::Cell;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use super::advise::{self, Mapped};
use super::runs::Runs;
use crate::format::Key;

/// A file of at most this share of the budget fits: programs have memory of their own.
const FITS_EIGHTHS: u64 = 7;
/// At most this share of the budget is warmed of a file that exceeds it: what is read for single
/// searches needs room, too.
const WARMED_EIGHTHS: u64 = 6;
/// The most pages that are told apart: those of 512 GiB, in 16 MiB for each epoch, of which the
/// system provides what is used: a bit for a page.
const MAX_PAGES: usize = 1 << 27;
const MIN_PAGES: usize = 1 << 20;
/// At every n-th question whether pages are there, one that is believed to be is looked at: about
/// ten times a search.
const QUESTIONS_AN_AUDIT: u32 = 16;
/// Epochs become longer if of so many pages looked at, at most [`FEW_WRONG`] were gone, and shorter
/// if more than [`MANY_WRONG`] were.
const AUDITS: u32 = 1024;
const FEW_WRONG: u32 = 4;
const MANY_WRONG: u32 = 12;
/// A thread that has read more pages for its part of a search than this has all but the last of
/// them taken out of memory before it reads more.
const MOST_TRANSIENT: usize = 1024;
/// The budget is at first so many epochs long, at least and at most.
const EPOCHS: u64 = 8;
const MIN_EPOCHS: u64 = 2;
const MAX_EPOCHS: u64 = 1024;
/// Who can look at everything at once does so when this fraction (1/64) of the budget has been read
/// since the last time.
const LOOK_DIVISOR: u64 = 64;
/// Every n-th search of a warm index by a thread is watched.
const SEARCHES_A_WATCH: u32 = 256;
/// A search that has waited for this many pages is not one of a warm index.
const MANY_FAULTS: u64 = 4;
/// An index that has become cold so often, each time within [`RELAPSE`] of the last, does not fit,
/// whatever the budget.
const MAX_RELAPSES: u32 = 3;
const RELAPSE: Duration = Duration::from_secs(60);

/// Every n-th search of a cold index by a thread tells the system what it has used: often enough
/// that a page which most searches touch is used several times before memory has been filled anew.
/// A search that tells takes half a millisecond longer.
const SEARCHES_A_REPORT: u32 = 16;
/// Looks and reports are so many times as rare while beliefs are right and epochs as long as they
/// can be: memory is large enough for what searches touch.
const CALM_FACTOR: u32 = 4;

/// States of [`Residency::state`].
const UNKNOWN: u8 = 0;
const WARM: u8 = 1;
const COLD: u8 = 2;

thread_local! {
    /// The number of questions, and of searches of warm indexes.
    static QUESTIONS: Cell<u32> = const { Cell::new(0) };
    static SEARCHES: Cell<u32> = const { Cell::new(0) };
    /// The number of searches of cold indexes, whether this one remembers the pages that it
    /// touches, and these.
    static COLD_SEARCHES: Cell<u32> = const { Cell::new(0) };
    static REMEMBERS: Cell<bool> = const { Cell::new(false) };
    static USED: Cell<Vec<usize>> = const { Cell::new(Vec::new()) };
    /// The pages to take out of memory when this thread's part of a search ends.
    static TRANSIENT: Cell<Vec<usize>> = const { Cell::new(Vec::new()) };
}

/// The residency of an index: see the module.
#[derive(Debug)]
pub(crate) struct Residency {
    state: AtomicU8,
    budget_bytes: u64,
    fits: AtomicBool,
    /// How often the index has become cold after it was warm, and when.
    relapses: Mutex<(u32, Option<Instant>)>,
    seen: OnceLock<Seen>,
    /// The pages of vectors that were reranked, which nobody believes to be in memory.
    reranked: OnceLock<Seen>,
    /// Bytes of the file when it was last looked at.
    file_bytes: AtomicU64,
    /// Pages asked for in this epoch, and how many end it.
    asked: AtomicU64,
    asked_since_look: AtomicU64,
    asked_in_all: AtomicU64,
    /// The file, once a search has had something to tell of it; `None` in it if that failed.
    file: Mutex<Option<Option<Mapped>>>,
    epoch: AtomicU64,
    audits: AtomicU32,
    wrong: AtomicU32,
    /// See [`CALM_FACTOR`].
    is_calm: AtomicBool,
    warming: Mutex<Warming>,
}

/// How warm an index is: see [`Residency::temperature`].
#[derive(Debug)]
pub(crate) enum Temperature<'r> {
    /// All is in memory.
    Warm,
    /// The same, as far as is known; this search is one of those that are watched.
    Watched(Watch<'r>),
    /// The search must ask for what it reads.
    Cold(&'r Residency),
}

/// A search that is watched, to find out whether the index is warm.
#[derive(Debug)]
pub(crate) struct Watch<'r> {
    residency: &'r Residency,
    /// The page faults of the thread when it began.
    faults: u64,
}

impl Watch<'_> {
    /// The search has ended.
    pub(crate) fn end(self) {
        if advise::major_faults().saturating_sub(self.faults) >= MANY_FAULTS {
            self.residency.relapse();
        }
    }
}

/// How many pages were asked for so far, by any thread, and read by faults of this one.
pub(crate) fn pages_read(residency: Option<&Residency>) -> u64 {
    let asked = residency.map_or(0, |residency| residency.asked_in_all.load(Ordering::Relaxed));
    asked + advise::major_faults()
}

/// A search of a cold index, which may remember the pages that it touches.
#[derive(Debug)]
pub(crate) struct Remembering<'r> {
    residency: &'r Residency,
    _part: Part,
}

impl Drop for Remembering<'_> {
    /// Reports them, even if a predicate has panicked.
    fn drop(&mut self) {
        if REMEMBERS.replace(false) {
            self.residency.report();
        }
    }
}

/// A thread's part of a search of a cold index.
#[derive(Debug)]
pub(crate) struct Part;

impl Drop for Part {
    /// Has the pages that were read for this search alone taken out of memory, even if a predicate
    /// has panicked.
    fn drop(&mut self) {
        drop_transient(0);
    }
}

/// Has all but the last of the pages that this thread has read for one search taken out of memory.
fn drop_transient(kept: usize) {
    let mut transient = TRANSIENT.take();
    let dropped = transient.len().saturating_sub(kept);
    super::drop_pages(transient.drain(..dropped));
    TRANSIENT.set(transient);
}

/// Remembers pages that a search touches.
#[cold]
fn remember(pages: Range<usize>) {
    let mut used = USED.take();
    used.extend(pages);
    USED.set(used);
}

/// Locks a mutex whose content is valid even after a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How far the index has been warmed.
#[derive(Debug, Default)]
pub(crate) struct Warming {
    /// The range of keys that is being read, counted from the first.
    pub(crate) stage: usize,
    /// The next key of it. `None`: the first.
    pub(crate) next: Option<Key>,
    /// Bytes of the values that have been asked for.
    pub(crate) bytes: u64,
    pub(crate) is_done: bool,
}

impl Residency {
    /// For a handle whose budget of memory is this.
    pub(crate) fn new(budget_bytes: u64) -> Self {
        Self {
            state: AtomicU8::new(UNKNOWN),
            budget_bytes,
            fits: AtomicBool::new(true),
            relapses: Mutex::default(),
            seen: OnceLock::new(),
            reranked: OnceLock::new(),
            file_bytes: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            asked_since_look: AtomicU64::new(0),
            asked_in_all: AtomicU64::new(0),
            file: Mutex::default(),
            epoch: AtomicU64::new((budget_bytes >> advise::page_shift()) / EPOCHS),
            audits: AtomicU32::new(0),
            wrong: AtomicU32::new(0),
            is_calm: AtomicBool::new(false),
            warming: Mutex::default(),
        }
    }

    /// Takes note of the length of the file, once a commit.
    pub(crate) fn observe(&self, file_bytes: u64) {
        self.file_bytes.store(file_bytes, Ordering::Relaxed);
        let fits = file_bytes <= self.budget_bytes / 8 * FITS_EIGHTHS
            && lock(&self.relapses).0 < MAX_RELAPSES;
        let did_fit = self.fits.swap(fits, Ordering::Relaxed);
        if !fits {
            self.state.store(COLD, Ordering::Relaxed);
        } else if !did_fit {
            *lock(&self.warming) = Warming::default();
            self.state.store(UNKNOWN, Ordering::Relaxed);
        }
    }

    /// How warm the index is for a search that begins.
    #[inline]
    pub(crate) fn temperature(&self) -> Temperature<'_> {
        if self.state.load(Ordering::Relaxed) != WARM {
            return Temperature::Cold(self);
        }
        let count = SEARCHES.get();
        SEARCHES.set(count.wrapping_add(1));
        if !count.is_multiple_of(SEARCHES_A_WATCH) {
            return Temperature::Warm;
        }
        Temperature::Watched(Watch { residency: self, faults: advise::major_faults() })
    }

    /// Whether the whole file fits into the budget.
    pub(crate) fn fits(&self) -> bool {
        self.fits.load(Ordering::Relaxed)
    }

    /// Whether it has to be found out whether the index is in memory.
    pub(crate) fn is_unknown(&self) -> bool {
        self.state.load(Ordering::Relaxed) == UNKNOWN
    }

    /// Sets the result of a sample.
    pub(crate) fn set_warm(&self, is_warm: bool) {
        self.state.store(if is_warm { WARM } else { COLD }, Ordering::Relaxed);
    }

    /// Bytes of the index that may be read ahead of searches.
    pub(crate) fn warmable_bytes(&self) -> u64 {
        if self.fits() { u64::MAX } else { self.budget_bytes / 8 * WARMED_EIGHTHS }
    }

    /// How far the index has been warmed, unless another thread is at it.
    pub(crate) fn warming(&self) -> Option<MutexGuard<'_, Warming>> {
        match self.warming.try_lock() {
            Ok(warming) => Some(warming),
            Err(TryLockError::Poisoned(warming)) => Some(warming.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
        .filter(|warming| !warming.is_done)
    }

    /// Forgets where pages are: the map is moved.
    pub(crate) fn forget(&self) {
        *lock(&self.file) = None;
        for seen in [&self.seen, &self.reranked].into_iter().filter_map(OnceLock::get) {
            seen.end_epoch();
            seen.end_epoch();
        }
    }

    /// A search of a warm index has waited for the disk: it is cold, or has become so.
    #[cold]
    fn relapse(&self) {
        let mut relapses = lock(&self.relapses);
        let is_again = relapses.1.is_some_and(|last| last.elapsed() < RELAPSE);
        *relapses = (if is_again { relapses.0 + 1 } else { 1 }, Some(Instant::now()));
        if relapses.0 >= MAX_RELAPSES {
            self.fits.store(false, Ordering::Relaxed);
        }
        drop(relapses);
        *lock(&self.warming) = Warming::default();
        self.forget();
        self.state.store(COLD, Ordering::Relaxed);
    }

    fn seen(&self) -> &Seen {
        self.seen.get_or_init(|| self.none_seen())
    }

    fn none_seen(&self) -> Seen {
        let pages = self.file_bytes.load(Ordering::Relaxed) >> advise::page_shift();
        let pages = usize::try_from(pages).unwrap_or(MAX_PAGES).saturating_mul(8);
        Seen::new(pages.next_power_of_two().clamp(MIN_PAGES, MAX_PAGES))
    }

    /// Takes note of pages that a search reads for itself alone, unless others read them, too.
    fn read_for_one(&self, pages: Range<usize>) {
        if self.fits() {
            return;
        }
        let (seen, reranked) = (self.seen(), self.reranked.get_or_init(|| self.none_seen()));
        let mut transient = TRANSIENT.take();
        transient.extend(pages.filter(|page| reranked.add(*page) && !seen.has(*page)));
        TRANSIENT.set(transient);
    }

    /// Whether all pages of some bytes are believed to be in memory.
    #[inline]
    pub(crate) fn has(&self, bytes: Range<usize>) -> bool {
        let seen = self.seen();
        let is_there = pages(bytes.clone()).all(|page| seen.has(page));
        if is_there && REMEMBERS.get() {
            remember(pages(bytes));
        }
        is_there
    }

    /// Until the guard is dropped, a search of this thread remembers the pages that it touches, if
    /// it is one of those that report them.
    pub(crate) fn remember_used(&self) -> Remembering<'_> {
        let count = COLD_SEARCHES.get();
        COLD_SEARCHES.set(count.wrapping_add(1));
        REMEMBERS.set(count.is_multiple_of(self.seldom(SEARCHES_A_REPORT)));
        Remembering { residency: self, _part: self.part() }
    }

    /// Until the guard is dropped, this thread takes part in a search.
    pub(crate) fn part(&self) -> Part {
        Part
    }

    /// A period, made longer while memory is large enough.
    #[inline]
    fn seldom(&self, period: u32) -> u32 {
        if self.is_calm.load(Ordering::Relaxed) { CALM_FACTOR * period } else { period }
    }

    /// Tells the system which pages a search has touched, and forgets those that are gone.
    #[cold]
    fn report(&self) {
        let mut used = USED.take();
        used.sort_unstable();
        used.dedup();
        if let (Some(first), Ok(mut file)) = (used.first(), self.file.try_lock()) {
            let shift = advise::page_shift();
            let file = file.get_or_insert_with(|| Mapped::at(first << shift));
            for page in &used {
                let is_there = file.as_ref().and_then(|file| file.use_page(page << shift));
                match is_there {
                    Some(true) => {}
                    Some(false) => self.seen().remove(*page),
                    None => {
                        *file = None;
                        break;
                    }
                }
            }
        }
        used.clear();
        USED.set(used);
    }

    /// Looks at a page of some bytes that are believed to be in memory, now and then; `false` if it
    /// is not there.
    #[inline]
    pub(crate) fn audit(&self, bytes: Range<usize>) -> bool {
        let count = QUESTIONS.get();
        QUESTIONS.set(count.wrapping_add(1));
        !count.is_multiple_of(self.seldom(QUESTIONS_AN_AUDIT)) || self.look(bytes)
    }

    #[cold]
    fn look(&self, bytes: Range<usize>) -> bool {
        let Some(was_there) = advise::is_resident(bytes.start) else { return true };
        self.audited(was_there);
        if !was_there {
            self.seen().remove(bytes.start >> advise::page_shift());
        }
        was_there
    }

    /// Whether enough has been read since the last look that believed pages may be gone.
    pub(crate) fn has_read_much(&self) -> bool {
        let pages = self.budget_bytes >> advise::page_shift();
        let asked = self.asked_since_look.load(Ordering::Relaxed);
        asked > pages / LOOK_DIVISOR && self.asked_since_look.swap(0, Ordering::Relaxed) > 0
    }

    /// Looks at all pages of some bytes, and forgets those that are not in memory. Costs some 20
    /// ns a page, where a single look costs as much as a system call.
    pub(crate) fn look_at(&self, all: impl Iterator<Item = Range<usize>>) {
        let (seen, mut states) = (self.seen(), Vec::new());
        for pages in all.map(pages) {
            advise::residents(pages.clone(), &mut states);
            let gone = pages.zip(&states).filter(|(_, is_there)| !**is_there);
            gone.for_each(|(page, _)| seen.remove(page));
        }
    }

    /// A batch of hints.
    pub(crate) fn batch(&self) -> Batch<'_> {
        // A part may be of many queries.
        let transient = TRANSIENT.take();
        let is_full = transient.len() > MOST_TRANSIENT;
        TRANSIENT.set(transient);
        if is_full {
            drop_transient(MOST_TRANSIENT / 2);
        }
        Batch { residency: self, runs: Runs::default(), unseen: Vec::new() }
    }

    /// Counts pages asked for.
    fn asked(&self, pages: u64) {
        self.asked_since_look.fetch_add(pages, Ordering::Relaxed);
        self.asked_in_all.fetch_add(pages, Ordering::Relaxed);
        let epoch = self.epoch.load(Ordering::Relaxed);
        if self.asked.fetch_add(pages, Ordering::Relaxed) + pages > epoch {
            self.end_epoch();
        }
    }

    fn end_epoch(&self) {
        self.asked.store(0, Ordering::Relaxed);
        self.seen().end_epoch();
        self.reranked.get().into_iter().for_each(Seen::end_epoch);
    }

    /// Counts a look at a believed page.
    fn audited(&self, was_there: bool) {
        let wrong = u32::from(!was_there);
        let wrong = self.wrong.fetch_add(wrong, Ordering::Relaxed) + wrong;
        let audits = self.audits.fetch_add(1, Ordering::Relaxed) + 1;
        if audits < AUDITS && wrong <= MANY_WRONG {
            return;
        }
        self.audits.store(0, Ordering::Relaxed);
        self.wrong.store(0, Ordering::Relaxed);
        let (pages, epoch) =
            (self.budget_bytes >> advise::page_shift(), self.epoch.load(Ordering::Relaxed));
        if wrong > MANY_WRONG {
            self.epoch.store((epoch * 3 / 4).max(pages / MAX_EPOCHS), Ordering::Relaxed);
            self.end_epoch();
        } else if wrong <= FEW_WRONG {
            self.epoch.store((epoch * 9 / 8 + 1).min(pages / MIN_EPOCHS), Ordering::Relaxed);
        }
        let is_calm = wrong <= FEW_WRONG && epoch >= pages / MIN_EPOCHS;
        self.is_calm.store(is_calm, Ordering::Relaxed);
    }
}

/// The pages that bytes at some addresses lie in.
#[inline]
pub(super) fn pages(bytes: Range<usize>) -> Range<usize> {
    let shift = advise::page_shift();
    if bytes.is_empty() { 0..0 } else { bytes.start >> shift..((bytes.end - 1) >> shift) + 1 }
}

/// Hints that are given in one call: the pages that are not in memory.
pub(crate) struct Batch<'r> {
    residency: &'r Residency,
    runs: Runs,
    /// Pages that have not been seen, to be looked at.
    unseen: Vec<usize>,
}

impl Batch<'_> {
    /// Adds the pages of bytes at some addresses that are neither believed nor found to be in
    /// memory.
    pub(crate) fn add(&mut self, bytes: Range<usize>) {
        let seen = self.residency.seen();
        if REMEMBERS.get() {
            remember(pages(bytes.clone()));
        }
        self.unseen.extend(pages(bytes).filter(|page| seen.add(*page)));
    }

    /// Adds the pages of bytes at some addresses without a look: for those that are rarely read
    /// twice, and leave memory when the search ends.
    pub(crate) fn add_transient(&mut self, bytes: Range<usize>) {
        self.residency.read_for_one(pages(bytes.clone()));
        self.runs.push(pages(bytes));
    }

    /// Starts reading; whether there was something to read. Runs with at most `gap` pages between
    /// them are read in one piece.
    pub(crate) fn send(mut self, gap: usize) -> bool {
        let shift = advise::page_shift();
        for page in self.unseen.drain(..) {
            if advise::is_resident(page << shift) != Some(true) {
                self.runs.push(page..page + 1);
            }
        }
        let runs = self.runs.normalized(gap);
        if !runs.is_empty() {
            super::ask(runs);
            let count: usize = runs.iter().map(Range::len).sum();
            self.residency.asked(count as u64);
        }
        !runs.is_empty()
    }
}

/// The pages seen in this epoch and the last: a bit each, by the lowest bits of the page number.
#[derive(Debug)]
struct Seen {
    epochs: [Box<[AtomicU64]>; 2],
    /// The current one.
    current: AtomicUsize,
    mask: usize,
}

impl Seen {
    /// For a power of two of pages.
    fn new(pages: usize) -> Self {
        let words = pages / 64;
        Self {
            epochs: [bytemuck::zeroed_slice_box(words), bytemuck::zeroed_slice_box(words)],
            current: AtomicUsize::new(0),
            mask: words - 1,
        }
    }

    /// The words of a page, of this epoch and the last, and its bit.
    #[inline]
    fn words(&self, page: usize) -> ([&AtomicU64; 2], u64) {
        let (at, current) = ((page / 64) & self.mask, self.current.load(Ordering::Relaxed) & 1);
        ([&self.epochs[current][at], &self.epochs[1 - current][at]], 1 << (page % 64))
    }

    #[inline]
    fn has(&self, page: usize) -> bool {
        let (words, bit) = self.words(page);
        let [now, last] = words.map(|word| word.load(Ordering::Relaxed) & bit != 0);
        if last && !now {
            words[0].fetch_or(bit, Ordering::Relaxed);
        }
        now | last
    }

    /// Adds a page; `false` if it was there.
    #[inline]
    fn add(&self, page: usize) -> bool {
        let is_new = !self.has(page);
        if is_new {
            let ([now, _], bit) = self.words(page);
            now.fetch_or(bit, Ordering::Relaxed);
        }
        is_new
    }

    /// Forgets a page.
    fn remove(&self, page: usize) {
        let (words, bit) = self.words(page);
        words.iter().for_each(|word| _ = word.fetch_and(!bit, Ordering::Relaxed));
    }

    /// Begins an epoch, and forgets the pages of the one before the last.
    fn end_epoch(&self) {
        let last = 1 - (self.current.load(Ordering::Relaxed) & 1);
        // Reading does not allocate a page of zeros, writing would.
        for word in &self.epochs[last] {
            if word.load(Ordering::Relaxed) != 0 {
                word.store(0, Ordering::Relaxed);
            }
        }
        self.current.store(last, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(pages: Range<usize>) -> Range<usize> {
        let shift = advise::page_shift();
        // Anywhere in the first page, and in the last.
        (pages.start << shift) + 5..(pages.end << shift) - 7
    }

    /// The pages of a batch that are asked for.
    fn asked(residency: &Residency, pages: &[Range<usize>]) -> Vec<usize> {
        let mut batch = residency.batch();
        pages.iter().for_each(|pages| batch.add(bytes(pages.clone())));
        let mut asked = std::mem::take(&mut batch.unseen);
        asked.sort_unstable();
        residency.asked(asked.len() as u64);
        asked
    }

    #[test]
    fn pages_are_asked_for_once_in_two_epochs_and_those_touched_again_no_more() {
        let residency = Residency::new((100 * EPOCHS) << advise::page_shift());
        residency.observe(1 << 40);
        assert!(matches!(residency.temperature(), Temperature::Cold(_)));
        assert!(!residency.has(bytes(3..5)));
        assert_eq!(asked(&residency, &[3..5, 9..10, 4..7]), [3, 4, 5, 6, 9]);
        assert!(residency.has(bytes(3..7)) && !residency.has(bytes(9..11)));
        assert_eq!(asked(&residency, &[3..5, 9..10]), [0; 0]);
        // The first epoch ends.
        assert_eq!(asked(&residency, std::slice::from_ref(&(1000..1099))).len(), 99);
        assert_eq!(
            asked(&residency, std::slice::from_ref(&(3..4))),
            [0; 0],
            "touched in the second"
        );
        assert_eq!(asked(&residency, std::slice::from_ref(&(2000..2101))).len(), 101);
        assert!(residency.has(bytes(3..4)) && !residency.has(bytes(4..5)));
        residency.forget();
        assert!(!residency.has(bytes(3..4)));
    }

    #[test]
    fn epochs_are_as_long_as_beliefs_are_right() {
        let residency = Residency::new(1 << 30);
        residency.observe(2 << 30);
        let epoch = || residency.epoch.load(Ordering::Relaxed);
        let first = epoch();
        asked(&residency, std::slice::from_ref(&(3..4)));
        for audit in 0..10 * AUDITS {
            residency.audited(audit % 128 > 0);
        }
        assert_eq!(epoch(), first, "eight in a thousand are tolerated");
        for audit in 0..10 * AUDITS {
            residency.audited(audit % 2000 > 0);
        }
        assert!(epoch() > 2 * first);
        assert_eq!(residency.seldom(16), 16, "epochs may become longer");
        for audit in 0..4 * AUDITS {
            residency.audited(audit % 2000 > 0);
        }
        assert_eq!((residency.seldom(16), epoch()), (16 * CALM_FACTOR, 4 * first));
        assert!(residency.has(bytes(3..4)));
        // Not touched in between: two epochs end.
        for audit in 0..AUDITS {
            residency.audited(audit % 20 > 0);
        }
        assert!(!residency.has(bytes(3..4)));
        for audit in 0..20 * AUDITS {
            residency.audited(audit % 20 > 0);
        }
        assert!((1..first / 8).contains(&epoch()), "{}", epoch());
        assert_eq!(residency.seldom(16), 16);
        // A page that turns out not to be there is not believed to be.
        asked(&residency, std::slice::from_ref(&(9..10)));
        residency.seen().remove(9);
        assert_eq!(asked(&residency, std::slice::from_ref(&(9..10))), [9]);
    }

    #[test]
    fn what_is_read_for_one_search_leaves_memory_unless_it_is_read_again_or_by_others() {
        let residency = Residency::new(1 << 30);
        residency.observe(2 << 30);
        let read = |pages: Range<usize>| {
            residency.batch().add_transient(bytes(pages));
            TRANSIENT.take()
        };
        assert_eq!(read(5..8), [5, 6, 7]);
        assert_eq!(read(7..9), [8]);
        assert_eq!(read(5..9), [0; 0], "read again");
        assert!(!residency.has(bytes(5..9)), "nobody believes in it");
        assert_eq!(asked(&residency, std::slice::from_ref(&(20..21))), [20]);
        assert_eq!(read(19..22), [19, 21], "read by others");
        residency.end_epoch();
        residency.end_epoch();
        assert_eq!(read(5..7), [5, 6], "long ago");
        residency.forget();
        assert_eq!(read(5..7), [5, 6]);
        residency.observe(1 << 20);
        assert_eq!(read(30..40), [0; 0], "it fits");

        // A thread that never ends a search itself.
        residency.observe(2 << 30);
        for search in 1..20 {
            residency.batch().add_transient(bytes(1000 * search..1000 * search + 200));
        }
        let transient = TRANSIENT.take();
        assert!((1..=MOST_TRANSIENT + 200).contains(&transient.len()), "{}", transient.len());
        assert_eq!(transient.last(), Some(&19_199));
    }

    #[test]
    fn an_index_that_becomes_cold_again_and_again_does_not_fit() {
        let residency = Residency::new(1 << 30);
        residency.observe(1 << 20);
        assert!(residency.fits() && residency.is_unknown());
        residency.set_warm(true);
        assert!(!matches!(residency.temperature(), Temperature::Cold(_)));
        for relapses in 1..=MAX_RELAPSES {
            assert!(residency.fits());
            residency.relapse();
            assert!(matches!(residency.temperature(), Temperature::Cold(_)));
            assert_eq!(residency.fits(), relapses < MAX_RELAPSES);
        }
        residency.observe(1 << 20);
        assert!(!residency.fits(), "a commit changes nothing about it");
        let residency = Residency::new(1 << 30);
        residency.observe(1 << 31);
        assert!(!residency.fits());
        residency.observe(1 << 29);
        assert!(residency.fits() && residency.is_unknown(), "it has shrunk");
    }
}
