//! Pending changes: an item that was added, replaced or deleted is right in every answer from its
//! commit on, linked by a build or not.

use rand::RngExt;
use rand::rngs::StdRng;
use voisin::heed::{RoTxn, RwTxn};
use voisin::roaring::RoaringBitmap;
use voisin::{ItemId, QueryBuilder, Reader, Searched, Writer};

use crate::common::{
    Env, Metric, Model, Oracle, add, build_index, check_holds, create, for_every_metric, new_env,
    rng, vector, vectors,
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
            assert_eq!(
                self.writer.del_item(&mut self.wtxn, id).unwrap(),
                self.model.remove(&id).is_some()
            );
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
            let same: Model =
                edit.model.iter().take(6).map(|(id, vector)| (*id, vector.clone())).collect();
            add(&edit.writer, &mut edit.wtxn, &same);
        }),
        ("added next to a built one", |edit| {
            let twins: Model =
                edit.model.iter().take(6).map(|(id, vector)| (id + 1000, vector.clone())).collect();
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

/// Builds an index of `count` items, applies each mix to a copy of it, commits, and hands reader
/// and model over.
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

/// The ways to an answer.
#[derive(Debug, Clone, Copy)]
enum Way {
    Planned,
    Walk,
    Exact,
}

const WAYS: [Way; 3] = [Way::Planned, Way::Walk, Way::Exact];

fn on<'a, R>(way: Way, mut by: QueryBuilder<'a, R>, ef: usize) -> QueryBuilder<'a, R> {
    by.ef_search(ef);
    match way {
        Way::Planned => {}
        Way::Walk => _ = by.walk_graph(),
        Way::Exact => _ = by.exact(),
    }
    by
}

/// Asks by vector, by item, and among candidates, on all ways, each through the transaction and
/// warm, and hands over every answer.
fn ask_everything<D: Metric>(
    (reader, rtxn, model, rng): (&Reader<'_, D>, &RoTxn<'_>, &Model, &mut StdRng),
    ks: &[usize],
    ef: usize,
    answered: impl Fn(&str, usize, Searched, &Oracle<D>),
) {
    let warm = reader.warm(rtxn).unwrap();
    let queries = [
        vector::<D>(rng, reader.dimensions()),
        model.values().last().cloned().unwrap_or(vector::<D>(rng, reader.dimensions())),
    ];
    let candidates: RoaringBitmap = (0..4000).filter(|_| rng.random_bool(0.5)).collect();
    let items = [0, 1, 3, 4, 9, 1000, 1003];
    for (&k, way) in ks.iter().flat_map(|k| WAYS.map(|way| (k, way))) {
        let (by, by_warm) = (on(way, reader.nns(k), ef), on(way, warm.nns(k), ef));
        let (mut among, mut among_warm) = (by.clone(), by_warm.clone());
        among.candidates(&candidates);
        among_warm.candidates(&candidates);
        let answered = |what: &str, found: Searched, found_warm: Searched, oracle: &Oracle<D>| {
            assert_eq!(found, found_warm, "{what}, {way:?}: a warm reader gives the same answer");
            answered(&format!("{what}, {way:?} by {:?}", found.strategy), k, found, oracle);
        };
        for query in &queries {
            let oracle = Oracle::<D>::new(model, query, |_| true);
            answered(
                "by vector",
                by.by_vector(rtxn, query).unwrap(),
                by_warm.by_vector(query).unwrap(),
                &oracle,
            );
            let oracle = Oracle::<D>::new(model, query, |id| candidates.contains(id));
            answered(
                "among candidates",
                among.by_vector(rtxn, query).unwrap(),
                among_warm.by_vector(query).unwrap(),
                &oracle,
            );
        }
        for id in items {
            let (found, found_warm) = (by.by_item(rtxn, id).unwrap(), by_warm.by_item(id).unwrap());
            assert_eq!(
                (found.is_some(), found_warm.is_some()),
                (model.contains_key(&id), model.contains_key(&id)),
                "an answer for item {id}"
            );
            let Some(found) = found else { continue };
            let oracle = Oracle::<D>::new(model, &model[&id], |other| other != id);
            answered("by item", found, found_warm.unwrap(), &oracle);
            let (found, found_warm) =
                (among.by_item(rtxn, id).unwrap(), among_warm.by_item(id).unwrap());
            let oracle = Oracle::<D>::new(model, &model[&id], |other| {
                other != id && candidates.contains(other)
            });
            answered("by item among candidates", found.unwrap(), found_warm.unwrap(), &oracle);
        }
    }
}

#[test]
fn every_answer_after_a_commit_is_what_an_exact_model_says() {
    fn run<D: Metric>() {
        let all = mixes::<D>().into_iter().chain(total_mixes::<D>()).collect();
        after_each::<D>(all, (40, 20), |what, reader, rtxn, model, rng| {
            ask_everything(
                (reader, rtxn, model, rng),
                &[1, 7, 200],
                100,
                |how, k, found, oracle| {
                    oracle.assert_exact(k, &found.nns, &format!("{what}, {how}"));
                },
            );
        });
    }
    for_every_metric!(run);
}

#[test]
fn a_narrow_walk_misses_nothing_that_is_pending_and_finds_nothing_that_was_deleted() {
    fn run<D: Metric>() {
        after_each::<D>(mixes::<D>(), (300, 24), |what, reader, rtxn, model, rng| {
            ask_everything((reader, rtxn, model, rng), &[1, 10], 1, |how, k, found, oracle| {
                let what = format!("{what}, {how}, k {k}");
                oracle.assert_plausible(k, &found.nns, &what);
                // Everything from 1000 on was added and not built: these are compared one by one.
                let mut nearest = oracle.all.iter().take(k).filter(|(id, _)| *id >= 1000);
                let is_missing =
                    |(id, _): &&(ItemId, f32)| !found.nns.iter().any(|(other, _)| other == id);
                assert_eq!(nearest.find(is_missing), None, "{what}: it is not in {found:?}");
            });
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
            ask_everything(
                (&reader, &rtxn, &model, &mut rng),
                &[1, 5, 100],
                100,
                |how, k, found, oracle| {
                    oracle.assert_exact(k, &found.nns, how);
                },
            );
        }
    }
    for_every_metric!(run);
}

/// Random changes and builds, commit after commit.
#[derive(Debug, Clone, Copy)]
struct Churn {
    rounds: usize,
    dimensions: usize,
    /// All items are below.
    ids: u32,
    /// At most so many a commit.
    changes: usize,
    m: usize,
    m0: usize,
}

impl Churn {
    fn run<D: Metric>(self, rng: &mut StdRng) {
        let Self { rounds, dimensions, ids, changes, m, m0 } = self;
        let (_dir, env) = new_env();
        let db = create::<D>(&env);
        let writer = Writer::<D>::new(db, 0, dimensions);
        let mut model = Model::new();
        for round in 0..rounds {
            let mut wtxn = env.write_txn().unwrap();
            // Times of growth and times of decline, down to nothing.
            let added = if round / 10 % 2 == 0 { 0.7 } else { 0.3 };
            if round == 0 {
                let first = vector::<D>(rng, dimensions);
                writer.add_item(&mut wtxn, 0, &first).unwrap();
                model.insert(0, first);
            }
            for _ in 0..rng.random_range(1..=changes) {
                let id = rng.random_range(0..ids);
                if rng.random_bool(added) {
                    let vector = vector::<D>(rng, dimensions);
                    writer.add_item(&mut wtxn, id, &vector).unwrap();
                    model.insert(id, vector);
                } else {
                    assert_eq!(
                        writer.del_item(&mut wtxn, id).unwrap(),
                        model.remove(&id).is_some()
                    );
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
            let what = format!("{} {self:?}, round {round}", D::name());
            println!("{what}");
            let rtxn = env.read_txn().unwrap();
            check_holds(&rtxn, db, 0, &model);
            let reader = Reader::<D>::open(&rtxn, 0, db).unwrap();
            ask_everything(
                (&reader, &rtxn, &model, rng),
                &[3, 2000],
                2000,
                |how, k, found, oracle| {
                    oracle.assert_exact(k, &found.nns, &format!("{what}, {how}"));
                },
            );
        }
    }
}

#[test]
fn commit_after_commit_of_random_changes_every_answer_is_right() {
    fn run<D: Metric>() {
        Churn { rounds: 20, dimensions: 12, ids: 150, changes: 60, m: 4, m0: 8 }
            .run::<D>(&mut rng());
    }
    for_every_metric!(run);
}

#[test]
fn churn_of_any_size_with_lists_of_any_length_keeps_every_answer_right() {
    let mut rng = rng();
    let churn = Churn { rounds: 40, dimensions: 12, ids: 150, changes: 60, m: 2, m0: 3 };
    // Few items and many, lists as short as they may be, hardly any change, and blocks of vectors
    // that are rewritten for those that follow.
    for churn in [
        churn,
        Churn { ids: 12, changes: 8, m0: 2, ..churn },
        Churn { ids: 500, changes: 300, m0: 2, ..churn },
        Churn { ids: 500, changes: 300, m: 16, m0: 32, ..churn },
        Churn { ids: 300, changes: 10, m: 3, m0: 60, ..churn },
        Churn { dimensions: 1000, ids: 100, changes: 90, m: 4, m0: 8, ..churn },
    ] {
        churn.run::<voisin::distances::Euclidean>(&mut rng);
    }
}

/// A build that changes a tiny part of an index takes another path through memory.
#[test]
fn single_changes_to_a_large_index_are_linked_and_taken_out() {
    type D = voisin::distances::Euclidean;
    let mut rng = rng();
    let (_dir, env) = new_env();
    let db = create::<D>(&env);
    let mut model = vectors::<D>(&mut rng, 0..4500, 12);
    build_index(&env, db, 0, &model);
    let writer = Writer::<D>::new(db, 0, 12);
    for round in 0..15 {
        let mut wtxn = env.write_txn().unwrap();
        let (id, new) = (rng.random_range(0..4600), vector::<D>(&mut rng, 12));
        if round % 3 < 2 {
            writer.add_item(&mut wtxn, id, &new).unwrap();
            model.insert(id, new);
        }
        if round % 3 > 0 {
            let gone = rng.random_range(0..4600);
            assert_eq!(writer.del_item(&mut wtxn, gone).unwrap(), model.remove(&gone).is_some());
        }
        crate::common::build(&writer, &mut wtxn);
        wtxn.commit().unwrap();
        let rtxn = env.read_txn().unwrap();
        let reader = Reader::<D>::open(&rtxn, 0, db).unwrap();
        assert_eq!((reader.n_items(), reader.n_pending()), (model.len() as u64, 0));
        if round % 5 == 4 {
            check_holds(&rtxn, db, 0, &model);
        } else {
            assert_eq!(voisin::check(&rtxn, 0, db).unwrap(), []);
        }
        let query = vector::<D>(&mut rng, 12);
        let found = reader.nns(5000).ef_search(5000).walk_graph().by_vector(&rtxn, &query).unwrap();
        Oracle::<D>::new(&model, &query, |_| true).assert_exact(
            5000,
            &found.nns,
            &format!("round {round}"),
        );
    }
}
