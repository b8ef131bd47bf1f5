//! The outcomes of the trials of one kind: counts by outcome, and the seeds of the failures.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tempfile::TempDir;

/// The maximum number of folders of failed trials kept for each kind: a seed alone does not
/// reproduce a moment.
const KEPT: usize = 5;

pub(crate) struct Tally {
    kind: &'static str,
    /// The number of trials to request, to repeat those of one seed.
    again: u64,
    trials: u64,
    wanted: u64,
    counts: BTreeMap<&'static str, u64>,
    failures: Vec<(u64, String)>,
    kept: Vec<PathBuf>,
    notes: Vec<String>,
}

impl Tally {
    /// A tally of `wanted` trials, `again` of which share a seed; `outcomes` are printed even if
    /// they did not occur.
    pub(crate) fn new(
        kind: &'static str,
        again: u64,
        wanted: u64,
        outcomes: &[&'static str],
    ) -> Self {
        let counts = outcomes.iter().map(|outcome| (*outcome, 0)).collect();
        Self {
            kind,
            again,
            trials: 0,
            wanted,
            counts,
            failures: Vec::new(),
            kept: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Counts a trial with this outcome, and reports progress now and then.
    pub(crate) fn trial(&mut self, outcome: &'static str) {
        self.add(outcome, 1);
        self.trials += 1;
        if self.trials.is_multiple_of((self.wanted / 10).max(1)) {
            eprintln!(
                "{}: {} of {}, {} failed",
                self.kind,
                self.trials,
                self.wanted,
                self.failures.len()
            );
        }
    }

    pub(crate) fn add(&mut self, what: &'static str, count: u64) {
        *self.counts.entry(what).or_default() += count;
    }

    /// Records a failure.
    pub(crate) fn fail(&mut self, seed: u64, what: impl Into<String>) {
        let what = what.into();
        eprintln!("{}: seed {seed}: {what}", self.kind);
        self.failures.push((seed, what));
    }

    /// Keeps the folder of a failed trial.
    pub(crate) fn keep(&mut self, folder: TempDir) {
        if self.kept.len() < KEPT {
            self.kept.push(folder.keep());
        }
    }

    /// Adds a remark to the final line.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    pub(crate) fn failed(&self) -> usize {
        self.failures.len()
    }

    /// Prints the line of this kind. Returns whether there were no failures.
    pub(crate) fn finish(self) -> bool {
        let counts: Vec<String> =
            self.counts.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
        let notes: String = self.notes.iter().map(|note| format!("; {note}")).collect();
        println!("{}: {} trials, {}{notes}", self.kind, self.trials, counts.join(", "));
        let mut seeds: Vec<u64> = self.failures.iter().map(|(seed, _)| *seed).collect();
        seeds.dedup();
        if let Some((seed, what)) = self.failures.first() {
            let seeds: Vec<String> = seeds.iter().take(10).map(u64::to_string).collect();
            println!("  failed: seeds {}; the first, {seed}: {what}", seeds.join(" "));
            println!("  to repeat: torture --{} {} --seed {seed}", self.kind, self.again);
            self.kept.iter().for_each(|folder| println!("  kept: {}", folder.display()));
        }
        self.failures.is_empty()
    }
}

/// Reports that trials were skipped, and why.
pub(crate) fn skipped(kind: &str, why: &str) {
    println!("{kind}: skipped: {why}");
}
