//! A folder of indexes that a child works on, over and over, and the parent's model of its
//! contents.
//!
//! A child reports the steps that are done. However it has ended, the folder must hold the state
//! after the last of them, or after one of the commits of the step in flight: [`Life::settle`]
//! examines it, by another child.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::StdRng;

use crate::child::{Running, violence};
use crate::steps::{Contents, State, Step};
use crate::world::copies;

/// The outcome of a trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The folder holds the right contents. Whether the step in flight had been committed.
    Sound { in_flight: bool },
    /// The contents are wrong, or `check` has findings.
    Lost(String),
    /// A process died of a signal, panicked, or never ended.
    Unsafe(String),
}

/// The contents found in a folder.
#[derive(Debug, Default)]
pub(crate) struct Inspection {
    pub(crate) contents: Vec<Contents>,
    pub(crate) findings: Vec<String>,
    pub(crate) error: Option<String>,
    pub(crate) violence: Option<String>,
}

impl Inspection {
    /// Examines a folder, by a child.
    pub(crate) fn of(folder: &Path) -> Self {
        let (status, lines) = Running::start(&["inspector", path(folder)]).end();
        let mut found = Self { violence: violence(status), ..Self::default() };
        let mut is_done = false;
        for line in lines {
            match line.split_once(' ') {
                None => is_done = line == "done",
                Some(("index", rest)) => found.contents.extend(contents(rest)),
                Some(("finding", rest)) => found.findings.push(rest.to_owned()),
                Some(("error", rest)) => found.error = Some(rest.to_owned()),
                Some(_) => found.error = Some(line),
            }
        }
        if !is_done && found.violence.is_none() && found.error.is_none() {
            found.error = Some(format!("it ended early: {status}"));
        }
        found
    }
}

fn contents(line: &str) -> Option<Contents> {
    let [name, items, hash] = line.split(' ').collect::<Vec<_>>().try_into().ok()?;
    Some(Contents { name: name.to_owned(), items: items.parse().ok()?, hash: hash.parse().ok()? })
}

pub(crate) fn path(folder: &Path) -> &str {
    folder.to_str().expect("a path in UTF-8")
}

/// See the module.
pub(crate) struct Life {
    pub(crate) folder: PathBuf,
    seed: u64,
    state: State,
    /// The next step to do.
    next: u64,
    /// The recent duration of a step.
    step_time: Duration,
    pub(crate) steps: u64,
}

impl Life {
    /// A life of a folder without indexes.
    pub(crate) fn new(folder: &Path, seed: u64) -> Self {
        Self {
            folder: folder.to_owned(),
            seed,
            state: State::default(),
            next: 0,
            step_time: Duration::from_millis(20),
            steps: 0,
        }
    }

    /// Starts a child that continues from here. With `room`, its files stop growing that many bytes
    /// after its first steps.
    pub(crate) fn work(&self, room: Option<u64>) -> Running {
        let room = room.map_or("none".to_owned(), |room| room.to_string());
        Running::start(&[
            "worker",
            path(&self.folder),
            &self.seed.to_string(),
            &self.next.to_string(),
            &room,
        ])
    }

    /// Lets a child do some steps, and waits until somewhere within the next one. Returns what it
    /// has said.
    pub(crate) fn wait(&mut self, worker: &Running, rng: &mut StdRng) -> Vec<String> {
        let wanted = rng.random_range(0..8);
        let mut lines: Vec<String> = worker.hear().into_iter().collect();
        let began = Instant::now();
        let mut done = 0;
        while done < wanted {
            let Some(line) = worker.hear() else { break };
            let is_done = line.starts_with("done ");
            lines.push(line);
            if !is_done {
                break;
            }
            done += 1;
            self.step_time = (self.step_time * 7 + began.elapsed() / done) / 8;
        }
        std::thread::sleep(self.step_time.mul_f64(rng.random_range(0.0..1.5)));
        lines
    }

    /// Records what a child has said.
    pub(crate) fn take(&mut self, lines: &[String]) {
        for line in lines {
            let Some(number) =
                line.strip_prefix("done ").and_then(|number| number.parse::<u64>().ok())
            else {
                continue;
            };
            if number >= self.next {
                self.state = Step::new(self.seed, self.next).after(&self.state);
                self.next += 1;
                self.steps += 1;
            }
        }
    }

    /// Examines the folder, and continues from its contents with the step after the one in flight.
    pub(crate) fn settle(&mut self) -> Outcome {
        match self.look() {
            Ok(at) => {
                let stages = Step::new(self.seed, self.next).stages(&self.state);
                if let Some(stage) =
                    at.checked_sub(1).and_then(|stage| stages.into_iter().nth(stage))
                {
                    self.state = stage;
                }
                self.next += 1;
                Outcome::Sound { in_flight: at > 0 }
            }
            Err(outcome) => outcome,
        }
    }

    /// As [`settle`](Self::settle), for a folder that is no longer used.
    pub(crate) fn sound(&mut self) -> Result<(), Outcome> {
        match self.settle() {
            Outcome::Sound { .. } => Ok(()),
            outcome => Err(outcome),
        }
    }

    /// Examines the folder: 0 if it holds the state after the last step, or else the number of
    /// commits of the next step that it is ahead.
    pub(crate) fn look(&self) -> Result<usize, Outcome> {
        let found = Inspection::of(&self.folder);
        _ = std::fs::remove_dir_all(copies(&self.folder));
        if let Some(violence) = found.violence {
            return Err(Outcome::Unsafe(format!("step {}: whoever looks {violence}", self.next)));
        }
        if let Some(what) = found.error.or_else(|| found.findings.first().cloned()) {
            return Err(Outcome::Lost(format!("step {}: {what}", self.next)));
        }
        let stages = Step::new(self.seed, self.next).stages(&self.state);
        let matching = std::iter::once(&self.state)
            .chain(&stages)
            .position(|state| state.contents() == found.contents);
        matching.ok_or_else(|| {
            let items = |contents: &[Contents]| {
                contents.iter().map(|of| format!("{} {}", of.name, of.items)).collect::<Vec<_>>()
            };
            let (found, expected) = (items(&found.contents), items(&self.state.contents()));
            Outcome::Lost(format!(
                "step {}: {found:?}, after commits that leave {expected:?}",
                self.next
            ))
        })
    }
}
