//! Recipes for what programs do with voisin. Every one runs as it stands; what a type does in
//! detail is in its own documentation.
//!
//! - [In a service](#in-a-service)
//! - [Beside tables of your own](#beside-tables-of-your-own)
//! - [Many processes](#many-processes)
//! - [Bulk loads](#bulk-loads)
//! - [Backups](#backups)
//! - [From hannoy or arroy](#from-hannoy-or-arroy)
//!
//! # In a service
//!
//! Open the [`Index`](crate::Index) once, when the service starts, and give every worker a clone of
//! the handle: it is cheap, and any thread may search while another one writes.
//! [`warm`](crate::Snapshot::warm) reads the file before the first request has to, up to a number
//! of bytes that you choose.
//!
//! ```
//! use std::thread;
//! use voisin::{Index, ItemId, Options, Result, distances::Cosine};
//!
//! #[derive(Clone)]
//! struct Texts(Index<Cosine>);
//!
//! impl Texts {
//!     fn start(folder: &std::path::Path) -> Result<Self> {
//!         let index = Index::open_or_create(folder, Options::new(3))?;
//!         index.snapshot()?.warm(8 << 30)?;
//!         Ok(Self(index))
//!     }
//!
//!     /// Committed, and durable, when it returns; found by every search that begins afterwards.
//!     fn put(&self, texts: &[(ItemId, [f32; 3])]) -> Result<()> {
//!         self.0.write(|batch| {
//!             texts.iter().try_for_each(|(item, vector)| batch.add(*item, vector))
//!         })
//!     }
//!
//!     fn nearest(&self, vector: &[f32]) -> Result<Vec<(ItemId, f32)>> {
//!         Ok(self.0.search(10).ef_search(80).by_vector(vector)?.into_nns())
//!     }
//! }
//!
//! # fn main() -> Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! let texts = Texts::start(&folder.path().join("vectors"))?;
//! texts.put(&[(1, [1.0, 0.0, 0.0]), (2, [0.0, 1.0, 0.0])])?;
//! let workers: Vec<_> = (0..4).map(|_| thread::spawn({
//!     let texts = texts.clone();
//!     move || texts.nearest(&[0.1, 0.9, 0.0])
//! })).collect();
//! for worker in workers {
//!     assert_eq!(worker.join().unwrap()?[0].0, 2);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! - **Many items in one `write`** cost one commit, which waits for the disk; as many writes wait
//!   as many times. Collect what arrives together.
//! - **Items that have names**: an `Index<Cosine, str>` or `Index<Cosine, u64>` takes and gives
//!   keys in the place of ids.
//! - **Several questions to one state**, such as a search and the vectors of what it has found: ask
//!   a [`Snapshot`](crate::Snapshot). Let go of it soon, because the file grows while it is held.
//! - **In an async program**, searches and writes block the thread that they run on: the one for
//!   microseconds, unless the file is not in memory, the other until the disk has it. Run writes
//!   where blocking is allowed (`spawn_blocking` or the like).
//! - **A request that has gone away**: [`Query::cancel`](crate::Query::cancel) ends a search early,
//!   and says so.
//! - **Before a long pause**, call [`release`](crate::Index::release).
//!
//! # Beside tables of your own
//!
//! A program that has an LMDB environment puts the index into it. Records and vectors are then
//! changed by one transaction and read through one, so that neither is ever there without the
//! other. `examples/documents.rs` is a whole program of this kind.
//!
//! ```
//! use voisin::heed::byteorder::BE;
//! use voisin::heed::types::{Str, U32};
//! use voisin::heed::{CommitOrAbort, EnvOpenOptions};
//! use voisin::rand::{SeedableRng, rngs::StdRng};
//! use voisin::{Database, Reader, Writer, create_database, distances::Euclidean};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! // SAFETY: the folder is on a local disk, and nobody changes the files in it but through LMDB.
//! let env = unsafe { EnvOpenOptions::new().map_size(1 << 30).max_dbs(2).open(folder.path())? };
//! let vectors: Database<'_, Euclidean> = create_database(&env, Some("vectors"))?;
//! let created = env.create_databases_and_commit(env.write_txn()?, |opener, wtxn| {
//!     let names = opener.create_database::<U32<BE>, Str>(wtxn, Some("names"));
//!     names.map(CommitOrAbort::<_, ()>::Commit)
//! })?;
//! let names = created.unwrap_commit();
//! let writer = Writer::new(vectors, 0, 2);
//!
//! let mut wtxn = env.write_txn()?;
//! let places =
//!     [(1, "Oslo", [59.9, 10.7]), (2, "Rome", [41.9, 12.5]), (3, "Lima", [-12.0, -77.0])];
//! for (id, name, vector) in places {
//!     names.put(&mut wtxn, &id, name)?;
//!     writer.add_item(&mut wtxn, id, &vector)?;
//! }
//! writer.builder(&mut StdRng::seed_from_u64(42)).build::<16, 32>(&mut wtxn)?;
//! wtxn.commit()?; // all of it, or, had anything failed, nothing
//!
//! let rtxn = env.read_txn()?;
//! let reader = Reader::open(&rtxn, 0, vectors)?;
//! let (nearest, _) = reader.nns(1).by_vector(&rtxn, &[45.0, 9.0])?.into_nns()[0];
//! assert_eq!(names.get(&rtxn, &nearest)?, Some("Rome"));
//! # Ok(())
//! # }
//! ```
//!
//! - **A build is not needed for every change**: what is [pending](crate::Writer::n_pending) is
//!   found, but compared item by item. Build when there are some thousands of them, or when a timer
//!   says so. [`build_concurrently`](crate::Builder::build_concurrently) holds other writers up
//!   only for a moment.
//! - **Only some records may be found** (those of one user, say): keep their ids in a
//!   [`RoaringBitmap`](crate::roaring::RoaringBitmap), and give it to
//!   [`candidates`](crate::Query::candidates).
//! - **A [`Reader`](crate::Reader) lives as long as its transaction.** Opening one is cheap; its
//!   first query finds anew where everything is. One reader for a batch of queries is faster than
//!   one for each.
//! - **After [`MapFull`](crate::Error::MapFull)** drop the transaction; `Env::resize` then wants
//!   that the process has no other one.
//!
//! # Many processes
//!
//! Every process opens the same folder. Those that only search open it
//! [read-only](crate::Index::open_read_only); any of the others may write, one at a time, and the
//! next waits. Each search looks for the newest commit of all processes: nobody is told, and
//! nothing has to be reopened.
//!
//! ```
//! use voisin::{Index, Options, distances::Euclidean};
//!
//! # fn main() -> voisin::Result<()> {
//! # let temporary = tempfile::tempdir().unwrap();
//! # let folder = temporary.path().join("vectors");
//! // In one process:
//! let writing = Index::<Euclidean>::open_or_create(&folder, Options::new(1))?;
//! writing.write(|batch| batch.add(1, &[1.0]))?;
//! // In others:
//! let reading = Index::<Euclidean>::open_read_only(&folder, Options::default())?;
//! assert_eq!(reading.search(1).by_vector(&[0.0])?.into_nns(), [(1, 1.0)]);
//! // In the first one:
//! writing.write(|batch| batch.add(1, &[0.5]))?;
//! // In the others, at once:
//! assert_eq!(reading.search(1).by_vector(&[0.0])?.into_nns(), [(1, 0.25)]);
//! # Ok(())
//! # }
//! ```
//!
//! - **Killing a process** at any moment harms nobody. A **fork** of one that has opened an index
//!   can use none: open after the fork. `docs/how-to-lose-data.md` has this and more.
//! - **If the file grows**, some process holds an old snapshot: [`stats`](crate::Index::stats) has
//!   the [oldest reader](crate::OldestReader).
//! - **More than 1 024 snapshots at a time**, of all processes, need
//!   [`max_readers`](crate::Options::max_readers) in whoever opens first.
//!
//! # Bulk loads
//!
//! A [`Loader`](crate::Loader) takes an iterator, tells how far it is, can be cancelled, and
//! commits once. `optimize` numbers the items by locality in the end, which makes the searches of a
//! large index faster: a first load of 100 000 items or more in one commit does so anyway.
//!
//! ```
//! use voisin::{Index, LoadPhase, Options, distances::Euclidean};
//!
//! # fn main() -> voisin::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let folder = folder.path().join("vectors");
//! # let rows = || (0..3000).map(|item| (item, [(item % 53) as f32, (item / 53) as f32]));
//! let index = Index::<Euclidean>::create(&folder, Options::new(2).ef_construction(200))?;
//! let loader = index.loader().optimize(true).progress(|progress| {
//!     if progress.phase == LoadPhase::Linking {
//!         eprint!("\r{} of {}", progress.done, progress.total.unwrap_or_default());
//!     }
//! });
//! let count = loader.load(rows())?;
//! assert_eq!(index.snapshot()?.len(), count);
//! # Ok(())
//! # }
//! ```
//!
//! - **Loads larger than memory**, or beside others that write:
//!   [`commit_every`](crate::Loader::commit_every) commits part by part, and links all in the end
//!   while others go on. What is committed is found at once.
//! - **Over HTTP or from a queue**: collect some hundred items, and [`write`](crate::Index::write)
//!   them. If linking them in the same commit takes too long,
//!   [`link_later`](crate::Batch::link_later), and [`link`](crate::Index::link) now and then.
//! - **When a service starts**, it may find what an interrupted load has left unlinked:
//!   `if index.pending_at_open() > 0 { index.link()? }`. Later writes link it bit by bit otherwise.
//! - **At level 1** it is [`Writer::add_items_from`](crate::Writer::add_items_from) and one build.
//!
//! # Backups
//!
//! [`copy_to`](crate::Index::copy_to) copies one commit, compacted, while others read and write.
//! The copy is an index as any other: to restore it, stop all processes, put it where the old
//! folder was, and open it.
//!
//! ```
//! use voisin::{Index, Options, distances::Euclidean};
//!
//! # fn main() -> voisin::Result<()> {
//! # let temporary = tempfile::tempdir().unwrap();
//! # let (folder, backups) = (temporary.path().join("vectors"), temporary.path().join("backups"));
//! # let index = Index::<Euclidean>::create(&folder, Options::new(1))?;
//! # index.write(|batch| batch.add(1, &[1.0]))?;
//! let today = backups.join("2026-11-20");
//! index.copy_to(&today)?;
//! // A backup that nobody has looked at is a hope. The first look is safe whatever the file has
//! // become.
//! assert_eq!(voisin::verify_file(&today)?.findings, []);
//! let copy = Index::<Euclidean>::open_read_only(&today, Options::default())?;
//! assert_eq!(copy.check()?, []);
//! assert_eq!(copy.snapshot()?.len(), index.snapshot()?.len());
//! # Ok(())
//! # }
//! ```
//!
//! At level 1 it is [`copy_to`](crate::copy_to()), which copies your tables, too. Copying the file
//! by other means is among the ways to lose data.
//!
//! # From hannoy or arroy
//!
//! [`Import`](crate::Import) reads their items without them; its example imports into the same
//! environment, and says how to take the place of the old index. `README.md` lists what a program
//! that has used hannoy must change. To move to an [`Index`](crate::Index) instead, import into an
//! environment that is thrown away, and load from there. Both transactions hold what they write in
//! memory:
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
//! // The old environment, for reading only: whatever happens, it stays as it is.
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
//! // SAFETY: a new folder that nobody else knows.
//! let env = unsafe { EnvOpenOptions::new().map_size(1 << 36).open(between.path())? };
//! let database: Database<'_, Euclidean> = create_database(&env, None)?;
//! let mut wtxn = env.write_txn()?;
//! source.add_to(&Writer::new(database, 0, dimensions), &mut wtxn)?;
//!
//! // What a transaction has written it can also read: there is no need to commit what is thrown
//! // away.
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
//!
//! Compare answers before you remove the old one: [`exact`](crate::Query::exact) gives the
//! true neighbors to count both against.
