//! `voisin completions` and `voisin man`: what a shell and a manual know of the command.

use std::fs;
use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;
use serde_json::json;

use crate::definition;
use crate::failure::{Failure, Result};
use crate::interrupt::complete_at;
use crate::ui::{Ui, path};

/// Print the completions of a shell.
#[derive(Debug, Args)]
#[command(after_help = "Example: voisin completions bash > \
                        ~/.local/share/bash-completion/completions/voisin")]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self, ui: &mut Ui) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut definition(), "voisin", &mut script);
        ui.bytes(&script)
    }
}

/// Write the manual: a page for the command and one for each subcommand.
#[derive(Debug, Args)]
#[command(after_help = "Example: voisin man ~/.local/share/man/man1 && man voisin-load")]
pub(crate) struct Man {
    /// The folder of the pages, which is created if it is missing
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

impl Man {
    pub(crate) fn run(self, ui: &mut Ui) -> Result<()> {
        let mut command = definition();
        // So that subcommands are called by their whole names, and have the global options.
        command.build();
        let mut pages = vec![page(&command, "voisin")];
        for subcommand in command.get_subcommands() {
            pages.push(page(subcommand, &format!("voisin-{}", subcommand.get_name())));
        }
        let is_new = !self.folder.exists();
        fs::create_dir_all(&self.folder)
            .map_err(|error| Failure::io("create the folder", &self.folder, &error))?;
        let written = self.write(&pages);
        if written.is_err() && is_new {
            // Nothing but the pages of before the error is in it.
            pages.iter().for_each(|(name, _)| _ = fs::remove_file(self.folder.join(name)));
            _ = fs::remove_dir(&self.folder);
        }
        written?;
        ui.result(&json!({ "folder": path(&self.folder), "pages": pages.len() }), || {
            format!("{} pages in {}", pages.len(), self.folder.display())
        })
    }
}

impl Man {
    /// Writes the pages, each as a whole or not at all.
    fn write(&self, pages: &[(String, Vec<u8>)]) -> Result<()> {
        pages.iter().try_for_each(|(name, text)| {
            let path = self.folder.join(name);
            complete_at(&path, |part| {
                fs::write(part, text).map_err(|error| Failure::io("write", &path, &error))
            })
        })
    }
}

/// The name of a page, and its text.
fn page(command: &clap::Command, name: &str) -> (String, Vec<u8>) {
    let mut text = Vec::new();
    let named = command.clone().display_name(name.to_owned());
    // Writing into memory does not fail.
    _ = clap_mangen::Man::new(named).render(&mut text);
    (format!("{name}.1"), text)
}
