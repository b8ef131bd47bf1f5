//! The candidates path (prefilter): scans the vectors, or codes, of the candidates; exact.

use super::AccessPath;
use crate::error::Result;
use crate::flat::Slots;
use crate::search::{Search, Strategy};
use crate::top_k::Found;
use crate::types::IndexKind;

/// Scans all candidates.
pub(crate) struct CandidateList;

impl AccessPath for CandidateList {
    fn strategy(&self) -> Strategy {
        Strategy::Candidates
    }

    fn kind(&self) -> IndexKind {
        IndexKind::Flat
    }

    fn cost_ns(&self, search: &Search<'_, '_, '_, '_>, _k: usize) -> Option<f64> {
        let only = search.context.selection.only()?;
        Some(only.len() as f64 * search.costs().scattered_row)
    }

    fn search(&self, search: &Search<'_, '_, '_, '_>, k: usize) -> Result<Vec<(Strategy, Found)>> {
        let slots = search.context.selection.only().map_or(&[][..], |only| only.list());
        let found = search.scan(k, Slots::Only(slots))?;
        Ok(found.into_iter().map(|found| (self.strategy(), found)).collect())
    }
}
