//! The write path: the only code that writes the values of an index.
//!
//! An edit is many puts, and user code runs between them: row iterators, metrics, progress
//! callbacks. A panic in it can be caught, and the transaction committed by its owner. So
//! [`Target`] writes two values before the first put of an edit: DELTA = everything, and the META
//! from before the edit with a *mark* ([`Torn`]), which makes every later open fail with
//! `TornEdit`. The end of the edit replaces both. An edit that is dropped, leaked or unwound before
//! its first put has changed nothing; one that is dropped after it stays marked, and `repair`
//! undoes it.
//!
//! [`Target::complete`] writes the last values of an edit without a mark: no user code runs between
//! these puts, only LMDB, which refuses to commit a transaction after a failed put.
//!
//! Invariant: no other code puts or deletes values of an index.

use std::ops::Bound;

use heed::{RoTxn, RwTxn};

use super::{Place, Raw, fault, meter};
use crate::error::Result;
use crate::format::checksum::Sound;
use crate::format::delta::{self, Delta, Deltas};
use crate::format::meta::{Meta, Torn};
use crate::format::{Key, Kind, checksum};

/// A body to put under a key, or `None` to delete the value.
pub(crate) type Put = (Key, Option<Vec<u8>>);

/// The same for a row, whose LMDB key is longer than a [`Key`].
pub(crate) type RowPut = (Vec<u8>, Option<Vec<u8>>);

/// The rows that an edit changes at its end.
#[derive(Default)]
pub(crate) struct Rows {
    pub(crate) puts: Vec<RowPut>,
    /// Ranges of LMDB keys, without their ends, whose rows are deleted: none of those to put.
    pub(crate) gone: Vec<[Vec<u8>; 2]>,
}

/// What an edit has written so far, and what it needs to finish.
pub(super) struct Journal {
    /// META before the edit.
    before: Meta,
    /// The mark that META carries now.
    marked: Option<Torn>,
    /// Values rewritten by this edit.
    delta: Delta,
    /// The values that earlier edits of the transaction have rewritten, for all indexes. `None`
    /// while they can still be read from DELTA.
    earlier: Option<Deltas>,
    /// Whether DELTA lists a value.
    is_listed: fn(Key) -> bool,
    /// Whether the key range of the index still has DELTA values of an earlier format version.
    has_old_deltas: bool,
}

impl Journal {
    /// The journal of an edit that begins with this META.
    pub(super) fn of(before: Meta, is_listed: fn(Key) -> bool) -> Self {
        // Readers of DELTA know nothing of what earlier versions have rewritten.
        let is_old = before.is_without_parts();
        Self {
            before,
            marked: None,
            delta: if is_old { Delta::Everything } else { Delta::default() },
            earlier: None,
            is_listed,
            has_old_deltas: is_old,
        }
    }

    /// The same, for an edit after which every value may lie elsewhere.
    pub(super) fn of_everything(before: Meta, is_listed: fn(Key) -> bool) -> Self {
        Self { delta: Delta::Everything, ..Self::of(before, is_listed) }
    }

    /// META before the edit.
    pub(super) fn before(&self) -> &Meta {
        &self.before
    }

    fn note(&mut self, key: Key) {
        if let Delta::Values(values) = &mut self.delta
            && (self.is_listed)(key)
        {
            values.entry(key.kind).or_default().push(key.n);
        }
    }
}

/// The write side of an edit: the transaction, and the journal of its puts.
pub(crate) struct Target<'a, 'e, 'p> {
    pub(crate) place: Place<'e>,
    pub(crate) wtxn: &'a mut RwTxn<'p>,
    pub(super) journal: &'a mut Journal,
}

impl Target<'_, '_, '_> {
    /// Marks META, unless it carries this mark or a stronger one.
    pub(super) fn mark(&mut self, torn: Torn) -> Result<()> {
        if self.journal.marked >= Some(torn) {
            return Ok(());
        }
        if self.journal.earlier.is_none() {
            let earlier = earlier(self.place.raw, self.wtxn)?;
            self.put_deltas(earlier.clone(), Delta::Everything)?;
            self.journal.earlier = Some(earlier);
        }
        put(
            self.place.raw,
            self.wtxn,
            Key::meta(self.place.index),
            self.journal.before.encode_torn(torn),
        )?;
        self.journal.marked = Some(torn);
        Ok(())
    }

    /// Puts or deletes a value without changing what belongs to a live slot of the old META, unless
    /// it is of a section whose values `repair` deletes (`Section::changes_early`).
    pub(crate) fn put(&mut self, key: Key, body: Option<Vec<u8>>) -> Result<()> {
        self.put_marked(Torn::Items, key, body)
    }

    /// Puts or deletes a value of the graph or of the codes, which `repair` does not need.
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
            fault::put();
        }
        self.journal.note(key);
        put_or_delete(self.place, self.wtxn, key, body)
    }

    /// Deletes all values of a kind of the graph or of the codes.
    pub(super) fn delete_derived(&mut self, kind: Kind) -> Result<()> {
        let (first, last) = Key::all_of(self.place.index, kind);
        self.delete_range(Torn::Derived, first, last)
    }

    /// Deletes all values of the graph, of codes or of lists with keys from `first` to `last`, both
    /// included.
    pub(super) fn delete_derived_range(&mut self, [first, last]: [Key; 2]) -> Result<()> {
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
        self.delete_keys(first, last)
    }

    fn delete_keys(&mut self, first: Key, last: Key) -> Result<()> {
        let (first, last) = (first.to_bytes(), last.to_bytes());
        let range = (Bound::Included(&first[..]), Bound::Included(&last[..]));
        self.place.raw.delete_range(self.wtxn, &range)?;
        Ok(())
    }

    /// Finishes the edit: writes its last values and rows, then DELTA, and META last of all.
    pub(super) fn complete(mut self, puts: Vec<Put>, rows: Rows, meta: &Meta) -> Result<()> {
        let deltas = match self.journal.earlier.take() {
            Some(earlier) => earlier,
            None => earlier(self.place.raw, self.wtxn)?,
        };
        for (key, body) in puts {
            self.journal.note(key);
            put_or_delete(self.place, self.wtxn, key, body)?;
        }
        for [first, end] in &rows.gone {
            let range = (Bound::Included(&first[..]), Bound::Excluded(&end[..]));
            self.place.raw.delete_range(self.wtxn, &range)?;
        }
        rows.puts.into_iter().try_for_each(|row| put_row(self.place.raw, self.wtxn, row))?;
        let mut written = deltas.of(self.place.index).unwrap_or_default();
        // `merge` also sorts the lists.
        written.merge(std::mem::replace(&mut self.journal.delta, Delta::Everything));
        self.put_deltas(deltas, written)?;
        put(self.place.raw, self.wtxn, Key::meta(self.place.index), meta.encode())
    }

    /// Puts DELTA, with the entry of this index replaced.
    fn put_deltas(&mut self, mut deltas: Deltas, delta: Delta) -> Result<()> {
        if std::mem::take(&mut self.journal.has_old_deltas) {
            let (first, last) = Key::all_of(self.place.index, Kind::DELTA);
            self.delete_keys(first, last)?;
        }
        deltas.insert(self.place.index, delta);
        put_deltas(self.place.raw, self.wtxn, &deltas)
    }
}

/// Puts the DELTA of a transaction.
fn put_deltas(raw: Raw<'_>, wtxn: &mut RwTxn<'_>, deltas: &Deltas) -> Result<()> {
    let transaction = wtxn.id() as u64;
    put(raw, wtxn, delta::key(transaction), deltas.encode(transaction))
}

/// What a transaction has rewritten. `None` if it says nothing: its DELTA is missing, or another
/// transaction's. Damaged, it is useless to all readers, and stands for what is always true.
pub(super) fn deltas(raw: Raw<'_>, rtxn: &RoTxn<'_>, transaction: u64) -> Result<Option<Deltas>> {
    let key = delta::key(transaction);
    meter::read();
    let Some(value) = raw.get(rtxn, &key.to_bytes())? else { return Ok(None) };
    Ok(match Sound::of(key, value).map(|sound| Deltas::decode(sound.body())) {
        Ok(Ok((found, deltas))) => (found == transaction).then_some(deltas),
        Ok(Err(_)) | Err(_) => Some(Deltas::Everything),
    })
}

/// The values that earlier edits of the transaction have rewritten.
fn earlier(raw: Raw<'_>, wtxn: &RwTxn<'_>) -> Result<Deltas> {
    Ok(deltas(raw, wtxn, wtxn.id() as u64)?.unwrap_or_default())
}

/// The values of an index that earlier edits of the transaction have rewritten.
pub(super) fn written(place: Place<'_>, wtxn: &RwTxn<'_>) -> Result<Delta> {
    Ok(earlier(place.raw, wtxn)?.of(place.index).unwrap_or_default())
}

/// Puts a body under its key, with its checksum.
fn put(raw: Raw<'_>, wtxn: &mut RwTxn<'_>, key: Key, mut body: Vec<u8>) -> Result<()> {
    checksum::seal(key, &mut body);
    meter::wrote(body.len());
    Ok(raw.put(wtxn, &key.to_bytes(), &body)?)
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
    put(place.raw, wtxn, key, body)
}

/// Puts the body of a row, or deletes the row.
fn put_row(raw: Raw<'_>, wtxn: &mut RwTxn<'_>, (key, body): RowPut) -> Result<()> {
    let Some(mut body) = body else {
        meter::wrote(0);
        raw.delete(wtxn, &key)?;
        return Ok(());
    };
    checksum::seal_under(&key, &mut body);
    meter::wrote(body.len());
    Ok(raw.put(wtxn, &key, &body)?)
}

/// Deletes all keys of an index, including unknown ones.
pub(crate) fn delete_index(raw: Raw<'_>, index: u16, wtxn: &mut RwTxn<'_>) -> Result<()> {
    let first = index.to_be_bytes();
    let next = index.checked_add(1).map(u16::to_be_bytes);
    let end = next.as_ref().map_or(Bound::Unbounded, |next| Bound::Excluded(&next[..]));
    if raw.delete_range(wtxn, &(Bound::Included(&first[..]), end))? == 0 {
        return Ok(());
    }
    let mut deltas = earlier(raw, wtxn)?;
    deltas.insert(index, Delta::Everything);
    put_deltas(raw, wtxn, &deltas)
}

/// Puts without a mark, for tests that damage an index.
#[cfg(test)]
impl Place<'_> {
    pub(crate) fn put(&self, wtxn: &mut RwTxn<'_>, key: Key, body: Vec<u8>) -> Result<()> {
        put(self.raw, wtxn, key, body)
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
