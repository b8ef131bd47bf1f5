//! Single bit flips in LMDB's own pages: each is found without a memory map, or is harmless.

use std::fs;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tempfile::TempDir;
use voisin::distances::Euclidean;
use voisin::{Index, Options, verify_file};

use super::{Vectors, file_of_everything, folder_of, vector};
use crate::child::{Running, tell, told};

/// How many bits to flip, if not as many as every run of the tests has time for.
const FLIPS: &str = "VOISIN_FLIPS";

/// A folder where nothing waits for a disk, if there is one: thousands of commits are made.
fn in_memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Pages by what their header says that they are, if it is their own.
fn pages_of(file: &[u8], kind: u16) -> Vec<usize> {
    let is_own = |page: &usize| {
        let header = &file[page * 4096..][..16];
        header[..8] == (*page as u64).to_le_bytes()
            && u16::from_le_bytes([header[10], header[11]]) == kind
    };
    (0..file.len() / 4096).filter(is_own).collect()
}

/// Places of bits: of meta pages, branches and leaves each a third of what is left of another, and
/// of the first bytes of overflow runs.
fn places(file: &[u8], count: usize) -> Vec<(usize, u8)> {
    let mut random = StdRng::seed_from_u64(600);
    let kinds = [(8, 168), (1, 4096), (2, 4096), (2, 200), (4, 16)]
        .map(|(kind, bytes)| (pages_of(file, kind), bytes));
    assert!(kinds.iter().all(|(pages, _)| !pages.is_empty()));
    let mut place = |number: usize| {
        let (pages, bytes) = &kinds[number % kinds.len()];
        (
            pages[random.random_range(0..pages.len())] * 4096 + random.random_range(0..*bytes),
            random.random_range(0..8),
        )
    };
    (0..count).map(&mut place).collect()
}

/// All that an index tells.
fn contents(index: &Vectors) -> voisin::Result<Vec<(u32, Vec<f32>)>> {
    index.snapshot()?.iter()?.collect()
}

/// The child: does with files what ends a process that trusts them, and says what came of it.
#[test]
fn user() {
    let Some(told) = told() else { return };
    let expected = contents(&Vectors::open(&told[0], Options::default()).unwrap()).unwrap();
    for path in &told[1..] {
        let path = Path::new(path);
        let Ok(index) = Vectors::open(path, Options::default()) else {
            tell("refused");
            continue;
        };
        let found = index.check().map_or(true, |findings| !findings.is_empty());
        let is_same = contents(&index).is_ok_and(|contents| contents == expected);
        let texts = Index::<Euclidean, str>::open(path, Options::default().name("texts"));
        let found = found
            || texts.and_then(|texts| texts.check()).map_or(true, |findings| !findings.is_empty());
        // Whatever comes of it.
        _ = index.search(5).by_vector(&vector(3, 0));
        let copy = path.with_extension("copy");
        let length = fs::metadata(path.join("data.mdb")).unwrap().len();
        if index.copy_to(&copy).is_ok() {
            assert!(fs::metadata(copy.join("data.mdb")).unwrap().len() <= length);
        }
        _ = index
            .write(|batch| batch.add_items_from((0..20).map(|item| (item * 70, vector(item, 9)))));
        tell(if found {
            "found"
        } else if is_same {
            "same"
        } else {
            "other"
        });
    }
}

#[test]
fn a_bit_that_flips_in_the_pages_of_lmdb_is_found_or_does_no_harm() {
    // 163 of 600 flips ended the process, 47 of them `check` itself.
    let file = file_of_everything();
    let flips = std::env::var(FLIPS).map_or(600, |flips| flips.parse().unwrap());
    let parent = in_memory();
    let sound = folder_of(parent.path(), "sound", &file);
    let (mut unsafe_to_open, mut found, mut same) = (0, 0, 0);
    for places in places(&file, flips).chunks(120) {
        let folder = tempfile::tempdir_in(parent.path()).unwrap();
        let mut waiting = Vec::new();
        for (number, (at, bit)) in places.iter().enumerate() {
            let mut damaged = file.clone();
            damaged[*at] ^= 1 << bit;
            let path = folder_of(folder.path(), number, &damaged);
            // In this process: it maps nothing.
            match verify_file(&path).unwrap().is_safe_to_open() {
                true => waiting
                    .push((path, format!("bit {bit} of byte {} of page {}", at % 4096, at / 4096))),
                false => unsafe_to_open += 1,
            }
        }
        let paths = std::iter::once(&sound)
            .chain(waiting.iter().map(|(path, _)| path))
            .map(|path| path.to_str().unwrap());
        let mut child = Running::start("file_damage::flips::user", &paths.collect::<Vec<_>>());
        for (_, what) in &waiting {
            match child.hear().as_deref() {
                Some("found" | "refused") => found += 1,
                Some("same") => same += 1,
                Some(other) => panic!("{what}: {other}"),
                None => panic!("{what}: the process has died"),
            }
        }
        assert!(child.end().success());
    }
    println!(
        "of {flips}, {unsafe_to_open} are not to be opened, {found} are found by check, {same} \
         change nothing"
    );
    assert!(unsafe_to_open > flips / 10);
}

/// The child: opens files, and writes to them at once.
#[test]
fn hasty_writer() {
    let Some(told) = told() else { return };
    for path in told {
        let result = Vectors::open(&path, Options::default()).and_then(|index| {
            tell("opened");
            index.write(|batch| {
                batch.add_items_from((0..20).map(|item| (item * 70, vector(item, 9))))
            })
        });
        tell(&result.map_or_else(|error| error.to_string(), |_| "written".to_owned()));
    }
}

#[test]
fn a_write_looks_at_the_pages_before_it_changes_the_first() {
    // A record whose node reaches beyond its page: LMDB copied as much as it said, and died.
    let file = file_of_everything();
    let parent = in_memory();
    let mut refused = 0;
    for places in places(&file, 600).chunks(120) {
        let folder = tempfile::tempdir_in(parent.path()).unwrap();
        let mut unsafe_to_open = Vec::new();
        for (number, (at, bit)) in places.iter().enumerate() {
            let mut damaged = file.clone();
            damaged[*at] ^= 1 << bit;
            let path = folder_of(folder.path(), number, &damaged);
            if !verify_file(&path).unwrap().is_safe_to_open() {
                unsafe_to_open
                    .push((path, format!("bit {bit} of byte {} of page {}", at % 4096, at / 4096)));
            }
        }
        let paths: Vec<_> = unsafe_to_open.iter().map(|(path, _)| path.to_str().unwrap()).collect();
        let mut child = Running::start("file_damage::flips::hasty_writer", &paths);
        for (_, what) in &unsafe_to_open {
            let mut said = child.hear();
            let is_open = said.as_deref() == Some("opened");
            if is_open {
                said = child.hear();
            }
            match said.as_deref() {
                Some("written") => panic!("{what}: it was written to"),
                Some(text) => {
                    assert!(text.contains("data.mdb") || !is_open, "{what}: {text}");
                    refused += 1;
                }
                None => panic!(
                    "{what}: the process has died, {}",
                    if is_open { "writing" } else { "opening" }
                ),
            }
        }
        assert!(child.end().success());
    }
    assert!(refused > 60, "{refused}");
}
