//! Documents in the caller's own tables stay in step with their vectors in an index, whenever the
//! process is killed.
//!
//! The program is `examples/documents.rs` itself. A child puts, replaces and deletes documents,
//! builds, commits or aborts, round by round; a round depends only on its seed and number. It is
//! killed at a random moment of a random phase; in every few rounds it waits, between its write to
//! the tables and that to the index, to be killed. Then every document must have the vector of its
//! text, there must be no other vectors, and both must match the rounds up to the last acknowledged
//! commit, or the one in flight.
//!
//! `cargo test --release --test it documents::soak -- --ignored --nocapture` is the soak: 1 000
//! kills, some seconds.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use voisin::heed::{Env, RoTxn};

use self::example::{Documents, embed, open};
use crate::child::{Killer, tell, told};
use crate::common::{rng, seed};

#[path = "../../examples/documents.rs"]
#[allow(dead_code, reason = "its tour is run as an example")]
mod example;

/// The phases of a round, as the child names them when they begin. The first two are those of one
/// of its changes.
const PHASES: &[&str] = &["tables", "index", "build", "commit", "committed"];
const INDEX_PHASE: usize = 1;
/// Changes in one round.
const CHANGES: usize = 30;
/// So many names, of which about half have a document at any time.
const NAMES: usize = 100;

/// Texts by name.
type Model = BTreeMap<String, String>;

/// A text of words that many have in common.
fn text(rng: &mut StdRng) -> String {
    let words = [
        "bread", "water", "garden", "cellar", "roof", "river", "stone", "paper", "engine", "window",
    ];
    (0..rng.random_range(1..12))
        .map(|_| words[rng.random_range(0..words.len())].repeat(rng.random_range(1..3)))
        .collect::<Vec<_>>()
        .join(" ")
}

/// What one round does.
struct Round {
    /// In this order; `None` deletes.
    changes: Vec<(String, Option<String>)>,
    /// The change whose phases are told.
    told: usize,
    builds: bool,
    aborts: bool,
}

impl Round {
    fn new(seed: u64, number: u64) -> Self {
        // Far from the numbers of other seeds.
        let mut rng = StdRng::seed_from_u64(seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut change = || {
            (
                format!("document {}", rng.random_range(0..NAMES)),
                rng.random_bool(0.6).then(|| text(&mut rng)),
            )
        };
        let changes: Vec<_> = (0..CHANGES).map(|_| change()).collect();
        // The last one that puts, or any before it.
        let puts: Vec<usize> = (0..CHANGES).filter(|i| changes[*i].1.is_some()).collect();
        let told = puts[rng.random_range(0..puts.len())];
        Self { changes, told, builds: rng.random_bool(0.3), aborts: rng.random_bool(0.1) }
    }

    fn apply(&self, model: &mut Model) {
        for (name, text) in self.changes.iter().filter(|_| !self.aborts) {
            match text {
                Some(text) => _ = model.insert(name.clone(), text.clone()),
                None => _ = model.remove(name),
            }
        }
    }
}

/// The child. Does nothing unless it is told to by the parent.
#[test]
fn child() {
    let Some(told) = told() else { return };
    let [path, seed, first, stops_in] = &told[..] else { panic!("{told:?}") };
    let (seed, first, stops_in): (u64, u64, u64) =
        (seed.parse().unwrap(), first.parse().unwrap(), stops_in.parse().unwrap());
    let env = open(Path::new(path)).unwrap();
    let documents = Documents::open(&env).unwrap();
    for number in first.. {
        let round = Round::new(seed, number);
        let mut wtxn = env.write_txn().unwrap();
        for (i, (name, text)) in round.changes.iter().enumerate() {
            match text {
                Some(text) if i == round.told => {
                    tell("tables", number);
                    documents.put_text(&mut wtxn, name, text).unwrap();
                    tell("index", number);
                    if number == stops_in {
                        // Until it is killed, between the two writes.
                        std::thread::sleep(Duration::from_secs(60));
                    }
                    documents.put_vector(&mut wtxn, name, &embed(text).unwrap()).unwrap();
                }
                Some(text) => documents.put(&mut wtxn, name, text).unwrap(),
                None => _ = documents.delete(&mut wtxn, name).unwrap(),
            }
        }
        tell("build", number);
        if round.builds {
            documents.build(&mut wtxn).unwrap();
        }
        tell("commit", number);
        if round.aborts {
            wtxn.abort();
        } else {
            wtxn.commit().unwrap();
        }
        tell("committed", number);
    }
}

/// Whether the documents are these, each with its vector.
fn holds(documents: &Documents<'_>, rtxn: &RoTxn<'_>, model: &Model) -> bool {
    let count = documents.check(rtxn).unwrap();
    let is_there =
        |(name, text): (&String, &String)| documents.get(rtxn, name).unwrap() == Some(text);
    count == model.len() as u64 && model.iter().all(is_there)
}

fn kill_again_and_again(kills: u64) {
    let seed = seed();
    let mut rng = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let mut killer = Killer::new("documents::child", PHASES);
    let (mut model, mut rounds, mut in_flight, mut between) = (Model::new(), 0, 0, 0);
    for kill in 0..kills {
        let phase = kill as usize % PHASES.len();
        let target = rounds + rng.random_range(0..3);
        let stops_in = if phase == INDEX_PHASE { target } else { u64::MAX };
        // The folder, seed, first round, and the round in which to wait.
        let told = format!("{}\n{seed}\n{rounds}\n{stops_in}", folder.path().display());
        let acknowledged = killer.kill(&told, phase, target, &mut rng);
        let committed = acknowledged.map_or(rounds, |round| round + 1);
        if phase == INDEX_PHASE {
            assert_eq!(committed, target, "it was killed between the two writes");
            between += 1;
        }
        while rounds < committed {
            Round::new(seed, rounds).apply(&mut model);
            rounds += 1;
        }

        let env: Env = open(folder.path()).unwrap();
        env.clear_stale_readers().unwrap();
        let documents = Documents::open(&env).unwrap();
        let rtxn = env.read_txn().unwrap();
        let what =
            format!("kill {kill} in {} of round {target}, {committed} rounds over", PHASES[phase]);
        if !holds(&documents, &rtxn, &model) {
            assert_ne!(phase, INDEX_PHASE, "{what}: what was not committed is there");
            Round::new(seed, rounds).apply(&mut model);
            rounds += 1;
            in_flight += 1;
            assert!(
                holds(&documents, &rtxn, &model),
                "{what}: neither the last state nor the next"
            );
        }
        println!("{what}: {} documents", model.len());
        drop(rtxn);
        env.prepare_for_closing().wait();
    }
    assert!(rounds > 0 && model.len() > 10);
    println!(
        "{kills} kills, {between} of them between the two writes, {rounds} rounds, {in_flight} \
         in flight when killed: always in step; {} documents",
        model.len()
    );
}

#[test]
fn a_writer_that_is_killed_leaves_documents_and_vectors_in_step() {
    kill_again_and_again(30);
}

#[test]
#[ignore = "the soak: cargo test --release --test it documents::soak -- --ignored --nocapture"]
fn soak() {
    kill_again_and_again(1000);
}

#[test]
fn documents_and_vectors_change_together_and_a_search_returns_documents() {
    let mut rng = rng();
    let folder = tempfile::tempdir().unwrap();
    let env = open(folder.path()).unwrap();
    let documents = Documents::open(&env).unwrap();
    let names = |query: &str| -> Vec<String> {
        let found = documents.search(&env.read_txn().unwrap(), query, 10).unwrap();
        assert!(found.is_sorted_by(|a, b| a.distance <= b.distance));
        found.into_iter().map(|found| format!("{}: {}", found.name, found.text)).collect()
    };
    assert_eq!(names("bread"), Vec::<String>::new(), "nothing was ever put");

    let mut model = Model::new();
    for _ in 0..40 {
        let mut wtxn = env.write_txn().unwrap();
        let mut changed = model.clone();
        for _ in 0..5 {
            let name = format!("document {}", rng.random_range(0..20));
            if rng.random_bool(0.6) {
                let text = text(&mut rng);
                documents.put(&mut wtxn, &name, &text).unwrap();
                changed.insert(name, text);
            } else {
                assert_eq!(
                    documents.delete(&mut wtxn, &name).unwrap(),
                    changed.remove(&name).is_some()
                );
            }
            assert!(holds(&documents, &wtxn, &changed), "within the transaction");
        }
        if rng.random_bool(0.3) {
            wtxn.abort();
        } else {
            if rng.random_bool(0.3) {
                documents.build(&mut wtxn).unwrap();
            }
            wtxn.commit().unwrap();
            model = changed;
        }
        assert!(holds(&documents, &env.read_txn().unwrap(), &model));
    }

    let mut wtxn = env.write_txn().unwrap();
    documents.put(&mut wtxn, "a name", "Something that nothing else says").unwrap();
    wtxn.commit().unwrap();
    assert_eq!(
        names("Something that nothing else says")[0],
        "a name: Something that nothing else says"
    );
    let mut wtxn = env.write_txn().unwrap();
    documents.put(&mut wtxn, "a name", "Another thing").unwrap();
    wtxn.commit().unwrap();
    assert_eq!(names("another thing")[0], "a name: Another thing");

    // What cannot be a document changes nothing.
    for (name, text) in [
        ("", "A text"),
        (&*"long".repeat(200), "A text"),
        (&*"long".repeat(121), "A text"),
        ("a name", "no of"),
        ("a name", ""),
    ] {
        let mut wtxn = env.write_txn().unwrap();
        assert!(documents.put(&mut wtxn, name, text).is_err());
        wtxn.commit().unwrap();
    }
    assert_eq!(documents.get(&env.read_txn().unwrap(), "a name").unwrap(), Some("Another thing"));
    documents.check(&env.read_txn().unwrap()).unwrap();
}

#[test]
fn a_document_without_a_vector_and_a_vector_without_a_document_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let env = open(folder.path()).unwrap();
    let documents = Documents::open(&env).unwrap();
    let mut wtxn = env.write_txn().unwrap();
    for name in ["one", "two", "three"] {
        documents.put(&mut wtxn, name, &format!("The text of {name}")).unwrap();
    }
    wtxn.commit().unwrap();
    assert_eq!(documents.check(&env.read_txn().unwrap()).unwrap(), 3);

    let noticed = |change: &dyn Fn(&mut voisin::heed::RwTxn<'_>), says: &str| {
        let mut wtxn = env.write_txn().unwrap();
        change(&mut wtxn);
        let error = documents.check(&wtxn).unwrap_err().to_string();
        assert!(error.contains(says), "{error:?} does not say {says:?}");
    };
    noticed(
        &|wtxn| documents.put_text(wtxn, "four", "A document alone").unwrap(),
        "\"four\" does not have the vector",
    );
    noticed(
        &|wtxn| documents.put_text(wtxn, "one", "Another text").unwrap(),
        "\"one\" does not have the vector",
    );
    noticed(
        &|wtxn| documents.put_vector(wtxn, "alone", &embed("alone").unwrap()).unwrap(),
        "3 documents have 4 vectors",
    );
    noticed(
        &|wtxn| documents.put_vector(wtxn, "one", &embed("other").unwrap()).unwrap(),
        "\"one\" does not have the vector",
    );
}
