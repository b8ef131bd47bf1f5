//! Temporary storage while an index is being written: rows of bytes, in memory up to a limit and in
//! an unnamed file beyond it.
//!
//! Invariant: an error of that file names its folder, which need not be the index's.

use std::io::{self, BufReader, BufWriter, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use tempfile::{SpooledTempFile, spooled_tempfile_in};

use crate::error::{Error, Result};

/// Bytes that are written once, sequentially, and then read in the same order any number of times.
#[derive(Debug)]
pub(crate) struct Spool {
    file: BufWriter<SpooledTempFile>,
    folder: PathBuf,
}

impl Spool {
    /// An empty spool. Beyond `memory_bytes` bytes it moves to a file in `folder`, or in the
    /// system's temporary folder.
    pub(crate) fn new(memory_bytes: usize, folder: Option<&Path>) -> Self {
        let folder = folder.map_or_else(std::env::temp_dir, Path::to_owned);
        Self { file: BufWriter::new(spooled_tempfile_in(memory_bytes, &folder)), folder }
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// [`Error::DiskFull`] and [`Error::Io`], of the folder.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::io("write a temporary file in", &self.folder))
    }

    /// Reads all bytes from the start.
    ///
    /// # Errors
    /// As [`write`](Self::write), as buffered bytes are written only now.
    pub(crate) fn read(&mut self) -> Result<Spooled<'_>> {
        self.file.rewind().map_err(Error::io("write a temporary file in", &self.folder))?;
        Ok(Spooled { file: BufReader::new(self.file.get_mut()), folder: &self.folder })
    }
}

impl Spool {
    /// Reads all bytes once, before the originals are deleted, so that an unreadable file is an
    /// error before anything has changed.
    ///
    /// # Errors
    /// As [`read`](Self::read), also if there are not `expected` bytes.
    pub(crate) fn read_through(&mut self, expected: u64) -> Result<()> {
        let Spooled { mut file, folder } = self.read()?;
        let failed = Error::io("read a temporary file in", folder);
        let found = io::copy(&mut file, &mut io::sink()).map_err(failed)?;
        if found == expected {
            return Ok(());
        }
        let what = format!("it has {found} bytes of the {expected} that were written");
        Err(failed(io::Error::new(io::ErrorKind::UnexpectedEof, what)))
    }
}

/// A reader of the rest of a spool.
#[derive(Debug)]
pub(crate) struct Spooled<'a> {
    file: BufReader<&'a mut SpooledTempFile>,
    folder: &'a Path,
}

impl Spooled<'_> {
    /// Reads the next bytes, as many as `bytes` holds.
    ///
    /// # Errors
    /// [`Error::Io`], of the folder.
    pub(crate) fn read_exact(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.file.read_exact(bytes).map_err(Error::io("read a temporary file in", self.folder))
    }
}
