//! `voisin list`.

use clap::Args;
use serde_json::json;
use voisin::{AnyIndex, AnyKey};

use crate::failure::{Failure, Result};
use crate::keys::{self, given};
use crate::place::Place;
use crate::ui::Ui;

/// Print the keys of all items, in their order, one a line.
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
}

impl List {
    pub(crate) fn run(self, ui: &mut Ui) -> Result<()> {
        let index = self.place.read()?;
        match (&index, &self.prefix) {
            (AnyIndex::Ids(index), None) => {
                let ids = index.snapshot()?.ids()?;
                self.print(ui, ids.iter().map(|id| Ok(AnyKey::Number(id.into()))))
            }
            (AnyIndex::Numbers(index), None) => {
                let snapshot = index.snapshot()?;
                self.print(ui, snapshot.keys()?.map(|key| key.map(AnyKey::Number)))
            }
            (AnyIndex::Uuids(index), None) => {
                let snapshot = index.snapshot()?;
                self.print(ui, snapshot.keys()?.map(|key| key.map(AnyKey::Uuid)))
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
            (AnyIndex::Bytes(index), prefix) => {
                let snapshot = index.snapshot()?;
                let prefix = given::<[u8]>(prefix.as_deref().unwrap_or_default())?;
                let begins = |key: &voisin::Result<Vec<u8>>| match key {
                    Ok(key) => key.starts_with(&prefix),
                    Err(_) => true,
                };
                self.print(ui, snapshot.keys()?.filter(begins).map(|key| key.map(AnyKey::Bytes)))
            }
            (_, Some(prefix)) => Err(Failure::usage(format!(
                "--prefix {prefix:?}: the items of the index are named by {}, which have no \
                 prefix: leave it out",
                index.naming()
            ))),
        }
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
