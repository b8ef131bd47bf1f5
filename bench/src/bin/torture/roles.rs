//! The roles of a child.

use std::path::Path;

use voisin::Error;

use crate::child::{begin, say};
use crate::steps::Step;
use crate::world::{World, inspect, variant};
use crate::{flips, traffic};

/// Plays a role.
pub(crate) fn play(role: &str, arguments: &[&str]) {
    let number = |text: &str| text.parse::<u64>().unwrap_or_else(|error| panic!("{text}: {error}"));
    match (role, arguments) {
        ("worker", [folder, seed, first, room]) => {
            work(Path::new(folder), number(seed), number(first), room.parse().ok())
        }
        ("inspector", [folder]) => {
            begin();
            inspect(Path::new(folder));
        }
        ("victim", [folder, seed]) => flips::suffer(Path::new(folder), number(seed)),
        ("writer", [folder, writer, acknowledged]) => {
            traffic::write(Path::new(folder), number(writer), number(acknowledged))
        }
        ("reader", [folder]) => traffic::read(Path::new(folder)),
        _ => panic!("no such role: {role} {arguments:?}"),
    }
}

/// Does one step after the other, and reports each that is done. A failed step is reported, too,
/// and waits: for room, or for the end. With `room`, files may grow by that much beyond the first
/// steps, until the parent grants more.
fn work(folder: &Path, seed: u64, first: u64, room: Option<u64>) {
    begin();
    let mut world = match World::open(folder) {
        Ok(world) => world,
        Err(error) => return fail(first, &error),
    };
    say("open");
    for number in first.. {
        let step = Step::new(seed, number);
        if let Some(room) = room.filter(|_| number == first + STEPS_WITH_ROOM) {
            limit_files(
                std::fs::metadata(crate::world::place(folder).join("data.mdb"))
                    .map_or(0, |data| data.len())
                    + room,
            );
        }
        while let Err(error) = world.perform(&step) {
            fail(number, &error);
            let mut line = String::new();
            if std::io::stdin().read_line(&mut line).is_err() || line.is_empty() {
                return;
            }
            limit_files(u64::MAX);
        }
        say(&format!("done {number}"));
    }
}

/// The number of steps that a worker has done when files stop growing.
const STEPS_WITH_ROOM: u64 = 5;

fn fail(number: u64, error: &Error) {
    say(&format!("failed {number} {}: {error}", variant(error)));
}

/// Limits the files of this process to `bytes`.
fn limit_files(bytes: u64) {
    // The hard limit stays, so that the limit can be lifted.
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the limit is only read; the signal that would end this process is ignored, so that
    // writes fail instead.
    let set = unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit)
    };
    assert_eq!(set, 0, "the limit can be set");
}
