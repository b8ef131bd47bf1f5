//! The snapshot cache of an index: its newest snapshot, which all its handles share, and the
//! pointer tables of an earlier one, for as long as a later one can take them over.

use std::sync::{Arc, PoisonError, RwLock};

use crate::store::owned_snapshot::{OwnedSnapshot, SharedTxn, Tables};
use crate::store::readahead::residency::Residency;

/// The newest snapshot requested of an index, and what is known of its part in memory.
#[derive(Debug)]
pub(super) struct Cache {
    cached: RwLock<Cached>,
    residency: Arc<Residency>,
}

#[derive(Debug, Default)]
enum Cached {
    #[default]
    Nothing,
    /// The pointer tables of a snapshot that was dropped.
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
    /// For an index that is to make do with this many bytes of memory.
    pub(super) fn new(memory_bytes: u64) -> Self {
        Self { cached: RwLock::default(), residency: Arc::new(Residency::new(memory_bytes)) }
    }

    /// What is known of the part of the index that is in memory.
    pub(super) fn residency(&self) -> &Arc<Residency> {
        &self.residency
    }

    /// Drops the snapshot, unless it holds the transaction `but`, and the pointer tables, unless a
    /// snapshot of commit `newest` can use them.
    pub(super) fn clear(&self, but: Option<&Arc<SharedTxn>>, newest: usize) {
        let replaced = {
            let mut cached = self.cached.write().unwrap_or_else(PoisonError::into_inner);
            match (&*cached, but) {
                (Cached::Nothing, _) => return,
                (Cached::Snapshot(held), Some(txn)) if held.shares(txn) => return,
                _ => {}
            }
            let tables = cached.tables().filter(|tables| tables.are_of_use(newest));
            std::mem::replace(&mut *cached, tables.map_or(Cached::Nothing, Cached::Found))
        };
        // Dropped after the lock is released.
        drop(replaced);
    }

    /// Drops everything: pointers into the map are invalid once it is moved.
    pub(super) fn forget(&self) {
        let forgotten =
            std::mem::take(&mut *self.cached.write().unwrap_or_else(PoisonError::into_inner));
        drop(forgotten);
        self.residency.forget();
    }

    /// The snapshot, if it is of this commit.
    pub(super) fn get(&self, commit: usize) -> Option<Arc<OwnedSnapshot<'static>>> {
        match &*self.cached.read().unwrap_or_else(PoisonError::into_inner) {
            Cached::Snapshot(held) if held.is_of(commit) => Some(Arc::clone(held)),
            _ => None,
        }
    }

    /// Shares a snapshot, with the pointer tables of earlier ones. `is_newest` says whether its
    /// transaction is the one that caches may hold.
    pub(super) fn put(
        &self,
        held: OwnedSnapshot<'static>,
        is_newest: impl FnOnce() -> bool,
    ) -> Arc<OwnedSnapshot<'static>> {
        let tables = self.cached.read().unwrap_or_else(PoisonError::into_inner).tables();
        if let Some(tables) = tables {
            // SAFETY: the tables are of this index, as the cache is, and of the map in its current
            // place: the map is not moved while there is a transaction, which there is, and
            // `forget` is called whenever it is moved.
            let carried = unsafe { held.carry(&tables) };
            // Pointers that could not be taken over are resolved anew, or are an error then.
            drop(carried);
        }
        let held = Arc::new(held);
        let replaced = {
            let mut cached = self.cached.write().unwrap_or_else(PoisonError::into_inner);
            // Checked under the lock: a thread that makes another transaction the newest announces
            // it first, and then clears the caches, so that none keeps an older one.
            match is_newest() {
                true => std::mem::replace(&mut *cached, Cached::Snapshot(Arc::clone(&held))),
                false => Cached::Nothing,
            }
        };
        drop(replaced);
        held
    }
}
