//! A snapshot that owns its transaction: it can be kept as long as one likes, shared between threads and sent to others.
//!
//! [`Snapshot<'t>`](Snapshot) borrows a transaction for `'t`; a [`Held`] has both, so no lifetime of Rust says how long its pointers hold. It
//! uses `'static` in that place, which here means *as long as the `Held` lives*, and keeps it to itself: what it gives out is a [`View`], and
//! everything that takes a view is generic over its lifetime and returns values that do not mention it.
//!
//! Values that no table has yet are looked up through the transaction, which one thread may use at a time: behind a mutex. A search of a
//! snapshot that has been used for a while does not take it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use heed::{RoTxn, WithoutTls};

use super::Place;
use super::process::OfProcess;
use super::snapshot::Snapshot;
use super::source::{Source, extend};
use super::table::Extent;
use super::view::View;
use crate::Result;
use crate::distance::Distance;
use crate::format::delta::{Delta, LISTS, RING};
use crate::format::meta::{Connectivity, Meta};
use crate::format::{Key, Kind, checksum};

/// A transaction that owns its part of the environment.
pub(crate) type ReadTxn = OfProcess<RoTxn<'static, WithoutTls>>;

/// See the module.
#[derive(Debug)]
pub(crate) struct Held<'e> {
    // In this order: pointers are gone before the transaction that they hold by.
    snapshot: Arc<Snapshot<'static>>,
    txn: Mutex<ReadTxn>,
    place: Place<'e>,
}

impl<'e> Held<'e> {
    /// # Errors
    /// Those of [`Snapshot::open`].
    pub(crate) fn open<D: Distance>(place: Place<'e>, txn: ReadTxn, extent: Extent) -> Result<Self> {
        let borrowed: *const RoTxn<'_> = &raw const **txn;
        // SAFETY: the reference is used in this call only, in which `txn` stays where it is. What outlives the call is the lifetime of the
        // snapshot's pointers, of which there are none yet. Those that its tables will hold come from `Own` below, through the same
        // transaction: it is never written through, lives in the same struct, and is dropped after the snapshot.
        let snapshot = Snapshot::open::<D>(place, unsafe { &*borrowed }, extent)?;
        Ok(Self { snapshot: Arc::new(snapshot), txn: Mutex::new(txn), place })
    }

    /// Where everything is that has been found, to be used by a later snapshot. It may outlive this one.
    pub(crate) fn tables(&self) -> Tables {
        Tables(Arc::clone(&self.snapshot))
    }

    /// Takes over what an earlier snapshot has found and what no commit has rewritten since. O(values), some ten microseconds for a million items.
    ///
    /// # Safety
    /// The map has not been moved since, and both snapshots are of one environment and index.
    pub(crate) unsafe fn carry(&self, Tables(earlier): &Tables) -> Result<()> {
        let txn = self.txn();
        let Some(rewritten) = rewritten_between(self.place, &txn, earlier.id as u64, self.id() as u64)? else { return Ok(()) };
        let page_bytes = self.place.raw.stat(&txn)?.page_size as usize;
        // SAFETY: a value that no commit between the two has put or deleted, and that has pages to itself, is the same pages in both snapshots,
        // in a map that is where it was. Every commit that changes an index says in its DELTA value what it rewrites, and there is one
        // for each of them. The pages are not used again as long as the transaction of this snapshot is open: see `Own`.
        unsafe { self.snapshot.carry(earlier, &rewritten, page_bytes) };
        debug_assert!(self.snapshot.is_where(self.place, &txn)?, "a value that was carried over lies elsewhere");
        Ok(())
    }

    pub(crate) fn meta(&self) -> &Meta {
        &self.snapshot.meta
    }

    /// The number of the transaction.
    #[inline]
    pub(crate) fn id(&self) -> usize {
        self.snapshot.id
    }

    /// The transaction, for one thread at a time.
    pub(crate) fn txn(&self) -> MutexGuard<'_, ReadTxn> {
        self.txn.lock().unwrap_or_else(PoisonError::into_inner)
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
    pub(crate) fn view<D: Distance>(&self) -> View<'_, 'static, D, Own<'_, 'e>> {
        View::new(&self.snapshot, Own(self))
    }
}

/// Where everything was that a snapshot had found. Nothing is read through it: the transaction may have ended.
#[derive(Debug, Clone)]
pub(crate) struct Tables(Arc<Snapshot<'static>>);

/// What the commits after `earlier` up to `later` have rewritten, list by list. `None` if nobody can tell.
fn rewritten_between(place: Place<'_>, txn: &RoTxn<'_>, earlier: u64, later: u64) -> Result<Option<[Vec<u32>; LISTS]>> {
    if earlier > later || later - earlier > RING {
        return Ok(None);
    }
    let mut rewritten = [const { Vec::new() }; LISTS];
    for transaction in earlier + 1..=later {
        let key = Key::new(place.index, Kind::Delta, 0, (transaction % RING) as u32);
        let Some(value) = place.get(txn, key)? else { continue };
        match Delta::decode(checksum::body(value)) {
            Ok((found, _)) if found != transaction => {}
            Ok((_, Delta::Values(values))) => rewritten.iter_mut().zip(values).for_each(|(all, values)| all.extend(values)),
            Ok((_, Delta::Everything)) | Err(_) => return Ok(None),
        }
    }
    Ok(Some(rewritten))
}

/// The transaction of a held snapshot as the source of its values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Own<'a, 'e>(&'a Held<'e>);

impl Source<'static> for Own<'_, '_> {
    #[inline(never)]
    fn get(&self, key: Key) -> Result<Option<&'static [u8]>> {
        let txn = self.0.txn();
        let value = self.0.place.find(&txn, key)?;
        // SAFETY: a read transaction of its own sees the pages of the map, which LMDB does not reuse while it is open, and which stay where they
        // are, as the map is moved only when this process has no transaction (`index/environment.rs`). The transaction is open as long as the
        // `Held` lives, which is what 'static stands for here: `Own` borrows the `Held`, and a `View` with it is the only way to what it returns.
        Ok(value.map(|bytes| unsafe { extend(bytes) }))
    }
}
