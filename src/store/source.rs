//! Sources: look up values by key, through the transaction of the calling thread, behind a lock for
//! the threads of a build, or among values found before.
//!
//! Work whose result is written reads through [`Verified`], which verifies the checksum of a value
//! when it is looked up. Its type says so: it is a [`SoundSource`].
//!
//! All sources of one snapshot return the same bytes, which live as long as the snapshot is
//! borrowed: `'t`. This promise allows a pointer table to be filled through one transaction and
//! read while another is in use.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, PoisonError};

use heed::{RoTxn, RwTxn, WithoutTls};

use super::Place;
use super::readahead::{addresses, ask_for};
use super::table::Memory;
use crate::error::{Error, Result};
use crate::format::Key;
use crate::format::checksum::Sound;

/// A value of more bytes is asked for as a whole before it is verified: else each of its pages is
/// read by a page fault, if they are not in memory.
const PAGES_BYTES: usize = 8 << 10;

/// A type-erased source for all threads of a build: build code is compiled once.
pub(crate) type AnySource<'s, 't> = &'s (dyn SoundSource<'t> + Sync + 's);

/// A row whose LMDB key is longer than a [`Key`], and its value.
pub(crate) type SourceRow<'t> = (&'t [u8], &'t [u8]);

/// Looks up values that are not in a pointer table yet.
pub(crate) trait Source<'t> {
    /// The value under `key`.
    fn get(&self, key: Key) -> Result<Option<&'t [u8]>>;

    /// The same, for values that a build visits again and again: blocks of vectors or codes, tail
    /// values, groups of neighbor lists. See [`Verified`].
    fn get_walked(&self, key: Key) -> Result<Option<&'t [u8]>> {
        self.get(key)
    }

    /// The values with keys from `first` to `last`, both included, `most` at most, unread; none
    /// where only single values can be looked up. Keys must be of [`Key::BYTES`].
    fn values(&self, _first: Key, _last: Key, _most: usize) -> Result<Vec<(Key, &'t [u8])>> {
        Ok(Vec::new())
    }

    /// The rows with LMDB keys in a range, `most` at most, from its first, or from its last if
    /// `is_reversed`: not verified. None where only single values can be looked up.
    fn rows(
        &self,
        _first: Bound<&[u8]>,
        _last: Bound<&[u8]>,
        _is_reversed: bool,
        _most: usize,
    ) -> Result<Vec<SourceRow<'t>>> {
        Ok(Vec::new())
    }
}

/// The rows of a transaction: see [`Source::rows`].
pub(super) fn rows_in<'t>(
    place: Place<'_>,
    rtxn: &'t RoTxn<'_>,
    range: (Bound<&[u8]>, Bound<&[u8]>),
    is_reversed: bool,
    most: usize,
) -> Result<Vec<SourceRow<'t>>> {
    let rows: heed::Result<Vec<_>> = match is_reversed {
        true => place.raw.rev_range(rtxn, &range)?.take(most).collect(),
        false => place.raw.range(rtxn, &range)?.take(most).collect(),
    };
    Ok(rows?)
}

/// A source for work whose result is written. Only [`Verified`] is one.
pub(crate) trait SoundSource<'t>: Source<'t> {}

/// A source that verifies checksums, for snapshots in which no other source has found values.
///
/// Full tables remember every value, so each is looked up and verified once. Bounded tables forget:
/// a graph traversal looks the same values up again and again, and verifying a block of 32 kB for
/// each vector that is compared would take longer than the comparison. So for them, values that a
/// traversal visits (blocks of vectors and codes, groups of neighbor lists) are not verified here
/// but where they are written back: [`View::group_records`](super::view::View), `sound_vector`. A
/// traversal that reads a damaged value may choose a worse neighbor; the damage is still there for
/// `check` to find.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Verified<S> {
    source: S,
    /// Whether values that a traversal visits are verified, too.
    all: bool,
}

impl<S> Verified<S> {
    /// For tables of this memory. `Bounded` also suits work that looks up all of those values but
    /// reads hardly any.
    pub(crate) fn new(source: S, memory: Memory) -> Self {
        Self { source, all: memory == Memory::Full }
    }
}

impl<'t, S: Source<'t>> Source<'t> for Verified<S> {
    fn get(&self, key: Key) -> Result<Option<&'t [u8]>> {
        let value = self.source.get(key)?;
        if let Some(value) = value {
            if value.len() > PAGES_BYTES {
                ask_for(std::iter::once(addresses(value)));
            }
            Sound::of(key, value)?;
        }
        Ok(value)
    }

    fn get_walked(&self, key: Key) -> Result<Option<&'t [u8]>> {
        if self.all { self.get(key) } else { self.source.get(key) }
    }

    fn rows(
        &self,
        first: Bound<&[u8]>,
        last: Bound<&[u8]>,
        is_reversed: bool,
        most: usize,
    ) -> Result<Vec<SourceRow<'t>>> {
        // Whoever reads rows verifies them.
        self.source.rows(first, last, is_reversed, most)
    }

    fn values(&self, first: Key, last: Key, most: usize) -> Result<Vec<(Key, &'t [u8])>> {
        let values = self.source.values(first, last, most)?;
        values.iter().try_for_each(|(key, value)| Sound::of(*key, value).map(drop))?;
        Ok(values)
    }
}

impl<'t, S: Source<'t>> SoundSource<'t> for Verified<S> {}

impl<'t, S: SoundSource<'t> + ?Sized> SoundSource<'t> for &S {}

/// Extends the lifetime of `bytes` to `'t`.
///
/// # Safety
/// They must live, unchanged, that long: see the callers.
pub(super) unsafe fn extend<'t>(bytes: &[u8]) -> &'t [u8] {
    // SAFETY: the caller promises that the bytes live, unchanged, as long as 't.
    unsafe { std::slice::from_raw_parts(bytes.as_ptr(), bytes.len()) }
}

/// The calling thread's transaction, on the snapshot of a reader.
pub(crate) struct Calling<'a, 'e> {
    place: Place<'e>,
    rtxn: &'a RoTxn<'a>,
}

impl<'a, 'e> Calling<'a, 'e> {
    /// A source for the snapshot with transaction id `snapshot`, whose own transaction is borrowed
    /// by the caller as long as it uses the returned values.
    ///
    /// # Errors
    /// [`Error::SnapshotMismatch`] if `rtxn` is on another snapshot.
    pub(crate) fn new(place: Place<'e>, rtxn: &'a RoTxn<'_>, snapshot: usize) -> Result<Self> {
        let found = rtxn.id();
        if found == snapshot {
            Ok(Self { place, rtxn })
        } else {
            Err(Error::SnapshotMismatch { expected: snapshot, found })
        }
    }
}

impl<'t> Source<'t> for Calling<'_, '_> {
    #[inline(never)]
    fn get(&self, key: Key) -> Result<Option<&'t [u8]>> {
        let value = self.place.find(self.rtxn, key)?;
        // SAFETY: the transaction has the id of the snapshot (checked in `new`) and belongs to the
        // same environment (heed checks it in `get`), so both see the same pages: those of the map,
        // which LMDB does not reuse while a transaction that reads the snapshot is open, or, in a
        // write transaction, its own dirty pages, which do not move until the next write. The
        // snapshot borrows the transaction it was opened with for 't, mutably where writing would
        // need it, so that transaction is open and nothing is written for all of 't. A write
        // transaction and the read transaction after its commit share an id, but the first must
        // have ended before the second exists.
        Ok(value.map(|bytes| unsafe { extend(bytes) }))
    }

    fn values(&self, first: Key, last: Key, most: usize) -> Result<Vec<(Key, &'t [u8])>> {
        let values = self.place.entries(self.rtxn, first, last)?.take(most);
        // SAFETY: as in `get`.
        values.map(|value| value.map(|(key, bytes)| (key, unsafe { extend(bytes) }))).collect()
    }

    fn rows(
        &self,
        first: Bound<&[u8]>,
        last: Bound<&[u8]>,
        is_reversed: bool,
        most: usize,
    ) -> Result<Vec<SourceRow<'t>>> {
        let rows = rows_in(self.place, self.rtxn, (first, last), is_reversed, most)?.into_iter();
        // SAFETY: as in `get`; keys lie in the same pages.
        Ok(rows.map(|(key, value)| unsafe { (extend(key), extend(value)) }).collect())
    }
}

/// The transaction that all threads of a build share: a nested read transaction, which sees what
/// its parent has written.
pub(crate) struct Shared<'t, 'e> {
    place: Place<'e>,
    rtxn: Mutex<RoTxn<'t, WithoutTls>>,
}

impl<'t, 'e> Shared<'t, 'e> {
    /// A source that sees what `wtxn` sees. `wtxn` is borrowed, so it cannot be written to
    /// meanwhile.
    pub(crate) fn new(place: Place<'e>, wtxn: &'t RwTxn<'_>) -> Result<Self> {
        Ok(Self { place, rtxn: Mutex::new(wtxn.nested_read_txn()?) })
    }

    /// Runs `work` with the transaction, for one thread at a time. Its parent cannot be read while
    /// there is this one.
    pub(crate) fn lend<T>(&self, work: impl FnOnce(&RoTxn<'_>) -> Result<T>) -> Result<T> {
        work(&self.rtxn.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<'t> Source<'t> for Shared<'t, '_> {
    #[inline(never)]
    fn get(&self, key: Key) -> Result<Option<&'t [u8]>> {
        let rtxn = self.rtxn.lock().unwrap_or_else(PoisonError::into_inner);
        let value = self.place.find(&rtxn, key)?;
        // SAFETY: a nested read transaction has no pages of its own: the bytes are in the map or in
        // a dirty page of the parent, which is borrowed for 't and not written to meanwhile.
        Ok(value.map(|bytes| unsafe { extend(bytes) }))
    }

    fn values(&self, first: Key, last: Key, most: usize) -> Result<Vec<(Key, &'t [u8])>> {
        self.lend(|rtxn| {
            let values = self.place.entries(rtxn, first, last)?.take(most);
            // SAFETY: as in `get`.
            values.map(|value| value.map(|(key, bytes)| (key, unsafe { extend(bytes) }))).collect()
        })
    }

    fn rows(
        &self,
        first: Bound<&[u8]>,
        last: Bound<&[u8]>,
        is_reversed: bool,
        most: usize,
    ) -> Result<Vec<SourceRow<'t>>> {
        self.lend(|rtxn| {
            let rows = rows_in(self.place, rtxn, (first, last), is_reversed, most)?.into_iter();
            // SAFETY: as in `get`; keys lie in the same pages.
            Ok(rows.map(|(key, value)| unsafe { (extend(key), extend(value)) }).collect())
        })
    }
}

/// Values found in advance that have no pointer table, for snapshots whose tables are full.
#[derive(Debug, Default)]
pub(crate) struct Warm<'t> {
    values: BTreeMap<Key, &'t [u8]>,
    /// The rows of fields.
    rows: BTreeMap<&'t [u8], &'t [u8]>,
}

impl<'t> Warm<'t> {
    pub(crate) fn new(
        values: BTreeMap<Key, &'t [u8]>,
        rows: impl IntoIterator<Item = SourceRow<'t>>,
    ) -> Self {
        Self { values, rows: rows.into_iter().collect() }
    }
}

impl<'t> Source<'t> for Warm<'t> {
    fn get(&self, key: Key) -> Result<Option<&'t [u8]>> {
        Ok(self.values.get(&key).copied())
    }

    fn values(&self, first: Key, last: Key, most: usize) -> Result<Vec<(Key, &'t [u8])>> {
        if first > last {
            return Ok(Vec::new());
        }
        let values = self.values.range(first..=last).take(most);
        Ok(values.map(|(key, value)| (*key, *value)).collect())
    }

    fn rows(
        &self,
        first: Bound<&[u8]>,
        last: Bound<&[u8]>,
        is_reversed: bool,
        most: usize,
    ) -> Result<Vec<SourceRow<'t>>> {
        let is_empty = match (first, last) {
            (Bound::Included(first), Bound::Included(last)) => first > last,
            (Bound::Included(first) | Bound::Excluded(first), Bound::Excluded(last))
            | (Bound::Excluded(first), Bound::Included(last)) => first >= last,
            _ => false,
        };
        if is_empty {
            return Ok(Vec::new());
        }
        let rows = self.rows.range::<[u8], _>((first, last)).map(|(key, value)| (*key, *value));
        Ok(if is_reversed { rows.rev().take(most).collect() } else { rows.take(most).collect() })
    }
}

impl<'t, S: Source<'t> + ?Sized> Source<'t> for &S {
    fn get(&self, key: Key) -> Result<Option<&'t [u8]>> {
        (**self).get(key)
    }

    fn get_walked(&self, key: Key) -> Result<Option<&'t [u8]>> {
        (**self).get_walked(key)
    }

    fn values(&self, first: Key, last: Key, most: usize) -> Result<Vec<(Key, &'t [u8])>> {
        (**self).values(first, last, most)
    }

    fn rows(
        &self,
        first: Bound<&[u8]>,
        last: Bound<&[u8]>,
        is_reversed: bool,
        most: usize,
    ) -> Result<Vec<SourceRow<'t>>> {
        (**self).rows(first, last, is_reversed, most)
    }
}
