//! The caller's own databases in the environment of an index.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use heed::types::{Bytes, DecodeIgnore};
use heed::{CommitOrAbort, Database, MdbError, RoTxn};

use super::{Reading, SharedEnv};
use crate::error::{Error, Result};

/// Names that begin so are voisin's own.
const RESERVED: &str = "voisin";
/// LMDB's limit for keys, of which names are some.
const MAX_DATABASE_NAME_BYTES: usize = 480;

/// Checks that a database of the caller's may have this name.
///
/// # Errors
/// [`Error::InvalidDatabaseName`].
fn check_name(name: &str) -> Result<()> {
    let is_length = (1..=MAX_DATABASE_NAME_BYTES).contains(&name.len());
    if is_length && !name.starts_with(RESERVED) && !name.contains('\0') {
        return Ok(());
    }
    Err(Error::InvalidDatabaseName { name: name.to_owned(), max: MAX_DATABASE_NAME_BYTES })
}

impl SharedEnv {
    /// A database of the caller's; creates it, in a commit of its own, if it is missing.
    ///
    /// # Errors
    /// [`Error::InvalidDatabaseName`]; LMDB's `DbsFull` if too many are open; those of
    /// [`read`](Self::read) and [`write`](Self::write).
    pub(in crate::index) fn database<KC: 'static, DC: 'static>(
        self: &Arc<Self>,
        name: &str,
    ) -> Result<Database<'static, KC, DC>> {
        if let Some(found) = self.find_database(name)? {
            return Ok(found);
        }
        if self.is_read_only {
            return Err(Error::ReadOnly { path: self.folder.clone() });
        }
        let guard = self.lock_writes()?;
        loop {
            let wtxn = self.begin_write(&guard).map_err(|error| self.explain(error))?;
            let created = self.env.create_databases_and_commit(
                wtxn.into_inner()?,
                |opener, wtxn| -> heed::Result<_> {
                    let database = opener.create_database::<KC, DC>(wtxn, Some(name))?;
                    Ok(CommitOrAbort::<_, ()>::Commit(database))
                },
            );
            match created {
                Ok(created) => {
                    self.committed();
                    // Committed, as it is not aborted.
                    return created.commit().ok_or(Error::BatchFailed);
                }
                Err(heed::Error::Mdb(MdbError::MapFull)) => self.grow(&guard)?,
                Err(error) => return Err(self.explain(error.into())),
            }
        }
    }

    /// Opens all databases of the caller's that exist, or none of those that are not open if the
    /// process cannot have so many: it may need others. A transaction can read those that were open
    /// when it began, and no others.
    ///
    /// # Errors
    /// Those of [`read`](Self::read) and of LMDB.
    pub(in crate::index) fn open_databases(self: &Arc<Self>) -> Result<()> {
        let Reading { txn, counted } = self.read()?;
        let commit = txn.id();
        let opened = self.env.open_databases_and_commit(
            txn.into_inner()?,
            |opener, rtxn: &RoTxn<'_, _>| -> heed::Result<_> {
                let main = opener.open_database::<Bytes, DecodeIgnore>(rtxn, None)?;
                for name in main.map(|main| main.iter(rtxn)).transpose()?.into_iter().flatten() {
                    let Ok(name) = std::str::from_utf8(name?.0) else { continue };
                    if check_name(name).is_err() {
                        continue;
                    }
                    match opener.open_database::<Bytes, Bytes>(rtxn, Some(name)) {
                        Err(heed::Error::Mdb(MdbError::DbsFull)) => {
                            return Ok(CommitOrAbort::Abort(()));
                        }
                        Err(error) => return Err(error),
                        Ok(_) => {}
                    }
                }
                Ok(CommitOrAbort::<_, ()>::Commit(()))
            },
        );
        drop(counted);
        let opened = opened.map_err(|error| self.explain(error.into()))?;
        self.has_all_databases.store(opened.commit().is_some(), Ordering::Relaxed);
        self.databases_of.fetch_max(commit, Ordering::Relaxed);
        Ok(())
    }

    /// Whether all databases were opened the last time.
    pub(in crate::index) fn has_all_databases(&self) -> bool {
        self.has_all_databases.load(Ordering::Relaxed)
    }

    /// Whether the databases of a commit have been opened, or were too many.
    pub(in crate::index) fn knows_databases(&self, commit: usize) -> bool {
        self.databases_of.load(Ordering::Relaxed) >= commit
    }

    /// The database, if it exists.
    ///
    /// # Errors
    /// As [`database`](Self::database).
    pub(in crate::index) fn find_database<KC: 'static, DC: 'static>(
        self: &Arc<Self>,
        name: &str,
    ) -> Result<Option<Database<'static, KC, DC>>> {
        check_name(name)?;
        let Reading { txn, counted } = self.read()?;
        let found = self.env.open_databases_and_commit(
            txn.into_inner()?,
            |opener, rtxn: &RoTxn<'_, _>| -> heed::Result<_> {
                let database = opener.open_database::<KC, DC>(rtxn, Some(name))?;
                Ok(CommitOrAbort::<_, ()>::Commit(database))
            },
        );
        drop(counted);
        Ok(found.map_err(|error| self.explain(error.into()))?.commit().flatten())
    }
}
