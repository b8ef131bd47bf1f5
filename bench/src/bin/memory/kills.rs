//! Kills a build within a budget, again and again, each time to be continued by the next process,
//! and compares the index with that of a build that was not killed.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use heed::types::Bytes;
use heed::{CommitOrAbort, Env, EnvFlags, EnvOpenOptions};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::{Deserialize, Serialize};
use voisin::distances::Cosine;
use voisin::{Index, Options};
use voisin_bench::compare::plan::{SEED, THREADS};
use voisin_bench::compare::protocol::Request;

use crate::cgroup::Cgroup;
use crate::indexes::Place;

/// The time of a process, as a fraction of the last one's, if that has committed nothing.
const LONGER: f64 = 1.25;
/// Keys of the environment, not of an index, begin with these: they count commits.
const OF_ENVIRONMENT: [u8; 2] = u16::MAX.to_be_bytes();

/// See the module.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Killed {
    /// How often, at random moments.
    pub(crate) kills: usize,
    /// The kills before which the process had committed something.
    pub(crate) kept: usize,
    /// Of all processes together, the last one included.
    pub(crate) seconds: f64,
    /// The keys and values, in order, that are not those of the other index.
    pub(crate) differing_values: u64,
}

/// A build of this many bytes in a group with that many, against the index in `whole`, whose build
/// took so many seconds.
///
/// # Errors
/// Those of [`Cgroup::new`]; a process ended by itself, or what it had committed is gone.
pub(crate) fn measure(
    place: &Place<'_>,
    [memory_bytes, limit_bytes]: [u64; 2],
    kills: usize,
    (whole, seconds): (&Path, f64),
) -> Result<Killed, String> {
    let folder = place.scratch.join("killed");
    fs::create_dir_all(&folder).expect("a folder");
    let group = Cgroup::new(limit_bytes)?;
    let build = |limit: Duration| {
        let mut child = place.start(&folder, THREADS);
        group.join(child.id());
        child.try_to_ask_within(&Request::BuildWithin { memory_bytes }, limit)
    };
    let mut rng = StdRng::seed_from_u64(SEED);
    let shortest = seconds / kills as f64;
    let (mut longest, mut left) = (shortest, u64::MAX);
    let mut found = Killed { kills: 0, kept: 0, seconds: 0.0, differing_values: 0 };
    let start = Instant::now();
    while found.kills < kills {
        // Processes that commit nothing live longer, so that each build comes to its end.
        let limit = Duration::from_secs_f64(rng.random_range(0.0..longest));
        if build(limit)?.is_some() {
            break;
        }
        found.kills += 1;
        let now = left_to_do(&folder, place.set.rows);
        if now > left {
            return Err(format!("{now} items are to be linked after a kill, {left} before it"));
        }
        if now < left {
            found.kept += 1;
            longest = shortest;
        } else {
            longest *= LONGER;
        }
        left = now;
    }
    build(Duration::from_secs(3600))?.ok_or("the build does not end after its kills")?;
    found.seconds = start.elapsed().as_secs_f64();
    found.differing_values = differing_values(&folder, whole);
    fs::remove_dir_all(folder).expect("to remove an index");
    Ok(found)
}

/// The items that are not linked yet, or the largest number while some are not even added.
fn left_to_do(folder: &Path, rows: usize) -> u64 {
    let Ok(index) = Index::<Cosine>::open_read_only(folder, Options::default()) else {
        return u64::MAX;
    };
    let items = index.snapshot().expect("a snapshot").len();
    if items == rows as u64 { index.pending().expect("a number") } else { u64::MAX }
}

fn differing_values(one: &Path, other: &Path) -> u64 {
    let [one, other] = [one, other].map(open);
    let databases = [&one, &other].map(|env| {
        let opened =
            env.open_databases_and_commit(env.read_txn().expect("a snapshot"), |open, txn| {
                let found = open.open_database::<Bytes, Bytes>(txn, Some("voisin"));
                found.map(CommitOrAbort::<_, ()>::Commit)
            });
        opened.expect("a database").unwrap_commit().expect("a database")
    });
    let [txn, other_txn] = [&one, &other].map(|env| env.read_txn().expect("a snapshot"));
    let entries = |database: &heed::Database<'_, Bytes, Bytes>, txn| {
        let all = database.iter(txn).expect("entries").map(|entry| entry.expect("an entry"));
        all.filter(|(key, _)| !key.starts_with(&OF_ENVIRONMENT))
    };
    let mut entries_of_one = entries(&databases[0], &txn);
    let mut entries_of_other = entries(&databases[1], &other_txn);
    let mut differing = 0;
    loop {
        match (entries_of_one.next(), entries_of_other.next()) {
            (None, None) => return differing,
            (one, other) => differing += u64::from(one != other),
        }
    }
}

fn open(folder: &Path) -> Env {
    let length = fs::metadata(folder.join("data.mdb")).expect("an index").len() as usize;
    let mut options = EnvOpenOptions::new();
    options.map_size(length.next_multiple_of(1 << 20)).max_dbs(8);
    // SAFETY: no process writes to it, and this one has it open once.
    unsafe { options.flags(EnvFlags::READ_ONLY).open(folder) }.expect("an environment")
}
