//! Answers the queries of indexes, snapshots and batches, on one snapshot. Its transaction is lent
//! to look up the keys of items, where those have keys.

use heed::RoTxn;
use roaring::RoaringBitmap;

use super::environment::WriteTxn;
use super::{Batch, Index, Snapshot, mistyped};
use crate::error::Result;
use crate::filter::{Keys, Named};
use crate::format::item_keys::Naming;
use crate::item_key::{ItemName, NamePredicate, sealed};
use crate::query::pinned::{Names, Pinned, Work, look_by_ids};
use crate::query::{Answer, HasRecords, Query, Searchable, Target, answer_by_ids, answer_target};
use crate::search::{Due, Predicate, Request, Searched};
use crate::store::Place;
use crate::store::owned_snapshot::OwnedSnapshot;
use crate::store::sections::item_keys::rows::ItemKeys;
use crate::store::source::{Shared, Source, Warm};
use crate::store::table::Table;
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
    known: &'a Table<'t>,
    txn: &'a L,
}

impl<'a, 's, 't, S: Source<'t>, L: Lend> LentKeys<'a, 's, 't, S, L> {
    fn new<K: sealed::Name + ?Sized>(
        view: &'a View<'s, 't, S>,
        place: Place<'a>,
        txn: &'a L,
    ) -> Result<Self> {
        let keys = ItemKeys { place, naming: K::NAMING };
        let known = keys.known(view.snapshot, || txn.lend(|txn| keys.bound(txn)))?;
        Ok(Self { keys, view, known, txn })
    }
}

impl<'t, S: Source<'t>, L: Lend> Names for LentKeys<'_, '_, 't, S, L> {
    // Lent anew for each key: others wait for it.
    fn id(&self, key: &[u8]) -> Result<Option<ItemId>> {
        self.txn.lend(|txn| self.keys.id(txn, key))
    }

    fn name(&self, id: ItemId) -> Result<Vec<u8>> {
        Ok(self.keys.key(self.view, self.known, id)?.to_vec())
    }
}

impl<'t, S: Source<'t>, L: Lend> Keys for LentKeys<'_, '_, 't, S, L> {
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
        let (mut ids, mut last) = (RoaringBitmap::new(), None);
        loop {
            let next = |txn: &RoTxn<'_>| {
                self.keys.with_prefix(txn, prefix, last.as_deref(), KEYS_AHEAD, |id| {
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
    let LentKeys { keys: rows, view: names, known, .. } = *keys;
    let ask = named.predicate.map(|predicate: NamePredicate<'_>| {
        move |id| {
            let accepts = predicate.ask(rows.key(names, known, id)?);
            accepts.ok_or_else(|| mistyped(rows.place.index, id))
        }
    });
    let ask = ask.as_ref().map(|ask| ask as Predicate<'_>);
    named.resolve(view, request, keys, ask, search)
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
    if K::NAMING == Naming::Ids {
        let own = |id: ItemId| K::take(&id.to_be_bytes()).ok_or_else(|| mistyped(place.index, id));
        let found = answer_by_ids(view, query, target)?;
        return found.map(|all| all.into_iter().map(|one| one.name(own)).collect()).transpose();
    }
    let keys = LentKeys::new::<K>(names, place, txn)?;
    let found = by_keys(view, &keys, &query.named, query.request, |request| {
        answer_target(view, request, target, |key| keys.id(key))
    })?;
    // By the view that has a transaction.
    let key = |id| keys.keys.key(view, keys.known, id);
    let name = |id| K::take(key(id)?).ok_or_else(|| mistyped(place.index, id));
    found.map(|all| all.into_iter().map(|one| one.name(name)).collect()).transpose()
}

/// Looks at one snapshot, whose items are named by `K`. `names` as for [`answer`].
fn look<'t, K, S, N>(
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
    let keys = LentKeys::new::<K>(names, place, txn)?;
    let Work { named, request, run } = work;
    // By the view that has a transaction.
    let shown = LentKeys { keys: keys.keys, view, known: keys.known, txn };
    by_keys(view, &keys, named, request, |request| run(view.on_any_source(), request, &shown))
}

fn answer_held<K: sealed::Bytes + ?Sized, R>(
    held: &OwnedSnapshot<'static>,
    query: &Query<'_, R>,
    target: Target<'_>,
) -> Result<Option<Vec<Searched<K::Owned>>>> {
    let view = held.view();
    answer::<K, _, _, _>((&view, &view), held.place(), held, query, target)
}

impl<D, K: ?Sized> HasRecords for Index<D, K> {}
impl<D, K: ?Sized> HasRecords for Snapshot<D, K> {}
impl<D, K: ?Sized> HasRecords for Batch<'_, D, K> {}

impl<D, K: ItemName + sealed::Bytes + ?Sized> Searchable for Index<D, K> {
    type Key = K;

    fn answer(query: &Query<'_, Self>, target: Target<'_>) -> Result<Option<Vec<Answer<Self>>>> {
        query.searched.shared.search(|held| answer_held::<K, _>(held, query, target))
    }

    type Pinned<'a>
        = Snapshot<D, K>
    where
        Self: 'a;

    fn pin(&self) -> Result<Snapshot<D, K>> {
        self.snapshot()
    }
}

impl<D, K: ItemName + sealed::Bytes + ?Sized> Searchable for Snapshot<D, K> {
    type Key = K;

    fn answer(query: &Query<'_, Self>, target: Target<'_>) -> Result<Option<Vec<Answer<Self>>>> {
        query.searched.check_process()?;
        let _searching = query.searched.searching();
        answer_held::<K, _>(query.searched.held(), query, target)
    }

    type Pinned<'a>
        = Self
    where
        Self: 'a;

    fn pin(&self) -> Result<Self> {
        Ok(self.clone())
    }
}

impl<D, K: ItemName + sealed::Bytes + ?Sized> Pinned for Snapshot<D, K> {
    fn look(&self, work: Work<'_>) -> Result<()> {
        self.check_process()?;
        let _searching = self.searching();
        let held = self.held();
        let view = held.view();
        look::<K, _, _>((&view, &view), held.place(), held, work)
    }

    fn commit(&self) -> Result<Option<u64>> {
        Ok(Some(Self::commit(self)))
    }

    fn is_same_as(&self, commit: u64) -> Result<bool> {
        self.check_process()?;
        // An earlier commit, and one that has changed other indexes only.
        Ok(commit <= Self::commit(self)
            && self.held().is_unchanged_since(usize::try_from(commit).unwrap_or(usize::MAX))?)
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

    type Pinned<'a>
        = &'a Self
    where
        Self: 'a;

    fn pin(&self) -> Result<&Self> {
        Ok(self)
    }
}

impl<D, K: ItemName + sealed::Bytes + ?Sized> Pinned for Batch<'_, D, K> {
    fn look(&self, work: Work<'_>) -> Result<()> {
        let writes = &self.writes;
        let reader = writes.reader()?;
        let view = reader.view(writes.txn())?;
        let (place, txn) = (writes.place(), writes.txn());
        if work.named.predicate.is_none() {
            let names = View::new(view.snapshot, Warm::default());
            return look::<K, _, _>((&view, &names), place, txn, work);
        }
        // As in `answer`.
        let nested = Shared::new(place, txn)?;
        let view = View::new(view.snapshot, &nested);
        look::<K, _, _>((&view, &view), place, &nested, work)
    }

    fn commit(&self) -> Result<Option<u64>> {
        Ok(None)
    }
}
