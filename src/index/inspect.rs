//! Lists the indexes in a folder or file of LMDB, whichever program wrote it: needs no type, and
//! changes nothing.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;

use heed::types::Bytes;
use heed::{CommitOrAbort, EnvFlags, EnvOpenOptions, MdbError, RoTxn};

use super::catalog;
use super::environment::{Access, INDEXES, SharedEnv};
use super::filesystem;
use super::options::Options;
use super::registry::DATA;
use crate::codes::Codes;
use crate::error::{Error, Result};
use crate::format::Key;
use crate::format::item_keys::Naming;
use crate::format::meta::Meta;
use crate::store::Raw;
use crate::store::file::check_length;
use crate::store::sections::list::index_kinds;
use crate::store::snapshot::form_name;
use crate::types::IndexKind;

/// The maximum number of named databases in an environment of another program.
const MAX_DATABASES: u32 = 4096;

/// An index that [`inspect`] has found.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Inspected {
    /// The name of the LMDB database that holds it; `None` for the unnamed one.
    pub database: Option<String>,
    /// Its number in the database.
    pub index: u16,
    /// Its name as an [`Index`](crate::Index); `None` for one that a [`Writer`](crate::Writer) has
    /// created in a database of the caller's.
    pub name: Option<String>,
    /// The kind of names of its items: `"u32 ids"`, `"u64 keys"`, `"string keys"`, `"byte keys"` or
    /// `"UUID keys"`.
    pub naming: &'static str,
    /// The number of its values in the database.
    pub values: u64,
    /// The bytes of its values and their keys.
    pub bytes: u64,
    /// Its metadata, or why they cannot be read: they are damaged, of another format version, or an
    /// edit was interrupted (torn).
    pub metadata: std::result::Result<Metadata, String>,
}

/// The metadata of an index.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Metadata {
    /// The name of its metric, which may be unknown to voisin.
    pub metric: String,
    /// The element type (form) of stored vectors: `"f32"`, `"f16"`, `"bf16"`, `"i8"`, `"bits"` or
    /// `"signs"`.
    pub form: &'static str,
    /// The number of components of every vector.
    pub dimensions: usize,
    /// The quantized codes that searches use, if any.
    pub codes: Option<Codes>,
    /// The kinds of the index.
    pub kinds: Vec<IndexKind>,
    /// M and M0, once a build has fixed them.
    pub connectivity: Option<(usize, usize)>,
    /// The number of live items.
    pub items: u64,
    /// How many of them are pending, that is, not in the graph yet.
    pub pending: u64,
    /// The number of tombstones: deleted items that are still in the graph, and in no answer.
    pub removed: u64,
    /// The version of the format (`docs/format.md`).
    pub format_version: u16,
}

/// Lists the indexes in a folder of [`Index`](crate::Index), or in any environment of LMDB: a
/// folder, or a data file. O(values), without reading vectors or graphs: some milliseconds for a
/// million items.
///
/// ```
/// use voisin::{Index, Options, distances::Cosine};
///
/// # fn main() -> voisin::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("vectors");
/// let index = Index::<Cosine, str>::create(&path, Options::new(3).name("notes"))?;
/// index.write(|batch| batch.add("a", &[1.0, 0.0, 0.0]))?;
///
/// let found = voisin::inspect(&path)?;
/// let metadata = found[0].metadata.as_ref().unwrap();
/// assert_eq!((found[0].name.as_deref(), found[0].naming), (Some("notes"), "string keys"));
/// assert_eq!((&*metadata.metric, metadata.form, metadata.dimensions), ("cosine", "f32", 3));
/// assert_eq!((metadata.items, found.len()), (1, 1));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`MissingEnvironment`](Error::MissingEnvironment), [`AlreadyOpen`](Error::AlreadyOpen) if this
/// process has it open through heed, [`Truncated`](Error::Truncated),
/// [`DamagedFile`](Error::DamagedFile), [`Io`](Error::Io), and those of LMDB. Damage to a single
/// index is reported in its [`Inspected::metadata`].
pub fn inspect(path: impl AsRef<Path>) -> Result<Vec<Inspected>> {
    let path = path.as_ref();
    if !path.is_file() {
        match SharedEnv::open(path, &Options::default(), Access::Read) {
            // An empty file is what is left of a creation that was interrupted.
            Err(Error::ForeignEnvironment { .. } | Error::MissingEnvironment { .. })
                if path
                    .join(DATA)
                    .metadata()
                    .is_ok_and(|data| data.is_file() && data.len() > 0) => {}
            Err(error) => return Err(error),
            Ok(env) => {
                return env.look(|txn| {
                    let named = catalog::entries(&env, txn)?.into_iter();
                    let named = named
                        .map(|(name, entry)| (entry.number, (name, entry.naming.describe())))
                        .collect();
                    indexes_in(env.indexes, txn, Some(INDEXES), &named)
                });
            }
        }
    }
    inspect_foreign(path).map_err(|error| filesystem::explain(error, "inspect", path))
}

/// Lists the indexes of an environment that is not an `Index`'s.
fn inspect_foreign(path: &Path) -> Result<Vec<Inspected>> {
    let is_file = path.is_file();
    check_length(&if is_file { path.to_owned() } else { path.join(DATA) })?;
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    let flags =
        EnvFlags::READ_ONLY | if is_file { EnvFlags::NO_SUB_DIR } else { EnvFlags::empty() };
    // SAFETY: nothing is written, and what is read is copied before the environment is closed, in
    // this function; the flags disable nothing that LMDB needs. The user must ensure that the file
    // is changed only through LMDB (`docs/how-to-lose-data.md`).
    let env = match unsafe { options.max_dbs(MAX_DATABASES).flags(flags).open(path) } {
        Err(heed::Error::EnvAlreadyOpened) => {
            return Err(Error::AlreadyOpen { path: path.to_owned(), how: "through heed" });
        }
        opened => opened?,
    };
    let open = |name: Option<&str>| -> Result<Option<Raw<'_>>> {
        let opened = env.open_databases_and_commit(env.read_txn()?, |opener, txn| {
            match opener.open_database::<Bytes, Bytes>(txn, name) {
                Err(heed::Error::Mdb(MdbError::Incompatible)) => Ok(None),
                opened => opened,
            }
            .map(CommitOrAbort::<_, ()>::Commit)
        })?;
        Ok(opened.commit().flatten())
    };
    let Some(main) = open(None)? else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    let txn = env.read_txn()?;
    for entry in main.iter(&txn)? {
        // The names of databases are keys of the unnamed one, among its own keys.
        let name = std::str::from_utf8(entry?.0).ok().filter(|name| !name.contains('\0'));
        names.extend(name.map(str::to_owned));
    }
    drop(txn);
    let mut databases = vec![(None, main)];
    for name in names {
        if let Some(database) = open(Some(&name))? {
            databases.push((Some(name), database));
        }
    }
    let txn = env.read_txn()?;
    let mut found = Vec::new();
    for (name, database) in databases {
        found.extend(indexes_in(database, &txn, name.as_deref(), &BTreeMap::new())?);
    }
    Ok(found)
}

/// The indexes of a database, including those that are in the catalog but have no values.
fn indexes_in(
    raw: Raw<'_>,
    txn: &RoTxn<'_>,
    database: Option<&str>,
    named: &BTreeMap<u16, (String, &'static str)>,
) -> Result<Vec<Inspected>> {
    let mut found = Vec::new();
    let mut next = Some(0u16);
    while let Some(from) = next {
        let from = from.to_be_bytes();
        let bounds = (Bound::Included(&from[..]), Bound::Unbounded);
        let Some((key, _)) = raw.range(txn, &bounds)?.next().transpose()? else { break };
        let Some(number) = key.first_chunk().map(|bytes| u16::from_be_bytes(*bytes)) else { break };
        next = number.checked_add(1);
        let meta = raw.get(txn, &Key::meta(number).to_bytes())?;
        // The keys of another program.
        if meta.is_none() && !named.contains_key(&number) {
            continue;
        }
        let metadata = match meta.map(|value| Meta::decode(number, value)) {
            Some(Err(Error::Foreign { .. })) if !named.contains_key(&number) => continue,
            None => Err("they are missing".to_owned()),
            Some(Err(error)) => Err(error.to_string()),
            Some(Ok((_, Some(_)))) => Err(Error::TornEdit { index: number }.to_string()),
            Some(Ok((meta, None))) => {
                let naming = meta.naming;
                Ok((Metadata::of(meta), naming))
            }
        };
        let (mut values, mut bytes) = (0, 0);
        for entry in raw.prefix_iter(txn, &number.to_be_bytes())? {
            let (key, value) = entry?;
            (values, bytes) = (values + 1, bytes + (key.len() + value.len()) as u64);
        }
        let naming = named.get(&number);
        let stored = metadata.as_ref().map_or(Naming::Ids, |(_, naming)| *naming);
        found.push(Inspected {
            database: database.map(str::to_owned),
            index: number,
            name: naming.map(|(name, _)| name.clone()),
            naming: naming.map_or(stored.describe(), |(_, naming)| naming),
            values,
            bytes,
            metadata: metadata.map(|(metadata, _)| metadata),
        });
    }
    Ok(found)
}

impl Metadata {
    fn of(meta: Meta) -> Self {
        Self {
            form: form_name(meta.codec),
            dimensions: meta.dimensions as usize,
            codes: Codes::of_bits(meta.code_bits).filter(|_| meta.is_coded),
            kinds: index_kinds(&meta),
            connectivity: meta.connectivity.map(|found| (found.m.into(), found.m0.into())),
            items: meta.items.into(),
            pending: meta.pending.into(),
            removed: meta.removed.into(),
            format_version: meta.version,
            metric: meta.metric,
        }
    }
}
