//! What voisin tells about an index, a folder or a file, as the classes of `_types.py`.

use std::fmt::Debug;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use voisin::{
    Certificate, Count, Figure, Finding, IndexKind, Inspected, Recall, Stats, Strategy, Way,
};

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

/// The names of kinds of index.
pub(crate) fn kind_names(kinds: &[IndexKind]) -> Vec<&'static str> {
    kinds.iter().map(|kind| kind.name()).collect()
}

/// The name of an access path.
pub(crate) fn strategy_name(strategy: Strategy) -> &'static str {
    strategy.name()
}

pub(crate) fn certificate<'py>(
    py: Python<'py>,
    certificate: &Certificate,
) -> PyResult<Bound<'py, PyAny>> {
    let fields = fields!(py,
        commit: certificate.snapshot, items: certificate.items, compared: certificate.compared,
        ruled_out: certificate.ruled_out);
    of_class(py, "Certificate", &fields)
}

pub(crate) fn count<'py>(py: Python<'py>, count: &Count) -> PyResult<Bound<'py, PyAny>> {
    let fields = fields!(py,
        items: count.items, low: count.low, high: count.high, is_cancelled: count.did_cancel);
    of_class(py, "Count", &fields)
}

pub(crate) fn recall<'py>(py: Python<'py>, recall: &Recall) -> PyResult<Bound<'py, PyAny>> {
    let fields = fields!(py,
        mean: recall.mean, low: recall.low, high: recall.high, queries: recall.queries);
    of_class(py, "Recall", &fields)
}

/// Groups of hits, each with its name.
pub(crate) fn groups<'py>(
    py: Python<'py>,
    groups: Vec<(Bound<'py, PyAny>, Bound<'py, PyList>)>,
    (is_cancelled, timed_out): (bool, bool),
    strategy: Strategy,
) -> PyResult<Bound<'py, PyAny>> {
    let groups: PyResult<Vec<_>> = groups
        .into_iter()
        .map(|(group, hits)| of_class(py, "Group", &fields!(py, group: group, hits: hits)))
        .collect();
    let fields = fields!(py,
        groups: groups?, is_cancelled: is_cancelled, timed_out: timed_out,
        strategy: strategy_name(strategy));
    of_class(py, "Groups", &fields)
}

fn way<'py>(py: Python<'py>, way: &Way) -> PyResult<Bound<'py, PyAny>> {
    let fields = fields!(py,
        strategy: strategy_name(way.strategy), is_chosen: way.is_chosen,
        changed_over: way.changed_over,
        estimated: way.estimated.map(|time| time.as_secs_f64()),
        took: way.took.as_secs_f64(), lists: way.lists, distances: way.distances,
        estimates: way.estimates, pages: way.pages);
    of_class(py, "Way", &fields)
}

/// An explanation without its answer, which is taken out of it.
pub(crate) struct Explained {
    pub(crate) possible: u64,
    pub(crate) ef: usize,
    pub(crate) recall: Option<f64>,
    pub(crate) resolved_in: f64,
    pub(crate) ways: Vec<Way>,
    pub(crate) text: String,
}

pub(crate) fn explanation<'py>(
    py: Python<'py>,
    explained: &Explained,
    answer: Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let ways: PyResult<Vec<_>> = explained.ways.iter().map(|it| way(py, it)).collect();
    let fields = fields!(py,
        answer: answer, possible: explained.possible, ef: explained.ef, recall: explained.recall,
        resolved_in: explained.resolved_in, ways: ways?, text: &explained.text);
    of_class(py, "Explanation", &fields)
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
    let lists = stats.lists.as_ref().map(|lists| {
        let fields = fields!(py,
            lists: lists.lists, smallest: lists.smallest, largest: lists.largest,
            imbalance: lists.imbalance, trained_on: lists.trained_on);
        of_class(py, "ListStats", &fields)
    });
    let structures = PyDict::new(py);
    for (kind, figures) in stats.figures() {
        let by_name = PyDict::new(py);
        for (name, figure) in figures {
            match figure {
                Figure::Count(count) => by_name.set_item(name, count)?,
                Figure::Ratio(ratio) => by_name.set_item(name, ratio)?,
            }
        }
        structures.set_item(kind.name(), by_name)?;
    }
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
        codes: codes.transpose()?, range: range.transpose()?, lists: lists.transpose()?,
        structures: structures, layers: layers?, index_kinds: kind_names(&stats.index_kinds),
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
        kinds: metadata.map(|it| kind_names(&it.kinds)),
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
        "byte keys" => "bytes",
        "UUID keys" => "uuid",
        other => other,
    }
}
