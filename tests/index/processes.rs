//! Processes see each other's commits at once and whole, while some of them are killed.
//!
//! A writer commits every few milliseconds: it replaces items, among them one that holds the round
//! and a hash of all others. Readers recompute the hash from every snapshot. After each commit the
//! writer writes the round to a file: a reader that has read it before its snapshot must not see an
//! older one. `faces` in `bench` measures how long readers wait.

use std::collections::VecDeque;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::time::Duration;

use voisin::distances::Euclidean;
use voisin::{ItemId, Options, Snapshot};

use crate::child::{Running, tell, told};
use crate::{DIMENSIONS, Vectors, add, check, create, vector};

/// The item that describes all others.
const SEAL: ItemId = 1_000_000;
const ITEMS: ItemId = 300;

fn is_over(folder: &Path) -> bool {
    folder.join("over").exists()
}

/// A hash of items and vectors, in the order of the ids, in 48 bits: two components hold it without
/// rounding.
fn hash_of<'a>(items: impl Iterator<Item = (ItemId, &'a [f32])>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (item, vector) in items {
        (item, vector.iter().map(|component| component.to_bits()).collect::<Vec<_>>())
            .hash(&mut hasher);
    }
    hasher.finish() >> 16
}

/// The vector of the sealing item.
fn seal(round: u64, hash: u64) -> Vec<f32> {
    let mut vector = vec![0.0; DIMENSIONS];
    (vector[0], vector[1], vector[2]) =
        (round as f32, (hash >> 24) as f32, (hash & 0xFF_FFFF) as f32);
    vector
}

/// The child that writes.
#[test]
fn writer() {
    let Some(told) = told() else { return };
    let folder = Path::new(&told[0]);
    let index = Vectors::open(folder.join("vectors"), Options::default()).unwrap();
    let mut items: Vec<(ItemId, Vec<f32>)> =
        (0..ITEMS).map(|item| (item, vector(item, 0))).collect();
    let pause = Duration::from_millis(told[1].parse().unwrap());
    let mut round = 0;
    // However little of a processor it gets, it has something to show.
    while round <= 10 || !is_over(folder) {
        round += 1;
        for i in 0..5 {
            let item = (round as ItemId * 7 + i * 61) % ITEMS;
            items[item as usize].1 = vector(item, round);
        }
        let hash = hash_of(items.iter().map(|(item, vector)| (*item, &vector[..])));
        index
            .write(|batch| {
                // In the first round all of them.
                for (item, vector) in items.iter().filter(|(item, _)| {
                    round == 1 || (0..5).any(|i| (round as ItemId * 7 + i * 61) % ITEMS == *item)
                }) {
                    batch.add(*item, vector)?;
                }
                batch.add(SEAL, &seal(round, hash))
            })
            .unwrap();
        // Renamed into its place: never seen half.
        fs::write(folder.join("round.new"), round.to_string()).unwrap();
        fs::rename(folder.join("round.new"), folder.join("round")).unwrap();
        if round == 1 {
            tell("writes");
        }
        std::thread::sleep(pause);
    }
    check(&index);
}

/// Verifies what a snapshot shows, and returns the round it is of.
fn verify(snapshot: &Snapshot<Euclidean>) -> u64 {
    let mut items: Vec<(ItemId, Vec<f32>)> =
        snapshot.iter().unwrap().collect::<voisin::Result<_>>().unwrap();
    let (last, sealing) = items.pop().expect("the first round was committed");
    assert_eq!((last, items.len()), (SEAL, ITEMS as usize));
    let round = sealing[0] as u64;
    let hash = hash_of(items.iter().map(|(item, vector)| (*item, &vector[..])));
    assert_eq!(sealing, seal(round, hash), "a torn snapshot");
    for (item, vector) in items.iter().step_by(37) {
        // How many rounds there are, and so what the graph is like, is a matter of time: a walk
        // that misses nothing.
        assert_eq!(
            snapshot.search(1).ef_search(100).by_vector(vector).unwrap().into_nns(),
            [(*item, 0.0)]
        );
    }
    round
}

/// The child that reads.
#[test]
fn reader() {
    let Some(told) = told() else { return };
    let folder = Path::new(&told[0]);
    let index = Vectors::open_read_only(folder.join("vectors"), Options::default()).unwrap();
    let (mut verified, mut kept) = (0u64, None);
    while verified == 0 || !is_over(folder) {
        let committed: u64 = fs::read_to_string(folder.join("round")).unwrap().parse().unwrap();
        // The first after a commit moves to its snapshot.
        let found = index.search(1).by_vector(&seal(committed, 0)).unwrap();
        assert_eq!(found.nns.len(), 1);
        let snapshot = index.snapshot().unwrap();
        let round = verify(&snapshot);
        assert!(round >= committed, "round {round} is seen after round {committed} was committed");
        verified += 1;
        if verified == 1 {
            tell("reads");
        }
        // One that is held for some time is as whole as before.
        if verified % 10 == 1
            && let Some((before, snapshot)) = kept.replace((round, snapshot))
        {
            assert_eq!(verify(&snapshot), before);
        }
    }
    tell(&format!("{verified} snapshots verified"));
}

/// One writer, and readers of which two are killed and started again every so often. Prints what
/// the others have seen.
fn kill_readers(readers: usize, pause_ms: u64, kills: u32, between: Duration) {
    let (folder, index) = create(Options::new(DIMENSIONS).m(6).ef_construction(20));
    drop(index);
    let told = [folder.path().to_str().unwrap(), &pause_ms.to_string()];
    let mut writer = Running::start("processes::writer", &told);
    writer.expect("writes");
    let mut running: VecDeque<Running> =
        (0..readers).map(|_| Running::start("processes::reader", &told)).collect();
    for _ in 0..kills {
        std::thread::sleep(between);
        for _ in 0..2 {
            // One that has begun to read, however long that takes it.
            let mut oldest = running.pop_front().unwrap();
            oldest.expect("reads");
            oldest.kill();
            running.push_back(Running::start("processes::reader", &told));
        }
    }
    std::thread::sleep(between);
    fs::write(folder.path().join("over"), "").unwrap();
    assert!(writer.end().success());
    for mut reader in running {
        reader.expect("reads");
        println!("{}", reader.hear().unwrap());
        assert!(reader.end().success());
    }
    let index = Vectors::open(folder.path().join("vectors"), Options::default()).unwrap();
    check(&index);
    let environment = index.stats().unwrap().environment;
    let live = index.copy_to(folder.path().join("copy")).unwrap();
    println!(
        "{} commits, {} bytes, {live} of them live",
        environment.last_commit, environment.file_bytes
    );
    assert!(
        environment.file_bytes < 64 << 20,
        "the dead readers have kept everything: {environment:?}"
    );
}

#[test]
fn readers_of_other_processes_see_every_commit_whole_and_at_once_while_some_are_killed() {
    kill_readers(4, 3, 4, Duration::from_millis(700));
}

#[test]
#[ignore = "the soak, a minute: cargo test --release --test index processes::soak -- --ignored \
            --nocapture"]
fn soak() {
    kill_readers(8, 50, 60, Duration::from_secs(1));
}

/// The child that adds some items and ends.
#[test]
fn adder() {
    let Some(told) = told() else { return };
    let index = Vectors::open_or_create(&told[0], Options::new(DIMENSIONS)).unwrap();
    let first: ItemId = told[1].parse().unwrap();
    for item in first..first + 20 {
        add(&index, item..item + 1, 1).unwrap();
    }
}

#[test]
fn processes_that_create_and_write_at_once_wait_for_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vectors");
    let children: Vec<Running> = (0..4)
        .map(|child| {
            Running::start("processes::adder", &[path.to_str().unwrap(), &(child * 20).to_string()])
        })
        .collect();
    for child in children {
        assert!(child.end().success());
    }
    let index = Vectors::open(&path, Options::default()).unwrap();
    assert!(index.snapshot().unwrap().ids().unwrap().iter().eq(0..80));
    assert_eq!(index.names().unwrap(), ["main"]);
    check(&index);
}
