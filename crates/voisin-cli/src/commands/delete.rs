//! `voisin delete`.

use clap::{ArgGroup, Args};
use serde_json::json;
use voisin::{AnyIndex, AnyTenant, Condition, remove_index};

use crate::chosen::{Chosen, named_in, told};
use crate::failure::Result;
use crate::keys::Named;
use crate::place::{Means, Place, on_index};
use crate::tenant::{OfTenant, on_tenant};
use crate::ui::{Ui, number};

/// Delete items, all in one commit, or a whole index.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("what").required(true).multiple(false),
    after_help = "Examples:
  voisin delete notes 17 18
  voisin delete notes --file keys.txt
  voisin delete notes --filter '{\"field\": \"year\", \"below\": 1990}'
  voisin delete notes --tenant acme doc-1
  voisin delete notes --index old --whole-index"
)]
pub(crate) struct Delete {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    chosen: Chosen,
    #[command(flatten)]
    of_tenant: OfTenant,
    /// Delete the index itself, with all its items
    #[arg(long, group = "what", requires = "index", conflicts_with = "tenant")]
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
        let tenant = self.of_tenant.of(&index)?;
        let deleted = match &self.chosen.filter {
            Some(condition) => {
                let deleted = delete_matching(&index, tenant.as_ref(), condition)?;
                (deleted, deleted)
            }
            None => {
                let keys = self.chosen.keys()?;
                (keys.len() as u64, delete(&index, tenant.as_ref(), &keys)?)
            }
        };
        told(ui, &index, "deleted", deleted, "")
    }
}

fn delete(index: &AnyIndex, tenant: Option<&AnyTenant>, keys: &[String]) -> Result<u64> {
    match tenant {
        Some(tenant) => on_tenant!(tenant, tenant => {
            let named = named_in(tenant.of(), keys)?;
            Ok(tenant.write(|batch| batch.delete_items(&named))?)
        }),
        None => on_index!(index, index => {
            let named = named_in(index, keys)?;
            Ok(index.write(|batch| batch.delete_items(named.iter().map(Named::again)))?)
        }),
    }
}

fn delete_matching(
    index: &AnyIndex,
    tenant: Option<&AnyTenant>,
    condition: &Condition,
) -> Result<u64> {
    let Some(tenant) = tenant else { return Ok(index.delete_matching(condition)?) };
    // Of the newest commit: no other writer adds one before this one ends.
    let deleted = on_tenant!(tenant, tenant => tenant.write(|batch| {
        let matching = tenant.snapshot()?.keys_of(condition)?;
        batch.delete_items(matching)
    }));
    Ok(deleted?)
}
