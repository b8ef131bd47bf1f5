//! An MVCC snapshot that owns its read transaction: it can be kept for any time, shared between
//! threads and sent to others.
//!
//! [`Snapshot<'t>`](Snapshot) borrows a transaction for `'t`; an [`OwnedSnapshot`] owns a share of
//! one, so no lifetime of Rust says how long its pointers are valid. It uses `'static` in that
//! place, which here means *as long as the `OwnedSnapshot` lives*, and does not expose it: it hands
//! out only a [`View`], and everything that takes a view is generic over its lifetime and returns
//! values that do not mention it.
//!
//! A commit covers all indexes of an environment, so the snapshots of all of them can share one
//! [`SharedTxn`], which takes one entry of LMDB's reader table. Values that are not in a pointer
//! table yet are looked up through it by one thread at a time, behind a mutex that is held for one
//! descent of the B-tree. A search of a warm snapshot does not take the mutex. Longer work releases
//! it between lookups.
//!
//! Once a transaction has met damage, LMDB refuses all further use of it. Other owners of the share
//! must not notice, so it is replaced by another transaction on the same commit, where there can be
//! one.

use std::any::Any;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use heed::{Env, MdbError, RoTxn, WithoutTls};

use super::Place;
use super::process::OfProcess;
use super::readahead::residency::Residency;
use super::snapshot::Snapshot;
use super::source::{Source, SourceRow, Verified, extend, rows_in};
use super::table::Memory;
use super::target::deltas;
use super::view::View;
use crate::error::{Error, Result};
use crate::format::delta::{Delta, REMEMBERED_COMMITS};
use crate::format::meta::{Connectivity, Meta};
use crate::format::{Key, Kind};

/// Pointer tables with fewer values are not worth keeping: finding them again takes microseconds.
const FEW_VALUES: usize = 64;

/// A read transaction that owns its handle of the environment.
pub(crate) type ReadTxn = OfProcess<RoTxn<'static, WithoutTls>>;

/// A read transaction that is shared by any number of snapshots of its commit.
#[derive(Debug)]
pub(crate) struct SharedTxn {
    // Dropped in this order: the transaction counter is told after the transaction has ended.
    txn: Mutex<ReadTxn>,
    id: usize,
    /// The environment in which a replacement begins.
    env: Option<OfProcess<Env<WithoutTls>>>,
    /// The error after which LMDB refuses the transaction.
    defect: OnceLock<MdbError>,
    _count: Box<dyn Any + Send + Sync>,
}

impl SharedTxn {
    /// A transaction that only one snapshot uses.
    pub(crate) fn alone(txn: ReadTxn) -> Self {
        Self {
            id: txn.id(),
            txn: Mutex::new(txn),
            env: None,
            defect: OnceLock::new(),
            _count: Box::new(()),
        }
    }

    /// A transaction of `env` that many snapshots use. `count` is dropped after it has ended.
    pub(crate) fn new(txn: ReadTxn, env: Env<WithoutTls>, count: impl Any + Send + Sync) -> Self {
        Self { env: Some(OfProcess::new(env)), _count: Box::new(count), ..Self::alone(txn) }
    }

    /// The id of the commit.
    #[inline]
    pub(crate) fn id(&self) -> usize {
        self.id
    }

    /// Whether LMDB refuses the transaction: others must not share it.
    #[inline]
    pub(crate) fn is_defective(&self) -> bool {
        self.defect.get().is_some()
    }

    /// Runs `work` with the transaction, for one thread at a time.
    ///
    /// # Errors
    /// Those of `work`. If it is LMDB's refusal of the transaction, the original error is returned
    /// in its place.
    pub(crate) fn lend<T>(&self, work: impl FnOnce(&ReadTxn) -> Result<T>) -> Result<T> {
        let mut txn = self.txn.lock().unwrap_or_else(PoisonError::into_inner);
        match work(&txn) {
            Err(Error::Heed(heed::Error::Mdb(error))) => {
                let cause = self.defect.get().copied().unwrap_or(error);
                if let Some(another) = self.another() {
                    // The old transaction ends here; the new one protects the pages that were found
                    // through it.
                    *txn = another;
                } else {
                    _ = self.defect.set(cause);
                }
                Err(heed::Error::Mdb(cause).into())
            }
            result => result,
        }
    }

    /// Another transaction on the same commit, if that is still the newest and this one is not
    /// known to be defective. It begins while this one, which is counted, is open, so that the map
    /// stays where it is.
    fn another(&self) -> Option<ReadTxn> {
        let env = self.env.as_ref().filter(|env| env.check().is_ok() && !self.is_defective())?;
        let txn = OfProcess::new((**env).clone().static_read_txn().ok()?);
        (txn.id() == self.id).then_some(txn)
    }
}

/// An owned snapshot: see the module.
#[derive(Debug)]
pub(crate) struct OwnedSnapshot<'e> {
    // Dropped in this order: the pointers are gone before the transaction that protects them.
    snapshot: Arc<Snapshot<'static>>,
    txn: Arc<SharedTxn>,
    place: Place<'e>,
}

impl<'e> OwnedSnapshot<'e> {
    /// # Errors
    /// Those of [`Snapshot::open`].
    pub(crate) fn open(place: Place<'e>, txn: Arc<SharedTxn>, memory: Memory) -> Result<Self> {
        let snapshot = txn.lend(|txn| {
            let borrowed: *const RoTxn<'_> = &raw const ***txn;
            // SAFETY: the reference is used only in this call, during which the transaction is
            // locked and does not move. What outlives the call is the lifetime of the snapshot's
            // pointers, of which there are none yet. Later pointers in its tables come from
            // `OwnedSource` below, through the same `SharedTxn`, or from `carry`. The `SharedTxn`
            // keeps a read transaction on this commit open as long as it lives, which is longer
            // than the snapshot can be reached through this struct, as the share of it is dropped
            // after the snapshot.
            Snapshot::open(place, unsafe { &*borrowed }, memory)
        })?;
        Ok(Self { snapshot: Arc::new(snapshot), txn, place })
    }

    /// The same with what is known of the part of the index that is in memory.
    pub(crate) fn with_residency(mut self, residency: Arc<Residency>) -> Self {
        if let Some(snapshot) = Arc::get_mut(&mut self.snapshot) {
            snapshot.residency = Some(residency);
        }
        self
    }

    /// The pointer tables, for a later snapshot. They may outlive this one.
    pub(crate) fn tables(&self) -> Tables {
        Tables(Arc::clone(&self.snapshot))
    }

    /// Carries over the pointers that an earlier snapshot has found and no commit has rewritten
    /// since. O(values), some ten microseconds for a million items.
    ///
    /// # Safety
    /// The map has not been moved since, and both snapshots are of one environment and index.
    pub(crate) unsafe fn carry(&self, Tables(earlier): &Tables) -> Result<()> {
        // Earlier versions write their DELTA values to keys that this version does not read.
        if earlier.meta.is_without_parts() || self.snapshot.meta.is_without_parts() {
            return Ok(());
        }
        self.lend(|txn| {
            let rewritten =
                rewritten_between(self.place, txn, earlier.id as u64, self.id() as u64)?;
            let Some(rewritten) = rewritten else { return Ok(()) };
            // A commit that has changed META has changed the index, and must be listed in DELTA.
            if rewritten.is_none() && earlier.meta != self.snapshot.meta {
                return Ok(());
            }
            let rewritten = rewritten.unwrap_or_default();
            let page_bytes = self.place.raw.stat(txn)?.page_size as usize;
            // SAFETY: a value that no commit between the two has put or deleted, and that has pages
            // to itself, is the same pages in both snapshots, in a map that has not moved. Every
            // commit that changes an index lists in its DELTA value what it rewrites, and there is
            // one DELTA for each of them. The pages are not reused as long as the transaction of
            // this snapshot is open: see `OwnedSource`.
            unsafe { self.snapshot.carry(earlier, &rewritten, page_bytes) };
            debug_assert!(
                self.snapshot.is_where(self.place, txn)?,
                "a value that was carried over lies elsewhere"
            );
            Ok(())
        })
    }

    pub(crate) fn meta(&self) -> &Meta {
        &self.snapshot.meta
    }

    /// The id of the transaction.
    #[inline]
    pub(crate) fn id(&self) -> usize {
        self.snapshot.id
    }

    /// The slots of live items that are not in the graph, ascending.
    pub(crate) fn pending(&self) -> &[u32] {
        &self.snapshot.pending
    }

    pub(crate) fn memory(&self) -> Memory {
        self.snapshot.memory
    }

    /// Whether no commit after `commit` has changed the index, as far as DELTA tells.
    pub(crate) fn is_unchanged_since(&self, commit: usize) -> Result<bool> {
        if commit == self.id() {
            return Ok(true);
        }
        let (from, to) = (commit as u64, self.id() as u64);
        let rewritten = self.lend(|txn| rewritten_between(self.place, txn, from, to))?;
        Ok(!self.snapshot.meta.is_without_parts() && matches!(rewritten, Some(None)))
    }

    /// Runs `work` with the transaction, for one thread at a time among all that share it: it must
    /// take no longer than a few lookups.
    ///
    /// # Errors
    /// Those of [`SharedTxn::lend`].
    pub(crate) fn lend<T>(&self, work: impl FnOnce(&RoTxn<'_>) -> Result<T>) -> Result<T> {
        self.txn.lend(|txn| work(txn))
    }

    /// Whether LMDB refuses the transaction.
    pub(crate) fn is_defective(&self) -> bool {
        self.txn.is_defective()
    }

    /// Whether this snapshot is of this commit, and can be shared.
    #[inline]
    pub(crate) fn is_of(&self, commit: usize) -> bool {
        self.id() == commit && !self.is_defective()
    }

    /// Whether it shares this transaction.
    pub(crate) fn shares(&self, txn: &Arc<SharedTxn>) -> bool {
        Arc::ptr_eq(&self.txn, txn)
    }

    pub(crate) fn place(&self) -> Place<'e> {
        self.place
    }

    /// See [`Snapshot::prepare_build`].
    pub(crate) fn prepare_build(&mut self, connectivity: Connectivity, anew: bool) {
        if let Some(snapshot) = Arc::get_mut(&mut self.snapshot) {
            snapshot.prepare_build(connectivity, anew);
        }
    }

    /// A view for any thread.
    #[inline]
    pub(crate) fn view(&self) -> View<'_, 'static, OwnedSource<'_, 'e>> {
        View::new(&self.snapshot, OwnedSource(self))
    }

    /// A verifying view for a build, whose result is written: see [`Verified`]. The snapshot must
    /// have been opened for this, and no values looked up in it through another source.
    pub(crate) fn verified_view(
        &self,
        memory: Memory,
    ) -> View<'_, 'static, Verified<OwnedSource<'_, 'e>>> {
        View::new(&self.snapshot, Verified::new(OwnedSource(self), memory))
    }
}

/// The pointer tables of a snapshot. They are not dereferenced: the transaction may have ended.
#[derive(Debug, Clone)]
pub(crate) struct Tables(Arc<Snapshot<'static>>);

impl Tables {
    /// Whether a snapshot of commit `newest` or later can use these tables: idle indexes must not
    /// keep useless ones.
    pub(crate) fn are_of_use(&self, newest: usize) -> bool {
        self.0.id as u64 + REMEMBERED_COMMITS >= newest as u64 && self.0.values() >= FEW_VALUES
    }
}

/// The numbers of rewritten values, by kind.
type Rewritten = BTreeMap<Kind, Vec<u32>>;

/// The values that the commits after `earlier` up to `later` have rewritten, by kind. The inner
/// `None`: no commit says that it has changed the index. The outer `None`: unknown.
fn rewritten_between(
    place: Place<'_>,
    txn: &RoTxn<'_>,
    earlier: u64,
    later: u64,
) -> Result<Option<Option<Rewritten>>> {
    if earlier > later || later - earlier > REMEMBERED_COMMITS {
        return Ok(None);
    }
    let mut rewritten: Option<Rewritten> = None;
    for transaction in earlier + 1..=later {
        let Some(deltas) = deltas(place.raw, txn, transaction)? else { continue };
        match deltas.of(place.index) {
            None => {}
            Some(Delta::Values(values)) => {
                let all = rewritten.get_or_insert_default();
                for (kind, numbers) in values {
                    all.entry(kind).or_default().extend(numbers);
                }
            }
            Some(Delta::Everything) => return Ok(None),
        }
    }
    Ok(Some(rewritten))
}

/// The source of an owned snapshot: looks values up through its transaction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OwnedSource<'a, 'e>(&'a OwnedSnapshot<'e>);

impl Source<'static> for OwnedSource<'_, '_> {
    #[inline(never)]
    fn get(&self, key: Key) -> Result<Option<&'static [u8]>> {
        let Self(held) = self;
        held.lend(|txn| {
            let value = held.place.find(txn, key)?;
            // SAFETY: a read transaction with a reader-table entry of its own sees the pages of the
            // map, which LMDB does not reuse while it is open, and which do not move, as the map is
            // moved only when this process has no transaction (`index/environment/resize.rs`). A
            // transaction on this commit is open as long as the `SharedTxn` lives: a replacement is
            // of the same commit, and has begun before the first ends. The `OwnedSnapshot` has a
            // share of it as long as it lives, which is what 'static stands for here: `OwnedSource`
            // borrows the `OwnedSnapshot`, and a `View` with it is the only way to what it returns.
            Ok(value.map(|bytes| unsafe { extend(bytes) }))
        })
    }

    fn values(&self, first: Key, last: Key, most: usize) -> Result<Vec<(Key, &'static [u8])>> {
        let Self(held) = self;
        held.lend(|txn| {
            let values = held.place.entries(txn, first, last)?.take(most);
            // SAFETY: as in `get`.
            values.map(|value| value.map(|(key, bytes)| (key, unsafe { extend(bytes) }))).collect()
        })
    }

    fn rows(
        &self,
        first: Bound<&[u8]>,
        last: Bound<&[u8]>,
        is_reversed: bool,
        most: usize,
    ) -> Result<Vec<SourceRow<'static>>> {
        let Self(held) = self;
        held.lend(|txn| {
            let rows = rows_in(held.place, txn, (first, last), is_reversed, most)?.into_iter();
            // SAFETY: as in `get`; keys lie in the same pages.
            Ok(rows.map(|(key, value)| unsafe { (extend(key), extend(value)) }).collect())
        })
    }
}
