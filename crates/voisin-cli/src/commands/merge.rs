//! `voisin merge`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde_json::json;
use voisin::{
    AnyIndex, AnyKey, AnyMetric, Condition, Error, Index, ItemKey, Loader, Options, Snapshot,
};

use super::load::Stop;
use crate::chosen::named;
use crate::failure::{Failure, Result};
use crate::fields::Filtered;
use crate::interrupt;
use crate::keys::{Key, Named as _};
use crate::like::{check_alike, create_like};
use crate::place::{Means, Place};
use crate::rows::Lines;
use crate::ui::{Bar, Ui, count, path, time};

/// Add the items of another index, with their records.
///
/// Both have the same metric and dimensions, and name their items alike; forms, codes and kinds can
/// differ. An item whose key is there already ends it, and nothing is added. A missing index is
/// created like the other one.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  voisin merge all notes
  voisin merge all more --offset 1000000
  voisin merge old notes --filter '{\"field\": \"year\", \"below\": 1990}'
  voisin merge notes notes --index few --from main --file keys.txt")]
pub(crate) struct Merge {
    #[command(flatten)]
    place: Place,
    /// The folder of the index whose items are added
    #[arg(value_name = "SOURCE")]
    source: PathBuf,
    /// The name of that index; the only one in its folder, or "main", unless given
    #[arg(long, value_name = "NAME")]
    from: Option<String>,
    /// Only the items in this file, a key on each line, or - for the standard input
    #[arg(long, value_name = "FILE", conflicts_with = "condition")]
    file: Option<PathBuf>,
    #[command(flatten)]
    filtered: Filtered,
    /// Add this to the keys, which are numbers
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: u64,
    /// Put this before the keys, which are texts
    #[arg(long, value_name = "TEXT", conflicts_with = "offset")]
    add_prefix: Option<String>,
    #[command(flatten)]
    means: Means,
}

impl Merge {
    pub(crate) fn run(self, ui: &mut Ui) -> Result<()> {
        let began = Instant::now();
        let existing = self.existing()?;
        let source = self.source()?;
        self.check_names(&source)?;
        let is_new = existing.is_none();
        let index = match existing {
            Some(index) => index,
            None => create_like(&source, &self.place.path, |options| {
                self.means.add_to(self.place.options(options))
            })?,
        };
        check_alike(&source, &index)?;
        let (bar, before) = (ui.bar(), index.len()?);
        let merged = interrupt::asking(|| self.copy(&index, &source, &bar));
        bar.finish();
        let merged = match merged {
            Ok(merged) => merged,
            Err(failure) => {
                let after = index.len().unwrap_or(before);
                if is_new {
                    // What has failed first is told.
                    _ = index.remove_if_empty();
                }
                return Err(with_parts(failure, after.saturating_sub(before)));
            }
        };
        let (took, items) = (began.elapsed(), index.len()?);
        let value = json!({
            "merged": merged, "items": items, "seconds": took.as_secs_f64(),
            "index": index.name(), "folder": path(index.path()),
        });
        ui.result(&value, || {
            let (merged, items) = (count(merged, "item", "items"), count(items, "item", "items"));
            let (from, to) = (source.name(), index.name());
            format!("added {merged} of {from} in {}: {to} has {items}", time(took))
        })
    }

    /// The index, if there is one.
    fn existing(&self) -> Result<Option<AnyIndex>> {
        match self.place.try_open(self.means.add_to(Options::default())) {
            Ok(index) => Ok(Some(index)),
            Err(Error::MissingEnvironment { .. } | Error::MissingName { .. }) => Ok(None),
            Err(error) => Err(self.place.explain(error)),
        }
    }

    /// The other index. A process opens a folder once, to write if it writes any of its indexes.
    fn source(&self) -> Result<AnyIndex> {
        let source =
            Place { path: self.source.clone(), index: self.from.clone(), ..self.place.clone() };
        let folder = |path: &Path| path.canonicalize().ok();
        let (from, to) = (folder(&self.source), folder(&self.place.path));
        if from.is_some() && from == to { source.open(&Means::default()) } else { source.read() }
    }

    /// Checks that the items can be renamed as asked for.
    fn check_names(&self, source: &AnyIndex) -> Result<()> {
        let naming = source.naming();
        match (source, &self.add_prefix) {
            (AnyIndex::Texts(_), Some(_)) => Ok(()),
            (_, Some(prefix)) => Err(Failure::usage(format!(
                "--add-prefix {prefix:?}: the items are named by {naming}, and not by texts: leave \
                 it out"
            ))),
            (AnyIndex::Ids(_) | AnyIndex::Numbers(_), None) => Ok(()),
            (_, None) if self.offset == 0 => Ok(()),
            (_, None) => Err(Failure::usage(format!(
                "--offset {}: the items are named by {naming}, and not by numbers: leave it out",
                self.offset
            ))),
        }
    }

    fn copy(&self, index: &AnyIndex, source: &AnyIndex, bar: &Bar) -> Result<u64> {
        match (index, source) {
            (AnyIndex::Ids(index), AnyIndex::Ids(source)) => {
                let snapshot = source.snapshot()?;
                let matching =
                    |condition: &Condition| Ok(snapshot.ids_of(condition)?.into_iter().collect());
                let choice = self.choice::<u32>(matching)?;
                let renamed = |id| choice.name(&id);
                let done = choice.set(index.loader(), bar).copy_from(&snapshot, renamed);
                choice.end(done)
            }
            (AnyIndex::Numbers(index), AnyIndex::Numbers(source)) => {
                self.copy_keys(index, source, bar)
            }
            (AnyIndex::Texts(index), AnyIndex::Texts(source)) => self.copy_keys(index, source, bar),
            (AnyIndex::Bytes(index), AnyIndex::Bytes(source)) => self.copy_keys(index, source, bar),
            (AnyIndex::Uuids(index), AnyIndex::Uuids(source)) => self.copy_keys(index, source, bar),
            // Checked before.
            _ => check_alike(source, index).map(|()| 0),
        }
    }

    fn copy_keys<K: Key + ItemKey + ?Sized>(
        &self,
        index: &Index<AnyMetric, K>,
        source: &Index<AnyMetric, K>,
        bar: &Bar,
    ) -> Result<u64> {
        let snapshot: Snapshot<AnyMetric, K> = source.snapshot()?;
        let matching =
            |condition: &Condition| Ok(snapshot.keys_of(condition)?.into_iter().collect());
        let choice = self.choice::<K>(matching)?;
        let renamed = |key: &K::Owned| choice.name(key);
        let done = choice.set(index.loader(), bar).copy_from(&snapshot, renamed);
        choice.end(done)
    }

    fn choice<K: Key + ?Sized>(
        &self,
        matching: impl Fn(&Condition) -> Result<HashSet<K::Owned>>,
    ) -> Result<Choice<'_, K>> {
        let only = match (&self.filtered.condition, &self.file) {
            (Some(condition), _) => Some(matching(condition)?),
            (None, Some(file)) => {
                let (mut lines, mut keys) = (Lines::open(file)?, Vec::new());
                while let Some((_, key)) = lines.next_line()? {
                    keys.push(key.to_owned());
                }
                Some(named::<K>(&keys)?.into_iter().collect())
            }
            (None, None) => None,
        };
        Ok(Choice { merge: self, only, stop: Stop::default() })
    }
}

/// Which items are copied, and under which names.
struct Choice<'a, K: Key + ?Sized> {
    merge: &'a Merge,
    only: Option<HashSet<K::Owned>>,
    stop: Stop,
}

impl<K: Key + ?Sized> Choice<'_, K> {
    fn name(&self, name: &K::Owned) -> Option<K::Owned> {
        if self.stop.is_failed() || self.only.as_ref().is_some_and(|only| !only.contains(name)) {
            return None;
        }
        let Merge { offset, add_prefix, .. } = self.merge;
        let moved = match (name.again().any(), add_prefix) {
            (AnyKey::Number(number), _) => {
                number.checked_add(*offset).map(AnyKey::Number).ok_or_else(|| {
                    format!("{number} + {offset} is beyond 2^64 - 1: use a smaller one")
                })
            }
            (AnyKey::Text(text), Some(prefix)) => Ok(AnyKey::Text(format!("{prefix}{text}"))),
            (other, _) => Ok(other),
        };
        let named = moved.and_then(K::of);
        named.map_err(|what| self.stop.fail(Failure::usage(what))).ok()
    }

    fn set<'a>(
        &'a self,
        loader: Loader<'a, AnyMetric, K>,
        bar: &'a Bar,
    ) -> Loader<'a, AnyMetric, K> {
        let loader = loader.progress(|progress| bar.load(progress));
        loader.cancel(|| interrupt::is_requested() || self.stop.is_failed())
    }

    /// The end of a copy.
    fn end(&self, copied: voisin::Result<u64>) -> Result<u64> {
        match (self.stop.take_failure(), copied) {
            (Some(failure), _) => Err(failure),
            (None, Err(Error::Cancelled)) => {
                Err(Failure::interrupted("interrupted: nothing of this is committed, run it again"))
            }
            (None, copied) => Ok(copied?),
        }
    }
}

/// A failure after parts of the items were committed, as within a budget of memory.
fn with_parts(failure: Failure, added: u64) -> Failure {
    match failure {
        Failure::Told { exit, message } if added > 0 => Failure::Told {
            exit,
            message: format!(
                "{message}; {added} items are added already, delete them to begin again"
            ),
        },
        failure => failure,
    }
}
