//! The kinds of index, by the structures that an index may have over its vectors.

use std::fmt;

/// A kind of index: a way to search that is stored with the vectors, and kept in step with them.
///
/// An index has one or several: see [`Options::kinds`](crate::Options::kinds). `docs/kinds.md` says
/// which one is for what.
///
/// ```
/// use voisin::{Index, IndexKind, Options, distances::Euclidean};
///
/// # fn main() -> voisin::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// let options = Options::new(2).kinds([IndexKind::Flat]);
/// let index = Index::<Euclidean>::create(folder.path().join("vectors"), options)?;
/// index.write(|batch| batch.add_items_from((0..1000).map(|item| (item, [item as f32, 1.0]))))?;
/// assert_eq!((index.kinds()?, index.pending()?), (vec![IndexKind::Flat], 0));
/// assert!(index.search(3).by_vector(&[5.0, 1.0])?.is_complete());
///
/// assert!(index.add_kind(IndexKind::Hnsw)?);
/// assert_eq!(index.kinds()?, [IndexKind::Flat, IndexKind::Hnsw]);
/// assert!(index.drop_kind(IndexKind::Hnsw)?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum IndexKind {
    /// The vectors themselves, and their codes: a search scans them, and is exact. Every index has
    /// this kind.
    Flat,
    /// A graph (Malkov & Yashunin 2018): what an index has unless told otherwise.
    Hnsw,
    /// Inverted lists: each item is in the list of the center nearest to it, and a search compares
    /// the items of the lists whose centers are the nearest to the query. For `f32`, `f16`, `bf16`
    /// and `i8` vectors under the Euclidean and cosine distance and the dot product.
    Ivf,
    /// Tables of hashes that near vectors share (locality-sensitive hashing): a search compares the
    /// items whose hashes are likely for a neighbor, and keeps a promise of recall. Slower than a
    /// graph, and quicker to build and to change.
    Lsh,
}

impl IndexKind {
    /// All kinds, ascending.
    pub const ALL: &'static [Self] = &[Self::Flat, Self::Hnsw, Self::Ivf, Self::Lsh];

    /// Its name: `"flat"`, `"hnsw"`, `"ivf"`, `"lsh"`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Hnsw => "hnsw",
            Self::Ivf => "ivf",
            Self::Lsh => "lsh",
        }
    }

    /// The kind of a name. `None` if there is none.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for IndexKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The names of some kinds, for messages.
pub(crate) fn names(kinds: &[IndexKind]) -> String {
    kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ")
}
