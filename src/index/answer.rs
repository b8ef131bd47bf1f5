//! Answers the queries of indexes, snapshots and batches, on one snapshot. Its transaction is lent
//! to look up the keys of items, where those have keys.

use heed::RoTxn;
use roaring::RoaringBitmap;

use super::environment::WriteTxn;
use super::{Batch, Index, Snapshot};
use crate::error::{Error, Result};
use crate::filter::Keys;
use crate::format::item_keys::{Naming, Row};
use crate::item_key::{ItemName, sealed};
use crate::query::{Answer, Query, Searchable, Target, answer_by_ids, answer_target};
use crate::search::{Predicate, Searched};
use crate::store::Place;
use crate::store::owned_snapshot::OwnedSnapshot;
use crate::store::sections::item_keys::rows::ItemKeys;
use crate::store::source::{Shared, Source, Warm};
use crate::store::view::View;
use crate::types::ItemId;

/// A transaction lent for a moment at a time: a view of the same snapshot needs it, too.
trait Lend {
    fn lend<T>(&self, work: impl FnOnce(&RoTxn<'_>) -> Result<T>) -> Result<T>;
}

impl Lend for OwnedSnapshot<'_> {
    fn lend<T>(&self, work: impl FnOnce(&RoTxn<'_>) -> Result<T>) -> Result<T> {
        self.lend(work)
    }
}

impl Lend for WriteTxn<'_> {
    fn lend<T>(&self, work: impl FnOnce(&RoTxn<'_>) -> Result<T>) -> Result<T> {
        work(self)
    }
}

impl Lend for Shared<'_, '_> {
    fn lend<T>(&self, work: impl FnOnce(&RoTxn<'_>) -> Result<T>) -> Result<T> {
        self.lend(work)
    }
}

/// The number of keys that a prefix looks up while others wait for the transaction: a tenth of a
/// millisecond.
const KEYS_AHEAD: usize = 1024;

/// Lookups of keys by a transaction that is lent.
struct LentKeys<'a, L> {
    keys: ItemKeys<'a>,
    txn: &'a L,
}

impl<L: Lend> LentKeys<'_, L> {
    // Lent anew for each key: others wait for it.
    fn id(&self, key: &[u8]) -> Result<Option<ItemId>> {
        self.txn.lend(|txn| self.keys.id(txn, key))
    }
}

impl<L: Lend> Keys for LentKeys<'_, L> {
    fn ids(&self, keys: &[Vec<u8>]) -> Result<RoaringBitmap> {
        keys.iter().filter_map(|key| self.id(key).transpose()).collect()
    }

    fn with_prefix(&self, prefix: &[u8]) -> Result<RoaringBitmap> {
        let (mut ids, mut last) = (RoaringBitmap::new(), None);
        loop {
            let next = |txn: &RoTxn<'_>| {
                self.keys.with_prefix(txn, prefix, last.as_deref(), KEYS_AHEAD, |id| {
                    ids.insert(id);
                })
            };
            last = self.txn.lend(next)?;
            if last.is_none() {
                return Ok(ids);
            }
        }
    }
}

/// Answers a query on one snapshot, by the names of its items. `names` is a view of the same
/// snapshot that any thread can use to look up the keys that a predicate is asked about.
fn answer<'t, K, S, N, R>(
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
    let mistyped = |id: ItemId| {
        Error::corrupt(Row::name_of(place.index, id), "its key is not of the type of the index")
    };
    if K::NAMING == Naming::Ids {
        let own = |id: ItemId| K::take(&id.to_be_bytes()).ok_or_else(|| mistyped(id));
        let found = answer_by_ids(view, query, target)?;
        return found.map(|all| all.into_iter().map(|one| one.name(own)).collect()).transpose();
    }
    let keys = ItemKeys { place, naming: K::NAMING };
    let lent = LentKeys { keys, txn };
    let known = keys.known(view.snapshot, || txn.lend(|txn| keys.bound(txn)))?;
    let ask = query.named.predicate.map(|predicate| {
        move |id| predicate.ask(keys.key(names, known, id)?).ok_or_else(|| mistyped(id))
    });
    let ask = ask.as_ref().map(|ask| ask as Predicate<'_>);
    let found = query.named.resolve(view, query.request, &lent, ask, |request| {
        answer_target(view, request, target, |key| lent.id(key))
    })?;
    let name = |id| K::take(keys.key(view, known, id)?).ok_or_else(|| mistyped(id));
    found.map(|all| all.into_iter().map(|one| one.name(name)).collect()).transpose()
}

fn answer_held<K: sealed::Bytes + ?Sized, R>(
    held: &OwnedSnapshot<'static>,
    query: &Query<'_, R>,
    target: Target<'_>,
) -> Result<Option<Vec<Searched<K::Owned>>>> {
    let view = held.view();
    answer::<K, _, _, _>((&view, &view), held.place(), held, query, target)
}

impl<D, K: ItemName + sealed::Bytes + ?Sized> Searchable for Index<D, K> {
    type Key = K;

    fn answer(query: &Query<'_, Self>, target: Target<'_>) -> Result<Option<Vec<Answer<Self>>>> {
        query.searched.shared.search(|held| answer_held::<K, _>(held, query, target))
    }
}

impl<D, K: ItemName + sealed::Bytes + ?Sized> Searchable for Snapshot<D, K> {
    type Key = K;

    fn answer(query: &Query<'_, Self>, target: Target<'_>) -> Result<Option<Vec<Answer<Self>>>> {
        query.searched.check_process()?;
        let _searching = query.searched.searching();
        answer_held::<K, _>(query.searched.held(), query, target)
    }
}

impl<D, K: ItemName + sealed::Bytes + ?Sized> Searchable for Batch<'_, D, K> {
    type Key = K;

    fn answer(query: &Query<'_, Self>, target: Target<'_>) -> Result<Option<Vec<Answer<Self>>>> {
        let writes = &query.searched.writes;
        let reader = writes.reader()?;
        let view = reader.view(writes.txn())?;
        let (place, txn) = (writes.place(), writes.txn());
        if query.named.predicate.is_none() {
            let names = View::new(view.snapshot, Warm::default());
            return answer::<K, _, _, _>((&view, &names), place, txn, query, target);
        }
        // A write transaction stays on its thread, a nested read transaction does not, and is all
        // that can be read while it is open.
        let nested = Shared::new(place, txn)?;
        let view = View::new(view.snapshot, &nested);
        answer::<K, _, _, _>((&view, &view), place, &nested, query, target)
    }
}
