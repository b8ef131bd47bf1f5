//! Vectors from files and pipes, row by row.
//!
//! Every format is a file here, and reads one row at a time through a buffer, so that memory does
//! not depend on the length of the input. The shape is checked before the first row where the
//! format tells it, and each row against it. Nothing here knows an index.

mod columns;
mod csv;
mod element;
mod jsonl;
mod lines;
mod npy;
#[cfg(feature = "parquet")]
mod parquet;
mod raw;
mod vecs;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use clap::{Args, ValueEnum};
use voisin::AnyKey;

pub(crate) use self::columns::Columns;
pub(crate) use self::element::Element;
pub(crate) use self::lines::Lines;
use crate::failure::{Failure, Result};
use crate::interrupt;

/// The bytes that are read at a time.
const BUFFER_BYTES: usize = 1 << 18;

/// A vector, and its key and its record if the input has them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Row {
    pub(crate) key: Option<AnyKey>,
    pub(crate) vector: Vec<f32>,
    pub(crate) record: Option<Vec<u8>>,
}

/// The rows of an input.
pub(crate) trait Rows {
    /// The next row. `None` after the last.
    ///
    /// # Errors
    /// Those of reading, and of what is not of the format, with the name of the input and the
    /// number of the row or line.
    fn next_row(&mut self) -> Result<Option<Row>>;

    /// The number of components of every row, if the format tells it.
    fn dimensions(&self) -> Option<usize> {
        None
    }

    /// The number of rows, if the format tells it.
    fn count(&self) -> Option<u64> {
        None
    }
}

/// A format of vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// NumPy's array file: f32, f64, f16, i8 or u8, in C order
    Npy,
    /// Rows of f32, each after its length as a 4-byte integer
    Fvecs,
    /// Rows of u8, each after its length as a 4-byte integer
    Bvecs,
    /// Rows of 4-byte integers, each after its length as one
    Ivecs,
    /// A column of lists of numbers
    Parquet,
    /// An object or a list of numbers on each line
    Jsonl,
    /// Comma-separated values
    Csv,
    /// Tab-separated values
    Tsv,
    /// Rows of little-endian f32, without a header
    F32,
    /// Rows of little-endian f64, without a header
    F64,
    /// Rows of little-endian f16, without a header
    F16,
    /// Rows of signed bytes, without a header
    I8,
    /// Rows of bytes, without a header
    U8,
}

impl Format {
    /// By the end of a file's name.
    fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        Some(match &*extension {
            "ndjson" => Self::Jsonl,
            other => Self::from_str(other, true).ok()?,
        })
    }

    /// By the first bytes of an input.
    fn sniff(begin: &[u8]) -> Option<Self> {
        let first = begin.iter().find(|byte| !byte.is_ascii_whitespace());
        match (begin, first) {
            ([0x93, b'N', b'U', b'M', b'P', b'Y', ..], _) => Some(Self::Npy),
            (b"PAR1" | [b'P', b'A', b'R', b'1', ..], _) => Some(Self::Parquet),
            (_, Some(b'{' | b'[')) => Some(Self::Jsonl),
            _ => None,
        }
    }
}

/// An input of vectors, in the command line.
#[derive(Debug, Clone, Args)]
pub(crate) struct Shape {
    /// The format of the input; by its name, or by its first bytes, unless given
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,
    /// The field or column of the keys (jsonl, csv, parquet); id or key unless given
    #[arg(long, value_name = "NAME")]
    pub(crate) key_field: Option<String>,
    /// The field or column of the vectors (jsonl, csv, parquet); vector or embedding unless given
    #[arg(long, value_name = "NAME")]
    pub(crate) vector_field: Option<String>,
    /// The field or column of the records (jsonl, csv, parquet); record unless given
    #[arg(long, value_name = "NAME")]
    pub(crate) record_field: Option<String>,
    /// Leave out all other fields and columns, which are refused unless they have a place
    #[arg(long)]
    pub(crate) only_vectors: bool,
}

/// What an input is read as.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) shape: Shape,
    /// The number of components that every row must have, if that is known.
    pub(crate) dimensions: Option<usize>,
    /// What becomes the records.
    pub(crate) columns: Columns,
}

impl Wanted {
    /// Whether a field has the keys.
    pub(crate) fn is_key(&self, field: &str) -> bool {
        match &self.shape.key_field {
            Some(name) => name == field,
            None => field == "id" || field == "key",
        }
    }

    /// Whether a field has the vectors.
    pub(crate) fn is_vector(&self, field: &str) -> bool {
        match &self.shape.vector_field {
            Some(name) => name == field,
            None => field == "vector" || field == "embedding",
        }
    }

    /// Whether a field has the records.
    pub(crate) fn is_record(&self, field: &str) -> bool {
        self.shape.record_field.as_deref().unwrap_or("record") == field
    }

    /// Whether a field has the records as Base64, as `export` writes those that are no text.
    pub(crate) fn is_encoded_record(&self, field: &str) -> bool {
        self.shape.record_field.is_none() && field == "record_base64"
    }

    /// Whether a field is a member of the records.
    pub(crate) fn is_member(&self, field: &str) -> bool {
        self.columns.has(field)
    }

    /// What is wrong with a field that has no place.
    pub(crate) fn no_place(&self, unit: &str, field: &str) -> String {
        format!(
            "the {unit} {field:?} has no place in the index: keep it in the records (--columns \
             {field}, or --all-columns), name those of the key, the vector and the record \
             (--key-field, --vector-field, --record-field), or leave out all others \
             (--only-vectors)"
        )
    }

    /// The field of the vectors, for messages.
    pub(crate) fn vector_name(&self) -> &str {
        self.shape.vector_field.as_deref().unwrap_or("vector")
    }
}

/// The name of an input, and the place in it, for messages.
#[derive(Debug, Clone)]
pub(crate) struct Name(String);

impl Name {
    fn of(path: &Path) -> Self {
        Self(if is_pipe(path) {
            "the standard input".to_owned()
        } else {
            path.display().to_string()
        })
    }

    /// An error about the input as a whole.
    pub(crate) fn wrong(&self, what: impl std::fmt::Display) -> Failure {
        Failure::usage(format!("{}: {what}", self.0))
    }

    /// An error about a row or a line, counted from 1.
    pub(crate) fn wrong_at(&self, unit: &str, at: u64, what: impl std::fmt::Display) -> Failure {
        Failure::usage(format!("{}, {unit} {at}: {what}", self.0))
    }

    /// An error of the system.
    pub(crate) fn unreadable(&self, error: &io::Error) -> Failure {
        Failure::io("read", Path::new(&self.0), error)
    }

    /// Checks the length of a row.
    pub(crate) fn check(
        &self,
        unit: &str,
        at: u64,
        found: usize,
        expected: Option<usize>,
    ) -> Result<()> {
        match expected {
            Some(expected) if found != expected => Err(self.wrong_at(
                unit,
                at,
                format_args!(
                    "the vector has {found} components, the index has {expected} dimensions: give \
                     {expected} components"
                ),
            )),
            _ => Ok(()),
        }
    }
}

/// Whether a path stands for the standard input or output.
pub(crate) fn is_pipe(path: &Path) -> bool {
    path == Path::new("-")
}

/// An input that is open.
pub(crate) struct Open {
    pub(crate) name: Name,
    pub(crate) reader: Box<dyn BufRead>,
    /// The length of a file in bytes; not that of a pipe.
    pub(crate) bytes: Option<u64>,
}

impl Open {
    fn new(path: &Path) -> Result<Self> {
        let name = Name::of(path);
        if is_pipe(path) {
            let reader = BufReader::with_capacity(BUFFER_BYTES, io::stdin());
            return Ok(Self { name, reader: Box::new(reader), bytes: None });
        }
        let file = File::open(path).map_err(|error| Failure::io("open", path, &error))?;
        let metadata = file.metadata().map_err(|error| Failure::io("open", path, &error))?;
        if metadata.is_dir() {
            return Err(name.wrong("it is a folder, not a file of vectors: give a file"));
        }
        let bytes = metadata.is_file().then_some(metadata.len());
        let reader = BufReader::with_capacity(BUFFER_BYTES, file);
        Ok(Self { name, reader: Box::new(reader), bytes })
    }

    /// Reads exactly so many bytes. `false` if the input ends before the first of them.
    pub(crate) fn fill(&mut self, bytes: &mut [u8], row: u64) -> Result<bool> {
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.reader.read(rest) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => {
                    let what = format_args!(
                        "the input ends after {filled} of {} bytes: it was cut off, give all of it",
                        bytes.len()
                    );
                    return Err(self.name.wrong_at("row", row + 1, what));
                }
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.name.unreadable(&error)),
            }
        }
        Ok(true)
    }
}

/// Opens an input.
///
/// # Errors
/// Those of the file system, and of what is not of the format, or not of the wanted shape.
pub(crate) fn open(path: &Path, wanted: Wanted) -> Result<Box<dyn Rows>> {
    let mut open = Open::new(path)?;
    let format = match wanted.shape.format.or_else(|| Format::of(path)) {
        Some(format) => format,
        None => {
            let begin = open.reader.fill_buf().map_err(|error| open.name.unreadable(&error))?;
            Format::sniff(begin).ok_or_else(|| {
                open.name.wrong(
                    "its format cannot be told from its name or its first bytes: give --format \
                     npy, fvecs, bvecs, ivecs, parquet, jsonl, csv, tsv, f32, f64, f16, i8 or u8",
                )
            })?
        }
    };
    let raw = |open, element| raw::open(open, &wanted, element);
    match format {
        Format::Npy => npy::open(open, &wanted),
        Format::Fvecs => vecs::open(open, &wanted, Element::F32),
        Format::Bvecs => vecs::open(open, &wanted, Element::U8),
        Format::Ivecs => vecs::open(open, &wanted, Element::I32),
        Format::Jsonl => Ok(jsonl::open(open, wanted)),
        Format::Csv => csv::open(open, wanted, b','),
        Format::Tsv => csv::open(open, wanted, b'\t'),
        Format::F32 => raw(open, Element::F32),
        Format::F64 => raw(open, Element::F64),
        Format::F16 => raw(open, Element::F16),
        Format::I8 => raw(open, Element::I8),
        Format::U8 => raw(open, Element::U8),
        Format::Parquet => open_parquet(path, open, wanted),
    }
}

#[cfg(feature = "parquet")]
fn open_parquet(path: &Path, open: Open, wanted: Wanted) -> Result<Box<dyn Rows>> {
    if is_pipe(path) {
        let what = "parquet has its table of contents at the end, and cannot be read from a pipe: \
                    give the path of a file";
        return Err(open.name.wrong(what));
    }
    parquet::open(path, open.name, wanted)
}

#[cfg(not(feature = "parquet"))]
fn open_parquet(_: &Path, open: Open, _: Wanted) -> Result<Box<dyn Rows>> {
    Err(open.name.wrong(
        "this voisin was built without parquet: install it with the feature parquet, or give \
         another format",
    ))
}

/// Rows whose first is read already, so that the number of components is known before the first is
/// used.
pub(crate) struct Begun {
    rows: Box<dyn Rows>,
    first: Option<Row>,
    pub(crate) dimensions: Option<usize>,
}

impl Begun {
    /// Opens an input, and reads its first row.
    ///
    /// # Errors
    /// Those of [`open`] and of the first row.
    pub(crate) fn open(path: &Path, wanted: Wanted) -> Result<Self> {
        let mut rows = open(path, wanted)?;
        let first = rows.next_row()?;
        let dimensions =
            rows.dimensions().or_else(|| first.as_ref().map(|first| first.vector.len()));
        Ok(Self { rows, first, dimensions })
    }

    pub(crate) fn next_row(&mut self) -> Result<Option<Row>> {
        match self.first.take() {
            Some(first) => Ok(Some(first)),
            None => self.rows.next_row(),
        }
    }

    pub(crate) fn count(&self) -> Option<u64> {
        self.rows.count()
    }
}

/// All vectors of an input, one after the other, for what must be in memory: queries.
pub(crate) fn read_all(path: &Path, shape: &Shape, dimensions: usize) -> Result<Vec<f32>> {
    let columns = Columns::default();
    let wanted = Wanted { shape: shape.clone(), dimensions: Some(dimensions), columns };
    interrupt::waiting(|| {
        let mut rows = open(path, wanted)?;
        let mut vectors = Vec::new();
        while let Some(row) = rows.next_row()? {
            vectors.extend(row.vector);
        }
        Ok(vectors)
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn wanted(dimensions: Option<usize>) -> Wanted {
        let shape = Shape {
            format: None,
            key_field: None,
            vector_field: None,
            record_field: None,
            only_vectors: false,
        };
        Wanted { shape, dimensions, columns: Columns::default() }
    }

    pub(crate) fn opened(bytes: &[u8]) -> Open {
        Open {
            name: Name("input".to_owned()),
            reader: Box::new(io::Cursor::new(bytes.to_vec())),
            bytes: Some(bytes.len() as u64),
        }
    }

    pub(crate) fn all(mut rows: Box<dyn Rows>) -> Result<Vec<Row>> {
        let mut all = Vec::new();
        while let Some(row) = rows.next_row()? {
            all.push(row);
        }
        Ok(all)
    }

    #[test]
    fn formats_are_known_by_name_or_by_their_first_bytes() {
        assert_eq!(Format::of(Path::new("a/b.NPY")), Some(Format::Npy));
        assert_eq!(Format::of(Path::new("b.ndjson")), Some(Format::Jsonl));
        assert_eq!(Format::of(Path::new("b.f16")), Some(Format::F16));
        assert_eq!(Format::of(Path::new("npy")), None);
        assert_eq!(Format::sniff(b"\x93NUMPY\x01"), Some(Format::Npy));
        assert_eq!(Format::sniff(b"  {\"id\": 1}"), Some(Format::Jsonl));
        assert_eq!(Format::sniff(b"1,2,3"), None);
    }
}
