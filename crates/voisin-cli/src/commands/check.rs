//! `voisin check`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use voisin::{AnyIndex, Error, Options, inspect, verify_file};

use crate::failure::{Exit, Failure, Result, in_our_words};
use crate::ui::{Ui, count};

/// Look for damage: in LMDB's pages and the metadata of every index; with --deep, in everything.
///
/// Nothing is changed. Exit code 1 if there is damage. Without --deep, nobody may write to the
/// folder meanwhile.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The folder
    #[arg(value_name = "FOLDER")]
    path: PathBuf,
    /// Only this index (with --deep)
    #[arg(long, short, value_name = "NAME", requires = "deep")]
    index: Option<String>,
    /// Verify every invariant of every index, to the last byte
    #[arg(long)]
    deep: bool,
    /// Open it even on a file system where LMDB is not reliable, such as NFS
    #[arg(long)]
    any_file_system: bool,
}

impl Check {
    pub(crate) fn run(self, ui: &mut Ui) -> Result<()> {
        let bar = ui.bar();
        bar.spin("checking");
        let mut findings = 0;
        let mut report = |ui: &mut Ui, index: Option<&str>, what: String| -> Result<()> {
            findings += 1;
            let what = in_our_words(&what);
            ui.result(&json!({ "index": index, "finding": what }), || match index {
                Some(index) => format!("{index}: {what}"),
                None => what.clone(),
            })
        };
        if !self.path.exists() {
            let path = self.path.display();
            return Err(Failure::environment(format!("there is no folder {path}: check the path")));
        }
        let pages = verify_file(&self.path)?;
        for finding in &pages.findings {
            report(ui, None, finding.to_string())?;
        }
        let mut checked = Vec::new();
        if pages.is_safe_to_open() {
            for found in inspect(&self.path)? {
                let Some(name) = found.name.filter(|name| self.is_wanted(name)) else { continue };
                match found.metadata {
                    Err(what) => report(ui, Some(&name), what)?,
                    Ok(_) if self.deep => {
                        for finding in self.deeply(&name)? {
                            report(ui, Some(&name), finding)?;
                        }
                    }
                    Ok(_) => {}
                }
                checked.push(name);
            }
        }
        bar.finish();
        self.end(ui, findings, &checked, pages.pages)
    }

    fn is_wanted(&self, name: &str) -> bool {
        self.index.as_deref().is_none_or(|wanted| wanted == name)
    }

    /// The violated invariants of an index.
    fn deeply(&self, name: &str) -> Result<Vec<String>> {
        let mut options = Options::default().name(name);
        if self.any_file_system {
            options = options.any_file_system();
        }
        let index = AnyIndex::open_read_only(&self.path, options)?;
        match index.check() {
            Ok(findings) => Ok(findings.iter().map(ToString::to_string).collect()),
            // A finding by another name.
            Err(error @ (Error::Corrupt { .. } | Error::DamagedFile { .. })) => {
                Ok(vec![error.to_string()])
            }
            Err(error) => Err(error.into()),
        }
    }

    fn end(&self, ui: &mut Ui, findings: u64, checked: &[String], pages: u64) -> Result<()> {
        if let (Some(name), []) = (&self.index, checked) {
            return Err(Failure::usage(format!(
                "there is no index {name:?} in {}: voisin inspect lists those that are",
                self.path.display()
            )));
        }
        let value =
            json!({ "findings": findings, "indexes": checked, "pages": pages, "deep": self.deep });
        ui.result(&value, || {
            let indexes = count(checked.len() as u64, "index", "indexes");
            let pages = count(pages, "page", "pages");
            let how = if self.deep { "every invariant" } else { "the metadata" };
            match findings {
                0 => format!("sound: {pages}, and {how} of {indexes}"),
                _ => format!("damaged: {} in {pages} and {indexes}", in_findings(findings)),
            }
        })?;
        if findings == 0 {
            return Ok(());
        }
        Err(Failure::Told {
            exit: Exit::No,
            message: format!(
                "{} is damaged ({}): restore a backup, or load the vectors into a new index; what \
                 is in the graph alone, voisin repair --rebuild-graph makes anew, and what is in \
                 another kind of index alone, voisin alter --drop-kind KIND --add-kind KIND",
                self.path.display(),
                in_findings(findings)
            ),
        })
    }
}

fn in_findings(findings: u64) -> String {
    count(findings, "finding", "findings")
}
