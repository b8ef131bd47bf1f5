//! The rows that map item keys to item ids and back: lookup.
//!
//! The item ids of an index whose items have keys are allocated by `edit`: the smallest free id, or
//! the next beyond all. An id is free once its item is deleted, also within the transaction: the
//! graph refers to slots, and a replaced item gets a new slot. Each change writes two or three
//! small rows; a lookup is one descent of the B-tree. Owns the invariant `item-keys` of
//! `docs/format.md`.

use std::ops::Bound;

use heed::RoTxn;

use crate::error::{Error, Result};
use crate::format::checksum::{self, BROKEN, Sound};
use crate::format::item_keys::{Naming, Row, bounds, decode_id, decode_key};
use crate::store::snapshot::Snapshot;
use crate::store::source::Source;
use crate::store::table::Table;
use crate::store::view::View;
use crate::store::{Place, meter};
use crate::types::ItemId;

/// The error for an item whose key is not of the type that the index is opened with.
pub(crate) fn mistyped(index: u16, id: ItemId) -> Error {
    Error::corrupt(Row::name_of(index, id), "its key is not of the type of the index")
}

/// The item keys of an index.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ItemKeys<'e> {
    pub(crate) place: Place<'e>,
    pub(crate) naming: Naming,
}

impl<'e> ItemKeys<'e> {
    /// The keys of an index, as it names its items.
    pub(crate) fn of(place: Place<'e>) -> Self {
        Self { place, naming: place.naming }
    }

    fn corrupt(&self, key: &[u8], what: &'static str) -> Error {
        Error::CorruptItemKey { index: self.place.index, key: self.naming.show(key), what }
    }

    /// The item id of a key. `None` if there is no such item.
    pub(crate) fn id(&self, rtxn: &RoTxn<'_>, key: &[u8]) -> Result<Option<ItemId>> {
        meter::read();
        let row = Row::Id(key).to_bytes(self.place.index);
        let Some(value) = self.place.raw.get(rtxn, &row)? else { return Ok(None) };
        self.id_in(key, &row, value).map(Some)
    }

    /// Decodes the item id in the row of a key. Verified for searches, too, as rows are short.
    fn id_in(&self, key: &[u8], row: &[u8], value: &[u8]) -> Result<ItemId> {
        let sound = Sound::under(row, value).ok_or(BROKEN);
        sound.and_then(|sound| decode_id(sound.body())).map_err(|what| self.corrupt(key, what))
    }

    /// The key of an item. It is looked up once per snapshot, whose pointer table remembers it.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if it has none.
    pub(crate) fn key<'t, S: Source<'t>>(
        &self,
        view: &View<'_, 't, S>,
        known: &Table<'t>,
        id: ItemId,
    ) -> Result<&'t [u8]> {
        let name = Row::name_of(self.place.index, id);
        let corrupt = |what| Error::corrupt(name, what);
        let value = match known.get(id as usize) {
            Some(value) => value,
            None => {
                let value =
                    view.get(name)?.ok_or(corrupt("it is missing, though there is an item"))?;
                Sound::of(name, value)?;
                known
                    .set(id as usize, value)
                    .ok_or(corrupt("it does not say its own length, or is of an id beyond all"))?
            }
        };
        // Verified when it was looked up.
        decode_key(checksum::unverified(value)).map_err(corrupt)
    }

    /// The key of an item, without a pointer table.
    ///
    /// # Errors
    /// As [`key`](Self::key).
    pub(crate) fn key_in(&self, rtxn: &RoTxn<'_>, id: ItemId) -> Result<Vec<u8>> {
        let corrupt = |what| Error::corrupt(Row::name_of(self.place.index, id), what);
        meter::read();
        let row = Row::Key(id).to_bytes(self.place.index);
        let value = self.place.raw.get(rtxn, &row)?;
        let value = value.ok_or(corrupt("it is missing, though there is an item"))?;
        let sound = Sound::under(&row, value).ok_or(corrupt(BROKEN))?;
        decode_key(sound.body()).map(<[u8]>::to_vec).map_err(corrupt)
    }

    /// The pointer table of the keys of a snapshot. `bound`, which returns [`bound`](Self::bound),
    /// is called once, when the table is created.
    pub(crate) fn known<'s, 't>(
        &self,
        snapshot: &'s Snapshot<'t>,
        bound: impl FnOnce() -> Result<u64>,
    ) -> Result<&'s Table<'t>> {
        if let Some(known) = snapshot.item_keys.get() {
            return Ok(known);
        }
        let count = usize::try_from(bound()?).unwrap_or(usize::MAX);
        Ok(snapshot.item_keys.get_or_init(|| Table::prefixed(snapshot.memory, count, true)))
    }

    /// An exclusive upper bound of all ids that have a key.
    pub(crate) fn bound(&self, rtxn: &RoTxn<'_>) -> Result<u64> {
        let [first, end] = bounds(self.place.index, Row::Key(0));
        let range = (Bound::Included(&first[..]), Bound::Excluded(&end[..]));
        meter::read();
        let found = self.place.raw.rev_range(rtxn, &range)?.next();
        Ok(self.id_of(found.transpose()?)?.map_or(0, |last| u64::from(last) + 1))
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

    /// The id of a row of sub 1 or 2. Verified: a damaged row might report the id of an existing
    /// item as free.
    fn id_of(&self, row: Option<(&[u8], &[u8])>) -> Result<Option<ItemId>> {
        let Some((key, value)) = row else { return Ok(None) };
        match Row::from_bytes(key) {
            Some(Row::Key(id) | Row::Free(id)) => match Sound::under(key, value) {
                Some(_) => Ok(Some(id)),
                None => Err(Error::corrupt(Row::name_of(self.place.index, id), BROKEN)),
            },
            _ => Err(Error::Foreign {
                index: self.place.index,
                what: "a key of it is not one of ours",
            }),
        }
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
        let [_, end] = bounds(self.place.index, Row::Id(&[]));
        let first = Row::Id(last.unwrap_or(prefix)).to_bytes(self.place.index);
        let from = if last.is_some() { Bound::Excluded(&*first) } else { Bound::Included(&*first) };
        meter::read();
        let rows = self.place.raw.range(rtxn, &(from, Bound::Excluded(&end[..])))?;
        let mut found = Vec::new();
        for entry in rows.take(count) {
            let (row, value) = entry?;
            let key = self.key_of(row)?;
            if !key.starts_with(prefix) {
                break;
            }
            self.naming.check(key).map_err(|what| self.corrupt(key, what))?;
            found.push((key.to_vec(), self.id_in(key, row, value)?));
        }
        Ok(found)
    }

    /// The first key that is not less than `from` and begins with `prefix`.
    pub(crate) fn first_from(
        &self,
        rtxn: &RoTxn<'_>,
        from: &[u8],
        prefix: &[u8],
    ) -> Result<Option<Vec<u8>>> {
        let [_, end] = bounds(self.place.index, Row::Id(&[]));
        let first = Row::Id(from).to_bytes(self.place.index);
        meter::read();
        let range = (Bound::Included(&*first), Bound::Excluded(&end[..]));
        let Some((row, _)) = self.place.raw.range(rtxn, &range)?.next().transpose()? else {
            return Ok(None);
        };
        let key = self.key_of(row)?;
        Ok(key.starts_with(prefix).then(|| key.to_vec()))
    }

    /// The item key that a row of sub 0 is about.
    fn key_of<'r>(&self, row: &'r [u8]) -> Result<&'r [u8]> {
        match Row::from_bytes(row) {
            Some(Row::Id(key)) => Ok(key),
            _ => Err(Error::Foreign {
                index: self.place.index,
                what: "a key of it is not one of ours",
            }),
        }
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
        let [_, end] = bounds(self.place.index, Row::Id(&[]));
        let first = Row::Id(last.unwrap_or(prefix)).to_bytes(self.place.index);
        let from = if last.is_some() { Bound::Excluded(&*first) } else { Bound::Included(&*first) };
        meter::read();
        let mut rows = self.place.raw.range(rtxn, &(from, Bound::Excluded(&end[..])))?;
        for nth in 1..=count {
            let Some((row, value)) = rows.next().transpose()? else { break };
            let key = self.key_of(row)?;
            if !key.starts_with(prefix) {
                break;
            }
            found(self.id_in(key, row, value)?);
            if nth == count {
                return Ok(Some(key.to_vec()));
            }
        }
        Ok(None)
    }
}
