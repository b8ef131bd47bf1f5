//! Every query has a predictable answer: the number of results, the candidates for them, their
//! order, and their distances.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use rand::RngExt;
use voisin::distances::{DotProduct, Euclidean, distance};
use voisin::heed::RoTxn;
use voisin::roaring::RoaringBitmap;
use voisin::{Error, ItemId, Reader, Strategy, Writer};

use crate::common::{
    Metric, Model, Oracle, add, build, build_index, check, create, for_every_metric, is_binary,
    new_env, rng, vector, vectors,
};

/// A built index of `model`, for queries.
fn with_reader<D: Metric>(model: &Model, ask: impl FnOnce(&Reader<'_, D>, &RoTxn<'_>)) {
    let (_dir, env) = new_env();
    let db = create::<D>(&env);
    build_index(&env, db, 0, model);
    let rtxn = env.read_txn().unwrap();
    check(&rtxn, db, 0);
    ask(&Reader::<D>::open(&rtxn, 0, db).unwrap(), &rtxn);
}

/// Dimensions with which 600 items are so large that a query for a few of them walks the graph.
fn walked_dimensions<D: Metric>() -> usize {
    if is_binary::<D>() { 6000 } else { 200 }
}

#[test]
fn any_k_and_any_ef_give_k_results_or_all_items() {
    fn run<D: Metric>() {
        let mut rng = rng();
        let dimensions = walked_dimensions::<D>();
        let model = vectors::<D>(&mut rng, (0..600).map(|i| 3 * i), dimensions);
        with_reader::<D>(&model, |reader, rtxn| {
            let warm = reader.warm(rtxn).unwrap();
            let query = vector::<D>(&mut rng, dimensions);
            let oracle = Oracle::<D>::new(&model, &query, |_| true);
            let others = Oracle::<D>::new(&model, &model[&9], |id| id != 9);
            let mut strategies = Vec::new();
            for k in [0, 1, 2, 10, 599, 600, 601, 1_000_000, usize::MAX] {
                for ef in [None, Some(1), Some(9), Some(10), Some(700), Some(usize::MAX)] {
                    let what = format!("{} k {k} ef {ef:?}", D::name());
                    let mut by = reader.nns(k);
                    by.ef_search(ef.unwrap_or(voisin::defaults::EF_SEARCH));
                    let found = by.by_vector(rtxn, &query).unwrap();
                    oracle.assert_plausible(k, &found.nns, &what);
                    assert!(!found.did_cancel(), "{what}");
                    if found.strategy != Strategy::Graph {
                        oracle.assert_exact(k, &found.nns, &what);
                    }
                    strategies.push(found.strategy);
                    let found_warm = warm
                        .nns(k)
                        .ef_search(ef.unwrap_or(voisin::defaults::EF_SEARCH))
                        .by_vector(&query)
                        .unwrap();
                    assert_eq!(found_warm, found, "{what}: a warm reader gives the same answer");
                    others.assert_plausible(k, &by.by_item(rtxn, 9).unwrap().unwrap().nns, &what);
                    oracle.assert_exact(k, &by.exact().by_vector(rtxn, &query).unwrap().nns, &what);
                    others.assert_exact(
                        k,
                        &by.exact().by_item(rtxn, 9).unwrap().unwrap().nns,
                        &what,
                    );
                }
            }
            assert!(
                strategies.contains(&Strategy::Graph) && strategies.contains(&Strategy::All),
                "{}: {strategies:?}",
                D::name()
            );
        });
    }
    for_every_metric!(run);
}

#[test]
fn an_ef_below_k_counts_as_k() {
    let mut rng = rng();
    let model = vectors::<Euclidean>(&mut rng, 0..600, 200);
    with_reader::<Euclidean>(&model, |reader, rtxn| {
        let query = vector::<Euclidean>(&mut rng, 200);
        let expected = reader.nns(10).ef_search(10).by_vector(rtxn, &query).unwrap();
        assert_eq!(expected.strategy, Strategy::Graph);
        for ef in [1, 9] {
            assert_eq!(reader.nns(10).ef_search(ef).by_vector(rtxn, &query).unwrap(), expected);
        }
        let refused = reader.nns(10).ef_search(0).by_vector(rtxn, &query);
        assert!(matches!(refused, Err(Error::InvalidParameter { name: "ef", .. })), "{refused:?}");
    });
}

#[test]
fn a_walk_with_ef_of_all_items_is_exact() {
    fn run<D: Metric>() {
        let mut rng = rng();
        let model = vectors::<D>(&mut rng, 100..500, 20);
        let candidates: RoaringBitmap = (0..500).filter(|_| rng.random_bool(0.3)).collect();
        with_reader::<D>(&model, |reader, rtxn| {
            for k in [1, 30, 400] {
                let mut by = reader.nns(k);
                by.ef_search(400).walk_graph();
                let query = vector::<D>(&mut rng, 20);
                let found = by.by_vector(rtxn, &query).unwrap();
                assert_eq!(found.strategy, Strategy::Graph);
                Oracle::<D>::new(&model, &query, |_| true).assert_exact(k, &found.nns, D::name());
                let found = by.by_item(rtxn, 105).unwrap().unwrap();
                assert_eq!(found.strategy, Strategy::Graph);
                Oracle::<D>::new(&model, &model[&105], |id| id != 105).assert_exact(
                    k,
                    &found.nns,
                    D::name(),
                );
                let found = by.candidates(&candidates).by_vector(rtxn, &query).unwrap();
                assert_eq!(found.strategy, Strategy::Graph);
                Oracle::<D>::new(&model, &query, |id| candidates.contains(id)).assert_exact(
                    k,
                    &found.nns,
                    D::name(),
                );
            }
        });
    }
    for_every_metric!(run);
}

#[test]
fn an_index_of_none_to_three_items_answers_with_all_of_them() {
    fn run<D: Metric>() {
        let mut rng = rng();
        let (_dir, env) = new_env();
        let db = create::<D>(&env);
        let writer = Writer::<D>::new(db, 0, 5);
        let mut wtxn = env.write_txn().unwrap();
        let mut model = Model::new();
        build(&writer, &mut wtxn);
        for count in 0..4 {
            for is_built in [false, true] {
                if is_built {
                    build(&writer, &mut wtxn);
                }
                check(&wtxn, db, 0);
                let reader = Reader::<D>::open(&wtxn, 0, db).unwrap();
                let warm = reader.warm(&wtxn).unwrap();
                let query = vector::<D>(&mut rng, 5);
                let candidates: RoaringBitmap = [7, 8].into_iter().collect();
                for k in [0, 1, 2, 3, 4, usize::MAX] {
                    let what = format!("{} {count} items, built {is_built}, k {k}", D::name());
                    let oracle = Oracle::<D>::new(&model, &query, |_| true);
                    oracle.assert_exact(
                        k,
                        &reader.nns(k).by_vector(&wtxn, &query).unwrap().nns,
                        &what,
                    );
                    oracle.assert_exact(
                        k,
                        &reader.nns(k).exact().by_vector(&wtxn, &query).unwrap().nns,
                        &what,
                    );
                    oracle.assert_exact(k, &warm.nns(k).by_vector(&query).unwrap().nns, &what);
                    let oracle = Oracle::<D>::new(&model, &query, |id| candidates.contains(id));
                    oracle.assert_exact(
                        k,
                        &reader
                            .nns(k)
                            .candidates(&candidates)
                            .by_vector(&wtxn, &query)
                            .unwrap()
                            .nns,
                        &what,
                    );
                    let of_seven = reader.nns(k).by_item(&wtxn, 7).unwrap();
                    assert_eq!(of_seven.is_some(), count > 0);
                    if let Some(found) = of_seven {
                        Oracle::<D>::new(&model, &model[&7], |id| id != 7)
                            .assert_exact(k, &found.nns, &what);
                    }
                }
            }
            let (id, new) = (7 + count, vector::<D>(&mut rng, 5));
            writer.add_item(&mut wtxn, id, &new).unwrap();
            model.insert(id, new);
        }
    }
    for_every_metric!(run);
}

#[test]
fn candidates_are_the_only_results_and_all_of_them_if_k_allows() {
    fn run<D: Metric>() {
        let mut rng = rng();
        let dimensions = walked_dimensions::<D>();
        let model = vectors::<D>(&mut rng, (0..600).map(|i| 3 * i), dimensions);
        let query = vector::<D>(&mut rng, dimensions);
        let by_distance: Vec<ItemId> =
            Oracle::<D>::new(&model, &query, |_| true).all.iter().map(|(id, _)| *id).collect();
        let sets: Vec<(&str, RoaringBitmap)> = vec![
            ("none", RoaringBitmap::new()),
            ("unknown", [1, 2, 4, 100_000, u32::MAX].into_iter().collect()),
            ("one", [9].into_iter().collect()),
            ("one and many unknown", (0..1_000_000).filter(|id| id % 3 != 0 || *id == 9).collect()),
            ("some", (0..1800).filter(|_| rng.random_bool(0.02)).collect()),
            ("half", (0..1800).filter(|_| rng.random_bool(0.5)).collect()),
            ("all", model.keys().copied().collect()),
            ("every id below 2^24", (0..1 << 24).collect()),
            ("every id", RoaringBitmap::full()),
            ("the nearest", by_distance.iter().copied().take(20).collect()),
            ("the farthest", by_distance.iter().copied().rev().take(20).collect()),
            ("the farther half", by_distance.iter().copied().skip(300).collect()),
            ("all but the nearest", by_distance.iter().copied().skip(1).collect()),
        ];
        with_reader::<D>(&model, |reader, rtxn| {
            let warm = reader.warm(rtxn).unwrap();
            let mut strategies = Vec::new();
            for (name, candidates) in &sets {
                let oracle = Oracle::<D>::new(&model, &query, |id| candidates.contains(id));
                let of_nine =
                    Oracle::<D>::new(&model, &model[&9], |id| id != 9 && candidates.contains(id));
                for k in [0, 1, 10, 50, 700, usize::MAX] {
                    for ef in [1, 60] {
                        let what = format!("{}, candidates: {name}, k {k} ef {ef}", D::name());
                        let mut by = reader.nns(k);
                        by.ef_search(ef).candidates(candidates);
                        let found = by.by_vector(rtxn, &query).unwrap();
                        let what = format!("{what}, {:?}", found.strategy);
                        strategies.push(found.strategy);
                        if found.strategy == Strategy::Graph {
                            oracle.assert_plausible(k, &found.nns, &what);
                        } else {
                            oracle.assert_exact(k, &found.nns, &what);
                        }
                        of_nine.assert_plausible(
                            k,
                            &by.by_item(rtxn, 9).unwrap().unwrap().nns,
                            &what,
                        );
                        assert_eq!(
                            warm.nns(k)
                                .ef_search(ef)
                                .candidates(candidates)
                                .by_vector(&query)
                                .unwrap(),
                            found,
                            "{what}"
                        );
                        oracle.assert_exact(
                            k,
                            &by.exact().by_vector(rtxn, &query).unwrap().nns,
                            &what,
                        );
                        of_nine.assert_exact(k, &by.by_item(rtxn, 9).unwrap().unwrap().nns, &what);
                    }
                }
            }
            for strategy in [Strategy::Graph, Strategy::All, Strategy::Candidates] {
                assert!(
                    strategies.contains(&strategy),
                    "{}: no query was answered by {strategy:?}",
                    D::name()
                );
            }
        });
    }
    for_every_metric!(run);
}

/// Few of the candidates are live, so that the estimate of how far to walk is wrong: there must be
/// k results all the same.
#[test]
fn a_walk_among_candidates_that_mostly_do_not_exist_finds_those_that_do() {
    let mut rng = rng();
    let model = vectors::<Euclidean>(&mut rng, 0..600, 200);
    with_reader::<Euclidean>(&model, |reader, rtxn| {
        for live in [1, 5, 10, 11, 40] {
            let candidates: RoaringBitmap =
                (0..live).map(|i| i * 13).chain(10_000..30_000).collect();
            let query = vector::<Euclidean>(&mut rng, 200);
            let oracle = Oracle::<Euclidean>::new(&model, &query, |id| candidates.contains(id));
            let found = reader
                .nns(10)
                .ef_search(10)
                .candidates(&candidates)
                .by_vector(rtxn, &query)
                .unwrap();
            oracle.assert_plausible(
                10,
                &found.nns,
                &format!("{live} live candidates, {:?}", found.strategy),
            );
        }
    });
}

#[test]
fn an_item_is_no_neighbor_of_itself() {
    fn run<D: Metric>() {
        let mut rng = rng();
        let dimensions = walked_dimensions::<D>();
        let mut model = vectors::<D>(&mut rng, 0..600, dimensions);
        // Three that are equal: two of them are the neighbors of the third.
        let twin = model[&20].clone();
        model.extend([(21, twin.clone()), (22, twin)]);
        with_reader::<D>(&model, |reader, rtxn| {
            let warm = reader.warm(rtxn).unwrap();
            let candidates: RoaringBitmap = (15..25).collect();
            let most: RoaringBitmap = (0..590).collect();
            for item in [20, 21, 22, 0, 599] {
                let oracle = Oracle::<D>::new(&model, &model[&item], |id| id != item);
                for k in [1, 2, 10, 599, 600, 601] {
                    let what = format!("{} item {item} k {k}", D::name());
                    let walked = reader.nns(k).ef_search(10).by_item(rtxn, item).unwrap().unwrap();
                    assert_eq!(walked.strategy == Strategy::Graph, k <= 10, "{what}");
                    oracle.assert_plausible(k, &walked.nns, &what);
                    assert_eq!(
                        warm.nns(k).ef_search(10).by_item(item).unwrap(),
                        Some(walked),
                        "{what}"
                    );
                    oracle.assert_exact(
                        k,
                        &reader.nns(k).exact().by_item(rtxn, item).unwrap().unwrap().nns,
                        &what,
                    );
                    for candidates in [&candidates, &most] {
                        let oracle = Oracle::<D>::new(&model, &model[&item], |id| {
                            id != item && candidates.contains(id)
                        });
                        let found = reader
                            .nns(k)
                            .ef_search(10)
                            .candidates(candidates)
                            .by_item(rtxn, item)
                            .unwrap()
                            .unwrap();
                        oracle.assert_plausible(k, &found.nns, &what);
                    }
                }
            }
            for missing in [600, u32::MAX] {
                assert_eq!(reader.nns(10).by_item(rtxn, missing).unwrap(), None);
                assert_eq!(reader.nns(0).exact().by_item(rtxn, missing).unwrap(), None);
                assert_eq!(warm.nns(10).by_item(missing).unwrap(), None);
            }
            assert!(reader.nns(0).by_item(rtxn, 20).unwrap().unwrap().nns.is_empty());
        });
    }
    for_every_metric!(run);
}

#[test]
fn distances_are_those_of_the_definition() {
    fn run<D: Metric>() {
        let mut rng = rng();
        let dimensions = walked_dimensions::<D>();
        // Not whole numbers: rounding differs, by as much as sums of so many terms may.
        let mut real = |dimensions| -> Vec<f32> {
            let vector = vector::<D>(&mut rng, dimensions);
            vector
                .into_iter()
                .map(|v| if is_binary::<D>() { v } else { v * 0.37 + rng.random_range(-0.1..0.1) })
                .collect()
        };
        let model: Model = (0..600).map(|id| (id, real(dimensions))).collect();
        let queries: Vec<Vec<f32>> = (0..3).map(|_| real(dimensions)).collect();
        with_reader::<D>(&model, |reader, rtxn| {
            for query in &queries {
                for mut by in [reader.nns(10), reader.nns(600)] {
                    for (id, found) in by.ef_search(10).by_vector(rtxn, query).unwrap().into_nns() {
                        let expected = distance::<D>(query, &model[&id]).unwrap();
                        let naive = D::between(query, &model[&id]);
                        assert!(
                            (expected - naive).abs() <= 1e-5 * naive.abs().max(1.0),
                            "{}: {expected}, naively {naive}",
                            D::name()
                        );
                        assert!(
                            (found - expected).abs() <= 1e-5 * expected.abs().max(1.0),
                            "{} item {id}: {found}, not {expected}",
                            D::name()
                        );
                    }
                }
            }
        });
    }
    for_every_metric!(run);
}

#[test]
fn every_one_of_ten_thousand_identical_vectors_is_found() {
    let model: Model = (0..10_000).map(|id| (id, vec![0.25, -0.5, 0.75, 1.0])).collect();
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let writer = Writer::<Euclidean>::new(db, 0, 4);
    let mut wtxn = env.write_txn().unwrap();
    add(&writer, &mut wtxn, &model);
    build(&writer, &mut wtxn);
    wtxn.commit().unwrap();
    let rtxn = env.read_txn().unwrap();
    assert_eq!(voisin::check(&rtxn, 0, db).unwrap(), []);
    let reader = Reader::<Euclidean>::open(&rtxn, 0, db).unwrap();
    let query = [0.25, -0.5, 0.75, 1.0];
    for by in [reader.nns(10_000), reader.nns(usize::MAX)] {
        let found = by.by_vector(&rtxn, &query).unwrap().into_nns();
        assert!(
            found.iter().copied().eq((0..10_000).map(|id| (id, 0.0))),
            "every item at distance 0, by id"
        );
    }
    let others = reader.nns(10_000).by_item(&rtxn, 5000).unwrap().unwrap().into_nns();
    assert!(others.iter().map(|(id, _)| *id).eq((0..5000).chain(5001..10_000)));
    let candidates: RoaringBitmap = (0..10_000).step_by(7).collect();
    let found =
        reader.nns(10_000).candidates(&candidates).by_vector(&rtxn, &query).unwrap().into_nns();
    assert!(found.iter().map(|(id, _)| *id).eq(candidates.iter()));
}

#[test]
fn a_walk_among_identical_vectors_finds_as_many_as_are_asked_for() {
    // Long enough that 600 of them are walked rather than scanned.
    let model: Model = (0..600).map(|id| (id, vec![1.0; 200])).collect();
    with_reader::<Euclidean>(&model, |reader, rtxn| {
        for k in 1..15 {
            let found = reader.nns(k).ef_search(k).by_vector(rtxn, &[0.0; 200]).unwrap();
            assert_eq!(found.strategy, Strategy::Graph);
            assert_eq!(found.nns.len(), k);
            assert!(found.nns.iter().all(|(_, distance)| *distance == 200.0), "{found:?}");
            let ids: BTreeSet<ItemId> = found.nns.iter().map(|(id, _)| *id).collect();
            assert_eq!(ids.len(), k, "{found:?}");
        }
    });
}

/// The share of the `k` nearest of some items that a walk finds.
fn recall<D: Metric>(
    reader: &Reader<'_, D>,
    rtxn: &RoTxn<'_>,
    model: &Model,
    k: usize,
    ef: usize,
) -> f64 {
    let (mut hits, mut all) = (0, 0);
    for (item, vector) in model.iter().step_by(model.len() / 50) {
        let oracle = Oracle::<D>::new(model, vector, |id| id != *item);
        let found = reader.nns(k).ef_search(ef).by_item(rtxn, *item).unwrap().unwrap();
        assert_eq!(found.strategy, Strategy::Graph);
        oracle.assert_plausible(k, &found.nns, "a walk");
        let farthest = oracle.all[k - 1].1;
        hits += found.nns.iter().filter(|(_, distance)| *distance <= farthest).count();
        all += k;
    }
    hits as f64 / all as f64
}

#[test]
fn items_that_are_added_in_order_are_found() {
    // On a curve that never comes back to where it was, from one end to the other.
    let model: Model = (0..3000)
        .map(|id| {
            (id, (0..32).map(|i| (id as f32 * (1.0 + i as f32 / 7.0) / 300.0).sin()).collect())
        })
        .collect();
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let writer = Writer::<Euclidean>::new(db, 0, 32);
    for batch in 0..6 {
        let mut wtxn = env.write_txn().unwrap();
        let some: Model = model
            .range(batch * 500..(batch + 1) * 500)
            .map(|(id, vector)| (*id, vector.clone()))
            .collect();
        add(&writer, &mut wtxn, &some);
        build(&writer, &mut wtxn);
        wtxn.commit().unwrap();
        check(&env.read_txn().unwrap(), db, 0);
    }
    let rtxn = env.read_txn().unwrap();
    let reader = Reader::<Euclidean>::open(&rtxn, 0, db).unwrap();
    let mut hits = 0;
    for (item, vector) in model.iter().step_by(29) {
        let found = reader.nns(5).ef_search(30).by_vector(&rtxn, vector).unwrap();
        assert_eq!(found.strategy, Strategy::Graph);
        hits += usize::from(found.nns[0].0 == *item);
    }
    assert!(hits >= 101, "{hits} of 104 items are their own nearest");
}

#[test]
fn two_clusters_that_are_far_apart_are_both_reached() {
    let mut rng = rng();
    let mut cluster = |center: f32, ids: std::ops::Range<ItemId>| -> Model {
        ids.map(|id| (id, (0..64).map(|_| center + rng.random_range(-1.0..1.0_f32)).collect()))
            .collect()
    };
    let (near, far) = (cluster(-1000.0, 0..700), cluster(1000.0, 700..1400));
    let model: Model = near.clone().into_iter().chain(far.clone()).collect();
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    // At once, and one after the other.
    build_index(&env, db, 0, &model);
    build_index(&env, db, 1, &near);
    build_index(&env, db, 1, &far);
    for index in [0, 1] {
        let rtxn = env.read_txn().unwrap();
        check(&rtxn, db, index);
        let reader = Reader::<Euclidean>::open(&rtxn, index, db).unwrap();
        for (cluster, ids) in [(&near, 0..700), (&far, 700..1400)] {
            let mut hits = 0;
            for (item, vector) in cluster.iter().step_by(13) {
                let found = reader.nns(10).ef_search(20).by_vector(&rtxn, vector).unwrap();
                assert_eq!(found.strategy, Strategy::Graph);
                assert!(
                    found.nns.iter().all(|(id, _)| ids.contains(id)),
                    "index {index}, item {item}: the other cluster's {found:?}"
                );
                hits += usize::from(found.nns[0].0 == *item);
            }
            assert!(hits >= 49, "index {index}: {hits} of 54 items are their own nearest");
        }
    }
}

#[test]
fn a_line_of_items_and_one_far_away_from_all_are_found() {
    let mut model: Model =
        (0..500).map(|id| (id, vec![id as f32, 2.0 * id as f32, -3.0])).collect();
    model.insert(1000, vec![-1e6, 1e6, 0.0]);
    with_reader::<Euclidean>(&model, |reader, rtxn| {
        for (item, vector) in model.iter().step_by(25).chain(model.last_key_value()) {
            let found = reader.nns(3).ef_search(20).walk_graph().by_vector(rtxn, vector).unwrap();
            assert_eq!(found.nns[0], (*item, 0.0));
            Oracle::<Euclidean>::new(&model, vector, |_| true).assert_exact(
                3,
                &found.nns,
                &format!("item {item}"),
            );
        }
    });
}

#[test]
fn a_walk_finds_most_of_what_is_nearest() {
    let mut rng = rng();
    // As real vectors: near a few hundred centers.
    let centers: Vec<Vec<f32>> =
        (0..150).map(|_| (0..48).map(|_| rng.random_range(-1.0..1.0)).collect()).collect();
    let model: Model = (0..3000)
        .map(|id| {
            let center = &centers[rng.random_range(0..centers.len())];
            (id, center.iter().map(|component| component + rng.random_range(-0.3..0.3)).collect())
        })
        .collect();
    with_reader::<voisin::distances::Cosine>(&model, |reader, rtxn| {
        let recall = recall(reader, rtxn, &model, 10, 40);
        assert!(recall >= 0.9, "recall {recall}");
    });
}

#[test]
fn a_search_by_inner_product_finds_long_vectors() {
    let mut rng = rng();
    let mut model = vectors::<DotProduct>(&mut rng, 0..1000, 64);
    model.values_mut().step_by(100).flatten().for_each(|component| *component *= 50.0);
    with_reader::<DotProduct>(&model, |reader, rtxn| {
        let mut hits = 0;
        for _ in 0..20 {
            let query = vector::<DotProduct>(&mut rng, 64);
            let oracle = Oracle::<DotProduct>::new(&model, &query, |_| true);
            let found = reader.nns(3).ef_search(100).walk_graph().by_vector(rtxn, &query).unwrap();
            oracle.assert_plausible(3, &found.nns, "inner product");
            hits += usize::from(found.nns[0] == oracle.all[0]);
        }
        assert!(hits >= 19, "{hits} of 20 queries find the item with the largest product");
    });
}

#[test]
fn a_query_that_is_cancelled_says_so_and_returns_what_it_has_seen() {
    let mut rng = rng();
    let model = vectors::<Euclidean>(&mut rng, 0..600, 200);
    let candidates: RoaringBitmap = (0..100).collect();
    with_reader::<Euclidean>(&model, |reader, rtxn| {
        let query = vector::<Euclidean>(&mut rng, 200);
        let mut walk = reader.nns(10);
        walk.ef_search(10);
        let mut scan = reader.nns(10);
        scan.exact();
        let mut some = reader.nns(10);
        some.candidates(&candidates);
        for (by, strategy) in
            [(walk, Strategy::Graph), (scan, Strategy::All), (some, Strategy::Candidates)]
        {
            let whole = by.by_vector(rtxn, &query).unwrap();
            assert_eq!((whole.strategy, whole.did_cancel), (strategy, false));
            let none = by.by_vector_with_cancellation(rtxn, &query, || true).unwrap();
            assert!(none.did_cancel() && none.nns.len() <= 10, "{none:?}");
            // At every probe there is.
            for probes in 0.. {
                let asked = AtomicUsize::new(0);
                let cancel = || asked.fetch_add(1, Ordering::Relaxed) >= probes;
                let found = by.by_vector_with_cancellation(rtxn, &query, cancel).unwrap();
                let oracle = Oracle::<Euclidean>::new(&model, &query, |id| {
                    found.nns.iter().any(|(other, _)| *other == id)
                });
                oracle.assert_exact(
                    10,
                    &found.nns,
                    &format!("{strategy:?}, cancelled at probe {probes}"),
                );
                if !found.did_cancel() {
                    assert_eq!(found, whole);
                    break;
                }
                assert!(probes < 10_000, "{strategy:?}: it always says that it was cancelled");
            }
            // Whoever asks for the end only once has asked for it.
            for probes in 0..5 {
                let asked = AtomicUsize::new(0);
                let found = by
                    .by_vector_with_cancellation(rtxn, &query, || {
                        asked.fetch_add(1, Ordering::Relaxed) == probes
                    })
                    .unwrap();
                assert!(
                    found.did_cancel() || found == whole,
                    "{strategy:?}, cancelled once, at probe {probes}: {found:?}"
                );
            }
            let found = by.by_item_with_cancellation(rtxn, 5, || true).unwrap().unwrap();
            assert!(found.did_cancel() && found.nns.iter().all(|(id, _)| *id != 5), "{found:?}");
            assert_eq!(by.by_item_with_cancellation(rtxn, 600, || true).unwrap(), None);
        }
    });
}
