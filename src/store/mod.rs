//! Storage in LMDB: reads and writes the bytes of `format/`, and implements the views of `graph/`.
//!
//! - `sections/`: the key ranges of an index, in a folder each.
//! - `source`: looks up a value by its key, through one transaction or behind a lock, verified or
//!   not.
//! - `table`: pointer tables, in which finding a value again costs one load; `strided`: those of
//!   values of one length, in blocks of many (`address`: the location of one).
//! - `snapshot`: an index as one transaction sees it (`open` opens one); `view`: a snapshot with a
//!   source (`prepared_query`: distances to its vectors).
//! - `owned_snapshot`: a snapshot that owns its transaction; `process`: values that a forked child
//!   must not drop.
//! - `sq8_copy`: SQ8 copies of the vectors in memory, for large builds; `file_copies`: their codes
//!   in a temporary file (`temp_map`) that is mapped, for builds within a memory budget.
//! - `checker`: the context of a check; `stats`: statistics of an index.
//! - `readahead`: asks the system for what is about to be read, where it is not in memory.
//! - `meter`: cost counters for tests. `fault`: fault injection for tests.
//! - `file`: LMDB's own pages, read without a memory map; its free list and reader table;
//!   compaction into a copy. `spool`: temporary bytes, in memory or in a file.
//! - `target`: the write path of all changes. `repair`: undoes an unfinished edit.
//! - `edit`: adds and removes items; `blocks`: the write buffer of their vectors and codes;
//!   `renumber`: rewrites an index in another order; `rebase`: writes a build on top of later
//!   commits.
//!
//! Owns the invariant that a pointer into the memory map is used only while the transaction it was
//! found through is borrowed, and the only unsafe code on pointers outside of the kernels (`table`,
//! `open`, `source`, `owned_snapshot`); `temp_map` has that of its own map.

pub(crate) mod address;
mod blocks;
pub(crate) mod checker;
pub(crate) mod edit;
pub(crate) mod fault;
pub(crate) mod figures;
pub(crate) mod file;
pub(crate) mod file_copies;
pub(crate) mod meter;
pub(crate) mod open;
pub(crate) mod owned_snapshot;
pub(crate) mod prepared_query;
pub(crate) mod process;
pub(crate) mod range;
pub(crate) mod readahead;
pub(crate) mod rebase;
pub(crate) mod recode;
pub(crate) mod renumber;
pub(crate) mod repair;
pub(crate) mod scrub;
pub(crate) mod sections;
pub(crate) mod snapshot;
pub(crate) mod source;
pub(crate) mod spool;
pub(crate) mod sq8_copy;
pub(crate) mod stats;
pub(crate) mod strided;
pub(crate) mod table;
pub(crate) mod target;
pub(crate) mod temp_map;
pub(crate) mod view;
pub(crate) mod warnings;

use std::ops::Bound;

use heed::RoTxn;
use heed::types::Bytes;

use self::readahead::{addresses, ahead, stream};
use crate::database::Database;
use crate::distance::{Distance, Metric};
use crate::error::{Error, Result};
use crate::format::Key;
use crate::format::checksum::Sound;
use crate::format::item_keys::Naming;

/// The database, untyped.
pub(crate) type Raw<'e> = heed::Database<'e, Bytes, Bytes>;

/// Called at intervals during long work; an error cancels it.
pub(crate) type GoOn<'a> = dyn Fn() -> Result<()> + Sync + 'a;

/// One index of a database, with the metric it is opened with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'e> {
    pub(crate) raw: Raw<'e>,
    pub(crate) index: u16,
    pub(crate) metric: &'static Metric,
    /// How the caller names the items of the index.
    pub(crate) naming: Naming,
}

impl<'e> Place<'e> {
    /// An index whose items have ids only.
    pub(crate) fn of<D: Distance>(database: Database<'e, D>, index: u16) -> Self {
        Self { raw: database.remap_types(), index, metric: Metric::of::<D>(), naming: Naming::Ids }
    }

    /// The verified value under a key. Every read of a value that will be changed goes through
    /// this.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if its checksum does not match.
    pub(crate) fn sound<'t>(&self, rtxn: &'t RoTxn<'_>, key: Key) -> Result<Option<Sound<'t>>> {
        self.unverified(rtxn, key)?.map(|value| Sound::of(key, value)).transpose()
    }

    /// The value under a key, not verified, with its checksum: see
    /// [`checksum`](crate::format::checksum) for who may read it.
    pub(crate) fn unverified<'t>(&self, rtxn: &'t RoTxn<'_>, key: Key) -> Result<Option<&'t [u8]>> {
        meter::read();
        self.find(rtxn, key)
    }

    /// As [`unverified`](Self::unverified), for views, which count their own reads.
    fn find<'t>(&self, rtxn: &'t RoTxn<'_>, key: Key) -> Result<Option<&'t [u8]>> {
        stream::look_up(key, |from| {
            let values = self.entries(rtxn, Key { n: from, ..key }, Key { n: u32::MAX, ..key });
            Some(values.ok()?.map_while(|entry| entry.ok().map(|(key, value)| (key.n, value))))
        });
        Ok(self.raw.get(rtxn, &key.to_bytes())?)
    }

    /// The values with keys from `first` to `last`, both included, in key order, with their
    /// checksums. Values to come are read ahead.
    pub(crate) fn range<'t>(
        &self,
        rtxn: &'t RoTxn<'_>,
        first: Key,
        last: Key,
    ) -> Result<impl Iterator<Item = Result<(Key, &'t [u8])>> + use<'t>> {
        let bytes = |entry: &Result<(Key, &'t [u8])>| {
            entry.as_ref().map_or(0..0, |(_, value)| addresses(value))
        };
        Ok(ahead(self.entries(rtxn, first, last)?, bytes))
    }

    /// The first value with a key from `first` to `last`, both included, verified.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if its checksum does not match.
    pub(crate) fn first_sound<'t>(
        &self,
        rtxn: &'t RoTxn<'_>,
        first: Key,
        last: Key,
    ) -> Result<Option<(Key, Sound<'t>)>> {
        meter::read();
        let found = self.entries(rtxn, first, last)?.next().transpose()?;
        found.map(|(key, value)| Ok((key, Sound::of(key, value)?))).transpose()
    }

    /// The last value with a key from `first` to `last`, as
    /// [`first_sound`](Self::first_sound) finds the first.
    pub(crate) fn last_sound<'t>(
        &self,
        rtxn: &'t RoTxn<'_>,
        first: Key,
        last: Key,
    ) -> Result<Option<(Key, Sound<'t>)>> {
        meter::read();
        let (first, last) = (first.to_bytes(), last.to_bytes());
        let range = (Bound::Included(&first[..]), Bound::Included(&last[..]));
        let Some(entry) = self.raw.rev_range(rtxn, &range)?.next() else { return Ok(None) };
        let (key, value) = entry?;
        // All keys between two of a kind that has no long ones are of that kind.
        let Some(key) = Key::from_bytes(key) else { return Ok(None) };
        Ok(Some((key, Sound::of(key, value)?)))
    }

    /// As [`range`](Self::range), without reading ahead.
    fn entries<'t>(
        &self,
        rtxn: &'t RoTxn<'_>,
        first: Key,
        last: Key,
    ) -> Result<impl Iterator<Item = Result<(Key, &'t [u8])>> + use<'t>> {
        let (first, last) = (first.to_bytes(), last.to_bytes());
        let values =
            self.raw.range(rtxn, &(Bound::Included(&first[..]), Bound::Included(&last[..])))?;
        Ok(values.map(|entry| {
            let (key, value) = entry?;
            let key = Key::from_bytes(key).ok_or(Error::Foreign {
                index: first_index(key),
                what: "a key of it is not one of ours",
            })?;
            Ok((key, value))
        }))
    }

    /// All keys and values of the index in key order, known or not. Values to come are read ahead.
    pub(crate) fn all<'t>(
        &self,
        rtxn: &'t RoTxn<'_>,
    ) -> Result<impl Iterator<Item = Result<(&'t [u8], &'t [u8])>> + use<'t>> {
        let first = self.index.to_be_bytes();
        let next = self.index.checked_add(1).map(u16::to_be_bytes);
        let end = next.as_ref().map_or(Bound::Unbounded, |next| Bound::Excluded(&next[..]));
        let values = self.raw.range(rtxn, &(Bound::Included(&first[..]), end))?;
        let bytes = |entry: &Result<(&'t [u8], &'t [u8])>| {
            entry.as_ref().map_or(0..0, |(_, value)| addresses(value))
        };
        Ok(ahead(values.map(|entry| Ok(entry?)), bytes))
    }

    /// The first key and value of the index, known or not.
    pub(crate) fn first<'t>(&self, rtxn: &'t RoTxn<'_>) -> Result<Option<(&'t [u8], &'t [u8])>> {
        self.all(rtxn)?.next().transpose()
    }
}

fn first_index(key: &[u8]) -> u16 {
    key.first_chunk().map_or(0, |bytes| u16::from_be_bytes(*bytes))
}
