//! What voisin tells about an index, a folder or a file, as the classes of `_types.py`.

use std::fmt::Debug;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use voisin::{Finding, Inspected, Stats};

fn of_class<'py>(
    py: Python<'py>,
    class: &str,
    fields: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyAny>> {
    py.import("voisin._types")?.getattr(class)?.call((), Some(fields))
}

/// A dictionary of names and values.
macro_rules! fields {
    ($py:expr, $($name:ident: $value:expr),* $(,)?) => {{
        let fields = PyDict::new($py);
        $(fields.set_item(stringify!($name), $value)?;)*
        fields
    }};
}

fn shown(value: impl Debug) -> String {
    format!("{value:?}")
}

pub(crate) fn finding<'py>(py: Python<'py>, finding: &Finding) -> PyResult<Bound<'py, PyAny>> {
    let fields = fields!(py, invariant: shown(finding.invariant), what: &finding.what);
    of_class(py, "Finding", &fields)
}

pub(crate) fn stats<'py>(py: Python<'py>, stats: &Stats) -> PyResult<Bound<'py, PyAny>> {
    let codes = stats.codes.as_ref().map(|codes| {
        let fields = fields!(py,
            bits: codes.codes.bits(), trained_on: codes.trained_on, older: codes.older,
            drift: codes.drift(), error: codes.error);
        of_class(py, "CodeStats", &fields)
    });
    let range = stats.range.as_ref().map(|range| {
        let fields = fields!(py,
            lowest: range.lowest, highest: range.highest, step: range.step, error: range.error,
            saturated: range.saturated);
        of_class(py, "RangeStats", &fields)
    });
    let layers: PyResult<Vec<_>> = stats
        .layers
        .iter()
        .map(|layer| {
            let fields = fields!(py,
                nodes: layer.nodes, edges: layer.edges(), degrees: layer.degrees.clone(),
                one_way_edges: layer.one_way_edges, list_bytes: layer.list_bytes,
                tree_depth: layer.tree_depth);
            of_class(py, "LayerStats", &fields)
        })
        .collect();
    let kinds = PyDict::new(py);
    for kind in &stats.kinds {
        kinds.set_item(kind.kind.to_string(), (kind.values, kind.bytes))?;
    }
    let warnings: Vec<_> = stats.warnings().iter().map(ToString::to_string).collect();
    let fields = fields!(py,
        items: stats.items, pending: stats.pending, removed: stats.removed, slots: stats.slots,
        free_slots: stats.free_slots, dimensions: stats.dimensions, dtype: stats.form,
        m: stats.m, m0: stats.m0, ef_construction: stats.ef_construction, alpha: stats.alpha,
        codes: codes.transpose()?, range: range.transpose()?, layers: layers?,
        records: stats.records, record_bytes: stats.record_bytes, kinds: kinds,
        bytes: stats.bytes(), hot_bytes: stats.hot_bytes(), cold_bytes: stats.cold_bytes(),
        memory_bytes: stats.memory_bytes, file: file(py, stats)?, warnings: warnings);
    of_class(py, "Stats", &fields)
}

fn file<'py>(py: Python<'py>, stats: &Stats) -> PyResult<Bound<'py, PyAny>> {
    let file = &stats.environment;
    let oldest = file.oldest_reader.map(|oldest| (oldest.process, oldest.commits_behind));
    let fields = fields!(py,
        file_bytes: file.file_bytes, map_bytes: file.map_bytes, page_bytes: file.page_bytes,
        pages: file.pages, free_pages: file.free_pages, last_commit: file.last_commit,
        oldest_reader: oldest, readers: file.readers, max_readers: file.max_readers);
    of_class(py, "FileStats", &fields)
}

pub(crate) fn inspected<'py>(
    py: Python<'py>,
    inspected: &Inspected,
) -> PyResult<Bound<'py, PyAny>> {
    let (metadata, error) = match &inspected.metadata {
        Ok(metadata) => (Some(metadata), None),
        Err(error) => (None, Some(error)),
    };
    let fields = fields!(py,
        name: &inspected.name, id_type: id_type(inspected.naming), bytes: inspected.bytes,
        values: inspected.values,
        metric: metadata.map(|it| it.metric.as_str()), dtype: metadata.map(|it| it.form),
        dimensions: metadata.map(|it| it.dimensions),
        code_bits: metadata.and_then(|it| it.codes).map(|codes| codes.bits()),
        connectivity: metadata.and_then(|it| it.connectivity),
        items: metadata.map(|it| it.items), pending: metadata.map(|it| it.pending),
        removed: metadata.map(|it| it.removed),
        format_version: metadata.map(|it| it.format_version), error: error);
    of_class(py, "Inspected", &fields)
}

/// The kind of names of items, as Python's functions call it.
fn id_type(naming: &str) -> &str {
    match naming {
        "u32 ids" => "u32",
        "u64 keys" => "u64",
        "string keys" => "str",
        other => other,
    }
}
