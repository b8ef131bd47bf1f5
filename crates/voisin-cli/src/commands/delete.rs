//! `voisin delete`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use serde_json::json;
use voisin::{AnyIndex, AnyMetric, Batch, Condition, remove_index};

use crate::failure::{Failure, Result};
use crate::fields::condition;
use crate::keys::given;
use crate::place::{Means, Place};
use crate::rows::Lines;
use crate::ui::{Ui, count, number};

/// Delete items, all in one commit, or a whole index.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("what").required(true).multiple(false),
    after_help = "Examples:
  voisin delete notes 17 18
  voisin delete notes --file keys.txt
  voisin delete notes --filter '{\"field\": \"year\", \"below\": 1990}'
  voisin delete notes --index old --whole-index"
)]
pub(crate) struct Delete {
    #[command(flatten)]
    place: Place,
    /// The items
    #[arg(group = "what", value_name = "KEY")]
    keys: Vec<String>,
    /// A file with a key on each line, or - for the standard input
    #[arg(long, group = "what", value_name = "FILE")]
    file: Option<PathBuf>,
    /// The items for whose fields this condition holds, as JSON
    #[arg(long, group = "what", value_name = "CONDITION", value_parser = condition)]
    filter: Option<Condition>,
    /// Delete the index itself, with all its items
    #[arg(long, group = "what", requires = "index")]
    whole_index: bool,
    #[command(flatten)]
    means: Means,
}

impl Delete {
    pub(crate) fn run(self, ui: &mut Ui) -> Result<()> {
        let index = self.place.open(&self.means)?;
        if self.whole_index {
            let (name, items) = (index.name().to_owned(), index.len()?);
            drop(index);
            remove_index(&self.place.path, self.place.options(voisin::Options::default()))?;
            let value = json!({ "deleted_index": name, "items": items });
            return ui.result(&value, || {
                format!("deleted the index {name} with its {} items", number(items))
            });
        }
        if let Some(condition) = &self.filter {
            let (deleted, items) = (index.delete_matching(condition)?, index.len()?);
            return told(ui, &index, deleted, 0, items);
        }
        let keys = self.all_keys()?;
        let deleted = match &index {
            AnyIndex::Ids(index) => {
                let ids: Vec<u32> =
                    keys.iter().map(|key| given::<u32>(key)).collect::<Result<_>>()?;
                index.write(|batch: &mut Batch<'_, AnyMetric>| {
                    batch.delete_items(ids.iter().copied())
                })?
            }
            AnyIndex::Numbers(index) => {
                let keys: Vec<u64> =
                    keys.iter().map(|key| given::<u64>(key)).collect::<Result<_>>()?;
                index.write(|batch| batch.delete_items(&keys))?
            }
            AnyIndex::Texts(index) => index.write(|batch| batch.delete_items(&keys))?,
        };
        let (asked, items) = (keys.len() as u64, index.len()?);
        told(ui, &index, deleted, asked - deleted, items)?;
        if deleted < asked {
            return Err(Failure::no(format!(
                "{} of {asked} items were not there (or given twice): the others are deleted",
                asked - deleted
            )));
        }
        Ok(())
    }

    fn all_keys(&self) -> Result<Vec<String>> {
        let Some(file) = &self.file else { return Ok(self.keys.clone()) };
        let mut lines = Lines::open(file)?;
        let mut keys = Vec::new();
        while let Some((_, key)) = lines.next_line()? {
            keys.push(key.to_owned());
        }
        Ok(keys)
    }
}

fn told(ui: &mut Ui, index: &AnyIndex, deleted: u64, missing: u64, items: u64) -> Result<()> {
    let value = json!({ "deleted": deleted, "missing": missing, "items": items });
    ui.result(&value, || {
        let deleted = count(deleted, "item", "items");
        format!("deleted {deleted}: {} has {}", index.name(), number(items))
    })
}
