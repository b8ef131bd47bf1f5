//! Where an index is, and how to open it: the arguments that subcommands share.

use std::path::PathBuf;

use clap::Args;
use voisin::{AnyIndex, Error, Options};

use crate::failure::{Failure, Result};

/// An index in a folder.
#[derive(Debug, Clone, Args)]
pub(crate) struct Place {
    /// The folder of the index
    #[arg(value_name = "FOLDER")]
    pub(crate) path: PathBuf,
    /// The name of the index in the folder; the only one there, or "main", unless given
    #[arg(long, short, value_name = "NAME")]
    pub(crate) index: Option<String>,
    /// Open it even on a file system where LMDB is not reliable, such as NFS
    #[arg(long)]
    pub(crate) any_file_system: bool,
    /// The size of the memory map: address space, such as 64G
    #[arg(long, value_name = "BYTES", value_parser = size)]
    pub(crate) map_size: Option<u64>,
}

/// The means that long work may use.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Means {
    /// The memory that the work may use, such as 512M or 2G; what the machine has unless given
    #[arg(long, value_name = "BYTES", value_parser = size)]
    pub(crate) memory: Option<u64>,
    /// The number of threads; as many as the machine has unless given
    #[arg(long, value_name = "N", value_parser = threads)]
    pub(crate) threads: Option<usize>,
    /// The folder for temporary files, which take up to the bytes of all vectors; that of the index
    /// unless given
    #[arg(long, value_name = "FOLDER")]
    pub(crate) temp_dir: Option<PathBuf>,
}

impl Means {
    pub(crate) fn add_to(&self, mut options: Options) -> Options {
        if let Some(memory) = self.memory {
            options = options.memory(memory);
        }
        if let Some(threads) = self.threads {
            options = options.threads(threads);
        }
        if let Some(folder) = &self.temp_dir {
            options = options.temp_dir(folder);
        }
        options
    }
}

impl Place {
    /// What they say about how to open it.
    pub(crate) fn options(&self, mut options: Options) -> Options {
        if let Some(name) = &self.index {
            options = options.name(name);
        }
        if self.any_file_system {
            options = options.any_file_system();
        }
        if let Some(bytes) = self.map_size {
            options = options.map_size_bytes(bytes);
        }
        options
    }

    /// Opens it to change it.
    pub(crate) fn open(&self, means: &Means) -> Result<AnyIndex> {
        let options = means.add_to(Options::default());
        self.try_open(options).map_err(|error| self.explain(error))
    }

    /// Opens it to change it, with the error of the engine.
    pub(crate) fn try_open(&self, options: Options) -> voisin::Result<AnyIndex> {
        self.open_by(options, |path, options| AnyIndex::open(path, options))
    }

    /// Opens it for searches.
    pub(crate) fn read(&self) -> Result<AnyIndex> {
        self.read_with(Options::default())
    }

    pub(crate) fn read_with(&self, options: Options) -> Result<AnyIndex> {
        let opened = self.open_by(options, |path, options| AnyIndex::open_read_only(path, options));
        opened.map_err(|error| self.explain(error))
    }

    /// Opens the only index of the folder, if none is named and none has the usual name.
    fn open_by(
        &self,
        options: Options,
        open: impl Fn(&PathBuf, Options) -> voisin::Result<AnyIndex>,
    ) -> voisin::Result<AnyIndex> {
        let options = self.options(options);
        match open(&self.path, options.clone()) {
            Err(Error::MissingName { known, .. }) if self.index.is_none() && known.len() == 1 => {
                open(&self.path, options.name(&known[0]))
            }
            opened => opened,
        }
    }

    /// An error of opening, with what else the folder is.
    pub(crate) fn explain(&self, error: Error) -> Failure {
        match error {
            Error::MissingEnvironment { .. } if !self.path.exists() => {
                Failure::environment(format!(
                    "there is no folder {}: check the path, or create an index (voisin create)",
                    self.path.display()
                ))
            }
            error => error.into(),
        }
    }
}

/// The most threads that a command can be given: more are a mistake, and starting them takes long.
const MAX_THREADS: usize = 1024;

/// A number of threads.
pub(crate) fn threads(text: &str) -> Result<usize, String> {
    let threads = text.parse().ok().filter(|threads| (1..=MAX_THREADS).contains(threads));
    threads.ok_or_else(|| format!("give a number of threads from 1 to {MAX_THREADS}"))
}

/// A number of bytes, with a unit.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match &*unit.trim().to_ascii_lowercase() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        other => return Err(format!("the unit {other:?} is none of K, M, G and T (binary)")),
    };
    let wrong = || format!("{text:?} is no number of bytes: give such as 1000000, 512M or 1.5G");
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(1 << shift).ok_or_else(wrong);
    }
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let bytes = number * (1u64 << shift) as f64;
    if bytes.is_finite() && bytes < u64::MAX as f64 { Ok(bytes as u64) } else { Err(wrong()) }
}

/// Evaluates the same expression on each of the three handles.
macro_rules! on_index {
    ($index:expr, $handle:ident => $work:expr) => {
        match $index {
            voisin::AnyIndex::Ids($handle) => $work,
            voisin::AnyIndex::Numbers($handle) => $work,
            voisin::AnyIndex::Texts($handle) => $work,
        }
    };
}
pub(crate) use on_index;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        assert_eq!(size("1000"), Ok(1000));
        assert_eq!(size("512M"), Ok(512 << 20));
        assert_eq!(size("1.5 GiB"), Ok(3 << 29));
        assert_eq!((threads("4"), threads("0").is_err()), (Ok(4), true));
        assert!(threads("1025").unwrap_err().contains("1024"));
        assert!(size("G").is_err() && size("5X").is_err() && size("99999999999T").is_err());
    }
}
