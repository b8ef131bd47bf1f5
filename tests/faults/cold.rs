//! Files that are larger than memory: a service whose file had outgrown its control group answered
//! in a second what had taken a tenth of a millisecond, because every page fault read megabytes.
//! Searches of such a file read ahead what they need. What they answer, and how many distances they
//! compute for it, must not depend on that.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use roaring::RoaringBitmap;
use tempfile::TempDir;
use voisin::{Codes, Error, Index, Options, Searched, Warning};

use crate::Vectors;

const DIMENSIONS: usize = 24;
const ITEMS: u32 = 4000;
const K: usize = 10;

fn vectors(count: usize, seed: u64) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..count * DIMENSIONS).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// An index with pending items and tombstones.
fn create(codes: Option<Codes>) -> TempDir {
    let options = Options::new(DIMENSIONS).m(8);
    let options = match codes {
        Some(codes) => options.codes(codes),
        None => options,
    };
    let (folder, index): (_, Vectors) = crate::create(options);
    let rows = vectors(ITEMS as usize, 1);
    index.load((0..ITEMS).zip(rows.chunks(DIMENSIONS)), |_| {}).unwrap();
    index.write(|batch| batch.delete_items((0..ITEMS).step_by(50))).unwrap();
    let rows = vectors(200, 2);
    index.write(|batch| batch.add_items_from((ITEMS..).zip(rows.chunks(DIMENSIONS)))).unwrap();
    folder
}

/// The answers to all kinds of searches.
fn answers(index: &Vectors) -> Vec<(&'static str, Searched)> {
    let queries = vectors(20, 3);
    let few: RoaringBitmap = (0..ITEMS).step_by(97).collect();
    let most: RoaringBitmap = (0..ITEMS).filter(|item| item % 3 > 0).collect();
    let mut all = Vec::new();
    for query in queries.chunks(DIMENSIONS) {
        let mut add = |name, found| all.push((name, found));
        add("graph", index.search(K).by_vector(query).unwrap());
        add("wide", index.search(K).ef_search(300).by_vector(query).unwrap());
        add("exact", index.search(K).exact().by_vector(query).unwrap());
        add("few candidates", index.search(K).candidates(&few).by_vector(query).unwrap());
        add("many candidates", index.search(K).candidates(&most).by_vector(query).unwrap());
    }
    let many = |exact: bool| {
        let mut search = index.search(K);
        if exact {
            search.exact();
        }
        search.by_vectors(&queries).unwrap()
    };
    all.extend(many(false).into_iter().map(|found| ("many", found)));
    all.extend(many(true).into_iter().map(|found| ("many exact", found)));
    all.extend(index.search(K).by_item(77).unwrap().map(|found| ("by item", found)));
    all
}

#[test]
fn a_search_of_a_file_that_exceeds_memory_answers_what_it_answers_in_memory() {
    for codes in [None, Some(Codes::Bits4), Some(Codes::Bits1)] {
        let folder = create(codes);
        let path = folder.path().join("vectors");
        let warm = answers(&Index::open(&path, Options::default().memory(1 << 40)).unwrap());
        let cold = Index::open(&path, Options::default().memory(1)).unwrap();
        // The second time, much is believed to be in memory.
        for round in 0..2 {
            let found = answers(&cold);
            assert_eq!(found.len(), warm.len());
            for ((name, found), (_, expected)) in found.iter().zip(&warm) {
                assert_eq!(found.nns, expected.nns, "{name}, round {round}, {codes:?}");
                assert_eq!(
                    (found.distances, found.estimates, found.strategy),
                    (expected.distances, expected.estimates, expected.strategy),
                    "{name}, round {round}, {codes:?}"
                );
            }
        }
        crate::check(&cold);
    }
}

#[test]
fn an_index_whose_hot_part_exceeds_memory_is_warned_of_with_codes_that_fit() {
    let folder = create(None);
    let path = folder.path().join("vectors");
    let warnings = |memory_bytes| {
        let options = Options::default().memory(memory_bytes);
        let stats = Index::<voisin::distances::Euclidean>::open(&path, options).unwrap().stats();
        let stats = stats.unwrap();
        assert_eq!(stats.memory_bytes, memory_bytes);
        assert_eq!(stats.hot_bytes() + stats.cold_bytes(), stats.bytes());
        // Without codes, the vectors are hot.
        assert!(stats.hot_bytes() > stats.items * 4 * DIMENSIONS as u64);
        stats.warnings()
    };
    assert_eq!(warnings(1 << 30), []);
    let [Warning::HotExceedsMemory { hot_bytes, memory_bytes: 620_000, codes }] =
        warnings(620_000)[..]
    else {
        panic!("{:?}", warnings(620_000))
    };
    assert!(hot_bytes > 620_000);
    let codes = codes.unwrap();
    assert_eq!(Some(codes), Codes::for_memory(620_000, 4120, DIMENSIONS, 16));
    let index: Vectors = Index::open(&path, Options::default()).unwrap();
    index.write(|batch| batch.set_codes(Some(codes))).unwrap();
    drop(index);
    let index: Vectors = Index::open(&path, Options::default().memory(620_000)).unwrap();
    let stats = index.stats().unwrap();
    assert!(stats.hot_bytes() <= 620_000, "{} bytes by codes of {codes}", stats.hot_bytes());
    assert_eq!(stats.warnings(), []);
    let all = Warning::HotExceedsMemory { hot_bytes: 2, memory_bytes: 1, codes: None };
    assert!(all.to_string().contains("use more memory"), "{all}");
}

#[test]
fn passes_over_a_cold_index_read_what_they_read_in_memory() {
    let folder = create(Some(Codes::Bits4));
    let path = folder.path().join("vectors");
    let index: Vectors = Index::open(&path, Options::default().memory(1)).unwrap();
    let all = index.snapshot().unwrap().warm(u64::MAX).unwrap();
    assert!(all.is_complete && all.bytes > u64::from(ITEMS) * 4 * DIMENSIONS as u64);
    let part = index.snapshot().unwrap().warm(all.bytes - 1).unwrap();
    assert!(!part.is_complete && part.bytes < all.bytes);
    let stats = index.stats().unwrap();
    assert_eq!(stats.items, index.snapshot().unwrap().len());
    let snapshot = index.snapshot().unwrap();
    let rows: Vec<_> = snapshot.iter().unwrap().map(Result::unwrap).collect();
    assert_eq!(rows.len() as u64, stats.items);
    let original = vectors(ITEMS as usize, 1);
    for (item, row) in rows.iter().filter(|(item, _)| *item < ITEMS) {
        assert_eq!(row[..], original[*item as usize * DIMENSIONS..][..DIMENSIONS], "{item}");
    }
    drop((snapshot, rows));
    assert!(matches!(index.optimize(), Err(Error::MemoryBudget { bytes: 1, .. })));
    crate::check(&index);
    drop(index);
    let index: Vectors = Index::open(&path, Options::default()).unwrap();
    index.optimize().unwrap();
    crate::check(&index);
}

#[test]
fn a_cold_index_that_grows_while_it_is_searched_answers_by_its_newest_commit() {
    // The map is moved, so that nothing is where it was believed to be.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vectors");
    let options = Options::new(DIMENSIONS).m(8).map_size_bytes(1 << 20).memory(1);
    let index: Vectors = Index::create(&path, options).unwrap();
    let rows = vectors(6000, 4);
    for (nth, rows) in rows.chunks(500 * DIMENSIONS).enumerate() {
        let first = nth as u32 * 500;
        index.write(|batch| batch.add_items_from((first..).zip(rows.chunks(DIMENSIONS)))).unwrap();
        for (row, item) in rows.chunks(DIMENSIONS).step_by(50).zip((first..).step_by(50)) {
            assert_eq!(index.search(1).by_vector(row).unwrap().nns[0].0, item);
        }
    }
    crate::check(&index);
}
