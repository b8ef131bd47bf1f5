//! `voisin inspect`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use voisin::{Error, Inspected, Metadata};

use crate::failure::{Failure, Result, in_our_words};
use crate::fields;
use crate::ui::{Ui, bytes, number, table};

/// Tell which indexes a folder or a data file of LMDB holds, whichever program wrote it.
///
/// Reads no vector, and changes nothing.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The folder, or a data file
    #[arg(value_name = "PATH")]
    path: PathBuf,
}

impl Inspect {
    pub(crate) fn run(self, ui: &mut Ui) -> Result<()> {
        let found = voisin::inspect(&self.path).map_err(|error| match error {
            Error::MissingEnvironment { .. } if !self.path.exists() => Failure::environment(
                format!("there is nothing at {}: check the path", self.path.display()),
            ),
            error => error.into(),
        })?;
        if ui.is_json {
            return found.iter().try_for_each(|index| ui.json(&value_of(index)));
        }
        if found.is_empty() {
            return ui.line(format_args!("{} holds no index of voisin", self.path.display()));
        }
        let mut rows = vec![HEADS.map(str::to_owned).to_vec()];
        rows.extend(found.iter().map(row_of));
        ui.line(table(&rows, &[1, 2, 8]))
    }
}

/// The columns of [`row_of`].
pub(super) const HEADS: [&str; 10] =
    ["index", "items", "dimensions", "metric", "as", "named by", "kinds", "codes", "size", ""];

/// The name of an index, or how to find it without one.
pub(super) fn name_of(index: &Inspected) -> String {
    match (&index.name, &index.database) {
        (Some(name), _) => name.clone(),
        (None, Some(database)) => format!("number {} of {database:?}", index.index),
        (None, None) => format!("number {}", index.index),
    }
}

pub(super) fn row_of(index: &Inspected) -> Vec<String> {
    let name = name_of(index);
    let size = bytes(index.bytes);
    match &index.metadata {
        Ok(metadata) => vec![
            name,
            number(metadata.items),
            metadata.dimensions.to_string(),
            metadata.metric.clone(),
            metadata.form.to_owned(),
            index.naming.to_owned(),
            fields::kinds_of(&metadata.kinds),
            metadata.codes.map_or("none".to_owned(), |codes| codes.to_string()),
            size,
            remarks(metadata),
        ],
        Err(what) => {
            let mut row = vec![name];
            row.resize(8, "?".to_owned());
            row.extend([size, in_our_words(what)]);
            row
        }
    }
}

/// What deserves attention.
fn remarks(metadata: &Metadata) -> String {
    let of = |count: u64, what| (count > 0).then(|| format!("{} {what}", number(count)));
    let remarks = [of(metadata.pending, "pending"), of(metadata.removed, "removed")];
    remarks.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn value_of(index: &Inspected) -> serde_json::Value {
    let mut value = json!({
        "index": index.name, "database": index.database, "number": index.index,
        "names": index.naming, "values": index.values, "bytes": index.bytes,
    });
    let more = match &index.metadata {
        Ok(metadata) => json!({
            "metric": metadata.metric, "form": metadata.form, "dimensions": metadata.dimensions,
            "items": metadata.items, "pending": metadata.pending, "removed": metadata.removed,
            "index_kinds": fields::kinds_json(&metadata.kinds),
            "code_bits": metadata.codes.map(voisin::Codes::bits),
            "m": metadata.connectivity.map(|(m, _)| m),
            "m0": metadata.connectivity.map(|(_, m0)| m0),
            "format_version": metadata.format_version, "defect": null,
        }),
        Err(what) => json!({ "defect": in_our_words(what) }),
    };
    if let (Some(value), serde_json::Value::Object(more)) = (value.as_object_mut(), more) {
        value.extend(more);
    }
    value
}
