//! Compares figures with their goals; the exit code says whether all were reached.

use std::process::ExitCode;

/// The median, the upper of two.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[derive(Debug, Default)]
pub struct Report {
    missed: usize,
}

impl Report {
    /// Prints a figure that should be at least `goal`.
    pub fn at_least(&mut self, what: &str, found: f64, goal: f64) {
        self.row(what, found, ">=", goal, found >= goal);
    }

    /// Prints a figure that should be at most `goal`.
    pub fn at_most(&mut self, what: &str, found: f64, goal: f64) {
        self.row(what, found, "<=", goal, found <= goal);
    }

    fn row(&mut self, what: &str, found: f64, sign: &str, goal: f64, reached: bool) {
        self.missed += usize::from(!reached);
        println!(
            "  {what:<58} {found:>14.4} {sign} {goal:<14.4} {}",
            if reached { "ok" } else { "MISSED" }
        );
    }

    /// Failure if a goal was missed.
    pub fn finish(self) -> ExitCode {
        println!("{} figures missed", self.missed);
        if self.missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
