//! What operations cost, counted: values read and written, and bytes written. Only with the feature
//! `meter`, for tests and benches.
//!
//! A value is read whenever it is accessed, whether it had to be looked up or was remembered; it is
//! written when it is put or deleted. Counts are those of the whole process.

#[cfg(feature = "meter")]
mod counters {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    static READ: AtomicU64 = AtomicU64::new(0);
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    static BYTES: AtomicU64 = AtomicU64::new(0);

    /// Values read and written, and the bytes of the latter.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    #[non_exhaustive]
    pub struct Cost {
        /// Vectors, neighbor lists, map groups, set chunks and metadata that were accessed.
        pub values_read: u64,
        /// Values that were put or deleted.
        pub values_written: u64,
        /// Bytes of the values that were put.
        pub bytes_written: u64,
    }

    /// What was counted since the last call.
    pub fn take_cost() -> Cost {
        let [values_read, values_written, bytes_written] =
            [&READ, &WRITTEN, &BYTES].map(|counter| counter.swap(0, Relaxed));
        Cost { values_read, values_written, bytes_written }
    }

    pub(crate) fn read() {
        super::super::fault::step();
        READ.fetch_add(1, Relaxed);
    }

    pub(crate) fn wrote(bytes: usize) {
        WRITTEN.fetch_add(1, Relaxed);
        BYTES.fetch_add(bytes as u64, Relaxed);
    }
}

#[cfg(feature = "meter")]
pub use counters::{Cost, take_cost};
#[cfg(feature = "meter")]
pub(crate) use counters::{read, wrote};

#[cfg(not(feature = "meter"))]
#[inline(always)]
pub(crate) fn read() {
    super::fault::step();
}

#[cfg(not(feature = "meter"))]
#[inline(always)]
pub(crate) fn wrote(_bytes: usize) {}
