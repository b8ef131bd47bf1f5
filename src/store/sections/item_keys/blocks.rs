//! Changes of blocks of keys: each block that changes is read once and written once, in the order
//! of their LMDB keys. O(changed blocks).
//!
//! A block grows until it is full. Where keys come after all of a block, it stays full, and they
//! begin the next one; anywhere else it is split into equal parts. A block that has become small is
//! merged with the one after it, so only the last one can be small, or one that a split at its end
//! has left. An entry that is deleted is in no block, nor in the LMDB key of one.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::iter::Peekable;
use std::ops::Bound;

use heed::RoTxn;

use super::rows::{ItemKeys, Stored};
use crate::error::{Error, Result};
use crate::format::item_keys::{Row, bounds};
use crate::format::key_blocks::{Entries, Entry, Order, group_start, is_small, pack};
use crate::store::meter;
use crate::store::target::RowPut;

/// Rows of an earlier version that are replaced by blocks at a time.
const CONVERTED: usize = 1 << 16;

/// A key and an id that belong together from now on, or no more. Only what orders them counts in
/// one that is deleted.
pub(super) struct Change {
    pub(super) entry: Entry,
    pub(super) is_there: bool,
}

/// The body of a row as it is stored, and as it will be.
type Written<'r> = (Option<&'r [u8]>, Option<Vec<u8>>);

fn compare(order: Order, a: &Entry, b: &Entry) -> Ordering {
    match order {
        Order::Keys => a.0.cmp(&b.0),
        Order::Ids => a.1.cmp(&b.1),
    }
}

/// The row of a block that begins with an entry.
fn row(order: Order, (key, id): &Entry) -> Row<'_> {
    match order {
        Order::Keys => Row::Ids(key),
        Order::Ids => Row::Keys(group_start(*id)),
    }
}

/// Merges entries with the changes of which `is_here` holds. Returns whether each of these is added
/// after all of the entries.
fn merge(
    order: Order,
    stored: Vec<Entry>,
    changes: &mut Peekable<impl Iterator<Item = Change>>,
    is_here: impl Fn(&Entry) -> bool,
    merged: &mut Vec<Entry>,
) -> bool {
    let mut stored = stored.into_iter().peekable();
    let mut is_appended = true;
    while let Some(Change { entry, is_there }) = changes.next_if(|change| is_here(&change.entry)) {
        while let Some(before) = stored.next_if(|at| compare(order, at, &entry).is_lt()) {
            merged.push(before);
        }
        let replaced = stored.next_if(|at| compare(order, at, &entry).is_eq());
        is_appended &= is_there && replaced.is_none() && stored.peek().is_none();
        if is_there {
            merged.push(entry);
        }
    }
    merged.extend(stored);
    is_appended
}

/// The rows of blocks of these entries.
fn blocks(
    keys: ItemKeys<'_>,
    order: Order,
    entries: &[Entry],
    is_appended: bool,
) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let blocks = pack(order, entries, is_appended).into_iter();
    blocks.filter_map(move |(first, body)| {
        Some((row(order, entries.get(first)?).to_bytes(keys.place.index), body))
    })
}

/// Replaces the rows of an earlier version, with these changes, by blocks.
pub(super) fn convert(
    keys: ItemKeys<'_>,
    rtxn: &RoTxn<'_>,
    order: Order,
    changes: impl Iterator<Item = Change>,
) -> Result<Vec<RowPut>> {
    let (mut puts, mut changes) = (Vec::new(), changes.peekable());
    let mut stored = keys.entries_of_8(rtxn, order)?;
    loop {
        let some = stored.by_ref().take(CONVERTED).collect::<Result<Vec<_>>>()?;
        let last = some.last().cloned().filter(|_| some.len() == CONVERTED);
        let is_here =
            |entry: &Entry| last.as_ref().is_none_or(|last| compare(order, entry, last).is_le());
        let mut merged = Vec::with_capacity(some.len());
        merge(order, some, &mut changes, is_here, &mut merged);
        let blocks = blocks(keys, order, &merged, true);
        puts.extend(blocks.map(|(row, body)| (row, Some(body))));
        if last.is_none() {
            return Ok(puts);
        }
    }
}

/// Puts these changes, which are in order, into the blocks.
pub(super) fn change(
    keys: ItemKeys<'_>,
    rtxn: &RoTxn<'_>,
    order: Order,
    changes: impl Iterator<Item = Change>,
) -> Result<Vec<RowPut>> {
    let (mut puts, mut changes) = (Vec::new(), changes.peekable());
    while let Some(next) = changes.peek() {
        let mut block = Block::of(keys, rtxn, order, &next.entry)?;
        let mut merged = Vec::new();
        let mut written: BTreeMap<Vec<u8>, Written<'_>> = BTreeMap::new();
        let mut is_appended = true;
        loop {
            let Block { stored, entries, next } = block;
            is_appended &= stored.is_none() || written.is_empty();
            let is_here = |entry: &Entry| {
                let bytes = row(order, entry).to_bytes(keys.place.index);
                next.is_none_or(|(next, _)| &bytes[..] < next)
            };
            is_appended &= merge(order, entries, &mut changes, is_here, &mut merged);
            if let Some((row, body)) = stored {
                written.entry(row.to_vec()).or_default().0 = Some(body);
            }
            match next {
                Some(next) if is_small(&merged) => block = Block::read(keys, rtxn, next)?,
                _ => break,
            }
        }
        for (row, body) in blocks(keys, order, &merged, is_appended) {
            written.entry(row).or_default().1 = Some(body);
        }
        let changed =
            written.into_iter().filter(|(_, (before, after))| *before != after.as_deref());
        puts.extend(changed.map(|(row, (_, body))| (row, body)));
    }
    Ok(puts)
}

/// A block as it is stored, or none.
struct Block<'r> {
    /// Its row and its body.
    stored: Option<Stored<'r>>,
    entries: Vec<Entry>,
    /// The row and the value of the next block.
    next: Option<Stored<'r>>,
}

impl<'r> Block<'r> {
    /// The block that an entry belongs to: the last one that does not begin after it, or the first
    /// of all.
    fn of(keys: ItemKeys<'_>, rtxn: &'r RoTxn<'_>, order: Order, entry: &Entry) -> Result<Self> {
        let wanted = row(order, entry);
        let [first, end] = bounds(keys.place.index, wanted);
        let found = match keys.block(rtxn, wanted)? {
            Some(found) => Some(found),
            None => {
                let all = (Bound::Included(&first[..]), Bound::Excluded(&end[..]));
                keys.place.raw.range(rtxn, &all)?.next().transpose()?
            }
        };
        let none = Self { stored: None, entries: Vec::new(), next: None };
        found.map_or(Ok(none), |found| Self::read(keys, rtxn, found))
    }

    /// Decodes a block, which is verified.
    fn read(keys: ItemKeys<'_>, rtxn: &'r RoTxn<'_>, found: Stored<'r>) -> Result<Self> {
        meter::read();
        let body = keys.body(found)?;
        let entries = match Row::from_bytes(found.0) {
            Some(Row::Ids(first)) => {
                Entries::by_key(first, body).all().map_err(|what| keys.corrupt(first, what))?
            }
            Some(Row::Keys(first)) => Entries::by_id(body)
                .and_then(Entries::all)
                .map_err(|what| Error::corrupt(Row::name_of(keys.place.index, first), what))?,
            _ => return Err(keys.foreign()),
        };
        let next = keys.place.raw.get_greater_than(rtxn, found.0)?;
        let next = next.filter(|(row, _)| row.get(..4) == found.0.get(..4));
        Ok(Self { stored: Some((found.0, body)), entries, next })
    }
}
