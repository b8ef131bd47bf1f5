//! What a person or a program sees: results on the standard output, progress and errors on the
//! standard error.

use std::io::{self, IsTerminal as _, Write};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use voisin::{LoadPhase, LoadProgress};

use crate::failure::{Exit, Failure, Result};

/// Where a command writes.
pub(crate) struct Ui {
    /// Whether results are JSON, one object a line.
    pub(crate) is_json: bool,
    is_quiet: bool,
    out: io::BufWriter<io::Stdout>,
}

impl Ui {
    pub(crate) fn new(is_json: bool, is_quiet: bool) -> Self {
        Self { is_json, is_quiet, out: io::BufWriter::new(io::stdout()) }
    }

    /// Writes a line for a person.
    pub(crate) fn line(&mut self, line: impl std::fmt::Display) -> Result<()> {
        writeln!(self.out, "{line}").map_err(|error| Failure::output(&error))
    }

    /// Writes an object for a program, on a line of its own.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(value)
            .map_err(|error| Failure::environment(format!("could not write JSON ({error})")))?;
        self.line(text)
    }

    /// Writes the same result for whoever reads it.
    pub(crate) fn result(
        &mut self,
        value: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<()> {
        if self.is_json { self.json(value) } else { self.line(text()) }
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|error| Failure::output(&error))
    }

    /// The standard output, for bytes.
    pub(crate) fn out(&mut self) -> &mut (dyn Write + Send + '_) {
        &mut self.out
    }

    /// Writes out what is buffered.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.out.flush().map_err(|error| Failure::output(&error))
    }

    /// A progress bar: on a terminal only.
    pub(crate) fn bar(&self) -> Bar {
        let is_shown = !self.is_quiet && !self.is_json && io::stderr().is_terminal();
        Bar::new(is_shown)
    }

    /// Tells a person something that is not the result.
    pub(crate) fn note(&self, text: &str) {
        if !self.is_quiet && !self.is_json {
            eprintln!("voisin: {text}");
        }
    }
}

/// Whether it was told that the command was interrupted: by the handler of signals, or by the work
/// that has ended in order while a second signal came.
static WAS_INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The last line of a command that has not succeeded.
pub(crate) fn tell(is_json: bool, exit: Exit, message: &str) {
    if exit == Exit::Interrupted && WAS_INTERRUPTED.swap(true, Ordering::Relaxed) {
        return;
    }
    if is_json {
        let value = serde_json::json!({
            "error": message, "kind": exit.name(), "exit": exit as i32,
        });
        eprintln!("{value}");
    } else {
        eprintln!("voisin: {message}");
    }
}

/// A path for a program: what is not UTF-8 in it is replaced.
pub(crate) fn path(path: &Path) -> serde_json::Value {
    path.to_string_lossy().into()
}

/// A progress bar, or nothing.
pub(crate) struct Bar {
    bar: ProgressBar,
    phase: Mutex<&'static str>,
}

impl Bar {
    fn new(is_shown: bool) -> Self {
        let target =
            if is_shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { bar: ProgressBar::with_draw_target(None, target), phase: Mutex::new("") }
    }

    /// Shows how far some work is.
    pub(crate) fn show(
        &self,
        phase: &'static str,
        done: u64,
        total: Option<u64>,
        left: Option<Duration>,
    ) {
        if self.bar.is_hidden() {
            return;
        }
        if let Ok(mut shown) = self.phase.lock() {
            if *shown != phase {
                *shown = phase;
                self.bar.set_style(style(total.is_some()));
                self.bar.set_message(phase);
            }
            match total {
                Some(total) => self.bar.set_length(total),
                None => self.bar.unset_length(),
            }
        }
        let of = total.map_or(String::new(), |total| format!(" of {}", number(total)));
        let left = left.map_or(String::new(), |left| format!(", {} left", time(left)));
        self.bar.set_prefix(format!("{}{of}{left}", number(done)));
        self.bar.set_position(done);
    }

    /// Shows that work is in progress whose end is not known.
    pub(crate) fn spin(&self, what: &'static str) {
        self.show(what, 0, None, None);
        if !self.bar.is_hidden() {
            self.bar.set_style(spinner());
            self.bar.enable_steady_tick(Duration::from_millis(120));
        }
    }

    /// Shows the progress of a load or a build.
    pub(crate) fn load(&self, progress: LoadProgress) {
        let phase = match progress.phase {
            LoadPhase::Reading => "reading",
            LoadPhase::Ordering => "ordering",
            LoadPhase::Adding => "adding",
            LoadPhase::Linking => "linking",
            LoadPhase::Writing => "writing",
            _ => "working",
        };
        self.show(phase, progress.done, progress.total, progress.remaining);
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Progress with an end that is known, with one that is not, and of work that does not tell.
const TEMPLATES: [&str; 3] = [
    "{msg:>9} [{bar:30}] {prefix}",
    "{msg:>9} {spinner} {prefix} in {elapsed}",
    "{msg:>9} {spinner} {elapsed}",
];

fn style(has_total: bool) -> ProgressStyle {
    let template = if has_total { TEMPLATES[0] } else { TEMPLATES[1] };
    // The templates are constants, and a test holds that they are sound.
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template(TEMPLATES[2]).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// A duration in two units at most.
pub(crate) fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let whole = duration.as_secs();
    match seconds {
        ..0.001 => format!("{:.0} us", seconds * 1e6),
        ..1.0 => format!("{:.1} ms", seconds * 1e3),
        ..60.0 => format!("{seconds:.1} s"),
        ..3600.0 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole / 60 % 60),
    }
}

/// A number of bytes, in binary units.
pub(crate) fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB"].into_iter();
    let mut unit = units.next();
    while value >= 1024.0 {
        let Some(next) = units.next() else { break };
        (value, unit) = (value / 1024.0, Some(next));
    }
    match unit {
        Some("B") | None => format!("{bytes} B"),
        Some(unit) => format!("{value:.1} {unit}"),
    }
}

/// A number of things, in words.
pub(crate) fn count(things: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(things), if things == 1 { one } else { many })
}

/// A number with spaces between thousands.
pub(crate) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Rows of columns, aligned; those in `right` to the right.
pub(crate) fn table(rows: &[Vec<String>], right: &[usize]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let pad = " ".repeat(width - cell.chars().count());
            let cell = if right.contains(&column) { pad + cell } else { cell.clone() + &pad };
            line += &cell;
            line += "  ";
        }
        line.trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!((number(0), number(1_234_567)), ("0".to_owned(), "1 234 567".to_owned()));
        assert_eq!((bytes(1023), bytes(1536)), ("1023 B".to_owned(), "1.5 KiB".to_owned()));
        assert_eq!(time(Duration::from_secs(3725)), "1 h 2 min");
        assert_eq!(time(Duration::from_micros(1500)), "1.5 ms");
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["a".to_owned(), "10".to_owned()], vec!["bcd".to_owned(), "5".to_owned()]];
        assert_eq!(table(&rows, &[1]), "a    10\nbcd   5");
    }

    #[test]
    fn templates_of_progress_are_sound() {
        for template in TEMPLATES {
            assert!(ProgressStyle::with_template(template).is_ok());
        }
    }
}
