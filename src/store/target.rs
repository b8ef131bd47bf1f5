//! The only way to write the values of an index.
//!
//! An edit is many puts, and user code runs between them: row iterators, metrics, progress
//! closures. A panic in it can be caught, and the transaction committed by its owner. So [`Target`]
//! precedes the first put of an edit by two: DELTA = everything, and the META from before the edit
//! with a *mark* ([`Torn`]), which makes every later open fail with `TornEdit`. The end of the edit
//! replaces both. An edit that is dropped, forgotten or unwound before its first put has changed
//! nothing; one that is dropped after it stays marked, and `repair` undoes it.
//!
//! [`Target::complete`] writes the last values of an edit without a mark: no user code runs between
//! these puts, only LMDB, which refuses to commit a transaction after a failed put.
//!
//! Invariant: no other code puts or deletes values of an index. The exception is `item_keys`, whose
//! rows change between two edits, inside a batch that commits only if all its calls have succeeded.

use std::ops::Bound;

use heed::RwTxn;

use super::{Place, Raw, fault, meter};
use crate::error::{Error, Result};
use crate::format::delta::{Delta, REMEMBERED_COMMITS};
use crate::format::meta::{Meta, Torn};
use crate::format::{Key, Kind, checksum};

/// A body to put under a key, or none if the value is to be deleted.
pub(crate) type Put = (Key, Option<Vec<u8>>);

/// What an edit has written so far, and what it needs to end or to be undone.
pub(super) struct Journal {
    /// META before the edit.
    before: Meta,
    /// The mark that META carries now.
    marked: Option<Torn>,
    /// Values rewritten by this edit.
    delta: Delta,
    /// The DELTA of earlier edits of the transaction. `None` while DELTA itself still holds it.
    earlier: Option<Delta>,
}

impl Journal {
    /// The journal of an edit that begins with this META.
    pub(super) fn of(before: Meta) -> Self {
        Self { before, marked: None, delta: Delta::Values(Default::default()), earlier: None }
    }

    /// The same, for an edit after which every value may lie elsewhere.
    pub(super) fn of_everything(before: Meta) -> Self {
        Self { delta: Delta::Everything, ..Self::of(before) }
    }

    /// META before the edit.
    pub(super) fn before(&self) -> &Meta {
        &self.before
    }

    fn note(&mut self, key: Key) {
        if let (Delta::Values(values), Some(list)) = (&mut self.delta, list(key)) {
            values[list].push(key.n);
        }
    }
}

/// The list of DELTA that a value belongs to.
fn list(key: Key) -> Option<usize> {
    match (key.kind, key.sub) {
        (Kind::Vectors, _) => Some(0),
        (Kind::Links, 0) => Some(1),
        (Kind::SlotIds, _) => Some(2),
        (Kind::Codes, crate::format::codes::BLOCKS) => Some(3),
        _ => None,
    }
}

/// The write side of an edit: the transaction and the journal of what is written.
pub(super) struct Target<'a, 'e, 'p> {
    pub(super) place: Place<'e>,
    pub(super) wtxn: &'a mut RwTxn<'p>,
    pub(super) journal: &'a mut Journal,
}

impl Target<'_, '_, '_> {
    /// Marks META, unless it carries this mark or a stronger one.
    pub(super) fn mark(&mut self, torn: Torn) -> Result<()> {
        if self.journal.marked >= Some(torn) {
            return Ok(());
        }
        if self.journal.earlier.is_none() {
            let earlier = written(self.place, self.wtxn)?;
            self.put_delta(&Delta::Everything)?;
            self.journal.earlier = Some(earlier);
        }
        put(
            self.place,
            self.wtxn,
            Key::meta(self.place.index),
            self.journal.before.encode_torn(torn),
        )?;
        self.journal.marked = Some(torn);
        Ok(())
    }

    /// Puts or deletes a value without touching what belongs to a live slot of the old META.
    pub(super) fn put(&mut self, key: Key, body: Option<Vec<u8>>) -> Result<()> {
        self.put_marked(Torn::Items, key, body)
    }

    /// Puts or deletes a value of the graph or of the codes, which `repair` can do without.
    pub(super) fn put_derived(&mut self, key: Key, body: Option<Vec<u8>>) -> Result<()> {
        self.put_marked(Torn::Derived, key, body)
    }

    /// Puts or deletes any value. Only LMDB may stop the edit from here on.
    pub(super) fn put_over(&mut self, key: Key, body: Option<Vec<u8>>) -> Result<()> {
        self.put_marked(Torn::Lost, key, body)
    }

    fn put_marked(&mut self, torn: Torn, key: Key, body: Option<Vec<u8>>) -> Result<()> {
        self.mark(torn)?;
        if torn < Torn::Lost {
            fault::step();
        }
        self.journal.note(key);
        put_or_delete(self.place, self.wtxn, key, body)
    }

    /// Deletes the values of graph or codes with keys from `first` to `last`, both included.
    pub(super) fn delete_derived(&mut self, first: Key, last: Key) -> Result<()> {
        self.delete_range(Torn::Derived, first, last)
    }

    /// Deletes all values with keys from `first` to `last`, both included. Only LMDB may
    /// stop the edit from here on.
    pub(super) fn delete_over(&mut self, first: Key, last: Key) -> Result<()> {
        self.delete_range(Torn::Lost, first, last)
    }

    fn delete_range(&mut self, torn: Torn, first: Key, last: Key) -> Result<()> {
        self.mark(torn)?;
        self.journal.delta = Delta::Everything;
        let (first, last) = (first.to_bytes(), last.to_bytes());
        self.place
            .raw
            .delete_range(self.wtxn, &(Bound::Included(&first[..]), Bound::Included(&last[..])))?;
        Ok(())
    }

    /// Ends the edit: writes its last values, then DELTA, and META as the very last.
    pub(super) fn complete(mut self, puts: Vec<Put>, meta: &Meta) -> Result<()> {
        let mut written = match self.journal.earlier.take() {
            Some(earlier) => earlier,
            None => written(self.place, self.wtxn)?,
        };
        for (key, body) in puts {
            self.journal.note(key);
            put_or_delete(self.place, self.wtxn, key, body)?;
        }
        // Also sorts the lists.
        written.merge(std::mem::replace(&mut self.journal.delta, Delta::Everything));
        self.put_delta(&written)?;
        put(self.place, self.wtxn, Key::meta(self.place.index), meta.encode())
    }

    fn put_delta(&mut self, delta: &Delta) -> Result<()> {
        let (key, transaction) = delta_of(self.place, self.wtxn);
        put(self.place, self.wtxn, key, delta.encode(transaction))
    }
}

/// The key of the DELTA of a transaction, and the transaction's number.
fn delta_of(place: Place<'_>, wtxn: &RwTxn<'_>) -> (Key, u64) {
    let transaction = wtxn.id() as u64;
    (Key::new(place.index, Kind::Delta, 0, (transaction % REMEMBERED_COMMITS) as u32), transaction)
}

/// The DELTA that earlier edits of the transaction have written.
pub(super) fn written(place: Place<'_>, wtxn: &RwTxn<'_>) -> Result<Delta> {
    let (key, transaction) = delta_of(place, wtxn);
    Ok(match place.sound(wtxn, key) {
        Ok(None) => Delta::Values(Default::default()),
        Ok(Some(sound)) => match Delta::decode(sound.body()) {
            Ok((earlier, delta)) if earlier == transaction => delta,
            Ok(_) => Delta::Values(Default::default()),
            Err(_) => Delta::Everything,
        },
        // A damaged one is of no use to anybody, and is replaced by what is true in any case.
        Err(Error::Corrupt { .. }) => Delta::Everything,
        Err(error) => return Err(error),
    })
}

/// Puts a body under its key, with its checksum.
fn put(place: Place<'_>, wtxn: &mut RwTxn<'_>, key: Key, mut body: Vec<u8>) -> Result<()> {
    checksum::seal(key, &mut body);
    meter::wrote(body.len());
    Ok(place.raw.put(wtxn, &key.to_bytes(), &body)?)
}

/// Puts a body, or deletes the value if `body` is `None`.
fn put_or_delete(
    place: Place<'_>,
    wtxn: &mut RwTxn<'_>,
    key: Key,
    body: Option<Vec<u8>>,
) -> Result<()> {
    let Some(body) = body else {
        meter::wrote(0);
        place.raw.delete(wtxn, &key.to_bytes())?;
        return Ok(());
    };
    put(place, wtxn, key, body)
}

/// Deletes all keys of an index, whatever wrote them.
pub(crate) fn delete_index(raw: Raw<'_>, index: u16, wtxn: &mut RwTxn<'_>) -> Result<()> {
    let first = index.to_be_bytes();
    let next = index.checked_add(1).map(u16::to_be_bytes);
    let end = next.as_ref().map_or(Bound::Unbounded, |next| Bound::Excluded(&next[..]));
    raw.delete_range(wtxn, &(Bound::Included(&first[..]), end))?;
    Ok(())
}

/// Unmarked puts, for tests that damage an index.
#[cfg(test)]
impl Place<'_> {
    pub(crate) fn put(&self, wtxn: &mut RwTxn<'_>, key: Key, body: Vec<u8>) -> Result<()> {
        put(*self, wtxn, key, body)
    }

    pub(crate) fn put_or_delete(
        &self,
        wtxn: &mut RwTxn<'_>,
        key: Key,
        body: Option<Vec<u8>>,
    ) -> Result<()> {
        put_or_delete(*self, wtxn, key, body)
    }

    pub(crate) fn delete(&self, wtxn: &mut RwTxn<'_>, key: Key) -> Result<()> {
        put_or_delete(*self, wtxn, key, None)
    }
}
