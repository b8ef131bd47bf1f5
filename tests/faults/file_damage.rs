//! Truncated files, and damage in LMDB's own pages.

mod flips;
mod sound;

use std::fs;
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use voisin::distances::Euclidean;
use voisin::{Error, Index, Invariant, ItemId, Options, PageInvariant, Responsible, verify_file};

use crate::{Vectors, create};

/// Dimensions of most tests.
const LENGTH: usize = 24;

/// The vector that tests give an item in a round.
fn vector(item: ItemId, round: u64) -> Vec<f32> {
    let mix = u64::from(item).wrapping_mul(31).wrapping_add(round.wrapping_mul(7));
    (0..LENGTH as u64)
        .map(|i| (mix.wrapping_mul(i + 3) % 101) as f32 + if i == 0 { item as f32 } else { 0.0 })
        .collect()
}

/// An index with everything that a file can have: several trees, one of them of three levels, long
/// values, free pages. Its data file, as bytes.
fn file_of_everything() -> Vec<u8> {
    let (_folder, index) = create::<Euclidean>(Options::new(LENGTH).m(6).ef_construction(16));
    index.load((0..1500).map(|item| (item, vector(item, 0))), |_| {}).unwrap();
    let texts = Index::<Euclidean, str>::create(
        index.path(),
        Options::new(2).name("texts").m(4).ef_construction(8),
    )
    .unwrap();
    texts
        .write(|batch| {
            batch.add_items_from(
                (0..400).map(|item| (format!("{item} {}", "x".repeat(200)), [item as f32, 1.0])),
            )
        })
        .unwrap();
    index.write(|batch| batch.delete_items(100..400)).unwrap();
    index
        .write(|batch| batch.add_items_from((100..200).map(|item| (item, vector(item, 1)))))
        .unwrap();
    let path = index.path().join("data.mdb");
    drop((index, texts));
    fs::read(path).unwrap()
}

/// A folder with a data file of these bytes.
fn folder_of(parent: &Path, name: impl ToString, bytes: &[u8]) -> PathBuf {
    let folder = parent.join(name.to_string());
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("data.mdb"), bytes).unwrap();
    folder
}

#[test]
fn a_file_that_was_cut_off_is_refused_by_name_before_it_is_mapped() {
    // An interrupted `cp` or `rsync`, a restore on a full disk: 347 of 400 lengths killed the
    // process with SIGBUS, 150 of them in `open`.
    let whole = file_of_everything();
    let parent = tempfile::tempdir().unwrap();
    let mut random = StdRng::seed_from_u64(16);
    let pages = whole.len() / 4096;
    let some = (0..60).map(|_| random.random_range(1..whole.len()));
    let lengths: Vec<usize> =
        [1, 100, 4096, 4097, 8191, 8192, 3 * 4096, pages / 2 * 4096, whole.len() - 4096]
            .into_iter()
            .chain(some)
            .collect();
    let mut refused = 0;
    for (number, length) in lengths.into_iter().enumerate() {
        let folder = folder_of(parent.path(), number, &whole[..length]);
        let is_safe = verify_file(&folder).unwrap().is_safe_to_open();
        for opened in [
            Vectors::open(&folder, Options::default()),
            Vectors::open_read_only(&folder, Options::default()),
        ] {
            match opened {
                // What is missing is free.
                Ok(index) => {
                    assert!(is_safe && index.check().unwrap().is_empty(), "{length} bytes")
                }
                Err(error) => {
                    let Error::Truncated { path, bytes, expected } = &error else {
                        panic!("{length} bytes: {error}")
                    };
                    assert!(
                        *path == fs::canonicalize(&folder).unwrap().join("data.mdb")
                            && *bytes == length as u64
                            && *expected > *bytes
                    );
                    let text = error.to_string();
                    assert!(
                        text.contains("copy it again") && text.contains(path.to_str().unwrap()),
                        "{text}"
                    );
                    assert!(!is_safe && error.responsible() == Responsible::Data);
                    refused += 1;
                }
            }
        }
        // Nothing was written to it.
        assert_eq!(fs::metadata(folder.join("data.mdb")).unwrap().len(), length as u64);
        fs::remove_dir_all(folder).unwrap();
    }
    assert!(refused > 60, "{refused}");
    let empty = folder_of(parent.path(), "empty", &[]);
    assert!(matches!(
        Vectors::open(&empty, Options::default()),
        Err(Error::MissingEnvironment { .. })
    ));
    assert!(verify_file(&empty).unwrap().findings.is_empty());
}

#[test]
fn a_file_that_is_none_of_lmdb_is_refused_by_name() {
    let parent = tempfile::tempdir().unwrap();
    let mut random = StdRng::seed_from_u64(17);
    let noise: Vec<u8> = (0..50_000).map(|_| random.random()).collect();
    let mut divided_by_zero = file_of_everything();
    // The size of a page, on both meta pages: 4096 is one bit, and LMDB divides by it.
    divided_by_zero[16 + 24 + 1] ^= 0x10;
    for (number, bytes) in [&noise[..], &b"a text\n".repeat(5000), &[0; 20_000], &divided_by_zero]
        .into_iter()
        .enumerate()
    {
        let folder = folder_of(parent.path(), number, bytes);
        let report = verify_file(folder.join("data.mdb")).unwrap();
        assert!(
            !report.is_safe_to_open() && report.findings[0].invariant == PageInvariant::Meta,
            "{report:?}"
        );
        let error = Vectors::open(&folder, Options::default()).unwrap_err();
        assert!(
            matches!(&error, Error::DamagedFile { .. }) && error.to_string().contains("data.mdb"),
            "{error}"
        );
    }
    let nowhere = parent.path().join("nowhere");
    let error = verify_file(&nowhere).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if *path == nowhere), "{error}");
}

/// Where a number lies that leads from the root of the tree of vectors to the page below it, on the
/// left and on the right.
fn children_of_a_root(file: &[u8]) -> (u64, Vec<usize>) {
    // The page of a branch whose first key is none and whose second is one of voisin's.
    let branches = (2..file.len() / 4096).filter(|page| {
        let at = page * 4096;
        file[at..at + 8] == (*page as u64).to_le_bytes() && file[at + 10..at + 12] == [1, 0]
    });
    let page = branches
        .max_by_key(|page| u16::from_le_bytes([file[page * 4096 + 12], file[page * 4096 + 13]]))
        .unwrap();
    let lower = u16::from_le_bytes([file[page * 4096 + 12], file[page * 4096 + 13]]) as usize;
    let at = |pointer: usize| {
        page * 4096
            + u16::from_le_bytes([file[page * 4096 + pointer], file[page * 4096 + pointer + 1]])
                as usize
    };
    (page as u64, (16..lower).step_by(2).map(at).collect())
}

#[test]
fn pages_that_lead_back_are_found_and_are_not_copied_for_ever() {
    // LMDB's copy follows the numbers, and wrote until the disk was full.
    let file = file_of_everything();
    let (root, children) = children_of_a_root(&file);
    let last = *children.last().unwrap();
    let parent = tempfile::tempdir().unwrap();
    for (number, target) in
        [root, file[children[1]] as u64, u64::MAX >> 16, 1].into_iter().enumerate()
    {
        let mut damaged = file.clone();
        damaged[last..last + 6].copy_from_slice(&target.to_le_bytes()[..6]);
        let folder = folder_of(parent.path(), number, &damaged);
        let report = verify_file(&folder).unwrap();
        assert!(!report.is_safe_to_open(), "page {root} leads to {target}: {report:?}");
        let index = Vectors::open(&folder, Options::default()).unwrap();
        let findings = index.check().unwrap();
        assert!(
            !findings.is_empty()
                && findings.iter().all(|finding| finding.invariant == Invariant::Pages),
            "{findings:?}"
        );
        let error = index.copy_to(parent.path().join("copy")).unwrap_err();
        assert!(
            matches!(&error, Error::DamagedFile { .. })
                && error.to_string().contains("restore a backup"),
            "{error}"
        );
        assert!(!parent.path().join("copy").exists());
    }
}
