//! `voisin delete`.

use clap::{ArgGroup, Args};
use serde_json::json;
use voisin::{AnyIndex, AnyMetric, Batch, remove_index};

use crate::chosen::{Chosen, all_were_there, named};
use crate::failure::Result;
use crate::place::{Means, Place};
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
    #[command(flatten)]
    chosen: Chosen,
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
        if let Some(condition) = &self.chosen.filter {
            let (deleted, items) = (index.delete_matching(condition)?, index.len()?);
            return told(ui, &index, deleted, 0, items);
        }
        let keys = self.chosen.keys()?;
        let deleted = delete(&index, &keys)?;
        let (asked, items) = (keys.len() as u64, index.len()?);
        told(ui, &index, deleted, asked - deleted, items)?;
        all_were_there(asked, deleted, "deleted")
    }
}

fn delete(index: &AnyIndex, keys: &[String]) -> Result<u64> {
    Ok(match index {
        AnyIndex::Ids(index) => {
            let ids = named::<u32>(keys)?;
            index
                .write(|batch: &mut Batch<'_, AnyMetric>| batch.delete_items(ids.iter().copied()))?
        }
        AnyIndex::Numbers(index) => {
            let keys = named::<u64>(keys)?;
            index.write(|batch| batch.delete_items(&keys))?
        }
        AnyIndex::Texts(index) => index.write(|batch| batch.delete_items(keys))?,
        AnyIndex::Bytes(index) => {
            let keys = named::<[u8]>(keys)?;
            index.write(|batch| batch.delete_items(&keys))?
        }
        AnyIndex::Uuids(index) => {
            let keys = named::<[u8; 16]>(keys)?;
            index.write(|batch| batch.delete_items(&keys))?
        }
    })
}

fn told(ui: &mut Ui, index: &AnyIndex, deleted: u64, missing: u64, items: u64) -> Result<()> {
    let value = json!({ "deleted": deleted, "missing": missing, "items": items });
    ui.result(&value, || {
        let deleted = count(deleted, "item", "items");
        format!("deleted {deleted}: {} has {}", index.name(), number(items))
    })
}
