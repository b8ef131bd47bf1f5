//! `voisin stats`.

use clap::Args;
use serde_json::{Value, json};
use voisin::{AnyIndex, Field, Figure, OldestReader, Options, Stats as Figures};

use super::create::describe;
use crate::failure::{Result, in_our_words};
use crate::fields;
use crate::place::{Place, size};
use crate::ui::{Ui, bytes, number, table};

/// Tell the size and the state of an index: items, layers, bytes by kind, readers, and what costs
/// recall.
#[derive(Debug, Args)]
pub(crate) struct Stats {
    #[command(flatten)]
    place: Place,
    /// The memory that searches have, such as 512M: a warning says if it is too little
    #[arg(long, value_name = "BYTES", value_parser = size)]
    memory: Option<u64>,
}

impl Stats {
    pub(crate) fn run(self, ui: &mut Ui) -> Result<()> {
        let options =
            self.memory.map_or_else(Options::default, |bytes| Options::default().memory(bytes));
        let index = self.place.read_with(options)?;
        let bar = ui.bar();
        bar.spin("reading");
        let (stats, fields) = (index.stats()?, index.fields()?);
        bar.finish();
        if ui.is_json {
            return ui.json(&value_of(&index, &stats, &fields));
        }
        ui.line(describe(&index).0)?;
        let rows: Vec<Vec<String>> = rows_of(&stats, &fields)
            .into_iter()
            .map(|(what, value)| vec![what.to_owned(), value])
            .collect();
        ui.line(table(&rows, &[]))?;
        if !stats.layers.is_empty() {
            let mut rows = vec![LAYER_HEADS.map(str::to_owned).to_vec()];
            rows.extend(layers(&stats));
            ui.line(format_args!("\n{}", table(&rows, &[0, 1, 2, 3, 4, 5])))?;
        }
        ui.line(format_args!("\n{}", kinds(&stats)))?;
        for warning in stats.warnings() {
            ui.line(format_args!("\nwarning: {}", in_our_words(&warning.to_string())))?;
        }
        Ok(())
    }
}

pub(crate) fn rows_of(stats: &Figures, fields: &[Field]) -> Vec<(&'static str, String)> {
    let environment = &stats.environment;
    let mut rows = vec![
        ("items", number(stats.items)),
        ("pending", number(stats.pending)),
        ("removed", number(stats.removed)),
        ("slots", format!("{}, {} free", number(stats.slots), number(stats.free_slots))),
    ];
    rows.extend(kinds_and_records(stats, fields));
    if stats.m0 > 0 {
        let (m, m0, ef, alpha) = (stats.m, stats.m0, stats.ef_construction, stats.alpha);
        rows.push(("graph", format!("M {m}, M0 {m0}, ef_construction {ef}, alpha {alpha}")));
    }
    if let Some(codes) = &stats.codes {
        let text = format!(
            "{}, trained on {} vectors, relative error {:.3}, drift {:.2}, {} older",
            codes.codes,
            number(codes.trained_on),
            codes.error,
            codes.drift(),
            number(codes.older)
        );
        rows.push(("codes", text));
    }
    if let Some(range) = &stats.range {
        let text = format!(
            "{} to {}, relative error {:.3}, {:.2} % clipped",
            range.lowest,
            range.highest,
            range.error,
            100.0 * range.saturated
        );
        rows.push(("range of i8", text));
    }
    rows.extend([
        ("index", bytes(stats.bytes())),
        ("hot part", bytes(stats.hot_bytes())),
        ("file", bytes(environment.file_bytes)),
        ("map", bytes(environment.map_bytes)),
        ("commit", number(environment.last_commit)),
        ("readers", format!("{} of {}", environment.readers, environment.max_readers)),
    ]);
    if let Some(free) = environment.free_pages {
        rows.push(("free in the file", bytes(free * environment.page_bytes)));
    }
    // This process reads, too.
    let is_other = |oldest: &&OldestReader| oldest.process != std::process::id();
    if let Some(oldest) = environment.oldest_reader.as_ref().filter(is_other) {
        let text = format!("process {}, {} commits behind", oldest.process, oldest.commits_behind);
        rows.push(("oldest reader", text));
    }
    rows
}

/// The kinds of index with what they consist of, the fields and the records.
fn kinds_and_records(stats: &Figures, fields: &[Field]) -> Vec<(&'static str, String)> {
    let mut rows = vec![("kinds", fields::kinds_of(&stats.index_kinds))];
    for (kind, figures) in stats.figures() {
        let figures = figures.into_iter().map(|(name, figure)| {
            let figure = match figure {
                Figure::Count(count) => number(count),
                ratio => ratio.to_string(),
            };
            format!("{} {figure}", name.replace('_', " "))
        });
        rows.push((kind.name(), figures.collect::<Vec<_>>().join(", ")));
    }
    if !fields.is_empty() {
        rows.push(("fields", fields::names_of(fields)));
    }
    if stats.records > 0 {
        let text = format!("{}, {}", number(stats.records), bytes(stats.record_bytes));
        rows.push(("records", text));
    }
    rows
}

/// The columns of [`layers`].
pub(crate) const LAYER_HEADS: [&str; 6] =
    ["layer", "nodes", "edges a node", "one-way edges", "bytes a list", "tree depth"];

/// The layers of the graph, from the base.
pub(crate) fn layers(stats: &Figures) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for (number_of_layer, layer) in stats.layers.iter().enumerate() {
        let nodes = layer.nodes.max(1) as f64;
        rows.push(vec![
            number_of_layer.to_string(),
            number(layer.nodes),
            format!("{:.1}", layer.edges() as f64 / nodes),
            number(layer.one_way_edges),
            format!("{:.1}", layer.list_bytes as f64 / nodes),
            layer.tree_depth.to_string(),
        ]);
    }
    rows
}

fn kinds(stats: &Figures) -> String {
    let mut rows = vec![["kind of value", "values", "bytes"].map(str::to_owned).to_vec()];
    let kinds = stats.kinds.iter().filter(|kind| kind.values > 0);
    rows.extend(
        kinds.map(|kind| vec![kind.kind.to_string(), number(kind.values), bytes(kind.bytes)]),
    );
    table(&rows, &[1, 2])
}

/// The statistics for a program.
pub(super) fn value_of(index: &AnyIndex, stats: &Figures, fields: &[Field]) -> Value {
    let (_, mut value) = describe(index);
    let environment = &stats.environment;
    let layers = stats.layers.iter().map(|layer| {
        json!({
            "nodes": layer.nodes, "edges": layer.edges(), "degrees": layer.degrees,
            "one_way_edges": layer.one_way_edges, "list_bytes": layer.list_bytes,
            "tree_depth": layer.tree_depth,
        })
    });
    let kinds = stats.kinds.iter().map(
        |kind| json!({ "kind": kind.kind.to_string(), "values": kind.values, "bytes": kind.bytes }),
    );
    let codes = stats.codes.as_ref().map(|codes| {
        json!({
            "bits": codes.codes.bits(), "trained_on": codes.trained_on, "older": codes.older,
            "error": codes.error, "drift": codes.drift(),
        })
    });
    let range = stats.range.as_ref().map(|range| {
        json!({
            "lowest": range.lowest, "highest": range.highest, "error": range.error,
            "saturated": range.saturated,
        })
    });
    let oldest = environment.oldest_reader.as_ref().map(
        |oldest| json!({ "process": oldest.process, "commits_behind": oldest.commits_behind }),
    );
    let warnings: Vec<String> =
        stats.warnings().iter().map(|warning| in_our_words(&warning.to_string())).collect();
    let more = json!({
        "index_kinds": fields::kinds_json(&stats.index_kinds),
        "fields": fields::fields_json(fields), "records": stats.records,
        "record_bytes": stats.record_bytes,
        "items": stats.items, "pending": stats.pending, "removed": stats.removed,
        "slots": stats.slots, "free_slots": stats.free_slots, "m": stats.m, "m0": stats.m0,
        "ef_construction": stats.ef_construction, "alpha": stats.alpha, "codes": codes,
        "range": range, "layers": layers.collect::<Vec<_>>(), "kinds": kinds.collect::<Vec<_>>(),
        "bytes": stats.bytes(), "hot_bytes": stats.hot_bytes(),
        "file_bytes": environment.file_bytes, "map_bytes": environment.map_bytes,
        "page_bytes": environment.page_bytes, "free_pages": environment.free_pages,
        "commit": environment.last_commit, "readers": environment.readers,
        "max_readers": environment.max_readers, "oldest_reader": oldest, "warnings": warnings,
    });
    if let (Some(value), Value::Object(more)) = (value.as_object_mut(), more) {
        value.extend(more);
        value.extend(structures(stats));
    }
    value
}

/// The figures of each kind that has structures of its own, by its name.
fn structures(stats: &Figures) -> impl Iterator<Item = (String, Value)> {
    let value = |figure| match figure {
        Figure::Count(count) => Value::from(count),
        Figure::Ratio(ratio) => Value::from(ratio),
    };
    stats.figures().into_iter().map(move |(kind, figures)| {
        let figures = figures.into_iter().map(|(name, figure)| (name.to_owned(), value(figure)));
        (kind.name().to_owned(), Value::Object(figures.collect()))
    })
}
