//! Counts of the items within a radius.

use super::{Query, Searchable};
use crate::codec::{Component, Components};
use crate::error::Result;
use crate::search::count::{Count, count_within, estimate_within};

impl<S: Searchable> Query<'_, S> {
    /// Counts the items within a radius, exactly: compares every vector, or every candidate, as an
    /// [`exact`](Self::exact) search does, and keeps none. The `k` of the query does not matter.
    ///
    /// ```
    /// use voisin::{Index, Options, distances::Euclidean};
    ///
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(1))?;
    /// index.write(|batch| batch.add_items_from((0..30_000).map(|item| (item, [item as f32]))))?;
    /// let near = index.search(0).count_within(&[7.0], 4.0)?; // squared
    /// assert_eq!((near.items, near.is_exact()), (5, true));
    /// let half = index.search(0).estimate_within(&[0.0], 15_000.0 * 15_000.0, 1000)?;
    /// assert!(half.low <= 15_001 && 15_001 <= half.high && half.high - half.low < 2500);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`by_vector`](Self::by_vector), and
    /// [`InvalidParameter`](crate::Error::InvalidParameter): see [`within`](Self::within).
    pub fn count_within(&self, vector: &[impl Component], radius: f32) -> Result<Count> {
        let vector = Components::of(vector);
        self.ask(|view, request, _| count_within(view, request, vector, radius))
    }

    /// Estimates the number of items within a radius from a sample of `size` items, in the time of
    /// as many distances. [`low`](Count::low) and [`high`](Count::high) are a 95 % confidence
    /// interval (Wilson's): for a count that is a fraction of all, its width is at most `2 /
    /// sqrt(size)` of all items. If only a few items are within the radius, a sample says little
    /// more than that, and a search [`within`](Self::within) it tells how many. If there are no
    /// more items than `size`, the count is exact. One request has one estimate in one state of the
    /// index.
    ///
    /// # Errors
    /// As [`count_within`](Self::count_within).
    pub fn estimate_within(
        &self,
        vector: &[impl Component],
        radius: f32,
        size: u32,
    ) -> Result<Count> {
        let vector = Components::of(vector);
        self.ask(|view, request, _| estimate_within(view, request, vector, radius, size))
    }
}
