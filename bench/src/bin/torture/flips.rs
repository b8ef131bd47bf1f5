//! Damage at rest: one bit of a file of indexes that no process has open is flipped, or the file is
//! truncated. A child opens it, checks it, makes one ordinary change and examines everything. It
//! may find the damage at any of these points; it must not crash, and must not launder the damage.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;
use voisin::{Codes, Options, Result};

use crate::child::{Running, begin, say, violence};
use crate::life::{Inspection, path};
use crate::steps::{State, Step, Which};
use crate::tally::Tally;
use crate::temporary;
use crate::world::{World, inspect, open_plain, place, variant};

const PAGE: u64 = 4096;
/// One in this many damages is a truncation.
const CUTS_ONE_IN: u32 = 8;
/// The number of trials that share the file to damage.
const A_FOLDER: u64 = 100;

/// The file to damage: indexes with free slots, pending and removed items, codes; compacted, so
/// that every page is used, or as they are.
struct Sound {
    folder: TempDir,
    state: State,
}

impl Sound {
    fn new(seed: u64) -> Self {
        let folder = temporary();
        let mut world = World::open(folder.path()).expect("a new folder");
        let mut state = State::default();
        let to = Which::Plain;
        let load = |to, items: std::ops::Range<u32>| Step::Load {
            to,
            items: items.map(|item| (item, seed)).collect(),
            commit_every: None,
            optimize: false,
        };
        let some = |first: u32, version: Option<u64>| {
            (first..1500).step_by(9).map(|item| (item, version)).collect()
        };
        let steps = [
            load(to, 0..1500),
            load(Which::Texts, 0..600),
            Step::Codes(Which::Texts, Some(Codes::Bits8)),
            Step::Write { to, changes: some(1, None), link_later: false },
            Step::Write { to, changes: some(2, Some(seed + 1)), link_later: false },
            Step::Write {
                to,
                changes: (1500..1520).map(|item| (item, Some(seed))).collect(),
                link_later: true,
            },
            Step::Write { to, changes: some(700, None), link_later: true },
        ];
        for step in &steps {
            world.perform(step).expect("a step on a sound folder");
            state = step.after(&state);
        }
        drop(world);
        if seed.is_multiple_of(2) {
            let index = open_plain(folder.path()).expect("a sound index");
            let compact = folder.path().join("compact");
            index.copy_to(&compact).expect("a copy");
            drop(index);
            std::fs::remove_dir_all(place(folder.path())).expect("the folder of the test");
            std::fs::rename(compact, place(folder.path())).expect("the folder of the test");
        }
        Self { folder, state }
    }

    fn data(folder: &Path) -> PathBuf {
        place(folder).join("data.mdb")
    }

    fn copy(&self, to: &Path) {
        std::fs::create_dir_all(place(to)).expect("a folder");
        std::fs::copy(Self::data(self.folder.path()), Self::data(to)).expect("a copy");
    }
}

/// Damages a file, and returns how.
fn damage(file: &File, rng: &mut StdRng) -> String {
    let length = file.metadata().expect("its length").len();
    if rng.random_ratio(1, CUTS_ONE_IN) {
        let pages = rng.random_range(1..=(length / PAGE - 1).min(40));
        file.set_len(length - pages * PAGE).expect("a shorter file");
        return format!("{pages} pages fewer");
    }
    let (at, bit) = (rng.random_range(0..length), rng.random_range(0..8));
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("a byte");
    file.write_all_at(&[byte[0] ^ 1 << bit], at).expect("a byte");
    format!("bit {bit} of byte {} of page {}", at % PAGE, at / PAGE)
}

/// The ordinary change of a trial.
fn change(seed: u64) -> Step {
    let mut rng = StdRng::seed_from_u64(seed ^ 0xF11B5);
    let to = if rng.random_bool(0.7) { Which::Plain } else { Which::Texts };
    match rng.random_range(0..8) {
        0 | 1 => Step::Optimize(to),
        2 => Step::Rebuild(to),
        3 => Step::Codes(to, Some(Codes::Bits4)),
        4 => Step::Link(to),
        5 => Step::Write {
            to,
            changes: (2000..2700).map(|item| (item, Some(seed))).collect(),
            link_later: false,
        },
        6 => Step::Write { to, changes: vec![(300, None)], link_later: false },
        _ => Step::Write { to, changes: vec![(301, Some(seed))], link_later: false },
    }
}

/// The child. It only reports what it finds before the change: the change is made anyway, as by a
/// program that never checks.
pub(crate) fn suffer(folder: &Path, seed: u64) {
    begin();
    match alter(folder, seed) {
        Ok(()) => {
            say("changed");
            inspect(folder);
        }
        Err(error) => say(&format!("refused {}: {error}", variant(&error))),
    }
}

fn alter(folder: &Path, seed: u64) -> Result<()> {
    let index = open_plain(folder)?;
    say("opened");
    // Some are changed without a check first.
    if seed.is_multiple_of(3) {
        for finding in index.check()?.iter().take(1) {
            say(&format!("before {finding}"));
        }
    }
    drop(index);
    World::open(folder)?.perform(&change(seed))?;
    // After a successful change of a sound index, a copy must succeed.
    if seed.is_multiple_of(5) {
        let copy = folder.join("copy");
        open_plain(folder)?.copy_to(&copy)?;
        voisin::Index::<voisin::distances::Euclidean>::open(
            &copy,
            Options::default().name(Which::Plain.name()),
        )
        .map(drop)?;
    }
    Ok(())
}

pub(crate) fn run(flips: u64, seed: u64) -> bool {
    let mut tally = Tally::new("flips", 1, flips, &["found", "harmless", "laundered", "unsafe"]);
    let mut sound: Option<(u64, Sound)> = None;
    for trial in seed..seed + flips {
        // Trials of one seed are the same, wherever a run begins.
        let base = trial / A_FOLDER;
        if sound.as_ref().is_none_or(|(of, _)| *of != base) {
            sound = Some((base, Sound::new(base)));
        }
        let Some((_, sound)) = &sound else { continue };
        let folder = temporary();
        sound.copy(folder.path());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(Sound::data(folder.path()))
            .expect("a file");
        let mut rng = StdRng::seed_from_u64(trial);
        let what = damage(&file, &mut rng);
        drop(file);
        let step = change(trial);
        let (status, lines) =
            Running::start(&["victim", path(folder.path()), &trial.to_string()]).end();
        let name = format!("{step:?}").chars().take(60).collect::<String>();
        let outcome = if let Some(violence) = violence(status) {
            tally.fail(trial, format!("{what}, {name}: it {violence}, after {:?}", lines.last()));
            "unsafe"
        } else if lines.iter().any(|line| {
            ["refused ", "finding ", "error "].iter().any(|word| line.starts_with(word))
        }) {
            "found"
        } else if Inspection::of(folder.path()).contents == step.after(&sound.state).contents() {
            "harmless"
        } else {
            let before = lines
                .iter()
                .find(|line| line.starts_with("before "))
                .map_or("it had not been seen", |line| line);
            tally.fail(
                trial,
                format!("{what}, {name}: nothing is said, and the contents are others; {before}"),
            );
            "laundered"
        };
        tally.trial(outcome);
    }
    tally.finish()
}
