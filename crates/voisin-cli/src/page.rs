//! An index as HTML, for `voisin report` and for programs that show it elsewhere, such as in a
//! notebook: what is in it, bytes by kind, degrees and layers, recall against time.
//!
//! Invariants: a part asks no network for anything, styles nothing beside itself, runs no script,
//! and escapes all text. It has no colors of its own but those of curves and bars, which can be
//! seen on light and on dark.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use voisin::{AnyIndex, AnyMetric, IndexKind, Query, Result, Searchable, Snapshot, Stats};

use crate::chart::{Line, bars, curves, escape, histogram};
use crate::commands::stats::{LAYER_HEADS, layers as layers_of, rows_of};
use crate::failure::in_our_words;
use crate::keys::Key;
use crate::measure::ENOUGH;
use crate::place::on_index;
use crate::ui::{bytes, number};

/// The number of neighbors for which recall is measured.
const K_NEAREST: usize = 10;
/// Components that an exact search of one effort compares at most, by which the number of queries
/// follows: about half a second on one core.
const COMPONENTS: u64 = 4_000_000_000;
/// The number of queries at least and at most.
const QUERIES: (u64, u64) = (16, 256);
/// No further effort is measured after this time, for each kind of index.
const ENOUGH_TIME: Duration = Duration::from_secs(6);
/// With fewer items, every answer is exact.
const LEAST_ITEMS: u64 = 1000;

/// Asks whether to end.
pub type Cancel<'a> = &'a (dyn Fn() -> bool + Sync);

/// Describes an index: tables and pictures, without the [`STYLE`] and the element that they need
/// around them, which [`part`] and [`page`] add. With `measures`, its recall and the time of
/// searches are measured by items of the index, which takes some seconds.
///
/// # Errors
/// Those of [`AnyIndex::stats`] and of searches; [`Cancelled`](voisin::Error::Cancelled).
pub fn describe(index: &AnyIndex, measures: bool, cancel: Cancel<'_>) -> Result<String> {
    let (stats, fields) = (index.stats()?, index.fields()?);
    let mut html = String::new();
    for warning in stats.warnings() {
        let warning = escape(&in_our_words(&warning.to_string()));
        _ = write!(html, "<p class=\"w\">{warning}</p>");
    }
    let rows =
        rows_of(&stats, &fields).into_iter().map(|(what, value)| vec![what.to_owned(), value]);
    html += &table(&[], rows);
    html += &pictures(&stats);
    if !measures {
        return Ok(html);
    }
    if !index.is_metric_known() {
        return Ok(html + "<p>The metric is another program's: recall is not measured.</p>");
    }
    if stats.index_kinds.iter().all(|kind| kind.efforts() == [""]) {
        return Ok(
            html + "<p>There is no graph, and no other structure: every answer is exact.</p>"
        );
    }
    if stats.items < LEAST_ITEMS {
        return Ok(html + "<p>So few items are scanned: every answer is exact.</p>");
    }
    let compared = stats.items.saturating_mul(index.dimensions() as u64).max(1);
    let queries = (COMPONENTS / compared).clamp(QUERIES.0, QUERIES.1);
    let sample = sample(index, queries as usize)?;
    html += &on_index!(index, index => recall(&index.snapshot()?, &stats, &sample, cancel))?;
    Ok(html)
}

/// A part of a page of someone else's, with the style that it needs.
#[must_use]
pub fn part(html: &str) -> String {
    format!("<div class=\"voisin\"><style>{STYLE}</style>{html}</div>")
}

/// A page of its own, which follows the choice of light or dark of who looks at it.
#[must_use]
pub fn page(title: &str, html: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\"><title>{title}</title><style>\
         :root{{color-scheme:light dark}}body{{background:Canvas;color:CanvasText;margin:0 auto;\
         padding:1rem;max-width:52rem;box-sizing:border-box}}{STYLE}</style></head>\
         <body class=\"voisin\"><h1>{title}</h1>{html}</body></html>\n"
    )
}

/// Bytes by kind, layers and degrees.
fn pictures(stats: &Stats) -> String {
    let kinds = stats.kinds.iter().filter(|kind| kind.bytes > 0);
    let kinds: Vec<_> =
        kinds.map(|kind| (kind.kind.to_string(), kind.bytes as f64, bytes(kind.bytes))).collect();
    let mut html = figure(&bars("Bytes by kind of value", &kinds));
    let layers = stats.layers.iter().enumerate().rev().map(|(layer, found)| {
        // By the logarithm, as layers shrink by a factor of M.
        let length = (found.nodes.max(1) as f64).ln() + 0.2;
        (format!("layer {layer}"), length, format!("{} nodes", number(found.nodes)))
    });
    let layers: Vec<_> = layers.collect();
    if !layers.is_empty() {
        html += &figure(&bars("Layers of the graph (lengths are logarithms)", &layers));
        html += &table(&LAYER_HEADS, layers_of(stats).into_iter());
    }
    for (layer, found) in stats.layers.iter().enumerate().filter(|(_, found)| found.nodes > 1) {
        let mean = found.edges() as f64 / found.nodes as f64;
        let title = format!("Degrees on layer {layer}: {mean:.1} on average");
        html += &figure(&histogram(&title, "degree", &found.degrees));
    }
    html
}

/// The effort of a search, for a person: `ef 40` for `ef=40`.
fn effort_name(effort: &str) -> String {
    if effort.is_empty() { "exact".to_owned() } else { effort.replace('=', " ") }
}

/// Recall against time, measured by items of the index, for each kind of index that it has. For
/// recall they are taken out of the graph, in memory; for time they are the queries.
fn recall<K>(
    snapshot: &Snapshot<AnyMetric, K>,
    stats: &Stats,
    sample: &[Vec<f32>],
    cancel: Cancel<'_>,
) -> Result<String>
where
    K: Key + ?Sized,
    Snapshot<AnyMetric, K>: Searchable<Key = K>,
{
    snapshot.warm(u64::MAX)?;
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    for kind in &stats.index_kinds {
        let (began, mut points) = (Instant::now(), Vec::new());
        for effort in kind.efforts() {
            let mut query = snapshot.search(K_NEAREST);
            query.kind(*kind).cancel(cancel).parameters(effort)?;
            let (took, name) = (median(&query, sample, cancel)?, effort_name(effort));
            if effort.is_empty() {
                rows.push(row(*kind, name, "1".to_owned(), String::new(), took));
                points.push((1.0, took, format!("exact in {}", time(took))));
                break;
            }
            let found = query.measure_recall(sample.len() as u32)?;
            let between = format!("{:.4} to {:.4}", found.low, found.high);
            let label = format!("recall {:.4} in {} at {name}", found.mean, time(took));
            rows.push(row(*kind, name, format!("{:.4}", found.mean), between, took));
            points.push((found.mean, took, label));
            if found.mean >= ENOUGH || began.elapsed() > ENOUGH_TIME {
                break;
            }
        }
        lines.push(Line { name: kind.name().to_owned(), points });
    }
    let title = format!("Recall and time of one search at a time, by {} items", sample.len());
    let across = format!("recall@{K_NEAREST}");
    let chart = curves(&title, (&across, 1.0), "microseconds a search", &lines);
    let heads = ["kind", "effort", &across, "95 % interval", "median time"];
    Ok(figure(&chart) + &table(&heads, rows.into_iter()))
}

fn row(kind: IndexKind, effort: String, recall: String, between: String, us: f64) -> Vec<String> {
    vec![kind.name().to_owned(), effort, recall, between, time(us)]
}

/// Microseconds, for a person.
fn time(us: f64) -> String {
    if us < 1000.0 { format!("{us:.0} us") } else { format!("{:.2} ms", us / 1000.0) }
}

/// The vectors of at most so many items from all over the index.
fn sample(index: &AnyIndex, most: usize) -> Result<Vec<Vec<f32>>> {
    let keys = index.keys()?;
    let every = keys.len().div_ceil(most.max(1)).max(1);
    let vectors = keys.into_iter().step_by(every).map(|key| index.vector(key));
    vectors.filter_map(Result::transpose).collect()
}

/// The median time of searches, one after the other, in microseconds.
fn median<S: Searchable>(
    query: &Query<'_, S>,
    sample: &[Vec<f32>],
    cancel: Cancel<'_>,
) -> Result<f64> {
    let mut times = Vec::with_capacity(sample.len());
    for vector in sample {
        let began = Instant::now();
        query.by_vector(vector)?;
        times.push(began.elapsed().as_secs_f64() * 1e6);
        if cancel() {
            return Err(voisin::Error::Cancelled);
        }
    }
    times.sort_unstable_by(f64::total_cmp);
    Ok(times.get(times.len() / 2).copied().unwrap_or_default())
}

fn figure(svg: &str) -> String {
    format!("<figure>{svg}</figure>")
}

/// A table, which scrolls by itself where it is wider than the page.
pub(crate) fn table(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let class = if heads.is_empty() { "" } else { " class=\"n\"" };
    let mut html = format!("<div class=\"s\"><table{class}>");
    if !heads.is_empty() {
        let heads: String = heads.iter().map(|head| format!("<th>{}</th>", escape(head))).collect();
        _ = write!(html, "<tr>{heads}</tr>");
    }
    for row in rows {
        let cells: String = row.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
        _ = write!(html, "<tr>{cells}</tr>");
    }
    html + "</table></div>"
}

/// For a phone as for a wide screen, for light as for dark: tables scroll by themselves, pictures
/// shrink, text has the color of the page.
const STYLE: &str = ".voisin{--vo-back:transparent;--vo-text:currentColor;\
    font:15px/1.45 system-ui,sans-serif}\
    .voisin h1{font-size:1.3rem;overflow-wrap:anywhere}\
    .voisin h2{margin-top:2.5rem;border-top:1px solid rgba(128,128,128,.35);padding-top:1rem;\
    overflow-wrap:anywhere}.voisin .s{overflow-x:auto}\
    .voisin table{border-collapse:collapse;font-size:.9rem}\
    .voisin td,.voisin th{padding:.2rem .8rem .2rem 0;text-align:left;vertical-align:top;\
    border-bottom:1px solid rgba(128,128,128,.2)}.voisin figure{margin:1.2rem 0}\
    .voisin svg{width:100%;max-width:40rem;height:auto;display:block}\
    .voisin .n td,.voisin .n th{white-space:nowrap}\
    .voisin .w{background:rgba(211,158,0,.18);border-left:4px solid #d39e00;padding:.5rem .8rem}";
