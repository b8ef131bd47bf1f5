//! Databases of earlier format versions: each opens, answers, changes and checks as if this version
//! had written it.
//!
//! `tests/fixtures/vN` holds what the code of format version N wrote by
//! [`write_the_fixtures_of_this_version`], which is run once, before the version changes: `cargo
//! test --test it fixtures -- --ignored`.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand::rngs::StdRng;
use tempfile::TempDir;
use voisin::codec::I8;
use voisin::distances::{Cosine, Euclidean, Hamming};
use voisin::heed::types::Bytes;
use voisin::{Codes, Error, Index, ItemId, Options, Reader, Writer};

use crate::common::{Model, check_holds, create, create_named, open_env};
use crate::decoder::crc32c;

/// The versions before the one that is written.
const EARLIER: [u16; 4] = [5, 6, 7, 8];
/// The first version whose fixture has an index with tenants.
const WITH_TENANTS: u16 = 8;
const DIMENSIONS: usize = 64;
/// The items that are linked, and those that are added after the build and stay pending.
const LINKED: ItemId = 600;
const PENDING: ItemId = 5;

fn fixtures(version: u16) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/v{version}"))
}

/// The vector of an item: whole numbers from -50 to 50.
fn vector(item: ItemId) -> Vec<f32> {
    let component = |at: u32| {
        let mixed = (item * 64 + at).wrapping_add(1).wrapping_mul(0x9E37_79B9);
        let mixed = (mixed ^ mixed >> 15).wrapping_mul(0x85EB_CA6B);
        (mixed ^ mixed >> 13) % 101
    };
    (0..DIMENSIONS as u32).map(|at| component(at) as f32 - 50.0).collect()
}

fn bits(item: ItemId) -> Vec<f32> {
    vector(item).iter().map(|value| f32::from(u8::from(*value > 0.0))).collect()
}

fn text(item: ItemId) -> String {
    format!("item {item:03}")
}

/// The tenants of the fixtures that have any, and the items of each.
const TENANTS: u32 = 12;
const OF_TENANT: ItemId = 40;

fn tenant(n: u32) -> String {
    format!("tenant {n:02}")
}

/// The items of a tenant: those that were deleted are missing.
fn of_tenant(n: u32) -> impl Iterator<Item = (String, ItemId)> {
    (0..OF_TENANT)
        .filter(move |item| item % 7 != n % 7)
        .map(move |item| (format!("document {item}"), n * OF_TENANT + item))
}

/// The items of every fixture: those that were deleted are missing.
fn items() -> impl Iterator<Item = ItemId> {
    (0..LINKED + PENDING).filter(|item| *item >= LINKED || item % 10 != 3)
}

fn deleted() -> impl Iterator<Item = ItemId> {
    (0..LINKED).filter(|item| item % 10 == 3)
}

#[test]
#[ignore = "writes files into the source, once for each version of the format"]
fn write_the_fixtures_of_this_version() {
    let version = voisin_format_version();
    let folder = fixtures(version);
    fs::create_dir_all(folder.join("index")).unwrap();
    fs::create_dir_all(folder.join("level-1")).unwrap();

    let path = folder.join("index");
    let options =
        |name: &str| Options::new(DIMENSIONS).name(name).m(4).m0(8).map_size_bytes(8 << 20);
    let ids = Index::<Cosine>::create(&path, options("ids").codes(Codes::Bits4)).unwrap();
    ids.write(|batch| batch.add_items_from((0..LINKED).map(|item| (item, vector(item))))).unwrap();
    ids.write(|batch| {
        batch.link_later();
        batch.add_items_from((LINKED..LINKED + PENDING).map(|item| (item, vector(item))))?;
        batch.delete_items(deleted())
    })
    .unwrap();
    let numbers = Index::<Euclidean<I8>, u64>::create(&path, options("u64 keys")).unwrap();
    numbers
        .train(&[-50.0; DIMENSIONS].into_iter().chain([50.0; DIMENSIONS]).collect::<Vec<_>>())
        .unwrap();
    numbers
        .write(|batch| {
            batch.add_items_from(items().map(|item| (u64::from(item) << 32, vector(item))))
        })
        .unwrap();
    let texts = Index::<Hamming, str>::create(&path, options("text keys")).unwrap();
    texts
        .write(|batch| batch.add_items_from(items().map(|item| (text(item), bits(item)))))
        .unwrap();
    let tenants = Index::<Euclidean, str>::create(&path, options("tenants")).unwrap();
    tenants
        .write(|batch| {
            for n in 0..TENANTS {
                let mut tenant = batch.tenant(tenant(n))?;
                for item in 0..OF_TENANT {
                    tenant
                        .add(format!("document {item}").as_str(), &vector(n * OF_TENANT + item))?;
                }
            }
            batch.add("of no tenant", &vector(9999))
        })
        .unwrap();
    tenants
        .write(|batch| {
            for n in 0..TENANTS {
                let gone = (0..OF_TENANT).filter(|item| item % 7 == n % 7);
                let gone = gone.map(|item| format!("document {item}"));
                batch.tenant(tenant(n))?.delete_items(gone)?;
            }
            Ok(())
        })
        .unwrap();
    drop((ids, numbers, texts, tenants));

    let env = open_env(&folder.join("level-1"), 8 << 20);
    let db = create::<Euclidean>(&env);
    let writer = Writer::new(db, 3, DIMENSIONS);
    let mut wtxn = env.write_txn().unwrap();
    for item in 0..LINKED {
        writer.add_item(&mut wtxn, item, &vector(item)).unwrap();
    }
    writer.builder(&mut StdRng::seed_from_u64(7)).build::<4, 8>(&mut wtxn).unwrap();
    for item in LINKED..LINKED + PENDING {
        writer.add_item(&mut wtxn, item, &vector(item)).unwrap();
    }
    for item in deleted() {
        writer.del_item(&mut wtxn, item).unwrap();
    }
    wtxn.commit().unwrap();
    drop(env);
    for name in ["index", "level-1"] {
        fs::remove_file(folder.join(name).join("lock.mdb")).unwrap();
    }
}

/// What `inspect` says of a new index.
fn voisin_format_version() -> u16 {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new");
    Index::<Cosine>::create(&path, Options::new(1)).unwrap();
    voisin::inspect(&path).unwrap()[0].metadata.as_ref().unwrap().format_version
}

/// A copy of a fixture, to be changed.
fn copy(version: u16, name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let data = fixtures(version).join(name).join("data.mdb");
    fs::copy(&data, folder.path().join("data.mdb")).unwrap();
    folder
}

#[test]
fn there_is_a_fixture_of_every_earlier_version() {
    let current = voisin_format_version();
    for version in 5..current {
        assert!(EARLIER.contains(&version) && fixtures(version).is_dir(), "version {version}");
    }
}

#[test]
fn an_index_of_an_earlier_version_opens_answers_changes_and_checks() {
    for version in EARLIER {
        let folder = copy(version, "index");
        let (path, options) = (folder.path(), |name: &str| Options::default().name(name));
        let found = voisin::inspect(path).unwrap();
        for found in &found {
            assert_eq!(found.metadata.as_ref().unwrap().format_version, version);
        }
        assert_eq!(found.len(), if version < WITH_TENANTS { 3 } else { 4 });

        let ids = Index::<Cosine>::open(path, options("ids")).unwrap();
        let snapshot = ids.snapshot().unwrap();
        for round in 0..4 {
            assert_eq!(ids.check().unwrap(), [], "version {version}, round {round}");
            for item in items() {
                let stored = ids.snapshot().unwrap().vector(item).unwrap();
                assert_eq!(stored, Some(vector(item)), "version {version}, item {item}");
                let found =
                    ids.search(1).ef_search(200).by_vector(&vector(item)).unwrap().into_nns();
                assert_eq!(found[0].0, item, "version {version}, round {round}");
            }
            match round {
                0 => ids.write(|batch| batch.add(9999, &vector(9999))).unwrap(),
                1 => assert!(ids.write(|batch| batch.delete(9999)).unwrap()),
                _ => ids.optimize().unwrap(),
            }
        }
        // What was held shows what it has shown.
        assert_eq!(snapshot.len(), items().count() as u64);
        let found = snapshot.search(1).ef_search(200).by_vector(&vector(0)).unwrap().into_nns();
        assert_eq!(found[0].0, 0);
        drop(snapshot);

        let numbers = Index::<Euclidean<I8>, u64>::open(path, options("u64 keys")).unwrap();
        let texts = Index::<Hamming, str>::open(path, options("text keys")).unwrap();
        for round in 0..2 {
            assert_eq!(numbers.check().unwrap(), [], "version {version}, round {round}");
            assert_eq!(texts.check().unwrap(), [], "version {version}, round {round}");
            for item in items().step_by(20) {
                let (key, query) = (u64::from(item) << 32, vector(item));
                let found = numbers.search(1).by_vector(&query).unwrap().into_nns();
                assert_eq!(found[0].0, key, "version {version}, round {round}");
                let found = texts.search(1).by_vector(&bits(item)).unwrap().into_nns();
                assert_eq!(found[0].1, 0.0, "version {version}, round {round}");
                assert!(texts.snapshot().unwrap().contains(text(item)).unwrap());
            }
            numbers.write(|batch| batch.add(1, &vector(1))).unwrap();
            texts.write(|batch| batch.add("another", &bits(7))).unwrap();
        }
        if version >= WITH_TENANTS {
            tenants_are_read_and_changed(path);
        }
        let current = voisin_format_version();
        for found in voisin::inspect(path).unwrap() {
            assert_eq!(found.metadata.unwrap().format_version, current, "{:?}", found.name);
        }
    }
}

/// Reads an index with tenants, before and after a change.
fn tenants_are_read_and_changed(path: &Path) {
    let index = Index::<Euclidean, str>::open(path, Options::default().name("tenants")).unwrap();
    let before = index.snapshot().unwrap();
    let expect = |of: &voisin::Snapshot<Euclidean, str>, added: bool| {
        let names: Vec<String> = of.tenants().unwrap().map(Result::unwrap).collect();
        assert_eq!(names, (0..TENANTS).map(tenant).collect::<Vec<_>>());
        let mut count = 1;
        for n in 0..TENANTS {
            let found = of.tenant(tenant(n)).unwrap();
            let mut keys: Vec<String> = of_tenant(n).map(|(key, _)| key).collect();
            keys.extend((added && n == 3).then(|| "a new one".to_owned()));
            keys.sort_unstable();
            count += keys.len();
            assert_eq!(found.keys().unwrap().map(Result::unwrap).collect::<Vec<_>>(), keys);
            assert_eq!(found.len().unwrap(), keys.len() as u64);
            for (key, item) in of_tenant(n).step_by(9) {
                assert_eq!(found.vector(key.as_str()).unwrap(), Some(vector(item)));
                let nearest = found.search(1).by_vector(&vector(item)).unwrap().into_nns();
                assert_eq!(nearest[0], (key, 0.0), "tenant {n}");
            }
            assert!(!found.contains("document").unwrap());
        }
        assert_eq!(of.keys().unwrap().count(), count);
        assert_eq!(of.vector("of no tenant").unwrap(), Some(vector(9999)));
    };
    expect(&before, false);
    assert_eq!(index.check().unwrap(), []);
    index.tenant(tenant(3)).unwrap().add("a new one", &vector(777)).unwrap();
    assert_eq!(index.check().unwrap(), []);
    expect(&index.snapshot().unwrap(), true);
    // What was held shows what it has shown.
    expect(&before, false);
}

#[test]
fn an_index_of_an_earlier_version_in_an_environment_of_the_callers_is_read_and_changed() {
    for version in EARLIER {
        let folder = copy(version, "level-1");
        let env = open_env(folder.path(), 1 << 30);
        let db = create::<Euclidean>(&env);
        let writer = Writer::new(db, 3, DIMENSIONS);
        for round in 0..3 {
            let rtxn = env.read_txn().unwrap();
            assert_eq!(voisin::check(&rtxn, 3, db).unwrap(), [], "version {version}");
            let reader = Reader::open(&rtxn, 3, db).unwrap();
            for item in items() {
                assert_eq!(reader.item_vector(&rtxn, item).unwrap(), Some(vector(item)));
                let found = reader.nns(1).ef_search(200).by_vector(&rtxn, &vector(item)).unwrap();
                assert_eq!(found.into_nns()[0].0, item, "version {version}, round {round}");
            }
            drop(rtxn);
            let mut wtxn = env.write_txn().unwrap();
            writer.add_item(&mut wtxn, 9999 + round, &vector(9999 + round)).unwrap();
            if round == 1 {
                writer.builder(&mut StdRng::seed_from_u64(7)).build::<4, 8>(&mut wtxn).unwrap();
            }
            wtxn.commit().unwrap();
        }
        check_holds(&env.read_txn().unwrap(), db, 3, &model());
    }
}

/// The mark of an edit that has not come to its end, in META of version 5.
#[test]
fn a_torn_edit_of_an_earlier_version_is_refused_and_undone() {
    for mark in [1, 2] {
        let folder = copy(5, "level-1");
        let env = open_env(folder.path(), 1 << 30);
        let db = create::<Euclidean>(&env);
        let (raw, key) = (db.remap_types::<Bytes, Bytes>(), [0, 3, 0, 0, 0, 0, 0, 0]);
        let mut wtxn = env.write_txn().unwrap();
        let mut meta = raw.get(&wtxn, &key).unwrap().unwrap().to_vec();
        meta.truncate(meta.len() - 4);
        meta[74] = mark;
        let checksum = crc32c(key.iter().chain(&meta)).to_le_bytes();
        meta.extend(checksum);
        raw.put(&mut wtxn, &key, &meta).unwrap();
        let error = Reader::open(&wtxn, 3, db).map(drop).unwrap_err();
        assert!(matches!(error, Error::TornEdit { index: 3 }), "{error}");
        let writer = Writer::new(db, 3, DIMENSIONS);
        assert!(writer.repair(&mut wtxn).unwrap());
        let model = items().map(|item| (item, vector(item))).collect();
        check_holds(&wtxn, db, 3, &model);
        assert_eq!(writer.n_pending(&wtxn).unwrap() > PENDING.into(), mark == 2);
    }
}

/// An edit of keys that are still rows is torn before its end: the repair makes blocks of the rows.
#[test]
fn a_torn_edit_of_the_keys_of_an_earlier_version_is_undone() {
    let folder = copy(8, "index");
    let path = folder.path();
    let found = voisin::inspect(path).unwrap();
    let found = found.iter().find(|found| found.name.as_deref() == Some("tenants")).unwrap();
    let env = open_env(path, 1 << 30);
    let db = create_named::<Euclidean>(&env, found.database.as_deref());
    let writer = Writer::new(db, found.index, DIMENSIONS).keyed::<str>();
    let mut wtxn = env.write_txn().unwrap();
    let rows = (0..9000u32).map(|n| match n {
        0..8900 => (format!("key {n}"), vector(n)),
        _ => panic!("a bad line"),
    });
    let torn = catch_unwind(AssertUnwindSafe(|| writer.add_items_from(&mut wtxn, rows)));
    assert!(torn.is_err());
    wtxn.commit().unwrap();
    let mut wtxn = env.write_txn().unwrap();
    assert!(matches!(writer.contains_item(&wtxn, "of no tenant"), Err(Error::TornEdit { .. })));
    assert!(writer.repair(&mut wtxn).unwrap());
    assert!(writer.contains_item(&wtxn, "of no tenant").unwrap());
    assert!(!writer.contains_item(&wtxn, "key 1").unwrap());
    wtxn.commit().unwrap();
    drop(env);
    tenants_are_read_and_changed(path);
}

/// What the index of level 1 holds after the rounds of the test.
fn model() -> Model {
    items().chain([9999, 10_000, 10_001]).map(|item| (item, vector(item))).collect()
}
