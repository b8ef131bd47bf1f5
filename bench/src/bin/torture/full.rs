//! A disk that fills up, or a limit on file sizes, at a random moment of a child's work: a failure
//! must be a typed error, change nothing, and work must succeed when there is room again.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::child::violence;
use crate::disk::Small;
use crate::life::{Life, Outcome};
use crate::tally::Tally;
use crate::temporary;

const MEGABYTES: u64 = 48;
/// A worker that has not failed by then has met no limit: its file system has enough room.
const PATIENCE: Duration = Duration::from_secs(4);
/// The number of steps done once there is room again.
const AFTERWARDS: usize = 3;

pub(crate) fn run(trials: u64, seed: u64) -> bool {
    let mut tally =
        Tally::new("full", 1, trials, &["refused", "not met", "untyped", "lost", "unsafe"]);
    let mut without_disk = None;
    for trial in seed..seed + trials {
        // Alternately a disk in memory, if one can be mounted, and a limit.
        let disk = if trial.is_multiple_of(2) {
            Small::new(MEGABYTES).map_err(|why| without_disk = Some(why)).ok()
        } else {
            None
        };
        let folder = temporary();
        let outcome = fill(
            disk.as_ref(),
            disk.as_ref().map_or(folder.path(), Small::path),
            trial,
            &mut tally,
        );
        let (name, failed) = match outcome {
            Ok(name) => (name, None),
            Err(Outcome::Lost(what)) => ("lost", Some(what)),
            Err(Outcome::Unsafe(what)) => ("unsafe", Some(what)),
            Err(Outcome::Sound { .. }) => ("refused", None),
        };
        if let Some(what) = failed {
            tally.fail(trial, what);
        }
        tally.trial(name);
    }
    if let Some(why) = without_disk {
        tally.note(format!("no disk in memory: {why}"));
    }
    tally.finish()
}

fn fill(
    disk: Option<&Small>,
    folder: &std::path::Path,
    seed: u64,
    tally: &mut Tally,
) -> Result<&'static str, Outcome> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut life = Life::new(folder, seed);
    // From nothing to some megabytes, small ones more often.
    let bits = rng.random_range(8..22);
    let room = rng.random_range(0..1u64 << bits) & !511;
    let mut worker = life.work(disk.is_none().then_some(room));
    let mut lines = life.wait(&worker, &mut rng);
    if let Some(disk) = disk {
        disk.fill(room);
    }
    let failed = |lines: &[String]| {
        lines.iter().find_map(|line| line.strip_prefix("failed ").map(str::to_owned))
    };
    let began = std::time::Instant::now();
    while failed(&lines).is_none() && began.elapsed() < PATIENCE {
        lines.extend(worker.hear_within(Duration::from_millis(50)));
        if let Some(status) = worker.has_ended() {
            lines.extend(worker.heard());
            let Some(violence) = violence(status) else { break };
            return Err(Outcome::Unsafe(format!("the worker {violence}")));
        }
    }
    life.take(&lines);
    let Some(failed) = failed(&lines) else {
        // Killing it leaves its last step as any kill does.
        life.take(&worker.kill().1);
        return life.sound().map(|()| "not met");
    };
    let variant = failed.split([' ', ':']).nth(1).unwrap_or_default();
    let is_typed = variant != "Heed";
    if !is_typed {
        tally.fail(seed, format!("an error without a type: {failed}"));
    }
    // While the disk is full, and beside the process that has failed.
    life.look()?;
    if let Some(disk) = disk {
        disk.free();
    }
    worker.tell("go on");
    let mut done = 0;
    while done < AFTERWARDS {
        match worker.hear() {
            Some(line) if line.starts_with("done ") => {
                life.take(&[line]);
                done += 1;
            }
            other => {
                let (status, _) = worker.kill();
                let what = format!("with room again: {other:?}, {status}");
                return Err(violence(status).map_or(Outcome::Lost(what), Outcome::Unsafe));
            }
        }
    }
    life.take(&worker.kill().1);
    life.sound().map(|()| if is_typed { "refused" } else { "untyped" })
}
