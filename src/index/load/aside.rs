//! The rows of a load in one commit, or of one batch: in memory or in a temporary file.

use std::marker::PhantomData;
use std::path::Path;

use super::Row;
use crate::codec::Component;
use crate::error::Result;
use crate::store::spool::Spool;

/// The maximum size of the spool in memory, in bytes; beyond that it is a file.
const MEMORY_BYTES: usize = 64 << 20;

/// The length that stands for no record.
pub(super) const NO_RECORD: u32 = u32::MAX;

/// The spool: for each item the length of its name in bytes, the name, the components of its
/// vector, the length of its record, and the record, all little-endian.
pub(super) struct Aside<T> {
    rows: Spool,
    pub(super) dimensions: usize,
    pub(super) count: u64,
    /// Bytes of all records.
    pub(super) record_bytes: u64,
    component: PhantomData<T>,
}

impl<T: Component> Aside<T> {
    /// Keeps rows in memory up to `in_memory` bytes, or a default.
    pub(super) fn new(folder: &Path, dimensions: usize, in_memory: Option<u64>) -> Self {
        let in_memory = in_memory.map_or(MEMORY_BYTES, |bytes| MEMORY_BYTES.min(bytes as usize));
        Self {
            rows: Spool::new(in_memory, Some(folder)),
            dimensions,
            count: 0,
            record_bytes: 0,
            component: PhantomData,
        }
    }

    /// # Errors
    /// Those of the file system.
    pub(super) fn put(&mut self, name: &[u8], vector: &[T], record: Option<&[u8]>) -> Result<()> {
        self.rows.write(&(name.len() as u16).to_le_bytes())?;
        self.rows.write(name)?;
        vector.iter().try_for_each(|component| self.rows.write(component.to_bytes().as_ref()))?;
        let length = record.map_or(NO_RECORD, |record| record.len() as u32);
        self.rows.write(&length.to_le_bytes())?;
        self.rows.write(record.unwrap_or_default())?;
        self.count += 1;
        self.record_bytes += record.map_or(0, <[u8]>::len) as u64;
        Ok(())
    }

    /// All rows, from the first.
    pub(super) fn rows(&mut self) -> Result<impl Iterator<Item = Result<Row<T>>>> {
        let mut rows = self.rows.read()?;
        let mut row = vec![0; size_of::<T>() * self.dimensions];
        Ok((0..self.count).map(move |_| {
            let mut length = [0; 2];
            rows.read_exact(&mut length)?;
            let mut name = vec![0; u16::from_le_bytes(length).into()];
            rows.read_exact(&mut name)?;
            rows.read_exact(&mut row)?;
            let mut length = [0; 4];
            rows.read_exact(&mut length)?;
            let record = match u32::from_le_bytes(length) {
                NO_RECORD => None,
                length => {
                    let mut record = vec![0; length as usize];
                    rows.read_exact(&mut record)?;
                    Some(record)
                }
            };
            Ok((name, T::of_bytes(&row), record))
        }))
    }
}
