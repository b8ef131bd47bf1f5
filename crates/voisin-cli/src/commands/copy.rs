//! `voisin copy`.
//!
//! The copy is made in a folder beside its place, and renamed at the end: after Ctrl-C or a kill
//! there is no copy that looks complete.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde_json::json;

use crate::failure::{Failure, Result};
use crate::interrupt::unfinished_at;
use crate::place::Place;
use crate::ui::{Ui, bytes, time};

/// Write a compact copy of all indexes of a folder, while others read and write it.
///
/// The copy is as of one commit, verified, and durable when it appears under its name.
#[derive(Debug, Args)]
pub(crate) struct Copy {
    #[command(flatten)]
    place: Place,
    /// The folder of the copy, which must not exist
    #[arg(value_name = "TO")]
    to: PathBuf,
}

impl Copy {
    pub(crate) fn run(self, ui: &mut Ui) -> Result<()> {
        let began = Instant::now();
        if self.to.exists() {
            let to = self.to.display();
            return Err(Failure::environment(format!(
                "{to} is there already: copy to another path, or remove it first"
            )));
        }
        let index = self.place.read()?;
        let bar = ui.bar();
        bar.spin("copying");
        let part = part_of(&self.to, index.path())?;
        let length = unfinished_at(&part, || {
            let length = index.copy_to(&part)?;
            // The path is new, so that nothing is replaced.
            fs::rename(&part, &self.to).map_err(|error| Failure::io("make", &self.to, &error))?;
            Ok(length)
        })?;
        sync_parent(&self.to)?;
        bar.finish();
        let took = began.elapsed();
        let value = json!({
            "copy": self.to, "bytes": length, "seconds": took.as_secs_f64(),
        });
        ui.result(&value, || {
            format!("copied {} to {} in {}", bytes(length), self.to.display(), time(took))
        })
    }
}

/// The folder beside the place of the copy in which it is made.
fn part_of(to: &Path, from: &Path) -> Result<PathBuf> {
    let name = to.file_name().ok_or_else(|| {
        Failure::usage(format!("{} is no name for a copy: give a new folder", to.display()))
    })?;
    let parent = parent_of(to);
    let within = parent.canonicalize().map_err(|error| Failure::io("find", parent, &error))?;
    if within.starts_with(from) {
        return Err(Failure::usage(format!(
            "{} is inside of the folder that is copied: give another one",
            to.display()
        )));
    }
    let name = format!("{}.unfinished-{}", name.to_string_lossy(), std::process::id());
    Ok(parent.join(name))
}

fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a new name durable, where a folder can be synchronized.
fn sync_parent(path: &Path) -> Result<()> {
    if cfg!(unix) {
        let parent = parent_of(path);
        let synced = fs::File::open(parent).and_then(|folder| folder.sync_all());
        synced.map_err(|error| Failure::io("synchronize", parent, &error))?;
    }
    Ok(())
}
