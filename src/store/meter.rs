//! Cost counters of operations: values read, values written, and bytes written. They exist only
//! with the feature `meter`, for tests and benches.
//!
//! A read is any access to a value, by a lookup or through a pointer table; a write is a put or a
//! delete. The counters are global to the process.

#[cfg(feature = "meter")]
mod counters {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    static READ: AtomicU64 = AtomicU64::new(0);
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    static BYTES: AtomicU64 = AtomicU64::new(0);

    /// Numbers of values read and written, and of bytes written.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    #[non_exhaustive]
    pub struct Cost {
        /// Accesses to vectors, neighbor lists, map groups, set chunks and metadata.
        pub values_read: u64,
        /// Values put or deleted.
        pub values_written: u64,
        /// Bytes of the values put.
        pub bytes_written: u64,
    }

    /// Returns the counters, and resets them to 0.
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
