//! The exact path (brute force): scans all live vectors. The scan itself is in `flat.rs`.

use super::{AccessPath, vector_ns};
use crate::error::Result;
use crate::flat::Slots;
use crate::search::{Search, Strategy};
use crate::top_k::Found;

/// Scans all live vectors.
pub(crate) struct Flat;

impl AccessPath for Flat {
    fn strategy(&self) -> Strategy {
        Strategy::All
    }

    fn cost_ns(&self, search: &Search<'_, '_, '_, '_>, _k: usize) -> Option<f64> {
        Some(f64::from(search.view.snapshot.meta.items) * vector_ns(search))
    }

    fn search(&self, search: &Search<'_, '_, '_, '_>, k: usize) -> Result<Vec<Found>> {
        search.scan(k, Slots::Except(&search.view.dead()?))
    }
}
