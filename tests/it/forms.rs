//! Element types: a stored vector is the given one rounded once to the element type of the index,
//! and no value that the type cannot hold is stored silently.

use half::{bf16, f16};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use voisin::codec::{Bf16, Codec, F16, I8};
use voisin::distances::{
    BinaryQuantizedCosine, Cosine, Distance, DotProduct, Euclidean, Manhattan,
};
use voisin::heed::RwTxn;
use voisin::{
    Batch, Database, Error, Index, Invariant, ItemId, Options, Reader, VectorDefect, Writer,
};

use crate::common::{
    Env, Model, build, check, check_holds, create, dump, new_env, open_env, rng, with_metric,
};

const DIMENSIONS: usize = 70;

/// Real vectors, from -1 to 1.
fn reals(rng: &mut StdRng, ids: std::ops::Range<ItemId>) -> Model {
    ids.map(|id| (id, (0..DIMENSIONS).map(|_| rng.random_range(-1.0..1.0)).collect())).collect()
}

fn map(model: &Model, component: impl Fn(f32) -> f32) -> Model {
    model
        .iter()
        .map(|(id, vector)| (*id, vector.iter().map(|value| component(*value)).collect()))
        .collect()
}

fn sample(model: &Model) -> Vec<f32> {
    model.values().flatten().copied().collect()
}

fn commit(env: &Env, change: impl FnOnce(&mut RwTxn<'_>)) {
    let mut wtxn = env.write_txn().unwrap();
    change(&mut wtxn);
    wtxn.commit().unwrap();
}

/// The distances that exact searches give are those of queries, not rounded, to what is stored, and
/// a graph is walked to the same answer.
fn compares_what_is_stored<D: Distance>(
    env: &Env,
    db: Database<'_, D>,
    stored: &Model,
    between: impl Fn(&[f64], &[f64]) -> f64,
) {
    let rtxn = env.read_txn().unwrap();
    let reader = Reader::<D>::open(&rtxn, 0, db).unwrap();
    let floats = |vector: &[f32]| vector.iter().map(|value| f64::from(*value)).collect::<Vec<_>>();
    let queries = reals(&mut StdRng::seed_from_u64(8), 0..20);
    for query in queries.values() {
        let exact = reader.nns(10).exact().by_vector(&rtxn, query).unwrap().into_nns();
        for (item, distance) in &exact {
            let expected = between(&floats(query), &floats(&stored[item]));
            assert!(
                (f64::from(*distance) - expected).abs() < 1e-5 * expected.abs().max(1.0),
                "{}: {distance}, not {expected}",
                D::name()
            );
        }
        let nearer = stored.values().filter(|vector| {
            between(&floats(query), &floats(vector)) < f64::from(exact[9].1) - 1e-4
        });
        assert!(nearer.count() <= 9, "{}: something nearer was not found", D::name());
        assert_eq!(
            reader.nns(10).ef_search(400).walk_graph().by_vector(&rtxn, query).unwrap().into_nns(),
            exact,
            "{}",
            D::name()
        );
        assert_eq!(
            reader.nns(10).exact().by_vector(&rtxn, &floats(query)).unwrap().into_nns(),
            exact,
            "{}",
            D::name()
        );
    }
    let by_many = reader.nns(10).exact().by_vectors(&rtxn, &sample(&queries)).unwrap();
    for (query, found) in queries.values().zip(by_many) {
        assert_eq!(found, reader.nns(10).exact().by_vector(&rtxn, query).unwrap(), "{}", D::name());
    }
    // A stored vector is at the distance of itself from all others, in either order; up to the last
    // digits, which are rounded from `f64` beside results that are nearly as near.
    for item in 0..10 {
        let distances = |from: ItemId| {
            reader.nns(usize::MAX).exact().by_item(&rtxn, from).unwrap().unwrap().into_nns()
        };
        let to_first = distances(item).into_iter().find(|(other, _)| *other == 11).unwrap().1;
        let back = distances(11).into_iter().find(|(other, _)| *other == item).unwrap().1;
        assert!(
            (to_first - back).abs() <= 4e-6 * back.abs().max(1.0),
            "{}: {to_first} and {back}",
            D::name()
        );
    }
}

fn train<D: Distance<Codec = I8>>(writer: &Writer<'_, D>, wtxn: &mut RwTxn<'_>, sample: &[f32]) {
    writer.train(wtxn, sample).unwrap();
}

/// Adds, replaces, deletes, builds and optimizes, and compares what comes back with what `stored`
/// makes of it.
fn come_back<D: Distance>(
    prepare: impl Fn(&Writer<'_, D>, &mut RwTxn<'_>),
    stored: impl Fn(f32) -> f32,
    between: impl Fn(&[f64], &[f64]) -> f64,
) {
    let (dir, env) = new_env();
    let mut rng = rng();
    let (mut model, replaced) = (reals(&mut rng, 0..300), reals(&mut rng, 100..150));
    let db = create::<D>(&env);
    let writer = Writer::<D>::new(db, 0, DIMENSIONS);
    commit(&env, |wtxn| {
        prepare(&writer, wtxn);
        crate::common::add(&writer, wtxn, &model);
        build(&writer, wtxn);
        let ids: Vec<ItemId> = replaced.keys().copied().collect();
        writer.add_items(wtxn, &ids, &sample(&replaced)).unwrap();
        model.extend(replaced);
        writer.del_items(wtxn, 200..250).unwrap();
        model.retain(|id, _| !(200..250).contains(id));
    });
    check_holds(&env.read_txn().unwrap(), db, 0, &map(&model, &stored));
    commit(&env, |wtxn| build(&writer, wtxn));
    compares_what_is_stored(&env, db, &map(&model, &stored), between);
    // Slots are used again.
    let more = reals(&mut rng, 400..460);
    commit(&env, |wtxn| {
        crate::common::add(&writer, wtxn, &more);
        writer
            .builder(&mut StdRng::seed_from_u64(1))
            .ef_construction(40)
            .optimize::<8, 16>(wtxn)
            .unwrap();
    });
    model.extend(more);
    check_holds(&env.read_txn().unwrap(), db, 0, &map(&model, &stored));
    env.prepare_for_closing().wait();
    let env = open_env(dir.path(), 1 << 30);
    check_holds(&env.read_txn().unwrap(), create::<D>(&env), 0, &map(&model, &stored));
}

fn products(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    (1.0 - products(a, b) / (products(a, a) * products(b, b)).sqrt()) / 2.0
}

#[test]
fn what_comes_back_is_the_nearest_that_the_form_has() {
    let half = |value| f16::from_f32(value).to_f32();
    come_back::<Cosine<F16>>(|_, _| {}, half, cosine);
    come_back::<DotProduct<Bf16>>(
        |_, _| {},
        |value| bf16::from_f32(value).to_f32(),
        |a, b| -products(a, b),
    );
    // The range is from -128 to 127, in 255 steps of a 128th.
    let range = [vec![-1.0; DIMENSIONS], vec![127.0 / 128.0; DIMENSIONS]].concat();
    // There is one zero.
    let byte = |value: f32| (value * 128.0).round_ties_even().clamp(-128.0, 127.0) / 128.0 + 0.0;
    come_back::<Manhattan<I8>>(
        |writer, wtxn| train(writer, wtxn, &range),
        byte,
        |a, b| a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum(),
    );
    come_back::<Cosine<I8>>(|writer, wtxn| train(writer, wtxn, &range), byte, cosine);
    let differ = |a: &[f64], b: &[f64]| {
        a.iter().zip(b).filter(|(a, b)| a.is_sign_positive() != b.is_sign_positive()).count() as f64
            / 128.0
    };
    come_back::<BinaryQuantizedCosine>(|_, _| {}, f32::signum, differ);
}

/// Just above the middle of two numbers of 16 bits: by way of `f32` it is the middle, and rounded
/// down.
const ABOVE: f64 = 1.0 + 1.0 / 2048.0 + 1.0 / (1u64 << 40) as f64;

#[test]
fn f64_is_rounded_once() {
    let (_dir, env) = new_env();
    let (db, expected) = (create::<Euclidean<F16>>(&env), 1.0 + 1.0 / 1024.0);
    let writer = Writer::<Euclidean<F16>>::new(db, 0, 2);
    commit(&env, |wtxn| {
        writer.add_item(wtxn, 1, &[ABOVE, -ABOVE]).unwrap();
        writer.add_items(wtxn, &[2, 3], &[ABOVE, 0.0, 1.0, 0.1]).unwrap();
        assert!(matches!(
            writer.add_items(wtxn, &[2, 3], &[1.0]),
            Err(Error::LengthMismatch { .. })
        ));
        assert!(matches!(
            writer.add_item(wtxn, 4, &[0.0, 1e300]),
            Err(Error::InvalidItem {
                item: 4,
                defect: VectorDefect::TooLarge { position: 1, form: "f16", .. }
            })
        ));
    });
    let rtxn = env.read_txn().unwrap();
    assert_eq!(writer.item_vector(&rtxn, 1).unwrap(), Some(vec![expected, -expected]));
    assert_eq!(writer.item_vector(&rtxn, 2).unwrap(), Some(vec![expected, 0.0]));
    let reader = Reader::open(&rtxn, 0, db).unwrap();
    let found = reader.nns(1).by_vector(&rtxn, &[f64::from(expected), -0.25]).unwrap().into_nns();
    assert_eq!(found, [(2, 0.0625)]);
    let refused = reader.nns(1).by_vector(&rtxn, &[1e39, 0.0]).unwrap_err();
    assert!(
        matches!(
            refused,
            Error::InvalidQuery { defect: VectorDefect::TooLarge { position: 0, form: "f32", .. } }
        ),
        "{refused}"
    );

    let folder = tempfile::tempdir().unwrap();
    let index = Index::<Euclidean<F16>>::create(folder.path().join("a"), Options::new(2)).unwrap();
    let add = |batch: &mut Batch<'_, Euclidean<F16>>| {
        batch.add(1, &[ABOVE, 0.0])?;
        batch.add_items(&[2], &[-ABOVE, 0.0])
    };
    index.write(add).unwrap();
    let query = [f64::from(expected), 0.0];
    assert_eq!(index.search(1).by_vector(&query).unwrap().into_nns(), [(1, 0.0)]);
    assert_eq!(
        index.snapshot().unwrap().search(1).by_vector(&query).unwrap().into_nns(),
        [(1, 0.0)]
    );
    index.write(|batch| batch.add_items_from([(3, [ABOVE, 1.0])])).unwrap();
    index.load([(4, vec![-ABOVE, 1.0])], |_| {}).unwrap();
    let rows = [f64::from(expected), 1.0, f64::from(-expected), 1.0];
    let nearest: Vec<_> = index
        .search(1)
        .by_vectors(&rows)
        .unwrap()
        .into_iter()
        .map(|found| found.into_nns())
        .collect();
    assert_eq!(nearest, [[(3, 0.0)], [(4, 0.0)]]);
    let refused = index.search(1).by_vectors(&[0.0, 0.0, 0.0, -1e39]).unwrap_err();
    assert!(
        matches!(
            refused,
            Error::InvalidRow { row: 1, defect: VectorDefect::TooLarge { position: 1, .. } }
        ),
        "{refused}"
    );
    let refused = index.load([(5, [0.0, 1e300])], |_| {}).unwrap_err();
    assert!(
        matches!(
            refused,
            Error::InvalidItem { item: 5, defect: VectorDefect::TooLarge { form: "f16", .. } }
        ),
        "{refused}"
    );
    let trained =
        Index::<Euclidean<I8>>::create(folder.path().join("i8"), Options::new(1)).unwrap();
    // Nearly in the middle between two codes: `f32` cannot tell which is nearer.
    let little = 1.0 / (1u64 << 40) as f64;
    trained
        .load([(1, [0.0]), (2, [255.0]), (3, [2.5 - little]), (4, [2.5 + little])], |_| {})
        .unwrap();
    let stored = trained.snapshot().unwrap();
    assert_eq!([3, 4].map(|item| stored.vector(item).unwrap().unwrap()), [[2.0], [3.0]]);
    let keyed =
        Index::<Euclidean<F16>, str>::create(folder.path().join("b"), Options::new(2)).unwrap();
    keyed.write(|batch| batch.add("one", &[ABOVE, 0.0])).unwrap();
    assert_eq!(keyed.search(1).by_vector(&query).unwrap().into_nns(), [("one".to_owned(), 0.0)]);
    keyed.load([("three", [-ABOVE, 0.0])], |_| {}).unwrap();
    keyed.write(|batch| batch.add_items(&["four"], &[ABOVE, 1.0])).unwrap();
    assert_eq!(keyed.search(1).by_vectors(&rows).unwrap()[1].nns, [("three".to_owned(), 1.0)]);
    assert_eq!(keyed.search(1).by_vectors(&rows).unwrap()[0].nns, [("four".to_owned(), 0.0)]);
    let error = keyed.write(|batch| batch.add("two", &[0.0, 65505.0])).unwrap_err().to_string();
    assert!(
        ["two", "component 1", "6.5505e4", "6.5504e4", "f16"]
            .iter()
            .all(|part| error.contains(part)),
        "{error}"
    );
}

#[test]
fn what_a_form_cannot_hold_is_refused_and_changes_nothing() {
    let (_dir, env) = new_env();
    let db = create::<Cosine<F16>>(&env);
    let writer = Writer::<Cosine<F16>>::new(db, 0, 2);
    commit(&env, |wtxn| writer.add_item(wtxn, 1, &[1.0, 65504.0]).unwrap());
    let before = dump(&env.read_txn().unwrap(), db);
    commit(&env, |wtxn| {
        for vector in [[1.0, 65505.0], [-7e4, 0.0]] {
            for result in [
                writer.add_item(wtxn, 1, &vector),
                writer.add_items(wtxn, &[2, 1], &[[1.0; 2], vector].concat()),
            ] {
                let error = result.unwrap_err();
                assert!(
                    matches!(
                        error,
                        Error::InvalidItem {
                            item: 1,
                            defect: VectorDefect::TooLarge { limit: 65504.0, .. }
                        }
                    ),
                    "{error}"
                );
            }
        }
        // A direction in `f32`, and none in what would be stored.
        for result in [
            writer.add_item(wtxn, 1, &[1e-9, 0.0]),
            writer.add_items(wtxn, &[2, 1], &[1.0, 1.0, 1e-9, 0.0]),
        ] {
            assert!(matches!(
                result,
                Err(Error::InvalidItem {
                    item: 1,
                    defect: VectorDefect::TooSmall { form: "f16", .. }
                })
            ));
        }
    });
    assert!(dump(&env.read_txn().unwrap(), db) == before);
    // A query is not rounded, and has one.
    let rtxn = env.read_txn().unwrap();
    let found = Reader::open(&rtxn, 0, db)
        .unwrap()
        .nns(1)
        .by_vector(&rtxn, &[0.0, 1e-9])
        .unwrap()
        .into_nns();
    assert!(found[0].0 == 1 && found[0].1 < 1e-6, "{found:?}");
}

#[test]
fn an_index_is_opened_in_the_form_that_it_is_stored_in() {
    let (_dir, env) = new_env();
    let db = create::<Cosine<F16>>(&env);
    commit(&env, |wtxn| {
        Writer::<Cosine<F16>>::new(db, 0, 2).add_item(wtxn, 1, &[1.0, 2.0]).unwrap()
    });
    let rtxn = env.read_txn().unwrap();
    let is_told = |error: Error| {
        let message = error.to_string();
        assert!(matches!(error, Error::MetricMismatch { .. }), "{message}");
        assert!(
            message.contains("cosine stored as f16") && message.contains("cosine stored as f32"),
            "{message}"
        );
    };
    is_told(Reader::<Cosine>::open(&rtxn, 0, with_metric(db)).unwrap_err());
    is_told(voisin::check::<Cosine>(&rtxn, 0, with_metric(db)).unwrap_err());
    commit(&env, |wtxn| {
        is_told(
            Writer::<Cosine>::new(with_metric(db), 0, 2)
                .add_item(wtxn, 1, &[1.0, 2.0])
                .unwrap_err(),
        )
    });
    let error = Reader::<Cosine<Bf16>>::open(&rtxn, 0, with_metric(db)).unwrap_err().to_string();
    assert!(error.contains("stored as bf16"), "{error}");

    let folder = tempfile::tempdir().unwrap();
    let index = Index::<Cosine<F16>>::create(folder.path().join("a"), Options::new(2)).unwrap();
    assert_eq!(index.stats().unwrap().form, "f16");
    drop(index);
    is_told(Index::<Cosine>::open(folder.path().join("a"), Options::default()).unwrap_err());
    is_told(Index::<Cosine>::open_or_create(folder.path().join("a"), Options::new(2)).unwrap_err());
    Index::<Cosine<F16>>::open(folder.path().join("a"), Options::default()).unwrap();
}

#[test]
fn an_index_of_bytes_is_trained_before_its_first_item_and_again_at_any_time() {
    let (_dir, env) = new_env();
    let db = create::<Euclidean<I8>>(&env);
    let writer = Writer::<Euclidean<I8>>::new(db, 0, 2);
    let is_untrained = |result: voisin::Result<()>| {
        let error = result.unwrap_err();
        assert!(
            matches!(error, Error::NotTrained { index: 0, name: None })
                && error.to_string().contains("Writer::train"),
            "{error}"
        );
    };
    let before = dump(&env.read_txn().unwrap(), db);
    commit(&env, |wtxn| {
        is_untrained(writer.add_item(wtxn, 1, &[1.0, 2.0]));
        is_untrained(writer.add_items(wtxn, &[1], &[1.0, 2.0]));
        is_untrained(writer.add_items_from(wtxn, [(1, [1.0, 2.0])]).map(drop));
        assert!(matches!(writer.train(wtxn, &[0.0; 0]), Err(Error::InvalidParameter { .. })));
        assert!(matches!(
            writer.train(wtxn, &[1.0; 3]),
            Err(Error::UnevenRows { components: 3, dimensions: 2 })
        ));
        let defect = writer.train(wtxn, &[1.0, 2.0, 1.0, f32::NAN]).unwrap_err();
        assert!(
            matches!(
                defect,
                Error::InvalidSample {
                    row: 1,
                    defect: VectorDefect::NotFinite { position: 1, .. }
                }
            ),
            "{defect}"
        );
        let defect = writer.train(wtxn, &[2e38, 2.0]).unwrap_err();
        assert!(
            matches!(
                defect,
                Error::InvalidSample { row: 0, defect: VectorDefect::TooLarge { position: 0, .. } }
            ),
            "{defect}"
        );
    });
    assert!(dump(&env.read_txn().unwrap(), db) == before, "nothing has changed");
    commit(&env, |wtxn| {
        writer.train(wtxn, &[0.0, 1.0]).unwrap();
        writer.train(wtxn, &[0.0, 255.0]).unwrap();
        writer.add_item(wtxn, 1, &[3.0, 254.0]).unwrap();
        build(&writer, wtxn);
        let stored = |wtxn: &RwTxn<'_>| writer.item_vector(wtxn, 1).unwrap().unwrap();
        writer.train(wtxn, &[0.0, 510.0]).unwrap();
        assert_eq!(stored(wtxn), [4.0, 254.0]);
        check(wtxn, db, 0);
        // It is in the graph still, and encoded anew.
        writer.del_item(wtxn, 1).unwrap();
        writer.train(wtxn, &[0.0, 255.0]).unwrap();
        check(wtxn, db, 0);
        build(&writer, wtxn);
        writer.train(wtxn, &[0.0, 510.0]).unwrap();
        writer.add_item(wtxn, 1, &[3.0, 500.0]).unwrap();
        assert_eq!(stored(wtxn), [4.0, 500.0]);
        check(wtxn, db, 0);
        writer.clear(wtxn).unwrap();
        is_untrained(writer.add_item(wtxn, 1, &[1.0, 2.0]));
    });
}

#[test]
fn a_load_trains_an_index_that_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    let items = || (0..500u32).map(|item| (item, [item as f32, 0.0]));
    let index = Index::<Euclidean<I8>>::create(folder.path().join("a"), Options::new(2)).unwrap();
    assert!(matches!(
        index.write(|batch| batch.add(1, &[1.0, 2.0])),
        Err(Error::NotTrained { .. })
    ));
    index.load(items(), |_| {}).unwrap();
    assert_eq!(index.stats().unwrap().saturated, 0);
    for (item, vector) in index.snapshot().unwrap().iter().unwrap().map(Result::unwrap) {
        assert!(
            (vector[0] - item as f32).abs() <= 1.01 && vector[1].abs() <= 1.01,
            "{item}: {vector:?}"
        );
    }
    index.train(&[0.0, 0.0, 998.0, 0.0]).unwrap();
    assert_eq!((index.check().unwrap(), index.stats().unwrap().saturated), (vec![], 0));
    let vector = index.snapshot().unwrap().vector(499).unwrap().unwrap();
    assert!((vector[0] - 499.0).abs() <= 3.0, "{vector:?}");

    // By its first part only: what the others have beyond it is counted.
    let parts =
        Index::<Euclidean<I8>, u64>::create(folder.path().join("b"), Options::new(2)).unwrap();
    let keyed = || items().map(|(item, vector)| (u64::from(item), vector));
    assert!(matches!(
        parts.write(|batch| batch.add_items(&[1], &[1.0, 2.0])),
        Err(Error::NotTrained { .. })
    ));
    assert!(matches!(
        parts.write(|batch| batch.add_items_from(keyed())),
        Err(Error::NotTrained { .. })
    ));
    parts.loader().commit_every(256).load(keyed()).unwrap();
    assert_eq!(parts.stats().unwrap().saturated, 500 - 256);
    assert_eq!(parts.snapshot().unwrap().vector(499).unwrap(), Some(vec![255.0, 0.0]));
    assert_eq!(parts.check().unwrap(), []);
    parts.copy_to(folder.path().join("copy")).unwrap();
    let copy =
        Index::<Euclidean<I8>, u64>::open(folder.path().join("copy"), Options::default()).unwrap();
    assert_eq!((copy.check().unwrap(), copy.stats().unwrap().saturated), (vec![], 500 - 256));
    copy.write(|batch| batch.add(1000, &[3.0, 4.0])).unwrap();
    assert_eq!(copy.search(1).by_vector(&[3.0, 4.25]).unwrap().into_nns(), [(1000, 0.0625)]);

    // What cannot be trained on is not stored.
    let far = Index::<Euclidean<I8>>::create(folder.path().join("c"), Options::new(2)).unwrap();
    assert!(matches!(
        far.load([(1, [3e38, 0.0])], |_| {}),
        Err(Error::InvalidItem { item: 1, .. })
    ));
    assert!(far.snapshot().unwrap().is_empty());
}

#[test]
fn components_beyond_the_range_are_counted() {
    let (dir, env) = new_env();
    let db = create::<Euclidean<I8>>(&env);
    let writer = Writer::<Euclidean<I8>>::new(db, 0, 2);
    let saturated = |env: &Env, expected: u64| {
        let rtxn = env.read_txn().unwrap();
        let reader = Reader::open(&rtxn, 0, create::<Euclidean<I8>>(env)).unwrap();
        assert_eq!(
            (reader.saturated(), reader.stats(&rtxn, env).unwrap().saturated),
            (expected, expected)
        );
        check(&rtxn, create::<Euclidean<I8>>(env), 0);
    };
    commit(&env, |wtxn| {
        writer.train(wtxn, &[0.0, 255.0]).unwrap();
        writer.add_item(wtxn, 1, &[0.0, 255.4]).unwrap();
    });
    saturated(&env, 0);
    commit(&env, |wtxn| writer.add_item(wtxn, 2, &[-1.0, 256.0]).unwrap());
    saturated(&env, 2);
    // Replaced, deleted: they were given all the same.
    commit(&env, |wtxn| {
        writer.add_item(wtxn, 2, &[-1.0, 10.0]).unwrap();
        assert!(writer.del_item(wtxn, 2).unwrap());
    });
    saturated(&env, 3);
    commit(&env, |wtxn| {
        writer.add_items(wtxn, &[3, 4], &[300.0, 0.0, 0.0, 1e30]).unwrap();
        writer.add_items_from(wtxn, [(5, [1.0, -9.0]), (6, [1.0, 2.0])]).unwrap();
        writer.add_items(wtxn, &[7], &[1.0, 1e300]).unwrap_err();
    });
    saturated(&env, 6);
    assert_eq!(writer.item_vector(&env.read_txn().unwrap(), 4).unwrap(), Some(vec![0.0, 255.0]));
    let mut wtxn = env.write_txn().unwrap();
    writer.add_item(&mut wtxn, 8, &[999.0, 999.0]).unwrap();
    drop(wtxn);
    saturated(&env, 6);
    commit(&env, |wtxn| {
        writer
            .builder(&mut StdRng::seed_from_u64(1))
            .ef_construction(40)
            .optimize::<8, 16>(wtxn)
            .unwrap()
    });
    env.prepare_for_closing().wait();
    saturated(&open_env(dir.path(), 1 << 30), 6);
}

#[test]
fn check_finds_what_a_form_cannot_hold() {
    fn damaged<D: Distance>(vector: &[f32], bytes: &[u8]) {
        let (_dir, env) = new_env();
        let db = create::<D>(&env);
        commit(&env, |wtxn| {
            Writer::<D>::new(db, 0, vector.len()).add_item(wtxn, 1, vector).unwrap()
        });
        check(&env.read_txn().unwrap(), db, 0);
        commit(&env, |wtxn| {
            let raw = db.remap_types::<voisin::heed::types::Bytes, voisin::heed::types::Bytes>();
            let key = [0, 0, 2, 0, 0, 0, 0, 0];
            let mut body = raw.get(wtxn, &key).unwrap().unwrap().to_vec();
            body.truncate(body.len() - 4);
            body[..bytes.len()].copy_from_slice(bytes);
            let checksum = crate::decoder::crc32c(key.iter().chain(&body));
            body.extend(checksum.to_le_bytes());
            raw.put(wtxn, &key, &body).unwrap();
        });
        let findings = voisin::check(&env.read_txn().unwrap(), 0, db).unwrap();
        assert!(
            findings.iter().any(|finding| finding.invariant == Invariant::Vectors),
            "{} of {}: {findings:?}",
            D::Codec::NAME,
            D::name()
        );
    }
    damaged::<Euclidean<F16>>(&[1.0, 2.0], &f16::INFINITY.to_le_bytes());
    damaged::<Euclidean<F16>>(&[1.0, 2.0], &f16::NAN.to_le_bytes());
    damaged::<Euclidean<Bf16>>(&[1.0, 2.0], &bf16::NEG_INFINITY.to_le_bytes());
    damaged::<Cosine<F16>>(&[1.0, 2.0], &[0; 4]);
    damaged::<BinaryQuantizedCosine>(&[1.0, -2.0], &[0b101]);
}
