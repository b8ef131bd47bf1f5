//! The untyped core of a batch: one write transaction, which is committed only if all calls in it
//! have succeeded.

use std::sync::Arc;

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::environment::{Interrupted, WriteTxn};
use super::shared::{Hooks, Round, Shared};
use crate::build::budget::Budget;
use crate::build::{Goal, Phase, Progress};
use crate::builder::CONCURRENT_ATTEMPTS;
use crate::codec::Scale;
use crate::error::{Error, Result};
use crate::field::Schema;
use crate::reader::Reader;
use crate::store::Place;
use crate::store::open::read_meta;
use crate::store::sections::fields::schema;
use crate::store::sections::ids::view::slot_in;
use crate::store::sections::list::is_upkeep_due;
use crate::store::sections::records::view::record_in;
use crate::store::sections::vectors::view::vector_in;
use crate::training::{Sample, TrainedRange};
use crate::types::{IndexKind, ItemId};
use crate::writer::Writer;

/// See the module.
pub(super) struct Writes<'w> {
    txn: WriteTxn<'w>,
    writer: Writer<'static, ()>,
    pub(super) shared: Arc<Shared>,
    pub(super) state: State,
    /// The number of pending items when it began.
    others_pending: u64,
    pub(super) links_later: bool,
    /// The closure that cancels the build at the end.
    pub(super) cancel: Option<Box<dyn Fn() -> bool + Send + Sync>>,
}

/// A batch links at least this many items that others have left pending, or as many as it has added
/// itself if that is more: so the items of an interrupted load are linked bit by bit, and no single
/// write pays for all of them. Linking 64 items takes some 20 ms.
const LEAST_OTHERS_LINKED: u64 = 64;

/// Whether a batch can be committed. Of several states, the highest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Whole,
    /// A call has failed half-way or panicked, or is in progress.
    Failed,
    /// The map was full: the batch must be retried in a larger one.
    MapFull,
}

/// What a batch leaves behind while its transaction is used for something else.
pub(super) struct Paused {
    shared: Arc<Shared>,
    pub(super) state: State,
    others_pending: u64,
    links_later: bool,
    cancel: Option<Box<dyn Fn() -> bool + Send + Sync>>,
}

impl Paused {
    /// Whether it is a batch of this index.
    pub(super) fn is_of(&self, shared: &Shared) -> bool {
        self.shared.entry.number == shared.entry.number
    }
}

/// Whether an error means that nothing has changed: those that the caller can fix.
fn has_changed_nothing(error: &Error) -> bool {
    matches!(
        error,
        Error::DimensionMismatch { .. }
            | Error::InvalidItem { .. }
            | Error::InvalidItemKey { .. }
            | Error::InvalidKeyedItem { .. }
            | Error::InvalidQuery { .. }
            | Error::CodesUnsupported { .. }
            | Error::KindUnsupported { .. }
            | Error::KindMismatch { .. }
            | Error::UnknownMetric { .. }
            | Error::LengthMismatch { .. }
            | Error::UnevenRows { .. }
            | Error::InvalidParameter { .. }
            | Error::InvalidRecord { .. }
            | Error::InvalidField { .. }
            | Error::UnknownField { .. }
            | Error::FieldMismatch { .. }
            | Error::InvalidCondition { .. }
            | Error::InvalidSample { .. }
            | Error::NotTrained { .. }
            | Error::CoarseRange { .. }
            | Error::IndexFull(_)
            | Error::BatchFailed
    )
}

impl<'w> Writes<'w> {
    /// # Errors
    /// [`Removed`](Error::Removed), [`Renamed`](Error::Renamed).
    pub(super) fn new(txn: WriteTxn<'w>, shared: &Arc<Shared>) -> Result<Self> {
        shared.check_exists(&txn)?;
        let writer = shared.writer();
        Ok(Self {
            others_pending: writer.n_pending(&txn)?,
            txn,
            writer,
            shared: Arc::clone(shared),
            state: State::Whole,
            links_later: false,
            cancel: None,
        })
    }

    /// Gives the transaction back, to go on later.
    pub(super) fn pause(self) -> (WriteTxn<'w>, Paused) {
        let Self { txn, shared, state, others_pending, links_later, cancel, .. } = self;
        (txn, Paused { shared, state, others_pending, links_later, cancel })
    }

    /// Goes on in the same transaction.
    pub(super) fn resume(txn: WriteTxn<'w>, paused: Paused) -> Self {
        let Paused { shared, state, others_pending, links_later, cancel } = paused;
        Self { txn, writer: shared.writer(), shared, state, others_pending, links_later, cancel }
    }

    pub(super) fn txn(&self) -> &WriteTxn<'w> {
        &self.txn
    }

    pub(super) fn index_name(&self) -> &str {
        &self.shared.name
    }

    pub(super) fn place(&self) -> Place<'static> {
        self.shared.place
    }

    pub(super) fn dimensions(&self) -> usize {
        self.writer.dimensions()
    }

    /// Makes a change, unless an earlier change has failed half-way.
    pub(super) fn change<T>(
        &mut self,
        change: impl FnOnce(&Writer<'static, ()>, &mut WriteTxn<'w>) -> Result<T>,
    ) -> Result<T> {
        self.txn.check()?;
        self.check_whole()?;
        // The state remains if `change` panics and the caller catches that.
        self.state = State::Failed;
        let result = change(&self.writer, &mut self.txn)
            .map_err(|error| self.shared.env.explain(error).in_index(&self.shared.name));
        self.state = match &result {
            Err(Error::MapFull) => State::MapFull,
            Err(error) if !has_changed_nothing(error) => State::Failed,
            _ => State::Whole,
        };
        result
    }

    /// # Errors
    /// [`Error::MapFull`] or [`Error::BatchFailed`] if an earlier call failed half-way or panicked.
    fn check_whole(&self) -> Result<()> {
        match self.state {
            State::Whole => Ok(()),
            State::MapFull => Err(Error::MapFull),
            State::Failed => Err(Error::BatchFailed),
        }
    }

    /// As [`change`](Self::change), for work of several steps: it may have changed something even
    /// if its error normally means that nothing has changed.
    pub(super) fn change_whole<T>(
        &mut self,
        change: impl FnOnce(&Writer<'static, ()>, &mut WriteTxn<'w>) -> Result<T>,
    ) -> Result<T> {
        let result = self.change(change);
        if result.is_err() && self.state == State::Whole {
            self.state = State::Failed;
        }
        result
    }

    /// Whether the index must be trained before its first item, and is not.
    pub(super) fn needs_training(&self) -> Result<bool> {
        self.writer.needs_training(&self.txn)
    }

    /// The scale of the index.
    ///
    /// # Errors
    /// [`NotTrained`](Error::NotTrained).
    pub(super) fn scale(&self) -> Result<Scale> {
        let scale = read_meta(self.shared.place, &self.txn)?.map_or(Scale::NONE, |meta| meta.scale);
        match self.shared.place.metric.is_trained && !scale.is_trained() {
            true => {
                let (index, name) = (self.shared.entry.number, Some(self.shared.name.clone()));
                Err(Error::NotTrained { index, name })
            }
            false => Ok(scale),
        }
    }

    /// Trains the index on a sample of what will be added.
    pub(super) fn train_on(&mut self, sample: &Sample) -> Result<TrainedRange> {
        self.change(|writer, txn| writer.train_on(txn, sample))
    }

    /// From here on, adding an item with the vector that it has, bit for bit, changes nothing.
    pub(super) fn keep_equal(&mut self) {
        self.writer.keeps_equal = true;
    }

    /// Makes the codes that the index lacks, of all its items, within a budget.
    ///
    /// # Errors
    /// [`Error::MemoryBudget`] if the index has so many items that their codes do not fit.
    pub(super) fn encode(&mut self, budget: &Budget, hooks: Hooks<'_>) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let Some(meta) = read_meta(shared.place, &self.txn)? else { return Ok(()) };
        budget.check_codes(meta.items.into())?;
        let mut rng = StdRng::seed_from_u64(shared.entry.seed);
        self.change_whole(|_, txn| shared.engine(&mut rng, hooks, None).encode_missing(txn))
    }

    /// Gives the index a kind. If that is a graph, all its items are linked at the end.
    pub(super) fn add_kind(&mut self, kind: IndexKind) -> Result<bool> {
        let is_added = self.change(|writer, txn| writer.add_kind(txn, kind))?;
        if is_added {
            self.others_pending = 0;
        }
        Ok(is_added)
    }

    /// Measures the recall of searches.
    pub(super) fn calibrate(&mut self) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let mut rng = StdRng::seed_from_u64(shared.entry.seed);
        let hooks = Hooks::NONE;
        self.change_whole(|_, txn| shared.engine(&mut rng, hooks, None).calibrate(txn))
    }

    pub(super) fn check_process(&self) -> Result<()> {
        self.txn.check()
    }

    pub(super) fn reader(&self) -> Result<Reader<'_, ()>> {
        self.txn.check()?;
        Reader::at(&self.txn, self.shared.place)
    }

    /// Whether there is such an item.
    pub(super) fn contains(&self, item: ItemId) -> Result<bool> {
        self.txn.check()?;
        let place = self.place();
        Ok(read_meta(place, &self.txn)?.is_some() && slot_in(place, &self.txn, item)?.is_some())
    }

    /// The vector of an item, verified.
    pub(super) fn vector(&self, item: ItemId) -> Result<Option<Vec<f32>>> {
        self.txn.check()?;
        vector_in(self.place(), &self.txn, item)
    }

    /// The fields of the index.
    pub(super) fn schema(&self) -> Result<Schema> {
        let place = self.place();
        read_meta(place, &self.txn)?
            .map_or(Ok(Schema::default()), |meta| schema(place.index, &meta))
    }

    /// The record of an item.
    pub(super) fn record(&self, item: ItemId) -> Result<Option<Vec<u8>>> {
        self.txn.check()?;
        Ok(record_in(self.place(), &self.txn, item)?.map(<[u8]>::to_vec))
    }

    /// The number of items to link at the end: as many as the batch has added, and some that others
    /// have left pending.
    fn goal(&self) -> Result<Option<Goal>> {
        // Tombstones under an unknown metric are left to a handle that knows the metric.
        let is_known = self.shared.place.metric.is_known;
        if self.links_later || !is_known || !self.writer.need_build(&self.txn)? {
            return Ok(None);
        }
        let pending = self.writer.n_pending(&self.txn)?;
        let added = pending.saturating_sub(self.others_pending);
        let limit = added + added.max(LEAST_OTHERS_LINKED);
        Ok(Some(if pending <= limit { Goal::Linked } else { Goal::Part(limit) }))
    }

    /// Links what was added, or does what `goal` requests. The transaction should be committed if
    /// the closure returned `result`.
    pub(super) fn finish<T, E: From<Error>>(
        mut self,
        result: Result<T, E>,
        goal: Option<Goal>,
        hooks: Hooks<'_>,
    ) -> Result<(T, WriteTxn<'w>), Interrupted<E>> {
        // A closure that saw a full map may have returned any error, or none.
        if self.state == State::MapFull {
            return Err(Interrupted::MapFull);
        }
        let value = result.map_err(Interrupted::Failed)?;
        self.txn.check()?;
        // The closure may have caught a panic or ignored an error, and returned `Ok`.
        self.check_whole()?;
        let (shared, cancel) = (Arc::clone(&self.shared), self.cancel.take());
        let hooks = cancel.as_deref().map_or(hooks, |cancel| Hooks { cancel, ..hooks });
        if let Some(goal) = match goal {
            Some(goal) => Some(goal),
            None => self.goal()?,
        } {
            self.change(|_, txn| shared.build(txn, goal, hooks))?;
        }
        Ok((value, self.txn))
    }
}

/// Links all items pending now, at least `least` a round. Returns their number.
pub(super) fn link_with(shared: &Arc<Shared>, least: u64, hooks: Hooks<'_>) -> Result<u64> {
    shared.writable()?;
    let total = match shared.pending() {
        // Then a write links until nothing is pending, as it needs no reader slot.
        Err(Error::ReadersFull { .. }) => u64::MAX,
        pending => pending?,
    };
    let mut done = 0;
    loop {
        let progress = |progress: Progress| {
            let Progress { phase, done: now, total: of } = progress;
            // Values are counted anew for each round.
            let (done, total) = match phase {
                Phase::Linking if total == u64::MAX => (done + now, done + of),
                Phase::Linking => (done + now, total.max(done + of)),
                Phase::Writing => (now, of),
            };
            (hooks.progress)(Progress { phase, done, total });
        };
        match link_round(shared, least, Hooks { progress: &progress, ..hooks })? {
            0 => break,
            linked => done += linked,
        }
        // Items that others have added meanwhile are left to them.
        if done >= total {
            break;
        }
    }
    keep_up(shared, hooks)?;
    Ok(done)
}

/// Links at most `least` items, or as many as are linked already if that is more. Returns their
/// number.
fn link_round(shared: &Arc<Shared>, least: u64, hooks: Hooks<'_>) -> Result<u64> {
    for _ in 0..CONCURRENT_ATTEMPTS {
        match shared.link(least, hooks) {
            Ok(Round::Done) => return Ok(0),
            Ok(Round::Linked(linked) | Round::LinkedAnew(linked)) => return Ok(linked),
            // Another process may have grown the map, which this one cannot adopt while this holds
            // a snapshot.
            Ok(Round::Outdated) | Err(Error::MapBusy { .. }) => {}
            // A build inside a write transaction needs no reader slot.
            Err(Error::ReadersFull { .. }) => break,
            Err(Error::MapFull) => shared.env.enlarge()?,
            Err(error) => return Err(error),
        }
    }
    shared.env.write::<u64, Error>(|txn| {
        let batch = Writes::new(txn, shared)?;
        let Some(meta) = read_meta(shared.place, batch.txn())? else {
            return batch.finish(Ok(0), None, hooks);
        };
        let limit = meta.round(least);
        let linked = limit.min(meta.pending.into());
        batch.finish(Ok(linked), Some(Goal::Part(limit)), hooks)
    })
}

/// Does what is left to the end of builds, if there is any: a load that has had nothing to link may
/// have brought enough items for codes.
pub(super) fn keep_up(shared: &Arc<Shared>, hooks: Hooks<'_>) -> Result<()> {
    let is_due = match shared.newest() {
        Ok(newest) => newest.meta().lacks_codes(shared.codes_from) || is_upkeep_due(newest.meta()),
        // A write finds out, as it needs no reader slot.
        Err(Error::ReadersFull { .. }) => true,
        Err(error) => return Err(error),
    };
    if is_due { build_now(shared, Goal::Kept, hooks) } else { Ok(()) }
}

pub(super) fn build_now(shared: &Arc<Shared>, goal: Goal, hooks: Hooks<'_>) -> Result<()> {
    shared.writable()?;
    shared.env.write::<(), Error>(|txn| Writes::new(txn, shared)?.finish(Ok(()), Some(goal), hooks))
}
