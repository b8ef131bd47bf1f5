//! `voisin alter`: the fields and the kinds of a living index.

use std::time::Instant;

use clap::Args;
use serde_json::json;
use voisin::{AnyMetric, Batch, Field, IndexKind};

use crate::failure::Result;
use crate::fields::{self, field, kind};
use crate::place::{Means, Place, on_index};
use crate::ui::{Ui, time};

/// Change the fields and the kinds of an index, all in one commit.
///
/// Others search meanwhile, and see the change with its commit. A field that is added is filled
/// from the records that there are; one that is dropped leaves them as they are. A kind that is
/// added is made from the stored vectors.
#[derive(Debug, Args)]
#[command(
    group = clap::ArgGroup::new("what").required(true).multiple(true),
    after_help = "Example: voisin alter notes --add-field year:integer --add-kind ivf"
)]
pub(crate) struct Alter {
    #[command(flatten)]
    place: Place,
    /// Add a field of the records: its name, and keyword, integer, float, timestamp or bool
    #[arg(long, group = "what", value_name = "NAME:TYPE", value_parser = field)]
    add_field: Vec<Field>,
    /// Drop a field
    #[arg(long, group = "what", value_name = "NAME")]
    drop_field: Vec<String>,
    /// Add a kind of index: hnsw, ivf or lsh
    #[arg(long, group = "what", value_name = "KIND", value_parser = kind)]
    add_kind: Vec<IndexKind>,
    /// Drop a kind of index
    #[arg(long, group = "what", value_name = "KIND", value_parser = kind)]
    drop_kind: Vec<IndexKind>,
    #[command(flatten)]
    means: Means,
}

impl Alter {
    pub(crate) fn run(self, ui: &mut Ui) -> Result<()> {
        let began = Instant::now();
        let index = self.place.open(&self.means)?;
        let bar = ui.bar();
        bar.spin("changing");
        on_index!(&index, index => index.write(|batch| self.change(batch)))?;
        bar.finish();
        let (kinds, fields, took) = (index.kinds()?, index.fields()?, began.elapsed());
        let value = json!({
            "index": index.name(), "index_kinds": fields::kinds_json(&kinds),
            "fields": fields::fields_json(&fields), "seconds": took.as_secs_f64(),
        });
        ui.result(&value, || {
            let fields = match &fields[..] {
                [] => "no fields".to_owned(),
                fields => format!("the fields {}", fields::names_of(fields)),
            };
            let kinds = fields::kinds_of(&kinds);
            format!("{} has the kinds {kinds} and {fields} ({})", index.name(), time(took))
        })
    }

    /// Drops first, so that a name can get another type.
    fn change<K: ?Sized>(&self, batch: &mut Batch<'_, AnyMetric, K>) -> voisin::Result<()> {
        for name in &self.drop_field {
            batch.drop_field(name)?;
        }
        for kind in &self.drop_kind {
            batch.drop_kind(*kind)?;
        }
        for field in &self.add_field {
            batch.add_field(field.clone())?;
        }
        for kind in &self.add_kind {
            batch.add_kind(*kind)?;
        }
        Ok(())
    }
}
