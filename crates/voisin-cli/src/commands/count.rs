//! `voisin count` and `voisin facet`: how many items there are, and which values they have.

use clap::Args;
use serde_json::json;
use voisin::{AnyIndex, Count as Counted};

use super::search::numbers;
use crate::failure::{Failure, Result};
use crate::fields::{Filtered, value_json, value_text};
use crate::interrupt;
use crate::place::{Place, on_index};
use crate::tenant::{OfTenant, Start, on_tenant};
use crate::ui::Ui;

/// Count the items: all of them, those of a condition or a tenant, or those near a vector.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  voisin count notes --tenant acme
  voisin count notes --filter '{\"field\": \"year\", \"at_least\": 1990}'
  voisin count notes --vector 0.1,0.9,0.3 --within 0.2")]
pub(crate) struct Count {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    filtered: Filtered,
    #[command(flatten)]
    of_tenant: OfTenant,
    /// A vector: count the items within a distance of it
    #[arg(long, requires = "within", value_name = "NUMBERS", allow_hyphen_values = true)]
    vector: Option<String>,
    /// The distance
    #[arg(long, requires = "vector", value_name = "DISTANCE", allow_hyphen_values = true)]
    within: Option<f32>,
    /// Estimate the number from a sample of so many items, in place of comparing all
    #[arg(long, requires = "vector", value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..))]
    sample: Option<u32>,
}

impl Count {
    pub(crate) fn run(self, ui: &mut Ui) -> Result<()> {
        let index = self.place.read()?;
        let tenant = self.of_tenant.of(&index)?;
        let (items, low, high) = match (&self.vector, self.within) {
            (Some(vector), Some(radius)) => {
                let vector = numbers(vector)?;
                let near = interrupt::asking(|| match &tenant {
                    Some(tenant) => on_tenant!(tenant, it => self.near(it, &vector, radius)),
                    None => on_index!(&index, it => self.near(it, &vector, radius)),
                })?;
                if near.did_cancel {
                    return Err(Failure::interrupted("interrupted: the items are not all counted"));
                }
                (near.items, near.low, near.high)
            }
            _ => {
                let items = match (&tenant, &self.filtered.condition) {
                    (Some(tenant), Some(condition)) => {
                        on_tenant!(tenant, tenant => tenant.snapshot()?.count(condition))?
                    }
                    (Some(tenant), None) => tenant.len()?,
                    (None, Some(condition)) => index.count(condition)?,
                    (None, None) => index.len()?,
                };
                (items, items, items)
            }
        };
        let value = json!({ "count": items, "low": low, "high": high, "exact": low == high });
        // Without spaces, as scripts compare it.
        ui.result(&value, || match low == high {
            true => items.to_string(),
            false => format!("{items}  (95 %: {low} to {high})"),
        })?;
        tenant.map_or(Ok(()), |tenant| self.of_tenant.note(ui, &tenant))
    }

    fn near(&self, searched: &impl Start, vector: &[f32], radius: f32) -> Result<Counted> {
        let cancel = interrupt::is_requested;
        let mut query = searched.start(0);
        query.cancel(&cancel);
        if let Some(condition) = &self.filtered.condition {
            query.candidates(condition);
        }
        Ok(match self.sample {
            Some(size) => query.estimate_within(vector, radius, size)?,
            None => query.count_within(vector, radius)?,
        })
    }
}

/// Print the values of a field, each with the number of items that have it, the most frequent
/// first: of all items, those of tenants among them.
#[derive(Debug, Args)]
#[command(after_help = "Example: voisin facet notes tag -n 20")]
pub(crate) struct Facet {
    #[command(flatten)]
    place: Place,
    /// The field
    #[arg(value_name = "FIELD")]
    field: String,
    /// At most so many values
    #[arg(long, short = 'n', value_name = "N")]
    limit: Option<usize>,
    #[command(flatten)]
    filtered: Filtered,
}

impl Facet {
    pub(crate) fn run(self, ui: &mut Ui) -> Result<()> {
        let index: AnyIndex = self.place.read()?;
        let values = index.facet(&self.field, self.filtered.condition.as_ref())?;
        for (value, items) in values.iter().take(self.limit.unwrap_or(usize::MAX)) {
            ui.result(&json!({ "value": value_json(value), "count": items }), || {
                format!("{items:>10}  {}", value_text(value))
            })?;
        }
        Ok(())
    }
}
