//! Records beside vectors: one commit for both, returned on request, and otherwise not read.

use voisin::{AnyIndex, Error, Index, ItemId, Kind, Options, distances::Euclidean};

use crate::{DIMENSIONS, add, check, create, vector};

fn record(item: ItemId, version: u64) -> Vec<u8> {
    format!("item {item}, version {version}, ").repeat(item as usize % 300).into_bytes()
}

#[test]
fn a_vector_is_replaced_without_its_record_and_a_record_without_its_vector() {
    let (_folder, index) = create(Options::new(DIMENSIONS));
    index
        .write(|batch| {
            batch.add_items_with_records((0..500).map(|i| (i, vector(i, 1), record(i, 1))))?;
            batch.add(500, &vector(500, 1))
        })
        .unwrap();
    check(&index);
    add(&index, 0..100, 2).unwrap();
    index
        .write(|batch| {
            for item in 50..150 {
                assert!(batch.set_record(item, &record(item, 3))?);
            }
            assert!(!batch.set_record(9000, b"")?);
            assert!(batch.remove_record(200)? && !batch.remove_record(200)?);
            assert!(!batch.remove_record(9000)?);
            batch.delete_items(300..310)?;
            batch.add(300, &vector(300, 4))?;
            batch.add_with_record(301, &vector(301, 4), &record(301, 4))?;
            assert_eq!(batch.record(301)?, Some(record(301, 4)));
            assert_eq!(batch.record(300)?, None);
            Ok(())
        })
        .unwrap();
    check(&index);
    let snapshot = index.snapshot().unwrap();
    let expected = |item: ItemId| match item {
        50..150 => Some(record(item, 3)),
        200 | 300 | 302..310 | 500.. => None,
        301 => Some(record(301, 4)),
        _ => Some(record(item, 1)),
    };
    let version = |item: ItemId| match item {
        0..100 => 2,
        300 | 301 => 4,
        _ => 1,
    };
    for item in (0..302).chain(310..501) {
        assert_eq!(snapshot.vector(item).unwrap(), Some(vector(item, version(item))));
        assert_eq!(snapshot.record(item).unwrap(), expected(item), "{item}");
    }
    let all: Vec<_> = snapshot.records().unwrap().map(Result::unwrap).collect();
    let has_one = |item| Some((item, expected(item)?));
    assert_eq!(all, (0..600).filter_map(has_one).collect::<Vec<_>>());
    let some = [7, 200, 9000, 60];
    assert_eq!(snapshot.records_of(some).unwrap(), some.map(expected));
    let stats = index.stats().unwrap();
    assert_eq!((stats.records, stats.items), (all.len() as u64, 493));
    assert_eq!(stats.record_bytes, all.iter().map(|(_, record)| record.len() as u64).sum::<u64>());

    // Records stay where they are when items get other slots, and are there in a copy.
    index.optimize().unwrap();
    check(&index);
    let copy = tempfile::tempdir().unwrap();
    index.copy_to(copy.path()).unwrap();
    let copy = Index::<Euclidean>::open(copy.path(), Options::default()).unwrap();
    check(&copy);
    for index in [&index, &copy] {
        let now = index.snapshot().unwrap();
        assert_eq!(now.records().unwrap().map(Result::unwrap).collect::<Vec<_>>(), all);
    }
    index.write(|batch| batch.clear()).unwrap();
    assert_eq!(index.snapshot().unwrap().records().unwrap().count(), 0);
    assert_eq!(index.stats().unwrap().records, 0);
    check(&index);
}

#[test]
fn an_index_without_records_has_no_byte_of_them() {
    let (_folder, index) = create(Options::new(DIMENSIONS));
    add(&index, 0..100, 1).unwrap();
    let values = |index: &crate::Vectors| {
        let kinds = index.stats().unwrap().kinds;
        let of = |kind| kinds.iter().find(|stats| stats.kind == kind).unwrap();
        (of(Kind::RECORDS).values, of(Kind::META).bytes)
    };
    let (none, meta_bytes) = values(&index);
    assert_eq!(none, 0);
    assert!(index.write(|batch| batch.set_record(7, b"a record")).unwrap());
    assert_eq!(values(&index), (1, meta_bytes + 4 + 16));
    assert!(index.write(|batch| batch.delete(7)).unwrap());
    assert_eq!(values(&index), (0, meta_bytes));
    check(&index);
}

#[test]
fn answers_have_the_records_of_their_items_if_they_are_asked_for() {
    let (_folder, index) = create(Options::new(DIMENSIONS));
    let items = (0..3000).map(|item| (item, vector(item, 1), record(item, 1)));
    index.loader().load_with_records(items).unwrap();
    index.write(|batch| batch.remove_record(70)).unwrap();
    let expected = |item: &ItemId| (*item != 70).then(|| record(*item, 1));
    let query = vector(70, 1);
    let is_right = |found: &voisin::Searched, has_records: bool| {
        let records = found.nns.iter().map(|(item, _)| expected(item));
        assert!(!found.nns.is_empty());
        match has_records {
            true => assert_eq!(found.records, records.collect::<Vec<_>>()),
            false => assert_eq!(found.records, Vec::<Option<Vec<u8>>>::new()),
        }
    };
    let snapshot = index.snapshot().unwrap();
    is_right(&snapshot.search(10).by_vector(&query).unwrap(), false);
    is_right(&snapshot.search(10).with_records().by_vector(&query).unwrap(), true);
    is_right(&index.search(10).with_records().exact().by_vector(&query).unwrap(), true);
    let both = index.search(10).with_records().with_vectors().by_item(70).unwrap().unwrap();
    is_right(&both, true);
    assert_eq!(both.vectors.len(), both.nns.len());
    for found in
        index.search(10).with_records().by_vectors(&[query.clone(), vector(9, 1)].concat()).unwrap()
    {
        is_right(&found, true);
    }
    let within = index.search(5).with_records().within(1e9).by_vector(&query).unwrap();
    assert!(within.has_more);
    is_right(&within, true);
    let mut pages = index.search(7).with_records().pages(&query).unwrap();
    for _ in 0..3 {
        is_right(&pages.next_page(&|| false).unwrap(), true);
    }
    index
        .write(|batch| {
            batch.add_with_record(9000, &query, b"of the batch")?;
            let found = batch.search(1).exact().with_records().by_vector(&vector(9000, 1))?;
            assert_eq!(found.records.len(), 1);
            let found = batch.search(3).with_records().by_vector(&query)?;
            assert!(found.records.contains(&Some(b"of the batch".to_vec())));
            batch.delete(9000).map(drop)
        })
        .unwrap();
}

#[test]
fn keys_name_records_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vectors");
    let index = Index::<Euclidean, str>::create(&path, Options::new(DIMENSIONS)).unwrap();
    let key = |item: ItemId| format!("key {item:04}");
    let rows = |version| (0..400).map(move |i| (key(i), vector(i, version), record(i, version)));
    index.loader().load_with_records(rows(1)).unwrap();
    index
        .write(|batch| {
            batch.add_items_with_records(rows(2).take(50))?;
            batch.add("key 0001", &vector(1, 3))?;
            batch.add_with_record("key 0002", &vector(2, 3), b"three")?;
            assert!(batch.set_record("key 0003", b"set")? && !batch.set_record("none", b"")?);
            assert!(batch.remove_record("key 0004")? && !batch.remove_record("none")?);
            assert_eq!(batch.record("key 0003")?, Some(b"set".to_vec()));
            assert!(batch.delete("key 0005")?);
            // It may get the id of the deleted one, and must not get its record.
            batch.add("another", &vector(5, 1))
        })
        .unwrap();
    let expected = |item: ItemId| match item {
        0 | 1 | 6..50 => Some(record(item, 2)),
        2 => Some(b"three".to_vec()),
        3 => Some(b"set".to_vec()),
        4 | 5 => None,
        _ => Some(record(item, 1)),
    };
    let snapshot = index.snapshot().unwrap();
    for item in 0..400 {
        assert_eq!(snapshot.record(key(item)).unwrap(), expected(item), "{item}");
    }
    assert_eq!(snapshot.record("another").unwrap(), None);
    let has_one = |item| Some((key(item), expected(item)?));
    let all: Vec<_> = snapshot.records().unwrap().map(Result::unwrap).collect();
    assert_eq!(all, (0..400).filter_map(has_one).collect::<Vec<_>>());
    assert_eq!(
        snapshot.records_of(["key 0003", "another"]).unwrap(),
        [Some(b"set".to_vec()), None]
    );
    let found = snapshot.search(1).exact().with_records().by_vector(&vector(300, 1)).unwrap();
    assert_eq!((&found.nns[0].0, &found.records), (&key(300), &vec![expected(300)]));
    assert!(index.check().unwrap().is_empty());
    drop((snapshot, index));

    let any = AnyIndex::open(&path, Options::default()).unwrap();
    assert!(any.set_record("key 0004", b"by any").unwrap());
    assert_eq!(any.record("key 0004").unwrap(), Some(b"by any".to_vec()));
    assert!(any.remove_record("key 0004").unwrap() && !any.remove_record("key 0004").unwrap());
    any.add_with_record("of any", &vector(1, 9), b"new").unwrap();
    assert_eq!(any.record("of any").unwrap(), Some(b"new".to_vec()));
    assert!(any.delete("of any").unwrap());
    assert_eq!(any.record("of any").unwrap(), None);
    assert!(any.check().unwrap().is_empty());
}

#[test]
fn a_record_that_is_too_long_changes_nothing() {
    let (_folder, index) = create(Options::new(DIMENSIONS));
    let long = vec![0; (64 << 20) + 1];
    index
        .write(|batch| {
            batch.add_with_record(1, &vector(1, 1), b"short")?;
            let refused = [
                batch.add_with_record(1, &vector(1, 2), &long),
                batch.set_record(1, &long).map(drop),
                batch.add_items_with_records([(2, vector(2, 1), &long)]).map(drop),
            ];
            for error in refused.map(Result::unwrap_err) {
                assert!(matches!(error, Error::InvalidParameter { .. }), "{error}");
                assert!(error.to_string().contains("64 MiB"), "{error}");
            }
            assert_eq!((batch.record(1)?, batch.len()?), (Some(b"short".to_vec()), 1));
            Ok(())
        })
        .unwrap();
    let refused = index.loader().load_with_records([(2, vector(2, 1), &long)]);
    assert!(matches!(refused, Err(Error::InvalidParameter { .. })));
    assert_eq!(index.snapshot().unwrap().len(), 1);
}

/// Rows within a budget wait in a file, and are added in another order.
#[test]
fn loads_within_a_budget_and_in_batches_bring_the_records() {
    const LONG: usize = 16;
    let row = |item: ItemId, version: u64| {
        (
            item,
            [vector(item, version), vector(item / 7, 3)].concat().repeat(2),
            record(item, version),
        )
    };
    for batches in [false, true] {
        let (_folder, index) = create(Options::new(LONG).m(8).ef_construction(40));
        let rows = |version| (0..3000).map(move |item| row(item, version));
        // Of two rows of one item the last counts.
        let twice = (0..100).map(|item| row(item, 1)).chain(rows(2));
        let budget = match index.loader().memory(1).load_with_records(twice.clone()) {
            Err(Error::MemoryBudget { least, .. }) => least * 2,
            other => panic!("{other:?}"),
        };
        let load = |rows: &mut dyn Iterator<Item = (ItemId, Vec<f32>, Vec<u8>)>| {
            let loader = index.loader().memory(budget);
            let loader = if batches { loader.commit_every(700) } else { loader };
            loader.load_with_records(rows).unwrap()
        };
        assert_eq!(load(&mut twice.clone()), 3100);
        check(&index);
        let has = |version: u64| {
            let snapshot = index.snapshot().unwrap();
            let all = snapshot.records().unwrap().map(Result::unwrap);
            assert!(all.eq((0..3000).map(|item| (item, record(item, version)))));
        };
        has(2);
        let before = index.snapshot().unwrap().commit();
        // The same again changes nothing; other records beside the same vectors do.
        load(&mut rows(2));
        let slots = index.stats().unwrap().slots;
        load(&mut rows(2).map(|(item, vector, _)| (item, vector, record(item, 5))));
        has(5);
        let stats = index.stats().unwrap();
        assert_eq!((stats.slots, stats.pending), (slots, 0), "no vector was replaced");
        assert!(index.snapshot().unwrap().commit() > before);
        check(&index);
    }
}

#[test]
fn rows_of_a_load_that_come_without_a_record_keep_the_one_that_they_have() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vectors");
    let ids = Index::<Euclidean>::create(&path, Options::new(DIMENSIONS).name("ids")).unwrap();
    let keys = Index::<Euclidean, str>::create(&path, Options::new(DIMENSIONS)).unwrap();
    let key = |item: ItemId| format!("key {item}");
    let some = |item, version| (item % 3 == 0).then(|| record(item, version));
    for version in [1, 2] {
        let of =
            move |item: ItemId| if version == 1 { Some(record(item, 1)) } else { some(item, 2) };
        let rows = (0..300).map(move |item| (item, vector(item, version), of(item)));
        assert_eq!(ids.loader().load_given(rows.clone()).unwrap(), 300);
        let rows = rows.map(|(item, vector, record)| (key(item), vector, record));
        assert_eq!(keys.loader().load_given(rows).unwrap(), 300);
    }
    for item in 0..300 {
        let expected = some(item, 2).or(Some(record(item, 1)));
        let [ids, keys] = [
            ids.snapshot().unwrap().record(item).unwrap(),
            keys.snapshot().unwrap().record(key(item)).unwrap(),
        ];
        assert_eq!((ids, keys), (expected.clone(), expected), "{item}");
    }
    assert!(ids.check().unwrap().is_empty() && keys.check().unwrap().is_empty());
}
