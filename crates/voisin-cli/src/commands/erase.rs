//! `voisin erase`.

use clap::{ArgGroup, Args};
use voisin::{AnyIndex, AnyTenant};

use crate::chosen::{Chosen, named_in, told};
use crate::failure::{Failure, Result};
use crate::place::{Means, Place, on_index};
use crate::tenant::{OfTenant, on_tenant};
use crate::ui::Ui;

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
  voisin erase notes --tenant acme doc-1
  voisin copy notes clean"
)]
pub(crate) struct Erase {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    chosen: Chosen,
    #[command(flatten)]
    of_tenant: OfTenant,
    #[command(flatten)]
    means: Means,
}

impl Erase {
    pub(crate) fn run(self, ui: &mut Ui) -> Result<()> {
        if let (Some(name), Some(_)) = (&self.of_tenant.tenant, &self.chosen.filter) {
            return Err(Failure::usage(format!(
                "--tenant {name:?} and --filter together: items of a tenant are erased by their \
                 keys, which voisin list prints with the same two options"
            )));
        }
        let index = self.place.open(&self.means)?;
        let tenant = self.of_tenant.of(&index)?;
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
                (keys.len() as u64, erase(&index, tenant.as_ref(), &keys)?)
            }
        };
        bar.finish();
        let remark = "; voisin copy makes a file that has nothing of them";
        told(ui, &index, "erased", erased, remark)
    }
}

fn erase(index: &AnyIndex, tenant: Option<&AnyTenant>, keys: &[String]) -> Result<u64> {
    match tenant {
        Some(tenant) => on_tenant!(tenant, tenant => {
            let named = named_in(tenant.of(), keys)?;
            let whole = named.iter().map(|key| tenant.key(key)).collect::<voisin::Result<Vec<_>>>();
            Ok(tenant.of().erase(whole?)?)
        }),
        None => on_index!(index, index => Ok(index.erase(named_in(index, keys)?)?)),
    }
}
