//! The candidates are looked up, and compared: the answer is exact.

use super::{AccessPath, vector_ns};
use crate::error::Result;
use crate::flat::Slots;
use crate::search::{Search, Strategy};
use crate::top_k::Found;

/// Estimated cost of finding a vector by its item id.
const LOOKUP_NS: f64 = 150.0;

/// Compares all candidates.
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
        // In the order they lie in, for the prefetcher.
        slots.sort_unstable();
        search.scan(k, Slots::Only(&slots))
    }
}
