//! The blocks that lead from item keys to item ids and back: lookup.
//!
//! The item ids of an index whose items have keys are allocated by `edit`: the smallest free id, or
//! the next beyond all. An id is free once its item is deleted, also within the transaction: the
//! graph refers to slots, and a replaced item gets a new slot. A lookup is one descent of the
//! B-tree, to the last block that does not begin after what is looked up, and a scan of this block
//! of 1 kB. Owns the invariant `item-keys` of `docs/format.md`.

use std::ops::Bound;

use heed::RoTxn;

use super::known::{Known, MISSING};
use crate::error::{Error, Result};
use crate::format::Damage;
use crate::format::checksum::{BROKEN, Sound};
use crate::format::item_keys::{Naming, Row, bounds};
use crate::format::key_blocks::{Entries, GROUP, find_id, find_key};
use crate::store::snapshot::Snapshot;
use crate::store::source::Source;
use crate::store::view::View;
use crate::store::{Place, meter};
use crate::types::ItemId;

/// The error for an item whose key is not of the type that the index is opened with.
pub(crate) fn mistyped(index: u16, id: ItemId) -> Error {
    Error::corrupt(Row::name_of(index, id), "its key is not of the type of the index")
}

const LENGTH: Damage = "it does not say its own length, or is of an id beyond all";

/// The item keys of an index.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ItemKeys<'e> {
    pub(crate) place: Place<'e>,
    pub(crate) naming: Naming,
}

/// A row and its value, with its checksum.
pub(super) type Stored<'r> = (&'r [u8], &'r [u8]);

impl<'e> ItemKeys<'e> {
    /// The keys of an index, as it names its items.
    pub(crate) fn of(place: Place<'e>) -> Self {
        Self { place, naming: place.naming }
    }

    pub(super) fn corrupt(&self, key: &[u8], what: &'static str) -> Error {
        Error::CorruptItemKey { index: self.place.index, key: self.naming.show(key), what }
    }

    fn corrupt_at(&self, id: ItemId, what: &'static str) -> Error {
        Error::corrupt(Row::name_of(self.place.index, id), what)
    }

    pub(super) fn foreign(&self) -> Error {
        Error::Foreign { index: self.place.index, what: "a key of it is not one of ours" }
    }

    /// The block that has what `row` begins with, if there is any such block.
    pub(super) fn block<'r>(
        &self,
        rtxn: &'r RoTxn<'_>,
        row: Row<'_>,
    ) -> Result<Option<Stored<'r>>> {
        meter::read();
        let wanted = row.to_bytes(self.place.index);
        let [first, _] = bounds(self.place.index, row);
        let found = self.place.raw.get_lower_than_or_equal_to(rtxn, &wanted)?;
        Ok(found.filter(|(row, _)| row.starts_with(&first)))
    }

    /// The body of a row, verified: also for searches, as rows are short.
    pub(super) fn body<'r>(&self, (row, value): Stored<'r>) -> Result<&'r [u8]> {
        match (Sound::under(row, value), Row::from_bytes(row)) {
            (Some(sound), _) => Ok(sound.body()),
            (None, Some(Row::IdOf8(key) | Row::Ids(key))) => Err(self.corrupt(key, BROKEN)),
            (None, Some(Row::KeyOf8(id) | Row::Free(id) | Row::Keys(id))) => {
                Err(self.corrupt_at(id, BROKEN))
            }
            (None, None) => Err(self.foreign()),
        }
    }

    /// The item id of a key. `None` if there is no such item.
    pub(crate) fn id(&self, rtxn: &RoTxn<'_>, key: &[u8]) -> Result<Option<ItemId>> {
        let Some(found) = self.block(rtxn, Row::Ids(key))? else {
            return self.id_of_8(rtxn, key);
        };
        let first = self.first_key(found.0)?;
        let found = find_id(first, self.body(found)?, key);
        found.map_err(|what| self.corrupt(first, what))
    }

    /// The key of an item. Its block is looked up once per snapshot, whose pointer table remembers
    /// it.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if it has none.
    pub(crate) fn key<'t, S: Source<'t>>(
        &self,
        view: &View<'_, 't, S>,
        known: &Known<'t>,
        id: ItemId,
    ) -> Result<Vec<u8>> {
        let corrupt = |what| self.corrupt_at(id, what);
        if let Some(value) = known.value(id) {
            return known.key_in(id, value).map_err(corrupt);
        }
        meter::read();
        let last = known.row(id).to_bytes(self.place.index);
        let first = match known.is_packed {
            true => bounds(self.place.index, known.row(id))[0].clone(),
            false => last.clone(),
        };
        let range = (Bound::Included(&first[..]), Bound::Included(&last[..]));
        let found = view.source.rows(range.0, range.1, true, 1)?;
        let found = *found.first().ok_or(corrupt(MISSING))?;
        self.body(found)?;
        let key = known.key_in(id, found.1).map_err(corrupt)?;
        known.set(id, found.1).ok_or(corrupt(LENGTH))?;
        Ok(key)
    }

    /// Looks up the keys of all items, for threads that cannot. `most` blocks at a time.
    pub(crate) fn resolve<'t, S: Source<'t>>(
        &self,
        view: &View<'_, 't, S>,
        known: &Known<'t>,
        most: usize,
    ) -> Result<()> {
        let [first, end] = bounds(self.place.index, known.row(0));
        let mut from = Bound::Included(first);
        loop {
            let first = from.as_ref().map(|from| &from[..]);
            let found = view.source.rows(first, Bound::Excluded(&end[..]), false, most)?;
            let Some((last, _)) = found.last() else { return Ok(()) };
            from = Bound::Excluded(last.to_vec());
            for (row, value) in found {
                let body = self.body((row, value))?;
                let Some(Row::KeyOf8(first) | Row::Keys(first)) = Row::from_bytes(row) else {
                    return Err(self.foreign());
                };
                let corrupt = |what| self.corrupt_at(first, what);
                if !known.is_packed {
                    known.set(first, value).ok_or(corrupt(LENGTH))?;
                    continue;
                }
                let (mut entries, mut group) = (Entries::by_id(body).map_err(corrupt)?, None);
                while let Some(id) = entries.next().map_err(corrupt)? {
                    if group.replace(id / GROUP) != Some(id / GROUP) {
                        known.set(id, value).ok_or(corrupt(LENGTH))?;
                    }
                }
            }
        }
    }

    /// The key of an item, without a pointer table. `None` if it has none.
    pub(super) fn find_key_in(&self, rtxn: &RoTxn<'_>, id: ItemId) -> Result<Option<Vec<u8>>> {
        let Some(found) = self.block(rtxn, Row::Keys(id))? else {
            return self.key_of_8(rtxn, id);
        };
        find_key(self.body(found)?, id).map_err(|what| self.corrupt_at(id, what))
    }

    /// The key of an item, without a pointer table.
    ///
    /// # Errors
    /// As [`key`](Self::key).
    pub(crate) fn key_in(&self, rtxn: &RoTxn<'_>, id: ItemId) -> Result<Vec<u8>> {
        self.find_key_in(rtxn, id)?.ok_or_else(|| self.corrupt_at(id, MISSING))
    }

    /// The pointer table of the keys of a snapshot. `bound`, which returns [`bound`](Self::bound),
    /// is called once, when the table is created.
    pub(crate) fn known<'s, 't>(
        &self,
        snapshot: &'s Snapshot<'t>,
        bound: impl FnOnce() -> Result<u64>,
    ) -> Result<&'s Known<'t>> {
        if let Some(known) = snapshot.item_keys.get() {
            return Ok(known);
        }
        let is_packed = Row::Keys(0).is_of(snapshot.meta.version);
        let count = usize::try_from(bound()?).unwrap_or(usize::MAX);
        Ok(snapshot.item_keys.get_or_init(|| Known::new(snapshot.memory, count, is_packed)))
    }

    /// An exclusive upper bound of all ids that have a key.
    pub(crate) fn bound(&self, rtxn: &RoTxn<'_>) -> Result<u64> {
        let Some(found) = self.block(rtxn, Row::Keys(ItemId::MAX))? else {
            return self.bound_of_8(rtxn);
        };
        let corrupt = |what| self.corrupt_at(ItemId::MAX, what);
        let mut entries = Entries::by_id(self.body(found)?).map_err(corrupt)?;
        let mut bound = 0;
        while let Some(id) = entries.next().map_err(corrupt)? {
            bound = u64::from(id) + 1;
        }
        Ok(bound)
    }

    /// The smallest free id after `last`.
    pub(crate) fn free_after(
        &self,
        rtxn: &RoTxn<'_>,
        last: Option<ItemId>,
    ) -> Result<Option<ItemId>> {
        let [first, end] = bounds(self.place.index, Row::Free(0));
        let last = last.map(|id| Row::Free(id).to_bytes(self.place.index));
        let from = last.as_deref().map_or(Bound::Included(&first[..]), Bound::Excluded);
        meter::read();
        let found = self.place.raw.range(rtxn, &(from, Bound::Excluded(&end[..])))?.next();
        self.id_of(found.transpose()?)
    }

    /// The id of a row that ends in one. Verified: a damaged row might report the id of an existing
    /// item as free.
    pub(super) fn id_of(&self, row: Option<Stored<'_>>) -> Result<Option<ItemId>> {
        let Some(row) = row else { return Ok(None) };
        self.body(row)?;
        match Row::from_bytes(row.0) {
            Some(Row::KeyOf8(id) | Row::Free(id)) => Ok(Some(id)),
            _ => Err(self.foreign()),
        }
    }

    /// The key of the first entry of a block by keys.
    pub(super) fn first_key<'r>(&self, row: &'r [u8]) -> Result<&'r [u8]> {
        match Row::from_bytes(row) {
            Some(Row::Ids(key)) => Ok(key),
            _ => Err(self.foreign()),
        }
    }

    /// Passes the keys from `from` on, and their ids, to `each`, in key order, until it returns
    /// `false`.
    fn walk(
        &self,
        rtxn: &RoTxn<'_>,
        from: Bound<&[u8]>,
        each: &mut dyn FnMut(&[u8], ItemId) -> Result<bool>,
    ) -> Result<()> {
        let (Bound::Included(least) | Bound::Excluded(least)) = from else {
            return self.walk(rtxn, Bound::Included(&[]), each);
        };
        let [first, end] = bounds(self.place.index, Row::Ids(&[]));
        let start = self.block(rtxn, Row::Ids(least))?.map(|(row, _)| row);
        let start = Bound::Included(start.unwrap_or(&first[..]));
        let mut is_packed = false;
        for found in self.place.raw.range(rtxn, &(start, Bound::Excluded(&end[..])))? {
            is_packed = true;
            let found = found?;
            let first = self.first_key(found.0)?;
            let corrupt = |what| self.corrupt(first, what);
            let mut entries = Entries::by_key(first, self.body(found)?);
            while let Some(id) = entries.next().map_err(corrupt)? {
                let key = entries.key();
                let is_before = key < least || key == least && matches!(from, Bound::Excluded(_));
                if !is_before && !each(key, id)? {
                    return Ok(());
                }
            }
        }
        if is_packed { Ok(()) } else { self.walk_of_8(rtxn, from, each) }
    }

    /// The keys that begin with `prefix` and come after `last`, and the item [`ids`](Self::id)
    /// they map to, in key order, at most `count` of them.
    pub(crate) fn after(
        &self,
        rtxn: &RoTxn<'_>,
        prefix: &[u8],
        last: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<(Vec<u8>, ItemId)>> {
        let mut found = Vec::new();
        if count == 0 {
            return Ok(found);
        }
        self.walk(rtxn, after(prefix, last), &mut |key, id| {
            if !key.starts_with(prefix) {
                return Ok(false);
            }
            self.naming.check(key).map_err(|what| self.corrupt(key, what))?;
            found.push((key.to_vec(), id));
            Ok(found.len() < count)
        })?;
        Ok(found)
    }

    /// The first key that is not less than `from` and begins with `prefix`.
    pub(crate) fn first_from(
        &self,
        rtxn: &RoTxn<'_>,
        from: &[u8],
        prefix: &[u8],
    ) -> Result<Option<Vec<u8>>> {
        let mut found = None;
        self.walk(rtxn, Bound::Included(from), &mut |key, _| {
            found = key.starts_with(prefix).then(|| key.to_vec());
            Ok(false)
        })?;
        Ok(found)
    }

    /// Passes the ids of the keys that begin with `prefix` and come after `last` to `found`, in key
    /// order, at most `count` of them. Returns the last of those keys, if there may be more.
    pub(crate) fn with_prefix(
        &self,
        rtxn: &RoTxn<'_>,
        prefix: &[u8],
        last: Option<&[u8]>,
        count: usize,
        mut found: impl FnMut(ItemId),
    ) -> Result<Option<Vec<u8>>> {
        let (mut nth, mut at) = (0, None);
        self.walk(rtxn, after(prefix, last), &mut |key, id| {
            if !key.starts_with(prefix) {
                return Ok(false);
            }
            found(id);
            nth += 1;
            at = (nth == count).then(|| key.to_vec());
            Ok(at.is_none())
        })?;
        Ok(at)
    }
}

/// Where keys begin that begin with `prefix` and come after `last`.
fn after<'a>(prefix: &'a [u8], last: Option<&'a [u8]>) -> Bound<&'a [u8]> {
    last.map_or(Bound::Included(prefix), Bound::Excluded)
}
