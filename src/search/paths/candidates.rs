//! The candidates path (prefilter): looks up the candidates, and scans their vectors; exact.

use super::{AccessPath, vector_ns};
use crate::error::Result;
use crate::flat::Slots;
use crate::search::{Search, Strategy};
use crate::top_k::Found;

/// The estimated cost of finding a vector by its item id, in nanoseconds.
const LOOKUP_NS: f64 = 150.0;

/// Scans all candidates.
pub(crate) struct CandidateList;

impl AccessPath for CandidateList {
    fn strategy(&self) -> Strategy {
        Strategy::Candidates
    }

    fn cost_ns(&self, search: &Search<'_, '_, '_, '_>, _k: usize) -> Option<f64> {
        search.context.request.candidates?;
        Some(search.possible() as f64 * (vector_ns(search) + LOOKUP_NS))
    }

    fn search(&self, search: &Search<'_, '_, '_, '_>, k: usize) -> Result<Vec<Found>> {
        let mut slots = Vec::new();
        for item in search.context.request.candidates.into_iter().flatten() {
            slots.extend(search.view.slot(item)?.map(|slot| slot.0));
        }
        // In storage order, for the prefetcher.
        slots.sort_unstable();
        search.scan(k, Slots::Only(&slots))
    }
}
