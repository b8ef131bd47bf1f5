//! Building: links pending items into the graph, and deletes removed ones from it.
//!
//! A build first computes, on several threads and read-only; then it writes. Until it writes it can
//! be cancelled, and the transaction is unchanged. The metric is a value, and the random generator
//! a trait object, so that build code is compiled once. `budget` is the arithmetic of builds within
//! a memory budget, `calibration` measures the recall of searches once much has changed.

pub(crate) mod budget;
mod calibration;

use std::path::Path;
use std::sync::Arc;

use heed::RwTxn;
use rand::Rng;
use roaring::RoaringBitmap;

use self::calibration::is_due;
use crate::error::{Error, Result};
use crate::format::meta::{Connectivity, MAX_DEGREE, Meta, Training};
use crate::graph::Vectors;
use crate::graph::delete::take_out;
use crate::graph::insert::{finish, growth, insert};
use crate::graph::locality;
use crate::graph::plan::Plan;
use crate::graph::working::Working;
use crate::store::edit::Edit;
use crate::store::file_copies::{ByCopies, FileCopies};
use crate::store::open::read_meta;
use crate::store::owned_snapshot::{OwnedSnapshot, ReadTxn, SharedTxn};
use crate::store::readahead::warmth::find_lists;
use crate::store::rebase::Rebased;
use crate::store::recode::narrowed;
use crate::store::renumber::{Renumbered, renumber, spool};
use crate::store::sections::codes::encoded::{Encoded, WithCodes};
use crate::store::sections::codes::recode::recode;
use crate::store::sections::codes::training;
use crate::store::sections::graph::changes::{Changes, SpooledPuts};
use crate::store::sections::list::{SECTIONS, built_kinds};
use crate::store::sections::upkeep::{Upkeep, Upkept};
use crate::store::snapshot::Snapshot;
use crate::store::source::{AnySource, Shared, Verified};
use crate::store::sq8_copy::{Sq8Copy, WithSq8Copy, sample};
use crate::store::table::Memory;
use crate::store::target::Put;
use crate::store::view::View;
use crate::store::{GoOn, Place};
use crate::threads;
use crate::types::{Calibration, Slot};

/// If more than one in this many nodes must be deleted, rebuilding the graph is faster than
/// repairing it, and gives a better one.
const REBUILD_DIVISOR: u64 = 4;

/// A build that changes less than one in this many slots runs in memory that does not depend on the
/// size of the index. Per changed item, its graph traversals are several times slower.
const BOUNDED_MEMORY_DIVISOR: u64 = 1000;

/// A build that links more than one in this many slots changes most neighbor lists, and keeps
/// copies of them in memory, which are faster to search.
const LARGE_BUILD_DIVISOR: usize = 8;
/// Minimum number of items from which such a build makes SQ8 copies of the vectors first.
const SQ8_MIN_ITEMS: usize = 5000;

/// Minimum number of items from which a first build renumbers the items by locality, if that costs
/// little: searches of 100 000 x 384 are then 7 % faster, of a million x 128 a third (decision
/// 0021).
const BULK_ITEMS: u32 = 100_000;
/// Maximum bytes of vectors for such a renumbering, which nobody has requested: they wait in a
/// temporary file, which may be in memory.
const BULK_BYTES: u64 = 4 << 30;

/// Slots that a round within a memory budget links before it goes on to the next: a few cells of
/// the order in which a load adds its rows.
const REGION_SLOTS: usize = 4096;

/// The fraction (1/4) of the bytes of a round that the in-edges of a range of slots may take, which
/// are in memory up to three times at once. Each range reads the lists that the round has changed.
const DERIVED_DIVISOR: u64 = 4;

/// Sample size for measuring the growth of distances.
const GROWTH_SAMPLE: usize = 500;
/// Sample size of the recall check of codes.
const ENCODED_SAMPLE: usize = 4096;

/// A build of at most this many values calls `progress` after the last put, not between puts. So
/// META need not be marked, which saves two puts of the some 15 of a one-item build.
const FEW_PUTS: usize = 64;

/// The phase of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Finding the neighbors of items.
    Linking,
    /// Writing the changed values.
    Writing,
}

/// The progress of a build, reported to [`Builder::progress`](crate::Builder::progress).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The current phase.
    pub phase: Phase,
    /// Number of items (linking) or values (writing) done.
    pub done: u64,
    /// Total number of them.
    pub total: u64,
}

/// What bounds a round of a build within a memory budget.
#[derive(Clone, Copy)]
pub(crate) struct Within<'b> {
    /// The most bytes that the changed nodes may take, by `Working::bytes`.
    pub(crate) bytes: u64,
    /// The most items that are linked where everything must be linked anew.
    pub(crate) items: u64,
    /// The most removed slots that are deleted from the graph.
    pub(crate) removed: u64,
    /// The copies of the vectors of all slots that the round goes by. `None`: exact vectors.
    pub(crate) copies: Option<&'b FileCopies>,
}

/// A build of one index: see [`Builder`](crate::Builder), which has the same options.
pub(crate) struct Build<'b, 'e> {
    pub(crate) place: Place<'e>,
    pub(crate) dimensions: usize,
    pub(crate) rng: &'b mut dyn Rng,
    /// Creates a generator of the caller's type from a seed.
    pub(crate) seeded: fn(u64) -> Box<dyn Rng + 'b>,
    pub(crate) ef_construction: usize,
    pub(crate) alpha: f32,
    pub(crate) threads: usize,
    pub(crate) codes_from: u64,
    pub(crate) cancel: &'b (dyn Fn() -> bool + Sync),
    pub(crate) progress: &'b (dyn Fn(Progress) + Sync),
    pub(crate) temp_dir: Option<&'b Path>,
    /// The bounds of a round within a memory budget, if there is one.
    pub(crate) within: Option<Within<'b>>,
}

impl<'e> Build<'_, 'e> {
    pub(crate) fn run(
        &mut self,
        wtxn: &mut RwTxn<'_>,
        m: usize,
        m0: usize,
        goal: Goal,
    ) -> Result<()> {
        threads::building(self.threads, || self.run_on_threads(wtxn, m, m0, goal))
    }

    /// The memory of the tables of a snapshot on which a round is prepared.
    pub(crate) fn memory(meta: &Meta, goal: Goal) -> Memory {
        Scope::of(meta, goal).memory
    }

    pub(crate) fn connectivity(&self, m: usize, m0: usize) -> Result<Connectivity> {
        check_parameters(self.ef_construction, self.alpha, m, m0)
    }

    fn run_on_threads(
        &mut self,
        wtxn: &mut RwTxn<'_>,
        m: usize,
        m0: usize,
        goal: Goal,
    ) -> Result<()> {
        let connectivity = self.connectivity(m, m0)?;
        let place = self.place;
        Error::unless_known(place.metric, place.index)?;
        // Writes nothing except, perhaps, the metadata of an index that is created here.
        let mut edit = Edit::begin(self.place, wtxn, self.dimensions)?;
        if !edit.meta.has_graph {
            let is_bulk = is_bulk(&edit.meta) && edit.has_written_much()?;
            drop(edit);
            return self.run_without_graph(wtxn, goal, is_bulk);
        }
        check_connectivity(place.index, &edit.meta, connectivity)?;
        if !is_needed(&edit.meta, goal) {
            if edit.meta.connectivity.replace(connectivity).is_none() {
                edit.finish()?;
            }
            let cancel = self.cancel;
            let done = Done { linked: 0, anew: false, makes: goal == Goal::LinkedAnew };
            return self.complete(wtxn, done, &|| go_on(cancel));
        }
        let Scope { memory, anew } = Scope::of(&edit.meta, goal);
        let is_bulk = goal == Goal::Linked && is_bulk(&edit.meta) && edit.has_written_much()?;
        drop(edit);

        let (built, rebased, linked) = {
            let mut snapshot = Snapshot::open(place, wtxn, memory)?;
            snapshot.prepare_build(connectivity, anew);
            let source = Verified::new(Shared::new(place, wtxn)?, memory);
            let view = View::<AnySource<'_, '_>>::new(&snapshot, &source);
            let mut pending = Pending::of(&snapshot, anew, goal.limit());
            let Graph { working, encoded, growth } = self.graph(&view, anew, &mut pending)?;
            let (cancel, is_optimized) = (self.cancel, goal == Goal::Optimized);
            let go_on = || go_on(cancel);
            let spooled = (is_optimized || is_bulk)
                .then(|| spool(&view, locality::order(&working)?, self.temp_dir, &go_on))
                .transpose();
            let built = match spooled {
                Ok(Some(spooled)) => {
                    Built::Renumbered(renumber(&view, &working, spooled, encoded, &go_on)?, growth)
                }
                // The renumbering was not requested: without space for a temporary file, slots stay
                // as they are.
                Err(error)
                    if is_optimized
                        || !matches!(error, Error::Io { .. } | Error::DiskFull { .. }) =>
                {
                    return Err(error);
                }
                Ok(None) | Err(_) => {
                    let changes =
                        Changes::new(&view, working, anew, growth, self.temp_dir, &go_on)?;
                    let codes = encoded
                        .map(|codes| (codes.training(), codes.puts(&view, &snapshot.removed)));
                    Built::Changes(changes, codes)
                }
            };
            go_on()?;
            let linked = pending.linked.len() as u64;
            (built, Rebased::nothing_between(&snapshot, &pending.left, &pending.kept), linked)
        };
        let mut edit = self.edit(wtxn, connectivity)?;
        match built {
            Built::Renumbered(renumbered, growth) => {
                edit.meta.growth = growth.unwrap_or(edit.meta.growth);
                renumbered.write(edit, |done, total| self.report_writing(done, total))?;
            }
            Built::Changes(mut changes, codes) => {
                let mut puts = std::mem::take(&mut changes.puts);
                if let Some((training, codes)) = codes {
                    edit.set_training(training)?;
                    puts.extend(codes);
                }
                let spooled = changes.spooled.take();
                self.write(edit, puts.into_iter(), spooled, &changes, &rebased)?;
            }
        }
        // Too late to cancel.
        if goal == Goal::Optimized {
            self.narrow(wtxn)?;
        }
        let (anew, makes) = (anew || goal == Goal::Optimized, goal == Goal::LinkedAnew);
        self.complete(wtxn, Done { linked, anew, makes }, &|| Ok(()))
    }

    /// Narrows the range of scalar quantization, if it is much wider than the stored vectors need.
    fn narrow(&self, wtxn: &mut RwTxn<'_>) -> Result<()> {
        let Some(scale) = narrowed(self.place, wtxn)? else { return Ok(()) };
        let mut edit = Edit::begin(self.place, wtxn, self.dimensions)?;
        match edit.train(scale) {
            Ok(true) => edit.finish(),
            Ok(false) => Ok(()),
            // Nobody has requested it.
            Err(Error::InvalidItem { .. } | Error::CoarseRange { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Completes a build: makes codes, does what other sections leave to builds, and measures the
    /// recall of searches, where it is due.
    fn complete(
        &mut self,
        wtxn: &mut RwTxn<'_>,
        Done { linked, anew, makes }: Done,
        go_on: &GoOn<'_>,
    ) -> Result<()> {
        let Some(meta) = read_meta(self.place, wtxn)? else { return Ok(()) };
        let has_new_codes = self.encode(wtxn, &meta, linked, go_on)?;
        // What other codes find by an `ef` is not known.
        let is_outdated =
            meta.calibration.as_ref().is_some_and(|known| has_new_codes || known.is_outdated());
        self.keep_up(wtxn, makes, true, go_on)?;
        if is_due(&meta, linked, anew) || is_outdated && meta.pending == 0 {
            self.measure(wtxn)?;
        }
        self.measure_others(wtxn, false)
    }

    /// Computes the codes that are requested and missing, or those that have not followed the
    /// newest training, in a build that has linked this many items. Returns whether they were
    /// missing.
    fn encode(
        &mut self,
        wtxn: &mut RwTxn<'_>,
        meta: &Meta,
        linked: u64,
        go_on: &GoOn<'_>,
    ) -> Result<bool> {
        let place = self.place;
        let lacks_codes = meta.lacks_codes(self.codes_from);
        if !lacks_codes && !meta.training.has_older() && !training::is_due(meta) {
            return Ok(false);
        }
        let (training, puts) = {
            let memory = if lacks_codes { Memory::Full } else { Memory::Bounded };
            let snapshot = Snapshot::open(place, wtxn, memory)?;
            let source = Verified::new(Shared::new(place, wtxn)?, snapshot.memory);
            let view = View::<AnySource<'_, '_>>::new(&snapshot, &source);
            if lacks_codes {
                let encoded = Encoded::new(&view, self.rng.next_u64(), go_on)?;
                (encoded.training(), encoded.puts(&view, &RoaringBitmap::new()))
            } else {
                recode(&view, linked, go_on)?
            }
        };
        let mut edit = Edit::begin(place, wtxn, self.dimensions)?;
        edit.set_training(training)?;
        if lacks_codes {
            edit.meta.calibration.iter_mut().for_each(Calibration::outdate);
        }
        edit.finish_with(puts)?;
        Ok(lacks_codes)
    }

    /// Does what sections leave to the end of a build, one after the other.
    fn keep_up(
        &mut self,
        wtxn: &mut RwTxn<'_>,
        anew: bool,
        of_codes: bool,
        go_on: &GoOn<'_>,
    ) -> Result<()> {
        let place = self.place;
        for section in SECTIONS {
            let Some(meta) = read_meta(place, wtxn)? else { return Ok(()) };
            let is_anew = anew && section.index_kind().is_some() && section.is_present(&meta);
            if !section.is_due(&meta) && !is_anew {
                continue;
            }
            let kept = {
                let snapshot = Snapshot::open(place, wtxn, Memory::Full)?;
                let source = Verified::new(Shared::new(place, wtxn)?, snapshot.memory);
                let view = &View::<AnySource<'_, '_>>::new(&snapshot, &source);
                let seed = self.rng.next_u64();
                section.upkeep(&Upkeep { view, anew, of_codes, seed, go_on })?
            };
            let (Some(Upkept { puts, part }), Some(kind)) = (kept, section.kinds().first()) else {
                continue;
            };
            let mut edit = Edit::begin(place, wtxn, self.dimensions)?;
            edit.set_part(*kind, part);
            edit.finish_with(puts)?;
        }
        Ok(())
    }

    /// A build of an index without a graph: all but linking.
    fn run_without_graph(&mut self, wtxn: &mut RwTxn<'_>, goal: Goal, is_bulk: bool) -> Result<()> {
        let (place, cancel, is_optimized) = (self.place, self.cancel, goal == Goal::Optimized);
        let go_on = || go_on(cancel);
        let Some(meta) = read_meta(place, wtxn)? else {
            return Edit::begin(place, wtxn, self.dimensions)?.finish();
        };
        if is_needed(&meta, goal) {
            go_on()?;
        }
        let mut done = Done { makes: goal == Goal::LinkedAnew, ..Done::default() };
        if meta.slots > 0 && (is_bulk || is_optimized) {
            // The order of slots follows from what sections make. Codes, what is made of them and
            // what is measured by them wait until slots are final: they are made once.
            self.keep_up(wtxn, done.makes, false, &go_on)?;
            done.makes = false;
            if self.renumber_without_graph(wtxn, is_optimized)? {
                // Too late to cancel.
                if is_optimized {
                    self.narrow(wtxn)?;
                }
                return self.complete(wtxn, done, &|| Ok(()));
            }
        }
        self.complete(wtxn, done, &go_on)
    }

    /// Gives all items new slots, in the order in which searches read them. `false` if none is
    /// better than another, or if there is no room for the temporary file of a renumbering that
    /// nobody has requested.
    fn renumber_without_graph(&mut self, wtxn: &mut RwTxn<'_>, is_optimized: bool) -> Result<bool> {
        let (place, cancel) = (self.place, self.cancel);
        let go_on = || go_on(cancel);
        let renumbered = {
            let snapshot = Snapshot::open(place, wtxn, Memory::Full)?;
            let source = Verified::new(Shared::new(place, wtxn)?, snapshot.memory);
            let view = View::<AnySource<'_, '_>>::new(&snapshot, &source);
            let any = view.on_any_source();
            let orders = SECTIONS.iter().map(|section| section.order(&any));
            let order = orders.filter_map(Result::transpose).next().transpose()?;
            let order = match order {
                Some(order) => order,
                None if is_optimized => view.live()?.iter().map(Slot).collect(),
                None => return Ok(false),
            };
            let working = Working::new(&view, Vec::new(), 0);
            match spool(&view, order, self.temp_dir, &go_on) {
                Ok(spooled) => renumber(&view, &working, spooled, None, &go_on)?,
                Err(Error::Io { .. } | Error::DiskFull { .. }) if !is_optimized => {
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        };
        go_on()?;
        let edit = Edit::begin(place, wtxn, self.dimensions)?;
        renumbered.write(edit, |done, total| self.report_writing(done, total))?;
        Ok(true)
    }

    /// Makes the codes that are requested and missing.
    pub(crate) fn encode_missing(&mut self, wtxn: &mut RwTxn<'_>) -> Result<()> {
        let cancel = self.cancel;
        threads::building(self.threads, || {
            let Some(meta) = read_meta(self.place, wtxn)? else { return Ok(()) };
            self.encode(wtxn, &meta, 0, &|| go_on(cancel)).map(drop)
        })
    }

    /// Prepares a build that links at most `limit` items: computes its changes to the commit that
    /// `txn` sees. `None` if there are none.
    pub(crate) fn prepare(
        &mut self,
        txn: ReadTxn,
        connectivity: Connectivity,
        limit: u64,
    ) -> Result<Option<Prepared<'e>>> {
        let place = self.place;
        Error::unless_known(place.metric, place.index)?;
        let Some(meta) = read_meta(place, &txn)? else { return Ok(None) };
        check_connectivity(place.index, &meta, connectivity)?;
        if !is_needed(&meta, Goal::Linked) {
            return Ok(None);
        }
        let Scope { memory, anew } = Scope::of(&meta, Goal::Part(limit));
        let mut held = OwnedSnapshot::open(place, Arc::new(SharedTxn::alone(txn)), memory)?;
        held.prepare_build(connectivity, anew);
        self.prepare_on(held, connectivity, anew, limit).map(Some)
    }

    /// Prepares a round within a memory budget, by [`within`](Self::within), on a snapshot that was
    /// opened for this. Where everything must be linked anew, the first round links the first
    /// `limit` items, and leaves all others pending.
    pub(crate) fn prepare_within(
        &mut self,
        mut held: OwnedSnapshot<'e>,
        connectivity: Connectivity,
        goal: Goal,
    ) -> Result<Prepared<'e>> {
        Error::unless_known(self.place.metric, self.place.index)?;
        check_connectivity(self.place.index, held.meta(), connectivity)?;
        let Scope { anew, .. } = Scope::of(held.meta(), goal);
        held.prepare_build(connectivity, anew);
        self.prepare_on(held, connectivity, anew, goal.limit())
    }

    fn prepare_on(
        &mut self,
        held: OwnedSnapshot<'e>,
        connectivity: Connectivity,
        anew: bool,
        limit: u64,
    ) -> Result<Prepared<'e>> {
        let (changes, pending) = {
            let view = held.verified_view(held.memory());
            let copies = self.within.and_then(|within| within.copies);
            let view = view.erased().with_cold(copies.map(FileCopies::residency));
            if let Some(copies) = copies {
                find_lists(&view.on_any_source(), copies.residency())?;
            }
            let mut pending = Pending::of(view.snapshot, anew, limit);
            if let Some(within) = self.within.filter(|_| !anew) {
                pending.keep_removed(&view.snapshot.removed, within.removed);
            }
            let changes = threads::building(self.threads, || {
                let Graph { working, growth, .. } = self.graph(&view, anew, &mut pending)?;
                let go_on = || go_on(self.cancel);
                Changes::new(&view, working, anew, growth, self.temp_dir, &go_on)
            })?;
            (changes, pending)
        };
        go_on(self.cancel)?;
        Ok(Prepared { held, changes, pending, connectivity })
    }

    /// Writes a prepared build, on top of later commits. `false` if they have changed so much that
    /// the build must be retried: nothing has been written then.
    pub(crate) fn link(
        &mut self,
        prepared: &mut Prepared<'_>,
        wtxn: &mut RwTxn<'_>,
    ) -> Result<bool> {
        let Prepared { held, changes, pending, connectivity } = prepared;
        let rebased = Rebased::new(held, changes, &pending.left, &pending.kept, wtxn)?;
        let Some(rebased) = rebased else { return Ok(false) };
        let edit = self.edit(wtxn, *connectivity)?;
        // Each value is freed when LMDB has it.
        let (puts, spooled) = (std::mem::take(&mut changes.puts), changes.spooled.take());
        self.write(edit, puts.into_iter(), spooled, changes, &rebased)?;
        let (linked, anew) = (pending.linked.len() as u64, changes.anew);
        let done = Done { linked, anew, makes: false };
        threads::building(self.threads, || self.complete(wtxn, done, &|| Ok(())))?;
        Ok(true)
    }

    /// Begins the edit that writes the build.
    fn edit<'w, 'p>(
        &self,
        wtxn: &'w mut RwTxn<'p>,
        connectivity: Connectivity,
    ) -> Result<Edit<'w, 'e, 'p>> {
        let mut edit = Edit::begin(self.place, wtxn, self.dimensions)?;
        edit.meta.connectivity = Some(connectivity);
        edit.meta.ef_construction = self.ef_construction.min(u32::MAX as usize) as u32;
        edit.meta.alpha = self.alpha;
        Ok(edit)
    }

    fn report_writing(&self, done: u64, total: u64) {
        (self.progress)(Progress { phase: Phase::Writing, done, total });
    }

    /// Writes the values of a graph, and the changes to items that go with them.
    fn write(
        &self,
        mut edit: Edit<'_, 'e, '_>,
        puts: impl ExactSizeIterator<Item = Put>,
        spooled: Option<SpooledPuts>,
        changes: &Changes,
        rebased: &Rebased,
    ) -> Result<()> {
        if changes.anew {
            for kind in built_kinds() {
                edit.delete_derived(kind)?;
            }
        }
        (edit.meta.next_rank, edit.meta.roots) = (changes.next_rank, changes.roots.clone());
        edit.meta.growth = changes.growth.unwrap_or(edit.meta.growth);
        let own = puts.len() as u64;
        let total = own + spooled.as_ref().map_or(0, |spooled| spooled.len() as u64);
        if spooled.is_none() && puts.len() <= FEW_PUTS {
            rebased.write(&mut edit)?;
            edit.finish_with(puts.collect())?;
            (1..=total).for_each(|done| self.report_writing(done, total));
            return Ok(());
        }
        for (done, (key, body)) in (1..).zip(puts) {
            edit.put_derived(key, body)?;
            self.report_writing(done, total);
        }
        if let Some(mut spooled) = spooled {
            let mut done = own;
            spooled.each(|(key, body)| {
                edit.put_derived(key, body)?;
                done += 1;
                self.report_writing(done, total);
                Ok(())
            })?;
        }
        rebased.write(&mut edit)?;
        edit.finish()
    }

    /// Computes the new graph, phase by phase: deletes removed nodes, chooses estimates, links new
    /// nodes, measures the growth of distances.
    fn graph<'v, 't>(
        &mut self,
        view: &'v View<'_, 't, AnySource<'_, 't>>,
        anew: bool,
        pending: &mut Pending,
    ) -> Result<Graph<'v>> {
        let meta = &view.snapshot.meta;
        let connectivity = meta.connectivity.ok_or(Error::MissingIndex(view.snapshot.index))?;
        // Slots that stay pending are not in the graph: no search of the build may visit them.
        let live = |left: &RoaringBitmap| -> Result<Vec<Slot>> {
            Ok((view.live()? - left).iter().map(Slot).collect())
        };
        if let Some(items) = self.within.filter(|_| anew).map(|within| within.items) {
            let left: Vec<Slot> = view.live()?.iter().skip(items as usize).map(Slot).collect();
            pending.leave(&left);
        }
        let slots: Vec<Slot> = if anew {
            live(&pending.left)?
        } else {
            pending.linked.iter().copied().map(Slot).collect()
        };
        let copies = self.within.and_then(|within| within.copies);
        let size = meta.slots as usize - pending.left.len() as usize;
        let is_large = copies.is_some() || slots.len() * LARGE_BUILD_DIVISOR > size;
        let (linked, next_rank) =
            if anew { (0, 0) } else { ((meta.linked() - meta.removed) as usize, meta.next_rank) };
        let total = slots.len() as u64;
        let plan = Plan {
            m0: connectivity.m0.into(),
            m: connectivity.m.into(),
            ef_construction: self.ef_construction,
            alpha: self.alpha,
            is_small: view.snapshot.memory == Memory::Bounded,
            most_bytes: self.within.map_or(u64::MAX, |within| within.bytes),
            // The first items, of all regions, are linked in no order.
            region: if copies.is_some() && linked > 0 { REGION_SLOTS } else { usize::MAX },
            cancel: self.cancel,
            progress: &|done| (self.progress)(Progress { phase: Phase::Linking, done, total }),
        };
        let mut working = Working::new(view, meta.roots.clone(), next_rank);
        // In a round within a budget, most lists are stored.
        if is_large && copies.is_none() {
            working = working.with_lists(plan.longest());
        }
        if !anew {
            let removed = &view.snapshot.removed - &pending.kept;
            let removed: Vec<Slot> = removed.iter().map(Slot).collect();
            take_out(&mut working, view, &removed, slots.len(), &plan)?;
        }
        if copies.is_some() && !anew && linked > 0 {
            // As computed, sorted, and by slot.
            working.growing(plan.most_bytes / DERIVED_DIVISOR);
        }
        let mut rng = (self.seeded)(self.rng.next_u64() ^ spread(next_rank));
        let estimates = match copies {
            Some(copies) => Estimates::CopiesAlone(copies),
            // Anonymous copies would exceed the budget.
            None if self.within.is_some() || !is_large => Estimates::None,
            None => self.estimates(view, &live(&pending.left)?, slots.len())?,
        };
        let left = estimates.over(view, |vectors| {
            let left = insert(&mut working, vectors, &slots, linked, &plan, &mut *rng)?;
            finish(&mut working, vectors, &plan)?;
            Ok(left)
        })?;
        pending.leave(&left);
        let encoded = estimates.into_new_codes();
        // Of the many rounds within a budget, it is measured in the first and the last.
        let measures = is_large && (copies.is_none() || linked == 0 || pending.left.is_empty());
        let growth = measures
            .then(|| {
                let live = live(&pending.left)?;
                let sample = sample(live.iter().copied(), live.len(), GROWTH_SAMPLE);
                match copies {
                    Some(copies) => growth(&working, &ByCopies { view, copies }, view, &sample),
                    None => growth(&working, view, view, &sample),
                }
            })
            .transpose()?;
        working.drop_lists();
        Ok(Graph { working, encoded, growth })
    }

    /// Chooses the distance estimates of a large build that links `count` items.
    fn estimates<'t>(
        &mut self,
        view: &View<'_, 't, AnySource<'_, 't>>,
        live: &[Slot],
        count: usize,
    ) -> Result<Estimates<'static>> {
        if count < SQ8_MIN_ITEMS {
            return Ok(Estimates::None);
        }
        if view.snapshot.meta.code_bits == 0 {
            let copies = Sq8Copy::new(view, live)?.map(Box::new);
            return Ok(copies.map_or(Estimates::None, Estimates::Sq8Copy));
        }
        Self::encoded(view, live, self.rng.next_u64(), &|| go_on(self.cancel))
    }

    /// The codes that the index has or will have, as estimates for a large build. None if they fail
    /// the recall check.
    fn encoded<'t>(
        view: &View<'_, 't, AnySource<'_, 't>>,
        live: &[Slot],
        seed: u64,
        go_on: &GoOn<'_>,
    ) -> Result<Estimates<'static>> {
        let (encoded, is_new) = match Encoded::stored(view, go_on)? {
            Some(stored) => stored,
            None => (Encoded::new(view, seed, go_on)?, true),
        };
        let sample = sample(live.iter().copied(), live.len(), ENCODED_SAMPLE);
        Ok(if encoded.passes_recall_check(view, &sample)? {
            Estimates::Codes { encoded: Box::new(encoded), is_new }
        } else {
            Estimates::None
        })
    }
}

/// Checks the parameters of a build.
///
/// # Errors
/// [`Error::InvalidParameter`].
pub(crate) fn check_parameters(
    ef_construction: usize,
    alpha: f32,
    m: usize,
    m0: usize,
) -> Result<Connectivity> {
    let invalid = |name, value, remedy| Err(Error::InvalidParameter { name, value, remedy });
    if ef_construction == 0 {
        return invalid("ef_construction", 0.0, "use at least 1, better 100 or more");
    }
    if !(1.0..=10.0).contains(&alpha) {
        // Through its digits, so that 0.9 is reported as 0.9 and not as the nearest `f32`.
        let value = alpha.to_string().parse().unwrap_or(f64::NAN);
        return invalid("alpha", value, "use 1 to 10; 1 is the heuristic of HNSW");
    }
    let Some(connectivity) = Connectivity::new(m, m0) else {
        let (name, value) = if (2..=MAX_DEGREE).contains(&m) { ("M0", m0) } else { ("M", m) };
        return invalid(name, value as f64, "use 2 to 2048, such as 16 for M and 32 for M0");
    };
    Ok(connectivity)
}

/// Returns an error if the build is cancelled.
fn go_on(cancel: &(dyn Fn() -> bool + Sync)) -> Result<()> {
    if cancel() { Err(Error::Cancelled) } else { Ok(()) }
}

/// Checks that the index has no other connectivity yet.
fn check_connectivity(index: u16, meta: &Meta, wanted: Connectivity) -> Result<()> {
    match meta.connectivity.filter(|stored| *stored != wanted) {
        None => Ok(()),
        Some(stored) => Err(Error::ConnectivityMismatch {
            index,
            stored_m: stored.m.into(),
            stored_m0: stored.m0.into(),
            m: wanted.m.into(),
            m0: wanted.m0.into(),
        }),
    }
}

/// Whether a build would change anything.
fn is_needed(meta: &Meta, goal: Goal) -> bool {
    let changed = meta.pending > 0 || meta.removed > 0;
    changed && goal != Goal::Kept
        || match goal {
            Goal::Linked | Goal::Part(_) | Goal::Kept => false,
            Goal::LinkedAnew => meta.items > 0,
            Goal::Optimized => meta.slots > 0,
        }
}

/// Whether a first build renumbers the items by locality as [`Goal::Optimized`] does. Its
/// transaction must have written most of them itself.
fn is_bulk(meta: &Meta) -> bool {
    let vector_bytes = u64::from(meta.slots) * meta.geometry.stride as u64;
    meta.linked() == 0 && meta.items >= BULK_ITEMS && vector_bytes <= BULK_BYTES
}

/// The extent of a build.
struct Scope {
    memory: Memory,
    /// Whether everything is linked anew.
    anew: bool,
}

impl Scope {
    fn of(meta: &Meta, goal: Goal) -> Self {
        let ranks_run_out =
            u64::from(meta.next_rank) + u64::from(meta.pending) > u64::from(u32::MAX);
        let worn_out = u64::from(meta.removed) * REBUILD_DIVISOR > u64::from(meta.linked());
        let anew = goal == Goal::LinkedAnew || worn_out || ranks_run_out;
        let changed = u64::from(meta.pending).min(goal.limit()) + u64::from(meta.removed);
        let is_small = !anew
            && goal != Goal::Optimized
            && changed * BOUNDED_MEMORY_DIVISOR < u64::from(meta.slots);
        Self { memory: if is_small { Memory::Bounded } else { Memory::Full }, anew }
    }
}

/// Mixed into the seed of a build, so that items that are added and built one by one do not all get
/// the same top layer from callers who seed every build alike: an odd constant with well mixed
/// bits, that of Fibonacci hashing.
fn spread(next_rank: u32) -> u64 {
    u64::from(next_rank).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// The goal of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Nothing is linked: only what is left to the end of a build is done.
    Kept,
    /// Pending items are linked, removed ones are deleted from the graph.
    Linked,
    /// The same for at most this many pending items, those with the lowest slots: the rest stays
    /// pending. A build anew links all.
    Part(u64),
    /// Everything is linked anew.
    LinkedAnew,
    /// As [`Linked`](Self::Linked), and renumbered by locality.
    Optimized,
}

impl Goal {
    /// The maximum number of pending items to link.
    fn limit(self) -> u64 {
        match self {
            Self::Part(limit) => limit,
            Self::Kept => 0,
            _ => u64::MAX,
        }
    }
}

/// The pending slots of a snapshot, divided by a build.
struct Pending {
    /// The slots that the build links, ascending.
    linked: Vec<u32>,
    /// The slots that stay pending.
    left: RoaringBitmap,
    /// Removed slots that stay in the graph.
    kept: RoaringBitmap,
}

impl Pending {
    fn of(snapshot: &Snapshot<'_>, anew: bool, limit: u64) -> Self {
        let pending = &snapshot.pending;
        let count = if anew { pending.len() } else { pending.len().min(limit as usize) };
        let (linked, left) = pending.split_at(count);
        let left = left.iter().copied().collect();
        Self { linked: linked.to_vec(), left, kept: RoaringBitmap::new() }
    }

    /// Leaves all but the first `most` removed slots in the graph.
    fn keep_removed(&mut self, removed: &RoaringBitmap, most: u64) {
        self.kept = removed.iter().skip(most.min(removed.len()) as usize).collect();
    }

    /// Leaves slots pending that should have been linked, or makes them pending.
    fn leave(&mut self, slots: &[Slot]) {
        if !slots.is_empty() {
            let left: RoaringBitmap = slots.iter().map(|slot| slot.0).collect();
            self.linked.retain(|slot| !left.contains(*slot));
            self.left |= left;
        }
    }
}

/// The distance estimates that a large build searches by.
enum Estimates<'b> {
    Codes {
        encoded: Box<Encoded>,
        is_new: bool,
    },
    Sq8Copy(Box<Sq8Copy>),
    /// No vector is read but its copy.
    CopiesAlone(&'b FileCopies),
    None,
}

impl Estimates<'_> {
    /// Runs `work` on the vectors of a view with these estimates.
    fn over<'t, T>(
        &self,
        view: &View<'_, 't, AnySource<'_, 't>>,
        work: impl FnOnce(&dyn Vectors) -> Result<T>,
    ) -> Result<T> {
        match self {
            Self::Codes { encoded, .. } => work(&WithCodes { view, encoded }),
            Self::Sq8Copy(coarse) => work(&WithSq8Copy { view, coarse }),
            Self::CopiesAlone(copies) => work(&ByCopies { view, copies }),
            Self::None => work(view),
        }
    }

    /// New codes, which the index does not have yet.
    fn into_new_codes(self) -> Option<Encoded> {
        match self {
            Self::Codes { encoded, is_new: true } => Some(*encoded),
            _ => None,
        }
    }
}

/// The graph that a build computes.
struct Graph<'v> {
    working: Working<'v>,
    /// New codes, which the index does not have yet.
    encoded: Option<Encoded>,
    /// The growth of distances, if it was measured, as in large builds.
    growth: Option<f32>,
}

/// The result of a build.
enum Built {
    /// The changed values, and those of new codes, if the build has computed them.
    Changes(Changes, Option<(Training, Vec<Put>)>),
    /// All values, and the growth of distances, if it was measured.
    Renumbered(Renumbered, Option<f32>),
}

/// What a build has done.
#[derive(Default)]
struct Done {
    /// The number of items that it has linked; all of them if it was `anew`.
    linked: u64,
    anew: bool,
    /// Whether what other sections leave to builds is to be made anew.
    makes: bool,
}

/// A build that has been computed on a commit, and is not linked yet.
pub(crate) struct Prepared<'e> {
    held: OwnedSnapshot<'e>,
    changes: Changes,
    pending: Pending,
    connectivity: Connectivity,
}

impl Prepared<'_> {
    /// The addresses of the lists that it replaces, of those that are known.
    pub(crate) fn replaced_lists(&self) -> Vec<usize> {
        let view = self.held.verified_view(self.held.memory());
        view.addresses_of_groups(self.changes.list_groups())
    }

    /// Number of pending items that it links.
    pub(crate) fn linked(&self) -> u64 {
        self.pending.linked.len() as u64
    }

    /// Whether it replaces the whole graph.
    pub(crate) fn begins_anew(&self) -> bool {
        self.changes.anew
    }
}
