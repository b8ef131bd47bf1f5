//! `voisin report`: one page of HTML, with its pictures inside, that asks no network for anything.
//! `page` describes an index.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde_json::json;
use voisin::{AnyIndex, Inspected, Options, inspect};

use super::export::{create, finish};
use super::inspect::{HEADS, name_of, row_of};
use crate::chart::escape;
use crate::failure::{Failure, Result, in_our_words};
use crate::interrupt::{self, complete_at, has_parent};
use crate::page;
use crate::rows::is_pipe;
use crate::ui::{Bar, Ui, bytes, path, time};

/// The number of indexes that a page describes.
const MAX_INDEXES: usize = 16;

/// Write one HTML page about a folder: what is in it, bytes by kind, degrees and layers of the
/// graph, recall and time of searches.
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
        let mut html = page::table(&HEADS, found.iter().map(|index| row_of(index)));
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
        Ok(page::page(&format!("voisin: {}", path.display()), &html))
    }

    /// What is known of one index.
    fn section(&self, found: &Inspected, bar: &Bar) -> Result<String> {
        let html = format!("<h2>{}</h2>", escape(&name_of(found)));
        let name = match (&found.name, &found.metadata) {
            (Some(name), Ok(_)) => name,
            (_, Err(what)) => {
                let what = escape(&in_our_words(what));
                return Ok(format!("{html}<p class=\"w\">{what}</p>"));
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
        bar.spin("measuring recall");
        Ok(html + &page::describe(&index, !self.no_recall, &interrupt::is_requested)?)
    }
}
