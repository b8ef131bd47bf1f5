//! The catalog of an environment: the names and numbers of its indexes, and their removal.
//!
//! A number is assigned only once, even if its index is gone: a handle that is still open on a
//! removed index finds nothing under its number, and never the items of another index. The bytes
//! are specified in `format/catalog.rs`.

use std::path::Path;

use heed::{RoTxn, RwTxn};

use super::environment::{Access, SharedEnv};
use super::options::Options;
use crate::error::{Error, Result};
use crate::format::catalog::{Entry, HIGHEST, Unreadable, VERSION, decode_highest, encode_highest};
use crate::format::delta::DATABASE;
use crate::store::target::delete_index;

fn unreadable(name: &[u8], unreadable: Unreadable) -> Error {
    let name = String::from_utf8_lossy(name).into_owned();
    match unreadable {
        Unreadable::Damaged(what) => Error::CorruptCatalog { name, what },
        Unreadable::Version(found) => Error::CatalogVersion { name, found, supported: VERSION },
    }
}

/// The catalog entry of an index. `None` if there is none.
pub(super) fn entry(env: &SharedEnv, txn: &RoTxn<'_>, name: &str) -> Result<Option<Entry>> {
    let Some(value) = env.catalog.get(txn, name.as_bytes())? else { return Ok(None) };
    Entry::decode(name.as_bytes(), value)
        .map(Some)
        .map_err(|error| unreadable(name.as_bytes(), error))
}

/// The names and entries of all indexes of an environment, by name.
pub(super) fn entries(env: &SharedEnv, txn: &RoTxn<'_>) -> Result<Vec<(String, Entry)>> {
    let entries =
        env.catalog.iter(txn)?.filter(|entry| !matches!(entry, Ok((name, _)) if **name == HIGHEST));
    let entries = entries.map(|entry| {
        let (name, value) = entry?;
        let entry = Entry::decode(name, value).map_err(|error| unreadable(name, error))?;
        Ok((String::from_utf8_lossy(name).into_owned(), entry))
    });
    entries.collect()
}

/// The names of all indexes of an environment, in byte order.
pub(super) fn names(env: &SharedEnv, txn: &RoTxn<'_>) -> Result<Vec<String>> {
    Ok(entries(env, txn)?.into_iter().map(|(name, _)| name).collect())
}

/// The highest number ever assigned. `None` if there has never been an index.
fn highest(env: &SharedEnv, txn: &RoTxn<'_>) -> Result<Option<u16>> {
    let removed = env
        .catalog
        .get(txn, &HIGHEST)?
        .map(|value| decode_highest(value).map_err(|error| unreadable(&HIGHEST, error)));
    let known = entries(env, txn)?.iter().map(|(_, entry)| entry.number).max();
    Ok(known.max(removed.transpose()?))
}

/// The number of a new index.
///
/// # Errors
/// [`Error::TooManyIndexes`].
pub(super) fn next_number(env: &SharedEnv, txn: &RoTxn<'_>) -> Result<u16> {
    let next = highest(env, txn)?.map_or(Some(0), |highest| highest.checked_add(1));
    next.filter(|number| *number < DATABASE).ok_or_else(|| Error::TooManyIndexes {
        path: env.folder().to_owned(),
        max: DATABASE.into(),
    })
}

/// Adds the entry of a new index.
pub(super) fn add(env: &SharedEnv, wtxn: &mut RwTxn<'_>, name: &str, entry: &Entry) -> Result<()> {
    Ok(env.catalog.put(wtxn, name.as_bytes(), &entry.encode(name.as_bytes()))?)
}

/// Lets two indexes change their names.
///
/// # Errors
/// [`Error::MissingName`], before anything is changed.
pub(super) fn swap(env: &SharedEnv, wtxn: &mut RwTxn<'_>, names: [&str; 2]) -> Result<()> {
    let find = |name| match entry(env, wtxn, name)? {
        Some(entry) => Ok(entry),
        None => Err(missing(env, name, self::names(env, wtxn)?)),
    };
    let [first, second] = [find(names[0])?, find(names[1])?];
    add(env, wtxn, names[0], &second)?;
    add(env, wtxn, names[1], &first)
}

/// The error for a name without an index.
pub(super) fn missing(env: &SharedEnv, name: &str, known: Vec<String>) -> Error {
    Error::MissingName { name: name.to_owned(), path: env.folder().to_owned(), known }
}

/// Removes an index from its folder, with all its items. Its space in the file is reused. O(values
/// of the index), in one commit: .16 s and 4 MB written for a million items of 384 dimensions,
/// since LMDB frees pages without reading them.
///
/// The options identify it by their [`name`](Options::name); any other option that is set must
/// match, as with [`Index::open`](crate::Index::open). Neither its metric nor its kind of names
/// need be known.
///
/// Other handles on it, in this process and in others, return [`Removed`](Error::Removed) from then
/// on, even if there is a new index of the same name; held [`Snapshot`](crate::Snapshot)s keep
/// their view. A folder can have 65 535 indexes in its life, removed ones included.
///
/// ```
/// use voisin::{Error, Index, Options, distances::Euclidean};
///
/// # fn main() -> voisin::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("vectors");
/// let old = Index::<Euclidean>::create(&path, Options::new(2).name("old"))?;
/// let new = Index::<Euclidean>::create(&path, Options::new(3).name("new"))?;
/// voisin::remove_index(&path, Options::default().name("old"))?;
/// assert_eq!(new.names()?, ["new"]);
/// assert!(matches!(old.search(1).by_vector(&[0.0, 0.0]), Err(Error::Removed { .. })));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`Index::open`](crate::Index::open), without those about metrics, and as
/// [`Index::write`](crate::Index::write): nothing has changed.
pub fn remove_index(path: impl AsRef<Path>, options: Options) -> Result<()> {
    let name = options.index_name()?;
    let env = SharedEnv::open(path.as_ref(), &options, Access::Write)?;
    env.write::<(), Error>(|mut txn| {
        let Some(found) = entry(&env, &txn, name)? else {
            return Err(missing(&env, name, names(&env, &txn)?).into());
        };
        options.check_stored(name, &found)?;
        remove(&env, &mut txn, name, found.number)?;
        Ok(((), txn))
    })
}

/// Removes the index of a name and a number.
pub(super) fn remove(env: &SharedEnv, wtxn: &mut RwTxn<'_>, name: &str, number: u16) -> Result<()> {
    let highest = highest(env, wtxn)?.unwrap_or(number);
    delete_index(env.indexes, number, wtxn)?;
    env.catalog.delete(wtxn, name.as_bytes())?;
    Ok(env.catalog.put(wtxn, &HIGHEST, &encode_highest(highest))?)
}
