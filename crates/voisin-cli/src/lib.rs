//! `voisin`, the command: creates, loads, searches, checks, copies and measures indexes in a
//! terminal or a script. It stands on `AnyIndex` and adds nothing to the engine.
//!
//! `docs/command.md` documents subcommands, formats, exit codes and the JSON of `--json`. [`run`]
//! is the whole command, for programs that ship it under a name of their own, and [`page`]
//! describes an index to them as HTML.
//!
//! One file a concern: `failure` has the exit codes and messages, `interrupt` the signals, `ui` the
//! output, `place` the opening of indexes, `like` new ones that are like others, `keys` the names
//! of items, `tenant` the tenants that these are of, `chosen` those that are deleted or erased,
//! `record` their records, `fields` the fields of these and the kinds of index, `rows` the formats
//! that are read, `measure` recall and speed, `chart` pictures, `page` an index as HTML, and
//! `commands` a file for each subcommand.

mod chart;
mod chosen;
mod commands;
mod failure;
mod fields;
mod interrupt;
mod keys;
mod like;
mod measure;
pub mod page;
mod place;
mod record;
mod rows;
mod tenant;
mod ui;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _, Parser};

use self::commands::Command;
use self::failure::{Exit, Failure, Result};
use self::ui::Ui;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "voisin",
    version,
    about = "Vector indexes in folders: create, load, search, check, copy, measure",
    long_about = "Vector indexes in folders: create, load, search, check, copy, measure.\n\nAn \
                  index is a folder that programs use through the library voisin, too, at the \
                  same time. A search sees the newest commit; a command that fails or is \
                  interrupted leaves what was committed before.",
    after_help = "Exit codes: 0 done, 1 the answer is no (damage found, item missing), 2 wrong \
                  command line or data, 3 wrong path, permission or disk, 4 damaged or foreign \
                  index, 130 interrupted.",
    max_term_width = 100,
    disable_help_subcommand = true
)]
struct Line {
    /// Print results as JSON, one object a line, and errors as JSON on the standard error
    #[arg(long, global = true)]
    json: bool,
    /// Show no progress and no notes
    #[arg(long, short, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

/// The definition of the command line, with its help texts.
pub(crate) fn definition() -> clap::Command {
    Line::command()
}

/// Runs the command with these arguments, of which the first is the name of the program. Handles
/// Ctrl-C from then on: call it once, as the work of a process.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    ExitCode::from(exit_code(arguments))
}

/// As [`run`], with the exit code as a number, for a process that another runtime ends.
pub fn exit_code(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // Before parsing, which may fail.
    let is_json = arguments.iter().any(|argument| argument == "--json");
    let line = definition()
        .try_get_matches_from(arguments)
        .and_then(|matches| Line::from_arg_matches(&matches));
    let exit = match line {
        Ok(line) => {
            interrupt::install(line.json);
            let mut ui = Ui::new(line.json, line.quiet);
            let changes = line.command.changes();
            let done = line.command.run(&mut ui);
            let flushed = match ui.flush() {
                // What was to be printed is the last of the work.
                Err(Failure::Told { exit, message }) if done.is_ok() && changes => {
                    let message = format!("{message}; the work itself is done");
                    Err(Failure::Told { exit, message })
                }
                flushed => flushed,
            };
            end(is_json, done.and(flushed))
        }
        Err(error) => refuse(is_json, &error),
    };
    exit as u8
}

fn end(is_json: bool, done: Result<()>) -> Exit {
    match done {
        Ok(()) => Exit::Success,
        Err(failure) => {
            if let Failure::Told { exit, .. } = failure {
                ui::tell(is_json, exit, &failure.to_string());
            }
            failure.exit()
        }
    }
}

/// Prints help and versions, and what is wrong with a command line, on one line.
fn refuse(is_json: bool, error: &clap::Error) -> Exit {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            return match error.print() {
                Err(error) => end(is_json, Err(Failure::output(&error))),
                Ok(()) => Exit::Success,
            };
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            ui::tell(is_json, Exit::Usage, "no subcommand is given: voisin --help lists them");
            return Exit::Usage;
        }
        _ => {}
    }
    let text = error.to_string();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let told = lines.take_while(|line| !line.starts_with("Usage:"));
    let told: Vec<&str> =
        told.map(|line| line.trim_start_matches("error: ")).filter(|line| !is_hint(line)).collect();
    let message =
        format!("{}; voisin --help and voisin SUBCOMMAND --help tell more", told.join(" "));
    ui::tell(is_json, Exit::Usage, &message);
    Exit::Usage
}

/// Whether a line of clap's only points to the help.
fn is_hint(line: &str) -> bool {
    line.starts_with("For more information")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        definition().debug_assert();
    }
}
