//! The command as a user runs it: the binary, its output, its exit codes, and what is on disk
//! afterwards.
//!
//! `session` uses every subcommand, `formats` loads every format, `more` writes files and measures,
//! `filtered` uses fields and kinds, `between` copies items, splits and erases, `tenants` uses
//! tenants, `refused` gives wrong paths, metrics and shapes, `surroundings` limits the length of
//! files, `ended` sends signals, `matrix` does each of that to every subcommand, `browser` opens
//! the report in one.

#![allow(clippy::unwrap_used, clippy::panic)]

mod between;
mod browser;
mod ended;
mod filtered;
mod formats;
mod matrix;
mod more;
mod refused;
mod session;
mod surroundings;
mod tenants;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A folder of a test, in which the command runs.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// With an index `notes` of 500 items in 8 dimensions, and two files of vectors.
    fn with_notes() -> Self {
        let place = Self::new();
        std::fs::write(place.path("rows.f32"), floats(0..500, 8)).unwrap();
        std::fs::write(place.path("more.f32"), floats(500..900, 8)).unwrap();
        place.run(["create", "notes", "--metric", "euclidean", "--dimensions", "8"]).done();
        place.run(["load", "notes", "rows.f32"]).done();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_voisin"));
        command.args(arguments).current_dir(self.0.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Ran {
        Ran::of(self.command(arguments).output().unwrap())
    }

    /// Runs a command line without quotes.
    fn line(&self, line: &str) -> Ran {
        self.run(line.split_whitespace())
    }

    /// Verifies every invariant of a folder, and returns the number of items of its first index.
    fn sound(&self, folder: &str) -> u64 {
        self.run(["check", folder, "--deep"]).done();
        let found = self.run(["inspect", folder, "--json"]).done().json();
        found.first().map_or(0, |index| index["items"].as_u64().unwrap())
    }

    /// The names in the folder of the test.
    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let name = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.unwrap().file_name().into_string().unwrap()
        };
        let mut names: Vec<String> = entries.map(name).collect();
        names.sort();
        names
    }
}

/// A command that has ended.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// It has succeeded.
    #[track_caller]
    fn done(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// It has failed with this code, and one line that has these words.
    #[track_caller]
    fn failed(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        let line = self.err.strip_suffix('\n').unwrap();
        assert!(!line.contains('\n') && line.starts_with("voisin: "), "{self:?}");
        for word in words {
            assert!(line.contains(word), "{word:?} is not in {line:?}");
        }
        assert!(!line.contains("::"), "a remedy for programs: {line:?}");
        self
    }

    /// Its output, line by line, as JSON.
    #[track_caller]
    fn json(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Rows of little-endian `f32`, each different.
fn floats(rows: std::ops::Range<u32>, dimensions: u32) -> Vec<u8> {
    let component = |row: u32, i: u32| ((row * 31 + i * 7) % 97) as f32 + row as f32 / 1000.0;
    rows.flat_map(|row| (0..dimensions).map(move |i| component(row, i)))
        .flat_map(f32::to_le_bytes)
        .collect()
}

/// A `.npy` file.
fn npy(path: &Path, descr: &str, shape: (usize, usize), array: &[u8]) {
    let (rows, dimensions) = shape;
    let mut header = format!(
        "{{'descr': '{descr}', 'fortran_order': False, 'shape': ({rows}, {dimensions}), }}"
    );
    while !(header.len() + 11).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let length = u16::try_from(header.len()).unwrap().to_le_bytes();
    let file = [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), array].concat();
    std::fs::write(path, file).unwrap();
}
