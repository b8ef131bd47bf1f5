//! The overhead of `Reader` and `Index` over a search: opening, moving to the next commit, another
//! process. See the README of this crate.
//!
//! Exits non-zero when a goal is missed.
#![allow(clippy::expect_used, clippy::panic, missing_docs)]

#[cfg(not(target_os = "linux"))]
compile_error!("the clocks and the memory of a process are read from Linux");

mod beside;
mod child;
mod reading;
mod roles;
mod sharing;
mod spent;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use voisin::distances::Euclidean;
use voisin::{Index, Options};
use voisin_bench::data::DataSet;
use voisin_bench::report::Report;

type Vectors = Index<Euclidean>;

/// The dimensions of the photo descriptors.
const DIMENSIONS: usize = 128;
const K: usize = 10;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let [child::ROLE, role, arguments @ ..] = &arguments[..] {
        roles::play(role, arguments);
        return ExitCode::SUCCESS;
    }
    let (data, indexes, part) = match arguments[..] {
        [data, indexes] => (data, indexes, None),
        [data, indexes, part] => (data, indexes, Some(part)),
        _ => {
            eprintln!(
                "usage: faces FOLDER_OF_DATA FOLDER_OF_INDEXES \
                 [open|index|move|memory|readers|processes|busy|beside]"
            );
            return ExitCode::FAILURE;
        }
    };
    let places = Places { data: data.into(), indexes: indexes.into() };
    let wants = |name: &str| part.is_none_or(|part| part == name);
    let mut report = Report::default();
    if wants("open") {
        reading::open(&places, &mut report);
    }
    if wants("index") {
        reading::index(&places, &mut report);
    }
    if wants("move") {
        reading::moves(&places, &mut report);
    }
    if wants("memory") {
        reading::memory(&places, &mut report);
    }
    if wants("readers") {
        reading::readers(&places, &mut report);
    }
    if wants("processes") {
        sharing::processes(&places, sharing::Pace::Paced, &mut report);
    }
    if wants("busy") {
        sharing::processes(&places, sharing::Pace::Busy, &mut report);
    }
    if wants("beside") {
        beside::beside(&places, &mut report);
    }
    report.finish()
}

/// The folders of the data, and of its indexes.
struct Places {
    data: PathBuf,
    indexes: PathBuf,
}

impl Places {
    fn data(&self) -> &str {
        self.data.to_str().expect("a path in UTF-8")
    }

    /// 100 000 items.
    fn small(&self) -> PathBuf {
        self.index("hundred-thousand", 1)
    }

    /// 1 000 000 items.
    fn million(&self) -> PathBuf {
        self.index("million", 10)
    }

    /// An index of `times` as many photo descriptors, built if it is missing.
    fn index(&self, name: &str, times: usize) -> PathBuf {
        let folder = self.indexes.join(name);
        let photos = || DataSet::photos(&self.data);
        build(&folder, photos().rows().len() * times, || {
            if times == 1 { photos() } else { photos().enlarged(times) }
        });
        folder
    }
}

/// Loads an index, unless an earlier run has left it.
fn build(folder: &Path, items: usize, set: impl Fn() -> DataSet) {
    let options = Options::new(DIMENSIONS).ef_construction(200);
    let index = Vectors::open_or_create(folder, options).expect("an index");
    let found = index.snapshot().expect("a snapshot").len();
    if found == items as u64 {
        return;
    }
    assert_eq!(found, 0, "{} holds something else: remove it", folder.display());
    println!("loading {items} items into {}, once", folder.display());
    let set = set();
    index.load((0..).zip(set.rows()), |_| {}).expect("a load");
}
