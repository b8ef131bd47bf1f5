//! `voisin tenants`.

use std::path::PathBuf;

use clap::{ArgAction, ArgGroup, Args};
use serde_json::{Value, json};
use voisin::{AnyIndex, AnyMetric, Index, PrefixedKey};

use crate::failure::Result;
use crate::keys::{self, Key, Named as _};
use crate::like::check_alike;
use crate::place::{Means, Place};
use crate::tenant::{missing, name_of};
use crate::ui::{Ui, count, path};

/// List the tenants of an index, with their numbers of items, or change one as a whole.
///
/// An index of texts or bytes holds any number of tenants: collections of items with keys of their
/// own, in one index. A tenant is there while it has items: load --tenant makes one. search, get,
/// list, count, delete, erase and export take --tenant, too. All other subcommands, such as facet,
/// merge and bench, work on the items of all tenants, which have keys there that tell the tenant.
///
/// Counting reads the keys of all tenants.
#[derive(Debug, Args)]
#[command(
    groups = [
        ArgGroup::new("what").required(false).multiple(false),
        ArgGroup::new("target").required(false).multiple(true),
    ],
    after_help = "Examples:
  voisin tenants notes
  voisin tenants notes --rename acme 'acme & sons'
  voisin tenants notes --drop acme
  voisin tenants notes --move acme --to-index large"
)]
pub(crate) struct Tenants {
    #[command(flatten)]
    place: Place,
    /// List at most so many
    #[arg(long, short = 'n', value_name = "N", conflicts_with = "what")]
    limit: Option<usize>,
    /// Give a tenant another name, which none has, in one commit
    #[arg(long, group = "what", num_args = 2, action = ArgAction::Set,
          value_names = ["NAME", "NEW"])]
    rename: Option<Vec<String>>,
    /// Delete all items of a tenant, in one commit
    #[arg(long, group = "what", value_name = "NAME")]
    drop: Option<String>,
    /// Delete all items of a tenant, and clear what they leave in the file, in one commit, as
    /// voisin erase does
    #[arg(long, group = "what", value_name = "NAME")]
    erase: Option<String>,
    /// Move a tenant to another index, which has none of its name: in one commit within a folder,
    /// and else first the copy, then the deletion; keep others from changing it meanwhile
    #[arg(long = "move", group = "what", value_name = "NAME", requires = "target")]
    moved: Option<String>,
    /// The folder of that index; the same unless given
    #[arg(long, group = "target", value_name = "FOLDER", requires = "moved")]
    to: Option<PathBuf>,
    /// The name of that index; the only one in its folder, or "main", unless given
    #[arg(long, group = "target", value_name = "NAME", requires = "moved")]
    to_index: Option<String>,
    #[command(flatten)]
    means: Means,
}

impl Tenants {
    /// Whether it changes an index.
    pub(crate) fn changes(&self) -> bool {
        let named = [&self.drop, &self.erase, &self.moved];
        self.rename.is_some() || named.into_iter().any(Option::is_some)
    }

    pub(crate) fn run(self, ui: &mut Ui) -> Result<()> {
        if !self.changes() {
            let index = self.place.read()?;
            return match &index {
                AnyIndex::Texts(index) => self.list(ui, index),
                AnyIndex::Bytes(index) => self.list(ui, index),
                // The engine says why there are none.
                other => Ok(other.tenants().map(drop)?),
            };
        }
        let index = self.place.open(&self.means)?;
        if let Some([name, new]) = self.rename.as_deref() {
            let items = index.rename_tenant(name_of(&index, name)?, name_of(&index, new)?)?;
            let value = json!({ "renamed": name, "to": new, "items": items });
            return told(ui, name, items, &value, |items| {
                format!("renamed {name} to {new}, of {items}")
            });
        }
        if let Some(name) = &self.drop {
            let items = index.drop_tenant(name_of(&index, name)?)?;
            let value = json!({ "dropped": name, "items": items });
            return told(ui, name, items, &value, |items| format!("dropped {name}, of {items}"));
        }
        if let Some(name) = &self.erase {
            let bar = ui.bar();
            bar.spin("erasing");
            let items = index.erase_tenant(name_of(&index, name)?)?;
            bar.finish();
            let value = json!({ "erased": name, "items": items });
            return told(ui, name, items, &value, |items| {
                format!(
                    "erased {name}, of {items}; voisin copy makes a file that has nothing of them"
                )
            });
        }
        let Some(name) = &self.moved else { return Ok(()) };
        self.move_to_target(ui, &index, name)
    }

    fn list<K: Key + PrefixedKey + ?Sized>(
        &self,
        ui: &mut Ui,
        index: &Index<AnyMetric, K>,
    ) -> Result<()> {
        let snapshot = index.snapshot()?;
        for name in snapshot.tenants()?.take(self.limit.unwrap_or(usize::MAX)) {
            let name = name?;
            let (items, name) = (snapshot.tenant(name.again())?.len()?, name.any());
            ui.result(&json!({ "tenant": keys::json(&name), "items": items }), || {
                format!("{items:>10}  {}", keys::text(&name))
            })?;
        }
        Ok(())
    }

    fn move_to_target(&self, ui: &mut Ui, index: &AnyIndex, name: &str) -> Result<()> {
        let folder = self.to.as_ref().unwrap_or(&self.place.path);
        let place =
            Place { path: folder.clone(), index: self.to_index.clone(), ..self.place.clone() };
        let target = place.open(&self.means)?;
        check_alike(index, &target)?;
        let tenant = name_of(index, name)?;
        let bar = ui.bar();
        bar.spin("moving");
        let items = index.move_tenant(tenant.clone(), &target, tenant)?;
        bar.finish();
        let value = json!({
            "moved": name, "items": items, "index": target.name(), "folder": path(target.path()),
        });
        told(ui, name, items, &value, |items| {
            format!("moved {name}, of {items}, to {}", target.name())
        })
    }
}

/// Tells what was done with the items of a tenant.
///
/// # Errors
/// A no if there is no such tenant.
fn told(
    ui: &mut Ui,
    name: &str,
    items: u64,
    value: &Value,
    text: impl FnOnce(String) -> String,
) -> Result<()> {
    if items == 0 {
        return Err(missing(name));
    }
    ui.result(value, || text(count(items, "item", "items")))
}
