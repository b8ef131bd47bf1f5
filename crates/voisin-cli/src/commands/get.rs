//! `voisin get`.

use clap::Args;
use serde_json::json;
use voisin::{AnyIndex, AnyKey};

use super::search::missing;
use crate::failure::{Failure, Result};
use crate::keys::{self, given};
use crate::place::Place;
use crate::ui::Ui;

/// Print the vectors of items, as stored.
#[derive(Debug, Args)]
#[command(after_help = "Example: voisin get notes 17 18 --json")]
pub(crate) struct Get {
    #[command(flatten)]
    place: Place,
    /// The items
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,
}

/// The key of an item of an index, as the command line gives it.
pub(super) fn key_of(index: &AnyIndex, text: &str) -> Result<AnyKey> {
    Ok(match index {
        AnyIndex::Ids(_) => AnyKey::Number(given::<u32>(text)?.into()),
        AnyIndex::Numbers(_) => AnyKey::Number(given::<u64>(text)?),
        AnyIndex::Texts(_) => AnyKey::Text(given::<str>(text)?),
    })
}

impl Get {
    pub(crate) fn run(self, ui: &mut Ui) -> Result<()> {
        let index = self.place.read()?;
        let mut absent = Vec::new();
        for text in &self.keys {
            let key = key_of(&index, text)?;
            let Some(vector) = index.vector(key.clone())? else {
                absent.push(text);
                continue;
            };
            ui.result(&json!({ "key": keys::json(&key), "vector": vector }), || {
                format!("{}  {vector:?}", keys::text(&key))
            })?;
        }
        match absent[..] {
            [] => Ok(()),
            [key] => Err(missing(key)),
            [first, ..] => Err(Failure::no(format!(
                "{} of {} items are missing, the first is {first:?}: voisin list prints the keys \
                 of all items",
                absent.len(),
                self.keys.len()
            ))),
        }
    }
}
