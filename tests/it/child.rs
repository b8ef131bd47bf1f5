//! A child process to be killed: it runs the test binary again, with one test that takes its orders
//! from the parent and reports its progress.
//!
//! The test begins with [`told`] and does nothing without orders. It works in numbered rounds of
//! named phases, and [`tell`]s when each begins; the parent kills it (SIGKILL) at a random moment
//! of a phase of its choice.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::StdRng;

/// What a child is told, line by line.
const TOLD: &str = "VOISIN_TEST_CHILD";

/// What this process was told, if it is a child.
pub(crate) fn told() -> Option<Vec<String>> {
    Some(std::env::var(TOLD).ok()?.lines().map(str::to_owned).collect())
}

/// Tells the parent that a phase begins. A parent that is gone ends the child.
pub(crate) fn tell(phase: &str, round: u64) {
    let mut stdout = std::io::stdout();
    // Begins a line of its own: the test harness may have begun one.
    writeln!(stdout, "\n{phase} {round}").unwrap();
    stdout.flush().unwrap();
}

/// A child that runs, and what it has said.
struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    phases: &'static [&'static str],
    acknowledged: Option<u64>,
}

impl Running {
    /// What the child says next: a phase and a round. `None` when it has ended.
    fn next(&mut self) -> Option<(usize, u64)> {
        loop {
            // The last line may have been cut off by the end.
            let line = self.lines.next()?.ok()?;
            let Some((word, round)) = line.split_once(' ') else { continue };
            let (Some(phase), Ok(round)) =
                (self.phases.iter().position(|phase| *phase == word), round.parse())
            else {
                continue;
            };
            if phase == self.phases.len() - 1 {
                self.acknowledged = Some(round);
            }
            return Some((phase, round));
        }
    }

    fn kill(mut self) -> Option<u64> {
        // SIGKILL.
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), None, "the child ended by itself: {status}");
        while self.next().is_some() {}
        self.acknowledged
    }
}

/// Starts children and kills them.
pub(crate) struct Killer {
    /// The test that a child runs.
    test: &'static str,
    /// The phases that it names. The last one acknowledges a commit: the round is over.
    phases: &'static [&'static str],
    /// How long each phase has taken lately.
    durations: Vec<Duration>,
}

impl Killer {
    pub(crate) fn new(test: &'static str, phases: &'static [&'static str]) -> Self {
        Self { test, phases, durations: vec![Duration::from_millis(5); phases.len()] }
    }

    /// Starts a child, waits until it says that `phase` of `round` begins, and kills it somewhere
    /// in that phase, and now and then in the one after it. Returns the last round that it
    /// acknowledged, if any.
    pub(crate) fn kill(
        &mut self,
        told: &str,
        phase: usize,
        round: u64,
        rng: &mut StdRng,
    ) -> Option<u64> {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([self.test, "--exact", "--nocapture", "--test-threads=1"])
            .env(TOLD, told)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut running = Running { child, lines, phases: self.phases, acknowledged: None };
        let (mut before, mut began) = (None, Instant::now());
        loop {
            let said = running.next().expect("the child runs until it is killed");
            if let Some(before) = before {
                let duration: &mut Duration = &mut self.durations[before];
                *duration = (*duration * 3 + began.elapsed()) / 4;
            }
            (before, began) = (Some(said.0), Instant::now());
            if said == (phase, round) {
                break;
            }
        }
        std::thread::sleep(self.durations[phase].mul_f64(rng.random_range(0.0..1.2)));
        running.kill()
    }
}
