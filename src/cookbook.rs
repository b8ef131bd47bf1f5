//! Recipes for common uses of voisin. Each one runs as it stands; the documentation of each type
//! has the details.
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
//! the handle: cloning is cheap, and any thread may search while another writes.
//! [`warm`](crate::Snapshot::warm) reads the file into memory ahead of the first request, up to a
//! number of bytes that you choose.
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
//!     /// Committed and durable on return; found by every search that begins afterwards.
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
//! - **Put many items into one `write`.** It costs one commit, which waits for the disk; separate
//!   writes wait once each. Collect items that arrive together.
//! - **Items with names**: an `Index<Cosine, str>` or `Index<Cosine, u64>` uses keys instead of
//!   ids.
//! - **Several reads of one state**, such as a search and then the vectors of its results: use a
//!   [`Snapshot`](crate::Snapshot). Drop it soon, because the file grows while it is held.
//! - **In an async program**, searches and writes block their thread: a search for microseconds,
//!   unless the file is not in memory; a write until its data is on disk. Run writes where blocking
//!   is allowed (`spawn_blocking` or the like).
//! - **If the client has gone**, [`Query::cancel`](crate::Query::cancel) ends a search early, and
//!   the answer says so.
//! - **Before a long pause**, call [`release`](crate::Index::release).
//!
//! # Several indexes and tables in one commit
//!
//! A [`Folder`](crate::Folder) changes several indexes, and tables of your own beside them, in one
//! commit, and reads all of them at one commit. Nothing else has to be kept in step.
//!
//! ```
//! use voisin::heed::types::Str;
//! use voisin::{Index, Options, distances::Cosine};
//!
//! # fn main() -> voisin::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("shop");
//! let photos = Index::<Cosine, str>::open_or_create(&path, Options::new(2).name("photos"))?;
//! let texts = Index::<Cosine, str>::open_or_create(&path, Options::new(3).name("texts"))?;
//! let folder = photos.folder();
//! let prices = folder.database::<Str, Str>("prices")?;
//!
//! folder.write(|txn| {
//!     txn.index(&photos, |batch| batch.add("chair", &[0.9, 0.1]))?;
//!     txn.index(&photos, |batch| batch.add("lamp", &[0.2, 0.8]))?;
//!     txn.index(&texts, |batch| batch.add("lamp", &[0.5, 0.1, 0.0]))?;
//!     txn.databases(|wtxn| prices.put(wtxn, "lamp", "25"))
//! })?; // all of it, or nothing
//!
//! let snapshot = folder.snapshot()?;
//! let nearest = snapshot.index(&photos)?.search(1).by_vector(&[0.1, 0.9])?.into_nns();
//! assert_eq!(prices.get(snapshot.txn()?, &nearest[0].0)?, Some("25"));
//! # Ok(())
//! # }
//! ```
//!
//! # Beside tables of your own
//!
//! A program that has an LMDB environment keeps the index in it. One transaction then changes
//! records and vectors, and one reads them, so that neither is ever there without the other.
//! `examples/documents.rs` is a complete program of this kind.
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
//! // SAFETY: the folder is on a local disk, and its files are changed only through LMDB.
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
//! - **Not every change needs a build**: [pending](crate::Writer::n_pending) items are found, but
//!   by a scan, one by one. Build when some thousands are pending, or on a timer.
//!   [`build_concurrently`](crate::Builder::build_concurrently) blocks other writers only for a
//!   moment.
//! - **To search only some records** (those of one user, say), a prefilter: keep their ids in a
//!   [`RoaringBitmap`](crate::roaring::RoaringBitmap), and pass it to
//!   [`candidates`](crate::Query::candidates); for many queries, in a [`Filter`](crate::Filter).
//!   What has no set is a predicate ([`filter`](crate::Query::filter)).
//! - **A [`Reader`](crate::Reader) lives as long as its transaction.** Opening one is cheap, but
//!   its first query looks up anew where every value is. One reader for a batch of queries is
//!   faster than one for each.
//! - **After [`MapFull`](crate::Error::MapFull)** drop the transaction; `Env::resize` requires that
//!   the process has no other transaction.
//!
//! # Many processes
//!
//! Every process opens the same folder. Those that only search open it
//! [read-only](crate::Index::open_read_only); any of the others may write, one at a time, and the
//! next one waits. Each search uses the newest commit of any process: there is no notification, and
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
//! - **Killing a process** at any moment harms no other. After a **fork**, the child cannot use an
//!   index that the parent had opened: open after the fork. `docs/how-to-lose-data.md` has this and
//!   more.
//! - **If the file grows**, some process holds an old snapshot: [`stats`](crate::Index::stats)
//!   reports the [oldest reader](crate::OldestReader).
//! - **More than 1 024 snapshots at a time**, over all processes, need
//!   [`max_readers`](crate::Options::max_readers) in the process that opens first.
//!
//! # Bulk loads
//!
//! A [`Loader`](crate::Loader) takes an iterator, reports progress, can be cancelled, and commits
//! once. `optimize` then renumbers the items by locality and compacts the index, which makes
//! searches of a large index faster; a first load of 100 000 items or more in one commit does so
//! anyway.
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
//! - **Loads larger than memory**: set [`memory`](crate::Loader::memory), or open the index with
//!   [`Options::memory`](crate::Options::memory). If the process is killed, run the same load
//!   again, or call [`resume`](crate::Index::resume).
//! - **Beside other writers**:
//!   [`commit_every`](crate::Loader::commit_every) commits in batches, and links all items at the
//!   end while others read and write. Committed items are found at once.
//! - **Over HTTP or from a queue**: collect some hundred items, and [`write`](crate::Index::write)
//!   them. If linking them in the same commit takes too long, use
//!   [`link_later`](crate::Batch::link_later), and call [`link`](crate::Index::link) now and then.
//! - **When a service starts**, an interrupted load may have left items unlinked: `if
//!   index.pending_at_open() > 0 { index.link()? }`. Otherwise later writes link them bit by bit.
//! - **At level 1** use [`Writer::add_items_from`](crate::Writer::add_items_from) and one build.
//!
//! # Backups
//!
//! [`copy_to`](crate::Index::copy_to) copies one commit, compacted, while others read and write.
//! The copy is an ordinary index: to restore it, stop all processes, move it to where the old
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
//! // Verify every backup: one that was never read is a hope. `verify_file` is safe on any file,
//! // even a damaged one.
//! assert_eq!(voisin::verify_file(&today)?.findings, []);
//! let copy = Index::<Euclidean>::open_read_only(&today, Options::default())?;
//! assert_eq!(copy.check()?, []);
//! assert_eq!(copy.snapshot()?.len(), index.snapshot()?.len());
//! # Ok(())
//! # }
//! ```
//!
//! At level 1 use [`copy_to`](crate::copy_to()), which copies your tables, too. Copying the file by
//! other means is one of the ways to lose data.
//!
//! # From hannoy or arroy
//!
//! [`Import`](crate::Import) reads their items without depending on either crate; its example
//! imports into the same environment, and shows how to replace the old index.
//! `docs/coming-from-hannoy.md` lists what a program written for hannoy must change. To move to an
//! [`Index`](crate::Index) instead, import into a temporary environment, and load from there. Both
//! transactions hold what they write in memory:
//!
//! ```no_run
//! use voisin::heed::types::Bytes;
//! use voisin::heed::{self, CommitOrAbort, EnvFlags, EnvOpenOptions};
//! use voisin::{
//!     Database, Import, Index, Options, Reader, Writer, create_database, distances::Euclidean,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (old_folder, new_folder) = ("old", "new");
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
//!
//! Compare answers before you remove the old index: [`exact`](crate::Query::exact) returns the true
//! neighbors to compare both against.
