//! Lines of text, of a bounded length; and files of keys, one a line.

use std::io::{BufRead as _, Read as _};
use std::path::Path;

use super::{Name, Open};
use crate::failure::Result;

/// The longest line of a text format, in bytes: that of a vector with the most dimensions, each of
/// 64 digits, and as much again.
const MAX_LINE_BYTES: u64 = 8 << 20;

/// Reads a line, without its end. `None` at the end of the input.
pub(super) fn read_line(open: &mut Open, line: &mut Vec<u8>, at: u64) -> Result<bool> {
    line.clear();
    let mut limited = (&mut open.reader).take(MAX_LINE_BYTES + 1);
    let read =
        limited.read_until(b'\n', line).map_err(|error| open.name.unreadable(&error))? as u64;
    if read > MAX_LINE_BYTES {
        let what = format_args!(
            "the line has more than {MAX_LINE_BYTES} bytes, which is the limit: give one vector a \
             line"
        );
        return Err(open.name.wrong_at("line", at, what));
    }
    while let Some(b'\n' | b'\r') = line.last() {
        line.pop();
    }
    Ok(read > 0)
}

/// The lines of a file of keys.
pub(crate) struct Lines {
    open: Open,
    line: Vec<u8>,
    at: u64,
}

impl Lines {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Ok(Self { open: Open::new(path)?, line: Vec::new(), at: 0 })
    }

    /// The next line and its number, from 1.
    pub(crate) fn next_line(&mut self) -> Result<Option<(u64, &str)>> {
        self.at += 1;
        if !read_line(&mut self.open, &mut self.line, self.at)? {
            return Ok(None);
        }
        let text = std::str::from_utf8(&self.line).map_err(|_| {
            self.open.name.wrong_at("line", self.at, "it is not UTF-8: give keys in UTF-8")
        })?;
        Ok(Some((self.at, text)))
    }

    pub(crate) fn name(&self) -> &Name {
        &self.open.name
    }
}
