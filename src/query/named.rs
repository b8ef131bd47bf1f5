//! Queries of an index whose items are named by keys, on one snapshot. Its transaction is lent to
//! look up the keys of items.

use heed::RoTxn;
use roaring::RoaringBitmap;

use super::pinned::{Names, Work, look_by_ids};
use super::{Query, Target, answer_by_ids, answer_target};
use crate::error::{Error, Result};
use crate::filter::{Keys, Named};
use crate::format::item_keys::Naming;
use crate::item_key::{MAX_KEY_BYTES, NamePredicate, sealed};
use crate::search::{Due, Predicate, Request, Searched};
use crate::store::Place;
use crate::store::owned_snapshot::OwnedSnapshot;
use crate::store::sections::item_keys::known::Known;
use crate::store::sections::item_keys::rows::{ItemKeys, mistyped};
use crate::store::source::{Shared, Source};
use crate::store::view::View;
use crate::types::ItemId;

/// A transaction lent for a moment at a time: a view of the same snapshot needs it, too.
pub(crate) trait Lend {
    fn lend<T>(&self, work: impl FnOnce(&RoTxn<'_>) -> Result<T>) -> Result<T>;
}

impl Lend for OwnedSnapshot<'_> {
    fn lend<T>(&self, work: impl FnOnce(&RoTxn<'_>) -> Result<T>) -> Result<T> {
        self.lend(work)
    }
}

impl Lend for Shared<'_, '_> {
    fn lend<T>(&self, work: impl FnOnce(&RoTxn<'_>) -> Result<T>) -> Result<T> {
        self.lend(work)
    }
}

/// A transaction of the calling thread.
pub(crate) struct Lent<'a>(pub(crate) &'a RoTxn<'a>);

impl Lend for Lent<'_> {
    fn lend<T>(&self, work: impl FnOnce(&RoTxn<'_>) -> Result<T>) -> Result<T> {
        work(self.0)
    }
}

/// The number of candidates that are looked up by key between two looks at the clock.
const KEYS_BETWEEN_STOPS: usize = 256;

/// The number of keys that a prefix looks up while others wait for the transaction: a tenth of a
/// millisecond.
const KEYS_AHEAD: usize = 1024;

/// The keys of the items of one snapshot, looked up by a transaction that is lent.
struct LentKeys<'a, 's, 't, S, L> {
    keys: ItemKeys<'a>,
    /// A view that any thread can use, as any may ask a predicate.
    view: &'a View<'s, 't, S>,
    known: &'a Known<'t>,
    txn: &'a L,
    /// The prefix that the keys here are without.
    space: &'a [u8],
}

impl<'a, 's, 't, S: Source<'t>, L: Lend> LentKeys<'a, 's, 't, S, L> {
    fn new<K: sealed::Name + ?Sized>(
        view: &'a View<'s, 't, S>,
        place: Place<'a>,
        txn: &'a L,
        space: &'a [u8],
    ) -> Result<Self> {
        let keys = ItemKeys { place, naming: K::NAMING };
        let known = keys.known(view.snapshot, || txn.lend(|txn| keys.bound(txn)))?;
        Ok(Self { keys, view, known, txn, space })
    }

    /// The key of a result, which is in the space, without the prefix.
    fn key_of_result<V: Source<'t>>(&self, view: &View<'_, 't, V>, id: ItemId) -> Result<Vec<u8>> {
        let mut key = self.keys.key(view, self.known, id)?;
        if !key.starts_with(self.space) {
            return Err(mistyped(self.keys.place.index, id));
        }
        key.drain(..self.space.len());
        Ok(key)
    }
}

impl<'t, S: Source<'t>, L: Lend> Names for LentKeys<'_, '_, 't, S, L> {
    // Lent anew for each key: others wait for it.
    fn id(&self, key: &[u8]) -> Result<Option<ItemId>> {
        if self.space.is_empty() {
            return self.txn.lend(|txn| self.keys.id(txn, key));
        }
        let max = MAX_KEY_BYTES - self.space.len();
        if key.len() > max {
            return Err(Error::InvalidItemKey { bytes: key.len(), max });
        }
        self.txn.lend(|txn| self.keys.id(txn, &[self.space, key].concat()))
    }

    fn name(&self, id: ItemId) -> Result<Vec<u8>> {
        self.key_of_result(self.view, id)
    }
}

impl<'t, S: Source<'t>, L: Lend> Keys for LentKeys<'_, '_, 't, S, L> {
    fn space(&self) -> &[u8] {
        self.space
    }

    fn ids(&self, keys: &[Vec<u8>], due: Due) -> Result<RoaringBitmap> {
        let mut ids = RoaringBitmap::new();
        for keys in keys.chunks(KEYS_BETWEEN_STOPS) {
            if due.is_over() {
                break;
            }
            for key in keys {
                ids.extend(self.id(key)?);
            }
        }
        Ok(ids)
    }

    fn with_prefix(&self, prefix: &[u8], due: Due) -> Result<RoaringBitmap> {
        let prefix = [self.space, prefix].concat();
        let (mut ids, mut last) = (RoaringBitmap::new(), None);
        if prefix.len() > MAX_KEY_BYTES {
            // No key is as long, and LMDB refuses to look for one.
            return Ok(ids);
        }
        loop {
            let next = |txn: &RoTxn<'_>| {
                self.keys.with_prefix(txn, &prefix, last.as_deref(), KEYS_AHEAD, |id| {
                    ids.insert(id);
                })
            };
            last = self.txn.lend(next)?;
            if last.is_none() || due.is_over() {
                return Ok(ids);
            }
        }
    }
}

/// Runs a search with restrictions by key.
fn by_keys<'t, S, N, L, T>(
    view: &View<'_, 't, S>,
    keys: &LentKeys<'_, '_, 't, N, L>,
    named: &Named<'_>,
    request: Request<'_>,
    search: impl FnOnce(Request<'_>) -> Result<T>,
) -> Result<T>
where
    S: Source<'t>,
    N: Source<'t> + Sync,
    L: Lend,
{
    let LentKeys { keys: rows, view: names, known, space, .. } = *keys;
    let ask = named.predicate.map(|predicate: NamePredicate<'_>| {
        move |id| {
            // An item of another tenant is no result.
            let key = rows.key(names, known, id)?;
            let accepts = key.strip_prefix(space).map_or(Some(false), |key| predicate.ask(key));
            accepts.ok_or_else(|| mistyped(rows.place.index, id))
        }
    });
    let ask = ask.as_ref().map(|ask| ask as Predicate<'_>);
    named.resolve(view, request, keys, ask, search)
}

/// Answers a query on one snapshot, by the names of its items. `names` is a view of the same
/// snapshot that any thread can use to look up the keys that a predicate is asked about.
pub(crate) fn answer<'t, K, S, N, R>(
    (view, names): (&View<'_, 't, S>, &View<'_, 't, N>),
    place: Place<'_>,
    txn: &impl Lend,
    query: &Query<'_, R>,
    target: Target<'_>,
) -> Result<Option<Vec<Searched<K::Owned>>>>
where
    K: sealed::Bytes + ?Sized,
    S: Source<'t>,
    N: Source<'t> + Sync,
{
    if K::NAMING == Naming::Ids {
        let own = |id: ItemId| K::take(&id.to_be_bytes()).ok_or_else(|| mistyped(place.index, id));
        let found = answer_by_ids(view, query, target)?;
        return found.map(|all| all.into_iter().map(|one| one.name(own)).collect()).transpose();
    }
    let keys = LentKeys::new::<K>(names, place, txn, query.named.space)?;
    let found = by_keys(view, &keys, &query.named, query.request, |request| {
        answer_target(view, request, target, |key| keys.id(key))
    })?;
    // By the view that has a transaction.
    let key = |id| keys.key_of_result(view, id);
    let name = |id| K::take(&key(id)?).ok_or_else(|| mistyped(place.index, id));
    found.map(|all| all.into_iter().map(|one| one.name(name)).collect()).transpose()
}

/// Looks at one snapshot, whose items are named by `K`. `names` as for [`answer`].
pub(crate) fn look<'t, K, S, N>(
    (view, names): (&View<'_, 't, S>, &View<'_, 't, N>),
    place: Place<'_>,
    txn: &impl Lend,
    work: Work<'_>,
) -> Result<()>
where
    K: sealed::Bytes + ?Sized,
    S: Source<'t>,
    N: Source<'t> + Sync,
{
    if K::NAMING == Naming::Ids {
        return look_by_ids(view, work);
    }
    let Work { named, request, run } = work;
    let keys = LentKeys::new::<K>(names, place, txn, named.space)?;
    // By the view that has a transaction.
    let shown = LentKeys { keys: keys.keys, view, known: keys.known, txn, space: keys.space };
    by_keys(view, &keys, named, request, |request| run(view.on_any_source(), request, &shown))
}
