//! The kinds of index, by the structures that an index may have over its vectors: the public names
//! of the list of kinds.

use std::fmt;

use crate::kinds::each_kind;

macro_rules! index_kind {
    ($($(#[$doc:meta])* $kind:ident $name:literal
        keys $keys:tt section $section:tt snapshot $snapshot:tt paths $paths:tt
        efforts { $($effort:literal)* }
        stats $stats:tt invariants $invariants:tt)*
    ) => {
        /// A kind of index: a way to search that is stored with the vectors, and kept in step with
        /// them.
        ///
        /// An index has one or several: see [`Options::kinds`](crate::Options::kinds).
        /// `docs/kinds.md` says which one is for what.
        ///
        /// ```
        /// use voisin::{Index, IndexKind, Options, distances::Euclidean};
        ///
        /// # fn main() -> voisin::Result<()> {
        /// # let folder = tempfile::tempdir().unwrap();
        /// let options = Options::new(2).kinds([IndexKind::Flat]);
        /// let index = Index::<Euclidean>::create(folder.path().join("vectors"), options)?;
        /// let row = |item: u32| (item, [item as f32, 1.0]);
        /// index.write(|batch| batch.add_items_from((0..1000).map(row)))?;
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
            $($(#[$doc])* $kind,)*
        }

        impl IndexKind {
            /// All kinds, ascending.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// Its name: `"flat"`, `"hnsw"`, `"ivf"`, `"lsh"`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }

            /// Efforts of its searches, from the least to the most, for
            /// [`Query::parameters`](crate::Query::parameters): with these one measures recall
            /// against time. There is one for a kind that is exact, which sets nothing.
            #[must_use]
            pub const fn efforts(self) -> &'static [&'static str] {
                match self {
                    $(Self::$kind => &[$($effort),*],)*
                }
            }
        }
    };
}
each_kind!(index_kind);

impl IndexKind {
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
