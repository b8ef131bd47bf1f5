//! The indexes of a folder, and the steps done to them through `Index`. The contents of a folder
//! are reported as lines, so that the examining process may crash on them.

use std::fmt::Debug;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use voisin::distances::{Cosine, Euclidean};
use voisin::{Batch, Error, Index, ItemId, Options, Result, Snapshot, remove_index};

use crate::child::say;
use crate::steps::{Contents, ContentsHasher, DIMENSIONS, Step, Which, key, vector};

type Plain = Index<Euclidean>;
type Texts = Index<Cosine, str>;

/// The number of items of an index that are searched for by their own vectors.
const SOUGHT: usize = 8;

/// The options of an index of the folder: a map so small that it grows again and again, and builds
/// that take milliseconds.
pub(crate) fn options(which: Which) -> Options {
    let options =
        Options::new(DIMENSIONS).name(which.name()).m(6).ef_construction(24).codes_from(1);
    options.map_size_bytes(1 << 20).growth_wait(Duration::from_millis(200))
}

/// The folder of copies, beside the indexes.
pub(crate) fn copies(folder: &Path) -> PathBuf {
    folder.join("copies")
}

/// The folder of the indexes.
pub(crate) fn place(folder: &Path) -> PathBuf {
    folder.join("vectors")
}

/// The variant of an error, which a program can match.
pub(crate) fn variant(error: &Error) -> String {
    let debug = format!("{error:?}");
    debug.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

/// The indexes of a folder, open.
pub(crate) struct World {
    folder: PathBuf,
    plain: Plain,
    texts: Texts,
    /// A snapshot, and its contents when it was taken.
    held: Option<(Snapshot<Euclidean>, Contents)>,
}

impl World {
    /// Creates the two indexes that always exist, or opens them.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let plain = Plain::open_or_create(place(folder), options(Which::Plain))?;
        let texts = Texts::open_or_create(place(folder), options(Which::Texts))?;
        Ok(Self { folder: folder.to_owned(), plain, texts, held: None })
    }

    /// Does a step. A map cannot grow under the snapshot that is held here: the snapshot is dropped
    /// and the step retried.
    pub(crate) fn perform(&mut self, step: &Step) -> Result<()> {
        match self.attempt(step) {
            Err(Error::MapBusy { .. }) if self.held.is_some() => {
                self.let_go()?;
                self.attempt(step)
            }
            result => result,
        }
    }

    fn attempt(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Write { to, changes, link_later } => {
                self.write(*to, changes, *link_later, || Ok(()))
            }
            Step::Abort { to, changes, panics: false } => {
                match self.write(*to, changes, false, || Err(Error::Cancelled)) {
                    Err(Error::Cancelled) => Ok(()),
                    other => other,
                }
            }
            Step::Abort { to, changes, panics: true } => {
                // Without a message: the panic is intended.
                let panicking = || self.write(*to, changes, false, || resume_unwind(Box::new(())));
                catch_unwind(AssertUnwindSafe(panicking)).unwrap_or(Ok(()))
            }
            Step::Load { to, items, commit_every, optimize } => {
                let items = items.iter().map(|(item, version)| (*item, vector(*item, *version)));
                let part = commit_every.map_or(u64::MAX, |part| part as u64);
                match to {
                    Which::Texts => {
                        let loader = self.texts.loader().optimize(*optimize);
                        let loader =
                            if part < u64::MAX { loader.commit_every(part) } else { loader };
                        loader.load(items.map(|(item, vector)| (key(item), vector))).map(drop)
                    }
                    _ => {
                        let index = self.by_id(*to)?;
                        let loader = index.loader().optimize(*optimize);
                        let loader =
                            if part < u64::MAX { loader.commit_every(part) } else { loader };
                        loader.load(items).map(drop)
                    }
                }
            }
            Step::Clear(Which::Texts) => self.texts.write(|batch| batch.clear()),
            Step::Clear(_) => self.plain.write(|batch| batch.clear()),
            Step::Link(Which::Texts) => self.texts.link(),
            Step::Link(_) => self.plain.link(),
            Step::Optimize(Which::Texts) => self.texts.optimize(),
            Step::Optimize(_) => self.plain.optimize(),
            Step::Rebuild(Which::Texts) => self.texts.force_rebuild(),
            Step::Rebuild(_) => self.plain.force_rebuild(),
            Step::Codes(Which::Texts, codes) => self.texts.write(|batch| batch.set_codes(*codes)),
            Step::Codes(_, codes) => self.plain.write(|batch| batch.set_codes(*codes)),
            Step::Copy => self.copy(),
            Step::Hold => {
                let snapshot = self.plain.snapshot()?;
                let contents = contents_of(&snapshot, Which::Plain)?;
                self.held = Some((snapshot, contents));
                Ok(())
            }
            Step::LetGo => self.let_go(),
            Step::Remove => match remove_index(
                place(&self.folder),
                Options::default().name(Which::Spare.name()),
            ) {
                Err(Error::MissingName { .. }) => Ok(()),
                result => result,
            },
        }
    }

    /// One of the indexes whose items have ids; the spare one is created.
    fn by_id(&self, which: Which) -> Result<Plain> {
        match which {
            Which::Spare => Plain::open_or_create(place(&self.folder), options(which)),
            _ => Ok(self.plain.clone()),
        }
    }

    /// One batch, which ends as requested.
    fn write(
        &self,
        to: Which,
        changes: &[(u32, Option<u64>)],
        link_later: bool,
        end: impl Fn() -> Result<()>,
    ) -> Result<()> {
        match to {
            Which::Texts => self.texts.write(|batch: &mut Batch<'_, Cosine, str>| {
                if link_later {
                    batch.link_later();
                }
                for (item, version) in changes {
                    match version {
                        Some(version) => batch.add(key(*item), &vector(*item, *version))?,
                        None => _ = batch.delete(key(*item))?,
                    }
                }
                end()
            }),
            _ => self.by_id(to)?.write(|batch: &mut Batch<'_, Euclidean>| {
                if link_later {
                    batch.link_later();
                }
                for (item, version) in changes {
                    match version {
                        Some(version) => batch.add(*item, &vector(*item, *version))?,
                        None => _ = batch.delete(*item)?,
                    }
                }
                end()
            }),
        }
    }

    /// Drops a snapshot, which must hold what it held when it was taken.
    fn let_go(&mut self) -> Result<()> {
        let Some((snapshot, before)) = self.held.take() else { return Ok(()) };
        let now = contents_of(&snapshot, Which::Plain)?;
        assert_eq!(now, before, "a snapshot has changed");
        Ok(())
    }

    /// A copy holds the same contents, of one commit: no other process writes here.
    fn copy(&self) -> Result<()> {
        let target = copies(&self.folder);
        _ = std::fs::remove_dir_all(&target);
        self.plain.copy_to(&target)?;
        let copy = Plain::open(&target, Options::default().name(Which::Plain.name()))?;
        let [here, there] = [&self.plain, &copy].map(|index| {
            index.snapshot().and_then(|snapshot| contents_of(&snapshot, Which::Plain))
        });
        assert_eq!(here?, there?, "a copy holds something else");
        drop(copy);
        _ = std::fs::remove_dir_all(&target);
        Ok(())
    }
}

/// The contents of a snapshot of an index by ids.
fn contents_of(snapshot: &Snapshot<Euclidean>, which: Which) -> Result<Contents> {
    let mut hash = ContentsHasher::default();
    for entry in snapshot.iter()? {
        let (item, vector) = entry?;
        hash.add(&item, &vector);
    }
    Ok(hash.finish(which.name()))
}

/// Reports the contents of a folder: each index and its contents, each finding of `check`, and
/// "done". A failure is reported as an error, and ends it.
pub(crate) fn inspect(folder: &Path) {
    if let Err(error) = try_inspect(&place(folder)) {
        say(&format!("error {}: {error}", variant(&error)));
    }
}

fn try_inspect(place: &Path) -> Result<()> {
    let names = Plain::open(place, Options::default().name(Which::Plain.name()))?.names()?;
    for which in
        Which::ALL.into_iter().filter(|which| names.iter().any(|name| name == which.name()))
    {
        match which {
            Which::Texts => {
                let index = Texts::open(place, Options::default().name(which.name()))?;
                let snapshot = index.snapshot()?;
                let items = snapshot.iter()?.collect::<Result<Vec<(String, Vec<f32>)>>>()?;
                look_at(which, &items, index.check()?);
                let found = |vector: &[f32], exact| {
                    let mut query = index.search(1);
                    let query = if exact { query.exact() } else { query.ef_search(200) };
                    Ok(query.by_vector(vector)?.into_nns().first().map(|(key, _)| key.clone()))
                };
                seek(which, &items, found)?;
            }
            _ => {
                let index = Plain::open(place, Options::default().name(which.name()))?;
                let snapshot = index.snapshot()?;
                let items = snapshot.iter()?.collect::<Result<Vec<(ItemId, Vec<f32>)>>>()?;
                look_at(which, &items, index.check()?);
                let found = |vector: &[f32], exact| {
                    let mut query = index.search(1);
                    let query = if exact { query.exact() } else { query.ef_search(200) };
                    Ok(query.by_vector(vector)?.into_nns().first().map(|(item, _)| *item))
                };
                seek(which, &items, found)?;
            }
        }
    }
    say("done");
    Ok(())
}

fn look_at<K: Hash>(which: Which, items: &[(K, Vec<f32>)], findings: Vec<voisin::Finding>) {
    let mut hash = ContentsHasher::default();
    items.iter().for_each(|(key, vector)| hash.add(key, vector));
    let Contents { name, items, hash } = hash.finish(which.name());
    for finding in findings.iter().take(5) {
        say(&format!("finding {name}: {finding}"));
    }
    say(&format!("index {name} {items} {hash}"));
}

/// Searches for some items by their own vectors: an exact search must find each, a graph search
/// something.
fn seek<K: PartialEq + Debug>(
    which: Which,
    items: &[(K, Vec<f32>)],
    found: impl Fn(&[f32], bool) -> Result<Option<K>>,
) -> Result<()> {
    for (key, vector) in items.iter().step_by(items.len() / SOUGHT + 1) {
        let exact = found(vector, true)?;
        if exact.as_ref() != Some(key) || found(vector, false)?.is_none() {
            say(&format!(
                "finding {}: item {key:?} is not found by its own vector, but {exact:?}",
                which.name()
            ));
        }
    }
    Ok(())
}

/// The index of ids, open.
pub(crate) fn open_plain(folder: &Path) -> Result<Index<Euclidean>> {
    Plain::open(place(folder), Options::default().name(Which::Plain.name()))
}

/// The same, with a map that must grow.
pub(crate) fn open_small(folder: &Path) -> Result<Index<Euclidean>> {
    Plain::open(place(folder), options(Which::Plain))
}
