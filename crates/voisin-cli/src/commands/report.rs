//! `voisin report`: one page of HTML, with its pictures inside, that asks no network for anything.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use voisin::{AnyIndex, IndexKind, Inspected, Options, Stats, inspect};

use super::export::{create, finish};
use super::inspect::{HEADS, name_of, row_of};
use super::stats::{LAYER_HEADS, layers as layers_of, rows_of};
use crate::chart::{Line, bars, curves, escape, histogram};
use crate::failure::{Failure, Result, in_our_words};
use crate::interrupt::{self, complete_at, has_parent};
use crate::measure::{EFFORTS, ENOUGH};
use crate::place::on_index;
use crate::rows::is_pipe;
use crate::ui::{Bar, Ui, bytes, number, path, time};

/// The number of neighbors for which recall is measured.
const K: usize = 10;
/// Components that an exact search of one effort compares at most, by which the number of queries
/// follows: about half a second on one core.
const COMPONENTS: u64 = 4_000_000_000;
/// The number of queries at least and at most.
const QUERIES: (u64, u64) = (16, 256);
/// No further effort is measured after this time.
const ENOUGH_TIME: Duration = Duration::from_secs(6);
/// The number of indexes that a page describes.
const MAX_INDEXES: usize = 16;

/// Write one HTML page about a folder: what is in it, bytes by kind, degrees and layers of the
/// graph, and recall against effort.
#[derive(Debug, Args)]
#[command(after_help = "Example: voisin report notes notes.html")]
pub(crate) struct Report {
    /// The folder of the index
    #[arg(value_name = "FOLDER")]
    path: PathBuf,
    /// The page, which must not exist, or - for the standard output
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only this index
    #[arg(long, short, value_name = "NAME")]
    index: Option<String>,
    /// Do not measure recall, which reads all vectors
    #[arg(long)]
    no_recall: bool,
    /// Open it even on a file system where LMDB is not reliable, such as NFS
    #[arg(long)]
    any_file_system: bool,
}

impl Report {
    /// Whether the page goes to the standard output.
    pub(crate) fn prints(&self) -> bool {
        is_pipe(&self.file)
    }

    pub(crate) fn run(self, ui: &mut Ui) -> Result<()> {
        let began = Instant::now();
        if !is_pipe(&self.file) && self.file.exists() {
            let file = self.file.display();
            return Err(Failure::environment(format!(
                "{file} is there already: choose another name, or remove it first"
            )));
        }
        if !self.path.exists() {
            let path = self.path.display();
            return Err(Failure::environment(format!("there is no folder {path}: check the path")));
        }
        if !is_pipe(&self.file) {
            has_parent(&self.file)?;
        }
        let bar = ui.bar();
        let found = inspect(&self.path)?;
        let is_wanted = |index: &&Inspected| match (&self.index, &index.name) {
            (Some(wanted), Some(name)) => wanted == name,
            (Some(_), None) => false,
            (None, _) => true,
        };
        let found: Vec<&Inspected> = found.iter().filter(is_wanted).collect();
        if found.is_empty() {
            let path = self.path.display();
            return Err(Failure::usage(format!(
                "{path} has no such index: voisin inspect lists those that it has"
            )));
        }
        let html = interrupt::asking(|| self.page(&found, &bar))?;
        bar.finish();
        if is_pipe(&self.file) {
            return ui.bytes(html.as_bytes());
        }
        complete_at(&self.file, |part| {
            use std::io::Write as _;
            let mut file = create(part, &self.file)?;
            let written = file.write_all(html.as_bytes());
            written.map_err(|error| Failure::io("write", &self.file, &error))?;
            finish(file, &self.file)
        })?;
        let (length, took) = (html.len() as u64, began.elapsed());
        let value = json!({
            "report": path(&self.file), "bytes": length, "indexes": found.len(),
            "seconds": took.as_secs_f64(),
        });
        ui.result(&value, || {
            format!("wrote {} to {} in {}", bytes(length), self.file.display(), time(took))
        })
    }

    fn page(&self, found: &[&Inspected], bar: &Bar) -> Result<String> {
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let title = escape(&format!("voisin: {}", path.display()));
        let mut html = format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta \
             name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{title}\
             </title><style>{STYLE}</style></head><body><h1>{title}</h1>"
        );
        html += &table(&HEADS, found.iter().map(|index| row_of(index)));
        for (number, index) in found.iter().take(MAX_INDEXES).enumerate() {
            bar.show("reporting", number as u64, Some(found.len() as u64), None);
            html += &self.section(index, bar)?;
        }
        if found.len() > MAX_INDEXES {
            _ = write!(
                html,
                "<p>The first {MAX_INDEXES} of {} indexes are described; --index describes \
                 another.</p>",
                found.len()
            );
        }
        Ok(html + "</body></html>\n")
    }

    /// What is known of one index.
    fn section(&self, found: &Inspected, bar: &Bar) -> Result<String> {
        let mut html = format!("<h2>{}</h2>", escape(&name_of(found)));
        let name = match (&found.name, &found.metadata) {
            (Some(name), Ok(_)) => name,
            (_, Err(what)) => {
                _ = write!(html, "<p class=\"w\">{}</p>", escape(&in_our_words(what)));
                return Ok(html);
            }
            (None, Ok(_)) => {
                return Ok(html + "<p>A program has made it in a database of its own.</p>");
            }
        };
        let mut options = Options::default().name(name);
        if self.any_file_system {
            options = options.any_file_system();
        }
        let index = AnyIndex::open_read_only(&self.path, options)?;
        let (stats, fields) = (index.stats()?, index.fields()?);
        for warning in stats.warnings() {
            let warning = escape(&in_our_words(&warning.to_string()));
            _ = write!(html, "<p class=\"w\">{warning}</p>");
        }
        let rows = rows_of(&stats, &fields).into_iter();
        html += &table(&[], rows.map(|(what, value)| vec![what.to_owned(), value]));
        html += &pictures(&stats);
        if self.no_recall {
            return Ok(html);
        }
        if !stats.index_kinds.contains(&IndexKind::Hnsw) {
            return Ok(html + "<p>There is no graph, whose recall could be measured.</p>");
        }
        if stats.m0 == 0 || stats.items < 1000 {
            return Ok(html + "<p>So few items are scanned: every answer is exact.</p>");
        }
        if !index.is_metric_known() {
            return Ok(html + "<p>The metric is another program's: recall is not measured.</p>");
        }
        bar.spin("measuring recall");
        html += &recall(&index, &stats)?;
        Ok(html)
    }
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

/// Recall against effort, measured by items of the index.
fn recall(index: &AnyIndex, stats: &Stats) -> Result<String> {
    let (began, cancel) = (Instant::now(), interrupt::is_requested);
    let compared = stats.items.saturating_mul(index.dimensions() as u64).max(1);
    let queries = (COMPONENTS / compared).clamp(QUERIES.0, QUERIES.1) as u32;
    let mut points = Vec::new();
    let mut rows = Vec::new();
    for ef in EFFORTS {
        let measured = on_index!(index, index => {
            let mut query = index.search(K);
            query.ef_search(ef).walk_graph().cancel(&cancel);
            query.measure_recall(queries)
        })?;
        let label = format!("recall {:.4} at ef {ef}", measured.mean);
        points.push((measured.mean, ef as f64, label));
        rows.push(vec![
            ef.to_string(),
            format!("{:.4}", measured.mean),
            format!("{:.4} to {:.4}", measured.low, measured.high),
        ]);
        if measured.mean >= ENOUGH || began.elapsed() > ENOUGH_TIME {
            break;
        }
    }
    let line = Line { name: format!("{queries} items as queries"), points };
    let title = "The effort that a recall takes";
    let across = format!("recall@{K}");
    let chart = curves(title, (&across, 1.0), "ef (candidates expanded)", &[line]);
    let head = ["ef", &across, "95 % interval"];
    Ok(figure(&chart) + &table(&head, rows.into_iter()))
}

fn figure(svg: &str) -> String {
    format!("<figure>{svg}</figure>")
}

fn table(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
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

/// For a phone as for a wide screen: tables scroll by themselves, pictures shrink.
const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;color:#222;background:#fff;\
    max-width:52rem;margin:0 auto;padding:1rem;box-sizing:border-box}\
    h1{font-size:1.3rem;overflow-wrap:anywhere}h2{margin-top:2.5rem;border-top:1px solid #ddd;\
    padding-top:1rem;overflow-wrap:anywhere}.s{overflow-x:auto}table{border-collapse:collapse;\
    font-size:.9rem}td,th{padding:.2rem .8rem .2rem 0;text-align:left;vertical-align:top;\
    border-bottom:1px solid #eee}figure{margin:1.2rem 0}svg{width:100%;max-width:40rem;height:auto;\
    display:block}.n td,.n th{white-space:nowrap}\
    .w{background:#fff3cd;border-left:4px solid #d39e00;padding:.5rem .8rem}";
