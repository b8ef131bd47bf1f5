//! Recall as a goal, and measured; and what a query costs.

use super::pinned::{Name, named};
use super::{Answer, Query, Searchable};
use crate::codec::{Component, Components};
use crate::error::Result;
use crate::search::Searched;
use crate::search::explain::{Explanation, explain};
use crate::search::recall::{Recall, measure_recall};

impl<S: Searchable> Query<'_, S> {
    /// Sets the recall that searches are to reach on average, instead of
    /// [`ef_search`](Self::ef_search): `0.95` finds 95 of 100 true neighbors. The effort follows
    /// from what the last large build has measured, by 256 items of the index as queries; see
    /// [`Builder::calibrate`](crate::Builder::calibrate). Queries from elsewhere may be harder or
    /// easier: [`measure_recall`](Self::measure_recall) and a sample of your own tell.
    ///
    /// `1.0` is an exact search; so is any goal in an index that was never measured (of an earlier
    /// format, or grown beyond 10 000 items by small commits alone). With a filter, no node is
    /// passed unseen, which costs more where few of the items near the query pass it.
    ///
    /// ```
    /// # use voisin::{Index, Options, distances::Euclidean};
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(2))?;
    /// let row = |i: u32| (i, [(i % 97) as f32, (i / 97) as f32]);
    /// index.write(|batch| batch.add_items_from((0..5000).map(row)))?;
    /// let found = index.search(10).recall(0.9).by_vector(&[40.2, 20.3])?;
    /// assert_eq!(found.nns[0].0, 40 + 20 * 97);
    /// let measured = index.search(10).recall(0.9).measure_recall(100)?;
    /// assert!(measured.high >= 0.9 && measured.low <= measured.mean);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A goal that is not above 0 and at most 1 is an error of the search:
    /// [`InvalidParameter`](crate::Error::InvalidParameter).
    pub fn recall(&mut self, recall: f64) -> &mut Self {
        self.request.recall = Some(recall);
        self
    }

    /// Measures the recall of this query, with all its options: `sample` items of the index are
    /// queries, or one in 40 of its items if that is less, and what is found is compared with an
    /// exact search. They are taken out of the graph for that, in memory, so that the result holds
    /// for vectors like these that are not in the index. With a filter, the true neighbors are
    /// those that pass it. O(sample * items * dimensions), on all threads.
    ///
    /// Queries of another kind than the items may be harder to answer: compare with an
    /// [`exact`](Self::exact) search of your own sample then. Of vectors without any structure, as
    /// independent normal components in 64 dimensions, it says up to .04 too much: the graph was
    /// built with its items in it. Searches within a radius are measured
    /// on the whole graph, where these items are a little easier to find.
    ///
    /// # Errors
    /// As [`by_vectors`](Self::by_vectors), and [`Cancelled`](crate::Error::Cancelled) by
    /// [`cancel`](Self::cancel) or a [`deadline`](Self::deadline).
    pub fn measure_recall(&self, sample: u32) -> Result<Recall> {
        self.ask(|view, request, _| measure_recall(view, request, sample))
    }

    /// Answers a query, and tells what it cost: the access paths that the planner considered, with
    /// its estimates and the true cost of each, which is taken alone for that. For looking at a
    /// slow query, not for serving: it takes as long as all ways together. The chosen way is taken
    /// first, so that the others find in memory what it has read.
    ///
    /// ```
    /// # use voisin::{Index, Options, Strategy, distances::Euclidean, roaring::RoaringBitmap};
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(1))?;
    /// index.write(|batch| batch.add_items_from((0..5000).map(|item| (item, [item as f32]))))?;
    /// let few: RoaringBitmap = (0..5000).step_by(100).collect();
    /// let explained = index.search(3).candidates(&few).explain(&[250.0])?;
    /// assert_eq!(explained.ways[0].strategy, Strategy::Candidates);
    /// assert_eq!((explained.possible, explained.answer.nns[0].0), (50, 200));
    /// println!("{explained}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`by_vector`](Self::by_vector).
    pub fn explain(&self, vector: &[impl Component]) -> Result<Explanation<Name<S>>> {
        let vector = Components::of(vector);
        self.ask(|view, request, names| {
            let mut explained = explain(view, request, vector)?;
            let answer = std::mem::replace(&mut explained.answer, Searched::empty());
            let answer: Answer<S> = named::<S::Key>(view.snapshot.index, names, answer)?;
            Ok(explained.with_answer(answer))
        })
    }
}
