//! Round trips: stored items come back unchanged, in every order of calls, and a call changes
//! nothing else.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use voisin::distances::{Cosine, Distance, Euclidean, Manhattan};
use voisin::heed::{RoTxn, RwTxn};
use voisin::roaring::RoaringBitmap;
use voisin::{Error, ItemId, Phase, Progress, Reader, WarmReader, Writer};

use crate::common::{
    Chebyshev, Env, Metric, Model, Oracle, add, build, build_index, check, check_holds, create,
    dump, dump_of, for_every_metric, is_binary, new_env, new_env_of, rng, to_bits, vector, vectors,
    with_metric,
};

fn rebuild<D: Distance>(writer: &Writer<'_, D>, wtxn: &mut RwTxn<'_>) {
    writer
        .builder(&mut StdRng::seed_from_u64(42))
        .ef_construction(40)
        .force_rebuild::<8, 16>(wtxn)
        .unwrap();
}

/// The ids that are found when all are asked for.
fn found(reader: &Reader<'_, Euclidean>, rtxn: &RoTxn<'_>, query: &[f32]) -> Vec<ItemId> {
    reader
        .nns(usize::MAX)
        .by_vector(rtxn, query)
        .unwrap()
        .into_nns()
        .into_iter()
        .map(|(id, _)| id)
        .collect()
}

#[test]
fn items_come_back_bit_for_bit_and_in_the_order_of_their_ids() {
    fn run<D: Metric>() {
        let mut rng = rng();
        let (_dir, env) = new_env();
        let db = create::<D>(&env);
        // 27 of these to a block: there are full blocks and a tail.
        let dimensions = if is_binary::<D>() { 9000 } else { 300 };
        let ids: Vec<ItemId> = (0..130)
            .map(|_| rng.random())
            .chain([0, 1, 999, 1000, u32::MAX - 1, u32::MAX])
            .collect();
        let mut model = vectors::<D>(&mut rng, ids, dimensions);
        if !is_binary::<D>() {
            let odd = [
                -0.0,
                0.0,
                f32::from_bits(1),
                -f32::MIN_POSITIVE / 2.0,
                f32::MIN_POSITIVE,
                1e15,
                -1e-15,
                0.1,
            ];
            for (n, vector) in model.values_mut().enumerate().filter(|(n, _)| n % 3 == 0) {
                vector
                    .iter_mut()
                    .enumerate()
                    .for_each(|(i, component)| *component = odd[(n + i * i) % (odd.len() - n % 2)]);
                // Of a norm that cosine can take.
                vector
                    .iter_mut()
                    .filter(|component| component.abs() > 1.0)
                    .for_each(|component| *component = 1.0);
                vector[n % 7] = -1.0;
            }
        }
        let writer = Writer::<D>::new(db, 7, dimensions);
        let mut wtxn = env.write_txn().unwrap();
        add(&writer, &mut wtxn, &model);
        check_holds(&wtxn, db, 7, &model);
        wtxn.commit().unwrap();
        check_holds(&env.read_txn().unwrap(), db, 7, &model);
        let mut wtxn = env.write_txn().unwrap();
        build(&writer, &mut wtxn);
        check_holds(&wtxn, db, 7, &model);
        wtxn.commit().unwrap();

        let rtxn = env.read_txn().unwrap();
        check_holds(&rtxn, db, 7, &model);
        let reader = Reader::<D>::open(&rtxn, 7, db).unwrap();
        assert_eq!((reader.index(), reader.dimensions(), reader.n_pending()), (7, dimensions, 0));
        let iterated: Vec<(ItemId, Vec<f32>)> =
            writer.iter(&rtxn).unwrap().collect::<voisin::Result<_>>().unwrap();
        assert!(
            iterated.iter().map(|(id, _)| id).eq(model.keys()),
            "a writer iterates in the order of ids, too"
        );
        for (id, expected) in &model {
            for vector in [reader.item_vector(&rtxn, *id), writer.item_vector(&rtxn, *id)] {
                assert_eq!(
                    to_bits(&vector.unwrap().unwrap()),
                    to_bits(expected),
                    "{} item {id}",
                    D::name()
                );
            }
            assert!(
                reader.contains_item(&rtxn, *id).unwrap()
                    && writer.contains_item(&rtxn, *id).unwrap()
            );
        }
        assert_eq!(reader.item_vector(&rtxn, 2).unwrap(), None);
        assert!(!reader.contains_item(&rtxn, 2).unwrap());
    }
    for_every_metric!(run);
}

#[test]
fn an_index_counts_what_is_pending_and_knows_when_it_needs_a_build() {
    let mut rng = rng();
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let writer = Writer::<Euclidean>::new(db, 0, 3);
    let mut wtxn = env.write_txn().unwrap();
    let state = |wtxn: &RwTxn<'_>| {
        check(wtxn, db, 0);
        let reader = Reader::<Euclidean>::open(wtxn, 0, db);
        let [items, pending] =
            reader.map_or([0; 2], |reader| [reader.n_items(), reader.n_pending()]);
        assert_eq!(writer.n_pending(wtxn).unwrap(), pending);
        assert_eq!(writer.is_empty(wtxn).unwrap(), items == 0);
        (items, pending, writer.need_build(wtxn).unwrap())
    };
    assert_eq!(state(&wtxn), (0, 0, false), "no index");
    add(&writer, &mut wtxn, &vectors::<Euclidean>(&mut rng, 0..10, 3));
    assert_eq!(state(&wtxn), (10, 10, true), "added");
    build(&writer, &mut wtxn);
    assert_eq!(state(&wtxn), (10, 0, false), "built");
    add(&writer, &mut wtxn, &vectors::<Euclidean>(&mut rng, 8..13, 3));
    assert_eq!(state(&wtxn), (13, 5, true), "two replaced, three added");
    assert!(writer.del_item(&mut wtxn, 12).unwrap());
    assert_eq!(state(&wtxn), (12, 4, true), "one of the added deleted");
    add(&writer, &mut wtxn, &vectors::<Euclidean>(&mut rng, 11..12, 3));
    assert_eq!(state(&wtxn), (12, 4, true), "one of the added replaced");
    build(&writer, &mut wtxn);
    assert_eq!(state(&wtxn), (12, 0, false), "built again");
    assert!(writer.del_item(&mut wtxn, 0).unwrap());
    assert_eq!(state(&wtxn), (11, 0, true), "one of the built deleted");
    assert!(!writer.del_item(&mut wtxn, 0).unwrap());
    assert!(!writer.del_item(&mut wtxn, 12).unwrap());
    assert_eq!(state(&wtxn), (11, 0, true), "what is not there cannot be deleted");
    assert_eq!(writer.del_items(&mut wtxn, [3, 4, 0, 3, 77, u32::MAX]).unwrap(), 2);
    assert_eq!(state(&wtxn), (9, 0, true), "several deleted, some of them twice or not there");
    assert_eq!(writer.del_items(&mut wtxn, 0..1000).unwrap(), 9);
    assert_eq!(state(&wtxn), (0, 0, true), "all deleted");
    build(&writer, &mut wtxn);
    assert_eq!(state(&wtxn), (0, 0, false), "all deleted and built");
    add(&writer, &mut wtxn, &vectors::<Euclidean>(&mut rng, 5..7, 3));
    assert_eq!(state(&wtxn), (2, 2, true), "added anew");
    build(&writer, &mut wtxn);
    assert_eq!(state(&wtxn), (2, 0, false), "built anew");
    writer.clear(&mut wtxn).unwrap();
    assert_eq!(state(&wtxn), (0, 0, false), "cleared");
}

#[test]
fn an_item_that_is_replaced_has_the_last_vector_only() {
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let writer = Writer::<Euclidean>::new(db, 0, 2);
    let mut wtxn = env.write_txn().unwrap();
    // Before and after builds, in one transaction and across commits, and the same vector once
    // more.
    for (round, vector) in [[1.0, 0.0], [2.0, 0.0], [2.0, 0.0], [3.0, 0.0], [4.0, 0.0], [5.0, 0.0]]
        .into_iter()
        .enumerate()
    {
        writer.add_item(&mut wtxn, 9, &vector).unwrap();
        writer.add_item(&mut wtxn, round as ItemId, &[100.0, 100.0]).unwrap();
        if round % 2 == 1 {
            build(&writer, &mut wtxn);
        }
        if round % 3 == 2 {
            wtxn.commit().unwrap();
            wtxn = env.write_txn().unwrap();
        }
        let model: Model = (0..=round as ItemId)
            .map(|id| (id, vec![100.0, 100.0]))
            .chain([(9, vector.to_vec())])
            .collect();
        check_holds(&wtxn, db, 0, &model);
        let reader = Reader::<Euclidean>::open(&wtxn, 0, db).unwrap();
        let nns = reader.nns(100).by_vector(&wtxn, &vector).unwrap().into_nns();
        assert_eq!(nns[0], (9, 0.0), "round {round}");
        assert_eq!(nns.len(), model.len(), "round {round}");
    }
}

#[test]
fn an_item_that_is_deleted_and_added_in_one_transaction_is_there() {
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let writer = Writer::<Euclidean>::new(db, 0, 2);
    for is_built in [false, true] {
        let mut model: Model = (0..20).map(|id| (id, vec![id as f32, 1.0])).collect();
        let mut wtxn = env.write_txn().unwrap();
        writer.clear(&mut wtxn).unwrap();
        add(&writer, &mut wtxn, &model);
        if is_built {
            build(&writer, &mut wtxn);
        }
        wtxn.commit().unwrap();
        let mut wtxn = env.write_txn().unwrap();
        assert!(writer.del_item(&mut wtxn, 3).unwrap());
        assert!(!writer.contains_item(&wtxn, 3).unwrap());
        assert_eq!(writer.item_vector(&wtxn, 3).unwrap(), None);
        writer.add_item(&mut wtxn, 3, &[50.0, 50.0]).unwrap();
        // And the other way round.
        writer.add_item(&mut wtxn, 99, &[1.0, 1.0]).unwrap();
        assert!(writer.del_item(&mut wtxn, 99).unwrap());
        wtxn.commit().unwrap();
        model.insert(3, vec![50.0, 50.0]);
        let rtxn = env.read_txn().unwrap();
        check_holds(&rtxn, db, 0, &model);
        let reader = Reader::<Euclidean>::open(&rtxn, 0, db).unwrap();
        assert_eq!(found(&reader, &rtxn, &[50.0, 50.0])[0], 3);
        assert_eq!(found(&reader, &rtxn, &[0.0, 1.0]).len(), 20);
    }
}

#[test]
fn many_items_are_added_as_if_one_by_one() {
    fn run<D: Metric>() {
        let mut rng = rng();
        let (_dir, env) = new_env();
        let db = create::<D>(&env);
        let dimensions = 40;
        let batch: Vec<(ItemId, Vec<f32>)> = (0..900)
            .map(|_| (rng.random_range(0..500), vector::<D>(&mut rng, dimensions)))
            .collect();
        let model: Model = batch.iter().cloned().collect();
        assert!(model.len() < batch.len(), "some ids occur twice");
        let (ids, rows): (Vec<ItemId>, Vec<&[f32]>) =
            batch.iter().map(|(id, vector)| (*id, &vector[..])).unzip();
        let mut wtxn = env.write_txn().unwrap();
        let writers = [0, 1, 2].map(|index| Writer::<D>::new(db, index, dimensions));
        for (id, vector) in &batch {
            writers[0].add_item(&mut wtxn, *id, vector).unwrap();
        }
        writers[1].add_items(&mut wtxn, &ids, &rows.concat()).unwrap();
        let count = writers[2]
            .add_items_from(&mut wtxn, batch.iter().map(|(id, vector)| (*id, vector)))
            .unwrap();
        assert_eq!(count, 900, "of how many the iterator has yielded");
        for index in [0, 1, 2] {
            check_holds(&wtxn, db, index, &model);
        }
        let values = |index| {
            dump_of(&wtxn, db, index)
                .into_iter()
                .map(|(key, value)| (key[2..].to_vec(), value[..value.len() - 4].to_vec()))
        };
        assert!(
            values(0).eq(values(1)) && values(0).eq(values(2)),
            "{}: the same bytes but for the index and the checksums",
            D::name()
        );
    }
    for_every_metric!(run);
}

#[test]
fn a_batch_with_a_bad_row_changes_nothing() {
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let writer = Writer::<Euclidean>::new(db, 0, 2);
    for exists in [false, true] {
        if exists {
            build_index(&env, db, 0, &(0..50).map(|id| (id, vec![id as f32, 0.0])).collect());
        }
        let before = dump(&env.read_txn().unwrap(), db);
        let mut wtxn = env.write_txn().unwrap();
        let error = writer
            .add_items(&mut wtxn, &[1, 2, 3], &[0.0, 0.0, 1.0, f32::NAN, 0.0, 0.0])
            .unwrap_err();
        assert!(matches!(error, Error::InvalidItem { item: 2, .. }), "{error}");
        let error = writer.add_items(&mut wtxn, &[1, 2, 3], &[0.0; 5]).unwrap_err();
        assert!(
            matches!(error, Error::LengthMismatch { ids: 3, components: 5, dimensions: 2 }),
            "{error}"
        );
        let error = writer.add_items(&mut wtxn, &[], &[0.0; 2]).unwrap_err();
        assert!(
            matches!(error, Error::LengthMismatch { ids: 0, components: 2, dimensions: 2 }),
            "{error}"
        );
        wtxn.commit().unwrap();
        assert_eq!(dump(&env.read_txn().unwrap(), db), before);
    }
}

#[test]
fn a_batch_whose_last_row_is_bad_changes_nothing_however_many_blocks_it_would_fill() {
    let mut rng = rng();
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    // 8 of these to a block.
    let dimensions = 1000;
    let model = vectors::<Euclidean>(&mut rng, 0..40, dimensions);
    build_index(&env, db, 0, &model);
    let before = dump(&env.read_txn().unwrap(), db);
    let writer = Writer::<Euclidean>::new(db, 0, dimensions);
    let ids: Vec<ItemId> = (20..90).collect();
    let mut rows = vec![1.0; ids.len() * dimensions];
    *rows.last_mut().unwrap() = f32::NAN;
    let mut wtxn = env.write_txn().unwrap();
    let error = writer.add_items(&mut wtxn, &ids, &rows).unwrap_err();
    assert!(matches!(error, Error::InvalidItem { item: 89, .. }), "{error}");
    wtxn.commit().unwrap();
    let rtxn = env.read_txn().unwrap();
    assert!(dump(&rtxn, db) == before, "nothing has changed");
    check_holds(&rtxn, db, 0, &model);
}

#[test]
fn an_iterator_with_a_bad_vector_has_added_those_before_it() {
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let mut model: Model = (0..50).map(|id| (id, vec![id as f32, 0.0])).collect();
    build_index(&env, db, 0, &model);
    let writer = Writer::<Euclidean>::new(db, 0, 2);
    let mut wtxn = env.write_txn().unwrap();
    let items = [
        (1, vec![0.0, 5.0]),
        (100, vec![0.0, 6.0]),
        (3, vec![f32::INFINITY, 0.0]),
        (101, vec![0.0, 7.0]),
    ];
    let error = writer.add_items_from(&mut wtxn, items).unwrap_err();
    assert!(matches!(error, Error::InvalidItem { item: 3, .. }), "{error}");
    model.extend([(1, vec![0.0, 5.0]), (100, vec![0.0, 6.0])]);
    check_holds(&wtxn, db, 0, &model);
    // A row of another length is one that is bad.
    let error =
        writer.add_items_from(&mut wtxn, [(102, vec![0.0, 8.0]), (4, vec![1.0])]).unwrap_err();
    assert!(matches!(error, Error::DimensionMismatch { expected: 2, found: 1 }), "{error}");
    model.insert(102, vec![0.0, 8.0]);
    check_holds(&wtxn, db, 0, &model);
    wtxn.commit().unwrap();
    check_holds(&env.read_txn().unwrap(), db, 0, &model);
}

#[test]
fn calls_that_change_nothing_create_no_index() {
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let writer = Writer::<Euclidean>::new(db, 0, 2);
    let mut wtxn = env.write_txn().unwrap();
    assert!(!writer.del_item(&mut wtxn, 1).unwrap());
    assert_eq!(writer.del_items(&mut wtxn, [1, 2]).unwrap(), 0);
    writer.clear(&mut wtxn).unwrap();
    writer.add_items(&mut wtxn, &[], &[0.0; 0]).unwrap();
    assert_eq!(
        writer.add_items_from(&mut wtxn, std::iter::empty::<(ItemId, Vec<f32>)>()).unwrap(),
        0
    );
    assert!(writer.add_item(&mut wtxn, 1, &[f32::NAN, 0.0]).is_err());
    assert!(
        !writer.contains_item(&wtxn, 1).unwrap()
            && !writer.need_build(&wtxn).unwrap()
            && writer.is_empty(&wtxn).unwrap()
    );
    assert_eq!(
        (writer.item_vector(&wtxn, 1).unwrap(), writer.n_pending(&wtxn).unwrap()),
        (None, 0)
    );
    assert_eq!(writer.iter(&wtxn).unwrap().count(), 0);
    assert_eq!(dump(&wtxn, db), []);
    assert!(matches!(Reader::<Euclidean>::open(&wtxn, 0, db), Err(Error::MissingIndex(0))));
    assert!(matches!(voisin::check::<Euclidean>(&wtxn, 0, db), Err(Error::MissingIndex(0))));
}

#[test]
fn an_iterator_whose_first_vector_is_bad_creates_no_index() {
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let writer = Writer::<Euclidean>::new(db, 0, 2);
    let mut wtxn = env.write_txn().unwrap();
    assert!(writer.add_items_from(&mut wtxn, [(1, [f32::NAN, 0.0])]).is_err());
    assert_eq!(dump(&wtxn, db), [], "as if the items before it had been added, and there are none");
}

#[test]
fn several_indexes_of_one_database_do_not_see_each_other() {
    let mut rng = rng();
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let indexes = [(0, 3), (1, 5), (255, 3), (256, 4), (65_533, 2), (65_534, 7)];
    let mut models = BTreeMap::new();
    let mut wtxn = env.write_txn().unwrap();
    for (index, dimensions) in indexes {
        let model = vectors::<Euclidean>(&mut rng, 0..u32::from(index % 50) + 60, dimensions);
        let writer = Writer::<Euclidean>::new(db, index, dimensions);
        add(&writer, &mut wtxn, &model);
        models.insert(index, model);
    }
    for (index, dimensions) in indexes {
        build(&Writer::<Euclidean>::new(db, index, dimensions), &mut wtxn);
    }
    wtxn.commit().unwrap();
    for (cleared, dimensions) in indexes {
        let mut wtxn = env.write_txn().unwrap();
        let before: Vec<_> = indexes.iter().map(|(index, _)| dump_of(&wtxn, db, *index)).collect();
        let writer = Writer::<Euclidean>::new(db, cleared, dimensions);
        assert!(writer.del_item(&mut wtxn, 5).unwrap());
        writer.add_item(&mut wtxn, 1000, &vec![0.5; dimensions]).unwrap();
        build(&writer, &mut wtxn);
        writer.clear(&mut wtxn).unwrap();
        for ((index, _), before) in indexes.iter().zip(before) {
            assert_eq!(
                dump_of(&wtxn, db, *index),
                if *index == cleared { vec![] } else { before },
                "index {index} when {cleared} is cleared"
            );
        }
        assert!(matches!(
            Reader::<Euclidean>::open(&wtxn, cleared, db),
            Err(Error::MissingIndex(index)) if index == cleared,
        ));
        models.insert(cleared, Model::new());
        for (index, model) in &models {
            check_holds(&wtxn, db, *index, model);
        }
        wtxn.abort();
        models = indexes
            .iter()
            .map(|(index, _)| {
                let rtxn = env.read_txn().unwrap();
                let items = Reader::<Euclidean>::open(&rtxn, *index, db).unwrap();
                (*index, items.iter(&rtxn).unwrap().collect::<voisin::Result<_>>().unwrap())
            })
            .collect();
    }
}

#[test]
fn a_cleared_index_may_be_created_anew_with_other_dimensions_and_connectivity() {
    let mut rng = rng();
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    build_index(&env, db, 0, &vectors::<Euclidean>(&mut rng, 0..100, 8));
    let mut wtxn = env.write_txn().unwrap();
    Writer::<Euclidean>::new(db, 0, 8).clear(&mut wtxn).unwrap();
    let writer = Writer::<Euclidean>::new(db, 0, 5);
    let model = vectors::<Euclidean>(&mut rng, 50..150, 5);
    add(&writer, &mut wtxn, &model);
    writer.builder(&mut rng).build::<4, 6>(&mut wtxn).unwrap();
    check_holds(&wtxn, db, 0, &model);
    writer.clear(&mut wtxn).unwrap();
    let other = Writer::<Cosine>::new(with_metric(db), 0, 6);
    let model = vectors::<Cosine>(&mut rng, 50..150, 6);
    add(&other, &mut wtxn, &model);
    other.builder(&mut rng).build::<5, 5>(&mut wtxn).unwrap();
    check_holds(&wtxn, with_metric::<Cosine, _>(db), 0, &model);
}

#[test]
fn the_smallest_and_the_largest_id_are_ids_like_all_others() {
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let writer = Writer::<Euclidean>::new(db, 0, 2);
    let mut model: Model =
        [0, 1, u32::MAX - 1, u32::MAX].map(|id| (id, vec![(id % 7) as f32, 1.0])).into();
    let mut wtxn = env.write_txn().unwrap();
    add(&writer, &mut wtxn, &model);
    for _ in 0..2 {
        let reader = Reader::<Euclidean>::open(&wtxn, 0, db).unwrap();
        for (id, vector) in &model {
            assert_eq!(found(&reader, &wtxn, vector)[0], *id);
            let only = RoaringBitmap::from_iter([*id]);
            let nns =
                reader.nns(5).candidates(&only).by_vector(&wtxn, &[0.0, 0.0]).unwrap().into_nns();
            assert_eq!(nns.len(), 1);
            assert_eq!(nns[0].0, *id);
            let others = reader.nns(5).by_item(&wtxn, *id).unwrap().unwrap().into_nns();
            assert!(others.len() == 3 && others.iter().all(|(other, _)| other != id), "{others:?}");
        }
        check_holds(&wtxn, db, 0, &model);
        build(&writer, &mut wtxn);
    }
    for id in [u32::MAX, 0] {
        assert!(writer.del_item(&mut wtxn, id).unwrap());
        model.remove(&id);
        check_holds(&wtxn, db, 0, &model);
        build(&writer, &mut wtxn);
        check_holds(&wtxn, db, 0, &model);
    }
}

#[test]
fn every_metric_finds_what_is_nearest_by_its_own_definition() {
    fn run<D: Metric>() {
        let mut rng = rng();
        let (_dir, env) = new_env();
        let db = create::<D>(&env);
        let model = vectors::<D>(&mut rng, 0..300, 24);
        build_index(&env, db, 0, &model);
        let rtxn = env.read_txn().unwrap();
        check_holds(&rtxn, db, 0, &model);
        let reader = Reader::<D>::open(&rtxn, 0, db).unwrap();
        for _ in 0..10 {
            let query = vector::<D>(&mut rng, 24);
            let found = reader.nns(10).exact().by_vector(&rtxn, &query).unwrap().into_nns();
            Oracle::<D>::new(&model, &query, |_| true).assert_exact(10, &found, D::name());
        }
    }
    for_every_metric!(run);
}

#[test]
fn an_index_is_opened_under_its_own_metric_only() {
    let mut rng = rng();
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    build_index(&env, db, 3, &vectors::<Euclidean>(&mut rng, 0..30, 4));
    fn assert_refused<T>(result: voisin::Result<T>, requested: &str) {
        let Err(Error::MetricMismatch { index: 3, stored, requested: found }) = &result else {
            panic!("not refused as {requested}")
        };
        assert_eq!((&stored[..], &found[..]), ("euclidean", requested));
        let message = result.err().unwrap().to_string();
        assert!(
            message.contains("open it as \"euclidean\"") && message.contains(requested),
            "{message}"
        );
    }
    fn run<D: Distance>(env: &Env, db: voisin::Database<'_, D>) {
        let name = D::name();
        let mut wtxn = env.write_txn().unwrap();
        let before = dump(&wtxn, db);
        let writer = Writer::<D>::new(db, 3, 4);
        assert_refused(Reader::<D>::open(&wtxn, 3, db).map(drop), name);
        assert_refused(writer.add_item(&mut wtxn, 1, &[1.0; 4]), name);
        assert_refused(writer.add_items(&mut wtxn, &[1], &[1.0; 4]), name);
        assert_refused(writer.add_items_from(&mut wtxn, [(1, [1.0; 4])]), name);
        assert_refused(writer.del_item(&mut wtxn, 1), name);
        assert_refused(writer.del_items(&mut wtxn, [1]), name);
        assert_refused(writer.clear(&mut wtxn), name);
        assert_refused(
            writer.builder(&mut StdRng::seed_from_u64(1)).build::<8, 16>(&mut wtxn),
            name,
        );
        assert_refused(
            writer.builder(&mut StdRng::seed_from_u64(1)).force_rebuild::<8, 16>(&mut wtxn),
            name,
        );
        assert_refused(writer.contains_item(&wtxn, 1), name);
        assert_refused(writer.item_vector(&wtxn, 1), name);
        assert_refused(writer.iter(&wtxn).map(drop), name);
        assert_refused(writer.is_empty(&wtxn), name);
        assert_refused(writer.need_build(&wtxn), name);
        assert_refused(writer.n_pending(&wtxn), name);
        assert_refused(voisin::check(&wtxn, 3, db), name);
        wtxn.commit().unwrap();
        assert_eq!(dump(&env.read_txn().unwrap(), db), before, "{name}: nothing has changed");
    }
    run::<Manhattan>(&env, with_metric(db));
    run::<Cosine>(&env, with_metric(db));
    run::<voisin::distances::Hamming>(&env, with_metric(db));
    run::<Chebyshev>(&env, with_metric(db));
}

#[test]
fn a_missing_index_cannot_be_opened() {
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    build_index(&env, db, 7, &[(0, vec![0.0])].into());
    let rtxn = env.read_txn().unwrap();
    for index in [0, 6, 8, 65_534] {
        let error = Reader::<Euclidean>::open(&rtxn, index, db).unwrap_err();
        assert!(matches!(error, Error::MissingIndex(found) if found == index), "{error}");
        let message = error.to_string();
        assert!(
            message.contains(&index.to_string()) && message.contains("add an item with a Writer"),
            "{message}"
        );
    }
}

#[test]
fn the_number_of_what_belongs_to_all_indexes_is_refused() {
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    build_index(&env, db, 7, &[(0, vec![0.0])].into());
    let (writer, mut wtxn) = (Writer::new(db, 65_535, 1), env.write_txn().unwrap());
    let before = crate::common::dump_of(&wtxn, db, 65_535);
    for error in [
        Reader::<Euclidean>::open(&wtxn, 65_535, db).map(drop).unwrap_err(),
        writer.add_item(&mut wtxn, 1, &[0.5]).unwrap_err(),
        writer.del_item(&mut wtxn, 1).map(drop).unwrap_err(),
        writer.clear(&mut wtxn).unwrap_err(),
        writer.repair(&mut wtxn).map(drop).unwrap_err(),
        voisin::check(&wtxn, 65_535, db).map(drop).unwrap_err(),
    ] {
        let message = error.to_string();
        assert!(
            matches!(error, Error::InvalidParameter { .. }) && message.contains("use 0 to 65534"),
            "{message}"
        );
    }
    assert_eq!(crate::common::dump_of(&wtxn, db, 65_535), before);
}

#[test]
fn an_aborted_transaction_leaves_nothing() {
    let mut rng = rng();
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let model = vectors::<Euclidean>(&mut rng, 0..200, 6);
    build_index(&env, db, 0, &model);
    let before = dump(&env.read_txn().unwrap(), db);
    let writer = Writer::<Euclidean>::new(db, 0, 6);
    let added = vectors::<Euclidean>(&mut rng, 100..300, 6);
    type Change<'a> = &'a dyn Fn(&mut RwTxn<'_>);
    let changes: [Change<'_>; 5] = [
        &|wtxn| add(&writer, wtxn, &added),
        &|wtxn| assert_eq!(writer.del_items(wtxn, 0..50).unwrap(), 50),
        &|wtxn| build(&writer, wtxn),
        &|wtxn| rebuild(&writer, wtxn),
        &|wtxn| writer.clear(wtxn).unwrap(),
    ];
    for last in 0..changes.len() {
        let mut wtxn = env.write_txn().unwrap();
        changes[..=last].iter().for_each(|change| change(&mut wtxn));
        check(&wtxn, db, 0);
        wtxn.abort();
        let rtxn = env.read_txn().unwrap();
        assert_eq!(dump(&rtxn, db), before, "aborted after change {last}");
        check_holds(&rtxn, db, 0, &model);
    }
}

#[test]
fn a_nested_transaction_that_is_aborted_leaves_its_parent_as_it_was() {
    let mut rng = rng();
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let writer = Writer::<Euclidean>::new(db, 0, 6);
    let mut model = vectors::<Euclidean>(&mut rng, 0..100, 6);
    let mut wtxn = env.write_txn().unwrap();
    add(&writer, &mut wtxn, &model);
    let before = dump(&wtxn, db);
    let mut nested = env.nested_write_txn(&mut wtxn).unwrap();
    assert!(writer.del_item(&mut nested, 3).unwrap());
    build(&writer, &mut nested);
    check(&nested, db, 0);
    nested.abort();
    assert_eq!(dump(&wtxn, db), before);
    let mut nested = env.nested_write_txn(&mut wtxn).unwrap();
    assert!(writer.del_item(&mut nested, 3).unwrap());
    build(&writer, &mut nested);
    nested.commit().unwrap();
    model.remove(&3);
    check_holds(&wtxn, db, 0, &model);
    wtxn.commit().unwrap();
    check_holds(&env.read_txn().unwrap(), db, 0, &model);
}

#[test]
fn a_search_inside_a_write_transaction_sees_its_changes() {
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let writer = Writer::<Euclidean>::new(db, 0, 2);
    build_index(&env, db, 0, &(0..30).map(|id| (id, vec![id as f32, 0.0])).collect());
    let nearest = |txn: &RoTxn<'_>| {
        found(&Reader::<Euclidean>::open(txn, 0, db).unwrap(), txn, &[0.0, 0.0])[0]
    };
    let mut wtxn = env.write_txn().unwrap();
    assert!(writer.del_item(&mut wtxn, 0).unwrap());
    assert_eq!(nearest(&wtxn), 1, "deleted");
    writer.add_item(&mut wtxn, 77, &[0.5, 0.0]).unwrap();
    assert_eq!(nearest(&wtxn), 77, "added");
    writer.add_item(&mut wtxn, 29, &[0.25, 0.0]).unwrap();
    assert_eq!(nearest(&wtxn), 29, "replaced");
    build(&writer, &mut wtxn);
    assert_eq!(nearest(&wtxn), 29, "built");
    assert!(writer.del_item(&mut wtxn, 29).unwrap());
    assert_eq!(nearest(&wtxn), 77, "deleted after the build");
    assert_eq!(nearest(&env.read_txn().unwrap()), 0, "nobody else sees anything before the commit");
    wtxn.commit().unwrap();
    assert_eq!(nearest(&env.read_txn().unwrap()), 77);
}

#[test]
fn a_reader_keeps_its_snapshot_while_others_commit() {
    let mut rng = rng();
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let model = vectors::<Euclidean>(&mut rng, 0..300, 32);
    build_index(&env, db, 0, &model);
    let rtxn = env.read_txn().unwrap();
    let reader = Reader::<Euclidean>::open(&rtxn, 0, db).unwrap();
    // Half of the tables are filled before the commits, all of them afterwards.
    let query = vector::<Euclidean>(&mut rng, 32);
    let before = reader.nns(10).ef_search(10).by_vector(&rtxn, &query).unwrap();
    for round in 0..5 {
        let mut wtxn = env.write_txn().unwrap();
        let writer = Writer::<Euclidean>::new(db, 0, 32);
        if round == 3 {
            writer.clear(&mut wtxn).unwrap();
        }
        add(&writer, &mut wtxn, &vectors::<Euclidean>(&mut rng, 0..200, 32));
        assert_eq!(writer.del_items(&mut wtxn, 20 * round..20 * round + 20).unwrap(), 20);
        build(&writer, &mut wtxn);
        wtxn.commit().unwrap();
    }
    assert_eq!(reader.nns(10).ef_search(10).by_vector(&rtxn, &query).unwrap(), before);
    check_holds(&rtxn, db, 0, &model);
    let all = reader.nns(300).by_vector(&rtxn, &query).unwrap().into_nns();
    Oracle::<Euclidean>::new(&model, &query, |_| true).assert_exact(300, &all, "the old snapshot");
    for (id, vector) in &model {
        assert_eq!(reader.item_vector(&rtxn, *id).unwrap().as_ref(), Some(vector));
    }
}

#[test]
fn a_reader_refuses_a_transaction_on_another_snapshot() {
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    build_index(&env, db, 0, &(0..30).map(|id| (id, vec![id as f32, 0.0])).collect());
    let writer = Writer::<Euclidean>::new(db, 0, 2);
    let old = env.read_txn().unwrap();
    let reader = Reader::<Euclidean>::open(&old, 0, db).unwrap();
    let same = env.read_txn().unwrap();
    assert_eq!(
        reader.nns(3).by_vector(&same, &[0.0, 0.0]).unwrap().into_nns(),
        [(0, 0.0), (1, 1.0), (2, 4.0)]
    );
    let mut wtxn = env.write_txn().unwrap();
    let refuses = |reader: &Reader<'_, Euclidean>, txn: &RoTxn<'_>, id: usize| {
        let is_refused = |error: Option<Error>| {
            let Some(Error::SnapshotMismatch { expected, found }) = error else {
                panic!("not refused: {error:?}")
            };
            assert_eq!((expected, found), (id, txn.id()));
            let message = error.unwrap().to_string();
            assert!(
                message.contains(&format!("snapshot {expected}"))
                    && message.contains("open a new reader"),
                "{message}"
            );
        };
        is_refused(reader.nns(3).by_vector(txn, &[0.0, 0.0]).err());
        is_refused(reader.nns(3).exact().by_vector(txn, &[0.0, 0.0]).err());
        is_refused(reader.nns(3).by_item(txn, 0).err());
        is_refused(reader.nns(0).by_vector(txn, &[0.0, 0.0]).err());
        is_refused(reader.item_vector(txn, 0).err());
        is_refused(reader.contains_item(txn, 0).err());
        is_refused(reader.item_ids(txn).err());
        is_refused(reader.iter(txn).err());
        is_refused(reader.warm(txn).err());
    };
    refuses(&reader, &wtxn, old.id());
    writer.add_item(&mut wtxn, 1, &[9.0, 9.0]).unwrap();
    refuses(&reader, &wtxn, old.id());
    wtxn.commit().unwrap();
    let new = env.read_txn().unwrap();
    refuses(&reader, &new, old.id());
    let reader = Reader::<Euclidean>::open(&new, 0, db).unwrap();
    refuses(&reader, &same, new.id());
}

#[test]
fn readers_are_shared_between_threads_each_with_its_own_transaction() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Reader<'_, Euclidean>>();
    is_shared::<WarmReader<'_, '_, Euclidean>>();
    is_shared::<Writer<'_, Euclidean>>();
    is_shared::<voisin::QueryBuilder<'_, Reader<'_, Euclidean>>>();
    is_shared::<Error>();

    let mut rng = rng();
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let mut model = vectors::<Euclidean>(&mut rng, 0..2000, 64);
    build_index(&env, db, 0, &model);
    let writer = Writer::<Euclidean>::new(db, 0, 64);
    let mut wtxn = env.write_txn().unwrap();
    let pending = vectors::<Euclidean>(&mut rng, 1990..2100, 64);
    add(&writer, &mut wtxn, &pending);
    wtxn.commit().unwrap();
    model.extend(pending);

    let queries: Vec<Vec<f32>> = (0..40).map(|_| vector::<Euclidean>(&mut rng, 64)).collect();
    let rtxn = env.read_txn().unwrap();
    let alone = Reader::<Euclidean>::open(&rtxn, 0, db).unwrap();
    let expected: Vec<_> = queries
        .iter()
        .map(|query| alone.nns(10).ef_search(20).by_vector(&rtxn, query).unwrap())
        .collect();
    let by_item: Vec<_> = (1980..2020)
        .map(|id| alone.nns(10).ef_search(20).by_item(&rtxn, id).unwrap().unwrap())
        .collect();
    let shared = Reader::<Euclidean>::open(&rtxn, 0, db).unwrap();
    let to_be_warm = Reader::<Euclidean>::open(&rtxn, 0, db).unwrap();
    let warm = to_be_warm.warm(&rtxn).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (env, shared, warm, queries, expected, by_item) =
                (&env, &shared, &warm, &queries, &expected, &by_item);
            scope.spawn(move || {
                let rtxn = env.read_txn().unwrap();
                for i in 0..queries.len() {
                    let i = (i * 7 + thread * 11) % queries.len();
                    assert_eq!(
                        shared.nns(10).ef_search(20).by_vector(&rtxn, &queries[i]).unwrap(),
                        expected[i]
                    );
                    assert_eq!(
                        warm.nns(10).ef_search(20).by_vector(&queries[i]).unwrap(),
                        expected[i]
                    );
                    let item = 1980 + i as ItemId;
                    assert_eq!(
                        shared.nns(10).ef_search(20).by_item(&rtxn, item).unwrap().as_ref(),
                        Some(&by_item[i])
                    );
                    assert_eq!(
                        warm.nns(10).ef_search(20).by_item(item).unwrap().as_ref(),
                        Some(&by_item[i])
                    );
                }
            });
        }
    });
    for (query, found) in queries.iter().zip(&expected) {
        Oracle::<Euclidean>::new(&model, query, |_| true)
            .assert_plausible(10, &found.nns, "a walk");
        let exact = warm.nns(10).exact().by_vector(query).unwrap();
        Oracle::<Euclidean>::new(&model, query, |_| true).assert_exact(
            10,
            &exact.nns,
            "a warm reader",
        );
    }
    let candidates: RoaringBitmap = (1985..1995).collect();
    let found = warm.nns(20).candidates(&candidates).by_vector(&queries[0]).unwrap();
    let oracle = Oracle::<Euclidean>::new(&model, &queries[0], |id| candidates.contains(id));
    oracle.assert_exact(20, &found.nns, "candidates of a warm reader");
    assert_eq!(warm.nns(20).by_item(5000).unwrap(), None);
}

#[test]
fn a_build_of_an_index_without_items_creates_it_and_it_can_be_searched_and_filled() {
    let mut rng = rng();
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let writer = Writer::<Euclidean>::new(db, 0, 4);
    let mut wtxn = env.write_txn().unwrap();
    for force in [false, true, false] {
        if force {
            rebuild(&writer, &mut wtxn)
        } else {
            build(&writer, &mut wtxn)
        }
        check_holds(&wtxn, db, 0, &Model::new());
        let reader = Reader::<Euclidean>::open(&wtxn, 0, db).unwrap();
        assert!(found(&reader, &wtxn, &[0.0; 4]).is_empty());
        assert_eq!(reader.nns(3).by_item(&wtxn, 0).unwrap(), None);
        let warm = reader.warm(&wtxn).unwrap();
        assert!(warm.nns(3).by_vector(&[0.0; 4]).unwrap().nns.is_empty());
    }
    let model = vectors::<Euclidean>(&mut rng, 0..100, 4);
    add(&writer, &mut wtxn, &model);
    build(&writer, &mut wtxn);
    check_holds(&wtxn, db, 0, &model);
}

/// Callers who seed every build alike, and build after every item, once gave all items the same top
/// layer.
#[test]
fn items_that_are_built_one_by_one_have_different_top_layers_whatever_the_seed_is() {
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let writer = Writer::<Euclidean>::new(db, 0, 4);
    let model = vectors::<Euclidean>(&mut rng(), 0..200, 4);
    let mut wtxn = env.write_txn().unwrap();
    for (item, vector) in &model {
        writer.add_item(&mut wtxn, *item, vector).unwrap();
        writer
            .builder(&mut StdRng::seed_from_u64(42))
            .ef_construction(20)
            .build::<4, 8>(&mut wtxn)
            .unwrap();
    }
    check_holds(&wtxn, db, 0, &model);
    let nodes: Vec<u64> = Reader::open(&wtxn, 0, db)
        .unwrap()
        .stats(&wtxn, &env)
        .unwrap()
        .layers
        .iter()
        .map(|layer| layer.nodes)
        .collect();
    // A fourth of each layer is expected on the next.
    assert!(nodes.len() > 2 && nodes[0] == 200 && (25..90).contains(&nodes[1]), "{nodes:?}");
}

#[test]
fn a_second_build_changes_nothing() {
    let mut rng = rng();
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    build_index(&env, db, 0, &vectors::<Euclidean>(&mut rng, 0..200, 4));
    let mut wtxn = env.write_txn().unwrap();
    let before = dump(&wtxn, db);
    let writer = Writer::<Euclidean>::new(db, 0, 4);
    writer
        .builder(&mut StdRng::seed_from_u64(77))
        .ef_construction(11)
        .alpha(1.5)
        .build::<8, 16>(&mut wtxn)
        .unwrap();
    assert_eq!(dump(&wtxn, db), before);
}

#[test]
fn a_forced_rebuild_links_all_items_anew_and_keeps_what_is_there() {
    let mut rng = rng();
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let writer = Writer::<Euclidean>::new(db, 0, 4);
    let mut model = vectors::<Euclidean>(&mut rng, 0..300, 4);
    let mut wtxn = env.write_txn().unwrap();
    add(&writer, &mut wtxn, &model);
    rebuild(&writer, &mut wtxn);
    check_holds(&wtxn, db, 0, &model);
    let first = dump(&wtxn, db);
    rebuild(&writer, &mut wtxn);
    assert_eq!(dump(&wtxn, db), first, "one seed, one graph");
    let changed = vectors::<Euclidean>(&mut rng, 250..350, 4);
    add(&writer, &mut wtxn, &changed);
    model.extend(changed);
    assert_eq!(writer.del_items(&mut wtxn, 0..40).unwrap(), 40);
    model.retain(|id, _| *id >= 40);
    rebuild(&writer, &mut wtxn);
    check_holds(&wtxn, db, 0, &model);
    assert!(!writer.need_build(&wtxn).unwrap());
    wtxn.commit().unwrap();
    check_holds(&env.read_txn().unwrap(), db, 0, &model);
}

#[test]
fn the_connectivity_of_an_index_is_that_of_its_first_build() {
    let mut rng = rng();
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let writer = Writer::<Euclidean>::new(db, 9, 4);
    for is_empty in [true, false] {
        let mut wtxn = env.write_txn().unwrap();
        if !is_empty {
            add(&writer, &mut wtxn, &vectors::<Euclidean>(&mut rng, 0..100, 4));
        }
        build(&writer, &mut wtxn);
        writer.add_item(&mut wtxn, 500, &[0.0; 4]).unwrap();
        let before = dump(&wtxn, db);
        for (m, m0) in [(8, 17), (9, 16), (16, 32)] {
            for force in [false, true] {
                let mut builder = writer.builder(&mut rng);
                let result = if force {
                    builder.force_rebuild_with(&mut wtxn, m, m0)
                } else {
                    builder.build_with(&mut wtxn, m, m0)
                };
                let error = result.unwrap_err();
                let Error::ConnectivityMismatch {
                    index: 9,
                    stored_m: 8,
                    stored_m0: 16,
                    m: found_m,
                    m0: found_m0,
                } = error
                else {
                    panic!("{error:?}")
                };
                assert_eq!((found_m, found_m0), (m, m0));
                let message = error.to_string();
                assert!(
                    message.contains("M 8 and M0 16") && message.contains("clear the index"),
                    "{message}"
                );
            }
        }
        assert_eq!(dump(&wtxn, db), before);
        writer.clear(&mut wtxn).unwrap();
        wtxn.commit().unwrap();
    }
}

#[test]
fn a_build_tells_its_progress_and_can_be_cancelled_at_every_probe() {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let mut rng = rng();
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let writer = Writer::<Euclidean>::new(db, 0, 4);
    let mut model = vectors::<Euclidean>(&mut rng, 0..60, 4);
    build_index(&env, db, 0, &model);
    let mut wtxn = env.write_txn().unwrap();
    let added = vectors::<Euclidean>(&mut rng, 50..90, 4);
    add(&writer, &mut wtxn, &added);
    model.extend(added);
    let before = dump(&wtxn, db);
    let mut probes = 0;
    loop {
        let asked = AtomicUsize::new(0);
        let cancel = || asked.fetch_add(1, Ordering::Relaxed) >= probes;
        let result =
            writer.builder(&mut StdRng::seed_from_u64(1)).cancel(cancel).build::<8, 16>(&mut wtxn);
        match result {
            Ok(()) => break,
            Err(Error::Cancelled) => {
                assert_eq!(dump(&wtxn, db), before, "cancelled at probe {probes}")
            }
            Err(error) => panic!("{error}"),
        }
        probes += 1;
    }
    assert!(probes >= 40, "asked at least once for every item that is linked: {probes}");
    check_holds(&wtxn, db, 0, &model);

    let told: Mutex<Vec<Progress>> = Mutex::new(Vec::new());
    let mut wtxn = {
        wtxn.abort();
        env.write_txn().unwrap()
    };
    writer.add_item(&mut wtxn, 1000, &[9.0; 4]).unwrap();
    writer
        .builder(&mut rng)
        .progress(|progress| told.lock().unwrap().push(progress))
        .force_rebuild::<8, 16>(&mut wtxn)
        .unwrap();
    let told = told.into_inner().unwrap();
    for (phase, total) in [(Phase::Linking, Some(61)), (Phase::Writing, None)] {
        let of_phase: Vec<Progress> =
            told.iter().copied().filter(|progress| progress.phase == phase).collect();
        let total = total.unwrap_or(of_phase[0].total);
        assert!(
            of_phase
                .iter()
                .all(|progress| progress.total == total && (1..=total).contains(&progress.done)),
            "{of_phase:?}"
        );
        assert_eq!(
            of_phase.iter().map(|progress| progress.done).max(),
            Some(total),
            "{phase:?} ends at its total"
        );
    }
}

#[test]
fn a_full_map_is_told_as_such_and_the_state_before_is_intact() {
    let mut rng = rng();
    let (_dir, env) = new_env_of(1 << 20);
    let db = create::<Euclidean>(&env);
    let writer = Writer::<Euclidean>::new(db, 0, 32);
    let mut model = Model::new();
    let full = loop {
        let mut wtxn = env.write_txn().unwrap();
        let first = model.len() as ItemId;
        let batch = vectors::<Euclidean>(&mut rng, first..first + 100, 32);
        let added =
            batch.iter().try_for_each(|(id, vector)| writer.add_item(&mut wtxn, *id, vector));
        let built = added
            .and_then(|()| writer.builder(&mut rng).ef_construction(10).build::<8, 16>(&mut wtxn));
        match built {
            Ok(()) => {
                if let Err(error) = wtxn.commit() {
                    break Error::from(error);
                }
                model.extend(batch);
            }
            Err(error) => {
                wtxn.abort();
                break error;
            }
        }
        assert!(model.len() < 100_000, "a megabyte is never full");
    };
    assert!(matches!(full, Error::MapFull), "{full:?}");
    assert!(full.to_string().contains("enlarge the map"), "{full}");
    assert!(model.len() >= 500, "a megabyte was full with {} items", model.len());
    check_holds(&env.read_txn().unwrap(), db, 0, &model);

    let mut wtxn = env.write_txn().unwrap();
    let rows = vec![1.0; 32 * 10_000];
    let ids: Vec<ItemId> = (0..10_000).collect();
    assert!(matches!(writer.add_items(&mut wtxn, &ids, &rows), Err(Error::MapFull)));
    wtxn.abort();
    let mut wtxn = env.write_txn().unwrap();
    let from = ids.iter().map(|id| (*id, &rows[..32]));
    let error = writer.add_items_from(&mut wtxn, from).unwrap_err();
    assert!(matches!(error, Error::MapFull), "of an iterator: {error:?}");
    drop(wtxn);
    check_holds(&env.read_txn().unwrap(), db, 0, &model);

    // SAFETY: no transaction is open.
    unsafe { env.resize(1 << 24) }.unwrap();
    let mut wtxn = env.write_txn().unwrap();
    let more = vectors::<Euclidean>(&mut rng, 100_000..100_500, 32);
    add(&writer, &mut wtxn, &more);
    model.extend(more);
    build(&writer, &mut wtxn);
    wtxn.commit().unwrap();
    check_holds(&env.read_txn().unwrap(), db, 0, &model);
}

#[test]
fn deleting_makes_room_in_a_full_map() {
    let mut rng = rng();
    let (_dir, env) = new_env_of(1 << 20);
    let db = create::<Euclidean>(&env);
    let writer = Writer::<Euclidean>::new(db, 0, 32);
    let model = vectors::<Euclidean>(&mut rng, 0..1000, 32);
    build_index(&env, db, 0, &model);
    let mut wtxn = env.write_txn().unwrap();
    writer.clear(&mut wtxn).unwrap();
    wtxn.commit().unwrap();
    for _ in 0..5 {
        let mut wtxn = env.write_txn().unwrap();
        add(&writer, &mut wtxn, &model);
        wtxn.commit().unwrap();
        check_holds(&env.read_txn().unwrap(), db, 0, &model);
        let mut wtxn = env.write_txn().unwrap();
        writer.clear(&mut wtxn).unwrap();
        wtxn.commit().unwrap();
    }
}
