//! Linking within a memory budget: in rounds, each of which is one commit.
//!
//! A round links the pending items with the lowest slots, as many as its share of the budget has
//! room for, and goes by copies of the vectors in a temporary file. What it does follows from the
//! committed index, the budget and the stored options alone: so a build that was killed and is
//! resumed does the rounds that it would have done, and ends with the same bytes. For the same
//! reason, whether a round goes by copies depends on the index, not on whether there are some; and
//! copies are made anew if another commit has changed the index.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::environment::{Interrupted, Pin, Reading};
use super::filesystem;
use super::shared::{Hooks, Round, Shared};
use super::writes::{Writes, keep_up};
use crate::build::budget::{Budget, RoundBounds, Sizes};
use crate::build::{Build, Goal, Phase, Progress, Within};
use crate::builder::CONCURRENT_ATTEMPTS;
use crate::error::{Error, Result};
use crate::format::codes::geometry;
use crate::format::meta::Meta;
use crate::store::file_copies::FileCopies;
use crate::store::open::read_meta;
use crate::store::owned_snapshot::{OwnedSnapshot, SharedTxn};
use crate::store::readahead;
use crate::store::sections::list::footprint;
use crate::store::sq8_copy::has_copies;
use crate::store::table::Memory;
use crate::threads;
use crate::types::Slot;

/// A round goes by copies if at least this many items are pending, and at least one in
/// [`COPIES_DIVISOR`] slots: making the copies of all slots must cost less than they save.
const COPIES_FROM: u32 = 1000;
const COPIES_DIVISOR: u32 = 64;
/// The same where the vectors do not fit into the budget: to link one item by them reads a page of
/// the file for each of some thousand vectors, and to make the copies reads all pages in order.
const COLD_COPIES_FROM: u32 = 16;
const COLD_COPIES_DIVISOR: u32 = 1 << 14;

/// How far rounds have come, for the progress of a load.
#[derive(Debug, Default)]
pub(super) struct RoundsDone {
    pub(super) done: AtomicU64,
    /// The expected number of rounds, 0 until it is known.
    pub(super) total: AtomicU64,
}

/// The copies that rounds go by.
#[derive(Default)]
struct Copies {
    /// `None` if there are none yet. The inner `None`: the vectors cannot be told apart by copies.
    made: Option<Option<FileCopies>>,
    /// The commit whose vectors they are of.
    commit: usize,
}

impl Shared {
    /// The budget of this index, if there is one.
    pub(super) fn budget(&self, bytes: Option<u64>, meta: &Meta) -> Option<Budget> {
        let (dimensions, bits) = (self.entry.dimensions, meta.code_bits);
        let code = if bits > 0 { geometry(bits, dimensions).stride } else { 0 };
        let sizes = Sizes::of(self.place, dimensions as usize, code, self.entry.m0.into());
        let sizes = Sizes { kinds: footprint(meta, sizes.code), ..sizes };
        // Without a graph nothing is linked, and nothing takes room for lists and copies.
        let sizes = if meta.has_graph { sizes } else { Sizes { m0: 0, copy: 0, ..sizes } };
        let lacks_codes = bits > 0 && !meta.is_coded;
        let coded_from = lacks_codes.then(|| self.codes_from.max(meta.items.into()));
        let sizes = Sizes { coded_from, ..sizes };
        bytes.map(|bytes| Budget { bytes, sizes })
    }
}

/// Links all items that are pending now, and deletes the removed ones, within `memory` bytes.
/// Returns the number of items linked.
///
/// # Errors
/// [`Error::MemoryBudget`], [`Error::DiskRoom`], and those of a build. Committed rounds stay.
pub(super) fn link_within(
    shared: &Arc<Shared>,
    memory: u64,
    hooks: Hooks<'_>,
    rounds: &RoundsDone,
) -> Result<u64> {
    shared.writable()?;
    let (mut pending, removed, limit) = {
        let newest = shared.newest()?;
        let meta = newest.meta();
        let limit = shared.budget(Some(memory), meta);
        let limit = limit.map_or(1, |budget| budget.round(meta.slots.into()).items);
        (u64::from(meta.pending), u64::from(meta.removed), limit)
    };
    let (mut copies, mut linked, mut attempts) = (Copies::default(), 0, 0);
    let expected = |left: u64| left.div_ceil(limit);
    rounds.total.store(expected(pending).max(u64::from(pending + removed > 0)), Ordering::Relaxed);
    loop {
        // Items that others add meanwhile are left to them.
        let progress = |Progress { phase, done, total }| {
            let (done, total) = match phase {
                Phase::Linking => (linked + done, pending.max(linked + total)),
                Phase::Writing => (done, total),
            };
            (hooks.progress)(Progress { phase, done, total });
        };
        let round = Hooks { progress: &progress, ..hooks };
        match link_round(shared, memory, round, &mut copies) {
            Ok(Round::Done) => break,
            Ok(round @ (Round::Linked(now) | Round::LinkedAnew(now))) => {
                (linked, attempts) = (linked + now, 0);
                let done = rounds.done.fetch_add(1, Ordering::Relaxed) + 1;
                let newest = shared.newest()?;
                if let Round::LinkedAnew(_) = round {
                    pending = linked + u64::from(newest.meta().pending);
                }
                if linked >= pending && newest.meta().removed == 0 {
                    rounds.total.store(done, Ordering::Relaxed);
                    break;
                }
                let left = expected(pending.saturating_sub(linked)).max(1);
                rounds.total.store(done + left, Ordering::Relaxed);
            }
            // Others have changed much, or have grown the map.
            Ok(Round::Outdated) | Err(Error::MapBusy { .. }) if attempts < CONCURRENT_ATTEMPTS => {
                attempts += 1;
            }
            Ok(Round::Outdated) => {
                linked += link_inside(shared, memory, round)?;
                // It may have begun anew, too.
                pending = linked + u64::from(shared.newest()?.meta().pending);
            }
            Err(Error::MapFull) => shared.env.enlarge()?,
            Err(error) => return Err(error),
        }
    }
    keep_up(shared, hooks)?;
    Ok(linked)
}

/// One round, which holds the write lock only while it writes.
fn link_round(
    shared: &Arc<Shared>,
    memory: u64,
    hooks: Hooks<'_>,
    copies: &mut Copies,
) -> Result<Round> {
    let Reading { txn, counted: _counted } = shared.env.read()?;
    let _hold = Pin::new(&shared.env);
    shared.check_exists(&txn)?;
    let Some(meta) = read_meta(shared.place, &txn)? else { return Ok(Round::Done) };
    let Some(budget) = shared.budget(Some(memory), &meta) else { return Ok(Round::Done) };
    if meta.pending == 0 && meta.removed == 0 {
        return Ok(Round::Done);
    }
    budget.check(meta.slots.into())?;
    let RoundBounds { bytes, items, removed } = budget.round(meta.slots.into());
    let goal = Goal::Part(items);
    let by_copies = goes_by_copies(shared, &meta, &budget);
    let tables = if by_copies { Memory::Full } else { Build::memory(&meta, goal) };
    let held = OwnedSnapshot::open(shared.place, Arc::new(SharedTxn::alone(txn)), tables)?;
    match by_copies {
        true => threads::building(shared.threads_of(hooks), || {
            copies.make(shared, &held, &budget, hooks)
        })?,
        false => *copies = Copies::default(),
    }
    let made = copies.made.as_ref().and_then(Option::as_ref);
    let mut next = held.pending().iter().take(items as usize);
    if let (Some(made), Some(first)) = (made, next.next()) {
        made.will_need(Slot(*first), Slot(*next.next_back().unwrap_or(first) + 1));
    }
    let mut rng = StdRng::seed_from_u64(shared.entry.seed);
    let within = Within { bytes, items, removed, copies: made };
    let mut builder = shared.engine(&mut rng, hooks, Some(within));
    let connectivity = builder.connectivity(shared.entry.m.into(), shared.entry.m0.into())?;
    let before = held.id();
    let mut prepared = builder.prepare_within(held, connectivity, goal)?;
    // Lists and copies compete for what is left of the budget.
    readahead::release_freed();
    let replaced = prepared.replaced_lists();
    // A full map cannot grow while this holds a snapshot.
    let commit = shared.env.write(|mut txn| {
        match shared.check_exists(&txn).and_then(|()| builder.link(&mut prepared, &mut txn)) {
            Ok(is_linked) => Ok((is_linked.then(|| txn.id()), txn)),
            Err(error) => Err(Interrupted::Failed(shared.env.explain(error))),
        }
    })?;
    let linked = Round::of(&prepared);
    drop(prepared);
    readahead::release_freed();
    let Some(commit) = commit else { return Ok(Round::Outdated) };
    // Only searches that have begun before read the old lists from here on.
    readahead::drop_replaced(&replaced);
    if commit == before + 1 {
        // No other commit came between: the vectors are the same.
        copies.commit = commit;
    }
    Ok(linked)
}

/// Links a round inside a write transaction, when others keep changing the index.
fn link_inside(shared: &Arc<Shared>, memory: u64, hooks: Hooks<'_>) -> Result<u64> {
    shared.env.write::<u64, Error>(|txn| {
        let batch = Writes::new(txn, shared)?;
        let Some(meta) = read_meta(shared.place, batch.txn())? else {
            return batch.finish(Ok(0), None, hooks);
        };
        let items = shared
            .budget(Some(memory), &meta)
            .map_or(1, |budget| budget.round(meta.slots.into()).items);
        batch.finish(Ok(items.min(meta.pending.into())), Some(Goal::Part(items)), hooks)
    })
}

/// Whether a round on this commit goes by copies.
fn goes_by_copies(shared: &Shared, meta: &Meta, budget: &Budget) -> bool {
    let slots = u64::from(meta.slots);
    let fits = slots * budget.sizes.vector <= budget.cache(slots);
    let (from, divisor) = match fits {
        true => (COPIES_FROM, COPIES_DIVISOR),
        false => (COLD_COPIES_FROM, COLD_COPIES_DIVISOR),
    };
    has_copies(shared.place.metric) && meta.pending >= from.max(meta.slots / divisor)
}

impl Copies {
    /// Makes the copies of all vectors of a snapshot, unless there are some of the same vectors.
    ///
    /// # Errors
    /// [`Error::DiskRoom`], and those of the file system.
    fn make(
        &mut self,
        shared: &Shared,
        held: &OwnedSnapshot<'_>,
        budget: &Budget,
        hooks: Hooks<'_>,
    ) -> Result<()> {
        if self.made.is_some() && held.is_unchanged_since(self.commit)? {
            self.commit = held.id();
            return Ok(());
        }
        // The room of the old ones first.
        self.made = None;
        let folder = hooks.temp_dir.unwrap_or(shared.temp_dir());
        filesystem::check_room(&[(folder, budget.temp_bytes(held.meta().slots.into()))])?;
        let (slots, seed) = (held.meta().slots.into(), shared.entry.seed);
        let place = (folder, budget.cache(slots));
        let view = held.verified_view(held.memory());
        let go_on = || if (hooks.cancel)() { Err(Error::Cancelled) } else { Ok(()) };
        self.made = Some(FileCopies::new(&view, seed, place, &go_on)?);
        self.commit = held.id();
        Ok(())
    }
}
