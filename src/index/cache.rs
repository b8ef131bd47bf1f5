//! The newest snapshot of an index that has been asked for, which all handles on it share; and what
//! an earlier one has found, for as long as a later one can take it over.

use std::sync::{Arc, PoisonError, RwLock};

use crate::store::owned_snapshot::{OwnedSnapshot, SharedTxn, Tables};

/// The newest snapshot that has been asked for of an index.
#[derive(Debug, Default)]
pub(super) struct Cache(RwLock<Cached>);

#[derive(Debug, Default)]
enum Cached {
    #[default]
    Nothing,
    /// It has been let go, and this is what it had found.
    Found(Tables),
    Snapshot(Arc<OwnedSnapshot<'static>>),
}

impl Cached {
    fn tables(&self) -> Option<Tables> {
        match self {
            Self::Nothing => None,
            Self::Found(tables) => Some(tables.clone()),
            Self::Snapshot(held) => Some(held.tables()),
        }
    }
}

impl Cache {
    /// Lets go of the snapshot, unless it holds by `but`, and of what it has found, unless that is
    /// of use to one of commit `newest`.
    pub(super) fn clear(&self, but: Option<&Arc<SharedTxn>>, newest: usize) {
        let replaced = {
            let mut cached = self.0.write().unwrap_or_else(PoisonError::into_inner);
            match (&*cached, but) {
                (Cached::Nothing, _) => return,
                (Cached::Snapshot(held), Some(txn)) if held.shares(txn) => return,
                _ => {}
            }
            let tables = cached.tables().filter(|tables| tables.are_of_use(newest));
            std::mem::replace(&mut *cached, tables.map_or(Cached::Nothing, Cached::Found))
        };
        // Dropped when the lock is not held any more.
        drop(replaced);
    }

    /// Lets go of everything: where it was found, it will not be any more.
    pub(super) fn forget(&self) {
        let forgotten =
            std::mem::take(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner));
        drop(forgotten);
    }

    /// The snapshot, if it is of this commit.
    pub(super) fn get(&self, commit: usize) -> Option<Arc<OwnedSnapshot<'static>>> {
        match &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            Cached::Snapshot(held) if held.is_of(commit) => Some(Arc::clone(held)),
            _ => None,
        }
    }

    /// Has a snapshot shared that holds by a transaction, with what earlier ones have found.
    /// `is_newest` says whether that is the transaction that caches hold by.
    pub(super) fn put(
        &self,
        held: OwnedSnapshot<'static>,
        is_newest: impl FnOnce() -> bool,
    ) -> Arc<OwnedSnapshot<'static>> {
        let tables = self.0.read().unwrap_or_else(PoisonError::into_inner).tables();
        if let Some(tables) = tables {
            // SAFETY: the tables are of this index, as the cache is; and of the map as it is: it is
            // not moved while there is a transaction, which there is, and `forget` is called
            // whenever it is.
            let carried = unsafe { held.carry(&tables) };
            // What could not be taken over is found anew, or is an error then.
            drop(carried);
        }
        let held = Arc::new(held);
        let replaced = {
            let mut cached = self.0.write().unwrap_or_else(PoisonError::into_inner);
            // Looked at under the lock: who makes another transaction the newest says so first, and
            // then clears the caches, so that none keeps an older one.
            match is_newest() {
                true => std::mem::replace(&mut *cached, Cached::Snapshot(Arc::clone(&held))),
                false => Cached::Nothing,
            }
        };
        drop(replaced);
        held
    }
}
