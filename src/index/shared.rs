//! The shared state of the clones of an index handle: everything but the types of its metric and of
//! its item names, which are values here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use heed::{RoTxn, RwTxn};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::cache::Cache;
use super::catalog;
use super::environment::{Access, Interrupted, Pin, Reading, SharedEnv};
use super::options::Options;
use super::registry::DATA;
use crate::build::budget::RoundBounds;
use crate::build::{Build, Goal, Prepared, Progress, Within};
use crate::codes::Codes;
use crate::defaults;
use crate::distance::{Distance, Metric};
use crate::error::{Error, Result};
use crate::format::Key;
use crate::format::catalog::Entry;
use crate::format::item_keys::Naming;
use crate::format::meta::Meta;
use crate::item_key::ItemName;
use crate::store::open::{read_marked, read_meta};
use crate::store::owned_snapshot::{OwnedSnapshot, SharedTxn};
use crate::store::sections::fields::schema;
use crate::store::sections::list::index_kinds;
use crate::store::table::Memory;
use crate::store::{Place, Raw};
use crate::types::IndexKind;
use crate::writer::Writer;

/// The metric of an index that is opened without a type: one that ships with voisin, one from the
/// options, or a placeholder for an unknown one.
///
/// # Errors
/// [`Error::Corrupt`] if its metadata cannot be read, and those of reading them.
fn stored_metric(
    indexes: Raw<'static>,
    txn: &RoTxn<'_>,
    entry: &Entry,
    options: &Options,
) -> Result<&'static Metric> {
    let key = Key::meta(entry.number);
    let value = indexes.get(txn, &key.to_bytes())?.ok_or(Error::MissingIndex(entry.number))?;
    let (meta, _) = Meta::decode(entry.number, value)?;
    let has_factor = meta.geometry.factor > 0;
    let is_it = |metric: &&'static Metric| {
        (metric.name(), metric.codec, metric.has_factor) == (&meta.metric, meta.codec, has_factor)
    };
    options
        .known_metrics()
        .iter()
        .copied()
        .chain(Metric::built_in(&meta.metric, meta.codec))
        .find(is_it)
        .or_else(|| Metric::unknown(&meta.metric, meta.codec, has_factor))
        .ok_or(Error::corrupt(key, "there is no such form of vectors"))
}

/// The expected types of an index.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    pub(super) metric: &'static Metric,
    pub(super) naming: Naming,
}

impl Expected {
    pub(super) fn of<D: Distance, K: ItemName + ?Sized>() -> Self {
        Self { metric: Metric::of::<D>(), naming: K::NAMING }
    }
}

/// How often a search is retried because LMDB refuses the transaction that it shares.
pub(super) const SNAPSHOT_ATTEMPTS: usize = 3;

/// The shared state of the clones of a handle.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) cache: Arc<Cache>,
    pub(super) name: String,
    pub(super) entry: Entry,
    pub(super) place: Place<'static>,
    pub(super) is_read_only: bool,
    /// The number of pending items when the handle was opened.
    pub(super) pending_at_open: u64,
    /// The folder for temporary files, if not that of the index.
    pub(super) temp_dir: Option<PathBuf>,
    /// The maximum number of threads of a build, if not 0.
    pub(super) threads: usize,
    /// The minimum number of items before a build makes codes.
    pub(super) codes_from: u64,
    /// The memory budget of the handle, in bytes, if one was set: builds keep within it.
    pub(super) memory: Option<u64>,
    // Last, so that the fields above are dropped before the environment is closed.
    pub(super) env: Arc<SharedEnv>,
}

/// The closures that cancel a build and receive its progress, and its number of threads.
#[derive(Clone, Copy)]
pub(super) struct Hooks<'a> {
    pub(super) cancel: &'a (dyn Fn() -> bool + Sync),
    pub(super) progress: &'a (dyn Fn(Progress) + Sync),
    /// 0: the number that the handle was opened with.
    pub(super) threads: usize,
    /// The folder for temporary files, if not that of the handle.
    pub(super) temp_dir: Option<&'a Path>,
    /// The memory budget in bytes, if not that of the handle.
    pub(super) memory: Option<u64>,
}

impl Hooks<'_> {
    pub(super) const NONE: Hooks<'static> =
        Hooks { cancel: &|| false, progress: &|_| {}, threads: 0, temp_dir: None, memory: None };
}

impl Shared {
    pub(super) fn writer(&self) -> Writer<'static, ()> {
        Writer::at(self.place, self.entry.dimensions as usize)
    }

    /// Builds with the parameters that the index was created with.
    pub(super) fn build(&self, txn: &mut RwTxn<'_>, goal: Goal, hooks: Hooks<'_>) -> Result<()> {
        let mut rng = StdRng::seed_from_u64(self.entry.seed);
        let Entry { m, m0, .. } = self.entry;
        let within = self.within(txn, goal, hooks)?;
        self.engine(&mut rng, hooks, within).run(txn, m.into(), m0.into(), goal)
    }

    /// Gives an index these kinds, if any are given, and no others: before its first item.
    pub(super) fn set_kinds(&self, txn: &mut RwTxn<'_>, kinds: Option<&[IndexKind]>) -> Result<()> {
        let Some(kinds) = kinds else { return Ok(()) };
        let (writer, is_wanted) = (self.writer(), |kind: &&IndexKind| kinds.contains(*kind));
        for kind in IndexKind::ALL.iter().filter(is_wanted) {
            writer.add_kind(txn, *kind)?;
        }
        for kind in IndexKind::ALL.iter().filter(|kind| !is_wanted(kind)) {
            writer.drop_kind(txn, *kind)?;
        }
        Ok(())
    }

    /// The bounds of a build inside a write transaction, if there is a budget that does not hold
    /// the whole index: it leaves pending what does not fit.
    ///
    /// # Errors
    /// [`Error::MemoryBudget`] if it must be compacted, which takes memory for all of it.
    fn within(
        &self,
        txn: &RoTxn<'_>,
        goal: Goal,
        hooks: Hooks<'_>,
    ) -> Result<Option<Within<'static>>> {
        let memory = hooks.memory.or(self.memory);
        let meta = memory.map(|_| read_meta(self.place, txn)).transpose()?.flatten();
        let Some(meta) = meta else { return Ok(None) };
        let Some(budget) = self.budget(memory, &meta) else { return Ok(None) };
        let (slots, items) = (u64::from(meta.slots), u64::from(meta.items));
        let changed = match goal {
            Goal::Linked | Goal::Part(_) => u64::from(meta.pending) + u64::from(meta.removed),
            Goal::LinkedAnew | Goal::Optimized => items,
            Goal::Kept => return Ok(None),
        };
        if budget.holds_whole(slots, changed) {
            return Ok(None);
        }
        if goal == Goal::Optimized {
            let least = budget.whole(slots, items);
            return Err(Error::MemoryBudget { bytes: budget.bytes, least });
        }
        let RoundBounds { bytes, items, removed } = budget.round(slots);
        Ok(Some(Within { bytes, items, removed, copies: None }))
    }

    /// The maximum number of threads of a build with these hooks, if not 0.
    pub(super) fn threads_of(&self, hooks: Hooks<'_>) -> usize {
        if hooks.threads == 0 { self.threads } else { hooks.threads }
    }

    pub(super) fn engine<'a>(
        &'a self,
        rng: &'a mut StdRng,
        hooks: Hooks<'a>,
        within: Option<Within<'a>>,
    ) -> Build<'a, 'static> {
        Build {
            place: self.place,
            dimensions: self.entry.dimensions as usize,
            rng,
            seeded: |seed| Box::new(StdRng::seed_from_u64(seed)),
            ef_construction: self.entry.ef_construction as usize,
            alpha: self.entry.alpha,
            threads: self.threads_of(hooks),
            codes_from: self.codes_from,
            cancel: hooks.cancel,
            progress: hooks.progress,
            temp_dir: Some(hooks.temp_dir.unwrap_or(self.temp_dir())),
            within,
        }
    }

    /// The folder for temporary files.
    pub(super) fn temp_dir(&self) -> &Path {
        self.temp_dir.as_deref().unwrap_or(self.env.folder())
    }

    /// Links at most `least` pending items, or as many as are linked already if that is more,
    /// without holding the write lock while it searches for neighbors.
    pub(super) fn link(&self, least: u64, hooks: Hooks<'_>) -> Result<Round> {
        let mut rng = StdRng::seed_from_u64(self.entry.seed);
        let mut builder = self.engine(&mut rng, hooks, None);
        let connectivity = builder.connectivity(self.entry.m.into(), self.entry.m0.into())?;
        let Reading { txn, counted: _counted } = self.env.read()?;
        let _hold = Pin::new(&self.env);
        self.check_exists(&txn)?;
        let limit = read_meta(self.place, &txn)?.map_or(0, |meta| meta.round(least));
        let Some(mut prepared) = builder.prepare(txn, connectivity, limit)? else {
            return Ok(Round::Done);
        };
        // A full map cannot grow while this holds a snapshot.
        let is_linked = self.env.write(|mut txn| {
            match self.check_exists(&txn).and_then(|()| builder.link(&mut prepared, &mut txn)) {
                Ok(is_linked) => Ok((is_linked, txn)),
                Err(error) => Err(Interrupted::Failed(self.env.explain(error))),
            }
        })?;
        Ok(if is_linked { Round::of(&prepared) } else { Round::Outdated })
    }
}

/// The result of a round of linking.
pub(super) enum Round {
    /// There was nothing to link.
    Done,
    /// This many pending items were linked.
    Linked(u64),
    /// The same, in a new graph: items that were linked before are pending, unless they are among
    /// these.
    LinkedAnew(u64),
    /// Too much was committed meanwhile: nothing has changed.
    Outdated,
}

impl Round {
    /// That of a build that has been written.
    pub(super) fn of(prepared: &Prepared<'_>) -> Self {
        let linked = prepared.linked();
        if prepared.begins_anew() { Self::LinkedAnew(linked) } else { Self::Linked(linked) }
    }
}

/// The minimum number of items that a round of [`Index::link`](crate::Index::link) links, if there
/// are that many. Each round rewrites most lists of the graph and takes about 1 kB of memory for
/// each item that it links or changes. Rounds as large as the existing graph keep the bytes written
/// within twice those of a single round.
pub(super) const LEAST_ROUND_ITEMS: u64 = 20_000;

impl Shared {
    pub(super) fn new(
        env: &Arc<SharedEnv>,
        name: &str,
        entry: Entry,
        metric: &'static Metric,
        is_read_only: bool,
    ) -> Self {
        let place = Place { raw: env.indexes, index: entry.number, metric, naming: entry.naming };
        let (cache, name, env) = (env.cache(entry.number), name.to_owned(), Arc::clone(env));
        Self {
            cache,
            name,
            entry,
            place,
            is_read_only,
            pending_at_open: 0,
            temp_dir: None,
            threads: 0,
            codes_from: defaults::CODES_FROM,
            memory: None,
            env,
        }
    }

    /// The snapshot of the newest commit.
    #[inline]
    pub(super) fn newest(&self) -> Result<Arc<OwnedSnapshot<'static>>> {
        newest(&self.cache, &self.env, self.place).map_err(|error| self.explain(error))
    }

    /// The snapshot of the commit of a transaction.
    ///
    /// # Errors
    /// [`Error::MissingIndex`] if it did not exist then, and those of opening a snapshot.
    pub(super) fn at(&self, txn: &Arc<SharedTxn>) -> Result<Arc<OwnedSnapshot<'static>>> {
        self.env.check_process()?;
        if let Some(held) = self.cache.get(txn.id()) {
            return Ok(held);
        }
        let held = OwnedSnapshot::open(self.place, Arc::clone(txn), Memory::Full)?;
        Ok(share(&self.cache, &self.env, txn, held))
    }

    /// Runs a search on the newest commit.
    pub(super) fn search<T>(
        &self,
        search: impl Fn(&OwnedSnapshot<'static>) -> Result<T>,
    ) -> Result<T> {
        let mut attempts = 1;
        loop {
            let held = self.newest()?;
            let found = {
                let _searching = self.env.searching();
                search(&held)
            };
            match found {
                // The transaction has met damage, perhaps that of another index.
                Err(Error::Heed(heed::Error::Mdb(_)))
                    if held.is_defective() && attempts < SNAPSHOT_ATTEMPTS =>
                {
                    attempts += 1
                }
                found => return found,
            }
        }
    }

    /// Checks that the index has not been removed: a write would recreate it.
    ///
    /// # Errors
    /// [`Error::Removed`], [`Error::Renamed`].
    pub(super) fn check_exists(&self, txn: &RoTxn<'_>) -> Result<()> {
        let is_ours = catalog::entry(&self.env, txn, &self.name)?
            .is_some_and(|entry| entry.number == self.entry.number);
        if is_ours {
            return Ok(());
        }
        let named = catalog::entries(&self.env, txn)?;
        match named.into_iter().find(|(_, entry)| entry.number == self.entry.number) {
            Some((now, _)) => {
                let (name, path) = (self.name.clone(), self.env.folder().to_owned());
                Err(Error::Renamed { name, now, path })
            }
            None => Err(self.explain(Error::MissingIndex(self.entry.number))),
        }
    }

    /// Maps a missing index to a removed one: an index in the catalog has metadata, and no number
    /// is used twice, so one without metadata was removed.
    pub(super) fn explain(&self, error: Error) -> Error {
        match error {
            Error::MissingIndex(number) if number == self.entry.number => {
                Error::Removed { name: self.name.clone(), path: self.env.folder().to_owned() }
            }
            error => error,
        }
    }

    /// The number of pending items.
    pub(super) fn pending(&self) -> Result<u64> {
        Ok(self.newest()?.meta().pending.into())
    }

    /// Creates the index, or opens it, if it exists and `exists` allows it.
    ///
    /// # Errors
    /// See [`Index::create`](crate::Index::create).
    pub(super) fn create_or(
        path: &Path,
        options: &Options,
        expected: Expected,
        exists: impl Fn(&str, &SharedEnv) -> Result<()>,
    ) -> Result<Self> {
        let (name, Expected { metric, naming }) = (options.index_name()?, expected);
        if !path.join(DATA).exists() {
            // Before anything is created.
            options.check_new(metric)?;
        }
        let env = SharedEnv::open(path, options, Access::Create)?;
        let find = |txn: &RoTxn<'_>| match catalog::entry(&env, txn, name)? {
            Some(entry) => exists(name, &env)
                .and_then(|()| Self::found(&env, txn, options, entry, Some(expected), false))
                .map(Some),
            None => Ok(None),
        };
        // First a lookup without a write transaction, so that opening an existing index waits for
        // no writer.
        match env.look(find) {
            Ok(Some(index)) => return Ok(index),
            // It must be created, or there is no reader slot for the lookup, which a write does not
            // need.
            Ok(None) | Err(Error::ReadersFull { .. }) => {}
            Err(error) => return Err(error),
        }
        options.check_new(metric)?;
        let index = env.write::<_, Error>(|mut txn| {
            if let Some(index) = find(&txn)? {
                return Ok((index, txn));
            }
            let entry = options.entry(metric, catalog::next_number(&env, &txn)?, naming);
            let shared = Shared::new(&env, name, entry.clone(), metric, false);
            shared.set_kinds(&mut txn, options.wanted_kinds())?;
            // Creates the index, empty, and checks the options.
            shared.build(&mut txn, Goal::Linked, Hooks::NONE)?;
            if let Some(codes) = options.wanted_codes() {
                shared.writer().set_codes(&mut txn, Some(codes))?;
            }
            for field in options.wanted_fields() {
                shared.writer().add_field(&mut txn, field.clone())?;
            }
            catalog::add(&env, &mut txn, name, &entry)?;
            // Opened here, where it takes no reader slot: a created index must not end in an error.
            Ok((Self::found(&env, &txn, options, entry, Some(expected), false)?, txn))
        })?;
        env.keep();
        Ok(index)
    }

    /// Opens the index; any index, if nothing is expected.
    ///
    /// # Errors
    /// See [`Index::open`](crate::Index::open).
    pub(super) fn open(
        path: &Path,
        options: &Options,
        access: Access,
        expected: Option<Expected>,
    ) -> Result<Self> {
        let env = SharedEnv::open(path, options, access)?;
        let is_read_only = access == Access::Read;
        let name = options.index_name()?;
        env.look(|txn| match catalog::entry(&env, txn, name)? {
            Some(entry) => Self::found(&env, txn, options, entry, expected, is_read_only),
            None => Err(catalog::missing(&env, name, catalog::names(&env, txn)?)),
        })
    }

    /// The index of a catalog name, if it matches the options.
    fn found(
        env: &Arc<SharedEnv>,
        txn: &RoTxn<'_>,
        options: &Options,
        entry: Entry,
        expected: Option<Expected>,
        is_read_only: bool,
    ) -> Result<Self> {
        let name = options.index_name()?;
        let metric = match expected {
            Some(Expected { metric, naming }) => {
                options.check(metric, name, naming, &entry)?;
                metric
            }
            None => {
                options.check_stored(name, &entry)?;
                stored_metric(env.indexes, txn, &entry, options)?
            }
        };
        let mut shared = Shared::new(env, name, entry, metric, is_read_only);
        shared.temp_dir = options.temp_folder().map(Path::to_owned);
        shared.threads = options.build_threads();
        shared.codes_from = options.least_coded();
        shared.memory = options.build_memory();
        // The catalog records neither the element type nor the codes. Damage is left to later
        // calls, and to `check`.
        let meta = match read_marked(shared.place, txn) {
            Err(error @ Error::MetricMismatch { .. }) => return Err(error),
            meta => meta.ok().flatten().map(|(meta, _)| meta),
        };
        shared.pending_at_open = meta.as_ref().map_or(0, |meta| meta.pending.into());
        if let Some(meta) = &meta {
            options.check_kinds(name, &index_kinds(meta))?;
            if !options.wanted_fields().is_empty() {
                options.check_fields(name, &schema(shared.place.index, meta)?)?;
            }
        }
        options.check_codes(name, meta.and_then(|meta| Codes::of_bits(meta.code_bits)))?;
        Ok(shared)
    }

    /// Checks that this handle may change the index.
    pub(super) fn writable(&self) -> Result<()> {
        self.env.check_process()?;
        match self.is_read_only {
            true => Err(Error::ReadOnly { path: self.env.folder().to_owned() }),
            false => Ok(()),
        }
    }
}

/// The snapshot of the newest commit of any process.
///
/// # Errors
/// Those of [`SharedEnv::read`] and of opening a [`OwnedSnapshot`].
#[inline]
fn newest(
    cache: &Cache,
    env: &Arc<SharedEnv>,
    place: Place<'static>,
) -> Result<Arc<OwnedSnapshot<'static>>> {
    match env.with_newest(|commit| cache.get(commit))? {
        Some(held) => Ok(held),
        None => refresh(cache, env, place),
    }
}

#[cold]
fn refresh(
    cache: &Cache,
    env: &Arc<SharedEnv>,
    place: Place<'static>,
) -> Result<Arc<OwnedSnapshot<'static>>> {
    let mut attempts = 1;
    loop {
        let txn = env.newest_txn()?;
        // Another thread was quicker, or the commit has not quite ended.
        if let Some(held) = cache.get(txn.id()) {
            return Ok(held);
        }
        match OwnedSnapshot::open(place, Arc::clone(&txn), Memory::Full) {
            // It has met damage, perhaps that of another index.
            Err(Error::Heed(heed::Error::Mdb(_)))
                if txn.is_defective() && attempts < SNAPSHOT_ATTEMPTS =>
            {
                attempts += 1
            }
            held => return Ok(share(cache, env, &txn, held?)),
        }
    }
}

/// Puts a new snapshot into the cache of its index, if it is the newest.
fn share(
    cache: &Cache,
    env: &SharedEnv,
    txn: &Arc<SharedTxn>,
    held: OwnedSnapshot<'static>,
) -> Arc<OwnedSnapshot<'static>> {
    cache.residency().observe(env.file_bytes());
    let held = held.with_residency(Arc::clone(cache.residency()));
    cache.put(held, || env.is_newest(txn))
}
