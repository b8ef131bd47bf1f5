//! A batch of queries returns, to the last bit, the answers that each query gets alone.

use rand::RngExt;
use rayon::ThreadPoolBuilder;
use voisin::distances::{Cosine, Distance, DotProduct, Euclidean, Manhattan};
use voisin::heed::RoTxn;
use voisin::roaring::RoaringBitmap;
use voisin::{Codes, Error, QueryBuilder, Reader, Searched, Strategy, VectorDefect, Writer};

use crate::common::{
    Metric, Model, add, build, check, create, for_every_metric, is_binary, new_env, rng, vector,
    vectors,
};

/// Asks for all rows at once, and one after the other.
fn assert_same<D: Distance>(
    by: &QueryBuilder<'_, Reader<'_, D>>,
    rtxn: &RoTxn<'_>,
    rows: &[Vec<f32>],
    what: &str,
) -> Vec<Searched> {
    let alone: Vec<_> = rows.iter().map(|row| by.by_vector(rtxn, row).unwrap()).collect();
    let together = by.by_vectors(rtxn, &rows.concat()).unwrap();
    assert_eq!(together, alone, "{} {what}", D::name());
    together
}

/// Numbers of queries around the sizes of panels, and around that from which panels are used.
const COUNTS: [usize; 9] = [0, 1, 2, 5, 6, 31, 32, 33, 70];

#[test]
fn by_every_way_to_an_answer() {
    fn run<D: Metric>() {
        let mut rng = rng();
        let dimensions = 40;
        let model = vectors::<D>(&mut rng, (0..900).map(|i| 3 * i), dimensions);
        let (_dir, env) = new_env();
        let db = create::<D>(&env);
        let writer = Writer::<D>::new(db, 0, dimensions);
        let mut wtxn = env.write_txn().unwrap();
        // Linked, removed and free, added again in other places, pending, and removed while linked.
        add(&writer, &mut wtxn, &model);
        build(&writer, &mut wtxn);
        writer.del_items(&mut wtxn, (0..2700).step_by(21)).unwrap();
        build(&writer, &mut wtxn);
        writer
            .add_items_from(
                &mut wtxn,
                model.iter().step_by(11).map(|(id, vector)| (id + 1, vector)),
            )
            .unwrap();
        writer.del_items(&mut wtxn, (3..2700).step_by(33)).unwrap();
        check(&wtxn, db, 0);
        let reader = Reader::<D>::open(&wtxn, 0, db).unwrap();
        assert!(reader.n_pending() > 0);
        let [many, few] = [0.2, 0.005]
            .map(|share| (0..3000).filter(|_| rng.random_bool(share)).collect::<RoaringBitmap>());
        let mut strategies = Vec::new();
        for count in COUNTS {
            let rows: Vec<_> = (0..count).map(|_| vector::<D>(&mut rng, dimensions)).collect();
            for k in [0, 1, 10, 2000] {
                let by = reader.nns(k);
                let mut exact = by.clone();
                exact.exact();
                let mut walk = by.clone();
                walk.ef_search(30).walk_graph();
                for (mut by, how) in
                    [(by, "as it likes"), (exact.clone(), "exact"), (walk, "walking")]
                {
                    let what = format!("{count} queries for {k}, {how}");
                    let found = assert_same(&by, &wtxn, &rows, &what);
                    strategies.extend(found.iter().map(|found| found.strategy));
                    for candidates in [&many, &few] {
                        let found = assert_same(by.candidates(candidates), &wtxn, &rows, &what);
                        strategies.extend(found.iter().map(|found| found.strategy));
                    }
                }
                let warm = reader.warm(&wtxn).unwrap();
                let found = warm.nns(k).exact().by_vectors(&rows.concat()).unwrap();
                assert_eq!(
                    found,
                    exact.by_vectors(&wtxn, &rows.concat()).unwrap(),
                    "{}",
                    D::name()
                );
            }
        }
        // All vectors of bits are compared before a few candidates are found.
        let ways = if is_binary::<D>() {
            &[Strategy::Graph, Strategy::All][..]
        } else {
            &[Strategy::Graph, Strategy::All, Strategy::Candidates]
        };
        assert!(ways.iter().all(|way| strategies.contains(way)), "{}", D::name());
    }
    for_every_metric!(run);
}

#[test]
fn walks_by_codes_on_any_number_of_threads() {
    let mut rng = rng();
    let dimensions = 40;
    let model = vectors::<Euclidean>(&mut rng, 0..2000, dimensions);
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let writer = Writer::<Euclidean>::new(db, 0, dimensions);
    let mut wtxn = env.write_txn().unwrap();
    add(&writer, &mut wtxn, &model);
    for codes in [Codes::Bits8, Codes::Bits7, Codes::Bits4, Codes::Bits1] {
        writer.set_codes(&mut wtxn, Some(codes)).unwrap();
        build(&writer, &mut wtxn);
        let reader = Reader::<Euclidean>::open(&wtxn, 0, db).unwrap();
        let warm = reader.warm(&wtxn).unwrap();
        for count in [2, 3, 4, 7, 40] {
            let rows: Vec<_> =
                (0..count).map(|_| vector::<Euclidean>(&mut rng, dimensions)).collect();
            let mut by = reader.nns(10);
            by.ef_search(30).walk_graph();
            let alone = assert_same(&by, &wtxn, &rows, &format!("{count} queries by {codes}"));
            assert!(
                alone
                    .iter()
                    .all(|found| found.estimates > 100 && found.distances < found.estimates)
            );
            for threads in [1, 2, 5] {
                let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let found = pool
                    .install(|| warm.nns(10).ef_search(30).walk_graph().by_vectors(&rows.concat()))
                    .unwrap();
                assert_eq!(found, alone, "{count} queries by {codes} on {threads} threads");
            }
        }
    }
}

/// Vectors whose distances to a query differ by rounding, or not at all: copies, copies in which
/// one component is the next float, and multiples.
fn nearly_equal(dimensions: usize, magnitude: f32) -> Model {
    let mut rng = rng();
    let base: Vec<f32> = (0..dimensions).map(|_| rng.random_range(-1.0..1.0) * magnitude).collect();
    let near = |id: u32| {
        let mut vector = base.clone();
        let component = &mut vector[id as usize % dimensions];
        match id % 5 {
            0 => {}
            1 => *component = component.next_up(),
            2 => *component = component.next_down(),
            3 => *component *= 1.0 + 1e-6,
            _ => vector.iter_mut().for_each(|component| *component *= 2.0),
        }
        (id, vector)
    };
    (0..1500).map(near).collect()
}

#[test]
fn where_distances_tie_or_differ_by_rounding_only() {
    fn run<D: Distance>() {
        let mut rng = rng();
        // Squares of the smallest differences underflow, and those of the largest are of another
        // order than what they are compared by.
        for (dimensions, magnitude) in
            [(1, 1.0), (7, 1.0), (100, 1.0), (700, 1e-3), (100, 1e12), (33, 1e-12), (20, 1e-21)]
        {
            // The others refuse them.
            if D::name() != <Manhattan>::name() && magnitude < 1e-13 {
                continue;
            }
            let model = nearly_equal(dimensions, magnitude);
            let (_dir, env) = new_env();
            let db = create::<D>(&env);
            let mut wtxn = env.write_txn().unwrap();
            add(&Writer::<D>::new(db, 0, dimensions), &mut wtxn, &model);
            let reader = Reader::<D>::open(&wtxn, 0, db).unwrap();
            let mut rows: Vec<Vec<f32>> = model.values().take(60).cloned().collect();
            // As many pairs as let a scan give up an estimate that rules out too few. Near, the
            // other way, small, and the same.
            for (i, row) in rows.iter_mut().enumerate() {
                match i / 15 {
                    0 => row.iter_mut().for_each(|component| {
                        *component += rng.random_range(-1e-3..1e-3) * magnitude
                    }),
                    1 => row.iter_mut().for_each(|component| *component = -*component),
                    2 => row.iter_mut().for_each(|component| *component *= 1e-3),
                    _ => {}
                }
            }
            for k in [1, 10, 400] {
                assert_same(
                    reader.nns(k).exact(),
                    &wtxn,
                    &rows,
                    &format!("{dimensions} dimensions of {magnitude:e}, k {k}"),
                );
            }
        }
    }
    run::<Euclidean>();
    run::<Cosine>();
    run::<DotProduct>();
    run::<Manhattan>();
}

#[test]
fn for_any_number_of_threads() {
    let mut rng = rng();
    let model = vectors::<Euclidean>(&mut rng, 0..5000, 150);
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let mut wtxn = env.write_txn().unwrap();
    add(&Writer::<Euclidean>::new(db, 0, 150), &mut wtxn, &model);
    wtxn.commit().unwrap();
    let rtxn = env.read_txn().unwrap();
    let rows: Vec<_> = (0..40).map(|_| vector::<Euclidean>(&mut rng, 150)).collect();
    for threads in [1, 2, 5] {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let warm = Reader::<Euclidean>::open(&rtxn, 0, db).unwrap();
        let warm = warm.warm(&rtxn).unwrap();
        let (together, alone) = pool.install(|| {
            let alone: Vec<_> =
                rows.iter().map(|row| warm.nns(50).exact().by_vector(row).unwrap()).collect();
            (warm.nns(50).exact().by_vectors(&rows.concat()).unwrap(), alone)
        });
        assert_eq!(together, alone, "{threads} threads");
    }
}

#[test]
fn a_row_that_is_bad_is_named_and_a_part_of_a_row_is_refused() {
    let mut rng = rng();
    let (_dir, env) = new_env();
    let db = create::<Cosine>(&env);
    let mut wtxn = env.write_txn().unwrap();
    add(&Writer::<Cosine>::new(db, 0, 4), &mut wtxn, &vectors::<Cosine>(&mut rng, 0..50, 4));
    let reader = Reader::<Cosine>::open(&wtxn, 0, db).unwrap();
    let mut rows = vec![1.0; 12];
    rows[7] = f32::NAN;
    let found = reader.nns(3).by_vectors(&wtxn, &rows);
    assert!(
        matches!(
            found,
            Err(Error::InvalidRow { row: 1, defect: VectorDefect::NotFinite { position: 3, .. } })
        ),
        "{found:?}"
    );
    rows[4..8].fill(0.0);
    let found = reader.nns(3).by_vectors(&wtxn, &rows);
    assert!(
        matches!(found, Err(Error::InvalidRow { row: 1, defect: VectorDefect::ZeroNorm })),
        "{found:?}"
    );
    let found = reader.nns(3).by_vectors(&wtxn, &rows[..11]);
    assert!(matches!(found, Err(Error::UnevenRows { components: 11, dimensions: 4 })), "{found:?}");
    assert!(found.unwrap_err().to_string().contains("row 2 has 3 only"));
}

#[test]
fn many_that_are_cancelled_say_so_and_return_what_they_have_seen() {
    let mut rng = rng();
    let model = vectors::<Euclidean>(&mut rng, 0..600, 200);
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let writer = Writer::<Euclidean>::new(db, 0, 200);
    let mut wtxn = env.write_txn().unwrap();
    add(&writer, &mut wtxn, &model);
    build(&writer, &mut wtxn);
    let reader = Reader::<Euclidean>::open(&wtxn, 0, db).unwrap();
    let rows = vec![0.0; 200 * 33];
    let mut walk = reader.nns(10);
    walk.walk_graph();
    let mut exact = reader.nns(10);
    exact.exact();
    for by in [walk, exact] {
        let found = by.by_vectors_with_cancellation(&wtxn, &rows, || true).unwrap();
        assert!(
            found.len() == 33
                && found.iter().all(|found| found.did_cancel() && found.nns.len() <= 10),
            "{found:?}"
        );
        let found = by.by_vectors_with_cancellation(&wtxn, &rows, || false).unwrap();
        assert!(
            found.iter().all(|found| !found.did_cancel() && found.nns.len() == 10),
            "{found:?}"
        );
    }
}
