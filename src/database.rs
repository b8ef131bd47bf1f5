//! The LMDB database that holds indexes, as a type.

use std::borrow::Cow;
use std::convert::Infallible;
use std::marker::PhantomData;

use crate::error::Result;

/// Creates or opens the database that holds indexes of the metric `D`, and commits in a transaction
/// of its own. `name` is the name of the database in its environment, which must be opened with
/// `max_dbs` at least the number of its named databases; `None` is the unnamed database.
/// ```
/// use voisin::heed::EnvOpenOptions;
/// use voisin::{Database, Writer, create_database, distances::Euclidean};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// let mut options = EnvOpenOptions::new();
/// // SAFETY: nobody changes the files in this folder but through LMDB.
/// let env = unsafe { options.map_size(1 << 30).max_dbs(1).open(folder.path())? };
/// let vectors: Database<'_, Euclidean> = create_database(&env, Some("vectors"))?;
/// let mut wtxn = env.write_txn()?;
/// Writer::new(vectors, 0, 2).add_item(&mut wtxn, 7, &[0.5, 1.5])?;
/// wtxn.commit()?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Errors of LMDB, such as `MDB_DBS_FULL`: `max_dbs` is too small. The call waits for another
/// writer.
pub fn create_database<'e, D: 'static>(
    env: &'e heed::Env<impl heed::TlsUsage>,
    name: Option<&str>,
) -> Result<Database<'e, D>> {
    let created = env.create_databases_and_commit(env.write_txn()?, |opener, wtxn| {
        opener.create_database(wtxn, name).map(heed::CommitOrAbort::<_, Infallible>::Commit)
    })?;
    match created {
        heed::CommitOrAbort::Commit(database) => Ok(database),
        heed::CommitOrAbort::Abort(never) => match never {},
    }
}

/// A database that holds indexes with the metric `D`: up to 65 535 of them.
pub type Database<'e, D> = heed::Database<'e, heed::types::Bytes, ValueCodec<D>>;

/// Values as bytes, marked with the metric of their indexes.
#[derive(Debug)]
pub struct ValueCodec<D>(PhantomData<D>);

impl<'a, D: 'a> heed::BytesEncode<'a> for ValueCodec<D> {
    type EItem = [u8];

    fn bytes_encode(item: &'a [u8]) -> std::result::Result<Cow<'a, [u8]>, heed::BoxedError> {
        Ok(Cow::Borrowed(item))
    }
}

impl<'a, D: 'a> heed::BytesDecode<'a> for ValueCodec<D> {
    type DItem = &'a [u8];

    fn bytes_decode(bytes: &'a [u8]) -> std::result::Result<&'a [u8], heed::BoxedError> {
        Ok(bytes)
    }
}
