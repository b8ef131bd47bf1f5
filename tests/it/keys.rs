//! Items that are named by keys at level 1: they are added, found and deleted by key, as one edit
//! with their vectors, whatever ends it.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use voisin::distances::Euclidean;
use voisin::{Error, Field, Filter, Reader, Writer, field};

use crate::common::{Env, create, new_env, rng};
use crate::decoder::decode;

const DIMENSIONS: usize = 4;

fn new() -> (tempfile::TempDir, Env) {
    new_env()
}

fn row(n: u32) -> Vec<f32> {
    (0..DIMENSIONS).map(|at| (n * 7 + at as u32 * 3) as f32).collect()
}

#[test]
fn a_random_program_at_level_1_does_what_a_map_does() {
    let mut rng = rng();
    let (_dir, env) = new();
    let db = create::<Euclidean>(&env);
    let writer = Writer::new(db, 3, DIMENSIONS).keyed::<str>();
    let mut model: BTreeMap<String, (Vec<f32>, Option<Vec<u8>>)> = BTreeMap::new();
    for round in 0..40u32 {
        let mut wtxn = env.write_txn().unwrap();
        let mut changed = model.clone();
        let rows: Vec<(String, Vec<f32>)> = (0..rng.random_range(0..60u32))
            .map(|_| (format!("key {}", rng.random_range(0..200)), row(rng.random_range(0..9999))))
            .collect();
        let record = |n: usize| format!("the record {n} of {round}").into_bytes();
        let had = |changed: &BTreeMap<String, (Vec<f32>, Option<Vec<u8>>)>, key: &str| {
            changed.get(key).and_then(|(_, record)| record.clone())
        };
        match round % 4 {
            0 => {
                let (keys, all): (Vec<_>, Vec<_>) = rows.iter().cloned().unzip();
                writer.add_items(&mut wtxn, &keys, &all.concat()).unwrap();
                for (key, vector) in rows {
                    let record = had(&changed, &key);
                    changed.insert(key, (vector, record));
                }
            }
            1 => {
                let given = rows.iter().zip(0..).map(|((key, vector), n)| (key, vector, record(n)));
                writer.add_items_with_records(&mut wtxn, given).unwrap();
                for ((key, vector), n) in rows.into_iter().zip(0..) {
                    changed.insert(key, (vector, Some(record(n))));
                }
            }
            2 => {
                let keys = rows.iter().map(|(key, _)| key);
                let known = keys.clone().filter(|key| changed.remove(*key).is_some()).count();
                assert_eq!(writer.del_items(&mut wtxn, keys).unwrap(), known as u64);
            }
            _ => {
                for ((key, vector), n) in rows.into_iter().zip(0..) {
                    let is_there = changed.contains_key(&key);
                    assert_eq!(writer.contains_item(&wtxn, &key).unwrap(), is_there);
                    assert_eq!(writer.set_record(&mut wtxn, &key, &record(n)).unwrap(), is_there);
                    if n % 3 == 0 {
                        assert_eq!(writer.remove_record(&mut wtxn, &key).unwrap(), is_there);
                    }
                    writer.add_item(&mut wtxn, &key, &vector).unwrap();
                    let record = (is_there && n % 3 > 0).then(|| record(n));
                    changed.insert(key, (vector, record));
                }
            }
        }
        if rng.random_bool(0.3) {
            let mut rng = StdRng::seed_from_u64(42);
            writer.builder(&mut rng).build::<4, 8>(&mut wtxn).unwrap();
        }
        if rng.random_bool(0.2) {
            wtxn.abort();
        } else {
            wtxn.commit().unwrap();
            model = changed;
        }
        let rtxn = env.read_txn().unwrap();
        let Ok(reader) = Reader::open(&rtxn, 3, db) else {
            assert!(model.is_empty());
            continue;
        };
        assert_eq!(voisin::check(&rtxn, 3, db).unwrap(), []);
        let reader = reader.keyed::<str>(&rtxn).unwrap();
        assert!(reader.keys().map(Result::unwrap).eq(model.keys().cloned()));
        for (key, (vector, record)) in &model {
            assert_eq!(reader.vector(key).unwrap().as_ref(), Some(vector));
            assert_eq!(reader.record(key).unwrap().as_ref(), record.as_ref());
            assert_eq!(writer.item_vector(&rtxn, key).unwrap().as_ref(), Some(vector));
            assert_eq!(writer.item_record(&rtxn, key).unwrap(), record.as_deref());
        }
        if let Some((key, (vector, _))) = model.first_key_value() {
            let found = reader.nns(model.len()).by_vector(vector).unwrap().into_nns();
            let at_it = found.iter().filter(|(_, distance)| *distance == 0.0);
            assert!(at_it.clone().any(|(found, _)| found == key), "{found:?}");
            assert_eq!(found.len(), model.len());
        }
    }
}

/// Blocks are split and merged wherever keys come and go: among others, after all of them, all in a
/// row, and long ones.
#[test]
fn keys_in_many_blocks_do_what_a_map_does() {
    let mut rng = rng();
    let (_dir, env) = new();
    let db = create::<Euclidean>(&env);
    let writer = Writer::new(db, 3, 1).keyed::<str>();
    let key = |n: u32| format!("{}{n:05}", "a long name ".repeat((n / 500 * 4) as usize));
    let mut model: BTreeMap<String, u32> = BTreeMap::new();
    for round in 0..80u32 {
        let first = rng.random_range(0..3000u32);
        let count = [1, 30, 400, 1500][rng.random_range(0..4)];
        let step = rng.random_range(1..5);
        let mut keys: Vec<String> = (first..first + count).step_by(step).map(key).collect();
        let mut wtxn = env.write_txn().unwrap();
        if round % 3 < 2 {
            if rng.random_bool(0.5) {
                keys.reverse();
            }
            let rows: Vec<f32> = keys.iter().map(|_| round as f32).collect();
            writer.add_items(&mut wtxn, &keys, &rows).unwrap();
            model.extend(keys.iter().map(|key| (key.clone(), round)));
        } else {
            let there = keys.iter().filter(|key| model.remove(*key).is_some()).count();
            assert_eq!(writer.del_items(&mut wtxn, &keys).unwrap(), there as u64);
        }
        wtxn.commit().unwrap();
        let rtxn = env.read_txn().unwrap();
        assert_eq!(voisin::check(&rtxn, 3, db).unwrap(), []);
        let decoded = decode(db.remap_types(), &rtxn, 3);
        assert!(
            decoded.keys.values().map(|key| key.as_slice()).collect::<BTreeSet<_>>()
                == model.keys().map(|key| key.as_bytes()).collect()
        );
        let reader = Reader::open(&rtxn, 3, db).unwrap();
        let reader = reader.keyed::<str>(&rtxn).unwrap();
        assert!(reader.keys().map(Result::unwrap).eq(model.keys().cloned()));
        for n in (0..4600).step_by(7) {
            let stored = reader.vector(key(n)).unwrap();
            assert_eq!(stored, model.get(&key(n)).map(|round| vec![*round as f32]), "{n}");
        }
    }
}

#[test]
fn a_keyed_reader_answers_all_kinds_of_queries_by_key() {
    let (_dir, env) = new();
    let db = create::<Euclidean>(&env);
    let writer = Writer::new(db, 0, DIMENSIONS).keyed::<str>();
    let mut wtxn = env.write_txn().unwrap();
    writer.add_field(&mut wtxn, Field::integer("n")).unwrap();
    let rows = (0..3000u32).map(|n| (format!("{}/{n}", n % 3), row(n), format!("{{\"n\":{n}}}")));
    writer.add_items_with_records(&mut wtxn, rows).unwrap();
    writer.builder(&mut StdRng::seed_from_u64(42)).build::<8, 16>(&mut wtxn).unwrap();
    wtxn.commit().unwrap();
    let rtxn = env.read_txn().unwrap();
    let reader = Reader::open(&rtxn, 0, db).unwrap();
    let named = reader.keyed::<str>(&rtxn).unwrap();
    let nearest = |found: voisin::Searched<String>| found.nns[0].0.clone();
    assert_eq!(nearest(named.nns(3).by_vector(&row(700)).unwrap()), "1/700");
    let like_it = nearest(named.nns(3).by_item("1/700").unwrap().unwrap());
    assert!(like_it == "0/699" || like_it == "2/701", "{like_it}");
    assert!(named.nns(3).by_item("none").unwrap().is_none());
    assert_eq!(nearest(named.nns(3).prefix("0/").by_vector(&row(700)).unwrap()), "0/699");
    let kept = Filter::<str>::prefix("2/");
    assert_eq!(nearest(named.nns(3).candidates(&kept).by_vector(&row(700)).unwrap()), "2/701");
    let some = ["1/4", "2/8"];
    assert_eq!(nearest(named.nns(3).candidates(some).by_vector(&row(700)).unwrap()), "2/8");
    let ends_in_5 = |key: &str| key.ends_with('5');
    for exact in [false, true] {
        let mut query = named.nns(3);
        if exact {
            query.exact();
        }
        let found = query.filter(&ends_in_5).by_vector(&row(700)).unwrap();
        assert!(found.nns.iter().all(|(key, _)| key.ends_with('5')) && found.nns.len() == 3);
    }
    let old = field("n").below(100);
    let found = named.nns(2).candidates(&old).with_records().by_vector(&row(700)).unwrap();
    assert_eq!(found.records[0].as_deref(), Some(&b"{\"n\":99}"[..]));
    assert_eq!(nearest(found), "0/99");
    let pages: Vec<_> = named.nns(10).pages(&row(0)).unwrap().take(2).map(Result::unwrap).collect();
    assert_eq!((&*pages[0].nns[0].0, pages[1].nns.len()), ("0/0", 10));
    assert_eq!(named.nns(0).count_within(&row(3), 0.5).unwrap().items, 1);

    // Under another kind of names nothing is read or changed.
    let mut wtxn = env.write_txn().unwrap();
    let numbers = Writer::new(db, 0, DIMENSIONS).keyed::<u64>();
    let ids = Writer::new(db, 0, DIMENSIONS);
    for error in [
        reader.keyed::<u64>(&rtxn).map(drop).unwrap_err(),
        reader.keyed::<[u8]>(&rtxn).map(drop).unwrap_err(),
        numbers.add_item(&mut wtxn, 7, &row(7)).unwrap_err(),
        numbers.contains_item(&wtxn, 7).map(drop).unwrap_err(),
        numbers.del_item(&mut wtxn, 7).map(drop).unwrap_err(),
        ids.add_item(&mut wtxn, 7, &row(7)).unwrap_err(),
    ] {
        assert!(matches!(error, Error::NamingMismatch { stored: "string keys", .. }), "{error}");
    }
    let bad = writer.add_item(&mut wtxn, "bad", &[f32::NAN; DIMENSIONS]).unwrap_err();
    assert!(bad.to_string().starts_with("item \"bad\": "), "{bad}");
    let bad = writer.add_item_with_record(&mut wtxn, "bad", &row(1), b"no object").unwrap_err();
    assert!(bad.to_string().contains("\"bad\""), "{bad}");
    assert!(matches!(
        writer.add_item(&mut wtxn, "", &row(1)),
        Err(Error::InvalidItemKey { bytes: 0, .. })
    ));
    let rows = [("new", row(1)), ("", row(2))];
    assert!(matches!(writer.add_items_from(&mut wtxn, rows), Err(Error::InvalidItemKey { .. })));
    assert!(writer.contains_item(&wtxn, "new").unwrap(), "those before the bad one are added");
    assert_eq!(voisin::check(&wtxn, 0, db).unwrap(), []);
}

#[test]
fn a_torn_edit_leaves_the_keys_from_before_it() {
    let (_dir, env) = new();
    let db = create::<Euclidean>(&env);
    // Blocks fill up, so that values are written before the end of the edit.
    let dimensions = 2000;
    let writer = Writer::new(db, 0, dimensions).keyed::<str>();
    let mut wtxn = env.write_txn().unwrap();
    writer.add_item(&mut wtxn, "before", &vec![0.5; dimensions]).unwrap();
    wtxn.commit().unwrap();
    let mut wtxn = env.write_txn().unwrap();
    let rows = (0..2000u32).map(|n| match n {
        0..1900 => (format!("key {n}"), vec![0.25; dimensions]),
        _ => panic!("a bad line"),
    });
    let torn = catch_unwind(AssertUnwindSafe(|| writer.add_items_from(&mut wtxn, rows)));
    assert!(torn.is_err());
    assert!(matches!(writer.contains_item(&wtxn, "before"), Err(Error::TornEdit { .. })));
    assert!(writer.repair(&mut wtxn).unwrap());
    assert!(writer.contains_item(&wtxn, "before").unwrap());
    assert!(!writer.contains_item(&wtxn, "key 1").unwrap());
    assert_eq!(voisin::check(&wtxn, 0, db).unwrap(), []);
    wtxn.commit().unwrap();
}
