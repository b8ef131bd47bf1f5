//! What an answer has beside items and distances, if it is requested.

use super::{AnyView, Searched};
use crate::error::Result;

/// What is requested: see the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Beside {
    /// The vectors of the results.
    pub(crate) vectors: bool,
    /// Their records.
    pub(crate) records: bool,
}

impl Beside {
    pub(crate) const NOTHING: Self = Self { vectors: false, records: false };

    /// Adds it to an answer whose results are final.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt).
    pub(super) fn add_to(self, view: &AnyView<'_, '_, '_>, answer: &mut Searched) -> Result<()> {
        answer.vectors.clear();
        if self.vectors {
            answer.vectors.reserve_exact(answer.nns.len());
            for (item, _) in &answer.nns {
                // A result is a live item.
                if let Some(slot) = view.slot(*item)? {
                    answer.vectors.push(view.components(slot)?);
                }
            }
        }
        answer.records.clear();
        if self.records {
            answer.records = view.records_of(answer.nns.iter().map(|(item, _)| *item))?;
        }
        Ok(())
    }
}
