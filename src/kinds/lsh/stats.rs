//! The statistics of tables of hashes.

use crate::store::figures::figures;

figures! {
    /// The tables of hashes of an index: see [`IndexKind::Lsh`](crate::IndexKind::Lsh).
    pub struct LshStats {
        /// Number of tables.
        pub tables: u64,
        /// Number of vectors in the training sample, whose mean is the center.
        pub trained_on: u64,
        /// Pieces of all tables: a piece is a value of at most 128 items.
        pub pieces: u64,
        /// The mean number of items of a piece.
        pub items_per_piece: f64,
        /// The number of items of the largest piece: more than 128 only of items with one hash, of
        /// which there are tens of thousands.
        pub largest_piece: u64,
    }
}
