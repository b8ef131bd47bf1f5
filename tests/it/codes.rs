//! Quantized codes: searches by them rerank and return exact distances, exact searches stay exact,
//! and every change keeps codes and vectors in step.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use voisin::distances::{Cosine, Distance, DotProduct, Euclidean, Hamming, Manhattan};
use voisin::heed::{RoTxn, RwTxn};
use voisin::roaring::RoaringBitmap;
use voisin::threads::take_most_used;
use voisin::{Codes, Error, ItemId, Reader, Writer};

use crate::common::{Model, add, build, check, check_holds, create, dump, new_env, rng};

const ALL: [Codes; 5] = [Codes::Bits1, Codes::Bits2, Codes::Bits4, Codes::Bits7, Codes::Bits8];

/// Vectors around a few centers, all of them far from the origin: what an estimate must tell apart
/// is small beside what it is a part of.
fn clustered(rng: &mut StdRng, ids: impl Iterator<Item = ItemId>, dimensions: usize) -> Model {
    let centers: Vec<Vec<f32>> =
        (0..12).map(|_| (0..dimensions).map(|_| 5.0 + rng.random::<f32>()).collect()).collect();
    let mut vector = |id: ItemId| {
        centers[id as usize % centers.len()]
            .iter()
            .map(|center| center + 0.6 * (rng.random::<f32>() - 0.5))
            .collect()
    };
    ids.map(|id| (id, vector(id))).collect()
}

fn set_and_build<D: Distance>(writer: &Writer<'_, D>, wtxn: &mut RwTxn<'_>, codes: Option<Codes>) {
    writer.set_codes(wtxn, codes).unwrap();
    build(writer, wtxn);
    assert!(!writer.need_build(wtxn).unwrap());
}

#[test]
fn an_exact_search_has_the_same_answer_with_codes_and_without() {
    fn run<D: Distance>() {
        let mut rng = rng();
        for dimensions in [3, 40, 100] {
            let model = clustered(&mut rng, 0..3000, dimensions);
            let (_dir, env) = new_env();
            let db = create::<D>(&env);
            let writer = Writer::<D>::new(db, 0, dimensions);
            let mut wtxn = env.write_txn().unwrap();
            add(&writer, &mut wtxn, &model);
            writer.del_items(&mut wtxn, (0..3000).step_by(7)).unwrap();
            let few: RoaringBitmap = (0..3000).filter(|_| rng.random_bool(0.6)).collect();
            for codes in ALL {
                set_and_build(&writer, &mut wtxn, Some(codes));
                let reader = Reader::<D>::open(&wtxn, 0, db).unwrap();
                assert_eq!(reader.codes(), Some(codes));
                let (mut saved, mut queries) = (0, 0);
                for item in (1..3000).step_by(271) {
                    let row = &model[&item];
                    for k in [1, 10, 2000] {
                        for candidates in [None, Some(&few)] {
                            let mut nns = reader.nns(k);
                            nns.exact();
                            if let Some(candidates) = candidates {
                                nns.candidates(candidates);
                            }
                            let by_codes = nns.by_vector(&wtxn, row).unwrap();
                            let mut without = nns;
                            let without = without.codes(false).by_vector(&wtxn, row).unwrap();
                            assert_eq!(
                                by_codes.nns,
                                without.nns,
                                "{} {dimensions} {codes} {k}",
                                D::name()
                            );
                            assert!(by_codes.estimates > 0 && without.estimates == 0);
                            if k == 10 && candidates.is_none() {
                                (saved, queries) = (
                                    saved + without.distances - by_codes.distances,
                                    queries + without.distances,
                                );
                            }
                        }
                    }
                }
                if codes.bits() >= 7 {
                    assert!(
                        saved * 10 > queries * 8,
                        "{} {dimensions}: {saved} of {queries}",
                        D::name()
                    );
                }
                check(&wtxn, db, 0);
            }
        }
    }
    run::<Euclidean>();
    run::<Cosine>();
    run::<DotProduct>();
}

/// The share of the 10 nearest that walks with `ef` find, with codes or without.
fn recall<D: Distance>(
    reader: &Reader<'_, D>,
    rtxn: &RoTxn<'_>,
    model: &Model,
    ef: usize,
    codes: bool,
) -> f64 {
    let (mut found, mut wanted) = (0, 0);
    for row in model.values().step_by(29) {
        let exact = reader.nns(10).exact().by_vector(rtxn, row).unwrap().into_nns();
        let farthest = exact.last().unwrap().1;
        let walked =
            reader.nns(10).ef_search(ef).walk_graph().codes(codes).by_vector(rtxn, row).unwrap();
        assert_eq!(walked.estimates > walked.distances, codes);
        for (item, distance) in &walked.nns {
            // That of the vectors, whatever the way; in the last digits, it is rounded from `f64`
            // beside results that are nearly as near.
            let expected = reader
                .nns(1)
                .candidates(&RoaringBitmap::from([*item]))
                .codes(false)
                .by_vector(rtxn, row)
                .unwrap()
                .nns[0]
                .1;
            assert!(
                (distance - expected).abs() <= 4e-6 * expected.abs().max(1.0),
                "{}: {distance}, not {expected}",
                D::name()
            );
        }
        found += walked.nns.iter().filter(|(_, distance)| *distance <= farthest).count();
        wanted += exact.len();
    }
    found as f64 / wanted as f64
}

#[test]
fn a_walk_by_codes_finds_nearly_what_one_by_vectors_does() {
    fn run<D: Distance>() {
        let model = clustered(&mut rng(), 0..4000, 64);
        let (_dir, env) = new_env();
        let db = create::<D>(&env);
        let writer = Writer::<D>::new(db, 0, 64);
        let mut wtxn = env.write_txn().unwrap();
        add(&writer, &mut wtxn, &model);
        let wanted = [
            (Codes::Bits8, 60, 0.01),
            (Codes::Bits7, 60, 0.01),
            (Codes::Bits4, 60, 0.05),
            (Codes::Bits2, 200, 0.08),
            (Codes::Bits1, 500, 0.15),
        ];
        for (codes, ef, lower) in wanted {
            set_and_build(&writer, &mut wtxn, Some(codes));
            let reader = Reader::<D>::open(&wtxn, 0, db).unwrap();
            let [by_codes, by_vectors] =
                [true, false].map(|codes| recall(&reader, &wtxn, &model, ef, codes));
            assert!(
                by_codes >= by_vectors - lower,
                "{} {codes}: {by_codes} beside {by_vectors}",
                D::name()
            );
        }
    }
    run::<Euclidean>();
    run::<Cosine>();
    run::<DotProduct>();
}

#[test]
fn metrics_that_do_not_follow_from_inner_products_refuse_codes_and_nothing_changes() {
    fn run<D: Distance>(vector: &[f32]) {
        let (_dir, env) = new_env();
        let db = create::<D>(&env);
        let writer = Writer::<D>::new(db, 0, vector.len());
        let mut wtxn = env.write_txn().unwrap();
        assert!(matches!(
            writer.set_codes(&mut wtxn, Some(Codes::Bits4)),
            Err(Error::CodesUnsupported { metric }) if metric == D::name(),
        ));
        assert!(dump(&wtxn, db).is_empty());
        writer.add_item(&mut wtxn, 1, vector).unwrap();
        let before = dump(&wtxn, db);
        assert!(writer.set_codes(&mut wtxn, Some(Codes::Bits8)).is_err());
        assert_eq!(dump(&wtxn, db), before);
        // None is what there is.
        writer.set_codes(&mut wtxn, None).unwrap();
        check(&wtxn, db, 0);
    }
    run::<Manhattan>(&[1.0, 2.0]);
    run::<Hamming>(&[1.0, 0.0]);
}

#[test]
fn codes_are_added_changed_and_dropped_while_readers_keep_theirs() {
    let model = clustered(&mut rng(), 0..2500, 20);
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let writer = Writer::<Euclidean>::new(db, 0, 20);
    let commit = |codes: Option<Codes>| {
        let mut wtxn = env.write_txn().unwrap();
        set_and_build(&writer, &mut wtxn, codes);
        wtxn.commit().unwrap();
    };
    let mut wtxn = env.write_txn().unwrap();
    add(&writer, &mut wtxn, &model);
    build(&writer, &mut wtxn);
    wtxn.commit().unwrap();
    let plain = dump(&env.read_txn().unwrap(), db);
    let choices = [
        None,
        Some(Codes::Bits8),
        Some(Codes::Bits7),
        Some(Codes::Bits4),
        None,
        Some(Codes::Bits1),
        Some(Codes::Bits1),
    ];
    let mut txns = Vec::new();
    for codes in choices {
        commit(codes);
        txns.push(env.read_txn().unwrap());
    }
    for (rtxn, codes) in txns.iter().zip(choices) {
        check_holds(rtxn, db, 0, &model);
        let reader = Reader::<Euclidean>::open(rtxn, 0, db).unwrap();
        assert_eq!(reader.codes(), codes);
        let found = reader.nns(1).walk_graph().by_vector(rtxn, &model[&77]).unwrap();
        assert_eq!(found.estimates > 0, codes.is_some());
        assert_eq!(found.nns, [(77, 0.0)]);
    }
    drop(txns);
    // Nothing is left of codes that were dropped, but for the note of what was rewritten.
    commit(None);
    let without_notes = |dump: Vec<(Vec<u8>, Vec<u8>)>| {
        dump.into_iter().filter(|(key, _)| key[2] != 10).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(without_notes(dump(&env.read_txn().unwrap(), db)), without_notes(plain));
}

#[test]
fn an_index_is_the_same_for_every_number_of_threads_and_another_for_another_seed() {
    let model = clustered(&mut rng(), 0..6000, 30);
    let built = |threads: usize, seed: u64| {
        let (_dir, env) = new_env();
        let db = create::<Cosine>(&env);
        let writer = Writer::<Cosine>::new(db, 0, 30);
        let mut wtxn = env.write_txn().unwrap();
        writer.set_codes(&mut wtxn, Some(Codes::Bits4)).unwrap();
        add(&writer, &mut wtxn, &model);
        let mut rng = StdRng::seed_from_u64(seed);
        _ = take_most_used();
        writer.builder(&mut rng).threads(threads).build::<8, 16>(&mut wtxn).unwrap();
        assert_eq!(take_most_used().asked, threads);
        check(&wtxn, db, 0);
        dump(&wtxn, db)
    };
    let one = built(1, 7);
    // No other test builds on so many.
    assert_eq!(built(9, 7), one);
    assert_ne!(built(1, 8), one);
}

#[test]
fn vectors_that_move_away_from_the_center_train_the_codes_again_and_blocks_follow() {
    let model = clustered(&mut rng(), 0..3000, 100);
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let writer = Writer::<Euclidean>::new(db, 0, 100);
    let mut wtxn = env.write_txn().unwrap();
    add(&writer, &mut wtxn, &model);
    set_and_build(&writer, &mut wtxn, Some(Codes::Bits8));
    let stats = |wtxn: &RwTxn<'_>| {
        Reader::<Euclidean>::open(wtxn, 0, db).unwrap().stats(wtxn, &env).unwrap().codes.unwrap()
    };
    let trained = stats(&wtxn);
    assert_eq!((trained.codes, trained.trained_on, trained.older), (Codes::Bits8, 3000, 0));
    assert!((0.98..1.02).contains(&trained.drift()) && trained.error < 0.02, "{trained:?}");
    let mut model = model;
    let mut older = Vec::new();
    for round in 0..30u32 {
        let moved: Model = model
            .iter()
            .take(1100)
            .filter(|(id, _)| (**id + round) % 11 == 0)
            .map(|(id, vector)| {
                (id + 10_000 * (round + 1), vector.iter().map(|v| v - 9.0).collect())
            })
            .collect();
        add(&writer, &mut wtxn, &moved);
        model.extend(moved);
        // Places in blocks of either generation are reused.
        let gone: Vec<ItemId> = model.keys().copied().skip(1200).step_by(40).take(20).collect();
        writer.del_items(&mut wtxn, gone.iter().copied()).unwrap();
        gone.iter().for_each(|id| drop(model.remove(id)));
        build(&writer, &mut wtxn);
        let now = stats(&wtxn);
        older.push(now.older);
        if round % 5 == 0 || now.older > 0 {
            check_holds(&wtxn, db, 0, &model);
            let reader = Reader::<Euclidean>::open(&wtxn, 0, db).unwrap();
            for row in model.values().step_by(97) {
                let mut nns = reader.nns(10);
                let by_codes = nns.exact().by_vector(&wtxn, row).unwrap();
                let by_vectors = nns.codes(false).by_vector(&wtxn, row).unwrap();
                assert_eq!(by_codes.nns, by_vectors.nns);
                let found = reader.nns(1).walk_graph().by_vector(&wtxn, row).unwrap();
                assert_eq!(found.nns[0].1, 0.0);
            }
        }
    }
    let followed = stats(&wtxn);
    assert!(followed.trained_on > 3000 && followed.drift() < 1.5, "{followed:?}");
    assert!(followed.older == 0 && older.iter().any(|older| *older > 0), "{older:?}");
    writer.builder(&mut rng()).optimize::<8, 16>(&mut wtxn).unwrap();
    let optimized = stats(&wtxn);
    assert_eq!((optimized.trained_on, optimized.older), (model.len() as u64, 0));
    assert!((0.98..1.02).contains(&optimized.drift()), "{optimized:?}");
    check_holds(&wtxn, db, 0, &model);
}

#[test]
fn codes_that_are_chosen_first_come_with_the_first_items_and_with_every_way_to_build() {
    let model = clustered(&mut rng(), 0..1500, 16);
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let writer = Writer::<Euclidean>::new(db, 0, 16);
    let mut wtxn = env.write_txn().unwrap();
    writer.set_codes(&mut wtxn, Some(Codes::Bits8)).unwrap();
    build(&writer, &mut wtxn);
    assert!(!writer.need_build(&wtxn).unwrap(), "there is nothing to make codes of");
    check(&wtxn, db, 0);
    wtxn.commit().unwrap();
    let mut wtxn = env.write_txn().unwrap();
    add(&writer, &mut wtxn, &model);
    wtxn.commit().unwrap();
    assert_eq!(Reader::<Euclidean>::open(&env.read_txn().unwrap(), 0, db).unwrap().codes(), None);
    writer.builder(&mut rng()).build_concurrently::<8, 16>(&env).unwrap();
    let rtxn = env.read_txn().unwrap();
    assert_eq!(Reader::<Euclidean>::open(&rtxn, 0, db).unwrap().codes(), Some(Codes::Bits8));
    check_holds(&rtxn, db, 0, &model);
    // One more, without any build: it is encoded at once, and found by its vector.
    let mut wtxn = env.write_txn().unwrap();
    writer.add_item(&mut wtxn, 9999, &[2.0; 16]).unwrap();
    check(&wtxn, db, 0);
    let reader = Reader::<Euclidean>::open(&wtxn, 0, db).unwrap();
    assert_eq!(reader.nns(1).by_vector(&wtxn, &[2.0; 16]).unwrap().nns, [(9999, 0.0)]);
    // Cancelled, a change of codes leaves what there was.
    writer.set_codes(&mut wtxn, Some(Codes::Bits2)).unwrap();
    wtxn.commit().unwrap();
    let mut wtxn = env.write_txn().unwrap();
    build(&writer, &mut wtxn);
    writer.set_codes(&mut wtxn, Some(Codes::Bits4)).unwrap();
    let before = dump(&wtxn, db);
    assert!(matches!(
        writer.builder(&mut rng()).cancel(|| true).build::<8, 16>(&mut wtxn),
        Err(Error::Cancelled)
    ));
    assert_eq!(dump(&wtxn, db), before);
    check(&wtxn, db, 0);
}
