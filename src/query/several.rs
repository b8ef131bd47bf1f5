//! Queries of several vectors, and for diverse results.

use super::pinned::named;
use super::{Answer, Query, Searchable};
use crate::codec::{Component, Components};
use crate::error::Result;
use crate::search::several::{by_nearest_of, by_relevance_and_diversity, by_sum};

impl<S: Searchable> Query<'_, S> {
    /// Returns the items that are nearest to any of several vectors: by the smallest of their
    /// distances, which is the distance in the answer. `rows` holds the vectors one after the
    /// other. It takes as long as a search for each, and is exact if these are.
    ///
    /// ```
    /// # use voisin::{Index, Options, distances::Euclidean};
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(1))?;
    /// index.write(|batch| batch.add_items_from((0..3000).map(|item| (item, [item as f32]))))?;
    /// let found = index.search(3).by_nearest_of(&[10.0, 2000.5])?;
    /// assert_eq!(found.into_nns(), [(10, 0.0), (2000, 0.25), (2001, 0.25)]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`by_vectors`](Self::by_vectors).
    pub fn by_nearest_of(&self, rows: &[impl Component]) -> Result<Answer<S>> {
        let rows = Components::of(rows);
        self.ask(|view, request, names| {
            let dimensions = view.snapshot.meta.dimensions as usize;
            if !rows.len().is_multiple_of(dimensions) {
                let components = rows.len();
                return Err(crate::error::Error::UnevenRows { components, dimensions });
            }
            let rows: Vec<_> = rows.rows(dimensions).collect();
            named::<S::Key>(view.snapshot.index, names, by_nearest_of(view, request, &rows)?)
        })
    }

    /// Returns the items that are nearest to several vectors together: by the weighted sum of
    /// their distances, which is the distance in the answer, computed in `f64`. A vector with a
    /// negative weight is one to be far from. [`within`](Self::within) is a bound of the sum.
    ///
    /// Under [`Euclidean`](crate::distances::Euclidean), [`Cosine`](crate::distances::Cosine) and
    /// [`DotProduct`](crate::distances::DotProduct) this is one search: the sum orders items as the
    /// distance to one vector does. That is the weighted mean under `Euclidean`, where the sum of
    /// the weights must be positive; the weighted sum of the vectors divided by their norms under
    /// `Cosine`; and the weighted sum under `DotProduct`. Under other metrics, and on vectors of
    /// bits, no weight can be negative, and it takes about as long as a search for each vector, or
    /// many times that if what is near one of them is far from others.
    ///
    /// ```
    /// # use voisin::{Index, Options, distances::Euclidean};
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(1))?;
    /// index.write(|batch| batch.add_items_from((0..3000).map(|item| (item, [item as f32]))))?;
    /// let between = index.search(1).by_sum(&[(&[10.0], 1.0), (&[20.0], 1.0)])?;
    /// assert_eq!(between.into_nns(), [(15, 50.0)]);
    /// // Near 10, and not near 20.
    /// let beyond = index.search(1).by_sum(&[(&[10.0], 1.0), (&[20.0], -0.5)])?;
    /// assert_eq!(beyond.into_nns(), [(0, -100.0)]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`by_vectors`](Self::by_vectors), and
    /// [`InvalidParameter`](crate::Error::InvalidParameter) for weights that are not finite, or
    /// negative where they cannot be.
    pub fn by_sum<T: Component, V: AsRef<[T]>>(&self, vectors: &[(V, f32)]) -> Result<Answer<S>> {
        let rows: Vec<_> =
            vectors.iter().map(|(vector, _)| Components::of(vector.as_ref())).collect();
        let weights: Vec<f32> = vectors.iter().map(|(_, weight)| *weight).collect();
        self.ask(|view, request, names| {
            let found = by_sum(view, request, &rows, &weights)?;
            named::<S::Key>(view.snapshot.index, names, found)
        })
    }

    /// Returns `k` of the `among` nearest items that are near `vector` and far from each other, in
    /// the order in which maximal marginal relevance (MMR) chooses them: first the nearest, then
    /// always the item with the smallest `lambda * d(vector, item) - (1 - lambda) * d(item, chosen
    /// item nearest to it)`. A `lambda` of 1 gives the `k` nearest, one of 0 the most diverse after
    /// the first. The distances in the answer are those to `vector`. O(k * among) distances beyond
    /// the search.
    ///
    /// ```
    /// # use voisin::{Index, Options, distances::Euclidean};
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(1))?;
    /// index.write(|batch| batch.add_items(&[1, 2, 3, 4], &[0.0, 0.1, 0.2, 3.0]))?;
    /// let found = index.search(2).diverse(&[0.0], 0.4, 4)?;
    /// assert_eq!(found.into_nns(), [(1, 0.0), (4, 9.0)]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`by_vector`](Self::by_vector), and
    /// [`InvalidParameter`](crate::Error::InvalidParameter) for a `lambda` that is not from 0 to 1.
    pub fn diverse(
        &self,
        vector: &[impl Component],
        lambda: f32,
        among: usize,
    ) -> Result<Answer<S>> {
        let vector = Components::of(vector);
        self.ask(|view, request, names| {
            let found = by_relevance_and_diversity(view, request, vector, lambda, among)?;
            named::<S::Key>(view.snapshot.index, names, found)
        })
    }
}
