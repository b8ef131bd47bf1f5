//! `voisin export`.
//!
//! Items are written one by one, of one snapshot, into a file beside its place, which is renamed at
//! the end.

#[cfg(feature = "parquet")]
mod parquet;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, ValueEnum};
use serde_json::json;
use voisin::{AnyIndex, AnyKey};

use crate::failure::{Failure, Result};
use crate::interrupt::complete_at;
use crate::keys::{self, Named};
use crate::place::{Place, on_index};
use crate::record::Record;
use crate::rows::is_pipe;
use crate::tenant::{OfTenant, on_tenant};
use crate::ui::{Bar, Ui, count, path, time};

/// The bytes that are written at a time.
const BUFFER_BYTES: usize = 1 << 18;

/// Write the items of an index to a file or a pipe: vectors as stored, in the order of their keys.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  voisin export notes notes.parquet
  voisin export notes vectors.npy --keys keys.txt
  voisin export notes acme.jsonl --tenant acme
  voisin export notes - --format jsonl | gzip > notes.jsonl.gz")]
pub(crate) struct Export {
    #[command(flatten)]
    place: Place,
    /// The file, which must not exist, or - for the standard output
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The format; by the end of the file's name unless given
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    /// Write the keys to this file, one a line (with npy, which has none)
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Leave out the records of the items
    #[arg(long)]
    only_vectors: bool,
    #[command(flatten)]
    of_tenant: OfTenant,
}

/// A format to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// NumPy's array file, of f32, without keys
    Npy,
    /// Columns `key` and `vector`, and `record` if there are records
    Parquet,
    /// An object with `key`, `vector` and, if there is one, `record` on each line
    Jsonl,
}

/// An item, with its record if it has one.
type Item = (AnyKey, Vec<f32>, Option<Vec<u8>>);

/// What is written.
#[cfg_attr(
    not(feature = "parquet"),
    expect(dead_code, reason = "parquet alone has columns to choose before the first item")
)]
struct Job<'a> {
    format: Format,
    items: u64,
    dimensions: usize,
    is_text: bool,
    has_records: bool,
    out: &'a mut (dyn Write + Send),
    keys: Option<&'a mut BufWriter<File>>,
    to: &'a Path,
}

impl Export {
    /// Whether the items go to the standard output.
    pub(crate) fn prints(&self) -> bool {
        is_pipe(&self.file)
    }

    pub(crate) fn run(self, ui: &mut Ui) -> Result<()> {
        let began = Instant::now();
        let format = self.format()?;
        if self.keys.is_some() && format != Format::Npy {
            return Err(Failure::usage("--keys is for npy: the other formats have the keys"));
        }
        for file in [Some(&self.file), self.keys.as_ref()].into_iter().flatten() {
            if !is_pipe(file) && file.exists() {
                let file = file.display();
                return Err(Failure::environment(format!(
                    "{file} is there already: choose another name, or remove it first"
                )));
            }
        }
        let index = self.place.read()?;
        let items = match &self.keys {
            None => self.write(ui, &index, format, None)?,
            Some(keys) => complete_at(keys, |part| {
                let mut file = create(part, keys)?;
                let items = self.write(ui, &index, format, Some(&mut file))?;
                finish(file, keys)?;
                Ok(items)
            })?,
        };
        let took = began.elapsed();
        if let Some(tenant) = self.of_tenant.of(&index)? {
            self.of_tenant.note(ui, &tenant)?;
        }
        if is_pipe(&self.file) {
            return Ok(());
        }
        let value = json!({
            "exported": items, "file": path(&self.file), "keys": self.keys.as_deref().map(path),
            "seconds": took.as_secs_f64(),
        });
        ui.result(&value, || {
            let (items, file) = (count(items, "item", "items"), self.file.display());
            format!("exported {items} to {file} in {}", time(took))
        })
    }

    fn format(&self) -> Result<Format> {
        let extension = self.file.extension().and_then(|extension| extension.to_str());
        let named = extension.and_then(|extension| Format::from_str(extension, true).ok());
        self.format.or(named).ok_or_else(|| {
            Failure::usage(format!(
                "the format of {} cannot be told from its name: give --format npy, parquet or \
                 jsonl",
                self.file.display()
            ))
        })
    }

    /// Writes all items. Returns how many there were.
    fn write(
        &self,
        ui: &mut Ui,
        index: &AnyIndex,
        format: Format,
        keys: Option<&mut BufWriter<File>>,
    ) -> Result<u64> {
        let bar = ui.bar();
        if is_pipe(&self.file) {
            return self.put(&bar, index, format, ui.out(), keys);
        }
        complete_at(&self.file, |part| {
            let mut file = create(part, &self.file)?;
            let items = self.put(&bar, index, format, &mut file, keys)?;
            finish(file, &self.file)?;
            Ok(items)
        })
    }

    fn put(
        &self,
        bar: &Bar,
        index: &AnyIndex,
        format: Format,
        out: &mut (dyn Write + Send),
        keys: Option<&mut BufWriter<File>>,
    ) -> Result<u64> {
        let (dimensions, to) = (index.dimensions(), &self.file);
        let is_text = !matches!(index, AnyIndex::Ids(_) | AnyIndex::Numbers(_));
        let job = move |items, has_records| {
            if has_records && format == Format::Npy {
                return Err(Failure::usage(
                    "npy has no place for the records of the items: export to parquet or jsonl, \
                     or leave them out (--only-vectors)",
                ));
            }
            Ok(Job { format, items, dimensions, is_text, has_records, out, keys, to })
        };
        if let Some(tenant) = self.of_tenant.of(index)? {
            return on_tenant!(&tenant, tenant => {
                let tenant = tenant.snapshot()?;
                let items = tenant.len()?;
                let has_records = !self.only_vectors && tenant.records()?.next().is_some();
                let record = |name| if has_records { tenant.record(name) } else { Ok(None) };
                job(items, has_records)?.write(rows(bar, items, tenant.iter()?, record))?;
                Ok(items)
            });
        }
        on_index!(index, index => {
            let snapshot = index.snapshot()?;
            let items = snapshot.len();
            let has_records = !self.only_vectors && snapshot.records()?.next().is_some();
            let record = |name| if has_records { snapshot.record(name) } else { Ok(None) };
            job(items, has_records)?.write(rows(bar, items, snapshot.iter()?, record))?;
            Ok(items)
        })
    }
}

/// The items to write, as they are looked up, with their records.
fn rows<N: Named>(
    bar: &Bar,
    items: u64,
    found: impl Iterator<Item = voisin::Result<(N, Vec<f32>)>>,
    record: impl Fn(N) -> voisin::Result<Option<Vec<u8>>>,
) -> impl Iterator<Item = Result<Item>> {
    let mut done = 0;
    found.map(move |item| {
        done += 1;
        if done % 1024 == 0 {
            bar.show("writing", done, Some(items), None);
        }
        let (name, vector) = item?;
        let record = record(name.again())?;
        Ok((name.any(), vector, record))
    })
}

/// Creates a file for what will have the name `to`.
pub(super) fn create(part: &Path, to: &Path) -> Result<BufWriter<File>> {
    let file = File::create(part).map_err(|error| Failure::io("create", to, &error))?;
    Ok(BufWriter::with_capacity(BUFFER_BYTES, file))
}

/// Makes the contents of a file durable. `to` is the name that it will have.
pub(super) fn finish(file: BufWriter<File>, to: &Path) -> Result<()> {
    let file = file.into_inner().map_err(|error| Failure::io("write", to, error.error()))?;
    file.sync_all().map_err(|error| Failure::io("write", to, &error))
}

impl Job<'_> {
    fn failed(&self, error: &io::Error) -> Failure {
        if is_pipe(self.to) { Failure::output(error) } else { Failure::io("write", self.to, error) }
    }

    fn write(mut self, items: impl Iterator<Item = Result<Item>>) -> Result<()> {
        match self.format {
            Format::Npy => self.npy(items),
            Format::Jsonl => self.jsonl(items),
            Format::Parquet => self.parquet(items),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|error| self.failed(&error))
    }

    fn npy(&mut self, items: impl Iterator<Item = Result<Item>>) -> Result<()> {
        let (rows, dimensions) = (self.items, self.dimensions);
        self.write_all(&npy_header(rows, dimensions))?;
        for item in items {
            let (key, vector, _) = item?;
            let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
            self.write_all(&bytes)?;
            if let Some(keys) = &mut self.keys {
                let key = key.to_string();
                if key.contains(['\n', '\r']) {
                    return Err(Failure::usage(format!(
                        "the key {key:?} has a line break, and --keys writes a key a line: export \
                         to jsonl or parquet"
                    )));
                }
                let written = writeln!(keys, "{key}");
                written.map_err(|error| Failure::io("write the keys of", self.to, &error))?;
            }
        }
        Ok(())
    }

    fn jsonl(&mut self, items: impl Iterator<Item = Result<Item>>) -> Result<()> {
        for item in items {
            let (key, vector, record) = item?;
            let record = Record::of(record.as_deref());
            let item = super::get::Item { key: keys::json(&key), vector: &vector, record };
            let mut line = serde_json::to_vec(&item)
                .map_err(|error| Failure::environment(format!("could not write JSON ({error})")))?;
            line.push(b'\n');
            self.write_all(&line)?;
        }
        Ok(())
    }

    #[cfg(not(feature = "parquet"))]
    fn parquet(&mut self, _: impl Iterator<Item = Result<Item>>) -> Result<()> {
        Err(Failure::usage(
            "this voisin was built without parquet: install it with the feature parquet, or give \
             another format",
        ))
    }

    #[cfg(feature = "parquet")]
    fn parquet(&mut self, items: impl Iterator<Item = Result<Item>>) -> Result<()> {
        use self::parquet::{Failed, Writer};
        let kind = (self.is_text, self.has_records);
        let failed = |failed: Failed| match failed {
            Failed::Io(error) => error,
            Failed::Parquet(error) => io::Error::other(error),
        };
        let to = self.to;
        let told = |error: io::Error| {
            if is_pipe(to) { Failure::output(&error) } else { Failure::io("write", to, &error) }
        };
        let mut writer =
            Writer::new(&mut *self.out, kind, self.dimensions).map_err(|e| told(failed(e)))?;
        for item in items {
            let (key, vector, record) = item?;
            writer.add(key, vector, record).map_err(|e| told(failed(e)))?;
        }
        writer.finish().map_err(|e| told(failed(e)))
    }
}

/// The header of an array of `f32`, as NumPy writes it: of whole lines of 64 bytes.
fn npy_header(rows: u64, dimensions: usize) -> Vec<u8> {
    let mut text =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dimensions}), }}");
    while !(10 + text.len() + 1).is_multiple_of(64) {
        text.push(' ');
    }
    text.push('\n');
    // The numbers have at most 25 digits together.
    let length = (text.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], text.as_bytes()].concat()
}
