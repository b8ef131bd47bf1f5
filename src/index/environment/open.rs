//! Opens and creates an environment: once in a process, and never on a file in which LMDB would
//! lose data.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Condvar, LazyLock, Mutex, RwLock};

use heed::types::Bytes;
use heed::{CommitOrAbort, Env, EnvFlags, EnvOpenOptions, MdbError, WithoutTls};

use super::{Access, INDEXES, MAX_ADOPTIONS, SharedEnv};
use crate::error::{Error, Result};
use crate::index::created::Created;
use crate::index::filesystem;
use crate::index::options::Options;
use crate::index::registry::{Claim, DATA, DataFile, Registered, Registry};
use crate::store::Raw;
use crate::store::file::check_length;
use crate::store::process::OfProcess;
use crate::store::readahead::cannot_tell;

/// The database with the names of the indexes.
const CATALOG: &str = "voisin.catalog";
/// The number of named databases of voisin's own, with some to spare for the future.
const OWN_DATABASES: u32 = 8;

/// The environments that this process has open.
static ENVIRONMENTS: LazyLock<Registry<SharedEnv>> = LazyLock::new(Registry::new);

impl SharedEnv {
    /// The environment in a folder: the one that this process has open, or a new one.
    ///
    /// # Errors
    /// See [`Index::open`](crate::Index::open).
    pub(in crate::index) fn open(
        folder: &Path,
        options: &Options,
        access: Access,
    ) -> Result<Arc<Self>> {
        Self::claim(folder, options, access)
            .map_err(|error| filesystem::explain(error, "open the environment in", folder))
    }

    fn claim(folder: &Path, options: &Options, access: Access) -> Result<Arc<Self>> {
        if access == Access::Create {
            ENVIRONMENTS.check_process()?;
        }
        if !options.takes_any_file_system() {
            filesystem::check(folder)?;
        }
        let mut created = if access == Access::Create { Created::folder(folder)? } else { None };
        let file = if access == Access::Create {
            DataFile::create(folder)?
        } else {
            DataFile::find(folder)?
        };
        if file.is_empty && access != Access::Create {
            // Its creation was interrupted.
            return Err(Error::MissingEnvironment { path: file.folder });
        }
        let how = "read-only";
        match ENVIRONMENTS.claim(&file)? {
            Claim::Open(env) if env.is_read_only && access != Access::Read => {
                Err(Error::AlreadyOpen { path: file.folder, how })
            }
            Claim::Open(env) => {
                created.iter().for_each(Created::keep);
                Ok(env)
            }
            Claim::Ours(registered) => {
                created.iter_mut().for_each(|created| created.is_ours = true);
                let env = Arc::new(Self::new(file.folder, options, access, registered, created)?);
                env.registered.opened(&env);
                Ok(env)
            }
        }
    }

    /// On failure, whatever was created is removed before any other process can open it: parameters
    /// are dropped from the last.
    fn new(
        folder: PathBuf,
        options: &Options,
        access: Access,
        registered: Registered<Self>,
        created: Option<Created>,
    ) -> Result<Self> {
        let mut open = EnvOpenOptions::new().read_txn_without_tls();
        open.map_size(options.map_bytes()).max_readers(options.readers());
        open.max_dbs(options.databases().saturating_add(OWN_DATABASES));
        let is_read_only = access == Access::Read;
        // A page fault reads one page, and not megabytes: who needs more says so. LMDB repeats the
        // advice whenever it moves the map.
        let mut flags = EnvFlags::NO_READ_AHEAD;
        flags.set(EnvFlags::READ_ONLY, is_read_only);
        // SAFETY: unlike other flags, these disable nothing that LMDB needs to be sound.
        unsafe { open.flags(flags) };
        // If it is open, LMDB refuses it below.
        if heed::env_closing_event(&folder).is_none() {
            filesystem::reserve_lock_file(&folder, options.readers(), access != Access::Read)?;
        }
        check_length(&folder.join(DATA))?;
        // SAFETY: the files are changed through LMDB only, as far as voisin can ensure it: the
        // folder is not on a network file system, the data file has one name, and this process does
        // not have it open. `docs/how-to-lose-data.md` says what is left to the user.
        let env = match unsafe { open.open(&folder) } {
            Ok(env) => OfProcess::new(env),
            Err(heed::Error::EnvAlreadyOpened) => {
                return Err(Error::AlreadyOpen {
                    path: folder,
                    how: "through heed, or from files that have been removed since",
                });
            }
            Err(error) => return Err(error.into()),
        };
        if is_read_only && OpenOptions::new().write(true).open(env.path().join(DATA)).is_err() {
            cannot_tell();
        }
        env.clear_stale_readers()?;
        let mut adoptions = 0;
        let (indexes, catalog) = loop {
            match databases(&env, &folder, access) {
                // Another process has grown the map since.
                Err(Error::Heed(heed::Error::Mdb(MdbError::MapResized)))
                    if adoptions < MAX_ADOPTIONS =>
                {
                    adoptions += 1;
                    // SAFETY: no other thread has the environment yet, and the transaction that
                    // failed has ended.
                    unsafe { env.resize(0) }?;
                }
                found => break found?,
            }
        };
        Ok(Self {
            env,
            created,
            registered,
            folder,
            is_read_only,
            memory_bytes: options.memory_budget(),
            growth_wait: options.wait(),
            indexes,
            catalog,
            resize_lock: RwLock::new(true),
            live: Mutex::default(),
            ended: Condvar::new(),
            write_lock: Mutex::new(()),
            has_checked_pages: AtomicBool::new(false),
            writing: Mutex::new(None),
            written: Condvar::new(),
            caches: Mutex::default(),
            newest: Mutex::default(),
            refreshing: Mutex::new(()),
            commits: AtomicU64::new(0),
            databases_of: AtomicUsize::new(0),
            has_all_databases: AtomicBool::new(false),
        })
    }
}

/// Finds the databases of an environment, or creates them.
fn databases(
    env: &Env<WithoutTls>,
    folder: &Path,
    access: Access,
) -> Result<(Raw<'static>, Raw<'static>)> {
    let rtxn = env.read_txn().map_err(|error| match error {
        heed::Error::Mdb(MdbError::ReadersFull) => {
            Error::ReadersFull { path: folder.to_owned(), max: env.max_readers() }
        }
        error => error.into(),
    })?;
    let found = env.open_databases_and_commit(rtxn, |opener, rtxn| -> heed::Result<_> {
        let open = |name| opener.open_database::<Bytes, Bytes>(rtxn, Some(name));
        let main = opener.open_database::<Bytes, Bytes>(rtxn, None)?;
        // The names of databases, or the keys of a program that keeps data beside them.
        let is_empty = main.map_or(Ok(true), |main| main.is_empty(rtxn))?;
        Ok(CommitOrAbort::<_, ()>::Commit((open(INDEXES)?, open(CATALOG)?, is_empty.then_some(()))))
    })?;
    match found.commit() {
        Some((Some(indexes), Some(catalog), _)) => Ok((indexes, catalog)),
        Some((_, _, Some(()))) if access == Access::Create => {
            let created = env.create_databases_and_commit(
                env.write_txn()?,
                |opener, wtxn| -> heed::Result<_> {
                    let indexes = opener.create_database::<Bytes, Bytes>(wtxn, Some(INDEXES))?;
                    let catalog = opener.create_database::<Bytes, Bytes>(wtxn, Some(CATALOG))?;
                    Ok(CommitOrAbort::<_, ()>::Commit((indexes, catalog)))
                },
            )?;
            created.commit().ok_or_else(|| Error::MissingEnvironment { path: folder.to_owned() })
        }
        Some((_, _, None)) => Err(Error::ForeignEnvironment { path: folder.to_owned() }),
        _ => Err(Error::MissingEnvironment { path: folder.to_owned() }),
    }
}
