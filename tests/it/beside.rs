//! A concurrent build links the graph that it has computed, whatever others commit meanwhile.
//!
//! Another thread makes those commits after the build has begun to link, and before it continues:
//! every build here meets them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use voisin::codec::{F16, I8};
use voisin::distances::{BinaryQuantizedEuclidean, Cosine, Euclidean};
use voisin::heed::RwTxn;
use voisin::{Error, Phase, Reader, Writer};

use crate::common::{
    Env, Metric, Model, Oracle, add, build, check_holds, create, for_every_metric, new_env, seed,
    vector, vectors,
};

const DIMENSIONS: usize = 12;

/// Builds concurrently; `meanwhile` runs on another thread, once, after the commit that the build
/// works on and before it links.
fn build_beside<D: Metric>(
    env: &Env,
    writer: &Writer<'_, D>,
    meanwhile: impl FnOnce() + Send,
) -> voisin::Result<()> {
    let is_first = AtomicBool::new(true);
    let meanwhile = std::sync::Mutex::new(Some(meanwhile));
    let progress = |progress: voisin::Progress| {
        if progress.phase == Phase::Linking && is_first.swap(false, Ordering::SeqCst) {
            let meanwhile = meanwhile.lock().unwrap().take().unwrap();
            // Not as a part of this build, so that builds of its own may use several threads.
            std::thread::scope(|scope| scope.spawn(meanwhile).join().unwrap());
        }
    };
    let mut rng = StdRng::seed_from_u64(42);
    let mut builder = writer.builder(&mut rng);
    let result = builder.ef_construction(40).progress(progress).build_concurrently::<8, 16>(env);
    assert!(!is_first.load(Ordering::SeqCst), "nothing was committed meanwhile");
    result
}

fn commit(env: &Env, change: impl FnOnce(&mut RwTxn<'_>)) {
    let mut wtxn = env.write_txn().unwrap();
    change(&mut wtxn);
    wtxn.commit().unwrap();
}

/// That the index holds the model, and that a walk finds all of it, once all is built.
fn holds<D: Metric>(env: &Env, db: voisin::Database<'_, D>, writer: &Writer<'_, D>, model: &Model) {
    check_holds(&env.read_txn().unwrap(), db, 3, model);
    commit(env, |wtxn| build(writer, wtxn));
    let rtxn = env.read_txn().unwrap();
    check_holds(&rtxn, db, 3, model);
    let Ok(reader) = Reader::open(&rtxn, 3, db) else { return };
    for vector in model.values().step_by(7) {
        let found = reader.nns(5).ef_search(200).walk_graph().by_vector(&rtxn, vector).unwrap();
        Oracle::<D>::new(model, vector, |_| true).assert_plausible(5, &found.nns, "walk");
    }
}

#[test]
fn nothing_is_lost_of_what_is_committed_meanwhile() {
    fn run<D: Metric>() {
        let mut rng = StdRng::seed_from_u64(seed());
        let (_dir, env) = new_env();
        let db = create::<D>(&env);
        let writer = Writer::<D>::new(db, 3, DIMENSIONS);
        commit(&env, |wtxn| D::prepare(&writer, wtxn));
        let mut model = Model::new();
        for round in 0..6 {
            // Something to link and something to take out.
            let fresh = vectors::<D>(&mut rng, round * 300..round * 300 + 400, DIMENSIONS);
            commit(&env, |wtxn| {
                add(&writer, wtxn, &fresh);
                model.extend(fresh);
                for id in (0..50).map(|_| rng.random_range(0..(round + 1) * 300)) {
                    assert_eq!(writer.del_item(wtxn, id).unwrap(), model.remove(&id).is_some());
                }
            });
            build_beside(&env, &writer, || {
                for _ in 0..rng.random_range(1..6) {
                    commit(&env, |wtxn| {
                        for _ in 0..rng.random_range(1..60) {
                            let id = rng.random_range(0..(round + 1) * 300 + 200);
                            if rng.random_bool(0.5) {
                                assert_eq!(
                                    writer.del_item(wtxn, id).unwrap(),
                                    model.remove(&id).is_some()
                                );
                            } else {
                                let vector = vector::<D>(&mut rng, DIMENSIONS);
                                writer.add_item(wtxn, id, &vector).unwrap();
                                model.insert(id, vector);
                            }
                        }
                        if rng.random_bool(0.5) {
                            build(&writer, wtxn);
                        }
                    });
                }
            })
            .unwrap();
            check_holds(&env.read_txn().unwrap(), db, 3, &model);
            // The items of the computed graph are in it.
            let rtxn = env.read_txn().unwrap();
            let reader = Reader::open(&rtxn, 3, db).unwrap();
            assert!(
                reader.n_pending() <= 6 * 60,
                "{} pending of {}",
                reader.n_pending(),
                model.len()
            );
        }
        holds(&env, db, &writer, &model);
    }
    for_every_metric!(run);
    run::<Euclidean<F16>>();
    run::<Euclidean<I8>>();
    run::<BinaryQuantizedEuclidean>();
}

#[test]
fn what_changes_everything_meanwhile_is_built_upon() {
    type Change = fn(&Writer<'_, Cosine>, &mut RwTxn<'_>, &mut Model);
    let optimize: Change = |writer, wtxn, _| {
        writer.builder(&mut StdRng::seed_from_u64(1)).optimize::<8, 16>(wtxn).unwrap();
    };
    let clear: Change = |writer, wtxn, model| {
        writer.clear(wtxn).unwrap();
        model.clear();
    };
    let start_again: Change = |writer, wtxn, model| {
        writer.clear(wtxn).unwrap();
        *model = vectors::<Cosine>(&mut StdRng::seed_from_u64(9), 100..900, DIMENSIONS);
        add(writer, wtxn, model);
    };
    let rebuild: Change = |writer, wtxn, _| {
        writer.builder(&mut StdRng::seed_from_u64(1)).force_rebuild::<8, 16>(wtxn).unwrap();
    };
    let delete_most: Change = |writer, wtxn, model| {
        let all: Vec<u32> = model.keys().copied().filter(|id| id % 5 > 0).collect();
        writer.del_items(wtxn, all).unwrap();
        model.retain(|id, _| id % 5 == 0);
    };
    for change in [optimize, clear, start_again, rebuild, delete_most] {
        for linked_before in [0, 700] {
            let mut rng = StdRng::seed_from_u64(seed());
            let (_dir, env) = new_env();
            let db = create::<Cosine>(&env);
            let writer = Writer::<Cosine>::new(db, 3, DIMENSIONS);
            let mut model = vectors::<Cosine>(&mut rng, 0..1500, DIMENSIONS);
            commit(&env, |wtxn| {
                add(
                    &writer,
                    wtxn,
                    &model
                        .range(..linked_before)
                        .map(|(id, vector)| (*id, vector.clone()))
                        .collect(),
                );
                build(&writer, wtxn);
                add(
                    &writer,
                    wtxn,
                    &model
                        .range(linked_before..)
                        .map(|(id, vector)| (*id, vector.clone()))
                        .collect(),
                );
            });
            build_beside(&env, &writer, || commit(&env, |wtxn| change(&writer, wtxn, &mut model)))
                .unwrap();
            holds(&env, db, &writer, &model);
        }
    }
}

#[test]
fn errors_leave_everything_as_it_was() {
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let writer = Writer::<Euclidean>::new(db, 3, DIMENSIONS);
    let mut rng = StdRng::seed_from_u64(seed());
    // An index that does not exist is created, as by a build.
    writer.builder(&mut rng).build_concurrently::<8, 16>(&env).unwrap();
    let mut model = vectors::<Euclidean>(&mut rng, 0..600, DIMENSIONS);
    commit(&env, |wtxn| add(&writer, wtxn, &model));
    assert!(matches!(
        writer.builder(&mut rng).build_concurrently::<1, 16>(&env),
        Err(Error::InvalidParameter { name: "M", .. })
    ));
    let other = writer.builder(&mut rng).build_concurrently::<4, 16>(&env);
    assert!(matches!(other, Err(Error::ConnectivityMismatch { stored_m: 8, m: 4, .. })));
    let cancelled = writer.builder(&mut rng).cancel(|| true).build_concurrently::<8, 16>(&env);
    assert!(matches!(cancelled, Err(Error::Cancelled)));
    check_holds(&env.read_txn().unwrap(), db, 3, &model);
    assert_eq!(writer.n_pending(&env.read_txn().unwrap()).unwrap(), 600);
    // Another first build has decided the connectivity meanwhile.
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let writer = Writer::<Euclidean>::new(db, 3, DIMENSIONS);
    commit(&env, |wtxn| add(&writer, wtxn, &model));
    let result = build_beside(&env, &writer, || {
        commit(&env, |wtxn| {
            writer.add_item(wtxn, 9000, &[1.0; DIMENSIONS]).unwrap();
            writer.builder(&mut StdRng::seed_from_u64(1)).build::<4, 8>(wtxn).unwrap();
        });
    });
    assert!(
        matches!(result, Err(Error::ConnectivityMismatch { stored_m: 4, m: 8, .. })),
        "{result:?}"
    );
    model.insert(9000, vec![1.0; DIMENSIONS]);
    check_holds(&env.read_txn().unwrap(), db, 3, &model);
}

/// No time is measured: a build that held the lock of writers while it looks for neighbors would
/// wait for a commit that waits for it.
#[test]
fn a_writer_waits_for_the_linking_only() {
    const ITEMS: u32 = 6000;
    /// A commit is made each time that so many more neighbors have been found.
    const EVERY: u64 = 500;
    /// Far beyond what a commit of one item takes on a machine that does other things.
    const PATIENCE: Duration = Duration::from_secs(60);
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let writer = Writer::<Euclidean>::new(db, 3, 64);
    let mut rng = StdRng::seed_from_u64(seed());
    let mut model = vectors::<Euclidean>(&mut rng, 0..ITEMS, 64);
    commit(&env, |wtxn| add(&writer, wtxn, &model));
    let (ask, asked) = channel();
    let (answer, answers) = channel();
    let late = AtomicBool::new(false);
    let commits = std::thread::scope(|scope| {
        let committing = scope.spawn(|| {
            let mut commits = 0;
            for () in asked {
                commit(&env, |wtxn| {
                    let fresh = vector::<Euclidean>(&mut rng, 64);
                    writer.add_item(wtxn, 10_000 + commits, &fresh).unwrap();
                    model.insert(10_000 + commits, fresh);
                });
                commits += 1;
                _ = answer.send(());
            }
            commits
        });
        let both = Mutex::new((ask, answers));
        let progress = |progress: voisin::Progress| {
            if progress.phase == Phase::Linking
                && progress.done.is_multiple_of(EVERY)
                && !late.load(Ordering::SeqCst)
            {
                let both = both.lock().unwrap();
                both.0.send(()).unwrap();
                late.store(both.1.recv_timeout(PATIENCE).is_err(), Ordering::SeqCst);
            }
        };
        let mut seeded = StdRng::seed_from_u64(1);
        writer
            .builder(&mut seeded)
            .ef_construction(100)
            .progress(progress)
            .build_concurrently::<8, 16>(&env)
            .unwrap();
        drop(both);
        committing.join().unwrap()
    });
    assert!(!late.into_inner(), "a commit waits for neighbors to be found");
    assert!(u64::from(commits) >= u64::from(ITEMS) / EVERY, "{commits} commits");
    // What is committed meanwhile is pending, and nothing else is.
    assert_eq!(writer.n_pending(&env.read_txn().unwrap()).unwrap(), u64::from(commits));
    holds(&env, db, &writer, &model);
}
