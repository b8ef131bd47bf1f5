//! `voisin list`.

use std::cmp::Ordering;

use clap::Args;
use serde_json::json;
use voisin::{AnyIndex, AnyKey, Condition};

use crate::failure::{Failure, Result};
use crate::fields::Filtered;
use crate::keys;
use crate::place::Place;
use crate::ui::Ui;

/// Print the keys of all items, or of those of a condition, in their order, one a line.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    place: Place,
    /// At most so many
    #[arg(long, short = 'n', value_name = "N")]
    limit: Option<usize>,
    /// Only those that begin so (an index of texts)
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    #[command(flatten)]
    filtered: Filtered,
}

impl List {
    pub(crate) fn run(self, ui: &mut Ui) -> Result<()> {
        let index = self.place.read()?;
        if let Some(condition) = &self.filtered.condition {
            self.check_prefix(&index)?;
            return self.matching(ui, &index, condition);
        }
        match (&index, &self.prefix) {
            (AnyIndex::Ids(index), None) => {
                let ids = index.snapshot()?.ids()?;
                self.print(ui, ids.iter().map(|id| Ok(AnyKey::Number(id.into()))))
            }
            (AnyIndex::Numbers(index), None) => {
                let snapshot = index.snapshot()?;
                self.print(ui, snapshot.keys()?.map(|key| key.map(AnyKey::Number)))
            }
            (AnyIndex::Texts(index), prefix) => {
                let snapshot = index.snapshot()?;
                let prefix = prefix.as_deref().unwrap_or_default();
                let begins = |key: &voisin::Result<String>| match key {
                    Ok(key) => key.starts_with(prefix),
                    Err(_) => true,
                };
                self.print(ui, snapshot.keys()?.filter(begins).map(|key| key.map(AnyKey::Text)))
            }
            (_, Some(_)) => self.check_prefix(&index),
        }
    }

    /// Refuses a prefix where names have none.
    fn check_prefix(&self, index: &AnyIndex) -> Result<()> {
        match (index, &self.prefix) {
            (AnyIndex::Ids(_) | AnyIndex::Numbers(_), Some(prefix)) => {
                Err(Failure::usage(format!(
                    "--prefix {prefix:?}: the items of the index are named by {}, which have no \
                     prefix: leave it out",
                    index.naming()
                )))
            }
            _ => Ok(()),
        }
    }

    /// Prints the keys of the items for which a condition holds.
    fn matching(&self, ui: &mut Ui, index: &AnyIndex, condition: &Condition) -> Result<()> {
        let mut keys = index.keys_of(condition)?;
        keys.sort_unstable_by(|a, b| match (a, b) {
            (AnyKey::Number(a), AnyKey::Number(b)) => a.cmp(b),
            (AnyKey::Text(a), AnyKey::Text(b)) => a.cmp(b),
            // An index names all its items alike.
            _ => Ordering::Equal,
        });
        let begins = |key: &AnyKey| match (key, &self.prefix) {
            (AnyKey::Text(text), Some(prefix)) => text.starts_with(prefix),
            _ => true,
        };
        self.print(ui, keys.into_iter().filter(begins).map(Ok))
    }

    fn print(
        &self,
        ui: &mut Ui,
        names: impl Iterator<Item = voisin::Result<AnyKey>>,
    ) -> Result<()> {
        for key in names.take(self.limit.unwrap_or(usize::MAX)) {
            let key = key?;
            ui.result(&json!({ "key": keys::json(&key) }), || keys::text(&key))?;
        }
        Ok(())
    }
}
