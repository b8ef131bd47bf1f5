//! Verifying a data file by plain reads, before it is mapped, or as of the commit that a
//! transaction sees.
//!
//! Invariant: a file that LMDB has written is found sound, whatever was killed, aborted or refused
//! while it was written; damage is reported without a memory map of the file, so that nothing in it
//! can end the process.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::findings::{PageFinding, PageInvariant};
use super::pages::{Damage, IS_KNOWN, Meta, PageFile, newest};
use super::walk::Walk;
use crate::error::{Error, Result};

/// Number of retries when another process has committed while the meta pages were read.
const MAX_CHANGES: usize = 16;
/// A time in which LMDB has written both meta pages of a new file, with some to spare.
const CREATION: Duration = Duration::from_millis(2);

const SHORT: Damage = "the file ends within its meta pages";

/// The report of [`verify_file`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileReport {
    /// Id of the commit that was verified.
    pub commit: u64,
    /// Page size.
    pub page_bytes: u64,
    /// Number of pages that have ever been used, for any purpose, the two meta pages included.
    pub pages: u64,
    /// Number of pages in the free list.
    pub free_pages: u64,
    /// Violated invariants: empty if the file is sound. The first hundred are listed.
    pub findings: Vec<PageFinding>,
}

impl FileReport {
    /// Whether LMDB can read the file without harm to the process. It may still return wrong data.
    #[must_use]
    pub fn is_safe_to_open(&self) -> bool {
        self.findings.iter().all(|finding| finding.invariant.is_survived())
    }

    /// The report on a file with damaged meta pages.
    fn without_meta(what: String) -> Self {
        let findings = vec![PageFinding { invariant: PageInvariant::Meta, what }];
        Self { commit: 0, page_bytes: 0, pages: 0, free_pages: 0, findings }
    }

    /// Checks that a copy of the file would be finite and free of damage.
    pub(super) fn copyable(&self, path: &Path) -> Result<()> {
        match self.findings.iter().find(|finding| finding.invariant != PageInvariant::Order) {
            Some(finding) => {
                Err(Error::DamagedFile { path: path.to_owned(), what: finding.to_string() })
            }
            None => Ok(()),
        }
    }
}

/// Verifies an LMDB data file, voisin's or any other, without mapping it: reads all pages of the
/// newest commit, and reports inconsistencies. `path` is the file, or the folder of an environment.
/// Nothing that a file contains can make it panic, loop, or use more memory than a few bits per
/// page.
///
/// LMDB trusts its files: a truncated or damaged one can end the process that opens it (SIGBUS,
/// SIGSEGV). So verify a file first if it may be damaged (after a disk failure, or before restoring
/// a backup from elsewhere). The values that are stored are not verified: [`check`](crate::check())
/// does that for an index.
///
/// **Nobody may write to the file meanwhile**: pages that are reused during the read look like
/// damage. `Index::check` and [`copy_to`](crate::copy_to()) verify a file that is in use, under a
/// transaction that protects its pages.
///
/// Reads every page of the trees, which hold keys and small values, and the first of each large
/// value: O(file), some milliseconds for a file of 100 MB in the page cache.
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
/// layout. Damage is not an error, but in the report.
pub fn verify_file(path: impl AsRef<Path>) -> Result<FileReport> {
    let path = path.as_ref();
    let path = &if path.is_dir() { path.join("data.mdb") } else { path.to_owned() };
    let file = File::open(path).map_err(Error::io("open", path))?;
    let file = PageFile { file: &file, path };
    if !IS_KNOWN {
        return Err(Error::io("judge", path)(io::ErrorKind::Unsupported.into()));
    }
    if file.bytes()? == 0 {
        // LMDB treats an empty file as a new one.
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

/// Checks that the two meta pages were written by consecutive commits.
fn follow_each_other(metas: [Meta; 2]) -> Result<(), Damage> {
    let [first, second] = metas;
    if (first.number, second.number) != (0, 1) {
        return Err("a meta page has another number");
    }
    // In a new file both ids are 0; in a copy the first is.
    let in_turn =
        first.commit.is_multiple_of(2) && (second.commit == 0 || !second.commit.is_multiple_of(2));
    if !in_turn || first.commit.abs_diff(second.commit) > 1 {
        return Err("the two meta pages are not of two commits that follow each other");
    }
    Ok(())
}

/// Verifies all pages that a meta page leads to.
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

/// Verifies the newest commit of an open file. Returns the report with the transaction that sees
/// the commit and protects its pages.
///
/// Commit n overwrites the meta page of commit n - 2. So the meta page of commit n is intact if n
/// is the newest commit, as transactions see it, both before and after the page is read. Otherwise
/// others have committed meanwhile, and it retries.
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
        // Ended at once: a thread may have only one transaction.
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

/// Checks that LMDB survives the pages that a write transaction can reach: verifies the commit
/// before it, which nobody changes during the transaction. Stops after `budget` pages, and assumes
/// that the rest is sound.
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

/// Number of pages in the free list, as of the newest meta page. The caller's transaction protects
/// its pages from reuse. `None` if the file is not as LMDB 0.9 writes it.
pub(super) fn free_pages(file: &File, path: &Path) -> Option<u64> {
    let file = PageFile { file, path };
    let metas = file.metas().ok().flatten()?.ok().filter(|_| IS_KNOWN)?;
    let mut walk = Walk::new(file, newest(metas)).ok()?;
    walk.free_list().ok()?;
    walk.findings.is_empty().then(|| walk.free.len())
}

/// Id of the newest commit in a data file. `None` if it has none.
pub(crate) fn newest_commit(path: &Path) -> Option<u64> {
    let file = File::open(path).ok()?;
    let metas = PageFile { file: &file, path }.metas().ok().flatten()?.ok()?;
    Some(newest(metas).commit)
}

/// Checks that a file can be mapped: it is empty, or its meta pages are possible and it has all
/// pages that its newest commit uses. Others may write to it meanwhile.
///
/// A sound file can be shorter than its last page: pages that were allocated and freed in one
/// transaction are never written. So missing pages are looked up in the free list.
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
        // If the commit is no longer the newest, its pages may have been reused while they were
        // read.
        if metas.is_some() && metas == before {
            return Err(error);
        }
        if metas.is_none() {
            // Another process may be creating the file.
            std::thread::sleep(CREATION);
        }
        before = metas;
    }
    match judge(file)? {
        Judged::Short(None, error) | Judged::Damaged(error) => Err(error),
        // A process that commits this fast has the file open, so the file has not lost its end.
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
            // At least two pages of the usual size.
            let (bytes, expected) = (file.bytes()?, 2 * 4096);
            return Ok(Judged::Short(None, Error::Truncated { path: path(), bytes, expected }));
        }
    };
    // After the meta pages: the pages of their commits were written before them.
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
