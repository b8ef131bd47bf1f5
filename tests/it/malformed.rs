//! A vector that cannot be stored or compared is refused with an error that names the value and the
//! remedy, and nothing has changed.
//!
//! The tables run every row through every entry point. Each call runs in a transaction of its own,
//! which is then committed: afterwards the whole database must be the same as before, byte for
//! byte.

use rand::SeedableRng;
use rand::rngs::StdRng;
use voisin::codec::F32;
use voisin::distances::{Cosine, Distance, DotProduct, Euclidean, Hamming, Manhattan};
use voisin::heed::RwTxn;
use voisin::roaring::RoaringBitmap;
use voisin::{Error, Reader, VectorDefect, Writer};

use crate::common::{
    Chebyshev, Env, Metric, Model, check, check_holds, create, dump, for_every_metric, new_env,
    rng, to_bits, vector, vectors,
};

const INFINITY: f32 = f32::INFINITY;
/// The smallest subnormal number.
const SUBNORMAL: f32 = f32::from_bits(1);
/// Norms that a metric accepts; see the messages.
const EUCLIDEAN: (f64, f64) = (1e-15, 9e18);
const COSINE: (f64, f64) = (1e-15, 1e15);
const MANHATTAN: (f64, f64) = (0.0, 1.5e38);

fn not_finite(position: usize, value: f32) -> VectorDefect {
    VectorDefect::NotFinite { position, value }
}

fn out_of_range(norm: f64, (min, max): (f64, f64)) -> VectorDefect {
    VectorDefect::NormOutOfRange { norm, min, max }
}

/// Whether two defects are the same, for norms to within rounding: NaN is the same as NaN.
fn is_same(a: VectorDefect, b: VectorDefect) -> bool {
    let is_close = |a: f64, b: f64| (a - b).abs() <= 1e-6 * b.abs();
    match (a, b) {
        (
            VectorDefect::NormOutOfRange { norm, min, max },
            VectorDefect::NormOutOfRange { norm: norm_b, min: min_b, max: max_b },
        ) => is_close(norm, norm_b) && is_close(min, min_b) && is_close(max, max_b),
        _ => format!("{a:?}") == format!("{b:?}"),
    }
}

/// Runs `call` in a transaction of its own, commits, and asserts that nothing has changed.
#[track_caller]
fn assert_changes_nothing<D: Distance, T>(
    env: &Env,
    db: voisin::Database<'_, D>,
    call: impl FnOnce(&mut RwTxn<'_>) -> T,
) -> T {
    let before = dump(&env.read_txn().unwrap(), db);
    let mut wtxn = env.write_txn().unwrap();
    let result = call(&mut wtxn);
    wtxn.commit().unwrap();
    assert!(dump(&env.read_txn().unwrap(), db) == before, "the database has changed");
    result
}

#[track_caller]
fn assert_says(error: &impl std::fmt::Display, parts: &[&str]) {
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
}

/// Whether an index has items before a bad one comes: it may not exist, be built, or have pending
/// items, too.
const STATES: [&str; 3] = ["missing", "built", "pending"];

/// An index 0 in one of the [`STATES`].
fn prepare<'e, D: Distance>(
    env: &'e Env,
    state: &str,
    dimensions: usize,
) -> (voisin::Database<'e, D>, Model) {
    let db = create::<D>(env);
    let writer = Writer::<D>::new(db, 0, dimensions);
    let mut wtxn = env.write_txn().unwrap();
    writer.clear(&mut wtxn).unwrap();
    let mut model = Model::new();
    if state != "missing" {
        model = vectors::<D>(&mut StdRng::seed_from_u64(5), 0..40, dimensions);
        crate::common::add(&writer, &mut wtxn, &model);
        crate::common::build(&writer, &mut wtxn);
    }
    if state == "pending" {
        let more = vectors::<D>(&mut StdRng::seed_from_u64(6), 35..50, dimensions);
        crate::common::add(&writer, &mut wtxn, &more);
        model.extend(more);
    }
    wtxn.commit().unwrap();
    (db, model)
}

/// Gives `bad` to every call that takes a vector. Each must fail with `defect`.
fn assert_refused<D: Metric>(bad: &[f32], defect: VectorDefect, says: &[&str]) {
    println!("{}: {:?} of {} components", D::name(), &bad[..bad.len().min(8)], bad.len());
    let (_dir, env) = new_env();
    let mut good = vector::<D>(&mut StdRng::seed_from_u64(4), bad.len());
    good[0] = 1.0;
    // A query is not stored.
    let asked = says.iter().map(|part| match *part {
        "scale the vectors" => "scale the query",
        "leave it out, or use another metric" => "ask with another vector",
        part => part,
    });
    let asked: Vec<&str> = asked.collect();
    for state in STATES {
        let (db, model) = prepare::<D>(&env, state, bad.len());
        let writer = Writer::<D>::new(db, 0, bad.len());
        let rows = [&good, bad, &good].concat();
        type Call<'a> = &'a dyn Fn(&mut RwTxn<'_>) -> voisin::Result<()>;
        // An item that is new, and one that is there.
        for item in [3, 1000] {
            let calls: [Call<'_>; 3] = [
                &|wtxn| writer.add_item(wtxn, item, bad),
                &|wtxn| writer.add_items(wtxn, &[7, item, 2000], &rows),
                &|wtxn| writer.add_items_from(wtxn, [(item, bad)]).map(drop),
            ];
            for (number, call) in calls.into_iter().enumerate() {
                if number == 2 && state == "missing" {
                    continue;
                }
                let error = assert_changes_nothing(&env, db, call).unwrap_err();
                let Error::InvalidItem { item: found_item, defect: found } = error else {
                    panic!("{state}, call {number}: {error:?}")
                };
                assert_eq!(found_item, item, "{state}, call {number}");
                assert!(
                    is_same(found, defect),
                    "{state}, call {number}: {found:?}, not {defect:?}"
                );
                assert_says(&error, &[&format!("item {item}")]);
                assert_says(&error, says);
            }
        }
        let found = voisin::distances::distance::<D>(&good, bad).unwrap_err();
        assert!(is_same(found, defect), "the distance: {found:?}, not {defect:?}");
        if state == "missing" {
            continue;
        }
        let rtxn = env.read_txn().unwrap();
        let reader = Reader::<D>::open(&rtxn, 0, db).unwrap();
        let warm = reader.warm(&rtxn).unwrap();
        let candidates: RoaringBitmap = [1, 2, 3].into_iter().collect();
        for k in [0, 1, 100] {
            let found = [
                reader.nns(k).by_vector(&rtxn, bad),
                reader.nns(k).exact().by_vector(&rtxn, bad),
                reader.nns(k).candidates(&candidates).by_vector(&rtxn, bad),
                reader.nns(k).by_vector_with_cancellation(&rtxn, bad, || true),
                warm.nns(k).by_vector(bad),
            ];
            for found in found {
                let error = found.unwrap_err();
                let Error::InvalidQuery { defect: found } = error else {
                    panic!("{state}: {error:?}")
                };
                assert!(is_same(found, defect), "{state}, a query: {found:?}, not {defect:?}");
                assert_says(&error, &["the query"]);
                assert_says(&error, &asked);
            }
        }
        check_holds(&rtxn, db, 0, &model);
    }
}

/// Gives `good` to every call that takes a vector: it is stored, found at its distance, and comes
/// back bit for bit.
fn assert_accepted<D: Metric>(good: &[f32], other: &[f32]) {
    println!("{}: {:?} of {} components", D::name(), &good[..good.len().min(8)], good.len());
    // What rounding may do to a sum of so many equal terms.
    let tolerance = if good.len() > 1000 { 1e-4 } else { 1e-5 };
    let (_dir, env) = new_env();
    let db = create::<D>(&env);
    let writer = Writer::<D>::new(db, 0, good.len());
    let mut wtxn = env.write_txn().unwrap();
    writer.add_item(&mut wtxn, 1, good).unwrap();
    writer.add_items(&mut wtxn, &[2, 3], &[good, other].concat()).unwrap();
    assert_eq!(writer.add_items_from(&mut wtxn, [(4, other)]).unwrap(), 1);
    for is_built in [false, true] {
        if is_built {
            crate::common::build(&writer, &mut wtxn);
        }
        check(&wtxn, db, 0);
        let reader = Reader::<D>::open(&wtxn, 0, db).unwrap();
        assert_eq!(to_bits(&reader.item_vector(&wtxn, 1).unwrap().unwrap()), to_bits(good));
        for (a, b) in [(good, other), (other, good)] {
            let found = reader.nns(4).by_vector(&wtxn, a).unwrap().into_nns();
            assert_eq!(found.len(), 4, "{}: {found:?}", D::name());
            for (id, distance) in found {
                let to = if id <= 2 { good } else { other };
                let expected = D::between(a, to);
                assert!(
                    distance.is_finite(),
                    "{}: the distance of item {id} is {distance}",
                    D::name()
                );
                let is_close = (distance - expected).abs()
                    <= tolerance * expected.abs().max(f32::MIN_POSITIVE);
                assert!(
                    is_close || !D::IS_EXACT && (distance - expected).abs() <= tolerance,
                    "{}: {distance}, not {expected}",
                    D::name()
                );
            }
            let of_item = reader
                .nns(4)
                .by_item(&wtxn, if to_bits(b) == to_bits(good) { 3 } else { 1 })
                .unwrap()
                .unwrap()
                .into_nns();
            assert!(
                of_item.len() == 3 && of_item.iter().all(|(_, distance)| distance.is_finite()),
                "{}: {of_item:?}",
                D::name()
            );
        }
    }
}

#[test]
fn components_that_are_not_finite_are_refused() {
    fn run<D: Metric>() {
        for (value, text) in
            [(f32::NAN, "NaN"), (-f32::NAN, "NaN"), (INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")]
        {
            for position in [0, 3, 7] {
                let mut bad = vec![1.0; 8];
                bad[position] = value;
                assert_refused::<D>(
                    &bad,
                    not_finite(position, value),
                    &[&format!("component {position} is {text}"), "must be finite"],
                );
            }
        }
        // The first of several.
        assert_refused::<D>(&[0.0, f32::NAN, INFINITY], not_finite(1, f32::NAN), &["component 1"]);
        assert_refused::<D>(&[f32::NAN], not_finite(0, f32::NAN), &["component 0"]);
    }
    for_every_metric!(run);
}

#[test]
fn norms_that_would_overflow_are_refused() {
    let max = f64::from(f32::MAX);
    for vector in [[f32::MAX, 0.0], [0.0, -f32::MAX]] {
        assert_refused::<Euclidean>(
            &vector,
            out_of_range(max, EUCLIDEAN),
            &["3.4028234663852886e38", "scale the vectors", "9e18"],
        );
        assert_refused::<DotProduct>(
            &vector,
            out_of_range(max, EUCLIDEAN),
            &["3.4028234663852886e38", "scale the vectors", "9e18"],
        );
        assert_refused::<Cosine>(
            &vector,
            out_of_range(max, COSINE),
            &["3.4028234663852886e38", "scale the vectors", "1e-15"],
        );
        assert_refused::<Manhattan>(
            &vector,
            out_of_range(max, MANHATTAN),
            &["3.4028234663852886e38", "scale the vectors", "1.5e38"],
        );
    }
    // Just above the limit.
    assert_refused::<Euclidean>(&[9.1e18], out_of_range(9.1e18, EUCLIDEAN), &["9.1"]);
    assert_refused::<DotProduct>(
        &[-7e18, 7e18],
        out_of_range(7e18 * 2f64.sqrt(), EUCLIDEAN),
        &["9.89"],
    );
    assert_refused::<Cosine>(&[1.1e15], out_of_range(1.1e15, COSINE), &["e15", "1e-15"]);
    assert_refused::<Manhattan>(
        &[8e37, -8e37],
        out_of_range(1.6e38, MANHATTAN),
        &["e38", "1.5e38"],
    );
    assert_refused::<Euclidean>(
        &[f32::MAX; 1000],
        out_of_range(max * 1000f64.sqrt(), EUCLIDEAN),
        &["e40", "9e18"],
    );
}

#[test]
fn norms_just_within_the_limits_are_accepted_and_distances_are_finite() {
    for large in [[8.9e18, 0.0], [6.3e18, 6.3e18]] {
        assert_accepted::<Euclidean>(&large, &large.map(|component: f32| -component));
        assert_accepted::<DotProduct>(&large, &large.map(|component: f32| -component));
    }
    assert_accepted::<Cosine>(&[9.9e14, 0.0], &[-9.9e14, 1.0]);
    assert_accepted::<Cosine>(&[1.1e-15, 0.0], &[0.0, 9.9e14]);
    assert_accepted::<Cosine>(&[1.1e-15, 0.0], &[-1.1e-15, 1.1e-15]);
    assert_accepted::<Manhattan>(&[1.49e38, 0.0], &[-1.49e38, 0.0]);
    assert_accepted::<Manhattan>(&[7e37, -7e37], &[-7e37, 7e37]);
    // As many components as there may be: every partial sum must be finite, too.
    let many = |component: f32| -> Vec<f32> {
        (0..65_535).map(|i| if i % 2 == 0 { component } else { -component }).collect()
    };
    assert_accepted::<Euclidean>(&many(3.5e16), &many(-3.5e16));
    assert_accepted::<DotProduct>(&many(3.5e16), &many(-3.5e16));
    assert_accepted::<Manhattan>(&many(2.25e33), &many(-2.25e33));
    assert_accepted::<Cosine>(&many(3.8e12), &many(-3.8e12));
}

#[test]
fn zeros_are_refused_where_they_have_no_direction_and_accepted_elsewhere() {
    for zeros in [[0.0; 3], [-0.0; 3], [0.0, -0.0, 0.0]] {
        assert_refused::<Cosine>(
            &zeros,
            VectorDefect::ZeroNorm,
            &["is zero and has no direction", "leave it out, or use another metric"],
        );
        assert_accepted::<Euclidean>(&zeros, &[1.0, -2.0, 0.0]);
        assert_accepted::<DotProduct>(&zeros, &[1.0, -2.0, 0.0]);
        assert_accepted::<Manhattan>(&zeros, &[1.0, -2.0, 0.0]);
        assert_accepted::<Chebyshev>(&zeros, &[1.0, -2.0, 0.0]);
    }
    assert_accepted::<Hamming>(&[0.0; 3], &[1.0, 1.0, 0.0]);
    assert_accepted::<Hamming>(&[0.0; 130], &[1.0; 130]);
}

#[test]
fn tiny_norms_are_refused_where_they_lose_their_meaning_and_accepted_elsewhere() {
    assert_refused::<Cosine>(
        &[1e-20, 0.0],
        out_of_range(1e-20, COSINE),
        &["e-21", "scale the vectors"],
    );
    assert_refused::<Cosine>(&[9e-16], out_of_range(9e-16, COSINE), &["e-16", "scale the vectors"]);
    assert_refused::<Cosine>(
        &[SUBNORMAL, 0.0],
        out_of_range(f64::from(SUBNORMAL), COSINE),
        &["e-45", "scale the vectors"],
    );
    assert_accepted::<Euclidean>(&[1.1e-15, 0.0], &[0.0, -1.1e-15]);
    assert_accepted::<DotProduct>(&[1.1e-15, 0.0], &[0.0, -1.1e-15]);
    for tiny in [1e-20, SUBNORMAL, -SUBNORMAL, f32::MIN_POSITIVE] {
        let norm = f64::from(tiny).abs();
        assert_refused::<Euclidean>(
            &[tiny, 0.0],
            out_of_range(norm, EUCLIDEAN),
            &["scale the vectors", "1e-15"],
        );
        assert_refused::<DotProduct>(
            &[tiny, 0.0],
            out_of_range(norm, EUCLIDEAN),
            &["scale the vectors", "1e-15"],
        );
        assert_accepted::<Manhattan>(&[tiny, tiny], &[-tiny, 0.0]);
        assert_accepted::<Chebyshev>(&[tiny, tiny], &[-tiny, 0.0]);
        // Beside a component of some size.
        assert_accepted::<Euclidean>(&[tiny, 1.0], &[1.0, 2.0]);
        assert_accepted::<DotProduct>(&[tiny, 1.0], &[1.0, 2.0]);
        assert_accepted::<Cosine>(&[tiny, 1.0], &[1.0, tiny]);
    }
}

#[test]
fn negative_zeros_and_subnormal_components_are_stored_as_they_are() {
    let odd = [-0.0, SUBNORMAL, -f32::MIN_POSITIVE, 1.0];
    assert_accepted::<Euclidean>(&odd, &[0.0, 0.0, 0.0, -1.0]);
    assert_accepted::<Cosine>(&odd, &[0.0, 0.0, 0.0, -1.0]);
    assert_accepted::<DotProduct>(&odd, &[0.0, 0.0, 0.0, -1.0]);
    assert_accepted::<Manhattan>(&odd, &[0.0, 0.0, 0.0, -1.0]);
}

#[test]
fn no_distance_is_a_negative_zero() {
    fn run<D: Metric>() {
        if D::name() == "hamming" {
            return;
        }
        let (_dir, env) = new_env();
        let db = create::<D>(&env);
        let writer = Writer::<D>::new(db, 0, 2);
        let mut wtxn = env.write_txn().unwrap();
        for (id, vector) in
            [[1.0, 0.0], [0.0, 1.0], [-0.0, 1.0], [-1.0, -0.0], [1.0, -0.0]].iter().enumerate()
        {
            writer.add_item(&mut wtxn, id as u32, vector).unwrap();
        }
        let reader = Reader::<D>::open(&wtxn, 0, db).unwrap();
        for query in [[1.0, 0.0], [-0.0, 1.0], [0.0, -1.0], [-1.0, 0.0]] {
            for (id, distance) in reader.nns(5).by_vector(&wtxn, &query).unwrap().into_nns() {
                assert!(
                    distance.to_bits() != (-0.0_f32).to_bits(),
                    "{}: {query:?} to item {id}",
                    D::name()
                );
            }
        }
    }
    for_every_metric!(run);
}

#[test]
fn components_that_are_no_bits_are_refused_by_hamming() {
    for (value, text) in [
        (0.5, "0.5"),
        (-1.0, "-1"),
        (2.0, "2"),
        (-0.0, "-0"),
        (SUBNORMAL, "0.000"),
        (f32::MAX, "34028"),
        (1.000_000_1, "1.0"),
    ] {
        for position in [0, 1, 64, 69] {
            let mut bad = vec![1.0; 70];
            bad[position] = value;
            let defect = VectorDefect::NotBinary { position, value };
            assert_refused::<Hamming>(
                &bad,
                defect,
                &[&format!("component {position} is {text}"), "zeros and ones only"],
            );
        }
    }
}

#[test]
fn vectors_of_another_length_are_refused() {
    fn run<D: Metric>() {
        let (_dir, env) = new_env();
        for state in STATES {
            let (db, model) = prepare::<D>(&env, state, 8);
            let writer = Writer::<D>::new(db, 0, 8);
            for found in [0, 1, 7, 9, 16, 65_536] {
                let bad = vec![1.0; found];
                let expect = |error: Error| {
                    let Error::DimensionMismatch { expected: 8, found: number } = error else {
                        panic!("{error:?}")
                    };
                    assert_eq!(number, found);
                    assert_says(
                        &error,
                        &[
                            &format!("{found} dimensions"),
                            "the index has 8",
                            "give a vector of 8 components",
                        ],
                    );
                };
                expect(
                    assert_changes_nothing(&env, db, |wtxn| writer.add_item(wtxn, 3, &bad))
                        .unwrap_err(),
                );
                if state != "missing" {
                    expect(
                        assert_changes_nothing(&env, db, |wtxn| {
                            writer.add_items_from(wtxn, [(3, &bad)])
                        })
                        .unwrap_err(),
                    );
                }
                let many =
                    assert_changes_nothing(&env, db, |wtxn| writer.add_items(wtxn, &[3], &bad))
                        .unwrap_err();
                let Error::LengthMismatch { ids: 1, components, dimensions: 8 } = many else {
                    panic!("{many:?}")
                };
                assert_eq!(components, found);
                assert_says(&many, &["1 ids need 8 components", &format!("{found} were given")]);
                if state == "missing" {
                    continue;
                }
                let rtxn = env.read_txn().unwrap();
                let reader = Reader::<D>::open(&rtxn, 0, db).unwrap();
                let candidates: RoaringBitmap = [1].into_iter().collect();
                expect(reader.nns(3).by_vector(&rtxn, &bad).unwrap_err());
                expect(reader.nns(0).by_vector(&rtxn, &bad).unwrap_err());
                expect(reader.nns(3).exact().by_vector(&rtxn, &bad).unwrap_err());
                expect(reader.nns(3).candidates(&candidates).by_vector(&rtxn, &bad).unwrap_err());
                expect(reader.warm(&rtxn).unwrap().nns(3).by_vector(&bad).unwrap_err());
                drop(rtxn);
            }
            check_holds(&env.read_txn().unwrap(), db, 0, &model);
        }
    }
    for_every_metric!(run);
}

#[test]
fn a_writer_for_other_dimensions_than_the_index_has_is_refused() {
    let (_dir, env) = new_env();
    let (db, model) = prepare::<Euclidean>(&env, "pending", 8);
    for found in [1, 7, 9, 16, 65_535] {
        let writer = Writer::<Euclidean>::new(db, 0, found);
        let rows = vec![1.0; found];
        type Call<'a> = &'a dyn Fn(&mut RwTxn<'_>) -> voisin::Result<()>;
        let calls: [Call<'_>; 7] = [
            &|wtxn| writer.add_item(wtxn, 3, &rows),
            &|wtxn| writer.add_items(wtxn, &[3], &rows),
            &|wtxn| writer.add_items_from(wtxn, [(3, &rows)]).map(drop),
            &|wtxn| writer.del_item(wtxn, 3).map(drop),
            &|wtxn| writer.del_items(wtxn, [3]).map(drop),
            &|wtxn| writer.builder(&mut StdRng::seed_from_u64(1)).build::<8, 16>(wtxn),
            &|wtxn| writer.builder(&mut StdRng::seed_from_u64(1)).force_rebuild::<8, 16>(wtxn),
        ];
        for (number, call) in calls.into_iter().enumerate() {
            let error = assert_changes_nothing(&env, db, call).unwrap_err();
            let Error::DimensionMismatch { expected: 8, found: number_found } = error else {
                panic!("call {number}: {error:?}")
            };
            assert_eq!(number_found, found, "call {number}");
        }
    }
    check_holds(&env.read_txn().unwrap(), db, 0, &model);
}

#[test]
fn dimensions_that_no_index_can_have_are_refused() {
    fn run<D: Metric>() {
        let (_dir, env) = new_env();
        for state in STATES {
            let (db, model) = prepare::<D>(&env, state, 8);
            for dimensions in [0, 65_536, u32::MAX as usize, 1 << 32, usize::MAX] {
                let writer = Writer::<D>::new(db, 0, dimensions);
                type Call<'a> = &'a dyn Fn(&mut RwTxn<'_>) -> voisin::Result<()>;
                // The last says whether this call is refused for that reason in this state.
                let calls: [(&str, Call<'_>, bool); 6] = [
                    ("add_item", &|wtxn| writer.add_item(wtxn, 3, &[1.0; 8]), true),
                    ("add_items of none", &|wtxn| writer.add_items(wtxn, &[], &[0.0; 0]), true),
                    (
                        "add_items",
                        &|wtxn| writer.add_items(wtxn, &[1, 2, 3], &[0.0; 0]),
                        dimensions == 0,
                    ),
                    (
                        "add_items_from",
                        &|wtxn| writer.add_items_from(wtxn, [(3, [1.0; 8])]).map(drop),
                        true,
                    ),
                    ("del_item", &|wtxn| writer.del_item(wtxn, 3).map(drop), state != "missing"),
                    (
                        "build",
                        &|wtxn| writer.builder(&mut StdRng::seed_from_u64(1)).build::<8, 16>(wtxn),
                        true,
                    ),
                ];
                for (name, call, _) in calls.into_iter().filter(|(_, _, is_refused)| *is_refused) {
                    let error = assert_changes_nothing(&env, db, call).unwrap_err();
                    let Error::InvalidDimensions { found, max: 65_535 } = error else {
                        panic!("{state}, {name}: {error:?}")
                    };
                    assert_eq!(found, dimensions, "{name}");
                    assert_says(
                        &error,
                        &[&format!("cannot have {dimensions} dimensions"), "use 1 to 65535"],
                    );
                }
            }
            check_holds(&env.read_txn().unwrap(), db, 0, &model);
        }
    }
    for_every_metric!(run);
}

#[test]
fn slices_that_do_not_fit_together_are_refused_however_large_the_numbers_are() {
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    for dimensions in [1, 3, 65_535, usize::MAX / 2 + 1, usize::MAX] {
        let writer = Writer::<Euclidean>::new(db, 0, dimensions);
        let error =
            assert_changes_nothing(&env, db, |wtxn| writer.add_items(wtxn, &[1, 2], &[1.0; 5]))
                .unwrap_err();
        let Error::LengthMismatch { ids: 2, components: 5, dimensions: found } = error else {
            panic!("{error:?}")
        };
        assert_eq!(found, dimensions);
        assert_says(&error, &["2 ids need", "5 were given"]);
    }
}

#[test]
fn the_smallest_and_the_largest_number_of_dimensions_work() {
    fn run<D: Metric>() {
        let mut rng = rng();
        let (_dir, env) = new_env();
        let db = create::<D>(&env);
        for (index, dimensions, count) in
            [(0, 1, 50), (1, 65_535, 9), (2, 65_534, 3), (3, 63, 20), (4, 64, 20), (5, 65, 20)]
        {
            let writer = Writer::<D>::new(db, index, dimensions);
            let model = vectors::<D>(&mut rng, 0..count, dimensions);
            let mut wtxn = env.write_txn().unwrap();
            crate::common::add(&writer, &mut wtxn, &model);
            crate::common::build(&writer, &mut wtxn);
            wtxn.commit().unwrap();
            let rtxn = env.read_txn().unwrap();
            check_holds(&rtxn, db, index, &model);
            let reader = Reader::<D>::open(&rtxn, index, db).unwrap();
            let query = vector::<D>(&mut rng, dimensions);
            let found = reader.nns(count as usize).by_vector(&rtxn, &query).unwrap().into_nns();
            crate::common::Oracle::<D>::new(&model, &query, |_| true).assert_exact(
                count as usize,
                &found,
                D::name(),
            );
        }
    }
    for_every_metric!(run);
}

/// Every state of an index refuses a build with these parameters, by name and value.
fn assert_build_refused(
    prepare_build: impl Fn(&mut voisin::Builder<'_, '_, Euclidean, StdRng>),
    m: usize,
    m0: usize,
    name: &str,
    shown: &str,
) {
    let (_dir, env) = new_env();
    for state in STATES {
        let (db, model) = prepare::<Euclidean>(&env, state, 8);
        let writer = Writer::<Euclidean>::new(db, 0, 8);
        for force in [false, true] {
            let error = assert_changes_nothing(&env, db, |wtxn| {
                let mut rng = StdRng::seed_from_u64(1);
                let mut builder = writer.builder(&mut rng);
                prepare_build(&mut builder);
                if force {
                    builder.force_rebuild_with(wtxn, m, m0)
                } else {
                    builder.build_with(wtxn, m, m0)
                }
            })
            .unwrap_err();
            let Error::InvalidParameter { name: found, .. } = error else {
                panic!("{state}: {error:?}")
            };
            assert_eq!(found, name, "{state}");
            assert_says(&error, &[&format!("{name} is {shown}"), "use "]);
        }
        check_holds(&env.read_txn().unwrap(), db, 0, &model);
    }
}

#[test]
fn build_parameters_that_make_no_graph_are_refused() {
    for (m, m0, name, shown) in [
        (0, 16, "M", "0"),
        (1, 16, "M", "1"),
        (2049, 16, "M", "2049"),
        (usize::MAX, 16, "M", "18446744073709552000"),
        (8, 0, "M0", "0"),
        (8, 1, "M0", "1"),
        (8, 2049, "M0", "2049"),
        (65_536 + 8, 16, "M", "65544"),
        (8, 65_536 + 16, "M0", "65552"),
        (0, 0, "M", "0"),
    ] {
        assert_build_refused(|_| {}, m, m0, name, shown);
    }
    for (alpha, shown) in [
        (0.999, "0.99"),
        (0.0, "0"),
        (-0.0, "-0"),
        (-1.0, "-1"),
        (10.001, "10.00"),
        (f32::NAN, "NaN"),
        (f32::INFINITY, "inf"),
        (f32::NEG_INFINITY, "-inf"),
        (f32::MAX, "34028"),
    ] {
        let set =
            |builder: &mut voisin::Builder<'_, '_, Euclidean, StdRng>| _ = builder.alpha(alpha);
        assert_build_refused(set, 8, 16, "alpha", shown);
    }
    assert_build_refused(|builder| _ = builder.ef_construction(0), 8, 16, "ef_construction", "0");
}

#[test]
fn the_value_of_a_parameter_is_told_as_it_was_given() {
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let writer = Writer::<Euclidean>::new(db, 0, 8);
    let mut rng = rng();
    let mut wtxn = env.write_txn().unwrap();
    let error = writer.builder(&mut rng).alpha(0.9).build::<8, 16>(&mut wtxn).unwrap_err();
    assert_says(&error, &["alpha is 0.9:"]);
    let error = writer.add_item(&mut wtxn, 1, &[f32::MAX; 8]).unwrap_err();
    assert_says(&error, &["between 1e-15 and 9e18"]);
    let writer = Writer::<Cosine>::new(crate::common::with_metric(db), 0, 8);
    let error = writer.add_item(&mut wtxn, 1, &[f32::MAX; 8]).unwrap_err();
    assert_says(&error, &["between 1e-15 and 1e15"]);
}

#[test]
fn build_parameters_at_their_limits_make_a_graph() {
    fn run<D: Metric>() {
        let mut rng = rng();
        let (_dir, env) = new_env();
        let db = create::<D>(&env);
        let model = vectors::<D>(&mut rng, 0..250, 8);
        let cases = [
            (2, 2, 1, 1.0),
            (2, 2, 40, 1.0),
            (2, 2048, 40, 1.0),
            (2048, 2, 40, 1.0),
            (2048, 2048, 300, 10.0),
            (16, 32, 1, 1.0),
            (16, 32, 5, 1.2),
            (16, 32, usize::MAX, 1.0),
            (3, 300, 40, 10.0),
            (50, 7, 40, 1.0),
        ];
        for (index, (m, m0, ef, alpha)) in (0..).zip(cases) {
            let what = format!("{} M {m} M0 {m0} ef_construction {ef} alpha {alpha}", D::name());
            println!("{what}");
            let writer = Writer::<D>::new(db, index, 8);
            let mut wtxn = env.write_txn().unwrap();
            // In two builds: the second links to what the first has made.
            let (first, second): (Model, Model) =
                model.clone().into_iter().partition(|(id, _)| id % 3 > 0);
            for items in [&first, &second] {
                crate::common::add(&writer, &mut wtxn, items);
                writer
                    .builder(&mut rng)
                    .ef_construction(ef)
                    .alpha(alpha)
                    .build_with(&mut wtxn, m, m0)
                    .unwrap();
            }
            wtxn.commit().unwrap();
            let rtxn = env.read_txn().unwrap();
            check_holds(&rtxn, db, index, &model);
            let reader = Reader::<D>::open(&rtxn, index, db).unwrap();
            let query = vector::<D>(&mut rng, 8);
            let found = reader.nns(250).by_vector(&rtxn, &query).unwrap().into_nns();
            crate::common::Oracle::<D>::new(&model, &query, |_| true)
                .assert_exact(250, &found, &what);
        }
    }
    for_every_metric!(run);
}

/// A metric with a given name.
macro_rules! named_metric {
    ($metric:ident, $name:expr) => {
        #[derive(Debug, Clone)]
        enum $metric {}

        impl Distance for $metric {
            type Codec = F32;

            fn name() -> &'static str {
                $name
            }

            fn raw(
                a: voisin::codec::VectorRef<'_, F32>,
                b: voisin::codec::VectorRef<'_, F32>,
            ) -> f32 {
                a.iter().zip(b.iter()).map(|(a, b)| (a - b).abs()).sum()
            }
        }
    };
}

named_metric!(NoName, "");
named_metric!(LongName, "a name of thirty-three bytes, one");
named_metric!(ZeroName, "zero\0inside");
named_metric!(LongestName, "a name of thirty-two bytes, just");
named_metric!(NotAscii, "größter Abstand");

#[test]
fn names_of_metrics_that_cannot_be_stored_are_refused() {
    fn refused<D: Distance>() {
        let (_dir, env) = new_env();
        let db = create::<D>(&env);
        let writer = Writer::<D>::new(db, 0, 2);
        for result in [
            assert_changes_nothing(&env, db, |wtxn| writer.add_item(wtxn, 1, &[1.0, 2.0])),
            assert_changes_nothing(&env, db, |wtxn| writer.add_items(wtxn, &[1], &[1.0, 2.0])),
            assert_changes_nothing(&env, db, |wtxn| {
                writer.builder(&mut StdRng::seed_from_u64(1)).build::<8, 16>(wtxn)
            }),
        ] {
            let error = result.unwrap_err();
            assert!(matches!(error, Error::InvalidParameter { .. }), "{error:?}");
            assert_says(&error, &[&D::name().len().to_string(), "1 to 32 bytes without zeros"]);
        }
    }
    refused::<NoName>();
    refused::<LongName>();
    refused::<ZeroName>();
    fn accepted<D: Distance>() {
        let (_dir, env) = new_env();
        let db = create::<D>(&env);
        let model: Model = (0..30).map(|id| (id, vec![id as f32, 0.0])).collect();
        crate::common::build_index(&env, db, 0, &model);
        check_holds(&env.read_txn().unwrap(), db, 0, &model);
    }
    accepted::<LongestName>();
    accepted::<NotAscii>();
}
