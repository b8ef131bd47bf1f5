//! A process that is killed at any moment leaves exactly the state of its last commit.
//!
//! The parent runs this test binary again as a child, which changes an index round by round: adds,
//! replaces, deletes, builds, commits, and acknowledges each commit over a pipe. A round depends
//! only on its seed and number, and one seed makes one graph: the parent does the same in an
//! environment of its own, and so knows every byte. It kills the child (SIGKILL) at a random moment
//! of a random phase, opens the environment again, and must find the database of the last commit
//! that was acknowledged, or of the one in flight. The next child continues from there.
//!
//! The page cache outlives the process: this does not test a loss of power.
//!
//! The soak, about a minute with `--release`, ends by printing its figures: `cargo test --release
//! --test it crash::soak -- --ignored --nocapture`

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use voisin::distances::Euclidean;
use voisin::heed::{EnvOpenOptions, RwTxn, WithTls};
use voisin::{ItemId, Reader, Writer};

use crate::child::{Killer, tell, told};
use crate::common::{check, create, dump, new_env, seed, vector};

const DIMENSIONS: usize = 16;
const INDEX: u16 = 3;

/// The phases of a round, as the child names them when they begin. The one after the last is the
/// next round's first.
const PHASES: &[&str] = &["change", "build", "commit", "committed"];

type Env = voisin::heed::Env<WithTls>;

fn open(path: &Path) -> Env {
    // SAFETY: the parent opens the environment only when no child is running, and closes it before
    // it starts the next.
    unsafe { EnvOpenOptions::new().map_size(1 << 30).open(path) }.unwrap()
}

/// What one round does.
struct Round {
    number: u64,
    clears: bool,
    /// In this order; `None` deletes.
    changes: Vec<(ItemId, Option<Vec<f32>>)>,
    builds: bool,
    rebuilds: bool,
}

impl Round {
    fn new(seed: u64, number: u64, size: u32) -> Self {
        // Far from the numbers of other seeds.
        let mut rng = StdRng::seed_from_u64(seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let clears = rng.random_bool(0.03);
        let changes = (0..size)
            .map(|_| {
                // Of the ids half as many again as there are changes, so that about half are there
                // at any time.
                let id = rng.random_range(0..size + size / 2);
                (id, rng.random_bool(0.6).then(|| vector::<Euclidean>(&mut rng, DIMENSIONS)))
            })
            .collect();
        Self {
            number,
            clears,
            changes,
            builds: rng.random_bool(0.8),
            rebuilds: rng.random_bool(0.1),
        }
    }

    /// Does it, and tells when each phase begins.
    fn run(
        &self,
        writer: &Writer<'_, Euclidean>,
        wtxn: &mut RwTxn<'_>,
        mut tell: impl FnMut(&str),
    ) {
        tell("change");
        if self.clears {
            writer.clear(wtxn).unwrap();
        }
        for (id, vector) in &self.changes {
            match vector {
                Some(vector) => writer.add_item(wtxn, *id, vector).unwrap(),
                None => _ = writer.del_item(wtxn, *id).unwrap(),
            }
        }
        tell("build");
        let mut rng = StdRng::seed_from_u64(self.number);
        let mut builder = writer.builder(&mut rng);
        builder.ef_construction(20);
        if self.rebuilds {
            builder.force_rebuild::<6, 12>(wtxn).unwrap();
        } else if self.builds {
            builder.build::<6, 12>(wtxn).unwrap();
        }
    }
}

/// The child. Does nothing unless it is told to by the parent.
#[test]
fn child() {
    let Some(told) = told() else { return };
    let [path, seed, first, size] = &told[..] else { panic!("{told:?}") };
    let (seed, first, size): (u64, u64, u32) =
        (seed.parse().unwrap(), first.parse().unwrap(), size.parse().unwrap());
    let env = open(Path::new(path));
    let db = create::<Euclidean>(&env);
    let writer = Writer::<Euclidean>::new(db, INDEX, DIMENSIONS);
    for number in first.. {
        let round = Round::new(seed, number, size);
        let mut wtxn = env.write_txn().unwrap();
        round.run(&writer, &mut wtxn, |phase| tell(phase, number));
        tell("commit", number);
        wtxn.commit().unwrap();
        tell("committed", number);
    }
}

/// What was met, for the figures of the soak.
#[derive(Debug, Default)]
struct Figures {
    kills: u64,
    /// How many children were killed in each phase.
    in_phase: BTreeMap<&'static str, u64>,
    /// How often the state was that of the commit that had not been acknowledged yet.
    in_flight: u64,
    rounds: u64,
    largest: u64,
    slowest_open: Duration,
}

fn kill_again_and_again(kills: u64, size: u32) -> Figures {
    let seed = seed();
    let mut rng = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().unwrap();
    let mut figures = Figures::default();
    // What the environment should be, and how many rounds have made it so.
    let (_mirror_dir, mirror) = new_env();
    let mirror_writer = Writer::<Euclidean>::new(create(&mirror), INDEX, DIMENSIONS);
    let mut rounds = 0;
    let mut killer = Killer::new("crash::child", PHASES);
    for kill in 0..kills {
        let target = (kill as usize % PHASES.len(), rounds + rng.random_range(0..3));
        // The folder of the environment, seed, first round, and changes a round.
        let told = format!("{}\n{seed}\n{rounds}\n{size}", dir.path().display());
        let acknowledged = killer.kill(&told, target.0, target.1, &mut rng);
        *figures.in_phase.entry(PHASES[target.0]).or_default() += 1;

        let committed = acknowledged.map_or(rounds, |round| round + 1);
        while rounds < committed {
            let mut wtxn = mirror.write_txn().unwrap();
            Round::new(seed, rounds, size).run(&mirror_writer, &mut wtxn, |_| {});
            wtxn.commit().unwrap();
            rounds += 1;
        }
        let began = Instant::now();
        let env = open(dir.path());
        env.clear_stale_readers().unwrap();
        let db = create::<Euclidean>(&env);
        let rtxn = env.read_txn().unwrap();
        figures.slowest_open = figures.slowest_open.max(began.elapsed());
        let what = format!("kill {kill} at {target:?}, {committed} rounds committed");
        let stored = dump(&rtxn, db);
        let is_last = stored == dump(&mirror.read_txn().unwrap(), create::<Euclidean>(&mirror));
        if !is_last {
            let mut wtxn = mirror.write_txn().unwrap();
            Round::new(seed, rounds, size).run(&mirror_writer, &mut wtxn, |_| {});
            wtxn.commit().unwrap();
            rounds += 1;
            figures.in_flight += 1;
            assert!(
                stored == dump(&mirror.read_txn().unwrap(), create::<Euclidean>(&mirror)),
                "{what}: neither the last state nor the next"
            );
        }
        check(&rtxn, db, INDEX);
        let items =
            Reader::<Euclidean>::open(&rtxn, INDEX, db).map_or(0, |reader| reader.n_items());
        println!("{what}: {items} items, in flight {}", !is_last);
        figures.kills += 1;
        figures.largest = figures.largest.max(items);
        drop(rtxn);
        env.prepare_for_closing().wait();
    }
    figures.rounds = rounds;
    figures
}

#[test]
fn a_killed_process_leaves_the_state_of_a_commit() {
    let figures = kill_again_and_again(20, 300);
    assert!(figures.rounds > 0, "{figures:?}");
    println!("{figures:?}");
}

#[test]
#[ignore = "the soak: cargo test --release --test it crash::soak -- --ignored --nocapture"]
fn soak() {
    let began = Instant::now();
    let Figures { kills, in_phase, in_flight, rounds, largest, slowest_open } =
        kill_again_and_again(300, 2000);
    println!(
        "crash soak: {kills} kills ({in_phase:?}), {rounds} rounds committed, {in_flight} of \
         them in flight when killed, \
         up to {largest} items, slowest reopening {slowest_open:?}; every state was that of a \
         commit, every check silent; {:?}",
        began.elapsed()
    );
}
