//! A snapshot that holds its transaction open: it can be kept as long as one likes, shared between
//! threads and sent to others.
//!
//! [`Snapshot<'t>`](Snapshot) borrows a transaction for `'t`; a [`OwnedSnapshot`] has a share of
//! one, so no lifetime of Rust says how long its pointers hold. It uses `'static` in that place,
//! which here means *as long as the `OwnedSnapshot` lives*, and keeps it to itself: what it gives
//! out is a [`View`], and everything that takes a view is generic over its lifetime and returns
//! values that do not mention it.
//!
//! A commit is one of all indexes of an environment, so the snapshots of all of them can share one
//! [`SharedTxn`], which takes one entry of LMDB's table of readers. Values that no table has yet
//! are looked up through it, by one thread at a time: behind a mutex, for as long as a walk down a
//! B-tree. A search of a snapshot that has been used for a while does not take it. Whoever has more
//! to look up lets others in between.
//!
//! LMDB refuses a transaction for good in which it has met damage. What shares it must not notice,
//! so another transaction takes its place where there can be one on the same commit.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use heed::{Env, MdbError, RoTxn, WithoutTls};

use super::Place;
use super::process::OfProcess;
use super::snapshot::Snapshot;
use super::source::{Source, Verified, extend};
use super::table::Memory;
use super::view::View;
use crate::error::{Error, Result};
use crate::format::delta::{self, Delta, Deltas, REMEMBERED_COMMITS};
use crate::format::meta::{Connectivity, Meta, VERSION};
use crate::format::{Key, Kind};

/// A snapshot with fewer values is not worth remembering: to find them again takes microseconds.
const FEW_VALUES: usize = 64;

/// A transaction that owns its part of the environment.
pub(crate) type ReadTxn = OfProcess<RoTxn<'static, WithoutTls>>;

/// A read transaction that any number of snapshots of its commit share.
#[derive(Debug)]
pub(crate) struct SharedTxn {
    // In this order: who counts transactions is told when it has ended.
    txn: Mutex<ReadTxn>,
    id: usize,
    /// Where another one begins.
    env: Option<OfProcess<Env<WithoutTls>>>,
    /// The error for which LMDB refuses the transaction from then on.
    defect: OnceLock<MdbError>,
    _count: Box<dyn Any + Send + Sync>,
}

impl SharedTxn {
    /// A transaction that one snapshot uses.
    pub(crate) fn alone(txn: ReadTxn) -> Self {
        Self {
            id: txn.id(),
            txn: Mutex::new(txn),
            env: None,
            defect: OnceLock::new(),
            _count: Box::new(()),
        }
    }

    /// A transaction of `env` that many snapshots use. `count` is dropped when it has ended.
    pub(crate) fn new(txn: ReadTxn, env: Env<WithoutTls>, count: impl Any + Send + Sync) -> Self {
        Self { env: Some(OfProcess::new(env)), _count: Box::new(count), ..Self::alone(txn) }
    }

    /// The number of the commit.
    #[inline]
    pub(crate) fn id(&self) -> usize {
        self.id
    }

    /// Whether LMDB refuses it: it is of no use to others.
    #[inline]
    pub(crate) fn is_defective(&self) -> bool {
        self.defect.get().is_some()
    }

    /// The transaction, for one thread at a time.
    ///
    /// # Errors
    /// Those of `work`. One of LMDB is that which `work` has met, or, where it has met that LMDB
    /// refuses the transaction, the one that is the reason.
    pub(crate) fn lend<T>(&self, work: impl FnOnce(&ReadTxn) -> Result<T>) -> Result<T> {
        let mut txn = self.txn.lock().unwrap_or_else(PoisonError::into_inner);
        match work(&txn) {
            Err(Error::Heed(heed::Error::Mdb(error))) => {
                let cause = self.defect.get().copied().unwrap_or(error);
                if let Some(another) = self.another() {
                    // The old one ends here: pages that were found through it are kept by this one.
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
    /// known to be of no use. Begins beside this one, which is counted, so that the map stays where
    /// it is.
    fn another(&self) -> Option<ReadTxn> {
        let env = self.env.as_ref().filter(|env| env.check().is_ok() && !self.is_defective())?;
        let txn = OfProcess::new((**env).clone().static_read_txn().ok()?);
        (txn.id() == self.id).then_some(txn)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct OwnedSnapshot<'e> {
    // In this order: pointers are gone before the transaction that they hold by.
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
            // SAFETY: the reference is used in this call only, in which the transaction is locked
            // and stays where it is. What outlives the call is the lifetime of the snapshot's
            // pointers, of which there are none yet. Those that its tables will hold come from
            // `OwnedSource` below, through the same `SharedTxn`, or from `carry`. It has a read
            // transaction on this commit open as long as it lives, which is longer than the
            // snapshot that is looked at through this struct, where the share of it is dropped
            // after the snapshot.
            Snapshot::open(place, unsafe { &*borrowed }, memory)
        })?;
        Ok(Self { snapshot: Arc::new(snapshot), txn, place })
    }

    /// Where everything is that has been found, to be used by a later snapshot. It may outlive this
    /// one.
    pub(crate) fn tables(&self) -> Tables {
        Tables(Arc::clone(&self.snapshot))
    }

    /// Takes over what an earlier snapshot has found and what no commit has rewritten since.
    /// O(values), some ten microseconds for a million items.
    ///
    /// # Safety
    /// The map has not been moved since, and both snapshots are of one environment and index.
    pub(crate) unsafe fn carry(&self, Tables(earlier): &Tables) -> Result<()> {
        // What writes earlier versions says what it rewrites where this one does not look.
        if earlier.meta.version < VERSION || self.snapshot.meta.version < VERSION {
            return Ok(());
        }
        self.lend(|txn| {
            let rewritten =
                rewritten_between(self.place, txn, earlier.id as u64, self.id() as u64)?;
            let Some(rewritten) = rewritten else { return Ok(()) };
            // Whoever has changed META has changed more, and must have said so.
            if rewritten.is_none() && earlier.meta != self.snapshot.meta {
                return Ok(());
            }
            let rewritten = rewritten.unwrap_or_default();
            let page_bytes = self.place.raw.stat(txn)?.page_size as usize;
            // SAFETY: a value that no commit between the two has put or deleted, and that has pages
            // to itself, is the same pages in both snapshots, in a map that is where it was. Every
            // commit that changes an index says in its DELTA value what it rewrites, and there is
            // one for each of them. The pages are not used again as long as the transaction of this
            // snapshot is open: see `OwnedSource`.
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

    /// The number of the transaction.
    #[inline]
    pub(crate) fn id(&self) -> usize {
        self.snapshot.id
    }

    /// The transaction, for one thread at a time, of all that share it: for no longer than a few
    /// values take to look up.
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

    /// Whether this is a snapshot that can be shared of the commit with a number.
    #[inline]
    pub(crate) fn is_of(&self, commit: usize) -> bool {
        self.id() == commit && !self.is_defective()
    }

    /// Whether it holds by this transaction.
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

    /// The snapshot as graph and vectors, for any thread.
    #[inline]
    pub(crate) fn view(&self) -> View<'_, 'static, OwnedSource<'_, 'e>> {
        View::new(&self.snapshot, OwnedSource(self))
    }

    /// The same for a build, whose result is written: see [`Verified`]. For a snapshot that was
    /// opened for it, and that nothing else has looked values up in.
    pub(crate) fn verified_view(
        &self,
        memory: Memory,
    ) -> View<'_, 'static, Verified<OwnedSource<'_, 'e>>> {
        View::new(&self.snapshot, Verified::new(OwnedSource(self), memory))
    }
}

/// Where everything was that a snapshot had found. Nothing is read through it: the transaction may
/// have ended.
#[derive(Debug, Clone)]
pub(crate) struct Tables(Arc<Snapshot<'static>>);

impl Tables {
    /// Whether a snapshot of commit `newest` or a later one gains by them: idle indexes must not
    /// keep what is of no use.
    pub(crate) fn are_of_use(&self, newest: usize) -> bool {
        self.0.id as u64 + REMEMBERED_COMMITS >= newest as u64 && self.0.values() >= FEW_VALUES
    }
}

/// The numbers of values that have been rewritten, by kind.
type Rewritten = BTreeMap<Kind, Vec<u32>>;

/// What the commits after `earlier` up to `later` have rewritten, by kind, or nothing if none of
/// them says that it has changed the index. `None` if nobody can tell.
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
        // What would be carried over by a damaged one may lie on pages of others.
        let sound = match place.sound(txn, delta::key(transaction)) {
            Ok(Some(sound)) => sound,
            Ok(None) => continue,
            Err(Error::Corrupt { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Ok((found, deltas)) = Deltas::decode(sound.body()) else { return Ok(None) };
        if found != transaction {
            continue;
        }
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

/// The transaction of a held snapshot as the source of its values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OwnedSource<'a, 'e>(&'a OwnedSnapshot<'e>);

impl Source<'static> for OwnedSource<'_, '_> {
    #[inline(never)]
    fn get(&self, key: Key) -> Result<Option<&'static [u8]>> {
        let Self(held) = self;
        held.lend(|txn| {
            let value = held.place.find(txn, key)?;
            // SAFETY: a read transaction of its own sees the pages of the map, which LMDB does not
            // reuse while it is open, and which stay where they are, as the map is moved only when
            // this process has no transaction (`index/environment/resize.rs`). A transaction on
            // this commit is open as long as the `SharedTxn` lives: where another one takes its
            // place, that is of the same commit, and has begun before the first ends. The
            // `OwnedSnapshot` has a share of it as long as it lives, which is what 'static stands
            // for here: `OwnedSource` borrows the `OwnedSnapshot`, and a `View` with it is the only
            // way to what it returns.
            Ok(value.map(|bytes| unsafe { extend(bytes) }))
        })
    }
}
