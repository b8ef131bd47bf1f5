//! Answers the queries of indexes, snapshots and batches, by whatever names their items.

use heed::RoTxn;

use super::environment::WriteTxn;
use super::{Batch, Index, Snapshot};
use crate::error::Result;
use crate::item_key::{ItemName, sealed};
use crate::query::named::{Lend, answer, look};
use crate::query::pinned::{Pinned, Work};
use crate::query::{Answer, HasRecords, Query, Searchable, Target};
use crate::search::Searched;
use crate::store::owned_snapshot::OwnedSnapshot;
use crate::store::source::{Shared, Warm};
use crate::store::view::View;

impl Lend for WriteTxn<'_> {
    fn lend<T>(&self, work: impl FnOnce(&RoTxn<'_>) -> Result<T>) -> Result<T> {
        work(self)
    }
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
        let shared = &query.searched.shared;
        let found = shared.search(|held| answer_held::<K, _>(held, query, target));
        found.map_err(|error| error.in_index(&shared.name))
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
        let found = answer_held::<K, _>(query.searched.held(), query, target);
        found.map_err(|error| error.in_index(query.searched.name()))
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
        let looked = look::<K, _, _>((&view, &view), held.place(), held, work);
        looked.map_err(|error| error.in_index(self.name()))
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
            return answer::<K, _, _, _>((&view, &names), place, txn, query, target)
                .map_err(|error| error.in_index(writes.index_name()));
        }
        // A write transaction stays on its thread, a nested read transaction does not, and is all
        // that can be read while it is open.
        let nested = Shared::new(place, txn)?;
        let view = View::new(view.snapshot, &nested);
        answer::<K, _, _, _>((&view, &view), place, &nested, query, target)
            .map_err(|error| error.in_index(writes.index_name()))
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
            return look::<K, _, _>((&view, &names), place, txn, work)
                .map_err(|error| error.in_index(writes.index_name()));
        }
        // As in `answer`.
        let nested = Shared::new(place, txn)?;
        let view = View::new(view.snapshot, &nested);
        look::<K, _, _>((&view, &view), place, &nested, work)
            .map_err(|error| error.in_index(writes.index_name()))
    }

    fn commit(&self) -> Result<Option<u64>> {
        Ok(None)
    }
}
