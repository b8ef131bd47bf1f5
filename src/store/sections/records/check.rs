//! The invariant of records: each belongs to an item, and META counts them.

use crate::error::Result;
use crate::format::records::{Counts, MAX_RECORD_BYTES};
use crate::format::{Key, Kind, checksum};
use crate::store::checker::{Checker, Invariant};

impl Checker<'_, '_, '_> {
    /// Checks `records`, and its part of `meta`.
    pub(super) fn check_records(&mut self) -> Result<()> {
        let meta = &self.view.snapshot.meta;
        let counted = match Counts::decode(meta.part(Kind::RECORDS)) {
            Ok(counted) => counted,
            Err(what) => {
                let meta = Key::meta(self.place.index);
                self.findings.add(Invariant::Meta, format!("{meta}: {what}"));
                return Ok(());
            }
        };
        let (mut records, mut bytes) = (0u64, 0u64);
        let (first, last) = Key::all_of(self.place.index, Kind::RECORDS);
        for entry in self.place.range(self.rtxn, first, last)? {
            let (key, value) = entry?;
            if key.sub != 0 {
                continue;
            }
            let length = checksum::unverified(value).len();
            (records, bytes) = (records + 1, bytes + length as u64);
            self.findings.expect(length <= MAX_RECORD_BYTES, Invariant::Layout, || {
                format!("{key}: it is longer than a record can be")
            });
            let slot = self.view.slot(key.n);
            let slot = self.survive(slot)?;
            self.findings.expect(slot != Some(None), Invariant::Records, || {
                format!("{key} is the record of an item that does not exist")
            });
        }
        let is_counted = records == u64::from(counted.records) && bytes == counted.bytes;
        self.findings.expect(is_counted, Invariant::Records, || {
            format!("there are {records} records of {bytes} bytes, the metadata says {counted:?}")
        });
        Ok(())
    }
}
