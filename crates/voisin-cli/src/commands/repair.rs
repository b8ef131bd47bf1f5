//! `voisin repair`.

use clap::Args;
use serde_json::json;

use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::place::{Means, Place, on_index};
use crate::ui::{Ui, number};

/// Undo a change that a program has committed half-done, link what an interrupted load has left
/// pending, and clear what dead processes have left.
#[derive(Debug, Args)]
pub(crate) struct Repair {
    #[command(flatten)]
    place: Place,
    /// Make the graph anew from the vectors
    #[arg(long)]
    rebuild_graph: bool,
    #[command(flatten)]
    means: Means,
}

impl Repair {
    pub(crate) fn run(self, ui: &mut Ui) -> Result<()> {
        let index = self.place.open(&self.means)?;
        let bar = ui.bar();
        let is_undone = index.repair()?;
        let readers = on_index!(&index, index => index.clear_stale_readers())?;
        let linked = interrupt::asking(|| {
            on_index!(&index, index => index
                .loader()
                .progress(|progress| bar.load(progress))
                .cancel(interrupt::is_requested)
                .resume())
        });
        let linked = linked.map_err(|error| match error {
            voisin::Error::Cancelled => Failure::interrupted(
                "interrupted: the rounds that were linked are committed, run it again to go on",
            ),
            error => error.into(),
        })?;
        if self.rebuild_graph {
            bar.spin("linking anew");
            on_index!(&index, index => index.force_rebuild())?;
        }
        bar.finish();
        let value = json!({
            "undone": is_undone, "linked": linked, "readers": readers,
            "rebuilt": self.rebuild_graph,
        });
        ui.result(&value, || {
            let mut done = Vec::new();
            done.extend(is_undone.then(|| "undid a change that was half-done".to_owned()));
            done.extend((linked > 0).then(|| format!("linked {} items", number(linked))));
            done.extend((readers > 0).then(|| format!("cleared {readers} dead readers")));
            done.extend(self.rebuild_graph.then(|| "made the graph anew".to_owned()));
            match &done[..] {
                [] => "there was nothing to repair".to_owned(),
                done => done.join(", "),
            }
        })
    }
}
