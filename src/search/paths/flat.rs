//! The exact path (brute force): scans all live vectors. The scan itself is in `flat.rs`.

use super::AccessPath;
use crate::error::Result;
use crate::flat::Slots;
use crate::search::{Search, Strategy};
use crate::top_k::Found;
use crate::types::IndexKind;

/// Scans all live vectors.
pub(crate) struct Flat;

impl AccessPath for Flat {
    fn strategy(&self) -> Strategy {
        Strategy::All
    }

    fn kind(&self) -> IndexKind {
        IndexKind::Flat
    }

    fn cost_ns(&self, search: &Search<'_, '_, '_, '_>, _k: usize) -> Option<f64> {
        Some(f64::from(search.view.snapshot.meta.items) * search.costs().row)
    }

    fn search(&self, search: &Search<'_, '_, '_, '_>, k: usize) -> Result<Vec<(Strategy, Found)>> {
        let found = search.scan(k, Slots::Except(&search.view.dead()?))?;
        Ok(found.into_iter().map(|found| (self.strategy(), found)).collect())
    }
}
