//! Values that belong to the process that created them: transactions and environments of LMDB.
//!
//! A child of `fork` inherits copies of both, which refer to the lock file that it shares with its
//! parent. Ending a transaction there frees the *parent's* entry in the reader table, so that pages
//! which the parent still reads are overwritten; ending a write transaction unlocks the parent's
//! lock. So outside its own process such a value is leaked, never dropped, which harms nobody.

use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};

use crate::error::{Error, Result};

/// A value that is dropped in the process that created it, and leaked in every other.
pub(crate) struct OfProcess<T> {
    value: ManuallyDrop<T>,
    process: u32,
}

impl<T> OfProcess<T> {
    /// A value of this process.
    pub(crate) fn new(value: T) -> Self {
        Self { value: ManuallyDrop::new(value), process: std::process::id() }
    }

    /// Checks that this is the process that created the value.
    ///
    /// # Errors
    /// [`Error::Forked`].
    #[inline]
    pub(crate) fn check(&self) -> Result<()> {
        check(self.process)
    }

    /// The value itself, for the caller to drop.
    ///
    /// # Errors
    /// [`Error::Forked`]: the value has been leaked.
    pub(crate) fn into_inner(mut self) -> Result<T> {
        self.check()?;
        // SAFETY: the value is taken once, as `self` is forgotten right after.
        let value = unsafe { ManuallyDrop::take(&mut self.value) };
        std::mem::forget(self);
        Ok(value)
    }
}

/// Checks that this is the process `made`.
///
/// # Errors
/// [`Error::Forked`].
#[inline]
pub(crate) fn check(made: u32) -> Result<()> {
    let here = std::process::id();
    if here == made { Ok(()) } else { Err(Error::Forked { opened: made, here }) }
}

impl<T> Deref for OfProcess<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for OfProcess<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T> fmt::Debug for OfProcess<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfProcess").field("process", &self.process).finish_non_exhaustive()
    }
}

impl<T> Drop for OfProcess<T> {
    fn drop(&mut self) {
        if self.check().is_ok() {
            // SAFETY: dropped here only, and `into_inner` forgets what it has taken from.
            unsafe { ManuallyDrop::drop(&mut self.value) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    struct Counted<'a>(&'a Cell<u32>);

    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }

    #[test]
    fn a_value_is_dropped_once_in_its_own_process_and_never_in_another() {
        let drops = Cell::new(0);
        drop(OfProcess::new(Counted(&drops)));
        assert_eq!(drops.get(), 1);
        let taken = OfProcess::new(Counted(&drops)).into_inner().unwrap();
        assert_eq!(drops.get(), 1);
        drop(taken);
        assert_eq!(drops.get(), 2);

        let mut inherited = OfProcess::new(Counted(&drops));
        inherited.process += 1;
        let opened = inherited.process;
        assert!(
            matches!(inherited.check(), Err(Error::Forked { opened: found, .. }) if found == opened)
        );
        drop(inherited);
        let mut inherited = OfProcess::new(Counted(&drops));
        inherited.process += 1;
        assert!(inherited.into_inner().is_err());
        assert_eq!(drops.get(), 2);
    }
}
