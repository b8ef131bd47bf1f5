//! Answers the queries of indexes, snapshots and batches, on one snapshot. Its transaction is lent
//! to look up the keys of items, where those have keys.

use heed::RoTxn;
use roaring::RoaringBitmap;

use super::environment::WriteTxn;
use super::{Batch, Index, Snapshot};
use crate::error::{Error, Result};
use crate::format::item_keys::{Naming, Row};
use crate::item_key::{Candidates, ItemName, MAX_KEY_BYTES, sealed};
use crate::query::{Answer, Query, Searchable, Target, answer_by_ids};
use crate::search::{self, Searched};
use crate::store::Place;
use crate::store::owned_snapshot::OwnedSnapshot;
use crate::store::sections::item_keys::rows::ItemKeys;
use crate::store::source::Source;
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

/// Answers a query on one snapshot, by the names of its items.
fn answer<'t, K: sealed::Bytes + ?Sized, S: Source<'t>, R>(
    view: &View<'_, 't, S>,
    place: Place<'_>,
    txn: &impl Lend,
    query: &Query<'_, R>,
    target: Target<'_>,
) -> Result<Option<Vec<Searched<K::Owned>>>> {
    let mistyped = |id: ItemId| {
        Error::corrupt(Row::name_of(place.index, id), "its key is not of the type of the index")
    };
    if K::NAMING == Naming::Ids {
        let own = |id: ItemId| K::take(&id.to_be_bytes()).ok_or_else(|| mistyped(id));
        let found = answer_by_ids(view, query, target)?;
        return found.map(|all| all.into_iter().map(|one| one.name(own)).collect()).transpose();
    }
    let keys = ItemKeys { place, naming: K::NAMING };
    // Lent anew for each key: others wait for it.
    let id = |key: &[u8]| txn.lend(|txn| keys.id(txn, key));
    let candidates: Option<RoaringBitmap> = match &query.named {
        None => None,
        Some(Candidates::Ids(ids)) => Some((*ids).clone()),
        Some(Candidates::Keys(all)) => {
            Some(all.iter().filter_map(|key| id(key).transpose()).collect::<Result<_>>()?)
        }
        Some(Candidates::Invalid(bytes)) => {
            return Err(Error::InvalidItemKey { bytes: *bytes, max: MAX_KEY_BYTES });
        }
    };
    let mut request = query.request;
    request.candidates = candidates.as_ref().or(request.candidates);
    let found = match target {
        Target::Vector(vector) => Some(vec![search::by_vector(view, request, vector)?]),
        Target::Vectors(rows) => Some(search::by_vectors(view, request, rows)?),
        Target::Item(key) => match id(key)? {
            Some(item) => search::by_item(view, request, item)?.map(|found| vec![found]),
            None => None,
        },
    };
    let known = keys.known(view.snapshot, || txn.lend(|txn| keys.bound(txn)))?;
    let name = |id| K::take(keys.key(view, known, id)?).ok_or_else(|| mistyped(id));
    found.map(|all| all.into_iter().map(|one| one.name(name)).collect()).transpose()
}

fn answer_held<K: sealed::Bytes + ?Sized, R>(
    held: &OwnedSnapshot<'static>,
    query: &Query<'_, R>,
    target: Target<'_>,
) -> Result<Option<Vec<Searched<K::Owned>>>> {
    answer::<K, _, _>(&held.view(), held.place(), held, query, target)
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
        answer::<K, _, _>(&view, writes.place(), writes.txn(), query, target)
    }
}
