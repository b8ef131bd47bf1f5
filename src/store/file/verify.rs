//! A data file judged by plain reads: before it is mapped, or as the commit that a transaction
//! sees.
//!
//! Invariant: a file that LMDB has written is found sound, whatever was killed, aborted or refused
//! while it was written; what is not found sound is said to be so without a map of it, so that
//! nothing of the file can end the process.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::findings::{PageFinding, PageInvariant};
use super::pages::{Damage, IS_KNOWN, Meta, PageFile, newest};
use super::walk::Walk;
use crate::error::{Error, Result};

/// How often the meta pages are looked at again because another process has committed meanwhile.
const MAX_CHANGES: usize = 16;
/// How long LMDB takes to write both meta pages of a new file, and more.
const CREATION: Duration = Duration::from_millis(2);

const SHORT: Damage = "the file ends within its meta pages";

/// What [`verify_file`] has found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileReport {
    /// Number of the commit that was judged.
    pub commit: u64,
    /// Bytes of a page.
    pub page_bytes: u64,
    /// Pages that have ever been used, whatever for, the two meta pages included.
    pub pages: u64,
    /// Those of them that are in the free list.
    pub free_pages: u64,
    /// What does not hold: nothing, if the file is sound. The first hundred are listed.
    pub findings: Vec<PageFinding>,
}

impl FileReport {
    /// Whether LMDB can read the file without harm to the process: nothing was found that leads it
    /// astray, though it may find wrong data.
    #[must_use]
    pub fn is_safe_to_open(&self) -> bool {
        self.findings.iter().all(|finding| finding.invariant.is_survived())
    }

    /// Of a file whose meta pages are no such.
    fn without_meta(what: String) -> Self {
        let findings = vec![PageFinding { invariant: PageInvariant::Meta, what }];
        Self { commit: 0, page_bytes: 0, pages: 0, free_pages: 0, findings }
    }

    /// That nothing is wrong that a copy would carry on, or not survive.
    pub(super) fn copyable(&self, path: &Path) -> Result<()> {
        match self.findings.iter().find(|finding| finding.invariant != PageInvariant::Order) {
            Some(finding) => {
                Err(Error::DamagedFile { path: path.to_owned(), what: finding.to_string() })
            }
            None => Ok(()),
        }
    }
}

/// Judges an LMDB data file, voisin's or any other, without mapping it: walks over all pages of the
/// newest commit by plain reads, and tells what does not hold together. `path` is the file, or the
/// folder of an environment. Nothing that a file contains can make it panic, loop, or use more
/// memory than a few bits a page.
///
/// LMDB trusts its files: one that is cut short or damaged can end the process that opens it
/// (SIGBUS, SIGSEGV). So whoever does not trust a file (after a disk has failed, or before a backup
/// of somebody else's is restored) verifies it first. It tells nothing about the values that are
/// stored: [`check`](crate::check()) does, of an index.
///
/// **Nobody may write to the file meanwhile**: pages that are used again while it reads look like
/// damage. `Index::check` and [`copy_to`](crate::copy_to()) do the same for a file that is in use,
/// under a transaction that keeps its pages.
///
/// Reads every page of the trees, which hold keys and small values, and the first of each large
/// value: O(file), some milliseconds for a file of 100 MB that is in memory.
///
/// ```
/// use voisin::{Index, Options, distances::Euclidean};
///
/// # fn main() -> voisin::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("vectors");
/// let index = Index::<Euclidean>::create(&path, Options::new(2))?;
/// index.write(|batch| batch.add_items_from((0..5000).map(|item| (item, [item as f32, 0.0]))))?;
/// drop(index);
///
/// let report = voisin::verify_file(&path)?;
/// for finding in &report.findings {
///     eprintln!("{finding}");
/// }
/// assert!(report.findings.is_empty() && report.pages > 10);
///
/// let file = std::fs::OpenOptions::new().write(true).open(path.join("data.mdb")).unwrap();
/// file.set_len(report.pages * report.page_bytes / 2).unwrap(); // a copy that was interrupted
/// assert!(!voisin::verify_file(&path)?.is_safe_to_open());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Io`](Error::Io) if the file cannot be read, also on 32-bit machines, whose files have another
/// layout. Damage is no error, but in the report.
pub fn verify_file(path: impl AsRef<Path>) -> Result<FileReport> {
    let path = path.as_ref();
    let path = &if path.is_dir() { path.join("data.mdb") } else { path.to_owned() };
    let file = File::open(path).map_err(Error::io("open", path))?;
    let file = PageFile { file: &file, path };
    if !IS_KNOWN {
        return Err(Error::io("judge", path)(io::ErrorKind::Unsupported.into()));
    }
    if file.bytes()? == 0 {
        // LMDB takes it for a new one.
        return Ok(FileReport {
            commit: 0,
            page_bytes: 0,
            pages: 0,
            free_pages: 0,
            findings: Vec::new(),
        });
    }
    match file.metas()? {
        Some(Ok(metas)) => report(file, newest(metas), follow_each_other(metas)),
        Some(Err(what)) => Ok(FileReport::without_meta(what.to_owned())),
        None => Ok(FileReport::without_meta(SHORT.to_owned())),
    }
}

/// That commits have written the two meta pages in turn.
fn follow_each_other(metas: [Meta; 2]) -> Result<(), Damage> {
    let [first, second] = metas;
    if (first.number, second.number) != (0, 1) {
        return Err("a meta page has another number");
    }
    // Both are 0 in a new file, and the first is in a copy.
    let in_turn =
        first.commit.is_multiple_of(2) && (second.commit == 0 || !second.commit.is_multiple_of(2));
    if !in_turn || first.commit.abs_diff(second.commit) > 1 {
        return Err("the two meta pages are not of two commits that follow each other");
    }
    Ok(())
}

/// The walk over what a meta page leads to.
fn report(file: PageFile<'_>, meta: Meta, metas: Result<(), Damage>) -> Result<FileReport> {
    let mut walk = Walk::new(file, meta)?;
    if let Err(what) = metas {
        walk.findings.add(PageInvariant::Meta, what.to_owned());
    }
    walk.all()?;
    Ok(FileReport {
        commit: meta.commit,
        page_bytes: meta.page_bytes as u64,
        pages: meta.last_page + 1,
        free_pages: walk.free.len(),
        findings: walk.findings.into_list(),
    })
}

/// The report on a file that is open, as its newest commit. Returns it with the transaction that
/// sees the commit, and keeps its pages.
///
/// Commit n writes over the meta page of commit n - 2. So the page of commit n is whole if n is the
/// newest one, as transactions see it, before the page is read and after. Otherwise others have
/// committed meanwhile, and it is tried again.
///
/// # Errors
/// Those of `begin`, and [`Error::Io`].
pub(super) fn verify_newest<R>(
    file: &File,
    path: &Path,
    begin: impl Fn() -> Result<R>,
    id: impl Fn(&R) -> usize,
) -> Result<(FileReport, R)> {
    let file = PageFile { file, path };
    loop {
        // Ended at once: a thread may have one transaction only.
        let before = id(&begin()?);
        let metas = file.metas()?;
        let rtxn = begin()?;
        let commit = id(&rtxn) as u64;
        if before as u64 != commit {
            continue;
        }
        if !IS_KNOWN {
            return Ok((
                FileReport { commit, page_bytes: 0, pages: 0, free_pages: 0, findings: Vec::new() },
                rtxn,
            ));
        }
        let report = match metas {
            Some(Ok(metas)) if metas[(commit & 1) as usize].commit == commit => {
                report(file, metas[(commit & 1) as usize], Ok(()))?
            }
            Some(Ok(_)) => FileReport::without_meta(format!(
                "no meta page is of commit {commit}, which is the newest"
            )),
            Some(Err(what)) => FileReport::without_meta(what.to_owned()),
            None => FileReport::without_meta(SHORT.to_owned()),
        };
        return Ok((report, rtxn));
    }
}

/// That the pages which a write transaction finds are such as LMDB survives: a walk over those of
/// the commit before it, which nobody changes while the transaction lasts. It ends after `budget`
/// pages, and takes what it has not seen for sound.
///
/// # Errors
/// [`Error::DamagedFile`], [`Error::Io`].
pub(super) fn check_pages(file: &File, path: &Path, commit: u64, budget: u64) -> Result<()> {
    if !IS_KNOWN {
        return Ok(());
    }
    let damaged = |what: String| Error::DamagedFile { path: path.to_owned(), what };
    let file = PageFile { file, path };
    let metas = match file.metas()? {
        Some(Ok(metas)) => metas,
        Some(Err(what)) => return Err(damaged(what.to_owned())),
        None => return Err(damaged(SHORT.to_owned())),
    };
    follow_each_other(metas).map_err(|what| damaged(what.to_owned()))?;
    let meta = metas[(commit & 1) as usize];
    if meta.commit != commit {
        return Err(damaged(format!("no meta page is of commit {commit}, which is the newest")));
    }
    let mut walk = Walk::new(file, meta)?.with_budget(budget);
    walk.all()?;
    match walk.findings.into_list().into_iter().find(|finding| !finding.invariant.is_survived()) {
        Some(finding) => Err(damaged(finding.to_string())),
        None => Ok(()),
    }
}

/// The pages in the free list of a file, of the commit that its newest meta page is of: the
/// caller's transaction keeps its pages from being used again. `None` if the file is not as LMDB
/// 0.9 writes it.
pub(super) fn free_pages(file: &File, path: &Path) -> Option<u64> {
    let file = PageFile { file, path };
    let metas = file.metas().ok().flatten()?.ok().filter(|_| IS_KNOWN)?;
    let mut walk = Walk::new(file, newest(metas)).ok()?;
    walk.free_list().ok()?;
    walk.findings.is_empty().then(|| walk.free.len())
}

/// The number of the newest commit in a data file. `None` if it has none.
pub(crate) fn newest_commit(path: &Path) -> Option<u64> {
    let file = File::open(path).ok()?;
    let metas = PageFile { file: &file, path }.metas().ok().flatten()?.ok()?;
    Some(newest(metas).commit)
}

/// That a file can be mapped: it is empty, or its meta pages are possible, and it has all pages
/// that its newest commit uses. Others may write to it meanwhile.
///
/// A sound file can be shorter than its last page: pages that were freed in the transaction that
/// had asked for them are never written. So what is missing is looked up in the free list.
///
/// # Errors
/// [`Error::Truncated`], [`Error::DamagedFile`], [`Error::Io`].
pub(crate) fn check_length(path: &Path) -> Result<()> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let file = PageFile { file: &file, path };
    if !IS_KNOWN || file.bytes()? == 0 {
        return Ok(());
    }
    let mut before = None;
    for _ in 0..MAX_CHANGES {
        let (metas, error) = match judge(file)? {
            Judged::Sound => return Ok(()),
            Judged::Damaged(error) => return Err(error),
            Judged::Short(metas, error) => (metas, error),
        };
        // Of a commit that is not the newest any more, pages may have been used again while they
        // were read.
        if metas.is_some() && metas == before {
            return Err(error);
        }
        if metas.is_none() {
            // Another process may be creating it.
            std::thread::sleep(CREATION);
        }
        before = metas;
    }
    match judge(file)? {
        Judged::Short(None, error) | Judged::Damaged(error) => Err(error),
        // Who commits so fast has the file open, and has not lost its end.
        Judged::Sound | Judged::Short(Some(_), _) => Ok(()),
    }
}

enum Judged {
    Sound,
    Short(Option<Box<[Meta; 2]>>, Error),
    Damaged(Error),
}

fn judge(file: PageFile<'_>) -> Result<Judged> {
    let path = || file.path.to_owned();
    let metas = match file.metas()? {
        Some(Ok(metas)) => metas,
        Some(Err(what)) => {
            return Ok(Judged::Damaged(Error::DamagedFile { path: path(), what: what.to_owned() }));
        }
        None => {
            // Two pages of the smallest size that there is, at least.
            let (bytes, expected) = (file.bytes()?, 2 * 4096);
            return Ok(Judged::Short(None, Error::Truncated { path: path(), bytes, expected }));
        }
    };
    // After the meta pages: what these tell of was written before.
    let (bytes, meta) = (file.bytes()?, newest(metas));
    if bytes >= meta.whole_bytes() {
        return Ok(Judged::Sound);
    }
    let mut walk = Walk::new(file, meta)?;
    walk.free_list()?;
    let first_missing = bytes / meta.page_bytes as u64;
    let is_free = first_missing >= 2 && walk.free.contains_range(first_missing..=meta.last_page);
    Ok(match walk.findings.is_empty() && is_free {
        true => Judged::Sound,
        false => Judged::Short(
            Some(Box::new(metas)),
            Error::Truncated { path: path(), bytes, expected: meta.whole_bytes() },
        ),
    })
}
