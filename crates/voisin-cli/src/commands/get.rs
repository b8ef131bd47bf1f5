//! `voisin get`.

use clap::Args;
use serde::Serialize;
use serde_json::Value;
use voisin::{AnyIndex, AnyKey};

use super::search::{missing, of_all};
use crate::failure::{Failure, Result};
use crate::keys::{self, given};
use crate::place::Place;
use crate::record::{self, Record};
use crate::tenant::OfTenant;
use crate::ui::Ui;

/// Print the vectors of items, as stored, and their records.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  voisin get notes 17 18 --json
  voisin get notes --tenant acme doc-1")]
pub(crate) struct Get {
    #[command(flatten)]
    place: Place,
    /// The items
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,
    #[command(flatten)]
    of_tenant: OfTenant,
}

/// An item, for a program.
#[derive(Serialize)]
pub(super) struct Item<'a> {
    pub(super) key: Value,
    pub(super) vector: &'a [f32],
    #[serde(flatten)]
    pub(super) record: Record<'a>,
}

/// The key of an item of an index, as the command line gives it.
pub(super) fn key_of(index: &AnyIndex, text: &str) -> Result<AnyKey> {
    Ok(match index {
        AnyIndex::Ids(_) => AnyKey::Number(given::<u32>(text)?.into()),
        AnyIndex::Numbers(_) => AnyKey::Number(given::<u64>(text)?),
        AnyIndex::Texts(_) => AnyKey::Text(given::<str>(text)?),
        AnyIndex::Bytes(_) => AnyKey::Bytes(given::<[u8]>(text)?),
        AnyIndex::Uuids(_) => AnyKey::Uuid(given::<[u8; 16]>(text)?),
    })
}

impl Get {
    pub(crate) fn run(self, ui: &mut Ui) -> Result<()> {
        let index = self.place.read()?;
        let tenant = self.of_tenant.of(&index)?;
        let mut absent = Vec::new();
        for text in &self.keys {
            let key = key_of(&index, text)?;
            let vector = match &tenant {
                Some(tenant) => tenant.vector(key.clone())?,
                None => index.vector(key.clone())?,
            };
            let Some(vector) = vector else {
                absent.push(text);
                continue;
            };
            let record = match &tenant {
                Some(tenant) => tenant.record(key.clone())?,
                None => index.record(key.clone())?,
            };
            let shown = Record::of(record.as_deref());
            let item = Item { key: keys::json(&key), vector: &vector, record: shown };
            ui.result(&item, || {
                let record = record.as_deref().map(record::text);
                let record = record.map_or(String::new(), |record| format!("  {record}"));
                format!("{}  {vector:?}{record}", keys::text(&key))
            })?;
        }
        match absent[..] {
            [] => Ok(()),
            [key] => Err(missing(key, &self.of_tenant)),
            [first, ..] => Err(Failure::no(format!(
                "{} of {} items are missing, the first is {first:?}: voisin list prints the keys \
                 of {}",
                absent.len(),
                self.keys.len(),
                of_all(&self.of_tenant)
            ))),
        }
    }
}
