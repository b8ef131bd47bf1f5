//! What was added, replaced or deleted is right in every answer from its commit on, whether a build has linked it or not.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use voisin::heed::{RoTxn, RwTxn};
use voisin::roaring::RoaringBitmap;
use voisin::{ItemId, Reader, Searched, Strategy, Writer};

use crate::common::{
    Env, Metric, Model, Oracle, add, build_index, check_holds, create, for_every_metric, is_binary, new_env, rng, vector, vectors,
};

/// A change to an index and to the model of it.
struct Edit<'a, D> {
    writer: Writer<'a, D>,
    dimensions: usize,
    wtxn: RwTxn<'a>,
    model: &'a mut Model,
    rng: &'a mut StdRng,
}

impl<D: Metric> Edit<'_, D> {
    fn add(&mut self, ids: impl IntoIterator<Item = ItemId>) {
        let items = vectors::<D>(self.rng, ids, self.dimensions);
        add(&self.writer, &mut self.wtxn, &items);
        self.model.extend(items);
    }

    fn delete(&mut self, ids: impl IntoIterator<Item = ItemId>) {
        for id in ids {
            assert_eq!(self.writer.del_item(&mut self.wtxn, id).unwrap(), self.model.remove(&id).is_some());
        }
    }
}

type Mix<D> = (&'static str, fn(&mut Edit<'_, D>));

/// Applied to an index of the built items `0..n`, each on its own.
fn mixes<D: Metric>() -> Vec<Mix<D>> {
    vec![
        ("nothing", |_| {}),
        ("one added", |edit| edit.add([1000])),
        ("some added", |edit| edit.add(1000..1007)),
        ("some deleted", |edit| edit.delete((0..).step_by(3).take(5))),
        ("some replaced", |edit| edit.add((1..).step_by(3).take(5))),
        ("added, replaced and deleted", |edit| {
            edit.add(1000..1005);
            edit.add(3..6);
            edit.delete(8..12);
        }),
        ("deleted and added again", |edit| {
            edit.delete(0..8);
            edit.add(4..12);
        }),
        ("added and replaced while pending", |edit| {
            edit.add(1000..1006);
            edit.add(1003..1008);
        }),
        ("added and deleted while pending", |edit| {
            edit.add(1000..1008);
            edit.add(2..5);
            edit.delete(1002..1006);
            edit.delete(3..4);
        }),
        ("replaced by itself", |edit| {
            let same: Model = edit.model.iter().take(6).map(|(id, vector)| (*id, vector.clone())).collect();
            add(&edit.writer, &mut edit.wtxn, &same);
        }),
        ("added next to a built one", |edit| {
            let twins: Model = edit.model.iter().take(6).map(|(id, vector)| (id + 1000, vector.clone())).collect();
            add(&edit.writer, &mut edit.wtxn, &twins);
            edit.model.extend(twins);
        }),
        ("the most of it deleted", |edit| {
            let ids: Vec<ItemId> = edit.model.keys().copied().skip(2).collect();
            edit.delete(ids);
        }),
    ]
}

/// What is done to all items, so that none is left in the graph.
fn total_mixes<D: Metric>() -> Vec<Mix<D>> {
    vec![
        ("all deleted", |edit| {
            let ids: Vec<ItemId> = edit.model.keys().copied().collect();
            edit.delete(ids);
        }),
        ("all replaced", |edit| {
            let ids: Vec<ItemId> = edit.model.keys().copied().collect();
            edit.add(ids);
        }),
        ("all deleted, others added", |edit| {
            let ids: Vec<ItemId> = edit.model.keys().copied().collect();
            edit.add(2000..2010);
            edit.delete(ids);
        }),
        ("all deleted and added again", |edit| {
            let ids: Vec<ItemId> = edit.model.keys().copied().collect();
            edit.delete(ids.clone());
            edit.add([3000]);
            edit.delete([3000]);
            edit.add(ids);
        }),
    ]
}

/// Builds an index of `count` items, applies each mix to a copy of it, commits, and hands reader and model over.
fn after_each<D: Metric>(
    mixes: Vec<Mix<D>>,
    (count, dimensions): (u32, usize),
    then: impl Fn(&str, &Reader<'_, D>, &RoTxn<'_>, &Model, &mut StdRng),
) {
    let mut rng = rng();
    let (_dir, env) = new_env();
    let db = create::<D>(&env);
    for (index, (name, mix)) in (0..).zip(mixes) {
        let what = format!("{}, {name}", D::name());
        let mut model = vectors::<D>(&mut rng, 0..count, dimensions);
        build_index(&env, db, index, &model);
        commit(&env, (Writer::new(db, index, dimensions), dimensions), &mut model, &mut rng, mix);
        let rtxn = env.read_txn().unwrap();
        check_holds(&rtxn, db, index, &model);
        then(&what, &Reader::<D>::open(&rtxn, index, db).unwrap(), &rtxn, &model, &mut rng);
    }
}

fn commit<'a, D: Metric>(
    env: &'a Env,
    (writer, dimensions): (Writer<'a, D>, usize),
    model: &'a mut Model,
    rng: &'a mut StdRng,
    mix: fn(&mut Edit<'_, D>),
) {
    let mut edit = Edit { writer, dimensions, wtxn: env.write_txn().unwrap(), model, rng };
    mix(&mut edit);
    edit.wtxn.commit().unwrap();
}

/// Asks by vector, by item, among candidates, and exactly, each through the transaction and warm, and hands over every answer.
fn ask_everything<D: Metric>(
    (reader, rtxn, model, rng): (&Reader<'_, D>, &RoTxn<'_>, &Model, &mut StdRng),
    ks: &[usize],
    ef: usize,
    answered: impl Fn(&str, usize, Searched, &Oracle<D>),
) {
    let warm = reader.warm(rtxn).unwrap();
    let queries = [vector::<D>(rng, reader.dimensions()), model.values().last().cloned().unwrap_or(vector::<D>(rng, reader.dimensions()))];
    let candidates: RoaringBitmap = (0..4000).filter(|_| rng.random_bool(0.5)).collect();
    for &k in ks {
        let by = || {
            let mut by = reader.nns(k);
            by.ef_search(ef);
            by
        };
        let warm_by = || {
            let mut by = warm.nns(k);
            by.ef_search(ef);
            by
        };
        for query in &queries {
            let oracle = Oracle::<D>::new(model, query, |_| true);
            answered("by vector", k, by().by_vector(rtxn, query).unwrap(), &oracle);
            answered("by vector, warm", k, warm_by().by_vector(query).unwrap(), &oracle);
            answered("exactly", k, by().exact().by_vector(rtxn, query).unwrap(), &oracle);
            let oracle = Oracle::<D>::new(model, query, |id| candidates.contains(id));
            answered("among candidates", k, by().candidates(&candidates).by_vector(rtxn, query).unwrap(), &oracle);
            answered("among candidates, warm", k, warm_by().candidates(&candidates).by_vector(query).unwrap(), &oracle);
            answered("exactly among candidates", k, by().candidates(&candidates).exact().by_vector(rtxn, query).unwrap(), &oracle);
        }
        for id in [0, 1, 3, 4, 9, 1000, 1003] {
            let found = by().by_item(rtxn, id).unwrap();
            assert_eq!(found.is_some(), model.contains_key(&id), "an answer for item {id}");
            let Some(found) = found else { continue };
            let oracle = Oracle::<D>::new(model, &model[&id], |other| other != id);
            answered("by item", k, found, &oracle);
            answered("by item, warm", k, warm_by().by_item(id).unwrap().unwrap(), &oracle);
            let oracle = Oracle::<D>::new(model, &model[&id], |other| other != id && candidates.contains(other));
            answered("by item among candidates", k, by().candidates(&candidates).by_item(rtxn, id).unwrap().unwrap(), &oracle);
        }
    }
}

#[test]
fn every_answer_after_a_commit_is_what_an_exact_model_says() {
    fn run<D: Metric>() {
        let all = mixes::<D>().into_iter().chain(total_mixes::<D>()).collect();
        after_each::<D>(all, (40, 20), |what, reader, rtxn, model, rng| {
            ask_everything((reader, rtxn, model, rng), &[1, 7, 200], 100, |how, k, found, oracle| {
                oracle.assert_exact(k, &found.nns, &format!("{what}, {how}, {:?}", found.strategy));
            });
        });
    }
    for_every_metric!(run);
}

#[test]
fn a_walk_of_the_whole_graph_and_what_is_pending_is_what_an_exact_model_says() {
    fn run<D: Metric>() {
        // Vectors that are so long that walking over all of them is estimated to cost less than scanning them.
        let shape = if is_binary::<D>() { (12, 65_535) } else { (30, 5000) };
        let mixes = mixes::<D>().into_iter().filter(|(name, _)| !is_binary::<D>() || !name.contains("and"));
        after_each::<D>(mixes.collect(), shape, |what, reader, rtxn, model, rng| {
            let queries = [vector::<D>(rng, shape.1), model.values().next().unwrap().clone()];
            let linked = reader.n_items() - reader.n_pending();
            for query in &queries {
                let oracle = Oracle::<D>::new(model, query, |_| true);
                let found = reader.nns(model.len()).ef_search(1).by_vector(rtxn, query).unwrap();
                if linked >= 12 && !is_binary::<D>() {
                    assert_eq!(found.strategy, Strategy::Graph, "{what}");
                }
                oracle.assert_exact(model.len(), &found.nns, what);
            }
            for id in [2, 7, 1000] {
                let Some(found) = reader.nns(model.len()).ef_search(1).by_item(rtxn, id).unwrap() else { continue };
                let oracle = Oracle::<D>::new(model, &model[&id], |other| other != id);
                oracle.assert_exact(model.len(), &found.nns, &format!("{what}, by item {id}, {:?}", found.strategy));
            }
        });
    }
    for_every_metric!(run);
}

#[test]
fn a_narrow_walk_misses_nothing_that_is_pending_and_finds_nothing_that_was_deleted() {
    fn run<D: Metric>() {
        let shape = if is_binary::<D>() { (600, 6000) } else { (700, 200) };
        after_each::<D>(mixes::<D>(), shape, |what, reader, rtxn, model, rng| {
            let linked: Vec<ItemId> = model.keys().copied().filter(|id| *id < 1000).collect();
            for _ in 0..6 {
                let query = vector::<D>(rng, shape.1);
                let oracle = Oracle::<D>::new(model, &query, |_| true);
                let found = reader.nns(10).ef_search(10).by_vector(rtxn, &query).unwrap();
                if linked.len() > 100 {
                    assert_eq!(found.strategy, Strategy::Graph, "{what}");
                }
                oracle.assert_plausible(10, &found.nns, what);
                // Everything from 1000 on was added and not built: these are compared one by one.
                let nearest = oracle.all.iter().take(10).filter(|(id, _)| *id >= 1000);
                for (id, distance) in nearest {
                    assert!(found.nns.iter().any(|(other, _)| other == id), "{what}: item {id} at {distance} is missing: {found:?}");
                }
            }
            for id in [5, 6, 1001] {
                let Some(found) = reader.nns(10).ef_search(10).by_item(rtxn, id).unwrap() else { continue };
                Oracle::<D>::new(model, &model[&id], |other| other != id).assert_plausible(10, &found.nns, what);
            }
        });
    }
    for_every_metric!(run);
}

#[test]
fn items_that_were_never_built_are_found() {
    fn run<D: Metric>() {
        let mut rng = rng();
        let (_dir, env) = new_env();
        let db = create::<D>(&env);
        let mut model = Model::new();
        for round in 0..3 {
            let change: fn(&mut Edit<'_, D>) = match round {
                0 => |edit| edit.add(0..30),
                1 => |edit| edit.add(20..60),
                _ => |edit| edit.delete(10..40),
            };
            commit(&env, (Writer::new(db, 0, 4), 4), &mut model, &mut rng, change);
            let rtxn = env.read_txn().unwrap();
            check_holds(&rtxn, db, 0, &model);
            let reader = Reader::<D>::open(&rtxn, 0, db).unwrap();
            assert_eq!(reader.n_pending(), model.len() as u64);
            ask_everything((&reader, &rtxn, &model, &mut rng), &[1, 5, 100], 10, |how, k, found, oracle| {
                oracle.assert_exact(k, &found.nns, how);
            });
        }
    }
    for_every_metric!(run);
}

/// Random changes and builds, commit after commit, to an index of items below `ids`, at most `changes` at a time.
fn change_at_random<D: Metric>(rng: &mut StdRng, rounds: usize, (ids, changes): (u32, usize), (m, m0): (usize, usize)) {
    let (_dir, env) = new_env();
    let db = create::<D>(&env);
    let writer = Writer::<D>::new(db, 0, 12);
    let mut model = Model::new();
    for round in 0..rounds {
        let mut wtxn = env.write_txn().unwrap();
        // Times of growth and times of decline, down to nothing.
        let added = if round / 10 % 2 == 0 { 0.7 } else { 0.3 };
        for _ in 0..rng.random_range(1..=changes) {
            let id = rng.random_range(0..ids);
            if rng.random_bool(added) {
                let vector = vector::<D>(rng, 12);
                writer.add_item(&mut wtxn, id, &vector).unwrap();
                model.insert(id, vector);
            } else {
                assert_eq!(writer.del_item(&mut wtxn, id).unwrap(), model.remove(&id).is_some());
            }
        }
        if rng.random_bool(0.02) {
            writer.del_items(&mut wtxn, 0..ids).unwrap();
            model.clear();
        }
        if rng.random_bool(0.5) {
            writer.builder(rng).ef_construction(20).build_with(&mut wtxn, m, m0).unwrap();
        }
        wtxn.commit().unwrap();
        let what = format!("{} M {m} M0 {m0}, {ids} ids, round {round}", D::name());
        println!("{what}");
        let rtxn = env.read_txn().unwrap();
        check_holds(&rtxn, db, 0, &model);
        let reader = Reader::<D>::open(&rtxn, 0, db).unwrap();
        ask_everything((&reader, &rtxn, &model, rng), &[3, 2000], 200, |how, k, found, oracle| {
            oracle.assert_exact(k, &found.nns, &format!("{what}, {how}, {:?}", found.strategy));
        });
    }
}

#[test]
fn commit_after_commit_of_random_changes_every_answer_is_right() {
    fn run<D: Metric>() {
        let mut rng = rng();
        change_at_random::<D>(&mut rng, 25, (150, 60), (4, 8));
    }
    for_every_metric!(run);
    let mut rng = rng();
    type D = voisin::distances::Euclidean;
    // Few items and many, lists as short as they may be, and no room for a list to shrink.
    for (shape, connectivity) in [((12, 8), (2, 2)), ((150, 60), (2, 3)), ((700, 300), (2, 2)), ((700, 300), (16, 32)), ((400, 20), (3, 60))] {
        change_at_random::<D>(&mut rng, 60, shape, connectivity);
    }
}
