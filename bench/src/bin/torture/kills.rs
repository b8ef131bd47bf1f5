//! Kills a child that uses all of `Index` at random moments. Also the loop shared with power cuts:
//! a child works, something happens to it, and the result is examined.

use std::path::Path;
use std::process::ExitStatus;

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::child::{Running, violence};
use crate::life::{Life, Outcome};
use crate::tally::Tally;
use crate::temporary;

/// The number of kills in one life of a folder, with one seed: long enough that the leftovers of
/// one kill meet the next.
pub(crate) const A_LIFE: u64 = 25;

/// The outcomes that both kinds count.
pub(crate) const OUTCOMES: [&str; 4] = ["sound", "in flight", "lost", "unsafe"];

pub(crate) fn run(kills: u64, seed: u64) -> bool {
    let mut tally = Tally::new("kills", A_LIFE, kills, &OUTCOMES);
    for life in 0..kills.div_ceil(A_LIFE) {
        let folder = temporary();
        let before = tally.failed();
        live(
            folder.path(),
            seed + life,
            A_LIFE.min(kills - life * A_LIFE),
            &mut tally,
            Running::kill,
            Cause::Signal,
        );
        if tally.failed() > before {
            tally.keep(folder);
        }
    }
    tally.finish()
}

/// The event that ends a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Signal,
    /// The file system is shut down first: until the child ends, its calls fail and its maps cannot
    /// be read (SIGBUS).
    Disk,
}

/// A life with this many ends, each made by `end`. Stops at the first failure.
pub(crate) fn live(
    folder: &Path,
    seed: u64,
    ends: u64,
    tally: &mut Tally,
    mut end: impl FnMut(Running) -> (ExitStatus, Vec<String>),
    cause: Cause,
) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut life = Life::new(folder, seed);
    for _ in 0..ends {
        let worker = life.work(None);
        let mut lines = life.wait(&worker, &mut rng);
        let (status, rest) = end(worker);
        lines.extend(rest);
        life.take(&lines);
        let failed = lines
            .iter()
            .find(|line| line.starts_with("failed "))
            .filter(|_| cause == Cause::Signal);
        let outcome = match (violence(status), failed) {
            (Some(violence), _) if cause == Cause::Signal || status.code().is_some() => {
                Outcome::Unsafe(format!("the worker {violence}"))
            }
            (_, Some(failed)) => Outcome::Lost(failed.clone()),
            _ => life.settle(),
        };
        match outcome {
            Outcome::Sound { in_flight } => {
                tally.add("in flight", in_flight.into());
                tally.trial("sound");
            }
            Outcome::Lost(what) => {
                tally.trial("lost");
                return tally.fail(seed, what);
            }
            Outcome::Unsafe(what) => {
                tally.trial("unsafe");
                return tally.fail(seed, what);
            }
        }
    }
    tally.add("steps", life.steps);
}
