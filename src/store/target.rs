//! The one way to change the values of an index: what a change puts is noted, and META says that it is under way.
//!
//! A change is many puts, and the code of others runs between them: an iterator of rows, a metric, what is told of the
//! progress. A panic there can be caught, and the transaction committed by who owns it. So the first put is preceded by
//! two: DELTA says that everything may have been rewritten, and META, as it was before the change, is *marked*
//! ([`Torn`]), so that nothing is read of the index. The end replaces both. A change that is dropped, forgotten or
//! unwound before its first put has changed nothing; one that is dropped after it stays marked.
//!
//! [`Target::complete`] puts without a mark what a change has kept in memory to its end: nothing runs between these
//! puts but LMDB, which refuses to commit a transaction in which a put has failed.
//!
//! Owns the invariant that nobody else puts or deletes values of an index, its item keys apart (`item_keys`, which
//! change between two changes of the index, in a batch that is not committed unless all have come to their end).

use std::ops::Bound;

use heed::RwTxn;

use super::links::Put;
use super::{Place, fault, meter};
use crate::format::delta::{Delta, RING};
use crate::format::meta::{Meta, Torn};
use crate::format::{Key, Kind, checksum};
use crate::{Error, Result};

/// What is to be known of a change until it has come to its end.
pub(super) struct Journal {
    /// META before it.
    before: Meta,
    /// The mark that META has.
    marked: Option<Torn>,
    /// What the change has rewritten.
    delta: Delta,
    /// What earlier changes of the transaction have rewritten, once DELTA does not say that any more.
    earlier: Option<Delta>,
}

impl Journal {
    /// Of a change of an index that has this META.
    pub(super) fn of(before: Meta) -> Self {
        Self { before, marked: None, delta: Delta::Values(Default::default()), earlier: None }
    }

    /// Of a change of an index of which everything may be where it was not before.
    pub(super) fn of_everything(before: Meta) -> Self {
        Self { delta: Delta::Everything, ..Self::of(before) }
    }

    /// META before the change.
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

/// Where changes go, and where they are noted.
pub(super) struct Target<'a, 'e, 'p> {
    pub(super) place: Place<'e>,
    pub(super) wtxn: &'a mut RwTxn<'p>,
    pub(super) journal: &'a mut Journal,
}

impl Target<'_, '_, '_> {
    /// Says in META how far the change has come, before it does more than META says already.
    pub(super) fn mark(&mut self, torn: Torn) -> Result<()> {
        if self.journal.marked >= Some(torn) {
            return Ok(());
        }
        if self.journal.earlier.is_none() {
            let earlier = written(self.place, self.wtxn)?;
            self.put_delta(&Delta::Everything)?;
            self.journal.earlier = Some(earlier);
        }
        put(self.place, self.wtxn, Key::meta(self.place.index), self.journal.before.encode_torn(torn))?;
        self.journal.marked = Some(torn);
        Ok(())
    }

    /// Stores a value that holds what belongs to no slot of the META before the change, or deletes such a value.
    pub(super) fn put(&mut self, key: Key, body: Option<Vec<u8>>) -> Result<()> {
        self.put_marked(Torn::Items, key, body)
    }

    /// Stores or deletes a value of the graph or of the codes.
    pub(super) fn put_derived(&mut self, key: Key, body: Option<Vec<u8>>) -> Result<()> {
        self.put_marked(Torn::Derived, key, body)
    }

    /// Stores or deletes a value that holds what there was before the change.
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

    /// Deletes all values of the graph or of the codes with keys from `first` to `last`, both included.
    pub(super) fn delete_derived(&mut self, first: Key, last: Key) -> Result<()> {
        self.delete_range(Torn::Derived, first, last)
    }

    /// Deletes all values with keys from `first` to `last`, both included, whatever they hold.
    pub(super) fn delete_over(&mut self, first: Key, last: Key) -> Result<()> {
        self.delete_range(Torn::Lost, first, last)
    }

    fn delete_range(&mut self, torn: Torn, first: Key, last: Key) -> Result<()> {
        self.mark(torn)?;
        self.journal.delta = Delta::Everything;
        let (first, last) = (first.to_bytes(), last.to_bytes());
        self.place.raw.delete_range(self.wtxn, &(Bound::Included(&first[..]), Bound::Included(&last[..])))?;
        Ok(())
    }

    /// Ends the change: puts the last of its values, whatever they hold, and the META after it.
    pub(super) fn complete(mut self, puts: Vec<Put>, meta: &Meta) -> Result<()> {
        let mut written = match self.journal.earlier.take() {
            Some(earlier) => earlier,
            None => written(self.place, self.wtxn)?,
        };
        for (key, body) in puts {
            self.journal.note(key);
            put_or_delete(self.place, self.wtxn, key, body)?;
        }
        // Also puts it in order.
        written.merge(std::mem::replace(&mut self.journal.delta, Delta::Everything));
        self.put_delta(&written)?;
        put(self.place, self.wtxn, Key::meta(self.place.index), meta.encode())
    }

    fn put_delta(&mut self, delta: &Delta) -> Result<()> {
        let (key, transaction) = delta_of(self.place, self.wtxn);
        put(self.place, self.wtxn, key, delta.encode(transaction))
    }
}

/// Where the DELTA of a transaction is, and its number.
fn delta_of(place: Place<'_>, wtxn: &RwTxn<'_>) -> (Key, u64) {
    let transaction = wtxn.id() as u64;
    (Key::new(place.index, Kind::Delta, 0, (transaction % RING) as u32), transaction)
}

/// What the changes of a transaction have rewritten so far.
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

/// Stores a body under its key, with its checksum.
fn put(place: Place<'_>, wtxn: &mut RwTxn<'_>, key: Key, mut body: Vec<u8>) -> Result<()> {
    checksum::seal(key, &mut body);
    meter::wrote(body.len());
    Ok(place.raw.put(wtxn, &key.to_bytes(), &body)?)
}

/// Stores a body, or deletes the value if there is none.
fn put_or_delete(place: Place<'_>, wtxn: &mut RwTxn<'_>, key: Key, body: Option<Vec<u8>>) -> Result<()> {
    let Some(body) = body else {
        meter::wrote(0);
        place.raw.delete(wtxn, &key.to_bytes())?;
        return Ok(());
    };
    put(place, wtxn, key, body)
}

/// Deletes all keys of an index, whatever wrote them.
pub(crate) fn delete_index(place: Place<'_>, wtxn: &mut RwTxn<'_>) -> Result<()> {
    let first = place.index.to_be_bytes();
    let next = place.index.checked_add(1).map(u16::to_be_bytes);
    let end = next.as_ref().map_or(Bound::Unbounded, |next| Bound::Excluded(&next[..]));
    place.raw.delete_range(wtxn, &(Bound::Included(&first[..]), end))?;
    Ok(())
}

/// Changes below the engine, for tests that damage an index.
#[cfg(test)]
impl Place<'_> {
    pub(crate) fn put(&self, wtxn: &mut RwTxn<'_>, key: Key, body: Vec<u8>) -> Result<()> {
        put(*self, wtxn, key, body)
    }

    pub(crate) fn put_or_delete(&self, wtxn: &mut RwTxn<'_>, key: Key, body: Option<Vec<u8>>) -> Result<()> {
        put_or_delete(*self, wtxn, key, body)
    }

    pub(crate) fn delete(&self, wtxn: &mut RwTxn<'_>, key: Key) -> Result<()> {
        put_or_delete(*self, wtxn, key, None)
    }
}
