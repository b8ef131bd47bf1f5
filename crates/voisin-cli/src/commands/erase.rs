//! `voisin erase`.

use clap::{ArgGroup, Args};
use serde_json::json;
use voisin::AnyIndex;

use crate::chosen::{Chosen, all_were_there, named};
use crate::failure::Result;
use crate::place::{Means, Place};
use crate::ui::{Ui, count, number};

/// Delete items, and clear what they leave in the file, all in one commit.
///
/// Also clears what earlier deletes and replacements have left. The file keeps old pages until they
/// are used again: a copy (voisin copy) has no 16 bytes in a row of the vector, codes, record, or
/// key of an erased item. Put it in the place of the old file, and delete that.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("what").required(true).multiple(false),
    after_help = "Examples:
  voisin erase notes 17 18
  voisin erase notes --filter '{\"field\": \"user\", \"eq\": \"ann\"}'
  voisin copy notes clean"
)]
pub(crate) struct Erase {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    chosen: Chosen,
    #[command(flatten)]
    means: Means,
}

impl Erase {
    pub(crate) fn run(self, ui: &mut Ui) -> Result<()> {
        let index = self.place.open(&self.means)?;
        let bar = ui.bar();
        let erased = match &self.chosen.filter {
            Some(condition) => {
                bar.spin("erasing");
                let erased = index.erase_matching(condition)?;
                (erased, erased)
            }
            None => {
                let keys = self.chosen.keys()?;
                bar.spin("erasing");
                (keys.len() as u64, erase(&index, &keys)?)
            }
        };
        bar.finish();
        let ((asked, erased), items) = (erased, index.len()?);
        let value = json!({ "erased": erased, "missing": asked - erased, "items": items });
        ui.result(&value, || {
            let (erased, name) = (count(erased, "item", "items"), index.name());
            format!(
                "erased {erased}: {name} has {}; voisin copy makes a file that has nothing of them",
                number(items)
            )
        })?;
        all_were_there(asked, erased, "erased")
    }
}

fn erase(index: &AnyIndex, keys: &[String]) -> Result<u64> {
    Ok(match index {
        AnyIndex::Ids(index) => index.erase(named::<u32>(keys)?)?,
        AnyIndex::Numbers(index) => index.erase(named::<u64>(keys)?)?,
        AnyIndex::Texts(index) => index.erase(keys)?,
        AnyIndex::Bytes(index) => index.erase(named::<[u8]>(keys)?)?,
        AnyIndex::Uuids(index) => index.erase(named::<[u8; 16]>(keys)?)?,
    })
}
