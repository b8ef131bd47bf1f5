//! Readers of one process see only committed states, each complete, while a writer keeps writing.
//!
//! One thread adds, deletes, builds and commits; the others open a snapshot, query it, and compare
//! every answer with the state that the snapshot claims to be. The number of that state is the
//! first component of a dedicated item, so that it is committed with the rest.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use voisin::distances::Euclidean;
use voisin::heed::EnvOpenOptions;
use voisin::roaring::RoaringBitmap;
use voisin::{ItemId, Reader, Strategy, Writer};

use crate::common::{Model, Oracle, check, create, seed, vector};

const DIMENSIONS: usize = 200;
const READERS: u64 = 4;
const COMMITS: u64 = 60;
/// The item that counts commits. So far away from all others that it is no one's neighbor.
const COUNTER: ItemId = 1_000_000;

fn counter(commit: u64) -> Vec<f32> {
    let mut vector = vec![1000.0; DIMENSIONS];
    vector[0] = commit as f32;
    vector
}

/// All states that may be seen, by the number of their commit.
type States = Mutex<Vec<Arc<Model>>>;

/// Changes the state, hands it over, and commits, again and again.
fn write(
    env: &voisin::heed::Env,
    db: voisin::Database<'_, Euclidean>,
    states: &States,
    mut rng: StdRng,
) {
    let writer = Writer::<Euclidean>::new(db, 0, DIMENSIONS);
    for commit in 1..=COMMITS {
        let mut model = (**states.lock().unwrap().last().unwrap()).clone();
        let mut wtxn = env.write_txn().unwrap();
        for _ in 0..rng.random_range(0..40) {
            let id = rng.random_range(0..700);
            if rng.random_bool(0.6) {
                let new = vector::<Euclidean>(&mut rng, DIMENSIONS);
                writer.add_item(&mut wtxn, id, &new).unwrap();
                model.insert(id, new);
            } else {
                assert_eq!(writer.del_item(&mut wtxn, id).unwrap(), model.remove(&id).is_some());
            }
        }
        writer.add_item(&mut wtxn, COUNTER, &counter(commit)).unwrap();
        model.insert(COUNTER, counter(commit));
        if rng.random_bool(0.5) {
            writer.builder(&mut rng).ef_construction(20).build::<6, 12>(&mut wtxn).unwrap();
        }
        if rng.random_bool(0.2) {
            wtxn.abort();
            // What is not committed must never be seen: the same number again, for another state.
            let mut wtxn = env.write_txn().unwrap();
            let mut model = (**states.lock().unwrap().last().unwrap()).clone();
            writer.add_item(&mut wtxn, COUNTER, &counter(commit)).unwrap();
            model.insert(COUNTER, counter(commit));
            states.lock().unwrap().push(Arc::new(model));
            wtxn.commit().unwrap();
        } else {
            // Before the commit: whoever sees it finds it here.
            states.lock().unwrap().push(Arc::new(model));
            wtxn.commit().unwrap();
        }
        // Which states the other threads meet is a matter of luck; each is asked once here.
        assert_eq!(read(env, db, states, &mut StdRng::seed_from_u64(commit)), commit);
    }
}

/// Opens a snapshot and compares what it says with the state that it is. Returns its number.
fn read(
    env: &voisin::heed::Env,
    db: voisin::Database<'_, Euclidean>,
    states: &States,
    rng: &mut StdRng,
) -> u64 {
    let rtxn = env.read_txn().unwrap();
    let reader = Reader::<Euclidean>::open(&rtxn, 0, db).unwrap();
    let number = reader.item_vector(&rtxn, COUNTER).unwrap().unwrap()[0] as u64;
    let model = states.lock().unwrap()[number as usize].clone();
    let what = format!("commit {number}");
    assert_eq!(reader.n_items(), model.len() as u64, "{what}");
    for _ in 0..3 {
        let query = vector::<Euclidean>(rng, DIMENSIONS);
        let oracle = Oracle::<Euclidean>::new(&model, &query, |_| true);
        let walked = reader.nns(10).ef_search(10).walk_graph().by_vector(&rtxn, &query).unwrap();
        assert_eq!(walked.strategy, Strategy::Graph, "{what}");
        oracle.assert_plausible(10, &walked.nns, &what);
        oracle.assert_exact(
            10,
            &reader.nns(10).exact().by_vector(&rtxn, &query).unwrap().nns,
            &what,
        );
        let candidates: RoaringBitmap = (0..700).filter(|_| rng.random_bool(0.1)).collect();
        let found = reader.nns(10).candidates(&candidates).by_vector(&rtxn, &query).unwrap();
        Oracle::<Euclidean>::new(&model, &query, |id| candidates.contains(id))
            .assert_exact(10, &found.nns, &what);
        let item = rng.random_range(0..700);
        let found = reader.nns(10).ef_search(10).by_item(&rtxn, item).unwrap();
        assert_eq!(found.is_some(), model.contains_key(&item), "{what}");
        if let Some(found) = found {
            Oracle::<Euclidean>::new(&model, &model[&item], |id| id != item)
                .assert_plausible(10, &found.nns, &what);
        }
    }
    if rng.random_bool(0.1) {
        let stored: Model = reader.iter(&rtxn).unwrap().collect::<voisin::Result<_>>().unwrap();
        assert!(stored == *model, "{what}: the items are those of the commit");
        assert_eq!(voisin::check(&rtxn, 0, db).unwrap(), [], "{what}");
    }
    // The snapshot is still the same, however many commits there have been meanwhile.
    assert_eq!(reader.item_vector(&rtxn, COUNTER).unwrap(), Some(counter(number)));
    number
}

#[test]
fn every_answer_belongs_to_one_committed_state() {
    let seed = seed();
    let dir = tempfile::tempdir().unwrap();
    // SAFETY: the directory is new, so no one else has its map open or writes to its files.
    let env = unsafe { EnvOpenOptions::new().map_size(1 << 30).open(dir.path()) }.unwrap();
    let db = create::<Euclidean>(&env);
    let mut rng = StdRng::seed_from_u64(seed);
    let mut first: Model =
        (0..600).map(|id| (id, vector::<Euclidean>(&mut rng, DIMENSIONS))).collect();
    first.insert(COUNTER, counter(0));
    let writer = Writer::<Euclidean>::new(db, 0, DIMENSIONS);
    let mut wtxn = env.write_txn().unwrap();
    crate::common::add(&writer, &mut wtxn, &first);
    writer.builder(&mut rng).ef_construction(20).build::<6, 12>(&mut wtxn).unwrap();
    wtxn.commit().unwrap();

    let states: States = Mutex::new(vec![Arc::new(first)]);
    let (is_done, snapshots) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..READERS {
            let (env, states, is_done, snapshots) = (&env, &states, &is_done, &snapshots);
            scope.spawn(move || {
                let mut rng = StdRng::seed_from_u64(seed + 1 + thread);
                let mut last = 0;
                loop {
                    // Asked before the snapshot is opened, so that the last state is seen by all.
                    let is_last = is_done.load(Ordering::SeqCst);
                    let number = read(env, db, states, &mut rng);
                    assert!(
                        number >= last,
                        "a later snapshot is of commit {number}, an earlier one of {last}"
                    );
                    last = number;
                    snapshots.fetch_add(1, Ordering::Relaxed);
                    if is_last {
                        break;
                    }
                }
                assert_eq!(last, COMMITS);
            });
        }
        let writing = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            write(&env, db, &states, rng)
        }));
        is_done.store(true, Ordering::SeqCst);
        writing.unwrap();
    });
    println!("{} snapshots of {COMMITS} commits", snapshots.load(Ordering::Relaxed));
    check(&env.read_txn().unwrap(), db, 0);
}
