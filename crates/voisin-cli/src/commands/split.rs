//! `voisin split`.

use std::time::Instant;

use clap::Args;
use serde_json::json;
use voisin::{AnyIndex, AnyMetric, Error, Index, Options};

use crate::failure::{Failure, Result};
use crate::like::{check_alike, create_like};
use crate::place::{Means, Place};
use crate::ui::{Ui, count, time};

/// Copy the items of an index into several others of its folder, each into one, in one commit.
///
/// Where items are named by numbers, one goes to the index at the remainder of its number, divided
/// by how many there are; others go by a hash of their keys. A missing index is created like the
/// one that is split, which stays as it is.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  voisin split notes --into shard-0,shard-1,shard-2
  voisin delete notes --index main --whole-index")]
pub(crate) struct Split {
    #[command(flatten)]
    place: Place,
    /// The names of the indexes, two or more, with commas between them
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', required = true)]
    into: Vec<String>,
    #[command(flatten)]
    means: Means,
}

impl Split {
    pub(crate) fn run(self, ui: &mut Ui) -> Result<()> {
        let began = Instant::now();
        let source = self.place.open(&self.means)?;
        self.check(&source)?;
        let bar = ui.bar();
        bar.spin("copying");
        let (targets, new) = self.targets(&source)?;
        let counts = split(&source, &targets);
        if counts.is_err() {
            // What has failed first is told.
            new.iter().for_each(|target| _ = target.remove_if_empty());
        }
        bar.finish();
        let (counts, took) = (counts?, began.elapsed());
        let named = self.into.iter().zip(&counts);
        let into: Vec<_> =
            named.map(|(name, items)| json!({ "index": name, "copied": items })).collect();
        let value = json!({
            "index": source.name(), "into": into, "seconds": took.as_secs_f64(),
        });
        ui.result(&value, || {
            let named = self.into.iter().zip(&counts);
            let parts: Vec<_> = named
                .map(|(name, items)| format!("{} to {name}", count(*items, "item", "items")))
                .collect();
            format!("copied {} in {}", parts.join(", "), time(took))
        })
    }

    fn check(&self, source: &AnyIndex) -> Result<()> {
        let mut names: Vec<&str> = self.into.iter().map(String::as_str).collect();
        names.push(source.name());
        names.sort_unstable();
        names.dedup();
        match names.len() {
            len if len == self.into.len() + 1 && len > 2 => Ok(()),
            _ => Err(Failure::usage(format!(
                "--into {}: give two names or more, all different from each other and from {:?}",
                self.into.join(","),
                source.name()
            ))),
        }
    }

    /// The indexes, and those of them that are new.
    fn targets(&self, source: &AnyIndex) -> Result<(Vec<AnyIndex>, Vec<AnyIndex>)> {
        let (mut targets, mut new) = (Vec::new(), Vec::new());
        for name in &self.into {
            let with = |options| self.means.add_to(self.place.options(options)).name(name);
            let target = match AnyIndex::open(source.path(), with(Options::default())) {
                Ok(target) => target,
                Err(Error::MissingName { .. }) => {
                    let target = create_like(source, source.path(), with)?;
                    new.push(target.clone());
                    target
                }
                Err(error) => return Err(error.into()),
            };
            check_alike(source, &target)?;
            targets.push(target);
        }
        Ok((targets, new))
    }
}

/// The handles, if all name their items by `K`.
fn handles<K: ?Sized>(
    targets: &[AnyIndex],
    handle: fn(&AnyIndex) -> Option<&Index<AnyMetric, K>>,
) -> Vec<Index<AnyMetric, K>> {
    targets.iter().filter_map(handle).cloned().collect()
}

/// Splits by a number, or by a hash of a key (FNV-1a).
fn split(source: &AnyIndex, targets: &[AnyIndex]) -> Result<Vec<u64>> {
    let count = targets.len() as u64;
    let number = |number: u64| (number % count) as usize;
    let bytes = |bytes: &[u8]| {
        let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
        });
        number(hash)
    };
    macro_rules! by {
        ($variant:ident, $source:expr, $choose:expr) => {{
            let targets = handles(targets, |index| match index {
                AnyIndex::$variant(index) => Some(index),
                _ => None,
            });
            $source.snapshot()?.split_into(&targets, $choose)
        }};
    }
    let counts = match source {
        AnyIndex::Ids(source) => by!(Ids, source, |id| number(id.into())),
        AnyIndex::Numbers(source) => by!(Numbers, source, |key| number(*key)),
        AnyIndex::Texts(source) => by!(Texts, source, |key| bytes(key.as_bytes())),
        AnyIndex::Bytes(source) => by!(Bytes, source, |key| bytes(key)),
        AnyIndex::Uuids(source) => by!(Uuids, source, |key| bytes(key)),
    };
    counts.map_err(|error| match error {
        Error::NotTrained { .. } => Failure::usage(
            "the indexes store components as i8, and are not trained: create them by voisin merge \
             with a --filter or a --file for each, which trains them on what it adds",
        ),
        error => error.into(),
    })
}
