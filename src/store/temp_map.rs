//! A temporary file that is written once, sequentially, and then read through a memory map: bytes
//! that may not fit in memory, of which the page cache holds what is in use.
//!
//! The file has no name: it disappears when it is dropped, or with the process. Room on the disk is
//! checked by whoever creates one; a write without room is an error, and the map is only created
//! when all bytes are written, so that reading it needs no room.
//!
//! Invariant: nobody else can open the file, and it is not written once it is mapped.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::error::{Error, Result};

/// Bytes that are buffered before they are written.
const BUFFER_BYTES: usize = 1 << 18;

/// The file while it is written.
#[derive(Debug)]
pub(crate) struct TempFile {
    file: BufWriter<File>,
    folder: PathBuf,
    bytes: u64,
}

impl TempFile {
    /// An empty file in `folder`.
    ///
    /// # Errors
    /// [`Error::DiskFull`] and [`Error::Io`], of the folder.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(folder)
            .map_err(Error::io("create a temporary file in", folder))?;
        let file = BufWriter::with_capacity(BUFFER_BYTES, file);
        Ok(Self { file, folder: folder.to_owned(), bytes: 0 })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes).map_err(Error::io("write a temporary file in", &self.folder))
    }

    /// The number of bytes written.
    pub(crate) fn len(&self) -> u64 {
        self.bytes
    }

    /// Maps what has been written.
    ///
    /// # Errors
    /// As [`new`](Self::new), as buffered bytes are written only now.
    pub(crate) fn finish(self) -> Result<TempMap> {
        let Self { file, folder, bytes } = self;
        let failed = Error::io("write a temporary file in", &folder);
        let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
        if bytes == 0 {
            return Ok(TempMap { map: None });
        }
        // SAFETY: the file has no name and no other handle, and nothing writes to it or shortens it
        // from here on: it lives as long as the map, which keeps it open, and is never written.
        let map = unsafe { Mmap::map(&file) };
        let map = map.map_err(Error::io("map a temporary file in", &folder))?;
        // Accesses follow the data, not the file: reading ahead would evict what is in use.
        #[cfg(unix)]
        let _ = map.advise(memmap2::Advice::Random);
        Ok(TempMap { map: Some(map) })
    }
}

/// The written file, mapped.
#[derive(Debug)]
pub(crate) struct TempMap {
    /// `None` if it is empty.
    map: Option<Mmap>,
}

impl TempMap {
    #[inline(always)]
    pub(crate) fn bytes(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }

    /// Asks the system to read a range of bytes, which is read next. A hint, which may be ignored.
    pub(crate) fn will_need(&self, from: usize, to: usize) {
        #[cfg(unix)]
        if let Some(map) = &self.map
            && from < to.min(map.len())
        {
            _ = map.advise_range(memmap2::Advice::WillNeed, from, to.min(map.len()) - from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_an_empty_file_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = TempFile::new(folder.path()).unwrap();
        for i in 0..100_000u32 {
            file.write(&i.to_le_bytes()).unwrap();
        }
        assert_eq!(file.len(), 400_000);
        let map = file.finish().unwrap();
        map.will_need(300_000, 1 << 40);
        assert_eq!(map.bytes().len(), 400_000);
        assert_eq!(map.bytes()[4 * 77_777..][..4], 77_777u32.to_le_bytes());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "it has no name");
        assert!(TempFile::new(folder.path()).unwrap().finish().unwrap().bytes().is_empty());
        assert!(matches!(TempFile::new(&folder.path().join("none")), Err(Error::Io { .. })));
    }
}
