//! The statistics of inverted lists.

use crate::store::figures::figures;

figures! {
    /// The inverted lists of an index of the kind [`IndexKind::Ivf`](crate::IndexKind::Ivf).
    pub struct ListStats {
        /// The number of lists.
        pub lists: u64,
        /// The number of slots of the smallest, those of removed items included.
        pub smallest: u64,
        /// The number of slots of the largest.
        pub largest: u64,
        /// How many times as many items a probe of one list compares on average as if all lists
        /// were equally large, if items are searched for as often as each other: 1 if they are.
        /// Builds split and dissolve lists to keep it low.
        pub imbalance: f64,
        /// The number of items when the lists were made.
        pub trained_on: u64,
    }
}
