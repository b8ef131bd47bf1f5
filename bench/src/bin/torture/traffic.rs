//! Two processes write and four read one index, and are stopped (SIGSTOP, SIGCONT) and killed
//! (SIGKILL) at random moments.
//!
//! Each writer has items of its own, and one that holds the number of its round and the hash of all
//! its others. A reader recomputes the hashes of every snapshot. After each commit a writer records
//! its round in a file: a reader that has read it before its snapshot must not see an older one.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use voisin::{ItemId, Snapshot};

use crate::child::{Running, limit_seconds, say, violence};
use crate::life::{Inspection, path};
use crate::steps::{ContentsHasher, DIMENSIONS, vector};
use crate::tally::Tally;
use crate::temporary;
use crate::world::{World, copies, open_small};

const WRITERS: u64 = 2;
const READERS: usize = 4;
/// The number of items of a writer.
const ITEMS: ItemId = 300;
/// Items that are in no seal have ids from here on.
const GUESTS: ItemId = 500_000;
/// The items that seal those of the writers: beyond all others.
const SEALS: ItemId = 1_000_000;
/// No commit for this long, with no process stopped, is a standstill.
const STANDSTILL: Duration = Duration::from_secs(30);
/// The maximum lifetime of a child, longer than any run needs.
const LIFE_SECONDS: u32 = 24 * 3600;

/// The round and the hash, in components that hold them without rounding.
fn seal(round: u64, hash: u64) -> Vec<f32> {
    let mut vector = vec![0.5; DIMENSIONS];
    for (i, part) in [
        round >> 16,
        round & 0xFFFF,
        hash >> 48,
        hash >> 32 & 0xFFFF,
        hash >> 16 & 0xFFFF,
        hash & 0xFFFF,
    ]
    .iter()
    .enumerate()
    {
        vector[i] = *part as f32;
    }
    vector
}

fn round_of(seal: &[f32]) -> u64 {
    (seal[0] as u64) << 16 | seal[1] as u64
}

fn hash_of<'a>(items: impl Iterator<Item = (ItemId, &'a [f32])>) -> u64 {
    let mut hash = ContentsHasher::default();
    items.for_each(|(item, vector)| hash.add(&item, vector));
    hash.finish("").hash
}

/// Whether an item of a writer gets another vector in a round.
fn moves(position: u64, round: u64) -> bool {
    round == 1 || round.is_multiple_of(20) || position % 5 == round % 5
}

/// The round in which an item last got the vector that it has in this one.
fn version(position: u64, round: u64) -> u64 {
    // One in five rounds moves it.
    (1..=round).rev().take(5).find(|round| moves(position, *round)).unwrap_or(1)
}

/// The child that writes, from the round after the one in the index, which must not be older than
/// the acknowledged one.
pub(crate) fn write(folder: &Path, writer: u64, acknowledged: u64) {
    limit_seconds(LIFE_SECONDS);
    let index = open_small(folder).expect("an index");
    let stored =
        index.snapshot().expect("a snapshot").vector(SEALS + writer as ItemId).expect("a vector");
    let mut round = stored.map_or(0, |seal| round_of(&seal));
    if round < acknowledged {
        return say(&format!("lost {acknowledged}, {round} is there"));
    }
    loop {
        round += 1;
        let vectors: Vec<(ItemId, Vec<f32>)> = (0..u64::from(ITEMS))
            .map(|position| {
                let item = writer as ItemId * ITEMS + position as ItemId;
                (item, vector(item, version(position, round)))
            })
            .collect();
        let hash = hash_of(vectors.iter().map(|(item, vector)| (*item, &vector[..])));
        let guest = |round: u64| GUESTS + writer as ItemId * 100 + round as ItemId % 100;
        let written = index.write(|batch| {
            if round.is_multiple_of(7) {
                batch.link_later();
            }
            for (item, vector) in (0..)
                .zip(&vectors)
                .filter(|(position, _)| moves(*position, round))
                .map(|(_, moved)| moved)
            {
                batch.add(*item, vector)?;
            }
            // Items come and go.
            batch.add(guest(round), &vector(guest(round), round))?;
            batch.delete(guest(round + 50))?;
            batch.add(SEALS + writer as ItemId, &seal(round, hash))
        });
        let maintained = written.and_then(|()| match round % 60 {
            20 => index.link(),
            40 => index.optimize(),
            50 if writer == 0 => {
                _ = fs::remove_dir_all(copies(folder));
                index.copy_to(copies(folder)).map(drop)
            }
            _ => Ok(()),
        });
        if let Err(error) = maintained {
            return say(&format!("failed {error}"));
        }
        // Renamed into place: never seen half-written.
        let [new, place] = ["new", "of"].map(|name| folder.join(format!("round.{name}.{writer}")));
        fs::write(&new, round.to_string()).and_then(|()| fs::rename(&new, &place)).expect("a file");
        say(&format!("round {round}"));
    }
}

/// The child that reads.
pub(crate) fn read(folder: &Path) {
    limit_seconds(LIFE_SECONDS);
    let index = open_small(folder).expect("an index");
    for verified in 1u64.. {
        let known: Vec<u64> = (0..WRITERS)
            .map(|writer| {
                fs::read_to_string(folder.join(format!("round.of.{writer}")))
                    .map_or(0, |round| round.parse().unwrap_or(0))
            })
            .collect();
        let snapshot = match index.snapshot() {
            Ok(snapshot) => snapshot,
            Err(error) => return say(&format!("failed {error}")),
        };
        for writer in 0..WRITERS {
            if let Err(what) = verify(&snapshot, writer, known[writer as usize]) {
                return say(&format!("torn {what}"));
            }
        }
        // Dropped: others may have grown the map by the time of the search.
        drop(snapshot);
        let asked = vector(verified as ItemId % ITEMS, 1);
        match index.search(5).by_vector(&asked) {
            Ok(found) if found.nns.len() <= 5 => {}
            other => return say(&format!("failed {other:?}")),
        }
        say(&format!("verified {verified}"));
        // Writers need a processor, too.
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Verifies a snapshot's view of a writer's items.
fn verify(
    snapshot: &Snapshot<voisin::distances::Euclidean>,
    writer: u64,
    known: u64,
) -> Result<(), String> {
    let failed = |error: voisin::Error| error.to_string();
    let Some(found) = snapshot.vector(SEALS + writer as ItemId).map_err(failed)? else {
        return if known == 0 {
            Ok(())
        } else {
            Err(format!("writer {writer}: nothing, after round {known}"))
        };
    };
    let first = writer as ItemId * ITEMS;
    let items =
        (first..first + ITEMS).map(|item| Ok((item, snapshot.vector(item)?.unwrap_or_default())));
    let items = items.collect::<voisin::Result<Vec<_>>>().map_err(failed)?;
    let (round, hash) =
        (round_of(&found), hash_of(items.iter().map(|(item, vector)| (*item, &vector[..]))));
    if found != seal(round, hash) {
        return Err(format!("writer {writer}, round {round}: the items are not those of its seal"));
    }
    if round < known {
        Err(format!("writer {writer}: round {round} after round {known} was committed"))
    } else {
        Ok(())
    }
}

/// A child, and how to restart it.
struct Player {
    /// The number of a writer.
    writer: Option<u64>,
    running: Running,
    told: Told,
}

/// What a child has said.
#[derive(Debug, Default)]
struct Told {
    /// The last round that it has acknowledged, or the number of snapshots that it has verified.
    last: u64,
    done: u64,
}

impl Player {
    fn start(folder: &Path, writer: Option<u64>, last: u64) -> Self {
        let running = match writer {
            Some(writer) => {
                Running::start(&["writer", path(folder), &writer.to_string(), &last.to_string()])
            }
            None => Running::start(&["reader", path(folder)]),
        };
        Self { writer, running, told: Told { last, done: 0 } }
    }

    fn look(&mut self) -> Result<(), String> {
        let heard = self.running.heard();
        self.told.take(heard)?;
        match self.running.has_ended() {
            Some(status) => Err(violence(status).unwrap_or_else(|| {
                format!("it ended by itself: {status}, {:?}", self.running.heard())
            })),
            None => Ok(()),
        }
    }
}

impl Told {
    /// Records what it has said, or what is wrong with it.
    fn take(&mut self, lines: Vec<String>) -> Result<(), String> {
        for line in lines {
            match line.split_once(' ') {
                Some(("round" | "verified", number)) => {
                    self.last = number.parse().map_err(|_| line.clone())?;
                    self.done += 1;
                }
                _ => return Err(line),
            }
        }
        Ok(())
    }
}

pub(crate) fn run(seconds: u64, seed: u64) -> bool {
    let mut tally = Tally::new("traffic", seconds, 1, &["commits", "snapshots", "stops", "kills"]);
    let folder = temporary();
    drop(World::open(folder.path()).expect("a new folder"));
    match play(folder.path(), Duration::from_secs(seconds), seed, &mut tally) {
        Ok(()) => tally.trial("sound"),
        Err(what) => {
            tally.trial("failed");
            tally.fail(seed, what);
            tally.keep(folder);
        }
    }
    tally.finish()
}

fn play(folder: &Path, time: Duration, seed: u64, tally: &mut Tally) -> Result<(), String> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut players: Vec<Player> =
        (0..WRITERS).map(|writer| Player::start(folder, Some(writer), 0)).collect();
    players.extend((0..READERS).map(|_| Player::start(folder, None, 0)));
    let began = Instant::now();
    let mut moved = (Instant::now(), 0);
    while began.elapsed() < time {
        std::thread::sleep(Duration::from_millis(rng.random_range(5..120)));
        let at = rng.random_range(0..players.len());
        if rng.random_bool(0.7) {
            players[at].running.stop(true);
            std::thread::sleep(Duration::from_millis(rng.random_range(1..300)));
            players[at].running.stop(false);
            tally.add("stops", 1);
        } else {
            let player = players.swap_remove(at);
            players.push(replace(folder, player, tally)?);
        }
        for player in &mut players {
            player.look()?;
        }
        let commits = players
            .iter()
            .filter(|player| player.writer.is_some())
            .map(|player| player.told.last)
            .sum();
        if commits != moved.1 {
            moved = (Instant::now(), commits);
        } else if moved.0.elapsed() > STANDSTILL {
            return Err(format!("no commit for {STANDSTILL:?}"));
        }
    }
    for player in players {
        finish(player, tally)?;
    }
    let found = Inspection::of(folder);
    match found.violence.or(found.error).or_else(|| found.findings.first().cloned()) {
        Some(what) => Err(format!("in the end: {what}")),
        None => Ok(()),
    }
}

/// Kills a child, and starts another one in its place.
fn replace(folder: &Path, player: Player, tally: &mut Tally) -> Result<Player, String> {
    let writer = player.writer;
    let last = finish(player, tally)?;
    tally.add("kills", 1);
    Ok(Player::start(folder, writer, if writer.is_some() { last } else { 0 }))
}

/// Kills a child. Returns the last thing that it has done.
fn finish(player: Player, tally: &mut Tally) -> Result<u64, String> {
    let Player { writer, running, mut told } = player;
    let (status, lines) = running.kill();
    told.take(lines)?;
    if let Some(violence) = violence(status) {
        return Err(violence);
    }
    tally.add(if writer.is_some() { "commits" } else { "snapshots" }, told.done);
    Ok(told.last)
}
