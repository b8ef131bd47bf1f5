//! `voisin copy`.
//!
//! The copy is made in a folder beside its place, and renamed at the end: after Ctrl-C or a kill
//! there is no copy that looks complete.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde_json::json;

use crate::failure::{Failure, Result};
use crate::interrupt::complete_at;
use crate::place::Place;
use crate::ui::{Ui, bytes, path, time};

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
        refuse_inside(&self.to, index.path())?;
        let length = complete_at(&self.to, |part| Ok(index.copy_to(part)?))?;
        bar.finish();
        let took = began.elapsed();
        let value = json!({
            "copy": path(&self.to), "bytes": length, "seconds": took.as_secs_f64(),
        });
        ui.result(&value, || {
            format!("copied {} to {} in {}", bytes(length), self.to.display(), time(took))
        })
    }
}

/// Refuses a copy inside of the folder that is copied.
fn refuse_inside(to: &Path, from: &Path) -> Result<()> {
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let within = parent.canonicalize().map_err(|error| Failure::io("find", parent, &error))?;
    if within.starts_with(from) {
        return Err(Failure::usage(format!(
            "{} is inside of the folder that is copied: give another one",
            to.display()
        )));
    }
    Ok(())
}
