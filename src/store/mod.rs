//! LMDB: where the bytes of `format/` are found and put, and the views that `graph/` walks.
//!
//! - `sections/`: what an index consists of, a folder for each range of keys.
//! - `source`: a value by its key, through one transaction or behind a lock, verified or not.
//! - `table`: pointers to values that have been found, so that finding them again costs one load;
//!   `strided`: values of one length, in blocks of many (`address`: where one lies).
//! - `snapshot`: an index as one transaction sees it (`open` makes one); `view`: the same with a
//!   source (`prepared_query`: distances to its vectors).
//! - `owned_snapshot`: a snapshot that owns its transaction; `process`: what a forked child must
//!   not drop.
//! - `sq8_copy`: copies of the vectors in memory, for large builds.
//! - `checker`: what sections check an index with; `stats`: an index in numbers.
//! - `meter`: what all of it costs, counted for tests. `fault`: where tests interrupt it.
//! - `file`: LMDB's own pages, judged without a map; its free pages and readers; a compacted copy.
//!   `spool`: bytes put aside, in memory or in a file.
//! - `target`: what all changes go through. `repair`: undoing one that has not come to its end.
//! - `edit`: adding and removing items; `blocks`: where their vectors and codes go; `renumber`:
//!   writing an index in another order; `rebase`: writing a build on top of what others have
//!   committed since.
//!
//! Owns the invariant that a pointer into the map is only ever used while the transaction it was
//! found through is borrowed, and the only unsafe code on pointers outside of the kernels (`table`,
//! `open`, `source`, `owned_snapshot`).

mod address;
mod blocks;
pub(crate) mod checker;
pub(crate) mod edit;
pub(crate) mod fault;
pub(crate) mod file;
pub(crate) mod meter;
pub(crate) mod open;
pub(crate) mod owned_snapshot;
pub(crate) mod prepared_query;
pub(crate) mod process;
pub(crate) mod rebase;
pub(crate) mod renumber;
pub(crate) mod repair;
pub(crate) mod sections;
pub(crate) mod snapshot;
pub(crate) mod source;
pub(crate) mod spool;
pub(crate) mod sq8_copy;
pub(crate) mod stats;
pub(crate) mod strided;
pub(crate) mod table;
pub(crate) mod target;
pub(crate) mod view;

use std::ops::Bound;

use heed::RoTxn;
use heed::types::Bytes;

use crate::database::Database;
use crate::distance::{Distance, Metric};
use crate::error::{Error, Result};
use crate::format::Key;
use crate::format::checksum::Sound;
use crate::format::item_keys::Naming;

/// The database as bytes.
pub(crate) type Raw<'e> = heed::Database<'e, Bytes, Bytes>;

/// Asked now and then whether to go on; an error ends the work.
pub(crate) type GoOn<'a> = dyn Fn() -> Result<()> + Sync + 'a;

/// One index of a database, and the metric that it is to be of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'e> {
    pub(crate) raw: Raw<'e>,
    pub(crate) index: u16,
    pub(crate) metric: &'static Metric,
    /// What whoever changes it names items by.
    pub(crate) naming: Naming,
}

impl<'e> Place<'e> {
    /// An index of a database of this metric, whose items have ids only.
    pub(crate) fn of<D: Distance>(database: Database<'e, D>, index: u16) -> Self {
        Self { raw: database.remap_types(), index, metric: Metric::of::<D>(), naming: Naming::Ids }
    }

    /// The body under a key, verified: what is changed is read by this.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if its checksum does not hold.
    pub(crate) fn sound<'t>(&self, rtxn: &'t RoTxn<'_>, key: Key) -> Result<Option<Sound<'t>>> {
        self.unverified(rtxn, key)?.map(|value| Sound::of(key, value)).transpose()
    }

    /// The value under a key with its checksum, at which nobody has looked: see
    /// [`checksum`](crate::format::checksum) on who may read it.
    pub(crate) fn unverified<'t>(&self, rtxn: &'t RoTxn<'_>, key: Key) -> Result<Option<&'t [u8]>> {
        meter::read();
        self.find(rtxn, key)
    }

    /// As [`unverified`](Self::unverified), for a view, which counts what it accesses itself.
    fn find<'t>(&self, rtxn: &'t RoTxn<'_>, key: Key) -> Result<Option<&'t [u8]>> {
        Ok(self.raw.get(rtxn, &key.to_bytes())?)
    }

    /// The values with keys from `first` to `last`, both included, in order, with their checksums.
    pub(crate) fn range<'t>(
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

    /// All keys and values of the index, whatever they are, in order.
    pub(crate) fn all<'t>(
        &self,
        rtxn: &'t RoTxn<'_>,
    ) -> Result<impl Iterator<Item = Result<(&'t [u8], &'t [u8])>> + use<'t>> {
        let first = self.index.to_be_bytes();
        let next = self.index.checked_add(1).map(u16::to_be_bytes);
        let end = next.as_ref().map_or(Bound::Unbounded, |next| Bound::Excluded(&next[..]));
        let values = self.raw.range(rtxn, &(Bound::Included(&first[..]), end))?;
        Ok(values.map(|entry| Ok(entry?)))
    }

    /// The index's first key and value, whatever they are.
    pub(crate) fn first<'t>(&self, rtxn: &'t RoTxn<'_>) -> Result<Option<(&'t [u8], &'t [u8])>> {
        self.all(rtxn)?.next().transpose()
    }
}

fn first_index(key: &[u8]) -> u16 {
    key.first_chunk().map_or(0, |bytes| u16::from_be_bytes(*bytes))
}
