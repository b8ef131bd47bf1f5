//! The effort of a search of inverted lists, as a method of queries.

use crate::query::Query;
use crate::types::IndexKind;

impl<S> Query<'_, S> {
    /// How many inverted lists a search by [`IndexKind::Ivf`] probes: those whose centers are the
    /// nearest to the query. More find more, in proportionally more time; with as many as there
    /// are, the answer is exact. A search that has not found `k` results probes on. Unless set, as
    /// many as a recall of .95 takes, by what builds have measured. 0 is an error of the search:
    /// [`InvalidParameter`](crate::Error::InvalidParameter).
    ///
    /// ```
    /// # use voisin::{Index, Options, distances::Euclidean};
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// use voisin::{IndexKind, Strategy};
    ///
    /// let options = Options::new(2).kinds([IndexKind::Ivf]);
    /// let index = Index::<Euclidean>::create(folder.path().join("vectors"), options)?;
    /// let row = |i: u32| (i, [(i % 100) as f32, (i / 100) as f32]);
    /// index.load((0..10_000).map(row), |_| {})?;
    /// let found = index.search(3).kind(IndexKind::Ivf).nprobe(4).by_vector(&[50.1, 20.2])?;
    /// assert_eq!((found.strategy, found.nns[0].0), (Strategy::Lists, 2050));
    /// assert!(found.lists == 4 && found.distances < 2000);
    /// # Ok(())
    /// # }
    /// ```
    pub fn nprobe(&mut self, lists: usize) -> &mut Self {
        self.request.efforts.set(IndexKind::Ivf, lists);
        self
    }
}
