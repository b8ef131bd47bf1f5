//! Tests of voisin against hannoy and arroy and their databases: `tests/peers/`. They are a crate
//! of their own so that those who test voisin need not compile these two.
//!
//! The complete examples of voisin's documentation that begin with a hannoy index are tested here.
//! The example of `Import`:
//!
//! ```
//! use voisin::heed::{CommitOrAbort, EnvOpenOptions, types::Bytes};
//! use voisin::rand::{SeedableRng, rngs::StdRng};
//! use voisin::{Import, Reader, Writer, distances::Euclidean};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! // SAFETY: nobody changes the files in this folder but through LMDB.
//! let env = unsafe { EnvOpenOptions::new().map_size(1 << 30).max_dbs(2).open(folder.path())? };
//! let created = env.create_databases_and_commit(env.write_txn()?, |opener, wtxn| {
//!     opener.create_database(wtxn, Some("hannoy")).map(CommitOrAbort::<_, ()>::Commit)
//! })?;
//! let theirs: hannoy::Database<'_, hannoy::distances::Euclidean> = created.unwrap_commit();
//! let ours: voisin::Database<'_, Euclidean> = voisin::create_database(&env, Some("voisin"))?;
//!
//! // An existing index.
//! let mut wtxn = env.write_txn()?;
//! let old = hannoy::Writer::new(theirs, 7, 2);
//! old.add_item(&mut wtxn, 1, &[0.5, 0.0])?;
//! old.add_item(&mut wtxn, 2, &[0.0, 2.0])?;
//! let mut rng = StdRng::seed_from_u64(42);
//! old.builder(&mut rng).build::<16, 32>(&mut wtxn)?;
//! wtxn.commit()?;
//!
//! let rtxn = env.read_txn()?;
//! let source = Import::open(&rtxn, 7, theirs.remap_types::<Bytes, Bytes>())?;
//! assert_eq!((source.metric(), source.dimensions()), ("euclidean", 2));
//! let mut wtxn = env.write_txn()?;
//! let writer = Writer::new(ours, 0, source.dimensions());
//! assert_eq!(source.add_to(&writer, &mut wtxn)?, 2);
//! writer.builder(&mut rng).build::<16, 32>(&mut wtxn)?;
//! wtxn.commit()?;
//! drop(rtxn);
//!
//! let rtxn = env.read_txn()?;
//! let found = Reader::open(&rtxn, 0, ours)?.nns(1).by_vector(&rtxn, &[0.0, 0.0])?;
//! assert_eq!(found.into_nns(), [(1, 0.25)]);
//! # Ok(())
//! # }
//! ```
//!
//! The migration recipe of the cookbook, which continues with an `Index`:
//!
//! ```
//! use voisin::heed::types::Bytes;
//! use voisin::heed::{self, CommitOrAbort, EnvFlags, EnvOpenOptions};
//! use voisin::{
//!     Database, Import, Index, Options, Reader, Writer, create_database, distances::Euclidean,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let temporary = tempfile::tempdir()?;
//! # let (old_folder, new_folder) = (temporary.path().join("old"), temporary.path().join("new"));
//! # {
//! #     use voisin::rand::SeedableRng as _;
//! #     std::fs::create_dir(&old_folder)?;
//! #     let mut options = EnvOpenOptions::new();
//! #     let env = unsafe { options.map_size(1 << 30).max_dbs(1).open(&old_folder)? };
//! #     let created = env.create_databases_and_commit(env.write_txn()?, |opener, wtxn| {
//! #         let theirs = opener.create_database(wtxn, Some("hannoy"));
//! #         theirs.map(CommitOrAbort::<_, ()>::Commit)
//! #     })?;
//! #     let theirs: hannoy::Database<'_, hannoy::distances::Euclidean> = created.unwrap_commit();
//! #     let writer = hannoy::Writer::new(theirs, 7, 2);
//! #     let mut wtxn = env.write_txn()?;
//! #     writer.add_item(&mut wtxn, 1, &[0.5, 0.0])?;
//! #     writer.add_item(&mut wtxn, 2, &[0.0, 2.0])?;
//! #     writer.builder(&mut rand::rngs::StdRng::seed_from_u64(42)).build::<16, 32>(&mut wtxn)?;
//! #     wtxn.commit()?;
//! #     env.prepare_for_closing().wait();
//! # }
//! // The old environment, opened read-only: it stays as it is, whatever happens.
//! let mut options = EnvOpenOptions::new();
//! options.map_size(1 << 30).max_dbs(1);
//! // SAFETY: nobody changes the files in this folder but through LMDB; the flag takes nothing
//! // away that it needs.
//! let old = unsafe { options.flags(EnvFlags::READ_ONLY).open(&old_folder)? };
//! let opened = old.open_databases_and_commit(old.read_txn()?, |opener, rtxn| -> heed::Result<_> {
//!     Ok(match opener.open_database::<Bytes, Bytes>(rtxn, Some("hannoy"))? {
//!         Some(theirs) => CommitOrAbort::Commit(theirs),
//!         None => CommitOrAbort::Abort(()),
//!     })
//! })?;
//! let theirs = opened.unwrap_commit();
//! let old_txn = old.read_txn()?;
//! let source = Import::open(&old_txn, 7, theirs)?;
//! let dimensions = source.dimensions();
//!
//! let between = tempfile::tempdir()?;
//! // SAFETY: a new folder that no other program knows.
//! let env = unsafe { EnvOpenOptions::new().map_size(1 << 36).open(between.path())? };
//! let database: Database<'_, Euclidean> = create_database(&env, None)?;
//! let mut wtxn = env.write_txn()?;
//! source.add_to(&Writer::new(database, 0, dimensions), &mut wtxn)?;
//!
//! // A transaction can read what it has written: a temporary environment needs no commit.
//! let reader = Reader::open(&wtxn, 0, database)?;
//! let index = Index::<Euclidean>::create(&new_folder, Options::new(dimensions))?;
//! index.write(|batch| {
//!     for entry in reader.iter(&wtxn)? {
//!         let (item, vector) = entry?;
//!         batch.add(item, &vector)?;
//!     }
//!     Ok(())
//! })?;
//! assert_eq!(index.search(1).by_vector(&[0.0, 0.0])?.into_nns(), [(1, 0.25)]);
//! # Ok(())
//! # }
//! ```
