//! The items of a database that hannoy or arroy wrote come over whole, bit for bit, or an error
//! says which one cannot.
//!
//! Every database here is written by the programs themselves, as their users write it; the damaged
//! ones are copies with random bytes changed.

use std::marker::PhantomData;
use std::ops::Bound;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;
use voisin::codec::{F16, I8};
use voisin::distances::{
    BinaryQuantizedCosine, BinaryQuantizedEuclidean, BinaryQuantizedManhattan, Cosine, Distance,
    DotProduct, Euclidean, Hamming, Manhattan,
};
use voisin::heed::types::Bytes;
use voisin::heed::{self, CommitOrAbort, RoTxn, RwTxn};
use voisin::{Error, Import, ItemId, Reader, SourceDefect, VectorDefect, Writer};

use crate::common::{
    Chebyshev, Dump, Env, Metric, Model, Oracle, build, build_index, check_holds, create, dump,
    dump_of, new_env, rng, vector, vectors, with_metric,
};

type Raw<'e> = heed::Database<'e, Bytes, Bytes>;

/// The unnamed database as a program opens it that links neither hannoy nor arroy.
fn raw(env: &'static Env) -> Raw<'static> {
    let opened =
        env.open_databases_and_commit(env.read_txn().unwrap(), |opener, rtxn| -> heed::Result<_> {
            opener.open_database(rtxn, None).map(CommitOrAbort::<_, ()>::Commit)
        });
    opened.unwrap().unwrap_commit().unwrap()
}

/// An environment that is never closed: arroy takes none that is.
fn static_env() -> (TempDir, &'static Env) {
    let (dir, env) = new_env();
    (dir, Box::leak(Box::new(env)))
}

/// A vector to add, or `None` to delete.
type Change = (ItemId, Option<Vec<f32>>);

/// One of the programs, with one of its metrics.
trait Program {
    const NAME: &'static str;

    /// Makes changes to an index of the unnamed database, builds or does not, and commits.
    fn change(env: &'static Env, index: u16, dimensions: usize, changes: &[Change], builds: bool);

    /// What the program says the index holds.
    fn items(env: &'static Env, index: u16, dimensions: usize) -> Model;
}

struct Hannoy<D>(PhantomData<D>);
struct Arroy<D>(PhantomData<D>);

macro_rules! program {
    ($program:ident, $engine:ident, |$builder:ident, $wtxn:ident| $build:expr) => {
        impl<D: $engine::Distance> Program for $program<D> {
            const NAME: &'static str = stringify!($engine);

            fn change(
                env: &'static Env,
                index: u16,
                dimensions: usize,
                changes: &[Change],
                builds: bool,
            ) {
                let create = |wtxn| {
                    env.create_databases_and_commit(wtxn, |o, w| {
                        o.create_database(w, None).map(CommitOrAbort::<_, ()>::Commit)
                    })
                };
                let db: $engine::Database<'static, D> =
                    create(env.write_txn().unwrap()).unwrap().unwrap_commit();
                let writer = $engine::Writer::<D>::new(db, index, dimensions);
                let mut wtxn = env.write_txn().unwrap();
                for (item, vector) in changes {
                    match vector {
                        Some(vector) => writer.add_item(&mut wtxn, *item, vector).unwrap(),
                        None => assert!(writer.del_item(&mut wtxn, *item).unwrap()),
                    }
                }
                if builds {
                    let mut rng = StdRng::seed_from_u64(3);
                    let (mut $builder, $wtxn) = (writer.builder(&mut rng), &mut wtxn);
                    $build.unwrap();
                }
                wtxn.commit().unwrap();
            }

            fn items(env: &'static Env, index: u16, dimensions: usize) -> Model {
                let create = |wtxn| {
                    env.create_databases_and_commit(wtxn, |o, w| {
                        o.create_database(w, None).map(CommitOrAbort::<_, ()>::Commit)
                    })
                };
                let db: $engine::Database<'static, D> =
                    create(env.write_txn().unwrap()).unwrap().unwrap_commit();
                let rtxn = env.read_txn().unwrap();
                let items = $engine::Writer::<D>::new(db, index, dimensions)
                    .iter(&rtxn)
                    .unwrap()
                    .collect::<$engine::Result<_>>();
                items.unwrap()
            }
        }
    };
}

program!(Hannoy, hannoy, |builder, wtxn| builder.build::<6, 12>(wtxn));
program!(Arroy, arroy, |builder, wtxn| builder.n_trees(2).build(wtxn));

fn added(items: &Model) -> Vec<Change> {
    items.iter().map(|(id, vector)| (*id, Some(vector.clone()))).collect()
}

/// An index that has been built twice and changed since. Returns what it holds.
fn write<P: Program, D: Distance>(env: &'static Env, index: u16, dimensions: usize) -> Model {
    let mut rng = rng();
    let ids = (0..200).chain([1000, u32::MAX - 1]);
    let mut model = vectors::<D>(&mut rng, ids, dimensions);
    P::change(env, index, dimensions, &added(&model), true);
    for (round, builds) in [true, false].into_iter().enumerate() {
        let first = 50 * round as ItemId;
        let mut changes: Vec<Change> = (first..first + 10).map(|id| (id, None)).collect();
        changes.extend(added(&vectors::<D>(
            &mut rng,
            (first + 20..first + 30).chain([5000 + first]),
            dimensions,
        )));
        P::change(env, index, dimensions, &changes, builds);
        for (id, vector) in changes {
            match vector {
                Some(vector) => _ = model.insert(id, vector),
                None => _ = model.remove(&id),
            }
        }
    }
    model
}

#[test]
fn every_metric_that_is_ours_too_comes_over_bit_for_bit_with_what_was_changed_since_the_last_build()
{
    fn run<P: Program, D: Metric>() {
        println!("{} {}", P::NAME, D::name());
        let dimensions = 70;
        let (_dir, env) = static_env();
        let model = write::<P, D>(env, 258, dimensions);
        assert_eq!(P::items(env, 258, dimensions), model, "as the program itself reads it");
        // Its neighbors are no part of it.
        let others = vectors::<D>(&mut rng(), 0..5, dimensions);
        P::change(env, 257, dimensions, &added(&others), true);
        P::change(env, 259, dimensions, &added(&others), true);

        let theirs = env.read_txn().unwrap();
        let source = || Import::open(&theirs, 258, raw(env)).unwrap();
        assert_eq!((source().metric(), source().dimensions()), (D::name(), dimensions));

        // Into the same database, in another one, and onto an index that has items.
        let (_other_dir, other) = new_env();
        for (into, index) in [(env as &Env, 260), (&other, 258), (&other, 0)] {
            let db = create::<D>(into);
            let writer = Writer::<D>::new(db, index, dimensions);
            let mut expected = model.clone();
            if index == 0 {
                build_index(into, db, 0, &vectors::<D>(&mut rng(), 190..210, dimensions));
                expected.extend(
                    vectors::<D>(&mut rng(), 190..210, dimensions)
                        .into_iter()
                        .filter(|(id, _)| !model.contains_key(id)),
                );
            }
            let mut wtxn = into.write_txn().unwrap();
            assert_eq!(source().add_to(&writer, &mut wtxn).unwrap(), model.len() as u64);
            check_holds(&wtxn, db, index, &expected);
            build(&writer, &mut wtxn);
            wtxn.commit().unwrap();
            let rtxn = into.read_txn().unwrap();
            check_holds(&rtxn, db, index, &expected);
            let reader = Reader::<D>::open(&rtxn, index, db).unwrap();
            let query = vector::<D>(&mut StdRng::seed_from_u64(9), dimensions);
            let found = reader.nns(10).exact().by_vector(&rtxn, &query).unwrap().into_nns();
            Oracle::<D>::new(&expected, &query, |_| true).assert_exact(10, &found, D::name());
        }
    }
    run::<Hannoy<hannoy::distances::Euclidean>, Euclidean>();
    run::<Hannoy<hannoy::distances::Cosine>, Cosine>();
    run::<Hannoy<hannoy::distances::Manhattan>, Manhattan>();
    run::<Hannoy<hannoy::distances::Hamming>, Hamming>();
    run::<Arroy<arroy::distances::Euclidean>, Euclidean>();
    run::<Arroy<arroy::distances::Cosine>, Cosine>();
    run::<Arroy<arroy::distances::Manhattan>, Manhattan>();
    run::<Arroy<arroy::distances::DotProduct>, DotProduct>();
}

#[test]
fn an_index_takes_the_place_of_the_one_that_it_is_made_of() {
    fn run<P: Program>() {
        let (_dir, env) = static_env();
        let model = write::<P, Cosine>(env, 7, 6);
        let beside = vectors::<Cosine>(&mut rng(), 0..20, 6);
        for index in [6, 8] {
            P::change(env, index, 6, &added(&beside), true);
        }
        let db = create::<Cosine>(env);
        let before = [6, 8].map(|index| dump_of(&env.read_txn().unwrap(), db, index));

        let rtxn = env.read_txn().unwrap();
        let source = Import::open(&rtxn, 7, raw(env)).unwrap();
        let mut wtxn = env.write_txn().unwrap();
        let (first, end) = (7u16.to_be_bytes(), 8u16.to_be_bytes());
        raw(env)
            .delete_range(&mut wtxn, &(Bound::Included(&first[..]), Bound::Excluded(&end[..])))
            .unwrap();
        let writer = Writer::<Cosine>::new(db, 7, 6);
        assert_eq!(source.add_to(&writer, &mut wtxn).unwrap(), model.len() as u64);
        build(&writer, &mut wtxn);
        wtxn.commit().unwrap();

        let rtxn = env.read_txn().unwrap();
        check_holds(&rtxn, db, 7, &model);
        assert_eq!(
            [6, 8].map(|index| dump_of(&rtxn, db, index)),
            before,
            "its neighbors are as they were"
        );
        assert_eq!(P::items(env, 8, 6), beside);
    }
    run::<Hannoy<hannoy::distances::Cosine>>();
    run::<Arroy<arroy::distances::Cosine>>();
}

#[test]
fn an_index_without_items_is_imported_as_one() {
    fn run<P: Program>() {
        let (_dir, env) = static_env();
        P::change(env, 0, 6, &[], true);
        let db = create::<Euclidean>(env);
        let rtxn = env.read_txn().unwrap();
        let mut wtxn = env.write_txn().unwrap();
        let writer = Writer::<Euclidean>::new(db, 1, 6);
        assert_eq!(
            Import::open(&rtxn, 0, raw(env)).unwrap().add_to(&writer, &mut wtxn).unwrap(),
            0
        );
        check_holds(&wtxn, db, 1, &Model::new());
        assert!(Reader::open(&wtxn, 1, db).unwrap().is_empty(&wtxn).unwrap());
    }
    run::<Hannoy<hannoy::distances::Euclidean>>();
    run::<Arroy<arroy::distances::Euclidean>>();
}

/// The error of an import, and that its message says these things.
#[track_caller]
fn refused<D: Distance>(
    env: &'static Env,
    index: u16,
    writer: &Writer<'_, D>,
    says: &[&str],
) -> Error {
    let before = dump(&env.read_txn().unwrap(), create::<Euclidean>(env));
    let rtxn = env.read_txn().unwrap();
    let mut wtxn = env.write_txn().unwrap();
    let imported =
        Import::open(&rtxn, index, raw(env)).and_then(|source| source.add_to(writer, &mut wtxn));
    let error = imported.unwrap_err();
    let message = error.to_string();
    for part in says.iter().copied().chain([&*format!("index {index} of the source")]) {
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
    wtxn.commit().unwrap();
    assert!(
        dump(&env.read_txn().unwrap(), create::<Euclidean>(env)) == before,
        "{message}: the database has changed"
    );
    error
}

#[track_caller]
fn assert_defect(error: Error, expected: SourceDefect) {
    let Error::InvalidSource { defect, .. } = error else { panic!("{error:?}") };
    assert_eq!(defect, expected);
}

#[test]
fn what_cannot_be_imported_is_told_with_its_reason_and_nothing_changes() {
    let (_dir, env) = static_env();
    let items = vectors::<Euclidean>(&mut rng(), 0..20, 8);
    Hannoy::<hannoy::distances::Euclidean>::change(env, 0, 8, &added(&items), true);
    Arroy::<arroy::distances::DotProduct>::change(env, 1, 8, &added(&items), true);
    Hannoy::<hannoy::distances::Euclidean>::change(env, 2, 8, &added(&items), false);
    Arroy::<arroy::distances::Euclidean>::change(env, 3, 8, &added(&items), false);
    build_index(env, create::<Euclidean>(env), 4, &items);
    let mut wtxn = env.write_txn().unwrap();
    raw(env).put(&mut wtxn, &[0, 5, 9, 0, 0, 0, 0, 0], b"of another program").unwrap();
    raw(env).put(&mut wtxn, &[0, 6], b"of another program").unwrap();
    raw(env).put(&mut wtxn, &[0, 7, 0, 0, 0, 0, 0, 0], &[0; 37]).unwrap();
    wtxn.commit().unwrap();
    let db = create::<Euclidean>(env);
    let writer = Writer::<Euclidean>::new(db, 100, 8);

    assert_defect(
        refused(env, 99, &writer, &["there is none", "use the number"]),
        SourceDefect::Missing,
    );
    assert_defect(refused(env, 65_534, &writer, &["there is none"]), SourceDefect::Missing);
    for index in [2, 3] {
        assert_defect(
            refused(env, index, &writer, &["not built", "metric and dimensions are not known"]),
            SourceDefect::NotBuilt,
        );
    }
    assert_defect(
        refused(env, 4, &writer, &["voisin wrote it", "open a Reader"]),
        SourceDefect::Ours,
    );
    for index in [5, 6] {
        assert_defect(
            refused(env, index, &writer, &["not those of hannoy, or of arroy"]),
            SourceDefect::Unknown,
        );
    }
    // Before version 0.5, arroy kept items where it keeps the metadata now.
    let error = refused(env, 7, &writer, &["does not begin with the name of a metric"]);
    assert!(matches!(error, Error::CorruptSource { index: 7, item: None, .. }), "{error:?}");

    let mismatch = |stored, requested: &str| SourceDefect::MetricMismatch {
        stored,
        requested: requested.to_owned(),
    };
    let cosine = Writer::<Cosine>::new(with_metric(db), 100, 8);
    assert_defect(
        refused(env, 0, &cosine, &["use a writer for \"euclidean\""]),
        mismatch("euclidean", "cosine"),
    );
    assert_defect(
        refused(env, 1, &writer, &["use a writer for \"dot product\""]),
        mismatch("dot product", "euclidean"),
    );
    let own = Writer::<Chebyshev>::new(with_metric(db), 100, 8);
    assert_defect(
        refused(env, 0, &own, &["not \"chebyshev\""]),
        mismatch("euclidean", "chebyshev"),
    );
    for dimensions in [0, 7, 9, 65_536] {
        let writer = Writer::<Euclidean>::new(db, 100, dimensions);
        let error = refused(env, 0, &writer, &["8 dimensions", &format!("not {dimensions}")]);
        assert_defect(error, SourceDefect::DimensionMismatch { stored: 8, requested: dimensions });
    }

    // The writer's own index is another program's, or has another metric.
    let rtxn = env.read_txn().unwrap();
    let mut wtxn = env.write_txn().unwrap();
    let onto = |index, wtxn: &mut RwTxn<'_>| {
        Import::open(&rtxn, 0, raw(env))
            .unwrap()
            .add_to(&Writer::<Euclidean>::new(db, index, 8), wtxn)
            .unwrap_err()
    };
    assert!(matches!(onto(0, &mut wtxn), Error::Foreign { index: 0, .. }), "onto itself");
    Writer::<Euclidean>::new(db, 4, 8).clear(&mut wtxn).unwrap();
    Writer::<Cosine>::new(with_metric(db), 4, 8).add_item(&mut wtxn, 1, &[1.0; 8]).unwrap();
    assert!(matches!(onto(4, &mut wtxn), Error::MetricMismatch { index: 4, .. }));
}

#[test]
fn what_comes_over_is_rounded_to_the_form_of_the_index() {
    let (_dir, env) = static_env();
    let model = vectors::<Euclidean>(&mut rng(), 0..50, 8);
    let thirds: Model = model
        .iter()
        .map(|(id, vector)| (*id, vector.iter().map(|component| component / 3.0).collect()))
        .collect();
    let map = |component: fn(f32) -> f32| -> Model {
        thirds.iter().map(|(id, v)| (*id, v.iter().map(|c| component(*c)).collect())).collect()
    };
    Hannoy::<hannoy::distances::Euclidean>::change(env, 0, 8, &added(&thirds), true);
    let theirs = env.read_txn().unwrap();
    let source = || Import::open(&theirs, 0, raw(env)).unwrap();

    let (_dir, other) = new_env();
    let db = create::<Euclidean<F16>>(&other);
    let mut wtxn = other.write_txn().unwrap();
    assert_eq!(source().add_to(&Writer::<Euclidean<F16>>::new(db, 0, 8), &mut wtxn).unwrap(), 50);
    check_holds(&wtxn, db, 0, &map(|component| half::f16::from_f32(component).to_f32()));
    let writer = Writer::<Euclidean<I8>>::new(with_metric(db), 1, 8);
    for source in [source(), source().skip_invalid(|item, defect| panic!("{item}: {defect}"))] {
        let added = source.add_to(&writer, &mut wtxn);
        assert!(matches!(added, Err(Error::NotTrained { index: 1, .. })));
    }
    <Euclidean<I8>>::prepare(&writer, &mut wtxn);
    assert_eq!(source().add_to(&writer, &mut wtxn).unwrap(), 50);
    check_holds(
        &wtxn,
        with_metric::<Euclidean<I8>, _>(db),
        1,
        &map(|component| component.round() + 0.0),
    );
}

#[test]
fn the_signs_that_quantized_metrics_have_kept_come_over() {
    fn run<P: Program, D: Distance>() {
        let (_dir, env) = static_env();
        let model = vectors::<Euclidean>(&mut rng(), 0..20, 70);
        P::change(env, 0, 70, &added(&model), true);
        // What they were taken of is not there any more.
        let writer = Writer::<Euclidean>::new(create(env), 1, 70);
        let error = refused(env, 0, &writer, &[D::name(), "euclidean"]);
        assert_defect(
            error,
            SourceDefect::MetricMismatch { stored: D::name(), requested: "euclidean".to_owned() },
        );

        let (_dir, other) = new_env();
        let db = create::<D>(&other);
        let rtxn = env.read_txn().unwrap();
        let mut wtxn = other.write_txn().unwrap();
        assert_eq!(
            Import::open(&rtxn, 0, raw(env))
                .unwrap()
                .add_to(&Writer::<D>::new(db, 0, 70), &mut wtxn)
                .unwrap(),
            20
        );
        let signs = |vector: &Vec<f32>| vector.iter().map(|component| component.signum()).collect();
        check_holds(&wtxn, db, 0, &model.iter().map(|(id, vector)| (*id, signs(vector))).collect());
    }
    run::<Hannoy<hannoy::distances::BinaryQuantizedCosine>, BinaryQuantizedCosine>();
    run::<Hannoy<hannoy::distances::BinaryQuantizedEuclidean>, BinaryQuantizedEuclidean>();
    run::<Hannoy<hannoy::distances::BinaryQuantizedManhattan>, BinaryQuantizedManhattan>();
    run::<Arroy<arroy::distances::BinaryQuantizedCosine>, BinaryQuantizedCosine>();
}

#[test]
fn other_metrics_and_newer_versions_are_told_by_name() {
    for is_hannoy in [true, false] {
        let (_dir, env) = static_env();
        let items = added(&vectors::<Euclidean>(&mut rng(), 0..20, 8));
        let (program, newest) = if is_hannoy { ("hannoy", [0, 3]) } else { ("arroy", [0, 9]) };
        match is_hannoy {
            true => Hannoy::<hannoy::distances::Euclidean>::change(env, 0, 8, &items, true),
            false => Arroy::<arroy::distances::Euclidean>::change(env, 0, 8, &items, true),
        }
        let writer = Writer::<Euclidean>::new(create(env), 1, 8);
        let put = |key: [u8; 8], value: &[u8]| {
            let mut wtxn = env.write_txn().unwrap();
            raw(env).put(&mut wtxn, &key, value).unwrap();
            wtxn.commit().unwrap();
        };
        let version =
            |found: [u32; 3]| put([0, 0, 0, 0, 0, 0, 1, 0], &found.map(u32::to_be_bytes).concat());
        for found in [[0, newest[1] + 1, 0], [1, 0, 0], [u32::MAX; 3]] {
            version(found);
            let error = refused(
                env,
                0,
                &writer,
                &[program, &format!("{}.{}.{}", found[0], found[1], found[2]), "upgrade voisin"],
            );
            assert_defect(error, SourceDefect::Version { program, found, newest });
        }
        put([0, 0, 0, 0, 0, 0, 1, 0], &[0; 5]);
        let error = refused(env, 0, &writer, &["its version is not three numbers"]);
        assert!(matches!(error, Error::CorruptSource { item: None, .. }), "{error:?}");

        // No version at all, as the oldest have it, or an old one.
        let mut wtxn = env.write_txn().unwrap();
        for old in [None, Some([0, 0, 5]), Some([0, newest[1], u32::MAX])] {
            match old {
                Some(old) => raw(env)
                    .put(&mut wtxn, &[0, 0, 0, 0, 0, 0, 1, 0], &old.map(u32::to_be_bytes).concat())
                    .unwrap(),
                None => assert!(raw(env).delete(&mut wtxn, &[0, 0, 0, 0, 0, 0, 1, 0]).unwrap()),
            }
            assert_eq!(Import::open(&wtxn, 0, raw(env)).unwrap().dimensions(), 8);
        }
        wtxn.commit().unwrap();

        let key = [0; 8];
        let metadata = raw(env).get(&env.read_txn().unwrap(), &key).unwrap().unwrap().to_vec();
        put(key, &[b"of the user's own", &metadata["euclidean".len()..]].concat());
        let error = refused(env, 0, &writer, &["\"of the user's own\"", "one by one"]);
        assert_defect(
            error,
            SourceDefect::UnknownMetric { metric: "of the user's own".to_owned() },
        );
    }
}

#[test]
fn vectors_that_voisin_refuses_are_named_or_left_out() {
    fn run<P: Program>() {
        let (_dir, env) = static_env();
        let mut model = vectors::<Cosine>(&mut rng(), 0..50, 4);
        model.insert(17, vec![0.0; 4]);
        model.insert(30, vec![0.0, f32::NAN, 0.0, 1.0]);
        model.insert(49, vec![1e-30; 4]);
        P::change(env, 0, 4, &added(&model), true);
        let db = create::<Cosine>(env);
        let writer = Writer::<Cosine>::new(db, 1, 4);
        let rtxn = env.read_txn().unwrap();

        let mut wtxn = env.write_txn().unwrap();
        let error =
            Import::open(&rtxn, 0, raw(env)).unwrap().add_to(&writer, &mut wtxn).unwrap_err();
        assert!(
            matches!(error, Error::InvalidItem { item: 17, defect: VectorDefect::ZeroNorm }),
            "{error:?}"
        );
        let message = error.to_string();
        assert!(
            message.contains("item 17") && message.contains("is zero and has no direction"),
            "{message}"
        );
        check_holds(
            &wtxn,
            db,
            1,
            &model.range(..17).map(|(id, vector)| (*id, vector.clone())).collect(),
        );
        wtxn.abort();

        let mut wtxn = env.write_txn().unwrap();
        let mut skipped = Vec::new();
        let source = Import::open(&rtxn, 0, raw(env))
            .unwrap()
            .skip_invalid(|item, defect| skipped.push((item, defect)));
        assert_eq!(source.add_to(&writer, &mut wtxn).unwrap(), 47);
        assert!(
            matches!(
                skipped[..],
                [
                    (17, VectorDefect::ZeroNorm),
                    (30, VectorDefect::NotFinite { position: 1, .. }),
                    (49, VectorDefect::NormOutOfRange { .. })
                ]
            ),
            "{skipped:?}"
        );
        model.retain(|id, _| ![17, 30, 49].contains(id));
        check_holds(&wtxn, db, 1, &model);
    }
    run::<Hannoy<hannoy::distances::Cosine>>();
    run::<Arroy<arroy::distances::Cosine>>();
}

/// Changes a copy of a database: some values and keys, in some bytes or in their length.
fn damaged(dump: &Dump, rng: &mut StdRng) -> Dump {
    let mut damaged = dump.clone();
    for _ in 0..rng.random_range(1..4) {
        // Half of the time what describes the index, which is one value among hundreds.
        let entry = if rng.random_bool(0.5) {
            rng.random_range(0..2)
        } else {
            rng.random_range(0..damaged.len())
        };
        let (key, value) = &mut damaged[entry];
        let bytes = if rng.random_bool(0.15) { key } else { value };
        let at = |rng: &mut StdRng, bytes: &[u8]| {
            let end = if rng.random_bool(0.5) { 40 } else { usize::MAX };
            rng.random_range(0..bytes.len().min(end))
        };
        match rng.random_range(0..5) {
            _ if bytes.is_empty() => bytes.push(rng.random()),
            0 => bytes.truncate(at(rng, bytes)),
            1 => bytes.extend((0..rng.random_range(1..20)).map(|_| rng.random::<u8>())),
            2 => _ = bytes.remove(at(rng, bytes)),
            3 => {
                let at = at(rng, bytes);
                bytes[at] ^= 1 << rng.random_range(0..8);
            }
            _ => {
                let at = at(rng, bytes);
                bytes[at] = [0, 1, 255, rng.random()][rng.random_range(0..4)];
            }
        }
    }
    damaged.retain(|(key, _)| !key.is_empty());
    damaged
}

#[test]
fn bytes_that_they_never_wrote_are_imported_or_refused_and_never_a_panic() {
    fn run<P: Program, D: Distance>() {
        let mut rng = rng();
        let (_dir, env) = static_env();
        write::<P, D>(env, 0, 5);
        let whole = dump(&env.read_txn().unwrap(), create::<D>(env));
        let (_other_dir, other) = static_env();
        let (_our_dir, ours) = new_env();
        let (db, our_db) = (raw(other), create::<D>(&ours));
        let (mut imported, mut invalid, mut corrupt) = (0, 0, 0);
        for _ in 0..300 {
            let mut source = other.write_txn().unwrap();
            for (key, value) in damaged(&whole, &mut rng) {
                db.put(&mut source, &key, &value).unwrap();
            }
            let mut wtxn = ours.write_txn().unwrap();
            for (index, dimensions) in [(0, 5), (0, 6), (1, 5), (256, 5)] {
                let opened =
                    Import::open(&source, index, db).map(|source| source.skip_invalid(|_, _| ()));
                match opened.and_then(|source| {
                    source.add_to(&Writer::<D>::new(our_db, 9, dimensions), &mut wtxn)
                }) {
                    Ok(_) => imported += 1,
                    Err(Error::InvalidSource { .. }) => invalid += 1,
                    Err(Error::CorruptSource { .. } | Error::DimensionMismatch { .. }) => {
                        corrupt += 1
                    }
                    Err(error) => panic!("{error:?}"),
                }
            }
            assert!(
                voisin::check(&wtxn, 9, our_db).is_err()
                    || voisin::check(&wtxn, 9, our_db).unwrap().is_empty()
            );
            // Neither the source nor the copy is committed.
        }
        println!(
            "{} {}: {imported} imported, {invalid} invalid, {corrupt} corrupt",
            P::NAME,
            D::name()
        );
        assert!(imported > 50 && invalid > 50 && corrupt > 50);
    }
    run::<Hannoy<hannoy::distances::Euclidean>, Euclidean>();
    run::<Hannoy<hannoy::distances::Hamming>, Hamming>();
    run::<Arroy<arroy::distances::DotProduct>, DotProduct>();
    run::<Arroy<arroy::distances::Cosine>, Cosine>();
}

#[test]
fn a_database_of_hannoy_or_arroy_is_foreign_to_readers_and_writers_and_left_as_it_is() {
    fn is_foreign<T>(result: voisin::Result<T>, index: u16, what: &str) {
        let Err(Error::Foreign { index: found, .. }) = &result else {
            panic!("{what}: not refused, or {:?}", result.err())
        };
        assert_eq!(*found, index, "{what}");
        let message = result.err().unwrap().to_string();
        assert!(
            message.contains(&format!("index {index} of this database was not written by voisin")),
            "{what}: {message}"
        );
    }
    fn run<P: Program>() {
        let (_dir, env) = static_env();
        let items = added(&vectors::<Euclidean>(&mut rng(), 0..20, 8));
        P::change(env, 0, 8, &items, true);
        P::change(env, 1, 8, &items, false);
        P::change(env, 65_534, 8, &items, true);
        P::change(env, 65_534, 8, &[(3, None)], false);
        let db = create::<Euclidean>(env);
        let before = dump(&env.read_txn().unwrap(), db);
        for index in [0, 1, 65_534] {
            let writer = Writer::<Euclidean>::new(db, index, 8);
            let mut wtxn = env.write_txn().unwrap();
            is_foreign(Reader::open(&wtxn, index, db).map(drop), index, "open");
            is_foreign(voisin::check(&wtxn, index, db), index, "check");
            is_foreign(writer.add_item(&mut wtxn, 3, &[1.0; 8]), index, "add_item");
            is_foreign(writer.add_items(&mut wtxn, &[3], &[1.0; 8]), index, "add_items");
            is_foreign(writer.add_items_from(&mut wtxn, [(3, [1.0; 8])]), index, "add_items_from");
            is_foreign(writer.del_item(&mut wtxn, 3), index, "del_item");
            is_foreign(writer.del_items(&mut wtxn, [3]), index, "del_items");
            is_foreign(writer.clear(&mut wtxn), index, "clear");
            is_foreign(
                writer.builder(&mut StdRng::seed_from_u64(1)).build::<8, 16>(&mut wtxn),
                index,
                "build",
            );
            is_foreign(
                writer.builder(&mut StdRng::seed_from_u64(1)).force_rebuild::<8, 16>(&mut wtxn),
                index,
                "force_rebuild",
            );
            let rtxn: &RoTxn<'_> = &wtxn;
            is_foreign(writer.contains_item(rtxn, 3), index, "contains_item");
            is_foreign(writer.item_vector(rtxn, 3), index, "item_vector");
            is_foreign(writer.iter(rtxn).map(drop), index, "iter");
            is_foreign(writer.is_empty(rtxn), index, "is_empty");
            is_foreign(writer.need_build(rtxn), index, "need_build");
            is_foreign(writer.n_pending(rtxn), index, "n_pending");
            wtxn.commit().unwrap();
        }
        assert!(dump(&env.read_txn().unwrap(), db) == before, "{}: nothing has changed", P::NAME);

        // An index of ours between theirs.
        let model = vectors::<Euclidean>(&mut rng(), 0..30, 8);
        build_index(env, db, 500, &model);
        check_holds(&env.read_txn().unwrap(), db, 500, &model);
    }
    run::<Hannoy<hannoy::distances::Euclidean>>();
    run::<Arroy<arroy::distances::Euclidean>>();
    run::<Hannoy<hannoy::distances::Hamming>>();
    run::<Arroy<arroy::distances::BinaryQuantizedCosine>>();
}
