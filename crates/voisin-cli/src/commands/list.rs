//! `voisin list`.

use clap::Args;
use serde_json::json;
use voisin::{AnyIndex, AnyKey, AnyMetric, Index, ItemKey};

use crate::failure::{Failure, Result};
use crate::fields::Filtered;
use crate::keys::{self, Key, Named, given};
use crate::place::Place;
use crate::tenant::{OfTenant, on_tenant};
use crate::ui::Ui;

/// Print the keys of all items, or of those of a condition or a tenant, in their order, one a line.
///
/// Without --tenant, items of tenants are among them, by the keys that they have in the index.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    place: Place,
    /// At most so many
    #[arg(long, short = 'n', value_name = "N")]
    limit: Option<usize>,
    /// Only those that begin so (an index of texts, or the hexadecimal digits of one of bytes)
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    #[command(flatten)]
    filtered: Filtered,
    #[command(flatten)]
    of_tenant: OfTenant,
}

impl List {
    pub(crate) fn run(self, ui: &mut Ui) -> Result<()> {
        let index = self.place.read()?;
        let prefix = self.prefix_in(&index)?;
        if let Some(tenant) = self.of_tenant.of(&index)? {
            on_tenant!(&tenant, tenant => {
                let tenant = tenant.snapshot()?;
                match &self.filtered.condition {
                    Some(condition) => {
                        let keys = tenant.keys_of(condition)?.into_iter();
                        self.print(ui, &prefix, keys.map(|key| Ok(key.any())))
                    }
                    None => self.print(ui, &prefix, tenant.keys()?.map(|key| key.map(Named::any))),
                }
            })?;
            return self.of_tenant.note(ui, &tenant);
        }
        if let Some(condition) = &self.filtered.condition {
            let mut keys = index.keys_of(condition)?;
            keys.sort_unstable();
            return self.print(ui, &prefix, keys.into_iter().map(Ok));
        }
        match &index {
            AnyIndex::Ids(index) => {
                let ids = index.snapshot()?.ids()?;
                self.print(ui, &prefix, ids.iter().map(|id| Ok(AnyKey::Number(id.into()))))
            }
            AnyIndex::Numbers(index) => self.all(ui, &prefix, index),
            AnyIndex::Texts(index) => self.all(ui, &prefix, index),
            AnyIndex::Bytes(index) => self.all(ui, &prefix, index),
            AnyIndex::Uuids(index) => self.all(ui, &prefix, index),
        }
    }

    /// The bytes that keys must begin with. Refuses a prefix where names have none.
    fn prefix_in(&self, index: &AnyIndex) -> Result<Vec<u8>> {
        let Some(prefix) = &self.prefix else { return Ok(Vec::new()) };
        match index {
            AnyIndex::Texts(_) => Ok(prefix.clone().into_bytes()),
            AnyIndex::Bytes(_) => given::<[u8]>(prefix),
            _ => Err(Failure::usage(format!(
                "--prefix {prefix:?}: the items of the index are named by {}, which have no \
                 prefix: leave it out",
                index.naming()
            ))),
        }
    }

    /// Prints the keys of all items.
    fn all<K: Key + ItemKey + ?Sized>(
        &self,
        ui: &mut Ui,
        prefix: &[u8],
        index: &Index<AnyMetric, K>,
    ) -> Result<()> {
        let snapshot = index.snapshot()?;
        self.print(ui, prefix, snapshot.keys()?.map(|key| key.map(Named::any)))
    }

    fn print(
        &self,
        ui: &mut Ui,
        prefix: &[u8],
        names: impl Iterator<Item = voisin::Result<AnyKey>>,
    ) -> Result<()> {
        let begins = |key: &voisin::Result<AnyKey>| match key {
            Ok(AnyKey::Text(text)) => text.as_bytes().starts_with(prefix),
            Ok(AnyKey::Bytes(bytes)) => bytes.starts_with(prefix),
            Ok(_) | Err(_) => true,
        };
        for key in names.filter(begins).take(self.limit.unwrap_or(usize::MAX)) {
            let key = key?;
            ui.result(&json!({ "key": keys::json(&key) }), || keys::text(&key))?;
        }
        Ok(())
    }
}
